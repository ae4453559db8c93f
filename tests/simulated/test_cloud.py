"""The simulated cloud: who gets a machine, what refuses one and in which words, and what it costs."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from catalog import Purchase, Surface
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud, CloudError, MachineState, RunIs, Source
from engine.simulated.scenario import Scenario
from placement.verdicts import CannotSay, Grants, Kind, Odds, Offers, Prices, Question, Quotas

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
TEMPLATE = "gcp:compute/regionInstanceTemplate:RegionInstanceTemplate"
MIG = "gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager"
VM = "gcp:compute/instance:Instance"
POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "gcp:container/cluster:Cluster"
JOB = "gcp:cloudrunv2/job:Job"
SERVICE = "gcp:cloudrunv2/service:Service"
LAUNCH = "aws:ec2/launchTemplate:LaunchTemplate"
GROUP = "aws:autoscaling/group:Group"
PROVIDER = "aws:ecs/capacityProvider:CapacityProvider"
SCHEDULE = "aws:autoscaling/schedule:Schedule"


def world(text: str = "", **changes: Any) -> Cloud:
    scenario = Scenario.from_text(text) if text else Scenario(**changes)
    return Cloud(scenario, SimulatedClock(scenario.start))


def labels(attempt: str) -> dict[str, str]:
    return {"gpubench-stack": "dev", "gpubench-attempt": attempt}


def scheduling(purchase: str, seconds: float | None) -> dict[str, Any]:
    model = {"spot": "SPOT", "flex-start": "FLEX_START"}.get(purchase, "STANDARD")
    found: dict[str, Any] = {"provisioningModel": model, "instanceTerminationAction": "DELETE"}
    return found | ({"maxRunDuration": {"seconds": seconds}} if seconds else {})


def group(
    cloud: Cloud,
    attempt: str = "a1",
    machine_type: str = "a3-highgpu-1g",
    region: str = "us-central1",
    purchase: str = "spot",
    size: float = 1.0,
    zones: tuple[str, ...] = (),
    seconds: float | None = 3600.0,
) -> str:
    """A template and a regional group of it, as surface gce makes them. The group's id."""
    _, template = cloud.create(
        TEMPLATE,
        f"t-{attempt}",
        {
            "region": region,
            "machineType": machine_type,
            "scheduling": scheduling(purchase, seconds),
            "labels": labels(attempt),
        },
    )
    id_, _ = cloud.create(
        MIG,
        f"g-{attempt}",
        {
            "region": region,
            "targetSize": size,
            "versions": [{"instanceTemplate": template["selfLink"]}],
            "distributionPolicyTargetShape": "ANY",
            "instanceLifecyclePolicy": {"defaultActionOnFailure": "DO_NOTHING"},
            **({"distributionPolicyZones": list(zones)} if zones else {}),
        },
    )
    return id_


def scaling_group(
    cloud: Cloud, types: tuple[str, ...] = ("g5.xlarge", "g4dn.xlarge"), spot: bool = False, **more: Any
) -> str:
    _, template = cloud.create(
        LAUNCH, "lt", {"tagSpecifications": [{"resourceType": "instance", "tags": labels("a1")}]}
    )
    tags = [{"key": k, "value": v, "propagateAtLaunch": True} for k, v in labels("a1").items()]
    policy = {
        "launchTemplate": {
            "launchTemplateSpecification": {"launchTemplateId": cloud_id(cloud, LAUNCH)},
            "overrides": [{"instanceType": t} for t in types],
        },
        "instancesDistribution": {"onDemandPercentageAboveBaseCapacity": 0.0 if spot else 100.0},
    }
    inputs = {
        "availabilityZones": ["us-east-1a", "us-east-1b"],
        "mixedInstancesPolicy": policy,
        "minSize": 0.0,
        "maxSize": 1.0,
        "desiredCapacity": 1.0,
        "waitForCapacityTimeout": "0",
        "tags": tags,
    }
    assert template["latestVersion"] == 1
    return cloud.create(GROUP, "asg", inputs | more)[0]


def cloud_id(cloud: Cloud, type_token: str) -> str:
    return next(r.id for r in cloud.leftovers("dev") if r.type_token == type_token)


def run_job(cloud: Cloud, parallelism: int = 1, attempt: str = "a1") -> str:
    container = {"image": "us-docker.pkg.dev/p/gpubench/w@sha256:1", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    inner = {
        "containers": [container],
        "nodeSelector": {"accelerator": "nvidia-l4"},
        "gpuZonalRedundancyDisabled": True,
        "timeout": "1800s",
    }
    inputs = {
        "location": "us-central1",
        "labels": labels(attempt),
        "deletionProtection": False,
        "template": {"parallelism": parallelism, "taskCount": parallelism, "template": inner},
    }
    return cloud.create(JOB, f"job-{attempt}", inputs)[0]


def pool(cloud: Cloud, attempt: str = "a1", **more: Any) -> str:
    if not any(r.type_token == CLUSTER for r in cloud.leftovers("dev")):
        cluster = {"location": "us-central1", "resourceLabels": {"gpubench-stack": "dev"}, "deletionProtection": False}
        cloud.create(CLUSTER, "c", cluster)
    node = {
        "machineType": "n1-standard-4",
        "guestAccelerators": [{"type": "nvidia-tesla-t4", "count": 1.0}],
        "resourceLabels": labels(attempt),
    }
    inputs = {
        "cluster": "c",
        "location": "us-central1",
        "nodeLocations": ["us-central1-a"],
        "nodeConfig": node,
        "autoscaling": {"minNodeCount": 0, "maxNodeCount": 2},
        "initialNodeCount": 0,
    }
    return cloud.create(POOL, f"pool-{attempt}", inputs | more)[0]


def texts(cloud: Cloud, attempt: str = "a1") -> list[str]:
    return [s.text for s in cloud.look(attempt)]


# Compute Engine


def test_a_group_gets_its_machine_and_a_run_completes_on_it() -> None:
    cloud = world()
    group(cloud)
    cloud.start_run("a1", "r1", 3600)
    assert cloud.run_state("a1", "r1").state is RunIs.WAITING
    (machine,) = cloud.machines("a1")
    assert (
        machine.state is MachineState.BOOTING
        and machine.tier == "h100"
        and machine.zone
        in (
            "us-central1-a",
            "us-central1-b",
            "us-central1-c",
        )
    )
    cloud.sleep(40 + 150 + 19 * 12.4 + 1)
    running = cloud.run_state("a1", "r1")
    assert running.state is RunIs.RUNNING and running.ends_at is not None and running.machine == machine.id
    cloud.sleep((running.ends_at - cloud.now()).total_seconds())
    assert cloud.run_state("a1", "r1").state is RunIs.COMPLETE and not cloud.look("a1")


def test_a_sold_out_region_shows_group_errors_and_a_lost_group_grabs_what_comes_later() -> None:
    cloud = world(
        """
        stock: [{tier: h100, region: us-central1, machines: 0, changes: [{after_minutes: 30, machines: 1}]}]
        """
    )
    group(cloud)
    assert not cloud.machines()
    found = cloud.look("a1")
    assert len(found) == 3 and {s.source for s in found} == {Source.GROUP_ERROR}
    assert all(t.startswith("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS: Instance 'g-a1-") for t in texts(cloud))
    cloud.sleep(1800)
    assert len(cloud.machines("a1")) == 1
    assert cloud.release("a1") == ()  # the engine knows of all, and deletes it
    (machine,) = cloud.machines("a1")
    assert machine.state is MachineState.ENDED


def test_a_swept_attempt_asks_for_nothing_any_more() -> None:
    cloud = world("stock: [{tier: h100, machines: 0, changes: [{after_minutes: 30, machines: 1}]}]")
    group(cloud)
    cloud.resize("a1", 0)
    cloud.sleep(3600)
    assert not cloud.machines()


def test_the_cloud_names_zones_that_have_capacity() -> None:
    cloud = world("stock: [{tier: l4, machines: 0, hint: true}, {tier: l4, zone: us-central1-c, machines: 1}]")
    group(cloud, machine_type="g2-standard-4", purchase="on-demand", zones=("us-central1-a",))
    (text,) = texts(cloud)
    assert text.endswith(
        "A g2-standard-4 VM instance with 1 nvidia-l4 accelerator(s) is currently unavailable in the us-central1-a "
        "zone. Consider trying your request in the us-central1-c zone(s), which currently has capacity to accommodate "
        "your request. Alternatively, you can try your request again with a different VM hardware configuration or at "
        "a later time."
    )


def test_a_group_of_shape_even_does_not_search() -> None:
    text = "stock: [{tier: l4, zone: us-central1-a, machines: 0}]"
    cloud = world(text)
    vm = {"machineType": "g2-standard-4", "labels": labels("a1"), "region": "us-central1"}
    _, template = cloud.create(TEMPLATE, "t", vm)
    versions = [{"instanceTemplate": template["selfLinkUnique"]}]
    inputs = {"region": "us-central1", "targetSize": 1, "versions": versions}
    cloud.create(MIG, "g", inputs)
    assert not cloud.machines() and len(cloud.look("a1")) == 1


def test_quotas_global_before_regional_and_a_single_vm_is_refused_at_creation() -> None:
    cloud = world(
        """
        quotas:
        - {quota: GPUS_ALL_REGIONS, limit: 0}
        - {tier: l4, surface: gce, region: us-central1, limit: 0}
        """
    )
    vm = {"zone": "us-central1-a", "machineType": "g2-standard-4", "labels": labels("a1"), "project": "p"}
    with pytest.raises(
        CloudError, match=re.escape("Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.")
    ) as refused:
        cloud.create(VM, "vm", vm)
    assert refused.value.code == "QUOTA_EXCEEDED" and not cloud.leftovers("dev") and not cloud.machines()
    cloud = world("quotas: [{tier: l4, surface: gce, region: us-central1, limit: 0}]")
    with pytest.raises(
        CloudError, match=re.escape("Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region us-central1.")
    ):
        cloud.create(VM, "vm", vm)
    cloud.create(VM, "vm", vm | {"zone": "us-east4-a"})
    assert len(cloud.machines()) == 1


def test_permission_comes_first_and_not_offered_is_not_capacity() -> None:
    vm = {"zone": "us-central1-a", "machineType": "g2-standard-4", "labels": labels("a1"), "project": "p"}
    with pytest.raises(CloudError, match=r"Required 'compute.instances.create' permission for 'projects/p/zones/us-c"):
        world("{deny: [{role: compute.instanceAdmin.v1}], stock: [{tier: l4, machines: 0}]}").create(VM, "vm", vm)
    not_here = world("not_offered: [{tier: l4, zone: us-central1-a}]")
    with pytest.raises(
        CloudError, match=r"Machine type with name 'g2-standard-4' does not exist in zone 'us-central1-a'"
    ):
        not_here.create(VM, "vm", vm)
    disguised = world("not_offered: [{tier: l4, zone: us-central1-a, disguised: true}]")
    with pytest.raises(
        CloudError, match=r"is not supported in the us-central1-a zone with your configuration"
    ) as refused:
        disguised.create(VM, "vm", vm)
    assert refused.value.code == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    asked = Question(Kind.OFFERS, Surface.GCE, "p", "us-central1")
    for cloud, there in ((not_here, False), (disguised, True)):
        offers = cloud.answer(asked)
        assert isinstance(offers, Offers)
        assert ("us-central1-a" in offers.zones_by_machine_type["g2-standard-4"]) is there


def test_nothing_runs_past_its_maximum_duration_even_if_nobody_asks() -> None:
    cloud = world()
    group(cloud, seconds=1200.0)
    cloud.start_run("a1", "r1", 9999)
    cloud.sleep(24 * 3600)
    (machine,) = cloud.machines()  # and none came after it
    assert machine.ended == machine.since + timedelta(seconds=1200)
    (charge,) = cloud.bill("a1")
    assert charge.seconds == 1200 and charge.usd == pytest.approx(1200 / 3600 * machine.usd_per_hour)


def test_an_interruption_takes_the_machine_and_the_run_can_be_started_again() -> None:
    cloud = world("interruptions: [{tier: h100, after_minutes: 10, times: 1}]")
    group(cloud)
    cloud.start_run("a1", "r1", 3600)
    cloud.sleep(601)
    assert cloud.run_state("a1", "r1").state is RunIs.INTERRUPTED
    assert "Instance was preempted." in texts(cloud)
    group(cloud, attempt="a2")
    cloud.start_run("a2", "r1", 3600)
    cloud.sleep(1800)
    assert cloud.run_state("a2", "r1").state is RunIs.COMPLETE


def test_flex_start_waits_in_a_queue_that_is_no_failure() -> None:
    cloud = world("flex_start: {waits_minutes: 20}")
    group(cloud, purchase="flex-start")
    assert not cloud.machines() and [t for t in texts(cloud) if "Waiting for resources." in t] == texts(cloud)
    cloud.sleep(20 * 60)
    assert len(cloud.machines()) == 1


def test_a_label_that_google_cannot_hold_is_refused() -> None:
    with pytest.raises(CloudError, match=r"Label value '20261121T1.250Z' violates format constraints"):
        world().create(VM, "vm", {"zone": "us-central1-a", "labels": {"gpubench-attempt": "20261121T1.250Z"}})


# Pulls


def test_a_vm_that_may_not_pull_its_image_says_so_and_is_billed_all_the_same() -> None:
    cloud = world("deny: [{role: artifactregistry.reader, principal: vm}]")
    group(cloud)
    cloud.start_run("a1", "r1", 600)
    cloud.sleep(600)
    (seen,) = cloud.look("a1")
    assert seen.source is Source.SERIAL_PORT
    assert 'Permission "artifactregistry.repositories.downloadArtifacts" denied on resource' in seen.text
    assert cloud.run_state("a1", "r1").state is RunIs.FAILED and cloud.bill()[0].usd > 0
    cloud.start_run("a1", "r2", 600)  # one that comes later doesn't wait for ever
    assert cloud.run_state("a1", "r2").text == seen.text


def test_a_run_does_not_wait_for_a_machine_that_nothing_asks_for() -> None:
    cloud = world()
    group(cloud, seconds=600.0)
    cloud.sleep(900)
    cloud.start_run("a1", "r1", 600)
    assert cloud.run_state("a1", "r1").state is RunIs.FAILED


def test_an_image_without_a_registry_is_in_the_projects_own() -> None:
    cloud = world("deny: [{role: artifactregistry.reader}]")
    for image, granted in (("gpubench-workload@sha256:1", [False]), (None, [False]), ("ghcr.io/a/b", [])):
        found = cloud.answer(Question(Kind.PERMISSIONS, Surface.GCE, "p", "us-east4", image=image))
        assert isinstance(found, Grants)
        pulls = [g for g in found.grants if "downloadArtifacts" in g.permission]
        assert [g.granted for g in pulls] == granted
        assert all("--location=us-east4" in g.mend and "--project=p" in g.mend for g in pulls)


@pytest.mark.parametrize(
    ("surface", "image", "principal"),
    [
        (Surface.GCE, "us-docker.pkg.dev/p/r/i", r"\d{12}-compute@developer.gserviceaccount.com"),
        (Surface.CLOUD_RUN, "gcr.io/p/i", r"service-\d{12}@serverless-robot-prod.iam.gserviceaccount.com"),
        (Surface.ECS, "123456789012.dkr.ecr.us-east-1.amazonaws.com/i", r"arn:aws:iam::p:role/ecsTaskExecutionRole"),
    ],
)
def test_the_right_principal_is_asked_about(surface: Surface, image: str, principal: str) -> None:
    denied = world("deny: [{role: artifactregistry.reader}, {permission: 'ecr:BatchGetImage'}]")
    for cloud, granted in ((denied, False), (world(), True)):
        found = cloud.answer(Question(Kind.PERMISSIONS, surface, "p", image=image))
        assert isinstance(found, Grants)
        (pull,) = [g for g in found.grants if "download" in g.permission or "ecr:" in g.permission]
        assert pull.granted is granted and re.fullmatch(principal, pull.principal) and bool(pull.mend) is not granted


# Google Kubernetes Engine


def test_a_pool_scales_up_from_0_for_a_run_and_back() -> None:
    cloud = world()
    pool(cloud)
    assert not cloud.machines()
    cloud.start_run("a1", "r1", 3600)
    cloud.sleep(2 * 3600)
    (machine,) = cloud.machines()
    assert cloud.run_state("a1", "r1").state is RunIs.COMPLETE and machine.tier == "t4"
    assert machine.ended is not None and machine.why_ended == "scaled down: idle"


def test_a_pool_without_capacity_shows_pod_events_or_fails_and_stays() -> None:
    cloud = world("stock: [{tier: t4, machines: 0, changes: [{after_minutes: 60, machines: 1}]}]")
    pool(cloud)
    cloud.start_run("a1", "r1", 3600)
    (seen,) = cloud.look("a1")
    assert seen.source is Source.POD_EVENT and "GCE out of resources." in seen.text
    with pytest.raises(CloudError, match=r"Not all instances running in IGM after 46.6s. Expect 1. Current errors"):
        pool(cloud, attempt="a2", initialNodeCount=1)
    (left,) = [r for r in cloud.leftovers("dev") if r.attempt == "a2"]
    assert not left.owned
    assert cloud.release("a2") == (left.__class__(**{**left.__dict__, "size": 0}),)
    cloud.release("a1")
    cloud.sleep(3600)
    assert not cloud.machines("a2")


# Cloud Run


def test_cloud_run_refuses_a_scale_beyond_its_quota_and_runs_within() -> None:
    cloud = world()
    with pytest.raises(CloudError, match="Max instances must be set to 3 or fewer in order to set GPU requirements"):
        run_job(cloud, parallelism=4)
    with pytest.raises(CloudError, match="You do not have quota for using GPUs without zonal redundancy"):
        run_job(world("quotas: [{tier: l4, surface: cloud-run, limit: 0}]"))
    id_ = run_job(cloud)
    assert not cloud.machines()
    cloud.start_run("a1", "r1", 3600)
    cloud.sleep(3600)
    (machine,) = cloud.machines()
    assert cloud.run_state("a1", "r1").state is RunIs.COMPLETE and machine.why_ended == "its task has ended"
    cloud.delete(JOB, id_)
    assert not cloud.leftovers("dev")


def test_somebody_elses_services_hold_the_quota_and_are_named() -> None:
    cloud = world(
        "leftovers: [{surface: cloud-run, name: old-api, region: us-central1, tier: l4, gpus: 3}]",
    )
    asked = cloud.answer(Question(Kind.QUOTAS, Surface.CLOUD_RUN, "p", "us-central1"))
    assert isinstance(asked, Quotas)
    (gpus,) = [s for s in asked.states if s.quota_id.startswith("NvidiaL4")]
    assert (gpus.limit, gpus.usage) == (3000, 3000)
    run_job(cloud)
    cloud.start_run("a1", "r1", 60)
    assert texts(cloud) == ["Quota exceeded for total allowable count of GPUs per project per region."]
    assert [(h.name, h.gpus) for h in cloud.holders("cloud-run", "us-central1")] == [("old-api", 3)]


def test_a_protected_job_is_not_deleted() -> None:
    cloud = world()
    id_, _ = cloud.create(JOB, "j", {"location": "us-central1", "template": {"template": {}}})
    with pytest.raises(CloudError, match=r"cannot destroy job without setting deletion_protection=false"):
        cloud.delete(JOB, id_)


# AWS


def test_a_scaling_group_tries_types_and_zones_and_shows_activities() -> None:
    cloud = world(
        "stock: [{surface: ecs, machines: 0, hint: true}, {machine_type: g5.xlarge, zone: use1-az2, machines: 1}]"
    )
    scaling_group(cloud)
    (machine,) = cloud.machines()
    assert (machine.zone, machine.machine_type) == ("use1-az2", "g5.xlarge")
    cloud = world(
        "stock: [{surface: ecs, machines: 0}, {machine_type: g5.xlarge, zone: use1-az4, machines: 1, hint: true}]"
    )
    scaling_group(cloud)
    found = cloud.look("a1")
    assert len(found) == 4 and {s.source for s in found} == {Source.SCALING_ACTIVITY}
    assert found[0].text.startswith(
        "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient "
        "g5.xlarge capacity in the Availability Zone you requested (us-east-1a)."
    )


def test_a_group_that_its_provider_waits_for_fails_and_stays() -> None:
    cloud = world("account: new")
    with pytest.raises(
        CloudError, match=r"waiting for Auto Scaling Group \(asg\) capacity satisfied: scaling activity"
    ):
        scaling_group(cloud, waitForCapacityTimeout="10m")
    assert "vCPU limit of 0 allows for the instance bucket" in texts(cloud)[0]
    assert [r.type_token for r in cloud.release("a1")] == [GROUP]


def test_a_schedule_ends_the_machines_even_if_nobody_asks() -> None:
    cloud = world()
    scaling_group(cloud)
    end = START + timedelta(hours=2)
    inputs = {"autoscalingGroupName": "asg", "startTime": end.isoformat(), "desiredCapacity": 0, "minSize": 0}
    cloud.create(SCHEDULE, "end", inputs)
    cloud.sleep(24 * 3600)
    (machine,) = cloud.machines()
    assert machine.ended == end


def test_a_capacity_provider_scales_its_group() -> None:
    cloud = world()
    group_id = scaling_group(cloud, desiredCapacity=0)
    arn = (cloud.read(GROUP, group_id) or {})["arn"]
    cloud.create(PROVIDER, "cp", {"autoScalingGroupProvider": {"autoScalingGroupArn": arn, "managedScaling": {}}})
    assert not cloud.machines()
    cloud.start_run("a1", "r1", 3600)
    cloud.sleep(3600)
    assert cloud.run_state("a1", "r1").state is RunIs.COMPLETE


# Questions, requests


def test_odds_are_right_wrong_or_not_there() -> None:
    for advice, stock, score in (("right", 0, 0.1), ("right", 1, 0.9), ("wrong", 0, 0.9), ("wrong", 1, 0.1)):
        cloud = world(f"stock: [{{tier: h100, machines: {stock}, advice: {advice}}}]")
        found = cloud.answer(Question(Kind.ODDS, Surface.GCE, "p", "us-central1", ("a3-highgpu-1g",), "spot"))
        assert isinstance(found, Odds) and found.score == score
    with pytest.raises(CannotSay):
        world().answer(Question(Kind.ODDS, Surface.GCE, "p", "us-central1", ("g2-standard-4",), "on-demand"))


def test_prices_are_the_catalogues_or_the_scenarios() -> None:
    asked = Question(Kind.PRICES, Surface.GCE, "p", "us-central1", ("g2-standard-4",), "on-demand")
    assert world().answer(asked) == Prices({"g2-standard-4": 0.706832})
    assert world("prices: [{tier: l4, usd_per_hour: 2}]").answer(asked) == Prices({"g2-standard-4": 2.0})


def test_questions_side_by_side_take_one_round_trip() -> None:
    cloud = world()
    for region in catalog.regions("gce"):
        cloud.answer(Question(Kind.OFFERS, Surface.GCE, "p", region))
    assert cloud.now() == START + timedelta(seconds=1)
    assert cloud.requests()["answer"] == len(catalog.regions("gce"))


def test_flakiness_ends_after_so_many_in_a_row_and_changes_nothing() -> None:
    cloud = world("flaky: {probability: 1, at_most: 2}")
    vm = {"zone": "us-central1-a", "machineType": "g2-standard-4"}
    for _ in range(2):
        with pytest.raises(CloudError, match="The service is currently unavailable"):
            cloud.create(VM, "vm", vm)
    cloud.create(VM, "vm", vm)
    assert len(cloud.machines()) == 1


def test_an_api_has_a_limit_by_the_minute() -> None:
    cloud = world("requests_per_minute: 3")
    for _ in range(3):
        cloud.look("a1")
    with pytest.raises(CloudError, match="limit 'Queries per minute'"):
        cloud.look("a1")
    cloud.sleep(60)
    cloud.look("a1")


def test_updates_resize_and_deletes_are_idempotent() -> None:
    cloud = world()
    id_ = group(cloud, size=2)
    assert len(cloud.machines()) == 2
    inputs = cloud.read(MIG, id_) or {}
    assert cloud.update(MIG, id_, inputs, inputs | {"targetSize": 1.0})["targetSize"] == 1
    assert sum(m.state is not MachineState.ENDED for m in cloud.machines()) == 1
    cloud.delete(MIG, id_)
    cloud.delete(MIG, id_)
    assert all(m.state is MachineState.ENDED for m in cloud.machines()) and cloud.read(MIG, id_) is None
    with pytest.raises(CloudError, match="was not found"):
        cloud.update(MIG, id_, {}, {})


def test_what_is_made_twice_is_refused() -> None:
    cloud = world()
    group(cloud)
    with pytest.raises(CloudError, match="already exists"):
        group(cloud)


# Whatever happens

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("group"), st.sampled_from(("us-central1", "us-east4")), st.sampled_from(("spot", "on-demand"))
        ),
        st.tuples(st.just("sleep"), st.integers(1, 3000), st.none()),
        st.tuples(st.just("run"), st.none(), st.none()),
        st.tuples(st.just("release"), st.integers(0, 5), st.none()),
        st.tuples(st.just("resize"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 5), st.none()),
    ),
    max_size=14,
)
WORLDS = st.builds(
    "{{seed: {}, stock: [{{tier: l4, machines: {}, changes: [{{after_minutes: 20, machines: {}}}]}}], "
    "quotas: [{{tier: l4, surface: gce, region: us-central1, limit: {}}}], "
    "interruptions: [{{after_minutes: 15, times: {}}}], flaky: {{probability: {}, at_most: 2}}}}".format,
    st.integers(0, 99),
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from((0, 0.3)),
)


def live_through(text: str, steps: list[tuple[str, Any, Any]], check: bool = True) -> Cloud:
    cloud, made, highest = world(text), [], int(re.findall(r"machines: (\d)", text)[1])
    first = int(re.findall(r"machines: (\d)", text)[0])
    limit = int(re.findall(r"limit: (\d)", text)[0])
    for number, (what, one, two) in enumerate(steps):
        try:
            if what == "group":
                attempt = f"a{number}"
                made.append(
                    (attempt, group(cloud, attempt, "g2-standard-4", one, two, size=2, seconds=2400)),
                )
            elif what == "sleep":
                cloud.sleep(one)
            elif made and what == "run":
                cloud.start_run(made[-1][0], f"r{number}", 1200)
            elif made and what == "release":
                cloud.release(made[one % len(made)][0])
            elif made and what == "resize":
                cloud.resize(made[one % len(made)][0], two)
            elif made and what == "delete":
                cloud.delete(MIG, made[one % len(made)][1])
        except CloudError as error:
            assert "unavailable" in str(error)
        if check:
            held = [m for m in cloud.machines() if m.state is not MachineState.ENDED]
            for zone in {m.zone for m in held}:
                assert sum(m.zone == zone for m in held) <= max(first, highest)
            for purchase in ("spot", "on-demand"):
                assert sum(m.region == "us-central1" and m.purchase == purchase for m in held) <= limit
    return cloud


@settings(max_examples=120, deadline=None)
@given(WORLDS, STEPS)
def test_machines_never_exceed_stock_or_quota_and_the_bill_is_what_was_held(
    text: str, steps: list[tuple[str, Any, Any]]
) -> None:
    cloud = live_through(text, steps)
    machines, charges = cloud.machines(), cloud.bill()
    for machine, charge in zip(machines, charges, strict=True):
        held = ((machine.ended or cloud.now()) - machine.since).total_seconds()
        assert charge.seconds == held <= 2400 and charge.usd == pytest.approx(held / 3600 * machine.usd_per_hour)
    assert live_through(text, steps, check=False).machines() == machines
    cloud.sleep(24 * 3600)
    for attempt in {m.attempt for m in machines if m.attempt}:
        cloud.release(attempt, keep=())
    assert all(m.state is MachineState.ENDED for m in cloud.machines())
    assert all(r.attempt is None or not any(m.attempt == r.attempt for m in machines) for r in cloud.leftovers("dev"))


def test_a_request_takes_well_under_a_millisecond() -> None:
    cloud = world("stock: [{tier: l4, machines: 0}]")
    group(cloud, "warm", "g2-standard-4")
    begun = time.perf_counter()
    for number in range(200):
        group(cloud, f"a{number}", "g2-standard-4", purchase=Purchase.SPOT)
        cloud.look(f"a{number}")
        cloud.release(f"a{number}", keep=())
    assert (time.perf_counter() - begun) / 800 < 0.001
