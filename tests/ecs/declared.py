"""What ECS's components declare, through the recording monitor, and the same in the words of AWS's own models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pulumi
from botocore.validate import ParamValidator

from catalog import Purchase
from components.ecs.cluster import EcsGpuCluster, EcsGpuClusterArgs
from components.ecs.fargate import EcsFargateTask, EcsFargateTaskArgs
from components.ecs.network import RunNetwork, RunNetworkArgs
from components.ecs.roles import RunRoles, RunRolesArgs
from components.ecs.task import TaskArgs
from components.interface import ATTEMPT_LABEL, STACK_LABEL
from tests.recording import Recorded, Recording, record

ACCOUNT = "123456789012"
REGION = "us-east-1"
ATTEMPT = "20261121T101010-123-abc123"
BASE = f"gpubench-{ATTEMPT.lower()}"
LABELS = {STACK_LABEL: "dev", ATTEMPT_LABEL: ATTEMPT, "team": "ml"}
TAGS = {**LABELS, "Name": BASE}
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/sdxl@sha256:{'0' * 64}"
CANARY = "canary-77aa"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gpubench/dev/HF_TOKEN-1-AbCdEf"
BEGUN = datetime(2026, 11, 21, 10, 10, 10, tzinfo=UTC)
INSIDE_NETWORK = {
    "Vpc", "Subnet", "RouteTable", "RouteTableAssociation", "InternetGateway", "Eip", "NatGateway", "VpcEndpoint",
    "SecurityGroup",
}  # fmt: skip


def task(**changes: Any) -> TaskArgs:
    made: dict[str, Any] = {
        "image": IMAGE,
        "attempt": ATTEMPT,
        "results": "s3://bench/team",
        "timeout_s": 1800.0,
        "gpus": 1,
        "argv": ("--profile", "quick one"),
        "env": {"BATCH": "8 9"},
        "secrets": {"HF_TOKEN": SECRET},
    }
    return TaskArgs(**(made | changes))


def roles(**changes: Any) -> RunRoles:
    made = {"stack": "dev", "account": ACCOUNT, "regions": (REGION,), "results": ("bench", "team"), "labels": LABELS}
    return RunRoles("roles", RunRolesArgs(**(made | changes)))


def hooks() -> pulumi.ResourceHookBinding:
    return pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook("explain", lambda _: False)])


def network(changes: dict[str, Any], of: TaskArgs, **more: Any) -> RunNetwork:
    """The network that an attempt is in; takes what is said of it out of ``changes``."""
    own: dict[str, Any] = {
        key: changes.pop(key) for key in ("zones", "subnets", "security_group", "way") if key in changes
    }
    args: dict[str, Any] = {"reads_secrets": bool(of.secrets), "labels": LABELS, "hooks": hooks(), **more, **own}
    return RunNetwork("capacity-network", RunNetworkArgs(region=changes.get("region", REGION), **args))


def attempt(**changes: Any) -> EcsGpuCluster:
    """An attempt of two types of EC2, on demand if nothing else is said."""
    changes.setdefault("task", task())
    made: dict[str, Any] = {
        "region": REGION,
        "stack": "dev",
        "machine_types": ("g5.xlarge", "g4dn.xlarge"),
        "purchase": Purchase.ON_DEMAND,
        "max_seconds": 5400.5,
        "wait_s": 600.0,
        "begun": BEGUN,
        "base_name": BASE,
        "network": network(changes, changes["task"], zones=("use1-az1", "use1-az4")),
        "roles": (of := roles(managed_instances=(managed := changes.get("managed_instances", False)), clock=managed)),
        "labels": LABELS,
        "volume_gb": 150,
        "hooks": hooks(),
        "after": [of],
    }
    return EcsGpuCluster("capacity", EcsGpuClusterArgs(**(made | changes)))


def cluster(**changes: Any) -> Recording:
    """What an attempt declares."""

    def program() -> None:
        attempt(**changes)

    return record(program)


def fargate_attempt(**changes: Any) -> EcsFargateTask:
    """An attempt on Fargate's spot."""
    changes.setdefault("task", task(gpus=0))
    made: dict[str, Any] = {
        "region": REGION,
        "stack": "dev",
        "machine_type": "fargate-8-32gb",
        "purchase": Purchase.SPOT,
        "max_seconds": 5400.5,
        "wait_s": 600.0,
        "begun": BEGUN,
        "base_name": BASE,
        "network": network(changes, changes["task"]),
        "roles": roles(clock=changes.pop("clock", True)),
        "labels": LABELS,
        "hooks": hooks(),
    }
    return EcsFargateTask("capacity", EcsFargateTaskArgs(**(made | changes)))


def fargate(**changes: Any) -> Recording:
    """What it declares."""

    def program() -> None:
        fargate_attempt(**changes)

    return record(program)


def of_package(recording: Recording) -> list[Recorded]:
    """All but components."""
    return [one for one in recording if one.type.startswith("aws:")]


# -- AWS's own models --------------------------------------------------------------------------------------------------


def check(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Raises AssertionError where a request isn't what AWS's model of it says."""
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    assert shape is not None
    report = ParamValidator().validate(dict(request), shape)
    assert not report.has_errors(), report.generate_report()


def definition_request(definition: Recorded) -> dict[str, Any]:
    """RegisterTaskDefinition's, as the provider makes it of a resource's inputs."""
    inputs = dict(definition.inputs)
    request = {key: value for key, value in inputs.items() if key not in ("region", "skipDestroy")}
    request["containerDefinitions"] = containers(definition)
    request["tags"] = [{"key": key, "value": value} for key, value in inputs["tags"].items()]
    if "ephemeralStorage" in request:
        request["ephemeralStorage"] = {"sizeInGiB": int(inputs["ephemeralStorage"]["sizeInGib"])}
    return request


def containers(definition: Recorded) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(definition.inputs["containerDefinitions"])
    return found


def named(definition: Recorded, name: str) -> dict[str, Any]:
    """One of its containers."""
    return next(one for one in containers(definition) if one["name"] == name)


_RENAMED = {"securityGroups": "Groups", "ebs": "Ebs"}
_WORDS: dict[str, Any] = {"true": True, "false": False}


def in_pascal(value: Any) -> Any:
    """The provider's words in EC2's and Auto Scaling's."""
    if isinstance(value, Mapping):
        return {_RENAMED.get(key, key[:1].upper() + key[1:]): in_pascal(one) for key, one in value.items()}
    if isinstance(value, list):
        return [in_pascal(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _WORDS.get(value, value) if isinstance(value, str) else value


def template_request(template: Recorded) -> dict[str, Any]:
    """CreateLaunchTemplate's."""
    outside = ("name", "region", "description", "tags", "updateDefaultVersion", "tagSpecifications")
    data = in_pascal({key: value for key, value in template.inputs.items() if key not in outside})
    data["SecurityGroupIds"] = data.pop("VpcSecurityGroupIds", [])
    data["TagSpecifications"] = [
        {
            "ResourceType": one["resourceType"],
            "Tags": [{"Key": key, "Value": value} for key, value in one["tags"].items()],
        }
        for one in template.inputs["tagSpecifications"]
    ]
    return {
        "LaunchTemplateName": template.inputs["name"],
        "VersionDescription": template.inputs["description"],
        "LaunchTemplateData": data,
    }


def group_request(group: Recorded) -> dict[str, Any]:
    """CreateAutoScalingGroup's, as far as it isn't the provider's own (waiting, forced deletion)."""
    inputs = group.inputs
    taken = ("minSize", "maxSize", "desiredCapacity", "mixedInstancesPolicy", "capacityRebalance", "healthCheckType")
    return {
        "AutoScalingGroupName": inputs["name"],
        **in_pascal({key: inputs[key] for key in (*taken, "healthCheckGracePeriod")}),
        "NewInstancesProtectedFromScaleIn": inputs["protectFromScaleIn"],
        "VPCZoneIdentifier": ",".join(inputs["vpcZoneIdentifiers"]),
        "Tags": [{**in_pascal(one), "Value": one["value"]} for one in inputs["tags"]],
    }


def provider_request(provider: Recorded) -> dict[str, Any]:
    """CreateCapacityProvider's."""
    spelt = {"vcpuCount": "vCpuCount", "memoryMib": "memoryMiB", "storageSizeGib": "storageSizeGiB"}

    def respelt(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {spelt.get(key, key): respelt(one) for key, one in value.items()}
        if isinstance(value, list):
            return [respelt(one) for one in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    inputs = {key: value for key, value in provider.inputs.items() if key not in ("region", "tags")}
    return {**respelt(inputs), "tags": [{"key": k, "value": v} for k, v in provider.inputs["tags"].items()]}


def assert_hooked_children(
    recording: Recording, component: str, no_hook: Callable[[Recorded], bool] = lambda _: False
) -> None:
    """Each resource has the hooks, and its component; nothing is protected; outputs are registered once."""
    for one in of_package(recording):
        kind = one.type.rpartition(":")[2]
        if one.parent == "roles":
            continue
        assert one.parent == (f"{component}-network" if kind in INSIDE_NETWORK else component), one.name
        assert one.on_error == ("explain",) or no_hook(one), one.name
        assert not (one.protect or one.retain_on_delete or one.import_id), one.name
        if "tags" in one.inputs and not isinstance(one.inputs["tags"], list):
            assert one.inputs["tags"][STACK_LABEL] == "dev", one.name
            # The network is there for the next attempt, too: what sweeps this one must not find it.
            assert one.inputs["tags"].get(ATTEMPT_LABEL) == (None if kind in INSIDE_NETWORK else ATTEMPT), one.name
    for name in (component, f"{component}-network"):
        assert recording.registered_outputs.count(name) == 1
