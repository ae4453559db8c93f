"""A walk's report: report.md, and a self-contained report.html, with the picture, every attempt and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmark_job.report.chart import clean, svg
from benchmark_job.report.content import Column, Facts, Table
from benchmark_job.report.markdown import attribute, escape, table_lines
from benchmark_job.report.page import (
    add,
    add_facts,
    add_plots,
    add_table,
    add_tile,
    add_warnings,
    document,
    text_of,
)
from benchmark_job.report.timeline_picture import picture
from benchmark_job.report.write import put
from placement import timeline
from placement.plan import Plan
from placement.timeline import Row, Walked, duration, for_later, headline, not_tried, to_do, totals


def write(folder: Path, walked: Walked, plan: Plan | None = None) -> list[Path]:
    """Write report.md, report.html and plots/walk.svg into ``folder``, a folder of this walk's own; their paths.

    ``plan``: the ladder as it stood when the walk began. Raises OSError if it can't write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    drawn = folder / "plots" / "walk.svg"
    if (chart := picture(walked)) is not None:
        drawn.parent.mkdir(exist_ok=True)
        written.append(put(drawn, svg(chart)))
    else:
        drawn.unlink(missing_ok=True)
    return [
        put(folder / "report.md", markdown(walked, plan)),
        put(folder / "report.html", page(walked, plan)),
        *written,
    ]


def page(walked: Walked, plan: Plan | None = None) -> str:
    """report.html."""
    html, main = document(f"gpubench: {_title(walked)}")
    header = add(main, "header")
    if walked.simulated:
        add_warnings(header, [timeline.REHEARSAL])
    add(header, "h1", headline(walked), "good" if walked.is_good else "bad")
    add(header, "p", _when(walked), "muted")
    tiles = add(main, "div", css="tiles")
    for one in totals(walked):
        add_tile(tiles, one.name, one.value, "", one.note)
    for title, lines in _lists(walked):
        section = add(main, "section")
        add(section, "h2", title)
        box = add(section, "ol", css="card")
        box.set("style", "padding-left:36px;overflow-wrap:anywhere")
        for line in lines:
            add(box, "li", line)
    rows = timeline.rows(walked)
    if (chart := picture(walked)) is not None:
        section = add(main, "section")
        add(section, "h2", "What was tried when")
        add_plots(section, [chart], wide=True)
        section = add(main, "section")
        add(section, "h2", "Attempts")
        add_table(add(section, "div", css="card"), _attempts(rows))
    if texts := _texts(rows):
        section = add(main, "section")
        add(section, "h2", "What the clouds said")
        for text in texts:
            details = add(section, "details", css="card more")
            add(details, "summary", text.head)
            for line in text.lines:
                add(details, "p", line)
            add(details, "pre", text.text)
    if plan is not None:
        section = add(main, "section")
        add(section, "h2", "The ladder when the walk began")
        add_table(add(section, "div", css="card"), _ladder(plan))
    if walked.facts:
        section = add(main, "section")
        section.set("style", "margin-top:36px")
        add_facts(add(section, "div", css="facts"), Facts("About this walk", tuple(walked.facts.items())))
    return text_of(html)


def markdown(walked: Walked, plan: Plan | None = None) -> str:
    """report.md."""
    lines = [f"# gpubench: {escape(_title(walked))}", ""]
    if walked.simulated:
        lines += [f"> **{escape(timeline.REHEARSAL)}**", ""]
    lines += [f"**{escape(headline(walked))}**", "", escape(_when(walked)), ""]
    lines += [*(f"- {escape(one.name)}: {escape(one.text)}" for one in totals(walked)), ""]
    for title, found in _lists(walked):
        lines += [f"## {title}", "", *(f"{number}. {escape(line)}" for number, line in enumerate(found, 1)), ""]
    rows = timeline.rows(walked)
    if (chart := picture(walked)) is not None:
        image = f'<img src="plots/{chart.slug}.svg" alt="{attribute(chart.alt)}" width="480">'
        lines += ["## What was tried when", "", image, ""]
        lines += ["## Attempts", "", *table_lines(_attempts(rows)), ""]
    if texts := _texts(rows):
        lines += ["## What the clouds said", ""]
    for text in texts:
        lines += ["<details>", f"<summary>{escape(text.head)}</summary>", ""]
        lines += [f"{escape(line)}\n" for line in text.lines]
        # Indented code, because no fence can be closed from inside it.
        lines += [*(f"    {clean(line)}" for line in text.text.splitlines()), "", "</details>", ""]
    if plan is not None:
        lines += ["## The ladder when the walk began", "", *table_lines(_ladder(plan)), ""]
    if walked.facts:
        lines += ["## About this walk", ""]
        lines += [f"- {escape(name)}: {escape(value)}" for name, value in walked.facts.items()]
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True)
class _Text:
    """One failure's whole text, with the attempts that ended with it."""

    head: str
    lines: tuple[str, ...]
    text: str


def _lists(walked: Walked) -> list[tuple[str, tuple[str, ...]]]:
    found = [("What to do", to_do(walked)), ("For later", for_later(walked)), ("Not tried", not_tried(walked))]
    return [(title, lines) for title, lines in found if lines]


def _title(walked: Walked) -> str:
    return f"{'rehearsed ' if walked.simulated else ''}walk of stack {walked.stack}"


def _when(walked: Walked) -> str:
    begun, ended = f"{walked.begun:%Y-%m-%d %H:%M}", f"{walked.ended:%Y-%m-%d %H:%M}"
    return f"Stack {walked.stack}, {begun} to {ended} UTC ({duration(walked.took)})"


def _attempts(rows: Sequence[Row]) -> Table:
    columns = (
        Column("#", True), Column("UTC"), Column("min", True), Column("Rung"), Column("What came"),
        Column("Took", True), Column("USD", True), Column("Obtained"), Column("What the walk did"),
    )  # fmt: skip
    one_day = len({row.when.date() for row in rows}) == 1
    form = "%H:%M:%S" if one_day else "%d %b %H:%M:%S"
    made = tuple(
        (
            str(row.number),
            f"{row.when:{form}}",
            f"{row.since.total_seconds() / 60:.1f}",
            row.label + (f" (only {', '.join(row.zones)})" if row.zones else ""),
            f"{row.came} ({row.code})" if row.code else row.came,
            duration(row.took),
            timeline.amount(row.usd),
            row.obtained or "–",
            "; ".join([*([f"waited {duration(row.waited)} before"] if row.waited else []), *row.then]) or "–",
        )
        for row in rows
    )
    return Table("Attempts", columns, made, "min: minutes since the walk began.")


def _texts(rows: Sequence[Row]) -> list[_Text]:
    """Each text once, in the order in which they came up first: a stock-out is often said in the same words."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.text:
            found.setdefault((row.came, row.code, row.text), []).append(row)
    made: list[_Text] = []
    for (came, code, text), same in found.items():
        numbers = ", ".join(str(row.number) for row in same)
        failure = same[0].attempt.failure
        assert failure is not None
        lines = [f"Mend: {failure.mend}"] if failure.mend else []
        lines += [f"Also in it: {one.cause or 'waiting'} ({one.code})" for one in failure.others]
        if failure.source:
            lines.append(f"Known from: {failure.source}")
        made.append(_Text(f"Attempt{'' if len(same) == 1 else 's'} {numbers}: {came} ({code})", tuple(lines), text))
    return made


def _ladder(plan: Plan) -> Table:
    columns = (
        Column("#", True), Column("Rung"), Column("Offered"), Column("Quota"), Column("Permitted"), Column("Blocked"),
        Column("USD/h", True), Column("State"), Column("Why"),
    )  # fmt: skip
    made = tuple(
        (
            str(row.number),
            row.label,
            *(str(finding.said) for _, finding in row.findings),
            "–" if row.block is None else f"{row.block.cause}, {_until(row.block.until)}",
            "free" if row.is_free else "?" if row.usd_per_hour is None else timeline.amount(row.usd_per_hour),
            row.state,
            row.why,
        )
        for row in plan.rows
    )
    return Table("The ladder", columns, made, f"As it stood at {plan.made:%Y-%m-%d %H:%M} UTC.")


def _until(time: datetime | None) -> str:
    return f"until {time:%Y-%m-%d %H:%M} UTC" if time is not None else "for good"
