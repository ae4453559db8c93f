"""RunProvider over its own gRPC server, started as the Pulumi CLI starts it, with a stand-in for the workload."""

from __future__ import annotations

import concurrent.futures
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, struct_pb2
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

import results_folder
from benchmark_job import store
from benchmark_job.order import RunOrder
from benchmark_job.run_resource import RunProvider
from components.interface import Control, Execution, SurfaceError
from components.local import surface
from tests.local.harness import ROOT, is_alive, numbers, wait_for

RUN = "0123456789ab-1"
CANARY = "c4n4ry-+*.(secret"
_PARTS = ("benchmark_job", "catalog", "components", "engine", "placement", "settings")
_FILES = ("object_store.py", "results_folder.py", "requirements-workload.txt")
# The workload's place: runs the script that the order's environment brings along.
_STAND_IN = "import os\nexec(os.environ['SCRIPT'])\n"
_MEASURES = "import os; open(os.environ['GPUBENCH_RESULTS'] + '/figures.txt', 'a').write('1')"
_WAITS = (
    "import os, subprocess, time\n"
    "child = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    "with open(os.environ['GPUBENCH_RESULTS'] + '/pids', 'w') as file: file.write(f'{os.getpid()}\\n{child.pid}\\n')\n"
    "time.sleep(300)"
)


class Provider:
    """The provider's process and a client of its server."""

    def __init__(self, project: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(project), "PULUMI_PROJECT": "gpubench"}
        environment.pop("GPUBENCH_ENGINE", None)
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.dynamic"],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)
        self.lines: list[str] = []
        self.stub.Configure(provider_pb2.ConfigureRequest(args=_struct({"gpubench:token": CANARY})))

    def read_on(self) -> None:
        """Collect what it prints, as the engine does."""
        assert self.process.stdout is not None
        stream = self.process.stdout
        threading.Thread(target=lambda: self.lines.extend(line.decode() for line in stream), daemon=True).start()

    def create(self, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        answer = self.stub.Create(provider_pb2.CreateRequest(properties=_struct(props)))
        return answer.id, json_format.MessageToDict(answer.properties)

    def fails(self, props: dict[str, Any]) -> str:
        with pytest.raises(grpc.RpcError) as failure:
            self.create(props)
        return str(failure.value.details())

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()


def _struct(values: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)  # numbers become floats, as on the engine's wire
    return struct


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gpubench")
    for part in _PARTS:
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(ROOT / name, root / name)
    (root / "workload").mkdir()
    (root / "workload" / "__main__.py").write_text(_STAND_IN)
    return root


@pytest.fixture
def provider(project: Path) -> Iterator[Provider]:
    started = Provider(project)
    started.read_on()
    yield started
    started.close()


@pytest.fixture
def order(tmp_path: Path) -> dict[str, Any]:
    """A run's inputs."""
    return {
        "__provider": serialize_provider(RunProvider()),
        "run": RUN,
        "store": str(tmp_path / "store"),
        "rung": "local/any",
        "rungs": ["local/any"],
        "surface": "local",
        "tier": "any",
        "argv": [],
        "timeout_s": 30,
        "env": {"SCRIPT": _MEASURES},
        "secret_env": {"TOKEN": "gpubench:token"},
        "stamps": {"run": RUN, "rung": "local/any", "stack": "test", "usd_per_hour": 0, "git_dirty": False},
        "found": "",
    }


def _attempts(order: dict[str, Any]) -> list[Path]:
    return sorted(path for path in (Path(order["store"]) / "runs" / RUN).glob("*") if path.is_dir())


def _started(order: dict[str, Any]) -> bool:
    return any(len(numbers(folder / "pids")) == 2 for folder in _attempts(order))


def test_check_names_what_is_missing(provider: Provider, order: dict[str, Any]) -> None:
    whole = provider.stub.Check(provider_pb2.CheckRequest(news=_struct(order)))
    assert not whole.failures
    assert json_format.MessageToDict(whole.inputs) == order
    del order["store"], order["rungs"]
    missing = provider.stub.Check(provider_pb2.CheckRequest(news=_struct(order)))
    assert sorted(failure.property for failure in missing.failures) == ["rungs", "store"]
    assert "is missing" in missing.failures[0].reason


@pytest.mark.parametrize(
    ("changes", "some", "replaces"),
    [
        ({}, False, []),
        ({"found": ""}, True, []),
        ({"found": "another"}, True, []),
        ({"run": "ffffffffffff-1"}, True, ["run"]),
        ({"run": "ffffffffffff-1", "found": ""}, True, ["run"]),
        ({"rung": "local/l4", "tier": "l4", "rungs": ["local/l4"], "stamps": {}, "timeout_s": 99}, False, []),
    ],
)
def test_diff_sees_the_run_and_the_attempt_that_has_its_results_and_nothing_else(
    provider: Provider, order: dict[str, Any], changes: dict[str, Any], some: bool, replaces: list[str]
) -> None:
    answer = provider.stub.Diff(
        provider_pb2.DiffRequest(
            id=RUN,
            olds=_struct({**order, "found": "", "attempt": "a"}),
            news=_struct({**order, "found": "a", **changes}),
        )
    )
    assert answer.changes == (provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE)
    assert list(answer.replaces) == replaces


def test_a_runs_whole_life(provider: Provider, order: dict[str, Any]) -> None:
    """Create; create again adopts; read; update; results gone: read says so, update makes them anew; delete keeps."""
    identifier, outputs = provider.create(order)
    assert identifier == RUN
    (folder,) = _attempts(order)
    assert outputs["attempt"] == folder.name
    assert outputs["results"] == str(folder)
    assert (outputs["obtained_rung"], outputs["obtained_tier"], outputs["cost_usd"]) == ("local/any", "cpu", 0)
    manifest = results_folder.read_manifest(folder)
    assert manifest is not None
    assert manifest["stamps"] == {**order["stamps"], "attempt": folder.name, "obtained_tier": "cpu"}

    again, adopted = provider.create({**order, "tier": "l4"})
    assert (again, adopted["attempt"], _attempts(order)) == (RUN, folder.name, [folder])

    request = provider_pb2.ReadRequest(id=RUN, properties=_struct(outputs))
    assert provider.stub.Read(request).id == RUN
    update = provider_pb2.UpdateRequest(id=RUN, olds=_struct(outputs), news=_struct(order))
    assert json_format.MessageToDict(provider.stub.Update(update).properties)["attempt"] == folder.name

    shutil.rmtree(folder)
    assert provider.stub.Read(request).id == ""
    made_anew = json_format.MessageToDict(provider.stub.Update(update).properties)["attempt"]
    assert [one.name for one in _attempts(order)] == [made_anew]

    provider.stub.Delete(provider_pb2.DeleteRequest(id=RUN, properties=_struct(outputs)))
    assert results_folder.verify(_attempts(order)[0]) == []


def test_two_creates_at_once_make_one_run(provider: Provider, order: dict[str, Any], project: Path) -> None:
    order["env"]["SCRIPT"] = f"import time; time.sleep(1.5)\n{_MEASURES}"
    other = Provider(project)
    other.read_on()
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            made = list(pool.map(lambda one: one.create(order)[1]["attempt"], [provider, other, provider]))
    finally:
        other.close()
    (folder,) = _attempts(order)
    assert made == [folder.name] * 3
    assert (folder / "figures.txt").read_text() == "1"
    assert any("still under way" in line for line in [*provider.lines, *other.lines])


def test_a_failure_says_cause_mend_and_place_and_no_traceback(provider: Provider, order: dict[str, Any]) -> None:
    order["env"]["SCRIPT"] = "import os; print('before'); raise SystemExit('broken: ' + os.environ['TOKEN'])"
    said = provider.fails(order)
    (folder,) = _attempts(order)
    assert "Traceback" not in said
    assert "File " not in said
    assert said.count("RunFailed") == 1
    assert f"run {RUN} on local/any failed. Cause: workload (exit-code): exit code 1" in said
    assert "broken: [secret]" in said
    assert str(folder) in said
    # And the next try is a try of its own.
    order["env"]["SCRIPT"] = _MEASURES
    assert provider.create(order)[0] == RUN
    assert len(_attempts(order)) == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"secret_env": {"TOKEN": "gpubench:other"}}, "pulumi config set --secret gpubench:other"),
        ({"store": "az://bucket/results"}, "the results store az://bucket/results can't be read"),
        ({"store": "/dev/null/store"}, "Not a directory"),
        ({"image": "localhost/gpubench-no-such-image:1"}, "benchmark.image: localhost/gpubench-no-such-image:1"),
    ],
)
def test_what_cannot_begin_says_why_in_one_line_and_leaves_no_attempt(
    provider: Provider, order: dict[str, Any], changes: dict[str, Any], text: str
) -> None:
    said = provider.fails({**order, **changes})
    assert text in said
    assert "Traceback" not in said
    assert "direct cause" not in said
    assert len(said.strip().splitlines()) == 1
    assert _attempts(order) == []


def test_a_stop_ends_the_run_and_the_next_create_goes_on(provider: Provider, order: dict[str, Any]) -> None:
    order["env"]["SCRIPT"] = _WAITS
    with concurrent.futures.ThreadPoolExecutor() as pool:
        failure = pool.submit(provider.fails, order)
        wait_for(lambda: _started(order), "the run's start")
        # It waits for the lock, and was asked for before the stop: it must not begin afterwards.
        waiting = pool.submit(provider.fails, order)
        wait_for(lambda: any("waiting for its end" in line for line in provider.lines), "the second to wait")
        assert store.request_stop(Path(order["store"]), "another-stack") == []
        assert store.request_stop(Path(order["store"]), "test") == [RUN]
        assert "interrupted. Cause: interrupted (signal): stopped on request" in failure.result(10)
        assert "stopped before it began" in waiting.result(10)
    assert list(store.active_runs(Path(order["store"]))) == []
    (folder,) = _attempts(order)
    assert not [pid for pid in numbers(folder / "pids") if is_alive(pid)]
    order["env"]["SCRIPT"] = _MEASURES
    provider.create(order)
    assert len(_attempts(order)) == 2


def test_no_answer_log_or_file_holds_a_secret(provider: Provider, order: dict[str, Any], tmp_path: Path) -> None:
    order["env"]["SCRIPT"] = (
        "import json, os, time; token = os.environ['TOKEN']\n"
        "print('token', token, flush=True)\n"
        "with open(os.environ['GPUBENCH_RESULTS'] + '/progress.json', 'w') as file:\n"
        "    json.dump({'step': 'using ' + token, 'done': 0, 'total': 1}, file)\n"
        f"time.sleep(1)\n{_MEASURES}"
    )
    _, outputs = provider.create(order)
    (folder,) = _attempts(order)
    assert "token [secret]" in (folder.parent / f"{folder.name}.log").read_text()
    wait_for(lambda: any("using [secret]" in line for line in provider.lines), "the progress line", 5)
    assert CANARY not in json.dumps(outputs) + "".join(provider.lines)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_measurements_with_nan_and_a_torn_line_still_make_outputs(provider: Provider, order: dict[str, Any]) -> None:
    order["env"]["SCRIPT"] = (
        "import os; open(os.environ['GPUBENCH_RESULTS'] + '/measurements.jsonl', 'w').write("
        '\'{"benchmark": "own", "x": NaN}\\n{"benchmark": "own", "x": 1}\\n{"benchma\')'
    )
    assert provider.create(order)[1]["verdict"] == "none"


def test_when_the_engine_is_killed_the_run_ends_sealed_and_the_provider_goes(
    project: Path, order: dict[str, Any]
) -> None:
    provider = Provider(project)
    order["env"]["SCRIPT"] = _WAITS
    answer = provider.stub.Create.future(provider_pb2.CreateRequest(properties=_struct(order)))
    try:
        wait_for(lambda: _started(order), "the run's start")
        (folder,) = _attempts(order)
        killed_at = time.monotonic()
        assert provider.process.stdout is not None
        provider.process.stdout.close()  # as the kernel does with a killed engine's end of the pipe
        wait_for(lambda: results_folder.read_manifest(folder), "the seal", 5)
        provider.process.wait(5)
        assert time.monotonic() - killed_at < 5
    finally:
        answer.cancel()
        provider.close()
    manifest = results_folder.read_manifest(folder)
    assert manifest is not None
    assert manifest["status"] == "interrupted"
    assert results_folder.verify(folder) == []
    assert not [pid for pid in numbers(folder / "pids") if is_alive(pid)]


def test_a_provider_without_a_run_goes_with_its_engine_too(project: Path, order: dict[str, Any]) -> None:
    provider = Provider(project)
    try:
        provider.stub.Check(provider_pb2.CheckRequest(news=_struct(order)))
        assert provider.process.stdout is not None
        provider.process.stdout.close()
        provider.process.wait(5)
    finally:
        provider.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: PR_SET_PDEATHSIG and /proc")
def test_after_a_killed_supervisor_the_next_create_makes_exactly_one_complete_run(
    provider: Provider, order: dict[str, Any]
) -> None:
    order["env"]["SCRIPT"] = _WAITS
    with concurrent.futures.ThreadPoolExecutor() as pool:
        failure = pool.submit(provider.fails, order)
        wait_for(lambda: _started(order), "the run's start")
        workload = numbers(_attempts(order)[0] / "pids")[0]
        supervisor = int(Path(f"/proc/{workload}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(supervisor, 9)
        said = failure.result(10)
        os.kill(numbers(_attempts(order)[0] / "pids")[1], 9)  # nobody is left to end what it started
    assert "its supervisor ended with -9" in said
    wait_for(lambda: not is_alive(workload), "the workload's end", 5)
    order["env"]["SCRIPT"] = _MEASURES
    provider.create(order)
    provider.create(order)
    sealed = [results_folder.read_manifest(folder) is not None for folder in _attempts(order)]
    assert sorted(sealed) == [False, True]


def test_what_a_killed_update_had_not_begun_leaves_no_trace(provider: Provider, order: dict[str, Any]) -> None:
    """Killed between the attempt's folder and its first file; a folder with anything in it stays."""
    run = Path(order["store"]) / "runs" / order["run"]
    for name in ("20261121T101010.100Z-aaaa", "20261121T101010.200Z-bbbb"):
        (run / name).mkdir(parents=True)
    begun = run / "20261121T101010.200Z-bbbb"
    (begun / "measurements.jsonl").write_text("{}\n")
    order["env"]["SCRIPT"] = _MEASURES
    provider.create(order)
    found = _attempts(order)
    assert len(found) == 2 and begun in found


def test_a_run_whose_engine_dies_while_it_waits_for_the_machine_does_not_begin(
    order: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "attempt"
    folder.mkdir()
    said: list[str] = []
    control = Control(said.append, lambda: bool(said))  # it dies as soon as the run waits
    with (tmp_path / f"gpubench-{os.getuid()}.lock").open("w") as other, (tmp_path / "lock").open("w") as lock:
        fcntl.flock(other, fcntl.LOCK_EX)
        execution = Execution(folder, tmp_path / "log", tmp_path / "stop", lock.fileno(), {})
        with pytest.raises(SurfaceError, match="the engine that ordered the run is gone"):
            surface.execute(RunOrder.from_props(order), execution, control)
    assert "measure alone" in said[0]
    assert list(folder.iterdir()) == []
