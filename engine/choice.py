"""Which engine runs a stack, and why."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine import masters, pulumi_cli, rehearsal
from engine.base import Engine, InputError
from engine.masters import EMBEDDED, PULUMI

if TYPE_CHECKING:
    from placement.ladder import Rung

INSTALL = "https://www.pulumi.com/docs/install/"
MOVE = "docs/engines.md#which-one"


@dataclass(frozen=True)
class Choice:
    """An engine's name and the reason for it, to be read after "because"."""

    engine: str
    reason: str


def choose(stack: str, asked: str = "auto") -> Choice:
    """The engine for a stack: the one asked for, else the stack's master, else the Pulumi CLI if it can work.

    Raises InputError if the one asked for isn't installed, or isn't the stack's master.
    """
    if asked != "auto":
        choice = Choice(asked, "--engine asks for it")
    elif masters.deployed_by_embedded(stack):
        choice = Choice(EMBEDDED, "it deployed this stack, and a stack has one master")
    elif masters.deployed_by_pulumi(stack):
        choice = Choice(PULUMI, "it deployed this stack, and a stack has one master")
    else:
        choice = _first_choice()
    if choice.engine == PULUMI and pulumi_cli.find() is None:
        raise InputError(
            f"the Pulumi CLI is wanted because {choice.reason}, and it isn't on the PATH. Install it: {INSTALL}"
        )
    masters.check(stack, choice.engine)
    return choice


def require_deploys(choice: Choice, stack: str, rungs: Iterable[Rung]) -> None:
    """Raises InputError where a rung is on a cloud and the engine deploys to none, before anything is begun.

    ``rungs``: those that may be chosen. In a rehearsal the embedded engine has simulated providers.
    """
    on_a_cloud = [rung.id for rung in rungs if not rung.is_free]
    if choice.engine != EMBEDDED or not on_a_cloud or rehearsal.is_on():
        return
    mend = f"install it ({INSTALL}), log in (pulumi login, or pulumi login --local), and run this again"
    if masters.deployed_by_embedded(stack):
        mend += f"; what the embedded engine has deployed is moved first: {MOVE}"
    raise InputError(
        f"stack {stack}: {on_a_cloud[0]} needs the Pulumi CLI: the embedded engine, taken because {choice.reason}, "
        f"deploys to this machine alone. For the CLI: {mend}. Without it: ./gpubench drill --stack {stack}, or pin a "
        "rung of this machine (gpubench:rung)"
    )


def open_engine(choice: Choice, project: Path, stack: str) -> Engine:
    """The chosen engine, bound to the stack."""
    if choice.engine == PULUMI:
        program = pulumi_cli.find()
        assert program is not None
        return pulumi_cli.PulumiCli(program, project, stack)
    from engine.embedded.engine import (
        EmbeddedEngine,
    )  # the SDK takes a while to import, and the CLI's side needs none of it

    return EmbeddedEngine(project, stack, masters.state_folder(), rehearsal.providers())


def _first_choice() -> Choice:
    if pulumi_cli.find() is None:
        return Choice(EMBEDDED, f"the Pulumi CLI isn't installed ({INSTALL})")
    backend = pulumi_cli.backend_url()
    if backend is None:
        return Choice(EMBEDDED, "the Pulumi CLI isn't logged in to a backend (pulumi login, or PULUMI_BACKEND_URL)")
    passphrase = {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & os.environ.keys()
    if not backend.startswith(("http://", "https://")) and not passphrase:
        return Choice(EMBEDDED, f"the Pulumi CLI's backend {backend} needs PULUMI_CONFIG_PASSPHRASE, which isn't set")
    return Choice(PULUMI, f"the Pulumi CLI is installed and logged in to {backend}")
