"""What a stack asks for: the typed model of its config, for every surface.

``read_stack_file`` reads ``Pulumi.<stack>.yaml``; ``Settings.from_config`` makes frozen, typed settings of full config
keys and values, or raises ``SettingsError`` with every mistake of the file at once. pydantic checks shapes and types at
this edge and nowhere else; the words of the messages are our own, and no message ever shows a credential.

Keys (all under the project's name, ``gpubench:``): ladder, benchmark, results, budget, labels, access, rung. Any other
``gpubench:<name>`` must be a secret that ``gpubench:benchmark.env`` refers to by ``{secret: <name>}``. Keys of other
namespaces (``gcp:project``, ``aws:region``) belong to the providers and pass; ``gcp:project``, ``gcp:region`` and
``aws:region`` are the defaults of ``project`` and ``region`` in a ladder entry.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

import catalog
from catalog import ANY_TIER, Purchase, Surface, closest
from placement.ladder import NO_GPU_TIERS, LadderEntry, Rung, count_of, expand

if TYPE_CHECKING:
    from yaml import MappingNode

PROJECT = "gpubench"
BENCHMARKS = ("resnet50", "kernels")
PROFILES = ("smoke", "standard-cpu", "standard", "full")
SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream")
PRECISIONS = ("fp32", "fp16", "bf16")

MAX_REPEATS = 100
MAX_BATCH_SIZE = 65536
MAX_TIMEOUT_MINUTES = 7 * 24 * 60  # Google Cloud's longest max-run-duration of flex-start, seven days
MAX_BUDGET_USD = 10_000
MAX_BUDGET_HOURS = 30 * 24
MAX_LABELS = 40  # AWS allows 50 tags on a resource, Google Cloud 64 labels; gpubench adds its own
FLEX_START_HOURS = (10 / 60, 7 * 24)  # Google Cloud: 10 minutes to 7 days

DEFAULT_TIMEOUT_MINUTES = 60.0
DEFAULT_BUDGET_USD = 20.0
DEFAULT_BUDGET_HOURS = 24.0
DEFAULT_RESULTS = "results"


# --------------------------------------------------------------------------------------------------------- mistakes


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: where, what is written there, what is allowed, and how to mend it.

    ``value`` is ready to print; what could be a credential is replaced by a remark.
    """

    path: str
    value: str
    allowed: str
    mend: str

    def __str__(self) -> str:
        parts = [part for part in (self.value, f"allowed: {self.allowed}" if self.allowed else "", self.mend) if part]
        return f"{self.path}: {'; '.join(parts)}"


class SettingsError(Exception):
    """Everything that is wrong with a stack's config, at once. ``source``: the file or "stack config"."""

    def __init__(self, mistakes: Iterable[Mistake], source: str) -> None:
        self.mistakes = tuple(mistakes)
        self.source = source
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.mistakes)
        head = f"{self.source}: {count} mistake{'' if count == 1 else 's'}"
        return "\n".join([head, *(f"  - {mistake}" for mistake in self.mistakes)])


# Forms of credentials that are public knowledge: vendors print these prefixes so that scanners can find leaks.
_CREDENTIAL = re.compile(
    r"""(?:AKIA|ASIA)[0-9A-Z]{12,}
    | gh[pousr]_[0-9A-Za-z]{16,} | github_pat_\w{16,} | glpat-[\w-]{16,}
    | \bhf_[0-9A-Za-z]{16,}
    | \bsk-[\w-]{16,} | \bpul-[0-9a-f]{16,} | \bnpm_[0-9A-Za-z]{20,} | \bxox[abeprs]-[\w-]{10,}
    | AIza[\w-]{20,} | \bya29\.[\w-]{16,} | \bdop_v1_[0-9a-f]{16,} | \bnvapi-[\w-]{16,}
    | \beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+
    | -----BEGIN[ A-Z]*PRIVATE[ ]KEY
    | ://[^/\s:@]+:[^/\s@]+@
    | (?i:(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)\s*=\s*[^\s;&]{6,})
    """,
    re.VERBOSE,
)
_SECRET_WORDS = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_?KEY(?:_ID)?|PRIVATE_?KEY|SECRET_?KEY|AUTH_?KEY"
    r"|CREDENTIALS?|CREDS?)(?:_|$)",
    re.IGNORECASE,
)
# TOKEN_LIMIT or SECRET_NAME speak about a secret and are none.
_ABOUT_A_SECRET = re.compile(
    r"_(?:LIMIT|COUNT|FILE|PATH|DIR|NAME|URL|TTL|SIZE|LENGTH|BUDGET|TYPE|ENDPOINT|REGION|EXPIRY)$", re.IGNORECASE
)


def looks_like_credential(text: str) -> bool:
    """Whether a text has the form of a known kind of credential."""
    return bool(_CREDENTIAL.search(text))


def names_a_secret(name: str) -> bool:
    """Whether the name of an environment variable says that its value is a secret."""
    return bool(_SECRET_WORDS.search(name)) and not _ABOUT_A_SECRET.search(name)


def _shown(value: object) -> str:
    """A value as messages print it: short, in one line, and without anything that looks like a credential."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{float(value):g}" if abs(value) < 10**300 else "a huge number"
    if isinstance(value, str):
        if looks_like_credential(value):
            return "a text that looks like a credential (not shown)"
        text = value if len(value) <= 80 else value[:77] + "..."
        return json.dumps(text, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "an empty mapping" if not value else f"a mapping of {len(value)} key{'' if len(value) == 1 else 's'}"
    if isinstance(value, list | tuple):
        return "an empty list" if not value else f"a list of {len(value)} item{'' if len(value) == 1 else 's'}"
    return f"a {type(value).__name__}"


def _hidden(value: object) -> str:
    """A value that may be a secret: only what kind of thing it is."""
    return f"a text of {len(value)} characters (not shown)" if isinstance(value, str) else _kind(value)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    for types, name in ((bool, "true or false"), (int | float, "a number"), (str, "a text"), (Mapping, "a mapping")):
        if isinstance(value, types):
            return name
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _key(name: object) -> str:
    """A key as it stands in a path; one that is itself a credential is not repeated."""
    text = str(name)
    return "(not shown)" if looks_like_credential(text) else text


def _one_of(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _did_you_mean(value: str, names: Iterable[str], otherwise: str = "") -> str:
    near = closest(value, names)
    return f"did you mean {near}?" if near else otherwise


class _Mistakes:
    """Collects mistakes in the order they are found; the same one only once."""

    def __init__(self) -> None:
        self.found: list[Mistake] = []

    def add(self, path: str, value: str, allowed: str, mend: str) -> None:
        mistake = Mistake(path, value, allowed, mend)
        if mistake not in self.found:
            self.found.append(mistake)

    def __len__(self) -> int:
        return len(self.found)


# ---------------------------------------------------------------------------------------------------- the stack file


@dataclass(frozen=True)
class StackFile:
    """``Pulumi.<stack>.yaml`` as it stands.

    ``values``: full config keys and their values, an encrypted one as ``{"secure": "<ciphertext>"}``. ``secret_keys``:
    config keys that are encrypted, wholly or at any depth (Pulumi treats the whole value as a secret then).
    ``encryption_salt`` and ``secrets_provider``: how they are encrypted. ``raw``: the whole document.
    """

    path: Path
    values: Mapping[str, object]
    secret_keys: frozenset[str]
    encryption_salt: str | None
    secrets_provider: str | None
    raw: Mapping[str, object]


_MAX_FILE_BYTES = 1_000_000
_MAX_NODES = 100_000
_MAX_DEPTH = 40


class _FileError(Exception):
    """Something about the YAML text; ``where`` is ":line:column" or empty."""

    def __init__(self, what: str, mend: str, where: str = "", allowed: str = "") -> None:
        self.what, self.mend, self.where, self.allowed = what, mend, where, allowed
        super().__init__(what)


def read_stack_file(path: Path) -> StackFile:
    """Read a stack's config file.

    Scalars mean what they mean to the Pulumi CLI: only true and false are booleans (``no`` and ``on`` are texts),
    ``1:30`` is a text, an unquoted date is a text with a time in it. Raises SettingsError, with line and column where
    there is one, for a file that can't be read, isn't YAML, isn't a mapping, holds a key twice, or has no ``config``.
    """
    try:
        raw = _load_yaml(path)
        config = raw.get("config")
        if "config" not in raw:
            near = closest_key(raw, "config")
            mend = f"did you mean config instead of {near}?" if near else "begin the file with `config:`"
            raise _FileError("has no config", mend, allowed="a mapping `config:` of keys such as gpubench:ladder")
        if config is None or config == {}:
            raise _FileError(
                "config is empty", "add at least gpubench:ladder, as in `gpubench:ladder: [{surface: local}]`"
            )
        if not isinstance(config, dict):
            raise _FileError(f"config is {_kind(config)}", "write `config:` and the keys under it, two spaces in")
        values = {str(key): value for key, value in config.items()}
        secret_keys = frozenset(key for key, value in values.items() if _has_secure(value))
    except _FileError as error:
        raise SettingsError(
            [Mistake(f"{path.name}{error.where}", error.what, error.allowed, error.mend)], str(path)
        ) from None
    salt, provider = raw.get("encryptionsalt"), raw.get("secretsprovider")
    return StackFile(
        path=path,
        values=values,
        secret_keys=secret_keys,
        encryption_salt=None if salt is None else str(salt),
        secrets_provider=None if provider is None else str(provider),
        raw=raw,
    )


def closest_key(keys: Iterable[object], wanted: str) -> str | None:
    """Among keys, the one that ``wanted`` was probably meant by."""
    near = closest(wanted, [str(key) for key in keys])
    return near if near and looks_like_credential(near) is False else None


def _load_yaml(path: Path) -> dict[str, object]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        stack = path.stem.removeprefix("Pulumi.")
        raise _FileError(
            "there is no such file", f"make it with `pulumi stack init {stack}`, or check the name"
        ) from None
    except OSError as error:
        raise _FileError(
            f"can't be read: {error.strerror or type(error).__name__}", "check the path and its rights"
        ) from None
    if len(data) > _MAX_FILE_BYTES:
        raise _FileError(f"has {len(data)} bytes", f"a stack file has at most {_MAX_FILE_BYTES}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _FileError("isn't UTF-8", "save the file as UTF-8", where=f":{line}") from None

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
        raise _FileError(f"isn't valid YAML: {problem}", "mend that line, or the one above it", where=where) from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        where = f":{text.count(chr(10), 0, position) + 1}" if isinstance(position, int) else ""
        raise _FileError("isn't valid YAML: a character that YAML doesn't allow", "remove it", where=where) from None
    except ValueError:
        # Python refuses to read a number of thousands of digits; YAML itself has no limit.
        raise _FileError("holds a number that is too long", "write it as a text, in quotes") from None
    except RecursionError:
        raise _FileError("is nested too deeply", "a stack file needs a few levels") from None
    if document is None:
        raise _FileError("is empty", "begin the file with `config:`", allowed="a mapping with `config:`")
    if not isinstance(document, dict):
        raise _FileError(f"is {_kind(document)}", "begin the file with `config:`", allowed="a mapping with `config:`")
    _check_size(document)
    return {str(key): value for key, value in document.items()}


def _check_size(document: object) -> None:
    """Aliases can make a small file endless: count what it says, not what it holds."""
    nodes, stack = 0, [(document, 0)]
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise _FileError(
                "is too large or nested too deeply once its aliases are followed", "write it without aliases"
            )
        if isinstance(node, dict):
            stack.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            stack.extend((child, depth + 1) for child in node)


_LOADER: list[Any] = []


def _loader() -> Any:
    """A safe loader (the C one if it is there) that reads scalars as the Pulumi CLI does and refuses repeated keys."""
    if _LOADER:
        return _LOADER[0]
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        pass

    def mapping(loader: Any, node: MappingNode) -> dict[object, object]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
            if key_node.value in seen:
                name = _key(key_node.value)
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name} is there twice", key_node.start_mark
                )
            seen.add(key_node.value)
        loader.flatten_mapping(node)
        return {
            str(key_node.value): loader.construct_object(value_node, deep=True) for key_node, value_node in node.value
        }

    def construct(loader: Any, node: MappingNode) -> Iterator[dict[object, object]]:
        made: dict[object, object] = {}
        yield made
        made.update(mapping(loader, node))

    Loader.add_constructor("tag:yaml.org,2002:map", construct)
    # The Pulumi CLI reads the file with yaml.v3. Seen on 3.272: no, yes and on are texts; 1:30 is a text; 012 is octal;
    # 089 is 89; 0o17, 0b11 and 1e3 are numbers; a date becomes "2026-11-21 00:00:00 +0000 UTC". The same here, so
    # that a stack means the same on either engine.
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
    Loader.add_constructor(tag + "int", lambda _, node: _yaml_int(str(node.value)))
    Loader.add_constructor(tag + "float", lambda _, node: _yaml_float(str(node.value)))
    Loader.add_constructor(tag + "timestamp", _yaml_date)
    _LOADER.append(Loader)
    return Loader


def _yaml_int(text: str) -> int | str:
    digits = text.replace("_", "").lower()
    try:
        if re.fullmatch(r"[-+]?0[0-7]+", digits):
            return int(digits, 8)
        return int(digits, 10) if digits.lstrip("+-").isdigit() else int(digits, 0)
    except ValueError:
        if len(digits) > 4000:
            raise
        return text


def _yaml_float(text: str) -> float | str:
    plain = text.lower()
    if plain.endswith((".inf", ".nan")):
        return float(plain.replace(".", ""))
    number = float(plain)
    return number if math.isfinite(number) else text


def _yaml_date(loader: Any, node: Any) -> str:
    try:
        found = loader.construct_yaml_timestamp(node)
    except ValueError:
        return str(node.value)
    return f"{found:%Y-%m-%d %H:%M:%S} +0000 UTC"


def _has_secure(value: object) -> bool:
    if isinstance(value, dict):
        return _is_secure(value) or any(_has_secure(child) for child in value.values())
    return isinstance(value, list) and any(_has_secure(child) for child in value)


def _is_secure(value: object) -> bool:
    return isinstance(value, Mapping) and set(value) == {"secure"} and isinstance(value["secure"], str)


# ------------------------------------------------------------------------------------------------ what settings are


@dataclass(frozen=True)
class SecretRef:
    """An environment variable's value that is a secret: the config key (``gpubench:<name>``) that holds it."""

    name: str

    @property
    def config_key(self) -> str:
        """The full config key."""
        return f"{PROJECT}:{self.name}"


@dataclass(frozen=True)
class Code:
    """The benchmark's code: a repository's address and a commit (40 hex digits)."""

    repository: str
    commit: str


@dataclass(frozen=True)
class Benchmark:
    """What is run.

    ``workload``: built-in benchmarks, or empty when ``image`` runs its own command. ``image`` with a workload: a
    container that has gpubench's workload. Empty ``scenarios``, ``batch_sizes`` and ``precisions``: the profile's own.
    ``timeout_minutes`` is for one run; ``repeats`` runs are due.
    """

    workload: tuple[str, ...] = BENCHMARKS
    image: str | None = None
    command: tuple[str, ...] = ()
    env: Mapping[str, str | SecretRef] = field(default_factory=dict)
    profile: str = "standard"
    scenarios: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    channels_last: bool = False
    compile: bool = False
    seed: int = 0
    repeats: int = 1
    timeout_minutes: float = DEFAULT_TIMEOUT_MINUTES
    code: Code | None = None

    @property
    def is_built_in(self) -> bool:
        """Whether gpubench's own workload is run (in an image or not)."""
        return bool(self.workload)


@dataclass(frozen=True)
class ResultsStore:
    """Where results go: a folder (``path``), or a bucket and a prefix without slashes at its ends."""

    kind: str
    url: str
    path: str | None = None
    bucket: str | None = None
    prefix: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.kind == "folder"


@dataclass(frozen=True)
class Budget:
    """The most that the whole walk (all attempts and repeats) may cost: USD and hours."""

    usd: float = DEFAULT_BUDGET_USD
    hours: float = DEFAULT_BUDGET_HOURS


class Access(StrEnum):
    """Who may reach what a stack makes."""

    PRIVATE = "private"
    PUBLIC = "public"


@dataclass(frozen=True)
class Settings:
    """What a stack asks for. ``rung``: the id of a pinned rung, or None."""

    ladder: tuple[Rung, ...]
    benchmark: Benchmark = field(default_factory=Benchmark)
    results: ResultsStore = field(default_factory=lambda: ResultsStore("folder", DEFAULT_RESULTS, path=DEFAULT_RESULTS))
    budget: Budget = field(default_factory=Budget)
    labels: Mapping[str, str] = field(default_factory=dict)
    access: Access = Access.PRIVATE
    rung: str | None = None

    @property
    def pinned_rung(self) -> Rung | None:
        """The rung that ``rung`` names."""
        return next((rung for rung in self.ladder if rung.id == self.rung), None)

    @classmethod
    def from_config(
        cls, values: Mapping[str, object], secret_keys: Collection[str] = (), source: str = "stack config"
    ) -> Settings:
        """Settings from full config keys (``gpubench:ladder``) and their values.

        Values may be parsed, or JSON texts as Pulumi hands structured values to a program. ``secret_keys``: the keys
        whose values are secrets (or that Pulumi could not decrypt). Raises SettingsError with all mistakes.
        """
        return _Reader(values, frozenset(secret_keys), source).read()


KNOWN_KEYS = ("ladder", "benchmark", "results", "budget", "labels", "access", "rung")


# --------------------------------------------------------------------------------------- the edge: shapes and types


class _Edge(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class _EntryConfig(_Edge):
    surface: str | None = None
    project: str | None = None
    account: str | None = None
    region: str | None = None
    regions: list[str] | None = None
    zone: str | None = None
    zones: list[str] | None = None
    tier: str | None = None
    tiers: list[str] | None = None
    count: float | None = None
    purchase: str | None = None
    purchases: list[str] | None = None
    machine_type: str | None = None
    machine_types: list[str] | None = None
    reservation: str | None = None
    max_hours: float | None = None


class _CodeConfig(_Edge):
    repository: str | None = None
    commit: str | None = None


class _BenchmarkConfig(_Edge):
    workload: list[str] | None = None
    image: str | None = None
    command: list[str] | None = None
    env: dict[str, Any] | None = None
    profile: str | None = None
    scenarios: list[str] | None = None
    batch_sizes: list[int] | None = None
    precisions: list[str] | None = None
    channels_last: bool | None = None
    compile: bool | None = None
    seed: int | None = None
    repeats: int | None = None
    timeout_minutes: float | None = None
    code: _CodeConfig | None = None


class _BudgetConfig(_Edge):
    usd: float | None = None
    hours: float | None = None


_UNITS = {"timeout_minutes": "minutes", "max_hours": "hours", "hours": "hours", "usd": "USD"}
_UNIT_FACTORS: dict[str, dict[str, float]] = {
    "minutes": {
        "s": 1 / 60,
        "sec": 1 / 60,
        "m": 1,
        "min": 1,
        "mins": 1,
        "minute": 1,
        "minutes": 1,
        "h": 60,
        "hour": 60,
        "hours": 60,
        "d": 1440,
    },
    "hours": {
        "m": 1 / 60,
        "min": 1 / 60,
        "minutes": 1 / 60,
        "h": 1,
        "hr": 1,
        "hour": 1,
        "hours": 1,
        "d": 24,
        "day": 24,
        "days": 24,
    },
    "USD": {"usd": 1, "$": 1, "dollar": 1, "dollars": 1, "us$": 1},
}
_PLURALS = {
    "region": "regions",
    "zone": "zones",
    "tier": "tiers",
    "purchase": "purchases",
    "machine_type": "machine_types",
}
_SINGULARS = {plural: singular for singular, plural in _PLURALS.items()}
_Model = TypeVar("_Model", bound=BaseModel)


class _Reader:
    """Reads one stack's config; collects every mistake before it gives up."""

    def __init__(self, values: Mapping[str, object], secret_keys: frozenset[str], source: str) -> None:
        self.values, self.secret_keys, self.source = values, secret_keys, source
        self.mistakes = _Mistakes()

    def read(self) -> Settings:
        parsed = {name: self._value(name) for name in KNOWN_KEYS if f"{PROJECT}:{name}" in self.values}
        ladder = self._ladder(parsed)
        benchmark, references = self._benchmark(parsed, ladder)
        results = self._results(parsed)
        budget = self._budget(parsed)
        labels = self._labels(parsed)
        access = self._access(parsed)
        rung = self._rung(parsed, ladder)
        self._other_keys(references)
        self._credentials(parsed)
        if len(self.mistakes):
            raise SettingsError(self.mistakes.found, self.source)
        return Settings(
            ladder=tuple(ladder or ()),
            benchmark=benchmark,
            results=results,
            budget=budget,
            labels=labels,
            access=access,
            rung=rung,
        )

    # -- values

    def _value(self, name: str) -> object:
        """The parsed value of one of our keys; _BAD after a mistake."""
        path = f"{PROJECT}:{name}"
        value = self.values[path]
        if path in self.secret_keys and not _has_secure(value):
            # A program gets the whole value decrypted, and can't tell which part of it was the secret.
            self.mistakes.add(
                path,
                "encrypted, wholly or in part (not shown)",
                "a value in clear: settings are no secrets",
                f"give the secret its own key: `pulumi config set --secret {PROJECT}:NAME`, and {{secret: NAME}} in "
                f"{PROJECT}:benchmark.env",
            )
            return _BAD
        if _has_secure(value) and (_is_secure(value) or name != "benchmark"):
            self.mistakes.add(
                path,
                "encrypted",
                "a value in clear: settings are no secrets",
                f"remove the secret: `pulumi config set --path {path}...` without --secret",
            )
            return _BAD
        if name in ("ladder", "benchmark", "budget", "labels") and isinstance(value, str):
            # A Pulumi program gets structured values as JSON.
            try:
                return json.loads(value)
            except ValueError:
                kind = "a list" if name == "ladder" else "a mapping"
                hint = ""
                if name == "budget":
                    hint = "; budget takes `usd` and `hours`, plain numbers: {usd: 5, hours: 2}"
                shown = _hidden(value) if name == "benchmark" else _shown(value)
                self.mistakes.add(path, shown, kind, f"write {kind}, not a text{hint}")
                return _BAD
        return value

    def _model(self, model: type[_Model], raw: object, path: str) -> tuple[_Model, frozenset[str]]:
        """Check shapes and types; what is wrong is told and left out, so that the rest can still be checked."""
        if not isinstance(raw, Mapping):
            if raw is not _BAD:
                keys = _one_of(_keys_of(model))
                self.mistakes.add(
                    path, _shown(raw), f"a mapping with keys out of {keys}", "write `key: value` under it"
                )
            return model(), frozenset()
        rest = {str(key): value for key, value in raw.items()}
        try:
            return model.model_validate(rest), frozenset()
        except ValidationError as error:
            bad: set[str] = set()
            for one in error.errors(include_url=False, include_context=False):
                location = one["loc"]
                bad.add(str(location[0]))
                if one["type"] == "extra_forbidden" and len(location) == 1:
                    # What a misspelt key was meant for is not missing as well.
                    bad.add(closest(str(location[0]), _keys_of(model)) or "")
                self._type_mistake(model, one["type"], location, one["input"], path)
        for key in bad:
            rest.pop(key, None)
        return model.model_validate(rest), frozenset(bad)

    def _type_mistake(
        self, model: type[BaseModel], kind: str, location: tuple[int | str, ...], value: object, path: str
    ) -> None:
        where = path
        for part in location:
            where += f"[{part}]" if isinstance(part, int) else f".{_key(part)}"
        name = str(next((part for part in reversed(location) if isinstance(part, str)), ""))
        shown = _shown(value)
        if ".env" in where:
            shown = _hidden(value)
        if kind == "extra_forbidden":
            known = _keys_of(_CodeConfig if len(location) > 1 else model)
            self.mistakes.add(
                where, "unknown key", f"keys {_one_of(known)}", _did_you_mean(name, known, "remove it, or see the docs")
            )
        elif kind in ("float_type", "int_type", "int_from_float", "float_parsing", "finite_number"):
            whole = kind.startswith("int")
            self._number_mistake(where, name, value, shown, whole)
        elif kind == "string_type":
            self._text_mistake(where, name, value, shown)
        elif kind == "list_type":
            single = _SINGULARS.get(name)
            mend = (
                f"write {name}: [{value}]"
                if isinstance(value, str) and not looks_like_credential(value)
                else "write a list"
            )
            if single and isinstance(value, str):
                mend += f", or {single}: for a single one"
            self.mistakes.add(where, shown, "a list", mend)
        elif kind == "bool_type":
            self.mistakes.add(where, shown, "true or false", "write true or false without quotes")
        else:
            self.mistakes.add(where, shown, "a mapping", "write `key: value` under it")

    def _number_mistake(self, where: str, name: str, value: object, shown: str, whole: bool) -> None:
        unit = _UNITS.get(name, "")
        what = ("a whole number" if whole else "a number") + (f" of {unit}" if unit else "")
        mend = f"write {name}: <number>"
        if isinstance(value, str):
            number = _number_in(value, unit)
            if number is not None:
                mend = f"write {name}: {number:g}"
            mend += f", a plain number: the unit ({unit}) is in the key" if unit and number is not None else ""
        self.mistakes.add(where, shown, what, mend)

    def _text_mistake(self, where: str, name: str, value: object, shown: str) -> None:
        if isinstance(value, bool):
            mend = "YAML reads an unquoted true or false (in some readers also yes, no, on, off) as a boolean: quote it"
        elif isinstance(value, int | float):
            mend = f'quote it: {name}: "..."'
            if name == "account":
                mend += " (an account id has 12 digits; unquoted, YAML drops or misreads leading zeros)"
            if name == "commit":
                mend += " (a commit of digits alone is a number to YAML)"
        elif isinstance(value, list) and name in _PLURALS:
            mend = f"write {_PLURALS[name]}: for a list"
        else:
            mend = "write one text"
        self.mistakes.add(where, shown, "a text", mend)

    # -- ladder

    def _ladder(self, parsed: Mapping[str, object]) -> list[Rung] | None:
        """The rungs; None if any entry has a mistake."""
        path = f"{PROJECT}:ladder"
        if "ladder" not in parsed:
            self.mistakes.add(
                path,
                "missing",
                "a list of places, best first",
                "smallest ladder: `gpubench:ladder: [{surface: local}]`",
            )
            return None
        raw = parsed["ladder"]
        if raw is _BAD:
            return None
        if isinstance(raw, Mapping):
            self.mistakes.add(path, _shown(raw), "a list of entries", "put a `- ` before the first key of each entry")
            return None
        if not isinstance(raw, list):
            self.mistakes.add(path, _shown(raw), "a list of entries", "write a list: `[{surface: local}]`")
            return None
        if not raw:
            self.mistakes.add(path, "an empty ladder", "at least one entry", "add one, as in `- surface: local`")
            return None
        before = len(self.mistakes)
        rungs: list[Rung] = []
        origin: dict[str, int] = {}
        for index, entry in enumerate(raw):
            checked = _EntryChecker(self, entry, f"{path}[{index}]").check()
            if checked is None:
                continue
            for rung in expand([checked]):
                if rung.id in origin:
                    first = origin[rung.id]
                    self.mistakes.add(
                        f"{path}[{index}]",
                        f"the rung {rung.id} again",
                        "each rung once on a ladder",
                        f"it is already made by {path}[{first}]"
                        + (": a value is listed twice" if first == index else ": remove one of them"),
                    )
                else:
                    origin[rung.id] = index
                    rungs.append(rung)
        return rungs if len(self.mistakes) == before else None

    def config_text(self, key: str) -> str | None:
        """A plain text of a provider's namespace (``gcp:project``), if it is there."""
        value = self.values.get(key)
        return value if isinstance(value, str) and value else None

    # -- benchmark

    def _benchmark(self, parsed: Mapping[str, object], ladder: list[Rung] | None) -> tuple[Benchmark, dict[str, str]]:
        path = f"{PROJECT}:benchmark"
        config, bad = self._model(_BenchmarkConfig, parsed.get("benchmark", {}), path)
        add = self.mistakes.add
        env, references = self._env(config.env or {}, f"{path}.env")

        if config.image is not None:
            self._image(config.image, f"{path}.image")
        workload = config.workload
        if workload is not None:
            self._words(workload, BENCHMARKS, f"{path}.workload", "built-in benchmark")
            if not workload:
                add(
                    f"{path}.workload",
                    "an empty list",
                    _one_of(BENCHMARKS),
                    "name one, or give an image and no workload",
                )
        own_command = config.image is not None and workload is None and "workload" not in bad
        if config.command is not None:
            if config.image is None and "image" not in bad:
                add(
                    f"{path}.command",
                    _shown(config.command),
                    "a command only with image",
                    "add image, or remove command",
                )
            elif workload:
                add(
                    f"{path}.command",
                    _shown(config.command),
                    "no command with workload: the built-in workload has its own",
                    "remove command, or remove workload to run the image's own command",
                )
            elif not config.command or not config.command[0].strip():
                add(
                    f"{path}.command",
                    _shown(config.command),
                    "a list of program and arguments",
                    "name the program, or remove command",
                )
        if own_command:
            for name in ("profile", "scenarios", "batch_sizes", "precisions", "channels_last", "compile", "seed"):
                if getattr(config, name) is not None:
                    add(
                        f"{path}.{name}",
                        _shown(getattr(config, name)),
                        f"{name} only with the built-in workload",
                        "an image alone runs its own command: pass it in command or env, or add workload",
                    )

        profile = config.profile
        if profile is not None and profile not in PROFILES:
            add(
                f"{path}.profile",
                _shown(profile),
                _one_of(PROFILES),
                _did_you_mean(profile, PROFILES, "choose one of them"),
            )
        for name, values, allowed, what in (
            ("scenarios", config.scenarios, SCENARIOS, "scenario"),
            ("precisions", config.precisions, PRECISIONS, "precision"),
        ):
            if values is not None:
                self._words(values, allowed, f"{path}.{name}", what)
                if not values:
                    add(
                        f"{path}.{name}",
                        "an empty list",
                        _one_of(allowed),
                        f"name a {what}, or remove {name} for the profile's own",
                    )
        if workload and "resnet50" not in workload and config.scenarios:
            add(
                f"{path}.scenarios",
                _shown(config.scenarios),
                "scenarios only with resnet50",
                "remove scenarios, or add resnet50 to workload",
            )
        self._batch_sizes(config.batch_sizes, f"{path}.batch_sizes")
        self._range(config.repeats, f"{path}.repeats", 1, MAX_REPEATS, "runs")
        self._range(config.timeout_minutes, f"{path}.timeout_minutes", 0.02, MAX_TIMEOUT_MINUTES, "minutes")
        self._range(config.seed, f"{path}.seed", 0, 2**32 - 1, "")
        code = self._code(config.code, f"{path}.code")

        if profile is None:
            slow = ladder is not None and all(rung.is_free or rung.tier == "cpu" for rung in ladder)
            profile = "standard-cpu" if slow else "standard"
        return (
            Benchmark(
                workload=() if own_command else tuple(workload or BENCHMARKS),
                image=config.image,
                command=tuple(config.command or ()),
                env=env,
                profile=profile,
                scenarios=tuple(config.scenarios or ()),
                batch_sizes=tuple(config.batch_sizes or ()),
                precisions=tuple(config.precisions or ()),
                channels_last=bool(config.channels_last),
                compile=bool(config.compile),
                seed=config.seed or 0,
                repeats=1 if config.repeats is None else config.repeats,
                timeout_minutes=DEFAULT_TIMEOUT_MINUTES if config.timeout_minutes is None else config.timeout_minutes,
                code=code,
            ),
            references,
        )

    def _env(self, raw: Mapping[str, object], path: str) -> tuple[dict[str, str | SecretRef], dict[str, str]]:
        """Environment variables, and the config keys they refer to (with the path of the first reference)."""
        env: dict[str, str | SecretRef] = {}
        references: dict[str, str] = {}
        add = self.mistakes.add
        for name, value in raw.items():
            where = f"{path}.{_key(name)}"
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                add(where, "a bad name", "letters, digits and _, not a digit first", "rename the variable")
            elif name.upper().startswith("GPUBENCH_"):
                add(
                    where,
                    "a reserved name",
                    "names that don't begin with GPUBENCH_",
                    "rename the variable: gpubench sets these itself",
                )
            if isinstance(value, str):
                self._env_text(name, value, where)
                env[name] = value
            elif _is_secure(value):
                add(
                    where,
                    "encrypted in place",
                    "a text or {secret: <config key>}",
                    f"give it its own key: `pulumi config set --secret {PROJECT}:{name}`, and {{secret: {name}}} here",
                )
            elif isinstance(value, Mapping) and set(value) == {"secret"} and isinstance(value["secret"], str):
                secret = value["secret"].removeprefix(f"{PROJECT}:")
                if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", secret) or looks_like_credential(secret):
                    add(
                        f"{where}.secret",
                        _hidden(secret),
                        "the name of a config key, not the secret itself",
                        f"`pulumi config set --secret {PROJECT}:{name}`, and {{secret: {name}}} here",
                    )
                elif secret in KNOWN_KEYS:
                    add(
                        f"{where}.secret",
                        _shown(secret),
                        "a config key of its own",
                        f"{PROJECT}:{secret} is a setting; choose another name",
                    )
                else:
                    references.setdefault(secret, where)
                    env[name] = SecretRef(secret)
            elif isinstance(value, Mapping):
                add(where, _kind(value), "a text or {secret: <config key>}", f"write {{secret: {_key(name)}}}")
            else:
                mend = f'quote it: "{_shown(value)}"' if isinstance(value, bool | int | float) else "write one text"
                add(where, _hidden(value), "a text or {secret: <config key>}", mend)
        return env, references

    def _env_text(self, name: str, value: str, where: str) -> None:
        is_path = value.startswith("/") and "\n" not in value
        if (names_a_secret(name) and value and not is_path) or looks_like_credential(value):
            safe = name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and not looks_like_credential(name) else "NAME"
            self.mistakes.add(
                where,
                "a secret in clear (not shown)",
                "{secret: <config key>}",
                f"`pulumi config set --secret {PROJECT}:{safe}`, and {{secret: {safe}}} here; "
                "change the secret if the file was ever shared",
            )

    def _image(self, image: str, path: str) -> None:
        add = self.mistakes.add
        name, _, digest = image.partition("@")
        last = name.rsplit("/", 1)[-1]
        tag = last.partition(":")[2] if ":" in last else ""
        repository = name[: -len(tag) - 1] if tag else name
        login = bool(digest) and ":" in name and not digest.startswith("sha256:")
        if looks_like_credential(image) or "://" in image or login:
            add(
                path,
                "an image with a login (not shown)" if login else _shown(image),
                "registry/name:tag or registry/name@sha256:...",
                "write it without a scheme and without a login",
            )
            return
        component = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
        registry = r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?"
        if not re.fullmatch(rf"{registry}{component}(?:/{component})*", repository):
            lower = "; repository names are lower-case" if repository != repository.lower() else ""
            add(path, _shown(image), "registry/name:tag or registry/name@sha256:...", "mend the image's name" + lower)
            return
        if digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            add(
                path,
                _shown(image),
                "a digest sha256: and 64 hex digits",
                "copy the whole digest, as in `docker inspect --format '{{.RepoDigests}}' <image>`",
            )
        elif tag and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag):
            add(path, _shown(image), "a tag of letters, digits, _ . -", "mend the tag")
        elif not tag and not digest:
            add(
                path,
                _shown(image),
                "an image with a tag or a digest",
                f"write {repository}:<tag>, or better {repository}@sha256:<digest>",
            )
        elif tag == "latest" and not digest:
            add(
                path,
                _shown(image),
                "a tag that stays, or a digest",
                "latest names another image tomorrow, so results could not be compared: write a version or a digest",
            )

    def _code(self, config: _CodeConfig | None, path: str) -> Code | None:
        if config is None:
            return None
        add = self.mistakes.add
        if not config.repository:
            add(
                f"{path}.repository",
                _shown(config.repository),
                "the address of a git repository",
                "add repository: https://...",
            )
        elif looks_like_credential(config.repository) or (
            re.search(r"://[^/\s]*@", config.repository) and not config.repository.startswith("ssh://")
        ):
            add(
                f"{path}.repository",
                "an address with a login (not shown)",
                "an address without a login",
                "write https://host/owner/name",
            )
        elif not re.fullmatch(r"(?:https://|ssh://|git@)\S+", config.repository):
            add(
                f"{path}.repository",
                _shown(config.repository),
                "https://, ssh:// or git@ address",
                "write https://host/owner/name",
            )
        if not config.commit:
            add(
                f"{path}.commit",
                _shown(config.commit),
                "40 hex digits",
                "add the commit that `git rev-parse HEAD` prints",
            )
        elif not re.fullmatch(r"[0-9a-f]{40}", config.commit):
            short = bool(re.fullmatch(r"[0-9a-fA-F]{4,40}", config.commit))
            mend = "write the whole commit in lower case" if short else "a branch or tag moves: write the commit"
            add(
                f"{path}.commit",
                _shown(config.commit),
                "40 hex digits in lower case",
                f"{mend}, as `git rev-parse HEAD` prints it",
            )
        return Code(config.repository or "", config.commit or "")

    def _words(self, values: list[str], allowed: tuple[str, ...], path: str, what: str) -> None:
        for index, value in enumerate(values):
            where = f"{path}[{index}]"
            if value not in allowed:
                self.mistakes.add(
                    where, _shown(value), _one_of(allowed), _did_you_mean(value, allowed, f"choose a {what} of these")
                )
            elif value in values[:index]:
                self.mistakes.add(where, f"{_shown(value)} again", f"each {what} once", "remove one of them")

    def _batch_sizes(self, sizes: list[int] | None, path: str) -> None:
        if sizes is None:
            return
        if not sizes:
            self.mistakes.add(
                path,
                "an empty list",
                f"whole numbers from 1 to {MAX_BATCH_SIZE}",
                "name one, or remove batch_sizes for the profile's own",
            )
        for index, size in enumerate(sizes):
            self._range(size, f"{path}[{index}]", 1, MAX_BATCH_SIZE, "samples")
            if size in sizes[:index]:
                self.mistakes.add(f"{path}[{index}]", f"{size} again", "each batch size once", "remove one of them")

    def _range(self, value: float | None, path: str, low: float, high: float, unit: str) -> None:
        if value is None or (math.isfinite(value) and low <= value <= high):
            return
        of = f" {unit}" if unit else ""
        self.mistakes.add(path, _shown(value), f"{low:g} to {high:,}{of}", "write a number in that range")

    # -- the smaller keys

    def _results(self, parsed: Mapping[str, object]) -> ResultsStore:
        fallback = ResultsStore("folder", DEFAULT_RESULTS, path=DEFAULT_RESULTS)
        if "results" not in parsed or parsed["results"] is _BAD:
            return fallback
        path, value = f"{PROJECT}:results", parsed["results"]
        allowed = "a folder, gs://bucket/prefix or s3://bucket/prefix"
        if not isinstance(value, str):
            self.mistakes.add(path, _shown(value), allowed, "write one text")
            return fallback
        if not value.strip():
            self.mistakes.add(
                path, "an empty text", allowed, f"name a folder, or remove the key for {DEFAULT_RESULTS}/"
            )
            return fallback
        scheme, found, rest = value.partition("://")
        if not found:
            near = re.fullmatch(r"(gs|s3):/?([^/].*)", value)
            if near:
                self.mistakes.add(path, _shown(value), allowed, f"write {near[1]}://{_key(near[2])}")
            elif "\0" in value or "\n" in value:
                self.mistakes.add(path, "a text with line breaks", allowed, "write it in one line")
            return ResultsStore("folder", value, path=value)
        if scheme not in ("gs", "s3"):
            mend = (
                "for a folder write its path alone"
                if scheme == "file"
                else _did_you_mean(scheme, ("gs", "s3"), "use gs:// or s3://")
            )
            self.mistakes.add(path, _shown(value), allowed, mend)
            return fallback
        bucket, _, prefix = rest.partition("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", bucket) or ".." in bucket:
            self.mistakes.add(
                path,
                _shown(value),
                "a bucket name of 3 to 63 lower-case letters, digits, . and -",
                "mend the bucket's name",
            )
        elif any(part in ("", ".", "..") for part in prefix.strip("/").split("/")) and prefix.strip("/"):
            self.mistakes.add(path, _shown(value), "a prefix without empty parts, . and ..", "mend the prefix")
        return ResultsStore(scheme, value.rstrip("/"), bucket=bucket, prefix=prefix.strip("/"))

    def _budget(self, parsed: Mapping[str, object]) -> Budget:
        path = f"{PROJECT}:budget"
        raw = parsed.get("budget", {})
        if raw is _BAD:
            return Budget()
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            self.mistakes.add(
                path, _shown(raw), "a mapping with usd and hours", f"say of what: {{usd: {raw}}} or {{hours: {raw}}}"
            )
            return Budget()
        config, bad = self._model(_BudgetConfig, raw, path)
        if "budget" in parsed and isinstance(raw, Mapping) and not raw:
            self.mistakes.add(
                path, "an empty mapping", "usd and hours", "name one of them, or remove the key for the defaults"
            )
        for name, value, high in (("usd", config.usd, MAX_BUDGET_USD), ("hours", config.hours, MAX_BUDGET_HOURS)):
            if name in bad or value is None:
                continue
            unit = "USD" if name == "usd" else "hours"
            if not math.isfinite(value) or value <= 0:
                self.mistakes.add(
                    f"{path}.{name}",
                    _shown(value),
                    f"more than 0, up to {high:,} {unit}",
                    "a budget covers the whole walk: write what it may cost at most",
                )
            elif value > high:
                self.mistakes.add(
                    f"{path}.{name}",
                    _shown(value),
                    f"up to {high:,} {unit}",
                    "no walk needs that much: is the number in the right unit?",
                )
        return Budget(
            usd=DEFAULT_BUDGET_USD if config.usd is None else config.usd,
            hours=DEFAULT_BUDGET_HOURS if config.hours is None else config.hours,
        )

    def _labels(self, parsed: Mapping[str, object]) -> dict[str, str]:
        path, raw = f"{PROJECT}:labels", parsed.get("labels", {})
        if raw is _BAD:
            return {}
        if not isinstance(raw, Mapping):
            self.mistakes.add(path, _shown(raw), "a mapping of names to texts", "write `team: vision` under it")
            return {}
        add = self.mistakes.add
        labels: dict[str, str] = {}
        if len(raw) > MAX_LABELS:
            add(
                path,
                _shown(raw),
                f"at most {MAX_LABELS} labels",
                "AWS allows 50 tags, gpubench's own among them: remove some",
            )
        for key, value in raw.items():
            name, where = str(key), f"{path}.{_key(key)}"
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
                add(
                    where,
                    "a bad name",
                    "a-z first, then a-z 0-9 _ -, at most 63",
                    "rename the label (Google Cloud's rule)",
                )
            elif name.startswith(("gpubench-", "goog-", "goog_", "aws-")) or name == "gpubench":
                add(where, "a reserved name", "names that don't begin with gpubench-, goog or aws", "rename the label")
            if not isinstance(value, str):
                add(where, _shown(value), "a text", 'quote it: "..."')
            elif not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
                add(
                    where,
                    _shown(value),
                    "a-z 0-9 _ -, at most 63",
                    "write it in lower case without spaces (Google Cloud's rule)",
                )
            else:
                labels[name] = value
        return labels

    def _access(self, parsed: Mapping[str, object]) -> Access:
        value = parsed.get("access", Access.PRIVATE)
        if isinstance(value, str) and value in tuple(Access):
            return Access(value)
        if value is not _BAD:
            names = tuple(Access)
            mend = _did_you_mean(value, names, "choose one of them") if isinstance(value, str) else "choose one of them"
            self.mistakes.add(f"{PROJECT}:access", _shown(value), _one_of(names), mend)
        return Access.PRIVATE

    def _rung(self, parsed: Mapping[str, object], ladder: list[Rung] | None) -> str | None:
        value = parsed.get("rung")
        if "rung" not in parsed or value is _BAD:
            return None
        path = f"{PROJECT}:rung"
        if not isinstance(value, str) or not value:
            self.mistakes.add(
                path, _shown(value), "the id of a rung, a text", "copy it from `gpubench plan`, or remove the key"
            )
            return None
        if ladder is not None:
            ids = [rung.id for rung in ladder]
            if value not in ids:
                self.mistakes.add(
                    path,
                    _shown(value),
                    _some(ids),
                    _did_you_mean(
                        value, ids, "the pinned rung is not on the ladder: pin one of these, or remove the key"
                    ),
                )
        return value

    def _other_keys(self, references: Mapping[str, str]) -> None:
        """Keys that are no settings: secrets that the environment refers to, or mistakes."""
        add = self.mistakes.add
        for key, value in self.values.items():
            namespace, colon, name = key.partition(":")
            if not colon:
                add(
                    _key(key),
                    "a key without a namespace",
                    f"keys such as {PROJECT}:ladder",
                    f"write {PROJECT}:{_key(closest(key, KNOWN_KEYS) or key)}",
                )
                continue
            if namespace != PROJECT:
                if name in KNOWN_KEYS and closest(namespace, [PROJECT]):
                    add(_key(key), "an unknown namespace", f"{PROJECT}:", f"did you mean {PROJECT}:{name}?")
                continue
            if name in KNOWN_KEYS:
                continue
            where = _key(key)
            secret = key in self.secret_keys or _is_secure(value)
            if name in references:
                if not secret:
                    add(
                        where,
                        f"in clear: {_hidden(value)}",
                        "a secret",
                        f"`pulumi config set --secret {where}` (and change the secret if the file was ever shared)",
                    )
                continue
            if secret or names_a_secret(name):
                add(
                    where,
                    "a secret that nothing refers to" if secret else "unknown key (value not shown)",
                    f"keys {_one_of(KNOWN_KEYS)}, and secrets that benchmark.env refers to",
                    _did_you_mean(
                        name,
                        KNOWN_KEYS,
                        f"add {{secret: {_key(name)}}} to {PROJECT}:benchmark.env, or `pulumi config rm {where}`",
                    ),
                )
                continue
            add(
                where,
                "unknown key (value not shown)",
                f"keys {_one_of(KNOWN_KEYS)}",
                _did_you_mean(name, KNOWN_KEYS, f"remove it with `pulumi config rm {where}`"),
            )
        for name, where in references.items():
            if f"{PROJECT}:{name}" not in self.values:
                kept = [
                    k.partition(":")[2]
                    for k in self.values
                    if k.startswith(f"{PROJECT}:") and k.partition(":")[2] not in KNOWN_KEYS
                ]
                add(
                    f"{where}.secret",
                    f"{PROJECT}:{name} is not set",
                    "a secret of this stack",
                    _did_you_mean(name, kept, f"`pulumi config set --secret {PROJECT}:{name}`"),
                )

    def _credentials(self, parsed: Mapping[str, object]) -> None:
        """Anything, anywhere in our settings, that looks like a credential is refused, whatever else it may be."""
        told = {mistake.path for mistake in self.mistakes.found}
        for name, value in parsed.items():
            for where, text in _texts(value, f"{PROJECT}:{name}"):
                if looks_like_credential(text) and where not in told and f"{where}.secret" not in told:
                    self.mistakes.add(
                        where,
                        "a secret in clear (not shown)",
                        "no credentials in settings",
                        f"`pulumi config set --secret {PROJECT}:NAME`, "
                        f"and env: {{NAME: {{secret: NAME}}}} in {PROJECT}:benchmark",
                    )


class _Bad:
    """Marks a value that has been told as a mistake already."""


_BAD = _Bad()


def _keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(model.model_fields)


def _some(names: list[str], most: int = 12) -> str:
    return _one_of(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def _texts(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            if looks_like_credential(str(key)):
                yield f"{path}.(not shown)", str(key)
            yield from _texts(child, f"{path}.{_key(key)}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _texts(child, f"{path}[{index}]")


def _number_in(text: str, unit: str) -> float | None:
    """The number that a text such as "60m" or "$5" means in a unit, if it can be told."""
    found = re.fullmatch(r"\s*(\$?)\s*(\d+(?:\.\d+)?)\s*([A-Za-z$]*)\s*", text)
    if not found:
        return None
    written = (found[3] or found[1]).lower()
    factor = _UNIT_FACTORS.get(unit, {}).get(written, None) if written else 1
    return float(found[2]) * factor if factor else None


# ------------------------------------------------------------------------------- a ladder entry against the catalogue


class _EntryChecker:
    """Checks one entry of a ladder, by itself and against the catalogue."""

    def __init__(self, reader: _Reader, raw: object, path: str) -> None:
        self.reader, self.path = reader, path
        self.add: Callable[[str, str, str, str], None] = reader.mistakes.add
        self.before = len(reader.mistakes)
        self.config, self.bad = reader._model(_EntryConfig, raw, path)
        self.is_mapping = isinstance(raw, Mapping)

    def check(self) -> LadderEntry | None:
        if not self.is_mapping:
            return None
        config = self.config
        surface = self._surface()
        self._range_checks()
        tiers = self._plural("tier", config.tier, config.tiers)
        regions = self._plural("region", config.region, config.regions)
        zones = self._plural("zone", config.zone, config.zones)
        purchases = self._purchase_names(self._plural("purchase", config.purchase, config.purchases))
        machine_types = self._plural("machine_type", config.machine_type, config.machine_types)
        if surface is None:
            self._tier_names(tiers, None)
            return None
        if surface == Surface.LOCAL:
            return self._local(tiers, purchases)
        return self._cloud(surface, tiers, regions, zones, purchases, machine_types)

    def _done(self, entry: LadderEntry) -> LadderEntry | None:
        return entry if len(self.reader.mistakes) == self.before else None

    def _surface(self) -> Surface | None:
        value = self.config.surface
        names = tuple(Surface)
        if "surface" in self.bad:
            return None
        if value is None:
            self.add(f"{self.path}.surface", "missing", _one_of(names), "say where it runs, as in surface: local")
            return None
        if value not in names:
            self.add(
                f"{self.path}.surface", _shown(value), _one_of(names), _did_you_mean(value, names, "choose one of them")
            )
            return None
        return Surface(value)

    def _range_checks(self) -> None:
        config = self.config
        if config.max_hours is not None and not 0 < config.max_hours <= FLEX_START_HOURS[1]:
            self.add(
                f"{self.path}.max_hours",
                _shown(config.max_hours),
                "more than 0, up to 168 hours",
                "write hours in that range",
            )
        if config.count is not None and not (math.isfinite(config.count) and config.count > 0):
            self.add(
                f"{self.path}.count", _shown(config.count), "a number of GPUs, more than 0", "remove count for one GPU"
            )

    def _plural(self, name: str, single: str | None, several: list[str] | None) -> tuple[tuple[str, str], ...] | None:
        """(path, value) of each value of a key that has a singular and a plural; None if it isn't given (or is bad)."""
        plural = _PLURALS[name]
        if single is not None and several is not None:
            self.add(
                f"{self.path}.{plural}", f"{name} and {plural} together", f"one of {name}, {plural}", f"keep {plural}"
            )
        if several is not None:
            if not several:
                self.add(
                    f"{self.path}.{plural}",
                    "an empty list",
                    f"at least one {name.replace('_', ' ')}",
                    f"name one, or remove {plural}",
                )
            for index, value in enumerate(several):
                if value in several[:index]:
                    self.add(
                        f"{self.path}.{plural}[{index}]",
                        f"{_shown(value)} again",
                        f"each {name.replace('_', ' ')} once",
                        "remove one of them",
                    )
            return tuple((f"{self.path}.{plural}[{index}]", value) for index, value in enumerate(several))
        return None if single is None else ((f"{self.path}.{name}", single),)

    def _given(self, name: str) -> bool:
        return name in self.bad or _PLURALS.get(name, name) in self.bad

    def _purchase_names(self, found: tuple[tuple[str, str], ...] | None) -> tuple[tuple[str, Purchase], ...] | None:
        if found is None:
            return None
        names = tuple(Purchase)
        known: list[tuple[str, Purchase]] = []
        for path, value in found:
            if value in names:
                known.append((path, Purchase(value)))
                continue
            alias = {
                "preemptible": "spot",
                "ondemand": "on-demand",
                "standard": "on-demand",
                "flex": "flex-start",
                "dws": "flex-start",
                "reservation": "reserved",
            }.get(value.lower())
            self.add(
                path,
                _shown(value),
                _one_of(names),
                f"did you mean {alias}?" if alias else _did_you_mean(value, names, "choose one of them"),
            )
        return tuple(known)

    def _tier_names(self, found: tuple[tuple[str, str], ...] | None, surface: Surface | None) -> list[tuple[str, str]]:
        """Tiers that exist; unknown ones are told."""
        known: list[tuple[str, str]] = []
        names = catalog.tier_names()
        for path, value in found or ():
            if value == ANY_TIER and (surface is None or surface == Surface.LOCAL):
                known.append((path, value))
            elif value == ANY_TIER and surface is not None:
                self.add(
                    path,
                    _shown(value),
                    _one_of(_tiers_on(surface)),
                    f"{ANY_TIER} means what this machine has: only on surface local",
                )
            elif value in names:
                known.append((path, value))
            else:
                allowed = _tiers_on(surface) if surface and surface != Surface.LOCAL else (*names, ANY_TIER)
                by_machine = catalog.offers(surface=surface, machine_type=value) if surface else ()
                if by_machine:
                    mend = f"that is a machine type: write tier: {by_machine[0].tier}, machine_type: {value}"
                elif value.lower() in _TIER_ALIASES:
                    mend = f"did you mean {_TIER_ALIASES[value.lower()]}?"
                else:
                    mend = _did_you_mean(value, names, "see `gpubench tiers`")
                self.add(path, _shown(value), _one_of(allowed), mend)
        return known

    def _local(
        self, tiers: tuple[tuple[str, str], ...] | None, purchases: tuple[tuple[str, Purchase], ...] | None
    ) -> LadderEntry | None:
        config = self.config
        for name in (
            "project",
            "account",
            "region",
            "regions",
            "zone",
            "zones",
            "machine_type",
            "machine_types",
            "reservation",
        ):
            value = getattr(config, name)
            if value is not None:
                self.add(
                    f"{self.path}.{name}",
                    _shown(value),
                    f"no {name} on surface local",
                    "remove it: local is this machine",
                )
        for path, purchase in purchases or ():
            if purchase != Purchase.ON_DEMAND:
                self.add(
                    path,
                    _shown(str(purchase)),
                    "no purchase on surface local",
                    "remove it: this machine is yours already",
                )
        known = self._tier_names(tiers, Surface.LOCAL)
        names = tuple(name for _, name in known) or (ANY_TIER,)
        self._count_without_gpus(names)
        count = config.count
        if (
            count is not None
            and any(t not in NO_GPU_TIERS for t in names)
            and count != int(count if math.isfinite(count) else 0)
        ):
            self.add(
                f"{self.path}.count", _shown(count), "a whole number of GPUs on surface local", "write 1, 2, 4 ..."
            )
        return self._done(LadderEntry(surface=Surface.LOCAL, tiers=names, count=count, max_hours=config.max_hours))

    def _count_without_gpus(self, names: tuple[str, ...]) -> None:
        if self.config.count is not None and names and all(name in NO_GPU_TIERS for name in names):
            which = " and ".join(dict.fromkeys(names))
            self.add(
                f"{self.path}.count",
                _shown(self.config.count),
                f"no count with tier {which}",
                "remove count: it is a number of GPUs",
            )

    def _cloud(
        self,
        surface: Surface,
        tiers: tuple[tuple[str, str], ...] | None,
        regions: tuple[tuple[str, str], ...] | None,
        zones: tuple[tuple[str, str], ...] | None,
        purchases: tuple[tuple[str, Purchase], ...] | None,
        machine_types: tuple[tuple[str, str], ...] | None,
    ) -> LadderEntry | None:
        project = self._project(surface)
        if tiers is None and not self._given("tier"):
            sold = _tiers_on(surface)
            self.add(
                f"{self.path}.tier",
                "missing",
                _one_of(sold),
                f"say which accelerator, as in tier: {sold[-1] if len(sold) < 2 else sold[1]}",
            )
        known_tiers = self._sold_tiers(surface, self._tier_names(tiers, surface))
        known_regions = self._regions(surface, regions, zones)
        names = tuple(name for _, name in known_tiers)
        self._count_without_gpus(names)
        shapes = self._machine_types(surface, known_tiers, machine_types)
        count = self._count(surface, known_tiers, shapes)
        self._region_sells(surface, known_tiers, known_regions, count)
        self._shapes_in_regions(surface, known_tiers, known_regions, count, machine_types)
        self._purchases(surface, known_tiers, known_regions, count, shapes, purchases)
        self._zones(surface, known_tiers, known_regions, zones, count, shapes)
        self._reservation(surface, purchases)
        return self._done(
            LadderEntry(
                surface=surface,
                project=project,
                regions=tuple(name for _, name in known_regions),
                zones=tuple(name for _, name in zones or ()),
                tiers=names,
                count=count,
                purchases=tuple(name for _, name in purchases or ()),
                machine_types=shapes,
                reservation=self.config.reservation,
                max_hours=self.config.max_hours,
            )
        )

    def _project(self, surface: Surface) -> str | None:
        config = self.config
        if surface == Surface.ECS:
            if config.project is not None:
                self.add(
                    f"{self.path}.project",
                    _shown(config.project),
                    "account on surface ecs",
                    "write account: and the 12 digits",
                )
            if config.account is not None and not re.fullmatch(r"\d{12}", config.account):
                self.add(
                    f"{self.path}.account",
                    _shown(config.account),
                    "an AWS account id: 12 digits, quoted",
                    'write it as text, as in account: "012345678901"',
                )
            return config.account
        if config.account is not None:
            self.add(
                f"{self.path}.account",
                _shown(config.account),
                f"project on surface {surface}",
                "write project: and the Google Cloud project's id",
            )
        project = config.project
        if project is None:
            project = self.reader.config_text("gcp:project")
            if project is None and "project" not in self.bad:
                self.add(
                    f"{self.path}.project",
                    "missing",
                    "a Google Cloud project id",
                    "add project:, or set it for the whole stack: `pulumi config set gcp:project <id>`",
                )
        elif not re.fullmatch(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", project):
            self.add(
                f"{self.path}.project",
                _shown(project),
                "a Google Cloud project id: 6 to 30 of a-z 0-9 -, a letter first",
                "write the id (`gcloud projects list` shows it), not the name or the number",
            )
        return project

    def _sold_tiers(self, surface: Surface, known: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Tiers that the surface sells; the others are told, with the surfaces that sell them."""
        sold: list[tuple[str, str]] = []
        on_surface = _tiers_on(surface)
        for path, name in known:
            if name in on_surface:
                sold.append((path, name))
                continue
            where = [s for s in Surface if catalog.offers(surface=s, tier=name)]
            mend = f"{name} is sold on {_one_of(where)}" if where else f"no surface sells {name}"
            self.add(path, f"{_shown(name)} is not sold on {surface}", _one_of(on_surface), mend)
        return sold

    def _regions(
        self, surface: Surface, found: tuple[tuple[str, str], ...] | None, zones: tuple[tuple[str, str], ...] | None
    ) -> list[tuple[str, str]]:
        allowed = catalog.regions(surface)
        if found is None:
            key = "aws:region" if surface == Surface.ECS else "gcp:region"
            default = self.reader.config_text(key)
            if default is not None:
                found = ((key, default),)
            elif self._given("region"):
                return []
            else:
                mend = f"add region:, or set it for the whole stack: `pulumi config set {key} <region>`"
                for _, zone in zones or ():
                    region = catalog.region_of_zone(surface, zone)
                    mend = f"write region: {region}" if region else mend
                self.add(f"{self.path}.region", "missing", _some(list(allowed)), mend)
                return []
        known: list[tuple[str, str]] = []
        for path, name in found:
            if name in allowed:
                known.append((path, name))
                continue
            region = catalog.region_of_zone(surface, name) or (name[:-1] if name[:-1] in allowed else None)
            elsewhere = [s for s in Surface if name in catalog.regions(s)]
            if region:
                mend = f"that is a zone: write region: {region}" + (
                    "" if surface == Surface.CLOUD_RUN else f", zones: [{name}]"
                )
            elif elsewhere:
                mend = f"{name} is a region of {_one_of(elsewhere)}: wrong surface?"
            else:
                mend = _did_you_mean(name, allowed, "see `gpubench tiers --surface " + surface + "`")
            self.add(path, _shown(name), _some(list(allowed)), mend)
        return known

    def _machine_types(
        self, surface: Surface, tiers: list[tuple[str, str]], found: tuple[tuple[str, str], ...] | None
    ) -> tuple[str, ...]:
        if found is None:
            return ()
        good: list[str] = []
        names = [name for _, name in tiers]
        for path, name in found:
            offers = catalog.offers(surface=surface, machine_type=name)
            if not offers:
                of_tiers = list(
                    dict.fromkeys(o.machine_type for t in names for o in catalog.offers(surface=surface, tier=t))
                )
                everywhere = [s for s in Surface if catalog.offers(surface=s, machine_type=name)]
                if everywhere:
                    mend = f"it is sold on {_one_of(everywhere)}"
                else:
                    mend = _did_you_mean(
                        name,
                        of_tiers or {o.machine_type for o in catalog.offers(surface=surface)},
                        f"see `gpubench tiers --surface {surface}`",
                    )
                self.add(path, _shown(name), _some(of_tiers) if of_tiers else f"machine types of {surface}", mend)
            elif names and not any(o.tier in names for o in offers):
                own = sorted({o.tier for o in offers})
                of_tiers = list(
                    dict.fromkeys(o.machine_type for t in names for o in catalog.offers(surface=surface, tier=t))
                )
                note = (
                    "Fargate has no GPU at all" if name.startswith("fargate") else f"{name} brings tier {_one_of(own)}"
                )
                self.add(path, f"{_shown(name)} has no {_one_of(names)}", _some(of_tiers), note)
            else:
                good.append(name)
        if len(tiers) > 1 and good and len(good) == len(found):
            for path, name in tiers:
                if not any(catalog.offers(surface=surface, tier=name, machine_type=shape) for shape in good):
                    self.add(
                        path,
                        f"{_shown(name)} has none of the machine types of this entry",
                        "a machine type for each tier, or none at all",
                        f"add one of {name}, or give it an entry of its own",
                    )
        return tuple(good)

    def _count(self, surface: Surface, tiers: list[tuple[str, str]], shapes: tuple[str, ...]) -> float | None:
        """The count as written, or the count that the machine types bring; checked against what is sold."""
        written = self.config.count
        if written is None:
            brought = [
                {o.gpus for o in catalog.offers(surface=surface, machine_type=shape) if o.tier in {n for _, n in tiers}}
                for shape in shapes
            ]
            common = set.intersection(*brought) if brought else set()
            if brought and not common:
                numbers = sorted({n for numbers in brought for n in numbers})
                self.add(
                    f"{self.path}.machine_types",
                    _shown(list(shapes)),
                    "machine types with the same number of GPUs",
                    f"they have {_one_of(f'{n:g}' for n in numbers)}: give each count an entry of its own",
                )
                return None
            if common and not any(name in NO_GPU_TIERS for _, name in tiers):
                return 1.0 if 1.0 in common else min(common)
            return None
        if not (math.isfinite(written) and written > 0):
            return None
        for path, name in tiers:
            if name in NO_GPU_TIERS:
                continue
            offers = [o for o in catalog.offers(surface=surface, tier=name) if not shapes or o.machine_type in shapes]
            sold = sorted({o.gpus for o in offers})
            if sold and written not in sold:
                what = f"of {_one_of(shapes)}" if shapes else f"with {name} on {surface}"
                near = min(sold, key=lambda n: abs(n - written))
                self.add(
                    f"{self.path}.count",
                    f"{written:g} GPUs are not sold {what}",
                    _one_of(f"{n:g}" for n in sold),
                    f"write count: {near:g}" if path else "",
                )
                return None
        return written

    def _region_sells(
        self, surface: Surface, tiers: list[tuple[str, str]], regions: list[tuple[str, str]], count: float | None
    ) -> None:
        for path, region in regions:
            for _, tier in tiers:
                wanted = count_of(tier, count)
                if catalog.offers(surface=surface, tier=tier, region=region, count=wanted):
                    continue
                selling = sorted(
                    {r for o in catalog.offers(surface=surface, tier=tier, count=wanted) for r in o.regions}
                )
                if not selling:
                    counts = sorted({o.gpus for o in catalog.offers(surface=surface, tier=tier)})
                    if self.config.count is None:
                        self.add(
                            f"{self.path}.count",
                            f"missing, and one {tier} alone is not sold on {surface}",
                            _one_of(f"{n:g}" for n in counts),
                            f"write count: {counts[0]:g}",
                        )
                    continue
                self.add(
                    path,
                    f"{tier}{'' if wanted in (0, 1) else f' x {wanted:g}'} is not sold on {surface} in {region}",
                    _some(selling),
                    "choose one of these" + (", or give each tier an entry of its own" if len(tiers) > 1 else ""),
                )

    def _purchases(
        self,
        surface: Surface,
        tiers: list[tuple[str, str]],
        regions: list[tuple[str, str]],
        count: float | None,
        shapes: tuple[str, ...],
        found: tuple[tuple[str, Purchase], ...] | None,
    ) -> None:
        for path, purchase in found or ():
            for _, tier in tiers:
                wanted = count_of(tier, count)
                offers = [
                    o
                    for o in catalog.offers(surface=surface, tier=tier, count=wanted)
                    if not shapes or o.machine_type in shapes
                ]
                refusing = [o for o in offers if purchase not in o.purchases]
                # Named machine types must all be sold so; otherwise it is enough that one shape is.
                if not refusing or (not shapes and len(refusing) < len(offers)):
                    self._purchase_in_regions(surface, tier, regions, wanted, shapes, path, purchase)
                    continue
                sold = [p for p in Purchase if all(p in o.purchases for o in offers)]
                which = _one_of(dict.fromkeys(o.machine_type for o in refusing))
                self.add(
                    path,
                    f"{which} ({tier}) is not sold {purchase} on {surface}",
                    _one_of(sold),
                    f"write purchase: {sold[0]}" if sold else "choose another tier",
                )
            if (
                purchase == Purchase.FLEX_START
                and self.config.max_hours is not None
                and self.config.max_hours < FLEX_START_HOURS[0]
            ):
                self.add(
                    f"{self.path}.max_hours",
                    _shown(self.config.max_hours),
                    "10 minutes to 7 days with flex-start",
                    "write max_hours: 0.5, or more",
                )

    def _purchase_in_regions(
        self,
        surface: Surface,
        tier: str,
        regions: list[tuple[str, str]],
        count: float,
        shapes: tuple[str, ...],
        path: str,
        purchase: Purchase,
    ) -> None:
        """A purchase may be sold in fewer regions than its tier."""
        for _, region in regions:
            here = catalog.offers(surface=surface, tier=tier, region=region, count=count)
            if here and not shapes and not any(purchase in o.purchases for o in here):
                sold = [p for p in Purchase if any(p in o.purchases for o in here)]
                self.add(
                    path, f"{tier} is not sold {purchase} in {region}", _one_of(sold), f"write purchase: {sold[0]}"
                )

    def _shapes_in_regions(
        self,
        surface: Surface,
        tiers: list[tuple[str, str]],
        regions: list[tuple[str, str]],
        count: float | None,
        found: tuple[tuple[str, str], ...] | None,
    ) -> None:
        """A shape may be sold in fewer regions than its tier."""
        for path, shape in found or ():
            for _, tier in tiers:
                if not catalog.offers(surface=surface, tier=tier, machine_type=shape):
                    continue
                for _, region in regions:
                    wanted = count_of(tier, count)
                    sold = catalog.offers(surface=surface, tier=tier, region=region, count=wanted)
                    here = catalog.offers(surface=surface, tier=tier, region=region)
                    if sold and not any(o.machine_type == shape for o in here):
                        others = _one_of(dict.fromkeys(o.machine_type for o in here))
                        self.add(path, f"{shape} is not sold in {region}", others, "choose another type or region")

    def _zones(
        self,
        surface: Surface,
        tiers: list[tuple[str, str]],
        regions: list[tuple[str, str]],
        found: tuple[tuple[str, str], ...] | None,
        count: float | None,
        shapes: tuple[str, ...],
    ) -> None:
        if found is None:
            return
        if surface == Surface.CLOUD_RUN:
            for path, zone in found:
                self.add(path, _shown(zone), "no zones on surface cloud-run", "remove it: Cloud Run runs in a region")
            return
        names = [name for _, name in regions]
        for path, zone in found:
            if surface == Surface.ECS and re.fullmatch(r"[a-z]{2}(?:-[a-z]+)+-\d[a-z]", zone):
                region = zone[:-1]
                ids = [z for r in ([region] if region in names else names) for z in catalog.zones(surface, r)]
                self.add(
                    path,
                    _shown(zone),
                    _some(ids),
                    "zone names differ from account to account: write the zone's id, "
                    "as `aws ec2 describe-availability-zones` shows it",
                )
                continue
            region_of = catalog.region_of_zone(surface, zone)
            in_regions = [z for name in names for z in catalog.zones(surface, name)]
            if region_of is None:
                # A region whose zones were not read can't be checked further than its name.
                if any(zone.startswith(f"{name}-") and not catalog.zones(surface, name) for name in names):
                    continue
                if names:
                    self.add(
                        path,
                        _shown(zone),
                        _some(in_regions),
                        _did_you_mean(zone, in_regions, f"see `gpubench tiers --surface {surface}`"),
                    )
                else:
                    everywhere = catalog.zones(surface)
                    if zone not in everywhere:
                        self.add(
                            path,
                            _shown(zone),
                            f"zones of {surface}",
                            _did_you_mean(zone, everywhere, f"see `gpubench tiers --surface {surface}`"),
                        )
                continue
            if names and region_of not in names:
                self.add(
                    path,
                    f"{_shown(zone)} is in {region_of}",
                    f"zones of {_one_of(names)}: {_some(in_regions)}",
                    f"add region {region_of}, or choose a zone of these",
                )
                continue
            for _, tier in tiers:
                offers = catalog.offers(surface=surface, tier=tier, region=region_of, count=count_of(tier, count))
                listed = sorted(
                    {z for o in offers if not shapes or o.machine_type in shapes for z in o.zones(region_of)}
                )
                if listed and zone not in listed:
                    self.add(path, f"{tier} is not sold in zone {zone}", _some(listed), "choose one of these zones")
        if len(names) > 1:
            covered = {catalog.region_of_zone(surface, zone) for _, zone in found}
            for path, name in regions:
                if name not in covered and None not in covered:
                    self.add(
                        path,
                        f"none of the zones is in {name}",
                        "regions that the zones are in",
                        "add a zone of it, or give it an entry of its own",
                    )

    def _reservation(self, surface: Surface, purchases: tuple[tuple[str, Purchase], ...] | None) -> None:
        reserved = any(purchase == Purchase.RESERVED for _, purchase in purchases or ())
        name = self.config.reservation
        if reserved and not name and "reservation" not in self.bad:
            what = (
                "the id of a Capacity Reservation (cr-...)" if surface == Surface.ECS else "the name of a reservation"
            )
            self.add(
                f"{self.path}.reservation",
                "missing" if name is None else "an empty text",
                what,
                "a reserved purchase uses a reservation that exists: name it",
            )
        elif name is not None and not reserved and not self._given("purchase"):
            self.add(
                f"{self.path}.reservation",
                _shown(name),
                "a reservation only with purchase: reserved",
                "write purchase: reserved, or remove reservation",
            )
        elif name and reserved and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,250}", name):
            self.add(
                f"{self.path}.reservation",
                _shown(name),
                "letters, digits and . _ / : -",
                "copy the reservation's name or id",
            )


_TIER_ALIASES = {
    "a100": "a100-40 or a100-80",
    "rtx6000": "rtx-pro-6000",
    "a10": "a10g",
    "gpu": "l4",
    "any-gpu": "l4",
    "v100-16": "v100",
    "h100-80": "h100",
    "none": "cpu",
}


def _tiers_on(surface: Surface) -> tuple[str, ...]:
    return tuple(name for name in catalog.tier_names() if catalog.offers(surface=surface, tier=name))
