"""What a network of gpubench's own reaches, and where it can be made: known without a word from AWS."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pulumi

import catalog
from catalog import Surface
from catalog.repositories import ecr_repository_of

NAT, ENDPOINTS = "nat", "endpoints"
ZONE = re.compile(r"[a-z]+\d+-az(\d+)")  # a region's own; a local zone's (`usw2-lax1-az1`) is elsewhere


class BadRequest(pulumi.RunError):
    """What a stack's settings ask of AWS in vain. Its text is of the form that `placement.causes.classify` reads.

    ``what`` names the key and the value, ``mend`` what is to be written in its place.
    """

    def __init__(self, code: str, what: str, mend: str) -> None:
        super().__init__(f"Cause: bad-request ({code}): {what}\nMend: {mend}")
        self.what, self.mend = what, mend


def own_zones(region: str, zones: Sequence[str]) -> tuple[str, ...]:
    """Those of the zones (ids) that a network of its own has a subnet in, sorted; of none, all that are known.

    Raises BadRequest where there is none: which zones there are is the account's, and nothing here asks for it.
    """
    if not zones:
        offers = catalog.offers(surface=Surface.ECS, region=region)
        zones = sorted({zone for offer in offers for zone in offer.zones(region)})
    found = tuple(sorted({zone for zone in zones if ZONE.fullmatch(zone)}))
    if not found:
        raise BadRequest(
            "no-zone",
            f"{region}: no zone is known in which a network can be made",
            "name some in the ladder (`zones`, by their ids, as `aws ec2 describe-availability-zones --region "
            f"{region}` lists them), or existing subnets (gpubench:aws.subnets)",
        )
    return found


def check_image(key: str, image: str, region: str) -> None:
    """Raises BadRequest for an image that a network with endpoints alone doesn't reach. ``key``: what names it."""
    found = ecr_repository_of(image)
    if found is None or found.region != region:
        raise BadRequest(
            "out-of-reach",
            f"{key}: {image}: a network with `endpoints` alone reaches images in ECR of {region} only",
            "copy it there, or write gpubench:aws: {network: nat}",
        )


def check_bucket(url: str, bucket_region: str, region: str) -> None:
    """Raises BadRequest for a results' bucket that a network with endpoints alone doesn't reach."""
    if bucket_region != region:
        raise BadRequest(
            "out-of-reach",
            f"gpubench:results: {url}: its bucket is in {bucket_region}, and a network with `endpoints` alone reaches "
            f"buckets of {region} only",
            f"name a bucket of {region}, or write gpubench:aws: {{network: nat}}",
        )
