"""What a resource asks for: which machine, where, how bought and how many, read out of a provider's inputs.

Inputs arrive as Pulumi sends them: camelCase, numbers that may be floats, references that may be links, ids or names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import catalog
from catalog import Offer, Purchase, repositories
from engine.simulated.grants import ACCOUNT, PROJECT

Find = Callable[[str, str], Mapping[str, Any] | None]
"""Inputs of another resource, by (a part of its type token, a reference)."""

GPU_LIMIT = "nvidia.com/gpu"


@dataclass(frozen=True)
class Shape:
    """A machine shape. ``offer`` None: one that the catalogue doesn't have (a small VM): always there, never billed."""

    surface: str
    machine_type: str
    tier: str
    gpus: float
    accelerator: str | None
    offer: Offer | None


@dataclass(frozen=True)
class Ask:
    """Machines that a resource wants.

    ``zones``: those that it may use, in the catalogue's names; empty: all of the region that have a shape.
    ``searches``: it goes on to the next zone by itself. ``most``: how far it scales up for a run; None: it doesn't.
    ``refills``: what was lost is replaced. ``image`` None: not said here. ``waits_s``: how long its creation waits for
    machines; 0: not.
    """

    surface: str
    region: str
    shapes: tuple[Shape, ...]
    purchase: str
    size: int
    project: str | None = None
    zones: tuple[str, ...] = ()
    searches: bool = True
    most: int | None = None
    refills: bool = True
    max_seconds: float | None = None
    service_account: str | None = None
    image: str | None = None
    waits_s: float = 0.0
    instances: int = 1  # Cloud Run: what the quota is checked against
    redundant: bool = False  # Cloud Run: GPUs with zonal redundancy
    is_job: bool = False


@lru_cache(maxsize=4096)
def shape(surface: str, machine_type: str, accelerator: str | None = None, count: float = 0) -> Shape:
    """Of a machine type, with the accelerators that are attached to it, if any are."""
    found = catalog.offers(surface=surface, machine_type=machine_type)
    if accelerator:
        # Where the machine brings its accelerators along, naming them (as GKE wants) doesn't change how many.
        found = tuple(o for o in found if o.accelerator == accelerator and (o.gpus == count or not _attached(o)))
    else:
        found = tuple(o for o in found if o.gpus == 0 or not _attached(o))
    if not found:
        return Shape(surface, machine_type, "cpu", count, accelerator, None)
    offer = found[0]
    return Shape(surface, machine_type, offer.tier, offer.gpus, offer.accelerator, offer)


def _attached(offer: Offer) -> bool:
    """N1 machines come without accelerators; on other types they are part of the machine."""
    return offer.machine_type.startswith("n1-")


def attempt_key(attempt: str) -> str:
    """An attempt's id as a label of Google's can hold it: lower case letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^a-z0-9_-]", "-", attempt.lower())[:63]


def labels_of(type_token: str, inputs: Mapping[str, Any], find: Find) -> dict[str, str]:
    """The labels or tags that what a resource makes will bear, its own deciding."""
    found: dict[str, str] = {}
    if "ResizeRequest" in type_token:
        group = find("nstanceGroupManager", str(inputs.get("instanceGroupManager") or ""))
        return labels_of("InstanceGroupManager", group, find) if group else found
    if "nstanceGroupManager" in type_token:
        template = _template(inputs, find)
        found.update(_texts((template or {}).get("labels")))
    if "clusterCapacityProviders" in type_token:
        found.update(_texts((find("ecs/cluster:", str(inputs.get("clusterName") or "")) or {}).get("tags")))
    node = inputs.get("nodeConfig")
    if isinstance(node, Mapping):
        found.update(_texts(node.get("resourceLabels")))
        found.update(_texts(node.get("labels")))
    template = inputs.get("template")
    if isinstance(template, Mapping):
        found.update(_texts(template.get("labels")))
    for specification in _items(inputs.get("tagSpecifications")):
        found.update(_texts(specification.get("tags")))
    for key in ("resourceLabels", "labels", "tags"):
        found.update(_texts(inputs.get(key)))
    metadata = inputs.get("metadata")
    if isinstance(metadata, Mapping):
        found.update(_texts(metadata.get("labels")))
    return found


def _texts(value: object) -> dict[str, str]:
    """Labels as a mapping, or as AWS's list of key and value."""
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items() if isinstance(v, str)}
    if isinstance(value, list | tuple):
        return {str(t["key"]): str(t.get("value", "")) for t in value if isinstance(t, Mapping) and "key" in t}
    return {}


def ask_of(type_token: str, inputs: Mapping[str, Any], find: Find) -> Ask | None:
    """What a resource asks for; None for one that holds no machines."""
    kind = type_token.rpartition(":")[2]
    readers: dict[str, Callable[[Mapping[str, Any], Find], Ask | None]] = {
        "Instance": _instance,
        "InstanceGroupManager": _group,
        "RegionInstanceGroupManager": _group,
        "NodePool": _node_pool,
        "Job": _run_job,
        "Service": _run_service,
        "Group": _auto_scaling_group,
    }
    if type_token.startswith("aws:ecs/service:"):
        return _fargate_service(inputs, find)
    if type_token.startswith("aws:ecs/clusterCapacityProviders:"):
        return _fargate_cluster(inputs, find)
    if type_token.startswith("aws:ecs/capacityProvider:"):
        return _managed_instances(inputs)
    if not type_token.startswith(("gcp:", "aws:autoscaling/group:")):
        return None
    return readers[kind](inputs, find) if kind in readers else None


# Google


def _instance(inputs: Mapping[str, Any], _: Find) -> Ask:
    zone = _last(inputs.get("zone")) or "us-central1-a"
    return _of_template(inputs, region_of(zone, "gce"), (zone,), 1, project=inputs.get("project"), refills=False)


def _group(inputs: Mapping[str, Any], find: Find) -> Ask:
    template = _template(inputs, find) or {}
    zone = _last(inputs.get("zone"))
    region = _last(inputs.get("region")) or (region_of(zone, "gce") if zone else "us-central1")
    zones = (zone,) if zone else tuple(_last(z) for z in _list(inputs.get("distributionPolicyZones")))
    policy = inputs.get("instanceLifecyclePolicy")
    action = policy.get("defaultActionOnFailure") if isinstance(policy, Mapping) else None
    flexible = _mapping(inputs.get("instanceFlexibilityPolicy"))
    ranked = sorted(_items(flexible.get("instanceSelections")), key=lambda s: _number(s.get("rank")) or 0)
    types = tuple(_last(t) for selection in ranked for t in _list(selection.get("machineTypes")))
    ask = _of_template(
        template,
        region,
        zones,
        int(_number(inputs.get("targetSize")) or 0),
        project=inputs.get("project"),
        refills=action != "DO_NOTHING",
        types=types,
    )
    # ANY and BALANCED look where there is capacity; EVEN, the default, spreads and stays with its zones.
    target = inputs.get("distributionPolicyTargetShape") or "EVEN"
    waits = 15 * 60.0 if inputs.get("waitForInstances") else 0.0  # the provider's default time-out of a creation
    return replace(ask, searches=bool(zone) or target in ("ANY", "ANY_SINGLE_ZONE", "BALANCED"), waits_s=waits)


def _template(inputs: Mapping[str, Any], find: Find) -> Mapping[str, Any] | None:
    for version in _items(inputs.get("versions")):
        if version.get("instanceTemplate"):
            return find("nstanceTemplate", str(version["instanceTemplate"]))
    return None


def _of_template(
    template: Mapping[str, Any],
    region: str,
    zones: tuple[str, ...],
    size: int,
    *,
    project: object,
    refills: bool,
    types: tuple[str, ...] = (),
) -> Ask:
    scheduling = _mapping(template.get("scheduling"))
    attached = next(iter(_items(template.get("guestAccelerators"))), {})
    accelerator = _last(attached.get("type")) or None
    count = _number(attached.get("count")) or 0
    machine_types = types or (_last(template.get("machineType")) or "e2-medium",)
    limit = _number(_mapping(scheduling.get("maxRunDuration")).get("seconds"))
    account = _mapping(template.get("serviceAccount")).get("email")
    metadata, script = _mapping(template.get("metadata")), str(template.get("metadataStartupScript") or "")
    return Ask(
        surface="gce",
        region=region,
        shapes=tuple(shape("gce", t, accelerator, count) for t in machine_types),
        purchase=_purchase(
            _mapping(template.get("reservationAffinity")).get("type"),
            scheduling.get("provisioningModel"),
            bool(scheduling.get("preemptible")),
        ),
        size=size,
        project=_optional(project),
        zones=zones,
        refills=refills,
        max_seconds=limit,
        service_account=_optional(account),
        image=_optional(metadata.get("gpubench-image")) or _image_in(" ".join([*map(str, metadata.values()), script])),
    )


def _purchase(reservation: object, model: object, preemptible: bool) -> str:
    if reservation == "SPECIFIC_RESERVATION":
        return Purchase.RESERVED.value
    known = {"SPOT": Purchase.SPOT, "FLEX_START": Purchase.FLEX_START, "RESERVATION_BOUND": Purchase.RESERVED}
    return known.get(str(model), Purchase.SPOT if preemptible else Purchase.ON_DEMAND).value


def _node_pool(inputs: Mapping[str, Any], find: Find) -> Ask:
    node = _mapping(inputs.get("nodeConfig"))
    cluster = find("container/cluster:Cluster", str(inputs.get("cluster") or "")) or {}
    location = _last(inputs.get("location") or cluster.get("location")) or "us-central1"
    zonal = bool(re.search(r"-[a-z]$", location))
    region = region_of(location, "gke") if zonal else location
    zones = tuple(_last(z) for z in _list(inputs.get("nodeLocations"))) or ((location,) if zonal else ())
    attached = next(iter(_items(node.get("guestAccelerators"))), {})
    scaling = _mapping(inputs.get("autoscaling"))
    least = _number(scaling.get("minNodeCount")) or _number(scaling.get("totalMinNodeCount")) or 0
    most = _number(scaling.get("totalMaxNodeCount")) or _number(scaling.get("maxNodeCount"))
    given = _number(inputs.get("nodeCount"))
    first = given if given is not None else _number(inputs.get("initialNodeCount"))
    if first is None:
        first = least if scaling else 3  # GKE's default size of a pool
    if node.get("flexStart") or _mapping(inputs.get("queuedProvisioning")).get("enabled"):
        purchase = Purchase.FLEX_START
    else:
        purchase = Purchase.SPOT if node.get("spot") or node.get("preemptible") else Purchase.ON_DEMAND
    limit = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(node.get("maxRunDuration") or ""))
    return Ask(
        surface="gke",
        region=region,
        shapes=(
            shape(
                "gke",
                _last(node.get("machineType")) or "e2-medium",
                _last(attached.get("type")) or None,
                _number(attached.get("count")) or 0,
            ),
        ),
        purchase=purchase.value,
        size=int(first),
        project=_optional(inputs.get("project")),
        zones=zones,
        most=int(most) if most is not None else None,
        max_seconds=float(limit[1]) if limit else None,
        service_account=_optional(node.get("serviceAccount")),
    )


def _run_job(inputs: Mapping[str, Any], _: Find) -> Ask:
    outer = _mapping(inputs.get("template"))
    inner = _mapping(outer.get("template"))
    at_once = _number(outer.get("parallelism")) or _number(outer.get("taskCount")) or 1
    limit = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(inner.get("timeout") or "600s"))  # Cloud Run's default: 10 minutes
    ask = _cloud_run(inputs, inner, size=0, instances=int(at_once))
    return replace(ask, most=int(at_once), max_seconds=float(limit[1]) if limit else None, is_job=True)


def _run_service(inputs: Mapping[str, Any], _: Find) -> Ask:
    template = _mapping(inputs.get("template"))
    scaling, outer = _mapping(template.get("scaling")), _mapping(inputs.get("scaling"))
    least = _number(scaling.get("minInstanceCount")) or _number(outer.get("minInstanceCount")) or 0
    if outer.get("scalingMode") == "MANUAL":
        least = _number(outer.get("manualInstanceCount")) or 0
    most = _number(scaling.get("maxInstanceCount")) or 3  # Cloud Run's default for services with a GPU
    return replace(_cloud_run(inputs, template, size=int(least), instances=int(most)), most=int(most))


def _cloud_run(inputs: Mapping[str, Any], template: Mapping[str, Any], size: int, instances: int) -> Ask:
    container = next(iter(_items(template.get("containers"))), {})
    limits = _mapping(_mapping(container.get("resources")).get("limits"))
    accelerator = _last(_mapping(template.get("nodeSelector")).get("accelerator"))
    gpus = _number(limits.get(GPU_LIMIT)) or (1 if accelerator else 0)
    if gpus:
        # A GPU without a selector is an L4: the only one that Cloud Run had before there was a choice.
        found = shape("cloud-run", accelerator or "nvidia-l4")
    else:
        cpu = _cores(limits.get("cpu"))
        sold = catalog.offers(surface="cloud-run", tier="cpu")
        fits = [o for o in sold if o.vcpu >= cpu] or list(sold[-1:])
        found = shape("cloud-run", fits[0].machine_type)
    return Ask(
        surface="cloud-run",
        region=_last(inputs.get("location")) or "us-central1",
        shapes=(found,),
        purchase=Purchase.ON_DEMAND.value,
        size=size,
        project=_optional(inputs.get("project")),
        service_account=_optional(template.get("serviceAccount")),
        image=_optional(container.get("image")),
        instances=instances,
        redundant=bool(gpus) and not template.get("gpuZonalRedundancyDisabled"),
    )


def _cores(value: object) -> float:
    """``4``, ``4.0`` or ``4000m``."""
    text = str(value or 1)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


# AWS


def _auto_scaling_group(inputs: Mapping[str, Any], find: Find) -> Ask:
    mixed = _mapping(inputs.get("mixedInstancesPolicy"))
    specification = _mapping(_mapping(mixed.get("launchTemplate")).get("launchTemplateSpecification"))
    plain = _mapping(inputs.get("launchTemplate"))
    reference = str(
        specification.get("launchTemplateId")
        or specification.get("launchTemplateName")
        or plain.get("id")
        or plain.get("name")
        or ""
    )
    template = find("LaunchTemplate", reference) or {}
    overrides = _items(_mapping(mixed.get("launchTemplate")).get("overrides"))
    types = [str(o["instanceType"]) for o in overrides if o.get("instanceType")]
    types = types or [str(template.get("instanceType") or "t3.micro")]
    spread = _mapping(mixed.get("instancesDistribution"))
    above = _number(spread.get("onDemandPercentageAboveBaseCapacity"))
    market = _mapping(template.get("instanceMarketOptions")).get("marketType")
    spot = market == "spot" or (bool(spread) and (100 if above is None else above) == 0)
    zones: list[str] = [str(z) for z in _list(inputs.get("availabilityZones"))]
    for subnet in _list(inputs.get("vpcZoneIdentifiers")):
        found = find("ec2/subnet:Subnet", str(subnet)) or {}
        zone = found.get("availabilityZoneId") or found.get("availabilityZone")
        if zone:
            zones.append(str(zone))
    region = str(inputs.get("region") or template.get("region") or "")
    region = region or next((r for r in (region_of(z, "ecs") for z in zones) if r), "us-east-1")
    least = _number(inputs.get("minSize")) or 0
    wanted = _number(inputs.get("desiredCapacity"))
    account = _mapping(template.get("iamInstanceProfile")).get("arn")
    waits = str(inputs.get("waitForCapacityTimeout") or "10m")  # the provider's default
    return Ask(
        surface="ecs",
        region=region,
        shapes=tuple(shape("ecs", t) for t in types),
        purchase=(Purchase.SPOT if spot else Purchase.ON_DEMAND).value,
        size=int(least if wanted is None else wanted),
        zones=tuple(dict.fromkeys(zone_id(z, region) for z in zones)),
        service_account=_optional(account) if ":role/" in str(account) else None,
        waits_s=0.0 if inputs.get("ignoreFailedScalingActivities") else _seconds(waits),
    )


def _fargate_service(inputs: Mapping[str, Any], find: Find) -> Ask | None:
    """A service that runs on Fargate; one on container instances holds no machine of its own."""
    providers = [str(s.get("capacityProvider")) for s in _items(inputs.get("capacityProviderStrategies"))]
    if inputs.get("launchType") != "FARGATE" and not any(p.startswith("FARGATE") for p in providers):
        return None
    task = find("taskDefinition:TaskDefinition", str(inputs.get("taskDefinition") or "")) or {}
    cores = float(_number(task.get("cpu")) or 1024) / 1024
    sold = catalog.offers(surface="ecs", tier="cpu")
    fits = [o for o in sold if o.vcpu >= cores] or list(sold[-1:])
    return Ask(
        surface="ecs",
        region=str(inputs.get("region") or "us-east-1"),
        shapes=(shape("ecs", fits[0].machine_type),),
        purchase=(Purchase.SPOT if "FARGATE_SPOT" in providers else Purchase.ON_DEMAND).value,
        size=int(_number(inputs.get("desiredCount")) or 0),
        service_account=_optional(task.get("executionRoleArn")),
        image=task_image(task),
    )


def _fargate_cluster(inputs: Mapping[str, Any], find: Find) -> Ask | None:
    """A cluster whose tasks run on Fargate, a machine for each that waits. The task is named like the cluster."""
    strategy = [str(s.get("capacityProvider")) for s in _items(inputs.get("defaultCapacityProviderStrategies"))]
    if not any(provider.startswith("FARGATE") for provider in strategy):
        return None
    task = str(inputs.get("clusterName") or "")
    service = {"region": inputs.get("region"), "desiredCount": 0, "launchType": "FARGATE", "taskDefinition": task}
    strategies = [{"capacityProvider": provider} for provider in strategy]
    ask = _fargate_service({**service, "capacityProviderStrategies": strategies}, find)
    return replace(ask, most=1) if ask else None


def _managed_instances(inputs: Mapping[str, Any]) -> Ask | None:
    """A capacity provider that starts machines of EC2 by itself, one for each task that waits."""
    template = _mapping(_mapping(inputs.get("managedInstancesProvider")).get("instanceLaunchTemplate"))
    types = [str(t) for t in _list(_mapping(template.get("instanceRequirements")).get("allowedInstanceTypes"))]
    if not types:
        return None
    spot = template.get("capacityOptionType") == "SPOT"
    return Ask(
        surface="ecs",
        region=str(inputs.get("region") or "us-east-1"),
        shapes=tuple(shape("ecs", t) for t in types),
        purchase=(Purchase.SPOT if spot else Purchase.ON_DEMAND).value,
        size=0,
        most=1,
    )


def task_image(task: Mapping[str, Any]) -> str | None:
    """The image of a task definition's first container."""
    try:
        containers = json.loads(str(task.get("containerDefinitions") or "[]"))
    except ValueError:
        return None
    return _optional(containers[0].get("image")) if containers and isinstance(containers[0], Mapping) else None


def _seconds(text: str) -> float:
    """``10m``, ``1h30m``, ``0``."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    return sum(float(n) * units[u] for n, u in re.findall(r"(\d+(?:\.\d+)?)([hms])", text))


# Zones


@lru_cache(maxsize=512)
def region_of(zone: str, surface: str) -> str:
    """The region of a zone's name or id; "" for an id that the catalogue doesn't know."""
    known = catalog.region_of_zone(surface, zone)
    if known:
        return known
    if surface != "ecs":
        return zone.rpartition("-")[0]
    return "" if re.search(r"-az\d+$", zone) else zone[:-1]


@lru_cache(maxsize=128)
def _ids(region: str) -> tuple[str, ...]:
    return tuple(z for z in catalog.zones("ecs", region) if re.fullmatch(r"[a-z0-9]+-az\d+", z))


def zone_id(zone: str, region: str) -> str:
    """The id of an EC2 zone. Names are dealt out anew in each account; in this one ``a`` is ``az1``, and so on."""
    ids = _ids(region)
    if ids and zone.startswith(region) and len(zone) == len(region) + 1:
        return f"{ids[0].rpartition('az')[0]}az{ord(zone[-1]) - ord('a') + 1}"
    return zone


def zone_name(zone: str, region: str) -> str:
    """The name of an EC2 zone, as its messages have it; local zones keep their id."""
    found = re.fullmatch(r"[a-z0-9]+-az(\d+)", zone)
    return f"{region}{chr(ord('a') + int(found[1]) - 1)}" if found else zone


# Values


def _mapping(value: object) -> Mapping[str, Any]:
    """A block; providers send some of them as a list of one."""
    if isinstance(value, list | tuple):
        value = value[0] if value else {}
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        return [value]
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list | tuple) else []


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else []


def _number(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _last(value: object) -> str:
    """The name at the end of a link."""
    return str(value).rstrip("/").rpartition("/")[2] if value else ""


def _optional(value: object) -> str | None:
    return str(value) if value else None


_IMAGE = re.compile(
    r"(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io|\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com)/[^\s\"'\\,]+"
)


def _image_in(text: str) -> str | None:
    """The first image of a cloud's registry in a start-up script."""
    found = _IMAGE.search(text)
    return found[0] if found else None


def repository_of(image: str) -> tuple[str, str, str] | None:
    """Owner (project or account), location and repository of an image in a cloud's registry; None for others'."""
    if (google := repositories.repository_of(image)) is not None:
        return google.project, google.location, google.name
    host, _, path = image.partition("/")
    found = re.fullmatch(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com", host)
    return (found[1], found[2], path.partition("@")[0].partition(":")[0]) if found else None


def in_registry(image: str | None, surface: str, project: str | None, region: str | None) -> str:
    """Where an image is pulled from: one without a registry (or none) is the project's own, in its usual repository."""
    name = image or "workload"
    if "/" in name:
        return name
    if surface == "ecs":
        return f"{ACCOUNT}.dkr.ecr.{region or 'us-east-1'}.amazonaws.com/gpubench/{name}"
    return f"{region or 'us'}-docker.pkg.dev/{project or PROJECT}/gpubench/{name}"
