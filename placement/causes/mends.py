"""What to do about a failure, with the facts that its text holds: functions that rows of the table of patterns name."""

from __future__ import annotations

import shlex

import catalog
from catalog.repositories import repository_of
from placement import quota_requests
from placement.causes.facts import Facts
from placement.causes.model import Where

_READER = "roles/artifactregistry.reader"


def pull(facts: Facts, where: Where) -> str:
    """A Google registry refuses whoever pulls."""
    # Compute Engine and GKE pull as who runs the container; Cloud Run and ECS have an agent for it.
    who = facts.principal or (where.principal if where.surface in ("gce", "gke") else None)
    member = _member(who) if who else f"serviceAccount:<{_puller(where)}>"
    named = repository_of(facts.image) if facts.image else None
    project, location, name = facts.repository or (
        (named.project, named.location, named.name) if named else ("", "", "")
    )
    missing = " The same is said of a repository that doesn't exist: check its name."
    if not name:
        return f"Grant {_READER} on the image's repository to {who or _puller(where)}.{missing}"
    host = f" --location {location}" if location else ""
    command = f"gcloud artifacts repositories add-iam-policy-binding {name}{host} --project {project} "
    return f"Let {who or _puller(where)} read the image: {command}--member {member} --role {_READER}.{missing}"


def ecr_pull(facts: Facts, _where: Where) -> str:
    """A registry refuses an ECS task or a container instance."""
    who = facts.principal or "the task's execution role"
    right = facts.permission or "ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and ecr:GetAuthorizationToken"
    image = f" the image {facts.image}" if facts.image else " the image"
    return (
        f"Let {who} pull{image}: it needs {right}; a repository of another account needs a policy that names it. "
        "The same may be said of a repository that doesn't exist: check its name."
    )


def any_pull(facts: Facts, where: Where) -> str:
    """A registry refuses a pull; which registry decides the mend."""
    if facts.repository or "pkg.dev" in (facts.image or "") or "gcr.io" in (facts.image or ""):
        return pull(facts, where)
    if where.surface == "ecs" or ".dkr.ecr." in (facts.image or ""):
        return ecr_pull(facts, where)
    image = facts.image or "the image"
    return f"Give whoever pulls {image} the right to: make it public, or copy it to a registry of this project's own."


def google_permission(facts: Facts, where: Where) -> str:
    """A Google permission is missing."""
    who = facts.principal or "whoever runs gpubench"
    what = f"the permission {facts.permission}" if facts.permission else "the permission that the text names"
    project = where.project or facts.project
    at = f" in project {project}" if project else ""
    return f"Grant {who} a role with {what}{at}; a wrong project's name gives the same text."


def act_as(facts: Facts, where: Where) -> str:
    """Nobody may run something as a service account without a role on it."""
    who = facts.principal or "whoever runs gpubench"
    account = facts.account or where.principal
    if not account:
        return f"Grant {who} roles/iam.serviceAccountUser on the service account that the text names."
    member = _member(facts.principal) if facts.principal else "<user:… or serviceAccount:…, whoever runs gpubench>"
    return (
        f"Let {who} act as {account}: gcloud iam service-accounts add-iam-policy-binding {account} --member {member} "
        "--role roles/iam.serviceAccountUser. It may also not exist: check its name."
    )


def aws_permission(facts: Facts, _where: Where) -> str:
    """An AWS action isn't allowed."""
    who = facts.principal or "the identity that gpubench runs as"
    if facts.encoded:
        decode = f"aws sts decode-authorization-message --encoded-message {shlex.quote(facts.encoded)}"
    else:
        decode = "aws sts decode-authorization-message --encoded-message with the message that AWS sent along, if any"
    if facts.permission:
        return f"Allow {facts.permission} to {who}. What refused it: {decode}"
    often = "Often it is iam:PassRole for the instance's role"
    return f"Find the action that is refused: {decode}. {often}; allow it to {who}."


def aws_denied(facts: Facts, _where: Where) -> str:
    """AccessDenied."""
    who = facts.principal or "the identity that gpubench runs as"
    return f"Allow {facts.permission or 'the action that the text names'} to {who}."


def api_off(facts: Facts, where: Where) -> str:
    """A Google API is disabled."""
    project = where.project or facts.project
    at = f" --project {project}" if project else ""
    if not facts.service:
        return f"Enable the API that the text names: gcloud services enable with its name{at}, and wait some minutes."
    return f"gcloud services enable {facts.service}{at}, and wait some minutes."


def policy(facts: Facts, _where: Where) -> str:
    """An organization policy forbids it."""
    name = facts.constraint or "the constraint that the text names"
    return (
        f"The organization policy {name} forbids it: ask who keeps it for an exception, or use settings that obey it."
    )


def quota(facts: Facts, where: Where) -> str:
    """A Google quota."""
    what, figures = _quota_words(facts, where)
    found = facts.quota
    known = _known_quota(found.metric if found else None, where)
    quota_id = facts.quota_id or (known.quota_id if known else None)
    if quota_id is None:
        project = f"?project={where.project}" if where.project else ""
        return f"Ask for more of {what}{figures}: https://console.cloud.google.com/iam-admin/quotas{project}"
    service = known.service if known else "compute.googleapis.com"
    region = (found.where if found else None) or facts.region or where.region
    region = None if region == "global" else region
    least = (found.limit or 0.0) + (known.amount if known else 1.0) if found else 1.0
    value = max(least, (found.need if found else None) or 0.0)
    dimensions = known.dimensions if known else ()
    how = quota_requests.command(service, quota_id, value, region, dimensions=dimensions, project=where.project)
    return f"Ask for more of {what}{figures}: {how}"


def run_quota(facts: Facts, where: Where) -> str:
    """One of Cloud Run's."""
    held = (
        "Old revisions and forgotten services may hold some of it: gcloud run revisions list"
        f"{_option('region', facts.region or where.region)}{_option('project', where.project)}"
    )
    if facts.quota is not None and facts.quota.metric is not None:
        return f"{held}. {quota(facts, where)}"
    return f"{held}. Ask for more of Cloud Run's quota{_quota_words(facts, where)[1]}: https://g.co/cloudrun/gpu-quota"


def _known_quota(metric: str | None, where: Where) -> catalog.Quota | None:
    """The catalogue's quota of that name, of what was tried."""
    if metric is None or where.surface is None or where.purchase is None:
        return None
    name = _folded(metric)
    for machine_type in where.machine_types:
        for offer in catalog.offers(surface=where.surface, machine_type=machine_type):
            for known in offer.quotas(where.purchase):
                if name in (_folded(known.metric), _folded(known.quota_id)):
                    return known
    return None


def _folded(metric: str) -> str:
    return metric.rsplit("/", 1)[-1].replace("-", "_").lower()


def vcpu(facts: Facts, where: Where) -> str:
    """An EC2 quota in vCPU, of the purchase that was tried."""
    return _vcpu(facts, where, where.purchase or "on-demand")


def spot_vcpu(facts: Facts, where: Where) -> str:
    """An EC2 quota in vCPU, of spot."""
    return _vcpu(facts, where, "spot")


def _vcpu(facts: Facts, where: Where, purchase: str) -> str:
    _, figures = _quota_words(facts, where)
    kind = "Spot" if purchase == "spot" else "On-Demand"
    region = _option("region", facts.region or where.region)
    needs = {
        (known.quota_id, known.amount)
        for machine_type in where.machine_types
        for offer in catalog.offers(surface="ecs", machine_type=machine_type)
        for known in offer.quotas(purchase)
    }
    if len({code for code, _ in needs}) != 1:
        return (
            f"Ask for more {kind} vCPU of the machine type's family{figures}: aws service-quotas list-service-quotas "
            f"--service-code ec2{region} names the quota."
        )
    code, need = min(needs, key=lambda each: each[1])
    limit = facts.quota.limit if facts.quota and facts.quota.limit else 0.0
    how = quota_requests.command("ec2", code, limit + need, facts.region or where.region)
    return f"Ask for more {kind} vCPU{figures}: {how}"


def image(facts: Facts, _where: Where) -> str:
    """An image isn't there."""
    return f"Check that {facts.image or 'the image'} exists, with this tag or digest, and push it if not."


def _quota_words(facts: Facts, where: Where) -> tuple[str, str]:
    found = facts.quota
    at = (found.where if found else None) or facts.region or where.region
    figures = []
    if found and found.limit is not None:
        figures.append(f"limit {_plain(found.limit)}")
    if found and found.need is not None:
        figures.append(f"needed {_plain(found.need)}")
    place = "" if at is None else " in all regions" if at == "global" else f" in {at}"
    name = found.metric if found and found.metric else "the quota"
    return name, f"{place}{' (' + ', '.join(figures) + ')' if figures else ''}"


def _plain(figure: float) -> str:
    """Without an exponent: memory quotas are in bytes."""
    return str(int(figure)) if figure == int(figure) else str(figure)


def _member(principal: str) -> str:
    return f"{'serviceAccount' if principal.endswith('gserviceaccount.com') else 'user'}:{principal}"


def _option(name: str, value: str | None) -> str:
    return f" --{name} {value}" if value else ""


def _puller(where: Where) -> str:
    return {
        "gce": "the VM's service account",
        "gke": "the nodes' service account",
        "cloud-run": "Cloud Run's service agent, service-PROJECT_NUMBER@serverless-robot-prod.iam.gserviceaccount.com",
        "ecs": "the task's execution role",
    }.get(where.surface or "", "the identity that pulls")
