"""The surface, carrying out runs on the simulated cloud: machines, tasks and bucket, each as they are in earnest.

Time is the simulated cloud's. The uploader is played here: it puts objects into an S3 of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import results_folder
from benchmark_job import store
from benchmark_job.bucket import Bucket
from benchmark_job.order import RunOrder
from components import following, image_digest, interface
from components.ecs import images, names, surface
from components.ecs.api import (
    AwsApi,
    AwsError,
    Container,
    EcsApi,
    LogPage,
    Refusal,
    Started,
    StopOrder,
    Task,
    TaskOrder,
)
from components.interface import Control, Execution, SurfaceError
from engine.simulated.amazon import SimulatedAmazon
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud, MachineState
from engine.simulated.scenario import Scenario
from placement.causes import Cause, Where, classify
from placement.ladder import LadderEntry, Purchase, Surface, expand
from settings import Aws, Benchmark, Code, ResultsStore, Settings
from tests.played_agent import Agent
from tests.s3_server import s3

RUN, ATTEMPT, URL = "0123abcd-1", "20261121t101010-123-abc123", "s3://bench/team"
ACCOUNT, REGION = "123456789012", "us-east-1"
BASE = names.base_name(ATTEMPT)
RUNG = f"ecs/{ACCOUNT}/{REGION}/t4/spot/g4dn.xlarge"
STAMPS = {"run": RUN, "rung": RUNG, "stack": "test", "usd_per_hour": 0.28, "git_dirty": False}
HANDLES = {"subnets": "subnet-1,subnet-2", "security_group": "sg-1", "provider": BASE, "waits_for": "machine"}
ORDER = RunOrder(
    run=RUN, store=URL, rung=RUNG, rungs=(RUNG,), surface="ecs", tier="t4", argv=(), image=None, timeout_s=3600.0,
    stamps=STAMPS, attempt=ATTEMPT, project=ACCOUNT, region=REGION, wait_s=1800.0, handles=HANDLES,
)  # fmt: skip
ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{BASE}/0123456789abcdef"


class Amazon(SimulatedAmazon):
    """The simulated cloud's API, with one task that is run, what it prints, and what is asked of it."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud, ATTEMPT)
        self.ordered: list[TaskOrder] = []
        self.stopped: list[str] = []
        self.refusals: tuple[Refusal, ...] = ()
        self.played: Task | None = None
        self.printed: dict[str, list[str]] = {}
        self.down = False
        self.refused: list[str] = []
        self.clocked: list[StopOrder] = []
        self.unclockable: list[str] = []
        self.lists = True

    def stop_later(self, order: StopOrder) -> None:
        if self.unclockable:
            raise AwsError(self.unclockable.pop(0), "ValidationException", 400)
        self.clocked.append(order)

    def unschedule(self, region: str, name: str, tasks: Sequence[str]) -> None:
        self.clocked = [one for one in self.clocked if one.task not in tasks]

    def run_task(self, order: TaskOrder) -> Started:
        if self.refused:
            raise AwsError(self.refused.pop(0), "ClientException", 400)
        if self.refusals:
            return Started(refusals=self.refusals)
        if not any(one.token == order.token for one in self.ordered):
            self.ordered.append(order)
            self.played = Task(REGION, ARN, order.cluster, "RUNNING", started_by=order.started_by, zone="us-east-1a")
        assert self.played is not None
        return Started((self.played,))

    def task(self, region: str, cluster: str, task: str) -> Task | None:
        assert task, "InvalidParameterException: taskId length should be one of [32,36]"
        if self.down:
            raise AwsError("An error occurred (ServerException) when calling the DescribeTasks operation", "", 500)
        return self.played if self.played and task == self.played.arn else None

    def tasks(self, region: str, cluster: str, started_by: str) -> tuple[Task, ...]:
        return (self.played,) if self.played and started_by == ATTEMPT and self.lists else ()

    def log_events(self, region: str, group: str, stream: str, token: str) -> LogPage:
        assert (region, group) == (REGION, "/gpubench/test")
        lines = self.printed.get(stream, [])
        read = int(token or 0)
        return LogPage(tuple(lines[read:]), str(len(lines)) if len(lines) > read else token)

    def stop_task(self, region: str, cluster: str, task: str, reason: str) -> None:
        self.stopped.append(reason)

    # -- what is played

    def prints(self, container: str, *lines: str) -> None:
        self.printed.setdefault(names.log_stream(BASE, container, ARN.rpartition("/")[2]), []).extend(lines)

    def ends(self, stop_code: str, reason: str, exit_code: int | None = 0) -> None:
        assert self.played is not None
        containers = tuple(Container(one, "STOPPED", exit_code) for one in (names.BENCHMARK, names.UPLOADER))
        self.played = replace(
            self.played, status="STOPPED", stop_code=stop_code, stopped_reason=reason, containers=containers
        )


@dataclass
class World:
    """A cloud, a results store, and an execution on them. ``steps``: one a look while the task runs."""

    root: Path
    scenario: str = ""
    steps: list[Callable[[], object]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    engine_is_gone: bool = False

    def __post_init__(self) -> None:
        made = Scenario.from_text(self.scenario or "about: enough of everything")
        self.cloud = Cloud(made, SimulatedClock(made.start))
        self.amazon = Amazon(self.cloud)
        self.uploader = Agent(self.root / "task", URL, RUN, ATTEMPT, STAMPS)
        folder = self.root / ".gpubench" / "stores" / "bench" / "team" / "runs" / RUN / ATTEMPT
        folder.mkdir(parents=True)
        self.execution = Execution(
            folder, folder.with_name(f"{ATTEMPT}.log"), folder.with_name(store.STOP), lock=-1, secrets={}
        )
        os.utime(folder, (1_000_000_000, 1_000_000_000))  # file systems' times are coarse

    # -- the clock of the wait, and the time of the surface

    def now(self) -> datetime:
        return self.cloud.now()

    def monotonic(self) -> float:
        return self.cloud.now().timestamp()

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.cloud.sleep(seconds)
        if self.steps and self.amazon.ordered:
            self.steps.pop(0)()

    # -- what an update does

    def declares(self) -> None:
        """The attempt's group of one machine."""
        tags = {interface.STACK_LABEL: "test", interface.ATTEMPT_LABEL: ATTEMPT}
        template = {"region": REGION, "name": BASE, "instanceType": "g4dn.xlarge", "tags": tags}
        id_, _ = self.cloud.create("aws:ec2/launchTemplate:LaunchTemplate", BASE, template)
        group = {
            "region": REGION,
            "name": BASE,
            "minSize": 0,
            "maxSize": 1,
            "desiredCapacity": 1,
            "mixedInstancesPolicy": {
                "launchTemplate": {
                    "launchTemplateSpecification": {"launchTemplateId": id_},
                    "overrides": [{"instanceType": "g4dn.xlarge"}],
                },
                "instancesDistribution": {"onDemandPercentageAboveBaseCapacity": 0},
            },
            "ignoreFailedScalingActivities": True,
            "waitForCapacityTimeout": "0",
            "tags": [{"key": key, "value": value, "propagateAtLaunch": True} for key, value in tags.items()],
        }
        self.cloud.create("aws:autoscaling/group:Group", BASE, group)

    def carries_out(self, order: RunOrder = ORDER, api: EcsApi | None = None) -> None:
        control = Control(self.said.append, lambda: self.engine_is_gone)
        surface.carry_out(api or self.amazon, order, self.execution, control)

    def fails(self, order: RunOrder = ORDER) -> SurfaceError:
        with pytest.raises(SurfaceError) as failed:
            self.carries_out(order)
        return failed.value

    # -- what came of it

    @property
    def size(self) -> int:
        group = self.amazon.scaling_group(REGION, BASE)
        return group.desired if group else 0

    @property
    def manifest(self) -> dict[str, Any]:
        """Of the sealed folder, which is checked."""
        assert results_folder.verify(self.execution.folder) == []
        return results_folder.read_manifest(self.execution.folder) or {}

    @property
    def measured(self) -> list[object]:
        return [one["tflops"] for one in results_folder.read_records(self.execution.folder)]


Makes = Callable[..., World]


@pytest.fixture
def makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Makes]:
    """Makes a world; the surface lives in its time."""
    with s3(monkeypatch, "bench"):

        def made(scenario: str = "", *, declares: bool = True) -> World:
            world = World(tmp_path, scenario)
            monkeypatch.setattr(following, "SystemClock", lambda: world)
            monkeypatch.setattr(surface, "time", world)
            monkeypatch.setattr(following, "time", world)
            if declares:
                world.declares()
            return world

        yield made


# -- a run, as it should be --------------------------------------------------------------------------------------------


def test_what_a_task_measures_comes_home_as_it_comes_and_its_machine_is_given_back(makes: Makes) -> None:
    world = makes()
    home: list[list[object]] = []
    uploader = world.uploader
    world.steps = [
        lambda: uploader.measures(1),
        lambda: home.append(world.measured),
        lambda: world.amazon.prints(names.UPLOADER, f"gpubench: phase run {RUN}"),
        lambda: uploader.measures(2),
        uploader.ends,
    ]
    world.carries_out()
    assert home == [[1]]
    assert world.manifest["status"] == "complete"
    assert world.measured == [1, 2]
    assert world.execution.log.read_text() == "measured 1\nmeasured 2\n"
    (task,) = world.amazon.ordered
    assert (task.cluster, task.definition, task.provider, task.started_by) == (BASE, BASE, BASE, ATTEMPT)
    assert (task.subnets, task.security_groups) == (("subnet-1", "subnet-2"), ("sg-1",))
    assert task.environment[names.UPLOADER]["GPUBENCH_RUN"] == RUN
    assert task.tags == {"gpubench-stack": "test", "gpubench-attempt": ATTEMPT}
    assert len(task.token) <= 64
    assert any(line.startswith("run in task 0123456789abcdef") for line in world.said)
    assert world.size == 0, "nothing idles after the last run"
    assert all(one.ended for one in world.cloud.machines(ATTEMPT))


def test_a_machine_that_has_more_runs_to_do_stays(makes: Makes) -> None:
    world = makes()
    world.steps = [world.uploader.ends]
    world.carries_out(replace(ORDER, ends_machine=False))
    assert world.manifest["status"] == "complete"
    assert world.size == 1


def test_results_that_are_there_already_are_fetched_and_nothing_is_asked_for(makes: Makes) -> None:
    world = makes(declares=False)
    world.uploader.measures(1)
    world.uploader.ends()
    world.carries_out(api=cast(EcsApi, object()))  # it can't be asked anything
    assert world.manifest["status"] == "complete"


def test_the_same_run_of_an_attempt_is_started_once(makes: Makes) -> None:
    world = makes()
    world.engine_is_gone = True  # it dies while the task runs
    assert "the engine that ordered the run is gone" in str(world.fails())
    assert world.size == 1, "the next update goes on with it"
    world.engine_is_gone, world.steps = False, [world.uploader.ends]
    world.carries_out()
    assert len(world.amazon.ordered) == 1
    assert world.manifest["status"] == "complete"


CLOCK = "arn:aws:iam::123456789012:role/gpubench-test-clock"


def on_fargate(world: World, minutes: float = 90) -> RunOrder:
    """Its order, where nothing but its task asks for a machine, and nothing but the clock would end it."""
    ends_at = (world.now() + timedelta(minutes=minutes)).isoformat()
    handles = {**HANDLES, "provider": "FARGATE_SPOT", "waits_for": "task", "ends_at": ends_at}
    handles |= {"held_s": "3600", "clock_role": CLOCK}
    return replace(ORDER, tier="cpu", handles=handles)


def test_on_fargate_the_task_itself_asks_for_its_machine_and_the_clock_ends_it(makes: Makes) -> None:
    world = makes(declares=False)
    order, begun = on_fargate(world), world.now()
    clocked: list[StopOrder] = []
    world.steps = [lambda: clocked.extend(world.amazon.clocked), world.uploader.ends]
    world.carries_out(order)
    (task,) = world.amazon.ordered
    assert task.provider == "FARGATE_SPOT"
    assert world.manifest["status"] == "complete"
    asked, held = clocked
    for stop in clocked:
        assert (stop.task, stop.cluster, stop.role) == (ARN, BASE, CLOCK)
        assert stop.name.startswith(f"{BASE}-") and len(stop.name) <= 64
        assert classify(stop.reason).cause is Cause.INTERRUPTED
    assert asked.name != held.name
    assert asked.at.isoformat() == order.handles["ends_at"], "it may have to wait for its machine"
    assert timedelta(minutes=59) < held.at - begun < timedelta(minutes=62), "and holds it no longer than its time"
    assert world.amazon.clocked == [], "what has ended needs no end"


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed yet"])
def test_a_task_that_the_clock_can_not_end_is_not_left_to_run(makes: Makes, listed: bool) -> None:
    """ECS lists a task some time after it was started: it is stopped by its own name."""
    world = makes(declares=False)
    world.amazon.lists = listed
    denied = "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: scheduler:CreateSchedule"
    world.amazon.unclockable = [denied]
    failed = world.fails(on_fargate(world))
    assert classify(str(failed), Where(surface="ecs")).cause is Cause.PERMISSION
    assert world.amazon.ordered and world.amazon.stopped[0] == "gpubench: the clock can't end it"


def test_a_task_that_is_not_listed_yet_is_ended_with_its_attempt(makes: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the attempt had before has its end; what another update may have started keeps the clock's."""
    world = makes(declares=False)
    order = on_fargate(world)
    world.amazon.lists = False
    anothers = StopOrder(
        region=REGION, name="s", cluster=BASE, task=f"{ARN}0", at=world.now(), role=CLOCK, reason="its time is over"
    )
    world.amazon.clocked = [anothers]
    starts = world.amazon.run_task

    def run_task(task: TaskOrder) -> Started:
        starts(task)
        assert world.amazon.played is not None
        world.amazon.played = replace(world.amazon.played, status="PROVISIONING")
        world.execution.stop.write_text("now\n")
        return Started((world.amazon.played,))

    monkeypatch.setattr(world.amazon, "run_task", run_task)
    assert "it was stopped before it began" in str(world.fails(order))
    assert world.amazon.stopped == ["gpubench ends the attempt"]
    assert world.amazon.clocked == [anothers]


THROTTLED = "An error occurred (ThrottlingException) when calling the CreateSchedule operation: Rate exceeded"


def test_a_clock_that_fails_for_a_moment_is_asked_again(makes: Makes) -> None:
    world = makes(declares=False)
    world.amazon.unclockable = [THROTTLED] * 3
    world.steps = [world.uploader.ends]
    world.carries_out(on_fargate(world))
    assert world.manifest["status"] == "complete"
    assert "gpubench: the clock can't end it" not in world.amazon.stopped


def test_and_not_for_ever_since_nothing_runs_without_an_end(makes: Makes) -> None:
    world = makes(declares=False)
    world.amazon.unclockable = [THROTTLED] * 1000
    assert classify(str(world.fails(on_fargate(world))), Where(surface="ecs")).cause is Cause.TRANSIENT
    assert world.amazon.stopped == ["gpubench: the clock can't end it"]


def test_a_clock_s_role_that_was_made_a_moment_ago_is_waited_for(makes: Makes) -> None:
    world = makes(declares=False)
    said = (
        "An error occurred (ValidationException) when calling the CreateSchedule operation: The execution role you "
        "provide must allow AWS EventBridge Scheduler to assume the role."
    )
    world.amazon.unclockable = [said, said]
    world.steps = [world.uploader.ends]
    world.carries_out(on_fargate(world))
    assert world.manifest["status"] == "complete"
    assert len(world.amazon.ordered) == 1


def test_an_attempt_whose_time_is_over_begins_no_task(makes: Makes) -> None:
    world = makes(declares=False)
    failed = world.fails(on_fargate(world, minutes=-5))
    assert failed.cause is Cause.INTERRUPTED
    assert "the time of attempt" in str(failed)
    assert not world.amazon.ordered


def test_a_task_that_the_clock_has_ended_unseen_leaves_what_it_measured(makes: Makes) -> None:
    """The next update seals what came, and begins nothing; a task that is about to end is followed to its end."""
    world = makes(declares=False)
    order = on_fargate(world, minutes=1)
    world.amazon.run_task(TaskOrder(
        region=REGION, cluster=BASE, definition=BASE, token="t", started_by=ATTEMPT, provider="FARGATE", subnets=(),
        security_groups=(),
    ))  # fmt: skip
    world.uploader.measures(1)
    said = "gpubench: the attempt's time is over"
    world.steps = [lambda: world.amazon.ends("UserInitiated", said, None)]
    world.amazon.unclockable = ["ValidationException: a time that is past"]
    world.carries_out(order)
    assert world.amazon.unclockable, "it has its end already, and none is asked for that is past"
    assert (world.manifest["status"], world.manifest["cause"]["code"], world.measured) == (
        "interrupted",
        "machine-gone",
        [1],
    )
    assert len(world.amazon.ordered) == 1, "the one that there was"


def test_a_failed_run_that_is_not_the_last_gives_its_machine_back(makes: Makes) -> None:
    world = makes()
    world.steps = [lambda: world.uploader.ends(results_folder.Status.FAILED, "CUDA out of memory")]
    world.carries_out(replace(ORDER, ends_machine=False))
    assert world.manifest["status"] == "failed"
    assert world.size == 0


NEW_ROLE = (
    "An error occurred (ClientException) when calling the RunTask operation: ECS was unable to assume the role "
    "'arn:aws:iam::123456789012:role/gpubench-test-task' that was provided for this task."
)


def test_a_role_that_was_made_a_moment_ago_is_waited_for(makes: Makes) -> None:
    world = makes()
    world.amazon.refused = [NEW_ROLE, NEW_ROLE]
    world.steps = [world.uploader.ends]
    world.carries_out()
    assert world.manifest["status"] == "complete"


def test_and_not_for_ever(makes: Makes) -> None:
    world = makes()
    world.amazon.refused = [NEW_ROLE] * 1000
    assert classify(str(world.fails()), Where(surface="ecs")).cause is Cause.PERMISSION
    assert len(world.amazon.refused) > 900
    assert world.size == 0


def test_a_container_that_ecs_could_not_start_is_told_in_ecs_words(makes: Makes) -> None:
    """The uploader goes on beside it, and seals that it never began; only ECS knows why."""
    world = makes()
    said = (
        "CannotPullContainerError: failed to resolve ref 123456789012.dkr.ecr.us-east-1.amazonaws.com/sdxl@sha256:0: "
        "unexpected status from HEAD request: 403 Forbidden"
    )

    def fails_to_start() -> None:
        assert world.amazon.played is not None
        stopped = Container(names.BENCHMARK, "STOPPED", None, said)
        world.amazon.played = replace(world.amazon.played, containers=(stopped, Container(names.UPLOADER, "RUNNING")))

    def seals() -> None:
        cause = results_folder.Cause("unknown", "not-started", "it was never started", "ECS says why")
        world.uploader.ends(results_folder.Status.FAILED, failed=cause)

    world.steps = [fails_to_start, lambda: None, seals]
    failed = world.fails()
    assert said in str(failed)
    assert classify(str(failed), Where(surface="ecs")).cause is Cause.PERMISSION
    assert world.size == 0


def test_a_machine_that_died_while_no_engine_ran_leaves_what_it_measured(makes: Makes) -> None:
    """Its task was never seen by this update: nothing is asked about by an empty name, which AWS refuses."""
    world = makes()
    world.uploader.measures(1)
    world.cloud.sleep(600)
    world.cloud.resize(ATTEMPT, 0)
    begun = world.now()
    world.carries_out()
    assert (world.manifest["status"], world.manifest["made_by"], world.measured) == ("interrupted", "wrapper", [1])
    assert (world.now() - begun).total_seconds() < 120
    assert not world.amazon.ordered


# -- no machine --------------------------------------------------------------------------------------------------------


def test_a_silent_group_is_asked_why_and_told_to_ask_no_more(makes: Makes) -> None:
    world = makes("stock: [{tier: t4, machines: 0}]")
    begun = world.now()
    failed = world.fails()
    assert classify(str(failed), Where(surface="ecs")).cause is Cause.CAPACITY
    assert "Could not launch Spot Instances" in str(failed)
    assert (world.now() - begun).total_seconds() < 300
    assert "Could not launch Spot Instances" in world.said[0], "it is told when it is seen, and not at the end"
    assert not world.amazon.ordered
    assert world.size == 0


def test_a_task_that_is_refused_says_why(makes: Makes) -> None:
    world = makes()
    world.amazon.refusals = (Refusal("RESOURCE:GPU", arn="arn:aws:ecs:us-east-1:123456789012:container-instance/x"),)
    assert "RESOURCE:GPU" in str(world.fails())
    assert world.size == 0


# -- tasks that go -----------------------------------------------------------------------------------------------------


def test_spot_capacity_that_is_taken_back_leaves_what_was_measured(makes: Makes) -> None:
    world = makes()
    said = "Your Spot Task was interrupted."
    world.steps = [lambda: world.uploader.measures(1), lambda: world.amazon.ends("SpotInterruption", said, None)]
    world.carries_out()
    manifest = world.manifest
    assert (manifest["status"], manifest["cause"]["cause"], manifest["made_by"]) == (
        "interrupted",
        "interrupted",
        "wrapper",
    )
    assert said in manifest["cause"]["message"]
    assert world.measured == [1]
    assert world.size == 0


def test_an_image_that_may_not_be_pulled_is_a_permission(makes: Makes) -> None:
    world = makes()
    said = (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
        f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/sdxl@sha256:0: unexpected status from HEAD request: 403 Forbidden"
    )
    world.steps = [lambda: world.amazon.ends("TaskFailedToStart", said, None)]
    world.carries_out()
    assert world.manifest["cause"]["cause"] == "permission"
    assert said in world.manifest["cause"]["message"]


def test_a_manifest_that_comes_a_moment_after_the_task_ended_counts(makes: Makes) -> None:
    world = makes()
    world.steps = [
        lambda: world.uploader.measures(1),
        lambda: world.amazon.ends("EssentialContainerExited", "Essential container in task exited"),
        lambda: None,
        world.uploader.ends,
    ]
    world.carries_out()
    assert (world.manifest["status"], world.measured) == ("complete", [1])


def test_a_person_stops_the_task_in_order(makes: Makes) -> None:
    world = makes()

    def stops() -> None:
        world.execution.stop.write_text("now\n")

    def seals() -> None:
        assert world.amazon.stopped == ["gpubench: stopped on request"]
        interrupted = results_folder.Status.INTERRUPTED
        world.uploader.ends(interrupted, failed=results_folder.Cause("interrupted", "signal", "stopped", "again"))

    world.steps = [lambda: world.uploader.measures(1), stops, lambda: None, seals]
    world.carries_out()
    assert world.manifest["status"] == "interrupted"
    assert world.measured == [1]


def test_an_api_that_fails_for_a_moment_keeps_the_machine(makes: Makes) -> None:
    world = makes()

    def goes_down() -> None:
        world.amazon.down = True

    world.steps = [goes_down]
    failed = world.fails()
    assert classify(str(failed), Where(surface="ecs")).cause is Cause.TRANSIENT
    assert world.size == 1


def test_nothing_comes_for_long(makes: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_OVERHEAD_S", 120.0)
    world = makes()
    failed = world.fails(replace(ORDER, timeout_s=60.0))
    assert "nothing came of run" in str(failed)
    assert failed.cause is Cause.INTERRUPTED
    assert world.size == 0


# -- what can't work ---------------------------------------------------------------------------------------------------


def settings(*entries: LadderEntry, results: str = URL, image: str | None = "x@sha256:0") -> Settings:
    kind, _, rest = results.partition("://")
    bucket = ResultsStore(kind, results, bucket=rest.partition("/")[0]) if rest else ResultsStore.folder(results)
    return Settings(expand(entries), Benchmark(workload=(), image=image), bucket)


def entry(account: str = ACCOUNT) -> LadderEntry:
    return LadderEntry(
        Surface.ECS, account, (REGION,), tiers=("t4",), purchases=(Purchase.SPOT,), machine_types=("g4dn.xlarge",)
    )


ENDPOINTS = Aws(network="endpoints")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: settings(entry(), results="results"), "gpubench:results: results: a task on ECS can't write there"),
        (lambda: settings(entry(), results="gs://bench/x"), "Name a bucket of S3"),
        (lambda: settings(entry(), image=None), "gpubench:benchmark: a task on ECS runs a container"),
        (lambda: settings(entry(), entry("210987654321")), "in accounts 123456789012, 210987654321"),
    ],
)
def test_settings_that_cannot_work_are_refused(made: Callable[[], Settings], said: str) -> None:
    with pytest.raises(SurfaceError, match="gpubench:") as failed:
        surface.check(made())
    assert said in str(failed.value)
    assert failed.value.cause is Cause.BAD_REQUEST


ECR_IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/bench@sha256:{'0' * 64}"
ELSEWHERE = ECR_IMAGE.replace(REGION, "us-west-2")
WEST = replace(entry(), regions=("us-west-2",))


def behind(aws: Aws, *entries: LadderEntry, image: str = ECR_IMAGE) -> Settings:
    return replace(settings(*entries or (entry(),), image=image), aws=aws)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (behind(ENDPOINTS, image="ghcr.io/acme/bench:1"), "gpubench:benchmark.image: ghcr.io/acme/bench:1: .*copy it"),
        (behind(ENDPOINTS, image=ELSEWHERE), "gpubench:benchmark.image: .* reaches images in ECR of us-east-1 only"),
        (behind(replace(ENDPOINTS, uploader_image=ELSEWHERE)), r"gpubench:aws\.uploader_image: .*us-east-1 only; copy"),
        (behind(ENDPOINTS, entry(), WEST), r"gpubench:aws\.network: endpoints: .*us-east-1, us-west-2.*network: nat"),
        (behind(Aws(), replace(entry(), regions=("af-south-1",))), "af-south-1: no zone is known .*; name some"),
    ],
)
def test_a_network_that_cannot_do_is_refused_before_anything_is_declared(made: Settings, said: str) -> None:
    with pytest.raises(SurfaceError, match=said) as failed:
        surface.check(made)
    assert failed.value.cause is Cause.BAD_REQUEST and "Cause:" not in str(failed.value)


def test_settings_that_can_work() -> None:
    surface.check(settings(entry()))
    surface.check(behind(ENDPOINTS))
    own = Aws(network="endpoints", subnets={"us-west-2": ("subnet-0a1b2c3d",)})
    surface.check(behind(own, entry(), WEST))
    two = behind(ENDPOINTS, entry(), WEST)
    surface.check(replace(two, rung=two.ladder[0].id))
    surface.check(behind(Aws(), replace(entry(), regions=("af-south-1",), zones=("afs1-az1",))))


def test_a_machine_state_of_the_simulated_cloud_is_one_of_ec2s(makes: Makes) -> None:
    """What these tests stand on: a machine joins its cluster before its task runs."""
    world = makes()
    world.cloud.sleep(60)
    (machine,) = world.cloud.machines(ATTEMPT)
    assert machine.state in (MachineState.BOOTING, MachineState.RUNNING)
    (joined,) = world.amazon.container_instances(REGION, BASE)
    assert (joined.instance, joined.status, joined.gpus) == (machine.id, "ACTIVE", 1)
    assert Bucket(URL).attempts(RUN) == {}


def test_code_that_nothing_would_check_out_is_refused() -> None:
    made = settings(entry())
    benchmark = replace(made.benchmark, code=Code("https://example.com/x", "0" * 40))
    with pytest.raises(SurfaceError, match=r"gpubench:benchmark\.code") as failed:
        surface.check(replace(made, benchmark=benchmark))
    assert failed.value.cause is Cause.BAD_REQUEST


def test_an_image_of_the_cache_is_pulled_through_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled: list[str] = []
    monkeypatch.setattr(image_digest, "pull_through", pulled.append)
    image = images.cached_uploader_image(ACCOUNT, REGION, "test")
    order = replace(ORDER, handles={**HANDLES, "uploader_image": image})
    there: dict[str, str] = {}

    class Registry:
        def image_digest(self, region: str, account: str, name: str, reference: str) -> str | None:
            assert (region, account, reference) == (REGION, ACCOUNT, image.partition("@")[2])
            return there.get(name)

    def fills(order: RunOrder) -> None:
        surface._fill_cache(cast(AwsApi, Registry()), order, Control(lambda _: None, lambda: False))

    fills(order)
    assert pulled == [image]
    there[image.partition("/")[2].partition("@")[0].partition(":")[0]] = "sha256:0"
    fills(order)
    fills(
        replace(ORDER, handles={**HANDLES, "uploader_image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/own@sha256:0"})
    )
    fills(ORDER)
    assert pulled == [image], "once, and no image that is there anyhow"
