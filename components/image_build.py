"""The benchmark's image, built from its Containerfile and pushed: once for each content.

With `benchmark.build` an image is named by the tag in the config and by a digest of what it is built from (its context,
Containerfile and arguments). So a changed file makes another run due, an unchanged one is never built again, and no run
takes an image that is older than its files. A base image counts by its name in the Containerfile: pin it by digest.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmark_job.order import PROJECT_ROOT
from components import image_digest, registry_login
from components.image_digest import Reference
from components.interface import SurfaceError
from components.local import containers
from placement.causes import Cause
from settings import Benchmark, Build

PINNED_VARIABLE = "GPUBENCH_IMAGE"
"""Set by `gpubench up` around its updates: the image by digest, as it was when the walk began."""

PLATFORM = "linux/amd64"
"""All GPU machines of the catalogue are of this architecture; who builds may sit at another."""

_CONTENT_DIGITS = 12
_TAIL_LINES = 15
_NO_REPOSITORY = ("name unknown", "name_unknown", "repository not found", "does not exist")
# What a push to a repository that isn't there ends with, on Artifact Registry and on ECR:
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes


class ImageNotBuilt(SurfaceError):
    """Nobody has built the image of this content yet."""

    def __init__(self, image: str) -> None:
        super().__init__(
            f"benchmark.image: {image} is not built yet, or its files have changed since. Build it: `gpubench up` does "
            "so first, and `gpubench image` alone",
            Cause.IMAGE,
        )


def wanted(benchmark: Benchmark) -> str | None:
    """The image to be run, as it is asked for: by digest where that is known, by tag else."""
    if benchmark.build is None or benchmark.image is None:
        return benchmark.image
    return os.environ.get(PINNED_VARIABLE) or f"{benchmark.image}-{content(benchmark.build)[:_CONTENT_DIGITS]}"


def resolve(benchmark: Benchmark, by: Callable[[str], str]) -> str | None:
    """The image by digest, as `by` resolves a name. Raises ImageNotBuilt; what `by` raises."""
    image = wanted(benchmark)
    if image is None:
        return None
    try:
        return by(image)
    except SurfaceError as error:
        if benchmark.build is not None and error.cause is Cause.IMAGE and "@" not in image:
            raise ImageNotBuilt(image) from None
        raise


def ensure(benchmark: Benchmark, *, pushes: bool, say: Callable[[str], None], prepare: Callable[[], None]) -> str:
    """The image by digest: built, and pushed, if nobody has yet.

    ``pushes``: a registry has to have it; else this machine. ``prepare``: makes the registry's repository, if the stack
    has one of its own. Raises SurfaceError with the last of what a tool said.
    """
    build, image = benchmark.build, wanted(benchmark)
    assert build is not None and image is not None
    by = image_digest.resolve if pushes else containers.find(image).resolve
    try:
        return by(image)
    except SurfaceError as error:
        if error.cause is not Cause.IMAGE:
            raise
    tool = containers.find(image)
    context = PROJECT_ROOT / build.context
    say(f"building {image} with {tool.program}")
    platform = PLATFORM if pushes else ""
    failed = _run(tool.build(image, context, context / build.containerfile, build.args, platform))
    if failed:
        raise SurfaceError(f"benchmark.build: {tool.program} could not build {image}:\n{failed}", Cause.IMAGE)
    if pushes:
        say(f"pushing {image}")
        _push(tool, image, prepare)
    return by(image)


def content(build: Build) -> str:
    """A sha256, in hex, of all that a build sees: its files but for what .dockerignore leaves out, and its arguments.

    Times and owners don't count: a fresh clone has others. Raises SurfaceError for a context that can't be read.
    """
    context = PROJECT_ROOT / build.context
    digest = hashlib.sha256()
    try:
        for path in _files(context, build.containerfile):
            file = context / path
            how = file.lstat().st_mode
            if stat.S_ISLNK(how):
                kind, data = "link", hashlib.sha256(os.fsencode(file.readlink())).digest()
            else:
                kind = "program" if how & stat.S_IXUSR else "file"
                with file.open("rb") as opened:
                    data = hashlib.file_digest(opened, "sha256").digest()
            digest.update(f"{kind}\0{path}\0".encode(errors="surrogateescape") + data)
    except OSError as error:
        raise SurfaceError(f"benchmark.build: {build.context} can't be read: {error}", Cause.BAD_REQUEST) from None
    for name, value in sorted(build.args.items()):
        digest.update(f"arg\0{name}\0{value}\0".encode())
    digest.update(f"containerfile\0{build.containerfile}".encode())
    return digest.hexdigest()


def _files(context: Path, containerfile: str) -> list[str]:
    """The context's files and links, by their paths in it."""
    from docker.utils import exclude_paths

    ignore = context / ".dockerignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    found = exclude_paths(str(context), patterns, dockerfile=containerfile)
    return sorted(path for path in found if (context / path).is_symlink() or (context / path).is_file())


def _push(tool: containers.ContainerTool, image: str, prepare: Callable[[], None]) -> None:
    reference = Reference.of(image)
    with registry_login.client_environment(reference.host, image) as environment:
        command = tool.push(image, loopback=reference.is_loopback)
        failed = _run(command, environment)
        if failed and any(words in failed.lower() for words in _NO_REPOSITORY):
            prepare()
            failed = _run(command, environment)
    if failed:
        raise SurfaceError(
            f"benchmark.build: {tool.program} could not push {image}:\n{failed}\nWho pushes needs to be logged in, and "
            "to have the right to write there (on Artifact Registry: roles/artifactregistry.writer)",
            Cause.PERMISSION if "denied" in failed.lower() or "unauthorized" in failed.lower() else Cause.IMAGE,
        )


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a tool and show what it says; the last of that if it fails, else nothing."""
    last: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        ) as tool:
            assert tool.stdout is not None
            for line in tool.stdout:
                print(f"  {line.rstrip()}", file=sys.stderr)
                last.append(line.rstrip())
    except OSError as error:
        return str(error)
    if tool.returncode == 0:
        return ""
    return "\n".join(line for line in last if line) or f"it ended with {tool.returncode}"
