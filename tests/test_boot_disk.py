"""A machine's disk goes by its image: a whole job is declared, and a registry on loopback says how large that is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
import pytest

from benchmark_job import BenchmarkJob, BenchmarkJobArgs
from catalog import Surface
from components.ecs import surface as ecs
from components.gce import surface as gce
from components.interface import Standings
from placement.clock import SystemClock
from placement.ledger import Ledger
from settings import Settings
from tests.recording import PROJECT, Recording, record
from tests.registry_server import Registry, serve
from tests.s3_server import s3
from tests.storage_emulator import emulator

NAME = "team/bench"
RUNGS: dict[Surface, dict[str, Any]] = {
    Surface.GCE: {"surface": "gce", "project": "my-project", "region": "us-east4", "tier": "l4"},
    Surface.ECS: {"surface": "ecs", "account": "123456789012", "region": "us-east-1", "tier": "a10g"},
}
KEYS = {Surface.GCE: ("google", "boot_disk_gb"), Surface.ECS: ("aws", "volume_gb")}


@pytest.fixture(params=RUNGS)
def surface(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Surface]:
    """Each one, with a bucket; what stands besides isn't looked at."""
    which: Surface = request.param
    module = {Surface.GCE: gce, Surface.ECS: ecs}[which]
    real: Any = module.declare_standing

    def standing(name: str, standings: Standings, opts: pulumi.ResourceOptions) -> Any:
        return real(name, replace(standings, adopts=False), opts)

    monkeypatch.setattr(module, "declare_standing", standing)
    monkeypatch.setattr("benchmark_job.job.PROJECT_ROOT", tmp_path)
    with s3(monkeypatch, "bench") if which is Surface.ECS else emulator(monkeypatch, "bench"):
        yield which


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serve(NAME) as made:
        yield made


def put(registry: Registry, gb: float) -> str:
    """An image of so many GB, of which nobody reads more than the manifest; its name."""
    half = {"digest": f"sha256:{'1' * 64}", "size": int(gb / 2 * 1e9)}
    other = {**half, "digest": f"sha256:{'2' * 64}"}
    config = {"digest": f"sha256:{'3' * 64}", "size": 1000}
    kind = "application/vnd.oci.image.manifest.v1+json"
    data = json.dumps({"mediaType": kind, "config": config, "layers": [half, other, half]}).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    registry.manifests[f"{NAME}@{digest}"] = (kind, data)
    return f"{registry.host}/{NAME}@{digest}"


def declared(surface: Surface, image: str, folder: Path, **more: Any) -> Recording:
    scheme = {Surface.GCE: "gs", Surface.ECS: "s3"}[surface]
    values = {"ladder": [RUNGS[surface]], "results": f"{scheme}://bench/team", "benchmark": {"image": image}, **more}
    settings = Settings.from_config({f"gpubench:{key}": value for key, value in values.items()})

    def job() -> None:
        pulumi.runtime.set_all_config({f"{PROJECT}:nothing": ""})
        ledger = Ledger(folder, "test")
        BenchmarkJob(
            "benchmark",
            BenchmarkJobArgs(settings=settings, rung=settings.ladder[0], ledger=ledger, clock=SystemClock()),
        )

    return record(job)


def disk(surface: Surface, recording: Recording) -> int:
    if surface is Surface.GCE:
        (boot,) = recording.one("RegionInstanceTemplate").inputs["disks"]
        return int(boot["diskSizeGb"])
    (root,) = recording.one("LaunchTemplate").inputs["blockDeviceMappings"]
    return int(root["ebs"]["volumeSize"])


def test_a_large_image_has_a_large_disk_and_a_small_one_a_small_one(
    surface: Surface, registry: Registry, tmp_path: Path
) -> None:
    system = {Surface.GCE: 60, Surface.ECS: 40}[surface]
    for gb in (8.0, 90.0):
        found = disk(surface, declared(surface, put(registry, gb), tmp_path))
        assert system + 3 * gb <= found < system + 3 * gb + 100
    assert not [one for one in registry.asked if one.startswith("blobs")]


def test_what_the_config_says_counts_and_nobody_is_asked(surface: Surface, registry: Registry, tmp_path: Path) -> None:
    group, key = KEYS[surface]
    recording = declared(surface, put(registry, 90), tmp_path, **{group: {key: 333}})
    assert disk(surface, recording) == 333
    assert registry.asked == []


@pytest.mark.parametrize("status", [403, 503], ids=["may not be looked at", "isn't answered for"])
def test_an_image_whose_size_is_not_known_has_the_default_and_that_is_said(
    surface: Surface, status: int, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine may pull it by a role of its own."""
    warned: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    image = put(registry, 90)
    registry.answers[f"manifests/{image.partition('@')[2]}"] = [status]
    recording = declared(surface, image, tmp_path)
    assert disk(surface, recording) == 200
    (said,) = warned
    assert f"HTTP {status}" in said and "boot_disk_gb: N" in said and "volume_gb: N" in said
    # An update that goes on with the attempt may know more: its machine stays what it is.
    assert disk(surface, declared(surface, image, tmp_path)) > 300
    kind = {Surface.GCE: "RegionInstanceTemplate", Surface.ECS: "LaunchTemplate"}[surface]
    assert recording.one(kind).ignore_changes == ({Surface.GCE: "disks", Surface.ECS: "blockDeviceMappings"}[surface],)


def test_what_a_registry_has_said_once_is_known(surface: Surface, registry: Registry, tmp_path: Path) -> None:
    image = put(registry, 90)
    first = disk(surface, declared(surface, image, tmp_path))
    asked = len(registry.asked)
    assert disk(surface, declared(surface, image, tmp_path)) == first
    assert len(registry.asked) == asked == 1
