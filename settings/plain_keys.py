"""The keys that need no catalogue: results, budget, labels, access, placement."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from settings.credentials import shown_key
from settings.mistakes import TOLD, Mistakes, did_you_mean, one_of, shown
from settings.model import (
    DEFAULT_ATTEMPT_MINUTES,
    DEFAULT_BUDGET_HOURS,
    DEFAULT_BUDGET_USD,
    DEFAULT_RESULTS,
    MAX_ATTEMPT_MINUTES,
    MAX_BUDGET_HOURS,
    MAX_BUDGET_USD,
    MAX_LABELS,
    PROJECT,
    Access,
    Budget,
    Comparability,
    Order,
    Placement,
    ResultsStore,
)
from settings.shapes import BudgetShape, PlacementShape, take_shape

_E = TypeVar("_E", bound=StrEnum)


def read_results(parsed: Mapping[str, object], mistakes: Mistakes) -> ResultsStore:
    """``gpubench:results``."""
    path, value = f"{PROJECT}:results", parsed.get("results", DEFAULT_RESULTS)
    allowed = "a folder, gs://bucket/prefix or s3://bucket/prefix"
    fallback = ResultsStore.folder()
    if value is TOLD:
        return fallback
    if not isinstance(value, str):
        mistakes.add(path, shown(value), allowed, "write one text")
        return fallback
    if not value.strip():
        mistakes.add(path, "an empty text", allowed, f"name a folder, or remove the key for {DEFAULT_RESULTS}/")
        return fallback
    scheme, found, rest = value.partition("://")
    if not found:
        near = re.fullmatch(r"(gs|s3):/?([^/].*)", value)
        if near:
            mistakes.add(path, shown(value), allowed, f"write {near[1]}://{shown_key(near[2])}")
        elif "\0" in value or "\n" in value:
            mistakes.add(path, "a text with line breaks", allowed, "write it in one line")
        return ResultsStore.folder(value)
    if scheme not in ("gs", "s3"):
        mend = did_you_mean(scheme, ("gs", "s3"), "use gs:// or s3://")
        mistakes.add(path, shown(value), allowed, "for a folder write its path alone" if scheme == "file" else mend)
        return fallback
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", bucket) or ".." in bucket:
        allowed = "a bucket name of 3 to 63 lower-case letters, digits, . and -"
        mistakes.add(path, shown(value), allowed, "mend the bucket's name")
    elif prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
        mistakes.add(path, shown(value), "a prefix without empty parts, . and ..", "mend the prefix")
    return ResultsStore(scheme, value.rstrip("/"), bucket=bucket, prefix=prefix)


def read_budget(parsed: Mapping[str, object], mistakes: Mistakes) -> Budget:
    """``gpubench:budget``."""
    path = f"{PROJECT}:budget"
    if "budget" not in parsed:
        return Budget()
    raw = parsed["budget"]
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        mend = f"say of what: {{usd: {raw}}} or {{hours: {raw}}}"
        mistakes.add(path, shown(raw), "a mapping with usd and hours", mend)
        return Budget()
    config, _ = take_shape(BudgetShape, raw, path, mistakes)
    if isinstance(raw, Mapping) and not raw:
        mend = "name one of them, or remove the key for the defaults"
        mistakes.add(path, "an empty mapping", "usd and hours", mend)
    for name, value, high, unit in (
        ("usd", config.usd, MAX_BUDGET_USD, "USD"),
        ("hours", config.hours, MAX_BUDGET_HOURS, "hours"),
    ):
        where = f"{path}.{name}"
        if value is None:
            continue
        if not math.isfinite(value) or value <= 0:
            mend = "a budget covers the whole walk: write what it may cost at most"
            mistakes.add(where, shown(value), f"more than 0, up to {high:,} {unit}", mend)
        elif value > high:
            mend = "no walk needs that much: is the number in the right unit?"
            mistakes.add(where, shown(value), f"up to {high:,} {unit}", mend)
    return Budget(
        usd=DEFAULT_BUDGET_USD if config.usd is None else config.usd,
        hours=DEFAULT_BUDGET_HOURS if config.hours is None else config.hours,
    )


def read_labels(parsed: Mapping[str, object], mistakes: Mistakes) -> dict[str, str]:
    """``gpubench:labels``: what Google Cloud's labels allow, which AWS's tags allow too."""
    path, raw = f"{PROJECT}:labels", parsed.get("labels", {})
    if raw is TOLD:
        return {}
    if not isinstance(raw, Mapping):
        mistakes.add(path, shown(raw), "a mapping of names to texts", "write `team: vision` under it")
        return {}
    if len(raw) > MAX_LABELS:
        mend = "AWS allows 50 tags, gpubench's own among them: remove some"
        mistakes.add(path, shown(raw), f"at most {MAX_LABELS} labels", mend)
    labels: dict[str, str] = {}
    for key, value in raw.items():
        name, where = str(key), f"{path}.{shown_key(key)}"
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
            allowed = "a-z first, then a-z 0-9 _ -, at most 63"
            mistakes.add(where, "a bad name", allowed, "rename the label (Google Cloud's rule)")
        elif name.startswith(("gpubench-", "goog-", "goog_", "aws-")) or name == "gpubench":
            allowed = "names that don't begin with gpubench-, goog or aws"
            mistakes.add(where, "a reserved name", allowed, "rename the label")
        if not isinstance(value, str):
            mistakes.add(where, shown(value), "a text", 'quote it: "..."')
        elif not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            mend = "write it in lower case without spaces (Google Cloud's rule)"
            mistakes.add(where, shown(value), "a-z 0-9 _ -, at most 63", mend)
        else:
            labels[name] = value
    return labels


def read_access(parsed: Mapping[str, object], mistakes: Mistakes) -> Access:
    """``gpubench:access``."""
    value, names = parsed.get("access", Access.PRIVATE), tuple(Access)
    if isinstance(value, str) and value in names:
        return Access(value)
    if value is not TOLD:
        mend = did_you_mean(value, names) if isinstance(value, str) else "choose one of them"
        mistakes.add(f"{PROJECT}:access", shown(value), one_of(names), mend)
    return Access.PRIVATE


def read_placement(parsed: Mapping[str, object], mistakes: Mistakes) -> Placement:
    """``gpubench:placement``."""
    path = f"{PROJECT}:placement"
    if "placement" not in parsed:
        return Placement()
    raw = parsed["placement"]
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        mend = f"say what it is: {{attempt_minutes: {raw}}}"
        mistakes.add(path, shown(raw), f"a mapping with keys out of {one_of(PlacementShape.model_fields)}", mend)
        return Placement()
    config, _ = take_shape(PlacementShape, raw, path, mistakes)
    if isinstance(raw, Mapping) and not raw:
        mend = "name one of them, or remove the key for the defaults"
        mistakes.add(path, "an empty mapping", one_of(PlacementShape.model_fields), mend)
    minutes = config.attempt_minutes
    if minutes is not None:
        where, allowed = f"{path}.attempt_minutes", f"more than 0, up to {MAX_ATTEMPT_MINUTES:,} minutes"
        if not math.isfinite(minutes) or minutes <= 0:
            mend = "write how many minutes an attempt may look for capacity"
            mistakes.add(where, shown(minutes), allowed, mend)
        elif minutes > MAX_ATTEMPT_MINUTES:
            mend = "no cloud lets a request wait longer than flex-start's seven days: is the number in minutes?"
            mistakes.add(where, shown(minutes), allowed, mend)
    return Placement(
        order=_word(config.order, Order.LADDER, f"{path}.order", mistakes),
        comparability=_word(config.comparability, Comparability.ANY, f"{path}.comparability", mistakes),
        attempt_minutes=DEFAULT_ATTEMPT_MINUTES if minutes is None else minutes,
    )


def _word(value: str | None, default: _E, where: str, mistakes: Mistakes) -> _E:
    """One word of an enum; the default where there is none, or a wrong one (told)."""
    if value is None:
        return default
    words = type(default)
    if value in tuple(words):
        return words(value)
    mistakes.add(where, shown(value), one_of(words), did_you_mean(value, words))
    return default
