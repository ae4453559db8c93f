"""What a watch sees of an attempt: the group's errors, resize requests, the machine, its serial console, its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from components.gce.names import base_name
from components.gce.watch import WAITING, Watch
from components.interface import ATTEMPT_LABEL, SurfaceError
from components.waiting import GONE, wait_for_capacity
from engine.simulated.clock import SimulatedClock
from placement.causes import Cause, Where, classify
from tests.gce.conftest import Asking
from tests.gce.google_server import GoogleServer, Refusal

P, R, ATTEMPT = "a-project", "us-central1", "20261121t142501-250-9f3a2b"
BASE = base_name(ATTEMPT)
NAME = f"{BASE}-x7k2"

GROUPS = "compute.regionInstanceGroupManagers.list"
ERRORS = "compute.regionInstanceGroupManagers.listErrors"
MANAGED = "compute.regionInstanceGroupManagers.listManagedInstances"
REQUESTS = "compute.regionInstanceGroupManagerResizeRequests.list"
MACHINES = "compute.instances.aggregatedList"
OPERATIONS = "compute.globalOperations.aggregatedList"
SERIAL = "compute.instances.getSerialPortOutput"

# https://github.com/kubernetes/autoscaler, cluster-autoscaler/cloudprovider/gce: the messages of its tests
SHORT = {
    "code": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
    "message": "A g2-standard-4 VM instance with 1 nvidia-l4 accelerator(s) is currently unavailable in the "
    "us-central1-c zone. Consider trying your request in the us-central1-b zone(s), which currently has capacity to "
    "accommodate your request.",
}
NO_QUOTA = {"code": "QUOTA_EXCEEDED", "message": "Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region us-central1."}


def group(size: int = 1) -> dict[str, Any]:
    """The attempt's group."""
    return {"name": "vm-group-1234567", "baseInstanceName": BASE, "targetSize": size}


def machine(status: str = "RUNNING", **more: Any) -> dict[str, Any]:
    """The attempt's machine."""
    return {
        "name": NAME,
        "zone": f"https://x/zones/{R}-b",
        "status": status,
        "machineType": f"https://x/zones/{R}-b/machineTypes/g2-standard-4",
        "labels": {ATTEMPT_LABEL: ATTEMPT},
        "creationTimestamp": "2026-11-21T06:26:00.000-08:00",
        **more,
    }


def failed(error: dict[str, str], at: str = "2026-11-21T14:26:00Z") -> dict[str, Any]:
    """An entry of a group's errors."""
    instance = f"https://x/projects/{P}/zones/{R}-c/instances/{NAME}"
    return {"error": error, "timestamp": at, "instanceActionDetails": {"action": "CREATING", "instance": instance}}


def operation(kind: str, **more: Any) -> dict[str, Any]:
    """Something that was done to the machine."""
    return {
        "name": f"op-{kind}",
        "operationType": kind,
        "status": "DONE",
        "zone": f"https://x/zones/{R}-b",
        "targetLink": f"https://x/projects/{P}/zones/{R}-b/instances/{NAME}",
        "startTime": "2026-11-21T14:30:00.000Z",
        "endTime": "2026-11-21T14:30:05.000Z",
        **more,
    }


def quiet(server: GoogleServer) -> None:
    """A group that has just been made."""
    server.answers.update(
        {GROUPS: [group()], ERRORS: [], MANAGED: [], REQUESTS: [], MACHINES: [], OPERATIONS: [], SERIAL: serial("")}
    )


def serial(text: str) -> Any:
    """A serial console that has this on it."""

    def answer(asked: Any) -> dict[str, str]:
        start = int(asked.query["start"])
        data = text.encode()
        return {"contents": data[start:].decode(), "start": str(start), "next": str(len(data))}

    return answer


def lines(*said: str) -> str:
    """As the guest agent writes what a startup script says."""
    prefix = "Nov 21 14:27:01 debian google_metadata_script_runner[612]: startup-script: "
    return "".join(f"{prefix}{line}\r\n" for line in said)


@pytest.fixture
def watch(asking: Asking) -> Watch:
    """Of a group that has just been made."""
    quiet(asking.server)
    return Watch(asking.google, P, R, ATTEMPT)


def test_at_first_nothing_is_seen(watch: Watch) -> None:
    seen = watch.seen()
    assert (seen.granted, seen.ready, seen.failures) == (False, False, ())


@pytest.mark.parametrize(
    ("status", "granted", "ready"),
    [("PROVISIONING", False, False), ("STAGING", True, False), ("RUNNING", True, True), ("STOPPING", False, False)],
)
def test_a_machine_is_granted_when_it_has_its_resources(
    asking: Asking, watch: Watch, status: str, granted: bool, ready: bool
) -> None:
    asking.server.answers[MACHINES] = [machine(status), machine(labels={ATTEMPT_LABEL: "another"})]
    seen = watch.seen()
    assert (seen.granted, seen.ready) == (granted, ready)
    assert watch.machine is not None
    assert (watch.machine.name, watch.machine.zone) == (NAME, f"{R}-b")


def test_a_stock_out_is_known_at_once_with_its_cause_and_hint(asking: Asking, watch: Watch) -> None:
    asking.server.answers[ERRORS] = [failed(SHORT)]
    asking.server.answers[MANAGED] = [
        {"name": NAME, "currentAction": "CREATING", "lastAttempt": {"errors": {"errors": [SHORT]}}}
    ]
    seen = watch.seen()
    assert len(seen.failures) == 1  # the group and the instance say the same
    found = classify(seen.failures[0], Where(surface="gce"))
    assert (found.cause, found.hint) == (Cause.CAPACITY, ("us-central1-b",))


def test_errors_come_in_the_order_of_time(asking: Asking, watch: Watch) -> None:
    asking.server.answers[ERRORS] = [
        failed(NO_QUOTA, "2026-11-21T14:28:00Z"),
        failed(SHORT, "2026-11-21T06:26:00-08:00"),
    ]
    assert [classify(text).cause for text in watch.seen().failures] == [Cause.CAPACITY, Cause.QUOTA]


def test_a_wait_ends_with_what_the_group_says(asking: Asking, watch: Watch) -> None:
    asking.server.answers[ERRORS] = [failed(NO_QUOTA)]
    with pytest.raises(SurfaceError, match="NVIDIA_L4_GPUS"):
        wait_for_capacity(
            watch.seen,
            where=Where(surface="gce"),
            clock=SimulatedClock(datetime(2026, 11, 21, tzinfo=UTC)),
            limit_s=60,
            poll_s=5,
            say=lambda _: None,
        )


def request(state: str, **status: Any) -> dict[str, Any]:
    """A resize request."""
    return {"name": "one-machine", "state": state, "resizeBy": 1, "status": status}


def test_a_flex_start_request_that_waits_is_no_failure(asking: Asking, watch: Watch) -> None:
    asking.server.answers[ERRORS] = [failed(SHORT)]
    asking.server.answers[REQUESTS] = [request("ACCEPTED", lastAttempt={"error": {"errors": [SHORT]}})]
    assert watch.seen().failures == (WAITING,)
    assert classify(WAITING).cause is None


def test_a_flex_start_request_that_fails_says_why(asking: Asking, watch: Watch) -> None:
    asking.server.answers[REQUESTS] = [request("FAILED", error={"errors": [SHORT]})]
    assert [classify(text).cause for text in watch.seen().failures] == [Cause.CAPACITY]


def test_while_it_waits_a_quota_is_a_failure(asking: Asking, watch: Watch) -> None:
    asking.server.answers[REQUESTS] = [request("ACCEPTED", lastAttempt={"error": {"errors": [NO_QUOTA]}})]
    assert [classify(text).cause for text in watch.seen().failures] == [Cause.QUOTA]


def test_a_single_machines_failure_is_its_operations(asking: Asking, watch: Watch) -> None:
    asking.server.answers[GROUPS] = []
    other = operation("insert", targetLink="https://x/instances/somebody-else", error={"errors": [NO_QUOTA]})
    asking.server.answers[OPERATIONS] = [other, operation("insert", error={"errors": [SHORT]})]
    assert [classify(text).cause for text in watch.seen().failures] == [Cause.CAPACITY]


def test_a_group_that_goes_between_two_requests_is_no_failure(asking: Asking, watch: Watch) -> None:
    for method in (ERRORS, MANAGED, REQUESTS):
        del asking.server.answers[method]
    assert watch.seen().failures == ()


def test_a_refused_look_is_told(asking: Asking, watch: Watch) -> None:
    from components.gce.api import ApiError

    asking.server.answers[GROUPS] = Refusal(
        403, "Required 'compute.instanceGroupManagers.list' permission", "forbidden"
    )
    with pytest.raises(ApiError, match="instanceGroupManagers"):
        watch.seen()


def test_the_serial_console_is_read_on_from_where_it_was(asking: Asking, watch: Watch) -> None:
    asking.server.answers[MACHINES] = [machine()]
    whole = "SeaBIOS\r\n" + lines("gpubench: phase boot", "hello", "gpubench: phase run abc123", "half a line")
    asking.server.answers[SERIAL] = serial(whole[:-12])
    found = watch.progress()
    assert (found.phase, found.run, found.gone) == ("run", "abc123", False)
    assert found.log == ("gpubench: phase boot", "hello", "gpubench: phase run abc123")
    asking.server.answers[SERIAL] = serial(whole + lines("gpubench: phase upload"))
    found = watch.progress()
    assert (found.phase, found.run) == ("upload", "")
    assert found.log == ("half a line", "gpubench: phase upload")
    starts = [int(one.query["start"]) for one in asking.server.calls(SERIAL)]
    assert starts == [0, len(whole) - 12]


def test_what_the_boot_script_says_went_wrong_keeps_its_cause_and_the_whole_text(asking: Asking, watch: Watch) -> None:
    asking.server.answers[MACHINES] = [machine()]
    denied = 'denied: Permission "artifactregistry.repositories.downloadArtifacts" denied'
    said = lines("gpubench: phase pull", f"gpubench: failed image (image-pull): {denied}", "  second line")
    asking.server.answers[SERIAL] = serial(said)
    assert not watch.progress().failures  # more of the text may be on its way
    asking.server.answers[SERIAL] = serial(said + lines("gpubench: phase end", "  not of it"))
    found = watch.progress()
    assert found.failures == (("", f"Cause: image (image-pull): {denied}\nsecond line"),)
    assert classify(found.failures[0][1]).cause is Cause.IMAGE
    assert found.phase == "end"


def test_a_text_that_was_cut_off_is_told_when_the_machine_is_gone(asking: Asking, watch: Watch) -> None:
    asking.server.answers[MACHINES] = [machine()]
    asking.server.answers[SERIAL] = serial(lines("gpubench: failed transient (no-driver): no driver"))
    assert not watch.progress().failures
    asking.server.answers[MACHINES] = []
    assert watch.progress().failures == (("", "Cause: transient (no-driver): no driver"),)


def test_each_failure_says_at_which_run_it_was(asking: Asking, watch: Watch) -> None:
    asking.server.answers[MACHINES] = [machine()]
    said = ("phase run a-1", "failed workload (exit-code): 1", "phase run a-2", "phase upload", "failed image (x): y")
    asking.server.answers[SERIAL] = serial(lines(*(f"gpubench: {one}" for one in said), "gpubench: phase end"))
    assert [run for run, _ in watch.progress().failures] == ["a-1", ""]


def test_what_others_write_to_the_console_is_no_marker(asking: Asking, watch: Watch) -> None:
    asking.server.answers[MACHINES] = [machine()]
    asking.server.answers[SERIAL] = serial(
        "kernel: gpubench: failed quota (X): not ours\r\n" + lines("gpubench: phase end")
    )
    assert not watch.progress().failures


def test_a_marker_in_the_middle_of_a_line_is_none(asking: Asking, watch: Watch) -> None:
    asking.server.answers[MACHINES] = [machine()]
    asking.server.answers[SERIAL] = serial(lines("gpubench: phase run a", "I saw gpubench: phase end"))
    assert watch.progress().phase == "run"


def test_output_that_was_thrown_away_is_left_out(asking: Asking, watch: Watch) -> None:
    asking.server.answers[MACHINES] = [machine()]
    asking.server.answers[SERIAL] = serial(lines("gpubench: phase boot", "half")[:-2])
    watch.progress()
    text = " of another line\r\n" + lines("gpubench: phase end")
    asking.server.answers[SERIAL] = {"contents": text, "start": "5000000", "next": str(5000000 + len(text))}
    assert watch.progress().log == ("gpubench: phase end",)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("compute.instances.preempted", Cause.INTERRUPTED), ("compute.instances.hostError", Cause.INTERRUPTED)],
)
def test_a_machine_that_the_cloud_took_was_interrupted(asking: Asking, watch: Watch, kind: str, cause: Cause) -> None:
    asking.server.answers[MACHINES] = [machine()]
    assert not watch.progress().gone
    asking.server.answers[MACHINES] = []
    asking.server.answers[OPERATIONS] = [operation("insert"), operation(kind), operation("delete")]
    found = watch.progress()
    assert found.gone
    assert classify(found.taken).cause is cause


def test_a_machine_that_ended_itself_was_not_taken(asking: Asking, watch: Watch) -> None:
    asking.server.answers[MACHINES] = [machine()]
    asking.server.answers[SERIAL] = serial(lines("gpubench: phase end"))
    watch.progress()
    asking.server.answers[MACHINES] = [machine("STOPPING")]
    del asking.server.answers[SERIAL]
    asking.server.answers[OPERATIONS] = [operation("insert"), operation("delete", status="RUNNING")]
    found = watch.progress()
    assert (found.gone, found.taken, found.phase) == (True, "", "end")


def test_a_machine_that_never_was_is_not_gone(watch: Watch) -> None:
    assert not watch.seen().gone
    assert not watch.progress().gone


FAILED_INSERT = operation("insert", error={"errors": [SHORT]})


@pytest.mark.parametrize(
    ("operations", "why"),
    [
        ([operation("insert"), operation("compute.instances.preempted")], "compute.instances.preempted: "),
        ([operation("insert"), operation("delete")], GONE),
        ([operation("delete")], GONE),
        ([FAILED_INSERT, operation("insert")], GONE),
        ([FAILED_INSERT], ""),
        ([FAILED_INSERT, operation("delete")], ""),
        ([operation("insert", status="RUNNING")], ""),
        ([operation("insert", targetLink="https://x/instances/somebody-else")], ""),
    ],
    ids=["taken", "ended", "its end alone", "at the second try", "never", "never, and cleared away", "yet", "another"],
)
def test_a_machine_that_went_before_the_first_look(
    asking: Asking, watch: Watch, operations: list[dict[str, Any]], why: str
) -> None:
    asking.server.answers[OPERATIONS] = operations
    seen = watch.seen()
    assert (seen.gone[: len(why)], bool(seen.gone)) == (why, bool(why))
    assert seen.asks
    assert watch.progress().gone is bool(why)


@pytest.mark.parametrize(
    "more",
    [
        {MACHINES: [machine("PROVISIONING")]},
        {REQUESTS: [{"name": "one-machine", "state": "ACCEPTED", "resizeBy": 1}]},
        {MANAGED: [{"name": NAME, "currentAction": "RECREATING"}]},
    ],
    ids=["a machine", "a queue", "another one"],
)
def test_a_machine_that_may_still_come_is_waited_for(asking: Asking, watch: Watch, more: dict[str, Any]) -> None:
    asking.server.answers.update({OPERATIONS: [operation("insert"), operation("delete")], **more})
    seen = watch.seen()
    assert (seen.gone, seen.asks) == ("", True)


def test_what_a_machine_left_proves_that_there_was_one(asking: Asking, watch: Watch) -> None:
    known = Watch(asking.google, P, R, ATTEMPT, came=True)
    assert known.seen().gone == GONE
    assert known.progress().gone
    asking.server.answers[MACHINES] = [machine("STOPPING")]
    assert Watch(asking.google, P, R, ATTEMPT, came=True).seen().gone == GONE
    asking.server.answers[MACHINES] = [machine()]
    assert not known.seen().gone
    assert not known.progress().gone


def test_a_group_of_no_machine_asks_for_none(asking: Asking, watch: Watch) -> None:
    asking.server.answers[GROUPS] = [group(size=0)]
    assert not watch.seen().asks
    asking.server.answers[REQUESTS] = [request("ACCEPTED")]
    assert watch.seen().asks
    asking.server.answers[GROUPS] = []
    assert not watch.seen().asks
