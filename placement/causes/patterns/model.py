"""What a row of the table of patterns is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from placement.causes.facts import Facts
from placement.causes.model import Cause, Scope, Where

STEM = 6
_SHORTEST = 3  # shorter words are in every text
_WORD = re.compile(r"[a-z]+")
_APART = 0xE000  # where escaped letters wait, in the private use area
_META = frozenset(".^$*+?{}[]\\|()")

Mend = str | Callable[[Facts, Where], str]


class Says(IntEnum):
    """How much a match tells. A sentence explains the code that stands beside it, and both what is wrapped around."""

    SENTENCE = 0  # the reason itself: "does not have enough resources available to fulfill the request"
    CODE = 1  # a code or a status: right, unless a sentence beside it says something else
    WRAPPING = 2  # what is said of many reasons ("Internal error"): counts only where nothing else is found


EXPLAINED_BY: dict[Cause | None, frozenset[Cause | None]] = {
    # A stock-out's code also stands over a shape that isn't sold, over a flex-start request that only waits, and
    # scripts print their own guess ("no more capacity") after a quota's text.
    Cause.CAPACITY: frozenset({Cause.CAPACITY, Cause.NOT_OFFERED, Cause.QUOTA, None}),
    # GKE's 403 may hold a quota, Compute Engine's a rate limit; a registry's 403 a repository that isn't there.
    Cause.PERMISSION: frozenset({Cause.PERMISSION, Cause.QUOTA, Cause.TRANSIENT, Cause.IMAGE, Cause.UNKNOWN}),
    Cause.QUOTA: frozenset({Cause.QUOTA, Cause.CAPACITY, Cause.TRANSIENT, Cause.UNKNOWN}),
}
"""Of the codes of a cause: the causes whose sentences explain them away. Never capacity for permission."""


@dataclass(frozen=True)
class Pattern:
    """One row.

    ``name``: the cloud's own code where there is one. ``regex`` is matched on folded text: lower case, one blank for
    any run of blanks and line breaks, every quote a ``'``, no escapes (`folding.fold`). ``needles``: literals of which
    one is, where a word begins, in every text that the regex matches by other than its literal alternatives.
    ``cause`` None: no failure. ``source``: where it was read.
    """

    name: str
    cause: Cause | None
    scope: Scope
    regex: str
    source: str
    needles: tuple[str, ...] = ()
    mend: Mend = ""
    says: Says = Says.SENTENCE

    @cached_property
    def compiled(self) -> re.Pattern[str] | None:
        """Those of the regex's alternatives that aren't literals; None: all are. Compiled when it is first needed."""
        rest = [one for one in alternatives(self.regex) if _literal(one) is None]
        return re.compile("|".join(rest)) if rest else None

    @cached_property
    def literals(self) -> tuple[tuple[str, bool, bool], ...]:
        """The regex's alternatives that are literals, and whether a word must begin and end with each."""
        found = [_literal(one) for one in alternatives(self.regex)]
        return tuple(one for one in found if one is not None)

    @property
    def has_regex(self) -> bool:
        """Whether not all alternatives are literals."""
        return any(_literal(one) is None for one in alternatives(self.regex))

    @cached_property
    def own_needles(self) -> tuple[str, ...]:
        """The needles that may lead to a match of ``compiled``, and not only of a literal."""
        rest = "|".join(one for one in alternatives(self.regex) if _literal(one) is None)
        return tuple(
            needle for needle in self.needles if needle in rest or not any(needle in one for one, _, _ in self.literals)
        )

    @property
    def explained_by(self) -> frozenset[Cause | None]:
        """Causes of sentences that make this code say nothing of its own."""
        if self.cause in EXPLAINED_BY:
            return EXPLAINED_BY[self.cause]
        return frozenset({None, *Cause})


def alternatives(regex: str) -> list[str]:
    """The alternatives of a regex at its top level."""
    found, depth, start, at = [], 0, 0, 0
    while at < len(regex):
        letter = regex[at]
        if letter == "\\":
            at += 1
        elif letter == "[":
            at = regex.index("]", at + 2)
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "|" and not depth:
            found.append(regex[start:at])
            start = at + 1
        at += 1
    return [*found, regex[start:]]


def key(needle: str, ends: bool = False) -> str | None:
    """What a needle is looked up by: its longest whole word, or else the beginning of its last word, with a ``-``.

    ``ends``: a word ends where the needle does. None for a needle that has neither.
    """
    words = [(match[0], match.end() == len(needle) and not ends) for match in _WORD.finditer(needle)]
    whole = [word for word, last in words if not last and len(word) >= _SHORTEST]
    if whole:
        return max(whole, key=len)
    return f"{words[-1][0][:STEM]}-" if words and words[-1][1] and len(words[-1][0]) >= STEM else None


def _literal(regex: str) -> tuple[str, bool, bool] | None:
    """An alternative's text, and whether it has word boundaries, if it is nothing but that and can be looked up."""
    begins, ends = regex.startswith(r"\b"), regex.endswith(r"\b")
    text = regex.removeprefix(r"\b").removesuffix(r"\b")
    text = re.sub(r"\\([.()])", lambda match: chr(ord(match[1]) + _APART), text)
    if _META & set(text):
        return None
    text = "".join(chr(ord(letter) - _APART) if ord(letter) > _APART else letter for letter in text)
    return None if key(text, ends) is None else (text, begins, ends)
