"""What a stack has on AWS whether a run is due or not: who its machines are, and what they may reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from catalog.repositories import EcrRepository, ecr_repository_of
from components.ecr import EcrRegistry, EcrRegistryArgs, PullThroughCache, PullThroughCacheArgs
from components.ecs import names
from components.ecs.reach import ENDPOINTS
from components.ecs.roles import RunRoles, RunRolesArgs
from components.s3_store import S3ResultsStore, S3ResultsStoreArgs, bucket_and_prefix
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class EcsStandingArgs:
    """``account``: the 12 digits that all of it is in. ``regions``: those that the ladder has places in, best first.

    ``secrets``: values by environment variable. ``network``: RunNetworkArgs.way; with ``endpoints`` the regions have a
    cache of AWS's public images, where the uploader's is. ``uploader_image``: None: the one that gpubench brings.
    ``managed_instances``, ``clock``: see RunRolesArgs.
    ``bucket_region``: where the bucket is, if it is there; else it is made in the first of ``regions``.
    ``bucket_exists``, ``registry_exists``: whether these are there already, and are used as they are; ``bucket_ours``,
    ``registry_ours``: they are, and bear this stack's tag (STACK_LABEL), as it made them.
    """

    settings: Settings
    stack: str
    account: pulumi.Input[str]
    regions: tuple[str, ...]
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "nat"
    managed_instances: bool = False
    clock: bool = False
    uploader_image: str | None = None
    bucket_exists: bool = False
    bucket_ours: bool = False
    bucket_region: str | None = None
    registry_exists: bool = False
    registry_ours: bool = False
    hooks: pulumi.ResourceHookBinding | None = None


class EcsStanding(pulumi.ComponentResource):
    """A stack's roles, its secrets and logs in each region, the results' bucket and the image registry.

    They stay from one attempt to the next. They cost nothing by themselves, but for what lies in the bucket, the
    registry and the logs, and 0.40 USD a month for each secret (https://aws.amazon.com/secrets-manager/pricing/).
    """

    roles: RunRoles
    results_region: str
    """Where the results' bucket is."""
    secrets: Mapping[str, Mapping[str, pulumi.Output[str]]]
    """By region and environment variable, the secret's ARN: ECS reads it in the task's own region."""

    def __init__(self, name: str, args: EcsStandingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises RunError for results that aren't in S3."""
        bucket, prefix = bucket_and_prefix(args.settings.results.url)
        super().__init__("gpubench:index:EcsStanding", name, {}, opts)
        self._prefix, self._args = name, args
        self.results_region = args.bucket_region or args.regions[0]
        child = pulumi.ResourceOptions(parent=self)
        settings = args.settings
        self.secrets = {
            region: {variable: self._secret(region, variable, value) for variable, value in args.secrets.items()}
            for region in args.regions
        }
        for region in args.regions:
            # An attempt of each kind prints here, and what it printed is there when it is gone. The log comes home with
            # the results; two weeks are for what never came.
            aws.cloudwatch.LogGroup(
                f"{name}-log-{region}",
                name=names.log_group(args.stack),
                region=region,
                retention_in_days=14,
                skip_destroy=False,
                tags=names.tags(args.labels),
                opts=pulumi.ResourceOptions(parent=self, hooks=args.hooks),
            )
        own = ecr_repository_of(settings.registry) if settings.registry else None
        cached = args.network == ENDPOINTS and args.uploader_image is None
        self.roles = RunRoles(
            f"{name}-roles",
            RunRolesArgs(
                stack=args.stack,
                account=args.account,
                regions=args.regions,
                results=(bucket, prefix),
                repositories=self._repositories(),
                secrets=[arn for by_variable in self.secrets.values() for arn in by_variable.values()],
                cached=cached,
                managed_instances=args.managed_instances,
                clock=args.clock,
                labels=args.labels,
                hooks=args.hooks,
            ),
            child,
        )
        S3ResultsStore(
            f"{name}-results",
            S3ResultsStoreArgs(
                url=settings.results.url,
                region=self.results_region,
                exists=args.bucket_exists,
                ours=args.bucket_ours,
                labels=args.labels,
                hooks=args.hooks,
            ),
            child,
        )
        if own is not None:
            EcrRegistry(
                f"{name}-registry",
                EcrRegistryArgs(
                    repository=own,
                    exists=args.registry_exists,
                    ours=args.registry_ours,
                    labels=args.labels,
                    hooks=args.hooks,
                ),
                child,
            )
        if cached:
            PullThroughCache(
                f"{name}-cache", PullThroughCacheArgs(stack=args.stack, regions=args.regions, hooks=args.hooks), child
            )
        self.register_outputs({"taskRole": self.roles.task_role_arn})

    def _secret(self, region: str, variable: str, value: pulumi.Input[str]) -> pulumi.Output[str]:
        """One secret with its one version, which the execution role alone is granted."""
        args = self._args
        label = f"{self._prefix}-{region}-secret-{variable.lower().replace('_', '-')}"
        child = pulumi.ResourceOptions(parent=self, hooks=args.hooks)
        secret = aws.secretsmanager.Secret(
            label,
            # A name of its own each time: one that was deleted can't be had again until AWS forgets it.
            name_prefix=f"gpubench/{args.stack}/{variable}-",
            region=region,
            description=f"gpubench: {variable} for benchmark runs of the stack {args.stack}",
            recovery_window_in_days=0,  # its value is in the stack's config
            tags=names.tags(args.labels),
            opts=child,
        )
        version = aws.secretsmanager.SecretVersion(
            f"{label}-value",
            region=region,
            secret_id=secret.id,
            secret_string=value,  # the SDK makes a secret of it, if it isn't one
            opts=child,
        )
        # Known only when it can be read: a task that is given the ARN may ask for it at once.
        return version.secret_arn

    def _repositories(self) -> list[EcrRepository]:
        """The configured one, that of the benchmark's image, and the uploader's, as far as they are in ECR."""
        args = self._args
        written = (args.settings.registry, args.settings.benchmark.image, args.uploader_image)
        found = [ecr_repository_of(image) for image in written if image]
        return list(dict.fromkeys(one for one in found if one is not None))
