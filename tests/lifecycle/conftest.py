"""Every lifecycle test runs on the embedded engine, and on the Pulumi CLI where one is found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lifecycle.harness import Project

_NO_CLI = "no Pulumi CLI on the PATH: this lifecycle test ran on the embedded engine only"


@pytest.fixture(
    params=[
        "embedded",
        pytest.param(
            "pulumi", marks=[pytest.mark.real_engine, pytest.mark.skipif(not shutil.which("pulumi"), reason=_NO_CLI)]
        ),
    ]
)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine under test."""
    return str(request.param)


@pytest.fixture
def project(tmp_path: Path, engine: str) -> Iterator[Project]:
    """gpubench with the stand-in workload, on the engine under test."""
    yield Project.copy(tmp_path / "gpubench", engine)


@pytest.fixture
def probe(tmp_path: Path, engine: str) -> Iterator[Project]:
    """The probe program, on the engine under test."""
    yield Project.probe(tmp_path / "probe", engine)
