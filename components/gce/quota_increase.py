"""A request for more of a quota, declared because the stack's settings ask for it; nothing is raised silently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

import catalog
from catalog import Surface

_RUN = "run.googleapis.com"
_COMPUTE = "compute.googleapis.com"


@dataclass(frozen=True, kw_only=True)
class QuotaIncreaseArgs:
    """``quota_id``, ``dimensions``: as in the catalogue (`catalog.Quota`), ``region`` None for a project's own quotas.

    ``limit``: the whole limit that is asked for, in the quota's unit. ``contact_email``: whom Google answers; it is
    required for an increase. ``justification``: what for; Google's people read it. ``hooks``: for the resource.
    """

    project: str
    quota_id: str
    limit: float
    contact_email: str
    justification: str
    region: str | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)
    hooks: pulumi.ResourceHookBinding | None = None


def service_of(quota_id: str) -> str:
    """The service whose quota it is: a preference that is asked of another one is asked for nothing.

    By the catalogue; of what isn't in it, by the form of the id: those of Compute Engine are words between hyphens
    (``NVIDIA-L4-GPUS-per-project-region``), those of Cloud Run one word (``NvidiaL4GpuAllocPerProjectRegion``).
    """
    for surface in (Surface.GCE, Surface.GKE, Surface.CLOUD_RUN):
        for offer in catalog.offers(surface=surface):
            for purchase in offer.purchases:
                for quota in offer.quotas(purchase):
                    if quota.quota_id == quota_id:
                        return quota.service
    return _COMPUTE if "-" in quota_id else _RUN


def quota_increase(name: str, args: QuotaIncreaseArgs, opts: pulumi.ResourceOptions) -> gcp.cloudquota.SQuotaPreference:
    """Declare the request. Its being there doesn't mean that it was granted: Google decides later, and may say 0.

    A preference can't be deleted, so a stack that goes leaves it
    (https://cloud.google.com/docs/quotas/implement-common-use-cases).
    """
    dimensions = {**({"region": args.region} if args.region else {}), **args.dimensions}
    # One name for all regions and projects' quotas would be one preference: a preference's name is the project's.
    said = "-".join(value.lower().replace("_", "-") for value in dimensions.values())
    return gcp.cloudquota.SQuotaPreference(
        name,
        name="-".join(part for part in ("gpubench", args.quota_id.lower(), said) if part),
        parent=f"projects/{args.project}",
        service=service_of(args.quota_id),
        quota_id=args.quota_id,
        dimensions=dimensions,
        quota_config={"preferred_value": str(math.ceil(args.limit))},
        contact_email=args.contact_email,
        justification=args.justification,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=args.hooks, retain_on_delete=True)),
    )
