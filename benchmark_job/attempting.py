"""An attempt as the program sees it: where the ledger says that the runs are, and the hooks that write its end.

Plain `pulumi up` and `gpubench up` share this: `gpubench up` only begins attempts itself, with verdicts behind its
choice, and goes on to the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pulumi

import components
from components.interface import Surface
from placement.causes import Cause, Failure, Where, classify
from placement.clock import Clock
from placement.ladder import Rung
from placement.ledger import Attempt, Ledger, Outcome, begin_on
from placement.walk import first_line, retry_delay
from settings import Settings

# The Pulumi CLI puts the exception's name before what a dynamic provider says.
_OWN_EXCEPTION = re.compile(r"^(?:Exception calling application: )?benchmark_job\.\w+\.\w+: ")

# What the surfaces, components/waiting.py and benchmark_job/run_resource.py say of a run that a person stopped.
_STOPPED = re.compile(r"was stopped (?:before it began|on request)")


@dataclass(frozen=True)
class Attempting:
    """What the hooks of one update need: the attempt, its rung and surface, and the ledger that it ends in."""

    attempt: Attempt
    rung: Rung
    settings: Settings
    ledger: Ledger
    surface: Surface
    clock: Clock
    explain: bool = True

    @classmethod
    def open(cls, settings: Settings, rung: Rung, ledger: Ledger, clock: Clock, stack: str, job: str) -> Attempting:
        """The attempt that is under way on this rung; a new one if there is none."""
        surface = components.load(str(rung.surface), rung.id)
        attempt = ledger.open_attempt()
        if attempt is None or attempt.rung != rung.id or attempt.job != job:
            attempt = begin_on(rung, clock.now(), stack, job)
            if not pulumi.runtime.is_dry_run():
                ledger.begin(attempt)
        return cls(attempt, rung, settings, ledger, surface, clock)

    def hooks(self, name: str) -> pulumi.ResourceHookBinding:
        """For each resource that the attempt asks for: what to do when it fails."""
        return pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(f"{name}-explain", self._failed)])

    def last_hooks(self, name: str, hooks: pulumi.ResourceHookBinding) -> pulumi.ResourceHookBinding:
        """The same for the last run that is due: with its results the attempt is won."""
        won = pulumi.ResourceHook(f"{name}-won", self._won)
        return pulumi.ResourceHookBinding(on_error=hooks.on_error, after_create=[won], after_update=[won])

    def _failed(self, args: pulumi.ErrorHookArgs) -> bool:
        """Classify; ask for another try of what is transient; otherwise write the attempt's end, and say what to do."""
        failure = classify(_OWN_EXCEPTION.sub("", args.errors[0]), where(self.rung))
        delay = retry_delay(failure, len(args.errors), f"{self.attempt.id}/{args.name}")
        if delay is not None:
            pulumi.log.info(
                f"{args.name}: {first_line(failure.text)}; transient, so it is tried again in {delay:.0f} s"
            )
            self.clock.sleep(delay)
            return True
        if args.failed_operation == "delete":
            return False  # something that an earlier attempt left: this one's end is another matter, and may be written
        self.end(failure)
        for line in explained(failure, self.rung) if self.explain else ():
            pulumi.log.info(line)
        return False

    def _won(self, _args: pulumi.ResourceHookArgs) -> None:
        self._end(Outcome.WON, None)

    def end(self, failure: Failure) -> None:
        """Write the end of an attempt that failed, or that a person stopped."""
        # Nobody takes this machine away: what ends a run on it is a person, or the end of the process that asked.
        stopped = failure.cause is Cause.INTERRUPTED and (self.rung.is_free or _STOPPED.search(failure.text))
        self._end(Outcome.STOPPED if stopped else Outcome.FAILED, failure)

    def _end(self, outcome: Outcome, failure: Failure | None) -> None:
        end_attempt(self.ledger, self.attempt, self.rung, self.surface, self.clock, outcome, failure)


def only_retrying(name: str, clock: Clock) -> pulumi.ResourceHookBinding:
    """The hook of the same name for an update without an attempt, which deletes what an earlier one has left.

    Resources in the state name the hook; without it one that the cloud can't delete at once would fail the update.
    """

    def failed(args: pulumi.ErrorHookArgs) -> bool:
        delay = retry_delay(classify(args.errors[0]), len(args.errors), args.urn)
        if delay is not None:
            clock.sleep(delay)
        return delay is not None

    return pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(f"{name}-explain", failed)])


def end_attempt(
    ledger: Ledger,
    attempt: Attempt,
    rung: Rung,
    surface: Surface,
    clock: Clock,
    outcome: Outcome,
    failure: Failure | None,
) -> None:
    """Write an attempt's end, with what it had and what that cost."""
    held = surface.held(attempt, rung)
    ledger.end(
        replace(
            attempt,
            ended=clock.now(),
            outcome=outcome,
            failure=failure,
            usd=held.usd,
            obtained=held.since,
            obtained_zone=held.zone,
            obtained_machine_type=held.machine_type,
        )
    )


def where(rung: Rung) -> Where:
    """What is known of a failure before its text is read."""
    return Where(
        surface=str(rung.surface),
        project=rung.place.project,
        region=rung.place.region,
        zones=rung.place.zones,
        tier=rung.tier,
        machine_types=rung.machine_types,
        purchase=str(rung.purchase),
    )


def explained(failure: Failure, rung: Rung) -> list[str]:
    """What a failed attempt says to people: its cause, the mend, and whether another rung is tried."""
    lines = [f"{rung.id}: {failure.cause or 'waiting'} ({failure.code})"]
    if failure.mend:
        lines.append(f"mend: {failure.mend}")
    if failure.walks_on:
        lines.append("`gpubench up` goes on with the next rung; plain `pulumi up` takes it when it is run again")
    elif failure.cause is Cause.INTERRUPTED:
        lines.append("run `gpubench up` again to go on")
    else:
        lines.append(f"no results from {rung.id} yet: mend the cause, then run `gpubench up` again")
    return lines
