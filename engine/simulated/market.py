"""What a simulated cloud has at a moment: stock, offers, limits of quotas, prices, grants. Rules in, answers out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import catalog
from catalog import Quota
from engine.simulated.asks import Shape
from engine.simulated.grants import PROJECT
from engine.simulated.scenario import PLENTY, QuotaRule, Scenario, Stock

QuotaKey = tuple[str, str, tuple[tuple[str, str], ...], str | None, str | None]
"""Service, id, dimensions, region (None: global), project (None: nobody said whose)."""


@dataclass(frozen=True)
class Limit:
    """Of a quota, in its own unit. ``used``: by others. ``shown``: whether a preflight can see it."""

    limit: float
    used: float = 0.0
    shown: bool = True


@lru_cache(maxsize=4096)
def needs(shape: Shape, purchase: str) -> tuple[Quota, ...]:
    """What one machine takes of which quotas: global ones first, as the clouds check them in that order."""
    if shape.offer is None:
        return ()
    return tuple(sorted(shape.offer.quotas(purchase), key=lambda q: q.scope != "global"))


@lru_cache(maxsize=256)
def _tier_quotas(tier: str, surface: str | None, purchases: tuple[str, ...]) -> dict[tuple[str, str, object], float]:
    """The accelerators' own quotas of a tier, and what one GPU (one machine without GPUs) takes of each at least."""
    found: dict[tuple[str, str, object], float] = {}
    for offer in catalog.offers(surface=surface, tier=tier):
        for purchase in offer.purchases:
            if purchases and purchase not in purchases:
                continue
            quota = next(iter(offer.quotas(purchase)), None)
            if quota:
                key = (quota.service, quota.quota_id, quota.dimensions)
                each = quota.amount / (offer.gpus or 1)
                found[key] = min(each, found.get(key, each))
    return found


class Market:
    """A scenario's rules, applied. Times are minutes since its start."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._rules: dict[tuple[Shape, str, str | None, str], int] = {}

    def stock_rule(self, shape: Shape, region: str, zone: str | None, purchase: str) -> int:
        """The index of the rule that counts, or -1: the last one that matches."""
        key = (shape, region, zone, purchase)
        if key not in self._rules:
            self._rules[key] = next(
                (
                    index
                    for index in range(len(self.scenario.stock) - 1, -1, -1)
                    if self.scenario.stock[index].matches(
                        shape.tier, shape.machine_type, shape.surface, region, zone, purchase
                    )
                ),
                -1,
            )
        return self._rules[key]

    def rule(self, index: int) -> Stock | None:
        """The rule of an index; None for -1."""
        return None if index < 0 else self.scenario.stock[index]

    def machines_at(self, index: int, minutes: float) -> int:
        """How many there are by a rule in each of its places."""
        rule = self.rule(index)
        if rule is None:
            return PLENTY
        now = rule.machines
        for change in rule.changes:
            if change.after_minutes > minutes:
                break
            now = change.machines
        return now

    def zones(self, shape: Shape, region: str) -> tuple[str | None, ...]:
        """Where a shape can be in a region: zones, (None,) where there are none, () where it isn't sold."""
        if shape.offer is None:
            return (f"{region}-a",) if shape.surface in ("gce", "gke") else (None,)
        if region not in shape.offer.regions:
            return ()
        return shape.offer.zones(region) or (None,)

    def offered(self, shape: Shape, region: str, zone: str | None) -> str:
        """``yes``, ``no``, or ``disguised``: listed, and refused as if it were sold out."""
        if shape.offer is not None:
            if region not in shape.offer.regions:
                return "no"
            listed = shape.offer.zones(region)
            if zone is not None and listed and zone not in listed:
                return "no"
        for rule in reversed(self.scenario.not_offered):
            if rule.matches(shape.tier, shape.machine_type, shape.surface, region, zone, None):
                return "disguised" if rule.disguised else "no"
        return "yes"

    def limit(self, quota: Quota, region: str, project: str | None, minutes: float) -> Limit:
        """Of a quota in a region (a global one: anywhere)."""
        for rule in reversed(self.scenario.quotas):
            unit = self._covers(rule, quota, region, project)
            if unit is None:
                continue
            limit = rule.limit
            for change in rule.changes:
                if change.after_minutes > minutes:
                    break
                limit = change.limit
            return Limit(limit * unit, rule.used * unit, rule.shown)
        default = quota.default_limit
        if default is None or (default == 0 and self.scenario.account == "established"):
            return Limit(PLENTY * 2.0**40)  # plenty even where the unit is bytes
        return Limit(default)

    def _covers(self, rule: QuotaRule, quota: Quota, region: str, project: str | None) -> float | None:
        """How much of the quota's unit one of the rule's is; None if the rule is about another quota."""
        if rule.regions and quota.scope != "global" and region not in rule.regions:
            return None
        if rule.project and project and rule.project != project:
            return None
        if rule.quota is not None:
            if rule.quota not in (quota.quota_id, quota.metric):
                return None
            return 1.0 if all(pair in quota.dimensions for pair in rule.dimensions.items()) else None
        covered = _tier_quotas(rule.tier or "", rule.surface, rule.purchases)
        return covered.get((quota.service, quota.quota_id, quota.dimensions))

    def usd_per_hour(self, shape: Shape, region: str, zone: str | None, purchase: str) -> float | None:
        """By the scenario, else by the catalogue in this region; None if neither knows."""
        for rule in reversed(self.scenario.prices):
            if rule.matches(shape.tier, shape.machine_type, shape.surface, region, zone, purchase):
                return rule.usd_per_hour
        if shape.offer is None:
            return 0.0
        found = catalog.price(shape.offer, region, purchase)
        return found.usd_per_hour if found else None

    def billed(self, shape: Shape, region: str, zone: str | None, purchase: str) -> float:
        """What a machine is billed at: as ``usd_per_hour``, else as in the region that prices are best known of."""
        known = self.usd_per_hour(shape, region, zone, purchase)
        if known is not None:
            return known
        found = catalog.reference_price(shape.offer, purchase) if shape.offer else None
        return found.usd_per_hour if found else 0.0

    def denied(self, permission: str, role: str, principal: str, project: str | None, minutes: float) -> bool:
        """Whether a principal lacks a permission."""
        return any(
            (rule.permission == permission or (rule.role or "").removeprefix("roles/") == role)
            and rule.principal in (None, principal)
            and (rule.project is None or rule.project == (project or PROJECT))
            and (rule.until_minutes is None or minutes < rule.until_minutes)
            for rule in self.scenario.deny
        )


def key_of(quota: Quota, region: str, project: str | None) -> QuotaKey:
    """What tells one quota from another."""
    where = None if quota.scope == "global" else region
    return (quota.service, quota.quota_id, quota.dimensions, where, project)


@lru_cache(maxsize=64)
def shapes_of(surface: str) -> tuple[Shape, ...]:
    """All shapes that a surface sells."""
    return tuple(
        Shape(surface, o.machine_type, o.tier, o.gpus, o.accelerator, o) for o in catalog.offers(surface=surface)
    )
