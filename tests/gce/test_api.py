"""The client of Google's APIs: its requests are as Google describes them, and failures keep the cloud's words."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.repositories import Repository
from components.gce.api import ApiError, Binding, Group, Operation, QuotaLimit, Resource, ResourceKind
from components.gce.google import Google
from components.gce.rest import TRIES, Rest
from placement.causes import Cause, classify
from placement.verdicts import CannotSay
from tests.gce.conftest import Asking
from tests.gce.google_server import TOKEN, Refusal

P = "a-project"
GROUP = Group(P, "us-central1", "the-group", "gpubench-a1", 1)
REPOSITORY = Repository("images", "us", "benchmarks")
OPERATION = {"name": "op-1", "status": "DONE", "operationType": "delete", "targetLink": "https://x/instances/gone"}
REGIONS = "compute.regions.list"

EVERY: list[tuple[str, Callable[[Google], Any], Any]] = [
    (REGIONS, lambda g: g.regions(P), []),
    ("compute.projects.get", lambda g: g.project_quotas(P), {}),
    ("compute.machineTypes.aggregatedList", lambda g: g.machine_types(P, ["g2-standard-4", "a3-highgpu-1g"]), []),
    ("compute.acceleratorTypes.aggregatedList", lambda g: g.accelerator_types(P, ["nvidia-tesla-t4"]), []),
    (
        "cloudquotas.projects.locations.services.quotaInfos.get",
        lambda g: g.quota_limits(P, "compute.googleapis.com", "GPUS-PER-GPU-FAMILY-per-project-region"),
        {},
    ),
    ("compute.advice.capacity", lambda g: g.capacity_advice(P, "us-central1", ["g2-standard-4"], "SPOT"), {}),
    ("cloudresourcemanager.projects.testIamPermissions", lambda g: g.allowed(P, ["compute.instances.create"]), {}),
    (
        "artifactregistry.projects.locations.repositories.testIamPermissions",
        lambda g: g.allowed_on_repository(REPOSITORY, ["artifactregistry.repositories.setIamPolicy"]),
        {},
    ),
    ("iam.projects.serviceAccounts.testIamPermissions", lambda g: g.allowed_on_account(P, "a@b", ["x.y.z"]), {}),
    ("cloudresourcemanager.projects.getIamPolicy", lambda g: g.project_policy(P), {}),
    ("artifactregistry.projects.locations.repositories.getIamPolicy", lambda g: g.repository_policy(REPOSITORY), {}),
    ("iam.projects.serviceAccounts.get", lambda g: g.account(P, "a@b"), {"email": "a@b"}),
    ("compute.regionInstanceGroupManagers.list", lambda g: g.groups(P, "us-central1", "gpubench-a1"), []),
    ("compute.regionInstanceGroupManagers.listErrors", lambda g: g.group_errors(GROUP), []),
    ("compute.regionInstanceGroupManagers.listManagedInstances", lambda g: g.managed_instances(GROUP), []),
    ("compute.regionInstanceGroupManagerResizeRequests.list", lambda g: g.resize_requests(GROUP), []),
    ("compute.instances.aggregatedList", lambda g: g.instances(P, ("gpubench-attempt", "a1")), []),
    ("compute.globalOperations.aggregatedList", lambda g: g.operations(P, "gpubench-a1"), []),
    ("compute.instances.getSerialPortOutput", lambda g: g.serial(P, "us-central1-a", "m", 7), {"contents": ""}),
    ("compute.regionInstanceGroupManagers.resize", lambda g: g.resize(GROUP, 0), OPERATION),
    ("compute.regionInstanceGroupManagerResizeRequests.cancel", lambda g: g.cancel(GROUP, "r1"), OPERATION),
    *(
        (
            f"compute.{method}.delete",
            lambda g, kind=kind, place=place: g.delete(Resource(kind, P, place, "it")),
            OPERATION,
        )
        for method, kind, place in (
            ("regionInstanceGroupManagers", ResourceKind.GROUP, "us-central1"),
            ("instances", ResourceKind.INSTANCE, "us-central1-a"),
            ("regionInstanceTemplates", ResourceKind.TEMPLATE, "us-central1"),
            ("reservations", ResourceKind.RESERVATION, "us-central1-a"),
            ("disks", ResourceKind.DISK, "us-central1-a"),
            ("addresses", ResourceKind.ADDRESS, "us-central1"),
        )
    ),
    *(
        (f"compute.{method}.wait", lambda g, at=at: g.wait(Operation(P, at, "op", "delete", "m", False), 5), OPERATION)
        for method, at in (
            ("regionOperations", "us-central1"),
            ("zoneOperations", "us-central1-a"),
            ("globalOperations", "global"),
        )
    ),
]


@pytest.mark.parametrize(("method", "ask", "answer"), EVERY, ids=[one[0] for one in EVERY])
def test_each_request_is_one_that_google_describes(
    asking: Asking, method: str, ask: Callable[[Google], Any], answer: Any
) -> None:
    asking.server.answers[method] = answer
    ask(asking.google)
    assert {one.id for one in asking.server.asked} == {method}
    # A person's credentials name no project, and several APIs refuse a request that nobody pays for.
    assert asking.server.asked[0].headers["x-goog-user-project"] in (P, "images")


def test_the_server_refuses_what_google_does_not_describe(asking: Asking) -> None:
    rest = asking.google._rest
    asking.server.answers[REGIONS] = [{"name": "us-central1"}]
    for verb, path, query, body in (
        ("GET", "compute/v1/projects/p/regions", {"pageSize": "5"}, None),
        ("GET", "compute/v1/projects/p/regions", {"fields": "items(limits)"}, None),
        ("GET", "compute/v1/projects/p/regions", {"maxResults": "many"}, None),
        ("GET", "compute/v1/projects/p/regionen", {}, None),
        ("GET", "compute/v1/projects/UPPER_CASE/regions", {}, None),
        ("POST", "compute/v1/projects/p/regions/r/advice/capacity", {}, {"size": "one"}),
        ("POST", "compute/v1/projects/p/regions/r/advice/capacity", {}, {"sizes": 1}),
        ("DELETE", "compute/v1/projects/p/zones/z/instances/m", {"force": "true"}, None),
    ):
        with pytest.raises(ApiError, match="400"):
            rest.ask(verb, "compute.googleapis.com", path, query, body, project=P)
    assert len(asking.server.wrong) == 8
    asking.server.wrong.clear()


def test_all_pages_are_read_and_each_item_once(asking: Asking) -> None:
    asking.server.page = 2
    asking.server.answers[REGIONS] = [{"name": f"region-{n}", "zones": [f"https://x/zones/z{n}"]} for n in range(5)]
    assert [one.name for one in asking.google.regions(P)] == [f"region-{n}" for n in range(5)]
    assert [one.query.get("pageToken") for one in asking.server.asked] == [None, "from-2", "from-4"]


def test_a_page_that_names_itself_as_the_next_ends(asking: Asking) -> None:
    asking.server.answers[REGIONS] = {"nextPageToken": "again", "items": []}
    with pytest.raises(ApiError, match=r"'again'.*twice"):
        asking.google.regions(P)


def test_machine_types_fit_a_page_each_and_come_from_all_zones(asking: Asking) -> None:
    import catalog

    names = sorted({o.machine_type for o in catalog.offers(surface="gce")})
    asking.server.answers["compute.machineTypes.aggregatedList"] = [
        {"name": name, "zone": f"us-central1-{zone}"} for name in [*names, "e2-micro"] for zone in "abcf"
    ]
    found = asking.google.machine_types(P, names)
    assert found == {name: tuple(f"us-central1-{zone}" for zone in "abcf") for name in names}
    assert 1 < len(asking.server.asked) < 10


def test_a_listing_without_some_zone_is_no_listing(asking: Asking) -> None:
    asking.server.answers["compute.machineTypes.aggregatedList"] = {
        "items": {"zones/us-east4-a": {"warning": {"code": "UNREACHABLE"}}}
    }
    with pytest.raises(ApiError, match="us-east4-a"):
        asking.google.machine_types(P, ["g2-standard-4"])


def test_what_was_throttled_or_failed_for_a_moment_is_asked_again(asking: Asking) -> None:
    asking.server.answers[REGIONS] = [{"name": "us-central1"}]
    asking.server.faults[REGIONS] = [
        Refusal(429, "Too many", "rateLimitExceeded", headers={"Retry-After": "3"}),
        Refusal(403, "Rate Limit Exceeded", "rateLimitExceeded"),
        Refusal(drop=True),
    ]
    assert len(asking.google.regions(P)) == 1
    assert len(asking.slept) == 3
    assert asking.slept[0] == 3
    assert all(0 < seconds <= 8 for seconds in asking.slept)


def test_it_does_not_ask_for_ever(asking: Asking) -> None:
    asking.server.faults[REGIONS] = [Refusal(503, "Backend Error", "backendError")] * 10
    with pytest.raises(ApiError, match="Error 503: Backend Error, backendError") as failed:
        asking.google.regions(P)
    assert (failed.value.status, len(asking.server.asked)) == (503, TRIES)
    assert classify(failed.value.text).cause is Cause.TRANSIENT


def test_a_change_that_is_repeated_has_one_id(asking: Asking) -> None:
    name = "compute.regionInstanceGroupManagers.resize"
    asking.server.answers[name] = OPERATION
    asking.server.faults[name] = [Refusal(502, "Bad gateway")]
    asking.google.resize(GROUP, 0)
    assert len({one.query["requestId"] for one in asking.server.asked}) == 1
    assert asking.server.asked[-1].query["size"] == "0"


DISABLED = (
    "Compute Engine API has not been used in project 123 before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/compute.googleapis.com/overview?project=123 then retry."
)


@pytest.mark.parametrize(
    ("refusal", "cause"),
    [
        (
            Refusal(403, "Required 'compute.regions.list' permission for 'projects/a-project'", "forbidden"),
            Cause.PERMISSION,
        ),
        (Refusal(403, DISABLED, "accessNotConfigured", "PERMISSION_DENIED"), Cause.PERMISSION),
        (
            Refusal(403, "Quota 'NVIDIA_L4_GPUS' exceeded. Limit: 0.0 in region us-central1.", "quotaExceeded"),
            Cause.QUOTA,
        ),
        (Refusal(403, body="<html>proxy says no</html>"), Cause.PERMISSION),
    ],
)
def test_a_refusal_keeps_the_clouds_words_and_its_cause(asking: Asking, refusal: Refusal, cause: Cause) -> None:
    asking.server.answers[REGIONS] = refusal
    with pytest.raises(ApiError) as failed:
        asking.google.regions(P)
    assert (refusal.message or refusal.body) in failed.value.text
    assert refusal.reason in failed.value.text
    assert classify(failed.value.text).cause is cause
    assert len(asking.server.asked) == 1


def test_details_are_kept(asking: Asking) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}
    asking.server.answers[REGIONS] = Refusal(403, "No.", details=(detail,))
    with pytest.raises(ApiError, match='"reason": "SERVICE_DISABLED"'):
        asking.google.regions(P)


def test_limits_come_with_what_they_hold_for(asking: Asking) -> None:
    asking.server.answers["cloudquotas.projects.locations.services.quotaInfos.get"] = {
        "dimensionsInfos": [
            {
                "dimensions": {"region": "us-central1", "gpu_family": "NVIDIA_H100"},
                "details": {"value": "8"},
                "applicableLocations": ["us-central1"],
            },
            {"details": {"value": "-1"}, "applicableLocations": ["us-east4", "us-west1"]},
        ]
    }
    assert asking.google.quota_limits(P, "compute.googleapis.com", "X") == (
        QuotaLimit(8, (("gpu_family", "NVIDIA_H100"), ("region", "us-central1")), ("us-central1",)),
        QuotaLimit(-1, (), ("us-east4", "us-west1")),
    )


def test_an_attribute_is_set_beside_the_others_even_when_somebody_else_sets_one(asking: Asking) -> None:
    asking.server.answers["compute.instances.get"] = {
        "metadata": {"fingerprint": "f1", "items": [{"key": "gpubench-gpu", "value": "1"}]}
    }
    asking.server.answers["compute.instances.setMetadata"] = OPERATION
    asking.server.faults["compute.instances.setMetadata"] = [
        Refusal(412, "Supplied fingerprint does not match current metadata fingerprint.", "conditionNotMet")
    ]
    asking.google.set_metadata(P, "us-central1-a", "m", "gpubench-stop", "stopped")
    sent = asking.server.calls("compute.instances.setMetadata")
    assert [one.body["fingerprint"] for one in sent] == ["f1", "f1"]
    assert {item["key"]: item["value"] for item in sent[-1].body["items"]} == {
        "gpubench-gpu": "1",
        "gpubench-stop": "stopped",
    }


def test_a_policy_with_a_condition_says_so(asking: Asking) -> None:
    asking.server.answers["cloudresourcemanager.projects.getIamPolicy"] = {
        "bindings": [{"role": "roles/viewer", "members": ["allUsers"], "condition": {"expression": "false"}}]
    }
    assert asking.google.project_policy(P) == (Binding("roles/viewer", ("allUsers",), "false"),)
    assert asking.server.asked[0].body == {"options": {"requestedPolicyVersion": 3}}


def test_what_is_gone_is_no_failure_to_delete(asking: Asking) -> None:
    assert asking.google.delete(Resource(ResourceKind.DISK, P, "us-central1-a", "d")) is None
    assert asking.google.account(P, "nobody@x") is None


def test_32_threads_ask_at_once(asking: Asking) -> None:
    asking.server.answers[REGIONS] = [{"name": "us-central1"}]
    asking.server.latency_s = 0.05
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(asking.google.regions(P)))) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 32
    assert asking.server.rounds() <= 4


def test_without_credentials_nothing_can_be_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import google.auth
    import google.auth.exceptions

    def none(**_: object) -> None:
        raise google.auth.exceptions.DefaultCredentialsError("Your default credentials were not found.")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(
        CannotSay, match=r"Your default credentials were not found.*gcloud auth application-default login"
    ):
        Google().regions(P)


def test_a_token_is_fetched_once_for_all_threads(asking: Asking) -> None:
    from google.auth.credentials import Credentials

    fetched: list[int] = []

    class Slow(Credentials):
        def refresh(self, request: object) -> None:
            threading.Event().wait(0.02)
            fetched.append(1)
            self.token = TOKEN

    google = Google(rest=Rest(Slow(), endpoint=asking.server.endpoint))  # type: ignore[no-untyped-call]
    asking.server.answers[REGIONS] = []
    threads = [threading.Thread(target=google.regions, args=(P,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asking.server.asked) == 8
    assert len(fetched) == 1


def test_the_library_is_imported_only_when_something_is_asked() -> None:
    code = (
        "import sys, components.gce.google, components.gce.preflight, components.gce.watch, components.gce.sweep; "
        "components.gce.google.Google(); "
        "assert not {'google.auth', 'requests', 'pulumi_gcp'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
