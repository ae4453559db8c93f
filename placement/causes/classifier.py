"""From a text to a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from placement.causes.facts import Facts, Places, permission, principal, quota, region_of
from placement.causes.folding import fold, lower, unbroken
from placement.causes.model import Cause, Failure, Scope, Where
from placement.causes.patterns import Match, Pattern, Says, matches

_NEAR = 700
_NEAR_REFUSAL = 300
"""Characters between a code and the sentence that explains it: gcloud prints a page of links between the two. A refusal
is explained by what stands right beside it only: another error's quota, further on, must not make it walk on."""

DECIDES: tuple[Cause | None, ...] = (
    Cause.PERMISSION,
    Cause.IMAGE,
    Cause.BAD_REQUEST,
    Cause.WORKLOAD,
    Cause.NOT_OFFERED,
    Cause.QUOTA,
    Cause.CAPACITY,
    Cause.INTERRUPTED,
    Cause.UNKNOWN,
    Cause.TRANSIENT,
    None,
)
"""Which of several errors of one text decides, first to last.

First what only a person can mend: the walk must stop there, however many zones are sold out beside it. Then what walks
on, what lasts longest first: a zone that doesn't sell a shape keeps it for good, a quota until it changes, a stock-out
for minutes. Then what goes on in place. Waiting is no failure, so anything else comes before it.
"""

_PLACE_IN_ORDER = {cause: place for place, cause in enumerate(DECIDES)}

_OWN = re.compile(r"\bCause: (?P<cause>[a-z]+(?:-[a-z]+)?) \((?P<code>[^()\n]*)\): ?(?P<message>[^\n]*)")
_OWN_MEND = re.compile(r"^\s*Mend: (?P<mend>[^\n]*)", re.MULTILINE)
_CAUSES = frozenset(cause.value for cause in Cause)
_OWN_SCOPES = {
    Cause.CAPACITY: Scope.REGION,
    Cause.QUOTA: Scope.REGION,
    Cause.NOT_OFFERED: Scope.REGION,
    Cause.INTERRUPTED: Scope.ZONE,
    Cause.TRANSIENT: Scope.REGION,
}

# As clouds write them: ZONE_RESOURCE_POOL_EXHAUSTED, VcpuLimitExceeded, InvalidAMIID.NotFound
_CODE = re.compile(
    r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[A-Z][A-Za-z0-9]*[a-z][A-Z][A-Za-z0-9]*(?:\.[A-Z]\w*)*|"
    r"[A-Z]\w*\.[A-Z]\w*"
)
_IN_CODE = re.compile(r"[\w.]")
_BEGINS = re.compile(r"[\w.]*\Z")
_LONGEST_BEGINNING = 40

_REFUSED = frozenset({Cause.PERMISSION, Cause.IMAGE})
_ANYWHERE = Where()
_NO_FACTS = Facts()
_UNKNOWN_MEND = "No pattern fits this text: read it, and report it, so that one can be made."


@dataclass(slots=True)
class _Draft:
    """A failure while others may still be merged into it."""

    pattern: Pattern
    code: str
    facts: Facts
    zones: tuple[str, ...]
    hint: tuple[str, ...]


def classify(text: str, where: Where | None = None) -> Failure:
    """What a failure's text, or an API's answer, says. ``where``: what was tried, for what the text leaves out.

    Several errors in one text: that of the first cause in ``DECIDES`` is the failure, the rest are its ``others``. A
    sentence decides over codes that stand near it, and codes over what is wrapped around them ("Internal error",
    "timed out"): a stock-out within "Error waiting for …" is a stock-out. gpubench's own texts (``Cause: …``) say their
    cause themselves. What no pattern matches is UNKNOWN. Never raises.
    """
    where = where or _ANYWHERE
    own = _own(text, where)
    if own is not None:
        return own
    folded = fold(text)
    small = lower(folded)
    everything = matches(small)
    found = _deciding(everything)
    if "\n" in text and (joined := unbroken(text)) is not None:
        joined = fold(joined)
        more = matches(lower(joined))
        deciding = _deciding(more)
        if _telling(deciding) > _telling(found):
            folded, small, everything, found = joined, lower(joined), more, deciding
    if not found:
        return Failure(Cause.UNKNOWN, Scope.PROJECT, "unknown", text, _UNKNOWN_MEND, region=where.region)
    places = Places(small)
    drafts: list[_Draft] = []
    for match in sorted(found, key=_rank) if len(found) > 1 else found:
        draft = _draft(match, _code(match, everything, folded), found, folded, small, places, where)
        if not any(_merged(one, draft) for one in drafts):
            drafts.append(draft)
    others = [_failure(draft, text, where) for draft in drafts[1:]]
    return _failure(drafts[0], text, where, tuple(others))


def _rank(match: Match) -> tuple[int, Says, int]:
    return _PLACE_IN_ORDER[match.pattern.cause], match.pattern.says, match.start


def _telling(found: list[Match]) -> tuple[int, int, int]:
    says = [match.pattern.says for match in found]
    return says.count(Says.SENTENCE), says.count(Says.CODE), len(says)


def _deciding(found: list[Match]) -> list[Match]:
    """The matches that decide something: no overlaps, nothing that a neighbour explains."""
    if len(found) < 2:
        return found
    taken: list[Match] = []
    for match in found:
        _take(taken, match)
    sentences = [match for match in taken if match.pattern.says is Says.SENTENCE]
    if not sentences:
        return taken
    return [
        match
        for match in taken
        if match.pattern.says is not Says.CODE or not any(_explains(sentence, match) for sentence in sentences)
    ]


def _take(taken: list[Match], match: Match) -> None:
    for other in taken:
        if match.start < other.end and other.start < match.end and match.pattern.says is other.pattern.says:
            return
    taken.append(match)


def _explains(sentence: Match, code: Match) -> bool:
    near = _NEAR_REFUSAL if code.pattern.cause is Cause.PERMISSION else _NEAR
    return (
        sentence.pattern.cause in code.pattern.explained_by
        and sentence.start - near < code.end
        and code.start - near < sentence.end
    )


def _failure(draft: _Draft, text: str, where: Where, others: tuple[Failure, ...] = ()) -> Failure:
    pattern, facts = draft.pattern, draft.facts
    return Failure(
        cause=pattern.cause,
        scope=pattern.scope,
        code=draft.code,
        text=text,
        mend=pattern.mend if isinstance(pattern.mend, str) else pattern.mend(facts, where),
        zones=draft.zones,
        # A refused pull names the region of the registry, and a refused call at times none.
        region=(where.region or facts.region) if pattern.cause in _REFUSED else (facts.region or where.region),
        hint=draft.hint,
        quota=facts.quota,
        principal=facts.principal,
        permission=facts.permission,
        others=others,
        source=pattern.source,
    )


def _code(match: Match, everything: list[Match], folded: str) -> str:
    """The code that the text itself gives the error, in its own case; else the row's name."""
    name = match.pattern.name
    code = _spelled(match, folded)
    if match.pattern.says is not Says.SENTENCE or len(everything) == 1:
        return code or name
    codes = [
        other
        for other in everything
        if other.pattern.says is Says.CODE and other.pattern.cause is match.pattern.cause and _explains(match, other)
    ]
    given = [one for one in (code, *(_spelled(other, folded) for other in codes)) if one]
    return next((one for one in given if one.startswith(name)), given[0] if given else name)


def _spelled(match: Match, folded: str) -> str | None:
    """The word that matches, if it is a code."""
    word = folded[match.start : match.end]
    if " " in word or word.islower():
        return None
    begins = match.start
    if begins and _IN_CODE.match(folded, begins - 1):
        before = _BEGINS.search(folded, max(0, begins - _LONGEST_BEGINNING), begins)
        begins = before.start() if before else begins
    code = _CODE.match(folded, begins)
    return code[0] if code and code.end() >= match.end else None


def _draft(
    match: Match, code: str, found: list[Match], folded: str, small: str, places: Places, where: Where
) -> _Draft:
    """From the piece of text around a match, as far as the next error's."""
    pattern = match.pattern
    cause = pattern.cause
    start, end = 0, len(small)
    for other in found if len(found) > 1 else ():
        if other.pattern.cause is not cause:
            if other.end <= match.start:
                start = max(start, other.end)
            if other.start >= match.end:
                end = min(end, other.start)
    zones, hint, region = places.within(start, end)
    if len(zones) > 1:
        # The next error's zone may stand before its sentence, and so in this piece: what is nearest is this one's.
        last = max([other.end for other in found if other.end <= match.start], default=start)
        near = places.within(match.start, match.end)[0] or places.within(last, match.start)[0]
        zones = tuple(zone for zone in near if zone in zones) or zones
        regions = {region_of(zone) for zone in zones}
        region = regions.pop() if len(regions) == 1 else region
    if cause is Cause.QUOTA:
        # A text of several quotas names each behind its sentence's beginning.
        piece, small_piece = folded[match.start : end], small[match.start : end]
        said = quota(piece, small_piece)
        region = region or (said.where if said and said.where != "global" else None)
        facts = Facts(zones, region, said, folded=piece, small=small_piece)
    elif cause in _REFUSED:
        piece, small_piece = folded[start:end], small[start:end]
        who, what = principal(piece, small_piece), permission(piece, small_piece)
        facts = Facts(zones, region, None, who, what, piece, small_piece)
    else:
        facts = Facts(zones, region) if zones or region else _NO_FACTS
    if not zones and pattern.scope is Scope.ZONE and len(where.zones) == 1:
        zones = where.zones
    # Zones that are recommended for another cause, because they sell a shape, aren't known to have it.
    return _Draft(pattern, code, facts, zones, hint if cause is Cause.CAPACITY else ())


def _merged(one: _Draft, other: _Draft) -> bool:
    """Whether the second is the same error, of the same or of further zones, and is now in the first."""
    if one.pattern.cause is not other.pattern.cause:
        return False
    if one.pattern.name == other.pattern.name and one.pattern.scope is Scope.ZONE:
        one.zones = zones = tuple(dict.fromkeys((*one.zones, *other.zones)))
        one.hint = tuple(zone for zone in dict.fromkeys((*one.hint, *other.hint)) if zone not in zones)
        return True
    return (
        set(other.zones) <= set(one.zones)
        and other.facts.quota in (None, one.facts.quota)
        and other.facts.permission in (None, one.facts.permission)
    )


def _own(text: str, where: Where) -> Failure | None:
    """gpubench's own text of a run that failed: see `benchmark_job.run_resource`."""
    match = _OWN.search(text) if "Cause: " in text else None
    if match is not None and match["cause"] in _CAUSES:
        cause = Cause(match["cause"])
        mend = _OWN_MEND.search(text, match.end())
        folded = fold(match["message"])
        small = lower(folded)
        zones, hint, region = Places(small).within(0, len(small))
        return Failure(
            cause=cause,
            scope=_OWN_SCOPES.get(cause, Scope.PROJECT),
            code=match["code"],
            text=text,
            mend=mend["mend"].strip() if mend else "",
            zones=zones,
            region=region or where.region,
            hint=hint,
            quota=quota(folded, small) if cause is Cause.QUOTA else None,
            source="gpubench",
        )
    return None
