"""Where a benchmark may run: the ladder of a stack."""

from __future__ import annotations
