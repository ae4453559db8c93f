"""ImageRegistry: the repository that the benchmark's image is in, and who may pull from it.

Who pulls is another principal on each of Google's surfaces, and it is the usual mistake to grant the wrong one:

- Compute Engine: the service account of the machine (RunIdentity.member), in clear in its template.
- GKE: the service account of the nodes, not the pod's: the kubelet pulls. See `default_compute_account` for node pools
  that name none (https://cloud.google.com/artifact-registry/docs/integrate-gke).
- Cloud Run: Google's own service agent in the project that runs the job, not the job's service account
  (`cloud_run_agent`; https://cloud.google.com/run/docs/deploying#other-projects). It exists once the API is enabled.

In the project that owns the repository the last two may often read already, by roles that Google gave them; in another
project they may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from catalog.repositories import Repository

READER = "roles/artifactregistry.reader"


def cloud_run_agent(project_number: int | str) -> str:
    """Who pulls for Cloud Run: the service agent of the project that the job or service is in.

    The format is a contract: https://cloud.google.com/iam/docs/service-agents#cloud-run-service-agent.
    """
    return f"serviceAccount:service-{project_number}@serverless-robot-prod.iam.gserviceaccount.com"


def default_compute_account(project_number: int | str) -> str:
    """Who pulls for machines and nodes that were given no account of their own.

    https://cloud.google.com/compute/docs/access/service-accounts#default_service_account
    """
    return f"serviceAccount:{project_number}-compute@developer.gserviceaccount.com"


@dataclass(frozen=True, kw_only=True)
class ImageRegistryArgs:
    """``readers``: who may pull, as grants name them (``serviceAccount:…``), by a short name of ours (``run``).

    ``managed`` False: it is somebody else's; nothing but the grants is declared. ``exists``: it is there already, and
    is adopted as it is: what gpubench would set is left as its owner has set it. ``legacy_bucket``: readers may read
    Container Registry's old bucket as well, for images that were not moved.

    ``keep_newest``: that many versions of each image are never cleaned up. ``untagged_days``: of the others those
    without a tag are deleted at this age. ``hooks``: for each resource that is made.
    """

    repository: Repository
    readers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    managed: bool = True
    exists: bool = False
    legacy_bucket: bool = False
    keep_newest: int = 10
    untagged_days: int = 30
    labels: Mapping[str, str] = field(default_factory=dict)
    hooks: pulumi.ResourceHookBinding | None = None


class ImageRegistry(pulumi.ComponentResource):
    """An Artifact Registry repository for container images, named in config, and those who may pull from it.

    It outlives stacks: no update and no `destroy` deletes it, and a stack that finds it adopts it. The grants go with
    the stack. Digests stay: what a run names by digest is a version like another, and old ones go by age alone when
    newer ones are kept.
    """

    url: str
    """What its images' names begin with."""
    repository: gcp.artifactregistry.Repository | None = None

    def __init__(self, name: str, args: ImageRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpubench:index:ImageRegistry", name, {}, opts)
        where = args.repository
        self.url = where.url
        if args.managed:
            self.repository = self._repository(name, args)
        child = pulumi.ResourceOptions(
            parent=self, hooks=args.hooks, depends_on=[self.repository] if self.repository else []
        )
        for reader, member in args.readers.items():
            gcp.artifactregistry.RepositoryIamMember(
                f"{name}-reader-{reader}",
                project=where.project,
                location=where.location,
                repository=where.name,
                role=READER,
                member=member,
                opts=child,
            )
            if args.legacy_bucket and where.legacy_bucket:
                gcp.storage.BucketIAMMember(
                    f"{name}-legacy-reader-{reader}",
                    bucket=where.legacy_bucket,
                    role="roles/storage.objectViewer",
                    member=member,
                    opts=child,
                )
        self.register_outputs({"url": self.url})

    def _repository(self, name: str, args: ImageRegistryArgs) -> gcp.artifactregistry.Repository:
        where = args.repository
        settings = ["description", "labels", "cleanup_policies", "cleanup_policy_dry_run", "docker_config"]
        return gcp.artifactregistry.Repository(
            f"{name}-repository",
            project=where.project,
            location=where.location,
            repository_id=where.name,
            format="DOCKER",
            description="gpubench: images of benchmarks",
            labels=dict(args.labels),
            # What is kept by one policy isn't deleted by another
            # (https://cloud.google.com/artifact-registry/docs/repositories/cleanup-policy-overview).
            cleanup_policies=[
                {
                    "id": "keep-newest",
                    "action": "KEEP",
                    "most_recent_versions": {"keep_count": args.keep_newest},
                },
                {
                    "id": "delete-untagged",
                    "action": "DELETE",
                    "condition": {"tag_state": "UNTAGGED", "older_than": f"{args.untagged_days * 86400}s"},
                },
            ],
            cleanup_policy_dry_run=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                hooks=args.hooks,
                retain_on_delete=True,
                import_=where.id if args.exists else None,
                ignore_changes=settings if args.exists else None,
            ),
        )
