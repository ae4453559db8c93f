"""What the walk acts through when it is real: an engine's updates, and the surfaces."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import components
from benchmark_job import sealing, store
from benchmark_job.attempting import end_attempt, where
from benchmark_job.due import due_runs
from benchmark_job.order import job_digest
from benchmark_job.store import StoreError
from components import image_build
from components.interface import Surface as SurfaceModule
from components.interface import SurfaceError
from engine.base import Engine, EngineError, InputError, Result
from engine.program import RELEASE_VARIABLE, WALK_VARIABLE
from placement.causes import Cause, Failure, Scope, classify
from placement.clock import Clock
from placement.ladder import Rung
from placement.ledger import Attempt, Ledger, Outcome
from placement.verdicts import Preflight, Unasked, Verdict, ask
from placement.walk import Assignment, given_up
from settings import Settings

if TYPE_CHECKING:
    from catalog import Surface


_NO_MACHINE = (Cause.CAPACITY, Cause.QUOTA, Cause.NOT_OFFERED)
"""Causes of attempts that never measured anything."""


class EngineHands:
    """One stack's hands. ``interrupted``: whether a person has asked to stop."""

    def __init__(
        self,
        settings: Settings,
        stack: str,
        engine: Engine,
        ledger: Ledger,
        clock: Clock,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.result = Result()
        """The last update's."""
        self.error: EngineError | None = None
        """What the last attempt's update failed with."""
        self._settings, self._stack, self._engine = settings, stack, engine
        self._ledger, self._clock, self._interrupted = ledger, clock, interrupted
        self._job = job_digest(settings.benchmark)
        self._updated = False
        self._given_up: set[str] = set()

    def due(self) -> tuple[str, ...]:
        """See `placement.walk.Hands`."""
        return due_runs(self._settings, self._ledger.attempts(), self._clock.now(), self._stack)

    def verdicts(self, rungs: Iterable[Rung]) -> Mapping[str, Verdict]:
        """See `placement.walk.Hands`."""
        wanted = tuple(rungs)
        return ask(wanted, preflights(self._settings, wanted, self._stack), image=self._settings.benchmark.image)

    def attempt(self, assignment: Assignment) -> None:
        """See `placement.walk.Hands`."""
        attempt, rung = assignment.attempt, assignment.rung
        self.error = None
        try:
            with _saying(WALK_VARIABLE):
                self._up()
        except InputError:
            self._end(attempt, rung, Outcome.STOPPED, _stopped("nothing was begun"))
            raise
        except EngineError as error:
            self.error = error
        if any(one.id == attempt.id and one.ended for one in self._ledger.attempts()):
            return  # the program's hooks have written its end
        if self.error is None:
            self._end(attempt, rung, Outcome.WON, None)  # its results were there already, so no hook ran
        elif self._interrupted():
            self._end(attempt, rung, Outcome.STOPPED, _stopped("stopped on request"))
        else:
            # No resource failed: the program did, or the engine itself.
            self._end(attempt, rung, Outcome.FAILED, classify(str(self.error), where(rung)))

    def resumable(self, attempt: Attempt) -> bool:
        """See `placement.walk.Hands`."""
        return self._surface(attempt).alive(attempt) and not self._engine.is_torn()

    def sweep(self, attempt: Attempt) -> None:
        """See `placement.walk.Hands`. What a machine of its own has measured, and nobody sealed, is kept."""
        surface = self._surface(attempt)
        surface.sweep(attempt)
        failure = attempt.failure
        if failure and failure.cause not in _NO_MACHINE and attempt.id not in self._given_up:
            _keep(attempt, self._settings, surface, failure)

    def give_up(self, attempt: Attempt, why: str) -> None:
        """See `placement.walk.Hands`."""
        self._given_up.add(attempt.id)
        _take_away(attempt, self._settings, self._ledger, self._clock, given_up(why))

    def release(self) -> None:
        """See `placement.walk.Hands`. An update that declares no capacity."""
        if all(rung.is_free for rung in self._settings.ladder) and self._updated:
            return  # this machine is no capacity that could be given back
        if not self.due():
            self._up()
        elif self._updated or self._engine.outputs() or self._ledger.attempts():
            # Of an attempt in the ledger there may be something left: a walk is killed before it takes it away, too.
            with _saying(RELEASE_VARIABLE):
                self._up()

    def _up(self) -> None:
        self._updated = True
        self.result = self._engine.up()

    def _end(self, attempt: Attempt, rung: Rung, outcome: Outcome, failure: Failure | None) -> None:
        end_attempt(self._ledger, attempt, rung, self._surface(attempt), self._clock, outcome, failure)

    @staticmethod
    def _surface(attempt: Attempt) -> SurfaceModule:
        return components.load(attempt.surface, attempt.rung)


def stop_attempt(attempt: Attempt, settings: Settings | None, ledger: Ledger, clock: Clock, why: str) -> None:
    """Take away what an attempt has, then write down that a person stopped it. Raises SurfaceError, LedgerError.

    ``settings`` None: they have mistakes, so its price isn't known. Its end is left to the next walk, which gives it
    up.
    """
    if settings is None:
        components.load(attempt.surface, attempt.rung).sweep(attempt)
    else:
        _take_away(attempt, settings, ledger, clock, _stopped(why))


def _take_away(attempt: Attempt, settings: Settings, ledger: Ledger, clock: Clock, failure: Failure) -> None:
    """Sweep an attempt that nobody watches, keep what it measured, and write its end: won, if it got all there was."""
    surface = components.load(attempt.surface, attempt.rung)
    surface.sweep(attempt)
    _keep(attempt, settings, surface, failure)
    won = surface.UPLOADS and _has_won(attempt, settings)
    outcome = Outcome.WON if won else Outcome.STOPPED
    end_attempt(ledger, attempt, _rung_of(attempt, settings), surface, clock, outcome, None if won else failure)


def _keep(attempt: Attempt, settings: Settings, surface: SurfaceModule, failure: Failure) -> None:
    """Seal what its machine left in the bucket. What keeps us from it keeps nobody from giving the attempt up."""
    if not surface.UPLOADS:
        return
    try:
        for folder in sealing.keep(attempt, settings, failure):
            print(f"gpubench: what attempt {attempt.id} had measured is kept: {folder}", flush=True)
    except (StoreError, OSError) as error:
        said = " ".join(str(error).split())
        print(f"gpubench: what attempt {attempt.id} measured isn't kept: {said}", file=sys.stderr, flush=True)


def _has_won(attempt: Attempt, settings: Settings) -> bool:
    try:
        return sealing.has_won(attempt, settings)
    except (StoreError, SurfaceError, components.SurfaceNotBuilt):
        return False  # whether its runs have results is asked again before the next one is begun


def _rung_of(attempt: Attempt, settings: Settings) -> Rung:
    """The attempt's rung; where the ladder hasn't it any more, the first one."""
    return next((rung for rung in settings.ladder if rung.id == attempt.rung), settings.ladder[0])


def preflights(settings: Settings, rungs: Iterable[Rung], stack: str) -> dict[Surface, Preflight | Unasked]:
    """Who answers for each surface of these rungs, or why nobody does."""
    found: dict[Surface, Preflight | Unasked] = {}
    for rung in rungs:
        if rung.surface in found:
            continue
        try:
            found[rung.surface] = components.load(str(rung.surface), rung.id).preflight(stack, settings)
        except components.SurfaceNotBuilt:
            found[rung.surface] = Unasked(f"surface {rung.surface} isn't built in this version", usable=False)
        except SurfaceError as error:
            found[rung.surface] = Unasked(str(error))
    return found


@contextmanager
def image_in_place(settings: Settings, engine: Engine, say: Callable[[str], None]) -> Iterator[str | None]:
    """The benchmark's image by digest, built and pushed if need be, for as long as this lasts; None: it has no build.

    Files that change meanwhile make no other run due: a walk may take hours. Raises SurfaceError, EngineError.
    """
    if settings.benchmark.build is None:
        yield None
        return
    prepare = partial(_without_capacity, engine, say, "the image's repository isn't there yet")
    image = image_build.ensure(settings.benchmark, pushes=bool(cloud_rungs(settings)), say=say, prepare=prepare)
    with _saying(image_build.PINNED_VARIABLE, image):
        yield image


def store_in_place(settings: Settings, engine: Engine, say: Callable[[str], None]) -> None:
    """Have the results' bucket made, if it isn't there: below it an attempt is written down before it begins.

    Raises EngineError.
    """
    if cloud_rungs(settings) and store.is_missing(settings.results.url):
        _without_capacity(engine, say, f"the bucket of {settings.results.url} isn't there yet")


def _without_capacity(engine: Engine, say: Callable[[str], None], why: str) -> None:
    say(f"the stack is brought up without capacity first: {why}")
    with _saying(RELEASE_VARIABLE):
        engine.up()


def cloud_rungs(settings: Settings) -> list[Rung]:
    """The rungs that may be chosen, and aren't this machine's."""
    rungs = [settings.pinned_rung] if settings.pinned_rung else settings.ladder
    return [rung for rung in rungs if not rung.is_free and str(rung.surface) in components.built()]


@contextmanager
def _saying(variable: str, value: str = "1") -> Iterator[None]:
    """Tell the program what this update is for."""
    os.environ[variable] = value
    try:
        yield
    finally:
        del os.environ[variable]


def _stopped(why: str) -> Failure:
    return Failure(Cause.INTERRUPTED, Scope.ZONE, "stopped", why, mend="run `gpubench up` again to go on")
