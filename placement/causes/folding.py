"""Texts as the patterns see them: without what wrapping, escaping and printing do to a sentence."""

from __future__ import annotations

import re

HEAD, TAIL = 16_000, 8_000
"""Characters of a long text that are looked at: errors stand at the beginning or at the end of a log."""

_ESCAPED_AT_MOST = 4  # times, one page within another
_NARROWEST, _WIDEST = 40, 250  # columns of a terminal
_ANEW = ("│", "|", "{", "[", "#", "*", "- ")  # what a line begins with that is no other line's rest

# One after the other: on what is mostly ASCII, that is faster than str.translate.
_ASCII_MARKS = (('"', "'"), ("`", "'"), ("*", " "), ("|", " "), ("\x00", ""))
_OTHER_MARKS = (
    ("“", "'"), ("”", "'"), ("‘", "'"), ("’", "'"), ("«", "'"), ("»", "'"),
    ("│", " "), ("╷", " "), ("╵", " "), ("┃", " "), ("\u00a0", " "), ("\u200b", ""),
)  # fmt: skip
_YAML_BREAK = re.compile(r"\\[ \t]*\n\s*\\?")  # a double-quoted scalar goes on in the next line
_HEX = re.compile(r"(?<!\\)\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_ESCAPED_BREAK = re.compile(r"(?<!\\)\\+[nrtNRT]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_QUOTES = re.compile(r"''+")


def fold(text: str) -> str:
    """One line, in its own case: no escapes, HTML entities, colours or frames, every quote a ``'``, single blanks."""
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    if "&" in text:
        from html import unescape  # rarely needed, and slow to import

        for _ in range(_ESCAPED_AT_MOST):
            if (plain := unescape(text)) == text:
                break
            text = plain
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    if "\\" in text:
        text = _YAML_BREAK.sub("", text)
        if "\\u" in text or "\\x" in text:
            text = _HEX.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
        text = _ESCAPED_BREAK.sub(" ", text).replace("\\", "")
    for mark, plain in _ASCII_MARKS if text.isascii() else (*_ASCII_MARKS, *_OTHER_MARKS):
        text = text.replace(mark, plain)
    text = " ".join(text.split())
    return _QUOTES.sub("'", text) if "''" in text else text


def lower(folded: str) -> str:
    """In lower case, and as long as before, so that places in one are places in the other."""
    small = folded.lower()
    return small if len(small) == len(folded) else "".join(c.lower() if len(c.lower()) == 1 else c for c in folded)


def unbroken(text: str) -> str | None:
    """The text with lines joined that a terminal of fixed width broke, perhaps within words; None if there are none."""
    if len(text) > HEAD + TAIL:
        return None
    lines = text.replace("\r\n", "\n").split("\n")
    width = max(map(len, lines))
    if not _NARROWEST <= width <= _WIDEST:
        return None
    joined, broken = [], False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        cut = len(line) == width and line[-1:].strip() and following[:1].strip() and not following.startswith(_ANEW)
        broken |= bool(cut)
        joined.append(line if cut else line + "\n")
    return "".join(joined) if broken else None
