"""The program's life on both engines: a stack's desired state is its results."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

import results_folder
from tests.lifecycle.harness import PASSPHRASE, ROOT, STACK, Project, is_alive, wait_for

CANARY = "canary-5b1f0c"


def test_create_then_nothing_due_then_destroy_keeps_results(project: Project) -> None:
    preview = project.run("preview").stdout
    assert "benchmark-run-1" in preview
    assert "LocalMachine" in preview
    assert project.executions() == []

    project.control(seconds=1)
    assert "step 1" in project.up()
    outputs = project.outputs()
    assert len(project.executions()) == 1
    assert [str(path.relative_to(project.root)) for path in project.complete()] == outputs["results"]
    assert outputs["rung"] == "local/any"
    assert outputs["obtained_tier"] == "cpu"
    assert outputs["cost_usd"] == 0
    assert outputs["verdict"] == "none"
    assert any(one["type"] == "gpubench:index:LocalMachine" for one in project.resources())

    # Capacity is declared only while a run is due: the second update takes it away and runs nothing.
    second = project.up()
    assert "Nothing was due" in second
    assert len(project.executions()) == 1
    assert not any(one["type"] == "gpubench:index:LocalMachine" for one in project.resources())
    assert project.outputs()["results"] == outputs["results"]

    shown = json.loads(project.run("results", "--json").stdout)
    assert shown[0]["manifest"]["status"] == "complete"
    report = project.root / "results" / "reports" / STACK / "report.html"
    assert "<html" in report.read_text()

    project.run("destroy")
    assert not any(one["type"].startswith("gpubench:") for one in project.resources())
    assert len(project.complete()) == 1

    # A stack that is brought up again finds the results of before.
    assert "Nothing was due" in project.up()
    assert len(project.executions()) == 1
    project.run("destroy", "--results")
    assert project.attempts() == []


def test_a_changed_scenario_or_code_makes_a_new_run_due_and_a_timeout_does_not(project: Project) -> None:
    project.up()
    benchmark = {"workload": ["kernels"], "profile": "smoke", "timeout_minutes": 2}
    project.configure(benchmark=benchmark)
    assert "Nothing was due" in project.up()

    project.configure(benchmark={**benchmark, "precisions": ["fp32"]})
    assert "1 replaced" in project.up()
    workload = project.root / "workload" / "__main__.py"
    workload.write_text(workload.read_text() + "# a change of the code\n")
    project.up()
    assert len(set(project.executions())) == 3

    # Going back to what was measured before needs no new run.
    project.configure(benchmark=benchmark)
    workload.write_text(workload.read_text().removesuffix("# a change of the code\n"))
    assert "Nothing was due" in project.up()
    assert len(project.executions()) == 3


def test_repeats_are_runs_of_their_own(project: Project) -> None:
    project.configure(benchmark={"workload": ["kernels"], "profile": "smoke", "repeats": 3})
    project.up()
    # In order, one after the other: side by side they would measure each other.
    assert [run.rpartition("-")[2] for run in project.executions()] == ["1", "2", "3"]
    assert len(project.outputs()["results"]) == 3
    project.configure(benchmark={"workload": ["kernels"], "profile": "smoke", "repeats": 2})
    project.up()
    assert len(project.outputs()["results"]) == 2
    assert len(project.complete()) == 3


def test_results_that_vanish_make_the_run_due_again(project: Project) -> None:
    project.up()
    manifest = project.complete()[0] / "manifest.json"
    manifest.unlink()
    project.up()
    assert len(project.executions()) == 2
    assert len(project.complete()) == 1
    (project.complete()[0] / "measurements.jsonl").write_text("{}\n")  # damaged is as good as gone
    project.up()
    assert len(project.executions()) == 3


def test_results_of_another_rung_count_unless_one_is_pinned(project: Project) -> None:
    ladder = [{"surface": "local"}, {"surface": "local", "tier": "cpu"}]
    project.configure(ladder=ladder)
    project.up()
    project.configure(ladder=ladder, rung="local/cpu")
    project.up()
    assert len(project.executions()) == 2
    assert project.outputs()["rung"] == "local/cpu"
    project.configure(ladder=ladder)
    assert "Nothing was due" in project.up()
    # Going back to the first rung shows that rung's results, not those of the last update.
    project.configure(ladder=ladder, rung="local/any")
    assert "Nothing was due" in project.up()
    shown = json.loads(project.run("results", "--json").stdout)
    assert shown[0]["manifest"]["stamps"]["rung"] == "local/any"
    assert project.outputs()["rung"] == "local/any"


def test_destroying_results_spares_those_of_another_stack(project: Project) -> None:
    project.up()
    other = project.root / "Pulumi.other.yaml"
    other.write_text((project.root / f"Pulumi.{STACK}.yaml").read_text())
    (project.complete()[0] / "measurements.jsonl").write_text("damaged, so that both stacks have an attempt\n")
    project.run("up", "--stack", "other")
    assert len(project.complete()) == 1
    destroyed = project.run("destroy", "--results").stdout
    assert "Deleted: 1 attempts' results" in destroyed
    assert len(project.complete()) == 1
    project.run("results", "--stack", "other")
    project.run("destroy", "--stack", "other", "--results")
    assert not list((project.root / "results" / "runs").iterdir())


def test_stop_ends_the_run_of_its_own_stack_only_whatever_the_config_says(project: Project) -> None:
    project.control(seconds=120, steps=1000)
    update = project.start("up")
    wait_for(project.executions, "the run's start")
    shutil.copy(project.root / f"Pulumi.{STACK}.yaml", project.root / "Pulumi.other.yaml")
    assert "No run of stack other" in project.run("stop", "--stack", "other").stdout
    project.configure(budgett={"usd": -5})  # a mistake keeps nobody from freeing a GPU
    assert "Stopping" in project.run("stop").stdout
    update.communicate(timeout=40)
    assert update.returncode == 1
    manifest = results_folder.read_manifest(project.attempts()[0])
    assert manifest is not None
    assert manifest["status"] == "interrupted"


def test_runs_of_two_stacks_do_not_measure_each_other(project: Project) -> None:
    benchmark = {"workload": ["kernels"], "profile": "smoke"}
    # So long that the other one's engine has come to its run by then: the CLI starts three processes before.
    project.control(seconds=3 if project.engine == "embedded" else 12, steps=30)
    first = project.start("up")
    wait_for(project.executions, "the first run's start")
    other = project.root / "Pulumi.other.yaml"
    text = yaml.safe_load((project.root / f"Pulumi.{STACK}.yaml").read_text())
    text["config"]["gpubench:benchmark"] = {**benchmark, "seed": 7}
    other.write_text(yaml.safe_dump(text))
    second = project.run("up", "--stack", "other").stdout
    first.communicate(timeout=60)
    assert "waiting for its end, to measure alone" in second
    manifests = [results_folder.read_manifest(path) or {} for path in project.complete()]
    (_, one_end), (other_start, _) = sorted((one["started_at"], one["finished_at"]) for one in manifests)
    assert other_start >= one_end


def test_a_failed_run_says_cause_and_mend_keeps_what_it_measured_and_can_be_resumed(project: Project) -> None:
    project.control(fail=True)
    failed = project.run("up", check=False)
    assert failed.returncode == 1
    assert "Cause: workload (out-of-memory): the stand-in was told to fail" in failed.stdout
    assert "Mend: take a smaller batch" in failed.stdout
    assert "gpubench: local/any: workload (out-of-memory)" in failed.stdout
    assert len(results_folder.read_records(project.attempts()[0])) == 2
    assert project.pending() == []

    project.control()
    project.up()
    assert [results_folder.verify(path) for path in project.attempts()] == [[], []]
    assert len(project.complete()) == 1


def test_a_timeout_ends_the_run(project: Project) -> None:
    project.configure(benchmark={"workload": ["kernels"], "profile": "smoke", "timeout_minutes": 0.03})
    project.control(seconds=60, steps=300)
    failed = project.run("up", check=False)
    assert failed.returncode == 1
    assert "time-out" in failed.stdout
    assert "timeout_minutes" in failed.stdout
    assert not any(is_alive(pid) for pid in project.execution_pids())


# Two at once are one: so timeout(1) sends its own. Not the same number twice, which the kernel may take for one.
@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGINT, signal.SIGTERM)], ids=["once", "twice at once"])
def test_ctrl_c_stops_in_order_and_the_next_up_goes_on(project: Project, signals: tuple[signal.Signals, ...]) -> None:
    project.control(seconds=120, steps=1000)
    update = project.start("up")
    wait_for(project.executions, "the run's start")
    for number in signals:
        update.send_signal(number)
    output, _ = update.communicate(timeout=40)
    assert update.returncode == 1, output
    assert output.count("stopping") == 1
    manifest = results_folder.read_manifest(project.attempts()[0])
    assert manifest is not None
    assert manifest["status"] == "interrupted"
    assert project.pending() == []

    project.control()
    project.up()
    assert len(project.complete()) == 1
    assert len(project.executions()) == 2


def _kill_engine(update: subprocess.Popen[str], project: Project) -> None:
    """kill -9 for the engine; on the CLI's side that is `pulumi` itself, below `gpubench up`."""
    if project.engine == "pulumi":
        children = subprocess.run(
            ["pgrep", "-P", str(update.pid), "-x", "pulumi"], capture_output=True, text=True, check=False
        )
        for pid in children.stdout.split():
            with suppress(ProcessLookupError):  # one of its short questions, which has been answered
                os.kill(int(pid), signal.SIGKILL)
    update.kill()
    update.wait()


@pytest.mark.parametrize("moment", ["at the start", "in the middle"])
def test_kill_9_leaves_a_state_from_which_the_next_up_gets_to_one_complete_run(project: Project, moment: str) -> None:
    project.control(seconds=120, steps=1000)
    update = project.start("up")
    if moment == "in the middle":
        wait_for(
            lambda: project.attempts() and results_folder.read_records(project.attempts()[0]), "the first measurement"
        )
    else:
        wait_for(project.attempts, "the attempt's folder")
    _kill_engine(update, project)
    project.control()
    output = project.up()
    assert len(project.complete()) == 1
    assert project.pending() == []
    assert "is done again" in output
    for path in project.attempts():
        manifest = results_folder.read_manifest(path)
        assert manifest is not None
        assert results_folder.verify(path) == []
    assert not any(is_alive(pid) for pid in project.execution_pids())


def test_kill_9_at_any_moment(project: Project) -> None:
    """Kills at moments all over an update, one after the other on one stack; then an update that is left alone."""
    project.control(seconds=0.4, steps=4)
    chance = random.Random(20261121)
    longest = 1.6 if project.engine == "embedded" else 4.0
    for _ in range(6):
        update = project.start("up")
        time.sleep(chance.uniform(0.1, longest))
        if update.poll() is None:
            _kill_engine(update, project)
    project.up()
    assert len(project.complete()) == 1
    assert project.pending() == []
    for path in project.attempts():
        # Sealed and whole, whatever it came to; or killed before anything was in it.
        assert results_folder.verify(path) == [] or not results_folder.read_records(path)
    assert not any(is_alive(pid) for pid in project.execution_pids())
    assert "Nothing was due" in project.up()


def test_a_secret_reaches_the_run_and_nothing_else(project: Project) -> None:
    """A canary in the config as a secret: in neither state, log, results, output nor on a command line."""
    from engine.passphrase import Passphrase

    crypter = Passphrase.new(PASSPHRASE)
    benchmark = {
        "workload": ["kernels"],
        "profile": "smoke",
        "env": {"API_TOKEN": {"secret": "api_token"}, "PLAIN": "seen"},
    }
    project.configure(benchmark=benchmark, api_token={"secure": crypter.encrypt(CANARY)})
    path = project.root / f"Pulumi.{STACK}.yaml"
    path.write_text(f"encryptionsalt: {crypter.salt}\n{path.read_text()}")
    # Once in a failure's text, which the ledger keeps and the terminal shows, and once in a run that succeeds.
    project.control(print_env=["API_TOKEN", "PLAIN"], fail=True)
    failed = project.run("up", check=False)
    assert failed.returncode == 1 and "exit code 10" in failed.stdout
    project.control(print_env=["API_TOKEN", "PLAIN"])
    output = failed.stdout + project.up()
    assert "[secret]" in "".join(path.read_text() for path in (project.root / "results/ledger").rglob("*.json"))
    log = next((project.root / "results" / "runs").rglob("*.log")).read_text()
    assert "[secret]" in log  # the run had it: it printed it
    assert "seen" in log
    files = [path for path in (project.root / "results").rglob("*") if path.is_file()]
    everything = [output, project.state_text(), *(path.read_text(errors="replace") for path in files)]
    assert not [text for text in everything if CANARY in text]
    assert "ciphertext" in project.state_text()

    # Without the passphrase the secret is named, and never passed on encrypted.
    refused = project.run("up", check=False, PULUMI_CONFIG_PASSPHRASE="")
    assert refused.returncode != 0
    assert "PULUMI_CONFIG_PASSPHRASE" in refused.stdout


def test_a_state_made_by_the_oldest_supported_commit_can_be_updated_and_destroyed(project: Project) -> None:
    """Module and class names of providers are a format: moving one would strand every stack made before."""
    old = ROOT / "tests" / "lifecycle" / "states" / "2026-11-21.json"
    if project.engine == "embedded":
        state = project.root / ".gpubench" / "state" / f"{STACK}.json"
        state.parent.mkdir(parents=True)
        state.write_text(old.read_text())
    else:
        project.pulumi("stack", "init", STACK)
        project.pulumi("stack", "import", "--stack", STACK, "--file", str(old))
    assert len(project.resources()) == 5
    project.up()
    assert len(project.complete()) == 1
    project.run("destroy")
    assert not any(one["type"].startswith(("gpubench:", "pulumi-python:")) for one in project.resources())


def test_one_stack_has_one_master(project: Project) -> None:
    project.up()
    other = Project(project.root, "embedded" if project.engine == "pulumi" else "pulumi", project.environment)
    refused = other.run("up", check=False)
    assert refused.returncode == 2
    if project.engine == "embedded":
        # Told apart from a CLI that isn't there.
        assert "deployed by the embedded engine" in refused.stdout or "isn't on the PATH" in refused.stdout
    else:
        assert "deployed by the Pulumi CLI" in refused.stdout
        assert "pulumi stack export" in refused.stdout


def test_a_surface_that_is_not_built_yet_is_refused_in_words(project: Project) -> None:
    project.configure(ladder=[{"surface": "gke", "project": "my-project", "region": "us-central1", "tier": "l4"}])
    for command in ("up", "preview"):
        refused = project.run(command, check=False)
        assert refused.returncode == 2, refused.stdout
        assert "surface gke isn't built yet; this version runs ecs, gce, local" in refused.stdout


def test_bad_config_is_refused_before_anything_happens(project: Project) -> None:
    project.up()
    before = project.state_text()
    project.configure(budgett={"usd": -5})
    refused = project.run("up", check=False)
    assert refused.returncode == 2
    assert "gpubench:budgett" in refused.stdout
    assert project.state_text() == before


def test_results_survive_in_a_store_elsewhere(project: Project, tmp_path: Path) -> None:
    store = tmp_path / "elsewhere"
    project.configure(results=str(store))
    project.up()
    assert len(list(store.glob("runs/*/*/manifest.json"))) == 1
    assert not (project.root / "results").exists()
    assert "Nothing was due" in project.up()


def test_a_store_that_cannot_be_read_stops_an_update_and_not_a_preview(project: Project, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "runs").write_text("a file where a folder should be")
    project.configure(results=str(blocked))
    preview = project.run("preview")
    assert "assumes that run" in preview.stdout
    refused = project.run("up", check=False)
    assert refused.returncode == 1
    assert "results store can't be read" in refused.stdout
    assert project.executions() == []
