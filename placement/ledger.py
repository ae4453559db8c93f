"""The ledger: every attempt of a stack, kept in its results store, and what follows from it for the next choice.

    <store>/ledger/<stack>/<attempt>.begun.json    written before anything is asked for
    <store>/ledger/<stack>/<attempt>.json          written once, when the attempt has ended
    <store>/ledger/<stack>/compact-<sha256>.jsonl  many ended attempts, one a line, in place of their objects

No object is ever changed, so clones, pull requests and two writers see the same without locks. An attempt that has
begun and not ended is where the run is: a killed `gpubench up` goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets as random_source
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import object_store
from placement.causes.model import Cause, Failure, QuotaFacts, Scope

if TYPE_CHECKING:
    from placement.ladder import Rung

COMPACT_ABOVE = 500
"""Objects of a ledger from which on it is worth compacting: a bucket lists 1000 at a time."""

_READS = 6  # how often a listing that somebody compacts meanwhile is read anew
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")
_BEGUN, _ENDED, _COMPACT = ".begun.json", ".json", ".jsonl"

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


class LedgerError(Exception):
    """The ledger can't be read or written. The text says why, and how to mend it."""

    for_people = True  # an engine may print the text alone: the traceback says nothing more


class Outcome(StrEnum):
    """How an attempt ended."""

    WON = "won"  # all runs that were due have results
    FAILED = "failed"
    STOPPED = "stopped"  # by a person


@dataclass(frozen=True)
class Attempt:
    """One try of one rung. Times are UTC.

    ``id`` sorts by time, and is fit for a label: ``20261121t142501-250-9f3a2b``. ``job``: the digest that names the
    stack's runs, without the repeat number. ``rung``: its id; ``surface`` to ``region`` are the place of it, so that
    what is left there is found even when the rung isn't on the ladder any more. ``zones``: what the attempt was
    narrowed to by a cloud's hint; empty: all of the rung's. ``hours``: the longest it may hold a machine, so that the
    budget holds; 0: nobody said. ``ended`` None: under way, or killed. ``usd``: what it cost, by the catalogue's or the
    cloud's price and the seconds that a machine was held. ``obtained`` and ``obtained_*``: since when it had a machine,
    and which, if it got one.
    """

    id: str
    stack: str
    job: str
    rung: str
    tier: str
    region: str | None
    begun: datetime
    surface: str = "local"
    project: str | None = None
    zones: tuple[str, ...] = ()
    ended: datetime | None = None
    outcome: Outcome | None = None
    failure: Failure | None = None
    usd: float = 0.0
    obtained: datetime | None = None
    obtained_zone: str | None = None
    obtained_machine_type: str | None = None
    hours: float = 0.0

    @property
    def cause(self) -> Cause | None:
        """Why it failed; None if it didn't."""
        return self.failure.cause if self.failure else None

    @property
    def seconds(self) -> float:
        """How long it took; 0 while it is under way."""
        return (self.ended - self.begun).total_seconds() if self.ended else 0.0


def begin_on(rung: Rung, now: datetime, stack: str, job: str) -> Attempt:
    """A new attempt at a rung, not yet written down.

    Its id is made of the moment (to the microsecond), the stack and the rung, so that two writers don't share one, and
    a rehearsal has the same ones each time.
    """
    utc = now.astimezone(UTC)
    tail = hashlib.sha256(f"{utc.isoformat()} {stack} {rung.id}".encode()).hexdigest()[:6]
    return Attempt(
        id=f"{utc:%Y%m%dt%H%M%S}-{utc.microsecond // 1000:03d}-{tail}",
        stack=stack,
        job=job,
        rung=rung.id,
        tier=rung.tier,
        region=rung.place.region,
        begun=now,
        surface=str(rung.surface),
        project=rung.place.project,
    )


def in_short(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain values, with the first line of what it failed with: for machines, and a stack's output."""
    return {
        "attempt": attempt.id,
        "when": _time_text(attempt.begun),
        "rung": attempt.rung,
        "outcome": attempt.outcome.value if attempt.outcome else "under way",
        "cause": attempt.cause.value if attempt.cause else None,
        "seconds": round(attempt.seconds, 1),
        "usd": round(attempt.usd, 4),
        "text": _first_line(attempt.failure.text) if attempt.failure else "",
    }


def this_walk(attempts: Iterable[Attempt], job: str) -> tuple[Attempt, ...]:
    """The job's attempts since its results were last all there: what the budget of the walk that goes on counts."""
    mine: list[Attempt] = []
    for attempt in sorted((one for one in attempts if one.job == job), key=lambda one: one.id):
        if attempt.outcome is Outcome.WON:
            mine.clear()
        else:
            mine.append(attempt)
    return tuple(mine)


class Ledger:
    """The ledger of one stack below a results store: a folder's path, or a URL that fsspec knows (``gs://``, ``s3://``).

    ``secrets``: values that must not be written; they are blotted out of failures. ``problems``: what could not be
    read the last time, one line each. All methods raise LedgerError where the store can't be reached.
    """

    def __init__(self, root: str | os.PathLike[str], stack: str, secrets: Iterable[str] = ()) -> None:
        from components.redaction import Redactor  # here, because the surfaces' package stands on this one

        self.stack = stack
        self.problems: tuple[str, ...] = ()
        self._root = os.fspath(root)
        self._redactor = Redactor(secrets)
        self._opened: tuple[Any, str] | None = None
        # Objects never change, so each is read once.
        self._read: dict[str, tuple[tuple[Attempt, ...], tuple[str, ...]]] = {}

    # -- writing ----------------------------------------------------------------------------------------------------

    def begin(self, attempt: Attempt) -> None:
        """Write down that an attempt begins. ``ended`` has to be None."""
        if attempt.ended is not None:
            raise ValueError(f"attempt {attempt.id} has ended")
        self._write(attempt, _BEGUN)

    def end(self, attempt: Attempt) -> None:
        """Write down how an attempt ended. ``ended`` and ``outcome`` have to be given."""
        if attempt.ended is None or attempt.outcome is None:
            raise ValueError(f"attempt {attempt.id} has not ended")
        self._write(attempt, _ENDED)

    def _write(self, attempt: Attempt, ending: str) -> None:
        if not _ID.fullmatch(attempt.id):
            raise ValueError(f"{attempt.id!r} can't name an attempt")
        text = json.dumps(to_json(self._redacted(attempt)), indent=2, ensure_ascii=False) + "\n"
        self._put(attempt.id + ending, text.encode(errors="replace"))

    def _redacted(self, attempt: Attempt) -> Attempt:
        return replace(attempt, failure=_map_text(attempt.failure, self._redactor.text))

    # -- reading ----------------------------------------------------------------------------------------------------

    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts, oldest first; one that has begun and ended counts as ended."""
        return self._attempts_and_objects()[0]

    def open_attempt(self) -> Attempt | None:
        """The newest attempt that has begun and not ended, if there is one."""
        return next((one for one in reversed(self.attempts()) if one.ended is None), None)

    def exported(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest ``limit`` attempts, oldest first, for a stack output: short, and without secrets."""
        found = self.attempts()[-limit:] if limit > 0 else ()
        return [{**short, "text": self._redactor.text(short["text"])} for short in map(in_short, found)]

    def _attempts_and_objects(self) -> tuple[tuple[Attempt, ...], tuple[str, ...]]:
        """All attempts, and the names of the objects that they were read from."""
        names = self._list()
        for _ in range(_READS):
            found = self._read_objects(names)
            # Somebody may compact meanwhile. A compact object is there before the single ones go, so one that came up
            # since, or an object that went, means that this listing may lack some.
            again = self._list()
            if found is not None and _compacts(again) <= _compacts(names):
                self.problems = tuple(problem for _, problems in found for problem in problems)
                by_id: dict[str, Attempt] = {}
                for one in (attempt for attempts, _ in found for attempt in attempts):
                    known = by_id.get(one.id)
                    if known is None or (known.ended is None and one.ended is not None):
                        by_id[one.id] = one
                return tuple(by_id[key] for key in sorted(by_id)), names
            names = again
        raise LedgerError(f"the ledger below {self._root} changes faster than it can be read; try again")

    def _read_objects(self, names: tuple[str, ...]) -> list[tuple[tuple[Attempt, ...], tuple[str, ...]]] | None:
        """What each object holds, and what is wrong with it; None if one went meanwhile."""
        wanted = [name for name in names if name not in self._read]
        for name, data in self._get(wanted).items():
            if isinstance(data, FileNotFoundError):
                return None
            self._read[name] = _parse(name, data)
        return [self._read[name] for name in names]

    # -- compacting -------------------------------------------------------------------------------------------------

    def compact(self) -> bool:
        """Put the ended attempts into one object, if there are more than COMPACT_ABOVE objects; whether it did so.

        Whoever reads or compacts at the same time loses nothing: the new object is whole before the old ones go, and
        equal attempts count once.
        """
        if len(self._list()) <= COMPACT_ABOVE:
            return False
        attempts, names = self._attempts_and_objects()
        ended = {one.id: one for one in attempts if one.ended is not None}
        if not ended:
            return False
        lines = [json.dumps(to_json(one), ensure_ascii=False) for one in ended.values()]
        data = ("\n".join(lines) + "\n").encode(errors="replace")
        made = f"compact-{hashlib.sha256(data).hexdigest()[:16]}{_COMPACT}"
        self._put(made, data)
        for name in names:
            held, problems = self._read[name]
            # A damaged object stays: a person may mend it.
            if name != made and not problems and all(one.id in ended for one in held):
                self._delete(name)
        return True

    # -- the store --------------------------------------------------------------------------------------------------

    def _store(self) -> tuple[Any, str]:
        """The file system and the ledger's folder on it."""
        if self._opened is None:

            def opened() -> tuple[Any, str]:
                system, path = object_store.open_url(self._root)
                return system, f"{path}/ledger/{self.stack}"

            self._opened = self._guarded("opened", opened)
        return self._opened

    def _list(self) -> tuple[str, ...]:
        system, folder = self._store()

        def listed() -> tuple[str, ...]:
            system.invalidate_cache(folder)  # others write here as well
            try:
                paths = system.ls(folder, detail=False)
            except FileNotFoundError:
                return ()
            names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths)
            return tuple(sorted(n for n in names if n.endswith((_ENDED, _COMPACT)) and not n.startswith(".")))

        return self._guarded("listed", listed)

    def _get(self, names: list[str]) -> dict[str, bytes | FileNotFoundError]:
        if not names:
            return {}
        system, folder = self._store()

        def got() -> dict[str, bytes | FileNotFoundError]:
            # Given a list, fsspec reads side by side where a store is far away.
            answers = system.cat([f"{folder}/{name}" for name in names], on_error="return")
            found: dict[str, bytes | FileNotFoundError] = {}
            for path, data in answers.items():
                if isinstance(data, Exception) and not isinstance(data, FileNotFoundError):
                    raise data
                found[str(path).rsplit("/", 1)[-1]] = data
            return found

        return self._guarded("read", got)

    def _put(self, name: str, data: bytes) -> None:
        system, folder = self._store()

        def put() -> None:
            if "file" not in system.protocol:
                system.pipe_file(f"{folder}/{name}", data)  # a bucket shows an object when it is whole
                return
            system.makedirs(folder, exist_ok=True)
            partial = f"{folder}/.{name}.{random_source.token_hex(4)}"
            try:
                system.pipe_file(partial, data)
                os.replace(partial, f"{folder}/{name}")  # noqa: PTH105 (fsspec's paths are texts)
            finally:
                if system.exists(partial):
                    system.rm_file(partial)

        self._guarded("written", put)

    def _delete(self, name: str) -> None:
        system, folder = self._store()

        def delete() -> None:
            try:
                system.rm_file(f"{folder}/{name}")
            except FileNotFoundError:
                return  # another one compacts as well

        self._guarded("compacted", delete)

    def _guarded(self, what: str, act: Callable[[], _T]) -> _T:
        try:
            return act()
        except ImportError as error:
            raise LedgerError(
                f"the ledger below {self._root} can't be {what}: {error}. Install the package that it names, or name "
                "another store: gpubench:results"
            ) from None
        except Exception as error:
            # Each store's library has errors of its own.
            why = object_store.why(error, self._root)
            raise LedgerError(f"the ledger below {self._root} can't be {what}: {why}") from None


def _compacts(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.endswith(_COMPACT))


# -- an attempt as JSON ---------------------------------------------------------------------------------------------


def to_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain data; what is empty or None is left out."""
    plain: dict[str, Any] = _plain(attempt)
    return plain


def from_json(data: Mapping[str, Any]) -> Attempt:
    """The attempt that ``to_json`` made plain. Fields that this version doesn't know are ignored.

    Raises ValueError, KeyError or TypeError for what is no attempt.
    """
    failure = data.get("failure")
    outcome = data.get("outcome")
    return Attempt(
        id=_text(data["id"]),
        stack=_text(data["stack"]),
        job=_text(data["job"]),
        rung=_text(data["rung"]),
        tier=_text(data["tier"]),
        region=_text_or_none(data.get("region")),
        begun=_time(data["begun"]),
        surface=_text(data.get("surface", "local")),
        project=_text_or_none(data.get("project")),
        zones=_texts(data.get("zones")),
        ended=_time(data["ended"]) if data.get("ended") else None,
        outcome=Outcome(outcome) if outcome else None,
        failure=_failure(failure) if failure else None,
        usd=float(data.get("usd", 0.0)),
        obtained=_time(data["obtained"]) if data.get("obtained") else None,
        obtained_zone=_text_or_none(data.get("obtained_zone")),
        obtained_machine_type=_text_or_none(data.get("obtained_machine_type")),
        hours=float(data.get("hours", 0.0)),
    )


def _failure(data: Mapping[str, Any]) -> Failure:
    quota = data.get("quota")
    cause = data.get("cause")
    return Failure(
        # A later version's cause or scope: nothing that this one could act on.
        cause=_member(Cause, cause, Cause.UNKNOWN) if cause else None,
        scope=_member(Scope, data.get("scope"), Scope.ZONE),
        code=_text(data.get("code", "")),
        text=_text(data.get("text", "")),
        mend=_text(data.get("mend", "")),
        zones=_texts(data.get("zones")),
        region=_text_or_none(data.get("region")),
        hint=_texts(data.get("hint")),
        quota=QuotaFacts(
            metric=_text_or_none(quota.get("metric")),
            limit=_number(quota.get("limit")),
            need=_number(quota.get("need")),
            where=_text_or_none(quota.get("where")),
        )
        if quota
        else None,
        principal=_text_or_none(data.get("principal")),
        permission=_text_or_none(data.get("permission")),
        others=tuple(_failure(one) for one in data.get("others") or ()),
        source=_text(data.get("source", "")),
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        made = {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        return {key: shown for key, shown in made.items() if shown not in (None, [], "")}
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value


def _map_text(value: _T, change: Callable[[str], str]) -> _T:
    """The value with each text in it changed, enums left alone."""
    made: Any = value
    if is_dataclass(value) and not isinstance(value, type):
        made = replace(value, **{one.name: _map_text(getattr(value, one.name), change) for one in fields(value)})
    elif isinstance(value, tuple):
        made = tuple(_map_text(one, change) for one in value)
    elif isinstance(value, str) and not isinstance(value, StrEnum):
        made = change(value)
    changed: _T = made
    return changed


def _parse(name: str, data: bytes | FileNotFoundError) -> tuple[tuple[Attempt, ...], tuple[str, ...]]:
    """The attempts that an object holds, and what is wrong with it."""
    assert isinstance(data, bytes)
    attempts: list[Attempt] = []
    problems: list[str] = []
    text = data.decode(errors="replace")
    # Not splitlines: a text may hold other separators than the line feed, and JSON leaves those as they are.
    pieces = text.split("\n") if name.endswith(_COMPACT) else [text]
    for number, piece in enumerate(pieces, 1):
        if name.endswith(_COMPACT) and not piece.strip():
            continue
        try:
            attempts.append(from_json(json.loads(piece)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            where = f"{name}, line {number}" if name.endswith(_COMPACT) else name
            problems.append(f"{where}: not an attempt ({type(error).__name__}: {error}); it is left out")
    return tuple(attempts), tuple(problems)


def _first_line(text: str) -> str:
    return next((line.strip()[:300] for line in text.splitlines() if line.strip()), "")


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(text: Any) -> datetime:
    time = datetime.fromisoformat(_text(text))
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return time.astimezone(UTC)


def _member(kind: type[_E], value: Any, otherwise: _E) -> _E:
    try:
        return kind(value)
    except ValueError:
        return otherwise


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(one) for one in value or ())


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
