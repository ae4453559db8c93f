"""Draws the pictures of a stack's newest complete results, as the README shows them.

    python -m benchmark_job.report docs/pictures --stack local

One chart of each kind that the results have, light and dark, under names that stay whatever was measured:
{throughput,latency,kernels}-{light,dark}.svg. Exit codes: 0 drawn, 1 there are no such results, 2 bad input.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark_job import store
from benchmark_job.order import PROJECT_ROOT
from benchmark_job.report import write_plots
from benchmark_job.results import RunResults
from engine.base import InputError
from engine.stack_config import load_stack_config
from settings import DEFAULT_RESULTS, SettingsError

KINDS = ("throughput", "latency", "kernels")
THEMES = ("light", "dark")


def newest_complete(root: Path, stack: str) -> RunResults | None:
    """The results of the stack's newest whole and complete attempt in a store; None if it has none."""
    for folder in sorted(store.attempts_of_stack(root, stack), key=lambda folder: folder.name, reverse=True):
        attempt = store.attempt(root, folder.parent.name, folder.name)
        if attempt.complete:
            return attempt.load()
    return None


def draw(run: RunResults, folder: Path) -> list[Path]:
    """Put the first chart of each kind into the folder, once a theme; pictures of an earlier run don't stay.

    Returns their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for theme in THEMES:
        with tempfile.TemporaryDirectory() as temporary:
            charts = write_plots([run], Path(temporary), theme=theme)
            for kind in KINDS:
                picture = folder / f"{kind}-{theme}.svg"
                picture.unlink(missing_ok=True)
                if chart := next((one for one in charts if one.name.startswith(f"{kind}-")), None):
                    picture.write_bytes(chart.read_bytes())
                    drawn.append(picture)
    return drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the pictures that are asked for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark_job.report", description="Draws the pictures of a stack's newest complete results."
    )
    parser.add_argument("folder", type=Path, help="where the pictures go, e.g. docs/pictures")
    parser.add_argument("--stack", "-s", default="local", help="the stack (default: local)")
    options = parser.parse_args(arguments)
    try:
        config = load_stack_config(PROJECT_ROOT, options.stack)
        url = config.values.get("gpubench:results", DEFAULT_RESULTS)
        root = store.folder(url)
    except (InputError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    store.bring_home(url)
    run = newest_complete(root, options.stack)
    pictures = [] if run is None else draw(run, options.folder)
    if run is None or not pictures:
        what = "no complete results" if run is None else f"no results that can be drawn ({run.folder})"
        print(f"stack {options.stack} has {what}; get some: gpubench up --stack {options.stack}", file=sys.stderr)
        return 1
    print(f"drawn from {run.folder}:")
    for picture in pictures:
        print(f"  {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
