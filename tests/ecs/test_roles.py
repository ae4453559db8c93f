"""Who a stack's machines and tasks on AWS are: each document, as a reviewer reads it."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import pytest

from catalog.repositories import EcrRepository, ecr_repository_of
from components.ecs import names
from tests.ecs import declared
from tests.ecs.declared import ACCOUNT
from tests.recording import Recorded, Recording, record

REGIONS = ("us-east-1", "us-west-2")
SECRETS = [f"arn:aws:secretsmanager:{one}:{ACCOUNT}:secret:gpubench/dev/T-1-AbCdEf" for one in REGIONS]
OURS = EcrRepository(ACCOUNT, "us-west-2", "bench/sdxl")
WITHOUT_RESOURCES = {"ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"}
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html and
# list_amazonelasticcontainerservice.html: these two take no resource but `*`.


def made(**changes: Any) -> Recording:
    def program() -> None:
        declared.roles(**({"regions": REGIONS, "hooks": declared.hooks()} | changes))

    return record(program)


def statements(recording: Recording, what: str) -> list[dict[str, Any]]:
    document = json.loads(
        next(one for one in recording.of("RolePolicy") if one.name == f"roles-{what}-policy").inputs["policy"]
    )
    assert document["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = document["Statement"]
    return found


def role(recording: Recording, what: str) -> Recorded:
    return next(one for one in recording.of("Role") if one.name == f"roles-{what}")


def allowed(recording: Recording, what: str) -> dict[str, list[str]]:
    """By action, the resources."""
    return {action: one["Resource"] for one in statements(recording, what) for action in one["Action"]}


EVERYTHING: dict[str, Any] = {
    "repositories": [OURS], "secrets": SECRETS, "cached": True, "managed_instances": True, "clock": True,
}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["least", "most"])
def test_no_document_says_more_than_it_has_to(changes: dict[str, Any]) -> None:
    recording = made(**changes)
    for policy in recording.of("RolePolicy"):
        for one in json.loads(policy.inputs["policy"])["Statement"]:
            assert one["Effect"] == "Allow"
            assert isinstance(one["Action"], list)
            for action in one["Action"]:
                assert "*" not in action, (policy.name, action)
                assert ("*" in one["Resource"]) == (action in WITHOUT_RESOURCES), (policy.name, action)
                for arn in one["Resource"]:
                    # Neither any service, nor any region, nor any account.
                    assert action in WITHOUT_RESOURCES or not any("*" in part for part in arn.split(":")[:5]), arn
    for one in recording.of("Role"):
        (trust,) = json.loads(one.inputs["assumeRolePolicy"])["Statement"]
        assert trust["Action"] == "sts:AssumeRole"
        assert set(trust["Principal"]) == {"Service"}


def test_a_task_may_create_results_under_its_prefix_read_what_runs_print_and_nothing_else() -> None:
    creates, reads = statements(made(), "task")
    assert creates == {
        "Effect": "Allow",
        "Action": ["s3:PutObject"],
        "Resource": ["arn:aws:s3:::bench/team/runs/*"],
        # Only with If-None-Match: nothing is overwritten.
        "Condition": {"Null": {"s3:if-none-match": "false"}},
    }
    stream = names.log_stream(declared.BASE, names.BENCHMARK, "0123456789abcdef")
    assert reads["Action"] == ["logs:GetLogEvents"]
    for region, arn in zip(REGIONS, reads["Resource"], strict=True):
        here = f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{names.log_group('dev')}:log-stream:"
        assert fnmatch.fnmatchcase(f"{here}{stream}", arn)
        assert not fnmatch.fnmatchcase(f"{here}{stream.replace(names.BENCHMARK, names.UPLOADER)}", arn)
    bare, _ = statements(made(results=("bench", "")), "task")
    assert bare["Resource"] == ["arn:aws:s3:::bench/runs/*"]


def test_the_clock_may_stop_the_stacks_tasks_and_nothing_else() -> None:
    recording = made(clock=True)
    assert allowed(recording, "clock") == {
        "ecs:StopTask": [f"arn:aws:ecs:{one}:{ACCOUNT}:task/gpubench-*" for one in REGIONS]
    }
    (trust,) = json.loads(role(recording, "clock").inputs["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert not [one.name for one in made().of("Role") if one.name == "roles-clock"]


def test_a_machine_joins_the_attempts_clusters_of_the_ladders_regions() -> None:
    found = allowed(made(), "instance")
    clusters = [f"arn:aws:ecs:{one}:{ACCOUNT}:cluster/gpubench-*" for one in REGIONS]
    machines = [f"arn:aws:ecs:{one}:{ACCOUNT}:container-instance/gpubench-*/*" for one in REGIONS]
    assert found["ecs:RegisterContainerInstance"] == found["ecs:SubmitTaskStateChange"] == clusters
    assert found["ecs:Poll"] == found["ecs:StartTelemetrySession"] == machines
    assert {action.partition(":")[0] for action in found} == {"ecs"}, "no images, no logs, no S3: those are others'"
    assert "ecs:CreateCluster" not in found
    assert declared.BASE.startswith("gpubench-")


def test_the_execution_role_pulls_logs_and_reads_what_is_the_stacks() -> None:
    found = allowed(made(repositories=[OURS], secrets=SECRETS), "execution")
    group = names.log_group("dev")
    assert found == {
        "logs:CreateLogStream": (
            logs := [f"arn:aws:logs:{one}:{ACCOUNT}:log-group:{group}:log-stream:*" for one in REGIONS]
        ),
        "logs:PutLogEvents": logs,
        "ecr:GetAuthorizationToken": ["*"],
        "ecr:BatchCheckLayerAvailability": [f"arn:aws:ecr:us-west-2:{ACCOUNT}:repository/bench/sdxl"],
        "ecr:BatchGetImage": [OURS.arn],
        "ecr:GetDownloadUrlForLayer": [OURS.arn],
        "secretsmanager:GetSecretValue": SECRETS,
    }
    assert set(allowed(made(), "execution")) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    cached = allowed(made(cached=True), "execution")
    own = [f"arn:aws:ecr:{one}:{ACCOUNT}:repository/{names.cache_prefix('dev')}/*" for one in REGIONS]
    assert (
        cached["ecr:CreateRepository"] == cached["ecr:BatchImportUpstreamImage"] == cached["ecr:BatchGetImage"] == own
    )


def test_who_may_take_each_role() -> None:
    recording = made(managed_instances=True)
    trusted = {}
    for one in recording.of("Role"):
        (trust,) = json.loads(one.inputs["assumeRolePolicy"])["Statement"]
        trusted[one.inputs["name"]] = (trust["Principal"]["Service"], trust.get("Condition"))
    ours = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert trusted == {
        "gpubench-dev-instance": ("ec2.amazonaws.com", None),  # EC2 says no source
        "gpubench-dev-execution": ("ecs-tasks.amazonaws.com", ours),
        "gpubench-dev-task": ("ecs-tasks.amazonaws.com", ours),
        "gpubench-dev-infrastructure": ("ecs.amazonaws.com", None),
    }
    profile = recording.one("InstanceProfile").inputs
    assert (profile["name"], profile["role"]) == ("gpubench-dev-instance", "gpubench-dev-instance")


def test_ecs_may_pass_the_machines_role_and_no_other() -> None:
    recording = made(managed_instances=True)
    (one,) = statements(recording, "infrastructure")
    assert (one["Action"], one["Resource"]) == (["iam:PassRole"], ["arn:of:roles-instance"])
    assert one["Condition"] == {"StringLike": {"iam:PassedToService": "ec2.*"}}
    attached = {one.inputs["role"]: one.inputs["policyArn"] for one in recording.of("RolePolicyAttachment")}
    first = "arn:aws:iam::aws:policy/AmazonECS"
    assert attached == {
        "gpubench-dev-infrastructure": f"{first}InfrastructureRolePolicyForManagedInstances",
        "gpubench-dev-instance": f"{first}InstanceRolePolicyForManagedInstances",
    }
    assert not made().of("RolePolicyAttachment")


def test_roles_are_tagged_hooked_and_the_stacks() -> None:
    recording = made(managed_instances=True)
    for one in declared.of_package(recording):
        assert one.parent == "roles"
        assert one.on_error == ("explain",)
    assert {one.inputs["tags"]["team"] for one in recording.of("Role")} == {"ml"}
    assert recording.registered_outputs.count("roles") == 1
    task = role(recording, "task")
    assert task.inputs["name"] == names.role_name("dev", "task")


def test_china_is_another_partition() -> None:
    found = allowed(made(regions=("cn-north-1",)), "instance")
    assert found["ecs:RegisterContainerInstance"] == [f"arn:aws-cn:ecs:cn-north-1:{ACCOUNT}:cluster/gpubench-*"]
    assert statements(made(regions=("cn-north-1",)), "task")[0]["Resource"] == ["arn:aws-cn:s3:::bench/team/runs/*"]


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        (f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/bench/sdxl@sha256:{'0' * 64}", OURS),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/bench/sdxl:tag", OURS),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/bench/sdxl", OURS),
        (f"{ACCOUNT}.dkr-ecr.us-west-2.on.aws/bench/sdxl", OURS),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/a", EcrRepository(ACCOUNT, "cn-north-1", "a")),
        ("public.ecr.aws/lambda/python@sha256:00", None),
        ("us-central1-docker.pkg.dev/p/r/i", None),
        ("12345.dkr.ecr.us-west-2.amazonaws.com/a", None),
        ("sdxl:latest", None),
    ],
)
def test_the_repository_that_an_image_names(image: str, repository: EcrRepository | None) -> None:
    assert ecr_repository_of(image) == repository
    if repository is not None:
        assert ecr_repository_of(repository.url) == repository
