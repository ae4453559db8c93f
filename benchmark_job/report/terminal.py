"""The report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from benchmark_job.report import TierOf
from benchmark_job.report.chart import clean
from benchmark_job.report.content import Report, RunSummary, Table, build, head_figures, runs_tables, seconds
from benchmark_job.results import RunResults
from placement.printing import console

NARROWEST = 40
REASONS = 2  # of LoadGen's for INVALID
OTHER_ROWS = 20  # of one table of another container's records
_COLOURS = {"VALID": "green", "INVALID": "yellow", "mixed": "yellow", "complete": "green", "failed": "red"}


def render(runs: Sequence[RunResults], file: TextIO, tier_of: TierOf, width: int | None) -> None:
    with console(file, width, NARROWEST) as out:
        _print(build(runs, tier_of), out)


def _print(report: Report, console: object) -> None:
    from rich.console import Console
    from rich.text import Text

    assert isinstance(console, Console)
    if len(report.runs) == 1:
        _head(report.runs[0], console)
    else:
        for table in runs_tables(report.runs):
            _table(table.narrow(console.width), console)
        for summary in report.runs:
            for line in summary.warnings:
                console.print(Text(f"{summary.label}: {line}"))
    for warning in report.warnings:
        console.print(Text(warning, style="yellow"))
    for table in report.tables:
        console.print()
        _table(table.narrow(console.width), console)
    # Last, since it is read least: the figures come first, and all reasons are in the report.
    for summary in report.runs:
        lead = f"{summary.label}: " if len(report.runs) > 1 else ""
        for line in _verdicts(summary):
            console.print(Text(lead + line, style="yellow"))
        for note in summary.run.workload.notes:
            console.print(Text(f"{lead}Note: {clean(note)}", style="dim"))


def _verdicts(summary: RunSummary) -> list[str]:
    """LoadGen's most frequent reasons for INVALID."""
    lines = [f"LoadGen INVALID: {line}" for line in summary.verdict_lines]
    more = len(lines) - REASONS
    return lines[:REASONS] + ([f"LoadGen INVALID: {more} more reasons, in report.html"] if more > 0 else [])


def _head(summary: RunSummary, console: object) -> None:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    assert isinstance(console, Console)
    run = summary.run
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    duration = f", {seconds(run.duration_s)}" if run.duration_s is not None else ""
    for name, value, style in (
        ("Run", f"{run.run_id} ({run.status}{duration})", _COLOURS.get(run.status, "")),
        ("Rung", run.stamps.rung or "–", ""),
        ("Tier", summary.tier_text, ""),
        ("LoadGen", summary.verdict, _COLOURS.get(summary.verdict, "")),
        ("Cost", summary.cost_text, ""),
        *((one.label, f"{one.text} ({one.context})", "bold") for one in head_figures(summary)),
    ):
        grid.add_row(Text(name, style="dim"), Text(clean(value), style=style))
    console.print(grid)
    for line in summary.warnings:
        console.print(Text(line, style="yellow"))


def _table(table: Table, console: object) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    assert isinstance(console, Console)
    grid = Grid(
        title=Text(table.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    columns = table.columns
    for column in columns:
        # Figures are never cut in two; names give way.
        grid.add_column(
            Text(column.name), justify="right" if column.numeric else "left", no_wrap=column.numeric, overflow="fold"
        )
    known = table.title.startswith(("ResNet-50", "Kernels", "Runs", "Key figures"))
    rows = table.rows if known else table.rows[:OTHER_ROWS]
    for row in rows:
        grid.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    console.print(grid)
    if len(rows) < len(table.rows):
        console.print(Text(f"  {len(table.rows) - len(rows):,} further records in report.html", style="dim"))
    if table.note:
        console.print(Text(f"  {table.note}", style="dim"))
