"""Several requests at a time.

The threads are daemons: a request that hangs must not hold up the end of the process, as an executor's threads do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """A call that is under way, or has ended."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._found: list[T] = []
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._found.append(self._call())
        except BaseException as error:
            self._failed = error

    def end(self) -> None:
        """Wait until it has ended, however that is."""
        self._thread.join()

    def get(self) -> T:
        """What it returns, once it does. Raises what it raised; may be asked often, by several threads."""
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        return self._found[0]


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What each returns, in their order. Raises the first one's exception, once all have ended."""
    if len(calls) < 2:
        return [call() for call in calls]
    begun = [Begun(call) for call in calls]
    for one in begun:
        one.end()
    return [one.get() for one in begun]


class Shared(Generic[T]):
    """What several threads ask for, and is made once by name.

    It holds for ``seconds``: long enough for all who ask at one moment, and too short for the next attempt. Making must
    not take long: the others wait meanwhile.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._lock = threading.Lock()
        self._made: dict[Hashable, tuple[float, T]] = {}

    def get(self, name: Hashable, make: Callable[[], T]) -> T:
        """The one of that name."""
        with self._lock:
            known = self._made.get(name)
            if known is None or self._clock() - known[0] > self._seconds:
                known = self._made[name] = (self._clock(), make())
            return known[1]
