"""The five incidents, rehearsed: each ends as it has to, on both engines, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.incidents import draw
from engine import drill, masters
from engine.simulated.cloud import Cloud
from engine.simulated.model import MachineState, Source
from engine.simulated.scenario import Scenario
from placement import timeline
from placement.causes import Cause, classify
from placement.ledger import Outcome

STOCKOUT = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
GPU_QUOTA = "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion"
SCENARIOS = sorted(path.stem for path in draw.FOLDER.glob("*.yaml"))


@dataclass(frozen=True)
class Must:
    """How a drill has to end. ``lost``: the attempts before the last one, as (rung, cause, code).

    ``covers``: what the first loss blocks. ``obtained``: rung, zone and machine type of the last attempt, None if none
    was won. ``tier``: what its results are stamped with. ``says``: what people read. ``usd``: the bill, from and to.
    """

    exit_code: int
    lost: tuple[tuple[str, str, str], ...] = ()
    covers: str = ""
    obtained: tuple[str, str | None, str | None] | None = None
    tier: str = ""
    says: tuple[str, ...] = ()
    usd: tuple[float, float] = (0.0, 0.0)


H100 = "h100/spot/a3-highgpu-1g"
EAST, WEST = "ecs/012345678901/us-east-1", "ecs/012345678901/us-west-2"
A10G, T4 = "g5.xlarge+g5.2xlarge", "g4dn.xlarge+g4dn.2xlarge"
RUN = "cloud-run/acme-serving"


def ecs_sold_out(place: str) -> tuple[tuple[str, str, str], ...]:
    return (
        (f"{place}/a10g/on-demand/{A10G}", "capacity", "InsufficientInstanceCapacity"),
        (f"{place}/a10g/spot/{A10G}", "capacity", "UnfulfillableCapacity"),
        (f"{place}/t4/on-demand/{T4}", "capacity", "InsufficientInstanceCapacity"),
        (f"{place}/t4/spot/{T4}", "capacity", "UnfulfillableCapacity"),
    )


MUST = {
    # Nothing is asked for while the machine could not pull its image: who, which right, and the command.
    "1-no-right-to-pull": Must(
        exit_code=1,
        says=(
            "gb-39404601@acme-inference.iam.gserviceaccount.com lacks artifactregistry.repositories.downloadArtifacts",
            "gcloud artifacts repositories add-iam-policy-binding gcr.io --project=acme-inference --location=us "
            "--member=serviceAccount:gb-39404601@acme-inference.iam.gserviceaccount.com "
            "--role=roles/artifactregistry.reader",
            "failed before the first attempt: permission",
        ),
    ),
    # All zones of a region in one update, the next region, the next tier, this machine.
    "1-h100-nowhere": Must(
        exit_code=0,
        lost=(
            (f"gce/acme-inference/us-central1/{H100}", "capacity", STOCKOUT),
            (f"gce/acme-inference/us-east4/{H100}", "capacity", STOCKOUT),
            ("gce/acme-inference/us-central1/a100-40/on-demand/a2-highgpu-1g", "capacity", STOCKOUT),
        ),
        covers="h100 spot a3-highgpu-1g in all zones of us-central1",
        obtained=("local/any", None, None),
        tier="cpu",
        says=("Done: results from local any, after 4 attempts", "next: gce us-central1 a100-40 on-demand"),
    ),
    "1-h100-comes-back": Must(
        exit_code=0,
        lost=((f"gce/acme-inference/us-central1/{H100}", "capacity", STOCKOUT),),
        covers="h100 spot a3-highgpu-1g in all zones of us-central1",
        obtained=(f"gce/acme-inference/us-east4/{H100}", "us-east4-b", "a3-highgpu-1g"),
        tier="h100",
        says=("Done: results from gce us-east4 h100 spot (us-east4-b, a3-highgpu-1g), after 2 attempts",),
        usd=(1.0, 1.3),
    ),
    "2-fresh-machine": Must(
        exit_code=0,
        obtained=(
            "gce/acme-vision/us-central1/l4/on-demand/g2-standard-4",
            "us-central1-a",
            "g2-standard-4",
        ),
        tier="l4",
        says=("after 1 attempt, 27 min and 0.31 USD", "of a budget of 1.02 USD"),
        usd=(0.30, 0.32),
    ),
    "2-machine-taken-away": Must(
        exit_code=0,
        lost=(("gce/acme-vision/us-central1/l4/spot/g2-standard-4", "interrupted", "PREEMPTED"),),
        obtained=("gce/acme-vision/us-central1/l4/spot/g2-standard-4", "us-central1-a", "g2-standard-4"),
        tier="l4",
        says=("next: the same rung again", "1 interrupted, 1 won"),
        usd=(0.24, 0.27),
    ),
    "3-t4-on-gke": Must(
        exit_code=0,
        lost=(("gke/acme-mlperf/us-central1/t4/on-demand/n1-standard-4", "capacity", "GCE_OUT_OF_RESOURCES"),),
        covers="t4 on-demand n1-standard-4 in all zones of us-central1",
        obtained=("gke/acme-mlperf/us-east1/t4/on-demand/n1-standard-4", "us-east1-b", "n1-standard-4"),
        tier="t4",
        says=("GCE out of resources", "Done: results from gke us-east1 t4 on-demand"),
        usd=(0.10, 0.30),  # "under $0.30 a run"
    ),
    "4-ecs-sold-out": Must(
        exit_code=0,
        lost=ecs_sold_out(EAST),
        obtained=(f"{WEST}/a10g/on-demand/{A10G}", "usw2-az1", "g5.xlarge"),
        tier="a10g",
        says=(
            "Done: results from ecs us-west-2 a10g on-demand",
            "We currently do not have sufficient g5.xlarge capacity",
        ),
        usd=(0.2, 0.35),
    ),
    "4-cpu-fallback": Must(
        exit_code=0,
        lost=(*ecs_sold_out(EAST), *ecs_sold_out(WEST)),
        obtained=(f"{EAST}/cpu/on-demand/fargate-16-64gb", None, "fargate-16-64gb"),
        tier="cpu",
        says=("Done: results from ecs us-east-1 cpu on-demand (fargate-16-64gb), after 9 attempts",),
        usd=(1.5, 2.5),
    ),
    # A quota that is known to be short costs no attempt; who holds it is named, and how to ask for more.
    "5-quota-held": Must(
        exit_code=0,
        obtained=(f"{RUN}/us-east4/l4/on-demand/nvidia-l4", None, "nvidia-l4"),
        tier="l4",
        says=(
            f"cloud-run us-central1 l4 on-demand: quota: {GPU_QUOTA} in us-central1: need 1000 milliGPU, "
            "limit 1000 milliGPU, used 1000 milliGPU, held by model-api-old",
            f"--quota-id={GPU_QUOTA} --preferred-value=2000 --dimensions=region=us-central1",
        ),
        usd=(0.1, 0.2),
    ),
    "5-cpu-fallback": Must(
        exit_code=0,
        obtained=(f"{RUN}/us-central1/cpu/on-demand/cpu-8-32gi", None, "cpu-8-32gi"),
        tier="cpu",
        says=(
            "Done: results from cloud-run us-central1 cpu on-demand (cpu-8-32gi), after 1 attempt",
            f"cloud-run us-east4 l4 on-demand: quota: {GPU_QUOTA} in us-east4: need 1000 milliGPU, limit 0 milliGPU",
            "held by model-api-old",
            f"--quota-id={GPU_QUOTA} --preferred-value=1000 --dimensions=region=europe-west4",
        ),
        usd=(1.4, 1.6),
    ),
}


@dataclass(frozen=True)
class Drilled:
    """A drill that has ended."""

    name: str
    done: drill.Rehearsal
    must: Must

    @property
    def results(self) -> list[dict[str, Any]]:
        found = (self.done.folder / "results" / "runs").glob("*/*/manifest.json")
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(found)]


@pytest.fixture(scope="module")
def drill_of(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Drilled]:
    """A scenario's drill: each once on each engine, since what follows only looks at it."""

    @cache
    def once(name: str) -> Drilled:
        folder = tmp_path_factory.mktemp(name) / "drill"
        return Drilled(name, draw.rehearse(name, folder, engine), MUST[name])

    return once


@pytest.fixture(scope="module", params=SCENARIOS)
def drilled(request: pytest.FixtureRequest, drill_of: Callable[[str], Drilled]) -> Drilled:
    """Each of them."""
    return drill_of(request.param)


def test_the_walk(drilled: Drilled) -> None:
    done, must = drilled.done, drilled.must
    assert drill.exit_code(done.ending) == must.exit_code
    lost = done.attempts[:-1] if must.obtained else done.attempts
    seen = [(one.rung, one.cause, one.failure and one.failure.code) for one in lost]
    assert seen == list(must.lost)
    if must.obtained:
        won = done.attempts[-1]
        assert won.outcome is Outcome.WON
        assert (won.rung, won.obtained_zone, won.obtained_machine_type) == must.obtained
    if must.covers:
        assert timeline.blocks_made(done.attempts, done.settings.ladder)[done.attempts[0].id].covers == must.covers


def test_what_people_read(drilled: Drilled) -> None:
    said = " ".join(draw.text(drilled.done).split())
    for words in drilled.must.says:
        assert words in said
    assert "Rehearsal" in said


def test_nothing_is_left_and_the_budget_holds(drilled: Drilled) -> None:
    done, (low, high) = drilled.done, drilled.must.usd
    # Results, images, and who a stack's machines are: these stay from one attempt to the next, and cost nothing.
    outlive = ("gcp:storage/", "gcp:artifactregistry/", "aws:s3/", "aws:ecr/", "aws:iam/", "aws:cloudwatch/")
    left = [one for one in done.cloud.leftovers(drill.SCENARIO_STACK) if not one.type_token.startswith(outlive)]
    assert done.machines_left == () and left == []
    assert all(machine.ended for machine in done.cloud.machines())
    assert low <= done.usd <= high and done.usd <= done.settings.budget.usd
    assert sum(one.usd for one in done.attempts) == pytest.approx(done.usd)


def test_the_results_say_where_they_are_from(drilled: Drilled) -> None:
    done, must = drilled.done, drilled.must
    complete = [one for one in drilled.results if one["status"] == "complete"]
    if must.obtained is None:
        assert drilled.results == []
        return
    (found,) = complete
    stamps, (rung, zone, machine_type) = found["stamps"], must.obtained
    assert stamps["rung"] == rung and stamps["obtained_tier"] == must.tier and stamps["rehearsal"] is True
    assert (stamps.get("zone"), stamps.get("machine_type")) == (zone, machine_type)
    assert stamps["image"] == done.settings.benchmark.image and stamps["image_digest"].startswith("sha256:")
    assert found["duration_s"] < timedelta(hours=3).total_seconds()


def test_the_page_shows_what_is_printed(drilled: Drilled) -> None:
    number = drilled.name.partition("-")[0]
    (path,) = draw.FOLDER.glob(f"{number}-*.md")
    # Whichever engine it was: what people read is the same.
    assert draw.blocks(path.read_text(encoding="utf-8"))[drilled.name] == draw.text(drilled.done)


# -- what only one of them shows ---------------------------------------------------------------------------------------


def test_1_nothing_is_asked_for_before_the_rights_are_there(drill_of: Callable[[str], Drilled]) -> None:
    done = drill_of("1-no-right-to-pull").done
    assert done.attempts == () and done.cloud.machines() == ()
    assert done.cloud.requests()["answer"] and "create" not in done.cloud.requests()


def test_2_each_attempt_has_a_machine_of_its_own(drill_of: Callable[[str], Drilled]) -> None:
    done = drill_of("2-machine-taken-away").done
    first, second = done.cloud.machines()
    assert first.id != second.id and (first.attempt, second.attempt) == tuple(one.id for one in done.attempts)
    assert first.ended is not None and first.ended <= second.since
    # Twelve minutes after it came, and seen within the minute.
    ended = done.attempts[0].ended
    assert ended is not None and ended - first.since < timedelta(minutes=14)


@pytest.mark.parametrize("name", ["2-fresh-machine", "2-machine-taken-away"])
def test_2_results_are_stamped_with_the_image_and_the_code_that_were_asked_for(
    name: str, drill_of: Callable[[str], Drilled]
) -> None:
    drilled = drill_of(name)
    (found,) = [one for one in drilled.results if one["status"] == "complete"]
    benchmark = drilled.done.settings.benchmark
    assert benchmark.code is not None and found["stamps"]["git_commit"] == benchmark.code.commit
    assert found["stamps"]["image_digest"] == str(benchmark.image).partition("@")[2]


def test_2_the_run_ends_its_machine(drill_of: Callable[[str], Drilled]) -> None:
    (machine,) = drill_of("2-fresh-machine").done.cloud.machines()
    assert machine.ended is not None
    # Boot, drivers, 9 GB at 19 s each, 20 minutes, and the minute of a watch that looks once a minute.
    assert 1561 <= (machine.ended - machine.since).total_seconds() <= 1561 + 90


def test_3_the_pool_goes_from_0_to_1_and_back(drill_of: Callable[[str], Drilled]) -> None:
    done = drill_of("3-t4-on-gke").done
    (node,) = done.cloud.machines()
    assert node.surface == "gke" and node.region == "us-east1" and node.state is MachineState.ENDED
    # The cluster takes 6 minutes without a GPU; then drivers, the image and 8 minutes with one.
    assert timedelta(minutes=6) <= node.since - done.attempts[-1].begun <= timedelta(minutes=9)
    assert node.ended is not None
    assert 40 + 150 + 235 + 480 <= (node.ended - node.since).total_seconds() <= 40 + 150 + 237 + 480 + 90
    (sighting,) = done.cloud.look(done.attempts[0].id)
    assert sighting.source is Source.POD_EVENT and classify(sighting.text).cause is Cause.CAPACITY


def test_4_one_update_asks_for_every_type_in_every_zone(drill_of: Callable[[str], Drilled]) -> None:
    done = drill_of("4-ecs-sold-out").done
    failure = done.attempts[0].failure
    assert failure is not None and len(failure.zones) == 5
    for machine_type in ("g5.xlarge", "g5.2xlarge"):
        for zone in failure.zones:
            assert f"sufficient {machine_type} capacity in the Availability Zone you requested ({zone})" in failure.text
    block = timeline.blocks_made(done.attempts, done.settings.ladder)[done.attempts[0].id]
    assert "g5.xlarge in us-east-1" in block.covers and "g5.2xlarge in us-east-1" in block.covers


def test_4_a_small_quota_of_fargate_is_said_and_asked_for(tmp_path: Path) -> None:
    base = Scenario.from_file(draw.FOLDER / "4-cpu-fallback.yaml")
    done = draw.rehearse("", tmp_path / "drill", scenario=Scenario.from_flags(quota=["L-3032A538=6"], base=base))
    assert drill.exit_code(done.ending) == 3 and len(done.attempts) == 8
    request = "aws service-quotas request-service-quota-increase --service-code fargate --quota-code L-3032A538"
    assert request in draw.text(done)


def test_4_a_region_s_network_serves_ec2_and_fargate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NAT gateway takes minutes to come and minutes to go; the rung of the same region has it already."""
    made: list[str] = []

    def create(cloud: Cloud, type_token: str, name: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        made.append(type_token)
        return real(cloud, type_token, name, inputs)

    real = Cloud.create
    monkeypatch.setattr(Cloud, "create", create)
    said = yaml.safe_load((draw.FOLDER / "4-cpu-fallback.yaml").read_text(encoding="utf-8"))
    (first, _, last) = said["stack"]["gpubench:ladder"]
    said["stack"]["gpubench:ladder"] = [{**first, "tiers": ["a10g"], "machine_types": A10G.split("+")}, last]
    done = draw.rehearse("", tmp_path / "drill", scenario=Scenario.from_text(yaml.safe_dump(said)))
    assert [one.rung.rpartition("/")[2] for one in done.attempts] == [A10G, A10G, "fargate-16-64gb"]
    assert (made.count("aws:ec2/vpc:Vpc"), made.count("aws:ec2/natGateway:NatGateway")) == (1, 1)
    assert made.count("aws:ecs/cluster:Cluster") == 3


def test_5_the_container_is_the_same_with_a_gpu_and_without(drill_of: Callable[[str], Drilled]) -> None:
    for with_gpu, without in (("5-quota-held", "5-cpu-fallback"), ("4-ecs-sold-out", "4-cpu-fallback")):
        (one,), (other,) = (
            [found for found in drill_of(name).results if found["status"] == "complete"] for name in (with_gpu, without)
        )
        assert one["stamps"]["image_digest"] == other["stamps"]["image_digest"]
        assert one["stamps"]["run"] == other["stamps"]["run"]
        assert one["stamps"]["obtained_tier"] != other["stamps"]["obtained_tier"] == "cpu"


@pytest.mark.parametrize("name", ["1-no-right-to-pull", "5-quota-held"])
def test_the_command(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`gpubench drill --scenario FILE`, in a project of its own: what it prints, where it writes, its exit code."""
    for entry in draw.PROJECT.iterdir():
        if not entry.name.startswith("."):
            (tmp_path / entry.name).symlink_to(entry)
    scenario = Scenario.from_file(draw.FOLDER / f"{name}.yaml")
    code = drill.run(tmp_path, None, scenario, engine=masters.EMBEDDED, wait=timedelta(0))
    said = " ".join(capsys.readouterr().out.split())
    assert code == MUST[name].exit_code
    for words in (
        *MUST[name].says,
        f"scenario: {scenario.about}",
        "Report: .gpubench/drills/scenario/report/report.html",
    ):
        assert words in said
    report = (tmp_path / ".gpubench/drills/scenario/report/report.md").read_text(encoding="utf-8")
    assert timeline.REHEARSAL in report and "## Not tried" in report


# -- the pages ---------------------------------------------------------------------------------------------------------


def test_every_scenario_has_its_ending_here() -> None:
    assert list(MUST) and set(MUST) == set(SCENARIOS)


@pytest.mark.parametrize("path", sorted(draw.FOLDER.glob("[0-9]-*.md")), ids=lambda path: path.stem)
def test_pages_name_what_is_there(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert draw.blocks(page) and draw.pictures(page)
    for name in draw.blocks(page):
        assert f"--scenario docs/incidents/{name}.yaml" in page
    for name in draw.pictures(page):
        for theme in ("light", "dark"):
            drawn = (draw.FOLDER / "pictures" / f"{name}-{theme}.svg").read_text(encoding="utf-8")
            assert drawn.startswith("<svg")
    assert path.name in (draw.FOLDER / "README.md").read_text(encoding="utf-8")
