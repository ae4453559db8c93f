"""The walk: try the best rung, learn from what came of it, and go on until the results are there or nothing is left.

It acts only through ``Hands``, so that the command line drives it through an engine and real clouds, and a property
test through thousands of simulated worlds. All that it has to remember is in the ledger: after `kill -9` at any
moment, walking again goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from placement.causes.model import Cause, Failure, Scope
from placement.choice import Choice, Refused, choose, limit_hours
from placement.clock import Clock
from placement.costs import expected_hours, hours_by_rung
from placement.ladder import Rung
from placement.ledger import Attempt, Ledger, Outcome, begin_on
from placement.verdicts import Verdict
from settings import Settings

TRANSIENT_TRIES = 8
"""How often something is tried that fails for the moment, before that counts as a failure that lasts.

With the delays between them these last some minutes: a cloud's limit of requests holds for one, and may not be all.
"""

QUOTA_LOOK = timedelta(minutes=30)
"""How often a walk that waits looks whether a quota has been granted."""

_FIRST_DELAY_S, _LONGEST_DELAY_S = 5.0, 120.0


@dataclass(frozen=True)
class Assignment:
    """What one attempt is to do. ``resumed``: an earlier walk, which was killed, began it."""

    attempt: Attempt
    rung: Rung
    resumed: bool = False


class Hands(Protocol):
    """What the walk acts through. Each method may raise; what it raised is the caller's to explain."""

    def due(self) -> tuple[str, ...]:
        """The runs that have no results yet."""

    def verdicts(self, rungs: Iterable[Rung]) -> Mapping[str, Verdict]:
        """What is known of these rungs, by their ids."""

    def attempt(self, assignment: Assignment) -> None:
        """Carry one attempt out; when this returns, the ledger has its end."""

    def resumable(self, attempt: Attempt) -> bool:
        """Whether an attempt that a killed walk left still has what it had, so that it can be gone on with."""

    def sweep(self, attempt: Attempt) -> None:
        """Take away what a lost attempt left: its capacity first."""

    def give_up(self, attempt: Attempt, why: str) -> None:
        """Sweep an attempt that a killed walk left, then write its end into the ledger."""

    def release(self) -> None:
        """Take away all capacity: nothing is under way."""


class End(StrEnum):
    """How a walk ended."""

    DONE = "done"  # the results are there
    NOTHING_DUE = "nothing due"  # they were there before
    NOTHING_LEFT = "nothing left"  # no rung is worth an attempt now
    FAILED = "failed"  # a cause that no other rung mends
    STOPPED = "stopped"  # by a person


@dataclass(frozen=True)
class Wait:
    """A time, in UTC, in which nothing could be tried."""

    begun: datetime
    ended: datetime


@dataclass(frozen=True)
class Ending:
    """The end of a walk: its attempts and waits, oldest first, and the last choice that was made, if any was."""

    end: End
    attempts: tuple[Attempt, ...] = ()
    choice: Choice | None = None
    failure: Failure | None = None
    waits: tuple[Wait, ...] = ()


class Reporter(Protocol):
    """Who tells people about the walk."""

    def chosen(self, choice: Choice, verdicts: Mapping[str, Verdict], attempts: Sequence[Attempt], due: int) -> None:
        """A choice was made (of no rung, perhaps), with so many runs due."""

    def began(self, assignment: Assignment) -> None:
        """An attempt begins."""

    def ended(self, attempt: Attempt) -> None:
        """An attempt has ended."""

    def waiting(self, until: datetime) -> None:
        """Nothing can be tried before this time."""


@dataclass
class Walk:
    """One walk of one stack. ``job`` names its runs (without the repeat number); ``stack`` its ledger's stack."""

    settings: Settings
    stack: str
    job: str
    ledger: Ledger
    hands: Hands
    clock: Clock
    reporter: Reporter
    wait: timedelta = timedelta(0)
    # What the last choice was made of.
    _verdicts: Mapping[str, Verdict] = field(default_factory=dict, init=False)
    _due: int = field(default=0, init=False)

    def go(self) -> Ending:
        """Walk until the results are there, a cause stops it, or nothing is left to try (or to wait for)."""
        begun = self.clock.now()
        self.ledger.compact()
        mine: list[Attempt] = []
        waits: list[Wait] = []
        # Rungs lost in this walk. Their blocks may end while it goes on; without a reason it doesn't go back to them.
        tried: frozenset[str] = frozenset()
        choice: Choice | None = None
        assignment = self._unfinished()
        if assignment is None:
            self._sweep_again()
        if not self.hands.due():
            if assignment is not None:
                self.hands.give_up(assignment.attempt, "its runs have results")
            self.hands.release()
            return Ending(End.NOTHING_DUE)
        while True:
            if assignment is None:
                choice = self._choose(tried)
                if choice.refused is not None:
                    self.hands.release()
                    return Ending(End.FAILED, tuple(mine), choice, not_permitted(choice.refused), tuple(waits))
                if choice.rung is None:
                    if (until := self._wait_until(choice, begun)) is not None:
                        self.reporter.waiting(until)
                        since = self.clock.now()
                        self.clock.sleep(max(1.0, (until - since).total_seconds()))
                        waits.append(Wait(since, self.clock.now()))
                        tried = frozenset()
                        continue
                    self.hands.release()
                    return Ending(End.NOTHING_LEFT, tuple(mine), choice, waits=tuple(waits))
                assignment = self._begin(choice, choice.rung)
            self.reporter.began(assignment)
            attempt = self._carry_out(assignment)
            self.reporter.ended(attempt)
            mine.append(attempt)
            if attempt.outcome is not Outcome.WON:
                # Before anything else: a lost attempt must not go on asking for machines, or paying for them.
                self.hands.sweep(attempt)
            ending = self._ending(attempt)
            if ending is not None:
                self.hands.release()
                return Ending(ending, tuple(mine), choice, attempt.failure, tuple(waits))
            if attempt.failure is not None and attempt.failure.walks_on:
                tried |= {assignment.rung.id}
            assignment = None

    # -- the steps of it --------------------------------------------------------------------------------------------

    def _unfinished(self) -> Assignment | None:
        """The attempt that a killed walk left: it is where the run is, so it is gone on with first."""
        attempt = self.ledger.open_attempt()
        if attempt is None:
            return None
        rung = next((rung for rung in self.settings.ladder if rung.id == attempt.rung), None)
        if rung is None or attempt.job != self.job or self.settings.rung not in (None, attempt.rung):
            self.hands.give_up(attempt, "the stack asks for something else now")
        elif not self.hands.resumable(attempt):
            self.hands.give_up(attempt, "what it had is gone")
        else:
            return Assignment(attempt, rung, resumed=True)
        return None

    def _sweep_again(self) -> None:
        """Sweep the last lost attempt again: a walk may have been killed between its end and its sweep."""
        attempts = self.ledger.attempts()
        if attempts and attempts[-1].ended is not None and attempts[-1].outcome is not Outcome.WON:
            self.hands.sweep(attempts[-1])

    def _choose(self, tried: frozenset[str]) -> Choice:
        attempts = self.ledger.attempts()
        pinned = self.settings.pinned_rung
        rungs = [pinned] if pinned is not None else list(self.settings.ladder)
        verdicts = self.hands.verdicts([rung for rung in rungs if rung.id not in tried])
        self._due = due = len(self.hands.due())
        hours = hours_by_rung(self.settings, attempts, job=self.job, due=due)
        choice = choose(self.settings, self.job, verdicts, attempts, self.clock.now(), hours=hours, tried=tried)
        self.reporter.chosen(choice, verdicts, attempts, due)
        self._verdicts = verdicts
        return choice

    def _begin(self, choice: Choice, rung: Rung) -> Assignment:
        attempts = self.ledger.attempts()
        worst = expected_hours(self.settings, attempts, job=self.job, rung=rung, due=self._due).worst
        verdict = self._verdicts.get(rung.id)
        hours = limit_hours(self.settings, self.job, rung, verdict, attempts, worst)
        attempt = begin_on(rung, self.clock.now(), self.stack, self.job)
        attempt = replace(attempt, zones=choice.zones, hours=hours)
        self.ledger.begin(attempt)
        return Assignment(attempt, rung)

    def _carry_out(self, assignment: Assignment) -> Attempt:
        self.hands.attempt(assignment)
        found = next(one for one in reversed(self.ledger.attempts()) if one.id == assignment.attempt.id)
        assert found.ended is not None, "an attempt returns only with its end in the ledger"
        return found

    def _ending(self, attempt: Attempt) -> End | None:
        """Whether the walk is over after this attempt."""
        if attempt.outcome is Outcome.WON or not self.hands.due():
            return End.DONE
        if attempt.outcome is Outcome.STOPPED:
            return End.STOPPED
        failure = attempt.failure
        if failure is not None and (failure.walks_on or failure.cause is Cause.INTERRUPTED):
            return None
        return End.FAILED

    def _wait_until(self, choice: Choice, begun: datetime) -> datetime | None:
        """The time to try again at, if that is within what the walk may wait."""
        until = choice.retry_at
        if until is None and choice.requests:
            until = self.clock.now() + QUOTA_LOOK  # nobody says when a quota is granted
        return until if until is not None and until <= begun + self.wait else None


def retry_delay(failure: Failure, tries: int, token: str) -> float | None:
    """Seconds until the same operation is worth another try in place; None: it isn't.

    ``tries``: how often it has failed. Doubles from 5 s to 2 min, with up to half of it taken off by chance, so that
    many who failed together don't come back together; the chance is drawn from ``token``, so the same attempt waits
    the same time on both engines.
    """
    if failure.cause is not Cause.TRANSIENT or tries >= TRANSIENT_TRIES:
        return None
    delay = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** (tries - 1))
    drawn = int.from_bytes(hashlib.sha256(f"{token}:{tries}".encode()).digest()[:4]) / 2**32
    return float(delay * (1 - drawn / 2))


def given_up(why: str) -> Failure:
    """Why an attempt that a killed walk left is not gone on with."""
    return Failure(Cause.INTERRUPTED, Scope.ZONE, "given-up", f"an earlier walk was killed, and {why}")


def not_permitted(refused: Refused) -> Failure:
    """Why a walk stops before it has tried anything: the best rung lacks a permission."""
    return Failure(
        Cause.PERMISSION, Scope.PROJECT, "verdict", f"{refused.rung_id}: {refused.why}", f"grant it: {refused.mend}"
    )


def first_line(text: str, width: int = 160) -> str:
    """The first line of a text that says something, cut to a width: for a table, beside the whole text elsewhere."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= width else line[: width - 1] + "…"
