"""What a failure is, once it is understood: its cause, what it covers, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why an attempt failed."""

    CAPACITY = "capacity"
    QUOTA = "quota"
    PERMISSION = "permission"
    NOT_OFFERED = "not-offered"
    IMAGE = "image"
    BAD_REQUEST = "bad-request"
    INTERRUPTED = "interrupted"
    TRANSIENT = "transient"
    WORKLOAD = "workload"
    UNKNOWN = "unknown"


WALKS_ON = frozenset({Cause.CAPACITY, Cause.QUOTA, Cause.NOT_OFFERED})
"""Another place may do better. After any other cause it can't: the same would fail there, or nobody knows what did."""


class Scope(StrEnum):
    """What a failure covers, from the narrowest to the widest. Everything within it would fail in the same way."""

    ZONE = "zone"  # this shape and purchase, in the zones named
    REGION = "region"  # this shape and purchase, in the whole region
    PURCHASE = "purchase"  # this purchase of this tier, in the whole project
    TIER = "tier"  # this tier, in the whole project, however bought
    PROJECT = "project"  # everything in the project or account
    CLOUD = "cloud"  # everything on this cloud


@dataclass(frozen=True)
class Where:
    """What was tried when a text came up, as far as it is known; all of it may be unknown.

    ``surface`` is a surface's name; ``project`` a Google Cloud project or an AWS account; ``principal`` who runs the
    container there (a service account's e-mail, a role's ARN), for the mend of a permission.
    """

    surface: str | None = None
    project: str | None = None
    region: str | None = None
    zones: tuple[str, ...] = ()
    tier: str | None = None
    machine_types: tuple[str, ...] = ()
    purchase: str | None = None
    principal: str | None = None


@dataclass(frozen=True)
class QuotaFacts:
    """What a text says of a quota; None for what it doesn't say.

    ``metric``: as the cloud names it (``NVIDIA_L4_GPUS``, ``L-DB2E81BA``, ``NvidiaL4GpuAllocNoZonalRedundancy…``).
    ``limit``, ``need``: in the metric's own unit. ``where``: a region, or ``global``.
    """

    metric: str | None = None
    limit: float | None = None
    need: float | None = None
    where: str | None = None


@dataclass(frozen=True)
class Failure:
    """One failure, classified.

    ``cause``: None for a text that tells of no failure at all: a flex-start request that is still waiting.
    ``code``: the cloud's own code where there is one (``ZONE_RESOURCE_POOL_EXHAUSTED``, ``VcpuLimitExceeded``), else
    the name of the pattern. ``zones``, ``region``: where it failed, if the text says. ``hint``: zones that the cloud
    itself names as having capacity. ``mend``: what a person, or the walk, can do, in one or two sentences; empty
    where waiting and walking on is all. ``text``: the original, whole. ``others``: further errors in the same text,
    which decide nothing. ``source``: where the pattern was read.
    """

    cause: Cause | None
    scope: Scope
    code: str
    text: str
    mend: str = ""
    zones: tuple[str, ...] = ()
    region: str | None = None
    hint: tuple[str, ...] = ()
    quota: QuotaFacts | None = None
    principal: str | None = None
    permission: str | None = None
    others: tuple[Failure, ...] = ()
    source: str = ""

    @property
    def walks_on(self) -> bool:
        """Whether another rung is tried after it."""
        return self.cause in WALKS_ON
