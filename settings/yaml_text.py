"""YAML as the Pulumi CLI reads it, with limits: a stack means the same on either engine.

The CLI reads with Go's yaml.v3, whose scalars differ from PyYAML's: only true and false are booleans (``no`` and ``on``
are texts), ``1:30`` is a text, ``1e3`` is a number, an unquoted date is a text with a time in it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from settings.credentials import looks_like_credential, shown_key

if TYPE_CHECKING:
    from yaml import MappingNode

_MAX_NODES = 100_000
_MAX_DEPTH = 40


class FileProblem(Exception):
    """What is wrong with the text of a stack file; ``where`` is ":line:column", ":line" or empty."""

    def __init__(self, what: str, mend: str, where: str = "", allowed: str = "") -> None:
        self.what, self.mend, self.where, self.allowed = what, mend, where, allowed
        super().__init__(what)


def parse(text: str) -> object:
    """The document that a text holds. Raises FileProblem."""
    import yaml

    try:
        document = yaml.load(text, Loader=_loader())  # noqa: S506  a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = error.problem or "a part that can't be understood"
        if looks_like_credential(problem) or "alias" in problem or "tag" in problem:
            # These quote the text of the file, which may be anything.
            problem = "an alias or a tag that YAML doesn't know: quote a text that begins with *, & or !"
        raise FileProblem(f"isn't valid YAML: {problem}", "mend that line, or the one above it", where=where) from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        where = f":{text.count(chr(10), 0, position) + 1}" if isinstance(position, int) else ""
        raise FileProblem("isn't valid YAML: a character that YAML doesn't allow", "remove it", where=where) from None
    except ValueError:
        # Python refuses to read a number of thousands of digits; YAML itself has no limit.
        raise FileProblem("holds a number that is too long", "write it as a text, in quotes") from None
    except RecursionError:
        raise FileProblem("is nested too deeply", "a stack file needs a few levels") from None
    _check_size(document)
    return document


def _check_size(document: object) -> None:
    """Aliases can make a small file endless: count what it says, not what it holds."""
    nodes, stack = 0, [(document, 0)]
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise FileProblem(
                "is too large or nested too deeply once its aliases are followed", "write it without aliases"
            )
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        stack.extend((child, depth + 1) for child in children)


@functools.cache
def _loader() -> Any:
    """A safe loader (the C one if it is there) that reads scalars as the Pulumi CLI does and refuses repeated keys."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        pass

    def mapping(loader: Any, node: MappingNode) -> Iterator[dict[str, object]]:
        made: dict[str, object] = {}
        yield made  # first, so that an alias inside the mapping can refer to it
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {shown_key(key_node.value)} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        loader.flatten_mapping(node)
        made.update({str(key.value): loader.construct_object(value, deep=True) for key, value in node.value})

    # Seen on the Pulumi CLI 3.272: no, yes and on are texts; 1:30 is a text; 012 is octal; 089 is 89; 0o17, 0b11 and
    # 1e3 are numbers; a date becomes "2026-11-21 00:00:00 +0000 UTC".
    tag = "tag:yaml.org,2002:"
    replaced = {tag + name for name in ("bool", "int", "float")}
    Loader.yaml_implicit_resolvers = {
        first: [(name, pattern) for name, pattern in resolvers if name not in replaced]
        for first, resolvers in base.yaml_implicit_resolvers.items()
    }
    for name, pattern, firsts in (
        ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
        ("int", r"^[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$", "-+0123456789"),
        (
            "float",
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
            "-+.0123456789",
        ),
    ):
        Loader.add_implicit_resolver(tag + name, re.compile(pattern), list(firsts))
    Loader.add_constructor(tag + "map", mapping)
    Loader.add_constructor(tag + "int", lambda _, node: _int(str(node.value)))
    Loader.add_constructor(tag + "float", lambda _, node: _float(str(node.value)))
    Loader.add_constructor(tag + "timestamp", _date)
    return Loader


def _int(text: str) -> int | str:
    digits = text.replace("_", "").lower()
    try:
        if re.fullmatch(r"[-+]?0[0-7]+", digits):
            return int(digits, 8)
        return int(digits, 10) if digits.lstrip("+-").isdigit() else int(digits, 0)
    except ValueError:
        if len(digits) > 4000:
            raise
        return text


def _float(text: str) -> float | str:
    plain = text.lower()
    if plain.endswith((".inf", ".nan")):
        return float(plain.replace(".", ""))
    number = float(plain)
    return number if math.isfinite(number) else text


def _date(loader: Any, node: Any) -> str:
    try:
        found = loader.construct_yaml_timestamp(node)
    except ValueError:
        return str(node.value)
    return f"{found:%Y-%m-%d %H:%M:%S} +0000 UTC"
