"""Stand-ins of the surfaces, for rehearsals: the capacity that each would declare, asked of the simulated cloud.

What is declared are the clouds' own resource types, so that the providers' checks, the order of creation and the places
where a failure shows are as in earnest. A surface that has landed takes its stand-in's place.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

import pulumi

import catalog
import results_folder
from benchmark_job.order import RunOrder
from catalog import Purchase, Surface
from components.interface import Capacity, Control, Execution, Held, Standings, SurfaceError
from components.waiting import Seen, wait_for_capacity
from engine import rehearsal
from engine.simulated.cloud import Cloud, CloudError
from engine.simulated.model import Machine, MachineState, RunIs, RunState
from placement.causes import Where, classify
from placement.ladder import Rung
from placement.ledger import Attempt
from placement.verdicts import CannotSay, Kind, Offers, Preflight, Question
from placement.walk import retry_delay
from settings import Settings

_POLL_S = 10.0
_WATCH_S = 60.0  # as the second incident polled for its results
BUILT_IN = "gpubench-workload"  # the built-in workload's image, until its registry has landed
_BOOT_IMAGE = "projects/deeplearning-platform-release/global/images/family/common-cu129-ubuntu-2404-nvidia-580"


@dataclass(frozen=True)
class Ref:
    """The id of an earlier resource of the same attempt, by its short name."""

    name: str


@dataclass(frozen=True)
class Spec:
    """One resource of an attempt's capacity: its short name, its type token and its inputs (camelCase)."""

    name: str
    type_token: str
    inputs: Mapping[str, Any]


def specs(capacity: Capacity) -> tuple[Spec, ...]:
    """The resources that a rung's surface would declare, in order of creation; none for this machine."""
    makers: dict[Surface, Callable[[Capacity], tuple[Spec, ...]]] = {
        Surface.LOCAL: lambda _: (),
        Surface.GCE: _gce,
        Surface.GKE: _gke,
        Surface.ECS: _ecs,
        Surface.CLOUD_RUN: _cloud_run,
    }
    return makers[capacity.rung.surface](capacity)


class StandIn:
    """See `components.interface.Surface`."""

    UPLOADS = False

    def __init__(self, surface: Surface) -> None:
        self._surface = surface

    def resolve_image(self, image: str) -> str:
        """A digest that belongs to the name: a rehearsal asks no registry."""
        name, _, digest = image.partition("@")
        return f"{name}@{digest or 'sha256:' + hashlib.sha256(name.encode()).hexdigest()}"

    def check(self, settings: Settings) -> None:
        """A rehearsal takes any settings: nothing leaves this machine."""

    def preflight(self, stack: str, settings: Settings) -> Preflight:  # noqa: ARG002 - the interface's names
        """The simulated cloud's own answers."""
        return _ThisMachine() if self._surface is Surface.LOCAL else rehearsal.cloud()

    def declare(self, name: str, capacity: Capacity, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
        """The attempt's resources, one after the other, each with the hooks that explain its failure."""
        return _StandInCapacity(name, capacity, opts)

    def declare_standing(
        self, _name: str, _standings: Standings, _opts: pulumi.ResourceOptions
    ) -> pulumi.ComponentResource | None:
        """A stand-in needs nothing beside its capacity."""
        return None

    def execute(self, order: RunOrder, execution: Execution, control: Control) -> None:
        """Wait for a machine, let the run's time pass, and leave results that say that nothing was measured."""
        seal(order, execution, execute(patient(rehearsal.cloud()), order, control.say, execution.is_stopped))

    def alive(self, attempt: Attempt) -> bool:
        """Whether it has a machine, or waits for one that was asked for."""
        if self._surface is Surface.LOCAL:
            return True
        cloud = patient(rehearsal.cloud())
        if (machine := _machine(cloud, attempt.id)) is not None:
            return machine.ended is None
        return any(one.size > 0 for one in cloud.leftovers(attempt.stack.lower()) if one.attempt == attempt.id)

    def sweep(self, attempt: Attempt) -> None:
        """All that bears the attempt's label. An engine that deletes it later finds it gone, which is well."""
        if self._surface is not Surface.LOCAL:
            patient(rehearsal.cloud()).release(attempt.id, keep=())

    def held(self, attempt: Attempt, _rung: Rung) -> Held:
        """By the simulated cloud's bill."""
        if self._surface is Surface.LOCAL:
            return Held()
        cloud = patient(rehearsal.cloud())
        machine = _machine(cloud, attempt.id)
        usd = sum(charge.usd for charge in cloud.bill(attempt.id))
        return Held(usd, machine.since, machine.zone, machine.machine_type) if machine else Held(usd)


class _ThisMachine:
    """A rehearsal's own machine: it has a CPU, and no GPU that anybody asked for."""

    def ask(self, question: Question) -> Offers:
        if question.kind is not Kind.OFFERS:
            raise CannotSay("this machine has no quotas, grants or prices")
        return Offers({catalog.ANY_TIER: (), "cpu": ()})


class _StandInCapacity(pulumi.ComponentResource):
    def __init__(self, name: str, capacity: Capacity, opts: pulumi.ResourceOptions) -> None:
        super().__init__("gpubench:index:StandInCapacity", name, {}, opts)
        made: dict[str, pulumi.CustomResource] = {}
        for spec in specs(capacity):
            made[spec.name] = pulumi.CustomResource(
                spec.type_token,
                # Named after the attempt: another attempt's resources are others, not changes of these.
                f"{name}-{spec.name}-{capacity.attempt.rpartition('-')[2]}",
                resolved(spec.inputs, {key: one.id for key, one in made.items()}),
                pulumi.ResourceOptions(
                    parent=self,
                    depends_on=list(made.values()),
                    hooks=capacity.hooks,
                ),
            )
        self.register_outputs({})


def resolved(value: Any, ids: Mapping[str, Any]) -> Any:
    """Inputs with each `Ref` replaced by the id that belongs to it."""
    if isinstance(value, Ref):
        return ids[value.name]
    if isinstance(value, Mapping):
        return {key: resolved(item, ids) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(item, ids) for item in value]
    return value


# -- what each surface declares ----------------------------------------------------------------------------------------


def _gce(capacity: Capacity) -> tuple[Spec, ...]:
    rung = capacity.rung
    region, project, zones = rung.place.region, rung.place.project, capacity.search_zones
    spot = rung.purchase is Purchase.SPOT
    template: dict[str, Any] = {
        "project": project,
        "region": region,
        "machineType": rung.machine_types[0],
        "labels": dict(capacity.labels),
        "metadata": {"gpubench-image": capacity.image or BUILT_IN},
        "disks": [{"boot": True, "autoDelete": True, "sourceImage": _BOOT_IMAGE, "diskSizeGb": 200}],
        "networkInterfaces": [{"network": "default"}],
        "scheduling": {
            "provisioningModel": _PROVISIONING[rung.purchase],
            "preemptible": spot,
            "automaticRestart": False,
            "onHostMaintenance": "TERMINATE",
            "instanceTerminationAction": "DELETE",
            "maxRunDuration": {"seconds": _seconds(capacity)},
        },
    }
    if attached := _attached(rung):
        template["guestAccelerators"] = [attached]
    group: dict[str, Any] = {
        "project": project,
        "region": region,
        "baseInstanceName": "gpubench",
        "versions": [{"instanceTemplate": Ref("template")}],
        "targetSize": 1,
        "distributionPolicyTargetShape": "ANY",
        "distributionPolicyZones": list(zones),
        "instanceLifecyclePolicy": {"defaultActionOnFailure": "DO_NOTHING"},
        "updatePolicy": {"type": "OPPORTUNISTIC", "minimalAction": "REPLACE", "instanceRedistributionType": "NONE"},
        "waitForInstances": False,
    }
    if len(rung.machine_types) > 1:
        selections = [
            {"name": f"rank-{rank}", "rank": rank, "machineTypes": [machine_type]}
            for rank, machine_type in enumerate(rung.machine_types, start=1)
        ]
        group["instanceFlexibilityPolicy"] = {"instanceSelections": selections}
    return (
        Spec("template", "gcp:compute/regionInstanceTemplate:RegionInstanceTemplate", template),
        Spec("group", "gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager", group),
    )


def _gke(capacity: Capacity) -> tuple[Spec, ...]:
    rung = capacity.rung
    node: dict[str, Any] = {
        "machineType": rung.machine_types[0],
        "spot": rung.purchase is Purchase.SPOT,
        "maxRunDuration": f"{_seconds(capacity)}s",
        "resourceLabels": dict(capacity.labels),
        "oauthScopes": ["https://www.googleapis.com/auth/cloud-platform"],
    }
    if rung.purchase is Purchase.FLEX_START:
        node["flexStart"] = True
    if attached := _attached(rung, always=True):
        node["guestAccelerators"] = [{**attached, "gpuDriverInstallationConfig": {"gpuDriverVersion": "DEFAULT"}}]
    pool = {
        "project": rung.place.project,
        "cluster": Ref("cluster"),
        "location": rung.place.region,
        "nodeLocations": list(capacity.search_zones),
        "initialNodeCount": 0,
        "autoscaling": {"minNodeCount": 0, "maxNodeCount": 1, "locationPolicy": "ANY"},
        "nodeConfig": node,
    }
    cluster = {
        "project": rung.place.project,
        "location": rung.place.region,
        "initialNodeCount": 1,
        "removeDefaultNodePool": True,
        "deletionProtection": False,
        "resourceLabels": dict(capacity.labels),
    }
    return (
        Spec("cluster", "gcp:container/cluster:Cluster", cluster),
        Spec("pool", "gcp:container/nodePool:NodePool", pool),
    )


def _ecs(capacity: Capacity) -> tuple[Spec, ...]:
    rung = capacity.rung
    tags = dict(capacity.labels)
    if rung.machine_types[0].startswith("fargate"):
        return _fargate(capacity)
    spot = rung.purchase is Purchase.SPOT
    template = {
        "region": rung.place.region,
        "tagSpecifications": [{"resourceType": "instance", "tags": tags}],
        "tags": tags,
    }
    group = {
        "region": rung.place.region,
        "availabilityZones": list(capacity.search_zones),
        "minSize": 0,
        "maxSize": 1,
        "desiredCapacity": 1,
        "mixedInstancesPolicy": {
            "launchTemplate": {
                "launchTemplateSpecification": {"launchTemplateId": Ref("template"), "version": "$Latest"},
                "overrides": [{"instanceType": machine_type} for machine_type in rung.machine_types],
            },
            "instancesDistribution": {
                "onDemandPercentageAboveBaseCapacity": 0 if spot else 100,
                "spotAllocationStrategy": "price-capacity-optimized",
            },
        },
        "tags": [{"key": key, "value": value, "propagateAtLaunch": True} for key, value in tags.items()],
        # The watch reads the scaling activities; the create itself would replay old ones.
        "ignoreFailedScalingActivities": True,
        "waitForCapacityTimeout": "0",
    }
    # Nothing of an Auto Scaling group ends it by itself, so a scheduled action does.
    stop = {
        "region": rung.place.region,
        "autoscalingGroupName": Ref("group"),
        "scheduledActionName": "end",
        "minSize": 0,
        "maxSize": 0,
        "desiredCapacity": 0,
        "startTime": _end_time(capacity),
    }
    return (
        Spec("template", "aws:ec2/launchTemplate:LaunchTemplate", template),
        Spec("group", "aws:autoscaling/group:Group", group),
        Spec("end", "aws:autoscaling/schedule:Schedule", stop),
    )


def _fargate(capacity: Capacity) -> tuple[Spec, ...]:
    rung = capacity.rung
    tags, offer = dict(capacity.labels), rung.offers[0]
    task = {
        "region": rung.place.region,
        "family": "gpubench",
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": str(offer.vcpu * 1024),
        "memory": str(int((offer.ram_gb or 16) * 1024)),
        "containerDefinitions": json.dumps([{"name": "benchmark", "image": capacity.image or BUILT_IN}]),
        "tags": tags,
    }
    provider = "FARGATE_SPOT" if rung.purchase is Purchase.SPOT else "FARGATE"
    service = {
        "region": rung.place.region,
        "desiredCount": 1,
        "taskDefinition": Ref("task"),
        "capacityProviderStrategies": [{"capacityProvider": provider, "weight": 1}],
        "tags": tags,
    }
    return (
        Spec("task", "aws:ecs/taskDefinition:TaskDefinition", task),
        Spec("service", "aws:ecs/service:Service", service),
    )


def _cloud_run(capacity: Capacity) -> tuple[Spec, ...]:
    rung = capacity.rung
    offer = rung.offers[0]
    limits = {"cpu": str(offer.vcpu), "memory": f"{offer.ram_gb or 16:g}Gi"}
    task: dict[str, Any] = {
        "containers": [{"image": capacity.image or BUILT_IN, "resources": {"limits": limits}}],
        "maxRetries": 0,
        "timeout": f"{_seconds(capacity)}s",
    }
    if offer.accelerator:
        limits["nvidia.com/gpu"] = f"{rung.count:g}"
        task["nodeSelector"] = {"accelerator": offer.accelerator}
        task["gpuZonalRedundancyDisabled"] = True
    job = {
        "project": rung.place.project,
        "location": rung.place.region,
        "labels": dict(capacity.labels),
        "deletionProtection": False,
        "template": {"taskCount": 1, "parallelism": 1, "template": task},
    }
    return (Spec("job", "gcp:cloudrunv2/job:Job", job),)


_PROVISIONING = {
    Purchase.ON_DEMAND: "STANDARD",
    Purchase.SPOT: "SPOT",
    Purchase.FLEX_START: "FLEX_START",
    Purchase.RESERVED: "RESERVATION_BOUND",
}


def _attached(rung: Rung, *, always: bool = False) -> dict[str, Any] | None:
    """The accelerators that have to be named: those of N1 machines; in GKE those of all."""
    offer = next(iter(rung.offers), None)
    if offer is None or offer.accelerator is None or not (always or offer.machine_type.startswith("n1-")):
        return None
    return {"type": offer.accelerator, "count": max(1, int(rung.count))}


def _seconds(capacity: Capacity) -> int:
    """How long the cloud lets a machine live, in seconds; not less than flex-start's 10 minutes."""
    return max(600, int(capacity.hours * 3600))


_COMING_S = 300.0
"""How long an Auto Scaling group may take until it has a machine, a shortage that is waited for included."""


def _end_time(capacity: Capacity) -> str:
    # It is set before there is a machine, whose time it is that is limited.
    return results_folder.utc_text(capacity.begun + timedelta(seconds=_COMING_S + _seconds(capacity)))


# -- what the watch sees -----------------------------------------------------------------------------------------------


def seen(cloud: Cloud, attempt: str) -> Seen:
    """What an attempt's watch sees now."""
    machine = _machine(cloud, attempt)
    alive = machine is not None and machine.ended is None
    return Seen(
        granted=alive,
        ready=machine is not None and machine.state is MachineState.RUNNING,
        failures=tuple(sighting.text for sighting in cloud.look(attempt)),
    )


def patient(cloud: Cloud) -> Cloud:
    """The cloud as a surface's client library shows it: what was throttled, or failed for a moment, is asked again."""
    return cast(Cloud, _Patient(cloud))


class _Patient:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cloud, name)

        def asked(*args: object, **named: object) -> Any:
            for tries in itertools.count(1):
                try:
                    return method(*args, **named)
                except CloudError as error:
                    delay = retry_delay(classify(error.text), tries, f"{name} {args}")
                    if delay is None:
                        raise
                    self._cloud.sleep(delay)
            raise AssertionError("count ends never")

        return asked


@dataclass(frozen=True)
class Executed:
    """A run that has ended on a machine: when it began there, what failed in it (None: nothing), and the machine.

    ``machine`` None: this one.
    """

    begun: datetime
    failed: str | None
    machine: Machine | None


def execute(
    cloud: Cloud,
    order: RunOrder,
    say: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
    look: Callable[[], Seen] | None = None,
) -> Executed:
    """Carry an order out on what its attempt has asked for: wait for a machine, then let the run's time pass.

    Raises SurfaceError, with the cloud's own words, where no machine comes or it is taken away, and where a person has
    ``stopped`` it; CloudError where a request is refused. ``look``: the surface's own watch, where it has landed.
    """
    if order.surface == Surface.LOCAL:
        minutes = cloud.run_minutes("cpu")
        cloud.sleep(60 * minutes)
        return Executed(cloud.now() - timedelta(minutes=minutes), None, None)
    try:
        # First: pools that scale from 0 and Cloud Run get a machine only because a run waits for one.
        cloud.start_run(order.attempt, order.run, order.timeout_s)
        wait_for_capacity(
            look or partial(seen, cloud, order.attempt),
            where=Where(surface=order.surface),
            clock=cloud,
            limit_s=order.wait_s,
            poll_s=_POLL_S,
            say=say,
            stopped=stopped,
        )
        begun = cloud.now()
        state = carry_out(cloud, order.attempt, order.run, stopped)
        if state.state is RunIs.INTERRUPTED:
            raise SurfaceError(state.text)
    except SurfaceError:
        # Before it fails: an attempt that is lost must not go on asking for machines.
        cloud.resize(order.attempt, 0)
        raise
    failed = None if state.state is RunIs.COMPLETE else state.text
    if failed or order.ends_machine:
        cloud.resize(order.attempt, 0)
    return Executed(begun, failed, _machine(cloud, order.attempt))


def carry_out(cloud: Cloud, attempt: str, run: str, stopped: Callable[[], bool] = lambda: False) -> RunState:
    """Let a started run's time pass on the attempt's machine; how it ended. Raises SurfaceError if it is stopped."""
    while True:
        state = cloud.run_state(attempt, run)
        if state.state not in (RunIs.WAITING, RunIs.RUNNING):
            return state
        if stopped():
            raise SurfaceError("it was stopped on request; run `gpubench up` again to go on")
        # Not all of it at once: a machine may be taken away meanwhile, and who sleeps until the end sees it only then.
        rest = (state.ends_at - cloud.now()).total_seconds() if state.ends_at else _POLL_S
        cloud.sleep(min(_WATCH_S, max(1.0, rest)))


def _machine(cloud: Cloud, attempt: str) -> Machine | None:
    """The attempt's newest machine."""
    machines = cloud.machines(attempt)
    return machines[-1] if machines else None


def seal(order: RunOrder, execution: Execution, done: Executed) -> None:
    """Results that hold no measurement, and say that they are a rehearsal's."""
    failed, machine = done.failed, done.machine
    stamps: dict[str, Any] = {**order.stamps, "attempt": execution.folder.name, "rehearsal": True}
    if machine is not None:
        stamps |= {"obtained_tier": machine.tier, "zone": machine.zone, "machine_type": machine.machine_type}
    else:
        stamps["obtained_tier"] = "cpu"  # all that a rehearsal's own machine has
    folder = results_folder.ResultsFolder(execution.folder, stamps)
    cause = None
    if failed is not None:
        cause = results_folder.Cause("workload", "exit-code", failed, "see what the benchmark itself printed")
    folder.seal(
        results_folder.Status.FAILED if failed else results_folder.Status.COMPLETE,
        exit_code=1 if failed else 0,
        started_at=done.begun,
        finished_at=rehearsal.cloud().now(),
        cause=cause,
        made_by="wrapper",
    )
