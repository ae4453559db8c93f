"""What the tests of ECS share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from moto.server import ThreadedMotoServer

from components.ecs.amazon import Amazon
from tests.ecs.aws_server import KEY, SECRET, AwsServer


@dataclass
class Asking:
    """The real boto3, on a server of this machine."""

    amazon: Amazon
    server: AwsServer


def amazon_on(endpoint: str) -> Amazon:
    """The real client, with nothing of this machine's configuration."""
    return Amazon(boto3.Session(KEY, SECRET), endpoint=endpoint)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, profile or region of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Every request and every answer has to be as botocore's models have it."""
    with AwsServer().running() as server:
        yield Asking(amazon_on(server.endpoint), server)
    assert not server.wrong


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, int]]:
    """An AWS that keeps what is made in it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def cloud(moto: tuple[str, int]) -> Iterator[Asking]:
    """The same, where moto answers all that no other answer is given for. Emptied before each test."""
    import http.client

    connection = http.client.HTTPConnection(*moto)
    connection.request("POST", "/moto-api/reset")
    assert connection.getresponse().status == 200
    connection.close()
    with AwsServer(moto=moto).running() as server:
        yield Asking(amazon_on(server.endpoint), server)
    assert not server.wrong
