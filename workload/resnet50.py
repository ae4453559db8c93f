"""torchvision's ResNet-50 as LoadGen's system under test.

The samples are seeded random images of ImageNet's shape, normalised, held in the device's memory in the model's
precision, in the order in which LoadGen loads them: Offline and MultiStream ask for them in that order, so their
batches are views and nothing is copied. The answer to a sample is its class, on the host.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workload import loadgen
from workload.profile import MULTI_STREAM_SAMPLES, Amount, Precision, Profile, Scenario, batch_size_fits
from workload.session import RunningTest, Session, Step, park

DTYPES = {Precision.FP32: torch.float32, Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}

# torchvision, ResNet50_Weights.transforms: the mean and standard deviation of ImageNet's channels.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

SERVER_LOAD = 0.7
"""Server's arrival rate as a part of what the device does at that batch size, measured just before. A queue of Poisson
arrivals grows without bound as this goes to 1; at 0.7 one that takes them one at a time holds 1.2 service times of
waiting on average (Pollaczek-Khinchine: load / (2 (1 - load)))."""

_CALIBRATE_S = 0.3
_TOO_SLOW = 5.0
"""A reduced precision that takes so many times as long as fp32 on a CPU has no kernels there; it isn't measured."""


@dataclass(frozen=True)
class Options:
    seed: int
    weights: Path | None
    channels_last: bool
    compile: bool


NO_BF16 = "this GPU has no bf16 arithmetic, which came with compute capability 8.0"


def lacks_bf16(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_model(options: Options, device: torch.device, precision: Precision) -> torch.nn.Module:
    """ResNet-50 in inference mode. Without weights: torchvision's initialisation from the seed, and BatchNorm
    statistics from one batch of the sample images, so that activations keep a trained network's
    magnitude (they grow block by block otherwise, and fp16 overflows). Raises RuntimeError for weights that don't
    fit."""
    from torchvision.models import resnet50

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model: torch.nn.Module = resnet50(weights=None)
    if options.weights is not None:
        state = torch.load(options.weights, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state) if isinstance(state, dict) else state
        model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    else:
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            model.train()(make_images(4, options.seed))
    model = model.eval().to(device=device, dtype=DTYPES[precision])
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return torch.compile(model) if options.compile else model  # type: ignore[return-value]


def make_images(count: int, seed: int) -> torch.Tensor:
    """`count` random 8-bit images, normalised: float32, (count, 3, 224, 224)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8, generator=generator)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    return images.float().div_(255).sub_(mean).div_(std)


def make_batches(images: torch.Tensor, batch_size: int) -> Iterator[torch.Tensor]:
    """Views of the images, batch after batch, for ever. Their number must be a multiple of the batch size."""
    while True:
        for start in range(0, len(images), batch_size):
            yield images[start : start + batch_size]


def classes_of(model: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
    """The class of each sample, int64, on the device."""
    return model(batch).argmax(1)


class Samples:
    """LoadGen's query sample library: the images on the device."""

    def __init__(self, count: int, options: Options, device: torch.device, precision: Precision) -> None:
        self.count = count
        images = make_images(count, options.seed).to(device=device, dtype=DTYPES[precision])
        self.channels_last = options.channels_last
        # Samples are gathered along the first dimension of a plain tensor, which is fast in either layout.
        self._made = images.permute(0, 2, 3, 1).contiguous() if options.channels_last else images
        self._loaded = self._made
        self._position = list(range(count))

    def load(self, indices: Sequence[int]) -> None:
        """Puts the samples in the order in which LoadGen will ask for them. MultiStream's has some more than once."""
        order = torch.tensor(indices, device=self._made.device)
        self._loaded = self._made.index_select(0, order)
        for position in range(len(indices) - 1, -1, -1):
            self._position[indices[position]] = position

    @property
    def tensor(self) -> torch.Tensor:
        """All samples as (count, 3, 224, 224)."""
        return self._shaped(self._loaded)

    def batch(self, indices: Sequence[int], *, padded_to: int | None = None) -> torch.Tensor:
        """The samples with these indices: a view if they lie side by side. Padded by repetition if asked."""
        positions = [self._position[index] for index in indices]
        first, count = positions[0], len(positions)
        wanted = padded_to or count
        if positions == list(range(first, first + count)) and first + wanted <= len(self._loaded):
            return self._shaped(self._loaded[first : first + wanted])
        positions += [first] * (wanted - count)
        return self._shaped(self._loaded.index_select(0, torch.tensor(positions, device=self._loaded.device)))

    def _shaped(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.permute(0, 3, 1, 2) if self.channels_last else rows


class Sut:
    """Runs the batches of a test and answers LoadGen. `failed` is told of an error; the thread it happened on stops."""

    def __init__(
        self,
        model: Callable[[torch.Tensor], torch.Tensor],
        samples: Samples,
        batch_size: int,
        device: torch.device,
        *,
        pad: bool,
        failed: Callable[[BaseException], None],
        check: Callable[[], None],
    ) -> None:
        self._model = model
        self._samples = samples
        self._batch_size = batch_size
        self._device = device
        self._pad = pad
        self._failed = failed
        self._check = check
        self._queue: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._in_flight: deque[tuple[list[int], torch.Tensor, Any]] = deque()
        self.answered = 0
        self.first_issue = 0.0
        self.last_answer = 0.0

    def issue(self, ids: list[int], indices: list[int]) -> None:
        """Offline, SingleStream, MultiStream: a query, in batches, here and now (LoadGen has nothing else to do)."""
        try:
            if not self.first_issue:
                self.first_issue = time.perf_counter()
            with torch.inference_mode():
                size = self._batch_size
                for start in range(0, len(ids), size):
                    self._launch(ids[start : start + size], indices[start : start + size])
                    # On a GPU one batch is prepared while the one before it runs, as a bare loop would have it.
                    if len(self._in_flight) > 1:
                        self._answer()
                while self._in_flight:
                    self._answer()
        except BaseException as error:
            self._failed(error)
            del error
            park()

    def issue_later(self, ids: list[int], indices: list[int]) -> None:
        """Server: LoadGen's thread only queues; `serve` runs on a thread of its own."""
        if not self.first_issue:
            self.first_issue = time.perf_counter()
        for pair in zip(ids, indices, strict=True):
            self._queue.put(pair)

    def serve(self) -> None:
        """Dynamic batching: takes what waits, at most a batch, and never waits for more. Ends on `finish`."""
        try:
            with torch.inference_mode():
                while (pair := self._queue.get()) is not None:
                    pairs = [pair]
                    while len(pairs) < self._batch_size:
                        try:
                            following = self._queue.get_nowait()
                        except queue.Empty:
                            break
                        if following is None:
                            self._queue.put(None)
                            break
                        pairs.append(following)
                    self._launch([id_ for id_, _ in pairs], [index for _, index in pairs])
                    self._answer()
        except BaseException as error:
            self._failed(error)

    def finish(self) -> None:
        self._queue.put(None)

    def _launch(self, ids: list[int], indices: list[int]) -> None:
        self._check()
        padded_to = padded(len(ids), self._batch_size) if self._pad else None
        found = classes_of(self._model, self._samples.batch(indices, padded_to=padded_to))
        event = None
        if self._device.type == "cuda":
            on_host = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
            on_host.copy_(found, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
            found = on_host
        self._in_flight.append((ids, found, event))
        if event is None:
            self._answer()

    def _answer(self) -> None:
        if not self._in_flight:
            return
        import mlperf_loadgen as lg  # type: ignore[import-not-found]

        ids, found, event = self._in_flight.popleft()
        if event is not None:
            event.synchronize()
        at, size = found.data_ptr(), found.element_size()
        lg.QuerySamplesComplete([lg.QuerySampleResponse(id_, at + place * size, size) for place, id_ in enumerate(ids)])
        self.last_answer = time.perf_counter()
        self.answered += len(ids)


def padded(count: int, batch_size: int) -> int:
    """The next power of two, at most the batch size: a GPU's libraries (and torch.compile) tune themselves anew for
    each batch size they meet, so they shall meet few, and all of them during warm-up."""
    return min(batch_size, 1 << (count - 1).bit_length())


class ResNet50:
    """All tests of a profile, as steps."""

    def __init__(
        self,
        session: Session,
        profile: Profile,
        options: Options,
        device: torch.device,
        precisions: Sequence[Precision],
    ) -> None:
        self._session = session
        self._profile = profile
        self._options = options
        self._device = device
        self._precisions = precisions
        self._device_name = "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"
        self._pad = device.type == "cuda" or options.compile
        self._loaded: tuple[Precision, Callable[[torch.Tensor], torch.Tensor], Samples] | None = None
        self._refused: set[Precision] = set()
        self._rates: dict[tuple[Precision, int], float] = {}
        """Samples/s by precision and batch size."""

    def steps(self) -> Iterator[Step]:
        """One step a scenario, batch size and precision; small batches first, so that what fits is measured."""
        for precision in self._precisions:
            for scenario, test in self._profile.tests.items():
                for batch_size in test.batch_sizes:
                    if batch_size_fits(scenario, batch_size):
                        yield self._step(scenario, test.amount, batch_size, precision)

    def _step(self, scenario: Scenario, amount: Amount, batch_size: int, precision: Precision) -> Step:
        def seconds() -> float | None:
            rate = self._rates.get((precision, batch_size))
            if rate is None:
                return None
            return self._wanted(scenario, amount, batch_size, rate) / self._arrivals(scenario, rate)

        return Step(
            name=f"resnet50 {scenario} batch {batch_size} {precision}",
            run=lambda: self._run(scenario, amount, batch_size, precision),
            expected_s=amount.seconds or (600.0 if amount.mlperf else (amount.samples or 1) / 10.0),
            seconds=seconds,
        )

    def _arrivals(self, scenario: Scenario, rate: float) -> float:
        return SERVER_LOAD * rate if scenario is Scenario.SERVER else rate

    def _wanted(self, scenario: Scenario, amount: Amount, batch_size: int, rate: float) -> int:
        """Samples of a test: whole queries, and in Offline whole batches, at least two of them when timed."""
        if amount.samples is not None:
            count = amount.samples
        else:
            count = max(1, round((600.0 if amount.mlperf else amount.seconds or 0) * self._arrivals(scenario, rate)))
        unit = {Scenario.OFFLINE: batch_size, Scenario.MULTI_STREAM: MULTI_STREAM_SAMPLES}.get(scenario, 1)
        least = 2 if scenario is Scenario.OFFLINE and amount.samples is None else 1
        return max(least, -(-count // unit)) * unit

    def _run(self, scenario: Scenario, amount: Amount, batch_size: int, precision: Precision) -> str:
        if precision in self._refused:
            return f"skipped, {precision} is not measured on this device"
        model, samples = self._prepare(precision)
        if precision in self._refused:
            return f"skipped, {precision} is not measured on this device"
        rate = self._warm_up(model, samples, batch_size, precision, every_size=scenario is Scenario.SERVER)
        arrivals = self._arrivals(scenario, rate)
        wanted = self._wanted(scenario, amount, batch_size, rate)
        made = loadgen.settings(
            scenario, amount, samples=wanted, samples_per_s=arrivals, samples_in_memory=samples.count
        )
        total = loadgen.expected_samples(scenario, made, arrivals) if amount.mlperf else wanted
        log_dir = f"loadgen/resnet50-{scenario.lower()}-{precision}-b{batch_size}"
        sut, verdict = self._measure(scenario, made, model, samples, batch_size, total, log_dir, str(precision))
        duration_s = sut.last_answer - sut.first_issue
        throughput = verdict.samples_per_s or (sut.answered / duration_s if duration_s > 0 else 0.0)
        self._session.record(
            {
                "benchmark": "resnet50",
                "scenario": scenario.value,
                "precision": precision.value,
                "batch_size": batch_size,
                "device": self._device_name,
                "samples": sut.answered,
                "duration_s": duration_s,
                "throughput_samples_per_s": throughput,
                "latency_ms": verdict.latency_ms,
                "loadgen": {
                    "result": verdict.result,
                    "reasons": list(verdict.reasons),
                    "target_qps": arrivals if scenario is Scenario.SERVER else None,
                    "log_dir": log_dir,
                },
                "options": {"channels_last": self._options.channels_last, "compile": self._options.compile},
            }
        )
        if not verdict.min_duration_met:
            self._session.note(
                f"profile too short for a valid MLPerf run: LoadGen says {verdict.result}, {loadgen.TOO_SHORT} (MLPerf "
                "asks at least 600 s a test)"
            )
        told = f"{throughput:.1f} samples/s"
        if scenario is not Scenario.OFFLINE:
            told += f", p50 {verdict.latency_ms['p50']:.1f} ms, p99 {verdict.latency_ms['p99']:.1f} ms"
        return f"{told}; LoadGen: {verdict.result}"

    def _measure(
        self,
        scenario: Scenario,
        made: Any,
        model: Callable[[torch.Tensor], torch.Tensor],
        samples: Samples,
        batch_size: int,
        total: int,
        log_dir: str,
        precision: str,
    ) -> tuple[Sut, loadgen.Verdict]:
        session = self._session
        sut = Sut(model, samples, batch_size, self._device, pad=self._pad, failed=session.fail, check=session.check)
        path = session.folder.path / log_dir
        test = RunningTest(f"resnet50 {scenario} batch {batch_size} {precision}", path, total, lambda: sut.answered)

        def load(indices: list[int]) -> None:
            test.opened.set()
            try:
                samples.load(indices)
            except BaseException as error:
                session.fail(error)
                del error
                park()

        session.running_test = test
        session.check()
        if scenario is Scenario.SERVER:
            server = threading.Thread(target=sut.serve, name="resnet50-server", daemon=True)
            server.start()
            loadgen.start_test(made, issue=sut.issue_later, load=load, total=samples.count, log_dir=path)
            sut.finish()
            server.join()
        else:
            loadgen.start_test(made, issue=sut.issue, load=load, total=samples.count, log_dir=path)
        session.running_test = None
        return sut, loadgen.read_verdict(path, scenario)

    def _prepare(self, precision: Precision) -> tuple[Callable[[torch.Tensor], torch.Tensor], Samples]:
        if self._loaded is not None and self._loaded[0] is precision:
            return self._loaded[1], self._loaded[2]
        self._loaded = None  # the other precision's model and samples make room first
        count = self._profile.samples_in_memory
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.backends.cudnn.benchmark = True
        model = build_model(self._options, self._device, precision)
        samples = Samples(count, self._options, self._device, precision)
        if precision is not Precision.FP32 and not self._is_sensible(model, samples, precision):
            self._refused.add(precision)
        self._loaded = (precision, model, samples)
        return model, samples

    def _is_sensible(
        self, model: Callable[[torch.Tensor], torch.Tensor], samples: Samples, precision: Precision
    ) -> bool:
        """Whether this precision is worth measuring: one that the device has kernels for."""
        if self._device.type == "cuda":
            if precision is Precision.BF16 and lacks_bf16(self._device):
                self._session.note(f"resnet50 bf16 skipped: {NO_BF16}")
                return False
            return True
        try:
            with torch.inference_mode():
                taken = min(_timed(model, samples.tensor[:1], self._device) for _ in range(2))
                reference = build_model(Options(0, None, False, False), self._device, Precision.FP32)
                fp32 = make_images(1, 0)
                expected = min(_timed(reference, fp32, self._device) for _ in range(2))
        except (RuntimeError, NotImplementedError) as error:
            if "not implemented for" not in str(error):
                raise
            self._session.note(f"resnet50 {precision} skipped: {error}")
            return False
        if taken > _TOO_SLOW * expected:
            self._session.note(
                f"resnet50 {precision} skipped: {taken / expected:.0f} times as slow as fp32 on this CPU, which has no "
                "kernels for it"
            )
            return False
        return True

    def _warm_up(
        self,
        model: Callable[[torch.Tensor], torch.Tensor],
        samples: Samples,
        batch_size: int,
        precision: Precision,
        *,
        every_size: bool,
    ) -> float:
        """Runs the model for a while and returns samples/s at this batch size, measured once for each."""
        with torch.inference_mode():
            if every_size and self._pad:
                size = 1
                while size < batch_size:
                    for _ in range(2):
                        _timed(model, samples.batch([0], padded_to=size), self._device)
                    size *= 2
            key = (precision, batch_size)
            if self._profile.warm_up_s == 0 and self._rates:
                self._rates.setdefault(key, min(self._rates.values()))  # smoke: any figure will do
            if key not in self._rates:
                batch = samples.batch([index % samples.count for index in range(batch_size)])
                first = _timed(model, batch, self._device)
                taken = [first] if first > 1 or self._profile.warm_up_s == 0 else []
                until = time.perf_counter() + self._profile.warm_up_s
                while time.perf_counter() < until:
                    self._session.check()
                    _timed(model, batch, self._device)
                while not taken or (sum(taken) < _CALIBRATE_S and self._profile.warm_up_s > 0):
                    self._session.check()
                    taken.append(_timed(model, batch, self._device))
                self._rates[key] = batch_size * len(taken) / sum(taken)
        return self._rates[key]


def _timed(model: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor, device: torch.device) -> float:
    """Seconds of one batch, answer on the host included."""
    start = time.perf_counter()
    classes_of(model, batch).cpu()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
