"""report.html: one file, no scripts, nothing fetched. Built as a tree and never from pieces of text, so that whatever a
GPU, a container or a person called something comes out as text."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from benchmark_job.report.chart import Chart, clean, draw, style_sheet
from benchmark_job.report.content import Column, Facts, Report, RunSummary, Table, head_figures, money, runs_tables

_STYLE = """
:root{color-scheme:light dark;--page:#f4f5f7;--card:#fff;--border:#d5d9de;--ink:#1c2024;--muted:#5a626b;
--good:#00704f;--bad:#a8480a;--code:#eceef1}
@media (prefers-color-scheme:dark){:root{--page:#0e1115;--card:#15191e;--border:#343b44;--ink:#eef1f4;--muted:#a7b0ba;
--good:#35c79a;--bad:#ff9248;--code:#22282f}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1520px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 12px}h3{font-size:15px;margin:0 0 8px}
p{margin:0 0 10px}.muted{color:var(--muted)}
.card{background:var(--card);border:1px solid var(--border);border-radius:8px;padding:14px 16px;min-width:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,165px),1fr));gap:12px;margin:18px 0}
.tile b{display:block;font-size:24px;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}
.tile b span{font-size:14px;font-weight:400}.tile small{display:block;color:var(--muted);overflow-wrap:anywhere}
.good{color:var(--good)}.bad{color:var(--bad)}
.warnings{border-left:4px solid var(--bad);margin:12px 0;padding:10px 16px;overflow-wrap:anywhere}
.warnings p:last-child{margin:0}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:16px;align-items:start}
figure{margin:0;min-width:0}figure svg{display:block;width:100%;max-width:560px;height:auto}
.plots.wide{grid-template-columns:minmax(0,1fr)}.plots.wide svg{max-width:820px}
details{margin-top:6px;max-width:560px}summary{cursor:pointer;color:var(--muted);font-size:13px}
.scroll{overflow-x:auto;max-width:100%}
.more{max-width:none}details .scroll{max-height:420px;overflow-y:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
caption{text-align:left;color:var(--muted);font-size:13px;padding:0 0 6px}
th,td{padding:5px 12px 5px 0;text-align:left;border-bottom:1px solid var(--border);vertical-align:top}
th{font-weight:600;white-space:nowrap}.num{text-align:right}td.num{white-space:nowrap}
td{max-width:32em;overflow-wrap:break-word}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:12px;margin-bottom:12px}
dl{display:grid;grid-template-columns:minmax(90px,max-content) 1fr;gap:4px 14px;margin:0;font-size:14px}
dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--code);border-radius:6px;padding:10px 12px;margin:0;white-space:pre-wrap;overflow-wrap:anywhere;
font:13px/1.5 ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace}
@media print{body{background:#fff}.card,figure{break-inside:avoid}}
"""

_REASONS = 3


def add(parent: Element, tag: str, text: str | None = None, css: str = "", **attributes: str) -> Element:
    made = SubElement(parent, tag, {**({"class": css} if css else {}), **attributes})
    if text is not None:
        made.text = clean(text)
    return made


def _tone(verdict: str) -> str:
    return {"VALID": "good", "complete": "good", "INVALID": "bad", "mixed": "bad", "failed": "bad"}.get(verdict, "")


def add_table(parent: Element, table: Table, *, caption: str = "") -> None:
    # Focusable, so that the keyboard can scroll a table that is wider than the window.
    box = add(parent, "div", css="scroll", tabindex="0", role="region")
    # ElementTree leaves < in an attribute as it is. HTML allows that; a careless filter behind us might not.
    box.set("aria-label", clean(caption or table.title).replace("<", "‹"))
    made = add(box, "table")
    if caption:
        add(made, "caption", caption)
    head = add(add(made, "thead"), "tr")
    for column in table.columns:
        add(head, "th", column.name, "num" if column.numeric else "", scope="col")
    body = add(made, "tbody")
    for row in table.rows:
        line = add(body, "tr")
        for column, cell in zip(table.columns, row, strict=True):
            css = "num" if column.numeric else _tone(cell) if cell in ("VALID", "INVALID") else ""
            add(line, "td", cell, css)
    if table.note:
        add(parent, "p", table.note, "muted")


def add_warnings(parent: Element, lines: Sequence[str]) -> None:
    if lines:
        box = add(parent, "div", css="card warnings", role="note")
        for line in lines:
            add(box, "p", line)


def _reasons(parent: Element, summary: RunSummary) -> None:
    """LoadGen's reasons; short profiles have a dozen, of which the most frequent say what matters."""
    lines = [f"LoadGen INVALID: {line}" for line in summary.verdict_lines]
    add_warnings(parent, lines[:_REASONS])
    if len(lines) > _REASONS:
        more = add(parent[-1], "details", css="more")
        add(more, "summary", f"{len(lines) - _REASONS} more")
        for line in lines[_REASONS:]:
            add(more, "p", line)


def add_tile(parent: Element, label: str, value: str, unit: str, below: str, tone: str = "") -> None:
    """One figure in large letters; `parent` has class `tiles`."""
    box = add(parent, "div", css="card tile")
    add(box, "small", label)
    big = add(box, "b", value, tone)
    if unit:
        add(big, "span", f" {unit}")
    if below:
        add(box, "small", below)


def _tiles(parent: Element, summary: RunSummary) -> None:
    tiles = add(parent, "div", css="tiles")
    for one in head_figures(summary):
        value, _, unit = one.text.partition(" ")
        add_tile(tiles, one.label, value, unit, one.context)
    if summary.verdict != "none":
        tests = len(summary.run.resnet50)
        valid = sum(record.loadgen.result == "VALID" for record in summary.run.resnet50)
        add_tile(
            tiles, "LoadGen's verdict", summary.verdict, "", f"{valid} of {tests} tests VALID", _tone(summary.verdict)
        )
    if summary.run.cost_usd is not None:
        add_tile(tiles, "Cost", summary.cost_text, "", f"at {money(summary.run.stamps.usd_per_hour)} an hour")


def add_plots(parent: Element, charts: Sequence[Chart], *, wide: bool = False) -> None:
    """`wide`: one beside the other doesn't fit."""
    grid = add(parent, "div", css="plots wide" if wide else "plots")
    for chart in charts:
        box = add(grid, "figure")
        box.append(draw(chart))
        if chart.table:
            details = add(box, "details")
            add(
                details,
                "summary",
                f"The same as a table ({len(chart.table):,} row{'s' if len(chart.table) > 1 else ''})",
            )
            # Units stand in the columns' names; a column is numeric if it has one.
            columns = tuple(Column(name, any(unit in name for unit in ("/s", " ms", "size"))) for name in chart.columns)
            add_table(details, Table(chart.title, columns, chart.table), caption=f"{chart.title}: {chart.subtitle}")


def add_facts(parent: Element, facts: Facts) -> None:
    box = add(parent, "section", css="card")
    add(box, "h3", facts.title)
    pairs = add(box, "dl")
    for name, value in facts.lines:
        add(pairs, "dt", name)
        add(pairs, "dd", value)


def _run(parent: Element, summary: RunSummary, *, single: bool) -> None:
    if not single:
        add(parent, "h3", summary.label)
        add_warnings(parent, _all_warnings(summary))
    facts = add(parent, "div", css="facts")
    for one in summary.facts:
        add_facts(facts, one)
    if summary.commands:
        box = add(facts, "section", css="card")
        add(box, "h3", "To measure this again")
        add(box, "pre", "\n".join(summary.commands))


def _all_warnings(summary: RunSummary) -> list[str]:
    return [*summary.warnings, *(f"LoadGen INVALID: {line}" for line in summary.verdict_lines)]


def document(title: str) -> tuple[Element, Element]:
    """An empty page: its root, and the element that everything goes into."""
    html = Element("html", {"lang": "en"})
    head = add(html, "head")
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    # Even if something slipped through: no script runs here and nothing is fetched.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    add(head, "title", title)
    add(head, "style").text = _STYLE + style_sheet()
    return html, add(add(html, "body"), "main")


def text_of(html: Element) -> str:
    """The page as the text of a file."""
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def page(report: Report) -> str:
    single = len(report.runs) == 1
    first = report.runs[0]
    html, main = document(f"gpubench: {first.label}" if single else f"gpubench: {len(report.runs)} runs")
    header = add(main, "header")
    if single:
        device = first.run.gpu_name or (first.run.hardware.cpu.model if first.run.hardware.cpu else None)
        add(header, "h1", device or "gpubench report")
        line = [first.tier_text, first.run.stamps.rung, first.run.status, first.run.run_id]
        if first.run.manifest:
            line.append(first.run.manifest.started_at.strftime("%Y-%m-%d %H:%M UTC%z").replace("UTC+0000", "UTC"))
        add(header, "p", " · ".join(part for part in line if part), "muted")
        add_warnings(main, [*first.warnings, *report.warnings])
        _tiles(main, first)
        _reasons(main, first)
    else:
        add(header, "h1", f"gpubench report: {len(report.runs)} runs")
        add_warnings(main, report.warnings)
        for table in runs_tables(report.runs):
            section = add(main, "section")
            add(section, "h2", table.title)
            add_table(add(section, "div", css="card"), table)
    for title, charts, note in report.charts:
        section = add(main, "section")
        add(section, "h2", title)
        if note:
            add(section, "p", note, "muted")
        add_plots(section, charts)
    for table in report.tables:
        section = add(main, "section")
        add(section, "h2", table.title)
        add_table(add(section, "div", css="card"), table)
    section = add(main, "section")
    add(section, "h2", "What was measured on what")
    for summary in report.runs:
        _run(section, summary, single=single)
    return text_of(html)
