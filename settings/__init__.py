"""What a stack asks for: the typed model of its config, for every surface.

``read_stack_file`` reads ``Pulumi.<stack>.yaml``; ``Settings.from_config`` makes frozen, typed settings of full config
keys and values, or raises ``SettingsError`` with every mistake of the file at once. pydantic checks shapes and types at
this edge and nowhere else; the words of the messages are our own, and no message ever shows a credential.

Keys (all under the project's name, ``gpubench:``): ladder, benchmark, results, budget, labels, access, placement,
google, aws, registry, rung. Any other ``gpubench:<name>`` must be a secret that ``gpubench:benchmark.env`` refers to
by ``{secret: <name>}``. Keys of other namespaces (``gcp:project``, ``aws:region``) belong to the providers and pass;
``gcp:project``, ``gcp:region`` and ``aws:region`` are the defaults of ``project`` and ``region`` in a ladder entry.
``docs/settings.md`` has every key.

Modules: ``model`` (what the program uses), ``stack_file`` and ``yaml_text`` (reading the file), ``reader`` (from config
to settings; one module for each large key: ``ladder`` with ``entry`` and ``sold``, ``benchmark`` with ``environment``,
``google``, ``amazon``, ``plain_keys`` for the rest), ``shapes`` (the pydantic edge), ``mistakes`` and ``credentials``
(what messages say and what they never show). Importing this package loads neither pydantic nor a YAML reader: each
comes when a file is read.
"""

from __future__ import annotations

from settings.credentials import looks_like_credential, names_a_secret
from settings.mistakes import Mistake, SettingsError
from settings.model import (
    AWS_NETWORKS,
    BENCHMARKS,
    BOOT_DISK_GB,
    DEFAULT_ATTEMPT_MINUTES,
    DEFAULT_BUDGET_HOURS,
    DEFAULT_BUDGET_USD,
    DEFAULT_RESULTS,
    DEFAULT_TIMEOUT_MINUTES,
    FLEX_START_HOURS,
    GOOGLE_SURFACES,
    KNOWN_KEYS,
    MAX_ATTEMPT_MINUTES,
    MAX_BATCH_SIZE,
    MAX_BUDGET_HOURS,
    MAX_BUDGET_USD,
    MAX_LABELS,
    MAX_QUOTA_LIMIT,
    MAX_REPEATS,
    MAX_TIMEOUT_MINUTES,
    MIN_JUSTIFICATION,
    PRECISIONS,
    PROFILES,
    PROJECT,
    SCENARIOS,
    VOLUME_GB,
    Access,
    Aws,
    Benchmark,
    Budget,
    Build,
    Code,
    Comparability,
    Google,
    Order,
    Placement,
    QuotaIncrease,
    ResultsStore,
    SecretRef,
    Settings,
)
from settings.stack_file import StackFile, read_stack_file

__all__ = [
    "AWS_NETWORKS",
    "BENCHMARKS",
    "BOOT_DISK_GB",
    "DEFAULT_ATTEMPT_MINUTES",
    "DEFAULT_BUDGET_HOURS",
    "DEFAULT_BUDGET_USD",
    "DEFAULT_RESULTS",
    "DEFAULT_TIMEOUT_MINUTES",
    "FLEX_START_HOURS",
    "GOOGLE_SURFACES",
    "KNOWN_KEYS",
    "MAX_ATTEMPT_MINUTES",
    "MAX_BATCH_SIZE",
    "MAX_BUDGET_HOURS",
    "MAX_BUDGET_USD",
    "MAX_LABELS",
    "MAX_QUOTA_LIMIT",
    "MAX_REPEATS",
    "MAX_TIMEOUT_MINUTES",
    "MIN_JUSTIFICATION",
    "PRECISIONS",
    "PROFILES",
    "PROJECT",
    "SCENARIOS",
    "VOLUME_GB",
    "Access",
    "Aws",
    "Benchmark",
    "Budget",
    "Build",
    "Code",
    "Comparability",
    "Google",
    "Mistake",
    "Order",
    "Placement",
    "QuotaIncrease",
    "ResultsStore",
    "SecretRef",
    "Settings",
    "SettingsError",
    "StackFile",
    "looks_like_credential",
    "names_a_secret",
    "read_stack_file",
]
