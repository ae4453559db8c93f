"""The command line: what each command says and with which code it ends, in processes of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert (done.returncode, done.stdout) == (0, "No run is under way here.\n")


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config: [", "isn't valid YAML"),
        ("config:\n  gpubench:ladder: []\n", "gpubench:ladder"),
        ("config:\n  gpubench:ladder: [{surface: local}]\n  gpubench:results: gs://bucket\n", "only a folder works"),
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


@pytest.mark.parametrize("found", ["Python 3.10.2", "Python 3.14.0"])
def test_an_unsuitable_python_is_refused_in_one_line(tmp_path: Path, found: str) -> None:
    old = tmp_path / "python3"
    old.write_text(f'#!/bin/sh\n[ "$1" = -V ] && echo "{found}" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "install", tmp_path / "venv", ROOT / "requirements.txt"],
        env={"PATH": os.environ["PATH"], "PYTHON": str(old)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"needs Python 3.11, 3.12 or 3.13, and {old} is {found}" in done.stderr


def _copy(folder: Path) -> Path:
    """The project's sources, for tests that write into them."""
    project = folder / "gpubench"
    ignore = shutil.ignore_patterns(".git", ".venv", ".gpubench", "results", "tests", "docs", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, project, ignore=ignore)
    return project
