"""Synthetic results folders for the tests of results and report. Made-up figures: never show them as measured."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from results_folder import Cause, ResultsFolder, Status

STAMPS: dict[str, object] = {
    "run": "3f9c2a71b0d4-1",
    "attempt": "20261121T101530Z-a1b2",
    "stack": "dev",
    "rung": "gce/my-project/us-central1/l4/on-demand/g2-standard-4",
    "surface": "gce",
    "requested_tier": "h100",
    "obtained_tier": None,
    "region": "us-central1",
    "zone": "us-central1-a",
    "purchase": "on-demand",
    "image": None,
    "image_digest": "sha256:" + "4e" * 32,
    "git_commit": "0c5f3a9be1d2" + "0" * 28,
    "git_dirty": True,
    "code_digest": "ab" * 32,
    "usd_per_hour": 0.7068,
}
CPU_STAMPS: dict[str, object] = {
    **STAMPS,
    "run": "77aa00bb11cc-1",
    "rung": "local/any",
    "surface": "local",
    "requested_tier": "any",
    "region": None,
    "zone": None,
    "purchase": "on-demand",
    "git_dirty": False,
    "usd_per_hour": 0.0,
}
TOO_SHORT = "Min duration satisfied : NO. Recommendations: Increase the expected QPS so the loadgen pre-generates more"


def resnet50(
    scenario: str,
    precision: str,
    batch: int,
    throughput: float | None,
    p50: float | None,
    *,
    valid: bool = True,
    device: str = "cuda:0",
    **changes: object,
) -> dict[str, Any]:
    factors = {"mean": 1.04, "p50": 1.0, "p90": 1.22, "p95": 1.31, "p97": 1.42, "p99": 1.75, "p99.9": 2.4}
    latency = {key: None if p50 is None else round(p50 * factor, 4) for key, factor in factors.items()}
    return {
        "benchmark": "resnet50",
        "scenario": scenario,
        "precision": precision,
        "batch_size": batch,
        "device": device,
        "samples": 1000,
        "duration_s": 30.1,
        "throughput_samples_per_s": throughput,
        "latency_ms": {**latency, "min": None if p50 is None else p50 * 0.9, "max": None if p50 is None else p50 * 3},
        "loadgen": {
            "result": "VALID" if valid else "INVALID",
            "reasons": [] if valid else [TOO_SHORT],
            "target_qps": 120.0 if scenario == "Server" else None,
            "log_dir": f"loadgen/resnet50-{scenario.lower()}-{precision}-b{batch}",
        },
        "options": {"channels_last": False, "compile": False},
        "at": "2026-11-21T10:15:30.123Z",
        **changes,
    }


def kernel(
    name: str,
    shape: Mapping[str, int],
    precision: str,
    batch: int,
    *,
    tflop: float | None,
    gb: float | None,
    device: str = "cuda:0",
    **changes: object,
) -> dict[str, Any]:
    return {
        "benchmark": "kernels",
        "kernel": name,
        "shape": dict(shape),
        "precision": precision,
        "batch_size": batch,
        "device": device,
        "repetitions": 40,
        "time_ms": {"median": 1.0, "p5": 0.98, "p95": 1.05, "mean": 1.0, "stddev": 0.02, "min": 0.97, "max": 1.2},
        "dispersion": 0.07,
        "tflop_per_s": tflop,
        "gb_per_s": gb,
        "at": "2026-11-21T10:16:30.123Z",
        **changes,
    }


def gpu_records(speed: float = 1.0, seed: int = 1) -> list[dict[str, Any]]:
    """Like the standard profile on a GPU: 24 LoadGen tests and 648 kernel points."""
    noise = random.Random(seed)

    def jitter() -> float:
        return noise.uniform(0.97, 1.03) * speed

    records = []
    for precision, gain in (("fp32", 1.0), ("fp16", 2.9), ("bf16", 2.8)):
        for batch, rate in ((1, 310.0), (8, 890.0), (32, 1120.0)):
            records.append(resnet50("Offline", precision, batch, rate * gain * jitter(), 15000 / gain, valid=False))
        for batch, rate in ((1, 250.0), (8, 610.0), (32, 780.0)):
            p50 = (3.4 + batch * 0.6) / gain
            records.append(resnet50("Server", precision, batch, rate * gain * jitter(), p50 / speed, valid=batch > 1))
        records.append(resnet50("SingleStream", precision, 1, 260 * gain**0.4 * jitter(), 3.8 / gain**0.4 / speed))
        records.append(resnet50("MultiStream", precision, 8, 700 * gain**0.6 * jitter(), 11 / gain**0.6 / speed))
    for precision, peak in (("fp32", 22.0), ("fp16", 88.0), ("bf16", 85.0)):
        for batch in (1, 4, 16):
            for power in range(7, 14):
                n = 2**power
                work = n**3 * batch / 2e9
                reached = peak * work / (work + 6) * jitter()
                records.append(kernel("gemm", {"m": n, "n": n, "k": n}, precision, batch, tflop=reached, gb=None))
                wide = peak * 4 * work / (4 * work + 6) * jitter()
                records.append(kernel("gemm", {"m": n, "n": 4 * n, "k": n}, precision, batch, tflop=wide, gb=None))
            for rows in (256, 1024, 4096, 16384):
                for columns in (128, 256, 512, 1024, 2048, 4096, 8192):
                    size = rows * columns * batch / 1e6
                    rate = 260 * size / (size + 0.4) * jitter()
                    for name in ("softmax", "layer_norm"):
                        shape = {"rows": rows, "columns": columns}
                        records.append(kernel(name, shape, precision, batch, tflop=None, gb=rate))
            for length in (128, 512, 1024, 2048):
                reached = peak * 0.6 * length / (length + 700) * jitter()
                shape = {"heads": 16, "length": length, "head_dim": 64}
                records.append(kernel("attention", shape, precision, batch, tflop=reached, gb=reached * 3))
    return records


def cpu_records() -> list[dict[str, Any]]:
    """Like standard-cpu on two cores."""
    records = [
        resnet50("Offline", "fp32", batch, rate, 3000.0, valid=False, device="cpu")
        for batch, rate in ((1, 13.1), (8, 17.4), (32, 18.9))
    ]
    records += [
        resnet50("Server", "fp32", 8, 9.2, 180.0, valid=False, device="cpu"),
        resnet50("SingleStream", "fp32", 1, 12.9, 77.4, valid=False, device="cpu"),
        resnet50("MultiStream", "fp32", 8, 16.0, 490.0, valid=False, device="cpu"),
    ]
    for n in (256, 512, 1024):
        records.append(kernel("gemm", {"m": n, "n": n, "k": n}, "fp32", 1, tflop=0.09, gb=None, device="cpu"))
        records.append(kernel("softmax", {"rows": 1024, "columns": n}, "fp32", 1, tflop=None, gb=6.0, device="cpu"))
    records.append(
        kernel("attention", {"heads": 8, "length": 256, "head_dim": 64}, "fp32", 1, tflop=0.04, gb=None, device="cpu")
    )
    return records


GPU_HARDWARE: dict[str, Any] = {
    "gpus": [
        {
            "name": "NVIDIA L4",
            "memory_gb": 22.2,
            "compute_capability": "8.9",
            "driver_version": "580.1",
            "clocks_mhz": {"sm": 1980, "memory": 6251, "sm_max": 2040},
            "power_w": {"draw": 61.2, "limit": 72.0},
            "temperature_c": 54,
        }
    ],
    "gpu_count": 1,
    "driver_version": "580.1",
    "cuda_version": "13.0",
    "cudnn_version": "9.26",
    "cpu": {"model": "Intel(R) Xeon(R) CPU @ 2.20GHz", "physical_cores": 2, "logical_cores": 4},
    "memory_gb": 15.6,
    "os": "Debian GNU/Linux 12",
    "kernel": "6.1",
    "python": "3.11.7",
    "libraries": {"torch": "2.15.0", "torchvision": "0.29.2", "numpy": "2.4.6", "mlcommons-loadgen": "6.0.17"},
    "image_digest": None,
    "git_commit": None,
}
CPU_HARDWARE: dict[str, Any] = {
    **GPU_HARDWARE,
    "gpus": [],
    "gpu_count": 0,
    "driver_version": None,
    "cuda_version": None,
    "cudnn_version": None,
}


def document(
    records: Sequence[Mapping[str, Any]], *, stamps: Mapping[str, object] = STAMPS, gpu: bool = True, **changes: object
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "timestamp": "2026-11-21T10:35:30.123Z",
        "status": "complete",
        "gpu_info": {
            "name": "NVIDIA L4" if gpu else None,
            "cuda_version": "13.0" if gpu else None,
            "total_memory_gb": 22.2 if gpu else None,
        },
        "hardware": GPU_HARDWARE if gpu else CPU_HARDWARE,
        "stamps": dict(stamps),
        "workload": {
            "name": "gpubench-workload",
            "profile": "standard" if gpu else "standard-cpu",
            "benchmarks": ["resnet50", "kernels"],
            "options": {"batch_sizes": [1, 8, 32], "channels_last": False, "seed": 0},
            "weights": "seeded:0 (random, not trained)",
            "notes": ["profile too short for a valid MLPerf run: LoadGen wants 600 s"],
        },
        "benchmarks": list(records),
        **changes,
    }


def folder(
    path: Path,
    records: Sequence[Mapping[str, Any]],
    *,
    stamps: Mapping[str, object] = STAMPS,
    status: Status = Status.COMPLETE,
    cause: Cause | None = None,
    gpu: bool = True,
    **changes: object,
) -> Path:
    """A sealed results folder, by results_folder itself."""
    made = ResultsFolder(path, stamps)
    for record in records:
        made.append(record)
    made.write_results(document(records, stamps=stamps, gpu=gpu, **changes))
    started = datetime(2026, 11, 21, 10, 15, 30, tzinfo=UTC)
    made.seal(status, exit_code=0 if cause is None else 10, started_at=started, cause=cause, made_by="workload")
    return path
