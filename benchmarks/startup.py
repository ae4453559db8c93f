"""How long `gpubench --help` and `gpubench tiers` take, against a Python that does nothing.

Whole processes, from the shell script `gpubench` to the exit: what somebody waits for.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.side_by_side import PROJECT_ROOT, Compare, Goal, Side, parser, run

GOAL = Goal("at most 0.3 s more than python -c pass", Compare.DIFFERENCE, 0.3, "s")


def seconds(command: Sequence[str], expected: str) -> float:
    """Wall-clock seconds of a command. Raises SystemExit if it fails or doesn't print what it should."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode != 0 or expected not in done.stdout:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return taken


def main() -> int:
    """0 if both commands meet the goal."""
    options = parser(__doc__ or "").parse_args()
    nothing = Side("python -c pass", "s", lambda: seconds([sys.executable, "-c", "pass"], ""))
    met = True
    for arguments, expected in ((["--help"], "doctor"), (["tiers"], "h100")):
        name = f"gpubench {' '.join(arguments)}"
        command = [str(PROJECT_ROOT / "gpubench"), *arguments]
        side = Side(name, "s", lambda command=command, expected=expected: seconds(command, expected))  # type: ignore[misc]
        met &= run(name, GOAL, side, nothing, pairs=options.pairs or (5 if options.quick else 25))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
