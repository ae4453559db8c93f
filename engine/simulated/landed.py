"""Surfaces that have landed, in a rehearsal: what they declare, watch and sweep is real, and the cloud is simulated.

Only the run itself is the stand-in's: nothing is measured.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType, ModuleType
from typing import Any

import pulumi

from benchmark_job.order import RunOrder
from catalog import Surface
from components.ecs import surface as ecs
from components.ecs import sweep as ecs_sweep
from components.ecs.names import role_name
from components.ecs.watch import Watch as EcsWatch
from components.gce import surface as gce
from components.gce import sweep as gce_sweep
from components.gce.names import service_account_email
from components.gce.watch import Watch as GceWatch
from components.interface import Capacity, Control, Execution, Standings, SurfaceError
from components.waiting import Seen
from engine import rehearsal
from engine.simulated.amazon import SimulatedAmazon
from engine.simulated.cloud import Cloud
from engine.simulated.google import SimulatedGoogle
from engine.simulated.grants import name_of
from engine.simulated.standins import BUILT_IN, StandIn, execute, patient, seal
from placement.ledger import Attempt
from placement.verdicts import Answer, Grants, Preflight, Question
from settings import ResultsStore, Settings

_BUCKET = "gpubench-rehearsal"


class Landed(StandIn):
    """A surface on the simulated cloud. What an attempt cost is the simulated cloud's bill.

    ``surface``, ``sweeping``: its own modules. ``stores``: the kind of bucket that its machines write into.
    """

    surface: ModuleType
    sweeping: ModuleType
    stores: str

    def declare_standing(
        self, name: str, standings: Standings, opts: pulumi.ResourceOptions
    ) -> pulumi.ComponentResource | None:
        """As in earnest; a folder as results store has a bucket beside it."""
        settings = self._with_bucket(standings.settings)
        made: pulumi.ComponentResource | None = self.surface.declare_standing(
            name, replace(standings, settings=settings, adopts=False), opts
        )
        return made

    def declare(self, name: str, capacity: Capacity, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
        """As in earnest; a stack that names no image has one that doesn't exist anywhere."""
        image = capacity.image or self.resolve_image(BUILT_IN)
        settings = self._with_bucket(capacity.settings)
        orders = tuple(replace(order, store=settings.results.url) for order in capacity.orders)
        made: pulumi.ComponentResource = self.surface.declare(
            name, replace(capacity, image=image, settings=settings, orders=orders), opts
        )
        return made

    def execute(self, order: RunOrder, execution: Execution, control: Control) -> None:
        """Wait as in earnest, and let the run's time pass."""
        cloud = patient(rehearsal.cloud())
        look = self.watch(cloud, order)
        seal(order, execution, execute(cloud, order, control.say, execution.is_stopped, look=look))

    def alive(self, attempt: Attempt) -> bool:
        """As in earnest."""
        return bool(self.sweeping.alive(self.api(attempt.id), attempt))

    def sweep(self, attempt: Attempt) -> None:
        """As in earnest."""
        cloud = rehearsal.cloud()
        left = self.sweeping.sweep(self.api(attempt.id), attempt, clock=lambda: cloud.now().timestamp()).left
        if left:
            raise SurfaceError("\n".join(f"{what}: {why}" for what, why in left))

    @abstractmethod
    def api(self, attempt: str) -> Any:
        """The simulated cloud, as the surface's own modules ask it about an attempt."""

    @abstractmethod
    def watch(self, cloud: Cloud, order: RunOrder) -> Callable[[], Seen]:
        """One look at an attempt's capacity, as the surface's own watch has it."""

    def _with_bucket(self, settings: Settings) -> Settings:
        if settings.results.kind == self.stores:
            return settings
        return replace(settings, results=ResultsStore(self.stores, f"{self.stores}://{_BUCKET}", bucket=_BUCKET))


class LandedGce(Landed):
    """Compute Engine."""

    surface, sweeping = gce, gce_sweep
    stores = "gs"

    def __init__(self) -> None:
        super().__init__(Surface.GCE)

    def preflight(self, stack: str, settings: Settings) -> Preflight:
        """The simulated cloud's answers, to a stack whose machines run as an account of its own."""
        return _OwnAccount(super().preflight(stack, settings), "vm", lambda it: service_account_email(stack, it))

    def api(self, attempt: str) -> SimulatedGoogle:
        """See `Landed`."""
        return SimulatedGoogle(patient(rehearsal.cloud()), attempt)

    def watch(self, cloud: Cloud, order: RunOrder) -> Callable[[], Seen]:
        """See `Landed`."""
        assert order.project and order.region
        return GceWatch(SimulatedGoogle(cloud, order.attempt), order.project, order.region, order.attempt).seen


class LandedEcs(Landed):
    """Amazon ECS."""

    surface, sweeping = ecs, ecs_sweep
    stores = "s3"

    def __init__(self) -> None:
        super().__init__(Surface.ECS)

    def preflight(self, stack: str, settings: Settings) -> Preflight:
        """The simulated cloud's answers, to a stack whose tasks are started by a role of its own."""
        role = role_name(stack, "execution")
        asked = super().preflight(stack, settings)
        return _OwnAccount(asked, "execution-role", lambda account: f"arn:aws:iam::{account}:role/{role}")

    def api(self, attempt: str) -> SimulatedAmazon:
        """See `Landed`."""
        return SimulatedAmazon(patient(rehearsal.cloud()), attempt)

    def watch(self, cloud: Cloud, order: RunOrder) -> Callable[[], Seen]:
        """See `Landed`."""
        assert order.project and order.region
        api = SimulatedAmazon(cloud, order.attempt)
        return EcsWatch(api, order.project, order.region, order.attempt, now=cloud.now).seen


LANDED: Mapping[Surface, Callable[[], Landed]] = MappingProxyType({Surface.GCE: LandedGce, Surface.ECS: LandedEcs})


class _OwnAccount:
    """A preflight whose grants are the stack's own, where the simulated cloud knows of defaults alone."""

    def __init__(self, preflight: Preflight, default: str, own: Callable[[str], str]) -> None:
        """``default``: a principal of the simulated cloud's; ``own``: the stack's, in a project or account."""
        self._preflight, self._default, self._own = preflight, default, own

    def ask(self, question: Question) -> Answer:
        """See `Preflight`."""
        answer = self._preflight.ask(question)
        if not isinstance(answer, Grants) or not question.project:
            return answer
        default, own = name_of(self._default, question.project), self._own(question.project)
        names = ((default, own), (default.rpartition("/")[2], own.rpartition("/")[2]))

        def named(text: str) -> str:
            for old, new in names:
                text = text.replace(old, new)
            return text

        return Grants(
            tuple(
                replace(one, principal=own, mend=named(one.mend)) if one.principal == default else one
                for one in answer.grants
            )
        )
