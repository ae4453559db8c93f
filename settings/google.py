"""``gpubench:registry``, and the key of Google Cloud's own: ``gpubench:google``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import catalog
from catalog import Purchase, Surface
from catalog.repositories import LEGACY_HOSTS
from placement.ladder import Rung
from settings import amazon
from settings.credentials import looks_like_credential, shown_key
from settings.mistakes import TOLD, Mistakes, did_you_mean, one_of, shown
from settings.model import (
    BOOT_DISK_GB,
    GOOGLE_SURFACES,
    MAX_QUOTA_LIMIT,
    MIN_JUSTIFICATION,
    PROJECT,
    Google,
    QuotaIncrease,
)
from settings.shapes import GoogleShape, QuotaIncreaseShape, take_shape

_PROJECT = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"
PROJECT_ID = rf"(?:[a-z0-9.-]+:)?{_PROJECT}"
"""An id as most projects have, or one of a domain's project (``example.com:my-project``)."""

_NAME = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
# Of subnetworks: https://cloud.google.com/compute/docs/reference/rest/v1/subnetworks. Of repositories: what gcloud
# accepts for `artifacts repositories create`; at most 63 as of all of Google's ids (https://google.aip.dev/122).
_REGION = r"[a-z]+-[a-z]+[0-9]+"
_MULTI_REGIONS = ("us", "europe", "asia")
# Regions are known by their form alone: Artifact Registry is in more of them than GPUs are, and new ones come.
# https://cloud.google.com/artifact-registry/docs/repositories/repo-locations
_REGISTRY = f"LOCATION-docker.pkg.dev/PROJECT/REPOSITORY, or {amazon.ECR}"
_SUBNET = "a subnetwork's name, or projects/PROJECT/regions/REGION/subnetworks/NAME"
_QUOTA_ID = r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}"
_NO_DIMENSIONS = ("region", "user", "resource")
# Google takes no values for the last two
# (https://cloud.google.com/docs/quotas/reference/rest/v1/projects.locations.quotaPreferences).


def read_registry(parsed: Mapping[str, object], mistakes: Mistakes) -> str | None:
    """``gpubench:registry``: the repository, as images' names begin; None if there is none."""
    value, path = parsed.get("registry"), f"{PROJECT}:registry"
    if "registry" not in parsed or value is TOLD:
        return None
    if not isinstance(value, str) or not value:
        mend = "write one text, or remove the key"
        mistakes.add(path, "an empty text" if value == "" else shown(value), _REGISTRY, mend)
        return None
    host, _, rest = value.partition("/")
    location = host.removesuffix("-docker.pkg.dev")
    project, _, repository = rest.rpartition("/")
    if looks_like_credential(value):
        mistakes.add(path, shown(value), _REGISTRY, "write it without a login")
    elif "://" in value:
        mistakes.add(path, shown(value), _REGISTRY, "write it without a scheme")
    elif amazon.is_ecr(host):
        amazon.check_ecr(value, path, mistakes)
    elif host in LEGACY_HOSTS:
        where = LEGACY_HOSTS[host]
        mend = f"Container Registry takes no images any more: write {where}-docker.pkg.dev/PROJECT/REPOSITORY"
        mistakes.add(path, shown(value), _REGISTRY, mend)
    elif location == host:
        mend = "the key names the repository that gpubench keeps its own image in; images of other registries are "
        mistakes.add(path, shown(value), _REGISTRY, mend + "named in benchmark.image")
    elif location not in _MULTI_REGIONS and not re.fullmatch(_REGION, location):
        mend = "did you mean europe?" if location == "eu" else did_you_mean(location, catalog.regions(Surface.GCE))
        mistakes.add(path, shown(value), f"{_REGISTRY}; LOCATION is a region, {one_of(_MULTI_REGIONS)}", mend)
    elif not repository or not re.fullmatch(rf"(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+/)?{_PROJECT}", project):
        _tell_path(value, rest, mistakes, path)
    elif not re.fullmatch(_NAME, repository):
        allowed = f"{_REGISTRY}; REPOSITORY is a letter a-z, then a-z 0-9 -, no - at the end, at most 63"
        tag = re.fullmatch(rf"({_NAME})[:@].*", repository)
        mend = f"write the repository without a tag: {tag[1]}" if tag else "mend the repository's name"
        mistakes.add(path, shown(value), allowed, mend)
    return value


def _tell_path(value: str, rest: str, mistakes: Mistakes, path: str) -> None:
    """Neither ``PROJECT/REPOSITORY`` nor ``DOMAIN/PROJECT/REPOSITORY``."""
    parts = rest.split("/")
    if "" in parts[:-1] or len(parts) < 2 or not parts[1]:
        mend = "name the project and the repository"
    elif parts[-1] == "":
        mend = "remove the / at the end"
    elif ":" in parts[0] and re.fullmatch(PROJECT_ID, parts[0]):
        mend = f"write the domain's project with a slash, as in images' names: {parts[0].replace(':', '/')}"
    elif re.fullmatch(_PROJECT, parts[0]) and re.fullmatch(_NAME, parts[1]) and len(parts) > 2:
        mend = f"write the repository alone, without an image's name: {value.partition('/')[0]}/{parts[0]}/{parts[1]}"
    else:
        mend = "write the project's id (`gcloud projects list` shows it), not the name or the number"
    mistakes.add(path, shown(value), _REGISTRY, mend)


def read_google(parsed: Mapping[str, object], ladder: Sequence[Rung] | None, mistakes: Mistakes) -> Google:
    """``gpubench:google``. ``ladder``: None if it has a mistake; then nothing is held against it."""
    path = f"{PROJECT}:google"
    config, _ = take_shape(GoogleShape, parsed.get("google", {}), path, mistakes)
    if config.subnet is not None:
        _check_subnet(config.subnet, ladder, f"{path}.subnet", mistakes)
    disk, (low, high) = config.boot_disk_gb, BOOT_DISK_GB
    if disk is not None and not low <= disk <= high:
        mend = f"the machine's image alone needs {low} GB" if disk < low else "is the number in GB?"
        mistakes.add(f"{path}.boot_disk_gb", shown(disk), f"{low} to {high:,} GB", mend)
    return Google(
        subnet=config.subnet,
        nat=bool(config.nat),
        boot_disk_gb=disk,
        quota_increases=_quota_increases(config.quota_increases, ladder, f"{path}.quota_increases", mistakes),
    )


def tell_flex_start(rung: Rung, where: str, mistakes: Mistakes) -> None:
    """Compute Engine's flex-start takes one machine type: a resize request can't choose."""
    if rung.surface == Surface.GCE and rung.purchase == Purchase.FLEX_START and len(rung.machine_types) > 1:
        value = f"{' and '.join(rung.machine_types)} with flex-start"
        mend = "give each machine type an entry of its own, or name another purchase"
        mistakes.add(f"{where}.machine_types", value, "one machine type with flex-start on gce", mend)


def _check_subnet(subnet: str, ladder: Sequence[Rung] | None, where: str, mistakes: Mistakes) -> None:
    full = re.fullmatch(rf"projects/{PROJECT_ID}/regions/({_REGION})/subnetworks/({_NAME})", subnet)
    if full:
        regions = list(dict.fromkeys(str(r.place.region) for r in ladder or () if r.surface == Surface.GCE))
        if len(regions) > 1:
            allowed = f"a name alone, as the ladder's rungs on gce are in several regions ({one_of(regions)})"
            mend = f"write subnet: {shown_key(full[2])}, and have a subnetwork of that name in each region"
            mistakes.add(where, shown(subnet), allowed, mend)
    elif not re.fullmatch(_NAME, subnet):
        if "projects/" in subnet.partition("://")[2]:
            mend = "write the link from projects/ on"
        elif subnet.startswith("regions/"):
            mend = "write projects/PROJECT/ before it, or the name alone"
        else:
            mend = "write the name as `gcloud compute networks subnets list` shows it"
        mistakes.add(where, shown(subnet) if subnet else "an empty text", _SUBNET, mend)


def _quota_increases(
    raw: list[object] | None, ladder: Sequence[Rung] | None, path: str, mistakes: Mistakes
) -> tuple[QuotaIncrease, ...]:
    if raw is None:
        return ()
    if not raw:
        mistakes.add(path, "an empty list", "at least one increase", "name one, or remove quota_increases")
    rungs = [rung for rung in ladder or () if rung.surface in GOOGLE_SURFACES]
    if raw and ladder is not None and not rungs:
        allowed = f"quota increases with a rung on {one_of(GOOGLE_SURFACES)}"
        mistakes.add(path, f"{shown(raw)}, and no rung on Google Cloud", allowed, "remove them, or add such a rung")
    projects = list(dict.fromkeys(str(rung.place.project) for rung in rungs))
    found: list[QuotaIncrease] = []
    for index, one in enumerate(raw):
        where, before = f"{path}[{index}]", len(mistakes)
        increase = _quota_increase(one, projects, where, mistakes)
        if increase is None or len(mistakes) > before:
            continue
        same = [(other.project, other.quota_id, other.region, other.dimensions) for other in found]
        if (increase.project, increase.quota_id, increase.region, increase.dimensions) in same:
            value = f"{shown(increase.quota_id)} again"
            mistakes.add(where, value, "each quota, of one project and region, once", "remove one of them")
        found.append(increase)
    return tuple(found)


def _quota_increase(raw: object, projects: Sequence[str], path: str, mistakes: Mistakes) -> QuotaIncrease | None:
    """One request; None if it isn't a mapping. ``projects``: those of the ladder's rungs on Google Cloud."""
    config, bad = take_shape(QuotaIncreaseShape, raw, path, mistakes)
    if not isinstance(raw, Mapping):
        return None
    for key, value, what, mend in (
        ("quota_id", config.quota_id, "a quota's id", "name it, as `gpubench plan` does where a quota is too low"),
        ("limit", config.limit, "a whole number, more than 0", "write the whole limit that you ask for"),
        ("email", config.email, "an e-mail address", "Google asks and answers there; an increase needs one"),
        ("justification", config.justification, "a text", "Google's people read it: say what the quota is for"),
    ):
        if value is None and key not in bad:
            mistakes.add(f"{path}.{key}", "missing", what, mend)
    _check_quota_id(config.quota_id, f"{path}.quota_id", mistakes)
    limit, email, why = config.limit, config.email, config.justification
    if limit is not None and not 0 < limit <= MAX_QUOTA_LIMIT:
        mend = "write the whole limit that you ask for, in the quota's own unit"
        mistakes.add(f"{path}.limit", shown(limit), f"1 to {MAX_QUOTA_LIMIT:,}", mend)
    if email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email):
        mistakes.add(f"{path}.email", shown(email), "an e-mail address", "write one, as in you@example.com")
    if why is not None and len(why.strip()) < MIN_JUSTIFICATION:
        mend = "Google's people read it: say what the quota is for"
        mistakes.add(f"{path}.justification", shown(why), f"at least {MIN_JUSTIFICATION} characters", mend)
    if config.region is not None and not re.fullmatch(_REGION, config.region):
        zone = re.fullmatch(rf"({_REGION})-[a-z]", config.region)
        mend = f"write region: {zone[1]}" if zone else did_you_mean(config.region, catalog.regions(Surface.GCE))
        mistakes.add(f"{path}.region", shown(config.region), "one region, as us-central1", mend)
    for name, value in (config.dimensions or {}).items():
        where = f"{path}.dimensions.{shown_key(name)}"
        if name in _NO_DIMENSIONS:
            mend = "write region: beside dimensions" if name == "region" else "remove it: Google takes none"
            mistakes.add(where, shown(value), f"dimensions other than {one_of(_NO_DIMENSIONS)}", mend)
        elif not name or not value:
            mistakes.add(where, shown(value), "a name and its value", "write both, as in gpu_family: NVIDIA_H100")
    project = _project_of(config.project, "project" in bad, projects, f"{path}.project", mistakes)
    return QuotaIncrease(
        quota_id=config.quota_id or "",
        limit=limit or 0,
        email=email or "",
        justification=(why or "").strip(),
        project=project,
        region=config.region,
        dimensions=dict(config.dimensions or {}),
    )


def _check_quota_id(quota_id: str | None, where: str, mistakes: Mistakes) -> None:
    if quota_id is None or re.fullmatch(_QUOTA_ID, quota_id):
        return
    # Error messages name the metric, which the quota's id resembles.
    offers = catalog.offers(surface=Surface.GCE)
    ids = {quota.metric: quota.quota_id for one in offers for how in one.purchases for quota in one.quotas(how)}
    service = "`gcloud beta quotas info list --service=compute.googleapis.com` shows the ids"
    metric = quota_id.rpartition("/")[2].upper()
    mend = f"did you mean {ids[metric]}?" if metric in ids else service
    mistakes.add(where, shown(quota_id), "a quota's id, as NVIDIA-L4-GPUS-per-project-region", mend)


def _project_of(given: str | None, is_bad: bool, projects: Sequence[str], where: str, mistakes: Mistakes) -> str:
    if given is not None:
        if not re.fullmatch(PROJECT_ID, given):
            mend = "write the id (`gcloud projects list` shows it), not the name or the number"
            mistakes.add(where, shown(given), "a Google Cloud project id: 6 to 30 of a-z 0-9 -, a letter first", mend)
        return given
    if len(projects) > 1 and not is_bad:
        mend = f"the ladder has several projects ({one_of(projects)}): say of which one"
        mistakes.add(where, "missing", "a Google Cloud project id", mend)
    return projects[0] if projects else ""
