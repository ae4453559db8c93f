"""What is known of rungs on Compute Engine before anything is tried: from Google's answers to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

import catalog
from catalog import Purchase, Surface
from components.gce import access
from components.gce.names import service_account_email
from components.gce.preflight import GcePreflight
from placement.ladder import Place, Rung
from placement.verdicts import (
    CannotSay,
    Grant,
    Grants,
    Kind,
    Odds,
    Offers,
    Question,
    Quotas,
    QuotaState,
    Said,
    Verdict,
    ask,
)
from settings import Settings
from tests.gce.conftest import Asking
from tests.gce.google_server import Asked, GoogleServer, Refusal

P, R = "a-project", "us-central1"
IMAGE = "us-docker.pkg.dev/images/benchmarks/speed@sha256:" + "0" * 64
EMAIL = service_account_email("dev", P)
FAMILY = "GPUS-PER-GPU-FAMILY-per-project-region"

MACHINES = "compute.machineTypes.aggregatedList"
REGIONS = "compute.regions.list"
INSTANCES = "compute.instances.aggregatedList"
INFOS = "cloudquotas.projects.locations.services.quotaInfos.get"
ALLOWED = "cloudresourcemanager.projects.testIamPermissions"
ACCOUNT = "iam.projects.serviceAccounts.get"
POLICY = "artifactregistry.projects.locations.repositories.getIamPolicy"
MAY_GRANT = "artifactregistry.projects.locations.repositories.testIamPermissions"
OWNERS_POLICY = "cloudresourcemanager.projects.getIamPolicy"
ADVICE = "compute.advice.capacity"
ON_BUCKET = "storage.buckets.testIamPermissions"
BUCKET_POLICY = "storage.buckets.getIamPolicy"
ON_SUBNET = "compute.subnetworks.testIamPermissions"

READER = {"role": "roles/artifactregistry.reader", "members": [f"serviceAccount:{EMAIL}"]}


def limits(**by_family: int) -> dict[str, Any]:
    """An answer of Cloud Quotas; a family that isn't named has none at all."""
    rows: list[dict[str, Any]] = [
        {
            "dimensions": {"region": R, "gpu_family": f"NVIDIA_{family}"},
            "details": {"value": str(value)},
            "applicableLocations": [R],
        }
        for family, value in by_family.items()
    ]
    return {"dimensionsInfos": [*rows, {"details": {"value": "0"}, "applicableLocations": [R, "us-east4"]}]}


def everything(asked: Asked) -> dict[str, Any]:
    """All that was asked for."""
    return {"permissions": asked.body["permissions"]}


def but(*denied: str) -> Callable[[Asked], dict[str, Any]]:
    """All but these."""
    return lambda asked: {"permissions": [one for one in asked.body["permissions"] if one not in denied]}


def ready(server: GoogleServer) -> None:
    """A project where an L4 can be had on demand and as spot, and where all is permitted."""
    server.answers.update(
        {
            MACHINES: [{"name": "g2-standard-4", "zone": f"{R}-{zone}"} for zone in "abc"],
            "compute.acceleratorTypes.aggregatedList": [{"name": "nvidia-tesla-t4", "zone": f"{R}-a"}],
            REGIONS: [
                {
                    "name": R,
                    "zones": [f"https://x/zones/{R}-a"],
                    "quotas": [
                        {"metric": "NVIDIA_L4_GPUS", "limit": 2, "usage": 1},
                        {"metric": "PREEMPTIBLE_NVIDIA_L4_GPUS", "limit": 4, "usage": 0},
                    ],
                }
            ],
            "compute.projects.get": {"quotas": [{"metric": "GPUS_ALL_REGIONS", "limit": 20, "usage": 3}]},
            INSTANCES: [],
            INFOS: limits(H100=8),
            ALLOWED: everything,
            MAY_GRANT: everything,
            BUCKET_POLICY: {},
            ON_BUCKET: lambda asked: {"permissions": list(asked.repeated["permissions"])},
            ACCOUNT: {"email": EMAIL},
            POLICY: {"bindings": [READER]},
            OWNERS_POLICY: {},
            ADVICE: {"recommendations": [{"scores": {"obtainability": 0.8}, "shards": [{"zone": f"zones/{R}-b"}]}]},
        }
    )


def rung(tier: str, purchase: Purchase, machine_type: str, count: int = 1) -> Rung:
    """One machine of a tier in us-central1."""
    return Rung(Place(Surface.GCE, P, R), tier, count, (machine_type,), purchase)


def settings(*regions: str, projects: tuple[str, ...] = (P,), **more: Any) -> Settings:
    """Of a stack with an L4 in these regions (us-central1) of each project."""
    ladder = [
        {"surface": "gce", "project": project, "regions": list(regions or (R,)), "tier": "l4"} for project in projects
    ]
    values = {"ladder": ladder, "results": "gs://bench/team", "benchmark": {"image": IMAGE}, **more}
    return Settings.from_config({f"gpubench:{key}": value for key, value in values.items()})


def preflight(asking: Asking, stack: Settings | None = None) -> GcePreflight:
    """That of the stack `dev`."""
    return GcePreflight(asking.google, "dev", stack or settings())


def verdict(asking: Asking, wanted: Rung, image: str | None = IMAGE, stack: Settings | None = None) -> Verdict:
    """What is known of one rung."""
    return ask((wanted,), {Surface.GCE: preflight(asking, stack)}, image=image)[wanted.id]


L4 = rung("l4", Purchase.SPOT, "g2-standard-4")
H100 = rung("h100", Purchase.ON_DEMAND, "a3-highgpu-8g", 8)


def question(kind: Kind, **more: Any) -> Question:
    """One question about us-central1."""
    return Question(kind, Surface.GCE, P, **{"region": R, **more})


def test_a_rung_that_can_be_had_is_possible_and_says_why(asking: Asking) -> None:
    ready(asking.server)
    found = verdict(asking, L4)
    assert found.possible
    assert [found.offered.said, found.quota.said, found.permitted.said] == [Said.YES] * 3
    assert found.zones == (f"{R}-a", f"{R}-b", f"{R}-c")
    assert (found.odds, found.odds_zones) == (0.8, (f"{R}-b",))
    assert found.offered_live


def test_an_accelerator_that_is_attached_is_listed_with_its_own_zones(asking: Asking) -> None:
    ready(asking.server)
    found = preflight(asking).ask(question(Kind.OFFERS))
    assert found == Offers(
        {"g2-standard-4": (f"{R}-a", f"{R}-b", f"{R}-c"), "nvidia-tesla-t4": (f"{R}-a",)},
    )


def test_what_no_zone_lists_is_not_offered(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[MACHINES] = []
    assert verdict(asking, L4).offered.said is Said.NO


def test_a_quota_that_is_used_up_names_who_holds_it_and_how_to_ask_for_more(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[REGIONS] = [
        {"name": R, "quotas": [{"metric": "PREEMPTIBLE_NVIDIA_L4_GPUS", "limit": 1, "usage": 1}]}
    ]
    asking.server.answers[INSTANCES] = [
        {
            "name": "forgotten",
            "zone": f"https://x/zones/{R}-a",
            "machineType": f"https://x/zones/{R}-a/machineTypes/g2-standard-4",
            "status": "RUNNING",
            "scheduling": {"provisioningModel": "SPOT"},
        }
    ]
    found = verdict(asking, L4)
    assert found.quota.said is Said.NO
    assert "forgotten (us-central1-a)" in found.quota.why
    assert "PREEMPTIBLE-NVIDIA-L4-GPUS-per-project-region" in found.mend


def family(value: float, usage: float | None = 0.0) -> QuotaState:
    """Of H100 machines in us-central1."""
    return QuotaState("compute.googleapis.com", FAMILY, value, usage, (("gpu_family", "NVIDIA_H100"),))


def states(asking: Asking, **more: Any) -> list[QuotaState]:
    """The quotas of us-central1."""
    found = preflight(asking).ask(question(Kind.QUOTAS, **more))
    assert isinstance(found, Quotas)
    return list(found.states)


def test_new_families_quotas_are_cloud_quotas_and_what_runs_is_counted(asking: Asking) -> None:
    ready(asking.server)
    assert family(8) in states(asking)
    machine = {
        "name": "busy",
        "zone": f"zones/{R}-a",
        "machineType": "a3-highgpu-8g",
        "status": "RUNNING",
        "scheduling": {"provisioningModel": "STANDARD"},
    }
    asking.server.answers[INSTANCES] = [machine, {**machine, "name": "ended", "status": "TERMINATED"}]
    busy = next(one for one in states(asking) if one.dimensions == (("gpu_family", "NVIDIA_H100"),))
    assert (busy.limit, busy.usage, busy.held_by) == (8, 8, ("busy (us-central1-a)",))
    quota = verdict(asking, H100).quota
    assert quota.said is Said.NO
    assert "busy" in quota.why


def test_the_most_specific_limit_counts_and_the_rest_have_the_general_one(asking: Asking) -> None:
    ready(asking.server)
    by_family = {dict(one.dimensions).get("gpu_family"): one.limit for one in states(asking) if one.quota_id == FAMILY}
    assert by_family["NVIDIA_H100"] == 8
    assert by_family["NVIDIA_H200"] == 0


def test_without_cloud_quotas_the_classic_ones_are_known_all_the_same(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[INFOS] = Refusal(403, "Cloud Quotas API has not been used in project 1 before", "forbidden")
    found = states(asking)
    assert {one.quota_id for one in found} == {
        "NVIDIA-L4-GPUS-per-project-region",
        "PREEMPTIBLE-NVIDIA-L4-GPUS-per-project-region",
    }
    assert verdict(asking, H100).quota.said is Said.UNKNOWN
    assert verdict(asking, L4).quota.said is Said.YES


def test_usage_is_unknown_where_the_machines_may_not_be_listed(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[INSTANCES] = Refusal(403, "Required 'compute.instances.list' permission", "forbidden")
    assert family(8, None) in states(asking)


def test_the_quota_over_all_regions_is_the_projects(asking: Asking) -> None:
    ready(asking.server)
    found = states(asking, region=None)
    assert [(one.quota_id, one.limit, one.usage) for one in found] == [("GPUS-ALL-REGIONS-per-project", 20, 3)]


def test_a_region_whose_quotas_google_leaves_out_is_unknown(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[REGIONS] = [{"name": R, "quotaStatusWarning": {"code": "QUOTA_INFO_UNAVAILABLE"}}]
    assert verdict(asking, L4).quota.said is Said.UNKNOWN


def grants(
    asking: Asking, image: str | None = IMAGE, stack: Settings | None = None
) -> dict[str, tuple[str, bool, str]]:
    """By permission: who, whether, and the mend."""
    return {one.permission: (one.principal, one.granted, one.mend) for one in all_grants(asking, image, stack)}


def all_grants(asking: Asking, image: str | None = IMAGE, stack: Settings | None = None) -> tuple[Grant, ...]:
    """What the project's question about permissions is answered with."""
    found = preflight(asking, stack).ask(Question(Kind.PERMISSIONS, Surface.GCE, P, image=image))
    assert isinstance(found, Grants)
    return found.grants


PULL = "artifactregistry.repositories.downloadArtifacts"


def test_a_missing_permission_comes_with_the_command_that_grants_it(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[ALLOWED] = but("compute.instances.create")
    who, granted, mend = grants(asking)["compute.instances.create"]
    assert (who, granted) == ("the deployer", False)
    assert mend.startswith("gcloud projects add-iam-policy-binding a-project --member=user:YOUR_ADDRESS --role=roles/")
    assert verdict(asking, L4).mend == mend


def test_acting_as_the_account_may_be_granted_on_the_account_alone(asking: Asking) -> None:
    ready(asking.server)
    act_as = "iam.serviceAccounts.actAs"
    asking.server.answers[ALLOWED] = but(act_as)
    asking.server.answers["iam.projects.serviceAccounts.testIamPermissions"] = {"permissions": [act_as]}
    assert grants(asking)[act_as][1]
    asking.server.answers["iam.projects.serviceAccounts.testIamPermissions"] = {}
    assert not grants(asking)[act_as][1]


def test_making_the_account_is_asked_about_only_while_there_is_none(asking: Asking) -> None:
    ready(asking.server)
    assert "iam.serviceAccounts.create" not in grants(asking)
    del asking.server.answers[ACCOUNT]
    assert "iam.serviceAccounts.create" in grants(asking)


def test_a_disabled_account_is_told_before_a_machine_is_asked_for(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[ACCOUNT] = {"email": EMAIL, "disabled": True}
    found = verdict(asking, L4)
    assert found.permitted.said is Said.NO
    assert found.mend == f"gcloud iam service-accounts enable {EMAIL} --project={P}"


def test_an_api_that_is_off_is_a_no_with_its_mend(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[REGIONS] = Refusal(
        403,
        "Compute Engine API has not been used in project 123 before or it is disabled. Enable it by visiting "
        "https://console.developers.google.com/apis/api/compute.googleapis.com/overview?project=123 then retry.",
        "accessNotConfigured",
    )
    found = verdict(asking, L4)
    assert found.permitted.said is Said.NO
    assert "compute.googleapis.com" in found.mend


@pytest.mark.parametrize(
    ("answers", "pulls"),
    [
        ({}, True),
        ({POLICY: {"bindings": [{**READER, "members": ["allUsers"]}]}}, True),
        ({POLICY: {}, OWNERS_POLICY: {"bindings": [READER]}}, True),
        ({POLICY: {}}, False),
        ({POLICY: {"bindings": [{**READER, "role": "roles/artifactregistry.serviceAgent"}]}}, False),
        # What isn't seen is unknown, and never a no.
        ({POLICY: {}, OWNERS_POLICY: Refusal(403, "Permission denied", "forbidden")}, None),
        ({POLICY: {"bindings": [{**READER, "members": ["group:all@example.com"]}]}}, None),
        ({POLICY: {"bindings": [{**READER, "role": "projects/images/roles/own"}]}}, None),
        ({POLICY: {"bindings": [{**READER, "condition": {"expression": "false"}}]}}, None),
        ({POLICY: {}, MAY_GRANT: Refusal(403, "Permission denied", "forbidden")}, None),
    ],
)
def test_whether_the_machines_account_may_pull(asking: Asking, answers: Mapping[str, Any], pulls: bool | None) -> None:
    ready(asking.server)
    asking.server.answers.update({MAY_GRANT: {}, **answers})
    found = grants(asking).get(PULL)
    assert (found[1] if found else None) is pulls
    if pulls is False:
        assert found is not None
        assert found[2] == (
            "gcloud artifacts repositories add-iam-policy-binding benchmarks --project=images --location=us "
            f"--member=serviceAccount:{EMAIL} --role=roles/artifactregistry.reader"
        )


def test_a_pull_that_the_update_grants_is_no_obstacle(asking: Asking) -> None:
    ready(asking.server)
    permission = "artifactregistry.repositories.setIamPolicy"
    asking.server.answers[POLICY] = {}
    found = grants(asking)
    assert PULL not in found
    assert found[permission][:2] == ("the deployer", True)


# -- what the stack declares beside its machines -----------------------------------------------------------------------

QUOTA = "PREEMPTIBLE_NVIDIA_L4_GPUS"
OWN = "us-docker.pkg.dev/our-project/ours"
GONE = Refusal(404, "Requested entity was not found.", "notFound")


def missing(asking: Asking, stack: Settings | None = None, image: str | None = IMAGE) -> dict[str, str]:
    """What the deployer lacks, and the commands that grant it."""
    return {one.permission: one.mend for one in all_grants(asking, image, stack) if not one.granted}


def names(needs: tuple[access.Need, ...]) -> set[str]:
    return {need.permission for need in needs}


@pytest.mark.parametrize(
    ("google", "asked"),
    [
        ({}, access.NETWORK),
        ({"nat": True}, (*access.NETWORK, *access.NAT)),
        ({"subnet": "theirs"}, access.SUBNET),
        ({"subnet": f"projects/host-project/regions/{R}/subnetworks/theirs"}, access.SUBNET),
    ],
)
def test_the_network_that_is_declared_is_asked_about(
    asking: Asking, google: Mapping[str, Any], asked: tuple[access.Need, ...]
) -> None:
    ready(asking.server)
    asking.server.answers[ON_SUBNET] = everything
    networks = names((*access.NETWORK, *access.NAT, *access.SUBNET))
    stack = settings(google=google)
    assert {one for one in grants(asking, stack=stack) if one in networks} == names(asked)
    assert not missing(asking, stack)
    asking.server.answers.update({ALLOWED: but(*names(asked)), ON_SUBNET: {}})
    lacked = missing(asking, stack)
    assert set(lacked) == names(asked)
    for need in asked:
        assert f"--role={need.role}" in lacked[need.permission] and need.why in lacked[need.permission]


def test_a_subnet_is_asked_itself_and_concerns_its_region_alone(asking: Asking) -> None:
    """One that several projects share is often granted one by one; a rung elsewhere isn't held up by it."""
    ready(asking.server)
    asking.server.answers[ON_SUBNET] = lambda asked: everything(asked) if asked.path["region"] == R else {}
    stack = settings(R, "us-east4", google={"subnet": "theirs"})
    places = [{**place.path, "permissions": place.body["permissions"]} for place in asked_on_subnets(asking, stack)]
    wanted = [{"project": P, "region": one, "resource": "theirs"} for one in (R, "us-east4")]
    assert places == [{**one, "permissions": ["compute.subnetworks.use"]} for one in wanted]
    assert verdict(asking, L4, stack=stack).permitted.said is Said.YES
    asking.server.answers[REGIONS] = [{"name": "us-east4", "quotas": [{"metric": QUOTA, "limit": 4, "usage": 0}]}]
    asking.server.answers[MACHINES] = [{"name": "g2-standard-4", "zone": "us-east4-a"}]
    there = verdict(asking, replace(L4, place=Place(Surface.GCE, P, "us-east4")), stack=stack)
    assert there.permitted.why == "the deployer lacks compute.subnetworks.use"
    assert there.mend.startswith(
        "gcloud compute networks subnets add-iam-policy-binding theirs --project=a-project --region=us-east4 "
        "--member=user:YOUR_ADDRESS --role=roles/compute.networkUser"
    )


def asked_on_subnets(asking: Asking, stack: Settings) -> list[Asked]:
    missing(asking, stack)
    return sorted(asking.server.calls(ON_SUBNET), key=lambda one: one.path["region"])


def test_a_subnet_of_another_project_is_asked_there(asking: Asking) -> None:
    ready(asking.server)
    (asked,) = asked_on_subnets(
        asking, settings(google={"subnet": f"projects/host-project/regions/{R}/subnetworks/theirs"})
    )
    assert dict(asked.path) == {"project": "host-project", "region": R, "resource": "theirs"}


def test_a_bucket_that_is_there_is_asked_itself(asking: Asking) -> None:
    ready(asking.server)
    assert not missing(asking)
    assert set(asking.server.calls(ON_BUCKET)[0].repeated["permissions"]) == names(access.BUCKET)
    asking.server.answers[ON_BUCKET] = {"permissions": ["storage.buckets.get", "storage.buckets.getIamPolicy"]}
    # Whoever may not make buckets needs not: this one is there.
    asking.server.answers[ALLOWED] = but("storage.buckets.create")
    (lacked,) = missing(asking).items()
    assert lacked[0] == "storage.buckets.setIamPolicy"
    assert lacked[1].startswith(
        "gcloud storage buckets add-iam-policy-binding gs://bench --member=user:YOUR_ADDRESS --role=roles/storage.admin"
    )


def test_a_bucket_that_is_not_there_is_made_in_the_first_project(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers.update({ON_BUCKET: GONE, BUCKET_POLICY: GONE})
    stack = settings(projects=("first-project", P))
    assert grants(asking, stack=stack)["storage.buckets.create"] == ("the deployer", True, "")
    asking.server.answers[ALLOWED] = but("storage.buckets.create")
    lacked = missing(asking, stack)
    assert list(lacked) == ["storage.buckets.create"]
    assert lacked["storage.buckets.create"].startswith("gcloud projects add-iam-policy-binding first-project --member=")
    asked = {one.path["resource"] for one in asking.server.calls(ALLOWED) if MAKES in one.body["permissions"]}
    assert asked == {"projects/first-project"}


MAKES = "storage.buckets.create"


def test_a_bucket_that_nobody_can_say_anything_of_is_no_obstacle(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[ON_BUCKET] = Refusal(403, "Permission denied", "forbidden")
    assert not {one for one in grants(asking) if one.startswith("storage.")}


def test_a_registry_that_is_not_there_is_made_in_its_project(asking: Asking) -> None:
    ready(asking.server)
    image = f"{OWN}/speed:1"
    asking.server.answers.update({POLICY: GONE, MAY_GRANT: GONE})
    stack = settings(registry=OWN)
    assert grants(asking, image, stack)["artifactregistry.repositories.create"] == ("the deployer", True, "")
    asking.server.answers[ALLOWED] = but("artifactregistry.repositories.create")
    lacked = missing(asking, stack, image)
    assert list(lacked) == ["artifactregistry.repositories.create"]
    assert lacked["artifactregistry.repositories.create"].startswith(
        "gcloud projects add-iam-policy-binding our-project --"
    )


def test_a_registry_that_is_there_is_taken_as_it_is_and_pulls_are_granted_on_it(asking: Asking) -> None:
    ready(asking.server)
    stack = settings(registry=OWN)
    asking.server.answers[ALLOWED] = but("artifactregistry.repositories.create")
    assert not missing(asking, stack)
    asking.server.answers[MAY_GRANT] = lambda asked: {} if "ours" in asked.path["resource"] else everything(asked)
    # What an earlier update has granted isn't written again; the rest is asked of it each time.
    assert set(missing(asking, stack)) == names((*access.REGISTRY, *access.REPOSITORY[:1]))
    asking.server.answers[POLICY] = {}
    lacked = missing(asking, stack)
    assert set(lacked) == names((*access.REGISTRY, *access.REPOSITORY))
    for mend in lacked.values():
        assert "add-iam-policy-binding ours --project=our-project --location=us --member=user:YOUR_ADDRESS" in mend


@pytest.mark.parametrize(
    "policies",
    [
        {POLICY: {"bindings": [{**READER, "members": ["allUsers"]}]}},
        {POLICY: {}, OWNERS_POLICY: {"bindings": [READER]}},
    ],
)
def test_an_account_that_may_pull_otherwise_spares_nobody_the_right_to_grant(
    asking: Asking, policies: Mapping[str, Any]
) -> None:
    """The update declares its own grant all the same."""
    ready(asking.server)
    asking.server.answers.update({**policies, MAY_GRANT: but("artifactregistry.repositories.setIamPolicy")})
    assert grants(asking)[PULL][1]
    found = verdict(asking, L4)
    assert found.permitted.why == "the deployer lacks artifactregistry.repositories.setIamPolicy"
    assert found.mend.startswith(
        "gcloud artifacts repositories add-iam-policy-binding benchmarks --project=images --location=us "
        "--member=user:YOUR_ADDRESS --role=roles/artifactregistry.admin"
    )


def test_what_an_earlier_update_has_granted_is_not_asked_for_again(asking: Asking) -> None:
    """A pipeline may run updates of a stack that somebody with more rights began."""
    ready(asking.server)
    results = {"role": "roles/storage.objectCreator", "members": READER["members"], "condition": {"expression": "x"}}
    asking.server.answers.update(
        {MAY_GRANT: {}, ON_BUCKET: {"permissions": ["storage.buckets.get"]}, BUCKET_POLICY: {"bindings": [results]}}
    )
    assert not missing(asking)
    assert verdict(asking, L4).permitted.said is Said.YES
    asking.server.answers[BUCKET_POLICY] = {"bindings": [{**results, "members": ["serviceAccount:other@x.com"]}]}
    assert set(missing(asking)) == {"storage.buckets.getIamPolicy", "storage.buckets.setIamPolicy"}


def test_nobody_is_told_to_grant_anything_to_an_account_that_is_not_there(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers.update({POLICY: {}, MAY_GRANT: {}})
    assert verdict(asking, L4).mend.endswith("--role=roles/artifactregistry.reader")
    del asking.server.answers[ACCOUNT]
    found = verdict(asking, L4)
    assert found.permitted.said is Said.NO and PULL not in found.permitted.why
    assert found.mend.startswith("gcloud artifacts repositories add-iam-policy-binding benchmarks --project=images")
    assert "--member=user:YOUR_ADDRESS --role=roles/artifactregistry.admin" in found.mend


def test_projects_of_a_ladder_ask_about_their_stores_once(asking: Asking) -> None:
    ready(asking.server)
    both = (P, "other-project")
    ladder = [Rung(Place(Surface.GCE, one, R), "l4", 1, ("g2-standard-4",), Purchase.SPOT) for one in both]
    ask(ladder, {Surface.GCE: preflight(asking, settings(projects=both))}, image=IMAGE)
    assert len(asking.server.calls(ACCOUNT)) == 2
    assert len(asking.server.calls(ON_BUCKET)) == len(asking.server.calls(POLICY)) == 1


# -- N1 ----------------------------------------------------------------------------------------------------------------


def test_an_n1_machine_is_offered_only_where_its_accelerator_is(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[MACHINES] = [
        {"name": f"n1-standard-{size}", "zone": f"{R}-{zone}"} for size in (4, 8) for zone in "abc"
    ]
    t4 = rung("t4", Purchase.SPOT, "n1-standard-4")
    found = verdict(asking, t4)
    assert (found.offered.said, found.zones) == (Said.YES, (f"{R}-a",))
    assert found.offered.why == "us-central1-a lists n1-standard-4 with nvidia-tesla-t4 now"
    asking.server.answers["compute.acceleratorTypes.aggregatedList"] = [
        {"name": "nvidia-tesla-v100", "zone": f"{R}-b"},
        {"name": "nvidia-tesla-t4", "zone": "us-east4-a"},
    ]
    found = verdict(asking, t4)
    assert found.offered.said is Said.NO
    assert found.offered.why == "us-central1 lists no n1-standard-4 with nvidia-tesla-t4 now"
    v100 = verdict(asking, rung("v100", Purchase.SPOT, "n1-standard-8"))
    assert (v100.offered.said, v100.zones) == (Said.YES, (f"{R}-b",))


@pytest.mark.parametrize("image", [None, "nvcr.io/nvidia/pytorch:25.01-py3", "python:3.12"])
def test_of_other_registries_google_knows_nothing(asking: Asking, image: str | None) -> None:
    ready(asking.server)
    assert PULL not in grants(asking, image)
    assert not asking.server.calls(POLICY)


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("gcr.io/old-project/speed:1", "projects/old-project/locations/us/repositories/gcr.io"),
        ("eu.gcr.io/example.com/old/speed", "projects/example.com:old/locations/europe/repositories/eu.gcr.io"),
        ("us-docker.pkg.dev/p/r/folder/speed@sha256:00", "projects/p/locations/us/repositories/r"),
    ],
)
def test_an_images_name_says_its_repository(asking: Asking, image: str, repository: str) -> None:
    ready(asking.server)
    grants(asking, image)
    assert asking.server.calls(POLICY)[0].path["resource"] == repository


@pytest.mark.parametrize(
    ("machine_types", "purchase"),
    [(("n1-standard-4",), "spot"), (("g2-standard-4",), "on-demand"), (("g2-standard-4",), "reserved")],
)
def test_google_advises_on_neither_n1_nor_what_cannot_be_taken_away(
    asking: Asking, machine_types: tuple[str, ...], purchase: str
) -> None:
    with pytest.raises(CannotSay, match="no capacity advice"):
        preflight(asking).ask(question(Kind.ODDS, machine_types=machine_types, purchase=purchase))
    assert not asking.server.asked


def test_the_best_recommendation_counts_and_bad_odds_name_no_zone(asking: Asking) -> None:
    asking.server.answers[ADVICE] = {
        "recommendations": [
            {"scores": {"obtainability": score}, "shards": [{"zone": f"{R}-{zone}", "instanceCount": 1}]}
            for score, zone in ((0.1, "a"), (0.3, "b"))
        ]
    }
    wanted = question(Kind.ODDS, machine_types=("g2-standard-4",), purchase="flex-start")
    assert preflight(asking).ask(wanted) == Odds(0.3)
    body = asking.server.asked[0].body
    assert body["instanceProperties"]["scheduling"]["provisioningModel"] == "FLEX_START"


def test_no_prices(asking: Asking) -> None:
    with pytest.raises(CannotSay, match="no prices"):
        preflight(asking).ask(question(Kind.PRICES))


def test_all_regions_of_a_ladder_share_what_they_need(asking: Asking) -> None:
    ready(asking.server)
    asking.server.answers[REGIONS] = [{"name": name} for name in catalog.regions("gce")]
    ladder = [
        Rung(Place(Surface.GCE, P, name), "l4", 1, ("g2-standard-4",), Purchase.SPOT) for name in catalog.regions("gce")
    ]
    ask(ladder, {Surface.GCE: preflight(asking)}, image=IMAGE)
    advice = len(asking.server.calls(ADVICE))
    assert advice == len(ladder)
    assert len(asking.server.asked) - advice < 25


def test_answers_are_not_given_again_later(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    import components.gce.preflight as module

    ready(asking.server)
    monkeypatch.setattr(module, "FRESH_S", -1.0)
    mine = preflight(asking)
    mine.ask(question(Kind.QUOTAS))
    mine.ask(question(Kind.QUOTAS))
    assert len(asking.server.calls(REGIONS)) == 2
