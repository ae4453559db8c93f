"""What a sweep takes away, in which order, and what it leaves alone; what an attempt held."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from components.ecs import access
from components.ecs import sweep as sweeping
from components.ecs.api import AwsError, ResourceKind
from components.ecs.names import base_name
from components.ecs.watch import Watch
from components.interface import ATTEMPT_LABEL
from components.lost import Swept
from placement.ladder import LadderEntry, Rung, expand
from placement.ledger import Attempt
from tests.ecs.aws_server import KEY, SECRET, Refusal
from tests.ecs.conftest import Asking
from tests.ecs.test_watch import activity, group, machine, no_group, quiet, task

ACCOUNT, R = "123456789012", "us-east-1"
T0 = datetime(2026, 11, 21, 14, 26, tzinfo=UTC)


def rung_of(**more: Any) -> Rung:
    """The first rung of an entry on ECS."""
    entry = LadderEntry("ecs", ACCOUNT, (R,), tiers=("a10g",), purchases=("on-demand",))  # type: ignore[arg-type]
    return expand([replace(entry, **more)])[0]


RUNG = rung_of()
ATTEMPT = Attempt(
    id="20261121t142501-250-9f3a2b",
    stack="s",
    job="j",
    rung=RUNG.id,
    tier="a10g",
    region=R,
    begun=T0,
    surface="ecs",
    project=ACCOUNT,
)
OTHER = replace(ATTEMPT, id="20261121t150000-100-111111")
BASE = base_name(ATTEMPT.id)


class Made:
    """What an attempt has on moto, made by the real client."""

    def __init__(self, cloud: Asking, attempt: Attempt) -> None:
        self.name = base_name(attempt.id)
        self.tags: list[Any] = [{"Key": ATTEMPT_LABEL, "Value": attempt.id}]
        endpoint = cloud.server.endpoint
        session = boto3.Session(KEY, SECRET, region_name=R)
        self.ec2 = session.client("ec2", endpoint_url=endpoint)
        self.ecs = session.client("ecs", endpoint_url=endpoint)
        self.scaling = session.client("autoscaling", endpoint_url=endpoint)
        self.logs = session.client("logs", endpoint_url=endpoint)
        self.scheduler = session.client("scheduler", endpoint_url=endpoint)

    def network(self) -> str:
        """A VPC with a subnet, a NAT gateway and all that belongs to it; the subnet's id."""
        ec2 = self.ec2

        def tagged(kind: str) -> list[Any]:
            return [{"ResourceType": kind, "Tags": self.tags}]

        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tagged("vpc"))["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", TagSpecifications=tagged("subnet"))
        which = subnet["Subnet"]["SubnetId"]
        gateway = ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway"))
        ec2.attach_internet_gateway(InternetGatewayId=gateway["InternetGateway"]["InternetGatewayId"], VpcId=vpc)
        address = ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip"))["AllocationId"]
        ec2.create_nat_gateway(SubnetId=which, AllocationId=address, TagSpecifications=tagged("natgateway"))
        ec2.create_route_table(VpcId=vpc, TagSpecifications=tagged("route-table"))
        ec2.create_vpc_endpoint(
            VpcId=vpc,
            VpcEndpointType="Gateway",
            ServiceName=f"com.amazonaws.{R}.s3",
            TagSpecifications=tagged("vpc-endpoint"),
        )
        ec2.create_security_group(
            GroupName=self.name, Description="d", VpcId=vpc, TagSpecifications=tagged("security-group")
        )
        ec2.create_network_interface(SubnetId=which, TagSpecifications=tagged("network-interface"))
        return which

    def capacity(self, subnet: str) -> None:
        """A group with a machine, its template, a cluster with its provider, and a task definition."""
        image = self.ec2.describe_images()["Images"][0]["ImageId"]
        self.ec2.create_launch_template(
            LaunchTemplateName=self.name,
            LaunchTemplateData={"ImageId": image, "InstanceType": "g5.xlarge"},
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": self.tags}],
        )
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            MinSize=0,
            MaxSize=1,
            DesiredCapacity=1,
            LaunchTemplate={"LaunchTemplateName": self.name},
            VPCZoneIdentifier=subnet,
            NewInstancesProtectedFromScaleIn=True,
            Tags=[{"Key": tag["Key"], "Value": tag["Value"], "PropagateAtLaunch": True} for tag in self.tags],
        )
        arn = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"][0]
        self.ecs.create_cluster(clusterName=self.name)
        self.ecs.create_capacity_provider(
            name=self.name, autoScalingGroupProvider={"autoScalingGroupArn": arn["AutoScalingGroupARN"]}
        )
        self.ecs.put_cluster_capacity_providers(
            cluster=self.name, capacityProviders=[self.name], defaultCapacityProviderStrategy=[]
        )
        container: Any = {"name": "benchmark", "image": "i", "memory": 512}
        self.ecs.register_task_definition(family=self.name, containerDefinitions=[container])
        self.scheduler.create_schedule(
            Name=f"{self.name}-0123abcd",
            ScheduleExpression="at(2030-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": "arn:aws:scheduler:::aws-sdk:ecs:stopTask", "RoleArn": "arn:aws:iam::1:role/r"},
        )

    def left(self) -> dict[str, int]:
        """How many there are of each kind."""
        mine: list[Any] = [{"Name": f"tag:{ATTEMPT_LABEL}", "Values": [self.tags[0]["Value"]]}]
        live: list[Any] = [*mine, {"Name": "instance-state-name", "Values": ["pending", "running"]}]
        ec2 = self.ec2
        # moto passes over this one's filter.
        nats = [one for one in ec2.describe_nat_gateways()["NatGateways"] if one["Tags"] == self.tags]
        endpoints = ec2.describe_vpc_endpoints(Filters=mine)["VpcEndpoints"]
        return {
            "groups": len(
                self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
            ),
            "machines": len(ec2.describe_instances(Filters=live)["Reservations"]),
            "templates": len(ec2.describe_launch_templates(Filters=mine)["LaunchTemplates"]),
            "clusters": sum(
                one["status"] == "ACTIVE" for one in self.ecs.describe_clusters(clusters=[self.name])["clusters"]
            ),
            "providers": sum(
                one["status"] == "ACTIVE"
                for one in self.ecs.describe_capacity_providers(capacityProviders=[self.name])["capacityProviders"]
            ),
            "definitions": len(self.ecs.list_task_definitions(familyPrefix=self.name)["taskDefinitionArns"]),
            "schedules": len(self.scheduler.list_schedules(NamePrefix=self.name)["Schedules"]),
            "nats": sum(one["State"] != "deleted" for one in nats),
            "endpoints": sum(one["State"].lower() != "deleted" for one in endpoints),
            "interfaces": len(ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]),
            "addresses": len(ec2.describe_addresses(Filters=mine)["Addresses"]),
            "groups of rules": len(ec2.describe_security_groups(Filters=mine)["SecurityGroups"]),
            "subnets": len(ec2.describe_subnets(Filters=mine)["Subnets"]),
            "tables": len(ec2.describe_route_tables(Filters=mine)["RouteTables"]),
            "gateways": len(ec2.describe_internet_gateways(Filters=mine)["InternetGateways"]),
            "vpcs": len(ec2.describe_vpcs(Filters=mine)["Vpcs"]),
        }


def test_a_sweep_takes_all_that_an_attempt_left_and_nothing_of_anothers(cloud: Asking) -> None:
    mine, others = Made(cloud, ATTEMPT), Made(cloud, OTHER)
    for one in (mine, others):
        one.capacity(one.network())
    mine.logs.create_log_group(logGroupName="/gpubench/s")
    assert {kind: count for kind, count in mine.left().items() if count != 1} == {} and sweeping.alive(
        cloud.amazon, ATTEMPT
    )
    swept = sweeping.sweep(cloud.amazon, ATTEMPT, wait_s=20, sleep=lambda _: None)
    assert swept.left == ()
    assert {one.kind for one in swept.taken} >= set(ResourceKind) - {ResourceKind.TASK, ResourceKind.INSTANCE}
    assert {kind: count for kind, count in mine.left().items() if count} == {}
    # AWS refuses a provider that a cluster uses; moto doesn't.
    calls = [one.id for one in cloud.server.asked if one.id.endswith(("ClusterCapacityProviders", "CapacityProvider"))]
    assert calls[-2:] == ["ecs.PutClusterCapacityProviders", "ecs.DeleteCapacityProvider"]
    assert {kind: count for kind, count in others.left().items() if count != 1} == {}
    assert len(mine.logs.describe_log_groups()["logGroups"]) == 1
    assert not sweeping.alive(cloud.amazon, ATTEMPT) and sweeping.alive(cloud.amazon, OTHER)
    again = sweeping.sweep(cloud.amazon, ATTEMPT, wait_s=20, sleep=lambda _: None)
    assert again == Swept()


def test_shrinking_stops_tasks_before_the_group_and_ends_machines_that_are_protected(cloud: Asking) -> None:
    made = Made(cloud, ATTEMPT)
    made.capacity(made.network())
    ((machine_id,),) = ([one.id for one in cloud.amazon.running(R)],)
    task_arn = "arn:aws:ecs:us-east-1:123456789012:task/c/0123"
    cloud.server.answers.update(
        {
            "ecs.ListTasks": lambda asked: {
                "taskArns": [task_arn] if asked.params["desiredStatus"] == "RUNNING" else []
            },
            "ecs.DescribeTasks": task("PROVISIONING", taskArn=task_arn),
            "ecs.StopTask": {},
        }
    )
    before = len(cloud.server.asked)
    sweeping.shrink(cloud.amazon, R, ATTEMPT.id)
    order = [one.id for one in cloud.server.asked[before:]]
    assert order.index("ecs.StopTask") < order.index("autoscaling.UpdateAutoScalingGroup")
    assert order.index("autoscaling.UpdateAutoScalingGroup") < order.index("ec2.TerminateInstances")
    # moto's group makes another one, whatever its size, and AWS's doesn't: so it is this one that is looked at.
    (ended,) = [one for one in cloud.amazon.instances(R, (ATTEMPT_LABEL, ATTEMPT.id)) if one.id == machine_id]
    assert ended.state == "terminated" and made.left()["groups"] == 1
    assert made.scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["DesiredCapacity"] == 0


@pytest.mark.parametrize(("times", "left"), [(2, False), (99, True)])
def test_what_is_in_use_is_asked_for_again_and_told_when_the_time_is_over(
    cloud: Asking, times: int, left: bool
) -> None:
    made = Made(cloud, ATTEMPT)
    made.network()
    busy = Refusal("DependencyViolation", "The vpc has dependencies and cannot be deleted.")
    cloud.server.faults["ec2.DeleteVpc"] = [busy] * times
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    swept = sweeping.sweep(cloud.amazon, ATTEMPT, wait_s=60, clock=lambda: now[0], sleep=sleep)
    if left:
        ((what, why),) = swept.left
        assert what.startswith("vpcs/vpc-") and "(DependencyViolation)" in why and now[0] == pytest.approx(60)
    else:
        assert swept.left == () and now[0] == pytest.approx(10)
    assert made.left()["vpcs"] == int(left)


def test_a_refusal_is_told_at_once_and_the_rest_is_taken(cloud: Asking) -> None:
    made = Made(cloud, ATTEMPT)
    made.capacity(made.network())
    cloud.server.answers["ec2.DeleteLaunchTemplate"] = Refusal("UnauthorizedOperation", "You are not authorized", 403)
    ((what, why),) = sweeping.sweep(cloud.amazon, ATTEMPT, wait_s=20, sleep=lambda _: None).left
    assert what.startswith("launchTemplates/lt-") and "UnauthorizedOperation" in why
    assert [kind for kind, count in made.left().items() if count] == ["templates"]


def test_an_attempt_that_can_not_be_kept_from_asking_is_an_error(asking: Asking) -> None:
    quiet(asking.server)
    asking.server.answers["autoscaling.UpdateAutoScalingGroup"] = Refusal("AccessDenied", "no", 403)
    with pytest.raises(AwsError, match="AccessDenied"):
        sweeping.sweep(asking.amazon, ATTEMPT)


@pytest.mark.parametrize(
    ("desired", "state", "lives"),
    [(1, "terminated", True), (0, "running", True), (0, "shutting-down", False), (0, "terminated", False)],
)
def test_an_attempt_is_alive_with_a_machine_or_a_group_that_asks(
    asking: Asking, desired: int, state: str, lives: bool
) -> None:
    quiet(asking.server)
    asking.server.answers.update(
        {"autoscaling.DescribeAutoScalingGroups": group(desired), "ec2.DescribeInstances": machine(state)}
    )
    assert sweeping.alive(asking.amazon, ATTEMPT) is lives


def test_a_machine_costs_from_its_launch_to_its_end_by_the_catalogue(asking: Asking) -> None:
    quiet(asking.server)
    price = RUNG.usd_per_hour
    assert price is not None
    asking.server.answers.update(
        {
            "ec2.DescribeInstances": machine(),
            "ec2.DescribeAvailabilityZones": {"AvailabilityZones": [{"ZoneName": "us-east-1a", "ZoneId": "use1-az4"}]},
        }
    )
    held = sweeping.held(asking.amazon, ATTEMPT, RUNG, T0 + timedelta(hours=2))
    assert (held.since, held.zone, held.machine_type) == (T0, "use1-az4", "g5.xlarge")
    assert held.usd == pytest.approx(2 * price.usd_per_hour_max)


def test_a_machine_that_ec2_has_forgotten_costs_by_its_groups_activities(asking: Asking) -> None:
    quiet(asking.server)
    made = activity(0, "Successful", Description="Launching a new EC2 instance: i-0abc")
    ended = activity(
        30, "Successful", Description="Terminating EC2 instance: i-0abc", EndTime=T0 + timedelta(minutes=31)
    )
    failed = activity(40, message="Could not launch On-Demand Instances.")
    asking.server.answers["autoscaling.DescribeScalingActivities"] = {"Activities": [failed, ended, made]}
    held = sweeping.held(asking.amazon, ATTEMPT, RUNG, T0 + timedelta(days=3))
    price = RUNG.usd_per_hour
    assert price is not None and held.since == T0 and held.zone is None
    assert held.usd == pytest.approx(31 / 60 * price.usd_per_hour_max)


def test_an_attempt_that_got_nothing_cost_nothing(asking: Asking) -> None:
    quiet(asking.server)
    failed = activity(40, message="Could not launch On-Demand Instances.")
    asking.server.answers["autoscaling.DescribeScalingActivities"] = {"Activities": [failed]}
    assert sweeping.held(asking.amazon, ATTEMPT, RUNG, T0).usd == 0.0


def test_a_task_on_fargate_costs_from_its_pull_on(asking: Asking) -> None:
    no_group(asking.server)
    rung = rung_of(tiers=("cpu",))
    ended = task("STOPPED", pullStartedAt=T0, stoppedAt=T0 + timedelta(minutes=30))
    asking.server.answers.update(
        {
            "ecs.ListTasks": lambda asked: {
                "taskArns": ["arn:t"] if asked.params["desiredStatus"] == "STOPPED" else []
            },
            "ecs.DescribeTasks": ended,
            "ec2.DescribeAvailabilityZones": {"AvailabilityZones": [{"ZoneName": "us-east-1a", "ZoneId": "use1-az4"}]},
        }
    )
    held = sweeping.held(asking.amazon, ATTEMPT, rung, T0 + timedelta(hours=9))
    price = rung.usd_per_hour
    assert held.since == T0 and held.zone == "use1-az4"
    assert held.usd == pytest.approx(0.5 * price.usd_per_hour_max if price else 0.0)


@pytest.mark.parametrize("kind", ["Fargate", "a group"])
def test_what_is_asked_about_an_attempt_is_what_every_run_needs(cloud: Asking, kind: str) -> None:
    """A deployer with the actions that the preflight asks for, and no other, watches, counts and sweeps."""
    begin = len(cloud.server.asked)
    if kind == "a group":
        made = Made(cloud, ATTEMPT)
        made.capacity(made.network())
        begin = len(cloud.server.asked)
    cloud.server.answers.update(
        {
            "ecs.ListTasks": {"taskArns": ["arn:t"]},
            "ecs.DescribeTasks": task("STOPPED", pullStartedAt=T0, stoppedAt=T0 + timedelta(minutes=30)),
        }
    )
    amazon = cloud.amazon
    sweeping.alive(amazon, ATTEMPT)
    assert sweeping.held(amazon, ATTEMPT, rung_of(tiers=("cpu",)), T0 + timedelta(hours=9)).since is not None
    watch = Watch(amazon, ACCOUNT, R, ATTEMPT.id, log_group="/gpubench/s")
    watch.seen()
    watch.progress("arn:t")
    sweeping.sweep(amazon, ATTEMPT, wait_s=20, sleep=lambda _: None)
    used = {one.id.replace(".", ":") for one in cloud.server.asked[begin:]}
    needs = (*access.EVERY_RUN, *access.CLOCK)
    if kind == "a group":
        needs = (*needs, *access.ON_MACHINES, *access.BY_GROUP, *access.PROVIDER, *access.NETWORK, *access.NAT)
    assert used - {need.action for need in needs} == set()
    assert "ec2:DescribeAvailabilityZones" in used and "autoscaling:DescribeScalingActivities" in used
