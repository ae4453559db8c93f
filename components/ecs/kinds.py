"""What carries a rung's task out: a machine of the stack's own, one that ECS starts, or Fargate."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from catalog import Purchase
from components.ecs.names import FARGATE


class Runs(StrEnum):
    """What a task is placed on; as `requiresCompatibilities` says it."""

    EC2 = "EC2"
    FARGATE = "FARGATE"
    MANAGED = "MANAGED_INSTANCES"

    @classmethod
    def of(cls, machine_types: Sequence[str], purchase: Purchase, *, managed_instances: bool) -> Runs:
        """Of a rung. A reservation is the stack's own group's to use, whatever else ECS starts."""
        if any(one.startswith(FARGATE) for one in machine_types):
            return cls.FARGATE
        return cls.MANAGED if managed_instances and purchase is not Purchase.RESERVED else cls.EC2

    @property
    def ends_by_itself(self) -> bool:
        """Whether a machine's own timer ends what runs: where none does, AWS's clock has to stop the task."""
        return self is Runs.EC2
