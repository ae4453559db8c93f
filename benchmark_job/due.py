"""Which runs a stack asks for, and which of them have no results yet."""

from __future__ import annotations

import components
from benchmark_job import store
from benchmark_job.order import RunOrder, run_orders
from placement.ladder import Rung
from settings import Settings


def orders(settings: Settings, rung: Rung, stack: str) -> tuple[RunOrder, ...]:
    """The stack's runs, one a repeat, as they would be carried out on this rung.

    An image is resolved to its digest first: a tag that moves is another benchmark, and so another run. Raises
    SurfaceError where it can't be, SurfaceNotBuilt for a rung that this version can't run on.
    """
    surface = components.load(str(rung.surface), rung.id)
    image = settings.benchmark.image
    return run_orders(settings, rung, stack, None if image is None else surface.resolve_image(image))


def results_of(order: RunOrder) -> str | None:
    """The attempt at a run that has its results; None: the run is due. Raises StoreError."""
    store.bring_home(order.store, order.run)
    attempt = store.complete_attempt(store.folder(order.store), order.run, order.rungs)
    return None if attempt is None else attempt.attempt_id
