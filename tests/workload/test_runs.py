"""The workload run for real, in a process of its own: whole, stopped, and on machines that lack something."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import results_folder
from workload.profile import Scenario

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "workload", *arguments]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GPUBENCH_")}
    return {**kept, "CUDA_VISIBLE_DEVICES": "", **more}


def run(*arguments: str, limit: Callable[[], None] | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(**more), text=True, capture_output=True, timeout=180,
        preexec_fn=limit,
    )  # fmt: skip


def load(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def sealed(folder: Path, status: str, code: str | None) -> dict[str, Any]:
    manifest = results_folder.read_manifest(folder)
    assert manifest is not None
    assert results_folder.verify(folder) == []
    assert manifest["status"] == status
    assert (manifest["cause"] or {}).get("code") == code, manifest["cause"]
    assert not (folder / "progress.json").exists()
    return manifest


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.CompletedProcess[str]]]:
    folder = tmp_path_factory.mktemp("smoke") / "results"
    stamps = json.dumps({"run": "0123456789ab-1", "git_commit": "c0ffee", "image_digest": None})
    yield folder, run("--profile", "smoke", "--results", str(folder), "--device", "cpu", GPUBENCH_STAMPS=stamps)


def test_smoke_is_complete_and_sealed(smoke: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = smoke
    assert done.returncode == 0, done.stderr
    manifest = sealed(folder, "complete", None)
    assert manifest["exit_code"] == 0
    assert manifest["made_by"] == "workload"
    assert manifest["stamps"] == {"run": "0123456789ab-1", "git_commit": "c0ffee", "image_digest": None}
    assert {"benchmark_results.json", "benchmark_results.csv", "measurements.jsonl"} < {
        entry["path"] for entry in manifest["files"]
    }
    assert re.search(r"^\[1/9\] resnet50 Offline batch 1 fp32: [\d.]+ samples/s", done.stdout, re.MULTILINE)


def test_smoke_records(smoke: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = smoke
    document = load(folder, "benchmark_results.json")
    records = document["benchmarks"]
    assert records == results_folder.read_records(folder)
    vision = [record for record in records if record["benchmark"] == "resnet50"]
    assert [(each["scenario"], each["batch_size"], each["samples"]) for each in vision] == [
        ("Offline", 1, 4), ("Offline", 4, 4), ("Server", 4, 4), ("SingleStream", 1, 3), ("MultiStream", 8, 8),
    ]  # fmt: skip
    for record in vision:
        latency = record["latency_ms"]
        order = ["min", "p50", "p90", "p95", "p97", "p99", "p99.9", "max"]
        assert [latency[name] for name in order] == sorted(latency[name] for name in order)
        assert latency["min"] <= latency["mean"] <= latency["max"]
        assert record["device"] == "cpu"
        if record["scenario"] in ("Offline", "MultiStream"):  # the others' rates are LoadGen's, of n - 1 samples
            assert record["throughput_samples_per_s"] == pytest.approx(
                record["samples"] / record["duration_s"], rel=0.1
            )
        assert (record["loadgen"]["target_qps"] is None) == (record["scenario"] != "Server")
    kernels = [record for record in records if record["benchmark"] == "kernels"]
    assert {(each["kernel"], each["batch_size"]) for each in kernels} == {
        (kernel, batch) for kernel in ("gemm", "softmax", "layer_norm", "attention") for batch in (1, 2)
    }
    for record in kernels:
        times = record["time_ms"]
        assert 0 < times["min"] <= times["p5"] <= times["median"] <= times["p95"] <= times["max"]
        assert record["dispersion"] == pytest.approx((times["p95"] - times["p5"]) / times["median"])
        assert (record["tflop_per_s"] is None) != (record["gb_per_s"] is None)
        if record["kernel"] == "gemm":
            assert record["tflop_per_s"] == pytest.approx(
                2 * record["batch_size"] * 64**3 / (times["median"] / 1e3) / 1e12
            )
    assert document["gpu_info"] == {"name": None, "cuda_version": None, "total_memory_gb": None}
    assert document["hardware"]["gpus"] == []
    assert document["hardware"]["cpu"]["logical_cores"] == os.cpu_count()
    assert document["hardware"]["git_commit"] == "c0ffee"
    assert document["workload"]["weights"] == "seeded:0 (random, not trained)"


def test_smoke_carries_what_loadgen_says(smoke: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = smoke
    document = load(folder, "benchmark_results.json")
    for record in document["benchmarks"]:
        if record["benchmark"] != "resnet50":
            continue
        # LoadGen writes the same facts twice: for machines (the record is made of that), and for people.
        summary = (folder / record["loadgen"]["log_dir"] / "mlperf_log_summary.txt").read_text()
        found = dict(re.findall(r"^ *(.+?)\s*: (.*)$", summary, re.MULTILINE))
        assert found["Scenario"] == record["scenario"]
        assert found["Result is"] == record["loadgen"]["result"] == "INVALID"
        assert found["Min duration satisfied"] == "NO"
        assert "Min duration satisfied: NO" in record["loadgen"]["reasons"]
        assert float(found["Mean latency (ns)"]) / 1e6 == pytest.approx(record["latency_ms"]["mean"])
        assert float(found["99.00 percentile latency (ns)"]) / 1e6 == pytest.approx(record["latency_ms"]["p99"])
        assert found["min_duration (ms)"] == "600000"
        assert (folder / record["loadgen"]["log_dir"] / "mlperf_log_detail.txt").exists()
    notes = " ".join(document["workload"]["notes"])
    assert "profile too short for a valid MLPerf run: LoadGen says INVALID" in notes
    assert "weights are random" in notes


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def answered_some(folder: Path) -> bool:
    """LoadGen has its logs open and the test runs. (The detail log is written before the first query is issued.)"""
    logs = list(folder.glob("loadgen/*/mlperf_log_detail.txt"))
    return bool(logs) and "Starting performance mode" in logs[0].read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("scenario", list(Scenario))
def test_stops_in_the_middle_of_a_loadgen_test(tmp_path: Path, scenario: Scenario, number: signal.Signals) -> None:
    if number is signal.SIGINT and scenario is not Scenario.SERVER:
        pytest.skip("the signals differ in nothing but their number")
    folder = tmp_path / "results"
    arguments = ["--profile", "standard", "--benchmarks", "resnet50", "--device", "cpu", "--precisions", "fp32"]
    process = subprocess.Popen(
        command(*arguments, "--scenarios", scenario, "--batch-sizes", "1", "--results", str(folder)),
        cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(lambda: answered_some(folder), process)
    progress = results_folder.read_progress(folder)
    assert progress is not None
    assert progress["total"] == 1
    time.sleep(0.5)
    asked = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=20)
    assert time.monotonic() - asked < 5
    assert process.returncode == 128 + number
    manifest = sealed(folder, "interrupted", "signal")
    assert manifest["cause"]["cause"] == "interrupted"
    assert manifest["exit_code"] == 128 + number
    notes = load(folder, "benchmark_results.json")["workload"]["notes"]
    assert re.search(rf"resnet50 {scenario} batch 1 fp32 was under way: \d+ of \d+ samples", notes[-1])
    assert any("mlperf_log_detail" in entry["path"] for entry in manifest["files"])
    time.sleep(1.2)  # nothing of the process is left that could write once more
    assert results_folder.verify(folder) == []


def test_stopped_in_a_sweep_keeps_what_was_measured(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    process = subprocess.Popen(
        command("--profile", "standard", "--benchmarks", "kernels", "--device", "cpu", "--results", str(folder)),
        cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(lambda: len(results_folder.read_records(folder)) >= 3, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
    sealed(folder, "interrupted", "signal")
    document = load(folder, "benchmark_results.json")
    assert document["status"] == "interrupted"
    assert len(document["benchmarks"]) >= 3
    assert len((folder / "benchmark_results.csv").read_text().splitlines()) == 1 + len(document["benchmarks"])


def test_host_out_of_memory(tmp_path: Path) -> None:
    # Enough address space to import torch, not enough for batches of 4096 images (2.5 GB of input alone).
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))

    folder = tmp_path / "results"
    done = run(
        "--profile", "smoke", "--benchmarks", "resnet50", "--scenarios", "Offline", "--batch-sizes", "1,4096",
        "--device", "cpu", "--results", str(folder), limit=limit,
    )  # fmt: skip
    assert done.returncode == 10, done.stderr
    manifest = sealed(folder, "failed", "out-of-memory")
    assert manifest["cause"]["cause"] == "workload"
    assert [record["batch_size"] for record in results_folder.read_records(folder)] == [1]


def can_mount() -> bool:
    try:
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


FULL_FROM_THE_START = 'head -c 2200k /dev/zero > "$MOUNT/filler"'
FULL_IN_THE_MIDDLE = (
    '(until ls "$MOUNT"/results/loadgen/*/*.txt; do sleep 0.05; done; cat /dev/zero > "$MOUNT/filler") &'
)


@pytest.mark.skipif(not can_mount(), reason="needs unprivileged user namespaces, to mount a small tmpfs")
@pytest.mark.parametrize("fill", [FULL_FROM_THE_START, FULL_IN_THE_MIDDLE])
def test_a_disk_that_is_full(tmp_path: Path, fill: str) -> None:
    """A tmpfs of 2.6 MB: full before the run sets its reserve aside, or while LoadGen writes logs (it doesn't look)."""
    mount, out = tmp_path / "mount", tmp_path / "out"
    mount.mkdir()
    script = (
        f'mount -t tmpfs -o size=2600k tmpfs "$MOUNT"; {{ {fill}\n}} 2>/dev/null; "$@"; code=$?; '
        'cp -r "$MOUNT/results" "$OUT"; exit $code'
    )
    arguments = ["--profile", "smoke", "--benchmarks", "resnet50", "--scenarios", "SingleStream", "--device", "cpu"]
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script, "bash", *command(*arguments, "--results", str(mount / "results"))],
        cwd=ROOT, env=environment(OUT=str(out), MOUNT=str(mount)), text=True, capture_output=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 13, done.stderr
    sealed(out, "failed", "disk-full")
    assert load(out, "benchmark_results.json")["benchmarks"] == []


def test_a_file_size_limit(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 10, 4 << 10))

    folder = tmp_path / "results"
    done = run(
        "--profile", "smoke", "--benchmarks", "kernels", "--device", "cpu", "--results", str(folder), limit=limit
    )
    assert done.returncode == 13, done.stderr
    assert "disk-full" in done.stderr
    sealed(folder, "failed", "disk-full")


def test_asking_for_a_gpu_where_there_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    done = run("--profile", "smoke", "--device", "cuda", "--results", str(folder))
    assert done.returncode == 12, done.stderr
    manifest = sealed(folder, "failed", "no-gpu")
    assert "no /dev/nvidia0" in manifest["cause"]["message"] or "without CUDA" in manifest["cause"]["message"]
    assert load(folder, "benchmark_results.json")["benchmarks"] == []


@pytest.mark.parametrize(
    ("raises", "exit_code", "code", "mend"),
    [
        (
            'OSError("libcudart.so.13: cannot open shared object file: No such file or directory")',
            11,
            "missing-cuda-library",
            "driver",
        ),
        ('ImportError("libcudnn.so.9: undefined symbol: cudnnGetVersion")', 11, "missing-cuda-library", "driver"),
        ('MemoryError("std::bad_alloc")', 10, "out-of-memory", "smaller batches"),
        ("ModuleNotFoundError(\"No module named 'torch'\")", 1, "error", "install torch"),
    ],
)
def test_torch_that_cannot_be_imported(tmp_path: Path, raises: str, exit_code: int, code: str, mend: str) -> None:
    broken = tmp_path / "path" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(f"raise {raises}\n")
    folder = tmp_path / "results"
    done = run("--profile", "smoke", "--results", str(folder), PYTHONPATH=str(broken.parent))
    assert done.returncode == exit_code, done.stderr
    assert mend in sealed(folder, "failed", code)["cause"]["mend"]
    assert load(folder, "benchmark_results.json")["hardware"]["cpu"]["logical_cores"] == os.cpu_count()


@pytest.mark.parametrize(
    ("arguments", "stamps", "said"),
    [
        (["--profile", "standart"], "", ["--profile 'standart': must be one of .*; did you mean standard"]),
        (["--scenarios", "Ofline,Server"], "", ["--scenarios 'Ofline': .* did you mean Offline"]),
        (["--batch-sizes", "0,eight"], "", ["--batch-sizes '0'", "--batch-sizes 'eight'"]),
        (["--batch-sizes", ""], "", ["--batch-sizes ''"]),
        (
            ["--precisions", "int8", "--device", "gpu"],
            "",
            ["--device 'gpu': must be one of auto", "--precisions 'int8'"],
        ),
        (["--device", "cpu,cuda"], "", ["--device 'cpu,cuda'"]),
        (["--seed", "1x"], "", ["--seed '1x'"]),
        (["--weights", "/nowhere/at/all.pt"], "", ["--weights .*: can't be read: No such file"]),
        (["--scenarios", "SingleStream", "--batch-sizes", "8"], "", ["leaves nothing to run"]),
        (["--benchmark", "kernels"], "", ["--benchmark: no such option; did you mean --benchmarks", "kernels"]),
        (["--profile"], "", ["--profile: expected one argument"]),
        ([], "[1]", ["GPUBENCH_STAMPS: must be a JSON object, not list"]),
        ([], "{", ["GPUBENCH_STAMPS: must be a JSON object"]),
        (["--profile", "x", "--seed", "y"], "{", ["--profile 'x'", "--seed 'y'", "GPUBENCH_STAMPS"]),
    ],
)
def test_bad_input_writes_nothing(tmp_path: Path, arguments: list[str], stamps: str, said: list[str]) -> None:
    folder = tmp_path / "results"
    done = run("--results", str(folder), *arguments, GPUBENCH_STAMPS=stamps)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == len(said), lines
    for line, pattern in zip(lines, said, strict=True):
        assert re.search(pattern, line), line
    assert done.stdout == ""
    assert not folder.exists()


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "measurements.jsonl").write_text('{"benchmark":"mine"}\n')
    done = run("--results", str(tmp_path))
    assert done.returncode == 2
    assert "already holds a run" in done.stderr
    assert (tmp_path / "measurements.jsonl").read_text() == '{"benchmark":"mine"}\n'
    assert len(list(tmp_path.iterdir())) == 1
