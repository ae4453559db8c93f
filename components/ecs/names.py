"""What things are called on AWS: by these names and tags the watch and the sweep find them again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

MAX_BASE_NAME = 55
"""Characters of an attempt's name; the shortest limit it meets is a schedule's, 64, which has a run's hash besides."""

MAX_ROLE = 64
"""Characters of an IAM role's name (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""

MAX_TAG_KEY, MAX_TAG_VALUE = 128, 256
"""Characters of a tag (https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html)."""

PREFIX = "gpubench-"
"""What each attempt's name begins with, and so what the standing roles may act on."""

BENCHMARK, UPLOADER = "benchmark", "uploader"
"""The two containers of a task."""

FARGATE = "fargate-"
"""What the catalogue's names of Fargate's sizes begin with; every other machine type is one of EC2's."""


def base_name(attempt_id: str) -> str:
    """What all of an attempt is called: its cluster, group, launch template, capacity provider and task family.

    It begins with none of ``aws``, ``ecs`` and ``fargate``, which capacity providers may not
    (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCapacityProvider.html). Raises ValueError for
    an id of which no name can be made.
    """
    name = f"{PREFIX}{attempt_id.lower()}"
    if len(name) > MAX_BASE_NAME or not re.fullmatch(r"[a-z](?:[-a-z0-9]*[a-z0-9])?", name):
        raise ValueError(f"no name on AWS can be made of attempt {attempt_id!r}: {name}")
    return name


def tail(base: str) -> str:
    """What tells one attempt's resources from another's, for the engine's names: the end of the base name."""
    return base.rpartition("-")[2]


def short_hash(text: str) -> str:
    """8 hex digits that belong to a stack's, or a run's, name."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def role_name(stack: str, what: str) -> str:
    """A stack's role in the account: ``instance``, ``execution``, ``task``, ``infrastructure`` or ``clock``.

    A stack whose name is too long for a role's has its hash instead.
    """
    name = f"{PREFIX}{stack}-{what}"
    return name if len(name) <= MAX_ROLE else f"{PREFIX}{short_hash(stack)}-{what}"


def schedule(base: str, task: str, *, held: bool = False) -> str:
    """The schedule that ends a task (its ARN) by the clock; the sweep finds all of an attempt's by how they begin.

    ``held``: the one for a task that has its machine.
    """
    return f"{base}-{short_hash(task)}{'-held' if held else ''}"


def log_group(stack: str) -> str:
    """The log group of a stack's tasks, one in each region."""
    return f"/gpubench/{stack}"


def log_stream(base: str, container: str, task_id: str) -> str:
    """The log stream of a container of a task: prefix, container and task, as the awslogs driver puts them together.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html
    """
    return f"{base}/{container}/{task_id}"


def cache_prefix(stack: str) -> str:
    """What the names of a stack's cached repositories begin with: 11 characters (2 to 30 are allowed)."""
    return f"gb-{short_hash(stack)}"


def partition(region: str) -> str:
    """The first part of all ARNs of a region (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html)."""
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    return "aws-cn" if region.startswith("cn-") else "aws"


def tags(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as tags that AWS accepts: ``-`` for a character that isn't allowed, ``x-`` before a reserved key."""
    found = {}
    for key, value in labels.items():
        name = _allowed(key)
        name = f"x-{name}" if name.lower().startswith("aws:") else name
        found[name[:MAX_TAG_KEY]] = _allowed(value)[:MAX_TAG_VALUE]
    return found


def _allowed(text: str) -> str:
    return re.sub(r"[^\w +\-=.:/@]", "-", text)
