"""What AWS says of ECS's rungs before anything is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import catalog
from catalog import Purchase, Surface
from catalog.repositories import EcrRepository, ecr_repository_of
from components.ecs import access, quotas
from components.ecs.access import Need, Place, Simulated
from components.ecs.api import AwsApi, AwsError, Caller, Decision, Instance
from components.ecs.names import FARGATE, role_name
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

if TYPE_CHECKING:
    from settings import Settings

FRESH_S = 20.0
"""How long an answer may be given again: the questions of one preflight share what several of them need."""

_WORTH_A_HINT = 0.5
"""Odds from which on a zone is named."""

_SCORED = 3
"""Machine types that a placement score needs: with fewer it is always low.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-placement-score.html"""

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
        self._rungs = [rung for rung in settings.ladder if rung.surface == Surface.ECS and rung.place.region]
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
        api, stack = self._api, self._stack
        rungs = [rung for rung in self._rungs if rung.place.project == account]
        if not rungs:
            raise CannotSay(f"the ladder has no rung on ECS in account {account}")
        region = str(rungs[0].place.region)
        machine = next((one for rung in rungs for one in rung.machine_types if not one.startswith(FARGATE)), None)
        asked = Begun(api.caller)
        dry = Begun(partial(api.dry_run, region, machine)) if machine else None
        services = self._services(machine is not None)
        linked = {one: Begun(partial(api.role_arn, access.SERVICE_ROLES[one])) for one in services}
        role = Begun(partial(api.role_arn, role_name(stack, "execution")))
        repository = ecr_repository_of(image) if image else None
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
        place = self._place(account, region)
        # Only of what isn't there is it asked who may make it.
        gone = tuple(one for one, begun in linked.items() if _answered(begun.get) and begun.get() is None)
        needs = self._needs(machines=machine is not None, first=_answered(role.get) and role.get() is None)
        roles = [place.role(one) for one in self._roles(machine is not None)]
        arn, said = self._simulate(caller, place, needs, roles, gone)

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

    def _simulate(
        self, caller: Caller, place: Place, needs: tuple[Need, ...], roles: list[str], services: tuple[str, ...]
    ) -> tuple[str, Simulated | None]:
        """The ARN that has the caller's policies, and what they allow; None: nobody says."""
        api, arn = self._api, caller.arn
        if (name := access.role_of(caller)) is not None:
            # An assumed role's ARN leaves its path out, which the simulator wants.
            path = _unless_refused(partial(api.role_arn, name))
            arn = path or f"{arn.partition(':sts:')[0]}:iam::{caller.account}:role/{name}"
        elif not access.can_be_simulated(caller):
            return arn, None
        here = {"aws:RequestedRegion": place.region}
        by_resource: dict[str, list[str]] = {}
        for need in needs:
            by_resource.setdefault(place.arn(need.on), []).append(need.action)
        calls = [
            partial(api.simulate, arn, tuple(dict.fromkeys(actions)), (on,), here)
            for on, actions in by_resource.items()
        ]
        calls += [
            partial(api.simulate, arn, (access.HAND_OVER,), (one,), {"iam:PassedToService": _passed_to(one)})
            for one in roles
        ]
        calls += [
            partial(
                api.simulate,
                arn,
                (access.MAKE_SERVICE_ROLE,),
                (place.service_role(one),),
                {"iam:AWSServiceName": one},
            )
            for one in services
        ]
        decisions: dict[tuple[str, str], Decision] = {}
        for some in side_by_side([partial(_unless_refused, call) for call in calls]):
            decisions.update({(one.action, one.resource): one for one in some or ()})
        return arn, Simulated(decisions) if decisions else None

    def _look_at(self, image: str, repository: EcrRepository) -> str | None:
        name, _, digest = image.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        reference = digest or tag or "latest"
        return self._api.image_digest(repository.region, repository.account, repository.name, reference)

    def _place(self, account: str, region: str) -> Place:
        results, registry = self._settings.results, self._settings.registry
        return Place(
            account=account,
            region=region,
            stack=self._stack,
            bucket=(results.bucket or "") if results.kind == "s3" else "",
            prefix=results.prefix,
            repository=ecr_repository_of(registry) if registry else None,
        )

    def _needs(self, *, machines: bool, first: bool) -> tuple[Need, ...]:
        """What this stack's deployer needs. ``machines``: EC2's, not Fargate alone; ``first``: no role is there yet."""
        settings = self._settings
        aws = settings.aws
        regions = {str(rung.place.region) for rung in self._rungs}
        needs = list(access.EVERY_RUN)
        if machines:
            needs += [*access.ON_MACHINES, *access.PROVIDER, *(() if aws.managed_instances else access.BY_GROUP)]
        if first:
            needs += [*access.ROLES, *(access.PROFILE if machines else ())]
        if regions - {region for region, subnets in aws.subnets.items() if subnets}:
            needs += [*access.NETWORK, *(access.NAT if aws.network == "nat" else ())]
        if settings.results.kind == "s3":
            needs += access.BUCKET
        if settings.registry and ecr_repository_of(settings.registry):
            needs += access.REGISTRY
        if any(not isinstance(value, str) for value in settings.benchmark.env.values()):
            needs += access.SECRETS
        return tuple(needs)

    def _roles(self, machines: bool) -> tuple[str, ...]:
        managed = self._settings.aws.managed_instances
        return ("execution", "task", *(("instance",) if machines else ()), *(("infrastructure",) if managed else ()))

    def _services(self, machines: bool) -> tuple[str, ...]:
        """Whose service-linked roles this stack needs.

        EC2's for spot is made by Auto Scaling's own role, which may
        (https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AutoScalingServiceRolePolicy.html); with ECS
        Managed Instances there is no such helper.
        """
        managed = self._settings.aws.managed_instances
        spot = any(rung.purchase is Purchase.SPOT for rung in self._rungs)
        found = ["ecs.amazonaws.com"]
        if machines and not managed:
            found.append("autoscaling.amazonaws.com")
        if machines and managed and spot:
            found.append("spot.amazonaws.com")
        return tuple(found)


def _passed_to(role: str) -> str:
    if role.endswith("-instance"):
        return "ec2.amazonaws.com"
    return "ecs.amazonaws.com" if role.endswith("-infrastructure") else "ecs-tasks.amazonaws.com"


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


def _refused(ask: Callable[[], object]) -> bool | None:
    """Whether it was refused for want of a permission; None: it failed of something else."""
    try:
        ask()
    except AwsError as error:
        return True if error.code.startswith(("AccessDenied", "Unauthorized")) else None
    return False
