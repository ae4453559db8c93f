"""What a run is: its identity, and the order by which a surface carries it out.

A run is named by what determines its numbers: the image's digest (or, without an image, the built-in workload's files
and their pinned libraries), the command, the scenarios and their options, the commit of `benchmark.code`, and the
repeat number. Where it runs is not part of the name: a rung is a stamp on the results.
"""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from placement.ladder import Rung
from settings import Benchmark, SecretRef, Settings

PROJECT_ROOT = Path(__file__).resolve().parent.parent

_STACK_FILES = ":!Pulumi.*.yaml"  # what they say is in a run's name; the CLI itself writes a salt into them

# What decides the built-in workload's numbers when it runs without an image: its code and its libraries' pins.
_WORKLOAD_FILES = ("workload/*.py", "results_folder.py", "requirements-workload.txt")


@dataclass(frozen=True)
class RunOrder:
    """One execution of the benchmark, ready to be carried out. Plain data: it travels as a resource's input.

    `argv`: arguments to this Python for the built-in workload, or the container's command (empty: the image's own).
    `env`: in clear. `secret_env`: names of environment variables and the config keys whose secrets they get; the
    values are read where the run starts, and never part of an order. `store`: as in the settings, relative to the
    project. `attempt`: the ledger's attempt that this is part of; `project`, `region`: where that is. `wait_s`: how
    long to look for capacity before it counts as lost. `ends_machine`: whether it is needed no more after this run.
    `handles`: what the attempt's capacity says of itself once it is there (`components.interface.CapacityComponent`).
    """

    run: str
    store: str
    rung: str
    rungs: tuple[str, ...]
    surface: str
    tier: str
    argv: tuple[str, ...]
    image: str | None
    timeout_s: float
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, Any] = field(default_factory=dict)
    attempt: str = ""
    project: str | None = None
    region: str | None = None
    wait_s: float = 0.0
    ends_machine: bool = True
    handles: Mapping[str, str] = field(default_factory=dict)

    def to_props(self) -> dict[str, Any]:
        """The order as a resource's input: JSON values, no nulls (the wire drops them)."""
        return {key: value for key, value in json.loads(json.dumps(asdict(self))).items() if value is not None}

    @classmethod
    def from_props(cls, props: Mapping[str, Any]) -> RunOrder:
        """The order of a resource's input; numbers may have become floats on the way."""
        known = {key: props[key] for key in cls.__dataclass_fields__ if key in props}
        known.setdefault("image", None)
        return cls(**{**known, "rungs": tuple(known["rungs"]), "argv": tuple(known["argv"])})


def run_orders(settings: Settings, rung: Rung, stack: str, image: str | None) -> tuple[RunOrder, ...]:
    """The runs that a stack asks for, one a repeat.

    `image`: the benchmark's image by digest (`name@sha256:…`), or None for the built-in workload in a process.
    Results from any rung of the ladder satisfy a run; with a pinned rung, only that rung's.
    """
    benchmark = settings.benchmark
    argv = _workload_arguments(benchmark, rung) if benchmark.is_built_in else benchmark.command
    identity = _identity(benchmark, image)
    accepted = (rung.id,) if settings.rung else tuple(one.id for one in settings.ladder)
    price = rung.usd_per_hour
    commit, dirty = git_state(PROJECT_ROOT)
    orders: list[RunOrder] = []
    for repeat in range(1, benchmark.repeats + 1):
        run = f"{identity}-{repeat}"
        stamps = {
            "run": run,
            "stack": stack,
            "rung": rung.id,
            "surface": str(rung.surface),
            "requested_tier": rung.tier,
            "region": rung.place.region,
            "purchase": None if rung.is_free else str(rung.purchase),
            "image": benchmark.image,
            "image_digest": image.partition("@")[2] if image else None,
            "git_commit": benchmark.code.commit if benchmark.code else commit,
            "git_dirty": None if benchmark.code else dirty,
            "code_digest": identity,
            "usd_per_hour": 0.0 if rung.is_free else price.usd_per_hour if price else None,
        }
        orders.append(
            RunOrder(
                run=run,
                store=settings.results.url,
                rung=rung.id,
                rungs=accepted,
                surface=str(rung.surface),
                tier=rung.tier,
                argv=argv,
                image=image,
                timeout_s=60 * benchmark.timeout_minutes,
                env={name: value for name, value in benchmark.env.items() if isinstance(value, str)},
                secret_env={
                    name: value.config_key for name, value in benchmark.env.items() if isinstance(value, SecretRef)
                },
                stamps={key: value for key, value in stamps.items() if value is not None},
                project=rung.place.project,
                region=rung.place.region,
                wait_s=60 * settings.placement.attempt_minutes,
            )
        )
    return tuple(orders)


def job_digest(benchmark: Benchmark) -> str:
    """What the ledger calls the runs of a stack: as in their names, but by the image as it is written.

    So it is known without asking a registry, and a tag that moves doesn't split the ledger.
    """
    return _identity(benchmark, None)


def _workload_arguments(benchmark: Benchmark, rung: Rung) -> tuple[str, ...]:
    """The built-in workload's arguments (`python -m workload …`); the results folder is given by its environment."""
    device = {"any": "auto", "cpu": "cpu"}.get(rung.tier, "cuda")
    arguments = ["--benchmarks", ",".join(benchmark.workload), "--profile", benchmark.profile, "--device", device]
    for flag, values in (
        ("--scenarios", benchmark.scenarios),
        ("--batch-sizes", benchmark.batch_sizes),
        ("--precisions", benchmark.precisions),
    ):
        if values:
            arguments += [flag, ",".join(str(value) for value in values)]
    arguments += ["--seed", str(benchmark.seed)]
    arguments += ["--channels-last"] if benchmark.channels_last else []
    arguments += ["--compile"] if benchmark.compile else []
    return tuple(arguments)


def _identity(benchmark: Benchmark, image: str | None) -> str:
    """12 hex digits of a sha256 over all that determines a run's numbers, but for where it runs."""
    what = {
        "image": (image.partition("@")[2] or image) if image else benchmark.image,
        "code": asdict(benchmark.code) if benchmark.code else None,
        "workload": _workload_digest() if benchmark.is_built_in and image is None else list(benchmark.workload),
        "benchmarks": list(benchmark.workload),
        "command": list(benchmark.command),
        "profile": benchmark.profile if benchmark.is_built_in else None,
        "scenarios": list(benchmark.scenarios),
        "batch_sizes": list(benchmark.batch_sizes),
        "precisions": list(benchmark.precisions),
        "channels_last": benchmark.channels_last,
        "compile": benchmark.compile,
        "seed": benchmark.seed,
        # A secret counts by its name: its value is no property of the benchmark, and rotating it makes nothing due.
        "env": {name: value if isinstance(value, str) else value.config_key for name, value in benchmark.env.items()},
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def _workload_digest() -> str:
    digest = hashlib.sha256()
    for pattern in _WORKLOAD_FILES:
        for path in sorted(PROJECT_ROOT.glob(pattern)):
            data = path.read_bytes()
            digest.update(f"{path.relative_to(PROJECT_ROOT).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


@functools.cache
def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit that a folder is at and whether its files differ from it; None, None where git can't tell."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(
            git("status", "--porcelain", "--untracked-files=no", "--", ".", _STACK_FILES)
        )
    except (OSError, subprocess.SubprocessError):
        return None, None
