"""The settings that the program uses: frozen dataclasses and enums, their defaults and their limits.

Nothing is checked here: who makes these by hand answers for them, and ``Settings.from_config`` makes checked ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from placement.ladder import Rung, Surface

PROJECT = "gpubench"
KNOWN_KEYS = (
    "ladder",
    "benchmark",
    "results",
    "budget",
    "labels",
    "access",
    "placement",
    "google",
    "aws",
    "registry",
    "rung",
)
BENCHMARKS = ("resnet50", "kernels")
PROFILES = ("smoke", "standard-cpu", "standard", "full")
SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream")
PRECISIONS = ("fp32", "fp16", "bf16")

MAX_REPEATS = 100
MAX_BATCH_SIZE = 65536
MAX_TIMEOUT_MINUTES = 7 * 24 * 60  # Google Cloud's longest max-run-duration of flex-start, seven days
MAX_BUDGET_USD = 10_000
MAX_BUDGET_HOURS = 30 * 24
MAX_ATTEMPT_MINUTES = 7 * 24 * 60  # flex-start waits up to seven days (Google Cloud), nothing waits longer
MAX_LABELS = 40  # AWS allows 50 tags on a resource, Google Cloud 64 labels; gpubench adds its own
FLEX_START_HOURS = (10 / 60, 7 * 24)  # Google Cloud: 10 minutes to 7 days
GOOGLE_SURFACES = (Surface.GCE, Surface.GKE, Surface.CLOUD_RUN)
BOOT_DISK_GB = (50, 2000)  # the Deep Learning VM's image needs 50 GB (Google Cloud)
AWS_NETWORKS = ("nat", "endpoints")  # the ways out of gpubench's own network; the first unless another is named
VOLUME_GB = (30, 2000)  # the GPU-optimized ECS image has a root volume of 30 GB (AWS)
MAX_QUOTA_LIMIT = 10**15  # quotas of memory count bytes
MIN_JUSTIFICATION = 10  # characters

DEFAULT_TIMEOUT_MINUTES = 60.0
DEFAULT_BUDGET_USD = 20.0
DEFAULT_BUDGET_HOURS = 24.0
DEFAULT_ATTEMPT_MINUTES = 30.0
DEFAULT_RESULTS = "results"


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
class Build:
    """What ``image`` is built from: a folder (``context``), its Containerfile (within it), and build arguments.

    ``context`` is relative to the project, or absolute.
    """

    context: str
    containerfile: str
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """What is run.

    ``workload``: built-in benchmarks, or empty when ``image`` runs its own command. ``image`` with a workload: a
    container that has gpubench's workload. ``build``: what the image is built from; None: it is somebody else's.
    Empty ``scenarios``, ``batch_sizes`` and ``precisions``: the profile's own.
    ``timeout_minutes`` is for one run; ``repeats`` runs are due.
    """

    workload: tuple[str, ...] = BENCHMARKS
    image: str | None = None
    build: Build | None = None
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
    """Where results go: a folder (``path``), or a bucket and a prefix without slashes at its ends.

    ``kind``: folder, gs or s3. ``url``: as it was written, without a slash at its end.
    """

    kind: str
    url: str
    path: str | None = None
    bucket: str | None = None
    prefix: str = ""

    @classmethod
    def folder(cls, path: str = DEFAULT_RESULTS) -> ResultsStore:
        """A folder of this machine."""
        return cls("folder", path, path=path)


@dataclass(frozen=True)
class Budget:
    """The most that the whole walk (all attempts and repeats) may cost: USD and hours."""

    usd: float = DEFAULT_BUDGET_USD
    hours: float = DEFAULT_BUDGET_HOURS


class Access(StrEnum):
    """Who may reach what a stack makes."""

    PRIVATE = "private"
    PUBLIC = "public"


class Order(StrEnum):
    """In which order the rungs that nothing speaks against are tried."""

    LADDER = "ladder"  # as written
    CHEAPEST = "cheapest"  # by price an hour; the ladder decides between equals
    SOONEST = "soonest"  # by the odds that the capacity can be had now; the ladder decides between equals


class Comparability(StrEnum):
    """What the runs of one job must have in common."""

    ANY = "any"
    SAME_TIER_ONLY = "same-tier-only"  # once a run has results, the others take the same tier or none
    SAME_REGION_FIRST = "same-region-first"  # other regions only when that one has nothing


@dataclass(frozen=True)
class Placement:
    """How the next rung is chosen. ``attempt_minutes``: how long an attempt may look for capacity before it is lost."""

    order: Order = Order.LADDER
    comparability: Comparability = Comparability.ANY
    attempt_minutes: float = DEFAULT_ATTEMPT_MINUTES


@dataclass(frozen=True)
class QuotaIncrease:
    """A request to Google for more of a quota: nothing is asked for unless it is written in the config.

    ``limit``: the whole limit that is asked for, in the quota's own unit. ``email``: whom Google asks and answers.
    ``region`` None: the quota's own dimensions, all regions where it has one for each. ``dimensions``: the others.
    """

    quota_id: str
    limit: int
    email: str
    justification: str
    project: str
    region: str | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Google:
    """What Google Cloud's surfaces are told beyond the ladder.

    ``subnet``: an existing subnetwork (its name, or ``projects/P/regions/R/subnetworks/S``); None: gpubench's own
    network. ``nat``: a way out to the internet for it, which costs by the hour. ``boot_disk_gb`` None: by the image.
    """

    subnet: str | None = None
    nat: bool = False
    boot_disk_gb: int | None = None
    quota_increases: tuple[QuotaIncrease, ...] = ()


@dataclass(frozen=True)
class Aws:
    """What AWS is told beyond the ladder.

    ``subnets``, ``security_groups``: existing ones, by region, where both are given; another region gets gpubench's own
    network. ``network``: that one's way out (AWS_NETWORKS). ``volume_gb`` None: by default. ``uploader_image``: instead
    of the public one, by digest. ``managed_instances``: ECS Managed Instances in place of an Auto Scaling group.
    """

    subnets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    security_groups: Mapping[str, str] = field(default_factory=dict)
    network: str = AWS_NETWORKS[0]
    volume_gb: int | None = None
    uploader_image: str | None = None
    managed_instances: bool = False


@dataclass(frozen=True)
class Settings:
    """What a stack asks for.

    ``rung``: the id of a pinned rung, or None. ``registry``: ``LOCATION-docker.pkg.dev/PROJECT/REPOSITORY`` or
    ``ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY``, where gpubench keeps the benchmark's image and may push to, or
    None.
    """

    ladder: tuple[Rung, ...]
    benchmark: Benchmark = field(default_factory=Benchmark)
    results: ResultsStore = field(default_factory=ResultsStore.folder)
    budget: Budget = field(default_factory=Budget)
    labels: Mapping[str, str] = field(default_factory=dict)
    access: Access = Access.PRIVATE
    rung: str | None = None
    placement: Placement = field(default_factory=Placement)
    google: Google = field(default_factory=Google)
    aws: Aws = field(default_factory=Aws)
    registry: str | None = None

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
        from settings.reader import read_settings  # here, because it loads pydantic

        return read_settings(values, frozenset(secret_keys), source)
