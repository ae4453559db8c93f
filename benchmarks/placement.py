"""Attempts, and simulated time until a GPU is granted, against trying zone after zone, in the same worlds.

The worlds: ladders of 20 rungs (spot, Compute Engine, four tiers), 80 % of their zones sold out, and a cloud whose
capacity advice is right. Either each zone is sold out by itself, or whole regions are, as H100s were (incident 1).
Placement is gpubench's own walk, order `soonest`. The others try one zone at a time until one has a machine:

- in order: what a script's loop does, and SkyPilot's failover (skypilot-org/skypilot, commit 8f4c480,
  sky/backends/cloud_vm_ray_backend.py): `RetryingVmProvisioner` goes through a region's zones one by one and then
  through the next region's. On Compute Engine `FailoverCloudErrorHandlerV2` blocks the zone for
  ZONE_RESOURCE_POOL_EXHAUSTED (and what it can't parse), the region for a regional quota, all regions for
  GPUS_ALL_REGIONS and a missing permission. What was made is deleted before the next zone. These worlds have nothing
  but shortages, so a zone is blocked at a time. It asks for no advice and follows no hints. Before
  a region's first zone `_retry_zones` asks for the quota there (about a second, says sky/clouds/cloud.py): so it does
  here;
- at random: each zone in a random order, nothing asked.

Each of them asks for a machine in the way that placement does: template and group, of one zone, with no patience: a
refusal ends the attempt when it shows. Time is the simulated cloud's (`Latency` in engine/simulated/scenario.py).
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pulumi

import catalog
from benchmarks.side_by_side import Interval, median_interval, parser
from components.interface import ATTEMPT_LABEL, STACK_LABEL, Capacity
from engine.simulated import standins
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud
from engine.simulated.scenario import Run, Scenario, Stock
from placement.ladder import Rung
from placement.verdicts import Kind, Question
from settings import Settings
from tests.placement import worlds

TIERS = ("l4", "a100-40", "a100-80", "h100")
RUNGS, SOLD_OUT = 20, 0.8
TIMES_SOONER = 5.0


@dataclass(frozen=True)
class Found:
    """How long it took until a machine was granted, and how many attempts."""

    seconds: float
    attempts: int


def world(seed: int, *, whole_regions: bool) -> worlds.World:
    """A ladder, and which of its zones are sold out; at least one isn't."""
    chance = random.Random(f"placement {seed} {whole_regions}")
    offers = [one for tier in TIERS for one in catalog.offers(surface="gce", tier=tier) if "spot" in one.purchases]
    places = [(offer, region) for offer in offers for region in offer.regions if offer.zones(region)]
    entries: list[dict[str, Any]] = []
    stock = [Stock(surface="gce", machines=10**6)]
    free = 0
    for offer, region in chance.sample(places, RUNGS):
        entries.append(
            {
                "surface": "gce",
                "project": "project-1",
                "region": region,
                "tier": offer.tier,
                "count": offer.gpus,
                "machine_type": offer.machine_type,
                "purchase": "spot",
            }
        )
        is_out = chance.random() < SOLD_OUT
        out = [zone for zone in offer.zones(region) if (is_out if whole_regions else chance.random() < SOLD_OUT)]
        free += len(offer.zones(region)) - len(out)
        if out:
            stock.append(Stock(machine_type=offer.machine_type, surface="gce", zones=tuple(out), machines=0))
    values = {
        "gpubench:ladder": entries,
        "gpubench:benchmark": {"workload": ["kernels"], "timeout_minutes": 30},
        "gpubench:budget": {"usd": 10_000, "hours": 700},
        "gpubench:placement": {"order": "soonest"},
        "gpubench:results": "memory",
    }
    if not free:
        return world(seed + 1_000_000, whole_regions=whole_regions)
    return worlds.World(values, Scenario(seed=seed, stock=tuple(stock), run=Run(minutes=5)))


def placed(of: worlds.World) -> Found:
    """By gpubench's walk."""
    got = worlds.walk(of)
    machine = got.cloud.machines()[0]
    return Found((machine.since - of.scenario.start).total_seconds(), len(got.attempts))


def one_by_one(
    of: worlds.World, arranged: Callable[[list[tuple[Rung, str]]], Iterable[tuple[Rung, str]]], *, asks: bool
) -> Found:
    """By trying zone after zone; ``asks``: for a region's quota first."""
    settings: Settings = of.settings()
    cloud = Cloud(of.scenario, SimulatedClock(of.scenario.start))
    listed = [(rung, zone) for rung in settings.ladder for zone in rung.offers[0].zones(rung.place.region or "")]
    asked: Rung | None = None
    for number, (rung, zone) in enumerate(arranged(listed), start=1):
        if asks and rung is not asked:
            cloud.answer(Question(Kind.QUOTAS, rung.surface, rung.place.project, rung.place.region))
            asked = rung
        name = f"attempt-{number}"
        labels = {STACK_LABEL: "bench", ATTEMPT_LABEL: name}
        hooks = pulumi.ResourceHookBinding()
        capacity = Capacity(rung, name, None, (zone,), 1.0, cloud.now(), labels, hooks, settings, ())
        ids: dict[str, str] = {}
        for spec in standins.specs(capacity):
            inputs = standins.resolved(spec.inputs, ids)
            ids[spec.name], _ = cloud.create(spec.type_token, f"{name}-{spec.name}", inputs)
        if standins.seen(cloud, name).granted:
            return Found((cloud.machines(name)[0].since - of.scenario.start).total_seconds(), number)
        cloud.release(name, keep=())
    sys.exit("a world without a free zone")


def _shuffled(chance: random.Random, listed: list[tuple[Rung, str]]) -> list[tuple[Rung, str]]:
    return chance.sample(listed, len(listed))


@dataclass
class Worlds:
    """What came of some worlds: of each, by each policy."""

    ours: list[Found] = field(default_factory=list)
    in_order: list[Found] = field(default_factory=list)
    shuffled: list[Found] = field(default_factory=list)

    def __add__(self, other: Worlds) -> Worlds:
        return Worlds(self.ours + other.ours, self.in_order + other.in_order, self.shuffled + other.shuffled)

    @classmethod
    def walked(cls, count: int, *, whole_regions: bool) -> Worlds:
        """Go through so many."""
        made = cls()
        for seed in range(count):
            of = world(seed, whole_regions=whole_regions)
            chance = random.Random(f"order {seed}")
            made.ours.append(placed(of))
            made.in_order.append(one_by_one(of, lambda listed: listed, asks=True))
            made.shuffled.append(one_by_one(of, partial(_shuffled, chance), asks=False))
        return made


def compared(title: str, found_in: Worlds) -> tuple[Interval, int]:
    """Print what came of these worlds; the interval of how many times sooner, and in how many placement was later."""
    ours, in_order, count = found_in.ours, found_in.in_order, len(found_in.ours)
    print(f"{title}: {count} worlds of {RUNGS} rungs, {SOLD_OUT:.0%} sold out, advice right")
    for name, found in (("placement", ours), ("in order", in_order), ("at random", found_in.shuffled)):
        times, tries = sorted(one.seconds for one in found), sorted(one.attempts for one in found)
        print(
            f"  {name:<9}  until granted: median {statistics.median(times):.0f} s, nine tenths within "
            f"{times[int(0.9 * count)]:.0f} s, all within {times[-1]:.0f} s; attempts: median "
            f"{statistics.median(tries):g}, most {tries[-1]}"
        )
    ratio = statistics.median(one.seconds for one in in_order) / statistics.median(one.seconds for one in ours)
    both = list(zip(ours, in_order, strict=True))
    ratios = [theirs.seconds / mine.seconds for mine, theirs in both]
    interval = median_interval(ratios)
    later = sum(mine.seconds > theirs.seconds for mine, theirs in both)
    print(
        f"  in order / placement: {ratio:.1f} of the medians; median of the worlds' ratios "
        f"{statistics.median(ratios):.1f} ({100 * interval.coverage:.0f} % confidence {interval.low:.1f} to "
        f"{interval.high:.1f}); placement later in {later} worlds"
    )
    return interval, later


def main() -> int:
    """0 if the goal is met."""
    options = parser((__doc__ or "").partition("\n")[0]).parse_args()
    count = 300 if options.quick else 1000
    regions, zones = Worlds.walked(count, whole_regions=True), Worlds.walked(count, whole_regions=False)
    compared("Whole regions sold out", regions)
    compared("Single zones sold out", zones)
    interval, later = compared("Both", regions + zones)
    print(f"goal: in both together at least {TIMES_SOONER:g} times sooner than in order at the median, and never later")
    decided = "undecided" if interval.low < TIMES_SOONER <= interval.high else "NOT met"
    print(f"  goal {'met' if interval.low >= TIMES_SOONER and not later else decided if not later else 'NOT met'}")
    return 0 if interval.low >= TIMES_SOONER and not later else 1


if __name__ == "__main__":
    sys.exit(main())
