"""How long a stack's preview takes, against a bare Pulumi program that declares the same cloud resources directly.

The embedded engine previews both programs, each time in a process of its own and without credentials, as for a pull
request. The whole process counts; most of it is the time in which the provider's SDK is loaded, which both need.
"""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.side_by_side import PROJECT_ROOT, Compare, Goal, Side, parser, run

BARE = {stack: PROJECT_ROOT / "benchmarks" / f"bare_{surface}" for stack, surface in (("dev", "gce"), ("aws", "ecs"))}
GOAL = Goal("at most 1.15 times the bare program's time", Compare.FACTOR, 1.15)
_PREVIEW = """
import sys
from pathlib import Path
from engine.embedded.engine import EmbeddedEngine
EmbeddedEngine(Path.cwd(), sys.argv[1], Path(".gpubench", "benchmark")).preview()
"""
_CLOUD_RESOURCE = re.compile(r"^ \+  ((?:gcp|aws):\S+) ", re.MULTILINE)


def preview(project: Path, stack: str) -> tuple[float, collections.Counter[str]]:
    """Wall-clock seconds of a preview's process, and the types of the cloud resources that it shows."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "GPUBENCH_"))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # what is compiled once is loaded in half the time: so for a user, too
    # Without credentials Google's library looks for a metadata server, which on no pull request's machine is one.
    env |= {"PYTHONPATH": str(PROJECT_ROOT), "NO_GCE_CHECK": "true"}
    command = [sys.executable, "-c", _PREVIEW, stack]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{project}: the preview failed\n{done.stdout}{done.stderr}")
    return taken, collections.Counter(_CLOUD_RESOURCE.findall(done.stdout))


def main() -> int:
    """0 if the goal is met."""
    options = parser(__doc__ or "").parse_args()
    met = True
    for stack, bare in BARE.items():
        (_, ours), (_, theirs) = preview(PROJECT_ROOT, stack), preview(bare, stack)
        if ours != theirs or not ours:
            sys.exit(f"the two programs don't declare the same: {ours - theirs} here, {theirs - ours} there")
        print(f"{ours.total()} cloud resources each")
        found = run(
            f"preview of stack {stack}",
            GOAL,
            Side("gpubench", "s", partial(_seconds, PROJECT_ROOT, stack)),
            Side("bare program", "s", partial(_seconds, bare, stack)),
            pairs=options.pairs or (3 if options.quick else 12),
        )
        met = met and found
    return 0 if met else 1


def _seconds(project: Path, stack: str) -> float:
    return preview(project, stack)[0]


if __name__ == "__main__":
    sys.exit(main())
