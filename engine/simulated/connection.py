"""The way to the simulated cloud from another process of the same drill: the one that carries out dynamic resources.

One request after another over a Unix socket in a folder that only this user can enter, with a key in the environment.
What is sent is pickled: both ends are gpubench itself, and nobody else has the key.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, cast

from engine.simulated.cloud import Cloud

VARIABLE = "GPUBENCH_DRILL"
"""``<socket>|<key in hexadecimal>`` while a drill is on."""

_METHODS = frozenset(
    name for name in vars(Cloud) if not name.startswith("_") and callable(getattr(Cloud, name))
) | frozenset({"now"})
_served: dict[str, Cloud] = {}
_connected: dict[tuple[int, str], _Proxy] = {}


@contextlib.contextmanager
def serve(cloud: Cloud) -> Iterator[str]:
    """Let processes started from here reach a cloud; yields what the variable is set to."""
    with tempfile.TemporaryDirectory(prefix="gpubench-drill-") as folder:
        path, key = str(Path(folder) / "cloud"), secrets.token_bytes(32)
        value = f"{path}|{key.hex()}"
        with Listener(path, family="AF_UNIX", authkey=key) as listener:
            over = threading.Event()
            threading.Thread(target=_accept, args=(listener, cloud, over), daemon=True).start()
            before = os.environ.get(VARIABLE)
            os.environ[VARIABLE], _served[value] = value, cloud
            try:
                yield value
            finally:
                over.set()
                _served.pop(value, None)
                if before is None:
                    os.environ.pop(VARIABLE, None)
                else:
                    os.environ[VARIABLE] = before
                # The listener waits in accept, which closing doesn't wake: a last caller does. It says nothing and
                # waits for nothing, as nobody may be there any more who answers.
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
                    last.connect(path)


def connect() -> Cloud:
    """The cloud of the drill that this process belongs to.

    Raises RuntimeError outside of a drill, OSError if the drill is over.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        raise RuntimeError(f"no drill is on: {VARIABLE} isn't set")
    if value in _served:
        return _served[value]
    key = (os.getpid(), value)  # a connection isn't shared with a process that was forked
    if key not in _connected:
        _connected[key] = _Proxy(value)
    return cast(Cloud, _connected[key])


class _Proxy:
    """A cloud in another process: its methods, with their answers and their exceptions."""

    def __init__(self, value: str) -> None:
        path, _, key = value.rpartition("|")
        self._connection = Client(path, family="AF_UNIX", authkey=bytes.fromhex(key))
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(name)
        return partial(self._call, name)

    def _call(self, name: str, *args: object, **named: object) -> Any:
        with self._lock:
            self._connection.send((name, args, named))
            well, result = self._connection.recv()
        if well:
            return result
        raise result

    def now(self) -> datetime:
        """The clock's time: a proxy is a Clock, too."""
        return cast(datetime, self._call("now"))


def _accept(listener: Listener, cloud: Cloud, over: threading.Event) -> None:
    while not over.is_set():
        try:
            connection = listener.accept()
        except (OSError, EOFError, AuthenticationError):
            continue  # a caller that went away, or that hasn't the key
        threading.Thread(target=_answer, args=(connection, cloud), daemon=True).start()


def _answer(connection: Connection, cloud: Cloud) -> None:
    with connection, contextlib.suppress(EOFError, OSError):
        while True:
            name, args, named = connection.recv()
            try:
                if name not in _METHODS:
                    raise AttributeError(f"a simulated cloud has no {name}")
                reply = (True, getattr(cloud, name)(*args, **named))
            except Exception as error:  # whatever it is, it belongs to who asked
                reply = (False, error)
            connection.send(reply)
