"""Tests that run side by side don't share this machine's lock: each worker has a folder for temporary files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

from tests.buildah import buildah as buildah  # a fixture for all

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    folder = Path(tempfile.gettempdir()) / f"gpubench-tests-{os.getuid()}-{worker}"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)

# How long an example takes is the machine's matter: a busy one must not fail a test.
hypothesis.settings.register_profile("gpubench", deadline=None)
hypothesis.settings.load_profile("gpubench")


_LONGEST = (
    "workload/test_runs.py",
    "lifecycle/test_program.py",
    "placement/test_walk.py",
    "ecs/test_uploader.py",
    "lifecycle/test_walk.py",
    "incidents/test_incidents.py",
    "gce/test_boot.py",
    "local/test_supervisor.py",
    "ecs/test_preflight.py",
)
"""Files that take half a minute and more, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A worker takes one file after the other: a long one that is taken last keeps the others waiting."""
    ranks = {name: rank for rank, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get("/".join(item.path.parts[-2:]), len(ranks)))
