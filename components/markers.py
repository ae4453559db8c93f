"""The markers that a run's machine writes among its lines: how far it is, and what went wrong on it.

    gpubench: phase <phase> [<run>]
    gpubench: failed <cause> (<code>): <text>
      <the text's further lines, indented>

components/gce/boot.sh and components/uploads.py write them; the watches of all surfaces read them here.
"""

from __future__ import annotations

import re

_MARKER = re.compile(r"gpubench: (?:phase (?P<phase>[a-z]+)(?: (?P<run>\S+))?|failed (?P<failed>.*))\s*$")
_FAILED = re.compile(r"(?P<cause>[a-z-]+) \((?P<code>[^()]*)\): ?(?P<message>.*)")

_INDENT = "  "
"""What begins the further lines of a failure's text, so that none of them can be taken for a marker."""

_LONGEST_FAILURE = 200  # lines


class Markers:
    """``phase``: the last one, empty before the first; ``run``: the one that it is at, or nothing."""

    def __init__(self) -> None:
        self.phase, self.run = "", ""
        self._failures: list[tuple[str, list[str]]] = []
        self._open = False

    def take(self, line: str) -> None:
        """The next whole line."""
        if self._open and line.startswith(_INDENT):
            if len(self._failures[-1][1]) < _LONGEST_FAILURE:
                self._failures[-1][1].append(line.removeprefix(_INDENT))
            return
        self._open = False
        found = _MARKER.match(line)
        if found is None:
            return
        if found["failed"] is None:
            self.phase, self.run = found["phase"], found["run"] or ""
            return
        said = _FAILED.fullmatch(found["failed"])
        first = f"Cause: {said['cause']} ({said['code']}): {said['message']}" if said else found["failed"]
        self._failures.append((self.run, [first]))
        self._open = True

    def failures(self, *, whole: bool) -> tuple[tuple[str, str], ...]:
        """What went wrong, in order: the run that it was at (empty: none), and the text, as gpubench's own failures.

        Not ``whole``: without one whose text may still be coming.
        """
        told = self._failures if whole or not self._open else self._failures[:-1]
        return tuple((run, "\n".join(lines)) for run, lines in told)
