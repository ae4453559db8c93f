"""boto3's requests and answers, as this project's own dataclasses; AWS's errors in its own words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import boto3
import pytest

from components.ecs import names
from components.ecs.amazon import Amazon
from components.ecs.api import (
    AwsError,
    Caller,
    Decision,
    Resource,
    ResourceKind,
    Score,
    StopOrder,
    TaskOrder,
)
from placement.causes import Cause, classify
from placement.verdicts import CannotSay
from tests.ecs.aws_server import Asked, Refusal
from tests.ecs.conftest import Asking, amazon_on
from tests.ecs.declared import check

R, ACCOUNT = "us-east-1", "123456789012"
T0 = datetime(2026, 11, 21, 14, 26, tzinfo=UTC)


def activity(number: int, status: str = "Failed", **more: Any) -> dict[str, Any]:
    """Of a group: what it tried."""
    return {
        "ActivityId": f"a-{number}",
        "AutoScalingGroupName": "g",
        "Description": "Launching a new EC2 instance",
        "Cause": "At 2026-11-21T14:26:00Z an instance was started in response to a difference.",
        "StartTime": T0 + timedelta(minutes=number),
        "StatusCode": status,
        **more,
    }


def test_activities_are_read_page_by_page_and_told_oldest_first(asking: Asking) -> None:
    def page(asked: Asked) -> dict[str, Any]:
        assert asked.params["IncludeDeletedGroups"] is True
        if "NextToken" not in asked.params:
            return {"Activities": [activity(3, "Successful"), activity(2)], "NextToken": "more"}
        return {"Activities": [activity(1, StatusMessage="Could not launch Spot Instances.")]}

    asking.server.answers["autoscaling.DescribeScalingActivities"] = page
    done = asking.amazon.activities(R, "g")
    assert [one.id for one in done] == ["a-1", "a-2", "a-3"]
    assert done[0].message == "Could not launch Spot Instances." and done[0].began == T0 + timedelta(minutes=1)
    assert done[2].launched and not done[0].launched


def test_a_group_that_is_gone_has_done_nothing_and_is_left_alone(asking: Asking) -> None:
    gone = Refusal("ValidationError", "AutoScalingGroup name not found - AutoScalingGroup g not found")
    for name in ("DescribeScalingActivities", "UpdateAutoScalingGroup", "DeleteAutoScalingGroup"):
        asking.server.answers[f"autoscaling.{name}"] = gone
    assert asking.amazon.activities(R, "g") == ()
    asking.amazon.stop_asking(R, "g")
    with pytest.raises(AwsError) as said:
        asking.amazon.delete(Resource(ResourceKind.GROUP, R, "g"))
    assert said.value.is_gone


def test_a_run_that_was_started_with_other_stamps_is_the_same_run(asking: Asking) -> None:
    """A commit since then changes a stamp, and AWS refuses its token with another request."""
    arn = f"arn:aws:ecs:{R}:{ACCOUNT}:task/c/0123"
    asking.server.answers["ecs.RunTask"] = Refusal(
        "ConflictException", "The client token is already in use", more={"resourceIds": [arn]}
    )
    asking.server.answers["ecs.DescribeTasks"] = {
        "tasks": [{"taskArn": arn, "clusterArn": "c", "lastStatus": "RUNNING", "startedBy": "a"}]
    }
    order = TaskOrder(
        region=R,
        cluster="c",
        definition="d",
        token="t",
        started_by="a",
        provider="p",
        subnets=("s",),
        security_groups=(),
    )
    assert [one.arn for one in asking.amazon.run_task(order).tasks] == [arn]
    asking.server.answers["ecs.DescribeTasks"] = {"tasks": []}
    with pytest.raises(AwsError, match="already in use"):
        asking.amazon.run_task(order)


def test_another_validation_error_of_a_group_is_told(asking: Asking) -> None:
    refusal = Refusal("ValidationError", "Desired capacity:0 must be between the specified min size:1 and max size:1")
    asking.server.answers["autoscaling.UpdateAutoScalingGroup"] = refusal
    with pytest.raises(AwsError, match="must be between"):
        asking.amazon.stop_asking(R, "g")


def test_an_error_has_aws_words_and_code_so_that_it_can_be_classified(asking: Asking) -> None:
    asking.server.answers["ec2.DescribeInstances"] = Refusal(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. User: arn:aws:iam::{ACCOUNT}:user/ann is not authorized to "
        "perform: ec2:DescribeInstances because no identity-based policy allows the ec2:DescribeInstances action",
        403,
    )
    with pytest.raises(AwsError) as said:
        asking.amazon.running(R)
    error = said.value
    assert (error.code, error.status) == ("UnauthorizedOperation", 403)
    failure = classify(error.text)
    assert failure.cause is Cause.PERMISSION and failure.permission == "ec2:DescribeInstances"


def test_no_credentials_is_one_clear_answer(asking: Asking) -> None:
    with pytest.raises(CannotSay, match=r"no credentials for AWS.*aws sso login.*AWS_PROFILE"):
        Amazon(boto3.Session(), endpoint=asking.server.endpoint).caller()
    assert asking.server.asked == []


def test_a_profile_that_is_not_there_is_one_clear_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CannotSay, match=r"The config profile \(nobody\) could not be found; log in with"):
        Amazon().caller()


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
def test_credentials_that_are_no_good_are_named(asking: Asking, code: str) -> None:
    asking.server.answers["sts.GetCallerIdentity"] = Refusal(code, "The security token is no good", 403)
    with pytest.raises(CannotSay, match=f"AWS refuses the credentials: .*{code}.*get-caller-identity"):
        asking.amazon.caller()


def test_throttling_is_repeated_and_a_refusal_is_not(asking: Asking) -> None:
    server = asking.server
    server.answers["sts.GetCallerIdentity"] = {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}
    server.faults["sts.GetCallerIdentity"] = [Refusal("Throttling", "Rate exceeded")]
    assert asking.amazon.caller() == Caller(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    assert len(server.calls("sts.GetCallerIdentity")) == 2
    server.answers["iam.GetRole"] = Refusal("AccessDenied", "no", 403)
    with pytest.raises(AwsError):
        asking.amazon.role_arn("r")
    assert len(server.calls("iam.GetRole")) == 1


def test_a_connection_that_breaks_is_no_answer_and_transient(asking: Asking) -> None:
    asking.server.answers["iam.GetRole"] = Refusal(drop=True)
    with pytest.raises(AwsError, match="AWS gave no answer") as said:
        asking.amazon.role_arn("r")
    assert said.value.status == 0 and classify(said.value.text).cause is Cause.TRANSIENT


def test_a_proxys_page_for_an_answer_is_no_answer(asking: Asking) -> None:
    import http.server
    import threading

    class Portal(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            page = b"<!doctype html><html><br>log in to the hotel's network</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Portal) as portal:
        threading.Thread(target=portal.serve_forever, daemon=True).start()
        with pytest.raises(AwsError, match="AWS gave no answer"):
            amazon_on(f"http://127.0.0.1:{portal.server_address[1]}").caller()
        portal.shutdown()


def test_offerings_are_zone_ids_by_type(cloud: Asking) -> None:
    found = cloud.amazon.offerings(R, ["g5.xlarge", "no.such"])
    # FACTS: https://github.com/aws/karpenter-provider-aws lists g5 in az 1, 2, 4, 5, 6; moto has AWS's own listing.
    assert found == {"g5.xlarge": ("use1-az1", "use1-az2", "use1-az4", "use1-az5", "use1-az6")}


def test_placement_scores_are_asked_for_one_machine_zone_by_zone(asking: Asking) -> None:
    def scores(asked: Asked) -> dict[str, Any]:
        assert asked.params == {
            "InstanceTypes": ["g5.xlarge", "g5.2xlarge", "g6.xlarge"],
            "TargetCapacity": 1,
            "TargetCapacityUnitType": "units",
            "SingleAvailabilityZone": True,
            "RegionNames": [R],
        }
        return {"SpotPlacementScores": [{"Region": R, "AvailabilityZoneId": "use1-az4", "Score": 7}]}

    asking.server.answers["ec2.GetSpotPlacementScores"] = scores
    assert asking.amazon.scores(R, ["g5.xlarge", "g5.2xlarge", "g6.xlarge"]) == (Score(7, "use1-az4"),)


def test_a_quota_that_was_never_changed_has_the_default_and_an_unknown_one_none(asking: Asking) -> None:
    answers = asking.server.answers
    answers["service-quotas.GetServiceQuota"] = {"Quota": {"QuotaCode": "L-1", "Value": 8.0}}
    assert asking.amazon.quota(R, "ec2", "L-1") == 8
    answers["service-quotas.GetServiceQuota"] = Refusal("NoSuchResourceException", "none applied")
    answers["service-quotas.GetAWSDefaultServiceQuota"] = {"Quota": {"QuotaCode": "L-1", "Value": 0.0}}
    assert asking.amazon.quota(R, "ec2", "L-1") == 0
    answers["service-quotas.GetAWSDefaultServiceQuota"] = Refusal("NoSuchResourceException", "unknown")
    assert asking.amazon.quota(R, "ec2", "L-1") is None
    answers["service-quotas.GetServiceQuota"] = Refusal("AccessDeniedException", "no")
    with pytest.raises(AwsError):
        asking.amazon.quota(R, "ec2", "L-1")


def test_the_simulator_is_asked_with_its_context(asking: Asking) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/gpubench-s-task"

    def simulated(asked: Asked) -> dict[str, Any]:
        assert asked.params["ActionNames"] == ["iam:PassRole"] and asked.params["ResourceArns"] == [role]
        assert asked.params["ContextEntries"] == [
            {
                "ContextKeyName": "iam:PassedToService",
                "ContextKeyType": "string",
                "ContextKeyValues": ["ecs-tasks.amazonaws.com"],
            }
        ]
        result = {
            "EvalActionName": "iam:PassRole",
            "EvalResourceName": role,
            "EvalDecision": "implicitDeny",
            "MissingContextValues": ["aws:MultiFactorAuthPresent"],
        }
        return {"EvaluationResults": [result], "IsTruncated": False}

    asking.server.answers["iam.SimulatePrincipalPolicy"] = simulated
    context = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    found = asking.amazon.simulate(f"arn:aws:iam::{ACCOUNT}:user/ann", ["iam:PassRole"], [role], context)
    assert found == (Decision("iam:PassRole", role, "implicitDeny", ("aws:MultiFactorAuthPresent",)),)


@pytest.mark.parametrize(("code", "allowed"), [("DryRunOperation", True), ("UnauthorizedOperation", False)])
def test_a_dry_run_makes_nothing_and_says_whether_it_might(asking: Asking, code: str, allowed: bool) -> None:
    def refused(asked: Asked) -> Refusal:
        assert asked.params["DryRun"] is True and asked.params["ImageId"].startswith("resolve:ssm:/aws/service/ecs/")
        return Refusal(code, "Request would have succeeded, or not", 412 if allowed else 403)

    asking.server.answers["ec2.RunInstances"] = refused
    assert asking.amazon.dry_run(R, "g5.xlarge") is allowed


def test_a_task_is_run_once_and_its_containers_get_their_variables(asking: Asking) -> None:
    def run(asked: Asked) -> dict[str, Any]:
        assert asked.params["capacityProviderStrategy"] == [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
        assert asked.params["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"
        assert asked.params["overrides"]["containerOverrides"] == [
            {"name": "uploader", "environment": [{"name": "GPUBENCH_RUN", "value": "r1"}]}
        ]
        assert asked.params["clientToken"] == "token" and asked.params["count"] == 1
        task = {"taskArn": f"arn:aws:ecs:{R}:{ACCOUNT}:task/c/0123", "lastStatus": "PROVISIONING", "startedBy": "a1"}
        return {"tasks": [task], "failures": [{"reason": "RESOURCE:GPU", "detail": "none"}]}

    asking.server.answers["ecs.RunTask"] = run
    order = TaskOrder(
        region=R,
        cluster="c",
        definition="d:1",
        token="token",
        started_by="a1",
        provider="FARGATE_SPOT",
        subnets=("subnet-1",),
        security_groups=("sg-1",),
        environment={"uploader": {"GPUBENCH_RUN": "r1"}},
    )
    started = asking.amazon.run_task(order)
    assert (started.tasks[0].id, started.tasks[0].lives) == ("0123", True)
    assert started.refusals[0].reason == "RESOURCE:GPU"


def test_a_log_is_read_on_from_where_it_was(cloud: Asking) -> None:
    logs = boto3.Session("AKIDEXAMPLE", "secret").client("logs", R, endpoint_url=cloud.server.endpoint)
    amazon = cloud.amazon
    assert amazon.log_events(R, "/gpubench/s", "b/uploader/1", "").lines == ()
    logs.create_log_group(logGroupName="/gpubench/s")
    logs.create_log_stream(logGroupName="/gpubench/s", logStreamName="b/uploader/1")

    def write(*lines: str) -> None:
        now = int(datetime.now(UTC).timestamp() * 1000)
        events: Any = [{"timestamp": now, "message": line} for line in lines]
        logs.put_log_events(logGroupName="/gpubench/s", logStreamName="b/uploader/1", logEvents=events)

    write("gpubench: phase run r1")
    first = amazon.log_events(R, "/gpubench/s", "b/uploader/1", "")
    write("gpubench: phase upload r1")
    second = amazon.log_events(R, "/gpubench/s", "b/uploader/1", first.token)
    third = amazon.log_events(R, "/gpubench/s", "b/uploader/1", second.token)
    assert (first.lines, second.lines, third.lines) == (
        ("gpubench: phase run r1",),
        ("gpubench: phase upload r1",),
        (),
    )


def test_clusters_that_are_gone_have_nothing(cloud: Asking) -> None:
    assert cloud.amazon.tasks(R, "none", "a") == () and cloud.amazon.container_instances(R, "none") == ()
    assert cloud.amazon.task(R, "none", "t") is None
    cloud.amazon.stop_task(R, "none", "t", "why")


def test_an_image_is_known_by_its_digest_and_repositories_by_their_policy(cloud: Asking) -> None:
    ecr = boto3.Session("AKIDEXAMPLE", "secret").client("ecr", R, endpoint_url=cloud.server.endpoint)
    amazon = cloud.amazon
    assert (
        amazon.repository_policy(R, ACCOUNT, "bench") is None and amazon.image_digest(R, ACCOUNT, "bench", "v1") is None
    )
    ecr.create_repository(repositoryName="bench")
    assert (
        amazon.repository_policy(R, ACCOUNT, "bench") == "" and amazon.image_digest(R, ACCOUNT, "bench", "v1") is None
    )
    manifest = (
        '{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {}, "layers": []}'
    )
    ecr.put_image(repositoryName="bench", imageTag="v1", imageManifest=manifest)
    digest = amazon.image_digest(R, ACCOUNT, "bench", "v1")
    assert digest is not None and digest.startswith("sha256:")
    assert amazon.image_digest(R, ACCOUNT, "bench", digest) == digest


def test_a_task_is_stopped_by_awss_own_clock(cloud: Asking) -> None:
    amazon = cloud.amazon
    arn, base = f"arn:aws:ecs:{R}:{ACCOUNT}:task/gpubench-a/0123", "gpubench-a"
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    order = StopOrder(
        region=R,
        name=names.schedule(base, arn),
        cluster=base,
        task=arn,
        at=at.astimezone(timezone(timedelta(hours=5))),
        role=f"arn:aws:iam::{ACCOUNT}:role/gpubench-s-clock",
        reason="its time is over",
    )
    amazon.stop_later(order)
    amazon.stop_later(order)  # by an update that goes on with the attempt
    held = replace(order, name=names.schedule(base, arn, held=True))
    another = replace(order, name=names.schedule(base, f"{arn}4"), task=f"{arn}4")
    for one in (held, another):
        amazon.stop_later(one)
    scheduler = boto3.Session("AKIDEXAMPLE", "secret").client("scheduler", R, endpoint_url=cloud.server.endpoint)
    made = scheduler.get_schedule(Name=order.name)
    assert made["ScheduleExpression"] == f"at({at:%Y-%m-%dT%H:%M:%S})"
    assert (made["ScheduleExpressionTimezone"], made["ActionAfterCompletion"]) == ("UTC", "DELETE")
    target = made["Target"]
    assert (target["Arn"], target["RoleArn"]) == ("arn:aws:scheduler:::aws-sdk:ecs:stopTask", order.role)
    # The words of StopTask itself, each with a capital letter.
    asked = {key[:1].lower() + key[1:]: value for key, value in json.loads(target["Input"]).items()}
    assert asked == {"cluster": base, "task": arn, "reason": "its time is over"}
    check("ecs", "StopTask", asked)
    for _ in range(2):
        amazon.unschedule(R, base, [arn])
        assert [one["Name"] for one in scheduler.list_schedules()["Schedules"]] == [another.name]


def test_who_may_not_look_for_schedules_has_made_none(asking: Asking) -> None:
    asking.server.answers["scheduler.ListSchedules"] = Refusal(
        "AccessDeniedException", "is not authorized to perform: scheduler:ListSchedules", 403
    )
    asking.amazon.unschedule(R, "gpubench-a", [])
    asking.server.answers["scheduler.ListSchedules"] = Refusal("ValidationException", "no such prefix")
    with pytest.raises(AwsError, match="no such prefix"):
        asking.amazon.unschedule(R, "gpubench-a", [])
