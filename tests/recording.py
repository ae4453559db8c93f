"""A resource monitor that records what a program registers: inputs and options, as the engine gets them on the wire.

Where the SDK's Mocks show a resource's inputs alone, this shows parent, protect, hooks, import and the like as well.
Inputs of Google's and AWS's types are checked against the provider's schema: a name that it doesn't know fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pulumi
import pulumi.runtime
from google.protobuf import empty_pb2
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto import resource_pb2

from engine.embedded import properties
from engine.simulated import schema

PROJECT, STACK = "gpubench", "test"

CHECKED = ("gcp", "aws")
"""The packages whose types' inputs are checked."""


@dataclass(frozen=True)
class Recorded:
    """One registration. ``inputs``: with secrets opened; ``secrets``: the inputs that hold one.

    ``parent`` and ``depends_on``: names of resources; what an input was taken from counts as a dependency.
    """

    type: str
    name: str
    inputs: Mapping[str, Any]
    secrets: frozenset[str]
    parent: str
    depends_on: frozenset[str]
    protect: bool
    retain_on_delete: bool
    delete_before_replace: bool
    import_id: str
    ignore_changes: tuple[str, ...]
    additional_secret_outputs: tuple[str, ...]
    on_error: tuple[str, ...]
    timeouts: Mapping[str, str]


class Recording:
    """What a program registered, in order."""

    def __init__(self) -> None:
        self.resources: list[Recorded] = []
        self.outputs: dict[str, Mapping[str, Any]] = {}
        self.registered_outputs: list[str] = []

    def of(self, kind: str) -> list[Recorded]:
        """Those of a type, by the end of its token (``Instance``)."""
        return [one for one in self.resources if one.type.rpartition(":")[2] == kind]

    def one(self, kind: str) -> Recorded:
        """The only one of a type."""
        found = self.of(kind)
        assert len(found) == 1, f"{len(found)} of {kind}: {[one.name for one in self.resources]}"
        return found[0]

    def __iter__(self) -> Iterator[Recorded]:
        return iter(self.resources)


class Recorder(MockMonitor):
    """Answers as an engine does after an update in which all went well."""

    def __init__(self) -> None:
        self.recording = Recording()
        self._lock = Lock()

    def GetDeploymentInfo(self, request: object) -> resource_pb2.DeploymentInfo:  # noqa: N802
        features = (
            resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
            resource_pb2.RESOURCE_MONITOR_FEATURE_ERROR_HOOKS,
            resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS,
        )
        return resource_pb2.DeploymentInfo(supportedFeatures=features)

    def RegisterResourceHook(self, request: object) -> empty_pb2.Empty:  # noqa: N802
        return empty_pb2.Empty()

    def RegisterErrorHook(self, request: object) -> empty_pb2.Empty:  # noqa: N802
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, request: object) -> empty_pb2.Empty:  # noqa: N802
        return empty_pb2.Empty()

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> empty_pb2.Empty:  # noqa: N802
        self.recording.registered_outputs.append(_name(request.urn))
        return empty_pb2.Empty()

    def RegisterResource(  # noqa: N802
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        wire = properties.from_struct(request.object)
        inputs = properties.without_secrets(wire)
        if request.type != "pulumi:pulumi:Stack":
            with self._lock:
                self.recording.resources.append(_recorded(request, wire, inputs))
        package = request.type.partition(":")[0]
        if package in CHECKED:
            known = schema.load(package).resources
            assert request.type in known, f"{request.type}: the provider doesn't know it"
            assert not (mistakes := known[request.type].mistakes(inputs)), f"{request.name}: {mistakes}"
        urn = f"urn:pulumi:{STACK}::{PROJECT}::{request.type}::{request.name}"
        outputs = {**wire, **_computed(request, inputs)} if request.custom else wire
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=f"{request.name}-id" if request.custom else "", object=properties.to_struct(outputs)
        )


class _Silent:
    def Log(self, request: object) -> empty_pb2.Empty:  # noqa: N802
        return empty_pb2.Empty()


def record(program: Callable[[], None]) -> Recording:
    """Run a program; what it registered. Raises what the program raises."""
    recorder = Recorder()

    async def run() -> None:
        pulumi.runtime.configure(
            pulumi.runtime.Settings(
                project=PROJECT, stack=STACK, monitor=recorder, engine=_Silent(),
                dry_run=False, organization="organization",
            )
        )  # fmt: skip
        await pulumi.runtime.run_in_stack(program)

    with ThreadPoolExecutor(4) as executor:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        loop.set_default_executor(executor)
        try:
            copy_context().run(loop.run_until_complete, run())
        finally:
            loop.close()
    return recorder.recording


def _recorded(
    request: resource_pb2.RegisterResourceRequest, wire: Mapping[str, Any], inputs: Mapping[str, Any]
) -> Recorded:
    return Recorded(
        type=request.type,
        name=request.name,
        inputs=inputs,
        secrets=frozenset(key for key, value in wire.items() if value != inputs.get(key)),
        parent=_name(request.parent),
        depends_on=frozenset(_name(urn) for urn in request.dependencies),
        protect=request.protect,
        retain_on_delete=request.retainOnDelete,
        delete_before_replace=request.deleteBeforeReplace,
        import_id=request.importId,
        ignore_changes=tuple(request.ignoreChanges),
        additional_secret_outputs=tuple(request.additionalSecretOutputs),
        on_error=tuple(request.hooks.on_error),
        timeouts={
            what: getattr(request.customTimeouts, what)
            for what in ("create", "update", "delete")
            if getattr(request.customTimeouts, what)
        },
    )


def _computed(request: resource_pb2.RegisterResourceRequest, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What only the cloud knows, as far as other resources' inputs are made of it."""
    name = str(inputs.get("name") or f"{request.name}-0a1b2c3")
    if request.type.startswith("aws:"):
        arn = f"arn:of:{request.name}"
        return {"name": name, "arn": arn, "secretArn": f"{arn}-secret", "latestVersion": 3}
    computed: dict[str, Any] = {"name": name, "selfLink": f"https://www.googleapis.com/compute/v1/{name}"}
    if request.type.startswith("gcp:serviceaccount/"):
        computed["email"] = f"{inputs['accountId']}@{inputs['project']}.iam.gserviceaccount.com"
    if request.type == "gcp:secretmanager/secretVersion:SecretVersion":
        computed["name"] = f"{inputs['secret']}/versions/1"
    return computed


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
