"""The embedded engine itself: preview, update and destroy of one stack."""

from __future__ import annotations

import asyncio
import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from types import MappingProxyType

import pulumi
import pulumi.runtime

from engine.base import PROJECT, EngineError, InputError, Result
from engine.embedded import properties
from engine.embedded.display import Display
from engine.embedded.monitor import STACK_TYPE, EngineLog, Monitor
from engine.embedded.providers import DYNAMIC_PACKAGE, DynamicProvider, Provider
from engine.embedded.state import Snapshot, locked
from engine.masters import EMBEDDED, ENGINE_VARIABLE
from engine.passphrase import Passphrase, passphrase_from
from engine.stack_config import StackConfig, load_stack_config, unreadable_message

PARALLEL = 16  # provider operations at once, as in the Pulumi CLI


class EmbeddedEngine:
    """Runs one stack of the project in this process."""

    name = "embedded"

    def __init__(
        self, project: Path, stack: str, state: Path, providers: Mapping[str, Provider] = MappingProxyType({})
    ) -> None:
        """`project` holds Pulumi.yaml; `state` is the folder that stacks' states live in.

        `providers`: by package, beside the dynamic one; a rehearsal brings simulated ones. Without them this engine
        deploys to no cloud.
        """
        self._providers = providers
        self._project = project
        self._stack = stack
        self._state = state
        self._under_way: Monitor | None = None

    def preview(self) -> Result:
        return self._deploy(preview=True)

    def up(self) -> Result:
        with self._locked():
            return self._deploy(preview=False)

    def destroy(self) -> Result:
        with self._locked():
            snapshot = self._snapshot()
            self._clear_pending(snapshot)
            display = Display(self._stack, "Destroying")
            config = load_stack_config(self._project, self._stack)
            monitor = self._monitor(snapshot, config, display, preview=False)
            try:
                with self._cancellable(monitor):
                    monitor.delete_all(snapshot.resources[::-1])
            except EngineError as error:
                raise EngineError(
                    f"{error}\nWhat is left is kept in {self.state_file}; run this again to go on."
                ) from error
            display.summary({})
            self.state_file.unlink(missing_ok=True)
            return Result({}, display.changes)

    def outputs(self) -> Mapping[str, object]:
        stack = next((one for one in self._snapshot().resources if one.type == STACK_TYPE), None)
        return {} if stack is None else properties.masked(stack.outputs)

    def cancel(self) -> bool:
        if self._under_way is None:
            return False
        self._under_way.cancel()
        return True

    def is_torn(self) -> bool:
        return any(not resource.type.startswith(f"{DYNAMIC_PACKAGE}:") for _, resource in self._snapshot().pending)

    @property
    def state_file(self) -> Path:
        return self._state / f"{self._stack}.json"

    def _deploy(self, *, preview: bool) -> Result:
        snapshot = self._snapshot()
        if not preview:
            self._clear_pending(snapshot)
        config = load_stack_config(self._project, self._stack)
        if config.unreadable and not preview:
            raise InputError(unreadable_message(config))
        display = Display(self._stack, "Previewing update" if preview else "Updating", preview=preview)
        if config.unreadable:
            display.message("warning", unreadable_message(config))
        monitor = self._monitor(snapshot, config, display, preview=preview)
        with self._cancellable(monitor):
            failure = self._run_program(monitor, EngineLog(display), config, preview=preview)
        if failure is not None:
            kept = (
                f"\nWhat was done before is kept in {self.state_file}; run this again to go on." if not preview else ""
            )
            raise EngineError(f"{failure}{kept}")
        display.summary(monitor.outputs)
        return Result(properties.masked(monitor.outputs), display.changes)

    def _run_program(self, monitor: Monitor, log: EngineLog, config: StackConfig, *, preview: bool) -> str | None:
        """Run `__main__.py` as the CLI's language host does; the failure's text, or None."""

        def main() -> None:
            runpy.run_path(str(self._project / "__main__.py"), run_name="__main__")

        async def program() -> None:
            pulumi.runtime.set_all_config(dict(config.values), sorted(config.secret_keys))
            pulumi.runtime.configure(
                pulumi.runtime.Settings(
                    project=PROJECT,
                    stack=self._stack,
                    # The SDK takes an object in place of an address: the mock-monitor interface.
                    monitor=monitor,
                    engine=log,
                    parallel=PARALLEL,
                    dry_run=preview,
                    organization="organization",
                    root_directory=str(self._project),
                )
            )
            await pulumi.runtime.run_in_stack(main)

        with _working_directory(self._project), ThreadPoolExecutor(PARALLEL) as executor:
            loop = asyncio.new_event_loop()
            # A failing program leaves futures that nobody awaits. asyncio would complain of each, whenever it is
            # collected, and bury the failure.
            loop.set_exception_handler(lambda _loop, _context: None)
            loop.set_default_executor(executor)
            try:
                copy_context().run(loop.run_until_complete, program())
            except KeyboardInterrupt:
                # The second Ctrl-C. Runs in flight end by themselves once this process is gone; the state says what
                # was under way.
                os._exit(130)
            except (EngineError, pulumi.RunError) as error:
                return str(error)
            except Exception as error:
                shown = _program_traceback(error, self._project)
                return f"the program failed with an exception it doesn't handle:\n{shown}"
            finally:
                # Operations in flight end first: their outcome belongs into the state.
                executor.shutdown(wait=True)
                loop.close()
        return None

    def _monitor(self, snapshot: Snapshot, config: StackConfig, display: Display, *, preview: bool) -> Monitor:
        wire = {
            key: properties.secret(value) if key in config.secret_keys else value
            for key, value in config.values.items()
        }
        os.environ[ENGINE_VARIABLE] = EMBEDDED  # for the program, and for the providers, which live in this process
        providers = {**self._providers, DYNAMIC_PACKAGE: DynamicProvider(config.values)}
        return Monitor(self._stack, snapshot, providers, wire, display, preview=preview)

    @contextmanager
    def _cancellable(self, monitor: Monitor) -> Iterator[None]:
        self._under_way = monitor
        try:
            yield
        finally:
            self._under_way = None

    def _clear_pending(self, snapshot: Snapshot) -> None:
        """Forget what a killed process was in the middle of: our operations are idempotent, and are done again."""
        for kind, resource in snapshot.pending:
            print(f"    {resource.urn}: an earlier update ended while {kind} it; it is done again where it's needed")
        if snapshot.pending:
            snapshot.pending.clear()
            snapshot.save()

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.state_file, self._passphrase)

    def _passphrase(self, salt: str | None) -> Passphrase | None:
        passphrase = passphrase_from()
        if passphrase is None:
            return None
        if salt is None:
            salt = load_stack_config(self._project, self._stack).encryption_salt
        return Passphrase(passphrase, salt) if salt else Passphrase.new(passphrase)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self._state / f"{self._stack}.lock", self._stack):
            yield


@contextmanager
def _working_directory(folder: Path) -> Iterator[None]:
    """The program's folder as the current one and first on the import path, as the language host has it."""
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


def _program_traceback(error: BaseException, project: Path) -> str:
    """The traceback from the program's first frame on; the engine's and the SDK's frames say nothing to a user."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((index for index, frame in enumerate(frames) if frame.filename == str(project / "__main__.py")), 0)
    lines = traceback.format_list(frames[first:]) + traceback.format_exception_only(error)
    return "".join(lines)
