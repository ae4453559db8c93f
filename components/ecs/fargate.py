"""EcsFargateTask: the capacity of one attempt on Fargate, which is none until its task runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pulumi
import pulumi_aws as aws

from catalog import Purchase
from components import boot_disk
from components.ecs import images, names
from components.ecs.cluster import clock, cluster
from components.ecs.kinds import Runs
from components.ecs.network import RunNetwork
from components.ecs.roles import RunRoles
from components.ecs.task import TaskArgs, task_definition
from components.interface import CapacityComponent

ON_DEMAND, SPOT = "FARGATE", "FARGATE_SPOT"


@dataclass(frozen=True, kw_only=True)
class EcsFargateTaskArgs:
    """As EcsGpuClusterArgs, as far as there is no machine.

    ``machine_type``: a size as the catalogue names it (``fargate-4-16gb``). ``volume_gb``: of the task's own disk,
    which the image is unpacked on; at most 200.
    """

    region: str
    stack: str
    machine_type: str
    purchase: Purchase
    max_seconds: float
    begun: datetime
    base_name: str
    task: TaskArgs
    roles: RunRoles
    network: RunNetwork
    labels: Mapping[str, str]
    wait_s: float = 0.0
    volume_gb: int = boot_disk.DEFAULT_GB
    hooks: pulumi.ResourceHookBinding | None = None
    after: Sequence[pulumi.Resource] = ()


class EcsFargateTask(CapacityComponent):
    """A cluster without machines, and the task that is run on it: the same container, on CPUs alone.

    Fargate has no limit on a task's life. The uploader, its essential container, ends it when the run's time is over;
    and if that fails, a schedule of EventBridge's, which is made with the task, stops it.
    """

    cluster: aws.ecs.Cluster
    definition: aws.ecs.TaskDefinition
    provider: str
    """The capacity provider that the task is run with."""

    def __init__(self, name: str, args: EcsFargateTaskArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises RunError where the arguments contradict each other."""
        _check(args)
        super().__init__("gpubench:index:EcsFargateTask", name, {}, opts)
        tail = names.tail(args.base_name)
        tags = names.tags({**args.labels, "Name": args.base_name})
        child = pulumi.ResourceOptions(parent=self, hooks=args.hooks)
        self.provider = SPOT if args.purchase is Purchase.SPOT else ON_DEMAND
        # A task may be run as soon as its cluster is there: then all that it needs is.
        before = pulumi.ResourceOptions(depends_on=[*args.after, *args.network.ways_out])
        self.cluster = cluster(
            f"{name}-cluster-{tail}", args.base_name, args.region, tags, pulumi.ResourceOptions.merge(child, before)
        )
        low, high = images.FARGATE_DISK_GB
        self.definition = task_definition(
            f"{name}-task-{tail}",
            args.task,
            Runs.FARGATE,
            base=args.base_name,
            region=args.region,
            log_group=names.log_group(args.stack),
            roles=args.roles,
            tags=tags,
            opts=child,
            machine_type=args.machine_type,
            disk_gb=min(max(args.volume_gb, low), high),
        )
        aws.ecs.ClusterCapacityProviders(
            f"{name}-providers-{tail}",
            region=args.region,
            cluster_name=self.cluster.name,
            capacity_providers=[ON_DEMAND, SPOT],
            default_capacity_provider_strategies=[{"capacity_provider": self.provider, "weight": 1}],
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[self.definition])),
        )
        self.handles = {
            **args.network.handles,
            "uploader_image": args.task.uploader_image or "",
            "provider": self.provider,
            "waits_for": "task",
            **clock(args.roles, args.begun, args.wait_s, args.max_seconds),
        }
        self.register_outputs({"baseName": args.base_name})


def _check(args: EcsFargateTaskArgs) -> None:
    def refuse(what: str) -> None:
        raise pulumi.RunError(f"{args.base_name}: {what}")

    try:
        images.fargate_size(args.machine_type)
    except ValueError as error:
        refuse(str(error))
    if args.task.gpus:
        refuse("Fargate has no GPU at all; name a machine type of EC2, or tier cpu")
    if args.purchase not in (Purchase.ON_DEMAND, Purchase.SPOT):
        refuse(f"Fargate isn't sold {args.purchase}; write on-demand or spot")
    args.network.check_reach(args.task)
