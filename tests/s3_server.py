"""S3 on loopback: moto's server, and a door before it that sees each request and can refuse one or lose its answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

import object_store

REGION = "eu-west-1"
DENIED = (
    "User: arn:aws:sts::123456789012:assumed-role/gpubench-dev-task/0123 is not authorized to perform: s3:PutObject on "
    'resource: "arn:aws:s3:::bench/team/x" because no identity-based policy allows the s3:PutObject action'
)


@dataclass(frozen=True)
class Request:
    """One request that came. ``key``: bucket and object."""

    method: str
    key: str
    query: str
    headers: dict[str, str]


@dataclass
class Door:
    """``hiccup``: asked of each request, may say `lost` (it is carried out, and nothing answered), `dropped` (it isn't)
    or an S3 error (`403 AccessDenied`). ``requests``: all that came, since they were last cleared.
    """

    address: str
    hiccup: Callable[[Request], str] = lambda _: ""
    requests: list[Request] = field(default_factory=list)

    def client(self) -> Any:
        """One of the account's owner's."""
        import boto3

        return boto3.client("s3", region_name=REGION, endpoint_url=self.address)

    def objects(self, bucket: str) -> dict[str, bytes]:
        client = self.client()
        listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {one["Key"]: client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}


def _handler(door: Door, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, path.strip("/"), query, headers)
            door.requests.append(request)
            if headers.get("expect"):
                self.send_response_only(100)
                self.end_headers()
            body = self._body()
            what = door.hiccup(request)
            if what == "dropped":
                self.close_connection = True
                return
            if what and what != "lost":
                status, _, code = what.partition(" ")
                kind, text = "xml", f"<Error><Code>{code}</Code><Message>{DENIED}</Message></Error>"
                if "x-amz-target" in headers:  # another service's, which moto has, too
                    kind, text = "x-amz-json-1.1", json.dumps({"__type": code, "message": DENIED})
                self._answer(int(status), [("Content-Type", f"application/{kind}")], text.encode())
                return
            inner = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            sent = {n: v for n, v in headers.items() if n not in ("connection", "expect", "transfer-encoding")}
            inner.request(self.command, self.path, body, {**sent, "content-length": str(len(body))})
            answer = inner.getresponse()
            body = answer.read()
            if what == "lost":
                self.close_connection = True
                return
            self._answer(answer.status, answer.getheaders(), body)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                pieces = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _answer(self, status: int, headers: list[tuple[str, str]], text: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            size = {name.lower(): value for name, value in headers}.get("content-length", "0")
            self.send_header("Content-Length", size if self.command == "HEAD" else str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    return Handler


@contextlib.contextmanager
def s3(patch: pytest.MonkeyPatch, *buckets: str) -> Iterator[Door]:
    """Serve these buckets; the door. This process's AWS clients, and those of processes that it starts, go there."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    _, port = moto.get_host_and_port()
    door = Door("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(door, port))
    server.daemon_threads = True
    door.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_ACCESS_KEY_ID", "testing")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_ENDPOINT_URL", door.address)
    patch.setenv("NO_PROXY", "127.0.0.1")
    _forget()
    try:
        client = door.client()
        for bucket in buckets:
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        door.requests.clear()
        yield door
    finally:
        _forget()
        server.shutdown()
        server.server_close()
        reset = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        reset.request("POST", "/moto-api/reset")
        reset.getresponse().read()
        moto.stop()


def _forget() -> None:
    """fsspec keeps its file systems, and with them the addresses that they were opened for."""
    object_store.open_url("s3://bucket")[0].clear_instance_cache()
