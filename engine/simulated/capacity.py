"""Machines: who gets one, what happens to it, and what it costs. Events happen at their own time, in order.

Nothing here is a request: ``Cloud`` takes those, under its lock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from catalog import Purchase, Quota
from engine.simulated import words
from engine.simulated.asks import Ask, Shape, attempt_key, repository_of, zone_name
from engine.simulated.chance import hexes
from engine.simulated.grants import ACCOUNT, NEEDS, PROJECT, PULL, PULL_ECR, name_of
from engine.simulated.market import Market, QuotaKey, key_of, needs, shapes_of
from engine.simulated.model import Machine, MachineState, RunIs, RunState, Sighting, Source
from engine.simulated.scenario import Scenario
from placement.clock import Clock

IDLE_S = 600.0
"""A pool that scales by itself gives an idle node back after this: cluster autoscaler's default of 10 minutes."""


@dataclass(frozen=True)
class Refusal:
    """Why a machine isn't granted. ``kind``: quota, not-offered, disguised, stock; ``text``: without its wrapping."""

    kind: str
    code: str
    text: str
    zone: str | None


@dataclass
class Holding:
    """A resource that may hold machines (``ask``), or one that doesn't."""

    type_token: str
    id: str
    name: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    labels: dict[str, str]
    ask: Ask | None = None
    size: int = 0
    owned: bool = True
    gone: bool = False
    scales: bool = False
    waits_until: datetime | None = None
    machines: list[Live] = field(default_factory=list)
    declared: list[tuple[QuotaKey, float]] = field(default_factory=list)

    @property
    def attempt(self) -> str | None:
        """The attempt that it belongs to, as its label says."""
        return self.labels.get("gpubench-attempt")

    @property
    def stack(self) -> str | None:
        """The stack that it belongs to."""
        return self.labels.get("gpubench-stack")


@dataclass(eq=False)
class Live:
    """A machine that was granted."""

    id: str
    holding: Holding
    ask: Ask
    shape: Shape
    zone: str | None
    since: datetime
    usd_per_hour: float
    pool: tuple[int, str]
    quotas: list[tuple[QuotaKey, float]]
    state: MachineState = MachineState.BOOTING
    ready: bool = False
    broken: str = ""  # why it can't pull its image
    idle_since: datetime | None = None
    ended: datetime | None = None
    why_ended: str = ""
    run: Run | None = None

    def shown(self) -> Machine:
        """As it is shown outside."""
        return Machine(
            id=self.id,
            surface=self.shape.surface,
            project=self.ask.project,
            region=self.ask.region,
            zone=self.zone,
            machine_type=self.shape.machine_type,
            tier=self.shape.tier,
            gpus=self.shape.gpus,
            purchase=self.ask.purchase,
            state=self.state,
            since=self.since,
            usd_per_hour=self.usd_per_hour,
            attempt=self.holding.attempt,
            stack=self.holding.stack,
            ended=self.ended,
            why_ended=self.why_ended,
        )


@dataclass(eq=False)
class Run:
    """One execution of the benchmark."""

    attempt: str
    name: str
    timeout_s: float
    state: RunIs = RunIs.WAITING
    text: str = ""
    ends_at: datetime | None = None
    machine: Live | None = None
    on: str | None = None

    def shown(self) -> RunState:
        """As it is shown outside."""
        return RunState(self.state, self.text, self.ends_at, self.on)


class Capacity:
    """The machines of one world, and what waits for one."""

    def __init__(self, scenario: Scenario, clock: Clock, image: Callable[[Holding], str]) -> None:
        """``image``: what a holding's machines pull."""
        self.scenario, self.clock, self.market = scenario, clock, Market(scenario)
        self._image = image
        self.start = self.at = clock.now()
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._count = 0
        self.holdings: list[Holding] = []
        self.machines: list[Live] = []
        self.of_attempt: dict[str, list[Holding]] = {}
        self.sightings: dict[str, list[Sighting]] = {}
        self.runs: dict[str, dict[str, Run]] = {}
        self._in_pool: dict[tuple[int, str], int] = {}
        self._usage: dict[QuotaKey, float] = {}
        self._hungry: dict[str, Holding] = {}  # by id, in order: those that want more machines than they have
        self._interrupted: dict[int, int] = {}
        self._failed_runs = 0
        changes = {change.after_minutes for stock in scenario.stock for change in stock.changes}
        changes |= {change.after_minutes for quota in scenario.quotas for change in quota.changes}
        for minutes in sorted(changes):
            self.after(minutes * 60, self.refill)

    # Time

    def minutes(self) -> float:
        """Since the beginning."""
        return (self.at - self.start).total_seconds() / 60

    def after(self, seconds: float, what: Callable[[], None]) -> datetime:
        """Let something happen later."""
        self._count += 1
        when = self.at + timedelta(seconds=seconds)
        heapq.heappush(self._events, (when, self._count, what))
        return when

    def settle(self) -> None:
        """Let everything happen whose time has come."""
        now = self.clock.now()
        while self._events and self._events[0][0] <= now:
            when, _, what = heapq.heappop(self._events)
            self.at = max(self.at, when)
            what()
        self.at = max(self.at, now)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.sleep(seconds)
        self.settle()

    # Quotas

    def usage(self, key: QuotaKey) -> float:
        """How much of a quota is taken by what the scenario's stacks hold, in its unit."""
        *rest, project = key
        if project is None:
            return sum(amount for k, amount in self._usage.items() if list(k[:4]) == rest)
        # Resources that don't say whose they are count against every project.
        return self._usage.get(key, 0.0) + self._usage.get((key[0], key[1], key[2], key[3], None), 0.0)

    def others(self, quota: Quota, region: str) -> float:
        """What other people's services take of a quota."""
        taken = 0.0
        for left in self.scenario.leftovers:
            if quota.scope != "global" and left.region != region:
                continue
            for shape in _shapes(left.surface, left.tier):
                mine = next((q for q in needs(shape, Purchase.ON_DEMAND) if q.quota_id == quota.quota_id), None)
                if mine and mine.dimensions == quota.dimensions:
                    taken += mine.amount * left.gpus / (shape.gpus or 1)
                    break
        return taken

    def takers(self, quota: Quota, region: str, project: str | None) -> tuple[str, ...]:
        """What takes of a quota of Cloud Run's, by name: the one surface whose API lists it in one request."""
        if quota.service != "run.googleapis.com":
            return ()
        key = key_of(quota, region, project)
        others = [
            left.name
            for left in self.scenario.leftovers
            if left.region == region
            and any(quota in needs(s, Purchase.ON_DEMAND) for s in _shapes(left.surface, left.tier))
        ]
        return (*others, *(one.name for one in self.holdings if any(each == key for each, _ in one.declared)))

    def _take(self, key: QuotaKey, amount: float) -> None:
        self._usage[key] = self._usage.get(key, 0.0) + amount

    def short_of(self, ask: Ask, shape: Shape, count: float = 1) -> tuple[Quota, float, float] | None:
        """The first quota that ``count`` more machines would exceed, its limit, and what is taken of it."""
        for quota in needs(shape, ask.purchase):
            limit = self.market.limit(quota, ask.region, ask.project, self.minutes())
            taken = self.usage(key_of(quota, ask.region, ask.project)) + limit.used + self.others(quota, ask.region)
            if taken + quota.amount * count > limit.limit:
                return quota, limit.limit, taken
        return None

    def declare(self, holding: Holding, ask: Ask) -> None:
        """A Cloud Run service takes of its quotas what its maximum of instances would need, while it is there."""
        for key, amount in holding.declared:
            self._take(key, -amount)
        holding.declared = [
            (key_of(q, ask.region, ask.project), q.amount * ask.instances) for q in needs(ask.shapes[0], ask.purchase)
        ]
        for key, amount in holding.declared:
            self._take(key, amount)

    # Granting

    def add(self, holding: Holding) -> None:
        """A resource is there now."""
        self.holdings.append(holding)
        if holding.attempt:
            self.of_attempt.setdefault(attempt_key(holding.attempt), []).append(holding)

    def left_in(self, shape: Shape, region: str, zone: str | None, purchase: str) -> int:
        """How many machines there are still to be had."""
        index = self.market.stock_rule(shape, region, zone, purchase)
        return self.market.machines_at(index, self.minutes()) - self._in_pool.get((index, zone or region), 0)

    def candidates(self, ask: Ask, shape: Shape) -> tuple[str | None, ...]:
        """Zones that a machine of this shape may come from."""
        if ask.zones and ask.surface != "cloud-run":
            return ask.zones if ask.searches else ask.zones[:1]
        listed = self.market.zones(shape, ask.region)
        return listed if ask.searches else listed[:1]

    def refusal(self, ask: Ask, shape: Shape, zone: str | None, declared: bool = False) -> Refusal | None:
        """Why not here; None if it can be. Order: quota (global before regional), offered, stock."""
        short = None if declared else self.short_of(ask, shape)
        if short:
            return Refusal("quota", _quota_code(ask), self._quota_text(ask, short), zone)
        offered = self.market.offered(shape, ask.region, zone)
        if offered != "yes":
            return Refusal(
                "not-offered" if offered == "no" else offered, *self._not_offered(ask, shape, zone, offered), zone
            )
        if self.left_in(shape, ask.region, zone, ask.purchase) > 0:
            return None
        return Refusal("stock", _stock_code(ask), self._stock_text(ask, shape, zone), zone)

    def fill(self, holding: Holding) -> list[Refusal]:
        """Grant what is asked for and can be had. Returns why the next machine couldn't; empty: all there."""
        ask = holding.ask
        refusals: list[Refusal] = []
        if ask is None or holding.gone:
            return refusals
        declared = bool(holding.declared)
        while len(holding.machines) < holding.size:
            if holding.waits_until and holding.waits_until > self.at:
                break
            refusals, granted = [], False
            for shape in ask.shapes:
                for zone in self.candidates(ask, shape) or (_some_zone(ask),):
                    refused = self.refusal(ask, shape, zone, declared)
                    if refused is None:
                        self._grant(holding, ask, shape, zone, declared)
                        granted = True
                        break
                    refusals.append(refused)
                if granted:
                    break
            if not granted:
                break
        if len(holding.machines) < holding.size:
            self._hungry[holding.id] = holding
        else:
            self._hungry.pop(holding.id, None)
            refusals = []
        return refusals

    def refill(self) -> None:
        """Something became free: everything that waits looks again."""
        for holding in list(self._hungry.values()):
            if holding.gone:
                self._hungry.pop(holding.id, None)
            else:
                self.fill(holding)

    def _grant(self, holding: Holding, ask: Ask, shape: Shape, zone: str | None, declared: bool) -> None:
        index = self.market.stock_rule(shape, ask.region, zone, ask.purchase)
        pool = (index, zone or ask.region)
        quotas = (
            [] if declared else [(key_of(q, ask.region, ask.project), q.amount) for q in needs(shape, ask.purchase)]
        )
        prefix = "i-" if ask.surface == "ecs" else ""
        live = Live(
            id=prefix + hexes(self.scenario.seed, "machine", len(self.machines)),
            holding=holding,
            ask=ask,
            shape=shape,
            zone=zone,
            since=self.at,
            usd_per_hour=self.market.billed(shape, ask.region, zone, ask.purchase),
            pool=pool,
            quotas=quotas,
        )
        self._in_pool[pool] = self._in_pool.get(pool, 0) + 1
        for key, amount in quotas:
            self._take(key, amount)
        self.machines.append(live)
        holding.machines.append(live)
        seconds = self.scenario.latency_seconds
        if ask.surface == "cloud-run":
            up = seconds.cloud_run + seconds.pull_per_gb * self.scenario.image.gb / 10  # images are streamed there
        else:
            # ECS's GPU image of the machine brings the drivers; on Google's machines they are installed first.
            drivers = seconds.drivers if shape.gpus and ask.surface != "ecs" else 0
            up = seconds.boot + drivers + seconds.pull_per_gb * self.scenario.image.gb
        self.after(up, lambda: self._booted(live))
        if ask.max_seconds is not None and not ask.is_job:
            self.after(ask.max_seconds, lambda: self._expire(live))
        for number, rule in enumerate(self.scenario.interruptions):
            if rule.matches(shape.tier, shape.machine_type, shape.surface, ask.region, zone, ask.purchase) and (
                rule.purchases or ask.purchase == Purchase.SPOT
            ):
                self.after(rule.after_minutes * 60, partial(self._interrupt, live, number, rule.times))

    # A machine's life

    def _booted(self, live: Live) -> None:
        if live.state is not MachineState.BOOTING:
            return
        live.state = MachineState.RUNNING
        wrong = self.pull_refusal(live.ask, self._image(live.holding))
        if wrong and live.ask.surface != "cloud-run":  # Cloud Run looks at the image when the resource is made
            source, text = wrong
            self.sight(live.holding.attempt, source, text, live.id)
            live.broken = text
            self._fail_waiting(live)
        else:
            live.ready = True
            live.idle_since = self.at
            self._place(live)
        if live.holding.scales and live.run is None:
            since = live.idle_since
            self.after(IDLE_S, lambda: self._give_back(live, since))

    def pull_refusal(self, ask: Ask, image: str) -> tuple[Source, str] | None:
        """Why an image can't be pulled: where it shows, and the words."""
        where = repository_of(image)
        if where is None:
            return None
        owner, location, repository = where
        role = {"gce": "vm", "gke": "node", "cloud-run": "run-agent", "ecs": "execution-role"}[ask.surface]
        need = next(n for n in NEEDS[ask.surface] if n.permission in (PULL, PULL_ECR))
        refused = self.market.denied(need.permission, need.role, role, owner, self.minutes())
        if not refused and not self.scenario.image.missing:
            return None
        if ask.surface == "ecs":
            who = name_of(role, ACCOUNT, ask.service_account)
            text = words.ecs_pull(image, who, f"{owner}|{location}|{repository}")
            return Source.TASK, text if refused else words.ecs_no_image(image)
        denied = words.pull_denied(owner, location, repository)
        return (
            (Source.POD_EVENT, words.gke_pull(image, denied))
            if ask.surface == "gke"
            else (Source.SERIAL_PORT, words.vm_pull(image, denied))
        )

    def _expire(self, live: Live) -> None:
        if live.state is MachineState.ENDED:
            return
        if not live.ask.refills:
            live.holding.size = max(0, live.holding.size - 1)  # what a limited run time took isn't made again
        self.end(live, "its maximum run duration was reached")

    def _interrupt(self, live: Live, rule: int, times: int) -> None:
        if live.state is MachineState.ENDED or self._interrupted.get(rule, 0) >= times:
            return
        self._interrupted[rule] = self._interrupted.get(rule, 0) + 1
        self.end(live, "interrupted", interrupted=True)

    def end(self, live: Live, why: str, interrupted: bool = False) -> None:
        """A machine is gone: nothing is billed any more, and what waits for capacity looks again."""
        if live.state is MachineState.ENDED:
            return
        live.state, live.ended, live.why_ended = MachineState.ENDED, self.at, why
        self._in_pool[live.pool] -= 1
        for key, amount in live.quotas:
            self._take(key, -amount)
        if live in live.holding.machines:
            live.holding.machines.remove(live)
        text = _interruption(live) if interrupted else f"the machine is gone: {why}"
        if interrupted:
            source = Source.TASK if live.ask.surface == "ecs" else Source.OPERATION
            self.sight(live.holding.attempt, source, text, live.id)
        if live.run and live.run.state is RunIs.RUNNING:
            live.run.state, live.run.text, live.run.ends_at = RunIs.INTERRUPTED, text, self.at
            live.run.machine = None
        live.run = None
        if live.ask.refills and not live.ask.is_job and len(live.holding.machines) < live.holding.size:
            self.report(live.holding, self.fill(live.holding))
        self.refill()

    def shrink(self, holding: Holding, size: int, why: str) -> None:
        """Down to ``size`` machines: those without a run first, the newest first."""
        holding.size = size
        spare = sorted(enumerate(holding.machines), key=lambda pair: (pair[1].run is not None, pair[1].ready, -pair[0]))
        for _, live in spare[: max(0, len(holding.machines) - size)]:
            self.end(live, why)
        if len(holding.machines) >= size:
            self._hungry.pop(holding.id, None)

    def drop(self, holding: Holding) -> None:
        """A resource is deleted, and its machines with it."""
        holding.gone = True
        self.shrink(holding, 0, "deleted")
        for key, amount in holding.declared:
            self._take(key, -amount)
        holding.declared = []
        self.holdings.remove(holding)
        if holding.attempt:
            self.of_attempt[attempt_key(holding.attempt)].remove(holding)
        self.refill()

    # Runs

    def start_run(self, attempt: str, name: str, timeout_s: float) -> None:
        """See ``Cloud.start_run``."""
        key = attempt_key(attempt)
        runs = self.runs.setdefault(key, {})
        known = runs.get(name)
        if known and known.state in (RunIs.WAITING, RunIs.RUNNING, RunIs.COMPLETE):
            return
        run = runs[name] = Run(key, name, timeout_s)
        for holding in self.of_attempt.get(key, []):
            for live in holding.machines:
                if live.ready and live.run is None:
                    self._begin(run, live)
                    return
        broken = [live for h in self.of_attempt.get(key, []) for live in h.machines if live.broken]
        if broken:
            self._fail_waiting(broken[0])
        else:
            self._scale_up(key)

    def run_state(self, attempt: str, name: str) -> RunState | None:
        """See ``Cloud.run_state``; None for a run that was never started."""
        key = attempt_key(attempt)
        run = self.runs.get(key, {}).get(name)
        if run is None:
            return None
        if run.state is RunIs.WAITING and not any(h.size or h.machines for h in self.of_attempt.get(key, [])):
            run.state, run.text = RunIs.FAILED, "the run has no machine, and none is asked for any more"
        return run.shown()

    def _scale_up(self, key: str) -> None:
        """What scales by itself makes room for the runs that wait."""
        waiting = sum(run.state is RunIs.WAITING for run in self.runs.get(key, {}).values())
        for holding in self.of_attempt.get(key, []):
            ask = holding.ask
            if not ask or ask.most is None or not holding.scales:
                continue
            busy = sum(live.run is not None for live in holding.machines)
            size = min(ask.most, busy + waiting)
            if size > holding.size:
                holding.size = size
                self.queue(holding)
                self.report(holding, self.fill(holding))

    def _place(self, live: Live) -> None:
        key = attempt_key(live.holding.attempt or "")
        for run in self.runs.get(key, {}).values():
            if run.state is RunIs.WAITING and live.run is None:
                self._begin(run, live)

    def _begin(self, run: Run, live: Live) -> None:
        fails, minutes = self.scenario.run.fails, self.scenario.run.minutes_on(live.shape.tier)
        limit = run.timeout_s
        if live.ask.is_job and live.ask.max_seconds is not None:
            limit = min(limit, live.ask.max_seconds)
        failing = fails is not None and (fails.times is None or self._failed_runs < fails.times)
        seconds = minutes * 60 / 2 if failing else minutes * 60
        run.state, run.machine, run.on, live.run = RunIs.RUNNING, live, live.id, run
        if failing:
            self._failed_runs += 1
        if seconds > limit:
            run.ends_at = self.after(limit, lambda: self._finish(run, live, RunIs.FAILED, _late(live, limit)))
        elif failing and fails is not None:
            if fails.cause == "interrupted":
                run.ends_at = self.after(seconds, lambda: self._lose(run, live))
            else:
                text = f"{fails.text}\nexit code {fails.code}"
                run.ends_at = self.after(seconds, lambda: self._finish(run, live, RunIs.FAILED, text))
        else:
            run.ends_at = self.after(seconds, lambda: self._finish(run, live, RunIs.COMPLETE, ""))

    def _lose(self, run: Run, live: Live) -> None:
        if live.run is run and live.state is not MachineState.ENDED:
            self.end(live, "interrupted", interrupted=True)

    def _finish(self, run: Run, live: Live, state: RunIs, text: str) -> None:
        if live.run is not run or run.state is not RunIs.RUNNING:
            return
        run.state, run.text, run.machine = state, text, None
        live.run, live.idle_since = None, self.at
        self._place(live)
        if live.run is not None:
            return
        if live.ask.is_job:
            live.holding.size = max(0, live.holding.size - 1)
            self.end(live, "its task has ended")
        elif live.holding.scales:
            self.after(IDLE_S, lambda: self._give_back(live, run.ends_at))

    def _give_back(self, live: Live, since: datetime | None) -> None:
        """An idle machine of a pool that scales by itself."""
        if live.state is not MachineState.RUNNING or live.run or live.idle_since != since:
            return
        if live.holding.size > (live.holding.ask.size if live.holding.ask else 0):
            live.holding.size -= 1
            self.end(live, "scaled down: idle")

    def _fail_waiting(self, live: Live) -> None:
        """Runs that wait for a machine that can't pull their image."""
        for run in self.runs.get(attempt_key(live.holding.attempt or ""), {}).values():
            if run.state is RunIs.WAITING:
                run.state, run.text = RunIs.FAILED, live.broken

    # What is seen

    def sight(self, attempt: str | None, source: Source, text: str, machine: str | None = None) -> None:
        """Something shows. The same again, of the same place, shows once."""
        if attempt is None:
            return
        seen = self.sightings.setdefault(attempt_key(attempt), [])
        if not any(s.text == text and s.source == source and s.machine == machine for s in seen):
            seen.append(Sighting(source, text, self.at, machine))

    def queue(self, holding: Holding) -> None:
        """A flex-start request waits before capacity is looked for."""
        ask = holding.ask
        if ask is None or ask.purchase != Purchase.FLEX_START or len(holding.machines) >= holding.size:
            return
        holding.waits_until = self.after(self.scenario.flex_start.waits_minutes * 60, lambda: self._look_again(holding))
        source = Source.POD_EVENT if ask.surface == "gke" else Source.GROUP_ERROR
        self.sight(holding.attempt, source, f"{words.STOCKOUT}: {words.WAITING}")

    def _look_again(self, holding: Holding) -> None:
        if not holding.gone:
            refusals = self.fill(holding)
            # A queue that finds nothing goes on waiting; only what waiting can't mend shows.
            self.report(holding, [r for r in refusals if r.kind != "stock"])

    def report(self, holding: Holding, refusals: Iterable[Refusal]) -> None:
        """Show why a resource didn't get its machines, where its surface shows it."""
        ask = holding.ask
        found = list(refusals)
        if ask is None or not found:
            return
        if ask.surface == "gce":
            for refused in _distinct(found):
                instance = f"{holding.name[:40]}-{hexes(holding.id, refused.zone, count=4)}"
                text = f"{refused.code}: Instance '{instance}' creation failed: {refused.text}"
                self.sight(holding.attempt, Source.GROUP_ERROR, text)
        elif ask.surface == "gke":
            zones = [str(z) for z in dict.fromkeys(r.zone for r in found)]
            quota = all(r.kind == "quota" for r in found)
            why = "GCE quota exceeded" if quota else "GCE out of resources"
            self.sight(holding.attempt, Source.POD_EVENT, words.gke_scale_up(zones, why))
        elif ask.surface == "cloud-run":
            source = Source.REVISION_CONDITION
            why = words.RUN_GPU_COUNT if found[0].kind == "quota" else words.RUN_NO_INSTANCE
            revision = f"{holding.name}-00001-{hexes(holding.id, count=3)}"
            self.sight(holding.attempt, source, why if ask.is_job else words.run_not_ready(revision, why))
        elif holding.type_token.startswith(("aws:ecs/service:", "aws:ecs/clusterCapacityProviders:")):
            self.sight(
                holding.attempt, Source.TASK, words.FARGATE_STOCKOUT if found[0].kind == "stock" else found[0].text
            )
        else:
            for refused in _distinct(found):
                self.sight(holding.attempt, Source.SCALING_ACTIVITY, refused.text)

    # Words for it

    def _quota_text(self, ask: Ask, short: tuple[Quota, float, float]) -> str:
        quota, limit, _ = short
        if ask.surface == "ecs":
            if quota.service == "fargate":
                return "You've reached the limit on the number of vCPUs you can run concurrently"
            spot = ask.purchase == Purchase.SPOT
            why = words.SPOT_QUOTA if spot else words.vcpu_quota(limit)
            return words.launch_failed(spot, _quota_code(ask), why)
        if ask.surface == "cloud-run":
            return words.RUN_GPU_COUNT
        region = None if quota.scope == "global" else ask.region
        return words.gce_quota(quota.metric, quota.quota_id, limit, region, quota.dimensions)

    def _not_offered(self, ask: Ask, shape: Shape, zone: str | None, how: str) -> tuple[str, str]:
        """Code and text."""
        project, where = ask.project or PROJECT, zone or _some_zone(ask)
        if ask.surface == "ecs":
            listed = [z for z in self.market.zones(shape, ask.region) if z and self._sold(shape, ask, z)]
            others = [zone_name(z, ask.region) for z in listed]
            why = words.ec2_unsupported(shape.machine_type, zone_name(where, ask.region), others)
            return "Unsupported", words.launch_failed(ask.purchase == Purchase.SPOT, "Unsupported", why)
        if ask.surface == "cloud-run":
            return "invalid", words.run_not_offered(shape.accelerator or shape.machine_type, ask.region)
        if how == "disguised":
            return words.STOCKOUT, words.gce_disguised(where, shape.machine_type, shape.gpus, shape.accelerator)
        if shape.accelerator and shape.machine_type.startswith("n1-"):
            return "RESOURCE_NOT_FOUND", words.gce_no_accelerator(project, where, shape.accelerator)
        return "INVALID_FIELD_VALUE", words.gce_not_offered(project, where, shape.machine_type)

    def _sold(self, shape: Shape, ask: Ask, zone: str) -> bool:
        return self.market.offered(shape, ask.region, zone) == "yes"

    def hint(self, ask: Ask, shape: Shape, zone: str | None) -> list[str]:
        """Zones of the region that have capacity, if the cloud says so; in the cloud's own names."""
        index = self.market.stock_rule(shape, ask.region, zone, ask.purchase)
        rule = self.market.rule(index)
        if rule is None or not rule.hint:
            return []
        free = [
            z
            for z in self.market.zones(shape, ask.region)
            if z and z != zone and self._sold(shape, ask, z) and self.left_in(shape, ask.region, z, ask.purchase) > 0
        ]
        return [zone_name(z, ask.region) for z in free] if ask.surface == "ecs" else [str(z) for z in free]

    def _stock_text(self, ask: Ask, shape: Shape, zone: str | None) -> str:
        hint = self.hint(ask, shape, zone)
        if ask.surface == "cloud-run":
            return words.RUN_NO_INSTANCE
        if ask.surface == "ecs":
            spot = ask.purchase == Purchase.SPOT
            where = zone_name(zone or f"{ask.region}a", ask.region)
            why = words.SPOT_STOCKOUT if spot else words.ec2_stockout(shape.machine_type, where, hint)
            return words.launch_failed(spot, _stock_code(ask), why)
        accelerator = shape.accelerator or (shape.offer.accelerator if shape.offer else None)
        # Which of its two forms Compute Engine uses can't be told beforehand; both are met.
        older = ask.project or PROJECT if hexes(self.scenario.seed, zone, count=1) < "8" else ""
        return words.gce_stockout(str(zone), shape.machine_type, shape.gpus, accelerator, hint, older)


def _shapes(surface: str, tier: str) -> list[Shape]:
    return [s for s in shapes_of(surface) if s.tier == tier]


def _some_zone(ask: Ask) -> str:
    return f"{ask.region}a" if ask.surface == "ecs" else f"{ask.region}-a"


def _distinct(refusals: Iterable[Refusal]) -> list[Refusal]:
    """One of each text, as a group makes one attempt at each place."""
    return list({r.text: r for r in refusals}.values())


def _quota_code(ask: Ask) -> str:
    if ask.surface == "ecs":
        return "MaxSpotInstanceCountExceeded" if ask.purchase == Purchase.SPOT else "VcpuLimitExceeded"
    return "GCE_QUOTA_EXCEEDED" if ask.surface == "gke" else words.QUOTA


def _stock_code(ask: Ask) -> str:
    if ask.surface == "ecs":
        return "UnfulfillableCapacity" if ask.purchase == Purchase.SPOT else "InsufficientInstanceCapacity"
    return words.STOCKOUT


def _interruption(live: Live) -> str:
    if live.ask.surface == "ecs":
        return words.ECS_SPOT
    return words.GKE_PREEMPTED if live.ask.surface == "gke" else words.GCE_PREEMPTED


def _late(live: Live, seconds: float) -> str:
    return words.out_of_time(live.ask.surface, seconds)
