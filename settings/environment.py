"""``gpubench:benchmark.env``: variables in clear, and secrets by reference (``{secret: <config key>}``)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from settings.credentials import is_encrypted, looks_like_credential, names_a_secret, shown_key
from settings.mistakes import Mistakes, hidden, kind_of, shown
from settings.model import KNOWN_KEYS, PROJECT, SecretRef

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TEXT_OR_SECRET = "a text or {secret: <config key>}"  # noqa: S105  words of a message


def read_env(
    raw: Mapping[str, object], path: str, mistakes: Mistakes
) -> tuple[dict[str, str | SecretRef], dict[str, str]]:
    """Environment variables, and the config keys they refer to (with the path of the first reference)."""
    env: dict[str, str | SecretRef] = {}
    references: dict[str, str] = {}
    for name, value in raw.items():
        where = f"{path}.{shown_key(name)}"
        _check_name(name, where, mistakes)
        if isinstance(value, str):
            _check_text(name, value, where, mistakes)
            env[name] = value
        elif is_encrypted(value):
            mend = f"give it its own key: `pulumi config set --secret {PROJECT}:{name}`, and {{secret: {name}}} here"
            mistakes.add(where, "encrypted in place", _TEXT_OR_SECRET, mend)
        elif isinstance(value, Mapping) and set(value) == {"secret"} and isinstance(value["secret"], str):
            secret = value["secret"].removeprefix(f"{PROJECT}:")
            if _check_reference(name, secret, f"{where}.secret", mistakes):
                references.setdefault(secret, where)
                env[name] = SecretRef(secret)
        elif isinstance(value, Mapping):
            mistakes.add(where, kind_of(value), _TEXT_OR_SECRET, f"write {{secret: {shown_key(name)}}}")
        else:
            mend = f'quote it: "{shown(value)}"' if isinstance(value, bool | int | float) else "write one text"
            mistakes.add(where, hidden(value), _TEXT_OR_SECRET, mend)
    return env, references


def _check_name(name: str, where: str, mistakes: Mistakes) -> None:
    if not re.fullmatch(_NAME, name):
        mistakes.add(where, "a bad name", "letters, digits and _, not a digit first", "rename the variable")
    elif name.upper().startswith("GPUBENCH_"):
        mend = "rename the variable: gpubench sets these itself"
        mistakes.add(where, "a reserved name", "names that don't begin with GPUBENCH_", mend)


def _check_text(name: str, value: str, where: str, mistakes: Mistakes) -> None:
    is_path = value.startswith("/") and "\n" not in value  # of a file that holds the secret
    if (names_a_secret(name) and value and not is_path) or looks_like_credential(value):
        safe = name if re.fullmatch(_NAME, name) and not looks_like_credential(name) else "NAME"
        mend = (
            f"`pulumi config set --secret {PROJECT}:{safe}`, and {{secret: {safe}}} here; "
            "change the secret if the file was ever shared"
        )
        mistakes.add(where, "a secret in clear (not shown)", "{secret: <config key>}", mend)


def _check_reference(name: str, secret: str, where: str, mistakes: Mistakes) -> bool:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", secret) or looks_like_credential(secret):
        mend = f"`pulumi config set --secret {PROJECT}:{name}`, and {{secret: {name}}} here"
        mistakes.add(where, hidden(secret), "the name of a config key, not the secret itself", mend)
        return False
    if secret in KNOWN_KEYS:
        mend = f"{PROJECT}:{secret} is a setting; choose another name"
        mistakes.add(where, shown(secret), "a config key of its own", mend)
        return False
    return True
