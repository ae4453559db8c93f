"""``Pulumi.<stack>.yaml``: reading it, and saying with line and column what is wrong with the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog import closest
from settings import yaml_text
from settings.credentials import holds_encrypted, looks_like_credential
from settings.mistakes import Mistake, SettingsError, kind_of
from settings.yaml_text import FileProblem

_MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True)
class StackFile:
    """``Pulumi.<stack>.yaml`` as it stands.

    ``values``: full config keys and their values, an encrypted one as ``{"secure": "<ciphertext>"}``. ``secret_keys``:
    config keys that are encrypted, wholly or at any depth (Pulumi treats the whole value as a secret then).
    ``encryption_salt`` and ``secrets_provider``: how they are encrypted. ``raw``: the whole document.
    """

    path: Path
    values: Mapping[str, object]
    secret_keys: frozenset[str]
    encryption_salt: str | None
    secrets_provider: str | None
    raw: Mapping[str, object]


def read_stack_file(path: Path) -> StackFile:
    """Read a stack's config file.

    Scalars mean what they mean to the Pulumi CLI (see ``yaml_text``). Raises SettingsError, with line and column where
    there is one, for a file that can't be read, isn't YAML, isn't a mapping, holds a key twice, or has no ``config``.
    """
    try:
        raw = _document(path)
        values = _config(raw)
    except FileProblem as problem:
        mistake = Mistake(f"{path.name}{problem.where}", problem.what, problem.allowed, problem.mend)
        raise SettingsError([mistake], str(path)) from None
    salt, provider = raw.get("encryptionsalt"), raw.get("secretsprovider")
    return StackFile(
        path=path,
        values=values,
        secret_keys=frozenset(key for key, value in values.items() if holds_encrypted(value)),
        encryption_salt=None if salt is None else str(salt),
        secrets_provider=None if provider is None else str(provider),
        raw=raw,
    )


def _document(path: Path) -> dict[str, object]:
    document = yaml_text.parse(_text(path))
    if isinstance(document, dict):
        return document
    what = "is empty" if document is None else f"is {kind_of(document)}"
    raise FileProblem(what, "begin the file with `config:`", allowed="a mapping with `config:`")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        stack = path.stem.removeprefix("Pulumi.")
        raise FileProblem(
            "there is no such file", f"make it with `pulumi stack init {stack}`, or check the name"
        ) from None
    except OSError as error:
        raise FileProblem(
            f"can't be read: {error.strerror or type(error).__name__}", "check the path and its rights"
        ) from None
    if len(data) > _MAX_FILE_BYTES:
        raise FileProblem(f"has {len(data)} bytes", f"a stack file has at most {_MAX_FILE_BYTES}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileProblem("isn't UTF-8", "save the file as UTF-8", where=f":{line}") from None


def _config(raw: Mapping[str, object]) -> dict[str, object]:
    if "config" not in raw:
        near = closest("config", raw)
        mend = "begin the file with `config:`"
        if near and not looks_like_credential(near):
            mend = f"did you mean config instead of {near}?"
        raise FileProblem("has no config", mend, allowed="a mapping `config:` of keys such as gpubench:ladder")
    config = raw["config"]
    if config is None or config == {}:
        raise FileProblem(
            "config is empty", "add at least gpubench:ladder, as in `gpubench:ladder: [{surface: local}]`"
        )
    if not isinstance(config, dict):
        raise FileProblem(f"config is {kind_of(config)}", "write `config:` and the keys under it, two spaces in")
    return config
