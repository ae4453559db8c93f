"""The results store: where runs leave their results, and what is there.

    <store>/runs/<run>/<attempt>/        one attempt's results folder, manifest last
    <store>/runs/<run>/<attempt>.log     what the attempt printed
    <store>/runs/<run>/lock, stop        held while an attempt is under way; ends it
    <store>/ledger/<stack>/              the stack's attempts (placement/ledger.py)
    <store>/reports/<stack>/             reports

A store in a bucket has the same runs and ledgers (benchmark_job/bucket.py), and a folder on this machine that they come
home to: `folder`. Runs are carried out and looked at there; `bring_home` and `put_up` are what passes between the two,
and `keep` what nobody has sealed.

A store that isn't there yet means that everything is due. One that can't be read is no answer, and stops an update.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets as random_source
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import results_folder
from benchmark_job.bucket import LOG, Bucket, BucketError, Fetch
from benchmark_job.order import PROJECT_ROOT
from placement.ledger import Ledger, LedgerError

if TYPE_CHECKING:
    from benchmark_job.results import Attempt

Span = tuple[datetime, datetime] | None
"""From when to when something came; None: nothing says."""

LOCK = "lock"
STOP = "stop"
_LEFT_S = 3600.0  # what came home for so long belongs to a process that was killed
_NAME_S = 0.05  # in which who has a run's lock writes whose run it is

OUTPUTS = (
    "attempt",
    "obtained_rung",
    "obtained_tier",
    "verdict",
    "headline",
    "results",
    "cost_usd",
    "duration_s",
)
"""What a run's results tell its resource."""


class StoreError(Exception):
    """The store can't be used. The text says why, and how to mend it."""

    for_people = True  # an engine may print the text alone: the traceback says nothing more


def folder(url: str) -> Path:
    """The store's folder on this machine, relative ones below the project."""
    scheme, found, path = url.partition("://")
    if not found:
        return PROJECT_ROOT / Path(url).expanduser()
    stores = PROJECT_ROOT / ".gpubench" / "stores"
    # Two clouds may have buckets of one name; none has one named `s3`, as names have three characters or more.
    return stores / path if scheme == "gs" else stores / scheme / path


def ledger(url: str, stack: str, secrets: Iterable[str] = ()) -> Ledger:
    """The ledger of a stack that has its results in this store; `secrets` are never written."""
    here = folder(url)
    return Ledger(url if "://" in url else here, stack, secrets)


def ledger_or_none(url: str, stack: str, secrets: Iterable[str] = ()) -> tuple[Ledger, str]:
    """The ledger, and no reason; where it can't be read, an empty one that is kept nowhere, and why. For a preview."""
    found = ledger(url, stack, secrets)
    try:
        found.attempts()
    except LedgerError as error:
        return Ledger(f"memory://gpubench-{random_source.token_hex(8)}", stack), str(error)
    return found, ""


def is_missing(url: str) -> bool:
    """Whether the store is a bucket that isn't there. Where nobody can say, it counts as there."""
    try:
        return "://" in url and not Bucket(url).exists()
    except BucketError:
        return False


def bring_home(url: str, run: str | None = None) -> None:
    """Bring the sealed attempts at a run, or at all, home from the store's bucket, and put up what isn't there yet.

    Does nothing for a store that is a folder. Raises StoreError.
    """
    if "://" not in url:
        return
    root, bucket = folder(url), Bucket(url)
    for left in root.glob(f"runs/{run or '*'}/.*"):
        with contextlib.suppress(OSError):  # another process is as tidy
            if time.time() - left.stat().st_mtime > _LEFT_S:
                shutil.rmtree(left)
    with _explained():
        for name in bucket.runs() if run is None else (run,):
            for attempt, sealed in bucket.attempts(name).items():
                here = run_folder(root, name) / attempt
                if sealed and not (here / results_folder.MANIFEST).exists():
                    _fetch(bucket, name, here)
        here = run_folder(root, run) if run else root / "runs"
        for manifest in here.glob(f"{'*/' if run else '*/*/'}{results_folder.MANIFEST}"):
            if not _stored(manifest.parent).exists():
                put_up(url, manifest.parent.parent.name, manifest.parent.name)


def put_up(url: str, run: str, attempt: str, *, held: bool = False) -> None:
    """Put a sealed attempt into the store's bucket. Does nothing for a store that is a folder. Raises StoreError.

    ``held``: the caller has the run's lock. One that somebody else replaces or deletes just now is left to them.
    """
    if "://" not in url:
        return
    here = run_folder(folder(url), run) / attempt
    bucket = Bucket(url)
    with _explained(), contextlib.suppress(FileNotFoundError):
        if bucket.put(run, attempt, here, here.with_name(f"{attempt}.log")):
            _stored(here).touch()
        else:
            # Its machine has sealed it after all, between our last look and our own seal: what all others see counts.
            _fetch(bucket, run, here, instead=True, held=held)


def keep(url: str, attempt: str, seal: Callable[[str, Path, Span], None]) -> tuple[Path, ...]:
    """Bring home what an attempt left unsealed in the store's bucket, and put it back sealed: all clones see it then.

    For an attempt of which nothing comes any more. ``seal`` is given a run, the folder of what there is of it, and when
    the first and the last of that came. The folders that were kept. Does nothing for a store that is a folder. Raises
    StoreError, OSError where this machine's disk refuses, and what ``seal`` does.
    """
    if "://" not in url:
        return ()
    root, bucket, kept = folder(url), Bucket(url), []
    with _explained():
        for run, sealed in bucket.runs_of(attempt).items():
            here = run_folder(root, run) / attempt
            if sealed:
                continue
            if (here / results_folder.MANIFEST).exists():
                put_up(url, run, attempt)  # an update has sealed it, and was killed before it put that up
            else:
                _fetch(bucket, run, here, partial(seal, run))
            kept.append(here)
    return tuple(kept)


def _fetch(
    bucket: Bucket,
    run: str,
    here: Path,
    seal: Callable[[Path, Span], None] | None = None,
    *,
    instead: bool = False,
    held: bool = False,
) -> None:
    """All of an attempt, at once: who looks meanwhile sees nothing of it, or all. ``seal``: for one that isn't.

    ``instead``: of a sealed one that is here. ``held``: the caller has the run's lock.
    """
    here.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{here.name}.", dir=here.parent) as made:
        folder_, log = Path(made) / "results", Path(made) / LOG
        folder_.mkdir()
        if not Fetch(bucket, run, here.name, folder_, log).advance() and seal is not None:
            seal(folder_, bucket.span(run, here.name))
            if not bucket.put(run, here.name, folder_, log):
                # Somebody else was faster, and that manifest stays.
                shutil.rmtree(folder_)
                folder_.mkdir()
                Fetch(bucket, run, here.name, folder_, log).advance()
        with contextlib.ExitStack() as under:
            if here.exists() and (instead or not (here / results_folder.MANIFEST).exists()):
                # Under the lock, since a run that is looked for between the two renames would seem due.
                if not held and not under.enter_context(_unless_under_way(here.parent)):
                    return  # who carries it out here fetches it, too; and what is put up is put up later
                here.rename(Path(made) / "begun")  # what a killed update had of it
            with contextlib.suppress(OSError):
                folder_.rename(here)  # fails where another process was faster
                if log.exists():
                    log.replace(here.with_name(f"{here.name}.log"))
        _stored(here).touch()


def lock(run: Path) -> int | None:
    """Hold a run's lock; its descriptor, or None where somebody else does. The kernel frees it with its last holder."""
    while True:
        run.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # the folder was deleted between these two lines
            descriptor = os.open(run / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)  # it was deleted with the run's folder since it was opened: whoever comes has another


@contextlib.contextmanager
def _unless_under_way(run: Path) -> Iterator[bool]:
    """Whether nobody carries a run out on this machine; if so, nobody begins to while this lasts."""
    descriptor = lock(run)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _stored(attempt_folder: Path) -> Path:
    """A file that says that an attempt is in the store's bucket."""
    return attempt_folder.with_name(f"{attempt_folder.name}.stored")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BucketError as error:
        raise StoreError(str(error)) from None


def run_folder(store: Path, run: str) -> Path:
    """Where a run's attempts are."""
    return store / "runs" / run


def stop_file(store: Path, run: str) -> Path:
    """The file that ends a run's attempt under way, by being newer than it."""
    return run_folder(store, run) / STOP


def complete_attempt(store: Path, run: str, rungs: Collection[str]) -> Attempt | None:
    """The run's newest complete attempt from one of these rungs; None: the run is due. Raises StoreError."""
    try:
        if next(run_folder(store, run).iterdir(), None) is None:
            return None
        from benchmark_job import results  # here, because its models take a while, and few programs read results

        return results.complete_attempt(store, run, rungs)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"the results store can't be read: {error}. Check its permissions, or name another one: gpubench:results"
        ) from None


def attempt(store: Path, run: str, name: str) -> Attempt:
    """One attempt by its name. Raises StoreError."""
    from benchmark_job import results

    try:
        return next(one for one in results.attempts(store, run) if one.attempt_id == name)
    except (OSError, StopIteration) as error:
        raise StoreError(f"attempt {name} of run {run} can't be read back from the results store: {error}") from None


def outputs(found: Attempt) -> dict[str, Any]:
    """What a complete attempt tells its resource: the values of OUTPUTS that are known."""
    from benchmark_job.report import headline

    loaded = found.load()
    figures = dict(headline(loaded))
    verdict = str(figures.pop("loadgen", "none"))
    tier = figures.pop("obtained_tier", "unknown")
    for said_elsewhere in ("status", "cost_usd", "duration_s"):
        figures.pop(said_elsewhere, None)
    known = {
        "attempt": found.attempt_id,
        "obtained_rung": found.rung,
        "obtained_tier": tier,
        "verdict": verdict,
        # Five digits: more than the measurement is worth, and short enough to read among a stack's outputs.
        "headline": {
            key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in figures.items()
        },
        "results": _relative(found.folder),
        "cost_usd": loaded.cost_usd,
        "duration_s": loaded.duration_s,
    }
    return {key: value for key, value in known.items() if value is not None}


def active_runs(store: Path, stack: str | None = None) -> Iterator[str]:
    """The runs under way on this machine, those whose lock is held; of one stack only, if it is given."""
    for path in sorted(store.glob(f"runs/*/{LOCK}")):
        if _is_held(path, stack):
            yield path.parent.name


def _is_held(path: Path, stack: str | None) -> bool:
    # Who has just got the lock has yet to write whose run it is: so a name that isn't the one is read twice.
    for pause in (_NAME_S, 0.0):
        try:
            with path.open() as file:
                # Shared: two who look must not take each other for a run.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except FileNotFoundError:
            return False  # deleted, with all of the run
        except BlockingIOError:
            if stack is None or path.read_text().strip() == stack:
                return True
        time.sleep(pause)
    return False


def request_stop(store: Path, stack: str) -> list[str]:
    """Ask the stack's runs under way to stop; their names."""
    runs = list(active_runs(store, stack))
    for run in runs:
        stop_file(store, run).write_text(f"{time.time()}\n")
    return runs


def _relative(path: Path) -> str:
    """Below the project as a relative path, so that outputs are the same in each clone."""
    return path.relative_to(PROJECT_ROOT).as_posix() if path.is_relative_to(PROJECT_ROOT) else str(path)


def attempts_of_stack(store: Path, stack: str) -> list[Path]:
    """The folders of the attempts that this stack made; other stacks may live on them."""
    return [one for run in _run_folders(store) for one in _attempts(run) if _stack_of(one) == stack]


def delete_results(url: str, stack: str) -> int:
    """Delete the attempts that this stack made, and its report, here and in the store's bucket; how many there were.

    Runs under way are left alone. Raises StoreError where something can't be deleted.
    """
    store = folder(url)
    bring_home(url)
    deleted = 0
    try:
        for run in {one.parent for one in attempts_of_stack(store, stack)}:
            with _unless_under_way(run) as free:
                deleted += _delete(url, run, stack) if free else 0
        shutil.rmtree(store / "reports" / stack, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"results can't be deleted: {error}. Files that a container wrote as root need: sudo rm -r {error.filename}"
        ) from None
    return deleted


def _delete(url: str, run: Path, stack: str) -> int:
    """Delete the stack's attempts at a run, and the run's folder with the last of them: who calls has its lock."""
    attempts = [one for one in _attempts(run) if _stack_of(one) == stack]
    for one in attempts:
        if "://" in url:
            with _explained():
                Bucket(url).delete(run.name, one.name)
        shutil.rmtree(one)
        one.with_name(f"{one.name}.log").unlink(missing_ok=True)
        _stored(one).unlink(missing_ok=True)
    if not any(_attempts(run)):
        shutil.rmtree(run, ignore_errors=True)  # stays where a run begins in it: that has made a lock of its own
    return len(attempts)


def newest_attempt_of_stack(store: Path, stack: str) -> Path | None:
    """The folder of the stack's newest attempt, whatever came of it."""
    return max(attempts_of_stack(store, stack), key=lambda folder: folder.name, default=None)


def _attempts(run: Path) -> Iterator[Path]:
    """The folders of a run's attempts; what is just coming home has a name that begins with a dot."""
    return (one for one in run.iterdir() if one.name[0] != "." and one.is_dir())


def _run_folders(store: Path) -> list[Path]:
    return sorted(path for path in store.glob("runs/*") if path.is_dir())


def _stack_of(attempt_folder: Path) -> str | None:
    try:
        manifest = results_folder.read_manifest(attempt_folder)
    except results_folder.ManifestError:
        return None
    return None if manifest is None else manifest["stamps"].get("stack")
