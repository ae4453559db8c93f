"""The plan: the ladder as `gpubench plan` shows it, with what is known of each rung, its cost, and what comes next.

Made of answers that others gave (verdicts, choice, ledger, hours); nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from catalog import Price
from placement.blocks import Block, blocking, blocks
from placement.choice import Choice, Refused
from placement.costs import Hours
from placement.ladder import Rung, tier_label
from placement.ledger import Attempt, in_short
from placement.verdicts import Finding, Said, Verdict

if TYPE_CHECKING:
    from settings import Settings

_NOT_ASKED = Finding(Said.UNKNOWN, "nothing was asked about it")
_CATALOGUE = "catalogue"
LAST = 5
"""So many of the ledger's attempts are shown, the newest."""


@dataclass(frozen=True)
class Row:
    """One rung. ``label`` is short and unique on its ladder; ``rung`` is the id that ``gpubench:rung`` takes.

    ``state``: next, later or passed over, and ``why``. USD are for one machine: an hour, and an attempt that carries
    out all due runs; None: no price is known. ``price``: the catalogue's, where the price is from there.
    """

    number: int
    rung: str
    label: str
    state: str
    why: str
    offered: Finding
    quota: Finding
    permitted: Finding
    block: Block | None
    usd_per_hour: float | None
    price_from: str
    price: Price | None
    hours: Hours
    odds: float | None
    odds_zones: tuple[str, ...]
    mend: str
    is_free: bool

    @property
    def is_next(self) -> bool:
        """Whether it is tried next."""
        return self.state == "next"

    @property
    def expected_usd(self) -> float | None:
        """What an attempt probably costs."""
        return None if self.usd_per_hour is None else self.usd_per_hour * self.hours.expected

    @property
    def worst_usd(self) -> float | None:
        """What an attempt costs at most, if every run takes all of its time."""
        return None if self.usd_per_hour is None else self.usd_per_hour * self.hours.worst

    @property
    def findings(self) -> tuple[tuple[str, Finding], ...]:
        """What was asked, by its name."""
        return (("offered", self.offered), ("quota", self.quota), ("permitted", self.permitted))


@dataclass(frozen=True)
class Plan:
    """A ladder as it stands at ``made`` (UTC), rows in ladder order.

    ``refused``: the rung that would be next, were it permitted; nothing is tried before it is.

    ``zones``: what the next attempt is narrowed to by a cloud's hint. ``retry_at``: the soonest time that a blocked
    rung opens. ``due``: runs without results, None if nobody looked; ``runs``: as many as an attempt is reckoned with.
    ``spent_*``: by all attempts of this job. ``requests``: what a person can do, quotas to ask for and roles to grant.
    ``last``: the stack's newest attempts and those that haven't ended, oldest first, of whatever job.
    """

    stack: str
    made: datetime
    order: str
    comparability: str
    pinned: str | None
    due: int | None
    runs: int
    rows: tuple[Row, ...]
    zones: tuple[str, ...]
    requests: tuple[str, ...]
    retry_at: datetime | None
    attempts: int
    spent_usd: float
    spent_hours: float
    budget_usd: float
    budget_hours: float
    refused: Refused | None = None
    last: tuple[Attempt, ...] = ()

    @property
    def under_way(self) -> Attempt | None:
        """The newest attempt that has begun and not ended: where the run is, or what a killed walk left."""
        return next((one for one in reversed(self.last) if one.ended is None), None)

    @property
    def next(self) -> Row | None:
        """The rung that is tried next; None: none is, now."""
        return next((row for row in self.rows if row.is_next), None)

    @property
    def left_usd(self) -> float:
        """What is left of the budget's dollars."""
        return max(0.0, self.budget_usd - self.spent_usd)

    @property
    def left_hours(self) -> float:
        """What is left of the budget's hours."""
        return max(0.0, self.budget_hours - self.spent_hours)

    @property
    def is_from_the_catalogue_alone(self) -> bool:
        """Whether no cloud answered anything about any rung."""
        clouds = [row for row in self.rows if not row.is_free]
        return bool(clouds) and not any(
            row.quota.said is not Said.UNKNOWN
            or row.permitted.said is not Said.UNKNOWN
            or row.odds is not None
            or row.price_from == "live"
            for row in clouds
        )

    @property
    def unknowns(self) -> tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...]:
        """What isn't known: the reason, what it is about, and the numbers of the rungs; each reason once."""
        found: dict[str, tuple[list[str], list[int]]] = {}
        for row in self.rows:
            for name, finding in row.findings:
                if finding.said is Said.UNKNOWN:
                    names, numbers = found.setdefault(finding.why or "nobody says why", ([], []))
                    if name not in names:
                        names.append(name)
                    if row.number not in numbers:
                        numbers.append(row.number)
        order = ("offered", "quota", "permitted")
        return tuple(
            (why, tuple(sorted(names, key=order.index)), tuple(numbers)) for why, (names, numbers) in found.items()
        )


def make(
    stack: str,
    settings: Settings,
    verdicts: Mapping[str, Verdict],
    choice: Choice,
    attempts: Sequence[Attempt],
    now: datetime,
    hours: Mapping[str, Hours],
    *,
    job: str | None = None,
    due: int | None = None,
) -> Plan:
    """The plan of a stack.

    ``verdicts`` and ``hours`` by rung id; a rung without a verdict is shown as not asked about. ``attempts``: the
    ledger's, oldest first, of all jobs: blocks hold for all of them, money and hours are those of ``job`` (None: all).
    """
    walls = blocks(attempts, settings.ladder, now)
    lines = {line.rung_id: line for line in choice.lines}
    labels = short_labels(settings.ladder)
    rows: list[Row] = []
    for number, rung in enumerate(settings.ladder, start=1):
        verdict, line = verdicts.get(rung.id), lines.get(rung.id)
        state, why = (str(line.state), line.why) if line else ("passed over", "")
        if due == 0 and state == "next":
            state, why = "later", "all results are there"
        usd, price_from = (verdict.usd_per_hour, verdict.price_from) if verdict else _catalogue_price(rung)
        rows.append(
            Row(
                number=number,
                rung=rung.id,
                label=labels[rung.id],
                state=state,
                why=why,
                offered=verdict.offered if verdict else _NOT_ASKED,
                quota=verdict.quota if verdict else _NOT_ASKED,
                permitted=verdict.permitted if verdict else _NOT_ASKED,
                block=blocking(walls, rung, verdict, now),
                usd_per_hour=usd,
                price_from=price_from,
                price=rung.usd_per_hour if price_from.startswith(_CATALOGUE) else None,
                hours=hours[rung.id],
                odds=verdict.odds if verdict else None,
                odds_zones=verdict.odds_zones if verdict else (),
                mend=verdict.mend if verdict else "",
                is_free=rung.is_free,
            )
        )
    mine = [attempt for attempt in attempts if job is None or attempt.job == job]
    return Plan(
        stack=stack,
        made=now,
        order=settings.placement.order,
        comparability=settings.placement.comparability,
        pinned=settings.rung,
        due=due,
        runs=settings.benchmark.repeats if due is None else due,
        rows=tuple(rows),
        zones=choice.zones,
        # The choice names quotas to ask for; what grants a missing permission is to do as well.
        requests=tuple(
            dict.fromkeys([*choice.requests, *(row.mend for row in rows if row.mend and row.permitted.said is Said.NO)])
        ),
        retry_at=choice.retry_at,
        attempts=len(mine),
        spent_usd=sum(attempt.usd for attempt in mine),
        spent_hours=sum(attempt.seconds for attempt in mine) / 3600,
        budget_usd=settings.budget.usd,
        budget_hours=settings.budget.hours,
        refused=choice.refused,
        last=(*(one for one in attempts[:-LAST] if one.ended is None), *attempts[-LAST:]),
    )


def short_labels(ladder: Sequence[Rung]) -> dict[str, str]:
    """For each rung's id a name that is as short as this ladder allows: ``gce us-central1 h100 spot``.

    Machine types, zones and reservation are in it where two rungs differ in nothing else; the project is where the
    ladder has several.
    """
    projects = {rung.place.project for rung in ladder if rung.place.project}
    groups: dict[str, list[Rung]] = {}
    for rung in ladder:
        groups.setdefault(_label(rung, len(projects) > 1), []).append(rung)
    labels: dict[str, str] = {}
    for label, group in groups.items():
        for rung in group:
            more = [of(rung) for of in (_machine_types, _zones, _reservation) if len({of(one) for one in group}) > 1]
            labels[rung.id] = " ".join([label, *(part for part in more if part)])
    return labels


def to_json(plan: Plan) -> dict[str, object]:
    """The plan as plain values, for machines: times in ISO 8601, USD, hours; null for what isn't known."""
    chosen = plan.next
    return {
        "stack": plan.stack,
        "made": plan.made.isoformat(),
        "order": plan.order,
        "comparability": plan.comparability,
        "pinned": plan.pinned,
        "due": plan.due,
        "runs": plan.runs,
        "next": chosen.rung if chosen else None,
        "refused": {"rung": plan.refused.rung_id, "why": plan.refused.why} if plan.refused else None,
        "zones": list(plan.zones),
        "retry_at": plan.retry_at.isoformat() if plan.retry_at else None,
        "requests": list(plan.requests),
        "from_the_catalogue_alone": plan.is_from_the_catalogue_alone,
        "budget": {
            "usd": plan.budget_usd,
            "hours": plan.budget_hours,
            "spent_usd": plan.spent_usd,
            "spent_hours": plan.spent_hours,
            "left_usd": plan.left_usd,
            "left_hours": plan.left_hours,
            "attempts": plan.attempts,
        },
        "last_attempts": [in_short(one) for one in plan.last],
        "rungs": [_row_json(row) for row in plan.rows],
    }


def render(plan: Plan, file: TextIO, width: int | None = None) -> None:
    """Write the plan for people. ``width``: columns; None: the terminal's."""
    from placement.plan_text import write  # late, because it loads rich

    write(plan, file, width)


def _row_json(row: Row) -> dict[str, object]:
    made: dict[str, object] = {"number": row.number, "rung": row.rung, "state": row.state, "why": row.why}
    for name, finding in row.findings:
        made[name] = {"said": str(finding.said), "why": finding.why}
    block, price = row.block, row.price
    return {
        **made,
        "block": block
        and {
            "cause": str(block.cause),
            "scope": str(block.scope),
            "since": block.since.isoformat(),
            "until": block.until.isoformat() if block.until else None,
            "times": block.times,
            "why": block.why,
            "attempt": block.attempt,
        },
        "price": {
            "usd_per_hour": row.usd_per_hour,
            "from": row.price_from,
            "date": price.date if price else None,
            "source": price.source.name if price else None,
            "verified": price.verified if price else None,
            "lower_bound": price.lower_bound if price else None,
        },
        "hours": {"expected": row.hours.expected, "worst": row.hours.worst, "from": row.hours.source},
        "expected_usd": row.expected_usd,
        "worst_usd": row.worst_usd,
        "odds": row.odds,
        "odds_zones": list(row.odds_zones),
        "mend": row.mend,
    }


def _catalogue_price(rung: Rung) -> tuple[float | None, str]:
    """The price of a rung that has no verdict."""
    if rung.is_free:
        return 0.0, "free"
    price = rung.usd_per_hour
    return (price.usd_per_hour_max, f"{_CATALOGUE} {price.date}") if price else (None, "")


def _label(rung: Rung, with_project: bool) -> str:
    place, tier = rung.place, tier_label(rung.tier, rung.count)
    parts = [place.surface, place.project if with_project else None, place.region, tier]
    if not rung.is_free:
        parts.append(rung.purchase)
    return " ".join(str(part) for part in parts if part)


def _machine_types(rung: Rung) -> str:
    return "+".join(rung.machine_types)


def _zones(rung: Rung) -> str:
    return "@" + "+".join(rung.place.zones) if rung.place.zones else ""


def _reservation(rung: Rung) -> str:
    return rung.reservation or ""
