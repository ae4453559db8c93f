"""The benchmark job: its component, its runs, the results contract, and reports.

`BenchmarkJob` and `BenchmarkJobArgs` are imported on first use: who only reads results needs no Pulumi.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark_job.job import BenchmarkJob, BenchmarkJobArgs

__all__ = ["BenchmarkJob", "BenchmarkJobArgs"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from benchmark_job import job

        return getattr(job, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
