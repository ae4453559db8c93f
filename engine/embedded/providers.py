"""The providers that the embedded engine can drive: dynamic resources, performed for real in this process.

The protocol is the SDK's dynamic provider server's (pulumi/dynamic/__main__.py): the provider arrives pickled in the
property `__provider`, is configured once with the whole stack config, and sees no secrets wrapped.
"""

from __future__ import annotations

import base64
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from pulumi.dynamic import Config, ConfigureRequest, ResourceProvider
from pulumi.runtime._serialization import _deserialize

from engine.base import PROJECT, EngineError
from engine.embedded import properties
from engine.embedded.properties import UNKNOWN, Properties

DYNAMIC_PACKAGE = "pulumi-python"
PROVIDER_KEY = "__provider"

T = TypeVar("T")


class ProviderError(EngineError):
    """A provider's method failed. The text is the provider's own."""


@dataclass(frozen=True)
class Diff:
    """A provider's answer: None for `changed` means that it can't say, and the engine compares the inputs itself."""

    changed: bool | None = None
    replaces: tuple[str, ...] = ()
    delete_before_replace: bool = False


class Provider(Protocol):
    """What the engine asks of a provider.

    All values are in wire form; secrets are opened by the provider that can't take them.
    """

    def check(self, urn: str, olds: Properties, news: Properties) -> tuple[Properties, list[tuple[str, str]]]: ...

    def diff(self, urn: str, id_: str, olds: Properties, news: Properties) -> Diff: ...

    def create(self, urn: str, news: Properties) -> tuple[str, Properties]: ...

    def update(self, urn: str, id_: str, olds: Properties, news: Properties) -> Properties: ...

    def delete(self, urn: str, id_: str, outputs: Properties) -> None: ...


class DynamicProvider:
    """Drives the ResourceProvider that each dynamic resource brings along."""

    def __init__(self, config: Mapping[str, str]) -> None:
        """`config` is the whole stack config, decrypted, keys with their namespace."""
        self._config = dict(config)
        self._loaded: dict[str, ResourceProvider] = {}
        self._lock = threading.Lock()

    def check(self, urn: str, olds: Properties, news: Properties) -> tuple[Properties, list[tuple[str, str]]]:
        provider = self._provider(urn, news, olds)
        given = properties.to_python(news, keep_unknowns=True)
        result = _call(urn, lambda: provider.check(properties.to_python(olds, keep_unknowns=True), given))
        return (
            self._kept(result.inputs, news),
            [(failure.property, failure.reason) for failure in result.failures],
        )

    def diff(self, urn: str, id_: str, olds: Properties, news: Properties) -> Diff:
        provider = self._provider(urn, news, olds)
        before = properties.to_python(olds, keep_unknowns=True)
        after = properties.to_python(news, keep_unknowns=True)
        result = _call(urn, lambda: provider.diff(id_, before, after))
        return Diff(result.changes, tuple(result.replaces or ()), bool(result.delete_before_replace))

    def create(self, urn: str, news: Properties) -> tuple[str, Properties]:
        provider = self._provider(urn, news)
        result = _call(urn, lambda: provider.create(properties.to_python(news)))
        return result.id, self._kept(result.outs or {}, news)

    def update(self, urn: str, id_: str, olds: Properties, news: Properties) -> Properties:
        provider = self._provider(urn, news)
        result = _call(urn, lambda: provider.update(id_, properties.to_python(olds), properties.to_python(news)))
        return self._kept(result.outs or {}, news)

    def delete(self, urn: str, id_: str, outputs: Properties) -> None:
        provider = self._provider(urn, outputs)
        _call(urn, lambda: provider.delete(id_, properties.to_python(outputs)))

    def _kept(self, values: Mapping[str, Any], source: Properties) -> Properties:
        """The wire form of a provider's answer, with the pickled provider put back (secret if it was)."""
        return properties.from_python({key: value for key, value in values.items() if key != PROVIDER_KEY}) | {
            PROVIDER_KEY: source[PROVIDER_KEY]
        }

    def _provider(self, urn: str, *sources: Properties) -> ResourceProvider:
        pickled = next(
            text
            for source in sources
            if (text := properties.without_secrets(source.get(PROVIDER_KEY))) and text != UNKNOWN
        )
        with self._lock:
            if pickled not in self._loaded:
                self._loaded[pickled] = self._load(urn, pickled)
            return self._loaded[pickled]

    def _load(self, urn: str, pickled: str) -> ResourceProvider:
        import dill

        try:
            # The text comes from this stack's program or state, as it does on the real engine.
            provider = cast(ResourceProvider, _deserialize(lambda: dill.loads(base64.b64decode(pickled))))  # noqa: S301
        except (ImportError, AttributeError) as error:
            raise ProviderError(
                f"{urn}: its provider can't be loaded ({error}). It was stored by an older gpubench: check out that "
                "commit to destroy the stack, or remove the resource from the state"
            ) from error
        # A provider may cut tracebacks short for the process that it thinks is its own; this one is also ours.
        limit = getattr(sys, "tracebacklimit", None)
        try:
            _call(urn, lambda: provider.configure(ConfigureRequest(Config(self._config, PROJECT))))
        finally:
            if limit is None:
                vars(sys).pop("tracebacklimit", None)
            else:
                sys.tracebacklimit = limit
        return provider


def _call(urn: str, method: Callable[[], T]) -> T:
    try:
        return method()
    except EngineError:
        raise
    except Exception as error:
        # A failure that a provider words for people has no use for a traceback; one that it didn't foresee has.
        foreseen = getattr(error, "for_people", False)
        raise ProviderError(
            str(error) if foreseen else f"{urn}: {''.join(traceback.format_exception(error))}"
        ) from error
