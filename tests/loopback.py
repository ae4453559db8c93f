"""A server on loopback that answers requests as a cloud would, and remembers which came when."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Generic, Protocol, Self, TypeVar


class Timed(Protocol):
    """One request. ``id``: what was asked; times: seconds on the server's clock."""

    @property
    def id(self) -> str: ...
    @property
    def begun(self) -> float: ...
    @property
    def ended(self) -> float: ...


A = TypeVar("A", bound=Timed)


class LoopbackServer(Generic[A]):
    """``asked``: the requests that were well-formed, as they were answered. ``wrong``: what isn't as the cloud
    describes it, in requests and in this server's own answers; a test looks that it is empty.
    """

    def __init__(self, latency_s: float) -> None:
        self.asked: list[A] = []
        self.wrong: list[str] = []
        self.latency_s = latency_s
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each answer takes 40 ms more
            wbufsize = -1

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                server.answer(self, self.rfile.read(length) if length else b"")

            do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = do_PATCH = answer  # noqa: N815

        class Listening(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

        self._http = Listening(("127.0.0.1", 0), Handler)

    @abstractmethod
    def answer(self, handler: BaseHTTPRequestHandler, sent: bytes) -> None:
        """One request."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def calls(self, name: str) -> list[A]:
        """The requests of an operation."""
        return [one for one in self.asked if one.id == name]

    def rounds(self) -> int:
        """How many requests came one after the other, at least: each of them began when the one before had ended."""
        count, last = 0, 0.0
        for one in sorted(self.asked, key=lambda each: each.ended):
            if one.begun >= last:
                count, last = count + 1, one.ended
        return count

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Until the end of the block."""
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            thread.join()
