"""Signals of the processes that save a run: none is lost, and none keeps them from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOLD = "import signal\nfrom components.uploads import Told\ntold = Told(signal.SIGTERM)\n"


@pytest.mark.parametrize(
    "signals",
    [
        # As when one comes while the main thread waits, or while it handles another one.
        "with told._cond:\n    signal.raise_signal(signal.SIGTERM)\n",
        "for _ in range(200_000):\n    signal.raise_signal(signal.SIGTERM)\n",
    ],
    ids=["inside the event", "more than the pipe holds"],
)
def test_a_signal_at_any_moment_is_heard(signals: str) -> None:
    script = f"{TOLD}{signals}assert told.wait(10)\nassert 0 < told.at\n"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=30, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_it_is_told_once() -> None:
    """Until when the last upload may take is counted from the first signal."""
    script = f"{TOLD}told.set(); first = told.at; told.set(); assert told.at == first > 0\n"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=30, check=True)
