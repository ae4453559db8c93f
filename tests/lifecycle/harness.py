"""Drives a copy of the project, or the probe program, with either engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import results_folder

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PASSPHRASE = "correct horse battery staple"
STACK = "test"

_PARTS = ("benchmark_job", "catalog", "components", "engine", "placement", "settings")
_FILES = ("__main__.py", "cli.py", "doctor.py", "object_store.py", "results_folder.py", "requirements-workload.txt")


@dataclass
class Project:
    """A project folder with a stack of its own, run by one engine."""

    root: Path
    engine: str
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def copy(cls, root: Path, engine: str) -> Project:
        """gpubench itself, with the stand-in in the workload's place."""
        root.mkdir()
        ignore = shutil.ignore_patterns("__pycache__")
        for part in _PARTS:
            shutil.copytree(ROOT / part, root / part, ignore=ignore)
        for file in _FILES:
            shutil.copy(ROOT / file, root / file)
        shutil.copytree(HERE / "standin", root / "workload", ignore=ignore)
        return cls._made(root, engine, (ROOT / "Pulumi.yaml").read_text())

    @classmethod
    def probe(cls, root: Path, engine: str) -> Project:
        """The probe program: a dynamic resource that can do anything a test wants."""
        shutil.copytree(HERE / "probe", root, ignore=shutil.ignore_patterns("__pycache__"))
        return cls._made(root, engine, "name: gpubench\nruntime:\n  name: python\n  options: {virtualenv: .venv}\n")

    @classmethod
    def _made(cls, root: Path, engine: str, project_file: str) -> Project:
        (root / "Pulumi.yaml").write_text(project_file)
        (root / ".venv").symlink_to(sys.prefix)
        backend = root.parent / f"{root.name}-backend"
        backend.mkdir()
        environment = {
            "PULUMI_BACKEND_URL": f"file://{backend}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_HOME": str(root.parent / f"{root.name}-home"),
            "PYTHONPATH": f"{root}{os.pathsep}{ROOT}",
        }
        project = cls(root, engine, environment)
        project.configure()
        return project

    def configure(self, **settings: Any) -> None:
        """Write the stack's file; keys without a namespace are gpubench's. A salt in it stays."""
        path = self.root / f"Pulumi.{STACK}.yaml"
        old = yaml.safe_load(path.read_text()) if path.exists() else {}
        settings.setdefault("ladder", [{"surface": "local"}])
        settings.setdefault("benchmark", {"workload": ["kernels"], "profile": "smoke", "timeout_minutes": 1})
        config = {f"gpubench:{key}": value for key, value in settings.items()}
        path.write_text(yaml.safe_dump({**old, "config": config}))

    def control(self, **instructions: Any) -> None:
        """Tell the stand-in what to do."""
        (self.root / "control.json").write_text(json.dumps(instructions))

    def run(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """One gpubench command; its output, with errors in it, is in `stdout`."""
        done = subprocess.run(
            self._command(*arguments), cwd=self.root, env=self._env(environment), text=True, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, in the background."""
        return subprocess.Popen(
            self._command(*arguments), cwd=self.root, env=self._env({}), text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def up(self, **options: Any) -> str:
        return str(self.run("up", **options).stdout)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, as its state has them; secrets in clear."""
        stack = next(one for one in self.resources() if one["type"] == "pulumi:pulumi:Stack")
        return dict(stack.get("outputs") or {})

    def state_text(self, *, secrets: bool = False) -> str:
        """The state as it is on the disk (all of the backend's files), or exported with its secrets in clear."""
        if self.engine == "embedded":
            files = sorted((self.root / ".gpubench" / "state").glob("*"))
        else:
            files = sorted(Path(self.environment["PULUMI_BACKEND_URL"].removeprefix("file://")).rglob("*.json*"))
        return "\n".join(file.read_text() for file in files)

    def resources(self) -> list[dict[str, Any]]:
        """The resources in the state."""
        if self.engine == "embedded":
            file = self.root / ".gpubench" / "state" / f"{STACK}.json"
            text = file.read_text() if file.exists() else '{"deployment": {}}'
        else:
            text = self.pulumi("stack", "export", "--stack", STACK)
        return list(json.loads(text)["deployment"].get("resources") or [])

    def pending(self) -> list[dict[str, Any]]:
        """The pending operations in the state."""
        if self.engine == "embedded":
            text = (self.root / ".gpubench" / "state" / f"{STACK}.json").read_text()
        else:
            text = self.pulumi("stack", "export", "--stack", STACK)
        return list(json.loads(text)["deployment"].get("pending_operations") or [])

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        """A command of the real CLI, which has to work (or to fail); what it printed on its standard output."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"], cwd=self.root, env=self._env({}), text=True, timeout=120,
            capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout

    def executions(self) -> list[str]:
        """The runs that the stand-in was started for, in order."""
        log = self.root / "executions.log"
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []

    def execution_pids(self) -> list[int]:
        """The stand-ins' process ids."""
        log = self.root / "executions.log"
        return [int(line.split()[2]) for line in log.read_text().splitlines()] if log.exists() else []

    def attempts(self, run: str = "*") -> list[Path]:
        """The attempts' folders, oldest first."""
        return sorted(
            (path for path in (self.root / "results").glob(f"runs/{run}/*") if path.is_dir()),
            key=lambda path: path.name,
        )

    def complete(self) -> list[Path]:
        """Those of them that are whole and complete."""
        return [
            path
            for path in self.attempts()
            if not results_folder.verify(path) and (results_folder.read_manifest(path) or {})["status"] == "complete"
        ]

    def _command(self, *arguments: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "cli",
            arguments[0],
            "--stack",
            STACK,
            *self._engine_flag(arguments[0]),
            *arguments[1:],
        ]

    def _engine_flag(self, command: str) -> list[str]:
        return ["--engine", self.engine] if command in ("up", "preview", "destroy", "doctor") else []

    def _env(self, more: dict[str, str]) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "GPUBENCH_"))}
        return {name: value for name, value in {**clean, **self.environment, **more}.items() if value}


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Until the condition holds; fails with `what` if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process lives (a zombie doesn't)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
