"""A copy of the project in which `gpubench up` can start from nothing again and again, away from the real stacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import results_folder
from benchmarks.side_by_side import PROJECT_ROOT
from results_folder import Status

ENGINES = ("embedded", "pulumi")
_STACK = "scratch"
_STACK_FILE = """config:
  gpubench:ladder:
    - surface: local
      tier: cpu
  gpubench:benchmark:
    workload: [resnet50, kernels]
    profile: smoke
"""
# What the stack file comes to on the workload's own command line (benchmark_job.order); the results are compared.
_WORKLOAD_ARGUMENTS = ("--benchmarks", "resnet50,kernels", "--profile", "smoke", "--device", "cpu", "--seed", "0")
_LEFT_OUT = (".git", ".venv", ".gpubench", "results", "*_cache", ".hypothesis")


class ScratchProject:
    """The copy, and the two commands that are compared in it."""

    def __init__(self, folder: Path, engine: str) -> None:
        self._folder = folder
        self._project = folder / "gpubench"
        self._engine = engine
        self._direct_results = folder / "direct"
        self._measured: dict[str, dict[str, object]] = {}
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "GPUBENCH_"))}
        self.env |= {
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_HOME": str(folder / "pulumi-home"),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        shutil.copytree(PROJECT_ROOT, self._project, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
        (self._project / ".venv").symlink_to(sys.prefix)
        _make_repository(self._project)

    @property
    def cwd(self) -> Path:
        return self._project

    def up_command(self) -> list[str]:
        """`gpubench up` with no state, no results and no stack: all of that is removed first."""
        for name in (".gpubench", "results"):
            shutil.rmtree(self._project / name, ignore_errors=True)
        shutil.rmtree(self._folder / "backend", ignore_errors=True)
        (self._folder / "backend").mkdir()
        (self._project / f"Pulumi.{_STACK}.yaml").write_text(_STACK_FILE)
        return [str(self._project / "gpubench"), "up", "--stack", _STACK, "--engine", self._engine]

    def workload_command(self) -> list[str]:
        """The same work without gpubench, into a folder that doesn't exist yet."""
        shutil.rmtree(self._direct_results, ignore_errors=True)
        python = str(self._project / ".venv" / "bin" / "python")
        return [python, "-u", "-m", "workload", "--results", str(self._direct_results), *_WORKLOAD_ARGUMENTS]

    def check_up(self) -> None:
        """Raises SystemExit unless the last `up` left exactly one complete run and a report."""
        found = sorted((self._project / "results" / "runs").glob(f"*/*/{results_folder.MANIFEST}"))
        if len(found) != 1 or not (self._project / "results" / "reports" / _STACK / "report.html").is_file():
            sys.exit(f"gpubench up left {len(found)} manifests, or no report")
        self._check(found[0].parent, "gpubench up")

    def check_workload(self) -> None:
        """Raises SystemExit unless the last direct run left complete results of the same work."""
        self._check(self._direct_results, "python -m workload")

    def _check(self, folder: Path, side: str) -> None:
        manifest = results_folder.read_manifest(folder)
        problems = results_folder.verify(folder)
        if manifest is None or manifest["status"] != Status.COMPLETE or problems:
            sys.exit(f"{folder}: not the results of a complete run: {problems or manifest}")
        described = json.loads((folder / results_folder.RESULTS_JSON).read_text())["workload"]
        self._measured[side] = {key: described[key] for key in ("profile", "benchmarks", "options", "weights")}
        if len({json.dumps(measured, sort_keys=True) for measured in self._measured.values()}) > 1:
            sys.exit(f"the two sides didn't measure the same: {self._measured}")


@contextmanager
def scratch_project(engine: str) -> Iterator[ScratchProject]:
    """A copy of the project's files for as long as the block lasts. `engine`: one of ENGINES."""
    if engine == "pulumi" and shutil.which("pulumi") is None:
        sys.exit("the Pulumi CLI isn't on the PATH; without --engine pulumi the embedded engine is measured")
    with tempfile.TemporaryDirectory(prefix="gpubench-benchmark-") as folder:
        yield ScratchProject(Path(folder), engine)


def failed(command: Sequence[str], code: int, output: str) -> None:
    """Ends the benchmark: a side that doesn't work has no figure."""
    sys.exit(f"{' '.join(command)}: exit code {code}\n{output}")


def _make_repository(project: Path) -> None:
    """A commit of the copy: `up` asks git for the commit, and that takes time, too."""
    if shutil.which("git") is None:
        return
    who = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost", "-c", "commit.gpgsign=false"]
    for arguments in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*who, "commit", "--quiet", "--no-verify", "--message", "scratch"],
    ):
        subprocess.run(["git", "-C", str(project), *arguments], check=True)
