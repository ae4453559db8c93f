"""The components of a Google stack, whole, on the embedded engine against the simulated cloud: preview, up, gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.gce import names
from components.interface import ATTEMPT_LABEL, STACK_LABEL
from engine.base import EngineError
from engine.embedded.engine import EmbeddedEngine
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud
from engine.simulated.provider import SimulatedProvider
from engine.simulated.scenario import Scenario

FIRST, SECOND = "20261121t101010-123-abc123", "20261121t111111-456-def456"

PROGRAM = """
import json
from pathlib import Path
import pulumi
from catalog import Purchase
from components.gce import names
from components.gce.quota_increase import QuotaIncreaseArgs, quota_increase
from components.gce.vm import GpuVm, GpuVmArgs
from components.identity import RunIdentity, RunIdentityArgs
from catalog.repositories import repository_of
from components.registry import ImageRegistry, ImageRegistryArgs
from components.results_store import ResultsStore, ResultsStoreArgs

config = pulumi.Config("gpubench")
rung = json.loads(config.get("attempt") or "null")
PROJECT, IMAGE = "my-project", "us-central1-docker.pkg.dev/my-project/benchmarks/resnet@sha256:" + "0" * 64

run = RunIdentity("run", RunIdentityArgs(project=PROJECT, stack="test", secrets={"HF_TOKEN": "canary-77aa"}))
images = ImageRegistry("images", ImageRegistryArgs(repository=repository_of(IMAGE), readers={"run": run.member}))
results = ResultsStore(
    "results", ResultsStoreArgs(url="gs://results/t", project=PROJECT, location="US", writers={"run": run.member})
)
quota_increase(
    "more", QuotaIncreaseArgs(
        project=PROJECT, quota_id="GPUS-ALL-REGIONS-per-project", limit=2, contact_email="a@example.com",
        justification="a benchmark",
    ), pulumi.ResourceOptions(),
)
if rung:

    def explain(args):
        Path("said").write_text(args.errors[0])
        return False

    hook = pulumi.ErrorHook("explain", explain)
    GpuVm(
        "capacity",
        GpuVmArgs(
            project=PROJECT,
            region="us-central1",
            zones=tuple(rung["zones"]),
            machine_types=tuple(rung["machine_types"]),
            accelerator=rung["accelerator"],
            gpus=1,
            purchase=Purchase(rung["purchase"]),
            reservation=rung.get("reservation"),
            max_seconds=3600,
            base_name=names.base_name(rung["id"]),
            service_account=run.email,
            end_role=run.end_role,
            nat=True,
            metadata={"gpubench-image": IMAGE, "gpubench-secrets": run.secrets.apply(json.dumps)},
            labels={"gpubench-stack": "test", "gpubench-attempt": rung["id"]},
            hooks=pulumi.ResourceHookBinding(on_error=[hook]),
            after=[run, images, results],
        ),
    )
"""

RUNGS: dict[str, dict[str, Any]] = {
    "group": {"machine_types": ["g2-standard-4", "g2-standard-8"], "accelerator": "nvidia-l4", "purchase": "spot"},
    "attached": {"machine_types": ["n1-standard-4"], "accelerator": "nvidia-tesla-t4", "purchase": "on-demand"},
    "instance": {
        "machine_types": ["a2-highgpu-1g"],
        "accelerator": "nvidia-tesla-a100",
        "purchase": "on-demand",
        "zones": ["us-central1-b"],
    },
    "flex-start": {"machine_types": ["a2-highgpu-1g"], "accelerator": "nvidia-tesla-a100", "purchase": "flex-start"},
    "reserved": {
        "machine_types": ["a3-ultragpu-8g"],
        "accelerator": "nvidia-h200-141gb",
        "purchase": "reserved",
        "reservation": "ours",
        "zones": ["us-central1-b"],
    },
}


class World:
    """A stack's folder, and the simulated cloud that it is brought up on."""

    def __init__(self, folder: Path, scenario: str = "") -> None:
        made = Scenario.from_text(scenario or "about: enough of everything")
        self.clock = SimulatedClock(made.start)
        self.cloud = Cloud(made, self.clock)
        self.folder = folder
        (folder / "Pulumi.yaml").write_text("name: gpubench\nruntime: python\n")
        (folder / "__main__.py").write_text(PROGRAM)
        self.engine = EmbeddedEngine(folder, "test", folder / "state", {"gcp": SimulatedProvider("gcp", self.cloud)})

    def ask(self, kind: str | None, attempt: str = FIRST) -> None:
        """Write the stack's config: which attempt is under way; None: no run is due."""
        zones = ["us-central1-a", "us-central1-b", "us-central1-c"]
        rung = {"zones": zones, **RUNGS[kind], "id": attempt} if kind else None
        config = {"gpubench:attempt": json.dumps(rung)}
        (self.folder / "Pulumi.test.yaml").write_text(yaml.safe_dump({"config": config}))

    def types(self) -> list[str]:
        """Short names of the types that are in the state, the cloud's only."""
        found = json.loads((self.folder / "state" / "test.json").read_text())["deployment"]["resources"]
        return sorted(one["type"].rpartition(":")[2] for one in found if one["type"].startswith("gcp:"))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "correct horse")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path)


@pytest.mark.parametrize("kind", RUNGS)
def test_a_preview_of_the_whole_stack_is_accepted(world: World, kind: str) -> None:
    world.ask(kind)
    assert world.engine.preview().changes.create > 15
    assert not world.cloud.requests()


@pytest.mark.parametrize("kind", ["group", "attached", "instance"])
def test_a_machine_comes_with_the_attempt_and_goes_with_it(world: World, kind: str) -> None:
    world.ask(kind)
    world.engine.up()
    (machine,) = world.cloud.machines(FIRST)
    rung = RUNGS[kind]
    assert (machine.machine_type, machine.purchase) == (rung["machine_types"][0], rung["purchase"])
    assert (machine.project, machine.stack, machine.ended) == ("my-project", "test", None)
    assert machine.zone in rung.get("zones", ["us-central1-a", "us-central1-b", "us-central1-c"])
    again = world.engine.up().changes
    assert again.same > 15
    assert (again.create, again.update, again.replace, again.delete) == (0, 0, 0, 0)

    world.ask(None)
    world.engine.up()
    (machine,) = world.cloud.machines(FIRST)
    assert machine.ended
    # What is the stack's stays while the stack does, what is an attempt's has gone.
    kept = {"Account", "IAMMember", "IAMCustomRole", "Secret", "SecretVersion", "SecretIamMember", "SQuotaPreference"}
    assert set(world.types()) == kept | {"Repository", "RepositoryIamMember", "Bucket", "BucketIAMMember"}

    world.engine.destroy()
    assert not world.cloud.leftovers("test")
    assert _there(world) == {"Repository", "Bucket", "SQuotaPreference"}


def test_another_attempt_has_capacity_of_its_own_in_the_same_network(world: World) -> None:
    world.ask("group")
    world.engine.up()
    networks = [one.id for one in _resources(world) if one.type_token.endswith(":Network")]
    world.ask("instance", SECOND)
    world.engine.up()
    (old,), (new,) = world.cloud.machines(FIRST), world.cloud.machines(SECOND)
    assert old.ended and not new.ended
    assert [one.id for one in _resources(world) if one.type_token.endswith(":Network")] == networks
    named = {one.name for one in _resources(world) if one.type_token.endswith(":Instance")}
    assert named == {names.base_name(SECOND)}


def test_a_machine_ends_when_its_time_is_over_and_nothing_takes_its_place(world: World) -> None:
    world.ask("group")
    world.engine.up()
    world.cloud.sleep(3600 + 900)
    assert [one.why_ended for one in world.cloud.machines(FIRST)] == ["its maximum run duration was reached"]


def test_a_refused_instance_is_explained_by_its_hook(tmp_path: Path) -> None:
    world = World(tmp_path, "stock: [{tier: a100-40, machines: 0}]")
    world.ask("instance")
    with pytest.raises(EngineError, match="Error waiting for instance to create") as failed:
        world.engine.up()
    assert not world.cloud.machines(FIRST)
    said = (tmp_path / "said").read_text()
    assert said and said in str(failed.value)


def test_a_secret_is_in_no_ones_state_in_clear(world: World) -> None:
    world.ask("group")
    world.engine.up()
    assert "canary-77aa" not in (world.folder / "state" / "test.json").read_text()
    assert {STACK_LABEL, ATTEMPT_LABEL} == {"gpubench-stack", "gpubench-attempt"}, "as the program above writes them"


def _resources(world: World) -> list[Any]:
    return list(world.cloud._capacity.holdings)


def _there(world: World) -> set[str]:
    return {one.type_token.rpartition(":")[2] for one in _resources(world)}
