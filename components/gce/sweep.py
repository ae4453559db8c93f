"""What an attempt has of Compute Engine: whether it still has it, what it cost, and how it is taken away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial

from components.gce.api import ApiError, AttemptApi, Group, Instance, Operation, Resource, ResourceKind
from components.gce.names import base_name
from components.interface import ATTEMPT_LABEL, Held
from components.lost import Swept
from components.parallel import side_by_side
from placement.ladder import Rung
from placement.ledger import Attempt

WAIT_S = 300.0
"""How long a sweep waits for what it ordered. Google deletes a group with a GPU machine in one to two minutes."""

_ENDED = frozenset({"STOPPING", "PENDING_STOP", "STOPPED", "TERMINATED", "DEPROVISIONING", "SUSPENDING", "SUSPENDED"})
_BEFORE = {
    # What has to be gone before a kind can be deleted: the API refuses what is in use.
    ResourceKind.GROUP: 0,
    ResourceKind.INSTANCE: 0,
    ResourceKind.TEMPLATE: 1,
    ResourceKind.RESERVATION: 1,
    ResourceKind.DISK: 1,
    ResourceKind.ADDRESS: 1,
}


def label_of(attempt: Attempt) -> tuple[str, str]:
    """The label by which an attempt's resources are found."""
    return (ATTEMPT_LABEL, attempt.id.lower())


def sweep(
    api: AttemptApi, attempt: Attempt, *, wait_s: float = WAIT_S, clock: Callable[[], float] = time.monotonic
) -> Swept[Resource]:
    """Take away what an attempt left; only what bears its label or its name. Nothing left: nothing is done.

    Its groups are set to size 0 and its resize requests cancelled first, so that whatever follows, even a failure, no
    machine comes after it. Raises ApiError where it can't be told what is there, or a group can't be kept from asking.
    """
    project, region = _place(attempt)
    deadline = clock() + wait_s
    base = base_name(attempt.id)
    shrink(api, project, region, attempt.id)
    taken: list[Resource] = []
    left: list[tuple[str, str]] = []
    found = api.resources(project, region, label_of(attempt), base)
    for rank in sorted(set(_BEFORE.values())):
        now = [one for one in found if _BEFORE[one.kind] == rank]
        for one, failed in zip(
            now, side_by_side([partial(_take, api, one, deadline, clock) for one in now]), strict=True
        ):
            if failed is None:
                taken.append(one)
            else:
                left.append((str(one), failed))
    return Swept(tuple(taken), tuple(left))


def shrink(api: AttemptApi, project: str, region: str, attempt: str) -> None:
    """Let an attempt ask for no more: size 0, no resize request. What it has runs on until the group takes it away."""
    groups = api.groups(project, region, base_name(attempt))
    side_by_side([partial(_ask_for_nothing, api, group) for group in groups])


def alive(api: AttemptApi, attempt: Attempt) -> bool:
    """Whether an attempt still has its machine, or its place in a queue."""
    project, region = _place(attempt)
    if any(one.status not in _ENDED for one in api.instances(project, label_of(attempt))):
        return True
    for group in api.groups(project, region, base_name(attempt.id)):
        if any(request.lives for request in api.resize_requests(group)):
            return True
        # It asks for its machine as long as it has had none; one that ended itself is not made again (DO_NOTHING).
        if group.size > 0 and not any(one.inserted for one in api.operations(project, group.base_name)):
            return True
    return False


def held(api: AttemptApi, attempt: Attempt, rung: Rung, now: datetime) -> Held:
    """What an attempt has had of machines, and what it cost: the catalogue's price for the seconds of each.

    A machine that is gone is known by its operations, which Google keeps for two weeks.
    """
    project, _ = _place(attempt)
    base = base_name(attempt.id)
    there = api.instances(project, label_of(attempt))
    done = api.operations(project, base)
    spans = _spans(there, done, now)
    if not spans:
        return Held()
    price = rung.usd_per_hour
    seconds = sum((until - since).total_seconds() for since, until, _ in spans)
    first = min(spans)
    return Held(
        usd=(price.usd_per_hour_max if price else 0.0) * max(0.0, seconds) / 3600,
        since=first[0],
        zone=first[2],
        # Only a machine that is there says which of several types it is.
        machine_type=there[0].machine_type
        if there
        else rung.machine_types[0]
        if len(rung.machine_types) == 1
        else None,
    )


def _spans(
    there: tuple[Instance, ...], done: tuple[Operation, ...], now: datetime
) -> list[tuple[datetime, datetime, str]]:
    """From when to when there was each machine, and where. An insert that failed gave none."""
    begun: dict[str, tuple[datetime, str]] = {}
    for one in there:
        if one.created:
            begun[one.name] = (one.created, one.zone)
    ended: dict[str, datetime] = {}
    for each in done:
        if each.inserted and each.began:
            begun.setdefault(each.target, (each.began, each.location))
        elif each.kind in _ENDS and each.began:
            ended.setdefault(each.target, each.ended or now)
    # One that is there runs until it is told to end; one that is gone without a trace isn't counted past this moment.
    return [(since, ended.get(name, now), zone) for name, (since, zone) in begun.items()]


_ENDS = frozenset({"delete", "stop", "compute.instances.preempted", "compute.instances.guestTerminate"})


def _ask_for_nothing(api: AttemptApi, group: Group) -> None:
    try:
        if group.size > 0:
            api.resize(group, 0)
        for request in api.resize_requests(group):
            if request.lives:
                # It may be fulfilled, or end, between the listing and this; then the size says what happens.
                with suppress(ApiError):
                    api.cancel(group, request.name)
    except ApiError as error:
        if not error.is_gone:
            raise


def _take(api: AttemptApi, resource: Resource, deadline: float, clock: Callable[[], float]) -> str | None:
    """None: it is gone; else why it isn't."""
    try:
        operation = api.delete(resource)
        while operation is not None and not operation.done:
            if clock() >= deadline:
                return "its deletion has begun and isn't done yet"
            operation = api.wait(operation, deadline - clock())
    except ApiError as error:
        return None if error.is_gone else error.text
    if operation is not None and operation.errors:
        return "\n".join(operation.errors)
    return None


def _place(attempt: Attempt) -> tuple[str, str]:
    if not attempt.project or not attempt.region:
        raise ApiError(f"attempt {attempt.id} says no project or no region: nothing can be looked for")
    return attempt.project, attempt.region
