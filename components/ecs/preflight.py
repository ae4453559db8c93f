"""What AWS says of ECS's rungs before anything is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import catalog
from catalog import Purchase, Surface
from catalog.repositories import EcrRepository, ecr_repository_of
from components.ecs import access, quotas
from components.ecs.access import Need, Place, Simulated
from components.ecs.api import AwsApi, AwsError, Caller, Decision, Instance
from components.ecs.images import UPLOADER_DIGEST, UPLOADER_NAME
from components.ecs.kinds import Runs
from components.ecs.names import FARGATE, cache_prefix, role_name
from components.interface import STACK_LABEL, SurfaceError
from components.parallel import Begun, Shared, side_by_side
from placement.verdicts import (
    Answer,
    CannotSay,
    Grant,
    Grants,
    Kind,
    Odds,
    Offers,
    Prices,
    Question,
    Quotas,
)
from settings.model import AWS_NETWORKS

if TYPE_CHECKING:
    from placement.ladder import Rung
    from settings import Settings

_NAT, _ENDPOINTS = AWS_NETWORKS

FRESH_S = 20.0
"""How long an answer may be given again: the questions of one preflight share what several of them need."""

_WORTH_A_HINT = 0.5
"""Odds from which on a zone is named."""

_SCORED = 3
"""Machine types that a placement score needs: with fewer it is always low.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-placement-score.html"""

_IAM_REGION = "us-east-1"
"""Where a request to IAM counts as made, whatever region the stack is in:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-requestedregion."""

_SERVICE_OF = {
    "instance": "ec2.amazonaws.com",
    "infrastructure": "ecs.amazonaws.com",
    "clock": "scheduler.amazonaws.com",
}
"""Whose a role is that isn't a task's, by what it is for."""

T = TypeVar("T")


@dataclass(frozen=True)
class _QuotaFacts:
    """Of a region, under way. ``taken``: by the machines that are there."""

    limits: dict[quotas.Key, Begun[float | None]]
    taken: Begun[tuple[Instance, ...]]


class EcsPreflight:
    """See `placement.verdicts.Preflight`.

    Each answer takes at most three round trips (who asks; the role behind an assumed one; what it may do): what a
    question needs is asked side by side, and what several questions need once. ``stack`` names the roles of its tasks,
    ``settings`` say what it declares beside them.
    """

    def __init__(self, api: AwsApi, stack: str, settings: Settings) -> None:
        self._api, self._stack, self._settings = api, stack, settings
        declared = [settings.pinned_rung] if settings.pinned_rung else settings.ladder
        self._rungs = [rung for rung in declared if rung.surface == Surface.ECS and rung.place.region]
        self._facts: Shared[_QuotaFacts] = Shared(FRESH_S)

    def ask(self, question: Question) -> Answer:
        """See `Preflight`. Raises CannotSay, with the cloud's own words."""
        account, region = question.project, question.region
        if question.surface != Surface.ECS or not account:
            raise CannotSay(f"AWS can't say anything of {question.surface} in {account or 'no account'}")
        try:
            if question.kind is Kind.PERMISSIONS:
                return Grants(tuple(self._grants(account, question.image)))
            if region is None:
                raise CannotSay("AWS has no quotas over all regions")
            if question.kind is Kind.OFFERS:
                return self._offers(region)
            if question.kind is Kind.QUOTAS:
                return self._quotas(region)
            types = tuple(one for one in question.machine_types if not one.startswith(FARGATE))
            if question.purchase != Purchase.SPOT or not types:
                raise CannotSay("AWS is asked about EC2's spot capacity only; other prices are lists")
            return self._odds(region, types) if question.kind is Kind.ODDS else self._prices(region, types)
        except AwsError as error:
            raise CannotSay(error.text) from error

    # -- offers

    def _offers(self, region: str) -> Offers:
        sold = {one.machine_type for one in catalog.offers(surface=Surface.ECS)}
        machines = sorted(one for one in sold if not one.startswith(FARGATE))
        limits = self._quota_facts(region).limits
        listed = dict(self._api.offerings(region, machines))
        if quotas.FARGATE in limits and _unless_refused(limits[quotas.FARGATE].get) is not None:
            # Fargate has no zones that one could ask for, and no listing: a region that has it has its quota.
            listed.update({one: () for one in sold if one.startswith(FARGATE)})
        elif quotas.FARGATE not in limits or not _answered(limits[quotas.FARGATE].get):
            here = catalog.offers(surface=Surface.ECS, region=region)
            listed.update({one.machine_type: () for one in here if one.machine_type.startswith(FARGATE)})
        return Offers(listed)

    # -- quotas

    def _quotas(self, region: str) -> Quotas:
        facts = self._quota_facts(region)
        limits = {key: begun.get() for key, begun in facts.limits.items()}
        running = _unless_refused(facts.taken.get)
        return Quotas(quotas.states(limits, None if running is None else quotas.taken_by(running)))

    def _quota_facts(self, region: str) -> _QuotaFacts:
        return self._facts.get(region, partial(self._ask_quotas, region))

    def _ask_quotas(self, region: str) -> _QuotaFacts:
        rungs = [rung for rung in self._rungs if rung.place.region == region]
        wanted = list(quotas.wanted(rungs))
        if any(service == "fargate" for service, _ in wanted):
            wanted.append(quotas.FARGATE)
        return _QuotaFacts(
            limits={key: Begun(partial(self._api.quota, region, *key)) for key in dict.fromkeys(wanted)},
            taken=Begun(partial(self._api.running, region)),
        )

    # -- odds and prices

    def _odds(self, region: str, types: tuple[str, ...]) -> Odds:
        if len(types) < _SCORED:
            raise CannotSay(f"AWS scores fewer than {_SCORED} machine types low, whatever there is")
        scores = self._api.scores(region, types)
        if not scores:
            raise CannotSay("AWS gave no spot placement score")
        best = max(one.score for one in scores) / 10
        zones = tuple(one.zone for one in scores if one.zone and one.score / 10 == best)
        return Odds(best, zones if best >= _WORTH_A_HINT else ())

    def _prices(self, region: str, types: tuple[str, ...]) -> Prices:
        # The group may take any zone: the dearest is what a budget has to be held against.
        found: dict[str, float] = {}
        for one in self._api.spot_prices(region, types):
            found[one.machine_type] = max(one.usd_per_hour, found.get(one.machine_type, 0.0))
        if not found:
            raise CannotSay(f"{region} has no spot prices of {', '.join(types)}")
        return Prices(found)

    # -- permissions

    def _grants(self, account: str, image: str | None) -> list[Grant]:
        api = self._api
        rungs = [rung for rung in self._rungs if rung.place.project == account]
        if not rungs:
            raise CannotSay(f"the ladder has no rung on ECS in account {account}")
        region, has = str(rungs[0].place.region), _Has.of(rungs, self._settings)
        asked = Begun(api.caller)
        dry = Begun(partial(api.dry_run, region, has.own_machine)) if has.own_machine else None
        services = self._services(has)
        linked = {one: Begun(partial(api.role_arn, access.SERVICE_ROLES[one])) for one in services}
        image = self._wanted(image)
        place = self._place(account, region, image)
        there = self._ask_what_is_there(place, has)
        repository = place.image
        looked = Begun(partial(self._look_at, image, repository)) if image and repository else None
        policy = (
            Begun(partial(api.repository_policy, repository.region, repository.account, repository.name))
            if repository and repository.account != account
            else None
        )

        caller = asked.get()
        who = caller.arn
        if caller.account != account:
            return [access.of_account(caller, account)]
        source = Begun(partial(self._source, caller))  # while it is asked what is there
        # Only of what isn't there is it asked who may make it.
        gone = tuple(one for one, begun in linked.items() if _is_gone(begun.get))
        pushed = looked is None or _unless_refused(looked.get) is not None or "@" in str(image)
        needs = self._needs(has, there, by_tag=repository is not None and "@" not in str(image), pushed=pushed)
        roles = [place.role(one) for one in self._roles(has, first=there.lacks("execution"))]
        arn = source.get()
        said = self._simulate(arn, place, needs, roles, gone) if access.can_be_simulated(arn) else None

        found = [] if said is None else access.of_needs(who, arn, needs, place, said)
        if said is not None:
            found += access.of_pass_role(who, arn, roles, said)
            for service in gone:
                found += access.of_service_role(who, service, place, said)
        elif access.is_root(caller):
            found.append(Grant(who, "all actions", granted=True))
        if dry is not None and (allowed := _unless_refused(dry.get)) is not None:
            # EC2's own word counts more than the simulator's.
            found = [one for one in found if one.permission != access.ON_MACHINES[0].action]
            found.append(access.of_dry_run(who, arn, place, allowed=allowed))
        if repository is not None and looked is not None and (seen := _refused(looked.get)) is not None:
            found.append(access.of_repository(who, arn, repository, allowed=not seen))
        if repository is not None and policy is not None and (text := _unless_refused(policy.get)) is not None:
            found += access.of_foreign_repository(place.role("execution"), account, repository, text)
        if not found:
            raise CannotSay(f"{who} may ask neither IAM's simulator nor EC2 what it is allowed")
        # What is missing first: the first one's mend is what a person reads.
        return sorted(found, key=lambda grant: grant.granted)

    def _wanted(self, image: str | None) -> str | None:
        """The image as it is named in its registry: one that `benchmark.build` makes has its content in its tag."""
        if image is None or self._settings.benchmark.build is None:
            return image
        from components import image_build

        try:
            return image_build.wanted(self._settings.benchmark)
        except SurfaceError:  # files that can't be read: whoever builds says so
            return image

    def _ask_what_is_there(self, place: Place, has: _Has) -> _There:
        api, stack, region = self._api, self._stack, place.region
        own, tag = place.repository, (STACK_LABEL, stack.lower())

        def bucket() -> bool | None:
            found = api.bucket(place.bucket)
            return None if found is None else tag in found.tags.items()

        def registry() -> bool | None:
            assert own is not None
            found = api.repository_tags(own.region, own.account, own.name)
            return None if found is None else tag in found.items()

        where = (region, place.account, f"{cache_prefix(stack)}/{UPLOADER_NAME}", UPLOADER_DIGEST)
        return _There(
            roles={one: Begun(partial(api.role_arn, role_name(stack, one))) for one in has.roles},
            bucket=Begun(bucket) if place.bucket else None,
            registry=Begun(registry) if own else None,
            cached=Begun(partial(api.image_digest, *where)) if has.cache else None,
        )

    def _source(self, caller: Caller) -> str:
        """The ARN that has the caller's policies. An assumed role's own leaves its path out, which the simulator
        wants."""
        if (name := access.role_of(caller)) is None:
            return caller.arn
        path = _unless_refused(partial(self._api.role_arn, name))
        return path or f"{caller.arn.partition(':sts:')[0]}:iam::{caller.account}:role/{name}"

    def _simulate(
        self, arn: str, place: Place, needs: tuple[Need, ...], roles: list[str], services: tuple[str, ...]
    ) -> Simulated | None:
        """What the policies of a user or role allow; None: nobody says."""
        # One call a resource, with all that is asked of it. IAM itself is asked in its one region.
        context = {one: {"aws:RequestedRegion": _IAM_REGION, "iam:PassedToService": _passed_to(one)} for one in roles}
        by_resource: dict[str, list[str]] = {}
        for need in needs:
            by_resource.setdefault(place.arn(need.on), []).append(need.action)
        for one in roles:
            by_resource.setdefault(one, []).append(access.HAND_OVER)
        for one in services:
            context[place.service_role(one)] = {"aws:RequestedRegion": _IAM_REGION, "iam:AWSServiceName": one}
            by_resource[place.service_role(one)] = [access.MAKE_SERVICE_ROLE]
        calls = [
            partial(
                self._api.simulate,
                arn,
                tuple(dict.fromkeys(actions)),
                (on,),
                context.get(on) or {"aws:RequestedRegion": _IAM_REGION if ":iam:" in on else place.region},
            )
            for on, actions in by_resource.items()
        ]
        decisions: dict[tuple[str, str], Decision] = {}
        for some in side_by_side([partial(_unless_refused, call) for call in calls]):
            decisions.update({(one.action, one.resource): one for one in some or ()})
        return Simulated(decisions) if decisions else None

    def _look_at(self, image: str, repository: EcrRepository) -> str | None:
        name, _, digest = image.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        reference = digest or tag or "latest"
        return self._api.image_digest(repository.region, repository.account, repository.name, reference)

    def _place(self, account: str, region: str, image: str | None) -> Place:
        results, registry, aws = self._settings.results, self._settings.registry, self._settings.aws
        subnets = aws.subnets.get(region, ())
        return Place(
            account=account,
            region=region,
            stack=self._stack,
            bucket=(results.bucket or "") if results.kind == "s3" else "",
            prefix=results.prefix,
            repository=ecr_repository_of(registry) if registry else None,
            image=ecr_repository_of(image) if image else None,
            subnet=subnets[0] if subnets else "",
            security_group=aws.security_groups.get(region, "") if subnets else "",
        )

    def _needs(self, has: _Has, there: _There, *, by_tag: bool, pushed: bool) -> tuple[Need, ...]:
        """What this stack's deployer needs. ``by_tag``: the image is in ECR, and its digest has to be asked for;
        ``pushed``: nothing has to be built."""
        settings, first = self._settings, there.lacks("execution")
        found = (
            (True, access.EVERY_RUN),
            (has.own_machine is not None, (*access.ON_MACHINES, *access.BY_GROUP)),
            (has.own_machine is not None or has.managed, access.PROVIDER),
            ("clock" in has.roles, access.CLOCK),
            (any(there.lacks(one) for one in has.roles), access.ROLES),
            (first, access.PROFILE),
            (there.lacks("infrastructure"), access.MANAGED_ROLES),
            (has.network, access.NETWORK),
            (has.network and settings.aws.network == _NAT, access.NAT),
            (has.network and settings.aws.network == _ENDPOINTS, access.ENDPOINTS),
            # An image in the cache has come by the rule.
            (has.rule and (first or there.cached is None or _is_gone(there.cached.get)), access.CACHE_RULE),
            (there.cached is not None and _is_gone(there.cached.get), access.CACHE),
            *_of_standing(there.bucket, access.BUCKET, access.NEW_BUCKET, access.OWN_BUCKET),
            *_of_standing(there.registry, access.REGISTRY, access.NEW_REGISTRY, access.OWN_REGISTRY),
            (by_tag, access.IMAGE),
            (by_tag and settings.benchmark.build is not None and not pushed, access.PUSH),
            (any(not isinstance(value, str) for value in settings.benchmark.env.values()), access.SECRETS),
        )
        return tuple(need for needed, needs in found if needed for need in needs)

    def _roles(self, has: _Has, *, first: bool) -> tuple[str, ...]:
        """Those that the deployer hands on; the instance's to its profile, too, which every stack has."""
        handed = {
            "execution": True,
            "task": True,
            "instance": has.own_machine is not None or has.managed or first,
            "infrastructure": has.managed,
            "clock": "clock" in has.roles,
        }
        return tuple(one for one, needed in handed.items() if needed)

    def _services(self, has: _Has) -> tuple[str, ...]:
        """Whose service-linked roles this stack needs.

        EC2's for spot is made by Auto Scaling's own role, which may
        (https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AutoScalingServiceRolePolicy.html); with ECS
        Managed Instances there is no such helper.
        """
        spot = any(rung.purchase is Purchase.SPOT for rung in self._rungs)
        needed = {
            "ecs.amazonaws.com": True,
            "autoscaling.amazonaws.com": has.own_machine is not None,
            "spot.amazonaws.com": has.managed and spot,
            "pullthroughcache.ecr.amazonaws.com": has.rule,
        }
        return tuple(one for one, needs_it in needed.items() if needs_it)


@dataclass(frozen=True)
class _Has:
    """What a stack's rungs and settings make it have.

    ``own_machine``: the first machine type that a group of its own starts; ``managed``: whether ECS starts machines.
    ``roles``: those that not every stack has, and `execution` for all others. ``network``: one of its own; ``rule``:
    for a cache of public images, by which (``cache``) the uploader's image comes into the first region.
    """

    own_machine: str | None
    managed: bool
    roles: tuple[str, ...]
    network: bool
    rule: bool
    cache: bool

    @classmethod
    def of(cls, rungs: list[Rung], settings: Settings) -> _Has:
        """``rungs``: of one account."""
        aws = settings.aws
        kinds = [
            (Runs.of(rung.machine_types, rung.purchase, managed_instances=aws.managed_instances), rung)
            for rung in rungs
        ]
        own = [rung.machine_types[0] for kind, rung in kinds if kind is Runs.EC2]
        managed = any(kind is Runs.MANAGED for kind, _ in kinds)
        without = [rung for rung in rungs if not aws.subnets.get(str(rung.place.region))]
        clocked = not all(kind.ends_by_itself for kind, _ in kinds)
        roles = {"execution": True, "infrastructure": aws.managed_instances, "clock": clocked}
        rule = aws.network == _ENDPOINTS and aws.uploader_image is None
        return cls(
            own_machine=next(iter(own), None),
            managed=managed,
            roles=tuple(one for one, needed in roles.items() if needed),
            network=bool(without),
            rule=rule,
            cache=rule and rungs[0] in without,
        )


@dataclass(frozen=True)
class _There:
    """What of a stack's standing is there already, under way. ``bucket``, ``registry``: whether this stack made it."""

    roles: Mapping[str, Begun[str | None]]
    bucket: Begun[bool | None] | None
    registry: Begun[bool | None] | None
    cached: Begun[str | None] | None

    def lacks(self, role: str) -> bool:
        """Whether that role is still to be made."""
        return role in self.roles and _is_gone(self.roles[role].get)


def _of_standing(
    ours: Begun[bool | None] | None, used: tuple[Need, ...], new: tuple[Need, ...], own: tuple[Need, ...]
) -> tuple[tuple[bool, tuple[Need, ...]], ...]:
    """What is needed of a bucket or a registry: to use it in any case, the rest where it is the stack's to make."""
    if ours is None:
        return ()
    gone = _is_gone(ours.get)
    return (True, used), (gone, new), (gone or bool(_unless_refused(ours.get)), own)


def _passed_to(role: str) -> str:
    """The service that is handed a role: see components/ecs/roles.py."""
    return _SERVICE_OF.get(role.rpartition("-")[2], "ecs-tasks.amazonaws.com")


def _unless_refused(ask: Callable[[], T]) -> T | None:
    """What was asked for; None: the cloud doesn't say."""
    try:
        return ask()
    except AwsError:
        return None


def _answered(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except AwsError:
        return False
    return True


def _is_gone(ask: Callable[[], object]) -> bool:
    """Whether the cloud says that it isn't there; what is refused is no answer."""
    return _answered(ask) and ask() is None


def _refused(ask: Callable[[], object]) -> bool | None:
    """Whether it was refused for want of a permission; None: it failed of something else."""
    try:
        ask()
    except AwsError as error:
        return True if error.code.startswith(("AccessDenied", "Unauthorized")) else None
    return False
