"""The simulated cloud as Google's API: what the watch and the sweep of an attempt on Compute Engine ask."""
# ruff: noqa: ARG002 - the names are the interface's

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from components.gce import api, names
from components.gce.api import ApiError, Group, GroupError, Instance, ManagedInstance, Operation, ResourceKind, Serial
from components.interface import ATTEMPT_LABEL
from engine.simulated.attempt import AttemptView
from engine.simulated.cloud import CloudError
from engine.simulated.model import Machine, MachineState, Source

_GROUP = "gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager"
_REQUEST = "gcp:compute/regionResizeRequest:RegionResizeRequest"
_KINDS = {
    _GROUP: ResourceKind.GROUP,
    "gcp:compute/instance:Instance": ResourceKind.INSTANCE,
    "gcp:compute/regionInstanceTemplate:RegionInstanceTemplate": ResourceKind.TEMPLATE,
}
_SHOWN = frozenset({Source.GROUP_ERROR, Source.OPERATION})


class SimulatedGoogle(AttemptView):
    """See `components.gce.api.AttemptApi`; of one attempt, whose name is in all that is asked."""

    @staticmethod
    def error(error: CloudError) -> Exception:
        """See `AttemptView`."""
        return ApiError(error.text, error.status or 0)

    # -- while an attempt is under way

    def groups(self, project: str, region: str, base_name: str) -> tuple[Group, ...]:
        """See `AttemptApi`."""
        if base_name != names.base_name(self._attempt):
            return ()
        found = [one for one in self._resources() if one.type_token == _GROUP]
        return tuple(Group(project, one.region or region, one.name, base_name, one.size) for one in found)

    def group_errors(self, group: Group) -> tuple[GroupError, ...]:
        """See `AttemptApi`."""
        return tuple(GroupError(one.text, one.at, one.machine or "") for one in self._look() if one.source in _SHOWN)

    def managed_instances(self, group: Group) -> tuple[ManagedInstance, ...]:
        """See `AttemptApi`. What went wrong with them is in the group's errors."""
        there = [one for one in self._machines() if one.ended is None]
        return tuple(ManagedInstance(one.id, one.zone or "", "RUNNING", "NONE") for one in there)

    def resize_requests(self, group: Group) -> tuple[api.ResizeRequest, ...]:
        """See `AttemptApi`."""
        asked = [one for one in self._resources() if one.type_token == _REQUEST]
        state = "SUCCEEDED" if self._machines() else "ACCEPTED" if group.size else "CANCELLED"
        return tuple(api.ResizeRequest(one.name, state) for one in asked)

    def instances(self, project: str, label: tuple[str, str] | None = None) -> tuple[Instance, ...]:
        """See `AttemptApi`."""
        if label is not None and label != (ATTEMPT_LABEL, self._attempt.lower()):
            return ()
        # A machine that has ended is deleted, as its template says.
        return tuple(_instance(project, one) for one in self._machines() if one.ended is None)

    def operations(self, project: str, base_name: str) -> tuple[Operation, ...]:
        """See `AttemptApi`."""
        preempted = {one.machine for one in self._look() if one.source is Source.OPERATION}
        found = []
        for one in self._machines():
            at = (project, one.zone or "", f"insert-{one.id}")
            found.append(Operation(*at, "insert", one.id, done=True, began=one.since, ended=one.since))
            if one.ended is not None:
                kind = "compute.instances.preempted" if one.id in preempted else "delete"
                at = (project, one.zone or "", f"{kind}-{one.id}")
                found.append(Operation(*at, kind, one.id, done=True, began=one.ended, ended=one.ended))
        return tuple(found)

    def serial(self, project: str, zone: str, name: str, start: int) -> Serial:
        """See `AttemptApi`. A rehearsal's machines say nothing."""
        return Serial("", start, start)

    def set_metadata(self, project: str, zone: str, name: str, key: str, value: str) -> None:
        """See `AttemptApi`. Nobody reads it."""
        if not any(one.id == name and one.ended is None for one in self._machines()):
            raise ApiError(f"The resource 'projects/{project}/zones/{zone}/instances/{name}' was not found", 404)

    # -- taking away

    def resize(self, group: Group, size: int) -> Operation:
        """See `AttemptApi`."""
        self._asked(lambda: self._cloud.resize(self._attempt, size))
        return Operation(group.project, group.region, "resize", "resize", group.name, done=True)

    def cancel(self, group: Group, resize_request: str) -> Operation:
        """See `AttemptApi`."""
        return self.resize(group, 0)

    def resources(self, project: str, region: str, label: tuple[str, str], base_name: str) -> tuple[api.Resource, ...]:
        """See `AttemptApi`."""
        if label != (ATTEMPT_LABEL, self._attempt.lower()):
            return ()
        found = [one for one in self._resources() if one.type_token in _KINDS]
        return tuple(
            api.Resource(_KINDS[one.type_token], project, one.region or region, one.name, one.labels) for one in found
        )

    def delete(self, resource: api.Resource) -> Operation | None:
        """See `AttemptApi`."""
        for one in self._resources():
            if (_KINDS.get(one.type_token), one.name) == (resource.kind, resource.name):
                self._asked(partial(self._cloud.delete, one.type_token, one.id))
                return Operation(resource.project, resource.location, "delete", "delete", resource.name, done=True)
        return None

    def wait(self, operation: Operation, seconds: float) -> Operation:
        """See `AttemptApi`. All is done when it is answered."""
        return operation


def _instance(project: str, one: Machine) -> Instance:
    models: Mapping[str, str] = {"spot": "SPOT", "flex-start": "FLEX_START", "reserved": "RESERVATION_BOUND"}
    return Instance(
        project=project,
        zone=one.zone or "",
        name=one.id,
        # A machine that boots runs already; it is the run that waits for its driver and its image.
        status="STAGING" if one.state is MachineState.BOOTING else "RUNNING",
        machine_type=one.machine_type,
        created=one.since,
        labels={ATTEMPT_LABEL: one.attempt or ""},
        provisioning_model=models.get(one.purchase, "STANDARD"),
    )
