"""What each profile measures: how much of which scenario, at which batch sizes and precisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Benchmark(StrEnum):
    RESNET50 = "resnet50"
    KERNELS = "kernels"


class Scenario(StrEnum):
    """MLPerf's scenarios, in the order in which they are run."""

    OFFLINE = "Offline"
    SERVER = "Server"
    SINGLE_STREAM = "SingleStream"
    MULTI_STREAM = "MultiStream"


class Precision(StrEnum):
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


MULTI_STREAM_SAMPLES = 8
"""Samples in a MultiStream query (MLPerf inference rules, "Scenarios"; mlperf.conf, MultiStream.samples_per_query)."""


@dataclass(frozen=True)
class Amount:
    """How long one test lasts: for so many samples, for so many seconds, or for as long as MLPerf's rules ask."""

    samples: int | None = None
    seconds: float | None = None

    @property
    def mlperf(self) -> bool:
        """Neither is given: LoadGen's own settings for ResNet-50 hold, and its verdict can be VALID."""
        return self.samples is None and self.seconds is None


@dataclass(frozen=True)
class Test:
    amount: Amount
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class KernelSweep:
    """Sizes of the sweep. gemm: (m, n, k); softmax, layer_norm: (rows, columns); attention: (heads, seq, head_dim)."""

    gemm: tuple[tuple[int, int, int], ...]
    softmax: tuple[tuple[int, int], ...]
    layer_norm: tuple[tuple[int, int], ...]
    attention: tuple[tuple[int, int, int], ...]
    batch_sizes: tuple[int, ...]
    precisions: tuple[Precision, ...]
    limit_s: float
    """Time for the repetitions of one point; a point with few long repetitions may take a little more."""


@dataclass(frozen=True)
class Profile:
    name: str
    tests: Mapping[Scenario, Test] = field(hash=False)
    precisions: tuple[Precision, ...]
    samples_in_memory: int
    """Images that the query sample library holds. MLPerf asks 1024 for ResNet-50 (mlperf.conf,
    resnet50.*.performance_sample_count_override)."""
    warm_up_s: float
    """Forward passes before each precision and batch size is measured, beside one that is always made."""
    kernels: KernelSweep


_CUBES = tuple((size, size, size) for size in (128, 256, 512, 1024, 2048, 4096))
# The shapes of a transformer's projections: few rows (decoding) to many (prefill), square and 4:1.
_PROJECTIONS = (
    (16, 4096, 4096), (64, 1024, 1024), (128, 4096, 4096), (512, 4096, 1024), (512, 1024, 4096), (1024, 4096, 4096),
    (2048, 4096, 1024), (2048, 1024, 4096),
)  # fmt: skip
_ROWS = tuple((rows, columns) for rows in (64, 512, 4096) for columns in (128, 512, 1024, 2048, 4096, 8192))

# 74 shapes x 3 batch sizes x 3 precisions = 666 points: the second incident measured 600 in about 20 minutes on an L4.
# The largest takes 9 GB, so that a T4 (15 GB free) and an L4 run them all.
_WIDE = KernelSweep(
    gemm=_CUBES + _PROJECTIONS,
    softmax=_ROWS,
    layer_norm=_ROWS,
    attention=tuple(
        (heads, seq, head_dim)
        for heads in (8, 16)
        for seq in (128, 256, 512, 1024, 2048, 4096)
        for head_dim in (64, 128)
    ),
    batch_sizes=(1, 8, 32),
    precisions=(Precision.FP32, Precision.FP16, Precision.BF16),
    limit_s=0.25,
)

_SMOKE = Profile(
    name="smoke",
    tests={
        Scenario.OFFLINE: Test(Amount(samples=4), (1, 4)),
        Scenario.SERVER: Test(Amount(samples=4), (4,)),
        Scenario.SINGLE_STREAM: Test(Amount(samples=3), (1,)),
        Scenario.MULTI_STREAM: Test(Amount(samples=8), (8,)),
    },
    precisions=(Precision.FP32,),
    samples_in_memory=8,
    warm_up_s=0,
    kernels=KernelSweep(
        gemm=((64, 64, 64),),
        softmax=((64, 128),),
        layer_norm=((64, 128),),
        attention=((2, 64, 32),),
        batch_sizes=(1, 2),
        precisions=(Precision.FP32,),
        limit_s=0.01,
    ),
)

_STANDARD_CPU = Profile(
    name="standard-cpu",
    tests={
        Scenario.OFFLINE: Test(Amount(seconds=4), (1, 8, 32)),
        Scenario.SERVER: Test(Amount(seconds=4), (1, 8)),
        Scenario.SINGLE_STREAM: Test(Amount(seconds=4), (1,)),
        Scenario.MULTI_STREAM: Test(Amount(seconds=4), (8,)),
    },
    precisions=(Precision.FP32,),
    samples_in_memory=64,
    warm_up_s=0.2,
    kernels=KernelSweep(
        gemm=((128, 128, 128), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024)),
        softmax=((64, 512), (512, 1024), (512, 4096)),
        layer_norm=((64, 512), (512, 1024), (512, 4096)),
        attention=((8, 64, 64), (8, 128, 64), (8, 256, 64), (8, 512, 64)),
        batch_sizes=(1, 8),
        precisions=(Precision.FP32, Precision.BF16),
        limit_s=0.12,
    ),
)

# The third incident's figures: Offline 30 s at batch 1/8/32, Server 1000 samples at 1/8/32, SingleStream 500 samples.
_STANDARD = Profile(
    name="standard",
    tests={
        Scenario.OFFLINE: Test(Amount(seconds=30), (1, 8, 32)),
        Scenario.SERVER: Test(Amount(samples=1000), (1, 8, 32)),
        Scenario.SINGLE_STREAM: Test(Amount(samples=500), (1,)),
        Scenario.MULTI_STREAM: Test(Amount(samples=800), (8,)),
    },
    precisions=(Precision.FP32, Precision.FP16),
    samples_in_memory=256,
    warm_up_s=1,
    kernels=_WIDE,
)

# MLPerf's own lengths, which LoadGen brings along for ResNet-50 (mlcommons/inference, loadgen/mlperf.conf): at least
# 600 s a test, Offline at least 24,576 samples, MultiStream at least 662 queries of 8, Server's 99th
# percentile within 15 ms.
_FULL = Profile(
    name="full",
    tests={
        Scenario.OFFLINE: Test(Amount(), (32,)),
        Scenario.SERVER: Test(Amount(), (32,)),
        Scenario.SINGLE_STREAM: Test(Amount(), (1,)),
        Scenario.MULTI_STREAM: Test(Amount(), (8,)),
    },
    precisions=(Precision.FP32, Precision.FP16),
    samples_in_memory=1024,
    warm_up_s=5,
    kernels=KernelSweep(
        _WIDE.gemm, _WIDE.softmax, _WIDE.layer_norm, _WIDE.attention, _WIDE.batch_sizes, _WIDE.precisions, limit_s=1.0
    ),
)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (_SMOKE, _STANDARD_CPU, _STANDARD, _FULL)}
)


def batch_size_fits(scenario: Scenario, batch_size: int) -> bool:
    """Whether a query of this scenario can ever fill such a batch: SingleStream has 1 sample a query, MultiStream 8."""
    if scenario is Scenario.SINGLE_STREAM:
        return batch_size == 1
    return scenario is not Scenario.MULTI_STREAM or batch_size <= MULTI_STREAM_SAMPLES
