"""Tests that run side by side don't share this machine's lock: each worker has a folder for temporary files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis

from tests.buildah import buildah as buildah  # a fixture for all

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    folder = Path(tempfile.gettempdir()) / f"gpubench-tests-{os.getuid()}-{worker}"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)

# How long an example takes is the machine's matter: a busy one must not fail a test.
hypothesis.settings.register_profile("gpubench", deadline=None)
hypothesis.settings.load_profile("gpubench")
