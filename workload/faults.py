"""What went wrong, told from exceptions and their texts: one table, with the source of each pattern beside it."""

from __future__ import annotations

import errno
import re
import signal
from dataclasses import dataclass
from enum import StrEnum

from results_folder import Cause, Status


class Code(StrEnum):
    """`cause.code` in a manifest."""

    OUT_OF_MEMORY = "out-of-memory"
    MISSING_CUDA_LIBRARY = "missing-cuda-library"
    DEAD_DRIVER = "dead-driver"
    NO_GPU = "no-gpu"
    DISK_FULL = "disk-full"
    SIGNAL = "signal"
    ERROR = "error"


EXIT_CODES = {
    Code.OUT_OF_MEMORY: 10,
    Code.MISSING_CUDA_LIBRARY: 11,
    Code.DEAD_DRIVER: 12,
    Code.NO_GPU: 12,
    Code.DISK_FULL: 13,
    Code.ERROR: 1,
}
BAD_INPUT = 2

MENDS = {
    Code.OUT_OF_MEMORY: (
        "use smaller batches (--batch-sizes), a smaller precision (--precisions fp16), or a machine with more memory"
    ),
    Code.MISSING_CUDA_LIBRARY: (
        "use an image whose torch, CUDA libraries and driver belong together: the image brings torch and libraries, "
        "the machine the driver, which must be at least as new as the image's CUDA needs (`nvidia-smi` shows both)"
    ),
    Code.DEAD_DRIVER: (
        "look at `dmesg | grep -i xid` on the machine and restart it; if it comes back, give the machine back and take "
        "another"
    ),
    Code.NO_GPU: (
        "run on a machine with an NVIDIA GPU and its driver, pass the GPU into the container, or ask for --device cpu"
    ),
    Code.DISK_FULL: "make room where the results folder is, or give the run a larger disk, and run again",
    Code.ERROR: "the log has the whole traceback",
}


class NoGpuError(Exception):
    """A GPU was asked for, and there is none that could be used."""


@dataclass(frozen=True)
class Pattern:
    code: Code
    text: re.Pattern[str]
    source: str
    """Where the text comes from."""


def _pattern(code: Code, text: str, source: str) -> Pattern:
    return Pattern(code, re.compile(text, re.IGNORECASE), source)


_C10 = "pytorch/pytorch, c10/core/impl/alloc_cpu.cpp"
_CACHING = "pytorch/pytorch, c10/cuda/CUDACachingAllocator.cpp"
_CUDA_ERRORS = "CUDA Runtime API, section 'Data types used by CUDA Runtime': enum cudaError and cudaGetErrorString"
_NVML_ERRORS = "NVML API reference, nvmlReturn_t and nvmlErrorString"
_LAZY_INIT = "pytorch/pytorch, torch/csrc/cuda/Module.cpp and torch/cuda/__init__.py"

# The first that fits wins. Memory comes before libraries (a library that can't be mapped for want of memory is not
# missing), and "no device" before the dead driver (both come with "CUDA error:").
TABLE: tuple[Pattern, ...] = (
    _pattern(Code.DISK_FULL, r"no space left on device", "errno(3), ENOSPC"),
    _pattern(Code.DISK_FULL, r"disk quota exceeded", "errno(3), EDQUOT"),
    _pattern(Code.OUT_OF_MEMORY, r"CUDA out of memory", _CACHING),
    _pattern(Code.OUT_OF_MEMORY, r"CUDA error: out of memory", _CUDA_ERRORS + " (cudaErrorMemoryAllocation)"),
    _pattern(Code.OUT_OF_MEMORY, r"DefaultCPUAllocator: (can't|not enough memory)", _C10),
    _pattern(Code.OUT_OF_MEMORY, r"cannot allocate memory", "errno(3), ENOMEM"),
    _pattern(Code.OUT_OF_MEMORY, r"std::bad_alloc", "C++ standard, [bad.alloc], as libstdc++ prints it"),
    _pattern(Code.OUT_OF_MEMORY, r"can't start new thread", "CPython, Modules/_threadmodule.c: no memory for a stack"),
    _pattern(
        Code.OUT_OF_MEMORY, r"(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED", "cuBLAS and cuDNN API references, status types"
    ),
    _pattern(
        Code.OUT_OF_MEMORY, r"could not create a (primitive|memory)", "oneDNN, src/common/c_types_map: out_of_memory"
    ),
    _pattern(
        Code.MISSING_CUDA_LIBRARY,
        r"CUDA driver version is insufficient for CUDA runtime version",
        _CUDA_ERRORS + " (cudaErrorInsufficientDriver)",
    ),
    _pattern(Code.MISSING_CUDA_LIBRARY, r"NVIDIA driver on your system is too old", _LAZY_INIT),
    _pattern(
        Code.MISSING_CUDA_LIBRARY, r"system has unsupported display driver / cuda driver combination", _CUDA_ERRORS
    ),
    _pattern(Code.MISSING_CUDA_LIBRARY, r"no kernel image is available for execution on the device", _CUDA_ERRORS),
    _pattern(
        Code.MISSING_CUDA_LIBRARY, r"Driver/library version mismatch", _NVML_ERRORS + " (LIB_RM_VERSION_MISMATCH)"
    ),
    _pattern(
        Code.MISSING_CUDA_LIBRARY,
        r"(lib(cu|nv|c10|torch)[\w.+-]*\.so[\w.]*).{0,40}(cannot open shared object file|undefined symbol|not found)",
        "glibc, elf/dl-load.c and dl-lookup.c, as ImportError or OSError carries it",
    ),
    _pattern(Code.MISSING_CUDA_LIBRARY, r"lib(cu|nv)[\w.+-]*\.so.*undefined symbol", "glibc, elf/dl-lookup.c"),
    _pattern(
        Code.MISSING_CUDA_LIBRARY, r"(could not load library|unable to load).{0,40}lib(cu|nv)", "cuDNN 8 and 9 loaders"
    ),
    _pattern(Code.NO_GPU, r"no CUDA-capable device is detected", _CUDA_ERRORS + " (cudaErrorNoDevice)"),
    _pattern(Code.NO_GPU, r"found no NVIDIA driver on your system", _LAZY_INIT),
    _pattern(Code.NO_GPU, r"Torch not compiled with CUDA enabled", _LAZY_INIT),
    _pattern(Code.NO_GPU, r"No CUDA GPUs are available", _LAZY_INIT),
    _pattern(Code.NO_GPU, r"invalid device ordinal", _CUDA_ERRORS + " (cudaErrorInvalidDevice)"),
    _pattern(Code.DEAD_DRIVER, r"\bXid\b.{0,40}\d", "NVIDIA, Xid Errors guide: NVRM lines of the kernel's log"),
    _pattern(Code.DEAD_DRIVER, r"unspecified launch failure", _CUDA_ERRORS + " (cudaErrorLaunchFailure)"),
    _pattern(
        Code.DEAD_DRIVER, r"an illegal memory access was encountered", _CUDA_ERRORS + " (cudaErrorIllegalAddress)"
    ),
    _pattern(Code.DEAD_DRIVER, r"uncorrectable ECC error", _CUDA_ERRORS + " (cudaErrorECCUncorrectable)"),
    _pattern(Code.DEAD_DRIVER, r"uncorrectable NVLink error", _CUDA_ERRORS + " (cudaErrorNvlinkUncorrectable)"),
    _pattern(Code.DEAD_DRIVER, r"GPU is lost", _NVML_ERRORS + " (NVML_ERROR_GPU_IS_LOST)"),
    _pattern(Code.DEAD_DRIVER, r"fallen off the bus", "NVIDIA, Xid Errors guide: Xid 79"),
    _pattern(
        Code.DEAD_DRIVER, r"NVML.*unknown error|failed to initialize NVML", _NVML_ERRORS + " (NVML_ERROR_UNKNOWN)"
    ),
    _pattern(Code.DEAD_DRIVER, r"NVIDIA-SMI has failed because it couldn't communicate", "nvidia-smi's own message"),
    _pattern(Code.DEAD_DRIVER, r"CUDA unknown error", _LAZY_INIT),
    _pattern(
        Code.DEAD_DRIVER, r"(CUBLAS|CUDNN)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR)", "cuBLAS and cuDNN API references"
    ),
    _pattern(Code.DEAD_DRIVER, r"CUDA error: ", _CUDA_ERRORS + ": any other, torch's prefix for them"),
    _pattern(Code.DEAD_DRIVER, r"CUDA driver error: ", "pytorch/pytorch, c10/cuda/driver_api.h: C10_CUDA_DRIVER_CHECK"),
)


@dataclass(frozen=True)
class Fault:
    """How a run ended that didn't complete."""

    status: Status
    cause: Cause
    exit_code: int


def classify_text(text: str) -> Code | None:
    """The code of a message; None if no pattern of the table fits."""
    return next((pattern.code for pattern in TABLE if pattern.text.search(text)), None)


def classify(error: BaseException) -> Fault:
    """The fault behind an exception, its types first, then its text and that of what caused it."""
    message = describe(error)
    code = _code_of_type(error) or classify_text(message) or Code.ERROR
    mend = _special_mend(message) or MENDS[code]
    return Fault(Status.FAILED, Cause("workload", code.value, message, mend), EXIT_CODES[code])


def interrupted(number: int) -> Fault:
    """The fault of a run that a signal stopped."""
    name = signal.Signals(number).name
    cause = Cause(
        "interrupted",
        Code.SIGNAL.value,
        f"stopped by {name}",
        "run it again; what was measured before the signal is in this folder",
    )
    return Fault(Status.INTERRUPTED, cause, 128 + number)


def describe(error: BaseException) -> str:
    """``Type: text``, and the same of what it was raised from."""
    parts = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        parts.append(f"{type(current).__name__}: {current}".rstrip(": "))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nfrom ".join(parts)


def _code_of_type(error: BaseException) -> Code | None:
    if isinstance(error, MemoryError):
        return Code.OUT_OF_MEMORY
    if isinstance(error, NoGpuError):
        return Code.NO_GPU
    # By name, because torch may be what could not be imported. torch.OutOfMemoryError is torch.cuda's in older ones.
    if type(error).__name__ == "OutOfMemoryError":
        return Code.OUT_OF_MEMORY
    # EFBIG: the file-size limit (ulimit -f) is the disk's end as far as a run is concerned.
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Code.DISK_FULL
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return Code.OUT_OF_MEMORY
    return None


def _special_mend(message: str) -> str | None:
    if missing := re.search(r"No module named '(torch|torchvision|mlperf_loadgen)", message):
        package = {"mlperf_loadgen": "mlcommons-loadgen"}.get(missing[1], missing[1])
        return f"install {package} (requirements-workload.txt), or use an image that has it"
    if re.search(r"operator torchvision::\w+ does not exist", message):
        return "torch and torchvision don't belong together: install the torchvision that was made for this torch"
    if re.search(r"InvalidCxxCompiler|Failed to find C compiler|No working C\+\+ compiler", message):
        return "--compile needs a C++ compiler at run time: leave it out, or use an image with g++"
    if "Error(s) in loading state_dict" in message:
        return "--weights must be a state dict of torchvision's resnet50 with 1000 classes"
    if "Weights only load failed" in message:
        return "--weights must hold tensors only, saved by torch.save(model.state_dict(), FILE)"
    return None
