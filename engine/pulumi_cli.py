"""The Pulumi CLI as an engine: what `gpubench up|preview|destroy` add to plain `pulumi up|preview|destroy`.

They clear what a dead process left (its lock on a file backend, its pending operations on gpubench's own runs, which
are idempotent), name a region to AWS's provider where nobody does, and let Ctrl-C end the runs in order instead of
waiting for them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any
from urllib.parse import unquote, urlparse

from engine import interrupts, masters
from engine.base import PROJECT, Changes, EngineError, InputError, Result

OWN_TYPE = "pulumi-python:dynamic/gpubench:"
_QUICK_S = 120  # for commands that only read or edit the state


def find() -> str | None:
    """The path of the Pulumi CLI; None if it isn't installed."""
    return shutil.which("pulumi")


def version(program: str) -> str | None:
    """The CLI's version, e.g. `3.260.0`; None if it doesn't say."""
    try:
        said = subprocess.run(
            [program, "version"], capture_output=True, text=True, timeout=20, check=False, env=_environment()
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.strip().removeprefix("v") or None


def backend_url(environment: Mapping[str, str] = os.environ) -> str | None:
    """The backend that the CLI is logged in to, as the CLI itself decides it; None if it isn't logged in."""
    if url := environment.get("PULUMI_BACKEND_URL"):
        return url
    home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
    with suppress(OSError, ValueError, AttributeError):
        if current := json.loads((home / "credentials.json").read_text()).get("current"):
            return str(current)
    return "https://api.pulumi.com" if environment.get("PULUMI_ACCESS_TOKEN") else None


class PulumiCli:
    """The Pulumi CLI, for one stack of the project."""

    name = "pulumi"

    def __init__(self, program: str, project: Path, stack: str, output: IO[str] | None = None) -> None:
        """`program`: the CLI's path. `project`: the folder with Pulumi.yaml. `output`: instead of the terminal."""
        self._program = program
        self._output = output
        self._project = project
        self._stack = stack

    def preview(self) -> Result:
        if not self._exists():
            # A preview changes nothing, so it can't create the stack that it previews: look at a new one of a passing
            # backend.
            with tempfile.TemporaryDirectory(prefix="gpubench-preview-") as folder, self._backend(f"file://{folder}"):
                self._create_if_missing()
                return self._previewed()
        return self._previewed()

    def up(self) -> Result:
        if not self._create_if_missing():
            self._clear_leftovers()
        with _summary_of(self._stack) as log:
            # No preview before it: who wants one asks for it, and it would run the program once more.
            self._operate("up", "--yes", "--skip-preview", log=log)
            changes = _changes(log)
        return Result(self._outputs(), changes)

    def destroy(self) -> Result:
        if not self._exists():
            return Result()
        self._clear_leftovers()
        with _summary_of(self._stack) as log:
            self._operate("destroy", "--yes", log=log)
            changes = _changes(log)
        masters.release(self._stack)
        return Result({}, changes)

    def outputs(self) -> Mapping[str, object]:
        return self._outputs() if self._exists() else {}

    def _outputs(self) -> Mapping[str, object]:
        outputs: Mapping[str, object] = json.loads(self._ask("stack", "output", "--json", "--stack", self._stack))
        return outputs

    def cancel(self) -> bool:
        """The CLI itself gets the signal, while it runs."""
        return False

    def is_torn(self) -> bool:
        if not self._exists():
            return False
        pending = self._export()["deployment"].get("pending_operations") or []
        return any(not one["resource"]["type"].startswith(OWN_TYPE) for one in pending)

    # -- stacks ---------------------------------------------------------------------------------------------------

    def _exists(self) -> bool:
        stacks = json.loads(self._ask("stack", "ls", "--json"))
        return any(one["name"].rpartition("/")[2] == self._stack for one in stacks)

    def _create_if_missing(self) -> bool:
        """Whether the stack was new, and had to be created."""
        if self._exists():
            return False
        self._ask("stack", "init", self._stack, "--no-select")
        return True

    def _previewed(self) -> Result:
        with _summary_of(self._stack) as log:
            self._operate("preview", log=log)
            return Result({}, _changes(log))

    @contextmanager
    def _backend(self, url: str) -> Iterator[None]:
        """Another backend for a while, with a passphrase if the environment has none."""
        environment = {"PULUMI_BACKEND_URL": url}
        if not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & os.environ.keys():
            environment["PULUMI_CONFIG_PASSPHRASE"] = ""
        before = {name: os.environ.get(name) for name in environment}
        stack_file = self._project / f"Pulumi.{self._stack}.yaml"
        text = stack_file.read_bytes()
        os.environ.update(environment)
        try:
            yield
        finally:
            # `stack init` writes a salt into the stack's file, and a preview changes nothing.
            stack_file.write_bytes(text)
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    # -- what a dead process left -----------------------------------------------------------------------------------

    def _clear_leftovers(self) -> None:
        if self._dead_locks():
            print(f"stack {self._stack} is locked by a process that is dead; its lock is removed")
            self._ask("cancel", "--yes", "--stack", self._stack)
        state = self._export()
        pending = state["deployment"].get("pending_operations") or []
        ours = [one for one in pending if one["resource"]["type"].startswith(OWN_TYPE)]
        if ours:
            # Creating a run again adopts what it left, so nothing of it can be lost by forgetting the operation.
            for operation in ours:
                name = operation["resource"]["urn"].rpartition("::")[2]
                print(
                    f"{name}: an earlier update ended while {operation['type']} it; it is done again where it's needed"
                )
            state["deployment"]["pending_operations"] = [one for one in pending if one not in ours]
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(state, file)
                file.flush()
                self._ask("stack", "import", "--file", file.name, "--stack", self._stack)

    def _dead_locks(self) -> bool:
        """Whether the stack is locked, and only by processes of this machine that no longer live (file backends)."""
        url = backend_url() or ""
        if not url.startswith("file://"):
            return False
        root = Path(unquote(urlparse(url.replace("file://~", f"file://{Path.home()}")).path))
        locks = [
            *root.glob(f".pulumi/locks/*/{PROJECT}/{self._stack}/*.json"),
            *root.glob(f".pulumi/locks/*/{self._stack}/*.json"),
        ]
        return bool(locks) and all(_is_dead(lock) for lock in locks)

    def _export(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._ask("stack", "export", "--stack", self._stack))
        return state

    # -- running it -----------------------------------------------------------------------------------------------

    def _ask(self, *arguments: str) -> str:
        """The output of a quick command. Raises EngineError with what the CLI said."""
        try:
            done = subprocess.run(
                [self._program, *arguments, "--non-interactive"],
                cwd=self._project,
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=_QUICK_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"pulumi {' '.join(arguments)}: no answer in {_QUICK_S} s") from None
        if done.returncode != 0:
            raise _refusal(arguments, done.stderr or done.stdout)
        return done.stdout

    def _operate(self, *arguments: str, log: Path) -> None:
        """Run an operation whose output the user sees, with its events into `log`. Raises EngineError if it fails."""
        own = ["--event-log", str(log), "--stack", self._stack, "--non-interactive"]
        command = [self._program, *arguments, *own]
        with _passing_on_interrupts() as started:
            # A process group of its own: a Ctrl-C in the terminal comes to us alone, and we pass on one, after the
            # stop file.
            child = subprocess.Popen(
                command,
                cwd=self._project,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                process_group=0,
            )
            started(child)
            code = child.wait()
        if code != 0:
            failed = f"pulumi {arguments[0]} --stack {self._stack} failed; what was done before is kept in its state"
            raise EngineError("\n".join([failed, *_errors(log)]))

    def _environment(self) -> dict[str, str]:
        found = _environment()
        if not found.get("AWS_REGION") and not found.get("AWS_DEFAULT_REGION"):
            # Here: who asks for the CLI's version alone needs no pydantic.
            from engine.stack_config import aws_region

            if region := aws_region(self._project, self._stack):
                found["AWS_REGION"] = region
        return found


@contextmanager
def _passing_on_interrupts() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """While this lasts, what interrupts us interrupts the CLI too: our own handler first, then the CLI's.

    Yields what has to be told the CLI's process: what came before it was there is passed on then.
    """
    before: dict[int, Any] = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    children: list[subprocess.Popen[bytes]] = []
    owed: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        handler = before[number]
        if callable(handler) and handler is not signal.default_int_handler:
            with suppress(KeyboardInterrupt):
                handler(number, frame)
        owed.append(number)
        pay()

    def pay() -> None:
        while children and owed:
            with suppress(IndexError, ProcessLookupError):  # IndexError: one that came just now has paid for all
                owed.pop()
                children[0].send_signal(signal.SIGINT)

    def started(child: subprocess.Popen[bytes]) -> None:
        children.append(child)
        pay()

    with interrupts.handling(pass_on):
        yield started


def _environment() -> dict[str, str]:
    # The debug commands are what `--event-log` belongs to; the SDK's automation API turns them on for the same purpose.
    return {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_DEBUG_COMMANDS": "true"}


def _refusal(arguments: Sequence[str], said: str) -> EngineError:
    text = re.sub(r"^error: ", "", said.strip())
    if "passphrase" in text:
        return InputError(
            f"{text}\nSet PULUMI_CONFIG_PASSPHRASE (or PULUMI_CONFIG_PASSPHRASE_FILE), or use --engine embedded"
        )
    return EngineError(f"pulumi {' '.join(arguments)}: {text}")


def _is_dead(lock: Path) -> bool:
    try:
        content = json.loads(lock.read_text())
        if content["hostname"] != socket.gethostname():
            return False
        return not _runs_pulumi(int(content["pid"]))
    except (OSError, ValueError, KeyError):
        return False


def _runs_pulumi(pid: int) -> bool:
    """Whether this process lives and is a Pulumi CLI. A zombie doesn't live, and a number may have been given anew."""
    with suppress(OSError):
        name, _, state = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        return name == "pulumi" and state.split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _summary_of(stack: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"gpubench-{stack}-") as folder:
        yield Path(folder) / "events.json"


def _events(event_log: Path) -> Iterator[dict[str, Any]]:
    """An operation's events (sdk/go/common/apitype/events.go, EngineEvent)."""
    with suppress(OSError):
        for line in event_log.read_text().splitlines():
            with suppress(ValueError):
                yield json.loads(line)


def _errors(event_log: Path) -> Iterator[str]:
    """The errors that an operation reported, without colours and each once (DiagnosticEvent)."""
    said: set[str] = set()
    for event in _events(event_log):
        diagnostic = event.get("diagnosticEvent") or {}
        text = re.sub(r"<\{%.*?%\}>", "", str(diagnostic.get("message", ""))).strip()
        if diagnostic.get("severity") == "error" and text and text not in said:
            said.add(text)
            yield text


def _changes(event_log: Path) -> Changes:
    """What the operation's summary event counts (SummaryEvent)."""
    counts: dict[str, int] = {}
    for event in _events(event_log):
        counts = (event.get("summaryEvent") or {}).get("resourceChanges") or counts
    return Changes(*(counts.get(op, 0) for op in ("create", "update", "replace", "delete", "same")))
