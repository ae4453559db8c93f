"""The engines' semantics, on a program that can do anything: the embedded engine does what the Pulumi CLI does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lifecycle.harness import ROOT, STACK, Project

_DRIVE = """
import sys
from pathlib import Path
from engine import masters, pulumi_cli
from engine.base import EngineError
from engine.embedded.engine import EmbeddedEngine
kind, stack, operation = sys.argv[1:]
here = Path.cwd()
if kind == "embedded":
    engine = EmbeddedEngine(here, stack, here / ".gpubench" / "state")
else:
    engine = pulumi_cli.PulumiCli("pulumi", here, stack)
try:
    result = getattr(engine, operation)()
except EngineError as error:
    sys.exit(f"failed: {error}")
print("changes:", *vars(result.changes).values())
"""


class Driver:
    """Declares resources and runs operations; what the provider and the hooks were asked is in `calls`."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.output = ""

    def declare(self, resources: dict[str, Any], **more: Any) -> None:
        (self.project.root / "declare.json").write_text(json.dumps({"resources": resources, "retries": 0, **more}))

    def run(self, operation: str, *, fails: bool = False, **environment: str) -> list[int]:
        """Run it; how many resources were created, updated, replaced, deleted, left as they were."""
        done = subprocess.run(
            [sys.executable, "-c", _DRIVE, self.project.engine, STACK, operation],
            cwd=self.project.root, env=self.project._env(environment), text=True, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        self.output = done.stdout
        assert (done.returncode != 0) == fails, done.stdout
        lines = [line for line in done.stdout.splitlines() if line.startswith("changes:")]
        return [int(count) for count in lines[-1].split()[1:]] if lines else []

    def calls(self) -> list[list[Any]]:
        """What was called since the last look."""
        file = self.project.root / "calls.jsonl"
        calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return calls

    def state(self, name: str) -> dict[str, Any]:
        return next(one for one in self.project.resources() if one["urn"].endswith(f"::{name}"))

    def names(self) -> set[str]:
        return {one["urn"].rpartition("::")[2] for one in self.project.resources() if "Probe" in one["type"]}


@pytest.fixture
def driver(probe: Project) -> Driver:
    """The probe program's driver."""
    return Driver(probe)


def test_create_same_update_replace_delete(driver: Driver) -> None:
    driver.declare({"a": {"props": {"value": 1, "fixed": "x"}}, "b": {"props": {"from": "a"}}})
    assert driver.run("preview") == [4, 0, 0, 0, 0]
    assert driver.calls() == []
    assert driver.run("up") == [4, 0, 0, 0, 0]
    assert driver.calls() == [["create", "a"], ["create", "b"]]
    a = driver.state("a")
    assert a["id"] == "id-a-x"
    assert a["outputs"]["seen"] == 1
    assert a["parent"].endswith("::gpubench:index:Parent::parent")
    assert a["urn"] == f"urn:pulumi:{STACK}::gpubench::gpubench:index:Parent$pulumi-python:dynamic/gpubench:Probe::a"
    assert driver.state("b")["propertyDependencies"]["value"] == [a["urn"]]

    assert driver.run("up") == [0, 0, 0, 0, 4]
    assert driver.calls() == []

    driver.declare({"a": {"props": {"value": 2, "fixed": "x"}}, "b": {"props": {"from": "a"}}})
    assert driver.run("up") == [0, 2, 0, 0, 2]
    assert driver.calls() == [["update", "a"], ["update", "b"]]
    assert driver.project.outputs() == {"a": 2, "b": 2}

    # A replacement stands beside the old one before that one goes.
    driver.declare({"a": {"props": {"value": 2, "fixed": "y"}}, "b": {"props": {"from": "a"}}})
    assert driver.run("preview")[2] == 1
    assert driver.run("up")[2] == 1
    assert driver.calls() == [["create", "a"], ["delete", "a-x"]]
    assert driver.state("a")["id"] == "id-a-y"

    driver.declare({"a": {"props": {"value": 2, "fixed": "y"}}})
    assert driver.run("up")[3] == 1
    assert driver.calls() == [["delete", "b-None"]]
    assert driver.run("destroy")[3] >= 3
    assert driver.calls() == [["delete", "a-y"]]
    assert driver.names() == set()


def test_delete_before_replace(driver: Driver) -> None:
    driver.declare({"a": {"props": {"fixed": "x", "delete_first": True}}})
    driver.run("up")
    driver.declare({"a": {"props": {"fixed": "y", "delete_first": True}}})
    driver.calls()
    driver.run("up")
    assert driver.calls() == [["delete", "a-x"], ["create", "a"]]
    driver.declare({"a": {"props": {"fixed": "z"}, "options": {"delete_before_replace": True}}})
    driver.run("up")
    assert driver.calls() == [["delete", "a-y"], ["create", "a"]]


def test_a_failed_create_keeps_what_was_done_and_the_next_up_goes_on(driver: Driver) -> None:
    driver.declare({"a": {"props": {}}, "b": {"props": {"from": "a", "fails": 1}}})
    driver.run("up", fails=True)
    assert "creating b fails for the 1. time" in driver.output
    assert driver.names() == {"a"}
    assert driver.project.pending() == []
    driver.calls()
    assert driver.run("up")[0] == 1
    assert driver.calls() == [["create", "b"]]


def test_a_failed_program_deletes_nothing(driver: Driver) -> None:
    driver.declare({"a": {"props": {}}, "b": {"props": {}}})
    driver.run("up")
    driver.declare({"a": {"props": {}}}, **{"raise": True})
    driver.run("up", fails=True)
    assert "the program itself fails" in driver.output
    assert driver.names() == {"a", "b"}


def test_inputs_that_a_provider_refuses(driver: Driver) -> None:
    driver.declare({"a": {"props": {"value": "bad"}}})
    driver.run("up", fails=True)
    assert "must not be 'bad'" in driver.output
    assert driver.calls() == []


def test_error_hooks_ask_for_retries(driver: Driver) -> None:
    driver.declare({"a": {"props": {"fails": 2}, "options": {"error_hook": True}}}, retries=5)
    driver.run("up")
    assert driver.calls() == [
        ["create", "a"], ["error hook create", 1], ["create", "a"], ["error hook create", 2], ["create", "a"],
    ]  # fmt: skip
    driver.declare({"b": {"props": {"fails": 2}, "options": {"error_hook": True}}}, retries=0)
    driver.run("up", fails=True)
    assert driver.calls() == [["create", "b"], ["error hook create", 1]]


def test_resource_hooks(driver: Driver) -> None:
    def hooked(value: int, fixed: str = "x") -> dict[str, Any]:
        return {"a": {"props": {"value": value, "fixed": fixed}, "options": {"hooks": True}}}

    driver.declare(hooked(1))
    driver.run("preview")
    assert driver.calls() == []
    driver.run("up")
    assert driver.calls() == [["hook before_create a", "a"], ["create", "a"], ["hook after_create a", "a"]]
    driver.declare(hooked(2))
    driver.run("up")
    assert driver.calls() == [["hook before_update a", "a"], ["update", "a"], ["hook after_update a", "a"]]
    driver.declare(hooked(3), failing_hooks=["before_update a"])
    driver.run("up", fails=True)
    assert "hook before_update a says no" in driver.output
    assert driver.calls() == [["hook before_update a", "a"]]
    assert driver.state("a")["outputs"]["seen"] == 2
    # Destroying without the program there is nobody to call delete hooks: both engines refuse, and delete nothing.
    driver.run("destroy", fails=True)
    assert "delete hooks" in driver.output
    assert driver.names() == {"a"}
    driver.calls()
    driver.declare(hooked(2, "y"))
    driver.run("up")
    assert driver.calls()[-3:] == [["hook before_delete a", "a"], ["delete", "a-x"], ["hook after_delete a", "a"]]


def test_the_state_names_nothing_before_it_has_been_introduced(driver: Driver) -> None:
    """After a failed update in which a resource came to depend on a new one, too."""
    driver.declare({"b": {"props": {}}})
    driver.run("up")
    resources = {"a": {"props": {"value": 1}}, "b": {"props": {"from": "a"}}, "c": {"props": {"from": "b", "fails": 9}}}
    driver.declare(resources)
    driver.run("up", fails=True)
    names = [one["urn"].rpartition("::")[2] for one in driver.project.resources() if "Probe" in one["type"]]
    assert names == ["a", "b"]
    driver.calls()
    driver.run("destroy")
    assert driver.calls() == [["delete", "b-None"], ["delete", "a-None"]]


def test_protect(driver: Driver) -> None:
    driver.declare({"a": {"props": {"fixed": "x"}, "options": {"protect": True}}, "b": {"props": {}}})
    driver.run("up")
    driver.calls()
    driver.declare({"a": {"props": {"fixed": "y"}, "options": {"protect": True}}, "b": {"props": {}}})
    driver.run("up", fails=True)
    assert "protect" in driver.output
    driver.run("destroy", fails=True)
    assert "protect" in driver.output
    assert driver.state("a")["id"] == "id-a-x"
    assert ["delete", "a-x"] not in driver.calls()


def test_options_that_shape_changes_and_deletes(driver: Driver) -> None:
    driver.declare(
        {
            "ignored": {"props": {"value": 1}, "options": {"ignore_changes": ["value"]}},
            "replaced": {"props": {"other": 1, "undecided": True}, "options": {"replace_on_changes": ["other"]}},
            "decided": {"props": {"other": 1}, "options": {"replace_on_changes": ["other"]}},
            "retained": {"props": {}, "options": {"retain_on_delete": True}},
        }
    )
    driver.run("up")
    driver.calls()
    driver.declare(
        {
            "ignored": {"props": {"value": 2}, "options": {"ignore_changes": ["value"]}},
            "replaced": {"props": {"other": 2, "undecided": True}, "options": {"replace_on_changes": ["other"]}},
            "decided": {"props": {"other": 2}, "options": {"replace_on_changes": ["other"]}},
        }
    )
    driver.run("up")
    # In which order is the engines' own affair: nothing depends on anything here.
    assert sorted(driver.calls()) == [["create", "replaced"], ["delete", "replaced-None"], ["update", "decided"]]
    assert driver.state("ignored")["outputs"]["seen"] == 1
    assert driver.names() == {"ignored", "replaced", "decided"}


def test_secrets_are_never_in_the_state_in_clear(driver: Driver) -> None:
    canary = "canary-91d4"
    driver.declare(
        {
            "a": {"props": {"secret": canary}, "options": {"additional_secret_outputs": ["echo"]}},
            "b": {"props": {"secret": f"{canary}-2"}, "options": {"additional_secret_outputs": ["echo"]}},
        }
    )
    driver.run("up")
    assert canary not in driver.project.state_text()
    assert "[secret]" in driver.output or canary not in driver.output
    assert canary not in driver.output
    assert "ciphertext" in json.dumps(driver.state("a")["outputs"]["echo"])
    # The same secret is no change; another one is.
    assert driver.run("up")[1] == 0
    driver.declare({"a": {"props": {"secret": f"{canary}-new"}, "options": {"additional_secret_outputs": ["echo"]}}})
    assert driver.run("up")[1] == 1
    assert canary not in driver.project.state_text()


def test_secrets_without_a_passphrase_are_refused_by_the_embedded_engine(driver: Driver) -> None:
    if driver.project.engine != "embedded":
        pytest.skip("the CLI asks for a passphrase before it creates a stack")
    driver.declare({"a": {"props": {"secret": "canary-77"}}})
    del driver.project.environment["PULUMI_CONFIG_PASSPHRASE"]
    driver.run("up", fails=True)
    assert "Set PULUMI_CONFIG_PASSPHRASE" in driver.output
    assert "canary-77" not in driver.project.state_text() + driver.output


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"import_": "x"}, "import_"),
        ({"aliases": ["urn:pulumi:test::gpubench::x::y"]}, "aliases"),
        ({"ignore_changes": ["a.b"]}, "ignore_changes of a path"),
        ({"replacement_trigger": "x"}, "replacement_trigger"),
    ],
)
def test_the_embedded_engine_refuses_by_name_what_it_does_not_do(
    driver: Driver, options: dict[str, Any], named: str
) -> None:
    if driver.project.engine != "embedded":
        pytest.skip("the CLI does all of these")
    driver.declare({"a": {"props": {}}})
    driver.run("up")
    driver.declare({"a": {"props": {}, "options": options}})
    driver.run("up", fails=True)
    assert named in driver.output


@pytest.mark.real_engine
@pytest.mark.skipif(
    not shutil.which("pulumi"), reason="no Pulumi CLI on the PATH: moving a stack between engines not tried"
)
def test_a_stack_moves_from_one_engine_to_the_other_and_back(probe: Project) -> None:
    """The embedded engine's state is the CLI's own format, secrets included."""
    if probe.engine != "embedded":
        pytest.skip("one direction after the other, in one test")
    driver = Driver(probe)
    driver.declare(
        {"a": {"props": {"value": 1, "secret": "canary-3"}, "options": {"additional_secret_outputs": ["echo"]}}}
    )
    driver.run("up")
    state = probe.root / ".gpubench" / "state" / f"{STACK}.json"
    probe.pulumi("stack", "init", STACK)
    probe.pulumi("stack", "import", "--stack", STACK, "--file", str(state))
    state.unlink()
    driver.calls()
    probe.engine = "pulumi"
    assert driver.run("up")[4] == 3
    driver.declare(
        {"a": {"props": {"value": 2, "secret": "canary-3"}, "options": {"additional_secret_outputs": ["echo"]}}}
    )
    driver.run("up")
    assert driver.calls() == [["update", "a"]]
    probe.pulumi("stack", "export", "--stack", STACK, "--file", str(state))
    probe.engine = "embedded"
    assert driver.run("up")[4] == 3
    assert driver.run("destroy")[3] >= 2
    assert driver.calls() == [["delete", "a-None"]]


_CANCELLED_WHILE_IT_IS = """
import signal, sys
from pathlib import Path
from engine.base import EngineError
from engine.embedded.display import Display
from engine.embedded.monitor import Monitor
from engine.embedded.state import Snapshot
from tests.nested_signals import nest
snapshot = Snapshot(Path(sys.argv[1]), lambda _: None)
monitor = Monitor("test", snapshot, {}, {}, Display("test", "Updating"), preview=False)
signal.signal(signal.SIGTERM, lambda *_: monitor.cancel())
nest(signal.SIGTERM)
signal.raise_signal(signal.SIGTERM)
sys.settrace(None)
try:
    monitor.RegisterResource(None)
except EngineError as error:
    print(error)
"""


def test_a_monitor_cancelled_again_while_it_is_being_cancelled(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _CANCELLED_WHILE_IT_IS, str(tmp_path / "state.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.endswith("\nstopped on request, before all was done\n"), done.stderr
