"""GpuVm: the capacity of one attempt on Compute Engine, which is one machine that deletes itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from catalog import Purchase
from components import boot_disk
from components.gce import images, names
from components.gce.network import RunNetwork, RunNetworkArgs

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""The one scope that Google recommends: what the machine may do, the roles of its account say.

https://cloud.google.com/compute/docs/access/service-accounts#scopes_best_practice
"""

_LEAST_S = 600
_FLEX_START_MOST_S = 7 * 24 * 3600
_MOST_S = 120 * 24 * 3600
# Flex-start: 10 minutes to 7 days. Else to 120 days, and far less than 10 minutes, in which no machine does anything.
# https://cloud.google.com/compute/docs/instances/limit-vm-runtime, .../instances/about-flex-start-vms

_RESERVATION_BOUND = ("a3-ultragpu-", "a4-", "a4x-")
# Families whose reservations come of a future reservation; others consume theirs with the standard model.
# https://cloud.google.com/compute/docs/instances/about-reservation-bound-vms

_RESERVATION_KEY = "compute.googleapis.com/reservation-name"


@dataclass(frozen=True, kw_only=True)
class GpuVmArgs:
    """What a rung and an attempt say, and what stands around them.

    ``zones``: those that may be used, at least one. ``machine_types``: best first. ``accelerator`` and ``gpus``: as in
    the catalogue; only N1 machines have them attached, the others bring them along; ``gpus`` 0: a machine without.
    ``reservation``: its name (or ``projects/P/reservations/R``), for purchase ``reserved``, in each of the zones.
    ``max_seconds``: after so long Compute Engine deletes the machine; 10 minutes at the least.

    ``base_name``: see names.base_name. ``service_account``: the machine's account (its e-mail address). ``end_role``: a
    role with the permission compute.instances.delete, which that account gets for this attempt's machine only; None:
    it has the right already. ``metadata``: what the boot script reads, ``startup-script`` included. ``labels``: for all
    that bears labels; what Google doesn't accept in them is made acceptable.

    ``subnet``: an existing subnetwork (its name, or its link); None: a network of its own, without ``nat`` one that
    reaches Google's services only. ``hooks``: for each resource that is made. ``after``: what has to be in place before
    a machine is asked for, the grants to its account before all.
    """

    project: str
    region: str
    zones: tuple[str, ...]
    machine_types: tuple[str, ...]
    purchase: Purchase
    max_seconds: float
    base_name: str
    service_account: pulumi.Input[str]
    metadata: Mapping[str, pulumi.Input[str]]
    labels: Mapping[str, str]
    accelerator: str | None = None
    gpus: float = 0
    reservation: str | None = None
    end_role: pulumi.Input[str] | None = None
    subnet: pulumi.Input[str] | None = None
    nat: bool = False
    boot_image: str = images.BOOT_IMAGE
    boot_disk_gb: int = boot_disk.DEFAULT_GB
    hooks: pulumi.ResourceHookBinding | None = None
    after: Sequence[pulumi.Resource] = ()


class GpuVm(pulumi.ComponentResource):
    """One machine of an attempt: a regional group of size one over all its zones, or one instance in its one zone.

    A group asks for a machine in one zone after the other by itself, and is made whatever becomes of that: who waits
    for the machine reads the group's errors. An instance is there with its machine, or its creation fails. Flex-start
    has a group in any case, because only a resize request waits in the queue for longer than the creation does.

    No resource of one attempt is changed into another attempt's: their names end on the attempt's own tail. The
    network alone stays, as it takes longer than all the rest, costs nothing, and holds no capacity.
    """

    group: gcp.compute.RegionInstanceGroupManager | None = None
    request: gcp.compute.RegionResizeRequest | None = None
    instance: gcp.compute.Instance | None = None

    def __init__(self, name: str, args: GpuVmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises RunError, which the engine shows without a traceback, where the arguments contradict each other."""
        _check(args)
        super().__init__("gpubench:index:GpuVm", name, {}, opts)
        self._args, self._tail = args, names.tail(args.base_name)
        self._prefix = name
        self._before = [*args.after, *self._right_to_end()]
        machine = _Machine(args, self._subnet())
        if _is_single(args):
            self.instance = self._single(machine)
        else:
            self.group = self._group(machine)
            if args.purchase is Purchase.FLEX_START:
                self.request = self._request(self.group)
        self.register_outputs({"baseName": args.base_name})

    def _child(self, **more: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, hooks=self._args.hooks, **more)

    def _named(self, what: str) -> str:
        return f"{self._prefix}-{what}-{self._tail}"

    def _right_to_end(self) -> list[pulumi.Resource]:
        """The machine may delete itself, and no other: an attempt's name is no other name's beginning.

        Compute Engine's instances have their names in IAM conditions
        (https://cloud.google.com/iam/docs/conditions-resource-attributes#resource-name).
        """
        args = self._args
        if args.end_role is None:
            return []
        condition = gcp.projects.IAMMemberConditionArgs(
            title=f"ends {args.base_name}",
            description="A benchmark machine deletes itself, and no other.",
            expression=(
                'resource.type == "compute.googleapis.com/Instance" && '
                f'resource.name.extract("/instances/{{name}}").startsWith("{args.base_name}")'
            ),
        )
        member = pulumi.Output.concat("serviceAccount:", args.service_account)
        return [
            gcp.projects.IAMMember(
                self._named("end"),
                project=args.project,
                role=args.end_role,
                member=member,
                condition=condition,
                opts=self._child(),
            )
        ]

    def _subnet(self) -> pulumi.Input[str]:
        args = self._args
        if args.subnet is not None:
            return args.subnet
        network = RunNetwork(
            f"{self._prefix}-network",
            RunNetworkArgs(project=args.project, region=args.region, nat=args.nat, hooks=args.hooks),
            pulumi.ResourceOptions(parent=self),
        )
        self._before.extend(network.ways_out)
        return network.subnet.self_link

    def _single(self, machine: _Machine) -> gcp.compute.Instance:
        args = self._args
        return gcp.compute.Instance(
            self._named("vm"),
            name=args.base_name,
            project=args.project,
            zone=args.zones[0],
            machine_type=args.machine_types[0],
            boot_disk={
                "auto_delete": True,
                "initialize_params": {
                    "image": args.boot_image,
                    "size": args.boot_disk_gb,
                    "type": machine.disk_type,
                    "labels": machine.labels,
                },
            },
            **machine.properties,
            deletion_protection=False,
            # It has a name of its own: its successor can't be made beside it. Its disk stays as it was made: a registry
            # that says only now how large the image is must not cost this attempt its machine.
            opts=self._child(depends_on=self._before, delete_before_replace=True, ignore_changes=["bootDisk"]),
        )

    def _group(self, machine: _Machine) -> gcp.compute.RegionInstanceGroupManager:
        args = self._args
        waits = args.purchase is Purchase.FLEX_START
        template = gcp.compute.RegionInstanceTemplate(
            self._named("template"),
            project=args.project,
            region=args.region,
            description=f"gpubench: {args.base_name}",
            machine_type=args.machine_types[0],
            disks=[
                {
                    "boot": True,
                    "auto_delete": True,
                    "source_image": args.boot_image,
                    "disk_size_gb": args.boot_disk_gb,
                    "disk_type": machine.disk_type,
                    "labels": machine.labels,
                }
            ],
            **machine.properties,
            opts=self._child(ignore_changes=["disks"]),  # as a single machine's
        )
        return gcp.compute.RegionInstanceGroupManager(
            self._named("group"),
            project=args.project,
            region=args.region,
            description=f"gpubench: {args.base_name}",
            base_instance_name=args.base_name,
            versions=[{"instance_template": template.self_link}],
            # A resize request brings its machine along.
            target_size=0 if waits else 1,
            # For one machine both say: wherever there is one. Resize requests are shown with the second alone (the
            # Terraform provider's example of one).
            distribution_policy_target_shape="ANY_SINGLE_ZONE" if waits else "ANY",
            distribution_policy_zones=list(args.zones),
            instance_flexibility_policy=_flexibility(args.machine_types),
            # A machine that has ended itself stays ended.
            instance_lifecycle_policy={"default_action_on_failure": "DO_NOTHING"},
            update_policy={
                "type": "OPPORTUNISTIC",
                "minimal_action": "REPLACE",
                "instance_redistribution_type": "NONE",
            },
            # Its creation would wait without a word until it times out; the run resource waits, and says why.
            wait_for_instances=False,
            opts=self._child(depends_on=self._before),
        )

    def _request(self, group: gcp.compute.RegionInstanceGroupManager) -> gcp.compute.RegionResizeRequest:
        args = self._args
        return gcp.compute.RegionResizeRequest(
            self._named("request"),
            project=args.project,
            region=args.region,
            description=f"gpubench: {args.base_name}",
            instance_group_manager=group.name,
            resize_by=1,
            requested_run_duration={"seconds": str(run_seconds(args.purchase, args.max_seconds)), "nanos": 0},
            opts=self._child(),
        )


class _Machine:
    """What a machine is, in the words that instances and templates share."""

    def __init__(self, args: GpuVmArgs, subnet: pulumi.Input[str]) -> None:
        first = args.machine_types[0]
        self.disk_type = images.boot_disk_type(first)
        self.labels = names.labels(args.labels)
        # None, not an empty list: families that bring their GPU along are compared with what the cloud filled in.
        attached = args.accelerator if first.startswith("n1-") and args.gpus else None
        card = images.nic_type(first)
        # The SDK has a type of each for instances and another one for templates, with the same fields.
        self.properties: dict[str, Any] = {
            "guest_accelerators": [{"type": attached, "count": int(args.gpus)}] if attached else None,
            "scheduling": {
                "provisioning_model": _provisioning(args),
                "preemptible": args.purchase is Purchase.SPOT,
                "automatic_restart": False,
                # Machines with a GPU can't move to another host while they run.
                "on_host_maintenance": "TERMINATE",
                # Whatever ends it (its time is over, spot capacity is taken back), nothing stays behind.
                "instance_termination_action": "DELETE",
                "max_run_duration": {"seconds": run_seconds(args.purchase, args.max_seconds)},
            },
            "reservation_affinity": _reservation(args),
            # Without access_configs there is no external address.
            "network_interfaces": [{"subnetwork": subnet, **({"nic_type": card} if card else {})}],
            "service_account": {"email": args.service_account, "scopes": [SCOPE]},
            "shielded_instance_config": {
                # The driver in the Deep Learning VM's images is not signed with a key that Secure Boot knows.
                "enable_secure_boot": not args.gpus,
                "enable_vtpm": True,
                "enable_integrity_monitoring": True,
            },
            "metadata": {
                "enable-oslogin": "TRUE",
                "block-project-ssh-keys": "TRUE",
                "serial-port-enable": "FALSE",  # for typing into it; what it prints can be read all the same
                **({"install-nvidia-driver": "True"} if args.gpus else {}),
                **args.metadata,
            },
            "labels": self.labels,
            "can_ip_forward": False,
        }


def run_seconds(purchase: Purchase, seconds: float) -> int:
    """How long Compute Engine lets a machine run, within what it accepts. Raises RunError for more than that."""
    most = _FLEX_START_MOST_S if purchase is Purchase.FLEX_START else _MOST_S
    if seconds > most:
        raise pulumi.RunError(
            f"a {purchase} machine can't run for {seconds / 3600:g} hours: Compute Engine allows at most "
            f"{most // 3600} hours; lower the entry's max_hours"
        )
    return max(_LEAST_S, int(seconds))


def _is_single(args: GpuVmArgs) -> bool:
    return len(args.zones) == 1 and len(args.machine_types) == 1 and args.purchase is not Purchase.FLEX_START


def _provisioning(args: GpuVmArgs) -> str:
    if args.purchase is Purchase.RESERVED:
        return "RESERVATION_BOUND" if args.machine_types[0].startswith(_RESERVATION_BOUND) else "STANDARD"
    return {Purchase.SPOT: "SPOT", Purchase.FLEX_START: "FLEX_START"}.get(args.purchase, "STANDARD")


def _reservation(args: GpuVmArgs) -> Any:
    if args.purchase is Purchase.RESERVED:
        values = [str(args.reservation)]
        return {"type": "SPECIFIC_RESERVATION", "specific_reservation": {"key": _RESERVATION_KEY, "values": values}}
    # Flex-start can't be used with one; spot never takes one. On demand, a reservation that is open to all is used.
    return {"type": "NO_RESERVATION"} if args.purchase is Purchase.FLEX_START else None


def _flexibility(machine_types: Sequence[str]) -> Any:
    if len(machine_types) == 1:
        return None
    return {
        "instance_selections": [
            {"name": f"rank-{rank}", "rank": rank, "machine_types": [machine_type]}
            for rank, machine_type in enumerate(machine_types, start=1)
        ]
    }


def _check(args: GpuVmArgs) -> None:
    def refuse(what: str) -> None:
        raise pulumi.RunError(f"{args.base_name}: {what}")

    if not args.zones:
        refuse(f"no zone of {args.region} is known to have {' or '.join(args.machine_types)}; name one (`zones`)")
    if not args.machine_types:
        refuse("no machine type")
    if elsewhere := [zone for zone in args.zones if zone.rpartition("-")[0] != args.region]:
        refuse(f"{', '.join(elsewhere)}: not in {args.region}")
    kinds = {(images.boot_disk_type(one), images.nic_type(one), one.startswith("n1-")) for one in args.machine_types}
    if len(kinds) > 1:
        refuse(f"{', '.join(args.machine_types)}: no one group can have them, as they need other disks or cards")
    if (args.purchase is Purchase.RESERVED) != (args.reservation is not None):
        refuse("a reservation is named if, and only if, the purchase is `reserved`")
    if args.purchase is Purchase.FLEX_START and len(args.machine_types) > 1:
        refuse(
            "flex-start asks for one machine type, as a resize request can't choose; name each in an entry of its own"
        )
    if args.machine_types[0].startswith("n1-") and args.gpus and not args.accelerator:
        refuse("an N1 machine with GPUs needs to be told which (`accelerator`)")
