"""The uploader as a task starts it, beside a real process for the benchmark; the agent and S3 are the test's own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

import results_folder
from benchmark_job.bucket import Bucket, Fetch
from components import uploads
from components.ecs import uploader
from components.ecs.task import BOOTSTRAP, code
from components.run_log import Log
from components.uploads import Unreachable, Uploads
from tests.s3_server import DENIED, REGION, Door, Request, s3

RUN, ATTEMPT = "3f9c2a71b0d4-1", "20261121t101530-000-9f3a2b"
PREFIX = f"bench/team/runs/{RUN}/{ATTEMPT}"
GROUP, TARGET = "/gpubench/dev", "x-amz-target"
ZONE, TASK = "eu-west-1b", "0123456789abcdef0123456789abcdef"
STAMPS = {"run": RUN, "stack": "dev", "attempt": ATTEMPT}
SECRET = "hf_0123456789abcdef"
MEASURE = 'printf \'{"benchmark":"disk","mb_per_s":%s}\\n\' 512 >> "$R/measurements.jsonl"\n'
RECORDS = [{"benchmark": "disk", "mb_per_s": 512}] * 2
UNTIL_TOLD = "trap 'exit 143' TERM\n" + MEASURE + "while :; do sleep 0.02; done\n"
DEAF = "trap '' TERM\n" + "while :; do\n" + MEASURE + "sleep 0.005; done\n"


@dataclass
class EcsTask:
    """A task of two containers: what ECS does with them, and what its agent says of it."""

    home: Path
    door: Door
    benchmark: str = MEASURE
    env: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, Any] = field(default_factory=lambda: dict(STAMPS))
    starts: bool = True
    to_stop: bool = False
    silent: bool = False
    said: str = ""
    container: subprocess.Popen[bytes] | None = None
    began: str = ""
    port: int = 0
    told_of_the_end: bool = False

    def __post_init__(self) -> None:
        self.results, self.data = self.home / "results", self.home / "data"
        self.results.mkdir()
        self.stream = f"gpubench-x/benchmark/{TASK}"
        self.logs = boto3.client("logs", region_name=REGION, endpoint_url=self.door.address)
        self.logs.create_log_group(logGroupName=GROUP)

    def prints(self, *lines: str) -> None:
        """As the log driver sends what the benchmark's container has printed."""
        with contextlib.suppress(self.logs.exceptions.ResourceAlreadyExistsException):
            self.logs.create_log_stream(logGroupName=GROUP, logStreamName=self.stream)
        events: list[Any] = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
        self.logs.put_log_events(logGroupName=GROUP, logStreamName=self.stream, logEvents=events)

    def metadata(self) -> dict[str, Any]:
        """As https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-examples.html."""
        own: dict[str, Any] = {"Name": "benchmark", "DesiredStatus": "RUNNING", "KnownStatus": "PULLED"}
        options = {"awslogs-group": GROUP, "awslogs-region": REGION, "awslogs-stream": self.stream}
        own |= {"LogDriver": "awslogs", "LogOptions": options}
        if not self.starts:
            own["KnownStatus"] = "STOPPED"
        elif self.container is not None:
            rc = self.container.poll()
            own |= {"KnownStatus": "RUNNING" if rc is None else "STOPPED", "StartedAt": self.began}
            self.told_of_the_end = rc is not None
            own |= {} if rc is None else {"ExitCode": 128 - rc if rc < 0 else rc, "FinishedAt": self.began}
        return {
            "Cluster": "gpubench-x",
            "TaskARN": f"arn:aws:ecs:{REGION}:123456789012:task/gpubench-x/{TASK}",
            "DesiredStatus": "STOPPED" if self.to_stop else "RUNNING",
            "KnownStatus": "RUNNING",
            "AvailabilityZone": ZONE,
            "Containers": [{"Name": "uploader", "KnownStatus": "RUNNING"}, own],
        }

    def start(self) -> None:
        env = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.home),
            "GPUBENCH_CODE": code(),
            "GPUBENCH_RESULTS_URL": "s3://bench/team",
            "GPUBENCH_RUN": RUN,
            "GPUBENCH_ATTEMPT": ATTEMPT,
            "GPUBENCH_STAMPS": json.dumps(self.stamps),
            "GPUBENCH_TIMEOUT_S": "60",
            "GPUBENCH_REGION": REGION,
            "GPUBENCH_UPLOAD_S": "0.1",
            "GPUBENCH_SECRET_1": SECRET,
            "GPUBENCH_RESULTS": str(self.results),
            "GPUBENCH_DATA": str(self.data),
            "GPUBENCH_PAUSE_MS": "40",
            "GPUBENCH_GRANT_S": "1",
            "ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:{self.port}/v4/abc",
            "AWS_ENDPOINT_URL": self.door.address,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self.port}/v2/credentials/abc",
            **self.env,
        }
        with (self.home / "console").open("wb") as console:
            command = [sys.executable, "-c", BOOTSTRAP]
            self.uploader = subprocess.Popen(command, env=env, stdout=console, stderr=subprocess.STDOUT)

    def start_benchmark(self) -> None:
        """As ECS does: when the uploader is healthy."""
        self.wait_for((self.data / "ready").exists)
        self.began = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime())
        env = {"PATH": os.environ["PATH"], "R": str(self.results), "GPUBENCH_STAMPS": json.dumps(self.stamps)}
        env |= {"HOME_": str(self.home), "PYTHONPATH": str(Path(results_folder.__file__).parent)}
        self.container = subprocess.Popen(["bash", "-c", self.benchmark], env=env, start_new_session=True)

    def wait(self) -> int:
        try:
            return self.uploader.wait(30)
        finally:
            self.end()
            self.said = (self.home / "console").read_text()

    def carry_out(self) -> int:
        self.start()
        self.start_benchmark()
        return self.wait()

    def end(self) -> None:
        self.uploader.kill()
        self.uploader.wait()
        if self.container is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.container.pid, signal.SIGKILL)
            self.container.wait()

    def wait_for(self, true: Callable[[], object]) -> None:
        until = time.monotonic() + 20
        while not true():
            assert time.monotonic() < until and self.uploader.poll() is None, (self.home / "console").read_text()
            time.sleep(0.01)

    @property
    def markers(self) -> list[str]:
        return [line.removeprefix("gpubench: ") for line in self.said.splitlines() if line.startswith("gpubench: ")]

    def home_again(self) -> tuple[Path, dict[str, Any]]:
        """The folder as it comes home, and its manifest; it has to be whole."""
        folder = self.home / "fetched"
        assert Fetch(Bucket("s3://bench/team"), RUN, ATTEMPT, folder, self.home / "log").advance(), self.said
        assert results_folder.verify(folder) == []
        manifest = results_folder.read_manifest(folder)
        assert manifest is not None
        return folder, manifest


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcsTask]:
    with s3(monkeypatch, "bench") as door:
        made = EcsTask(tmp_path, door)

        class Agent(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if made.silent and self.path.endswith("/task"):
                    self.send_error(500)
                    return
                known: dict[str, Any] = {
                    "/v4/abc/task": made.metadata(),
                    "/v2/credentials/abc": {
                        "AccessKeyId": "AKIATASK", "SecretAccessKey": "x", "Token": "t",
                        "Expiration": "2099-01-01T00:00:00Z",
                    },
                }  # fmt: skip
                text = json.dumps(known[self.path]).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None: ...

        agent = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
        made.port = agent.server_port
        threading.Thread(target=agent.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        if hasattr(made, "uploader"):
            made.end()
        agent.shutdown()
        agent.server_close()


def as_the_role(request: Request) -> str:
    """What the task's role allows: to create objects below the prefix, and not to overwrite any."""
    if TARGET in request.headers:
        return ""
    allowed = request.method == "PUT" and request.key.startswith("bench/team/runs/") and not request.query.strip("=&")
    once = request.headers.get("if-none-match") == "*"
    mine = "Credential=AKIATASK/" in request.headers.get("authorization", "")
    return "" if (allowed and once) or not mine else "403 AccessDenied"


def log_is_refused(request: Request) -> str:
    mine = "Credential=AKIATASK/" in request.headers.get("authorization", "")
    return "400 AccessDeniedException" if mine and TARGET in request.headers else ""


def by_the_task(door: Door) -> list[Request]:
    return [one for one in door.requests if "Credential=AKIATASK/" in one.headers.get("authorization", "")]


def cause(manifest: dict[str, Any]) -> tuple[str, str, str]:
    return manifest["cause"]["cause"], manifest["cause"]["code"], manifest["cause"]["message"]


def test_a_run_comes_home_in_parts_and_nothing_but_creates_is_ever_asked_for(task: EcsTask) -> None:
    task.door.hiccup = as_the_role
    task.env["GPUBENCH_PAUSE_MS"] = "400"  # so long the log's end is waited for, too
    task.benchmark = (
        f'{MEASURE}while [[ ! -e "$HOME_/go" ]]; do sleep 0.01; done\n{MEASURE}mkdir "$R/deep"; echo 1 >"$R/deep/er"\n'
        'touch "$R/empty"; ln -s /etc/hostname "$R/link"; mkfifo "$R/pipe"; echo mine >"$R/.log"\n'
    )
    task.start()
    task.start_benchmark()
    task.prints("warming up", f"with {SECRET}")
    task.wait_for(lambda: any("measurements.jsonl.part-000001" in one.key for one in task.door.requests))
    task.wait_for(lambda: any(".log.part-000002" in one.key for one in task.door.requests))
    (task.home / "go").touch()
    assert task.container is not None
    task.container.wait()
    task.prints("done")  # what a container has printed is sent when it has ended
    assert task.wait() == 0, task.said
    assert {one.headers[TARGET] for one in by_the_task(task.door) if TARGET in one.headers} == {
        "Logs_20140328.GetLogEvents"
    }
    requests = [one for one in by_the_task(task.door) if TARGET not in one.headers]
    assert requests and {(one.method, one.headers.get("if-none-match"), one.query) for one in requests} == {
        ("PUT", "*", "")
    }
    assert requests[-1].key == f"{PREFIX}/manifest.json"
    folder, manifest = task.home_again()
    assert (manifest["status"], manifest["exit_code"], manifest["made_by"]) == ("complete", 0, "wrapper")
    assert manifest["stamps"] == {**STAMPS, "task": TASK, "zone": ZONE}
    assert manifest["started_at"] == task.began.replace("123456789", "123")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        ".log.results", "deep/er", "empty", "manifest.json", "measurements.jsonl",
    ]  # fmt: skip
    assert len(results_folder.read_records(folder)) == 2
    first, *printed = (task.home / "log").read_text().splitlines()
    assert first == f"gpubench: attempt {ATTEMPT}: task {TASK}, {ZONE}"
    assert printed == ["warming up", "with [secret]", "done", "gpubench: '.log' is kept as '.log.results'"]
    assert task.markers == [f"phase run {RUN}", "phase upload", "phase end"]
    assert task.results.stat().st_mode & 0o777 == 0o777


def test_nothing_there_is_overwritten(task: EcsTask) -> None:
    """An answer that is lost, and an object that is there: the store itself says 412, and what is there stays."""
    there = {f"{PREFIX}/measurements.jsonl.part-000001".removeprefix("bench/"): b"of another\n"}
    for key, data in there.items():
        task.door.client().put_object(Bucket="bench", Key=key, Body=data)
    seen: list[str] = []

    def hiccup(request: Request) -> str:
        seen.append(request.key)
        if seen.count(request.key) > 1:
            return ""
        busy = "409 ConditionalRequestConflict"
        answers = {"deep.part-000001": "lost", "manifest.json": "lost", ".log.part-000001": busy}
        return answers.get(request.key.rpartition("/")[2], "")

    task.door.hiccup = hiccup
    task.benchmark = MEASURE + 'echo 1 >"$R/deep"\n'
    assert task.carry_out() == 0, task.said
    for name in ("deep.part-000001", "manifest.json", ".log.part-000001"):
        assert seen.count(f"{PREFIX}/{name}") == 2
    objects = task.door.objects("bench")
    assert objects[next(iter(there))] == b"of another\n"
    assert objects[f"team/runs/{RUN}/{ATTEMPT}/deep.part-000001"] == b"1\n"
    folder, _ = task.home_again()
    assert len(results_folder.read_records(folder)) == 1, "its own, not the other's that is there"
    assert [key for key in objects if key.endswith(".whole")] == [f"team/runs/{RUN}/{ATTEMPT}/measurements.jsonl.whole"]


@pytest.mark.parametrize(
    ("change", "records"),
    [("sed -i s/512/513/", [{"benchmark": "disk", "mb_per_s": 513}] * 2), ("sed -i 2d", RECORDS[:1])],
    ids=["rewritten", "taken back"],
)
def test_a_file_that_changes_before_it_is_known_what_is_there(
    task: EcsTask, change: str, records: list[dict[str, Any]]
) -> None:
    """A part is there, and the answer was lost; what is sent again isn't that part."""
    changed, seen = threading.Event(), []

    def hiccup(request: Request) -> str:
        if request.method != "PUT" or not request.key.endswith("measurements.jsonl.part-000001"):
            return ""
        seen.append(request)
        return "lost" if len(seen) == 1 else "" if changed.is_set() else "503 SlowDown"

    task.door.hiccup = hiccup
    task.benchmark = (
        f'{{ {MEASURE}{MEASURE}}} >"$R/measurements.new"\nmv "$R/measurements.new" "$R/measurements.jsonl"\n'
    ).replace(' >> "$R/measurements.jsonl"', "")
    task.benchmark += f'while [[ ! -e "$HOME_/go" ]]; do sleep 0.01; done\n{change} "$R/measurements.jsonl"\n'
    task.start()
    task.start_benchmark()
    key = f"team/runs/{RUN}/{ATTEMPT}/measurements.jsonl.part-000001"
    task.wait_for(lambda: len(seen) > 5)  # more than one upload has the patience for
    (task.home / "go").touch()
    assert task.container is not None
    task.container.wait()
    changed.set()
    assert task.wait() == 0, task.said
    folder, manifest = task.home_again()
    assert (manifest["status"], results_folder.read_records(folder)) == ("complete", records)
    objects = task.door.objects("bench")
    assert objects[key].count(b"512") == 2, "as it was first sent"
    assert objects[key.replace("part-000001", "whole")] == (folder / results_folder.MEASUREMENTS).read_bytes()


@pytest.mark.parametrize(
    ("benchmark", "expected"),
    [
        ("exit 3", ("failed", 3, "workload", "exit-code", "exit code 3\n")),
        ("exit 0", ("failed", 0, "workload", "error", "it ended well and left no file in its results folder\n")),
        ("kill -KILL $$", ("failed", 137, "workload", "out-of-memory", "killed by SIGKILL (exit code 137)")),
        ("kill -SEGV $$", ("failed", 139, "workload", "signal", "killed by SIGSEGV\n")),
    ],
    ids=["exit code", "nothing measured", "out of memory", "signal"],
)
def test_a_workload_that_fails(task: EcsTask, benchmark: str, expected: tuple[Any, ...]) -> None:
    task.benchmark = benchmark
    assert task.carry_out() == 0, task.said
    _, manifest = task.home_again()
    assert (manifest["status"], manifest["exit_code"], *cause(manifest)) == expected
    assert f"failed workload ({expected[3]}): {expected[4].strip()}" in task.markers


@pytest.mark.parametrize(("code", "first"), [(3, "exit code 3"), (137, "killed by SIGKILL (exit code 137)")])
def test_a_failure_quotes_what_was_printed_last(task: EcsTask, code: int, first: str) -> None:
    task.benchmark = f"exit {code}"
    task.start()
    task.start_benchmark()
    task.prints(*(f"step {number}" for number in range(100)), "RuntimeError: no kernel image is available")
    assert task.wait() == 0, task.said
    said = cause(task.home_again()[1])[2].splitlines()
    assert (said[0], said[-1], len(said)) == (first, "RuntimeError: no kernel image is available", 41)


def test_what_is_printed_can_stay_away_and_no_run_fails_for_it(task: EcsTask) -> None:
    task.door.hiccup = log_is_refused
    task.prints("unseen")
    assert task.carry_out() == 0, task.said
    _, manifest = task.home_again()
    assert manifest["status"] == "complete"
    log = (task.home / "log").read_text()
    assert log.count("what the benchmark prints can't be read: An error occurred (AccessDenied") == 1
    assert "unseen" not in log


def test_what_fails_for_a_moment_ends_no_log(task: EcsTask) -> None:
    """A new grant, a service that is down, and a place in the stream that AWS has forgotten."""
    hiccups = [
        "400 AccessDeniedException",
        "503 InternalServerError",
        "",
        "",
        "400 InvalidParameterException",
        "dropped",
    ]

    def hiccup(request: Request) -> str:
        mine = "Credential=AKIATASK/" in request.headers.get("authorization", "")
        return hiccups.pop(0) if hiccups and mine and TARGET in request.headers else ""

    task.door.hiccup = hiccup
    task.env |= {"GPUBENCH_PAUSE_MS": "400", "GPUBENCH_GRANT_S": "20"}
    task.benchmark = f'{MEASURE}while [[ ! -e "$HOME_/go" ]]; do sleep 0.01; done\n'
    task.start()
    task.start_benchmark()
    task.prints("first")
    task.wait_for(lambda: not hiccups)
    task.prints("a long line, " + "x" * (16 * 1024 - 13 - len(SECRET) // 2) + SECRET[: len(SECRET) // 2])
    task.prints(SECRET[len(SECRET) // 2 :] + " and its end", "last")
    (task.home / "go").touch()
    assert task.wait() == 0, task.said
    task.home_again()
    _, first, long, last = (task.home / "log").read_text().splitlines()
    assert (first, last) == ("first", "last")
    assert long.startswith("a long line, xxx") and long.endswith("xxx[secret] and its end"), "one line, as printed"


_SEALS = """
python3 -c '
import json, os, sys, datetime, pathlib
import results_folder as r
folder = r.ResultsFolder(pathlib.Path(os.environ["R"]), json.loads(os.environ["GPUBENCH_STAMPS"]))
folder.append({"benchmark": "kernels"})
folder.seal(r.Status.FAILED, exit_code=12, started_at=datetime.datetime.now(datetime.UTC),
    cause=r.Cause("workload", "no-gpu", "WORDS", "take a GPU"), made_by="workload")
'
exit 12
""".replace("python3", sys.executable)


def test_a_manifest_of_the_workload_s_own_is_kept(task: EcsTask) -> None:
    task.benchmark = _SEALS.replace("WORDS", "no GPU found")
    assert task.carry_out() == 0, task.said
    _, manifest = task.home_again()
    assert (manifest["made_by"], manifest["stamps"], cause(manifest)[1]) == ("workload", STAMPS, "no-gpu")
    assert "failed workload (no-gpu): no GPU found" in task.markers


def test_a_manifest_with_a_secret_in_it_is_not(task: EcsTask) -> None:
    task.benchmark = _SEALS.replace("WORDS", f"token {SECRET} was refused")
    assert task.carry_out() == 0, task.said
    _, manifest = task.home_again()
    assert (manifest["made_by"], manifest["exit_code"], cause(manifest)[1]) == ("wrapper", 12, "exit-code")
    assert SECRET.encode() not in b"".join(task.door.objects("bench").values())
    assert SECRET not in task.said


def test_progress_is_said_without_secrets(task: EcsTask) -> None:
    task.benchmark = (
        f'printf \'{{"step":"with {SECRET}","done":3,"total":9}}\' >"$R/progress.json"\n{MEASURE}'
        'while [[ ! -e "$HOME_/go" ]]; do sleep 0.01; done\n'
    )
    task.start()
    task.start_benchmark()
    task.wait_for(lambda: "progress" in (task.home / "console").read_text())
    (task.home / "go").touch()
    assert task.wait() == 0
    assert "progress [3/9] with [secret]" in task.markers


def test_a_run_that_takes_too_long_is_sealed_as_it_is_while_it_writes_on(task: EcsTask) -> None:
    """The uploader can't stop the other container; that ends with the task, when the uploader has ended."""
    task.env["GPUBENCH_TIMEOUT_S"] = "0.6"
    task.benchmark = DEAF.replace("sleep 0.005", 'echo x >>"$R/other"; date >"$R/rewritten"; sleep 0.005')
    task.start()
    task.start_benchmark()
    assert task.container is not None
    assert task.uploader.wait(30) == 0
    assert task.container.poll() is None, "it has been writing on all the time"
    task.wait()
    folder, manifest = task.home_again()
    assert (manifest["status"], *cause(manifest)) == (
        "failed", "workload", "time-out", "still running after 0.6 s\n",
    )  # fmt: skip
    assert 0 < len(results_folder.read_records(folder)) < len((task.results / "measurements.jsonl").read_bytes()) / 35
    assert {"other", "rewritten"} <= {entry["path"] for entry in manifest["files"]}
    # It never stops to write; in 0.6 s there are few times to upload, and each takes what there is, once.
    assert len([one for one in by_the_task(task.door) if "measurements.jsonl.part" in one.key]) < 10


@pytest.mark.parametrize("benchmark", [UNTIL_TOLD, DEAF], ids=["ends", "does not end"])
def test_what_was_measured_is_saved_when_the_task_is_stopped(task: EcsTask, benchmark: str) -> None:
    """A StopTask, or the notice of Fargate Spot: both containers get SIGTERM."""
    task.env["GPUBENCH_UPLOAD_S"] = "60"
    task.benchmark = benchmark
    task.start()
    task.start_benchmark()
    assert task.container is not None
    task.wait_for((task.results / results_folder.MEASUREMENTS).exists)
    began = time.monotonic()
    task.uploader.send_signal(signal.SIGTERM)
    os.killpg(task.container.pid, signal.SIGTERM)
    assert task.uploader.wait(30) == 0
    assert time.monotonic() - began < 20
    task.wait()
    folder, manifest = task.home_again()
    assert (manifest["status"], manifest["exit_code"], *cause(manifest)) == (
        "interrupted", 143, "interrupted", "signal", "the task was told to stop",
    )  # fmt: skip
    assert len(results_folder.read_records(folder)) >= 1


@pytest.mark.parametrize("benchmark", [UNTIL_TOLD, UNTIL_TOLD.replace("exit 143", "exit 0")], ids=["143", "0"])
def test_a_task_whose_benchmark_is_stopped_first_is_interrupted(task: EcsTask, benchmark: str) -> None:
    """As ECS does where one container depends on the other. Nobody has told the uploader anything."""
    task.benchmark = benchmark
    task.start()
    task.start_benchmark()
    assert task.container is not None
    task.wait_for((task.results / results_folder.MEASUREMENTS).exists)
    task.to_stop = True
    os.killpg(task.container.pid, signal.SIGTERM)
    assert task.wait() == 0
    assert task.home_again()[1]["status"] == "interrupted"


@pytest.mark.parametrize("exit_code", [137, 143])
def test_a_container_that_hears_of_the_stop_before_the_uploader(task: EcsTask, exit_code: int) -> None:
    task.env["GPUBENCH_PAUSE_MS"] = "1000"
    task.benchmark = f"{MEASURE}exit {exit_code}"
    task.start()
    task.start_benchmark()
    task.wait_for(lambda: task.told_of_the_end)
    time.sleep(0.1)  # and now the uploader knows it
    task.uploader.send_signal(signal.SIGTERM)
    assert task.wait() == 0
    _, manifest = task.home_again()
    assert (manifest["status"], manifest["exit_code"]) == ("interrupted", exit_code)


def test_a_container_that_never_starts(task: EcsTask) -> None:
    task.starts = False
    task.start()
    assert task.wait() == 0, task.said
    _, manifest = task.home_again()
    assert (manifest["status"], *cause(manifest)[:2]) == ("failed", "unknown", "not-started")


def test_a_container_that_is_never_ready(task: EcsTask) -> None:
    task.env["GPUBENCH_START_S"] = "0.5"
    task.start()
    assert task.wait() == 0, task.said
    assert "has not started for 0.5 s" in cause(task.home_again()[1])[2]


def test_an_agent_that_is_silent_for_a_while(task: EcsTask) -> None:
    task.silent = True
    task.start()
    task.start_benchmark()
    assert task.container is not None
    task.container.wait()
    time.sleep(0.3)
    assert task.uploader.poll() is None
    task.silent = False
    assert task.wait() == 0
    assert task.home_again()[1]["status"] == "complete"


def test_a_bucket_that_refuses_is_said_before_anything_is_measured(task: EcsTask) -> None:
    task.door.hiccup = lambda _: "403 AccessDenied"
    task.start()
    assert task.wait() == 4
    assert not (task.data / "ready").exists()
    words = f"An error occurred (AccessDenied) when calling the PutObject operation: {DENIED}"
    assert f"failed permission (upload): {words}" in task.markers
    assert f"the upload is refused; a new grant may not hold yet, so it is tried for 1 s: {words}" in task.markers
    assert 2 <= len(by_the_task(task.door)) < 40


def test_a_new_grant_is_waited_for(task: EcsTask) -> None:
    task.env["GPUBENCH_GRANT_S"] = "20"
    refused = iter(["403 AccessDenied"] * 3)
    task.door.hiccup = lambda request: next(refused, "") if request.method == "PUT" else ""
    assert task.carry_out() == 0, task.said
    assert task.home_again()[1]["status"] == "complete"


def test_a_bucket_that_refuses_in_the_middle_ends_the_run(task: EcsTask) -> None:
    task.door.hiccup = lambda request: "403 AccessDenied" if "measurements" in request.key else ""
    task.benchmark = UNTIL_TOLD
    assert task.carry_out() == 4
    assert next(one for one in task.markers if one.startswith("failed ")).startswith("failed permission (upload): ")
    assert Bucket("s3://bench/team").attempts(RUN) == {ATTEMPT: False}


def test_an_s3_that_does_not_answer_is_asked_again(task: EcsTask) -> None:
    seen: list[str] = []

    def hiccup(request: Request) -> str:
        seen.append(request.key)
        answers = ["dropped", "500 InternalError", "503 SlowDown", "400 RequestTimeout", "400 ExpiredToken", ""]
        return answers[min(seen.count(request.key) - 1, 5)] if request.key.endswith("manifest.json") else ""

    task.door.hiccup = hiccup
    assert task.carry_out() == 0, task.said
    assert seen.count(f"{PREFIX}/manifest.json") == 6
    task.home_again()


def test_a_file_larger_than_any_object_is_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART", 400)
    made: dict[str, bytes] = {}

    def create(name: str, body: Path | bytes, _: float) -> bool:
        made[name] = body.read_bytes() if isinstance(body, Path) else body
        return False

    one = Uploads(RUN, tmp_path, create, largest=1000)
    one.folder.mkdir()
    (one.folder / "much").write_bytes(bytes(range(250)) * 4 + b".")
    (one.folder / "less").write_bytes(bytes(1000))
    for name in ("much", "less"):
        one.finish(name, time.monotonic() + 5)
    assert [len(data) for data in made.values()] == [400, 400, 201, 1000]
    assert b"".join(made[f"much.part-00000{number}"] for number in (1, 2, 3)) == bytes(range(250)) * 4 + b"."


class Objects(dict[str, bytes]):
    """A bucket that is asked without a network. ``lost``: names of objects that are made, and nothing answered."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def create(self, name: str, body: Path | bytes, _: float) -> bool:
        there = name in self
        self.setdefault(name, body.read_bytes() if isinstance(body, Path) else body)
        if name in self.lost:
            raise Unreachable("no answer")
        return there


@pytest.mark.parametrize(
    ("now", "whole"),
    [(b"12345678", False), (b"12345678more", False), (b"1234567", True), (b"........", True), (b"........more", True)],
)
def test_another_process_goes_on_with_what_is_there(tmp_path: Path, now: bytes, *, whole: bool) -> None:
    """After a reset: the record holds, and the file may have lost what was written last."""
    bucket = Objects()
    first = Uploads(RUN, tmp_path, bucket.create)
    first.folder.mkdir()
    (path := first.folder / results_folder.MEASUREMENTS).write_bytes(b"12345678")
    first.push(path.name, time.monotonic() + 5)
    path.write_bytes(now)
    second = Uploads(RUN, tmp_path, bucket.create)
    second.push(path.name, time.monotonic() + 5)
    with path.open("ab") as file:
        file.write(b"\n")
    second.push(path.name, time.monotonic() + 5)
    second.finish(path.name, time.monotonic() + 5)
    assert bucket.get(f"{path.name}.whole") == (now + b"\n" if whole else None)
    if not whole:
        assert b"".join(bucket.values()) == now + b"\n"


def test_a_part_that_is_changed_and_changed_back_is_no_more_trusted(tmp_path: Path) -> None:
    bucket = Objects()
    one = Uploads(RUN, tmp_path, bucket.create)
    one.folder.mkdir()
    path = one.folder / results_folder.MEASUREMENTS
    part = f"{path.name}.part-000001"
    bucket.lost.append(part)
    for text, is_made in ((b"first\n", False), (b"other\n", True), (b"first\n", True)):
        path.write_bytes(text)
        with pytest.raises(Unreachable):
            one.push(path.name, time.monotonic() + 5)
        if not is_made:
            del bucket[part]  # it got nowhere
    bucket.lost.clear()
    one.finish(path.name, time.monotonic() + 5)
    assert bucket == {part: b"other\n", f"{path.name}.whole": b"first\n"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GPUBENCH_RUN", "", "GPUBENCH_RUN isn't set"),
        ("GPUBENCH_TIMEOUT_S", "soon", "GPUBENCH_TIMEOUT_S: 'soon' is no number of seconds"),
        ("GPUBENCH_RESULTS_URL", "gs://bench", "GPUBENCH_RESULTS_URL: 'gs://bench' is no s3://bucket/prefix"),
        ("GPUBENCH_STAMPS", "[]", "GPUBENCH_STAMPS isn't a JSON object"),
    ],
)
def test_an_environment_that_is_wrong(task: EcsTask, name: str, value: str, said: str) -> None:
    task.env[name] = value
    task.start()
    assert task.wait() == 2
    assert task.markers == [f"failed bad-request (uploader): the uploader can't begin: {said}"]


def test_a_large_file_takes_no_more_of_the_last_seconds_than_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, log = tmp_path / "results", Log(tmp_path / "log", [])
    source.mkdir()
    (source / results_folder.MEASUREMENTS).write_text("{}\n")
    (source / "trace").write_bytes(bytes(5 << 20))
    ticks = itertools.count()
    monkeypatch.setattr(uploader, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    copy = uploader.copied(source, tmp_path, log, until=2.5)
    log.flush()
    assert [path.name for path in copy.iterdir()] == [results_folder.MEASUREMENTS]
    assert "'trace' is left out: no time" in (tmp_path / "log").read_text()
    assert next(ticks) == 4, "it is looked at between two pieces"
