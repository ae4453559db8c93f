"""An image's registry, asked which content a tag names now, and for a first pull of the image."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.interface import SurfaceError
from components.registry_login import login, refused
from placement.causes import Cause

if TYPE_CHECKING:
    import requests

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT_S = 20.0
_DOCKER_HUB = ("docker.io", "index.docker.io")
_TRIES = 3
_PAUSE_S = 3.0
_APPEARS_S = 60.0
"""How long a part that isn't there is asked for again: a cache's rule holds some seconds after it is made."""

_PULL_S = 1800.0
"""For all of an image: 200 MB (compressed, as the uploader's) in that time are 1 Mbit/s."""

_MANIFEST_BYTES = 4 << 20  # no registry has to take a larger one (the specification's "Pushing Manifests")
_CHUNK_BYTES = 1 << 20
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


def pull_through(
    image: str,
    *,
    scheme: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Read all of an image for linux/amd64 once, and keep nothing: a pull-through cache has it then.

    ECR's needs a way to the internet for the first pull of an image and for no later one, so a machine without such a
    way can't be the first: https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html. Each part is
    checked by its sha256. ``image``: as `resolve` takes it. What isn't there is asked for again for a minute, a try
    that fails otherwise is made 3 times, and all of it takes half an hour at most. Raises SurfaceError.
    """
    pull = _Pull(resolve(image, scheme=scheme), scheme, clock, sleep, fails=_not_pulled, appears_s=_APPEARS_S)
    for part in pull.parts():
        pull.read("blobs", part)


def compressed_gb(image: str, known: Path, *, scheme: str | None = None) -> float:
    """How much a machine (linux/amd64) pulls of an image, in GB of 10^9 bytes. Raises SurfaceError.

    ``image``: by its digest. ``known``: a folder for what was once answered: a digest's content doesn't change, and
    some registries count each question as a pull (https://docs.docker.com/docker-hub/usage/pulls/).
    """
    answer = known / image.partition("@")[2].replace(":", "-")
    with suppress(OSError, ValueError):
        return float(answer.read_text())
    pull = _Pull(image, scheme, time.monotonic, lambda _: None, fails=_unsized, appears_s=0.0, tries=1)
    found = sum(pull.parts().values()) / 1e9
    with suppress(OSError):  # it is asked again then
        known.mkdir(parents=True, exist_ok=True)
        answer.write_text(f"{found}\n")
    return found


@dataclass
class _Pull:
    """One pull of an image, by its digest, and since when.

    ``fails``: the error of an image, of which the registry does something, for a cause. ``appears_s``: how long what
    isn't there is asked for; ``tries``: how often what fails otherwise is.
    """

    image: str
    scheme: str | None
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    fails: Callable[[str, str, Cause], SurfaceError]
    appears_s: float
    tries: int = _TRIES
    begun: float = field(init=False)
    authorization: str = ""

    def __post_init__(self) -> None:
        self.begun = self.clock()
        self.reference = Reference.of(self.image.partition("@")[0])
        scheme = self.scheme or ("http" if self.reference.is_loopback else "https")
        self.base = f"{scheme}://{self.reference.host}/v2/{self.reference.path}"

    def failed(self, what: str, cause: Cause) -> SurfaceError:
        """The error to be raised."""
        return self.fails(self.image, what, cause)

    def parts(self) -> dict[str, int]:
        """Digest and size in bytes of all that a machine would read besides manifests; each once: an empty layer may
        be there several times.
        """
        try:
            manifest = self.manifest(self.image.partition("@")[2])
            if "manifests" in manifest:
                manifest = self.manifest(self._of_our_machines(manifest["manifests"]))
            return {str(one["digest"]): int(one["size"]) for one in (manifest["config"], *manifest["layers"])}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self.failed("has something else than an image by this name", Cause.IMAGE) from None

    def _of_our_machines(self, manifests: list[dict[str, Any]]) -> str:
        """The digest of an index's manifest for linux/amd64."""
        for one in manifests:
            platform = one.get("platform") or {}
            if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
                return str(one["digest"])
        raise self.failed("has no linux/amd64 of it", Cause.IMAGE)

    def manifest(self, digest: str) -> dict[str, Any]:
        """A manifest or an index. Raises ValueError for one that is neither."""
        found = json.loads(self.read("manifests", digest))
        if not isinstance(found, dict):
            raise ValueError
        return found

    def read(self, kind: str, digest: str) -> bytes:
        """One part, whose content has this digest: a manifest's text; of a blob nothing is kept."""
        if not _SHA256.fullmatch(digest):
            raise self.failed(f"names a part by {digest!r}, and not by its sha256", Cause.IMAGE)
        import requests

        begun, tries = self.clock(), 0
        while True:
            try:
                found = self._read_once(kind, digest)
                if found is not None:
                    return found
                failed = self.failed(f"doesn't have its {kind}/{digest}", Cause.IMAGE)
                if self.clock() - begun >= self.appears_s:
                    raise failed
            except requests.RequestException as error:
                failed, tries = self.failed(f"doesn't answer: {error}", Cause.TRANSIENT), tries + 1
            except SurfaceError as error:
                if error.cause is not Cause.TRANSIENT:
                    raise
                failed, tries = error, tries + 1
            if tries >= self.tries or self._is_late():
                raise failed from None
            self.sleep(_PAUSE_S)

    def _read_once(self, kind: str, digest: str) -> bytes | None:
        """The same in one try; None where it isn't there. Raises SurfaceError, and requests' own errors."""
        with self._get(kind, digest) as answer:
            if answer.status_code == 404:
                return None
            if answer.status_code in (401, 403):
                raise self.failed(f"refuses it (HTTP {answer.status_code})", Cause.PERMISSION)
            if not answer.ok:
                cause = Cause.TRANSIENT if _passes(answer.status_code) else Cause.IMAGE
                raise self.failed(f"answers with HTTP {answer.status_code} where its {kind}/{digest} should be", cause)
            content, kept = hashlib.sha256(), b""
            for chunk in answer.iter_content(_CHUNK_BYTES):
                content.update(chunk)
                if kind == "manifests":
                    kept += chunk
                    if len(kept) > _MANIFEST_BYTES:
                        raise self.failed(f"has a manifest of more than {_MANIFEST_BYTES} bytes", Cause.IMAGE)
                if self._is_late():
                    raise self.failed(f"hasn't sent all of it within {_PULL_S:.0f} s", Cause.TRANSIENT)
        if f"sha256:{content.hexdigest()}" != digest:
            raise self.failed(f"sends another content than its {kind}/{digest}", Cause.IMAGE)
        return kept

    def _get(self, kind: str, digest: str) -> requests.Response:
        """The answer, with its body still to come. A token may have ended since the last part: there is a new one."""
        import requests

        url = f"{self.base}/{kind}/{digest}"
        # Content is checked as it is kept, so nobody may pack it for the way. A blob is often another host's, which
        # requests doesn't tell who we are.
        headers = {"Accept": _ACCEPT if kind == "manifests" else "*/*", "Accept-Encoding": "identity"}
        for again in (True, False):
            given = {**headers, "Authorization": self.authorization} if self.authorization else headers
            answer = requests.get(url, headers=given, timeout=_TIMEOUT_S, stream=True)
            if answer.status_code != 401 or not again:
                break
            answer.close()
            challenge = answer.headers.get("WWW-Authenticate", "")
            self.authorization = _authorization(challenge, self.reference, self.image)
        return answer

    def _is_late(self) -> bool:
        return self.clock() - self.begun >= _PULL_S


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


def _unsized(image: str, what: str, cause: Cause) -> SurfaceError:
    return SurfaceError(
        f"benchmark.image: how large {image} is isn't known: its registry {what}",
        cause,
    )


def _not_pulled(image: str, what: str, cause: Cause) -> SurfaceError:
    mend = _MENDS.get(cause, "Name another one (gpubench:aws: {uploader_image: …}), or write network: nat there")
    return SurfaceError(f"{image} can't be pulled from here for the first time: its registry {what}. {mend}", cause)


_MENDS = {
    Cause.TRANSIENT: "Try again",
    # Whose first pull it is needs what the cache does in its name:
    # https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache-iam.html
    Cause.PERMISSION: "Allow ecr:BatchGetImage, ecr:GetDownloadUrlForLayer, ecr:BatchImportUpstreamImage and "
    "ecr:CreateRepository on its repository to whoever runs gpubench",
}
