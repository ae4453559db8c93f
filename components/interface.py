"""What a surface offers: the interface that each `components/<surface>/surface.py` implements as a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pulumi

from benchmark_job.order import RunOrder
from placement.ladder import Rung


class SurfaceError(Exception):
    """The surface can't do what a stack asks of it. The text says what, and how to mend it."""


@dataclass(frozen=True)
class Attempt:
    """One try of a run: the folder that becomes its results, the log beside it, and the run's stop file.

    `lock` is an open file that holds the run's lock; who outlives this process inherits it.
    """

    folder: Path
    log: Path
    stop: Path
    lock: int
    secrets: Mapping[str, str]


@dataclass(frozen=True)
class Control:
    """How an attempt talks to who ordered it: progress lines out, "your engine is gone" in."""

    say: Callable[[str], None]
    engine_is_gone: Callable[[], bool]


class Surface(Protocol):
    """One way to run a container."""

    def resolve_image(self, image: str) -> str:
        """The image by digest (`name@sha256:…`), before anything is declared. Raises SurfaceError."""

    def declare(self, name: str, rung: Rung, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
        """Declare the capacity of one rung. Called only while a run is due."""

    def execute(self, order: RunOrder, attempt: Attempt, control: Control) -> None:
        """Carry the order out; when this returns, the attempt's folder is sealed.

        Raises SurfaceError if it couldn't start.
        """
