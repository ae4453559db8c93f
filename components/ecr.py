"""EcrRegistry and PullThroughCache: where images are that AWS's machines pull, as ImageRegistry is for Google's.

Who pulls on ECS is the execution role of the task, which gpubench's stacks have the right by (components/ecs/roles.py);
in an account that isn't the repository's, the repository's own policy has to allow it as well (``readers``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from catalog.repositories import EcrRepository
from components.ecs import names

PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]

UPSTREAM = "public.ecr.aws"


@dataclass(frozen=True, kw_only=True)
class EcrRegistryArgs:
    """``exists``: it is there already, and is used as it is; ``ours``: it is there, and bears this stack's tag, as this
    stack made it.

    ``readers``: principals of other accounts that may pull (ARNs of roles), by a short name of ours.
    ``untagged_days``: images without a tag are deleted at this age, those that a run named by digest included.
    ``hooks``: for each resource that is made.
    """

    repository: EcrRepository
    exists: bool = False
    ours: bool = False
    readers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    untagged_days: int = 30
    labels: Mapping[str, str] = field(default_factory=dict)
    hooks: pulumi.ResourceHookBinding | None = None


class EcrRegistry(pulumi.ComponentResource):
    """A repository of ECR, named in config, and those of other accounts who may pull from it.

    It outlives stacks: no update and no `destroy` deletes it. One that is there already, and that this stack didn't
    make, is used and left as it is.
    """

    url: str
    """What its images' names begin with."""
    repository: aws.ecr.Repository | None = None
    """None where it is somebody else's."""

    def __init__(self, name: str, args: EcrRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpubench:index:EcrRegistry", name, {}, opts)
        where = args.repository
        self.url = where.url
        if args.ours or not args.exists:
            self.repository = self._declared(name, args)
        self.register_outputs({"url": self.url})

    def _declared(self, name: str, args: EcrRegistryArgs) -> aws.ecr.Repository:
        where = args.repository
        child = pulumi.ResourceOptions(parent=self, hooks=args.hooks, retain_on_delete=True)
        made = aws.ecr.Repository(
            f"{name}-repository",
            name=where.name,
            region=where.region,
            image_tag_mutability="MUTABLE",  # `latest` moves; what runs is named by digest
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "AES256"}],
            force_delete=False,
            tags=names.tags(args.labels),
            # Its id in a state: where that has it, nothing is imported; where it was lost, it is found again.
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(import_=where.name if args.ours else None)),
        )
        aws.ecr.LifecyclePolicy(
            f"{name}-lifecycle",
            repository=made.name,
            region=where.region,
            policy=json.dumps(_lifecycle(args.untagged_days)),
            opts=child,
        )
        if args.readers:
            aws.ecr.RepositoryPolicy(
                f"{name}-readers",
                repository=made.name,
                region=where.region,
                policy=pulumi.Output.all(*args.readers.values()).apply(_readers),
                opts=child,
            )
        return made


@dataclass(frozen=True, kw_only=True)
class PullThroughCacheArgs:
    """``hooks``: for each resource that is made."""

    stack: str
    regions: tuple[str, ...]
    hooks: pulumi.ResourceHookBinding | None = None


class PullThroughCache(pulumi.ComponentResource):
    """Public images of AWS's by way of a stack's own registry, in each region: for machines that reach AWS alone.

    ECR fetches an image when it is first asked for
    (https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html), into a repository that it makes
    itself and that stays. Registries that want a login have no rule here: name a copy of such an image.
    """

    def __init__(self, name: str, args: PullThroughCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpubench:index:PullThroughCache", name, {}, opts)
        for region in args.regions:
            aws.ecr.PullThroughCacheRule(
                f"{name}-{region}",
                region=region,
                ecr_repository_prefix=names.cache_prefix(args.stack),
                upstream_registry_url=UPSTREAM,
                opts=pulumi.ResourceOptions(parent=self, hooks=args.hooks),
            )
        self.register_outputs({})


def _lifecycle(days: int) -> Mapping[str, object]:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html"""
    selection = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days}
    rule = {"rulePriority": 1, "description": "no tag", "selection": selection, "action": {"type": "expire"}}
    return {"rules": [rule]}


def _readers(arns: Sequence[str]) -> str:
    statement = {"Sid": "pull", "Effect": "Allow", "Principal": {"AWS": sorted(arns)}, "Action": PULL}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
