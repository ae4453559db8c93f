"""A bucket as results store: what machines put there comes home, and what ran here is put there.

    <url>/runs/<run>/<attempt>/<file>.part-000001, -000002, …   a file's bytes, in order
    <url>/runs/<run>/<attempt>/<file>.whole                     all of it, where the parts may be other bytes than its
    <url>/runs/<run>/<attempt>/.log.part-000001, …              what the attempt printed
    <url>/runs/<run>/<attempt>/manifest.json                    last, whole

An object is made once and never changed: a machine's account may create objects and do nothing else, and a bucket that
refuses to overwrite needs no locks. So a file that grows is several parts, and an attempt whose machine died has parts
and no manifest, until somebody else seals what it left (benchmark_job/sealing.py). A machine that was taken for dead
may go on uploading after that: what is more than the manifest says is no part of the results.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import object_store
import results_folder

LOG = ".log"
"""What a log's objects are called. What runs beside a container (components/uploads.py) has the same name for it."""
_PART = re.compile(r"(?P<file>.+)\.part-(?P<number>\d{6,})")
_WHOLE = ".whole"
_PART_SIZE = 8 * 2**20
_MADE = ("ctime", "LastModified", "created")
"""When an object was made, as gcsfs, s3fs and fsspec's file system in memory call it in their listings."""
_T = TypeVar("_T")


class BucketError(Exception):
    """The bucket can't be used. The text says why, and how to mend it."""

    for_people = True


class Bucket:
    """A results store in a bucket, by its URL (``gs://…``, ``s3://bucket/prefix``). All methods raise BucketError."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._opened: tuple[Any, str] | None = None

    def attempts(self, run: str) -> dict[str, bool]:
        """The attempts at a run that left something, by name: whether each is sealed. Empty: nothing, or no bucket."""
        found: dict[str, bool] = {}
        for name in self._list(f"runs/{run}"):
            attempt, _, file = name.partition("/")
            if file:
                found[attempt] = found.get(attempt, False) or file == results_folder.MANIFEST
        return found

    def runs_of(self, attempt: str) -> dict[str, bool]:
        """The runs of which an attempt left something: whether each is sealed. One listing of all that is there."""
        found: dict[str, bool] = {}
        for name in self._list("runs"):
            run, _, rest = name.partition("/")
            one, _, file = rest.partition("/")
            if one == attempt and file:
                found[run] = found.get(run, False) or file == results_folder.MANIFEST
        return found

    def span(self, run: str, attempt: str) -> tuple[datetime, datetime] | None:
        """When the first and the last object of an attempt at a run were made; None: nothing is there."""
        there = self._details(f"runs/{run}/{attempt}").values()
        times = [one[key] for one in there for key in _MADE if isinstance(one.get(key), datetime)]
        return (min(times), max(times)) if times else None

    def exists(self) -> bool:
        """Whether the bucket itself is there."""
        return self._act("looked for", lambda system, _: object_store.bucket_exists(system, self.url))

    def runs(self) -> tuple[str, ...]:
        """The runs of which something is there."""
        return tuple(sorted({name.partition("/")[0] for name in self._list("runs")}))

    def put(self, run: str, attempt: str, folder: Path, log: Path) -> bool:
        """Put a sealed results folder and its log there, manifest last, and nothing of what is there already.

        Whether its manifest is the one that is there now: the first one stays.
        """
        where = f"runs/{run}/{attempt}"
        there = {name: int(info["size"]) for name, info in self._details(where).items()}
        manifest = (folder / results_folder.MANIFEST).read_bytes()
        if results_folder.MANIFEST not in there:
            files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
            named = [(path.relative_to(folder).as_posix(), path) for path in files]
            if any(name == LOG for name, _ in named):
                raise BucketError(
                    f"results with a file named {LOG} can't be put into a bucket: rename it in the container"
                )
            if log.is_file():
                named.append((LOG, log))
            for name, path in named:
                if name != results_folder.MANIFEST:
                    self._put_rest(where, there, name, path)
            self._put(f"{where}/{results_folder.MANIFEST}", manifest)
        return self._get([f"{where}/{results_folder.MANIFEST}"]) == [manifest]

    def _put_rest(self, where: str, there: Mapping[str, int], name: str, path: Path) -> None:
        """Put what a file has more than its parts that are there, whatever size whoever put those gave them."""
        if f"{name}{_WHOLE}" in there:
            return  # who brought it home has taken this one for it
        number, done = 1, 0
        while (part := part_name(name, number)) in there:
            number, done = number + 1, done + there[part]
        if done > path.stat().st_size:
            if name != LOG:  # no manifest tells how long a log has to be
                self._put(f"{where}/{name}{_WHOLE}", path.read_bytes())  # what came after the seal can't be taken back
            return
        for data in _pieces(path, done, empty=number == 1):
            self._put(f"{where}/{part_name(name, number)}", data)
            number += 1

    def delete(self, run: str, attempt: str) -> None:
        """Delete all of an attempt: the manifest first, so that no half of it is ever taken for results."""
        path = f"runs/{run}/{attempt}"
        names = sorted(self._list(path), key=lambda name: name != results_folder.MANIFEST)

        def deleted(system: Any, root: str) -> None:
            for name in names:
                system.rm_file(f"{root}/{path}/{name}")

        self._act("changed", deleted)

    def _list(self, path: str) -> list[str]:
        """The names of the objects below a path, relative to it."""
        return list(self._details(path))

    def _details(self, path: str) -> dict[str, Mapping[str, Any]]:
        """What the store tells of the objects below a path, by their names relative to it."""

        def listed(system: Any, root: str) -> dict[str, Mapping[str, Any]]:
            try:
                found = system.find(f"{root}/{path}", detail=True)
            except FileNotFoundError:
                return {}
            return {str(name).removeprefix(f"{root}/{path}/"): info for name, info in found.items()}

        return self._act("read", listed)

    def _get(self, paths: list[str]) -> list[bytes]:
        if not paths:
            return []

        def got(system: Any, root: str) -> list[bytes]:
            # Given a list, fsspec reads side by side.
            answers = system.cat([f"{root}/{path}" for path in paths])
            by_path = answers if isinstance(answers, dict) else {f"{root}/{paths[0]}": answers}
            return [by_path[f"{root}/{path}"] for path in paths]

        return self._act("read", got)

    def _put(self, path: str, data: bytes) -> None:
        self._act("written", lambda system, root: object_store.create(system, f"{root}/{path}", data))

    def _act(self, what: str, act: Callable[[Any, str], _T]) -> _T:
        try:
            if self._opened is None:
                self._opened = object_store.open_url(self.url)
            return act(*self._opened)
        except ImportError as error:
            raise BucketError(f"the results store {self.url} can't be {what}: {error}. Install that package") from None
        except Exception as error:
            # Each store's library has errors of its own.
            why = object_store.why(error, self.url)
            raise BucketError(f"the results store {self.url} can't be {what}: {why}") from error


def part_name(file: str, number: int) -> str:
    """The object that holds a part of a file, counted from 1."""
    return f"{file}.part-{number:06d}"


@dataclass
class Fetch:
    """Brings one attempt home, as far as it has come; calling again goes on. ``log``: where its log goes."""

    bucket: Bucket
    run: str
    attempt: str
    folder: Path
    log: Path
    _next: dict[str, int] = field(default_factory=dict)
    _whole: set[str] = field(default_factory=set)

    def advance(self) -> bool:
        """Fetch what is new; whether the attempt is sealed, and then all of it is here. Raises BucketError.

        A file's parts are joined in their order; a part that is missing holds back those behind it.
        """
        path = f"runs/{self.run}/{self.attempt}"
        names = self.bucket._list(path)
        # A log is rewritten only to make room on a full disk: what it was says more.
        whole = {file for one in names if one.endswith(_WHOLE) and (file := one.removesuffix(_WHOLE)) != LOG}
        whole = {file for file in whole if _is_inside(file)}
        parts: dict[str, set[int]] = {}
        for name in names:
            if (match := _PART.fullmatch(name)) and _is_inside(match["file"]):
                parts.setdefault(match["file"], set()).add(int(match["number"]))
        wanted = [
            (file, number)
            for file, numbers in sorted(parts.items())
            if file not in self._whole  # it stands for all its parts
            for number in self._in_order(file, numbers)
        ]
        for (file, number), data in zip(
            wanted, self.bucket._get([f"{path}/{part_name(file, number)}" for file, number in wanted]), strict=True
        ):
            target = self.log if file == LOG else self.folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb" if number == 1 else "ab") as opened:
                opened.write(data)
            self._next[file] = number + 1
        manifest: bytes | None = None
        if results_folder.MANIFEST in names:
            (manifest,) = self.bucket._get([f"{path}/{results_folder.MANIFEST}"])
            whole -= self._cut(manifest, whole)
        rewritten = sorted(whole - self._whole)
        for file, data in zip(
            rewritten, self.bucket._get([f"{path}/{file}{_WHOLE}" for file in rewritten]), strict=True
        ):
            (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / file).write_bytes(data)
            self._whole.add(file)
        if manifest is None:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)  # a run that left nothing has no file but this one
        partial = self.folder / f".{results_folder.MANIFEST}.{id(self)}.tmp"
        partial.write_bytes(manifest)
        partial.replace(self.folder / results_folder.MANIFEST)  # at once: a manifest says that all is here
        return True

    def _cut(self, manifest: bytes, whole: set[str]) -> set[str]:
        """Cut off what came after the seal; the files of ``whole`` that are right without that."""
        try:
            said = {entry["path"]: (int(entry["bytes"]), entry["sha256"]) for entry in json.loads(manifest)["files"]}
        except (ValueError, KeyError, TypeError):
            return set()  # who reads the results says what is wrong with it
        right: set[str] = set()
        for file in {*self._next, *whole} - {LOG}:
            here = self.folder / file
            size, sha256 = said.get(file, (0, ""))
            if file not in said:
                here.unlink(missing_ok=True)
                right.add(file)
            elif here.is_file():
                if here.stat().st_size > size:
                    os.truncate(here, size)
                if file in whole and hashlib.sha256(here.read_bytes()).hexdigest() == sha256:
                    right.add(file)
        return right

    def _in_order(self, file: str, numbers: set[int]) -> Iterator[int]:
        number = self._next.get(file, 1)
        while number in numbers:
            yield number
            number += 1


def _pieces(path: Path, start: int, *, empty: bool) -> Iterator[bytes]:
    """What a file has from this byte on; with ``empty`` at least one piece."""
    with path.open("rb") as file:
        file.seek(start)
        while (data := file.read(_PART_SIZE)) or empty:
            empty = False
            yield data


def _is_inside(name: str) -> bool:
    """Whether a file's name stays in its folder: names come from containers."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and name not in ("", results_folder.MANIFEST)
