from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workload.statistics import figures, percentile

times = st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=200)


@given(times, st.floats(min_value=0, max_value=100))
def test_percentile_is_numpys(values: list[float], q: float) -> None:
    assert percentile(sorted(values), q) == pytest.approx(float(numpy.percentile(values, q)), rel=1e-9)


@given(times)
def test_figures_are_numpys(values: list[float]) -> None:
    found = figures(values)
    assert found["median"] == pytest.approx(float(numpy.median(values)), rel=1e-9)
    assert found["p5"] == pytest.approx(float(numpy.percentile(values, 5)), rel=1e-9)
    assert found["p95"] == pytest.approx(float(numpy.percentile(values, 95)), rel=1e-9)
    assert found["mean"] == pytest.approx(float(numpy.mean(values)), rel=1e-9)
    assert (found["min"], found["max"]) == (min(values), max(values))
    expected = float(numpy.std(values, ddof=1)) if len(values) > 1 else 0.0
    assert found["stddev"] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_no_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
