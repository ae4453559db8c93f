"""What is happening to an attempt on ECS: does it get a machine, how far is the run, and why not further."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from components.ecs.api import Activity, EcsApi, Instance, Refusal, ScalingGroup, Task
from components.ecs.names import UPLOADER, base_name, log_stream
from components.interface import ATTEMPT_LABEL
from components.markers import Markers
from components.waiting import GONE, Seen

JOINS_S = 600.0
"""How long a machine may take from its launch until it has joined its cluster. The GPU image's agent needs one to three
minutes; one that has no way to ECS, or whose user data failed, never does, and nothing in AWS says so."""

_LIVE = frozenset({"pending", "running"})
_UP = frozenset({"RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING"})
_OWN_END = frozenset({"", "Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown"})
"""Reasons of a machine that was ended by its group, by gpubench or by itself: they say nothing of why."""

_TAKEN = {
    "SpotInterruption": "the spot capacity was taken back",
    "TerminationNotice": "the machine got notice that it is taken back",
    "InfrastructureHealth": "the machine under it failed",
}
"""What the cloud itself does to a task (ecs, TaskStopCode)."""

_LISTED_S = 60.0
"""How long ECS may take to list a task that it has started: its answers are eventually consistent.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html"""

_PAGES = 20  # of a log, a look: 10 000 lines or 1 MB each
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Progress:
    """How far a run's task is.

    ``status``: the task's (PROVISIONING to STOPPED); ``stop_code``, ``reason``: why it stopped, in AWS's words.
    ``exit_codes``: of the containers that have ended; None: ended without one, or never began. ``phase`` and ``run``:
    the uploader's last marker (run, upload, end). ``failures``: what went wrong, in order: the run that it was at (or
    nothing) and the text, whole. Manifests say how each run ended. ``gone``: the task has ended, or its machine has,
    or AWS has forgotten it. ``taken``: by whom, where the cloud did it, in its words. ``log``: its new lines.
    """

    status: str = ""
    stop_code: str = ""
    reason: str = ""
    exit_codes: Mapping[str, int | None] = field(default_factory=dict)
    phase: str = ""
    run: str = ""
    failures: tuple[tuple[str, str], ...] = ()
    gone: bool = False
    taken: str = ""
    log: tuple[str, ...] = ()


class Watch:
    """Watches one attempt. Not for several threads at once: it remembers how far it has read the uploader's log."""

    def __init__(
        self,
        api: EcsApi,
        account: str,
        region: str,
        attempt: str,
        *,
        log_group: str = "",
        came: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``log_group``: where the tasks write (`components.ecs.names.log_group`); empty: the log isn't read.

        ``came``: the attempt is known to have had a machine: what it measured is in the bucket. ``account``: for the
        texts.
        """
        self._api, self._account, self._region, self._attempt = api, account, region, attempt
        self._base, self._tag = base_name(attempt), (ATTEMPT_LABEL, attempt.lower())
        self._log_group, self._came, self._now = log_group, came, now
        self._machine: Instance | None = None
        self._task: Task | None = None
        self._markers = Markers()
        self._stream, self._token = "", ""

    @property
    def machine(self) -> Instance | None:
        """The attempt's machine as it was last seen; None: none was seen yet, or it has none of EC2's."""
        return self._machine

    @property
    def task(self) -> Task | None:
        """The task as it was last seen."""
        return self._task

    def seen(self) -> Seen:
        """One look at the capacity. Raises AwsError where the cloud doesn't say.

        A group is silent: that it gets no machine, and why, is only in its activities. What failed since the last
        machine came counts as gone wrong, oldest first. Where there is no group (Fargate, ECS Managed Instances) the
        task itself asks for its machine.
        """
        group = self._api.scaling_group(self._region, self._base)
        if group is None:
            tasks = self._api.tasks(self._region, self._base, self._attempt)
            machines = self._api.instances(self._region, self._tag)
            if tasks or self._task is not None or not machines:
                return self._seen_of_tasks(tasks)
        else:
            machines = self._api.instances(self._region, self._tag)
        return self._seen_of_group(group, machines)

    def follow(self, task: Task) -> None:
        """From now on this is the task whose machine is waited for: one that was just started.

        ECS lists it a little later, and until then lists those of the attempt's earlier runs, which have ended.
        """
        self._task = task

    def why_refused(self, refusals: tuple[Refusal, ...]) -> str:
        """Why RunTask started nothing. ``RESOURCE:GPU`` of a cluster without a machine is what its group failed of.

        Raises AwsError where the cloud doesn't say.
        """
        said = "\n".join(dict.fromkeys(_refused(one) for one in refusals))
        if not any(one.reason.startswith(("RESOURCE:", "MISSING", "EMPTY")) for one in refusals):
            return said or "RunTask started nothing, and AWS doesn't say why"
        if any(one.status == "ACTIVE" for one in self._api.container_instances(self._region, self._base)):
            return said
        failed = _failures(self._api.activities(self._region, self._base))
        return "\n".join((*failed, said)) if failed else f"{said}: the cluster {self._base} has no machine yet"

    def progress(self, task: str) -> Progress:
        """One look at the run: a task's ARN; empty: of a task that went unseen. Raises AwsError."""
        if not task:
            return self._told(None, gone=True, taken="", log=())
        found = self._api.task(self._region, self._base, task)
        new = self._read_log(task)
        if found is None:
            before = self._task if self._task is not None and self._task.arn == task else None
            gone = before is not None and before.created is not None and self._age(before.created) > _LISTED_S
            return self._told(before, gone=gone, taken=_taken_task(before) if before else "", log=new)
        self._task = found
        gone, taken = not found.lives, _taken_task(found)
        if found.container_instance and (found.lives or taken):
            # A task goes on as RUNNING for minutes after its machine has ended: its agent can't say so any more.
            live, ended = self._look(self._api.instances(self._region, self._tag))
            if not live and ended:
                gone, taken = True, taken or _ended(ended[-1])
        return self._told(found, gone=gone, taken=taken if gone else "", log=new)

    def _told(self, task: Task | None, *, gone: bool, taken: str, log: tuple[str, ...]) -> Progress:
        said = self._markers.failures(whole=gone)
        if task is not None and (why := _never_began(task)):
            said = (*said, ("", why))
        return Progress(
            status=task.status if task else "",
            stop_code=task.stop_code if task else "",
            reason=task.stopped_reason if task else "",
            exit_codes={one.name: one.exit_code for one in task.containers if one.status == "STOPPED"} if task else {},
            phase=self._markers.phase,
            run=self._markers.run,
            failures=said,
            gone=gone,
            taken=taken,
            log=log,
        )

    def _read_log(self, task: str) -> tuple[str, ...]:
        if not self._log_group:
            return ()
        stream = log_stream(self._base, UPLOADER, task.rpartition("/")[2])
        if stream != self._stream:
            self._stream, self._token = stream, ""
            self._markers = Markers()
        lines: list[str] = []
        for _ in range(_PAGES):
            page = self._api.log_events(self._region, self._log_group, stream, self._token)
            ended = page.token == self._token
            lines += page.lines
            self._token = page.token
            if ended or not page.lines:
                break
        for line in lines:
            self._markers.take(line)
        return tuple(lines)

    def _look(self, machines: tuple[Instance, ...]) -> tuple[list[Instance], list[Instance]]:
        """Those that live, and those that have ended; the newest last."""
        ordered = sorted(machines, key=lambda one: one.launched or _LONG_AGO)
        live = [one for one in ordered if one.state in _LIVE]
        if ordered:
            self._machine, self._came = (live or ordered)[-1], True
        return live, [one for one in ordered if one.state not in _LIVE]

    def _seen_of_group(self, group: ScalingGroup | None, machines: tuple[Instance, ...]) -> Seen:
        live, ended = self._look(machines)
        done = self._api.activities(self._region, self._base)
        self._came = self._came or any(one.launched for one in done)
        texts = list(_failures(done))
        ready = False
        if live:
            joined = {one.instance: one for one in self._api.container_instances(self._region, self._base)}
            here = [joined[one.id] for one in live if one.id in joined]
            up = [one for one in here if one.status == "ACTIVE" and one.connected]
            ready = any(one.gpus for one in up)
            if up and not ready:
                texts.append(_no_gpu(up[0].instance))
            if not here:
                texts += [text for one in live if (text := self._never_joined(one))]
        else:
            texts += [_ended(one) for one in ended if one.reason_code not in _OWN_END]
        asks = bool(live) or (group is not None and not group.deleting and group.desired > 0)
        return Seen(
            granted=bool(live),
            ready=ready,
            failures=tuple(dict.fromkeys(texts)),
            gone=(_why_gone(ended, done) or GONE) if self._came and not asks else "",
            asks=asks,
        )

    def _seen_of_tasks(self, tasks: tuple[Task, ...]) -> Seen:
        if (mine := self._task) is not None:
            tasks = tuple(one for one in tasks if one.arn == mine.arn)
            if not tasks and (mine.created is None or self._age(mine.created) <= _LISTED_S):
                tasks = (mine,)
        ordered = sorted(tasks, key=lambda one: one.created or _LONG_AGO)
        self._task = ordered[-1] if ordered else self._task
        self._came = self._came or any(one.started for one in ordered)
        lives = [one for one in ordered if one.lives]
        gone = ""
        if self._came and not lives:
            gone = next((text for one in reversed(ordered) if (text := _taken_task(one) or one.stopped_reason)), GONE)
        return Seen(
            # It has its machine from when it is PENDING on: the image is pulled then.
            granted=any(one.status != "PROVISIONING" for one in lives),
            ready=any(one.status in _UP for one in lives),
            failures=tuple(dict.fromkeys(text for one in ordered if not one.lives and (text := _never_began(one)))),
            gone=gone,
            asks=bool(lives),
        )

    def _age(self, since: datetime) -> float:
        return (self._now() - since).total_seconds()

    def _never_joined(self, machine: Instance) -> str:
        age = self._age(machine.launched) if machine.launched else 0.0
        if machine.state != "running" or age < JOINS_S:
            return ""
        return (
            f"Cause: bad-request (not-registered): the machine {machine.id} ({machine.zone}) runs for {age / 60:.0f} "
            f"minutes and hasn't joined the cluster {self._base}\n"
            "Mend: Its subnets need a way to ECS and ECR: a NAT gateway, or the endpoints of `network: endpoints`. "
            f"What it did: aws ec2 get-console-output --latest --instance-id {machine.id} --region {self._region} "
            "--output text"
        )


def _failures(done: tuple[Activity, ...]) -> tuple[str, ...]:
    """What the launches failed of since the last one that succeeded, oldest first, each text once."""
    since = max((number for number, one in enumerate(done) if one.launched), default=-1) + 1
    failed = [one for one in done[since:] if one.launches and one.status in ("Failed", "Cancelled")]
    return tuple(dict.fromkeys(one.message or one.description for one in failed))


def _refused(refusal: Refusal) -> str:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html"""
    detail = refusal.detail or ("the ECS agent of the machine is disconnected" if refusal.reason == "AGENT" else "")
    return ": ".join(part for part in (refusal.reason, detail) if part)


def _no_gpu(instance: str) -> str:
    return (
        f"Cause: bad-request (RESOURCE:GPU): the machine {instance} has joined its cluster without a GPU\n"
        "Mend: The image must be the ECS-optimized one for GPUs, with ECS_ENABLE_GPU_SUPPORT=true in "
        "/etc/ecs/ecs.config; `nvidia-smi` on the machine says whether its driver works."
    )


def _never_began(task: Task) -> str:
    """Why a task failed before its containers ran; empty: it didn't."""
    if task.lives or task.started is not None or task.stop_code == "UserInitiated":
        return ""
    texts = [f"{task.stop_code}: {task.stopped_reason}" if task.stop_code else task.stopped_reason]
    texts += [f"{one.name}: {one.reason}" for one in task.containers if one.reason and one.reason not in texts[0]]
    return "\n".join(text for text in texts if text) or "the task stopped before it began, and AWS doesn't say why"


def _taken_task(task: Task) -> str:
    """What the cloud itself did to a task; empty: nothing."""
    said = task.stopped_reason
    if what := _TAKEN.get(task.stop_code):
        return f"{task.stop_code}: {what}: {said} ({task.id}, {task.zone})"
    if said.startswith("Host EC2"):  # "Host EC2 (instance i-…) terminated."
        return f"{said} ({task.id}, {task.zone})"
    return ""


def _ended(machine: Instance) -> str:
    why = machine.reason or machine.reason_code or "its end has no reason"
    code = "" if not machine.reason_code or machine.reason_code in why else f"{machine.reason_code}: "
    return f"{code}{why} ({machine.id}, {machine.zone})"


def _why_gone(ended: list[Instance], done: tuple[Activity, ...]) -> str:
    """Why the last machine is gone, as far as it is known; empty: it isn't."""
    if why := next((_ended(one) for one in reversed(ended) if one.reason_code not in _OWN_END), ""):
        return why
    # EC2 lists it for an hour only, and its group says for six weeks when it missed it.
    missed = (one.cause for one in reversed(done) if one.terminates and "taken out of service" in one.cause)
    return next(missed, "")
