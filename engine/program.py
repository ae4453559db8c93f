"""What the Pulumi program takes from its engine: the stack's config, as settings."""

from __future__ import annotations

import os
import signal

from engine import masters
from settings import Settings, SettingsError


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
    import pulumi
    from pulumi.runtime import config

    # The SDK has no public way to list a stack's keys, and a misspelt key can only be told from a list.
    values = dict(config.CONFIG.get())
    secret_keys = {key for key in values if config.is_config_secret(key)}
    try:
        return Settings.from_config(values, secret_keys, source=f"Pulumi.{pulumi.get_stack()}.yaml")
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from error
