"""AWS, asked by boto3. See `components.ecs.api`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from components.ecs import images
from components.ecs.api import (
    Activity,
    AwsError,
    Caller,
    Container,
    ContainerInstance,
    Decision,
    GroupInstance,
    Instance,
    LogPage,
    Refusal,
    Resource,
    ResourceKind,
    ScalingGroup,
    Score,
    SpotPrice,
    Started,
    StopOrder,
    StoreBucket,
    Task,
    TaskOrder,
    Zone,
)
from components.ecs.names import partition, schedule
from components.parallel import side_by_side
from placement.verdicts import CannotSay

if TYPE_CHECKING:
    import boto3
    from types_boto3_autoscaling.client import AutoScalingClient
    from types_boto3_ec2.client import EC2Client
    from types_boto3_ecr.client import ECRClient
    from types_boto3_ecs.client import ECSClient
    from types_boto3_iam.client import IAMClient
    from types_boto3_logs.client import CloudWatchLogsClient
    from types_boto3_s3.client import S3Client
    from types_boto3_scheduler.client import EventBridgeSchedulerClient
    from types_boto3_service_quotas.client import ServiceQuotasClient
    from types_boto3_sts.client import STSClient

CONNECT_S, READ_S = 5.0, 15.0
"""A connection that isn't there after 5 s won't be; listings of a busy account take AWS a few seconds."""

TRIES = 4
"""With botocore's ``standard`` retries: throttling, time-outs and 5xx, with exponential back-off and jitter."""

_GLOBAL = "us-east-1"
"""Where IAM, which knows no regions, is asked; the partitions of China and GovCloud aren't in the catalogue."""

_MEND = (
    "log in with `aws sso login` or `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID; "
    "`aws sts get-caller-identity` shows who you are then"
)
_PAGE = 1000
_AT_ONCE = 100  # tasks of DescribeTasks, container instances of DescribeContainerInstances
_TAGGED = {
    # EC2's types (DescribeTags, resource-type) of what has no state that is worth a look.
    "launch-template": ResourceKind.TEMPLATE,
    "security-group": ResourceKind.SECURITY_GROUP,
    "subnet": ResourceKind.SUBNET,
    "route-table": ResourceKind.ROUTE_TABLE,
    "internet-gateway": ResourceKind.GATEWAY,
    "vpc": ResourceKind.VPC,
}
_NO_GROUP = "not found"
"""What Auto Scaling says of a group that isn't there, with the code ValidationError: ``… name not found``."""

_ENDED = ("shutting-down", "terminated")

T = TypeVar("T")


class Amazon:
    """The real one; for all threads. It asks nobody until it is used, and loads boto3 only then (0.3 s).

    ``session``: None: the default credentials, looked for at the first request. ``endpoint``: where all services are,
    for the tests.
    """

    def __init__(self, session: boto3.Session | None = None, *, endpoint: str | None = None) -> None:
        self._session, self._endpoint = session, endpoint
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}

    def prepare(self, regions: Iterable[str]) -> None:
        """Make the clients that a preflight of these regions needs: boto3 reads the services' models then."""
        for make in (self._iam, self._s3, self._sts):
            make()
        for region in regions:
            for make_in in (self._ec2, self._quotas, self._ecr):
                make_in(region)

    # -- while an attempt is under way

    def scaling_group(self, region: str, name: str) -> ScalingGroup | None:
        """See `EcsApi`."""
        with _said():
            found = self._autoscaling(region).describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return next((_group(region, one) for one in found["AutoScalingGroups"]), None)

    def activities(self, region: str, group: str) -> tuple[Activity, ...]:
        """See `EcsApi`."""
        with _said(), _unless(_NO_GROUP):
            pages = self._autoscaling(region).get_paginator("describe_scaling_activities")
            found = [
                one
                for page in pages.paginate(AutoScalingGroupName=group, IncludeDeletedGroups=True)
                for one in page["Activities"]
            ]
            return tuple(_activity(one) for one in reversed(found))  # AWS gives the newest first
        return ()

    def instances(self, region: str, tag: tuple[str, str]) -> tuple[Instance, ...]:
        """See `EcsApi`."""
        return self._instances(region, {f"tag:{tag[0]}": [tag[1]]})

    def container_instances(self, region: str, cluster: str) -> tuple[ContainerInstance, ...]:
        """See `EcsApi`."""
        ecs = self._ecs(region)
        try:
            with _said():
                arns = [
                    arn
                    for page in ecs.get_paginator("list_container_instances").paginate(cluster=cluster)
                    for arn in page["containerInstanceArns"]
                ]
                found = [
                    one
                    for some in _some(arns)
                    for one in ecs.describe_container_instances(cluster=cluster, containerInstances=some)[
                        "containerInstances"
                    ]
                ]
        except AwsError as error:
            if error.is_gone:
                return ()
            raise
        return tuple(_container_instance(one) for one in found)

    def run_task(self, order: TaskOrder) -> Started:
        """See `EcsApi`."""
        try:
            return self._run_task(order)
        except AwsError as error:
            # It was started already, with a stamp or two that differ: a person has committed something since.
            there = self._describe(order.region, order.cluster, _resources(error)) if error.code == _CONFLICT else []
            if not there:
                raise
            return Started(tuple(there))

    def _run_task(self, order: TaskOrder) -> Started:
        with _said():
            said = self._ecs(order.region).run_task(
                cluster=order.cluster,
                taskDefinition=order.definition,
                clientToken=order.token,
                startedBy=order.started_by,
                count=1,
                capacityProviderStrategy=[{"capacityProvider": order.provider, "weight": 1}],
                networkConfiguration={
                    "awsvpcConfiguration": {
                        "subnets": list(order.subnets),
                        "securityGroups": list(order.security_groups),
                        "assignPublicIp": "ENABLED" if order.public_ip else "DISABLED",
                    }
                },
                overrides={
                    "containerOverrides": [
                        {"name": name, "environment": [{"name": key, "value": value} for key, value in added.items()]}
                        for name, added in order.environment.items()
                    ]
                },
                tags=[{"key": key, "value": value} for key, value in order.tags.items()],
            )
        return Started(
            tuple(_task(order.region, one) for one in said.get("tasks", [])),
            tuple(
                Refusal(one.get("reason", ""), one.get("detail", ""), one.get("arn", ""))
                for one in said.get("failures", [])
            ),
        )

    def stop_later(self, order: StopOrder) -> None:
        """See `EcsApi`."""
        # The request's fields are as in the API, but for their first letters:
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
        stop = {"Cluster": order.cluster, "Task": order.task, "Reason": order.reason}
        try:
            with _said():
                self._scheduler(order.region).create_schedule(
                    Name=order.name,
                    Description=f"gpubench: ends {order.cluster}'s task when its time is over",
                    ScheduleExpression=f"at({order.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
                    ScheduleExpressionTimezone="UTC",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    Target={
                        "Arn": f"arn:{partition(order.region)}:scheduler:::aws-sdk:ecs:stopTask",
                        "RoleArn": order.role,
                        "Input": json.dumps(stop),
                        # A task that has ended by then isn't there: that is tried a few times, and forgotten.
                        "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10},
                    },
                )
        except AwsError as error:
            if error.code != _CONFLICT:  # it was made already
                raise

    def task(self, region: str, cluster: str, task: str) -> Task | None:
        """See `EcsApi`."""
        return next(iter(self._describe(region, cluster, [task])), None)

    def tasks(self, region: str, cluster: str, started_by: str) -> tuple[Task, ...]:
        """See `EcsApi`."""
        found = self._describe(region, cluster, self._list_tasks(region, cluster, ("RUNNING", "STOPPED")))
        return tuple(one for one in found if one.started_by == started_by)

    def log_events(self, region: str, group: str, stream: str, token: str) -> LogPage:
        """See `EcsApi`."""
        asked: dict[str, Any] = {"nextToken": token} if token else {}
        try:
            with _said():
                said = self._logs(region).get_log_events(
                    logGroupName=group, logStreamName=stream, startFromHead=True, **asked
                )
        except AwsError as error:
            if error.is_gone:
                return LogPage((), token)
            raise
        lines = tuple(one.get("message", "").rstrip("\n") for one in said["events"])
        return LogPage(lines, said.get("nextForwardToken", token))

    def zones(self, region: str) -> tuple[Zone, ...]:
        """See `EcsApi`."""
        with _said():
            said = self._ec2(region).describe_availability_zones()
        return tuple(Zone(one.get("ZoneName", ""), one.get("ZoneId", "")) for one in said["AvailabilityZones"])

    # -- taking away

    def stop_task(self, region: str, cluster: str, task: str, reason: str) -> None:
        """See `EcsApi`."""
        with _said(), _unless("not found", "inactive"):
            self._ecs(region).stop_task(cluster=cluster, task=task, reason=reason)

    def unschedule(self, region: str, name: str, tasks: Sequence[str]) -> None:
        """See `EcsApi`."""
        theirs = {schedule(name, task, held=held) for task in tasks for held in (False, True)}
        for one in self._schedules_left(region, name):
            if one.id not in theirs:
                continue
            try:
                self.delete(one)
            except AwsError as error:
                if not error.is_gone:
                    raise

    def stop_asking(self, region: str, group: str) -> None:
        """See `EcsApi`. Not the wish alone: managed scaling, which lags behind its tasks, could have another one."""
        with _said(), _unless(_NO_GROUP):
            self._autoscaling(region).update_auto_scaling_group(
                AutoScalingGroupName=group, MinSize=0, MaxSize=0, DesiredCapacity=0
            )

    def resources(self, region: str, tag: tuple[str, str], name: str) -> tuple[Resource, ...]:
        """See `EcsApi`."""
        tagged = [{"Name": f"tag:{tag[0]}", "Values": [tag[1]]}]
        found = side_by_side(
            [
                partial(self._tasks_left, region, name),
                partial(self._schedules_left, region, name),
                partial(self._groups_left, region, tagged, name),
                partial(self._instances_left, region, tag),
                partial(self._nats_left, region, tag),
                partial(self._providers_left, region, name),
                partial(self._definitions_left, region, name),
                partial(self._templates_left, region, name),
                partial(self._clusters_left, region, name),
                partial(self._endpoints_left, region, tagged),
                partial(self._interfaces_left, region, tagged),
                partial(self._addresses_left, region, tagged),
                partial(self._tagged_left, region, tag),
            ]
        )
        return tuple(dict.fromkeys(one for some in found for one in some))

    def delete(self, resource: Resource) -> None:
        """See `EcsApi`."""
        with _said(resource):
            self._delete(resource)

    def exists(self, resource: Resource) -> bool:
        """See `EcsApi`."""
        region, which = resource.region, resource.id
        try:
            with _said():
                return self._exists(resource, region, which)
        except AwsError as error:
            if error.is_gone:
                return False
            raise

    # -- before an attempt

    def caller(self) -> Caller:
        """See `AwsApi`."""
        with _said():
            said = self._sts().get_caller_identity()
        return Caller(said["Account"], said["Arn"])

    def offerings(self, region: str, machine_types: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """See `AwsApi`."""
        listed: dict[str, list[str]] = {}
        with _said():
            pages = self._ec2(region).get_paginator("describe_instance_type_offerings")
            for page in pages.paginate(
                LocationType="availability-zone-id",
                Filters=[{"Name": "instance-type", "Values": list(machine_types)}],
                PaginationConfig={"PageSize": _PAGE},
            ):
                for one in page["InstanceTypeOfferings"]:
                    listed.setdefault(one.get("InstanceType", ""), []).append(one.get("Location", ""))
        return {name: tuple(sorted(zones)) for name, zones in listed.items()}

    def scores(self, region: str, machine_types: Iterable[str]) -> tuple[Score, ...]:
        """See `AwsApi`."""
        with _said():
            said = self._ec2(region).get_spot_placement_scores(
                InstanceTypes=list(machine_types),
                TargetCapacity=1,
                TargetCapacityUnitType="units",
                SingleAvailabilityZone=True,
                RegionNames=[region],
            )
        return tuple(
            Score(one.get("Score", 0), one.get("AvailabilityZoneId", "")) for one in said["SpotPlacementScores"]
        )

    def spot_prices(self, region: str, machine_types: Iterable[str]) -> tuple[SpotPrice, ...]:
        """See `AwsApi`."""
        now = datetime.now(UTC)
        newest: dict[tuple[str, str], SpotPrice] = {}
        with _said():
            pages = self._ec2(region).get_paginator("describe_spot_price_history")
            for page in pages.paginate(
                InstanceTypes=list(machine_types),  # type: ignore[arg-type]  # the stubs' list of types ages
                ProductDescriptions=["Linux/UNIX"],
                StartTime=now,
                EndTime=now,
                PaginationConfig={"PageSize": _PAGE},
            ):
                for one in page["SpotPriceHistory"]:  # newest first
                    zone = one.get("AvailabilityZoneId") or one.get("AvailabilityZone", "")
                    key = (str(one.get("InstanceType", "")), zone)
                    newest.setdefault(key, SpotPrice(*key, float(one.get("SpotPrice", "nan"))))
        return tuple(newest.values())

    def quota(self, region: str, service: str, code: str) -> float | None:
        """See `AwsApi`."""
        client = self._quotas(region)
        ask: tuple[Callable[[], Any], ...] = (
            lambda: client.get_service_quota(ServiceCode=service, QuotaCode=code),
            # Of a quota that was never changed for the account, some services know the default only.
            lambda: client.get_aws_default_service_quota(ServiceCode=service, QuotaCode=code),
        )
        for each in ask:
            try:
                with _said():
                    value = each()["Quota"].get("Value")
                return None if value is None else float(value)
            except AwsError as error:
                if not error.is_gone:
                    raise
        return None

    def running(self, region: str) -> tuple[Instance, ...]:
        """See `AwsApi`."""
        return self._instances(region, {"instance-state-name": ["pending", "running"]})

    def simulate(
        self, arn: str, actions: Iterable[str], resources: Iterable[str], context: Mapping[str, str]
    ) -> tuple[Decision, ...]:
        """See `AwsApi`."""
        with _said():
            pages = self._iam().get_paginator("simulate_principal_policy")
            return tuple(
                _decision(one)
                for page in pages.paginate(
                    PolicySourceArn=arn,
                    ActionNames=list(actions),
                    ResourceArns=list(resources),
                    ContextEntries=[
                        {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
                        for key, value in context.items()
                    ],
                    PaginationConfig={"PageSize": _PAGE},
                )
                for one in page["EvaluationResults"]
            )
        return ()

    def dry_run(self, region: str, machine_type: str) -> bool:
        """See `AwsApi`."""
        try:
            with _said():
                self._ec2(region).run_instances(
                    DryRun=True,
                    MinCount=1,
                    MaxCount=1,
                    ImageId=images.AMI,
                    InstanceType=machine_type,  # type: ignore[arg-type]  # the stubs' list of types ages
                )
        except AwsError as error:
            if error.code == "DryRunOperation":
                return True
            if error.code == "UnauthorizedOperation":
                return False
            raise
        return True

    def role_arn(self, name: str) -> str | None:
        """See `AwsApi`."""
        try:
            with _said():
                return str(self._iam().get_role(RoleName=name)["Role"]["Arn"])
        except AwsError as error:
            if error.is_gone:
                return None
            raise

    def repository_policy(self, region: str, account: str, name: str) -> str | None:
        """See `AwsApi`."""
        try:
            with _said():
                said = self._ecr(region).get_repository_policy(registryId=account, repositoryName=name)
        except AwsError as error:
            if error.code == "RepositoryPolicyNotFoundException":
                return ""
            if error.is_gone:
                return None
            raise
        return said.get("policyText", "")

    def repository_tags(self, region: str, account: str, name: str) -> Mapping[str, str] | None:
        """See `AwsApi`."""
        client = self._ecr(region)
        try:
            with _said():
                (found,) = client.describe_repositories(registryId=account, repositoryNames=[name])["repositories"]
                said = client.list_tags_for_resource(resourceArn=found.get("repositoryArn", ""))
        except AwsError as error:
            if error.is_gone:
                return None
            raise
        return {one["Key"]: one["Value"] for one in said.get("tags", [])}

    def bucket(self, name: str) -> StoreBucket | None:
        """See `AwsApi`."""
        client = self._s3()
        try:
            with _said():
                region = client.head_bucket(Bucket=name).get("BucketRegion") or _GLOBAL
                said = self._client("s3", region).get_bucket_tagging(Bucket=name)
        except AwsError as error:
            if error.code == "NoSuchTagSet":
                return StoreBucket(region)
            if error.code in ("404", "NoSuchBucket"):
                return None
            raise
        return StoreBucket(region, {one["Key"]: one["Value"] for one in said["TagSet"]})

    def image_digest(self, region: str, account: str, name: str, reference: str) -> str | None:
        """See `AwsApi`."""
        kind: Literal["imageDigest", "imageTag"] = "imageDigest" if reference.startswith("sha256:") else "imageTag"
        try:
            with _said():
                said = self._ecr(region).describe_images(
                    registryId=account,
                    repositoryName=name,
                    imageIds=[{"imageDigest": reference} if kind == "imageDigest" else {"imageTag": reference}],
                )
        except AwsError as error:
            if error.is_gone:
                return None
            raise
        return next((one.get("imageDigest") for one in said["imageDetails"]), None)

    # -- what a sweep finds

    def _tasks_left(self, region: str, name: str) -> list[Resource]:
        arns = self._list_tasks(region, name, ("RUNNING",))
        return [Resource(ResourceKind.TASK, region, arn, name, arn.rpartition("/")[2]) for arn in arns]

    def _schedules_left(self, region: str, name: str) -> list[Resource]:
        try:
            with _said():
                pages = self._scheduler(region).get_paginator("list_schedules")
                found = [
                    one
                    for page in pages.paginate(GroupName=_SCHEDULES, NamePrefix=f"{name}-")
                    for one in page["Schedules"]
                ]
        except AwsError as error:
            if error.code.startswith("AccessDenied"):
                return []  # who has machines of EC2 alone needs no such right, and has made none
            raise
        return [Resource(ResourceKind.SCHEDULE, region, one.get("Name", "")) for one in found]

    def _groups_left(self, region: str, tagged: list[Any], name: str) -> list[Resource]:
        with _said():
            pages = self._autoscaling(region).get_paginator("describe_auto_scaling_groups")
            names = [
                one["AutoScalingGroupName"]
                for asked in ({"Filters": tagged}, {"AutoScalingGroupNames": [name]})
                for page in pages.paginate(**asked)
                for one in page["AutoScalingGroups"]
            ]
        return [Resource(ResourceKind.GROUP, region, one) for one in names]

    def _instances_left(self, region: str, tag: tuple[str, str]) -> list[Resource]:
        there = self.instances(region, tag)
        return [Resource(ResourceKind.INSTANCE, region, one.id) for one in there if one.state not in _ENDED]

    def _nats_left(self, region: str, tag: tuple[str, str]) -> list[Resource]:
        tagged: list[Any] = [{"Name": f"tag:{tag[0]}", "Values": [tag[1]]}]
        with _said():
            found = [
                one
                for page in self._ec2(region).get_paginator("describe_nat_gateways").paginate(Filters=tagged)
                for one in page["NatGateways"]
            ]
        return [
            Resource(ResourceKind.NAT_GATEWAY, region, one.get("NatGatewayId", ""))
            for one in found
            # The tags are looked at again: an API that passes over a filter must not cost somebody else's.
            if one.get("State") not in ("deleting", "deleted")
            and {"Key": tag[0], "Value": tag[1]} in one.get("Tags", [])
        ]

    def _endpoints_left(self, region: str, tagged: list[Any]) -> list[Resource]:
        with _said():
            found = [
                one
                for page in self._ec2(region).get_paginator("describe_vpc_endpoints").paginate(Filters=tagged)
                for one in page["VpcEndpoints"]
            ]
        return [
            Resource(ResourceKind.ENDPOINT, region, one.get("VpcEndpointId", ""))
            for one in found
            if str(one.get("State", "")).lower() not in ("deleting", "deleted")
        ]

    def _providers_left(self, region: str, name: str) -> list[Resource]:
        with _said():
            said = self._ecs(region).describe_capacity_providers(capacityProviders=[name])
        return [
            Resource(ResourceKind.PROVIDER, region, name, within=name)
            for one in said["capacityProviders"]
            if one.get("status") != "INACTIVE"
        ]

    def _definitions_left(self, region: str, name: str) -> list[Resource]:
        with _said():
            pages = self._ecs(region).get_paginator("list_task_definitions")
            arns = [
                arn for page in pages.paginate(familyPrefix=name, status="ACTIVE") for arn in page["taskDefinitionArns"]
            ]
        return [Resource(ResourceKind.DEFINITION, region, arn, name=arn.rpartition("/")[2]) for arn in arns]

    def _templates_left(self, region: str, name: str) -> list[Resource]:
        with _said():
            found = [
                one
                for page in self._ec2(region)
                .get_paginator("describe_launch_templates")
                .paginate(Filters=[{"Name": "launch-template-name", "Values": [name]}])
                for one in page["LaunchTemplates"]
            ]
        return [Resource(ResourceKind.TEMPLATE, region, one.get("LaunchTemplateId", "")) for one in found]

    def _clusters_left(self, region: str, name: str) -> list[Resource]:
        with _said():
            said = self._ecs(region).describe_clusters(clusters=[name])
        return [
            Resource(ResourceKind.CLUSTER, region, name) for one in said["clusters"] if one.get("status") != "INACTIVE"
        ]

    def _interfaces_left(self, region: str, tagged: list[Any]) -> list[Resource]:
        free = [*tagged, {"Name": "status", "Values": ["available"]}]
        with _said():
            found = [
                one
                for page in self._ec2(region).get_paginator("describe_network_interfaces").paginate(Filters=free)
                for one in page["NetworkInterfaces"]
            ]
        return [Resource(ResourceKind.INTERFACE, region, one.get("NetworkInterfaceId", "")) for one in found]

    def _addresses_left(self, region: str, tagged: list[Any]) -> list[Resource]:
        with _said():
            said = self._ec2(region).describe_addresses(Filters=tagged)
        return [Resource(ResourceKind.ADDRESS, region, one.get("AllocationId", "")) for one in said["Addresses"]]

    def _tagged_left(self, region: str, tag: tuple[str, str]) -> list[Resource]:
        wanted: list[Any] = [
            {"Name": "key", "Values": [tag[0]]},
            {"Name": "value", "Values": [tag[1]]},
            {"Name": "resource-type", "Values": list(_TAGGED)},
        ]
        with _said():
            found = [
                one
                for page in self._ec2(region).get_paginator("describe_tags").paginate(Filters=wanted)
                for one in page["Tags"]
            ]
        return [
            Resource(_TAGGED[str(one.get("ResourceType"))], region, one.get("ResourceId", ""))
            for one in found
            if one.get("ResourceType") in _TAGGED
        ]

    def _delete(self, resource: Resource) -> None:
        kind, which, region = resource.kind, resource.id, resource.region
        if kind is ResourceKind.TASK:
            self._ecs(region).stop_task(cluster=resource.within, task=which, reason="gpubench takes the attempt away")
        elif kind is ResourceKind.SCHEDULE:
            self._scheduler(region).delete_schedule(GroupName=_SCHEDULES, Name=which)
        elif kind is ResourceKind.GROUP:
            self._autoscaling(region).delete_auto_scaling_group(AutoScalingGroupName=which, ForceDelete=True)
        elif kind is ResourceKind.PROVIDER:
            self._delete_provider(region, which, resource.within)
        elif kind is ResourceKind.CLUSTER:
            self._delete_cluster(region, which)
        elif kind is ResourceKind.DEFINITION:
            self._ecs(region).deregister_task_definition(taskDefinition=which)
        else:
            self._delete_of_ec2(kind, which, region)

    def _delete_of_ec2(self, kind: ResourceKind, which: str, region: str) -> None:
        ec2 = self._ec2(region)
        if kind is ResourceKind.ENDPOINT:
            # The only one that answers 200 with the errors in it.
            for failed in ec2.delete_vpc_endpoints(VpcEndpointIds=[which]).get("Unsuccessful", []):
                error = failed.get("Error", {})
                code, text = error.get("Code", ""), error.get("Message", "")
                raise AwsError(
                    f"An error occurred ({code}) when calling the DeleteVpcEndpoints operation: {text}", code
                )
            return
        if kind is ResourceKind.GATEWAY:
            said = ec2.describe_internet_gateways(InternetGatewayIds=[which])
            for gateway in said["InternetGateways"]:
                for attached in gateway.get("Attachments", []):
                    ec2.detach_internet_gateway(InternetGatewayId=which, VpcId=attached.get("VpcId", ""))
        calls: dict[ResourceKind, Callable[[], object]] = {
            ResourceKind.INSTANCE: lambda: ec2.terminate_instances(InstanceIds=[which]),
            ResourceKind.NAT_GATEWAY: lambda: ec2.delete_nat_gateway(NatGatewayId=which),
            ResourceKind.TEMPLATE: lambda: ec2.delete_launch_template(LaunchTemplateId=which),
            ResourceKind.INTERFACE: lambda: ec2.delete_network_interface(NetworkInterfaceId=which),
            ResourceKind.ADDRESS: lambda: ec2.release_address(AllocationId=which),
            ResourceKind.SECURITY_GROUP: lambda: ec2.delete_security_group(GroupId=which),
            ResourceKind.SUBNET: lambda: ec2.delete_subnet(SubnetId=which),
            ResourceKind.ROUTE_TABLE: lambda: ec2.delete_route_table(RouteTableId=which),
            ResourceKind.GATEWAY: lambda: ec2.delete_internet_gateway(InternetGatewayId=which),
            ResourceKind.VPC: lambda: ec2.delete_vpc(VpcId=which),
        }
        calls[kind]()

    def _delete_provider(self, region: str, name: str, cluster: str) -> None:
        ecs = self._ecs(region)
        found = ecs.describe_clusters(clusters=[cluster])["clusters"]
        if any(name in one.get("capacityProviders", []) and one.get("status") == "ACTIVE" for one in found):
            # One that a cluster uses is refused.
            ecs.put_cluster_capacity_providers(
                cluster=cluster, capacityProviders=[], defaultCapacityProviderStrategy=[]
            )
        said = ecs.describe_capacity_providers(capacityProviders=[name])["capacityProviders"]
        within = next((one.get("cluster") for one in said), None)
        if within:  # ECS Managed Instances: the provider belongs to a cluster
            ecs.delete_capacity_provider(capacityProvider=name, cluster=within)
        else:
            ecs.delete_capacity_provider(capacityProvider=name)

    def _delete_cluster(self, region: str, cluster: str) -> None:
        ecs = self._ecs(region)
        for one in self.container_instances(region, cluster):
            # A machine that was ended is listed until its agent has been missed for a while.
            ecs.deregister_container_instance(cluster=cluster, containerInstance=one.arn, force=True)
        ecs.delete_cluster(cluster=cluster)

    def _exists(self, resource: Resource, region: str, which: str) -> bool:
        kind = resource.kind
        if kind is ResourceKind.TASK:
            found = self.task(region, resource.within, which)
            return found is not None and found.lives
        if kind is ResourceKind.GROUP:
            return self.scaling_group(region, which) is not None
        if kind is ResourceKind.INSTANCE:
            there = self._instances(region, {"instance-id": [which]})
            return any(one.state != "terminated" for one in there)
        if kind is ResourceKind.PROVIDER:
            providers = self._ecs(region).describe_capacity_providers(capacityProviders=[which])["capacityProviders"]
            return any(one.get("status") != "INACTIVE" for one in providers)
        if kind is ResourceKind.CLUSTER:
            return bool(self._clusters_left(region, which))
        if kind is ResourceKind.NAT_GATEWAY:
            gateways = self._ec2(region).describe_nat_gateways(NatGatewayIds=[which])["NatGateways"]
            return any(one.get("State") != "deleted" for one in gateways)
        if kind is ResourceKind.ENDPOINT:
            endpoints = self._ec2(region).describe_vpc_endpoints(VpcEndpointIds=[which])["VpcEndpoints"]
            return any(str(one.get("State", "")).lower() != "deleted" for one in endpoints)
        return False  # the others are gone when their deletion is answered

    # -- asking

    def _instances(self, region: str, filters: Mapping[str, list[str]]) -> tuple[Instance, ...]:
        with _said():
            pages = self._ec2(region).get_paginator("describe_instances")
            return tuple(
                _instance(region, one)
                for page in pages.paginate(
                    Filters=[{"Name": name, "Values": values} for name, values in filters.items()],
                    PaginationConfig={"PageSize": _PAGE},
                )
                for reservation in page["Reservations"]
                for one in reservation.get("Instances", [])
            )
        return ()

    def _list_tasks(
        self, region: str, cluster: str, statuses: tuple[Literal["RUNNING", "STOPPED", "PENDING"], ...]
    ) -> list[str]:
        try:
            with _said():
                pages = self._ecs(region).get_paginator("list_tasks")
                return [
                    arn
                    for status in statuses
                    for page in pages.paginate(cluster=cluster, desiredStatus=status)
                    for arn in page["taskArns"]
                ]
        except AwsError as error:
            if error.is_gone:
                return []
            raise

    def _describe(self, region: str, cluster: str, tasks: list[str]) -> list[Task]:
        try:
            with _said():
                return [
                    _task(region, one)
                    for some in _some(tasks)
                    for one in self._ecs(region).describe_tasks(cluster=cluster, tasks=some)["tasks"]
                ]
        except AwsError as error:
            if error.is_gone:
                return []
            raise

    def _autoscaling(self, region: str) -> AutoScalingClient:
        return self._client("autoscaling", region)  # type: ignore[no-any-return]

    def _ec2(self, region: str) -> EC2Client:
        return self._client("ec2", region)  # type: ignore[no-any-return]

    def _ecr(self, region: str) -> ECRClient:
        return self._client("ecr", region)  # type: ignore[no-any-return]

    def _ecs(self, region: str) -> ECSClient:
        return self._client("ecs", region)  # type: ignore[no-any-return]

    def _iam(self) -> IAMClient:
        return self._client("iam", _GLOBAL)  # type: ignore[no-any-return]

    def _logs(self, region: str) -> CloudWatchLogsClient:
        return self._client("logs", region)  # type: ignore[no-any-return]

    def _quotas(self, region: str) -> ServiceQuotasClient:
        return self._client("service-quotas", region)  # type: ignore[no-any-return]

    def _s3(self) -> S3Client:
        return self._client("s3", _GLOBAL)  # type: ignore[no-any-return]

    def _scheduler(self, region: str) -> EventBridgeSchedulerClient:
        return self._client("scheduler", region)  # type: ignore[no-any-return]

    def _sts(self) -> STSClient:
        return self._client("sts", _GLOBAL)  # type: ignore[no-any-return]

    def _client(self, service: str, region: str) -> Any:
        # Clients are for all threads, but a session makes one at a time.
        with self._lock:
            found = self._clients.get((service, region))
            if found is None:
                found = self._clients[service, region] = self._make(service, region)
            return found

    def _make(self, service: str, region: str) -> Any:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        try:
            if self._session is None:
                import boto3

                self._session = boto3.Session()
            return self._session.client(  # type: ignore[call-overload]
                service,
                region_name=region,
                endpoint_url=self._endpoint,
                config=Config(
                    connect_timeout=CONNECT_S,
                    read_timeout=READ_S,
                    retries={"mode": "standard", "total_max_attempts": TRIES},
                    max_pool_connections=32,
                    user_agent_extra="gpubench",
                ),
            )
        except BotoCoreError as error:  # a profile that isn't there, a config file that can't be read
            raise CannotSay(f"AWS can't be asked: {error}; {_MEND}") from error


@contextmanager
def _said(resource: Resource | None = None) -> Iterator[None]:
    """What boto3 raises, as this module's own errors. ``resource``: what is being deleted."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        PartialCredentialsError,
        SSOError,
        TokenRetrievalError,
    )
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        answer: Mapping[str, Any] = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _EXPIRED:
            raise CannotSay(f"AWS refuses the credentials: {error}; {_MEND}") from error
        if resource is not None and _says_gone(resource, str(error)):
            code = "NotFound"
        raise AwsError(str(error), code, status) from error
    except (
        NoCredentialsError,
        PartialCredentialsError,
        CredentialRetrievalError,
        SSOError,
        TokenRetrievalError,
    ) as none:
        raise CannotSay(f"no credentials for AWS: {none}; {_MEND}") from none
    except (BotoCoreError, ResponseParserError) as error:  # no connection, a time-out, a proxy's page for an answer
        raise AwsError(f"AWS gave no answer: {error}") from error


_CONFLICT = "ConflictException"
"""RunTask, of a client token that was used for another request:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html. CreateSchedule, of a name that is taken:
https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html."""

_SCHEDULES = "default"
"""The group of schedules that each account has."""


def _resources(error: AwsError) -> list[str]:
    """The ARNs that a conflict is about."""
    response: Mapping[str, Any] = getattr(error.__cause__, "response", {})
    return [str(one) for one in response.get("resourceIds") or ()]


_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"})
"""Codes of credentials that are no good any more, or never were:
https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html."""

_GONE_TEXTS: Mapping[ResourceKind, tuple[str, ...]] = {
    # What has no code of its own for it.
    ResourceKind.GROUP: ("not found",),
    ResourceKind.TASK: ("not found",),
    ResourceKind.PROVIDER: ("does not exist", "not found", "is inactive"),
    ResourceKind.DEFINITION: ("does not exist", "not found", "unable to describe"),
}


def _says_gone(resource: Resource, text: str) -> bool:
    return any(words in text.lower() for words in _GONE_TEXTS.get(resource.kind, ()))


@contextmanager
def _unless(*words: str) -> Iterator[None]:
    """Passes over an error that says one of these: what was to be changed, or looked at, is gone.

    Auto Scaling and StopTask have no code of their own for that.
    """
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        code, text = error.response["Error"]["Code"], str(error).lower()
        if "NotFound" in code:
            return
        if code in ("ValidationError", "InvalidParameterException") and any(each in text for each in words):
            return
        raise


def _group(region: str, said: Mapping[str, Any]) -> ScalingGroup:
    return ScalingGroup(
        region=region,
        name=said["AutoScalingGroupName"],
        desired=int(said["DesiredCapacity"]),
        instances=tuple(
            GroupInstance(
                one["InstanceId"], one["AvailabilityZone"], one.get("InstanceType", ""), one["LifecycleState"]
            )
            for one in said.get("Instances", [])
        ),
        deleting=bool(said.get("Status")),  # only set by DeleteAutoScalingGroup
        tags={one["Key"]: one.get("Value", "") for one in said.get("Tags", [])},
    )


def _activity(said: Mapping[str, Any]) -> Activity:
    return Activity(
        id=said["ActivityId"],
        status=said["StatusCode"],
        description=said.get("Description", ""),
        message=said.get("StatusMessage", ""),
        began=said.get("StartTime"),
        ended=said.get("EndTime"),
        cause=said.get("Cause", ""),
    )


def _instance(region: str, said: Mapping[str, Any]) -> Instance:
    placed, cpu, reason = said.get("Placement", {}), said.get("CpuOptions", {}), said.get("StateReason", {})
    return Instance(
        region=region,
        id=said["InstanceId"],
        state=said["State"]["Name"],
        machine_type=said.get("InstanceType", ""),
        zone=placed.get("AvailabilityZoneId") or placed.get("AvailabilityZone", ""),
        launched=said.get("LaunchTime"),
        lifecycle=said.get("InstanceLifecycle", ""),
        reason_code=reason.get("Code", ""),
        reason=reason.get("Message", ""),
        vcpu=cpu.get("CoreCount", 0) * cpu.get("ThreadsPerCore", 0),
        tags={one["Key"]: one.get("Value", "") for one in said.get("Tags", [])},
    )


def _container_instance(said: Mapping[str, Any]) -> ContainerInstance:
    gpus = [one for one in said.get("registeredResources", []) if one.get("name") == "GPU"]
    return ContainerInstance(
        arn=said["containerInstanceArn"],
        instance=said.get("ec2InstanceId", ""),
        status=said.get("status", ""),
        connected=bool(said.get("agentConnected")),
        gpus=len(gpus[0].get("stringSetValue", [])) if gpus else 0,
    )


def _task(region: str, said: Mapping[str, Any]) -> Task:
    return Task(
        region=region,
        arn=said["taskArn"],
        cluster=said.get("clusterArn", "").rpartition("/")[2],
        status=said.get("lastStatus", ""),
        desired=said.get("desiredStatus", ""),
        stop_code=said.get("stopCode", ""),
        stopped_reason=said.get("stoppedReason", ""),
        containers=tuple(
            Container(one.get("name", ""), one.get("lastStatus", ""), one.get("exitCode"), one.get("reason", ""))
            for one in said.get("containers", [])
        ),
        zone=said.get("availabilityZone", ""),
        container_instance=said.get("containerInstanceArn", ""),
        started_by=said.get("startedBy", ""),
        definition=said.get("taskDefinitionArn", ""),
        created=said.get("createdAt"),
        pulled=said.get("pullStartedAt"),
        started=said.get("startedAt"),
        stopped=said.get("stoppedAt"),
    )


def _decision(said: Mapping[str, Any]) -> Decision:
    decision = said["EvalDecision"]
    return Decision(
        action=said["EvalActionName"],
        resource=said.get("EvalResourceName", "*"),
        denied="" if decision == "allowed" else decision,
        missing=tuple(said.get("MissingContextValues", [])),
    )


def _some(all_: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(all_), _AT_ONCE):
        yield all_[begin : begin + _AT_ONCE]
