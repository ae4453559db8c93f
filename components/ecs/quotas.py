"""The quotas that a rung on ECS takes of, as they stand: vCPU of a family and a purchase, in a region."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import catalog
from catalog import Purchase, Surface
from components.ecs.api import Instance
from placement.ladder import Rung
from placement.verdicts import QuotaState

Key = tuple[str, str]
"""Service and code, as Service Quotas has them: ``ec2``, ``L-DB2E81BA``."""

FARGATE = ("fargate", "L-3032A538")
"""A region that knows this quota has Fargate."""

_FAMILIES = (
    # Of machines that the catalogue doesn't list: what takes of the quotas that the catalogue's do.
    # https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
    (re.compile(r"(?:g|gr|vt)\d"), "L-DB2E81BA", "L-3819A6DF"),
    (re.compile(r"p5"), "L-417A185B", "L-C4BD4855"),
    (re.compile(r"p[234]"), "L-417A185B", "L-7212CCBC"),
)
_UNCOUNTED = "capacity-block"
"""Capacity Blocks take of no On-Demand limit: they are paid beforehand."""


@dataclass(frozen=True)
class Taken:
    """What machines that are there take of a quota (vCPU), and the machines."""

    vcpu: float = 0.0
    by: tuple[str, ...] = ()


def wanted(rungs: Iterable[Rung]) -> tuple[Key, ...]:
    """Each quota that one of these rungs takes of, once."""
    return tuple(
        dict.fromkeys(
            (quota.service, quota.quota_id)
            for rung in rungs
            for offer in rung.offers
            for quota in offer.quotas(rung.purchase)
        )
    )


def taken_by(instances: Iterable[Instance]) -> dict[Key, Taken]:
    """What these machines take of each quota. One of a family that no rung is of takes of none here."""
    found: dict[Key, Taken] = {}
    for one in instances:
        key = _key(one.machine_type, one.lifecycle)
        if key is not None:
            before = found.get(key, Taken())
            vcpu = one.vcpu or _vcpu(one.machine_type)
            found[key] = Taken(before.vcpu + vcpu, (*before.by, f"{one.id} ({one.machine_type}, {one.zone})"))
    return found


def states(limits: Mapping[Key, float | None], taken: Mapping[Key, Taken] | None) -> tuple[QuotaState, ...]:
    """The quotas that have a limit. ``taken`` None: not known. Of Fargate's, AWS doesn't say what is used."""
    found = []
    for key, limit in limits.items():
        if limit is not None:
            service, code = key
            known = taken is not None and service == "ec2"
            mine = (taken or {}).get(key, Taken()) if known else Taken()
            found.append(QuotaState(service, code, limit, mine.vcpu if known else None, held_by=mine.by))
    return tuple(found)


@lru_cache(maxsize=1024)
def _key(machine_type: str, lifecycle: str) -> Key | None:
    if lifecycle == _UNCOUNTED:
        return None
    purchase = Purchase.SPOT if lifecycle == "spot" else Purchase.ON_DEMAND
    for offer in catalog.offers(surface=Surface.ECS, machine_type=machine_type):
        for quota in offer.quotas(purchase):
            return (quota.service, quota.quota_id)
    for family, on_demand, spot in _FAMILIES:
        if family.match(machine_type):
            return ("ec2", spot if purchase is Purchase.SPOT else on_demand)
    return None


def _vcpu(machine_type: str) -> int:
    return next((offer.vcpu for offer in catalog.offers(surface=Surface.ECS, machine_type=machine_type)), 0)
