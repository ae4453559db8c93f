"""What the tests of Compute Engine share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from components.gce.google import Google
from components.gce.rest import Rest
from tests.gce.google_server import TOKEN, GoogleServer


@dataclass
class Asking:
    """The real API client, on a server of this machine, and what it slept between repeats (seconds)."""

    google: Google
    server: GoogleServer
    slept: list[float]


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Every request and every answer has to be as Google's discovery documents have it."""
    from google.oauth2.credentials import Credentials

    slept: list[float] = []
    with GoogleServer().running() as server:
        credentials = Credentials(token=TOKEN)  # type: ignore[no-untyped-call]
        yield Asking(Google(rest=Rest(credentials, endpoint=server.endpoint, sleep=slept.append)), server, slept)
    assert not server.wrong
