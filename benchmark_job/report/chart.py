"""Charts as SVG: grouped bars, lines over a size, ranges of percentiles, and lanes over time.

Why our own writer and not matplotlib's SVG backend: these pictures are embedded in a page that must be right in light
and in dark and at 400 pixels, and they are drawn on the path of every `gpubench up`. matplotlib writes fixed colours
(one file a theme, or a rewrite of its output), lays text out for one width, adds about 60 MB with numpy to an install
that otherwise needs neither, and takes longer to import than the whole report takes here. pygal themes by CSS but has
no logarithmic x axis and places labels without looking whether they overlap. What is needed is four chart forms and a
tick rule; the XML itself, and with it all escaping, is the standard library's ElementTree.

Sizes are in SVG user units, 1 unit = 1 CSS pixel at natural size. Every colour is a class, given by one style sheet
(`style_sheet`) that the page states once and a file of its own carries inside. Colour is never the only difference:
series differ by marker too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from placement.printing import clean as clean

Theme = Literal["auto", "light", "dark"]

WIDTH = 480
LEFT, RIGHT = 58, 18
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 15, 12, 11
GAP = 6  # least distance between two tick labels

# Hues that stay apart with red-green and blue-yellow colour blindness (after Okabe and Ito, 2008, "Color Universal
# Design"), darkened or lightened until each has a contrast of at least 3:1 with its background (WCAG 2.1, 1.4.11);
# tests/test_report.py measures it.
LIGHT: Mapping[str, Any] = {
    "surface": "#ffffff", "border": "#d5d9de", "grid": "#e6e8eb", "axis": "#8b929a",
    "ink": "#1c2024", "muted": "#5a626b",
    "series": ("#0067a5", "#c4500a", "#00805c", "#9c3f86", "#7d6400", "#4b4fc4", "#b0263c", "#4d5860"),
}  # fmt: skip
DARK: Mapping[str, Any] = {
    "surface": "#15191e", "border": "#343b44", "grid": "#282e36", "axis": "#7d8792",
    "ink": "#eef1f4", "muted": "#a7b0ba",
    "series": ("#5cb3f0", "#ff9248", "#35c79a", "#e292cf", "#e3c443", "#a3a6ff", "#ff8091", "#b6c0c9"),
}  # fmt: skip
SERIES = 8
"""How many series one chart can tell apart."""


def figure(value: float | None, digits: int = 3) -> str:
    """A measured figure with its significant digits: 12,345; 123; 1.23; 0.0123; – for what wasn't measured."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9 or size < 1e-4:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{value:,.{decimals}f}"


def text_width(text: str, size: float = SMALL_SIZE) -> float:
    """Width in units, on the wide side: the reader's sans-serif font is not ours to know."""
    return sum(0.35 if letter in " .,:;|'il()·" else 0.62 for letter in text) * size


# --- ticks -------------------------------------------------------------------------------------------------------


def linear_ticks(top: float, most: int = 6) -> list[float]:
    """0 and the multiples of 1, 2 or 5 x 10^n up to the first one at or above `top`; at most `most`."""
    if not top > 0:
        return [0.0, 1.0]
    rough = top / (most - 1)
    power = math.floor(math.log10(rough))
    for mantissa, exponent in ((1, power), (2, power), (5, power), (1, power + 1)):
        step = mantissa * 10.0**exponent
        if step >= rough * (1 - 1e-9):
            break
    count = math.ceil(top / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(count + 1)]


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """1-2-5 marks between low and high (both > 0), thinned to decades, then to every n-th decade, until they fit."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    bottom, top = low * (1 - 1e-9), high * (1 + 1e-9)
    for mantissas in ((1, 2, 5), (1,)):
        ticks = [float(f"{m}e{p}") for p in range(first, last + 1) for m in mantissas]
        ticks = [tick for tick in ticks if bottom <= tick <= top]
        if 2 <= len(ticks) <= most:
            return ticks
    if len(ticks) > most:
        return ticks[:: math.ceil(len(ticks) / most)]
    return [low, high] if high > low else [low]


def log_bounds(low: float, high: float) -> tuple[float, float]:
    """The 1-2-5 marks just outside low and high, so that the axis ends on a label."""

    def mark(value: float, *, up: bool) -> float:
        power = math.floor(math.log10(value))
        marks = [float(f"{m}e{p}") for p in (power - 1, power, power + 1) for m in (1, 2, 5)]
        if up:
            return min(one for one in marks if one >= value * (1 - 1e-9))
        return max(one for one in marks if one <= value * (1 + 1e-9))

    bottom, top = mark(low, up=False), mark(high, up=True)
    return (bottom, top) if bottom < top else (bottom / 2, top * 2)


@dataclass(frozen=True)
class Scale:
    """Maps a value to a position; logarithmic or linear."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _power_of_two(value: float) -> int | None:
    mantissa, exponent = math.frexp(value)
    return exponent - 1 if mantissa == 0.5 and value >= 1 else None


def _size_labels(values: Sequence[float]) -> Callable[[float], str]:
    """Sizes are whole numbers; large powers of two read better as 2²⁰ than as 1,048,576."""
    if max(values) >= 100_000 and all(_power_of_two(value) is not None for value in values):
        return lambda value: "2" + str(_power_of_two(value)).translate(_SUPERSCRIPT)
    if max(values) >= 100_000:
        return _si
    return lambda value: f"{value:g}"


def _si(value: float) -> str:
    """A tick in as few letters as it needs: 0.5, 250, 20k, 3M."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scale = 1e3 if letter == "k" else limit
            return f"{value / scale:.3g}{letter}"
    return f"{value:,g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.0e}"


def thin(positions: Sequence[float], labels: Sequence[str], size: float = SMALL_SIZE) -> list[int]:
    """Indices of the labels, centred at their positions (ascending), that fit side by side; the first is kept."""
    kept: list[int] = []
    edge = -math.inf
    for index, (position, label) in enumerate(zip(positions, labels, strict=True)):
        half = text_width(label, size) / 2
        if position - half >= edge:
            kept.append(index)
            edge = position + half + GAP
    return kept


# --- what is drawn -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """One colour and marker of a chart. `points` are (x, y), or (category index, y) with bars."""

    label: str
    points: tuple[tuple[float, float], ...]
    spread: tuple[tuple[float, float, float], ...] = ()
    """(x, lowest, highest) over repeats, drawn as a whisker."""
    style: int = 0
    marker: int | None = None


@dataclass(frozen=True)
class Bar:
    """A stretch of a lane, from ``begin`` to ``end``. ``thick``: what the thin ones lead up to."""

    begin: float
    end: float
    style: int
    word: str
    thick: bool = False


@dataclass(frozen=True)
class Lane:
    """One line of a picture over time. ``words`` says in letters what the bars' colours say."""

    label: str
    words: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Chart:
    """title and subtitle are shown; description is for those who can't see the picture (SVG's <desc>)."""

    slug: str
    title: str
    subtitle: str
    description: str
    y_label: str = ""
    x_label: str = ""
    series: tuple[Series, ...] = ()
    categories: tuple[str, ...] = ()
    """Non-empty: grouped bars over these."""
    rows: tuple[tuple[str, tuple[tuple[int, float], ...]], ...] = ()
    """Non-empty: ranges. A row is its label and (index into `legend`, value)."""
    legend: tuple[str, ...] = ()
    lanes: tuple[Lane, ...] = ()
    """Non-empty: lanes over time, from 0 to ``x_end``."""
    x_end: float = 0
    bands: tuple[tuple[float, float, str], ...] = ()
    """(begin, end, word) that a shade behind all lanes marks."""
    columns: tuple[str, ...] = ()
    """The table of the same figures."""
    table: tuple[tuple[str, ...], ...] = ()

    @property
    def alt(self) -> str:
        return f"{self.title}: {self.subtitle}. {self.description}"


def style_sheet(theme: Theme = "auto") -> str:
    def rules(colours: Mapping[str, Any]) -> str:
        series = colours["series"]
        assert isinstance(series, tuple)
        return (
            f".gb-surface{{fill:{colours['surface']};stroke:{colours['border']}}}"
            f".gb-grid{{stroke:{colours['grid']}}}.gb-axis{{stroke:{colours['axis']}}}"
            f".gb-ink{{fill:{colours['ink']}}}.gb-muted{{fill:{colours['muted']}}}"
            f".gb-ring{{stroke:{colours['surface']}}}.gb-band{{fill:{colours['grid']}}}"
            + "".join(f".gb-s{index}{{color:{colour}}}" for index, colour in enumerate(series))
        )

    base = (
        ".gb-svg text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
        "font-variant-numeric:tabular-nums}"
    )
    # Colours stand as plain values, not var(): some SVG viewers know neither var() nor media queries, and those must
    # still show the light theme.
    if theme == "dark":
        return base + rules(DARK)
    if theme == "light":
        return base + rules(LIGHT)
    return base + rules(LIGHT) + "@media (prefers-color-scheme:dark){" + rules(DARK) + "}"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _line(parent: Element, css: str, x1: float, y1: float, x2: float, y2: float, width: float = 1) -> None:
    SubElement(
        parent,
        "line",
        {"class": css, "x1": _n(x1), "y1": _n(y1), "x2": _n(x2), "y2": _n(y2), "stroke-width": _n(width)},
    )


def _text(
    parent: Element, css: str, x: float, y: float, text: str, *, size: float = SMALL_SIZE, anchor: str = "start",
    bold: bool = False,
) -> None:  # fmt: skip
    attributes = {"class": css, "x": _n(x), "y": _n(y), "font-size": _n(size)}
    if anchor != "start":
        attributes["text-anchor"] = anchor
    if bold:
        attributes["font-weight"] = "600"
    SubElement(parent, "text", attributes).text = clean(text)


def _mark(parent: Element, style: int, marker: int, x: float, y: float, size: float = 4) -> None:
    """A filled marker with a thin ring of the background, so that neighbours stay apart."""
    css = {"class": f"gb-s{style % SERIES}"}
    group = SubElement(parent, "g", css)
    common = {"fill": "currentColor", "class": "gb-ring", "stroke-width": "1"}
    kind = marker % 4
    if kind == 0:
        SubElement(group, "circle", {**common, "cx": _n(x), "cy": _n(y), "r": _n(size)})
        return
    side = size * 0.92
    corners = (
        [(-side, -side), (side, -side), (side, side), (-side, side)],
        [(0, -size * 1.3), (size * 1.3, 0), (0, size * 1.3), (-size * 1.3, 0)],
        [(0, -size * 1.2), (size * 1.15, size * 0.9), (-size * 1.15, size * 0.9)],
    )[kind - 1]
    SubElement(group, "polygon", {**common, "points": " ".join(f"{_n(x + dx)},{_n(y + dy)}" for dx, dy in corners)})


def _cut(text: str, width: float, size: float) -> str:
    """The text, or as much of it as fits, with an ellipsis."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _wrap(text: str, width: float, size: float) -> list[str]:
    lines, line = [], ""
    for word in clean(text).split():
        longer = f"{line} {word}".strip()
        if line and text_width(longer, size) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [_cut(one, width, size) for one in [*lines, line] if one]


def _head(root: Element, chart: Chart, legend: Sequence[tuple[str, int, int]]) -> float:
    """Title, subtitle and legend; returns the height that they take."""
    y = 26.0
    for line in _wrap(chart.title, WIDTH - 32, TITLE_SIZE):
        _text(root, "gb-ink", 16, y, line, size=TITLE_SIZE, bold=True)
        y += 18
    for line in _wrap(chart.subtitle, WIDTH - 32, TEXT_SIZE):
        _text(root, "gb-muted", 16, y, line, size=TEXT_SIZE)
        y += 16
    if len(legend) > 1:
        x = 16.0
        y += 6
        for label, style, marker in legend:
            shown = _cut(clean(label), WIDTH - 50, TEXT_SIZE)
            width = 16 + text_width(shown, TEXT_SIZE) + 14
            if x > 16 and x + width > WIDTH - 8:
                x = 16.0
                y += 18
            _mark(root, style, marker, x + 5, y - 4)
            _text(root, "gb-ink", x + 15, y, shown, size=TEXT_SIZE)
            x += width
        y += 16
    return y


def _frame(chart: Chart) -> Element:
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": "gb-svg", "role": "img"})
    root.set("aria-labelledby", f"{chart.slug}-title {chart.slug}-desc")
    SubElement(root, "title", {"id": f"{chart.slug}-title"}).text = clean(f"{chart.title}: {chart.subtitle}")
    SubElement(root, "desc", {"id": f"{chart.slug}-desc"}).text = clean(chart.description)
    return root


def _finish(root: Element, height: float) -> None:
    root.set("viewBox", f"0 0 {WIDTH} {_n(height)}")
    root.set("width", str(WIDTH))
    root.set("height", _n(height))
    card = Element("rect", {"class": "gb-surface", "x": "0.5", "y": "0.5", "rx": "8"})
    card.set("width", str(WIDTH - 1))
    card.set("height", _n(height - 1))
    root.insert(2, card)  # behind everything, after title and desc


def _spans_decades(values: Sequence[float], ratio: float) -> bool:
    return min(values) > 0 and max(values) / min(values) > ratio


def _y_axis(root: Element, chart: Chart, values: Sequence[float], top: float, bottom: float, *, log: bool) -> Scale:
    if log:
        low, high = log_bounds(min(values), max(values))
        ticks = log_ticks(low, high)
    else:
        ticks = linear_ticks(max(values))
        low, high = ticks[0], ticks[-1]
    scale = Scale(low, high, bottom, top, log)
    labels = [_si(tick) for tick in ticks]
    for tick, label in zip(ticks, labels, strict=True):
        y = scale(tick)
        _line(root, "gb-grid", LEFT, y, WIDTH - RIGHT, y)
        _text(root, "gb-muted", LEFT - 8, y + 4, label, anchor="end")
    unit = chart.y_label + (" (log scale)" if log else "")
    _text(root, "gb-muted", 16, top - 19, unit)
    return scale


def _bars(chart: Chart) -> Element:
    root = _frame(chart)
    legend = [(one.label, one.style, 1) for one in chart.series]
    top = _head(root, chart, legend) + 30
    bottom = top + 170
    highest = [y for one in chart.series for _, y in one.points] + [
        hi for one in chart.series for _, _, hi in one.spread
    ]
    # Bars are read by their length, so their axis begins at 0 and is linear, whatever the range.
    scale = _y_axis(root, chart, highest, top, bottom, log=False)
    room = (WIDTH - RIGHT - LEFT) / len(chart.categories)
    count = len(chart.series)
    width = min(44.0, (room * 0.82) / count)
    centres = [LEFT + room * (index + 0.5) for index in range(len(chart.categories))]
    # Values stand on the bars where all of them fit; otherwise the table has them.
    tallest = max(text_width(figure(y)) for one in chart.series for _, y in one.points)
    write_values = tallest + 3 <= (width if count > 1 else room * 0.95)
    for place, one in enumerate(chart.series):
        group = SubElement(root, "g", {"class": f"gb-s{one.style % SERIES}"})
        spread = {index: (low, high) for index, low, high in one.spread}
        for index, value in one.points:
            x = centres[int(index)] + (place - (count - 1) / 2) * width
            y = scale(value)
            bar = max(1.0, width - 3)
            height = max(1.0, bottom - y)  # a value near 0 still shows
            radius = min(2.0, bar / 2, height / 2)
            SubElement(
                group, "rect",
                {"x": _n(x - bar / 2), "y": _n(bottom - height), "width": _n(bar), "height": _n(height),
                 "rx": _n(radius), "fill": "currentColor"},
            )  # fmt: skip
            edge = y
            if index in spread and spread[index][1] > spread[index][0]:
                low, high = scale(spread[index][0]), scale(spread[index][1])
                for ends in ((x, low, x, high), (x - 4, low, x + 4, low), (x - 4, high, x + 4, high)):
                    _line(root, "gb-axis", *ends, 1.5)
                edge = min(y, high)
            if write_values:
                _text(root, "gb-ink", x, edge - 5, figure(value), anchor="middle")
    _line(root, "gb-axis", LEFT, bottom, WIDTH - RIGHT, bottom)
    labels = [_cut(clean(one), max(room, WIDTH / 3) - GAP, SMALL_SIZE) for one in chart.categories]
    for index in thin(centres, labels):
        _text(root, "gb-muted", centres[index], bottom + 17, labels[index], anchor="middle")
    _text(root, "gb-muted", (LEFT + WIDTH - RIGHT) / 2, bottom + 35, chart.x_label, anchor="middle")
    _finish(root, bottom + 48)
    return root


def _lines(chart: Chart) -> Element:
    root = _frame(chart)
    markers = [one.style if one.marker is None else one.marker for one in chart.series]
    top = _head(root, chart, [(one.label, one.style, m) for one, m in zip(chart.series, markers, strict=True)]) + 30
    bottom = top + 190
    xs = sorted({x for one in chart.series for x, _ in one.points})
    ys = [y for one in chart.series for _, y in one.points]
    y_scale = _y_axis(root, chart, ys, top, bottom, log=_spans_decades(ys, 30))
    log_x = min(xs) > 0 and max(xs) / min(xs) >= 4
    pad = 12
    x_scale = Scale(xs[0], xs[-1], LEFT + pad, WIDTH - RIGHT - pad, log_x)
    label_of = _size_labels(xs)
    # The sizes that were measured are the ticks: 768 or 4096 says more than a round number between two of them.
    positions, labels = [x_scale(x) for x in xs], [label_of(x) for x in xs]
    for index in thin(positions, labels):
        _line(root, "gb-axis", positions[index], bottom, positions[index], bottom + 4)
        _text(root, "gb-muted", positions[index], bottom + 17, labels[index], anchor="middle")
    _line(root, "gb-axis", LEFT, bottom, WIDTH - RIGHT, bottom)
    crowded = len(xs) > 24
    for one, marker in zip(chart.series, markers, strict=True):
        points = [(x_scale(x), y_scale(y)) for x, y in sorted(one.points)]
        group = SubElement(root, "g", {"class": f"gb-s{one.style % SERIES}"})
        if len(points) > 1:
            SubElement(
                group, "polyline",
                {"points": " ".join(f"{_n(x)},{_n(y)}" for x, y in points), "fill": "none", "stroke": "currentColor",
                 "stroke-width": "2", "stroke-linejoin": "round", "stroke-linecap": "round"},
            )  # fmt: skip
        for x, y in points[:: max(1, len(points) // 12) if crowded else 1]:
            _mark(root, one.style, marker, x, y, 3.5)
    note = " (log scale)" if log_x else ""
    _text(
        root, "gb-muted", (LEFT + WIDTH - RIGHT) / 2, bottom + 35,
        _cut(clean(chart.x_label) + note, WIDTH - 80, SMALL_SIZE), anchor="middle",
    )  # fmt: skip
    _finish(root, bottom + 48)
    return root


def _ranges(chart: Chart) -> Element:
    root = _frame(chart)
    top = _head(root, chart, [(label, index, index) for index, label in enumerate(chart.legend)]) + 12
    labels = [_cut(clean(label), 200, TEXT_SIZE) for label, _ in chart.rows]
    left = 16 + max(text_width(label, TEXT_SIZE) for label in labels) + 12
    values = [value for _, row in chart.rows for _, value in row]
    # Dots need no zero to be read from, and on a linear axis the fast tests would be one blot beside the slow ones.
    log = _spans_decades(values, 8)
    pitch = 26
    bottom = top + pitch * len(chart.rows)
    if log:
        low, high = log_bounds(min(values), max(values))
        ticks = log_ticks(low, high)
    else:
        ticks = linear_ticks(max(values))
        low, high = ticks[0], ticks[-1]
    scale = Scale(low, high, left, WIDTH - RIGHT - 12, log)
    positions, texts = [scale(tick) for tick in ticks], [_si(tick) for tick in ticks]
    for position in positions:
        _line(root, "gb-grid", position, top - 4, position, bottom)
    _line(root, "gb-axis", left, bottom, WIDTH - RIGHT - 12, bottom)
    for index in thin(positions, texts):
        _text(root, "gb-muted", positions[index], bottom + 17, texts[index], anchor="middle")
    for number, (_, row) in enumerate(chart.rows):
        y = top + pitch * (number + 0.5)
        _text(root, "gb-ink", 16, y + 4, labels[number], size=TEXT_SIZE)
        if not row:
            _text(root, "gb-muted", left + 4, y + 4, "not measured")
            continue
        places = [scale(value) for _, value in row]
        _line(root, "gb-axis", min(places), y, max(places), y, 2)
        for (index, _), x in zip(row, places, strict=True):
            _mark(root, index, index, x, y)
    note = " (log scale)" if log else ""
    _text(root, "gb-muted", (left + WIDTH - RIGHT) / 2, bottom + 35, chart.x_label + note, anchor="middle")
    _finish(root, bottom + 48)
    return root


def _lanes(chart: Chart) -> Element:
    """Two lines a lane, name and words above the bars: so long names leave the bars their width on a phone too."""
    root = _frame(chart)
    bars = [bar for lane in chart.lanes for bar in lane.bars]
    styles = {bar.word: bar.style for bar in bars}
    legend = [(word, style, 1) for word, style in styles.items()]
    top = _head(root, chart, legend) + (16 if chart.bands else 4)
    pitch = 38
    bottom = top + pitch * len(chart.lanes) + 4
    left, right = 16.0, float(WIDTH - RIGHT)
    ticks = linear_ticks(chart.x_end, 7)
    # Up to the end alone: a tick beyond it would leave up to half of the picture empty.
    scale = Scale(0, chart.x_end or ticks[-1], left, right, False)
    ticks = [tick for tick in ticks if tick <= (chart.x_end or ticks[-1]) * 1.001]
    for begin, end, word in chart.bands:
        x, width = scale(begin), max(2.0, scale(end) - scale(begin))
        attributes = {"class": "gb-band", "x": _n(x), "y": _n(top), "width": _n(width), "height": _n(bottom - top)}
        SubElement(root, "rect", attributes)
        if text_width(word) + 4 <= width:
            _text(root, "gb-muted", x + width / 2, top - 5, word, anchor="middle")
    positions, labels = [scale(tick) for tick in ticks], [_si(tick) for tick in ticks]
    for position in positions:
        _line(root, "gb-grid", position, top, position, bottom)
    _line(root, "gb-axis", left, bottom, right, bottom)
    for index in thin(positions, labels):
        _text(root, "gb-muted", positions[index], bottom + 17, labels[index], anchor="middle")
    _text(root, "gb-muted", (left + right) / 2, bottom + 35, chart.x_label, anchor="middle")
    for number, lane in enumerate(chart.lanes):
        y = top + pitch * number + 14
        words = _cut(clean(lane.words), (right - left) * 0.5, SMALL_SIZE)
        room = right - left - text_width(words) - GAP
        _text(root, "gb-ink", left, y, _cut(clean(lane.label), room, TEXT_SIZE), size=TEXT_SIZE)
        _text(root, "gb-muted", right, y, words, anchor="end")
        middle = y + 13
        _line(root, "gb-grid", left, middle, right, middle)
        for bar in lane.bars:
            height = 13 if bar.thick else 7
            x = min(scale(bar.begin), right - 3)
            # What took seconds of hours shows too.
            width = max(3.0, scale(bar.end) - x)
            group = SubElement(root, "g", {"class": f"gb-s{bar.style % SERIES}"})
            SubElement(
                group, "rect",
                {"class": "gb-ring", "x": _n(x), "y": _n(middle - height / 2), "width": _n(width),
                 "height": _n(height), "rx": "1.5", "fill": "currentColor", "stroke-width": "0.75"},
            )  # fmt: skip
    _finish(root, bottom + 48)
    return root


def draw(chart: Chart) -> Element:
    """The chart as an <svg> element without colours: the page, or `svg`, brings the style sheet."""
    if chart.lanes:
        return _lanes(chart)
    if chart.categories:
        return _bars(chart)
    return _ranges(chart) if chart.rows else _lines(chart)


def svg(chart: Chart, theme: Theme = "auto") -> str:
    """The chart as the text of a file that stands by itself."""
    root = draw(chart)
    style = Element("style")
    style.text = style_sheet(theme)
    root.insert(2, style)
    return tostring(root, encoding="unicode") + "\n"
