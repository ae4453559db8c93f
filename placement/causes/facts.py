"""Facts that a folded text holds beside its cause: zones, regions, quotas, principals, permissions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from placement.causes.model import QuotaFacts

_CONTINENT = (
    r"(?:us|europe|eu|asia|ap|af|africa|australia|ca|cn|il|me|mx|northamerica|sa|southamerica)(?:-gov|-iso[a-z]?)?"
)
_LONGEST_CONTINENT = 20
_COMPASS = re.compile("-(?:central|east|west|north|south)")  # in any region's name, and in little else
_BEFORE_COMPASS = re.compile(rf"(?<![\w-]){_CONTINENT}\Z")  # a machine's or a pool's name may hold a zone's
_PLACE = re.compile(
    rf"{_CONTINENT}-(?:north|south)?(?:east|west|central|north|south)"
    r"(?:\d{1,2}(?P<google>-[a-z])?|-\d(?P<amazon>(?:-[a-z]{3}-\d)?[a-z])?)(?![\w-])"
)
_ZONE_ID = re.compile(r"(?<![\w-])[a-z]{3,4}\d-az\d(?![\w-])")  # AWS's use1-az4
_HINT = re.compile(
    r"consider trying your request in the (?P<google>[^().]{3,200}?) zones?\b"
    r"|or choosing (?P<amazon>[a-z0-9, -]{5,200}(?:, and |\band )?[a-z0-9 -]*)"
    r"|zonesavailable'?: ?'?(?P<list>[a-z0-9, -]*)"
)
"""Karpenter for GCP and the public tickets of kubernetes/k8s.io#9834; EC2's sentence; errorInfo.metadatas."""

# Each with a literal that is in whatever it matches: without it, the regex isn't tried.
_QUOTAS = tuple(
    (needle, re.compile(regex))
    for needle, regex in (
        (
            "exceeded",
            r"quota (?:limit )?'(?P<metric>[^']{1,160})' (?:has been )?exceeded(?:\.? *limit: (?P<limit>\d+(?:\.\d+)?)"
            r"(?: (?:in (?:region|zone) (?P<where>[a-z0-9-]+)|(?P<all>globally)))?)?",
        ),
        (
            "request requires",
            r"resource:? '(?P<metric>[\w/.-]+)'[.:]? (?:the )?request requires '(?P<need>[\d.]+)'"
            r"(?: and is short '[\d.]+')?(?:.{1,40}?quota (?:of|is) '(?P<limit>[\d.]+)')?",
        ),
        ("resource", r"resource:? '(?P<metric>[\w/.-]+)'"),
        (" requested: ", r"\b(?P<metric>\w+per\w+) requested: (?P<need>\d+) allowed: (?P<limit>\d+)"),
        ("exceed quota limits", r"exceed quota limits: (?P<metric>[\w./-]*\w)"),
        ("vcpu limit", r"current vcpu limit of (?P<limit>\d+)"),
        ("quota metric", r"quota metric '(?P<metric>[^']+)'"),
        ("metric name", r"metric name = (?:[\w.]+/)?(?P<metric>\w+)"),
    )
)
_LIMIT_LINE = re.compile(r"\blimit = (\d+(?:\.\d+)?)")
_ID_LINE = re.compile(r"limit name = ([\w-]+)")
_WHERE_LINE = re.compile(r"dimensions = map\[[^\]]*?region:([a-z0-9-]+)")

_PERMISSIONS = tuple(
    (needle, re.compile(regex))
    for needle, regex in (
        ("required '", r"required '([a-z]\w*\.[\w.]+)' permission"),
        ("permission", r"permissions? '([a-z][\w-]*\.[\w.]+)' (?:denied|is required|required|missing)"),
        ("not authorized to", r"not authorized to perform:? ([a-z0-9-]+:[a-z*]+)"),
        ("allows the", r"no identity-based policy allows the ([a-z0-9-]+:[a-z*]+) action"),
        ("does not have", r"does not have(?: the)?(?: permissions?:?)? '?([a-z]\w*\.[\w.]+\.\w+)'?"),
        ("permission", r"permission(?:s|\(s\))?(?: for| to)?:? ?'?([a-z]\w*\.\w+\.\w+)'?"),
    )
)
_MAIL = r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}"
_PRINCIPALS = tuple(
    (needle, re.compile(regex))
    for needle, regex in (
        ("authenticated as", rf"authenticated as ({_MAIL})"),
        ("arn:aws", r"user:? (arn:aws[\w-]*:[^\s,]+)"),
        ("user", rf"user:? '?({_MAIL})'?"),
        ("service agent", rf"service agent,? '?({_MAIL})"),
        ("@", rf"(?<![\w.+-])({_MAIL})'? (?:does not have|lacks|must have|is not authorized)"),
        ("principalemail", rf"principalemail'?: '?({_MAIL})"),
    )
)
_ACCOUNT = re.compile(rf"service account:? \[?'?(?:projects/[\w:.-]+/serviceaccounts/)?({_MAIL})")
_ROBOT = re.compile(r"(?<![\w.+-])([\w.+-]{1,64}@[\w.-]+\.gserviceaccount\.com)")
_REPOSITORY = re.compile(r"projects/([\w:.-]+)/locations/([\w-]+)/repositories/([\w.-]+)")
_CONSTRAINT = re.compile(r"constraints?/([a-z][\w.]*\w)")
_SERVICE = re.compile(r"\b([a-z][\w-]*\.googleapis\.com)\b")
_ENCODED = re.compile(r"encoded authorization failure message: ?([\w-]{20,})")
_NUMBER_AGENT = re.compile(r"projects?[ /#](?:number )?'?(\d{6,})")
_HOSTS = (".pkg.dev", "gcr.io", ".dkr.ecr.", "ghcr.io", "docker.io")
_ASKED = re.compile(r"https?://([a-z0-9.-]+(?::\d+)?)/v2/")
_PULLED = re.compile(
    r"(?:pull access denied for|failed to resolve reference|failed to pull image|pulling image|\bpull of) "
    r"'?([a-z0-9][\w./:@-]*)"
)
_IMAGE = re.compile(
    r"(?<![\w.-])(?:[a-z0-9.-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io|\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com|ghcr\.io|docker\.io)"
    r"/[\w./-]*\w(?::[\w.-]*\w)?(?:@sha256:[0-9a-f]+)?"
)


@dataclass(frozen=True)
class Facts:
    """What a piece of text says. ``zones`` failed, in the text's order, once. What few mends ask for is read then."""

    zones: tuple[str, ...] = ()
    region: str | None = None
    quota: QuotaFacts | None = None
    principal: str | None = None
    permission: str | None = None
    folded: str = ""  # what the rest is read from
    small: str = ""  # the same in lower case

    @cached_property
    def quota_id(self) -> str | None:
        """The id that a quota is asked for by, which Compute Engine prints below the error."""
        return _first((("limit name", _ID_LINE),), self.folded, self.small)

    @cached_property
    def account(self) -> str | None:
        """A service account that the text names as such: somebody acts as it."""
        return _first((("service account", _ACCOUNT),), self.folded, self.small)

    @cached_property
    def robot(self) -> str | None:
        """The first service account, however it is named."""
        return _first((("gserviceaccount.com", _ROBOT),), self.folded, self.small)

    @cached_property
    def registry(self) -> str | None:
        """The host of the registry that the image is in; Docker Hub's for a name without one."""
        if self.image:
            return self.image.partition("/")[0].lower()
        if match := _ASKED.search(self.small):
            return match[1]
        if match := _PULLED.search(self.small):
            first, slash, _ = match[1].partition("/")
            return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"
        return None

    @cached_property
    def repository(self) -> tuple[str, str, str] | None:
        """Project, location and name of an Artifact Registry repository."""
        match = _REPOSITORY.search(self.small)
        return (match[1], match[2], match[3].rstrip(".")) if match else None

    @cached_property
    def constraint(self) -> str | None:
        """Of an organization policy, in its own case."""
        match = _CONSTRAINT.search(self.small)
        return self.folded[slice(*match.span(1))] if match else None

    @cached_property
    def service(self) -> str | None:
        """A Google API's name."""
        match = _SERVICE.search(self.small) if ".googleapis.com" in self.small else None
        return match[1] if match else None

    @cached_property
    def project(self) -> str | None:
        """A Google project's number."""
        match = _NUMBER_AGENT.search(self.small)
        return match[1] if match else None

    @cached_property
    def encoded(self) -> str | None:
        """EC2's encoded authorization message, which only the account can decode."""
        match = _ENCODED.search(self.small)
        return self.folded[slice(*match.span(1))] if match else None

    @cached_property
    def image(self) -> str | None:
        """The first container image."""
        match = _IMAGE.search(self.small) if any(host in self.small for host in _HOSTS) else None
        return self.folded[slice(*match.span())] if match else None


class _Place(NamedTuple):
    start: int
    end: int
    name: str
    region: str | None  # None: a zone's id doesn't spell it out
    is_zone: bool


class Places:
    """The zones and regions of a folded text in lower case, read once for all the errors in it."""

    __slots__ = ("_hints", "_named")

    def __init__(self, small: str) -> None:
        self._hints: list[tuple[int, int, list[str]]] = []
        if "consider trying" in small or "or choosing" in small or "zonesavailable" in small:
            for match in _HINT.finditer(small):
                names = [place.name for place in _named(match[0]) if place.is_zone]
                self._hints.append((*match.span(), names))
        self._named = _named(small)
        if self._hints:
            self._named = [place for place in self._named if not self._hinted(place)]

    def within(self, start: int, end: int) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
        """Zones that failed, zones named as having capacity, and the region, of a piece; each in order, once."""
        if not self._named and not self._hints:
            return (), (), None
        hint = dict.fromkeys(name for first, _, names in self._hints if start <= first < end for name in names)
        named = [place for place in self._named if start <= place.start and place.end <= end]
        zones = dict.fromkeys(place.name for place in named if place.is_zone)
        regions = {place.region for place in named if place.is_zone and place.region}
        regions = regions or {place.region for place in named if place.region}
        return (
            tuple(zone for zone in zones if zone not in hint),
            tuple(hint),
            regions.pop() if len(regions) == 1 else None,
        )

    def _hinted(self, place: _Place) -> bool:
        return any(first <= place.start < last for first, last, _ in self._hints)


def _named(small: str) -> list[_Place]:
    """A compass's point is looked for, and what is around it read then: of most texts, that is nothing."""
    found: list[_Place] = []
    last = 0
    for compass in _COMPASS.finditer(small):
        at = compass.start()
        before = _BEFORE_COMPASS.search(small, max(last, at - _LONGEST_CONTINENT), at)
        if before is not None and (match := _PLACE.match(small, before.start())):
            last = match.end()
            suffix = match["google"] or match["amazon"]
            region = match[0].removesuffix(suffix) if suffix else match[0]
            found.append(_Place(match.start(), last, match[0], region, suffix is not None))
    if "-az" in small:
        found += [_Place(*match.span(), match[0], None, True) for match in _ZONE_ID.finditer(small)]
    return found


def region_of(zone: str) -> str | None:
    """The region of a zone's name; None for a zone's id, which doesn't spell it out."""
    match = _PLACE.match(zone)
    return zone.removesuffix(match["google"] or match["amazon"] or "") if match else None


def quota(folded: str, small: str) -> QuotaFacts | None:
    """What it says of a quota; None if nothing."""
    first: re.Match[str] | None = None
    for needle, regex in _QUOTAS:
        if needle in small and (match := regex.search(small)) and (first is None or match.start() < first.start()):
            first = match
    if first is None:
        return None
    found = first.groupdict()
    metric = folded[slice(*first.span("metric"))] if found.get("metric") else None
    limit, need = _number(found.get("limit")), _number(found.get("need"))
    where = found.get("where")
    if found.get("all") or (metric and metric.upper().endswith(("_ALL_REGIONS", "-ALL-REGIONS"))):
        where = "global"
    if limit is None and "limit = " in small and (line := _LIMIT_LINE.search(small)):
        limit = _number(line[1])
    if where is None and (line := _WHERE_LINE.search(small)):
        where = line[1]
    return QuotaFacts(metric, limit, need, where)


def permission(folded: str, small: str) -> str | None:
    """The first permission that is missing, in the text's own case."""
    return _first(_PERMISSIONS, folded, small)


def principal(folded: str, small: str) -> str | None:
    """Who lacks it, if the text says: an e-mail or an ARN."""
    found = _first(_PRINCIPALS, folded, small)
    return found.rstrip(".'") if found else None


def _first(regexes: tuple[tuple[str, re.Pattern[str]], ...], folded: str, small: str) -> str | None:
    for needle, regex in regexes:
        if needle in small and (match := regex.search(small)):
            return folded[slice(*match.span(1))].rstrip(".")
    return None


def _number(text: str | None) -> float | None:
    try:
        return float(text.rstrip(".")) if text else None
    except ValueError:
        return None
