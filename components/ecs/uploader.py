"""What works beside the benchmark's container in an ECS task: uploads what it measures, and seals it when it has ended.

    uploader.py

A container of its own in the same task, with the volume of the results; the task ends when it ends. So the benchmark's
image needs no SDK. It takes Python 3.11 or later with boto3, and components/{uploads,run_log,redaction}.py and
results_folder.py beside it. It is told by its environment:

    GPUBENCH_RUN, GPUBENCH_ATTEMPT, GPUBENCH_STAMPS (JSON; the benchmark's container has the same)
    GPUBENCH_RESULTS_URL (s3://bucket/prefix), GPUBENCH_REGION (the bucket's)
    GPUBENCH_TIMEOUT_S (of the benchmark's run, from its start), GPUBENCH_UPLOAD_S (between two uploads)
    GPUBENCH_SECRET_1, … (what must not be shown)
    GPUBENCH_RESULTS (the volume: /results), GPUBENCH_DATA (its own files: /tmp/gpubench)

What the benchmark prints goes to CloudWatch Logs, and no container sees another one's output: so it is read from there,
and comes home with the results.

`$GPUBENCH_DATA/ready` is there when anyone may write to the volume and the first object is in the bucket: the benchmark
may begin. Exit codes: 0 uploaded, however the run went; 2 its environment is wrong; 4 not uploaded.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import results_folder
from components.redaction import Redactor
from components.run_log import RESERVE, Log
from components.uploads import (
    GRACE_S,
    GROWING,
    LOG,
    Create,
    Denied,
    Pusher,
    Refused,
    Told,
    Unreachable,
    Uploads,
    deliver,
    open_body,
    open_regular,
    own_cause,
    progress,
    say,
    say_failed,
    seal,
    sealed_itself,
    tidy,
    upload_failure,
    verdict,
    when_granted,
)
from results_folder import Cause, ResultsFolder, Status

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.exceptions import ClientError

BENCHMARK = "benchmark"  # the container's name in the task definition

PAUSE_S = float(os.environ.get("GPUBENCH_PAUSE_MS", "2000")) / 1000  # the first pause between two tries
POLL_S = min(1.0, PAUSE_S)
# IAM's changes come to hold some time later, and nobody says when; a role is as a rule older than the task.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
GRANT_S = float(os.environ.get("GPUBENCH_GRANT_S", "120"))
BEGIN_S = 60.0
FLUSH_S = 900.0  # how long the last upload may be tried
# Of the 120 s that a task has from SIGTERM to SIGKILL (stopTimeout; Fargate has no more). A call may hang for CALL_S.
NOTICE_S = 90.0
UPLOAD_S = 45.0  # of these, what is left for the upload
START_S = float(os.environ.get("GPUBENCH_START_S", "2400"))  # for the pull of the benchmark's image, with its queue
CALL_S = 20.0  # without a byte
# Of a container that has ended: how long CloudWatch Logs must have had nothing new, and how long it is asked at most.
# What it printed is sent when it ends; how soon it can be read, nobody says.
QUIET_S, PRINTED_S = 2.5 * PAUSE_S, 10 * PAUSE_S
COPY_S = 30.0  # for the copy of a folder that is still being written to
NO_SPACE = 1024 * 1024  # a disk with less than this is full

LARGEST = 5 * 2**30  # bytes of one object: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html

UPLOADED, WRONG, NOT_UPLOADED = 0, 2, 4  # exit codes

UPLOAD_MEND = "let the task's role create objects under the results' prefix: s3:PutObject"
DISK_MEND = "take a larger volume (gpubench:aws: {volume_gb: N}), or write less"
TOLD = "the task was told to stop"


@dataclass(frozen=True)
class Orders:
    """What the environment says."""

    bucket: str
    prefix: str
    region: str | None
    run: str
    attempt: str
    stamps: dict[str, Any]
    timeout_s: float
    upload_s: float
    secrets: list[str]
    results: Path
    data: Path
    task_url: str


def read_orders(environment: Mapping[str, str]) -> Orders:
    """Raises ValueError, with the variable's name, for what is missing or can't be read."""

    def value(name: str, default: str | None = None) -> str:
        found = environment.get(name) or default
        if found is None:
            raise ValueError(f"{name} isn't set")
        return found

    def number(name: str, default: str | None = None) -> float:
        text = value(name, default)
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{name}: {text!r} is no number of seconds") from None

    url = value("GPUBENCH_RESULTS_URL")
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise ValueError(f"GPUBENCH_RESULTS_URL: {url!r} is no s3://bucket/prefix")
    stamps = json.loads(value("GPUBENCH_STAMPS", "{}"))
    if not isinstance(stamps, dict):
        raise ValueError("GPUBENCH_STAMPS isn't a JSON object")
    run, attempt = value("GPUBENCH_RUN"), value("GPUBENCH_ATTEMPT")
    return Orders(
        bucket=bucket,
        prefix="/".join(part for part in (prefix.strip("/"), "runs", run, attempt) if part),
        region=environment.get("GPUBENCH_REGION") or None,
        run=run,
        attempt=attempt,
        stamps=stamps,
        timeout_s=number("GPUBENCH_TIMEOUT_S"),
        upload_s=number("GPUBENCH_UPLOAD_S", "15"),
        secrets=sorted(text for name, text in environment.items() if name.startswith("GPUBENCH_SECRET_") and text),
        results=Path(value("GPUBENCH_RESULTS", "/results")),
        data=Path(value("GPUBENCH_DATA", "/tmp/gpubench")),  # noqa: S108 (the container's own)
        task_url=value("ECS_CONTAINER_METADATA_URI_V4") + "/task",
    )


# --- the task ---------------------------------------------------------------------------------------------------------

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the agent's address is behind nobody's proxy


@dataclass(frozen=True)
class Stream:
    """A log stream of CloudWatch Logs."""

    region: str
    group: str
    name: str


@dataclass(frozen=True)
class Seen:
    """What the agent says of the task: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/
    task-metadata-endpoint-v4-response.html. ``exit_code`` None: it has not begun, or not ended. ``printed``: where in
    CloudWatch Logs the benchmark's output goes; None: it isn't known yet, or goes elsewhere.
    """

    task: str = ""
    zone: str = ""
    to_stop: bool = False
    stopped: bool = False
    exit_code: int | None = None
    started_at: datetime.datetime | None = None
    printed: Stream | None = None


def look(url: str) -> Seen | None:
    """None where the agent gives no usable answer: it may be restarting."""
    try:
        with _opener.open(url, timeout=5) as response:
            said = json.loads(response.read())
        own: dict[str, Any] = next((one for one in said.get("Containers") or [] if one.get("Name") == BENCHMARK), {})
        code = own.get("ExitCode")
        return Seen(
            task=str(said.get("TaskARN") or "").rpartition("/")[2],
            zone=str(said.get("AvailabilityZone") or ""),
            to_stop=said.get("DesiredStatus") == "STOPPED",
            stopped=own.get("KnownStatus") == "STOPPED",
            exit_code=code if isinstance(code, int) else None,
            started_at=_moment(own.get("StartedAt")),
            printed=_stream(own.get("LogOptions") or {}),
        )
    except (OSError, ValueError, AttributeError):
        return None


def _moment(text: Any) -> datetime.datetime | None:
    with contextlib.suppress(TypeError, ValueError):
        found = datetime.datetime.fromisoformat(text)
        return found if found.tzinfo else None
    return None


def _stream(options: Mapping[str, Any]) -> Stream | None:
    found = [str(options.get(f"awslogs-{key}") or "") for key in ("region", "group", "stream")]
    return Stream(*found) if all(found) else None


# --- what the benchmark prints ----------------------------------------------------------------------------------------


class Printed(threading.Thread):
    """Copies what the benchmark prints into the run's log, as it comes. That it can't be read fails no run."""

    def __init__(self, log: Log, where: Callable[[], Stream | None], every_s: float) -> None:
        super().__init__(daemon=True)
        self._log, self._where, self._every_s = log, where, every_s
        self._ended, self._closed, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._client: Any = None
        self._token, self._taken, self._skipped = "", 0, 0
        self._why, self._denied_at = "", 0.0

    def run(self) -> None:
        while not self._ended.wait(self._every_s):
            self._read()
        until, quiet_since = time.monotonic() + PRINTED_S, time.monotonic()
        while not self._closed.is_set() and time.monotonic() < until:
            if self._read():
                quiet_since = time.monotonic()
            if time.monotonic() - quiet_since >= QUIET_S:
                break
            self._closed.wait(POLL_S)

    def end(self, within_s: float) -> None:
        """The benchmark prints no more: read the rest of it. Nothing comes into the log after this has returned."""
        self._ended.set()
        self.join(max(0.0, within_s))
        with self._lock:  # one that still hangs comes too late
            self._closed.set()
            self._log.flush()
            if self._why:
                self._log.keep(f"gpubench: what the benchmark prints can't be read: {self._why}\n".encode())

    def _read(self) -> bool:
        """Whether anything new has come."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        stream = self._where()
        if stream is None or (self._denied_at and time.monotonic() > self._denied_at + GRANT_S):
            return False
        found = False
        try:
            while not self._closed.is_set():
                before = self._token
                found = self._take(self._page(stream)) or found
                self._why, self._denied_at = "", 0.0
                if self._token == before:  # and nothing else says that this is the end
                    break
        except ClientError as error:
            self._heed(error)
        except (BotoCoreError, ResponseParserError) as error:
            self._why = str(error)  # the next time, or there is none
        return found

    def _heed(self, error: ClientError) -> None:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == _NO_STREAM:  # the container hasn't begun
            return
        self._why = str(error)
        if code.startswith("AccessDenied"):
            self._denied_at = self._denied_at or time.monotonic()  # a grant of a moment ago may not hold yet
        elif code == _EXPIRED and self._token:
            self._token, self._skipped = "", self._taken  # it holds for a day; so it is read anew from the beginning

    def _take(self, lines: list[str]) -> bool:
        """Add what is new; whether there is anything."""
        seen = min(self._skipped, len(lines))
        self._skipped -= seen
        new = lines[seen:]
        self._taken += len(new)
        # A line that the log driver had to split is one again: neither a secret nor a record of JSON has a break in it.
        data = "".join(line if _is_split(line) else f"{line}\n" for line in new).encode(errors="replace")
        with self._lock:
            if new and not self._closed.is_set():
                self._log.feed(data)
        return bool(new)

    def _page(self, stream: Stream) -> list[str]:
        """The lines that follow those that were read; none: there are none yet."""
        if self._client is None:
            import boto3

            self._client = boto3.client("logs", region_name=stream.region, config=_config())
        more = {"nextToken": self._token} if self._token else {}
        said = self._client.get_log_events(
            logGroupName=stream.group, logStreamName=stream.name, startFromHead=True, **more
        )
        self._token = said.get("nextForwardToken") or self._token
        return [str(one.get("message", "")).removesuffix("\n") for one in said.get("events") or []]


def _is_split(line: str) -> bool:
    """Whether an event is so long that it is a piece of a line: https://github.com/moby/moby/issues/41794 (docker), and
    https://github.com/aws/shim-loggers-for-containerd/issues/239 (Fargate).
    """
    size = len(line.encode(errors="replace"))
    return size == 16 * 1024 or size >= 262_118


_NO_STREAM, _EXPIRED = "ResourceNotFoundException", "InvalidParameterException"


# --- the bucket -------------------------------------------------------------------------------------------------------


def creating(orders: Orders) -> Create:
    """Makes objects of the attempt's, as the task's role, which can do nothing else: each is asked for with
    `If-None-Match: *`, so that none is ever overwritten.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    # Where the bucket is in another region than we were told, botocore follows S3's redirection.
    client = boto3.client("s3", region_name=orders.region, config=_config())

    def create(name: str, body: Path | bytes, until: float) -> bool:
        pause, repeated = PAUSE_S, False
        while True:
            try:
                with open_body(body) as file:
                    client.put_object(Bucket=orders.bucket, Key=f"{orders.prefix}/{name}", Body=file, IfNoneMatch="*")
                return False
            except ClientError as error:
                status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                code = str(error.response.get("Error", {}).get("Code", ""))
                if status == 412:
                    return not repeated  # it is there; to a repeated request, that is one whose answer was lost
                # 409 is S3's word for another request for the same object that is under way.
                passes = status >= 500 or status in (408, 409, 429) or code in _PASSING
                if not passes:
                    raise (Denied if status == 403 else Refused)(str(error)) from None
                words = str(error)
            except BotoCoreError as error:
                words = str(error)
            if time.monotonic() + pause > until:
                raise Unreachable(words)
            time.sleep(pause)
            pause, repeated = min(2 * pause, 30.0), True

    return create


def _config() -> Config:
    """One try: the tries are counted here, and each is told of."""
    from botocore.config import Config

    return Config(connect_timeout=CALL_S, read_timeout=CALL_S, retries={"total_max_attempts": 1})


_PASSING = ("ExpiredToken", "RequestTimeout", "SlowDown", "RequestTimeTooSkewed")


# --- the run ----------------------------------------------------------------------------------------------------------


class Uploader:
    """One run, from the start of its container to its last object."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.told = Told(signal.SIGTERM, signal.SIGINT)
        self._redactor = Redactor(orders.secrets)
        self._uploads = Uploads(
            orders.run, orders.data / "runs" / orders.run, creating(orders), folder=orders.results, largest=LARGEST
        )
        self._seen = Seen()
        self._began = datetime.datetime.now(datetime.UTC)

    def run(self) -> int:
        say(f"phase run {self.orders.run}")
        results = ResultsFolder(self.orders.results, {})
        with contextlib.suppress(OSError):  # a volume of somebody else's
            results.path.chmod(0o777)  # an image may have a user of its own, and that one has to write here
        with contextlib.suppress(OSError):
            results.reserve(RESERVE)
        if not self._begin():
            return NOT_UPLOADED
        log = Log(self._uploads.log, self.orders.secrets)
        printed = Printed(log, lambda: self._seen.printed, self.orders.upload_s)
        pusher = Pusher(self._uploads, self.orders.upload_s)
        printed.start()
        pusher.start()
        reason = self._wait(pusher)
        printed.end(min(PRINTED_S, max(0.0, self._until() - time.monotonic() - UPLOAD_S)))
        pusher.end()
        return self._end(reason, pusher.refusal, log)

    def _begin(self) -> bool:
        """Upload the log's first line: where results can't be brought home, nothing need be waited for."""
        self._look()
        where = ", ".join(text for text in (self._seen.task and f"task {self._seen.task}", self._seen.zone) if text)
        self._uploads.log.write_text(f"gpubench: attempt {self.orders.attempt}: {where}\n")
        try:
            when_granted(
                "upload",
                lambda: self._uploads.push(LOG, time.monotonic() + BEGIN_S),
                self.told.wait,
                grant_s=GRANT_S,
                pause_s=PAUSE_S,
            )
        except (Refused, Unreachable) as error:
            say_failed(upload_failure(error, UPLOAD_MEND))
            return False
        (self.orders.data / "ready").touch()
        return True

    def _look(self) -> None:
        self._seen = look(self.orders.task_url) or self._seen
        if self._seen.to_stop:  # we are told only when the other container has ended; the time that is left runs by now
            self.told.set()

    def _wait(self, pusher: Pusher) -> str | None:
        """Until the benchmark's container has ended; or the reason for which it has to, or has had to."""
        said: Any = None
        began = time.monotonic()
        started: float | None = None
        while True:
            self._look()
            if self._seen.stopped:
                break
            now = time.monotonic()
            if started is None and self._seen.started_at is not None:
                started = now
            if self.told.is_set():
                return self._last_grace()
            if started is not None and now > started + self.orders.timeout_s:
                return "time-out"
            if started is None and now > began + START_S:
                return "not-started"
            if pusher.refusal:
                return "refused"  # what it measures could not come home
            text = progress(self.orders.results)
            if text is not None and text != said:
                say(f"progress {self._redactor.text(text)}")
                said = text
            self.told.wait(POLL_S)
        if self._seen.exit_code != 0 and not self.told.is_set():
            self.told.wait(2 * POLL_S)  # of a task that is stopped, the other container may hear first
            self._look()
        if self.told.is_set():
            return "stop"
        return "not-started" if self._seen.exit_code is None else None

    def _last_grace(self) -> str:
        """The container has the time of the results contract to end by itself."""
        until = time.monotonic() + GRACE_S
        while not self._seen.stopped and time.monotonic() < until:
            time.sleep(POLL_S)
            self._look()
        return "stop"

    def _end(self, reason: str | None, refusal: str, log: Log) -> int:
        folder = self.orders.results
        if not self._seen.stopped:
            until = time.monotonic() + COPY_S
            folder = self._uploads.folder = copied(folder, self.orders.data, log, until)
        tidy(folder, log)
        exit_code = self._seen.exit_code
        if exit_code is None:
            exit_code = 143 if reason == "stop" else 1
        results = ResultsFolder(folder, self.orders.stamps)
        if sealed_itself(results, self.orders.stamps, exit_code, reason, self._redactor):
            results.release()
            if (own := own_cause(folder)) is not None:
                say_failed(own)
        else:
            results.stamps = {**self._facts(), **self.orders.stamps}
            status, cause = self._verdict(folder, exit_code, reason, refusal if reason == "refused" else log.tail)
            if not seal(results, self._uploads.log, status, exit_code, cause, self._seen.started_at or self._began):
                return NOT_UPLOADED
        say("phase upload")
        try:
            deliver(self._uploads, self._until())
        except (Refused, Unreachable, OSError) as error:
            say_failed(upload_failure(error, UPLOAD_MEND))
            return NOT_UPLOADED
        return UPLOADED

    def _facts(self) -> dict[str, Any]:
        """Stamps that only the task knows."""
        facts = {"attempt": self.orders.attempt, "task": self._seen.task, "zone": self._seen.zone}
        return {key: value for key, value in facts.items() if value}

    def _until(self) -> float:
        """When (monotonic) the last upload has to be through."""
        return self.told.at + NOTICE_S if self.told.is_set() else time.monotonic() + FLUSH_S

    def _verdict(self, folder: Path, exit_code: int, reason: str | None, last: str) -> tuple[Status, Cause | None]:
        """``last``: what refused the uploads, or the end of what the benchmark printed."""
        if reason == "not-started":
            text = "the benchmark's container has ended without an exit code: it was never started"
            if not self._seen.stopped:
                text = f"the benchmark's container has not started for {START_S:g} s"
            mend = "ECS says why: aws ecs describe-tasks, containers[].reason"
            return Status.FAILED, Cause("unknown", "not-started", text, mend)
        # How it was killed the agent doesn't say: nobody but the kernel, for the container's memory, and ECS itself,
        # when a task is stopped, sends SIGKILL.
        killed = exit_code == 137
        return verdict(
            f"killed by SIGKILL (exit code 137)\n{last}".strip() if killed and reason is None else last,
            exit_code,
            reason,
            folder,
            timeout_s=self.orders.timeout_s,
            disk_full=shutil.disk_usage(folder).free < NO_SPACE,
            killed_for_memory=killed,
            told=TOLD,
            upload_mend=UPLOAD_MEND,
            disk_mend=DISK_MEND,
        )


def copied(source: Path, data: Path, log: Log, until: float) -> Path:
    """A copy, below ``data``, of a folder as it is now: what still runs may write on, and a manifest has to fit what is
    uploaded.

    The measurements come first, then the small files; what there is no space or time for (``until``, monotonic) is left
    out, and the log says so.
    """
    target = Path(tempfile.mkdtemp(prefix="copy-", dir=data))
    found: list[tuple[bool, int, Path]] = []
    for parent, _, names in os.walk(str(source)):
        for path in (Path(parent) / name for name in names):
            with contextlib.suppress(OSError):
                name = path.relative_to(source).as_posix()
                if name != results_folder.RESERVE:
                    found.append((name not in GROWING, path.lstat().st_size, path))
    for _, left, path in sorted(found):
        into = target / path.relative_to(source)
        try:
            with open_regular(path) as file:
                into.parent.mkdir(parents=True, exist_ok=True)
                with into.open("wb") as copy:
                    # No further than it was: it may grow on.
                    while left > 0 and (piece := file.read(min(left, 1 << 20))):
                        if time.monotonic() > until:
                            raise TimeoutError("no time")
                        left -= copy.write(piece)  # noqa: PLW2901
        except OSError as error:
            into.unlink(missing_ok=True)
            if not path.is_symlink():
                log.keep(f"gpubench: {str(into.relative_to(target))!a} is left out: {error}\n".encode())
    return target


def main() -> int:
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # a task has a role of its own
    try:
        orders = read_orders(os.environ)
        orders.data.mkdir(parents=True, exist_ok=True)
        uploader = Uploader(orders)
    except (ValueError, ImportError) as error:
        say_failed(Cause("bad-request", "uploader", f"the uploader can't begin: {error}", ""))
        return WRONG
    try:
        return uploader.run()
    finally:
        say("phase end")


if __name__ == "__main__":
    sys.exit(main())
