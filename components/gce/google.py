"""Google's own APIs, as `components.gce.api.GoogleApi` asks them."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import catalog
from catalog.repositories import Repository
from components.gce.api import (
    Account,
    Advice,
    ApiError,
    Binding,
    Group,
    GroupError,
    Instance,
    ManagedInstance,
    Operation,
    QuotaLimit,
    QuotaLine,
    Region,
    ResizeRequest,
    Resource,
    ResourceKind,
    Serial,
)
from components.gce.rest import Rest, error_text, errors_of
from components.parallel import side_by_side

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

COMPUTE = "compute.googleapis.com"
QUOTAS = "cloudquotas.googleapis.com"
REGISTRY = "artifactregistry.googleapis.com"
PROJECTS = "cloudresourcemanager.googleapis.com"
IAM = "iam.googleapis.com"
STORAGE = "storage.googleapis.com"

_PAGE = 500  # the most that Compute Engine gives
_SPARE = 50
"""In how many more zones than the catalogue knows a machine type may be listed, without making a second page of it."""

_PERMISSIONS_AT_ONCE = 100  # testIamPermissions takes no more
_WAIT_S = 120.0  # how long an operation's `wait` holds its answer back

_SCOPED = {
    ResourceKind.DISK: "disks",
    ResourceKind.ADDRESS: "addresses",
    ResourceKind.RESERVATION: "reservations",
}


class Google:
    """See `GoogleApi`. ``credentials`` and ``endpoint``: see `Rest`."""

    def __init__(self, credentials: Credentials | None = None, *, rest: Rest | None = None) -> None:
        self._rest = rest or Rest(credentials)

    def principal(self) -> str:
        """See `GoogleApi`. A person's application default credentials don't hold an address."""
        email = getattr(self._rest.credentials(), "service_account_email", None)
        return str(email) if email and email != "default" else "the deployer"

    # -- before anything is tried

    def machine_types(self, project: str, names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """See `GoogleApi`. Asked in parts that fit a page each, side by side: pages come one after the other."""
        return self._zones(project, "machineTypes", _parts(names))

    def accelerator_types(self, project: str, names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """See `GoogleApi`."""
        wanted = tuple(names)
        return self._zones(project, "acceleratorTypes", (wanted,) if wanted else ())

    def _zones(self, project: str, kind: str, parts: Iterable[tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}

        def listed(names: tuple[str, ...]) -> list[tuple[str, str]]:
            # Regular expressions match the whole field: the API's description of `filter`.
            asked = {
                "filter": f"name eq '({'|'.join(names)})'",
                "fields": f"items/*/{kind}(name,zone),items/*/warning/code,nextPageToken,unreachables",
            }
            return [
                (str(one["name"]), _last(str(one["zone"])))
                for scope in self._aggregated(project, kind, asked)
                for one in scope.get(kind, ())
            ]

        for pairs in side_by_side([partial(listed, part) for part in parts]):
            for name, zone in pairs:
                found.setdefault(name, []).append(zone)
        return {name: tuple(sorted(set(zones))) for name, zones in found.items()}

    def regions(self, project: str) -> tuple[Region, ...]:
        """See `GoogleApi`. One listing costs one request, where asking each region costs one each."""
        fields = "items(name,zones,quotas(metric,limit,usage),quotaStatusWarning/code),nextPageToken"
        return tuple(
            Region(
                name=str(one["name"]),
                zones=tuple(_last(zone) for zone in one.get("zones", ())),
                quotas=None if one.get("quotaStatusWarning") else _quota_lines(one),
            )
            for page in self._rest.pages(COMPUTE, f"{_at(project)}/regions", {"fields": fields}, project=project)
            for one in page.get("items", ())
        )

    def project_quotas(self, project: str) -> tuple[QuotaLine, ...]:
        """See `GoogleApi`."""
        answer = self._rest.get(COMPUTE, _at(project), {"fields": "quotas(metric,limit,usage)"}, project=project)
        return _quota_lines(answer)

    def quota_limits(self, project: str, service: str, quota_id: str) -> tuple[QuotaLimit, ...]:
        """See `GoogleApi`. https://cloud.google.com/docs/quotas/reference/rest/v1/projects.locations.services.quotaInfos"""
        path = f"v1/projects/{project}/locations/global/services/{service}/quotaInfos/{quota_id}"
        answer = self._rest.get(QUOTAS, path, project=project)
        return tuple(
            QuotaLimit(
                limit=float(one.get("details", {}).get("value", math.nan)),
                dimensions=tuple(sorted((str(key), str(text)) for key, text in one.get("dimensions", {}).items())),
                locations=tuple(one.get("applicableLocations", ())),
            )
            for one in answer.get("dimensionsInfos", ())
        )

    def capacity_advice(
        self, project: str, region: str, machine_types: Iterable[str], provisioning_model: str
    ) -> tuple[Advice, ...]:
        """See `GoogleApi`."""
        body = {
            "size": 1,
            "instanceProperties": {"scheduling": {"provisioningModel": provisioning_model}},
            "instanceFlexibilityPolicy": {"instanceSelections": {"any": {"machineTypes": list(machine_types)}}},
            "distributionPolicy": {"targetShape": "ANY"},
        }
        path = f"{_at(project)}/regions/{region}/advice/capacity"
        answer = self._rest.ask("POST", COMPUTE, path, body=body, project=project)
        return tuple(
            Advice(
                score=float(one["scores"]["obtainability"]),
                zones=tuple(dict.fromkeys(_last(shard["zone"]) for shard in one.get("shards", ()) if "zone" in shard)),
            )
            for one in answer.get("recommendations", ())
            if "obtainability" in one.get("scores", {})
        )

    def allowed(self, project: str, permissions: Iterable[str]) -> frozenset[str]:
        """See `GoogleApi`."""
        return self._allowed(PROJECTS, f"v3/projects/{project}", permissions, project)

    def allowed_on_repository(self, repository: Repository, permissions: Iterable[str]) -> frozenset[str]:
        """See `GoogleApi`."""
        return self._allowed(REGISTRY, f"v1/{repository.id}", permissions, repository.project)

    def allowed_on_account(self, project: str, email: str, permissions: Iterable[str]) -> frozenset[str]:
        """See `GoogleApi`."""
        return self._allowed(IAM, f"v1/projects/{project}/serviceAccounts/{email}", permissions, project)

    def allowed_on_bucket(self, bucket: str, permissions: Iterable[str], project: str) -> frozenset[str]:
        """See `GoogleApi`."""
        asked = {"permissions": tuple(permissions)}
        answer = self._rest.get(STORAGE, f"storage/v1/b/{bucket}/iam/testPermissions", asked, project=project)
        return frozenset(answer.get("permissions", ()))

    def allowed_on_subnet(self, project: str, region: str, name: str, permissions: Iterable[str]) -> frozenset[str]:
        """See `GoogleApi`."""
        path = f"{_at(project)}/regions/{region}/subnetworks/{name}"
        return self._allowed(COMPUTE, path, permissions, project, verb="/testIamPermissions")

    def _allowed(
        self, host: str, path: str, permissions: Iterable[str], project: str, verb: str = ":testIamPermissions"
    ) -> frozenset[str]:
        wanted = tuple(permissions)
        found: set[str] = set()
        for first in range(0, len(wanted), _PERMISSIONS_AT_ONCE):
            body = {"permissions": list(wanted[first : first + _PERMISSIONS_AT_ONCE])}
            answer = self._rest.ask("POST", host, f"{path}{verb}", body=body, project=project)
            found.update(answer.get("permissions", ()))
        return frozenset(found)

    def project_policy(self, project: str) -> tuple[Binding, ...]:
        """See `GoogleApi`."""
        body = {"options": {"requestedPolicyVersion": 3}}  # 3: with conditions
        path = f"v3/projects/{project}:getIamPolicy"
        return _bindings(self._rest.ask("POST", PROJECTS, path, body=body, project=project))

    def repository_policy(self, repository: Repository) -> tuple[Binding, ...]:
        """See `GoogleApi`."""
        asked = {"options.requestedPolicyVersion": "3"}
        path = f"v1/{repository.id}:getIamPolicy"
        return _bindings(self._rest.get(REGISTRY, path, asked, project=repository.project))

    def bucket_policy(self, bucket: str, project: str) -> tuple[Binding, ...]:
        """See `GoogleApi`."""
        asked = {"optionsRequestedPolicyVersion": "3"}
        return _bindings(self._rest.get(STORAGE, f"storage/v1/b/{bucket}/iam", asked, project=project))

    def account(self, project: str, email: str) -> Account | None:
        """See `GoogleApi`."""
        try:
            answer = self._rest.get(IAM, f"v1/projects/{project}/serviceAccounts/{email}", project=project)
        except ApiError as error:
            if error.is_gone:
                return None
            raise
        return Account(str(answer["email"]), bool(answer.get("disabled", False)))

    # -- while an attempt is under way

    def groups(self, project: str, region: str, base_name: str) -> tuple[Group, ...]:
        """See `GoogleApi`."""
        asked = {"filter": f'baseInstanceName = "{base_name}"'}
        path = f"{_at(project)}/regions/{region}/instanceGroupManagers"
        return tuple(
            Group(project, region, str(one["name"]), base_name, int(one.get("targetSize", 0)))
            for page in self._rest.pages(COMPUTE, path, asked, project=project)
            for one in page.get("items", ())
            if one.get("baseInstanceName") == base_name
        )

    def group_errors(self, group: Group) -> tuple[GroupError, ...]:
        """See `GoogleApi`."""
        found = [
            GroupError(
                text=error_text(one["error"]),
                at=_time(one.get("timestamp")),
                instance=_last(str(one.get("instanceActionDetails", {}).get("instance", ""))),
            )
            for page in self._rest.pages(COMPUTE, f"{_group(group)}/listErrors", project=group.project)
            for one in page.get("items", ())
            if one.get("error")
        ]
        return tuple(sorted(found, key=lambda one: one.at or datetime.min.replace(tzinfo=UTC)))

    def managed_instances(self, group: Group) -> tuple[ManagedInstance, ...]:
        """See `GoogleApi`."""
        path = f"{_group(group)}/listManagedInstances"
        return tuple(
            ManagedInstance(
                name=str(one.get("name") or _last(str(one.get("instance", "")))),
                zone=_zone_of(str(one.get("instance", ""))),
                status=str(one.get("instanceStatus", "")),
                action=str(one.get("currentAction", "")),
                errors=errors_of(one.get("lastAttempt", {}).get("errors")),
            )
            for page in self._rest.pages(COMPUTE, path, project=group.project, method="POST")
            for one in page.get("managedInstances", ())
        )

    def resize_requests(self, group: Group) -> tuple[ResizeRequest, ...]:
        """See `GoogleApi`."""
        return tuple(
            ResizeRequest(
                name=str(one["name"]),
                state=str(one.get("state", "")),
                errors=errors_of(one.get("status", {}).get("error"))
                or errors_of(one.get("status", {}).get("lastAttempt", {}).get("error")),
            )
            for page in self._rest.pages(COMPUTE, f"{_group(group)}/resizeRequests", project=group.project)
            for one in page.get("items", ())
        )

    def instances(self, project: str, label: tuple[str, str] | None = None) -> tuple[Instance, ...]:
        """See `GoogleApi`."""
        wanted = "name,zone,status,machineType,creationTimestamp,labels,guestAccelerators,scheduling/provisioningModel"
        asked = {"fields": f"items/*/instances({wanted}),nextPageToken,unreachables"}
        if label:
            asked["filter"] = f'labels.{label[0]} = "{label[1]}"'
        return tuple(
            _instance(project, one)
            for scope in self._aggregated(project, "instances", asked)
            for one in scope.get("instances", ())
        )

    def operations(self, project: str, base_name: str) -> tuple[Operation, ...]:
        """See `GoogleApi`."""
        asked = {"filter": f"targetLink eq '.*/instances/{base_name}(-[a-z0-9]+)?'"}
        found = [
            _operation(project, one)
            for scope in self._aggregated(project, "operations", asked)
            for one in scope.get("operations", ())
        ]
        return tuple(sorted(found, key=lambda one: one.began or datetime.min.replace(tzinfo=UTC)))

    def serial(self, project: str, zone: str, name: str, start: int) -> Serial:
        """See `GoogleApi`."""
        answer = self._rest.get(
            COMPUTE,
            f"{_instance_path(project, zone, name)}/serialPort",
            {"port": "1", "start": str(start)},
            project=project,
        )
        text = str(answer.get("contents", ""))
        begin = int(answer.get("start", start))
        return Serial(text, begin, int(answer.get("next", begin + len(text.encode()))))

    def set_metadata(self, project: str, zone: str, name: str, key: str, value: str) -> None:
        """See `GoogleApi`. Where somebody set another attribute meanwhile (the fingerprint tells), again."""
        path = _instance_path(project, zone, name)
        for last in (False, False, True):
            there = self._rest.get(COMPUTE, path, {"fields": "metadata"}, project=project).get("metadata", {})
            items = [item for item in there.get("items", ()) if item.get("key") != key]
            body = {"fingerprint": there.get("fingerprint", ""), "items": [*items, {"key": key, "value": value}]}
            try:
                self._change("POST", f"{path}/setMetadata", project, body=body)
            except ApiError as error:
                if last or error.status != 412:
                    raise
            else:
                return

    # -- taking away

    def resize(self, group: Group, size: int) -> Operation:
        """See `GoogleApi`."""
        return self._change("POST", f"{_group(group)}/resize", group.project, {"size": str(size)})

    def cancel(self, group: Group, resize_request: str) -> Operation:
        """See `GoogleApi`."""
        return self._change("POST", f"{_group(group)}/resizeRequests/{resize_request}/cancel", group.project)

    def resources(self, project: str, region: str, label: tuple[str, str], base_name: str) -> tuple[Resource, ...]:
        """See `GoogleApi`. Five requests, side by side."""
        key, value = label

        def groups() -> list[Resource]:
            return [
                Resource(ResourceKind.GROUP, project, region, one.name)
                for one in self.groups(project, region, base_name)
            ]

        def machines() -> list[Resource]:
            return [
                Resource(ResourceKind.INSTANCE, project, one.zone, one.name, one.labels)
                for one in self.instances(project, label)
            ]

        def templates() -> list[Resource]:
            asked = {"filter": f'properties.labels.{key} = "{value}"'}
            path = f"{_at(project)}/regions/{region}/instanceTemplates"
            return [
                Resource(
                    ResourceKind.TEMPLATE,
                    project,
                    region,
                    str(one["name"]),
                    one.get("properties", {}).get("labels", {}),
                )
                for page in self._rest.pages(COMPUTE, path, asked, project=project)
                for one in page.get("items", ())
            ]

        def scoped(kind: ResourceKind) -> list[Resource]:
            labelled = kind is not ResourceKind.RESERVATION
            asked = {
                "filter": f'labels.{key} = "{value}"' if labelled else f"name eq '{base_name}(-.*)?'",
            }
            return [
                Resource(kind, project, _place_of(one), str(one["name"]), one.get("labels", {}))
                for scope in self._aggregated(project, _SCOPED[kind], asked)
                for one in scope.get(_SCOPED[kind], ())
            ]

        asked: list[Callable[[], list[Resource]]] = [
            groups,
            machines,
            templates,
            *(partial(scoped, kind) for kind in _SCOPED),
        ]
        order = list(ResourceKind)
        found = [one for part in side_by_side(asked) for one in part if _lies_in(one.location, region)]
        # Their own words for it, once more: a filter that the API ignored must not cost anybody a machine.
        mine = [
            one
            for one in found
            if one.labels.get(key) == value
            or one.kind is ResourceKind.GROUP
            or (one.kind is ResourceKind.RESERVATION and (one.name + "-").startswith(f"{base_name}-"))
        ]
        return tuple(sorted(mine, key=lambda one: (order.index(one.kind), one.location, one.name)))

    def delete(self, resource: Resource) -> Operation | None:
        """See `GoogleApi`."""
        try:
            return self._change("DELETE", _path(resource), resource.project)
        except ApiError as error:
            if error.is_gone:
                return None
            raise

    def wait(self, operation: Operation, seconds: float) -> Operation:
        """See `GoogleApi`."""
        place = _scope(operation.location)
        path = f"{_at(operation.project)}/{place}/operations/{operation.name}"
        if seconds <= 0:
            return _operation(operation.project, self._rest.get(COMPUTE, path, project=operation.project))
        answer = self._rest.ask(
            "POST", COMPUTE, f"{path}/wait", project=operation.project, read_s=min(seconds, _WAIT_S) + 10
        )
        return _operation(operation.project, answer)

    # -- how it asks

    def _aggregated(self, project: str, kind: str, asked: Mapping[str, str]) -> Iterable[Mapping[str, Any]]:
        """The scopes of an aggregated list. Raises ApiError where a zone or a region didn't answer: a list that lacks
        one must not be taken for a whole one."""
        path = f"{_at(project)}/aggregated/{kind}"
        for page in self._rest.pages(COMPUTE, path, asked, project=project, size=("maxResults", _PAGE)):
            silent = [_last(str(one)) for one in page.get("unreachables", ())]
            for name, scope in page.get("items", {}).items():
                if scope.get("warning", {}).get("code") == "UNREACHABLE":
                    silent.append(_last(name))
                yield scope
            if silent:
                raise ApiError(f"Compute Engine can't say what there is in {', '.join(silent)} now: unreachable", 503)

    def _change(
        self,
        method: str,
        path: str,
        project: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Operation:
        # With an id of its own, a request that is repeated is carried out once.
        asked = {**(params or {}), "requestId": str(uuid.uuid4())}
        return _operation(project, self._rest.ask(method, COMPUTE, path, asked, body, project=project))


def _parts(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The names in parts, each of which should fit a page."""
    parts: list[list[str]] = []
    left = 0
    for name in sorted(names):
        known = {
            zone for o in catalog.offers(surface="gce", machine_type=name) for r in o.regions for zone in o.zones(r)
        }
        items = len(known) + _SPARE
        if not parts or items > left:
            parts.append([])
            left = _PAGE
        parts[-1].append(name)
        left -= items
    return [tuple(part) for part in parts]


def _quota_lines(answer: Mapping[str, Any]) -> tuple[QuotaLine, ...]:
    return tuple(
        QuotaLine(str(one["metric"]), float(one.get("limit", 0)), float(one.get("usage", 0)))
        for one in answer.get("quotas", ())
        if one.get("metric")
    )


def _bindings(policy: Mapping[str, Any]) -> tuple[Binding, ...]:
    return tuple(
        Binding(str(one["role"]), tuple(one.get("members", ())), str(one.get("condition", {}).get("expression", "")))
        for one in policy.get("bindings", ())
    )


def _instance(project: str, one: Mapping[str, Any]) -> Instance:
    return Instance(
        project=project,
        zone=_last(str(one["zone"])),
        name=str(one["name"]),
        status=str(one.get("status", "")),
        machine_type=_last(str(one.get("machineType", ""))),
        created=_time(one.get("creationTimestamp")),
        labels=dict(one.get("labels", {})),
        accelerators=tuple(
            (_last(str(each.get("acceleratorType", ""))), int(each.get("acceleratorCount", 0)))
            for each in one.get("guestAccelerators", ())
        ),
        provisioning_model=str(one.get("scheduling", {}).get("provisioningModel", "STANDARD")),
    )


def _operation(project: str, one: Mapping[str, Any]) -> Operation:
    errors = errors_of(one.get("error"))
    if not errors and one.get("httpErrorMessage"):
        errors = (f"Error {one.get('httpErrorStatusCode', '')}: {one['httpErrorMessage']}",)
    return Operation(
        project=project,
        location=_place_of(one),
        name=str(one["name"]),
        kind=str(one.get("operationType", "")),
        target=_last(str(one.get("targetLink", ""))),
        done=one.get("status") == "DONE",
        began=_time(one.get("startTime") or one.get("insertTime")),
        ended=_time(one.get("endTime")),
        errors=errors,
    )


def _time(text: object) -> datetime | None:
    """RFC 3339, in UTC."""
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(UTC) if text else None


def _last(link: str) -> str:
    return link.rpartition("/")[2]


def _zone_of(link: str) -> str:
    found = re.search(r"/zones/([^/]+)/", link)
    return found[1] if found else ""


def _place_of(one: Mapping[str, Any]) -> str:
    return _last(str(one.get("zone") or one.get("region") or "global"))


def _scope(location: str) -> str:
    if location == "global":
        return "global"
    # us-central1 is a region, us-central1-a a zone of it
    return f"{'zones' if re.search(r'-[a-z]$', location) else 'regions'}/{location}"


def _lies_in(location: str, region: str) -> bool:
    return location == region or location.rpartition("-")[0] == region


def _path(resource: Resource) -> str:
    return f"{_at(resource.project)}/{_scope(resource.location)}/{resource.kind}/{resource.name}"


def _at(project: str) -> str:
    return f"compute/v1/projects/{project}"


def _group(group: Group) -> str:
    return f"{_at(group.project)}/regions/{group.region}/instanceGroupManagers/{group.name}"


def _instance_path(project: str, zone: str, name: str) -> str:
    return f"{_at(project)}/zones/{zone}/instances/{name}"
