"""Expansion of a ladder: its order, its names, its defaults."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog
from placement.ladder import LadderEntry, Place, Purchase, Rung, Surface, default_purchase, expand, tier_label

ROOT = Path(__file__).parents[1]


def ids(*entries: LadderEntry) -> list[str]:
    return [rung.id for rung in expand(entries)]


def test_tiers_then_regions_then_purchases() -> None:
    entry = LadderEntry(
        surface=Surface.GCE,
        project="p1",
        regions=("us-central1", "us-east4"),
        tiers=("h100", "l4"),
        purchases=(Purchase.SPOT, Purchase.FLEX_START),
    )
    assert ids(entry, LadderEntry(surface=Surface.LOCAL)) == [
        "gce/p1/us-central1/h100/spot/a3-highgpu-1g",
        "gce/p1/us-central1/h100/flex-start/a3-highgpu-1g",
        "gce/p1/us-east4/h100/spot/a3-highgpu-1g",
        "gce/p1/us-east4/h100/flex-start/a3-highgpu-1g",
        "gce/p1/us-central1/l4/spot/g2-standard-4",
        "gce/p1/us-central1/l4/flex-start/g2-standard-4",
        "gce/p1/us-east4/l4/spot/g2-standard-4",
        "gce/p1/us-east4/l4/flex-start/g2-standard-4",
        "local/any",
    ]


def test_entries_keep_their_order() -> None:
    local, l4 = LadderEntry(Surface.LOCAL), LadderEntry(Surface.GCE, "p1", ("us-east1",), tiers=("l4",))
    assert ids(l4, local) == ids(local, l4)[::-1]
    assert expand([]) == ()


def test_a_region_is_one_rung_whatever_its_zones() -> None:
    entry = LadderEntry(
        Surface.GCE,
        "p1",
        ("us-central1", "us-east1"),
        zones=("us-central1-a", "us-east1-b", "us-central1-c"),
        tiers=("l4",),
    )
    first, second = expand([entry])
    assert first.place.zones == ("us-central1-a", "us-central1-c") and second.place.zones == ("us-east1-b",)
    assert first.id.endswith("@us-central1-a+us-central1-c")


def test_machine_types_go_to_their_own_tier() -> None:
    entry = LadderEntry(
        Surface.ECS,
        None,
        ("us-east-1",),
        tiers=("a10g", "t4"),
        machine_types=("g5.xlarge", "g4dn.xlarge", "g5.2xlarge"),
    )
    assert ids(entry) == [
        "ecs/us-east-1/a10g/on-demand/g5.xlarge+g5.2xlarge",
        "ecs/us-east-1/t4/on-demand/g4dn.xlarge",
    ]


@pytest.mark.parametrize(
    ("surface", "tier", "region", "count", "purchase"),
    [
        ("gce", "l4", "us-central1", 1, "on-demand"),
        ("gce", "h100", "us-central1", 1, "flex-start"),  # 4.79 against 6.62 spot
        ("gce", "h100", "europe-north1", 1, "spot"),  # flex-start has no known price there
        ("gce", "h100", "us-central1", 8, "on-demand"),
        ("gce", "h200", "us-central1", 8, "spot"),
        ("ecs", "h200", "us-east-1", 8, "on-demand"),
        ("cloud-run", "l4", "us-central1", 1, "on-demand"),
        ("ecs", "cpu", "us-east-1", 0, "on-demand"),
        ("local", "any", None, 0, "on-demand"),
    ],
)
def test_default_purchase(surface: str, tier: str, region: str | None, count: float, purchase: str) -> None:
    assert default_purchase(surface, tier, region, count) == purchase


def test_default_purchase_is_one_that_all_named_shapes_are_sold_under() -> None:
    assert default_purchase("gce", "h100", "us-central1", 8, ("a3-highgpu-8g",)) == "on-demand"
    assert default_purchase("ecs", "h200", "us-east-2", 8, ("p5e.48xlarge", "p5en.48xlarge")) == "spot"


def test_default_shape_is_the_smallest_that_is_sold_there() -> None:
    assert expand([LadderEntry(Surface.ECS, None, ("us-east-2",), tiers=("h200",), count=8)])[0].machine_types == (
        "p5en.48xlarge",
    )
    spot = LadderEntry(Surface.ECS, None, ("us-east-2",), tiers=("h200",), count=8, purchases=(Purchase.SPOT,))
    assert expand([spot])[0].machine_types == ("p5e.48xlarge",)
    assert expand([LadderEntry(Surface.LOCAL, tiers=("l4",))])[0].machine_types == ()


def test_prices() -> None:
    def price(*machine_types: str, region: str = "us-east-1", purchase: Purchase = Purchase.ON_DEMAND) -> float | None:
        rung = Rung(Place(Surface.ECS, None, region), "a10g", 1, machine_types, purchase)
        found = rung.usd_per_hour
        return found.usd_per_hour_max if found else None

    assert price("g5.xlarge") == 1.006
    assert price("g5.2xlarge", "g5.xlarge") == 1.212  # any of them may be obtained: the dearest
    assert price("g5.xlarge", purchase=Purchase.SPOT) == 0.4516  # the dearest zone
    assert price("g5.xlarge", region="eu-west-1") is None
    assert price("g5.2xlarge", "g5.xlarge", purchase=Purchase.SPOT) is None  # one of them isn't known
    local = expand([LadderEntry(Surface.LOCAL)])[0]
    assert local.usd_per_hour is None and local.is_free


def test_labels() -> None:
    assert [tier_label("h100", 8), tier_label("l4", 1), tier_label("any", 0), tier_label("l4", 0.25)] == [
        "h100x8",
        "l4",
        "any",
        "l4x0.25",
    ]


SURFACES = [s for s in Surface if s != Surface.LOCAL]


@st.composite
def sold_entries(draw: st.DrawFn) -> LadderEntry:
    """An entry whose every combination is in the catalogue, with whatever is left out or given."""
    surface = draw(st.sampled_from(SURFACES))
    region = draw(st.sampled_from(catalog.regions(surface)))
    offers = catalog.offers(surface=surface, region=region)
    first = draw(st.sampled_from(offers))
    same = [o for o in offers if o.gpus == first.gpus]
    tiers = draw(st.lists(st.sampled_from(sorted({o.tier for o in same})), min_size=1, max_size=3, unique=True))
    shared = [p for p in Purchase if all(any(p in o.purchases for o in same if o.tier == t) for t in tiers)]
    purchases = draw(st.lists(st.sampled_from(shared), max_size=3, unique=True)) if shared else []
    zones = sorted({z for o in same if o.tier in tiers for z in o.zones(region)}) if len(tiers) == 1 else []
    given_zones = draw(st.lists(st.sampled_from(zones), max_size=2, unique=True)) if zones else []
    return LadderEntry(
        surface=surface,
        project=draw(st.sampled_from([None, "my-project"])),
        regions=(region,),
        zones=tuple(given_zones),
        tiers=tuple(tiers),
        count=first.gpus or None,
        purchases=tuple(purchases),
        reservation="mine" if Purchase.RESERVED in purchases else None,
    )


@settings(max_examples=150, deadline=None)
@given(sold_entries())
def test_every_rung_is_sold_and_named(entry: LadderEntry) -> None:
    rungs = expand([entry])
    assert rungs == expand([entry])
    assert len({r.id for r in rungs}) == len(rungs)
    assert len(rungs) == len(entry.tiers) * len(entry.regions) * max(1, len(entry.purchases))
    wanted = list(product(entry.tiers, entry.regions, entry.purchases or (None,)))
    for rung, (tier, region, purchase) in zip(rungs, wanted, strict=True):
        assert (rung.tier, rung.place.region) == (tier, region)
        assert purchase is None or rung.purchase == purchase
        assert rung.offers and all(rung.purchase in o.purchases and o.gpus == rung.count for o in rung.offers)
        assert all(c.isalnum() or c in "._/+@:-" for c in rung.id) and rung.id.isascii()
        # Pulumi config keeps a plain text as it is: it must not look like a number, a boolean, JSON or an option.
        assert rung.id[0].isalpha() and not rung.id.startswith(("true", "false"))
        if rung.place.zones:
            assert any(set(rung.place.zones) & set(o.zones(region or "")) for o in rung.offers)
        price = rung.usd_per_hour
        assert price is None or 0 < price.usd_per_hour <= price.usd_per_hour_max


def test_ladder_imports_no_pydantic_and_no_pulumi() -> None:
    code = "import sys, placement.ladder; sys.exit(len({'pydantic', 'pulumi', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
