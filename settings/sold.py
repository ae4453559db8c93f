"""What a ladder entry asks for on a cloud's surface, against what the catalogue says is sold there."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import catalog
from catalog import ANY_TIER, Offer, Purchase, Surface
from placement.ladder import NO_GPU_TIERS, count_of
from settings.mistakes import Mistakes, Named, did_you_mean, one_of, shown, some_of
from settings.model import FLEX_START_HOURS

_TIER_ALIASES = {
    "a100": "a100-40 or a100-80",
    "rtx6000": "rtx-pro-6000",
    "a10": "a10g",
    "gpu": "l4",
    "any-gpu": "l4",
    "v100-16": "v100",
    "h100-80": "h100",
    "none": "cpu",
}

_ZONE_IDS = "as `aws ec2 describe-availability-zones` shows it"


def known_tiers(found: Iterable[Named], surface: Surface | None, mistakes: Mistakes) -> tuple[Named, ...]:
    """Tiers that exist; unknown ones are told. ``surface``: None if it isn't known."""
    known: list[Named] = []
    names = catalog.tier_names()
    for path, value in found:
        if value in names or (value == ANY_TIER and surface in (None, Surface.LOCAL)):
            known.append(Named(path, value))
        elif value == ANY_TIER:
            mend = f"{ANY_TIER} means what this machine has: only on surface local"
            mistakes.add(path, shown(value), one_of(_tiers_on(surface)), mend)
        else:
            allowed = (*names, ANY_TIER) if surface in (None, Surface.LOCAL) else _tiers_on(surface)
            by_machine = catalog.offers(surface=surface, machine_type=value) if surface else ()
            if by_machine:
                mend = f"that is a machine type: write tier: {by_machine[0].tier}, machine_type: {value}"
            elif value.lower() in _TIER_ALIASES:
                mend = f"did you mean {_TIER_ALIASES[value.lower()]}?"
            else:
                mend = did_you_mean(value, names, "see `gpubench tiers`")
            mistakes.add(path, shown(value), one_of(allowed), mend)
    return tuple(known)


class Sold:
    """Takes an entry's tiers, then its regions, then its machine types, then checks the rest against them.

    ``tiers``, ``regions``, ``machine_types`` and ``count`` are what is known and sold of what the entry names.
    """

    def __init__(self, surface: Surface, path: str, mistakes: Mistakes, written_count: float | None) -> None:
        self.surface, self.path, self.add = surface, path, mistakes.add
        self.mistakes = mistakes
        self.written_count = written_count
        self.tiers: tuple[Named, ...] = ()
        self.regions: tuple[Named, ...] = ()
        self.machine_types: tuple[str, ...] = ()
        self.count: float | None = None
        self._named_types: tuple[Named, ...] = ()

    @property
    def tier_names(self) -> tuple[str, ...]:
        """Names of the tiers that are sold."""
        return tuple(tier for _, tier in self.tiers)

    def _offers(
        self,
        tier: str | None = None,
        *,
        region: str | None = None,
        count: float | None = None,
        machine_type: str | None = None,
    ) -> tuple[Offer, ...]:
        return catalog.offers(surface=self.surface, tier=tier, region=region, count=count, machine_type=machine_type)

    # -- tiers

    def tell_missing_tier(self) -> None:
        """No tier is given."""
        sold = _tiers_on(self.surface)
        mend = f"say which accelerator, as in tier: {sold[-1] if len(sold) < 2 else sold[1]}"
        self.add(f"{self.path}.tier", "missing", one_of(sold), mend)

    def take_tiers(self, found: Iterable[Named]) -> None:
        """Keep the tiers that the surface sells; tell the others, with the surfaces that sell them."""
        on_surface = _tiers_on(self.surface)
        kept: list[Named] = []
        for path, name in known_tiers(found, self.surface, self.mistakes):
            if name in on_surface:
                kept.append(Named(path, name))
                continue
            where = [s for s in Surface if catalog.offers(surface=s, tier=name)]
            mend = f"{name} is sold on {one_of(where)}" if where else f"no surface sells {name}"
            self.add(path, f"{shown(name)} is not sold on {self.surface}", one_of(on_surface), mend)
        self.tiers = tuple(kept)

    # -- regions

    def tell_missing_region(self, key: str, zones: Iterable[Named]) -> None:
        """No region is given, nor in the provider's key."""
        mend = f"add region:, or set it for the whole stack: `pulumi config set {key} <region>`"
        for _, zone in zones:
            region = catalog.region_of_zone(self.surface, zone)
            mend = f"write region: {region}" if region else mend
        self.add(f"{self.path}.region", "missing", some_of(catalog.regions(self.surface)), mend)

    def take_regions(self, found: Iterable[Named]) -> None:
        """Keep the regions that the surface has; tell the others."""
        allowed = catalog.regions(self.surface)
        kept: list[Named] = []
        for path, name in found:
            if name in allowed:
                kept.append(Named(path, name))
                continue
            region = catalog.region_of_zone(self.surface, name) or (name[:-1] if name[:-1] in allowed else None)
            elsewhere = [s for s in Surface if name in catalog.regions(s)]
            if region and self.surface == Surface.ECS and catalog.region_of_zone(self.surface, name) is None:
                mend = f"that is a zone: write region: {region}. A zone is written by its id: {_ZONE_IDS}"
            elif region:
                zones = "" if self.surface == Surface.CLOUD_RUN else f", zones: [{name}]"
                mend = f"that is a zone: write region: {region}{zones}"
            elif elsewhere:
                mend = f"{name} is a region of {one_of(elsewhere)}: wrong surface?"
            else:
                mend = did_you_mean(name, allowed, self._see_the_list)
            self.add(path, shown(name), some_of(allowed), mend)
        self.regions = tuple(kept)

    @property
    def _see_the_list(self) -> str:
        return f"see `gpubench tiers --surface {self.surface}`"

    def check_regions(self) -> None:
        """Each tier is sold in each region, in each machine type named."""
        for path, region in self.regions:
            for tier in self.tier_names:
                self._check_tier_in_region(path, tier, region)
        for path, shape in self._named_types:
            for tier in self.tier_names:
                if self._offers(tier, machine_type=shape):
                    self._check_type_in_regions(path, shape, tier)

    def _check_tier_in_region(self, path: str, tier: str, region: str) -> None:
        wanted = count_of(tier, self.count)
        if self._offers(tier, region=region, count=wanted):
            return
        selling = sorted({r for o in self._offers(tier, count=wanted) for r in o.regions})
        if selling:
            what = tier if wanted in (0, 1) else f"{tier} x {wanted:g}"
            mend = "choose one of these" + (", or give each tier an entry of its own" if len(self.tiers) > 1 else "")
            self.add(path, f"{what} is not sold on {self.surface} in {region}", some_of(selling), mend)
        elif self.written_count is None:
            counts = sorted({o.gpus for o in self._offers(tier)})
            value = f"missing, and one {tier} alone is not sold on {self.surface}"
            self.add(f"{self.path}.count", value, _numbers(counts), f"write count: {counts[0]:g}")

    def _check_type_in_regions(self, path: str, shape: str, tier: str) -> None:
        """A machine type may be sold in fewer regions than its tier."""
        for _, region in self.regions:
            here = self._offers(tier, region=region)
            if self._offers(tier, region=region, count=count_of(tier, self.count)) and shape not in _types(here):
                mend = "choose another type or region"
                self.add(path, f"{shape} is not sold in {region}", one_of(_types(here)), mend)

    # -- machine types and their count of GPUs

    def take_machine_types(self, found: tuple[Named, ...] | None) -> None:
        """Keep the machine types that bring one of the tiers; settle the count of GPUs."""
        self._named_types = found or ()
        self.machine_types = tuple(name for path, name in self._named_types if self._brings_a_tier(path, name))
        if len(self.tiers) > 1 and self.machine_types and len(self.machine_types) == len(self._named_types):
            for path, tier in self.tiers:
                if not any(self._offers(tier, machine_type=shape) for shape in self.machine_types):
                    allowed = "a machine type for each tier, or none at all"
                    mend = f"add one of {tier}, or give it an entry of its own"
                    self.add(path, f"{shown(tier)} has none of the machine types of this entry", allowed, mend)
        self.count = self._brought_count() if self.written_count is None else self._sold_count(self.written_count)

    def _brings_a_tier(self, path: str, name: str) -> bool:
        offers = self._offers(machine_type=name)
        of_tiers = _types(o for tier in self.tier_names for o in self._offers(tier))
        if not offers:
            everywhere = [s for s in Surface if catalog.offers(surface=s, machine_type=name)]
            near = of_tiers or _types(self._offers())
            mend = f"it is sold on {one_of(everywhere)}" if everywhere else did_you_mean(name, near, self._see_the_list)
            self.add(path, shown(name), some_of(of_tiers) if of_tiers else f"machine types of {self.surface}", mend)
            return False
        if self.tiers and not any(o.tier in self.tier_names for o in offers):
            own = one_of(sorted({o.tier for o in offers}))
            mend = "Fargate has no GPU at all" if name.startswith("fargate") else f"{name} brings tier {own}"
            self.add(path, f"{shown(name)} has no {one_of(self.tier_names)}", some_of(of_tiers), mend)
            return False
        return True

    def _brought_count(self) -> float | None:
        """The count that the machine types bring, if the entry has none."""
        if not self.machine_types or not self.tiers:
            return None
        brought = [
            {o.gpus for o in self._offers(machine_type=shape) if o.tier in self.tier_names}
            for shape in self.machine_types
        ]
        common = set.intersection(*brought)
        if not common:
            mend = f"they have {_numbers(sorted(set.union(*brought)))}: give each count an entry of its own"
            allowed = "machine types with the same number of GPUs"
            self.add(f"{self.path}.machine_types", shown(self.machine_types), allowed, mend)
            return None
        if any(tier in NO_GPU_TIERS for tier in self.tier_names):
            return None
        return 1.0 if 1.0 in common else min(common)

    def _sold_count(self, written: float) -> float | None:
        """The count as written, if each tier is sold so."""
        if not (math.isfinite(written) and written > 0):
            return None
        for tier in self.tier_names:
            sold = sorted({o.gpus for o in self._offers(tier) if self._is_wanted(o)})
            if tier in NO_GPU_TIERS or not sold or written in sold:
                continue
            what = f"of {one_of(self.machine_types)}" if self.machine_types else f"with {tier} on {self.surface}"
            near = min(sold, key=lambda n: abs(n - written))
            value = f"{written:g} GPUs are not sold {what}"
            self.add(f"{self.path}.count", value, _numbers(sold), f"write count: {near:g}")
            return None
        return written

    def _is_wanted(self, offer: Offer) -> bool:
        return not self.machine_types or offer.machine_type in self.machine_types

    # -- purchases

    def check_purchases(self, found: Iterable[Named], max_hours: float | None) -> None:
        """Each tier is sold under each purchase, in each region."""
        for path, purchase in found:
            for tier in self.tier_names:
                self._check_purchase(path, Purchase(purchase), tier)
            if purchase == Purchase.FLEX_START and max_hours is not None and max_hours < FLEX_START_HOURS[0]:
                allowed = "10 minutes to 7 days with flex-start"
                self.add(f"{self.path}.max_hours", shown(max_hours), allowed, "write max_hours: 0.5, or more")

    def _check_purchase(self, path: str, purchase: Purchase, tier: str) -> None:
        wanted = count_of(tier, self.count)
        offers = [o for o in self._offers(tier, count=wanted) if self._is_wanted(o)]
        refusing = [o for o in offers if purchase not in o.purchases]
        # Named machine types must all be sold so; otherwise it is enough that one shape is.
        if refusing and (self.machine_types or len(refusing) == len(offers)):
            sold = [p for p in Purchase if all(p in o.purchases for o in offers)]
            mend = f"write purchase: {sold[0]}" if sold else "choose another tier"
            value = f"{one_of(_types(refusing))} ({tier}) is not sold {purchase} on {self.surface}"
            self.add(path, value, one_of(sold), mend)
            return
        if self.machine_types:
            return
        # A purchase may be sold in fewer regions than its tier.
        for _, region in self.regions:
            here = self._offers(tier, region=region, count=wanted)
            sold = [p for p in Purchase if any(p in o.purchases for o in here)]
            if here and purchase not in sold:
                mend = f"write purchase: {sold[0]}"
                self.add(path, f"{tier} is not sold {purchase} in {region}", one_of(sold), mend)

    # -- zones

    def check_zones(self, found: tuple[Named, ...] | None) -> None:
        """Each zone is in one of the regions and sells each tier; each region has one of the zones."""
        if found is None:
            return
        if self.surface == Surface.CLOUD_RUN:
            for path, zone in found:
                mend = "remove it: Cloud Run runs in a region"
                self.add(path, shown(zone), "no zones on surface cloud-run", mend)
            return
        for path, zone in found:
            self._check_zone(path, zone)
        covered = {catalog.region_of_zone(self.surface, zone) for _, zone in found}
        if len(self.regions) > 1 and None not in covered:
            for path, name in self.regions:
                if name not in covered:
                    mend = "add a zone of it, or give it an entry of its own"
                    self.add(path, f"none of the zones is in {name}", "regions that the zones are in", mend)

    def _check_zone(self, path: str, zone: str) -> None:
        names = [name for _, name in self.regions]
        in_regions = [z for name in names for z in catalog.zones(self.surface, name)]
        if self.surface == Surface.ECS and re.fullmatch(r"[a-z]{2}(?:-[a-z]+)+-\d[a-z]", zone):
            ids = catalog.zones(self.surface, zone[:-1]) if zone[:-1] in names else in_regions
            mend = f"zone names differ from account to account: write the zone's id, {_ZONE_IDS}"
            self.add(path, shown(zone), some_of(ids) if ids else "a zone's id", mend)
            return
        region = catalog.region_of_zone(self.surface, zone)
        if region is None:
            # A region whose zones were not read can't be checked further than its name.
            unread = [name for name in names if not catalog.zones(self.surface, name)]
            if any(zone.startswith(f"{name}-") for name in unread) or (
                unread and self.surface == Surface.ECS and re.fullmatch(r"[a-z]+\d+-az\d+", zone)
            ):
                return
            near = in_regions if names else catalog.zones(self.surface)
            allowed = some_of(in_regions) if names else f"zones of {self.surface}"
            self.add(path, shown(zone), allowed, did_you_mean(zone, near, self._see_the_list))
        elif names and region not in names:
            allowed = f"zones of {one_of(names)}: {some_of(in_regions)}"
            self.add(path, f"{shown(zone)} is in {region}", allowed, f"add region {region}, or choose a zone of these")
        else:
            for tier in self.tier_names:
                offers = self._offers(tier, region=region, count=count_of(tier, self.count))
                listed = sorted({z for o in offers if self._is_wanted(o) for z in o.zones(region)})
                if listed and zone not in listed:
                    value = f"{tier} is not sold in zone {zone}"
                    self.add(path, value, some_of(listed), "choose one of these zones")


def _tiers_on(surface: Surface | None) -> tuple[str, ...]:
    return tuple(name for name in catalog.tier_names() if catalog.offers(surface=surface, tier=name))


def _types(offers: Iterable[Offer]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(o.machine_type for o in offers))


def _numbers(numbers: Iterable[float]) -> str:
    return one_of(f"{number:g}" for number in numbers)
