"""What gpubench asks AWS: one method a question, plain dataclasses in and out.

``AwsApi`` is what the preflight stands on, and its part ``EcsApi`` the watch, the sweep and the surface.
`components.ecs.amazon.Amazon` is the real one; the simulated cloud implements the latter for rehearsals. The names and
fields are those of botocore's service models (ec2, autoscaling, ecs, ecr, iam, logs, service-quotas, sts).

All of it is of the one account that the credentials belong to. A region is asked by its name (``us-east-1``); zones are
ids (``use1-az4``) where AWS says them, because the names (``us-east-1a``) mean another zone in each account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

_GONE = frozenset({"NoSuchEntity", "NoSuchResourceException", "NotFound"})
"""Codes that say that something isn't there, beside EC2's ``Invalid….NotFound`` and ECS's ``…NotFoundException``."""


class AwsError(Exception):
    """A request that was refused, or had no answer. The text has the cloud's own words, whole, with the code.

    ``code``: AWS's own (``UnauthorizedOperation``); empty where no answer came. ``status``: the HTTP status; 0 where no
    answer came (a connection that failed, a time-out).
    """

    def __init__(self, text: str, code: str = "", status: int = 0) -> None:
        super().__init__(text)
        self.text, self.code, self.status = text, code, status

    @property
    def is_gone(self) -> bool:
        """Whether what was asked about doesn't exist, or not any more."""
        return self.code in _GONE or "NotFound" in self.code


@dataclass(frozen=True)
class Caller:
    """Who asks. ``arn``: a user's, an assumed role's, a federated user's or the root's."""

    account: str
    arn: str


@dataclass(frozen=True)
class Zone:
    """An availability zone of a region: its name in this account, and its id, which is the same in all."""

    name: str
    id: str


@dataclass(frozen=True)
class GroupInstance:
    """A machine as its group sees it. ``lifecycle``: Pending, InService, Terminating, …; ``zone``: a name."""

    id: str
    zone: str
    machine_type: str
    lifecycle: str


@dataclass(frozen=True)
class ScalingGroup:
    """An Auto Scaling group. ``desired``: how many machines it is asked to have; ``deleting``: it is being deleted."""

    region: str
    name: str
    desired: int
    instances: tuple[GroupInstance, ...] = ()
    deleting: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Activity:
    """Something that a group does, or did.

    ``status``: InProgress, Successful, Failed, Cancelled, WaitingForSpotInstanceId, … (autoscaling,
    ScalingActivityStatusCode); ``message``: why it failed, in the cloud's words (StatusMessage); ``description``:
    ``Launching a new EC2 instance: i-…`` and the like; ``cause``: why it began.
    """

    id: str
    status: str
    description: str
    message: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    cause: str = ""

    @property
    def launches(self) -> bool:
        """Whether it makes a machine, or tried to."""
        return self.description.startswith("Launching")

    @property
    def terminates(self) -> bool:
        """Whether it takes one away."""
        return self.description.startswith("Terminating")

    @property
    def instance(self) -> str:
        """The machine's id; empty where the activity made none."""
        word = self.description.partition(": ")[2].partition(" ")[0].rstrip(".")
        return word if word.startswith("i-") else ""

    @property
    def launched(self) -> bool:
        """Whether it made a machine."""
        return self.launches and self.status == "Successful"


@dataclass(frozen=True)
class Instance:
    """A machine of EC2; one that has ended is listed for an hour.

    ``state``: pending, running, shutting-down, terminated, stopping or stopped. ``reason_code``, ``reason``: of its
    last change of state (``Server.SpotInstanceTermination``, ``Client.InstanceInitiatedShutdown``, …). ``zone``: an id,
    or a name where the cloud says no id. ``lifecycle``: ``spot``, ``scheduled``, ``capacity-block``, or empty for on
    demand. ``vcpu``: 0 where the cloud doesn't say.
    """

    region: str
    id: str
    state: str
    machine_type: str
    zone: str
    launched: datetime | None = None
    lifecycle: str = ""
    reason_code: str = ""
    reason: str = ""
    vcpu: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerInstance:
    """A machine that has joined a cluster. ``status``: REGISTERING, ACTIVE, DRAINING, …; ``instance``: its EC2 id."""

    arn: str
    instance: str
    status: str
    connected: bool
    gpus: int = 0


@dataclass(frozen=True)
class Container:
    """A container of a task. ``exit_code`` None: it hasn't ended, or never began. ``reason``: why, if AWS says."""

    name: str
    status: str
    exit_code: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Task:
    """A task of ECS; one that has stopped is listed for an hour at least.

    ``status``, ``desired``: PROVISIONING, PENDING, ACTIVATING, RUNNING, DEACTIVATING, STOPPING, DEPROVISIONING,
    STOPPED. ``stop_code``: TaskFailedToStart, EssentialContainerExited, UserInitiated, SpotInterruption,
    TerminationNotice, ServiceSchedulerInitiated; empty while it goes on. ``zone``: a name.
    ``container_instance``: an ARN; empty on Fargate and before it is placed.
    """

    region: str
    arn: str
    cluster: str
    status: str
    desired: str = "RUNNING"
    stop_code: str = ""
    stopped_reason: str = ""
    containers: tuple[Container, ...] = ()
    zone: str = ""
    container_instance: str = ""
    started_by: str = ""
    definition: str = ""
    created: datetime | None = None
    pulled: datetime | None = None
    started: datetime | None = None
    stopped: datetime | None = None

    @property
    def id(self) -> str:
        """The last part of the ARN: what its log streams are named by."""
        return self.arn.rpartition("/")[2]

    @property
    def lives(self) -> bool:
        """Whether it has not stopped yet."""
        return self.status != "STOPPED"


@dataclass(frozen=True)
class Refusal:
    """Why RunTask started nothing: ``RESOURCE:GPU``, ``AGENT``, ``MISSING``, …; of which machine, if AWS says."""

    reason: str
    detail: str = ""
    arn: str = ""


@dataclass(frozen=True)
class Started:
    """What RunTask did."""

    tasks: tuple[Task, ...] = ()
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskOrder:
    """One task to be run.

    ``token``: at most 64 characters; the same one again starts no second task. ``provider``: a capacity provider's
    name, or FARGATE or FARGATE_SPOT. ``environment``: by container, what is added to its own variables. ``public_ip``:
    only on Fargate, for subnets without a NAT.
    """

    region: str
    cluster: str
    definition: str
    token: str
    started_by: str
    provider: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    public_ip: bool = False
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StopOrder:
    """One task to be stopped by the clock. ``name``: the schedule's, at most 64 characters; the same one again changes
    nothing. ``task``: its ARN. ``at``: to the minute, with a time zone. ``role``: the ARN of who may stop it.
    """

    region: str
    name: str
    cluster: str
    task: str
    at: datetime
    role: str
    reason: str


@dataclass(frozen=True)
class LogPage:
    """Lines of a log stream, in order, and where to go on. ``token``: empty before the first line has come."""

    lines: tuple[str, ...] = ()
    token: str = ""


class ResourceKind(StrEnum):
    """What a sweep takes away."""

    TASK = "tasks"
    SCHEDULE = "schedules"
    GROUP = "autoScalingGroups"
    INSTANCE = "instances"
    NAT_GATEWAY = "natGateways"
    ENDPOINT = "vpcEndpoints"
    PROVIDER = "capacityProviders"
    DEFINITION = "taskDefinitions"
    TEMPLATE = "launchTemplates"
    CLUSTER = "clusters"
    INTERFACE = "networkInterfaces"
    ADDRESS = "addresses"
    SECURITY_GROUP = "securityGroups"
    SUBNET = "subnets"
    ROUTE_TABLE = "routeTables"
    GATEWAY = "internetGateways"
    VPC = "vpcs"


@dataclass(frozen=True)
class Resource:
    """Something that can be deleted. ``id``: what AWS deletes it by (an id, a name or an ARN).

    ``within``: the cluster of a task; ``name``: what a person knows it by, where the id says nothing.
    """

    kind: ResourceKind
    region: str
    id: str
    within: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}/{self.name or self.id} ({self.region})"


class EcsApi(Protocol):
    """What an attempt's watch, sweep and run ask. All raise AwsError, and CannotSay where there are no credentials."""

    # -- while an attempt is under way

    def scaling_group(self, region: str, name: str) -> ScalingGroup | None:
        """The group of that name; None: there is none."""

    def activities(self, region: str, group: str) -> tuple[Activity, ...]:
        """What a group did, oldest first; also of one that is deleted. AWS keeps them for six weeks."""

    def instances(self, region: str, tag: tuple[str, str]) -> tuple[Instance, ...]:
        """Machines that bear a tag (key, value), ended ones too."""

    def container_instances(self, region: str, cluster: str) -> tuple[ContainerInstance, ...]:
        """The machines that have joined a cluster; none, if there is no such cluster."""

    def run_task(self, order: TaskOrder) -> Started:
        """Start a task, once for each token."""

    def stop_later(self, order: StopOrder) -> None:
        """Have a task stopped at a time by AWS itself (EventBridge Scheduler), once for each name."""

    def task(self, region: str, cluster: str, task: str) -> Task | None:
        """One task, by its ARN or id; None: AWS doesn't list it, or not any more."""

    def tasks(self, region: str, cluster: str, started_by: str) -> tuple[Task, ...]:
        """Who started them by, stopped ones too; none, if there is no such cluster."""

    def log_events(self, region: str, group: str, stream: str, token: str) -> LogPage:
        """The lines of a stream after those that ``token`` (of the last page; empty: from its beginning) stands for.

        None, and the same token, while there is no such stream yet.
        """

    def zones(self, region: str) -> tuple[Zone, ...]:
        """The zones of a region that this account may use."""

    # -- taking away

    def stop_task(self, region: str, cluster: str, task: str, reason: str) -> None:
        """Ask a task to stop; one that has stopped already, or is gone, is left alone."""

    def unschedule(self, region: str, name: str, tasks: Sequence[str]) -> None:
        """Delete the schedules (`stop_later`) of these tasks of an attempt: they have ended, or were told to."""

    def stop_asking(self, region: str, group: str) -> None:
        """Let a group ask for no machine, now and later; one that is gone is left alone."""

    def resources(self, region: str, tag: tuple[str, str], name: str) -> tuple[Resource, ...]:
        """All of a region that bears the tag, or, where tags can't be asked for, the name: what a sweep may delete."""

    def delete(self, resource: Resource) -> None:
        """Ask for its deletion; what is gone already raises an error that says so (`AwsError.is_gone`)."""

    def exists(self, resource: Resource) -> bool:
        """Whether it is still there, its deletion asked for or not."""


@dataclass(frozen=True)
class Decision:
    """What IAM's simulator says of one action on one resource.

    ``denied``: ``explicitDeny`` or ``implicitDeny``; empty: it is allowed. ``missing``: context keys that a policy asks
    for and the simulation had no value of: then an implicit denial says nothing.
    """

    action: str
    resource: str
    denied: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """A spot placement score, 1 to 10, of one zone (an id; empty: of the whole region)."""

    score: int
    zone: str = ""


@dataclass(frozen=True)
class SpotPrice:
    """USD an hour of one machine type in one zone, now."""

    machine_type: str
    zone: str
    usd_per_hour: float


@dataclass(frozen=True)
class StoreBucket:
    """A bucket of S3, and where it is."""

    region: str
    tags: Mapping[str, str] = field(default_factory=dict)


class AwsApi(EcsApi, Protocol):
    """Every method raises AwsError, and CannotSay where there are no credentials. Called from several threads."""

    def caller(self) -> Caller:
        """Who asks."""

    def offerings(self, region: str, machine_types: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """The ids of the zones that list each of these machine types; one that no zone lists isn't there."""

    def scores(self, region: str, machine_types: Iterable[str]) -> tuple[Score, ...]:
        """For one spot machine of any of these types, zone by zone; fewer than three types score low."""

    def spot_prices(self, region: str, machine_types: Iterable[str]) -> tuple[SpotPrice, ...]:
        """What Linux machines cost as spot, by type and zone."""

    def quota(self, region: str, service: str, code: str) -> float | None:
        """The limit that holds for this account, else AWS's default; None: there is no such quota here."""

    def running(self, region: str) -> tuple[Instance, ...]:
        """All machines of the account that are pending or running: what EC2's quotas count."""

    def simulate(
        self, arn: str, actions: Iterable[str], resources: Iterable[str], context: Mapping[str, str]
    ) -> tuple[Decision, ...]:
        """What a user or a role may do, by its policies: each action on each resource."""

    def dry_run(self, region: str, machine_type: str) -> bool:
        """Whether the asker may run such a machine: RunInstances with DryRun. It sees neither capacity nor PassRole."""

    def role_arn(self, name: str) -> str | None:
        """The ARN, path included, of a role of the account; None: there is none of that name."""

    def repository_policy(self, region: str, account: str, name: str) -> str | None:
        """An image repository's own policy (JSON); empty: it has none; None: there is no such repository."""

    def repository_tags(self, region: str, account: str, name: str) -> Mapping[str, str] | None:
        """The tags of an image repository; None: there is no such repository."""

    def bucket(self, name: str) -> StoreBucket | None:
        """A bucket of the account; None: there is none of that name. One of somebody else's is refused."""

    def image_digest(self, region: str, account: str, name: str, reference: str) -> str | None:
        """The digest of an image, by tag or digest; None: there is no such image, or no such repository."""
