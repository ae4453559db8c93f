"""Ctrl-C and SIGTERM, for who ends in order what is under way.

A handler runs between two steps of the main thread, which may hold any lock, or of another handler. So it takes none
that isn't reentrant, and sets no Event: each has a plain lock, for which its own holder would wait without end.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

TOGETHER_S = 0.5
"""Signals that come so soon after one that counted are the same wish: timeout(1) signals its child and then the whole
group, with the child in it (coreutils, src/timeout.c, `cleanup`)."""

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """While this lasts, `handler` is called at each wish to end. Only in the main thread."""
    last: float | None = None

    def counted(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now = monotonic()
        if last is None or now - last >= TOGETHER_S:
            last = now
            handler(number, frame)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number in SIGNALS:
            signal.signal(number, counted)
        yield
    finally:
        for number, held in before.items():
            signal.signal(number, held)
