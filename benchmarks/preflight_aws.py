"""What is known of a ladder on ECS before anything is tried: requests and seconds, 100 ms away from AWS.

As benchmarks/preflight.py, on a server that checks requests and answers against botocore's own service models; boto3,
the preflight and the verdicts are the real ones. The clients are made beforehand, as an attempt after the first finds
them: reading the services' models takes boto3 seconds of this machine's time, and AWS no round trip; how long is told.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Any

import catalog
from benchmarks.side_by_side import Compare, Goal, Side, parser, run
from catalog import Purchase, Surface
from components.ecs.preflight import EcsPreflight
from placement.ladder import LadderEntry, Rung, expand
from placement.verdicts import Said, ask
from settings import Settings

LATENCY_S = 0.1
REGIONS = 8
TIERS = ("t4", "a10g", "l4", "l40s")
PURCHASES = (Purchase.ON_DEMAND, Purchase.SPOT)
ACCOUNT = "123456789012"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/bench@sha256:{'0' * 64}"
ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/bench/ann"

ROUND_TRIPS = Goal("at most 3 round trips, one after the other", Compare.DIFFERENCE, 3.0, "round trips")


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
    """Serve until the other end is closed. Whatever is sent asks: how many requests, and how many after another?"""
    from moto.core.utils import get_service_model as motos_model

    from tests.ecs.aws_server import AwsServer, service_model

    server = AwsServer(LATENCY_S)
    server.answers.update(answers())
    for service in ("autoscaling", "ec2", "ecr", "iam", "s3", "service-quotas", "sts"):
        assert service_model(service).operation_names  # read beforehand: AWS doesn't read its own models either
        assert motos_model(service).operation_names
    with server.running():
        ours.send(server.endpoint)
        while True:
            try:
                ours.recv()
            except EOFError:
                return
            ours.send(server.wrong[0] if server.wrong else (len(server.asked), server.rounds()))
            server.asked.clear()


def ladder() -> tuple[Rung, ...]:
    """As a stack for production has it: the four tiers in 8 regions that sell them, on demand and as spot."""
    sold = [{r for o in catalog.offers(surface=Surface.ECS, tier=tier) for r in o.regions} for tier in TIERS]
    by_choice = sorted(catalog.regions(Surface.ECS), key=lambda region: -sum(region in one for one in sold))
    regions = tuple(by_choice[:REGIONS])
    expanded = expand([LadderEntry(Surface.ECS, ACCOUNT, regions, tiers=TIERS, purchases=PURCHASES)])
    return tuple(rung for rung in expanded if rung.machine_types)  # not every region sells every tier


class Preflight:
    """The preflight of a ladder, on the server's other side."""

    def __init__(self, theirs: Connection, rungs: tuple[Rung, ...]) -> None:
        import boto3

        from components.ecs.amazon import Amazon
        from tests.ecs.aws_server import KEY, SECRET

        self._theirs, self._rungs = theirs, rungs
        entries = [
            {"surface": "ecs", "account": ACCOUNT, "region": region, "tier": tier, "purchases": list(PURCHASES)}
            for region, tier in dict.fromkeys((rung.place.region, rung.tier) for rung in rungs)
        ]
        config = {"gpubench:ladder": entries, "gpubench:benchmark": {"image": IMAGE}}
        self._settings = Settings.from_config({**config, "gpubench:results": "s3://bench/team"})
        begun = time.perf_counter()
        self._amazon = Amazon(boto3.Session(KEY, SECRET), endpoint=str(theirs.recv()))
        regions = dict.fromkeys(str(rung.place.region) for rung in rungs)
        self._amazon.prepare(regions)
        self.prepared_s = time.perf_counter() - begun
        self.seconds: list[float] = []
        self.calls = 0

    def round_trips(self) -> float:
        """One preflight, with nothing known: how many requests came one after another."""
        begun = time.perf_counter()
        preflight = EcsPreflight(self._amazon, "bench", self._settings)
        found = ask(self._rungs, {Surface.ECS: preflight}, image=IMAGE)
        self.seconds.append(time.perf_counter() - begun)
        for one in found.values():
            if one.offered.said is not Said.YES or one.quota.said is not Said.YES or one.permitted.said is not Said.YES:
                sys.exit(f"not all was answered: {one}")
        self._theirs.send(None)
        said = self._theirs.recv()
        if isinstance(said, str):
            sys.exit(f"the server refused a request: {said}")
        self.calls, rounds = said
        return float(rounds)


def main() -> int:
    """0 if the goal is met."""
    options = parser(__doc__ or "").parse_args()
    rungs = ladder()
    theirs, ours = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(ours,), daemon=True)
    server.start()
    ours.close()
    with closing(theirs):
        preflight = Preflight(theirs, rungs)
        met = run(
            f"Preflight of {len(rungs)} rungs on ECS in {len({one.place.region for one in rungs})} regions, "
            f"{LATENCY_S * 1000:g} ms away",
            ROUND_TRIPS,
            Side("preflight", "round trips", preflight.round_trips),
            Side("nothing", "round trips", lambda: 0.0),
            pairs=options.pairs or (6 if options.quick else 15),
        )
        seconds = sorted(preflight.seconds[1:])
        median = seconds[len(seconds) // 2]
        print(
            f"  {preflight.calls} requests; {median:.3f} s, median ({seconds[0]:.3f} to {seconds[-1]:.3f} s): "
            f"{median / LATENCY_S:.1f} times the latency; making the clients took {preflight.prepared_s:.2f} s before"
        )
    server.join(5)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
