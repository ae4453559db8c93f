"""Who gpubench is to a registry: Google's and AWS's are given our own credentials, others nothing of ours."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.interface import SurfaceError
from placement.causes import Cause
from placement.verdicts import CannotSay

_ECR = re.compile(r"\d{12}\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com")
_GOOGLE = re.compile(r"(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)")


def login(host: str, image: str) -> tuple[str, str] | None:
    """User and password for a registry; None where we have none of our own. Raises SurfaceError.

    https://cloud.google.com/artifact-registry/docs/docker/authentication#token,
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html#registry-auth-token
    """
    if found := _ECR.fullmatch(host):
        return _of_ecr(found["region"], image)
    if not _GOOGLE.fullmatch(host):
        return None
    from components.gce.api import ApiError
    from components.gce.rest import Rest

    try:
        return "oauth2accesstoken", str(Rest().credentials().token)
    except (CannotSay, ApiError) as error:
        raise refused(image, str(error)) from None


def _of_ecr(region: str, image: str) -> tuple[str, str]:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = boto3.client("ecr", region_name=region).get_authorization_token()
    except (BotoCoreError, ClientError) as error:
        raise refused(image, str(error)) from None
    user, _, password = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    return user, password


def refused(image: str, why: str) -> SurfaceError:
    """What a registry that doesn't let us in is told of."""
    return SurfaceError(
        f"benchmark.image: {image}: its registry lets nobody read it who asks like this ({why}). Log in (for Google's "
        "registries: gcloud auth application-default login; for AWS's: aws sso login, or aws configure), or name the "
        "image by its digest (name@sha256:…)",
        Cause.PERMISSION,
    )


@contextmanager
def client_environment(host: str, image: str) -> Iterator[dict[str, str]]:
    """Variables by which docker, podman and buildah log in to a registry as we do; empty where they do it themselves.

    The password is in a file that only we can read, for as long as this lasts: never on a command line, and never in
    the user's own configuration. Raises SurfaceError.
    """
    given = login(host, image)
    if given is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="gpubench-") as made:
        folder = Path(made)
        own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        config = _read(own / "config.json")
        # Docker asks a helper before it looks at `auths`, and for what isn't there every other helper.
        config.pop("credsStore", None)
        helpers = config.get("credHelpers")
        if isinstance(helpers, dict):
            helpers.pop(host, None)
        config["auths"] = {host: {"auth": base64.b64encode(":".join(given).encode()).decode()}}
        # Its contexts say where docker's engine is, and its plugins build.
        for entry in own.iterdir() if own.is_dir() else ():
            if entry.name != "config.json":
                (folder / entry.name).symlink_to(entry)
        written = folder / "config.json"
        written.touch(mode=0o600)
        written.write_text(json.dumps(config), encoding="utf-8")
        yield {"DOCKER_CONFIG": made, "REGISTRY_AUTH_FILE": str(written)}


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
