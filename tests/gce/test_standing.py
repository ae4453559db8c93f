"""What a stack keeps on Google Cloud from one attempt to the next, through the recording monitor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi.runtime
import pytest

import catalog
from benchmark_job import BenchmarkJob, BenchmarkJobArgs
from benchmark_job.bucket import Bucket, BucketError
from catalog import Surface
from catalog.repositories import repository_of
from components.gce import names, quota_increase, surface
from components.interface import STACK_LABEL, Standings, SurfaceError
from placement.clock import SystemClock
from placement.ledger import Ledger
from placement.verdicts import CannotSay
from settings import Settings
from tests.gce.conftest import Asking
from tests.gce.google_server import Refusal
from tests.recording import PROJECT as PULUMI_PROJECT
from tests.recording import Recorded, Recording, record
from tests.storage_emulator import emulator

DIGEST = "@sha256:" + "0" * 64
REGISTRY = "europe-west4-docker.pkg.dev/images-project/ours"
POLICY = "artifactregistry.projects.locations.repositories.getIamPolicy"
CANARY = "canary-77aa"

L4 = {
    "surface": "gce",
    "project": "my-project",
    "regions": ["us-east4", "us-central1"],
    "tier": "l4",
    "purchase": "spot",
}
OTHERS_L4 = {"surface": "gce", "project": "other-project", "region": "europe-west4", "tier": "l4", "purchase": "spot"}
LOCAL = {"surface": "local"}
INCREASE = {
    "quota_id": "NVIDIA-L4-GPUS-per-project-region",
    "limit": 8,
    "email": "bench@example.com",
    "justification": "nightly benchmark of one machine",
    "project": "my-project",
    "region": "us-east4",
}


def settings(*ladder: Mapping[str, Any], **more: Any) -> Settings:
    values = {
        "ladder": list(ladder),
        "results": "gs://bench/team",
        "benchmark": {"image": f"{REGISTRY}/resnet{DIGEST}"},
    }
    return Settings.from_config({f"gpubench:{key}": value for key, value in (values | more).items()})


def member(project: str) -> str:
    """The account of the stack `dev` in a project."""
    return f"serviceAccount:{names.service_account_id('dev', project)}@{project}.iam.gserviceaccount.com"


def declared(stack: Settings, secrets: Mapping[str, Any] | None = None, *, adopts: bool = False) -> Recording:
    """What the surface declares for a stack, and for nothing else."""

    def program() -> None:
        standings = Standings(
            settings=stack,
            rungs=tuple(rung for rung in stack.ladder if rung.surface is Surface.GCE),
            stack="dev",
            secrets={name: pulumi.Output.secret(value) for name, value in (secrets or {}).items()},
            labels={"team": "ml", STACK_LABEL: "dev"},
            hooks=pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook("explain", lambda _: False)]),
            adopts=adopts,
        )
        made = surface.declare_standing("google", standings, pulumi.ResourceOptions())
        assert (made is None) == (not standings.rungs)

    return record(program)


def grants(recording: Recording, kind: str) -> list[tuple[str, str]]:
    return sorted((one.inputs["role"], one.inputs["member"]) for one in recording.of(kind))


# -- what there is -----------------------------------------------------------------------------------------------------


def test_each_project_of_the_ladder_has_an_account_that_may_reach_what_a_run_needs() -> None:
    recording = declared(settings(L4, OTHERS_L4, LOCAL, registry=REGISTRY))
    projects = ["my-project", "other-project"]
    members = sorted(member(one) for one in projects)
    assert sorted(one.inputs["project"] for one in recording.of("Account")) == projects
    assert grants(recording, "BucketIAMMember") == [("roles/storage.objectCreator", one) for one in members]
    assert {one.inputs["bucket"] for one in recording.of("BucketIAMMember")} == {"bench"}
    assert grants(recording, "RepositoryIamMember") == [("roles/artifactregistry.reader", one) for one in members]
    assert grants(recording, "IAMMember") == [("roles/logging.logWriter", one) for one in members]
    assert len(recording.of("IAMCustomRole")) == 2
    assert not recording.of("Secret")
    assert not recording.of("SQuotaPreference"), "nothing is asked for that isn't written in the config"


def test_a_new_bucket_and_a_new_registry_are_made_where_the_best_rung_is() -> None:
    recording = declared(settings(LOCAL, L4, OTHERS_L4, registry=REGISTRY))
    bucket, repository = recording.one("Bucket"), recording.one("Repository")
    assert (bucket.inputs["name"], bucket.inputs["project"], bucket.inputs["location"]) == (
        "bench",
        "my-project",
        "US-EAST4",
    )
    where = repository_of(f"{REGISTRY}/image")
    assert where is not None
    inputs = repository.inputs
    assert (inputs["project"], inputs["location"], inputs["repositoryId"]) == (
        where.project,
        where.location,
        where.name,
    )
    for one in (bucket, repository):
        assert one.retain_on_delete
        assert one.import_id == ""
        assert one.inputs["labels"] == {"team": "ml", STACK_LABEL: "dev"}


def test_all_have_the_hook_and_are_children_of_one_component() -> None:
    stack = settings(L4, OTHERS_L4, registry=REGISTRY, google={"quota_increases": [INCREASE]})
    recording = declared(stack, {"HF_TOKEN": CANARY})
    cloud = [one for one in recording if one.type.startswith("gcp:")]
    assert len(cloud) > 15
    assert [one.name for one in cloud if one.on_error != ("explain",)] == []
    parents = {one.name: one.parent for one in recording}

    def top(one: Recorded) -> str:
        name = one.name
        while parents[name] in parents:
            name = parents[name]
        return name

    assert {top(one) for one in cloud} == {"google"}
    components = {one.name for one in recording} - {one.name for one in cloud}
    assert components <= set(recording.registered_outputs)


@pytest.mark.parametrize("registry", [{}, {"registry": "us-docker.pkg.dev/my-project/ours"}])
def test_somebody_elses_repository_gets_grants_and_nothing_else(registry: dict[str, str]) -> None:
    image = f"us-central1-docker.pkg.dev/their-project/images/resnet{DIGEST}"
    recording = declared(settings(L4, benchmark={"image": image}, **registry))
    theirs = [one for one in recording.of("RepositoryIamMember") if one.inputs["project"] == "their-project"]
    assert [(one.inputs["repository"], one.inputs["member"]) for one in theirs] == [("images", member("my-project"))]
    made = [one.inputs["project"] for one in recording.of("Repository")]
    assert made == (["my-project"] if registry else [])


def test_an_image_that_is_not_on_google_cloud_needs_no_grant() -> None:
    recording = declared(settings(L4, benchmark={"image": f"ghcr.io/team/resnet{DIGEST}"}))
    assert not recording.of("RepositoryIamMember")
    assert not recording.of("Repository")


def test_quotas_are_asked_for_as_the_config_says() -> None:
    increases = [INCREASE, {**INCREASE, "project": "other-project", "region": "europe-west4", "limit": 4}]
    recording = declared(settings(L4, OTHERS_L4, google={"quota_increases": increases}))
    asked = recording.of("SQuotaPreference")
    assert [(one.inputs["parent"], one.inputs["quotaConfig"], one.inputs["dimensions"]) for one in asked] == [
        ("projects/my-project", {"preferredValue": "8"}, {"region": "us-east4"}),
        ("projects/other-project", {"preferredValue": "4"}, {"region": "europe-west4"}),
    ]
    for one in asked:
        assert one.inputs["quotaId"] == INCREASE["quota_id"]
        assert one.inputs["contactEmail"] == INCREASE["email"]
        assert one.inputs["justification"] == INCREASE["justification"]
        assert one.retain_on_delete


@pytest.mark.parametrize(
    ("quota_id", "service"),
    [
        ("NVIDIA-L4-GPUS-per-project-region", "compute.googleapis.com"),
        ("NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion", "run.googleapis.com"),
        ("CpuAllocPerProjectRegion", "run.googleapis.com"),
        # Not in the catalogue.
        ("NVIDIA-L4-VWS-GPUS-per-project-region", "compute.googleapis.com"),
        ("NvidiaL4GpuAllocPerProjectRegion", "run.googleapis.com"),
    ],
)
def test_more_is_asked_of_the_service_whose_quota_it_is(quota_id: str, service: str) -> None:
    increase = {**INCREASE, "quota_id": quota_id}
    asked = declared(settings(L4, google={"quota_increases": [increase]})).one("SQuotaPreference").inputs
    assert (asked["service"], asked["quotaId"], asked["parent"]) == (service, quota_id, "projects/my-project")


def test_the_catalogue_decides_whose_a_quota_is_before_the_form_of_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    known = next(iter(catalog.offers(surface=Surface.GCE, tier="l4")))
    quota = replace(known.quotas("on-demand")[0], quota_id="Odd-per-project", service="run.googleapis.com")
    offer = SimpleNamespace(purchases=("on-demand",), quotas=lambda _: (quota,))
    monkeypatch.setattr(catalog, "offers", lambda **_: (offer,))
    assert quota_increase.service_of("Odd-per-project") == "run.googleapis.com"
    assert quota_increase.service_of("Another-per-project") == "compute.googleapis.com"


def test_a_secret_is_one_in_every_project_and_in_clear_nowhere() -> None:
    recording = declared(settings(L4, OTHERS_L4), {"HF_TOKEN": CANARY})
    versions = recording.of("SecretVersion")
    assert len(versions) == 2
    for one in recording:
        clear = {key: value for key, value in one.inputs.items() if key not in one.secrets}
        assert CANARY not in json.dumps(clear), one.name
        assert (CANARY in json.dumps(dict(one.inputs))) == (one in versions), one.name
    projects = ("my-project", "other-project")
    expected = sorted(("roles/secretmanager.secretAccessor", member(one)) for one in projects)
    assert grants(recording, "SecretIamMember") == expected


def test_without_a_rung_on_google_there_is_nothing() -> None:
    assert list(declared(settings(LOCAL, results="results", benchmark={}))) == []


def test_a_job_keeps_it_while_its_ladder_has_google_and_no_longer(tmp_path: Path) -> None:
    """The rung is this machine: what Google's rungs need is there for the walk's next attempt."""

    def program(stack: Settings) -> Recording:
        def job() -> None:
            pulumi.runtime.set_all_config({f"{PULUMI_PROJECT}:nothing": ""})
            local = next(rung for rung in stack.ladder if rung.surface is Surface.LOCAL)
            args = BenchmarkJobArgs(
                settings=stack, rung=local, ledger=Ledger(tmp_path, "test"), clock=SystemClock(), release=True
            )  # fmt: skip
            BenchmarkJob("benchmark", args)

        return record(job)

    with pytest.MonkeyPatch.context() as patch, emulator(patch, "bench"):
        patch.setattr("benchmark_job.job.orders_of", lambda *_: ())  # no registry, no machine: nothing is due
        with_google = program(settings(LOCAL, L4))
        assert [one.inputs["project"] for one in with_google.of("Account")] == ["my-project"]
        assert not program(settings(LOCAL)).of("Account")
        pinned = replace(settings(LOCAL, L4), rung="local/any")
        assert not program(pinned).of("Account")


# -- what is there already ---------------------------------------------------------------------------------------------


@pytest.fixture
def asked(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    """The surface asks a server of this machine, and its buckets are an emulator's."""
    monkeypatch.setattr(surface, "_api", asking.google)
    with emulator(monkeypatch, "bench"):
        yield asking


def answers(asking: Asking, policy: dict[str, Any] | Refusal) -> None:
    asking.server.answers[POLICY] = policy


GONE = Refusal(404, "Requested entity was not found.", "notFound")


def test_what_is_there_is_adopted(asked: Asking) -> None:
    answers(asked, {"bindings": []})
    recording = declared(settings(L4, registry=REGISTRY), adopts=True)
    assert recording.one("Bucket").import_id
    assert recording.one("Repository").import_id == "projects/images-project/locations/europe-west4/repositories/ours"


def test_what_is_not_there_is_made(asked: Asking) -> None:
    answers(asked, GONE)
    recording = declared(settings(L4, registry=REGISTRY, results="gs://new-bench/team"), adopts=True)
    assert recording.one("Bucket").import_id == ""
    assert recording.one("Repository").import_id == ""


def test_a_rehearsal_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "_api", object())
    monkeypatch.setattr(surface, "Bucket", None)
    assert declared(settings(L4, registry=REGISTRY)).one("Bucket").import_id == ""


@pytest.mark.parametrize("key", ["registry", "results"])
def test_what_cannot_be_looked_at_stops_an_update_with_the_key_and_the_words(
    asked: Asking, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    denied = "Permission 'artifactregistry.repositories.getIamPolicy' denied on resource"
    answers(asked, Refusal(403, denied, "forbidden") if key == "registry" else GONE)
    if key == "results":
        denied = "does not have storage.buckets.get access"

        def refused(*_: object) -> bool:
            raise BucketError(f"the results store gs://bench/team can't be looked for: {denied}")

        monkeypatch.setattr(Bucket, "exists", refused)
    with pytest.raises(SurfaceError) as error:
        declared(settings(L4, registry=REGISTRY), adopts=True)
    assert denied in str(error.value)
    assert {"registry": f"gpubench:registry: {REGISTRY}", "results": "gs://bench/team"}[key] in str(error.value)


def test_a_preview_without_credentials_assumes_that_nothing_is_there(
    asked: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> None:
        raise CannotSay("no credentials")

    def refused(*_: object) -> bool:
        raise BucketError("no credentials")

    monkeypatch.setattr(asked.google, "repository_policy", nobody)
    monkeypatch.setattr(Bucket, "exists", refused)
    stack: Sequence[Settings] = [settings(L4, registry=REGISTRY)]
    with pytest.raises(SurfaceError, match="no credentials"):
        declared(stack[0], adopts=True)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    recording = declared(stack[0], adopts=True)
    assert recording.one("Bucket").import_id == recording.one("Repository").import_id == ""
