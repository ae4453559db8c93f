"""What a machine boots from: the image, pinned by family and project, and the size and type of its disk."""

from __future__ import annotations

PROJECT, FAMILY = "deeplearning-platform-release", "common-cu129-ubuntu-2404-nvidia-580"
"""Google's Deep Learning VM: Ubuntu 24.04 with NVIDIA's driver 580 installed, docker and Python 3.

Families that end on a driver's version are the ones in support; those of Debian and of driver 570 are deprecated
(https://cloud.google.com/deep-learning-vm/docs/images). The driver is there before the machine boots, so that no run
waits for an installation. A machine without a GPU boots the same image, so that the two differ by the GPU alone.
"""

BOOT_IMAGE = f"projects/{PROJECT}/global/images/family/{FAMILY}"

SYSTEM_GB = 60.0
"""Of the boot disk: the Deep Learning VM needs 50 GB, and a part of the rest is taken by results and logs."""


def boot_disk_type(machine_type: str) -> str:
    """The kind of disk that a machine can boot from, and that is quick enough to unpack an image on it.

    A3 Ultra, A4 and G4 boot from Hyperdisk (Google's cluster-toolkit, examples/ and modules/; for A4 and A3 Ultra also
    https://cloud.google.com/compute/docs/accelerator-optimized-machines); the other families have Persistent Disk.
    """
    hyperdisk = ("a3-ultragpu-", "a4-", "a4x-", "g4-", "c4-", "n4-")
    return "hyperdisk-balanced" if machine_type.startswith(hyperdisk) else "pd-balanced"


def nic_type(machine_type: str) -> str | None:
    """The network card that a family asks for; None: Compute Engine's default.

    A3, A4 and G4 have gVNIC only (https://cloud.google.com/compute/docs/networking/using-gvnic).
    """
    return "GVNIC" if machine_type.startswith(("a3-", "a4-", "a4x-", "g4-")) else None
