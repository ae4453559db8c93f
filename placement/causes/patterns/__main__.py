"""Prints the table of patterns for docs/failures.md."""

from __future__ import annotations

from placement.causes.patterns import as_markdown

print(as_markdown(), end="")
