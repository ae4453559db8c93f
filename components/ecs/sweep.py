"""What an attempt has of AWS: whether it still has it, what it cost, and how it is taken away."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from components.ecs.api import AwsError, EcsApi, Instance, Resource, ResourceKind, Task
from components.ecs.names import base_name
from components.interface import ATTEMPT_LABEL, Held
from components.lost import Swept
from components.parallel import side_by_side
from placement.ladder import Rung
from placement.ledger import Attempt

WAIT_S = 300.0
"""How long a sweep waits for what it ordered. A GPU machine takes EC2 one to three minutes to end."""

_POLL_S = 5.0
_LIVE = frozenset({"pending", "running"})
_BEFORE = {
    # What has to be gone before a kind can be deleted: AWS refuses what is in use.
    ResourceKind.TASK: 0,
    ResourceKind.GROUP: 0,
    ResourceKind.NAT_GATEWAY: 0,
    ResourceKind.ENDPOINT: 0,
    ResourceKind.INSTANCE: 1,  # shrinking has ended it; nothing that makes machines is there any more by now
    ResourceKind.PROVIDER: 1,
    ResourceKind.DEFINITION: 1,
    ResourceKind.TEMPLATE: 1,
    ResourceKind.INTERFACE: 1,
    ResourceKind.ADDRESS: 1,
    ResourceKind.CLUSTER: 2,
    ResourceKind.SECURITY_GROUP: 2,
    ResourceKind.SUBNET: 2,
    ResourceKind.GATEWAY: 2,
    ResourceKind.SCHEDULE: 3,  # a cluster that is gone has no task that it could still have to end
    ResourceKind.ROUTE_TABLE: 3,
    ResourceKind.VPC: 4,
}
MACHINES = (str(ResourceKind.TASK), str(ResourceKind.GROUP), str(ResourceKind.INSTANCE))
"""What `Swept.left` begins with where something that costs by its machine is left."""

_RUNS = (str(ResourceKind.TASK), str(ResourceKind.CLUSTER))

_BUSY = frozenset(
    {
        "ClusterContainsContainerInstancesException",
        "ClusterContainsTasksException",
        "DependencyViolation",
        "InvalidIPAddress.InUse",
        "InvalidNetworkInterface.InUse",
        "ResourceInUse",
        "ResourceInUseException",
        "ResourceContention",
        "ScalingActivityInProgress",
        "UpdateInProgressException",
    }
)
"""Codes of what can be deleted a little later: what uses it is ending. With AuthFailure AWS says so of an address that
is still a NAT gateway's: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReleaseAddress.html."""


def tag_of(attempt: Attempt) -> tuple[str, str]:
    """The tag by which an attempt's resources are found."""
    return (ATTEMPT_LABEL, attempt.id.lower())


def sweep(
    api: EcsApi,
    attempt: Attempt,
    *,
    wait_s: float = WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Swept[Resource]:
    """Take away what an attempt left; only what bears its tag or its name. Nothing left: nothing is done.

    Its tasks are stopped, its group is set to 0 and its machines are ended first, so that whatever follows, even a
    failure, no machine comes after it. Log groups stay: they are the stack's. Raises AwsError where it can't be told
    what is there, or a group can't be kept from asking.
    """
    region = _region(attempt)
    deadline = clock() + wait_s
    shrink(api, region, attempt.id)
    taken: list[Resource] = []
    left: list[tuple[str, str]] = []
    found = api.resources(region, tag_of(attempt), base_name(attempt.id))
    for rank in sorted(set(_BEFORE.values())):
        now = [one for one in found if _BEFORE[one.kind] == rank]
        if any(what.startswith(_RUNS) for what, _ in left):
            now = [one for one in now if one.kind is not ResourceKind.SCHEDULE]
        calls = [partial(_take, api, one, deadline, clock, sleep) for one in now]
        for one, (was_there, failed) in zip(now, side_by_side(calls), strict=True):
            if failed:
                left.append((str(one), failed))
            elif was_there:
                taken.append(one)
    return Swept(tuple(taken), tuple(left))


def shrink(api: EcsApi, region: str, attempt: str, started: str = "") -> None:
    """Let an attempt ask for no more, and end what it has: tasks, then the group's size, then its machines.

    In this order: a task that waits for a machine makes managed scaling ask for one. The machines are ended themselves,
    because the group keeps those that are protected from scale-in, whatever its size. What would end a task by the
    clock goes when that one was told to stop. ``started``: the ARN of a task that is known to have been, which ECS may
    list only a while later; empty: none. Does nothing where nothing is. Raises AwsError.
    """
    base, tag = base_name(attempt), (ATTEMPT_LABEL, attempt.lower())
    tasks = api.tasks(region, base, attempt)
    stop = [one.arn for one in tasks if one.lives and one.desired != "STOPPED"]
    known = [one.arn for one in tasks]
    if started and started not in known:
        stop.append(started)
        known.append(started)
    side_by_side([partial(api.stop_task, region, base, one, "gpubench ends the attempt") for one in stop])
    group = api.scaling_group(region, base)
    if group is not None and group.desired > 0 and not group.deleting:
        api.stop_asking(region, base)
    live = [one for one in api.instances(region, tag) if one.state in _LIVE]
    if group is None:
        # With ECS Managed Instances only ECS may end them, and does when they have no task; others a sweep finds.
        if known:  # another that isn't listed yet keeps its end
            api.unschedule(region, base, known)
        return
    side_by_side([partial(_end, api, one) for one in live])


def alive(api: EcsApi, attempt: Attempt) -> bool:
    """Whether an attempt still has its machine or its task, or asks for one."""
    region = _region(attempt)
    if any(one.state in _LIVE for one in api.instances(region, tag_of(attempt))):
        return True
    base = base_name(attempt.id)
    group = api.scaling_group(region, base)
    if group is not None and group.desired > 0 and not group.deleting:
        return True
    return any(one.lives for one in api.tasks(region, base, attempt.id))


def held(api: EcsApi, attempt: Attempt, rung: Rung, now: datetime) -> Held:
    """What an attempt has had of machines, and what it cost: the catalogue's price for the seconds of each.

    A machine that is gone is known by its group's activities, which AWS keeps for six weeks; a task on Fargate for an
    hour after its end only. Zones are ids.
    """
    region, base = _region(attempt), base_name(attempt.id)
    there = api.instances(region, tag_of(attempt))
    spans = _machines(api, region, base, there, now)
    if not spans:
        spans = _tasks(api.tasks(region, base, attempt.id), now)
    if not spans:
        return Held()
    price = rung.usd_per_hour
    seconds = sum(max(0.0, (until - since).total_seconds()) for since, until, _ in spans)
    since, _, zone = min(spans, key=lambda span: span[0])
    if zone:
        ids = {one.name: one.id for one in api.zones(region)}
        zone = ids.get(zone, zone)
    types = {one.machine_type for one in there} or set(rung.machine_types)
    return Held(
        usd=(price.usd_per_hour_max if price else 0.0) * seconds / 3600,
        since=since,
        zone=zone or None,
        # Only a machine that is there says which of several types it is.
        machine_type=types.pop() if len(types) == 1 else None,
    )


_Span = tuple[datetime, datetime, str]


def _machines(api: EcsApi, region: str, base: str, there: tuple[Instance, ...], now: datetime) -> list[_Span]:
    """From when to when there was each machine, and where. A launch that failed gave none."""
    begun: dict[str, tuple[datetime, str]] = {one.id: (one.launched, one.zone) for one in there if one.launched}
    ended: dict[str, datetime] = {}
    for each in api.activities(region, base):
        if each.launched and each.instance and each.began:
            begun.setdefault(each.instance, (each.began, ""))
        elif each.terminates and each.instance and each.began:
            ended.setdefault(each.instance, each.ended or each.began)
    live = {one.id for one in there if one.state in _LIVE}
    # One that is there runs on; one that is gone without a trace isn't counted past this moment.
    return [
        (since, now if which in live else min(now, ended.get(which, now)), zone)
        for which, (since, zone) in begun.items()
    ]


def _tasks(tasks: tuple[Task, ...], now: datetime) -> list[_Span]:
    """Fargate's clock runs from the pull of the image to the end: https://aws.amazon.com/fargate/pricing/."""
    return [
        (begun, one.stopped or now, one.zone)
        for one in tasks
        if (begun := one.pulled or one.started) is not None and not one.container_instance
    ]


def _end(api: EcsApi, machine: Instance) -> None:
    try:
        api.delete(Resource(ResourceKind.INSTANCE, machine.region, machine.id))
    except AwsError as error:
        if not error.is_gone:
            raise


def _take(
    api: EcsApi, resource: Resource, deadline: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> tuple[bool, str]:
    """Whether there was anything to delete (EC2's tags outlive what bore them), and why it isn't gone; empty: it is."""
    asked = False
    while True:
        try:
            if not asked:
                api.delete(resource)
                asked = True
            if not api.exists(resource):
                return True, ""
            why = "its deletion has begun and isn't done yet"
        except AwsError as error:
            if error.is_gone:
                return asked, ""
            if not _is_busy(error, resource):
                return True, error.text
            why = error.text
        left_s = deadline - clock()
        if left_s <= 0:
            return True, why
        sleep(min(_POLL_S, left_s))


def _is_busy(error: AwsError, resource: Resource) -> bool:
    return error.code in _BUSY or (resource.kind is ResourceKind.ADDRESS and error.code == "AuthFailure")


def _region(attempt: Attempt) -> str:
    if not attempt.region:
        raise AwsError(f"attempt {attempt.id} says no region: nothing can be looked for")
    return attempt.region
