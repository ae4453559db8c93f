"""A stack's file for another region: the same benchmark, results store and budget, and a ladder that is there.

Comments and the way that things are written are kept: people read these files.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import catalog
from catalog import Surface
from catalog.repositories import ecr_repository_of
from settings.credentials import holds_encrypted
from settings.mistakes import did_you_mean
from settings.model import PROJECT, Settings

_PROVIDER_KEYS = {Surface.ECS: "aws:region", Surface.GCE: "gcp:region"}
_LISTS = {"tier": "tiers", "machine_type": "machine_types"}
_OF_THE_CLI = ("encryptionsalt", "encryptedkey")
"""What the Pulumi CLI itself writes: another stack has secrets of its own."""


class MigrationError(Exception):
    """The stack can't be brought there. The text says why, and what can be done."""


@dataclass
class Migration:
    """``text``: the new stack's file. ``notes``: what is not as it was, a line each. ``secrets``: keys to be copied."""

    text: str = ""
    notes: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    provider: str = ""
    """The secrets provider of the old stack, if it has one of its own."""


def migrate(text: str, region: str, source: str) -> Migration:
    """The file of a stack that does in ``region`` what this one does. ``source``: its name, for messages.

    Raises MigrationError where no entry of the ladder can be had there; SettingsError for a file that isn't right.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(text)
    config, made = document["config"], Migration()
    _check(_plain(config), source)
    known = sorted({one for surface in Surface for one in catalog.regions(surface)})
    if region not in known:
        mend = did_you_mean(region, known, "`gpubench tiers` lists them")
        raise MigrationError(f"--to {region}: no region of the catalogue; {mend}")
    _move_ladder(config, region, made)
    _move_keys(config, region, made)
    for key in [key for key, value in config.items() if holds_encrypted(_plain(value))]:
        made.secrets.append(str(key))
        del config[key]
    made.provider = str(document.get("secretsprovider") or "")
    for key in (*_OF_THE_CLI, "secretsprovider"):
        document.pop(key, None)
    _check({**_plain(config), **{key: {"secure": "v1:"} for key in made.secrets}}, source)
    written = io.StringIO()
    yaml.dump(document, written)
    made.text = written.getvalue()
    return made


def _move_ladder(config: MutableMapping[str, Any], region: str, made: Migration) -> None:
    ladder, moved = config[f"{PROJECT}:ladder"], False
    kept: list[Any] = []
    there: set[str] = set()
    for number, entry in enumerate(ladder):
        surface, where = str(entry.get("surface")), f"{PROJECT}:ladder[{number}]"
        moves = region in catalog.regions(surface)
        if moves and (why := _move(entry, surface, region, where, made)):
            made.notes.append(f"{where} is left out: {why}")
            continue
        rungs = _rungs(config, entry)
        if rungs <= there:
            made.notes.append(f"{where} is left out: an entry before it has the same rungs now")
            continue
        moved = moved or moves
        there |= rungs
        kept.append(entry)
    if not moved:
        why_not = made.notes or [f"no entry is on a surface that {region} has"]
        raise MigrationError("\n  - ".join([f"--to {region}: nothing of the ladder can be had there", *why_not]))
    for number in reversed(range(len(ladder))):
        if not any(ladder[number] is entry for entry in kept):
            del ladder[number]


def _rungs(config: MutableMapping[str, Any], entry: Any) -> set[str]:
    """The ids of the rungs that an entry makes, by itself."""
    values = {key: config[key] for key in ("gcp:project", *_PROVIDER_KEYS.values()) if key in config}
    values[f"{PROJECT}:ladder"] = [_plain(entry)]
    return {rung.id for rung in Settings.from_config(values).ladder}


def _move(entry: MutableMapping[str, Any], surface: str, region: str, where: str, made: Migration) -> str:
    """Change an entry for the region; why it can't be had there, or nothing."""
    if "reservation" in entry:
        return f"reservation {entry['reservation']} is one of another region"
    for single, plural in _LISTS.items():
        key = plural if plural in entry else single if single in entry else ""
        if not key or entry[key] == "any":
            continue
        values = list(entry[key]) if key == plural else [entry[key]]
        sold = [one for one in values if catalog.offers(**{single: one}, surface=surface, region=region)]
        if not sold:
            return f"{surface} in {region} has no {', '.join(str(one) for one in values)}"
        if gone := [str(one) for one in values if one not in sold]:
            made.notes.append(f"{where}.{key}: without {', '.join(gone)}, which {region} doesn't have")
            entry[key][:] = sold
    for key in ("zone", "zones"):
        if key in entry:
            made.notes.append(f"{where}.{key} is left out: those are zones of another region")
            del entry[key]
    if "regions" in entry:
        place = list(entry).index("regions")
        del entry["regions"]
        insert = getattr(entry, "insert", None)
        if insert is not None:
            insert(place, "region", region)
    entry["region"] = region
    return ""


def _move_keys(config: MutableMapping[str, Any], region: str, made: Migration) -> None:
    """What else names a region."""
    for surface, key in _PROVIDER_KEYS.items():
        if key in config and region in catalog.regions(surface):
            config[key] = region
    if f"{PROJECT}:rung" in config:
        made.notes.append(f"{PROJECT}:rung is left out: it pins a rung of another region")
        del config[f"{PROJECT}:rung"]
    aws = (config.get(f"{PROJECT}:aws") or {}) if region in catalog.regions(Surface.ECS) else {}
    for key in ("subnets", "security_groups"):
        elsewhere = [one for one in aws.get(key) or {} if one != region]
        for one in elsewhere:
            del aws[key][one]
        if elsewhere:
            made.notes.append(f"{PROJECT}:aws.{key}: without {', '.join(elsewhere)}; name those of {region}, or none")
        if key in aws and not aws[key]:
            del aws[key]
    if aws.get("network") == "endpoints" and region not in (aws.get("subnets") or {}):
        _note_endpoints(config, aws, region, made)
    google = config.get(f"{PROJECT}:google") or {}
    found = re.fullmatch(r"projects/[^/]+/regions/([^/]+)/subnetworks/[^/]+", str(google.get("subnet", "")))
    if found and found[1] != region and region in catalog.regions(Surface.GCE):
        made.notes.append(f"{PROJECT}:google.subnet is left out: it is in {found[1]}")
        del google["subnet"]
    for key in (f"{PROJECT}:aws", f"{PROJECT}:google"):
        if key in config and not config[key]:
            del config[key]


def _note_endpoints(config: Mapping[str, Any], aws: Mapping[str, Any], region: str, made: Migration) -> None:
    """What a network with endpoints alone won't reach from there."""
    where = f"{PROJECT}:aws.network: endpoints reach {region} alone"
    benchmark = config.get(f"{PROJECT}:benchmark") or {}
    for key, image in (("benchmark.image", benchmark.get("image")), ("aws.uploader_image", aws.get("uploader_image"))):
        found = ecr_repository_of(str(image)) if image else None
        if image and (found is None or found.region != region):
            made.notes.append(f"{where}: copy {PROJECT}:{key} into its ECR, and name it there; or write network: nat")
    made.notes.append(f"{where}: the bucket of {PROJECT}:results has to be there, too; or write network: nat")


def _check(config: dict[str, Any], source: str) -> None:
    secrets = [key for key, value in config.items() if holds_encrypted(value)]
    Settings.from_config(config, secrets, source=source)


def _plain(value: Any) -> Any:
    """A document's values without what keeps its looks."""
    if isinstance(value, MutableMapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, str) else value
