"""A supervisor by itself, and what its tests ask of processes and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import results_folder

ROOT = Path(__file__).resolve().parents[2]
STAMPS: dict[str, Any] = {"run": "0123456789ab-1", "attempt": "20261121T101530Z-a1b2", "usd_per_hour": 0.0}
SUPERVISOR = [sys.executable, "-m", "components.local.supervisor"]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 15) -> None:
    """Until the condition holds; fails the test, saying what it waited for, if it doesn't within these seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def numbers(path: Path) -> list[int]:
    """The whole lines of a file of numbers; [] if it isn't there."""
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass
class Supervised:
    """One task in a folder of its own."""

    folder: Path
    argv: list[str]
    more: dict[str, Any] = field(default_factory=dict)
    supervisor: list[str] = field(default_factory=lambda: SUPERVISOR)
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def shell(cls, folder: Path, script: str, **more: Any) -> Supervised:
        return cls(folder, ["/bin/sh", "-c", script], more)

    @classmethod
    def python(cls, folder: Path, script: str, **more: Any) -> Supervised:
        return cls(folder, [sys.executable, "-u", "-c", script], more)

    @property
    def results(self) -> Path:
        return self.folder / "attempt"

    @property
    def log(self) -> str:
        return (self.folder / "attempt.log").read_text(errors="replace")

    @property
    def manifest(self) -> dict[str, Any]:
        manifest = results_folder.read_manifest(self.results)
        assert manifest is not None, "the folder isn't sealed"
        return manifest

    def task(self) -> bytes:
        task = {
            "argv": self.argv,
            "cleanup": [],
            "cwd": str(ROOT),
            "env": {
                "PATH": os.environ["PATH"],
                "GPUBENCH_RESULTS": str(self.results),
                "GPUBENCH_STAMPS": json.dumps(STAMPS),
            },
            "stdin": "",
            "results": str(self.results),
            "log": str(self.folder / "attempt.log"),
            "stop": str(self.folder / "stop"),
            "not_before": time.time(),
            "timeout_s": 30,
            "stamps": STAMPS,
            "secrets": [],
        }
        return json.dumps({**task, **self.more}).encode() + b"\n"

    def start(self, lock: int | None = None) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            self.supervisor,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[] if lock is None else [lock],
        )
        assert self.process.stdin is not None
        self.process.stdin.write(self.task())
        self.process.stdin.flush()
        return self.process

    def end(self, code: int = 0) -> dict[str, Any]:
        """Wait for the supervisor; the manifest, whole, of a folder that fits it."""
        assert self.process is not None
        assert self.process.wait(40) == code, self.said()
        assert results_folder.verify(self.results) == []
        assert not (self.results / results_folder.RESERVE).exists()
        return self.manifest

    def said(self) -> str:
        assert self.process is not None
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def run(self) -> dict[str, Any]:
        self.start()
        return self.end()
