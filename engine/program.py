"""What the Pulumi program takes from its engine: the stack's config, as settings, and the stack's ledger."""

from __future__ import annotations

import os
import signal

import pulumi

from benchmark_job import store
from engine import masters, rehearsal
from engine.stack_config import secret_texts
from placement.clock import Clock
from placement.ladder import Rung
from placement.ledger import Ledger, LedgerError
from settings import Settings, SettingsError

WALK_VARIABLE, RELEASE_VARIABLE = "GPUBENCH_WALK", "GPUBENCH_RELEASE"
"""Set by `gpubench up` around its updates."""


def begin() -> None:
    """What comes first in the program: a stack has one master, and a failed update fails without a traceback.

    When a resource fails, the CLI interrupts a program that still waits for it; Python would answer with two tracebacks
    that hide the failure.
    """
    masters.claim()
    if masters.running_engine() == masters.PULUMI:
        signal.signal(signal.SIGINT, lambda *_: os._exit(1))


def stack_settings() -> Settings:
    """The running stack's settings. Raises pulumi.RunError with all mistakes in them."""
    values, secret_keys = _config()
    try:
        return Settings.from_config(values, secret_keys, source=f"Pulumi.{pulumi.get_stack()}.yaml")
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from error


def ledger(settings: Settings) -> Ledger:
    """The running stack's ledger. Raises pulumi.RunError where it can't be read."""
    values, secret_keys = _config()
    url, stack, secrets = settings.results.url, pulumi.get_stack(), secret_texts(values, secret_keys)
    try:
        if not pulumi.runtime.is_dry_run():
            return store.ledger(url, stack, secrets)
        found, why = store.ledger_or_none(url, stack, secrets)
        if why:
            pulumi.log.warn(f"{why}; this preview assumes that nothing was tried yet")
        return found
    except (store.StoreError, LedgerError) as error:
        raise pulumi.RunError(str(error)) from error


def clock() -> Clock:
    """The time that attempts are stamped with: a rehearsal has its own."""
    return rehearsal.clock()


def releases(settings: Settings, rung: Rung) -> bool:
    """Whether this update declares no capacity, whatever is due.

    `gpubench up` ends its walk with one. And a stack's first update makes the results' bucket, where there is none: an
    attempt is written down below it before anything is asked for.
    """
    if os.environ.get(RELEASE_VARIABLE) == "1":
        return True
    if rung.is_free or not store.is_missing(settings.results.url):
        return False
    pulumi.log.warn(
        f"the bucket of {settings.results.url} isn't there yet: this update makes it, and asks for no capacity. Run "
        "`pulumi up` again for the benchmark; `gpubench up` does both"
    )
    return True


def walks() -> bool:
    """Whether this update is an attempt of a walk, which itself tells people what came of it."""
    return os.environ.get(WALK_VARIABLE) == "1"


def _config() -> tuple[dict[str, str], set[str]]:
    """The stack's config, with the keys of secrets."""
    from pulumi.runtime import config

    # The SDK has no public way to list a stack's keys, and a misspelt key can only be told from a list.
    values = dict(config.CONFIG.get())
    return values, {key for key in values if config.is_config_secret(key)}
