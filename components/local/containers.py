"""The container tools of surface `local`: docker, podman or buildah, whichever is there, driven by their commands."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import results_folder
from components.interface import SurfaceError
from placement.causes import Cause

RESULTS_IN_CONTAINER = "/results"
_SHM = "2g"  # PyTorch's loaders share tensors through /dev/shm; the tools' 64 MB aren't enough


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What to run in a container, with `results` (this machine's folder) at /results.

    `argv`: the container's command; empty for the image's own. `env` is in clear, `secrets` (values by variable) must
    reach the container and no command line. `gpu`: pass on what there is.
    """

    image: str
    argv: Sequence[str]
    env: Mapping[str, str]
    secrets: Mapping[str, str]
    results: Path
    run: str
    gpu: bool

    @property
    def name(self) -> str:
        """The container's name; it is the attempt's, so that what a killed attempt left can be found."""
        return _container(self.run, self.results)


@dataclass(frozen=True, kw_only=True)
class Command:
    """How a tool runs a container: the command, its variables beside ours, what it reads, and what cleans up after."""

    argv: list[str]
    cleanup: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""


class ContainerTool(ABC):
    """One container tool. Images are used as they are on this machine; nothing is pulled behind the user's back."""

    program: ClassVar[str]
    _build_options: ClassVar[tuple[str, ...]] = ()
    _loopback_options: ClassVar[tuple[str, ...]] = ("--tls-verify=false",)

    def works(self) -> bool:
        """Whether the program is there and can do its work (a docker client without its engine can't)."""
        return shutil.which(self.program) is not None

    @abstractmethod
    def resolve(self, image: str) -> str:
        """The image by digest. Raises SurfaceError if it isn't here."""

    @abstractmethod
    def command(self, spec: Spec) -> Command:
        """The command that runs it. Raises SurfaceError."""

    @abstractmethod
    def removal(self, container: str) -> list[str]:
        """The command that removes a container, running or not."""

    def build(
        self, image: str, context: Path, containerfile: Path, args: Mapping[str, str], platform: str = ""
    ) -> list[str]:
        """The command that builds an image of this name; without a platform, for this machine."""
        argv = [self.program, "build", *self._build_options, "--tag", image, "--file", str(containerfile)]
        argv += ["--platform", platform] if platform else []
        for name, value in args.items():
            argv += ["--build-arg", f"{name}={value}"]
        return [*argv, str(context)]

    def push(self, image: str, *, loopback: bool = False) -> list[str]:
        """The command that pushes an image of this machine; `loopback`: to a registry on this machine, without TLS."""
        return [self.program, "push", *(self._loopback_options if loopback else ()), image]

    def sweep(self, run: str, results: Path) -> None:
        """Remove what this run's attempts left that were killed before they could: who calls holds the run's lock."""
        for folder in results.parent.iterdir():
            if folder.is_dir() and folder != results and not (folder / results_folder.MANIFEST).exists():
                with suppress(SurfaceError):
                    self._output(*self.removal(_container(run, folder))[1:])

    def _output(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self.program, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                check=True,
                timeout=120,
                stdin=subprocess.DEVNULL,
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
            raise SurfaceError(f"{_missing(self.program, image)} ({error})", Cause.IMAGE) from None


class Docker(ContainerTool):
    """Docker; podman takes the same arguments."""

    program = "docker"
    _loopback_options: ClassVar[tuple[str, ...]] = ()  # its engine needs no word for one on its own machine

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
        for reference in sorted(described.get("RepoDigests") or []):
            # docker says "busybox" for docker.io/library/busybox
            if f"/{name}".endswith(f"/{reference.partition('@')[0]}"):
                return str(reference)
        # Built here and never pushed: it has no registry's digest, and its own id names its content as well.
        return f"{name}@{_sha256(described['Id'])}"

    def command(self, spec: Spec) -> Command:
        argv = [self.program, "run", "--rm", "--name", spec.name, "--label", f"gpubench-run={spec.run}"]
        argv += ["--pull", "never", "--shm-size", _SHM, *self._more_arguments(gpu=spec.gpu and has_nvidia_gpu())]
        argv += ["--volume", f"{spec.results.resolve()}:{RESULTS_IN_CONTAINER}", *_environment(spec.env)]
        for variable in spec.secrets:
            argv += ["--env", variable]  # its value comes from the command's own environment
        argv += [self._local_reference(spec.image), *spec.argv]
        return Command(argv=argv, cleanup=self.removal(spec.name), env=spec.secrets)

    def removal(self, container: str) -> list[str]:
        return [self.program, "rm", "--force", "--volumes", container]

    def _local_reference(self, image: str) -> str:
        """The image by its id: a digest of an image that was never pushed can only be found so."""
        digest = image.partition("@")[2]
        for candidate in (image, digest):
            try:
                return str(json.loads(self._output("image", "inspect", candidate))[0]["Id"])
            except SurfaceError:
                continue
        raise SurfaceError(_missing(self.program, image), Cause.IMAGE)

    def _more_arguments(self, *, gpu: bool) -> list[str]:
        return ["--gpus", "all"] if gpu else []


class Podman(Docker):
    """Podman: docker's arguments, GPUs by the Container Device Interface."""

    program = "podman"
    _loopback_options = ContainerTool._loopback_options

    def _more_arguments(self, *, gpu: bool) -> list[str]:
        # Where SELinux is on, a container may otherwise neither write to the results nor open the GPU's devices.
        return ["--security-opt", "label=disable", *(["--device", "nvidia.com/gpu=all"] if gpu else [])]


class Buildah(ContainerTool):
    """Buildah: needs neither an engine nor a kernel's namespaces (BUILDAH_ISOLATION=chroot)."""

    program = "buildah"
    _build_options = ("--layers",)  # docker and podman keep them for the next build without being told

    def resolve(self, image: str) -> str:
        if "@" in image:
            self._local_reference(image)
            return f"{_name(image)}@{image.partition('@')[2]}"
        described = self._inspect(image, "inspect", "--type", "image")
        return f"{_name(image)}@{_sha256(described['FromImageDigest'])}"

    def command(self, spec: Spec) -> Command:
        reference = self._local_reference(spec.image)
        config = self._inspect(reference, "inspect", "--type", "image")["OCIv1"].get("config") or {}
        # Unlike docker's, buildah's `run` knows neither an image's entry point nor its command.
        process = [*(config.get("Entrypoint") or []), *(spec.argv or config.get("Cmd") or [])]
        if not process:
            raise SurfaceError(
                f"benchmark.image: {spec.image} has no command; name one in benchmark.command", Cause.BAD_REQUEST
            )
        stdin = ""
        if spec.secrets:
            # Buildah's --env takes values only on its command line (1.28): the image's shell reads them from its input.
            process = ["/bin/sh", "-s", "--", *process]
            exports = [f"export {variable}={shlex.quote(value)}\n" for variable, value in spec.secrets.items()]
            stdin = "".join([*exports, 'exec "$@" </dev/null\n'])
        create = ["from", "--pull=never", "--name", spec.name, "--shm-size", _SHM]
        if spec.gpu and has_nvidia_gpu():
            create += [f"--device={device}" for device in sorted(Path("/dev").glob("nvidia*")) if not device.is_dir()]
        self._output(*create, reference)
        argv = [self.program, "run", "--volume", f"{spec.results.resolve()}:{RESULTS_IN_CONTAINER}"]
        argv += [*_environment(spec.env), spec.name, "--", *process]
        return Command(argv=argv, cleanup=self.removal(spec.name), stdin=stdin)

    def removal(self, container: str) -> list[str]:
        return [self.program, "rm", container]

    def _local_reference(self, image: str) -> str:
        """The id of the image of this digest: buildah finds none by the digest of an image built here."""
        digest = image.partition("@")[2]
        for found in json.loads(self._output("images", "--json", "--no-trunc") or "null") or []:
            if found.get("digest") == digest:
                return str(found["id"]).removeprefix("sha256:")
        raise SurfaceError(_missing(self.program, image), Cause.IMAGE)


_TOOLS: tuple[type[ContainerTool], ...] = (Docker, Podman, Buildah)


def available() -> ContainerTool | None:
    """The first container tool that works here, of docker, podman and buildah."""
    return next((tool for tool in (kind() for kind in _TOOLS) if tool.works()), None)


def find(image: str) -> ContainerTool:
    """As `available`, for an image that needs one. Raises SurfaceError if there is none."""
    tool = available()
    if tool is None:
        raise SurfaceError(
            f"benchmark.image: {image} needs docker (with its engine), podman or buildah, and none works here. "
            "Install one, or leave benchmark.image out to run the built-in workload in a process",
            Cause.BAD_REQUEST,
        )
    return tool


def _name(image: str) -> str:
    """An image's name without tag and digest; a port isn't a tag."""
    name = image.partition("@")[0]
    head, _, last = name.rpartition("/")
    return f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]


def _environment(env: Mapping[str, str]) -> list[str]:
    return [argument for name, value in env.items() for argument in ("--env", f"{name}={value}")]


def _container(run: str, attempt: Path) -> str:
    return f"gpubench-{run}-{attempt.name.lower()}"


def _missing(program: str, image: str) -> str:
    return f"benchmark.image: {image} isn't on this machine. Bring it here first: {program} pull {image}"


def _sha256(digest: str) -> str:
    return digest if digest.startswith("sha256:") else f"sha256:{digest}"


def has_nvidia_gpu() -> bool:
    """Whether this machine shows an NVIDIA GPU."""
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
