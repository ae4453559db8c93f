"""Puts a report's files into a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from benchmark_job.report import TierOf
from benchmark_job.report.chart import Theme, svg
from benchmark_job.report.content import Report, build
from benchmark_job.report.markdown import markdown
from benchmark_job.report.page import page
from benchmark_job.results import RunResults


def put(path: Path, text: str) -> Path:
    """By rename: a reader who has the old report open never sees half of the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)
    return path


def _put_plots(report: Report, folder: Path, theme: Theme) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if theme == "auto" else f"-{theme}"
    return [
        put(folder / f"{chart.slug}{suffix}.svg", svg(chart, theme))
        for _, charts, _ in report.charts
        for chart in charts
    ]


def plots(runs: Sequence[RunResults], folder: Path, theme: str, tier_of: TierOf) -> list[Path]:
    if theme not in ("auto", "light", "dark"):
        raise ValueError(f"theme is {theme!r}; it can be auto, light or dark")
    return _put_plots(build(runs, tier_of), folder, cast("Theme", theme))


def write(runs: Sequence[RunResults], folder: Path, tier_of: TierOf) -> list[Path]:
    report = build(runs, tier_of)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _put_plots(report, folder / "plots", "auto")
    for stale in set((folder / "plots").glob("*.svg")) - set(drawn):
        stale.unlink()
    return [put(folder / "report.md", markdown(report)), put(folder / "report.html", page(report)), *drawn]
