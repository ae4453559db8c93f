"""What a provider knows of its resource types: inputs, their kinds, and which changes force a replacement.

The facts are in schemas/<package>.json, which scripts/provider_schemas writes and which name their sources.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from engine.embedded.properties import UNKNOWN

PACKAGES = ("gcp", "aws", "kubernetes")
DEFAULTS = "__defaults"
"""The names of the fields whose value the program didn't give. Providers made from Terraform's use the same key."""

_FOLDER = Path(__file__).parent / "schemas"
_SCALARS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": (int, float),
    "number": (int, float),
}
_A_KIND = {"string": "a string", "boolean": "true or false", "integer": "a whole number", "number": "a number"}
# Where Pulumi makes up a name, it is put into `name`, if the type has one; but for these.
_NAMED_BY = {"gcp:serviceaccount/account:Account": "accountId", "aws:s3/bucket:Bucket": "bucket"}


@dataclass(frozen=True)
class Field:
    """One input. ``kind``: ``string``, ``boolean``, ``integer``, ``number``, ``any``, ``[kind]`` for a list, ``{kind}``
    for a map, ``@Name`` for an object, ``a|b`` for either.

    ``replaces``: a change replaces the resource. For an object or a list of them, that is adding or removing it;
    ``deep``: any change in it, too.
    """

    kind: str
    required: bool = False
    replaces: bool = False
    deep: bool = False


Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Changed:
    """Top-level inputs that differ, and the paths of those differences that force a replacement."""

    fields: tuple[str, ...]
    replaces: tuple[str, ...]


class ResourceType:
    """One resource type."""

    def __init__(self, token: str, fields: Fields, objects: Mapping[str, Fields]) -> None:
        self.token, self.fields, self._objects = token, fields, objects

    @cached_property
    def name_path(self) -> tuple[str, ...]:
        """Where the physical name stands; empty for types that have none, or that need the program to give one."""
        if self.token.startswith("kubernetes:"):
            return ("metadata", "name")
        name = _NAMED_BY.get(self.token, "name")
        field = self.fields.get(name)
        return (name,) if field is not None and not field.required else ()

    def mistakes(self, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(path, what is wrong and how to mend it) of each unknown, missing or ill-typed input. Unknowns pass."""
        return list(self._in_object("", self.fields, inputs))

    def compare(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Changed:
        """What changed from the state to the inputs. What the cloud filled in by itself is in ``olds[DEFAULTS]``."""
        filled = set(olds.get(DEFAULTS) or ())
        before = {key: value for key, value in olds.items() if key in news or key not in filled}
        found = list(self._differences("", self.fields, before, news, replaces_all=False))
        fields = tuple(sorted({path.split(".")[0].split("[")[0] for path, _ in found}))
        return Changed(fields, tuple(sorted({path for path, replaces in found if replaces})))

    def _in_object(self, path: str, fields: Fields, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for name, given in value.items():
            if name.startswith("__"):
                continue
            if name not in fields:
                yield path + name, f"no such input{_did_you_mean(name, fields)}"
            elif given is not None:
                yield from self._in_value(path + name, fields[name].kind, given)
        for name, field in fields.items():
            if field.required and value.get(name) is None:
                yield path + name, "missing; it is required"

    def _in_value(self, path: str, kind: str, value: Any) -> Iterator[tuple[str, str]]:
        if value == UNKNOWN or kind == "any":
            return
        fitting = [one for one in _alternatives(kind) if _fits(one, value)]
        if not fitting:
            yield path, f"{_shown(value)} isn't {' or '.join(_said(one) for one in _alternatives(kind))}"
            return
        one = fitting[0]
        if one.startswith("@"):
            yield from self._in_object(f"{path}.", self._objects[one[1:]], value)
        elif one.startswith("["):
            for index, item in enumerate(value):
                yield from self._in_value(f"{path}[{index}]", one[1:-1], item)
        elif one.startswith("{"):
            for key, item in value.items():
                yield from self._in_value(f"{path}.{key}", one[1:-1], item)

    def _differences(
        self, path: str, fields: Fields, olds: Mapping[str, Any], news: Mapping[str, Any], *, replaces_all: bool
    ) -> Iterator[tuple[str, bool]]:
        for name, field in fields.items():
            old, new = olds.get(name), news.get(name)
            yield from self._difference(path + name, field, old, new, replaces_all=replaces_all)

    def _difference(
        self, path: str, field: Field, old: Any, new: Any, *, replaces_all: bool
    ) -> Iterator[tuple[str, bool]]:
        if _same(old, new):
            return
        replaces = replaces_all or field.replaces
        inside = next((one for one in _alternatives(field.kind) if one.startswith(("@", "[@"))), None)
        if inside is None or UNKNOWN in (old, new):
            yield path, replaces
            return
        # As Terraform has it: a block's own mark is about how many of it there are, those of its fields about them.
        fields = self._objects[inside.strip("[]@")]
        olds, news = ([one] if isinstance(one, dict) else one or [] for one in (old, new))
        deep = replaces_all or field.deep
        if len(olds) != len(news):
            yield path, replaces
        for index in range(max(len(olds), len(news))):
            one = olds[index] if index < len(olds) else {}
            other = news[index] if index < len(news) else {}
            if one == other:
                continue
            where = f"{path}[{index}]." if inside.startswith("[") else f"{path}."
            if UNKNOWN in (one, other):
                yield where[:-1], deep
            else:
                yield from self._differences(where, fields, one, other, replaces_all=deep)


@dataclass(frozen=True)
class Schema:
    """One package's types."""

    package: str
    version: str
    resources: Mapping[str, ResourceType]

    def did_you_mean(self, token: str) -> str:
        """The end of a sentence about an unknown type."""
        return _did_you_mean(token, self.resources)


@lru_cache
def load(package: str) -> Schema:
    """The schema of ``gcp``, ``aws`` or ``kubernetes``. Raises ValueError for another."""
    if package not in PACKAGES:
        raise ValueError(f"no schema of the package {package!r}; there are {', '.join(PACKAGES)}")
    document = json.loads((_FOLDER / f"{package}.json").read_text(encoding="utf-8"))
    objects = {name: _fields(fields) for name, fields in document["objects"].items()}
    resources = {
        token: ResourceType(token, _fields(fields), objects) for token, fields in document["resources"].items()
    }
    return Schema(package, document["version"], resources)


def _fields(described: Mapping[str, str]) -> dict[str, Field]:
    fields = {}
    for name, text in described.items():
        kind, *marks = text.split(", ")
        deep = "replaces deep" in marks
        fields[name] = Field(kind, "required" in marks, deep or "replaces" in marks, deep)
    return fields


@lru_cache
def _alternatives(kind: str) -> tuple[str, ...]:
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(kind):
        depth += (letter in "[{") - (letter in "]}")
        if letter == "|" and depth == 0:
            parts.append(kind[start:at])
            start = at + 1
    return (*parts, kind[start:])


def _fits(kind: str, value: Any) -> bool:
    if kind == "any":
        return True
    if kind.startswith("["):
        return isinstance(value, list)
    if kind.startswith(("@", "{")):
        return isinstance(value, dict)
    if isinstance(value, list | dict):
        return False
    if kind == "string":
        return True  # the providers take a number or a truth value for a string, as YAML has them
    if isinstance(value, str):  # and a string that says a number or a truth value
        return _reads_as(kind, value)
    if kind == "boolean":
        return isinstance(value, bool)
    fits = isinstance(value, _SCALARS[kind]) and not isinstance(value, bool)
    return fits and (kind != "integer" or float(value).is_integer())


def _reads_as(kind: str, text: str) -> bool:
    if kind == "boolean":
        return text in ("true", "false")
    try:
        return kind == "number" or float(text).is_integer() if float(text) == float(text) else False
    except (ValueError, OverflowError):
        return False


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return all(_same(old.get(key), new.get(key)) for key in old.keys() | new.keys() if not key.startswith("__"))
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_same(one, other) for one, other in zip(old, new, strict=True))
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    return bool(old == new)


def _did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    lowered = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.replace("_", "").lower(), lowered, n=1)
    return f"; did you mean {lowered[close[0]]}?" if close else ""


def _said(kind: str) -> str:
    if kind.startswith("["):
        return "a list"
    if kind.startswith("{"):
        return "a map"
    return "an object" if kind.startswith("@") else _A_KIND[kind]


def _shown(value: Any) -> str:
    # Never the value of a string: it may have been a secret.
    return {dict: "an object", list: "a list", bool: "a truth value", str: "this string"}.get(type(value), "a number")
