"""Surfaces that have landed, in a rehearsal: what they declare, watch and sweep is real, and the cloud is simulated.

Only the run itself is the stand-in's: nothing is measured.
"""

from __future__ import annotations

from dataclasses import replace

import pulumi

from benchmark_job.order import RunOrder
from catalog import Surface
from components.gce import surface as gce
from components.gce import sweep as sweeping
from components.gce.watch import Watch
from components.interface import Capacity, Control, Execution, Standings, SurfaceError
from engine import rehearsal
from engine.simulated.google import SimulatedGoogle
from engine.simulated.standins import BUILT_IN, StandIn, execute, patient, seal
from placement.ledger import Attempt
from settings import ResultsStore, Settings

_BUCKET = "gpubench-rehearsal"


class LandedGce(StandIn):
    """Compute Engine's surface, on the simulated cloud. What an attempt cost is the simulated cloud's bill."""

    def __init__(self) -> None:
        super().__init__(Surface.GCE)

    def declare_standing(
        self, name: str, standings: Standings, opts: pulumi.ResourceOptions
    ) -> pulumi.ComponentResource | None:
        """As in earnest; a folder as results store has a bucket beside it."""
        settings = _with_bucket(standings.settings)
        return gce.declare_standing(name, replace(standings, settings=settings, adopts=False), opts)

    def declare(self, name: str, capacity: Capacity, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
        """As in earnest; a stack that names no image has one that doesn't exist anywhere."""
        image = capacity.image or self.resolve_image(BUILT_IN)
        return gce.declare(name, replace(capacity, image=image, settings=_with_bucket(capacity.settings)), opts)

    def execute(self, order: RunOrder, execution: Execution, control: Control) -> None:
        """Wait as in earnest, and let the run's time pass."""
        cloud = patient(rehearsal.cloud())
        assert order.project and order.region
        watch = Watch(SimulatedGoogle(cloud, order.attempt), order.project, order.region, order.attempt)
        seal(order, execution, execute(cloud, order, control.say, execution.is_stopped, look=watch.seen))

    def alive(self, attempt: Attempt) -> bool:
        """As in earnest."""
        return sweeping.alive(self._google(attempt), attempt)

    def sweep(self, attempt: Attempt) -> None:
        """As in earnest."""
        left = sweeping.sweep(self._google(attempt), attempt, clock=lambda: rehearsal.cloud().now().timestamp()).left
        if left:
            raise SurfaceError("\n".join(f"{what}: {why}" for what, why in left))

    @staticmethod
    def _google(attempt: Attempt) -> SimulatedGoogle:
        return SimulatedGoogle(patient(rehearsal.cloud()), attempt.id)


def _with_bucket(settings: Settings) -> Settings:
    if settings.results.kind == "gs":
        return settings
    return replace(settings, results=ResultsStore("gs", f"gs://{_BUCKET}", bucket=_BUCKET))
