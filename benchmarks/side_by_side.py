"""What the benchmarks share: measuring two sides in turns, and what the figures say.

A shared machine is a few percent faster or slower from one minute to the next, often by more than what is looked for
here. So the two sides are measured in pairs, right after one another, the order reversed from pair to pair, and what
counts is the median over the pairs' ratios (or differences): a drift slower than a pair hits both sides alike.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Compare(Enum):
    """How a pair's two figures become one."""

    RATIO = "ratio"
    FACTOR = "factor"
    DIFFERENCE = "difference"


@dataclass(frozen=True)
class Goal:
    """A bound on the tried side: at least a ratio to the reference; at most a factor, or a difference from it."""

    text: str
    compare: Compare
    bound: float
    unit: str = ""

    def of(self, tried: float, reference: float) -> float:
        """The comparison of one pair."""
        return tried - reference if self.compare is Compare.DIFFERENCE else tried / reference

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.compare is Compare.RATIO else value <= self.bound

    def shown(self, value: float) -> str:
        return f"{value:+.3g} {self.unit}".rstrip() if self.compare is Compare.DIFFERENCE else f"{value:.4f}"


@dataclass(frozen=True)
class Side:
    """One side: `measure` runs it once and returns its figure (larger isn't better or worse: the goal says which)."""

    name: str
    unit: str
    measure: Callable[[], float]


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a median: ends, and the probability that the interval covers it."""

    low: float
    high: float
    coverage: float


def median_interval(values: Sequence[float], wanted: float = 0.95) -> Interval:
    """The narrowest symmetric interval between order statistics that covers the median with this probability, or all
    of the values if there are too few. It assumes nothing about the distribution: the number of values below the
    median is binomial with p = 1/2 (the interval of the sign test)."""
    ordered = sorted(values)
    count = len(ordered)

    def coverage(left_out: int) -> float:
        return 1.0 - 2 * sum(math.comb(count, below) for below in range(left_out + 1)) / (1 << count)

    left_out = 0
    while left_out + 1 < count / 2 and coverage(left_out + 1) >= wanted:
        left_out += 1
    return Interval(ordered[left_out], ordered[count - 1 - left_out], max(0.0, coverage(left_out)))


def run(title: str, goal: Goal, tried: Side, reference: Side, *, pairs: int, warm_up: int = 1) -> bool:
    """Measure the sides in turns, print what came of it, and say whether the goal is shown to be met.

    pairs: how many times each side is measured. warm_up: pairs before these that don't count (file caches, byte code,
    clocks).
    """
    print(f"{title}\n  {machine()}\n  goal: {goal.text}", flush=True)
    for _ in range(warm_up):
        reference.measure()
        tried.measure()
    load = OtherLoad()
    found: dict[str, list[float]] = {tried.name: [], reference.name: []}
    for number in range(pairs):
        for side in (tried, reference) if number % 2 == 0 else (reference, tried):
            found[side.name].append(side.measure())
    compared = [goal.of(*pair) for pair in zip(found[tried.name], found[reference.name], strict=True)]
    width = max(len(tried.name), len(reference.name))
    for side in (tried, reference):
        print(f"  {side.name:<{width}}  {_spread(found[side.name])} {side.unit}")
    value, interval = statistics.median(compared), median_interval(compared)
    print(
        f"  {goal.compare.value}: {goal.shown(value)}, median over {pairs} pairs; {100 * interval.coverage:.0f} % "
        f"confidence interval {goal.shown(interval.low)} to {goal.shown(interval.high)}"
    )
    if (share := load.cores()) is not None:
        print(f"  meanwhile other processes used {share:.2f} of {os.cpu_count()} cores")
    ends = {goal.is_met(interval.low), goal.is_met(interval.high)}
    # Chance alone must not show a goal as met, or as missed.
    verdict = "undecided" if len(ends) == 2 else "met" if goal.is_met(value) else "NOT met"
    hint = ": the interval reaches to both sides of it; repeat with more --pairs, when the machine is quiet"
    print(f"  goal {verdict}{hint if verdict == 'undecided' else ''}", flush=True)
    return verdict == "met"


def _spread(values: Sequence[float]) -> str:
    quarters = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return (
        f"median {quarters[1]:.4g} (quartiles {quarters[0]:.4g} to {quarters[2]:.4g}, "
        f"all {min(values):.4g} to {max(values):.4g}; n = {len(values)})"
    )


class OtherLoad:
    """How busy the machine was with what isn't ours, from its making on. Linux; elsewhere nothing is known."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._machine = _busy_s()
        self._own = _own_s()

    def cores(self) -> float | None:
        """Cores that other processes kept busy, on average; None if that can't be read."""
        busy = _busy_s()
        if busy is None or self._machine is None:
            return None
        others = (busy - self._machine) - (_own_s() - self._own)
        return max(0.0, others / (time.monotonic() - self._since))


def _busy_s() -> float | None:
    """CPU seconds that all cores have spent on anything. proc(5): user nice system idle iowait irq softirq steal."""
    with suppress(OSError, ValueError, IndexError):
        fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    return None


def _own_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def machine() -> str:
    """What this is measured on, in a line."""
    from workload.hardware import describe

    found = describe(None, {})
    cpu = found["cpu"]
    assert isinstance(cpu, dict)
    return (
        f"{cpu['logical_cores']} cores of {cpu['model'] or platform.machine()}, {found['memory_gb']} GB; "
        f"{platform.system()} {found['kernel']}; Python {found['python']}, "
        f"torch {importlib.metadata.version('torch')}; "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )


def parser(description: str) -> argparse.ArgumentParser:
    """A benchmark's command line: `--quick`, and what it adds."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--quick", action="store_true", help="fewer and shorter measurements: a look, not a figure to quote"
    )
    made.add_argument("--pairs", type=int, help="how often each side is measured (default: the benchmark's own number)")
    return made
