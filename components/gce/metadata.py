"""What a machine is told: the instance metadata that boot.sh and agent.py read.

All values are text. Metadata can be read by everybody who may see the instance, so a secret is only named here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent

_FILES = {
    "startup-script": "components/gce/boot.sh",
    "shutdown-script": "components/gce/shutdown.sh",
    "gpubench-agent": "components/gce/agent.py",
    "gpubench-results-folder": "results_folder.py",
    "gpubench-redaction": "components/redaction.py",
    "gpubench-run-log": "components/run_log.py",
    "gpubench-uploads": "components/uploads.py",
}

STOP = "gpubench-stop"
"""The attribute that a machine which is to stop is given; its value says nothing."""

SECRETS = "gpubench-secrets"
"""The attribute that names the secrets, which are known only when they have been made."""

MAX_VALUE = 256 * 1024
"""Bytes of one value (https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations)."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class MachineOrder:
    """What one machine carries out, one run after the other.

    ``image``: by digest. ``argv``: the container's command; empty for the image's own. ``env``: in clear. ``secrets``:
    variables and the versions they get (``projects/P/secrets/S/versions/V``). ``runs``: the stamps of each run.
    ``results``: ``gs://bucket/prefix``. ``timeout_s``: for one run. ``code``: a git URL and a full commit, mounted at
    /code. ``upload_s``: seconds between two uploads of what is measured.
    """

    image: str
    runs: Mapping[str, Mapping[str, Any]]
    attempt: str
    stack: str
    results: str
    timeout_s: float
    gpu: bool
    argv: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, str] | None = None
    upload_s: float = 15.0


def instance_metadata(order: MachineOrder) -> dict[str, str]:
    """The attributes of a machine that carries the order out. Raises ValueError for what can't be told to one."""
    for name in (*order.env, *order.secrets):
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"benchmark.env: {name!r} is no name of an environment variable")
    attributes = {key: (PROJECT_ROOT / path).read_text() for key, path in _FILES.items()}
    attributes |= {
        "gpubench-image": order.image,
        "gpubench-argv": "".join(f"{_b64(item)}\n" for item in order.argv),
        "gpubench-env": "\n".join(f"{name}={_b64(value)}" for name, value in order.env.items()),
        SECRETS: secret_lines(order.secrets),
        "gpubench-runs": "\n".join(f"{run} {_b64(json.dumps(dict(stamps)))}" for run, stamps in order.runs.items()),
        "gpubench-attempt": order.attempt,
        "gpubench-stack": order.stack,
        "gpubench-results": order.results,
        "gpubench-timeout-s": str(order.timeout_s),
        "gpubench-gpu": "1" if order.gpu else "0",
        "gpubench-upload-s": str(order.upload_s),
    }
    if order.code is not None:
        attributes["gpubench-code"] = " ".join(order.code)
    for key, value in attributes.items():
        if len(value.encode()) > MAX_VALUE:
            raise ValueError(f"{key} has more than {MAX_VALUE // 1024} KiB, and instance metadata takes no more")
    return attributes


def secret_lines(secrets: Mapping[str, str]) -> str:
    """The value of `SECRETS`: variables, and the versions of Secret Manager that they get."""
    return "\n".join(f"{name}={version}" for name, version in secrets.items())


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
