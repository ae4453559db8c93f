"""The keys of AWS's own: ``gpubench:aws``, and ``gpubench:registry`` where it is a repository of Amazon ECR."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import catalog
from catalog import Surface
from placement.ladder import Rung
from settings.credentials import shown_key
from settings.mistakes import Mistakes, did_you_mean, one_of, shown
from settings.model import AWS_NETWORKS, PROJECT, VOLUME_GB, Aws
from settings.shapes import AwsShape, take_shape

ECR = "ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY"
_REGISTRY = re.compile(
    r"(?P<account>[^.]*)\.dkr\.ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?P<china>\.cn)?"
)
_REPOSITORY = r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*"
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html: 2 to 256 characters.
_ID = r"(?:[0-9a-f]{8}|[0-9a-f]{17})"


def is_ecr(host: str) -> bool:
    """Whether a registry's host is one of Amazon ECR's."""
    return _REGISTRY.fullmatch(host) is not None


def check_ecr(value: str, where: str, mistakes: Mistakes) -> None:
    """``gpubench:registry`` on Amazon ECR."""
    host, _, repository = value.partition("/")
    found = _REGISTRY.fullmatch(host)
    assert found is not None, "asked only of ECR's hosts"
    if not re.fullmatch(r"\d{12}", found["account"]):
        mend = "write the account's 12 digits: `aws sts get-caller-identity --query Account` prints them"
        mistakes.add(where, shown(value), ECR, mend)
    elif found["fips"] or found["china"]:
        mend = "FIPS endpoints and China's regions aren't known here: name another registry, or remove the key"
        mistakes.add(where, shown(value), ECR, mend)
    elif found["region"] not in catalog.regions(Surface.ECS):
        mistakes.add(where, shown(value), ECR, did_you_mean(found["region"], catalog.regions(Surface.ECS)))
    elif not re.fullmatch(_REPOSITORY, repository) or not 2 <= len(repository) <= 256:
        tag = re.fullmatch(rf"({_REPOSITORY})[:@].*", repository)
        mend = f"write the repository without a tag: {tag[1]}" if tag else "mend the repository's name: a-z 0-9 . _ - /"
        mistakes.add(where, shown(value), ECR, mend)


def read_aws(parsed: Mapping[str, object], ladder: Sequence[Rung] | None, mistakes: Mistakes) -> Aws:
    """``gpubench:aws``. ``ladder``: None if it has a mistake; then nothing is held against it."""
    path = f"{PROJECT}:aws"
    given = parsed.get("aws", {})
    config, bad = take_shape(AwsShape, given, path, mistakes)
    rungs = None if ladder is None else [rung for rung in ladder if rung.surface == Surface.ECS]
    regions = None if rungs is None else tuple(dict.fromkeys(str(rung.place.region) for rung in rungs))
    subnets = _subnets(config.subnets or {}, regions, f"{path}.subnets", mistakes)
    groups = config.security_groups or {}
    _check_groups(groups, f"{path}.security_groups", mistakes)
    if not {"subnets", "security_groups"} & bad:
        _check_pairs(groups, subnets, f"{path}.security_groups", mistakes)
    network = config.network
    if network is not None and network not in AWS_NETWORKS:
        mistakes.add(f"{path}.network", shown(network), one_of(AWS_NETWORKS), did_you_mean(network, AWS_NETWORKS))
    elif network is not None and regions and all(region in subnets for region in regions):
        mend = "remove network, or the subnets of a region"
        mistakes.add(f"{path}.network", shown(network), "network only for regions without subnets of yours", mend)
    size, (low, high) = config.volume_gb, VOLUME_GB
    if size is not None and not low <= size <= high:
        mend = f"the machine's image alone needs {low} GB" if size < low else "is the number in GB?"
        mistakes.add(f"{path}.volume_gb", shown(size), f"{low} to {high:,} GB", mend)
    image = config.uploader_image
    if image is not None and not re.fullmatch(r"[^\s@]+@sha256:[0-9a-f]{64}", image):
        mend = "copy it with its digest, as `docker buildx imagetools inspect` prints it"
        mistakes.add(f"{path}.uploader_image", shown(image), "an image with a digest: name@sha256:...", mend)
    managed = bool(config.managed_instances)
    if managed and rungs and any(rung.purchase == "reserved" for rung in rungs):
        mend = "remove managed_instances, or take reserved out of the ladder"
        mistakes.add(f"{path}.managed_instances", "true, and a reserved rung", "true without reserved rungs", mend)
    if given and isinstance(given, Mapping) and rungs == [] and not bad:
        mistakes.add(path, "given, and no rung on ecs", "aws only with a rung on ecs", "remove it, or add such a rung")
    return Aws(
        subnets=subnets,
        security_groups=dict(groups),
        network=network or AWS_NETWORKS[0],
        volume_gb=size,
        uploader_image=image,
        managed_instances=managed,
    )


def _subnets(
    given: Mapping[str, Sequence[str]], regions: Sequence[str] | None, path: str, mistakes: Mistakes
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for region, subnets in given.items():
        where = f"{path}.{shown_key(region)}"
        if regions is not None and region not in regions:
            mend = did_you_mean(region, regions, "remove it, or add a rung there")
            allowed = f"regions of the ladder's rungs on ecs ({one_of(regions)})" if regions else "a rung on ecs"
            mistakes.add(where, shown(list(subnets)), allowed, mend)
        if not subnets:
            mistakes.add(where, "an empty list", "at least one subnet", "name one, or remove the region")
        for index, subnet in enumerate(subnets):
            if not re.fullmatch(rf"subnet-{_ID}", subnet):
                mend = "`aws ec2 describe-subnets --query 'Subnets[].SubnetId'` lists them"
                mistakes.add(f"{where}[{index}]", shown(subnet), "a subnet's id: subnet-0123456789abcdef0", mend)
            elif subnet in subnets[:index]:
                mistakes.add(f"{where}[{index}]", f"{shown(subnet)} again", "each subnet once", "remove one of them")
        found[region] = tuple(subnets)
    return found


def _check_groups(given: Mapping[str, str], path: str, mistakes: Mistakes) -> None:
    for region, group in given.items():
        if not re.fullmatch(rf"sg-{_ID}", group):
            mend = "`aws ec2 describe-security-groups --query 'SecurityGroups[].GroupId'` lists them"
            where = f"{path}.{shown_key(region)}"
            mistakes.add(where, shown(group), "a security group's id: sg-0123456789abcdef0", mend)


def _check_pairs(
    groups: Mapping[str, str], subnets: Mapping[str, Sequence[str]], path: str, mistakes: Mistakes
) -> None:
    """Subnets have a group, and a group has subnets; whether both are of one network, only AWS knows."""
    for region in [one for one in groups if one not in subnets]:
        mend = "remove it, or name the region's subnets, too"
        where = f"{path}.{shown_key(region)}"
        mistakes.add(where, shown(groups[region]), "security groups only of regions in subnets", mend)
    for region in [one for one in subnets if one not in groups]:
        allowed = "a security group of the same network: nothing has to come in"
        mistakes.add(f"{path}.{shown_key(region)}", "missing", allowed, "name it, beside the region's subnets")
