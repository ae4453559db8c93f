"""What the two engines have in common: the interface, what an operation comes to, and the errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

PROJECT = "gpubench"


class EngineError(Exception):
    """An engine's operation failed.

    The text is for the user: what failed, which resource, what is kept, how to mend it.
    """


class InputError(EngineError):
    """The operation was asked for with something that can't work; nothing was started. Exit code 2."""


@dataclass(frozen=True)
class Changes:
    """How many resources an operation created, updated, replaced, deleted or left as they were."""

    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0
    same: int = 0


@dataclass(frozen=True)
class Result:
    """The end of a preview, an update or a destroy: the stack's outputs (secrets masked) and what changed."""

    outputs: Mapping[str, object] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)


class Engine(Protocol):
    """An engine bound to one stack of this project."""

    name: str

    def preview(self) -> Result:
        """Say what `up` would do; change nothing."""

    def up(self) -> Result:
        """Make it so. Clears first what a dead process left: its lock, its pending operations."""

    def destroy(self) -> Result:
        """Delete the stack's resources. Results are never resources, so they stay."""

    def outputs(self) -> Mapping[str, object]:
        """The stack's outputs as of its last update, secrets masked; empty if there was none."""

    def cancel(self) -> bool:
        """End in order what is under way: from a signal handler. Whether anything was that this call has to end."""

    def is_torn(self) -> bool:
        """Whether an earlier update was killed while it made something, which may be there and isn't in the state.

        gpubench's own runs don't count: making one again adopts what it left.
        """
