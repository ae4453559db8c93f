"""A walk's timeline: what a reader finds in it at 80 and at 140 columns, in the picture, and in the report."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmark_job.report.chart import svg
from benchmark_job.report.timeline_picture import LANES, picture
from benchmark_job.report.walk_report import markdown, page, write
from placement.blocks import Block
from placement.causes.model import Cause, Failure, Scope
from placement.costs import Hours
from placement.ladder import LadderEntry, Rung, Surface, expand
from placement.ledger import Attempt, Outcome
from placement.plan import Plan, Row
from placement.timeline import REHEARSAL, Walked, blocks_made, duration, headline, render, rows, to_do
from placement.verdicts import Finding, Said
from placement.walk import End, Wait

BEGUN = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
LADDER = expand(
    [
        LadderEntry(Surface.GCE, "my-project", ("us-central1", "us-east4"), tiers=("h100", "l4")),
        LadderEntry(Surface.LOCAL),
    ]
)
H100, H100_EAST, L4 = LADDER[0], LADDER[1], LADDER[2]
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "\"'><script>alert(1)</script>]]>--> `a` |b| [c](javascript:d) \x1b[31m\x00 \u202e"

# The cloud's words: placement/causes has their sources.
STOCKOUT = Failure(
    Cause.CAPACITY,
    Scope.ZONE,
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
    "A a3-highgpu-1g VM instance is currently unavailable in the us-central1-a zone. Consider trying your request in "
    "the us-east4-b zone(s), which currently has capacity to accommodate your request.\nDetails: second line",
    zones=("us-central1-a",),
    hint=("us-east4-b",),
)
QUOTA = Failure(
    Cause.QUOTA,
    Scope.REGION,
    "QUOTA_EXCEEDED",
    "Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region us-central1.",
    mend="ask for NVIDIA_L4_GPUS in us-central1: gcloud quotas preferences create --quota-id=NVIDIA-L4",
)
DENIED = Failure(
    Cause.PERMISSION,
    Scope.PROJECT,
    "pull-denied",
    'DENIED: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "r" (or it may not exist)',
    mend="grant roles/artifactregistry.reader to vm@my-project.iam.gserviceaccount.com: gcloud artifacts repositories "
    "add-iam-policy-binding bench --location=us --member=serviceAccount:vm@my-project.iam.gserviceaccount.com",
)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def tried(
    rung: Rung,
    begun: float,
    took: float | None,
    failure: Failure | None = None,
    *,
    outcome: Outcome | None = None,
    usd: float = 0.0,
    zones: Sequence[str] = (),
    obtained: tuple[str, str] | None = None,
    machine: float | None = None,
) -> Attempt:
    """An attempt; begin, length and when its machine came in minutes from the walk's begin, None: it hasn't ended."""
    time = BEGUN + minutes(begun)
    if took is not None and outcome is None:
        outcome = Outcome.FAILED if failure else Outcome.WON
    return Attempt(
        id=f"{time:%Y%m%dT%H%M%S}.000Z-0000",
        stack="prod",
        job="0f" * 32,
        rung=rung.id,
        tier=rung.tier,
        region=rung.place.region,
        begun=time,
        zones=tuple(zones),
        ended=None if took is None else time + minutes(took),
        outcome=outcome,
        failure=failure,
        usd=usd,
        obtained=None if machine is None else BEGUN + minutes(machine),
        obtained_zone=obtained[0] if obtained else None,
        obtained_machine_type=obtained[1] if obtained else None,
    )


def walk(attempts: Sequence[Attempt], end: End, ended: float, ladder: Sequence[Rung] = LADDER) -> Walked:
    return Walked("prod", BEGUN, BEGUN + minutes(ended), end, tuple(ladder), tuple(attempts), budget_usd=20)


def waited(begun: float, ended: float) -> Wait:
    return Wait(BEGUN + minutes(begun), BEGUN + minutes(ended))


def block(attempt: Attempt, covers: str, length: float | None) -> Block:
    assert attempt.failure is not None
    assert attempt.failure.cause is not None
    assert attempt.ended is not None
    until = None if length is None else attempt.ended + minutes(length)
    return Block(attempt.failure.cause, attempt.failure.scope, covers, attempt.ended, until, 1, "a text", attempt.id)


def won() -> Walked:
    """A stock-out whose hint leads to the machine."""
    first = tried(H100, 0.5, 1, STOCKOUT)
    got = ("us-east4-b", "a3-highgpu-1g")
    second = tried(H100_EAST, 2, 26, usd=1.61, zones=["us-east4-b"], obtained=got, machine=4)
    made = walk([first, second], End.DONE, 29)
    return replace(made, blocks={first.id: block(first, "us-central1-a", 10)})


def denied() -> Walked:
    """The first incident: the machine comes, and may not pull."""
    attempts = [tried(H100, 0, 1, STOCKOUT), tried(L4, 1.2, 0.5, QUOTA), tried(H100_EAST, 14, 6, DENIED, usd=0.4)]
    return replace(walk(attempts, End.FAILED, 21), waits=(waited(2, 14),))


def nothing_left() -> Walked:
    attempts = [tried(H100, 0, 1, STOCKOUT), tried(L4, 1.2, 0.5, QUOTA)]
    made = walk(attempts, End.NOTHING_LEFT, 2)
    return replace(made, retry_at=BEGUN + minutes(95), requests=(QUOTA.mend,))


def many() -> Walked:
    attempts = [tried(LADDER[i % 4], i * 3, 2, QUOTA if i % 5 == 0 else STOCKOUT, usd=0.01) for i in range(199)]
    return walk([*attempts, tried(H100, 199 * 3, 30, usd=2.5)], End.DONE, 199 * 3 + 30)


def shown(walked: Walked, width: int = 100) -> str:
    file = io.StringIO()
    render(walked, file, width)
    return file.getvalue()


def words(text: str) -> str:
    """The text with its folds taken out."""
    return " ".join(text.split())


WALKS = {"won": won, "denied": denied, "nothing left": nothing_left, "many": many}


class TestText:
    @pytest.mark.parametrize("width", [80, 140])
    def test_it_says_what_happened_and_how_the_hint_was_followed(self, width: int) -> None:
        text = words(shown(won(), width))
        assert "Done: results from gce us-east4 h100 spot (us-east4-b, a3-highgpu-1g), after 2 attempts, 28 min" in text
        assert "→ blocked us-central1-a for 10 min; hint followed: us-east4-b; next: gce us-east4 h100 spot" in text
        assert "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS" in text
        assert "A a3-highgpu-1g VM instance is currently unavailable" in text
        assert "second line" not in text
        assert "got us-east4-b, a3-highgpu-1g" in text
        assert "Time to the GPU 4 min" in text
        assert "Time to results 28 min" in text
        assert "Spent 1.61 USD (of a budget of 20.00 USD)" in text
        assert "What to do" not in text

    def test_a_row_has_its_figures_in_its_columns(self) -> None:
        line = next(line for line in shown(won(), 80).splitlines() if " won " in line)
        assert line.split() == ["2", "02:02", "+2.0", "gce", "us-east4", "h100", "spot", "won", "26", "min", "1.61"]

    @pytest.mark.parametrize("name", WALKS)
    @pytest.mark.parametrize("width", [80, 140])
    def test_only_what_is_to_be_copied_is_wider_than_the_terminal(self, name: str, width: int) -> None:
        made = WALKS[name]()
        lines = shown(made, width).splitlines()
        assert [line for line in lines if len(line) > width and not line.startswith("  - ")] == []
        # Plain: a file is no terminal.
        assert "\x1b" not in "".join(lines)

    def test_a_permission_stops_it_and_the_command_can_be_copied_whole(self) -> None:
        lines = shown(denied(), 80).splitlines()
        assert "No results: the walk failed at attempt 3 on gce us-east4 h100 spot: permission (pull-denied)." in words(
            "\n".join(lines)
        )
        after = lines[lines.index("What to do") :]
        assert after[1].endswith("--member=serviceAccount:vm@my-project.iam.gserviceaccount.com")
        assert after[2] == "  - Then run `gpubench up` again: it goes on from here."
        assert "stopped: no other rung mends it" in words("\n".join(lines))
        # What was passed over is mended when there is time for it.
        assert "Ask for NVIDIA_L4_GPUS in us-central1" in "".join(lines[lines.index("For later") :])

    def test_waiting_is_shown_between_the_attempts_that_it_parts(self) -> None:
        text = shown(denied())
        assert text.index("  quota") < text.index("… waited 12 min") < text.index("  permission")
        assert "waited" not in shown(won())

    def test_waiting_after_the_last_attempt_is_shown_and_a_sweep_is_no_waiting(self) -> None:
        attempt = tried(H100, 10, 1, STOCKOUT)
        assert "waited" not in shown(walk([attempt], End.NOTHING_LEFT, 30))
        waiting = replace(walk([attempt], End.NOTHING_LEFT, 30), waits=(waited(0, 10), waited(12, 30)))
        assert [row.waited for row in rows(waiting)] == [minutes(10)] and waiting.waited == minutes(28)
        assert shown(waiting).count("… waited") == 2 and "waited 18 min" in shown(waiting)

    def test_nothing_left_says_when_it_is_worth_trying_again_and_what_to_ask_for(self) -> None:
        text = shown(nothing_left())
        assert "No results: nothing is left to try after 2 attempts: 1 capacity, 1 quota." in text
        assert "Worth trying again from 03:35 UTC (in 2 h" not in text
        assert "Worth trying again from 03:35 UTC (in 1 h 33 min); `gpubench up --wait 2h` waits for it." in text
        assert text.count("--quota-id=NVIDIA-L4") == 1  # not a second time for later

    def test_what_was_sold_out_first_is_worth_waiting_for(self) -> None:
        made = replace(nothing_left(), retry_at=BEGUN + minutes(1))
        assert "  - Worth trying again now; `gpubench up --wait 6h` goes on trying" in shown(made)

    def test_the_time_to_the_gpu_is_the_first_ones_whatever_came_of_it(self) -> None:
        cut = Failure(Cause.INTERRUPTED, Scope.ZONE, "preempted", "Instance was preempted.")
        taken = tried(L4, 0, 20, cut, machine=4)
        text = words(shown(walk([taken, tried(L4, 21, 20, machine=25)], End.DONE, 41)))
        assert "Time to the GPU 4 min" in text
        # A machine that came first, and had no GPU, was none; and one that failed to bring results was one.
        cpu = replace(H100, tier="cpu")
        denied_there = tried(L4, 21, 20, DENIED, machine=25)
        text = words(shown(walk([tried(cpu, 0, 20, cut, machine=3), denied_there], End.FAILED, 41)))
        assert "Time to the GPU 25 min" in text

    def test_without_a_gpu_no_time_to_one_is_told(self) -> None:
        cpu = replace(H100, tier="cpu")
        made = walk([tried(H100, 0, 1, STOCKOUT), tried(cpu, 2, 60, machine=38)], End.DONE, 62, [H100, cpu])
        for said in (shown(made), markdown(made), Tags(page(made)).text):
            assert "Time to a machine" in said and "38 min" in said and "without a GPU" in said
            assert "Time to the GPU" not in said
        assert "Time to" not in shown(walk([tried(H100, 0, 1, STOCKOUT)], End.NOTHING_LEFT, 1))
        # Nobody knows where this machine's GPU is, or whether it has one.
        here = words(shown(walk([tried(LADDER[-1], 0, 5)], End.DONE, 5)))
        assert "Time to a machine 0 s (until the winning attempt began)" in here

    def test_nothing_left_and_nothing_to_wait_for(self) -> None:
        text = words(shown(walk([], End.NOTHING_LEFT, 0)))
        assert "No results: nothing could be tried." in text
        assert "Waiting alone changes nothing" in text
        assert "rung" not in text.partition("What to do")[0]  # no table without attempts

    def test_an_unknown_failure_is_shown_whole(self) -> None:
        lines = [f"line {number}" for number in range(30)]
        unknown = Failure(Cause.UNKNOWN, Scope.ZONE, "unmatched", "\n".join(lines))
        text = words(shown(walk([tried(H100, 0, 1, unknown)], End.FAILED, 1)))
        assert " ".join(lines) in text
        assert "No mend is known for it: read the whole text of attempt 1" in text

    def test_two_hundred_attempts_are_summed_up_in_the_middle_by_cause(self) -> None:
        text = shown(many(), 80)
        numbers = [int(found) for found in re.findall(r"^ *(\d+)  \d\d:\d\d ", text, re.M)]
        assert numbers == [*range(1, 11), *range(181, 201)]
        # 11 to 180 are i = 10 to 179: every fifth is a quota.
        assert "attempts 11–180, 02:30–10:59: 136 capacity, 34 quota; 1.70 USD" in words(text)
        assert "Attempts 200 (159 capacity, 40 quota, 1 won)" in words(text)

    def test_a_new_day_is_named(self) -> None:
        attempts = [tried(H100, 0, 1, STOCKOUT), tried(H100_EAST, 23 * 60, 30)]
        assert re.search(r"^ +2026-11-22\n +2  01:00 ", shown(walk(attempts, End.DONE, 24 * 60)), re.M)

    def test_an_attempt_of_an_earlier_walk_lies_before_this_one(self) -> None:
        text = shown(walk([tried(H100, -12, 30)], End.DONE, 18))
        assert re.search(r"1  01:48 +−12  gce us-central1 h100", text)

    def test_a_rehearsal_says_so_first(self) -> None:
        assert shown(replace(won(), simulated=True)).startswith(REHEARSAL)
        assert "Time to the GPU 4 min (simulated)" in words(shown(replace(won(), simulated=True)))
        assert "simulated" not in shown(won())

    def test_a_text_cant_steer_the_terminal(self) -> None:
        hostile = replace(DENIED, text=HOSTILE, code=HOSTILE, mend=HOSTILE)
        text = shown(walk([tried(H100, 0, 1, hostile)], End.FAILED, 1))
        assert "<script>alert(1)</script>" in text
        assert not {"\x1b", "\x00", "\u202e"} & set(text)

    def test_a_c_locale_has_no_arrows(self) -> None:
        held = io.BytesIO()
        file = io.TextIOWrapper(held, encoding="ascii")
        render(won(), file, 80)
        file.flush()
        assert b"? blocked us-central1-a for 10 min" in held.getvalue()


class TestRows:
    def test_not_offered_is_for_good_and_a_last_hint_is_named(self) -> None:
        first = tried(H100, 0, 1, replace(STOCKOUT, cause=Cause.NOT_OFFERED))
        made = walk([first, tried(L4, 1.5, 1, QUOTA)], End.NOTHING_LEFT, 3)
        made = replace(made, blocks={first.id: block(first, "a3-highgpu-1g in us-central1", None)})
        assert rows(made)[0].then == (
            "blocked a3-highgpu-1g in us-central1 for good",
            "hint not followed yet: us-east4-b",
            "next: gce us-central1 l4 on-demand",
        )
        assert rows(made)[1].then == ("nothing left to try",)

    def test_interrupted_goes_on_with_the_same_rung(self) -> None:
        cut = Failure(Cause.INTERRUPTED, Scope.ZONE, "preempted", "Instance was preempted.")
        assert rows(walk([tried(L4, 0, 9, cut), tried(L4, 9, 9)], End.DONE, 18))[0].then == (
            "next: the same rung again",
        )

    def test_what_has_no_end_counts_until_the_walks(self) -> None:
        row = rows(walk([tried(L4, 1, None)], End.STOPPED, 6))[0]
        assert (row.came, row.took) == ("under way", minutes(5))

    def test_a_rung_that_left_the_ladder_keeps_its_id(self) -> None:
        assert rows(walk([tried(H100, 0, 1)], End.DONE, 1, LADDER[1:]))[0].label == H100.id

    def test_blocks_are_those_of_each_failures_own_time(self) -> None:
        walked = nothing_left()
        found = blocks_made(walked.attempts, LADDER)
        first = walked.attempts[0]
        assert found[first.id].cause is Cause.CAPACITY
        assert found[first.id].since == first.ended
        assert found[first.id].until is not None

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5340, "89 min"), (5400, "1 h 30 min"), (7200, "2 h")],
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert duration(timedelta(seconds=seconds)) == text

    def test_the_end_decides_what_is_to_be_done(self) -> None:
        assert to_do(won()) == ()
        stopped = walk([tried(H100, 0, 1, STOCKOUT, outcome=Outcome.STOPPED)], End.STOPPED, 1)
        assert to_do(stopped) == ("Run `gpubench up` again: it goes on from here.",)
        assert "a person stopped the walk at attempt 1" in headline(stopped)
        assert headline(walk([], End.NOTHING_DUE, 0)) == "Nothing to do: all results were there before."


class TestPicture:
    def drawn(self, walked: Walked) -> ElementTree.Element:
        chart = picture(walked)
        assert chart is not None
        return ElementTree.fromstring(svg(chart))

    def test_nothing_tried_has_none(self) -> None:
        assert picture(walk([], End.NOTHING_LEFT, 0)) is None

    def test_lanes_stand_in_the_ladders_order_with_their_causes_in_words(self) -> None:
        chart = picture(denied())
        assert chart is not None
        assert [(lane.label, lane.words) for lane in chart.lanes] == [
            ("gce us-central1 h100 flex-start", "capacity"),
            ("gce us-east4 h100 spot", "permission"),
            ("gce us-central1 l4 on-demand", "quota"),
        ]
        texts = [one.text for one in self.drawn(denied()).iter(f"{SVG}text")]
        for word in ("capacity", "permission", "quota"):
            assert texts.count(word) == 2  # in the legend and beside its lane
        assert "waited" in texts
        assert "Minutes since 2026-11-21 02:00 UTC" in texts

    def test_bars_lie_where_their_time_is(self) -> None:
        chart = picture(won())
        assert chart is not None
        spans = [(bar.begin, bar.end, bar.word, bar.thick) for lane in chart.lanes for bar in lane.bars]
        assert spans == [(0.5, 1.5, "capacity", False), (2, 4, "won", False), (4, 28, "won", True)]
        assert chart.x_end == 29

    def test_a_machine_that_was_held_is_thick_whatever_came_of_it(self) -> None:
        cut = Failure(Cause.INTERRUPTED, Scope.ZONE, "preempted", "Instance was preempted.")
        made = walk([tried(L4, 0, 9, cut, machine=4), tried(L4, 9, 9, machine=9), tried(L4, 18, 2)], End.DONE, 20)
        chart = picture(made)
        assert chart is not None and chart.subtitle.endswith("thick: a machine")
        assert [(bar.begin, bar.end, bar.word, bar.thick) for lane in chart.lanes for bar in lane.bars] == [
            (0, 4, "interrupted", False),
            (4, 9, "interrupted", True),
            (9, 18, "won", True),
            (18, 20, "won", False),  # nobody knows since when it had one
        ]
        nobody = picture(walk([tried(L4, 0, 9)], End.DONE, 9))
        assert nobody is not None and "thick" not in nobody.subtitle

    @pytest.mark.parametrize("count", [1, 2, LANES, 100])
    def test_one_to_thirty_lanes_lie_inside_the_picture(self, count: int) -> None:
        ladder = [replace(L4, place=replace(L4.place, region=f"region-{number}")) for number in range(count)]
        attempts = [tried(rung, number, 0.9, STOCKOUT) for number, rung in enumerate(ladder)]
        root = self.drawn(walk(attempts, End.NOTHING_LEFT, count, ladder))
        width, height = (float(root.get(name, "0")) for name in ("width", "height"))
        bars = [bar for bar in root.iter(f"{SVG}rect") if bar.get("class") == "gb-ring"]
        assert len(bars) == min(count, LANES)
        for bar in bars:
            left, top, wide, high = (float(bar.get(name, "nan")) for name in ("x", "y", "width", "height"))
            assert 0 < left < left + wide < width
            assert 0 < top < top + high < height
        if count > LANES:
            assert any(f"{count - LANES} further rungs" in (one.text or "") for one in root.iter(f"{SVG}text"))
            # The rung that it ended on is one of those drawn.
            assert any(f"region-{count - 1} " in (one.text or "") for one in root.iter(f"{SVG}text"))

    def test_those_who_cant_see_it_are_told(self) -> None:
        root = self.drawn(won())
        title = root.findtext(f"{SVG}title")
        assert title == "The walk of stack prod: 2 attempts on 2 rungs, 29 min; thick: a machine"
        said = root.findtext(f"{SVG}desc") or ""
        assert said.startswith("Done: results from gce us-east4 h100 spot")
        assert "gce us-central1 h100 flex-start: capacity" in said

    def test_a_hostile_project_stays_text(self) -> None:
        rung = replace(L4, place=replace(L4.place, region=HOSTILE))
        root = self.drawn(walk([tried(rung, 0, 1)], End.DONE, 1, [rung]))
        assert not [one for one in root.iter() if one.tag == f"{SVG}script"]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


class TestReport:
    def test_its_files(self, tmp_path: Path) -> None:
        written = write(tmp_path / "walk", won())
        names = {str(path.relative_to(tmp_path)) for path in written}
        assert names == {"walk/report.md", "walk/report.html", "walk/plots/walk.svg"}
        assert 'src="plots/walk.svg"' in (tmp_path / "walk" / "report.md").read_text(encoding="utf-8")
        # Without attempts no picture, and none of an earlier walk.
        write(tmp_path / "walk", walk([], End.NOTHING_LEFT, 0))
        assert not (tmp_path / "walk" / "plots" / "walk.svg").exists()

    def test_a_reader_finds_what_happened_and_what_to_do(self) -> None:
        found = Tags(page(denied()))
        text = words(found.text)
        for said in (
            "No results: the walk failed at attempt 3",
            "What to do",
            DENIED.text,
            words(QUOTA.text),
            "Details: second line",
            "waited 12 min before",
            "--member=serviceAccount:vm@my-project.iam.gserviceaccount.com",
        ):
            assert said in text
        assert found.tags.count("svg") == 1
        assert found.tags.count("details") == 3
        assert not [value for name, value in found.attributes if name in ("src", "href")]  # nothing is fetched
        plain = markdown(denied())
        assert "Then run \\`gpubench up\\` again" in plain
        assert f"    {DENIED.text}" in plain  # as code
        assert "<summary>Attempt 3: permission (pull-denied)</summary>" in plain

    def test_equal_texts_stand_once(self) -> None:
        found = Tags(page(many()))
        assert found.tags.count("details") == 2
        assert "Attempts 1, 6, 11, 16" in found.text

    def test_a_rehearsal_is_warned_of_at_the_top(self) -> None:
        rehearsed = replace(won(), simulated=True, facts={"Engine": "embedded", "Scenario": "sold out"})
        text = Tags(page(rehearsed)).text
        assert text.index(REHEARSAL) < text.index("Done: results")
        assert "sold out" in text
        plain = markdown(rehearsed)
        assert plain.index(REHEARSAL) < plain.index("Done: results")
        assert "Engine: embedded" in plain
        assert REHEARSAL not in page(won()) + markdown(won())

    def test_hostile_texts_stay_text(self) -> None:
        hostile = replace(DENIED, text=HOSTILE, code=HOSTILE, mend=HOSTILE, others=(replace(QUOTA, code=HOSTILE),))
        made = replace(walk([tried(H100, 0, 1, hostile)], End.FAILED, 1), facts={HOSTILE: HOSTILE}, stack=HOSTILE)
        found = Tags(page(made))
        assert not {"script", "img", "a"} & set(found.tags)
        assert "<script>alert(1)</script>" in found.text
        plain = markdown(made)
        # Code may hold it as it stands; everywhere else it is escaped.
        outside = "\n".join(line for line in plain.splitlines() if not line.startswith("    "))
        assert "<script" not in outside
        assert "&lt;script&gt;" in outside
        assert not {"\x1b", "\x00", "\u202e"} & set(plain + page(made))

    def test_the_ladder_as_it_stood(self) -> None:
        finding = Finding(Said.YES, "listed")
        row = Row(
            1, H100.id, "gce us-central1 h100 flex-start", "next", "the first that nothing speaks against", finding,
            Finding(Said.NO, "limit 0"), Finding(Said.UNKNOWN), None, 3.25, "live", None, Hours(0.5, 1, "profile"),
            None, (), "", False,
        )  # fmt: skip
        plan = Plan("prod", BEGUN, "ladder", "any", None, 1, 1, (row,), (), (), None, 0, 0.0, 0.0, 20.0, 8.0)
        text = words(Tags(page(won(), plan)).text)
        assert "The ladder when the walk began" in text
        assert "the first that nothing speaks against" in text
        assert "| 1 | gce us-central1 h100 flex-start | yes | no | unknown | – | 3.25 | next |" in markdown(won(), plan)
