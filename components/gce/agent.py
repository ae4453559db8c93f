"""What works beside the benchmark's container on a Compute Engine machine; boot.sh starts it.

    agent.py watch | begin | run RUN | reason | fail CAUSE CODE MEND < TEXT

Standard library only, beside results_folder.py and components/{uploads,run_log,redaction}.py, which travel with it in
the instance's metadata. The rest of the metadata is in files of $GPUBENCH_STATE, a folder in memory; results, logs and
what of them is uploaded already are in $GPUBENCH_DATA, on disk. docs/gce-machine.md tells the whole.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import enum
import functools
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple


def _be_python_3_11() -> None:
    """results_folder.py is written for Python 3.11; Ubuntu 22.04 has 3.10. These three are all that it lacks there."""
    if not hasattr(datetime, "UTC"):
        setattr(datetime, "UTC", datetime.timezone.utc)  # noqa: B010, UP017
    if not hasattr(enum, "StrEnum"):

        class StrEnum(str, enum.Enum):  # noqa: UP042
            __str__ = str.__str__

        setattr(enum, "StrEnum", StrEnum)  # noqa: B010
    if not hasattr(hashlib, "file_digest"):

        def file_digest(file: IO[bytes], name: str) -> Any:
            digest = hashlib.new(name)
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
            return digest

        setattr(hashlib, "file_digest", file_digest)  # noqa: B010


_be_python_3_11()

from components.redaction import Redactor  # noqa: E402
from components.run_log import RESERVE, Log  # noqa: E402
from components.uploads import (  # noqa: E402
    AGAIN,
    GRACE_S,
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
from results_folder import Cause, ResultsFolder, Status  # noqa: E402

METADATA = os.environ.get("GPUBENCH_METADATA", "http://metadata.google.internal") + "/computeMetadata/v1/"
STORAGE = os.environ.get("GPUBENCH_STORAGE", "https://storage.googleapis.com")
SECRETS = os.environ.get("GPUBENCH_SECRETS", "https://secretmanager.googleapis.com")
STATE = Path(os.environ.get("GPUBENCH_STATE", "/run/gpubench"))
DATA = Path(os.environ.get("GPUBENCH_DATA", "/var/lib/gpubench"))
PAUSE_S = float(os.environ.get("GPUBENCH_PAUSE_MS", "5000")) / 1000  # the first pause between two tries
POLL_S = min(2.0, PAUSE_S)

NOTICE_S = 25.0  # of the 30 s that a preempted machine has; the rest is the machine's own end
NOTICE_GRACE_S = 7
FLUSH_S = 900.0  # how long the last upload may be tried
BEGIN_S = 60.0
GRANT_S = float(os.environ.get("GPUBENCH_GRANT_S", "300"))  # until a grant that was made a moment ago holds; boot.sh
CALL_S = 20.0  # without a byte

SHM = "2g"  # as on a machine of one's own: PyTorch's loaders share tensors through /dev/shm

DONE, ENDED, NOT_UPLOADED = 0, 3, 4  # exit codes of `run`

UPLOAD_MEND = "let the machine's account create objects under the results' prefix: roles/storage.objectCreator"


# --- Google's services ------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    status: int
    text: str
    etag: str


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # none of them is behind anybody's proxy


def call(method: str, url: str, headers: dict[str, str], body: Any = None, timeout: float = CALL_S) -> Answer:
    """One request; an error status is an answer, too. Raises Unreachable."""
    request = urllib.request.Request(url, data=body, headers=headers, method=method)  # noqa: S310
    try:
        try:
            response = _opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read().decode(errors="replace")
            return Answer(response.getcode(), text, response.headers.get("ETag") or "")
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{method} {url.partition('?')[0]}: {error}") from None


def metadata(path: str, timeout: float = 10.0) -> Answer | None:
    """What the metadata server says of it; None for what isn't there. Raises Unreachable."""
    answer = call("GET", METADATA + path, {"Metadata-Flavor": "Google"}, timeout=timeout)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise Unreachable(f"the metadata server says HTTP {answer.status} of {path}: {answer.text[:200]}")
    return answer


class Account:
    """The machine's own account, by its token."""

    def __init__(self) -> None:
        self._token = ""
        self._good_until = 0.0

    def headers(self) -> dict[str, str]:
        """Raises Unreachable where there is no token, neither a new one nor one that is still good."""
        if time.monotonic() > self._good_until - 300:
            try:
                answer = metadata("instance/service-accounts/default/token")
                if answer is None:
                    raise Unreachable("this machine has no service account")
                found = json.loads(answer.text)
                self._token = found["access_token"]
                self._good_until = time.monotonic() + float(found.get("expires_in", 300))
            except (Unreachable, ValueError, KeyError):
                if time.monotonic() > self._good_until:
                    raise Unreachable("the metadata server gives no token") from None
        return {"Authorization": f"Bearer {self._token}"}

    def forget(self) -> None:
        """A service didn't take the token."""
        self._good_until = 0.0

    def ask(self, request: Callable[[dict[str, str]], Answer], until: float, mine: str = "") -> Answer:
        """The answer to a request, tried until then (monotonic). Raises Refused, Unreachable.

        412 is an answer: what we create is there. So is a refusal that names `mine`.
        """
        pause = PAUSE_S
        while True:
            try:
                answer = request(self.headers())
                words = answer.text
            except Unreachable as error:
                answer = None
                words = str(error)
            if answer is not None:
                if answer.status < 300 or answer.status == 412:
                    return answer
                if answer.status == 403 and mine and mine in words:
                    return answer
                if answer.status == 401:
                    self.forget()
                elif answer.status < 500 and answer.status not in (408, 429):
                    raise (Denied if answer.status == 403 else Refused)(_words(answer))
                words = _words(answer)
            if time.monotonic() + pause > until:
                raise Unreachable(words)
            time.sleep(pause)
            pause = min(2 * pause, 30.0)


def _words(answer: Answer) -> str:
    """An answer in the service's own words."""
    try:
        return f"HTTP {answer.status}: {json.loads(answer.text)['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status}: {answer.text.strip()[:2000]}"


# --- what the machine was told ----------------------------------------------------------------------------------------


def attribute(key: str, default: str | None = None) -> str:
    """A metadata attribute, as boot.sh wrote it into a file. Raises Refused if it is missing."""
    try:
        return (STATE / key).read_text()
    except FileNotFoundError:
        if default is None:
            raise Refused(f"the instance has no metadata attribute gpubench-{key}") from None
        return default


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def pairs(text: str) -> list[tuple[str, str]]:
    """Lines of `NAME=value`."""
    return [(name, value) for name, equals, value in (line.partition("=") for line in text.splitlines()) if equals]


def all_runs() -> dict[str, dict[str, Any]]:
    """The stamps of each due run, in order."""
    lines = [line.split() for line in attribute("runs").splitlines() if line.strip()]
    return {run: json.loads(decoded(stamps)) for run, stamps in lines}


def machine_facts() -> dict[str, Any]:
    """Stamps that only the machine knows. Taken once, at its begin; kept for its end, when nothing may answer."""
    kept = STATE / "facts"
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(kept.read_text()))
    facts: dict[str, Any] = {"attempt": attribute("attempt").strip()}
    for stamp, path in (("instance", "name"), ("zone", "zone"), ("machine_type", "machine-type")):
        with contextlib.suppress(Unreachable):
            answer = metadata(f"instance/{path}")
            if answer is not None:
                facts[stamp] = answer.text.strip().rpartition("/")[2]
    with contextlib.suppress(OSError):
        kept.write_text(json.dumps(facts))
    return facts


def gpu_facts() -> dict[str, Any]:
    if attribute("gpu", "0").strip() != "1":
        return {}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, stdout=subprocess.PIPE, timeout=60, check=True).stdout.decode(errors="replace")
        rows = [[cell.strip() for cell in line.rsplit(",", 2)] for line in said.splitlines() if line.strip()]
        name, driver, mib = rows[0]
        return {
            "gpu_name": name,
            "gpu_count": len(rows),
            "gpu_memory_gb": round(float(mib) * 2**20 / 1e9, 1),
            "driver_version": driver,
        }
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {}


def secret_values(account: Account) -> dict[str, str]:
    """The values of the run's secrets, by variable. Raises Refused, Unreachable."""
    values = {}
    for variable, version in pairs(attribute("secrets", "")):
        url = f"{SECRETS}/v1/{urllib.parse.quote(version)}:access"
        answer = account.ask(functools.partial(call, "GET", url), time.monotonic() + BEGIN_S)
        try:
            values[variable] = decoded(json.loads(answer.text)["payload"]["data"])
        except (ValueError, KeyError, TypeError):
            raise Refused(f"{version}: an answer without a value") from None
    return values


# --- uploading --------------------------------------------------------------------------------------------------------


def creating(account: Account, run: str) -> Create:
    """Makes objects of a run's in the bucket, as this machine's account."""
    bucket, _, prefix = attribute("results").strip().replace("gs://", "", 1).partition("/")
    parts = [prefix.strip("/"), "runs", run, attribute("attempt").strip()]
    home = "/".join(part for part in parts if part)

    def create(name: str, body: Path | bytes, until: float) -> bool:
        tries = 0
        query = {"uploadType": "media", "ifGenerationMatch": "0", "name": f"{home}/{name}"}
        url = f"{STORAGE}/upload/storage/v1/b/{urllib.parse.quote(bucket)}/o?{urllib.parse.urlencode(query)}"

        def request(headers: dict[str, str]) -> Answer:
            nonlocal tries
            tries += 1
            with open_body(body) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                more = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
                # With a length, a file is sent as it is read: a large one needs no memory.
                return call("POST", url, {**headers, **more}, file if size else b"")

        # To overwrite would need the right to delete, so that is what creating what is there can be refused for.
        return account.ask(request, until, mine="storage.objects.delete").status >= 300 and tries == 1

    return create


def uploads_of(run: str, account: Account) -> Uploads:
    return Uploads(run, DATA / "runs" / run, creating(account, run))


# --- one run ----------------------------------------------------------------------------------------------------------


class Stop:
    """Whether the machine was told to stop, why, and until when it may work. boot.sh passes it on as SIGTERM."""

    def __init__(self) -> None:
        self.told = Told(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    @staticmethod
    def reason() -> str:
        """`preempted`, `stopped` or `shutdown`, whichever came first; "" for none."""
        with contextlib.suppress(OSError):
            return (STATE / "stop").read_text().strip()
        return ""

    def until(self) -> float:
        """When (monotonic) the last upload has to be through."""
        if self.told.is_set() and self.reason() != "stopped":
            with contextlib.suppress(OSError):
                return time.monotonic() + NOTICE_S - (time.time() - (STATE / "stop").stat().st_mtime)
            return time.monotonic() + NOTICE_S
        return time.monotonic() + FLUSH_S


def reason_text() -> str:
    return {
        "preempted": "Instance was preempted.",
        "stopped": "stopped on request",
        "shutdown": "the machine is being shut down",
    }.get(Stop.reason(), "the machine was told to stop")


class Container:
    """The run's container, by docker."""

    def __init__(self, uploads: Uploads, stamps: dict[str, Any], secrets: dict[str, str]) -> None:
        self.name = f"gpubench-{uploads.run}"
        docker = shutil.which("docker") or "docker"
        self._docker = docker
        argv = [docker, "run", "--name", self.name, "--label", f"gpubench-run={uploads.run}", "--pull", "never"]
        argv += ["--log-driver", "none", "--stop-timeout", str(GRACE_S), "--shm-size", SHM]
        argv += ["--gpus", "all"] if attribute("gpu", "0").strip() == "1" else []
        argv += ["--volume", f"{uploads.folder}:/results"]
        argv += ["--volume", f"{DATA / 'code'}:/code:ro"] if attribute("code", "").strip() else []
        contract = {"GPUBENCH_RESULTS": "/results", "GPUBENCH_STAMPS": json.dumps(stamps)}
        for name, value in pairs(attribute("env", "")):
            argv += ["--env", f"{name}={decoded(value)}"]
        for name, value in contract.items():
            argv += ["--env", f"{name}={value}"]
        for name in secrets:
            argv += ["--env", name]  # its value comes from the command's own environment
        argv += [attribute("image").strip(), *(decoded(item) for item in attribute("argv", "").splitlines())]
        self.process = subprocess.Popen(
            argv,
            bufsize=0,  # each read gives what is there
            env={**os.environ, **secrets},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self, grace_s: int) -> None:
        """Ask it to end, and after the grace end it."""
        self._run("stop", "-t", str(grace_s), self.name, timeout=grace_s + 10)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
            return
        self._run("kill", self.name, timeout=10)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
            return
        self.process.kill()  # the client at least; its container goes with the machine
        self.process.wait()

    def was_killed_for_memory(self) -> bool:
        return self._run("inspect", "--format", "{{.State.OOMKilled}}", self.name, timeout=30) == "true"

    def remove(self) -> None:
        self._run("rm", "--force", "--volumes", self.name, timeout=120)

    def _run(self, *arguments: str, timeout: float) -> str:
        """What docker prints; "" where it fails.

        In a session of its own: timeout(1), under which boot.sh starts us, passes a signal on to us and then to our
        whole group, and a `docker stop` that we have just begun would end of the second.
        """
        try:
            command = [self._docker, *arguments]
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=timeout,
                check=False,
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def run_one(run: str) -> int:
    """Carry a run out, seal it and upload it. `DONE`, `ENDED` (no further run) or `NOT_UPLOADED`."""
    stop = Stop()
    account = Account()
    uploads = uploads_of(run, account)
    stamps = {**all_runs()[run], **machine_facts(), **gpu_facts()}
    started_at = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017
    results = ResultsFolder(uploads.folder, stamps)
    results.path.chmod(0o777)  # an image may have a user of its own, and that one has to write here
    with contextlib.suppress(OSError):
        results.reserve(RESERVE)
    try:
        secrets = when_granted(
            "secret", lambda: secret_values(account), stop.told.wait, grant_s=GRANT_S, pause_s=PAUSE_S
        )
    except (Refused, Unreachable) as error:
        if stop.told.is_set():
            cause = Cause("interrupted", "signal", reason_text(), AGAIN)
            return _seal_and_deliver(results, uploads, stop, Status.INTERRUPTED, 1, cause, started_at)
        cause = Cause("transient", "secret", str(error), AGAIN)
        if isinstance(error, Refused):
            mend = "let the machine's account read the secret: roles/secretmanager.secretAccessor"
            cause = Cause("permission", "secret", str(error), mend)
        return _seal_and_deliver(results, uploads, stop, Status.FAILED, 1, cause, started_at)
    log = Log(uploads.log, sorted(secrets.values()))
    redactor = Redactor(sorted(secrets.values()))
    timeout_s = float(attribute("timeout-s"))
    container = Container(uploads, stamps, secrets)
    assert container.process.stdout is not None
    pump = threading.Thread(target=log.pump, args=(container.process.stdout,), daemon=True)
    pump.start()
    pusher = Pusher(uploads, float(attribute("upload-s", "15")))
    pusher.start()
    reason = _wait(container, stop, pusher, results.path, time.monotonic() + timeout_s, redactor)
    if reason is None and container.process.returncode != 0:
        # Of a machine that goes down, docker's container may hear before we do.
        reason = "stop" if stop.told.wait(2 * POLL_S) else None
    elif reason is not None:
        container.stop(GRACE_S if reason == "time-out" or Stop.reason() == "stopped" else NOTICE_GRACE_S)
    pump.join(timeout=5)
    pusher.end()
    exit_code = container.process.returncode
    exit_code = 128 - exit_code if exit_code < 0 else exit_code  # the client was killed, and did not tell more
    tidy(results.path, log)
    if sealed_itself(results, stamps, exit_code, reason, redactor):
        results.release()
        if (own := own_cause(results.path)) is not None:
            say_failed(own)
        code = _deliver(uploads, stop)
    else:
        killed_for_memory = reason is None and exit_code == 137 and container.was_killed_for_memory()
        text = pusher.refusal if reason == "refused" else log.tail
        status, why = _verdict(text, log.disk_full, exit_code, reason, killed_for_memory, timeout_s, results.path)
        code = _seal_and_deliver(results, uploads, stop, status, exit_code, why, started_at)
    if not stop.told.is_set():
        container.remove()
    return code


def _wait(
    container: Container, stop: Stop, pusher: Pusher, folder: Path, deadline: float, redactor: Redactor
) -> str | None:
    """Until the container ends; or the reason for which it has to."""
    said: Any = None
    while container.process.poll() is None:
        if stop.told.wait(min(0.2, POLL_S)):
            return "stop"
        if time.monotonic() > deadline:
            return "time-out"
        if pusher.refusal:
            return "refused"  # what it measures could not come home
        now = progress(folder)
        if now is not None and now != said:
            say(f"progress {redactor.text(now)}")
            said = now
    return None


def _verdict(
    last: str,
    disk_full: bool,
    exit_code: int,
    reason: str | None,
    killed_for_memory: bool,
    timeout_s: float,
    folder: Path,
) -> tuple[Status, Cause | None]:
    """How a run ended that didn't say so itself."""
    disk_full = disk_full or "No space left on device" in last
    if reason is None and exit_code in (125, 126, 127) and "docker: " in last:  # docker's own words: nothing has run
        if exit_code == 125 and "no space left" in last:
            mend = "the boot disk is too small for the image: take a larger one, gpubench:google: {boot_disk_gb: N}"
            return Status.FAILED, Cause("bad-request", "disk-full", last, mend)
        if not disk_full:
            if "device driver" in last or "nvidia" in last.lower():
                return Status.FAILED, Cause(
                    "bad-request", "no-driver", last, "take a boot image with a driver for this GPU"
                )
            if exit_code == 125:
                return Status.FAILED, Cause("unknown", "docker", last, "see the run's log")
            return Status.FAILED, Cause("bad-request", "error", last, "check the command and the PATH")
    return verdict(
        last,
        exit_code,
        reason,
        folder,
        timeout_s=timeout_s,
        disk_full=disk_full,
        killed_for_memory=killed_for_memory,
        told=reason_text(),
        upload_mend=UPLOAD_MEND,
        disk_mend="take a larger boot disk (gpubench:google: {boot_disk_gb: N}), or write less",
    )


def _seal_and_deliver(
    results: ResultsFolder,
    uploads: Uploads,
    stop: Stop,
    status: Status,
    exit_code: int,
    cause: Cause | None,
    started_at: datetime.datetime,
) -> int:
    if not seal(results, uploads.log, status, exit_code, cause, started_at):
        return NOT_UPLOADED
    return _deliver(uploads, stop)


def _deliver(uploads: Uploads, stop: Stop) -> int:
    say("phase upload")
    try:
        deliver(uploads, stop.until())
    except (Refused, Unreachable, OSError) as error:
        say_failed(upload_failure(error, UPLOAD_MEND))
        return NOT_UPLOADED
    return ENDED if stop.told.is_set() else DONE


# --- the rest of the machine's life -----------------------------------------------------------------------------------


def begin() -> int:
    """Open the first run's log, and upload it: a machine that can't bring results home need not wait for anything."""
    facts = machine_facts()
    uploads = uploads_of(next(iter(all_runs())), Account())
    machine = [str(facts[key]) for key in ("instance", "machine_type", "zone") if key in facts]
    uploads.log.write_text(f"gpubench: attempt {facts['attempt']}: {', '.join(machine)}\n")
    try:
        when_granted(
            "upload",
            lambda: uploads.push(LOG, time.monotonic() + BEGIN_S),
            time.sleep,
            grant_s=GRANT_S,
            pause_s=PAUSE_S,
        )
    except (Refused, Unreachable) as error:
        say_failed(upload_failure(error, UPLOAD_MEND))
        return NOT_UPLOADED
    return DONE


def fail(cause: Cause) -> int:
    """Seal each run that isn't yet with what kept the machine from it."""
    say_failed(cause)
    stop = Stop()
    if Stop.reason():
        stop.told.set()
    account = Account()
    status = Status.INTERRUPTED if cause.cause == "interrupted" else Status.FAILED
    for run, stamps in all_runs().items():
        uploads = uploads_of(run, account)
        if uploads.ended:
            continue
        now = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017
        try:
            results = ResultsFolder(uploads.folder, {**stamps, **machine_facts()})
            with uploads.log.open("a") as log:
                log.write(f"gpubench: {cause.message.strip()}\n")
            results.seal(status, exit_code=1, started_at=now, cause=cause, made_by="wrapper")
            deliver(uploads, stop.until())
        except (Refused, Unreachable, OSError) as error:
            say_failed(upload_failure(error, UPLOAD_MEND))
            return NOT_UPLOADED
    return DONE


def watch() -> int:
    """Tell boot.sh of a preemption, or of somebody's wish to stop; a dead metadata server tells nothing."""
    boot = int((STATE / "pid").read_text())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = threading.Event()

    def tell(reason: str) -> None:
        with contextlib.suppress(FileExistsError), (STATE / "stop").open("x") as file:
            file.write(reason)
        with contextlib.suppress(ProcessLookupError):
            os.kill(boot, signal.SIGTERM)
        told.set()

    def watch_preemption() -> None:
        path = "instance/preempted"
        while True:
            try:
                answer = metadata(path, timeout=90.0)
            except Unreachable:
                time.sleep(PAUSE_S)
                continue
            if answer is not None and answer.text.strip().upper() == "TRUE":
                return tell("preempted")
            if answer is None:
                time.sleep(PAUSE_S)
                continue
            # From now on it answers when that changes, or after a minute.
            query = {"wait_for_change": "true", "timeout_sec": "60", "last_etag": answer.etag or "0"}
            path = f"instance/preempted?{urllib.parse.urlencode(query)}"

    def watch_stop() -> None:
        while True:
            with contextlib.suppress(Unreachable):
                if metadata("instance/attributes/gpubench-stop") is not None:
                    return tell("stopped")
            time.sleep(POLL_S)

    for target in (watch_preemption, watch_stop):
        threading.Thread(target=target, daemon=True).start()
    told.wait()
    return DONE


def main(arguments: list[str]) -> int:
    command, *rest = arguments
    if command == "watch":
        return watch()
    if command == "reason":
        os.write(1, reason_text().encode())
        return DONE
    try:
        if command == "begin":
            return begin()
        if command == "run":
            return run_one(rest[0])
        if command == "fail":
            return fail(Cause(rest[0], rest[1], sys.stdin.read().strip() or "(no text)", rest[2]))
    except Refused as error:  # a metadata attribute that is missing
        say_failed(Cause("bad-request", "metadata", str(error), ""))
        return NOT_UPLOADED
    raise SystemExit(f"unknown command {command}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
