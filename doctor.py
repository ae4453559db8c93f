"""`gpubench doctor`: what is installed here, which engine runs a stack and why, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine import choice, pulumi_cli
from engine.base import InputError
from engine.masters import EMBEDDED

if TYPE_CHECKING:
    from settings import Settings

Finding = tuple[bool | None, str, str]
"""True good, False broken, None good to know; the subject; what was found and what to do."""

_LIBRARIES = ("pulumi", "pydantic", "torch", "torchvision", "mlcommons-loadgen")


def run(project: Path, stack: str, asked: str) -> int:
    """Print the findings, a line each; 1 if something keeps `gpubench up` on this stack from working."""
    broken = False
    for good, subject, finding in _findings(project, stack, asked):
        broken = broken or good is False
        mark = {True: "ok", False: "!!", None: "--"}[good]
        print(f"{mark}  {subject:<16} {finding}")
    return 1 if broken else 0


def _findings(project: Path, stack: str, asked: str) -> Iterator[Finding]:
    yield True, "python", f"{platform.python_version()} ({sys.executable}) on {platform.system()} {platform.machine()}"
    yield from _libraries()
    yield _pulumi()
    chosen, engine = _engine(stack, asked)
    yield engine
    settings, finding = _settings(project, stack, chosen.engine if chosen else None)
    yield finding
    if settings is not None and chosen is not None:
        yield from _clouds(stack, settings, chosen)
    yield _passphrase()
    yield _containers()
    yield _gpu()
    yield from _disk(project, stack)


def _libraries() -> Iterator[Finding]:
    for name in _LIBRARIES:
        try:
            yield True, name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield False, name, "not installed; run: make setup"


def _pulumi() -> Finding:
    program = pulumi_cli.find()
    if program is None:
        return None, "pulumi CLI", f"not installed; stack local and drills work without it. To get it: {choice.INSTALL}"
    backend = pulumi_cli.backend_url()
    logged_in = f"logged in to {backend}" if backend else "not logged in; run: pulumi login (or pulumi login --local)"
    return True, "pulumi CLI", f"{pulumi_cli.version(program) or 'a version it does not say'} ({program}), {logged_in}"


def _engine(stack: str, asked: str) -> tuple[choice.Choice | None, Finding]:
    """The engine, None if there is none for this stack; and the finding."""
    try:
        chosen = choice.choose(stack, asked)
    except InputError as error:
        return None, (False, "engine", str(error))
    found = f"stack {stack} is run by the {chosen.engine} engine, because {chosen.reason}"
    return chosen, (True, "engine", found)


def _clouds(stack: str, settings: Settings, chosen: choice.Choice) -> Iterator[Finding]:
    """Whether the engine deploys to the ladder's clouds, and they let us: each is asked about its first rung."""
    from engine.hands import cloud_rungs, preflights
    from placement.verdicts import Said, ask

    rungs = cloud_rungs(settings)
    try:
        choice.require_deploys(chosen, stack, rungs)
    except InputError as error:
        yield False, "clouds", str(error)
    firsts = list({rung.surface: rung for rung in reversed(rungs)}.values())[::-1]
    verdicts = ask(firsts, preflights(settings, firsts, stack), image=settings.benchmark.image)
    for rung in firsts:
        verdict = verdicts[rung.id]
        permitted, mend = verdict.permitted, f"; {verdict.mend}" if verdict.permitted.said is Said.NO else ""
        # Where even what is sold isn't known, nobody has answered anything: most often, nobody is logged in.
        good = {Said.YES: True, Said.NO: False, Said.UNKNOWN: None if verdict.offered_live else False}[permitted.said]
        why = permitted.why or "what a run needs is permitted"
        yield good, str(rung.surface), f"{why}{mend}; `gpubench plan --stack {stack}` asks about all rungs"


def _settings(project: Path, stack: str, engine: str | None) -> tuple[Settings | None, Finding]:
    import components
    from engine.stack_config import load_stack_config, unreadable_message
    from placement.choice import current_rung
    from settings import Settings, SettingsError

    try:
        config = load_stack_config(project, stack)
        settings = Settings.from_config(config.values, config.secret_keys, source=f"Pulumi.{stack}.yaml")
        rung = current_rung(settings)
        components.require(str(rung.surface), rung.id)
    except (SettingsError, InputError, components.SurfaceNotBuilt) as error:
        return None, (False, "stack", str(error))
    # The Pulumi CLI opens secrets by itself, also those held by a cloud's key or by Pulumi Cloud.
    if config.unreadable and engine == EMBEDDED:
        return None, (False, "stack", unreadable_message(config))
    found = f"{stack}: {len(settings.ladder)} rungs, runs go to {rung.id}, results to {settings.results.url}"
    return settings, (True, "stack", found)


def _disk(project: Path, stack: str) -> Iterator[Finding]:
    """The disk of the results store, or of the folder that it will be made in; nothing if the store isn't known."""
    from benchmark_job import store
    from engine.stack_config import load_stack_config
    from settings import DEFAULT_RESULTS, SettingsError

    try:
        root = store.folder(load_stack_config(project, stack).values.get("gpubench:results", DEFAULT_RESULTS))
        there = next(path for path in (root, *root.parents) if path.exists())
        free = shutil.disk_usage(there).free / 1e9
    except (SettingsError, InputError):
        return  # told of the stack already
    except OSError as error:
        yield False, "disk", f"the results store can't be looked at: {error}"
        return
    yield free > 1, "disk", f"{free:.0f} GB free for results in {root}" + ("" if free > 1 else "; free some space")


def _passphrase() -> Finding:
    names = [name for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE") if name in os.environ]
    return None, "passphrase", f"{names[0]} is set" if names else "not set; only stacks with secrets need one"


def _containers() -> Finding:
    from components.local import containers

    tool = containers.available()
    if tool is None:
        return None, "containers", "no docker, podman or buildah that works; only benchmark.image needs one"
    return True, "containers", f"{tool.program} ({shutil.which(tool.program)})"


def _gpu() -> Finding:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except FileNotFoundError:
        return None, "GPU", "no NVIDIA driver here; runs on this machine take its CPU"
    except (OSError, subprocess.SubprocessError) as error:
        return None, "GPU", f"nvidia-smi fails, so the driver may be dead: {error}"
    return True, "GPU", "; ".join(said.splitlines())
