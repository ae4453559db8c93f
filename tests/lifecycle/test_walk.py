"""The walk through an engine: what is left when it ends, fails, is stopped or killed, on the program itself.

The simulated cloud lives in the test's process, so it outlives a killed `gpubench up` as a real one does.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from engine import rehearsal
from engine.simulated import connection, grpc_provider
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud
from engine.simulated.model import Machine, RunState, Sighting
from engine.simulated.scenario import Scenario
from placement.ledger import Attempt, Ledger, Outcome
from tests.lifecycle.harness import STACK, Project, wait_for

H100 = {
    "surface": "gce",
    "project": "my-project",
    "regions": ["us-central1", "us-east4"],
    "tier": "h100",
    "purchase": "spot",
}
L4 = {"surface": "gce", "project": "my-project", "region": "us-west1", "tier": "l4"}
LOCAL = {"surface": "local"}


class SlowCloud(Cloud):
    """Takes real time to look at an attempt or a run and to make something, so that a test can kill who asks."""

    pause = create_pause = 0.0
    creating = False
    running_when_deleted: bool | None = None  # whether a machine ran when something was first deleted by an engine

    def create(self, type_token: str, name: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        self.creating = True
        time.sleep(self.create_pause)
        return super().create(type_token, name, inputs)

    def delete(self, type_token: str, id_: str) -> None:
        if self.running_when_deleted is None:
            self.running_when_deleted = any(machine.ended is None for machine in self.machines())
        super().delete(type_token, id_)

    def run_state(self, attempt: str, run: str) -> RunState:
        time.sleep(self.pause)
        return super().run_state(attempt, run)

    def look(self, attempt: str) -> tuple[Sighting, ...]:
        time.sleep(self.pause)
        return super().look(attempt)


class Rehearsed:
    """A project whose clouds are one simulated cloud."""

    def __init__(self, project: Project, cloud: SlowCloud) -> None:
        self.project, self.cloud = project, cloud

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return Ledger(self.project.root / "results", STACK).attempts()

    @property
    def came(self) -> list[tuple[str, str]]:
        """What came of each attempt: its place and tier, and how it ended."""
        return [(f"{one.region}/{one.tier}", str(one.cause or one.outcome)) for one in self.attempts]

    def running(self) -> list[Machine]:
        return [machine for machine in self.cloud.machines() if machine.ended is None]

    def assert_nothing_is_left(self) -> None:
        assert self.running() == []
        assert self.cloud.leftovers(STACK) == ()
        before = sum(charge.usd for charge in self.cloud.bill())
        self.cloud.sleep(3600)
        assert sum(charge.usd for charge in self.cloud.bill()) == before


@pytest.fixture
def rehearse(project: Project) -> Iterator[Any]:
    """Makes the project's cloud out of a scenario, and its ladder."""
    with ExitStack() as held:

        def make(ladder: list[dict[str, Any]], scenario: dict[str, Any], **settings: Any) -> Rehearsed:
            made = Scenario.from_mapping(scenario)
            cloud = SlowCloud(made, SimulatedClock(made.start))
            held.enter_context(connection.serve(cloud))
            project.environment[rehearsal.VARIABLE] = os.environ[rehearsal.VARIABLE]
            project.environment[rehearsal.STAND_INS_VARIABLE] = "1"  # the walk alone: a cloud's SDK takes seconds
            if project.engine == "pulumi":
                attached = held.enter_context(grpc_provider.serve(cloud, rehearsal.PACKAGES))
                project.environment["PULUMI_DEBUG_PROVIDERS"] = attached
            benchmark = {"workload": ["kernels"], "profile": "smoke", "timeout_minutes": 30}
            project.configure(ladder=ladder, **{"benchmark": benchmark, **settings})
            return Rehearsed(project, cloud)

        yield make


def _kill_session(leader: int) -> None:
    """Kill `gpubench up` with all that it has started: the CLI is a process group of its own."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if os.getsid(int(process.name)) == leader:
                    os.kill(int(process.name), signal.SIGKILL)


def test_a_walk_gets_results_where_there_is_capacity_and_leaves_nothing(rehearse: Any) -> None:
    world = rehearse([H100, L4, LOCAL], {"stock": [{"tier": "h100", "machines": 0}]})
    said = world.project.up()
    assert world.came == [("us-central1/h100", "capacity"), ("us-east4/h100", "capacity"), ("us-west1/l4", "won")]
    assert "blocked h100 spot" in said and "Done: results from gce us-west1 l4" in said
    outputs = world.project.outputs()
    assert (
        outputs["due"] == 0
        and outputs["obtained_tier"] == "l4"
        and outputs["rung"].startswith("gce/my-project/us-west1")
    )
    assert [one["outcome"] for one in outputs["attempts"]] == ["failed", "failed", "won"]
    assert len(world.project.complete()) == 1
    assert not [one for one in world.project.resources() if one["type"].startswith(("gcp:compute", "aws:ec2"))]
    world.assert_nothing_is_left()
    again = world.project.up()
    assert "Nothing was due" in again and len(world.attempts) == 3


def test_a_refused_pull_stops_at_the_first_rung_before_anything_is_asked_for(rehearse: Any) -> None:
    world = rehearse([H100, LOCAL], {"deny": [{"role": "artifactregistry.reader", "principal": "vm"}]})
    done = world.project.run("up", check=False)
    assert done.returncode == 1 and world.attempts == () and world.cloud.machines() == ()
    assert "artifactregistry.repositories.downloadArtifacts" in done.stdout
    assert "add-iam-policy-binding" in done.stdout and "compute@developer.gserviceaccount.com" in done.stdout


def test_nothing_left_says_when_and_what_and_exits_3(rehearse: Any) -> None:
    world = rehearse(
        [H100, L4],
        {"stock": [{"tier": "h100", "machines": 0}], "quotas": [{"tier": "l4", "regions": ["us-west1"], "limit": 0}]},
    )
    done = world.project.run("up", check=False)
    assert done.returncode == 3
    assert "Worth trying again from" in done.stdout
    assert "NVIDIA-L4-GPUS-per-project-region" in done.stdout and "gcloud" in done.stdout
    assert world.came == [("us-central1/h100", "capacity"), ("us-east4/h100", "capacity")]
    world.assert_nothing_is_left()
    waited = world.project.run("up", "--wait", "2h", check=False)
    assert waited.returncode == 3 and "waiting" in waited.stdout
    assert len(world.attempts) > 4


@pytest.mark.parametrize("after", [0.0, 0.4, 1.0])
def test_killed_in_the_middle_the_next_up_goes_on(rehearse: Any, after: float) -> None:
    world = rehearse([H100, L4], {"stock": [{"tier": "h100", "regions": ["us-central1"], "machines": 0}]})
    world.cloud.pause = 0.1
    update = world.project.start("up")
    wait_for(lambda: len(world.attempts) == 2, "the second attempt")
    time.sleep(after)
    os.killpg(update.pid, signal.SIGKILL)
    update.communicate()
    world.cloud.pause = 0.0
    said = world.project.up()
    assert world.attempts[-1].outcome is Outcome.WON and world.attempts[-1].tier == "h100"
    assert all(one.ended for one in world.attempts)
    assert len(world.project.complete()) == 1, said
    world.assert_nothing_is_left()


def test_destroy_takes_the_machine_away_before_anything_that_it_stands_on(rehearse: Any) -> None:
    world = rehearse([H100], {})
    world.cloud.pause = 1.0
    update = world.project.start("up")
    wait_for(world.running, "a machine")
    wait_for(lambda: list((world.project.root / "results").glob("runs/*/lock")), "a run on it")
    refused = world.project.run("destroy", check=False)
    assert refused.returncode == 1 and "gpubench stop --stack test" in refused.stdout and world.running()
    _kill_session(update.pid)
    update.communicate()
    world.cloud.pause = 0.0
    said = world.project.run("destroy").stdout
    (attempt,) = world.attempts
    assert f"attempt {attempt.id} on {attempt.rung} is under way" in said
    assert (attempt.outcome, attempt.failure.code) == (Outcome.STOPPED, "stopped")
    assert attempt.obtained_zone == "us-central1-a"
    assert world.cloud.running_when_deleted is False
    assert not [one for one in world.project.resources() if one["type"].startswith("gcp:")]
    world.assert_nothing_is_left()


def test_ctrl_c_ends_in_order_and_sweeps(rehearse: Any) -> None:
    world = rehearse([H100], {})
    world.cloud.pause = 0.3
    update = world.project.start("up")
    wait_for(world.running, "a machine")
    update.send_signal(signal.SIGINT)
    said, _ = update.communicate(timeout=60)
    assert "Traceback" not in said and update.returncode == 1 and "gpubench up` again" in said
    assert [one.outcome for one in world.attempts] == [Outcome.STOPPED] and world.project.complete() == []
    world.assert_nothing_is_left()
    world.cloud.pause = 0.0
    world.project.up()
    assert [one.outcome for one in world.attempts] == [Outcome.STOPPED, Outcome.WON]
    assert len(world.project.complete()) == 1
    world.assert_nothing_is_left()


def test_ctrl_c_while_capacity_is_asked_for_lets_the_request_end_and_sweeps(rehearse: Any) -> None:
    world = rehearse([H100], {})
    world.cloud.create_pause = 1.0
    update = world.project.start("up")
    wait_for(lambda: world.cloud.creating, "a request")
    update.send_signal(signal.SIGINT)
    said, _ = update.communicate(timeout=60)
    assert "Traceback" not in said and update.returncode == 1
    assert [one.outcome for one in world.attempts] == [Outcome.STOPPED] and world.project.complete() == []
    world.assert_nothing_is_left()


@pytest.mark.skipif(not shutil.which("pulumi"), reason="no Pulumi CLI on the PATH")
def test_plain_pulumi_up_takes_the_next_rung_when_it_is_run_again(rehearse: Any, engine: str) -> None:
    if engine != "pulumi":
        pytest.skip("plain `pulumi up` is the Pulumi CLI's")
    world = rehearse([H100, L4], {"stock": [{"tier": "h100", "machines": 0}]})
    world.project.pulumi("stack", "init", STACK)
    for expected in (["us-central1/h100"], ["us-central1/h100", "us-east4/h100"]):
        said = world.project.pulumi("up", "--yes", "--skip-preview", "--stack", STACK, fails=True)
        assert [place for place, _ in world.came] == expected
        assert "capacity (ZONE_RESOURCE_POOL_EXHAUSTED" in said and "takes it when it is run again" in said
        assert world.running() == []
    world.project.pulumi("up", "--yes", "--skip-preview", "--stack", STACK)
    assert world.came[-1] == ("us-west1/l4", "won")
    world.project.pulumi("up", "--yes", "--skip-preview", "--stack", STACK)
    world.assert_nothing_is_left()


def test_a_preview_begins_nothing(rehearse: Any) -> None:
    world = rehearse([H100, L4], {})
    said = world.project.run("preview").stdout
    assert "us-central1/h100" in said and world.attempts == () and world.cloud.machines() == ()
    assert not (Path(world.project.root) / "results" / "ledger").exists()
