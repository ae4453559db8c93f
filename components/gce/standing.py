"""What a stack has on Google Cloud whether a run is due or not: who its machines are, and what they may reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from catalog.repositories import Repository, repository_of
from components.gce import quota_increase
from components.identity import RunIdentity, RunIdentityArgs
from components.registry import ImageRegistry, ImageRegistryArgs
from components.results_store import ResultsStore, ResultsStoreArgs
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class StandingArgs:
    """``projects``: those that the ladder has machines in, best first. ``secrets``: values by environment variable.

    ``bucket_exists``, ``registry_exists``: whether these are there already, and are adopted as they are.
    """

    settings: Settings
    stack: str
    projects: tuple[str, ...]
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    bucket_exists: bool = False
    registry_exists: bool = False
    hooks: pulumi.ResourceHookBinding | None = None


class Standing(pulumi.ComponentResource):
    """An account in each project, the results' bucket, the image registry, and the grants between them.

    They stay from one attempt to the next: a grant takes minutes to hold everywhere. They cost nothing by themselves,
    but for what lies in the bucket and the registry.
    """

    identities: Mapping[str, RunIdentity]

    def __init__(self, name: str, args: StandingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpubench:index:GoogleStanding", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings, first = args.settings, args.projects[0]
        self.identities = {
            project: RunIdentity(
                f"{name}-{project}",
                RunIdentityArgs(
                    project=project, stack=args.stack, secrets=args.secrets, labels=args.labels, hooks=args.hooks
                ),
                child,
            )
            for project in args.projects
        }
        members = {project: identity.member for project, identity in self.identities.items()}
        regions = [rung.place.region for rung in settings.ladder if rung.place.project == first and rung.place.region]
        ResultsStore(
            f"{name}-results",
            ResultsStoreArgs(
                url=settings.results.url,
                project=first,
                location=regions[0].upper(),
                writers=members,
                exists=args.bucket_exists,
                labels=args.labels,
                hooks=args.hooks,
            ),
            child,
        )
        own = repository_of(f"{settings.registry}/image") if settings.registry else None
        for repository in self._repositories(settings, own):
            ImageRegistry(
                f"{name}-{repository.name.replace('.', '-')}-{repository.location}",
                ImageRegistryArgs(
                    repository=repository,
                    readers=members,
                    managed=repository == own,
                    exists=args.registry_exists,
                    labels=args.labels,
                    hooks=args.hooks,
                ),
                child,
            )
        for number, wanted in enumerate(settings.google.quota_increases, start=1):
            quota_increase.quota_increase(
                f"{name}-quota-{number}",
                quota_increase.QuotaIncreaseArgs(
                    project=wanted.project or first,
                    quota_id=wanted.quota_id,
                    limit=wanted.limit,
                    contact_email=wanted.email,
                    justification=wanted.justification,
                    region=wanted.region,
                    dimensions=wanted.dimensions,
                    hooks=args.hooks,
                ),
                child,
            )
        self.register_outputs({"accounts": [identity.email for identity in self.identities.values()]})

    @staticmethod
    def _repositories(settings: Settings, own: Repository | None) -> list[Repository]:
        """The configured one, and that of the benchmark's image, if that is another one of Google's."""
        image = repository_of(settings.benchmark.image) if settings.benchmark.image else None
        return list(dict.fromkeys(one for one in (own, image) if one is not None))
