"""Containers anywhere: pulling them, and how they end."""

from __future__ import annotations

from placement.causes import mends
from placement.causes.model import Cause, Scope
from placement.causes.patterns.model import Pattern, Says

_MOBY = "moby/moby and containerd, errors of pulls"
_K8S = "https://kubernetes.io/docs/concepts/containers/images/"

PULLS = (
    Pattern(
        "toomanyrequests",
        Cause.TRANSIENT,
        Scope.CLOUD,
        r"\btoomanyrequests\b|reached your (?:unauthenticated )?pull rate limit|too many requests",
        "docker/hub-feedback#2429",
        ("toomanyrequests", "pull rate limit", "too many requests"),
        "A registry throttles pulls: copy the image to a registry of this project's own.",
    ),
    Pattern(
        "wrong-platform",
        Cause.IMAGE,
        Scope.PROJECT,
        r"exec format error|no match(?:ing manifest)? for (?:platform|linux/\w+) in (?:the )?manifest"
        r"|no matching manifest for"
        r"|must support amd64/linux|image operating system .{0,40}cannot be used",
        "nigelpoulton/gsd-book#2; gotenberg/gotenberg#505",
        ("exec format error", "no match for", "no matching manifest", "must support amd64", "image operating system"),
        "The image is built for another processor: build it for linux/amd64 (docker build --platform linux/amd64).",
    ),
    Pattern(
        "image-not-found",
        Cause.IMAGE,
        Scope.PROJECT,
        r"manifest unknown|manifest_unknown|manifest for \S+ not found|\bname[ _]unknown\b|\bname_unknown\b"
        r"|image '[^']+' not found|repository \S+ not found|does not exist or no pull access"
        r"|repository (?:name )?(?:does not exist|not known to registry|does not exist in the registry)"
        r"|may require '?docker login|may require authorization"
        r"|failed to resolve ref(?:erence)? \S+ ?.{0,200}?: not found|\bimage not found\b|could not find image"
        r"|/global/images/[^' ]*' was not found|requested image .{0,200}?not found|unexpected "
        r"status.{0,300}?\b404 not found",
        "google-github-actions/deploy-cloudrun#465; docker-archive-public/docker.kitematic#5429; "
        "Shippable/support#4234",
        (
            "manifest unknown",
            "manifest_unknown",
            "manifest for",
            "name unknown",
            "name_unknown",
            "image '",
            "repository",
            "no pull access",
            "may require",
            "failed to resolve ref",
            "image not found",
            "find image",
            "/global/images/",
            "requested image",
            "unexpected status",
        ),
        mends.image,
    ),
    Pattern(
        "invalid-image-name",
        Cause.IMAGE,
        Scope.PROJECT,
        r"invalid reference format|\binvalidimagename\b|couldn't parse image reference",
        _K8S,
        ("invalid reference format", "invalidimagename", "parse image"),
        "Correct the image's name.",
    ),
    Pattern(
        "pull-denied",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"unexpected status.{0,400}?: 40[13] (?:forbidden|unauthorized)"
        r"|(?:pull|manifest|image|registry|/v2/|token).{0,300}?\b40[13] (?:forbidden|unauthorized)"
        r"|requested access to the resource is denied|unauthorized: authentication required|no basic auth credentials"
        r"|unauthorized: you don't have the needed permissions|pull access denied|insufficient_scope",
        "aws/containers-roadmap#2493; aws-samples/bedrock-access-gateway#114; " + _MOBY,
        (
            "forbidden",
            "unauthorized",
            "access to the resource is denied",
            "no basic auth",
            "pull access denied",
            "insufficient_scope",
        ),
        mends.any_pull,
        Says.CODE,
    ),
    Pattern(
        "ErrImagePull",
        Cause.IMAGE,
        Scope.PROJECT,
        r"\berrimagepull\b|\bimagepullbackoff\b|\berrimageneverpull\b|\bcannotpullcontainererror\b|\bimageinspecterror\b"
        r"|back-off pulling image|failed to pull image",
        _K8S,
        ("errimage", "imagepullbackoff", "cannotpullcontainer", "imageinspecterror", "pulling image", "pull image"),
        mends.image,
        Says.WRAPPING,
    ),
)

ENDS = (
    Pattern(
        "CUDA_OUT_OF_MEMORY",
        Cause.WORKLOAD,
        Scope.TIER,
        r"cuda out of memory|cuda_error_out_of_memory|cublas_status_alloc_failed|cudaerrormemoryallocation",
        "pytorch/pytorch#16417",
        ("cuda out of memory", "cuda_error_out", "cudaerrormemory", "cublas"),
        "The GPU's memory is too small for it: a smaller batch, or a tier with more memory.",
    ),
    Pattern(
        "CUDA_DRIVER",
        Cause.WORKLOAD,
        Scope.PROJECT,
        r"cuda driver version is insufficient|cudaerrorinsufficientdriver|no cuda-capable device"
        r"|nvidia-container-cli: |could not select device driver|driver/library version mismatch"
        r"|unsatisfied condition: cuda",
        "NVIDIA/nvidia-docker#747; NVIDIA/nvidia-docker#548",
        (
            "cuda driver",
            "cudaerrorinsufficient",
            "cuda-capable",
            "nvidia-container-cli",
            "device driver",
            "library version mismatch",
            "condition: cuda",
        ),
        "The image's CUDA and the machine's driver don't fit: an image of an older CUDA, or a "
        "machine with a newer driver.",
    ),
    Pattern(
        "CUDA_ERROR",
        Cause.WORKLOAD,
        Scope.PROJECT,
        r"\bcuda error\b|\bcudnn_status_\w+",
        "PyTorch",
        ("cuda error", "cudnn_status"),
        "Read the workload's log.",
    ),
    Pattern(
        "OOMKilled",
        Cause.WORKLOAD,
        Scope.PROJECT,
        r"\boomkilled\b|outofmemoryerror: container killed|memory limit of .{0,40}?exceeded|possible container oom"
        r"|out of memory: killed process|node was low on resource",
        "cyrildiagne/basnet-http#3; apache/spark#38233",
        ("oomkilled", "container killed", "memory limit of", "container oom", "killed process", "low on resource"),
        "The container needs more memory than it has: a larger machine, or a smaller workload.",
    ),
    Pattern(
        "container-failed-to-start",
        Cause.WORKLOAD,
        Scope.PROJECT,
        r"container failed to start|failed to start and (?:then )?listen|application failed to start"
        r"|container called exit\(|user-provided container failed",
        "sgibson91/binderhub-deploy-gke#18",
        ("container failed", "failed to start", "container called exit"),
        "Run the image here, and read its log.",
        Says.CODE,
    ),
    Pattern(
        "crash-loop",
        Cause.WORKLOAD,
        Scope.PROJECT,
        r"\bcrashloopbackoff\b|restarting failed container|\bbackofflimitexceeded\b|reached the "
        r"specified backoff limit",
        "k8sgpt-ai/k8sgpt#792",
        ("crashloopbackoff", "restarting failed container", "backofflimit", "backoff limit"),
        "Read the container's log.",
        Says.CODE,
    ),
    Pattern(
        "deadline",
        Cause.WORKLOAD,
        Scope.PROJECT,
        r"active longer than specified deadline|configured timeout was reached|didn't end within its",
        "Kubernetes and Cloud Run docs",
        ("specified deadline", "configured timeout", "end within its"),
        "It took longer than it was given: a longer time limit, or a shorter run.",
        Says.CODE,
    ),
    Pattern(
        "exit-code",
        Cause.WORKLOAD,
        Scope.PROJECT,
        r"(?:exit|(?:exited|terminated)(?: \w+){0,3}?)[ -](?:code|status):?'? ?\(?(?!0\b|50001\b)\d+"
        r"|\bcontainer exited\b"
        r"|essential container in task exited|\bessentialcontainerexited\b",
        "mozilla/addons#5259; apache/spark#38233; " + "ECS stop codes",
        ("exit code", "exit status", "exit-code", "exited", "terminated", "container in task", "essentialcontainer"),
        "Read the workload's log.",
        Says.WRAPPING,
    ),
)

OTHERS = (
    # Quotas that are no cloud's.
    Pattern(
        "resource-quota",
        Cause.UNKNOWN,
        Scope.PROJECT,
        r"is forbidden: exceeded quota: ",
        "hmcts/cnp-flux-config#2122; operate-first/support#600",
        ("exceeded quota: ",),
    ),
    Pattern(
        "another-vendor",
        Cause.UNKNOWN,
        Scope.PROJECT,
        r"you exceeded your current quota",
        "BerriAI/litellm#516",
        ("exceeded your current quota",),
    ),
    Pattern(
        "network",
        Cause.TRANSIENT,
        Scope.REGION,
        r"connection reset by peer|tls handshake timeout|\bi/o timeout\b|temporary failure in name resolution"
        r"|connection refused|remote end closed connection",
        "Go's and Python's network errors",
        ("connection re", "handshake timeout", "i/o timeout", "name resolution", "closed connection"),
        says=Says.WRAPPING,
    ),
)
