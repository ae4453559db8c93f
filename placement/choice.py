"""Which rung a stack's runs are carried out on. A pure function: it asks no cloud, so preview and update agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placement.ladder import Rung

if TYPE_CHECKING:
    from settings import Settings


def current_rung(settings: Settings) -> Rung:
    """The rung pinned by a person (`gpubench:rung`), else the ladder's first."""
    return settings.pinned_rung or settings.ladder[0]
