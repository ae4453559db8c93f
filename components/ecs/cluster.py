"""EcsGpuCluster: the capacity of one attempt on ECS, which is one machine of EC2 that ends by itself."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from catalog import Purchase
from components import boot_disk
from components.ecs import images, names
from components.ecs.kinds import Runs
from components.ecs.network import RunNetwork
from components.ecs.reach import BadRequest
from components.ecs.roles import RunRoles
from components.ecs.task import TaskArgs, task_definition
from components.interface import CapacityComponent

_USER_DATA = Path(__file__).with_name("user_data.sh")
_MAX_USER_DATA = 16 * 1024  # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html
_LEAST_S = 600
_MANAGED_MOST_S = 14 * 24 * 3600
# ECS drains a machine that it manages when it is 14 days old
# (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-instances-patching.html).
_IDLE_S = 60  # after so long without a task ECS ends a machine that it manages


@dataclass(frozen=True, kw_only=True)
class EcsGpuClusterArgs:
    """What a rung and an attempt say, and what stands around them.

    ``machine_types``: of EC2, best first. ``reservation``: the id of a Capacity Reservation (``cr-…``), for purchase
    ``reserved``. ``max_seconds``: for so long the machine may be held, 10 minutes at the least. ``begun``: when the
    attempt began; ``wait_s``: how long it may look for a machine.

    ``base_name``: see names.base_name; all of the attempt is called that. ``task``: what is carried out. ``roles``: the
    stack's. ``network``: where the machine is, in any of its zones. ``managed_instances``: ECS itself starts the
    machine, for a fee (https://aws.amazon.com/ecs/managed-instances/pricing/); a reserved one never. ``labels``: as
    tags, for all that bears them. ``hooks``: for each resource that is made. ``after``: what has to be in place before
    a machine is asked for, the roles before all.
    """

    region: str
    stack: str
    machine_types: tuple[str, ...]
    purchase: Purchase
    max_seconds: float
    begun: datetime
    base_name: str
    task: TaskArgs
    roles: RunRoles
    network: RunNetwork
    labels: Mapping[str, str]
    reservation: str | None = None
    wait_s: float = 0.0
    volume_gb: int = boot_disk.DEFAULT_GB
    managed_instances: bool = False
    hooks: pulumi.ResourceHookBinding | None = None
    after: Sequence[pulumi.Resource] = ()


class EcsGpuCluster(CapacityComponent):
    """A cluster with one machine in whichever zone, of whichever of the types, has it; and the task it carries out.

    An Auto Scaling group asks for the machine in one zone after the other by itself, and is made whatever becomes of
    that: who waits for the machine reads the group's activities, because the group's own state says nothing. It is
    asked for at once and not when a task waits for it: a shortage shows in seconds.

    Its end: the run resource stops the tasks, sets the group to none and ends the machine. If nobody does, the uploader
    ends the task when the run's time is over, and ECS, which scales the group by its tasks, takes the machine away; and
    if that fails as well, the machine powers itself off after its time, and is ended by that. A scheduled action has
    told the group before then to have none, so it makes no other. With ECS Managed Instances a schedule stops the task.

    No resource of one attempt is changed into another attempt's: their names have the attempt's in them.
    """

    cluster: aws.ecs.Cluster
    group: aws.autoscaling.Group | None = None
    """None with ECS Managed Instances."""
    provider: aws.ecs.CapacityProvider
    definition: aws.ecs.TaskDefinition

    def __init__(self, name: str, args: EcsGpuClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises RunError, which the engine shows without a traceback, where the arguments contradict each other."""
        _check(args)
        super().__init__("gpubench:index:EcsGpuCluster", name, {}, opts)
        self._args, self._prefix, self._tail = args, name, names.tail(args.base_name)
        self._tags = names.tags({**args.labels, "Name": args.base_name})
        runs = Runs.of(args.machine_types, args.purchase, managed_instances=args.managed_instances)
        managed = runs is Runs.MANAGED
        self.cluster = cluster(self._named("cluster"), args.base_name, args.region, self._tags, self._child())
        self.definition = task_definition(
            self._named("task"),
            args.task,
            runs,
            base=args.base_name,
            region=args.region,
            log_group=names.log_group(args.stack),
            roles=args.roles,
            tags=self._tags,
            opts=self._child(),
        )
        self.provider = self._managed_provider() if managed else self._scaled_provider(self._group())
        self.handles = {
            **args.network.handles,
            "uploader_image": args.task.uploader_image or "",
            "provider": self.provider.name,
            # ECS starts the machines that it manages when a task waits for one, and they don't end by themselves.
            **(self._clocked() if managed else {"waits_for": "machine"}),
        }
        aws.ecs.ClusterCapacityProviders(
            self._named("providers"),
            region=args.region,
            cluster_name=self.cluster.name,
            capacity_providers=[self.provider.name],
            default_capacity_provider_strategies=[{"capacity_provider": self.provider.name, "weight": 1}],
            opts=self._child(),
        )
        self.register_outputs({"baseName": args.base_name})

    def _child(self, **more: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, hooks=self._args.hooks, **more)

    def _named(self, what: str) -> str:
        return f"{self._prefix}-{what}-{self._tail}"

    def _clocked(self) -> dict[str, pulumi.Input[str]]:
        args = self._args
        return {"waits_for": "task", **clock(args.roles, args.begun, args.wait_s, args.max_seconds)}

    def _template(self) -> aws.ec2.LaunchTemplate:
        args = self._args
        reserved = args.purchase is Purchase.RESERVED
        return aws.ec2.LaunchTemplate(
            self._named("template"),
            name=args.base_name,
            region=args.region,
            description=f"gpubench: {args.base_name}",
            image_id=images.AMI,
            instance_type=args.machine_types[0],  # the group's policy says it anew, with all of them
            iam_instance_profile={"arn": args.roles.instance_profile_arn},
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                # An answer to another hop than the machine itself is not for us.
                "http_put_response_hop_limit": 1,
                "instance_metadata_tags": "disabled",
            },
            network_interfaces=[
                {
                    "device_index": 0,
                    "associate_public_ip_address": "false",
                    "delete_on_termination": "true",
                    "security_groups": [args.network.security_group],
                }
            ],
            block_device_mappings=[
                {
                    "device_name": images.ROOT_DEVICE,
                    "ebs": {
                        "volume_size": args.volume_gb,
                        "volume_type": "gp3",
                        "throughput": images.DISK_MB_S,
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            # So it ends when it powers itself off, and nothing of it is left.
            instance_initiated_shutdown_behavior="terminate",
            capacity_reservation_specification=(
                {"capacity_reservation_target": {"capacity_reservation_id": args.reservation}} if reserved else None
            ),
            monitoring={"enabled": False},
            # The group hands its own tags to the machine alone.
            tag_specifications=[
                {"resource_type": kind, "tags": self._tags} for kind in ("volume", "network-interface")
            ],
            user_data=self.cluster.name.apply(
                partial(user_data, max_seconds=run_seconds(args.max_seconds, args.wait_s))
            ),
            update_default_version=True,
            tags=self._tags,
            # Its volume stays as it was made, whatever a registry says of the image's size in the next update.
            opts=self._child(delete_before_replace=True, ignore_changes=["blockDeviceMappings"]),
        )

    def _group(self) -> aws.autoscaling.Group:
        args, template = self._args, self._template()
        is_spot = args.purchase is Purchase.SPOT
        group = aws.autoscaling.Group(
            self._named("group"),
            name=args.base_name,
            region=args.region,
            min_size=0,
            max_size=1,
            desired_capacity=1,
            vpc_zone_identifiers=list(args.network.subnets),
            mixed_instances_policy={
                "launch_template": {
                    "launch_template_specification": {
                        "launch_template_id": template.id,
                        "version": template.latest_version.apply(str),
                    },
                    "overrides": [{"instance_type": one} for one in args.machine_types],
                },
                "instances_distribution": {
                    "on_demand_base_capacity": 0,
                    "on_demand_percentage_above_base_capacity": 0 if is_spot else 100,
                    "on_demand_allocation_strategy": "prioritized",
                    # Where a machine is likeliest to stay, and among those the cheapest.
                    "spot_allocation_strategy": "price-capacity-optimized",
                },
            },
            # A warning that capacity may be taken back would start a second machine, and end a run that may yet finish;
            # the notice itself is heeded by the machine (user_data.sh).
            capacity_rebalance=False,
            # Managed termination protection needs it: ECS takes it off a machine that has no task any more.
            protect_from_scale_in=True,
            health_check_type="EC2",
            health_check_grace_period=0,
            # Its creation would wait without a word until it times out; the run resource waits, and says why.
            wait_for_capacity_timeout="0",
            ignore_failed_scaling_activities=True,
            # Gone with its machine, protected or not.
            force_delete=True,
            tags=[
                {"key": key, "value": value, "propagate_at_launch": True}
                # ECS puts this one on a group that it scales; what isn't declared would be taken off again.
                for key, value in {**self._tags, "AmazonECSManaged": "true"}.items()
            ],
            # ECS and whoever gives the attempt up change it; the name is one, and can't be had twice.
            opts=self._child(
                ignore_changes=["desiredCapacity"],
                delete_before_replace=True,
                depends_on=[*args.after, *args.network.ways_out],
            ),
        )
        aws.autoscaling.Schedule(
            self._named("end"),
            scheduled_action_name=f"{args.base_name}-end",
            region=args.region,
            autoscaling_group_name=group.name,
            start_time=ends_at(args.begun, args.wait_s, args.max_seconds),
            min_size=0,
            max_size=0,
            desired_capacity=0,
            opts=self._child(),
        )
        self.group = group
        return group

    def _scaled_provider(self, group: aws.autoscaling.Group) -> aws.ecs.CapacityProvider:
        args = self._args
        return aws.ecs.CapacityProvider(
            self._named("provider"),
            name=args.base_name,
            region=args.region,
            auto_scaling_group_provider={
                "auto_scaling_group_arn": group.arn,
                "managed_scaling": {
                    "status": "ENABLED",
                    "target_capacity": 100,
                    "minimum_scaling_step_size": 1,
                    "maximum_scaling_step_size": 1,
                },
                "managed_termination_protection": "ENABLED",
                # It would hold a machine that is to end for as long as a task runs on it: up to two days.
                "managed_draining": "DISABLED",
            },
            tags=self._tags,
            opts=self._child(delete_before_replace=True),
        )

    def _managed_provider(self) -> aws.ecs.CapacityProvider:
        """ECS starts a machine of one of the types when a task asks for it, and ends it when it has none.

        It looks after its machines itself: image, disk encryption, metadata service and power-off are AWS's.
        """
        args = self._args
        if args.roles.infrastructure_role_arn is None:
            raise pulumi.RunError(f"{args.base_name}: managed instances need the stack's infrastructure role")
        return aws.ecs.CapacityProvider(
            self._named("provider"),
            name=args.base_name,
            region=args.region,
            cluster=self.cluster.name,
            managed_instances_provider={
                "infrastructure_role_arn": args.roles.infrastructure_role_arn,
                "propagate_tags": "CAPACITY_PROVIDER",
                "infrastructure_optimization": {"scale_in_after": _IDLE_S},
                "instance_launch_template": {
                    "ec2_instance_profile_arn": args.roles.instance_profile_arn,
                    "capacity_option_type": "SPOT" if args.purchase is Purchase.SPOT else "ON_DEMAND",
                    "network_configuration": {
                        "subnets": list(args.network.subnets),
                        "security_groups": [args.network.security_group],
                    },
                    "storage_configuration": {"storage_size_gib": args.volume_gb},
                    "instance_requirements": {
                        # AWS wants both; the types say all.
                        "vcpu_count": {"min": 1},
                        "memory_mib": {"min": 1},
                        "allowed_instance_types": list(args.machine_types),
                    },
                },
            },
            tags=self._tags,
            opts=self._child(delete_before_replace=True, depends_on=[*args.after, *args.network.ways_out]),
        )


def cluster(
    resource: str, base: str, region: str, tags: Mapping[str, str], opts: pulumi.ResourceOptions
) -> aws.ecs.Cluster:
    """An attempt's cluster. What Container Insights measures costs by the metric, and nobody looks at it."""
    return aws.ecs.Cluster(
        resource,
        name=base,
        region=region,
        settings=[{"name": "containerInsights", "value": "disabled"}],
        tags=dict(tags),
        opts=opts,
    )


def user_data(cluster_name: str, max_seconds: int) -> str:
    """What a machine runs when it boots, in base64. Raises ValueError if it is more than EC2 takes."""
    script = _USER_DATA.read_text().replace("@CLUSTER@", cluster_name).replace("@MAX_SECONDS@", str(max_seconds))
    if (size := len(script.encode())) > _MAX_USER_DATA:
        raise ValueError(f"user data has {size} bytes, and EC2 takes {_MAX_USER_DATA}")
    return base64.b64encode(script.encode()).decode()


def run_seconds(max_seconds: float, wait_s: float = 0.0) -> int:
    """After how long a machine powers itself off: in no case before its group has stopped asking for others."""
    return int(max(_LEAST_S, max_seconds, wait_s + _LEAST_S))


def ends_at(begun: datetime, wait_s: float, max_seconds: float) -> str:
    """When the group stops asking for machines: after the last that it may get, and before the first powers itself off.

    A machine with a task is kept from that (its protection is ECS's to take off), and isn't replaced when it ends.
    """
    end = begun.astimezone(UTC) + timedelta(seconds=run_seconds(max_seconds, wait_s))
    return end.strftime("%Y-%m-%dT%H:%M:00Z")  # schedules are of whole minutes


def clock(roles: RunRoles, begun: datetime, wait_s: float, max_seconds: float) -> dict[str, pulumi.Input[str]]:
    """When a task has to end that no machine's timer ends, and who ends it: the run has EventBridge Scheduler do so.

    ``ends_at``: after the longest wait and the longest run; ``held_s``: so many seconds after it got its machine.
    Raises RunError for a stack without the role for it.
    """
    if roles.clock_role_arn is None:
        raise pulumi.RunError("a task without a machine of its own needs the stack's clock role")
    end = begun.astimezone(UTC) + timedelta(seconds=wait_s + max(_LEAST_S, max_seconds))
    return {
        "ends_at": end.isoformat(timespec="seconds"),
        "held_s": str(max(_LEAST_S, max_seconds)),
        "clock_role": roles.clock_role_arn,
    }


def _check(args: EcsGpuClusterArgs) -> None:
    def refuse(what: str) -> None:
        raise pulumi.RunError(f"{args.base_name}: {what}")

    if not args.machine_types:
        refuse("no machine type")
    if wrong := [one for one in args.machine_types if one.startswith(names.FARGATE) or "." not in one]:
        refuse(f"{', '.join(wrong)}: no machine type of EC2")
    if args.purchase not in (Purchase.ON_DEMAND, Purchase.SPOT, Purchase.RESERVED):
        refuse(f"{args.purchase} isn't sold on AWS; write on-demand, spot or reserved")
    if (args.purchase is Purchase.RESERVED) != (args.reservation is not None):
        refuse("a reservation is named if, and only if, the purchase is `reserved`")
    if args.reservation is not None and not re.fullmatch(r"cr-[0-9a-f]{8,17}", args.reservation):
        refuse(f"reservation: {args.reservation}: not the id of a Capacity Reservation (cr-…)")
    if args.managed_instances and args.max_seconds > _MANAGED_MOST_S:
        raise BadRequest(
            "managed-too-long",
            f"gpubench:aws.managed_instances: true: ECS ends the machines that it manages after "
            f"{_MANAGED_MOST_S // 86400} days, and this attempt may take {args.max_seconds / 86400:.0f}",
            "lower max_hours, or remove managed_instances",
        )
    args.network.check_reach(args.task)
