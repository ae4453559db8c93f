"""The results contract, as typed models: what a run leaves in its folder and how it is read back.

The folder's mechanics (writing, sealing, verifying) are `results_folder`'s, which needs the standard library only. This
module is the edge where its JSON becomes typed: pydantic checks shapes and units here, and nothing behind it looks into
a raw dictionary again. docs/results.md explains the contract; docs/*.schema.json are made from these models:

    python -m benchmark_job.results --schema docs/      write the JSON Schemas
    python -m benchmark_job.results --check FOLDER      say what is wrong with a results folder

Reading never gives up on what was measured. A GPU hour may stand behind a folder with one bad line in it, so
`RunResults.load` names each mistake in `problems`, keeps the good records, and shows a bad one as it stands.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FieldSerializationInfo,
    Tag,
    TypeAdapter,
    ValidationError,
    field_serializer,
)
from pydantic.json_schema import GenerateJsonSchema

import results_folder

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
RESULTS_FILE = "benchmark_results.json"
MEASUREMENTS_FILE = "measurements.jsonl"

Status: TypeAlias = Literal["complete", "failed", "interrupted"]
Precision: TypeAlias = Literal["fp32", "fp16", "bf16"]
Scenario: TypeAlias = Literal["Offline", "Server", "SingleStream", "MultiStream"]
KernelName: TypeAlias = Literal["gemm", "softmax", "layer_norm", "attention"]


class ResultsError(Exception):
    """A results folder or document that can't be read; the text says the file, the key and what is allowed."""


def _text_only(value: object) -> object:
    # Lax mode would take 1763720000 for a time stamp; the contract says RFC 3339 text.
    if isinstance(value, (str, datetime)):
        return value
    raise ValueError("Input should be RFC 3339 text such as 2026-11-21T10:15:30Z")


Timestamp: TypeAlias = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text_only)]
# The writer turns NaN and infinities into null (strict JSON has neither), so any measured figure may be null.
Measured: TypeAlias = Annotated[float, Field(ge=0)] | None
Count: TypeAlias = Annotated[int, Field(ge=0)]
Positive: TypeAlias = Annotated[int, Field(ge=1)]


class _Closed(BaseModel):
    """Ours: every key is known, so a key too many is a mistake."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True
    )


class _Open(BaseModel):
    """May grow: the known keys are checked, further ones are kept and shown."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False, serialize_by_alias=True)


# --- records -----------------------------------------------------------------------------------------------------


class LatencyMs(_Closed):
    """Latency of one sample's answer, milliseconds, from LoadGen's own clock; percentiles by nearest rank."""

    mean: Measured = None
    p50: Measured = None
    p90: Measured = None
    p95: Measured = None
    p97: Measured = None
    p99: Measured = None
    p99_9: Measured = Field(default=None, alias="p99.9")
    min: Measured = None
    max: Measured = None


class LoadGenVerdict(_Closed):
    """What MLPerf LoadGen said of its own test, in its own words."""

    result: Literal["VALID", "INVALID"]
    reasons: tuple[str, ...] = Field(default=(), strict=False, description="LoadGen's reasons for INVALID")
    target_qps: Measured = Field(default=None, description="queries per second asked of LoadGen; null where none is")
    log_dir: str | None = Field(default=None, description="LoadGen's logs, relative to the results folder")


class ResNet50Record(_Closed):
    """ResNet-50 inference under MLPerf LoadGen: one scenario, batch size and precision."""

    benchmark: Literal["resnet50"]
    scenario: Scenario
    precision: Precision
    batch_size: Positive
    device: str = Field(description="as PyTorch names it: cpu, cuda:0")
    samples: Count
    duration_s: Measured
    throughput_samples_per_s: Measured
    latency_ms: LatencyMs
    loadgen: LoadGenVerdict
    options: dict[str, Any] = Field(default_factory=dict)
    at: Timestamp | None = None


class TimeMs(_Closed):
    """Time of one repetition, milliseconds: CUDA events on a GPU, a monotonic clock on a CPU."""

    median: Measured
    p5: Measured = None
    p95: Measured = None
    mean: Measured = None
    stddev: Measured = None
    min: Measured = None
    max: Measured = None


class KernelRecord(_Closed):
    """One kernel at one shape, precision and batch size."""

    benchmark: Literal["kernels"]
    kernel: KernelName
    shape: dict[str, Positive] = Field(description="the kernel's dimensions in elements, such as m, n, k")
    precision: Precision
    batch_size: Positive
    device: str
    repetitions: Count
    time_ms: TimeMs
    dispersion: Measured = Field(default=None, description="(p95 - p5) / median of time_ms")
    tflop_per_s: Measured = Field(default=None, description="10^12 floating-point operations a second, at the median")
    gb_per_s: Measured = Field(default=None, description="10^9 bytes read and written a second, at the median")
    at: Timestamp | None = None


_KNOWN = ("resnet50", "kernels")


class OtherRecord(_Open):
    """A record of a container of your own: a name, and whatever else it measured."""

    benchmark: str = Field(min_length=1, json_schema_extra={"not": {"enum": list(_KNOWN)}})

    @property
    def fields(self) -> dict[str, Any]:
        """Everything but the name, in the order in which the container wrote it."""
        return dict(self.model_extra or {})


def _tag(value: object) -> str:
    name = value.get("benchmark") if isinstance(value, Mapping) else getattr(value, "benchmark", None)
    return name if isinstance(name, str) and name in _KNOWN else "other"


Record: TypeAlias = ResNet50Record | KernelRecord | OtherRecord
_TaggedRecord: TypeAlias = Annotated[
    Annotated[ResNet50Record, Tag("resnet50")]
    | Annotated[KernelRecord, Tag("kernels")]
    | Annotated[OtherRecord, Tag("other")],
    Discriminator(_tag),
]
_RECORD: TypeAdapter[Record] = TypeAdapter(_TaggedRecord)


# --- the documents -----------------------------------------------------------------------------------------------


class Stamps(_Open):
    """What makes results comparable: where and of what they were made. The wrapper fills them; null is unknown."""

    run: str | None = None
    attempt: str | None = None
    stack: str | None = None
    rung: str | None = None
    surface: str | None = None
    requested_tier: str | None = None
    obtained_tier: str | None = None
    region: str | None = None
    zone: str | None = None
    purchase: str | None = None
    image: str | None = None
    image_digest: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    code_digest: str | None = None
    usd_per_hour: Measured = None


class GpuInfo(_Open):
    """The first GPU in short; all null where there is none."""

    name: str | None = None
    cuda_version: str | None = None
    total_memory_gb: Measured = None


class Gpu(_Open):
    """One GPU as the driver describes it. Memory in GB as the tool printed it; clocks in MHz, power in watts."""

    name: str | None = None
    memory_gb: Measured = None
    compute_capability: str | None = None
    driver_version: str | None = None
    clocks_mhz: dict[str, float | None] | None = None
    power_w: dict[str, float | None] | None = None
    temperature_c: float | None = None


class Cpu(_Open):
    model: str | None = None
    physical_cores: Count | None = None
    logical_cores: Count | None = None


class Hardware(_Open):
    """What the run ran on. Every field may be null: a field that can't be read never fails a run."""

    gpus: tuple[Gpu, ...] = Field(default=(), strict=False)
    gpu_count: Count | None = None
    driver_version: str | None = None
    cuda_version: str | None = None
    cudnn_version: str | None = None
    cpu: Cpu | None = None
    memory_gb: Measured = None
    os: str | None = None
    kernel: str | None = None
    python: str | None = None
    libraries: dict[str, str | None] = Field(default_factory=dict)
    image_digest: str | None = None
    git_commit: str | None = None


class Workload(_Open):
    """What was run. `weights` says whether they were seeded or read from a file; `notes` what a reader must know."""

    name: str | None = None
    profile: str | None = None
    benchmarks: tuple[str, ...] = Field(default=(), strict=False)
    options: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    notes: tuple[str, ...] = Field(default=(), strict=False)


class ResultsDocument(_Open):
    """benchmark_results.json. Only `benchmarks` is required, so that a container of your own can write it by hand."""

    schema_version: Literal[1] = 1
    timestamp: Timestamp | None = None
    status: Status | None = None
    gpu_info: GpuInfo = GpuInfo()
    hardware: Hardware = Hardware()
    stamps: Stamps = Stamps()
    workload: Workload = Workload()
    benchmarks: tuple[_TaggedRecord, ...] = Field(strict=False)

    @field_serializer("benchmarks")
    def _each_as_it_is(self, records: tuple[BaseModel, ...], info: FieldSerializationInfo) -> list[dict[str, Any]]:
        # A record that broke the contract is kept as an OtherRecord under its own name (see _records); by the name
        # alone, pydantic would take it for the model that it failed, and warn.
        return [record.model_dump(mode=info.mode) for record in records]


class CauseModel(_Closed):
    """Why a run isn't complete. `message` is the original text; `mend` says what to do."""

    cause: Literal[
        "capacity",
        "quota",
        "permission",
        "not-offered",
        "image",
        "bad-request",
        "interrupted",
        "transient",
        "workload",
        "unknown",
    ]
    code: str
    message: str
    mend: str


def _inside(path: str) -> str:
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts:
        raise ValueError("Input should be a path inside the folder, with / between its parts")
    return path


class FileEntry(_Closed):
    path: Annotated[str, BeforeValidator(lambda value: _inside(value) if isinstance(value, str) else value)]
    bytes: Count
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(_Closed):
    """manifest.json, written last: a folder without it is not a whole run."""

    schema_version: Literal[1]
    status: Status
    cause: CauseModel | None = None
    exit_code: int
    started_at: Timestamp
    finished_at: Timestamp
    duration_s: Annotated[float, Field(ge=0)]
    stamps: Stamps = Stamps()
    made_by: Literal["workload", "wrapper"]
    files: tuple[FileEntry, ...] = Field(strict=False)


# --- reading -----------------------------------------------------------------------------------------------------

_SHOWN_VALUE = 80  # characters of a wrong value that an error repeats
_SHOWN_MISTAKES = 20  # mistakes of one file that are listed; a wrong writer repeats one mistake 600 times


def _key(location: Sequence[str | int]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in (*_KNOWN, "other") or not text.endswith("]"):  # drop the union's tag: it isn't in the document
            text += f".{part}" if text else part
    return text


def _mistakes(error: ValidationError, source: str) -> list[str]:
    lines = []
    for one in error.errors(include_url=False, include_context=False):
        location = one["loc"]
        if location and location[0] in (*_KNOWN, "other"):
            location = location[1:]
        said = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            said = "is not a key of this record; take it out, or put it in a record with a benchmark name of your own"
        elif one["type"] == "missing":
            said = "is missing"
        shown = "" if one["type"] == "missing" else f" = {_short(one['input'])}"
        if " or instance of " in said:
            said = "should be a JSON object"
        key = _key(location)
        # benchmarks[3] and batch_size are one path; a file's name and a key are two things.
        where = source if not key else f"{source}.{key}" if source.endswith("]") else f"{source}: {key}"
        lines.append(f"{where}{shown}: {said[:1].lower()}{said[1:]}")
    if len(lines) > _SHOWN_MISTAKES:
        lines[_SHOWN_MISTAKES:] = [f"{source}: and {len(lines) - _SHOWN_MISTAKES} more"]
    return lines


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_VALUE else f"{text[: _SHOWN_VALUE - 1]}…"


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON; write null")


def _read_json(path: Path) -> Any:
    """Raises ResultsError with the file's name, and the line where the JSON breaks."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path.name}: line {error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path.name}: not JSON: {error}") from error
    except OSError as error:
        raise ResultsError(f"{path.name}: can't be read: {error.strerror or error}") from error


def parse_record(value: object, source: str = "record") -> Record:
    """One record of `measurements.jsonl` or of `benchmarks[]`. Raises ResultsError, which lists every mistake."""
    try:
        return _RECORD.validate_python(value)
    except ValidationError as error:
        raise ResultsError("\n".join(_mistakes(error, source))) from error


def parse_document(value: object, source: str = RESULTS_FILE) -> ResultsDocument:
    """A whole benchmark_results.json, strictly. Raises ResultsError, which lists every mistake."""
    try:
        return ResultsDocument.model_validate(value)
    except ValidationError as error:
        raise ResultsError("\n".join(_mistakes(error, source))) from error


def parse_manifest(value: object, source: str = MANIFEST_FILE) -> Manifest:
    """A whole manifest.json, strictly. Raises ResultsError, which lists every mistake."""
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise ResultsError("\n".join(_mistakes(error, source))) from error


def _records(values: Sequence[object], source: str) -> tuple[tuple[Record, ...], list[str]]:
    """Every record that can be shown, and what is wrong with the others."""
    records: list[Record] = []
    problems: list[str] = []
    for index, value in enumerate(values):
        try:
            records.append(parse_record(value, f"{source}[{index}]"))
        except ResultsError as error:
            problems += str(error).splitlines()
            if isinstance(value, Mapping) and isinstance(value.get("benchmark"), str) and value["benchmark"]:
                # As it stands, unchecked: shown as a record of its own kind, never in a plot.
                records.append(OtherRecord.model_construct(None, **{str(key): item for key, item in value.items()}))
    if len(problems) > _SHOWN_MISTAKES:
        problems[_SHOWN_MISTAKES:] = [f"{source}: and {len(problems) - _SHOWN_MISTAKES} more"]
    return tuple(records), problems


def _measurements(path: Path) -> tuple[list[object], list[str]]:
    """The lines of measurements.jsonl; a torn last line (the writer was killed) is no problem, another one is."""
    values: list[object] = []
    problems: list[str] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line.decode("utf-8"), parse_constant=_no_constant))
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                problems.append(f"{path.name}: line {number}: not JSON: {error}")
    return values, problems


@dataclass(frozen=True)
class RunResults:
    """One attempt's folder, read. `problems` is empty for a whole folder that keeps the contract.

    A container that wrote files of its own and no benchmark_results.json has a manifest only: `document` is None and
    `records` is empty, and that is no problem.
    """

    folder: Path
    manifest: Manifest | None
    document: ResultsDocument | None
    records: tuple[Record, ...]
    problems: tuple[str, ...]
    stamps: Stamps = field(default_factory=Stamps)

    @classmethod
    def load(cls, folder: Path) -> RunResults:
        """Reads one attempt's folder. Raises ResultsError if there is no such folder; all else goes to `problems`."""
        if not folder.is_dir():
            raise ResultsError(f"no results folder at {folder}")
        manifest, problems = _manifest(folder)
        document: ResultsDocument | None = None
        records: tuple[Record, ...] = ()
        results_path, measurements_path = folder / RESULTS_FILE, folder / MEASUREMENTS_FILE
        raw: Any = None
        if results_path.is_file():
            try:
                raw = _read_json(results_path)
            except ResultsError as error:
                problems.append(str(error))
        if raw is not None:
            values = raw.get("benchmarks") if isinstance(raw, Mapping) else None
            if isinstance(values, list):
                records, mistakes = _records(values, f"{RESULTS_FILE}: benchmarks")
                problems += mistakes
                # The records are checked one by one above; a bad one must not hide the hardware block.
                raw = {**raw, "benchmarks": [record for record in records if not isinstance(record, OtherRecord)]}
            try:
                document = parse_document(raw)
                document = document.model_copy(update={"benchmarks": records})
            except ResultsError as error:
                problems += str(error).splitlines()
        if not records and measurements_path.is_file():  # killed before the document was written: what was measured
            lines, mistakes = _measurements(measurements_path)
            records, more = _records(lines, MEASUREMENTS_FILE)
            problems += mistakes + more
        stamps = manifest.stamps if manifest else document.stamps if document else Stamps()
        return cls(folder, manifest, document, records, tuple(problems), stamps)

    @property
    def run_id(self) -> str:
        return self.stamps.run or self.folder.parent.name

    @property
    def attempt_id(self) -> str:
        return self.stamps.attempt or self.folder.name

    @property
    def status(self) -> str:
        """`complete`, `failed`, `interrupted`, or `unsealed` where there is no manifest (running, or killed)."""
        return self.manifest.status if self.manifest else "unsealed"

    @property
    def hardware(self) -> Hardware:
        return self.document.hardware if self.document else Hardware()

    @property
    def workload(self) -> Workload:
        return self.document.workload if self.document else Workload()

    @property
    def gpu_name(self) -> str | None:
        """The first GPU's name as the driver prints it; None without a GPU or where nothing says."""
        if self.hardware.gpus:
            return self.hardware.gpus[0].name
        return self.document.gpu_info.name if self.document else None

    @property
    def gpu_memory_gb(self) -> float | None:
        if self.hardware.gpus:
            return self.hardware.gpus[0].memory_gb
        return self.document.gpu_info.total_memory_gb if self.document else None

    @property
    def duration_s(self) -> float | None:
        return self.manifest.duration_s if self.manifest else None

    @property
    def cost_usd(self) -> float | None:
        """The stamped price an hour times the run's duration, US dollars; without boot and image pull."""
        if self.stamps.usd_per_hour is None or self.duration_s is None:
            return None
        return self.stamps.usd_per_hour * self.duration_s / 3600

    @property
    def resnet50(self) -> tuple[ResNet50Record, ...]:
        return tuple(record for record in self.records if isinstance(record, ResNet50Record))

    @property
    def kernels(self) -> tuple[KernelRecord, ...]:
        return tuple(record for record in self.records if isinstance(record, KernelRecord))

    @property
    def others(self) -> tuple[OtherRecord, ...]:
        return tuple(record for record in self.records if isinstance(record, OtherRecord))


def _manifest(folder: Path) -> tuple[Manifest | None, list[str]]:
    """The manifest, if it is there and whole, and what is wrong with the folder."""
    try:
        raw = results_folder.read_manifest(folder)
    except results_folder.ManifestError as error:
        return None, [str(error)]
    if raw is None:
        return None, [f"{MANIFEST_FILE}: missing: the run hasn't finished, or was killed before it could seal"]
    try:
        return parse_manifest(raw), list(results_folder.verify(folder))
    except ResultsError as error:
        return None, str(error).splitlines()


@dataclass(frozen=True)
class Attempt:
    """One attempt's folder as the store lists it: its manifest, without its measurements (`load` reads those)."""

    run_id: str
    attempt_id: str
    folder: Path
    manifest: Manifest | None
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whole (every file there, with its size and sha256) and sealed as complete."""
        return self.manifest is not None and self.manifest.status == "complete" and not self.problems

    @property
    def rung(self) -> str | None:
        return self.manifest.stamps.rung if self.manifest else None

    def load(self) -> RunResults:
        return RunResults.load(self.folder)


def attempts(store: Path, run_id: str) -> list[Attempt]:
    """The attempts of a run, oldest first (an attempt's name begins with its UTC time). None yet: an empty list.

    What is just coming home is none yet; its folder has a name that begins with a dot.

    Hashes every file of every sealed attempt. Raises OSError if the store is there and can't be read: that is no
    answer, and must not be taken for "nothing there yet".
    """
    return list(_attempts(store, run_id, newest_first=False))


def _attempts(store: Path, run_id: str, *, newest_first: bool) -> Iterator[Attempt]:
    try:
        folders = [entry for entry in (store / "runs" / run_id).iterdir() if entry.is_dir() and entry.name[0] != "."]
    except FileNotFoundError:
        return
    for folder in sorted(folders, key=lambda entry: entry.name, reverse=newest_first):
        manifest, problems = _manifest(folder)
        yield Attempt(run_id, folder.name, folder, manifest, tuple(problems))


def complete_attempt(store: Path, run_id: str, rung_ids: Collection[str] | None) -> Attempt | None:
    """The newest whole and complete attempt of a run that one of these rungs made; None: the run is due.

    `rung_ids` are the ids of the ladder's rungs, or the pinned one alone; None takes any rung's results.
    Raises OSError if the store can't be read.
    """
    for attempt in _attempts(store, run_id, newest_first=True):
        if attempt.complete and (rung_ids is None or attempt.rung in rung_ids):
            return attempt
    return None


# --- the schemas -------------------------------------------------------------------------------------------------


class _Schema(GenerateJsonSchema):
    schema_dialect = "https://json-schema.org/draft/2020-12/schema"

    def generate(self, schema: Any, mode: Any = "validation") -> dict[str, Any]:
        made = super().generate(schema, mode=mode)
        return {"$schema": self.schema_dialect, **made}


def json_schemas() -> dict[str, str]:
    """File name to text, of each JSON Schema (draft 2020-12)."""
    models: dict[str, type[BaseModel]] = {"results.schema.json": ResultsDocument, "manifest.schema.json": Manifest}
    return {
        name: json.dumps(model.model_json_schema(schema_generator=_Schema), indent=2, ensure_ascii=False) + "\n"
        for name, model in models.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmark_job.results", description="The results contract.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--schema", type=Path, metavar="FOLDER", help="write the JSON Schemas into FOLDER")
    what.add_argument("--check", type=Path, metavar="FOLDER", help="say what is wrong with a results folder")
    given = parser.parse_args(arguments)
    if given.schema is not None:
        given.schema.mkdir(parents=True, exist_ok=True)
        for name, text in json_schemas().items():
            (given.schema / name).write_text(text, encoding="utf-8")
            print(given.schema / name)
        return 0
    try:
        results = RunResults.load(given.check)
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for problem in results.problems:
        print(problem)
    print(f"{results.status}, {len(results.records)} records, {len(results.problems)} problems")
    return 1 if results.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
