"""report.md: the same report for a repository or a pull request, with the pictures beside it."""

from __future__ import annotations

import html
import re

from benchmark_job.report.chart import clean
from benchmark_job.report.content import Report, RunSummary, Table, head_figures, runs_tables

ROWS = 100  # of one table; the page has more
# What Markdown as GitHub reads it could take for markup inside a line (a mention, a formula and a bare address too).
# Marks that count only at the start of a line are left: no text of ours stands there.
_MARKUP = re.compile(r"([\\`*_{}\[\]|~$@]|:(?=//))")


def escape(text: str) -> str:
    """One line of text that Markdown shows as it stands."""
    line = " ".join(clean(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", line)


def attribute(text: str) -> str:
    """Text for a quoted HTML attribute; Markdown's own marks as references too, so that neither language sees one."""
    line = html.escape(" ".join(clean(text).split()))
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", line)


def table_lines(table: Table) -> list[str]:
    rows = table.rows[:ROWS]
    lines = [
        "| " + " | ".join(escape(column.name) for column in table.columns) + " |",
        "|" + "|".join("---:" if column.numeric else "---" for column in table.columns) + "|",
        *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows),
    ]
    if len(rows) < len(table.rows):
        lines += ["", f"{len(table.rows) - len(rows):,} further rows in report.html."]
    if table.note:
        lines += ["", escape(table.note)]
    return lines


def _run(summary: RunSummary, *, single: bool) -> list[str]:
    lines = [] if single else [f"### {escape(summary.label)}", ""]
    lines += [f"> {escape(warning)}\n" for warning in summary.warnings]
    lines += [f"> LoadGen INVALID: {escape(reason)}\n" for reason in summary.verdict_lines]
    for facts in summary.facts:
        lines += [f"**{escape(facts.title)}**", ""]
        lines += [f"- {escape(name)}: {escape(value)}" for name, value in facts.lines]
        lines.append("")
    if summary.commands:
        # Indented code, because no fence can be closed from inside it.
        lines += [
            "**To measure this again**",
            "",
            *(f"    {clean(' '.join(one.split()))}" for one in summary.commands),
            "",
        ]
    return lines


def markdown(report: Report) -> str:
    lines = ["# gpubench report", ""]
    if len(report.runs) == 1:
        summary = report.runs[0]
        cost = f", cost {summary.cost_text}" if summary.run.cost_usd is not None else ""
        lines += [f"Tier: {escape(summary.tier_text)}. LoadGen: {escape(summary.verdict)}{escape(cost)}.", ""]
        for one in head_figures(summary):
            lines.append(f"- {escape(one.label)}: **{escape(one.text)}** ({escape(one.context)})")
        lines.append("")
    else:
        for table in runs_tables(report.runs):
            lines += [*table_lines(table), ""]
    lines += [f"> {escape(warning)}\n" for warning in report.warnings]
    for title, charts, note in report.charts:
        lines += [f"## {escape(title)}", ""]
        # HTML, because Markdown's own form has no width, and three pictures of 480 are read side by side.
        for chart in charts:
            lines.append(f'<img src="plots/{chart.slug}.svg" alt="{attribute(chart.alt)}" width="480">')
        lines.append("")
        if note:
            lines += [escape(note), ""]
    for table in report.tables:
        lines += [f"## {escape(table.title)}", "", *table_lines(table), ""]
    lines += ["## What was measured on what", ""]
    for summary in report.runs:
        lines += _run(summary, single=len(report.runs) == 1)
    return "\n".join(lines).rstrip() + "\n"
