"""Who must be allowed what, so that a run can start on a surface, and who each of them is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.simulated.chance import digits

PULL = "artifactregistry.repositories.downloadArtifacts"
PULL_ECR = "ecr:BatchGetImage"


@dataclass(frozen=True)
class Need:
    """A principal (a key of PRINCIPALS) needs a permission; ``role`` has it, and is what a person grants."""

    principal: str
    permission: str
    role: str


NEEDS: Mapping[str, tuple[Need, ...]] = {
    "gce": (
        Need("user", "compute.instances.create", "compute.instanceAdmin.v1"),
        Need("user", "iam.serviceAccounts.actAs", "iam.serviceAccountUser"),
        Need("vm", PULL, "artifactregistry.reader"),
    ),
    "gke": (
        Need("user", "container.clusters.create", "container.admin"),
        Need("user", "iam.serviceAccounts.actAs", "iam.serviceAccountUser"),
        Need("node", PULL, "artifactregistry.reader"),
    ),
    "cloud-run": (
        Need("user", "run.jobs.create", "run.developer"),
        Need("user", "run.services.create", "run.developer"),
        Need("user", "iam.serviceAccounts.actAs", "iam.serviceAccountUser"),
        Need("run-agent", PULL, "artifactregistry.reader"),
    ),
    "ecs": (
        Need("user", "ec2:RunInstances", "AmazonEC2FullAccess"),
        Need("user", "iam:PassRole", "IAMFullAccess"),
        Need("user", "ecs:RunTask", "AmazonECS_FullAccess"),
        Need("execution-role", PULL_ECR, "AmazonECSTaskExecutionRolePolicy"),
    ),
}
"""By surface. Google's roles are those of its IAM reference; AWS's are its managed policies of these names."""

PERMISSIONS = tuple(sorted({need.permission for needs in NEEDS.values() for need in needs}))
ROLES = tuple(sorted({need.role for needs in NEEDS.values() for need in needs}))
PRINCIPALS = ("user", "vm", "node", "run-agent", "execution-role")


def project_number(project: str | None) -> str:
    """Of a Google Cloud project: 12 digits that belong to its id, as no two projects have the same."""
    return digits(f"project number of {project or PROJECT}", 12)


PROJECT = "simulated-project"
ACCOUNT = "123456789012"
"""Where nothing says whose the resources are; the account id is the one that AWS's documentation uses."""


def name_of(principal: str, project: str | None, service_account: str | None = None) -> str:
    """The principal as the clouds write it: an e-mail, or an ARN.

    ``service_account``: what a machine is given instead of its project's default account.
    """
    number = project_number(project)
    if principal in ("vm", "node"):
        return service_account or f"{number}-compute@developer.gserviceaccount.com"
    if principal == "run-agent":
        return f"service-{number}@serverless-robot-prod.iam.gserviceaccount.com"
    if principal == "execution-role":
        return service_account or f"arn:aws:iam::{project or ACCOUNT}:role/ecsTaskExecutionRole"
    return f"developer@{project or PROJECT}.example.com"


def mend(need: Need, project: str | None, who: str, repository: tuple[str, str, str] | None) -> str:
    """The command that grants it. ``repository``: project, location and name, for a pull from Artifact Registry."""
    if need.permission == PULL and repository:
        owner, location, name = repository
        return (
            f"gcloud artifacts repositories add-iam-policy-binding {name} --project={owner} --location={location} "
            f"--member=serviceAccount:{who} --role=roles/{need.role}"
        )
    if ":" in need.permission:
        kind, _, name = who.rpartition("/")
        verb = "attach-role-policy --role-name" if ":role" in kind else "attach-user-policy --user-name"
        folder = "service-role/" if need.role == "AmazonECSTaskExecutionRolePolicy" else ""
        return f"aws iam {verb} {name} --policy-arn arn:aws:iam::aws:policy/{folder}{need.role}"
    member = f"user:{who}" if need.principal == "user" else f"serviceAccount:{who}"
    return f"gcloud projects add-iam-policy-binding {project or PROJECT} --member={member} --role=roles/{need.role}"
