"""How what a run leaves gets into a bucket, while it lasts and when it has ended. Standard library only.

For what works beside a benchmark's container: the agent of a Compute Engine machine and the uploader of an ECS task.
It travels with them. benchmark_job/bucket.py reads what they put there. On Compute Engine it runs on Python 3.10, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import results_folder
from components.redaction import Redactor
from components.run_log import Log, left_files, signal_name
from results_folder import Cause, ResultsFolder, Status

T = TypeVar("T")
Create = Callable[[str, "Path | bytes", float], bool]
"""Makes an object, below the attempt's own prefix, until a time (monotonic); one that is there already is success.

Whether it was there before it was first asked for: with which bytes, nobody says. (An answer that says so only to a
repeated request is taken for that of the one before.) Raises Refused, Unreachable, and OSError for a file that can't be
read.
"""

AGAIN = "run `gpubench up` again"
LOG = ".log"  # its objects' name, as in benchmark_job/bucket.py; what a container prints
GROWING = (LOG, results_folder.MEASUREMENTS)  # appended to and nothing else, by the results contract
PART = 8 * 1024 * 1024  # bytes of one part of a file that grows
UNSURE = ""  # in place of the sha256 of what is uploaded
NOTHING: list[Any] = [0, 0, 0, hashlib.sha256().hexdigest()]  # the record of a file of which nothing is uploaded yet
GRACE_S = 10  # the results contract gives a container 10 s after SIGTERM


class Refused(Exception):
    """A service said no, and will say so again. The text is its own."""


class Denied(Refused):
    """It lacks a permission; a grant of a moment ago may not hold yet."""


class Unreachable(Exception):
    """Nothing, or nothing usable, was answered in time."""


class Told(threading.Event):
    """Set when one of these signals has come; ``at``: when (monotonic) it was set first, 0: not yet.

    No handler sets it: that runs in the main thread, which may be inside this very event and hold its lock, in `wait`
    or at the signal before, and it would wait for itself for ever.
    """

    def __init__(self, *signals: int) -> None:
        super().__init__()
        self.at = 0.0
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._listen, args=(read,), daemon=True).start()

    def set(self) -> None:
        self.at = self.at or time.monotonic()
        super().set()

    def _listen(self, read: int) -> None:
        os.read(read, 1)
        self.set()


def say(text: str) -> None:
    """A marker for who watches. Whoever reads it may be gone: no reason to stop."""
    with contextlib.suppress(OSError):
        os.write(1, f"gpubench: {text}\n".encode(errors="replace"))


def say_failed(cause: Cause) -> None:
    """The marker of a failure; the original's further lines are indented: none of them can be taken for a marker."""
    first, *rest = cause.message.strip().splitlines() or ["(no text)"]
    say("\n  ".join([f"failed {cause.cause} ({cause.code}): {first}", *rest]))


def when_granted(
    what: str, ask: Callable[[], T], sleep: Callable[[float], object], *, grant_s: float, pause_s: float
) -> T:
    """What is asked, tried on while it is denied, until a grant of a moment ago should hold.

    Raises Refused, then or when the sleep says that it was cut short; Unreachable.
    """
    until, pause = time.monotonic() + grant_s, pause_s
    said = False
    while True:
        try:
            return ask()
        except Denied as error:
            if time.monotonic() > until:
                raise
            if not said:
                first = str(error).partition("\n")[0]
                say(f"the {what} is refused; a new grant may not hold yet, so it is tried for {grant_s:g} s: {first}")
                said = True
            if sleep(pause):
                raise
            pause = min(2 * pause, 4 * pause_s)


# --- what is in the bucket --------------------------------------------------------------------------------------------


class Uploads:
    """What of one run is in the bucket. Its own record is on disk, so that another process can go on with it.

    Objects of a file: `<file>.part-000001`, … in order; or, where a file was changed after some of it was uploaded,
    `<file>.whole`, which then stands for it. The same where what is there may be other bytes than the file's: a reset
    takes the last seconds of our disk, the record's too, and nothing of the bucket.
    """

    def __init__(
        self, run: str, home: Path, create: Create, *, folder: Path | None = None, largest: int | None = None
    ) -> None:
        """home: for the log and the record. folder: the results; `results` below home by default. largest: bytes of the
        largest object that can be made at once; None: any file can.
        """
        self.run = run
        self.home = home
        self.folder = folder or home / "results"
        self.log = self.home / LOG
        self._create = create
        self._largest = largest
        self._lock = threading.RLock()
        self._record = self.home / "uploads.json"
        # File: parts sent, bytes in them, bytes of the part being sent, and the sha256 of all these bytes, or UNSURE.
        self._sent: dict[str, list[Any]] = {}
        self._digests: dict[str, Any] = {}  # of the bytes in the parts that this process has sent, and those before
        self.home.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError, ValueError):
            self._sent = json.loads(self._record.read_text())

    @property
    def ended(self) -> bool:
        return "ended" in self._sent

    def push(self, name: str, until: float) -> None:
        """Upload what a growing file has more by now. Raises Refused, Unreachable."""
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Unreachable(f"{name}: an upload still hangs")
        try:
            while self._push_part(name, until):
                pass
        finally:
            self._lock.release()

    def finish(self, name: str, until: float) -> None:
        """Upload the rest of a file that grows no more, or the whole of one that wasn't begun."""
        path = self._path(name)
        if name not in self._sent and (self._largest is None or path.lstat().st_size <= self._largest):
            is_its_own = not self._create(f"{name}.part-000001", path, until)
        else:
            self.push(name, until)
            is_its_own = self._sent.get(name, NOTHING)[3] == _sha256(path)
        if not is_its_own:
            self._create(f"{name}.whole", path, until)  # what is up there can't be taken back

    def end(self, until: float) -> None:
        """Upload the manifest. Nothing is uploaded of this run afterwards."""
        self._create(results_folder.MANIFEST, self.folder / results_folder.MANIFEST, until)
        self._keep("ended", NOTHING)

    def _path(self, name: str) -> Path:
        return self.log if name == LOG else self.folder / name

    def _push_part(self, name: str, until: float) -> bool:
        parts, done, sending, sha256 = self._sent.get(name, NOTHING)
        try:
            file = open_regular(self._path(name))
        except OSError:
            return False
        with file:
            if (before := self._digests.get(name)) is None:
                before = hashlib.sha256(file.read(done))
                if not sending and before.hexdigest() != sha256:
                    sha256 = UNSURE  # the process before us has sent other bytes
            file.seek(done)
            piece = file.read(sending or PART)  # a part whose fate isn't known is sent again
        if not piece:
            return False
        digest = before.copy()
        digest.update(piece)
        if not sending:
            sha256 = sha256 and digest.hexdigest()
        elif digest.hexdigest() != sha256:
            sha256 = UNSURE  # the file was changed since, and the part may be there as it was, or as it is
        self._keep(name, [parts, done, sending or len(piece), sha256])
        if self._create(f"{name}.part-{parts + 1:06d}", piece, until) and not sending:
            sha256 = UNSURE
        self._digests[name] = digest
        self._keep(name, [parts + 1, done + len(piece), 0, sha256])
        # A short one was all there was. What has come since waits for the next time: else a run that writes without end
        # would have parts without end, each of a few lines.
        return bool(sending) or len(piece) == PART

    def _keep(self, name: str, sent: list[Any]) -> None:
        self._sent[name] = sent
        with contextlib.suppress(OSError):  # a full disk; this process knows it anyhow
            temporary = self._record.with_suffix(".tmp")
            temporary.write_text(json.dumps(self._sent))
            temporary.replace(self._record)


class Pusher(threading.Thread):
    """Uploads what is measured while the run lasts; `refusal`: the words of a service that doesn't take it."""

    def __init__(self, uploads: Uploads, every_s: float) -> None:
        super().__init__(daemon=True)
        self.refusal = ""
        self._uploads = uploads
        self._every_s = every_s
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._every_s) and not self.refusal:
            for name in GROWING:
                try:
                    self._uploads.push(name, time.monotonic() + self._every_s)
                except Refused as error:
                    self.refusal = str(error)
                except Unreachable:
                    pass  # the next time, or at the end

    def end(self) -> None:
        self._done.set()
        self.join(timeout=5)


def open_regular(path: Path) -> IO[bytes]:
    """A regular file. A container may make anything of that name: a link to a file that isn't its own, or a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path}: not a regular file")
    return os.fdopen(descriptor, "rb")


def open_body(body: Path | bytes) -> IO[bytes]:
    """What an object is made of, to be read: a file is sent as it is read, so that a large one needs no memory."""
    return open_regular(body) if isinstance(body, Path) else io.BytesIO(body)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def deliver(uploads: Uploads, until: float) -> None:
    """Upload all of a sealed folder, its manifest last. Raises Refused, Unreachable."""
    manifest = results_folder.read_manifest(uploads.folder)
    assert manifest is not None
    if uploads.log.exists():
        uploads.finish(LOG, until)
    entries = sorted(manifest["files"], key=lambda entry: (entry["path"] not in GROWING, entry["bytes"]))
    for entry in entries:  # the measurements, then the small ones first: a machine on notice may not get to the last
        uploads.finish(entry["path"], until)
    uploads.end(until)


# --- a run's folder ---------------------------------------------------------------------------------------------------


def progress(folder: Path) -> str | None:
    """How far a run says it is: `[3/9] what runs`."""
    try:
        with open_regular(folder / results_folder.PROGRESS) as file:
            said = json.loads(file.read(65536))
        step = str(said["step"]).splitlines()[0]
        return f"[{int(said['done'])}/{int(said['total'])}] {step[:200]}"
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError):
        return None


def tidy(folder: Path, log: Log) -> None:
    """Give way to names that would mislead readers, or that no object can have."""
    for name in (results_folder.MANIFEST, results_folder.PROGRESS):
        path = folder / name
        with contextlib.suppress(OSError):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                shutil.rmtree(str(path))
            elif not stat.S_ISREG(mode):
                path.unlink()
    for parent, _, names in os.walk(str(folder)):
        for name in names:
            path = Path(parent) / name
            fit = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "_", name)
            if path == folder / LOG:
                fit = f"{LOG}.results"  # the log's own objects have that name
            if fit != name:
                with contextlib.suppress(OSError):
                    path.replace(path.with_name(fit))
                log.keep(f"gpubench: {name!a} is kept as {fit!a}\n".encode())


def sealed_itself(
    results: ResultsFolder, stamps: dict[str, Any], exit_code: int, reason: str | None, redactor: Redactor
) -> bool:
    """Whether the run sealed its folder, as this attempt's, whole, and was right about how it ended."""
    try:
        own = results_folder.read_manifest(results.path)
        return (
            own is not None
            and reason in (None, "stop")
            and (own["status"] != Status.COMPLETE or exit_code == 0)
            and own.get("stamps") == stamps
            and redactor.text(cause := results_folder.to_json(own.get("cause"))) == cause
            and not results_folder.verify(results.path)
        )
    except (OSError, results_folder.ManifestError):
        return False


def own_cause(folder: Path) -> Cause | None:
    """The cause in the manifest of a run that sealed its folder itself."""
    cause = (results_folder.read_manifest(folder) or {}).get("cause")
    return Cause(**cause) if isinstance(cause, dict) else None


def verdict(
    last: str,
    exit_code: int,
    reason: str | None,
    folder: Path,
    *,
    timeout_s: float,
    disk_full: bool,
    killed_for_memory: bool,
    told: str,
    upload_mend: str,
    disk_mend: str,
) -> tuple[Status, Cause | None]:
    """How a run ended that didn't say so itself. The words are those of a run on a machine of one's own.

    ``last``: the end of what it printed. ``reason``: why it had to end: `time-out`, `stop` or `refused` (an upload;
    ``last`` is then the refusal); None: it didn't have to. ``told``: why there was a stop. The mends are the cloud's.
    """
    see = "see the run's log"
    if reason == "time-out":
        text = f"still running after {timeout_s:g} s\n{last}"
        mend = "raise benchmark.timeout_minutes, or measure less (profile, scenarios, batch_sizes)"
        return Status.FAILED, Cause("workload", "time-out", text, mend)
    if reason == "stop":
        return Status.INTERRUPTED, Cause("interrupted", "signal", told, AGAIN)
    if reason == "refused":
        return Status.FAILED, upload_failure(Refused(last), upload_mend)
    if exit_code == 0:
        if left_files(folder):
            return Status.COMPLETE, None
        text = f"it ended well and left no file in its results folder\n{last}"
        return Status.FAILED, Cause(
            "workload", "error", text, "write the results into the folder that GPUBENCH_RESULTS names"
        )
    if disk_full:
        return Status.FAILED, Cause("workload", "disk-full", last or "No space left on device", disk_mend)
    if killed_for_memory:
        mend = "measure smaller batch sizes, or take a machine with more memory"
        return Status.FAILED, Cause("workload", "out-of-memory", last or "killed by the kernel", mend)
    if exit_code > 128:
        return Status.FAILED, Cause("workload", "signal", f"killed by {signal_name(exit_code - 128)}\n{last}", see)
    return Status.FAILED, Cause("workload", "exit-code", f"exit code {exit_code}\n{last}", see)


def upload_failure(error: Exception, mend: str) -> Cause:
    """``mend``: of what is refused for good."""
    if isinstance(error, Refused):
        return Cause("permission", "upload", str(error), mend)
    return Cause("transient", "upload", str(error), AGAIN)


def seal(
    results: ResultsFolder, log: Path, status: Status, exit_code: int, cause: Cause | None, started_at: datetime
) -> bool:
    """Seal a run's folder, and say why it failed if it did; False where not even that fits on the disk."""
    if cause is not None:
        say_failed(cause)
    for give_up_log in (False, True):  # on a full disk even the reserve can be gone: the log gives way
        try:
            if give_up_log:
                log.write_bytes(b"")
            results.seal(status, exit_code=exit_code, started_at=started_at, cause=cause, made_by="wrapper")
            break
        except OSError as error:
            if give_up_log:
                say_failed(Cause("workload", "disk-full", f"the results can't be sealed: {error}", ""))
                return False
    return True
