"""Buildah with a storage of its own, and a small image made on the spot."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

IMAGE = "localhost/gpubench-test:1"
_BUSYBOX = next((path for path in ("/bin/busybox", "/usr/bin/busybox") if Path(path).exists()), None)


@dataclass
class Buildah:
    """Buildah with a storage of its own."""

    folder: Path

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def image(self, name: str, *config: str) -> None:
        """An image from scratch with busybox, as a user would make one."""
        assert _BUSYBOX is not None
        working = self("from", "scratch")
        self("copy", working, _BUSYBOX, "/bin/busybox")
        self("run", working, "--", "/bin/busybox", "--install", "-s", "/bin")
        self("config", *config, working)
        self("commit", "--quiet", working, name)
        self("rm", working)

    def working_containers(self) -> list[str]:
        return [one["containername"] for one in json.loads(self("containers", "--json") or "null") or []]


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Buildah alone on the PATH (a docker that works would come first), or a skip where it isn't or can't work."""
    program = shutil.which("buildah")
    if program is None or _BUSYBOX is None:
        pytest.skip("no buildah or no busybox here: containers are not tested (apt-get install buildah busybox-static)")
    folder = tmp_path_factory.mktemp("buildah")
    (folder / "bin").mkdir()
    for tool in ("buildah", "newuidmap", "newgidmap"):
        if found := shutil.which(tool):
            (folder / "bin" / tool).symlink_to(found)
    storage = f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder / "bin"))
        patch.setenv("STORAGE_DRIVER", "vfs")
        patch.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))
        patch.setenv("BUILDAH_ISOLATION", "chroot")
        made = Buildah(folder)
        try:
            made.image(IMAGE, "--cmd", '["/bin/sh", "-c", "echo its own > /results/by"]')
        except subprocess.CalledProcessError as error:
            pytest.skip(f"buildah can't build an image here: {error.stderr}")
        yield made
        made("rmi", "--all", "--force")
