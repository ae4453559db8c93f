"""The report of one run or of several: a table in the terminal, report.md, and a self-contained report.html.

    render_terminal(runs, sys.stdout)
    write_report(runs, Path("reports/local"))
    headline(run)

Importing this costs nothing: rich and the page's parts are loaded when something is rendered. The obtained tier is
read from the GPU's name, and only without one from the stamp; `tier_of` is that look-up and can be given (tests,
another catalogue).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from benchmark_job.results import RunResults

TierOf = Callable[[str, float | None], str | None]
"""GPU name as the driver prints it, memory in GB or None -> tier, None where the catalogue doesn't know it."""


def tier_of_gpu(name: str, memory_gb: float | None) -> str | None:
    """The catalogue's answer; the catalogue is read only when a run has a GPU."""
    import catalog

    return catalog.tier_of_gpu(name, memory_gb)


def headline(run: RunResults, tier_of: TierOf = tier_of_gpu) -> dict[str, float | str]:
    """The figures for a stack's outputs; a figure that the run doesn't have is left out.

    - `loadgen`: VALID, INVALID, mixed, or none (no LoadGen test in the run)
    - `status`, `obtained_tier`, `duration_s`, `cost_usd`
    - `offline_samples_per_s`: the best Offline throughput
    - `server_samples_per_s` and `server_p99_ms`: of one and the same test, the Server test with the highest throughput
      (of those that LoadGen called VALID, if there are any)
    - `single_stream_p90_ms`, `multi_stream_p99_ms`: the lowest, MLPerf's metric for these scenarios
    - `kernels_best_<kernel>_tflop_per_s` or `…_gb_per_s`: the best over all shapes, batch sizes and precisions
    """
    from benchmark_job.report.content import headline_of

    return headline_of(run, tier_of)


def render_terminal(
    runs: Sequence[RunResults], file: TextIO, *, tier_of: TierOf = tier_of_gpu, width: int | None = None
) -> None:
    """Prints the report as tables. Coloured on a terminal; plain and 100 columns wide (or `width`) elsewhere."""
    from benchmark_job.report.terminal import render

    render(runs, file, tier_of, width)


def write_report(runs: Sequence[RunResults], folder: Path, *, tier_of: TierOf = tier_of_gpu) -> list[Path]:
    """Writes report.md, report.html and plots/*.svg into `folder`, and returns their paths.

    Plots of an earlier report in `folder`/plots are replaced. Raises ValueError without a run, OSError if it can't
    write.
    """
    from benchmark_job.report.write import write

    return write(runs, folder, tier_of)


def write_plots(
    runs: Sequence[RunResults], folder: Path, *, theme: str = "auto", tier_of: TierOf = tier_of_gpu
) -> list[Path]:
    """Writes the plots alone as SVG files. theme: `auto` follows the reader's system; `light`, `dark` are fixed, for a
    <picture> with one file each."""
    from benchmark_job.report.write import plots

    return plots(runs, folder, theme, tier_of)
