"""Scenario files and flags: what they mean, and what is said of mistakes. And the way to a cloud in another process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from catalog import Surface
from engine.simulated import connection
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud, CloudError
from engine.simulated.scenario import Scenario, ScenarioError
from placement.verdicts import Kind, Question, Quotas

ROOT = Path(__file__).parents[2]


def mistakes(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as error:
        Scenario.from_text(text, "f.yaml")
    return list(error.value.mistakes)


def test_an_empty_file_is_a_cloud_with_plenty() -> None:
    assert Scenario.from_text("") == Scenario()


def test_the_example_of_the_docs_is_read() -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    assert blocks
    for block in blocks:
        Scenario.from_text(block)
    # The first one shows every key there is.
    assert set(yaml.safe_load(blocks[0])) == set(Scenario.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stok: []", "stok: unknown key; allowed: keys about, start"),
        ("stok: []", "did you mean stock?"),
        ("stock: [{tier: h10, machines: 1}]", 'stock[0].tier: "h10"; allowed: '),
        ("stock: [{tier: h10, machines: 1}]", "did you mean h100?"),
        ("stock: [{tier: h100}]", "stock[0].machines: is missing; allowed: a whole number"),
        ("stock: [{tier: h100, machines: many}]", 'stock[0].machines: "many"; allowed: a whole number'),
        ("stock: [{machines: -1}]", "stock[0].machines: -1; allowed: a number of 0 or more"),
        ("stock: [{machines: 1, region: us-centrl1}]", "did you mean us-central1?"),
        ("stock: [{machines: 1, region: us-east4, regions: [us-east4]}]", "write one of the two"),
        ("stock: [{machines: 1, advice: perhaps}]", "allowed: right, wrong, none"),
        (
            "stock: [{machines: 1, changes: [{after_minutes: 9, machines: 1}, {after_minutes: 3, machines: 1}]}]",
            "put them in order",
        ),
        ("quotas: [{limit: 1}]", "quotas[0]: neither is written; allowed: quota or tier"),
        ("quotas: [{limit: 1, quota: NVIDIA_L5_GPUS}]", "did you mean NVIDIA_L4_GPUS?"),
        ("deny: [{role: artifactregistry.raeder}]", "did you mean artifactregistry.reader?"),
        ("start: soon", 'start: "soon"; allowed: a time such as'),
        ("flaky: {probability: 7}", "flaky.probability: 7; allowed: 0 to 1"),
        ("latency_seconds: {boots: 1}", "did you mean boot?"),
        ("run: {fails: {cause: quota}}", "allowed: workload, interrupted"),
        ("[]", "scenario: an empty list; allowed: a mapping with keys out of"),
        ("a: [", "not YAML (line "),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(text: str, said: str) -> None:
    (one,) = mistakes(text)
    assert said in one


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes("{stock: [{tier: x, machines: 1}], deny: [{}], leftovers: [], requests_per_minute: 0}")) == 3


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="it can't be read: No such file"):
        Scenario.from_file(tmp_path / "no.yaml")


def test_flags_add_the_deciding_rules() -> None:
    base = Scenario.from_text("stock: [{tier: h100, machines: 3}]")
    made = Scenario.from_flags(
        ["h100@us-central1,us-east4-a", "gce/l4/spot"],
        ["l4@us-west1=0", "GPUS_ALL_REGIONS=2"],
        ["artifactregistry.reader@vm"],
        base,
    )
    assert [(s.tier, s.regions, s.zones, s.surface, s.purchases, s.machines) for s in made.stock] == [
        ("h100", (), (), None, (), 3),
        ("h100", ("us-central1",), (), None, (), 0),
        ("h100", (), ("us-east4-a",), None, (), 0),
        ("l4", (), (), "gce", ("spot",), 0),
    ]
    assert [(q.tier, q.quota, q.regions, q.limit) for q in made.quotas] == [
        ("l4", None, ("us-west1",), 0),
        (None, "GPUS_ALL_REGIONS", (), 2),
    ]
    assert [(d.role, d.principal) for d in made.deny] == [("artifactregistry.reader", "vm")]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"sold_out": ["h10@us-central1"]}, '--sold-out: "h10"'),
        ({"sold_out": ["h100@us-centrl1"]}, "did you mean us-central1?"),
        ({"sold_out": ["h100@"]}, "write it like l4@us-west1,us-east4"),
        ({"quota": ["l4@us-west1"]}, "write l4@us-west1=0"),
        ({"quota": ["l4=nan"]}, "with a limit of 0 or more"),
        ({"deny": ["reader"]}, '--deny: "reader"'),
        ({"deny": ["artifactregistry.reader@me"]}, '--deny: "me"; allowed: execution-role'),
    ],
)
def test_a_mistake_in_a_flag_names_the_flag(flags: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        Scenario.from_flags(**flags)  # type: ignore[arg-type]
    assert str(error.value).startswith("command line: 1 mistake\n") and said in str(error.value)


def limits(text: str, surface: Surface, region: str | None, project: str | None = None) -> dict[str, float]:
    scenario = Scenario.from_text(text)
    cloud = Cloud(scenario, SimulatedClock(scenario.start))
    found = cloud.answer(Question(Kind.QUOTAS, surface, project, region))
    assert isinstance(found, Quotas)
    return {state.quota_id: state.limit for state in found.states}


def test_a_quota_by_tier_is_in_gpus_and_one_by_id_in_its_own_unit() -> None:
    by_tier = "quotas: [{tier: l4, limit: 2}]"
    assert (
        limits(by_tier, Surface.CLOUD_RUN, "us-central1")["NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion"] == 2000
    )
    assert limits(by_tier, Surface.GCE, "us-central1")["NVIDIA-L4-GPUS-per-project-region"] == 2
    assert (
        limits("quotas: [{tier: t4, limit: 1}]", Surface.ECS, "us-east-1")["L-DB2E81BA"] == 4
    )  # vCPUs of a g4dn.xlarge
    by_id = "quotas: [{quota: L-DB2E81BA, limit: 8, project: '1'}, {quota: L-3819A6DF, limit: 4, shown: false}]"
    assert limits(by_id, Surface.ECS, "us-east-1", "1")["L-DB2E81BA"] == 8
    assert limits(by_id, Surface.ECS, "us-east-1", "2")["L-DB2E81BA"] > 10**9
    assert "L-3819A6DF" not in limits(by_id, Surface.ECS, "us-east-1", "1")


def test_a_new_account_has_none_of_what_starts_at_0() -> None:
    assert limits("account: new", Surface.GCE, None)["GPUS-ALL-REGIONS-per-project"] == 0
    assert limits("", Surface.GCE, None)["GPUS-ALL-REGIONS-per-project"] > 10**9


def test_a_limit_changes_with_time() -> None:
    scenario = Scenario.from_text(
        "quotas: [{quota: GPUS_ALL_REGIONS, limit: 0, changes: [{after_minutes: 60, limit: 4}]}]"
    )
    cloud = Cloud(scenario, SimulatedClock(scenario.start))
    asked = Question(Kind.QUOTAS, Surface.GCE, "p")
    for minutes, limit in ((0, 0), (61, 4)):
        cloud.sleep(minutes * 60)
        found = cloud.answer(asked)
        assert isinstance(found, Quotas)
        assert next(s.limit for s in found.states if s.quota_id.startswith("GPUS-ALL")) == limit


def test_a_clock_needs_a_time_zone_and_stands_still() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        SimulatedClock(datetime(2026, 1, 1))
    clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.sleep(-5)
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC)


# Another process

CHILD = """
from engine.simulated.connection import connect
from engine.simulated.cloud import CloudError
cloud = connect()
cloud.sleep(90)
id_, outputs = cloud.create("gcp:storage/bucket:Bucket", "b", {"name": "b", "labels": {"gpubench-stack": "dev"}})
try:
    cloud.run_state("a", "r")
except CloudError as error:
    print(id_, error.status, error, cloud.now().isoformat())
"""


def test_another_process_reaches_the_same_cloud() -> None:
    scenario = Scenario()
    cloud = Cloud(scenario, SimulatedClock(scenario.start))
    with connection.serve(cloud) as value:
        assert connection.connect() is cloud and os.environ[connection.VARIABLE] == value
        found = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert found.stdout.split(" ", 2)[:2] == ["b", "404"], found.stderr
        assert "The resource 'runs/r' was not found" in found.stdout
        assert (cloud.now() - scenario.start).total_seconds() >= 90
        assert [r.name for r in cloud.leftovers("dev")] == ["b"]
        path = Path(value.partition("|")[0])
        assert path.parent.stat().st_mode & 0o077 == 0
    assert not path.exists()
    with pytest.raises(RuntimeError, match="no drill is on"):
        connection.connect()


def test_nobody_without_the_key_is_served() -> None:
    scenario = Scenario()
    with connection.serve(Cloud(scenario, SimulatedClock(scenario.start))) as value:
        # Undone before the drill is over, which takes the variable away: it must not come back after that.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(connection.VARIABLE, value.partition("|")[0] + "|" + "00" * 32)
            with pytest.raises(Exception, match="digest"):
                connection.connect()
        served = connection.connect()
        assert served.machines() == ()
    assert connection.VARIABLE not in os.environ


def test_a_refusal_survives_the_way() -> None:
    error = pickle.loads(pickle.dumps(CloudError("no", 403, "forbidden")))
    assert (str(error), error.status, error.code) == ("no", 403, "forbidden")
