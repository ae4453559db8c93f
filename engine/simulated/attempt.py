"""What the simulated APIs share: looking at what an attempt has, with errors as that cloud's API has them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

from engine.simulated.cloud import Cloud, CloudError
from engine.simulated.model import Machine, Resource, Sighting

T = TypeVar("T")


class AttemptView:
    """One attempt on the simulated cloud."""

    def __init__(self, cloud: Cloud, attempt: str) -> None:
        self._cloud, self._attempt = cloud, attempt

    @staticmethod
    @abstractmethod
    def error(error: CloudError) -> Exception:
        """A failure as the real API has it."""

    def _machines(self) -> tuple[Machine, ...]:
        return self._asked(lambda: self._cloud.machines(self._attempt))

    def _resources(self) -> tuple[Resource, ...]:
        return self._asked(lambda: self._cloud.resources(self._attempt))

    def _look(self) -> tuple[Sighting, ...]:
        return self._asked(lambda: self._cloud.look(self._attempt))

    @classmethod
    def _asked(cls, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except CloudError as error:
            raise cls.error(error) from None
