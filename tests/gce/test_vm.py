"""GpuVm through the recording monitor: what a reviewer would look for, by purchase and machine family."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pytest

import catalog
from catalog import Purchase
from components import boot_disk
from components.gce import images, names
from components.gce.network import cidr_range
from components.gce.vm import GpuVm, GpuVmArgs, run_seconds
from components.interface import ATTEMPT_LABEL, STACK_LABEL
from tests.recording import Recorded, Recording, record

ATTEMPT = "20261121t101010-123-abc123"
BASE = f"gpubench-{ATTEMPT}"
ACCOUNT = "gb-0a1b2c3d@my-project.iam.gserviceaccount.com"
ROLE = "projects/my-project/roles/gpubench_0a1b2c3d"
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c")


@dataclass(frozen=True)
class Family:
    machine_types: tuple[str, ...]
    accelerator: str | None
    gpus: float
    disk: str = "pd-balanced"
    card: str | None = None


FAMILIES = {
    "n1": Family(("n1-standard-4",), "nvidia-tesla-t4", 1),
    "g2": Family(("g2-standard-4", "g2-standard-8"), "nvidia-l4", 1),
    "a2": Family(("a2-highgpu-1g",), "nvidia-tesla-a100", 1),
    "a3": Family(("a3-highgpu-8g",), "nvidia-h100-80gb", 8, card="GVNIC"),
    "a3-ultra": Family(("a3-ultragpu-8g",), "nvidia-h200-141gb", 8, "hyperdisk-balanced", "GVNIC"),
    "g4-fraction": Family(("g4-standard-6",), "nvidia-rtx-pro-6000", 0.125, "hyperdisk-balanced", "GVNIC"),
    "cpu": Family(("n1-standard-8",), None, 0),
}
MODEL = {Purchase.ON_DEMAND: "STANDARD", Purchase.SPOT: "SPOT", Purchase.FLEX_START: "FLEX_START"}
EACH = [
    pytest.param(family, purchase, pinned, id=f"{family}-{purchase}-{'zone' if pinned else 'region'}")
    for family, purchase, pinned in itertools.product(FAMILIES, Purchase, (False, True))
]


def args_of(family: Family, purchase: Purchase, **changes: Any) -> GpuVmArgs:
    types = family.machine_types[:1] if purchase is Purchase.FLEX_START else family.machine_types
    made = GpuVmArgs(
        project="my-project",
        region="us-central1",
        zones=ZONES,
        machine_types=types,
        accelerator=family.accelerator,
        gpus=family.gpus,
        purchase=purchase,
        reservation="ours" if purchase is Purchase.RESERVED else None,
        max_seconds=5400.5,
        base_name=BASE,
        service_account=ACCOUNT,
        end_role=ROLE,
        metadata={"startup-script": "#!/bin/bash\n", "gpubench-image": "us-docker.pkg.dev/p/r/i@sha256:00"},
        labels={STACK_LABEL: "Team/Dev", ATTEMPT_LABEL: ATTEMPT},
        boot_disk_gb=150,
    )
    return replace(made, **changes)


def declared(args: GpuVmArgs, before: Callable[[], list[pulumi.Resource]] = list) -> Recording:
    def program() -> None:
        hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook("explain", lambda _: False)])
        GpuVm("capacity", replace(args, hooks=hooks, after=before()))

    return record(program)


def machine_of(recording: Recording) -> Recorded:
    """The instance, or the template that the group's is made of."""
    return (recording.of("Instance") or recording.of("RegionInstanceTemplate"))[0]


def disk_of(machine: Recorded) -> Mapping[str, Any]:
    """The boot disk, in the template's words."""
    if machine.type.endswith(":Instance"):
        boot = machine.inputs["bootDisk"]
        disk = boot["initializeParams"]
        return {
            "boot": True,
            "autoDelete": boot["autoDelete"],
            "sourceImage": disk["image"],
            "diskSizeGb": disk["size"],
            "diskType": disk["type"],
            "labels": disk["labels"],
        }
    (disk,) = machine.inputs["disks"]
    return dict(disk)


@pytest.mark.parametrize(("name", "purchase", "pinned"), EACH)
def test_a_machine_of_each_family_and_purchase(name: str, purchase: Purchase, pinned: bool) -> None:
    family = FAMILIES[name]
    types = family.machine_types[:1] if pinned else family.machine_types
    args = args_of(replace(family, machine_types=types), purchase, zones=ZONES[:1] if pinned else ZONES)
    recording = declared(args)
    single = pinned and purchase is not Purchase.FLEX_START
    machine = machine_of(recording)
    inputs, labels = machine.inputs, {STACK_LABEL: "team-dev", ATTEMPT_LABEL: ATTEMPT}

    assert machine.type.endswith(":Instance") is single
    assert inputs["machineType"] == types[0]
    assert inputs["labels"] == labels
    assert inputs["canIpForward"] is False

    # It ends, whatever happens, and leaves nothing.
    bound = name == "a3-ultra"
    assert inputs["scheduling"] == {
        "provisioningModel": MODEL.get(purchase) or ("RESERVATION_BOUND" if bound else "STANDARD"),
        "preemptible": purchase is Purchase.SPOT,
        "automaticRestart": False,
        "onHostMaintenance": "TERMINATE",
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": 5400},
    }
    assert disk_of(machine) == {
        "boot": True,
        "autoDelete": True,
        "sourceImage": images.BOOT_IMAGE,
        "diskSizeGb": 150,
        "diskType": family.disk,
        "labels": labels,
    }

    # The GPU.
    attached = [{"type": "nvidia-tesla-t4", "count": 1}] if name == "n1" else None
    assert inputs.get("guestAccelerators") == attached
    reserved = {"key": "compute.googleapis.com/reservation-name", "values": ["ours"]}
    assert inputs.get("reservationAffinity") == {
        Purchase.FLEX_START: {"type": "NO_RESERVATION"},
        Purchase.RESERVED: {"type": "SPECIFIC_RESERVATION", "specificReservation": reserved},
    }.get(purchase)

    # Nobody gets in, and it gets out to Google only.
    (interface,) = inputs["networkInterfaces"]
    assert set(interface) <= {"subnetwork", "nicType"}, "an access config is an external address"
    assert interface.get("nicType") == family.card
    assert inputs["serviceAccount"] == {
        "email": ACCOUNT,
        "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
    }
    assert inputs["shieldedInstanceConfig"] == {
        "enableSecureBoot": name == "cpu",
        "enableVtpm": True,
        "enableIntegrityMonitoring": True,
    }
    metadata = inputs["metadata"]
    assert metadata["enable-oslogin"] == metadata["block-project-ssh-keys"] == "TRUE"
    assert metadata["serial-port-enable"] == "FALSE"
    assert ("install-nvidia-driver" in metadata) is (name != "cpu")
    assert metadata["startup-script"] == "#!/bin/bash\n"

    # What asks for it.
    groups, requests = recording.of("RegionInstanceGroupManager"), recording.of("RegionResizeRequest")
    assert (len(groups), len(requests)) == (int(not single), int(purchase is Purchase.FLEX_START))
    if single:
        assert (inputs["name"], inputs["zone"], inputs["deletionProtection"]) == (BASE, "us-central1-a", False)
        assert machine.delete_before_replace
        return
    group = groups[0].inputs
    assert group["baseInstanceName"] == BASE
    assert group["distributionPolicyZones"] == list(args.zones)
    assert group["distributionPolicyTargetShape"] == ("ANY_SINGLE_ZONE" if requests else "ANY")
    assert group["targetSize"] == (0 if requests else 1)
    assert group["waitForInstances"] is False
    assert group["instanceLifecyclePolicy"] == {"defaultActionOnFailure": "DO_NOTHING"}
    assert group["updatePolicy"]["type"] == "OPPORTUNISTIC"
    assert group["updatePolicy"]["instanceRedistributionType"] == "NONE"
    ranked = [{"name": f"rank-{i}", "rank": i, "machineTypes": [one]} for i, one in enumerate(types, start=1)]
    several = len(types) > 1 and not requests
    assert group.get("instanceFlexibilityPolicy") == ({"instanceSelections": ranked} if several else None)
    assert groups[0].depends_on >= {machine.name}
    for request in requests:
        assert request.inputs["resizeBy"] == 1
        assert request.inputs["requestedRunDuration"] == {"seconds": "5400", "nanos": 0}
        assert groups[0].name in request.depends_on


@pytest.mark.parametrize("purchase", Purchase)
def test_every_child_has_its_parent_and_the_hooks_and_nothing_is_protected(purchase: Purchase) -> None:
    recording = declared(args_of(FAMILIES["g2"], purchase, nat=True))
    parents = {"gpubench:index:GpuVm": "gpubench-test", "gpubench:index:RunNetwork": "capacity"}
    inside = {"Network", "Subnetwork", "Router", "RouterNat"}
    for one in recording:
        kind = one.type.rpartition(":")[2]
        assert one.parent == parents.get(one.type, "capacity-network" if kind in inside else "capacity"), one.name
        assert one.on_error == (() if one.type in parents else ("explain",)), one.name
        assert not (one.protect or one.retain_on_delete or one.import_id), one.name
        assert set(one.ignore_changes) <= {"bootDisk", "disks"}, one.name  # a machine's, by the size of its image
    assert recording.registered_outputs.count("capacity") == recording.registered_outputs.count("capacity-network") == 1


def test_its_account_may_delete_its_own_machine_and_has_that_right_before_there_is_one() -> None:
    for zones in (ZONES, ZONES[:1]):
        recording = declared(args_of(FAMILIES["a2"], Purchase.SPOT, zones=zones))
        grant = recording.one("IAMMember")
        assert (grant.inputs["role"], grant.inputs["member"]) == (ROLE, f"serviceAccount:{ACCOUNT}")
        assert grant.inputs["project"] == "my-project"
        condition = grant.inputs["condition"]["expression"]
        assert condition == (
            'resource.type == "compute.googleapis.com/Instance" && '
            f'resource.name.extract("/instances/{{name}}").startsWith("{BASE}")'
        )
        asking = recording.of("Instance") + recording.of("RegionInstanceGroupManager")
        assert grant.name in asking[0].depends_on
    assert not declared(args_of(FAMILIES["a2"], Purchase.SPOT, end_role=None)).of("IAMMember")


def test_grants_are_in_place_before_a_machine_is_asked_for() -> None:
    def grants() -> list[pulumi.Resource]:
        import pulumi_gcp as gcp

        def member(name: str) -> gcp.projects.IAMMember:
            return gcp.projects.IAMMember(name, project="p", role="r", member="m")

        return [member("reader"), member("writer")]

    for zones in (ZONES, ZONES[:1]):
        recording = declared(args_of(FAMILIES["a2"], Purchase.ON_DEMAND, zones=zones), grants)
        asking = recording.of("Instance") + recording.of("RegionInstanceGroupManager")
        assert asking[0].depends_on >= {"reader", "writer"}


def test_its_own_network_lets_nothing_in_and_reaches_google_alone() -> None:
    recording = declared(args_of(FAMILIES["g2"], Purchase.SPOT))
    network, subnet = recording.one("Network"), recording.one("Subnetwork")
    assert network.inputs["autoCreateSubnetworks"] is False
    assert network.inputs["deleteDefaultRoutesOnCreate"] is False, "Private Google Access goes by the default route"
    assert subnet.inputs["privateIpGoogleAccess"] is True
    assert subnet.inputs["region"] == "us-central1"
    assert {"Firewall", "Router", "RouterNat", "Address"}.isdisjoint(one.type.rpartition(":")[2] for one in recording)
    (interface,) = machine_of(recording).inputs["networkInterfaces"]
    assert subnet.name in interface["subnetwork"]


def test_nat_is_an_option_and_is_there_before_the_machine() -> None:
    recording = declared(args_of(FAMILIES["g2"], Purchase.SPOT, nat=True))
    nat, subnet = recording.one("RouterNat"), recording.one("Subnetwork")
    assert nat.inputs["natIpAllocateOption"] == "AUTO_ONLY"
    assert nat.inputs["subnetworks"][0]["sourceIpRangesToNats"] == ["ALL_IP_RANGES"]
    assert subnet.name in nat.inputs["subnetworks"][0]["name"]
    assert nat.name in recording.one("RegionInstanceGroupManager").depends_on


def test_an_existing_subnet_is_used_as_it_is() -> None:
    link = "projects/shared/regions/us-central1/subnetworks/benchmarks"
    recording = declared(args_of(FAMILIES["g2"], Purchase.SPOT, subnet=link))
    assert machine_of(recording).inputs["networkInterfaces"] == [{"subnetwork": link}]
    assert not recording.of("Network")


def test_another_attempts_resources_are_others_but_for_the_network() -> None:
    first = declared(args_of(FAMILIES["a2"], Purchase.FLEX_START))
    second = declared(
        args_of(
            FAMILIES["a2"],
            Purchase.FLEX_START,
            base_name=names.base_name("20261121t111111-456-def456"),
            region="us-east1",
            zones=("us-east1-b",),
        )
    )
    both = {one.name for one in first} & {one.name for one in second}
    assert both == {"capacity", "capacity-network", "capacity-network-vpc"}
    assert first.one("Subnetwork").inputs["ipCidrRange"] != second.one("Subnetwork").inputs["ipCidrRange"]


def test_no_two_regions_have_one_range() -> None:
    regions = {region for offer in catalog.offers(surface="gce") for region in offer.regions}
    assert len(regions) > 20
    assert len({cidr_range(region) for region in regions}) == len(regions)


def test_how_long_a_machine_may_run() -> None:
    assert run_seconds(Purchase.SPOT, 60) == 600
    assert run_seconds(Purchase.FLEX_START, 7 * 86400) == 604800
    with pytest.raises(pulumi.RunError, match="at most 168 hours"):
        run_seconds(Purchase.FLEX_START, 7 * 86400 + 1)
    assert run_seconds(Purchase.ON_DEMAND, 8 * 86400) == 691200


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no zone": ({"zones": ()}, "no zone of us-central1"),
    "another region's zone": ({"zones": ("us-east1-b",)}, "not in us-central1"),
    "mixed families": ({"machine_types": ("g2-standard-4", "g4-standard-48")}, "no one group"),
    "a reservation for spot": ({"reservation": "ours"}, "if, and only if"),
    "reserved without one": ({"purchase": Purchase.RESERVED}, "if, and only if"),
    "flex-start of several": ({"purchase": Purchase.FLEX_START}, "one machine type"),
    "n1 without its accelerator": ({"machine_types": ("n1-standard-4",), "accelerator": None}, "accelerator"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_itself_is_refused(case: str) -> None:
    changes, words = REFUSED[case]
    with pytest.raises(pulumi.RunError, match=words):
        declared(replace(args_of(FAMILIES["g2"], Purchase.SPOT), **changes))


def test_names_and_labels_are_what_google_accepts() -> None:
    assert names.base_name(ATTEMPT) == BASE
    assert len(f"{BASE}-xxxx") <= 63
    for bad in ("a" * 60, "under_score", "ends-"):
        with pytest.raises(ValueError, match="no name"):
            names.base_name(bad)
    assert 6 <= len(names.service_account_id("dev", "p")) <= 30
    assert names.service_account_id("dev", "p") != names.service_account_id("dev", "q")
    assert names.labels({"Team": "A B", "1st": "x" * 80}) == {"team": "a-b", "x-1st": "x" * 63}


def test_the_disk_holds_the_image() -> None:
    found = [boot_disk.size_gb(gb, system_gb=images.SYSTEM_GB) for gb in (None, 0.5, 12.4, 40)]
    assert found == [200, 100, 100, 200]


def test_a_secret_among_the_metadata_stays_one() -> None:
    def program() -> None:
        metadata = {"gpubench-secrets": pulumi.Output.secret("NAME=projects/p/secrets/s/versions/1")}
        GpuVm("capacity", args_of(FAMILIES["g2"], Purchase.SPOT, metadata=metadata))

    template = record(program).one("RegionInstanceTemplate")
    assert template.inputs["metadata"]["gpubench-secrets"].startswith("NAME=")
    assert template.secrets == {"metadata"}
