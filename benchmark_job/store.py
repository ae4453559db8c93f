"""The results store: where runs leave their results, and what is there.

    <store>/runs/<run>/<attempt>/        one attempt's results folder, manifest last
    <store>/runs/<run>/<attempt>.log     what the attempt printed
    <store>/runs/<run>/lock, stop        held while an attempt is under way; ends it
    <store>/reports/<stack>/             reports

A store that isn't there yet means that everything is due. One that can't be read is no answer, and stops an update.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import results_folder
from benchmark_job import results
from benchmark_job.order import PROJECT_ROOT
from benchmark_job.results import Attempt

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
    for said_elsewhere in ("status", "obtained_tier", "cost_usd", "duration_s"):
        figures.pop(said_elsewhere, None)
    known = {
        "attempt": found.attempt_id,
        "obtained_rung": found.rung,
        "obtained_tier": obtained_tier(loaded),
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


def obtained_tier(loaded: results.RunResults) -> str:
    """The tier that a run got, by its GPU's name; `cpu` without a GPU."""
    import catalog

    if loaded.stamps.obtained_tier:
        return loaded.stamps.obtained_tier
    if loaded.gpu_name is None:
        return "cpu"
    return catalog.tier_of_gpu(loaded.gpu_name, loaded.gpu_memory_gb) or loaded.gpu_name


def active_runs(store: Path) -> Iterator[str]:
    """The runs of which an attempt is under way on this machine: those whose lock is held."""
    for path in sorted(store.glob(f"runs/*/{LOCK}")):
        with path.open() as file:
            try:
                # Shared: two who look must not take each other for a run.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield path.parent.name


def request_stop(store: Path) -> list[str]:
    """Ask all runs under way to stop; their names."""
    runs = list(active_runs(store))
    for run in runs:
        stop_file(store, run).write_text(f"{time.time()}\n")
    return runs


def _relative(path: Path) -> str:
    """Below the project as a relative path, so that outputs are the same in each clone."""
    return path.relative_to(PROJECT_ROOT).as_posix() if path.is_relative_to(PROJECT_ROOT) else str(path)


def runs_of_stack(store: Path, stack: str) -> list[Path]:
    """The folders of the runs that this stack made, or had a part in."""
    return [
        folder
        for folder in _run_folders(store)
        if any(_stack_of(one) == stack for one in folder.iterdir() if one.is_dir())
    ]


def newest_attempt_of_stack(store: Path, stack: str) -> Path | None:
    """The folder of the stack's newest attempt, whatever came of it."""
    folders = [one for run in _run_folders(store) for one in run.iterdir() if one.is_dir() and _stack_of(one) == stack]
    return max(folders, key=lambda folder: folder.name, default=None)


def _run_folders(store: Path) -> list[Path]:
    return sorted(path for path in store.glob("runs/*") if path.is_dir())


def _stack_of(attempt_folder: Path) -> str | None:
    try:
        manifest = results_folder.read_manifest(attempt_folder)
    except results_folder.ManifestError:
        return None
    return None if manifest is None else manifest["stamps"].get("stack")
