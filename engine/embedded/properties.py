"""Property values in the engine's wire form, as plain JSON.

A secret is a map with the SDK's signature key; an unknown is the SDK's marker string. Both constants are part of the
protocol between engine and SDK (`pulumi.runtime.rpc`), and a state file holds a secret as `ciphertext` instead of
`value`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from google.protobuf import json_format, struct_pb2
from pulumi.runtime import rpc

Json = Any
Properties = dict[str, Any]

SIGNATURE = rpc._special_sig_key
SECRET = rpc._special_secret_sig
UNKNOWN: str = rpc.UNKNOWN


def from_struct(struct: struct_pb2.Struct) -> Properties:
    """The wire form of a request's properties. Whole numbers become ints: a Struct only knows doubles."""
    return cast(Properties, _whole_numbers(json_format.MessageToDict(struct)))


def to_struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """The Struct of properties in wire form."""
    struct = struct_pb2.Struct()
    json_format.ParseDict(dict(properties), struct)
    return struct


def from_python(values: Mapping[str, Any]) -> Properties:
    """The wire form of what a provider's method returned, by the SDK's own serialization."""
    loop = asyncio.new_event_loop()
    try:
        return from_struct(loop.run_until_complete(rpc.serialize_properties(cast(Any, dict(values)), {})))
    finally:
        loop.close()


def to_python(properties: Mapping[str, Any], *, keep_unknowns: bool = False) -> dict[str, Any]:
    """What a dynamic provider's method is given: the SDK's own deserialization, secrets unwrapped."""
    return cast(dict[str, Any], rpc.deserialize_properties(to_struct(without_secrets(properties)), keep_unknowns))


def is_secret(value: Json) -> bool:
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET


def secret(value: Json) -> Properties:
    return {SIGNATURE: SECRET, "value": value}


def without_secrets(value: Json) -> Json:
    """The same value with secrets opened: what a provider that doesn't accept secrets is sent."""
    return _map(value, lambda wrapped: without_secrets(wrapped.get("value")))


def masked(value: Json) -> Json:
    """The same value for people to read: secrets and unknowns named, never shown."""
    if value == UNKNOWN:
        return "[unknown]"
    return _map(value, lambda _: "[secret]", leaf=lambda leaf: "[unknown]" if leaf == UNKNOWN else leaf)


def annotate_secrets(outputs: Properties, inputs: Mapping[str, Any], additional: Iterable[str] = ()) -> Properties:
    """Outputs with those wrapped whose input was secret, and those named in `additional_secret_outputs`.

    A provider that doesn't accept secrets returns them open; the real engine wraps them again in this way
    (pkg/resource/plugin/provider_plugin.go, annotateSecrets).
    """
    marked = {key: _annotate(value, inputs[key]) if key in inputs else value for key, value in outputs.items()}
    for key in additional:
        if key in marked and not is_secret(marked[key]):
            marked[key] = secret(marked[key])
    return marked


def _annotate(output: Json, given: Json) -> Json:
    if is_secret(given):
        return output if is_secret(output) else secret(output)
    if isinstance(output, dict) and isinstance(given, dict) and not is_secret(output):
        return {key: _annotate(value, given[key]) if key in given else value for key, value in output.items()}
    if isinstance(output, list) and isinstance(given, list):
        pairs = zip(output, given, strict=False)
        return [_annotate(one, other) for one, other in pairs] + output[len(given) :]
    return output


def _map(
    value: Json, on_secret: Callable[[Properties], Json], leaf: Callable[[Json], Json] = lambda leaf: leaf
) -> Json:
    if is_secret(value):
        return on_secret(value)
    if isinstance(value, dict):
        return {key: _map(item, on_secret, leaf) for key, item in value.items()}
    if isinstance(value, list):
        return [_map(item, on_secret, leaf) for item in value]
    return leaf(value)


def map_secrets(value: Json, change: Callable[[Properties], Json]) -> Json:
    """The same value with each secret replaced by what `change` makes of it."""
    return _map(value, change)


def _whole_numbers(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value
