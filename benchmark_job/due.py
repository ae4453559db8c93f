"""Which runs a stack asks for, and which of them have no results yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import components
from benchmark_job import store
from benchmark_job.order import RunOrder, job_digest, run_orders
from components import image_build
from placement.choice import current_rung
from placement.ladder import Rung
from placement.ledger import Attempt
from settings import Settings


def orders(settings: Settings, rung: Rung, stack: str) -> tuple[RunOrder, ...]:
    """The stack's runs, one a repeat, as they would be carried out on this rung.

    An image is resolved to its digest first: a tag that moves is another benchmark, and so another run. Raises
    SurfaceError where it can't be (ImageNotBuilt where nobody has built it yet), SurfaceNotBuilt for a rung that this
    version can't run on.
    """
    surface = components.load(str(rung.surface), rung.id)
    return run_orders(settings, rung, stack, image_build.resolve(settings.benchmark, surface.resolve_image))


def results_of(order: RunOrder) -> str | None:
    """The attempt at a run that has its results; None: the run is due. Raises StoreError."""
    store.bring_home(order.store, order.run)
    attempt = store.complete_attempt(store.folder(order.store), order.run, order.rungs)
    return None if attempt is None else attempt.attempt_id


def due_runs(settings: Settings, attempts: Sequence[Attempt], now: datetime, stack: str) -> tuple[str, ...]:
    """The stack's runs that have no results. Raises what `orders` and `results_of` do.

    Any rung of the ladder does: where a run is carried out is no part of its name.
    """
    job, surfaces = job_digest(settings.benchmark), components.built()
    rung = current_rung(settings, attempts, now, job=job, surfaces=surfaces)
    return tuple(order.run for order in orders(settings, rung, stack) if results_of(order) is None)
