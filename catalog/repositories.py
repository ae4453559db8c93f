"""Repositories of Artifact Registry and of Amazon ECR, as images' names name them."""

from __future__ import annotations

import re
from dataclasses import dataclass

LEGACY_HOSTS = {"gcr.io": "us", "us.gcr.io": "us", "eu.gcr.io": "europe", "asia.gcr.io": "asia"}
# Container Registry's hosts: Artifact Registry serves each from a repository of that name in that multi-region.
# https://cloud.google.com/artifact-registry/docs/transition/transition-from-gcr
_REGIONAL = "-docker.pkg.dev"


@dataclass(frozen=True)
class Repository:
    """A repository of Artifact Registry. ``name`` is a legacy host (``gcr.io``) where it serves that host's images."""

    project: str
    location: str
    name: str

    @property
    def id(self) -> str:
        """As Google's API and IAM conditions name it."""
        return f"projects/{self.project}/locations/{self.location}/repositories/{self.name}"

    @property
    def is_legacy(self) -> bool:
        """Whether it serves one of Container Registry's hosts."""
        return self.name in LEGACY_HOSTS

    @property
    def url(self) -> str:
        """What its images' names begin with, without a slash at the end."""
        host = self.name if self.is_legacy else f"{self.location}{_REGIONAL}"
        # A project of a domain (`example.com:p`) is written with a slash in images' names.
        path = self.project.replace(":", "/")
        return f"{host}/{path}" if self.is_legacy else f"{host}/{path}/{self.name}"

    @property
    def legacy_bucket(self) -> str | None:
        """The bucket in which Container Registry kept a legacy host's images before they were moved.

        https://cloud.google.com/container-registry/docs/access-control#grant
        """
        if not self.is_legacy:
            return None
        host = self.name.removesuffix("gcr.io")  # "us." of us.gcr.io, nothing of gcr.io
        domain, _, project = self.project.rpartition(":")
        suffix = f"{project}.{domain}.a.appspot.com" if domain else f"{project}.appspot.com"
        return f"{host}artifacts.{suffix}"


def repository_of(image: str) -> Repository | None:
    """The repository that an image's name says; None for other registries' images, and for names that say none."""
    host, slash, path = image.partition("/")
    parts = path.partition("@")[0].split("/")
    domain = len(parts) > 1 and "." in parts[0]
    if domain:  # `example.com/project/…`: a project that belongs to a domain
        parts = [f"{parts[0]}:{parts[1]}", *parts[2:]]
    if not slash or not parts[0] or not all(parts):
        return None
    if host in LEGACY_HOSTS and len(parts) >= 2:
        return Repository(parts[0], LEGACY_HOSTS[host], host)
    location = host.removesuffix(_REGIONAL)
    if host.endswith(_REGIONAL) and location and len(parts) >= 3:
        return Repository(parts[0], location, parts[1])
    return None


_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?P<domain>amazonaws\.com(?:\.cn)?|on\.aws)/(?P<name>[^@:]+)(?::[^@]+)?(?:@.+)?"
)


@dataclass(frozen=True)
class EcrRepository:
    """A repository of Amazon ECR. ``name`` may have slashes."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        """As IAM names it (https://docs.aws.amazon.com/AmazonECR/latest/userguide/security_iam_service-with-iam.html)."""
        first = "aws-cn" if self.region.startswith("cn-") else "aws"
        first = "aws-us-gov" if self.region.startswith("us-gov-") else first
        return f"arn:{first}:ecr:{self.region}:{self.account}:repository/{self.name}"

    @property
    def url(self) -> str:
        """What its images' names begin with, without a slash at the end."""
        cn = ".cn" if self.region.startswith("cn-") else ""
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com{cn}/{self.name}"


def ecr_repository_of(image: str) -> EcrRepository | None:
    """The repository of ECR that an image's name, with a tag or a digest or neither, says; None for any other's."""
    found = _ECR.fullmatch(image)
    return EcrRepository(found["account"], found["region"], found["name"]) if found else None
