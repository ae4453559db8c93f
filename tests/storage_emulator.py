"""A Cloud Storage emulator on loopback, and how fsspec is told of it, in this process and in those that it starts."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.request
from collections.abc import Iterator

import fsspec.config  # type: ignore[import-untyped]
import pytest
from gcp_storage_emulator.server import create_server  # type: ignore[import-untyped]

import object_store


@contextlib.contextmanager
def emulator(patch: pytest.MonkeyPatch, *buckets: str) -> Iterator[str]:
    """Serve these buckets; the address. fsspec's ``gs://`` goes there meanwhile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    address = f"http://127.0.0.1:{port}"
    patch.setitem(fsspec.config.conf, "gs", {"token": "anon", "endpoint_url": address})
    patch.setenv("FSSPEC_GS", json.dumps({"token": "anon", "endpoint_url": address}))
    object_store.open_url("gs://bucket")[0].clear_instance_cache()
    try:
        for bucket in buckets:
            body = json.dumps({"name": bucket}).encode()
            headers = {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(f"{address}/storage/v1/b?project=p", body, headers)).close()
        yield address
    finally:
        object_store.open_url("gs://bucket")[0].clear_instance_cache()
        server.stop()
