"""What is known of a ladder on Compute Engine before anything is tried: requests and seconds, 100 ms away from Google.

The answers come from the tests' server, in a process of its own, which holds each back by 100 ms and checks it against
Google's descriptions of its APIs; the client, the preflight and the verdicts are the real ones. A connection to Google
takes its own time (TCP, TLS, and a token) before the first request; on loopback it takes none, so that isn't in here.
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from typing import Any

import catalog
from benchmarks import round_trips
from benchmarks.round_trips import LATENCY_S
from catalog import Purchase, Surface
from components.gce.google import Google
from components.gce.preflight import GcePreflight
from components.gce.quotas import unlisted
from components.gce.rest import Rest
from placement.verdicts import Said, Verdict, ask
from settings import Settings
from tests.gce.discovery import HOSTS, api
from tests.gce.google_server import TOKEN, GoogleServer

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
    """See `round_trips.serve`."""
    server = GoogleServer(LATENCY_S)
    server.answers.update(answers())
    for host in HOSTS:
        assert api(host).methods  # read beforehand: Google doesn't read its own descriptions either
    round_trips.serve(ours, server)


class Preflight(round_trips.Preflight):
    """With nothing connected."""

    def client(self) -> Rest:
        """See `round_trips.Preflight`."""
        from google.oauth2.credentials import Credentials

        return Rest(Credentials(token=TOKEN), endpoint=self._endpoint)  # type: ignore[no-untyped-call]

    def ask(self, client: Rest) -> list[Verdict]:
        """See `round_trips.Preflight`."""
        preflight = GcePreflight(Google(rest=client), "bench", SETTINGS)
        return [
            one
            for one in ask(self._rungs, {Surface.GCE: preflight}, image=IMAGE).values()
            if one.odds is None or one.offered.said is not Said.YES or one.quota.said is Said.UNKNOWN
        ]


if __name__ == "__main__":
    rungs = round_trips.ladder(Surface.GCE, PROJECT, TIERS, PURCHASES, REGIONS)
    sys.exit(round_trips.measure(__doc__ or "", "Compute Engine", rungs, Preflight, serve))
