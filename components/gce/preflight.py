"""What Google says of Compute Engine's rungs before anything is tried."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import catalog
from catalog import Purchase, Surface
from catalog.repositories import Repository, repository_of
from components.gce import access, quotas
from components.gce.access import ACT_AS, DEPLOYER, FIRST_TIME, MAY_GRANT
from components.gce.api import Account, ApiError, Binding, GoogleApi, QuotaLimit, QuotaLine, Region
from components.gce.names import service_account_id
from components.gce.parallel import Begun, Shared
from placement.causes import Cause, Where, classify
from placement.verdicts import Answer, CannotSay, Grant, Grants, Kind, Odds, Offers, Question, Quotas, QuotaState

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
    ``stack`` names the account that its machines run as; ``account``: the e-mail of another one.
    """

    def __init__(self, api: GoogleApi, stack: str, *, account: str | None = None) -> None:
        self._api, self._stack, self._account = api, stack, account
        self._listings: Shared[_Listings] = Shared(FRESH_S)
        self._facts: Shared[_QuotaFacts] = Shared(FRESH_S)

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
        email = self._account or f"{service_account_id(self._stack, project)}@{project}.iam.gserviceaccount.com"
        needs = (*DEPLOYER, *FIRST_TIME)
        allowed = Begun(partial(api.allowed, project, [need.permission for need in needs]))
        account = Begun(partial(api.account, project, email))
        readers = self._ask_readers(image)
        regions = self._quota_facts(project).regions
        who = api.principal()
        found = self._api_is_on(who, project, regions)
        there = _unless_refused(account) if _answered(account) else Account(email)
        wanted = needs if there is None else DEPLOYER
        has = allowed.get()
        if ACT_AS not in has and there is not None:
            # Often it is granted on the account alone.
            has |= _unless_refused(Begun(partial(api.allowed_on_account, project, email, (ACT_AS,)))) or frozenset()
        found += access.of_deployer(who, project, wanted, has)
        if there is not None and there.disabled:
            mend = access.enable_command(email, project)
            found.append(Grant(email, "an account that is enabled", granted=False, mend=mend))
        if readers is not None:
            found += readers.grants(email, who)
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

    def _ask_readers(self, image: str | None) -> _Readers | None:
        repository = repository_of(image) if image else None
        if repository is None:
            return None  # none of Google's: nobody here can say
        return _Readers(
            repository,
            Begun(partial(self._api.repository_policy, repository)),
            Begun(partial(self._api.project_policy, repository.project)),
            Begun(partial(self._api.allowed_on_repository, repository, (MAY_GRANT,))),
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
class _Readers:
    """What says who may read a repository, under way."""

    repository: Repository
    own: Begun[tuple[Binding, ...]]
    project: Begun[tuple[Binding, ...]]
    allowed: Begun[frozenset[str]]

    def grants(self, email: str, who: str) -> list[Grant]:
        allowed = _unless_refused(self.allowed)
        return access.of_reader(
            email,
            self.repository,
            (_unless_refused(self.own), _unless_refused(self.project)),
            grantable=None if allowed is None else MAY_GRANT in allowed,
            who=who,
        )


def _unless_refused(begun: Begun[T]) -> T | None:
    """What was asked for; None: the cloud doesn't say."""
    try:
        return begun.get()
    except ApiError:
        return None


def _answered(begun: Begun[T]) -> bool:
    try:
        begun.get()
    except ApiError:
        return False
    return True


def _region_of(zone: str) -> str:
    return zone.rpartition("-")[0]
