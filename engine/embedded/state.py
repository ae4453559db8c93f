"""The embedded engine's state: a stack's resources, in the format of `pulumi stack export` (version 3).

The same format on purpose: `pulumi stack import --file` takes it over, and `pulumi stack export` gives it back. It is
written whole after each operation (temporary file, fsync, rename), so a killed process leaves the last good one, with
the operation it was in the middle of under `pending_operations`.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from engine.base import EngineError, InputError
from engine.embedded import properties
from engine.embedded.properties import SECRET, SIGNATURE, Properties
from engine.passphrase import Passphrase

FORMAT_VERSION = 3

_ONLY_THE_CLI = ("pendingReplacement", "external", "taint", "initErrors", "viewOf", "replaceWith")


@dataclass
class Resource:
    """One resource in the state. Field names are the checkpoint's (sdk/go/common/apitype/core.go, ResourceV3)."""

    urn: str
    type: str
    custom: bool = False
    id: str = ""
    inputs: Properties = field(default_factory=dict)
    outputs: Properties = field(default_factory=dict)
    parent: str = ""
    provider: str = ""
    dependencies: list[str] = field(default_factory=list)
    propertyDependencies: dict[str, list[str]] = field(default_factory=dict)  # noqa: N815 - the checkpoint's name
    additionalSecretOutputs: list[str] = field(default_factory=list)  # noqa: N815
    protect: bool = False
    retainOnDelete: bool = False  # noqa: N815
    deletedWith: str = ""  # noqa: N815
    resourceHooks: dict[str, list[str]] = field(default_factory=dict)  # noqa: N815
    delete: bool = False  # replaced already, still to be deleted
    created: str = ""
    modified: str = ""

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]

    def to_json(self) -> Properties:
        return {key: value for key, value in vars(self).items() if value or key == "custom"}

    @classmethod
    def from_json(cls, raw: Properties) -> Resource:
        """Raises InputError for what only the CLI can finish; what it only notes (source positions) is dropped."""
        if unfinished := [key for key in _ONLY_THE_CLI if raw.get(key)]:
            raise InputError(
                f"{raw['urn']}: its state has {', '.join(unfinished)}, which only the Pulumi CLI can go on from. Run "
                "`pulumi up` (or `pulumi destroy`) there first, then move the stack"
            )
        known = cls.__dataclass_fields__
        return cls(**{key: value for key, value in raw.items() if key in known})


class Snapshot:
    """A stack's resources, in the order in which they were registered, and its pending operations."""

    def __init__(self, path: Path, passphrase: Callable[[str | None], Passphrase | None]) -> None:
        """`passphrase(salt)` gives the crypter for this salt (None: a new one), or None where no passphrase is set."""
        self.path = path
        self.resources: list[Resource] = []
        self.pending: list[tuple[str, Resource]] = []
        self.registered: list[str] = []
        """The names that the running program has registered, in that order."""
        self._passphrase = passphrase
        self._crypter: Passphrase | None = None
        self._ciphertexts: dict[str, str] = {}
        self._texts: dict[int, tuple[tuple[object, ...], str]] = {}
        self._stale = False  # whether what is on the disk says that an operation is under way which has ended
        self._lock = threading.RLock()  # several operations end at once
        self._load()

    def find(self, urn: str) -> Resource | None:
        """The live resource of this name; one that only waits for its deletion isn't."""
        return next((one for one in self.resources if one.urn == urn and not one.delete), None)

    def put(self, resource: Resource) -> None:
        """Add the resource, or replace the live one of its name; one that is the same isn't written again."""
        with self._lock:
            now = _now()
            for index, existing in enumerate(self.resources):
                if existing.urn == resource.urn and not existing.delete:
                    resource.created, resource.modified = resource.created or now, existing.modified
                    if resource == existing and resource is not existing and not self._stale:
                        return
                    self.resources[index] = resource
                    break
            else:
                resource.created = resource.created or now
                self.resources.append(resource)
            resource.modified = now
            self.save()

    def remove(self, resource: Resource) -> None:
        """Take the resource out."""
        with self._lock:
            self.resources = [one for one in self.resources if one is not resource]
            self.save()

    @contextmanager
    def operation(self, kind: str, resource: Resource) -> Iterator[None]:
        """Record that an operation is under way; whatever ends it, the state on disk says so."""
        entry = (kind, resource)
        with self._lock:
            self.pending.append(entry)
            self.save()
        try:
            yield
        except BaseException:
            with self._lock:
                self.pending.remove(entry)
                self.save()
            raise
        # Not saved here: what the operation came to is saved next, in one write with its end.
        with self._lock:
            self.pending.remove(entry)
            self._stale = True

    def save(self) -> None:
        """Write the state; it is on the disk when this returns."""
        with self._lock:
            self._save()

    def _save(self) -> None:
        # What depends comes after what it depends on, at every moment: a program registers in that order, what it
        # hasn't registered yet can only depend on what is there already, and nothing on what waits for its deletion.
        order = {urn: index for index, urn in enumerate(self.registered)}
        self.resources.sort(key=lambda one: (one.delete, order.get(one.urn, len(order))))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        text = self._document()
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        self._stale = False

    def _document(self) -> str:
        """The state's text. It is made for each step: on few lines, and each resource's part once until it changes."""
        resources = ",\n".join(self._text(resource) for resource in self.resources)
        pending = [
            f'{{"resource": {self._text(resource)}, "type": {json.dumps(kind)}}}' for kind, resource in self.pending
        ]
        parts = {"manifest": json.dumps({"time": _now(), "magic": "", "version": ""})}
        if self._crypter is not None:
            parts["secrets_providers"] = json.dumps({"type": "passphrase", "state": {"salt": self._crypter.salt}})
        parts["resources"] = f"[{resources}]"
        if pending:
            parts["pending_operations"] = f"[{', '.join(pending)}]"
        deployment = ", ".join(f'"{name}": {text}' for name, text in parts.items())
        return f'{{"version": {FORMAT_VERSION}, "deployment": {{{deployment}}}}}'

    def _text(self, resource: Resource) -> str:
        # A resource is changed by giving it other values, never inside of them; the ones that were written are kept
        # here, so that no other value can have the same identity.
        values = tuple(vars(resource).values())
        written, text = self._texts.get(id(resource), ((), ""))
        if len(written) != len(values) or any(one is not other for one, other in zip(written, values, strict=True)):
            text = json.dumps(self._closed(resource))
            self._texts[id(resource)] = (values, text)
        return text

    def _closed(self, resource: Resource) -> Properties:
        def close(wrapped: Properties) -> Properties:
            plaintext = json.dumps(wrapped.get("value"))
            # The same text keeps its ciphertext, so that saving twice doesn't derive, encrypt and rewrite everything.
            if plaintext not in self._ciphertexts:
                self._ciphertexts[plaintext] = self._crypter_for(resource).encrypt(plaintext)
            return {SIGNATURE: SECRET, "ciphertext": self._ciphertexts[plaintext]}

        raw = resource.to_json()
        for key in ("inputs", "outputs"):
            if key in raw:
                raw[key] = properties.map_secrets(raw[key], close)
        return raw

    def _crypter_for(self, resource: Resource) -> Passphrase:
        if self._crypter is None:
            self._crypter = self._passphrase(None)
        if self._crypter is None:
            raise EngineError(
                f"{resource.urn}: has secrets, and the state never holds them in clear. Set PULUMI_CONFIG_PASSPHRASE "
                "(or PULUMI_CONFIG_PASSPHRASE_FILE), so that they can be encrypted, and run this again."
            )
        return self._crypter

    def _load(self) -> None:
        try:
            document = json.loads(self.path.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: the state can't be read ({error}). Restore it, or delete it to start anew"
            ) from None
        if document.get("version") != FORMAT_VERSION:
            raise InputError(
                f"{self.path}: version {document.get('version')!r} of the state, and this engine reads "
                f"version {FORMAT_VERSION}"
            )
        deployment = document["deployment"]
        provider = deployment.get("secrets_providers")
        if provider:
            if provider.get("type") != "passphrase":
                raise InputError(
                    f"{self.path}: its secrets are held by {provider.get('type')!r}, which only the Pulumi CLI can open"
                )
            salt = provider["state"]["salt"]
            self._crypter = self._passphrase(salt)
        self.resources = [self._opened(raw) for raw in deployment.get("resources", [])]
        self.pending = [
            (entry["type"], self._opened(entry["resource"])) for entry in deployment.get("pending_operations", [])
        ]

    def _opened(self, raw: Properties) -> Resource:
        def open_(wrapped: Properties) -> Properties:
            if "ciphertext" not in wrapped:
                return wrapped
            if self._crypter is None:
                raise InputError(
                    f"{raw['urn']}: its state has secrets. Set PULUMI_CONFIG_PASSPHRASE to the passphrase of this stack"
                )
            plaintext = self._crypter.decrypt(wrapped["ciphertext"])
            self._ciphertexts[plaintext] = wrapped["ciphertext"]
            return properties.secret(json.loads(plaintext))

        resource = Resource.from_json(raw)
        resource.inputs = properties.map_secrets(resource.inputs, open_)
        resource.outputs = properties.map_secrets(resource.outputs, open_)
        return resource


@contextmanager
def locked(path: Path, stack: str) -> Iterator[None]:
    """Hold the stack's lock. The kernel drops it with the process, so a killed one never leaves it behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise EngineError(
                f"stack {stack} is being updated by another process ({file.read().strip() or 'unknown'}). "
                "Wait for it to end, or stop it with `gpubench stop`"
            ) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()}, since {_now()}")
        file.flush()
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
