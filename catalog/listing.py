"""The tables of ``gpubench tiers``: what is sold where, and for how much.

``add_arguments`` and ``run`` are mounted by the command line. Plain text, the standard library alone: the whole command
has 0.3 s more than a bare interpreter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

import catalog
from catalog import CatalogError, Offer, Price, Purchase, Surface

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

_LETTERS = {Purchase.ON_DEMAND: "O", Purchase.SPOT: "S", Purchase.FLEX_START: "F", Purchase.RESERVED: "R"}


def add_arguments(parser: ArgumentParser) -> None:
    """The options of ``gpubench tiers``."""
    parser.add_argument("--tier", help="only this tier, as in h100")
    parser.add_argument("--surface", help=f"only this surface: {', '.join(Surface)}")
    parser.add_argument("--region", help="only what is sold in this region, with its prices, as in us-central1")
    parser.add_argument("--purchase", help=f"only what is sold so: {', '.join(Purchase)}")
    parser.add_argument(
        "--prices", action="store_true", help="every price known, region by region, with date and source"
    )
    parser.add_argument("--json", action="store_true", help="all facts as JSON")


def run(args: Namespace) -> int:
    """Print what fits the options; 2 for an unknown tier, surface, region or purchase."""
    try:
        print_tiers(
            tier=args.tier,
            surface=args.surface,
            region=args.region,
            purchase=args.purchase,
            all_prices=args.prices,
            as_json=args.json,
        )
    except CatalogError as error:
        hint = f"did you mean {error.suggestion}?" if error.suggestion else "`gpubench tiers` lists all"
        hint = catalog.OTHER_PARTITION if catalog.of_other_partition(error.value) else hint
        allowed = ", ".join(error.allowed)
        print(
            f"gpubench tiers --{error.kind} {error.value}: unknown {error.kind}; {hint}\nknown: {allowed}",
            file=sys.stderr,
        )
        return 2
    return 0


def list_tiers(
    *,
    tier: str | None = None,
    surface: str | None = None,
    region: str | None = None,
    purchase: str | None = None,
) -> tuple[Offer, ...]:
    """Offers that fit; raises CatalogError for a filter value that the catalogue doesn't know."""
    for kind, value, known in (
        ("tier", tier, catalog.tier_names()),
        ("surface", surface, tuple(Surface)),
        ("region", region, _all_regions(surface)),
        ("purchase", purchase, tuple(Purchase)),
    ):
        if value is not None and value not in known:
            # A region of another surface is no typing mistake: nothing is sold there, which the table says.
            if kind == "region" and value in _all_regions(None):
                continue
            raise CatalogError(kind, value, known)
    return catalog.offers(tier=tier, surface=surface, region=region, purchase=purchase)


def print_tiers(
    *,
    tier: str | None = None,
    surface: str | None = None,
    region: str | None = None,
    purchase: str | None = None,
    all_prices: bool = False,
    as_json: bool = False,
    out: TextIO | None = None,
) -> None:
    """Print the offers that fit. Raises CatalogError as ``list_tiers`` does."""
    found = list_tiers(tier=tier, surface=surface, region=region, purchase=purchase)
    stream = out or sys.stdout
    if as_json:
        json.dump([_as_json(o, region, purchase) for o in found], stream, indent=2, ensure_ascii=False)
        stream.write("\n")
    elif surface == Surface.LOCAL:
        stream.write("Surface local is this machine: nothing is sold there. `gpubench doctor` says what it has.\n")
    elif not found:
        stream.write(_nothing(tier, surface, region, purchase) + "\n")
    else:
        table = _price_table(found, region, purchase) if all_prices else _offer_table(found, region, purchase)
        stream.write("\n".join([*table, "", *_footer(found, all_prices)]) + "\n")


def _all_regions(surface: str | None) -> tuple[str, ...]:
    surfaces = (surface,) if surface in tuple(Surface) else tuple(Surface)
    return tuple(sorted({r for s in surfaces for r in catalog.regions(str(s))}))


def _nothing(tier: str | None, surface: str | None, region: str | None, purchase: str | None) -> str:
    wanted = " ".join(
        part for part in (tier, purchase, f"on {surface}" if surface else "", f"in {region}" if region else "") if part
    )
    elsewhere = sorted({f"{o.surface}" for o in catalog.offers(tier=tier, purchase=purchase)})
    tail = (
        f" {tier or 'Something'} is sold {purchase or ''} on {', '.join(elsewhere)}.".replace("  ", " ")
        if elsewhere
        else ""
    )
    return f"Nothing is sold that is {wanted}.{tail}"


def _merged(found: Sequence[Offer]) -> list[tuple[str, Offer]]:
    """GKE sells GCE's shapes: one line for both."""
    lines: dict[tuple[str, str, float, str], list[Offer]] = {}
    for o in found:
        lines.setdefault((o.tier, o.machine_type, o.gpus, o.places), []).append(o)
    return [(" ".join(o.surface for o in same), same[0]) for same in lines.values()]


def _price_of(offer: Offer, region: str | None, purchase: Purchase) -> Price | None:
    return catalog.price(offer, region, purchase) if region else catalog.reference_price(offer, purchase)


def _money(price: Price | None) -> str:
    if price is None:
        return "-"
    text = f"{price.usd_per_hour:.2f}"
    if price.usd_per_hour_max != price.usd_per_hour and f"{price.usd_per_hour_max:.2f}" != text:
        text += f"-{price.usd_per_hour_max:.2f}"
    return (">" if price.lower_bound else "") + text + ("" if price.verified else "?")


def _offer_table(found: Sequence[Offer], region: str | None, purchase: str | None) -> list[str]:
    head = [
        "tier",
        "surface",
        "machine type",
        "GPUs",
        "GPU GB",
        "vCPU",
        "RAM GB",
        "buy",
        "on-demand",
        "spot",
        "flex",
        "price in",
        "where",
    ]
    rows: list[list[str]] = []
    for surfaces, o in _merged(found):
        shown = {p: _price_of(o, region, p) for p in (Purchase.ON_DEMAND, Purchase.SPOT, Purchase.FLEX_START)}
        places = sorted({p.region for p in shown.values() if p})
        zones = sum(len(o.zones(r)) for r in o.regions)
        rows.append(
            [
                o.tier,
                surfaces,
                o.machine_type,
                f"{o.gpus:g}" if o.gpus else "-",
                f"{o.gpu_memory_gb:g}" if o.gpu_memory_gb else "-",
                str(o.vcpu),
                f"{o.ram_gb:g}" if o.ram_gb else "?",
                "".join(letter for p, letter in _LETTERS.items() if p in o.purchases),
                *(_money(p) for p in shown.values()),
                " ".join(places) or "-",
                f"{len(o.regions)}/{zones or '-'}",
            ]
        )
    lines = _table(head, rows, right={3, 4, 5, 6, 8, 9, 10, 12}, groups=[o.tier for _, o in _merged(found)])
    return [*lines, "", *_quota_lines(found, purchase)]


def _quota_lines(found: Sequence[Offer], purchase: str | None) -> list[str]:
    """Which quota a tier needs, once for all its shapes on a surface."""
    seen: dict[tuple[str, str, tuple[str, ...], str], list[str]] = {}
    for surfaces, o in _merged(found):
        for p in o.purchases:
            if purchase is not None and p != purchase:
                continue
            for quota in o.quotas(p):
                dimensions = "".join(f" {k}={v}" for k, v in quota.dimensions)
                name = f"{quota.service} {quota.quota_id}{dimensions}"
                ids = (name, f"{quota.unit}, {quota.scope}" + ("" if quota.verified else ", unverified"))
                buys = seen.setdefault((o.tier, surfaces, ids, ""), [])
                if p not in buys:
                    buys.append(p)
    rows = [
        [tier, surfaces, " ".join(letter for p, letter in _LETTERS.items() if p in buys), *ids]
        for (tier, surfaces, ids, _), buys in seen.items()
    ]
    return _table(["tier", "surface", "buy", "quota", "unit"], rows, right=set(), groups=[row[0] for row in rows])


def _price_table(found: Sequence[Offer], region: str | None, purchase: str | None) -> list[str]:
    rows: list[list[str]] = []
    for surfaces, o in _merged(found):
        for place in o.regions:
            if region is not None and place != region:
                continue
            for p in (Purchase.ON_DEMAND, Purchase.SPOT, Purchase.FLEX_START):
                if purchase is not None and p != purchase:
                    continue
                rows.extend(
                    [
                        o.tier,
                        surfaces,
                        o.machine_type,
                        f"{o.gpus:g}" if o.gpus else "-",
                        place,
                        p,
                        _money(price),
                        price.date,
                        price.source.key,
                    ]
                    for price in catalog.prices(o, place, p)
                )
    head = ["tier", "surface", "machine type", "GPUs", "region", "purchase", "USD/h", "date", "source"]
    return _table(head, rows, right={3, 6}, groups=[row[0] for row in rows])


def _footer(found: Sequence[Offer], all_prices: bool) -> list[str]:
    oldest, newest = catalog.price_dates(found)
    lines = []
    if not all_prices:
        lines.append(
            "buy: O on-demand, S spot, F flex-start, R reserved. where: regions/zones listed (listed is not available)."
        )
    lines.append(
        "USD/h: one machine; a-b: over the zones; >: a part of it only; ?: unverified; -: not sold so, or not known."
    )
    if newest:
        days = oldest if oldest == newest else f"{oldest} to {newest}"
        lines.append(f"Prices of {days}: to put rungs in order, not a bill. --prices: date and source of each.")
    for name in dict.fromkeys(o.tier for o in found):
        tier = catalog.tier(name)
        surfaces = {o.surface for o in found if o.tier == name} & {Surface(s) for s in tier.end_of_support_surfaces}
        if tier.end_of_support and surfaces:
            where = ", ".join(sorted(surfaces))
            of = tier.end_of_support_source
            lines.append(
                f"{name}: support ends {tier.end_of_support} on {where} ({of.name if of else 'source unknown'})."
            )
    return lines


def _table(head: list[str], rows: list[list[str]], *, right: set[int], groups: list[str]) -> list[str]:
    """Columns as wide as their widest cell; a blank line between groups would make it twice as long: a rule does."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]

    def line(cells: Iterable[str]) -> str:
        return "  ".join(
            c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    made = [line(head), "─" * (sum(widths) + 2 * (len(widths) - 1))]
    previous = groups[0] if groups else ""
    for row, group in zip(rows, groups, strict=True):
        if group != previous and len(set(groups)) > 1 and len(rows) < 60:
            made.append("")
        previous = group
        made.append(line(row))
    return made


def _as_json(offer: Offer, region: str | None, purchase: str | None) -> dict[str, object]:
    tier = catalog.tier(offer.tier)
    places = (region,) if region else offer.regions
    wanted = [p for p in offer.purchases if purchase is None or p == purchase]
    return {
        "tier": offer.tier,
        "gpu": {
            "what": tier.what,
            "memory_gb": tier.memory_gb,
            "compute_capability": tier.compute_capability,
            "compute_capability_verified": tier.compute_capability_verified,
            "end_of_support": tier.end_of_support if offer.surface in tier.end_of_support_surfaces else None,
        },
        "surface": offer.surface,
        "machine_type": offer.machine_type,
        "accelerator": offer.accelerator,
        "gpus": offer.gpus,
        "gpu_memory_gb": offer.gpu_memory_gb,
        "vcpu": offer.vcpu,
        "ram_gb": offer.ram_gb,
        "local_ssd_gb": offer.local_ssd_gb,
        "local_ssd_note": offer.local_ssd_note,
        "purchases": list(offer.purchases),
        "unverified": list(offer.unverified),
        "notes": offer.notes,
        "quotas": {p: [{**asdict(q), "dimensions": dict(q.dimensions)} for q in offer.quotas(p)] for p in wanted},
        "zones": {r: list(offer.zones(r)) for r in places},
        "prices": [
            {
                "region": price.region,
                "purchase": price.purchase,
                "usd_per_hour": price.usd_per_hour,
                "usd_per_hour_max": price.usd_per_hour_max,
                "lower_bound": price.lower_bound,
                "date": price.date,
                "source": price.source.name,
                "verified": price.verified,
                "note": price.note,
            }
            for r in places
            for p in wanted
            for price in catalog.prices(offer, r, p)
        ],
    }
