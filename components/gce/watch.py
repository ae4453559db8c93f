"""What is happening to an attempt on Compute Engine: does it get a machine, how far is the run, and why not further."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from components.gce.api import ApiError, AttemptApi, Group, Instance, Operation, ResizeRequest
from components.gce.names import base_name
from components.interface import ATTEMPT_LABEL
from components.markers import Markers
from components.waiting import GONE, Seen
from placement.causes import Cause, Where, classify

_THERE = frozenset({"STAGING", "RUNNING"})
"""A machine that is PROVISIONING has no resources yet; one in STAGING has, and may still lose them."""

_MAKES = frozenset({"CREATING", "CREATING_WITHOUT_RETRIES", "RECREATING", "RESTARTING", "RESUMING", "STARTING"})
"""Of a group's actions: those that end in a machine (compute v1, ManagedInstance.currentAction)."""

_TAKEN = {
    "compute.instances.preempted": "the machine was preempted",
    "compute.instances.hostError": "the machine's host failed",
    "compute.instances.terminateOnHostMaintenance": "the machine was ended for its host's maintenance",
}
"""What the cloud itself does to a machine: https://cloud.google.com/compute/docs/logging/activity-logs"""

_ENDS = frozenset({"delete", "stop", "compute.instances.guestTerminate", *_TAKEN})
"""What is done only to a machine that there was; a group also deletes one that it failed to make."""

_PREFIX = re.compile(r"^.*?\bstartup-script: ?")
"""The guest agent writes each line of a startup script behind its own prefix: time, host, `…: startup-script:`."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

WAITING = "Waiting for resources. Currently there are not enough resources available to fulfill the request."
"""Google's own words for a flex-start request that is queued: what a shortage means while a resize request lives."""

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a run's machine is.

    ``phase``: the boot script's last one (boot, driver, pull, run, upload, end), empty before the first; ``run``: the
    one that it is at. ``failures``: what the boot script says went wrong, in order: the run that it was at (or
    nothing) and the text, whole, in the form of our own failures. Manifests say how each run ended.
    ``gone``: the machine has ended. ``taken``: by whom, where the cloud did it (preempted, host error), in its words.
    ``log``: what came since the last look, without the guest agent's prefixes.
    """

    phase: str = ""
    run: str = ""
    failures: tuple[tuple[str, str], ...] = ()
    gone: bool = False
    taken: str = ""
    log: tuple[str, ...] = ()


class Watch:
    """Watches one attempt. Not for several threads at once: it remembers how far it has read the serial console."""

    def __init__(self, api: AttemptApi, project: str, region: str, attempt: str, *, came: bool = False) -> None:
        """``came``: the attempt is known to have had a machine: what it measured is in the bucket."""
        self._came = came
        self._api, self._project, self._region = api, project, region
        self._label, self._base = (ATTEMPT_LABEL, attempt.lower()), base_name(attempt)
        self._machine: Instance | None = None
        self._console = Console()

    @property
    def machine(self) -> Instance | None:
        """The attempt's machine as it was last seen; None: none was seen yet."""
        return self._machine

    def seen(self) -> Seen:
        """One look at the capacity. Raises ApiError where the cloud doesn't say.

        What the group's and the resize requests' errors say counts as gone wrong, oldest first. While a resize request
        lives, a shortage is what it waits for, and no failure. A machine that has come and gone is not made again (the
        group's DO_NOTHING), however many the group asks for.
        """
        machine = self._look()
        groups = self._api.groups(self._project, self._region, self._base)
        texts: list[str] = []
        waits = makes = False
        for group in groups:
            requests = _unless_gone(self._api.resize_requests, group)
            waits = waits or any(one.lives for one in requests)
            texts += [error.text for error in _unless_gone(self._api.group_errors, group)]
            managed = _unless_gone(self._api.managed_instances, group)
            makes = makes or any(one.action in _MAKES for one in managed)
            texts += [text for one in managed for text in one.errors]
            texts += [text for one in requests for text in _texts(one)]
        status = machine.status if machine else ""
        there = status in ("PROVISIONING", *_THERE)
        taken = ""
        if not there:
            done = self._operations()
            self._came = self._came or _has_come(done)
            taken = _taken(done)
            if not groups and machine is None:
                # What an insert of the machine itself failed of: a single instance has no group to tell it.
                texts += [text for one in done if one.inserts for text in one.errors]
        where = Where(surface="gce", project=self._project, region=self._region)
        failures = [WAITING if waits and _is_shortage(text, where) else text for text in texts]
        return Seen(
            granted=status in _THERE,
            ready=status == "RUNNING",
            failures=tuple(dict.fromkeys(failures)),
            gone=(taken or GONE) if self._came and not (there or waits or makes) else "",
            asks=there or waits or makes or any(group.size > 0 for group in groups),
        )

    def progress(self) -> Progress:
        """One look at the run. Raises ApiError where the cloud doesn't say."""
        machine = self._look()
        new: tuple[str, ...] = ()
        if machine is not None:
            try:
                new = self._console.read(self._api, machine)
            except ApiError as error:
                # It may end between the two requests; a machine that isn't ready yet has no console either (400).
                if not error.is_gone and error.status != 400:
                    raise
        had_one = self._came or self._machine is not None
        gone = had_one and (machine is None or machine.status not in ("PROVISIONING", *_THERE))
        console = self._console
        return Progress(
            phase=console.phase,
            run=console.run,
            failures=console.failures(whole=gone),
            gone=gone,
            taken=_taken(self._operations()) if gone else "",
            log=new,
        )

    def _look(self) -> Instance | None:
        """The machine now; of several the newest."""
        there = self._api.instances(self._project, self._label)
        found = max(there, key=lambda one: one.created or _LONG_AGO, default=None)
        if found is not None:
            self._machine = found
        return found

    def _operations(self) -> tuple[Operation, ...]:
        return self._api.operations(self._project, self._base)


class Console(Markers):
    """Reads the boot script's markers from a machine's serial console, as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._next, self._machine = 0, ("", "")
        self._rest = ""

    def read(self, api: AttemptApi, machine: Instance) -> tuple[str, ...]:
        """The boot script's whole lines since the last time. Raises ApiError."""
        if self._machine != (machine.zone, machine.name):
            self._machine, self._next, self._rest = (machine.zone, machine.name), 0, ""
        output = api.serial(machine.project, machine.zone, machine.name, self._next)
        if output.start != self._next:
            self._rest = ""  # what is between has been thrown away: the console keeps a megabyte
        self._next = output.next
        *whole, self._rest = (self._rest + output.text).split("\n")
        lines = tuple(_PREFIX.sub("", line.rstrip("\r")) for line in whole if "startup-script:" in line)
        for line in lines:
            self.take(line)
        return lines


def _texts(request: ResizeRequest) -> tuple[str, ...]:
    if request.state == "CANCELLED":
        return (f"the resize request {request.name} was cancelled",)
    if request.state == "FAILED" and not request.errors:
        return (f"the resize request {request.name} failed, and the cloud doesn't say why",)
    return request.errors


def _is_shortage(text: str, where: Where) -> bool:
    return classify(text, where).cause is Cause.CAPACITY


def _taken(done: tuple[Operation, ...]) -> str:
    """What the cloud itself did to a machine last, and to which; empty: nothing."""
    for one in reversed(done):
        if one.kind in _TAKEN:
            return "\n".join([f"{one.kind}: {_TAKEN[one.kind]} ({one.target}, {one.location})", *one.errors])
    return ""


def _has_come(done: tuple[Operation, ...]) -> bool:
    """Whether there was a machine, by what was done to it: Google keeps that for two weeks."""
    never = {one.target for one in done if one.inserts} - {one.target for one in done if one.inserted}
    return any(one.inserted or (one.kind in _ENDS and one.target not in never) for one in done)


def _unless_gone(ask: Callable[[Group], tuple[T, ...]], group: Group) -> tuple[T, ...]:
    """What there is in a group; nothing, if it was deleted between two requests."""
    try:
        return ask(group)
    except ApiError as error:
        if error.is_gone:
            return ()
        raise
