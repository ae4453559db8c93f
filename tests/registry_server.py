"""An image registry on loopback: as much of the OCI distribution protocol as a push, a look-up and a pull need.

It checks what it is given as a registry does: every blob by its digest, and a manifest only with all its blobs there.
Blobs come from another host, as ECR's do from S3, and that host answers nobody who tells it who they are.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Registry:
    """`repositories`: those that are there; a push to another one fails. `denied`: nobody may push.

    `blobs`: by digest. `manifests`: by `name:tag`, and by `name@digest`, with their media types. `puts`: of manifests.
    `token`: only who has got it may read. `asked`: each part that was read, in order (`blobs/sha256:…`), however it was
    answered. `answers`: what comes for a part in place of its own answer, one each time: a status, `cut` (it ends half
    way), or another content.
    """

    repositories: set[str]
    denied: bool = False
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    puts: int = 0
    host: str = ""
    token: str = ""
    asked: list[str] = field(default_factory=list)
    answers: dict[str, list[int | str | bytes]] = field(default_factory=dict)

    def digest(self, name: str, tag: str) -> str:
        """What a tag names."""
        return _digest(self.manifests[f"{name}:{tag}"][1])

    def put_image(self, name: str, config: bytes, *layers: bytes) -> str:
        """Put an image in place, as who pushed it would have; its digest."""
        parts = [self._put_blob(one) for one in (config, *layers)]
        return self._put_manifest(name, _MANIFEST, {"config": parts[0], "layers": parts[1:]})

    def put_index(self, name: str, **digests: str) -> str:
        """The same for an index of images by architecture, after an entry that is no image (a build's attestation)."""
        platforms = {"unknown": ("unknown", _digest(b"attestation"))}
        platforms |= {architecture: ("linux", digest) for architecture, digest in digests.items()}
        entries = [
            {"mediaType": _MANIFEST, "digest": digest, "platform": {"os": os, "architecture": architecture}}
            for architecture, (os, digest) in platforms.items()
        ]
        return self._put_manifest(name, _INDEX, {"manifests": entries})

    def _put_blob(self, data: bytes) -> dict[str, object]:
        self.blobs[_digest(data)] = data
        return {"digest": _digest(data), "size": len(data)}

    def _put_manifest(self, name: str, media_type: str, content: dict[str, object]) -> str:
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, **content}).encode()
        self.manifests[f"{name}@{_digest(data)}"] = (media_type, data)
        return _digest(data)


class _Handler(BaseHTTPRequestHandler):
    registry: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/v2/":
            self._answer(200)
            return
        if path == "/token":
            self._answer(200, json.dumps({"token": self.registry.token}).encode())
            return
        if path.startswith("/storage/"):
            assert "Authorization" not in self.headers, "S3 refuses who names himself beside a signed address"
            self._part("blobs", path.removeprefix("/storage/"))
            return
        if self.registry.token and self.headers.get("Authorization") != f"Bearer {self.registry.token}":
            realm = f'Bearer realm="http://{self.registry.host}/token",service="registry"'
            self._answer(401, headers={"WWW-Authenticate": realm})
            return
        name, kind, reference = path.removeprefix("/v2/").rsplit("/", 2)
        if kind == "blobs" and reference in self.registry.blobs:
            elsewhere = self.registry.host.replace("127.0.0.1", "localhost")
            self._answer(307, headers={"Location": f"http://{elsewhere}/storage/{reference}"})
            return
        key = f"{name}@{reference}" if ":" in reference else f"{name}:{reference}"
        if kind == "manifests" and key in self.registry.manifests:
            media_type, data = self.registry.manifests[key]
            assert media_type in self.headers.get("Accept", "*/*") or self.headers.get("Accept", "*/*") == "*/*"
            headers = {"Content-Type": media_type, "Docker-Content-Digest": _digest(data)}
            self._part("manifests", reference, data, headers)
            return
        self._refuse(404, "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN", "unknown")

    def _part(
        self, kind: str, reference: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """A part of an image, or what comes in its place."""
        data = self.registry.blobs[reference] if data is None else data
        headers = headers or {"Docker-Content-Digest": reference}
        if self.command == "GET":
            self.registry.asked.append(f"{kind}/{reference}")
        instead = self.registry.answers.get(f"{kind}/{reference}")
        answer = instead.pop(0) if instead else data
        if isinstance(answer, int):
            self._refuse(answer, "NAME_UNKNOWN" if answer == 404 else "UNAVAILABLE", "not now")
        elif answer == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        else:
            assert isinstance(answer, bytes)
            self._answer(200, answer, headers)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        name = urlsplit(self.path).path.removeprefix("/v2/").removesuffix("/blobs/uploads/")
        self._body()
        if self.registry.denied:
            self._refuse(403, "DENIED", 'Permission "artifactregistry.repositories.uploadArtifacts" denied')
        elif name.partition("/")[0] not in self.registry.repositories:
            self._refuse(404, "NAME_UNKNOWN", f'Repository "{name.partition("/")[0]}" not found')
        else:
            upload = uuid.uuid4().hex
            self.registry.uploads[upload] = b""
            self._answer(202, headers={"Location": f"/v2/{name}/blobs/uploads/{upload}", "Range": "0-0"})

    def do_PATCH(self) -> None:
        upload = urlsplit(self.path).path.rpartition("/")[2]
        self.registry.uploads[upload] += self._body()
        last = len(self.registry.uploads[upload]) - 1
        self._answer(202, headers={"Location": urlsplit(self.path).path, "Range": f"0-{last}"})

    def do_PUT(self) -> None:
        url = urlsplit(self.path)
        data = self._body()
        name, kind, last = url.path.removeprefix("/v2/").rsplit("/", 2)
        if kind == "uploads":
            data = self.registry.uploads.pop(last) + data
            (digest,) = parse_qs(url.query)["digest"]
            if _digest(data) != digest:
                self._refuse(400, "DIGEST_INVALID", "the blob is another one")
                return
            self.registry.blobs[digest] = data
            self._answer(201, headers={"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})
            return
        manifest = json.loads(data)
        parts = [manifest["config"], *manifest["layers"]]
        if any(part["digest"] not in self.registry.blobs for part in parts):
            self._refuse(400, "MANIFEST_BLOB_UNKNOWN", "a blob is missing")
            return
        self.registry.puts += 1
        for key in (f"{name}:{last}", f"{name}@{_digest(data)}"):
            self.registry.manifests[key] = (self.headers["Content-Type"], data)
        self._answer(201, headers={"Docker-Content-Digest": _digest(data)})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().strip(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self._answer(status, body, {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # who asked has had enough of it
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serve(*repositories: str) -> Iterator[Registry]:
    """A registry with these repositories, while this lasts."""
    registry = Registry(set(repositories))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"registry": registry}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
