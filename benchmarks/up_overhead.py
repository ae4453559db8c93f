"""How long `gpubench up` takes, on a machine where nothing was run before, against the workload on its own.

Both measure the same (profile smoke). `up` reads the stack's config, runs the program on an engine, carries out the run
under its supervisor, and writes the report.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.scratch_project import ENGINES, ScratchProject, failed, scratch_project
from benchmarks.side_by_side import Compare, Goal, Side, parser, run

GOAL = Goal("at most 2 s more than the workload on its own", Compare.DIFFERENCE, 2.0, "s")


def seconds(project: ScratchProject, command: Sequence[str]) -> float:
    """Wall-clock seconds of a command in the copy."""
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=project.cwd,
        env=project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    taken = time.perf_counter() - start
    if done.returncode != 0:
        failed(command, done.returncode, done.stdout)
    return taken


def main() -> int:
    """0 if the goal is met."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--engine", choices=ENGINES, default="embedded", help="which engine runs `up`")
    options = arguments.parse_args()
    with scratch_project(options.engine) as project:

        def up() -> float:
            taken = seconds(project, project.up_command())
            project.check_up()
            return taken

        def workload() -> float:
            taken = seconds(project, project.workload_command())
            project.check_workload()
            return taken

        met = run(
            f"gpubench up, {options.engine} engine",
            GOAL,
            Side("gpubench up", "s", up),
            Side("python -m workload", "s", workload),
            pairs=options.pairs or (2 if options.quick else 8),
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
