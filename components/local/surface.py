"""Surface `local`, as the program and the run's provider use it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pulumi

import catalog
import results_folder
from benchmark_job.order import PROJECT_ROOT, RunOrder
from components.interface import Capacity, Control, Execution, Held, Standings, SurfaceError
from components.local import containers
from components.local.machine import LocalMachine, LocalMachineArgs
from components.redaction import Redactor
from placement.ladder import ANY_TIER, Rung
from placement.ledger import Attempt
from placement.verdicts import CannotSay, Kind, Offers, Preflight, Question
from settings import Settings

_POLL_S = 0.2
_REPEAT_PROGRESS_S = 15.0

# A run gets what it needs to find its libraries and its GPU, and nothing else: no cloud credentials, no passphrase.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
_PASSED_ON_PREFIXES = (
    "LC_",
    "CUDA_",
    "NVIDIA_",
    "OMP_",
    "MKL_",
    "KMP_",
    "TORCH",
    "XDG_",
    "BUILDAH_",
    "STORAGE_",
    "DOCKER_",
)


UPLOADS = False


def check(_settings: Settings) -> None:
    """See `components.interface.Surface`. What this machine can't do shows when it is asked to."""


def resolve_image(image: str) -> str:
    """See `components.interface.Surface`."""
    return containers.find(image).resolve(image)


def declare(name: str, capacity: Capacity, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
    """See `components.interface.Surface`."""
    return LocalMachine(name, LocalMachineArgs(rung=capacity.rung.id, tier=capacity.rung.tier), opts)


def preflight(_stack: str, _settings: Settings) -> Preflight:
    """See `components.interface.Surface`."""
    return _ThisMachine()


def declare_standing(_name: str, _standings: Standings, _opts: pulumi.ResourceOptions) -> None:
    """See `components.interface.Surface`. This machine needs nothing."""


def alive(_attempt: Attempt) -> bool:
    """See `components.interface.Surface`. This machine is there, and a run goes on or begins anew in its own folder."""
    return True


def sweep(_attempt: Attempt) -> None:
    """See `components.interface.Surface`. Nothing was made, and a run's children end with it."""


def held(_attempt: Attempt, _rung: Rung) -> Held:
    """See `components.interface.Surface`. This machine is the user's own, and costs nothing."""
    return Held()


def execute(order: RunOrder, execution: Execution, control: Control) -> None:
    """Start a supervisor for it and report its progress until it ends.

    The supervisor is a process of its own so that the run has a master which outlives a killed engine for just long
    enough to end the run and seal what was measured. It knows that we live by the pipe on its standard input.
    """
    results = execution.folder
    mode = stat.S_IMODE(results.stat().st_mode)
    secrets = sorted(execution.secrets.values())
    stamps = {**order.stamps, "attempt": results.name}
    if (tier := _obtained_tier(order)) is not None:
        stamps["obtained_tier"] = tier
    contract = {"GPUBENCH_RESULTS": str(results), "GPUBENCH_STAMPS": json.dumps(stamps)}
    if order.image is None:
        argv = [sys.executable, "-u", "-m", "workload", "--results", str(results), *order.argv]
        env = {**_passed_on(os.environ), **order.env, **execution.secrets, **contract}
        command = containers.Command(argv=argv, cleanup=[], env=env)
    else:
        contract["GPUBENCH_RESULTS"] = containers.RESULTS_IN_CONTAINER
        tool = containers.find(order.image)
        tool.sweep(order.run, results)
        command = tool.command(
            containers.Spec(
                image=order.image,
                argv=order.argv,
                env={**order.env, **contract},
                secrets=execution.secrets,
                results=results,
                run=order.run,
                gpu=order.tier != "cpu",
            )
        )
        # The tool is the user's own program: it gets the whole environment. Its container gets none of it.
        env = {**os.environ, **command.env}
        results.chmod(0o777)  # an image may have a user of its own, and that one has to write here
    task = {
        "argv": command.argv,
        "cleanup": command.cleanup,
        "cwd": str(PROJECT_ROOT),
        "env": env,
        "stdin": command.stdin,
        "results": str(results),
        "log": str(execution.log),
        "stop": str(execution.stop),
        "not_before": execution.begun,
        "timeout_s": order.timeout_s,
        "stamps": stamps,
        "secrets": secrets,
    }
    with _machine(execution, control) as machine, execution.log.open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "components.local.supervisor"],
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=[execution.lock, machine],
            start_new_session=True,  # a Ctrl-C in the terminal reaches the run by the stop file, in order
        )
        assert supervisor.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it couldn't even start; its exit code says so below
                supervisor.stdin.write(json.dumps(task).encode() + b"\n")
                supervisor.stdin.flush()
            _follow(supervisor, results, control, Redactor(secrets))
        finally:
            with suppress(OSError):
                supervisor.stdin.close()
            with suppress(OSError):
                results.chmod(mode)
    if supervisor.returncode != 0:
        raise SurfaceError(
            f"its supervisor ended with {supervisor.returncode} and could not seal {results}{_said(execution.log)}"
        )


@contextmanager
def _machine(execution: Execution, control: Control) -> Iterator[int]:
    """Hold this machine, so that runs of two stacks don't measure each other; the open file that holds it.

    The supervisor inherits it, and the kernel frees it with its last holder.
    """
    path = Path(tempfile.gettempdir()) / f"gpubench-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        waiting = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    control.say("another run is under way on this machine; waiting for its end, to measure alone")
                    waiting = True
                if execution.is_stopped():
                    raise SurfaceError("it was stopped before it began; run `gpubench up` again") from None
                if control.engine_is_gone():
                    raise SurfaceError("the engine that ordered the run is gone") from None
                time.sleep(_POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _obtained_tier(order: RunOrder) -> str | None:
    """The tier that a run gets here: what its container can't be trusted to say. None: its results have to tell."""
    if order.tier == "cpu" or not containers.has_nvidia_gpu():
        return "cpu"
    tiers = _tiers_here()
    return tiers[0] if tiers else None


def _tiers_here() -> list[str | None]:
    """The tier of each GPU of this machine (None: not in the catalogue), as the driver's own tool names them."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
        rows = [line.rsplit(",", 1) for line in said.splitlines()]
        return [catalog.tier_of_gpu(name.strip(), float(memory) * 2**20 / 1e9) for name, memory in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


class _ThisMachine:
    """What this machine has, as a preflight: a rung that asks for a GPU which isn't here is passed over, not tried."""

    def ask(self, question: Question) -> Offers:
        """See `placement.verdicts.Preflight`. The tiers stand where a cloud has machine types."""
        if question.kind is not Kind.OFFERS:
            raise CannotSay("this machine has no quotas, grants or prices")
        tiers = _tiers_here() if containers.has_nvidia_gpu() else []
        if None in tiers:
            raise CannotSay("this machine has a GPU that is not in the catalogue")
        return Offers(dict.fromkeys((ANY_TIER, "cpu", *(tier for tier in tiers if tier)), ()))


def _follow(supervisor: subprocess.Popen[bytes], results: Path, control: Control, redactor: Redactor) -> None:
    """Say how far the run is, at each new step and from time to time; close the lifeline when our engine is gone."""
    said: tuple[object, object] | None = None
    said_at = time.monotonic()
    while supervisor.poll() is None:
        if control.engine_is_gone() and supervisor.stdin is not None and not supervisor.stdin.closed:
            supervisor.stdin.close()
        # A container may make anything of that name; to open a pipe would be to wait for its writer.
        progress = results_folder.read_progress(results) if (results / results_folder.PROGRESS).is_file() else None
        if progress is not None:
            step = (progress.get("step"), progress.get("done"))
            if step != said or time.monotonic() - said_at > _REPEAT_PROGRESS_S:
                control.say(redactor.text(progress_line(progress)))
                said, said_at = step, time.monotonic()
        time.sleep(_POLL_S)


def progress_line(progress: Mapping[str, object]) -> str:
    """What runs, how far it is, and the estimated rest."""
    done, total, rest = progress.get("done"), progress.get("total"), progress.get("remaining_s")
    line = f"[{done}/{total}] {progress.get('step')}"
    if isinstance(rest, int | float):
        line += f", about {rest:.0f} s to go"
    return line


def _said(log: Path) -> str:
    """What the supervisor itself said last; otherwise where to look."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        for line in reversed(file.read().decode(errors="replace").splitlines()):
            if line.startswith("gpubench: "):
                return f": {line.removeprefix('gpubench: ')}"
    return f"; see {log}"


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
