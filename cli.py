"""gpubench's command line. `./gpubench --help` lists the commands.

Nothing heavy is imported before a command needs it: `--help` and `tiers` load neither Pulumi nor pydantic nor torch.

Exit codes: 0 done, 1 an operation failed, 2 bad input (nothing was done), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark_job.results import RunResults
    from engine.base import Result
    from settings import Settings

PROJECT_ROOT = Path(__file__).resolve().parent
DEFAULT_STACK = "local"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has enough of it (`gpubench tiers | head`).
        sys.stderr.close()
        return 0
    except Exception as error:
        code = _foreseen(error)
        if code is None:
            raise
        print(f"gpubench: {error}", file=sys.stderr)
        return code


def _foreseen(error: Exception) -> int | None:
    """The exit code of an error whose text is for people; None for one that nobody foresaw."""
    # Imported here: whichever of these was raised, its module is loaded already, and most commands raise none.
    from engine.base import EngineError, InputError

    known: list[tuple[str, str, int]] = [
        ("settings", "SettingsError", 2),
        ("components", "SurfaceNotBuilt", 2),
        ("benchmark_job.store", "BucketNotBuilt", 2),
        ("benchmark_job.store", "StoreError", 1),
        ("benchmark_job.results", "ResultsError", 1),
    ]
    if isinstance(error, InputError):
        return 2
    if isinstance(error, EngineError):
        return 1
    for module, name, code in known:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return code
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpubench",
        description="Gets a GPU benchmark run on whatever GPU capacity there is, and brings the results home.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        name: str, command: Callable[[argparse.Namespace], int], text: str, *, stack: bool = True
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        if stack:
            sub.add_argument("--stack", "-s", default=DEFAULT_STACK, help=f"the stack (default: {DEFAULT_STACK})")
        return sub

    def add_engine(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--engine",
            choices=["auto", "pulumi", "embedded"],
            default="auto",
            help="auto: the stack's master, else the Pulumi CLI if it can work, else the embedded engine",
        )

    add_engine(add("up", _up, "make it so that the stack's results exist, and show them"))
    add_engine(add("preview", _preview, "say what `up` would do; changes nothing and needs no credentials"))
    destroy = add("destroy", _destroy, "delete the stack's resources; results stay unless asked")
    destroy.add_argument("--results", action="store_true", help="delete this stack's results, too")
    add_engine(destroy)
    results = add("results", _results, "show the stack's results, and write report.md and report.html")
    results.add_argument("--json", action="store_true", help="print them as JSON instead")
    results.add_argument(
        "--out", type=Path, help="folder for the report (default: reports/<stack> in the results store)"
    )
    add("stop", _stop, "end the runs under way on this machine, in order; what they measured is kept")
    add_engine(add("doctor", _doctor, "say what is installed, which engine is used and why"))
    tiers = add(
        "tiers", _tiers, "list accelerators: where and under which names they are sold, and for how much", stack=False
    )
    from catalog import listing

    listing.add_arguments(tiers)
    return parser


# -- the commands --------------------------------------------------------------------------------------------------


def _up(options: argparse.Namespace) -> int:
    _runnable_settings(options.stack)
    root = _store(options.stack)
    result = _with_engine(options, lambda engine: engine.up(), stops_runs_in=root)
    runs = _runs_of(root, options.stack, result.outputs)
    if result.outputs.get("due") == 0:
        print("\nNothing was due: the results are there already.")
    _show(runs, root, options.stack)
    return 0


def _preview(options: argparse.Namespace) -> int:
    _runnable_settings(options.stack)
    _with_engine(options, lambda engine: engine.preview())
    return 0


def _destroy(options: argparse.Namespace) -> int:
    from benchmark_job import store

    root = _store(options.stack)
    _with_engine(options, lambda engine: engine.destroy())
    if options.results:
        print(f"\nDeleted: {store.delete_results(root, options.stack)} attempts' results in {_shown(root)}")
    elif kept := store.attempts_of_stack(root, options.stack):
        print(f"\nKept: the results of {len(kept)} attempts in {_shown(root)}; `--results` deletes them, too")
    return 0


def _results(options: argparse.Namespace) -> int:
    engine, _ = _engine(options.stack, "auto")
    root = _store(options.stack)
    runs = _runs_of(root, options.stack, engine.outputs())
    if options.json:
        import json

        print(json.dumps([_as_json(run) for run in runs], indent=2))
        return 0
    _show(runs, root, options.stack, out=options.out)
    return 0


def _stop(options: argparse.Namespace) -> int:
    from benchmark_job import store

    stopped = store.request_stop(_store(options.stack), options.stack)
    print(f"Stopping {', '.join(stopped)}" if stopped else f"No run of stack {options.stack} is under way here.")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    import doctor

    return doctor.run(PROJECT_ROOT, options.stack, options.engine)


def _tiers(options: argparse.Namespace) -> int:
    from catalog import listing

    return listing.run(options)


# -- what they share ------------------------------------------------------------------------------------------------


def _settings(stack: str) -> Settings:
    """The stack's settings; all of their mistakes are told at once."""
    from engine.stack_config import load_stack_config
    from settings import Settings

    config = load_stack_config(PROJECT_ROOT, stack)
    return Settings.from_config(config.values, config.secret_keys, source=f"Pulumi.{stack}.yaml")


def _runnable_settings(stack: str) -> Settings:
    """As `_settings`, and this version can use the rung and the results store that they choose."""
    import components
    from benchmark_job import store
    from placement.choice import current_rung

    settings = _settings(stack)
    rung = current_rung(settings)
    components.require(str(rung.surface), rung.id)
    store.folder(settings.results.url)
    return settings


def _engine(stack: str, asked: str):  # type: ignore[no-untyped-def]
    from engine import choice

    chosen = choice.choose(stack, asked)
    return choice.open_engine(chosen, PROJECT_ROOT, stack), chosen


def _store(stack: str) -> Path:
    """The stack's results store. A mistake elsewhere in its config keeps nobody from stopping or destroying it."""
    from benchmark_job import store
    from engine.stack_config import load_stack_config

    return store.folder(load_stack_config(PROJECT_ROOT, stack).values.get("gpubench:results", "results"))


def _with_engine(
    options: argparse.Namespace, operation: Callable[..., Result], *, stops_runs_in: Path | None = None
) -> Result:
    """Run an engine's operation; with a store given, Ctrl-C (and SIGTERM) end the stack's runs in order."""
    engine, chosen = _engine(options.stack, options.engine)
    print(f"gpubench: {chosen.engine} engine, because {chosen.reason}", flush=True)
    if stops_runs_in is None:
        return operation(engine)
    from benchmark_job import store

    interrupts = 0

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        stopped = store.request_stop(stops_runs_in, options.stack)
        if interrupts > 1 or not stopped:
            raise KeyboardInterrupt
        print(f"\ngpubench: stopping {', '.join(stopped)} (again to stop at once)", flush=True)

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return operation(engine)
    except Exception:
        if interrupts:
            print("gpubench: stopped; run the same command again to go on", file=sys.stderr)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _runs_of(root: Path, stack: str, outputs: object) -> list[RunResults]:
    """The results of the stack's runs, as its outputs name them. Raises EngineError if there are none."""
    from benchmark_job import store
    from benchmark_job.results import RunResults
    from engine.base import EngineError

    named = outputs.get("results") if isinstance(outputs, dict) else None
    folders = [PROJECT_ROOT / str(one) for one in named] if isinstance(named, list) else []
    if not folders:
        found = store.newest_attempt_of_stack(root, stack)
        if found is None:
            raise EngineError(
                f"stack {stack} has no results in {_shown(root)} yet; get some: gpubench up --stack {stack}"
            )
        folders = [found]
    return [RunResults.load(folder) for folder in folders]


def _show(runs: list[RunResults], root: Path, stack: str, *, out: Path | None = None) -> None:
    from benchmark_job.report import render_terminal, write_report

    print()
    render_terminal(runs, sys.stdout)
    folder = out or root / "reports" / stack
    written = write_report(runs, folder)
    print(f"\nReport: {_shown(next(path for path in written if path.suffix == '.html'))}")


def _as_json(run: RunResults) -> dict[str, object]:
    from benchmark_job.report import headline

    return {
        "folder": str(_shown(run.folder)),
        "problems": list(run.problems),
        "headline": headline(run),
        "manifest": None if run.manifest is None else run.manifest.model_dump(mode="json"),
        "results": None if run.document is None else run.document.model_dump(mode="json", by_alias=True),
    }


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
