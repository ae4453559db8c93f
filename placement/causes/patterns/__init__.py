"""The table of patterns: how a cloud's words become a cause.

Order matters, and only where two matches overlap: the first row wins. So what speaks of quotas without being one (rate
limits) stands before quotas, what says "not supported" under a stock-out's code before stock-outs, and a waiting queue
before all. Which of several errors of one text decides is the classifier's matter.
"""

from __future__ import annotations

from functools import cache

from placement.causes.patterns import amazon, containers, google, gpubench
from placement.causes.patterns.model import EXPLAINED_BY, STEM, Pattern, Says, key

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

Row = tuple[str, int, tuple[bool, bool] | None]
"""A literal, the number of a pattern, and whether a word begins and ends with the literal; None: it's only a needle."""

_NO_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha()}


@cache
def _index() -> tuple[dict[str, tuple[Row, ...]], dict[str, tuple[Row, ...]]]:
    """By whole words, and by words' beginnings."""
    found: dict[str, list[Row]] = {}
    for number, pattern in enumerate(TABLE):
        for literal, begins, ends in pattern.literals:
            found.setdefault(str(key(literal, ends)), []).append((literal, number, (begins, ends)))
        for needle in pattern.own_needles if pattern.has_regex else ():
            found.setdefault(str(key(needle)), []).append((needle, number, None))
    whole = {word: tuple(rows) for word, rows in found.items() if not word.endswith("-")}
    return whole, {word[:-1]: tuple(rows) for word, rows in found.items() if word.endswith("-")}


def matches(small: str) -> list[tuple[Pattern, int, int]]:
    """Where rows match a folded text in lower case, in the order of the table.

    A dictionary of words finds the literals that may be in it: several times faster than to look for each of some 600.
    """
    whole, stems = _index()
    words = set(small.translate(_NO_LETTERS).split())
    rows = [row for word in whole.keys() & words for row in whole[word]]
    rows += [row for stem in stems.keys() & {word[:STEM] for word in words} for row in stems[stem]]
    found: list[tuple[int, int, int]] = []
    searched: set[int] = set()
    for literal, number, bounds in rows:
        at = small.find(literal)
        if at < 0:
            continue
        if bounds is None:
            searched.add(number)
            continue
        begins, ends = bounds
        while at >= 0:
            end = at + len(literal)
            if not ((begins and at and _in_word(small[at - 1])) or (ends and _in_word(small[end : end + 1]))):
                found.append((number, at, end))
            at = small.find(literal, end)
    for number in searched:
        regex = TABLE[number].compiled
        if regex is not None:
            found += [(number, *match.span()) for match in regex.finditer(small)]
    found.sort()
    return [(TABLE[number], start, end) for number, start, end in found]


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def as_markdown() -> str:
    """The table for people: one row for each name and cause, in order."""
    rows: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for pattern in TABLE:
        entry = rows.setdefault((pattern.name, str(pattern.cause or "none")), (pattern.scope, []))
        entry[1].extend(s for s in pattern.source.split("; ") if s not in entry[1])
    lines = ["| pattern | cause | scope | read in |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {cause} | {scope} | {'; '.join(read)} |" for (name, cause), (scope, read) in rows.items()]
    return "\n".join(lines) + "\n"


__all__ = ["EXPLAINED_BY", "TABLE", "Pattern", "Says", "as_markdown", "matches"]
