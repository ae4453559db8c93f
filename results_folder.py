"""The results folder: the one format in which a run leaves what it measured.

Imported by the workload (inside a container, with nothing but the standard library beside it), by the wrapper that runs
containers, and by the job that reads results. The whole contract is in docs/results.md. In short:

- ``measurements.jsonl``: one JSON object a line, handed to the operating system line by line.
- ``benchmark_results.json`` and ``benchmark_results.csv``: the same records with what surrounds them.
- ``progress.json``: while the run lasts.
- ``manifest.json``: written last, by rename. It names every other file with its size and sha256, so a folder without a
  manifest is a run that has not ended, and a folder that doesn't fit its manifest is damaged.

All JSON is strict: NaN and the infinities are written as null. Only regular files count; links, sockets and pipes that
a container left behind are neither followed nor listed.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MEASUREMENTS = "measurements.jsonl"
RESULTS_JSON = "benchmark_results.json"
RESULTS_CSV = "benchmark_results.csv"
PROGRESS = "progress.json"
RESERVE = ".reserve"
MESSAGE_LIMIT = 4000
"""Characters of a cause's original text that a manifest keeps."""

# What a writer that was killed between write and rename leaves. Only our own names: a container may have files that
# look a little like these, and they are its results.
_LEFTOVER = re.compile(rf"\.({'|'.join(map(re.escape, (MANIFEST, RESULTS_JSON, RESULTS_CSV, PROGRESS)))})\.\d+\.tmp")

# Columns that come first, in this order; all others follow by name, and "at" is last. The order therefore depends on no
# run's order of records.
_FIRST_COLUMNS = (
    "benchmark", "scenario", "kernel", "precision", "batch_size", "device", "samples", "repetitions", "duration_s",
    "throughput_samples_per_s",
)  # fmt: skip
_LAST_COLUMNS = ("at",)


class ManifestError(Exception):
    """A manifest is there but can't be used: unreadable, of a newer schema, or not a manifest at all."""


class RecordError(Exception):
    """A line of measurements.jsonl that isn't a JSON object, and isn't merely the torn last one."""


class Status(StrEnum):
    COMPLETE = "complete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Cause:
    """Why a run ended other than complete."""

    cause: str
    """One of the design's causes: workload, interrupted, image, ..."""
    code: str
    """out-of-memory, missing-cuda-library, dead-driver, no-gpu, time-out, signal, disk-full, exit-code or error."""
    message: str
    """The original text."""
    mend: str
    """What to do about it."""


def utc_text(moment: datetime | None = None) -> str:
    """``2026-11-21T10:15:30.123Z`` for an aware datetime (default: now). Raises ValueError for a naive one."""
    moment = datetime.now(UTC) if moment is None else moment
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def strict(value: object) -> Any:
    """The value with NaN and infinities replaced by None at any depth; mappings become dicts, sequences lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


def to_json(value: object, *, indent: int | None = None) -> str:
    """Strict JSON text, in ASCII so that an odd file name survives. Raises TypeError for what JSON has no form for."""
    separators = (",", ":") if indent is None else None
    return json.dumps(strict(value), allow_nan=False, indent=indent, separators=separators)


class ResultsFolder:
    """The folder of one attempt, for its writer. Creates it if it isn't there; an existing one is continued."""

    path: Path

    def __init__(self, path: Path, stamps: Mapping[str, object]) -> None:
        """path: the folder. stamps: go unchanged into results and manifest. Raises OSError if it can't be made."""
        self.path = Path(path)
        self.stamps: dict[str, object] = dict(stamps)
        self.path.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        self._measurements: io.FileIO | None = None

    def reserve(self, size: int) -> None:
        """Sets `size` bytes of the disk aside, given back by `release` or `seal`.

        A run that fills the disk must still be able to say so: without this, neither results nor manifest would fit.
        Raises OSError (ENOSPC) if there isn't that much.
        """
        with (self.path / RESERVE).open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise
                file.write(bytes(size))

    def release(self) -> None:
        """Gives the reserve back. Does nothing if there is none."""
        (self.path / RESERVE).unlink(missing_ok=True)

    def append(self, record: Mapping[str, object]) -> None:
        """Adds one record to measurements.jsonl; it is with the operating system when this returns.

        Raises OSError if it can't be written; the file then ends where it ended before. Raises TypeError for a value
        that JSON has no form for, before anything is written.
        """
        line = (to_json(record) + "\n").encode()
        if self._measurements is None:
            self._measurements = self._open_measurements()
        end = self._measurements.seek(0, os.SEEK_END)
        rest = memoryview(line)
        try:
            while rest:  # an unbuffered write may be short, on a nearly full disk above all
                rest = rest[self._measurements.write(rest) :]
        except BaseException:
            with contextlib.suppress(OSError):
                self._measurements.truncate(end)
            raise

    def _open_measurements(self) -> io.FileIO:
        file = io.FileIO(self.path / MEASUREMENTS, "a+")
        file.seek(0)
        lines = file.readall().split(b"\n")
        if tail := lines[-1]:
            # A writer before us died in the middle of a line: glued to ours it would spoil both.
            if _parsed(tail) is None:
                file.truncate(file.tell() - len(tail))
            else:
                file.write(b"\n")
        return file

    def records(self) -> list[dict[str, object]]:
        """All records so far, in order. A torn last line is dropped. Raises RecordError for any other broken line."""
        return read_records(self.path)

    def progress(self, step: str, done: int, total: int, *, remaining_s: float | None) -> None:
        """Replaces progress.json. `done` of `total` steps are behind us; `step` is under way. Times in seconds."""
        document = {
            "step": step,
            "done": done,
            "total": total,
            "elapsed_s": round(time.monotonic() - self._began, 1),
            "remaining_s": None if remaining_s is None else round(remaining_s, 1),
        }
        # Not synced: after a power cut nobody asks how far the run had got.
        _replace(self.path / PROGRESS, to_json(document).encode(), durable=False)

    def write_results(self, document: Mapping[str, object]) -> None:
        """Writes benchmark_results.json, and benchmark_results.csv from ``document["benchmarks"]``. Raises OSError."""
        rows = document.get("benchmarks", [])
        assert isinstance(rows, list | tuple)
        _replace(self.path / RESULTS_JSON, (to_json(document, indent=1) + "\n").encode(), durable=True)
        _replace(self.path / RESULTS_CSV, to_csv(rows).encode(), durable=True)

    def seal(
        self,
        status: Status,
        *,
        exit_code: int,
        started_at: datetime,
        cause: Cause | None,
        made_by: str,
        finished_at: datetime | None = None,
    ) -> dict[str, object]:
        """Writes manifest.json, last, and returns it. Nothing may write to the folder afterwards.

        started_at, finished_at (None: now): aware. made_by: "workload" or "wrapper". Sealing again replaces the
        manifest. Raises OSError if a file can't be read or the manifest can't be written; the folder then has no
        manifest, or the one from before.
        """
        if self._measurements is not None:
            self._measurements.close()
            self._measurements = None
        self.release()
        (self.path / PROGRESS).unlink(missing_ok=True)
        for entry in list(self.path.iterdir()):
            if _LEFTOVER.fullmatch(entry.name) and not entry.is_dir():
                entry.unlink(missing_ok=True)
        files = [_described(self.path, name) for name in _files(self.path)]
        finished_at = finished_at or datetime.now(UTC)
        manifest: dict[str, object] = {
            "schema_version": SCHEMA_VERSION,
            "status": Status(status).value,
            "cause": None if cause is None else {**asdict(cause), "message": cause.message[:MESSAGE_LIMIT]},
            "exit_code": exit_code,
            "started_at": utc_text(started_at),
            "finished_at": utc_text(finished_at),
            "duration_s": round(max(0.0, (finished_at - started_at).total_seconds()), 3),
            "stamps": strict(self.stamps),
            "made_by": made_by,
            "files": files,
        }
        _replace(self.path / MANIFEST, (to_json(manifest, indent=1) + "\n").encode(), durable=True)
        return manifest


def read_records(path: Path) -> list[dict[str, object]]:
    """The records of a folder's measurements.jsonl ([] without one). See ResultsFolder.records."""
    try:
        lines = (Path(path) / MEASUREMENTS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    while lines and not lines[-1].strip():
        lines.pop()
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _parsed(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise RecordError(f"{Path(path) / MEASUREMENTS}, line {number}: not a JSON object: {line[:80]!r}")
    return records


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a results folder; None if there is none, or only a torn one (the run then counts as not ended).

    Raises ManifestError for one that is whole but can't be used.
    """
    file = Path(path) / MANIFEST
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ManifestError(f"{file}: can't be read: {error.strerror}") from error
    try:
        manifest = json.loads(text)
    except ValueError:
        return None
    if not isinstance(manifest, dict) or manifest.get("schema_version") is None:
        raise ManifestError(f"{file}: not a manifest of gpubench (no schema_version)")
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise ManifestError(
            f"{file}: schema_version {manifest['schema_version']!r}, this gpubench reads {SCHEMA_VERSION}: update it"
        )
    if manifest.get("status") not in list(Status):
        raise ManifestError(f"{file}: status {manifest.get('status')!r} is none of {', '.join(Status)}")
    entries = manifest.get("files")
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise ManifestError(f"{file}: files is not a list of path, bytes and sha256")
    return manifest


def verify(path: Path) -> list[str]:
    """What is wrong with a sealed folder, one line a problem; [] if every file is as its manifest says."""
    path = Path(path)
    try:
        manifest = read_manifest(path)
    except ManifestError as error:
        return [str(error)]
    if manifest is None:
        return [f"{MANIFEST}: missing, or cut off: the run has not ended, or died before it could seal its folder"]
    problems = []
    listed: set[str] = set()
    for entry in manifest["files"]:
        name = entry["path"]
        if not _is_inside(name):
            problems.append(f"{name}: a path that leaves the folder")
            continue
        if name in listed:
            problems.append(f"{name}: listed twice")
        listed.add(name)
        try:
            if not stat.S_ISREG((path / name).lstat().st_mode):
                problems.append(f"{name}: not a regular file")
                continue
            found = _described(path, name)
        except (FileNotFoundError, NotADirectoryError):
            problems.append(f"{name}: missing")
            continue
        except OSError as error:
            problems.append(f"{name}: can't be read: {error.strerror}")
            continue
        if found["bytes"] != entry["bytes"]:
            problems.append(f"{name}: {found['bytes']} bytes, and the manifest says {entry['bytes']}")
        elif found["sha256"] != entry["sha256"]:
            problems.append(f"{name}: sha256 {found['sha256']}, and the manifest says {entry['sha256']}")
    problems += [f"{name}: not in the manifest" for name in _files(path) if name not in listed]
    return problems


def read_progress(path: Path) -> dict[str, Any] | None:
    """progress.json of a running attempt; None if there is none (or not a whole one: containers may write it too)."""
    try:
        progress = json.loads((Path(path) / PROGRESS).read_bytes())
    except (OSError, ValueError):
        return None
    return progress if isinstance(progress, dict) else None


def to_csv(records: Iterable[Mapping[str, object]]) -> str:
    """One row a record; nested keys joined with "_", lists as JSON, null as an empty field."""
    rows = [_flat(record) for record in records]
    columns = {column for row in rows for column in row}
    first = [column for column in _FIRST_COLUMNS if column in columns]
    last = [column for column in _LAST_COLUMNS if column in columns]
    header = first + sorted(columns - {*first, *last}) + last
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(record: Mapping[str, object]) -> dict[str, object]:
    row: dict[str, object] = {}

    def put(prefix: str, value: object) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                put(f"{prefix}_{key}" if prefix else str(key), item)
            return
        column, copy = prefix, 2
        while column in row:  # {"a": {"b": 1}, "a_b": 2}: neither may be lost
            column, copy = f"{prefix}_{copy}", copy + 1
        if isinstance(value, list | bool):
            value = to_json(value)
        row[column] = "" if value is None else value

    put("", strict(record))
    return row


def _parsed(line: bytes) -> dict[str, object] | None:
    """A line's JSON object; None if it isn't one. Other writers' NaN reads as None, as ours would have been written."""
    try:
        record = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("path"), str)
        and isinstance(entry.get("bytes"), int)
        and isinstance(entry.get("sha256"), str)
    )


def _is_inside(name: str) -> bool:
    pure = PurePosixPath(name)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in name


def _files(root: Path) -> Iterator[str]:
    """Posix paths of all regular files under root but the manifest and what `seal` clears away, sorted."""
    found = []

    def refuse(error: OSError) -> None:
        raise error  # os.walk would leave out an unreadable folder in silence, and the manifest would call it whole

    for folder, _, names in os.walk(root, onerror=refuse):
        for name in names:
            file = Path(folder) / name
            path = file.relative_to(root).as_posix()
            if path not in (MANIFEST, RESERVE) and stat.S_ISREG(file.lstat().st_mode):
                found.append(path)
    return iter(sorted(found))


def _described(root: Path, name: str) -> dict[str, object]:
    with (root / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())  # the manifest must not reach the disk before what it vouches for
    return {"path": name, "bytes": size, "sha256": digest}


def _replace(target: Path, data: bytes, *, durable: bool) -> None:
    """Writes beside the target and renames over it, so that a reader sees the old file or the new one, never a part."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some network file systems have no sync for folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
