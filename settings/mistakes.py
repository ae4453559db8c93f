"""Mistakes in a config, and how they are worded: the key, the value, what is allowed, how to mend it.

A value is shown short and in one line, and nothing that looks like a credential is shown at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from catalog import OTHER_PARTITION, closest, of_other_partition
from settings.credentials import looks_like_credential


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: where, what is written there, what is allowed, and how to mend it.

    ``value`` is ready to print; what could be a credential is replaced by a remark.
    """

    path: str
    value: str
    allowed: str
    mend: str

    def __str__(self) -> str:
        parts = [part for part in (self.value, f"allowed: {self.allowed}" if self.allowed else "", self.mend) if part]
        return f"{self.path}: {'; '.join(parts)}"


class SettingsError(Exception):
    """Everything that is wrong with a stack's config, at once. ``source``: the file or "stack config"."""

    def __init__(self, mistakes: Iterable[Mistake], source: str) -> None:
        self.mistakes = tuple(mistakes)
        self.source = source
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.mistakes)
        head = f"{self.source}: {count} mistake{'' if count == 1 else 's'}"
        return "\n".join([head, *(f"  - {mistake}" for mistake in self.mistakes)])


class Mistakes:
    """Collects mistakes in the order they are found; the same one only once."""

    def __init__(self) -> None:
        self.found: list[Mistake] = []

    def add(self, path: str, value: str, allowed: str, mend: str) -> None:
        """Add one, unless it is there."""
        mistake = Mistake(path, value, allowed, mend)
        if mistake not in self.found:
            self.found.append(mistake)

    def __len__(self) -> int:
        return len(self.found)


class Named(NamedTuple):
    """A name that a config gives, and where it stands."""

    path: str
    name: str


class _Told:
    """The kind of TOLD, so that it prints as a word."""


TOLD = _Told()
"""In the place of a value that is a mistake already, so that it isn't told twice."""


def shown(value: object) -> str:
    """A value as messages print it: short, in one line, and without anything that looks like a credential."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{float(value):g}" if abs(value) < 10**300 else "a huge number"
    if isinstance(value, str):
        if looks_like_credential(value):
            return "a text that looks like a credential (not shown)"
        text = value if len(value) <= 80 else value[:77] + "..."
        return json.dumps(text, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "an empty mapping" if not value else f"a mapping of {len(value)} key{'' if len(value) == 1 else 's'}"
    if isinstance(value, list | tuple):
        return "an empty list" if not value else f"a list of {len(value)} item{'' if len(value) == 1 else 's'}"
    return f"a {type(value).__name__}"


def hidden(value: object) -> str:
    """A value that may be a secret: only what kind of thing it is."""
    return f"a text of {len(value)} characters (not shown)" if isinstance(value, str) else kind_of(value)


def kind_of(value: object) -> str:
    """What kind of YAML value it is, in words."""
    if value is None:
        return "nothing"
    for types, name in ((bool, "true or false"), (int | float, "a number"), (str, "a text"), (Mapping, "a mapping")):
        if isinstance(value, types):
            return name
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def one_of(names: Iterable[str]) -> str:
    """Names in a row."""
    return ", ".join(names) or "nothing"


def some_of(names: Sequence[str], most: int = 12) -> str:
    """Names in a row, the first ones if they are many."""
    return one_of(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def did_you_mean(value: str, names: Iterable[str], otherwise: str = "choose one of them") -> str:
    """The name that was probably meant, as a question; ``otherwise`` if none is near."""
    if of_other_partition(value):
        return OTHER_PARTITION
    near = closest(value, names)
    return f"did you mean {near}?" if near else otherwise
