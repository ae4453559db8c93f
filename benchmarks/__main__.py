"""All benchmarks, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import side_by_side

NAMES = (
    "startup",
    "classifying",
    "choosing",
    "placement",
    "drill",
    "up_overhead",
    "memory",
    "harness",
    "preflight",
    "preflight_aws",
    "ecs_cause",
    "preview",
)


def main() -> int:
    """0 if every goal is met, else 1."""
    options = side_by_side.parser("Runs all benchmarks; exit code 0 if every goal is met.").parse_args()
    missed = []
    for name in NAMES:
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if options.quick else [])]
        if subprocess.run(command, cwd=side_by_side.PROJECT_ROOT, check=False).returncode != 0:
            missed.append(name)
        print(flush=True)
    print(f"goals missed: {', '.join(missed)}" if missed else f"all {len(NAMES)} goals met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
