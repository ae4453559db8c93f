"""ResultsStore through the recording monitor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.results_store import ResultsStore, ResultsStoreArgs, bucket_and_prefix
from tests.recording import Recording, record

RUN = "serviceAccount:gb-0a1b2c3d@my-project.iam.gserviceaccount.com"


def declared(**changes: Any) -> Recording:
    args = ResultsStoreArgs(url="gs://results/team", project="my-project", location="US", writers={"run": RUN})

    def program() -> None:
        hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook("explain", lambda _: False)])
        ResultsStore("results", replace(args, hooks=hooks, **changes))

    return record(program)


def test_a_new_bucket_is_closed_and_outlives_its_stack() -> None:
    recording = declared()
    bucket = recording.one("Bucket")
    assert bucket.inputs["name"] == "results"
    assert bucket.inputs["uniformBucketLevelAccess"] is True
    assert bucket.inputs["publicAccessPrevention"] == "enforced"
    assert bucket.inputs["versioning"] == {"enabled": False}
    assert bucket.inputs["forceDestroy"] is False
    assert "softDeletePolicy" not in bucket.inputs, "a new bucket has it"
    assert bucket.inputs["lifecycleRules"] == [
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}
    ]
    assert bucket.retain_on_delete
    assert (bucket.import_id, bucket.ignore_changes) == ("", ())
    assert (bucket.parent, bucket.on_error) == ("results", ("explain",))
    assert recording.registered_outputs.count("results") == 1


def test_results_are_deleted_by_age_only_where_that_was_asked_for() -> None:
    rules = declared(delete_after_days=90).one("Bucket").inputs["lifecycleRules"]
    assert rules[1:] == [{"action": {"type": "Delete"}, "condition": {"age": 90}}]


def test_one_that_is_there_is_adopted_as_it_is() -> None:
    bucket = declared(exists=True).one("Bucket")
    assert bucket.import_id == "results"
    assert bucket.retain_on_delete
    assert set(bucket.inputs) - {"name", "project"} == set(bucket.ignore_changes)


def test_in_somebody_elses_nothing_but_the_grant_is_declared() -> None:
    recording = declared(managed=False)
    assert not recording.of("Bucket")
    assert recording.one("BucketIAMMember").inputs["bucket"] == "results"


@pytest.mark.parametrize(
    ("url", "objects"),
    [
        ("gs://results/team", "projects/_/buckets/results/objects/team/runs/"),
        ("gs://results/a/b/", "projects/_/buckets/results/objects/a/b/runs/"),
        ("gs://results", "projects/_/buckets/results/objects/runs/"),
        ('gs://results/a") || ("', 'projects/_/buckets/results/objects/a\\") || (\\"/runs/'),
    ],
)
def test_a_run_may_only_create_and_only_under_the_prefix(url: str, objects: str) -> None:
    grant = declared(url=url).one("BucketIAMMember")
    assert (grant.inputs["role"], grant.inputs["member"]) == ("roles/storage.objectCreator", RUN)
    assert grant.inputs["condition"]["expression"] == f'resource.name.startsWith("{objects}")'
    assert grant.depends_on == {"results-bucket"}
    assert (grant.parent, grant.on_error, grant.retain_on_delete) == ("results", ("explain",), False)


@pytest.mark.parametrize("url", ["results", "s3://results", "gs://", "gs:///prefix", "./results"])
def test_what_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(pulumi.RunError, match="gs://BUCKET"):
        bucket_and_prefix(url)
