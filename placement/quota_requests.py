"""The commands that ask a cloud for more of a quota, to be copied into a shell."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable


def command(
    service: str,
    quota_id: str,
    value: float,
    region: str | None,
    *,
    dimensions: Iterable[tuple[str, str]] = (),
    project: str | None = None,
) -> str:
    """Ask for ``value``, rounded up, as the whole limit. ``region`` None: the quota is a project's or an account's.

    Sources: https://cloud.google.com/sdk/gcloud/reference/quotas/preferences/create (an increase needs an e-mail
    address) and https://docs.aws.amazon.com/cli/latest/reference/service-quotas/request-service-quota-increase.html.
    """
    if not service.endswith(".googleapis.com"):
        words = ["aws", "service-quotas", "request-service-quota-increase", "--service-code", service]
        words += ["--quota-code", quota_id, "--desired-value", str(math.ceil(value))]
        words += ["--region", region] if region else []
        return shlex.join(words)
    pairs = ([("region", region)] if region else []) + list(dimensions)
    words = ["gcloud", "quotas", "preferences", "create", f"--service={service}", f"--project={project or 'PROJECT'}"]
    words += [f"--quota-id={quota_id}", f"--preferred-value={math.ceil(value)}"]
    words += [f"--dimensions={','.join(f'{name}={text}' for name, text in pairs)}"] if pairs else []
    return shlex.join([*words, "--email=YOUR_ADDRESS"])
