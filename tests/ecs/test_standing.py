"""What a stack keeps on AWS from one attempt to the next, through the recording monitor."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from components.ecs import names
from components.ecs.standing import EcsStanding, EcsStandingArgs
from components.s3_store import bucket_and_prefix
from settings import Settings
from tests.ecs.declared import ACCOUNT, CANARY, IMAGE, check, cluster, containers, fargate, hooks, in_pascal, of_package
from tests.recording import Recording, record

REGIONS = ("us-west-2", "us-east-1")
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/bench"
RUNG = {"surface": "ecs", "account": ACCOUNT, "regions": list(REGIONS), "tier": "a10g", "purchase": "spot"}


def standing(secrets: dict[str, Any] | None = None, registry: str | None = REGISTRY, **changes: Any) -> Recording:
    config = {"ladder": [RUNG], "results": "s3://bench/team", "benchmark": {"image": IMAGE}}
    config |= {"registry": registry} if registry else {}
    settings = Settings.from_config({f"gpubench:{key}": value for key, value in config.items()})

    def program() -> None:
        made: dict[str, Any] = {
            "settings": settings,
            "stack": "dev",
            "account": ACCOUNT,
            "regions": REGIONS,
            "secrets": {name: pulumi.Output.secret(value) for name, value in (secrets or {}).items()},
            "labels": {"team": "ml", "gpubench-stack": "dev"},
            "hooks": hooks(),
        }
        EcsStanding("aws", EcsStandingArgs(**(made | changes)))

    return record(program)


BUCKETS_OWN = (
    "BucketPublicAccessBlock", "BucketOwnershipControls", "BucketServerSideEncryptionConfiguration",
    "BucketLifecycleConfiguration", "BucketPolicy",
)  # fmt: skip


def test_a_new_bucket_is_closed_encrypted_and_stays() -> None:
    recording = standing()
    bucket = recording.one("Bucket")
    assert (bucket.inputs["bucket"], bucket.inputs["region"]) == ("bench", "us-west-2"), "where the best rung is"
    assert bucket.inputs["forceDestroy"] is False
    assert bucket.inputs["tags"] == {"team": "ml", "gpubench-stack": "dev"}
    for kind in ("Bucket", *BUCKETS_OWN):
        one = recording.one(kind)
        assert one.retain_on_delete, kind
        assert one.inputs["bucket"] == "bench"
        assert one.import_id == ""
    closed = recording.one("BucketPublicAccessBlock").inputs
    kinds = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    assert all(closed[key] is True for key in kinds)
    assert recording.one("BucketOwnershipControls").inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    (rule,) = recording.one("BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
    rules = recording.one("BucketLifecycleConfiguration").inputs["rules"]
    assert [one["abortIncompleteMultipartUpload"] for one in rules] == [{"daysAfterInitiation": 7}]
    assert all("expiration" not in one for one in rules), "results are kept"
    spelt = [{("ID" if key == "Id" else key): value for key, value in in_pascal(one).items()} for one in rules]
    check("s3", "PutBucketLifecycleConfiguration", {"Bucket": "bench", "LifecycleConfiguration": {"Rules": spelt}})


def test_a_new_bucket_refuses_what_would_overwrite_and_what_is_in_clear() -> None:
    document = json.loads(standing().one("BucketPolicy").inputs["policy"])
    tls, once = document["Statement"]
    assert {one["Effect"] for one in document["Statement"]} == {"Deny"}, "it grants nobody anything"
    assert tls["Resource"] == ["arn:aws:s3:::bench", "arn:aws:s3:::bench/*"]
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert (once["Action"], once["Resource"]) == ("s3:PutObject", ["arn:aws:s3:::bench/team/runs/*"])
    assert once["Condition"] == {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}


def test_somebody_elses_bucket_and_registry_are_left_as_they_are() -> None:
    recording = standing(bucket_exists=True, registry_exists=True)
    assert not [
        one.name for kind in ("Bucket", "Repository", *BUCKETS_OWN, "LifecyclePolicy") for one in recording.of(kind)
    ]
    assert "aws-results" in recording.registered_outputs


def test_our_own_stay_declared_with_all_that_belongs_to_them_and_where_they_are() -> None:
    """An update after the one that made them: what it doesn't declare any more would leave the state."""
    found: dict[str, Any] = {"bucket_exists": True, "bucket_ours": True, "registry_exists": True, "registry_ours": True}
    recording = standing(**found, regions=("eu-west-1", "us-west-2"))
    assert recording.one("Bucket").import_id == "bench"
    assert recording.one("Repository").import_id == "bench"
    for kind in ("Bucket", *BUCKETS_OWN):
        assert recording.one(kind).ignore_changes == ("region",), "a bucket can't be moved"
        assert recording.one(kind).retain_on_delete
    assert recording.one("LifecyclePolicy").retain_on_delete
    assert {one.name for one in of_package(recording)} == {
        one.name for one in of_package(standing(regions=("eu-west-1", "us-west-2")))
    }, "as in the update that made them"


def test_a_registry_is_made_where_its_name_says() -> None:
    recording = standing()
    repository = recording.one("Repository")
    assert (repository.inputs["name"], repository.inputs["region"]) == ("bench", "us-west-2")
    assert repository.inputs["forceDelete"] is False
    assert repository.retain_on_delete
    policy = json.loads(recording.one("LifecyclePolicy").inputs["policy"])
    assert policy["rules"][0]["selection"]["tagStatus"] == "untagged"
    assert not standing(registry=None).of("Repository")


def test_the_images_that_are_pulled_are_those_that_may_be() -> None:
    own = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/mirror/python@sha256:{'1' * 64}"
    recording = standing(uploader_image=own)
    policy = next(one for one in recording.of("RolePolicy") if one.name.endswith("-execution-policy"))
    pulls = next(
        one for one in json.loads(policy.inputs["policy"])["Statement"] if "ecr:BatchGetImage" in one["Action"]
    )
    assert [arn.partition("repository/")[2] for arn in pulls["Resource"]] == ["bench", "sdxl", "mirror/python"]


def test_machines_without_the_internet_have_a_cache_of_public_images_in_each_region() -> None:
    rules = standing(network="endpoints").of("PullThroughCacheRule")
    assert {(one.inputs["region"], one.inputs["upstreamRegistryUrl"]) for one in rules} == {
        (region, "public.ecr.aws") for region in REGIONS
    }
    assert {one.inputs["ecrRepositoryPrefix"] for one in rules} == {names.cache_prefix("dev")}
    assert not standing().of("PullThroughCacheRule")
    assert not standing(network="endpoints", uploader_image=IMAGE).of("PullThroughCacheRule")


def test_each_region_has_the_log_that_its_tasks_write_to() -> None:
    groups = standing().of("LogGroup")
    assert {(one.inputs["region"], one.inputs["name"]) for one in groups} == {
        (region, names.log_group("dev")) for region in REGIONS
    }
    assert {one.inputs["retentionInDays"] for one in groups} == {14}
    # Both kinds of attempt may follow one another in a region: neither brings one along, which the other would meet.
    for attempt in (cluster(), fargate()):
        assert not attempt.of("LogGroup")
        options = containers(attempt.one("TaskDefinition"))[0]["logConfiguration"]["options"]
        assert options["awslogs-group"] == names.log_group("dev")


def test_a_secret_is_one_in_every_region_and_in_clear_nowhere() -> None:
    recording = standing({"HF_TOKEN": CANARY})
    versions = recording.of("SecretVersion")
    assert sorted(one.inputs["region"] for one in versions) == sorted(REGIONS)
    for one in recording:
        clear = {key: value for key, value in one.inputs.items() if key not in one.secrets}
        assert CANARY not in json.dumps(clear), one.name
        assert (CANARY in json.dumps(dict(one.inputs))) == (one in versions), one.name
    policy = next(one for one in recording.of("RolePolicy") if one.name.endswith("-execution-policy"))
    reads = next(
        one
        for one in json.loads(policy.inputs["policy"])["Statement"]
        if one["Action"] == ["secretsmanager:GetSecretValue"]
    )
    assert sorted(reads["Resource"]) == sorted(f"arn:of:{one.name}-secret" for one in versions)


def test_all_have_the_hook_and_a_component_for_a_parent() -> None:
    recording = standing({"HF_TOKEN": CANARY}, network="endpoints", managed_instances=True)
    cloud = of_package(recording)
    assert len(cloud) > 20
    assert [one.name for one in cloud if one.on_error != ("explain",)] == []
    components = {one.name for one in recording} - {one.name for one in cloud}
    assert {one.parent for one in cloud} <= components
    assert components <= set(recording.registered_outputs)
    assert len(recording.registered_outputs) == len(set(recording.registered_outputs))


def test_what_is_no_bucket_of_s3_is_refused() -> None:
    assert bucket_and_prefix("s3://bench/team/a/") == ("bench", "team/a")
    assert bucket_and_prefix("s3://bench") == ("bench", "")
    for url in ("gs://bench", "s3://", "results"):
        with pytest.raises(pulumi.RunError, match="s3://BUCKET"):
            bucket_and_prefix(url)
