"""What a lost attempt has left in a cloud, as far as that is the same for all clouds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import pulumi

from components.interface import Held, SurfaceError
from placement.causes import Cause
from placement.ledger import Attempt

R = TypeVar("R")


@dataclass(frozen=True)
class Swept(Generic[R]):
    """What a sweep took away, and what it couldn't, each with the cloud's own words.

    ``left`` isn't empty: ask again later; nothing in it asks for machines any more, unless its text says so.
    """

    taken: tuple[R, ...] = ()
    left: tuple[tuple[str, str], ...] = ()

    def check_machines(self, attempt: Attempt, machines: tuple[str, ...]) -> None:
        """Raises SurfaceError where something is left that costs by its machine, known by how ``left`` begins.

        What costs nothing is the engine's to delete, which knows it from its state; a machine must go now.
        """
        left = [f"{what}: {why}" for what, why in self.left if what.startswith(machines)]
        if left:
            listed = "\n".join(left)
            raise SurfaceError(f"attempt {attempt.id} still has a machine:\n{listed}", Cause.TRANSIENT)


def held_if_known(attempt: Attempt, ask: Callable[[], Held], *unknown: type[Exception]) -> Held:
    """What an attempt has held; nothing where the cloud doesn't say (an error of these): the ledger needs its end."""
    try:
        return ask()
    except unknown as error:
        pulumi.log.warn(f"what attempt {attempt.id} held isn't known, and counts as nothing in the budget: {error}")
        return Held()
