"""Samples/s of ResNet-50 under LoadGen, through the workload's harness, against a bare loop over the same tensors.

Offline, batch 32. The harness' side is a whole test of the workload: LoadGen's query, its sample library, the answers,
its logs, the record, and meanwhile another thread that writes progress.json; its figure is the one that goes into the
results. The bare loop is what one would write to see how fast the model is: forward passes and the class of each
sample. Both run on one thread, with the same settings, on the same model and tensors.

On a busy machine the slices scatter by more than what is looked for. So the harness' own time is measured, too: the
same kind of test on a model that answers at once, as a share of the real model's time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.side_by_side import Compare, Goal, Side, parser, run

BATCH_SIZE = 32
GOAL = Goal("samples/s at least 0.99 of the bare loop's", Compare.RATIO, 0.99)
_INSTANT_SAMPLES = 200_000


@dataclass(frozen=True)
class Lengths:
    """Of a slice, in batches; how many pairs of slices."""

    batches: int
    pairs: int


def measure(lengths: Lengths, found: dict[str, bool]) -> None:
    """On the measuring thread: both sides use its pool of compute threads (each thread has a pool of its own)."""
    import torch

    from results_folder import ResultsFolder
    from workload import loadgen
    from workload.profile import PROFILES, Amount, Precision, Scenario, Test
    from workload.resnet50 import Options, ResNet50, Sut, make_batches
    from workload.session import Session

    device = torch.device("cpu")
    count = lengths.batches * BATCH_SIZE
    test = Test(Amount(samples=count), (BATCH_SIZE,))
    profile = replace(PROFILES["standard-cpu"], tests={Scenario.OFFLINE: test}, samples_in_memory=count)
    with tempfile.TemporaryDirectory(prefix="gpubench-benchmark-") as folder:
        session = Session(ResultsFolder(Path(folder) / "results", {}))
        suite = ResNet50(session, profile, Options(0, None, False, False), device, (Precision.FP32,))
        (step,) = suite.steps()
        # The model and the samples that the step uses: not public, but nothing else would be the same tensors.
        model, samples = suite._prepare(Precision.FP32)

        cpu_s: dict[str, list[float]] = {"harness": [], "bare": []}

        def harness() -> float:
            began = time.process_time()
            finished = threading.Event()
            # What the workload's main thread does meanwhile.
            watcher = threading.Thread(target=_write_progress, args=(session.progress, finished), daemon=True)
            watcher.start()
            step.run()
            finished.set()
            watcher.join()
            cpu_s["harness"].append(time.process_time() - began)
            record = session.folder.records()[-1]
            if session.fault is not None or record["samples"] != count:
                raise RuntimeError(f"not a whole test: {session.fault or record}")
            return float(str(record["throughput_samples_per_s"]))

        def bare() -> float:
            began = time.process_time()
            with torch.inference_mode():
                batches = make_batches(samples.tensor, BATCH_SIZE)
                start = time.perf_counter()
                for _ in range(lengths.batches):
                    model(next(batches)).argmax(1)
                taken = time.perf_counter() - start
            cpu_s["bare"].append(time.process_time() - began)
            return count / taken

        met = run(
            f"ResNet-50 Offline batch {BATCH_SIZE} fp32 on the CPU, {torch.get_num_threads()} threads, "
            f"slices of {count} samples",
            GOAL,
            Side("under LoadGen", "samples/s", harness),
            bare_side := Side("bare loop", "samples/s", bare),
            pairs=lengths.pairs,
        )
        # The first pair was the warm-up. On the harness' side this counts loading samples and reading logs, too.
        spent = {side: statistics.median(values[1:]) for side, values in cpu_s.items()}
        rate = bare_side.measure()

        def answers_at_once(batch: torch.Tensor) -> torch.Tensor:
            return scores[: len(batch)]

        scores = torch.zeros(BATCH_SIZE, 1000)
        sut = Sut(
            answers_at_once,
            samples,
            BATCH_SIZE,
            device,
            pad=False,
            failed=session.fail,
            check=session.check,
        )
        made = loadgen.settings(
            Scenario.OFFLINE,
            Amount(samples=_INSTANT_SAMPLES),
            samples=_INSTANT_SAMPLES,
            samples_per_s=1.0,
            samples_in_memory=samples.count,
        )
        log_dir = Path(folder) / "instant"
        loadgen.start_test(made, issue=sut.issue, load=samples.load, total=samples.count, log_dir=log_dir)
        own = loadgen.read_verdict(log_dir, Scenario.OFFLINE).samples_per_s
        assert own and sut.answered == _INSTANT_SAMPLES
    print(
        f"  CPU time of a slice, which other processes' load disturbs less: {spent['harness']:.2f} s under LoadGen, "
        f"{spent['bare']:.2f} s in the bare loop (medians)"
    )
    print(
        f"  the harness with a model that answers at once: {1e6 / own:.1f} microseconds a sample, beside "
        f"{1e6 / rate:.0f} of the real one: a ratio of {1 / (1 + rate / own):.5f} if nothing else differed"
    )
    found["met"] = met


def _write_progress(write: Callable[[], None], finished: threading.Event) -> None:
    """Twice a second, as the workload's main thread does."""
    while not finished.wait(0.5):
        write()


def main() -> int:
    """0 if the goal is met."""
    options = parser(__doc__ or "").parse_args()
    found: dict[str, bool] = {}
    lengths = Lengths(batches=1, pairs=3) if options.quick else Lengths(batches=2, pairs=20)
    if options.pairs:
        lengths = replace(lengths, pairs=options.pairs)
    thread = threading.Thread(target=measure, args=(lengths, found))
    thread.start()
    thread.join()
    return 0 if found.get("met") else 1


if __name__ == "__main__":
    sys.exit(main())
