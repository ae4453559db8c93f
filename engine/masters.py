"""One stack never has two masters: the engine that deployed a stack, and how the other takes it over.

The embedded engine's state is a file per stack under `.gpubench/state/`; beside it a `<stack>.master` file says that
the Pulumi CLI has deployed the stack. Both engines look here before they touch anything.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from engine.base import InputError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ENGINE_VARIABLE = "GPUBENCH_ENGINE"
EMBEDDED, PULUMI = "embedded", "pulumi"


def state_folder() -> Path:
    """Where the embedded engine's states and the master files are (GPUBENCH_STATE, else `.gpubench/state`)."""
    return Path(os.environ.get("GPUBENCH_STATE") or PROJECT_ROOT / ".gpubench" / "state")


def running_engine() -> str:
    """The engine that runs this process's program or provider."""
    return EMBEDDED if os.environ.get(ENGINE_VARIABLE) == EMBEDDED else PULUMI


def claim() -> None:
    """Called by the program: refuse a stack that the other engine has deployed, else (in an update) become its master.

    Raises pulumi.RunError with the commands that move the stack.
    """
    import pulumi

    stack = pulumi.get_stack()
    try:
        check(stack, running_engine())
    except InputError as error:
        raise pulumi.RunError(str(error)) from error
    if running_engine() == PULUMI and not pulumi.runtime.is_dry_run():
        path = _master_file(stack)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{PULUMI}\n")


def check(stack: str, engine: str) -> None:
    """Raises InputError if the other engine is the stack's master."""
    state, marker = _state_file(stack), _master_file(stack)
    if engine == EMBEDDED and marker.exists():
        raise InputError(
            f"stack {stack} was deployed by the Pulumi CLI, and a stack has one master. "
            "To move it to the embedded engine:\n"
            f"  mkdir -p {_shown(state.parent)} && pulumi stack export --stack {stack} --file {_shown(state)}\n"
            f"  pulumi stack rm --force --yes --preserve-config {stack} && rm {_shown(marker)}\n"
            f"If it was destroyed since by `pulumi destroy`, only the last file has to go: rm {_shown(marker)}"
        )
    if engine == PULUMI and deployed_by_embedded(stack):
        raise InputError(
            f"stack {stack} was deployed by the embedded engine, and a stack has one master. "
            "To move it to the Pulumi CLI:\n"
            f"  pulumi stack select --create {stack} && pulumi stack import --stack {stack} --file {_shown(state)}\n"
            f"  rm {_shown(state)}\n"
            f"To stay with the embedded engine: gpubench up --stack {stack} --engine embedded"
        )


def deployed_by_embedded(stack: str) -> bool:
    """Whether the embedded engine's state of this stack holds resources."""
    try:
        return bool(json.loads(_state_file(stack).read_text())["deployment"].get("resources"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True  # a state that can't be read is somebody's all the same


def deployed_by_pulumi(stack: str) -> bool:
    """Whether the Pulumi CLI has deployed this stack from this folder."""
    return _master_file(stack).exists()


def release(stack: str) -> None:
    """The stack is destroyed: it has no master any more."""
    _master_file(stack).unlink(missing_ok=True)


def _state_file(stack: str) -> Path:
    return state_folder() / f"{stack}.json"


def _master_file(stack: str) -> Path:
    return state_folder() / f"{stack}.master"


def _shown(path: Path) -> Path:
    return path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path
