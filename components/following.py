"""Following a run on a cloud's machine: its results come home as they are measured, whatever becomes of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import results_folder
from benchmark_job.order import RunOrder
from components.interface import Control, Execution, SurfaceError
from components.waiting import GONE, Seen, wait_for_capacity
from placement.causes import Cause, Failure, Where, classify
from placement.clock import SystemClock

POLL_S = 10.0
_UPLOAD_GRACE_S = 60.0  # what has ended may have put its last objects into the bucket a moment before
_OVERHEAD_S = 45 * 60.0  # boot, driver, a pull of tens of GB, the last upload: what it takes beside the run itself


@dataclass(frozen=True)
class Look:
    """What is seen of a run: its step (empty: none is known yet) and where that is, as people are told it.

    ``gone``: what carries it out has ended. ``why``: what that ended of, as far as it is known.
    """

    step: str
    place: str
    gone: bool
    why: str


def wait(order: RunOrder, execution: Execution, control: Control, where: Where, seen: Callable[[], Seen]) -> None:
    """Return when the order's attempt has its machine; ``seen``: one look. Raises as `wait_for_capacity`."""
    wait_for_capacity(
        seen,
        where=where,
        clock=SystemClock(),
        limit_s=order.wait_s,
        poll_s=POLL_S,
        say=control.say,
        stopped=execution.is_stopped,
    )


def follow(
    order: RunOrder,
    execution: Execution,
    control: Control,
    *,
    what: str,
    advance: Callable[[], bool],
    look: Callable[[], Look],
    stop: Callable[[], bool],
) -> None:
    """Return when the run's results are whole here, sealed by who measured or, where that has gone, by us.

    ``what`` carries it out, for the texts. ``advance`` brings home what is new, and says whether that is all; ``stop``
    asks for the run's end, once a person wants it, and says whether it could. Raises SurfaceError for a run that says
    nothing for too long, and when the engine is gone.
    """
    begun, told, asked_to_stop = datetime.now(UTC), "", False
    limit_s = order.timeout_s + _OVERHEAD_S
    deadline = time.monotonic() + limit_s
    gone_since: float | None = None
    while not advance():
        seen = look()
        if seen.step and seen.step != told:
            control.say(f"{seen.step} {seen.place}")
            told = seen.step
        if execution.is_stopped() and not asked_to_stop:
            asked_to_stop = stop()
        now = time.monotonic()
        gone_since = (gone_since or now) if seen.gone else None
        if gone_since is not None and now - gone_since >= _UPLOAD_GRACE_S:
            stopped = "it was stopped on request; run `gpubench up` again to go on" if execution.is_stopped() else ""
            where = Where(surface=order.surface, project=order.project, region=order.region)
            failure = classify(stopped or seen.why or GONE, where)
            stamps = {**order.stamps, "attempt": order.attempt}
            seal(execution.folder, stamps, failure, begun, datetime.now(UTC))
            return
        if now > deadline:
            raise SurfaceError(
                f"nothing came of run {order.run} within {timedelta(seconds=limit_s)}, and its {what} doesn't say why",
                Cause.INTERRUPTED,  # another machine may do better; this attempt asks for none any more
            )
        if control.engine_is_gone():
            raise SurfaceError("the engine that ordered the run is gone")
        time.sleep(POLL_S)


@contextmanager
def giving_back(control: Control, where: Where, shrink: Callable[[], None]) -> Iterator[None]:
    """Let an attempt that fails here ask for no more machines before it does."""
    try:
        yield
    except SurfaceError as failed:
        # What is tried again in place, and the next update after this engine's death, go on with the machine.
        if not control.engine_is_gone() and classify(str(failed), where).cause is not Cause.TRANSIENT:
            give_back(control, shrink)
        raise


def give_back(control: Control, shrink: Callable[[], None]) -> None:
    """It must ask for no more machines, whatever becomes of us."""
    try:
        shrink()
    except SurfaceError as error:
        control.say(f"its group could not be told to ask for no more machines: {error}")


def seal(folder: Path, stamps: Mapping[str, object], failure: Failure, begun: datetime, ended: datetime) -> None:
    """Seal a results folder for a machine that couldn't do it itself: what was measured is kept.

    What says that the machine went, or nothing of why, makes it interrupted; everything else failed. Raises OSError.
    """
    cause = failure.cause or Cause.UNKNOWN
    results_folder.ResultsFolder(folder, stamps).seal(
        results_folder.Status.INTERRUPTED
        if cause in (Cause.INTERRUPTED, Cause.UNKNOWN)
        else results_folder.Status.FAILED,
        exit_code=1,
        started_at=begun,
        finished_at=ended,
        cause=results_folder.Cause(str(cause), failure.code, failure.text, failure.mend),
        made_by="wrapper",
    )
