"""What an attempt measured is kept, although its machine is gone and nobody watched it go."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import components
from benchmark_job import due, store
from benchmark_job.order import RunOrder
from components import following
from components.interface import SurfaceError
from placement.causes import Failure
from placement.ledger import Attempt
from settings import Settings


def keep(attempt: Attempt, settings: Settings, failure: Failure) -> tuple[Path, ...]:
    """Seal what an attempt left unsealed in the results store's bucket, with why it ended; the folders that came home.

    For an attempt that has been swept, on a surface whose machines upload. The manifests are put into the bucket, too.
    Where there is one already, that one stays. Raises StoreError, and OSError where this machine's disk refuses.
    """
    # Only for what they know of the image, which may have to be asked of a registry.
    orders: dict[str, RunOrder] = {}

    def seal(run: str, folder: Path, span: store.Span) -> None:
        if not orders:
            with suppress(SurfaceError, components.SurfaceNotBuilt):
                orders.update({one.run: one for one in _orders(attempt, settings)})
        # Its machine may have gone days ago: what it uploaded says how long it has measured.
        begun, ended = span or (attempt.begun, attempt.begun)
        following.seal(folder, _stamps(attempt, settings, run, orders.get(run)), failure, begun, ended)

    return store.keep(settings.results.url, attempt.id, seal)


def has_won(attempt: Attempt, settings: Settings) -> bool:
    """Whether all that the stack asks for has results, and some are this attempt's: it ended well, and unseen.

    Raises StoreError, SurfaceError, SurfaceNotBuilt.
    """
    found = [due.results_of(order) for order in _orders(attempt, settings)]
    return None not in found and attempt.id in found


def _orders(attempt: Attempt, settings: Settings) -> tuple[RunOrder, ...]:
    """The runs that the stack asks for now."""
    rung = next((rung for rung in settings.ladder if rung.id == attempt.rung), settings.ladder[0])
    return due.orders(settings, rung, attempt.stack)


def _stamps(attempt: Attempt, settings: Settings, run: str, order: RunOrder | None) -> Mapping[str, object]:
    """A run's stamps, as far as they are known by now.

    The commit of gpubench itself isn't: the working tree may have moved on since the run was ordered.
    """
    rung = next((rung for rung in settings.ladder if rung.id == attempt.rung), None)
    price = rung.usd_per_hour if rung else None
    stamps = {
        "run": run,
        "attempt": attempt.id,
        "stack": attempt.stack,
        "rung": attempt.rung,
        "surface": attempt.surface,
        "requested_tier": attempt.tier,
        "region": attempt.region,
        "purchase": str(rung.purchase) if rung else None,
        "image": order.stamps.get("image") if order else None,
        "image_digest": order.stamps.get("image_digest") if order else None,
        "git_commit": settings.benchmark.code.commit if order and settings.benchmark.code else None,
        "code_digest": run.rpartition("-")[0],
        "usd_per_hour": price.usd_per_hour if price else None,
    }
    return {key: value for key, value in stamps.items() if value is not None}
