"""What the run ran on. A field that can't be read is null; only asking for a GPU in vain fails a run."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workload.faults import NoGpuError
from workload.profile import Device

_LIBRARIES = ("torch", "torchvision", "numpy", "mlcommons-loadgen", "nvidia-ml-py", "triton")


def choose_device(asked: Device) -> Any:
    """The torch.device for --device. `auto` takes a GPU if this machine has one, and fails if it has one that doesn't
    work: a run on the CPU that was meant for the GPU would be a wrong result.

    Raises NoGpuError, or what torch says of the driver.
    """
    import torch

    if asked is Device.CPU:
        return torch.device("cpu")
    if torch.cuda.is_available():
        torch.empty(1, device="cuda").add_(1).cpu()  # a dead driver shows at the first use
        return torch.device("cuda", 0)
    present = has_gpu_device()
    if asked is Device.AUTO and (not present or torch.version.cuda is None):
        return torch.device("cpu")
    if torch.version.cuda is None:
        raise NoGpuError(f"--device cuda: torch {torch.__version__} is a build without CUDA")
    if not present:
        raise NoGpuError("--device cuda: this machine shows no NVIDIA GPU (no /dev/nvidia0)")
    torch.cuda.init()  # type: ignore[no-untyped-call]  # says what is the matter
    raise NoGpuError("--device cuda: there is an NVIDIA device, but torch finds no GPU that it can use")


def has_gpu_device() -> bool:
    """Whether the machine shows an NVIDIA GPU, working or not. WSL shows it as /dev/dxg."""
    return any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/dxg")) or any(Path("/dev").glob("nvidia[0-9]*"))


def describe(device: Any | None, stamps: Mapping[str, object]) -> dict[str, object]:
    """The hardware block. device: a torch.device, or None if torch could not be imported."""
    gpus: list[dict[str, object]] = []
    if device is not None and device.type == "cuda":
        gpus = _gpus()
    torch = sys.modules.get("torch")
    driver = _try(_driver_version)
    for gpu in gpus:
        gpu["driver_version"] = gpu["driver_version"] or driver
    return {
        "gpus": gpus,
        "gpu_count": len(gpus),
        "driver_version": driver,
        "cuda_version": _try(lambda: torch.version.cuda) if torch and gpus else None,
        "cudnn_version": _try(lambda: _cudnn_text(torch.backends.cudnn.version())) if torch and gpus else None,
        "cpu": {
            "model": _try(_cpu_model),
            "physical_cores": _try(_physical_cores),
            "logical_cores": os.cpu_count(),
        },
        "memory_gb": _try(lambda: round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)),
        "os": _try(_os_name),
        "kernel": _try(platform.release),
        "python": platform.python_version(),
        "libraries": {name: _try(lambda name=name: importlib.metadata.version(name)) for name in _LIBRARIES},  # type: ignore[misc]
        "image_digest": stamps.get("image_digest"),
        "git_commit": stamps.get("git_commit"),
    }


def gpu_info(hardware: Mapping[str, object]) -> dict[str, object]:
    """The third incident's block: the first GPU's name and memory, and CUDA's version; nulls without a GPU."""
    gpus = hardware["gpus"]
    assert isinstance(gpus, list)
    first = gpus[0] if gpus else {}
    return {
        "name": first.get("name"),
        "cuda_version": hardware["cuda_version"],
        "total_memory_gb": first.get("memory_gb"),
    }


def _try(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception:
        return None


def _gpus() -> list[dict[str, object]]:
    import torch

    found = []
    for index in range(_try(torch.cuda.device_count) or 0):
        properties = _try(lambda index=index: torch.cuda.get_device_properties(index))  # type: ignore[misc]
        found.append(
            {
                "name": _try(lambda p=properties: p.name),  # type: ignore[misc]
                "memory_gb": _try(lambda p=properties: round(p.total_memory / 2**30, 1)),  # type: ignore[misc]
                "compute_capability": _try(lambda p=properties: f"{p.major}.{p.minor}"),  # type: ignore[misc]
                "driver_version": None,
                "clocks_mhz": None,
                "power_w": None,
                "temperature_c": None,
                **(_try(lambda p=properties: _from_nvml(p)) or {}),  # type: ignore[misc]
            }
        )
    return found


def _from_nvml(properties: Any) -> dict[str, object]:
    """Driver, clocks, power and temperature by nvidia-ml-py, if it is installed. Found by UUID: NVML counts all GPUs,
    and torch only those of CUDA_VISIBLE_DEVICES."""
    nvml: Any = importlib.import_module("pynvml")  # nvidia-ml-py, if it is there

    nvml.nvmlInit()
    try:
        uuid = str(properties.uuid)
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")

        def clock(kind: int) -> Any:
            return _try(lambda: nvml.nvmlDeviceGetClockInfo(handle, kind))

        clocks = {
            "sm": clock(nvml.NVML_CLOCK_SM),
            "memory": clock(nvml.NVML_CLOCK_MEM),
            "sm_max": _try(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)),
        }
        power = {
            "draw": _try(lambda: round(nvml.nvmlDeviceGetPowerUsage(handle) / 1000, 1)),
            "limit": _try(lambda: round(nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000, 1)),
        }
        return {
            "driver_version": _try(lambda: _text(nvml.nvmlSystemGetDriverVersion())),
            "clocks_mhz": clocks if any(value is not None for value in clocks.values()) else None,
            "power_w": power if any(value is not None for value in power.values()) else None,
            "temperature_c": _try(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        }
    finally:
        nvml.nvmlShutdown()


def _driver_version() -> str | None:
    version = Path("/sys/module/nvidia/version")
    if version.exists():
        return version.read_text().strip()
    nvml: Any = importlib.import_module("pynvml")  # nvidia-ml-py, if it is there

    nvml.nvmlInit()
    try:
        return _text(nvml.nvmlSystemGetDriverVersion())
    finally:
        nvml.nvmlShutdown()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _cudnn_text(number: int | None) -> str | None:
    """90100 is 9.1.0 since cuDNN 9; before it, 8902 was 8.9.2."""
    if number is None:
        return None
    major, rest = divmod(number, 10000 if number >= 90000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _cpu_info() -> list[dict[str, str]]:
    blocks = Path("/proc/cpuinfo").read_text().strip().split("\n\n")
    return [
        {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        for block in blocks
    ]


def _cpu_model() -> str | None:
    try:
        first = _cpu_info()[0]
    except OSError:
        first = {}
    return first.get("model name") or first.get("Model") or platform.processor() or platform.machine() or None


def _physical_cores() -> int | None:
    pairs = {(block["physical id"], block["core id"]) for block in _cpu_info()}
    return len(pairs) or None


def _os_name() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    return release.get("PRETTY_NAME") or release.get("NAME") or platform.system()
