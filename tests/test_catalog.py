"""The catalogue fits together, says what its sources say, and reads quickly."""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

import catalog
from catalog import CatalogError, Purchase, Surface, listing

ROOT = Path(__file__).parents[1]
DATA = ROOT / "catalog"


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------------------------------------- it fits together


def test_each_row_refers_to_what_is_there() -> None:
    places = {row["places"] for row in rows("places.csv")}
    quotas = {row["quota"] for row in rows("quotas.csv")}
    for row in rows("offers.csv"):
        where = f"{row['tier']} {row['machine_type']}"
        assert row["tier"] in catalog.tier_names(), where
        assert row["places"] in places, where
        assert set(row["quotas"].split()) <= quotas and row["quotas"], where
        assert {p.rstrip("?") for p in row["purchases"].split()} <= set(Purchase) and row["purchases"], where
        assert set(row["surfaces"].split()) <= set(Surface) - {"local"} and row["surfaces"], where
        assert set(row["unverified"].split()) <= set(row), where
    used_places = {row["places"] for row in rows("offers.csv")}
    used_quotas = {q for row in rows("offers.csv") for q in row["quotas"].split()}
    assert places == used_places, "a set of places that no offer uses"
    assert quotas == used_quotas, "a quota that no offer uses"


def test_each_source_is_known_and_used() -> None:
    known = {row["source"] for row in rows("sources.csv")}
    used = {row["source"] for name in ("prices.csv", "places.csv", "quotas.csv") for row in rows(name)}
    used |= {t.end_of_support_source.key for t in catalog.tiers() if t.end_of_support_source}
    assert used == known
    for row in rows("sources.csv"):
        date.fromisoformat(row["read_on"])
        assert row["name"]
        # An address only where it was opened, or is a repository's own: a price page from memory proves nothing.
        assert not row["url"] or row["url"].startswith("https://github.com/")


def test_what_nobody_confirms_is_marked() -> None:
    for name in ("prices.csv", "places.csv"):
        for row in rows(name):
            if row["source"] in ("assumed", "fargate-third-party", "flex-note-2026-08", "cloud-run-note-2026"):
                assert row["verified"] == "no", row
    doubtful = {t.name for t in catalog.tiers() if not t.compute_capability_verified}
    assert doubtful == {"rtx-pro-4500", "b300"}


def test_offers_are_unique() -> None:
    keys = [(o.surface, o.tier, o.machine_type, o.gpus) for o in catalog.offers()]
    assert len(keys) == len(set(keys))


def test_offers_have_quotas_for_each_purchase() -> None:
    for o in catalog.offers():
        for purchase in o.purchases:
            needs = o.quotas(purchase)
            assert needs, f"{o.surface} {o.machine_type} {purchase}"
            assert all(n.amount > 0 for n in needs), f"{o.surface} {o.machine_type} {purchase}"


def test_what_is_sold_on_demand_has_a_price_or_says_why_not() -> None:
    for o in catalog.offers(purchase="on-demand"):
        priced = [r for r in o.regions if catalog.price(o, r, "on-demand")]
        partial = [r for r in priced if (p := catalog.price(o, r, "on-demand")) and p.lower_bound]
        if o.no_price_because:
            assert not priced or partial, f"{o.machine_type} has a price, and a reason for having none"
        else:
            assert priced and not partial, f"{o.surface} {o.tier} {o.machine_type}"


def test_prices_are_of_offers_in_their_regions() -> None:
    for row in rows("prices.csv"):
        where = f"{row['machine_type']} {row['region']}"
        date.fromisoformat(row["date"])
        assert row["covers"] in ("machine", "gpu-part") and row["verified"] in ("yes", "no"), where
        figures = [row[c] for c in row if c.endswith("usd_per_hour") and row[c]]
        assert figures and all(0 < float(f) < 200 for f in figures), where
        if row["spot_max_usd_per_hour"]:
            assert float(row["spot_max_usd_per_hour"]) >= float(row["spot_usd_per_hour"]), where
        for surface in row["surfaces"].split():
            found = catalog.offers(
                surface=surface, tier=row["tier"], machine_type=row["machine_type"], count=float(row["gpus"])
            )
            assert len(found) == 1, where
            assert row["region"] in found[0].regions, where


def test_spot_is_not_dearer_than_on_demand() -> None:
    for o in catalog.offers(purchase="spot"):
        for region in o.regions:
            spot, full = catalog.price(o, region, "spot"), catalog.price(o, region, "on-demand")
            if spot and full:
                assert spot.usd_per_hour <= full.usd_per_hour, f"{o.machine_type} {region}"


def test_zones_look_like_zones_of_their_region() -> None:
    for row in rows("places.csv"):
        for zone in row["zones"].split():
            if row["places"].startswith("gce"):
                assert re.fullmatch(rf"{row['region']}-[a-z]", zone), zone
            else:
                area, direction, number = row["region"].split("-")
                short = "".join(word[0] for word in re.findall("north|south|east|west|central", direction))
                assert re.fullmatch(rf"{area}{short}{number}-(?:[a-z]{{3}}\d-)?az\d", zone), (zone, row["region"])
    zones: dict[str, str] = {}
    for row in rows("places.csv"):
        for zone in row["zones"].split():
            assert zones.setdefault(zone, row["region"]) == row["region"]


def test_smallest_shape_first() -> None:
    """The first shape of a count is what a ladder gets by default: it must not be a larger one."""
    for surface in Surface:
        for name in catalog.tier_names():
            for count in {o.gpus for o in catalog.offers(surface=surface, tier=name)}:
                sizes = [o.vcpu for o in catalog.offers(surface=surface, tier=name, count=count)]
                assert sizes == sorted(sizes), (surface, name, count)


def test_tiers_are_whole() -> None:
    for t in catalog.tiers():
        assert catalog.offers(tier=t.name), f"{t.name} is sold nowhere"
        assert all(re.fullmatch(r"[a-z0-9]+(?: [a-z0-9]+)*", n) for n in t.gpu_names), t.name
        assert (t.name == "cpu") == (t.memory_gb == 0)
        if t.name != "cpu":
            assert t.compute_capability and re.fullmatch(r"\d+\.\d", t.compute_capability)
        if t.end_of_support:
            date.fromisoformat(t.end_of_support)
            assert t.end_of_support_source and t.end_of_support_surfaces


# ------------------------------------------------------------------------------ it says what the sources say (by hand)


@pytest.mark.parametrize(
    ("surface", "tier", "machine_type", "gpus", "region", "purchase", "usd"),
    [
        ("gce", "t4", "n1-standard-4", 1, "us-central1", "on-demand", 0.540),
        ("gce", "t4", "n1-standard-4", 1, "us-central1", "spot", 0.259),
        ("gce", "l4", "g2-standard-4", 1, "us-central1", "on-demand", 0.7068),
        ("gce", "l4", "g2-standard-4", 1, "us-central1", "spot", 0.3973),
        ("gke", "l4", "g2-standard-8", 1, "us-central1", "on-demand", 0.8536),
        ("gce", "l4", "g2-standard-4", 1, "asia-northeast3", "spot", 0.271),
        ("gce", "l4", "g2-standard-4", 1, "us-east4", "spot", 0.311),
        ("gce", "l4", "g2-standard-4", 1, "asia-east1", "on-demand", 0.818441),
        ("gce", "v100", "n1-standard-8", 1, "us-central1", "on-demand", 2.860),
        ("gce", "v100", "n1-standard-8", 1, "us-central1", "spot", 1.368),
        ("gce", "a100-40", "a2-highgpu-1g", 1, "us-central1", "on-demand", 3.6734),
        ("gce", "a100-40", "a2-highgpu-1g", 1, "us-central1", "flex-start", 2.020),
        ("gce", "a100-40", "a2-highgpu-1g", 1, "europe-west4", "spot", 1.693),
        ("gce", "a100-80", "a2-ultragpu-1g", 1, "us-central1", "flex-start", 2.40),
        ("gce", "a100-80", "a2-ultragpu-1g", 1, "us-central1", "spot", 3.041),
        ("gce", "a100-80", "a2-ultragpu-1g", 1, "us-east5", "spot", 1.778),
        ("gce", "rtx-pro-6000", "g4-standard-48", 1, "us-central1", "on-demand", 4.4999),
        ("gce", "rtx-pro-6000", "g4-standard-48", 1, "us-central1", "flex-start", 2.25),
        ("gce", "rtx-pro-6000", "g4-standard-6", 0.125, "us-central1", "on-demand", 0.5596),
        ("gce", "h100", "a3-highgpu-1g", 1, "us-central1", "spot", 6.620),
        ("gce", "h100", "a3-highgpu-1g", 1, "us-central1", "flex-start", 4.79),
        ("gce", "h100", "a3-highgpu-1g", 1, "europe-north1", "spot", 1.276),
        ("gce", "h100", "a3-highgpu-1g", 1, "europe-west9", "spot", 2.929),
        ("gce", "h100", "a3-highgpu-8g", 8, "us-central1", "on-demand", 88.490),
        ("gce", "h100", "a3-highgpu-8g", 8, "us-central1", "flex-start", 38.32),
        ("gce", "h100-mega", "a3-megagpu-8g", 8, "us-central1", "spot", 45.039),
        ("gce", "h200", "a3-ultragpu-8g", 8, "us-central1", "spot", 40.972),
        ("gce", "b200", "a4-highgpu-8g", 8, "us-central1", "spot", 37.746),
        ("ecs", "t4", "g4dn.xlarge", 1, "us-east-1", "on-demand", 0.526),
        ("ecs", "t4", "g4dn.xlarge", 1, "us-east-2", "spot", 0.143),
        ("ecs", "a10g", "g5.xlarge", 1, "us-east-1", "on-demand", 1.006),
        ("ecs", "a10g", "g5.2xlarge", 1, "us-east-1", "on-demand", 1.212),
        ("ecs", "l4", "g6f.large", 0.125, "us-east-1", "on-demand", 0.202),
        ("ecs", "l40s", "g6e.xlarge", 1, "us-west-2", "spot", 0.860),
        ("ecs", "v100", "p3.2xlarge", 1, "us-east-1", "on-demand", 3.06),
        ("ecs", "a100-80", "p4de.24xlarge", 8, "us-east-1", "on-demand", 27.44705),
        ("ecs", "h100", "p5.4xlarge", 1, "us-east-1", "on-demand", 6.88),
        ("ecs", "h100", "p5.48xlarge", 8, "us-east-1", "on-demand", 55.04),
        ("ecs", "h200", "p5en.48xlarge", 8, "us-east-1", "on-demand", 63.296),
        ("ecs", "b200", "p6-b200.48xlarge", 8, "us-east-1", "on-demand", 113.9328),
        ("ecs", "b300", "p6-b300.48xlarge", 8, "us-west-2", "on-demand", 142.416),
        ("ecs", "rtx-pro-6000", "g7e.2xlarge", 1, "us-east-1", "on-demand", 3.36312),
        ("cloud-run", "l4", "nvidia-l4", 1, "us-central1", "on-demand", 1.05),
        ("cloud-run", "rtx-pro-6000", "nvidia-rtx-pro-6000", 1, "us-central1", "on-demand", 3.76),
    ],
)  # fmt: skip
def test_prices_of_the_sources(
    surface: str, tier: str, machine_type: str, gpus: float, region: str, purchase: str, usd: float
) -> None:
    (offer,) = catalog.offers(surface=surface, tier=tier, machine_type=machine_type, count=gpus)
    price = catalog.price(offer, region, purchase)
    assert price is not None
    assert price.usd_per_hour == pytest.approx(usd, abs=0.006 if usd > 1 else 0.0006)
    assert price.lower_bound == (machine_type in ("a3-megagpu-8g", "a3-ultragpu-8g", "a4-highgpu-8g"))


def test_what_is_not_sold_has_no_price() -> None:
    (h100,) = catalog.offers(surface="gce", machine_type="a3-highgpu-1g")
    assert catalog.price(h100, "us-central1", "on-demand") is None  # 11.06 in the list, and not to be bought
    assert set(h100.purchases) == {"spot", "flex-start"}
    (h200,) = catalog.offers(surface="gce", machine_type="a3-ultragpu-8g")
    assert set(h200.purchases) == {"spot", "flex-start", "reserved"}
    (p5e,) = catalog.offers(surface="ecs", machine_type="p5e.48xlarge")
    assert "on-demand" not in p5e.purchases
    assert not [o for o in catalog.offers(surface="ecs") if o.machine_type.startswith("fargate") and o.tier != "cpu"]
    assert catalog.price(h100, "mars-north1", "spot") is None


@pytest.mark.parametrize(
    ("surface", "machine_type", "vcpu", "ram", "ssd"),
    [
        ("gce", "a3-highgpu-1g", 26, 234, 750),
        ("gke", "a3-ultragpu-8g", 224, 2952, 12000),
        ("gce", "a2-ultragpu-1g", 12, 170, 375),
        ("gce", "g2-standard-96", 96, 384, 3000),
        ("ecs", "p5.4xlarge", 16, 256, 3800),
        ("ecs", "g5.xlarge", 4, 16, 250),
        ("ecs", "p4d.24xlarge", 96, 1152, 8000),
        ("cloud-run", "nvidia-rtx-pro-6000", 20, 80, None),
    ],
)
def test_shapes_of_the_sources(surface: str, machine_type: str, vcpu: int, ram: float, ssd: float | None) -> None:
    (o,) = catalog.offers(surface=surface, machine_type=machine_type)
    assert (o.vcpu, o.ram_gb, o.local_ssd_gb) == (vcpu, ram, ssd)


@pytest.mark.parametrize(
    ("surface", "machine_type", "purchase", "quota_id", "amount", "dimensions"),
    [
        ("gce", "g2-standard-4", "on-demand", "NVIDIA-L4-GPUS-per-project-region", 1, {}),
        ("gce", "g2-standard-96", "flex-start", "PREEMPTIBLE-NVIDIA-L4-GPUS-per-project-region", 8, {}),
        (
            "gce",
            "a3-highgpu-8g",
            "on-demand",
            "GPUS-PER-GPU-FAMILY-per-project-region",
            8,
            {"gpu_family": "NVIDIA_H100"},
        ),
        ("gke", "a3-highgpu-1g", "spot", "PREEMPTIBLE-NVIDIA-H100-GPUS-per-project-region", 1, {}),
        ("gce", "a2-highgpu-2g", "on-demand", "NVIDIA-A100-GPUS-per-project-region", 2, {}),
        ("ecs", "p5.4xlarge", "spot", "L-C4BD4855", 16, {}),
        ("ecs", "p5.48xlarge", "on-demand", "L-417A185B", 192, {}),
        ("ecs", "p4d.24xlarge", "spot", "L-7212CCBC", 96, {}),
        ("ecs", "g4dn.xlarge", "on-demand", "L-DB2E81BA", 4, {}),
        ("ecs", "fargate-4-16gb", "spot", "L-36FBB829", 4, {}),
        ("cloud-run", "nvidia-l4", "on-demand", "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion", 1000, {}),
    ],
)
def test_quotas_of_the_sources(
    surface: str, machine_type: str, purchase: str, quota_id: str, amount: float, dimensions: dict[str, str]
) -> None:
    (o,) = catalog.offers(surface=surface, machine_type=machine_type)
    first = o.quotas(purchase)[0]
    assert (first.quota_id, first.amount, dict(first.dimensions)) == (quota_id, amount, dimensions)


def test_quotas_that_hide_behind_the_first() -> None:
    (gce,) = catalog.offers(surface="gce", machine_type="g2-standard-4")
    assert [(q.quota_id, q.scope, q.default_limit) for q in gce.quotas("on-demand")][1] == (
        "GPUS-ALL-REGIONS-per-project",
        "global",
        0,
    )
    (rtx,) = catalog.offers(surface="cloud-run", tier="rtx-pro-6000")
    memory = next(q for q in rtx.quotas("on-demand") if q.unit == "bytes")
    assert memory.default_limit == 40 * 2**30 < memory.amount == 80 * 2**30


def test_places_of_the_sources() -> None:
    assert catalog.zones("gce", "us-central1", "t4") == (
        "us-central1-a",
        "us-central1-b",
        "us-central1-c",
        "us-central1-f",
    )
    assert catalog.zones("ecs", "us-east-1", "l40s") == ("use1-az1", "use1-az2", "use1-az4", "use1-az6")
    assert set(catalog.zones("gce", None, "a100-80")) >= {"us-east5-a", "us-east5-b", "europe-west4-a"}
    assert set(catalog.regions("cloud-run")) >= {
        "us-central1",
        "us-east4",
        "europe-west1",
        "europe-west4",
        "asia-southeast1",
    }
    (l4,) = catalog.offers(surface="cloud-run", tier="l4")
    assert set(l4.regions) == {
        "us-central1",
        "us-east4",
        "europe-west1",
        "europe-west4",
        "asia-southeast1",
        "asia-south1",
    }
    assert catalog.region_of_zone("ecs", "use2-az1") == "us-east-2"
    assert catalog.regions("local") == ()


def test_end_of_support() -> None:
    t4 = catalog.tier("t4")
    assert t4.end_of_support == "2027-08-01" and set(t4.end_of_support_surfaces) == {"gce", "gke"}
    assert t4.compute_capability == "7.5"
    assert catalog.tier("rtx-pro-6000").compute_capability == "12.0"


# ------------------------------------------------------------------------------------------------------- the readers


@pytest.mark.parametrize(
    ("name", "memory_gb", "tier"),
    [
        ("NVIDIA L4", 22.2, "l4"),
        ("Tesla T4", 14.6, "t4"),
        ("NVIDIA A10G", 22.0, "a10g"),
        ("NVIDIA H100 80GB HBM3", 79.1, "h100"),
        ("NVIDIA H100 PCIe", 79.1, "h100"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "a100-40"),
        ("NVIDIA A100-SXM4-80GB", 79.2, "a100-80"),
        ("NVIDIA A100 80GB PCIe", None, "a100-80"),
        ("Tesla V100-SXM2-16GB", 15.8, "v100"),
        ("Tesla V100-SXM2-32GB", 31.7, "v100-32"),
        ("NVIDIA L40S", 44.4, "l40s"),
        ("NVIDIA H200", 139.8, "h200"),
        ("NVIDIA B200", 178.4, "b200"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 94.9, "rtx-pro-6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 11.6, "rtx-pro-6000"),  # an eighth, as sold
        ("nvidia l4", None, "l4"),
        ("NVIDIA L40S", None, "l40s"),
        ("NVIDIA L40", 44.4, None),
        ("NVIDIA L40", None, None),
        ("NVIDIA A10", 22.0, None),
        ("NVIDIA GeForce RTX 3090", 23.7, None),
        ("NVIDIA A100", None, None),  # which of the two?
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4.8, None),
        ("NVIDIA H100 NVL", 93.1, None),
        ("NVIDIA GB200", 184.0, None),
        ("", None, None),
        ("AMD Instinct MI300X", 191.5, None),
    ],
)
def test_tier_of_gpu(name: str, memory_gb: float | None, tier: str | None) -> None:
    assert catalog.tier_of_gpu(name, memory_gb) == tier


def test_unknown_tier_is_told() -> None:
    with pytest.raises(CatalogError, match="did you mean h100") as caught:
        catalog.tier("h10")
    assert caught.value.suggestion == "h100" and "l4" in caught.value.allowed


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("us-esat-1", "did you mean us-east-1?"),
        ("us-est-1", "did you mean us-east-1?"),
        ("us-wset-2", "did you mean us-west-2?"),
        ("cn-north-1", "China and GovCloud aren't built"),
        ("us-gov-west-1", "China and GovCloud aren't built"),
    ],
)
def test_a_region_is_not_taken_for_another(written: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    listing.add_arguments(parser)
    assert listing.run(parser.parse_args(["--surface", "ecs", "--region", written])) == 2
    assert said in capsys.readouterr().err


def test_reservation_costs_what_on_demand_costs() -> None:
    (offer,) = catalog.offers(surface="gce", machine_type="g2-standard-4")
    reserved, full = (catalog.price(offer, "us-central1", p) for p in ("reserved", "on-demand"))
    assert reserved and full and reserved.usd_per_hour == full.usd_per_hour and reserved.purchase == "reserved"


# ------------------------------------------------------------------------------------------------------- the listing

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tiers(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        listing.add_arguments(parser)
        code = listing.run(parser.parse_args(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_listing_has_every_offer(tiers: Run) -> None:
    code, out, err = tiers()
    assert code == 0 and not err
    for o in catalog.offers():
        assert re.search(rf"^{o.tier} .*\b{re.escape(o.machine_type)} ", out, re.MULTILINE), o.machine_type
    table = out.split("\n\n")[0]
    assert max(len(line) for line in table.splitlines()) <= 140
    assert "Prices of 2026-" in out and "support ends 2027-08-01 on gce, gke" in out


def test_listing_of_one_tier(tiers: Run) -> None:
    _, out, _ = tiers("--tier", "h100", "--surface", "gce", "--region", "us-central1")
    (line,) = [line for line in out.splitlines() if "a3-highgpu-1g" in line]
    assert line.split() == [
        "h100",
        "gce",
        "a3-highgpu-1g",
        "1",
        "80",
        "26",
        "234",
        "SF",
        "-",
        "6.62",
        "4.79",
        "us-central1",
        "17/25",
    ]
    assert "GPUS-PER-GPU-FAMILY-per-project-region gpu_family=NVIDIA_H100" in out
    assert "t4" not in out


def test_listing_by_purchase(tiers: Run) -> None:
    _, out, _ = tiers("--tier", "h100", "--purchase", "on-demand")
    assert "a3-highgpu-8g" in out and "a3-highgpu-1g" not in out and "PREEMPTIBLE" not in out


def test_listing_of_prices(tiers: Run) -> None:
    _, out, _ = tiers("--tier", "l4", "--surface", "gce", "--prices", "--region", "us-east4")
    line = next(line for line in out.splitlines() if "g2-standard-4 " in line and " spot " in line)
    assert line.split() == [
        "l4",
        "gce",
        "g2-standard-4",
        "1",
        "us-east4",
        "spot",
        "0.31",
        "2026-08-03",
        "karpenter-gcp",
    ]
    assert "us-central1" not in out


def test_listing_as_json(tiers: Run) -> None:
    _, out, _ = tiers("--tier", "rtx-pro-6000", "--surface", "cloud-run", "--json")
    (found,) = json.loads(out)
    assert found["machine_type"] == "nvidia-rtx-pro-6000" and found["quotas"]["on-demand"][0]["amount"] == 1000
    assert found["prices"][0]["verified"] is False


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--tier", "h10"), "did you mean h100?"),
        (("--surface", "cloudrun"), "did you mean cloud-run?"),
        (("--region", "us-centrall1"), "did you mean us-central1?"),
        (("--purchase", "on_demand"), "did you mean on-demand?"),
        (("--tier", "zzz"), "lists all"),
    ],
)
def test_listing_refuses_unknown_filters(arguments: tuple[str, ...], hint: str, tiers: Run) -> None:
    code, out, err = tiers(*arguments)
    assert code == 2 and not out and hint in err and arguments[1] in err and len(err.splitlines()) == 2


def test_listing_of_nothing(tiers: Run) -> None:
    code, out, _ = tiers("--tier", "a10g", "--surface", "gce")
    assert code == 0 and out == "Nothing is sold that is a10g on gce. a10g is sold on ecs.\n"
    assert tiers("--surface", "local")[1].startswith("Surface local is this machine")
    assert tiers("--surface", "ecs", "--region", "us-central1")[0] == 0


def test_listing_is_quick_and_light() -> None:
    """`gpubench tiers` may take 0.3 s more than a bare interpreter; what it runs is checked for half of that."""
    code = (
        "import argparse, sys; from catalog import listing; p = argparse.ArgumentParser(); listing.add_arguments(p);"
        "code = listing.run(p.parse_args([]));"
        "bad = {'yaml', 'pydantic', 'rich', 'pulumi', 'torch'} & set(sys.modules);"
        "sys.exit(code or len(bad))"
    )

    def seconds(text: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", text], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    listed = statistics.median(seconds(code) for _ in range(3))
    bare = statistics.median(seconds("pass") for _ in range(3))
    assert listed - bare < 0.3
