"""What to do about a failure, with the facts that its text holds: functions that rows of the table of patterns name."""

from __future__ import annotations

import re
import shlex

import catalog
from catalog.repositories import repository_of
from placement import quota_requests
from placement.causes.facts import Facts
from placement.causes.model import Where

_READER = "roles/artifactregistry.reader"
_SESSION = re.compile(r"arn:aws[\w-]*:sts::\d*:assumed-role/([^/]+)/.+")

TAKEN = (
    "Another stack of this name made it, in the same account or project and by another backend: name this one "
    "otherwise (pulumi stack init OTHER, and its settings in Pulumi.OTHER.yaml), or log in to that one's backend "
    "(pulumi login). If no stack has it any more, delete what the text names."
)
"""What a stack makes by its own name is there already, and isn't in its state."""


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
    who = _identity(facts.principal) or "the task's execution role"
    right = facts.permission or "ecr:BatchGetImage, ecr:GetDownloadUrlForLayer and ecr:GetAuthorizationToken"
    image = f" the image {facts.image}" if facts.image else " the image"
    return (
        f"Let {who} pull{image}: it needs {right}; a repository of another account needs a policy that names it. "
        "The same may be said of a repository that doesn't exist: check its name."
    )


def any_pull(facts: Facts, where: Where) -> str:
    """A registry refuses a pull: which one decides the mend. Neither cloud's accounts mean anything to the other's."""
    host = facts.registry or ""
    if (facts.repository or host.endswith((".pkg.dev", "gcr.io"))) and where.surface != "ecs":
        return pull(facts, where)
    if ".dkr.ecr." in host and where.surface in (None, "ecs"):
        return ecr_pull(facts, where)
    others = "make it public, or copy it to a registry of this project's own"
    if host:
        return f"Give whoever pulls {facts.image or 'the image'} the right to: {others}."
    if where.surface == "ecs":
        own = f"an image in ECR: {_small(ecr_pull(facts, where).partition('. ')[0])}"
    else:
        own = f"an image in a registry of Google's: {_small(pull(facts, where).partition('. ')[0])}"
    return f"Of {own}. Of one in another registry: {others}."


def image_or_pull(facts: Facts, where: Where) -> str:
    """docker says the same of an image that isn't there and of one that may not be read."""
    right = any_pull(facts, where).partition(" The same ")[0]  # as may be said of a missing one: said already
    return f"{image(facts, where)} If it is there, it may not be read. {right}"


def disk(_facts: Facts, where: Where) -> str:
    """An image, unpacked, is larger than the disk that it is pulled to."""
    setting = {"gce": ", gpubench:google: {boot_disk_gb: N}", "ecs": ", gpubench:aws: {volume_gb: N}"}
    return f"The boot disk is too small for the image: take a larger one{setting.get(where.surface or '', '')}."


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
    who = _identity(facts.principal) or "the identity that gpubench runs as"
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
    who = _identity(facts.principal) or "the identity that gpubench runs as"
    return f"Allow {facts.permission or 'the action that the text names'} to {who}."


def no_way(facts: Facts, where: Where) -> str:
    """A task of ECS that reaches none of the services that it needs before a container begins."""
    region = _option("region", where.region or facts.region)
    return (
        "The task has no way to AWS's services. Without subnets of yours gpubench makes a network that has one: "
        "gpubench:aws: {network: nat}, or {network: endpoints}. Those that you give (gpubench:aws: {subnets: …}) need "
        "a route to a NAT gateway, or endpoints of ecr.api, ecr.dkr, logs, s3, and secretsmanager for secrets; their "
        f"security group has to let HTTPS out. What routes they have: aws ec2 describe-route-tables{region}"
    )


def no_instance_types(facts: Facts, where: Where) -> str:
    """ECS Managed Instances have none of the types that a rung names."""
    region = where.region or facts.region
    types = where.machine_types
    values = f" --filters Name=instance-type,Values={','.join(types)}" if types else ""
    return (
        f"ECS Managed Instances have none of this rung's machine_types{_of(types)}{f' in {region}' if region else ''}: "
        "change them in gpubench:ladder, or take another region or leave managed_instances out. Which of them the "
        f"region has: aws ec2 describe-instance-type-offerings{_option('region', region)}{values}"
    )


def _of(types: tuple[str, ...]) -> str:
    return f" ({', '.join(types)})" if types else ""


def _identity(principal: str | None) -> str | None:
    """Who is given a right: of a role's session, the role."""
    found = _SESSION.fullmatch(principal or "")
    return f"the role {found[1]}" if found else principal


def api_off(facts: Facts, where: Where) -> str:
    """A Google API is disabled."""
    project = where.project or facts.project
    at = f" --project {project}" if project else ""
    if not facts.service:
        return f"Enable the API that the text names: gcloud services enable with its name{at}, and wait some minutes."
    return f"gcloud services enable {facts.service}{at}, and wait some minutes."


_OBEYED_BY = {
    "compute.vmExternalIpAccess": "gpubench's own machines have no external address and need none",
    "compute.requireShieldedVm": "it wants boot images with Secure Boot",
    "compute.trustedImageProjects": "it has to allow projects/deeplearning-platform-release, where machines boot from",
    "gcp.resourceLocations": "a rung in a region that it allows obeys it",
}
"""What each wants, of those that machines with GPUs meet most:
https://cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints."""


def policy(facts: Facts, where: Where) -> str:
    """An organization policy forbids it: which one, what it wants, and who can change it."""
    project = where.project or facts.project or "PROJECT"
    name = facts.constraint or "CONSTRAINT"
    said = f"The organization policy {name}" if facts.constraint else "The organization policy that the text names"
    wants = _OBEYED_BY.get(name)
    return (
        f"{said} forbids it{': ' + wants if wants else ''}. What it allows: gcloud org-policies describe {name} "
        f"--effective --project={project}. Somebody with roles/orgpolicy.policyAdmin in the organization can make an "
        "exception for the project."
    )


def perimeter(facts: Facts, where: Where) -> str:
    """VPC Service Controls, or another policy of an organization's, refuse a request."""
    if facts.constraint:
        return policy(facts, where)
    return (
        "A perimeter of VPC Service Controls forbids it: ask somebody with roles/accesscontextmanager.policyAdmin in "
        "the organization to let it through; the identifier in the text finds the refusal in the audit log. Or run "
        "gpubench from within the perimeter."
    )


def project_off(facts: Facts, where: Where) -> str:
    """A project that is suspended, is being deleted, or may not pay for a request."""
    project = where.project or facts.project or "PROJECT"
    return (
        f"The project is suspended, is being deleted, or isn't one that this account may use: gcloud projects describe "
        f"{project} shows its state. Name another one, or have it restored; the account needs "
        "roles/serviceusage.serviceUsageConsumer in it."
    )


def account_off(facts: Facts, where: Where) -> str:
    """A service account is disabled, or deleted."""
    account = facts.account or facts.robot
    project = _project_of(account) or where.project or facts.project
    command = f"gcloud iam service-accounts enable {account or 'ADDRESS'}{f' --project={project}' if project else ''}"
    if account:
        return f"Enable the service account: {command}. If it was deleted, name another one or make it again."
    return f"Enable the service account of the credentials: {command}. If it was deleted, log in as another one."


def _project_of(account: str | None) -> str | None:
    """The project that a service account's address says; None for Google's own accounts, which name none."""
    name, _, rest = (account or "").partition("@")[2].partition(".")
    return name if rest == "iam.gserviceaccount.com" else None


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


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
        (known.service, known.quota_id, known.amount)
        for machine_type in where.machine_types
        for offer in catalog.offers(surface="ecs", machine_type=machine_type)
        for known in offer.quotas(purchase)
    }
    if len({code for _, code, _ in needs}) != 1:
        return (
            f"Ask for more {kind} vCPU of the machine type's family{figures}: aws service-quotas list-service-quotas "
            f"--service-code ec2{region} names the quota."
        )
    service, code, need = min(needs, key=lambda each: each[2])
    limit = facts.quota.limit if facts.quota and facts.quota.limit else 0.0
    how = quota_requests.command(service, code, limit + need, facts.region or where.region)
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
