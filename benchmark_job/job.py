"""BenchmarkJob: the results that a stack asks for, and the capacity that they need while they are due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

import components
from benchmark_job import store
from benchmark_job.order import RunOrder, run_orders
from benchmark_job.run_resource import Run
from components.interface import SurfaceError
from placement.ladder import Rung
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class BenchmarkJobArgs:
    """`rung`: the rung that runs are carried out on while they are due.

    Plain values: what is due decides what is declared.
    """

    settings: Settings
    rung: Rung


class BenchmarkJob(pulumi.ComponentResource):
    """The runs of a stack, one a repeat.

    Its desired state is their results (DESIGN: a GPU is declared only while a run is due).
    """

    runs: pulumi.Output[list[str]]
    results: pulumi.Output[list[str]]
    due: int
    """How many runs had no results when the program looked."""

    def __init__(self, name: str, args: BenchmarkJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises RunError, with the mend, where the rung's surface, the image or the store can't be used."""
        super().__init__("gpubench:index:BenchmarkJob", name, {}, opts)
        orders = _orders(args)
        found = {order.run: _found(order) for order in orders}
        self.due = sum(attempt is None for attempt in found.values())
        child = pulumi.ResourceOptions(parent=self)
        capacity: list[pulumi.Resource] = []
        if self.due:
            surface = components.load(str(args.rung.surface), args.rung.id)
            capacity.append(surface.declare(f"{name}-capacity", args.rung, child))
        explain = pulumi.ErrorHook(f"{name}-explain", _explain(args.rung))
        runs: list[Run] = []
        for number, order in enumerate(orders, start=1):
            run_opts = pulumi.ResourceOptions(
                parent=self,
                # One after the other: runs side by side on one machine would measure each other.
                depends_on=[*capacity, *runs[-1:]],
                hooks=pulumi.ResourceHookBinding(on_error=[explain]),
            )
            runs.append(Run(f"{name}-run-{number}", order, found=found[order.run], opts=run_opts))
        self.runs = pulumi.Output.all(*[run.run for run in runs])
        self.results = pulumi.Output.all(*[run.results for run in runs])
        self.outputs: Mapping[str, pulumi.Input[Any]] = {
            "runs": self.runs,
            "due": self.due,
            "rung": args.rung.id,
            "obtained_tier": _all(runs, "obtained_tier").apply(_one_or_all),
            "verdict": _all(runs, "verdict").apply(_one_or_all),
            "headline": _all(runs, "headline").apply(_one_or_all),
            "results": self.results,
            "cost_usd": _all(runs, "cost_usd").apply(_total),
        }
        self.register_outputs(dict(self.outputs))


def _orders(args: BenchmarkJobArgs) -> tuple[RunOrder, ...]:
    try:
        surface = components.load(str(args.rung.surface), args.rung.id)
        image = args.settings.benchmark.image
        # The digest before anything is declared: a tag that moves is another benchmark, and so another run.
        resolved = None if image is None else surface.resolve_image(image)
    except (components.SurfaceNotBuilt, SurfaceError) as error:
        raise pulumi.RunError(str(error)) from error
    return run_orders(args.settings, args.rung, pulumi.get_stack(), resolved)


def _found(order: RunOrder) -> str | None:
    """The attempt that has the run's results; None: the run is due.

    A store that can't be read stops an update; a preview says so and assumes due.
    """
    try:
        attempt = store.complete_attempt(store.folder(order.store), order.run, order.rungs)
        return None if attempt is None else attempt.attempt_id
    except store.StoreError as error:
        if not pulumi.runtime.is_dry_run():
            raise pulumi.RunError(str(error)) from error
        pulumi.log.warn(f"{error}; this preview assumes that run {order.run} is due")
        return None


def _explain(rung: Rung) -> Any:
    """The error hook: after a run's failure say what to do. It never asks for a retry: the run itself is done."""

    def hook(_args: pulumi.ErrorHookArgs) -> bool:
        pulumi.log.info(f"no results from {rung.id} yet: mend the cause, then run `gpubench up` again")
        return False

    return hook


def _all(runs: list[Run], output: str) -> pulumi.Output[list[Any]]:
    return pulumi.Output.all(*[getattr(run, output) for run in runs])


def _one_or_all(values: list[Any]) -> Any:
    """One run's value as it is, several runs' as a list; a value that all share, once."""
    return values[0] if all(value == values[0] for value in values) else values


def _total(costs: list[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), 4) if len(known) == len(costs) else None
