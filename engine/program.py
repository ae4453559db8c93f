"""What the Pulumi program takes from its engine: the stack's config, as settings."""

from __future__ import annotations

from settings import Settings, SettingsError


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
