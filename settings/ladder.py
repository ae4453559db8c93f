"""``gpubench:ladder`` as a whole, and ``gpubench:rung``, which pins one of its rungs."""

from __future__ import annotations

from collections.abc import Mapping

from placement.ladder import Rung, expand
from settings.entry import read_entry
from settings.google import tell_flex_start
from settings.mistakes import TOLD, Mistakes, did_you_mean, shown, some_of
from settings.model import PROJECT


def read_ladder(
    parsed: Mapping[str, object], defaults: Mapping[str, str], mistakes: Mistakes
) -> tuple[Rung, ...] | None:
    """The rungs; None if any entry has a mistake. ``defaults``: the providers' keys, such as ``gcp:project``."""
    path = f"{PROJECT}:ladder"
    raw = parsed.get("ladder")
    if raw is TOLD:
        return None
    if "ladder" not in parsed:
        mend = "smallest ladder: `gpubench:ladder: [{surface: local}]`"
        mistakes.add(path, "missing", "a list of places, best first", mend)
        return None
    if not isinstance(raw, list):
        is_entry = isinstance(raw, Mapping)
        mend = "put a `- ` before the first key of each entry" if is_entry else "write a list: `[{surface: local}]`"
        mistakes.add(path, shown(raw), "a list of entries", mend)
        return None
    if not raw:
        mistakes.add(path, "an empty ladder", "at least one entry", "add one, as in `- surface: local`")
        return None
    before = len(mistakes)
    rungs: list[Rung] = []
    made_by: dict[str, int] = {}
    for index, one in enumerate(raw):
        where = f"{path}[{index}]"
        entry = read_entry(one, where, defaults, mistakes)
        for rung in expand([entry] if entry else []):
            tell_flex_start(rung, where, mistakes)
            if rung.id not in made_by:
                made_by[rung.id] = index
                rungs.append(rung)
                continue
            first = made_by[rung.id]
            why = ": a value is listed twice" if first == index else ": remove one of them"
            mend = f"it is already made by {path}[{first}]{why}"
            mistakes.add(where, f"the rung {rung.id} again", "each rung once on a ladder", mend)
    return tuple(rungs) if len(mistakes) == before else None


def read_rung(parsed: Mapping[str, object], ladder: tuple[Rung, ...] | None, mistakes: Mistakes) -> str | None:
    """The id of the pinned rung, which must be on the ladder (if the ladder is known)."""
    value = parsed.get("rung")
    if "rung" not in parsed or value is TOLD:
        return None
    path = f"{PROJECT}:rung"
    if not isinstance(value, str) or not value:
        mend = "write the id of one of the ladder's rungs, or remove the key"
        mistakes.add(path, shown(value), "the id of a rung, a text", mend)
        return None
    ids = [rung.id for rung in ladder or ()]
    if ladder is not None and value not in ids:
        mend = did_you_mean(value, ids, "the pinned rung is not on the ladder: pin one of these, or remove the key")
        mistakes.add(path, shown(value), some_of(ids), mend)
    return value
