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

_EVERYBODY = frozenset({"allUsers", "allAuthenticatedUsers"})
_SETS = ("group:", "domain:", "principalSet:", "projectViewer:", "projectEditor:", "projectOwner:")
"""Members that are many: whether an account is among them isn't in the policy."""


def of_deployer(who: str, project: str, needs: Iterable[Need], allowed: frozenset[str]) -> list[Grant]:
    """One grant a permission; the missing ones with the command that grants them."""
    return [
        Grant(
            who,
            need.permission,
            need.permission in allowed,
            "" if need.permission in allowed else _role(who, project, need),
        )
        for need in needs
    ]


def of_reader(
    email: str,
    repository: Repository,
    policies: Iterable[tuple[Binding, ...] | None],
    *,
    grantable: bool | None,
    who: str,
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
        return [Grant(who, MAY_GRANT, granted=True)]
    return [] if unsure else [Grant(email, PULL, granted=False, mend=reader_command(email, repository))]


def reader_command(email: str, repository: Repository) -> str:
    """Grants the pull, on this repository alone."""
    words = ["gcloud", "artifacts", "repositories", "add-iam-policy-binding", repository.name]
    words += [f"--project={repository.project}", f"--location={repository.location}"]
    return shlex.join([*words, f"--member=serviceAccount:{email}", "--role=roles/artifactregistry.reader"])


def enable_command(email: str, project: str) -> str:
    """Lets a disabled service account work again."""
    return shlex.join(["gcloud", "iam", "service-accounts", "enable", email, f"--project={project}"])


def _role(who: str, project: str, need: Need) -> str:
    member = "user:YOUR_ADDRESS" if "@" not in who else f"serviceAccount:{who}"
    words = ["gcloud", "projects", "add-iam-policy-binding", project, f"--member={member}", f"--role={need.role}"]
    return shlex.join(words) + f"  # to {need.why}"
