"""Who must be allowed what, so that a run can start on Compute Engine: as far as it can be told beforehand."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from catalog.repositories import Repository
from components.gce.api import Binding
from placement.verdicts import Grant

PULL = "artifactregistry.repositories.downloadArtifacts"
ACT_AS = "iam.serviceAccounts.actAs"
MAY_GRANT = "artifactregistry.repositories.setIamPolicy"
USE_SUBNET = "compute.subnetworks.use"
MAKE_BUCKET = "storage.buckets.create"
MAKE_REPOSITORY = "artifactregistry.repositories.create"


@dataclass(frozen=True)
class Need:
    """A permission that the deployer needs, the role that a person grants for it, and what for."""

    permission: str
    role: str
    why: str


DEPLOYER = (
    Need("compute.instances.create", "roles/compute.instanceAdmin.v1", "make the machine"),
    Need("compute.instances.setMetadata", "roles/compute.instanceAdmin.v1", "tell it what to run, and when to stop"),
    Need("compute.instances.setLabels", "roles/compute.instanceAdmin.v1", "find again what an attempt left"),
    Need("compute.instances.setServiceAccount", "roles/compute.instanceAdmin.v1", "give it the run's account"),
    Need("compute.instances.delete", "roles/compute.instanceAdmin.v1", "sweep what an attempt left"),
    Need("compute.instances.getSerialPortOutput", "roles/compute.instanceAdmin.v1", "see how far the run is"),
    Need("compute.disks.create", "roles/compute.instanceAdmin.v1", "make its boot disk"),
    Need("compute.instanceTemplates.create", "roles/compute.instanceAdmin.v1", "describe the machine to its group"),
    Need("compute.instanceTemplates.useReadOnly", "roles/compute.instanceAdmin.v1", "make a group of a template"),
    Need("compute.instanceGroupManagers.create", "roles/compute.instanceAdmin.v1", "search all zones of a region"),
    Need("compute.instanceGroupManagers.update", "roles/compute.instanceAdmin.v1", "stop asking for capacity"),
    Need("compute.instanceGroupManagers.delete", "roles/compute.instanceAdmin.v1", "sweep what an attempt left"),
    Need(ACT_AS, "roles/iam.serviceAccountUser", "run it as the run's account"),
    Need("resourcemanager.projects.setIamPolicy", "roles/resourcemanager.projectIamAdmin", "let it delete itself"),
)
"""What every run needs. Roles: https://cloud.google.com/iam/docs/roles-permissions/compute and the pages beside it."""

FIRST_TIME = (
    Need("iam.serviceAccounts.create", "roles/iam.serviceAccountAdmin", "make the run's account"),
    Need("iam.roles.create", "roles/iam.roleAdmin", "make the role by which a machine deletes itself"),
)
"""What is needed as long as the stack's account isn't there."""

NETWORK = (
    Need("compute.networks.create", "roles/compute.networkAdmin", "make the stack's own network"),
    Need("compute.networks.updatePolicy", "roles/compute.networkAdmin", "put a subnetwork into it"),
    Need("compute.networks.delete", "roles/compute.networkAdmin", "take it away again"),
    Need("compute.subnetworks.create", "roles/compute.networkAdmin", "make its subnetwork"),
    Need("compute.subnetworks.delete", "roles/compute.networkAdmin", "take that away in a region that is left"),
)
"""What the stack's own network needs: `components.gce.network`.

That subnetworks and routers need networks.updatePolicy is in the methods' references:
https://cloud.google.com/compute/docs/reference/rest/v1/subnetworks/insert.
"""

NAT = (
    Need("compute.routers.create", "roles/compute.networkAdmin", "make a router for the NAT"),
    Need("compute.routers.update", "roles/compute.networkAdmin", "put the NAT on it"),
    Need("compute.routers.delete", "roles/compute.networkAdmin", "take both away again"),
)
"""What ``nat: true`` needs beside it."""

SUBNET = (Need(USE_SUBNET, "roles/compute.networkUser", "put the machine into the subnet of `gpubench:google`"),)
"""What is needed on a subnetwork that is somebody else's."""

NEW_BUCKET = (Need(MAKE_BUCKET, "roles/storage.admin", "make the results' bucket"),)
BUCKET = (
    Need("storage.buckets.get", "roles/storage.admin", "take the results' bucket as it is"),
    Need("storage.buckets.getIamPolicy", "roles/storage.admin", "see who may write into it"),
    Need("storage.buckets.setIamPolicy", "roles/storage.admin", "let the run's account create results in it"),
)
"""What is needed as long as the bucket isn't there, and on it once it is."""

NEW_REGISTRY = (Need(MAKE_REPOSITORY, "roles/artifactregistry.admin", "make the repository of `gpubench:registry`"),)
REGISTRY = (Need("artifactregistry.repositories.get", "roles/artifactregistry.admin", "take it as it is"),)
REPOSITORY = (
    Need("artifactregistry.repositories.getIamPolicy", "roles/artifactregistry.admin", "see who may pull"),
    Need(MAY_GRANT, "roles/artifactregistry.admin", "let the run's account pull"),
)
"""What is needed in the project as long as `gpubench:registry` isn't there, on it once it is, and on each repository.

An account that may pull otherwise (by its project's policy, or because everybody may) spares nobody the last one: the
update declares its grant all the same.
"""

NEEDS = (*DEPLOYER, *NETWORK, *NAT, *SUBNET, *BUCKET, *REGISTRY, *REPOSITORY, *FIRST_TIME, *NEW_BUCKET, *NEW_REGISTRY)
"""All that is ever asked about, in the order in which a person reads it."""

_READERS = frozenset(
    {
        "roles/artifactregistry.reader",
        "roles/artifactregistry.writer",
        "roles/artifactregistry.repoAdmin",
        "roles/artifactregistry.admin",
        "roles/artifactregistry.createOnPushWriter",
        "roles/artifactregistry.createOnPushRepoAdmin",
        "roles/viewer",
        "roles/editor",
        "roles/owner",
    }
)
"""Roles that have PULL: https://cloud.google.com/iam/docs/roles-permissions/artifactregistry."""

GRANTS_PULL = "roles/artifactregistry.reader"
GRANTS_RESULTS = "roles/storage.objectCreator"
"""The roles that an update gives to the run's account: `components.registry`, `components.results_store`."""

_EVERYBODY = frozenset({"allUsers", "allAuthenticatedUsers"})
_SETS = ("group:", "domain:", "principalSet:", "projectViewer:", "projectEditor:", "projectOwner:")
"""Members that are many: whether an account is among them isn't in the policy."""


def of_deployer(who: str, project: str, needs: Iterable[Need], allowed: frozenset[str]) -> list[Grant]:
    """One grant a permission; the missing ones with the command that grants them."""
    return _grants(who, ("projects", "add-iam-policy-binding", project), needs, allowed)


def is_granted(role: str, email: str, policy: Iterable[Binding] | None) -> bool:
    """Whether a policy names the account for a role, as an earlier update may have left it: it isn't written again."""
    return any(one.role == role and f"serviceAccount:{email}" in one.members for one in policy or ())


def of_subnet(who: str, subnet: tuple[str, str, str], needs: Iterable[Need], allowed: frozenset[str]) -> list[Grant]:
    """The same on a subnetwork (project, region, name), for the rungs of its region."""
    project, region, name = subnet
    words = ("compute", "networks", "subnets", "add-iam-policy-binding", name)
    return _grants(who, (*words, f"--project={project}", f"--region={region}"), needs, allowed, region=region)


def of_bucket(who: str, bucket: str, needs: Iterable[Need], allowed: frozenset[str]) -> list[Grant]:
    """The same on a bucket."""
    return _grants(who, ("storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}"), needs, allowed)


def of_repository(who: str, repository: Repository, needs: Iterable[Need], allowed: frozenset[str]) -> list[Grant]:
    """The same on a repository."""
    return _grants(who, _on_repository(repository), needs, allowed)


def _grants(
    who: str, words: Iterable[str], needs: Iterable[Need], allowed: frozenset[str], region: str | None = None
) -> list[Grant]:
    return [
        Grant(
            who,
            need.permission,
            need.permission in allowed,
            "" if need.permission in allowed else _role(who, words, need),
            region,
        )
        for need in needs
    ]


def of_reader(
    email: str,
    repository: Repository,
    policies: Iterable[tuple[Binding, ...] | None],
    *,
    grantable: bool | None,
) -> list[Grant]:
    """Whether the run's account may pull from a repository; empty: that can't be told.

    ``policies``: the repository's, and its project's; None for one that couldn't be read. ``grantable``: whether the
    deployer may grant it, as the update then does; None: not known. A grant that comes from a folder or from the
    organization isn't seen; the account is the stack's own, so one by name would be strange there.
    """
    read = [bindings for bindings in policies if bindings is not None]
    unsure = len(read) < 2 or grantable is None
    for binding in (one for bindings in read for one in bindings):
        names = f"serviceAccount:{email}" in binding.members or bool(_EVERYBODY & set(binding.members))
        many = any(member.startswith(_SETS) for member in binding.members)
        if binding.role in _READERS and names and not binding.condition:
            return [Grant(email, PULL, granted=True)]
        # A role of somebody's own, or a condition: what they allow isn't in the policy either.
        custom = "/roles/" in binding.role
        unsure = unsure or ((binding.role in _READERS or custom) and (names or many))
    if grantable:
        return []  # the update does
    return [] if unsure else [Grant(email, PULL, granted=False, mend=reader_command(email, repository))]


def reader_command(email: str, repository: Repository) -> str:
    """Grants the pull, on this repository alone."""
    words = ["gcloud", *_on_repository(repository)]
    return shlex.join([*words, f"--member=serviceAccount:{email}", "--role=roles/artifactregistry.reader"])


def _on_repository(repository: Repository) -> tuple[str, ...]:
    words = ("artifacts", "repositories", "add-iam-policy-binding", repository.name)
    return (*words, f"--project={repository.project}", f"--location={repository.location}")


def enable_command(email: str, project: str) -> str:
    """Lets a disabled service account work again."""
    return shlex.join(["gcloud", "iam", "service-accounts", "enable", email, f"--project={project}"])


def _role(who: str, words: Iterable[str], need: Need) -> str:
    member = "user:YOUR_ADDRESS" if "@" not in who else f"serviceAccount:{who}"
    return shlex.join(["gcloud", *words, f"--member={member}", f"--role={need.role}"]) + f"  # to {need.why}"
