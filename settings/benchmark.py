"""``gpubench:benchmark``: what is run, in which image, of which code."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from placement.ladder import Rung
from settings.credentials import looks_like_credential, names_a_secret, shown_key
from settings.environment import read_env
from settings.mistakes import Mistakes, did_you_mean, one_of, shown
from settings.model import (
    BENCHMARKS,
    DEFAULT_TIMEOUT_MINUTES,
    MAX_BATCH_SIZE,
    MAX_REPEATS,
    MAX_TIMEOUT_MINUTES,
    PRECISIONS,
    PROFILES,
    PROJECT,
    SCENARIOS,
    Benchmark,
    Build,
    Code,
)
from settings.shapes import BenchmarkShape, BuildShape, CodeShape, take_shape

_PROJECT_ROOT = Path(__file__).resolve().parent.parent
_CONTAINERFILES = ("Containerfile", "Dockerfile")

_OF_THE_WORKLOAD = ("profile", "scenarios", "batch_sizes", "precisions", "channels_last", "compile", "seed")


def read_benchmark(
    parsed: Mapping[str, object], ladder: Sequence[Rung] | None, mistakes: Mistakes
) -> tuple[Benchmark, dict[str, str]]:
    """The benchmark, and the config keys that its environment refers to (with the path of the first reference)."""
    path = f"{PROJECT}:benchmark"
    config, bad = take_shape(BenchmarkShape, parsed.get("benchmark", {}), path, mistakes)
    env, references = read_env(config.env or {}, f"{path}.env", mistakes)
    own_command = config.image is not None and config.workload is None and "workload" not in bad
    if config.image is not None:
        _check_image(config.image, f"{path}.image", mistakes)
    build = _build(config, "image" in bad, f"{path}.build", mistakes)
    if config.workload is not None:
        _check_words(config.workload, BENCHMARKS, f"{path}.workload", "built-in benchmark", mistakes)
        if not config.workload:
            mend = "name one, or give an image and no workload"
            mistakes.add(f"{path}.workload", "an empty list", one_of(BENCHMARKS), mend)
    _check_command(config, "image" in bad, f"{path}.command", mistakes)
    if own_command:
        _check_nothing_for_the_workload(config, path, mistakes)
    _check_options(config, path, mistakes)
    code = _code(config.code, f"{path}.code", mistakes)
    profile = config.profile
    if profile is None:
        slow = ladder is not None and all(rung.is_free or rung.tier == "cpu" for rung in ladder)
        profile = "standard-cpu" if slow else "standard"
    benchmark = Benchmark(
        workload=() if own_command else tuple(config.workload or BENCHMARKS),
        image=config.image,
        build=build,
        command=tuple(config.command or ()),
        env=env,
        profile=profile,
        scenarios=tuple(config.scenarios or ()),
        batch_sizes=tuple(config.batch_sizes or ()),
        precisions=tuple(config.precisions or ()),
        channels_last=bool(config.channels_last),
        compile=bool(config.compile),
        seed=config.seed or 0,
        repeats=1 if config.repeats is None else config.repeats,
        timeout_minutes=DEFAULT_TIMEOUT_MINUTES if config.timeout_minutes is None else config.timeout_minutes,
        code=code,
    )
    return benchmark, references


def _check_command(config: BenchmarkShape, bad_image: bool, where: str, mistakes: Mistakes) -> None:
    command = config.command
    if command is None:
        return
    if config.image is None and not bad_image:
        mistakes.add(where, shown(command), "a command only with image", "add image, or remove command")
    elif config.workload:
        mend = "remove command, or remove workload to run the image's own command"
        mistakes.add(where, shown(command), "no command with workload: the built-in workload has its own", mend)
    elif not command or not command[0].strip():
        mend = "name the program, or remove command"
        mistakes.add(where, shown(command), "a list of program and arguments", mend)


def _check_nothing_for_the_workload(config: BenchmarkShape, path: str, mistakes: Mistakes) -> None:
    for name in _OF_THE_WORKLOAD:
        value = getattr(config, name)
        if value is not None:
            mend = "an image alone runs its own command: pass it in command or env, or add workload"
            mistakes.add(f"{path}.{name}", shown(value), f"{name} only with the built-in workload", mend)


def _check_options(config: BenchmarkShape, path: str, mistakes: Mistakes) -> None:
    if config.profile is not None and config.profile not in PROFILES:
        mend = did_you_mean(config.profile, PROFILES)
        mistakes.add(f"{path}.profile", shown(config.profile), one_of(PROFILES), mend)
    for name, values, allowed, what in (
        ("scenarios", config.scenarios, SCENARIOS, "scenario"),
        ("precisions", config.precisions, PRECISIONS, "precision"),
    ):
        where = f"{path}.{name}"
        _check_words(values or [], allowed, where, what, mistakes)
        if values == []:
            mend = f"name a {what}, or remove {name} for the profile's own"
            mistakes.add(where, "an empty list", one_of(allowed), mend)
    if config.workload and "resnet50" not in config.workload and config.scenarios:
        mend = "remove scenarios, or add resnet50 to workload"
        mistakes.add(f"{path}.scenarios", shown(config.scenarios), "scenarios only with resnet50", mend)
    _check_batch_sizes(config.batch_sizes, f"{path}.batch_sizes", mistakes)
    _check_range(config.repeats, f"{path}.repeats", 1, MAX_REPEATS, "runs", mistakes)
    _check_range(config.timeout_minutes, f"{path}.timeout_minutes", 0.02, MAX_TIMEOUT_MINUTES, "minutes", mistakes)
    _check_range(config.seed, f"{path}.seed", 0, 2**32 - 1, "", mistakes)


def _check_words(values: list[str], allowed: tuple[str, ...], path: str, what: str, mistakes: Mistakes) -> None:
    for index, value in enumerate(values):
        where = f"{path}[{index}]"
        if value not in allowed:
            mend = did_you_mean(value, allowed, f"choose a {what} of these")
            mistakes.add(where, shown(value), one_of(allowed), mend)
        elif value in values[:index]:
            mistakes.add(where, f"{shown(value)} again", f"each {what} once", "remove one of them")


def _check_batch_sizes(sizes: list[int] | None, path: str, mistakes: Mistakes) -> None:
    if sizes == []:
        mend = "name one, or remove batch_sizes for the profile's own"
        mistakes.add(path, "an empty list", f"whole numbers from 1 to {MAX_BATCH_SIZE}", mend)
    for index, size in enumerate(sizes or ()):
        _check_range(size, f"{path}[{index}]", 1, MAX_BATCH_SIZE, "samples", mistakes)
        if size in (sizes or ())[:index]:
            mistakes.add(f"{path}[{index}]", f"{size} again", "each batch size once", "remove one of them")


def _check_range(value: float | None, path: str, low: float, high: float, unit: str, mistakes: Mistakes) -> None:
    if value is None or (math.isfinite(value) and low <= value <= high):
        return
    of = f" {unit}" if unit else ""
    mistakes.add(path, shown(value), f"{low:g} to {high:,}{of}", "write a number in that range")


def _check_image(image: str, path: str, mistakes: Mistakes) -> None:
    name, _, digest = image.partition("@")
    last = name.rsplit("/", 1)[-1]
    tag = last.partition(":")[2]
    repository = name[: -len(tag) - 1] if tag else name
    forms = "registry/name:tag or registry/name@sha256:..."
    login = bool(digest) and ":" in name and not digest.startswith("sha256:")
    if looks_like_credential(image) or "://" in image or login:
        value = "an image with a login (not shown)" if login else shown(image)
        mistakes.add(path, value, forms, "write it without a scheme and without a login")
        return
    component = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    registry = r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?"
    if not re.fullmatch(rf"{registry}{component}(?:/{component})*", repository):
        lower = "; repository names are lower-case" if repository != repository.lower() else ""
        mistakes.add(path, shown(image), forms, "mend the image's name" + lower)
    elif digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        mend = "copy the whole digest, as in `docker inspect --format '{{.RepoDigests}}' <image>`"
        mistakes.add(path, shown(image), "a digest sha256: and 64 hex digits", mend)
    elif tag and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag):
        mistakes.add(path, shown(image), "a tag of letters, digits, _ . -", "mend the tag")
    elif not tag and not digest:
        mend = f"write {repository}:<tag>, or better {repository}@sha256:<digest>"
        mistakes.add(path, shown(image), "an image with a tag or a digest", mend)
    elif tag == "latest" and not digest:
        mend = "latest names another image tomorrow, so results could not be compared: write a version or a digest"
        mistakes.add(path, shown(image), "a tag that stays, or a digest", mend)


def _build(config: BenchmarkShape, bad_image: bool, path: str, mistakes: Mistakes) -> Build | None:
    build, image = config.build, config.image
    if build is None:
        return None
    if image is None and not bad_image:
        mend = "add image: registry/name:tag, the name to push it by, or remove build"
        mistakes.add(path, shown(build.context), "build only with image", mend)
    elif image is not None and "@" in image:
        mend = "write a tag instead of the digest, or remove build"
        mistakes.add(f"{path[: -len('.build')]}.image", shown(image), "an image with a tag, as it is built here", mend)
    containerfile = _containerfile(build, path, mistakes)
    for name in build.args or {}:
        where = f"{path}.args.{shown_key(name)}"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            mistakes.add(where, "a name that no ARG has", "a name of letters, digits and _", "name it as ARG does")
        elif names_a_secret(name):
            mend = "build arguments stay readable in an image: give the run a secret in benchmark.env instead"
            mistakes.add(where, "a secret in clear (not shown)", "no secrets", mend)
    return Build(build.context or ".", containerfile, dict(build.args or {}))


def _containerfile(build: BuildShape, path: str, mistakes: Mistakes) -> str:
    """The Containerfile's name within its context."""
    context = _PROJECT_ROOT / (build.context or ".")
    named = build.containerfile
    found = [name for name in (_CONTAINERFILES if named is None else (named,)) if (context / name).is_file()]
    if build.context is not None and not context.is_dir():
        mend = "write its path from the project's folder"
        mistakes.add(f"{path}.context", shown(build.context), "a folder that is there", mend)
    elif not found:
        value = "missing" if named is None else shown(named)
        allowed = " or ".join(_CONTAINERFILES) + " in the context" if named is None else "a file in the context"
        mistakes.add(f"{path}.containerfile", value, allowed, "write its path from the context's folder")
    elif not (context / found[0]).resolve().is_relative_to(context.resolve()):
        mend = "move it into the context, or name a context that has it"
        mistakes.add(f"{path}.containerfile", shown(named), "a file in the context", mend)
    elif (context / ".containerignore").is_file():
        mend = "rename it to .dockerignore, which docker, podman and buildah all read"
        mistakes.add(f"{path}.context", f"{shown(build.context or '.')}, with a .containerignore", "one without", mend)
    return found[0] if found else named or ""


def _code(config: CodeShape | None, path: str, mistakes: Mistakes) -> Code | None:
    if config is None:
        return None
    repository, commit = config.repository or "", config.commit or ""
    where, address = f"{path}.repository", "write https://host/owner/name"
    if not repository:
        allowed = "the address of a git repository"
        mistakes.add(where, shown(config.repository), allowed, "add repository: https://...")
    elif looks_like_credential(repository) or (
        re.search(r"://[^/\s]*@", repository) and not repository.startswith("ssh://")
    ):
        mistakes.add(where, "an address with a login (not shown)", "an address without a login", address)
    elif not re.fullmatch(r"(?:https://|ssh://|git@)\S+", repository):
        mistakes.add(where, shown(repository), "https://, ssh:// or git@ address", address)
    where = f"{path}.commit"
    if not commit:
        mistakes.add(where, shown(config.commit), "40 hex digits", "add the commit that `git rev-parse HEAD` prints")
    elif not re.fullmatch(r"[0-9a-f]{40}", commit):
        short = re.fullmatch(r"[0-9a-fA-F]{4,40}", commit)
        mend = "write the whole commit in lower case" if short else "a branch or tag moves: write the commit"
        allowed = "40 hex digits in lower case"
        mistakes.add(where, shown(commit), allowed, f"{mend}, as `git rev-parse HEAD` prints it")
    return Code(repository, commit)
