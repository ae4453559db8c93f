"""Random worlds, and the walk through one of them without an engine: in this process, in milliseconds.

What stands in for the engine is `DirectEngine`: it does what the program and an engine do in an update (the attempt's
resources in order, the runs, then the deletes), with the same names, retries and ledger entries. The walk, its hands,
the stand-ins, the providers and the simulated cloud are the real ones. A process that is killed is an exception that
nothing catches, after which a new walk begins with what outlives a process: cloud, ledger, results, the engine's state.

`python -m tests.placement.worlds SEED --rungs 4 --faults stock,quota --deaths 1` shows a world and its walk.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

import fsspec  # type: ignore[import-untyped]
import pulumi

import catalog
import components
from benchmark_job import due as due_runs
from benchmark_job import job as job_component
from benchmark_job.attempting import Attempting, end_attempt, where
from benchmark_job.order import RunOrder, job_digest
from components.interface import SurfaceError
from engine.base import PROJECT, EngineError, Result
from engine.embedded.providers import ProviderError
from engine.hands import EngineHands
from engine.program import RELEASE_VARIABLE
from engine.simulated import connection, standins
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud, CloudError
from engine.simulated.provider import SimulatedProvider
from engine.simulated.scenario import (
    Deny,
    Fails,
    Flaky,
    Image,
    Interruption,
    LeftOver,
    LimitChange,
    NotOffered,
    PriceRule,
    QuotaRule,
    Run,
    Scenario,
    Stock,
    StockChange,
)
from placement.causes import classify
from placement.choice import current_rung
from placement.clock import Clock
from placement.ladder import Purchase, Surface
from placement.ledger import Attempt, Ledger, Outcome, to_json
from placement.walk import Ending, Hands, Walk, retry_delay
from settings import Settings

_T = TypeVar("_T")

STACK = "world"
FAULTS = (
    "stock",
    "zones",
    "quota",
    "deny",
    "not-offered",
    "interruptions",
    "flaky",
    "limit",
    "budget",
    "order",
    "image",
    "workload",
    "prices",
    "account",
    "neighbours",
    "wait",
    "pin",
)
CRASH = "crash"
"""A fault of the process that waits for the run: it ends, and leaves the capacity as it is. Only here: see `World`."""

LONGEST = timedelta(days=12)
"""No walks of a world take so long: `wait` is at most two days, and three of four are killed."""


class Killed(BaseException):
    """`kill -9`: nothing may catch it."""


@dataclass(frozen=True)
class Death:
    """The process ends at its ``call``-th call of cloud, ledger or hands, before or ``after`` its effect.

    ``minutes`` later the walk is run again.
    """

    call: int
    after: bool
    minutes: float


@dataclass(frozen=True)
class World:
    """A stack, a cloud, and when the walk is killed.

    In the first ``crashes`` attempts the run's process ends when the run was asked for, and takes nothing away.
    """

    values: Mapping[str, Any]
    scenario: Scenario
    wait: timedelta = timedelta(0)
    deaths: tuple[Death, ...] = ()
    crashes: int = 0

    def settings(self) -> Settings:
        """As the stack's file would give them."""
        return Settings.from_config(self.values, source="world")


# -- random ones ------------------------------------------------------------------------------------------------------


def world(seed: int, rungs: int, faults: frozenset[str], deaths: int = 0) -> World:
    """The world of a seed: up to so many rungs, and these kinds of FAULTS. One fault less changes no other one."""
    ladder = _ladder(random.Random(f"{seed} ladder"), rungs)
    values: dict[str, Any] = {
        "gpubench:ladder": ladder,
        "gpubench:results": "memory",
        "gpubench:budget": {"usd": 10_000, "hours": 700},
    }
    chance = random.Random(f"{seed} benchmark")
    benchmark: dict[str, Any] = {"workload": ["kernels"], "repeats": chance.choice((1, 1, 2, 3))}
    benchmark["timeout_minutes"] = chance.choice((10, 30, 60))
    values["gpubench:benchmark"] = benchmark
    placement: dict[str, Any] = {"attempt_minutes": chance.choice((5, 30))}
    scenario = Scenario(
        seed=seed, run=Run(minutes=chance.choice((1.0, 8.0, 25.0, 55.0)), cpu_factor=chance.choice((1, 3)))
    )
    wait = timedelta(0)
    clouds = [entry for entry in ladder if entry["surface"] != "local"]
    for fault in FAULTS:
        if fault not in faults:
            continue
        chance = random.Random(f"{seed} {fault}")
        if fault == "wait":
            wait = timedelta(hours=chance.choice((1, 6, 48)))
        elif fault == "budget":
            values["gpubench:budget"] = {
                "usd": chance.choice((0.05, 0.3, 1, 2, 4, 8, 20, 60)),
                "hours": chance.choice((1, 24)),
            }
        elif fault == "order":
            placement["order"] = chance.choice(("ladder", "cheapest", "soonest"))
            placement["comparability"] = chance.choice(("any", "same-tier-only", "same-region-first"))
        elif fault == "pin":
            if chance.random() < 0.2:
                settings = Settings.from_config(values, source="world")
                values["gpubench:rung"] = chance.choice(settings.ladder).id
        else:
            scenario = replace(scenario, **_MAKERS[fault](chance, clouds))
    values["gpubench:placement"] = placement
    chance = random.Random(f"{seed} deaths")
    ends = tuple(
        Death(int(2 ** chance.uniform(0, 8)), chance.random() < 0.5, chance.choice((0.1, 5, 300)))
        for _ in range(deaths)
    )
    return World(values, scenario, wait, ends, random.Random(f"{seed} crash").choice((1, 2)) if CRASH in faults else 0)


@lru_cache(maxsize=1)
def _kinds() -> tuple[dict[str, Any], ...]:
    """Entries of one rung: what the catalogue says is sold, but for reservations, in a few regions of each surface."""
    found = []
    for offer in catalog.offers():
        for region, purchase in itertools.product(offer.regions[:4], offer.purchases):
            if purchase is Purchase.RESERVED or purchase in offer.unverified:
                continue
            entry: dict[str, Any] = {"surface": str(offer.surface), "region": region, "tier": offer.tier}
            if offer.surface is not Surface.ECS:
                entry["project"] = "project-1"
            if offer.gpus:
                entry["count"] = offer.gpus
            found.append({**entry, "purchase": str(purchase), "machine_type": offer.machine_type})
    return tuple(found)


def _ladder(chance: random.Random, most: int) -> list[dict[str, Any]]:
    kinds = _kinds()
    if chance.random() < 0.5:  # rungs that share regions, tiers and quotas
        tiers = {chance.choice(kinds)["tier"] for _ in range(2)}
        kinds = tuple(one for one in kinds if one["tier"] in tiers)
    found = {str(one): one for one in (chance.choice(kinds) for _ in range(most))}
    ladder = list(found.values())
    if chance.random() < 0.15:
        ladder[-1] = {"surface": "local"}
    return ladder


def _some(chance: random.Random, clouds: list[dict[str, Any]], share: float) -> list[dict[str, Any]]:
    return [one for one in clouds if chance.random() < share]


def _about(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"tier": entry["tier"], "surface": entry["surface"], "regions": (entry["region"],)}


def _stock(chance: random.Random, clouds: list[dict[str, Any]]) -> dict[str, Any]:
    made = []
    for one in _some(chance, clouds, 0.7):
        changes = sorted(chance.sample(range(1, 240), chance.choice((0, 0, 1, 2))))
        stock = Stock(
            **_about(one),
            purchases=(one["purchase"],) if chance.random() < 0.7 else (),
            machines=chance.choice((0, 0, 0, 1)),
            changes=tuple(StockChange(after_minutes=at, machines=chance.choice((0, 1))) for at in changes),
            hint=chance.random() < 0.5,
            advice=chance.choice(("right", "wrong", "none")),
        )
        made.append(stock)
    return {"stock": tuple(made)}


def _zones(chance: random.Random, clouds: list[dict[str, Any]]) -> dict[str, Any]:
    """Single zones that are sold out, or the only ones that aren't; hints name them."""
    made = []
    for one in _some(chance, clouds, 0.5):
        offers = catalog.offers(surface=one["surface"], tier=one["tier"], machine_type=one["machine_type"])
        zones = [zone for offer in offers for zone in offer.zones(one["region"])]
        if zones:
            made.append(Stock(**_about(one), machines=0, hint=True))
            free = tuple(chance.sample(zones, chance.randint(0, len(zones))))
            if free:
                made.append(Stock(**_about(one), zones=free, machines=1, hint=True))
    return {"stock": tuple(made)}


def _quota(chance: random.Random, clouds: list[dict[str, Any]]) -> dict[str, Any]:
    made = []
    for one in _some(chance, clouds, 0.4):
        changes = ((), (), (LimitChange(after_minutes=chance.randint(5, 400), limit=chance.choice((0.0, 64.0))),))
        made.append(
            QuotaRule(
                limit=chance.choice((0.0, 0.0, 1.0, 8.0)),
                tier=one["tier"],
                surface=one["surface"],
                regions=(one["region"],) if chance.random() < 0.7 else (),
                used=chance.choice((0.0, 0.0, 1.0)),
                shown=chance.random() < 0.6,
                changes=chance.choice(changes),
            )
        )
    return {"quotas": tuple(made)}


def _deny(chance: random.Random, _clouds: list[dict[str, Any]]) -> dict[str, Any]:
    from engine.simulated.grants import PERMISSIONS, PRINCIPALS, ROLES

    until = chance.choice((None, None, 20.0))
    if chance.random() < 0.5:
        return {"deny": (Deny(permission=chance.choice(sorted(PERMISSIONS)), until_minutes=until),)}
    who = chance.choice((None, *sorted(PRINCIPALS)))
    return {"deny": (Deny(role=chance.choice(sorted(ROLES)), principal=who, until_minutes=until),)}


def _not_offered(chance: random.Random, clouds: list[dict[str, Any]]) -> dict[str, Any]:
    made = (NotOffered(**_about(one), disguised=chance.random() < 0.5) for one in _some(chance, clouds, 0.3))
    return {"not_offered": tuple(made)}


def _interruptions(chance: random.Random, clouds: list[dict[str, Any]]) -> dict[str, Any]:
    made = (
        Interruption(
            **_about(one), after_minutes=chance.choice((0.5, 3, 12)), times=chance.choice((1, 1, 3)), purchases=p
        )
        for one in _some(chance, clouds, 0.5)
        for p in [chance.choice(((), (one["purchase"],)))]
    )
    return {"interruptions": tuple(made)}


def _prices(chance: random.Random, clouds: list[dict[str, Any]]) -> dict[str, Any]:
    # Nobody can ask for the price of an N1, which is sold with several tiers.
    priced = [one for one in _some(chance, clouds, 0.5) if not one["machine_type"].startswith("n1-")]
    made = (PriceRule(**_about(one), usd_per_hour=chance.choice((0.1, 1, 30))) for one in priced)
    return {"prices": tuple(made)}


def _workload(chance: random.Random, _clouds: list[dict[str, Any]]) -> dict[str, Any]:
    cause = chance.choice(("workload", "interrupted"))
    # What always interrupts would be gone on with until the budget is spent, which is a world of its own.
    times = chance.choice((None, 1)) if cause == "workload" else chance.choice((1, 2))
    return {"run": Run(minutes=4, fails=Fails(cause=cast(Any, cause), times=times))}


def _neighbours(chance: random.Random, clouds: list[dict[str, Any]]) -> dict[str, Any]:
    made = (
        LeftOver(surface=one["surface"], name=f"service-{number}", region=one["region"], tier=one["tier"], gpus=1)
        for number, one in enumerate(_some(chance, clouds, 0.4))
    )
    return {"leftovers": tuple(made)}


_MAKERS: Mapping[str, Callable[[random.Random, list[dict[str, Any]]], dict[str, Any]]] = {
    "stock": _stock,
    "zones": _zones,
    "quota": _quota,
    "deny": _deny,
    "not-offered": _not_offered,
    "interruptions": _interruptions,
    "flaky": lambda chance, _: {
        "flaky": Flaky(probability=chance.choice((0.1, 0.5, 1.0)), at_most=chance.choice((1, 2)))
    },
    "limit": lambda chance, _: {"requests_per_minute": chance.choice((20, 60))},
    "image": lambda _chance, _: {"image": Image(missing=True)},
    "workload": _workload,
    "prices": _prices,
    "account": lambda _chance, _: {"account": "new"},
    "neighbours": _neighbours,
}


# -- an engine without an engine --------------------------------------------------------------------------------------


@dataclass
class State:
    """What an engine keeps on disk: the resources by urn in the order of creation, and what was under way."""

    resources: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    outputs: dict[str, object] = field(default_factory=dict)


@dataclass
class Store:
    """The results store: for each run, the attempts that have complete results. ``crashes``: that are still to come."""

    complete: dict[str, list[str]] = field(default_factory=dict)
    crashes: int = 0


class DirectEngine:
    """An update as the program and an engine carry it out. See `engine.base.Engine`."""

    name = "direct"

    def __init__(
        self, settings: Settings, stack: str, cloud: Cloud, ledger: Ledger, state: State, results: Store
    ) -> None:
        self._settings, self._stack, self._cloud, self._ledger = settings, stack, cloud, ledger
        self._state, self._results = state, results
        self._providers = {package: SimulatedProvider(package, cloud) for package in ("gcp", "aws")}

    def preview(self) -> Result:
        """Changes nothing."""
        return Result()

    def destroy(self) -> Result:
        """Delete all that is in the state."""
        self._delete(frozenset(), None)
        return Result()

    def outputs(self) -> Mapping[str, object]:
        """Those of the last update that went well."""
        return self._state.outputs

    def cancel(self) -> bool:
        return False

    def is_torn(self) -> bool:
        """Whether a resource was being made, changed or deleted when the process ended."""
        return bool(self._state.pending)

    def up(self) -> Result:
        """One update. Raises EngineError."""
        self._state.pending.clear()
        settings, attempts = self._settings, self._ledger.attempts()
        job = job_digest(settings.benchmark)
        rung = current_rung(settings, attempts, self._cloud.now(), job=job, surfaces=components.built())
        orders = due_runs.orders(settings, rung, self._stack)
        due = [order for order in orders if not self._results.complete.get(order.run)]
        declared: set[str] = set()
        attempting = None
        if due and os.environ.get(RELEASE_VARIABLE) != "1":
            attempting = Attempting.open(settings, rung, self._ledger, self._cloud, self._stack, job)
            self._make(attempting, tuple(due), declared)
            for number, order in enumerate(orders, start=1):
                if order in due:
                    self._run(attempting, order, number, is_last=order is due[-1])
        self._delete(frozenset(declared), attempting)
        self._state.outputs = {"due": len(due)}
        return Result(self._state.outputs)

    def _make(self, attempting: Attempting, orders: tuple[RunOrder, ...], declared: set[str]) -> None:
        ids: dict[str, str] = {}
        capacity = job_component._capacity(attempting, orders, pulumi.ResourceHookBinding(), None)
        for spec in standins.specs(capacity):
            provider = self._providers[spec.type_token.partition(":")[0]]
            name = f"benchmark-capacity-{spec.name}-{capacity.attempt.rpartition('-')[2]}"
            parents = "gpubench:index:BenchmarkJob$gpubench:index:StandInCapacity"
            urn = f"urn:pulumi:{self._stack}::{PROJECT}::{parents}${spec.type_token}::{name}"
            declared.add(urn)
            old = self._state.resources.get(urn)
            inputs, mistakes = provider.check(urn, old[1] if old else {}, standins.resolved(spec.inputs, ids))
            assert not mistakes, mistakes
            if old is None:
                with self._under_way(urn):
                    made = self._trying(attempting, name, partial(provider.create, urn, inputs))
                    ids[spec.name] = made[0]
                    self._state.resources[urn] = (made[0], inputs, made[1])
                continue
            ids[spec.name] = old[0]
            change = provider.diff(urn, old[0], old[2], inputs)
            assert not change.replaces, f"{urn} would be replaced because of {change.replaces}"
            if change.changed:
                with self._under_way(urn):
                    outputs = self._trying(attempting, name, partial(provider.update, urn, old[0], old[2], inputs))
                    self._state.resources[urn] = (old[0], inputs, outputs)

    def _run(self, attempting: Attempting, order: RunOrder, number: int, *, is_last: bool) -> None:
        order = replace(order, attempt=attempting.attempt.id, ends_machine=is_last)

        def carried_out() -> None:
            try:
                if self._results.crashes and not attempting.rung.is_free:
                    self._results.crashes -= 1
                    self._cloud.start_run(order.attempt, order.run, order.timeout_s)
                    raise ProviderError("could not find capacity within 1 minute: and then its process was gone")
                done = standins.execute(standins.patient(self._cloud), order, lambda _text: None)
            except (SurfaceError, CloudError) as error:
                raise ProviderError(f"{error}\n(run {order.run} on {order.rung})") from error
            if done.failed is not None:
                raise ProviderError(
                    f"run {order.run} on {order.rung} failed. Cause: workload (exit-code): {done.failed}\n"
                    "  Mend: see what the benchmark itself printed"
                )
            self._results.complete.setdefault(order.run, []).append(order.attempt)

        self._trying(attempting, f"benchmark-run-{number}", carried_out)
        if is_last:
            surface = attempting.surface
            end_attempt(self._ledger, attempting.attempt, attempting.rung, surface, self._cloud, Outcome.WON, None)

    def _trying(self, attempting: Attempting | None, name: str, act: Callable[[], _T], *, deletes: bool = False) -> _T:
        """As the hooks of `benchmark_job.attempting` do it: again if it is transient, else the attempt has ended."""
        for tries in itertools.count(1):
            try:
                return act()
            except ProviderError as error:
                failure = classify(str(error), where(attempting.rung) if attempting else None)
                delay = retry_delay(failure, tries, f"{attempting.attempt.id}/{name}" if attempting else name)
                if delay is None:
                    if attempting and not deletes:
                        attempting.end(failure)
                    raise
                self._cloud.sleep(delay)
        raise AssertionError("count ends never")

    @contextmanager
    def _under_way(self, urn: str) -> Iterator[None]:
        self._state.pending.add(urn)
        try:
            yield
        except EngineError:
            self._state.pending.discard(urn)
            raise
        self._state.pending.discard(urn)

    def _delete(self, declared: frozenset[str], attempting: Attempting | None) -> None:
        for urn, (id_, _, outputs) in reversed(list(self._state.resources.items())):
            if urn in declared:
                continue
            token = urn.split("::")[2].rpartition("$")[2]
            provider = self._providers[token.partition(":")[0]]
            name, deleted = urn.rpartition("::")[2], partial(provider.delete, urn, id_, outputs)
            with self._under_way(urn):
                self._trying(attempting, name if attempting else urn, deleted, deletes=True)
                del self._state.resources[urn]


class DirectHands(EngineHands):
    """The walk's hands on a `DirectEngine`; which runs are due is asked of a store in memory."""

    def __init__(self, settings: Settings, engine: DirectEngine, ledger: Ledger, clock: Clock, results: Store) -> None:
        super().__init__(settings, STACK, engine, ledger, clock)
        self._results = results

    def due(self) -> tuple[str, ...]:
        """See `placement.walk.Hands`."""
        now, attempts = self._clock.now(), self._ledger.attempts()
        rung = current_rung(self._settings, attempts, now, job=self._job, surfaces=components.built())
        orders = due_runs.orders(self._settings, rung, STACK)
        return tuple(order.run for order in orders if not self._results.complete.get(order.run))


# -- walking ----------------------------------------------------------------------------------------------------------


@dataclass
class Life:
    """Of one process: what it calls, until it is killed."""

    death: Death | None
    calls: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def step(self, name: str, *, after: bool) -> None:
        """Before and after each call."""
        if not after:
            self.calls[name] += 1
            self.count += 1
            assert self.count < MOST_CALLS, f"no end after {self.count} calls: {self.calls.most_common(5)}"
        if self.death is not None and self.count == self.death.call and after == self.death.after:
            raise Killed(f"at call {self.count}, {'after' if after else 'before'} {name}")


MOST_CALLS = 20_000
_NO_EFFECT = frozenset({"now", "answer", "ask"})  # the last two are called by threads


class Mortal:
    """Something whose methods a process may be killed in."""

    def __init__(self, target: object, life: Life) -> None:
        self._target, self._life = target, life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name.startswith("_") or name in _NO_EFFECT or not callable(value):
            return value

        def called(*args: object, **named: object) -> Any:
            self._life.step(name, after=False)
            result = value(*args, **named)
            self._life.step(name, after=True)
            return result

        return called


class Watching:
    """A reporter that sees to it that a lost attempt asks for nothing any more when the next one begins."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._over: set[str] = set()

    def chosen(self, *_: object) -> None: ...

    def began(self, _: object) -> None:
        # Not by a request, which would count as the walk's.
        asking = [one for one in self._cloud._capacity.holdings if one.attempt in self._over and one.size > 0]
        assert not asking, f"still asked for: {[one.name for one in asking]}"

    def ended(self, attempt: Attempt) -> None:
        self._over.add(attempt.id)

    def waiting(self, _: object) -> None: ...


class Bounded(SimulatedClock):
    """A clock that doesn't go on for ever."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.end = start + LONGEST

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        assert self.now() < self.end, f"no end by {self.now()}"


@dataclass(frozen=True)
class Walked:
    """What came of a world: of its last walk, which nothing killed. ``killed``: where the earlier ones were.

    ``carried``: for each process, the ids of the attempts that it ended, or gave up, or left, in their order.
    """

    world: World
    settings: Settings
    ending: Ending
    killed: tuple[str, ...]
    carried: tuple[tuple[str, ...], ...]
    attempts: tuple[Attempt, ...]
    cloud: Cloud
    complete: Mapping[str, list[str]]
    state: State
    ended: datetime

    @property
    def usd(self) -> float:
        """The cloud's bill."""
        return sum(charge.usd for charge in self.cloud.bill())

    def ledger(self) -> list[dict[str, Any]]:
        """Every attempt as it is written down."""
        return [to_json(one) for one in self.attempts]


_numbers = itertools.count()


def walk(world: World) -> Walked:
    """Walk through a world, and again after each death."""
    settings = world.settings()
    state, results = State(), Store(crashes=world.crashes)
    job = job_digest(settings.benchmark)
    cloud = Cloud(world.scenario, Bounded(world.scenario.start))
    root = f"memory://world-{next(_numbers)}"
    killed: list[str] = []
    carried: list[tuple[str, ...]] = []
    try:
        for death in (*world.deaths, None):
            life = Life(death)
            over = {one.id for one in Ledger(root, STACK).attempts() if one.ended}
            mortal = cast(Cloud, Mortal(cloud, life))
            ledger = cast(Ledger, Mortal(Ledger(root, STACK), life))
            with connection.serve(mortal):
                engine = DirectEngine(settings, STACK, mortal, ledger, state, results)
                hands = DirectHands(settings, engine, ledger, mortal, results)
                try:
                    ending = Walk(
                        settings,
                        STACK,
                        job,
                        ledger,
                        cast(Hands, Mortal(hands, life)),
                        mortal,
                        Watching(cloud),
                        world.wait,
                    ).go()
                except Killed as how:
                    assert death is not None
                    killed.append(str(how))
                    cloud.sleep(60 * death.minutes)
                    continue
                finally:
                    carried.append(tuple(one.id for one in Ledger(root, STACK).attempts() if one.id not in over))
            if death is not None:
                continue  # it was to be killed later than it lived: once more, as people do run it again
            attempts, ended = Ledger(root, STACK).attempts(), cloud.now()
            cloud.sleep(60)  # or who looks at what is left is throttled, in some worlds
            return Walked(
                world,
                settings,
                ending,
                tuple(killed),
                tuple(carried),
                attempts,
                cloud,
                results.complete,
                state,
                ended,
            )
    finally:
        with suppress(FileNotFoundError):
            fsspec.filesystem("memory").rm(root, recursive=True)
    raise AssertionError("the last walk isn't killed")


def main() -> None:
    """Show a world and its walk."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--rungs", type=int, default=4)
    parser.add_argument("--faults", default=",".join(FAULTS), help="of %(default)s")
    parser.add_argument("--deaths", type=int, default=0)
    options = parser.parse_args()
    shown = world(options.seed, options.rungs, frozenset(options.faults.split(",")), options.deaths)
    print(f"{shown.values}\n{shown.scenario}\nwait {shown.wait}, {shown.deaths}")
    got = walk(shown)
    for where_killed in got.killed:
        print(f"killed {where_killed}")
    for one in got.attempts:
        about = f"{one.failure.cause} ({one.failure.code})" if one.failure else ""
        print(f"{one.begun:%d %H:%M:%S} {one.ended:%H:%M:%S} {one.rung} {one.outcome} {about} {one.usd:.2f} USD")
    print(f"{got.ending.end} at {got.ended:%d %H:%M:%S}, {got.usd:.2f} USD, {len(got.complete)} runs complete")


if __name__ == "__main__":
    main()
