"""The user data in a container, with its own root: what is written where, and that nothing of ours is needed for it."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path

import pytest

from components.ecs.cluster import user_data
from tests.buildah import IMAGE, Buildah
from tests.ecs.declared import BASE
from tests.ecs.test_user_data import SCRIPTS, UNITS

_OF_AMAZON_LINUX = ("systemctl", "systemd-run", "shutdown")
"""What the machine has and a container hasn't: each writes down how it was called."""


@pytest.fixture
def container(buildah: Buildah, tmp_path: Path) -> str:
    """One with busybox's tools and this machine's bash; on Amazon Linux both are there."""
    working = buildah("from", IMAGE)
    needed = subprocess.run(["/usr/bin/ldd", "/bin/bash"], capture_output=True, text=True, check=True).stdout
    for path in ("/bin/bash", *re.findall(r"/\S+", needed)):
        buildah("copy", working, str(Path(path).resolve()), path)
    for name in _OF_AMAZON_LINUX:
        fake = tmp_path / name
        fake.write_text(f'#!/bin/sh\necho "{name} $*" >>/calls\n')
        buildah("copy", "--chmod", "755", working, str(fake), f"/usr/bin/{name}")
    script = tmp_path / "user-data"
    script.write_bytes(base64.b64decode(user_data(BASE, 5400)))
    buildah("copy", working, str(script), "/var/lib/cloud/user-data")
    return working


def test_it_runs_as_at_a_machine_s_first_boot(buildah: Buildah, container: str) -> None:
    said = buildah("run", container, "--", "/bin/bash", "/var/lib/cloud/user-data")
    assert said.splitlines()[-1] == f"gpubench: the agent joins the cluster {BASE}"
    calls = buildah("run", container, "--", "/bin/cat", "/calls").splitlines()
    assert calls == [
        "systemd-run --unit=gpubench-end --on-active=5400s systemctl poweroff",
        "systemctl daemon-reload",
        "systemctl start --no-block gpubench-tasks.service gpubench-notice.service",
    ]
    config = buildah("run", container, "--", "/bin/cat", "/etc/ecs/ecs.config")
    assert f"ECS_CLUSTER={BASE}" in config.splitlines()
    for script in SCRIPTS:
        buildah("run", container, "--", "/bin/sh", "-c", f"test -x /{script} && /bin/bash -n /{script}")
    for unit in UNITS:
        (program,) = re.findall(
            r"Exec(?:Start|Stop)=(/usr\S+)", buildah("run", container, "--", "/bin/cat", f"/{unit}")
        )
        buildah("run", container, "--", "/bin/test", "-x", program)
    buildah("rm", container)
