"""The simulated cloud: every request that gpubench makes of a cloud, answered out of a scenario.

It is one object. Engines reach it through a provider, surfaces' stand-ins directly or through ``connection``. Time
passes only by ``sleep`` and by what a request takes; two requests of two threads take their time one after the other,
but for questions asked side by side, which take one round trip together.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.simulated import preflight, words
from engine.simulated.asks import Ask, ask_of, attempt_key, in_registry, labels_of, region_of, task_image
from engine.simulated.capacity import Capacity, Holding, Refusal
from engine.simulated.chance import digits, hexes, share
from engine.simulated.grants import ACCOUNT, NEEDS, PROJECT, name_of, project_number
from engine.simulated.model import (
    Charge,
    CloudError,
    Holder,
    Machine,
    MachineState,
    Resource,
    RunIs,
    RunState,
    Sighting,
    Source,
)
from engine.simulated.scenario import Scenario
from placement.clock import Clock
from placement.verdicts import Answer, CannotSay, Question

__all__ = [
    "Charge",
    "Cloud",
    "CloudError",
    "Holder",
    "Machine",
    "MachineState",
    "Resource",
    "RunIs",
    "RunState",
    "Sighting",
    "Source",
    "attempt_key",
]


_CREATES = {"gce": "compute.instances.create", "gke": "container.clusters.create", "ecs": "ec2:RunInstances"}


class Cloud:
    """One world. Thread-safe. The same scenario, seed and sequence of calls give the same answers.

    Any request may raise CloudError for flakiness or an API's limit where the scenario says so (``answer`` raises
    CannotSay then), and nothing has happened in that case.
    """

    def __init__(self, scenario: Scenario, clock: Clock) -> None:
        self.scenario, self.clock = scenario, clock
        self._lock = threading.RLock()
        self._capacity = Capacity(scenario, clock, self._image)
        self._by_id: dict[tuple[str, str], Holding] = {}
        self._references: dict[str, list[Holding]] = {}
        self._requests: Counter[str] = Counter()
        self._asked: Counter[tuple[str, str]] = Counter()
        self._in_a_row: Counter[tuple[str, str]] = Counter()
        self._window: dict[str, tuple[int, int]] = {}
        self._round_trip: datetime | None = None
        self._made = 0

    # Time

    def now(self) -> datetime:
        """The clock's time (UTC)."""
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        """Let time pass: what happens in between happens at its own time."""
        with self._lock:
            self._capacity.wait(seconds)

    # What a preflight asks

    def answer(self, question: Question) -> Answer:
        """One round trip, of any cloud surface (``verdicts.Preflight.ask`` is the same). Raises CannotSay."""
        with self._lock:
            try:
                self._begin("answer", repr(question), "aws" if question.surface == "ecs" else "gcp", question.project)
            except CloudError as error:
                raise CannotSay(f"{error.code}: {error}") from None
            # Questions with nothing between them are asked side by side: they share a round trip.
            if self._round_trip != self.now():
                self._capacity.wait(self.scenario.latency_seconds.ask)
                self._round_trip = self.now()
            return preflight.answer(self._capacity, question)

    def ask(self, question: Question) -> Answer:
        """``answer``, under the name that ``verdicts.Preflight`` has for it."""
        return self.answer(question)

    # What a Pulumi provider does

    def create(self, type_token: str, name: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Make a resource: its id and its outputs.

        ``type_token`` is Pulumi's (``gcp:compute/instance:Instance``), ``name`` the physical name, ``inputs`` are
        camelCase. Raises CloudError where the real one refuses at creation; a node pool, a Cloud Run service or an Auto
        Scaling group that failed is there none the less, and asks for its machines until it is deleted.
        """
        with self._request("create", f"{type_token} {name}", _cloud_of(type_token), inputs.get("project")):
            values = _plain(inputs)
            find = self._find
            labels = labels_of(type_token, values, find)
            if type_token.startswith("gcp:"):
                for value in labels.values():
                    if attempt_key(value) != value:
                        raise CloudError(words.gce_label(value), 400, "invalid")
            ask = ask_of(type_token, values, find)
            self._permitted(type_token, name, ask, values)
            self._made += 1
            id_, outputs = self._outputs(type_token, name, values)
            if (type_token, id_) in self._by_id:
                raise CloudError(words.gcp_exists(id_), 409, "alreadyExists")
            holding = Holding(type_token, id_, name, values, outputs, labels, ask, ask.size if ask else 0)
            seconds = self.scenario.latency_seconds
            self._capacity.wait(seconds.create)
            if ask is None:
                if type_token.startswith("gcp:container/cluster:"):
                    self._capacity.wait(seconds.cluster)
                self._keep(holding)
                self._started(holding)
            else:
                self._make(holding, ask)
            return id_, copy.deepcopy(holding.outputs)

    def read(self, type_token: str, id_: str) -> dict[str, Any] | None:
        """The outputs; None if it isn't there."""
        with self._request("read", id_, _cloud_of(type_token)):
            holding = self._by_id.get((type_token, id_))
            return copy.deepcopy(holding.outputs) if holding else None

    def update(
        self,
        type_token: str,
        id_: str,
        olds: Mapping[str, Any],  # noqa: ARG002 (what is there counts, as in a real cloud)
        news: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Change a resource; its outputs. ``olds`` is not looked at. Raises CloudError, also for what isn't there."""
        with self._request("update", id_, _cloud_of(type_token), news.get("project")):
            holding = self._by_id.get((type_token, id_))
            if holding is None:
                raise CloudError(f"The resource '{id_}' was not found", 404, "notFound")
            values = _plain(news)
            ask = ask_of(type_token, values, self._find)
            if ask and ask.surface == "cloud-run":
                self._run_accepts(holding, ask, values)
            self._capacity.wait(self.scenario.latency_seconds.update)
            holding.inputs = values
            holding.outputs.update(copy.deepcopy(values))
            if "latestVersion" in holding.outputs:
                holding.outputs["latestVersion"] = int(holding.outputs["latestVersion"]) + 1
            if ask:
                same = holding.ask is not None and ask.size == holding.ask.size
                holding.ask = ask
                holding.scales = self._scales(holding)
                if holding.declared:
                    self._capacity.declare(holding, ask)
                if not (same and ask.most is not None):  # a pool keeps the size that it scaled itself to
                    self._resize(holding, ask.size)
            self._started(holding)
            return copy.deepcopy(holding.outputs)

    def delete(self, type_token: str, id_: str) -> None:
        """Take a resource away, with its machines. Nothing if it isn't there. Raises CloudError."""
        with self._request("delete", id_, _cloud_of(type_token)):
            holding = self._by_id.get((type_token, id_))
            if holding is None:
                return
            kind = type_token.rpartition(":")[2]
            run = type_token.startswith("gcp:cloudrunv2/")
            protected = type_token.startswith("gcp:container/cluster:") or (run and kind in ("Job", "Service"))
            # The provider protects these unless it is told not to.
            if protected and holding.inputs.get("deletionProtection") is not False:
                raise CloudError(words.run_protected(kind.lower()) if run else words.GKE_PROTECTED)
            # Machines go at once; the answer comes when all is done.
            self._remove(holding)
            self._capacity.wait(self.scenario.latency_seconds.delete)

    # What a surface's watch asks

    def look(self, attempt: str) -> tuple[Sighting, ...]:
        """What went wrong with an attempt so far, oldest first. An attempt may be named by its id or its label."""
        with self._request("look", attempt):
            return tuple(self._capacity.sightings.get(attempt_key(attempt), ()))

    def machines(self, attempt: str | None = None) -> tuple[Machine, ...]:
        """All that were ever granted, of one attempt or of all; oldest first."""
        with self._request("machines", attempt or ""):
            key = attempt_key(attempt) if attempt else None
            return tuple(
                live.shown()
                for live in self._capacity.machines
                if key is None or attempt_key(live.holding.attempt or "") == key
            )

    def start_run(self, attempt: str, run: str, timeout_s: float) -> None:
        """Start a run on the attempt's capacity. Idempotent; one that failed or was interrupted starts anew.

        It waits for a machine; pools, groups and jobs of size 0 that scale by themselves scale up for it. ``timeout_s``
        counts from its beginning on a machine; then the cloud ends it. A machine has one run at a time.
        """
        with self._request("start_run", f"{attempt} {run}"):
            self._capacity.start_run(attempt, run, timeout_s)

    def run_state(self, attempt: str, run: str) -> RunState:
        """How a run stands; one that waits though nothing asks for a machine any more has failed.

        Raises CloudError for a run that was never started.
        """
        with self._request("run_state", f"{attempt} {run}"):
            found = self._capacity.run_state(attempt, run)
            if found is None:
                raise CloudError(f"The resource 'runs/{run}' was not found", 404, "notFound")
            return found

    def run_minutes(self, tier: str) -> float:
        """How long a run takes on a machine of a tier that is no cloud's: the one under the desk. No request."""
        return self.scenario.run.minutes_on(tier)

    # What a sweep does

    def resize(self, attempt: str, size: int) -> None:
        """Set the sizes of all that an attempt asks for."""
        with self._request("resize", attempt):
            for holding in list(self._capacity.of_attempt.get(attempt_key(attempt), ())):
                if holding.ask:
                    self._resize(holding, size)

    def resources(self, attempt: str) -> tuple[Resource, ...]:
        """What bears the label of an attempt, or was made for what does, oldest first."""
        with self._request("resources", attempt):
            return tuple(_resource(h) for h in self._capacity.of_attempt.get(attempt_key(attempt), ()))

    def leftovers(self, stack: str) -> tuple[Resource, ...]:
        """What bears the label of a stack, oldest first."""
        with self._request("leftovers", stack):
            return tuple(_resource(h) for h in self._capacity.holdings if h.stack == stack)

    def release(self, attempt: str, keep: Collection[str] | None = None) -> tuple[Resource, ...]:
        """Set the sizes of an attempt's resources to 0, then delete what no engine owns; returns what was deleted.

        ``keep``: ids in an engine's state. None: all whose creation was answered with success count as owned.
        """
        with self._request("release", attempt):
            found = list(self._capacity.of_attempt.get(attempt_key(attempt), ()))
            for holding in found:
                if holding.ask:
                    holding.scales = False
                    self._resize(holding, 0)
            doomed = [h for h in reversed(found) if (not h.owned if keep is None else h.id not in keep)]
            for holding in doomed:
                self._remove(holding)
            if doomed:
                self._capacity.wait(self.scenario.latency_seconds.delete)
            return tuple(_resource(h) for h in doomed)

    def holders(self, surface: str, region: str) -> tuple[Holder, ...]:
        """What holds accelerators in a region now, other people's services among it."""
        with self._request("holders", f"{surface} {region}"):
            found = [
                Holder(left.surface, left.name, left.region, left.tier, left.gpus)
                for left in self.scenario.leftovers
                if left.surface == surface and left.region == region
            ]
            for holding in self._capacity.holdings:
                ask = holding.ask
                if ask is None or ask.surface != surface or ask.region != region:
                    continue
                shape = ask.shapes[0]
                count = ask.instances if holding.declared else len(holding.machines)
                if count * shape.gpus:
                    gpus = count * shape.gpus
                    found.append(Holder(surface, holding.name, region, shape.tier, gpus, holding.stack))
            return tuple(found)

    # The account of it

    def bill(self, attempt: str | None = None) -> tuple[Charge, ...]:
        """What each machine (of one attempt, or all) has cost until now, oldest first.

        Billed from the moment it is granted until it is gone, by the second, at the price when it was granted.
        """
        with self._lock:
            self._capacity.settle()
            now, key = self.now(), attempt_key(attempt) if attempt else None
            charges: list[Charge] = []
            for live in self._capacity.machines:
                if key is None or attempt_key(live.holding.attempt or "") == key:
                    seconds = ((live.ended or now) - live.since).total_seconds()
                    charges.append(Charge(live.holding.attempt, live.id, seconds, seconds / 3600 * live.usd_per_hour))
            return tuple(charges)

    def requests(self) -> Mapping[str, int]:
        """How often each operation was asked for: ``answer``, ``create`` … (``scenario.OPERATIONS``)."""
        with self._lock:
            return dict(self._requests)

    # How requests are taken

    @contextmanager
    def _request(self, operation: str, what: str, cloud: str = "gcp", project: object = None) -> Iterator[None]:
        with self._lock:
            self._begin(operation, what, cloud, str(project) if project else None)
            yield

    def _begin(self, operation: str, what: str, cloud: str, project: str | None) -> None:
        """Count it; then the API's limit, then flakiness. Raises CloudError."""
        self._capacity.settle()
        self._requests[operation] += 1
        most = self.scenario.requests_per_minute
        if most is not None:
            window = int(self._capacity.minutes())
            seen, count = self._window.get(cloud, (window, 0))
            count = count + 1 if seen == window else 1
            self._window[cloud] = (window, count)
            if count > most:
                if cloud == "aws":
                    raise CloudError(words.EC2_THROTTLED, 503, "RequestLimitExceeded")
                raise CloudError(words.gcp_throttled(project_number(project)), 403, "rateLimitExceeded")
        flaky = self.scenario.flaky
        if flaky is None or operation not in flaky.operations:
            return
        key = (operation, what)
        self._asked[key] += 1
        if self._in_a_row[key] < flaky.at_most and (
            share(self.scenario.seed, "flaky", operation, what, self._asked[key]) < flaky.probability
        ):
            self._in_a_row[key] += 1
            if cloud == "aws":
                raise CloudError(words.EC2_INTERNAL, 500, "InternalError")
            raise CloudError(words.GCE_UNAVAILABLE, 503, "backendError")
        self._in_a_row[key] = 0

    def _permitted(self, type_token: str, name: str, ask: Ask | None, inputs: Mapping[str, Any]) -> None:
        """What the caller must be allowed to make such a resource. Raises CloudError."""
        project = inputs.get("project")
        if ask is None:
            if type_token.startswith("gcp:container/cluster:") and self._denied("gke", _CREATES["gke"], project):
                raise CloudError(words.gke_forbidden(_CREATES["gke"], project or PROJECT), 403, "forbidden")
            if type_token.startswith("aws:ecs/taskDefinition:") and self._denied("ecs", "iam:PassRole", None):
                role = str(inputs.get("executionRoleArn") or name_of("execution-role", None))
                raise CloudError(words.aws_forbidden(_aws_user(), "iam:PassRole", role), 403, "AccessDenied")
            return
        owner = ask.project or PROJECT
        if ask.surface == "ecs":
            where = f"arn:aws:ec2:{ask.region}:{ACCOUNT}:instance/*"
            if self._denied("ecs", _CREATES["ecs"], None):
                message = hexes(self.scenario.seed, "message", self._made, count=40)
                text = words.ec2_unauthorized(_aws_user(), _CREATES["ecs"], where, message)
                raise CloudError(text, 403, "UnauthorizedOperation")
            if type_token.startswith("aws:ecs/service:") and self._denied("ecs", "ecs:RunTask", None):
                where = f"arn:aws:ecs:{ask.region}:{ACCOUNT}:task-definition/*"
                raise CloudError(words.aws_forbidden(_aws_user(), "ecs:RunTask", where), 403, "AccessDenied")
            return
        if ask.surface == "cloud-run":
            kind = "jobs" if ask.is_job else "services"
            needed, resource = f"run.{kind}.create", f"projects/{owner}/locations/{ask.region}/{kind}/{name}"
            if self._denied("cloud-run", needed, ask.project):
                raise CloudError(words.run_forbidden(needed, resource), 403, "forbidden")
        elif ask.surface == "gke":
            if self._denied("gke", _CREATES["gke"], ask.project):
                raise CloudError(words.gke_forbidden(_CREATES["gke"], owner), 403, "forbidden")
        elif self._denied("gce", _CREATES["gce"], ask.project):
            zone = (self._capacity.candidates(ask, ask.shapes[0]) or (f"{ask.region}-a",))[0]
            resource = f"projects/{owner}/zones/{zone}/instances/{name}"
            raise CloudError(words.gce_forbidden(_CREATES["gce"], resource), 403, "forbidden")
        if self._denied(ask.surface, "iam.serviceAccounts.actAs", ask.project):
            account = ask.service_account or name_of("vm", ask.project)
            text = words.gce_act_as(account, name_of("user", ask.project))
            raise CloudError(text, 400, "SERVICE_ACCOUNT_ACCESS_DENIED")

    def _denied(self, surface: str, permission: str, project: str | None) -> bool:
        need = next(n for n in NEEDS[surface] if n.permission == permission)
        minutes = self._capacity.minutes()
        return self._capacity.market.denied(permission, need.role, need.principal, project, minutes)

    # How capacity is made

    def _make(self, holding: Holding, ask: Ask) -> None:
        """Raises CloudError as the surface does at creation."""
        makers: dict[str, Callable[[Holding, Ask], None]] = {
            "gce": self._make_group,
            "gke": self._make_pool,
            "cloud-run": self._make_run,
            "ecs": self._make_scaling_group,
        }
        if holding.type_token.startswith("gcp:compute/instance:"):
            self._make_instance(holding)
        else:
            makers[ask.surface](holding, ask)

    def _make_instance(self, holding: Holding) -> None:
        """A single VM is there with its machine, or not at all."""
        seconds = self.scenario.latency_seconds
        self._keep(holding)
        self._capacity.queue(holding)
        if holding.waits_until:
            self._capacity.wait((holding.waits_until - self.now()).total_seconds())
        refusals = self._capacity.fill(holding)
        if refusals:
            self._remove(holding)
            self._capacity.wait(seconds.refusal)
            status = {"INVALID_FIELD_VALUE": 400, "RESOURCE_NOT_FOUND": 404}.get(refusals[-1].code)
            raise CloudError(refusals[-1].text, status, refusals[-1].code)
        self._capacity.wait(seconds.instance)

    def _make_group(self, holding: Holding, ask: Ask) -> None:
        """A managed instance group is made whatever becomes of its machines; only waiting for them may fail."""
        self._capacity.wait(self.scenario.latency_seconds.group)
        self._keep(holding)
        self._fill(holding)
        if ask.waits_s and len(holding.machines) < holding.size:
            before = self.now()
            self._capacity.wait(ask.waits_s)
            if len(holding.machines) < holding.size:
                holding.owned = False
                waited = (self.now() - before).total_seconds()
                raise CloudError(f"timeout while waiting for state to become 'created' (timeout: {waited / 60:.0f}m0s)")

    def _make_pool(self, holding: Holding, ask: Ask) -> None:
        """A node pool that doesn't get its nodes fails and stays."""
        seconds, shape = self.scenario.latency_seconds, ask.shapes[0]
        zones = [str(z) for z in self._capacity.candidates(ask, shape)]
        missing = [z for z in zones if self._capacity.market.offered(shape, ask.region, z) == "no"]
        if shape.offer and shape.accelerator and (missing or not zones):
            where = missing or [ask.region]
            raise CloudError(words.gke_no_accelerator(shape.accelerator, where), 400, "badRequest")
        self._keep(holding)
        self._capacity.wait(seconds.node_pool)
        self._capacity.queue(holding)
        refusals = self._capacity.fill(holding)
        if refusals and ask.size > 0:
            holding.owned = False
            first = refusals[0]
            code = "GCE_QUOTA_EXCEEDED" if first.kind == "quota" else words.STOCKOUT
            instance = f"gke-{holding.name[:30]}-{hexes(holding.id, count=8)}"
            text = words.gke_pool(ask.size, code, instance, first.text)
            self._capacity.sight(holding.attempt, Source.OPERATION, text)
            raise CloudError(text, None, code)

    def _make_run(self, holding: Holding, ask: Ask) -> None:
        """Cloud Run looks at quotas and the image first; a service that doesn't get ready stays."""
        self._run_accepts(holding, ask, holding.inputs)
        self._keep(holding)
        self._capacity.wait(self.scenario.latency_seconds.cloud_run)
        if ask.is_job:
            return
        short = self._capacity.short_of(ask, ask.shapes[0], ask.instances)
        if short:
            holding.owned, holding.size, holding.scales = False, 0, False
            text = words.run_not_ready(f"{holding.name}-00001-{hexes(holding.id, count=3)}", words.RUN_GPU_COUNT)
            self._capacity.sight(holding.attempt, Source.REVISION_CONDITION, text)
            raise CloudError(text, None, "RESOURCE_EXHAUSTED")
        self._capacity.declare(holding, ask)
        refusals = self._fill(holding)
        if refusals:
            holding.owned = False
            text = words.run_not_ready(f"{holding.name}-00001-{hexes(holding.id, count=3)}", words.RUN_NO_INSTANCE)
            raise CloudError(text, None, "UNAVAILABLE")

    def _run_accepts(self, holding: Holding, ask: Ask, inputs: Mapping[str, Any]) -> None:
        """What Cloud Run refuses before anything is made. Raises CloudError."""
        shape, region = ask.shapes[0], ask.region
        if ask.redundant:
            if ask.is_job:
                raise CloudError(words.RUN_JOB_REDUNDANCY, 400, "invalid")
            raise CloudError(words.run_no_quota(False, redundancy=True), 400, "invalid")
        if self._capacity.market.offered(shape, region, None) == "no":
            accelerator = shape.accelerator or shape.machine_type
            raise CloudError(words.run_not_offered(accelerator, region), 400, "invalid")
        for quota in shape.offer.quotas(ask.purchase) if shape.offer else ():
            limit = self._capacity.market.limit(quota, region, ask.project, self._capacity.minutes()).limit
            if quota.amount * ask.instances <= limit:
                continue
            fits, gpu = int(limit // quota.amount), "Gpu" in quota.quota_id
            if gpu and limit == 0:
                raise CloudError(words.run_no_quota(ask.is_job), 400, "invalid")
            unit = 1000.0 if gpu else 1.0
            need = quota.amount * ask.instances / unit
            raise CloudError(words.run_max_instances(quota.quota_id, fits, need, limit / unit), 400, "invalid")
        image = self._image(replace(holding, inputs=dict(inputs), ask=ask))
        wrong = self._capacity.pull_refusal(ask, image)
        if wrong:
            denied = not self.scenario.image.missing
            text = words.run_image(project_number(ask.project), image) if denied else words.run_no_image(image)
            raise CloudError(text, 403 if denied else 404, "forbidden" if denied else "notFound")

    def _make_scaling_group(self, holding: Holding, ask: Ask) -> None:
        """An Auto Scaling group that its provider waits for fails with its first activity, and stays."""
        self._capacity.wait(self.scenario.latency_seconds.group)
        self._keep(holding)
        refusals = self._fill(holding)
        if refusals and ask.waits_s and holding.type_token.startswith("aws:autoscaling/"):
            holding.owned = False
            activity = hexes(holding.id, "activity", count=32)
            activity = "-".join((activity[:8], activity[8:12], activity[12:16], activity[16:20], activity[20:]))
            self._capacity.wait(self.scenario.latency_seconds.refusal)
            raise CloudError(words.group_failed(holding.name, activity, refusals[0].text), None, refusals[0].code)

    def _fill(self, holding: Holding) -> list[Refusal]:
        """Look for machines, and show why there are none. A queue that waits shows only that."""
        if holding.waits_until is None:
            self._capacity.queue(holding)
        refusals = self._capacity.fill(holding)
        self._capacity.report(holding, refusals)
        return refusals

    def _resize(self, holding: Holding, size: int) -> None:
        if size < holding.size or size < len(holding.machines):
            self._capacity.shrink(holding, size, "its group became smaller")
        else:
            holding.size = size
            self._fill(holding)
        for key in ("targetSize", "desiredCapacity", "nodeCount"):
            if key in holding.outputs:
                holding.outputs[key] = size

    def _keep(self, holding: Holding) -> None:
        self._capacity.add(holding)
        self._by_id[(holding.type_token, holding.id)] = holding
        for reference in _references(holding):
            if isinstance(reference, str):
                self._references.setdefault(reference, []).append(holding)
        holding.scales = self._scales(holding)
        if holding.type_token.startswith("aws:ecs/capacityProvider:"):
            for other in self._capacity.holdings:
                if other.type_token.startswith("aws:autoscaling/group:"):
                    other.scales = self._scales(other)

    def _remove(self, holding: Holding) -> None:
        self._by_id.pop((holding.type_token, holding.id), None)
        for reference in _references(holding):
            if isinstance(reference, str) and holding in self._references.get(reference, []):
                self._references[reference].remove(holding)
        self._capacity.drop(holding)
        if holding.type_token.startswith("gcp:container/cluster:"):
            for pool in [h for h in self._capacity.holdings if h.type_token.startswith("gcp:container/nodePool:")]:
                if holding in self._references.get(str(pool.inputs.get("cluster")), []) or pool.inputs.get(
                    "cluster"
                ) in (holding.id, holding.name):
                    self._remove(pool)

    def _scales(self, holding: Holding) -> bool:
        """Whether it makes machines by itself when a run waits."""
        ask = holding.ask
        if ask is None:
            return False
        if not holding.type_token.startswith("aws:autoscaling/"):
            return ask.most is not None
        group = holding.outputs.get("arn")
        for other in self._capacity.holdings:
            if other.type_token.startswith("aws:ecs/capacityProvider:"):
                block = other.inputs.get("autoScalingGroupProvider") or {}
                scaling = block.get("managedScaling") or {}
                if block.get("autoScalingGroupArn") == group and scaling.get("status", "ENABLED") == "ENABLED":
                    holding.ask = replace(ask, most=int(float(holding.inputs.get("maxSize") or 0)))
                    return True
        return False

    def _started(self, holding: Holding) -> None:
        """A resize request asks its group for more machines; a schedule sets its group's size at its time."""
        if holding.type_token.startswith("gcp:compute/regionResizeRequest:"):
            for group in list(self._references.get(str(holding.inputs.get("instanceGroupManager")), ())):
                if group.ask is not None and group.type_token.startswith("gcp:compute/regionInstanceGroupManager:"):
                    self._resize(group, group.size + int(float(holding.inputs.get("resizeBy") or 0)))
            return
        if not holding.type_token.startswith("aws:autoscaling/schedule:"):
            return
        start, size = holding.inputs.get("startTime"), holding.inputs.get("desiredCapacity")
        if not isinstance(start, str) or size is None:
            return
        when = datetime.fromisoformat(start.replace("Z", "+00:00"))

        def due() -> None:
            if holding.gone or holding.inputs.get("startTime") != start:
                return
            name = holding.inputs.get("autoscalingGroupName")
            for group in list(self._references.get(str(name), ())):
                if group.ask and group.type_token.startswith("aws:autoscaling/group:"):
                    self._resize(group, int(float(size)))

        self._capacity.after(max(0.0, (when - self.now()).total_seconds()), due)

    def _find(self, kind: str, reference: str) -> Mapping[str, Any] | None:
        """Inputs of the newest resource whose type has ``kind`` in it."""
        for holding in reversed(self._references.get(reference, [])):
            if kind in holding.type_token:
                return holding.inputs
        short = reference.rstrip("/").rpartition("/")[2].partition("?")[0]
        return self._find(kind, short) if short != reference and short else None

    def _image(self, holding: Holding) -> str:
        """What its machines pull: as the resource, the stack's task or Kubernetes Job says, or the usual one."""
        ask = holding.ask
        image = ask.image if ask else None
        for other in reversed(self._capacity.of_attempt.get(attempt_key(holding.attempt or ""), [])):
            if image is not None:
                break
            if other.type_token.startswith("aws:ecs/taskDefinition:"):
                image = task_image(other.inputs)
            elif other.type_token.startswith("kubernetes:batch/v1:Job"):
                pod = ((other.inputs.get("spec") or {}).get("template") or {}).get("spec") or {}
                image = next((str(c.get("image") or "") for c in pod.get("containers") or []), None)
        return in_registry(
            image, ask.surface if ask else "gce", ask.project if ask else None, ask.region if ask else None
        )

    def _outputs(self, type_token: str, name: str, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Id and outputs: the inputs, and what references to such a resource are made of."""
        package, _, rest = type_token.partition(":")
        module, _, kind = rest.partition(":")
        outputs: dict[str, Any] = {**copy.deepcopy(inputs), "name": inputs.get("name", name)}
        if package == "aws":
            return self._aws_outputs(module, kind, name, inputs, outputs)
        if package != "gcp":
            return name, outputs
        project = inputs.get("project") or PROJECT
        outputs["project"] = project
        collection = kind[0].lower() + kind[1:] + "s"
        collection = collection.replace("regionInstance", "instance").replace("regionResize", "resize")
        place = "global"
        if inputs.get("zone"):
            place = f"zones/{str(inputs['zone']).rpartition('/')[2]}"
        elif inputs.get("region"):
            place = f"regions/{str(inputs['region']).rpartition('/')[2]}"
        elif inputs.get("location"):
            place = f"locations/{inputs['location']}"
        id_ = f"projects/{project}/{place}/{collection}/{name}"
        host = "compute" if module.startswith("compute/") else module.partition("/")[0]
        outputs["selfLink"] = f"https://www.googleapis.com/{host}/v1/{id_}"
        if kind.endswith("InstanceTemplate"):
            outputs["selfLinkUnique"] = f"{outputs['selfLink']}?uniqueId={digits(id_, 19)}"
        if kind.endswith("InstanceGroupManager"):
            outputs["instanceGroup"] = outputs["selfLink"].replace("Managers/", "s/")
        if kind == "Cluster":
            outputs["endpoint"] = "192.0.2.10"
            outputs["masterAuth"] = {"clusterCaCertificate": ""}
        if module.startswith("cloudrunv2/") and kind == "Service":
            outputs["uri"] = f"https://{name}-{project_number(project)}.{inputs.get('location')}.run.app"
        if module.startswith("serviceaccount/"):
            outputs["email"] = f"{inputs.get('accountId', name)}@{project}.iam.gserviceaccount.com"
            outputs["member"] = f"serviceAccount:{outputs['email']}"
        if module.startswith("storage/"):
            outputs["url"] = f"gs://{name}"
            return name, outputs
        return id_, outputs

    def _aws_outputs(
        self, module: str, kind: str, name: str, inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        service, region = module.partition("/")[0], str(inputs.get("region") or "us-east-1")
        zones = inputs.get("availabilityZones") or (
            [inputs["availabilityZone"]] if "availabilityZone" in inputs else []
        )
        if zones and not inputs.get("region"):
            region = region_of(str(zones[0]), "ecs") or region
        prefix = _EC2_IDS.get(kind) if service == "ec2" else None
        folder = {"Group": "autoScalingGroup", "CapacityProvider": "capacity-provider"}.get(
            kind, kind[0].lower() + kind[1:]
        )
        arn = f"arn:aws:{service}:{'' if service == 'iam' else region}:{ACCOUNT}:{folder}/{name}"
        id_ = f"{prefix}-{hexes(self.scenario.seed, kind, name, self._made)}" if prefix else name
        if kind == "Cluster" or (kind in ("CapacityProvider", "Service", "TaskDefinition") and service == "ecs"):
            id_ = arn
        elif not prefix and service not in ("iam", "s3") and inputs.get("region"):
            id_ = f"{name}@{region}"  # as the provider imports it: each region has names of its own
        if kind == "RolePolicy":  # its name is the role's own matter
            id_ = f"{inputs.get('role')}:{name}"
        outputs["arn"] = arn
        if kind == "LaunchTemplate":
            outputs["latestVersion"], outputs["defaultVersion"] = 1, 1
        if kind == "TaskDefinition":
            outputs["revision"] = 1
        if kind == "Repository":
            outputs["repositoryUrl"] = f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/{name}"
        return id_, outputs


def _resource(holding: Holding) -> Resource:
    return Resource(
        type_token=holding.type_token,
        id=holding.id,
        name=holding.name,
        region=holding.ask.region if holding.ask else holding.inputs.get("region") or holding.inputs.get("location"),
        attempt=holding.attempt,
        stack=holding.stack,
        size=holding.size,
        owned=holding.owned,
        labels=dict(holding.labels),
    )


def _references(holding: Holding) -> set[Any]:
    """What other resources may name it by."""
    outputs = holding.outputs
    return {holding.id, holding.name, outputs.get("selfLink"), outputs.get("arn"), outputs.get("family")}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of inputs that nobody else holds."""
    return {str(key): copy.deepcopy(value) for key, value in values.items()}


_EC2_IDS = {
    "Eip": "eipalloc",
    "InternetGateway": "igw",
    "LaunchTemplate": "lt",
    "NatGateway": "nat",
    "RouteTable": "rtb",
    "RouteTableAssociation": "rtbassoc",
    "SecurityGroup": "sg",
    "Subnet": "subnet",
    "Vpc": "vpc",
    "VpcEndpoint": "vpce",
}
"""What the ids begin with that EC2 makes up: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html."""


def _cloud_of(type_token: str) -> str:
    """Whose API it is: Kubernetes' is counted with Google's."""
    return "aws" if type_token.startswith("aws:") else "gcp"


def _aws_user() -> str:
    return f"arn:aws:iam::{ACCOUNT}:user/developer"
