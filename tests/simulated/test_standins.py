"""A rehearsal on an engine is what the walk in process is: random worlds go through the whole program, on both engines.

So what tests/placement/test_walk.py proves of the walk in process holds for them.
"""

from __future__ import annotations

import io
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark_job.order import PROJECT_ROOT
from engine import drill, rehearsal
from placement.ledger import to_json
from settings import StackFile
from tests.placement import worlds
from tests.placement.worlds import FAULTS, World

_NO_CLI = "no Pulumi CLI on the PATH: these worlds went through the embedded engine only"


def of(number: int) -> World:
    """A world with three kinds of faults, the same one each time."""
    chance = random.Random(f"stand-in {number}")
    return worlds.world(number, chance.randint(1, 5), frozenset(chance.sample(FAULTS, 3)) | {"stock"})


def rehearse(folder: Path, world: World, engine: str) -> drill.Rehearsal:
    path = Path(f"Pulumi.{worlds.STACK}.yaml")
    raw = {"config": dict(world.values)}
    config = StackFile(path, world.values, frozenset(), encryption_salt=None, secrets_provider=None, raw=raw)
    return drill.rehearse(
        folder, PROJECT_ROOT, worlds.STACK, config, world.scenario, engine=engine, file=io.StringIO(), wait=world.wait
    )


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk is what is looked at; what surfaces that have landed declare is the incidents' matter."""
    monkeypatch.setenv(rehearsal.STAND_INS_VARIABLE, "1")


def story(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an attempt was, and what came of it: rung, zones, outcome, cause, scope, code, machine."""
    kept = ("rung", "zones", "outcome", "obtained_zone", "obtained_machine_type", "hours", "begun", "ended", "usd")
    return [
        {key: one.get(key) for key in kept}
        | {key: one.get("failure", {}).get(key) for key in ("cause", "scope", "code", "mend")}
        for one in attempts
    ]


def check(folder: Path, number: int, engine: str) -> None:
    world = of(number)
    done, expected = rehearse(folder, world, engine), worlds.walk(world)
    attempts = [to_json(one) for one in done.attempts]
    assert done.ending.end is expected.ending.end
    assert story(attempts) == story(expected.ledger())
    assert done.usd == pytest.approx(expected.usd, abs=0.01)
    assert not done.machines_left


@pytest.mark.parametrize("number", range(25))
def test_the_embedded_engine_walks_as_the_walk_in_process(tmp_path: Path, number: int) -> None:
    check(tmp_path / "drill", number, "embedded")


@pytest.mark.real_engine
@pytest.mark.skipif(not shutil.which("pulumi"), reason=_NO_CLI)
@pytest.mark.parametrize("number", range(5))
def test_the_pulumi_cli_walks_as_the_walk_in_process(tmp_path: Path, number: int) -> None:
    check(tmp_path / "drill", number, "pulumi")
