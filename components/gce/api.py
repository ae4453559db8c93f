"""What gpubench asks Google of: one method a question, plain dataclasses in and out.

``GoogleApi`` is what the preflight stands on, and its part ``AttemptApi`` the watch and the sweep.
`components.gce.google.Google` is the real one; the simulated cloud implements the latter for rehearsals. The names and
fields are those of the APIs' discovery documents (compute v1, artifactregistry v1, cloudresourcemanager v3, iam v1,
storage v1) and of the Cloud Quotas reference (v1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from catalog.repositories import Repository


class ApiError(Exception):
    """A request that was refused, or had no answer. The text has the cloud's own words, whole.

    ``status``: the HTTP status; 0 where no answer came (a connection that failed, a time-out).
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.text, self.status = text, status

    @property
    def is_gone(self) -> bool:
        """Whether what was asked about doesn't exist, or not any more."""
        return self.status == 404


@dataclass(frozen=True)
class QuotaLine:
    """One quota of a region or a project, as Compute Engine counts it: the metric's own unit."""

    metric: str
    limit: float
    usage: float


@dataclass(frozen=True)
class Region:
    """``quotas`` None: the cloud lists the region without them. ``zones`` are names."""

    name: str
    zones: tuple[str, ...] = ()
    quotas: tuple[QuotaLine, ...] | None = ()


@dataclass(frozen=True)
class QuotaLimit:
    """A limit of Cloud Quotas. It holds in ``locations`` (regions; ``global``) for these ``dimensions``.

    -1 means that there is no limit. Cloud Quotas says nothing of what is used.
    """

    limit: float
    dimensions: tuple[tuple[str, str], ...] = ()
    locations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Binding:
    """A role, who has it, and the condition's expression, if there is one."""

    role: str
    members: tuple[str, ...]
    condition: str = ""


@dataclass(frozen=True)
class Account:
    """A service account."""

    email: str
    disabled: bool = False


@dataclass(frozen=True)
class Advice:
    """One recommendation of Google's capacity advice: obtainability, 0 to 1, and the zones that it would take."""

    score: float
    zones: tuple[str, ...] = ()


@dataclass(frozen=True)
class Instance:
    """A machine. ``status`` as the API has it (PROVISIONING, STAGING, RUNNING, STOPPING, TERMINATED, …).

    ``accelerators``: what was attached to it, name and count (N1; other families have theirs built in).
    ``provisioning_model``: STANDARD, SPOT, FLEX_START or RESERVATION_BOUND.
    """

    project: str
    zone: str
    name: str
    status: str
    machine_type: str
    created: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    accelerators: tuple[tuple[str, int], ...] = ()
    provisioning_model: str = "STANDARD"


@dataclass(frozen=True)
class Group:
    """A regional managed instance group. ``size``: how many machines it is asked to have."""

    project: str
    region: str
    name: str
    base_name: str
    size: int


@dataclass(frozen=True)
class GroupError:
    """What went wrong when a group acted on a machine: in the cloud's words, with the code, and when."""

    text: str
    at: datetime | None = None
    instance: str = ""


@dataclass(frozen=True)
class ManagedInstance:
    """A machine as its group sees it. ``status`` is empty while there is none yet; ``action``: CREATING, NONE, …

    ``errors``: of the last attempt at that action, in the cloud's words.
    """

    name: str
    zone: str
    status: str
    action: str
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResizeRequest:
    """A group's request for machines that may wait (flex-start).

    ``state``: ACCEPTED, CREATING, SUCCEEDED, FAILED or CANCELLED. ``errors``: what made it fail, or, while it lives,
    of its last attempt, which it may repeat.
    """

    name: str
    state: str
    errors: tuple[str, ...] = ()

    @property
    def lives(self) -> bool:
        """Whether it still asks for machines."""
        return self.state in ("ACCEPTED", "CREATING")


@dataclass(frozen=True)
class Serial:
    """Serial console output from byte ``start`` on; ``next`` is where to go on."""

    text: str
    start: int
    next: int


@dataclass(frozen=True)
class Operation:
    """Something that Compute Engine does, or did.

    ``kind``: ``insert``, ``delete``, ``compute.instances.preempted``, ``compute.instances.hostError``, …; ``target``:
    the name of the resource; ``location``: a zone, a region or ``global``; ``errors`` in the cloud's words.
    """

    project: str
    location: str
    name: str
    kind: str
    target: str
    done: bool
    began: datetime | None = None
    ended: datetime | None = None
    errors: tuple[str, ...] = ()

    @property
    def inserts(self) -> bool:
        """Whether it makes a machine, or tried to."""
        return self.kind.rpartition(".")[2] == "insert"

    @property
    def inserted(self) -> bool:
        """Whether it made a machine."""
        return self.inserts and self.done and not self.errors


class ResourceKind(StrEnum):
    """What a sweep takes away, in this order."""

    GROUP = "instanceGroupManagers"
    INSTANCE = "instances"
    TEMPLATE = "instanceTemplates"
    RESERVATION = "reservations"
    DISK = "disks"
    ADDRESS = "addresses"


@dataclass(frozen=True)
class Resource:
    """Something that can be deleted. ``location``: a zone, a region or ``global``.

    ``labels``: its own; of a template, those that it gives to its machines; none for groups and reservations.
    """

    kind: ResourceKind
    project: str
    location: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name} ({self.location})"


class AttemptApi(Protocol):
    """What an attempt's watch and sweep ask. All raise ApiError, and CannotSay where there are no credentials."""

    # -- while an attempt is under way

    def groups(self, project: str, region: str, base_name: str) -> tuple[Group, ...]:
        """Those whose machines are called ``<base_name>-xxxx``."""

    def group_errors(self, group: Group) -> tuple[GroupError, ...]:
        """What went wrong in a group lately, oldest first."""

    def managed_instances(self, group: Group) -> tuple[ManagedInstance, ...]:
        """The group's machines, and those that it is about to make."""

    def resize_requests(self, group: Group) -> tuple[ResizeRequest, ...]:
        """The group's resize requests, ended ones too."""

    def instances(self, project: str, label: tuple[str, str] | None = None) -> tuple[Instance, ...]:
        """Machines of all zones; with a label (key, value): those that bear it."""

    def operations(self, project: str, base_name: str) -> tuple[Operation, ...]:
        """What was done to the machine called ``base_name``, or ``<base_name>-xxxx``, oldest first."""

    def serial(self, project: str, zone: str, name: str, start: int) -> Serial:
        """What a machine wrote to its first serial port, from byte ``start`` on."""

    def set_metadata(self, project: str, zone: str, name: str, key: str, value: str) -> None:
        """Set one attribute of a machine; the others stay."""

    # -- taking away

    def resize(self, group: Group, size: int) -> Operation:
        """Ask a group to have that many machines."""

    def cancel(self, group: Group, resize_request: str) -> Operation:
        """End a resize request that is still waiting."""

    def resources(self, project: str, region: str, label: tuple[str, str], base_name: str) -> tuple[Resource, ...]:
        """All of a region that bears the label, or, where there are no labels, the name: what a sweep may delete.

        Templates are those of the region; a group is one of ``base_name``; a reservation is named ``base_name`` or
        ``<base_name>-…``.
        """

    def delete(self, resource: Resource) -> Operation | None:
        """Ask for its deletion; None: it is gone already."""

    def wait(self, operation: Operation, seconds: float) -> Operation:
        """The operation as it is when it is done, or after that time at the latest."""


class GoogleApi(AttemptApi, Protocol):
    """Every method raises ApiError, and CannotSay where there are no credentials. Called from several threads."""

    def principal(self) -> str:
        """Who asks: a service account's e-mail, or ``the deployer`` where the credentials don't say."""

    def machine_types(self, project: str, names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """The zones, of all regions, that list each of these machine types; one that no zone lists isn't there."""

    def accelerator_types(self, project: str, names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """The same for accelerators."""

    def regions(self, project: str) -> tuple[Region, ...]:
        """All regions, with their quotas: the classic metrics, usage included."""

    def project_quotas(self, project: str) -> tuple[QuotaLine, ...]:
        """The quotas over all regions (GPUS_ALL_REGIONS, CPUS_ALL_REGIONS, …)."""

    def quota_limits(self, project: str, service: str, quota_id: str) -> tuple[QuotaLimit, ...]:
        """The limits of one quota of Cloud Quotas, the most specific first."""

    def capacity_advice(
        self, project: str, region: str, machine_types: Iterable[str], provisioning_model: str
    ) -> tuple[Advice, ...]:
        """For one machine of any of these types; SPOT and FLEX_START only."""

    def allowed(self, project: str, permissions: Iterable[str]) -> frozenset[str]:
        """Which of these permissions the asker has on a project."""

    def allowed_on_repository(self, repository: Repository, permissions: Iterable[str]) -> frozenset[str]:
        """Which of these permissions the asker has on a repository."""

    def allowed_on_account(self, project: str, email: str, permissions: Iterable[str]) -> frozenset[str]:
        """Which of these permissions the asker has on a service account."""

    def allowed_on_bucket(self, bucket: str, permissions: Iterable[str], project: str) -> frozenset[str]:
        """Which of these permissions the asker has on a bucket. ``project`` pays for the request."""

    def allowed_on_subnet(self, project: str, region: str, name: str, permissions: Iterable[str]) -> frozenset[str]:
        """Which of these permissions the asker has on a subnetwork."""

    def project_policy(self, project: str) -> tuple[Binding, ...]:
        """Who has which role on a project; nothing of what it inherits."""

    def repository_policy(self, repository: Repository) -> tuple[Binding, ...]:
        """Who has which role on a repository; nothing of what it inherits."""

    def bucket_policy(self, bucket: str, project: str) -> tuple[Binding, ...]:
        """Who has which role on a bucket; nothing of what it inherits. ``project`` pays for the request."""

    def account(self, project: str, email: str) -> Account | None:
        """A service account; None: there is none of that name."""
