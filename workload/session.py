"""One run of the workload: what is planned, what is under way, what was measured, and how it ends.

The measuring is done on a thread of its own, and the main thread only watches it. A signal's handler runs on the main
thread between two of its instructions, so it must never be inside a call that lasts: LoadGen sleeps for minutes in C++,
and a hung driver for ever. When the run must end early, the main thread closes the session (nothing is recorded any
more), seals the folder, and ends the process with the other threads where they are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from results_folder import ResultsFolder, utc_text
from workload import faults

_BALLAST_BYTES = 8 << 20


class StoppedError(Exception):
    """The session was closed; the measuring thread ends."""


@dataclass
class Step:
    """One test, or one kernel at one precision."""

    name: str
    run: Callable[[], str]
    """Measures, records, and returns what to tell about it in a few words."""
    expected_s: float
    """As far as is known; becomes better once the device's speed is."""
    seconds: Callable[[], float | None] = field(default=lambda: None)
    """A better value for expected_s, when there is one."""


class Session:
    """Shared by the measuring thread, which calls all methods but `close` and `progress`, and the main thread."""

    def __init__(self, folder: ResultsFolder) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.steps: list[Step] = []
        self.done = 0
        self.current = "starting"
        self.current_since = time.monotonic()
        self.fault: faults.Fault | None = None
        self.stopping = False
        self.running_test: RunningTest | None = None
        self._lock = threading.Lock()
        # Given back when something fails, so that an exhausted machine still has memory to write the results with.
        self._ballast: bytearray | None = bytearray(_BALLAST_BYTES)

    def record(self, record: Mapping[str, object]) -> None:
        """Adds a record, with the time. Raises OSError (disk full) and StoppedError."""
        with self._lock:
            if self.stopping:
                raise StoppedError
            self.folder.append({**record, "at": utc_text()})

    def note(self, text: str) -> None:
        """A remark for workload.notes; told once, and printed."""
        if text not in self.notes:
            self.notes.append(text)
            say(f"note: {text}")

    def check(self) -> None:
        """Raises StoppedError if the session was closed."""
        if self.stopping:
            raise StoppedError

    def run_steps(self, steps: Iterable[Step]) -> None:
        self.steps = list(steps)
        for number, step in enumerate(self.steps, start=1):
            self.check()
            self.current, self.current_since = step.name, time.monotonic()
            told = step.run()
            self.done = number
            say(f"[{number}/{len(self.steps)}] {step.name}: {told}")

    def fail(self, error: BaseException) -> None:
        """Ends the run with what an exception means. The first failure counts."""
        self._ballast = None
        if self.fault is None and not isinstance(error, StoppedError):
            self.fault = faults.classify(error)
            if self.fault.exit_code == 1:
                with contextlib.suppress(Exception):
                    traceback.print_exception(error)

    def remaining_s(self) -> float | None:
        """Estimate from the steps' expected seconds; None before there are steps."""
        if not self.steps:
            return None
        expected = [step.seconds() or step.expected_s for step in self.steps[self.done :]]
        if not expected:
            return 0.0
        return max(0.0, expected[0] - (time.monotonic() - self.current_since)) + sum(expected[1:])

    def progress(self) -> None:
        """Writes progress.json. A disk too full for it is found out by the next record."""
        with contextlib.suppress(OSError):
            self.folder.progress(self.current, self.done, len(self.steps), remaining_s=self.remaining_s())

    def close(self) -> None:
        """From here on nothing is recorded, and LoadGen writes nothing into the folder, whatever still runs."""
        self._ballast = None
        with self._lock:
            self.stopping = True
        if (test := self.running_test) is not None:
            test.opened.wait(timeout=3)
            self.notes.append(
                f"{test.name} was under way: {test.answered()} of {test.total} samples were answered. LoadGen gives no "
                "verdict on a part of a test, so there is no record of it; its logs up to then are kept"
            )
            detach(test.log_dir)


@dataclass
class RunningTest:
    """A LoadGen test under way."""

    name: str
    log_dir: Path
    total: int
    answered: Callable[[], int]
    opened: threading.Event = field(default_factory=threading.Event)
    """Set when LoadGen has opened its logs."""


def detach(folder: Path) -> None:
    """Puts copies in the place of a folder's files, so that who has them open writes into the void from now on.

    LoadGen can't be told to stop (its AbortTest has no Python binding), and its logging thread would change files that
    the manifest has already described.
    """
    for file in folder.iterdir() if folder.is_dir() else ():
        copy = file.with_name(file.name + ".copy")
        try:
            shutil.copyfile(file, copy)
            copy.replace(file)
        except OSError:
            copy.unlink(missing_ok=True)
            file.unlink(missing_ok=True)


def park() -> NoReturn:
    """Never returns. For a thread inside a call from LoadGen: no exception may pass through LoadGen's C++ frames (its
    logging thread would be left with pointers into them), and the main thread is about to end the process."""
    while True:
        threading.Event().wait()


def say(text: str) -> None:
    """A line for people. A reader that went away doesn't end a benchmark."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def complain(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def end_process(code: int) -> NoReturn:
    """Ends at once, whatever other threads are doing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
