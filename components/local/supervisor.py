"""The master of one local run: starts it, watches it, ends it, and always leaves a sealed folder.

    python -m components.local.supervisor < task.json

A process of its own, standard library only. Its standard input is a lifeline: the task comes as the first line, and
the end of the stream means that who ordered the run is dead. Then, at a stop file and at the time-out the run is ended (SIGTERM,
after a grace SIGKILL, with all its descendants), what it measured is sealed, and the supervisor ends. It inherits the run's lock
and so keeps it until the folder is sealed.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import results_folder
from results_folder import Cause, ResultsFolder, Status

GRACE_S = 12.0  # the contract gives a container 10 s after SIGTERM
_POLL_S = 0.1
_RESERVE = 256 * 1024  # bytes set aside, so that a run that fills the disk can still be sealed
_LOG_LIMIT = 64 * 1024 * 1024  # bytes of log kept; a run that prints without end must not fill the disk
_TAIL = 40  # lines of log that a failure quotes

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True)
class Task:
    """What to run. Times in seconds; `not_before` is the Unix time before which a stop file is an old one."""

    argv: list[str]
    cleanup: list[str]
    cwd: str
    env: dict[str, str]
    results: str
    log: str
    stop: str
    not_before: float
    timeout_s: float
    stamps: dict[str, Any]
    secrets: list[str]


class Log:
    """The run's log: what it prints, with secrets blotted out, up to a limit. Never fails: a full disk must not stop a run."""

    def __init__(self, path: Path, secrets: list[str]) -> None:
        self._file = path.open("ab", buffering=0)
        self._secrets = [secret.encode() for secret in secrets if secret]
        self._written = 0
        self.tail: list[str] = []
        self.disk_full = False

    def pump(self, stream: IO[bytes]) -> None:
        """Copy the stream line by line until it ends."""
        for line in iter(lambda: stream.readline(65536), b""):
            for secret in self._secrets:
                line = line.replace(secret, b"[secret]")
            self.tail = [*self.tail[1 - _TAIL :], line.decode(errors="replace").rstrip()]
            if self._written < _LOG_LIMIT:
                self._written += len(line)
                try:
                    self._file.write(line)
                    if self._written >= _LOG_LIMIT:
                        self._file.write(b"[the rest of the log is left out: 64 MiB are enough]\n")
                except OSError:
                    self.disk_full = True


def main() -> int:
    """Run the task on standard input; 0 once its folder is sealed."""
    task = Task(**json.loads(_first_line()))
    started_at = datetime.now(UTC)
    _become_subreaper()
    results = ResultsFolder(Path(task.results), task.stamps)
    with suppress(OSError):
        results.reserve(_RESERVE)
    log = Log(Path(task.log), task.secrets)
    try:
        child = _start(task)
    except OSError as error:
        cause = Cause("bad-request", "error", f"{task.argv[0]}: {error.strerror}", "check the command and the PATH")
        results.seal(Status.FAILED, exit_code=127, started_at=started_at, cause=cause, made_by="wrapper")
        return 0
    assert child.stdout is not None
    pump = threading.Thread(target=log.pump, args=(child.stdout,), daemon=True)
    pump.start()
    reason = _wait(child, task)
    _end(child)
    _run_cleanup(task.cleanup)
    pump.join(timeout=5)
    return 0 if _seal(results, task, log, child.returncode, reason, started_at) else 1


def _first_line() -> bytes:
    """The task. Read unbuffered, so that nothing of the lifeline is swallowed."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            break
        line += piece
    return line


def _lifeline_is_cut(wait_s: float) -> bool:
    """Whether our master's end of standard input is closed; waits for that, or for this long."""
    readable, _, _ = select.select([0], [], [], wait_s)
    return bool(readable) and not os.read(0, 65536)


def _start(task: Task) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def die_with_supervisor() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(
        task.argv,
        cwd=task.cwd,
        env=task.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # Safe here: there are no threads yet, and the function calls nothing but prctl.
        preexec_fn=die_with_supervisor,
    )


def _wait(child: subprocess.Popen[bytes], task: Task) -> str | None:
    """Until the child ends; or the reason for which it has to."""
    deadline = time.monotonic() + task.timeout_s
    while child.poll() is None:
        if _lifeline_is_cut(_POLL_S):
            return "engine"
        if time.monotonic() > deadline:
            return "time-out"
        with suppress(OSError):
            if os.stat(task.stop).st_mtime >= task.not_before:
                return "stop"
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started: first kindly, after the grace for good."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    # Descendants that made sessions of their own became our children when their parents died.
    for pid in _children():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _children() -> list[int]:
    """Our child processes, theirs included (Linux; elsewhere the process group has to do)."""
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        pid = pending.pop()
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                children = [int(text) for text in task.read_text().split()]
                found += children
                pending += children
    return found


def _run_cleanup(command: list[str]) -> None:
    if command:
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def _seal(
    results: ResultsFolder, task: Task, log: Log, exit_code: int, reason: str | None, started_at: datetime
) -> bool:
    """Seal the folder, unless the run did so itself and was right about how it ended."""
    own = None
    with suppress(results_folder.ManifestError):
        own = results_folder.read_manifest(results.path)
    if own is not None and reason != "time-out" and (own["status"] != Status.COMPLETE or exit_code == 0):
        return True
    status, cause = _verdict(task, log, exit_code, reason)
    attempts: list[Callable[[], None]] = [lambda: None, lambda: Path(task.log).write_bytes(b"")]
    for make_room in attempts:
        # On a full disk even the reserve can be gone (it was never granted): the log gives way to the manifest.
        try:
            make_room()
            results.seal(status, exit_code=exit_code, started_at=started_at, cause=cause, made_by="wrapper")
            return True
        except OSError as error:
            print(f"{task.results}: can't be sealed: {error}", file=sys.stderr)
    return False


def _verdict(task: Task, log: Log, exit_code: int, reason: str | None) -> tuple[Status, Cause | None]:
    last = "\n".join(log.tail)
    if reason == "time-out":
        text = f"still running after {task.timeout_s:.0f} s"
        mend = "raise benchmark.timeout_minutes, or measure less (profile, scenarios, batch_sizes)"
        return Status.FAILED, Cause("workload", "time-out", text, mend)
    if reason is not None:
        text = {"stop": "stopped on request", "engine": "the engine that ordered the run is gone"}[reason]
        return Status.INTERRUPTED, Cause("interrupted", "signal", text, "run `gpubench up` again")
    if exit_code == 0:
        if any(entry.name != results_folder.RESERVE for entry in Path(task.results).iterdir()):
            return Status.COMPLETE, None
        text = f"it ended well and left no file in {task.env['GPUBENCH_RESULTS']}\n{last}"
        return Status.FAILED, Cause("workload", "error", text, "write the results into the folder that GPUBENCH_RESULTS names")
    if log.disk_full or "No space left on device" in last:
        return Status.FAILED, Cause("workload", "disk-full", last, "free space in the results store, or write less there")
    if exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL) and _out_of_memory():
        mend = "measure smaller batch sizes, or take a machine with more memory"
        return Status.FAILED, Cause("workload", "out-of-memory", last or "killed by the kernel", mend)
    if exit_code < 0:
        text = f"killed by signal {signal.Signals(-exit_code).name}\n{last}"
        return Status.FAILED, Cause("workload", "signal", text, f"see the log: {task.log}")
    text = f"exit code {exit_code}\n{last}"
    return Status.FAILED, Cause("workload", "exit-code", text, f"see the log: {task.log}")


def _out_of_memory() -> bool:
    """Whether the kernel has killed one of this control group's processes for memory (cgroup v2's own count)."""
    try:
        group = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip()
        events = Path(f"/sys/fs/cgroup{group}/memory.events").read_text()
    except OSError:
        return False
    return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in events.splitlines())


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


if __name__ == "__main__":
    sys.exit(main())
