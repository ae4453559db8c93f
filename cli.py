"""gpubench's command line. `./gpubench --help` lists the commands.

Nothing heavy is imported before a command needs it: `--help` and `tiers` load neither Pulumi nor pydantic nor torch.

Exit codes: 0 done, 1 an operation failed, 2 bad input (nothing was done), 3 no rung of the ladder can be had now, 130
stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark_job.results import RunResults
    from engine.base import Engine
    from engine.choice import Choice
    from placement.ledger import Attempt, Ledger
    from placement.plan import Plan
    from settings import Settings

PROJECT_ROOT = Path(__file__).resolve().parent
DEFAULT_STACK = "local"
_WAIT_HELP = "when nothing can be had, wait and try again for so long, within the budget: 90m, 6h, 2d"


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
        ("components.interface", "SurfaceError", 1),
        ("engine.simulated.scenario", "ScenarioError", 2),
        ("placement.ledger", "LedgerError", 1),
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

    up = add("up", _up, "make it so that the stack's results exist, on the first rung that can be had, and show them")
    up.add_argument("--wait", type=_duration, default=timedelta(0), metavar="TIME", help=_WAIT_HELP)
    add_engine(up)
    add_engine(add("preview", _preview, "say what `up` would do; changes nothing and needs no credentials"))
    add_engine(add("image", _image, "build and push the image of benchmark.build, if nobody has; `up` does so, too"))
    plan = add("plan", _plan, "show the ladder: what is known of each rung, what it costs, and which is next")
    plan.add_argument("--json", action="store_true", help="print it as JSON instead")
    drill = add("drill", _drill, "rehearse a stack against a simulated cloud: no cloud is asked, nothing is measured")
    drill.set_defaults(stack=None)
    drill.add_argument(
        "--scenario", type=Path, metavar="FILE", help="what the simulated cloud is like: docs/scenarios.md"
    )
    drill.add_argument("--sold-out", action="append", default=[], metavar="TIER@REGION,…", help="e.g. h100@us-central1")
    drill.add_argument("--quota", action="append", default=[], metavar="TIER@REGION=N", help="e.g. l4@us-west1=0")
    drill.add_argument("--deny", action="append", default=[], metavar="ROLE", help="e.g. artifactregistry.reader")
    drill.add_argument("--wait", type=_duration, default=timedelta(0), metavar="TIME", help=_WAIT_HELP)
    drill.add_argument("--engine", choices=["embedded", "pulumi"], default="embedded", help="which engine rehearses")
    destroy = add("destroy", _destroy, "delete the stack's resources; results stay unless asked")
    destroy.add_argument("--results", action="store_true", help="delete this stack's results, too")
    add_engine(destroy)
    migrate = add("migrate", _migrate, "write the file of a stack that does the same in another region")
    migrate.add_argument("--to", required=True, metavar="REGION", help="e.g. us-west-2")
    migrate.add_argument("--name", metavar="STACK", help="the new stack's name (default: <stack>-<region>)")
    results = add("results", _results, "show the stack's results, and write report.md and report.html")
    results.add_argument("--json", action="store_true", help="print them as JSON instead")
    results.add_argument(
        "--out", type=Path, help="folder for the report (default: reports/<stack> in the results store)"
    )
    add("stop", _stop, "end the stack's runs under way, here or on a cloud, in order; what they measured is kept")
    add_engine(add("doctor", _doctor, "say what is installed, which engine is used and why"))
    tiers = add(
        "tiers", _tiers, "list accelerators: where and under which names they are sold, and for how much", stack=False
    )
    from catalog import listing

    listing.add_arguments(tiers)
    return parser


def _duration(text: str) -> timedelta:
    """`90m`, `6h`, `2d`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(m|min|h|d)", text.strip())
    if not found or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to wait: write 90m, 6h or 2d")
    unit = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days"}[found[2]]
    return timedelta(**{unit: float(found[1])})


# -- the commands --------------------------------------------------------------------------------------------------


def _up(options: argparse.Namespace) -> int:
    from benchmark_job import store
    from benchmark_job.order import job_digest
    from engine import rehearsal
    from engine.base import EngineError
    from engine.hands import EngineHands, image_in_place, store_in_place
    from placement import timeline
    from placement.telling import Teller, walked
    from placement.walk import End, Walk

    settings = _runnable_settings(options.stack)
    root = _store(options.stack)
    engine = _announced_engine(options, settings)
    clock, job = rehearsal.clock(), job_digest(settings.benchmark)
    ledger = store.ledger(settings.results.url, options.stack, _secrets(options.stack))
    with image_in_place(settings, engine, _say), _ending_runs(root, options.stack, engine) as interrupts:
        store_in_place(settings, engine, _say)
        hands = EngineHands(settings, options.stack, engine, ledger, clock, lambda: bool(interrupts))
        teller = Teller(settings, options.stack, job, clock, sys.stdout)
        begun = clock.now()
        ending = Walk(settings, options.stack, job, ledger, hands, clock, teller, options.wait).go()
        if ending.end in (End.FAILED, End.STOPPED):
            said = ending.failure and f"{ending.failure.text}\nMend: {ending.failure.mend}"
            raise hands.error or EngineError(said or "stopped")
    if ending.end is End.NOTHING_LEFT or len(ending.attempts) > 1:
        print()
        timeline.render(walked(ending, settings, options.stack, begun, clock.now(), ledger.attempts()), sys.stdout)
    if ending.end is End.NOTHING_LEFT:
        return 3
    runs = _runs_of(root, options.stack, hands.result.outputs)
    if ending.end is End.NOTHING_DUE:
        print("\nNothing was due: the results are there already.")
    _show(runs, root, options.stack)
    return 0


def _preview(options: argparse.Namespace) -> int:
    settings = _runnable_settings(options.stack)
    if len(settings.ladder) > 1:
        _show_plan(options.stack, settings)
    _announced_engine(options).preview()
    return 0


def _image(options: argparse.Namespace) -> int:
    from engine.base import InputError
    from engine.hands import image_in_place

    settings = _runnable_settings(options.stack)
    if settings.benchmark.build is None:
        raise InputError(
            f"Pulumi.{options.stack}.yaml: gpubench:benchmark.build is missing: it says what the image is built from "
            "(docs/settings.md#building-the-image)"
        )
    with image_in_place(settings, _announced_engine(options, settings), _say) as image:
        print(image)
    return 0


def _plan(options: argparse.Namespace) -> int:
    from placement import plan

    settings = _checked_settings(options.stack)
    if options.json:
        import json

        print(json.dumps(plan.to_json(_make_plan(options.stack, settings)), indent=2))
    else:
        _show_plan(options.stack, settings)
    return 0


def _drill(options: argparse.Namespace) -> int:
    from engine import drill
    from engine.simulated.scenario import Scenario

    scenario = Scenario.from_file(options.scenario) if options.scenario else None
    scenario = Scenario.from_flags(options.sold_out, options.quota, options.deny, scenario)
    if options.stack:
        _checked_settings(options.stack)  # a stack that can't be brought up isn't rehearsed either
    return drill.run(PROJECT_ROOT, options.stack, scenario, engine=options.engine, wait=options.wait)


def _migrate(options: argparse.Namespace) -> int:
    from engine.base import InputError
    from settings import read_stack_file
    from settings.migration import MigrationError, migrate

    old = PROJECT_ROOT / f"Pulumi.{options.stack}.yaml"
    name = options.name or f"{options.stack}-{options.to}"
    new = PROJECT_ROOT / f"Pulumi.{name}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name):
        raise InputError(f"--name {name}: allowed: letters, digits, _ - and . (a stack's name); write another")
    if new.exists():
        raise InputError(f"{new.name} is there already, and nothing is overwritten: remove it, or give another --name")
    read_stack_file(old)  # says what is wrong with the file itself
    try:
        made = migrate(old.read_text(encoding="utf-8"), options.to, old.name)
    except MigrationError as error:
        raise InputError(str(error)) from None
    new.write_text(made.text, encoding="utf-8")
    print(f"Wrote {new.name}: {old.name} in {options.to}. Results go to the same store, and can be compared.")
    for note in made.notes:
        print(f"  - {note}")
    provider = f" --secrets-provider={made.provider}" if made.provider else ""
    print("\nThen:")
    for step in (
        f"pulumi stack init {name}{provider}",
        *(f"pulumi config cp --stack {options.stack} --dest {name} {key}" for key in made.secrets),
        f"./gpubench plan --stack {name}",
        f"./gpubench up --stack {name}",
        f"pulumi stack select {name}",
        f"./gpubench destroy --stack {options.stack}      # once nothing of it is needed any more; its results stay",
    ):
        print(f"  {step}")
    return 0


def _destroy(options: argparse.Namespace) -> int:
    from benchmark_job import store

    root = _store(options.stack)
    engine = _announced_engine(options)
    _end_what_is_under_way(root, options.stack)
    engine.destroy()
    if options.results:
        url = _store_url(options.stack)
        print(f"\nDeleted: {store.delete_results(url, options.stack)} attempts' results in {_named(url)}")
    elif kept := store.attempts_of_stack(root, options.stack):
        where = _named(_store_url(options.stack))
        print(f"\nKept: the results of {len(kept)} attempts in {where}; `--results` deletes them, too")
    return 0


def _end_what_is_under_way(root: Path, stack: str) -> None:
    """End a cloud's attempt before the stack is destroyed: a run that is under way keeps its capacity from going.

    ECS, for one, deletes no capacity provider that a task uses. What can't be read or taken away is told, and no reason
    not to destroy. Raises EngineError where the run is an update's of this machine, which has to end it itself.
    """
    from benchmark_job import store
    from components.interface import SurfaceError
    from engine.base import EngineError
    from placement.ledger import LedgerError

    def warn(error: Exception, what: str) -> None:
        print(f"gpubench: {error}\n{what}; the stack is destroyed all the same", file=sys.stderr, flush=True)

    try:
        ledger, attempt = _under_way_in_a_cloud(stack)
    except (LedgerError, store.StoreError) as error:
        warn(error, "So it isn't known whether a run is under way")
        return
    if attempt is None:
        return
    if active := list(store.active_runs(root, stack)):
        raise EngineError(
            f"run {', '.join(active)} of stack {stack} is under way here; end it first: gpubench stop --stack {stack}"
        )
    try:
        _end_attempt(stack, ledger, attempt, "the stack was destroyed", warn)
    except (SurfaceError, LedgerError) as error:
        warn(error, f"So attempt {attempt.id} isn't ended in order")


def _under_way_in_a_cloud(stack: str) -> tuple[Ledger, Attempt | None]:
    """The stack's ledger, and its attempt on a cloud that has begun and not ended. Raises LedgerError, StoreError."""
    import components
    from benchmark_job import store
    from catalog import Surface

    ledger = store.ledger(_store_url(stack), stack, _secrets(stack))
    attempt = ledger.open_attempt()
    # This machine's runs have locks, by which they are found.
    if attempt is None or attempt.surface == Surface.LOCAL or attempt.surface not in components.built():
        return ledger, None
    return ledger, attempt


def _end_attempt(
    stack: str, ledger: Ledger, attempt: Attempt, why: str, warn: Callable[[Exception, str], None]
) -> None:
    """Take away what an attempt on a cloud has, and write its end down. Raises SurfaceError, LedgerError.

    With mistakes in the settings (`warn` tells them) its end is left to the next `gpubench up`.
    """
    from engine import rehearsal
    from engine.hands import stop_attempt
    from settings import SettingsError

    try:
        settings = _settings(stack)
    except SettingsError as error:
        settings = None
        warn(error, f"So the end of attempt {attempt.id} isn't written down before the next `gpubench up`")
    _say(f"attempt {attempt.id} on {attempt.rung} is under way; what it has is taken away")
    stop_attempt(attempt, settings, ledger, rehearsal.clock(), why)


def _results(options: argparse.Namespace) -> int:
    from benchmark_job import store

    engine, _ = _engine(options.stack, "auto")
    root = _store(options.stack)
    store.bring_home(_store_url(options.stack))
    runs = _runs_of(root, options.stack, engine.outputs())
    if options.json:
        import json

        print(json.dumps([_as_json(run) for run in runs], indent=2))
        return 0
    _show(runs, root, options.stack, out=options.out)
    return 0


def _stop(options: argparse.Namespace) -> int:
    from benchmark_job import store

    stack = options.stack
    if stopped := store.request_stop(_store(stack), stack):
        print(f"Stopping {', '.join(stopped)}")
        return 0
    ledger, attempt = _under_way_in_a_cloud(stack)
    if attempt is None:
        print(f"No run of stack {stack} is under way here.")
        return 0
    # Another clone's, a killed walk's, or that of an update here which has no machine yet: no run here has its lock.
    _end_attempt(
        stack, ledger, attempt, "stopped on request",
        lambda error, what: print(f"gpubench: {error}\n{what}", file=sys.stderr, flush=True),
    )  # fmt: skip
    print(f"Stopped attempt {attempt.id}. A `gpubench up` that still waits for it would try anew: end that, too.")
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


def _secrets(stack: str) -> list[str]:
    """The stack's secrets, for what must never be written."""
    from engine.stack_config import load_stack_config, secret_texts

    config = load_stack_config(PROJECT_ROOT, stack)
    return list(secret_texts(config.values, config.secret_keys))


def _runnable_settings(stack: str) -> Settings:
    """As `_checked_settings`, and this version can use at least one rung that may be chosen."""
    import components

    settings = _checked_settings(stack)
    rungs = [settings.pinned_rung] if settings.pinned_rung else settings.ladder
    if not any(str(rung.surface) in components.built() for rung in rungs):
        components.require(str(rungs[0].surface), rungs[0].id)
    return settings


def _checked_settings(stack: str) -> Settings:
    """As `_settings`, and the surfaces that this version has can use them."""
    import components
    from components.interface import SurfaceError
    from engine.base import InputError

    settings = _settings(stack)
    rungs = [settings.pinned_rung] if settings.pinned_rung else settings.ladder
    for surface, rung in {rung.surface: rung for rung in reversed(rungs)}.items():
        if str(surface) in components.built():
            try:
                components.load(str(surface), rung.id).check(settings)
            except SurfaceError as error:
                raise InputError(str(error)) from None
    return settings


def _engine(stack: str, asked: str) -> tuple[Engine, Choice]:
    from engine import choice

    chosen = choice.choose(stack, asked)
    return choice.open_engine(chosen, PROJECT_ROOT, stack), chosen


def _store_url(stack: str) -> str:
    """The stack's results store. A mistake elsewhere in its config keeps nobody from stopping or destroying it."""
    from engine.stack_config import load_stack_config

    return load_stack_config(PROJECT_ROOT, stack).values.get("gpubench:results", "results")


def _store(stack: str) -> Path:
    """The folder of the stack's results store on this machine."""
    from benchmark_job import store

    return store.folder(_store_url(stack))


def _say(line: str) -> None:
    print(f"gpubench: {line}", flush=True)


def _announced_engine(options: argparse.Namespace, deploys: Settings | None = None) -> Engine:
    """``deploys``: the settings of a stack that is brought up; the engine has to be able to."""
    from engine import choice, hands

    engine, chosen = _engine(options.stack, options.engine)
    if deploys is not None:
        choice.require_deploys(chosen, options.stack, hands.cloud_rungs(deploys))
    print(f"gpubench: {chosen.engine} engine, because {chosen.reason}", flush=True)
    return engine


@contextmanager
def _ending_runs(root: Path, stack: str, engine: Engine) -> Iterator[list[int]]:
    """While this lasts, Ctrl-C (and SIGTERM) end the stack's runs and its update in order; the signals that came."""
    from benchmark_job import store
    from engine import interrupts
    from engine.base import EngineError

    came: list[int] = []
    over = threading.Event()

    def stop_what_begins() -> None:
        # A run that was asked for a moment before has no lock yet by which it could be found.
        while not over.wait(0.3):
            store.request_stop(root, stack)

    def interrupted(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        stopped = store.request_stop(root, stack)
        cancelled = engine.cancel()
        if not stopped and len(came) == 1:
            threading.Thread(target=stop_what_begins, daemon=True).start()
        if len(came) > 1 or not (stopped or cancelled):
            raise KeyboardInterrupt
        what = ", ".join(stopped) or "when what was asked for has come"
        print(f"\ngpubench: stopping {what} (again to stop at once)", flush=True)

    try:
        with interrupts.handling(interrupted):
            yield came
    except EngineError:
        if came:
            print("gpubench: stopped; run the same command again to go on", file=sys.stderr)
        raise
    finally:
        over.set()


def _make_plan(stack: str, settings: Settings) -> Plan:
    """The plan of a stack as it stands now: the clouds are asked what they can be asked."""
    from benchmark_job import store
    from benchmark_job.order import job_digest
    from engine import rehearsal
    from engine.hands import preflights
    from placement import plan
    from placement.choice import choose
    from placement.costs import hours_by_rung
    from placement.verdicts import ask

    now, job = rehearsal.clock().now(), job_digest(settings.benchmark)
    ledger, why = store.ledger_or_none(settings.results.url, stack)
    if why:
        print(f"gpubench: {why}; this plan assumes that nothing was tried yet\n", file=sys.stderr)
    attempts = ledger.attempts()
    verdicts = ask(settings.ladder, preflights(settings, settings.ladder, stack), image=settings.benchmark.image)
    due = _due(stack, settings, attempts, now)
    hours = hours_by_rung(settings, attempts, job=job, due=due)
    choice = choose(settings, job, verdicts, attempts, now, hours=hours)
    return plan.make(stack, settings, verdicts, choice, attempts, now, hours, job=job, due=due)


def _due(stack: str, settings: Settings, attempts: Sequence[Attempt], now: datetime) -> int | None:
    """How many runs have no results; None where that can't be told here (no surface, no image)."""
    import components
    from benchmark_job.due import due_runs
    from benchmark_job.store import StoreError
    from components.interface import SurfaceError

    try:
        return len(due_runs(settings, attempts, now, stack))
    except (components.SurfaceNotBuilt, SurfaceError, StoreError):
        return None


def _show_plan(stack: str, settings: Settings) -> None:
    from placement import plan

    plan.render(_make_plan(stack, settings), sys.stdout)
    print()


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
            where = _named(_store_url(stack))
            raise EngineError(f"stack {stack} has no results in {where} yet; get some: gpubench up --stack {stack}")
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


def _named(url: str) -> str:
    """A results store, for people."""
    return url if "://" in url else str(_shown(PROJECT_ROOT / url))


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
