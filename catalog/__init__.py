"""What each accelerator is, where and under which names it is sold, what it needs of a quota, and what it costs.

The facts are data files beside this module (``tiers.toml``, ``offers.csv``, ``places.csv``, ``prices.csv``,
``quotas.csv``, ``sources.csv``); ``README.md`` says where they come from and how to add a tier. This module only reads
them: standard library alone, each file once, when something asks for it. Prices are for putting rungs in order and for
budgets, never a bill; a place that is listed may still be sold out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

_HERE = Path(__file__).parent


class Surface(StrEnum):
    """A way to run a container."""

    LOCAL = "local"
    GCE = "gce"
    ECS = "ecs"
    GKE = "gke"
    CLOUD_RUN = "cloud-run"


class Purchase(StrEnum):
    """How capacity is bought. ``reserved`` is capacity that the owner of the account has reserved beforehand."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    FLEX_START = "flex-start"
    RESERVED = "reserved"


ANY_TIER = "any"
"""On surface ``local`` only: whatever this machine has."""


class CatalogError(ValueError):
    """Something isn't in the catalogue. ``kind``: tier, surface, region, purchase; ``allowed``: what is there."""

    def __init__(self, kind: str, value: str, allowed: Iterable[str]) -> None:
        self.kind, self.value, self.allowed = kind, value, tuple(allowed)
        self.suggestion = closest(value, self.allowed)
        hint = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        super().__init__(f"unknown {kind} {value!r}{hint} (known: {', '.join(self.allowed)})")


@dataclass(frozen=True)
class Source:
    """Where a figure was read. ``read_on``: ISO date. ``url``: empty where there is no address that was opened."""

    key: str
    name: str
    read_on: str
    url: str


@dataclass(frozen=True)
class Tier:
    """A kind of accelerator.

    ``memory_gb`` is the vendor's figure for one whole device (GB; 0 for ``cpu``), ``gpu_names`` are the lower-case
    fragments that its printed model name holds, ``end_of_support`` an ISO date for the surfaces named beside it.
    """

    name: str
    what: str
    gpu_names: tuple[str, ...]
    memory_gb: float
    compute_capability: str | None
    compute_capability_verified: bool
    min_cuda: str | None
    min_cuda_verified: bool
    end_of_support: str | None
    end_of_support_surfaces: tuple[str, ...]
    end_of_support_source: Source | None
    note: str


@dataclass(frozen=True)
class Quota:
    """A quota, and how much of it one machine of an offer needs.

    ``unit`` is GPUs, vCPU, milliGPU (1000 = one GPU), milli-vCPU or bytes; ``scope`` region or global; ``dimensions``
    what tells one limit from another under the same id; ``default_limit`` what a new project or account has, if known.
    """

    service: str
    quota_id: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    scope: str
    unit: str
    amount: float
    default_limit: float | None
    source: Source
    verified: bool
    note: str


@dataclass(frozen=True)
class Offer:
    """A machine shape that a surface sells with a tier.

    ``gpus`` may be a fraction (0.125, 0.25, 0.5) and is 0 for tier ``cpu``; memory in GB (GPU memory: of one device or
    of the fraction), local SSD in GB. ``unverified`` names the fields, and the purchases, that no good source confirms.
    """

    tier: str
    surface: Surface
    machine_type: str
    accelerator: str | None
    gpus: float
    gpu_memory_gb: float | None
    vcpu: int
    ram_gb: float | None
    local_ssd_gb: float | None
    local_ssd_note: str
    purchases: tuple[Purchase, ...]
    places: str
    quota_names: tuple[str, ...]
    no_price_because: str
    unverified: tuple[str, ...]
    notes: str

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that list this shape, in alphabetical order."""
        return tuple(sorted(_places()[self.places]))

    def zones(self, region: str) -> tuple[str, ...]:
        """Zones of ``region`` that list this shape: GCE zone names or EC2 availability-zone ids.

        Empty where the shape is not sold in the region, where the surface has no zones (Cloud Run, Fargate), and where
        the region is known but its zones were not read.
        """
        return _places()[self.places].get(region, ())

    def quotas(self, purchase: str) -> tuple[Quota, ...]:
        """What one machine takes of which quotas when bought as ``purchase``; the accelerator's own quota first."""
        needs: list[Quota] = []
        for name in self.quota_names:
            for row in _quota_rows()[name]:
                if purchase not in row["purchases"].split():
                    continue
                needs.append(
                    Quota(
                        service=row["service"],
                        quota_id=row["quota_id"],
                        metric=row["metric"],
                        dimensions=_pairs(row["dimensions"]),
                        scope=row["scope"],
                        unit=row["unit"],
                        amount=self._amount(row["per"]),
                        default_limit=_number(row["default_limit"]),
                        source=source(row["source"]),
                        verified=row["verified"] == "yes",
                        note=row["note"],
                    )
                )
        return tuple(needs)

    def _amount(self, per: str) -> float:
        amounts = {
            "gpu": self.gpus,
            "milligpu": self.gpus * 1000,
            "vcpu": float(self.vcpu),
            "millivcpu": self.vcpu * 1000.0,
            "rambyte": (self.ram_gb or 0) * 2**30,
        }
        return amounts[per]


@dataclass(frozen=True)
class Price:
    """USD an hour for one machine of an offer.

    Spot prices that differ by zone have their lowest in ``usd_per_hour`` and their highest in ``usd_per_hour_max``
    (equal otherwise). ``lower_bound``: only a part of the machine is priced in the source, the true price is higher.
    ``date`` is the day of the list (ISO).
    """

    usd_per_hour: float
    usd_per_hour_max: float
    region: str
    purchase: Purchase
    lower_bound: bool
    date: str
    source: Source
    verified: bool
    note: str


@lru_cache(maxsize=1)
def tiers() -> tuple[Tier, ...]:
    """All tiers, in the order of the data file (``cpu`` first, then by age and size)."""
    import tomllib

    document = tomllib.loads((_HERE / "tiers.toml").read_text(encoding="utf-8"))
    return tuple(
        Tier(
            name=name,
            what=row["what"],
            gpu_names=tuple(row["names"]),
            memory_gb=float(row["memory_gb"]),
            compute_capability=row.get("compute_capability"),
            compute_capability_verified=row.get("compute_capability_verified", True),
            min_cuda=row.get("min_cuda"),
            min_cuda_verified=row.get("min_cuda_verified", False),
            end_of_support=str(row["end_of_support"]) if "end_of_support" in row else None,
            end_of_support_surfaces=tuple(row.get("end_of_support_surfaces", ())),
            end_of_support_source=source(row["end_of_support_source"]) if "end_of_support_source" in row else None,
            note=row.get("note", ""),
        )
        for name, row in document.items()
    )


def tier_names() -> tuple[str, ...]:
    """Names of all tiers."""
    return tuple(t.name for t in tiers())


def tier(name: str) -> Tier:
    """The tier of that name. Raises CatalogError for an unknown one."""
    for candidate in tiers():
        if candidate.name == name:
            return candidate
    raise CatalogError("tier", name, tier_names())


@lru_cache(maxsize=1)
def _all_offers() -> tuple[Offer, ...]:
    made: list[Offer] = []
    for row in _rows("offers.csv"):
        purchases = row["purchases"].split()
        doubtful = tuple(p.rstrip("?") for p in purchases if p.endswith("?"))
        made.extend(
            Offer(
                tier=row["tier"],
                surface=Surface(surface),
                machine_type=row["machine_type"],
                accelerator=row["accelerator"] or None,
                gpus=float(row["gpus"]),
                gpu_memory_gb=_number(row["gpu_memory_gb"]),
                vcpu=int(row["vcpu"]),
                ram_gb=_number(row["ram_gb"]),
                local_ssd_gb=_number(row["local_ssd_gb"]),
                local_ssd_note=row["local_ssd_note"],
                purchases=tuple(Purchase(p.rstrip("?")) for p in purchases),
                places=row["places"],
                quota_names=tuple(row["quotas"].split()),
                no_price_because=row["no_price_because"],
                unverified=(*row["unverified"].split(), *doubtful),
                notes=row["notes"],
            )
            for surface in row["surfaces"].split()
        )
    return tuple(made)


@lru_cache(maxsize=4096)
def offers(
    *,
    surface: str | None = None,
    tier: str | None = None,
    region: str | None = None,
    count: float | None = None,
    purchase: str | None = None,
    machine_type: str | None = None,
) -> tuple[Offer, ...]:
    """Offers that fit every filter given, smallest shape of a tier first. ``count`` is GPUs (fractions allowed).

    Unknown filter values give an empty tuple: who wants an error asks ``tier``, ``regions`` and the enums.
    """
    return tuple(
        o
        for o in _all_offers()
        if (surface is None or o.surface == surface)
        and (tier is None or o.tier == tier)
        and (region is None or region in _places()[o.places])
        and (count is None or o.gpus == count)
        and (purchase is None or purchase in o.purchases)
        and (machine_type is None or o.machine_type == machine_type)
    )


@lru_cache(maxsize=16)
def regions(surface: str) -> tuple[str, ...]:
    """Regions where a surface sells anything of the catalogue, in alphabetical order; none for ``local``."""
    return tuple(sorted({region for o in offers(surface=surface) for region in _places()[o.places]}))


@lru_cache(maxsize=1024)
def zones(surface: str, region: str | None = None, tier: str | None = None) -> tuple[str, ...]:
    """Zones (GCE names, EC2 availability-zone ids) of a surface, of one region, where a tier is listed."""
    found = {
        zone
        for o in offers(surface=surface, tier=tier)
        for name, listed in _places()[o.places].items()
        if region is None or name == region
        for zone in listed
    }
    return tuple(sorted(found))


def region_of_zone(surface: str, zone: str) -> str | None:
    """The region that a zone lies in, if the catalogue knows the zone."""
    for o in offers(surface=surface):
        for region, listed in _places()[o.places].items():
            if zone in listed:
                return region
    return None


def prices(offer: Offer, region: str, purchase: str) -> tuple[Price, ...]:
    """All prices read for an offer in a region, newest first. None for a purchase that is not sold.

    ``reserved`` has the on-demand prices: a reservation is billed at the on-demand rate, used or not (GCE reservations
    and EC2 On-Demand Capacity Reservations alike).
    """
    if purchase not in offer.purchases:
        return ()
    column = {"spot": "spot", "flex-start": "flex_start"}.get(purchase, "on_demand")
    found: list[Price] = []
    for row in _price_rows().get((offer.surface, offer.tier, offer.machine_type, offer.gpus, region), ()):
        usd = _number(row[f"{column}_usd_per_hour"])
        if usd is None:
            continue
        highest = _number(row["spot_max_usd_per_hour"]) if column == "spot" else None
        found.append(
            Price(
                usd_per_hour=usd,
                usd_per_hour_max=usd if highest is None else highest,
                region=region,
                purchase=Purchase(purchase),
                lower_bound=row["covers"] != "machine",
                date=row["date"],
                source=source(row["source"]),
                verified=row["verified"] == "yes",
                note=row["note"],
            )
        )
    return tuple(sorted(found, key=lambda p: p.date, reverse=True))


def price(offer: Offer, region: str, purchase: str) -> Price | None:
    """The newest price of an offer in a region, or None where none was read (never a guess from another region)."""
    found = prices(offer, region, purchase)
    return found[0] if found else None


def reference_price(offer: Offer, purchase: str) -> Price | None:
    """A price from the region that most prices are known for (us-central1, us-east-1), else from the cheapest region.

    For listings and rough estimates; ``Price.region`` says where it holds.
    """
    for region in ("us-central1", "us-east-1"):
        found = price(offer, region, purchase)
        if found:
            return found
    known = [p for region in offer.regions if (p := price(offer, region, purchase))]
    return min(known, key=lambda p: p.usd_per_hour) if known else None


def price_dates(offer_list: Iterable[Offer] | None = None) -> tuple[str, str]:
    """The oldest and the newest date (ISO) among the prices of some offers (of all, if None)."""
    wanted = None if offer_list is None else {(o.surface, o.tier, o.machine_type, o.gpus) for o in offer_list}
    dates = [r["date"] for key, rows in _price_rows().items() if wanted is None or key[:4] in wanted for r in rows]
    return (min(dates), max(dates)) if dates else ("", "")


def tier_of_gpu(name: str, memory_gb: float | None = None) -> str | None:
    """The tier of a device from the model name that NVML or torch prints, e.g. ``Tesla T4``, ``NVIDIA A100-SXM4-40GB``.

    ``memory_gb`` (what the driver reports; GB or GiB, so up to a tenth less than the vendor's figure) tells apart tiers
    of one name. Where the name itself holds a size, that decides. None for a device that is not in the catalogue, or
    whose size is needed and unknown; H100s of A3 Mega machines print the same name as others and are read as ``h100``.
    """
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    candidates = [
        t
        for t in tiers()
        # A word boundary on both sides: "nvidia l4" is not in "nvidia l40s".
        if any(re.search(rf"\b{re.escape(fragment)}\b", words) for fragment in t.gpu_names)
    ]
    if not candidates:
        return None
    printed = re.search(r"\b(\d+)gb\b", words)
    size = float(printed.group(1)) if printed else memory_gb
    if size is None:
        return candidates[0].name if len(candidates) == 1 else None
    nearest = min(candidates, key=lambda t: abs(t.memory_gb - size))
    # Vendors count 10^9 bytes, drivers 2^30, and a part is kept for error correction: up to 13 % less. A slice of a
    # device prints the device's name: it is of the tier only if such a fraction is sold.
    sold = {nearest.memory_gb, *(o.gpu_memory_gb for o in offers(tier=nearest.name) if o.gpu_memory_gb)}
    seen = size if memory_gb is None else memory_gb
    return nearest.name if any(0.80 <= seen / whole <= 1.10 for whole in sold) else None


@lru_cache(maxsize=64)
def source(key: str) -> Source:
    """Where a figure was read, by the short key that stands beside it."""
    for row in _rows("sources.csv"):
        if row["source"] == key:
            return Source(key=key, name=row["name"], read_on=row["read_on"], url=row["url"])
    raise CatalogError("source", key, (row["source"] for row in _rows("sources.csv")))


def closest(value: str, allowed: Iterable[str]) -> str | None:
    """The allowed word nearest to what was written, for "did you mean"; None if nothing is near."""
    names = list(allowed)
    folded = {name.lower().replace("_", "-"): name for name in names}
    wanted = value.lower().strip().replace("_", "-").replace(" ", "-")
    if wanted in folded:
        return folded[wanted]
    if of_other_partition(wanted):
        return None  # no slip of the pen: a region of this name is there, and nearly that of another partition's
    import difflib  # late: only mistakes need them
    from os.path import commonprefix

    near = difflib.get_close_matches(wanted, folded, n=_NEAR, cutoff=0.6)
    # Of names about as near, the one that begins alike: us-esat-1 is us-east-1, and not us-west-1.
    like = [difflib.SequenceMatcher(None, wanted, name).ratio() for name in near]
    alike = [name for name, ratio in zip(near, like, strict=True) if ratio >= like[0] - _AS_NEAR]
    return folded[max(alike, key=lambda name: len(commonprefix([wanted, name])))] if alike else None  # noqa: RUF071


_NEAR, _AS_NEAR = 12, 0.1


def of_other_partition(region: str) -> bool:
    """Whether it is a region of AWS's in China, in GovCloud or the like, which gpubench has nothing to do with.

    https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
    """
    return re.fullmatch(r"(?:cn|us-gov|us-isob?|us-isof|eu-isoe|eusc)-[a-z]+(?:-[a-z]+)*-\d[a-z]?", region) is not None


OTHER_PARTITION = "AWS's regions in China and GovCloud aren't built (docs/ecs.md): choose another"


@lru_cache(maxsize=8)
def _rows(name: str) -> tuple[dict[str, str], ...]:
    with (_HERE / name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@lru_cache(maxsize=1)
def _places() -> dict[str, dict[str, tuple[str, ...]]]:
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in _rows("places.csv"):
        found.setdefault(row["places"], {})[row["region"]] = tuple(row["zones"].split())
    return found


@lru_cache(maxsize=1)
def _quota_rows() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for row in _rows("quotas.csv"):
        found.setdefault(row["quota"], []).append(row)
    return found


@lru_cache(maxsize=1)
def _price_rows() -> dict[tuple[str, str, str, float, str], list[dict[str, str]]]:
    found: dict[tuple[str, str, str, float, str], list[dict[str, str]]] = {}
    for row in _rows("prices.csv"):
        for surface in row["surfaces"].split():
            key = (surface, row["tier"], row["machine_type"], float(row["gpus"]), row["region"])
            found.setdefault(key, []).append(row)
    return found


def _number(text: str) -> float | None:
    return float(text) if text else None


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for part in text.split():
        key, _, value = part.partition("=")
        pairs.append((key, value))
    return tuple(pairs)
