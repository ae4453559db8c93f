"""Waiting for capacity: what every surface that asks a cloud for a machine does with what its watch sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from components.interface import SurfaceError
from placement.causes import Cause, Where, classify
from placement.clock import Clock

PATIENCE_S = 120.0
"""How long after a first shortage the cloud may still come up with a machine.

A regional group goes through its zones by itself, and the first zone's error shows before the last zone was asked.
"""

GONE = "the machine is gone, and left no word of why"
"""What a run whose machine went without a trace ended of; placement/causes knows it."""

_SPOILS = frozenset({Cause.PERMISSION, Cause.IMAGE})
"""With one of these a machine that is up has nothing to run."""

_GOES_ON = frozenset({None, Cause.CAPACITY, Cause.TRANSIENT, Cause.INTERRUPTED})
"""While these are all that is seen, the cloud itself goes on trying (None: a flex-start request that waits)."""


@dataclass(frozen=True)
class Seen:
    """What a watch sees: whether a machine is granted, whether it is up, and what has gone wrong so far, in order.

    ``gone``: there was one, and it isn't made again: why, as far as that is known; empty: not so. ``asks``: whether
    anything still asks for one.
    """

    granted: bool = False
    ready: bool = False
    failures: tuple[str, ...] = ()
    gone: str = ""
    asks: bool = True


class MachineGone(SurfaceError):
    """The machine that an attempt had is gone, and no other one comes."""

    def __init__(self, why: str) -> None:
        super().__init__(why, Cause.INTERRUPTED)


def wait_for_capacity(
    look: Callable[[], Seen],
    *,
    where: Where,
    clock: Clock,
    limit_s: float,
    poll_s: float,
    say: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Return when a machine is up. Raises SurfaceError, with the cloud's own words, when there will be none.

    What waiting doesn't mend (a quota, a permission, an image) ends it at once, as does a machine that has come and
    gone before (MachineGone); a shortage after `PATIENCE_S`, and so an attempt that an earlier update gave up, which
    asks for no machine any more; silence after ``limit_s``. A machine that was granted and is booting has all the time
    that its boot takes.
    """
    begun = clock.now()
    short_since: float | None = None
    told: set[str] = set()
    while True:
        seen = look()
        causes = [classify(text, where).cause for text in dict.fromkeys(seen.failures)]
        if seen.ready and not any(cause in _SPOILS for cause in causes):
            return
        if seen.gone:
            raise MachineGone(seen.gone)
        elapsed = (clock.now() - begun).total_seconds()
        for text in dict.fromkeys(seen.failures):
            if text not in told:
                told.add(text)
                say(text.strip().splitlines()[0] if text.strip() else "a failure without a text")
        if any(cause not in _GOES_ON for cause in causes):
            raise SurfaceError(_joined(seen.failures))
        if Cause.CAPACITY in causes or not seen.asks:
            short_since = elapsed if short_since is None else short_since
        if not seen.granted:
            said = _joined(seen.failures)
            if short_since is not None and elapsed - short_since >= PATIENCE_S:
                if not said:
                    raise SurfaceError(
                        "nothing asks for a machine any more: an earlier update was ended while it gave this up",
                        Cause.INTERRUPTED,
                    )
                # A request that is on record as waiting: nothing in it says any more that the waiting is over.
                waits = classify(said, where).cause is None
                raise SurfaceError(_none_within(elapsed, said) if waits else said)
            if elapsed >= limit_s:
                raise SurfaceError(_none_within(limit_s, said))
        if stopped():
            raise SurfaceError("it was stopped before it began; run `gpubench up` again")
        clock.sleep(poll_s)


def _none_within(seconds: float, said: str) -> str:
    return f"could not find capacity within {seconds / 60:.3g} minutes" + (f": {said}" if said else "")


def _joined(texts: tuple[str, ...]) -> str:
    return "\n".join(dict.fromkeys(text.strip() for text in texts))
