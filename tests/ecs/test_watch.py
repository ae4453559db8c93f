"""What a watch sees of an attempt: a group's activities, its machine, its task, the uploader's log, its end."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.ecs.api import Refusal as TaskRefusal
from components.ecs.api import Task
from components.ecs.names import base_name
from components.ecs.watch import JOINS_S, Watch
from components.interface import ATTEMPT_LABEL, SurfaceError
from components.waiting import GONE, wait_for_capacity
from engine.simulated.clock import SimulatedClock
from placement.causes import Cause, Where, classify
from tests.ecs.aws_server import Asked, AwsServer, Refusal
from tests.ecs.conftest import Asking

ACCOUNT, R, ATTEMPT = "123456789012", "us-east-1", "20261121t142501-250-9f3a2b"
BASE = base_name(ATTEMPT)
TASK = f"arn:aws:ecs:{R}:{ACCOUNT}:task/{BASE}/0123456789abcdef"
JOINED = f"arn:aws:ecs:{R}:{ACCOUNT}:container-instance/{BASE}/c1"
T0 = datetime(2026, 11, 21, 14, 26, tzinfo=UTC)
WHERE = Where("ecs", ACCOUNT, R, tier="a10g", machine_types=("g5.xlarge",), purchase="on-demand")

ACTIVITIES = "autoscaling.DescribeScalingActivities"
GROUPS = "autoscaling.DescribeAutoScalingGroups"
MACHINES = "ec2.DescribeInstances"
JOINS = "ecs.ListContainerInstances"
JOINED_ONES = "ecs.DescribeContainerInstances"
TASKS = "ecs.ListTasks"
TASK_ONES = "ecs.DescribeTasks"
LOG = "logs.GetLogEvents"

# EC2's own words: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html, as Auto Scaling wraps
# them: https://docs.aws.amazon.com/autoscaling/ec2/userguide/CHAP_Troubleshooting.html
NO_VCPU = (
    "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your "
    "current vCPU limit of 0 allows for the instance bucket that the specified instance type belongs to. Please visit "
    "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit. Launching EC2 instance "
    "failed."
)
SOLD_OUT = (
    "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient "
    "g5.xlarge capacity in the Availability Zone you requested (us-east-1a). Our system will be working on "
    "provisioning additional capacity. You can currently get g5.xlarge capacity by not specifying an Availability Zone "
    "in your request or choosing us-east-1b, us-east-1d. Launching EC2 instance failed."
)


def group(desired: int = 1, **more: Any) -> dict[str, Any]:
    """The attempt's group, or none."""
    one = {
        "AutoScalingGroupName": BASE,
        "MinSize": 0,
        "MaxSize": 1,
        "DesiredCapacity": desired,
        "DefaultCooldown": 300,
        "AvailabilityZones": ["us-east-1a"],
        "HealthCheckType": "EC2",
        "CreatedTime": T0,
        **more,
    }
    return {"AutoScalingGroups": [one]}


def activity(number: int, status: str = "Failed", message: str = "", **more: Any) -> dict[str, Any]:
    """Of a group: what it tried."""
    return {
        "ActivityId": f"a-{number}",
        "AutoScalingGroupName": BASE,
        "Description": "Launching a new EC2 instance" + (f".  Status Reason: {message}" if message else ""),
        "Cause": "At 2026-11-21T14:26:00Z an instance was started in response to a difference.",
        "StartTime": T0 + timedelta(minutes=number),
        "StatusCode": status,
        **({"StatusMessage": message} if message else {}),
        **more,
    }


def machine(state: str = "running", code: str = "", reason: str = "", **more: Any) -> dict[str, Any]:
    """EC2's listing of the attempt's machine."""
    one = {
        "InstanceId": "i-0abc",
        "State": {"Name": state},
        "InstanceType": "g5.xlarge",
        "LaunchTime": T0,
        "Placement": {"AvailabilityZone": "us-east-1a", "AvailabilityZoneId": "use1-az4"},
        "CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 2},
        "Tags": [{"Key": ATTEMPT_LABEL, "Value": ATTEMPT}],
        **({"StateReason": {"Code": code, "Message": reason}} if code else {}),
        **more,
    }
    return {"Reservations": [{"Instances": [one]}]}


def joined(gpus: int = 1, status: str = "ACTIVE", connected: bool = True) -> dict[str, Any]:
    """ECS's listing of it."""
    resources = [{"name": "GPU", "type": "STRINGSET", "stringSetValue": [f"GPU-{n}" for n in range(gpus)]}]
    one = {
        "containerInstanceArn": JOINED,
        "ec2InstanceId": "i-0abc",
        "status": status,
        "agentConnected": connected,
        "registeredResources": resources if gpus else [],
    }
    return {"containerInstances": [one]}


def task(status: str = "RUNNING", **more: Any) -> dict[str, Any]:
    """The run's task."""
    began = {} if status in ("PROVISIONING", "PENDING") else {"startedAt": T0}
    one = {
        "taskArn": TASK,
        "clusterArn": f"arn:aws:ecs:{R}:{ACCOUNT}:cluster/{BASE}",
        "lastStatus": status,
        "desiredStatus": "STOPPED" if status == "STOPPED" else "RUNNING",
        "startedBy": ATTEMPT,
        "createdAt": T0,
        "availabilityZone": "us-east-1a",
        **began,
        **more,
    }
    return {"tasks": [{key: value for key, value in one.items() if value is not None}]}


def log(server: AwsServer, *lines: str) -> None:
    """What the uploader has written."""

    def page(asked: Asked) -> dict[str, Any]:
        assert asked.params["logStreamName"] == f"{BASE}/uploader/0123456789abcdef"
        begin = int(asked.params.get("nextToken", "f/0").partition("/")[2])
        # CloudWatch gives the same token again at the end.
        return {"events": [{"message": line} for line in lines[begin:]], "nextForwardToken": f"f/{len(lines)}"}

    server.answers[LOG] = page


def quiet(server: AwsServer) -> None:
    """A group that has just been made."""
    server.answers.update(
        {
            GROUPS: group(),
            ACTIVITIES: {"Activities": []},
            MACHINES: {"Reservations": []},
            JOINS: {"containerInstanceArns": []},
            TASKS: {"taskArns": []},
            LOG: Refusal("ResourceNotFoundException", "The specified log stream does not exist."),
        }
    )


def no_group(server: AwsServer) -> None:
    """Fargate, or a group that is gone."""
    quiet(server)
    server.answers[GROUPS] = {"AutoScalingGroups": []}


@pytest.fixture
def watch(asking: Asking) -> Watch:
    """Of a group that has just been made; it is five minutes later."""
    quiet(asking.server)
    return Watch(asking.amazon, ACCOUNT, R, ATTEMPT, log_group="/gpubench/s", now=lambda: T0 + timedelta(minutes=5))


def test_at_first_nothing_is_seen_and_a_machine_is_asked_for(watch: Watch) -> None:
    seen = watch.seen()
    assert (seen.granted, seen.ready, seen.failures, seen.gone, seen.asks) == (False, False, (), "", True)


def corpus() -> list[tuple[str, str]]:
    """Real messages of groups that got no machine, and what they are."""
    known = Path(__file__).parent.parent / "placement" / "corpus" / "known"
    texts = [file.read_text(encoding="utf-8") for file in sorted(known.glob("*.toml"))]
    messages = [message for text in texts for message in tomllib.loads(text)["message"]]
    return [(one["text"].strip(), one["cause"]) for one in messages if "Launching EC2 instance failed" in one["text"]]


CORPUS = corpus()


@pytest.mark.parametrize(("text", "cause"), [*CORPUS, (NO_VCPU, "quota"), (SOLD_OUT, "capacity")])
def test_a_silent_groups_failure_is_known_at_its_first_activity(
    asking: Asking, watch: Watch, text: str, cause: str
) -> None:
    assert len(CORPUS) >= 5
    asking.server.answers[ACTIVITIES] = {"Activities": [activity(1, message=text)]}
    (failure,) = watch.seen().failures
    assert failure.strip() == text and classify(failure, WHERE).cause == cause


def test_incident_4_ends_the_wait_with_the_quota_and_its_mend_at_the_first_look(asking: Asking, watch: Watch) -> None:
    asking.server.answers[ACTIVITIES] = {"Activities": [activity(1, message=NO_VCPU)]}
    clock = SimulatedClock(T0)
    with pytest.raises(SurfaceError) as said:
        wait_for_capacity(watch.seen, where=WHERE, clock=clock, limit_s=3600, poll_s=10, say=lambda _: None)
    failure = classify(str(said.value), WHERE)
    assert clock.now() == T0 and failure.cause is Cause.QUOTA
    assert "L-DB2E81BA" in failure.mend and "--desired-value 4 --region us-east-1" in failure.mend


def test_a_shortages_hint_is_kept_and_the_same_text_told_once(asking: Asking, watch: Watch) -> None:
    asking.server.answers[ACTIVITIES] = {"Activities": [activity(2, message=SOLD_OUT), activity(1, message=SOLD_OUT)]}
    (failure,) = watch.seen().failures
    assert classify(failure, WHERE).hint == ("us-east-1b", "us-east-1d")


def test_what_failed_before_the_last_machine_came_says_nothing_any_more(asking: Asking, watch: Watch) -> None:
    made = activity(2, "Successful", Description="Launching a new EC2 instance: i-0abc")
    asking.server.answers.update(
        {ACTIVITIES: {"Activities": [made, activity(1, message=SOLD_OUT)]}, MACHINES: machine("pending")}
    )
    seen = watch.seen()
    assert seen.granted and not seen.ready and seen.failures == ()


@pytest.mark.parametrize(
    ("there", "ready"),
    [
        (joined(), True),
        (joined(connected=False), False),
        (joined(status="REGISTERING"), False),
        (joined(status="DRAINING"), False),
    ],
)
def test_a_machine_is_ready_when_it_has_joined_with_its_gpu(
    asking: Asking, watch: Watch, there: dict[str, Any], ready: bool
) -> None:
    asking.server.answers.update({MACHINES: machine(), JOINS: {"containerInstanceArns": [JOINED]}, JOINED_ONES: there})
    seen = watch.seen()
    assert (seen.granted, seen.ready, seen.failures) == (True, ready, ())
    assert watch.machine is not None and (watch.machine.zone, watch.machine.vcpu) == ("use1-az4", 4)


def test_a_machine_that_joins_without_a_gpu_is_told(asking: Asking, watch: Watch) -> None:
    asking.server.answers.update(
        {MACHINES: machine(), JOINS: {"containerInstanceArns": [JOINED]}, JOINED_ONES: joined(gpus=0)}
    )
    failure = classify(watch.seen().failures[0], WHERE)
    assert failure.cause is Cause.BAD_REQUEST and "ECS_ENABLE_GPU_SUPPORT" in failure.mend


@pytest.mark.parametrize(("minutes", "told"), [(JOINS_S / 60 - 0.1, False), (JOINS_S / 60, True)])
def test_a_machine_that_never_joins_is_told_in_the_end(asking: Asking, minutes: float, told: bool) -> None:
    quiet(asking.server)
    asking.server.answers[MACHINES] = machine()
    watch = Watch(asking.amazon, ACCOUNT, R, ATTEMPT, now=lambda: T0 + timedelta(minutes=minutes))
    failures = watch.seen().failures
    assert bool(failures) is told
    if told:
        failure = classify(failures[0], WHERE)
        assert (failure.cause, failure.code) == (Cause.BAD_REQUEST, "not-registered")
        assert "get-console-output --latest --instance-id i-0abc --region us-east-1" in failure.mend


def test_a_machine_that_ends_at_its_launch_says_why(asking: Asking, watch: Watch) -> None:
    reason = "Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request"
    asking.server.answers[MACHINES] = machine("terminated", "Server.InsufficientInstanceCapacity", reason)
    seen = watch.seen()
    assert seen.failures == (f"{reason} (i-0abc, use1-az4)",) and not seen.granted
    assert classify(seen.failures[0], WHERE).cause is Cause.CAPACITY
    assert seen.asks and not seen.gone  # the group makes another one


def test_a_machine_that_was_taken_back_is_gone_once_nothing_asks_for_another(asking: Asking, watch: Watch) -> None:
    reason = "Server.SpotInstanceTermination: Spot instance termination"
    asking.server.answers.update(
        {GROUPS: group(0), MACHINES: machine("terminated", "Server.SpotInstanceTermination", reason)}
    )
    seen = watch.seen()
    assert not seen.asks and classify(seen.gone, WHERE).cause is Cause.INTERRUPTED


def test_a_machine_that_ec2_has_forgotten_is_known_by_its_groups_activities(asking: Asking, watch: Watch) -> None:
    made = activity(1, "Successful", Description="Launching a new EC2 instance: i-0abc")
    missed = activity(
        9,
        "Successful",
        Description="Terminating EC2 instance: i-0abc",
        Cause="At 2026-11-21T14:35:00Z an instance was taken out of service in response to an EC2 health check "
        "indicating it has been terminated or stopped.",
    )
    asking.server.answers.update({GROUPS: group(0), ACTIVITIES: {"Activities": [missed, made]}})
    assert "taken out of service" in watch.seen().gone
    asking.server.answers[ACTIVITIES] = {"Activities": [made]}
    assert watch.seen().gone == GONE


def test_resource_gpu_without_a_machine_is_what_its_group_failed_of(asking: Asking, watch: Watch) -> None:
    refusals = (TaskRefusal("RESOURCE:GPU"),)
    assert "has no machine yet" in watch.why_refused(refusals)
    asking.server.answers[ACTIVITIES] = {"Activities": [activity(1, message=NO_VCPU)]}
    assert classify(watch.why_refused(refusals), WHERE).cause is Cause.QUOTA


def test_resource_gpu_of_a_machine_that_is_there_stays_what_it_is(asking: Asking, watch: Watch) -> None:
    asking.server.answers.update(
        {
            JOINS: {"containerInstanceArns": [JOINED]},
            JOINED_ONES: joined(),
            ACTIVITIES: {"Activities": [activity(1, message=NO_VCPU)]},
        }
    )
    assert watch.why_refused((TaskRefusal("RESOURCE:GPU"),)) == "RESOURCE:GPU"
    agent = watch.why_refused((TaskRefusal("AGENT"),))
    assert classify(agent, WHERE).cause is Cause.TRANSIENT


def test_on_fargate_the_task_asks_for_its_machine(asking: Asking, watch: Watch) -> None:
    no_group(asking.server)
    answers = asking.server.answers
    answers[TASKS] = lambda asked: {"taskArns": [TASK] if asked.params["desiredStatus"] == "RUNNING" else []}
    for status, granted, ready in (("PROVISIONING", False, False), ("PENDING", True, False), ("RUNNING", True, True)):
        answers[TASK_ONES] = task(status)
        seen = watch.seen()
        assert (seen.granted, seen.ready, seen.asks, seen.gone) == (granted, ready, True, "")
    answers[TASK_ONES] = task("STOPPED", stopCode="SpotInterruption", stoppedReason="Your Spot Task was interrupted.")
    seen = watch.seen()
    assert not seen.asks and classify(seen.gone, WHERE).cause is Cause.INTERRUPTED


def test_a_task_that_was_just_started_is_not_taken_for_the_run_before(asking: Asking) -> None:
    no_group(asking.server)
    before = task("STOPPED", stopCode="EssentialContainerExited", stoppedReason="Essential container in task exited")

    def listed(asked: Asked) -> dict[str, Any]:
        return before if TASK in asked.params["tasks"] else {"tasks": [], "failures": [{"reason": "MISSING"}]}

    asking.server.answers.update({TASKS: {"taskArns": [TASK]}, TASK_ONES: listed})
    now = [T0 + timedelta(minutes=5)]
    watch = Watch(asking.amazon, ACCOUNT, R, ATTEMPT, came=True, now=lambda: now[0])
    assert "Essential container" in watch.seen().gone
    watch.follow(Task(R, f"{TASK}-2", BASE, "PROVISIONING", created=now[0]))
    seen = watch.seen()
    assert (seen.gone, seen.asks, seen.granted) == ("", True, False)
    assert not watch.progress(f"{TASK}-2").gone
    now[0] += timedelta(minutes=2)
    assert watch.seen().gone == GONE


def test_a_task_on_fargate_that_never_began_says_why(asking: Asking, watch: Watch) -> None:
    no_group(asking.server)
    reason = (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
        f"{ACCOUNT}.dkr.ecr.{R}.amazonaws.com/bench@sha256:0: not found"
    )
    container = {"name": "benchmark", "lastStatus": "STOPPED", "reason": reason}
    failed = task(
        "STOPPED", startedAt=None, stopCode="TaskFailedToStart", stoppedReason="Task failed", containers=[container]
    )
    asking.server.answers.update({TASKS: {"taskArns": [TASK]}, TASK_ONES: failed})
    (failure,) = watch.seen().failures
    assert classify(failure, WHERE).cause is Cause.IMAGE
    assert watch.progress(TASK).failures == (("", failure),)


def test_a_run_is_followed_by_the_uploaders_markers(asking: Asking, watch: Watch) -> None:
    asking.server.answers[TASK_ONES] = task("PENDING")
    first = watch.progress(TASK)
    assert (first.status, first.phase, first.log, first.gone) == ("PENDING", "", (), False)
    asking.server.answers.update({TASK_ONES: task(), MACHINES: machine()})
    said = ["gpubench: phase run r1", "uploaded 3 objects"]
    log(asking.server, *said)
    second = watch.progress(TASK)
    assert (second.phase, second.run, second.log) == ("run", "r1", tuple(said))
    failed = ["gpubench: failed permission (upload): AccessDenied", "  Mend: let it write"]
    log(asking.server, *said, *failed)
    third = watch.progress(TASK)
    assert third.log == tuple(failed) and third.failures == ()  # its text may go on
    ended = [
        {"name": "benchmark", "lastStatus": "STOPPED", "exitCode": 137, "reason": "OutOfMemoryError: killed"},
        {"name": "uploader", "lastStatus": "STOPPED", "exitCode": 4},
    ]
    asking.server.answers[TASK_ONES] = task(
        "STOPPED",
        stopCode="EssentialContainerExited",
        stoppedReason="Essential container in task exited",
        containers=ended,
    )
    last = watch.progress(TASK)
    assert last.gone and not last.taken and last.stop_code == "EssentialContainerExited"
    assert last.exit_codes == {"benchmark": 137, "uploader": 4}
    assert last.failures == (("r1", "Cause: permission (upload): AccessDenied\nMend: let it write"),)


def test_a_task_whose_machine_has_ended_is_gone_though_ecs_says_running(asking: Asking, watch: Watch) -> None:
    asking.server.answers.update(
        {
            TASK_ONES: task(containerInstanceArn=JOINED),
            MACHINES: machine(
                "terminated", "Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot termination"
            ),
        }
    )
    seen = watch.progress(TASK)
    assert seen.status == "RUNNING" and seen.gone and classify(seen.taken, WHERE).cause is Cause.INTERRUPTED
    asking.server.answers[MACHINES] = machine()
    assert not watch.progress(TASK).gone


def test_a_run_that_ended_by_itself_was_taken_by_nobody_though_its_machine_is_ended_then(
    asking: Asking, watch: Watch
) -> None:
    ended = task("STOPPED", stopCode="EssentialContainerExited", stoppedReason="Essential container in task exited")
    ended["tasks"][0]["containerInstanceArn"] = JOINED
    terminated = machine("terminated", "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated")
    asking.server.answers.update({TASK_ONES: ended, MACHINES: terminated})
    seen = watch.progress(TASK)
    assert seen.gone and seen.taken == ""


def test_a_task_that_went_unseen_is_gone(watch: Watch) -> None:
    assert watch.progress("").gone


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("SpotInterruption", "Your Spot Task was interrupted."),
        ("TerminationNotice", ""),
        ("EssentialContainerExited", "Host EC2 (instance i-0abc) terminated."),
    ],
)
def test_who_took_a_task_is_told_in_the_clouds_words(asking: Asking, watch: Watch, code: str, reason: str) -> None:
    asking.server.answers[TASK_ONES] = task("STOPPED", stopCode=code, stoppedReason=reason)
    seen = watch.progress(TASK)
    assert seen.gone and reason in seen.taken and classify(seen.taken, WHERE).cause is Cause.INTERRUPTED


def test_a_task_that_ecs_has_forgotten_is_gone_if_it_was_there(asking: Asking, watch: Watch) -> None:
    asking.server.answers[TASK_ONES] = {"tasks": [], "failures": [{"arn": TASK, "reason": "MISSING"}]}
    assert not watch.progress(TASK).gone  # one that was just started isn't listed at once
    asking.server.answers[TASK_ONES] = task()
    watch.progress(TASK)
    asking.server.answers[TASK_ONES] = {"tasks": [], "failures": [{"arn": TASK, "reason": "MISSING"}]}
    assert watch.progress(TASK).gone
