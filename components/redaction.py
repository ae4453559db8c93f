"""Blots secrets out of what a run prints, before it reaches a log, a manifest or a terminal. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_SHOWN = b"[secret]"
_LINE = 8  # characters from which on a line of a secret is blotted out by itself


class Redactor:
    """Blots out each secret as it is, as JSON writes it, and each longer line of one with several (a private key)."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            texts = (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
            forms.update(text.encode(errors="surrogateescape") for text in texts if text)
            forms.update(line.strip().encode() for line in secret.splitlines() if len(line.strip()) >= _LINE)
        self._forms = sorted(
            forms, key=len, reverse=True
        )  # the longest first: an alternation takes the first that fits
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)))
        self._held = b""

    def text(self, text: str) -> str:
        """The whole text without secrets."""
        return self._blot(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def feed(self, piece: bytes) -> bytes:
        """The next piece of a stream without secrets; what may be the beginning of one is held back for now."""
        data = self._held + piece
        cut = len(data) - self._beginning_of_a_secret(data)
        if self._forms:
            for match in self._pattern.finditer(data):
                if match.start() < cut < match.end():
                    cut = match.end()
        self._held = data[cut:]
        return self._blot(data[:cut])

    def flush(self) -> bytes:
        """What was held back, at the stream's end: half a secret is one; three letters in common with it aren't."""
        held, self._held = self._held, b""
        return _SHOWN if len(held) > 3 else held

    def _blot(self, data: bytes) -> bytes:
        return self._pattern.sub(_SHOWN, data) if self._forms else data

    def _beginning_of_a_secret(self, data: bytes) -> int:
        """How many of the last bytes may be the beginning of a secret that isn't all there yet."""
        for length in range(min(len(self._forms[0]) - 1, len(data)) if self._forms else 0, 0, -1):
            end = data[-length:]
            if any(len(form) > length and form.startswith(end) for form in self._forms):
                return length
        return 0
