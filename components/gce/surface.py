"""Surface `gce`: GPU machines of Compute Engine. See `components.interface.Surface`, which this module implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pulumi

from benchmark_job.bucket import Bucket, BucketError, Fetch
from benchmark_job.order import RunOrder
from components import boot_disk, following, image_digest, lost, sdk
from components.gce import images, metadata, names
from components.gce import sweep as sweeping
from components.gce.api import ApiError, AttemptApi, GoogleApi, ResourceKind
from components.gce.watch import Watch
from components.interface import Capacity, Control, Execution, Held, Standings, SurfaceError
from components.waiting import MachineGone
from placement.causes import Cause, Where
from placement.ladder import Rung
from placement.ledger import Attempt
from placement.verdicts import CannotSay, Preflight

if TYPE_CHECKING:
    from settings import Settings

T = TypeVar("T")

UPLOADS = True

_MACHINES = (str(ResourceKind.GROUP), str(ResourceKind.INSTANCE))


def check(settings: Settings) -> None:
    """See `components.interface.Surface`."""
    if settings.results.kind != "gs":
        raise SurfaceError(
            f"gpubench:results: {settings.results.url}: a machine on Compute Engine can't write into a folder here. "
            "Name a bucket, which is made if it isn't there: gpubench:results: gs://my-project-gpubench/results",
            Cause.BAD_REQUEST,
        )
    if settings.benchmark.image is None:
        raise SurfaceError(
            "gpubench:benchmark: a machine on Compute Engine runs a container, and `image` names none. For the "
            "built-in workload build workload/Containerfile, push it, and name it here (docs/gce.md shows how)",
            Cause.BAD_REQUEST,
        )


def resolve_image(image: str) -> str:
    """See `components.interface.Surface`."""
    return image_digest.resolve(image)


def preflight(stack: str, settings: Settings) -> Preflight:
    """See `components.interface.Surface`."""
    from components.gce.preflight import GcePreflight

    return GcePreflight(api(), stack, settings)


def declare_standing(name: str, standings: Standings, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource | None:
    """See `components.interface.Surface`."""
    settings = standings.settings
    projects = dict.fromkeys(rung.place.project for rung in standings.rungs if rung.place.project)
    if not projects:
        return None
    sdk.load("pulumi_gcp", "artifactregistry", "projects", "serviceaccount", "storage")
    from components.gce.standing import Standing, StandingArgs

    return Standing(
        name,
        StandingArgs(
            settings=settings,
            stack=standings.stack,
            projects=tuple(projects),
            secrets=standings.secrets,
            labels=standings.labels,
            bucket_exists=standings.adopts and _bucket_exists(settings),
            registry_exists=standings.adopts and _registry_exists(settings),
            hooks=standings.hooks,
        ),
        opts,
    )


def declare(name: str, capacity: Capacity, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
    """See `components.interface.Surface`. Imported only now: pulumi_gcp takes a second and 100 MB."""
    sdk.load("pulumi_gcp", "compute")
    from components.gce.standing import Standing
    from components.gce.vm import GpuVm, GpuVmArgs

    rung, google = capacity.rung, capacity.settings.google
    standing = capacity.standing
    assert isinstance(standing, Standing) and rung.place.project and rung.place.region
    identity = standing.identities[rung.place.project]
    offer = next(iter(rung.offers), None)
    return GpuVm(
        name,
        GpuVmArgs(
            project=rung.place.project,
            region=rung.place.region,
            zones=capacity.search_zones,
            machine_types=rung.machine_types,
            accelerator=offer.accelerator if offer else None,
            gpus=rung.count,
            purchase=rung.purchase,
            reservation=rung.reservation,
            max_seconds=capacity.hours * 3600,
            base_name=names.base_name(capacity.attempt),
            service_account=identity.email,
            end_role=identity.end_role,
            subnet=google.subnet,
            nat=google.nat,
            boot_disk_gb=google.boot_disk_gb or boot_disk.size_gb(capacity.image_gb(), system_gb=images.SYSTEM_GB),
            metadata=_metadata(capacity, identity.secrets),
            labels=capacity.labels,
            hooks=capacity.hooks,
            after=[standing],
        ),
        opts,
    )


def execute(order: RunOrder, execution: Execution, control: Control) -> None:
    """See `components.interface.Surface`. Waits for the machine, then brings home what it measures, as it comes."""
    carry_out(api(), order, execution, control)


def alive(attempt: Attempt) -> bool:
    """See `components.interface.Surface`."""
    return _said(lambda: sweeping.alive(api(), attempt))


def sweep(attempt: Attempt) -> None:
    """See `components.interface.Surface`."""
    _said(lambda: sweeping.sweep(api(), attempt)).check_machines(attempt, _MACHINES)


def held(attempt: Attempt, rung: Rung) -> Held:
    """See `components.interface.Surface`."""
    ask = partial(sweeping.held, api(), attempt, rung, datetime.now(UTC))
    return lost.held_if_known(attempt, ask, ApiError, CannotSay)


def api() -> GoogleApi:
    """The real one; it asks nobody until it is used."""
    global _api
    if _api is None:
        from components.gce.google import Google

        _api = Google()
    return _api


_api: GoogleApi | None = None


def carry_out(api_: AttemptApi, order: RunOrder, execution: Execution, control: Control) -> None:
    """As `execute`, asking this API. Raises SurfaceError where no machine comes, or none of its results."""
    project, region = order.project, order.region
    assert project and region
    where = Where(surface="gce", project=project, region=region, tier=order.tier)
    bucket = Bucket(order.store)
    fetch = Fetch(bucket, order.run, order.attempt, execution.folder, execution.log)

    def shrink() -> None:
        _said(partial(sweeping.shrink, api_, project, region, order.attempt))

    with following.giving_back(control, where, shrink):
        if _said(fetch.advance):
            return  # an earlier update was killed while it waited for these
        # Only a machine puts something there: an earlier update had one, and it may have died since.
        came = order.attempt in _said(partial(bucket.attempts, order.run))
        watch = Watch(api_, project, region, order.attempt, came=came)
        with suppress(MachineGone):  # what it left is sealed, and its last objects may come a moment later
            following.wait(order, execution, control, where, lambda: _said(watch.seen))
        following.follow(
            order,
            execution,
            control,
            what="machine",
            advance=lambda: _said(fetch.advance),
            look=partial(_look, watch, order.run),
            stop=partial(_tell_to_stop, api_, watch),
        )


def _look(watch: Watch, run: str) -> following.Look:
    progress = _said(watch.progress)
    own = [text for about, text in progress.failures if about in ("", run)]
    return following.Look(
        step=" ".join(one for one in (progress.phase, progress.run) if one),
        place=f"on {watch.machine.name if watch.machine else 'its machine'}",
        gone=progress.gone,
        why=progress.taken or "\n".join(own),
    )


def _tell_to_stop(api_: AttemptApi, watch: Watch) -> bool:
    """Whether there is a machine that could be told."""
    machine = watch.machine
    if machine is None:
        return False

    def tell() -> None:
        try:
            api_.set_metadata(machine.project, machine.zone, machine.name, metadata.STOP, "1")
        except ApiError as error:
            if not error.is_gone:  # it has stopped: what it left is sealed all the same
                raise

    _said(tell)
    return True


def _metadata(capacity: Capacity, secrets: pulumi.Output[Mapping[str, str]]) -> Mapping[str, pulumi.Input[str]]:
    order = capacity.orders[0]
    assert capacity.image is not None, "checked before anything is declared"
    code = capacity.settings.benchmark.code
    told = metadata.MachineOrder(
        image=capacity.image,
        # A machine type has one kind of GPU: what was asked for is what comes.
        runs={
            one.run: {**one.stamps, **({} if one.tier == "any" else {"obtained_tier": one.tier})}
            for one in capacity.orders
        },
        attempt=capacity.attempt,
        stack=str(order.stamps.get("stack", "")),
        results=order.store,
        timeout_s=order.timeout_s,
        gpu=order.tier != "cpu",
        argv=order.argv,
        env=order.env,
        code=(code.repository, code.commit) if code else None,
    )
    try:
        attributes = metadata.instance_metadata(told)
    except ValueError as error:
        raise pulumi.RunError(str(error)) from None
    return {**attributes, metadata.SECRETS: secrets.apply(metadata.secret_lines)}


def _bucket_exists(settings: Settings) -> bool:
    try:
        return Bucket(settings.results.url).exists()
    except BucketError as error:
        if pulumi.runtime.is_dry_run():
            pulumi.log.warn(f"{error}; this preview assumes that it isn't there yet")
            return False
        raise SurfaceError(str(error), Cause.PERMISSION) from None


def _registry_exists(settings: Settings) -> bool:
    from catalog.repositories import repository_of

    own = repository_of(f"{settings.registry}/image") if settings.registry else None
    if own is None:
        return False
    try:
        api().repository_policy(own)
    except ApiError as error:
        if error.is_gone:
            return False
        raise SurfaceError(f"gpubench:registry: {settings.registry}: {error}") from None
    except CannotSay as error:
        if pulumi.runtime.is_dry_run():
            pulumi.log.warn(f"{error}; this preview assumes that {settings.registry} isn't there yet")
            return False
        raise SurfaceError(f"gpubench:registry: {settings.registry}: {error}", Cause.PERMISSION) from None
    return True


def _said(ask: Callable[[], T]) -> T:
    """An answer; what refuses it, in the cloud's own words, as the surface's error."""
    try:
        return ask()
    except CannotSay as error:
        raise SurfaceError(str(error), Cause.PERMISSION) from None
    except (ApiError, BucketError) as error:
        raise SurfaceError(str(error)) from None
