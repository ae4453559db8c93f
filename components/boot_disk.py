"""How large a machine's disk has to be, so that the benchmark's image can be pulled onto it."""

from __future__ import annotations

import math

DEFAULT_GB = 200
"""Where the size of the benchmark's image isn't known: as in the first incident, whose image had 12.4 GB."""

_UNPACKED = 3.0  # a layer lies on the disk compressed and unpacked while it is pulled; CUDA libraries shrink by half
_LEAST_GB, _STEP_GB = 100, 50  # what is held counts against quotas, and a result or two has to fit as well


def size_gb(image_gb: float | None, *, system_gb: float) -> int:
    """For an image of ``image_gb`` (compressed, as registries say; None: it isn't known), in GB.

    ``system_gb``: what the machine's own image takes, with results and logs.
    """
    if image_gb is None:
        return DEFAULT_GB
    return max(_LEAST_GB, _STEP_GB * math.ceil((system_gb + _UNPACKED * image_gb) / _STEP_GB))
