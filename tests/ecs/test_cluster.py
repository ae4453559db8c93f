"""What a GPU attempt on ECS declares: each purchase, each way out, and what a reviewer of it would look at."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pulumi
import pytest

import catalog
from catalog import Purchase
from components import boot_disk
from components.ecs import images, names
from components.ecs.cluster import ends_at, run_seconds
from components.ecs.network import cidr_block, private_block, public_block
from components.ecs.reach import own_zones
from components.interface import ATTEMPT_LABEL, STACK_LABEL
from placement.causes import Cause, Where, classify
from tests.ecs import declared
from tests.ecs.declared import BASE, BEGUN, LABELS, REGION, TAGS

RESERVATION = "cr-0123456789abcdef0"
TYPES = {
    "t4-a10g": ("g5.xlarge", "g4dn.xlarge"),
    "l4": ("g6.xlarge", "gr6.4xlarge"),
    "l40s": ("g6e.2xlarge",),
    "v100": ("p3.2xlarge",),
    "a100": ("p4d.24xlarge",),
    "h100": ("p5.4xlarge",),
}


@pytest.mark.parametrize("purchase", [Purchase.ON_DEMAND, Purchase.SPOT, Purchase.RESERVED])
@pytest.mark.parametrize("family", TYPES)
def test_a_machine_of_each_family_and_purchase(family: str, purchase: Purchase) -> None:
    reserved, spot = purchase is Purchase.RESERVED, purchase is Purchase.SPOT
    recording = declared.cluster(
        machine_types=TYPES[family], purchase=purchase, reservation=RESERVATION if reserved else None
    )
    template, group = recording.one("LaunchTemplate"), recording.one("Group")
    request = declared.template_request(template)
    declared.check("ec2", "CreateLaunchTemplate", request)
    declared.check("autoscaling", "CreateAutoScalingGroup", declared.group_request(group))
    data = request["LaunchTemplateData"]

    # Nobody gets in, its own containers can't have its role, and what is on its disk can't be read elsewhere.
    (card,) = data["NetworkInterfaces"]
    assert card["AssociatePublicIpAddress"] is False
    assert card["Groups"] == [f"capacity-network-{REGION}-closed-id"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    (disk,) = data["BlockDeviceMappings"]
    assert disk == {
        "DeviceName": "/dev/xvda",
        "Ebs": {
            "VolumeSize": 150,
            "VolumeType": "gp3",
            "Throughput": 500,
            "Encrypted": True,
            "DeleteOnTermination": True,
        },
    }
    assert data["ImageId"] == f"resolve:ssm:{images.AMI_PARAMETER}"
    assert data["IamInstanceProfile"] == {"Arn": "arn:of:roles-profile"}
    assert "KeyName" not in data
    assert {one["ResourceType"] for one in data["TagSpecifications"]} == {"volume", "network-interface"}
    assert all(
        {"Key": ATTEMPT_LABEL, "Value": LABELS[ATTEMPT_LABEL]} in one["Tags"] for one in data["TagSpecifications"]
    )

    # It ends, whatever happens.
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    schedule = recording.one("Schedule").inputs
    assert (schedule["minSize"], schedule["maxSize"], schedule["desiredCapacity"]) == (0, 0, 0)
    assert schedule["startTime"] == "2026-11-21T11:40:00Z"  # 90 minutes: not after the machine's own end
    assert group.inputs["forceDelete"] is True

    # It is asked for at once, in all zones, by all types in order; its shortage is the watch's to say.
    inputs = group.inputs
    assert (inputs["minSize"], inputs["maxSize"], inputs["desiredCapacity"]) == (0, 1, 1)
    assert group.ignore_changes == ("desiredCapacity",)
    assert inputs["vpcZoneIdentifiers"] == [
        f"capacity-network-{REGION}-use1-az1-id",
        f"capacity-network-{REGION}-use1-az4-id",
    ]
    assert inputs["waitForCapacityTimeout"] == "0"
    assert inputs["ignoreFailedScalingActivities"] is True
    assert inputs["protectFromScaleIn"] is True, "managed termination protection needs it"
    assert inputs["capacityRebalance"] is False
    policy = inputs["mixedInstancesPolicy"]
    assert [one["instanceType"] for one in policy["launchTemplate"]["overrides"]] == list(TYPES[family])
    assert policy["launchTemplate"]["launchTemplateSpecification"] == {
        "launchTemplateId": f"{template.name}-id",
        "version": "3",
    }
    assert policy["instancesDistribution"] == {
        "onDemandBaseCapacity": 0,
        "onDemandPercentageAboveBaseCapacity": 0 if spot else 100,
        "onDemandAllocationStrategy": "prioritized",
        "spotAllocationStrategy": "price-capacity-optimized",
    }
    target = {"CapacityReservationTarget": {"CapacityReservationId": RESERVATION}}
    assert data.get("CapacityReservationSpecification") == (target if reserved else None)
    assert "InstanceMarketOptions" not in data, "a group with a mixed-instances policy refuses it"
    tags = {one["key"]: one["value"] for one in inputs["tags"]}
    assert tags == {**TAGS, "AmazonECSManaged": "true"}
    assert all(one["propagateAtLaunch"] is True for one in inputs["tags"])
    assert group.delete_before_replace
    assert template.delete_before_replace

    # What carries the task out.
    provider = recording.one("CapacityProvider")
    declared.check("ecs", "CreateCapacityProvider", declared.provider_request(provider))
    scaling = provider.inputs["autoScalingGroupProvider"]
    assert scaling["autoScalingGroupArn"] == f"arn:of:{group.name}"
    assert scaling["managedScaling"]["status"] == "ENABLED"
    assert (scaling["managedTerminationProtection"], scaling["managedDraining"]) == ("ENABLED", "DISABLED")
    declared.check("ecs", "RegisterTaskDefinition", declared.definition_request(recording.one("TaskDefinition")))
    called = {"Cluster", "LaunchTemplate", "Group", "CapacityProvider"}
    assert {one.inputs["name"] for one in recording if one.type.rpartition(":")[2] in called} == {BASE}
    assert recording.one("TaskDefinition").inputs["family"] == BASE
    assert recording.one("ClusterCapacityProviders").inputs["capacityProviders"] == [BASE]


@pytest.mark.parametrize("purchase", [Purchase.ON_DEMAND, Purchase.SPOT])
def test_managed_instances_are_asked_for_by_the_same_types(purchase: Purchase) -> None:
    recording = declared.cluster(managed_instances=True, purchase=purchase)
    assert not (recording.of("Group") or recording.of("LaunchTemplate") or recording.of("Schedule"))
    provider = recording.one("CapacityProvider")
    request = declared.provider_request(provider)
    declared.check("ecs", "CreateCapacityProvider", request)
    assert request["cluster"] == BASE
    managed = request["managedInstancesProvider"]
    assert managed["infrastructureRoleArn"] == "arn:of:roles-infrastructure"
    template = managed["instanceLaunchTemplate"]
    assert template["instanceRequirements"]["allowedInstanceTypes"] == ["g5.xlarge", "g4dn.xlarge"]
    assert template["capacityOptionType"] == ("SPOT" if purchase is Purchase.SPOT else "ON_DEMAND")
    assert template["networkConfiguration"]["securityGroups"] == [f"capacity-network-{REGION}-closed-id"]
    assert template["storageConfiguration"] == {"storageSizeGiB": 150}
    definition = recording.one("TaskDefinition")
    assert definition.inputs["requiresCompatibilities"] == ["MANAGED_INSTANCES"]
    declared.check("ecs", "RegisterTaskDefinition", declared.definition_request(definition))


def test_a_reserved_machine_is_never_a_managed_one() -> None:
    recording = declared.cluster(managed_instances=True, purchase=Purchase.RESERVED, reservation=RESERVATION)
    assert recording.one("Group").inputs["maxSize"] == 1
    assert recording.one("TaskDefinition").inputs["requiresCompatibilities"] == ["EC2"]


@pytest.mark.parametrize("way", ["nat", "endpoints"])
@pytest.mark.parametrize("managed", [False, True])
def test_every_child_has_its_parent_its_tags_and_the_hooks(way: str, managed: bool) -> None:
    recording = declared.cluster(way=way, managed_instances=managed, task=declared.task(uploader_image=declared.IMAGE))
    declared.assert_hooked_children(recording, "capacity")
    assert {one.inputs.get("region", REGION) for one in declared.of_package(recording)} == {REGION}
    regional = [one for one in declared.of_package(recording) if not one.type.startswith("aws:iam/")]
    assert [one.name for one in regional if "region" not in one.inputs] == []


def test_the_roles_and_the_way_out_are_there_before_a_machine_is_asked_for() -> None:
    for managed in (False, True):
        recording = declared.cluster(managed_instances=managed)
        asking = recording.one("CapacityProvider") if managed else recording.one("Group")
        associations = {one.name for one in recording.of("RouteTableAssociation") if one.name.endswith("-private")}
        assert len(associations) == 2
        assert asking.depends_on >= associations | {one.name for one in recording.of("VpcEndpoint")}
        policies = {one.name for one in recording.of("RolePolicy")}
        assert asking.depends_on >= policies, "an agent that is refused once has lost its minute"


def test_what_is_in_a_cluster_goes_before_the_cluster() -> None:
    """A cluster with machines, or a group with a provider, can't be deleted: the engine deletes dependents first."""
    recording = declared.cluster()
    cluster, template, group = recording.one("Cluster"), recording.one("LaunchTemplate"), recording.one("Group")
    provider, joined = recording.one("CapacityProvider"), recording.one("ClusterCapacityProviders")
    assert cluster.name in template.depends_on
    assert template.name in group.depends_on
    assert group.name in provider.depends_on
    assert {cluster.name, provider.name} <= joined.depends_on


def test_its_own_network_lets_nothing_in() -> None:
    recording = declared.cluster()
    (group,) = recording.of("SecurityGroup")
    assert group.inputs.get("ingress", []) == []
    private = [one for one in recording.of("Subnet") if not one.name.endswith("-public")]
    assert {one.inputs["availabilityZoneId"] for one in private} == {"use1-az1", "use1-az4"}
    assert all(one.inputs["mapPublicIpOnLaunch"] is False for one in recording.of("Subnet"))
    (gateway,) = recording.of("NatGateway")
    assert len(recording.of("Eip")) == 1, "one NAT gateway, for all zones"
    table = next(one for one in recording.of("RouteTable") if one.name.endswith("-private"))
    assert table.inputs["routes"] == [{"cidrBlock": "0.0.0.0/0", "natGatewayId": f"{gateway.name}-id"}]
    (to_s3,) = recording.of("VpcEndpoint")
    assert to_s3.inputs["vpcEndpointType"] == "Gateway"
    assert to_s3.inputs["serviceName"] == f"com.amazonaws.{REGION}.s3"
    assert to_s3.inputs["routeTableIds"] == [f"{table.name}-id"]


@pytest.mark.parametrize("secrets", [True, False])
def test_endpoints_reach_what_a_task_needs_and_nothing_else(secrets: bool) -> None:
    task = declared.task(uploader_image=declared.IMAGE, **({} if secrets else {"secrets": {}}))
    recording = declared.cluster(way="endpoints", task=task)
    assert not (recording.of("NatGateway") or recording.of("InternetGateway") or recording.of("Eip"))
    kinds: dict[str, set[str]] = {"Gateway": set(), "Interface": set()}
    for one in recording.of("VpcEndpoint"):
        kinds[one.inputs["vpcEndpointType"]].add(one.inputs["serviceName"].removeprefix(f"com.amazonaws.{REGION}."))
        if one.inputs["vpcEndpointType"] == "Interface":
            assert one.inputs["privateDnsEnabled"] is True
            assert len(one.inputs["subnetIds"]) == 1, "each costs by the zone"
    assert kinds["Gateway"] == {"s3"}
    assert kinds["Interface"] == {
        "ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "ssm",
        *(["secretsmanager"] if secrets else []),
    }  # fmt: skip
    (entrance,) = [one for one in recording.of("SecurityGroup") if one.inputs["ingress"]]
    assert entrance.inputs["ingress"] == [
        {"protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": [cidr_block(REGION)]}
    ]


def test_existing_subnets_are_used_as_they_are() -> None:
    recording = declared.cluster(subnets=("subnet-1", "subnet-2"), security_group="sg-1")
    assert recording.one("Group").inputs["vpcZoneIdentifiers"] == ["subnet-1", "subnet-2"]
    (card,) = recording.one("LaunchTemplate").inputs["networkInterfaces"]
    assert card["securityGroups"] == ["sg-1"]
    assert not {one.type.rpartition(":")[2] for one in recording} & declared.INSIDE_NETWORK


def test_another_attempts_resources_are_others_but_for_the_network() -> None:
    first = declared.cluster()
    second = declared.cluster(
        base_name=names.base_name("20261121t111111-456-def456"), region="us-west-2", zones=("usw2-az1",)
    )
    third = declared.cluster(base_name=names.base_name("20261121t111111-456-def456"))

    def of(recording: Any) -> set[str]:
        return {one.name for one in recording if one.parent != "roles"} - {"roles"}

    assert of(first) & of(second) == {"capacity", "capacity-network"}
    stay = {one for one in of(first) if one.startswith("capacity-network")}
    assert of(first) & of(third) == stay | {"capacity"}


def test_the_schedule_and_the_timer() -> None:
    assert run_seconds(60) == 600
    assert ends_at(BEGUN, 0, 60) == "2026-11-21T10:20:00Z"
    for wait_s, seconds in ((0, 60), (1800, 60), (1800, 7200)):
        stops = datetime.fromisoformat(ends_at(BEGUN, wait_s, seconds))
        assert stops >= BEGUN + timedelta(seconds=wait_s), "not while a machine may still come"
        assert stops <= BEGUN + timedelta(seconds=run_seconds(seconds, wait_s)), "not after the first may have ended"


def test_no_two_zones_have_one_range_and_all_known_regions_have_zones() -> None:
    regions = {
        region
        for offer in catalog.offers(surface="ecs")
        if not offer.machine_type.startswith("fargate")
        for region in offer.regions
    }
    unknown = []
    for region in regions:
        try:
            zones = own_zones(region, ())
        except pulumi.RunError:
            unknown.append(region)
            continue
        blocks = [private_block(region, zone) for zone in zones] + [public_block(region, zone) for zone in zones]
        assert len(set(blocks)) == len(blocks)
        assert all("-az" in zone and zone.count("-") == 1 for zone in zones), "no local zone"
    assert len(regions) - len(unknown) > 20
    with pytest.raises(pulumi.RunError, match="name some"):
        own_zones("xx-nowhere-1", ())
    assert own_zones("us-west-2", ("usw2-lax1-az1", "usw2-az2")) == ("usw2-az2",)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({"machine_types": ()}, "no machine type"),
    "a size of Fargate's": ({"machine_types": ("fargate-4-16gb",)}, "no machine type of EC2"),
    "flex-start": ({"purchase": Purchase.FLEX_START}, "isn't sold on AWS"),
    "a reservation for spot": ({"purchase": Purchase.SPOT, "reservation": RESERVATION}, "if, and only if"),
    "reserved without one": ({"purchase": Purchase.RESERVED}, "if, and only if"),
    "a reservation's name": ({"purchase": Purchase.RESERVED, "reservation": "ours"}, "cr-"),
    "managed for too long": ({"managed_instances": True, "max_seconds": 15 * 86400.0}, "14 days"),
    "an image out of reach": ({"way": "endpoints"}, "uploader_image: public.ecr.aws/.*\nMend: copy it there"),
    "another region's bucket": (
        {"way": "endpoints", "task": declared.task(results_region="us-west-2", uploader_image=declared.IMAGE)},
        "gpubench:results: s3://bench/team: its bucket is in us-west-2.*\nMend: name a bucket of us-east-1",
    ),
    "subnets without a group": ({"subnets": ("subnet-1",)}, "security group"),
    "another region's image": (
        {"way": "endpoints", "task": declared.task(image=declared.IMAGE.replace(REGION, "eu-west-1"))},
        "gpubench:benchmark.image: .*us-east-1 only",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_itself_is_refused(case: str) -> None:
    changes, words = REFUSED[case]
    with pytest.raises(pulumi.RunError, match=words):
        declared.cluster(**changes)


STOPPED = ["managed for too long", "an image out of reach", "another region's bucket", "another region's image"]


@pytest.mark.parametrize("case", STOPPED)
def test_what_an_attempt_is_refused_for_has_its_own_cause_and_mend(case: str) -> None:
    """As a walk reads it: from the text of a program that failed, with what the engine writes around it."""
    changes, _ = REFUSED[case]
    with pytest.raises(pulumi.RunError) as failed:
        declared.cluster(**changes)
    failure = classify(f"error: an unhandled error occurred: Program exited with\n    {failed.value}\n", Where("ecs"))
    assert failure.cause is Cause.BAD_REQUEST
    assert re.match("name a bucket|copy it there|lower max_hours", failure.mend)


def test_names_and_tags_are_what_aws_accepts() -> None:
    assert names.base_name(declared.ATTEMPT) == BASE
    for bad in ("a" * 100, "under_score", "ends-"):
        with pytest.raises(ValueError, match="no name"):
            names.base_name(bad)
    assert names.role_name("dev", "task") == "gpubench-dev-task"
    long = names.role_name("x" * 80, "infrastructure")
    assert len(long) <= names.MAX_ROLE
    assert long != names.role_name("y" * 80, "infrastructure")
    assert names.tags({"aws:mine": "a", "Team": "A B&C", "k" * 200: "v" * 300}) == {
        "x-aws:mine": "a",
        "Team": "A B-C",
        "k" * 128: "v" * 256,
    }
    assert names.tags(LABELS)[STACK_LABEL] == "dev"
    assert [names.partition(one) for one in ("eu-west-1", "cn-north-1", "us-gov-west-1")] == [
        "aws", "aws-cn", "aws-us-gov",
    ]  # fmt: skip


def test_the_disk_holds_the_image() -> None:
    found = [boot_disk.size_gb(gb, system_gb=images.SYSTEM_GB) for gb in (None, 0.5, 12.4, 40)]
    assert found == [200, 100, 100, 200]
