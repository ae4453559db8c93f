"""Blocks: what the ledger's failures say about trying again, and until when.

Capacity belongs to a pool of the cloud, not to a surface: GCE and GKE draw machines from the same zones, so what one
found sold out the other need not try.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import NamedTuple

import catalog
from catalog import Purchase, Quota, Surface
from placement.causes.model import Cause, Failure, QuotaFacts, Scope
from placement.ladder import Place, Rung
from placement.ledger import Attempt, Outcome
from placement.verdicts import CLOUDS, Said, Verdict

CAPACITY_TIMES: Mapping[Scope, timedelta] = MappingProxyType(
    {
        # AWS ParallelCluster leaves a type alone for 600 s after a shortage, Karpenter an offering for 3 minutes.
        Scope.ZONE: timedelta(minutes=10),
        # Between the two: several zones empty at once are a scarce shape, and a region's search takes minutes itself.
        Scope.REGION: timedelta(minutes=20),
        # Karpenter for Google Cloud's 30 minutes for its pool codes; GKE backs off from 5 up to 30 minutes.
        Scope.PURCHASE: timedelta(minutes=30),
        Scope.TIER: timedelta(minutes=30),
        Scope.PROJECT: timedelta(minutes=30),
        Scope.CLOUD: timedelta(minutes=30),
    }
)
"""How long a shortage keeps others from trying; doubled at each repeat without a success between."""

LONGEST = timedelta(hours=6)
"""Stock changes within a working day: a longer block would miss it."""

FORGOTTEN_AFTER = timedelta(hours=24)
"""A failure older than this is no repeat's forerunner: yesterday's stock says nothing about today's."""

QUOTA_TIME = timedelta(hours=24)
"""Google Cloud and AWS answer a request for more within 24 to 48 h (incident 5); sooner, a verdict lifts the block."""

QUOTA_HOLD = timedelta(minutes=10)
"""A quota that failed again although its figures sufficed: Cloud Quotas' usage lags behind, so wait first."""

NOT_OFFERED_HOLD = timedelta(hours=24)
"""A live list that has the shape is no news just after the refusal: it had it before the attempt as well."""

HINT_TIME = timedelta(minutes=30)
"""How long zones that a cloud has named count as having capacity: as long as it leaves a shortage's zone alone."""

INTERRUPTIONS, INTERRUPTED_WITHIN = 3, timedelta(hours=6)
"""So many interruptions within this time are a shortage: the machine is had, and taken again."""


@dataclass(frozen=True)
class Block:
    """A reason not to try some rungs for a while.

    ``covers``: in words. ``until`` None: for good. ``times``: how often in a row. ``why``: one line. ``attempt``: the
    id of the one that it came from. ``mend``: as the failure says. ``zone``: the one that it covers; None: all of
    them, but those in ``free``, which a cloud's hint names. ``held_until``: what could lift it doesn't before then.
    ``key``: what it covers, for finding it. ``need``: of a quota; who needs less isn't covered.
    """

    cause: Cause
    scope: Scope
    covers: str
    since: datetime
    until: datetime | None
    times: int
    why: str
    attempt: str
    mend: str = ""
    quota: QuotaFacts | None = None
    zone: str | None = None
    free: frozenset[str] = frozenset()
    held_until: datetime | None = None
    key: tuple[object, ...] = ()
    need: float = 0.0


@dataclass(frozen=True)
class Hint:
    """Zones that a cloud itself named as having capacity, for a tier bought in a way."""

    market: str
    tier: str
    purchase: str
    zones: tuple[str, ...]
    since: datetime
    attempt: str


class Shut(NamedTuple):
    """Why a rung can't be tried now, and when it opens; ``opens`` None: never."""

    block: Block
    opens: datetime | None


class Blocks(tuple[Block, ...]):
    """Blocks in order of their beginning, with what finds those of a rung quickly.

    ``hints``: those still fresh, newest first. ``rest_until``: by rung id, when a lost rung is worth another try where
    no block says so. ``shortages``: by pool, how often it was empty within the last day.
    """

    hints: tuple[Hint, ...] = ()
    rest_until: Mapping[str, datetime] = MappingProxyType({})
    shortages: Mapping[tuple[object, ...], int] = MappingProxyType({})

    @cached_property
    def by_key(self) -> Mapping[tuple[object, ...], list[Block]]:
        """The blocks by what they cover."""
        found: dict[tuple[object, ...], list[Block]] = {}
        for block in self:
            found.setdefault(block.key, []).append(block)
        return found

    @cached_property
    def kinds(self) -> frozenset[object]:
        """The kinds of keys that there are: what isn't there needn't be looked for in each of many rungs."""
        return frozenset(key[0] for key in self.by_key)


def blocks(attempts: Iterable[Attempt], ladder: Iterable[Rung], now: datetime) -> Blocks:
    """What the attempts block at this time, on this ladder and on others (a rung's id says what it was)."""
    return blocks_by_id(attempts, {rung.id: rung for rung in ladder}, now)


def blocks_by_id(attempts: Iterable[Attempt], rungs: Mapping[str, Rung], now: datetime) -> Blocks:
    """Like ``blocks``, for who has the ladder's ids already: to make 10,000 takes a while."""
    fold = _Fold()
    for attempt in sorted(attempts, key=lambda one: (one.ended or one.begun, one.id)):
        if attempt.ended is None or attempt.ended > now:
            continue
        rung = rungs.get(attempt.rung) or rung_of_id(attempt.rung, attempt.tier)
        if rung is not None:
            fold.add(attempt, rung)
    return fold.at(now)


def blocking(found: Sequence[Block], rung: Rung, verdict: Verdict | None, now: datetime) -> Block | None:
    """The block that keeps a rung from being tried; None: nothing does."""
    shut = shut_by(found, rung, verdict, now)
    return shut.block if shut else None


def shut_by(
    found: Sequence[Block], rung: Rung, verdict: Verdict | None, now: datetime, zones: Iterable[str] | None = None
) -> Shut | None:
    """Like ``blocking``, with the time at which the rung opens. ``zones``: of these only, instead of all of its own."""
    index = found if isinstance(found, Blocks) else Blocks(found)
    if not index:
        return None
    worst: Shut | None = None
    if not index.kinds.isdisjoint(_WIDE):
        for key in _wide_keys(rung):
            for block in index.by_key.get(key, ()):
                if shut := _in_force(block, verdict, now):
                    worst = _later(worst, shut)
    # Any of the machine types will do: the rung is as open as the one that opens first.
    first: Shut | None = None
    for machine_type in rung.machine_types or ("",):
        shut = _machine_type_shut(index, rung, machine_type, verdict, now, zones)
        if shut is None:
            return worst
        first = shut if first is None else _sooner(first, shut)
    return _later(worst, first) if first else worst


def open_zones(found: Sequence[Block], rung: Rung, verdict: Verdict | None, now: datetime) -> tuple[str, ...]:
    """The zones of a rung in which no block covers all of its machine types.

    Empty for a blocked rung, and where a surface has no zones or nobody knows them.
    """
    return tuple(zone for zone in zones_of(rung, verdict) if shut_by(found, rung, verdict, now, (zone,)) is None)


def zones_of(rung: Rung, verdict: Verdict | None = None) -> tuple[str, ...]:
    """The zones that a rung may use: those the stack names, else those a verdict knows, else the catalogue's."""
    if rung.place.zones:
        return rung.place.zones
    if verdict is not None and verdict.zones:
        return verdict.zones
    return _catalogue_zones(rung.surface, rung.tier, rung.count, rung.place.region, rung.machine_types)


def region_of(zone: str) -> str | None:
    """The region of a zone's name: ``us-central1-a``, ``us-east-1a``, or an id of the catalogue (``use1-az1``)."""
    if match := re.fullmatch(r"([a-z]+-[a-z]+\d+)-[a-z]", zone):
        return match[1]
    if match := re.fullmatch(r"([a-z]+(?:-[a-z]+)+-\d+)[a-z]", zone):
        return match[1]
    return _listed_region(zone)


def market(surface: Surface, machine_type: str) -> str:
    """Whose stock it is: a surface that runs on another service's machines shares theirs."""
    if surface is Surface.GCE or surface is Surface.GKE:
        return "compute-engine"
    if surface is Surface.ECS:
        return "fargate" if machine_type.startswith("fargate") else "ec2"
    return surface.value


def pool_of(rung: Rung, machine_type: str) -> tuple[object, ...]:
    """What a machine type of a rung is drawn from, zones left open.

    The tier and the count belong to it: GPUs are attached to one and the same N1 machine. A reservation is a pool of
    its own.
    """
    place, purchase = rung.place, rung.purchase
    pool = ("pool", market(place.surface, machine_type), place.region, machine_type, rung.tier, rung.count, purchase)
    return pool if purchase is not Purchase.RESERVED else (*pool, place.project, rung.reservation)


@lru_cache(maxsize=16384)
def rung_of_id(rung_id: str, tier: str) -> Rung | None:
    """The rung that an id names (see ``Rung.id``), if it isn't on the ladder any more; None for what is no id."""
    text, _, reservation = rung_id.partition("@reservation:")
    head, _, zone_text = text.partition("@")
    parts = head.split("/")
    try:
        surface = Surface(parts[0])
        if surface == Surface.LOCAL:
            return Rung(Place(surface, None, None), tier, _count(parts[1], tier), (), Purchase.ON_DEMAND)
        # Cloud ids: surface, project (if any), region, tier and count, purchase, machine types.
        *before, region, label, purchase, machine_types = parts
        return Rung(
            place=Place(
                surface,
                "/".join(before[1:]) or None,
                region,
                tuple(zone for zone in zone_text.split("+") if zone),
            ),
            tier=tier,
            count=_count(label, tier),
            machine_types=tuple(machine_types.split("+")),
            purchase=Purchase(purchase),
            reservation=reservation or None,
        )
    except (ValueError, IndexError):
        return None


def _count(label: str, tier: str) -> float:
    if label == tier:
        return 0 if tier in ("any", "cpu") else 1
    if not label.startswith(f"{tier}x"):
        raise ValueError(label)
    number = float(label.removeprefix(f"{tier}x"))
    return int(number) if number == int(number) else number


# -- what a block does to a rung ------------------------------------------------------------------------------------


def _machine_type_shut(
    index: Blocks,
    rung: Rung,
    machine_type: str,
    verdict: Verdict | None,
    now: datetime,
    zones: Iterable[str] | None,
) -> Shut | None:
    found: Shut | None = None
    for key, need in _quota_keys(rung, machine_type) if "quota" in index.kinds else ():
        for block in index.by_key.get(key, ()):
            if need >= block.need and (shut := _in_force(block, verdict, now)):
                found = _later(found, shut)
    of_pool = index.by_key.get(pool_of(rung, machine_type))
    here = [shut for block in of_pool if (shut := _in_force(block, verdict, now))] if of_pool else None
    if here:
        covered = _zones_shut(here, rung, verdict, zones)
        found = _later(found, covered) if covered else found
    return found


def _zones_shut(here: list[Shut], rung: Rung, verdict: Verdict | None, zones: Iterable[str] | None) -> Shut | None:
    """What shuts all zones: as open as the one that opens first. None: one is open."""
    everywhere: Shut | None = None
    is_plain = True
    for shut in here:
        if shut.block.zone is None:
            everywhere = _later(everywhere, shut)
        is_plain = is_plain and shut.block.zone is None and not shut.block.free
    if is_plain:
        return everywhere
    wanted = list(zones if zones is not None else zones_of(rung, verdict))
    if zones is None and not rung.place.zones:
        # A cloud may name a zone that nobody listed (AWS names them by letters that differ from account to account).
        named = {zone for shut in here for zone in shut.block.free}
        wanted += sorted(zone for zone in named - set(wanted) if region_of(zone) == rung.place.region)
    if not wanted:
        return everywhere
    first: Shut | None = None
    for zone in wanted:
        last: Shut | None = None
        for shut in here:
            if shut.block.zone == zone or (shut.block.zone is None and zone not in shut.block.free):
                last = _later(last, shut)
        if last is None:
            return None
        first = last if first is None else _sooner(first, last)
    return first


def _in_force(block: Block, verdict: Verdict | None, now: datetime) -> Shut | None:
    """A block that holds, given what is known of the rung, with its end; None: it doesn't."""
    opens = _opens(block, verdict)
    return Shut(block, opens) if opens is None or opens > now else None


def _opens(block: Block, verdict: Verdict | None) -> datetime | None:
    """When a block ends; None: never, as far as is known now."""
    if block.held_until is not None and verdict is not None and _lifted(block, verdict):
        return block.held_until if block.until is None else min(block.held_until, block.until)
    return block.until


def _lifted(block: Block, verdict: Verdict) -> bool:
    """Whether what is known of a rung says that what failed has changed."""
    if block.cause is Cause.NOT_OFFERED:
        return verdict.offered_live and verdict.offered.said is Said.YES
    if verdict.quota.said is Said.NO:
        return False
    if verdict.quota.said is Said.YES and any(state.usage is not None for state in verdict.quotas):
        return True
    limit = block.quota.limit if block.quota else None
    return limit is not None and any(
        # Cloud Run's messages count GPUs, its API thousandths of them.
        _same_metric(state.quota_id, block.quota.metric if block.quota else None)
        and state.limit not in (limit, limit * 1000)
        for state in verdict.quotas
    )


def _later(one: Shut | None, other: Shut) -> Shut:
    if one is None or one.opens is None:
        return one or other
    return other if other.opens is None or other.opens > one.opens else one


def _sooner(one: Shut, other: Shut) -> Shut:
    if other.opens is None:
        return one
    return other if one.opens is None or other.opens < one.opens else one


_WIDE = ("purchase", "tier", "project", "cloud")


def _wide_keys(rung: Rung) -> tuple[tuple[object, ...], ...]:
    cloud, project = CLOUDS[rung.place.surface], rung.place.project
    return (
        ("purchase", cloud, project, rung.tier, rung.purchase, rung.reservation),
        ("tier", cloud, project, rung.tier),
        ("project", cloud, project),
        ("cloud", cloud),
    )


def _quota_keys(rung: Rung, machine_type: str) -> tuple[tuple[tuple[object, ...], float], ...]:
    """What a machine type takes of which quotas: the keys of blocks, and how much."""
    place = rung.place
    return _cached_quota_keys(
        place.surface, place.project, place.region, rung.tier, rung.count, machine_type, rung.purchase
    )


@lru_cache(maxsize=65536)
def _cached_quota_keys(
    surface: Surface,
    project: str | None,
    region: str | None,
    tier: str,
    count: float,
    machine_type: str,
    purchase: Purchase,
) -> tuple[tuple[tuple[object, ...], float], ...]:
    return tuple(
        (_quota_key(quota, project, region), quota.amount)
        for quota in _quotas(surface, tier, count, machine_type, purchase)
    )


def _quota_key(quota: Quota, project: str | None, region: str | None) -> tuple[object, ...]:
    where = None if quota.scope == "global" else region
    return ("quota", quota.service, project, quota.quota_id, quota.dimensions, where)


@lru_cache(maxsize=4096)
def _quotas(surface: Surface, tier: str, count: float, machine_type: str, purchase: Purchase) -> tuple[Quota, ...]:
    found = catalog.offers(surface=surface, tier=tier, count=count, machine_type=machine_type)
    return found[0].quotas(purchase) if found else ()


@lru_cache(maxsize=16384)
def _catalogue_zones(
    surface: Surface, tier: str, count: float, region: str | None, machine_types: tuple[str, ...]
) -> tuple[str, ...]:
    if region is None:
        return ()
    found: list[str] = []
    for machine_type in machine_types:
        for offer in catalog.offers(surface=surface, tier=tier, count=count, machine_type=machine_type):
            found.extend(zone for zone in offer.zones(region) if zone not in found)
    return tuple(found)


@lru_cache(maxsize=4096)
def _listed_region(zone: str) -> str | None:
    for surface in (Surface.GCE, Surface.ECS):
        if region := catalog.region_of_zone(surface, zone):
            return region
    return None


# -- from attempts to blocks ----------------------------------------------------------------------------------------


@dataclass
class _Made:
    """A block while the attempts are gone through: a later hint or success changes it."""

    block: Block
    free: set[str] = field(default_factory=set)


@dataclass
class _Fold:
    """The attempts gone through one by one, oldest first."""

    made: dict[tuple[object, ...], _Made] = field(default_factory=dict)
    hints: list[Hint] = field(default_factory=list)
    rest: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    empty: list[tuple[tuple[object, ...], datetime]] = field(default_factory=list)
    interrupted: dict[tuple[object, ...], list[datetime]] = field(default_factory=dict)
    # When a zone was tried by itself, which a hint for it must be newer than by some time: else two zones that name
    # each other would be tried in turns for ever.
    searched: dict[tuple[tuple[object, ...], str], datetime] = field(default_factory=dict)

    def add(self, attempt: Attempt, rung: Rung) -> None:
        """One attempt that has ended."""
        assert attempt.ended is not None
        pools = [pool_of(rung, machine_type) for machine_type in rung.machine_types or ("",)]
        if attempt.outcome is Outcome.WON or attempt.obtained_zone or attempt.obtained_machine_type:
            self._obtained(attempt, rung, pools)
        failure = attempt.failure
        if attempt.outcome is not Outcome.FAILED or failure is None:
            return
        if failure.cause is Cause.CAPACITY:
            self._capacity(attempt, rung, failure, pools)
        elif failure.cause is Cause.QUOTA:
            self._quota(attempt, rung, failure)
        elif failure.cause is Cause.NOT_OFFERED:
            self._not_offered(attempt, rung, failure, pools)
        elif failure.cause is Cause.INTERRUPTED:
            self._interrupted(attempt, rung, failure, pools)
        if failure.walks_on:
            times = self.rest[rung.id][0] + 1 if rung.id in self.rest else 1
            self.rest[rung.id] = (times, attempt.ended + _grown(CAPACITY_TIMES[Scope.ZONE], times))

    def at(self, now: datetime) -> Blocks:
        """What is in force at this time."""
        kept = [
            Block(**{**vars(one.block), "free": frozenset(one.free)})
            for one in self.made.values()
            if one.block.until is None or one.block.until > now
        ]
        found = Blocks(sorted(kept, key=lambda block: (block.since, block.attempt, block.covers, block.zone or "")))
        fresh = [hint for hint in self.hints if hint.since + HINT_TIME > now]
        found.hints = tuple(reversed(fresh))
        found.rest_until = {rung: until for rung, (_, until) in self.rest.items()}
        counted: dict[tuple[object, ...], int] = {}
        for pool, when in self.empty:
            if when + FORGOTTEN_AFTER > now:
                counted[pool] = counted.get(pool, 0) + 1
        found.shortages = counted
        return found

    # -- causes -----------------------------------------------------------------------------------------------------

    def _capacity(self, attempt: Attempt, rung: Rung, failure: Failure, pools: list[tuple[object, ...]]) -> None:
        assert attempt.ended is not None
        now = attempt.ended
        self.empty += [(pool, now) for pool in pools]
        own = attempt.zones or zones_of(rung)
        if failure.scope in (Scope.ZONE, Scope.REGION):
            zones = self._failed_zones(failure, own)
            for pool, machine_type in zip(pools, rung.machine_types or ("",), strict=True):
                what = _shape_words(rung, machine_type)
                if failure.scope is Scope.REGION or not zones:
                    scope = failure.scope
                    self._put(attempt, failure, scope, pool, f"{what} in {rung.place.region or 'this machine'}")
                    continue
                for zone in zones:
                    self._put(attempt, failure, Scope.ZONE, pool, f"{what} in {zone}", zone=zone)
                self._widen(attempt, failure, rung, pool, machine_type)
        else:
            key, covers = _wide_key(failure.scope, rung)
            self._put(attempt, failure, failure.scope, key, covers)
        for pool in pools:
            for zone in attempt.zones:
                self.searched[pool, zone] = now
        self._hint(attempt, rung, failure, pools)

    @staticmethod
    def _failed_zones(failure: Failure, own: tuple[str, ...]) -> tuple[str, ...]:
        """The zones that failed, as the rung's are named; empty: all of the region.

        The deciding text names one zone, the others name more. Names that match none of the rung's (AWS's letters,
        which differ from account to account) tell nothing apart, so the region it is, for a zone's time.
        """
        named = [*failure.zones, *(z for one in failure.others if one.cause is Cause.CAPACITY for z in one.zones)]
        if not named:
            named = list(own)
        return tuple(dict.fromkeys(zone for zone in named if not own or zone in own))

    def _widen(
        self, attempt: Attempt, failure: Failure, rung: Rung, pool: tuple[object, ...], machine_type: str
    ) -> None:
        """Every zone of a region empty is the region empty, and that lasts longer."""
        assert attempt.ended is not None
        everywhere = _catalogue_zones(rung.surface, rung.tier, rung.count, rung.place.region, (machine_type,))
        live = {
            one.block.zone
            for zone in everywhere
            if (one := self.made.get((*pool, zone))) and one.block.until and one.block.until > attempt.ended
        }
        if len(everywhere) > 1 and live == set(everywhere):
            covers = f"{_shape_words(rung, machine_type)} in all zones of {rung.place.region}"
            self._put(attempt, failure, Scope.REGION, pool, covers)

    def _quota(self, attempt: Attempt, rung: Rung, failure: Failure) -> None:
        facts = failure.quota
        needs = [
            (quota, _quota_key(quota, rung.place.project, rung.place.region))
            for machine_type in rung.machine_types
            for quota in _quotas(rung.surface, rung.tier, rung.count, machine_type, rung.purchase)
        ]
        if facts is not None and facts.metric:
            needs = [(quota, key) for quota, key in needs if _is_metric(quota, facts.metric)]
        keys = {key for _, key in needs}
        if len(keys) == 1:
            quota, key = needs[0]
            where = "all regions" if quota.scope == "global" else rung.place.region
            # Several machine types of a rung need different amounts; the least of them has failed as well.
            need = min(one.amount for one, _ in needs)
            scope = Scope.PROJECT if quota.scope == "global" else failure.scope
            self._put(attempt, failure, scope, key, f"quota {quota.metric or quota.quota_id} in {where}", need=need)
            return
        if failure.scope in (Scope.ZONE, Scope.REGION):
            for pool, machine_type in zip(
                [pool_of(rung, m) for m in rung.machine_types or ("",)], rung.machine_types or ("",), strict=True
            ):
                self._put(attempt, failure, Scope.REGION, pool, f"{_shape_words(rung, machine_type)}, by its quota")
            return
        key, covers = _wide_key(failure.scope, rung)
        self._put(attempt, failure, failure.scope, key, f"{covers}, by its quota")

    def _not_offered(self, attempt: Attempt, rung: Rung, failure: Failure, pools: list[tuple[object, ...]]) -> None:
        if failure.scope not in (Scope.ZONE, Scope.REGION):
            key, covers = _wide_key(failure.scope, rung)
            self._put(attempt, failure, failure.scope, key, covers)
            return
        # As they are named: for good is too long for all of a region because a name of one zone is a stranger.
        zones = (failure.zones or attempt.zones or zones_of(rung)) if failure.scope is Scope.ZONE else ()
        for pool, machine_type in zip(pools, rung.machine_types or ("",), strict=True):
            what = _shape_words(rung, machine_type)
            for zone in zones:
                self._put(attempt, failure, Scope.ZONE, pool, f"{what} in {zone}", zone=zone)
            if not zones:
                self._put(attempt, failure, Scope.REGION, pool, f"{what} in {rung.place.region}")

    def _interrupted(self, attempt: Attempt, rung: Rung, failure: Failure, pools: list[tuple[object, ...]]) -> None:
        assert attempt.ended is not None
        for pool, machine_type in zip(pools, rung.machine_types or ("",), strict=True):
            times = [t for t in self.interrupted.get(pool, []) if t + INTERRUPTED_WITHIN > attempt.ended]
            times.append(attempt.ended)
            self.interrupted[pool] = times
            if len(times) >= INTERRUPTIONS and rung.place.region:
                covers = f"{_shape_words(rung, machine_type)} in {rung.place.region}, interrupted {len(times)} times"
                self.empty.append((pool, attempt.ended))
                self._put(attempt, failure, Scope.REGION, pool, covers)

    # -- what changes blocks ----------------------------------------------------------------------------------------

    def _obtained(self, attempt: Attempt, rung: Rung, pools: list[tuple[object, ...]]) -> None:
        """A machine was had: what said that there is none, or no right to it, has changed."""
        self.rest.pop(rung.id, None)
        machine_type, zone = attempt.obtained_machine_type, attempt.obtained_zone
        had = [pool_of(rung, machine_type)] if machine_type in rung.machine_types and machine_type else pools
        wide = set(_wide_keys(rung))
        quotas = {key for m in rung.machine_types for key, _ in _quota_keys(rung, m)}
        for name, one in list(self.made.items()):
            block = one.block
            here = block.key in had and (block.zone is None or zone is None or block.zone == zone)
            if here or block.key in wide or block.key in quotas:
                del self.made[name]

    def _hint(self, attempt: Attempt, rung: Rung, failure: Failure, pools: list[tuple[object, ...]]) -> None:
        """Zones that the cloud names are open, unless they were tried by themselves a moment ago."""
        assert attempt.ended is not None
        for pool, machine_type in zip(pools, rung.machine_types or ("",), strict=True):
            fresh = tuple(
                zone
                for zone in failure.hint
                if not ((last := self.searched.get((pool, zone))) and last + HINT_TIME > attempt.ended)
            )
            if not fresh:
                continue
            # Pools of other regions too: a cloud may name zones of a neighbour.
            for name, one in list(self.made.items()):
                if not _same_shape(one.block, pool):
                    continue
                if one.block.zone in fresh:
                    del self.made[name]
                elif one.block.zone is None:
                    one.free |= set(fresh)
            whose = market(rung.surface, machine_type)
            hint = Hint(whose, rung.tier, rung.purchase, fresh, attempt.ended, attempt.id)
            if hint not in self.hints:
                self.hints.append(hint)

    def _put(
        self,
        attempt: Attempt,
        failure: Failure,
        scope: Scope,
        key: tuple[object, ...],
        covers: str,
        *,
        zone: str | None = None,
        need: float = 0.0,
    ) -> None:
        """A block of a failure, in place of an earlier one of the same cause for the same."""
        assert attempt.ended is not None and failure.cause is not None
        now = attempt.ended
        name = (*key, zone) if zone else (*key, None, failure.cause)
        before = self.made.get(name)
        times = 1
        if before is not None and before.block.cause is failure.cause and before.block.since + FORGOTTEN_AFTER > now:
            times = before.block.times + 1
            need = min(need, before.block.need)
        held: datetime | None = None
        until: datetime | None
        if failure.cause is Cause.QUOTA:
            until = now + QUOTA_TIME
            held = now if times == 1 else now + _grown(QUOTA_HOLD, times - 1)
        elif failure.cause is Cause.NOT_OFFERED:
            until, held = None, now + NOT_OFFERED_HOLD
        else:
            until = now + _grown(CAPACITY_TIMES[scope], times)
        if before is not None and before.block.until is None and failure.cause is not Cause.NOT_OFFERED:
            return  # for good stays for good
        self.made[name] = _Made(
            Block(
                cause=failure.cause,
                scope=scope,
                covers=covers,
                since=now,
                until=until,
                times=times,
                why=_why(failure, covers, times, now),
                attempt=attempt.id,
                mend=failure.mend,
                quota=failure.quota,
                zone=zone,
                held_until=held,
                key=key,
                need=need,
            )
        )


def _grown(time: timedelta, times: int) -> timedelta:
    """Doubled for each repeat, up to LONGEST."""
    return min(LONGEST, time * (1 << min(times - 1, 10)))


_WORDS = {
    Cause.CAPACITY: "sold out",
    Cause.QUOTA: "quota too small",
    Cause.NOT_OFFERED: "not offered",
    Cause.INTERRUPTED: "taken away too often",
}


def _why(failure: Failure, covers: str, times: int, when: datetime) -> str:
    """One line: what, where, when, how often, and the cloud's code."""
    assert failure.cause is not None
    again = f", {times} times in a row" if times > 1 else ""
    code = f" ({failure.code})" if failure.code else ""
    facts = failure.quota if failure.cause is Cause.QUOTA else None
    figures = ""
    if facts is not None and facts.limit is not None:
        figures = f", limit {facts.limit:g}" + (f", needed {facts.need:g}" if facts.need is not None else "")
    at = when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{_WORDS.get(failure.cause, failure.cause)} at {at}: {covers}{figures}{again}{code}"


def _shape_words(rung: Rung, machine_type: str) -> str:
    return " ".join(part for part in (rung.tier, rung.purchase, machine_type) if part)


def _wide_key(scope: Scope, rung: Rung) -> tuple[tuple[object, ...], str]:
    """The key of a scope wider than a region, and what it covers in words."""
    purchase, tier, project, cloud = _wide_keys(rung)
    where = f"project {rung.place.project}" if rung.place.project else CLOUDS[rung.surface]
    if scope is Scope.PURCHASE:
        return purchase, f"{rung.tier} {rung.purchase} in {where}"
    if scope is Scope.TIER:
        return tier, f"{rung.tier} in {where}"
    if scope is Scope.PROJECT:
        return project, f"everything in {where}"
    return cloud, f"everything on {CLOUDS[rung.surface]}"


def _same_shape(block: Block, pool: tuple[object, ...]) -> bool:
    """Whether a capacity block is about the pool's shape, in any region."""
    return block.cause is Cause.CAPACITY and block.key[:2] == pool[:2] and block.key[3:] == pool[3:]


def _is_metric(quota: Quota, metric: str) -> bool:
    return _same_metric(quota.quota_id, metric) or _same_metric(quota.metric, metric)


def _same_metric(one: str, other: str | None) -> bool:
    """Whether two names are one metric: ``NVIDIA_L4_GPUS``, ``compute.googleapis.com/nvidia_l4_gpus``, the quota id."""
    return bool(one) and bool(other) and _folded(one) == _folded(other or "")


@lru_cache(maxsize=4096)
def _folded(metric: str) -> str:
    name = metric.rsplit("/", 1)[-1].replace("-", "_").lower()
    return re.sub(r"_per_project(_region)?$", "", name)
