"""The container tools of surface `local`: docker, podman or buildah, whichever is there, driven by their commands."""

from __future__ import annotations

import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from components.interface import SurfaceError

RESULTS_IN_CONTAINER = "/results"
_PASSED = ("GPUBENCH_RESULTS", "GPUBENCH_STAMPS")


class ContainerTool(ABC):
    """One container tool. Images are used as they are on this machine; nothing is pulled behind the user's back."""

    program: ClassVar[str]

    def works(self) -> bool:
        """Whether the program is there and can do its work (a docker client without its engine can't)."""
        return shutil.which(self.program) is not None

    @abstractmethod
    def resolve(self, image: str) -> str:
        """The image by digest. Raises SurfaceError if it isn't here."""

    @abstractmethod
    def command(
        self, image: str, argv: Sequence[str], results: Path, env: Sequence[str], run: str
    ) -> tuple[list[str], list[str]]:
        """The command that runs the image with `results` at /results, and the one that removes what it leaves.

        `env`: names of variables; their values come from the command's environment, so none is ever on a command line.
        `argv`: the container's command; empty for the image's own.
        """

    def _output(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self.program, *arguments], capture_output=True, text=True, check=True, timeout=120, stdin=subprocess.DEVNULL
            )
        except subprocess.CalledProcessError as error:
            raise SurfaceError(error.stderr.strip() or f"{self.program} failed with {error.returncode}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SurfaceError(f"{self.program}: {error}") from error
        return done.stdout

    def _inspect(self, image: str, *arguments: str) -> Any:
        try:
            return json.loads(self._output(*arguments, image))
        except SurfaceError as error:
            raise SurfaceError(
                f"benchmark.image: {image} isn't on this machine ({error}). Bring it here first: {self.program} pull {image}"
            ) from None


class Docker(ContainerTool):
    """Docker; podman takes the same arguments."""

    program = "docker"

    def works(self) -> bool:
        if not super().works():
            return False
        try:
            self._output("version", "--format", "{{.Server.Version}}")
        except SurfaceError:
            return False
        return True

    def resolve(self, image: str) -> str:
        described = self._inspect(image, "image", "inspect")[0]
        name = _name(image)
        for reference in described.get("RepoDigests") or []:
            if reference.partition("@")[0].endswith(name.rpartition("/")[2]):
                return str(reference)
        # Built here and never pushed: it has no registry's digest, and its own id names its content as well.
        return f"{name}@{_sha256(described['Id'])}"

    def command(
        self, image: str, argv: Sequence[str], results: Path, env: Sequence[str], run: str
    ) -> tuple[list[str], list[str]]:
        name = f"gpubench-{run}-{results.name.lower()}"
        command = [self.program, "run", "--rm", "--name", name, "--label", f"gpubench-run={run}"]
        command += ["--shm-size", "2g", *self._gpu_arguments()]  # PyTorch's loaders share tensors; 64 MB isn't enough
        command += ["--volume", f"{results.resolve()}:{RESULTS_IN_CONTAINER}"]
        for variable in (*_PASSED, *env):
            command += ["--env", variable]
        return [*command, self._local_reference(image), *argv], [self.program, "rm", "--force", name]

    def _local_reference(self, image: str) -> str:
        """The image by its id: a digest of an image that was never pushed can only be found so."""
        name, _, digest = image.partition("@")
        for candidate in (image, digest):
            try:
                return str(json.loads(self._output("image", "inspect", candidate))[0]["Id"])
            except SurfaceError:
                continue
        raise SurfaceError(f"benchmark.image: {image} is no longer on this machine: {self.program} pull {name}")

    def _gpu_arguments(self) -> list[str]:
        return ["--gpus", "all"] if _has_nvidia_gpu() else []


class Podman(Docker):
    """Podman: docker's arguments, GPUs by the Container Device Interface."""

    program = "podman"

    def _gpu_arguments(self) -> list[str]:
        return ["--device", "nvidia.com/gpu=all"] if _has_nvidia_gpu() else []


class Buildah(ContainerTool):
    """Buildah: needs neither an engine nor a kernel's namespaces (BUILDAH_ISOLATION=chroot)."""

    program = "buildah"

    def resolve(self, image: str) -> str:
        described = self._inspect(image, "inspect", "--type", "image")
        return f"{_name(image)}@{_sha256(described['FromImageDigest'])}"

    def command(
        self, image: str, argv: Sequence[str], results: Path, env: Sequence[str], run: str
    ) -> tuple[list[str], list[str]]:
        reference = self._local_reference(image)
        config = self._inspect(reference, "inspect", "--type", "image")["OCIv1"].get("config") or {}
        # Unlike docker's, buildah's `run` knows neither an image's entry point nor its command.
        own = list(argv) or list(config.get("Cmd") or [])
        process = [*(config.get("Entrypoint") or []), *own]
        if not process:
            raise SurfaceError(f"benchmark.image: {image} has no command of its own; name one in benchmark.command")
        name = f"gpubench-{run}-{results.name.lower()}"
        self._output("from", "--pull-never", "--name", name, reference)
        command = [self.program, "run", "--volume", f"{results.resolve()}:{RESULTS_IN_CONTAINER}"]
        if _has_nvidia_gpu():
            for device in sorted(Path("/dev").glob("nvidia*")):
                command += ["--device", str(device)]
        for variable in (*_PASSED, *env):
            command += ["--env", variable]
        return [*command, name, "--", *process], [self.program, "rm", name]

    def _local_reference(self, image: str) -> str:
        """The id of the image of this digest: buildah finds none by the digest of an image built here."""
        name, _, digest = image.partition("@")
        for found in json.loads(self._output("images", "--json", "--no-trunc") or "null") or []:
            if found.get("digest") == digest:
                return str(found["id"]).removeprefix("sha256:")
        raise SurfaceError(f"benchmark.image: {image} is no longer on this machine: {self.program} pull {name}")


_TOOLS: tuple[type[ContainerTool], ...] = (Docker, Podman, Buildah)


def available() -> ContainerTool | None:
    """The first container tool that works here, of docker, podman and buildah."""
    return next((tool for tool in (kind() for kind in _TOOLS) if tool.works()), None)


def find(image: str) -> ContainerTool:
    """As `available`, for an image that needs one. Raises SurfaceError if there is none."""
    tool = available()
    if tool is None:
        raise SurfaceError(
            f"benchmark.image: {image} needs docker (with its engine), podman or buildah, and none works here. Install one, "
            "or leave benchmark.image out to run the built-in workload in a process"
        )
    return tool


def _name(image: str) -> str:
    """An image's name without tag and digest; a port isn't a tag."""
    name = image.partition("@")[0]
    head, _, last = name.rpartition("/")
    return f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]


def _sha256(digest: str) -> str:
    return digest if digest.startswith("sha256:") else f"sha256:{digest}"


def _has_nvidia_gpu() -> bool:
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
