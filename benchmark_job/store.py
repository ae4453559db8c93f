"""The results store: where runs leave their results, and what is there.

    <store>/runs/<run>/<attempt>/        one attempt's results folder, manifest last
    <store>/runs/<run>/<attempt>.log     what the attempt printed
    <store>/runs/<run>/lock, stop        held while an attempt is under way; ends it
    <store>/ledger/<stack>/              the stack's attempts (placement/ledger.py)
    <store>/reports/<stack>/             reports

A store that isn't there yet means that everything is due. One that can't be read is no answer, and stops an update.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import results_folder
from benchmark_job import results
from benchmark_job.order import PROJECT_ROOT
from benchmark_job.results import Attempt
from placement.ledger import Ledger

LOCK = "lock"
STOP = "stop"

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


class BucketNotBuilt(StoreError):
    """A bucket as results store, which this version can't use yet."""


def folder(url: str) -> Path:
    """The store's folder, relative ones below the project. Raises BucketNotBuilt."""
    if "://" in url:
        raise BucketNotBuilt(
            f"gpubench:results: {url}: only a folder works in this version; buckets come with the surfaces "
            "of their clouds. Name a folder, e.g. gpubench:results: results"
        )
    return PROJECT_ROOT / Path(url).expanduser()


def ledger(url: str, stack: str, secrets: Iterable[str] = ()) -> Ledger:
    """The ledger of a stack that has its results in this store; `secrets` are never written. Raises BucketNotBuilt."""
    return Ledger(folder(url), stack, secrets)


def run_folder(store: Path, run: str) -> Path:
    """Where a run's attempts are."""
    return store / "runs" / run


def stop_file(store: Path, run: str) -> Path:
    """The file that ends a run's attempt under way, by being newer than it."""
    return run_folder(store, run) / STOP


def complete_attempt(store: Path, run: str, rungs: Collection[str]) -> Attempt | None:
    """The run's newest complete attempt from one of these rungs; None: the run is due. Raises StoreError."""
    try:
        return results.complete_attempt(store, run, rungs)
    except OSError as error:
        raise StoreError(
            f"the results store can't be read: {error}. Check its permissions, or name another one: gpubench:results"
        ) from None


def attempt(store: Path, run: str, name: str) -> Attempt:
    """One attempt by its name. Raises StoreError."""
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
        with path.open() as file:
            try:
                # Shared: two who look must not take each other for a run.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if stack is None or file.read().strip() == stack:
                    yield path.parent.name


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
    return [one for run in _run_folders(store) for one in run.iterdir() if one.is_dir() and _stack_of(one) == stack]


def delete_results(store: Path, stack: str) -> int:
    """Delete the attempts that this stack made, and its report; how many there were.

    Runs under way are left alone. Raises StoreError where something can't be deleted.
    """
    busy = set(active_runs(store))
    attempts = [folder for folder in attempts_of_stack(store, stack) if folder.parent.name not in busy]
    try:
        for folder in attempts:
            shutil.rmtree(folder)
            folder.with_name(f"{folder.name}.log").unlink(missing_ok=True)
        for run in {folder.parent for folder in attempts}:
            if not any(one.is_dir() for one in run.iterdir()):
                shutil.rmtree(run)
        shutil.rmtree(store / "reports" / stack, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"results can't be deleted: {error}. Files that a container wrote as root need: sudo rm -r {error.filename}"
        ) from None
    return len(attempts)


def newest_attempt_of_stack(store: Path, stack: str) -> Path | None:
    """The folder of the stack's newest attempt, whatever came of it."""
    return max(attempts_of_stack(store, stack), key=lambda folder: folder.name, default=None)


def _run_folders(store: Path) -> list[Path]:
    return sorted(path for path in store.glob("runs/*") if path.is_dir())


def _stack_of(attempt_folder: Path) -> str | None:
    try:
        manifest = results_folder.read_manifest(attempt_folder)
    except results_folder.ManifestError:
        return None
    return None if manifest is None else manifest["stamps"].get("stack")
