"""What is known of a ladder on ECS before anything is tried: requests and seconds, 100 ms away from AWS.

As benchmarks/preflight.py, on a server that checks requests and answers against botocore's own service models; boto3,
the preflight and the verdicts are the real ones. The clients are made beforehand, as an attempt after the first finds
them: reading the services' models takes boto3 seconds of this machine's time, and AWS no round trip; how long is told.
"""

from __future__ import annotations

import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import catalog
from benchmarks import round_trips
from benchmarks.round_trips import LATENCY_S
from catalog import Purchase, Surface
from components.ecs.preflight import EcsPreflight
from placement.ladder import Rung
from placement.verdicts import Said, Verdict, ask
from settings import Settings

REGIONS = 8
TIERS = ("t4", "a10g", "l4", "l40s")
PURCHASES = (Purchase.ON_DEMAND, Purchase.SPOT)
ACCOUNT = "123456789012"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/bench@sha256:{'0' * 64}"
ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/bench/ann"


def answers() -> dict[str, Any]:
    """Of an account that may do all, where all that the catalogue knows is offered."""
    from datetime import UTC, datetime

    from tests.ecs.aws_server import Asked, Refusal

    def offerings(asked: Asked) -> dict[str, Any]:
        listed = [
            {"InstanceType": one.machine_type, "LocationType": "availability-zone-id", "Location": zone}
            for one in catalog.offers(surface=Surface.ECS, region=asked.region)
            for zone in one.zones(asked.region) or (f"{asked.region}-az1",)  # of some, no zones were read
        ]
        return {"InstanceTypeOfferings": listed}

    def role(asked: Asked) -> dict[str, Any]:
        name = asked.params["RoleName"]
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        found = {"Path": "/", "RoleName": name, "RoleId": "AROAEXAMPLEEXAMPLE", "Arn": arn}
        return {"Role": {**found, "CreateDate": datetime(2026, 11, 21, tzinfo=UTC)}}

    def simulated(asked: Asked) -> dict[str, Any]:
        (on,) = asked.params["ResourceArns"]
        actions = asked.params["ActionNames"]
        results = [{"EvalActionName": one, "EvalResourceName": on, "EvalDecision": "allowed"} for one in actions]
        return {"EvaluationResults": results, "IsTruncated": False}

    def prices(asked: Asked) -> dict[str, Any]:
        found = [
            {"InstanceType": one, "AvailabilityZone": f"{asked.region}a", "SpotPrice": "0.4"}
            for one in asked.params["InstanceTypes"]
        ]
        return {"SpotPriceHistory": found}

    return {
        "sts.GetCallerIdentity": {"Account": ACCOUNT, "Arn": ARN},
        "iam.GetRole": role,
        "iam.SimulatePrincipalPolicy": simulated,
        "ec2.RunInstances": Refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412),
        "s3.HeadBucket": {"BucketRegion": "us-east-1"},
        "s3.GetBucketTagging": {"TagSet": [{"Key": "gpubench-stack", "Value": "bench"}]},
        "ecr.DescribeImages": {"imageDetails": [{"imageDigest": f"sha256:{'0' * 64}"}]},
        "ec2.DescribeInstanceTypeOfferings": offerings,
        "service-quotas.GetServiceQuota": {"Quota": {"Value": 64.0}},
        "ec2.DescribeInstances": {"Reservations": []},
        "ec2.DescribeSpotPriceHistory": prices,
        "ec2.GetSpotPlacementScores": lambda asked: {
            "SpotPlacementScores": [{"Region": asked.region, "AvailabilityZoneId": "az", "Score": 7}]
        },
    }


def serve(ours: Connection) -> None:
    """See `round_trips.serve`."""
    from moto.core.utils import get_service_model as motos_model

    from tests.ecs.aws_server import AwsServer, service_model

    server = AwsServer(LATENCY_S)
    server.answers.update(answers())
    for service in ("autoscaling", "ec2", "ecr", "iam", "s3", "service-quotas", "sts"):
        assert service_model(service).operation_names  # read beforehand: AWS doesn't read its own models either
        assert motos_model(service).operation_names
    round_trips.serve(ours, server)


class Preflight(round_trips.Preflight):
    """With boto3's clients, which are made once."""

    def __init__(self, theirs: Connection, rungs: tuple[Rung, ...]) -> None:
        import boto3

        from components.ecs.amazon import Amazon
        from tests.ecs.aws_server import KEY, SECRET

        super().__init__(theirs, rungs)
        entries = [
            {"surface": "ecs", "account": ACCOUNT, "region": region, "tier": tier, "purchases": list(PURCHASES)}
            for region, tier in dict.fromkeys((rung.place.region, rung.tier) for rung in rungs)
        ]
        config = {"gpubench:ladder": entries, "gpubench:benchmark": {"image": IMAGE}}
        self._settings = Settings.from_config({**config, "gpubench:results": "s3://bench/team"})
        begun = time.perf_counter()
        self._amazon = Amazon(boto3.Session(KEY, SECRET), endpoint=self._endpoint)
        self._amazon.prepare(dict.fromkeys(str(rung.place.region) for rung in rungs))
        self.note = f"; making the clients took {time.perf_counter() - begun:.2f} s before"

    def client(self) -> EcsPreflight:
        """See `round_trips.Preflight`."""
        return EcsPreflight(self._amazon, "bench", self._settings)

    def ask(self, client: EcsPreflight) -> list[Verdict]:
        """See `round_trips.Preflight`."""
        return [
            one
            for one in ask(self._rungs, {Surface.ECS: client}, image=IMAGE).values()
            if one.offered.said is not Said.YES or one.quota.said is not Said.YES or one.permitted.said is not Said.YES
        ]


if __name__ == "__main__":
    rungs = round_trips.ladder(Surface.ECS, ACCOUNT, TIERS, PURCHASES, REGIONS)
    sys.exit(round_trips.measure(__doc__ or "", "ECS", rungs, Preflight, serve))
