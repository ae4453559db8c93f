"""The pydantic edge: which keys there are, of which types, and what to say of a value that has another.

Every key may be left out; what a missing one means, and which values are allowed, is checked elsewhere.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from catalog import closest
from settings.credentials import looks_like_credential, shown_key
from settings.mistakes import TOLD, Mistakes, did_you_mean, hidden, one_of, shown


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class EntryShape(_Shape):
    """An entry of the ladder."""

    surface: str | None = None
    project: str | None = None
    account: str | None = None
    region: str | None = None
    regions: list[str] | None = None
    zone: str | None = None
    zones: list[str] | None = None
    tier: str | None = None
    tiers: list[str] | None = None
    count: float | None = None
    purchase: str | None = None
    purchases: list[str] | None = None
    machine_type: str | None = None
    machine_types: list[str] | None = None
    reservation: str | None = None
    max_hours: float | None = None


class CodeShape(_Shape):
    """benchmark.code."""

    repository: str | None = None
    commit: str | None = None


class BuildShape(_Shape):
    """benchmark.build."""

    context: str | None = None
    containerfile: str | None = None
    args: dict[str, str] | None = None


class BenchmarkShape(_Shape):
    """benchmark."""

    workload: list[str] | None = None
    image: str | None = None
    build: BuildShape | None = None
    command: list[str] | None = None
    env: dict[str, Any] | None = None
    profile: str | None = None
    scenarios: list[str] | None = None
    batch_sizes: list[int] | None = None
    precisions: list[str] | None = None
    channels_last: bool | None = None
    compile: bool | None = None
    seed: int | None = None
    repeats: int | None = None
    timeout_minutes: float | None = None
    code: CodeShape | None = None


class BudgetShape(_Shape):
    """budget."""

    usd: float | None = None
    hours: float | None = None


class PlacementShape(_Shape):
    """placement."""

    order: str | None = None
    comparability: str | None = None
    attempt_minutes: float | None = None


class GoogleShape(_Shape):
    """google. What is in ``quota_increases`` is a QuotaIncreaseShape each."""

    subnet: str | None = None
    nat: bool | None = None
    boot_disk_gb: int | None = None
    quota_increases: list[Any] | None = None


class QuotaIncreaseShape(_Shape):
    """An item of google.quota_increases."""

    quota_id: str | None = None
    limit: int | None = None
    email: str | None = None
    justification: str | None = None
    region: str | None = None
    project: str | None = None
    dimensions: dict[str, str] | None = None


class AwsShape(_Shape):
    """aws."""

    subnets: dict[str, list[str]] | None = None
    security_groups: dict[str, str] | None = None
    network: str | None = None
    volume_gb: int | None = None
    uploader_image: str | None = None
    managed_instances: bool | None = None


PLURALS = {
    "region": "regions",
    "zone": "zones",
    "tier": "tiers",
    "purchase": "purchases",
    "machine_type": "machine_types",
}
"""Keys of a ladder entry that may be given once or as a list."""

_NESTED: Mapping[str, type[_Shape]] = {"code": CodeShape, "build": BuildShape}
_SINGULARS = {plural: singular for singular, plural in PLURALS.items()}
_UNITS = {
    "timeout_minutes": "minutes",
    "attempt_minutes": "minutes",
    "max_hours": "hours",
    "hours": "hours",
    "usd": "USD",
    "boot_disk_gb": "GB",
    "volume_gb": "GB",
}
_MINUTES = {
    **dict.fromkeys(("s", "sec"), 1 / 60),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 1),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 60),
    **dict.fromkeys(("d", "day", "days"), 24 * 60),
}
_DOLLARS = ("usd", "$", "dollar", "dollars", "us$")

_S = TypeVar("_S", bound=_Shape)


def take_shape(model: type[_S], raw: object, path: str, mistakes: Mistakes) -> tuple[_S, frozenset[str]]:
    """What is of the right type, and the names of the keys that aren't.

    What is wrong is told and left out, so that the rest can still be checked.
    """
    if not isinstance(raw, Mapping):
        if raw is not TOLD:
            keys = one_of(model.model_fields)
            mistakes.add(path, shown(raw), f"a mapping with keys out of {keys}", "write `key: value` under it")
        return model(), frozenset()
    rest = {str(key): value for key, value in raw.items()}
    try:
        return model.model_validate(rest), frozenset()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
    bad: set[str] = set()
    for one in found:
        location = one["loc"]
        bad.add(str(location[0]))
        if one["type"] == "extra_forbidden" and len(location) == 1:
            # What a misspelt key was meant for is not missing as well.
            bad.add(closest(str(location[0]), model.model_fields) or "")
        _tell(model, one["type"], location, one["input"], path, mistakes)
    return model.model_validate({key: value for key, value in rest.items() if key not in bad}), frozenset(bad)


def _tell(
    model: type[BaseModel], kind: str, location: tuple[int | str, ...], value: object, path: str, mistakes: Mistakes
) -> None:
    where = path + "".join(f"[{part}]" if isinstance(part, int) else f".{shown_key(part)}" for part in location)
    name = str(next((part for part in reversed(location) if isinstance(part, str)), ""))
    seen = hidden(value) if ".env" in where or ".args" in where else shown(value)
    if kind == "extra_forbidden":
        keys: Iterable[str] = (_NESTED[str(location[0])] if len(location) > 1 else model).model_fields
        mistakes.add(
            where, "unknown key", f"keys {one_of(keys)}", did_you_mean(name, keys, "remove it, or see the docs")
        )
    elif kind in ("float_type", "int_type", "int_from_float", "float_parsing", "finite_number"):
        unit = _UNITS.get(name, "")
        what = "a whole number" if kind.startswith("int") else "a number"
        mistakes.add(where, seen, what + (f" of {unit}" if unit else ""), _mend_number(name, value, unit))
    elif kind == "string_type":
        mistakes.add(where, seen, "a text", _mend_text(model, name, value))
    elif kind == "list_type":
        mistakes.add(where, seen, "a list", _mend_list(name, value))
    elif kind == "bool_type":
        mistakes.add(where, seen, "true or false", "write true or false without quotes")
    else:
        mistakes.add(where, seen, "a mapping", "write `key: value` under it")


def _mend_number(name: str, value: object, unit: str) -> str:
    number = _number_in(value, unit) if isinstance(value, str) else None
    if number is None:
        return f"write {name}: <number>"
    return f"write {name}: {number:g}" + (f", a plain number: the unit ({unit}) is in the key" if unit else "")


def _mend_text(model: type[BaseModel], name: str, value: object) -> str:
    if isinstance(value, bool):
        return "YAML reads an unquoted true or false (in some readers also yes, no, on, off) as a boolean: quote it"
    if isinstance(value, int | float):
        why = {
            "account": " (an account id has 12 digits; unquoted, YAML drops or misreads leading zeros)",
            "commit": " (a commit of digits alone is a number to YAML)",
        }
        return f'quote it: {name}: "..."' + why.get(name, "")
    if isinstance(value, list) and PLURALS.get(name) in model.model_fields:
        return f"write {PLURALS[name]}: for a list"
    return "write one text"


def _mend_list(name: str, value: object) -> str:
    if not isinstance(value, str):
        return "write a list"
    items = _command(value) if name == "command" else value
    mend = "write a list" if looks_like_credential(value) or not items else f"write {name}: [{items}]"
    single = _SINGULARS.get(name)
    return mend + (f", or {single}: for a single one" if single else "")


def _command(text: str) -> str:
    """A command line's program and arguments as items of a YAML list; empty: its quotes don't match."""
    if re.search(r"[|&;<>$`*?\n]", text):
        return f"sh, -c, {json.dumps(text, ensure_ascii=False)}"
    try:
        words = shlex.split(text)
    except ValueError:
        return ""
    return ", ".join(word if _is_plain(word) else json.dumps(word, ensure_ascii=False) for word in words)


def _is_plain(word: str) -> bool:
    """Whether YAML takes an item without quotes for this text."""
    is_word = re.fullmatch(r"(?:-{1,2}|\.{0,2}/)?[A-Za-z_][\w./=+-]*", word, re.ASCII) is not None
    return is_word and word.lower() not in ("true", "false", "yes", "no", "on", "off", "y", "n", "null")


def _number_in(text: str, unit: str) -> float | None:
    """The number that a text such as "60m" or "$5" means in a unit (minutes, hours, USD, GB), if it can be told."""
    found = re.fullmatch(r"\s*(\$?)\s*(\d+(?:\.\d+)?)\s*([A-Za-z$]*)\s*", text)
    if not found:
        return None
    number, written = float(found[2]), (found[3] or found[1]).lower()
    if not written or written == unit.lower() or (unit == "USD" and written in _DOLLARS):
        return number
    if unit in ("minutes", "hours") and written in _MINUTES:
        return number * _MINUTES[written] / (60 if unit == "hours" else 1)
    return None
