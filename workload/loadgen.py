"""MLPerf's LoadGen: its settings for a test, and what its logs say afterwards.

Facts are from mlcommons/inference (loadgen/: loadgen.cc, results.cc, test_settings_internal.cc, mlperf.conf) and the
MLPerf inference rules (mlcommons/inference_policies, inference_rules.adoc, "Scenarios").
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workload.profile import MULTI_STREAM_SAMPLES, Amount, Scenario

_PREFIX = ":::MLLOG "
DETAIL = "mlperf_log_detail.txt"

# LoadGen draws all arrival times of a Server test before it starts, for min_duration x target_qps queries. On a fast
# GPU MLPerf's 600 s would be millions of queries for a test that ends after 1000.
_MOST_GENERATED = 100_000

_PERCENTILES = {"p50": "50.00", "p90": "90.00", "p95": "95.00", "p97": "97.00", "p99": "99.00", "p99.9": "99.90"}

TOO_SHORT = "Min duration satisfied: NO"
_CONSTRAINTS = {
    "result_perf_constraints_met": "Performance constraints satisfied: NO",
    "result_min_duration_met": TOO_SHORT,
    "result_min_queries_met": "Min queries satisfied: NO",
    "early_stopping_met": "Early stopping satisfied: NO",
}


class LoadGenError(Exception):
    """LoadGen ended without a verdict."""


@dataclass(frozen=True)
class Verdict:
    """What LoadGen's detail log says of a test. Latencies in ms: a sample's, in MultiStream a query's."""

    result: str
    """VALID or INVALID."""
    reasons: tuple[str, ...]
    """Why INVALID, in LoadGen's words."""
    min_duration_met: bool
    latency_ms: Mapping[str, float]
    samples_per_s: float | None
    """LoadGen's own figure: Offline, Server (as completed), SingleStream (its overhead included). None: MultiStream."""
    queries: int


def settings(scenario: Scenario, amount: Amount, *, samples: int, samples_per_s: float, samples_in_memory: int) -> Any:
    """LoadGen's TestSettings: those that it brings along for ResNet-50, made shorter if the amount says so.

    samples: how many to measure, if the amount isn't MLPerf's own. samples_per_s: what the device does (Server: the
    arrival rate to ask for). A shortened test keeps MLPerf's minimum duration, so that LoadGen itself says that it was
    too short; it ends by max_query_count, or, in Offline, because the one query holds no more samples.
    """
    import mlperf_loadgen as lg  # type: ignore[import-not-found]

    made = lg.TestSettings()
    # conf type 0: the mlperf.conf that is compiled into LoadGen (type 1 would take a file, and this one only once).
    if made.FromConfig("", "resnet50", scenario.value, 0) != 0:
        raise LoadGenError("LoadGen could not read its own settings for resnet50")
    made.scenario = getattr(lg.TestScenario, scenario.value)
    made.mode = lg.TestMode.PerformanceOnly
    made.performance_sample_count_override = samples_in_memory
    rule_s = made.min_duration_ms / 1000
    match scenario:
        case Scenario.OFFLINE if amount.mlperf:
            # LoadGen adds 10 %; 5 % more, because a test that ends at 599 s was for nothing.
            made.offline_expected_qps = samples_per_s * 1.05
        case Scenario.OFFLINE:
            made.min_query_count = samples
            made.offline_expected_qps = 0.9 * samples / (1.1 * rule_s)
        case Scenario.SERVER:
            made.server_target_qps = samples_per_s
            if not amount.mlperf:
                made.max_query_count = samples
                made.min_duration_ms = round(1000 * min(rule_s, max(_MOST_GENERATED, 10 * samples) / samples_per_s))
        case Scenario.SINGLE_STREAM | Scenario.MULTI_STREAM:
            per_query = MULTI_STREAM_SAMPLES if scenario is Scenario.MULTI_STREAM else 1
            latency_ns = 1e9 * per_query / samples_per_s
            if not amount.mlperf:
                queries = math.ceil(samples / per_query)
                made.max_query_count = queries
                latency_ns = 1e9 * 2 * rule_s / queries  # a hint: LoadGen prepares queries for twice the duration
            made.single_stream_expected_latency_ns = latency_ns
            made.multi_stream_expected_latency_ns = latency_ns
    return made


def expected_samples(scenario: Scenario, made: Any, samples_per_s: float) -> int:
    """How many samples a test with MLPerf's own lengths will have, about."""
    seconds = float(made.min_duration_ms) / 1000
    per_query = MULTI_STREAM_SAMPLES if scenario is Scenario.MULTI_STREAM else 1
    return max(math.ceil(seconds * samples_per_s), int(made.min_query_count) * per_query)


def start_test(
    made: Any,
    *,
    issue: Callable[[list[int], list[int]], None],
    load: Callable[[list[int]], None],
    total: int,
    log_dir: Path,
) -> None:
    """Runs a test and returns when LoadGen has ended it. `issue` gets response ids and sample indices, and is called on
    this thread; neither it nor `load` may raise. The logs are in log_dir afterwards."""
    import mlperf_loadgen as lg

    log_dir.mkdir(parents=True, exist_ok=True)
    outputs = lg.LogOutputSettings()
    outputs.outdir = str(log_dir)
    logs = lg.LogSettings()
    logs.log_output = outputs
    logs.enable_trace = False
    # The "fast" SUT hands over plain integers; the other makes an object of each sample, before the first is run.
    sut = lg.ConstructFastSUT(issue, lambda: None)
    library = lg.ConstructQSL(total, total, load, lambda _: None)
    try:
        lg.StartTestWithLogSettings(sut, library, made, logs, "")  # "": no audit.config of the working directory
    finally:
        lg.DestroyFastSUT(sut)
        lg.DestroyQSL(library)
    for file in log_dir.iterdir():
        if file.stat().st_size == 0:  # trace and accuracy logs, opened and never used
            file.unlink()


def read_verdict(log_dir: Path, scenario: Scenario) -> Verdict:
    """Reads LoadGen's detail log. Raises LoadGenError if it has no verdict, OSError if that is so for want of disk."""
    values: dict[str, Any] = {}
    errors: list[str] = []
    file = log_dir / DETAIL
    for line in file.read_text(errors="replace").splitlines() if file.exists() else ():
        if not line.startswith(_PREFIX):
            continue
        try:
            entry = json.loads(line.removeprefix(_PREFIX))
        except ValueError:
            continue
        values[entry["key"]] = entry["value"]
        if entry.get("metadata", {}).get("is_error"):
            errors.append(str(entry["value"]).strip())
    kind = "per_query_latency_ns" if scenario is Scenario.MULTI_STREAM else "latency_ns"
    edge = "query_latency_ns" if scenario is Scenario.MULTI_STREAM else "latency_ns"
    try:
        latency_ms = {
            "mean": values[f"result_mean_{edge}"] / 1e6,
            **{name: values[f"result_{text}_percentile_{kind}"] / 1e6 for name, text in _PERCENTILES.items()},
            "min": values[f"result_min_{edge}"] / 1e6,
            "max": values[f"result_max_{edge}"] / 1e6,
        }
        result = values["result_validity"]
    except KeyError as missing:
        # LoadGen doesn't look whether its logs could be written. If this can't either, it raises what is the matter.
        probe = log_dir / ".probe"
        try:
            probe.write_bytes(bytes(1 << 16))
        finally:
            probe.unlink(missing_ok=True)
        raise LoadGenError(f"LoadGen ended without a verdict: its log has no {missing}") from None
    reasons: list[str] = []
    if result != "VALID":
        reasons += [text for key, text in _CONSTRAINTS.items() if values.get(key) is False]
        reasons += [text for text in (str(values.get("result_invalid_reason", "")).strip(), *errors) if text]
        if values.get("early_stopping_met") is False:
            reasons.append(" ".join(str(values.get("early_stopping_result", "")).split()))
    rate = {
        Scenario.OFFLINE: "result_samples_per_second",
        Scenario.SERVER: "result_completed_samples_per_sec",
        Scenario.SINGLE_STREAM: "result_qps_with_loadgen_overhead",
    }.get(scenario)
    samples_per_s = values.get(rate) if rate else None
    return Verdict(
        result=str(result),
        reasons=tuple(dict.fromkeys(reasons)),
        min_duration_met=values.get("result_min_duration_met") is not False,
        latency_ms=latency_ms,
        samples_per_s=float(samples_per_s) if samples_per_s is not None and math.isfinite(samples_per_s) else None,
        queries=int(values.get("result_query_count", 0)),
    )
