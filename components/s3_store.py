"""S3ResultsStore: the bucket of S3 that results go to. Who may create them there: the task role (components/ecs)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components.ecs import names

_INCOMPLETE_UPLOAD_DAYS = 7  # far longer than any run; a machine that died leaves them, and they are billed


@dataclass(frozen=True, kw_only=True)
class S3ResultsStoreArgs:
    """``url``: ``s3://bucket`` or ``s3://bucket/prefix``, as in the settings. ``region``: of a new one; one that is
    ours stays in its own.

    ``exists``: it is there already, and is used as it is; ``ours``: it is there, and bears this stack's tag: this stack
    made it. ``delete_after_days``: objects of this age are deleted; None: results are kept. ``hooks``: for each
    resource that is made.
    """

    url: str
    region: str
    exists: bool = False
    ours: bool = False
    delete_after_days: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    hooks: pulumi.ResourceHookBinding | None = None


class S3ResultsStore(pulumi.ComponentResource):
    """A bucket named in config, that nobody can make public, and in which no result is ever overwritten.

    It outlives stacks: no update and no `destroy` deletes it or what is in it. It refuses, of whoever asks, requests
    without TLS, and those that put a result without saying that it must be new. A bucket that is there already, and
    that this stack didn't make, is used and left as it is: there a run's own role alone sees to the latter.
    """

    bucket: aws.s3.Bucket | None = None
    """None where it is somebody else's."""
    url: str

    def __init__(self, name: str, args: S3ResultsStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises RunError for a URL that isn't a bucket's."""
        bucket, prefix = bucket_and_prefix(args.url)
        super().__init__("gpubench:index:S3ResultsStore", name, {}, opts)
        self.url = args.url
        if args.ours or not args.exists:
            self.bucket = self._declared(name, bucket, prefix, args)
        self.register_outputs({"url": self.url})

    def _declared(self, name: str, bucket: str, prefix: str, args: S3ResultsStoreArgs) -> aws.s3.Bucket:
        def child(**more: Any) -> pulumi.ResourceOptions:
            # All of it stays with the bucket, and where it is: another first region of the ladder moves nothing.
            kept = ["region"] if args.ours else None
            return pulumi.ResourceOptions(
                parent=self, hooks=args.hooks, retain_on_delete=True, ignore_changes=kept, **more
            )

        made = aws.s3.Bucket(
            f"{name}-bucket",
            bucket=bucket,
            region=args.region,
            force_destroy=False,
            tags=names.tags(args.labels),
            # Its id in a state: where that has it, nothing is imported; where it was lost, it is found again.
            opts=child(import_=bucket if args.ours else None),
        )
        closed = aws.s3.BucketPublicAccessBlock(
            f"{name}-closed",
            bucket=bucket,
            region=args.region,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child(depends_on=[made]),
        )
        aws.s3.BucketOwnershipControls(
            f"{name}-owner",
            bucket=bucket,
            region=args.region,
            rule={"object_ownership": "BucketOwnerEnforced"},  # no access lists: policies say all
            opts=child(depends_on=[made]),
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket,
            region=args.region,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=child(depends_on=[made]),
        )
        rules: list[aws.s3.BucketLifecycleConfigurationRuleArgsDict] = [
            {
                "id": "incomplete-uploads",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "abort_incomplete_multipart_upload": {"days_after_initiation": _INCOMPLETE_UPLOAD_DAYS},
            }
        ]
        if args.delete_after_days:
            rules.append(
                {
                    "id": "old-results",
                    "status": "Enabled",
                    "filter": {"prefix": f"{prefix}/" if prefix else ""},
                    "expiration": {"days": args.delete_after_days},
                }
            )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle", bucket=bucket, region=args.region, rules=rules, opts=child(depends_on=[made])
        )
        aws.s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket,
            region=args.region,
            policy=_policy(f"arn:{names.partition(args.region)}:s3:::{bucket}", prefix),
            opts=child(depends_on=[closed]),  # two changes of access at a time are refused (OperationAborted)
        )
        return made


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """``s3://bucket/some/prefix`` in two; the prefix without slashes around it. Raises RunError."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise pulumi.RunError(f"{url!r} isn't a bucket of S3: write s3://BUCKET or s3://BUCKET/PREFIX")
    return bucket, prefix.strip("/")


def _policy(arn: str, prefix: str) -> str:
    """Refusals hold for everybody, the account's administrators included; they can change the policy itself.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html: the parts of a multipart
    upload can't be conditional (s3:ObjectCreationOperation is false of them), its completion is.
    """

    def deny(name: str, action: str, resources: list[str], condition: Mapping[str, object]) -> dict[str, object]:
        who = {"Sid": name, "Effect": "Deny", "Principal": "*"}
        return {**who, "Action": action, "Resource": resources, "Condition": dict(condition)}

    runs = "/".join(part for part in (arn, prefix, "runs/*") if part)
    may_overwrite = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                deny("OnlyTls", "s3:*", [arn, f"{arn}/*"], {"Bool": {"aws:SecureTransport": "false"}}),
                deny("NothingIsOverwritten", "s3:PutObject", [runs], may_overwrite),
            ],
        }
    )
