"""Which rows of the table match a text, and where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

import re2

from placement.causes.patterns.model import Pattern, Says

_IN_ORDER = itemgetter(0, 1, 2)


class Match(NamedTuple):
    """Where a row matches a text."""

    pattern: Pattern
    start: int
    end: int


_Regex = tuple[int, Pattern, re.Pattern[str], bool]  # the row's number, the row, a regex, whether it only wraps
_Found = tuple[int, int, int, Pattern]  # the row's number, where it matches, and the row


class Table:
    """Rows, and a filter that knows from the literals in a text which of all their regexes may match it.

    RE2 makes the filter, and Python's own regexes find the places: each of the few that are left begins with a literal,
    as a rule, and needs no automaton that has fallen out of the processor's cache since the last text. Raises
    `re2.error` for a regex that RE2 doesn't take.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._filter = re2.Filter()
        self._regexes: list[_Regex] = []
        options = re2.Options()
        options.log_errors = False
        for number, pattern in enumerate(patterns):
            for regex in pattern.regexes:
                self._filter.Add(regex.encode(), options)
                wraps = pattern.says is Says.WRAPPING
                self._regexes.append((number, pattern, re.compile(regex, re.ASCII), wraps))
        self._filter.Compile()
        self._unless = {
            number: re.compile(pattern.unless, re.ASCII) for number, pattern in enumerate(patterns) if pattern.unless
        }

    def matches(self, small: str) -> list[Match]:
        """Where rows match a folded text in lower case, in the order of the rows, and of the text.

        What is said of many reasons counts for nothing beside anything else, and is then not looked for.
        """
        text = small.encode("ascii", "replace")  # the filter looks at bytes; what isn't ASCII is in no regex
        near = [self._regexes[one] for one in self._filter.Match(text, potential=True) or ()]
        telling = [row for row in near if not row[3]]
        found = self._found(telling, small) if telling else []
        if not found and len(telling) < len(near):
            found = self._found([row for row in near if row[3]], small)
        return [Match(pattern, start, end) for _, start, end, pattern in found]

    def _found(self, near: Iterable[_Regex], small: str) -> list[_Found]:
        """In order, without what a row's `unless` takes back."""
        found = [
            (number, *match.span(), pattern) for number, pattern, regex, _ in near for match in regex.finditer(small)
        ]
        if len(found) > 1:
            found.sort(key=_IN_ORDER)
        numbers = {one[0] for one in found}
        if self._unless.keys().isdisjoint(numbers):
            return found
        for number in self._unless.keys() & numbers:
            taken = [match.span() for match in self._unless[number].finditer(small)]
            found = [
                one
                for one in found
                if one[0] != number or not any(one[1] < last and first < one[2] for first, last in taken)
            ]
        return found
