"""The embedded engine's resource monitor: what a program's resource registrations come to.

A subclass of the SDK's MockMonitor, of which it keeps the calling convention (plain method calls instead of gRPC) and
nothing else. One deployment is one object; the SDK calls it from several threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto import callback_pb2, callback_pb2_grpc, engine_pb2, resource_pb2

from engine.base import PROJECT, EngineError
from engine.embedded import properties
from engine.embedded.display import Display
from engine.embedded.properties import Properties
from engine.embedded.providers import DYNAMIC_PACKAGE, Diff, Provider
from engine.embedded.state import Resource, Snapshot

STACK_TYPE = "pulumi:pulumi:Stack"
MAX_ERROR_HOOK_RETRIES = 100  # as in the Pulumi CLI

# Each of these changes what a deployment comes to, so leaving one out silently would be a wrong answer.
_REFUSED_OPTIONS = {
    "importId": "import_",
    "aliases": "aliases",
    "transforms": "transforms",
    "state_migrations": "state_migrations",
    "replace_with": "replace_with",
    "envVarMappings": "env_var_mappings",
    "remote": "remote components",
}


_HOOK_MOMENTS = {
    "before_create": "BeforeCreate",
    "after_create": "AfterCreate",
    "before_update": "BeforeUpdate",
    "after_update": "AfterUpdate",
    "before_delete": "BeforeDelete",
    "after_delete": "AfterDelete",
    "on_error": "OnError",
}
"""A request's field and the state's name for each kind of hook (sdk/go/common/resource/resource_hooks.go)."""


class Refused(EngineError):
    """The program asks for something that this engine doesn't do, by name, with the way out."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(
            f"{where}: the embedded engine doesn't do {what}. Install the Pulumi CLI (see `gpubench doctor`) "
            "and run this again."
        )


class Aborted(EngineError):
    """Another resource failed first; this one wasn't started."""


@dataclass(frozen=True)
class _Hook:
    """A resource hook or an error hook, called over the SDK's own callback server."""

    name: str
    callback: callback_pb2.Callback
    on_dry_run: bool = False
    ignore_errors: bool = False

    def call(self, request: bytes) -> bytes:
        with grpc.insecure_channel(self.callback.target, options=_GRPC_CHANNEL_OPTIONS) as channel:
            stub = callback_pb2_grpc.CallbacksStub(channel)
            response = stub.Invoke(callback_pb2.CallbackInvokeRequest(token=self.callback.token, request=request))
        answer: bytes = response.response
        return answer


class Monitor(MockMonitor):
    """One preview or update of one stack."""

    def __init__(
        self,
        stack: str,
        snapshot: Snapshot,
        providers: Mapping[str, Provider],
        config: Mapping[str, Any],
        display: Display,
        *,
        preview: bool,
    ) -> None:
        """`config`: the stack's config in wire form (secrets wrapped), which a default provider resource records."""
        self.outputs: Properties = {}
        self._stack = stack
        self._snapshot = snapshot
        self._providers = providers
        self._config = dict(config)
        self._display = display
        self._preview = preview
        self._lock = threading.RLock()
        self._registered = snapshot.registered
        self._registered.clear()
        self._hooks: dict[str, _Hook] = {}
        self._error_hooks: dict[str, _Hook] = {}
        self._failed = threading.Event()
        self._cancelled = False  # no Event: a signal handler says so (engine/interrupts.py)

    def cancel(self) -> None:
        """Begin nothing more: what is under way ends, and then the operation fails."""
        self._cancelled = True

    # -- the calls that a program makes ----------------------------------------------------------------------------

    def GetDeploymentInfo(self, request: object) -> resource_pb2.DeploymentInfo:  # noqa: N802 - the protocol's name
        return resource_pb2.DeploymentInfo(
            supportedFeatures=[
                resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
                resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
                resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS,
                resource_pb2.RESOURCE_MONITOR_FEATURE_ERROR_HOOKS,
            ]
        )

    def RegisterResource(  # noqa: N802
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        if self._failed.is_set():
            raise Aborted(f"{request.type} {request.name}: not started, because another resource failed")
        try:
            self._go_on()
            return self._register(request)
        except BaseException:
            self._failed.set()
            raise

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> empty_pb2.Empty:  # noqa: N802
        outputs = properties.from_struct(request.outputs)
        resource = self._snapshot.find(request.urn)
        if resource is not None and not self._preview:
            with self._lock:
                resource.outputs = outputs
                self._snapshot.save()
        if _type_of(request.urn) == STACK_TYPE:
            self.outputs = outputs
        return empty_pb2.Empty()

    def RegisterResourceHook(self, request: resource_pb2.RegisterResourceHookRequest) -> empty_pb2.Empty:  # noqa: N802
        self._hooks[request.name] = _Hook(request.name, request.callback, request.on_dry_run, request.ignore_errors)
        return empty_pb2.Empty()

    def RegisterErrorHook(self, request: resource_pb2.RegisterErrorHookRequest) -> empty_pb2.Empty:  # noqa: N802
        self._error_hooks[request.name] = _Hook(request.name, request.callback)
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, request: object) -> empty_pb2.Empty:  # noqa: N802
        """The program has ended well: delete what it no longer declares (its hooks can still be called)."""
        try:
            self._delete_unregistered()
        except BaseException:
            self._failed.set()
            raise
        return empty_pb2.Empty()

    def Invoke(self, request: resource_pb2.ResourceInvokeRequest) -> NoReturn:  # noqa: N802
        raise Refused(f"provider functions ({request.tok})", f"stack {self._stack}")

    def Call(self, request: resource_pb2.ResourceCallRequest) -> NoReturn:  # noqa: N802
        raise Refused(f"resource methods ({request.tok})", f"stack {self._stack}")

    def ReadResource(self, request: resource_pb2.ReadResourceRequest) -> NoReturn:  # noqa: N802
        raise Refused("reading existing resources (.get, StackReference)", f"{request.type} {request.name}")

    def RegisterStackTransform(self, request: object) -> NoReturn:  # noqa: N802
        raise Refused("stack transforms", f"stack {self._stack}")

    def RegisterStackInvokeTransform(self, request: object) -> NoReturn:  # noqa: N802
        raise Refused("invoke transforms", f"stack {self._stack}")

    def RegisterPackage(self, request: Any) -> NoReturn:  # noqa: N802
        raise Refused(f"parameterized packages ({request.name})", f"stack {self._stack}")

    # -- registering ----------------------------------------------------------------------------------------------

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The engine's rule: the types of all parents but the stack's are in a name (sdk/go/common/resource/urn)."""
        if parent and (parent_type := _qualified_type(parent)) != STACK_TYPE:
            type_ = f"{parent_type}${type_}"
        return f"urn:pulumi:{self._stack}::{PROJECT}::{type_}::{name}"

    def _register(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:
        urn = self.make_urn(request.parent, request.type, request.name)
        for field, option in _REFUSED_OPTIONS.items():
            if getattr(request, field):
                raise Refused(f"the option {option}", urn)
        # A provider's SDK lists the types that a resource had in its older versions. Such an alias, of the same name,
        # means something only where the state has a resource of that old type.
        for alias in request.aliasURNs:
            if alias.rpartition("::")[2] != request.name or self._snapshot.find(alias) is not None:
                raise Refused("the option aliases", urn)
        if request.HasField("replacement_trigger"):
            raise Refused("the option replacement_trigger", urn)
        package = request.type.partition(":")[0]
        provider = self._providers.get(package) if request.custom else None
        # The provider's own resource first: a state names nothing before it has been introduced.
        reference = self._default_provider(package) if provider is not None else ""
        with self._lock:
            if urn in self._registered:
                raise EngineError(f"{urn}: two resources of one name; give one of them another name")
            self._registered.append(urn)
        desired = Resource(
            urn=urn,
            type=request.type,
            custom=request.custom,
            inputs=properties.from_struct(request.object),
            parent=request.parent,
            provider=reference,
            dependencies=sorted(request.dependencies),
            propertyDependencies={key: sorted(deps.urns) for key, deps in request.propertyDependencies.items()},
            additionalSecretOutputs=sorted(request.additionalSecretOutputs),
            protect=request.protect,
            retainOnDelete=request.retainOnDelete,
            deletedWith=request.deletedWith,
            resourceHooks={
                name: list(getattr(request.hooks, moment))
                for moment, name in _HOOK_MOMENTS.items()
                if getattr(request.hooks, moment)
            },
        )
        if not request.custom:
            return self._register_component(desired)
        if provider is None:
            return self._register_unknown(request, desired)
        if request.provider:
            raise Refused("the option provider (an explicit one)", urn)
        return self._register_custom(request, desired, provider)

    def _register_component(self, desired: Resource) -> resource_pb2.RegisterResourceResponse:
        old = self._snapshot.find(desired.urn)
        op = "same" if old is not None else "create"
        if old is not None:
            desired.outputs, desired.created = old.outputs, old.created
        self._keep(desired)
        self._display.done(op, desired.type, desired.name)
        return _response(desired, desired.inputs)

    def _register_unknown(
        self, request: resource_pb2.RegisterResourceRequest, desired: Resource
    ) -> resource_pb2.RegisterResourceResponse:
        # A preview needs no credentials: what only the cloud knows stays unknown, as in a real preview of a create.
        if not self._preview:
            raise Refused(f"cloud resources ({request.type})", desired.urn)
        self._display.step("create", desired.type, desired.name)
        return _response(desired, desired.inputs)

    def _default_provider(self, package: str) -> str:
        """The reference to the package's default provider resource, which is made when first needed, as in the CLI."""
        type_ = f"pulumi:providers:{package}"
        with self._lock:
            urn = self.make_urn("", type_, "default")
            existing = self._snapshot.find(urn)
            config = dict(self._config)  # all of it for dynamic providers; for any other its own part
            if package != DYNAMIC_PACKAGE:
                own = f"{package}:"
                config = {key.removeprefix(own): value for key, value in config.items() if key.startswith(own)}
            resource = Resource(
                urn=urn,
                type=type_,
                custom=True,
                # Any id will do, as long as it stays; the CLI draws a UUID.
                id=existing.id if existing else f"embedded-{package}",
                inputs=config,
                outputs=dict(config),
                created=existing.created if existing else "",
            )
            if urn not in self._registered:
                self._registered.append(urn)
                self._keep(resource)
            return f"{urn}::{resource.id}"

    def _register_custom(
        self, request: resource_pb2.RegisterResourceRequest, desired: Resource, provider: Provider
    ) -> resource_pb2.RegisterResourceResponse:
        old = self._snapshot.find(desired.urn)
        if old is not None:
            self._ignore_changes(request.ignoreChanges, old, desired)
        checked, failures = provider.check(desired.urn, old.inputs if old else {}, desired.inputs)
        if failures:
            listed = "\n".join(f"    {property_}: {reason}" for property_, reason in failures)
            raise EngineError(f"{desired.urn}: its inputs can't be right:\n{listed}")
        desired.inputs = properties.annotate_secrets(checked, desired.inputs)
        if old is None:
            return self._create(desired, provider)
        diff = self._diff(request, old, desired, provider)
        if diff.replaces:
            before = diff.delete_before_replace or request.deleteBeforeReplace
            return self._replace(old, desired, provider, delete_first=before)
        if diff.changed:
            return self._update(old, desired, provider)
        desired.id, desired.outputs, desired.created = old.id, old.outputs, old.created
        self._keep(desired)
        self._display.done("same", desired.type, desired.name)
        return _response(desired, desired.outputs)

    def _ignore_changes(self, paths: Iterable[str], old: Resource, desired: Resource) -> None:
        for path in paths:
            if "." in path or "[" in path or path == "*":
                raise Refused(f"ignore_changes of a path ({path})", desired.urn)
            if path in old.inputs:
                desired.inputs[path] = old.inputs[path]
            else:
                desired.inputs.pop(path, None)

    def _diff(
        self, request: resource_pb2.RegisterResourceRequest, old: Resource, desired: Resource, provider: Provider
    ) -> Diff:
        for path in request.replaceOnChanges:
            if "." in path or "[" in path:
                raise Refused(f"replace_on_changes of a path ({path})", desired.urn)
        diff = provider.diff(desired.urn, old.id, old.outputs, desired.inputs)
        if diff.changed is not None:
            # A provider that decides, and names no changed properties (dynamic ones can't), leaves replace_on_changes
            # nothing to act on: so does the CLI (pkg/resource/deploy/step_generator.go, applyReplaceOnChanges).
            return diff
        differing = {
            key
            for key in old.inputs.keys() | desired.inputs.keys()
            if properties.without_secrets(old.inputs.get(key)) != properties.without_secrets(desired.inputs.get(key))
        }
        forced = differing if "*" in request.replaceOnChanges else differing & set(request.replaceOnChanges)
        return Diff(bool(differing), tuple(sorted({*diff.replaces, *forced})), diff.delete_before_replace)

    # -- the steps ------------------------------------------------------------------------------------------------

    def _create(
        self, desired: Resource, provider: Provider, *, replacing: Resource | None = None, op: str = "create"
    ) -> resource_pb2.RegisterResourceResponse:
        self._display.step(op, desired.type, desired.name)
        self._run_hooks("before_create", desired, new_inputs=desired.inputs)
        if self._preview:
            return _response(desired, desired.inputs)
        started = time.monotonic()
        with self._snapshot.operation("creating", desired):
            id_, outputs = self._retrying("create", desired, None, lambda: provider.create(desired.urn, desired.inputs))
        desired.id = id_
        desired.outputs = self._annotated(desired, outputs)
        if replacing is not None:
            replacing.delete = True  # only now: had the create failed, the old one would still be the live one
        self._keep(desired)
        self._run_hooks("after_create", desired, new_inputs=desired.inputs, new_outputs=desired.outputs)
        self._display.done(op, desired.type, desired.name, time.monotonic() - started)
        return _response(desired, desired.outputs)

    def _update(self, old: Resource, desired: Resource, provider: Provider) -> resource_pb2.RegisterResourceResponse:
        desired.id, desired.created = old.id, old.created
        self._display.step("update", desired.type, desired.name)
        self._run_hooks("before_update", desired, old=old, new_inputs=desired.inputs)
        if self._preview:
            return _response(desired, desired.inputs)
        started = time.monotonic()
        with self._snapshot.operation("updating", desired):
            outputs = self._retrying(
                "update", desired, old, lambda: provider.update(desired.urn, old.id, old.outputs, desired.inputs)
            )
        desired.outputs = self._annotated(desired, outputs)
        self._keep(desired)
        self._run_hooks("after_update", desired, old=old, new_inputs=desired.inputs, new_outputs=desired.outputs)
        self._display.done("update", desired.type, desired.name, time.monotonic() - started)
        return _response(desired, desired.outputs)

    def _replace(
        self, old: Resource, desired: Resource, provider: Provider, *, delete_first: bool
    ) -> resource_pb2.RegisterResourceResponse:
        if old.protect:
            raise EngineError(_protected(old))
        if self._preview:
            return self._create(desired, provider, op="replace")
        if delete_first:
            self._delete(old, quiet=True)
            return self._create(desired, provider, op="replace")
        return self._create(desired, provider, replacing=old, op="replace")

    def _delete(self, resource: Resource, *, quiet: bool = False, with_: Iterable[str] = ()) -> None:
        """Delete one resource, or only forget it where its options say so."""
        if not quiet:
            self._display.step("delete", resource.type, resource.name)
        started = time.monotonic()
        if not self._preview:
            provider = self._providers.get(resource.type.partition(":")[0])
            if resource.custom and not resource.retainOnDelete and resource.deletedWith not in set(with_):
                if provider is None and not resource.type.startswith("pulumi:providers:"):
                    raise Refused(f"cloud resources ({resource.type})", resource.urn)
                self._run_hooks("before_delete", resource, old=resource)
                if provider is not None:
                    held = provider
                    with self._snapshot.operation("deleting", resource):
                        self._retrying(
                            "delete",
                            resource,
                            resource,
                            lambda: held.delete(resource.urn, resource.id, resource.outputs),
                        )
                self._run_hooks("after_delete", resource, old=resource)
            self._snapshot.remove(resource)
            if not quiet:
                self._display.done("delete", resource.type, resource.name, time.monotonic() - started)

    def _go_on(self) -> None:
        if self._cancelled:
            raise EngineError("stopped on request, before all was done")

    def _delete_unregistered(self) -> None:
        # Replaced ones first, then in the reverse order of registration, so that what depends goes before what it
        # depends on.
        gone = [one for one in reversed(self._snapshot.resources) if one.delete or one.urn not in self._registered]
        self.delete_all(gone)

    def delete_all(self, resources: list[Resource]) -> None:
        """Delete these, in this order; nothing at all if one of them is protected or has hooks that can't be called."""
        for resource in resources:
            if resource.protect:
                raise EngineError(_protected(resource))
            for moment in ("BeforeDelete", "AfterDelete"):
                for name in resource.resourceHooks.get(moment, ()):
                    if name not in self._hooks:
                        raise Refused(f"delete hooks without the program that has them ({name})", resource.urn)
        urns = [resource.urn for resource in resources]
        for resource in resources:
            self._go_on()
            self._delete(resource, quiet=resource.type.startswith("pulumi:providers:") or resource.delete, with_=urns)

    def _retrying(self, operation: str, desired: Resource, old: Resource | None, method: Callable[[], Any]) -> Any:
        """Call the provider; where it fails, ask the resource's error hooks whether to try again."""
        errors: list[str] = []
        while True:
            try:
                return method()
            except EngineError as error:
                errors.insert(0, str(error))
                again = not self._cancelled and len(errors) <= MAX_ERROR_HOOK_RETRIES
                if not again or not self._error_hooks_ask_retry(operation, desired, old, errors):
                    raise EngineError(f"{desired.urn}: {operation} failed: {error}") from error

    def _error_hooks_ask_retry(
        self, operation: str, desired: Resource, old: Resource | None, errors: list[str]
    ) -> bool:
        retry = False
        for name in desired.resourceHooks.get("OnError", ()):
            if operation == "delete" and name not in self._error_hooks:
                continue  # the program doesn't declare the resource any more, nor its hooks; the CLI goes on as well
            request = resource_pb2.ErrorHookRequest(
                urn=desired.urn,
                id=desired.id,
                name=desired.name,
                type=desired.type,
                new_inputs=properties.to_struct(desired.inputs) if operation != "delete" else None,
                old_inputs=properties.to_struct(old.inputs) if old else None,
                old_outputs=properties.to_struct(old.outputs) if old else None,
                failed_operation=operation,
                errors=errors,
            )
            hook = self._registered_hook(self._error_hooks, name)
            response = resource_pb2.ErrorHookResponse.FromString(hook.call(request.SerializeToString()))
            if response.error:
                raise EngineError(f"{desired.urn}: error hook {name!r} failed: {response.error}")
            retry = retry or response.retry
        return retry

    def _run_hooks(
        self,
        moment: str,
        resource: Resource,
        *,
        old: Resource | None = None,
        new_inputs: Properties | None = None,
        new_outputs: Properties | None = None,
    ) -> None:
        for name in resource.resourceHooks.get(_HOOK_MOMENTS[moment], ()):
            hook = self._registered_hook(self._hooks, name)
            if self._preview and not hook.on_dry_run:
                continue
            request = resource_pb2.ResourceHookRequest(
                urn=resource.urn,
                id=resource.id,
                name=resource.name,
                type=resource.type,
                new_inputs=_struct(new_inputs),
                old_inputs=_struct(old.inputs if old else None),
                new_outputs=_struct(new_outputs),
                old_outputs=_struct(old.outputs if old else None),
            )
            response = resource_pb2.ResourceHookResponse.FromString(hook.call(request.SerializeToString()))
            if response.error:
                text = f"{resource.urn}: {moment.partition('_')[0]} hook {name!r} failed: {response.error}"
                if not hook.ignore_errors:
                    raise EngineError(text)
                self._display.message("warning", text)

    @staticmethod
    def _registered_hook(hooks: Mapping[str, _Hook], name: str) -> _Hook:
        try:
            return hooks[name]
        except KeyError:
            raise EngineError(f"hook {name!r} was not registered") from None

    def _annotated(self, desired: Resource, outputs: Properties) -> Properties:
        return properties.annotate_secrets(outputs, desired.inputs, desired.additionalSecretOutputs)

    def _keep(self, resource: Resource) -> None:
        if self._preview:
            return
        self._snapshot.put(resource)


class EngineLog:
    """The engine's side of `pulumi.log`."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def Log(self, request: engine_pb2.LogRequest) -> empty_pb2.Empty:  # noqa: N802
        severity = {engine_pb2.INFO: "info", engine_pb2.WARNING: "warning", engine_pb2.ERROR: "error"}
        if request.severity in severity:
            self._display.message(severity[request.severity], request.message)
        return empty_pb2.Empty()


def _struct(values: Properties | None) -> struct_pb2.Struct | None:
    return None if values is None else properties.to_struct(values)


def _response(resource: Resource, outputs: Properties) -> resource_pb2.RegisterResourceResponse:
    return resource_pb2.RegisterResourceResponse(
        urn=resource.urn, id=resource.id, object=properties.to_struct(outputs), stable=False
    )


def _qualified_type(urn: str) -> str:
    return urn.split("::")[2]


def _type_of(urn: str) -> str:
    return _qualified_type(urn).rpartition("$")[2]


def _protected(resource: Resource) -> str:
    return (
        f"{resource.urn}: can't be deleted, because it is protected. Take `protect` off in the program and run an "
        "update, then do this again; nothing was deleted"
    )
