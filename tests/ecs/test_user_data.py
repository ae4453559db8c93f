"""The user data of a machine for real: run by bash, with stand-ins for systemd and docker and a metadata server."""

from __future__ import annotations

import base64
import http.server
import os
import shlex
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.ecs.cluster import user_data
from tests.ecs import declared
from tests.ecs.declared import BASE

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = ("usr/local/sbin/gpubench-stop-tasks", "usr/local/sbin/gpubench-notice")
UNITS = ("etc/systemd/system/gpubench-tasks.service", "etc/systemd/system/gpubench-notice.service")


class Machine:
    """A folder as a machine's root; each command that must not be the real one writes down how it was called."""

    def __init__(self, home: Path) -> None:
        self.root, self.fakes = home / "root", home / "fakes"
        self.root.mkdir()
        self.fakes.mkdir()
        self.calls = home / "calls"
        self.calls.touch()
        for command in ("systemctl", "systemd-run", "shutdown"):
            self.fake(command)

    def fake(self, command: str, body: str = "") -> None:
        path = self.fakes / command
        path.write_text(f'#!/bin/bash\nprintf "%s\\n" "{command} $*" >>{shlex.quote(str(self.calls))}\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.fakes}:{os.environ['PATH']}", "GPUBENCH_ROOT": str(self.root), **environment}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)

    def boot(self, max_seconds: int = 5400) -> subprocess.CompletedProcess[str]:
        script = self.root.parent / "user-data"
        script.write_bytes(base64.b64decode(user_data(BASE, max_seconds)))
        return self.run("bash", str(script))

    def read(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def shellcheck(*paths: str | Path) -> None:
    command = [str(Path(sys.executable).parent / "shellcheck"), "--enable=all"]
    # As for boot.sh: braces around each variable, and functions in conditions.
    command += ["--exclude=SC2250,SC2310,SC2312", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_script_and_those_that_it_writes_are_clean(machine: Machine) -> None:
    machine.boot()
    shellcheck("components/ecs/user_data.sh", *(machine.root / script for script in SCRIPTS))


def test_it_arms_the_end_first_and_joins_the_attempts_cluster(machine: Machine) -> None:
    done = machine.boot()
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.called[0] == "systemd-run --unit=gpubench-end --on-active=5400s systemctl poweroff"
    told = dict(line.split("=", 1) for line in machine.read("etc/ecs/ecs.config").splitlines())
    assert told["ECS_CLUSTER"] == BASE
    assert told["ECS_AWSVPC_BLOCK_IMDS"] == "true", "a task doesn't get at the machine's role"
    assert told["ECS_ENABLE_GPU_SUPPORT"] == told["ECS_ENABLE_SPOT_INSTANCE_DRAINING"] == "true"
    assert told["ECS_IMAGE_PULL_BEHAVIOR"] == "once"
    # It would wait for the agent, which waits for this script.
    assert machine.called[-1] == "systemctl start --no-block gpubench-tasks.service gpubench-notice.service"
    assert not any("poweroff" in call for call in machine.called[1:])
    for path in SCRIPTS:
        assert (machine.root / path).stat().st_mode & stat.S_IXUSR


def test_a_launch_template_has_it_with_the_attempts_values(machine: Machine) -> None:
    template = declared.cluster(max_seconds=7200.9).one("LaunchTemplate")
    script = base64.b64decode(template.inputs["userData"]).decode()
    assert f"readonly cluster='{BASE}' max_seconds='7200'" in script
    assert "@" not in script.replace("ids[@]", "")
    assert len(script) < 16 * 1024


def test_a_machine_that_cannot_time_its_end_is_shut_down_by_the_old_means(machine: Machine) -> None:
    machine.fake("systemd-run", "exit 1")
    assert machine.boot(5401).returncode == 0
    assert "shutdown -h +91" in machine.called


def test_a_machine_that_cannot_join_powers_off(machine: Machine) -> None:
    (machine.root / "etc").write_text("not a folder")
    done = machine.boot()
    assert done.returncode != 0
    assert machine.called[-1] == "systemctl poweroff"
    assert "the machine powers off" in done.stdout
    machine.fake("systemctl", "exit 1")
    machine.boot()
    assert machine.called[-1] == "shutdown -h now"


def test_tasks_are_asked_to_end_the_benchmark_first_of_its_time(machine: Machine) -> None:
    machine.boot()
    one = 'case "$*" in *=benchmark*) echo b1; echo b2;; *=uploader*) echo u1;; esac'
    machine.fake("docker", f'if [[ "$1" == ps ]]; then {one}; fi')
    machine.calls.write_text("")
    done = machine.run("bash", str(machine.root / SCRIPTS[0]))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(call for call in machine.called if call.startswith("docker stop")) == [
        "docker stop -t 10 b1 b2",
        "docker stop -t 100 u1",
    ]
    filters = {call.split()[-1] for call in machine.called if call.startswith("docker ps")}
    label = "label=com.amazonaws.ecs.container-name"  # what ECS's agent gives each container
    assert filters == {f"{label}=benchmark", f"{label}=uploader"}


def test_without_tasks_nothing_is_stopped(machine: Machine) -> None:
    machine.boot()
    machine.fake("docker")
    done = machine.run("bash", str(machine.root / SCRIPTS[0]))
    assert done.returncode == 0
    assert not [call for call in machine.called if call.startswith("docker stop")]


def test_systemd_reads_the_units(machine: Machine) -> None:
    machine.boot()
    units = [machine.read(path) for path in UNITS]
    for unit in units:
        keys = {line.partition("=")[0] for line in unit.splitlines() if "=" in line}
        assert keys <= {
            "Description", "After", "Type", "RemainAfterExit", "ExecStart", "ExecStop", "TimeoutStopSec", "Restart",
        }  # fmt: skip
    tasks, notice = (dict(line.split("=", 1) for line in unit.splitlines() if "=" in line) for unit in units)
    assert {"docker.service", "ecs.service"} <= set(tasks["After"].split()), "it ends before them"
    assert tasks["ExecStop"] == f"/{SCRIPTS[0]}"
    assert 100 < int(tasks["TimeoutStopSec"]) < 120
    assert notice["ExecStart"] == f"/{SCRIPTS[1]}"


class Metadata(http.server.ThreadingHTTPServer):
    """IMDSv2: without a token nothing, a token that ends, and at last the notice. ``log``: what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.log: list[str] = []
        self.tokens = 0
        self.answers = [404, 401, 404, 200]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.server.tokens += 1
        self._answer(200, f"token-{self.server.tokens}")

    def do_GET(self) -> None:
        self.server.log.append(f"{self.path} {self.headers['X-aws-ec2-metadata-token']}")
        self._answer(self.server.answers.pop(0), "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with Metadata() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_spot_machines_notice_stops_its_tasks(machine: Machine, metadata: Metadata) -> None:
    machine.boot()
    machine.calls.write_text("")
    notice = str(machine.root / SCRIPTS[1])
    done = machine.run("bash", notice, GPUBENCH_METADATA=metadata.url, GPUBENCH_PAUSE_S="0.01")
    assert done.returncode == 0, done.stderr
    assert machine.called == ["systemctl stop gpubench-tasks.service"]
    path = "/latest/meta-data/spot/instance-action"
    assert metadata.log == [f"{path} token-1", f"{path} token-1", f"{path} token-2", f"{path} token-2"]
    assert "interrupted" in done.stdout


def test_a_metadata_service_that_is_silent_at_first_does_no_harm(machine: Machine, metadata: Metadata) -> None:
    """curl is one that fails three times, and then the real one."""
    machine.boot()
    machine.calls.write_text("")
    metadata.answers = [200]
    real = subprocess.run(["bash", "-c", "command -v curl"], capture_output=True, text=True, check=True).stdout.strip()
    count = machine.fakes / "count"
    machine.fake("curl", f'echo >>"{count}"; (( $(wc -l <"{count}") > 3 )) || exit 7; exec {real} "$@"')
    notice = str(machine.root / SCRIPTS[1])
    done = machine.run("bash", notice, GPUBENCH_METADATA=metadata.url, GPUBENCH_PAUSE_S="0.01")
    assert done.returncode == 0, done.stderr
    assert machine.called[-1] == "systemctl stop gpubench-tasks.service"
