"""Which content a tag names now: the digest of an image, asked of its registry."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from components.interface import SurfaceError
from components.registry_login import login, refused
from placement.causes import Cause

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT_S = 20.0
_DOCKER_HUB = ("docker.io", "index.docker.io")
_LOOPBACK = re.compile(r"(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?")


@dataclass(frozen=True)
class Reference:
    """An image's name in parts: ``host`` (with a port, perhaps), ``path``, and its ``tag``."""

    host: str
    path: str
    tag: str

    @classmethod
    def of(cls, image: str) -> Reference:
        """As docker reads a name without a digest: docker.io unless the first part looks like a host; ``latest``."""
        first, slash, rest = image.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            first, rest = "docker.io", image
        if first in _DOCKER_HUB:
            first, rest = "registry-1.docker.io", rest if "/" in rest else f"library/{rest}"
        path, _, tag = rest.partition(":")
        return cls(first, path, tag or "latest")

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine: docker, too, asks such a one without TLS."""
        return _LOOPBACK.fullmatch(self.host) is not None


def resolve(image: str, *, scheme: str | None = None) -> str:
    """``name@sha256:…`` of what a tag names now; a name with a digest stays. Raises SurfaceError.

    ``scheme`` None: https, but for a registry on this machine. Source of the protocol:
    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests, and
    https://distribution.github.io/distribution/spec/auth/token/ for the token.
    """
    if "@" in image:
        return image
    import requests

    reference = Reference.of(image)
    scheme = scheme or ("http" if reference.is_loopback else "https")
    url = f"{scheme}://{reference.host}/v2/{reference.path}/manifests/{reference.tag}"
    headers = {"Accept": _ACCEPT}
    try:
        answer = requests.head(url, headers=headers, timeout=_TIMEOUT_S, allow_redirects=True)
        if answer.status_code == 401:
            headers["Authorization"] = _authorization(answer.headers.get("WWW-Authenticate", ""), reference, image)
            answer = requests.head(url, headers=headers, timeout=_TIMEOUT_S, allow_redirects=True)
    except requests.RequestException as error:
        raise _no_answer(image, f"doesn't answer: {error}", Cause.TRANSIENT) from None
    if answer.status_code == 404:
        raise SurfaceError(f"benchmark.image: {image} isn't in its registry: check its name and tag", Cause.IMAGE)
    if answer.status_code in (401, 403):
        raise refused(image, f"HTTP {answer.status_code}")
    digest = answer.headers.get("Docker-Content-Digest", "")
    if not answer.ok or not digest.startswith("sha256:"):
        cause = Cause.TRANSIENT if _passes(answer.status_code) else Cause.IMAGE
        raise _no_answer(image, f"answers with HTTP {answer.status_code} and no digest", cause)
    return f"{image.removesuffix(f':{reference.tag}')}@{digest}"


def _authorization(challenge: str, reference: Reference, image: str) -> str:
    """What a registry asks for: AWS's our own password, the others a token.

    Google's token is got with our own credentials, others' as nobody.
    """
    import requests

    if challenge.lower().startswith("basic") and (given := login(reference.host, image)):
        return f"Basic {base64.b64encode(':'.join(given).encode()).decode()}"
    asked = dict(_PARAMETER.findall(challenge))
    if not challenge.lower().startswith("bearer") or "realm" not in asked:
        raise refused(image, f"it asks for {challenge or 'credentials'}")
    auth = login(reference.host, image)
    wanted = {"service": asked.get("service", ""), "scope": f"repository:{reference.path}:pull"}
    answer = requests.get(asked["realm"], params=wanted, auth=auth, timeout=_TIMEOUT_S)
    said = f"HTTP {answer.status_code}: {answer.text[:300]}"
    if _passes(answer.status_code):
        raise _no_answer(image, f"has no token for now: {said}", Cause.TRANSIENT)
    if not answer.ok:
        raise refused(image, said)
    said_token = answer.json()
    token = (said_token.get("token") or said_token.get("access_token")) if isinstance(said_token, dict) else None
    if not token:
        raise refused(image, f"its token service answers without a token: {said}")
    return f"Bearer {token}"


def _passes(status: int) -> bool:
    return status >= 500 or status == 429


def _no_answer(image: str, what: str, cause: Cause) -> SurfaceError:
    return SurfaceError(
        f"benchmark.image: {image}: its registry {what}. Try again, or name the image by its digest (name@sha256:…)",
        cause,
    )
