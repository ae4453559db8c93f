"""The simulated providers: alone, under the embedded engine's monitor, over gRPC, and under the Pulumi CLI."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, resource_pb2

from engine.base import EngineError
from engine.embedded import properties
from engine.embedded.display import Display
from engine.embedded.monitor import Monitor
from engine.embedded.providers import ProviderError
from engine.embedded.state import Snapshot
from engine.simulated import schema
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud
from engine.simulated.grpc_provider import serve
from engine.simulated.model import CloudError
from engine.simulated.provider import SimulatedProvider, wrapped
from engine.simulated.scenario import Scenario

TEMPLATE = "gcp:compute/regionInstanceTemplate:RegionInstanceTemplate"
GROUP = "gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager"
POOL = "gcp:container/nodePool:NodePool"
LAUNCH = "aws:ec2/launchTemplate:LaunchTemplate"
TASK = "aws:ecs/taskDefinition:TaskDefinition"
JOB = "kubernetes:batch/v1:Job"

G2: dict[str, Any] = {
    "machineType": "g2-standard-8",
    "region": "us-central1",
    "disks": [{"sourceImage": "debian-12", "boot": True, "diskSizeGb": 50}],
    "scheduling": {"provisioningModel": "SPOT", "maxRunDuration": {"seconds": 3600}},
    "labels": {"gpubench-attempt": "a1"},
}
STOCKOUT = "The zone 'projects/p/zones/us-central1-a' does not have enough resources available to fulfill the request."


class Shelf:
    """A cloud that keeps what it is given, refuses a taken name, and fails where a test says so."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.failing: dict[str, CloudError] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def create(self, type_token: str, name: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        with self._lock:
            self._called("create", name)
            if any(one["name"] == name and one["type"] == type_token for one in self.held.values()):
                raise CloudError(f"The resource '{name}' already exists", 409, "alreadyExists")
            id_ = f"id-{next(self._ids)}"
            self.held[id_] = {"type": type_token, "name": name, "inputs": dict(inputs)}
        return id_, {**inputs, "selfLink": f"https://cloud/{name}", "project": "p"}

    def read(self, type_token: str, id_: str) -> dict[str, Any] | None:
        return {**self.held[id_]["inputs"], "selfLink": "there", "project": "p"} if id_ in self.held else None

    def update(self, type_token: str, id_: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
        self._called("update", self.held[id_]["name"])
        self.held[id_]["inputs"] = dict(news)
        return {**news, "project": "p"}

    def delete(self, type_token: str, id_: str) -> None:
        held = self.held.pop(id_, None)
        self._called("delete", held["name"] if held else "")

    def _called(self, operation: str, name: str) -> None:
        self.calls.append((operation, name))
        if operation in self.failing:
            raise self.failing[operation]


def urn(token: str, name: str = "vm") -> str:
    return f"urn:pulumi:test::gpubench::gpubench:index:GpuVm${token}::{name}"


def provider(token: str, cloud: Shelf | None = None) -> SimulatedProvider:
    return SimulatedProvider(token.partition(":")[0], cloud or Shelf())


def checked(token: str, inputs: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    news, failures = provider(token).check(urn(token), dict(olds or {}), dict(inputs))
    assert not failures
    return news


def test_every_schema_names_its_making_and_refers_only_to_what_it_holds() -> None:
    for package in schema.PACKAGES:
        known = schema.load(package)
        assert known.version[0].isdigit()
        for token, type_ in known.resources.items():
            assert token.startswith(f"{package}:")
            if package == "kubernetes":
                found = type_.compare({"metadata": {"name": "a"}}, {"metadata": {"name": "b"}})
                assert found.replaces == ("metadata.name",)
            else:
                assert any(field.replaces for field in type_.fields.values()), f"{token}: nothing replaces it?"


@pytest.mark.parametrize(
    ("token", "inputs", "path", "reason"),
    [
        (TEMPLATE, {**G2, "machine_type": "x"}, "machine_type", "no such input; did you mean machineType?"),
        (TEMPLATE, {k: v for k, v in G2.items() if k != "disks"}, "disks", "missing; it is required"),
        (TEMPLATE, {**G2, "canIpForward": "perhaps"}, "canIpForward", "this string isn't true or false"),
        (TEMPLATE, {**G2, "disks": {"boot": True}}, "disks", "an object isn't a list"),
        (TEMPLATE, {**G2, "disks": [{"diskSizeGB": 5}]}, "disks[0].diskSizeGB", "no such input; did you mean diskS"),
        (TEMPLATE, {**G2, "scheduling": {"maxRunDuration": {}}}, "scheduling.maxRunDuration.seconds", "missing; it is"),
        (JOB, {"spec": {"template": {"spec": {"containers": [{"i": 1}]}}}}, "spec.template.spec.containers[0].i", "no"),
        (LAUNCH, {"tags": {"a": ["b"]}}, "tags.a", "a list isn't a string"),
    ],
)  # fmt: skip
def test_check_says_what_is_wrong(token: str, inputs: dict[str, Any], path: str, reason: str) -> None:
    _, failures = provider(token).check(urn(token), {}, inputs)
    assert [found for found in failures if found[0] == path and found[1].startswith(reason)], failures


def test_an_unknown_type_is_told_with_a_near_one() -> None:
    token = "gcp:compute/regionInstanceTemplates:RegionInstanceTemplate"
    _, failures = provider(token).check(urn(token), {}, G2)
    assert TEMPLATE in failures[0][1]


def test_unknowns_and_secrets_pass_and_strings_are_not_shown() -> None:
    news, failures = provider(TEMPLATE).check(
        urn(TEMPLATE), {}, {**G2, "machineType": properties.UNKNOWN, "description": properties.secret("hush")}
    )
    assert not failures
    assert news["description"] == "hush"
    _, failures = provider(TEMPLATE).check(urn(TEMPLATE), {}, {**G2, "disks": properties.secret("hush")})
    assert failures
    assert "hush" not in str(failures)


def test_made_up_names_stay_and_give_way_to_a_replacement() -> None:
    first = checked(TEMPLATE, G2)
    assert first["name"].startswith("vm-")
    assert len(first["name"]) == len("vm-") + 7
    assert checked(TEMPLATE, G2) == first
    assert checked(TEMPLATE, G2, first) == first
    assert checked(TEMPLATE, {**G2, "machineType": "g2-standard-4"}, first)["name"] != first["name"]
    assert checked(TEMPLATE, {**G2, "deletionPolicy": "DELETE"}, first)["name"] == first["name"]
    assert checked(TEMPLATE, {**G2, "name": "mine"}, first)["name"] == "mine"
    assert "name" not in checked("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})
    assert checked("aws:s3/bucket:Bucket", {})["bucket"].startswith("vm-")
    assert checked("kubernetes:core/v1:Namespace", {})["metadata"]["name"].startswith("vm-")


@pytest.mark.parametrize(
    ("token", "before", "after", "replaces"),
    [
        (TEMPLATE, G2, {**G2, "machineType": "g2-standard-4"}, ["machineType"]),
        (TEMPLATE, G2, {**G2, "labels": {"gpubench-attempt": "a2"}}, ["labels"]),
        (TEMPLATE, G2, {**G2, "scheduling": {**G2["scheduling"], "provisioningModel": "STANDARD"}},
         ["scheduling.provisioningModel"]),
        (GROUP, {"baseInstanceName": "a", "versions": [{"instanceTemplate": "t"}], "targetSize": 1},
         {"baseInstanceName": "a", "versions": [{"instanceTemplate": "t2"}], "targetSize": 0}, []),
        (POOL, {"cluster": "c", "nodeConfig": {"spot": True, "diskSizeGb": 50}},
         {"cluster": "c", "nodeConfig": {"spot": True, "diskSizeGb": 60}}, []),
        (POOL, {"cluster": "c", "nodeConfig": {"spot": True}}, {"cluster": "c", "nodeConfig": {"spot": False}},
         ["nodeConfig.spot"]),
        (LAUNCH, {"imageId": "ami-1"}, {"imageId": "ami-2"}, []),
        (TASK, {"family": "f", "containerDefinitions": "[]"}, {"family": "f", "containerDefinitions": "[{}]"},
         ["containerDefinitions"]),
        (TASK, {"family": "f", "containerDefinitions": "[]", "tags": {"a": "1"}},
         {"family": "f", "containerDefinitions": "[]", "tags": {"a": "2"}}, []),
        (JOB, {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x"}]}}}},
         {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "y"}]}}}},
         ["spec.template.spec.containers[0].image"]),
        (JOB, {"spec": {"parallelism": 1, "template": {}}}, {"spec": {"parallelism": 2, "template": {}}}, []),
    ],
)  # fmt: skip
def test_diff_knows_what_replaces(
    token: str, before: dict[str, Any], after: dict[str, Any], replaces: list[str]
) -> None:
    one, cloud = provider(token), Shelf()
    named = {"metadata": {"name": "n"}} if token == JOB else {} if token == TASK else {"name": "n"}
    _, state = SimulatedProvider(token.partition(":")[0], cloud).create(urn(token), checked(token, {**before, **named}))
    assert one.diff(urn(token), "id", state, checked(token, {**before, **named})).changed is False
    diff = one.diff(urn(token), "id", state, checked(token, {**after, **named}))
    assert diff.changed
    assert list(diff.replaces) == replaces
    assert diff.delete_before_replace == bool(replaces and named)


def test_an_input_taken_away_is_a_change_and_one_that_the_cloud_filled_in_is_none() -> None:
    one = provider(TEMPLATE)
    _, state = one.create(urn(TEMPLATE), checked(TEMPLATE, {**G2, "description": "d"}))
    assert state["project"] == "p"
    diff = one.diff(urn(TEMPLATE), "id", state, checked(TEMPLATE, G2, state))
    assert diff.replaces == ("description", "name")
    assert not diff.delete_before_replace


@pytest.mark.parametrize(
    ("token", "before", "after", "replaces"),
    [
        ("aws:ec2/vpc:Vpc", {"instanceTenancy": "default"}, {"instanceTenancy": "dedicated"}, ["instanceTenancy"]),
        ("aws:ec2/subnet:Subnet", {"ipv4NetmaskLength": 24}, {"ipv4NetmaskLength": 26}, ["ipv4NetmaskLength"]),
        ("aws:ec2/natGateway:NatGateway", {"subnetId": "s"}, {"availabilityMode": "regional", "vpcId": "v"},
         ["availabilityMode", "subnetId", "vpcId"]),
        # The documentation says "forces a new resource" of it; for endpoints that aren't interfaces.
        ("aws:ec2/vpcEndpoint:VpcEndpoint", {"privateDnsEnabled": True}, {"privateDnsEnabled": False}, []),
        ("aws:ec2/vpcEndpoint:VpcEndpoint",
         {"dnsOptions": {"dnsRecordIpType": "ipv4", "privateDnsPreference": "ALL_DOMAINS"}},
         {"dnsOptions": {"dnsRecordIpType": "ipv6", "privateDnsPreference": "SPECIFIED_DOMAINS_ONLY"}},
         ["dnsOptions.privateDnsPreference"]),
        ("aws:ecs/taskDefinition:TaskDefinition", {"runtimePlatform": {"cpuArchitecture": "X86_64"}},
         {"runtimePlatform": {"cpuArchitecture": "ARM64"}}, ["runtimePlatform.cpuArchitecture"]),
        ("aws:ecs/taskDefinition:TaskDefinition",
         {"volumes": [{"name": "v", "efsVolumeConfiguration": {"rootDirectory": "/a"}}]},
         {"volumes": [{"name": "v", "efsVolumeConfiguration": {"rootDirectory": "/b"}}]},
         ["volumes[0].efsVolumeConfiguration.rootDirectory"]),
        ("aws:s3/bucket:Bucket", {"forceDestroy": True}, {"forceDestroy": False, "bucketNamespace": "account-regional"},
         ["bucketNamespace"]),
        ("aws:secretsmanager/secretVersion:SecretVersion", {"secretStringWo": "a", "secretStringWoVersion": 1},
         {"secretStringWo": "b", "secretStringWoVersion": 2}, ["secretStringWoVersion"]),
        ("aws:ecr/pullThroughCacheRule:PullThroughCacheRule", {"credentialArn": "a"},
         {"credentialArn": "b", "upstreamRepositoryPrefix": "p"}, ["upstreamRepositoryPrefix"]),
        ("aws:ecs/service:Service", {"region": "us-east-1"}, {"region": "us-east-2", "desiredCount": 1}, ["region"]),
        ("gcp:storage/bucketIAMMember:BucketIAMMember", {"condition": {"title": "t", "expression": "a"}},
         {"condition": {"title": "t", "expression": "b"}}, ["condition.expression"]),
    ],
)  # fmt: skip
def test_what_replaces_is_what_the_providers_source_says(
    token: str, before: dict[str, Any], after: dict[str, Any], replaces: list[str]
) -> None:
    found = schema.load(token.partition(":")[0]).resources[token].compare(before, after)
    assert found.fields
    assert list(found.replaces) == replaces


def made(folder: Path, overrides: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """What scripts/provider_schemas says when it writes aws.json in a folder of its own."""
    root = Path(__file__).parents[2]
    script, schemas = folder / "scripts" / "provider_schemas", folder / "engine" / "simulated" / "schemas"
    script.parent.mkdir()
    schemas.mkdir(parents=True)
    shutil.copy(root / "scripts" / "provider_schemas", script)
    (schemas / "overrides.json").write_text(json.dumps(overrides))
    sdk = importlib.util.find_spec("pulumi_aws")
    assert sdk is not None
    assert sdk.origin is not None
    command = [sys.executable, str(script), str(Path(sdk.origin).parents[1]), "--package", "aws"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_schema_of_aws_is_the_sdks_with_the_overrides(tmp_path: Path) -> None:
    schemas = Path(schema.__file__).parent / "schemas"
    run = made(tmp_path, json.loads((schemas / "overrides.json").read_text()))
    assert run.returncode == 0, run.stderr
    written = json.loads((tmp_path / "engine" / "simulated" / "schemas" / "aws.json").read_text())
    assert written == json.loads((schemas / "aws.json").read_text()), "run scripts/provider_schemas --package aws"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"replaces": ["tags.a"]}, "tags.a: tags isn't an object"),
        ({"replaces": [], "keeps": ["cidr"]}, "cidr: no such field"),
    ],
)
def test_an_override_of_a_field_that_the_sdk_lacks_is_refused(tmp_path: Path, facts: dict[str, Any], said: str) -> None:
    run = made(tmp_path, {"aws": {"aws:ec2/vpc:Vpc": facts}})
    assert run.returncode == 1
    assert run.stderr.strip() == f"overrides.json: aws:ec2/vpc:Vpc: {said}"


@pytest.mark.parametrize(
    ("token", "error", "text"),
    [
        ("gcp:compute/instance:Instance", CloudError(STOCKOUT), f"Error waiting for instance to create: {STOCKOUT}"),
        (
            "gcp:compute/instance:Instance",
            CloudError("Required 'compute.instances.create' permission", 403, "forbidden"),
            "Error creating instance: googleapi: Error 403: Required 'compute.instances.create' permission, forbidden",
        ),
        ("gcp:cloudrunv2/job:Job", CloudError("no\nGPU"),
         "Error waiting to create Job: Error waiting for Creating Job: no GPU"),
        ("aws:autoscaling/group:Group", CloudError("scaling activity (1): Failed: none left"),
         "waiting for Auto Scaling Group (n) capacity satisfied: scaling activity (1): Failed: none left"),
    ],
)  # fmt: skip
def test_failures_are_worded_as_the_providers_word_them(token: str, error: CloudError, text: str) -> None:
    assert wrapped("create", token, "n", error) == text


def test_an_aws_refusal_names_its_code() -> None:
    text = wrapped("create", "aws:autoscaling/group:Group", "n", CloudError("not allowed", 403, "AccessDenied"))
    assert text.startswith("creating Auto Scaling Group (n): operation error Auto Scaling: CreateGroup, https")
    assert text.endswith("api error AccessDenied: not allowed")


class Stack:
    """The embedded engine's real monitor over a state of its own."""

    def __init__(self, folder: Path, cloud: Shelf) -> None:
        self._file, self._cloud = folder / "test.json", cloud

    def up(self, inputs: Mapping[str, Any], **options: Any) -> resource_pb2.RegisterResourceResponse:
        monitor = self._monitor()
        request = resource_pb2.RegisterResourceRequest(
            type=TEMPLATE, name="vm", custom=True, object=properties.to_struct(inputs), **options
        )
        response = monitor.RegisterResource(request)
        monitor.SignalAndWaitForShutdown(empty_pb2.Empty())
        return response

    def destroy(self) -> None:
        self._monitor().SignalAndWaitForShutdown(empty_pb2.Empty())

    def _monitor(self) -> Monitor:
        snapshot = Snapshot(self._file, lambda salt: None)
        providers = {"gcp": SimulatedProvider("gcp", self._cloud)}
        return Monitor("test", snapshot, providers, {}, Display("test", "Updating"), preview=False)


def test_on_the_embedded_engine(tmp_path: Path) -> None:
    cloud = Shelf()
    stack = Stack(tmp_path, cloud)
    assert properties.from_struct(stack.up(G2).object)["selfLink"].startswith("https://cloud/vm-")
    stack.up(G2)
    assert [call for call, _ in cloud.calls] == ["create"]
    stack.up({**G2, "machineType": "g2-standard-4"})
    assert [call for call, _ in cloud.calls] == ["create", "create", "delete"]
    assert next(iter(cloud.held.values()))["inputs"]["labels"] == {"gpubench-attempt": "a1"}
    with pytest.raises(EngineError, match="did you mean machineType"):
        stack.up({**G2, "machineTyp": "x"})
    cloud.failing["create"] = CloudError(STOCKOUT)
    with pytest.raises(EngineError, match="Error waiting for Creating Region Instance Template: The zone"):
        stack.up({**G2, "machineType": "g2-standard-8"})
    cloud.failing.clear()
    stack.destroy()
    assert not cloud.held


def test_a_fixed_name_is_freed_before_it_is_taken_again(tmp_path: Path) -> None:
    cloud = Shelf()
    stack = Stack(tmp_path, cloud)
    stack.up({**G2, "name": "mine"})
    stack.up({**G2, "name": "mine", "machineType": "g2-standard-4"})
    assert cloud.calls == [("create", "mine"), ("delete", "mine"), ("create", "mine")]


@pytest.fixture
def stub() -> Iterator[tuple[Any, Shelf]]:
    cloud = Shelf()
    with serve(cloud, ("gcp",)) as address:
        package, port = address.split(":")
        assert package == "gcp"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel), cloud


def test_over_grpc(stub: tuple[Any, Shelf]) -> None:
    calls, cloud = stub
    where: dict[str, Any] = {"urn": urn(TEMPLATE)}
    assert calls.GetPluginInfo(empty_pb2.Empty()).version == schema.load("gcp").version
    assert not calls.Configure(provider_pb2.ConfigureRequest()).acceptSecrets
    news = calls.Check(provider_pb2.CheckRequest(**where, news=properties.to_struct(G2))).inputs
    made = calls.Create(provider_pb2.CreateRequest(**where, properties=news))
    same = calls.Diff(provider_pb2.DiffRequest(**where, id=made.id, olds=made.properties, news=news))
    assert same.changes == provider_pb2.DiffResponse.DIFF_NONE
    other = properties.to_struct({**properties.from_struct(news), "machineType": "g2-standard-4"})
    diff = calls.Diff(provider_pb2.DiffRequest(**where, id=made.id, olds=made.properties, news=other))
    assert list(diff.replaces) == ["machineType"]
    read = calls.Read(provider_pb2.ReadRequest(**where, id=made.id, properties=made.properties))
    assert read.id == made.id
    after = calls.Diff(provider_pb2.DiffRequest(**where, id=made.id, olds=read.properties, news=news))
    assert after.changes == provider_pb2.DiffResponse.DIFF_NONE
    calls.Delete(provider_pb2.DeleteRequest(**where, id=made.id, properties=made.properties))
    assert not calls.Read(provider_pb2.ReadRequest(**where, id=made.id, properties=made.properties)).id
    assert not cloud.held


def test_a_failure_over_grpc_is_one_line(stub: tuple[Any, Shelf]) -> None:
    calls, cloud = stub
    cloud.failing["create"] = CloudError(STOCKOUT)
    with pytest.raises(grpc.RpcError) as failure:
        calls.Create(provider_pb2.CreateRequest(urn=urn(TEMPLATE), properties=properties.to_struct(G2)))
    assert failure.value.details() == f"Error waiting for Creating Region Instance Template: {STOCKOUT}"


def test_an_unknown_type_raises() -> None:
    with pytest.raises(ProviderError, match="doesn't know"):
        provider("gcp:a/b:C").create(urn("gcp:a/b:C"), {})


PROGRAM = f"""
import json, os, pulumi
made = pulumi.CustomResource({TEMPLATE!r}, "vm", json.loads(os.environ["INPUTS"]))
pulumi.export("name", made.id)
"""


@pytest.mark.real_engine
@pytest.mark.skipif(shutil.which("pulumi") is None, reason="no Pulumi CLI on PATH")
def test_on_the_pulumi_cli(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: t\nruntime:\n  name: python\n  options: {virtualenv: .venv}\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "backend").mkdir()
    cloud = Shelf()
    with serve(cloud) as address:

        def pulumi(*arguments: str, inputs: Mapping[str, Any] = G2) -> subprocess.CompletedProcess[str]:
            environment = {
                **os.environ,
                "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
                "PULUMI_CONFIG_PASSPHRASE": "correct horse",
                "PULUMI_HOME": str(tmp_path / "home"),
                "PULUMI_DEBUG_PROVIDERS": address,
                "INPUTS": json.dumps(inputs),
            }
            return subprocess.run(
                ["pulumi", *arguments, "--non-interactive"], cwd=tmp_path, env=environment, text=True, timeout=120,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip

        def up(inputs: Mapping[str, Any] = G2) -> str:
            done = pulumi("up", "--yes", "--skip-preview", "--stack", "test", inputs=inputs)
            assert done.returncode == 0, done.stdout
            return done.stdout

        assert pulumi("stack", "init", "test").returncode == 0
        up()
        assert "unchanged" in up()
        assert [call for call, _ in cloud.calls] == ["create"]
        up({**G2, "machineType": "g2-standard-4"})
        assert [call for call, _ in cloud.calls] == ["create", "create", "delete"]
        wrong = pulumi("up", "--yes", "--skip-preview", "--stack", "test", inputs={**G2, "machineTyp": "x"})
        assert "did you mean machineType?" in wrong.stdout, wrong.stdout
        cloud.failing["create"] = CloudError(STOCKOUT)
        sold_out = pulumi("up", "--yes", "--skip-preview", "--stack", "test")
        assert sold_out.returncode != 0
        assert f"Error waiting for Creating Region Instance Template: {STOCKOUT}" in sold_out.stdout, sold_out.stdout
        assert "Exception calling application" not in sold_out.stdout  # gRPC's words for a provider's traceback
        cloud.failing.clear()
        down = pulumi("destroy", "--yes", "--skip-preview", "--stack", "test")
        assert down.returncode == 0, down.stdout
        assert not cloud.held


def test_against_the_simulated_cloud() -> None:
    """The group shows its stock-out only in `look`; a template and a group are made, compared and taken away again."""
    scenario = Scenario.from_flags(sold_out=["l4@us-central1"])
    cloud = Cloud(scenario, SimulatedClock(scenario.start))
    one = SimulatedProvider("gcp", cloud)
    inputs = checked(TEMPLATE, {**G2, "guestAccelerators": [{"type": "nvidia-l4", "count": 1}]})
    template, state = one.create(urn(TEMPLATE), inputs)
    assert one.diff(urn(TEMPLATE), template, state, inputs).changed is False
    group = checked(
        GROUP,
        {
            "baseInstanceName": "vm",
            "region": "us-central1",
            "targetSize": 1,
            "waitForInstances": False,
            "versions": [{"instanceTemplate": state["selfLink"]}],
        },
    )
    id_, made = one.create(urn(GROUP), group)
    assert one.diff(urn(GROUP), id_, made, group).changed is False
    cloud.sleep(120)
    assert cloud.look("a1")
    one.delete(urn(GROUP), id_, made)
    one.delete(urn(TEMPLATE), template, state)
    assert one.read(urn(GROUP), id_, made) is None
