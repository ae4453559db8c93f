"""The simulated cloud as AWS's API: what the watch and the sweep of an attempt on ECS ask."""
# ruff: noqa: ARG002 - the names are the interface's

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import catalog
from catalog import Surface
from components.ecs import api, names
from components.ecs.api import (
    Activity,
    AwsError,
    Container,
    ContainerInstance,
    Instance,
    LogPage,
    ResourceKind,
    ScalingGroup,
    Started,
    StopOrder,
    Task,
    TaskOrder,
    Zone,
)
from components.interface import ATTEMPT_LABEL
from engine.simulated.attempt import AttemptView
from engine.simulated.cloud import CloudError
from engine.simulated.model import Machine, MachineState, Source

_GROUP = "aws:autoscaling/group:Group"
_KINDS = {
    _GROUP: ResourceKind.GROUP,
    "aws:ec2/launchTemplate:LaunchTemplate": ResourceKind.TEMPLATE,
    "aws:ecs/capacityProvider:CapacityProvider": ResourceKind.PROVIDER,
    "aws:ecs/taskDefinition:TaskDefinition": ResourceKind.DEFINITION,
    "aws:ecs/cluster:Cluster": ResourceKind.CLUSTER,
    "aws:ec2/vpc:Vpc": ResourceKind.VPC,
    "aws:ec2/subnet:Subnet": ResourceKind.SUBNET,
    "aws:ec2/natGateway:NatGateway": ResourceKind.NAT_GATEWAY,
    "aws:ec2/eip:Eip": ResourceKind.ADDRESS,
    "aws:ec2/securityGroup:SecurityGroup": ResourceKind.SECURITY_GROUP,
    "aws:ec2/routeTable:RouteTable": ResourceKind.ROUTE_TABLE,
    "aws:ec2/internetGateway:InternetGateway": ResourceKind.GATEWAY,
    "aws:ec2/vpcEndpoint:VpcEndpoint": ResourceKind.ENDPOINT,
}


class SimulatedAmazon(AttemptView):
    """See `components.ecs.api.EcsApi`; of one attempt, whose name is in all that is asked."""

    @staticmethod
    def error(error: CloudError) -> Exception:
        """See `AttemptView`."""
        return AwsError(error.text, error.code, error.status or 0)

    # -- while an attempt is under way

    def scaling_group(self, region: str, name: str) -> ScalingGroup | None:
        """See `EcsApi`."""
        if name != names.base_name(self._attempt):
            return None
        found = [one for one in self._resources() if one.type_token == _GROUP]
        return ScalingGroup(region, found[-1].name, found[-1].size, tags=found[-1].labels) if found else None

    def activities(self, region: str, group: str) -> tuple[Activity, ...]:
        """See `EcsApi`."""
        found = [
            Activity(f"failed-{number}", "Failed", "Launching a new EC2 instance", one.text, one.at, one.at)
            for number, one in enumerate(self._look())
            if one.source is Source.SCALING_ACTIVITY
        ]
        for one in self._machines():
            launch = f"Launching a new EC2 instance: {one.id}"
            found.append(Activity(f"launch-{one.id}", "Successful", launch, "", one.since, one.since))
            if one.ended is not None:
                end = f"Terminating EC2 instance: {one.id}"
                found.append(Activity(f"end-{one.id}", "Successful", end, "", one.ended, one.ended))
        return tuple(sorted(found, key=lambda one: one.began or self._cloud.now()))

    def instances(self, region: str, tag: tuple[str, str]) -> tuple[Instance, ...]:
        """See `EcsApi`. Tasks on Fargate have none."""
        if tag != (ATTEMPT_LABEL, self._attempt.lower()):
            return ()
        taken = {one.machine: one.text for one in self._look() if one.source is Source.TASK}
        return tuple(_instance(region, one, taken) for one in self._machines() if not _on_fargate(one))

    def container_instances(self, region: str, cluster: str) -> tuple[ContainerInstance, ...]:
        """See `EcsApi`. A machine joins its cluster before it pulls the image, which is the run's matter here."""
        live = [one for one in self._machines() if one.ended is None and not _on_fargate(one)]
        return tuple(
            ContainerInstance(one.id, one.id, "ACTIVE", connected=True, gpus=max(1, int(one.gpus))) for one in live
        )

    def run_task(self, order: TaskOrder) -> Started:
        """See `EcsApi`. A rehearsal's runs are started by the simulated cloud itself."""
        return Started(self.tasks(order.region, order.cluster, order.started_by))

    def stop_later(self, order: StopOrder) -> None:
        """See `EcsApi`. A rehearsal's runs end by the simulated cloud's own clock."""

    def task(self, region: str, cluster: str, task: str) -> Task | None:
        """See `EcsApi`."""
        return next((one for one in self.tasks(region, cluster, self._attempt) if one.arn == task), None)

    def tasks(self, region: str, cluster: str, started_by: str) -> tuple[Task, ...]:
        """See `EcsApi`. Where nothing asks for a machine but a task, there is one."""
        if started_by != self._attempt or not self._resources() or self.scaling_group(region, cluster) is not None:
            return ()
        machines, seen = self._machines(), self._look()
        asks = any(one.size > 0 for one in self._resources())
        reason = next((one.text for one in reversed(seen) if one.source is Source.TASK), "")
        live = [one for one in machines if one.ended is None]
        if live:
            status = "RUNNING" if live[-1].state is MachineState.RUNNING else "PENDING"
        else:
            status = "STOPPED" if reason or machines or not asks else "PROVISIONING"
        began = machines[-1].since if machines else None
        return (
            Task(
                region=region,
                arn=f"task/{cluster}/{self._attempt}",
                cluster=cluster,
                status=status,
                stop_code="" if live or not reason else "SpotInterruption" if machines else "TaskFailedToStart",
                stopped_reason="" if live else reason,
                containers=(Container(names.BENCHMARK, status), Container(names.UPLOADER, status)),
                started_by=started_by,
                created=began,
                started=began,
            ),
        )

    def log_events(self, region: str, group: str, stream: str, token: str) -> LogPage:
        """See `EcsApi`. A rehearsal's containers say nothing."""
        return LogPage((), token)

    def zones(self, region: str) -> tuple[Zone, ...]:
        """See `EcsApi`."""
        return tuple(Zone(one, one) for one in catalog.zones(Surface.ECS, region))

    # -- taking away

    def stop_task(self, region: str, cluster: str, task: str, reason: str) -> None:
        """See `EcsApi`."""
        self._asked(lambda: self._cloud.resize(self._attempt, 0))

    def unschedule(self, region: str, name: str, tasks: Sequence[str]) -> None:
        """See `EcsApi`. There are none."""

    def stop_asking(self, region: str, group: str) -> None:
        """See `EcsApi`."""
        self._asked(lambda: self._cloud.resize(self._attempt, 0))

    def resources(self, region: str, tag: tuple[str, str], name: str) -> tuple[api.Resource, ...]:
        """See `EcsApi`."""
        if tag != (ATTEMPT_LABEL, self._attempt.lower()):
            return ()
        found = [one for one in self._resources() if one.type_token in _KINDS]
        return tuple(api.Resource(_KINDS[one.type_token], region, one.id, name=one.name) for one in found)

    def delete(self, resource: api.Resource) -> None:
        """See `EcsApi`."""
        for one in self._resources():
            if (_KINDS.get(one.type_token), one.id) == (resource.kind, resource.id):
                self._asked(partial(self._cloud.delete, one.type_token, one.id))
                return
        if resource.kind is ResourceKind.INSTANCE:
            self._asked(lambda: self._cloud.resize(self._attempt, 0))
            return
        raise AwsError(f"{resource} was not found", "ResourceNotFoundException", 400)

    def exists(self, resource: api.Resource) -> bool:
        """See `EcsApi`. All is gone when its deletion is answered."""
        return any((_KINDS.get(one.type_token), one.id) == (resource.kind, resource.id) for one in self._resources())


def _on_fargate(one: Machine) -> bool:
    return one.machine_type.startswith(names.FARGATE)


def _instance(region: str, one: Machine, taken: dict[str | None, str]) -> Instance:
    why = taken.get(one.id, "") if one.ended is not None else ""
    return Instance(
        region=region,
        id=one.id,
        state="running" if one.ended is None else "terminated",
        machine_type=one.machine_type,
        zone=one.zone or "",
        launched=one.since,
        lifecycle="spot" if one.purchase == "spot" else "",
        reason_code="Server.SpotInstanceTermination" if why else "",
        reason=why,
        tags={ATTEMPT_LABEL: one.attempt or ""},
    )
