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
from components.gce.names import service_account_email
from components.gce.watch import Watch
from components.interface import Capacity, Control, Execution, Standings, SurfaceError
from engine import rehearsal
from engine.simulated.google import SimulatedGoogle
from engine.simulated.grants import name_of
from engine.simulated.standins import BUILT_IN, StandIn, execute, patient, seal
from placement.ledger import Attempt
from placement.verdicts import Answer, Grants, Preflight, Question
from settings import ResultsStore, Settings

_BUCKET = "gpubench-rehearsal"


class LandedGce(StandIn):
    """Compute Engine's surface, on the simulated cloud. What an attempt cost is the simulated cloud's bill."""

    def __init__(self) -> None:
        super().__init__(Surface.GCE)

    def preflight(self, stack: str, settings: Settings) -> Preflight:
        """The simulated cloud's answers, to a stack whose machines run as an account of its own."""
        return _OwnAccount(super().preflight(stack, settings), stack)

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


class _OwnAccount:
    """A preflight whose grants are the stack's account's, where the simulated cloud knows of the default one alone."""

    def __init__(self, preflight: Preflight, stack: str) -> None:
        self._preflight, self._stack = preflight, stack

    def ask(self, question: Question) -> Answer:
        """See `Preflight`."""
        answer = self._preflight.ask(question)
        if not isinstance(answer, Grants) or not question.project:
            return answer
        default = name_of("vm", question.project)
        own = service_account_email(self._stack, question.project)
        return Grants(
            tuple(
                replace(one, principal=own, mend=one.mend.replace(default, own)) if one.principal == default else one
                for one in answer.grants
            )
        )


def _with_bucket(settings: Settings) -> Settings:
    if settings.results.kind == "gs":
        return settings
    return replace(settings, results=ResultsStore("gs", f"gs://{_BUCKET}", bucket=_BUCKET))
