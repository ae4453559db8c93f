"""Whether this process is part of a rehearsal (`gpubench drill`), and what a rehearsal puts in a cloud's place.

The simulated cloud lives in the process of `gpubench drill`. The program and the run's provider may be processes of
their own, as under the Pulumi CLI; they find it by an environment variable.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from placement.clock import Clock, SystemClock

if TYPE_CHECKING:
    from components.interface import Surface
    from engine.embedded.providers import Provider
    from engine.simulated.cloud import Cloud

VARIABLE = "GPUBENCH_DRILL"
STAND_INS_VARIABLE = "GPUBENCH_STAND_INS"
"""``1``: a rehearsal takes stand-ins for all surfaces. They declare little, and load no cloud's SDK, which takes
seconds: for tests and benchmarks of the walk itself."""

PACKAGES = ("gcp", "aws", "kubernetes")
"""The Pulumi packages whose resources the simulated cloud makes."""


def is_on() -> bool:
    """Whether this process is part of a rehearsal."""
    return VARIABLE in os.environ


def clock() -> Clock:
    """A rehearsal's own time, or this machine's."""
    return cloud() if is_on() else SystemClock()


def cloud() -> Cloud:
    """The simulated cloud, of this process or of another."""
    from engine.simulated.connection import connect

    found = connect()
    assert found is not None, "only a rehearsal has a simulated cloud"
    return found


def providers() -> dict[str, Provider]:
    """The simulated cloud's providers, by package, for the embedded engine; none outside a rehearsal."""
    if not is_on():
        return {}
    from engine.simulated.provider import SimulatedProvider

    return {package: SimulatedProvider(package, cloud()) for package in PACKAGES}


def surface(name: str) -> Surface:
    """A surface whose cloud is the simulated one: itself where it has landed, else its stand-in."""
    from catalog import Surface as SurfaceName

    if os.environ.get(STAND_INS_VARIABLE) != "1":
        from engine.simulated.landed import LANDED

        if landed := LANDED.get(SurfaceName(name)):
            return landed()
    from engine.simulated.standins import StandIn

    return StandIn(SurfaceName(name))
