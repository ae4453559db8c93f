"""What a run leaves beside its results: its log, and whether it left results at all. Standard library only.

Who watches a run uses it: this machine's supervisor, and the agent on a cloud's machine, which it travels with.
"""

from __future__ import annotations

import errno
import signal
import stat
from pathlib import Path
from typing import IO

import results_folder
from components.redaction import Redactor

LIMIT = 64 * 1024 * 1024
"""Bytes of log that are kept; a run that prints without end must not fill the disk."""
RESERVE = 256 * 1024
"""Bytes that are set aside, so that a run which fills the disk can still be sealed."""
# The end of the log that a failure quotes; a manifest's message has 4000 characters.
_TAIL_LINES, _TAIL_BYTES = 40, 3500


class Log:
    """A run's log: what it prints, secrets blotted out, up to a limit. Never fails: a full disk must not stop a run."""

    def __init__(self, path: Path, secrets: list[str]) -> None:
        self._file = path.open("ab", buffering=0)
        self._redactor = Redactor(secrets)
        self._room = LIMIT - path.stat().st_size  # a machine that restarted goes on with the log that it had
        self._end = b""
        self.disk_full = False

    def pump(self, stream: IO[bytes]) -> None:
        """Copy the stream until it ends."""
        while piece := stream.read(65536):
            self.feed(piece)
        self.flush()

    def feed(self, piece: bytes) -> None:
        """Add what a run prints; the beginning of what may be a secret waits for the next piece."""
        self.keep(self._redactor.feed(piece))

    def flush(self) -> None:
        """Add what has waited: the run prints no more."""
        self.keep(self._redactor.flush())

    @property
    def tail(self) -> str:
        """The last lines: where a program says why it ended."""
        return "\n".join(self._end.decode(errors="replace").splitlines()[-_TAIL_LINES:])

    def keep(self, text: bytes) -> None:
        """Add a text that has no secrets."""
        self._end = (self._end + text)[-_TAIL_BYTES:]
        kept = text[: max(0, self._room)]
        if not kept:
            return
        self._room -= len(kept)
        if not self._room:
            kept += b"\n[the rest of the log is left out: 64 MiB are enough]\n"
        try:
            self._file.write(kept)
        except OSError as error:
            self.disk_full = self.disk_full or error.errno in (errno.ENOSPC, errno.EDQUOT)


def left_files(folder: Path) -> bool:
    """Whether a run left files of its own in its results folder."""
    ours = (results_folder.RESERVE, results_folder.PROGRESS, results_folder.MANIFEST)
    return any(stat.S_ISREG(path.lstat().st_mode) for path in folder.rglob("*") if path.name not in ours)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
