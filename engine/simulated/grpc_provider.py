"""The simulated cloud's providers for the Pulumi CLI's engine, which attaches to them by PULUMI_DEBUG_PROVIDERS.

The protocol is the SDK's ResourceProvider service (pulumi/runtime/proto/provider.proto). All that is known of resources
is in provider.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar, cast

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from engine.base import EngineError
from engine.embedded import properties
from engine.simulated.provider import ResourceCloud, SimulatedProvider
from engine.simulated.schema import PACKAGES

THREADS = 16  # as many as the Pulumi CLI has operations at once

T = TypeVar("T")


@contextmanager
def serve(cloud: ResourceCloud, packages: Sequence[str] = PACKAGES) -> Iterator[str]:
    """Serve providers on ports of the loopback address; yields the value for PULUMI_DEBUG_PROVIDERS."""
    servers = []
    try:
        ports = []
        for package in packages:
            server = grpc.server(ThreadPoolExecutor(THREADS), options=_GRPC_CHANNEL_OPTIONS)
            servicer = _Servicer(SimulatedProvider(package, cloud))
            cast(Any, provider_pb2_grpc).add_ResourceProviderServicer_to_server(servicer, server)
            ports.append(f"{package}:{server.add_insecure_port('127.0.0.1:0')}")
            server.start()
            servers.append(server)
        yield ",".join(ports)
    finally:
        for stopping in [server.stop(grace=1) for server in servers]:
            stopping.wait()


class _Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One package. The names of the methods are the protocol's."""

    def __init__(self, provider: SimulatedProvider) -> None:
        self._provider = provider

    def Handshake(self, request: Any, context: Any) -> provider_pb2.ProviderHandshakeResponse:  # noqa: N802, ARG002
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=False)

    def Attach(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802, ARG002
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802, ARG002
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:  # noqa: N802, ARG002
        return plugin_pb2.PluginInfo(version=self._provider.schema.version)

    def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:  # noqa: N802, ARG002
        known = self._provider.schema
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": known.package, "version": known.version}))

    def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:  # noqa: N802, ARG002
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:  # noqa: N802, ARG002
        # A change of project or region moves no resource here: each has its own in its inputs.
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:  # noqa: N802, ARG002
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    def Check(self, request: Any, context: Any) -> provider_pb2.CheckResponse:  # noqa: N802
        olds, news = properties.from_struct(request.olds), properties.from_struct(request.news)
        inputs, failures = _answer(context, lambda: self._provider.check(request.urn, olds, news))
        return provider_pb2.CheckResponse(
            inputs=properties.to_struct(inputs),
            failures=[provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in failures],
        )

    def Diff(self, request: Any, context: Any) -> provider_pb2.DiffResponse:  # noqa: N802
        olds, news = properties.from_struct(request.olds), properties.from_struct(request.news)
        for path in request.ignoreChanges:
            if path in olds:
                news[path] = olds[path]
        diff = _answer(context, lambda: self._provider.diff(request.urn, request.id, olds, news))
        answer = provider_pb2.DiffResponse
        return answer(
            changes=answer.DIFF_SOME if diff.changed else answer.DIFF_NONE,
            replaces=diff.replaces,
            deleteBeforeReplace=diff.delete_before_replace,
            diffs=self._provider.changed_fields(request.urn, olds, news),
        )

    def Create(self, request: Any, context: Any) -> provider_pb2.CreateResponse:  # noqa: N802
        if request.preview:
            # An attached provider is asked in previews whatever it answers in Configure (3.260).
            return provider_pb2.CreateResponse(properties=request.properties)
        news = properties.from_struct(request.properties)
        id_, outputs = _answer(context, lambda: self._provider.create(request.urn, news))
        return provider_pb2.CreateResponse(id=id_, properties=properties.to_struct(outputs))

    def Read(self, request: Any, context: Any) -> provider_pb2.ReadResponse:  # noqa: N802
        olds = properties.from_struct(request.properties)
        outputs = _answer(context, lambda: self._provider.read(request.urn, request.id, olds))
        if outputs is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=properties.to_struct(outputs), inputs=request.inputs)

    def Update(self, request: Any, context: Any) -> provider_pb2.UpdateResponse:  # noqa: N802
        if request.preview:
            return provider_pb2.UpdateResponse(properties=request.news)
        olds, news = properties.from_struct(request.olds), properties.from_struct(request.news)
        outputs = _answer(context, lambda: self._provider.update(request.urn, request.id, olds, news))
        return provider_pb2.UpdateResponse(properties=properties.to_struct(outputs))

    def Delete(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802
        outputs = properties.from_struct(request.properties)
        _answer(context, lambda: self._provider.delete(request.urn, request.id, outputs))
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the simulated cloud has no function {request.tok}")
        raise AssertionError("abort raises")


def _answer(context: Any, method: Callable[[], T]) -> T:
    """The method's answer; a failure is the answer's status, in one line."""
    try:
        return method()
    except EngineError as error:
        context.abort(grpc.StatusCode.UNKNOWN, str(error))
    except Exception as error:  # a mistake of ours; without this, gRPC would say only that an exception was thrown
        context.abort(grpc.StatusCode.INTERNAL, f"the simulated provider: {type(error).__name__}: {error}")
    raise AssertionError("abort raises")
