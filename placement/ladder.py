"""The ladder: the places that a stack accepts, best first.

A ladder is written as entries; an entry may name several tiers, regions and purchases, and ``expand`` makes the rungs
out of them. Everything here is a pure function of the entries and the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import catalog
from catalog import ANY_TIER, Offer, Price, Purchase, Surface

__all__ = [
    "ANY_TIER",
    "LadderEntry",
    "Place",
    "Purchase",
    "Rung",
    "Surface",
    "default_purchase",
    "expand",
    "tier_label",
]

NO_GPU_TIERS = (ANY_TIER, "cpu")
"""Tiers that have no GPU count: nothing is asked for (``any``) or there is none (``cpu``)."""


@dataclass(frozen=True)
class LadderEntry:
    """One entry of ``gpubench:ladder`` as it was written, checked, with singular and plural forms made one.

    ``count``: GPUs of one machine (a fraction for fractional shapes); None: 1. ``purchases`` empty: see
    ``default_purchase``. ``machine_types`` empty: the smallest shape that fits. ``zones`` empty: all zones of a region.
    ``max_hours``: the longest that a run may hold the rung; None: the surface's own limit.
    """

    surface: Surface
    project: str | None = None
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    tiers: tuple[str, ...] = (ANY_TIER,)
    count: float | None = None
    purchases: tuple[Purchase, ...] = ()
    machine_types: tuple[str, ...] = ()
    reservation: str | None = None
    max_hours: float | None = None


@dataclass(frozen=True, order=False)
class Place:
    """Surface, project (Google Cloud) or account id (AWS), region and zones; no zones: any zone of the region."""

    surface: Surface
    project: str | None
    region: str | None
    zones: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rung:
    """A place, a tier, a machine shape and a purchase: what one attempt tries.

    ``count`` is GPUs of one machine: a fraction for fractional shapes, 0 for tiers ``cpu`` and ``any``.
    ``machine_types`` are equally good shapes in order of preference; empty on surface ``local``.
    """

    place: Place
    tier: str
    count: float
    machine_types: tuple[str, ...]
    purchase: Purchase
    reservation: str | None = None
    max_hours: float | None = None

    @property
    def surface(self) -> Surface:
        """The place's surface."""
        return self.place.surface

    @cached_property
    def id(self) -> str:
        """A stable name, unique on a ladder, of letters, digits and ``. _ / + @ : -``.

        ``gce/my-project/us-central1/h100x8/spot/a3-highgpu-8g``: surface, project or account (if any), region, tier
        (with ``x`` and the count unless it is 1), purchase, machine types joined by ``+``, then ``@`` and the zones
        joined by ``+`` where they are given, then ``@reservation:<name>``. On surface ``local`` the tier ends it:
        ``local/any``, ``local/l4``.
        """
        label = tier_label(self.tier, self.count)
        if self.place.surface == Surface.LOCAL:
            return f"local/{label}"
        parts = [self.place.surface, self.place.project, self.place.region, label, self.purchase]
        parts.append("+".join(self.machine_types))
        text = "/".join(str(part) for part in parts if part)
        if self.place.zones:
            text += "@" + "+".join(self.place.zones)
        if self.reservation:
            text += "@reservation:" + self.reservation
        return text

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The catalogue's offers behind this rung, one a machine type; empty on surface ``local``."""
        found: list[Offer] = []
        for machine_type in self.machine_types:
            found.extend(
                catalog.offers(
                    surface=self.place.surface,
                    tier=self.tier,
                    region=self.place.region,
                    count=self.count,
                    machine_type=machine_type,
                )
            )
        return tuple(found)

    @property
    def usd_per_hour(self) -> Price | None:
        """What an hour costs by the catalogue: the dearest of the machine types, since any of them may be obtained.

        None where the price of one of them in this region is not known. On surface ``local`` None as well: the machine
        is the user's own, and costs nothing (``is_free``).
        """
        if not self.place.region or not self.machine_types:
            return None
        found = [catalog.price(offer, self.place.region, self.purchase) for offer in self.offers]
        known = [p for p in found if p is not None]
        if not known or len(known) < len(self.machine_types):
            return None
        return max(known, key=lambda p: p.usd_per_hour_max)

    @property
    def is_free(self) -> bool:
        """True on surface ``local``: the price of the rung is 0."""
        return self.place.surface == Surface.LOCAL


def tier_label(tier: str, count: float) -> str:
    """``l4``, ``h100x8``, ``rtx-pro-6000x0.125``: the tier, with ``x`` and the count unless that is 1 or none."""
    return tier if count in (0, 1) else f"{tier}x{count:g}"


def default_purchase(
    surface: str, tier: str, region: str | None, count: float, machine_types: Iterable[str] = ()
) -> Purchase:
    """How a rung is bought if the stack doesn't say: on demand where it is sold so, else the cheapest that is sold.

    Prices of the region decide between spot and flex-start; where one has no known price there, spot comes first,
    because its machine comes at once or not at all, and flex-start waits. Never ``reserved``: who has a reservation
    names it. A purchase that no good source confirms is never chosen.
    """
    if surface == Surface.LOCAL:
        return Purchase.ON_DEMAND
    wanted = tuple(machine_types)
    found = [
        o
        for o in catalog.offers(surface=surface, tier=tier, region=region, count=count)
        if not wanted or o.machine_type in wanted
    ]
    if wanted:
        sold_by_all = [p for p in Purchase if found and all(p in o.purchases and p not in o.unverified for o in found)]
    else:
        sold_by_all = [p for p in Purchase if any(p in o.purchases and p not in o.unverified for o in found)]
    if Purchase.ON_DEMAND in sold_by_all or not sold_by_all:
        return Purchase.ON_DEMAND
    choices = [p for p in sold_by_all if p != Purchase.RESERVED]
    priced: list[tuple[float, Purchase]] = []
    for purchase in choices:
        here = [catalog.price(o, region, purchase) for o in found if purchase in o.purchases] if region else []
        known = [p.usd_per_hour for p in here if p is not None]
        if known:
            priced.append((min(known), purchase))
    if len(priced) == len(choices) and priced:
        return min(priced)[1]
    return choices[0] if choices else sold_by_all[0]


def default_machine_types(
    surface: str, tier: str, region: str | None, count: float, purchase: str, zones: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The shape of a rung if the stack doesn't say: the first (smallest) that fits, or none on surface ``local``.

    One that is listed in the zones given, if zones are given.
    """
    if surface == Surface.LOCAL:
        return ()
    found = catalog.offers(surface=surface, tier=tier, region=region, count=count, purchase=purchase)
    if zones and region:
        # Zones that the catalogue doesn't know (none were read for the region) exclude nothing.
        found = tuple(o for o in found if set(zones) & set(o.zones(region))) or found
    sure = [o for o in found if purchase not in o.unverified] or list(found)
    return (sure[0].machine_type,) if sure else ()


def count_of(tier: str, count: float | None) -> float:
    """GPUs of one machine: what was written, else 1; 0 for tiers without a count."""
    if tier in NO_GPU_TIERS:
        return 0
    if count is None:
        return 1
    return int(count) if count == int(count) else count


def expand(entries: Iterable[LadderEntry]) -> tuple[Rung, ...]:
    """The rungs of a ladder, best first.

    Order: entries as written; within an entry tiers first, then regions, then purchases, each as written. So an entry
    with tiers [h100, l4] and regions [us-central1, us-east4] tries H100 in both regions before L4 in either; all zones
    of a region are one rung, because the cloud itself searches inside a region. Zones given by the stack narrow the
    rung of their own region.

    Doesn't check anything: what is not sold expands too (``settings`` refuses it before).
    """
    rungs: list[Rung] = []
    for entry in entries:
        for tier in entry.tiers:
            count = count_of(tier, entry.count)
            for region in entry.regions or (None,):
                zones = tuple(
                    z
                    for z in entry.zones
                    if region is None or len(entry.regions) == 1 or catalog.region_of_zone(entry.surface, z) == region
                )
                purchases = entry.purchases or (
                    default_purchase(entry.surface, tier, region, count, entry.machine_types),
                )
                for purchase in purchases:
                    shapes = entry.machine_types
                    if len(entry.tiers) > 1:
                        # Of the shapes that an entry names for several tiers, each tier takes its own.
                        own = {o.machine_type for o in catalog.offers(surface=entry.surface, tier=tier)}
                        shapes = tuple(s for s in shapes if s in own)
                    rungs.append(
                        Rung(
                            place=Place(entry.surface, entry.project, region, zones),
                            tier=tier,
                            count=count,
                            machine_types=shapes
                            or default_machine_types(entry.surface, tier, region, count, purchase, zones),
                            purchase=purchase,
                            reservation=entry.reservation if purchase == Purchase.RESERVED else None,
                            max_hours=entry.max_hours,
                        )
                    )
    return tuple(rungs)
