"""The task of an attempt: what AWS's own model says of it, what its two containers see, and the uploader's code."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pulumi
import pytest

from catalog import Purchase
from components.ecs import images, names
from components.ecs.task import MAX_DEFINITION, PROJECT_ROOT, READY, code
from tests.ecs import declared
from tests.ecs.declared import ACCOUNT, BASE, CANARY, IMAGE, REGION, SECRET
from tests.recording import record


def env(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["environment"]}


def test_a_task_on_a_gpu_machine() -> None:
    definition = declared.cluster(task=declared.task(gpus=4)).one("TaskDefinition")
    request = declared.definition_request(definition)
    declared.check("ecs", "RegisterTaskDefinition", request)
    assert len(json.dumps(request).encode()) < MAX_DEFINITION
    assert (request["networkMode"], request["requiresCompatibilities"]) == ("awsvpc", ["EC2"])
    assert request["volumes"] == [{"name": "results"}]
    assert (request["taskRoleArn"], request["executionRoleArn"]) == ("arn:of:roles-task", "arn:of:roles-execution")
    assert not {"cpu", "memory", "ephemeralStorage", "runtimePlatform"} & set(request)

    benchmark, uploader = declared.named(definition, "benchmark"), declared.named(definition, "uploader")
    assert (benchmark["essential"], uploader["essential"]) == (False, True), "the task ends when the uploader does"
    # It begins when the results can come home, and so it is also the first that is stopped.
    assert benchmark["dependsOn"] == [{"containerName": "uploader", "condition": "HEALTHY"}]
    assert uploader["healthCheck"]["command"] == ["CMD-SHELL", f"test -e {READY}"]
    assert (benchmark["stopTimeout"], uploader["stopTimeout"]) == (120, 120)
    assert benchmark["resourceRequirements"] == [{"type": "GPU", "value": "4"}]
    assert "resourceRequirements" not in uploader
    assert benchmark["linuxParameters"]["sharedMemorySize"] == 2048
    assert {one["name"]: (one["softLimit"], one["hardLimit"]) for one in benchmark["ulimits"]} == {
        "memlock": (-1, -1),
        "stack": (67108864, 67108864),
    }
    assert "memory" not in benchmark, "it may take all that the machine has"
    assert (benchmark["image"], benchmark["command"]) == (IMAGE, ["--profile", "quick one"])
    assert "entryPoint" not in benchmark
    assert env(benchmark) == {"BATCH": "8 9", "GPUBENCH_RESULTS": "/results"}
    assert env(uploader)["GPUBENCH_RESULTS_URL"] == "s3://bench/team"
    for one in (benchmark, uploader):
        assert one["mountPoints"] == [{"sourceVolume": "results", "containerPath": "/results", "readOnly": False}]
        assert one.get("privileged") is None
        log = one["logConfiguration"]["options"]
        assert log["awslogs-group"] == names.log_group("dev")
        assert log["awslogs-region"] == REGION
        assert log["mode"] == "non-blocking"
        stream = f"{log['awslogs-stream-prefix']}/{one['name']}/0a1b2c"
        assert names.log_stream(BASE, one["name"], "0a1b2c") == stream


def test_a_task_on_fargate() -> None:
    recording = declared.fargate()
    definition = recording.one("TaskDefinition")
    request = declared.definition_request(definition)
    declared.check("ecs", "RegisterTaskDefinition", request)
    assert (request["cpu"], request["memory"]) == ("8192", "32768")
    assert request["requiresCompatibilities"] == ["FARGATE"]
    assert request["ephemeralStorage"] == {"sizeInGiB": 200}
    assert request["runtimePlatform"] == {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}
    benchmark = declared.named(definition, "benchmark")
    assert not {"resourceRequirements", "linuxParameters"} & set(benchmark), "Fargate has neither"
    providers = recording.one("ClusterCapacityProviders").inputs
    assert providers["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    assert providers["defaultCapacityProviderStrategies"][0]["capacityProvider"] == "FARGATE_SPOT"
    assert not (recording.of("Group") or recording.of("LaunchTemplate") or recording.of("CapacityProvider"))
    declared.assert_hooked_children(recording, "capacity")
    # A task may be run as soon as there is a cluster.
    routed = {one.name for one in recording.of("RouteTableAssociation") if one.name.endswith("-private")}
    assert len(routed) > 1
    assert recording.one("Cluster").depends_on >= routed


@pytest.mark.parametrize(("asked", "given"), [(5, 21), (50, 50), (500, 200)])
def test_fargates_disk_is_one_that_it_has(asked: int, given: int) -> None:
    definition = declared.fargate(volume_gb=asked, purchase=Purchase.ON_DEMAND).one("TaskDefinition")
    assert definition.inputs["ephemeralStorage"]["sizeInGib"] == given


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"machine_type": "g5.xlarge"}, "no size of Fargate's"),
        ({"task": declared.task()}, "no GPU at all"),
        ({"purchase": Purchase.RESERVED}, "isn't sold reserved"),
        ({"way": "endpoints", "task": declared.task(gpus=0)}, "uploader_image"),
    ],
)
def test_what_fargate_has_not_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(pulumi.RunError, match=words):
        declared.fargate(**changes)


@pytest.mark.parametrize(("gpus", "asked"), [(0.125, "1"), (1, "1"), (8, "8")])
def test_a_part_of_a_gpu_is_one_device(gpus: float, asked: str) -> None:
    definition = declared.cluster(task=declared.task(gpus=gpus)).one("TaskDefinition")
    assert declared.named(definition, "benchmark")["resourceRequirements"] == [{"type": "GPU", "value": asked}]


def test_secrets_are_read_by_ecs_and_are_in_no_definition() -> None:
    definition = declared.cluster(task=declared.task(secrets={"B": SECRET, "A": f"{SECRET}2"})).one("TaskDefinition")
    benchmark, uploader = declared.named(definition, "benchmark"), declared.named(definition, "uploader")
    assert benchmark["secrets"] == [{"name": "A", "valueFrom": f"{SECRET}2"}, {"name": "B", "valueFrom": SECRET}]
    # What it uploads it must be able to redact.
    assert [one["name"] for one in uploader["secrets"]] == ["GPUBENCH_SECRET_1", "GPUBENCH_SECRET_2"]
    assert {one["valueFrom"] for one in uploader["secrets"]} == {SECRET, f"{SECRET}2"}
    bare = declared.cluster(task=declared.task(secrets={})).one("TaskDefinition")
    assert "secrets" not in declared.named(bare, "benchmark")


def test_secrets_that_are_not_made_yet_are_waited_for() -> None:
    """In a first preview an ARN is unknown; it comes of the version, without which ECS could read nothing."""

    def program() -> None:
        import pulumi_aws as aws

        version = aws.secretsmanager.SecretVersion("version", secret_id="s", secret_string=CANARY)
        declared.attempt(task=declared.task(secrets={"HF_TOKEN": version.secret_arn}))

    recording = record(program)
    definition = recording.one("TaskDefinition")
    assert "version" in definition.depends_on
    assert declared.named(definition, "benchmark")["secrets"][0]["valueFrom"] == "arn:of:version-secret"
    assert CANARY not in json.dumps([one.inputs for one in recording if one.name != "version"])


def test_what_is_too_long_for_a_definition_is_said_at_once() -> None:
    """Not only when the secrets' ARNs are known: a first preview doesn't know them."""

    def program() -> None:
        with pytest.raises(
            pulumi.RunError,
            match=r"bad-request \(too-long\): .*benchmark.env.*65536 bytes, and this one has \d+\nMend: ",
        ):
            declared.attempt(task=declared.task(env={"TEXT": "x" * 40_000}))

    assert not record(program).of("TaskDefinition")
    assert declared.cluster(task=declared.task(env={"TEXT": "x" * 8_000})).of("TaskDefinition")


def test_the_image_of_the_uploader_is_pinned_and_can_be_another() -> None:
    definition = declared.cluster().one("TaskDefinition")
    assert declared.named(definition, "uploader")["image"] == images.UPLOADER_IMAGE
    name, _, digest = images.UPLOADER_IMAGE.partition("@sha256:")
    assert (name, len(digest)) == ("public.ecr.aws/lambda/python", 64)
    own = images.cached_uploader_image(ACCOUNT, REGION, "dev")
    definition = declared.cluster(way="endpoints", task=declared.task(uploader_image=own)).one("TaskDefinition")
    assert declared.named(definition, "uploader")["image"] == own
    assert own.startswith(f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/gb-")


def uploader(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The uploader's container, as far as this Python is one: nothing of the project is on its path."""
    definition = declared.cluster().one("TaskDefinition")
    container = declared.named(definition, "uploader")
    assert container["entryPoint"] == ["python3"]
    given = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **env(container), **environment}
    command = [sys.executable, "-I", *container["command"]]
    return subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)


def test_the_code_that_a_task_brings_along_runs_by_itself(tmp_path: Path) -> None:
    """Without a run it says so and ends: by then all of its modules are loaded."""
    done = uploader(tmp_path)
    said = done.stdout + done.stderr
    assert "GPUBENCH_RUN" in said
    assert "ModuleNotFoundError" not in said
    assert done.returncode == 2


def test_a_module_that_is_missing_shows(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(code()))) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name != "components/run_log.py"}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in kept.items():
            archive.writestr(name, data)
    done = uploader(tmp_path, GPUBENCH_CODE=base64.b64encode(made.getvalue()).decode())
    assert "No module named 'components.run_log'" in done.stderr


def test_the_code_is_the_same_for_the_same_files_and_is_what_is_here() -> None:
    assert code() == code()
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(code()))) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held["uploader.py"] == (PROJECT_ROOT / "components/ecs/uploader.py").read_bytes()
    assert held["results_folder.py"] == (PROJECT_ROOT / "results_folder.py").read_bytes()


def test_what_no_machine_ends_is_ended_by_the_clock() -> None:
    """After the longest wait and the longest run; who may do so is the stack's own role."""
    found: list[Any] = []
    for kind, changes in ((declared.attempt, {"managed_instances": True}), (declared.fargate_attempt, {})):

        def program(made: Any = kind, said: Any = changes) -> None:
            handles = made(**said).handles
            found.append(handles["ends_at"])
            handles["clock_role"].apply(found.append)

        record(program)
    assert found == ["2026-11-21T11:50:10+00:00", "arn:of:roles-clock"] * 2  # 10 minutes and 90
    with pytest.raises(pulumi.RunError, match="clock role"):
        declared.fargate(clock=False)


def test_a_machine_ends_by_itself_and_needs_no_clock() -> None:
    found: list[Any] = []
    record(lambda: found.append(declared.attempt().handles))
    assert not {"ends_at", "clock_role"} & set(found[0])
