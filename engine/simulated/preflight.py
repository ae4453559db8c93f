"""What a simulated cloud answers to a question asked before anything is tried."""

from __future__ import annotations

from functools import lru_cache

import catalog
from catalog import Purchase, Quota, Surface
from engine.simulated.asks import Shape, in_registry, repository_of, zone_name
from engine.simulated.capacity import Capacity
from engine.simulated.grants import NEEDS, PULL, PULL_ECR, mend, name_of
from engine.simulated.market import key_of, needs, shapes_of
from placement.verdicts import (
    Answer,
    CannotSay,
    Grant,
    Grants,
    Kind,
    Odds,
    Offers,
    Prices,
    Question,
    Quotas,
    QuotaState,
)


def answer(capacity: Capacity, question: Question) -> Answer:
    """Raises CannotSay where the real one has no answer either."""
    if question.surface == Surface.LOCAL:
        raise CannotSay("this machine is no cloud")
    if question.kind == Kind.OFFERS:
        return offers(capacity, question)
    if question.kind == Kind.QUOTAS:
        return quotas(capacity, question)
    if question.kind == Kind.PERMISSIONS:
        return grants(capacity, question)
    return odds(capacity, question) if question.kind == Kind.ODDS else prices(capacity, question)


def offers(capacity: Capacity, question: Question) -> Offers:
    """By machine type, and by accelerator too: an N1 is listed where its accelerator may not be."""
    found: dict[str, list[str]] = {}
    region = question.region or ""
    for shape in _sold_in(question.surface, region):
        if question.machine_types and shape.machine_type not in question.machine_types:
            continue
        zones = [z for z in capacity.market.zones(shape, region) if capacity.market.offered(shape, region, z) != "no"]
        if not zones:
            continue
        for name in (shape.machine_type, *([shape.accelerator] if shape.accelerator else [])):
            listed = found.setdefault(name, [])
            listed.extend(z for z in zones if z is not None and z not in listed)
    return Offers({name: tuple(sorted(zones)) for name, zones in found.items()})


@lru_cache(maxsize=1024)
def _sold_in(surface: str, region: str) -> tuple[Shape, ...]:
    return tuple(shape for shape in shapes_of(surface) if shape.offer is not None and region in shape.offer.regions)


def quotas(capacity: Capacity, question: Question) -> Quotas:
    """Those of a region, or the global ones, that the surface's shapes take of. What a scenario hides isn't there."""
    states: list[QuotaState] = []
    region = question.region or ""
    for quota in _quotas_of(question.surface):
        if (quota.scope == "global") != (question.region is None):
            continue
        limit = capacity.market.limit(quota, region, question.project, capacity.minutes())
        if limit.shown:
            usage = capacity.usage(key_of(quota, region, question.project))
            states.append(
                QuotaState(
                    service=quota.service,
                    quota_id=quota.quota_id,
                    limit=limit.limit,
                    usage=usage + limit.used + capacity.others(quota, region),
                    dimensions=quota.dimensions,
                    held_by=capacity.takers(quota, region, question.project),
                )
            )
    return Quotas(tuple(states))


@lru_cache(maxsize=16)
def _quotas_of(surface: str) -> tuple[Quota, ...]:
    """Each quota that a surface's shapes take of, once."""
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], Quota] = {}
    for shape in shapes_of(surface):
        for purchase in Purchase:
            for quota in needs(shape, purchase):
                found.setdefault((quota.service, quota.quota_id, quota.dimensions), quota)
    return tuple(found.values())


def grants(capacity: Capacity, question: Question) -> Grants:
    """Who must be allowed what. A pull is asked about only where the image is in the cloud's own registry."""
    image = in_registry(question.image, question.surface, question.project, question.region)
    repository = repository_of(image)
    found: list[Grant] = []
    for need in NEEDS[question.surface]:
        pull = need.permission in (PULL, PULL_ECR)
        if pull and (repository is None or (need.permission == PULL_ECR) != (".dkr.ecr." in image)):
            continue
        owner = repository[0] if pull and repository else question.project
        who = name_of(need.principal, question.project)
        denied = capacity.market.denied(need.permission, need.role, need.principal, owner, capacity.minutes())
        found.append(
            Grant(
                principal=who,
                permission=need.permission,
                granted=not denied,
                mend=mend(need, question.project, who, repository if pull else None) if denied else "",
            )
        )
    return Grants(tuple(found))


def odds(capacity: Capacity, question: Question) -> Odds:
    """As Google's capacity advice and AWS's spot placement score have them: of the best shape, with its zones.

    Neither says anything of on-demand capacity, nor the first of N1 machines with accelerators.
    """
    asked = [s for s in shapes_of(question.surface) if s.machine_type in question.machine_types]
    purchase = question.purchase or Purchase.ON_DEMAND
    if question.surface in (Surface.GCE, Surface.GKE):
        asked = [s for s in asked if not (s.machine_type.startswith("n1-") and s.accelerator)]
        known = purchase in (Purchase.SPOT, Purchase.FLEX_START)
    else:
        known = question.surface == Surface.ECS and purchase == Purchase.SPOT
    if not known or not asked or question.region is None:
        raise CannotSay("the cloud has no advice for this shape and purchase")
    said = [zone for shape in asked for zone in _advice(capacity, shape, question.region, purchase)]
    if not said:
        raise CannotSay("the cloud gave no advice")
    best = max(score for score, _ in said)
    zones = tuple(dict.fromkeys(z for score, z in said if z and score == best and best >= 0.5))
    if question.surface == Surface.ECS:
        zones = tuple(zone_name(z, question.region) for z in zones) if question.region not in zones else zones
    return Odds(best, zones)


def _advice(capacity: Capacity, shape: Shape, region: str, purchase: str) -> list[tuple[float, str | None]]:
    found: list[tuple[float, str | None]] = []
    for zone in capacity.market.zones(shape, region):
        rule = capacity.market.rule(capacity.market.stock_rule(shape, region, zone, purchase))
        advice = rule.advice if rule else "right"
        if advice == "none" or capacity.market.offered(shape, region, zone) == "no":
            continue
        there = capacity.left_in(shape, region, zone, purchase) > 0
        found.append((0.9 if there == (advice == "right") else 0.1, zone))
    return found


def prices(capacity: Capacity, question: Question) -> Prices:
    """By machine type; one that several tiers are sold on (N1) has no price of its own."""
    found: dict[str, float] = {}
    region = question.region or ""
    for machine_type in question.machine_types:
        sold = catalog.offers(surface=question.surface, machine_type=machine_type, region=region)
        named = (shape for shape in shapes_of(question.surface) if shape.machine_type == machine_type)
        shapes = [shape for shape in named if shape.offer in sold]
        if len(shapes) != 1:
            continue
        zone = next(iter(capacity.market.zones(shapes[0], region)), None)
        usd = capacity.market.usd_per_hour(shapes[0], region, zone, question.purchase or Purchase.ON_DEMAND)
        if usd is not None:
            found[machine_type] = usd
    if not found:
        raise CannotSay(f"no price is known in {region or 'any region'}")
    return Prices(found)
