"""A loopback server that answers a machine like Google: its metadata server, storage, secrets and compute.

It enforces what the machine's account is granted, in Google's words: objects under the run's prefix may be created,
and neither overwritten, read, listed nor deleted; one instance may be deleted, the machine's own.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PROJECT, ZONE, INSTANCE = "team-bench", "us-central1-b", "gpubench-20261121t101530z-ab12-x7k2"
BUCKET, PREFIX, ACCOUNT = "team-results", "bench", f"gb-0a1b2c3d@{PROJECT}.iam.gserviceaccount.com"
TOKEN = "ya29.the-machines-own-token"

_DENIED = (
    "{account} does not have {permission} access to the Google Cloud Storage object. "
    "Permission '{permission}' denied on resource (or it may not exist)."
)


@dataclass
class FakeGoogle:
    """The state behind the server, and what was asked of it.

    ``metadata_up``: whether the metadata server answers. ``refuse_create``: by an object's name, whether the grant is
    missing. ``hiccup``: called for each create; "before" (503, not stored), "after" (503, and stored) or "".
    ``says_it_exists``: what a create of an object that is there is told, 412 (the condition) or 403 (the grant).
    """

    attributes: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    metadata_up: bool = True
    may_delete_itself: bool = True
    refuse_create: Callable[[str], bool] = lambda _name: False
    hiccup: Callable[[str], str] = lambda _name: ""
    says_it_exists: int = 412
    preempted: bool = False
    deletions: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> FakeGoogle:
        handler = type("Handler", (_Handler,), {"google": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def preempt(self) -> None:
        with self.changed:
            self.preempted = True
            self.changed.notify_all()

    # --- the services -------------------------------------------------------------------------------------------------

    def metadata(self, path: str, query: dict[str, str]) -> tuple[int, str, str]:
        """Status, text and ETag."""
        if path.startswith("instance/attributes/"):
            found = self.attributes.get(path.removeprefix("instance/attributes/"))
            return (200, found, "a1") if found is not None else (404, "Error 404 (Not Found)!!1", "")
        if path == "instance/preempted":
            with self.changed:
                if query.get("wait_for_change") == "true" and query.get("last_etag") == f"p{int(self.preempted)}":
                    self.changed.wait(float(query.get("timeout_sec", "60")))
                return 200, str(self.preempted).upper(), f"p{int(self.preempted)}"
        answers = {
            "instance/name": INSTANCE,
            "instance/zone": f"projects/123456789012/zones/{ZONE}",
            "instance/machine-type": "projects/123456789012/machineTypes/g2-standard-4",
            "project/project-id": PROJECT,
            "instance/service-accounts/default/token": json.dumps(
                {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}
            ),
        }
        return (200, answers[path], "x") if path in answers else (404, "Error 404 (Not Found)!!1", "")

    def create(self, name: str, data: bytes, generation_match: str | None) -> tuple[int, Any]:
        if not name.startswith(f"{PREFIX}/runs/") or self.refuse_create(name):
            return self.deny("storage.objects.create")
        trouble = self.hiccup(name)
        if trouble == "before":
            return 503, _error(503, "We encountered an internal error. Please try again.")
        with self.changed:
            if name in self.objects:
                if generation_match == "0" and self.says_it_exists == 412:
                    return 412, _error(412, "At least one of the pre-conditions you specified did not hold.")
                return self.deny("storage.objects.delete")
            self.objects[name] = data
            self.order.append(name)
            self.changed.notify_all()
        if trouble == "after":
            return 503, _error(503, "We encountered an internal error. Please try again.")
        return 200, {"kind": "storage#object", "name": name, "size": str(len(data))}

    def deny(self, permission: str) -> tuple[int, Any]:
        self.refused.append(permission)
        return 403, _error(403, _DENIED.format(account=ACCOUNT, permission=permission))

    def delete_instance(self, path: str) -> tuple[int, Any]:
        own = f"projects/{PROJECT}/zones/{ZONE}/instances/{INSTANCE}"
        if path != own or not self.may_delete_itself:
            self.refused.append("compute.instances.delete")
            return 403, _error(403, f"Required 'compute.instances.delete' permission for '{path}'")
        self.deletions.append(path)
        return 200, {"kind": "compute#operation", "operationType": "delete", "status": "RUNNING"}

    def secret(self, name: str) -> tuple[int, Any]:
        if name not in self.secrets:
            text = f"Permission 'secretmanager.versions.access' denied for resource '{name}' (or it may not exist)."
            return 403, _error(403, text)
        data = base64.b64encode(self.secrets[name].encode()).decode()
        return 200, {"name": name, "payload": {"data": data}}

    # --- what tests look at -------------------------------------------------------------------------------------------

    def files(self, run: str, attempt: str) -> dict[str, bytes]:
        """The files of an attempt, as a reader joins them: parts in order, and `.whole` instead of them."""
        base = f"{PREFIX}/runs/{run}/{attempt}/"
        found: dict[str, bytes] = {}
        names = sorted(name.removeprefix(base) for name in self.objects if name.startswith(base))
        for name in names:
            file, _, number = name.rpartition(".part-")
            if file:
                before = sum(1 for other in names if other.startswith(f"{file}.part-") and other < name)
                assert int(number) == before + 1, f"a part is missing before {name}"
                found[file] = found.get(file, b"") + self.objects[base + name]
            elif not name.endswith(".whole"):
                found[name] = self.objects[base + name]
        for name in names:
            if name.endswith(".whole"):
                found[name.removesuffix(".whole")] = self.objects[base + name]
        return found

    def wait_for(self, what: Callable[[], bool], seconds: float = 15.0) -> None:
        """Until it is so; at most so long."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.02)


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "errors": [{"message": message, "domain": "global"}]}}


class _Handler(BaseHTTPRequestHandler):
    google: FakeGoogle
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/computeMetadata/v1/"):
            if not self.google.metadata_up:
                return self._answer(503, b"the metadata server is not there")
            if self.headers.get("Metadata-Flavor") != "Google":
                return self._answer(403, b"Missing required header: Metadata-Flavor")
            status, text, etag = self.google.metadata(parts.path.removeprefix("/computeMetadata/v1/"), query)
            if not self.google.metadata_up:  # it died while it was asked
                return self._answer(503, b"the metadata server is not there")
            return self._answer(status, text.encode(), etag)
        if not self._authorized():
            return None
        if parts.path.endswith(":access"):
            return self._json(*self.google.secret(unquote(parts.path).removeprefix("/v1/").removesuffix(":access")))
        listing = parts.path.endswith("/o")
        return self._json(*self.google.deny("storage.objects.list" if listing else "storage.objects.get"))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if not self._authorized():
            return None
        if parts.path != f"/upload/storage/v1/b/{BUCKET}/o" or query.get("uploadType") != "media":
            return self._json(404, _error(404, "Not Found"))
        return self._json(*self.google.create(query["name"], data, query.get("ifGenerationMatch")))

    def do_DELETE(self) -> None:
        parts = urlsplit(self.path)
        if not self._authorized():
            return None
        if parts.path.startswith("/compute/v1/"):
            return self._json(*self.google.delete_instance(parts.path.removeprefix("/compute/v1/")))
        return self._json(*self.google.deny("storage.objects.delete"))

    def _authorized(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._json(401, _error(401, "Request had invalid authentication credentials."))
        return False

    def _json(self, status: int, document: Any) -> None:
        self._answer(status, json.dumps(document).encode())

    def _answer(self, status: int, body: bytes, etag: str = "") -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the machine is gone

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass
