"""Sweeping: what an attempt left goes, its capacity first, and nothing else does; what it cost; whether it lives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catalog import Purchase, Surface
from components.gce.api import ApiError
from components.gce.names import base_name
from components.gce.sweep import alive, held, shrink, sweep
from components.interface import ATTEMPT_LABEL
from components.lost import Swept
from placement.ladder import Place, Rung
from placement.ledger import Attempt
from tests.gce.conftest import Asking
from tests.gce.google_server import Asked, GoogleServer, Refusal
from tests.gce.test_watch import machine, operation

P, R, ID = "a-project", "us-central1", "20261121t142501-250-9f3a2b"
OTHER = "20261121t150000-000-000000"
BEGUN = datetime(2026, 11, 21, 14, 25, 1, tzinfo=UTC)
L4 = Rung(Place(Surface.GCE, P, R), "l4", 1, ("g2-standard-4",), Purchase.ON_DEMAND)
ATTEMPT = Attempt(ID, "dev", "job", L4.id, "l4", R, BEGUN, surface="gce", project=P)


class Project:
    """A project with two attempts in it, behind the server: what is in use can't be deleted."""

    def __init__(self, server: GoogleServer) -> None:
        self.sizes = {"mine": 1, "other": 1}
        self.states = {"r1": "ACCEPTED", "r0": "SUCCEEDED"}
        self.there = {f"{kind}/{whose}" for kind in _LISTS for whose in ("mine", "other")}
        self.refused: dict[str, Refusal] = {}
        self.pending = 0
        for kind, (listing, deletion) in _LISTS.items():
            server.answers[listing] = self._lister(kind)
            server.answers[deletion] = self._deleter(kind)
        server.answers["compute.regionInstanceGroupManagers.resize"] = self._resize
        server.answers["compute.regionInstanceGroupManagerResizeRequests.list"] = lambda asked: {
            "items": [
                {"name": name, "state": state}
                for name, state in self.states.items()
                if asked.path["instanceGroupManager"] == "mine"
            ]
        }
        server.answers["compute.regionInstanceGroupManagerResizeRequests.cancel"] = self._cancel
        for scope in ("region", "zone"):
            server.answers[f"compute.{scope}Operations.wait"] = self._wait
        server.answers["compute.globalOperations.aggregatedList"] = []

    def _lister(self, kind: str) -> Callable[[Asked], list[Any]]:
        return lambda _: [
            _made(kind, one.partition("/")[2], self) for one in sorted(self.there) if one.startswith(f"{kind}/")
        ]

    def _deleter(self, kind: str) -> Callable[[Asked], Any]:
        def answer(asked: Asked) -> Any:
            whose = next(value for key, value in asked.path.items() if key not in ("project", "region", "zone"))
            whose = "mine" if ID in whose or whose == "mine" else "other"
            name = f"{kind}/{whose}"
            if name in self.refused:
                return self.refused[name]
            if name not in self.there:
                return Refusal(404, f"The resource '{name}' was not found", "notFound")
            if kind in ("template", "disk") and {f"group/{whose}", f"instance/{whose}"} & self.there:
                return Refusal(
                    400, f"The {kind} resource '{name}' is already being used", "resourceInUseByAnotherResource"
                )
            self.there.discard(name)
            if kind == "group":
                self.there.discard(f"instance/{whose}")
            return self._operation("delete")

        return answer

    def _resize(self, asked: Asked) -> Any:
        self.sizes[asked.path["instanceGroupManager"]] = int(asked.query["size"])
        return self._operation("resize")

    def _cancel(self, asked: Asked) -> Any:
        self.states[asked.path["resizeRequest"]] = "CANCELLED"
        return self._operation("cancel")

    def _operation(self, kind: str) -> dict[str, Any]:
        self.pending = 2
        return {"name": f"op-{kind}", "operationType": kind, "status": "RUNNING", "region": f"https://x/regions/{R}"}

    def _wait(self, _: Asked) -> dict[str, Any]:
        self.pending -= 1
        return {"name": "op", "operationType": "delete", "status": "RUNNING" if self.pending > 0 else "DONE"}


_LISTS = {
    "group": ("compute.regionInstanceGroupManagers.list", "compute.regionInstanceGroupManagers.delete"),
    "instance": ("compute.instances.aggregatedList", "compute.instances.delete"),
    "template": ("compute.regionInstanceTemplates.list", "compute.regionInstanceTemplates.delete"),
    "reservation": ("compute.reservations.aggregatedList", "compute.reservations.delete"),
    "disk": ("compute.disks.aggregatedList", "compute.disks.delete"),
    "address": ("compute.addresses.aggregatedList", "compute.addresses.delete"),
}


def _made(kind: str, whose: str, project: Project) -> dict[str, Any]:
    attempt = ID if whose == "mine" else OTHER
    name = f"{base_name(attempt)}-{kind}"
    labels, zone, region = {ATTEMPT_LABEL: attempt}, f"https://x/zones/{R}-a", f"https://x/regions/{R}"
    return {
        "group": {"name": whose, "baseInstanceName": base_name(attempt), "targetSize": project.sizes[whose]},
        "instance": {**machine(), "name": name, "labels": labels},
        "template": {"name": name, "properties": {"labels": labels}},
        "reservation": {"name": name, "zone": zone},
        "disk": {"name": name, "zone": zone, "labels": labels},
        "address": {"name": name, "region": region, "labels": labels},
    }[kind]


@pytest.fixture
def project(asking: Asking) -> Project:
    """Two attempts' resources."""
    return Project(asking.server)


def test_all_that_an_attempt_left_goes_and_nothing_of_anothers(asking: Asking, project: Project) -> None:
    swept = sweep(asking.google, ATTEMPT)
    assert project.there == {f"{kind}/other" for kind in _LISTS}
    assert project.sizes == {"mine": 0, "other": 1}
    assert {str(one.kind) for one in swept.taken} >= {"instanceGroupManagers", "disks", "addresses", "reservations"}
    assert swept.left == ()


def test_capacity_goes_first(asking: Asking, project: Project) -> None:
    sweep(asking.google, ATTEMPT)
    order = [
        one.id.partition(".")[2] for one in asking.server.asked if one.id.endswith((".resize", ".cancel", ".delete"))
    ]
    assert order[0] == "regionInstanceGroupManagers.resize"
    assert order[1] == "regionInstanceGroupManagerResizeRequests.cancel"
    assert set(order[2:4]) == {"regionInstanceGroupManagers.delete", "instances.delete"}
    assert project.states == {"r1": "CANCELLED", "r0": "SUCCEEDED"}


def test_sweeping_twice_does_nothing_more(asking: Asking, project: Project) -> None:
    sweep(asking.google, ATTEMPT)
    before = len(asking.server.asked)
    assert sweep(asking.google, ATTEMPT) == Swept()
    assert not [one for one in asking.server.asked[before:] if not one.id.lower().endswith("list")]
    assert project.there == {f"{kind}/other" for kind in _LISTS}


def test_a_filter_that_is_ignored_costs_nobody_a_machine(
    asking: Asking, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tests.gce.google_server as server

    monkeypatch.setattr(server, "_fits", lambda *_: True)
    sweep(asking.google, ATTEMPT)
    assert project.there == {f"{kind}/other" for kind in _LISTS}


def test_what_cannot_be_deleted_is_told_and_the_rest_goes(asking: Asking, project: Project) -> None:
    project.refused["disk/mine"] = Refusal(403, "Required 'compute.disks.delete' permission", "forbidden")
    swept = sweep(asking.google, ATTEMPT)
    assert [(what.partition("/")[0], "compute.disks.delete" in why) for what, why in swept.left] == [("disks", True)]
    assert "address/mine" not in project.there
    assert project.sizes["mine"] == 0


def test_a_group_that_may_not_be_shrunk_is_an_error(asking: Asking, project: Project) -> None:
    asking.server.answers["compute.regionInstanceGroupManagers.resize"] = Refusal(
        403, "Required permission", "forbidden"
    )
    with pytest.raises(ApiError, match="Required permission"):
        sweep(asking.google, ATTEMPT)
    assert "group/mine" in project.there


def test_the_wait_is_bounded(asking: Asking, project: Project) -> None:
    never = {"name": "op", "operationType": "delete", "status": "RUNNING", "region": f"https://x/regions/{R}"}
    asking.server.answers["compute.regionOperations.wait"] = never
    times = iter(range(1000))
    swept = sweep(asking.google, ATTEMPT, wait_s=30, clock=lambda: float(next(times)))
    assert any("isn't done yet" in why for _, why in swept.left)
    assert project.sizes["mine"] == 0


def test_shrinking_takes_nothing_away(asking: Asking, project: Project) -> None:
    shrink(asking.google, str(ATTEMPT.project), str(ATTEMPT.region), ATTEMPT.id)
    assert project.sizes == {"mine": 0, "other": 1}
    assert project.states["r1"] == "CANCELLED"
    assert {f"{kind}/mine" for kind in _LISTS} <= project.there


def test_an_attempt_without_a_place_cannot_be_swept(asking: Asking) -> None:
    with pytest.raises(ApiError, match="no project or no region"):
        sweep(asking.google, Attempt(ID, "dev", "job", "r", "l4", None, BEGUN, surface="gce"))


def test_it_lives_while_it_has_a_machine_or_waits_for_one(asking: Asking, project: Project) -> None:
    assert alive(asking.google, ATTEMPT)
    project.there.discard("instance/mine")
    assert alive(asking.google, ATTEMPT)  # its resize request waits
    project.states["r1"] = "FAILED"
    assert alive(asking.google, ATTEMPT)  # its group still asks
    failed = operation("insert", error={"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED"}]})
    asking.server.answers["compute.globalOperations.aggregatedList"] = [failed]
    assert alive(asking.google, ATTEMPT)
    asking.server.answers["compute.globalOperations.aggregatedList"] = [
        failed,
        operation("insert"),
        operation("delete"),
    ]
    assert not alive(asking.google, ATTEMPT)  # it had one, which has ended
    asking.server.answers["compute.globalOperations.aggregatedList"] = []
    project.sizes["mine"] = 0
    assert not alive(asking.google, ATTEMPT)
    project.there.discard("group/mine")
    assert not alive(asking.google, ATTEMPT)


def test_what_it_cost_is_the_catalogues_price_for_its_time(asking: Asking, project: Project) -> None:
    now = datetime(2026, 11, 21, 14, 26, tzinfo=UTC) + timedelta(hours=2)  # the machine was made at 14:26 UTC
    found = held(asking.google, ATTEMPT, L4, now)
    assert L4.usd_per_hour is not None
    assert found.usd == pytest.approx(2 * L4.usd_per_hour.usd_per_hour_max)
    assert found.since == datetime(2026, 11, 21, 14, 26, tzinfo=UTC)
    assert (found.zone, found.machine_type) == (f"{R}-b", "g2-standard-4")


def test_a_machine_that_is_gone_is_known_by_its_operations(asking: Asking, project: Project) -> None:
    project.there.discard("instance/mine")
    asking.server.answers["compute.globalOperations.aggregatedList"] = [
        operation(
            "insert", error={"errors": [{"code": "ZONE_RESOURCE_POOL_EXHAUSTED"}]}, startTime="2026-11-21T14:00:00Z"
        ),
        operation("insert", startTime="2026-11-21T14:30:00Z"),
        operation("compute.instances.preempted", startTime="2026-11-21T15:00:00Z", endTime="2026-11-21T15:00:00Z"),
        operation("delete", startTime="2026-11-21T15:01:00Z", endTime="2026-11-21T15:10:00Z"),
    ]
    found = held(asking.google, ATTEMPT, L4, datetime(2026, 11, 22, tzinfo=UTC))
    assert L4.usd_per_hour is not None
    assert found.usd == pytest.approx(0.5 * L4.usd_per_hour.usd_per_hour_max)
    assert found.zone == f"{R}-b"


def test_an_attempt_that_got_nothing_cost_nothing(asking: Asking, project: Project) -> None:
    project.there.discard("instance/mine")
    assert held(asking.google, ATTEMPT, L4, BEGUN).usd == 0
    assert held(asking.google, ATTEMPT, L4, BEGUN).since is None
