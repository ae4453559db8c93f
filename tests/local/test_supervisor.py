"""The supervisor as a process of its own, with small real children."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import results_folder
from tests.local.harness import ROOT, STAMPS, SUPERVISOR, Supervised, is_alive, numbers, wait_for

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: subreapers and /proc")

# A child that ignores SIGTERM, with a grandchild in a session of its own that does so too, and one of that one's.
_STUBBORN = """
import os, signal, sys, time
pids = open(os.environ["GPUBENCH_RESULTS"] + "/pids", "a", buffering=1)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
    print(os.getpid(), file=pids)
    time.sleep(300)
    sys.exit()
print(os.getpid(), file=pids)
time.sleep(300)
"""

_SEALS_ITSELF = """
import json, os
from datetime import datetime, timezone
from pathlib import Path
from results_folder import Cause, ResultsFolder, Status
folder = ResultsFolder(Path(os.environ["GPUBENCH_RESULTS"]), json.loads(os.environ["GPUBENCH_STAMPS"]))
folder.append({"benchmark": "own", "n": 1})
folder.seal(Status.STATUS, exit_code=CODE, started_at=datetime.now(timezone.utc), cause=CAUSE, made_by="workload")
"""


def _seals_itself(status: str, code: int = 0, cause: str = "None") -> str:
    return _SEALS_ITSELF.replace("STATUS", status).replace("CODE", str(code)).replace("CAUSE", cause)


def test_a_run_that_only_writes_files_is_sealed_by_the_wrapper(tmp_path: Path) -> None:
    script = "cat; mkdir $GPUBENCH_RESULTS/deep; echo 1 > $GPUBENCH_RESULTS/deep/figures; echo said"
    task = Supervised.shell(tmp_path, script)
    manifest = task.run()
    assert (manifest["status"], manifest["made_by"], manifest["exit_code"]) == ("complete", "wrapper", 0)
    assert manifest["stamps"] == STAMPS
    assert manifest["cause"] is None
    assert [file["path"] for file in manifest["files"]] == ["deep/figures"]
    assert task.log == "said\n"


def test_what_a_task_is_given_to_read_arrives_and_is_no_file(tmp_path: Path) -> None:
    text = "päss 'x'\n" * 50_000
    Supervised.shell(tmp_path, "cat > $GPUBENCH_RESULTS/read", stdin=text).run()
    assert (tmp_path / "attempt" / "read").read_text() == text


def test_a_run_that_seals_its_folder_itself_is_left_alone(tmp_path: Path) -> None:
    manifest = Supervised.python(tmp_path, _seals_itself("COMPLETE")).run()
    assert (manifest["status"], manifest["made_by"]) == ("complete", "workload")


def test_a_runs_own_cause_is_kept(tmp_path: Path) -> None:
    script = _seals_itself("FAILED", 10, "Cause('workload', 'out-of-memory', 'CUDA out of memory', 'smaller batches')")
    manifest = Supervised.python(tmp_path, script + "raise SystemExit(10)").run()
    assert manifest["made_by"] == "workload"
    assert manifest["cause"]["code"] == "out-of-memory"


def test_a_run_that_calls_itself_complete_and_then_fails_is_not(tmp_path: Path) -> None:
    manifest = Supervised.python(tmp_path, _seals_itself("COMPLETE") + "raise SystemExit(4)").run()
    assert (manifest["status"], manifest["made_by"], manifest["exit_code"]) == ("failed", "wrapper", 4)


def test_an_exit_code_is_a_failure_and_the_end_of_the_log_is_quoted(tmp_path: Path) -> None:
    task = Supervised.python(
        tmp_path,
        "import os; open(os.environ['GPUBENCH_RESULTS'] + '/kept', 'w').write('1'); print(('x' * 999 + '\\n') * 30)\n"
        "raise SystemExit('the reason, on the last line')",
    )
    manifest = task.run()
    assert (manifest["status"], manifest["exit_code"]) == ("failed", 1)
    assert (manifest["cause"]["cause"], manifest["cause"]["code"]) == ("workload", "exit-code")
    assert manifest["cause"]["message"].startswith("exit code 1\n")
    assert manifest["cause"]["message"].endswith("the reason, on the last line")
    assert [file["path"] for file in manifest["files"]] == ["kept"]


def test_a_good_end_without_any_file_is_a_failure(tmp_path: Path) -> None:
    script = "cd $GPUBENCH_RESULTS; mkdir empty; ln -s /etc/passwd link; echo '{}' > progress.json"
    manifest = Supervised.shell(tmp_path, script).run()
    assert manifest["status"] == "failed"
    assert "left no file" in manifest["cause"]["message"]


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    task = Supervised(tmp_path, ["gpubench-no-such-program"], {"cleanup": ["touch", str(cleaned)]})
    manifest = task.run()
    assert (manifest["status"], manifest["cause"]["cause"]) == ("failed", "bad-request")
    assert "gpubench-no-such-program: No such file or directory" in manifest["cause"]["message"]
    assert cleaned.exists()  # a working container is made before its command runs


def test_a_null_byte_in_a_variable_is_a_cause_and_no_crash(tmp_path: Path) -> None:
    manifest = Supervised.shell(tmp_path, "true", env={"PATH": os.environ["PATH"], "A": "x\0y"}).run()
    assert manifest["cause"]["cause"] == "bad-request"


def test_the_time_out_ends_a_run_even_if_it_seals_itself_when_told_to_stop(tmp_path: Path) -> None:
    script = "import signal, time\ndef seal(*_):\n"
    script += "".join(f"    {line}\n" for line in _seals_itself("INTERRUPTED", 143).splitlines() if line)
    script += "    raise SystemExit(143)\nsignal.signal(signal.SIGTERM, seal)\nprint('ready')\ntime.sleep(60)\n"
    manifest = Supervised.python(tmp_path, script, timeout_s=1.5).run()
    assert (manifest["status"], manifest["cause"]["code"]) == ("failed", "time-out")
    assert manifest["cause"]["message"] == "still running after 1.5 s\nready"
    assert "timeout_minutes" in manifest["cause"]["mend"]
    assert [file["path"] for file in manifest["files"]] == ["measurements.jsonl"]
    assert 1.4 < manifest["duration_s"] < 8


def test_a_new_stop_file_stops_and_an_old_one_does_not(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    stop.touch()
    os.utime(stop, (time.time() - 60, time.time() - 60))
    task = Supervised.shell(tmp_path, "echo 1 > $GPUBENCH_RESULTS/started; sleep 60")
    process = task.start()
    wait_for((task.results / "started").exists, "the run's start")
    time.sleep(0.5)
    assert process.poll() is None
    stop.write_text("now\n")
    manifest = task.end()
    assert (manifest["status"], manifest["cause"]["cause"]) == ("interrupted", "interrupted")
    assert manifest["cause"]["message"] == "stopped on request"
    assert manifest["duration_s"] < 10


def test_a_supervisor_that_is_told_to_end_seals_first(tmp_path: Path) -> None:
    task = Supervised.shell(tmp_path, "echo $$ > $GPUBENCH_RESULTS/pid; sleep 60")
    process = task.start()
    wait_for(lambda: numbers(task.results / "pid"), "the run's start")
    process.terminate()
    assert task.end()["status"] == "interrupted"
    assert not is_alive(numbers(task.results / "pid")[0])


def test_a_signal_that_comes_again_while_it_is_handled_seals_too(tmp_path: Path) -> None:
    task = Supervised.shell(tmp_path, "echo 1 > $GPUBENCH_RESULTS/started; sleep 60")
    script = "import signal, sys; from components.local import supervisor; from tests.nested_signals import nest\n"
    task.supervisor = [sys.executable, "-c", f"{script}nest(signal.SIGTERM)\nsys.exit(supervisor.main())"]
    process = task.start()
    wait_for((task.results / "started").exists, "the run's start")
    process.terminate()
    try:
        process.wait(20)
    finally:
        process.kill()
    assert task.end()["cause"]["message"] == "stopped on request"


_KILLED_BEFORE_ITS_CHILD_HAS_ASKED = """
import ctypes, os, signal, sys, time
from pathlib import Path
from components.local import supervisor
libc, parent = ctypes.CDLL(None), os.getpid()
class Libc:
    def __init__(self, *_, **__): pass
    def prctl(self, option, *arguments):
        if os.getpid() != parent:
            Path(sys.argv[1]).write_text(f"{os.getpid()}\\n")
            os.kill(parent, signal.SIGKILL)
            while os.getppid() == parent: time.sleep(0.01)
        return libc.prctl(option, *arguments)
ctypes.CDLL = Libc
sys.exit(supervisor.main())
"""


@LINUX_ONLY
def test_a_supervisor_killed_before_its_child_asked_to_die_with_it_leaves_no_run(tmp_path: Path) -> None:
    task = Supervised(tmp_path, ["touch", str(tmp_path / "ran")])
    task.supervisor = [sys.executable, "-c", _KILLED_BEFORE_ITS_CHILD_HAS_ASKED, str(tmp_path / "pid")]
    assert task.start().wait(20) == -signal.SIGKILL
    (child,) = numbers(tmp_path / "pid")
    wait_for(lambda: not is_alive(child), "the child's end")
    assert not (tmp_path / "ran").exists()


@LINUX_ONLY
def test_when_the_parent_is_killed_the_run_and_all_it_started_are_gone(tmp_path: Path) -> None:
    task = Supervised.python(tmp_path, _STUBBORN)
    (tmp_path / "task").write_bytes(task.task())
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "process = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE)\n"
            "process.stdin.write(open(sys.argv[1], 'rb').read()); process.stdin.flush()\n"
            "print(process.pid, flush=True); time.sleep(300)",
            str(tmp_path / "task"),
            *SUPERVISOR,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    supervisor = int(parent.stdout.readline())
    pids = task.results / "pids"
    wait_for(lambda: len(numbers(pids)) == 3, "three processes")
    killed_at = time.monotonic()
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(supervisor), "the supervisor's end", 25)
    # It ignores SIGTERM: its grace is 12 s.
    assert 11 < time.monotonic() - killed_at < 16
    assert not [pid for pid in numbers(pids) if is_alive(pid)]
    manifest = task.manifest
    assert (manifest["status"], manifest["exit_code"]) == ("interrupted", -signal.SIGKILL)
    assert "engine" in manifest["cause"]["message"]
    assert results_folder.verify(task.results) == []


@LINUX_ONLY
def test_a_run_that_ends_well_leaves_no_process_behind(tmp_path: Path) -> None:
    script = _STUBBORN.rpartition("time.sleep(300)")[0]
    task = Supervised.python(tmp_path, f"{script}\nwhile len(open(pids.name).readlines()) < 3: time.sleep(0.05)\n")
    assert task.run()["status"] == "complete"
    assert len(numbers(task.results / "pids")) == 3
    assert not [pid for pid in numbers(task.results / "pids") if is_alive(pid)]


@pytest.mark.parametrize(("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 5, "signal ")])
def test_a_run_that_dies_by_a_signal(tmp_path: Path, number: int, name: str) -> None:
    manifest = Supervised.python(tmp_path, f"import os; print('last'); os.kill(os.getpid(), {int(number)})").run()
    assert (manifest["status"], manifest["exit_code"]) == ("failed", -number)
    assert manifest["cause"]["code"] == "signal"
    assert name in manifest["cause"]["message"]
    assert "last" in manifest["cause"]["message"]


def test_endless_output_is_cut(tmp_path: Path) -> None:
    script = "import os\nwhile True: os.write(1, b'12345678' * 8192)"
    task = Supervised.python(tmp_path, script, timeout_s=4, secrets=["a secret of some length"])
    manifest = task.run()
    assert manifest["cause"]["code"] == "time-out"
    log = tmp_path / "attempt.log"
    assert 64 * 2**20 <= log.stat().st_size < 64 * 2**20 + 100
    with log.open("rb") as file:
        file.seek(-60, os.SEEK_END)
        assert b"left out" in file.read()
    # No line ever ended, and the failure quotes what a manifest can hold.
    assert len(manifest["cause"]["message"]) < 4000


def test_secrets_are_blotted_out(tmp_path: Path) -> None:
    secrets = ["t0k3n.*[a-z]+(", "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n-----END KEY-----", "x" * 70_000]
    script = (
        "import json, os, sys, time\n"
        "a, b, c = json.loads(os.environ['SECRETS'])\n"
        "def out(text): os.write(1, text.encode())\n"
        "for letter in 'split ' + a + ' end\\n': out(letter); time.sleep(0.002)\n"
        "out('whole ' + b + ' end\\n')\n"
        "out('in lines: ' + b.splitlines()[1] + '\\n')\n"
        "out('long ' + c + ' end\\n')\n"
        "out('json ' + json.dumps({'key': b}) + '\\n')\n"
        "sys.exit('failed with ' + a)\n"
    )
    env = {"PATH": os.environ["PATH"], "SECRETS": json.dumps(secrets)}
    task = Supervised.python(tmp_path, script, secrets=secrets, env=env)
    manifest = task.run()
    assert task.log.splitlines() == [
        "split [secret] end",
        "whole [secret] end",
        "in lines: [secret]",
        "long [secret] end",
        'json {"key": "[secret]"}',
        "failed with [secret]",
    ]
    everything = json.dumps(manifest) + task.said()
    assert "failed with [secret]" in everything
    assert "t0k3n" not in everything


def test_a_secret_in_a_runs_own_manifest_is_not_kept(tmp_path: Path) -> None:
    script = _seals_itself("FAILED", 10, "Cause('workload', 'error', 'refused: t0k3n-1234', 'mend')")
    task = Supervised.python(tmp_path, f"{script}raise SystemExit('refused: t0k3n-1234')", secrets=["t0k3n-1234"])
    manifest = task.run()
    assert manifest["cause"]["message"] == "exit code 1\nrefused: [secret]"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"t0k3n" in path.read_bytes()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "gpubench-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("can't mount a small file system here (needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_run_that_fills_the_disk_is_sealed_and_says_so(small_disk: Path) -> None:
    script = (
        'echo \'{"benchmark": "own"}\' > $GPUBENCH_RESULTS/measurements.jsonl; cat /dev/zero > $GPUBENCH_RESULTS/big'
    )
    task = Supervised.shell(small_disk, script)
    manifest = task.run()
    assert (manifest["status"], manifest["cause"]["code"]) == ("failed", "disk-full")
    assert [file["path"] for file in manifest["files"]] == ["big", "measurements.jsonl"]


def test_a_log_that_fills_the_disk_gives_way_to_the_manifest(small_disk: Path) -> None:
    """The run takes even the reserve away and then prints what is left of the disk full."""
    script = "rm $GPUBENCH_RESULTS/.reserve; echo 1 > $GPUBENCH_RESULTS/one; yes | head -c 4000000; exit 5"
    task = Supervised.shell(small_disk, script)
    manifest = task.run()
    assert (manifest["status"], manifest["cause"]["code"]) == ("failed", "disk-full")
    assert "can't be sealed" in task.said()


def test_a_results_folder_that_cannot_be_written_is_one_line_and_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = tmp_path / "ran"
    task = Supervised.shell(tmp_path, f"touch {ran}", results=str(tmp_path / "file" / "attempt"))
    process = task.start()
    assert process.wait(20) == 1
    said = task.said().splitlines()
    assert len(said) == 1
    assert said[0].startswith("gpubench: the run can't begin: ")
    assert "Not a directory" in said[0]
    assert not ran.exists()


def test_a_folder_that_cannot_be_sealed_is_named_with_the_reason(tmp_path: Path) -> None:
    task = Supervised.shell(tmp_path, "rm -r $GPUBENCH_RESULTS; exit 3")
    process = task.start()
    assert process.wait(20) == 1
    assert task.said() == (
        f"gpubench: {task.results} can't be sealed: [Errno 2] No such file or directory: '{task.results}'\n"
    )


@pytest.mark.parametrize(
    "line", ['{"benchmark": "own", "torn', '{"benchmark": "own", "value": NaN}', "not json at all\n{}\n"]
)
def test_what_a_run_wrote_is_kept_as_it_is(tmp_path: Path, line: str) -> None:
    first = '{"benchmark": "own", "n": 1}\n'
    script = "import os, sys; open(os.environ['GPUBENCH_RESULTS'] + '/measurements.jsonl', 'w').write(sys.argv[1])"
    task = Supervised.python(tmp_path, script)
    task.argv.append(first + line)
    assert task.run()["status"] == "complete"
    assert (task.results / "measurements.jsonl").read_text() == first + line


# The interpreter's path is the project, so that a child finds results_folder from there.
_IN_RESULTS = (
    "import os, sys; sys.path.insert(0, os.getcwd()); os.chdir(os.environ['GPUBENCH_RESULTS']); open('f', 'w')\n"
)
_HOSTILE = {
    "paths that leave the folder": (
        "import json, os; folder = os.environ['GPUBENCH_RESULTS']\n"
        "entry = {'path': '../../etc/passwd', 'bytes': 1, 'sha256': '0' * 64}\n"
        "json.dump({'schema_version': 1, 'status': 'complete', 'stamps': json.loads(os.environ['GPUBENCH_STAMPS']),\n"
        "           'files': [entry]}, open(folder + '/manifest.json', 'w'))"
    ),
    "a link": "os.symlink('/etc/passwd', 'manifest.json')",
    "a pipe": "os.mkfifo('manifest.json'); os.mkfifo('progress.json')",
    "folders": "os.makedirs('manifest.json/a'); os.makedirs('progress.json/a')",
    "no JSON": "open('manifest.json', 'w').write('NaN{')",
    "another's": "open('manifest.json', 'w').write('{\"name\": \"app\"}')",
    "of another attempt": _seals_itself("COMPLETE").replace(
        'json.loads(os.environ["GPUBENCH_STAMPS"])', '{"run": "x"}'
    ),
    "older than its files": _seals_itself("COMPLETE") + "(folder.path / 'late').write_text('1')",
}


@pytest.mark.parametrize("script", _HOSTILE.values(), ids=_HOSTILE)
def test_a_manifest_that_is_none_is_replaced_by_the_wrappers(tmp_path: Path, script: str) -> None:
    task = Supervised.python(tmp_path, _IN_RESULTS + script)
    manifest = task.run()
    assert (manifest["status"], manifest["made_by"]) == ("complete", "wrapper")
    assert "f" in [file["path"] for file in manifest["files"]]
    assert manifest["stamps"] == STAMPS
    assert Path("/etc/passwd").read_text().startswith("root:")


@LINUX_ONLY
def test_when_the_supervisor_is_killed_its_child_dies_and_the_lock_is_free(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    task = Supervised.shell(tmp_path, "echo $$ > $GPUBENCH_RESULTS/pid; exec sleep 300")
    process = task.start(lock)
    os.close(lock)
    wait_for(lambda: numbers(task.results / "pid"), "the run's start")
    with (tmp_path / "lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.kill()
    process.wait()
    wait_for(lambda: not is_alive(numbers(task.results / "pid")[0]), "the child's end", 5)
    with (tmp_path / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert results_folder.read_manifest(task.results) is None
