"""The folder's contract: nothing torn is taken for whole, nothing changed goes unseen."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import results_folder
from results_folder import Cause, ManifestError, RecordError, ResultsFolder, Status, verify

ROOT = Path(__file__).resolve().parents[2]

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
records = st.lists(st.dictionaries(st.text(max_size=8), values, max_size=4), max_size=5)


def seal(folder: ResultsFolder, cause: Cause | None = None) -> Mapping[str, Any]:
    status = Status.FAILED if cause else Status.COMPLETE
    return folder.seal(
        status, exit_code=1 if cause else 0, started_at=datetime.now(UTC), cause=cause, made_by="workload"
    )


def make(path: Path) -> ResultsFolder:
    folder = ResultsFolder(path, {"run": "r"})
    folder.append({"benchmark": "x", "value": 1})
    (path / "loadgen" / "a").mkdir(parents=True)
    (path / "loadgen" / "a" / "log.txt").write_text("log\n")
    folder.write_results({"benchmarks": folder.records()})
    seal(folder)
    return folder


@settings(max_examples=50, deadline=None)
@given(records)
def test_what_is_appended_is_read_back_and_strict(written: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = ResultsFolder(Path(name), {})
        for record in written:
            folder.append(record)
        assert folder.records() == results_folder.strict(written)
        for line in (Path(name) / results_folder.MEASUREMENTS).read_bytes().splitlines() if written else ():
            json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
        folder.write_results({"benchmarks": folder.records()})
        seal(folder)
        assert verify(Path(name)) == []


@settings(max_examples=60, deadline=None)
@given(records.filter(bool), st.data())
def test_a_torn_last_line_is_dropped_and_the_next_writer_goes_on(written: list[dict[str, Any]], data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = ResultsFolder(Path(name), {})
        for record in written:
            folder.append(record)
        file = Path(name) / results_folder.MEASUREMENTS
        whole = file.read_bytes()
        last = len(whole.splitlines(keepends=True)[-1])
        cut = data.draw(st.integers(1, last))
        file.write_bytes(whole[:-cut])
        # With the line's end alone missing the record is whole, and kept.
        kept = results_folder.strict(written if cut == 1 else written[:-1])
        again = ResultsFolder(Path(name), {})
        assert again.records() == kept
        again.append({"benchmark": "after"})
        assert again.records() == [*kept, {"benchmark": "after"}]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / results_folder.MEASUREMENTS).write_text('{"a":1}\n{"b":\n{"c":3}\n')
    with pytest.raises(RecordError, match="line 2"):
        results_folder.read_records(tmp_path)


def test_another_writers_nan_reads_as_null(tmp_path: Path) -> None:
    (tmp_path / results_folder.MEASUREMENTS).write_text('{"a":NaN,"b":-Infinity}\n')
    assert results_folder.read_records(tmp_path) == [{"a": None, "b": None}]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: (path / "loadgen/a/log.txt").unlink(), "loadgen/a/log.txt: missing"),
        (lambda path: (path / "loadgen/a/log.txt").write_text("lag\n"), "loadgen/a/log.txt: sha256"),
        (lambda path: (path / "loadgen/a/log.txt").write_text("log\nmore"), "loadgen/a/log.txt: 8 bytes"),
        (lambda path: (path / "new.txt").write_text(""), "new.txt: not in the manifest"),
        (lambda path: (path / "manifest.json").unlink(), "manifest.json: missing, or cut off"),
        (lambda path: os.truncate(path / "manifest.json", 100), "manifest.json: missing, or cut off"),
        (lambda path: (path / "manifest.json").write_text("{}"), "no schema_version"),
        (lambda path: edit(path, schema_version=2), "schema_version 2"),
        (lambda path: edit(path, status="done"), "status 'done'"),
        (lambda path: edit(path, files=[{"path": "../x", "bytes": 1, "sha256": ""}]), "../x: a path that leaves"),
        (lambda path: edit(path, files=[{"path": "/etc/passwd", "bytes": 1, "sha256": ""}]), "a path that leaves"),
        (lambda path: edit(path, files=["x"]), "files is not a list"),
    ],
)
def test_verify_sees(tmp_path: Path, change: Any, says: str) -> None:
    make(tmp_path)
    assert verify(tmp_path) == []
    change(tmp_path)
    problems = verify(tmp_path)
    assert any(says in problem for problem in problems), problems


def edit(path: Path, **changes: object) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_changed_byte_is_seen(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        make(path)
        manifest = results_folder.read_manifest(path)
        assert manifest is not None
        entry = data.draw(st.sampled_from([entry for entry in manifest["files"] if entry["bytes"]]))
        content = bytearray((path / entry["path"]).read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        (path / entry["path"]).write_bytes(content)
        assert verify(path) == [
            f"{entry['path']}: sha256 {hashlib.sha256(content).hexdigest()}, and the manifest says {entry['sha256']}"
        ]


def test_a_manifest_that_cannot_be_used_is_an_error_and_a_torn_one_is_none(tmp_path: Path) -> None:
    assert results_folder.read_manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text('{"schema_version": 1, "sta')
    assert results_folder.read_manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text('{"schema_version": 9}')
    with pytest.raises(ManifestError, match="schema_version 9"):
        results_folder.read_manifest(tmp_path)


def test_the_manifest_says_what_happened(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path, {"tier": "t4", "usd_per_hour": math.nan})
    started_at = datetime.now(UTC) - timedelta(seconds=5)
    cause = Cause("workload", "error", "x" * 5000, "mend it")
    folder.seal(Status.FAILED, exit_code=1, started_at=started_at, cause=cause, made_by="wrapper")
    manifest = results_folder.read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["stamps"] == {"tier": "t4", "usd_per_hour": None}
    assert manifest["cause"] == {"cause": "workload", "code": "error", "message": "x" * 4000, "mend": "mend it"}
    assert 5 <= manifest["duration_s"] < 60
    assert manifest["started_at"].endswith("Z")
    assert (manifest["status"], manifest["exit_code"], manifest["made_by"]) == ("failed", 1, "wrapper")


def test_links_and_pipes_are_neither_followed_nor_listed(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path / "results", {})
    (tmp_path / "secret").write_text("s")
    (tmp_path / "results" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "results" / "loop").symlink_to(tmp_path / "results")
    os.mkfifo(tmp_path / "results" / "pipe")
    assert seal(folder)["files"] == []
    assert verify(tmp_path / "results") == []


def test_progress_and_leftovers_go_when_sealed(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path, {})
    folder.reserve(4096)
    folder.progress("a step", 1, 3, remaining_s=None)
    assert results_folder.read_progress(tmp_path) == {
        "step": "a step", "done": 1, "total": 3, "elapsed_s": pytest.approx(0, abs=5), "remaining_s": None,
    }  # fmt: skip
    (tmp_path / ".manifest.json.123.tmp").write_text("torn")
    (tmp_path / ".mine.tmp").write_text("kept")
    assert [entry["path"] for entry in seal(folder)["files"]] == [".mine.tmp"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [".mine.tmp", "manifest.json"]
    assert results_folder.read_progress(tmp_path) is None


def test_an_append_that_fails_leaves_no_torn_line(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from results_folder import ResultsFolder
folder = ResultsFolder(Path(sys.argv[1]), {})
folder.append({"benchmark": "first"})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    folder.append({"benchmark": "x" * 1000})
except OSError as error:
    print(error.errno)
folder.append({"benchmark": "second"})
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"{errno.EFBIG}\n", done.stderr
    assert (tmp_path / results_folder.MEASUREMENTS).read_text() == '{"benchmark":"first"}\n{"benchmark":"second"}\n'


KILLED = """
import os, signal, sys
from datetime import datetime, timezone
from pathlib import Path
import results_folder
from results_folder import ResultsFolder, Status
folder = ResultsFolder(Path(sys.argv[1]), {})
folder.append({"benchmark": "x"})
if sys.argv[2] == "again":
    folder.seal(Status.COMPLETE, exit_code=0, started_at=datetime.now(timezone.utc), cause=None, made_by="workload")
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
folder.seal(Status.FAILED, exit_code=1, started_at=datetime.now(timezone.utc), cause=None, made_by="workload")
"""


@pytest.mark.parametrize("before", ["first", "again"])
def test_killed_between_write_and_rename(tmp_path: Path, before: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), before], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".manifest.json.*.tmp"))
    manifest = results_folder.read_manifest(tmp_path)
    assert (manifest and manifest["status"]) == (None if before == "first" else "complete")
    # Whoever comes next seals what is there.
    seal(ResultsFolder(tmp_path, {}), Cause("interrupted", "signal", "SIGKILL", "run it again"))
    assert verify(tmp_path) == []
    assert not list(tmp_path.glob(".manifest.json.*.tmp"))


def test_a_reader_never_sees_half_a_manifest(tmp_path: Path) -> None:
    """Sealed over and over by another process, killed at any moment: a reader sees a whole manifest or none."""
    script = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from results_folder import ResultsFolder, Status
folder = ResultsFolder(Path(sys.argv[1]), {"x": "y" * 20000})
while True:
    folder.progress("s", 1, 2, remaining_s=1.0)
    folder.seal(Status.COMPLETE, exit_code=0, started_at=datetime.now(timezone.utc), cause=None, made_by="workload")
"""
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
        seen = 0
        until = time.monotonic() + 10
        while seen < 300 and time.monotonic() < until:
            file = tmp_path / "manifest.json"
            if file.exists():
                assert json.loads(file.read_text())["stamps"]["x"] == "y" * 20000
                seen += 1
        process.kill()
        process.wait()
        assert seen


def test_csv_has_a_row_a_record_and_an_order_that_no_run_changes() -> None:
    first = {
        "benchmark": "resnet50",
        "latency_ms": {"p99": 1.5, "p50": None},
        "at": "t",
        "loadgen": {"reasons": ["a,b", 'c"']},
    }
    second = {"benchmark": "kernels", "shape": {"m": 2}, "ok": True, "at": "u"}
    text = results_folder.to_csv([first, second])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["benchmark", "latency_ms_p50", "latency_ms_p99", "loadgen_reasons", "ok", "shape_m", "at"]
    assert rows[0]["latency_ms_p99"] == "1.5"
    assert rows[0]["latency_ms_p50"] == ""
    assert json.loads(rows[0]["loadgen_reasons"]) == ["a,b", 'c"']
    assert (rows[1]["shape_m"], rows[1]["ok"], rows[1]["latency_ms_p99"]) == ("2", "true", "")
    assert results_folder.to_csv([second, first]).splitlines()[0] == text.splitlines()[0]


def test_csv_loses_no_value_to_another_of_the_same_name() -> None:
    rows = list(csv.DictReader(io.StringIO(results_folder.to_csv([{"a": {"b": 1}, "a_b": 2}]))))
    assert rows == [{"a_b": "1", "a_b_2": "2"}]


def test_times_need_a_zone() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        results_folder.utc_text(datetime(2026, 1, 1))
    assert results_folder.utc_text(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
