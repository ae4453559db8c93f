"""`python -m workload`: reads what is asked, runs it, and always leaves a sealed results folder, or nothing at all."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from results_folder import MANIFEST, MEASUREMENTS, Cause, ResultsFolder, Status, utc_text
from workload import faults
from workload.profile import PROFILES, Benchmark, Device, Precision, Profile, Scenario, Test, batch_size_fits
from workload.session import Session, Step, complain, end_process, say

_RESERVE_BYTES = 2 << 20
"""Disk set aside for results and manifest: 700 records make about 1 MB of JSON and CSV."""
_PROGRESS_S = 0.5
_LARGEST_BATCH = 65_536

_Member = TypeVar("_Member", bound=StrEnum)


@dataclass(frozen=True)
class Request:
    """What was asked, checked."""

    profile: Profile
    results: Path
    benchmarks: tuple[Benchmark, ...]
    weights: Path | None
    seed: int
    device: Device
    channels_last: bool
    compile: bool
    stamps: Mapping[str, object]


class BadInputError(Exception):
    """Mistakes in what was asked, one line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = list(mistakes)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInputError([message])


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m workload",
        description="Measures this machine and leaves a results folder.",
        epilog="Exit codes: 0 complete, 2 bad input, 10 out of memory, 11 missing CUDA library, 12 dead driver or no "
        "GPU, 13 disk full, 130 SIGINT, 143 SIGTERM, 1 anything else.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--profile", default="standard-cpu", metavar="NAME", help=f"{', '.join(PROFILES)} (default: standard-cpu)")
    add("--results", metavar="DIR", help="where results go (default: $GPUBENCH_RESULTS, or /results)")
    add("--benchmarks", metavar="LIST", help=f"any of {', '.join(Benchmark)} (default: all)")
    add("--scenarios", metavar="LIST", help=f"any of {', '.join(Scenario)} (default: the profile's)")
    add("--batch-sizes", metavar="LIST", help="such as 1,8,32 (default: the profile's)")
    add("--precisions", metavar="LIST", help=f"any of {', '.join(Precision)} (default: the profile's)")
    add("--channels-last", action="store_true", help="ResNet-50 in channels-last memory format")
    add("--compile", action="store_true", help="ResNet-50 through torch.compile")
    add("--weights", metavar="FILE", help="a state dict of torchvision's resnet50 (default: random, from the seed)")
    add("--seed", default="0", metavar="N", help="for weights, images and kernels' inputs (default: 0)")
    add("--device", default="auto", metavar="NAME", help=f"{', '.join(Device)} (default: auto)")
    return parser


def _closest(value: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(value.lower(), [each.lower() for each in allowed], n=1)
    match = next((each for each in allowed if near and each.lower() == near[0]), None)
    return f"; did you mean {match}?" if match else ""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Request:
    """The request of a command line. Raises BadInputError with every mistake in it. Writes nothing."""
    mistakes: list[str] = []
    parser = _parser()
    given, unknown = parser.parse_known_args(arguments)
    known = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    mistakes += [f"{text}: no such option{_closest(text, known)}" for text in unknown]

    def members(option: str, kind: type[_Member], text: str | None) -> tuple[_Member, ...] | None:
        if text is None:
            return None
        found: list[_Member] = []
        for part in (part.strip() for part in text.split(",")):
            match = next((each for each in kind if each.lower() == part.lower()), None)
            if match is None:
                allowed = list(kind)
                mistakes.append(f"{option} {part!r}: must be any of {', '.join(allowed)}{_closest(part, allowed)}")
            elif match not in found:
                found.append(match)
        return tuple(found)

    def number(option: str, text: str, least: int, most: int) -> int | None:
        if text.strip().isascii() and text.strip().isdigit() and least <= int(text) <= most:
            return int(text)
        mistakes.append(f"{option} {text!r}: must be a whole number from {least} to {most}")
        return None

    profile = PROFILES.get(given.profile)
    if profile is None:
        allowed = list(PROFILES)
        mistakes.append(
            f"--profile {given.profile!r}: must be one of {', '.join(allowed)}{_closest(given.profile, allowed)}"
        )
    device = next((each for each in Device if each == given.device.strip().lower()), None)
    if device is None:
        allowed = list(Device)
        mistakes.append(
            f"--device {given.device!r}: must be one of {', '.join(allowed)}{_closest(given.device, allowed)}"
        )
    benchmarks = members("--benchmarks", Benchmark, given.benchmarks)
    scenarios = members("--scenarios", Scenario, given.scenarios)
    precisions = members("--precisions", Precision, given.precisions)
    batch_sizes: tuple[int, ...] | None = None
    if given.batch_sizes is not None:
        sizes = [number("--batch-sizes", part, 1, _LARGEST_BATCH) for part in given.batch_sizes.split(",")]
        batch_sizes = tuple(sorted({size for size in sizes if size is not None}))
    seed = number("--seed", given.seed, 0, 2**63 - 1)
    weights = None if given.weights is None else Path(given.weights)
    if weights is not None:
        try:
            with weights.open("rb") as file:
                file.read(1)
        except OSError as error:
            mistakes.append(f"--weights {given.weights!r}: can't be read: {error.strerror}")
    results = Path(given.results or environment.get("GPUBENCH_RESULTS") or "/results")
    mistakes += _check_results(results, "--results" if given.results else "GPUBENCH_RESULTS")
    stamps: Any = {}
    if text := environment.get("GPUBENCH_STAMPS"):
        try:
            stamps = json.loads(text)
        except ValueError as error:
            mistakes.append(f"GPUBENCH_STAMPS: must be a JSON object: {error}")
            stamps = {}
        if not isinstance(stamps, dict):
            mistakes.append(f"GPUBENCH_STAMPS: must be a JSON object, not {type(stamps).__name__}")
            stamps = {}
    if profile is not None and not mistakes:
        profile = _narrowed(profile, scenarios, batch_sizes, precisions)
        if not profile.tests and Benchmark.RESNET50 in (benchmarks or tuple(Benchmark)):
            mistakes.append(
                f"--batch-sizes {given.batch_sizes}: leaves nothing to run: SingleStream runs at batch size 1 only, "
                "MultiStream at up to 8; add --batch-sizes 1, or another scenario"
            )
    if mistakes:
        raise BadInputError(mistakes)
    assert profile is not None and seed is not None and device is not None
    return Request(
        profile=profile,
        results=results,
        benchmarks=benchmarks or tuple(Benchmark),
        weights=weights,
        seed=seed,
        device=device,
        channels_last=given.channels_last,
        compile=given.compile,
        stamps=stamps,
    )


def _check_results(results: Path, option: str) -> list[str]:
    try:
        taken = [name for name in (MANIFEST, MEASUREMENTS) if (results / name).exists()]
        if taken:
            return [f"{option} {str(results)!r}: already holds a run ({', '.join(taken)}); give a new folder"]
        if results.exists() and not results.is_dir():
            return [f"{option} {str(results)!r}: is not a folder"]
        above = next(folder for folder in (results, *results.absolute().parents) if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            return [f"{option} {str(results)!r}: can't be written: no permission for {str(above)!r}"]
    except OSError as error:
        return [f"{option} {str(results)!r}: can't be used: {error.strerror}"]
    return []


def _narrowed(
    profile: Profile,
    scenarios: tuple[Scenario, ...] | None,
    batch_sizes: tuple[int, ...] | None,
    precisions: tuple[Precision, ...] | None,
) -> Profile:
    tests = {}
    for scenario, test in profile.tests.items():
        if scenarios is not None and scenario not in scenarios:
            continue
        sizes = tuple(size for size in batch_sizes or test.batch_sizes if batch_size_fits(scenario, size))
        if sizes:
            tests[scenario] = Test(test.amount, sizes)
    sweep = profile.kernels
    if batch_sizes is not None:
        sweep = dataclasses.replace(sweep, batch_sizes=batch_sizes)
    if precisions is not None:
        sweep = dataclasses.replace(sweep, precisions=precisions)
    return dataclasses.replace(profile, tests=tests, precisions=precisions or profile.precisions, kernels=sweep)


class _Run:
    """A request under way: the measuring thread, and what the main thread needs to tell about it."""

    def __init__(self, request: Request, folder: ResultsFolder) -> None:
        self.request = request
        self.session = Session(folder)
        self.started_at = datetime.now(UTC)
        self.device: Any = None
        self.options: dict[str, object] = {
            "scenarios": [scenario.value for scenario in request.profile.tests],
            "batch_sizes": sorted({size for test in request.profile.tests.values() for size in test.batch_sizes}),
            "precisions": [precision.value for precision in request.profile.precisions],
            "channels_last": request.channels_last,
            "compile": request.compile,
            "seed": request.seed,
            "device": request.device.value,
            "samples_in_memory": request.profile.samples_in_memory,
        }
        self.weights = f"seeded:{request.seed} (random, not trained)"
        self.hardware: dict[str, object] | None = None

    def measure(self) -> None:
        """The measuring thread. Never raises; what goes wrong is in session.fault."""
        try:
            self._measure()
        except BaseException as error:
            self.session.fail(error)

    def _measure(self) -> None:
        from workload import hardware

        request, session = self.request, self.session
        session.current = "loading torch"
        self.device = hardware.choose_device(request.device)
        self.hardware = hardware.describe(self.device, request.stamps)
        if request.device is Device.AUTO and self.device.type == "cpu" and hardware.has_gpu_device():
            session.note("there is an NVIDIA GPU, but this torch is a build without CUDA: measured on the CPU")
        steps: list[Step] = []
        if Benchmark.RESNET50 in request.benchmarks:
            steps += self._resnet50_steps()
        if Benchmark.KERNELS in request.benchmarks:
            from workload.kernels import Kernels

            steps += Kernels(session, request.profile.kernels, self.device, request.seed).steps()
        session.run_steps(steps)

    def _resnet50_steps(self) -> list[Step]:
        import torch

        from workload import resnet50

        request, session = self.request, self.session
        if request.weights is not None:
            self.weights = f"file:{resnet50.file_sha256(request.weights)}"
        self.options["tf32"] = bool(torch.backends.cudnn.allow_tf32) if self.device.type == "cuda" else None
        session.note(
            f"resnet50: samples are {request.profile.samples_in_memory} random images from seed {request.seed} "
            "(8-bit, 224x224, normalised), held in the device's memory"
        )
        if request.weights is None:
            session.note(
                f"resnet50: weights are random, from seed {request.seed}, with BatchNorm statistics of 4 images: "
                "it is speed that is measured, not accuracy"
            )
        if Scenario.SERVER in request.profile.tests:
            session.note(
                f"resnet50 Server: arrival rate is {resnet50.SERVER_LOAD:g} of the samples/s that forward passes at "
                "that batch size reached right before, in this run"
            )
        options = resnet50.Options(request.seed, request.weights, request.channels_last, request.compile)
        suite = resnet50.ResNet50(session, request.profile, options, self.device, request.profile.precisions)
        return list(suite.steps())

    def document(self, status: Status) -> dict[str, object]:
        """benchmark_results.json."""
        from workload import hardware

        described = self.hardware or hardware.describe(None, self.request.stamps)
        return {
            "schema_version": 1,
            "timestamp": utc_text(),
            "status": status.value,
            "gpu_info": hardware.gpu_info(described),
            "hardware": described,
            "stamps": dict(self.request.stamps),
            "workload": {
                "name": "gpubench-workload",
                "profile": self.request.profile.name,
                "benchmarks": [benchmark.value for benchmark in self.request.benchmarks],
                "options": self.options,
                "weights": self.weights,
                "notes": self.session.notes,
            },
            "benchmarks": self.session.folder.records(),
        }


def run(request: Request) -> int:
    """Measures, seals the folder and returns the exit code; does not return if a thread has to be left behind."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    started_at = datetime.now(UTC)
    folder = ResultsFolder(request.results, request.stamps)
    running = _Run(request, folder)
    session = running.session
    thread = threading.Thread(target=running.measure, name="measuring", daemon=True)
    try:
        folder.reserve(_RESERVE_BYTES)
        session.progress()
        thread.start()
        _watch(thread, session, received)
    except Exception as error:
        session.fail(error)
    session.close()
    fault = session.fault
    if fault is None and received and not (session.steps and session.done == len(session.steps)):
        fault = faults.interrupted(received[0])
    code = _finish(running, started_at, fault)
    if thread.is_alive():
        end_process(code)
    for number, handler in previous.items():
        signal.signal(number, handler)
    return code


def _watch(thread: threading.Thread, session: Session, received: Sequence[int]) -> None:
    """Until the thread ends, fails or must be left: keeps progress.json up to date."""
    written, told = time.monotonic(), ("", -1)
    while thread.is_alive() and session.fault is None and not received:
        thread.join(0.05)
        now, state = time.monotonic(), (session.current, session.done)
        if now - written >= (_PROGRESS_S if state != told else 2 * _PROGRESS_S):
            session.progress()
            written, told = now, state


def _finish(running: _Run, started_at: datetime, fault: faults.Fault | None) -> int:
    folder = running.session.folder

    def attempt(do: Callable[[], object]) -> None:
        nonlocal fault
        try:
            do()
        except Exception as error:
            failed = faults.classify(error)
            if fault is None or fault.exit_code == 1:
                fault = failed

    def status() -> Status:
        return fault.status if fault else Status.COMPLETE

    attempt(folder.release)
    attempt(lambda: folder.write_results(running.document(status())))
    cause: Cause | None = fault.cause if fault else None
    code = fault.exit_code if fault else 0
    try:
        folder.seal(status(), exit_code=code, started_at=started_at, cause=cause, made_by="workload")
    except Exception as error:
        sealing = faults.classify(error)
        code = code or sealing.exit_code
        complain(f"could not seal {folder.path}: {sealing.cause.message}")
    if fault is not None:
        first = fault.cause.message.splitlines()[0]
        complain(f"{fault.status}: {fault.cause.code}: {first}\n  mend: {fault.cause.mend}")
    elif code == 0:
        with contextlib.suppress(Exception):
            say(f"complete: {len(folder.records())} records in {folder.path}")
    return code


def main() -> NoReturn:
    """The entry point."""
    try:
        request = parse(sys.argv[1:], os.environ)
    except BadInputError as error:
        for mistake in error.mistakes:
            complain(f"workload: {mistake}")
        sys.exit(faults.BAD_INPUT)
    try:
        code = run(request)
    except OSError as error:
        complain(f"workload: {request.results}: {error.strerror}")
        sys.exit(faults.classify(error).exit_code)
    sys.exit(code)
