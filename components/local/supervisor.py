"""The master of one local run: starts it, watches it, ends it, and always leaves a sealed folder.

    python -m components.local.supervisor < task.json

A process of its own, standard library only. Its standard input is a lifeline: the task comes as the first line, and
the end of the stream means that who ordered the run is dead. Then, at a stop file, at a signal of its own and at the
time-out the run is ended (SIGTERM, after a grace SIGKILL, with all its descendants), what it measured is sealed, and
the supervisor ends. It inherits the run's lock and so keeps it until the folder is sealed. What it has to say itself
goes to standard error: the run's log.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import results_folder
from components.redaction import Redactor
from components.run_log import RESERVE, Log, left_files, signal_name
from results_folder import Cause, ResultsFolder, Status

GRACE_S = 12.0  # the contract gives a container 10 s after SIGTERM
_POLL_S = 0.1
_KILL_S = 10.0  # how long to wait for killed processes; one that hangs in a driver's call never goes

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True)
class Task:
    """What to run, and what it reads (`stdin`). Times in seconds; a stop file older than `not_before` is an old one."""

    argv: list[str]
    cleanup: list[str]
    cwd: str
    env: dict[str, str]
    stdin: str
    results: str
    log: str
    stop: str
    not_before: float
    timeout_s: float
    stamps: dict[str, Any]
    secrets: list[str]


def main() -> int:
    """Run the task on standard input; 0 once its folder is sealed."""
    task = Task(**json.loads(_first_line()))
    started_at = datetime.now(UTC)
    told: list[int] = []  # no Event: a second signal would wait without end for the lock that the first one holds
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the machine shuts down, say
        signal.signal(number, lambda number, _: told.append(number))
    _become_subreaper()
    oom_kills = _oom_kills()
    try:
        results = ResultsFolder(Path(task.results), task.stamps)
        log = Log(Path(task.log), task.secrets)
    except OSError as error:
        _say(f"the run can't begin: {error}")
        return 1
    with suppress(OSError):
        results.reserve(RESERVE)
    try:
        child = _start(task)
    except (OSError, ValueError) as error:  # ValueError: a null byte in an argument or a variable
        text = f"{task.argv[0]}: {error.strerror if isinstance(error, OSError) else error}"
        cause = Cause("bad-request", "error", text, "check the command and the PATH")
        _run_cleanup(task.cleanup)
        return 0 if _sealed(results, task, Status.FAILED, 127, cause, started_at) else 1
    assert child.stdout is not None
    pump = threading.Thread(target=log.pump, args=(child.stdout,), daemon=True)
    pump.start()
    reason = _wait(child, task, told)
    _end(child)
    _run_cleanup(task.cleanup)
    pump.join(timeout=5)
    exit_code = -signal.SIGKILL if child.returncode is None else child.returncode
    _remove_impostors(results.path)
    if _sealed_itself(results, task, exit_code, reason):
        results.release()
        return 0
    killed_for_memory = _oom_kills() > oom_kills
    status, cause_or_none = _verdict(task, log, exit_code, reason, killed_for_memory)
    return 0 if _sealed(results, task, status, exit_code, cause_or_none, started_at) else 1


def _say(text: str) -> None:
    with suppress(OSError):  # whoever reads it may be gone, or the disk full: no reason to leave the folder unsealed
        print(f"gpubench: {text}", file=sys.stderr, flush=True)


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
    supervisor = os.getpid()

    def die_with_supervisor() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:  # it was killed before we had asked
                os.kill(os.getpid(), signal.SIGKILL)

    return subprocess.Popen(
        task.argv,
        cwd=task.cwd,
        env=task.env,
        bufsize=0,  # each read gives what is there
        stdin=_input(task.stdin) if task.stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # Safe here: there are no threads yet, and the function only makes system calls.
        preexec_fn=die_with_supervisor,
    )


def _input(text: str) -> int:
    """A file that holds this text and is on no disk (Linux)."""
    descriptor = os.memfd_create("input")
    with os.fdopen(os.dup(descriptor), "w", errors="surrogateescape") as file:
        file.write(text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _wait(child: subprocess.Popen[bytes], task: Task, told: Sequence[int]) -> str | None:
    """Until the child ends; or the reason for which it has to. `told`: the signals that came."""
    deadline = time.monotonic() + task.timeout_s
    while child.poll() is None:
        if _lifeline_is_cut(_POLL_S):
            return "engine"
        if told:
            return "stop"
        if time.monotonic() > deadline:
            return "time-out"
        with suppress(OSError):
            if Path(task.stop).stat().st_mtime >= task.not_before:
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
    # Descendants that made sessions of their own became our children when their parents died. Again and again, because
    # they may start others meanwhile.
    deadline = time.monotonic() + _KILL_S
    while time.monotonic() < deadline:
        ended = child.poll() is not None
        others = _descendants() - {child.pid}
        if ended and not others:
            return
        for pid in others:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    _say("some of the run's processes can't be killed")


def _descendants() -> set[int]:
    """Our child processes and theirs, zombies included (Linux; elsewhere the process group has to do).

    By their parents: /proc/<pid>/task/<tid>/children isn't in every kernel (CONFIG_PROC_CHILDREN).
    """
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # "1234 (a name with ) in it) S 1 ...": state and parent come after the last parenthesis.
            parent = int(path.read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found: set[int] = set()
    pending = [os.getpid()]
    while pending:
        new = set(children.get(pending.pop(), ())) - found
        found |= new
        pending += new
    return found


def _run_cleanup(command: list[str]) -> None:
    if command:
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def _remove_impostors(folder: Path) -> None:
    """Remove a link, pipe or folder with a manifest's or a progress file's name: it would mislead or block readers."""
    for path in (folder / results_folder.MANIFEST, folder / results_folder.PROGRESS):
        with suppress(OSError):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                shutil.rmtree(path)
            elif not stat.S_ISREG(mode):
                path.unlink()


def _sealed_itself(results: ResultsFolder, task: Task, exit_code: int, reason: str | None) -> bool:
    """Whether the run sealed its folder, as this attempt's, whole, and was right about how it ended."""
    try:
        own = results_folder.read_manifest(results.path)
        return (
            own is not None
            and reason != "time-out"
            and (own["status"] != Status.COMPLETE or exit_code == 0)
            # Results without this attempt's stamps satisfy no run, nor does a manifest that is wrong about its files.
            and own.get("stamps") == task.stamps
            # Its message may quote a secret; the end of our log, quoted instead, doesn't.
            and Redactor(task.secrets).text(cause := results_folder.to_json(own.get("cause"))) == cause
            and not results_folder.verify(results.path)
        )
    except (OSError, results_folder.ManifestError):
        return False


def _sealed(
    results: ResultsFolder, task: Task, status: Status, exit_code: int, cause: Cause | None, started_at: datetime
) -> bool:
    """Seal the folder ourselves; whether that worked."""
    for give_up_log in (False, True):
        # On a full disk even the reserve can be gone (it was never granted): the log gives way to the manifest.
        try:
            if give_up_log:
                Path(task.log).write_bytes(b"")
            results.seal(status, exit_code=exit_code, started_at=started_at, cause=cause, made_by="wrapper")
            return True
        except OSError as error:
            _say(f"{task.results} can't be sealed: {error}")
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                return False
    return False


def _verdict(
    task: Task, log: Log, exit_code: int, reason: str | None, killed_for_memory: bool
) -> tuple[Status, Cause | None]:
    """How a run ended that didn't say so itself."""
    last = log.tail
    if reason == "time-out":
        text = f"still running after {task.timeout_s:g} s\n{last}"
        mend = "raise benchmark.timeout_minutes, or measure less (profile, scenarios, batch_sizes)"
        return Status.FAILED, Cause("workload", "time-out", text, mend)
    if reason is not None:
        text = {"stop": "stopped on request", "engine": "the engine that ordered the run is gone"}[reason]
        return Status.INTERRUPTED, Cause("interrupted", "signal", text, "run `gpubench up` again")
    if exit_code == 0:
        if left_files(Path(task.results)):
            return Status.COMPLETE, None
        text = f"it ended well and left no file in its results folder\n{last}"
        mend = "write the results into the folder that GPUBENCH_RESULTS names"
        return Status.FAILED, Cause("workload", "error", text, mend)
    if log.disk_full or "No space left on device" in last:
        text = last or "No space left on device"
        mend = "free space in the results store, or write less there"
        return Status.FAILED, Cause("workload", "disk-full", text, mend)
    if exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL) and killed_for_memory:
        mend = "measure smaller batch sizes, or take a machine with more memory"
        return Status.FAILED, Cause("workload", "out-of-memory", last or "killed by the kernel", mend)
    if exit_code < 0:
        text = f"killed by {signal_name(-exit_code)}\n{last}"
        return Status.FAILED, Cause("workload", "signal", text, f"see the log: {task.log}")
    text = f"exit code {exit_code}\n{last}"
    return Status.FAILED, Cause("workload", "exit-code", text, f"see the log: {task.log}")


def _oom_kills() -> int:
    """How many processes of our control group the kernel has killed for memory so far (cgroup v2's count; else 0)."""
    try:
        group = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip()
        events = Path(f"/sys/fs/cgroup{group}/memory.events").read_text()
        return next(int(line.split()[1]) for line in events.splitlines() if line.startswith("oom_kill "))
    except (OSError, StopIteration):
        return 0


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


if __name__ == "__main__":
    sys.exit(main())
