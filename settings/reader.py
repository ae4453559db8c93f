"""From config keys and values to settings: every key in turn, and every mistake before giving up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from catalog import closest
from settings import plain_keys
from settings.amazon import read_aws
from settings.benchmark import read_benchmark
from settings.credentials import credentials_in, holds_encrypted, is_encrypted, names_a_secret, shown_key
from settings.google import read_google, read_registry
from settings.ladder import read_ladder, read_rung
from settings.mistakes import TOLD, Mistakes, SettingsError, did_you_mean, hidden, one_of, shown
from settings.model import KNOWN_KEYS, PROJECT, Settings

_PROVIDER_KEYS = ("gcp:project", "gcp:region", "aws:region")
_STRUCTURED = {
    "ladder": "a list",
    "benchmark": "a mapping",
    "budget": "a mapping",
    "labels": "a mapping",
    "placement": "a mapping",
    "google": "a mapping",
    "aws": "a mapping",
}


def read_settings(values: Mapping[str, object], secret_keys: frozenset[str], source: str) -> Settings:
    """Settings of full config keys and their values; see ``Settings.from_config``."""
    if all(isinstance(value, str) for value in values.values()):
        # As a program gets them, which an engine may run for each attempt of a walk in one process.
        return _of_texts(tuple((key, str(value)) for key, value in values.items()), secret_keys, source)
    return _read(values, secret_keys, source)


@lru_cache(maxsize=2)
def _of_texts(values: tuple[tuple[str, str], ...], secret_keys: frozenset[str], source: str) -> Settings:
    return _read(dict(values), secret_keys, source)


def _read(values: Mapping[str, object], secret_keys: frozenset[str], source: str) -> Settings:
    mistakes = Mistakes()
    parsed = {
        name: _value(name, values[f"{PROJECT}:{name}"], f"{PROJECT}:{name}" in secret_keys, mistakes)
        for name in KNOWN_KEYS
        if f"{PROJECT}:{name}" in values
    }
    defaults = {key: text for key in _PROVIDER_KEYS if isinstance(text := values.get(key), str) and text}
    ladder = read_ladder(parsed, defaults, mistakes)
    benchmark, references = read_benchmark(parsed, ladder, mistakes)
    results = plain_keys.read_results(parsed, mistakes)
    budget = plain_keys.read_budget(parsed, mistakes)
    labels = plain_keys.read_labels(parsed, mistakes)
    access = plain_keys.read_access(parsed, mistakes)
    rung = read_rung(parsed, ladder, mistakes)
    placement = plain_keys.read_placement(parsed, mistakes)
    google = read_google(parsed, ladder, mistakes)
    aws = read_aws(parsed, ladder, mistakes)
    registry = read_registry(parsed, mistakes)
    _check_other_keys(values, secret_keys, references, mistakes)
    _check_credentials(parsed, mistakes)
    if mistakes.found:
        raise SettingsError(mistakes.found, source)
    return Settings(
        ladder=tuple(ladder or ()),
        benchmark=benchmark,
        results=results,
        budget=budget,
        labels=labels,
        access=access,
        rung=rung,
        placement=placement,
        google=google,
        aws=aws,
        registry=registry,
    )


def _value(name: str, value: object, is_secret: bool, mistakes: Mistakes) -> object:
    """The parsed value of one of our keys; TOLD after a mistake."""
    path = f"{PROJECT}:{name}"
    allowed = "a value in clear: settings are no secrets"
    encrypted = holds_encrypted(value)
    if is_secret and not encrypted:
        # A program gets the whole value decrypted, and can't tell which part of it was the secret.
        mend = (
            f"give the secret its own key: `pulumi config set --secret {PROJECT}:NAME`, and {{secret: NAME}} in "
            f"{PROJECT}:benchmark.env"
        )
        mistakes.add(path, "encrypted, wholly or in part (not shown)", allowed, mend)
        return TOLD
    if encrypted and (is_encrypted(value) or name != "benchmark"):
        # Inside benchmark it is told where it stands.
        mend = f"remove the secret: `pulumi config set --path {path}...` without --secret"
        mistakes.add(path, "encrypted", allowed, mend)
        return TOLD
    if name in _STRUCTURED and isinstance(value, str):
        try:
            return json.loads(value)  # a Pulumi program gets structured values as JSON
        except ValueError:
            mend = f"write {_STRUCTURED[name]}, not a text"
            if name == "budget":
                mend += "; budget takes `usd` and `hours`, plain numbers: {usd: 5, hours: 2}"
            elif name == "placement":
                mend += "; placement takes `order`, `comparability` and `attempt_minutes`: {order: cheapest}"
            elif name == "google":
                mend += "; google takes `subnet`, `nat`, `boot_disk_gb` and `quota_increases`: {boot_disk_gb: 200}"
            elif name == "aws":
                mend += "; aws takes `subnets`, `network`, `volume_gb` and the like: {volume_gb: 200}"
            mistakes.add(path, hidden(value) if name == "benchmark" else shown(value), _STRUCTURED[name], mend)
            return TOLD
    return value


def _check_other_keys(
    values: Mapping[str, object], secret_keys: frozenset[str], references: Mapping[str, str], mistakes: Mistakes
) -> None:
    """Keys that are no settings: secrets that the environment refers to, or mistakes."""
    for key, value in values.items():
        namespace, colon, name = key.partition(":")
        where = shown_key(key)
        if not colon:
            mend = f"write {PROJECT}:{shown_key(closest(key, KNOWN_KEYS) or key)}"
            mistakes.add(where, "a key without a namespace", f"keys such as {PROJECT}:ladder", mend)
        elif namespace != PROJECT:
            if name in KNOWN_KEYS and closest(namespace, [PROJECT]):
                mistakes.add(where, "an unknown namespace", f"{PROJECT}:", f"did you mean {PROJECT}:{name}?")
        elif name not in KNOWN_KEYS:
            is_secret = key in secret_keys or is_encrypted(value)
            if name not in references:
                _tell_unknown(name, where, is_secret, mistakes)
            elif not is_secret:
                mend = f"`pulumi config set --secret {where}` (and change the secret if the file was ever shared)"
                mistakes.add(where, f"in clear: {hidden(value)}", "a secret", mend)
    ours = [key.partition(":")[2] for key in values if key.startswith(f"{PROJECT}:")]
    for name, where in references.items():
        if name not in ours:
            kept = [one for one in ours if one not in KNOWN_KEYS]
            mend = did_you_mean(name, kept, f"`pulumi config set --secret {PROJECT}:{name}`")
            mistakes.add(f"{where}.secret", f"{PROJECT}:{name} is not set", "a secret of this stack", mend)


def _tell_unknown(name: str, where: str, is_secret: bool, mistakes: Mistakes) -> None:
    value = "a secret that nothing refers to" if is_secret else "unknown key (value not shown)"
    if is_secret or names_a_secret(name):
        allowed = f"keys {one_of(KNOWN_KEYS)}, and secrets that benchmark.env refers to"
        mend = f"add {{secret: {shown_key(name)}}} to {PROJECT}:benchmark.env, or `pulumi config rm {where}`"
    else:
        allowed, mend = f"keys {one_of(KNOWN_KEYS)}", f"remove it with `pulumi config rm {where}`"
    mistakes.add(where, value, allowed, did_you_mean(name, KNOWN_KEYS, mend))


def _check_credentials(parsed: Mapping[str, object], mistakes: Mistakes) -> None:
    """Anything, anywhere in our settings, that looks like a credential is refused, whatever else it may be."""
    told = {mistake.path for mistake in mistakes.found}
    mend = f"`pulumi config set --secret {PROJECT}:NAME`, and env: {{NAME: {{secret: NAME}}}} in {PROJECT}:benchmark"
    for name, value in parsed.items():
        for where in credentials_in(value, f"{PROJECT}:{name}"):
            if where not in told and f"{where}.secret" not in told:
                mistakes.add(where, "a secret in clear (not shown)", "no credentials in settings", mend)
