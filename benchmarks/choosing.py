"""Choosing among 10,000 rungs, and asking for the verdicts of 200 rungs against asking one by one.

The clouds' answers are stood in for by a preflight that really sleeps a round trip's time; everything else is the real
thing. Choosing is measured with a ledger of failures that block a part of the ladder, in each of the three orders.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import catalog
from benchmarks.side_by_side import Compare, Goal, Side, parser, run
from placement.causes.model import Cause, Failure, Scope
from placement.choice import choose
from placement.costs import Hours
from placement.ladder import LadderEntry, Rung, Surface, expand
from placement.ledger import Attempt, Outcome
from placement.verdicts import (
    Answer,
    CannotSay,
    Finding,
    Grants,
    Kind,
    Offers,
    Prices,
    Question,
    Quotas,
    Said,
    Unasked,
    Verdict,
    ask,
    questions,
)
from settings import Order, Placement, Settings

CHOOSING = Goal("under 0.1 s", Compare.DIFFERENCE, 0.1, "s")
TWO_ROUND_TRIPS = Goal(
    "at most two round trips more than one: two, and what the rest needs", Compare.DIFFERENCE, 0.4, "s"
)
ROUND_TRIP_S = 0.2
RUNGS, ASKED = 10_000, 200
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
YES = Finding(Said.YES)


def long_ladder() -> list[Rung]:
    """Rungs of several clouds, surfaces, tiers and regions, in as many projects as it takes."""
    made: list[Rung] = []
    for number in count():
        for surface in (Surface.GCE, Surface.GKE, Surface.CLOUD_RUN, Surface.ECS):
            for tier in catalog.tier_names():
                for offer in catalog.offers(surface=surface, tier=tier)[:1]:
                    entry = LadderEntry(surface, f"project-{number}", offer.regions, (), (tier,), offer.gpus or None)
                    made += expand([entry])
        if len(made) >= RUNGS:
            return made[:RUNGS]
    raise AssertionError("count ends never")


@dataclass(frozen=True)
class World:
    """What is chosen from, made once."""

    ladder: tuple[Rung, ...]
    verdicts: dict[str, Verdict]
    attempts: tuple[Attempt, ...]
    hours: dict[str, Hours]

    @classmethod
    def made(cls) -> World:
        ladder = tuple(long_ladder())
        verdicts = {
            rung.id: Verdict(rung.id, YES, YES, YES, 0.5 + number % 97 / 10, "live", odds=(number % 10) / 10)
            for number, rung in enumerate(ladder)
        }
        scopes = (Scope.ZONE, Scope.REGION, Scope.PURCHASE, Scope.TIER)
        attempts = []
        for number, rung in enumerate(ladder[: 200 * 20 : 20]):
            ended = NOW - timedelta(seconds=number)
            failure = Failure(Cause.CAPACITY, scopes[number % 4], "ZONE_RESOURCE_POOL_EXHAUSTED", "sold out")
            attempts.append(
                Attempt(
                    id=f"{ended:%Y%m%dT%H%M%S}.000Z-{number:04x}",
                    stack="bench",
                    job="job",
                    rung=rung.id,
                    tier=rung.tier,
                    region=rung.place.region,
                    begun=ended - timedelta(seconds=1),
                    ended=ended,
                    outcome=Outcome.FAILED,
                    failure=failure,
                )
            )
        return cls(ladder, verdicts, tuple(attempts), dict.fromkeys(verdicts, Hours(0.5, 1.0, "bench")))

    def choose(self, order: Order) -> float:
        """Seconds of one choice."""
        settings = Settings(self.ladder, placement=Placement(order))
        begun = time.perf_counter()
        chosen = choose(settings, "job", self.verdicts, self.attempts, NOW, hours=self.hours)
        taken = time.perf_counter() - begun
        passed = sum(line.state == "passed over" for line in chosen.lines)
        if chosen.rung is None or not 0 < passed < len(self.ladder):
            sys.exit(f"the choice measured isn't the one meant: {chosen.rung}, {passed} passed over")
        return taken


class Sleeping:
    """A preflight whose every answer takes a round trip."""

    def ask(self, question: Question) -> Answer:
        time.sleep(ROUND_TRIP_S)
        if question.kind is Kind.OFFERS:
            return Offers({})
        if question.kind is Kind.QUOTAS:
            return Quotas(())
        if question.kind is Kind.PERMISSIONS:
            return Grants(())
        if question.kind is Kind.PRICES:
            return Prices({})
        raise CannotSay("nobody says")


def asked_ladder() -> tuple[Rung, ...]:
    """200 rungs of two clouds, on demand: five tiers in each region."""
    google = expand([LadderEntry(Surface.GCE, "p1", _regions("gce", 20), tiers=("l4", "t4", "a100-40", "v100", "cpu"))])
    amazon = expand([LadderEntry(Surface.ECS, "1", _regions("ecs", 20), tiers=("l4", "t4", "a10g", "v100", "cpu"))])
    return tuple(islice(dict.fromkeys([*google, *amazon]), ASKED))


def _regions(surface: str, most: int) -> tuple[str, ...]:
    return catalog.regions(surface)[:most]


def seconds_side_by_side(ladder: Sequence[Rung]) -> float:
    """Seconds to ask for all verdicts."""
    sleeping: dict[Surface, Sleeping | Unasked] = {rung.surface: Sleeping() for rung in ladder}
    begun = time.perf_counter()
    found = ask(ladder, sleeping, image=None)
    taken = time.perf_counter() - begun
    if any(one.permitted.said is not Said.YES for one in found.values()):
        sys.exit("some answers came too late")
    return taken


def seconds_of_one_question(ladder: Sequence[Rung]) -> float:
    """Seconds of one round trip."""
    begun = time.perf_counter()
    Sleeping().ask(questions(ladder[0], None)[0])
    return time.perf_counter() - begun


def main() -> int:
    """0 if all goals are met."""
    options = parser(__doc__ or "").parse_args()
    pairs = options.pairs or (7 if options.quick else 25)
    world = World.made()
    nothing = Side("nothing", "s", lambda: 0.0)
    met = True
    for order in Order:
        side = Side(f"choose, order {order}", "s", lambda order=order: world.choose(order))  # type: ignore[misc]
        met &= run(f"Choosing among {len(world.ladder)} rungs, order {order}", CHOOSING, side, nothing, pairs=pairs)
    ladder = asked_ladder()
    distinct = {replace(one, machine_types=()) for rung in ladder for one in questions(rung, None)}
    one_by_one = sum(len(questions(rung, None)) for rung in ladder)
    met &= run(
        f"Verdicts of {len(ladder)} rungs: {one_by_one} questions, {len(distinct)} of them distinct, "
        f"a round trip of {ROUND_TRIP_S:g} s",
        TWO_ROUND_TRIPS,
        Side("200 rungs side by side", "s", lambda: seconds_side_by_side(ladder)),
        Side("one round trip", "s", lambda: seconds_of_one_question(ladder)),
        pairs=max(5, pairs // 3),
    )
    taken, trip = seconds_side_by_side(ladder), seconds_of_one_question(ladder)
    print(
        f"  {taken / trip:.2f} round trips; one question of each rung, one after the other, would be {len(ladder)} "
        f"({len(ladder) * trip / taken:.0f} times as long), all of its questions {one_by_one}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
