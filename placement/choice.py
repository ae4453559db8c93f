"""Which rung comes next. Pure functions: they ask no cloud, so a preview, an update and a rehearsal agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from placement.blocks import Blocks, Shut, blocking, blocks, blocks_by_id, market, pool_of, region_of, shut_by, zones_of
from placement.causes.model import Cause
from placement.costs import Hours
from placement.ladder import Rung
from placement.ledger import Attempt, Outcome, this_walk
from placement.verdicts import Finding, Said, Verdict, from_catalogue

if TYPE_CHECKING:
    from settings import Settings

UNKNOWN_ODDS = 0.5
"""What odds count as where nobody says: neither hope nor fear."""


class Line(NamedTuple):
    """Why a rung is next, or isn't."""

    rung_id: str
    state: Literal["next", "later", "passed over"]
    why: str


@dataclass(frozen=True)
class Refused:
    """The best rung, and why nobody may use it: who lacks which permission, and the command that grants it."""

    rung_id: str
    why: str
    mend: str


@dataclass(frozen=True)
class Choice:
    """What to try next. ``rung`` None: nothing is worth an attempt now.

    ``zones``: what a cloud's hint narrows the rung to; empty: all of its zones. ``lines``: one a rung, in ladder order.
    ``retry_at``: the soonest time at which a rung that is shut now opens; None: waiting helps nothing. ``requests``:
    the quotas to ask for, each with the command. ``refused``: the rung that would be next, were it permitted; then no
    other one is chosen in its place.
    """

    rung: Rung | None
    zones: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    retry_at: datetime | None = None
    requests: tuple[str, ...] = ()
    refused: Refused | None = None


def current_rung(
    settings: Settings,
    attempts: Sequence[Attempt] = (),
    now: datetime | None = None,
    *,
    job: str | None = None,
    surfaces: Collection[str] | None = None,
) -> Rung:
    """The rung that a plain update declares, by the ledger alone.

    In this order: the one pinned by a person (`gpubench:rung`); that of the newest attempt under way; that of the
    newest won attempt, if its job is ``job``; the first that nothing blocks at ``now`` (None: at the time of the newest
    attempt); the ladder's first. ``surfaces``: those that can be used, None: all; others come last, whatever happened.
    """
    if settings.pinned_rung is not None:
        return settings.pinned_rung
    ladder = {rung.id: rung for rung in settings.ladder}
    newest = sorted(attempts, key=lambda one: one.id, reverse=True)
    under_way = next((one for one in newest if one.ended is None), None)
    won = next((one for one in newest if one.outcome is Outcome.WON), None)
    for one in (under_way, won if won is not None and won.job == job else None):
        if one is not None and one.rung in ladder and (surfaces is None or ladder[one.rung].surface in surfaces):
            return ladder[one.rung]
    usable = [rung for rung in settings.ladder if surfaces is None or rung.surface in surfaces]
    if newest:
        at = now or max(one.ended or one.begun for one in newest)
        found = blocks(newest, settings.ladder, at)
        for rung in usable:
            if blocking(found, rung, None, at) is None:
                return rung
    return usable[0] if usable else settings.ladder[0]


@dataclass(frozen=True)
class _Left:
    """What is left of the budget."""

    usd: float
    hours: float

    @classmethod
    def of(cls, settings: Settings, job: str, attempts: Iterable[Attempt]) -> _Left:
        mine = this_walk(attempts, job)
        return cls(
            settings.budget.usd - math.fsum(one.usd for one in mine),
            settings.budget.hours - math.fsum(one.seconds for one in mine) / 3600,
        )


class _Candidate(NamedTuple):
    """A rung that may be tried now. ``key``: smaller comes first: hinted, where results are, then the order."""

    key: tuple[float, ...]
    name: str
    rung: Rung
    verdict: Verdict
    zones: tuple[str, ...]

    @property
    def is_refused(self) -> bool:
        """Whether somebody lacks a permission there."""
        return self.verdict.permitted.said is Said.NO


def choose(
    settings: Settings,
    job: str,
    verdicts: Mapping[str, Verdict],
    attempts: Sequence[Attempt],
    now: datetime,
    *,
    hours: Mapping[str, Hours],
    tried: Collection[str] = frozenset(),
) -> Choice:
    """The next rung to try, and why each other one isn't it.

    ``verdicts``: by rung id; a rung without one is judged by the catalogue. ``attempts``: the ledger's, of all jobs:
    blocks hold for all, money and hours count for ``job``. ``hours``: by rung id, how long an attempt will hold its
    machine. ``tried``: ids of rungs lost in this walk already; not again, unless a cloud names zones in them.
    """
    ladder = {rung.id: rung for rung in settings.ladder}
    found = blocks_by_id(attempts, ladder, now)
    left = _Left.of(settings, job, attempts)
    mine = sorted((one for one in attempts if one.job == job), key=lambda one: one.id, reverse=True)
    tier, region = _tier_to_keep(settings, mine), _region_to_prefer(settings, mine)
    order = _order(settings, found)
    candidates: dict[str, _Candidate] = {}
    passed: dict[str, str] = {}
    opens: list[datetime] = []
    requests: dict[str, None] = {}
    for name, rung in ladder.items():
        verdict = verdicts.get(name) or from_catalogue(rung)
        is_asked_for = settings.rung is None or settings.rung == name
        if verdict.quota.said is Said.NO and verdict.mend and is_asked_for:
            requests[verdict.mend] = None
        if why := _never(rung, verdict, settings.rung if not is_asked_for else None, tier, left, hours[name]):
            passed[name] = why
            continue
        zones = _hinted(found, rung, verdict, now) if found.hints else ()
        shut = shut_by(found, rung, verdict, now) if found and not zones else None
        if shut is not None and shut.block.cause is Cause.QUOTA and shut.block.mend:
            requests[shut.block.mend] = None
        if shut is not None or (name in tried and not zones):
            passed[name] = _blocked(shut) if shut else "tried in this walk, and lost"
            at = shut.opens if shut else now
            if at is not None:
                # A lost rung rests first, though nothing else is shut: else a walk that waits would be at it at once.
                rest = found.rest_until.get(name, at) if name in tried else at
                opens.append(max(now, at, rest))
            continue
        elsewhere = region is not None and rung.place.region != region
        rank = (0 if zones else 2) + (1 if elsewhere else 0)
        candidates[name] = _Candidate((rank, *order(rung, verdict)), name, rung, verdict, zones)
    in_line = sorted(candidates.values(), key=lambda one: one.key)  # stable: the ladder decides between equals
    refused = None
    if in_line and in_line[0].is_refused:
        # The best rung lacks a permission, which a person mends in a minute: a lesser rung would only hide that.
        best = in_line[0]
        refused = Refused(best.name, best.verdict.permitted.why, best.verdict.mend)
    for one in in_line:
        if one.is_refused:
            passed[one.name] = f"not permitted: {one.verdict.permitted.why}"
    in_line = [one for one in in_line if not one.is_refused]
    places = {one.name: place for place, one in enumerate(in_line, start=1)}
    first = in_line[0] if in_line else None
    lines: list[Line] = []
    for name in ladder:
        if name in passed:
            lines.append(Line(name, "passed over", passed[name]))
        elif places[name] == 1 and refused is None:
            lines.append(Line(name, "next", _why_next(settings, candidates[name], left, hours[name])))
        else:
            lines.append(Line(name, "later", _why_later(candidates[name], places[name], region)))
    chosen = None if refused else first
    return Choice(
        rung=chosen.rung if chosen else None,
        zones=chosen.zones if chosen else (),
        lines=tuple(lines),
        retry_at=None if chosen or refused else min(opens, default=None),
        requests=tuple(requests),
        refused=refused,
    )


def limit_hours(
    settings: Settings,
    job: str,
    rung: Rung,
    verdict: Verdict | None,
    attempts: Sequence[Attempt],
    worst_hours: float,
) -> float:
    """The longest, in hours, that an attempt may hold a machine of this rung; 0: it may not begin.

    The least of ``worst_hours``, the rung's ``max_hours``, the budget's hours that are left, and its dollars that are
    left by the highest price known. Where no price is known, dollars set no limit.
    """
    left = _Left.of(settings, job, attempts)
    price = (verdict or from_catalogue(rung)).usd_per_hour
    limits = [worst_hours, left.hours]
    if rung.max_hours is not None:
        limits.append(rung.max_hours)
    if price:
        limits.append(left.usd / price)
    return max(0.0, min(limits))


# -- what speaks against a rung -------------------------------------------------------------------------------------


def _never(rung: Rung, verdict: Verdict, pinned: str | None, tier: str | None, left: _Left, hours: Hours) -> str | None:
    """Why a rung is out of the question however long one waits, as far as is known now; None: it isn't.

    ``pinned``: the id of another rung, which is the only one wanted.
    """
    if pinned is not None:
        return f"gpubench:rung pins {pinned}"
    if tier is not None and rung.tier != tier:
        return f"results of this job are of {tier}, and comparability is same-tier-only"
    if Said.NO in (verdict.offered.said, verdict.quota.said):
        what, finding = _first_no(verdict)
        return f"{what}: {finding.why}"
    if left.hours <= 0:
        return "the budget's hours are used up"
    price = verdict.usd_per_hour
    if price is None:
        return "the budget's dollars are used up, and no price is known" if left.usd <= 0 else None
    cost = price * hours.expected
    if price > 0 and (cost > left.usd or left.usd <= 0):
        return (
            f"over the budget: {hours.expected:.2g} h at ${price:.2f}/h are ${cost:.2f}, and "
            f"${max(0.0, left.usd):.2f} are left"
        )
    return None


def _first_no(verdict: Verdict) -> tuple[str, Finding]:
    for what, finding in (
        ("not offered", verdict.offered),
        ("quota", verdict.quota),
        ("not permitted", verdict.permitted),
    ):
        if finding.said is Said.NO:
            return what, finding
    raise AssertionError("nothing speaks against it")


def _blocked(shut: Shut) -> str:
    return f"blocked {_until(shut.opens)}: {shut.block.why}"


@lru_cache(maxsize=1024)
def _until(opens: datetime | None) -> str:
    return f"until {opens.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if opens else "for good"


def _tier_to_keep(settings: Settings, mine: Sequence[Attempt]) -> str | None:
    """The tier of this job's results, where no other one will do. ``mine``: newest first."""
    from settings import Comparability

    if settings.placement.comparability is not Comparability.SAME_TIER_ONLY:
        return None
    return next((one.tier for one in mine if one.outcome is Outcome.WON), None)


def _region_to_prefer(settings: Settings, mine: Sequence[Attempt]) -> str | None:
    """The region where this job was won last, else where it had a machine last."""
    from settings import Comparability

    if settings.placement.comparability is not Comparability.SAME_REGION_FIRST:
        return None
    won = next((one.region for one in mine if one.outcome is Outcome.WON and one.region), None)
    return won or next((one.region for one in mine if one.obtained_machine_type and one.region), None)


# -- the order of what may be tried ---------------------------------------------------------------------------------


def _order(settings: Settings, found: Blocks) -> Callable[[Rung, Verdict], tuple[float, ...]]:
    """What decides among rungs that may all be tried; the ladder decides between equals."""
    from settings import Order

    wish = settings.placement.order
    if wish is Order.CHEAPEST:
        return lambda _rung, verdict: (math.inf if verdict.usd_per_hour is None else verdict.usd_per_hour,)
    if wish is Order.SOONEST:
        shortages = found.shortages

        def soonest(rung: Rung, verdict: Verdict) -> tuple[float, ...]:
            odds = UNKNOWN_ODDS if verdict.odds is None else verdict.odds
            if not shortages:
                return (-odds, 0.0)
            # Of several machine types, the one that was there most often counts: any of them will do.
            return (-odds, min([shortages.get(pool_of(rung, m), 0) for m in rung.machine_types or ("",)]))

        return soonest
    return lambda _rung, _verdict: ()


def _hinted(found: Blocks, rung: Rung, verdict: Verdict, now: datetime) -> tuple[str, ...]:
    """The zones of a rung that a cloud has named lately and that nothing blocks; the newest hint that has any."""
    for hint in found.hints:
        if hint.tier != rung.tier or hint.purchase != rung.purchase:
            continue
        if all(market(rung.place.surface, m) != hint.market for m in rung.machine_types):
            continue
        own = zones_of(rung, verdict)
        zones = tuple(
            zone
            for zone in hint.zones
            # AWS names zones by letters that differ from account to account, so a stranger counts by its region.
            if (zone in own or (not rung.place.zones and region_of(zone) == rung.place.region))
            and shut_by(found, rung, verdict, now, (zone,)) is None
        )
        if zones:
            return zones
    return ()


# -- words ----------------------------------------------------------------------------------------------------------


def _why_next(settings: Settings, one: _Candidate, left: _Left, hours: Hours) -> str:
    from settings import Order

    wish, price = settings.placement.order, one.verdict.usd_per_hour
    if settings.rung is not None:
        why = "pinned by gpubench:rung"
    elif one.zones:
        why = f"the cloud named {', '.join(one.zones)} as having capacity"
    elif wish is Order.CHEAPEST:
        why = "the cheapest that nothing speaks against"
    elif wish is Order.SOONEST:
        odds = one.verdict.odds
        why = "the soonest that nothing speaks against, " + ("odds unknown" if odds is None else f"odds {odds:.2g}")
    else:
        why = "the first of the ladder that nothing speaks against"
    if price is None:
        return f"{why}; no price is known, so its cost can't be held against the ${left.usd:.2f} that are left"
    if price == 0:
        return f"{why}; free"
    worst = price * hours.worst
    most = f"at most ${worst:.2f}"
    if worst > left.usd:
        most = f"cut at the ${left.usd:.2f} that are left"
    return f"{why}; about ${price * hours.expected:.2f} (${price:.2f}/h), {most}"


def _why_later(one: _Candidate, place: int, region: str | None) -> str:
    price = one.verdict.usd_per_hour
    cost = "no price is known, so it comes late" if price is None else "free" if price == 0 else f"${price:.2f}/h"
    odds = "" if one.verdict.odds is None else f", odds {one.verdict.odds:.2g}"
    elsewhere = f", not in {region}" if region is not None and one.rung.place.region != region else ""
    return f"number {place} in line, {cost}{odds}{elsewhere}"
