"""The command line: what each command says and with which code it ends, in processes of its own where it can be."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

import cli
import components
from components.interface import Held, SurfaceError
from engine import interrupts
from engine.base import Engine, EngineError, Result
from engine.pulumi_cli import PulumiCli
from engine.stack_config import aws_region
from placement.causes import Cause
from placement.ladder import Rung
from placement.ledger import Attempt, Ledger, Outcome
from results_folder import Status
from tests.local.harness import wait_for
from tests.results_samples import CPU_STAMPS, cpu_records, folder, resnet50

ROOT = Path(__file__).resolve().parents[1]
STACKS = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))


def gpubench(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "GPUBENCH_"))}
    env = {**clean, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_help_names_every_command() -> None:
    said = gpubench("--help").stdout
    for command in ("up", "preview", "destroy", "results", "stop", "doctor", "tiers"):
        assert f"    {command} " in said


@pytest.mark.parametrize("arguments", [("--help",), ("tiers", "--tier", "h100")])
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys, cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'pulumi', 'pydantic', 'torch', 'grpc', 'yaml', 'rich'} & sys.modules.keys()\n"
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_previews_with_no_credentials(stack: str, tmp_path: Path) -> None:
    done = gpubench("preview", "--stack", stack, "--engine", "embedded", GPUBENCH_STATE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "benchmark-run-1" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_no_update_of_a_cloud_is_begun_on_the_embedded_engine(tmp_path: Path) -> None:
    """It deploys to this machine alone: nothing is written down, and the stack has no master yet."""
    alone = str(Path(sys.executable).parent)
    done = gpubench("up", "--stack", "aws", GPUBENCH_STATE=str(tmp_path), PATH=alone)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"ecs/\S+ needs the Pulumi CLI: .*, taken because the Pulumi CLI isn't installed", done.stderr)
    assert list(tmp_path.iterdir()) == []
    found = gpubench("doctor", "--stack", "aws", GPUBENCH_STATE=str(tmp_path), PATH=alone, HOME=str(tmp_path))
    assert found.returncode == 1
    assert re.search(r"(?m)^!!  clouds +stack aws: ecs/\S+ needs the Pulumi CLI", found.stdout)
    assert re.search(r"(?m)^!!  ecs +no credentials for AWS: .*aws sso login", found.stdout)


def test_what_could_never_run_is_neither_planned_nor_rehearsed(tmp_path: Path) -> None:
    project = _copy(tmp_path)
    (project / "Pulumi.far.yaml").write_text(
        "config:\n"
        "  gpubench:results: s3://team-bench/x\n"
        "  gpubench:benchmark: {image: 'ghcr.io/acme/bench:1'}\n"
        "  gpubench:aws: {network: endpoints}\n"
        "  gpubench:ladder: [{surface: ecs, account: '123456789012', tier: t4, region: us-east-1}]\n"
    )
    for command in ("plan", "drill", "preview", "up"):
        done = gpubench(command, "--stack", "far", cwd=project, PYTHONPATH=str(project))
        assert (done.returncode, done.stdout) == (2, ""), command
        assert "gpubench:benchmark.image: ghcr.io/acme/bench:1: a network with `endpoints` alone reaches" in done.stderr


@pytest.mark.parametrize("command", ["up", "preview", "destroy", "results", "stop"])
def test_a_stack_that_is_not_there(command: str) -> None:
    done = gpubench(command, "--stack", "prodd")
    assert done.returncode == 2
    assert "there is no Pulumi.prodd.yaml; stacks here: " + ", ".join(STACKS) in done.stderr


def test_results_before_there_are_any(tmp_path: Path) -> None:
    project = _copy(tmp_path)
    done = gpubench("results", cwd=project, PYTHONPATH=str(project))
    assert done.returncode == 1
    assert "has no results in results yet; get some: gpubench up --stack local" in done.stderr


def test_stop_when_nothing_runs(tmp_path: Path) -> None:
    project = _copy(tmp_path)
    done = gpubench("stop", cwd=project, PYTHONPATH=str(project))
    assert (done.returncode, done.stdout) == (0, "No run of stack local is under way here.\n")


def test_the_cli_that_is_asked_for_and_is_not_there() -> None:
    done = gpubench("up", "--engine", "pulumi", PATH=str(Path(sys.executable).parent))
    assert done.returncode == 2
    assert "isn't on the PATH. Install it: https://www.pulumi.com" in done.stderr


def test_doctor_says_which_engine_and_why(tmp_path: Path) -> None:
    done = gpubench("doctor", GPUBENCH_STATE=str(tmp_path), PATH=str(Path(sys.executable).parent))
    assert done.returncode == 0, done.stdout
    lines = {line[4:20].strip(): (line[:2], line[21:]) for line in done.stdout.splitlines()}
    assert lines["pulumi CLI"][1].startswith("not installed")
    assert lines["engine"] == (
        "ok",
        "stack local is run by the embedded engine, because the Pulumi CLI isn't installed (https://www.pulumi.com/docs/install/)",
    )
    assert lines["stack"][0] == "ok"


def test_doctor_fails_on_a_stack_that_cannot_work(tmp_path: Path) -> None:
    project = _copy(tmp_path)
    (project / "Pulumi.local.yaml").write_text("config:\n  gpubench:ladder: [{surface: locall}]\n")
    done = gpubench("doctor", cwd=project, PYTHONPATH=str(project))
    assert done.returncode == 1
    assert "did you mean local?" in done.stdout


@pytest.mark.parametrize(("engine", "code"), [("embedded", 1), ("pulumi", 0)])
def test_doctor_on_secrets_that_only_the_cli_can_open(tmp_path: Path, engine: str, code: int) -> None:
    project = _copy(tmp_path)
    (project / "Pulumi.local.yaml").write_text(
        "secretsprovider: gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k\n"
        "config:\n  gpubench:ladder: [{surface: local}]\n"
        "  gpubench:benchmark: {image: 'example.com/bench:1', env: {TOKEN: {secret: token}}}\n"
        "  gpubench:token: {secure: AAAAAAAAAAAAAAAA}\n"
    )
    (tmp_path / "bin").mkdir()
    _program(tmp_path / "bin" / "pulumi", "echo v3.200.0\n")
    done = gpubench(
        "doctor", "--engine", engine, cwd=project, PYTHONPATH=str(project), GPUBENCH_STATE=str(tmp_path / "state"),
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", HOME=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert ("secrets that can't be read here: gpubench:token" in done.stdout) == bool(code)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, a file system without any room")
def test_doctor_looks_at_the_disk_of_the_results_store(tmp_path: Path) -> None:
    project = _copy(tmp_path)
    elsewhere = Path("/proc/self/not/there/yet")
    (project / "Pulumi.local.yaml").write_text(
        f"config:\n  gpubench:ladder: [{{surface: local}}]\n  gpubench:results: {elsewhere}\n"
    )
    done = gpubench("doctor", cwd=project, PYTHONPATH=str(project))
    assert f"!!  disk             0 GB free for results in {elsewhere}; free some space" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config: [", "isn't valid YAML"),
        ("config:\n  gpubench:ladder: []\n", "gpubench:ladder"),
        ("config:\n  gpubench:ladder: [{surface: local}]\n  gpubench:results: az://bucket\n", "use gs:// or s3://"),
    ],
)
def test_a_broken_stack_file_ends_every_command_with_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    project = _copy(tmp_path)
    (project / "Pulumi.local.yaml").write_text(text)
    done = gpubench("up", "--engine", "embedded", cwd=project, PYTHONPATH=str(project))
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr


def test_the_script_says_what_to_do_before_anything_is_set_up(tmp_path: Path) -> None:
    shutil.copy(ROOT / "gpubench", tmp_path / "gpubench")
    done = subprocess.run([tmp_path / "gpubench", "up"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not set up yet; run: make -C" in done.stderr


@pytest.mark.parametrize("linked", [False, True])
def test_the_script_runs_this_project_from_anywhere(tmp_path: Path, *, linked: bool) -> None:
    project = _copy(tmp_path / "a folder")
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name in ("cli.py", "settings/__init__.py", "engine/__init__.py", "catalog/__init__.py"):
        trap = tmp_path / "elsewhere" / name
        trap.parent.mkdir(parents=True, exist_ok=True)
        trap.write_text("raise SystemExit('this is the caller's file')\n")
    script = project / "gpubench"
    if linked:
        # A link with a path from the root, behind one with a path from its own folder.
        (tmp_path / "bin").mkdir()
        (tmp_path / "first").symlink_to(script)
        script = tmp_path / "bin" / "gpubench"
        script.symlink_to("../first")
    # The environment's packages, which a link to its interpreter alone doesn't bring; no way to the project.
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [script, "preview", "--engine", "embedded"],
        cwd=tmp_path / "elsewhere",
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": packages},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "benchmark-run-1" in done.stdout


def _install(venv: Path, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """scripts/install with nothing but the fake programs of a folder, and the system's own tools, on the PATH."""
    requirements = path / "requirements.txt"
    requirements.write_text("")
    return subprocess.run(
        [ROOT / "scripts" / "install", venv, requirements],
        env={"PATH": f"{path}:{_tools(path)}", **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _tools(path: Path) -> Path:
    """The few programs that scripts/install needs: neither uv nor any Python is among them."""
    tools = path / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "rm", "mkdir", "cp", "chmod", "tail", "cat"):
        found = shutil.which(name)
        assert found is not None
        if not (tools / name).exists():
            (tools / name).symlink_to(found)
    return tools


def _program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}")
    path.chmod(0o755)
    return path


def _python(path: Path, version: str, *, pip: bool = True, ensurepip: bool = True) -> Path:
    """An interpreter that says of itself what it is told to; its environments are copies of itself."""
    suitable = version.startswith(("3.11.", "3.12.", "3.13."))
    return _program(
        path,
        f"""case "$*" in
    -V) echo "Python {version}" ;;
    "-m venv "*)
        mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
        {"exit 0" if ensurepip else "echo 'ensurepip is not available'; exit 1"} ;;
    "-m pip "*) {'echo "$*" >> "$0.pip"' if pip else "echo No module named pip >&2; exit 1"} ;;
    *) exit {int(not suitable)} ;;
esac
""",
    )


@pytest.mark.parametrize("found", ["3.10.2", "3.14.0"])
def test_an_unsuitable_python_is_refused_in_one_line(tmp_path: Path, found: str) -> None:
    old = _python(tmp_path / "old", found)
    done = _install(tmp_path / "venv", tmp_path, PYTHON=str(old))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"needs Python 3.11, 3.12 or 3.13, and {old} is Python {found}" in done.stderr


def test_the_refusal_is_about_python3(tmp_path: Path) -> None:
    _python(tmp_path / "python3", "3.9.6")
    _python(tmp_path / "python3.11", "3.10.99")  # the last one looked at
    done = _install(tmp_path / "venv", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "and python3 is Python 3.9.6; name one: make up PYTHON=python3.12" in done.stderr


def test_no_python_at_all(tmp_path: Path) -> None:
    done = _install(tmp_path / "venv", tmp_path, MAKECMDGOALS="setup")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "and python3 is not there; name one: make setup PYTHON=python3.12" in done.stderr


def test_make_names_its_own_target_in_the_advice(tmp_path: Path) -> None:
    project = _copy(tmp_path)
    old = _python(tmp_path / "old", "3.10.2")
    # These tests may run below a make of their own, whose variables would be taken for this one's.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "setup-dev", f"PYTHON={old}"], cwd=project, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "name one: make setup-dev PYTHON=python3.12" in done.stderr


def test_another_python_that_suits_is_taken(tmp_path: Path) -> None:
    _python(tmp_path / "python3", "3.9.6")
    _python(tmp_path / "python3.12", "3.12.1")
    done = _install(tmp_path / "venv", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3.12.1" in (tmp_path / "venv" / "bin" / "python").read_text()
    assert "--require-hashes" in (tmp_path / "venv" / "bin" / "python.pip").read_text()


def test_a_python_without_ensurepip_leaves_no_half_made_environment(tmp_path: Path) -> None:
    _python(tmp_path / "python3", "3.11.2", pip=False, ensurepip=False)
    for _ in range(2):  # the second time it must not pass for made
        done = _install(tmp_path / "venv", tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "apt-get install python3-venv" in done.stderr
        assert not (tmp_path / "venv").exists()


def test_an_environment_without_pip_is_made_anew(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    _python(venv / "bin" / "python", "3.11.2", pip=False)
    _python(tmp_path / "python3", "3.11.3")
    done = _install(venv, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3.11.3" in (venv / "bin" / "python").read_text()


def test_uv_needs_neither_pip_nor_ensurepip(tmp_path: Path) -> None:
    _python(tmp_path / "python3", "3.11.2", pip=False, ensurepip=False)
    _program(
        tmp_path / "uv",
        f"""echo "$*" >> "{tmp_path}/uv.log"
[ "$1" = venv ] || exit 0
mkdir -p "$5/bin" && cp "$4" "$5/bin/python"
""",
    )
    done = _install(tmp_path / "venv", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = (tmp_path / "uv.log").read_text().splitlines()
    assert first == f"venv --quiet --python {tmp_path}/python3 {tmp_path}/venv"
    assert second.startswith("pip install ") and "--require-hashes" in second


def test_pictures_come_from_the_newest_complete_results(tmp_path: Path) -> None:
    project = _copy(tmp_path)
    # The stack's own store would be a bucket: these lie in the local one's.
    stack = (project / "Pulumi.dev.yaml").read_text().replace("gs://my-project-gpubench/dev", "results")
    (project / "Pulumi.dev.yaml").write_text(stack)
    offline = [resnet50("Offline", "fp32", batch, speed, None) for batch, speed in ((1, 4.0), (8, 77.7))]
    newest = cpu_records()
    for attempt, stack, records, status in (
        ("20261121T101530Z-a1b2", "local", offline, Status.COMPLETE),
        ("20261122T101530Z-a1b2", "local", newest, Status.COMPLETE),
        ("20261123T101530Z-a1b2", "local", offline, Status.INTERRUPTED),
        ("20261124T101530Z-a1b2", "dev", offline, Status.COMPLETE),
    ):
        path = project / "results" / "runs" / "77aa00bb11cc-1" / attempt
        stamps = {**CPU_STAMPS, "stack": stack, "attempt": attempt}
        folder(path, records, stamps=stamps, status=status, gpu=False)
    pictures = project / "docs" / "pictures"

    def draw(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmark_job.report", "docs/pictures", *arguments],
            cwd=project, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = draw()
    assert done.returncode == 0, done.stderr
    assert "20261122T101530Z-a1b2" in done.stdout
    kinds = ("kernels", "latency", "throughput")
    assert sorted(path.name for path in pictures.iterdir()) == [
        f"{kind}-{theme}.svg" for kind in kinds for theme in ("dark", "light")
    ]
    shown = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"docs/pictures/([^\"]+)", shown)) <= {path.name for path in pictures.iterdir()}
    assert "77.7" not in (pictures / "throughput-light.svg").read_text()
    # Results of another kind: what isn't measured any more is no picture any more.
    assert draw("--stack", "dev").returncode == 0
    assert "77.7" in (pictures / "throughput-light.svg").read_text()
    assert sorted(path.name for path in pictures.iterdir()) == ["throughput-dark.svg", "throughput-light.svg"]
    assert draw("--stack", "prod").returncode == 1
    assert draw("--stack", "prodd").returncode == 2


# -- what Pulumi's AWS provider is told --------------------------------------------------------------------------------

ON_ECS = "- {surface: ecs, account: '123456789012', tier: t4, regions: [us-west-2, us-east-1]}"


@pytest.mark.parametrize(
    ("config", "environment", "told"),
    [
        ("gpubench:ladder: [{surface: local}]\nother:ladder: [{surface: ecs, region: us-east-1}]", {}, ""),
        (f"gpubench:ladder:\n- surface: local\n{ON_ECS}\n- {{surface: ecs, region: eu-west-1}}", {}, "us-west-2"),
        ("gpubench:ladder:\n- {surface: ecs, region: eu-west-1}", {"AWS_REGION": ""}, "eu-west-1"),
        (f"gpubench:ladder:\n{ON_ECS}", {"AWS_REGION": "eu-central-1"}, "eu-central-1"),
        (f"gpubench:ladder:\n{ON_ECS}", {"AWS_DEFAULT_REGION": "eu-central-1"}, ""),
        (f"aws:region: eu-west-1\ngpubench:ladder:\n{ON_ECS}", {}, ""),
        (f"gpubench:token: {{secure: AAAA}}\ngpubench:ladder:\n{ON_ECS}", {}, "us-west-2"),
        ("gpubench:ladder: {surface: ecs, region: us-east-1}", {}, ""),
        ("gpubench:ladder: [ecs, {surface: ecs, region: 1}, {surface: ecs, regions: []}]", {}, ""),
        ("gpubench:ladder: [", {}, ""),
    ],
)
def test_the_cli_is_told_a_region_of_aws_where_nobody_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, environment: dict[str, str], told: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.aws.yaml").write_text(f"config:\n{textwrap.indent(config, '  ')}\n")
    program = _program(
        tmp_path / "pulumi",
        f"""echo "$1 $AWS_REGION" >> "{tmp_path}/log"\n[ "$1 $2" != "stack ls" ] || echo '[{{"name": "aws"}}]'\n""",
    )
    before = dict(os.environ)
    with (tmp_path / "said").open("w") as said:
        PulumiCli(str(program), tmp_path, "aws", said).preview()
    assert (tmp_path / "log").read_text().splitlines() == [f"stack {told}", f"preview {told}"]
    assert dict(os.environ) == before, "it is the CLI's alone"


@pytest.mark.parametrize("stack", STACKS)
def test_plain_pulumi_up_starts_aws_s_provider_for_each_stack_here(stack: str) -> None:
    assert aws_region(ROOT, stack) is None, f"Pulumi.{stack}.yaml has rungs on ecs and no aws:region"


# -- what destroy ends first -------------------------------------------------------------------------------------------


@dataclass
class Cloud:
    """A surface and an engine at once, which write down what they are asked. ``fails``: what can't be done."""

    UPLOADS: ClassVar[bool] = False
    fails: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def sweep(self, attempt: Attempt) -> None:
        self.asked.append(f"sweep {attempt.id}")
        if "sweep" in self.fails:
            raise SurfaceError("a machine is left: i-0123")

    def held(self, attempt: Attempt, rung: Rung) -> Held:
        self.asked.append(f"held {rung.tier}")
        return Held(usd=1.5, zone="us-central1-a")

    def cancel(self) -> bool:
        self.asked.append("cancel")
        return True

    def destroy(self) -> Result:
        self.asked.append("destroy")
        if "destroy" in self.fails:
            raise EngineError("it is in use")
        return Result()


@dataclass
class Stack:
    """A stack on surface gce, whose attempt is under way."""

    root: Path
    cloud: Cloud = field(default_factory=Cloud)

    def __post_init__(self) -> None:
        shutil.copy(ROOT / "Pulumi.yaml", self.root)
        self.configure()

    def configure(self, more: str = "") -> None:
        ladder = "[{surface: gce, project: my-project, region: us-central1, tiers: [h100, l4]}]"
        text = f"config:\n  gpubench:ladder: {ladder}\n  gpubench:results: {self.root}/results\n{more}"
        (self.root / "Pulumi.test.yaml").write_text(text)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.root / "results", "test")

    def begin(self, surface: str = "gce", rung: str = "gce/my-project/us-central1/l4/on-demand/g2-standard-4") -> None:
        begun = datetime(2026, 11, 21, tzinfo=UTC)
        self.ledger.begin(Attempt("a1", "test", "job", rung, "l4", "us-central1", begun, surface=surface))

    def destroy(self) -> int:
        return cli.main(["destroy", "--stack", "test"])

    def stop(self) -> int:
        return cli.main(["stop", "--stack", "test"])


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    made = Stack(tmp_path)
    monkeypatch.setattr(cli, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(cli, "_announced_engine", lambda _options: made.cloud)
    monkeypatch.setattr(components, "load", lambda _surface, _rung: made.cloud)
    return made


def test_destroy_ends_what_is_under_way_first(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.begin()
    assert stack.destroy() == 0
    assert stack.cloud.asked == ["sweep a1", "held l4", "destroy"]
    (attempt,) = stack.ledger.attempts()
    assert (attempt.outcome, attempt.cause, attempt.usd) == (Outcome.STOPPED, Cause.INTERRUPTED, 1.5)
    assert attempt.failure is not None and "destroyed" in attempt.failure.text
    said = capsys.readouterr()
    assert said.out.startswith("gpubench: attempt a1 on gce/my-project/us-central1/l4") and not said.err
    assert stack.destroy() == 0
    assert stack.cloud.asked[3:] == ["destroy"], "what has ended is left alone"


@pytest.mark.parametrize(("fails", "code"), [(("sweep",), 0), (("sweep", "destroy"), 1), (("destroy",), 1)])
def test_destroy_is_tried_though_a_machine_can_t_be_taken_away(
    stack: Stack, capsys: pytest.CaptureFixture[str], fails: tuple[str, ...], code: int
) -> None:
    stack.begin()
    stack.cloud.fails = fails
    assert stack.destroy() == code
    assert [one.partition(" ")[0] for one in stack.cloud.asked if "held" not in one] == ["sweep", "destroy"]
    assert ("a machine is left: i-0123" in capsys.readouterr().err) == ("sweep" in fails)
    assert (stack.ledger.open_attempt() is None) == ("sweep" not in fails), "the next walk looks at it again"


def test_mistakes_in_the_settings_keep_no_machine(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.begin()
    stack.configure("  gpubench:budgett: {usd: 5}\n")
    assert stack.destroy() == 0
    assert stack.cloud.asked == ["sweep a1", "destroy"]
    assert "budgett" in capsys.readouterr().err


def test_a_ledger_that_can_t_be_read_keeps_nobody_from_destroying(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    (stack.root / "results").write_text("a file where a folder should be")
    assert stack.destroy() == 0
    assert stack.cloud.asked == ["destroy"]
    assert "the stack is destroyed all the same" in capsys.readouterr().err


@pytest.mark.parametrize(("surface", "rung"), [("local", "local/any"), ("gke", "gke/p/us-central1/l4/spot/g2")])
def test_destroy_leaves_alone_what_is_no_cloud_s(stack: Stack, surface: str, rung: str) -> None:
    stack.begin(surface, rung)
    assert stack.destroy() == 0
    assert stack.cloud.asked == ["destroy"]


def test_destroy_leaves_a_run_to_the_update_that_waits_for_it(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.begin()
    lock = stack.root / "results" / "runs" / "0123abcd-1" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        held.write("test")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        assert stack.destroy() == 1
    assert stack.cloud.asked == []
    assert "gpubench stop --stack test" in capsys.readouterr().err


# -- stop --------------------------------------------------------------------------------------------------------------


def test_stop_ends_an_attempt_on_a_cloud_that_no_process_here_has(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.begin()
    assert stack.stop() == 0
    assert stack.cloud.asked == ["sweep a1", "held l4"]
    (attempt,) = stack.ledger.attempts()
    assert (attempt.outcome, attempt.cause, attempt.usd) == (Outcome.STOPPED, Cause.INTERRUPTED, 1.5)
    assert "Stopped attempt a1." in capsys.readouterr().out
    assert stack.stop() == 0
    assert len(stack.cloud.asked) == 2, "what has ended is left alone"
    assert capsys.readouterr().out == "No run of stack test is under way here.\n"


def test_a_machine_that_stop_can_t_take_away_is_an_error(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.begin()
    stack.cloud.fails = ("sweep",)
    assert stack.stop() == 1
    said = capsys.readouterr()
    assert "a machine is left: i-0123" in said.err and "Stopped" not in said.out
    assert stack.ledger.open_attempt() is not None, "the next walk looks at it again"


def test_stop_with_mistakes_in_the_settings(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.begin()
    stack.configure("  gpubench:budgett: {usd: 5}\n")
    assert (stack.stop(), stack.cloud.asked) == (0, ["sweep a1"])
    assert "budgett" in capsys.readouterr().err


def test_stop_does_not_call_an_unread_ledger_empty(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    (stack.root / "results").write_text("a file where a folder should be")
    assert (stack.stop(), stack.cloud.asked) == (1, [])
    assert "can't be listed" in capsys.readouterr().err


def test_stop_leaves_a_run_of_this_machine_to_its_update(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.begin()
    lock = stack.root / "results" / "runs" / "0123abcd-1" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        held.write("test")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        assert (stack.stop(), stack.cloud.asked) == (0, [])
    assert (lock.parent / "stop").exists()
    assert capsys.readouterr().out == "Stopping 0123abcd-1\n"


def test_a_store_is_named_as_the_stack_names_it(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_store_url", lambda _stack: "s3://my-gpubench/aws")
    root = stack.root / ".gpubench" / "stores" / "s3" / "my-gpubench" / "aws"
    with pytest.raises(EngineError, match="stack test has no results in s3://my-gpubench/aws yet"):
        cli._runs_of(root, "test", {})


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """The one by which signals are one wish or two."""

    now: float = 100.0

    def wait(self) -> None:
        self.now += interrupts.TOGETHER_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(interrupts, "monotonic", lambda: made.now)
    return made


def test_the_second_wish_to_end_ends_at_once_and_a_signal_that_comes_twice_is_one(clock: Clock, tmp_path: Path) -> None:
    def ends_at_once(number: int) -> bool:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            return True
        return False

    cloud = Cloud()
    before = signal.getsignal(signal.SIGTERM)
    with cli._ending_runs(tmp_path, "test", cast(Engine, cloud)) as came:
        assert [ends_at_once(number) for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT)] == [False] * 3
        assert (cloud.asked, len(came)) == (["cancel"], 1)
        # A run that begins now is ended, too.
        lock = tmp_path / "runs" / "0123abcd-1" / "lock"
        lock.parent.mkdir(parents=True)
        with lock.open("w") as held:
            held.write("test")
            held.flush()
            fcntl.flock(held, fcntl.LOCK_EX)
            wait_for((lock.parent / "stop").exists, "the stop file")
        clock.wait()
        assert ends_at_once(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


class Interruptions:
    """A stand-in for the Pulumi CLI, whose previews fail at so many interrupts, or end well after 10 s."""

    def __init__(self, root: Path, ends_at: int) -> None:
        shutil.copy(ROOT / "Pulumi.yaml", root)
        (root / "Pulumi.test.yaml").write_text("config:\n  gpubench:ladder: [{surface: local}]\n")
        self.ready, self._told, self._root = root / "ready", root / "told", root
        self._told.touch()
        self._program = _program(
            root / "pulumi",
            f"""[ "$1 $2" != "stack ls" ] || {{ echo '[{{"name": "test"}}]'; exit; }}
trap 'echo >> "{self._told}"' INT
touch "{self.ready}"
for i in 0 1 2 3 4 5 6 7 8 9; do for j in 0 1 2 3 4 5 6 7 8 9; do
    [ $(wc -l < "{self._told}") -lt {ends_at} ] || exit 1
    sleep 0.1
done; done
""",
        )

    @property
    def told(self) -> int:
        return len(self._told.read_text())

    def preview(self) -> None:
        with (self._root / "said").open("w") as said:
            PulumiCli(str(self._program), self._root, "test", said).preview()


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The interrupts that came to ourselves: no test is ended by one."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_that_comes_twice_at_once_is_passed_on_once(clock: Clock, tmp_path: Path, heard: list[int]) -> None:
    cli_ = Interruptions(tmp_path, ends_at=2)

    def interrupt() -> int:
        wait_for(cli_.ready.exists, "the start of the preview")
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: cli_.told == 1, "the first interrupt")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.4)
        after_both = cli_.told
        clock.wait()
        os.kill(os.getpid(), signal.SIGINT)
        return after_both

    with ThreadPoolExecutor() as pool:
        after_both = pool.submit(interrupt)
        with pytest.raises(EngineError, match="pulumi preview --stack test failed"):
            cli_.preview()
        assert after_both.result() == 1
    assert heard == [signal.SIGTERM, signal.SIGINT]


def test_an_interrupt_while_the_cli_is_being_started_is_passed_on(
    tmp_path: Path, heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli_ = Interruptions(tmp_path, ends_at=1)

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **options: Any) -> None:
            super().__init__(command, **options)
            if "preview" in command:
                wait_for(cli_.ready.exists, "the start of the preview")
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(EngineError, match="pulumi preview --stack test failed"):
        cli_.preview()
    assert (heard, cli_.told) == ([signal.SIGINT], 1)


def _copy(parent: Path) -> Path:
    """The project's sources, for tests that write into them."""
    project = parent / "gpubench"
    ignore = shutil.ignore_patterns(".git", ".venv", ".gpubench", "results", "tests", "docs", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, project, ignore=ignore)
    return project
