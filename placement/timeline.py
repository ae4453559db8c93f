"""A walk as people are told of it: what was tried when, what came of it, what the walk did then, and what to do now.

``Walked`` holds what is known, ``rows`` what each attempt's line says; ``render`` writes it to a terminal, and
``benchmark_job.report.walk_report`` makes a page with a picture of the same rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TextIO

from placement.blocks import Block, blocks
from placement.causes.model import Cause, Failure
from placement.ladder import NO_GPU_TIERS, Rung
from placement.ledger import Attempt, Outcome
from placement.plan import short_labels
from placement.walk import End, Wait, first_line

REHEARSAL = "Rehearsal: no cloud was asked and nothing was measured."
"""Stands first wherever a walk through the simulated cloud is shown."""

MOST_NAMED = 6
"""So many rungs that were passed over for one reason are named, the others are counted."""


@dataclass(frozen=True)
class Walked:
    """A walk that has ended. Times are UTC, in a rehearsal the simulated cloud's.

    ``attempts``: oldest first, the walk's own; one that an earlier, killed walk began may be the first of them.
    ``blocks``: by attempt id, what each failure blocked (``blocks_made``); without it the lines don't say so.
    ``waits``: when nothing could be tried.
    ``requests``: quotas to ask for, each with its command. ``spent_before_usd``: by earlier walks of the same job,
    since the budget is for all of them. ``facts``: further lines for the head, by name: the engine, what a scenario is
    about. ``refused``: what ended the walk before anything was tried on the best rung: a permission that somebody
    lacks. ``passed``: by rung id, why the last choice passed a rung over.
    """

    stack: str
    begun: datetime
    ended: datetime
    end: End
    ladder: tuple[Rung, ...]
    attempts: tuple[Attempt, ...] = ()
    blocks: Mapping[str, Block] = field(default_factory=dict)
    waits: tuple[Wait, ...] = ()
    retry_at: datetime | None = None
    requests: tuple[str, ...] = ()
    budget_usd: float | None = None
    spent_before_usd: float = 0.0
    facts: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    refused: Failure | None = None
    passed: Mapping[str, str] = field(default_factory=dict)

    @property
    def took(self) -> timedelta:
        """From the walk's begin to its end."""
        return self.ended - self.begun

    @property
    def waited(self) -> timedelta:
        """How long nothing could be tried."""
        return self.waited_between(self.begun, self.ended)

    def waited_between(self, begun: datetime, ended: datetime) -> timedelta:
        """The part of it that lies between two times."""
        overlaps = (min(one.ended, ended) - max(one.begun, begun) for one in self.waits)
        return sum((one for one in overlaps if one > timedelta(0)), timedelta(0))

    @property
    def winner(self) -> Attempt | None:
        """The attempt that brought the results; None if none did."""
        return next((one for one in reversed(self.attempts) if one.outcome is Outcome.WON), None)

    @property
    def first_machine(self) -> Attempt | None:
        """The attempt that got the first GPU, whatever came of it; without any, the first machine. None: none came.

        One that was won had a machine, even if nobody knows since when.
        """
        had = [one for one in self.attempts if one.obtained or one.outcome is Outcome.WON]
        return next((one for one in had if one.tier not in NO_GPU_TIERS), had[0] if had else None)

    @property
    def until_machine(self) -> timedelta | None:
        """From the walk's begin until that machine came; until its attempt began, if that isn't known."""
        first = self.first_machine
        return max((first.obtained or first.begun) - self.begun, timedelta(0)) if first else None

    @property
    def until_results(self) -> timedelta | None:
        """From the walk's begin until the results were there."""
        if self.winner is None or self.winner.ended is None:
            return None
        return self.winner.ended - self.begun

    @property
    def usd(self) -> float:
        """What the walk's attempts cost."""
        return sum(one.usd for one in self.attempts)

    @property
    def failure(self) -> Failure | None:
        """What ended the walk, if a failure did."""
        if self.refused is not None:
            return self.refused
        return self.attempts[-1].failure if self.attempts and self.end in (End.FAILED, End.STOPPED) else None

    @property
    def is_good(self) -> bool:
        """Whether the results are there."""
        return self.end in (End.DONE, End.NOTHING_DUE)


@dataclass(frozen=True)
class Row:
    """One attempt's line. ``since``: from the walk's begin, negative for one that an earlier walk began.

    ``came``: won, the cause, stopped, under way or waiting. ``took``: until its end, or the walk's if it has none.
    ``zones``: what it was narrowed to. ``obtained``: zone and machine type. ``said``: the first line of the cloud's
    text, ``text`` all of it. ``then``: what the walk did because of it. ``waited``: how long nothing was tried before.
    """

    number: int
    attempt: Attempt
    label: str
    when: datetime
    since: timedelta
    came: str
    code: str
    took: timedelta
    usd: float
    obtained: str
    said: str
    text: str
    then: tuple[str, ...]
    waited: timedelta

    @property
    def zones(self) -> tuple[str, ...]:
        """What the attempt was narrowed to by a cloud's hint."""
        return self.attempt.zones

    @property
    def is_won(self) -> bool:
        """Whether it brought the results."""
        return self.attempt.outcome is Outcome.WON


@dataclass(frozen=True)
class Total:
    """One of the walk's figures. ``note``: what it rests on, or nothing."""

    name: str
    value: str
    note: str = ""

    @property
    def text(self) -> str:
        """The figure with its note."""
        return f"{self.value} ({self.note})" if self.note else self.value


def rows(walked: Walked) -> tuple[Row, ...]:
    """One row an attempt, oldest first."""
    labels = labels_of(walked)
    made: list[Row] = []
    free_since = walked.begun
    for index, attempt in enumerate(walked.attempts):
        following = walked.attempts[index + 1] if index + 1 < len(walked.attempts) else None
        failure = attempt.failure
        ended = attempt.ended or max(walked.ended, attempt.begun)
        made.append(
            Row(
                number=index + 1,
                attempt=attempt,
                label=labels[attempt.rung],
                when=attempt.begun,
                since=attempt.begun - walked.begun,
                came=_came(attempt),
                code=failure.code if failure else "",
                took=ended - attempt.begun,
                usd=attempt.usd,
                obtained=", ".join(one for one in (attempt.obtained_zone, attempt.obtained_machine_type) if one),
                said=first_line(failure.text, 300) if failure else "",
                text=failure.text if failure else "",
                then=_then(walked, attempt, following, labels),
                waited=walked.waited_between(free_since, attempt.begun),
            )
        )
        free_since = max(free_since, ended)
    return tuple(made)


def blocks_made(
    attempts: Sequence[Attempt], ladder: Iterable[Rung], earlier: Sequence[Attempt] = ()
) -> dict[str, Block]:
    """What each failure blocked at its own time, by attempt id: for ``Walked.blocks``.

    ``earlier``: the ledger's attempts before these, since a block grows when it repeats.
    """
    rungs = tuple(ladder)
    found: dict[str, Block] = {}
    for count, attempt in enumerate(attempts, start=1):
        if attempt.failure is None or attempt.ended is None or attempt.outcome is not Outcome.FAILED:
            continue
        seen = [*earlier, *attempts[:count]]
        # A failure may make a narrow block and widen another one: the widest says all.
        own = [one for one in blocks(seen, rungs, attempt.ended) if one.attempt == attempt.id]
        if own:
            widest = max(own, key=lambda one: one.until.timestamp() if one.until else math.inf)
            # A rung of several machine types has a block of each: one alone would read as if the others were free.
            same = [one.covers for one in own if one.until == widest.until]
            found[attempt.id] = replace(widest, covers=" and ".join(same[:MOST_NAMED]))
    return found


def labels_of(walked: Walked) -> dict[str, str]:
    """A short name for each rung of the ladder, and the id of one that isn't on it any more."""
    return {one.rung: one.rung for one in walked.attempts} | short_labels(walked.ladder)


def headline(walked: Walked) -> str:
    """What happened, in one sentence."""
    count = len(walked.attempts)
    tries = f"{count} attempt{'' if count == 1 else 's'}"
    if walked.end is End.NOTHING_DUE:
        return "Nothing to do: all results were there before."
    if walked.end is End.DONE:
        won = walked.winner
        if won is None:
            return f"Done: the results are there, after {tries}, {duration(walked.took)} and {dollars(walked.usd)}."
        got = ", ".join(one for one in (won.obtained_zone, won.obtained_machine_type) if one)
        place = labels_of(walked)[won.rung] + (f" ({got})" if got else "")
        took = duration(walked.until_results or walked.took)
        return f"Done: results from {place}, after {tries}, {took} and {dollars(walked.usd)}."
    if walked.end is End.NOTHING_LEFT:
        if not count:
            return "No results: nothing could be tried."
        return f"No results: nothing is left to try after {tries}: {causes(walked.attempts)}."
    last = walked.attempts[-1] if count else None
    where = f" at attempt {count} on {labels_of(walked)[last.rung]}" if last else " before the first attempt"
    if walked.end is End.STOPPED:
        return f"No results: a person stopped the walk{where}, after {duration(walked.took)}."
    failure = walked.failure
    why = f": {failure.cause or 'waiting'} ({failure.code})" if failure else ""
    return f"No results: the walk failed{where}{why}."


def to_do(walked: Walked) -> tuple[str, ...]:
    """What a person can do now, the first thing first; nothing if the results are there."""
    if walked.is_good:
        return ()
    again = "Then run `gpubench up` again: it goes on from here."
    if walked.end is End.STOPPED:
        return ("Run `gpubench up` again: it goes on from here.",)
    if walked.end is End.FAILED:
        failure = walked.failure
        if failure is None:
            return ("Read the engine's message above, mend the cause.", again)
        if failure.mend:
            return (_sentence(failure.mend), again)
        number = len(walked.attempts)
        return (f"No mend is known for it: read the whole text of attempt {number} and mend what it names.", again)
    lines = [_sentence(request) for request in walked.requests]
    if walked.retry_at is not None:
        left = walked.retry_at - walked.ended
        if left > timedelta(0):
            hours = math.ceil(left.total_seconds() / 3600)
            when = f"from {clock(walked.retry_at, walked.ended)} (in {duration(left)})"
            lines.insert(0, f"Worth trying again {when}; `gpubench up --wait {hours}h` waits for it.")
        else:
            lines.insert(0, "Worth trying again now; `gpubench up --wait 6h` goes on trying until a rung can be had.")
    elif lines:
        lines.append(again)
    else:
        lines.append(
            "Waiting alone changes nothing: `gpubench plan` says what shuts each rung. Add rungs to gpubench:ladder, "
            "or raise gpubench:budget if that is what is spent."
        )
    return tuple(lines)


def not_tried(walked: Walked) -> tuple[str, ...]:
    """Which rungs the walk passed over without trying them, and why; equal reasons together, in ladder order."""
    tried = {one.rung for one in walked.attempts}
    labels = labels_of(walked)
    found: dict[str, list[str]] = {}
    for rung in walked.ladder:
        if rung.id in walked.passed and rung.id not in tried:
            found.setdefault(walked.passed[rung.id], []).append(labels[rung.id])
    return tuple(f"{_named(names)}: {why}" for why, names in found.items())


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def for_later(walked: Walked) -> tuple[str, ...]:
    """The mends of what the walk passed over, each once, but for those that ``to_do`` has."""
    now = {_sentence(one) for one in to_do(walked)}
    mends = [_sentence(one.failure.mend) for one in walked.attempts if one.failure and one.failure.walks_on]
    mends += [_sentence(request) for request in walked.requests]
    return tuple(dict.fromkeys(mend for mend in mends if mend and mend not in now))


def totals(walked: Walked) -> tuple[Total, ...]:
    """The walk's figures."""
    kind = ("simulated",) if walked.simulated else ()
    tries = walked.attempts
    found = [Total("Attempts", str(len(tries)), causes(tries))]
    first, until = walked.first_machine, walked.until_machine
    if first is not None and until is not None:
        name = "Time to a machine" if first.tier in NO_GPU_TIERS else "Time to the GPU"
        notes = [*kind, *(["without a GPU"] if first.tier == "cpu" else [])]
        notes += [] if first.obtained else ["until the winning attempt began"]
        found.append(Total(name, duration(until), ", ".join(notes)))
    if walked.until_results is not None:
        found.append(Total("Time to results", duration(walked.until_results), ", ".join(kind)))
    else:
        found.append(Total("Time", duration(walked.took), ", ".join(kind)))
    if walked.waited:
        found.append(Total("Of it waiting", duration(walked.waited), ", ".join(kind)))
    notes = [*kind]
    if walked.budget_usd is not None:
        notes.append(f"of a budget of {dollars(walked.budget_usd)}")
    if walked.spent_before_usd:
        notes.append(f"{dollars(walked.spent_before_usd)} before this walk")
    found.append(Total("Spent", dollars(walked.usd), ", ".join(notes)))
    return tuple(found)


def causes(attempts: Iterable[Attempt]) -> str:
    """``3 capacity, 1 quota, 1 won``: the most frequent first, what was won last."""
    counts = Counter(_came(one) for one in attempts)
    ordered = sorted(counts.items(), key=lambda item: (item[0] == "won", -item[1]))
    return ", ".join(f"{count} {word}" for word, count in ordered)


def render(walked: Walked, file: TextIO, width: int | None = None) -> None:
    """Write the timeline for people. ``width``: columns; None: the terminal's."""
    from placement.timeline_text import write  # late, because it loads rich

    write(walked, file, width)


# -- figures as texts --------------------------------------------------------------------------------------------------


def duration(time: timedelta) -> str:
    """Seconds below 90 s, minutes below 90 min, then hours and minutes: ``40 s``, ``12 min``, ``2 h 05 min``."""
    seconds = max(0.0, time.total_seconds())
    if round(seconds) < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h" + (f" {minutes % 60:02d} min" if minutes % 60 else "")


def dollars(usd: float) -> str:
    """``1.25 USD``; never 0.00 for what costs something."""
    return f"{amount(usd)} USD"


def amount(usd: float) -> str:
    """Dollars without their name, to the cent."""
    return "<0.01" if 0 < usd < 0.005 else f"{usd:,.2f}"


def clock(time: datetime, now: datetime) -> str:
    """A time, with its day unless that is ``now``'s."""
    return f"{time:%H:%M} UTC" if time.date() == now.date() else f"{time:%Y-%m-%d %H:%M} UTC"


# -- what a row says ---------------------------------------------------------------------------------------------------


def _came(attempt: Attempt) -> str:
    if attempt.outcome is None:
        return "under way"
    if attempt.outcome is not Outcome.FAILED:
        return attempt.outcome.value
    # A text that tells of no failure: a request that waited in the cloud's queue until its time was up.
    return attempt.cause.value if attempt.cause else "waiting"


def _then(walked: Walked, attempt: Attempt, following: Attempt | None, labels: Mapping[str, str]) -> tuple[str, ...]:
    """What the walk did because of an attempt's end; empty for one that was won."""
    failure = attempt.failure
    if attempt.outcome is Outcome.WON or failure is None:
        return ()
    said: list[str] = []
    block = walked.blocks.get(attempt.id)
    if block is not None:
        said.append(_blocked(block))
    if following is None:
        said.append(_last(walked, failure))
        return tuple(said)
    label = labels[following.rung]
    if followed := set(following.zones) & set(failure.hint):
        said.append(f"hint followed: {', '.join(sorted(followed))}; next: {label}")
        return tuple(said)
    if failure.hint:
        said.append(f"hint not followed yet: {', '.join(failure.hint)}")
    again = "the same rung again" if attempt.rung == following.rung else label
    said.append(f"next: {again}")
    return tuple(said)


def _last(walked: Walked, failure: Failure) -> str:
    """What the walk did after its last attempt."""
    if walked.end is End.DONE:
        return "all results are there nevertheless"
    if walked.end is End.STOPPED:
        return "stopped by a person"
    if walked.end is End.NOTHING_LEFT:
        return "nothing left to try"
    if failure.cause is Cause.UNKNOWN:
        return "stopped: nobody knows what another rung would do; see What to do"
    return "stopped: no other rung mends it; see What to do"


def _blocked(block: Block) -> str:
    times = f", {block.times} times in a row" if block.times > 1 else ""
    if block.until is None:
        return f"blocked {block.covers} for good{times}"
    return f"blocked {block.covers} for {duration(block.until - block.since)}{times}"


def _sentence(text: str) -> str:
    # No full stop is added: the text may end in a command, and that is copied with it.
    text = text.strip()
    return text[:1].upper() + text[1:]
