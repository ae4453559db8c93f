"""A run as a Pulumi resource: it exists when the run's results do.

The names of this module, of `RunProvider` and of `Run` are stored in every stack's state: they are a format, and
change only with a shim that keeps the old ones importable.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    Config,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

import components
from benchmark_job import store
from benchmark_job.order import RunOrder
from components.interface import Control, Execution, SurfaceError, is_newer
from engine import masters
from placement.causes import Cause

if TYPE_CHECKING:
    from benchmark_job.results import Attempt as StoredAttempt

_REQUIRED = ("run", "store", "rung", "rungs", "surface", "tier", "argv", "timeout_s")
_LOCK_POLL_S = 0.5
_ENGINE_POLL_S = 0.5


class RunFailed(Exception):
    """A run ended without complete results. The text gives cause, mend and where what it left is kept."""

    for_people = True  # an engine may print the text alone: the traceback says nothing more


class RunProvider(ResourceProvider):
    """Carries out a run's order, unless its results are there already.

    The run id is the client token: whatever was interrupted before, creating again gets to exactly one complete run.
    """

    # Its pickle holds no data at all, so it needs no encryption, and stacks without secrets need no passphrase.
    serialize_as_secret_always = False

    _config: Config

    def configure(self, req: ConfigureRequest) -> None:
        self._config = req.config
        # The SDK answers a failure with the formatted traceback; without frames that's the message, on its own.
        sys.tracebacklimit = 0
        if masters.running_engine() == masters.PULUMI:
            threading.Thread(target=_end_with_engine, daemon=True).start()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        failures = [
            CheckFailure(key, "is missing: a run is declared by benchmark_job.BenchmarkJob")
            for key in _REQUIRED
            if key not in news
        ]
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # The run's name holds all that matters; where it runs is no property of the results. `found` is the attempt
        # that has them, as the program saw it: none means that the run is due (again), and then it is carried out in
        # place; another one than we know means that its results stand for the run now.
        replaces = ["run"] if olds.get("run") != news.get("run") else []
        return DiffResult(changes=bool(replaces) or news.get("found") != olds.get("attempt"), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        order = RunOrder.from_props(props)
        return CreateResult(order.run, {**props, **self._carry_out(order)})

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult({**news, **self._carry_out(RunOrder.from_props(news))})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        order = RunOrder.from_props(props)
        store.bring_home(order.store, order.run)
        found = store.complete_attempt(store.folder(order.store), order.run, order.rungs)
        return ReadResult("", {}) if found is None else ReadResult(id_, {**props, **store.outputs(found)})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Results outlive the stack: deleting a run forgets it, and removes nothing."""

    def _carry_out(self, order: RunOrder) -> dict[str, Any]:
        """The outputs of the run's complete attempt, which is made now if there is none."""
        asked_at = time.time()
        root = store.folder(order.store)
        say = _Speaker(order.run).say
        try:
            store.bring_home(order.store, order.run)
            if (found := store.complete_attempt(root, order.run, order.rungs)) is not None:
                return store.outputs(found)
            with _locked(store.run_folder(root, order.run), order.stamps.get("stack"), say) as lock:
                # Whoever held the lock may have finished the run meanwhile.
                if (found := store.complete_attempt(root, order.run, order.rungs)) is None:
                    found = self._attempt(order, root, lock, asked_at, say)
                return store.outputs(found)
        except OSError as error:
            raise RunFailed(
                f"run {order.run}: the results store {root} can't be written: {error}. Check its permissions and free "
                "space, or name another one: gpubench:results"
            ) from None

    def _attempt(
        self, order: RunOrder, root: Path, lock: int, asked_at: float, say: Callable[[str], None]
    ) -> StoredAttempt:
        surface = components.load(order.surface, order.rung)
        secret_values = {variable: self._secret(key) for variable, key in order.secret_env.items()}
        run_folder = store.run_folder(root, order.run)
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{secrets.token_hex(2)}"  # sorts by time
        if surface.UPLOADS:
            name = order.attempt  # as in the bucket, where another clone finds it
        folder = run_folder / name
        for left in run_folder.glob("[!.]*"):  # of an update that was killed before it had begun anything
            with contextlib.suppress(OSError):
                left.rmdir()
        folder.mkdir(exist_ok=surface.UPLOADS)
        os.utime(folder)  # one that a killed update left is gone on with: a stop that was asked of that one is over
        execution = Execution(
            folder=folder,
            log=run_folder / f"{name}.log",
            stop=store.stop_file(root, order.run),
            lock=lock,
            secrets=secret_values,
        )
        try:
            if is_newer(execution.stop, asked_at):
                raise RunFailed(f"run {order.run} was stopped before it began. Run `gpubench up` again to go on")
            say(f"attempt {name} on {order.rung}; log: {execution.log}")
            surface.execute(order, execution, Control(say, _engine_is_gone))
        except SurfaceError as error:
            # The cloud's own words first: they are what a table of attempts has room for.
            known = f"Cause: {error.cause} (not-begun): " if error.cause else ""
            raise RunFailed(f"{known}{error} (run {order.run} on {order.rung})") from None
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()  # empty: nothing was begun, and nothing is kept
        store.put_up(order.store, order.run, name, held=True)
        stored = store.attempt(root, order.run, name)
        if not stored.complete:
            raise RunFailed(_failure_text(order, stored, execution.log, repeatable=not surface.UPLOADS))
        say(f"complete: {folder}")
        return stored

    def _secret(self, key: str) -> str:
        value = self._config.get(key)
        if value is None:
            raise RunFailed(f"{key}: the config has no such secret. Set it: pulumi config set --secret {key}")
        return str(value)


class Run(Resource, module="gpubench", name="Run"):
    """The results of one run. Inputs: a RunOrder's fields and the attempt `found`; outputs: what its results say."""

    run: pulumi.Output[str]
    attempt: pulumi.Output[str]
    rung: pulumi.Output[str]
    obtained_rung: pulumi.Output[str]
    obtained_tier: pulumi.Output[str]
    verdict: pulumi.Output[str]
    headline: pulumi.Output[Mapping[str, Any]]
    results: pulumi.Output[str]
    cost_usd: pulumi.Output[float]
    duration_s: pulumi.Output[float]

    def __init__(
        self,
        name: str,
        order: RunOrder,
        *,
        found: str | None,
        handles: Mapping[str, pulumi.Input[str]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        computed = dict.fromkeys(store.OUTPUTS)  # declared, so that they exist (unknown) in a preview
        props = {**computed, **order.to_props(), "found": found or "", "handles": dict(handles or {})}
        super().__init__(RunProvider(), name, props, opts)


class _Speaker:
    """Prints a run's progress: the engine shows what a provider prints."""

    def __init__(self, run: str) -> None:
        self._run = run

    def say(self, text: str) -> None:
        # A reader that is gone must not end the run in its middle: the engine's death is noticed elsewhere.
        with contextlib.suppress(OSError):
            print(f"{self._run}: {text}", flush=True)


@contextlib.contextmanager
def _locked(folder: Path, stack: object, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the run's lock; wait for an attempt that is still ending. The kernel frees it with its last holder."""
    waiting = False
    while (descriptor := store.lock(folder)) is None:
        if not waiting:
            say("another attempt at this run is still under way; waiting for its end")
            waiting = True
        if _engine_is_gone():
            raise RunFailed("the engine is gone")
        time.sleep(_LOCK_POLL_S)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(stack or "").encode(), 0)  # whose run it is: `gpubench stop` ends its stack's only
        yield descriptor
    finally:
        os.close(descriptor)


def _engine_is_gone() -> bool:
    """Whether the engine that started this provider has died.

    The Pulumi CLI reads what a provider prints; once it is dead, that pipe has no reader (a provider's parent may be
    a shell that lives on: parents tell nothing). The embedded engine is this very process.
    """
    if masters.running_engine() == masters.EMBEDDED:
        return False
    try:
        poll = select.poll()
        poll.register(sys.__stdout__.fileno() if sys.__stdout__ else 1, 0)
        return any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def _end_with_engine() -> None:
    """End this provider when its engine has died: nobody else would. A run's supervisor notices, and seals."""
    while not _engine_is_gone():
        time.sleep(_ENGINE_POLL_S)
    os._exit(1)


def _failure_text(order: RunOrder, stored: StoredAttempt, log: Path, *, repeatable: bool) -> str:
    """``repeatable``: another try in place would be a new one, and not find what is sealed here."""
    manifest = stored.manifest
    if manifest is None or manifest.cause is None:
        why = (
            "; ".join(stored.problems) or f"its manifest says {manifest.status if manifest else 'nothing'} and no cause"
        )
        return f"run {order.run} on {order.rung} left no usable results: {why}\n  Kept: {stored.folder}\n  Log: {log}"
    cause = manifest.cause
    kind = str(cause.cause)
    # The machine that has sealed it ends itself: what passes is tried again on another one, by another attempt.
    if kind == Cause.TRANSIENT and not repeatable:
        kind = str(Cause.INTERRUPTED)
    return (
        f"run {order.run} on {order.rung} {manifest.status}. "
        f"Cause: {kind} ({cause.code}): {cause.message.strip()}\n"
        f"  Mend: {cause.mend}\n"
        f"  What it measured is kept: {stored.folder}\n  Log: {log}"
    )
