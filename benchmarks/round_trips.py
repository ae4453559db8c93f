"""How many round trips a preflight takes, one after the other: asked of a server in a process of its own."""

from __future__ import annotations

import multiprocessing
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Any

import catalog
from benchmarks.side_by_side import Compare, Goal, Side, parser, run
from catalog import Purchase, Surface
from placement.ladder import LadderEntry, Rung, expand

LATENCY_S = 0.1
ROUND_TRIPS = Goal("at most 3 round trips, one after the other", Compare.DIFFERENCE, 3.0, "round trips")


def serve(ours: Connection, server: Any) -> None:
    """Serve until the other end is closed. Whatever is sent asks: how many requests, and how many after another?

    ``server``: one of the tests' (tests/loopback.py).
    """
    with server.running():
        ours.send(server.endpoint)
        while True:
            try:
                ours.recv()
            except EOFError:
                return
            ours.send(server.wrong[0] if server.wrong else (len(server.asked), server.rounds()))
            server.asked.clear()


def ladder(
    surface: Surface, project: str, tiers: tuple[str, ...], purchases: tuple[Purchase, ...], count: int
) -> tuple[Rung, ...]:
    """As a stack for production has it: these tiers in as many regions as are wanted, those that sell most of them."""
    sold = [{r for o in catalog.offers(surface=surface, tier=tier) for r in o.regions} for tier in tiers]
    by_choice = sorted(catalog.regions(surface), key=lambda region: -sum(region in one for one in sold))
    expanded = expand([LadderEntry(surface, project, tuple(by_choice[:count]), tiers=tiers, purchases=purchases)])
    return tuple(rung for rung in expanded if rung.machine_types)  # not every region sells every tier


class Preflight:
    """The preflight of a ladder, on the server's other side. ``note``: what its figures are to be read with."""

    note = ""

    def __init__(self, theirs: Connection, rungs: tuple[Rung, ...]) -> None:
        self._theirs, self._rungs, self._endpoint = theirs, rungs, str(theirs.recv())
        self.seconds: list[float] = []
        self.calls = 0

    @abstractmethod
    def client(self) -> Any:
        """Made for each preflight, its time not counted: one that knows nothing."""

    @abstractmethod
    def ask(self, client: Any) -> Iterable[object]:
        """All that isn't answered of all rungs; nothing: all is."""

    def round_trips(self) -> float:
        """One preflight, with nothing known: how many requests came one after another."""
        client = self.client()
        begun = time.perf_counter()
        missing = list(self.ask(client))
        self.seconds.append(time.perf_counter() - begun)
        if missing:
            sys.exit(f"not all was answered: {missing[0]}")
        self._theirs.send(None)
        said = self._theirs.recv()
        if isinstance(said, str):
            sys.exit(f"the server refused a request: {said}")
        self.calls, rounds = said
        return float(rounds)


def measure(
    about: str, where: str, rungs: tuple[Rung, ...], made: type[Preflight], serving: Callable[[Connection], None]
) -> int:
    """Print how it goes; 0 if the goal is met. ``about``: the benchmark's docstring; ``where`` the rungs are."""
    options = parser(about).parse_args()
    theirs, ours = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serving, args=(ours,), daemon=True)
    server.start()
    ours.close()
    with closing(theirs):
        preflight = made(theirs, rungs)
        met = run(
            f"Preflight of {len(rungs)} rungs on {where} in {len({one.place.region for one in rungs})} regions, "
            f"{LATENCY_S * 1000:g} ms away",
            ROUND_TRIPS,
            Side("preflight", "round trips", preflight.round_trips),
            Side("nothing", "round trips", lambda: 0.0),
            pairs=options.pairs or (6 if options.quick else 15),
        )
        seconds = sorted(preflight.seconds[1:])
        median = seconds[len(seconds) // 2]
        print(
            f"  {preflight.calls} requests; {median:.3f} s, median ({seconds[0]:.3f} to {seconds[-1]:.3f} s): "
            f"{median / LATENCY_S:.1f} times the latency{preflight.note}"
        )
    server.join(5)
    return 0 if met else 1
