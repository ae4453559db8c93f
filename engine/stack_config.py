"""A stack's config as its engine hands it to the program: Pulumi.yaml's defaults, the stack file's values, secrets
opened.

The embedded engine reads with this; the Pulumi CLI does the same by itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from catalog import Surface
from engine.base import PROJECT, InputError
from engine.passphrase import Passphrase, passphrase_from
from settings import SettingsError, StackFile, read_stack_file

UNREADABLE = "[secret that can't be read here]"


@dataclass(frozen=True)
class StackConfig:
    """Full keys (`gpubench:ladder`) and their values as text, structured ones as JSON, secrets in clear.

    `unreadable`: keys of secrets that couldn't be opened; their value is a placeholder, never the ciphertext.
    """

    values: Mapping[str, str]
    secret_keys: frozenset[str]
    unreadable: tuple[str, ...]
    encryption_salt: str | None


def stack_file(project: Path, stack: str) -> Path:
    """The path of the stack's file. Raises InputError, with the stacks that there are, if it doesn't exist."""
    path = project / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        there = sorted(found.name.split(".")[1] for found in project.glob("Pulumi.*.yaml"))
        raise InputError(f"stack {stack}: there is no {path.name}; stacks here: {', '.join(there) or 'none'}")
    return path


def load_stack_config(project: Path, stack: str) -> StackConfig:
    """The config of a stack. Raises SettingsError for a file that can't be read, InputError for a wrong passphrase."""
    path = stack_file(project, stack)
    try:
        file = _read_once(path, path.read_bytes())
    except OSError:
        file = read_stack_file(path)  # which says what is wrong with it
    crypter = _crypter(file)
    unreadable: list[str] = []
    values = dict(_project_defaults(project))
    for key, value in file.values.items():
        if key not in file.secret_keys:
            values[key] = _text(value)
            continue
        opened, all_read = _opened(value, crypter)
        values[key] = _text(opened)
        if not all_read:
            unreadable.append(key)
    return StackConfig(values, frozenset(file.secret_keys), tuple(unreadable), file.encryption_salt)


@lru_cache(maxsize=2)
def _read_once(path: Path, _data: bytes) -> StackFile:
    """A walk runs the program for each attempt, in one process; a long ladder takes a tenth of a second to parse."""
    return read_stack_file(path)


def aws_region(project: Path, stack: str) -> str | None:
    """The region that Pulumi's AWS provider has to be told beside the config: that of the ladder's first rung on ecs.

    What is declared names its own region, but the provider doesn't start without a default one. None where config has
    it (``aws:region``), nothing is on ecs, or the file can't be read, which others say better. Secrets aren't opened.
    """
    path = project / f"Pulumi.{stack}.yaml"
    try:
        values = {**_project_defaults(project), **_read_once(path, path.read_bytes()).values}
    except (OSError, SettingsError):
        return None
    ladder = values.get(f"{PROJECT}:ladder")
    if values.get("aws:region") or not isinstance(ladder, list):
        return None
    for entry in ladder:
        if isinstance(entry, dict) and entry.get("surface") == Surface.ECS:
            regions = entry.get("regions")
            region = entry.get("region") or (regions[0] if isinstance(regions, list) and regions else None)
            if isinstance(region, str):
                return region
    return None


def unreadable_message(config: StackConfig) -> str:
    """Which secrets can't be read, and what to do."""
    return (
        f"secrets that can't be read here: {', '.join(config.unreadable)}. Set PULUMI_CONFIG_PASSPHRASE "
        "(or PULUMI_CONFIG_PASSPHRASE_FILE) to the stack's passphrase; secrets held by a cloud's key or "
        "by Pulumi Cloud need the Pulumi CLI"
    )


def secret_texts(values: Mapping[str, object], secret_keys: Collection[str]) -> Iterator[str]:
    """The secrets of a config, one by one: of a structured one each text in it."""
    for key in secret_keys:
        yield from _texts(values.get(key))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        with suppress(ValueError):
            parsed = json.loads(value)
            if isinstance(parsed, dict | list):
                yield from _texts(parsed)
                return
        if value != UNREADABLE:
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _crypter(file: StackFile) -> Passphrase | None:
    passphrase = passphrase_from()
    if not file.secret_keys or passphrase is None or file.encryption_salt is None:
        return None
    return Passphrase(passphrase, file.encryption_salt)


def _opened(value: Any, crypter: Passphrase | None) -> tuple[Any, bool]:
    """The value with each `{secure: ciphertext}` in it decrypted, at any depth; whether all of them could be."""
    if isinstance(value, dict) and set(value) == {"secure"}:
        if crypter is None:
            return UNREADABLE, False
        try:
            return crypter.decrypt(str(value["secure"])), True
        except ValueError:
            return UNREADABLE, False
    if isinstance(value, dict):
        items = {key: _opened(item, crypter) for key, item in value.items()}
        return {key: item for key, (item, _) in items.items()}, all(read for _, read in items.values())
    if isinstance(value, list):
        parts = [_opened(item, crypter) for item in value]
        return [item for item, _ in parts], all(read for _, read in parts)
    return value, True


def _project_defaults(project: Path) -> Mapping[str, str]:
    """The defaults that Pulumi.yaml's `config:` gives for keys that the stack leaves out."""
    return _defaults((project / "Pulumi.yaml").read_text())


@lru_cache(maxsize=2)
def _defaults(text: str) -> Mapping[str, str]:
    declared = (yaml.safe_load(text) or {}).get("config") or {}
    defaults = {}
    for key, declaration in declared.items():
        default = declaration.get("default", declaration.get("value")) if isinstance(declaration, dict) else declaration
        if default is not None:
            defaults[key if ":" in key else f"{PROJECT}:{key}"] = _text(default)
    return defaults


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list | bool) or value is None:
        return json.dumps(value, separators=(",", ":"))
    return str(value)
