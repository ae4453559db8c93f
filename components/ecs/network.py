"""RunNetwork: where a run's machines and tasks are, in subnets that are given or of its own; nothing comes in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components.ecs import images, names, reach
from components.ecs.reach import ENDPOINTS, NAT, ZONE, own_zones
from components.ecs.task import TaskArgs
from components.interface import ATTEMPT_LABEL

INTERFACES = ("ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "ssm")
"""The services that a machine of ECS, its agent and the start of a task speak to, beside S3.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/vpc-endpoints.html,
https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
"""
_SECRETS = "secretsmanager"


@dataclass(frozen=True, kw_only=True)
class RunNetworkArgs:
    """``subnets``: existing ones of the region, which reach the registries, S3 and ECS already, and ``security_group``:
    one of their network. Empty: a network of its own, with a subnet in each of ``zones`` (zone ids; empty: those of the
    region that the catalogue knows).

    ``way``: how a network of its own reaches them. ``nat``: one NAT gateway, for all of the internet, at about 0.045
    USD an hour and as much a GB (https://aws.amazon.com/vpc/pricing/, us-east-1); images of ECR and results of the
    same region are in S3, and go past it for nothing. ``endpoints``: AWS's services alone, at about 0.01 USD an hour
    for each of them (https://aws.amazon.com/privatelink/pricing/, us-east-1): images have to be in ECR, and the
    results' bucket in this region. Either is there only while a run is due.

    ``reads_secrets``: whether tasks read secrets. ``hooks``: for each resource that is made.
    """

    region: str
    zones: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    security_group: str | None = None
    way: str = NAT
    reads_secrets: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    hooks: pulumi.ResourceHookBinding | None = None


class RunNetwork(pulumi.ComponentResource):
    """Subnets, and a security group that lets nothing in and everything out.

    A network of its own has private subnets: no machine has a public address. It is the region's and not an attempt's:
    it holds no capacity, takes minutes to make, and serves the region's next rung, whether on EC2 or on Fargate.
    """

    region: str
    reaches_internet: bool
    """Or whatever the given subnets reach; else AWS's services of the region alone."""
    subnets: Sequence[pulumi.Input[str]]
    security_group: pulumi.Input[str]
    ways_out: tuple[pulumi.Resource, ...] = ()
    """What a machine needs before it can reach anything; none where the subnets are given."""

    def __init__(self, name: str, args: RunNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises BadRequest for a region whose zones aren't known, RunError for subnets without their group."""
        super().__init__("gpubench:index:AwsRunNetwork", name, {}, opts)
        self._prefix, self._args = f"{name}-{args.region}", args
        self.region, self.reaches_internet = args.region, args.way == NAT or bool(args.subnets)
        # It stays from attempt to attempt: the sweep of one must not take it from the next.
        labels = {key: value for key, value in args.labels.items() if key != ATTEMPT_LABEL}
        self._tags = names.tags({**labels, "Name": f"gpubench-{args.region}"})
        if args.subnets:
            if args.security_group is None:
                raise pulumi.RunError(f"{args.region}: subnets that are given need a security group of their network")
            self.subnets, self.security_group = args.subnets, args.security_group
            self.register_outputs({"securityGroup": self.security_group})
            return
        vpc = self._own()
        group = aws.ec2.SecurityGroup(
            f"{self._prefix}-closed",
            region=args.region,
            description="gpubench: benchmark machines; nothing comes in",
            vpc_id=vpc,
            ingress=[],
            egress=[{"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"]}],
            revoke_rules_on_delete=False,
            tags=self._tags,
            opts=self._child(),
        )
        self.security_group = group.id
        self.register_outputs({"securityGroup": group.id})

    @property
    def handles(self) -> dict[str, pulumi.Input[str]]:
        """Where a task is to be run, for whoever runs it."""
        return {
            "subnets": pulumi.Output.all(*self.subnets).apply(lambda ids: ",".join(str(one) for one in ids)),
            "security_group": self.security_group,
        }

    def check_reach(self, task: TaskArgs) -> None:
        """Raises BadRequest for images, and for a bucket, that a task can't reach from here."""
        if self.reaches_internet:
            return
        if task.results_region is not None:
            reach.check_bucket(task.results, task.results_region, self.region)
        reach.check_image("gpubench:benchmark.image", task.image, self.region)
        reach.check_image("gpubench:aws.uploader_image", task.uploader_image or images.UPLOADER_IMAGE, self.region)

    def _child(self, **more: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, hooks=self._args.hooks, **more)

    def _own(self) -> pulumi.Output[str]:
        args = self._args
        region, tags = args.region, self._tags
        zones = own_zones(region, args.zones)
        vpc = aws.ec2.Vpc(
            f"{self._prefix}-vpc",
            region=region,
            cidr_block=cidr_block(region),
            enable_dns_support=True,
            enable_dns_hostnames=True,  # endpoints' private names need it
            tags=tags,
            opts=self._child(),
        )
        private = {
            zone: aws.ec2.Subnet(
                f"{self._prefix}-{zone}",
                region=region,
                vpc_id=vpc.id,
                availability_zone_id=zone,
                cidr_block=private_block(region, zone),
                map_public_ip_on_launch=False,
                tags=tags,
                opts=self._child(),
            )
            for zone in zones
        }
        out = self._nat(vpc, zones[0]) if args.way == NAT else None
        table = aws.ec2.RouteTable(
            f"{self._prefix}-private",
            region=region,
            vpc_id=vpc.id,
            routes=[{"cidr_block": "0.0.0.0/0", "nat_gateway_id": out.id}] if out else [],
            tags=tags,
            # A gateway endpoint puts a route of its own into the table.
            opts=self._child(ignore_changes=None if out else ["routes"]),
        )
        ways: list[pulumi.Resource] = [table]
        for zone, subnet in private.items():
            ways.append(
                aws.ec2.RouteTableAssociation(
                    f"{self._prefix}-{zone}-private",
                    region=region,
                    subnet_id=subnet.id,
                    route_table_id=table.id,
                    opts=self._child(),
                )
            )
        # Layers of ECR's images lie in S3: they and the results go this way, which costs nothing.
        ways.append(
            aws.ec2.VpcEndpoint(
                f"{self._prefix}-s3",
                region=region,
                vpc_id=vpc.id,
                service_name=f"com.amazonaws.{region}.s3",
                vpc_endpoint_type="Gateway",
                route_table_ids=[table.id],
                tags=tags,
                opts=self._child(),
            )
        )
        if args.way == ENDPOINTS:
            ways.extend(self._endpoints(vpc, private[zones[0]]))
        self.subnets = [subnet.id for subnet in private.values()]
        self.ways_out = tuple(ways)
        return vpc.id

    def _nat(self, vpc: aws.ec2.Vpc, zone: str) -> aws.ec2.NatGateway:
        """One NAT gateway for all zones: another zone's traffic costs by the GB, a second gateway by the hour."""
        region, tags = self._args.region, self._tags
        gateway = aws.ec2.InternetGateway(
            f"{self._prefix}-internet", region=region, vpc_id=vpc.id, tags=tags, opts=self._child()
        )
        subnet = aws.ec2.Subnet(
            f"{self._prefix}-{zone}-public",
            region=region,
            vpc_id=vpc.id,
            availability_zone_id=zone,
            cidr_block=public_block(region, zone),
            map_public_ip_on_launch=False,
            tags=tags,
            opts=self._child(),
        )
        table = aws.ec2.RouteTable(
            f"{self._prefix}-public",
            region=region,
            vpc_id=vpc.id,
            routes=[{"cidr_block": "0.0.0.0/0", "gateway_id": gateway.id}],
            tags=tags,
            opts=self._child(),
        )
        routed = aws.ec2.RouteTableAssociation(
            f"{self._prefix}-{zone}-public-routes",
            region=region,
            subnet_id=subnet.id,
            route_table_id=table.id,
            opts=self._child(),
        )
        address = aws.ec2.Eip(
            f"{self._prefix}-{zone}-address",
            region=region,
            domain="vpc",
            tags=tags,
            opts=self._child(depends_on=[gateway]),
        )
        return aws.ec2.NatGateway(
            f"{self._prefix}-{zone}-nat",
            region=region,
            allocation_id=address.id,
            subnet_id=subnet.id,
            connectivity_type="public",
            tags=tags,
            opts=self._child(depends_on=[gateway, routed]),
        )

    def _endpoints(self, vpc: aws.ec2.Vpc, subnet: aws.ec2.Subnet) -> list[pulumi.Resource]:
        """In one zone, for all: each costs by the hour and zone, and what goes through them is little."""
        args = self._args
        entrance = aws.ec2.SecurityGroup(
            f"{self._prefix}-endpoints",
            region=args.region,
            description="gpubench: AWS's endpoints; HTTPS from this network's machines",
            vpc_id=vpc.id,
            ingress=[{"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": [cidr_block(args.region)]}],
            egress=[],
            revoke_rules_on_delete=False,
            tags=self._tags,
            opts=self._child(),
        )
        return [
            aws.ec2.VpcEndpoint(
                f"{self._prefix}-{service.replace('.', '-')}",
                region=args.region,
                vpc_id=vpc.id,
                service_name=f"com.amazonaws.{args.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnet.id],
                security_group_ids=[entrance.id],
                tags=self._tags,
                opts=self._child(),
            )
            for service in (*INTERFACES, *([_SECRETS] if args.reads_secrets else []))
        ]


def cidr_block(region: str) -> str:
    """65,536 private addresses that belong to a region: two regions' networks can be joined."""
    return f"10.{_second(region)}.0.0/16"


def private_block(region: str, zone: str) -> str:
    """4,096 of them, for the machines of a zone."""
    return f"10.{_second(region)}.{16 * _number(zone)}.0/20"


def public_block(region: str, zone: str) -> str:
    """256 of them, for a zone's NAT gateway; none of the machines'."""
    return f"10.{_second(region)}.{_number(zone)}.0/24"


def _second(region: str) -> int:
    return hashlib.sha256(f"gpubench {region}".encode()).digest()[0]


def _number(zone: str) -> int:
    found = ZONE.fullmatch(zone)
    assert found is not None and 0 < int(found[1]) < 16, zone
    return int(found[1])
