"""What a row of the table of patterns is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from placement.causes.facts import Facts
from placement.causes.model import Cause, Scope, Where

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
_EVERYTHING: frozenset[Cause | None] = frozenset({None, *Cause})


@dataclass(frozen=True)
class Pattern:
    """One row.

    ``name``: the cloud's own code where there is one. One of the ``regexes`` is enough: they are matched on folded
    text, which is lower case, with one blank for any run of blanks and line breaks, ``'`` for every quote, and no
    escapes (`folding.fold`). They are ASCII, and of the syntax that RE2 and Python share: no look-around, no
    back-references. ``unless``: a regex; a match that overlaps one of its matches is none. ``cause`` None: no failure.
    ``source``: where it was read.
    """

    name: str
    cause: Cause | None
    scope: Scope
    regexes: tuple[str, ...]
    source: str
    mend: Mend = ""
    says: Says = Says.SENTENCE
    unless: str = ""

    @property
    def explained_by(self) -> frozenset[Cause | None]:
        """Causes of sentences that make this code say nothing of its own."""
        return EXPLAINED_BY.get(self.cause, _EVERYTHING)
