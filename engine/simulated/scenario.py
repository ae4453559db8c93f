"""A scenario: what a simulated cloud has, refuses and takes, and when. ``docs/scenarios.md`` tells of every key.

A file is YAML; every mistake in it is told at once, with the key, the value, what is allowed and how to mend it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import catalog
from catalog import Purchase, Surface
from engine.simulated.grants import PERMISSIONS, PRINCIPALS, ROLES
from settings.mistakes import Mistakes, did_you_mean, one_of, shown, some_of

CLOUD_SURFACES = tuple(s for s in Surface if s != Surface.LOCAL)
PLENTY = 10**9
"""Stock, and limits of quotas, where a scenario says nothing."""

_FORBID = {"extra": "forbid", "strict": True}


class ScenarioError(Exception):
    """Everything that is wrong with a scenario, at once. ``source``: the file, or "command line"."""

    def __init__(self, mistakes: Iterable[str], source: str) -> None:
        self.mistakes, self.source = tuple(mistakes), source
        super().__init__(self.mistakes, source)

    def __str__(self) -> str:
        count = len(self.mistakes)
        head = f"{self.source}: {count} mistake{'' if count == 1 else 's'}"
        return "\n".join([head, *(f"  - {mistake}" for mistake in self.mistakes)])


@dataclass(frozen=True, kw_only=True)
class StockChange:
    """From ``after_minutes`` of simulated time on there are so many machines."""

    __pydantic_config__ = _FORBID
    after_minutes: float
    machines: int


@dataclass(frozen=True, kw_only=True)
class Matching:
    """What a rule is about. What isn't given matches everything."""

    __pydantic_config__ = _FORBID
    tier: str | None = None
    machine_type: str | None = None
    surface: str | None = None
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    purchases: tuple[str, ...] = ()

    def matches(
        self, tier: str, machine_type: str, surface: str, region: str, zone: str | None, purchase: str | None
    ) -> bool:
        """Whether it is about such a machine. A rule that names zones is not about surfaces without zones."""
        return (
            self.tier in (None, tier)
            and self.machine_type in (None, machine_type)
            and self.surface in (None, surface)
            and (not self.regions or region in self.regions)
            and (not self.zones or zone in self.zones)
            and (not self.purchases or purchase is None or purchase in self.purchases)
        )


@dataclass(frozen=True, kw_only=True)
class Stock(Matching):
    """``machines``: how many of all that it matches there are together, in each zone (each region of Cloud Run).

    Of several rules that match, the last one counts. ``hint``: a refusal names the zones that have capacity.
    ``advice``: what the cloud says of the odds.
    """

    machines: int
    changes: tuple[StockChange, ...] = ()
    hint: bool = False
    advice: Literal["right", "wrong", "none"] = "right"


@dataclass(frozen=True, kw_only=True)
class LimitChange:
    """From ``after_minutes`` of simulated time on the limit is another."""

    __pydantic_config__ = _FORBID
    after_minutes: float
    limit: float


@dataclass(frozen=True, kw_only=True)
class QuotaRule:
    """The limit of a quota, by its id (or metric), or by what takes of it (``tier``, ``purchases``, ``surface``).

    By id, ``limit`` and ``used`` are in the quota's own unit; by tier in GPUs (machines for tier ``cpu``). ``used``
    is by others. ``shown`` false: no preflight can see it. Of several rules for one quota, the last one counts.
    """

    __pydantic_config__ = _FORBID
    limit: float
    quota: str | None = None
    tier: str | None = None
    surface: str | None = None
    purchases: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    project: str | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)
    used: float = 0.0
    shown: bool = True
    changes: tuple[LimitChange, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Deny:
    """A permission, or all of a role, that a principal doesn't have; None: whoever needs it doesn't."""

    __pydantic_config__ = _FORBID
    permission: str | None = None
    role: str | None = None
    principal: str | None = None
    project: str | None = None
    until_minutes: float | None = None


@dataclass(frozen=True, kw_only=True)
class NotOffered(Matching):
    """What is not sold there, against the catalogue. ``disguised``: it is listed, and refused like a stock-out."""

    disguised: bool = False


@dataclass(frozen=True, kw_only=True)
class PriceRule(Matching):
    """USD an hour of one machine. Of several that match, the last one counts."""

    usd_per_hour: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds that each thing takes.

    ``cluster`` 360 (5 to 7 minutes), ``drivers`` 150 (2 to 3) and a pull of 12.4 GB in about 4 (``pull_per_gb`` 19)
    are the third incident's figures; Cloud Run's first request is under 11 s (the fifth). The others are of the order
    that the providers' own progress lines show, and were measured nowhere.
    """

    __pydantic_config__ = _FORBID
    ask: float = 1.0
    create: float = 5.0
    instance: float = 20.0
    group: float = 15.0
    refusal: float = 20.0
    cluster: float = 360.0
    node_pool: float = 90.0
    cloud_run: float = 10.0
    boot: float = 40.0
    drivers: float = 150.0
    pull_per_gb: float = 19.0
    update: float = 5.0
    delete: float = 15.0


@dataclass(frozen=True, kw_only=True)
class Interruption(Matching):
    """A machine that matches is taken away so long after it was granted; ``times`` in all, over all machines.

    Without ``purchases`` only spot machines are.
    """

    after_minutes: float
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class Flaky:
    """With this chance a request fails with the cloud's words for "try again"; at most so often in a row."""

    __pydantic_config__ = _FORBID
    probability: float
    at_most: int = 2
    operations: tuple[str, ...] = ("answer", "create", "update", "delete")


@dataclass(frozen=True, kw_only=True)
class LeftOver:
    """Somebody's service, outside the stack, that holds accelerators of a quota."""

    __pydantic_config__ = _FORBID
    surface: str
    name: str
    region: str
    tier: str
    gpus: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Image:
    """``gb``: what a machine pulls. ``missing``: the registry doesn't have it."""

    __pydantic_config__ = _FORBID
    gb: float = 12.4
    missing: bool = False


@dataclass(frozen=True, kw_only=True)
class Fails:
    """How the benchmark ends instead of with results. ``times``: how often before it succeeds; None: always."""

    __pydantic_config__ = _FORBID
    cause: Literal["workload", "interrupted"] = "workload"
    code: int = 1
    text: str = "RuntimeError: CUDA error: an illegal memory access was encountered"
    times: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """``minutes`` of one run on a machine that is up (``minutes_by_tier`` first; a CPU takes ``cpu_factor`` times)."""

    __pydantic_config__ = _FORBID
    minutes: float = 8.0
    minutes_by_tier: Mapping[str, float] = field(default_factory=dict)
    fails: Fails | None = None
    cpu_factor: float = 15.0

    def minutes_on(self, tier: str) -> float:
        """Of one run."""
        if tier in self.minutes_by_tier:
            return self.minutes_by_tier[tier]
        return self.minutes * (self.cpu_factor if tier == "cpu" else 1)


@dataclass(frozen=True, kw_only=True)
class FlexStart:
    """How long a flex-start request waits before capacity is looked for."""

    __pydantic_config__ = _FORBID
    waits_minutes: float = 10.0


_START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A world. Frozen, and equal where the text is equal.

    ``account``: ``established`` has enough of the quotas whose default is 0, ``new`` has 0 of them.
    """

    __pydantic_config__ = _FORBID
    about: str = ""
    start: datetime = _START
    seed: int = 0
    stack: Mapping[str, Any] = field(default_factory=dict)
    account: Literal["established", "new"] = "established"
    stock: tuple[Stock, ...] = ()
    quotas: tuple[QuotaRule, ...] = ()
    deny: tuple[Deny, ...] = ()
    not_offered: tuple[NotOffered, ...] = ()
    prices: tuple[PriceRule, ...] = ()
    latency_seconds: Latency = field(default_factory=Latency)
    interruptions: tuple[Interruption, ...] = ()
    flaky: Flaky | None = None
    requests_per_minute: int | None = None
    leftovers: tuple[LeftOver, ...] = ()
    image: Image = field(default_factory=Image)
    run: Run = field(default_factory=Run)
    flex_start: FlexStart = field(default_factory=FlexStart)

    @classmethod
    def from_file(cls, path: Path) -> Scenario:
        """Read a YAML file. Raises ScenarioError."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ScenarioError([f"it can't be read: {why}; give the path of a scenario file"], str(path)) from error
        return cls.from_text(text, str(path))

    @classmethod
    def from_text(cls, text: str, source: str = "scenario") -> Scenario:
        """Read YAML. Raises ScenarioError, which names ``source``."""
        import yaml  # late: only files need it

        try:
            raw = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
            problem = getattr(error, "problem", None) or "it can't be parsed"
            raise ScenarioError([f"not YAML{where}: {problem}; mend that line"], source) from error
        return cls.from_mapping({} if raw is None else raw, source)

    @classmethod
    def from_mapping(cls, raw: object, source: str = "scenario") -> Scenario:
        """Check what a file holds. Raises ScenarioError, which names ``source``."""
        mistakes = Mistakes()
        found = _read(raw, mistakes)
        if found is not None:
            _check(found, mistakes)
        if mistakes.found or found is None:
            raise ScenarioError([str(mistake) for mistake in mistakes.found], source)
        return found

    @classmethod
    def from_flags(
        cls,
        sold_out: Iterable[str] = (),
        quota: Iterable[str] = (),
        deny: Iterable[str] = (),
        base: Scenario | None = None,
    ) -> Scenario:
        """What the command line says, added to ``base`` (a file's) as its last, and so deciding, rules.

        ``--sold-out [SURFACE/]TIER|MACHINE_TYPE[/PURCHASE][@REGION|ZONE,...]``, ``--quota
        [SURFACE/]TIER|QUOTA_ID[/PURCHASE][@REGION,...]=LIMIT``, ``--deny ROLE|PERMISSION[@PRINCIPAL]``. Raises
        ScenarioError, which names the flags.
        """
        mistakes = Mistakes()
        stock = [rule for text in sold_out for rule in _sold_out(text, mistakes)]
        quotas = [_quota(text, mistakes) for text in quota]
        denied = [_denied(text, mistakes) for text in deny]
        if mistakes.found:
            raise ScenarioError([str(mistake) for mistake in mistakes.found], "command line")
        start = base or cls()
        return replace(
            start,
            stock=(*start.stock, *stock),
            quotas=(*start.quotas, *(q for q in quotas if q)),
            deny=(*start.deny, *(d for d in denied if d)),
        )


_SINGULAR = {"region": "regions", "zone": "zones", "purchase": "purchases"}


def _read(raw: object, mistakes: Mistakes) -> Scenario | None:
    """The types are right, or mistakes are told."""
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(raw, Mapping):
        mistakes.add("scenario", shown(raw), f"a mapping with keys out of {_keys(Scenario)}", "write `key: value`")
        return None
    ready = {str(key): _plural(value, str(key), mistakes) if key != "stack" else value for key, value in raw.items()}
    start = ready.get("start")
    if isinstance(start, datetime) and start.tzinfo is None:
        ready["start"] = start.replace(tzinfo=UTC)  # YAML has no other way to say UTC but a Z that many leave out
    elif isinstance(start, date) and not isinstance(start, datetime):
        ready["start"] = datetime(start.year, start.month, start.day, tzinfo=UTC)
    try:
        text = json.dumps(ready, default=lambda v: v.isoformat() if isinstance(v, date) else str(v))
        scenario: Scenario = _adapter(TypeAdapter).validate_json(text)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=False):
            _tell(one["type"], one["loc"], one["input"], mistakes)
        return None
    start = scenario.start if scenario.start.tzinfo else scenario.start.replace(tzinfo=UTC)
    return replace(scenario, start=start.astimezone(UTC))


@lru_cache(maxsize=1)
def _adapter(make: Callable[[type[Scenario]], Any]) -> Any:
    return make(Scenario)


def _plural(value: object, path: str, mistakes: Mistakes) -> object:
    """``region: x`` is ``regions: [x]``, wherever it stands but where only one is allowed."""
    if isinstance(value, Mapping) and path not in ("latency_seconds", "image"):
        made: dict[str, object] = {}
        one_only = path.startswith("leftovers")
        for key, inner in value.items():
            name = str(key)
            if name in _SINGULAR and not one_only:
                many = _SINGULAR[name]
                if many in value:
                    mistakes.add(f"{path}.{name}", shown(inner), f"{name} or {many}", "write one of the two")
                made[many] = [inner]
            else:
                made[name] = inner
        return made
    if isinstance(value, list):
        return [_plural(inner, f"{path}[{index}]", mistakes) for index, inner in enumerate(value)]
    return value


def _tell(kind: str, location: Sequence[int | str], value: object, mistakes: Mistakes) -> None:
    path = ".".join(str(part) for part in location)
    path = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", path)
    name = str(next((part for part in reversed(location) if isinstance(part, str)), ""))
    holder = _holder(location[:-1])
    if kind == "unexpected_keyword_argument":
        keys = [f.name for f in fields(holder)] if holder else []
        mistakes.add(
            path, "unknown key", f"keys {one_of(keys)}", did_you_mean(name, keys, "remove it, or see the docs")
        )
    elif kind in ("missing", "missing_keyword_only_argument"):
        mistakes.add(path, "is missing", _kind(holder, name), f"write {name}: ...")
    else:
        mistakes.add(path, shown(value), _kind(holder, name), f"write {name}: with such a value")


def _holder(location: Sequence[int | str]) -> Any:
    """The dataclass that a path leads to."""
    here: Any = Scenario
    for part in location:
        if isinstance(part, int):
            continue
        hint = get_type_hints(here).get(part) if is_dataclass(here) else None
        inner = [a for a in (hint, *get_args(hint)) if isinstance(a, type) and is_dataclass(a)]
        here = inner[0] if inner else None
    return here


_KINDS = {
    "str": "a text",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "datetime": "a time such as 2026-11-23T09:00:00Z",
}


def _kind(holder: Any, name: str) -> str:
    hint = get_type_hints(holder).get(name) if is_dataclass(holder) else None
    if hint is None:
        return "a value of another kind"
    options = [a for a in get_args(hint) if a is not type(None)] or [hint]
    if all(isinstance(option, str) for option in options):
        return one_of(options)
    if getattr(hint, "__origin__", None) is tuple:
        return "a list"
    first = options[0]
    if getattr(first, "__name__", "") in _KINDS:
        return _KINDS[first.__name__]
    inner = first if is_dataclass(first) else hint
    return f"a mapping with keys out of {_keys(inner)}" if is_dataclass(inner) else "a mapping"


def _keys(shape: Any) -> str:
    return one_of(f.name for f in fields(shape))


# What the catalogue knows


@lru_cache(maxsize=1)
def quota_names() -> Mapping[str, str]:
    """Ids and metrics of the catalogue's quotas, to the id."""
    found: dict[str, str] = {}
    for offer in catalog.offers():
        for purchase in offer.purchases:
            for quota in offer.quotas(purchase):
                found[quota.quota_id] = quota.quota_id
                if quota.metric:
                    found.setdefault(quota.metric, quota.quota_id)
    return found


@lru_cache(maxsize=1)
def _regions() -> frozenset[str]:
    return frozenset(r for surface in CLOUD_SURFACES for r in catalog.regions(surface))


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(z for surface in CLOUD_SURFACES for z in catalog.zones(surface))


@lru_cache(maxsize=1)
def _machine_types() -> frozenset[str]:
    return frozenset(o.machine_type for o in catalog.offers())


def _check(scenario: Scenario, mistakes: Mistakes) -> None:
    """Values that have the right type and can't be."""
    for name in ("stock", "not_offered", "prices", "interruptions"):
        for index, rule in enumerate(getattr(scenario, name)):
            _check_matching(rule, f"{name}[{index}]", mistakes)
    for index, quota in enumerate(scenario.quotas):
        _check_quota(quota, f"quotas[{index}]", mistakes)
    for index, deny in enumerate(scenario.deny):
        _check_deny(deny, f"deny[{index}]", mistakes)
    for index, left in enumerate(scenario.leftovers):
        path = f"leftovers[{index}]"
        _known(left.surface, CLOUD_SURFACES, f"{path}.surface", mistakes)
        _known(left.region, _regions(), f"{path}.region", mistakes)
        _known(left.tier, catalog.tier_names(), f"{path}.tier", mistakes)
    for tier in scenario.run.minutes_by_tier:
        _known(tier, catalog.tier_names(), f"run.minutes_by_tier.{tier}", mistakes)
    if scenario.flaky:
        if not 0 <= scenario.flaky.probability <= 1:
            mistakes.add("flaky.probability", shown(scenario.flaky.probability), "0 to 1", "write a share, such as 0.1")
        for index, name in enumerate(scenario.flaky.operations):
            _known(name, OPERATIONS, f"flaky.operations[{index}]", mistakes)
    if scenario.requests_per_minute is not None and scenario.requests_per_minute < 1:
        shown_value = shown(scenario.requests_per_minute)
        mistakes.add("requests_per_minute", shown_value, "1 or more", "leave it out for no limit")
    _numbers(scenario, "", mistakes)


OPERATIONS = (
    "answer",
    "create",
    "read",
    "update",
    "delete",
    "look",
    "machines",
    "start_run",
    "run_state",
    "resize",
    "leftovers",
    "release",
    "holders",
)
"""The requests of a cloud, as ``Cloud.requests`` counts them."""


def _numbers(value: object, path: str, mistakes: Mistakes) -> None:
    """No number of a scenario is negative or endless, but for the seed."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        if path != "seed" and path != "run.fails.code" and not (math.isfinite(value) and value >= 0):
            mistakes.add(path, shown(value), "a number of 0 or more", "write such a number")
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            if one.name != "stack":
                _numbers(getattr(value, one.name), f"{path}.{one.name}" if path else one.name, mistakes)
        changes = getattr(value, "changes", ())
        times = [c.after_minutes for c in changes]
        if times != sorted(times):
            mistakes.add(f"{path}.changes", "not in the order of time", "after_minutes that grow", "put them in order")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _numbers(inner, f"{path}.{key}", mistakes)
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            _numbers(inner, f"{path}[{index}]", mistakes)


def _known(name: str, names: Iterable[str], path: str, mistakes: Mistakes) -> None:
    allowed = sorted(names)
    if name not in allowed:
        mistakes.add(path, shown(name), some_of(allowed), did_you_mean(name, allowed))


def _check_matching(rule: Matching, path: str, mistakes: Mistakes) -> None:
    if rule.tier is not None:
        _known(rule.tier, catalog.tier_names(), f"{path}.tier", mistakes)
    if rule.machine_type is not None:
        _known(rule.machine_type, _machine_types(), f"{path}.machine_type", mistakes)
    if rule.surface is not None:
        _known(rule.surface, CLOUD_SURFACES, f"{path}.surface", mistakes)
    for index, region in enumerate(rule.regions):
        _known(region, _regions(), f"{path}.regions[{index}]", mistakes)
    for index, zone in enumerate(rule.zones):
        _known(zone, _zones(), f"{path}.zones[{index}]", mistakes)
    for index, purchase in enumerate(rule.purchases):
        _known(purchase, tuple(Purchase), f"{path}.purchases[{index}]", mistakes)


def _check_quota(rule: QuotaRule, path: str, mistakes: Mistakes) -> None:
    if (rule.quota is None) == (rule.tier is None):
        value = "both are written" if rule.quota else "neither is written"
        mistakes.add(path, value, "quota or tier", "name a quota by its id, or a tier whose quotas are meant")
    if rule.quota is not None:
        _known(rule.quota, quota_names(), f"{path}.quota", mistakes)
    if rule.tier is not None:
        _known(rule.tier, catalog.tier_names(), f"{path}.tier", mistakes)
    if rule.surface is not None:
        _known(rule.surface, CLOUD_SURFACES, f"{path}.surface", mistakes)
    for index, region in enumerate(rule.regions):
        _known(region, _regions(), f"{path}.regions[{index}]", mistakes)
    for index, purchase in enumerate(rule.purchases):
        _known(purchase, tuple(Purchase), f"{path}.purchases[{index}]", mistakes)


def _check_deny(rule: Deny, path: str, mistakes: Mistakes) -> None:
    if (rule.permission is None) == (rule.role is None):
        value = "both are written" if rule.role else "neither is written"
        mistakes.add(path, value, "permission or role", "write one of the two")
    if rule.permission is not None:
        _known(rule.permission, PERMISSIONS, f"{path}.permission", mistakes)
    if rule.role is not None:
        _known(rule.role.removeprefix("roles/"), ROLES, f"{path}.role", mistakes)
    if rule.principal is not None:
        _known(rule.principal, PRINCIPALS, f"{path}.principal", mistakes)


# The command line


def _what(text: str, flag: str, mistakes: Mistakes) -> tuple[str | None, str, tuple[str, ...], list[str]]:
    """Surface, name, purchases and places of ``[surface/]name[/purchase][@place,...]``."""
    name, at, places = text.partition("@")
    parts = name.strip().split("/")
    surface = parts.pop(0) if len(parts) > 1 and parts[0] in CLOUD_SURFACES else None
    purchases = (parts.pop(),) if len(parts) > 1 and parts[-1] in tuple(Purchase) else ()
    where = [place.strip() for place in places.split(",") if place.strip()]
    if len(parts) != 1 or not parts[0] or (at and not where):
        mistakes.add(flag, shown(text), "[SURFACE/]NAME[/PURCHASE][@PLACE,...]", "write it like l4@us-west1,us-east4")
    return surface, parts[0], purchases, where


def _sold_out(text: str, mistakes: Mistakes) -> tuple[Stock, ...]:
    flag, before = "--sold-out", len(mistakes)
    surface, name, purchases, where = _what(text, flag, mistakes)
    if name in _machine_types():
        named = Stock(machine_type=name, surface=surface, purchases=purchases, machines=0)
    else:
        named = Stock(tier=name, surface=surface, purchases=purchases, machines=0)
        _known(name, catalog.tier_names(), flag, mistakes)
    for place in where:
        if place not in _regions() and place not in _zones():
            _known(place, _regions(), flag, mistakes)
    if len(mistakes) > before:
        return ()
    regions = tuple(p for p in where if p in _regions())
    zones = tuple(p for p in where if p not in _regions())
    # A rule matches where both its regions and its zones do, so those of each kind have a rule of their own.
    made = [replace(named, regions=regions)] if regions or not zones else []
    return (*made, *([replace(named, zones=zones)] if zones else []))


def _quota(text: str, mistakes: Mistakes) -> QuotaRule | None:
    flag, before = "--quota", len(mistakes)
    name, equals, number = text.rpartition("=")
    try:
        limit = float(number) if equals else math.nan
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit >= 0):
        mistakes.add(flag, shown(text), "NAME[@REGION,...]=LIMIT with a limit of 0 or more", "write l4@us-west1=0")
        return None
    surface, what, purchases, where = _what(name, flag, mistakes)
    for region in where:
        _known(region, _regions(), flag, mistakes)
    by_id = what in quota_names()
    if not by_id:
        _known(what, catalog.tier_names(), flag, mistakes)
    if len(mistakes) > before:
        return None
    return QuotaRule(
        limit=limit,
        quota=what if by_id else None,
        tier=None if by_id else what,
        surface=surface,
        purchases=purchases,
        regions=tuple(where),
    )


def _denied(text: str, mistakes: Mistakes) -> Deny | None:
    flag, before = "--deny", len(mistakes)
    name, at, principal = (part.strip() for part in text.partition("@"))
    role = name.removeprefix("roles/")
    if at:
        _known(principal, PRINCIPALS, flag, mistakes)
    if name not in PERMISSIONS:
        _known(role, (*ROLES, *PERMISSIONS), flag, mistakes)
    if len(mistakes) > before:
        return None
    who = principal or None
    return Deny(permission=name, principal=who) if name in PERMISSIONS else Deny(role=role, principal=who)
