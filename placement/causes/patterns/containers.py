"""Containers anywhere: pulling them, and how they end."""

from __future__ import annotations

from placement.causes import mends
from placement.causes.model import Cause, Scope
from placement.causes.patterns.model import Pattern, Says

_MOBY = "moby/moby and containerd, errors of pulls"
_CODEBUILD = "awsdocs/aws-codebuild-user-guide"
_K8S = "https://kubernetes.io/docs/concepts/containers/images/"

PULLS = (
    Pattern(
        "toomanyrequests",
        Cause.TRANSIENT,
        Scope.CLOUD,
        (
            r"\btoomanyrequests\b",
            "reached your (?:unauthenticated )?pull rate limit",
            "too many requests",
        ),
        "docker/hub-feedback#2429",
        "A registry throttles pulls: copy the image to a registry of this project's own.",
    ),
    Pattern(
        "wrong-platform",
        Cause.IMAGE,
        Scope.PROJECT,
        (
            "exec format error",
            r"no match(?:ing manifest)? for (?:platform|linux/\w+) in (?:the )?manifest",
            "no matching manifest for",
            "must support amd64/linux",
            "image operating system .{0,40}cannot be used",
        ),
        "nigelpoulton/gsd-book#2; gotenberg/gotenberg#505",
        "The image is built for another processor: build it for linux/amd64 (docker build --platform linux/amd64).",
    ),
    Pattern(
        "image-not-found",
        Cause.IMAGE,
        Scope.PROJECT,
        (
            # Of an image that isn't there and of one that may not be read, in the same words.
            "(?:pull access denied[^,]{0,200}, )?(?:repository does not exist or )?may require '?docker login",
            (
                "(?:pull access denied[^,]{0,200}, )?(?:repository does not exist or )?may require authorization"
                "(?:: server message: insufficient_scope)?"
            ),
            "does not exist or no pull access",
        ),
        "docker-archive-public/docker.kitematic#5429; " + _MOBY,
        mends.image_or_pull,
    ),
    Pattern(
        "image-not-found",
        Cause.IMAGE,
        Scope.PROJECT,
        (
            "manifest unknown",
            "manifest_unknown",
            r"manifest for \S+ not found",
            r"\bname[ _]unknown\b",
            r"\bname_unknown\b",
            "image '[^']+' (?:is )?not (?:found|available)",
            r"repository \S+ not found",
            "repository (?:name )?(?:does not exist|not known to registry|does not exist in the registry)",
            r"failed to resolve ref(?:erence)? \S+ ?.{0,200}?: not found",
            r"\bimage not found\b",
            "could not find image",
            "no such image",
            "unknown blob",
            r"/image(?:s|familyviews?)/[^' ]*' was not found",
            "requested image .{0,200}?not found",
            r"unexpected status.{0,300}?\b404 not found",
        ),
        "google-github-actions/deploy-cloudrun#465; docker-archive-public/docker.kitematic#5429; "
        "Shippable/support#4234",
        mends.image,
    ),
    Pattern(
        "invalid-image-name",
        Cause.IMAGE,
        Scope.PROJECT,
        (
            "invalid reference format",
            r"\binvalidimagename\b",
            "couldn't parse image reference",
        ),
        _K8S,
        "Correct the image's name.",
    ),
    Pattern(
        "pull-denied",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            "unexpected status.{0,400}?: 40[13] (?:forbidden|unauthorized)",
            r"(?:pull|manifest|image|registry|/v2/|token).{0,300}?\b40[13] (?:forbidden|unauthorized)",
            "requested access to the resource is denied",
            "unauthorized: authentication required",
            "no basic auth credentials",
            "unauthorized: you don't have the needed permissions",
            "pull access denied",
            r"https://[^' ]+/v2/[^' ]*'?: (?:unauthorized|denied)\b",
            "insufficient_scope",
            "(?:invalid|incorrect|wrong) username(?:/| or | and )password",
        ),
        "aws/containers-roadmap#2493; aws-samples/bedrock-access-gateway#114; " + _MOBY,
        mends.any_pull,
        Says.CODE,
    ),
    Pattern(
        "disk-full",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            r"(?:failed to (?:register layer|extract layer|pull|copy|create (?:task|shim))|error response from daemon"
            r"|error pulling image|/var/lib/(?:docker|containerd)/).{0,400}?no space left on device",
        ),
        _MOBY,
        mends.disk,
    ),
    Pattern(
        "UNABLE_TO_PULL_IMAGE",
        Cause.IMAGE,
        Scope.PROJECT,
        ("unable_to_pull_image",),
        _CODEBUILD,
        mends.image,
        Says.CODE,
    ),
    Pattern(
        "PULL_CUT_OFF",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            (
                r"(?:pulling image|docker pull|pull image|cannotpullcontainererror|/v2/).{0,300}?(?:client\.timeout"
                "|i/o timeout|handshake timeout|awaiting headers|waiting for connection|connection reset|context"
                " canceled|deadline exceeded|unexpected eof)"
            ),
        ),
        "DataBiosphere/dsub#218; nextflow-io/nextflow#4096",
    ),
    Pattern(
        "ErrImagePull",
        Cause.IMAGE,
        Scope.PROJECT,
        (
            r"\berrimagepull\b",
            r"\bimagepullbackoff\b",
            r"\berrimageneverpull\b",
            r"\bcannotpullcontainererror\b",
            r"\bimageinspecterror\b",
            "back-off pulling image",
            "failed to pull image",
        ),
        _K8S,
        mends.image,
        Says.WRAPPING,
    ),
)

ENDS = (
    Pattern(
        "CUDA_OUT_OF_MEMORY",
        Cause.WORKLOAD,
        Scope.TIER,
        (
            "cuda out of memory",
            "cuda_error_out_of_memory",
            "cublas_status_alloc_failed",
            "cudaerrormemoryallocation",
        ),
        "pytorch/pytorch#16417",
        "The GPU's memory is too small for it: a smaller batch, or a tier with more memory.",
    ),
    Pattern(
        "CUDA_DRIVER",
        Cause.WORKLOAD,
        Scope.PROJECT,
        (
            "cuda driver version is insufficient",
            "cudaerrorinsufficientdriver",
            "no cuda-capable device",
            "no cuda gpus are available",
            "nvidia-container-cli: ",
            "could not select device driver",
            "driver/library version mismatch",
            "unsatisfied condition: cuda",
        ),
        "NVIDIA/nvidia-docker#747; NVIDIA/nvidia-docker#548",
        "The image's CUDA and the machine's driver don't fit: an image of an older CUDA, or a "
        "machine with a newer driver.",
    ),
    Pattern(
        "CUDA_ERROR",
        Cause.WORKLOAD,
        Scope.PROJECT,
        (
            r"\b(?:cuda|nccl) error\b",
            r"\bcudnn_status_\w+",
        ),
        "PyTorch",
        "Read the workload's log.",
    ),
    Pattern(
        "OOMKilled",
        Cause.WORKLOAD,
        Scope.PROJECT,
        (
            r"\boomkilled\b",
            "outofmemoryerror: container killed",
            "memory limit of .{0,40}?exceeded",
            "possible container oom",
            "out of memory: killed process",
            "died because it was out of memory",
            "node was low on resource",
        ),
        "cyrildiagne/basnet-http#3; apache/spark#38233",
        "The container needs more memory than it has: a larger machine, or a smaller workload.",
    ),
    Pattern(
        "container-failed-to-start",
        Cause.WORKLOAD,
        Scope.PROJECT,
        (
            "container failed to start",
            "failed to start and (?:then )?listen",
            "application failed to start",
            r"container called exit\(",
            "failed at least the unhealthythreshold",
            "connect to the docker daemon",
            "user-provided container failed",
        ),
        "sgibson91/binderhub-deploy-gke#18",
        "Run the image here, and read its log.",
        Says.CODE,
    ),
    Pattern(
        "crash-loop",
        Cause.WORKLOAD,
        Scope.PROJECT,
        (
            r"\bcrashloopbackoff\b",
            "restarting failed container",
            r"\bbackofflimitexceeded\b",
            "reached the specified backoff limit",
        ),
        "k8sgpt-ai/k8sgpt#792",
        "Read the container's log.",
        Says.CODE,
    ),
    Pattern(
        "deadline",
        Cause.WORKLOAD,
        Scope.PROJECT,
        (
            "active longer than specified deadline",
            "configured timeout was reached",
            "duration exceeded timeout",
            "didn't end within its",
        ),
        "Kubernetes and Cloud Run docs",
        "It took longer than it was given: a longer time limit, or a shorter run.",
        Says.CODE,
    ),
    Pattern(
        "exit-code",
        Cause.WORKLOAD,
        Scope.PROJECT,
        (
            r"(?:exit|(?:exited|terminated)(?: \w+){0,3}?)[ -](?:code|status):?'? ?\(?\d+",
            r"\bcontainer exited\b",
            "essential container in task exited",
            r"\bessentialcontainerexited\b",
        ),
        "mozilla/addons#5259; apache/spark#38233; " + "ECS stop codes",
        "Read the workload's log.",
        Says.WRAPPING,
        unless=r"(?:code|status):?'? ?\(?(?:0|5000[12346])\b",  # no failure, and Batch's own codes
    ),
)

OTHERS = (
    # Quotas that are no cloud's.
    Pattern(
        "resource-quota",
        Cause.UNKNOWN,
        Scope.PROJECT,
        ("is forbidden: exceeded quota: ",),
        "hmcts/cnp-flux-config#2122; operate-first/support#600",
    ),
    Pattern(
        "another-vendor",
        Cause.UNKNOWN,
        Scope.PROJECT,
        ("you exceeded your current quota",),
        "BerriAI/litellm#516",
    ),
    Pattern(
        "network",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            (
                "connection (?:(?:was|has been|is) )?(?:forcibly )?(?:reset|refused|aborted|lost|timed out|closed"
                "|dropped|broken)"
            ),
            r"\bconnection(?:closed|reset|refused|aborted)error\b",
            r"\b(?:connect|read|socket|handshake|dial)[ ._]?(?:timeout|timed out|time-out)(?:error)?\b",
            "(?:tls|ssl) handshake",
            r"\bi/o timeout\b",
            "failure in name resolution",
            "remote (?:end|server) closed (?:the )?connection",
            "upstream connect error",
            "server disconnected",
            "socket hang up",
            "network unreachable",
            "broken pipe",
            "unexpected eof",
            r"\beof occurred",
            "no route to host",
            "network is unreachable",
            r"\bno such host\b",
            "transport is closing",
            "could not connect to the endpoint",
            "read timed out",
            "connection timeout",
            "max retries exceeded with url",
            "awaiting (?:response )?headers",
            "waiting for connection",
            r"\beconn(?:reset|refused|aborted)\b",
            r"\betimedout\b",
            r"\beai_again\b",
            r"\bserver misbehaving\b",
            "could(?: not|n't) (?:be )?resolved? (?:host|address)",
            "name or service not known",
            r"\bgetaddrinfo\b",
            r"https://[^ ]{1,300}: eof\b",
            "no healthy upstream",
        ),
        "Go's and Python's network errors",
        says=Says.WRAPPING,
    ),
)
