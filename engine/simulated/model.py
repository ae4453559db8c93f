"""What the simulated cloud shows of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CloudError(Exception):
    """A request that the cloud refuses, or an operation that it accepted and that failed.

    ``text`` is the cloud's own, without what its provider puts before it. ``status``: the HTTP status of a refusal;
    None for an operation that failed later. ``code``: the cloud's code or reason (``quotaExceeded``), "" if none.
    """

    def __init__(self, text: str, status: int | None = None, code: str = "") -> None:
        super().__init__(text, status, code)  # all of them in args, so that a pickled one arrives whole
        self.text, self.status, self.code = text, status, code

    def __str__(self) -> str:
        return self.text


class Source(StrEnum):
    """Where a cloud shows that something is wrong."""

    GROUP_ERROR = "group error"  # a managed instance group's listErrors
    SCALING_ACTIVITY = "scaling activity"  # an Auto Scaling group's activity
    POD_EVENT = "pod event"  # a Kubernetes event
    REVISION_CONDITION = "revision condition"  # of a Cloud Run service's revision or a job's execution
    OPERATION = "operation"  # a Compute Engine operation; an EC2 notice
    TASK = "task"  # an ECS service's event, or the reason why a task stopped
    SERIAL_PORT = "serial port"  # what a VM itself prints


@dataclass(frozen=True)
class Sighting:
    """Something that went wrong, as the cloud shows it. ``machine``: the id of the one that it is about, if any."""

    source: Source
    text: str
    at: datetime
    machine: str | None = None


class MachineState(StrEnum):
    """Billed in the first two."""

    BOOTING = "booting"  # granted; drivers and image are on their way
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class Machine:
    """A machine that was granted. ``zone`` None: Cloud Run and Fargate have none. ``since``: when it was granted (UTC).

    ``purchase`` is a ``catalog.Purchase``'s value. ``ended`` and ``why_ended`` are set in state ``ended`` only.
    """

    id: str
    surface: str
    project: str | None
    region: str
    zone: str | None
    machine_type: str
    tier: str
    gpus: float
    purchase: str
    state: MachineState
    since: datetime
    usd_per_hour: float
    attempt: str | None = None
    stack: str | None = None
    ended: datetime | None = None
    why_ended: str = ""


class RunIs(StrEnum):
    """How a run stands."""

    WAITING = "waiting"  # for a machine, or for one that is booting
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # its machine was taken away


@dataclass(frozen=True)
class RunState:
    """``text``: why, in the words of the cloud or of the workload. ``ends_at``: known once it is running.

    ``machine``: the id of the one it runs, or ran, on.
    """

    state: RunIs
    text: str = ""
    ends_at: datetime | None = None
    machine: str | None = None


@dataclass(frozen=True)
class Resource:
    """A resource that is there. ``owned``: its creation was answered with success, so that an engine knows it."""

    type_token: str
    id: str
    name: str
    region: str | None
    attempt: str | None
    stack: str | None
    size: int
    owned: bool
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Holder:
    """What holds accelerators of a quota: ``name`` as the cloud lists it. ``stack`` None: not of gpubench."""

    surface: str
    name: str
    region: str
    tier: str
    gpus: float
    stack: str | None = None


@dataclass(frozen=True)
class Charge:
    """What one machine has cost so far. ``attempt`` None: it belongs to no attempt."""

    attempt: str | None
    machine: str
    seconds: float
    usd: float
