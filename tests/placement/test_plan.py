"""`gpubench plan`'s table: what a reader must find in it, at 80 and at 140 columns, and what machines get."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from placement.causes.model import Cause, Failure, Scope
from placement.choice import Choice, Line, choose
from placement.costs import START_MINUTES, expected_hours, hours_by_rung
from placement.ladder import Rung, Surface
from placement.ledger import Attempt, Outcome
from placement.plan import Plan, make, render, short_labels, to_json
from placement.verdicts import Finding, Preflight, Said, Unasked, Verdict, ask
from settings import Settings, read_stack_file

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
JOB = "0f" * 32
YES, NO, UNKNOWN = Said.YES, Said.NO, Said.UNKNOWN
LISTED = Finding(YES, "listed in 3 zones")
FREE = Finding(YES, "0 of 8 used")
GRANTED = Finding(YES, "granted")


def stack(name: str, **more: str) -> Settings:
    """A stack of this project, with further keys of gpubench's."""
    values = dict(read_stack_file(ROOT / f"Pulumi.{name}.yaml").values)
    return Settings.from_config({**values, **{f"gpubench:{key}": value for key, value in more.items()}})


def of(text: str) -> Settings:
    """Settings of a ladder in one project, written as JSON."""
    return Settings.from_config({"gcp:project": "my-project", "gpubench:ladder": text})


def verdict(
    rung: Rung,
    *,
    offered: Finding = LISTED,
    quota: Finding = FREE,
    permitted: Finding = GRANTED,
    odds: float | None = None,
    mend: str = "",
) -> Verdict:
    price = rung.usd_per_hour
    usd, source = (price.usd_per_hour_max, f"catalogue {price.date}") if price else (None, "")
    if rung.is_free:
        usd, source = 0.0, "free"
    return Verdict(rung.id, offered, quota, permitted, usd, source, odds=odds, mend=mend)


def lost(rung: Rung, minutes_ago: float, cause: Cause, scope: Scope, zones: Sequence[str] = ()) -> Attempt:
    begun = NOW - timedelta(minutes=minutes_ago)
    failure = Failure(cause, scope, "CODE", "a text", zones=tuple(zones), region=rung.place.region)
    return attempt(rung, begun, 1.0, failure=failure)


def attempt(
    rung: Rung, begun: datetime, minutes: float, *, usd: float = 0.0, failure: Failure | None = None, job: str = JOB
) -> Attempt:
    return Attempt(
        id=f"{begun:%Y%m%dT%H%M%S}.000Z-0000",
        stack="prod",
        job=job,
        rung=rung.id,
        tier=rung.tier,
        region=rung.place.region,
        begun=begun,
        ended=begun + timedelta(minutes=minutes),
        outcome=Outcome.FAILED if failure else Outcome.WON,
        failure=failure,
        usd=usd,
    )


def plan_of(
    settings: Settings,
    verdicts: Sequence[Verdict],
    attempts: Sequence[Attempt] = (),
    choice: Choice | None = None,
    due: int | None = 1,
) -> Plan:
    by_id = {one.rung: one for one in verdicts}
    hours = hours_by_rung(settings, attempts, job=JOB, due=due)
    if choice is None:
        choice = choose(settings, JOB, by_id, tuple(attempts), NOW, hours=hours)
    return make("prod", settings, by_id, choice, attempts, NOW, hours, job=JOB, due=due)


def chosen(settings: Settings, index: int | None, **more: object) -> Choice:
    """A choice made by hand: the rung at an index, or none."""
    lines = tuple(
        Line(rung.id, "next" if number == index else "passed over", "it is so" if number == index else f"why {number}")
        for number, rung in enumerate(settings.ladder)
    )
    given: dict[str, object] = {"zones": (), "retry_at": None, "requests": (), **more}
    rung = None if index is None else settings.ladder[index]
    return Choice(rung=rung, lines=lines, **given)  # type: ignore[arg-type]


def text(plan: Plan, width: int) -> str:
    file = io.StringIO()
    render(plan, file, width)
    return file.getvalue()


def table(plan: Plan, width: int) -> list[list[str]]:
    """The lines of each of the table's rows."""
    lines = text(plan, width).splitlines()
    head = next(i for i, line in enumerate(lines) if line.split()[:2] == ["#", "rung"])
    rows: list[list[str]] = []
    for line in lines[head + 2 : lines.index("", head)]:
        # A row's first line has the three findings.
        if re.search(r"(?: +(?:yes|no|\?)){3}  ", line):
            rows.append([])
        rows[-1].append(line)
    return rows


def flat(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())


WIDTHS = pytest.mark.parametrize("width", [80, 140])


@WIDTHS
@pytest.mark.parametrize("name", ["dev", "prod"])
def test_without_credentials(name: str, width: int) -> None:
    settings = stack(name)
    nobody: dict[Surface, Preflight | Unasked] = {
        surface: Unasked("no credentials") for surface in Surface if surface is not Surface.LOCAL
    }
    verdicts = ask(settings.ladder, nobody, image=None)
    plan = plan_of(settings, list(verdicts.values()))
    shown = text(plan, width)
    assert plan.is_from_the_catalogue_alone and "From the catalogue alone" in flat(shown.splitlines())
    assert "no credentials" in shown.partition("Not known")[2]
    # Nothing speaks against the ladder's first rung, so it is tried; what isn't known is never a no.
    assert f"Next: {settings.ladder[0].id}" in shown
    assert len(table(plan, width)) == len(settings.ladder)
    assert re.search(r"Price of [\d, -]+: catalogue 20\d\d-\d\d-\d\d", flat(shown.splitlines()))
    assert "free" in flat(table(plan, width)[-1])


@WIDTHS
def test_nothing_is_cut(width: int) -> None:
    settings = stack("prod")
    plan = plan_of(settings, [verdict(rung, odds=0.35) for rung in settings.ladder])
    shown = text(plan, width)
    assert "…" not in shown
    assert all(len(line) <= width for line in shown.splitlines() if not line.startswith("Next: "))
    for rung, row in zip(settings.ladder, table(plan, width), strict=True):
        found = flat(row).replace(" ", "")
        for part in (rung.surface, rung.place.region or "", rung.tier, "" if rung.is_free else rung.purchase):
            assert part.replace(" ", "") in found
        assert "35%" in found


@WIDTHS
def test_each_kind_of_no_and_unknown(width: int) -> None:
    settings = stack("prod")
    no_quota = Finding(NO, "NVIDIA_H100_GPUS in us-central1: need 1, limit 0")
    findings = {
        0: {"quota": no_quota, "mend": "gcloud quotas preferences create"},
        1: {"offered": Finding(NO, "us-central1 lists no a3-highgpu-1g now")},
        2: {"quota": Finding(UNKNOWN, "Cloud Quotas API is off")},
        3: {"permitted": Finding(NO, "sa@x may not downloadArtifacts"), "mend": "grant roles/artifactregistry.reader"},
        4: {"offered": Finding(UNKNOWN, "timed out after 20 s")},
        5: {"permitted": Finding(UNKNOWN, "Cloud Quotas API is off")},
    }
    verdicts = [verdict(rung, **findings.get(index, {})) for index, rung in enumerate(settings.ladder)]  # type: ignore[arg-type]
    plan = plan_of(settings, verdicts)
    rows = [flat(row) for row in table(plan, width)]
    for index, words in enumerate(
        ["yes no yes", "no yes yes", "yes ? yes", "yes yes no", "? yes yes", "yes yes ?", "yes yes yes"]
    ):
        assert words in rows[index]
    # What isn't known speaks against nothing.
    assert plan.next is not None and plan.next.rung == settings.ladder[2].id
    assert rows[2].startswith("next") and [row for row in rows if row.startswith("next")] == [rows[2]]
    shown = flat(text(plan, width).splitlines())
    not_next, _, rest = shown.partition("Not next ")[2].partition("Not known ")
    assert "limit 0" in not_next and "lists no a3-highgpu-1g" in not_next and "downloadArtifacts" in not_next
    assert "quota, permitted (3, 6): Cloud Quotas API is off" in rest
    assert "offered (5): timed out after 20 s" in rest
    assert "roles/artifactregistry.reader" in rest.partition("To do")[2]
    assert not plan.is_from_the_catalogue_alone and "catalogue alone" not in shown


@WIDTHS
def test_the_best_rung_without_its_permission_stops_everything(width: int) -> None:
    settings = stack("prod")
    lacking = {
        "permitted": Finding(NO, "sa@x may not downloadArtifacts"),
        "mend": "grant roles/artifactregistry.reader",
    }
    first, *others = settings.ladder
    plan = plan_of(settings, [verdict(first, **lacking), *map(verdict, others)])  # type: ignore[arg-type]
    shown = flat(text(plan, width).splitlines())
    assert plan.next is None and f"Next: nothing, until {first.id} is permitted sa@x may not downloadArtifacts" in shown
    assert "grant roles/artifactregistry.reader" in shown.partition("To do")[2]
    assert to_json(plan)["refused"] == {"rung": first.id, "why": "sa@x may not downloadArtifacts"}


@WIDTHS
def test_blocks(width: int) -> None:
    settings = of(
        '[{"surface": "gce", "regions": ["us-central1", "us-east4"], "tier": "l4"},'
        ' {"surface": "gce", "region": "us-west1", "tier": "l4"}]'
    )
    central, east, west = settings.ladder
    attempts = [
        lost(central, 3, Cause.CAPACITY, Scope.REGION),
        lost(east, 2, Cause.NOT_OFFERED, Scope.REGION),
    ]
    # A verdict that says "offered" would lift the second one's block.
    doubt = Finding(UNKNOWN, "not asked")
    plan = plan_of(settings, [verdict(one, offered=doubt) for one in settings.ladder], attempts)
    first, second, third = plan.rows
    assert first.block is not None and first.block.cause == "capacity" and first.block.until is not None
    assert second.block is not None and second.block.until is None and third.block is None
    rows = [flat(row) for row in table(plan, width)]
    assert "until" in rows[0] and f"{first.block.until:%H:%M}" in rows[0] and "for good" in rows[1]
    assert ("(capacity)" in rows[0]) is (width == 140)
    assert plan.next is not None and plan.next.rung == west.id


@WIDTHS
def test_nothing_left(width: int) -> None:
    settings = of('[{"surface": "gce", "region": "us-central1", "tier": "l4"}]')
    (rung,) = settings.ladder
    plan = plan_of(settings, [verdict(rung)], [lost(rung, 3, Cause.CAPACITY, Scope.REGION)])
    shown = flat(text(plan, width).splitlines())
    assert plan.next is None and plan.retry_at is not None
    minutes = (plan.retry_at - NOW).total_seconds() / 60
    assert "Next: nothing can be tried now." in shown
    assert f"again from {plan.retry_at:%H:%M} UTC (in {minutes:.0f} min)" in shown
    assert to_json(plan)["next"] is None


@WIDTHS
def test_nothing_left_and_no_time_known(width: int) -> None:
    settings = stack("dev")
    choice = chosen(settings, None, requests=("Ask for 1 of NVIDIA_L4_GPUS: `gcloud " + "x" * 100 + "`",))
    shown = text(plan_of(settings, [verdict(rung) for rung in settings.ladder], choice=choice), width)
    assert "Waiting alone changes nothing" in shown
    # In one piece: a folded command can't be copied.
    assert "  - Ask for 1 of NVIDIA_L4_GPUS: `gcloud " + "x" * 100 + "`\n" in shown


@WIDTHS
def test_tomorrow(width: int) -> None:
    settings = stack("dev")
    choice = chosen(settings, None, retry_at=NOW + timedelta(hours=22, minutes=30))
    shown = text(plan_of(settings, [verdict(rung) for rung in settings.ladder], choice=choice), width)
    assert "2026-11-22 00:30 UTC (in 22.5 h)" in flat(shown.splitlines())


@WIDTHS
def test_hint(width: int) -> None:
    settings = stack("dev")
    choice = chosen(settings, 0, zones=("us-central1-c",))
    shown = text(plan_of(settings, [verdict(rung) for rung in settings.ladder], choice=choice), width)
    assert "Narrowed to us-central1-c" in shown


@WIDTHS
def test_the_ledger_s_last_attempts_are_shown(width: int) -> None:
    settings = of('[{"surface": "gce", "regions": ["us-central1", "us-east4"], "tier": "l4"}]')
    central, east = settings.ladder
    older = [attempt(central, NOW - timedelta(days=3 + day), 10, job="another job") for day in reversed(range(4))]
    taken = Failure(Cause.INTERRUPTED, Scope.ZONE, "preempted", "Instance was preempted.\nDetails: second line")
    before = [
        *older,
        attempt(east, NOW - timedelta(hours=2), 61, usd=1.25, failure=taken),
        lost(central, 3, Cause.CAPACITY, Scope.REGION),
    ]
    plan = plan_of(settings, [verdict(one) for one in settings.ladder], before)
    shown = flat(text(plan, width).splitlines())
    last = shown.partition("Last attempts ")[2].partition(" Next:")[0]
    assert last.endswith(
        "2026-11-21 00:00 gce us-east4 l4 on-demand: failed (interrupted, preempted), 61 min, 1.25 USD "
        "Instance was preempted. "
        "2026-11-21 01:57 gce us-central1 l4 on-demand: failed (capacity, CODE), 1 min, 0.00 USD a text"
    )
    assert last.count("won, 10 min") == 3, "five in all"
    assert "Under way" not in shown
    made = to_json(plan)["last_attempts"]
    assert isinstance(made, list) and len(made) == 5
    assert {name: made[3][name] for name in ("when", "rung", "outcome", "cause", "usd", "text")} == {
        "when": "2026-11-21T00:00:00.000Z", "rung": east.id, "outcome": "failed", "cause": "interrupted", "usd": 1.25,
        "text": "Instance was preempted.",
    }  # fmt: skip
    fresh = plan_of(settings, [verdict(one) for one in settings.ladder])
    assert "Last attempts" not in text(fresh, width) and to_json(fresh)["last_attempts"] == []


@WIDTHS
def test_an_attempt_that_has_not_ended_is_under_way(width: int) -> None:
    settings = of('[{"surface": "gce", "regions": ["us-central1", "us-east4"], "tier": "l4"}]')
    central, east = settings.ladder
    open_ = replace(attempt(central, NOW - timedelta(minutes=7), 1), ended=None, outcome=None)
    plan = plan_of(settings, [verdict(one) for one in settings.ladder], [open_])
    shown = flat(text(plan, width).splitlines())
    assert "2026-11-21 01:53 gce us-central1 l4 on-demand: under way" in shown
    assert f"Under way: {central.id} Attempt {open_.id}, since 01:53 UTC. `gpubench up` goes on with it" in shown
    assert "Next:" not in shown, "it is where the run is"
    made = to_json(plan)["last_attempts"]
    assert isinstance(made, list) and made[0]["outcome"] == "under way"
    # However old it is; and what comes after it is another rung.
    later = [attempt(east, NOW - timedelta(minutes=6 - one), 1, job="another job") for one in range(5)]
    plan = plan_of(settings, [verdict(one) for one in settings.ladder], [open_, *later], chosen(settings, 1))
    shown = flat(text(plan, width).splitlines())
    assert f"Under way: {central.id}" in shown and f"Next: {east.id}" in shown


@WIDTHS
def test_money(width: int) -> None:
    settings = stack("prod")
    rung = next(one for one in settings.ladder if one.tier == "l4")
    taken = Failure(Cause.INTERRUPTED, Scope.ZONE, "preempted", "Instance was preempted.")
    before = [
        attempt(settings.ladder[0], NOW - timedelta(hours=5), 30, usd=1.5, failure=taken),
        attempt(settings.ladder[0], NOW - timedelta(hours=4), 60, usd=2.25, failure=taken),
        attempt(rung, NOW - timedelta(hours=3), 600, usd=30, job="another job"),
    ]
    plan = plan_of(settings, [verdict(one) for one in settings.ladder], before, chosen(settings, 0), due=3)
    shown = flat(text(plan, width).splitlines())
    assert "Spent: 3.75 of 40.00 USD, 90 min of 24 h (2 attempts); left: 36.25 USD, 22.5 h" in shown
    row = next(one for one in plan.rows if one.rung == rung.id)
    price = row.usd_per_hour
    assert price is not None and row.expected_usd is not None and row.worst_usd is not None
    start = START_MINUTES[Surface.GCE]
    assert row.expected_usd == pytest.approx(price * (3 * 20 + start) / 60)
    assert row.worst_usd == pytest.approx(price * (3 * 45 + start) / 60)
    assert f"{price:.2f} {row.expected_usd:.2f}–{row.worst_usd:.2f}" in flat(table(plan, width)[row.number - 1])
    assert "3 runs: expected 68 min (profile standard), at most 2.4 h" in shown
    unknown = next(one for one in plan.rows if one.usd_per_hour is None)
    assert flat(table(plan, width)[unknown.number - 1]).count("? ?") == 1


def test_a_budget_that_ends_first_is_told() -> None:
    settings = stack("dev")
    rung = settings.ladder[0]
    spent = [attempt(rung, NOW - timedelta(hours=1), 10, usd=1.9)]
    plan = plan_of(settings, [verdict(one) for one in settings.ladder], spent, chosen(settings, 0))
    assert "ended where the budget ends, after 0.10 USD" in flat(text(plan, 80).splitlines())
    fresh = plan_of(settings, [verdict(one) for one in settings.ladder], (), chosen(settings, 0))
    assert "budget ends" not in text(fresh, 80)


def test_nothing_is_due() -> None:
    settings = stack("dev")
    plan = plan_of(settings, [verdict(one) for one in settings.ladder], (), chosen(settings, 0), due=0)
    assert "Next: nothing. All results are there." in text(plan, 80)
    assert all(row.expected_usd == row.worst_usd == 0 for row in plan.rows)
    assert to_json(plan)["next"] is None


def test_a_pinned_rung_is_said_to_be_pinned() -> None:
    settings = stack("dev", rung="local/any")
    # The others are not asked about, and stay on the table.
    plan = plan_of(settings, [verdict(settings.ladder[1])], choice=chosen(settings, 1))
    shown = text(plan, 80)
    assert "Pinned to local/any" in shown and "nothing was asked about it" in shown
    assert len(table(plan, 80)) == 2


def test_a_long_ladder_shows_its_first_rungs_and_the_next_one() -> None:
    regions = ["us-central1", "us-east1", "us-east4", "us-west1", "us-west4", "europe-west4"]
    entries = [
        {"surface": "gce", "project": f"project-{number}", "regions": regions, "tier": "l4", "purchases": ["spot"]}
        for number in range(20)
    ]
    settings = of(json.dumps(entries))
    plan = plan_of(settings, [verdict(one) for one in settings.ladder], choice=chosen(settings, 99))
    rows = [flat(row) for row in table(plan, 140)]
    assert len(rows) == 61 and rows[-1].startswith("next 100 gce project-16")
    assert "59 further rungs: --json has all." in text(plan, 140)
    found = to_json(plan)["rungs"]
    assert isinstance(found, list) and len(found) == 120


def test_labels_are_short_and_tell_rungs_apart() -> None:
    settings = of(
        '[{"surface": "gce", "region": "us-central1", "zones": ["us-central1-a"], "tier": "l4"},'
        ' {"surface": "gce", "region": "us-central1", "zones": ["us-central1-c"], "tier": "l4"},'
        ' {"surface": "gce", "region": "us-central1", "tier": "l4", "machine_type": "g2-standard-8"},'
        ' {"surface": "gce", "region": "us-east4", "tier": "l4"},'
        ' {"surface": "local"}]'
    )
    assert list(short_labels(settings.ladder).values()) == [
        "gce us-central1 l4 on-demand g2-standard-4 @us-central1-a",
        "gce us-central1 l4 on-demand g2-standard-4 @us-central1-c",
        "gce us-central1 l4 on-demand g2-standard-8",
        "gce us-east4 l4 on-demand",
        "local any",
    ]
    for name in ("dev", "prod", "local"):
        labels = short_labels(stack(name).ladder)
        assert len(set(labels.values())) == len(labels)


def test_json() -> None:
    settings = stack("prod")
    attempts = [lost(settings.ladder[0], 3, Cause.CAPACITY, Scope.REGION)]
    plan = plan_of(settings, [verdict(one, odds=0.5) for one in settings.ladder], attempts)
    made = to_json(plan)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    rungs = made["rungs"]
    assert isinstance(rungs, list) and [one["rung"] for one in rungs] == [one.id for one in settings.ladder]
    first = rungs[0]
    assert plan.rows[0].block is not None and plan.rows[0].block.until is not None
    assert first["block"]["cause"] == "capacity"
    assert datetime.fromisoformat(first["block"]["until"]) == plan.rows[0].block.until
    assert first["price"]["date"] and first["price"]["source"] and first["odds"] == 0.5
    assert first["quota"] == {"said": "yes", "why": "0 of 8 used"}
    assert made["next"] == next(one["rung"] for one in rungs if one["state"] == "next")
    assert rungs[-1]["price"]["usd_per_hour"] == 0 and rungs[-1]["price"]["date"] is None


def test_a_file_that_knows_ascii_alone() -> None:
    settings = stack("dev")
    held = io.BytesIO()
    file = io.TextIOWrapper(held, encoding="ascii")
    render(plan_of(settings, [verdict(one) for one in settings.ladder]), file, 80)
    file.flush()
    assert b"Next: gce/my-project" in held.getvalue()


class TestHours:
    def test_earlier_attempts_on_the_tier_come_before_a_table(self) -> None:
        settings = stack("prod")
        h100, l4 = settings.ladder[0], next(one for one in settings.ladder if one.tier == "l4")
        won = [
            attempt(l4, NOW - timedelta(hours=9), 30),
            attempt(l4, NOW - timedelta(hours=8), 36),
            attempt(h100, NOW - timedelta(hours=7), 12),
            attempt(l4, NOW - timedelta(hours=6), 100, job="another job"),
            lost(l4, 5, Cause.CAPACITY, Scope.ZONE),
        ]
        found = expected_hours(settings, won, job=JOB, rung=l4)
        assert found.expected == pytest.approx(33 / 60) and found.source == "mean of 2 won attempts on l4"
        assert expected_hours(settings, won, job=JOB, rung=h100).expected == pytest.approx(12 / 60)
        # No attempt on this tier yet: those on others say more than a table.
        a100 = next(one for one in settings.ladder if one.tier == "a100-80")
        other = expected_hours(settings, won, job=JOB, rung=a100)
        assert other.expected == pytest.approx(26 / 60) and other.source.endswith("on h100, l4")

    def test_the_profile(self) -> None:
        assert expected_hours(stack("local"), ()).expected == pytest.approx(1 / 60)
        # Any rung of the ladder: the slowest to start.
        assert expected_hours(stack("dev"), ()).expected == pytest.approx((20 + START_MINUTES[Surface.GCE]) / 60)

    def test_a_cpu_takes_longer(self) -> None:
        settings = Settings.from_config(
            {
                "gpubench:ladder": [
                    {"surface": "ecs", "region": "us-east-1", "tier": "t4"},
                    {"surface": "ecs", "region": "us-east-1", "tier": "cpu"},
                ],
                "gpubench:benchmark": {"profile": "standard", "timeout_minutes": 600},
            }
        )
        gpu, cpu = (expected_hours(settings, (), rung=rung) for rung in settings.ladder)
        assert cpu.expected > 10 * gpu.expected and "CPU" in cpu.source and cpu.expected < cpu.worst

    def test_never_more_than_the_time_limits(self) -> None:
        settings = Settings.from_config(
            {
                "gcp:project": "my-project",
                "gpubench:ladder": [
                    {"surface": "gce", "region": "us-central1", "tier": "l4"},
                    {"surface": "gce", "region": "us-central1", "tier": "t4", "max_hours": 0.25},
                ],
                "gpubench:benchmark": {"profile": "full", "timeout_minutes": 30},
            }
        )
        plain, short = (expected_hours(settings, (), rung=rung) for rung in settings.ladder)
        assert plain.expected == plain.worst == pytest.approx((30 + START_MINUTES[Surface.GCE]) / 60)
        assert plain.source == "profile full, cut at its time limit"
        assert short.expected == short.worst == 0.25

    def test_a_command_of_ones_own_takes_its_time_out(self) -> None:
        settings = Settings.from_config(
            {"gpubench:ladder": [{"surface": "local"}], "gpubench:benchmark": {"image": "example/x:1", "repeats": 2}}
        )
        found = expected_hours(settings, ())
        assert found.expected == found.worst == 2.0 and "timeout_minutes" in found.source
        assert expected_hours(settings, (), due=1).worst == 1.0
