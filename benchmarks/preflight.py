"""What is known of a ladder on Compute Engine before anything is tried: requests and seconds, 100 ms away from Google.

The answers come from the tests' server, in a process of its own, which holds each back by 100 ms and checks it against
Google's descriptions of its APIs; the client, the preflight and the verdicts are the real ones. A connection to Google
takes its own time (TCP, TLS, and a token) before the first request; on loopback it takes none, so that isn't in here.
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
from components.gce.google import Google
from components.gce.preflight import GcePreflight
from components.gce.quotas import unlisted
from components.gce.rest import Rest
from placement.ladder import LadderEntry, Rung, expand
from placement.verdicts import Said, ask
from settings import Settings
from tests.gce.discovery import HOSTS, api
from tests.gce.google_server import TOKEN, GoogleServer

LATENCY_S = 0.1
REGIONS = 12
TIERS = ("h100", "a100-80", "a100-40", "l4")
PURCHASES = (Purchase.SPOT, Purchase.FLEX_START)
PROJECT = "a-project"
IMAGE = f"us-docker.pkg.dev/{PROJECT}/benchmarks/speed@sha256:{'0' * 64}"

SETTINGS = Settings.from_config(
    {
        "gpubench:ladder": [{"surface": "gce", "project": PROJECT, "region": "us-central1", "tier": "l4"}],
        "gpubench:benchmark": {"image": IMAGE},
        "gpubench:results": "gs://bench/team",
        "gpubench:registry": f"us-docker.pkg.dev/{PROJECT}/ours",
    }
)
"""What a stack of this ladder declares beside its machines: a network, a bucket and a repository."""

ROUND_TRIPS = Goal("at most 3 round trips, one after the other", Compare.DIFFERENCE, 3.0, "round trips")


def answers() -> dict[str, Any]:
    """Of a project that may do all, where all that the catalogue knows is offered."""
    places = {
        (offer.machine_type, zone): None
        for offer in catalog.offers(surface=Surface.GCE)
        for region in offer.regions
        for zone in offer.zones(region)
    }
    metrics = {
        quota.metric
        for offer in catalog.offers(surface=Surface.GCE)
        for purchase in Purchase
        for quota in offer.quotas(purchase)
        if quota.quota_id not in {one.quota_id for one in unlisted()}
    }
    quotas = [{"metric": metric, "limit": 8, "usage": 0} for metric in sorted(metrics)]
    return {
        "compute.machineTypes.aggregatedList": [{"name": name, "zone": zone} for name, zone in places],
        "compute.acceleratorTypes.aggregatedList": [{"name": "nvidia-tesla-t4", "zone": "us-central1-a"}],
        "compute.regions.list": [{"name": name, "quotas": quotas} for name in catalog.regions(Surface.GCE)],
        "compute.projects.get": {"quotas": quotas},
        "compute.instances.aggregatedList": [],
        "compute.advice.capacity": {"recommendations": [{"scores": {"obtainability": 0.7}}]},
        "cloudquotas.projects.locations.services.quotaInfos.get": {"dimensionsInfos": [{"details": {"value": "8"}}]},
        "cloudresourcemanager.projects.testIamPermissions": {"permissions": []},
        "cloudresourcemanager.projects.getIamPolicy": {},
        "artifactregistry.projects.locations.repositories.testIamPermissions": {},
        "artifactregistry.projects.locations.repositories.getIamPolicy": {},
        "storage.buckets.testIamPermissions": {},
        "storage.buckets.getIamPolicy": {},
        "iam.projects.serviceAccounts.get": {"email": "run@example.com"},
    }


def serve(ours: Connection) -> None:
    """Serve until the other end is closed. Whatever is sent asks: how many requests, and how many after another?"""
    server = GoogleServer(LATENCY_S)
    server.answers.update(answers())
    for host in HOSTS:
        assert api(host).methods  # read beforehand: Google doesn't read its own descriptions either
    with server.running():
        ours.send(server.endpoint)
        while True:
            try:
                ours.recv()
            except EOFError:
                return
            if server.wrong:
                ours.send(server.wrong[0])
            else:
                ours.send((len(server.asked), server.rounds()))
            server.asked.clear()


def ladder() -> tuple[Rung, ...]:
    """As a stack for production has it: the four tiers in 12 regions that sell them, as spot and flex-start."""
    sold = [{r for o in catalog.offers(surface=Surface.GCE, tier=tier) for r in o.regions} for tier in TIERS]
    by_choice = sorted(catalog.regions(Surface.GCE), key=lambda region: -sum(region in one for one in sold))
    regions = tuple(by_choice[:REGIONS])
    expanded = expand([LadderEntry(Surface.GCE, PROJECT, regions, tiers=TIERS, purchases=PURCHASES)])
    return tuple(rung for rung in expanded if rung.machine_types)  # not every region sells every tier


class Preflight:
    """The preflight of a ladder, on the server's other side."""

    def __init__(self, theirs: Connection, rungs: tuple[Rung, ...]) -> None:
        self._theirs, self._rungs, self._endpoint = theirs, rungs, str(theirs.recv())
        self.seconds: list[float] = []
        self.calls = 0

    def round_trips(self) -> float:
        """One preflight, with nothing connected and nothing known: how many requests came one after another."""
        from google.oauth2.credentials import Credentials

        rest = Rest(Credentials(token=TOKEN), endpoint=self._endpoint)  # type: ignore[no-untyped-call]
        begun = time.perf_counter()
        found = ask(self._rungs, {Surface.GCE: GcePreflight(Google(rest=rest), "bench", SETTINGS)}, image=IMAGE)
        self.seconds.append(time.perf_counter() - begun)
        if any(
            one.odds is None or one.offered.said is not Said.YES or one.quota.said is Said.UNKNOWN
            for one in found.values()
        ):
            sys.exit("some answers came too late")
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
            f"Preflight of {len(rungs)} rungs on Compute Engine in {len({one.place.region for one in rungs})} regions, "
            f"{LATENCY_S * 1000:g} ms away",
            ROUND_TRIPS,
            Side("preflight", "round trips", preflight.round_trips),
            Side("nothing", "round trips", lambda: 0.0),
            pairs=options.pairs or (6 if options.quick else 15),
        )
        seconds = sorted(preflight.seconds[1:])
        print(
            f"  {preflight.calls} requests; {seconds[len(seconds) // 2]:.3f} s, median "
            f"({seconds[0]:.3f} to {seconds[-1]:.3f} s): {seconds[len(seconds) // 2] / LATENCY_S:.1f} times the latency"
        )
    server.join(5)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
