"""BenchmarkJob: the results that a stack asks for, and the capacity that they need while they are due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pulumi

import components
from benchmark_job import store
from benchmark_job.attempting import Attempting, only_retrying
from benchmark_job.due import orders as orders_of
from benchmark_job.due import results_of
from benchmark_job.order import PROJECT_ROOT, RunOrder, job_digest, run_orders
from benchmark_job.run_resource import Run
from catalog import Surface
from components import boot_disk, image_digest
from components.image_build import ImageNotBuilt
from components.interface import (
    ATTEMPT_LABEL,
    STACK_LABEL,
    Capacity,
    CapacityComponent,
    Standings,
    SurfaceError,
)
from engine import rehearsal
from placement.causes import Cause
from placement.clock import Clock
from placement.ladder import Rung
from placement.ledger import Ledger
from settings import SecretRef, Settings


@dataclass(frozen=True, kw_only=True)
class BenchmarkJobArgs:
    """`rung`: the rung that runs are carried out on while they are due. `ledger`: where attempts are kept.

    `release`: declare no capacity, although runs may be due: an attempt is over, and nothing may be left of it.
    `explain`: say what to do when an attempt fails. Plain values: what is due decides what is declared.
    """

    settings: Settings
    rung: Rung
    ledger: Ledger
    clock: Clock
    release: bool = False
    explain: bool = True


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
        due = [order.run for order in orders if found[order.run] is None]
        self.due = len(due)
        if args.release:
            orders, due = tuple(order for order in orders if found[order.run] is not None), []
        runs = self._declare(name, args, orders, found, due)
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
            "attempts": args.ledger.exported(),
        }
        self.register_outputs(dict(self.outputs))

    def _declare(
        self,
        name: str,
        args: BenchmarkJobArgs,
        orders: tuple[RunOrder, ...],
        found: Mapping[str, str | None],
        due: list[str],
    ) -> list[Run]:
        """The runs, one after the other, and what those that are due need."""
        child = pulumi.ResourceOptions(parent=self)
        before: list[pulumi.Resource] = []
        hooks = last_hooks = None
        attempt = ""
        handles: Mapping[str, pulumi.Input[str]] = {}
        attempting = _attempting(args) if due else None
        hooks = attempting.hooks(name) if attempting else only_retrying(name, args.clock)
        standing = _standing(name, args, hooks, child)
        if attempting:
            attempt = attempting.attempt.id
            last_hooks = attempting.last_hooks(name, hooks)
            wanted = tuple(order for order in orders if order.run in due)
            capacity = _capacity(attempting, wanted, hooks, standing.get(args.rung.surface))
            declared = attempting.surface.declare(f"{name}-capacity", capacity, child)
            handles = declared.handles if isinstance(declared, CapacityComponent) else {}
            before.append(declared)
        runs: list[Run] = []
        for number, order in enumerate(orders, start=1):
            is_last = order.run in due[-1:]
            run_opts = pulumi.ResourceOptions(
                parent=self,
                # One after the other: runs side by side on one machine would measure each other.
                depends_on=[*before, *runs[-1:]],
                hooks=last_hooks if is_last else hooks,
            )
            in_attempt = replace(order, attempt=attempt, ends_machine=is_last)
            runs.append(Run(f"{name}-run-{number}", in_attempt, found=found[order.run], handles=handles, opts=run_opts))
        return runs


def _orders(args: BenchmarkJobArgs) -> tuple[RunOrder, ...]:
    stack = pulumi.get_stack()
    try:
        return orders_of(args.settings, args.rung, stack)
    except SurfaceError as error:
        unbuilt = isinstance(error, ImageNotBuilt)
        if unbuilt and args.release:
            return ()  # this update makes the repository that the image is pushed to
        # Who previews a pull request may have no credentials for the registry, and builds nothing.
        if pulumi.runtime.is_dry_run() and (unbuilt or error.cause in (Cause.PERMISSION, Cause.TRANSIENT)):
            pulumi.log.warn(f"{error}; this preview assumes that all runs are due")
            return run_orders(args.settings, args.rung, stack, args.settings.benchmark.image)
        raise pulumi.RunError(str(error)) from error
    except components.SurfaceNotBuilt as error:
        raise pulumi.RunError(str(error)) from error


def _found(order: RunOrder) -> str | None:
    """The attempt that has the run's results; None: the run is due.

    A store that can't be read stops an update; a preview says so and assumes due.
    """
    try:
        return results_of(order)
    except store.StoreError as error:
        if not pulumi.runtime.is_dry_run():
            raise pulumi.RunError(str(error)) from error
        pulumi.log.warn(f"{error}; this preview assumes that run {order.run} is due")
        return None


def _attempting(args: BenchmarkJobArgs) -> Attempting:
    job = job_digest(args.settings.benchmark)
    attempting = Attempting.open(args.settings, args.rung, args.ledger, args.clock, pulumi.get_stack(), job)
    return replace(attempting, explain=args.explain)


def _standing(
    name: str, args: BenchmarkJobArgs, hooks: pulumi.ResourceHookBinding, child: pulumi.ResourceOptions
) -> Mapping[Surface, pulumi.ComponentResource | None]:
    """What each surface of the ladder keeps from one attempt to the next; it stays when the walk goes elsewhere."""
    settings, stack = args.settings, pulumi.get_stack()
    config = pulumi.Config()
    rungs = [args.rung] if settings.rung else [one for one in settings.ladder if str(one.surface) in components.built()]
    found: dict[Surface, pulumi.ComponentResource | None] = {}
    for surface in dict.fromkeys(rung.surface for rung in rungs):
        mine = tuple(rung for rung in rungs if rung.surface is surface)
        module = components.load(str(surface), mine[0].id)
        standings = Standings(
            settings=settings,
            rungs=mine,
            stack=stack,
            secrets={
                variable: config.require_secret(value.config_key.partition(":")[2])
                for variable, value in settings.benchmark.env.items()
                if isinstance(value, SecretRef)
            },
            labels={**settings.labels, STACK_LABEL: stack.lower()},
            hooks=hooks,
            adopts=not rehearsal.is_on(),
        )
        try:
            module.check(settings)
            found[surface] = module.declare_standing(f"{name}-{surface}", standings, child)
        except SurfaceError as error:
            raise pulumi.RunError(str(error)) from error
    return found


def _capacity(
    attempting: Attempting,
    orders: tuple[RunOrder, ...],
    hooks: pulumi.ResourceHookBinding,
    standing: pulumi.ComponentResource | None,
) -> Capacity:
    settings, attempt = attempting.settings, attempting.attempt
    own = {STACK_LABEL: attempt.stack.lower(), ATTEMPT_LABEL: attempt.id}  # Google Cloud's labels are lower-case
    return Capacity(
        rung=attempting.rung,
        attempt=attempt.id,
        image=orders[0].image,
        image_gb=partial(_image_gb, orders[0].image),
        zones=attempt.zones,
        hours=attempt.hours or settings.benchmark.timeout_minutes * settings.benchmark.repeats / 60,
        begun=attempt.begun,
        labels={**settings.labels, **own},
        hooks=hooks,
        settings=settings,
        orders=orders,
        standing=standing,
    )


def _image_gb(image: str | None) -> float | None:
    """How large the image is, if its registry says so. A machine may pull what we may not look at."""
    if image is None or "@" not in image or rehearsal.is_on():
        return None
    try:
        return image_digest.compressed_gb(image, PROJECT_ROOT / ".gpubench" / "image-sizes")
    except SurfaceError as error:
        pulumi.log.warn(
            f"{error}. The machine's disk has its default size, {boot_disk.DEFAULT_GB} GB, unless you say how large "
            "it has to be: gpubench:google: {boot_disk_gb: N}, gpubench:aws: {volume_gb: N}"
        )
        return None


def _all(runs: list[Run], output: str) -> pulumi.Output[list[Any]]:
    return pulumi.Output.all(*[getattr(run, output) for run in runs])


def _one_or_all(values: list[Any]) -> Any:
    """One run's value as it is, several runs' as a list; a value that all share, once."""
    return values[0] if values and all(value == values[0] for value in values) else values


def _total(costs: list[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), 4) if len(known) == len(costs) else None
