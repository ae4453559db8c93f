"""What a walk says while it goes on: where, why, and what came of it, a line or two each."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, TextIO

from placement import plan, timeline
from placement.causes import Cause
from placement.choice import Choice
from placement.costs import hours_by_rung
from placement.ledger import Attempt, Outcome, this_walk
from placement.verdicts import Verdict
from placement.walk import Assignment, Ending, first_line

if TYPE_CHECKING:
    from placement.clock import Clock
    from settings import Settings

_WIDEST = 120


class Teller:
    """Tells of one walk, on a stream. The plan is shown once, before the first attempt, if there is a choice at all."""

    def __init__(self, settings: Settings, stack: str, job: str, clock: Clock, file: TextIO) -> None:
        self.plan: plan.Plan | None = None
        """The plan at the first choice."""
        self._settings, self._stack, self._job, self._clock, self._file = settings, stack, job, clock, file

    def chosen(self, choice: Choice, verdicts: Mapping[str, Verdict], attempts: Sequence[Attempt], due: int) -> None:
        """See `placement.walk.Reporter`."""
        if self.plan is not None:
            return
        hours = hours_by_rung(self._settings, attempts, job=self._job, due=due)
        self.plan = plan.make(
            self._stack, self._settings, verdicts, choice, attempts, self._clock.now(), hours, job=self._job, due=due
        )
        if len(self._settings.ladder) > 1:
            plan.render(self.plan, self._file)
            self._say("")

    def began(self, assignment: Assignment) -> None:
        """See `placement.walk.Reporter`."""
        again = "going on with" if assignment.resumed else "trying"
        narrowed = (
            f", in {', '.join(assignment.attempt.zones)} (the cloud's own hint)" if assignment.attempt.zones else ""
        )
        self._say(f"gpubench: {again} {assignment.rung.id}{narrowed}")

    def ended(self, attempt: Attempt) -> None:
        """See `placement.walk.Reporter`."""
        spent = f"after {timeline.duration(timedelta(seconds=attempt.seconds))}, {attempt.usd:.2f} USD"
        if attempt.outcome is Outcome.WON:
            self._say(f"gpubench: {attempt.rung}: results, {spent}")
            return
        failure = attempt.failure
        if failure is None:
            return
        self._say(f"gpubench: {attempt.rung}: {failure.cause} ({failure.code}), {spent}")
        if failure.walks_on or failure.cause is Cause.INTERRUPTED:
            # The text of what stops a walk is shown whole, at its end.
            self._say(first_line(failure.text, 400), indent=4)
        if failure.hint:
            self._say(f"The cloud names zones that have it: {', '.join(failure.hint)}", indent=4)
        if failure.mend:
            self._say(f"Mend: {failure.mend}", indent=4)

    def waiting(self, until: datetime) -> None:
        """See `placement.walk.Reporter`."""
        rest = timeline.duration(until - self._clock.now())
        self._say(f"gpubench: nothing can be tried before {until:%H:%M} UTC; waiting {rest}")

    def _say(self, text: str, indent: int = 0) -> None:
        width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
        room = " " * indent
        for line in text.splitlines() or [""]:
            # Ids and commands are copied from here: they are never cut in two.
            folded = textwrap.wrap(
                line,
                width,
                initial_indent=room,
                subsequent_indent=room + "  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            print("\n".join(folded or [""]), file=self._file, flush=True)


def walked(
    ending: Ending,
    settings: Settings,
    stack: str,
    begun: datetime,
    ended: datetime,
    attempts: Sequence[Attempt],
    *,
    simulated: bool = False,
    facts: Mapping[str, str] = MappingProxyType({}),
) -> timeline.Walked:
    """A walk that has ended, for the timeline. ``attempts``: the whole ledger's, oldest first."""
    mine = {one.id for one in ending.attempts}
    earlier = [one for one in attempts if one.id not in mine]
    job = ending.attempts[-1].job if ending.attempts else ""
    return timeline.Walked(
        stack=stack,
        begun=begun,
        ended=ended,
        end=ending.end,
        ladder=settings.ladder,
        attempts=ending.attempts,
        blocks=timeline.blocks_made(ending.attempts, settings.ladder, earlier),
        waits=ending.waits,
        retry_at=ending.choice.retry_at if ending.choice else None,
        requests=ending.choice.requests if ending.choice else (),
        budget_usd=settings.budget.usd,
        spent_before_usd=sum(one.usd for one in this_walk(earlier, job)),
        facts=facts,
        simulated=simulated,
        refused=ending.failure if ending.choice and ending.choice.refused else None,
        passed={line.rung_id: line.why for line in ending.choice.lines if line.state == "passed over"}
        if ending.choice
        else {},
    )
