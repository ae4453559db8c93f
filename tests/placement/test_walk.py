"""The walk, proven over random worlds: ladders, clouds, faults and kill points.

A failing example is shown with what makes its world: `python -m tests.placement.worlds` replays it.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.simulated.scenario import QuotaRule, Stock
from placement.causes import Cause
from placement.walk import End
from tests.placement import worlds
from tests.placement.worlds import CRASH, FAULTS, Walked, World, walk

GOES_ON = (Cause.CAPACITY, Cause.QUOTA, Cause.NOT_OFFERED, Cause.INTERRUPTED)
SHORTAGES = ("stock", "zones", "quota", "not-offered", "interruptions", "flaky", "limit", "order", "prices")
"""Faults that leave a rung alone which they aren't about, and that no person has to mend."""

SWEEP_S, IDLE_S = 6 * 60.0, 20 * 60.0
"""Seconds of the dearest machine that may be billed beyond the budget.

An attempt's machine has a time limit, which the cloud keeps and the budget pays for. But an Auto Scaling group's begins
before it has a machine, so it is 5 minutes longer. And a pool that scales by itself makes a node anew when that time is
up: the walk takes it away when it looks next; where it was killed, the pool does so itself, after the node has booted
and then was idle for ten minutes.
"""

many = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32)


def faults(*allowed: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(allowed), max_size=6)


def check(got: Walked) -> None:
    """What holds in every world."""
    # Never two complete runs for one due run.
    assert all(len(attempts) == 1 for attempts in got.complete.values()), got.complete
    repeats = got.settings.benchmark.repeats
    if got.ending.end in (End.DONE, End.NOTHING_DUE):
        assert len(got.complete) == repeats
    else:
        assert len(got.complete) < repeats
    # Nothing is left: no machine, no resource, nothing that the bill grows by, nothing under way.
    assert not [machine for machine in got.cloud.machines() if machine.ended is None]
    assert not got.cloud.leftovers(worlds.STACK)
    before = got.usd
    got.cloud.sleep(3 * 24 * 3600)
    assert got.usd == before
    assert all(attempt.ended is not None for attempt in got.attempts)
    # What a person has to mend is never followed by another attempt.
    known = {attempt.id: attempt for attempt in got.attempts}
    for carried in got.carried:
        for attempt in (known[id_] for id_ in carried[:-1]):
            assert attempt.cause in GOES_ON, f"{attempt.rung}: {attempt.failure}"
    # The ledger knows what was paid.
    assert abs(sum(attempt.usd for attempt in got.attempts) - before) < 0.01


@given(seed=seeds, rungs=st.integers(1, 8), kinds=faults(*FAULTS, CRASH))
@settings(many, max_examples=500)
def test_any_world(seed: int, rungs: int, kinds: frozenset[str]) -> None:
    check(walk(worlds.world(seed, rungs, kinds)))


@given(seed=seeds, rungs=st.integers(1, 6), kinds=faults(*FAULTS, CRASH), deaths=st.integers(1, 3))
@settings(many, max_examples=450)
def test_killed_and_run_again(seed: int, rungs: int, kinds: frozenset[str], deaths: int) -> None:
    check(walk(worlds.world(seed, rungs, kinds, deaths)))


@given(seed=seeds, rungs=st.integers(1, 8), kinds=faults(*(set(FAULTS) - {"budget"})), deaths=st.integers(0, 3))
@settings(many, max_examples=250)
def test_budget(seed: int, rungs: int, kinds: frozenset[str], deaths: int) -> None:
    if "prices" in kinds:
        kinds -= {"flaky", "limit"}  # who isn't told a price goes by the catalogue's
    got = walk(worlds.world(seed, rungs, kinds | {"budget"}, deaths))
    # Where nobody knows a price, dollars are no limit; hours are.
    priceless = {rung.id for rung in got.settings.ladder if not rung.is_free and rung.usd_per_hour is None}
    unknown = sum(attempt.usd for attempt in got.attempts if attempt.rung in priceless)
    dearest = max((machine.usd_per_hour for machine in got.cloud.machines()), default=0.0)
    slack = dearest * (IDLE_S if got.killed else SWEEP_S) / 3600
    assert got.usd - unknown <= got.settings.budget.usd + slack


@given(seed=seeds, rungs=st.integers(1, 6), kinds=faults(*SHORTAGES), deaths=st.integers(0, 2), place=st.integers(0, 6))
@settings(many, max_examples=250)
def test_gets_what_there_is(seed: int, rungs: int, kinds: frozenset[str], deaths: int, place: int) -> None:
    """One rung has stock, quota and permission throughout, and the budget is large: the walk gets results."""
    got = walk(with_a_good_rung(worlds.world(seed, rungs, kinds, deaths), place))
    assert got.ending.end in (End.DONE, End.NOTHING_DUE), [(one.rung, one.failure) for one in got.attempts]
    check(got)


def with_a_good_rung(world: World, place: int) -> World:
    """The same world with a rung on its ladder that no fault of it is about."""
    good = {"surface": "gce", "project": "project-2", "region": "europe-west4", "tier": "l4", "purchase": "on-demand"}
    ladder = list(world.values["gpubench:ladder"])
    ladder.insert(min(place, len(ladder)), good)
    scenario = world.scenario
    plenty = Stock(tier="l4", surface="gce", regions=("europe-west4",), machines=10**6)
    enough = QuotaRule(limit=1000.0, tier="l4", surface="gce", regions=("europe-west4",))
    run = replace(scenario.run, minutes=min(scenario.run.minutes, 8.0), cpu_factor=1.0)  # within every time-out
    values = {**world.values, "gpubench:ladder": ladder}
    stock, quotas = (*scenario.stock, plenty), (*scenario.quotas, enough)
    return replace(world, values=values, scenario=replace(scenario, stock=stock, quotas=quotas, run=run))


@given(seed=seeds, rungs=st.integers(1, 8), kinds=faults(*FAULTS), deaths=st.integers(0, 2))
@settings(many, max_examples=50)
def test_the_same_again(seed: int, rungs: int, kinds: frozenset[str], deaths: int) -> None:
    world = worlds.world(seed, rungs, kinds, deaths)
    one, other = walk(world), walk(world)
    assert one.ledger() == other.ledger()
    assert (one.killed, one.ended, one.ending.end) == (other.killed, other.ended, other.ending.end)
