"""Surface `local`, as the program and the run's provider use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pulumi

import results_folder
from benchmark_job.order import PROJECT_ROOT, RunOrder
from components.interface import Attempt, Control, SurfaceError
from components.local import containers
from components.local.machine import LocalMachine, LocalMachineArgs
from placement.ladder import Rung

_POLL_S = 0.2
_REPEAT_PROGRESS_S = 15.0

# A run gets what it needs to find its libraries and its GPU, and nothing else: no cloud credentials, no passphrase.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
_PASSED_ON_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "KMP_", "TORCH", "XDG_", "BUILDAH_", "STORAGE_", "DOCKER_")


def resolve_image(image: str) -> str:
    """See `components.interface.Surface`."""
    return containers.find(image).resolve(image)


def declare(name: str, rung: Rung, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
    """See `components.interface.Surface`."""
    return LocalMachine(name, LocalMachineArgs(rung=rung.id, tier=rung.tier), opts)


def execute(order: RunOrder, attempt: Attempt, control: Control) -> None:
    """Start a supervisor for the attempt and report its progress until it ends.

    The supervisor is a process of its own so that the run has a master which outlives a killed engine for just long enough to
    end the run and seal what was measured. It knows that we live by the pipe on its standard input.
    """
    results = attempt.folder
    if order.image is not None:
        tool = containers.find(order.image)
        argv, cleanup = tool.command(order.image, order.argv, results, [*order.env, *attempt.secrets], order.run)
        base = dict(os.environ)
        results_in_run = "/results"
    else:
        argv, cleanup = [sys.executable, "-u", "-m", "workload", "--results", str(results), *order.argv], []
        base = _passed_on(os.environ)
        results_in_run = str(results)
    env = {
        **base,
        **order.env,
        **attempt.secrets,
        "GPUBENCH_RESULTS": results_in_run,
        "GPUBENCH_STAMPS": json.dumps({**order.stamps, "attempt": results.name}),
    }
    task = {
        "argv": argv,
        "cleanup": cleanup,
        "cwd": str(PROJECT_ROOT),
        "env": env,
        "results": str(results),
        "log": str(attempt.log),
        "stop": str(attempt.stop),
        "not_before": time.time(),
        "timeout_s": order.timeout_s,
        "stamps": {**order.stamps, "attempt": results.name},
        "secrets": sorted(attempt.secrets.values(), key=len, reverse=True),
    }
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "components.local.supervisor"],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=[attempt.lock],
        start_new_session=True,  # a Ctrl-C in the terminal reaches the run by the stop file, in order
    )
    assert supervisor.stdin is not None
    supervisor.stdin.write(json.dumps(task).encode() + b"\n")
    supervisor.stdin.flush()
    _follow(supervisor, results, control)
    if supervisor.returncode != 0:
        raise SurfaceError(
            f"the run's supervisor ended with {supervisor.returncode} and left no manifest; see {attempt.log}. "
            "Is the disk full?"
        )


def _follow(supervisor: subprocess.Popen[bytes], results: Path, control: Control) -> None:
    """Say how far the run is, at each new step and from time to time; close the lifeline when our engine is gone."""
    said: tuple[object, object] | None = None
    said_at = time.monotonic()
    while supervisor.poll() is None:
        if control.engine_is_gone() and supervisor.stdin is not None and not supervisor.stdin.closed:
            supervisor.stdin.close()
        progress = results_folder.read_progress(results)
        if progress is not None:
            step = (progress.get("step"), progress.get("done"))
            if step != said or time.monotonic() - said_at > _REPEAT_PROGRESS_S:
                control.say(progress_line(progress))
                said, said_at = step, time.monotonic()
        time.sleep(_POLL_S)


def progress_line(progress: Mapping[str, object]) -> str:
    """What runs, how far it is, and the estimated rest."""
    done, total, rest = progress.get("done"), progress.get("total"), progress.get("remaining_s")
    line = f"[{done}/{total}] {progress.get('step')}"
    if isinstance(rest, int | float):
        line += f", about {rest:.0f} s to go"
    return line


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
