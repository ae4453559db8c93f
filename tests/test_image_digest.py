"""What a tag names now, asked of registries that this machine serves: each host's requests come here, as to a proxy.

And an image's first pull, from a registry on loopback.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import google.auth
import pytest
from botocore.stub import Stubber
from google.auth.exceptions import DefaultCredentialsError
from google.oauth2.credentials import Credentials

from components.gce import surface
from components.image_digest import Reference, pull_through, resolve
from components.interface import SurfaceError
from placement.causes import Cause
from tests.registry_server import Registry, serve

DIGEST = f"sha256:{'ab' * 32}"
GHCR, GOOGLE = "ghcr.io/team/bench:v1", "us-central1-docker.pkg.dev/my-project/bench/resnet:v1"
BY_DIGEST = "name@sha256:…"


@dataclass
class Registries:
    """All registries of the world. ``images``: ``host/path:tag``.

    ``grants``: user and password of a token's asker, by host; None: anybody. ``challenge``: what is answered without
    a token, instead of a realm. ``status``: of each manifest's answer to who may ask. ``token_answer``: instead of one.
    ``basic``: the password itself is asked for, and no token.
    """

    images: dict[str, str] = field(default_factory=dict)
    grants: dict[str, str | None] = field(default_factory=dict)
    challenge: str = ""
    status: int = 0
    token_answer: tuple[int, str] | None = None
    basic: bool = False
    asked: list[str] = field(default_factory=list)
    port: int = 0


class _Handler(BaseHTTPRequestHandler):
    registries: Registries
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        world, url = self.registries, urlsplit(self.path)
        host = url.netloc or self.headers["Host"]
        world.asked.append(f"HEAD {host}{url.path}")
        assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
        password = base64.b64encode((world.grants.get(host) or "").encode()).decode()
        wanted = f"Basic {password}" if world.basic else f"Bearer token-of-{host}"
        if host in world.grants and self.headers.get("Authorization") != wanted:
            realm = f'Bearer realm="http://{host}/token",service="{host}",scope="repository:x:pull"'
            self._answer(401, {"WWW-Authenticate": world.challenge or realm})
            return
        path, _, tag = url.path.removeprefix("/v2/").partition("/manifests/")
        digest = world.images.get(f"{host}/{path}:{tag}")
        if digest is None or world.status:
            self._answer(world.status or 404)
        else:
            self._answer(200, {"Docker-Content-Digest": digest} if digest else {})

    def do_GET(self) -> None:
        world, url = self.registries, urlsplit(self.path)
        host = url.netloc or self.headers["Host"]
        query = {key: value for key, (value,) in parse_qs(url.query).items()}
        world.asked.append(f"GET {host}{url.path} {query['service']} {query['scope']}")
        wanted = world.grants[host]
        given = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if world.token_answer:
            self._answer(world.token_answer[0], body=world.token_answer[1])
        elif wanted is not None and given != wanted:
            self._answer(401, body='{"errors":[{"code":"DENIED","message":"no such account"}]}')
        else:
            assert wanted is not None or not given, "nobody's credentials go where nobody asked for them"
            key = "access_token" if given else "token"
            self._answer(200, body=json.dumps({key: f"token-of-{host}"}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.registries.asked.append(f"POST {self.path}")
        self._answer(200, body=json.dumps({"access_token": "ya29.fresh", "expires_in": 3600}))

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: str = "") -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registries]:
    """Registries on loopback. No passwords of this machine's owner are found."""
    registries = Registries()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"registries": registries}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    registries.port = server.server_address[1]
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{registries.port}")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield registries
    server.shutdown()
    server.server_close()


def digest(image: str) -> str:
    return resolve(image, scheme="http")


def refused(image: str, cause: Cause, mend: str = BY_DIGEST) -> str:
    """The text of a refusal, which names key, value and mend."""
    with pytest.raises(SurfaceError) as error:
        digest(image)
    text = str(error.value)
    assert text.startswith(f"benchmark.image: {image}")
    assert error.value.cause is cause
    assert mend in text
    return text


# -- names -------------------------------------------------------------------------------------------------------------

HUB = "registry-1.docker.io"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("python", Reference(HUB, "library/python", "latest")),
        ("python:3.12", Reference(HUB, "library/python", "3.12")),
        ("team/bench", Reference(HUB, "team/bench", "latest")),
        ("team/bench:v1", Reference(HUB, "team/bench", "v1")),
        ("docker.io/python:3.12", Reference(HUB, "library/python", "3.12")),
        ("docker.io/library/python", Reference(HUB, "library/python", "latest")),
        ("index.docker.io/team/bench:v1", Reference(HUB, "team/bench", "v1")),
        ("ghcr.io/team/deep/bench:v1", Reference("ghcr.io", "team/deep/bench", "v1")),
        ("localhost/bench", Reference("localhost", "bench", "latest")),
        ("localhost:5000/bench", Reference("localhost:5000", "bench", "latest")),
        ("registry:5000/team/bench:v1", Reference("registry:5000", "team/bench", "v1")),
    ],
)
def test_a_name_is_read_as_docker_reads_it(image: str, expected: Reference) -> None:
    assert Reference.of(image) == expected


@pytest.mark.parametrize("image", [f"ghcr.io/team/bench@{DIGEST}", f"python:3.12@{DIGEST}"])
def test_a_digest_stays_and_nobody_is_asked(world: Registries, image: str) -> None:
    assert surface.resolve_image(image) == image
    assert not world.asked


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "at", "pinned"),
    [
        (GHCR, "ghcr.io/team/bench:v1", f"ghcr.io/team/bench@{DIGEST}"),
        ("ghcr.io/team/bench", "ghcr.io/team/bench:latest", f"ghcr.io/team/bench@{DIGEST}"),
        ("python:3.12", f"{HUB}/library/python:3.12", f"python@{DIGEST}"),
        ("registry.example:5000/b:5000", "registry.example:5000/b:5000", f"registry.example:5000/b@{DIGEST}"),
    ],
)
def test_a_tag_becomes_the_digest_that_it_names(world: Registries, image: str, at: str, pinned: str) -> None:
    world.images[at] = DIGEST
    assert digest(image) == pinned
    assert len(world.asked) == 1


def test_a_registry_on_this_machine_is_asked_at_its_port(world: Registries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy")
    host = f"127.0.0.1:{world.port}"
    world.images[f"{host}/team/bench:v1"] = DIGEST
    world.grants[host] = None
    assert digest(f"{host}/team/bench:v1") == f"{host}/team/bench@{DIGEST}"


def test_a_token_is_got_as_nobody_where_the_registry_asks_for_one(world: Registries) -> None:
    world.images[GHCR], world.grants["ghcr.io"] = DIGEST, None
    assert digest(GHCR) == f"ghcr.io/team/bench@{DIGEST}"
    assert world.asked == [
        "HEAD ghcr.io/v2/team/bench/manifests/v1",
        "GET ghcr.io/token ghcr.io repository:team/bench:pull",
        "HEAD ghcr.io/v2/team/bench/manifests/v1",
    ]


@pytest.mark.parametrize("host", ["us-central1-docker.pkg.dev", "gcr.io", "eu.gcr.io"])
def test_googles_registries_are_asked_with_our_own_token(
    world: Registries, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    scopes: list[object] = []

    def default(**asked: object) -> tuple[Credentials, str]:
        scopes.append(asked["scopes"])
        return Credentials(token="ya29.ours"), "my-project"  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", default)
    image = f"{host}/my-project/bench/resnet"
    world.images[f"{image}:v1"], world.grants[host] = DIGEST, "oauth2accesstoken:ya29.ours"
    assert digest(f"{image}:v1") == f"{image}@{DIGEST}"
    assert scopes == [["https://www.googleapis.com/auth/cloud-platform"]]


def test_awss_registries_are_asked_with_our_own_password(world: Registries, monkeypatch: pytest.MonkeyPatch) -> None:
    host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    client = boto3.client("ecr", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    asked: list[str] = []

    def made(service: str, region_name: str) -> object:
        asked.append(f"{service} {region_name}")
        return client

    monkeypatch.setattr(boto3, "client", made)
    world.images[f"{host}/team/bench:v1"], world.grants[host] = DIGEST, "AWS:a-password"
    world.challenge, world.basic = f'Basic realm="https://{host}/",service="ecr.amazonaws.com"', True
    password = base64.b64encode(b"AWS:a-password").decode()
    with Stubber(client) as stub:
        answer = {"authorizationToken": password, "proxyEndpoint": f"https://{host}"}
        stub.add_response("get_authorization_token", {"authorizationData": [answer]}, {})
        assert digest(f"{host}/team/bench:v1") == f"{host}/team/bench@{DIGEST}"
    assert asked == ["ecr us-east-1"]
    with Stubber(client) as stub:
        stub.add_client_error("get_authorization_token", "AccessDeniedException", "not authorized to perform")
        assert "aws sso login" in refused(f"{host}/team/bench:v1", Cause.PERMISSION)


def test_a_token_that_is_not_there_yet_is_got_first(world: Registries, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Credentials(  # type: ignore[no-untyped-call]
        token=None, refresh_token="r", token_uri="http://oauth2.example/token", client_id="i", client_secret="s"
    )
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "my-project"))
    world.images[GOOGLE] = DIGEST
    world.grants["us-central1-docker.pkg.dev"] = "oauth2accesstoken:ya29.fresh"
    assert digest(GOOGLE) == GOOGLE.replace(":v1", f"@{DIGEST}")
    assert world.asked.count("POST http://oauth2.example/token") == 1


def test_no_host_that_only_looks_like_googles_gets_our_token(
    world: Registries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(**_: object) -> None:
        raise AssertionError("credentials were looked for")

    monkeypatch.setattr(google.auth, "default", asked)
    for host in ("gcr.io.example", "notgcr.io", "x-docker.pkg.dev.example", "us.gcr.io:5000", "a.b.gcr.io"):
        world.images[f"{host}/team/bench:v1"], world.grants[host] = DIGEST, None
        assert digest(f"{host}/team/bench:v1").endswith(DIGEST)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_what_is_not_there(world: Registries) -> None:
    assert "isn't in its registry" in refused(GHCR, Cause.IMAGE, "check its name and tag")


def test_who_is_not_granted_it(world: Registries) -> None:
    world.images[GHCR], world.grants["ghcr.io"] = DIGEST, "somebody:else"
    text = refused(GHCR, Cause.PERMISSION)
    assert "HTTP 401" in text
    assert "no such account" in text
    assert "gcloud auth application-default login" in text


@pytest.mark.parametrize("status", [401, 403])
def test_who_gets_a_token_that_is_worth_nothing(world: Registries, status: int) -> None:
    world.images[GHCR], world.grants["ghcr.io"], world.status = DIGEST, None, status
    assert f"HTTP {status}" in refused(GHCR, Cause.PERMISSION)
    assert len(world.asked) == 3, "it isn't asked again and again"


@pytest.mark.parametrize("challenge", ['Basic realm="a registry"', "Negotiate", 'Bearer service="x"'])
def test_what_we_cannot_answer_is_shown(world: Registries, challenge: str) -> None:
    world.images[GHCR], world.grants["ghcr.io"], world.challenge = DIGEST, None, challenge
    assert challenge in refused(GHCR, Cause.PERMISSION)


def test_nobody_is_logged_in_to_google(world: Registries, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(**_: object) -> None:
        raise DefaultCredentialsError("Your default credentials were not found.")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", nobody)
    world.images[GOOGLE], world.grants["us-central1-docker.pkg.dev"] = DIGEST, "oauth2accesstoken:ours"
    text = refused(GOOGLE, Cause.PERMISSION)
    assert "no Google credentials: Your default credentials were not found." in text
    assert "gcloud auth application-default login" in text


@pytest.mark.parametrize(("status", "cause"), [(500, Cause.TRANSIENT), (503, Cause.TRANSIENT), (429, Cause.TRANSIENT)])
def test_what_passes(world: Registries, status: int, cause: Cause) -> None:
    world.images[GHCR], world.status = DIGEST, status
    assert f"HTTP {status}" in refused(GHCR, cause)


@pytest.mark.parametrize("status", [429, 502])
def test_a_token_service_that_is_down_is_no_missing_grant(world: Registries, status: int) -> None:
    world.images[GHCR], world.grants["ghcr.io"], world.token_answer = DIGEST, None, (status, "later")
    assert f"HTTP {status}" in refused(GHCR, Cause.TRANSIENT)


@pytest.mark.parametrize("body", ["[]", "null", "{}", '{"token": ""}'])
def test_a_token_service_that_answers_with_no_token(world: Registries, body: str) -> None:
    world.images[GHCR], world.grants["ghcr.io"], world.token_answer = DIGEST, None, (200, body)
    assert f"without a token: HTTP 200: {body}" in refused(GHCR, Cause.PERMISSION)


def test_a_token_service_that_answers_with_a_page_of_somebody_else(world: Registries) -> None:
    world.images[GHCR], world.grants["ghcr.io"], world.token_answer = DIGEST, None, (200, "<html>log in to the hotel")
    assert "doesn't answer" in refused(GHCR, Cause.TRANSIENT)


@pytest.mark.parametrize("header", ["", "md5:00"])
def test_an_answer_without_a_digest(world: Registries, header: str) -> None:
    world.images[GHCR] = header
    assert "HTTP 200 and no digest" in refused(GHCR, Cause.IMAGE)


def test_a_registry_that_does_not_answer(world: Registries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "doesn't answer" in refused(GHCR, Cause.TRANSIENT)


# -- the first pull ----------------------------------------------------------------------------------------------------

CACHED = "gb-0123abcd/lambda/python"
CONFIG, BASE, CODE = b"a config", b"a base" * 500_000, b"the code"
ARM = (b"another config", b"another base")


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Cache:
    """A registry with an index of an image for two architectures, and a clock that moves as one sleeps."""

    registry: Registry
    now: float = 0.0
    slow_s: float = 0.0

    def __post_init__(self) -> None:
        self.of_amd64 = self.registry.put_image(CACHED, CONFIG, BASE, CODE, BASE)
        of_arm64 = self.registry.put_image(CACHED, *ARM)
        self.index = self.registry.put_index(CACHED, arm64=of_arm64, amd64=self.of_amd64)

    @property
    def all(self) -> list[str]:
        """What a whole pull asks for."""
        return [f"manifests/{one}" for one in (self.index, self.of_amd64)] + [
            f"blobs/{sha256(one)}" for one in (CONFIG, BASE, CODE)
        ]

    def clock(self) -> float:
        self.now += self.slow_s
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def pull(self, digest: str = "") -> None:
        pull_through(f"{self.registry.host}/{CACHED}@{digest or self.index}", clock=self.clock, sleep=self.sleep)

    def refuses(self, cause: Cause, digest: str = "") -> str:
        with pytest.raises(SurfaceError) as error:
            self.pull(digest)
        assert error.value.cause is cause
        assert f"{CACHED}@{digest or self.index}" in str(error.value)
        return str(error.value)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cache]:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serve(CACHED) as registry:
        yield Cache(registry)


@pytest.mark.parametrize("token", ["", "for-a-while"])
def test_a_first_pull_asks_for_all_that_a_machine_would(cache: Cache, token: str) -> None:
    cache.registry.token = token
    cache.pull()
    assert cache.registry.asked == cache.all, "each once; nothing of another architecture"
    assert cache.now == 0


def test_an_image_without_an_index(cache: Cache) -> None:
    cache.pull(cache.of_amd64)
    assert cache.registry.asked == cache.all[1:]


def test_a_rule_of_a_moment_ago_is_waited_for(cache: Cache) -> None:
    cache.registry.answers[cache.all[0]] = [404] * 5
    cache.registry.answers[cache.all[3]] = [404, 404]
    cache.pull()
    assert [cache.registry.asked.count(one) for one in cache.all] == [6, 1, 1, 3, 1]
    assert 0 < cache.now < 60


def test_what_does_not_come_is_waited_for_no_longer_than_a_minute(cache: Cache) -> None:
    cache.registry.answers[cache.all[0]] = [404] * 1000
    assert f"doesn't have its {cache.all[0]}" in cache.refuses(Cause.IMAGE)
    assert 60 <= cache.now < 65


@pytest.mark.parametrize("part", range(5))
def test_another_content_than_its_digest_s_is_refused_at_once(cache: Cache, part: int) -> None:
    cache.registry.answers[cache.all[part]] = [b"{}"]
    assert f"sends another content than its {cache.all[part]}" in cache.refuses(Cause.IMAGE)
    assert cache.registry.asked == cache.all[: part + 1]


@pytest.mark.parametrize("failure", [500, 429, "cut"])
def test_what_fails_for_a_moment_is_asked_for_again(cache: Cache, failure: int | str) -> None:
    part = cache.all[3]
    cache.registry.answers[part] = [failure, failure]
    cache.pull()
    assert cache.registry.asked.count(part) == 3
    cache.registry.answers[part] = [failure] * 3
    cache.refuses(Cause.TRANSIENT)
    assert not cache.registry.answers[part], "3 tries"


def test_a_registry_that_refuses_is_asked_once(cache: Cache) -> None:
    cache.registry.answers[cache.all[2]] = [403]
    said = cache.refuses(Cause.PERMISSION)
    assert "refuses it (HTTP 403). Allow ecr:BatchGetImage" in said and "ecr:BatchImportUpstreamImage" in said
    assert cache.registry.asked == cache.all[:3]


def test_a_trickle_is_not_waited_for(cache: Cache) -> None:
    cache.slow_s = 500.0
    assert "hasn't sent all of it within 1800 s" in cache.refuses(Cause.TRANSIENT)


def test_an_index_without_our_machines_architecture(cache: Cache) -> None:
    only_arm = cache.registry.put_index(CACHED, arm64=cache.registry.put_image(CACHED, *ARM))
    said = cache.refuses(Cause.IMAGE, only_arm)
    assert "has no linux/amd64 of it. Name another one (gpubench:aws: {uploader_image: …})" in said


@pytest.mark.parametrize(
    "content",
    [b"[]", b"no JSON", b"{}", b'{"config": {}, "layers": []}', b'{"config": {"digest": "md5:0"}, "layers": []}'],
)
def test_what_is_no_image(cache: Cache, content: bytes) -> None:
    cache.registry.manifests[f"{CACHED}@{sha256(content)}"] = ("application/vnd.oci.image.manifest.v1+json", content)
    cache.refuses(Cause.IMAGE, sha256(content))
