"""RunNetwork: a network for machines that nobody has to reach, and that reach Google's services."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp


def cidr_range(region: str) -> str:
    """256 private addresses that belong to a region.

    Each region has its own: when a stack goes on to another region, the new one's subnetwork is made before the old
    one's is deleted, and those of one network may not overlap.
    """
    high, low = hashlib.sha256(region.encode()).digest()[:2]
    return f"10.{high}.{low}.0/24"


@dataclass(frozen=True, kw_only=True)
class RunNetworkArgs:
    """``nat``: a way out to the internet, for sources outside Google (git, other registries). It costs by the hour and
    by the gigabyte (https://cloud.google.com/nat/pricing), also while no machine runs. ``hooks``: for each resource.
    """

    project: str
    region: str
    nat: bool = False
    hooks: pulumi.ResourceHookBinding | None = None


class RunNetwork(pulumi.ComponentResource):
    """A network with one subnetwork in a region, closed to all that comes from outside.

    A network without a firewall rule lets nothing in. Its machines have no external address; Private Google Access
    takes them to Google's registries, storage and APIs (https://cloud.google.com/vpc/docs/private-google-access), by
    the default route that the network is made with.
    """

    subnet: gcp.compute.Subnetwork
    ways_out: tuple[pulumi.Resource, ...]
    """What a machine needs before it can reach the internet; none without NAT."""

    def __init__(self, name: str, args: RunNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpubench:index:RunNetwork", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self, hooks=args.hooks)
        network = gcp.compute.Network(
            f"{name}-vpc",
            project=args.project,
            description="gpubench: benchmark machines; nothing comes in",
            auto_create_subnetworks=False,
            routing_mode="REGIONAL",
            delete_default_routes_on_create=False,
            opts=child,
        )
        # With its region in its name: in another region it is another one, and the network stays.
        self.subnet = gcp.compute.Subnetwork(
            f"{name}-{args.region}",
            project=args.project,
            region=args.region,
            network=network.self_link,
            ip_cidr_range=cidr_range(args.region),
            private_ip_google_access=True,
            stack_type="IPV4_ONLY",
            opts=child,
        )
        self.ways_out = self._nat(name, args, network, child) if args.nat else ()
        self.register_outputs({"subnet": self.subnet.self_link})

    def _nat(
        self, name: str, args: RunNetworkArgs, network: gcp.compute.Network, child: pulumi.ResourceOptions
    ) -> tuple[pulumi.Resource, ...]:
        router = gcp.compute.Router(
            f"{name}-router-{args.region}",
            project=args.project,
            region=args.region,
            network=network.self_link,
            opts=child,
        )
        nat = gcp.compute.RouterNat(
            f"{name}-nat-{args.region}",
            project=args.project,
            region=args.region,
            router=router.name,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
            subnetworks=[{"name": self.subnet.self_link, "source_ip_ranges_to_nats": ["ALL_IP_RANGES"]}],
            opts=child,
        )
        return (nat,)
