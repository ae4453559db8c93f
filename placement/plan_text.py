"""The plan for people: a table of the rungs, and under it what to do next and why nothing else is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TextIO

from placement import printing
from placement.ledger import Attempt
from placement.plan import Plan, Row
from placement.printing import clean
from placement.verdicts import Said
from placement.walk import first_line

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST = 76  # the table's figures need as much; a narrower terminal folds the lines itself
WIDE = 110  # from here on a rung's name fits in one line
MOST_ROWS = 60  # of a long ladder; --json has all
_COLOURS = {"yes": "green", "no": "red", "unknown": "yellow", "next": "bold green"}


def write(plan: Plan, file: TextIO, width: int | None) -> None:
    """See ``placement.plan.render``."""
    with printing.console(file, width, NARROWEST) as console:
        _head(plan, console)
        _table(plan, console)
        _last(plan, console)
        _next(plan, console)
        _list(console, "Not next", [(f"{_numbers(rows)}:", why) for why, rows in _reasons(plan)])
        known = [(f"{', '.join(names)} ({_numbers(numbers)}):", why) for why, names, numbers in plan.unknowns]
        _list(console, "Not known", known)
        _to_do(plan, console)


def _head(plan: Plan, console: Console) -> None:
    due = "" if plan.due is None else f", {plan.due} run{'' if plan.due == 1 else 's'} due"
    lines = [f"Stack {plan.stack}, {plan.made:%Y-%m-%d %H:%M} UTC{due}"]
    if plan.pinned:
        lines.append(f"Pinned to {plan.pinned} (gpubench:rung): no other rung is tried.")
    else:
        wish = "" if plan.comparability == "any" else f", {plan.comparability}"
        lines.append(f"Order: {plan.order}{wish} (gpubench:placement)")
    tries = f"{plan.attempts} attempt{'' if plan.attempts == 1 else 's'}"
    spent = f"{_usd(plan.spent_usd)} of {_usd(plan.budget_usd)} USD, {_time(plan.spent_hours)} of "
    left = f"{_usd(plan.left_usd)} USD, {_time(plan.left_hours)}"
    lines.append(f"Spent: {spent}{_time(plan.budget_hours)} ({tries}); left: {left}")
    if plan.is_from_the_catalogue_alone:
        lines.append("From the catalogue alone: no cloud has said anything about quota, permission or capacity.")
    _say(console, lines)


def _table(plan: Plan, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    wide = console.width >= WIDE
    # This machine is there: its odds alone are no news.
    with_odds = any(row.odds is not None and not row.is_free for row in plan.rows)
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1 if wide else 0, 0, 0), show_edge=False)
    # Figures and single words are never cut in two; the rung's name gives way.
    grid.add_column(Text("#"), justify="right", no_wrap=True)
    grid.add_column(Text("rung"), overflow="fold", min_width=None if wide else 16)
    for name in ("offered", "quota", "permitted"):
        grid.add_column(Text(name), no_wrap=True)
    grid.add_column(Text("blocked"), overflow="fold")
    grid.add_column(Text("USD/h"), justify="right", no_wrap=True)
    grid.add_column(Text("USD a run" if plan.runs == 1 else f"USD, {plan.runs} runs"), justify="right", no_wrap=True)
    if with_odds:
        grid.add_column(Text("odds"), justify="right", no_wrap=True)
    shown = [row for row in plan.rows if row.number <= MOST_ROWS or row.is_next]
    for row in shown:
        said = [str(finding.said) for _, finding in row.findings]
        number = str(row.number)
        if row.is_next:
            number = f"next {number}" if wide else f"next\n{number}"
        cells = [
            Text(number, style=_COLOURS["next"] if row.is_next else ""),
            Text(row.label, style="bold" if row.is_next else ""),
            *(Text("?" if word == "unknown" else word, style=_COLOURS[word]) for word in said),
            Text(_blocked(row, plan.made, wide), style="yellow" if row.block else "dim"),
            Text(_price(row)),
            Text(_cost(row)),
        ]
        if with_odds:
            cells.append(Text("" if row.odds is None else f"{row.odds:.0%}"))
        grid.add_row(*cells)
    console.print()
    console.print(grid)
    console.print()
    hidden = len(plan.rows) - len(shown)
    notes = [f"{hidden:,} further rungs: --json has all."] if hidden > 0 else []
    _say(console, [*notes, *_notes(plan)], style="dim")


def _notes(plan: Plan) -> list[str]:
    """What the table's money rests on."""
    notes: list[str] = []
    if any(finding.said is Said.UNKNOWN for row in plan.rows for _, finding in row.findings):
        notes.append("?: not known; the reasons stand under Not known.")
    priced = [row for row in plan.rows if not row.is_free]
    sources: dict[str, list[int]] = {}
    for row in priced:
        if row.usd_per_hour is not None:
            doubt = "" if row.price is None or row.price.verified else ", unverified"
            name = f" ({row.price.source.name}{doubt})" if row.price else ""
            sources.setdefault(f"{row.price_from}{name}", []).append(row.number)
    if priced:
        found = {f"expected {_time(row.hours.expected)} ({row.hours.source})": row.hours for row in priced}
        lengths = [f"{text}, at most {_time(hours.worst)}" for text, hours in list(found.items())[:3]]
        what = "A run" if plan.runs == 1 else f"{plan.runs} runs"
        notes.append(f"{what}: {'; '.join(lengths)}{'; …' if len(found) > 3 else ''}.")
    for source, numbers in sources.items():
        notes.append(f"Price of {_numbers(numbers)}: {source}.")
    if any(row.price is not None and row.price.lower_bound for row in priced):
        notes.append("≥: only a part of the machine is priced there; the true price is higher.")
    if any((row.worst_usd or 0) > plan.left_usd for row in priced):
        notes.append(f"An attempt is ended where the budget ends, after {_usd(plan.left_usd)} USD.")
    return notes


def _last(plan: Plan, console: Console) -> None:
    """The ledger's newest attempts, and what each failed with."""
    if not plan.last:
        return
    labels = {row.rung: row.label for row in plan.rows}
    console.print()
    _say(console, ["Last attempts"], style="bold")
    for one in plan.last:
        _say(console, [f"{one.begun:%Y-%m-%d %H:%M}  {labels.get(one.rung, one.rung)}: {_came(one)}"], indent=2)
        if one.failure is not None:
            _say(console, [first_line(one.failure.text, 2 * (console.width - 6))], indent=6, style="dim")


def _came(attempt: Attempt) -> str:
    if attempt.outcome is None:
        return "under way"
    # A text that tells of no failure: a request that waited in the cloud's queue until its time was up.
    why = f" ({attempt.cause or 'waiting'}, {attempt.failure.code})" if attempt.failure else ""
    return f"{attempt.outcome}{why}, {_time(attempt.seconds / 3600)}, {_usd(attempt.usd)} USD"


def _next(plan: Plan, console: Console) -> None:
    from rich.text import Text

    console.print()
    row = plan.next
    if (open_ := plan.under_way) is not None:
        console.print(Text(f"Under way: {open_.rung}", style=_COLOURS["next"]), soft_wrap=True)
        since = f"Attempt {open_.id}, since {_clock(open_.begun, plan.made)}."
        _say(console, [since, "`gpubench up` goes on with it if it still lives, `gpubench stop` ends it."], indent=2)
        if row is not None and row.rung == open_.rung:
            return
    if row is not None:
        console.print(Text(f"Next: {row.rung}", style=_COLOURS["next"]), soft_wrap=True)
        lines = [row.why] if row.why else []
        if plan.zones:
            lines.append(f"Narrowed to {', '.join(plan.zones)}, which the cloud named as having capacity.")
        if row.odds is not None and row.odds_zones:
            lines.append(f"The cloud thinks best of {', '.join(row.odds_zones)}.")
        _say(console, lines, indent=2)
        return
    if plan.due == 0:
        _say(console, ["Next: nothing. All results are there."])
        return
    if plan.refused is not None:
        said = f"Next: nothing, until {plan.refused.rung_id} is permitted"
        console.print(Text(said, style="bold red"), soft_wrap=True)
        _say(console, [plan.refused.why, "No other rung is taken in its place: the mend stands below."], indent=2)
        return
    _say(console, ["Next: nothing can be tried now."], style="bold yellow")
    if plan.retry_at is not None:
        text = f"Worth trying again from {_clock(plan.retry_at, plan.made)} (in {_span(plan.retry_at - plan.made)})"
        _say(console, [f"{text}; `gpubench up --wait` waits for it."], indent=2)
    else:
        _say(console, ["Waiting alone changes nothing: mend what stands below."], indent=2)


def _reasons(plan: Plan) -> list[tuple[str, list[int]]]:
    """Why each rung isn't next, equal reasons together, in ladder order."""
    found: dict[str, list[int]] = {}
    for row in plan.rows:
        if not row.is_next:
            found.setdefault(row.why or row.state, []).append(row.number)
    return list(found.items())


def _to_do(plan: Plan, console: Console) -> None:
    from rich.text import Text

    if not plan.requests:
        return
    console.print()
    console.print(Text("To do", style="bold"))
    for request in plan.requests:
        # Not folded here: a command that is folded can't be copied.
        console.print(Text(f"  - {clean(request)}"), soft_wrap=True)


def _list(console: Console, title: str, items: Sequence[tuple[str, str]]) -> None:
    """Items under a title, each folded beside its first column."""
    from rich.table import Table
    from rich.text import Text

    if not items:
        return
    console.print()
    console.print(Text(title, style="bold"))
    # Narrow heads stand in a column of their own; where one is long, all stand before their texts.
    beside = max(len(head) for head, _ in items) <= 12
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=1)
    if beside:
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for head, text in items:
        cells = [Text(head, style="dim"), Text(clean(text))] if beside else [Text(f"{head} {clean(text)}")]
        grid.add_row(Text(""), *cells)
    console.print(grid)


def _say(console: Console, lines: Iterable[str], *, indent: int = 0, style: str = "") -> None:
    from rich.padding import Padding
    from rich.text import Text

    for line in lines:
        console.print(Padding(Text(clean(line), style=style, overflow="fold"), (0, 0, 0, indent)))


def _price(row: Row) -> str:
    if row.is_free:
        return "free"
    if row.usd_per_hour is None:
        return "?"
    return ("≥ " if row.price is not None and row.price.lower_bound else "") + _usd(row.usd_per_hour)


def _cost(row: Row) -> str:
    if row.is_free:
        return "free"
    if row.expected_usd is None or row.worst_usd is None:
        return "?"
    low, high = _usd(row.expected_usd), _usd(row.worst_usd)
    return low if low == high else f"{low}–{high}"


def _blocked(row: Row, now: datetime, wide: bool) -> str:
    """``until 02:12 (capacity)``, one word a line where there is little room."""
    block = row.block
    if block is None:
        return "–"
    words = ["for good"]
    if block.until is not None:
        words = ["until", f"{block.until:%H:%M}"]
        if block.until.date() != now.date():
            words.append(f"{block.until:%d %b}")
    return f"{' '.join(words)} ({block.cause})" if wide else "\n".join(words)


def _usd(usd: float) -> str:
    """Dollars: cents below 100, and never 0.00 for what costs something."""
    if 0 < usd < 0.005:
        return "<0.01"
    return f"{usd:.2f}" if usd < 100 else f"{usd:,.0f}"


def _time(hours: float) -> str:
    """A duration: minutes below two hours."""
    if 0 < hours < 1 / 60:
        return "<1 min"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h".replace(".0 h", " h")


def _span(time: timedelta) -> str:
    return _time(max(time.total_seconds(), 0.0) / 3600)


def _clock(time: datetime, now: datetime) -> str:
    """A time, with its day unless that is today."""
    return f"{time:%H:%M} UTC" if time.date() == now.date() else f"{time:%Y-%m-%d %H:%M} UTC"


def _numbers(numbers: Sequence[int]) -> str:
    """``1-3, 5``."""
    parts: list[str] = []
    for number in numbers:
        first, _, last = parts[-1].partition("-") if parts else ("", "", "")
        if parts and int(last or first) == number - 1:
            parts[-1] = f"{first}-{number}"
        else:
            parts.append(str(number))
    return ", ".join(parts)
