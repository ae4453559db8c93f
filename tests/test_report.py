"""The report: figures, ticks, pictures and pages, from synthetic runs. Hostile names and missing values included."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_job.report import headline, render_terminal, write_plots, write_report
from benchmark_job.report.chart import (
    DARK,
    GAP,
    LIGHT,
    WIDTH,
    figure,
    linear_ticks,
    log_bounds,
    log_ticks,
    svg,
    text_width,
    thin,
)
from benchmark_job.report.content import build
from benchmark_job.report.markdown import escape
from benchmark_job.results import RunResults
from results_folder import Cause, Status
from tests.results_samples import (
    CPU_STAMPS,
    GPU_HARDWARE,
    STAMPS,
    cpu_records,
    folder,
    gpu_records,
    kernel,
    resnet50,
)

HOSTILE = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)>]]>--> `a` |b| [c](javascript:d) \x1b[31m\x00 \u202e"
)
SVG = "{http://www.w3.org/2000/svg}"


def tier_of(name: str, memory_gb: float | None) -> str | None:
    return {"NVIDIA L4": "l4", "Tesla T4": "t4"}.get(name)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> RunResults:
    return RunResults.load(folder(tmp_path_factory.mktemp("gpu") / "r" / "a", gpu_records()))


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> RunResults:
    path = tmp_path_factory.mktemp("cpu") / "r" / "a"
    return RunResults.load(folder(path, cpu_records(), stamps=CPU_STAMPS, gpu=False))


def load(path: Path, records: list[dict[str, Any]], **changes: Any) -> RunResults:
    return RunResults.load(folder(path, records, **changes))


class Page(HTMLParser):
    """Checks that elements nest, and collects what a hostile name would add."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def check_svg(text: str) -> ElementTree.Element:
    """Well-formed, named for those who can't see it, no NaN, everything inside, no two texts on top of each other."""
    root = ElementTree.fromstring(text)
    height = float(root.get("height", "nan"))
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text
    assert description is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    boxes = []
    for element in root.iter():
        for name, value in element.attrib.items():
            if name not in ("aria-labelledby", "id", "class"):
                assert not re.search(r"\bnan\b|\binf\b", value.lower()), (element.tag, name, value)
        for name in ("x", "y", "x1", "x2", "cx", "cy", "y1", "y2"):
            if name in element.attrib:
                assert -1 <= float(element.attrib[name]) <= max(WIDTH, height) + 1
        if element.tag == f"{SVG}text":
            # 0.85: text_width is on the wide side, and this must not fail on what it adds
            size, words = float(element.get("font-size", "0")), element.text or ""
            x, y, width = float(element.get("x", "0")), float(element.get("y", "0")), text_width(words, size) * 0.85
            left = {"middle": x - width / 2, "end": x - width}.get(element.get("text-anchor", "start"), x)
            assert left >= 0, words
            assert left + width <= WIDTH, words
            assert y <= height
            boxes.append((left, y - size * 0.75, left + width, y, words))
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)
    return root


# --- figures and ticks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (0, "0"), (12345.6, "12,346"), (123.4, "123"), (1.234, "1.23"), (0.01234, "0.0123"),
     (9.999, "10.00"), (2e10, "2.00e+10"), (1e-7, "1.00e-07")],
)  # fmt: skip
def test_figure(value: float | None, text: str) -> None:
    assert figure(value) == text


@given(st.floats(1e-6, 1e12))
@settings(max_examples=150, deadline=None)
def test_linear_ticks_are_1_2_5_and_hold_the_top(top: float) -> None:
    ticks = linear_ticks(top)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 7
    assert ticks[-1] >= top * (1 - 1e-6)
    assert round(ticks[1] / 10 ** math.floor(math.log10(ticks[1] * (1 + 1e-9)))) in (1, 2, 5)
    assert all(b - a == pytest.approx(ticks[1]) for a, b in pairwise(ticks))


@given(st.floats(1e-6, 1e9), st.floats(1.0, 1e9))
@settings(max_examples=150, deadline=None)
def test_log_ticks_lie_inside_the_bounds(low: float, ratio: float) -> None:
    bottom, top = log_bounds(low, low * ratio)
    assert bottom <= low * (1 + 1e-6)
    assert top >= low * ratio * (1 - 1e-6)
    ticks = log_ticks(bottom, top)
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert all(bottom * (1 - 1e-6) <= tick <= top * (1 + 1e-6) for tick in ticks)


@given(st.lists(st.floats(0, 400), min_size=1, max_size=40), st.integers(1, 9))
@settings(max_examples=80, deadline=None)
def test_thinned_labels_never_touch(positions: list[float], letters: int) -> None:
    positions = sorted(positions)
    label = "8" * letters
    kept = thin(positions, [label] * len(positions))
    assert kept[0] == 0
    room = text_width(label) + GAP
    assert all(positions[b] - positions[a] >= room * (1 - 1e-9) for a, b in pairwise(kept))


def _contrast(one: str, other: str) -> float:
    """WCAG 2.1, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_have_contrast(theme: Mapping[str, Any]) -> None:
    for colour in theme["series"]:
        assert _contrast(colour, theme["surface"]) >= 3, colour
    for text in ("ink", "muted"):
        assert _contrast(theme[text], theme["surface"]) >= 4.5


# --- headline ----------------------------------------------------------------------------------------------------


def test_headline_of_a_gpu(gpu: RunResults) -> None:
    found = headline(gpu, tier_of)
    offline = [r for r in gpu.resnet50 if r.scenario == "Offline"]
    assert found["offline_samples_per_s"] == max(r.throughput_samples_per_s or 0 for r in offline)
    valid = [r for r in gpu.resnet50 if r.scenario == "Server" and r.loadgen.result == "VALID"]
    best = max(valid, key=lambda r: r.throughput_samples_per_s or 0)
    assert (found["server_samples_per_s"], found["server_p99_ms"]) == (
        best.throughput_samples_per_s,
        best.latency_ms.p99,
    )
    gemm = [r.tflop_per_s or 0 for r in gpu.kernels if r.kernel == "gemm"]
    assert found["kernels_best_gemm_tflop_per_s"] == max(gemm)
    assert "kernels_best_softmax_gb_per_s" in found
    assert (found["loadgen"], found["obtained_tier"], found["status"]) == ("mixed", "l4", "complete")


@pytest.mark.parametrize(
    ("verdicts", "said"), [([True, True], "VALID"), ([False], "INVALID"), ([True, False], "mixed"), ([], "none")]
)
def test_the_verdict_over_all_tests(tmp_path: Path, verdicts: list[bool], said: str) -> None:
    records = [resnet50("Offline", "fp32", 2**i, 1.0, 1.0, valid=valid) for i, valid in enumerate(verdicts)]
    assert headline(load(tmp_path / "a", records), tier_of)["loadgen"] == said


def test_the_obtained_tier_is_the_gpus_that_was_measured_and_only_without_that_the_stamp(
    tmp_path: Path, cpu: RunResults
) -> None:
    stamped = load(tmp_path / "a", [], stamps={**STAMPS, "obtained_tier": "t4"})
    assert headline(stamped, tier_of)["obtained_tier"] == "l4"
    # A container that writes no hardware block: the surface knows what it gave it.
    manifest_only = replace(stamped, document=None)
    assert headline(manifest_only, tier_of)["obtained_tier"] == "t4"
    assert headline(cpu, tier_of)["obtained_tier"] == "cpu"
    assert "obtained_tier" not in headline(load(tmp_path / "b", []), lambda name, memory: None)
    assert headline(load(tmp_path / "c", []))["obtained_tier"] == "l4"  # the catalogue's own answer


# --- files -------------------------------------------------------------------------------------------------------


def test_report_of_a_gpu(gpu: RunResults, tmp_path: Path) -> None:
    written = write_report([gpu], tmp_path / "out", tier_of=tier_of)
    assert all(path.is_file() for path in written)
    page = (tmp_path / "out" / "report.html").read_text()
    parsed = Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    for told in (
        "NVIDIA L4", "h100 requested, l4 obtained", "Measured on l4, not on the requested h100", "seeded:0",
        "compute capability 8.9", "LoadGen INVALID: Min duration satisfied", "too short for a valid MLPerf run",
        "python -m workload --profile standard --results results", "--seed 0", "at $0.71 an hour", "4e4e4e4e",
        "uncommitted changes", "Throughput by batch size", "Latency percentiles by scenario", "Kernel sweep",
    ):  # fmt: skip
        assert told in parsed.text, told
    # Nothing is fetched, nothing runs.
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "url(" not in page
    assert parsed.tags.count("figure") == parsed.tags.count("svg") == parsed.tags.count("details")
    drawn = [path for path in written if path.suffix == ".svg"]
    assert len(drawn) == parsed.tags.count("svg") >= 12
    for path in drawn:
        check_svg(path.read_text())
    text = (tmp_path / "out" / "report.md").read_text()
    assert {f"plots/{path.name}" for path in drawn} == set(re.findall(r'src="([^"]+)"', text))


def test_pictures_of_a_cpu_and_of_several_runs(gpu: RunResults, cpu: RunResults, tmp_path: Path) -> None:
    repeats = [
        load(tmp_path / f"r{i}" / "a", gpu_records(1 + i / 50, i), stamps={**STAMPS, "run": f"aaaaaaaaaaaa-{i}"})
        for i in (1, 2, 3)
    ]
    for name, runs in (("cpu", [cpu]), ("repeats", repeats), ("all", [gpu, cpu, *repeats])):
        written = write_report(runs, tmp_path / name, tier_of=tier_of)
        for path in written:
            if path.suffix == ".svg":
                check_svg(path.read_text())
        Page((tmp_path / name / "report.html").read_text())
    page = Page((tmp_path / "all" / "report.html").read_text())
    assert "differ in tiers (cpu, l4)" in page.text
    assert "(3 repeats)" in page.text


def test_a_new_report_takes_the_old_ones_pictures_away(gpu: RunResults, cpu: RunResults, tmp_path: Path) -> None:
    write_report([gpu], tmp_path, tier_of=tier_of)
    written = write_report([cpu], tmp_path, tier_of=tier_of)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)


def test_plots_for_a_picture_element_have_one_theme_each(cpu: RunResults, tmp_path: Path) -> None:
    light = write_plots([cpu], tmp_path, theme="light", tier_of=tier_of)
    dark = write_plots([cpu], tmp_path, theme="dark", tier_of=tier_of)
    auto = write_plots([cpu], tmp_path, tier_of=tier_of)
    for one, other, both in zip(light, dark, auto, strict=True):
        assert one.name.replace("-light", "") == other.name.replace("-dark", "") == both.name
        assert LIGHT["ink"] in one.read_text()
        assert DARK["ink"] not in one.read_text()
        assert DARK["ink"] in other.read_text()
        assert LIGHT["ink"] not in other.read_text()
        assert "prefers-color-scheme" in both.read_text()
    with pytest.raises(ValueError, match="auto, light or dark"):
        write_plots([cpu], tmp_path, theme="blue", tier_of=tier_of)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    stamps = {
        **STAMPS,
        "rung": HOSTILE,
        "stack": HOSTILE,
        "git_commit": HOSTILE,
        "requested_tier": HOSTILE,
        HOSTILE: HOSTILE,
    }
    hardware = {**GPU_HARDWARE, "gpus": [{"name": HOSTILE}], "libraries": {HOSTILE: HOSTILE}}
    records = [
        resnet50("Offline", "fp32", 1, 5.0, 2.0, device=HOSTILE),
        resnet50("Server", "fp32", 1, 5.0, 2.0, device="cpu", options={HOSTILE: HOSTILE}),
        kernel("gemm", {HOSTILE: 4}, "fp32", 1, tflop=1.0, gb=None),
        {"benchmark": HOSTILE, HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}},
    ]
    records[0]["loadgen"] = {**records[0]["loadgen"], "result": "INVALID", "reasons": [HOSTILE]}
    workload = {"name": "gpubench-workload", "profile": HOSTILE, "options": {"weights": HOSTILE}, "notes": [HOSTILE]}
    cause = Cause("workload", HOSTILE, HOSTILE, HOSTILE)
    run = load(
        tmp_path / "a", records, stamps=stamps, hardware=hardware, workload=workload, status=Status.FAILED, cause=cause
    )
    out = tmp_path / "out"
    for path in write_report([run, run], out, tier_of=lambda name, memory: HOSTILE):
        text = path.read_text()
        assert "\x1b" not in text
        assert "\x00" not in text
        assert "\u202e" not in text
        if path.suffix == ".svg":
            tags = {element.tag for element in check_svg(text).iter()}
            assert not any(tag.endswith(("script", "img")) for tag in tags)
        else:
            if path.suffix == ".md":
                # The commands are indented code, which Markdown shows as it stands: it has to begin after a blank line.
                lines = text.split("\n")
                for above, line in pairwise(lines):
                    assert not line.startswith("    ") or above == "" or above.startswith("    ")
                text = "\n".join(line for line in lines if not line.startswith("    "))
                assert "[c](javascript" not in text
            assert "<script" not in text
            assert "<img src=x" not in text
    page = Page((out / "report.html").read_text())
    assert not {"script", "img"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "<script>alert(1)</script>" in page.text  # as text, to be read
    shown = io.StringIO()
    render_terminal([run], shown, tier_of=lambda name, memory: HOSTILE)
    assert "\x1b" not in shown.getvalue()


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_markdown_cells_stay_one_cell(text: str) -> None:
    escaped = escape(text)
    assert "\n" not in escaped
    assert "<" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", escaped)


# --- missing values and odd shapes -------------------------------------------------------------------------------


def _odd() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield "nothing", []
    yield (
        "no figures",
        [resnet50("Offline", "fp32", 1, None, None), kernel("gemm", {"m": 1}, "fp32", 1, tflop=None, gb=None)],
    )
    yield "zero", [resnet50("Server", "fp32", 1, 0.0, 0.0), kernel("softmax", {"n": 4}, "fp32", 1, tflop=None, gb=0.0)]
    yield "one", [resnet50("SingleStream", "fp32", 1, 12.0, 80.0)]
    yield "some", [resnet50("Server", "fp32", 1, 12.0, 80.0), resnet50("Server", "fp16", 8, None, None)]
    yield "many batches", [resnet50("Server", "fp32", 2**i, 10.0 * (i + 1), 2.0**i) for i in range(12)]
    yield "tiny and huge", [resnet50("Server", "fp32", b, v, v) for b, v in ((1, 1e-5), (2, 4e11))]
    yield "two devices", [resnet50("Offline", "fp32", 8, 5.0, 1.0, device=d) for d in ("cpu", "cuda:0")]
    yield "many kernel batches", [
        kernel("attention", {"length": n, "heads": h}, p, b, tflop=n / 100 + b, gb=None)
        for n in (128, 333, 1000) for h in (3, 5) for p in ("fp32", "fp16") for b in range(1, 21)
    ]  # fmt: skip
    yield "no shape", [kernel("gemm", {}, "fp32", 1, tflop=1.0, gb=None)]
    yield "mixed shapes", [
        kernel("gemm", {"m": 4}, "fp32", 1, tflop=1.0, gb=None), kernel("gemm", {"k": 8}, "fp32", 1, tflop=2.0, gb=None)
    ]  # fmt: skip
    yield "others only", [{"benchmark": "sdxl", "a": i, **{f"k{j}": j for j in range(40)}} for i in range(700)]


@pytest.mark.parametrize(("name", "records"), list(_odd()), ids=[name for name, _ in _odd()])
def test_odd_runs_make_sound_reports(tmp_path: Path, name: str, records: list[dict[str, Any]]) -> None:
    run = load(tmp_path / "a", records)
    assert run.problems == ()
    for runs in ([run], [run, run]):
        for path in write_report(runs, tmp_path / "out", tier_of=tier_of):
            if path.suffix == ".svg":
                check_svg(path.read_text())
        page = Page((tmp_path / "out" / "report.html").read_text())
        assert not re.search(r"\b(nan|None)\b", page.text)
        render_terminal(runs, io.StringIO(), tier_of=tier_of)


def test_one_point_is_a_bar_and_several_are_a_line(tmp_path: Path) -> None:
    run = load(
        tmp_path / "a",
        [kernel("gemm", {"n": 64}, "fp32", 1, tflop=1.0, gb=None)]
        + [kernel("softmax", {"n": n}, "fp32", 1, tflop=None, gb=1.0) for n in (64, 128)],
    )
    charts = {chart.slug: svg(chart) for _, group, _ in build([run], tier_of).charts for chart in group}
    assert "polyline" not in charts["kernels-gemm"]
    assert "polyline" in charts["kernels-softmax"]


def test_a_run_without_a_document_has_a_report_too(tmp_path: Path) -> None:
    (tmp_path / "run-1" / "a").mkdir(parents=True)
    run = RunResults.load(tmp_path / "run-1" / "a")
    write_report([run], tmp_path / "out", tier_of=tier_of)
    assert "unsealed" in Page((tmp_path / "out" / "report.html").read_text()).text
    with pytest.raises(ValueError, match="at least one run"):
        write_report([], tmp_path / "out")


def test_a_failed_run_says_why_and_how_to_mend_it(tmp_path: Path) -> None:
    cause = Cause(
        "workload", "out-of-memory", "CUDA out of memory. Tried to allocate 2 GiB", "choose a smaller batch size"
    )
    run = load(tmp_path / "a", cpu_records(), status=Status.FAILED, cause=cause)
    shown = io.StringIO()
    render_terminal([run], shown, tier_of=tier_of, width=100)
    text = " ".join(shown.getvalue().split())
    assert (
        "Failed (workload, out-of-memory): CUDA out of memory. Tried to allocate 2 GiB Mend: choose a smaller" in text
    )


# --- terminal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 120])
def test_terminal(gpu: RunResults, cpu: RunResults, width: int) -> None:
    for runs in ([gpu], [cpu], [gpu, cpu]):
        shown = io.StringIO()
        render_terminal(runs, shown, tier_of=tier_of, width=width)
        lines = shown.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert "\x1b" not in shown.getvalue()
        assert "…" not in shown.getvalue()  # no figure and no name is cut
        for told in ("SingleStream", "INVALID", "GEMM", "samples/s", "p99 ms"):
            assert told in shown.getvalue()
    shown = io.StringIO()
    render_terminal([gpu], shown, tier_of=tier_of, width=width)
    assert shown.getvalue().startswith("Run ")
    assert re.search(r"Server +8 +fp16 +[\d,]+ +[\d.]+ +[\d.]+ +[\d.]+ +VALID", shown.getvalue())


def test_terminal_is_100_columns_without_one_and_follows_columns(
    cpu: RunResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = {}
    for columns in ("", "200", "rubbish"):
        monkeypatch.setenv("COLUMNS", columns)
        shown = io.StringIO()
        render_terminal([cpu], shown, tier_of=tier_of)
        widths[columns] = max(map(len, shown.getvalue().splitlines()))
    assert 80 < widths[""] <= 100
    assert widths["200"] > 100
    assert widths["rubbish"] == widths[""]


def test_terminal_of_a_c_locale_does_not_fail(cpu: RunResults) -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    render_terminal([cpu], file, tier_of=tier_of)
    file.flush()
    assert b"Offline" in raw.getvalue()


def test_terminal_is_coloured_on_a_terminal(cpu: RunResults, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = Terminal()
    render_terminal([cpu], shown, tier_of=tier_of, width=100)
    assert "\x1b[" in shown.getvalue()
