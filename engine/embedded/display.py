"""What the embedded engine prints: the Pulumi CLI's wording, a line for each step."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping

from engine.base import Changes
from engine.embedded import properties

_SIGNS = {"create": "+ ", "update": "~ ", "replace": "+-", "delete": "- ", "same": "  "}
_DOING = {"create": "creating", "update": "updating", "replace": "replacing", "delete": "deleting"}
_DONE = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted", "same": "unchanged"}


class Display:
    """Prints an operation's steps, messages and summary, and counts its changes. Safe to call from several threads."""

    def __init__(self, stack: str, doing: str, *, preview: bool = False) -> None:
        """`doing`: what the first line says, e.g. `Updating`."""
        self._preview = preview
        self._started = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._print(f"{doing} ({stack}), embedded engine:")

    @property
    def changes(self) -> Changes:
        counts = self._counts
        return Changes(counts["create"], counts["update"], counts["replace"], counts["delete"], counts["same"])

    def step(self, op: str, type_: str, name: str) -> None:
        """A step begins; in a preview it's all there is."""
        if self._preview:
            self.done(op, type_, name)
        elif op in _DOING:
            self._print(f" {_SIGNS[op]} {type_} {name} {_DOING[op]}")

    def done(self, op: str, type_: str, name: str, seconds: float | None = None) -> None:
        """A step has ended well."""
        with self._lock:
            self._counts[op] += 1
        if op == "same":
            return
        took = "" if seconds is None else f" ({seconds:.1f}s)"
        self._print(f" {_SIGNS[op]} {type_} {name} {op if self._preview else _DONE[op]}{took}")

    def message(self, severity: str, text: str) -> None:
        self._print(f"    {severity}: {text}" if severity != "info" else f"    {text}")

    def summary(self, outputs: Mapping[str, object]) -> None:
        if outputs:
            self._print("\nOutputs:")
            width = max(len(key) for key in outputs)
            for key, value in sorted(outputs.items()):
                self._print(f"    {key:<{width}}: {json.dumps(properties.masked(value))}")
        verbs = {"create": "create", "update": "update", "replace": "replace", "delete": "delete"}
        self._print("\nResources:")
        for op, verb in verbs.items():
            if self._counts[op]:
                self._print(f"    {_SIGNS[op]} {self._counts[op]} {f'to {verb}' if self._preview else _DONE[op]}")
        if self._counts["same"]:
            self._print(f"    {self._counts['same']} unchanged")
        if not self._preview:
            self._print(f"\nDuration: {time.monotonic() - self._started:.0f}s")

    def _print(self, line: str) -> None:
        with self._lock:
            print(line, flush=True)
