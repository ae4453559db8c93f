"""The surface, carrying out runs on the simulated cloud: machine, bucket and API are each what they are in earnest.

Time is the simulated cloud's. The machine's agent is played here: it puts objects into a storage emulator's bucket, by
the names that benchmark_job/bucket.py has for them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import object_store
import results_folder
from benchmark_job import store
from benchmark_job.bucket import Bucket
from benchmark_job.order import RunOrder, job_digest, run_orders
from benchmark_job.results import RunResults
from benchmark_job.run_resource import RunFailed, RunProvider
from components import following, interface, waiting
from components.gce import metadata, names, surface
from components.gce.api import ApiError, AttemptApi, Group, Instance, Operation, Resource, ResourceKind
from components.gce.api import Serial as SerialOutput
from components.interface import Control, Execution, Held, SurfaceError
from engine import masters
from engine.base import Engine, Result
from engine.hands import EngineHands, stop_attempt
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud, MachineState
from engine.simulated.google import SimulatedGoogle
from engine.simulated.scenario import Scenario
from placement.causes import Cause, classify
from placement.ladder import LadderEntry, Place, Purchase, Rung, Surface, expand
from placement.ledger import Attempt, Ledger, Outcome
from placement.verdicts import CannotSay
from placement.walk import End, Reporter, Walk, retry_delay
from settings import Benchmark, ResultsStore, Settings
from tests.played_agent import Agent
from tests.storage_emulator import emulator

RUN, ATTEMPT, URL = "0123abcd-1", "20261121t101010-123-abc123", "gs://bench/team"
PROJECT, REGION = "my-project", "us-central1"
TEMPLATE = "gcp:compute/regionInstanceTemplate:RegionInstanceTemplate"
GROUP = "gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager"
REQUEST = "gcp:compute/regionResizeRequest:RegionResizeRequest"
RUNG = f"gce/{PROJECT}/{REGION}/l4/spot/g2-standard-4"
STAMPS = {"run": RUN, "rung": RUNG, "stack": "test", "usd_per_hour": 0.28, "git_dirty": False}
ORDER = RunOrder(
    run=RUN, store=URL, rung=RUNG, rungs=(RUNG,), surface="gce", tier="l4", argv=(), image=None, timeout_s=3600.0,
    stamps=STAMPS, attempt=ATTEMPT, project=PROJECT, region=REGION, wait_s=1800.0,
)  # fmt: skip
IMAGE = "us-central1-docker.pkg.dev/my-project/bench/resnet@sha256:" + "0" * 64


class Google(SimulatedGoogle):
    """The simulated cloud's API, which remembers what machines are told, and has what they say."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud, ATTEMPT)
        self.said = ""
        self.told: list[tuple[str, str, str]] = []
        self.down = False
        self.kept: tuple[ResourceKind, ...] = ()

    def instances(self, project: str, label: tuple[str, str] | None = None) -> tuple[Instance, ...]:
        if self.down:
            raise ApiError("503: The service is currently unavailable.", 503)
        return super().instances(project, label)

    def serial(self, project: str, zone: str, name: str, start: int) -> SerialOutput:
        return SerialOutput(self.said[start:], start, len(self.said))

    def set_metadata(self, project: str, zone: str, name: str, key: str, value: str) -> None:
        super().set_metadata(project, zone, name, key, value)
        self.told.append((name, key, value))

    def delete(self, resource: Resource) -> Operation | None:
        if resource.kind in self.kept:
            raise ApiError(f"400: The {resource} resource is already being used by another", 400)
        return super().delete(resource)

    def says(self, *lines: str) -> None:
        """What a startup script prints, as the guest agent writes it."""
        self.said += "".join(
            f"Nov 21 10:12:01 vm google_metadata_script_runner[612]: startup-script: {line}\n" for line in lines
        )


@dataclass
class World:
    """A cloud, a results store, and an execution on them. ``steps``: the agent's, one a look while its machine runs."""

    root: Path
    scenario: str = ""
    steps: list[Callable[[], object]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    engine_is_gone: bool = False
    run: str = RUN

    def __post_init__(self) -> None:
        made = Scenario.from_text(self.scenario or "about: enough of everything")
        self.cloud = Cloud(made, SimulatedClock(made.start))
        self.google = Google(self.cloud)
        self.agent = Agent(self.root / "machine", URL, self.run, ATTEMPT, STAMPS)
        folder = self.root / ".gpubench" / "stores" / "bench" / "team" / "runs" / self.run / ATTEMPT
        folder.mkdir(parents=True)
        self.execution = Execution(
            folder, folder.with_name(f"{ATTEMPT}.log"), folder.with_name(store.STOP), lock=-1, secrets={}
        )
        # As long ago as a person needs to stop what has begun; file systems' times are coarse.
        os.utime(folder, (1_000_000_000, 1_000_000_000))

    # -- the clock of the wait, and the time of the surface

    def now(self) -> datetime:
        return self.cloud.now()

    def monotonic(self) -> float:
        return self.cloud.now().timestamp()

    def sleep(self, seconds: float) -> None:
        self.cloud.sleep(seconds)
        if self.steps and any(one.state is MachineState.RUNNING for one in self.cloud.machines(ATTEMPT)):
            self.steps.pop(0)()

    # -- what an update does

    def declares(self, *, waits: bool = False, seconds: int = 7200) -> None:
        """The attempt's group of one machine, or its queue for one."""
        label = {interface.STACK_LABEL: "test", interface.ATTEMPT_LABEL: ATTEMPT}
        model = "FLEX_START" if waits else "SPOT"
        scheduling = {"provisioningModel": model, "maxRunDuration": {"seconds": seconds}}
        template = {"project": PROJECT, "region": REGION, "machineType": "g2-standard-4"}
        _, made = self.cloud.create(TEMPLATE, "template", {**template, "scheduling": scheduling, "labels": label})
        group = {
            "project": PROJECT,
            "region": REGION,
            "baseInstanceName": names.base_name(ATTEMPT),
            "versions": [{"instanceTemplate": made["selfLink"]}],
            "targetSize": 0 if waits else 1,
            "instanceLifecyclePolicy": {"defaultActionOnFailure": "DO_NOTHING"},
            "distributionPolicyTargetShape": "ANY",
        }
        self.cloud.create(GROUP, "group", group)
        if waits:
            request = {"project": PROJECT, "region": REGION, "instanceGroupManager": "group", "resizeBy": 1}
            self.cloud.create(REQUEST, "request", request)

    def carries_out(self, order: RunOrder = ORDER, api: AttemptApi | None = None) -> None:
        control = Control(self.said.append, lambda: self.engine_is_gone)
        surface.carry_out(api or self.google, order, self.execution, control)

    def fails(self, order: RunOrder = ORDER) -> SurfaceError:
        with pytest.raises(SurfaceError) as failed:
            self.carries_out(order)
        return failed.value

    def stops(self) -> None:
        """A person asks for the run's end."""
        self.execution.stop.write_text("now\n")

    # -- what came of it

    @property
    def size(self) -> int:
        (group,) = self.google.groups(PROJECT, REGION, names.base_name(ATTEMPT))
        return group.size

    @property
    def manifest(self) -> dict[str, Any]:
        """Of the sealed folder, which is checked."""
        assert results_folder.verify(self.execution.folder) == []
        return results_folder.read_manifest(self.execution.folder) or {}

    @property
    def measured(self) -> list[object]:
        return [one["tflops"] for one in results_folder.read_records(self.execution.folder)]


Makes = Callable[..., World]


@pytest.fixture(scope="module")
def storage() -> Iterator[None]:
    """One emulator for all: its start and its end take longer than a run."""
    with pytest.MonkeyPatch.context() as patch, emulator(patch, "bench"):
        yield


@pytest.fixture
def makes(storage: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Makes]:
    """Makes a world; the surface lives in its time."""

    runs = {RUN}

    def made(scenario: str = "", run: str = RUN, **declared: Any) -> World:
        runs.add(run)
        world = World(tmp_path, scenario, run=run)
        monkeypatch.setattr(following, "SystemClock", lambda: world)
        monkeypatch.setattr(following, "time", world)
        monkeypatch.setattr(surface, "_api", world.google)
        if declared is not None:
            world.declares(**declared)
        return world

    yield made
    for run in runs:
        Bucket(URL).delete(run, ATTEMPT)


# -- a run, as it should be --------------------------------------------------------------------------------------------


def test_what_a_machine_measures_comes_home_as_it_comes(makes: Makes) -> None:
    world = makes()
    home: list[tuple[list[object], str]] = []

    def looked() -> None:
        home.append((world.measured, world.execution.log.read_text()))

    agent = world.agent
    world.google.says("gpubench: phase boot", "gpubench: phase pull")
    world.steps = [lambda: agent.measures(1), looked, lambda: agent.measures(2), looked, agent.ends]
    world.carries_out()
    assert home == [([1], "measured 1\n"), ([1, 2], "measured 1\nmeasured 2\n")]
    assert world.manifest["status"] == "complete"
    assert world.measured == [1, 2]
    there = {path.name: path.read_bytes() for path in agent.results.path.iterdir()}
    assert {path.name: path.read_bytes() for path in world.execution.folder.iterdir()} == there
    assert world.execution.log.read_text() == "measured 1\nmeasured 2\n"
    (machine,) = world.cloud.machines(ATTEMPT)
    assert world.said == [f"pull on {machine.id}"]
    assert world.size == 1, "a machine that may have more runs to do isn't taken away"


def test_results_that_are_there_already_are_fetched_and_nothing_is_asked_for(makes: Makes) -> None:
    world = makes()
    world.agent.measures(1)
    world.agent.ends()
    world.carries_out(api=cast(AttemptApi, object()))  # it can't be asked anything
    assert world.manifest["status"] == "complete"
    assert world.measured == [1]


def test_what_a_run_failed_of_comes_home_with_what_it_measured(makes: Makes) -> None:
    world = makes()
    failed = results_folder.Status.FAILED
    world.steps = [lambda: world.agent.measures(1), lambda: world.agent.ends(failed, "CUDA out of memory")]
    world.carries_out()
    assert world.manifest["cause"]["message"] == "CUDA out of memory"
    assert world.measured == [1]


def test_a_manifest_that_does_not_fit_comes_home_as_it_is(makes: Makes) -> None:
    world = makes()

    def rewritten_and_sealed() -> None:
        world.agent.rewrites(b"gemm-1", b"gemm-9")  # after it was uploaded
        world.agent.ends()

    world.steps = [lambda: world.agent.measures(1), rewritten_and_sealed]
    world.carries_out()
    problems = results_folder.verify(world.execution.folder)
    assert [problem.partition(":")[0] for problem in problems] == [results_folder.MEASUREMENTS]


# -- machines that go --------------------------------------------------------------------------------------------------

PREEMPTED = "interruptions: [{tier: l4, purchase: spot, after_minutes: 12, times: 1}]"


def test_a_preempted_machine_leaves_what_it_measured_and_the_clouds_words(makes: Makes) -> None:
    world = makes(PREEMPTED)
    world.steps = [lambda: world.agent.measures(1), lambda: world.agent.measures(2)]
    begun = world.now()
    world.carries_out()
    assert world.measured == [1, 2]
    manifest = world.manifest
    assert (manifest["status"], manifest["cause"]["cause"], manifest["made_by"]) == (
        "interrupted",
        "interrupted",
        "wrapper",
    )
    (machine,) = world.cloud.machines(ATTEMPT)
    assert manifest["cause"]["message"].startswith("compute.instances.preempted: the machine was preempted")
    assert machine.id in manifest["cause"]["message"]
    assert manifest["stamps"] == {**STAMPS, "attempt": ATTEMPT}
    grace = timedelta(seconds=following._UPLOAD_GRACE_S)
    assert grace <= world.now() - begun - timedelta(minutes=12) < grace + timedelta(minutes=1)


def test_a_machine_that_is_gone_may_have_put_its_manifest_there_a_moment_before(makes: Makes) -> None:
    world = makes(PREEMPTED)

    def late() -> None:
        # Seen by a look at the bucket only after the machine was seen gone.
        world.cloud.sleep(12 * 60)
        world.agent.ends()

    world.steps = [lambda: world.agent.measures(1), late]
    world.carries_out()
    assert world.manifest["status"] == "complete"


def test_a_machine_that_is_gone_without_a_word_is_an_interruption(makes: Makes) -> None:
    world = makes(seconds=1200)
    world.steps = [lambda: world.agent.measures(1)]
    world.carries_out()
    manifest = world.manifest
    assert (manifest["status"], manifest["cause"]["message"]) == (
        "interrupted",
        "the machine is gone, and left no word of why",
    )
    assert world.measured == [1]


def test_a_machine_that_measured_nothing_leaves_a_sealed_folder_too(makes: Makes) -> None:
    world = makes(PREEMPTED)
    world.carries_out()
    assert world.manifest["files"] == []


def test_a_machine_that_could_only_say_what_went_wrong_is_heard(makes: Makes) -> None:
    world = makes(seconds=1200)
    refused = "denied: Permission 'artifactregistry.repositories.downloadArtifacts' denied on resource"
    world.google.says(
        "gpubench: phase run another-2",
        "gpubench: failed workload (exit-code): not this run's",
        f"gpubench: phase pull {RUN}",
        f"gpubench: failed image (pull-denied): {refused}",
        "  (or it may not exist)",
        "gpubench: phase end",
    )
    world.carries_out()
    manifest = world.manifest
    assert (manifest["status"], manifest["cause"]["cause"], manifest["cause"]["code"]) == (
        "failed",
        "image",
        "pull-denied",
    )
    assert refused in manifest["cause"]["message"]
    assert "(or it may not exist)" in manifest["cause"]["message"]
    assert "not this run's" not in manifest["cause"]["message"]


# -- machines that went while nobody looked ----------------------------------------------------------------------------

SOON = timedelta(seconds=following._UPLOAD_GRACE_S + 2 * following.POLL_S)


def killed_then_gone(world: World, *steps: Callable[[], object], after_s: float = 3600.0) -> datetime:
    """An engine is killed when its run has come so far, and later its machine ends; the time of the next update."""

    def killed() -> None:
        world.engine_is_gone = True

    world.steps = [*steps, killed]
    world.fails()
    world.engine_is_gone = False
    world.cloud.sleep(after_s)
    assert [one.ended is None for one in world.cloud.machines(ATTEMPT)] == [False]
    return world.now()


@pytest.mark.parametrize(
    ("scenario", "size", "why"), [(PREEMPTED, 1, "compute.instances.preempted: "), ("", 0, waiting.GONE)]
)
def test_a_machine_that_died_while_no_engine_ran_leaves_what_it_measured(
    makes: Makes, scenario: str, size: int, why: str
) -> None:
    world = makes(scenario, seconds=1200)
    again = killed_then_gone(world, lambda: world.agent.measures(1), lambda: world.agent.measures(2))
    assert world.size == size, "whatever the group says that it wants"
    world.carries_out()
    manifest = world.manifest
    assert (manifest["status"], manifest["cause"]["cause"]) == ("interrupted", "interrupted")
    assert manifest["cause"]["message"].startswith(why)
    assert world.measured == [1, 2]
    assert world.now() - again <= SOON


def test_a_machine_that_left_nothing_is_known_by_what_was_done_to_it(makes: Makes) -> None:
    """So is one that died between two of its runs: there is nothing of the second."""
    world = makes(PREEMPTED)
    world.cloud.sleep(3600)
    begun = world.now()
    world.carries_out()
    assert world.manifest["cause"]["message"].startswith("compute.instances.preempted: ")
    assert world.manifest["files"] == []
    assert world.now() - begun <= SOON


def test_a_machine_that_no_operation_tells_of_is_known_by_what_it_left(
    makes: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google keeps operations for two weeks."""
    world = makes(seconds=1200)
    killed_then_gone(world, lambda: world.agent.measures(1))
    monkeypatch.setattr(world.google, "operations", lambda *_: ())
    begun = world.now()
    world.carries_out()
    assert world.manifest["cause"]["message"] == waiting.GONE
    assert world.measured == [1]
    assert world.now() - begun <= SOON


def test_a_machine_that_went_may_have_put_its_manifest_there_after_all(makes: Makes) -> None:
    """A listing may lag behind."""
    world = makes(seconds=1200)
    killed_then_gone(world, lambda: world.agent.measures(1))
    sleep = world.sleep

    def late(seconds: float) -> None:
        world.sleep = sleep  # type: ignore[method-assign]
        world.agent.ends()
        sleep(seconds)

    world.sleep = late  # type: ignore[method-assign]
    world.carries_out()
    assert world.manifest["status"] == "complete"


def test_a_person_who_stops_a_run_whose_machine_is_gone_has_stopped_it(makes: Makes) -> None:
    world = makes(PREEMPTED)
    killed_then_gone(world, lambda: world.agent.measures(1))
    world.stops()
    world.carries_out()
    assert "was stopped on request" in world.manifest["cause"]["message"]


@pytest.mark.parametrize("known", [True, False], ids=["with the cloud's words", "without"])
def test_an_attempt_that_was_given_up_by_an_update_that_was_killed(
    makes: Makes, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """It has no machine, and asks for none: nothing is worth waiting for."""
    world = makes("stock: [{tier: l4, machines: 0}]")
    (group,) = world.google.groups(PROJECT, REGION, names.base_name(ATTEMPT))
    world.google.resize(group, 0)
    if not known:
        monkeypatch.setattr(world.google, "group_errors", lambda _: ())  # Google keeps a group's newest ones only
    begun = world.now()
    failed = world.fails()
    assert world.now() - begun <= timedelta(seconds=waiting.PATIENCE_S + 2 * following.POLL_S)
    if known:
        assert classify(str(failed)).cause is Cause.CAPACITY
    else:
        assert failed.cause is Cause.INTERRUPTED
        assert "nothing asks for a machine any more" in str(failed)


# -- no machine --------------------------------------------------------------------------------------------------------


def test_no_capacity_is_said_in_the_clouds_words_and_nothing_is_asked_for_any_more(makes: Makes) -> None:
    world = makes("stock: [{tier: l4, machines: 0}]")
    texts = [one.text for one in world.cloud.look(ATTEMPT)]
    assert texts
    assert world.size == 1
    failed = world.fails()
    assert str(failed).splitlines() == list(dict.fromkeys(line for text in texts for line in text.splitlines()))
    assert classify(str(failed)).cause is Cause.CAPACITY
    assert world.size == 0
    assert not any(world.execution.folder.iterdir())
    assert not world.google.told


def test_a_quota_ends_the_wait_at_once(makes: Makes) -> None:
    world = makes("quotas: [{tier: l4, surface: gce, limit: 0}]")
    begun = world.now()
    assert classify(str(world.fails())).cause is Cause.QUOTA
    assert world.now() == begun
    assert world.size == 0


FLEX = "flex_start: {waits_minutes: 20}"


def test_a_queue_that_waits_and_then_gets_its_machine_is_no_failure(makes: Makes) -> None:
    world = makes(FLEX, waits=True)
    assert surface.alive(LOST), "a place in a queue is something"
    world.steps = [lambda: world.agent.measures(1), world.agent.ends]
    world.carries_out()
    assert world.manifest["status"] == "complete"
    assert any("Waiting for resources" in one for one in world.said)


def test_a_queue_that_gets_nothing_in_its_time_ends_with_it(makes: Makes) -> None:
    world = makes(FLEX, waits=True)
    begun = world.now()
    failed = world.fails(replace(ORDER, wait_s=600.0))
    assert "could not find capacity within 10 minutes" in str(failed)
    assert "Waiting for resources" in str(failed)
    assert classify(str(failed)).cause is Cause.CAPACITY
    assert timedelta(minutes=10) <= world.now() - begun < timedelta(minutes=11)
    assert world.size == 0
    world.cloud.sleep(3600)
    assert not world.cloud.machines(ATTEMPT), "nothing comes after it was given up"
    assert not surface.alive(LOST)


def test_a_group_that_cannot_be_shrunk_does_not_hide_why_there_is_no_machine(
    makes: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = makes("stock: [{tier: l4, machines: 0}]")

    def refused(group: Group, size: int) -> Operation:
        raise ApiError("403: Required 'compute.instanceGroupManagers.update' permission", 403)

    monkeypatch.setattr(world.google, "resize", refused)
    assert classify(str(world.fails())).cause is Cause.CAPACITY
    assert any("could not be told" in one and "instanceGroupManagers.update" in one for one in world.said)


# -- the end, asked for ------------------------------------------------------------------------------------------------


def test_a_stop_before_there_is_a_machine_ends_the_wait(makes: Makes) -> None:
    world = makes(FLEX, waits=True)
    world.stops()
    assert "was stopped before it began" in str(world.fails())
    assert world.size == 0
    assert not world.google.told


def test_a_stop_is_told_to_the_machine_once_which_seals_its_run(makes: Makes) -> None:
    world = makes()

    def sealed() -> None:
        assert world.google.told, "it was told meanwhile"
        world.agent.ends(results_folder.Status.INTERRUPTED, "it was stopped on request")

    def stopped() -> None:
        world.agent.measures(1)  # what comes home now makes the folder newer than the stop file
        world.stops()

    world.steps = [lambda: None, stopped, lambda: world.agent.results.write_results({}), lambda: None, sealed]
    world.carries_out()
    (machine,) = world.cloud.machines(ATTEMPT)
    assert world.google.told == [(machine.id, metadata.STOP, "1")]
    assert world.manifest["status"] == "interrupted"
    assert world.measured == [1]


def test_a_stopped_machine_that_goes_without_a_manifest_was_stopped(makes: Makes) -> None:
    world = makes(PREEMPTED)
    world.steps = [lambda: world.agent.measures(1), world.stops]
    world.carries_out()
    assert "was stopped on request" in world.manifest["cause"]["message"]
    assert world.manifest["cause"]["cause"] == "interrupted"


def test_a_stop_that_comes_after_the_machine_went_seals_what_is_there(makes: Makes) -> None:
    world = makes(PREEMPTED)

    def late() -> None:
        world.cloud.sleep(12 * 60)
        world.stops()

    world.steps = [lambda: world.agent.measures(1), late]
    world.carries_out()
    assert world.manifest["status"] == "interrupted"
    assert world.measured == [1]
    assert not world.google.told


def test_an_old_stop_does_not_end_a_run_that_is_gone_on_with(makes: Makes) -> None:
    world = makes()
    world.stops()
    os.utime(world.execution.stop, (900_000_000, 900_000_000))
    world.steps = [lambda: world.agent.measures(1), world.agent.ends]
    world.carries_out()
    assert not world.google.told


def test_without_its_engine_nothing_is_waited_for_and_the_machine_goes_on(makes: Makes) -> None:
    world = makes()

    def gone() -> None:
        world.agent.measures(1)
        world.engine_is_gone = True

    world.steps = [gone]
    assert "engine" in str(world.fails())
    assert world.size == 1, "the next update goes on with it"
    world.engine_is_gone = False
    world.steps = [lambda: world.agent.measures(2), world.agent.ends]
    world.carries_out()
    assert world.measured == [1, 2]
    assert world.execution.log.read_text() == "measured 1\nmeasured 2\n"
    assert world.manifest["status"] == "complete"


def test_an_answer_that_fails_for_a_moment_does_not_cost_the_machine(makes: Makes) -> None:
    world = makes()

    def down() -> None:
        world.agent.measures(1)
        world.google.down = True

    world.steps = [down]
    failed = world.fails()
    assert classify(str(failed)).cause is Cause.TRANSIENT, "so that the run is tried again in place"
    assert world.size == 1
    world.google.down = False
    world.steps = [world.agent.ends]
    world.carries_out()
    assert world.manifest["status"] == "complete"


def test_a_machine_that_says_nothing_is_given_up_in_the_end(makes: Makes) -> None:
    world = makes(seconds=7 * 24 * 3600)
    begun = world.now()
    assert f"nothing came of run {RUN}" in str(world.fails())
    most = timedelta(seconds=ORDER.timeout_s + following._OVERHEAD_S)
    assert most < world.now() - begun < most + timedelta(minutes=10)
    assert world.size == 0


# -- before anything, and afterwards -----------------------------------------------------------------------------------


def settings(**changes: Any) -> Settings:
    ladder = expand([LadderEntry(Surface.GCE, PROJECT, (REGION,), tiers=("l4",), purchases=(Purchase.SPOT,))])
    bucket = ResultsStore("gs", URL, bucket="bench", prefix="team")
    return replace(Settings(ladder, Benchmark(image=IMAGE), results=bucket), **changes)


def test_settings_that_it_can_work_with_pass() -> None:
    surface.check(settings())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"results": ResultsStore.folder("out/here")}, ["gpubench:results: out/here:", "gpubench:results: gs://"]),
        ({"results": ResultsStore("s3", "s3://b/x", bucket="b")}, ["gpubench:results: s3://b/x:", "gs://"]),
        ({"benchmark": Benchmark()}, ["gpubench:benchmark:", "`image` names none", "docs/gce.md"]),
    ],
)
def test_settings_that_it_cannot_work_with_are_refused_with_the_mend(changes: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(SurfaceError) as refused:
        surface.check(settings(**changes))
    assert refused.value.cause is Cause.BAD_REQUEST
    assert not [one for one in said if one not in str(refused.value)]


LOST = Attempt(ATTEMPT, "test", "job", RUNG, "l4", REGION, datetime(2026, 11, 21, tzinfo=UTC), "gce", PROJECT)
THE_RUNG = Rung(Place(Surface.GCE, PROJECT, REGION), "l4", 1, ("g2-standard-4",), Purchase.SPOT)


def test_a_sweep_takes_the_machine_and_leaves_to_the_engine_what_costs_nothing(makes: Makes) -> None:
    world = makes()
    world.google.kept = (ResourceKind.TEMPLATE,)
    assert surface.alive(LOST)
    surface.sweep(LOST)
    assert not surface.alive(LOST)
    assert [one.type_token for one in world.cloud.resources(ATTEMPT)] == [TEMPLATE]
    assert [one.ended is None for one in world.cloud.machines(ATTEMPT)] == [False]
    surface.sweep(LOST)


@pytest.mark.parametrize("kind", [ResourceKind.GROUP, ResourceKind.INSTANCE])
def test_a_sweep_that_leaves_a_machine_says_so_in_the_clouds_words(makes: Makes, kind: ResourceKind) -> None:
    world = makes()
    vm = {
        "project": PROJECT,
        "zone": f"{REGION}-a",
        "machineType": "g2-standard-4",
        "labels": {interface.ATTEMPT_LABEL: ATTEMPT},
    }
    world.cloud.create("gcp:compute/instance:Instance", "vm", {**vm, "scheduling": {"provisioningModel": "SPOT"}})
    world.google.kept = (kind, ResourceKind.TEMPLATE)
    with pytest.raises(SurfaceError) as left:
        surface.sweep(LOST)
    assert left.value.cause is Cause.TRANSIENT, "so that the walk asks again"
    first, *rest = str(left.value).splitlines()
    assert ATTEMPT in first
    (line,) = rest
    assert line.startswith(f"{kind}/")
    assert "already being used by another" in line


def test_what_an_attempt_held_is_nothing_where_google_does_not_answer(makes: Makes) -> None:
    world = makes()
    (machine,) = world.cloud.machines(ATTEMPT)
    known = surface.held(LOST, THE_RUNG)
    assert (known.since, known.zone, known.machine_type) == (machine.since, machine.zone, "g2-standard-4")
    world.google.down = True
    assert surface.held(LOST, THE_RUNG) == Held()
    with pytest.raises(SurfaceError, match="503: The service is currently unavailable"):
        surface.alive(LOST)


def test_nobody_logged_in_is_no_answer_and_a_permission(makes: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    world = makes()

    def nobody(*_: object) -> None:
        raise CannotSay("there are no Google credentials: gcloud auth application-default login")

    for asked in ("instances", "groups", "operations"):
        monkeypatch.setattr(world.google, asked, nobody)
    assert surface.held(LOST, THE_RUNG) == Held()
    with pytest.raises(SurfaceError, match="application-default login") as refused:
        surface.sweep(LOST)
    assert refused.value.cause is Cause.PERMISSION


def test_what_the_simulated_cloud_refuses_for_a_moment_is_the_apis_error(makes: Makes) -> None:
    world = makes("flaky: {probability: 1, at_most: 1, operations: [machines, look, resize]}")
    group = Group(PROJECT, REGION, "group", names.base_name(ATTEMPT), 1)
    asks: list[Callable[[], object]] = [
        lambda: world.google.group_errors(group),
        lambda: world.google.managed_instances(group),
        lambda: SimulatedGoogle.instances(world.google, PROJECT),
        lambda: world.google.resize(group, 0),
    ]
    for ask in asks:
        with pytest.raises(ApiError) as refused:
            ask()
        assert classify(refused.value.text).cause is Cause.TRANSIENT
        ask()


# -- an attempt that is given up ---------------------------------------------------------------------------------------

WANTED = settings(benchmark=Benchmark(image=IMAGE))
(GIVEN_UP,) = run_orders(WANTED, WANTED.ladder[0], "test", IMAGE)
GIVEN_UP = replace(GIVEN_UP, attempt=ATTEMPT)
UNDER_WAY = replace(LOST, job=job_digest(WANTED.benchmark), begun=datetime.now(UTC) - timedelta(days=2))


class Released:
    """An engine that has no capacity to declare any more."""

    name = "released"

    def __init__(self) -> None:
        self.updates = 0

    def up(self) -> Result:
        self.updates += 1
        return Result()

    def outputs(self) -> dict[str, object]:
        return {}

    def is_torn(self) -> bool:
        return False

    def preview(self) -> Result:
        raise NotImplementedError

    destroy = cancel = preview


@dataclass
class Forsaken:
    """A world in which an update was killed on the way, and its machine went on by itself."""

    world: World
    patch: pytest.MonkeyPatch
    ledger: Ledger
    engine: Released = field(default_factory=Released)

    @classmethod
    def of(cls, world: World, patch: pytest.MonkeyPatch) -> Forsaken:
        patch.setattr(store, "PROJECT_ROOT", world.root)
        made = cls(world, patch, Ledger(world.root / "ledger", "test"))
        made.ledger.begin(UNDER_WAY)

        def killed() -> None:
            world.engine_is_gone = True

        world.steps = [lambda: world.agent.measures(1), killed]
        world.fails(GIVEN_UP)
        assert world.measured == [1]
        assert not results_folder.read_manifest(world.execution.folder)
        world.agent.measures(2)
        return made

    def hands(self, wanted: Settings = WANTED) -> EngineHands:
        return EngineHands(wanted, "test", cast(Engine, self.engine), self.ledger, self.world.cloud)

    def goes(self) -> None:
        """Its machine, by the limit that the cloud itself enforces."""
        self.world.cloud.sleep(3600)
        assert not self.hands().resumable(UNDER_WAY)

    @property
    def ended(self) -> Attempt:
        (attempt,) = self.ledger.attempts()
        return attempt

    def in_another_clone(self) -> RunResults:
        with self.patch.context() as patch:
            patch.setattr(store, "PROJECT_ROOT", self.world.root / "another")
            store.bring_home(URL)
            newest = store.newest_attempt_of_stack(store.folder(URL), "test")
            assert newest is not None, "nothing came"
            return RunResults.load(newest)


@pytest.fixture
def forsaken(makes: Makes, monkeypatch: pytest.MonkeyPatch) -> Forsaken:
    return Forsaken.of(makes(run=GIVEN_UP.run, seconds=1200), monkeypatch)


def test_what_a_machine_measured_that_went_unseen_is_kept_for_all_clones(forsaken: Forsaken) -> None:
    forsaken.goes()
    forsaken.hands().give_up(UNDER_WAY, "what it had is gone")
    assert (forsaken.ended.outcome, forsaken.ended.cause) == (Outcome.STOPPED, Cause.INTERRUPTED)
    there = forsaken.in_another_clone()
    assert (there.status, there.run_id) == ("interrupted", GIVEN_UP.run)
    assert results_folder.verify(there.folder) == []
    assert [one["tflops"] for one in results_folder.read_records(there.folder)] == [1, 2]
    assert there.folder.with_name(f"{ATTEMPT}.log").read_text() == "measured 1\nmeasured 2\n"
    assert there.manifest is not None and there.manifest.cause is not None
    assert (there.manifest.cause.code, there.manifest.made_by) == ("given-up", "wrapper")
    assert there.manifest.cause.message == "an earlier walk was killed, and what it had is gone"
    said = {key: value for key, value in there.stamps.model_dump().items() if value is not None}
    of_now = ("git_commit", "git_dirty")  # whose commit was it two days ago?
    assert said == {k: v for k, v in GIVEN_UP.stamps.items() if k not in of_now} | {"attempt": ATTEMPT}
    # From its first upload to its last, and not until somebody looked.
    assert there.duration_s is not None and there.duration_s < 60
    assert there.manifest.started_at > UNDER_WAY.begun + timedelta(days=1)
    assert forsaken.world.manifest == results_folder.read_manifest(there.folder)
    assert forsaken.hands().due() == (GIVEN_UP.run,)


def test_results_that_were_whole_unseen_are_results_and_win(forsaken: Forsaken) -> None:
    forsaken.world.agent.ends()
    forsaken.goes()
    clock = forsaken.world.cloud
    job = UNDER_WAY.job
    ending = Walk(WANTED, "test", job, forsaken.ledger, forsaken.hands(), clock, cast(Reporter, None)).go()
    assert (ending.end, forsaken.engine.updates) == (End.NOTHING_DUE, 1)
    assert (forsaken.ended.outcome, forsaken.ended.failure) == (Outcome.WON, None)
    assert forsaken.world.manifest["status"] == "complete", "also where a killed update had begun to bring it home"
    assert forsaken.world.measured == [1, 2]
    assert forsaken.world.execution.log.read_text() == "measured 1\nmeasured 2\n"


def test_one_of_two_runs_that_was_whole_unseen_stays_and_wins_nothing(
    makes: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = GIVEN_UP.run[:-1] + "2"
    wanted = replace(WANTED, benchmark=replace(WANTED.benchmark, repeats=2))
    makes(run=second)  # it is cleared away, too
    forsaken = Forsaken.of(makes(run=GIVEN_UP.run, seconds=1200), monkeypatch)
    forsaken.world.agent.ends()
    Agent(forsaken.world.root / "again", URL, second, ATTEMPT, STAMPS).measures(3)
    forsaken.goes()
    forsaken.hands(wanted).give_up(UNDER_WAY, "what it had is gone")
    assert forsaken.ended.outcome is Outcome.STOPPED
    assert forsaken.hands(wanted).due() == (second,)
    manifest = results_folder.read_manifest(store.run_folder(store.folder(URL), second) / ATTEMPT) or {}
    assert (manifest["status"], manifest["stamps"]["run"]) == ("interrupted", second)


def test_a_stack_that_asks_for_something_else_now_keeps_what_it_measured(forsaken: Forsaken) -> None:
    forsaken.goes()
    image = IMAGE.replace("0" * 64, "1" * 64)
    forsaken.hands(settings(benchmark=Benchmark(image=image))).give_up(UNDER_WAY, "the stack asks for something else")
    stamps = forsaken.in_another_clone().stamps
    assert (stamps.run, stamps.rung, stamps.usd_per_hour) == (GIVEN_UP.run, RUNG, GIVEN_UP.stamps["usd_per_hour"])
    assert stamps.image is None and stamps.image_digest is None, "another one's"


def test_a_bucket_that_says_nothing_keeps_no_attempt_from_being_given_up(
    forsaken: Forsaken, capsys: pytest.CaptureFixture[str]
) -> None:
    forsaken.goes()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("bench-robot does not have storage.objects.list access")

    hands = forsaken.hands()
    with forsaken.patch.context() as patch:
        patch.setattr(object_store.open_url(URL)[0], "find", refused)
        hands.give_up(UNDER_WAY, "what it had is gone")
        hands.sweep(forsaken.ended)  # as a walk does that goes on
    assert forsaken.ended.outcome is Outcome.STOPPED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"gpubench: what attempt {ATTEMPT} measured isn't kept: the results store {URL} can't be read"
    )
    assert "does not have storage.objects.list access" in line and "gcloud auth" in line
    forsaken.hands().sweep(forsaken.ended)  # as the next `gpubench up` does
    assert forsaken.in_another_clone().status == "interrupted"


def test_a_destroyed_stack_keeps_what_its_machine_has_measured(forsaken: Forsaken) -> None:
    clock = forsaken.world.cloud
    stop_attempt(UNDER_WAY, None, forsaken.ledger, clock, "the stack was destroyed")
    assert forsaken.ended.ended is None and Bucket(URL).runs_of(ATTEMPT) == {GIVEN_UP.run: False}, (
        "left to the next walk"
    )
    stop_attempt(UNDER_WAY, WANTED, forsaken.ledger, clock, "the stack was destroyed")
    assert not surface.alive(UNDER_WAY) and forsaken.ended.outcome is Outcome.STOPPED
    there = forsaken.in_another_clone()
    assert there.status == "interrupted" and len(there.records) == 2
    assert there.manifest is not None and there.manifest.cause is not None
    assert there.manifest.cause.message == "the stack was destroyed"


def test_a_machine_that_seals_its_run_while_it_is_taken_away_has_the_last_word(forsaken: Forsaken) -> None:
    end = surface.sweep

    def swept(attempt: Attempt) -> None:
        end(attempt)
        assert Bucket(URL).runs_of(ATTEMPT) == {GIVEN_UP.run: False}
        forsaken.world.agent.ends(results_folder.Status.INTERRUPTED, "the machine is being deleted")

    forsaken.patch.setattr(surface, "sweep", swept)
    forsaken.hands().give_up(UNDER_WAY, "the stack asks for something else now")
    manifest = forsaken.in_another_clone().manifest
    assert manifest is not None and manifest.cause is not None
    assert manifest.cause.message == "the machine is being deleted"


def test_an_attempt_that_left_nothing_is_given_up_without_a_folder(
    makes: Makes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = makes(run=GIVEN_UP.run, seconds=1200)
    monkeypatch.setattr(store, "PROJECT_ROOT", world.root / "another")
    forsaken = Forsaken(world, monkeypatch, Ledger(world.root / "ledger", "test"))
    forsaken.ledger.begin(UNDER_WAY)
    forsaken.goes()
    forsaken.hands().give_up(UNDER_WAY, "what it had is gone")
    assert forsaken.ended.outcome is Outcome.STOPPED and Bucket(URL).runs_of(ATTEMPT) == {}
    assert not store.folder(URL).exists() and capsys.readouterr() == ("", "")


# -- as the engine's resource ------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What ends a process in the middle, as far as this process can show it: nothing catches it."""


@pytest.fixture
def creates(makes: Makes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """Creates the run, as the engine does, in the folder where a stack's results are."""
    monkeypatch.setattr(store, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv(masters.ENGINE_VARIABLE, masters.EMBEDDED)
    return lambda: dict(RunProvider().create(ORDER.to_props()).outs or {})


Creates = Callable[[], dict[str, Any]]


def test_a_run_is_created_once_and_named_after_the_ledgers_attempt(
    makes: Makes, creates: Creates, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = makes()
    world.execution.folder.rmdir()
    world.steps = [lambda: world.agent.measures(1), world.agent.ends]
    outputs = creates()
    assert (outputs["attempt"], outputs["obtained_rung"]) == (ATTEMPT, RUNG)
    assert outputs["results"] == f".gpubench/stores/bench/team/runs/{RUN}/{ATTEMPT}"
    assert world.manifest["stamps"]["attempt"] == ATTEMPT
    assert world.measured == [1]
    assert Bucket(URL).attempts(RUN) == {ATTEMPT: True}
    monkeypatch.setattr(surface, "_api", object())  # it can't be asked anything
    assert creates() == outputs
    shutil.rmtree(world.execution.folder.parent)
    assert creates() == outputs, "another clone has them from the bucket"


def test_after_a_kill_the_same_attempt_goes_on(makes: Makes, creates: Creates) -> None:
    world = makes()

    def killed() -> None:
        raise Killed

    world.steps = [lambda: world.agent.measures(1), lambda: world.agent.measures(2), killed]
    with pytest.raises(Killed):
        creates()
    assert world.measured == [1, 2]
    assert not results_folder.read_manifest(world.execution.folder)
    world.steps = [lambda: world.agent.measures(3), world.agent.ends]
    assert creates()["attempt"] == ATTEMPT
    assert world.manifest["status"] == "complete"
    assert world.measured == [1, 2, 3]
    assert world.execution.log.read_text() == "measured 1\nmeasured 2\nmeasured 3\n"
    assert [one.name for one in world.execution.folder.parent.iterdir() if one.is_dir()] == [ATTEMPT]
    assert len(world.cloud.machines(ATTEMPT)) == 1


def test_results_that_do_not_fit_their_manifest_fail_the_run_and_are_kept(makes: Makes, creates: Creates) -> None:
    world = makes()

    def rewritten_and_sealed() -> None:
        world.agent.rewrites(b"gemm-1", b"gemm-9")
        world.agent.ends()

    world.steps = [lambda: world.agent.measures(1), rewritten_and_sealed]
    with pytest.raises(RunFailed) as failed:
        creates()
    assert "left no usable results: measurements.jsonl: " in str(failed.value)
    assert f"Kept: {world.execution.folder}" in str(failed.value)
    assert world.measured == [1]


def test_an_interrupted_run_fails_with_its_cause_and_is_put_into_the_bucket(makes: Makes, creates: Creates) -> None:
    world = makes(PREEMPTED)
    world.steps = [lambda: world.agent.measures(1)]
    with pytest.raises(RunFailed) as failed:
        creates()
    assert classify(str(failed.value)).cause is Cause.INTERRUPTED
    assert "compute.instances.preempted" in str(failed.value)
    assert Bucket(URL).attempts(RUN) == {ATTEMPT: True}, "its measurements are there for other clones"


PULL = 'Error response from daemon: Get "https://us-docker.pkg.dev/v2/": net/http: TLS handshake timeout'


@pytest.mark.parametrize("by", ["manifest", "console"])
def test_what_passes_is_tried_again_on_another_machine_and_not_in_place(
    makes: Makes, creates: Creates, by: str
) -> None:
    """In place the sealed failure would be found again, as often as it is tried."""
    world = makes(seconds=1200)
    passing = results_folder.Cause("transient", "image-pull", PULL, "run `gpubench up` again")
    if by == "manifest":
        world.steps = [lambda: world.agent.ends(results_folder.Status.FAILED, failed=passing)]
    else:
        world.google.says("gpubench: phase upload", f"gpubench: failed transient (image-pull): {PULL}")
    with pytest.raises(RunFailed) as ended:
        creates()
    failure = classify(str(ended.value))
    assert (failure.cause, failure.code) == (Cause.INTERRUPTED, "image-pull")
    assert PULL in failure.text
    assert retry_delay(failure, 1, "token") is None
    assert world.manifest["cause"]["cause"] == "transient", "what the machine said stays"
    begun = world.now()
    with pytest.raises(RunFailed) as again:
        creates()
    assert str(again.value) == str(ended.value)
    assert world.now() == begun


def test_an_attempt_without_a_machine_leaves_no_folder(makes: Makes, creates: Creates) -> None:
    world = makes("stock: [{tier: l4, machines: 0}]")
    with pytest.raises(RunFailed) as failed:
        creates()
    assert classify(str(failed.value)).cause is Cause.CAPACITY
    assert [one.text for one in world.cloud.look(ATTEMPT) if one.text not in str(failed.value)] == []
    assert not world.execution.folder.exists()
    assert Bucket(URL).attempts(RUN) == {}


def test_stop_reaches_the_machine_through_the_run_s_stop_file(makes: Makes, creates: Creates) -> None:
    world = makes()

    def asked() -> None:
        world.agent.measures(1)
        assert store.request_stop(store.folder(URL), "test") == [RUN]

    def ended() -> None:
        assert world.google.told
        world.agent.ends(results_folder.Status.INTERRUPTED, "it was stopped on request")

    world.steps = [asked, lambda: None, ended]
    with pytest.raises(RunFailed, match="was stopped on request"):
        creates()


def test_an_old_stop_is_not_meant_for_the_update_that_goes_on(makes: Makes, creates: Creates) -> None:
    world = makes()

    def killed() -> None:
        world.stops()
        raise Killed

    world.steps = [lambda: world.agent.measures(1), killed]
    with pytest.raises(Killed):
        creates()
    time.sleep(0.05)  # more than the file system's clock is fine
    world.steps = [lambda: world.agent.measures(2), lambda: None, lambda: None, world.agent.ends]
    creates()
    assert not world.google.told
