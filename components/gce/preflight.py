"""What Google says of Compute Engine's rungs before anything is tried."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import catalog
from catalog import Purchase, Surface
from catalog.repositories import Repository, repository_of
from components.gce import access, quotas
from components.gce.access import ACT_AS, DEPLOYER, FIRST_TIME, MAKE_BUCKET, MAKE_REPOSITORY, MAY_GRANT
from components.gce.api import Account, ApiError, Binding, GoogleApi, QuotaLimit, QuotaLine, Region
from components.gce.names import service_account_email
from components.parallel import Begun, Shared
from placement.causes import Cause, Where, classify
from placement.verdicts import Answer, CannotSay, Grant, Grants, Kind, Odds, Offers, Question, Quotas, QuotaState

if TYPE_CHECKING:
    from settings import Settings

FRESH_S = 20.0
"""How long an answer may be given again: the questions of one preflight share what several of them need."""

_ADVISED = {Purchase.SPOT: "SPOT", Purchase.FLEX_START: "FLEX_START"}
_WORTH_A_HINT = 0.5
"""Obtainability from which on a recommended zone is named."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Listings:
    """What is asked of a whole project, under way: all questions about all of its regions share it."""

    machine_types: Begun[dict[str, tuple[str, ...]]]
    accelerator_types: Begun[dict[str, tuple[str, ...]]]


@dataclass(frozen=True)
class _QuotaFacts:
    """The same for quotas. ``taken``: by the machines that are there; ``limits``: of Cloud Quotas, by id."""

    regions: Begun[tuple[Region, ...]]
    project: Begun[tuple[QuotaLine, ...]]
    taken: Begun[dict[quotas.Key, quotas.Taken]]
    limits: dict[str, Begun[tuple[QuotaLimit, ...]]]


class GcePreflight:
    """See `placement.verdicts.Preflight`.

    Each answer takes one round trip: what a question needs is asked side by side, and what several questions need once.
    ``stack`` names the account that its machines run as, ``settings`` say what it declares beside them.
    """

    def __init__(self, api: GoogleApi, stack: str, settings: Settings) -> None:
        self._api, self._stack, self._settings = api, stack, settings
        rungs = [rung for rung in settings.ladder if rung.surface == Surface.GCE and rung.place.project]
        # As `components.gce.standing` has it: a new bucket is made in the first project.
        self._first = str(rungs[0].place.project) if rungs else None
        self._own = repository_of(f"{settings.registry}/image") if settings.registry else None
        self._places = tuple(dict.fromkeys((str(rung.place.project), str(rung.place.region)) for rung in rungs))
        self._listings: Shared[_Listings] = Shared(FRESH_S)
        self._facts: Shared[_QuotaFacts] = Shared(FRESH_S)
        self._stores: Shared[_Stores] = Shared(FRESH_S)

    def ask(self, question: Question) -> Answer:
        """See `Preflight`. Raises CannotSay, with the cloud's own words."""
        project = question.project
        if question.surface != Surface.GCE or not project:
            raise CannotSay(f"Compute Engine can't say anything of {question.surface} in {project or 'no project'}")
        try:
            if question.kind is Kind.OFFERS:
                return self._offers(project, question.region or "")
            if question.kind is Kind.QUOTAS:
                return Quotas(self._quotas(project, question.region))
            if question.kind is Kind.PERMISSIONS:
                return Grants(tuple(self._grants(project, question.image)))
            if question.kind is Kind.ODDS:
                return self._odds(project, question)
        except ApiError as error:
            raise CannotSay(error.text) from error
        raise CannotSay("Compute Engine's API gives no prices")

    # -- offers

    def _offers(self, project: str, region: str) -> Offers:
        listings = self._listings.get(project, partial(self._list, project))
        # By accelerator too: an N1 machine is listed where its accelerator may not be.
        listed = {**listings.machine_types.get(), **listings.accelerator_types.get()}
        here = {name: tuple(zone for zone in zones if _region_of(zone) == region) for name, zones in listed.items()}
        return Offers({name: zones for name, zones in here.items() if zones})

    def _list(self, project: str) -> _Listings:
        offers = catalog.offers(surface=Surface.GCE)
        attached = {o.accelerator for o in offers if o.accelerator and o.machine_type.startswith("n1-")}
        machine_types = sorted({o.machine_type for o in offers})
        return _Listings(
            Begun(lambda: dict(self._api.machine_types(project, machine_types))),
            Begun(lambda: dict(self._api.accelerator_types(project, sorted(attached)))),
        )

    # -- quotas

    def _quotas(self, project: str, region: str | None) -> tuple[QuotaState, ...]:
        facts = self._quota_facts(project)
        taken = _unless_refused(facts.taken)
        if region is None:
            return quotas.of_project(facts.project.get(), taken)
        found = next((one for one in facts.regions.get() if one.name == region), None)
        if found is None:
            raise CannotSay(f"project {project} lists no region {region}")
        # Where Cloud Quotas doesn't answer (its API may be off), the classic quotas are known all the same.
        limits = {quota_id: _unless_refused(begun) or () for quota_id, begun in facts.limits.items()}
        return quotas.of_region(found, limits, taken)

    def _quota_facts(self, project: str) -> _QuotaFacts:
        return self._facts.get(project, partial(self._ask_quotas, project))

    def _ask_quotas(self, project: str) -> _QuotaFacts:
        api = self._api
        return _QuotaFacts(
            regions=Begun(partial(api.regions, project)),
            project=Begun(partial(api.project_quotas, project)),
            taken=Begun(lambda: quotas.taken_by(api.instances(project))),
            limits={
                quota.quota_id: Begun(partial(api.quota_limits, project, quota.service, quota.quota_id))
                for quota in quotas.unlisted()
            },
        )

    # -- permissions

    def _grants(self, project: str, image: str | None) -> list[Grant]:
        api = self._api
        email = service_account_email(self._stack, project)
        google = self._settings.google
        network = () if google.subnet else (*access.NETWORK, *(access.NAT if google.nat else ()))
        needs = (*DEPLOYER, *network, *FIRST_TIME)
        allowed = Begun(partial(api.allowed, project, [need.permission for need in needs]))
        account = Begun(partial(api.account, project, email))
        subnets = self._ask_subnets(project)
        stores = self._stores.get(image, partial(self._ask_stores, image))
        regions = self._quota_facts(project).regions
        who = api.principal()
        found = self._api_is_on(who, project, regions)
        there = _unless_refused(account) if _answered(account) else Account(email)
        wanted = needs if there is None else (*DEPLOYER, *network)
        has = allowed.get()
        if ACT_AS not in has and there is not None:
            # Often it is granted on the account alone.
            has |= _unless_refused(Begun(partial(api.allowed_on_account, project, email, (ACT_AS,)))) or frozenset()
        found += access.of_deployer(who, project, wanted, has)
        if there is not None and there.disabled:
            mend = access.enable_command(email, project)
            found.append(Grant(email, "an account that is enabled", granted=False, mend=mend))
        for subnet, begun in subnets.items():
            if (on_it := _unless_refused(begun)) is not None:
                found += access.of_subnet(who, subnet, access.SUBNET, on_it)
        found += stores.grants(email, who, there=there is not None)
        # What is missing first: the first one's mend is what a person reads.
        return sorted(found, key=lambda grant: grant.granted)

    def _api_is_on(self, who: str, project: str, regions: Begun[tuple[Region, ...]]) -> list[Grant]:
        """A grant that is missing, where Compute Engine refuses even to list its regions."""
        try:
            regions.get()
        except ApiError as error:
            failure = classify(error.text, Where(surface=Surface.GCE, project=project))
            if failure.cause is Cause.PERMISSION:
                return [Grant(who, failure.permission or failure.code, granted=False, mend=failure.mend)]
        return []

    def _ask_subnets(self, project: str) -> dict[tuple[str, str, str], Begun[frozenset[str]]]:
        """By project, region and name: the subnetworks that are somebody else's, and that machines are put into.

        Each is asked itself: of a network that several projects share, a person is often granted single ones.
        """
        subnet = self._settings.google.subnet
        if subnet is None:
            return {}
        here = [(where, region, subnet) for where, region in self._places if where == project]
        if full := re.fullmatch(r"projects/([^/]+)/regions/([^/]+)/subnetworks/([^/]+)", subnet):
            here = [(full[1], full[2], full[3])] if here else []
        asked = [need.permission for need in access.SUBNET]
        return {one: Begun(partial(self._api.allowed_on_subnet, *one, asked)) for one in here}

    def _ask_stores(self, image: str | None) -> _Stores:
        api, first, own = self._api, self._first, self._own
        bucket = self._settings.results.bucket if self._settings.results.kind == "gs" else None
        pulled = repository_of(image) if image else None  # none of Google's: nobody here can say
        makes: dict[str, list[str]] = {}
        if bucket and first:
            makes.setdefault(first, []).append(MAKE_BUCKET)
        if own is not None:
            makes.setdefault(own.project, []).append(MAKE_REPOSITORY)
        on_bucket = [need.permission for need in access.BUCKET]
        on_repository = [need.permission for need in (*access.REGISTRY, *access.REPOSITORY)]
        return _Stores(
            bucket=bucket if first else None,
            first=first or "",
            own=own,
            pulled=pulled,
            makes={project: Begun(partial(api.allowed, project, asked)) for project, asked in makes.items()},
            on_bucket=(
                Begun(partial(api.bucket_policy, bucket, first)),
                Begun(partial(api.allowed_on_bucket, bucket, on_bucket, first)),
            )
            if bucket and first
            else None,
            repositories={
                one: (
                    Begun(partial(api.repository_policy, one)),
                    Begun(partial(api.allowed_on_repository, one, on_repository)),
                )
                for one in (own, pulled)
                if one is not None
            },
            owners=Begun(partial(api.project_policy, pulled.project)) if pulled else None,
        )

    # -- odds

    def _odds(self, project: str, question: Question) -> Odds:
        model = _ADVISED.get(Purchase(question.purchase)) if question.purchase else None
        shapes = [name for name in question.machine_types if not name.startswith("n1-")]
        if model is None or not shapes or question.region is None:
            raise CannotSay("Google has no capacity advice for this shape and purchase")
        advice = self._api.capacity_advice(project, question.region, shapes, model)
        if not advice:
            raise CannotSay("Google gave no capacity advice")
        best = max(advice, key=lambda one: one.score)
        return Odds(best.score, best.zones if best.score >= _WORTH_A_HINT else ())


@dataclass(frozen=True)
class _Stores:
    """What says what may be done with the results' bucket and with the repositories, under way.

    ``first``: the project of a new bucket; ``own``: the repository that gpubench makes; ``pulled``: the image's, if it
    is one of Google's. ``makes``: by project, what may be made there. ``on_bucket``, ``repositories``: the policy, and
    what the deployer may do there. ``owners``: the policy of the project that the image's repository is in.
    """

    bucket: str | None
    first: str
    own: Repository | None
    pulled: Repository | None
    makes: Mapping[str, Begun[frozenset[str]]]
    on_bucket: tuple[Begun[tuple[Binding, ...]], Begun[frozenset[str]]] | None
    repositories: Mapping[Repository, tuple[Begun[tuple[Binding, ...]], Begun[frozenset[str]]]]
    owners: Begun[tuple[Binding, ...]] | None

    def grants(self, email: str, who: str, *, there: bool) -> list[Grant]:
        """Of the run's account (``email``), which pulls, and of the deployer (``who``), who makes and grants.

        ``there``: whether the account is. Nobody can grant anything to one that isn't.
        """
        found: list[Grant] = []
        if self.pulled is not None and self.owners is not None:
            own, allowed = self.repositories[self.pulled]
            may = _unless_refused(allowed)
            policies = (_unless_refused(own), _unless_refused(self.owners))
            grantable = None if may is None else MAY_GRANT in may
            found += [one for one in access.of_reader(email, self.pulled, policies, grantable=grantable) if there]
        for one, (policy, allowed) in self.repositories.items():
            mine = one == self.own
            if _is_gone(policy):
                # Somebody else's that isn't there is the image's matter, which says so by itself.
                found += self._making(who, one.project, access.NEW_REGISTRY) if mine else []
            elif (may := _unless_refused(allowed)) is not None:
                granted = access.is_granted(access.GRANTS_PULL, email, _unless_refused(policy))
                # Its policy is read at each update, to see whether it is there.
                always = (*access.REGISTRY, *access.REPOSITORY[:1]) if mine else ()
                found += access.of_repository(who, one, _needed(always, access.REPOSITORY, may, granted=granted), may)
        if self.bucket is not None and self.on_bucket is not None:
            own, on_it = self.on_bucket
            if _is_gone(on_it):
                found += self._making(who, self.first, access.NEW_BUCKET)
            elif (may := _unless_refused(on_it)) is not None:
                granted = access.is_granted(access.GRANTS_RESULTS, email, _unless_refused(own))
                needs = _needed(access.BUCKET[:1], access.BUCKET[1:], may, granted=granted)
                found += access.of_bucket(who, self.bucket, needs, may)
        return found

    def _making(self, who: str, project: str, needs: tuple[access.Need, ...]) -> list[Grant]:
        may = _unless_refused(self.makes[project])
        return [] if may is None else access.of_deployer(who, project, needs, may)


def _needed(
    always: tuple[access.Need, ...], to_grant: tuple[access.Need, ...], may: frozenset[str], *, granted: bool
) -> tuple[access.Need, ...]:
    """What is needed always, and what it takes to grant; of the latter only what one has, if it is granted already."""
    return tuple(dict.fromkeys((*always, *(one for one in to_grant if not granted or one.permission in may))))


def _unless_refused(begun: Begun[T]) -> T | None:
    """What was asked for; None: the cloud doesn't say."""
    try:
        return begun.get()
    except ApiError:
        return None


def _is_gone(begun: Begun[T]) -> bool:
    """Whether what was asked about isn't there."""
    try:
        begun.get()
    except ApiError as error:
        return error.is_gone
    return False


def _answered(begun: Begun[T]) -> bool:
    try:
        begun.get()
    except ApiError:
        return False
    return True


def _region_of(zone: str) -> str:
    return zone.rpartition("-")[0]
