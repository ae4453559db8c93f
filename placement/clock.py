"""Time, so that a rehearsal can have its own."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What is waited by."""

    def now(self) -> datetime:
        """The time, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class SystemClock:
    """This machine's time."""

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)
