"""Printing for people: a console of a given width on any kind of file, and text that can't steer a terminal."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 100

# XML 1.0 has no form for these, escaped or not; a name with them must not break the file (or steer a terminal).
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


def clean(value: object) -> str:
    """Text that any of our outputs can hold: control, surrogate and direction-changing characters become U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", str(value))


@contextmanager
def console(file: TextIO, width: int | None, narrowest: int) -> Iterator[Console]:
    """A console whose output is written to the file at the end; in colours on a terminal, plain elsewhere.

    ``width``: columns; None: those of ``COLUMNS`` or of the terminal, else 100. Never less than ``narrowest``.
    """
    from rich.console import Console  # late: `gpubench --help` has no use for it

    terminal = file.isatty()
    if width is None:
        columns = os.environ.get("COLUMNS", "")
        fallback = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if terminal else PLAIN_WIDTH
        width = int(columns) if columns.isdecimal() and int(columns) > 0 else fallback
    held = io.StringIO()
    yield Console(
        file=held, width=max(narrowest, width), force_terminal=terminal, markup=False, highlight=False, emoji=False,
        no_color=bool(os.environ.get("NO_COLOR")), color_system="auto" if terminal else None, legacy_windows=False,
    )  # fmt: skip
    # A log file or a C locale may not know "–" or "×": a question mark is better than nothing printed.
    encoding = getattr(file, "encoding", None) or "utf-8"
    text = "".join(line.rstrip() + "\n" if not terminal else line + "\n" for line in held.getvalue().splitlines())
    file.write(text.encode(encoding, errors="replace").decode(encoding))
