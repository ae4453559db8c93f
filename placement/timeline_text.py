"""The timeline for people at a terminal: what happened in one line, the attempts, the figures, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

from placement import timeline
from placement.causes.model import Cause
from placement.printing import clean, console
from placement.timeline import Row, Walked
from placement.walk import End, first_line

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST = 76  # the figures need as much; a narrower terminal folds the lines itself
MOST_ROWS, FIRST_ROWS, LAST_ROWS = 40, 10, 20
"""Of more attempts than the first, as many at the begin and at the end are shown: these say how it came to this."""
_INDENT = 5
_COLOURS = {
    "won": "bold green", "capacity": "yellow", "quota": "yellow", "not-offered": "yellow", "interrupted": "yellow",
    "waiting": "yellow", "transient": "yellow", "under way": "", "stopped": "",
}  # fmt: skip
_STOPS = "bold red"  # a cause that ends the walk


def write(walked: Walked, file: TextIO, width: int | None) -> None:
    """See ``placement.timeline.render``."""
    with console(file, width, NARROWEST) as out:
        _head(walked, out)
        rows = timeline.rows(walked)
        if rows:
            _rows(walked, rows, out)
        _list(out, "Not tried", timeline.not_tried(walked))
        _totals(walked, out)
        _list(out, "What to do", timeline.to_do(walked))
        _list(out, "For later", timeline.for_later(walked))


def _head(walked: Walked, out: Console) -> None:
    if walked.simulated:
        _say(out, f"{timeline.REHEARSAL} Times and dollars are simulated.", style="bold")
    end = f"{walked.ended:%H:%M}" if walked.ended.date() == walked.begun.date() else f"{walked.ended:%Y-%m-%d %H:%M}"
    took = timeline.duration(walked.took)
    _say(out, f"Stack {walked.stack}, {walked.begun:%Y-%m-%d %H:%M} to {end} UTC ({took})")
    for name, value in walked.facts.items():
        _say(out, f"{name}: {value}", style="dim")
    _say(out, timeline.headline(walked), style="bold green" if walked.is_good else "bold red")


def _rows(walked: Walked, rows: Sequence[Row], out: Console) -> None:
    # Number, clock, minutes, how long and USD, each with two spaces behind it, leave the rest to rung and outcome.
    left = out.width - (3 + 5 + 6 + 10 + 7 + 6 * 2)
    longest = max(len(row.label) for row in rows)
    codes = max(len(_outcome(row, with_code=True)) for row in rows)
    with_codes = longest + codes <= left
    room = max(11, codes if with_codes else 0)
    widths = (3, 5, 6, max(16, min(longest, left - room)), room, 10, 7)
    out.print()
    _line(out, ("#", "UTC", "+min", "rung", "what came", "took", "USD"), widths, style="bold")
    hidden = rows[FIRST_ROWS:-LAST_ROWS] if len(rows) > MOST_ROWS else ()
    day = walked.begun.date()
    for row in rows:
        if hidden and row.number == hidden[0].number:
            _summed_up(out, hidden)
        if hidden and hidden[0].number <= row.number <= hidden[-1].number:
            continue
        if row.waited:
            _say(out, f"… {_waited(row.waited)}", indent=_INDENT, style="cyan")
        if row.when.date() != day:
            day = row.when.date()
            _say(out, f"{day:%Y-%m-%d}", indent=_INDENT, style="dim")
        cells = (
            str(row.number), f"{row.when:%H:%M}", _since(row.since), row.label, _outcome(row, with_code=with_codes),
            timeline.duration(row.took), timeline.amount(row.usd),
        )  # fmt: skip
        _line(out, cells, widths, outcome_style=_COLOURS.get(row.came, _STOPS))
        whole = walked.end is End.FAILED and row is rows[-1]
        _details(out, row, with_code=not with_codes, whole=whole)
    last = walked.waited_between(rows[-1].when + rows[-1].took, walked.ended)
    if last:
        _say(out, f"… {_waited(last)}", indent=_INDENT, style="cyan")


def _details(out: Console, row: Row, *, with_code: bool, whole: bool) -> None:
    """``whole``: the failure that ended the walk. Of the others two lines say enough; the report has the rest."""
    if row.zones:
        _say(out, f"only in {', '.join(row.zones)}, which the cloud had named", indent=_INDENT, style="dim")
    if row.obtained:
        _say(out, f"got {row.obtained}", indent=_INDENT, style="green" if row.is_won else "dim")
    said = row.said if whole else first_line(row.text, 2 * (out.width - _INDENT))
    if whole and row.came == Cause.UNKNOWN:
        said = row.text.strip()
    code = row.code if with_code and not said.startswith(row.code) else ""
    if said := ": ".join(one for one in (code, said) if one):
        _say(out, said, indent=_INDENT, style="dim")
    if row.then:
        _say(out, "→ " + "; ".join(row.then), indent=_INDENT)


def _summed_up(out: Console, hidden: Sequence[Row]) -> None:
    first, last = hidden[0], hidden[-1]
    span = f"{first.when:%H:%M}–{last.when + last.took:%H:%M}"
    spent = timeline.dollars(sum(row.usd for row in hidden))
    words = timeline.causes(row.attempt for row in hidden)
    waited = sum((row.waited for row in hidden), timedelta(0))
    also = f"; {_waited(waited)}" if waited else ""
    text = f"… attempts {first.number}–{last.number}, {span}: {words}; {spent}{also}. The report has all of them."
    _say(out, text, indent=_INDENT, style="cyan")


def _totals(walked: Walked, out: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for one in timeline.totals(walked):
        grid.add_row(Text(one.name, style="dim"), Text(one.text))
    out.print()
    out.print(grid)


def _list(out: Console, title: str, lines: Sequence[str]) -> None:
    from rich.text import Text

    if not lines:
        return
    out.print()
    out.print(Text(title, style="bold"))
    for line in lines:
        # Not folded here: a command that is folded can't be copied.
        out.print(Text(f"  - {clean(line)}"), soft_wrap=True)


def _line(
    out: Console, cells: Sequence[str], widths: Sequence[int], *, style: str = "", outcome_style: str = ""
) -> None:
    """One line of the table: its columns keep their widths from one attempt to the next, texts between them don't."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    for index, width in enumerate(widths):
        right = index in (0, 2, 5, 6)
        grid.add_column(width=width, justify="right" if right else "left", no_wrap=right, overflow="fold")
    styles = ("", "", "dim", "", outcome_style, "", "")
    grid.add_row(*(Text(clean(cell), style=style or one) for cell, one in zip(cells, styles, strict=True)))
    out.print(grid)


def _say(out: Console, line: str, *, indent: int = 0, style: str = "") -> None:
    from rich.padding import Padding
    from rich.text import Text

    out.print(Padding(Text(clean(line), style=style, overflow="fold"), (0, 0, 0, indent)))


def _outcome(row: Row, *, with_code: bool) -> str:
    return f"{row.came} {row.code}".rstrip() if with_code else row.came


def _since(time: timedelta) -> str:
    minutes = time.total_seconds() / 60
    if minutes < 0:
        return f"−{-minutes:.0f}"
    return f"+{minutes:.1f}" if 0 < minutes < 9.95 else f"+{minutes:.0f}"


def _waited(time: timedelta) -> str:
    return f"waited {timeline.duration(time)} (nothing was tried)"
