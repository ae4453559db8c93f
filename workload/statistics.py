"""The figures of a list of times."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], q: float) -> float:
    """The q-th percentile (0 to 100) of ascending values, interpolated linearly: numpy.percentile's default method.
    numpy itself is no requirement of torch. Raises ValueError without values."""
    if not ordered:
        raise ValueError("no values")
    place = (len(ordered) - 1) * q / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def figures(times: Sequence[float]) -> dict[str, float]:
    """median, p5, p95, mean, stddev (of the sample, 0 for a single value), min and max, in the unit of the times."""
    ordered = sorted(times)
    mean = math.fsum(ordered) / len(ordered)
    variance = math.fsum((value - mean) ** 2 for value in ordered) / max(1, len(ordered) - 1)
    return {
        "median": percentile(ordered, 50),
        "p5": percentile(ordered, 5),
        "p95": percentile(ordered, 95),
        "mean": mean,
        "stddev": math.sqrt(variance),
        "min": ordered[0],
        "max": ordered[-1],
    }
