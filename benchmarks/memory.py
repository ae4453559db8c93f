"""Peak memory of `gpubench up` with all that it starts, against the workload on its own.

Memory is PSS, summed over the process tree, sampled from /proc/<pid>/smaps_rollup: a page that several processes share
(libraries, what a fork left alone) is divided among them, so that the sum counts it once, as the machine does. A sum of
RSS would count it once a process. Beside it: the largest PSS that gpubench's own processes, all but the workload's, had
at any one moment. Linux only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scratch_project import ENGINES, ScratchProject, failed, scratch_project
from benchmarks.side_by_side import Compare, Goal, Side, parser, run

GOAL = Goal("at most 150 MB more than the workload on its own", Compare.DIFFERENCE, 150.0, "MB")
_INTERVAL_S = 0.03
"""Between two samples. Reading the workload's 0.9 GB of mappings takes the kernel a few ms."""


@dataclass(frozen=True)
class Peak:
    """The largest sums over one command's samples, in MB (10^6 bytes)."""

    tree: float
    besides_workload: float
    processes: int
    samples: int


def watch(project: ScratchProject, command: Sequence[str]) -> Peak:
    """Run a command in the copy and sample its processes until it ends."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, cwd=project.cwd, env=project.env, stdout=output, stderr=output)
        tree = besides = 0.0
        most = samples = 0
        workload: set[int] = set()
        while child.poll() is None:
            pids = _tree(child.pid)
            # Remembered: a process that ends between two reads has no command line any more.
            workload |= {pid for pid in pids if _is_workload(pid)}
            found = {pid: _pss_mb(pid) for pid in pids}
            tree = max(tree, sum(found.values()))
            besides = max(besides, sum(value for pid, value in found.items() if pid not in workload))
            most = max(most, len(found))
            samples += 1
            time.sleep(_INTERVAL_S)
        if child.returncode != 0:
            output.seek(0)
            failed(command, child.returncode, output.read().decode(errors="replace"))
    return Peak(tree, besides, most, samples)


def _tree(root: int) -> list[int]:
    """The process and its descendants. Those that end meanwhile are left out."""
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                pending += [int(text) for text in task.read_text().split()]
    return found


def _pss_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _is_workload(pid: int) -> bool:
    with suppress(OSError):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"workload" in arguments and b"-m" in arguments
    return False


def main() -> int:
    """0 if the goal is met."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--engine", choices=ENGINES, default="embedded", help="which engine runs `up`")
    options = arguments.parse_args()
    if not Path("/proc/self/smaps_rollup").is_file():
        sys.exit("memory is read from /proc/<pid>/smaps_rollup, which this system doesn't have")
    peaks: list[Peak] = []
    with scratch_project(options.engine) as project:

        def up() -> float:
            peaks.append(watch(project, project.up_command()))
            project.check_up()
            return peaks[-1].tree

        def workload() -> float:
            peak = watch(project, project.workload_command())
            project.check_workload()
            return peak.tree

        met = run(
            f"memory of gpubench up, {options.engine} engine",
            GOAL,
            Side("gpubench up", "MB", up),
            Side("python -m workload", "MB", workload),
            pairs=options.pairs or (2 if options.quick else 6),
            warm_up=1,
        )
    own = max(peak.besides_workload for peak in peaks)
    print(
        f"  gpubench's own processes, all but the workload's: at most {own:.0f} MB at a moment; at most "
        f"{max(peak.processes for peak in peaks)} processes in all; at least "
        f"{min(peak.samples for peak in peaks)} samples a run"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
