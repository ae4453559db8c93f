"""When a failed operation is tried again in place, and how long that takes."""

from __future__ import annotations

import statistics

import pytest

from placement.causes import Cause, Failure, Scope
from placement.walk import TRANSIENT_TRIES, retry_delay

BUSY = Failure(Cause.TRANSIENT, Scope.REGION, "backendError", "The service is currently unavailable.")


def delays(token: str) -> list[float]:
    """Of one operation that never works."""
    found = (retry_delay(BUSY, tries, token) for tries in range(1, TRANSIENT_TRIES))
    return [delay for delay in found if delay is not None]


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.TRANSIENT])
def test_only_what_is_transient_is_tried_again(cause: Cause) -> None:
    assert retry_delay(Failure(cause, Scope.ZONE, "code", "text"), 1, "token") is None


def test_it_ends() -> None:
    assert len(delays("token")) == TRANSIENT_TRIES - 1
    assert retry_delay(BUSY, TRANSIENT_TRIES, "token") is None
    assert retry_delay(BUSY, 1000, "token") is None


@pytest.mark.parametrize("number", range(100))
def test_each_delay_is_between_half_of_it_and_all_of_it_and_doubles_up_to_two_minutes(number: int) -> None:
    for tries, delay in enumerate(delays(f"attempt-{number}/group"), start=1):
        whole = min(5.0 * 2 ** (tries - 1), 120.0)
        assert whole / 2 <= delay <= whole


def test_a_cloud_that_allows_no_request_for_a_minute_is_outlasted_with_tries_left_for_other_failures() -> None:
    # A limit of requests a minute may refuse every try of that minute; what comes after it may be flaky, twice.
    for number in range(1000):
        waited, tries = 0.0, 0
        for delay in delays(f"attempt-{number}/group"):
            tries += 1
            waited += delay
            if waited >= 60:
                break
        assert TRANSIENT_TRIES - tries > 2, f"attempt-{number}: {tries} tries in {waited:.0f} s"


def test_the_same_operation_waits_the_same_time_on_both_engines() -> None:
    assert delays("20261121t142501-250-9f3a2b/group") == delays("20261121t142501-250-9f3a2b/group")


def test_those_who_failed_together_come_back_at_different_times() -> None:
    first = [delays(f"attempt-{number}/group")[0] for number in range(1000)]
    assert len(set(first)) > 990
    assert statistics.mean(first) == pytest.approx(3.75, abs=0.1)
    assert statistics.stdev(first) == pytest.approx(2.5 / 12**0.5, abs=0.1)
