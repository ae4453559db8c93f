"""What a surface offers: the interface that each `components/<surface>/surface.py` implements as a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import pulumi

from benchmark_job.order import RunOrder
from placement.causes import Cause
from placement.ladder import Rung
from placement.ledger import Attempt
from placement.verdicts import Preflight
from settings import Settings

STACK_LABEL, ATTEMPT_LABEL = "gpubench-stack", "gpubench-attempt"
"""Labels (tags on AWS) of all that an attempt asks for: the sweep finds by them what is left."""


class SurfaceError(Exception):
    """The surface can't do what a stack asks of it. The text says what, and how to mend it.

    `cause`: where the surface itself knows it; a cloud's own words are classified by their text.
    """

    def __init__(self, text: str, cause: Cause | None = None) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True)
class Execution:
    """One try of a run: the folder that becomes its results, the log beside it, and the run's stop file.

    `lock` is an open file that holds the run's lock; who outlives this process inherits it.
    """

    folder: Path
    log: Path
    stop: Path
    lock: int
    secrets: Mapping[str, str]
    begun: float = field(init=False)
    """Its folder's time when it began: what is put there later makes the folder newer."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "begun", self.folder.stat().st_mtime)

    def is_stopped(self) -> bool:
        """Whether a person has asked for its end since it began.

        Its folder and its stop file have their times from one file system, so no moment is left out.
        """
        return is_newer(self.stop, self.begun)


def is_newer(stop: Path, since: float) -> bool:
    """Whether a stop file was written at that time (seconds since 1970) or later."""
    try:
        return stop.stat().st_mtime >= since
    except OSError:
        return False


@dataclass(frozen=True)
class Control:
    """How an execution talks to who ordered it: progress lines out, "your engine is gone" in."""

    say: Callable[[str], None]
    engine_is_gone: Callable[[], bool]


@dataclass(frozen=True)
class Capacity:
    """What one attempt asks for. It belongs to that attempt alone: another attempt replaces it.

    ``image``: what its machine will pull, by digest. ``image_gb``: asks how much that is, compressed, in GB; None:
    that isn't known. ``zones``: what a cloud's hint narrowed the attempt to; empty: all
    of the rung's. ``hours``: the longest that a machine may be held, which the cloud itself has to enforce. ``begun``:
    when the attempt began, for a cloud that is told a time of day; it stays when the attempt is gone on with.
    ``labels``: for everything that bears labels or tags; STACK_LABEL and ATTEMPT_LABEL among them. ``orders``: the runs
    that are due, in order. ``standing``: what `Surface.declare_standing` declared. ``hooks``: for each resource that
    asks for capacity: they classify a failure and write the ledger.
    """

    rung: Rung
    attempt: str
    image: str | None
    zones: tuple[str, ...]
    hours: float
    begun: datetime
    labels: Mapping[str, str]
    hooks: pulumi.ResourceHookBinding
    settings: Settings
    orders: tuple[RunOrder, ...]
    standing: pulumi.ComponentResource | None = None
    image_gb: Callable[[], float | None] = lambda: None

    @property
    def search_zones(self) -> tuple[str, ...]:
        """What a cloud's hint narrowed the attempt to, else the rung's own, else all that the catalogue lists."""
        rung = self.rung
        listed = {zone: None for offer in rung.offers for zone in offer.zones(rung.place.region or "")}
        return self.zones or rung.place.zones or tuple(listed)


@dataclass(frozen=True)
class Standings:
    """What a surface needs to know to declare what a stack has of it whether a run is due or not.

    ``rungs``: the ladder's rungs of this surface, best first. ``secrets``: the benchmark's secrets by environment
    variable, as Pulumi secrets. ``labels``: for everything that bears them. ``adopts``: whether to look at what is
    there already; a rehearsal has nothing.
    """

    settings: Settings
    rungs: tuple[Rung, ...]
    stack: str
    secrets: Mapping[str, pulumi.Output[str]]
    labels: Mapping[str, str]
    hooks: pulumi.ResourceHookBinding
    adopts: bool = True


class CapacityComponent(pulumi.ComponentResource):
    """The capacity of one attempt whose runs need to be told what only the cloud can name.

    ``handles``: by names of the surface's own; they come back in `RunOrder.handles`.
    """

    handles: Mapping[str, pulumi.Input[str]]


@dataclass(frozen=True)
class Held:
    """What an attempt has had of a surface: a machine, if it got one, since when, and what it cost so far (USD)."""

    usd: float = 0.0
    since: datetime | None = None
    zone: str | None = None
    machine_type: str | None = None


class Surface(Protocol):
    """One way to run a container."""

    UPLOADS: bool
    """Whether its machines put results into the store's bucket themselves, in a folder of the ledger's attempt."""

    def check(self, settings: Settings) -> None:
        """Raises SurfaceError for settings that it can't work with."""

    def resolve_image(self, image: str) -> str:
        """The image by digest (`name@sha256:…`), before anything is declared. Raises SurfaceError."""

    def preflight(self, stack: str, settings: Settings) -> Preflight:
        """Who answers what is known of a stack's rung before anything is tried. Raises SurfaceError if nobody can."""

    def declare_standing(
        self, name: str, standings: Standings, opts: pulumi.ResourceOptions
    ) -> pulumi.ComponentResource | None:
        """Declare what stays from one attempt to the next, if there is anything: accounts, grants, stores."""

    def declare(self, name: str, capacity: Capacity, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
        """Declare the capacity of one attempt. Called only while a run is due."""

    def execute(self, order: RunOrder, execution: Execution, control: Control) -> None:
        """Carry the order out; when this returns, the execution's folder is sealed.

        Where no capacity comes within `order.wait_s`, the attempt's size is set to 0, so that it asks for no more, and
        SurfaceError is raised with what the cloud said. Raises SurfaceError for all else that kept it from starting.
        """

    def alive(self, attempt: Attempt) -> bool:
        """Whether an attempt that was left under way still has what it had: its machine, or its place in a queue."""

    def sweep(self, attempt: Attempt) -> None:
        """Take away what a lost attempt left, its capacity first. Does nothing where nothing is left.

        The rung may not be on the ladder any more: surface, project and region are the attempt's.
        """

    def held(self, attempt: Attempt, rung: Rung) -> Held:
        """What an attempt has had so far."""
