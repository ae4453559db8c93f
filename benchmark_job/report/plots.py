"""Which charts a report has: throughput by batch size, latency percentiles by scenario, the kernel sweep.

One run is drawn in full. Of several, repeats of the same run on the same rung become one series (the median, with a
whisker from lowest to highest); different runs become series of one chart, and of the kernel sweep only the best of
each is compared: the full sweep of each stands in its own report.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmark_job.report.chart import SERIES, Chart, Series, clean, figure
from benchmark_job.report.content import (
    PRECISIONS,
    SCENARIOS,
    RunSummary,
    device_variants,
    kernel_title,
    rate,
    shape_text,
    verdict_of,
)
from benchmark_job.results import KernelRecord, ResNet50Record

BARS = 6  # more batch sizes than these become a line over a batch axis
ROWS = 36  # of one chart of latencies
PERCENTILES = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99_9", "p99.9"))


@dataclass(frozen=True)
class _Group:
    """Runs that one series stands for."""

    label: str
    summaries: tuple[RunSummary, ...]


@dataclass(frozen=True)
class _Point:
    """One measured spot: the median over a group's runs, with the lowest and the highest."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Point:
        return cls(statistics.median(values), min(values), max(values))


def _groups(summaries: Sequence[RunSummary]) -> list[_Group]:
    found: dict[tuple[str, str | None, str | None], list[RunSummary]] = defaultdict(list)
    for summary in summaries:
        digest = re.sub(r"-\d+$", "", summary.run.run_id)
        found[digest, summary.obtained_tier, summary.run.stamps.rung].append(summary)
    # As short as it can be and still tell them apart: legends and rows have little room.
    tiers = [one[0].obtained_tier for one in found.values()]
    short = None not in tiers and len(set(tiers)) == len(tiers)
    digests = len({(digest, tier) for digest, tier, _ in found}) == len(found)
    groups = []
    for (digest, tier, _), runs in found.items():
        if short:
            label = clean(tier)
        elif digests and len(found) > 1:
            label = clean(", ".join(part for part in (tier, digest) if part))
        else:
            label = runs[0].label
        groups.append(_Group(label if len(runs) == 1 else f"{label} ({len(runs)} repeats)", tuple(runs)))
    return groups


def _slug(*parts: object) -> str:
    return re.sub(r"[^a-z0-9]+", "-", "-".join(str(part) for part in parts).lower()).strip("-")


def _precision_order(variant: str) -> tuple[int, str]:
    first = variant.split(",")[0]
    return (PRECISIONS.index(first) if first in PRECISIONS else len(PRECISIONS), variant)


def sections(summaries: Sequence[RunSummary]) -> tuple[tuple[str, tuple[Chart, ...], str], ...]:
    """(title, charts, note) of each section that has charts. Slugs are unique over all sections."""
    groups = _groups(summaries)
    left_out = ""
    if len(groups) > SERIES:
        left_out = f"The pictures show the first {SERIES} of {len(groups)} runs; the tables have all. "
        groups = groups[:SERIES]
    found = [
        ("Throughput by batch size", _throughput(groups), left_out),
        (
            "Latency percentiles by scenario",
            _latency(groups),
            left_out + "Offline has none here: it hands over all samples at once, and its metric is throughput.",
        ),
        ("Kernel sweep", _sweep(groups[0]) if len(groups) == 1 else _best(groups), left_out),
    ]
    return tuple((title, tuple(charts), note.strip()) for title, charts, note in found if charts)


# --- throughput --------------------------------------------------------------------------------------------------


def _throughput(groups: Sequence[_Group]) -> list[Chart]:
    # (scenario, variant, batch) -> group -> values
    points: dict[tuple[str, str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    records: dict[str, list[ResNet50Record]] = defaultdict(list)
    for group in groups:
        for summary in group.summaries:
            variants = device_variants(summary.run.resnet50)
            for record in summary.run.resnet50:
                records[record.scenario].append(record)
                if record.throughput_samples_per_s is not None:
                    key = (record.scenario, variants[id(record)], record.batch_size)
                    points[key][group.label].append(record.throughput_samples_per_s)
    charts, lone = [], []
    variants_found = sorted({variant for _, variant, _ in points}, key=_precision_order)
    for scenario in SCENARIOS:
        batches = sorted({batch for found, _, batch in points if found == scenario})
        if len(batches) == 1:
            lone.append((scenario, batches[0]))
        elif batches:
            charts += _throughput_charts(
                groups, variants_found, [(str(batch), batch, scenario) for batch in batches], points, scenario,
                verdict_of(records[scenario]),
            )  # fmt: skip
    if lone:
        # A chart of one bar says nothing: the scenarios that have one batch size only share a chart.
        spots = [(f"{scenario}, batch {batch}", batch, scenario) for scenario, batch in lone]
        tests = [record for scenario, _ in lone for record in records[scenario]]
        title = lone[0][0] if len(lone) == 1 else "Scenarios with one batch size"
        charts += _throughput_charts(groups, variants_found, spots, points, title, verdict_of(tests), lone=True)
    return charts


def _throughput_charts(
    groups: Sequence[_Group],
    variants: Sequence[str],
    spots: Sequence[tuple[str, int, str]],
    points: dict[tuple[str, str, int], dict[str, list[float]]],
    title: str,
    verdict: str,
    *,
    lone: bool = False,
) -> list[Chart]:
    """One chart with a series a variant for one group of runs; for several, one chart a variant, one series a group."""
    charts = []
    panels = [tuple(variants)] if len(groups) == 1 else [(variant,) for variant in variants]
    for panel in panels:
        series: list[Series] = []
        rows: list[tuple[str, ...]] = []
        names = [(variant, group) for variant in panel for group in groups]
        for style, (variant, group) in enumerate(names):
            label = variant if len(groups) == 1 else group.label
            drawn = {}
            for index, (name, batch, scenario) in enumerate(spots):
                values = points.get((scenario, variant, batch), {}).get(group.label)
                if values:
                    drawn[index] = _Point.of(values)
                    rows.append(
                        (label, name if lone else str(batch), figure(drawn[index].value), _spread(drawn[index]))
                    )
            if drawn and len(series) < SERIES:
                lined = len(spots) > BARS
                x_of = [float(batch) if lined else float(index) for index, (_, batch, _) in enumerate(spots)]
                series.append(
                    Series(
                        label,
                        tuple((x_of[index], point.value) for index, point in drawn.items()),
                        tuple((x_of[index], point.low, point.high) for index, point in drawn.items()),
                        style % SERIES,
                    )
                )
        if not series:
            continue
        several = len(groups) > 1 and len(variants) > 1
        subtitle = "ResNet-50 throughput" + (f", {panel[0]}" if several or len(series) == 1 else "")
        repeated = any(row[3] for row in rows)
        charts.append(
            Chart(
                slug=_slug("throughput", title, panel[0] if len(panels) > 1 else ""),
                title=title,
                subtitle=subtitle + _verdict_text(verdict),
                description=_extremes(rows, "samples/s", "" if lone else "batch "),
                y_label="samples/s",
                x_label="" if lone else "batch size",
                series=tuple(series),
                categories=() if len(spots) > BARS else tuple(name for name, _, _ in spots),
                columns=(
                    "series",
                    "scenario" if lone else "batch size",
                    "samples/s",
                    *(("range",) if repeated else ()),
                ),
                table=tuple(row if repeated else row[:3] for row in rows),
            )
        )
    return charts


def _spread(point: _Point) -> str:
    return f"{figure(point.low)} to {figure(point.high)}" if point.high > point.low else ""


def _verdict_text(verdict: str) -> str:
    return {
        "VALID": " · LoadGen: VALID",
        "INVALID": " · LoadGen: INVALID",
        "mixed": " · LoadGen: VALID and INVALID",
    }.get(verdict, "")


def _extremes(rows: Iterable[tuple[str, ...]], unit: str, before: str) -> str:
    """Highest and lowest in words, for those who can't see the picture."""
    ranked = sorted(rows, key=lambda row: float(row[2].replace(",", "")) if row[2] != "–" else 0.0)
    if not ranked:
        return ""
    high = ranked[-1]
    text = f"Highest: {high[2]} {unit} ({high[0]}, {before}{high[1]})."
    if len(ranked) > 1:
        low = ranked[0]
        text += f" Lowest: {low[2]} {unit} ({low[0]}, {before}{low[1]})."
    return text


# --- latency -----------------------------------------------------------------------------------------------------


def _latency(groups: Sequence[_Group]) -> list[Chart]:
    by_scenario: dict[str, list[tuple[tuple[object, ...], str, dict[int, float]]]] = defaultdict(list)
    verdicts: dict[str, list[ResNet50Record]] = defaultdict(list)
    all_variants = {
        variant
        for group in groups
        for summary in group.summaries
        for variant in device_variants(summary.run.resnet50).values()
    }
    only = next(iter(all_variants)) if len(all_variants) == 1 else ""
    for place, group in enumerate(groups):
        tests: dict[tuple[str, int, str], list[ResNet50Record]] = defaultdict(list)
        for summary in group.summaries:
            variants = device_variants(summary.run.resnet50)
            for record in summary.run.resnet50:
                if record.scenario != "Offline":
                    tests[record.scenario, record.batch_size, variants[id(record)]].append(record)
                    verdicts[record.scenario].append(record)
        for (scenario, batch, variant), records in tests.items():
            values = {}
            for index, (attribute, _) in enumerate(PERCENTILES):
                measured = [v for record in records if (v := getattr(record.latency_ms, attribute)) is not None]
                if measured:
                    values[index] = statistics.median(measured)
            if not values:
                continue
            label = f"batch {batch}, {variant}" if len(all_variants) > 1 else f"batch {batch}"
            label += f", {group.label}" if len(groups) > 1 else ""
            by_scenario[scenario].append(((batch, _precision_order(variant), place), label, values))
    total = sum(len(rows) for rows in by_scenario.values())
    present = [scenario for scenario in SCENARIOS if by_scenario[scenario]]
    for scenario in present:
        by_scenario[scenario].sort(key=lambda row: row[0])
    if not present:
        return []
    if len(present) > 1 and total <= 12 and len(groups) == 1:
        rows = [(f"{scenario}, {label}", values) for scenario in present for _, label, values in by_scenario[scenario]]
        tests_of_all = [record for scenario in present for record in verdicts[scenario]]
        return [_latency_chart("Latency", "all", rows, verdict_of(tests_of_all), only)]
    return [
        _latency_chart(
            f"{scenario} latency", scenario, [(label, values) for _, label, values in by_scenario[scenario]],
            verdict_of(verdicts[scenario]), only,
        )
        for scenario in present
    ]  # fmt: skip


def _latency_chart(
    title: str, name: str, rows: Sequence[tuple[str, dict[int, float]]], verdict: str, only: str
) -> Chart:
    used = sorted({index for _, values in rows for index in values})
    legend = tuple(PERCENTILES[index][1] for index in used)
    slowest = max(rows, key=lambda row: max(row[1].values()))
    worst = max(slowest[1])
    shown = f" · the first {ROWS} of {len(rows)}" if len(rows) > ROWS else ""
    return Chart(
        slug=_slug("latency", name),
        title=title,
        subtitle=f"ResNet-50 latency percentiles{', ' if only else ''}{only}{_verdict_text(verdict)}{shown}",
        description=f"Slowest: {slowest[0]} with {PERCENTILES[worst][1]} at {figure(slowest[1][worst])} ms.",
        x_label="milliseconds",
        rows=tuple(
            (label, tuple((used.index(index), value) for index, value in sorted(values.items())))
            for label, values in rows[:ROWS]
        ),
        legend=legend,
        columns=("test", *(f"{one} ms" for one in legend)),
        table=tuple((label, *(figure(values.get(index)) for index in used)) for label, values in rows),
    )


# --- kernels -----------------------------------------------------------------------------------------------------


def _size(records: Sequence[KernelRecord]) -> tuple[str, Callable[[KernelRecord], float], str]:
    """What stands on the size axis, its value for a record, and what is the same for all.

    One dimension that varies, or several that are always equal, stand for themselves; otherwise the number of elements
    that the dimensions span.
    """
    names = list(dict.fromkeys(name for record in records for name in record.shape))
    varying = [name for name in names if len({record.shape.get(name) for record in records}) > 1]
    fixed = shape_text({name: records[0].shape[name] for name in names if name not in varying})
    axis = varying or names
    equal = all(len({record.shape.get(name) for name in axis}) == 1 for record in records)
    if axis and equal and all(axis[0] in record.shape for record in records):
        return clean(" = ".join(axis)), lambda record: float(record.shape[axis[0]]), fixed

    def product(record: KernelRecord) -> float:
        size = 1.0
        for name in axis:
            size *= record.shape.get(name, 1)
        return size

    return clean(" × ".join(axis)) or "size", product, fixed


def _sweep(group: _Group) -> list[Chart]:
    records = [record for summary in group.summaries for record in summary.run.kernels]
    charts = []
    for kernel in dict.fromkeys(record.kernel for record in records):
        of_kernel = [record for record in records if record.kernel == kernel]
        rated = [(record, found) for record in of_kernel if (found := rate(record)) is not None and found[0] > 0]
        if not rated:
            continue
        # One unit a chart: records of one kernel could have different rates missing.
        units = [unit for _, (_, unit) in rated]
        unit = max(set(units), key=units.count)
        variants = device_variants(of_kernel)
        kept = [(record, value) for record, (value, one) in rated if one == unit]
        axis, size, fixed = _size([record for record, _ in kept])
        # (variant, batch) -> size -> values of the fastest shape, one a run
        lines: dict[tuple[str, int], dict[float, dict[str, list[float]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )
        for record, value in kept:
            lines[variants[id(record)], record.batch_size][size(record)][shape_text(record.shape)].append(value)
        found_variants = sorted({variant for variant, _ in lines}, key=_precision_order)
        batches = sorted({batch for _, batch in lines})
        several_shapes = any(len(shapes) > 1 for line in lines.values() for shapes in line.values())
        notes = [fixed, "the fastest shape at each size" if several_shapes else ""]
        together = len(found_variants) * len(batches) <= 6
        for panel in [found_variants] if together else [[variant] for variant in found_variants]:
            panel_batches = [batch for batch in batches if any((variant, batch) in lines for variant in panel)]
            drawn_batches = panel_batches if together else _spaced(panel_batches, SERIES)
            chart = _sweep_chart(kernel, unit, axis, notes, panel, drawn_batches, lines, together=together)
            if len(drawn_batches) < len(panel_batches):
                more = f" · {len(drawn_batches)} of {len(panel_batches)} batch sizes"
                chart = Chart(**{**chart.__dict__, "subtitle": chart.subtitle + more})
            charts.append(chart)
    return charts


def _spaced(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of the values, evenly spaced, with the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]


def _sweep_chart(
    kernel: str,
    unit: str,
    axis: str,
    notes: Sequence[str],
    panel: Sequence[str],
    batches: Sequence[int],
    lines: dict[tuple[str, int], dict[float, dict[str, list[float]]]],
    *,
    together: bool,
) -> Chart:
    series, rows = [], []
    style = -1
    for variant in panel:
        for batch in batches:
            line = lines.get((variant, batch))
            if not line:
                continue
            style += 1
            label = " · ".join(
                part
                for part, used in ((variant, len(panel) > 1), (f"batch {batch}", len(batches) > 1 or len(panel) == 1))
                if used
            )
            points = []
            for size, shapes in sorted(line.items()):
                value, shape = max((statistics.median(values), shape) for shape, values in shapes.items())
                points.append((size, value))
                rows.append((label, shape, figure(value)))
            series.append(Series(label, tuple(points), style=style % SERIES))
    sizes = sorted({x for one in series for x, _ in one.points})
    subtitle = [*([panel[0]] if len(panel) == 1 else []), *(note for note in notes if note)]
    if len(series) == 1:
        subtitle.insert(1 if len(panel) == 1 else 0, f"batch {batches[0]}")
    categories: tuple[str, ...] = ()
    if len(sizes) == 1:
        # A line with one dot is no line: one size becomes bars.
        shapes_drawn = {row[1] for row in rows}
        categories = (shapes_drawn.pop() if len(shapes_drawn) == 1 else f"{axis} = {sizes[0]:g}",)
        subtitle = [one for one in subtitle if one not in categories]
        series = [Series(one.label, ((0.0, one.points[0][1]),), style=one.style) for one in series]
    return Chart(
        slug=_slug("kernels", kernel, "" if together else panel[0]),
        title=kernel_title(kernel)[:1].upper() + kernel_title(kernel)[1:],
        subtitle=" · ".join(["performance" if categories else "performance by size", *subtitle]),
        description=_extremes(rows, unit, ""),
        y_label=unit,
        x_label="" if categories else axis,
        series=tuple(series),
        categories=categories,
        columns=("series", "shape", unit),
        table=tuple(rows),
    )


def _best(groups: Sequence[_Group]) -> list[Chart]:
    """Several runs: the best of each kernel by precision, one series a run."""
    # (kernel, unit) -> variant -> group -> the best of each of its runs
    best: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for group in groups:
        for summary in group.summaries:
            variants = device_variants(summary.run.kernels)
            top: dict[tuple[str, str, str], float] = {}
            for record in summary.run.kernels:
                if (found := rate(record)) is not None:
                    key = (record.kernel, found[1], variants[id(record)])
                    top[key] = max(found[0], top.get(key, 0.0))
            for (kernel, unit, variant), value in top.items():
                best[kernel, unit][variant][group.label].append(value)
    charts = []
    for (kernel, unit), by_variant in best.items():
        variants_found = sorted(by_variant, key=_precision_order)
        series, rows = [], []
        for style, group in enumerate(groups):
            points = {
                index: _Point.of(by_variant[variant][group.label])
                for index, variant in enumerate(variants_found)
                if by_variant[variant].get(group.label)
            }
            if not points:
                continue
            series.append(
                Series(
                    group.label,
                    tuple((float(index), point.value) for index, point in points.items()),
                    tuple((float(index), point.low, point.high) for index, point in points.items()),
                    style % SERIES,
                )
            )
            rows += [(group.label, variants_found[index], figure(point.value)) for index, point in points.items()]
        charts.append(
            Chart(
                slug=_slug("kernels-best", kernel, unit),
                title=kernel_title(kernel)[:1].upper() + kernel_title(kernel)[1:],
                subtitle="the best of each run's sweep",
                description=_extremes(rows, unit, ""),
                y_label=unit,
                x_label="precision",
                series=tuple(series),
                categories=tuple(variants_found),
                columns=("run", "precision", unit),
                table=tuple(rows),
            )
        )
    return charts
