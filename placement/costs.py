"""How long a job holds a machine, before it has run: for budgets and plans, never a promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from catalog import Surface
from placement.ledger import Attempt, Outcome

if TYPE_CHECKING:
    from placement.ladder import Rung
    from settings import Settings

PROFILE_MINUTES: Mapping[str, float] = MappingProxyType(
    {
        "smoke": 0.2,  # workload/README.md: about 10 s on 2 cores
        "standard-cpu": 1.0,  # workload/README.md: about 1 min on 2 cores
        "standard": 20.0,  # incident 2: 600 measurements in about 20 minutes on an L4; this profile has 666
        "full": 120.0,  # workload/README.md: about 2 h, by LoadGen's own 600 s a test
    }
)
"""Minutes of one run by the built-in workload's profile, on a GPU (standard-cpu and smoke: anywhere)."""

ON_A_CPU = 15.0
"""How many times longer a GPU's profile takes on a CPU: incident 5 saw 10 to 20."""

START_MINUTES: Mapping[Surface, float] = MappingProxyType(
    {
        Surface.LOCAL: 0.0,
        # Incident 3: drivers 2 to 3 minutes, image 3 to 5; the upper ends, since its image was small. The cluster's own
        # 5 to 7 minutes hold no GPU.
        Surface.GCE: 8.0,
        Surface.GKE: 8.0,
        Surface.ECS: 5.0,  # the image; the ECS GPU image of the machine brings the drivers
        Surface.CLOUD_RUN: 0.2,  # incident 5: the first answer in under 11 s; drivers are there, the image is streamed
    }
)
"""Minutes that a machine is held, and paid, before the first run begins: boot, drivers, image."""


@dataclass(frozen=True)
class Hours:
    """How long an attempt holds its machine, in hours: boot, drivers, image and all runs that are due.

    ``expected`` is never more than ``worst``, which the time-outs enforce. ``source``: what ``expected`` rests on.
    """

    expected: float
    worst: float
    source: str


def expected_hours(
    settings: Settings,
    attempts: Sequence[Attempt],
    *,
    job: str | None = None,
    rung: Rung | None = None,
    due: int | None = None,
) -> Hours:
    """Hours of one attempt that carries out all due runs.

    ``attempts``: the ledger's; those that were won count, of ``job`` if it is given, on the rung's tier before others.
    ``rung`` None: the slowest to start of the ladder's. ``due``: runs without results; None: all repeats.
    """
    benchmark = settings.benchmark
    runs = benchmark.repeats if due is None else due
    if runs <= 0:
        return Hours(0.0, 0.0, "nothing is due")
    surfaces = {rung.surface} if rung else {one.surface for one in settings.ladder}
    start = max((START_MINUTES[surface] for surface in surfaces), default=0.0)
    worst = start + benchmark.timeout_minutes * runs
    expected, source = _expected_minutes(settings, attempts, job, rung.tier if rung else None, runs, start)
    if rung is not None and rung.max_hours is not None:
        worst = min(worst, rung.max_hours * 60)
    if expected > worst:
        expected, source = worst, f"{source}, cut at its time limit"
    return Hours(expected / 60, worst / 60, source)


def hours_by_rung(
    settings: Settings, attempts: Sequence[Attempt], *, job: str | None = None, due: int | None = None
) -> dict[str, Hours]:
    """``expected_hours`` of each rung of the ladder, by its id."""
    made: dict[tuple[object, ...], Hours] = {}
    found: dict[str, Hours] = {}
    for rung in settings.ladder:
        # Long ladders have few surfaces and tiers.
        key = (rung.surface, rung.tier, rung.max_hours)
        if key not in made:
            made[key] = expected_hours(settings, attempts, job=job, rung=rung, due=due)
        found[rung.id] = made[key]
    return found


def _expected_minutes(
    settings: Settings, attempts: Sequence[Attempt], job: str | None, tier: str | None, runs: int, start: float
) -> tuple[float, str]:
    """Minutes, and what they rest on. Those of earlier attempts have their start in them already."""
    won = [a for a in attempts if a.outcome == Outcome.WON and a.ended and (job is None or a.job == job)]
    same = [a for a in won if a.tier == tier]
    seen = same or won
    if seen:
        mean = sum(a.seconds for a in seen) / len(seen) / 60
        what = f"on {tier}" if same else f"on {', '.join(sorted({a.tier for a in seen}))}"
        return mean, f"mean of {len(seen)} won attempt{'' if len(seen) == 1 else 's'} {what}"
    benchmark = settings.benchmark
    if not benchmark.is_built_in:
        return start + benchmark.timeout_minutes * runs, "timeout_minutes, since the command is your own"
    minutes, source = PROFILE_MINUTES[benchmark.profile], f"profile {benchmark.profile}"
    if tier == "cpu" and benchmark.profile in ("standard", "full"):
        minutes, source = minutes * ON_A_CPU, f"{source}, {ON_A_CPU:g} times longer on a CPU"
    return start + minutes * runs, source
