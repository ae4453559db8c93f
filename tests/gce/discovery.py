"""Google's own descriptions of its APIs, and whether a request or an answer is as they say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

_VERSIONS = {
    "compute.googleapis.com": "compute.v1",
    "artifactregistry.googleapis.com": "artifactregistry.v1",
    "cloudresourcemanager.googleapis.com": "cloudresourcemanager.v3",
    "iam.googleapis.com": "iam.v1",
    "storage.googleapis.com": "storage.v1",
}

# The client library doesn't ship this one. Transcribed, as far as it is used, from
# https://cloud.google.com/docs/quotas/reference/rest/v1/projects.locations.services.quotaInfos (2026-11-21).
_CLOUD_QUOTAS: dict[str, Any] = {
    "servicePath": "",
    "parameters": {"fields": {"location": "query", "type": "string"}},
    "methods": {
        "get": {
            "id": "cloudquotas.projects.locations.services.quotaInfos.get",
            "httpMethod": "GET",
            "path": "v1/{+name}",
            "parameters": {
                "name": {
                    "location": "path",
                    "type": "string",
                    "pattern": "^projects/[^/]+/locations/[^/]+/services/[^/]+/quotaInfos/[^/]+$",
                }
            },
            "response": {"$ref": "QuotaInfo"},
        }
    },
    "schemas": {
        "QuotaInfo": {
            "properties": {
                **{
                    name: {"type": "string"}
                    for name in (
                        "name",
                        "quotaId",
                        "metric",
                        "service",
                        "refreshInterval",
                        "containerType",
                        "metricUnit",
                    )
                },
                **{name: {"type": "boolean"} for name in ("isPrecise", "isFixed", "isConcurrent")},
                "dimensions": {"type": "array", "items": {"type": "string"}},
                "dimensionsInfos": {"type": "array", "items": {"$ref": "DimensionsInfo"}},
            }
        },
        "DimensionsInfo": {
            "properties": {
                "dimensions": {"type": "object", "additionalProperties": {"type": "string"}},
                "details": {"$ref": "QuotaDetails"},
                "applicableLocations": {"type": "array", "items": {"type": "string"}},
            }
        },
        "QuotaDetails": {"properties": {"value": {"type": "string", "format": "int64"}}},
    },
}

HOSTS = (*_VERSIONS, "cloudquotas.googleapis.com")
"""Those whose APIs are described here."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


class NotSo(Exception):
    """A request, or an answer, isn't as Google describes it."""


@dataclass(frozen=True)
class Method:
    """One method of an API."""

    id: str
    described: Mapping[str, Any]
    api: Api
    pattern: re.Pattern[str]

    def check_query(self, query: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
        """The parameters that may be there several times. Raises NotSo for one that the method doesn't have, that is
        there too often, or whose value it doesn't take."""
        known = {**self.api.document.get("parameters", {}), **self.described.get("parameters", {})}
        found: dict[str, tuple[str, ...]] = {}
        for name, value in query:
            if known.get(name, {}).get("location") != "query":
                raise NotSo(f"{self.id} has no query parameter {name}")
            self.api.check_text(known[name], value, f"{self.id} {name}")
            if name in found and not known[name].get("repeated"):
                raise NotSo(f"{self.id} takes {name} once")
            found[name] = (*found.get(name, ()), value)
        for name, one in self.described.get("parameters", {}).items():
            if one.get("required") and one["location"] == "query" and name not in found:
                raise NotSo(f"{self.id} needs {name}")
        return {name: values for name, values in found.items() if known[name].get("repeated")}

    def check_body(self, body: object) -> None:
        """Raises NotSo."""
        schema = self.described.get("request")
        if schema is None:
            if body is not None:
                raise NotSo(f"{self.id} takes no body")
            return
        self.api.check(schema, body, f"{self.id} body")

    def check_answer(self, answer: object) -> None:
        """Raises NotSo."""
        self.api.check(self.described["response"], answer, f"{self.id} answer")

    def masked(self, answer: Any, fields: str) -> Any:
        """The answer with only these fields. Raises NotSo for one that it can't have."""
        tree = _tree(fields)
        self.api.check_mask(self.described["response"], tree, self.id)
        return _mask(answer, tree)


class Api:
    """One API's description."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """All of its methods."""
        return tuple(self._methods(self.document))

    def _methods(self, part: Mapping[str, Any]) -> list[Method]:
        found = [self._method(one) for one in part.get("methods", {}).values()]
        for resource in part.get("resources", {}).values():
            found += self._methods(resource)
        return found

    def _method(self, one: Mapping[str, Any]) -> Method:
        def part(text: str) -> str:
            if not text.startswith("{"):
                return re.escape(text)
            name = text.strip("{+}")
            allowed = one["parameters"][name].get("pattern", ".+" if "+" in text else "[^/]+")
            return f"(?P<{name}>{allowed.removeprefix('^').removesuffix('$')})"

        parts = re.split(r"(\{\+?\w+\})", self.document["servicePath"] + one["path"])
        return Method(one["id"], one, self, re.compile("".join(map(part, parts))))

    def check_text(self, schema: Mapping[str, Any], value: str, where: str) -> None:
        """A value in a query."""
        if schema.get("type") == "integer" and not re.fullmatch(r"-?\d+", value):
            raise NotSo(f"{where}: {value!r} is no whole number")
        if "maximum" in schema and int(value) > int(schema["maximum"]):
            raise NotSo(f"{where}: {value} is more than {schema['maximum']}")
        if "enum" in schema and value not in schema["enum"]:
            raise NotSo(f"{where}: {value!r} isn't one of its {len(schema['enum'])} values")

    def check(self, schema: Mapping[str, Any], value: Any, where: str) -> None:
        """A value in a body. Raises NotSo."""
        if "$ref" in schema:
            schema = self.document["schemas"][schema["$ref"]]
        kind = schema.get("type", "object")
        if kind == "any":
            return
        loose: Any = value
        if not isinstance(value, _TYPES[kind]) or (kind in ("integer", "number") and isinstance(value, bool)):
            raise NotSo(f"{where}: {value!r} is no {kind}")
        if kind == "array":
            for number, one in enumerate(loose):
                self.check(schema["items"], one, f"{where}[{number}]")
        elif kind == "object":
            for name, one in loose.items():
                inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
                if inner is None:
                    raise NotSo(f"{where} has no field {name}")
                self.check(inner, one, f"{where}.{name}")
        elif "enum" in schema and value not in schema["enum"]:
            raise NotSo(f"{where}: {value!r} isn't one of its {len(schema['enum'])} values")

    def check_mask(self, schema: Mapping[str, Any], tree: Mapping[str, Any], where: str) -> None:
        """Raises NotSo for a field that isn't there."""
        if "$ref" in schema:
            schema = self.document["schemas"][schema["$ref"]]
        if schema.get("type") == "array":
            self.check_mask(schema["items"], tree, where)
            return
        for name, inner in tree.items():
            known = schema.get("properties", {}).get(name) if name != "*" else None
            known = known or schema.get("additionalProperties")
            if known is None:
                raise NotSo(f"{where}: fields names {name}, which isn't there")
            self.check_mask(known, inner, f"{where}.{name}")


@lru_cache(maxsize=16)
def api(host: str) -> Api:
    """The API that a host serves. Raises NotSo for one that isn't known."""
    if host == "cloudquotas.googleapis.com":
        return Api(_CLOUD_QUOTAS)
    if host not in _VERSIONS:
        raise NotSo(f"no API at {host}")
    found = files("googleapiclient.discovery_cache.documents") / f"{_VERSIONS[host]}.json"
    return Api(json.loads(found.read_text(encoding="utf-8")))


@lru_cache(maxsize=4096)  # Compute Engine has a thousand methods to compare with
def method(host: str, verb: str, path: str) -> tuple[Method, dict[str, str]]:
    """The method that a request means, and the parameters in its path. Raises NotSo."""
    found = [
        (one, match)
        for one in api(host).methods
        if one.described["httpMethod"] == verb and (match := one.pattern.fullmatch(path))
    ]
    if found:
        # `…/{name}` takes `…/it:getIamPolicy` too: the one that says more of the path is meant.
        one, match = max(found, key=lambda pair: len(re.sub(r"\{.*?\}", "", pair[0].described["path"])))
        return one, match.groupdict()
    raise NotSo(f"{host} has no {verb} {path}")


def _tree(fields: str) -> dict[str, Any]:
    """``a/b(c,d),e`` as a tree of names."""
    found: dict[str, Any] = {}
    for part in _split(fields):
        head, bracket, inner = part.partition("(")
        *above, last = head.split("/")
        node = found
        for name in above:
            node = node.setdefault(name, {})
        node.setdefault(last, {}).update(_tree(inner.removesuffix(")")) if bracket else {})
    return found


def _split(fields: str) -> list[str]:
    parts, depth = [""], 0
    for sign in fields:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _mask(value: Any, tree: Mapping[str, Any]) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [_mask(one, tree) for one in value]
    if "*" in tree:
        return {name: _mask(one, tree["*"]) for name, one in value.items()}
    return {name: _mask(value[name], inner) for name, inner in tree.items() if name in value}
