"""What a machine on AWS boots from, how large its disk is, and the image of the container beside the benchmark."""

from __future__ import annotations

import re

from catalog.repositories import EcrRepository
from components.ecs import names

AMI_PARAMETER = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
"""AWS's own ECS-optimized image with NVIDIA's driver, Amazon Linux 2023, by its public parameter.

Its id is another one in each region, and AWS moves the parameter when it patches the image
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html).
"""

AMI = f"resolve:ssm:{AMI_PARAMETER}"
"""As a launch template names it: EC2 looks the parameter up when it launches a machine, so no state has an old id.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/using-systems-manager-parameters.html
"""

ROOT_DEVICE = "/dev/xvda"
"""Where Amazon Linux's images have their root volume."""

DISK_MB_S = 500
"""Throughput of the root volume, MB/s: unpacking the image is what a machine waits for, and 125 is gp3's least.

At most 0.25 MB/s for each of gp3's 3000 operations a second
(https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html).
"""

SYSTEM_GB = 40.0
"""Of the root volume: the image's own has 30 GB, and a part of the rest is taken by results and logs."""

FARGATE_DISK_GB = (21, 200)
"""What Fargate gives a task (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html)."""

UPLOADER_NAME = "lambda/python"
UPLOADER_DIGEST = "sha256:145350008f3f67d82c0bc6ecd34d9eb0c95aecf11f9b69db6bab7de3d5d3cc61"
UPLOADER_IMAGE = f"public.ecr.aws/{UPLOADER_NAME}@{UPLOADER_DIGEST}"
"""AWS's base image for Python 3.12 on Lambda, which has boto3: the container beside the benchmark needs no more.

The digest is that of tag 3.12's manifest list in October 2026 (its x86-64 manifest was built on the 9th, with Python
3.12.15); a public repository's release notes have it, read from the registry. It wasn't pulled here. A registry that
has it no more says so, and `uploader_image` of gpubench:aws names another one (Python 3.11 or later, with boto3).
"""


def cached_uploader_image(account: str, region: str, stack: str) -> str:
    """The same image by way of the stack's pull-through cache in that region (see components/ecr.py)."""
    own = EcrRepository(account, region, f"{names.cache_prefix(stack)}/{UPLOADER_NAME}")
    return f"{own.url}@{UPLOADER_DIGEST}"


def fargate_size(machine_type: str) -> tuple[int, int]:
    """CPU units (1024 a vCPU) and MiB of a size as the catalogue names it (``fargate-4-16gb``).

    Raises ValueError for another name.
    """
    found = re.fullmatch(r"fargate-(\d+)-(\d+)gb", machine_type)
    if found is None:
        raise ValueError(f"{machine_type}: no size of Fargate's, which are named fargate-<vCPUs>-<memory>gb")
    return int(found[1]) * 1024, int(found[2]) * 1024
