"""The profiles' figures, and the sweeps' sizes."""

from __future__ import annotations

import pytest

from workload.profile import PROFILES, Precision, Scenario, batch_size_fits

torch = pytest.importorskip("torch")

from workload import kernels  # noqa: E402
from workload.resnet50 import padded  # noqa: E402


def test_standard_has_the_third_incidents_figures() -> None:
    tests = PROFILES["standard"].tests
    assert (tests[Scenario.OFFLINE].amount.seconds, tests[Scenario.OFFLINE].batch_sizes) == (30, (1, 8, 32))
    assert (tests[Scenario.SERVER].amount.samples, tests[Scenario.SERVER].batch_sizes) == (1000, (1, 8, 32))
    assert (tests[Scenario.SINGLE_STREAM].amount.samples, tests[Scenario.SINGLE_STREAM].batch_sizes) == (500, (1,))


def test_standard_has_600_kernel_measurements_in_the_time_and_memory_of_an_l4() -> None:
    sweep = PROFILES["standard"].kernels
    points = list(kernels.points(sweep))
    assert len(points) >= 600
    assert len(
        {(point.kernel, tuple(point.shape.items()), point.precision, point.batch_size) for point in points}
    ) == len(points)
    assert max(point.bytes_moved for point in points) < 14e9  # what a T4 has free
    # NVIDIA L4: 30.3 TFLOP/s fp32, 121 TFLOP/s fp16 dense, 300 GB/s (data sheet). Half of it, at least 5 repetitions
    # and 5 more to warm up, and 50 ms to make the inputs.
    seconds = 0.0
    for point in points:
        tflop_per_s = 15 if point.precision is Precision.FP32 else 60
        once = max((point.flop or 0) / (tflop_per_s * 1e12), point.bytes_moved / 150e9)
        seconds += max(sweep.limit_s, 5 * once) + 5 * once + 0.05
    assert seconds < 20 * 60


@pytest.mark.parametrize("name", list(PROFILES))
def test_every_profile_runs_every_scenario_at_sizes_that_fit(name: str) -> None:
    tests = PROFILES[name].tests
    assert set(tests) == set(Scenario)
    for scenario, test in tests.items():
        assert test.batch_sizes
        assert all(batch_size_fits(scenario, size) for size in test.batch_sizes)
    assert tests[Scenario.SERVER].amount.mlperf == (name == "full")


def test_work_of_a_point() -> None:
    gemm = kernels.Point("gemm", {"m": 2, "n": 3, "k": 5}, Precision.FP16, 7)
    assert (gemm.flop, gemm.bytes_moved) == (7 * 2 * 2 * 3 * 5, 7 * 2 * (10 + 15 + 6))
    attention = kernels.Point("attention", {"heads": 2, "seq": 16, "head_dim": 4}, Precision.FP32, 3)
    # Two products of (16 x 4) by (4 x 16) and (16 x 16) by (16 x 4) in each of 6 heads.
    assert attention.flop == 6 * 2 * (16 * 16 * 4) * 2
    softmax = kernels.Point("softmax", {"rows": 4, "columns": 8}, Precision.FP32, 2)
    assert (softmax.flop, softmax.bytes_moved) == (None, 2 * 4 * 2 * 32)


@pytest.mark.parametrize("kernel", ["gemm", "softmax", "layer_norm", "attention"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_kernel_computes_what_it_says(kernel: str, batch_size: int) -> None:
    shape = {
        "gemm": {"m": 4, "n": 6, "k": 5},
        "softmax": {"rows": 4, "columns": 6},
        "layer_norm": {"rows": 4, "columns": 6},
        "attention": {"heads": 2, "seq": 4, "head_dim": 6},
    }[kernel]
    out = kernels.prepare(kernels.Point(kernel, shape, Precision.FP32, batch_size), torch.device("cpu"), 0)()
    assert torch.isfinite(out).all()
    expected = {
        "gemm": ((4, 6) if batch_size == 1 else (batch_size, 4, 6)),
        "attention": (batch_size, 2, 4, 6),
    }.get(kernel, (batch_size, 4, 6))
    assert tuple(out.shape) == expected
    if kernel == "softmax":
        assert torch.allclose(out.sum(-1), torch.ones(batch_size, 4))


def test_repetitions() -> None:
    assert kernels.repetitions(1e-9, 0.25) == 1000
    assert kernels.repetitions(0.01, 0.25) == 25
    assert kernels.repetitions(10, 0.25) == 5


def test_padding_meets_few_sizes() -> None:
    assert [padded(count, 32) for count in (1, 2, 3, 5, 8, 9, 17, 32)] == [1, 2, 4, 8, 8, 16, 32, 32]
    assert [padded(count, 12) for count in (1, 9, 12)] == [1, 12, 12]
