"""The kernel sweep: GEMM, softmax, layer norm and attention over sizes, precisions and batch sizes.

Times are of a kernel whose inputs were just used (caches are warm), without the transfer of anything. On a GPU they
come from CUDA events around each repetition; on a CPU from the monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from workload.faults import Code, classify
from workload.profile import KernelSweep, Precision
from workload.resnet50 import DTYPES, NO_BF16, lacks_bf16
from workload.session import Session, Step
from workload.statistics import figures

_LEAST = 5
_MOST = 1000
_CHUNK = 100
"""Repetitions that are queued on the GPU at a time: with their events far less than the launch queue holds (1024)."""
_HOPELESS = 20.0
"""A point is left out if one repetition will take so many times the limit, judged by the points before it."""
_MEMORY_SHARE = 0.8

_BYTES = {Precision.FP32: 4, Precision.FP16: 2, Precision.BF16: 2}


@dataclass(frozen=True)
class Point:
    kernel: str
    shape: Mapping[str, int]
    precision: Precision
    batch_size: int

    @property
    def name(self) -> str:
        return f"{self.kernel} {'x'.join(map(str, self.shape.values()))} {self.precision} batch {self.batch_size}"

    @property
    def elements(self) -> int:
        """Elements of all inputs and outputs: what is read and written at least."""
        size, batch = self.shape, self.batch_size
        match self.kernel:
            case "gemm":
                return batch * (size["m"] * size["k"] + size["k"] * size["n"] + size["m"] * size["n"])
            case "attention":
                return 4 * batch * size["heads"] * size["seq"] * size["head_dim"]
            case _:
                return 2 * batch * size["rows"] * size["columns"]

    @property
    def bytes_moved(self) -> int:
        return self.elements * _BYTES[self.precision]

    @property
    def flop(self) -> int | None:
        """A multiplication and an addition count as two. None for the kernels that memory bounds."""
        size, batch = self.shape, self.batch_size
        match self.kernel:
            case "gemm":
                return 2 * batch * size["m"] * size["n"] * size["k"]
            case "attention":
                return 4 * batch * size["heads"] * size["seq"] ** 2 * size["head_dim"]
            case _:
                return None

    @property
    def work(self) -> int:
        return self.flop or self.bytes_moved


def points(sweep: KernelSweep) -> Iterator[Point]:
    """All points, those of one kernel and precision together, small work first."""
    shapes: dict[str, list[dict[str, int]]] = {
        "gemm": [{"m": m, "n": n, "k": k} for m, n, k in sweep.gemm],
        "softmax": [{"rows": rows, "columns": columns} for rows, columns in sweep.softmax],
        "layer_norm": [{"rows": rows, "columns": columns} for rows, columns in sweep.layer_norm],
        "attention": [{"heads": heads, "seq": seq, "head_dim": dim} for heads, seq, dim in sweep.attention],
    }
    for kernel, sizes in shapes.items():
        for precision in sweep.precisions:
            group = [Point(kernel, size, precision, batch) for size in sizes for batch in sweep.batch_sizes]
            yield from sorted(group, key=lambda point: point.work)


def prepare(point: Point, device: torch.device, seed: int) -> Callable[[], torch.Tensor]:
    """The kernel with its inputs on the device. Raises torch.OutOfMemoryError or RuntimeError if they don't fit."""
    generator = torch.Generator(device=device).manual_seed(seed)
    dtype = DTYPES[point.precision]

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype, generator=generator)

    size, batch = point.shape, point.batch_size
    match point.kernel:
        case "gemm":
            a, b = random(batch, size["m"], size["k"]), random(batch, size["k"], size["n"])
            out = torch.empty((batch, size["m"], size["n"]), device=device, dtype=dtype)
            if batch == 1:
                a, b, out = a[0], b[0], out[0]
                return lambda: torch.mm(a, b, out=out)
            return lambda: torch.bmm(a, b, out=out)
        case "softmax":
            x = random(batch, size["rows"], size["columns"])
            return lambda: torch.softmax(x, -1)
        case "layer_norm":
            x = random(batch, size["rows"], size["columns"])
            weight, bias = random(size["columns"]), random(size["columns"])
            return lambda: functional.layer_norm(x, (size["columns"],), weight, bias)
        case "attention":
            q, k, v = (random(batch, size["heads"], size["seq"], size["head_dim"]) for _ in range(3))
            return lambda: functional.scaled_dot_product_attention(q, k, v)
        case _:
            raise ValueError(point.kernel)


def repetitions(taken_s: float, limit_s: float) -> int:
    """How many repetitions of `taken_s` each fit the limit; at least 5 for a median and percentiles."""
    return max(_LEAST, min(_MOST, int(limit_s / max(taken_s, 1e-9))))


def time_on_cpu(run: Callable[[], object], limit_s: float, check: Callable[[], None]) -> list[float]:
    """Milliseconds of each repetition, after a warm-up."""
    start = time.perf_counter_ns()
    run()
    run()
    taken = (time.perf_counter_ns() - start) / 2e9
    times = []
    for _ in range(repetitions(taken, limit_s)):
        check()
        start = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def time_on_gpu(run: Callable[[], object], limit_s: float, check: Callable[[], None]) -> list[float]:
    """Milliseconds of each repetition by CUDA events, after a warm-up.

    Repetitions are queued behind a short spin of the GPU, so that they wait there in a row: small kernels are over
    before the next could be launched, and their events would measure the launching.
    """
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    begin, end = _event(), _event()
    begin.record()
    for _ in range(3):
        run()
    end.record()
    end.synchronize()
    left = repetitions(begin.elapsed_time(end) / 3e3, limit_s)
    spin = getattr(torch.cuda, "_sleep", None)
    times = []
    while left:
        check()
        count = min(left, _CHUNK)
        pairs = [(_event(), _event()) for _ in range(count)]
        if spin is not None:
            spin(count * 40_000)  # cycles: 20 to 40 us for each repetition, about what launching it costs the CPU
        for first, second in pairs:
            first.record()
            run()
            second.record()
        torch.cuda.synchronize()
        times += [first.elapsed_time(second) for first, second in pairs]
        left -= count
    return times


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free for inputs and outputs; None if it can't be told."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")))
    except (OSError, StopIteration, ValueError):
        pass
    try:  # in a container the control group's limit may be far below the machine's memory
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            free.append(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(free) if free else None


class Kernels:
    """The sweep of a profile, as steps: one a kernel and precision."""

    def __init__(self, session: Session, sweep: KernelSweep, device: torch.device, seed: int) -> None:
        self._session = session
        self._sweep = sweep
        self._device = device
        self._seed = seed
        self._device_name = "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"
        self._free = free_bytes(device)
        self._speed: dict[tuple[str, Precision], float] = {}
        """Work (FLOP or bytes) a second, the best so far."""

    def steps(self) -> Iterator[Step]:
        groups: dict[tuple[str, Precision], list[Point]] = {}
        for point in points(self._sweep):
            groups.setdefault((point.kernel, point.precision), []).append(point)
        for (kernel, precision), members in groups.items():
            yield Step(
                name=f"kernels {kernel} {precision}",
                run=lambda members=members: self._run(members),  # type: ignore[misc]
                expected_s=len(members) * self._sweep.limit_s * 1.2,
            )

    def _run(self, members: Sequence[Point]) -> str:
        measured = 0
        best: Mapping[str, object] = {}
        for point in members:
            self._session.check()
            record = self._measure(point)
            if record is not None:
                self._session.record(record)
                measured += 1
                best = max(best, record, key=_speed_of)
        told = f"{measured} of {len(members)} points"
        if best:
            unit = "TFLOP/s" if best["tflop_per_s"] is not None else "GB/s"
            told += f", up to {_speed_of(best):.3g} {unit}"
        return told

    def _measure(self, point: Point) -> dict[str, object] | None:
        session, limit_s = self._session, self._sweep.limit_s
        if point.precision is Precision.BF16 and lacks_bf16(self._device):
            session.note(f"kernels bf16 skipped: {NO_BF16}")
            return None
        if self._free is not None and point.bytes_moved > _MEMORY_SHARE * self._free:
            session.note(
                f"kernels {point.name} skipped: needs {point.bytes_moved / 1e9:.1f} GB, and "
                f"{self._free / 1e9:.1f} GB are free"
            )
            return None
        speed = self._speed.get((point.kernel, point.precision))
        if speed is not None and point.work / speed > _HOPELESS * limit_s:
            session.note(
                f"kernels {point.name} skipped: one repetition would take about {point.work / speed:.0f} s here"
            )
            return None
        try:
            with torch.inference_mode():
                run = prepare(point, self._device, self._seed)
                measure = time_on_gpu if self._device.type == "cuda" else time_on_cpu
                times = measure(run, limit_s, session.check)
        except (RuntimeError, MemoryError, NotImplementedError) as error:
            if "not implemented for" in str(error):
                session.note(f"kernels {point.kernel} {point.precision} skipped: {error}")
                return None
            if classify(error).cause.code != Code.OUT_OF_MEMORY:
                raise
            session.note(f"kernels {point.name} skipped: out of memory ({str(error).splitlines()[0][:200]})")
            return None
        time_ms = figures(times)
        median_s = time_ms["median"] / 1e3
        if median_s > 0:
            key = (point.kernel, point.precision)
            self._speed[key] = max(self._speed.get(key, 0.0), point.work / median_s)
        return {
            "benchmark": "kernels",
            "kernel": point.kernel,
            "shape": dict(point.shape),
            "precision": point.precision.value,
            "batch_size": point.batch_size,
            "device": self._device_name,
            "repetitions": len(times),
            "time_ms": time_ms,
            "dispersion": (time_ms["p95"] - time_ms["p5"]) / time_ms["median"] if median_s > 0 else None,
            "tflop_per_s": point.flop / median_s / 1e12 if point.flop and median_s > 0 else None,
            "gb_per_s": point.bytes_moved / median_s / 1e9 if point.flop is None and median_s > 0 else None,
        }


def _speed_of(record: Mapping[str, object]) -> float:
    value = record.get("tflop_per_s") or record.get("gb_per_s")
    return float(value) if isinstance(value, int | float) else 0.0
