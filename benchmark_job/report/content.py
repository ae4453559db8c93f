"""What a report says, before it has a form: figures, facts, tables. The other modules only lay it out."""

from __future__ import annotations

import json
import shlex
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark_job.report import TierOf
from benchmark_job.report.chart import Chart, clean, figure
from benchmark_job.results import KernelRecord, OtherRecord, ResNet50Record, RunResults

SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream")
PRECISIONS = ("fp32", "fp16", "bf16")
# Bound by arithmetic or by memory: which of the two rates says more about a kernel.
_BY_TFLOP = ("gemm", "attention")
ROWS_SHOWN = 500  # of other containers' records; benchmark_results.csv has them all
FIELDS_SHOWN = 12
NOT_SAID = "–"


@dataclass(frozen=True)
class Column:
    name: str
    numeric: bool = False
    wide: int = 0
    """1: left out of a narrow terminal; 2: of every terminal."""


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def narrow(self, width: int) -> Table:
        """The columns that a terminal of this many characters has room for."""
        most = 1 if width >= 100 else 0
        keep = [index for index, column in enumerate(self.columns) if column.wide <= most]
        rows = tuple(tuple(row[index] for index in keep) for row in self.rows)
        return Table(self.title, tuple(self.columns[index] for index in keep), rows, self.note)


@dataclass(frozen=True)
class KeyFigure:
    """One of the few figures that a run is known by."""

    key: str
    value: float
    label: str
    unit: str
    context: str

    @property
    def text(self) -> str:
        return f"{figure(self.value)} {self.unit}"


@dataclass(frozen=True)
class Facts:
    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RunSummary:
    """One run as the report's head shows it."""

    label: str
    run: RunResults
    obtained_tier: str | None
    verdict: str
    verdict_lines: tuple[str, ...]
    figures: tuple[KeyFigure, ...]
    facts: tuple[Facts, ...]
    commands: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def tier_text(self) -> str:
        """Requested and obtained tier; one word where they agree."""
        requested, obtained = self.run.stamps.requested_tier, self.obtained_tier
        if requested in (None, "any", obtained):
            return obtained or requested or "unknown"
        return f"{requested} requested, {obtained or 'unknown'} obtained"

    @property
    def cost_text(self) -> str:
        return money(self.run.cost_usd)


@dataclass(frozen=True)
class Report:
    runs: tuple[RunSummary, ...]
    warnings: tuple[str, ...]
    tables: tuple[Table, ...]
    charts: tuple[tuple[str, tuple[Chart, ...], str], ...]
    """Section title, charts, note."""


# --- small forms -------------------------------------------------------------------------------------------------


def money(value: float | None) -> str:
    if value is None:
        return NOT_SAID
    return f"${value:.2f}" if value >= 0.01 or value == 0 else f"${value:.4f}"


def seconds(value: float | None) -> str:
    if value is None:
        return NOT_SAID
    if value < 90:
        return f"{figure(value)} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _said(value: object) -> str:
    """A JSON value as a cell: text as it is, figures with their digits kept readable, the rest as JSON."""
    if value is None or value == "":
        return NOT_SAID
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return figure(value, 4)
    if isinstance(value, str):
        return clean(value)
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _value(number: float | None) -> bool:
    return number is not None


def device_variants(records: Iterable[ResNet50Record | KernelRecord]) -> dict[int, str]:
    """id(record) -> what tells it from others of the same scenario and batch: precision, and device where there are two
    kinds, and options where they differ."""
    records = list(records)
    devices = {record.device for record in records}
    options = {_options(record) for record in records}
    return {
        id(record): _joined(
            record.precision,
            clean(record.device) if len(devices) > 1 else None,
            (_options(record) or "no options") if len(options) > 1 else None,
        )
        for record in records
    }


def _options(record: ResNet50Record | KernelRecord) -> str:
    if not isinstance(record, ResNet50Record):
        return ""
    return " ".join(
        clean(key) if value is True else f"{clean(key)}={_said(value)}"
        for key, value in record.options.items()
        if value not in (None, False)
    )


def rate(record: KernelRecord) -> tuple[float, str] | None:
    """The kernel's figure of merit and its unit; None if neither rate was measured."""
    rates = [(record.tflop_per_s, "TFLOP/s"), (record.gb_per_s, "GB/s")]
    for value, unit in rates if record.kernel in _BY_TFLOP else reversed(rates):
        if value is not None:
            return value, unit
    return None


def kernel_title(kernel: str) -> str:
    return "GEMM" if kernel == "gemm" else kernel.replace("_", " ")


def shape_text(shape: Mapping[str, int]) -> str:
    return " ".join(f"{clean(key)}={value}" for key, value in shape.items())


# --- figures -----------------------------------------------------------------------------------------------------


def verdict_of(records: Sequence[ResNet50Record]) -> str:
    said = {record.loadgen.result for record in records}
    if not said:
        return "none"
    return said.pop() if len(said) == 1 else "mixed"


def obtained_tier(run: RunResults, tier_of: TierOf) -> str | None:
    """The tier of the first GPU's name, `cpu` where the hardware block says that there is none; else the stamp."""
    if run.gpu_name:
        return tier_of(run.gpu_name, run.gpu_memory_gb)
    if run.document and "gpus" in run.document.hardware.model_fields_set:
        return "cpu"
    return run.stamps.obtained_tier


def figures_of(run: RunResults) -> list[KeyFigure]:
    found: list[KeyFigure] = []

    def note(key: str, value: float, label: str, unit: str, record: ResNet50Record) -> None:
        found.append(KeyFigure(key, value, label, unit, f"batch {record.batch_size}, {record.precision}"))

    by_scenario: dict[str, list[ResNet50Record]] = defaultdict(list)
    for record in run.resnet50:
        by_scenario[record.scenario].append(record)

    offline = [
        (r.throughput_samples_per_s, r) for r in by_scenario["Offline"] if r.throughput_samples_per_s is not None
    ]
    if offline:
        value, record = max(offline, key=lambda pair: pair[0])
        note("offline_samples_per_s", value, "Offline throughput", "samples/s", record)
    server = [
        (r.throughput_samples_per_s, r.latency_ms.p99, r)
        for r in by_scenario["Server"]
        if r.throughput_samples_per_s is not None and r.latency_ms.p99 is not None
    ]
    server = [one for one in server if one[2].loadgen.result == "VALID"] or server
    if server:
        throughput, p99, record = max(server, key=lambda one: one[0])
        note("server_samples_per_s", throughput, "Server throughput", "samples/s", record)
        note("server_p99_ms", p99, "Server p99 latency", "ms", record)
    for scenario, percentile, key in (
        ("SingleStream", "p90", "single_stream_p90_ms"),
        ("MultiStream", "p99", "multi_stream_p99_ms"),
    ):
        latencies = [
            (value, r) for r in by_scenario[scenario] if (value := getattr(r.latency_ms, percentile)) is not None
        ]
        if latencies:
            value, record = min(latencies, key=lambda pair: pair[0])
            note(key, value, f"{scenario} {percentile} latency", "ms", record)
    best: dict[tuple[str, str], tuple[float, KernelRecord]] = {}
    for kernel_record in run.kernels:
        if (rated := rate(kernel_record)) is not None:
            name = (kernel_record.kernel, rated[1])
            if name not in best or rated[0] > best[name][0]:
                best[name] = (rated[0], kernel_record)
    for (kernel, unit), (value, winner) in sorted(best.items()):
        key = f"kernels_best_{kernel}_{'tflop' if unit == 'TFLOP/s' else 'gb'}_per_s"
        context = f"{winner.precision}, {shape_text(winner.shape)}, batch {winner.batch_size}"
        found.append(KeyFigure(key, value, f"Best {kernel_title(kernel)}", unit, context))
    return found


def headline_of(run: RunResults, tier_of: TierOf) -> dict[str, float | str]:
    found: dict[str, float | str] = {one.key: one.value for one in figures_of(run)}
    found["loadgen"] = verdict_of(run.resnet50)
    found["status"] = run.status
    if (tier := obtained_tier(run, tier_of)) is not None:
        found["obtained_tier"] = tier
    if run.duration_s is not None:
        found["duration_s"] = run.duration_s
    if run.cost_usd is not None:
        found["cost_usd"] = run.cost_usd
    return found


# --- one run's facts ---------------------------------------------------------------------------------------------


def _verdict_lines(run: RunResults) -> tuple[str, ...]:
    """LoadGen's reasons for INVALID, each once with the tests that it befell."""
    variants = device_variants(run.resnet50)
    tests: dict[str, list[str]] = defaultdict(list)
    for record in run.resnet50:
        if record.loadgen.result == "INVALID":
            name = f"{record.scenario} batch {record.batch_size} {variants[id(record)]}"
            for reason in record.loadgen.reasons or ("LoadGen gave no reason",):
                tests[clean(" ".join(reason.split()))].append(name)
    by_count = sorted(tests.items(), key=lambda item: -len(item[1]))
    return tuple(f"{reason} [{_few(names)}]" for reason, names in by_count)


def _few(names: Sequence[str], most: int = 3) -> str:
    return "; ".join(names) if len(names) <= most else f"{'; '.join(names[:most])}; and {len(names) - most} more"


def _hardware(run: RunResults) -> Facts:
    hardware = run.hardware
    lines: list[tuple[str, str]] = []

    def add(name: str, value: str | None) -> None:
        if value:
            lines.append((name, clean(value)))

    gpus: dict[str, int] = defaultdict(int)
    for gpu in hardware.gpus:
        gpus[
            _joined(
                gpu.name or "unknown GPU",
                f"{figure(gpu.memory_gb)} GB" if gpu.memory_gb is not None else None,
                f"compute capability {gpu.compute_capability}" if gpu.compute_capability else None,
            )
        ] += 1
    for text, count in gpus.items():
        add("GPU", text if count == 1 else f"{count} × {text}")
    if not hardware.gpus:
        add("GPU", run.gpu_name or ("none" if run.document else None))
    for gpu in hardware.gpus[:1]:
        add("GPU clocks", _named(gpu.clocks_mhz, "MHz"))
        add("GPU power", _named(gpu.power_w, "W"))
        add("GPU temperature", f"{figure(gpu.temperature_c)} °C" if gpu.temperature_c is not None else None)
    driver = hardware.driver_version or next((gpu.driver_version for gpu in hardware.gpus if gpu.driver_version), None)
    cuda = hardware.cuda_version or (run.document.gpu_info.cuda_version if run.document else None)
    add(
        "Driver",
        _joined(
            driver,
            f"CUDA {cuda}" if cuda else None,
            f"cuDNN {hardware.cudnn_version}" if hardware.cudnn_version else None,
        ),
    )
    if hardware.cpu:
        cores, threads = hardware.cpu.physical_cores, hardware.cpu.logical_cores
        add(
            "CPU",
            _joined(
                hardware.cpu.model,
                f"{cores} cores" if cores is not None else None,
                f"{threads} threads" if threads is not None else None,
            ),
        )
    add("Memory", f"{figure(hardware.memory_gb)} GB" if hardware.memory_gb is not None else None)
    add("System", _joined(hardware.os, f"kernel {hardware.kernel}" if hardware.kernel else None))
    libraries = [f"{name} {version}" for name, version in hardware.libraries.items() if version]
    add("Software", _joined(f"Python {hardware.python}" if hardware.python else None, *libraries))
    return Facts("What it ran on", tuple(lines))


def _named(values: Mapping[str, float | None] | None, unit: str) -> str | None:
    known = [
        f"{name.replace('_', ' ')} {figure(value)} {unit}" for name, value in (values or {}).items() if _value(value)
    ]
    return ", ".join(known) or None


def _facts(run: RunResults, tier: str | None) -> tuple[Facts, ...]:
    stamps, manifest, workload = run.stamps, run.manifest, run.workload
    place = _joined(stamps.surface, stamps.region, stamps.zone, stamps.purchase)
    measured = [
        ("Run", run.run_id),
        ("Attempt", run.attempt_id),
        ("Stack", stamps.stack),
        ("Rung", stamps.rung),
        ("Place", place),
        ("Requested tier", stamps.requested_tier),
        ("Obtained tier", tier),
        ("Status", run.status),
        ("Started", manifest.started_at.isoformat(timespec="seconds") if manifest else None),
        ("Duration", seconds(run.duration_s) if manifest else None),
        (
            "Cost",
            f"{money(run.cost_usd)} at {money(stamps.usd_per_hour)} an hour, for the run itself"
            if run.cost_usd is not None
            else None,
        ),
    ]
    what = [
        ("Workload", _joined(workload.name, f"profile {workload.profile}" if workload.profile else None)),
        ("Benchmarks", ", ".join(workload.benchmarks)),
        ("Options", ", ".join(f"{key}: {_plain(value)}" for key, value in workload.options.items())),
        ("Weights", workload.weights),
        *(("Note", note) for note in workload.notes),
        ("Image", stamps.image),
        ("Image digest", stamps.image_digest or run.hardware.image_digest),
        ("Code", _commit(run)),
        ("Code digest", stamps.code_digest),
    ]
    facts = [
        Facts("The run", tuple((name, clean(value)) for name, value in measured if value)),
        _hardware(run),
        Facts("What was measured", tuple((name, clean(value)) for name, value in what if value)),
    ]
    extra = [(clean(key), _said(value)) for key, value in (stamps.model_extra or {}).items() if value is not None]
    if extra:
        facts.append(Facts("Further stamps", tuple(extra)))
    return tuple(one for one in facts if one.lines)


def _plain(value: object) -> str:
    return " ".join(map(_said, value)) if isinstance(value, (list, tuple)) else _said(value)


def _commit(run: RunResults) -> str | None:
    commit = run.stamps.git_commit or run.hardware.git_commit
    if not commit:
        return None
    return f"git {commit}" + (", with uncommitted changes" if run.stamps.git_dirty else "")


# The flags of the built-in workload's command line; a container of one's own has its own.
_FLAGS = ("scenarios", "batch_sizes", "precisions", "channels_last", "compile", "weights", "seed", "device")


def _commands(run: RunResults) -> tuple[str, ...]:
    """How to measure this again: the stack, and for the built-in workload the bare command."""
    commands = []
    if run.stamps.git_commit:
        commands.append(f"git checkout {shlex.quote(clean(run.stamps.git_commit))}")
    if run.stamps.stack:
        commands.append(f"gpubench up --stack {shlex.quote(clean(run.stamps.stack))}")
    workload = run.workload
    if workload.name == "gpubench-workload" and workload.profile:
        words = ["python", "-m", "workload", "--profile", workload.profile, "--results", "results"]
        if workload.benchmarks:
            words += ["--benchmarks", ",".join(workload.benchmarks)]
        for key in _FLAGS:
            value = workload.options.get(key)
            flag = f"--{key.replace('_', '-')}"
            if value is True:
                words.append(flag)
            elif isinstance(value, (list, tuple)) and value:
                words += [flag, ",".join(map(str, value))]
            elif value is not None and value is not False and value not in ("", [], ()):
                words += [flag, str(value)]
        commands.append(shlex.join(clean(word) for word in words))
    return tuple(commands)


def _warnings(run: RunResults, tier: str | None) -> tuple[str, ...]:
    found = []
    requested = run.stamps.requested_tier
    if requested not in (None, "any") and tier is not None and requested != tier:
        found.append(f"Measured on {clean(tier)}, not on the requested {clean(requested)}.")
    if run.manifest and run.manifest.cause:
        cause = run.manifest.cause
        message = " ".join(clean(cause.message).split())
        message = message if len(message) <= 300 else message[:299] + "…"
        found.append(
            f"{run.status.capitalize()} ({cause.cause}, {clean(cause.code)}): {message} Mend: {clean(cause.mend)}"
        )
    elif run.status != "complete":
        found.append(f"This run is {run.status}: it has what was measured until then, and no more.")
    if run.stamps.git_dirty:
        found.append("The code had uncommitted changes: the commit alone doesn't reproduce it.")
    found += [f"Results folder: {clean(problem)}" for problem in run.problems[:5]]
    if len(run.problems) > 5:
        found.append(f"Results folder: and {len(run.problems) - 5} more problems")
    return tuple(found)


# --- tables ------------------------------------------------------------------------------------------------------


def _order(known: Sequence[str], name: str) -> tuple[int, str]:
    return (known.index(name) if name in known else len(known), name)


def labels_of(runs: Sequence[RunResults], tier_of: TierOf) -> list[str]:
    """One label a run: its tier and id, the attempt where one run was tried twice, a number as a last resort."""
    labels = [clean(_joined(obtained_tier(run, tier_of), run.run_id)) for run in runs]
    if len(set(labels)) < len(labels):
        labels = [f"{label}, {clean(run.attempt_id)}" for label, run in zip(labels, runs, strict=True)]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({number})" for number, label in enumerate(labels, start=1)]
    return labels


def _resnet50_table(summaries: Sequence[RunSummary]) -> Table | None:
    several = len(summaries) > 1
    columns = [
        *([Column("run")] if several else []),
        Column("scenario"), Column("batch", True), Column("precision"), Column("samples/s", True),
        Column("p50 ms", True), Column("p90 ms", True), Column("p95 ms", True, 2), Column("p97 ms", True, 2),
        Column("p99 ms", True), Column("p99.9 ms", True, 2), Column("mean ms", True, 2),
        Column("samples", True, 2), Column("duration", True, 2), Column("target qps", True, 2),
        Column("LoadGen"),
    ]  # fmt: skip
    rows = []
    for summary in summaries:
        variants = device_variants(summary.run.resnet50)
        ordered = sorted(
            summary.run.resnet50,
            key=lambda r: (_order(SCENARIOS, r.scenario), r.batch_size, _order(PRECISIONS, r.precision)),
        )
        for record in ordered:
            latency = record.latency_ms
            rows.append(
                (
                    *([summary.label] if several else []),
                    record.scenario, str(record.batch_size), variants[id(record)],
                    figure(record.throughput_samples_per_s),
                    *map(figure, (latency.p50, latency.p90, latency.p95, latency.p97)),
                    *map(figure, (latency.p99, latency.p99_9, latency.mean)),
                    f"{record.samples:,}", seconds(record.duration_s), figure(record.loadgen.target_qps),
                    record.loadgen.result,
                )
            )  # fmt: skip
    note = ""
    if any(row[1 if several else 0] == "Offline" for row in rows):
        note = "Offline hands over all samples at once, so its latency is the time spent waiting in that query."
    return Table("ResNet-50 under MLPerf LoadGen", tuple(columns), tuple(rows), note) if rows else None


def _kernels_table(summaries: Sequence[RunSummary]) -> Table | None:
    several = len(summaries) > 1
    rows = []
    for summary in summaries:
        variants = device_variants(summary.run.kernels)
        groups: dict[tuple[str, str], list[KernelRecord]] = defaultdict(list)
        for record in summary.run.kernels:
            groups[record.kernel, variants[id(record)]].append(record)
        for (kernel, variant), records in sorted(
            groups.items(), key=lambda item: (item[0][0], _order(PRECISIONS, item[1][0].precision), item[0][1])
        ):
            rated = [(found, record) for record in records if (found := rate(record)) is not None]
            dispersions = [record.dispersion for record in records if record.dispersion is not None]
            best, unit, where, batch = NOT_SAID, "", NOT_SAID, NOT_SAID
            if rated:
                (value, unit), winner = max(rated, key=lambda pair: pair[0][0])
                best, where, batch = f"{figure(value)} {unit}", shape_text(winner.shape), str(winner.batch_size)
            dispersion = f"{100 * statistics.median(dispersions):.1f} %" if dispersions else NOT_SAID
            rows.append(
                (
                    *([summary.label] if several else []),
                    kernel_title(kernel), variant, best, where, batch, str(len(records)), dispersion,
                )
            )  # fmt: skip
    columns = (
        *([Column("run")] if several else []),
        Column("kernel"), Column("precision"), Column("best", True), Column("at"), Column("batch", True),
        Column("points", True, 1), Column("dispersion", True, 1),
    )  # fmt: skip
    note = "At each point's median time. Dispersion: (p95 - p5) / median, the median over the points."
    return Table("Kernels: the best of the sweep", columns, tuple(rows), note) if rows else None


def _flat(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, item in value.items():
        name = f"{prefix}_{key}" if prefix else str(key)
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, name)
        else:
            flat[name] = item
    return flat


def _other_tables(summaries: Sequence[RunSummary]) -> list[Table]:
    several = len(summaries) > 1
    by_name: dict[str, list[tuple[str, OtherRecord]]] = defaultdict(list)
    for summary in summaries:
        for record in summary.run.others:
            by_name[record.benchmark].append((summary.label, record))
    tables = []
    for name, records in by_name.items():
        flat = [(label, _flat(record.fields)) for label, record in records[:ROWS_SHOWN]]
        keys = list(dict.fromkeys(key for _, row in flat for key in row))
        shown = keys[:FIELDS_SHOWN]
        notes = []
        if len(keys) > len(shown):
            notes.append(f"{len(keys) - len(shown)} further fields")
        if len(records) > len(flat):
            notes.append(f"{len(records) - len(flat):,} further records")
        if name in ("resnet50", "kernels"):
            notes.insert(0, "These records aren't as the results contract says, and are shown as they stand")
        numeric = [all(isinstance(row.get(key), (int, float, type(None))) for _, row in flat) for key in shown]
        columns = (
            *([Column("run")] if several else []),
            *(
                Column(clean(key), number, wide=2 if index >= 6 else 0)
                for index, (key, number) in enumerate(zip(shown, numeric, strict=True))
            ),
        )
        rows = tuple((*([label] if several else []), *(_said(row.get(key)) for key in shown)) for label, row in flat)
        if columns:
            note = "; ".join(notes) + (" (benchmark_results.csv has all)." if notes else "")
            tables.append(Table(clean(name), columns, rows, note))
    return tables


def runs_tables(summaries: Sequence[RunSummary]) -> list[Table]:
    """The head of a report of several runs: one row a run, and those key figures that they are known by."""
    columns = (
        Column("run"), Column("status"), Column("rung", wide=2), Column("tier"), Column("LoadGen"),
        Column("duration", True), Column("cost", True),
    )  # fmt: skip
    rows = tuple(
        (
            summary.label, summary.run.status, clean(summary.run.stamps.rung or NOT_SAID), clean(summary.tier_text),
            summary.verdict, seconds(summary.run.duration_s), summary.cost_text,
        )
        for summary in summaries
    )  # fmt: skip
    tables = [Table("Runs", columns, rows)]
    found = {one.key for summary in summaries for one in summary.figures}
    chosen = [key for key in _HEAD_FIGURES if key in found]
    if chosen:
        values = [{one.key: figure(one.value) for one in summary.figures} for summary in summaries]
        tables.append(
            Table(
                "Key figures",
                (Column("run"), *(Column(_HEAD_FIGURES[key], True) for key in chosen)),
                tuple(
                    (summary.label, *(has.get(key, NOT_SAID) for key in chosen))
                    for summary, has in zip(summaries, values, strict=True)
                ),
            )
        )
    return tables


_HEAD_FIGURES = {
    "offline_samples_per_s": "Offline samples/s",
    "server_p99_ms": "Server p99 ms",
    "single_stream_p90_ms": "SingleStream p90 ms",
    "kernels_best_gemm_tflop_per_s": "GEMM TFLOP/s",
}


def head_figures(summary: RunSummary) -> list[KeyFigure]:
    """The four figures that stand largest: the third incident's three, and GEMM; others where those are missing."""
    first = [one for key in _HEAD_FIGURES for one in summary.figures if one.key == key]
    return (first + [one for one in summary.figures if one not in first])[:4]


def build(runs: Sequence[RunResults], tier_of: TierOf) -> Report:
    """Raises ValueError without a run."""
    from benchmark_job.report import plots  # it needs this module's forms

    if not runs:
        raise ValueError("a report needs at least one run")
    summaries = []
    for label, run in zip(labels_of(runs, tier_of), runs, strict=True):
        tier = obtained_tier(run, tier_of)
        summaries.append(
            RunSummary(
                label=label, run=run, obtained_tier=tier, verdict=verdict_of(run.resnet50),
                verdict_lines=_verdict_lines(run), figures=tuple(figures_of(run)), facts=_facts(run, tier),
                commands=_commands(run), warnings=_warnings(run, tier),
            )
        )  # fmt: skip
    tables = [_resnet50_table(summaries), _kernels_table(summaries), *_other_tables(summaries)]
    return Report(
        tuple(summaries),
        _comparability(summaries),
        tuple(table for table in tables if table),
        plots.sections(summaries),
    )


def _comparability(summaries: Sequence[RunSummary]) -> tuple[str, ...]:
    """Decision 8: results are comparable or say why not."""
    found = []
    for what, values in (
        ("tiers", {summary.obtained_tier or "unknown" for summary in summaries}),
        ("workload profiles", {summary.run.workload.profile or "unknown" for summary in summaries}),
        ("drivers", {summary.run.hardware.driver_version or "unknown" for summary in summaries}),
        ("code versions", {summary.run.stamps.git_commit or "unknown" for summary in summaries}),
        ("images", {summary.run.stamps.image_digest or "unknown" for summary in summaries}),
    ):
        if len(values) > 1:
            found.append(
                f"Not comparable without care: these runs differ in {what} ({clean(', '.join(sorted(values)))})."
            )
    return tuple(found)
