"""Blocks and choosing: what the ledger says about trying again, and which rung comes next."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import catalog
from placement.blocks import LONGEST, Block, blocking, blocks, open_zones, rung_of_id, shut_by, zones_of
from placement.causes.model import Cause, Failure, QuotaFacts, Scope
from placement.choice import Choice, choose, current_rung, limit_hours
from placement.costs import Hours
from placement.ladder import LadderEntry, Purchase, Rung, Surface, expand
from placement.ledger import Attempt, Outcome
from placement.verdicts import Finding, QuotaState, Said, Verdict
from settings import Budget, Comparability, Order, Placement, Settings

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
JOB = "job-1"
MINUTE = timedelta(minutes=1)
YES, NO, UNKNOWN = Finding(Said.YES), Finding(Said.NO, "because"), Finding(Said.UNKNOWN)


def rungs(surface: Surface, tier: str, *regions: str, **more: object) -> tuple[Rung, ...]:
    return expand([LadderEntry(surface, "p1", regions, tiers=(tier,), **more)])  # type: ignore[arg-type]


SPOT = (Purchase.SPOT,)
US, EAST = rungs(Surface.GCE, "l4", "us-central1", "us-east1", purchases=SPOT)
GKE_US = rungs(Surface.GKE, "l4", "us-central1", purchases=SPOT)[0]
US_DEMAND = rungs(Surface.GCE, "l4", "us-central1", purchases=(Purchase.ON_DEMAND,))[0]
T4 = rungs(Surface.GCE, "t4", "us-central1", purchases=SPOT)[0]
RUN = rungs(Surface.CLOUD_RUN, "l4", "us-central1")[0]
AWS = rungs(Surface.ECS, "l4", "us-east-1")[0]
LOCAL = expand([LadderEntry(Surface.LOCAL)])[0]
EVERYTHING = (US, EAST, GKE_US, US_DEMAND, T4, RUN, AWS, LOCAL)
ZONES = zones_of(US)


def failed(
    rung: Rung,
    minutes_ago: float = 1,
    cause: Cause = Cause.CAPACITY,
    scope: Scope = Scope.REGION,
    *,
    narrowed: tuple[str, ...] = (),
    job: str = JOB,
    usd: float = 0.0,
    minutes: float = 0.5,
    **more: object,
) -> Attempt:
    ended = NOW - minutes_ago * MINUTE
    failure = Failure(cause, scope, "CODE", "text", region=rung.place.region, **more)  # type: ignore[arg-type]
    return attempt(rung, ended, Outcome.FAILED, failure, zones=narrowed, job=job, usd=usd, minutes=minutes)


def attempt(
    rung: Rung,
    ended: datetime,
    outcome: Outcome | None,
    failure: Failure | None = None,
    minutes: float = 0.5,
    **more: object,
) -> Attempt:
    begun = ended - minutes * MINUTE
    return Attempt(
        **{  # type: ignore[arg-type]
            "id": f"{begun:%Y%m%dT%H%M%S}.{begun.microsecond // 1000:03d}Z-{zlib.crc32(rung.id.encode()) % 65536:04x}",
            "stack": "dev",
            "job": JOB,
            "rung": rung.id,
            "tier": rung.tier,
            "region": rung.place.region,
            "begun": begun,
            "ended": ended if outcome else None,
            "outcome": outcome,
            "failure": failure,
            **more,
        }
    )


def won(rung: Rung, minutes_ago: float = 1, **more: object) -> Attempt:
    return attempt(rung, NOW - minutes_ago * MINUTE, Outcome.WON, **more)  # type: ignore[arg-type]


def verdict(rung: Rung, **changes: object) -> Verdict:
    return replace(
        Verdict(rung.id, YES, YES, YES, 0.0 if rung.is_free else 1.0, "live", zones=zones_of(rung)),
        **changes,  # type: ignore[arg-type]
    )


def stack(ladder: Sequence[Rung], budget: Budget | None = None, **placement: object) -> Settings:
    return Settings(tuple(ladder), budget=budget or Budget(), placement=Placement(**placement))  # type: ignore[arg-type]


def choice_of(
    settings: Settings,
    attempts: Sequence[Attempt] = (),
    verdicts: Sequence[Verdict] | None = None,
    *,
    now: datetime = NOW,
    tried: Sequence[Rung] = (),
    expected: float = 1.0,
) -> Choice:
    known = [verdict(rung) for rung in settings.ladder] if verdicts is None else verdicts
    return choose(
        settings,
        JOB,
        {one.rung: one for one in known},
        attempts,
        now,
        tried={rung.id for rung in tried},
        hours={rung.id: Hours(expected, 2 * expected, "test") for rung in settings.ladder},
    )


def blocked(attempts: Sequence[Attempt], ladder: Sequence[Rung] = EVERYTHING, now: datetime = NOW) -> set[str]:
    found = blocks(attempts, ladder, now)
    return {rung.id for rung in ladder if blocking(found, rung, None, now)}


def names(*some: Rung) -> set[str]:
    return {rung.id for rung in some}


# -- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (Scope.REGION, (US, GKE_US)),  # one pool, two surfaces
        (Scope.PURCHASE, (US, EAST, GKE_US)),
        (Scope.TIER, (US, EAST, GKE_US, US_DEMAND, RUN)),
        (Scope.PROJECT, (US, EAST, GKE_US, US_DEMAND, T4, RUN)),
        (Scope.CLOUD, (US, EAST, GKE_US, US_DEMAND, T4, RUN)),
    ],
)
def test_a_shortage_covers_its_scope(scope: Scope, covered: tuple[Rung, ...]) -> None:
    assert blocked([failed(US, scope=scope)]) == names(*covered)


def test_a_zone_covers_a_rung_only_if_it_is_all_of_it() -> None:
    one_zone = expand([LadderEntry(Surface.GKE, "p1", ("us-central1",), (ZONES[0],), ("l4",), purchases=SPOT)])[0]
    lost = failed(US, scope=Scope.ZONE, zones=ZONES[:1])
    ladder = (US, one_zone)
    assert blocked([lost], ladder) == names(one_zone)
    found = blocks([lost], ladder, NOW)
    assert open_zones(found, US, None, NOW) == ZONES[1:] and open_zones(found, one_zone, None, NOW) == ()
    # Zones that further errors of the same text name count as well.
    more = tuple(Failure(Cause.CAPACITY, Scope.ZONE, "", "", zones=(zone,)) for zone in ZONES[1:])
    assert blocked([failed(US, scope=Scope.ZONE, zones=ZONES[:1], others=more)], ladder) == names(US, one_zone)


def test_every_zone_is_the_region_and_lasts_as_long() -> None:
    attempts = [failed(US, len(ZONES) - n, scope=Scope.ZONE, zones=(zone,)) for n, zone in enumerate(ZONES)]
    (region,) = [block for block in blocks(attempts, EVERYTHING, NOW) if block.scope is Scope.REGION]
    assert region.until == NOW + 19 * MINUTE and "all zones" in region.covers
    assert not [block for block in blocks(attempts[1:], EVERYTHING, NOW) if block.scope is Scope.REGION]


@pytest.mark.parametrize(
    ("scope", "minutes"), [(Scope.ZONE, 10), (Scope.REGION, 20), (Scope.PURCHASE, 30), (Scope.TIER, 30)]
)
def test_times(scope: Scope, minutes: int) -> None:
    lost = failed(US, 0, scope=scope, zones=ZONES[:1] if scope is Scope.ZONE else ())
    end = NOW + minutes * MINUTE
    for now, is_shut in ((end - timedelta(seconds=1), True), (end, False)):
        assert (shut_by(blocks([lost], EVERYTHING, now), US, None, now, ZONES[:1]) is not None) is is_shut


def test_repeats_double_up_to_a_limit_and_a_success_begins_anew() -> None:
    def length(attempts: Sequence[Attempt]) -> timedelta:
        newest = max(blocks(attempts, EVERYTHING, NOW), key=lambda block: block.since)
        assert newest.until is not None
        return newest.until - newest.since

    lost = [failed(US, 541 - 60 * number) for number in range(10)]
    assert [length(lost[-n:]) for n in (10, 6)] == [LONGEST, LONGEST]
    assert length(lost[-1:]) == 20 * MINUTE and length(lost[-3:]) == 80 * MINUTE
    assert length([lost[0], won(US, 70), lost[-1]]) == 20 * MINUTE
    assert length([failed(US, 48 * 60), lost[-1]]) == 20 * MINUTE  # the day before yesterday's is forgotten


def test_a_machine_that_was_had_opens_its_pool() -> None:
    had = failed(EAST, 1, Cause.WORKLOAD, Scope.PROJECT)
    had = replace(had, obtained_zone=zones_of(EAST)[0], obtained_machine_type=EAST.machine_types[0])
    assert EAST.id in blocked([failed(EAST, 5, scope=Scope.PURCHASE)])
    assert EAST.id not in blocked([failed(EAST, 5, scope=Scope.PURCHASE), had])


@pytest.mark.parametrize(
    "cause", [Cause.TRANSIENT, Cause.PERMISSION, Cause.IMAGE, Cause.BAD_REQUEST, Cause.WORKLOAD, Cause.UNKNOWN]
)
def test_other_causes_block_nothing(cause: Cause) -> None:
    assert blocked([failed(US, cause=cause, scope=Scope.CLOUD)]) == set()


def test_the_third_interruption_is_a_shortage() -> None:
    taken = [failed(US, 300 - 100 * number, Cause.INTERRUPTED, Scope.ZONE) for number in range(3)]
    now = taken[-1].ended or NOW
    assert blocked(taken[:2]) == set() and blocked(taken, now=now) == names(US, GKE_US)
    spread = [failed(US, minutes, Cause.INTERRUPTED, Scope.ZONE) for minutes in (500, 200, 1)]
    assert blocked(spread) == set()
    stopped = [replace(one, outcome=Outcome.STOPPED) for one in taken]
    assert blocked(stopped, now=now) == set()  # by a person, which says nothing of the cloud


def test_not_offered_is_for_good_until_a_live_answer_says_so() -> None:
    lost = failed(US, 60, Cause.NOT_OFFERED, Scope.REGION)
    for later in (timedelta(0), timedelta(days=400)):
        assert blocked([lost], now=NOW + later) == names(US, GKE_US)
    found = blocks([lost], EVERYTHING, NOW)
    live = verdict(US, offered_live=True)
    # It was listed before the attempt as well, so that is no news at once.
    assert blocking(found, US, live, NOW) and blocking(found, US, None, NOW + timedelta(days=2))
    assert blocking(found, US, live, NOW + timedelta(days=2)) is None
    # A zone whose name nobody knows is not the whole region.
    assert blocked([failed(AWS, cause=Cause.NOT_OFFERED, scope=Scope.ZONE, zones=("us-east-1e",))]) == set()


def quota_failure(rung: Rung, minutes_ago: float, metric: str | None, limit: float | None = None) -> Attempt:
    return failed(rung, minutes_ago, Cause.QUOTA, Scope.REGION, quota=QuotaFacts(metric, limit), mend="ask for more")


def test_quota_covers_who_draws_from_it() -> None:
    bigger = rungs(Surface.GCE, "l4", "us-central1", purchases=SPOT, machine_types=("g2-standard-16",))[0]
    ladder = (*EVERYTHING, bigger)
    covered = names(US, GKE_US, bigger)
    for metric in ("PREEMPTIBLE_NVIDIA_L4_GPUS", "compute.googleapis.com/preemptible_nvidia_l4_gpus"):
        assert blocked([quota_failure(US, 1, metric)], ladder) == covered
    # The whole project's: everything of Compute Engine that has a GPU, and not Cloud Run, whose quota is its own.
    assert blocked([quota_failure(US, 1, "GPUS_ALL_REGIONS")], ladder) == covered | names(EAST, US_DEMAND, T4)
    # AWS doesn't name it, but there is only one that it can be.
    assert blocked([quota_failure(AWS, 1, None)], ladder) == names(AWS)
    # Who needs less may still fit.
    four = rungs(Surface.GCE, "l4", "us-central1", purchases=SPOT, count=4)[0]
    assert blocked([quota_failure(four, 1, "PREEMPTIBLE_NVIDIA_L4_GPUS")], (US, four)) == names(four)


def test_quota_holds_until_it_changes() -> None:
    lost = quota_failure(US, 1, "PREEMPTIBLE_NVIDIA_L4_GPUS", 0)
    found = blocks([lost], EVERYTHING, NOW)
    name = "PREEMPTIBLE-NVIDIA-L4-GPUS-per-project-region"

    def known(limit: float, usage: float | None, said: Finding) -> Verdict:
        return verdict(US, quota=said, quotas=(QuotaState("compute.googleapis.com", name, limit, usage),))

    assert blocking(found, US, None, NOW) and blocking(found, US, verdict(US, quota=UNKNOWN), NOW)
    assert blocking(found, US, known(0, 0, NO), NOW) and blocking(found, US, known(0, None, YES), NOW)
    assert blocking(found, US, known(1, 0, YES), NOW) is None  # it suffices now
    assert blocking(found, US, known(4, None, YES), NOW) is None  # another limit than the one that failed
    assert blocking(found, US, None, NOW + timedelta(hours=24)) is None
    # Figures that sufficed before as well don't lift it at once.
    again = blocks([quota_failure(US, 9, "PREEMPTIBLE_NVIDIA_L4_GPUS", 0), lost], EVERYTHING, NOW)
    shut = shut_by(again, US, known(1, 0, YES), NOW)
    assert shut is not None and shut.opens == NOW + 9 * MINUTE


def test_a_rung_of_several_machine_types_is_blocked_if_all_are() -> None:
    one = rungs(Surface.ECS, "l4", "us-east-1", machine_types=("g6.xlarge",))[0]
    both = rungs(Surface.ECS, "l4", "us-east-1", machine_types=("g6.xlarge", "g6.2xlarge"))[0]
    assert blocked([failed(one)], (one, both)) == names(one)
    assert blocked([failed(both)], (one, both)) == names(one, both)


def test_aws_zones_named_by_letters() -> None:
    """AWS's texts say us-east-1a, the catalogue use1-az1, and which is which differs from account to account."""
    lost = failed(AWS, 1, scope=Scope.ZONE, zones=("us-east-1a",), hint=("us-east-1c", "us-east-1d"))
    chosen = choice_of(stack([US, AWS]), [lost], tried=[AWS])
    assert (chosen.rung, chosen.zones) == (AWS, ("us-east-1c", "us-east-1d"))


def test_rungs_that_left_the_ladder_are_read_from_their_ids() -> None:
    reserved = rungs(Surface.GCE, "h200", "us-central1", purchases=(Purchase.RESERVED,), count=8, reservation="r/1@x")
    fraction = rungs(Surface.ECS, "l4", "us-east-1", count=0.125, zones=("use1-az1",))
    for rung in (*EVERYTHING, *reserved, *fraction):
        assert rung_of_id(rung.id, rung.tier) == replace(rung, max_hours=None)
    assert rung_of_id("nonsense", "l4") is None and rung_of_id("gce/x", "l4") is None
    assert blocked([failed(US)], [GKE_US]) == names(GKE_US)


# -- choosing -------------------------------------------------------------------------------------------------------


def test_the_ladder_decides() -> None:
    chosen = choice_of(stack(EVERYTHING))
    assert chosen.rung == US and [line.state for line in chosen.lines] == ["next", *["later"] * 7]
    assert [line.rung_id for line in chosen.lines] == [rung.id for rung in EVERYTHING]
    assert chosen.retry_at is None


def test_cheapest_and_soonest() -> None:
    prices = [verdict(US, usd_per_hour=2.0), verdict(EAST, usd_per_hour=1.0), verdict(T4, usd_per_hour=1.0)]
    ladder = [US, EAST, T4]
    assert choice_of(stack(ladder, order=Order.CHEAPEST), verdicts=prices).rung == EAST
    assert choice_of(stack([*ladder, LOCAL], order=Order.CHEAPEST)).rung == LOCAL
    odds = [verdict(US, odds=0.3), verdict(EAST), verdict(T4, odds=0.6)]
    soonest = stack(ladder, order=Order.SOONEST)
    assert choice_of(soonest, verdicts=odds).rung == T4
    assert choice_of(soonest, verdicts=[*odds[:2], verdict(T4)]).rung == EAST  # unknown counts a half
    # Shortages that are over, but not long ago.
    assert choice_of(soonest, [failed(EAST, 120)], verdicts=[*odds[:2], verdict(T4)]).rung == T4


def test_a_rung_without_a_price_comes_last_where_prices_decide() -> None:
    ladder = [US, EAST, T4]
    unpriced = [verdict(US, usd_per_hour=None), verdict(EAST), verdict(T4)]
    assert choice_of(stack(ladder), verdicts=unpriced).rung == US
    chosen = choice_of(stack(ladder, order=Order.CHEAPEST), verdicts=unpriced)
    assert chosen.rung != US and chosen.lines[0].state == "later" and "no price is known" in chosen.lines[0].why
    spent = [failed(T4, 600, usd=20.0)]
    chosen = choice_of(stack(ladder), spent, verdicts=unpriced)
    assert chosen.rung is None and "used up" in chosen.lines[0].why


def test_the_clouds_hint_comes_first_and_narrows() -> None:
    lost = failed(US, 1, scope=Scope.ZONE, zones=ZONES[:1], hint=ZONES[1:2])
    chosen = choice_of(stack(EVERYTHING), [lost], tried=[US])
    assert (chosen.rung, chosen.zones) == (US, ZONES[1:2])
    assert ZONES[1] in chosen.lines[0].why
    # Even where the region as a whole was lost; but not half an hour later, nor for another tier or purchase.
    whole = failed(US, 1, hint=ZONES[1:2])
    assert choice_of(stack([T4, US_DEMAND, US]), [whole], tried=[US]).rung == US
    assert choice_of(stack([T4, US_DEMAND, US]), [failed(US, 31, hint=ZONES[1:2])], tried=[US]).rung == T4


def test_zones_that_name_each_other_are_not_tried_for_ever() -> None:
    a, b = ZONES[:2]
    attempts = [failed(US, 9, scope=Scope.ZONE, zones=ZONES, hint=(a,))]
    for number, (tried, named) in enumerate([(a, b), (b, a), (a, b)]):
        chosen = choice_of(stack([US]), attempts, tried=[US])
        if chosen.rung is None:
            break
        assert chosen.zones == (tried,)
        attempts.append(failed(US, 8 - number, scope=Scope.ZONE, narrowed=(tried,), hint=(named,)))
    assert len(attempts) == 3 and chosen.rung is None


def test_comparability() -> None:
    results = [won(T4, 30)]
    same_tier = stack(EVERYTHING, comparability=Comparability.SAME_TIER_ONLY)
    assert choice_of(same_tier).rung == US
    chosen = choice_of(same_tier, results)
    assert chosen.rung == T4 and "same-tier-only" in chosen.lines[0].why
    assert choice_of(same_tier, [won(T4, job="another")]).rung == US
    assert choice_of(same_tier, [*results, failed(T4)]).rung is None
    same_region = stack([US, EAST, T4], comparability=Comparability.SAME_REGION_FIRST)
    assert choice_of(same_region, [won(EAST, 30)]).rung == EAST
    assert choice_of(same_region, [won(EAST, 30), failed(EAST)]).rung == US
    had = replace(failed(EAST, 30, Cause.WORKLOAD), obtained_machine_type=EAST.machine_types[0])
    assert choice_of(same_region, [had]).rung == EAST and choice_of(same_region, [failed(EAST, 300)]).rung == US


def test_the_budget_holds() -> None:
    cheap, dear = verdict(US, usd_per_hour=3.0), verdict(EAST, usd_per_hour=1.0)
    settings = stack([US, EAST], Budget(usd=4.0, hours=5))
    assert choice_of(settings, verdicts=[cheap, dear]).rung == US
    spent = [failed(T4, 600, usd=2.0, minutes=60)]
    chosen = choice_of(settings, spent, verdicts=[cheap, dear])
    assert chosen.rung == EAST and "over the budget" in chosen.lines[0].why and "$2.00 are left" in chosen.lines[0].why
    assert choice_of(settings, [replace(spent[0], job="another")], verdicts=[cheap, dear]).rung == US
    assert choice_of(settings, [failed(T4, 600, minutes=300)], verdicts=[cheap, dear]).rung is None
    assert limit_hours(settings, JOB, US, cheap, spent, 9.0) == pytest.approx(2 / 3)
    assert limit_hours(settings, JOB, EAST, dear, spent, 1.5) == 1.5
    assert limit_hours(settings, JOB, LOCAL, None, spent, 9.0) == 4.0
    assert limit_hours(settings, JOB, replace(LOCAL, max_hours=0.25), None, spent, 9.0) == 0.25
    assert limit_hours(settings, JOB, EAST, dear, [failed(T4, usd=9.0)], 9.0) == 0.0


def test_a_pinned_rung_is_the_only_one() -> None:
    pinned = replace(stack([US, EAST]), rung=EAST.id)
    chosen = choice_of(pinned)
    assert chosen.rung == EAST and EAST.id in chosen.lines[0].why
    assert choice_of(pinned, [failed(EAST)]).rung is None
    assert current_rung(pinned, [failed(EAST)], NOW) == EAST


def test_a_missing_permission_of_the_best_rung_stops() -> None:
    settings = stack([US, EAST])
    refused = verdict(US, permitted=Finding(Said.NO, "vm@p1 lacks pull"), mend="gcloud … add-iam")
    chosen = choice_of(settings, verdicts=[refused, verdict(EAST)])
    assert chosen.rung is None and chosen.refused is not None and chosen.retry_at is None
    assert (chosen.refused.rung_id, chosen.refused.mend) == (US.id, "gcloud … add-iam")
    assert chosen.lines[0].why == "not permitted: vm@p1 lacks pull" and chosen.lines[1].state == "later"
    # One further down, or blocked, is passed over like any other.
    assert choice_of(stack([EAST, US]), verdicts=[refused, verdict(EAST)]).rung == EAST
    assert choice_of(settings, [failed(US)], [refused, verdict(EAST)]).rung == EAST


def test_when_nothing_is_left() -> None:
    settings = stack([US, EAST, T4])
    attempts = [failed(US, 2), failed(EAST, 1)]
    verdicts = [verdict(US), verdict(EAST), verdict(T4, quota=NO, mend="ask: gcloud")]
    chosen = choice_of(settings, attempts, verdicts, tried=[US, EAST])
    assert chosen.rung is None and chosen.retry_at == NOW + 18 * MINUTE
    assert chosen.requests == ("ask: gcloud",)
    assert [line.state for line in chosen.lines] == ["passed over"] * 3
    assert "blocked until 2026-11-21 12:18 UTC: sold out at 2026-11-21 11:58 UTC: l4 spot" in chosen.lines[0].why
    assert chosen.lines[2].why == "quota: because"


def test_a_lost_rung_that_nothing_blocks_rests_before_it_is_tried_again() -> None:
    lost = failed(US, 1, scope=Scope.ZONE, zones=ZONES[:1])
    chosen = choice_of(stack([US]), [lost], tried=[US])
    assert chosen.rung is None and chosen.retry_at == NOW + 9 * MINUTE
    assert choice_of(stack([US]), [lost]).rung == US  # another walk may try at once


def test_the_quotas_that_failed_are_asked_for() -> None:
    chosen = choice_of(stack([US, LOCAL]), [quota_failure(US, 1, "PREEMPTIBLE_NVIDIA_L4_GPUS")])
    assert chosen.rung == LOCAL and chosen.requests == ("ask for more",)


def test_current_rung() -> None:
    settings = stack([US, EAST, T4])
    assert current_rung(settings) == US
    assert current_rung(settings, [failed(US)], NOW) == EAST
    assert current_rung(settings, [failed(US)], NOW + timedelta(hours=2)) == US
    assert current_rung(settings, [won(T4, 50), failed(US)], NOW, job=JOB) == T4
    assert current_rung(settings, [won(T4, 50), failed(US)], NOW, job="new image") == EAST
    under_way = attempt(EAST, NOW, None)
    assert current_rung(settings, [won(T4, 50), under_way], NOW, job=JOB) == EAST
    assert current_rung(settings, [failed(one, scope=Scope.CLOUD) for one in settings.ladder], NOW) == US
    mixed = stack([US, AWS, LOCAL])
    assert current_rung(mixed, surfaces=("local",)) == LOCAL
    assert current_rung(mixed, [failed(US)], NOW, surfaces=("gce", "local")) == LOCAL


# -- in any world ---------------------------------------------------------------------------------------------------

POOL = (
    *EVERYTHING,
    *rungs(Surface.GCE, "l4", "us-central1", "us-east1", "us-west1", purchases=(Purchase.FLEX_START,)),
    *rungs(Surface.ECS, "a10g", "us-east-1", "us-west-2", purchases=SPOT),
    *rungs(Surface.GCE, "t4", "us-east1", "us-west1", purchases=(Purchase.ON_DEMAND,)),
    *expand([LadderEntry(Surface.GCE, "p1", ("us-central1",), ZONES[:1], ("l4",), purchases=SPOT)]),
)
findings = st.sampled_from([YES, YES, YES, UNKNOWN, NO])
metrics = st.sampled_from([None, "GPUS_ALL_REGIONS", "PREEMPTIBLE_NVIDIA_L4_GPUS", "L-3819A6DF", "CPUS"])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Settings, list[Verdict], list[Attempt], list[Rung]]:
    ladder = draw(st.lists(st.sampled_from(POOL), min_size=1, max_size=8, unique_by=lambda rung: rung.id))
    verdicts = [
        Verdict(
            rung.id,
            draw(findings),
            draw(findings),
            draw(findings),
            draw(st.sampled_from([None, 0.0, 0.5, 1.0, 8.0])),
            "live",
            odds=draw(st.sampled_from([None, 0.1, 0.5, 0.9])),
            offered_live=draw(st.booleans()),
            quotas=(QuotaState("x", "PREEMPTIBLE_NVIDIA_L4_GPUS", draw(st.sampled_from([0.0, 4.0])), 0.0),),
            mend="mend",
        )
        for rung in ladder
    ]
    attempts = []
    for _ in range(draw(st.integers(0, 8))):
        rung = draw(st.sampled_from(POOL))
        zones = zones_of(rung)
        some = st.just(()) if not zones else st.lists(st.sampled_from(zones), max_size=3, unique=True).map(tuple)
        if draw(st.integers(0, 5)) == 0:
            attempts.append(won(rung, draw(st.integers(0, 3000)), usd=draw(st.sampled_from([0.0, 1.0]))))
            continue
        attempts.append(
            failed(
                rung,
                draw(st.integers(0, 3000) | st.integers(0, 40)),
                draw(st.sampled_from([*Cause, Cause.CAPACITY, Cause.CAPACITY, Cause.QUOTA])),
                draw(st.sampled_from(Scope)),
                narrowed=draw(some),
                zones=draw(some),
                hint=draw(some),
                quota=QuotaFacts(draw(metrics), draw(st.sampled_from([None, 0.0]))),
                usd=draw(st.sampled_from([0.0, 0.0, 3.0])),
                job=draw(st.sampled_from([JOB, JOB, "other"])),
            )
        )
    settings = Settings(
        tuple(ladder),
        budget=Budget(draw(st.sampled_from([0.4, 5.0, 20.0])), draw(st.sampled_from([0.01, 24.0]))),
        placement=Placement(draw(st.sampled_from(Order)), draw(st.sampled_from(Comparability))),
    )
    attempts = [replace(one, id=f"{one.id}{number}") for number, one in enumerate(attempts)]
    return settings, verdicts, attempts, draw(st.lists(st.sampled_from(ladder), max_size=3))


@given(worlds())
@hypothesis_settings(max_examples=400, deadline=None)
def test_never_what_is_impossible_blocked_tried_or_over_budget(
    world: tuple[Settings, list[Verdict], list[Attempt], list[Rung]],
) -> None:
    settings, verdicts, attempts, tried = world
    chosen = choice_of(settings, attempts, verdicts, tried=tried)
    assert choice_of(settings, attempts[::-1], verdicts[::-1], tried=tried[::-1]) == chosen  # deterministic
    assert [line.rung_id for line in chosen.lines] == [rung.id for rung in settings.ladder]
    assert all(line.why for line in chosen.lines)
    nexts = [line.rung_id for line in chosen.lines if line.state == "next"]
    assert nexts == ([chosen.rung.id] if chosen.rung else [])
    found = blocks(attempts, settings.ladder, NOW)
    by_id = {one.rung: one for one in verdicts}
    # The budget is a walk's: what was spent before the last results is settled.
    mine = sorted((one for one in attempts if one.job == JOB), key=lambda one: one.id)
    settled = max((number for number, one in enumerate(mine) if one.outcome is Outcome.WON), default=-1)
    spent = sum(one.usd for one in mine[settled + 1 :])
    hours = sum(one.seconds for one in mine[settled + 1 :]) / 3600
    for rung, line in zip(settings.ladder, chosen.lines, strict=True):
        if line.state == "passed over":
            continue
        known = by_id[rung.id]
        assert known.possible and settings.budget.hours > hours
        assert not known.usd_per_hour or spent + known.usd_per_hour * 1.0 <= settings.budget.usd
        if rung != chosen.rung or not chosen.zones:
            is_hinted = any(hint.tier == rung.tier and hint.purchase == rung.purchase for hint in found.hints)
            assert is_hinted or (rung not in tried and blocking(found, rung, known, NOW) is None)
        limit = limit_hours(settings, JOB, rung, known, attempts, 50.0)
        assert 0 < limit <= 50
        assert not known.usd_per_hour or spent + limit * known.usd_per_hour <= settings.budget.usd + 1e-9
    if chosen.rung and chosen.zones:
        one_by_one = [shut_by(found, chosen.rung, by_id[chosen.rung.id], NOW, (zone,)) for zone in chosen.zones]
        assert not any(one_by_one)


@given(worlds())
@hypothesis_settings(max_examples=200, deadline=None)
def test_the_ladder_is_kept_within_equals(world: tuple[Settings, list[Verdict], list[Attempt], list[Rung]]) -> None:
    settings, verdicts, _, _ = world
    same = [replace(one, usd_per_hour=0.1, odds=None) for one in verdicts]
    chosen = choice_of(replace(settings, budget=Budget()), (), same)
    first = next((line for line in chosen.lines if line.state != "passed over"), None)
    if chosen.refused is None:
        assert (first.state if first else None) == ("next" if chosen.rung else None)
        return
    # The one that is refused stands before all that could be tried.
    assert chosen.rung is None and "next" not in {line.state for line in chosen.lines}
    order = [line.rung_id for line in chosen.lines if line.state == "later" or line.rung_id == chosen.refused.rung_id]
    assert order[0] == chosen.refused.rung_id


@given(worlds())
@hypothesis_settings(max_examples=400, deadline=None)
def test_retry_at_is_the_first_time_that_something_opens(
    world: tuple[Settings, list[Verdict], list[Attempt], list[Rung]],
) -> None:
    settings, verdicts, attempts, _ = world
    chosen = choice_of(settings, attempts, verdicts)
    if chosen.rung is not None or chosen.refused is not None:
        assert chosen.retry_at is None
        return
    later = choice_of(settings, attempts, verdicts, now=chosen.retry_at) if chosen.retry_at else None
    assert later is None or later.rung is not None or later.refused is not None
    before = (chosen.retry_at or NOW + timedelta(days=4000)) - timedelta(seconds=1)
    if before >= NOW:
        early = choice_of(settings, attempts, verdicts, now=before)
        assert early.rung is None and early.refused is None


@given(worlds(), st.integers(0, 3000))
@hypothesis_settings(max_examples=200, deadline=None)
def test_blocks_only_end_as_time_passes(
    world: tuple[Settings, list[Verdict], list[Attempt], list[Rung]], minutes: int
) -> None:
    settings, _, attempts, _ = world
    now: tuple[Block, ...] = blocks(attempts, settings.ladder, NOW)
    then = blocks(attempts, settings.ladder, NOW + minutes * MINUTE)
    assert set(then) <= set(now)
    assert all(block.until is None or block.until > block.since for block in now)
    assert all(block.why and block.covers and block.times >= 1 for block in now)


def test_the_catalogue_is_the_one_these_tests_were_written_for() -> None:
    """Else the rungs above mean something else."""
    assert len(ZONES) >= 2 and all(catalog.region_of_zone("gce", zone) == "us-central1" for zone in ZONES)
