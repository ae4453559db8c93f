"""Every incident's drill runs on the embedded engine, and on the Pulumi CLI where one is found."""

from __future__ import annotations

import shutil

import pytest

from engine import masters

_NO_CLI = "no Pulumi CLI on the PATH: this drill ran on the embedded engine only"


@pytest.fixture(
    scope="module",
    params=[
        masters.EMBEDDED,
        pytest.param(
            masters.PULUMI,
            marks=[pytest.mark.real_engine, pytest.mark.skipif(not shutil.which("pulumi"), reason=_NO_CLI)],
        ),
    ],
)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that rehearses."""
    return str(request.param)
