"""A rehearsal: the whole program of a stack, on either engine, against a simulated cloud and with simulated time.

It lives in a folder of its own (`.gpubench/drills/<stack>/`): its state, its ledger, its results, its copy of the
stack's config. Nothing of the stack itself is touched, no cloud is asked, and nothing is measured.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from benchmark_job import store
from benchmark_job.order import job_digest
from benchmark_job.report import walk_report
from engine import masters, pulumi_cli, rehearsal
from engine.base import Engine, EngineError, InputError
from engine.hands import EngineHands
from engine.passphrase import Passphrase
from engine.simulated import connection
from engine.simulated.clock import SimulatedClock
from engine.simulated.cloud import Cloud
from engine.simulated.scenario import Scenario
from engine.stack_config import stack_file
from placement import timeline
from placement.ledger import Attempt
from placement.plan import Plan
from placement.telling import Teller, walked
from placement.walk import End, Ending, Walk
from settings import Settings, StackFile, read_stack_file

LOG = "engine.log"
SCENARIO_STACK = "scenario"
_PASSPHRASE = "rehearsal"  # noqa: S105 - it protects placeholders
_PLACEHOLDER = "a secret's placeholder: a rehearsal has no use for the secret"


def run(project: Path, stack: str | None, scenario: Scenario, *, engine: str, wait: timedelta) -> int:
    """Rehearse, show the walk as a timeline and write its report; the exit code.

    Without a stack the scenario's own is rehearsed. 0: it gets results, 1: a cause stops it, 3: nothing is left to try.
    """
    if stack is not None:
        name, file = stack, read_stack_file(stack_file(project, stack))
    elif scenario.stack:
        name, file = SCENARIO_STACK, stack_of(scenario)
    else:
        raise InputError("name a stack to rehearse (--stack prod), or a scenario that has one of its own (--scenario)")
    folder = project / ".gpubench" / "drills" / name
    said = io.StringIO()
    done = rehearse(folder, project, name, file, scenario, engine=engine, file=said, wait=wait)
    facts = {"engine": engine, **({"scenario": scenario.about} if scenario.about else {})}
    shown = walked(done.ending, done.settings, name, done.begun, done.ended, done.attempts, simulated=True, facts=facts)
    timeline.render(shown, sys.stdout)
    written = walk_report.write(folder / "report", shown, done.plan)
    report = next(path for path in written if path.suffix == ".html")
    print(f"\nReport: {report.relative_to(project)}\nWhat the engine printed: {(folder / LOG).relative_to(project)}")
    return exit_code(done.ending)


def exit_code(ending: Ending) -> int:
    """What a process ends with after a walk."""
    return {End.DONE: 0, End.NOTHING_DUE: 0, End.NOTHING_LEFT: 3}.get(ending.end, 1)


def stack_of(scenario: Scenario) -> StackFile:
    """The stack that a scenario brings along, as if it stood in a file."""
    values = dict(scenario.stack)
    path = Path(f"Pulumi.{SCENARIO_STACK}.yaml")
    return StackFile(path, values, frozenset(), encryption_salt=None, secrets_provider=None, raw={"config": values})


@dataclass(frozen=True)
class Rehearsal:
    """What came of it. ``usd``: the simulated cloud's bill; ``machines_left``: those that still run, by their ids."""

    folder: Path
    settings: Settings
    ending: Ending
    attempts: tuple[Attempt, ...]
    begun: datetime
    ended: datetime
    usd: float
    machines_left: tuple[str, ...]
    error: EngineError | None
    plan: Plan | None
    cloud: Cloud


def rehearse(
    folder: Path,
    project: Path,
    stack: str,
    config: StackFile,
    scenario: Scenario,
    *,
    engine: str = masters.EMBEDDED,
    file: TextIO,
    wait: timedelta = timedelta(0),
) -> Rehearsal:
    """Rehearse a stack in `folder`, which is made anew.

    `project`: where the program is. `config`: the stack's file as it was read. `file`: the walk is told there. Raises
    SettingsError for a config with mistakes, InputError if the engine isn't there.
    """
    _make(folder, project, stack, config)
    values = {**config.values, "gpubench:results": str(folder / "results")}
    settings = Settings.from_config(values, config.secret_keys, source=f"Pulumi.{stack}.yaml")
    cloud = Cloud(scenario, SimulatedClock(scenario.start))
    with ExitStack() as held:
        log = held.enter_context((folder / LOG).open("w"))
        held.enter_context(_environment(folder, project))
        held.enter_context(connection.serve(cloud))
        running = held.enter_context(_engine(engine, folder, stack, cloud, log))
        ledger = store.ledger(settings.results.url, stack)
        hands = EngineHands(settings, stack, running, ledger, cloud)
        job = job_digest(settings.benchmark)
        begun = cloud.now()
        teller = Teller(settings, stack, job, cloud, file)
        ending = Walk(settings, stack, job, ledger, hands, cloud, teller, wait).go()
        return Rehearsal(
            folder=folder,
            settings=settings,
            ending=ending,
            attempts=ledger.attempts(),
            begun=begun,
            ended=cloud.now(),
            usd=sum(charge.usd for charge in cloud.bill()),
            machines_left=tuple(machine.id for machine in cloud.machines() if machine.ended is None),
            error=hands.error,
            plan=teller.plan,
            cloud=cloud,
        )


def _make(folder: Path, project: Path, stack: str, config: StackFile) -> None:
    """The rehearsal's project: this program under a config whose secrets are placeholders."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("state", "backend", "home", "results"):
        (folder / part).mkdir(parents=True)
    for name in ("__main__.py", "Pulumi.yaml"):
        (folder / name).symlink_to(project / name)
    (folder / ".venv").symlink_to(sys.prefix)
    values: dict[str, Any] = {**config.values, "gpubench:results": str(folder / "results")}
    made: dict[str, Any] = {"config": values}
    if config.secret_keys:
        crypter = Passphrase.new(_PASSPHRASE)
        made["encryptionsalt"] = crypter.salt
        for key in config.secret_keys:
            values[key] = {"secure": crypter.encrypt(_PLACEHOLDER)}
    # JSON is YAML with all texts in quotes: PyYAML leaves account id 012345678901 bare, and other readers make it a
    # number.
    text = json.dumps(made, indent=2, ensure_ascii=False)
    (folder / f"Pulumi.{stack}.yaml").write_text(text + "\n", encoding="utf-8")


@contextmanager
def _environment(folder: Path, project: Path) -> Iterator[None]:
    """What the rehearsal's processes see: its own state and backend, and nobody's credentials."""
    hidden = ("AWS_", "GOOGLE_", "CLOUDSDK_", "PULUMI_", "GPUBENCH_", "KUBECONFIG")
    before = dict(os.environ)
    for name in before:
        if name.startswith(hidden) and name != rehearsal.STAND_INS_VARIABLE:
            del os.environ[name]
    os.environ.update(
        GPUBENCH_STATE=str(folder / "state"),
        PULUMI_BACKEND_URL=f"file://{folder / 'backend'}",
        PULUMI_HOME=str(folder / "home"),
        PULUMI_CONFIG_PASSPHRASE=_PASSPHRASE,
        PYTHONPATH=os.pathsep.join([str(project), *filter(None, [before.get("PYTHONPATH")])]),
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _engine(name: str, folder: Path, stack: str, cloud: Cloud, log: TextIO) -> Iterator[Engine]:
    """The engine, with the simulated cloud for its providers and its output in a file."""
    if name == masters.EMBEDDED:
        from engine.embedded.engine import EmbeddedEngine

        with contextlib.redirect_stdout(log):
            yield EmbeddedEngine(folder, stack, folder / "state", rehearsal.providers())
        return
    program = pulumi_cli.find()
    if program is None:
        raise InputError("--engine pulumi: the Pulumi CLI isn't on the PATH; leave the option out to rehearse without")
    from engine.simulated import grpc_provider

    with grpc_provider.serve(cloud, rehearsal.PACKAGES) as attached:
        os.environ["PULUMI_DEBUG_PROVIDERS"] = attached
        yield pulumi_cli.PulumiCli(program, folder, stack, output=log)
