"""The results contract: models against good and broken documents, and folders as runs leave them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_job import results
from benchmark_job.results import (
    KernelRecord,
    OtherRecord,
    ResNet50Record,
    ResultsError,
    RunResults,
    attempts,
    complete_attempt,
    json_schemas,
    parse_document,
    parse_manifest,
    parse_record,
)
from results_folder import Cause, ResultsFolder, Status
from tests.results_samples import STAMPS, cpu_records, document, folder, gpu_records, kernel, resnet50

ROOT = Path(__file__).parents[1]
SCHEMAS = {name: json.loads(text) for name, text in json_schemas().items()}


def changed(record: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with one key set, by its dotted path; `...` takes the key out."""
    copy: dict[str, Any] = json.loads(json.dumps(record))
    *above, last = path.split("/")
    place = copy
    for key in above:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copy


def schema_refuses(name: str, value: object) -> bool:
    return not jsonschema.Draft202012Validator(SCHEMAS[name]).is_valid(value)


# --- models ------------------------------------------------------------------------------------------------------


def test_documents_of_a_gpu_and_of_a_cpu_are_accepted_by_models_and_schema() -> None:
    for made in (document(gpu_records()), document(cpu_records(), gpu=False)):
        read = parse_document(made)
        assert len(read.benchmarks) == len(made["benchmarks"])
        jsonschema.Draft202012Validator(SCHEMAS["results.schema.json"]).validate(made)
    assert len(parse_document(document(gpu_records())).benchmarks) > 624


def test_a_record_goes_through_the_model_unchanged() -> None:
    # The key with a dot in it is the one that an alias could lose.
    for record in (resnet50("Server", "fp16", 8, 100.0, 5.0), kernel("gemm", {"m": 8}, "fp32", 1, tflop=1.0, gb=None)):
        again = parse_record(record).model_dump(mode="json", exclude_unset=True)
        assert {**again, "at": None} == {**record, "at": None}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("scenario", "Offlin", "scenario"),
        ("precision", "fp8", "precision"),
        ("batch_size", 0, "batch_size = 0"),
        ("batch_size", "8", "batch_size"),
        ("batch_size", True, "batch_size"),
        ("throughput_samples_per_s", -1.0, "throughput_samples_per_s"),
        ("throughput_samples_per_s", "12", "throughput_samples_per_s"),
        ("latency_ms/p99", "fast", "latency_ms.p99"),
        ("latency_ms/p98", 3.0, "latency_ms.p98"),
        ("loadgen/result", "valid", "loadgen.result"),
        ("loadgen", ..., "loadgen: is missing"),
        ("device", None, "device"),
        ("at", 1763720000, "at"),
        ("at", "2026-11-21T10:15:30", "at"),  # no time zone
        ("temperature", 3, "temperature = 3: is not a key of this record"),
    ],
)
def test_a_broken_resnet50_record_is_refused_with_its_key(path: str, value: object, said: str) -> None:
    record = changed(resnet50("Server", "fp16", 8, 100.0, 5.0), path, value)
    with pytest.raises(ResultsError) as caught:
        parse_record(record)
    assert said in str(caught.value)
    if path != "at":  # JSON Schema's date-time is a note to readers, not a check
        assert schema_refuses("results.schema.json", document([record]))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("kernel", "conv", "kernel"),
        ("shape/m", 0, "shape.m"),
        ("shape", [1, 2], "shape"),
        ("time_ms/median", ..., "time_ms.median: is missing"),
        ("time_ms/p50", 1.0, "time_ms.p50"),
        ("repetitions", -3, "repetitions"),
        ("tflop_per_s", "22", "tflop_per_s"),
    ],
)
def test_a_broken_kernels_record_is_refused_with_its_key(path: str, value: object, said: str) -> None:
    record = changed(kernel("gemm", {"m": 8}, "fp32", 1, tflop=1.0, gb=None), path, value)
    with pytest.raises(ResultsError) as caught:
        parse_record(record)
    assert said in str(caught.value)
    assert schema_refuses("results.schema.json", document([record]))


def test_all_mistakes_are_said_at_once() -> None:
    record = changed(changed(resnet50("Server", "fp16", 8, 1.0, 5.0), "scenario", "x"), "batch_size", 0)
    with pytest.raises(ResultsError) as caught:
        parse_record(record)
    assert len(str(caught.value).splitlines()) == 2


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.text(min_size=1).filter(lambda n: n not in ("resnet50", "kernels")),
    st.dictionaries(st.text(), json_values, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_any_other_record_is_kept_as_it_is(name: str, fields: dict[str, Any]) -> None:
    record = {**fields, "benchmark": name}
    read = parse_record(record)
    assert isinstance(read, OtherRecord)
    assert read.model_dump(mode="json") == record
    assert read.fields == {key: value for key, value in fields.items() if key != "benchmark"}


figures = st.none() | st.floats(0, 1e12, allow_nan=False)


@given(st.sampled_from(["Offline", "Server", "SingleStream", "MultiStream"]), st.integers(1, 4096), figures, figures)
@settings(max_examples=40, deadline=None)
def test_any_measured_figure_may_be_null(
    scenario: str, batch: int, throughput: float | None, p50: float | None
) -> None:
    read = parse_record(resnet50(scenario, "bf16", batch, throughput, p50))
    assert isinstance(read, ResNet50Record)
    assert parse_record(read.model_dump(mode="json")) == read


def test_the_third_incidents_document_is_accepted() -> None:
    made = {
        "timestamp": "2025-12-01T10:00:00Z",
        "gpu_info": {"name": "Tesla T4", "cuda_version": "12.2", "total_memory_gb": 14.6},
        "benchmarks": [{"benchmark": "inference", "scenario": "Offline", "throughput": 1200}],
    }
    read = parse_document(made)
    assert read.gpu_info.name == "Tesla T4"
    assert isinstance(read.benchmarks[0], OtherRecord)
    assert not schema_refuses("results.schema.json", made)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema_version", 2),
        ("status", "done"),
        ("files", ...),
        ("files", [{"path": "../../etc/passwd", "bytes": 1, "sha256": "0" * 64}]),
        ("files", [{"path": "/etc/passwd", "bytes": 1, "sha256": "0" * 64}]),
        ("files", [{"path": "a", "bytes": -1, "sha256": "0" * 64}]),
        ("files", [{"path": "a", "bytes": 1, "sha256": "xyz"}]),
        ("cause", {"cause": "bad luck", "code": "x", "message": "m", "mend": "n"}),
        ("exit_code", "0"),
        ("made_by", "hand"),
    ],
)
def test_a_broken_manifest_is_refused(tmp_path: Path, path: str, value: object) -> None:
    good = json.loads((folder(tmp_path / "a", []) / "manifest.json").read_text())
    parse_manifest(good)
    assert not schema_refuses("manifest.schema.json", good)
    with pytest.raises(ResultsError, match=r"manifest\.json: " + path):
        parse_manifest(changed(good, path, value))


# --- folders -----------------------------------------------------------------------------------------------------


def test_a_whole_folder(tmp_path: Path) -> None:
    run = RunResults.load(folder(tmp_path / "a", gpu_records()))
    assert run.problems == ()
    assert run.status == "complete"
    assert len(run.resnet50) == 24
    assert len(run.kernels) >= 600
    assert isinstance(run.kernels[0], KernelRecord)
    assert run.gpu_name == "NVIDIA L4"
    assert run.run_id == "3f9c2a71b0d4-1"
    assert run.cost_usd == pytest.approx(0.7068 * (run.duration_s or 0) / 3600)


def test_a_container_with_files_of_its_own_has_a_manifest_only(tmp_path: Path) -> None:
    made = ResultsFolder(tmp_path / "r" / "a", {})
    (made.path / "scores.txt").write_text("42\n")
    started = results_started()
    made.seal(Status.COMPLETE, exit_code=0, started_at=started, cause=None, made_by="wrapper")
    run = RunResults.load(made.path)
    assert (run.document, run.records, run.problems) == (None, (), ())
    assert run.manifest is not None
    assert [entry.path for entry in run.manifest.files] == ["scores.txt"]
    assert (run.run_id, run.attempt_id) == ("r", "a")


def results_started() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 11, 21, tzinfo=UTC)


def test_a_killed_run_keeps_what_it_measured(tmp_path: Path) -> None:
    made = ResultsFolder(tmp_path / "a", STAMPS)
    for record in cpu_records()[:3]:
        made.append(record)
    with (made.path / "measurements.jsonl").open("a") as file:
        file.write('{"benchmark":"resnet50","scenario":"Off')  # torn: the writer was killed here
    run = RunResults.load(made.path)
    assert run.status == "unsealed"
    assert len(run.records) == 3
    assert len(run.problems) == 1
    assert "manifest.json" in run.problems[0]


def test_a_bad_record_is_named_and_shown_and_hides_nothing(tmp_path: Path) -> None:
    bad = changed(resnet50("Server", "fp16", 8, 1.0, 5.0), "batch_size", 0)
    run = RunResults.load(folder(tmp_path / "a", [*cpu_records(), bad, 17, {"no": "name"}]))  # type: ignore[list-item]
    assert len(run.resnet50) == 6
    assert run.others[0].fields["scenario"] == "Server"
    assert run.hardware.gpu_count == 1
    text = "\n".join(run.problems)
    assert "benchmarks[13].batch_size = 0" in text
    assert "benchmarks[14]" in text
    assert "benchmarks[15].benchmark: is missing" in text
    assert run.document is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dumped = run.document.model_dump(mode="json")["benchmarks"]
    assert len(dumped) == 14
    assert dumped[-1] == bad
    assert dumped[0]["latency_ms"] == cpu_records()[0]["latency_ms"]


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"benchmarks": 3}', '{"benchmarks": [NaN]}', "\xff", "[" * 100_000])
def test_a_broken_document_is_a_problem_and_no_traceback(tmp_path: Path, text: str) -> None:
    made = ResultsFolder(tmp_path / "a", STAMPS)
    (made.path / "benchmark_results.json").write_text(text, encoding="latin-1")
    made.seal(Status.COMPLETE, exit_code=0, started_at=results_started(), cause=None, made_by="wrapper")
    run = RunResults.load(made.path)
    assert run.document is None
    assert any("benchmark_results.json" in problem for problem in run.problems)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 99}', "\xff\xfe"])
def test_a_broken_manifest_counts_as_none(tmp_path: Path, text: str) -> None:
    path = folder(tmp_path / "runs" / "x-1" / "a", cpu_records())
    (path / "manifest.json").write_text(text, encoding="latin-1")
    run = RunResults.load(path)
    assert run.manifest is None
    assert run.problems
    assert len(run.records) == 13
    assert complete_attempt(tmp_path, "x-1", None) is None


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no results folder"):
        RunResults.load(tmp_path / "nowhere")


# --- the store ---------------------------------------------------------------------------------------------------


def test_complete_attempt_takes_only_whole_complete_ones_of_these_rungs(tmp_path: Path) -> None:
    run, rung = "3f9c2a71b0d4-1", str(STAMPS["rung"])
    base = tmp_path / "runs" / run
    assert attempts(tmp_path, run) == []
    assert complete_attempt(tmp_path, run, [rung]) is None
    cause = Cause("workload", "out-of-memory", "CUDA out of memory", "a smaller batch size")
    folder(base / "20261121T100000Z-aaaa", cpu_records(), status=Status.FAILED, cause=cause)
    ResultsFolder(base / "20261121T101000Z-bbbb", STAMPS).append(cpu_records()[0])
    (base / "20261121T101000Z-bbbb.log").write_text("not a folder")
    assert complete_attempt(tmp_path, run, None) is None
    folder(base / "20261121T102000Z-cccc", cpu_records())
    other = folder(base / "20261121T103000Z-dddd", cpu_records(), stamps={**STAMPS, "rung": "local/any"})
    assert [one.attempt_id[-4:] for one in attempts(tmp_path, run)] == ["aaaa", "bbbb", "cccc", "dddd"]
    assert [one.complete for one in attempts(tmp_path, run)] == [False, False, True, True]

    def found(rungs: list[str] | None) -> str | None:
        attempt = complete_attempt(tmp_path, run, rungs)
        return attempt.attempt_id[-4:] if attempt else None

    assert found(None) == "dddd"
    assert found([rung]) == "cccc"
    assert found(["local/any", rung]) == "dddd"
    assert found([]) is None
    assert found(["gce/elsewhere"]) is None
    # One byte changed behind the manifest's back: no longer whole, so the other one counts.
    path = other / "benchmark_results.csv"
    path.write_bytes(path.read_bytes().replace(b"resnet50", b"resnet51", 1))
    assert found(None) == "cccc"
    attempt = complete_attempt(tmp_path, run, None)
    assert attempt is not None
    assert len(attempt.load().records) == 13


def test_a_store_that_cannot_be_read_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the store should be")
    with pytest.raises(NotADirectoryError):
        attempts(tmp_path, "x-1")


# --- schemas, command, import ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_schemas_under_docs_are_those_of_the_models(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == json_schemas()[name], (
        "stale: run `python -m benchmark_job.results --schema docs/`"
    )


def test_the_command_writes_schemas_and_checks_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--schema", str(tmp_path / "docs")]) == 0
    assert {path.name for path in (tmp_path / "docs").iterdir()} == set(SCHEMAS)
    good = folder(tmp_path / "good", cpu_records())
    assert results.main(["--check", str(good)]) == 0
    assert "complete, 13 records, 0 problems" in capsys.readouterr().out
    (good / "benchmark_results.csv").unlink()
    assert results.main(["--check", str(good)]) == 1
    assert results.main(["--check", str(tmp_path / "nowhere")]) == 2


def test_importing_models_and_report_loads_nothing_heavy() -> None:
    code = (
        "import sys, benchmark_job.results, benchmark_job.report;"
        "print([m for m in ('torch', 'numpy', 'rich', 'pulumi', 'yaml', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_example_container_of_the_docs_works(tmp_path: Path) -> None:
    """The script in docs/results.md is taken from the page and run as a container's command would be."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    script = page.split("```sh\n#!/bin/sh", 1)[1].split("```", 1)[0]
    shell = shutil.which("sh")
    assert shell is not None
    made = ResultsFolder(tmp_path / "run-1" / "a", {**STAMPS})
    (tmp_path / "measure").write_text(textwrap.dedent("#!/bin/sh" + script))
    environment = {**os.environ, "GPUBENCH_RESULTS": str(made.path), "GPUBENCH_STAMPS": json.dumps(STAMPS)}
    subprocess.run([shell, str(tmp_path / "measure")], env=environment, check=True, timeout=30)
    made.seal(Status.COMPLETE, exit_code=0, started_at=results_started(), cause=None, made_by="wrapper")
    run = RunResults.load(made.path)
    assert run.problems == ()
    assert [record.benchmark for record in run.others] == ["disk"] * 3
    assert run.others[0].fields["mb_per_s"] > 0
    assert not (made.path / "progress.json").exists()
