"""The walk as a picture: time from left to right, a lane for each rung that was tried, in the ladder's order."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from benchmark_job.report.chart import Bar, Chart, Lane
from placement.timeline import Row, Walked, duration, headline, labels_of, rows

LANES = 30
"""The most lanes of one picture; of more rungs the first ones and the last one tried are drawn."""

# Where two share a colour, the words beside each lane tell them apart.
_STYLES = {
    "won": 2, "capacity": 1, "quota": 4, "not-offered": 7, "permission": 6, "image": 3, "bad-request": 5,
    "interrupted": 0, "transient": 0, "workload": 6, "unknown": 5, "waiting": 0, "stopped": 7, "under way": 0,
}  # fmt: skip
# Seconds up to 3 minutes, minutes up to 3 hours, hours up to 3 days: the ticks stay short.
_UNITS = ((180, 1, "Seconds"), (3 * 3600, 60, "Minutes"), (3 * 86400, 3600, "Hours"), (float("inf"), 86400, "Days"))


def picture(walked: Walked) -> Chart | None:
    """The picture; None where nothing was tried."""
    found = rows(walked)
    if not found:
        return None
    # An attempt that an earlier walk began lies before this one's begin, and one may lack its end.
    start = min(walked.begun, found[0].when)
    end = max(walked.ended, *(row.when + row.took for row in found))
    total = max(1.0, (end - start).total_seconds())
    size, unit = next((size, unit) for limit, size, unit in _UNITS if total < limit)

    def at(time: datetime) -> float:
        return (time - start).total_seconds() / size

    by_rung: dict[str, list[Row]] = {}
    for row in found:
        by_rung.setdefault(row.attempt.rung, []).append(row)
    ladder = [rung.id for rung in walked.ladder]
    order = sorted(by_rung, key=lambda rung: ladder.index(rung) if rung in ladder else len(ladder))
    shown = order
    if len(order) > LANES:
        last = found[-1].attempt.rung
        shown = [rung for rung in order if rung != last][: LANES - 1]
        shown = [rung for rung in order if rung in shown or rung == last]
    labels = labels_of(walked)
    lanes = tuple(
        Lane(
            labels[rung],
            _words(by_rung[rung]),
            tuple(
                Bar(at(begun), at(ended), style, word, thick)
                for row in by_rung[rung]
                for begun, ended, style, word, thick in _bars(row)
            ),
        )
        for rung in shown
    )
    bands = tuple((at(one.begun), at(one.ended), "waited") for one in walked.waits)
    notes = ["Rehearsal, simulated"] if walked.simulated else []
    notes.append(f"{len(found)} attempt{'' if len(found) == 1 else 's'} on {len(order)} rung"
                 f"{'' if len(order) == 1 else 's'}, {duration(walked.took)}")  # fmt: skip
    if bands:
        notes.append("shaded: waiting")
    if any(bar.thick for lane in lanes for bar in lane.bars):
        notes.append("thick: a machine")
    if hidden := len(order) - len(shown):
        notes.append(f"{hidden} further rungs in the table")
    said = "; ".join(f"{lane.label}: {lane.words}" for lane in lanes)
    return Chart(
        slug="walk",
        title=f"The walk of stack {walked.stack}",
        subtitle="; ".join(notes),
        description=f"{headline(walked)} A lane for each rung that was tried, in the ladder's order. {said}.",
        x_label=f"{unit} since {start:%Y-%m-%d %H:%M} UTC",
        lanes=lanes,
        x_end=total / size,
        bands=bands,
    )


def _bars(row: Row) -> list[tuple[datetime, datetime, int, str, bool]]:
    """Begin, end, style, word and thickness: an attempt is thin while a machine is looked for, and thick while it has
    one. Where nobody knows since when, all of it is thin.
    """
    style, ended, obtained = _STYLES[row.came], row.when + row.took, row.attempt.obtained
    if obtained is None or obtained >= ended:
        return [(row.when, ended, style, row.came, False)]
    held = (max(obtained, row.when), ended, style, row.came, True)
    return [(row.when, obtained, style, row.came, False), held] if obtained > row.when else [held]


def _words(found: list[Row]) -> str:
    """``3× capacity, won``, in the order in which they came up first."""
    counts = Counter(row.came for row in found)
    return ", ".join(f"{count}× {word}" if count > 1 else word for word, count in counts.items())
