"""What gpubench's own machines and runs say."""

from __future__ import annotations

from placement.causes.model import Cause, Scope
from placement.causes.patterns.model import Pattern

STOCK = (
    Pattern("no-capacity", Cause.CAPACITY, Scope.REGION, ("could not find capacity within",), "gpubench's own groups"),
)

INTERRUPTIONS = (
    Pattern(
        "stopped",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            "stopped on request",
            "was stopped before it began",
            "engine that ordered the run is gone",
            ": the engine is gone",
        ),
        "gpubench's own runs",
        "Run `gpubench up` again to go on.",
    ),
    Pattern(
        "machine-gone",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            "its maximum run duration was reached",
            "its group became smaller",
            r"the attempt's time is over|the time of attempt \S+ is over",
            "the machine is gone, and left no word of why",
        ),
        "gpubench's own watch",
    ),
)
