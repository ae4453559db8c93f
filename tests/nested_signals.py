"""A signal that comes again while its handler runs, at each moment at which it can."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any


def nest(number: int) -> None:
    """From now on, this signal comes again at each line that its handler runs in this thread."""
    running: FrameType | None = None

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal running
        if running is None and event == "call":
            handler = signal.getsignal(number)
            running = frame if frame.f_code is getattr(handler, "__code__", None) else None
        if running is None:
            return None
        if event == "line":
            signal.raise_signal(number)  # Python traces nothing meanwhile, so this one has no others in it
        if event == "return" and frame is running:
            running = None
        return trace

    sys.settrace(trace)
