"""ImageRegistry and RunIdentity through the recording monitor: who may pull, who may do what, what outlives a stack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pytest

from catalog.repositories import Repository, repository_of
from components.gce.quota_increase import QuotaIncreaseArgs, quota_increase
from components.identity import RunIdentity, RunIdentityArgs
from components.registry import (
    ImageRegistry,
    ImageRegistryArgs,
    cloud_run_agent,
    default_compute_account,
)
from tests.recording import Recording, record

DIGEST = "@sha256:" + "0" * 64
OURS = Repository("my-project", "us-central1", "benchmarks")
VM = "serviceAccount:gb-0a1b2c3d@my-project.iam.gserviceaccount.com"

IMAGES = {
    f"us-central1-docker.pkg.dev/my-project/benchmarks/resnet{DIGEST}": OURS,
    "us-central1-docker.pkg.dev/my-project/benchmarks/a/b/resnet:v1": OURS,
    "us-docker.pkg.dev/example.com/p/r/i": Repository("example.com:p", "us", "r"),
    "gcr.io/my-project/resnet": Repository("my-project", "us", "gcr.io"),
    f"eu.gcr.io/my-project/team/resnet{DIGEST}": Repository("my-project", "europe", "eu.gcr.io"),
    "asia.gcr.io/example.com/p/resnet": Repository("example.com:p", "asia", "asia.gcr.io"),
    "ghcr.io/team/resnet:v1": None,
    "docker.io/library/python": None,
    "python:3.12": None,
    "gcr.io/my-project": None,
    "us-docker.pkg.dev/my-project/benchmarks": None,
    "-docker.pkg.dev/p/r/i": None,
    "us-docker.pkg.dev//r/i": None,
    "": None,
}


@pytest.mark.parametrize("image", IMAGES)
def test_the_repository_of_an_image(image: str) -> None:
    found = repository_of(image)
    assert found == IMAGES[image]
    if found is not None:
        assert image.startswith(f"{found.url}/")


def test_the_bucket_that_a_legacy_host_had() -> None:
    assert Repository("p", "us", "gcr.io").legacy_bucket == "artifacts.p.appspot.com"
    assert Repository("p", "europe", "eu.gcr.io").legacy_bucket == "eu.artifacts.p.appspot.com"
    assert Repository("d.com:p", "us", "us.gcr.io").legacy_bucket == "us.artifacts.p.d.com.a.appspot.com"
    assert OURS.legacy_bucket is None


def declared(**changes: Any) -> Recording:
    args = replace(ImageRegistryArgs(repository=OURS, readers={"run": VM}, labels={"team": "ml"}), **changes)

    def program() -> None:
        hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook("explain", lambda _: False)])
        ImageRegistry("images", replace(args, hooks=hooks))

    return record(program)


def test_a_new_repository_is_cleaned_up_and_outlives_its_stack() -> None:
    recording = declared(keep_newest=5, untagged_days=14)
    repository = recording.one("Repository")
    assert repository.retain_on_delete
    assert (repository.import_id, repository.ignore_changes) == ("", ())
    assert repository.inputs["format"] == "DOCKER"
    assert repository.inputs["cleanupPolicies"] == [
        {"id": "keep-newest", "action": "KEEP", "mostRecentVersions": {"keepCount": 5}},
        {"id": "delete-untagged", "action": "DELETE", "condition": {"tagState": "UNTAGGED", "olderThan": "1209600s"}},
    ]
    assert repository.inputs["cleanupPolicyDryRun"] is False
    assert recording.registered_outputs.count("images") == 1


def test_one_that_is_there_is_adopted_as_it_is() -> None:
    repository = declared(exists=True).one("Repository")
    assert repository.import_id == "projects/my-project/locations/us-central1/repositories/benchmarks"
    assert repository.retain_on_delete
    named = {"project", "location", "repositoryId", "format"}
    assert set(repository.inputs) - named == set(repository.ignore_changes) - {"dockerConfig"}


def test_in_somebody_elses_nothing_but_the_grants_is_declared() -> None:
    theirs = Repository("their-project", "europe-west4", "images")
    recording = declared(repository=theirs, managed=False, exists=True)
    assert not recording.of("Repository")
    grant = recording.one("RepositoryIamMember").inputs
    assert (grant["project"], grant["location"], grant["repository"]) == ("their-project", "europe-west4", "images")


def test_each_surfaces_own_principal_may_read_and_do_nothing_else() -> None:
    readers = {"vm": VM, "nodes": default_compute_account(42), "cloud-run": cloud_run_agent(42)}
    recording = declared(readers=readers)
    grants = recording.of("RepositoryIamMember")
    assert {one.inputs["member"] for one in grants} == {
        VM,
        "serviceAccount:42-compute@developer.gserviceaccount.com",
        "serviceAccount:service-42@serverless-robot-prod.iam.gserviceaccount.com",
    }
    for one in grants:
        assert one.inputs["role"] == "roles/artifactregistry.reader"
        assert one.depends_on == {"images-repository"}
        assert (one.parent, one.on_error, one.retain_on_delete) == ("images", ("explain",), False)
    assert len(recording.resources) == 5


def test_the_old_bucket_of_a_legacy_host_is_an_option() -> None:
    legacy = Repository("my-project", "us", "gcr.io")
    assert not declared(repository=legacy).of("BucketIAMMember")
    assert not declared(legacy_bucket=True).of("BucketIAMMember"), "not a legacy host"
    grant = declared(repository=legacy, legacy_bucket=True).one("BucketIAMMember").inputs
    assert grant == {"bucket": "artifacts.my-project.appspot.com", "role": "roles/storage.objectViewer", "member": VM}


# -- the account -------------------------------------------------------------------------------------------------------


def identity(**changes: Any) -> tuple[Recording, dict[str, Any]]:
    """What is registered, and the component's outputs."""
    seen: dict[str, Any] = {}

    def program() -> None:
        hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook("explain", lambda _: False)])
        secret = pulumi.Output.secret("canary-77aa")
        args = RunIdentityArgs(
            project="my-project", stack="dev", secrets={"HF_TOKEN": secret}, labels={"Team": "ML"}, hooks=hooks
        )
        made = RunIdentity("run", replace(args, **changes))
        known = pulumi.Output.all(member=made.member, role=made.end_role, secrets=made.secrets)
        known.apply(lambda values: seen.update(values))

    return record(program), seen


def test_a_stacks_account_may_write_logs_and_nothing_else_of_the_project() -> None:
    recording, seen = identity()
    account = recording.one("Account")
    assert account.inputs["accountId"].startswith("gb-")
    assert seen["member"] == f"serviceAccount:{account.inputs['accountId']}@my-project.iam.gserviceaccount.com"
    logs = recording.one("IAMMember")
    assert (logs.inputs["role"], logs.inputs["member"]) == ("roles/logging.logWriter", seen["member"])
    role = recording.one("IAMCustomRole")
    assert role.inputs["permissions"] == ["compute.instances.delete"]
    assert seen["role"] == f"projects/my-project/roles/{role.inputs['roleId']}"
    for one in recording:
        if one.type.startswith("gcp:"):
            assert (one.parent, one.on_error) == ("run", ("explain",)), one.name
    assert recording.registered_outputs.count("run") == 1


def test_an_existing_role_takes_the_place_of_a_new_one() -> None:
    recording, seen = identity(end_role="organizations/1/roles/ender")
    assert not recording.of("IAMCustomRole")
    assert seen["role"] == "organizations/1/roles/ender"


def test_only_the_run_may_read_a_secret_and_its_value_stays_one() -> None:
    recording, seen = identity()
    secret, version, reader = (recording.one(kind) for kind in ("Secret", "SecretVersion", "SecretIamMember"))
    assert secret.inputs["replication"] == {"auto": {}}
    assert secret.inputs["labels"] == {"team": "ml"}
    assert secret.inputs["secretId"].endswith("-HF_TOKEN")
    assert version.inputs["secretData"] == "canary-77aa"
    assert version.secrets == {"secretData"}
    assert (reader.inputs["role"], reader.inputs["member"]) == ("roles/secretmanager.secretAccessor", seen["member"])
    assert reader.inputs["secretId"] == secret.inputs["secretId"]
    assert seen["secrets"] == {"HF_TOKEN": "run-secret-hf-token-id/versions/1"}
    assert not [one.name for one in recording if one is not version and "canary" in str(one.inputs)]


def test_a_value_given_in_clear_is_made_a_secret() -> None:
    recording, _ = identity(secrets={"HF_TOKEN": "canary-77aa"})
    assert recording.one("SecretVersion").secrets == {"secretData"}


# -- asking for more of a quota ----------------------------------------------------------------------------------------


def test_a_quota_is_asked_for_by_name_and_the_request_stays() -> None:
    def program() -> None:
        args = QuotaIncreaseArgs(
            project="p",
            quota_id="GPUS-PER-GPU-FAMILY-per-project-region",
            region="us-central1",
            dimensions={"gpu_family": "NVIDIA_H100"},
            limit=8,
            contact_email="ml@example.com",
            justification="one benchmark of ResNet-50",
        )
        quota_increase("h100", args, pulumi.ResourceOptions())

    one = record(program).one("SQuotaPreference")
    assert one.retain_on_delete
    assert one.inputs == {
        "name": "gpubench-gpus-per-gpu-family-per-project-region-us-central1-nvidia-h100",
        "parent": "projects/p",
        "service": "compute.googleapis.com",
        "quotaId": "GPUS-PER-GPU-FAMILY-per-project-region",
        "dimensions": {"region": "us-central1", "gpu_family": "NVIDIA_H100"},
        "quotaConfig": {"preferredValue": "8"},
        "contactEmail": "ml@example.com",
        "justification": "one benchmark of ResNet-50",
    }
