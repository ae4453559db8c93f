"""ResultsStore: the bucket that results go to, and who may create them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

_INCOMPLETE_UPLOAD_DAYS = 7  # far longer than any run; a machine that died leaves them, and they are billed


@dataclass(frozen=True, kw_only=True)
class ResultsStoreArgs:
    """``url``: ``gs://bucket`` or ``gs://bucket/prefix``, as in the settings. ``project``, ``location``: of a new one.

    ``writers``: who may create results under the prefix, as grants name them (``serviceAccount:…``), by a short name of
    ours (``run``). ``managed`` False: it is somebody else's; nothing but the grants is declared. ``exists``: it is
    there already, and is adopted as it is. It needs uniform bucket-level access, as conditions do.

    ``delete_after_days``: objects of this age are deleted; None: results are kept. ``hooks``: for each resource.
    """

    url: str
    project: str
    location: str
    writers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    managed: bool = True
    exists: bool = False
    delete_after_days: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    hooks: pulumi.ResourceHookBinding | None = None


class ResultsStore(pulumi.ComponentResource):
    """A bucket named in config, that nobody can make public, and into which a run can only add.

    It outlives stacks: no update and no `destroy` deletes it or what is in it, and a stack that finds it adopts it. Its
    writers may create objects under `<prefix>/runs/` and can neither overwrite, read, list nor delete any: overwriting
    needs storage.objects.delete, which they don't have
    (https://cloud.google.com/storage/docs/access-control/iam-roles, Storage Object Creator).
    """

    bucket: gcp.storage.Bucket | None = None
    url: str

    def __init__(self, name: str, args: ResultsStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises RunError for a URL that isn't a bucket's."""
        bucket, prefix = bucket_and_prefix(args.url)
        super().__init__("gpubench:index:ResultsStore", name, {}, opts)
        self.url = args.url
        if args.managed:
            self.bucket = self._bucket(name, bucket, args)
        for writer, member in args.writers.items():
            gcp.storage.BucketIAMMember(
                f"{name}-writer-{writer}",
                bucket=bucket,
                role="roles/storage.objectCreator",
                member=member,
                condition=gcp.storage.BucketIAMMemberConditionArgs(
                    title="gpubench results",
                    description="Creates results under the stack's prefix, and nothing elsewhere.",
                    expression=f'resource.name.startsWith("{_objects(bucket, prefix)}")',
                ),
                opts=pulumi.ResourceOptions(
                    parent=self, hooks=args.hooks, depends_on=[self.bucket] if self.bucket else []
                ),
            )
        self.register_outputs({"url": self.url})

    def _bucket(self, name: str, bucket: str, args: ResultsStoreArgs) -> gcp.storage.Bucket:
        rules = [_rule("AbortIncompleteMultipartUpload", _INCOMPLETE_UPLOAD_DAYS)]
        if args.delete_after_days:
            rules.append(_rule("Delete", args.delete_after_days))
        settings = [
            "location",
            "labels",
            "uniform_bucket_level_access",
            "public_access_prevention",
            "versioning",
            "lifecycle_rules",
            "force_destroy",
        ]
        return gcp.storage.Bucket(
            f"{name}-bucket",
            name=bucket,
            project=args.project,
            location=args.location,
            labels=dict(args.labels),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            # An object is never overwritten, so a version would never be an older one of it. What a person deletes by
            # mistake is kept for a while by soft delete, which a new bucket has.
            versioning={"enabled": False},
            lifecycle_rules=rules,
            force_destroy=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                hooks=args.hooks,
                retain_on_delete=True,
                import_=bucket if args.exists else None,  # its id in a state: else the next update would import it anew
                ignore_changes=settings if args.exists else None,
            ),
        )


def _rule(action: str, days: int) -> gcp.storage.BucketLifecycleRuleArgs:
    return gcp.storage.BucketLifecycleRuleArgs(
        action=gcp.storage.BucketLifecycleRuleActionArgs(type=action),
        condition=gcp.storage.BucketLifecycleRuleConditionArgs(age=days),
    )


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """``gs://bucket/some/prefix`` in two; the prefix without slashes around it. Raises RunError."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "gs" or not bucket:
        raise pulumi.RunError(f"{url!r} isn't a bucket of Cloud Storage: write gs://BUCKET or gs://BUCKET/PREFIX")
    return bucket, prefix.strip("/")


def _objects(bucket: str, prefix: str) -> str:
    """What the full names of a prefix's results begin with, safe between quotes of a condition's language."""
    path = f"{prefix}/runs/" if prefix else "runs/"
    return f"projects/_/buckets/{bucket}/objects/{path}".replace("\\", "\\\\").replace('"', '\\"')
