"""From an Auto Scaling group's failed activity to gpubench's classified cause, on loopback, the poll interval aside.

A look of the watch, as a run makes every ten seconds, on a server that answers as AWS does and checks every request and
answer against botocore's service models: the group, its machines, its activities. Then the text is classified, with the
mend. The reference is one request to the same server and nothing else, so the difference is what gpubench adds.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

import boto3

from benchmarks.side_by_side import Compare, Goal, Side, parser, run
from components.ecs.amazon import Amazon
from components.ecs.names import base_name
from components.ecs.watch import Watch
from components.interface import SurfaceError
from components.waiting import wait_for_capacity
from placement.causes import Cause, Where, classify
from placement.clock import SystemClock
from tests.ecs.aws_server import KEY, SECRET, AwsServer

ACCOUNT, REGION, ATTEMPT = "123456789012", "us-east-1", "20261121t142501-250-9f3a2b"
WHERE = Where("ecs", ACCOUNT, REGION, tier="a10g", machine_types=("g5.xlarge",), purchase="on-demand")
GOAL = Goal("at most 1 s from the failed activity to its cause and mend", Compare.DIFFERENCE, 1.0, "s")

# EC2's words for it, as Auto Scaling wraps them: tests/placement/corpus has the like.
SAID = (
    "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your current "
    "vCPU limit of 0 allows for the instance bucket that the specified instance type belongs to. Launching EC2 "
    "instance failed."
)


def main() -> int:
    """0 if the goal is met."""
    options = parser(__doc__ or "").parse_args()
    began = datetime(2026, 11, 21, 14, 26, tzinfo=UTC)
    name = base_name(ATTEMPT)
    server = AwsServer()
    group = {"AutoScalingGroupName": name, "MinSize": 0, "MaxSize": 1, "DesiredCapacity": 1, "DefaultCooldown": 300}
    group |= {"AvailabilityZones": [f"{REGION}a"], "HealthCheckType": "EC2", "CreatedTime": began}
    failed = {"ActivityId": "a-1", "AutoScalingGroupName": name, "Cause": "a difference", "StartTime": began}
    failed |= {"Description": "Launching a new EC2 instance", "StatusCode": "Failed", "StatusMessage": SAID}
    server.answers.update(
        {
            "autoscaling.DescribeAutoScalingGroups": {"AutoScalingGroups": [group]},
            "autoscaling.DescribeScalingActivities": {"Activities": [failed]},
            "ec2.DescribeInstances": {"Reservations": []},
        }
    )
    with server.running():
        amazon = Amazon(boto3.Session(KEY, SECRET), endpoint=server.endpoint)

        def told() -> float:
            begun = time.perf_counter()
            watch = Watch(amazon, ACCOUNT, REGION, ATTEMPT)
            try:
                wait_for_capacity(
                    watch.seen, where=WHERE, clock=SystemClock(), limit_s=60, poll_s=10, say=lambda _: None
                )
            except SurfaceError as error:
                failure = classify(str(error), WHERE)
                if failure.cause is not Cause.QUOTA or "L-DB2E81BA" not in failure.mend:
                    sys.exit(f"not what it is: {failure}")
                return time.perf_counter() - begun
            sys.exit("the wait ended without a failure")

        def one_request() -> float:
            begun = time.perf_counter()
            amazon.scaling_group(REGION, name)
            return time.perf_counter() - begun

        met = run(
            "From a failed scaling activity to its classified cause",
            GOAL,
            Side("cause and mend", "s", told),
            Side("one request", "s", one_request),
            pairs=options.pairs or (5 if options.quick else 25),
        )
        if server.wrong:
            sys.exit(f"the server refused a request: {server.wrong[0]}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
