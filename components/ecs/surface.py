"""Surface `ecs`: GPU machines of EC2 in ECS clusters, and Fargate for tier `cpu`.

See `components.interface.Surface`, which this module implements.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pulumi

import results_folder
from benchmark_job.bucket import Bucket, BucketError, Fetch
from benchmark_job.order import RunOrder
from catalog.repositories import ecr_repository_of
from components import boot_disk, following, image_digest, lost, sdk
from components.ecs import images, names, reach
from components.ecs import sweep as sweeping
from components.ecs.api import AwsError, EcsApi, StopOrder, TaskOrder
from components.ecs.kinds import Runs
from components.ecs.watch import Watch
from components.interface import (
    ATTEMPT_LABEL,
    STACK_LABEL,
    Capacity,
    Control,
    Execution,
    Held,
    Standings,
    SurfaceError,
)
from components.waiting import MachineGone
from placement.causes import Cause, Where, classify
from placement.ladder import Rung
from placement.ledger import Attempt
from placement.verdicts import CannotSay, Preflight

if TYPE_CHECKING:
    from components.ecs.api import AwsApi
    from settings import Settings

T = TypeVar("T")

UPLOADS = True

_NEW_ROLE_S = 120.0  # IAM says it takes seconds until a new role is known everywhere, and doesn't say how many
_NEW_ROLE = re.compile(r"unable to assume the role|must allow .+ to assume the role", re.IGNORECASE)
"""As RunTask and a task that stopped say it, and as CreateSchedule does."""
_LEAST_S = 120.0  # a task that is to end sooner need not begin
_TOKEN = 64  # characters of a client token (ecs, RunTask)


def check(settings: Settings) -> None:
    """See `components.interface.Surface`."""
    if settings.results.kind != "s3":
        raise SurfaceError(
            f"gpubench:results: {settings.results.url}: a task on ECS can't write there. Name a bucket of S3, which is "
            "made if it isn't there: gpubench:results: s3://my-gpubench/results",
            Cause.BAD_REQUEST,
        )
    if settings.benchmark.image is None:
        raise SurfaceError(
            "gpubench:benchmark: a task on ECS runs a container, and `image` names none. For the built-in workload: "
            "image: ACCOUNT.dkr.ecr.REGION.amazonaws.com/workload:1 and build: {containerfile: workload/Containerfile} "
            "(docs/ecs.md)",
            Cause.BAD_REQUEST,
        )
    if settings.benchmark.code is not None:
        raise SurfaceError(
            "gpubench:benchmark.code: a task on ECS has no checkout of it. Put the code into the image (with "
            "benchmark.build a changed file makes another run due), and remove code",
            Cause.BAD_REQUEST,
        )
    _check_registry(settings)
    if nobodys := [rung.id for rung in _rungs(settings) if rung.place.project is None]:
        raise SurfaceError(
            f"gpubench:ladder: {nobodys[0]}: account is missing, and what is declared has to name it; `aws sts "
            'get-caller-identity --query Account` prints yours: write account: "123456789012"',
            Cause.BAD_REQUEST,
        )
    accounts = list(dict.fromkeys(str(rung.place.project) for rung in _rungs(settings)))
    if len(accounts) > 1:
        raise SurfaceError(
            f"gpubench:ladder: rungs on ecs in accounts {', '.join(accounts)}: one stack's credentials are one "
            "account's. Give each account a stack of its own, or pin a rung",
            Cause.BAD_REQUEST,
        )
    _check_networks(settings)


def _check_networks(settings: Settings) -> None:
    """Whether gpubench's own networks can be made where the rungs are, and reach what the settings name."""
    aws, rungs = settings.aws, [rung for rung in _rungs(settings) if rung.place.region not in settings.aws.subnets]
    regions = list(dict.fromkeys(str(rung.place.region) for rung in rungs))
    if aws.network == reach.ENDPOINTS and len(regions) > 1:
        raise SurfaceError(
            f"gpubench:aws.network: {aws.network}: it reaches images and buckets of its own region only, and the "
            f"ladder has rungs in {', '.join(regions)}. Give each region a stack of its own (`gpubench migrate`), "
            "write network: nat, or pin a rung",
            Cause.BAD_REQUEST,
        )
    try:
        for rung in rungs:
            region = str(rung.place.region)
            reach.own_zones(region, rung.place.zones)
            if aws.network == reach.ENDPOINTS:
                reach.check_image("gpubench:benchmark.image", str(settings.benchmark.image), region)
                if aws.uploader_image:
                    reach.check_image("gpubench:aws.uploader_image", aws.uploader_image, region)
    except reach.BadRequest as error:
        raise SurfaceError(f"{error.what}; {error.mend}", Cause.BAD_REQUEST) from None


def _check_registry(settings: Settings) -> None:
    """On ECR an image's whole name is its repository's: one that is pushed elsewhere than into ours goes nowhere."""
    image, registry = settings.benchmark.image, settings.registry
    own = ecr_repository_of(registry) if registry else None
    pushed = ecr_repository_of(image) if image else None
    if settings.benchmark.build is None or own is None or pushed is None or pushed == own:
        return
    raise SurfaceError(
        f"gpubench:benchmark.image: {image}: on ECR that is a repository of its own, and gpubench:registry makes "
        f"{registry}. Write image: {registry}:{image.rpartition(':')[2] if image else 'TAG'}",
        Cause.BAD_REQUEST,
    )


def resolve_image(image: str) -> str:
    """See `components.interface.Surface`."""
    return image_digest.resolve(image)


def preflight(stack: str, settings: Settings) -> Preflight:
    """See `components.interface.Surface`."""
    from components.ecs.preflight import EcsPreflight

    return EcsPreflight(api(), stack, settings)


def declare_standing(name: str, standings: Standings, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource | None:
    """See `components.interface.Surface`."""
    places = [rung.place for rung in standings.rungs if rung.place.project and rung.place.region]
    if not places:
        return None
    sdk.load("pulumi_aws", "cloudwatch", "ecr", "iam", "s3", "secretsmanager")
    from components.ecs.standing import EcsStanding, EcsStandingArgs

    settings = standings.settings
    there = _what_is_there(settings, standings.stack) if standings.adopts else _There()
    return EcsStanding(
        name,
        EcsStandingArgs(
            settings=settings,
            stack=standings.stack,
            account=str(places[0].project),
            regions=tuple(dict.fromkeys(str(place.region) for place in places)),
            secrets=standings.secrets,
            labels=standings.labels,
            network=settings.aws.network,
            managed_instances=settings.aws.managed_instances,
            clock=not all(_runs(rung, settings).ends_by_itself for rung in standings.rungs),
            uploader_image=settings.aws.uploader_image,
            bucket_exists=there.bucket,
            bucket_ours=there.bucket_ours,
            bucket_region=there.bucket_region,
            registry_exists=there.registry,
            registry_ours=there.registry_ours,
            hooks=standings.hooks,
        ),
        opts,
    )


def declare(name: str, capacity: Capacity, opts: pulumi.ResourceOptions) -> pulumi.ComponentResource:
    """See `components.interface.Surface`. Imported only now: pulumi_aws takes a second and 100 MB."""
    sdk.load("pulumi_aws", "autoscaling", "ec2", "ecs")
    from components.ecs.cluster import EcsGpuCluster, EcsGpuClusterArgs
    from components.ecs.fargate import EcsFargateTask, EcsFargateTaskArgs
    from components.ecs.network import RunNetwork, RunNetworkArgs
    from components.ecs.standing import EcsStanding
    from components.ecs.task import TaskArgs

    rung, settings, standing = capacity.rung, capacity.settings, capacity.standing
    assert isinstance(standing, EcsStanding) and rung.place.region
    assert capacity.image is not None, "checked before anything is declared"
    order, region, aws = capacity.orders[0], rung.place.region, settings.aws
    task = TaskArgs(
        image=capacity.image,
        attempt=capacity.attempt,
        results=order.store,
        results_region=standing.results_region,
        timeout_s=order.timeout_s,
        gpus=0 if rung.tier == "cpu" else max(1, rung.count),
        argv=order.argv,
        env=order.env,
        secrets=standing.secrets[region],
        uploader_image=_uploader_image(settings, str(rung.place.project), region, str(order.stamps.get("stack", ""))),
    )
    network = RunNetwork(
        f"{name}-network",
        RunNetworkArgs(
            region=region,
            zones=capacity.search_zones,
            subnets=aws.subnets.get(region, ()),
            security_group=aws.security_groups.get(region),
            way=aws.network,
            reads_secrets=bool(task.secrets),
            labels=capacity.labels,
            hooks=capacity.hooks,
        ),
        opts,
    )
    volume_gb = aws.volume_gb or boot_disk.size_gb(capacity.image_gb(), system_gb=images.SYSTEM_GB)
    if _runs(rung, settings) is Runs.FARGATE:
        return EcsFargateTask(
            name,
            EcsFargateTaskArgs(
                region=region,
                stack=str(order.stamps.get("stack", "")),
                machine_type=rung.machine_types[0],
                purchase=rung.purchase,
                max_seconds=capacity.hours * 3600,
                begun=capacity.begun,
                base_name=names.base_name(capacity.attempt),
                task=task,
                roles=standing.roles,
                network=network,
                labels=capacity.labels,
                wait_s=60 * settings.placement.attempt_minutes,
                volume_gb=volume_gb,
                hooks=capacity.hooks,
                after=[standing],
            ),
            opts,
        )
    return EcsGpuCluster(
        name,
        EcsGpuClusterArgs(
            region=region,
            stack=str(order.stamps.get("stack", "")),
            machine_types=rung.machine_types,
            purchase=rung.purchase,
            max_seconds=capacity.hours * 3600,
            begun=capacity.begun,
            base_name=names.base_name(capacity.attempt),
            task=task,
            roles=standing.roles,
            network=network,
            labels=capacity.labels,
            reservation=rung.reservation,
            wait_s=60 * settings.placement.attempt_minutes,
            volume_gb=volume_gb,
            managed_instances=aws.managed_instances,
            hooks=capacity.hooks,
            after=[standing],
        ),
        opts,
    )


def _runs(rung: Rung, settings: Settings) -> Runs:
    return Runs.of(rung.machine_types, rung.purchase, managed_instances=settings.aws.managed_instances)


def _uploader_image(settings: Settings, account: str, region: str, stack: str) -> str | None:
    """None: the public one. A network without a way to the internet has it by the stack's own cache."""
    aws = settings.aws
    if aws.uploader_image or aws.network == "nat" or region in aws.subnets:
        return aws.uploader_image
    return images.cached_uploader_image(account, region, stack)


def execute(order: RunOrder, execution: Execution, control: Control) -> None:
    """See `components.interface.Surface`. Waits for the task, then brings home what it measures, as it comes."""
    _fill_cache(api(), order, control)
    carry_out(api(), order, execution, control)


def _fill_cache(api_: AwsApi, order: RunOrder, control: Control) -> None:
    """Let ECR's cache have the uploader's image: it can't get it for a network without a way to the internet.

    "Considerations for using pull through cache rules":
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html.
    """
    image = order.handles.get("uploader_image", "")
    repository = ecr_repository_of(image)
    cached = f"{names.cache_prefix(str(order.stamps.get('stack', '')))}/"
    if repository is None or not repository.name.startswith(cached):
        return
    where = (repository.region, repository.account, repository.name, image.partition("@")[2])
    if _said(partial(api_.image_digest, *where)) is None:
        control.say(f"{image} comes into the registry's cache, once")
        image_digest.pull_through(image)


def alive(attempt: Attempt) -> bool:
    """See `components.interface.Surface`."""
    return _said(lambda: sweeping.alive(api(), attempt))


def sweep(attempt: Attempt) -> None:
    """See `components.interface.Surface`."""
    _said(lambda: sweeping.sweep(api(), attempt)).check_machines(attempt, sweeping.MACHINES)


def held(attempt: Attempt, rung: Rung) -> Held:
    """See `components.interface.Surface`."""
    ask = partial(sweeping.held, api(), attempt, rung, datetime.now(UTC))
    return lost.held_if_known(attempt, ask, AwsError, CannotSay)


def api() -> AwsApi:
    """The real one; it asks nobody until it is used."""
    global _api
    if _api is None:
        from components.ecs.amazon import Amazon

        _api = Amazon()
    return _api


_api: AwsApi | None = None


def carry_out(api_: EcsApi, order: RunOrder, execution: Execution, control: Control) -> None:
    """As `execute`, asking this API. Raises SurfaceError where no task comes to run, or none of its results."""
    account, region = order.project, order.region
    assert account and region
    where = Where(surface="ecs", project=account, region=region, tier=order.tier)
    bucket = Bucket(order.store)
    fetch = Fetch(bucket, order.run, order.attempt, execution.folder, execution.log)
    task = ""

    def shrink() -> None:
        _said(partial(sweeping.shrink, api_, region, order.attempt, task))

    with following.giving_back(control, where, shrink):
        if _said(fetch.advance):
            return  # an earlier update was killed while it waited for these
        came = order.attempt in _said(partial(bucket.attempts, order.run))
        group = names.log_group(str(order.stamps.get("stack", "")))
        watch = Watch(api_, account, region, order.attempt, log_group=group, came=came)
        wait = partial(following.wait, order, execution, control, where, lambda: _said(watch.seen))
        with suppress(MachineGone):  # what it left is sealed, and its last objects may come a moment later
            if order.handles.get("waits_for") == "task":
                # Nothing asks for a machine but a task.
                task = _run_task(api_, order, watch, came=came)
                wait()
                _clock(api_, order, task, held=True)
            else:
                wait()
                task = _run_task(api_, order, watch, came=came)
        following.follow(
            order,
            execution,
            control,
            what="task",
            advance=lambda: _said(fetch.advance),
            look=partial(_look, watch, task),
            stop=partial(_tell_to_stop, api_, order, task),
        )
        if why := _never_began(execution, watch):
            raise SurfaceError(why)
    if order.ends_machine or not _is_complete(execution):
        # What failed ends the attempt, whatever runs would have come after it; and nothing idles.
        following.give_back(control, shrink)


def _look(watch: Watch, task: str) -> following.Look:
    """``task`` empty: it went unseen, with its machine."""
    if not task:
        return following.Look(step="", place="", gone=True, why="")
    progress = _said(partial(watch.progress, task))
    return following.Look(
        step=progress.phase or progress.status.lower(),
        place=f"in task {task.rpartition('/')[2]}",
        gone=progress.gone,
        why=progress.taken or "\n".join(text for _, text in progress.failures) or progress.reason,
    )


def _tell_to_stop(api_: EcsApi, order: RunOrder, task: str) -> bool:
    """Whether there is a task that could be told."""
    if task:
        base = names.base_name(order.attempt)
        _said(partial(api_.stop_task, str(order.region), base, task, "gpubench: stopped on request"))
    return bool(task)


def _run_task(api_: EcsApi, order: RunOrder, watch: Watch, *, came: bool) -> str:
    """Start the run's task, or find it; its ARN. Raises SurfaceError with what it was refused for.

    Where no machine ends it, it is given an end in the same breath: what can't be ended by the clock isn't left to run.
    When the attempt's time is over, no task is started any more; one that lives is followed, and empty means that it
    has gone (``came``: and left something).
    """
    base, handles = names.base_name(order.attempt), order.handles
    end = _end(order)
    if end is not None and end.timestamp() < time.time() + _LEAST_S:
        there = _said(partial(api_.tasks, str(order.region), base, order.attempt))
        if living := [one for one in there if one.lives]:
            watch.follow(living[-1])
            return living[-1].arn
        if there or came:
            return ""
        raise SurfaceError(f"the time of attempt {order.attempt} is over ({end:%Y-%m-%d %H:%M} UTC)", Cause.INTERRUPTED)
    stamps = json.dumps(dict(order.stamps), sort_keys=True)
    task = TaskOrder(
        region=str(order.region),
        cluster=base,
        definition=base,
        # The same for the same run of an attempt: what was started before is not started again.
        token=hashlib.sha256(f"{order.attempt}/{order.run}".encode()).hexdigest()[:_TOKEN],
        started_by=order.attempt,
        provider=handles.get("provider", base),
        subnets=tuple(one for one in handles.get("subnets", "").split(",") if one),
        security_groups=tuple(one for one in handles.get("security_group", "").split(",") if one),
        environment={
            names.BENCHMARK: {"GPUBENCH_STAMPS": stamps},
            names.UPLOADER: {"GPUBENCH_RUN": order.run, "GPUBENCH_STAMPS": stamps},
        },
        tags={
            STACK_LABEL: str(order.stamps.get("stack", "")).lower(),
            ATTEMPT_LABEL: order.attempt.lower(),
        },
    )
    started = _asked_again(partial(api_.run_task, task), _is_new_role)
    if not started.tasks:
        raise SurfaceError(_said(partial(watch.why_refused, started.refusals)))
    arn = started.tasks[0].arn
    _clock(api_, order, arn, held=False)
    watch.follow(started.tasks[0])
    return arn


def _end(order: RunOrder) -> datetime | None:
    """When AWS's clock has to have ended the attempt's tasks; None: its machine ends by itself."""
    return datetime.fromisoformat(order.handles["ends_at"]) if "ends_at" in order.handles else None


def _clock(api_: EcsApi, order: RunOrder, task: str, *, held: bool) -> None:
    """Have a task (its ARN; empty: none) stopped by the clock, if no machine ends it; if that can't be, stop it now.

    ``held``: it has got its machine just now, and may hold it for its time; else at the end of its wait and that time.
    Raises SurfaceError.
    """
    end = _end(order)
    if end is None or not task:
        return
    base, at = names.base_name(order.attempt), end
    if held:
        at = datetime.fromtimestamp(time.time() + float(order.handles["held_s"]), UTC)
        if at >= end:
            return  # it has that end already
    stop = StopOrder(
        region=str(order.region),
        name=names.schedule(base, task, held=held),
        cluster=base,
        task=task,
        at=at,
        role=order.handles["clock_role"],
        reason="gpubench: the attempt's time is over",
    )
    where = Where(surface="ecs", project=order.project, region=order.region)
    try:
        _asked_again(
            partial(api_.stop_later, stop),
            lambda said: _is_new_role(said) or classify(said, where).cause is Cause.TRANSIENT,
        )
    except SurfaceError:
        with suppress(SurfaceError):
            _said(partial(api_.stop_task, stop.region, base, task, "gpubench: the clock can't end it"))
        raise


def _is_new_role(said: str) -> bool:
    """Whether it is refused because a role that was made a moment ago isn't known everywhere yet."""
    return _NEW_ROLE.search(said) is not None


def _asked_again(ask: Callable[[], T], passes: Callable[[str], bool]) -> T:
    """An answer; what is refused with words that pass is asked again for a while."""
    until = time.monotonic() + _NEW_ROLE_S
    while True:
        try:
            return _said(ask)
        except SurfaceError as error:
            if not passes(str(error)) or time.monotonic() > until:
                raise
        time.sleep(following.POLL_S)


def _is_complete(execution: Execution) -> bool:
    manifest = results_folder.read_manifest(execution.folder)
    return manifest is not None and manifest["status"] == results_folder.Status.COMPLETE


def _never_began(execution: Execution, watch: Watch) -> str:
    """Why ECS didn't start the benchmark's container, in its words: the uploader, which sealed that, can't see it."""
    cause = (results_folder.read_manifest(execution.folder) or {}).get("cause") or {}
    if cause.get("code") != "not-started" or watch.task is None:
        return ""
    return "\n".join(one.reason for one in watch.task.containers if one.name == names.BENCHMARK and one.reason)


@dataclass(frozen=True)
class _There:
    """What of a stack's standing is there already, and whether an update of this stack made it."""

    bucket: bool = False
    bucket_ours: bool = False
    bucket_region: str | None = None
    registry: bool = False
    registry_ours: bool = False


def _rungs(settings: Settings) -> list[Rung]:
    rungs = [settings.pinned_rung] if settings.pinned_rung else settings.ladder
    return [rung for rung in rungs if rung.surface == "ecs"]


def _what_is_there(settings: Settings, stack: str) -> _There:
    """Asks AWS; a preview without credentials says so, and assumes that there is nothing yet."""
    own = ecr_repository_of(settings.registry) if settings.registry else None
    tag = (STACK_LABEL, stack.lower())
    try:
        bucket = api().bucket(str(settings.results.bucket))
        registry = api().repository_tags(own.region, own.account, own.name) if own else None
    except (AwsError, CannotSay) as error:
        if pulumi.runtime.is_dry_run():
            pulumi.log.warn(f"{error}; this preview assumes that bucket and registry aren't there yet")
            return _There()
        raise SurfaceError(str(error), Cause.PERMISSION) from None
    return _There(
        bucket=bucket is not None,
        bucket_ours=bucket is not None and tag in bucket.tags.items(),
        bucket_region=bucket.region if bucket else None,
        registry=registry is not None,
        registry_ours=tag in (registry or {}).items(),
    )


def _said(ask: Callable[[], T]) -> T:
    """An answer; what refuses it, in the cloud's own words, as the surface's error."""
    try:
        return ask()
    except CannotSay as error:
        raise SurfaceError(str(error), Cause.PERMISSION) from None
    except (AwsError, BucketError) as error:
        raise SurfaceError(str(error)) from None
