"""From a text to a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from placement.causes import facts as reading
from placement.causes.facts import Facts
from placement.causes.folding import fold, lower, unbroken
from placement.causes.model import Cause, Failure, Scope, Where
from placement.causes.patterns import Pattern, Says, matches

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

_ANYWHERE = frozenset({Cause.PERMISSION, Cause.IMAGE})
_UNKNOWN_MEND = "No pattern fits this text: read it, and report it, so that one can be made."


@dataclass(frozen=True)
class _Match:
    pattern: Pattern
    start: int
    end: int


def classify(text: str, where: Where | None = None) -> Failure:
    """What a failure's text, or an API's answer, says. ``where``: what was tried, for what the text leaves out.

    Several errors in one text: that of the first cause in ``DECIDES`` is the failure, the rest are its ``others``. A
    sentence decides over codes that stand near it, and codes over what is wrapped around them ("Internal error",
    "timed out"): a stock-out within "Error waiting for …" is a stock-out. gpubench's own texts (``Cause: …``) say their
    cause themselves. What no pattern matches is UNKNOWN. Never raises.
    """
    where = where or Where()
    own = _own(text, where)
    if own is not None:
        return own
    folded = fold(text)
    found = _matches(lower(folded))
    if "\n" in text and (joined := unbroken(text)) is not None:
        joined = fold(joined)
        if _telling(more := _matches(lower(joined))) > _telling(found):
            folded, found = joined, more
    if not found:
        return Failure(Cause.UNKNOWN, Scope.PROJECT, "unknown", text, _UNKNOWN_MEND, region=where.region)
    small = lower(folded)
    order = sorted(found, key=lambda match: (DECIDES.index(match.pattern.cause), match.pattern.says, match.start))
    failures: list[Failure] = []
    for match in order:
        failure = _failure(match, found, folded, small, text, where)
        for number, other in enumerate(failures):
            if (merged := _merged(other, failure)) is not None:
                failures[number] = merged
                break
        else:
            failures.append(failure)
    return replace(failures[0], others=tuple(failures[1:])) if len(failures) > 1 else failures[0]


def _telling(found: list[_Match]) -> tuple[int, int]:
    says = [match.pattern.says for match in found]
    return says.count(Says.SENTENCE), says.count(Says.CODE)


def _matches(small: str) -> list[_Match]:
    """What decides something: no overlaps, nothing that a neighbour explains."""
    taken: list[_Match] = []
    for pattern, start, end in matches(small):
        _take(taken, _Match(pattern, start, end))
    sentences = [match for match in taken if match.pattern.says is Says.SENTENCE]
    telling = [
        match
        for match in taken
        if match.pattern.says is not Says.CODE or not any(_explains(sentence, match) for sentence in sentences)
    ]
    if any(match.pattern.says is not Says.WRAPPING for match in telling):
        telling = [match for match in telling if match.pattern.says is not Says.WRAPPING]
    return telling


def _take(taken: list[_Match], match: _Match) -> None:
    for other in taken:
        if match.start < other.end and other.start < match.end and match.pattern.says is other.pattern.says:
            return
    taken.append(match)


def _explains(sentence: _Match, code: _Match) -> bool:
    near = _NEAR_REFUSAL if code.pattern.cause is Cause.PERMISSION else _NEAR
    return (
        sentence.pattern.cause in code.pattern.explained_by
        and sentence.start - near < code.end
        and code.start - near < sentence.end
    )


def _failure(match: _Match, found: list[_Match], folded: str, small: str, text: str, where: Where) -> Failure:
    pattern = match.pattern
    facts = _facts(match, found, folded, small)
    zones = facts.zones
    if not zones and pattern.scope is Scope.ZONE and len(where.zones) == 1:
        zones = where.zones
    return Failure(
        cause=pattern.cause,
        scope=pattern.scope,
        code=pattern.name,
        text=text,
        mend=pattern.mend if isinstance(pattern.mend, str) else pattern.mend(facts, where),
        zones=zones,
        # A refused pull names the region of the registry, and a refused call at times none.
        region=(where.region or facts.region) if pattern.cause in _ANYWHERE else (facts.region or where.region),
        hint=facts.hint,
        quota=facts.quota,
        principal=facts.principal,
        permission=facts.permission,
        source=pattern.source,
    )


def _facts(match: _Match, found: list[_Match], folded: str, small: str) -> Facts:
    """From the piece of text around a match, as far as the next error's."""
    cause = match.pattern.cause
    others = [other for other in found if other.pattern.cause is not cause]
    start = max([other.end for other in others if other.end <= match.start], default=0)
    end = min([other.start for other in others if other.start >= match.end], default=len(small))
    piece, small_piece = folded[start:end], small[start:end]
    zones, hint, region = reading.places(small_piece)
    if len(zones) > 1:
        # The next error's zone may stand before its sentence, and so in this piece: what is nearest is this one's.
        last = max([other.end for other in found if other.end <= match.start], default=start)
        near = reading.places(small[match.start : match.end])[0] or reading.places(small[last : match.start])[0]
        zones = tuple(zone for zone in near if zone in zones) or zones
        regions = {reading.region_of(zone) for zone in zones}
        region = regions.pop() if len(regions) == 1 else region
    if cause is Cause.CAPACITY:
        return Facts(zones, hint, region)
    if cause is Cause.QUOTA:
        # A text of several quotas names each behind its sentence's beginning.
        piece, small_piece = folded[match.start : end], small[match.start : end]
        quota = reading.quota(piece, small_piece)
        region = region or (quota.where if quota and quota.where != "global" else None)
        return Facts(zones, (), region, quota, quota_id=reading.quota_id(piece, small_piece))
    if cause not in (Cause.PERMISSION, Cause.IMAGE):
        return Facts(zones, (), region)  # zones that are recommended because they sell it aren't known to have it
    return Facts(
        zones,
        (),
        region,
        account=reading.account(piece, small_piece),
        principal=reading.principal(piece, small_piece),
        permission=reading.permission(piece, small_piece),
        repository=reading.repository(small_piece),
        constraint=reading.constraint(piece, small_piece),
        service=reading.service(small_piece),
        project=reading.project_number(small_piece),
        encoded=reading.encoded(piece, small_piece),
        image=reading.image(piece, small_piece),
    )


def _merged(one: Failure, other: Failure) -> Failure | None:
    """Both in one, if the second is the same error, of the same or of further zones; else None."""
    if one.cause is not other.cause:
        return None
    if one.code == other.code and one.scope is Scope.ZONE:
        zones = tuple(dict.fromkeys((*one.zones, *other.zones)))
        hint = tuple(zone for zone in dict.fromkeys((*one.hint, *other.hint)) if zone not in zones)
        return replace(one, zones=zones, hint=hint)
    tells = (
        not set(other.zones) <= set(one.zones)
        or other.quota not in (None, one.quota)
        or other.permission not in (None, one.permission)
    )
    return None if tells else one


def _own(text: str, where: Where) -> Failure | None:
    """gpubench's own text of a run that failed: see `benchmark_job.run_resource`."""
    match = _OWN.search(text) if "Cause: " in text else None
    if match is not None and match["cause"] in _CAUSES:
        cause = Cause(match["cause"])
        mend = _OWN_MEND.search(text, match.end())
        folded = fold(match["message"])
        small = lower(folded)
        zones, hint, region = reading.places(small)
        return Failure(
            cause=cause,
            scope=_OWN_SCOPES.get(cause, Scope.PROJECT),
            code=match["code"],
            text=text,
            mend=mend["mend"].strip() if mend else "",
            zones=zones,
            region=region or where.region,
            hint=hint,
            quota=reading.quota(folded, small) if cause is Cause.QUOTA else None,
            source="gpubench",
        )
    return None
