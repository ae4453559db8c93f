"""The quotas that machines of Compute Engine take of, as they stand: each API that knows of them knows a part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import catalog
from catalog import Purchase, Quota, Surface
from components.gce.api import Instance, QuotaLimit, QuotaLine, Region
from placement.verdicts import QuotaState

_PER_FAMILY = "GPUS_PER_GPU_FAMILY"
_BOUGHT = {
    "STANDARD": Purchase.ON_DEMAND,
    "SPOT": Purchase.SPOT,
    "FLEX_START": Purchase.FLEX_START,
    "RESERVATION_BOUND": Purchase.RESERVED,
}
_TAKES = frozenset({"PROVISIONING", "STAGING", "RUNNING", "STOPPING", "PENDING_STOP", "REPAIRING"})
"""A machine that has ended takes of no GPU quota any more."""

Key = tuple[str, tuple[tuple[str, str], ...], str | None]
"""A quota's id, its dimensions without the region, and the region (None: all regions together)."""


@dataclass(frozen=True)
class Taken:
    """What machines that are there take of a quota: a lower bound of its usage, and the machines' names."""

    amount: float = 0.0
    by: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def wanted() -> tuple[Quota, ...]:
    """Each quota that a machine of the catalogue takes of, once."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Quota] = {}
    for offer in catalog.offers(surface=Surface.GCE):
        for purchase in Purchase:
            for quota in offer.quotas(purchase):
                found.setdefault((quota.quota_id, quota.dimensions), quota)
    return tuple(found.values())


@lru_cache(maxsize=1)
def unlisted() -> tuple[Quota, ...]:
    """One quota for each id that Compute Engine's own listings leave out, and Cloud Quotas has: H100 and later.

    The quotas of a family's other purchases are as new as the family is.
    """
    found: dict[str, Quota] = {}
    for offer in catalog.offers(surface=Surface.GCE):
        regional = [quota for purchase in Purchase for quota in offer.quotas(purchase) if quota.scope == "region"]
        if any(quota.metric == _PER_FAMILY for quota in regional):
            found.update({quota.quota_id: quota for quota in regional})
    return tuple(found.values())


def of_region(
    region: Region, limits: Mapping[str, tuple[QuotaLimit, ...]], taken: Mapping[Key, Taken] | None
) -> tuple[QuotaState, ...]:
    """The states of a region's quotas. ``limits``: of Cloud Quotas, by id; ``taken`` None: not known."""
    listed = {line.metric: line for line in region.quotas or ()}
    states = []
    for quota in wanted():
        if quota.scope != "region":
            continue
        mine = Taken() if taken is None else taken.get((quota.quota_id, quota.dimensions, region.name), Taken())
        if (line := listed.get(quota.metric)) is not None:
            states.append(_counted(quota, line, mine))
        elif (limit := _limit(limits.get(quota.quota_id, ()), quota, region.name)) is not None:
            usage = None if taken is None else mine.amount
            states.append(QuotaState(quota.service, quota.quota_id, limit, usage, quota.dimensions, mine.by))
    return tuple(states)


def of_project(lines: Iterable[QuotaLine], taken: Mapping[Key, Taken] | None) -> tuple[QuotaState, ...]:
    """The states of the quotas over all regions."""
    listed = {line.metric: line for line in lines}
    return tuple(
        _counted(quota, line, (taken or {}).get((quota.quota_id, quota.dimensions, None), Taken()))
        for quota in wanted()
        if quota.scope == "global" and (line := listed.get(quota.metric)) is not None
    )


def taken_by(instances: Iterable[Instance]) -> dict[Key, Taken]:
    """What these machines take of each quota, by the catalogue; one that isn't in the catalogue takes of none."""
    found: dict[Key, Taken] = {}
    for one in instances:
        purchase = _BOUGHT.get(one.provisioning_model)
        if purchase is None or one.status not in _TAKES:
            continue
        region = one.zone.rpartition("-")[0]
        for quota in _quotas(one.machine_type, one.accelerators, purchase):
            key = (quota.quota_id, quota.dimensions, None if quota.scope == "global" else region)
            before = found.get(key, Taken())
            found[key] = Taken(before.amount + quota.amount, (*before.by, f"{one.name} ({one.zone})"))
    return found


@lru_cache(maxsize=1024)
def _quotas(machine_type: str, accelerators: tuple[tuple[str, int], ...], purchase: Purchase) -> tuple[Quota, ...]:
    """Of N1 machines there are several offers: by what is attached. The others have their accelerators built in."""
    offers = catalog.offers(surface=Surface.GCE, machine_type=machine_type)
    if machine_type.startswith("n1-"):
        offers = tuple(
            o for o in offers if ((o.accelerator, int(o.gpus)) if o.accelerator else None) == (*accelerators, None)[0]
        )
    return offers[0].quotas(purchase) if offers else ()


def _counted(quota: Quota, line: QuotaLine, taken: Taken) -> QuotaState:
    return QuotaState(quota.service, quota.quota_id, line.limit, line.usage, quota.dimensions, taken.by)


def _limit(limits: Iterable[QuotaLimit], quota: Quota, region: str) -> float | None:
    """The first that fits is the most specific: the API lists them so. It holds for what it doesn't name, too."""
    here = {**dict(quota.dimensions), "region": region}
    for one in limits:
        fits = all(here.get(name) == text for name, text in one.dimensions)
        if fits and (not one.locations or region in one.locations or "global" in one.locations):
            return None if one.limit != one.limit else one.limit  # not a number: none was given
    return None
