"""The providers of the simulated cloud: gcp, aws and kubernetes resources, checked and compared as the real ones do.

The embedded engine calls one directly; grpc_provider.py serves the same one to the Pulumi CLI's engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from engine.embedded import properties
from engine.embedded.properties import Properties
from engine.embedded.providers import Diff, ProviderError
from engine.simulated import schema
from engine.simulated.model import CloudError
from engine.simulated.schema import DEFAULTS, ResourceType

NAME_HEX = 7  # as in the Pulumi engine's and the bridged providers' own names


class ResourceCloud(Protocol):
    """The part of a Cloud (or of the proxy of one in another process) that providers use."""

    def create(self, type_token: str, name: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]: ...

    def read(self, type_token: str, id_: str) -> dict[str, Any] | None: ...

    def update(self, type_token: str, id_: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]: ...

    def delete(self, type_token: str, id_: str) -> None: ...


class SimulatedProvider:
    """One package's provider. Takes secrets opened or wrapped, and returns them opened, as the real ones do."""

    def __init__(self, package: str, cloud: ResourceCloud) -> None:
        self.schema = schema.load(package)
        self._cloud = cloud

    def check(self, urn: str, olds: Properties, news: Properties) -> tuple[Properties, list[tuple[str, str]]]:
        """The inputs with a name made up if there is none, and (input, what is wrong) of each mistake."""
        type_ = self.schema.resources.get(_token(urn))
        if type_ is None:
            return news, [("type", self._no_such_type(urn))]
        before, inputs = properties.without_secrets(olds), properties.without_secrets(news)
        inputs.pop(DEFAULTS, None)
        failures = type_.mistakes(inputs)
        if not failures:
            _give_name(type_, urn, before, inputs)
        return inputs, failures

    def diff(self, urn: str, id_: str, olds: Properties, news: Properties) -> Diff:  # noqa: ARG002 - the protocol's
        """``olds``: the outputs as this provider returned them; ``news``: checked inputs."""
        type_ = self._type(urn)
        before, after = properties.without_secrets(olds), properties.without_secrets(news)
        changed = type_.compare(before, after)
        # The new one can't be made while the old one has the name. Not so where the provider makes up the names.
        name = _get(after, type_.name_path)
        fixed = bool(name) and name == _get(before, type_.name_path) and DEFAULTS not in after
        return Diff(bool(changed.fields), changed.replaces, bool(changed.replaces) and fixed)

    def changed_fields(self, urn: str, olds: Properties, news: Properties) -> tuple[str, ...]:
        """The top-level inputs that differ, for the Pulumi CLI's display."""
        compared = self._type(urn).compare(properties.without_secrets(olds), properties.without_secrets(news))
        return compared.fields

    def create(self, urn: str, news: Properties) -> tuple[str, Properties]:
        """Raises ProviderError with the cloud's words, wrapped as the real provider does."""
        type_, inputs = self._type(urn), _for_cloud(news)
        name = _physical_name(type_, urn, inputs)
        try:
            id_, outputs = self._cloud.create(type_.token, name, inputs)
        except CloudError as error:
            raise ProviderError(wrapped("create", type_.token, name, error)) from error
        return id_, _state(type_, inputs, outputs)

    def read(self, urn: str, id_: str, olds: Properties) -> Properties | None:
        """The state as the cloud has it now; None if the resource is gone."""
        type_ = self._type(urn)
        try:
            outputs = self._cloud.read(type_.token, id_)
        except CloudError as error:
            raise ProviderError(wrapped("read", type_.token, id_, error)) from error
        if outputs is None:
            return None
        # What the program didn't give before, it still doesn't give.
        filled = set(properties.without_secrets(olds).get(DEFAULTS) or ()) & outputs.keys()
        return {**outputs, DEFAULTS: sorted(filled)}

    def update(self, urn: str, id_: str, olds: Properties, news: Properties) -> Properties:
        """Raises ProviderError, like create."""
        type_, before, inputs = self._type(urn), _for_cloud(olds), _for_cloud(news)
        try:
            outputs = self._cloud.update(type_.token, id_, before, inputs)
        except CloudError as error:
            name = _physical_name(type_, urn, inputs)
            raise ProviderError(wrapped("update", type_.token, name, error)) from error
        return _state(type_, inputs, outputs)

    def delete(self, urn: str, id_: str, outputs: Properties) -> None:  # noqa: ARG002 - the protocol's
        """Raises ProviderError; nothing happens if the resource is gone."""
        token = _token(urn)
        try:
            self._cloud.delete(token, id_)
        except CloudError as error:
            raise ProviderError(wrapped("delete", token, id_, error)) from error

    def _type(self, urn: str) -> ResourceType:
        try:
            return self.schema.resources[_token(urn)]
        except KeyError:
            raise ProviderError(f"{urn}: {self._no_such_type(urn)}") from None

    def _no_such_type(self, urn: str) -> str:
        token = _token(urn)
        return f"the simulated cloud doesn't know {token}{self.schema.did_you_mean(token)}"


# What the providers call an operation, by type and (an asked-for refusal, an operation that failed later).
# Google: hashicorp/terraform-provider-google, google/services/*/resource_*.go. AWS: hashicorp/terraform-provider-aws,
# internal/service/*/*.go.
_CREATING = {
    "gcp:compute/instance:Instance": ("Error creating instance", "Error waiting for instance to create"),
    "gcp:compute/instanceTemplate:InstanceTemplate": (
        "Error creating instance template",
        "Error waiting for Creating Instance Template",
    ),
    "gcp:compute/regionInstanceTemplate:RegionInstanceTemplate": (
        "Error creating RegionInstanceTemplate",
        "Error waiting for Creating Region Instance Template",
    ),
    "gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager": (
        "Error creating RegionInstanceGroupManager",
        "Error waiting for Creating InstanceGroupManager",
    ),
    "gcp:container/cluster:Cluster": ("", "Error waiting for creating GKE cluster"),
    "gcp:container/nodePool:NodePool": ("error creating NodePool", "Error waiting for creating GKE NodePool"),
    "aws:autoscaling/group:Group": (
        "creating Auto Scaling Group ({name})",
        "waiting for Auto Scaling Group ({name}) capacity satisfied",
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": ("creating EC2 Launch Template ({name})", ""),
    "aws:ecs/capacityProvider:CapacityProvider": ("creating ECS Capacity Provider ({name})", ""),
    "aws:ecs/taskDefinition:TaskDefinition": ("creating ECS Task Definition ({name})", ""),
    "aws:ecs/service:Service": ("creating ECS Service ({name})", "waiting for ECS Service ({name}) create"),
}
_AWS_SERVICE = {"autoscaling": "Auto Scaling", "cloudwatch": "CloudWatch Logs"}
_DOING = {"create": "creating", "update": "updating", "delete": "deleting", "read": "reading"}


def wrapped(operation: str, token: str, name: str, error: CloudError) -> str:
    """A failure as the real provider prints it, in one line: what it did, and the cloud's own message."""
    text = " ".join(error.text.split())
    package, kind = token.partition(":")[0], token.rpartition(":")[2]
    refused = error.status is not None
    if package == "kubernetes":
        return f"resource {name} was not successfully {operation}d by the Kubernetes API server: {text}"
    doing = _DOING[operation]
    if operation == "create" and token in _CREATING:
        before = _CREATING[token][0 if refused else 1].format(name=name)
    elif package == "aws":
        before = f"{doing} {_AWS_SERVICE.get(_module(token), _module(token).upper())} {kind} ({name})"
    elif refused or operation == "read":
        before = f"Error {doing} {kind}"
    else:
        before = f"Error waiting to {operation} {kind}: Error waiting for {doing.capitalize()} {kind}"
    if refused and package == "gcp":
        text = f"googleapi: Error {error.status}: {text}{f', {error.code}' if error.code else ''}"
    elif refused:
        service = _AWS_SERVICE.get(_module(token), _module(token).upper())
        request = hashlib.sha256(f"{operation}{token}{name}".encode()).hexdigest()
        text = (
            f"operation error {service}: {operation.capitalize()}{kind}, https response error StatusCode: "
            f"{error.status}, RequestID: {request[:8]}-{request[8:12]}-{request[12:16]}-{request[16:20]}-"
            f"{request[20:32]}, api error {error.code or 'ValidationError'}: {text}"
        )
    return f"{before}: {text}" if before else text


def _module(token: str) -> str:
    return token.split(":")[1].partition("/")[0]


def _token(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _give_name(type_: ResourceType, urn: str, olds: Properties, inputs: Properties) -> None:
    """Make up a name where the program gives none.

    It is the same in each update (a hash of the urn), and another one (with the old name in it) where the resource has
    to be replaced, so that the new one can be made before the old one goes.
    """
    path = type_.name_path
    if not path or _get(inputs, path) is not None or inputs.get("namePrefix") is not None:
        return
    old_name = _get(olds, path) if DEFAULTS in olds else None
    if old_name is not None and old_name != properties.UNKNOWN:
        _put(inputs, path, old_name)
        inputs[DEFAULTS] = [path[-1]]
        if not type_.compare({key: value for key, value in olds.items() if key != DEFAULTS}, inputs).replaces:
            return
        _put(inputs, path, None)
    digest = hashlib.sha256(f"{urn}\n{old_name or ''}".encode()).hexdigest()
    _put(inputs, path, f"{_urn_name(urn)}-{digest[:NAME_HEX]}")
    inputs[DEFAULTS] = [path[-1]]


def _physical_name(type_: ResourceType, urn: str, inputs: Mapping[str, Any]) -> str:
    if name := _get(inputs, type_.name_path):
        return str(name)
    if prefix := inputs.get("namePrefix"):
        return f"{prefix}{hashlib.sha256(urn.encode()).hexdigest()[:NAME_HEX]}"
    return str(inputs.get("name") or _urn_name(urn))


def _urn_name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _for_cloud(values: Properties) -> Properties:
    opened = properties.without_secrets(values)
    return {key: value for key, value in opened.items() if key != DEFAULTS and value is not None}


def _state(type_: ResourceType, inputs: Properties, outputs: Mapping[str, Any]) -> Properties:
    """The outputs, with the inputs as they were given, and the names of those that the cloud filled in by itself."""
    filled = sorted(key for key in outputs if key in type_.fields and key not in inputs)
    return {**outputs, **inputs, DEFAULTS: filled}


def _get(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = values if path else None
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _put(values: Properties, path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        inner = values.get(key)
        if not isinstance(inner, dict):
            inner = values[key] = {}
        values = inner
    if value is None:
        values.pop(path[-1], None)
    else:
        values[path[-1]] = value
