"""The surfaces, one folder each. A new surface is a new folder with a `surface.py`; it is found here by its name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from catalog import Surface as SurfaceName
from engine import rehearsal

if TYPE_CHECKING:
    from components.interface import Surface

_ROOT = Path(__file__).parent


class SurfaceNotBuilt(Exception):
    """A rung asks for a surface that this version of gpubench doesn't have yet."""

    def __init__(self, surface: str, rung: str) -> None:
        super().__init__(
            f"rung {rung}: surface {surface} isn't built yet; this version runs {', '.join(built())}. "
            "Put a rung of these first on gpubench:ladder, or pin one: gpubench:rung: local/any"
        )


def built() -> tuple[str, ...]:
    """The surfaces that this version can run on: in a rehearsal all of them."""
    if rehearsal.is_on():
        return tuple(SurfaceName)
    return tuple(sorted(path.parent.name.replace("_", "-") for path in _ROOT.glob("*/surface.py")))


def require(surface: str, rung: str) -> None:
    """Raises SurfaceNotBuilt if this version can't run on the surface of this rung."""
    if surface not in built():
        raise SurfaceNotBuilt(surface, rung)


def load(surface: str, rung: str) -> Surface:
    """The surface's module (imported only now: a cloud's SDK takes seconds). Raises SurfaceNotBuilt."""
    require(surface, rung)
    if rehearsal.is_on():
        return rehearsal.surface(surface)
    return cast("Surface", importlib.import_module(f"components.{surface.replace('-', '_')}.surface"))
