"""What things are called on Compute Engine: by these names and labels the watch and the sweep find them again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

MAX_BASE_NAME = 58
"""Characters of a group's base instance name; it appends a hyphen and four more (compute v1, InstanceGroupManager)."""

MAX_LABEL = 63
"""Characters of a label's key or value (https://cloud.google.com/compute/docs/labeling-resources#requirements)."""


def base_name(attempt_id: str) -> str:
    """The group's base instance name, so that its instances are `<base name>-xxxx`; a single instance's whole name.

    Raises ValueError for an id of which none can be made.
    """
    name = f"gpubench-{attempt_id.lower()}"
    if len(name) > MAX_BASE_NAME or not re.fullmatch(r"[a-z](?:[-a-z0-9]*[a-z0-9])?", name):
        raise ValueError(f"no name of Compute Engine's can be made of attempt {attempt_id!r}: {name}")
    return name


def tail(base: str) -> str:
    """What tells one attempt's resources from another's, for the engine's names: the end of the base name."""
    return base.rpartition("-")[2]


def short_hash(stack: str, project: str) -> str:
    """8 hex digits that belong to a stack in a project.

    A project holds several stacks' accounts, roles and secrets, and their names are too short for a stack's name.
    """
    return hashlib.sha256(f"{stack}{project}".encode()).hexdigest()[:8]


def service_account_id(stack: str, project: str) -> str:
    """The part before the @ of a stack's service account: 11 characters (6 to 30 are allowed)."""
    return f"gb-{short_hash(stack, project)}"


def service_account_email(stack: str, project: str) -> str:
    """The address of a stack's service account."""
    return f"{service_account_id(stack, project)}@{project}.iam.gserviceaccount.com"


def label_value(text: str) -> str:
    """A text as the value of a label: lower case, and ``-`` for what isn't allowed. Two texts may become one."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:MAX_LABEL]


def labels(wanted: Mapping[str, str]) -> dict[str, str]:
    """Labels that Google accepts. Keys begin with a letter, so one that doesn't is put behind ``x-``."""
    found = {}
    for key, value in wanted.items():
        name = label_value(key)
        found[name if name[:1].isalpha() else f"x-{name}"[:MAX_LABEL]] = label_value(value)
    return found
