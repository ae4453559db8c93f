"""One entry of the ladder: its keys by themselves. What is sold is the matter of ``sold``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import catalog
from catalog import ANY_TIER, Purchase, Surface
from placement.ladder import NO_GPU_TIERS, LadderEntry
from settings.google import PROJECT_ID
from settings.mistakes import Mistakes, Named, did_you_mean, one_of, shown, some_of
from settings.model import FLEX_START_HOURS
from settings.shapes import PLURALS, EntryShape, take_shape
from settings.sold import Sold, known_tiers

_PLACE_KEYS = (
    "project",
    "account",
    "region",
    "regions",
    "zone",
    "zones",
    "machine_type",
    "machine_types",
    "reservation",
)
_PURCHASE_ALIASES = {
    "preemptible": "spot",
    "ondemand": "on-demand",
    "standard": "on-demand",
    "flex": "flex-start",
    "dws": "flex-start",
    "reservation": "reserved",
}

_RESERVATION_ID = "the id of a Capacity Reservation (cr-...)"
_LIST_RESERVATIONS = (
    "`aws ec2 describe-capacity-reservations --query "
    "'CapacityReservations[].[CapacityReservationId,AvailabilityZoneId]'` lists both"
)


def read_entry(raw: object, path: str, defaults: Mapping[str, str], mistakes: Mistakes) -> LadderEntry | None:
    """A checked entry with singular and plural forms made one; None if it has a mistake."""
    before = len(mistakes)
    raw, told = _without_words_for_all(raw, path, mistakes)
    config, bad = take_shape(EntryShape, raw, path, mistakes)
    bad |= told
    entry = _Entry(config, bad, path, defaults, mistakes).read() if isinstance(raw, Mapping) else None
    return entry if len(mistakes) == before else None


_ALL = ("all", "any", "every", "*")


def _without_words_for_all(raw: object, path: str, mistakes: Mistakes) -> tuple[object, frozenset[str]]:
    """An entry without a word for all regions, or all zones; and the keys that had one, which is told."""
    if not isinstance(raw, Mapping) or raw.get("surface") not in tuple(Surface) or raw["surface"] == Surface.LOCAL:
        return raw, frozenset()
    found = {key for key in ("region", "regions", "zone", "zones") if _is_for_all(raw.get(key))}
    surface = str(raw["surface"])
    tiers = [tier for tier in _flat(raw.get("tier"), raw.get("tiers")) if tier in catalog.tier_names()]
    selling = [{r for o in catalog.offers(surface=surface, tier=tier) for r in o.regions} for tier in tiers]
    common = set.intersection(*selling) or set.union(*selling) if selling else set(catalog.regions(surface))
    allowed = sorted(common)
    for key in sorted(found):
        if key.startswith("zone"):
            mend = f"leave {key} out: all zones of a region are searched anyhow"
            mistakes.add(f"{path}.{key}", shown(raw[key]), "zones, each by itself", mend)
        else:
            mend = "name each region that you want, as in regions: [{}]".format(", ".join(allowed[:2]))
            mistakes.add(f"{path}.{key}", shown(raw[key]), some_of(allowed), mend)
    return {key: value for key, value in raw.items() if key not in found}, frozenset(found)


def _is_for_all(value: object) -> bool:
    return value in _ALL or (isinstance(value, list) and len(value) == 1 and value[0] in _ALL)


def _flat(*values: object) -> list[object]:
    return [one for value in values for one in (value if isinstance(value, list) else [value])]


class _Entry:
    """One entry while it is read. ``bad``: keys that are told already."""

    def __init__(
        self, config: EntryShape, bad: frozenset[str], path: str, defaults: Mapping[str, str], mistakes: Mistakes
    ) -> None:
        self.config, self.bad, self.path, self.defaults, self.mistakes = config, bad, path, defaults, mistakes

    def read(self) -> LadderEntry | None:
        config = self.config
        surface = self._surface()
        self._check_numbers()
        tiers = self._names("tier", config.tier, config.tiers)
        regions = self._names("region", config.region, config.regions)
        zones = self._names("zone", config.zone, config.zones)
        purchases = self._purchases(self._names("purchase", config.purchase, config.purchases))
        machine_types = self._names("machine_type", config.machine_type, config.machine_types)
        if surface is None:
            known_tiers(tiers or (), None, self.mistakes)
            return None
        if surface == Surface.LOCAL:
            return self._local(tiers or (), purchases)
        project = self._project(surface)
        sold = Sold(surface, self.path, self.mistakes, config.count)
        if tiers is None and not self._is_bad("tier"):
            sold.tell_missing_tier()
        sold.take_tiers(tiers or ())
        sold.take_regions(self._regions(surface, regions, zones, sold))
        self._check_count_without_gpus(sold.tier_names)
        sold.take_machine_types(machine_types)
        sold.check_regions()
        sold.check_purchases(purchases, config.max_hours)
        sold.check_zones(zones)
        self._check_reservation(surface, purchases, zones)
        return LadderEntry(
            surface=surface,
            project=project,
            regions=tuple(region for _, region in sold.regions),
            zones=tuple(zone for _, zone in zones or ()),
            tiers=sold.tier_names,
            count=sold.count,
            purchases=tuple(Purchase(purchase) for _, purchase in purchases),
            machine_types=sold.machine_types,
            reservation=config.reservation,
            max_hours=config.max_hours,
        )

    def _add(self, key: str, value: str, allowed: str, mend: str) -> None:
        self.mistakes.add(f"{self.path}.{key}", value, allowed, mend)

    def _is_bad(self, key: str) -> bool:
        """Whether a key (or its plural) is there and wrong, so that it isn't missing."""
        return key in self.bad or PLURALS.get(key, key) in self.bad

    def _surface(self) -> Surface | None:
        value, names = self.config.surface, tuple(Surface)
        if value in names:
            return Surface(value)
        if value is not None:
            self._add("surface", shown(value), one_of(names), did_you_mean(value, names))
        elif "surface" not in self.bad:
            self._add("surface", "missing", one_of(names), "say where it runs, as in surface: local")
        return None

    def _check_numbers(self) -> None:
        hours, count = self.config.max_hours, self.config.count
        if hours is not None and not 0 < hours <= FLEX_START_HOURS[1]:
            self._add("max_hours", shown(hours), "more than 0, up to 168 hours", "write hours in that range")
        if count is not None and not (math.isfinite(count) and count > 0):
            self._add("count", shown(count), "a number of GPUs, more than 0", "remove count for one GPU")

    def _names(self, key: str, single: str | None, several: list[str] | None) -> tuple[Named, ...] | None:
        """The values of a key that has a singular and a plural; None if it isn't given (or is bad)."""
        plural, what = PLURALS[key], key.replace("_", " ")
        if single is not None and several is not None:
            self._add(plural, f"{key} and {plural} together", f"one of {key}, {plural}", f"keep {plural}")
        if several is None:
            return None if single is None else (Named(f"{self.path}.{key}", single),)
        if not several:
            self._add(plural, "an empty list", f"at least one {what}", f"name one, or remove {plural}")
        for index, value in enumerate(several):
            if value in several[:index]:
                self._add(f"{plural}[{index}]", f"{shown(value)} again", f"each {what} once", "remove one of them")
        return tuple(Named(f"{self.path}.{plural}[{index}]", value) for index, value in enumerate(several))

    def _purchases(self, found: tuple[Named, ...] | None) -> tuple[Named, ...]:
        """Those that there are; the others are told."""
        names = tuple(Purchase)
        for path, value in found or ():
            if value not in names:
                alias = _PURCHASE_ALIASES.get(value.lower())
                mend = f"did you mean {alias}?" if alias else did_you_mean(value, names)
                self.mistakes.add(path, shown(value), one_of(names), mend)
        return tuple(one for one in found or () if one.name in names)

    def _local(self, found: tuple[Named, ...], purchases: tuple[Named, ...]) -> LadderEntry:
        for key in _PLACE_KEYS:
            value = getattr(self.config, key)
            if value is not None:
                self._add(key, shown(value), f"no {key} on surface local", "remove it: local is this machine")
        for path, purchase in purchases:
            if purchase != Purchase.ON_DEMAND:
                mend = "remove it: this machine is yours already"
                self.mistakes.add(path, shown(purchase), "no purchase on surface local", mend)
        known = known_tiers(found, Surface.LOCAL, self.mistakes)
        tiers = tuple(tier for _, tier in known) or (ANY_TIER,)
        self._check_count_without_gpus(tiers)
        count = self.config.count
        has_gpus = any(tier not in NO_GPU_TIERS for tier in tiers)
        if count is not None and has_gpus and not count.is_integer():
            self._add("count", shown(count), "a whole number of GPUs on surface local", "write 1, 2, 4 ...")
        return LadderEntry(surface=Surface.LOCAL, tiers=tiers, count=count, max_hours=self.config.max_hours)

    def _check_count_without_gpus(self, tiers: tuple[str, ...]) -> None:
        if self.config.count is not None and tiers and all(tier in NO_GPU_TIERS for tier in tiers):
            which = " and ".join(dict.fromkeys(tiers))
            mend = "remove count: it is a number of GPUs"
            self._add("count", shown(self.config.count), f"no count with tier {which}", mend)

    def _project(self, surface: Surface) -> str | None:
        """The Google Cloud project or the AWS account."""
        project, account = self.config.project, self.config.account
        if surface == Surface.ECS:
            if project is not None:
                mend = "write account: and the 12 digits"
                self._add("project", shown(project), "account on surface ecs", mend)
            if account is not None and not re.fullmatch(r"\d{12}", account):
                mend = 'write it as text, as in account: "012345678901"'
                self._add("account", shown(account), "an AWS account id: 12 digits, quoted", mend)
            return account
        if account is not None:
            mend = "write project: and the Google Cloud project's id"
            self._add("account", shown(account), f"project on surface {surface}", mend)
        if project is None:
            project = self.defaults.get("gcp:project")
            if project is None and "project" not in self.bad:
                mend = "add project:, or set it for the whole stack: `pulumi config set gcp:project <id>`"
                self._add("project", "missing", "a Google Cloud project id", mend)
        elif not re.fullmatch(PROJECT_ID, project):
            allowed = "a Google Cloud project id: 6 to 30 of a-z 0-9 -, a letter first"
            mend = "write the id (`gcloud projects list` shows it), not the name or the number"
            self._add("project", shown(project), allowed, mend)
        return project

    def _regions(
        self, surface: Surface, found: tuple[Named, ...] | None, zones: tuple[Named, ...] | None, sold: Sold
    ) -> tuple[Named, ...]:
        """The regions given, else the provider's own."""
        if found is not None:
            return found
        key = "aws:region" if surface == Surface.ECS else "gcp:region"
        if key in self.defaults:
            return (Named(key, self.defaults[key]),)
        if not self._is_bad("region"):
            sold.tell_missing_region(key, zones or ())
        return ()

    def _check_reservation(
        self, surface: Surface, purchases: tuple[Named, ...], zones: tuple[Named, ...] | None
    ) -> None:
        reserved = any(purchase == Purchase.RESERVED for _, purchase in purchases)
        name = self.config.reservation
        on_ecs = surface == Surface.ECS
        if reserved and on_ecs and len(zones or ()) != 1 and not self._is_bad("zone"):
            value = f"{len(zones)} zones" if zones else "missing"
            allowed = "with reserved the reservation's one zone, by its id"
            self._add("zones" if zones else "zone", value, allowed, f"write zone: and the id; {_LIST_RESERVATIONS}")
        if reserved and not name and "reservation" not in self.bad:
            what = _RESERVATION_ID if on_ecs else "the name of a reservation"
            mend = "a reserved purchase uses a reservation that exists: name it"
            self._add("reservation", "missing" if name is None else "an empty text", what, mend)
        elif name is not None and not reserved and not self._is_bad("purchase"):
            mend = "write purchase: reserved, or remove reservation"
            self._add("reservation", shown(name), "a reservation only with purchase: reserved", mend)
        elif name and reserved and on_ecs:
            if not re.fullmatch(r"cr-(?:[0-9a-f]{8}|[0-9a-f]{17})", name):
                self._add("reservation", shown(name), _RESERVATION_ID, f"write its id; {_LIST_RESERVATIONS}")
        elif name and reserved and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,250}", name):
            mend = "copy the reservation's name or id"
            self._add("reservation", shown(name), "letters, digits and . _ / : -", mend)
