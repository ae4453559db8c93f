"""What the clouds say when they refuse, word for word, with where each was read.

Templates only: who is refused, and why, is decided elsewhere. A text in angle brackets beside a source names the
public report or code that it was read in; ``docs`` means the cloud's own documentation of the error.
"""

from __future__ import annotations

from collections.abc import Sequence

STOCKOUT = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
QUOTA = "QUOTA_EXCEEDED"


def _vm(machine_type: str, gpus: float, accelerator: str | None) -> str:
    attached = f" with {gpus:g} {accelerator} accelerator(s)" if accelerator and gpus else ""
    return f"A {machine_type} VM instance{attached}"


# Compute Engine


def gce_stockout(
    zone: str, machine_type: str, gpus: float, accelerator: str | None, hint: Sequence[str] = (), project: str = ""
) -> str:
    """With the zones that have capacity, where the cloud names some. <karpenter-gcp, public tickets, 2025-2026>

    Without, ``project`` picks the older form. <PerfKitBenchmarker, SkyPilot's failover code>
    """
    if not hint and project:
        return (
            f"The zone 'projects/{project}/zones/{zone}' does not have enough resources available to fulfill the "
            "request.  '(resource type:compute)'."
        )
    consider = (
        f"Consider trying your request in the {', '.join(hint)} zone(s), which currently has capacity to accommodate "
        "your request. "
        if hint
        else ""
    )
    return (
        f"{_vm(machine_type, gpus, accelerator)} is currently unavailable in the {zone} zone. {consider}Alternatively, "
        "you can try your request again with a different VM hardware configuration or at a later time."
    )


WAITING = "Waiting for resources. Currently there are not enough resources available to fulfill the request."
"""Of a flex-start request: a queue's state, under the code STOCKOUT, and no failure. <copy of a group's errors>"""


def gce_disguised(zone: str, machine_type: str, gpus: float, accelerator: str | None) -> str:
    """A shape that the zone doesn't have, under the code STOCKOUT. <public ticket>"""
    return (
        f"{_vm(machine_type, gpus, accelerator)} is not supported in the {zone} zone with your configuration. Retry "
        "your request in a zone that supports the machine type."
    )


def gce_not_offered(project: str, zone: str, machine_type: str) -> str:
    """HTTP 400. <terraform-provider-google tickets>"""
    link = f"https://compute.googleapis.com/compute/v1/projects/{project}/zones/{zone}/machineTypes/{machine_type}"
    return (
        f"Invalid value for field 'resource.machineType': '{link}'. Machine type with name '{machine_type}' does not "
        f"exist in zone '{zone}'."
    )


def gce_no_accelerator(project: str, zone: str, accelerator: str) -> str:
    """An N1 with an accelerator that the zone doesn't have: HTTP 404. <SkyPilot's failover code>"""
    return f"The resource 'projects/{project}/zones/{zone}/acceleratorTypes/{accelerator}' was not found"


def gce_quota(
    metric: str, quota_id: str, limit: float, region: str | None, dimensions: Sequence[tuple[str, str]] = ()
) -> str:
    """With the details that the provider prints below. ``region`` None: global. <public tickets; FAILURES fact 3>"""
    where = f"in region {region}" if region else "globally"
    pairs = " ".join(
        f"{k}:{v}" for k, v in sorted((*dimensions, ("region", region) if region else ("global", "global")))
    )
    return (
        f"Quota '{metric}' exceeded.  Limit: {limit:.1f} {where}.\n"
        f"\tmetric name = compute.googleapis.com/{metric.lower()}\n"
        f"\tlimit name = {quota_id}\n"
        f"\tlimit = {limit:g}\n"
        f"\tdimensions = map[{pairs}]"
    )


def gce_forbidden(permission: str, resource: str) -> str:
    """HTTP 403. <terraform-provider-google tickets>"""
    return f"Required '{permission}' permission for '{resource}'"


def gce_act_as(account: str, user: str) -> str:
    """HTTP 400, SERVICE_ACCOUNT_ACCESS_DENIED. <public tickets>"""
    return (
        f"The user does not have access to service account '{account}'.  User: '{user}'.  Ask a project owner to grant "
        "you the iam.serviceAccountUser role on the service account"
    )


def gce_label(value: str) -> str:
    """HTTP 400. <public tickets>"""
    return (
        f"Invalid value for field 'resource.labels': ''. Label value '{value}' violates format constraints. The value "
        "can only contain lowercase letters, numeric characters, underscores and dashes. The value can be at most 63 "
        "characters long. International characters are allowed."
    )


def gcp_exists(resource: str) -> str:
    """HTTP 409. <terraform-provider-google tickets>"""
    return f"The resource '{resource}' already exists"


GCE_PREEMPTED = "Instance was preempted."
"""Operation compute.instances.preempted. <audit log entries in public tickets>"""

GCE_UNAVAILABLE = "The service is currently unavailable."
"""HTTP 503, backendError. <PerfKitBenchmarker's retry list>"""


def gcp_throttled(project_number: str) -> str:
    """HTTP 403, rateLimitExceeded. <test data of terraform-provider-google>"""
    return (
        "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'compute.googleapis.com' "
        f"for consumer 'project_number:{project_number}'."
    )


# Artifact Registry


def pull_denied(project: str, location: str, repository: str) -> str:
    """Also said of a repository that isn't there. <public tickets; the first incident>"""
    return (
        'DENIED: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource '
        f'"projects/{project}/locations/{location}/repositories/{repository}" (or it may not exist)'
    )


def vm_pull(image: str, why: str) -> str:
    """What the container engine of a VM prints. <public tickets>"""
    return f"docker: Error response from daemon: pull of {image}: {why}."


# Google Kubernetes Engine


def gke_pool(count: int, code: str, instance: str, why: str) -> str:
    """Creation of a node pool. <terraform-provider-google#6287, #10823>"""
    lead = "Insufficient quota to satisfy the request: " if code == "GCE_QUOTA_EXCEEDED" else ""
    return (
        f"{lead}Not all instances running in IGM after 46.6s. Expect {count}. Current errors: [{code}]: Instance "
        f"'{instance}' creation failed: {why}"
    )


def gke_no_accelerator(accelerator: str, zones: Sequence[str]) -> str:
    """HTTP 400, one line for each zone. <kubernetes-engine-samples#1738>"""
    return "\n".join(f'Accelerator type "{accelerator}" does not exist in zone {zone}.' for zone in zones)


def gke_scale_up(zones: Sequence[str], why: str) -> str:
    """Event of a pod; ``why`` is ``GCE out of resources`` or ``GCE quota exceeded``. <many public tickets>"""
    return (
        f"Warning FailedScaleUp cluster-autoscaler Node scale up in zones {', '.join(zones)} associated with this pod "
        f"failed: {why}. Pod is at risk of not being scheduled."
    )


def gke_forbidden(permission: str, project: str) -> str:
    """HTTP 403. <terraform-provider-google tickets>"""
    return f'Required "{permission}" permission(s) for "projects/{project}".'


def gke_pull(image: str, why: str) -> str:
    """Event of a pod. <public tickets>"""
    return f'Failed to pull image "{image}": ErrImagePull: {why}'


GKE_PREEMPTED = "Node is shutting down: the node's instance was preempted. Instance was preempted."
GKE_DEADLINE = "DeadlineExceeded: Job was active longer than specified deadline"
"""Condition of a Kubernetes Job. <Kubernetes docs>"""

GKE_PROTECTED = (
    "Cannot destroy cluster because deletion_protection is set to true. "
    "Set it to false to proceed with cluster deletion."
)
"""<terraform-provider-google; public tickets>"""


# Cloud Run


RUN_NO_INSTANCE = "The request was aborted because there was no available instance."
"""HTTP 429 or 500 at serving time: capacity. <Cloud Run docs>"""

RUN_GPU_COUNT = "Quota exceeded for total allowable count of GPUs per project per region."
"""Others, old revisions among them, hold what the quota allows. <the fifth incident; public tickets>"""


def run_no_quota(job: bool, redundancy: bool = False) -> str:
    """HTTP 400. <public tickets>"""
    field = (
        "spec.template.spec.parallelism"
        if job
        else "spec.template.metadata.annotations[autoscaling.knative.dev/maxScale]"
    )
    return (
        f"{field}: You do not have quota for using GPUs {'with' if redundancy else 'without'} zonal redundancy. Learn "
        "more about GPU zonal redundancy: g.co/cloudrun/gpu-redundancy-help\nTo request quota: g.co/cloudrun/gpu-quota"
    )


RUN_JOB_REDUNDANCY = (
    "Currently Cloud Run jobs are unable to offer GPU enabled instances with zonal redundancy due to capacity "
    "limitations."
)
"""<public tickets>"""


def run_max_instances(quota_id: str, instances: int, requested: float, allowed: float) -> str:
    """A scale that the quota doesn't allow; ``instances``: what it would. HTTP 400. <public tickets, 2026-04 and 08>"""
    if "Gpu" in quota_id:
        head = f"Max instances must be set to {instances} or fewer in order to set GPU requirements. "
        head += "To request quota: g.co/cloudrun/gpu-quota"
    else:
        what = "memory" if quota_id.startswith("Mem") else "CPU"
        head = f"Max instances must be set to {instances} or fewer to set the requested total {what}. Consider running "
        head += "your workload in a region with greater capacity, or requesting an increase in quota for this region."
    return f"{head}\nQuota violated:\n  {quota_id} requested: {requested:.0f} allowed: {allowed:.0f}"


def run_not_ready(revision: str, why: str) -> str:
    """Condition of a revision. <the fifth incident; public tickets>"""
    return f"Revision '{revision}' is not ready and cannot serve traffic. {why}"


def run_image(number: str, image: str) -> str:
    """HTTP 403. <public tickets>"""
    return (
        f"Google Cloud Run Service Agent service-{number}@serverless-robot-prod.iam.gserviceaccount.com must have "
        f"permission to read the image, {image}. Ensure that the provided container image URL is correct and that the "
        "above account has permission to access the image. If you just enabled the Cloud Run API, the permissions "
        "might take a few minutes to propagate."
    )


def run_no_image(image: str) -> str:
    """HTTP 404. <public tickets>"""
    return f"Image '{image}' not found."


def run_forbidden(permission: str, resource: str) -> str:
    """HTTP 403. <public tickets>"""
    return f"Permission '{permission}' denied on resource '{resource}' (or resource may not exist)."


def run_not_offered(accelerator: str, region: str) -> str:
    """No real text was found for it: this one stands in, in the manner of the others."""
    return f"spec.template.spec.node_selector: GPU type {accelerator} is not supported in the region {region}."


RUN_DEADLINE = "The configured timeout was reached."
"""<Cloud Run docs>"""


def run_protected(kind: str) -> str:
    """The provider's own refusal. <terraform-provider-google; public tickets>"""
    return f"cannot destroy {kind} without setting deletion_protection=false and running `terraform apply`"


# AWS


def launch_failed(spot: bool, code: str, why: str) -> str:
    """An Auto Scaling group's activity. <public tickets; FACTS 3.5>"""
    return (
        f"Could not launch {'Spot' if spot else 'On-Demand'} Instances. {code} - {why} Launching EC2 instance failed."
    )


def ec2_stockout(machine_type: str, zone: str, hint: Sequence[str]) -> str:
    """InsufficientInstanceCapacity, HTTP 500. <pulumi-aws and Karpenter tickets>"""
    text = (
        f"We currently do not have sufficient {machine_type} capacity in the Availability Zone you requested ({zone}). "
        "Our system will be working on provisioning additional capacity."
    )
    if hint:
        text += (
            f" You can currently get {machine_type} capacity by not specifying an Availability Zone in your request or "
            f"choosing {', '.join(hint)}."
        )
    return text


SPOT_STOCKOUT = (
    "Unable to fulfill capacity due to your request configuration. Please adjust your request and try again."
)
"""UnfulfillableCapacity. <AWS re:Post; public tickets>"""

SPOT_QUOTA = "Max spot instance count exceeded."
"""MaxSpotInstanceCountExceeded. <public tickets>"""


def vcpu_quota(limit: float) -> str:
    """VcpuLimitExceeded. <many public tickets>"""
    return (
        f"You have requested more vCPU capacity than your current vCPU limit of {limit:g} allows for the instance "
        "bucket that the specified instance type belongs to. Please visit "
        "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
    )


def ec2_unsupported(machine_type: str, zone: str, others: Sequence[str]) -> str:
    """Unsupported: not offered there. <public tickets>"""
    text = (
        f"Your requested instance type ({machine_type}) is not supported in your requested Availability Zone ({zone}). "
        "Please retry your request by not specifying an Availability Zone"
    )
    return text + (f" or choosing {', '.join(others)}." if others else ".")


def group_failed(group: str, activity: str, why: str) -> str:
    """What the provider says of a group that it waited for. <pulumi-aws#5178; public tickets>"""
    return f"waiting for Auto Scaling Group ({group}) capacity satisfied: scaling activity ({activity}): Failed: {why}"


def aws_forbidden(user: str, permission: str, resource: str) -> str:
    """AccessDenied, HTTP 403. <public tickets>"""
    return (
        f"User: {user} is not authorized to perform: {permission} on resource: {resource} "
        f"because no identity-based policy allows the {permission} action"
    )


def ec2_unauthorized(user: str, permission: str, resource: str, message: str) -> str:
    """UnauthorizedOperation, HTTP 403. ``message``: what only the account can decode. <public tickets>"""
    return (
        f"You are not authorized to perform this operation. User: {user} is not "
        f"authorized to perform: {permission} on resource: {resource} because no identity-based policy allows the "
        f"{permission} action. Encoded authorization failure message: {message}"
    )


def ecs_pull(image: str, role: str, repository: str) -> str:
    """Reason why a task stopped. <amazon-ecs-agent's test data; public tickets>"""
    account, region, name = repository.split("|")
    who = f"arn:aws:sts::{role.split(':')[4]}:assumed-role/{role.rpartition('/')[2]}/ecs-task"
    return (
        f"CannotPullContainerError: pull access denied for {image.partition('@')[0]}, repository does not exist or may "
        f"require 'docker login': denied: User: {who} is not authorized to perform: ecr:BatchGetImage on resource: "
        f"arn:aws:ecr:{region}:{account}:repository/{name} because no identity-based policy allows the "
        "ecr:BatchGetImage action"
    )


def ecs_no_image(image: str) -> str:
    """Reason why a task stopped. <ECS docs>"""
    return f"CannotPullContainerError: failed to resolve reference {image}: {image}: not found"


def ecs_unplaced(service: str) -> str:
    """Event of a service; its root cause is in the group's activities. <ECS docs; public tickets>"""
    return (
        f"(service {service}) was unable to place a task because no container instance met all of its requirements. "
        "Reason: No Container Instances were found in your capacity provider."
    )


FARGATE_STOCKOUT = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
"""<ECS docs>"""

ECS_SPOT = "SpotInterruption: Your Spot Task was interrupted."
"""stopCode and stoppedReason. <ECS docs>"""

EC2_INTERNAL = "An internal error has occurred"
"""HTTP 500. <EC2 docs>"""

EC2_THROTTLED = "Request limit exceeded."
"""HTTP 503. <EC2 docs; public tickets>"""


def out_of_time(surface: str, seconds: float) -> str:
    """How a run that took too long ends. On VMs and container instances it is gpubench's own watch that ends it."""
    if surface == "gke":
        return GKE_DEADLINE
    return RUN_DEADLINE if surface == "cloud-run" else f"The run didn't end within its {seconds:g} seconds."
