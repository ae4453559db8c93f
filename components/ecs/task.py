"""The task of an attempt: the benchmark's container, and beside it the one that takes its results to the bucket."""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from components.ecs import images, names
from components.ecs.kinds import Runs
from components.ecs.reach import BadRequest
from components.ecs.roles import RunRoles

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent

_MODULES = {
    "components/redaction.py": "components/redaction.py",
    "components/run_log.py": "components/run_log.py",
    "components/uploads.py": "components/uploads.py",
    "results_folder.py": "results_folder.py",
    "uploader.py": "components/ecs/uploader.py",
}
"""What the uploader's container runs: the name in its archive, the file here."""

BOOTSTRAP = (
    "import base64,io,os,runpy,sys,tempfile,zipfile\n"
    "there=tempfile.mkdtemp()\n"
    "zipfile.ZipFile(io.BytesIO(base64.b64decode(os.environ.pop('GPUBENCH_CODE')))).extractall(there)\n"
    "sys.path.insert(0,there)\n"
    "sys.path.append('/var/runtime')\n"  # where Lambda's images have had boto3 at times
    "runpy.run_path(there+'/uploader.py',run_name='__main__')\n"
)
"""The command of the uploader's container: it unpacks the environment's GPUBENCH_CODE, and runs it."""

READY = "/tmp/gpubench/ready"  # noqa: S108  # in the uploader's container
"""The file that says that the uploader can bring results home; the benchmark begins after that."""

MAX_DEFINITION = 64 * 1024
"""Bytes of a task definition (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html)."""

_RESERVED_ARN = 160  # the longest ARN of a secret here, for those that aren't known yet
_OWN_MIB, _OWN_CPU = 512, 256  # the uploader's: boto3 and one part of 8 MiB at a time
_LEAST_MIB = 1024  # the benchmark's: it may take all that the machine has beyond that
STOP_S = 120
"""Seconds that a container has after SIGTERM; Fargate allows no more.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html (stopTimeout)
"""
_SHM_MIB = 2048  # as on a machine of one's own: PyTorch's loaders share tensors through /dev/shm
_STACK = 64 * 2**20
_ULIMITS = [
    # What NVIDIA's own containers are started with: pinned memory isn't counted, and deep stacks are allowed
    # (https://docs.nvidia.com/deeplearning/frameworks/user-guide/index.html).
    {"name": "memlock", "softLimit": -1, "hardLimit": -1},
    {"name": "stack", "softLimit": _STACK, "hardLimit": _STACK},
]


@dataclass(frozen=True, kw_only=True)
class TaskArgs:
    """What the tasks of an attempt carry out; which run it is, RunTask says.

    ``image``: by digest. ``argv``: the container's command; empty for the image's own. ``env``: in clear. ``secrets``:
    by variable, the ARN of a secret of Secrets Manager in the task's region. ``attempt``: the ledger's. ``results``:
    ``s3://bucket/prefix``; ``results_region``: the bucket's, None: the task's. ``timeout_s``: for one run. ``gpus``: 0
    for tier `cpu`; a fraction of one is one device to ECS. ``upload_s``: seconds between two uploads of what is
    measured. ``uploader_image``: None: images.UPLOADER_IMAGE.
    """

    image: str
    attempt: str
    results: str
    timeout_s: float
    gpus: float
    argv: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    upload_s: float = 15.0
    uploader_image: str | None = None
    results_region: str | None = None


def code() -> str:
    """The value of the uploader's GPUBENCH_CODE: base64 of a zip of its modules, the same for the same modules."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(_MODULES.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (PROJECT_ROOT / path).read_bytes(), compresslevel=9)
    return base64.b64encode(made.getvalue()).decode()


def container_definitions(
    task: TaskArgs, runs: Runs, *, base: str, region: str, log_group: str, secrets: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The two containers, in the words of RegisterTaskDefinition. ``secrets``: the ARNs of the task's, now known.

    Raises ValueError where they are more than a task definition takes.
    """

    # Its streams are names.log_stream's.
    log = {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": log_group,
            "awslogs-region": region,
            "awslogs-stream-prefix": base,
            # A log service that is slow, or refuses, must not hold up what is being measured.
            "mode": "non-blocking",
            "max-buffer-size": "25m",
        },
    }
    volume = [{"sourceVolume": "results", "containerPath": "/results", "readOnly": False}]
    benchmark: dict[str, Any] = {
        "name": names.BENCHMARK,
        "image": task.image,
        "essential": False,
        **({"command": list(task.argv)} if task.argv else {}),
        "environment": _environment({**task.env, "GPUBENCH_RESULTS": "/results"}),
        "secrets": [{"name": name, "valueFrom": secrets[name]} for name in sorted(task.secrets)],
        "mountPoints": volume,
        # Nothing is measured that can't be brought home. What begins later is stopped first: the uploader ends last
        # (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html, dependsOn).
        "dependsOn": [{"containerName": names.UPLOADER, "condition": "HEALTHY"}],
        "stopTimeout": STOP_S,
        "logConfiguration": log,
    }
    if runs is not Runs.FARGATE:
        # Of these Fargate lets nofile alone be changed: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/
        # task_definition_parameters.html, Resource limits.
        benchmark["ulimits"] = _ULIMITS
        benchmark["memoryReservation"] = _LEAST_MIB
        benchmark["linuxParameters"] = {"sharedMemorySize": _SHM_MIB, "initProcessEnabled": True}
    if task.gpus:
        benchmark["resourceRequirements"] = [{"type": "GPU", "value": str(math.ceil(task.gpus))}]
    uploader: dict[str, Any] = {
        "name": names.UPLOADER,
        "image": task.uploader_image or images.UPLOADER_IMAGE,
        "essential": True,
        "cpu": _OWN_CPU,
        "memory": _OWN_MIB,
        "user": "0",  # it opens /results to whatever user the benchmark's image has
        "entryPoint": ["python3"],
        "command": ["-c", BOOTSTRAP],
        "environment": _environment(
            {
                "GPUBENCH_CODE": code(),
                "GPUBENCH_RESULTS_URL": task.results,
                "GPUBENCH_ATTEMPT": task.attempt,
                "GPUBENCH_TIMEOUT_S": str(task.timeout_s),
                "GPUBENCH_REGION": task.results_region or region,
                "GPUBENCH_UPLOAD_S": str(task.upload_s),
            }
        ),
        # For one thing: to keep them out of what it uploads.
        "secrets": [
            {"name": f"GPUBENCH_SECRET_{number}", "valueFrom": secrets[name]}
            for number, name in enumerate(sorted(task.secrets), start=1)
        ],
        "mountPoints": volume,
        "healthCheck": {
            "command": ["CMD-SHELL", f"test -e {READY}"],
            "interval": 5,
            "timeout": 5,
            "retries": 10,
            "startPeriod": 180,
        },
        "stopTimeout": STOP_S,
        "logConfiguration": log,
    }
    # Without those that say nothing: the provider compares with what AWS keeps.
    found = [{key: value for key, value in one.items() if value != []} for one in (benchmark, uploader)]
    if (size := len(json.dumps(found).encode())) > MAX_DEFINITION - 2048:  # the rest of a definition
        raise ValueError(
            f"gpubench:benchmark.env and gpubench:benchmark.command are too long: a task definition takes "
            f"{MAX_DEFINITION} bytes, and this one has {size}"
        )
    return found


def task_definition(
    resource: str,
    task: TaskArgs,
    runs: Runs,
    *,
    base: str,
    region: str,
    log_group: str,
    roles: RunRoles,
    tags: Mapping[str, str],
    opts: pulumi.ResourceOptions,
    machine_type: str = "",
    disk_gb: int = 0,
) -> aws.ecs.TaskDefinition:
    """Declare an attempt's task definition. Raises BadRequest for one that is too long.

    ``log_group``: its name. ``machine_type``, ``disk_gb``: Fargate's size of it.
    """

    def definitions(arns: Mapping[str, str]) -> str:
        try:
            made = container_definitions(task, runs, base=base, region=region, log_group=log_group, secrets=arns)
        except ValueError as error:
            mend = "put what is long into the image, or into files that it reads"
            raise BadRequest("too-long", str(error), mend) from None
        return json.dumps(made)

    definitions(dict.fromkeys(task.secrets, "x" * _RESERVED_ARN))  # what is too long is said in a preview, too
    on_fargate = runs is Runs.FARGATE
    cpu, memory = images.fargate_size(machine_type) if on_fargate else (0, 0)
    return aws.ecs.TaskDefinition(
        resource,
        family=base,
        region=region,
        # Its own network card, and so its own security group; and the machine's metadata are out of its reach.
        network_mode="awsvpc",
        requires_compatibilities=[str(runs)],
        cpu=str(cpu) if on_fargate else None,
        memory=str(memory) if on_fargate else None,
        ephemeral_storage={"size_in_gib": disk_gb} if on_fargate else None,
        runtime_platform={"cpu_architecture": "X86_64", "operating_system_family": "LINUX"} if on_fargate else None,
        execution_role_arn=roles.execution_role_arn,
        task_role_arn=roles.task_role_arn,
        # Its life is the task's: on a machine of one's own it lies on the root volume, which is encrypted.
        volumes=[{"name": "results"}],
        container_definitions=pulumi.Output.all(**task.secrets).apply(definitions),
        skip_destroy=False,
        tags=dict(tags),
        opts=opts,
    )


def _environment(values: Mapping[str, str]) -> list[dict[str, str]]:
    """In the order that ECS keeps: by name."""
    return [{"name": name, "value": values[name]} for name in sorted(values)]
