"""Texts and exceptions to causes, and the ends of a run that can be had without torch."""

from __future__ import annotations

import errno
import os
import re
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

import results_folder
from results_folder import ResultsFolder, Status
from workload import faults
from workload.faults import Code
from workload.session import RunningTest, Session, StoppedError

# Messages as programs print them, each with where it is from.
TEXTS = [
    # torch.OutOfMemoryError: pytorch/pytorch, c10/cuda/CUDACachingAllocator.cpp
    (
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 14.56 GiB of which 14.35 GiB "
        "is free. Including non-PyTorch memory, this process has 214.00 MiB memory in use.",
        Code.OUT_OF_MEMORY,
    ),
    # pytorch/pytorch, c10/core/impl/alloc_cpu.cpp
    (
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 2466250752 bytes. Error code 12 (Cannot allocate memory)",
        Code.OUT_OF_MEMORY,
    ),
    # CUDA Runtime API, cudaGetErrorString: cudaErrorMemoryAllocation, with torch's prefix
    ("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported", Code.OUT_OF_MEMORY),
    # cuBLAS, from at::cuda::getCurrentCUDABlasHandle
    ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", Code.OUT_OF_MEMORY),
    # glibc's loader under a small RLIMIT_AS: memory, not a missing library
    (
        "libcudnn_engines_precompiled.so.9: failed to map segment from shared object: Cannot allocate memory",
        Code.OUT_OF_MEMORY,
    ),
    # glibc, elf/dl-load.c, as ImportError
    (
        "libcudart.so.12: cannot open shared object file: No such file or directory",
        Code.MISSING_CUDA_LIBRARY,
    ),
    (
        "/usr/lib/libcublasLt.so.12: undefined symbol: cublasLtMatmul, version libcublasLt.so.12",
        Code.MISSING_CUDA_LIBRARY,
    ),
    # CUDA Runtime API, cudaGetErrorString: cudaErrorInsufficientDriver
    (
        "CUDA error: CUDA driver version is insufficient for CUDA runtime version",
        Code.MISSING_CUDA_LIBRARY,
    ),
    # pytorch/pytorch, torch/csrc/cuda/Module.cpp and torch/cuda/__init__.py
    (
        "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by "
        "downloading and installing a new version",
        Code.MISSING_CUDA_LIBRARY,
    ),
    # CUDA Runtime API, cudaGetErrorString: cudaErrorSystemDriverMismatch
    (
        "Error 803: system has unsupported display driver / cuda driver combination",
        Code.MISSING_CUDA_LIBRARY,
    ),
    # CUDA Runtime API, cudaGetErrorString: cudaErrorNoKernelImageForDevice
    ("CUDA error: no kernel image is available for execution on the device", Code.MISSING_CUDA_LIBRARY),
    # NVML API reference, NVML_ERROR_LIB_RM_VERSION_MISMATCH, through nvidia-smi
    ("Failed to initialize NVML: Driver/library version mismatch", Code.MISSING_CUDA_LIBRARY),
    # torch/cuda/__init__.py
    (
        "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver",
        Code.NO_GPU,
    ),
    ("Torch not compiled with CUDA enabled", Code.NO_GPU),
    ("No CUDA GPUs are available", Code.NO_GPU),
    # CUDA Runtime API, cudaGetErrorString: cudaErrorNoDevice
    ("CUDA error: no CUDA-capable device is detected", Code.NO_GPU),
    # CUDA Runtime API, cudaGetErrorString: cudaErrorLaunchFailure
    ("CUDA error: unspecified launch failure", Code.DEAD_DRIVER),
    ("CUDA error: an illegal memory access was encountered", Code.DEAD_DRIVER),
    ("CUDA error: uncorrectable ECC error encountered", Code.DEAD_DRIVER),
    # torch/csrc/cuda/Module.cpp
    (
        "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
        "CUDA_VISIBLE_DEVICES after program start.",
        Code.DEAD_DRIVER,
    ),
    # the kernel's log: NVIDIA's Xid guide
    ("NVRM: Xid (PCI:0000:00:04): 79, pid=1234, name=python, GPU has fallen off the bus.", Code.DEAD_DRIVER),
    # NVML API reference, nvmlErrorString: NVML_ERROR_GPU_IS_LOST and NVML_ERROR_UNKNOWN
    ("NVMLError_GpuIsLost: GPU is lost", Code.DEAD_DRIVER),
    ("Failed to initialize NVML: Unknown Error", Code.DEAD_DRIVER),
    # nvidia-smi
    (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
        "NVIDIA driver is installed and running.",
        Code.DEAD_DRIVER,
    ),
    ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`", Code.DEAD_DRIVER),
    ("[Errno 28] No space left on device: '/results/x'", Code.DISK_FULL),
    ("[Errno 122] Disk quota exceeded", Code.DISK_FULL),
]


@pytest.mark.parametrize(("text", "code"), TEXTS)
def test_texts(text: str, code: Code) -> None:
    fault = faults.classify(RuntimeError(text))
    assert fault.cause.code == code
    assert fault.exit_code == faults.EXIT_CODES[code]
    assert fault.status is Status.FAILED
    assert text in fault.cause.message
    assert fault.cause.mend == faults.MENDS[code]


@pytest.mark.parametrize(
    "text",
    ["mat1 and mat2 shapes cannot be multiplied", "division by zero", "Expected all tensors on the same device", ""],
)
def test_other_texts_are_errors_with_the_text_kept(text: str) -> None:
    fault = faults.classify(ValueError(text))
    assert (fault.cause.code, fault.exit_code) == (Code.ERROR, 1)
    assert text in fault.cause.message


def test_every_pattern_has_its_text() -> None:
    """A pattern that no text above reaches isn't known to work; only a few may have no example here."""
    reached = {next(pattern.text.pattern for pattern in faults.TABLE if pattern.text.search(text)) for text, _ in TEXTS}
    assert len(reached) >= 0.7 * len(faults.TABLE)
    assert all(pattern.source for pattern in faults.TABLE)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), Code.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Code.DISK_FULL),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), Code.DISK_FULL),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), Code.OUT_OF_MEMORY),
        (faults.NoGpuError("none"), Code.NO_GPU),
        (type("OutOfMemoryError", (RuntimeError,), {})("x"), Code.OUT_OF_MEMORY),
        (PermissionError(errno.EACCES, "x"), Code.ERROR),
    ],
)
def test_types(error: BaseException, code: Code) -> None:
    assert faults.classify(error).cause.code == code


def test_the_cause_behind_an_exception_counts() -> None:
    error = RuntimeError("the backend failed")
    error.__cause__ = RuntimeError("CUDA error: unspecified launch failure")
    assert faults.classify(error).cause.code == Code.DEAD_DRIVER


def test_interrupted() -> None:
    fault = faults.interrupted(signal.SIGTERM)
    assert (fault.exit_code, fault.cause.cause, fault.cause.code) == (143, "interrupted", "signal")
    assert faults.interrupted(signal.SIGINT).exit_code == 130


def test_a_closed_session_records_nothing_and_its_logs_stand_still(tmp_path: Path) -> None:
    """What keeps the manifest true while LoadGen, which can't be stopped, goes on writing."""
    session = Session(ResultsFolder(tmp_path, {}))
    session.record({"benchmark": "x"})
    log_dir = tmp_path / "loadgen" / "test"
    log_dir.mkdir(parents=True)
    with (log_dir / "mlperf_log_detail.txt").open("w") as log:
        log.write("before\n")
        log.flush()
        session.running_test = RunningTest("x Server", log_dir, 10, lambda: 3)
        session.running_test.opened.set()
        session.close()
        session.folder.seal(
            Status.INTERRUPTED, exit_code=143, started_at=datetime.now(UTC), cause=None, made_by="workload"
        )
        log.write("after\n")
        log.flush()
        with pytest.raises(StoppedError):
            session.record({"benchmark": "y"})
    assert results_folder.verify(tmp_path) == []
    assert (log_dir / "mlperf_log_detail.txt").read_text() == "before\n"
    assert re.search(r"3 of 10 samples", session.notes[-1])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_that_is_full() -> None:
    with pytest.raises(OSError, match="No space") as caught, Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert faults.classify(caught.value).cause.code == Code.DISK_FULL
