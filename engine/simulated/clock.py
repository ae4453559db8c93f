"""A clock that stands still but for ``sleep``."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class SimulatedClock:
    """Stands still but for ``sleep``, which returns at once. Threads may share it."""

    def __init__(self, start: datetime) -> None:
        """``start`` must be aware of its time zone. Raises ValueError if it isn't."""
        if start.tzinfo is None:
            raise ValueError(f"the start of a simulated clock needs a time zone: {start.isoformat()}")
        self._now = start.astimezone(UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The time."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on by so many seconds. Nothing for 0 or less."""
        if seconds > 0:
            with self._lock:
                self._now += timedelta(seconds=seconds)
