"""The table of patterns: how a cloud's words become a cause.

Order matters, and only where two matches overlap: the first row wins. So what speaks of quotas without being one (rate
limits) stands before quotas, what says "not supported" under a stock-out's code before stock-outs, and a waiting queue
before all. Which of several errors of one text decides is the classifier's matter.
"""

from __future__ import annotations

from functools import cache

from placement.causes.patterns import amazon, containers, google, gpubench
from placement.causes.patterns.matching import Match, Table
from placement.causes.patterns.model import EXPLAINED_BY, Pattern, Says

TABLE: tuple[Pattern, ...] = (
    *google.WAITING,
    *amazon.WAITING,
    *containers.OTHERS,
    *google.RATE_LIMITS,
    *amazon.RATE_LIMITS,
    *containers.PULLS[:1],
    *google.RIGHTS,
    *amazon.RIGHTS,
    *amazon.IMAGES,
    *containers.PULLS[1:],
    *google.OFFERS,
    *amazon.OFFERS,
    *google.REQUESTS,
    *amazon.REQUESTS,
    *google.QUOTAS,
    *amazon.QUOTAS,
    *gpubench.INTERRUPTIONS,
    *google.PREEMPTIONS,
    *amazon.INTERRUPTIONS,
    *gpubench.STOCK,
    *google.STOCK,
    *amazon.STOCK,
    *containers.ENDS,
    *google.PASSING,
    *amazon.PASSING,
)


def matches(small: str) -> list[Match]:
    """Where rows match a folded text in lower case, in the order of the table."""
    return _compiled().matches(small)


@cache
def _compiled() -> Table:
    return Table(TABLE)  # when the first text is classified: that takes longer than to match a thousand


def as_markdown() -> str:
    """The table for people: one row for each name and cause, in order."""
    rows: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for pattern in TABLE:
        entry = rows.setdefault((pattern.name, str(pattern.cause or "none")), (pattern.scope, []))
        entry[1].extend(s for s in pattern.source.split("; ") if s not in entry[1])
    lines = ["| pattern | cause | scope | read in |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {cause} | {scope} | {'; '.join(read)} |" for (name, cause), (scope, read) in rows.items()]
    return "\n".join(lines) + "\n"


__all__ = ["EXPLAINED_BY", "TABLE", "Match", "Pattern", "Says", "as_markdown", "matches"]
