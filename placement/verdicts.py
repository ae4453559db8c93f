"""Verdicts: what is known of each rung before anything is tried.

A surface answers questions (``Preflight``); this module asks them, side by side, and makes the verdicts out of the
answers and the catalogue. What can't be learnt is unknown, and never a no.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Protocol

import catalog
from catalog import Offer, Purchase, Quota, Surface
from placement import quota_requests
from placement.ladder import Rung

CLOUDS: Mapping[Surface, str] = MappingProxyType(
    {
        Surface.LOCAL: "local",
        Surface.GCE: "google",
        Surface.GKE: "google",
        Surface.CLOUD_RUN: "google",
        Surface.ECS: "aws",
    }
)
"""Whose API a surface asks, and whose account it spends from."""


class Kind(StrEnum):
    """What a question is about."""

    OFFERS = "offers"
    QUOTAS = "quotas"
    PERMISSIONS = "permissions"
    ODDS = "odds"
    PRICES = "prices"


@dataclass(frozen=True)
class Question:
    """One round trip to a cloud. Equal questions of several rungs are asked once.

    ``region``: None asks of the whole project (global quotas, grants). ``machine_types`` and ``purchase`` only where
    the answer depends on them (odds, prices); ``image`` only for permissions.
    """

    kind: Kind
    surface: Surface
    project: str | None
    region: str | None = None
    machine_types: tuple[str, ...] = ()
    purchase: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class Offers:
    """To ``OFFERS``: the zones of the region that list each machine type (empty where a surface has no zones).

    Accelerators that are attached to machines (N1's) are listed by their own names beside them.
    """

    zones_by_machine_type: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class QuotaState:
    """One quota as it stands: ``limit`` and ``usage`` in the quota's own unit (``catalog.Quota.unit``).

    ``usage`` None: the cloud doesn't say how much of it is used. ``held_by``: what takes of it, in the cloud's own
    names, where that can be asked (Cloud Run lists its services and jobs).
    """

    service: str
    quota_id: str
    limit: float
    usage: float | None = None
    dimensions: tuple[tuple[str, str], ...] = ()
    held_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quotas:
    """To ``QUOTAS``: those of a region, or the global ones of a project. One that isn't listed is unknown."""

    states: tuple[QuotaState, ...]


@dataclass(frozen=True)
class Grant:
    """Whether a principal has a permission. ``mend``: the command that grants it.

    ``region``: whose rungs alone it concerns (a subnetwork's); None: all that were asked about.
    """

    principal: str
    permission: str
    granted: bool
    mend: str = ""
    region: str | None = None


@dataclass(frozen=True)
class Grants:
    """To ``PERMISSIONS``: who must be allowed what, so that a run on this surface can start."""

    grants: tuple[Grant, ...]


@dataclass(frozen=True)
class Odds:
    """To ``ODDS``: the cloud's own guess, 0 to 1, that the capacity can be had now, and the best zones, if it says.

    Google's capacity advice gives an obtainability of 0 to 1, AWS a spot placement score of 1 to 10.
    """

    score: float
    zones: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prices:
    """To ``PRICES``: USD an hour now, by machine type."""

    usd_per_hour: Mapping[str, float]


Answer = Offers | Quotas | Grants | Odds | Prices


class CannotSay(Exception):
    """A preflight has no answer: no credentials, an API that is off, a time-out. The text says why."""


class Preflight(Protocol):
    """What a surface supplies: an answer of the question's kind. Called from several threads."""

    def ask(self, question: Question) -> Answer:
        """One round trip. Raises CannotSay."""


@dataclass(frozen=True)
class Unasked:
    """In place of a preflight: why nobody is asked. ``usable`` False: the surface can't be used at all."""

    reason: str
    usable: bool = True


class Said(StrEnum):
    """What is known."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """An answer with its reason: one line, with the figures and where they are from."""

    said: Said
    why: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is known of one rung. ``zones``: those that list its shape now. ``mend``: of the first no, if there is one.

    ``usd_per_hour`` is for one machine; None: no price is known. ``price_from``: ``catalogue <date>``, ``highest
    elsewhere (…)``, ``live`` or ``free``; empty where none is known. ``odds``: 0 to 1, None if nobody says. ``quotas``:
    the states that decided. ``offered_live``: the cloud itself said where the shape is listed, and not the catalogue.
    """

    rung: str
    offered: Finding
    quota: Finding
    permitted: Finding
    usd_per_hour: float | None
    price_from: str
    odds: float | None = None
    odds_zones: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    quotas: tuple[QuotaState, ...] = field(default=())
    mend: str = ""
    offered_live: bool = False

    @property
    def possible(self) -> bool:
        """Whether nothing known speaks against trying it."""
        return Said.NO not in (self.offered.said, self.quota.said, self.permitted.said)


NO_CREDENTIALS = Unasked("no credentials")
"""For a surface that nobody answers for."""


@lru_cache(maxsize=16384)
def questions(rung: Rung, image: str | None) -> tuple[Question, ...]:
    """What is asked about a rung. ``image``: what its machine has to pull; None: nothing."""
    place, surface = rung.place, rung.surface
    if surface == Surface.LOCAL:
        # The tiers of this machine stand where a cloud has machine types.
        return (Question(Kind.OFFERS, surface, None),)
    asked = [
        Question(Kind.OFFERS, surface, place.project, place.region),
        Question(Kind.QUOTAS, surface, place.project, place.region),
    ]
    if any(quota.scope == "global" for machine_type in rung.machine_types for quota in _quotas(rung, machine_type)):
        asked.append(Question(Kind.QUOTAS, surface, place.project))
    asked.append(Question(Kind.PERMISSIONS, surface, place.project, image=image))
    priced = Question(Kind.PRICES, surface, place.project, place.region, rung.machine_types, rung.purchase)
    asked.append(priced)
    if rung.purchase in (Purchase.SPOT, Purchase.FLEX_START):
        # Google's advice and AWS's score are about what may be taken away again; on demand has neither.
        asked.append(replace(priced, kind=Kind.ODDS))
    return tuple(asked)


def ask(
    rungs: Iterable[Rung],
    preflights: Mapping[Surface, Preflight | Unasked],
    *,
    image: str | None,
    at_once: int = 64,
    seconds: float = 20.0,
) -> dict[str, Verdict]:
    """The verdicts of some rungs, by their ids, in their order.

    All questions are asked side by side, equal ones once, at most ``at_once`` of a cloud at a time; what has no answer
    after ``seconds`` is unknown, and so is what failed. A preflight that hangs keeps nobody from ending the process.
    """
    wanted = tuple(rungs)
    asked = _asked(wanted, image)
    answers = _answers({question: None for each in asked for question in each.values()}, preflights, at_once, seconds)
    return {
        rung.id: _judged(
            rung,
            preflights.get(rung.surface, NO_CREDENTIALS),
            {slot: answers[question] for slot, question in each.items()},
        )
        for rung, each in zip(wanted, asked, strict=True)
    }


@lru_cache(maxsize=16384)
def from_catalogue(rung: Rung) -> Verdict:
    """What the catalogue alone says of a rung."""
    return ask((rung,), {rung.surface: Unasked("only the catalogue was read")}, image=None)[rung.id]


# -- asking ---------------------------------------------------------------------------------------------------------

_GLOBAL_QUOTAS = "global quotas"
_ANSWERS: Mapping[Kind, type] = MappingProxyType(
    {
        Kind.OFFERS: Offers,
        Kind.QUOTAS: Quotas,
        Kind.PERMISSIONS: Grants,
        Kind.ODDS: Odds,
        Kind.PRICES: Prices,
    }
)


def _asked(wanted: tuple[Rung, ...], image: str | None) -> list[dict[str, Question]]:
    """Each rung's questions by what they are for. Prices of one region and purchase are one question for all shapes."""
    found = [
        {
            _GLOBAL_QUOTAS if one.kind is Kind.QUOTAS and one.region is None else one.kind.value: one
            for one in questions(rung, image)
        }
        for rung in wanted
    ]
    shapes: dict[tuple[object, ...], dict[str, None]] = {}
    priced = [
        (each, one, (one.surface, one.project, one.region, one.purchase))
        for each in found
        if (one := each.get(Kind.PRICES)) is not None
    ]
    for _, one, where in priced:
        shapes.setdefault(where, {}).update(dict.fromkeys(one.machine_types))
    merged: dict[tuple[object, ...], Question] = {}
    for each, one, where in priced:
        if where not in merged:
            merged[where] = replace(one, machine_types=tuple(shapes[where]))
        each[Kind.PRICES] = merged[where]
    return found


def _answers(
    asked: Iterable[Question],
    preflights: Mapping[Surface, Preflight | Unasked],
    at_once: int,
    seconds: float,
) -> dict[Question, Answer | CannotSay]:
    """Each question's answer, or why there is none."""
    found: dict[Question, Answer | CannotSay] = {}
    waiting: dict[str, queue.SimpleQueue[tuple[Question, Preflight]]] = {}
    for question in asked:
        preflight = preflights.get(question.surface, NO_CREDENTIALS)
        if isinstance(preflight, Unasked):
            found[question] = CannotSay(f"not asked: {preflight.reason}")
            continue
        found[question] = CannotSay(f"no answer within {seconds:g} s")
        waiting.setdefault(CLOUDS[question.surface], queue.SimpleQueue()).put((question, preflight))
    answered: queue.SimpleQueue[tuple[Question, Answer | CannotSay]] = queue.SimpleQueue()
    opened, closed = threading.Event(), threading.Event()
    left = 0
    for cloud, pending in waiting.items():
        count = pending.qsize()
        left += count
        for _ in range(count if cloud == "local" else min(count, max(1, at_once))):
            # Daemons: a call that hangs must not hold up the end of the process, as an executor's threads do.
            threading.Thread(target=_work, args=(pending, answered, opened, closed), daemon=True).start()
    opened.set()  # all at once: one that is at work already would hold up the start of the next
    deadline = time.monotonic() + seconds
    while left:
        try:
            question, answer = answered.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[question] = answer
        left -= 1
    closed.set()
    return found


def _work(
    pending: queue.SimpleQueue[tuple[Question, Preflight]],
    answered: queue.SimpleQueue[tuple[Question, Answer | CannotSay]],
    opened: threading.Event,
    closed: threading.Event,
) -> None:
    opened.wait()
    while not closed.is_set():
        try:
            question, preflight = pending.get_nowait()
        except queue.Empty:
            return
        answer: Answer | CannotSay
        try:
            answer = preflight.ask(question)
        except CannotSay as why:
            answer = why
        except Exception as error:  # a library's own; whatever it is, it's no answer
            answer = CannotSay(f"asking failed: {type(error).__name__}: {error}")
        if not isinstance(answer, CannotSay) and (wrong := _impossible(question, answer)):
            answer = CannotSay(f"the answer can't be right: {wrong}")
        answered.put((question, answer))


def _impossible(question: Question, answer: Answer) -> str:
    """What can't be in an answer; empty: it is sound."""
    if not isinstance(answer, _ANSWERS[question.kind]):
        return f"{type(answer).__name__} to a question about {question.kind}"
    if isinstance(answer, Odds) and not 0 <= answer.score <= 1:
        return f"odds of {answer.score:g}"
    if isinstance(answer, Prices):
        return next((f"{usd:g} USD" for usd in answer.usd_per_hour.values() if not 0 <= usd < math.inf), "")
    if isinstance(answer, Quotas):
        # A negative limit says that there is none (Cloud Quotas writes -1).
        return next((f"limit {one.limit:g}" for one in answer.states if math.isnan(one.limit)), "")
    return ""


# -- judging --------------------------------------------------------------------------------------------------------

_Answers = Mapping[str, "Answer | CannotSay"]


def _judged(rung: Rung, preflight: Preflight | Unasked, answers: _Answers) -> Verdict:
    if rung.surface == Surface.LOCAL:
        return _this_machine(rung, preflight, answers[Kind.OFFERS])
    offered, shapes, zones = _offered(rung, answers[Kind.OFFERS])
    if isinstance(preflight, Unasked) and not preflight.usable:
        offered = Finding(Said.NO, preflight.reason)
    quota, mend, states = _quota(rung, shapes, answers)
    permitted, grant = _permitted(rung, answers[Kind.PERMISSIONS])
    usd, price_from = _price(rung, shapes, answers[Kind.PRICES])
    odds = answers.get(Kind.ODDS)
    if offered.said is Said.NO:
        mend = ""
    elif quota.said is not Said.NO:
        mend = grant
    return Verdict(
        rung=rung.id,
        offered=offered,
        quota=quota,
        permitted=permitted,
        usd_per_hour=usd,
        price_from=price_from,
        odds=odds.score if isinstance(odds, Odds) else None,
        odds_zones=odds.zones if isinstance(odds, Odds) else (),
        zones=zones,
        quotas=states,
        mend=mend,
        offered_live=isinstance(answers[Kind.OFFERS], Offers),
    )


def _this_machine(rung: Rung, preflight: Preflight | Unasked, answer: Answer | CannotSay) -> Verdict:
    yes = Finding(Said.YES, "this machine")
    if isinstance(preflight, Unasked) and not preflight.usable:
        offered = Finding(Said.NO, preflight.reason)
    elif isinstance(answer, Offers):
        here = rung.tier in answer.zones_by_machine_type
        offered = yes if here else Finding(Said.NO, f"this machine has no {rung.tier}")
    elif rung.tier in (catalog.ANY_TIER, "cpu"):
        offered = yes
    else:
        offered = Finding(Said.UNKNOWN, str(answer))
    return Verdict(rung.id, offered, yes, yes, 0.0, "free", odds=1.0, offered_live=isinstance(answer, Offers))


def _offered(rung: Rung, answer: Answer | CannotSay) -> tuple[Finding, tuple[str, ...], tuple[str, ...]]:
    """Whether any of the machine types is listed, which of them may be, and the zones that list them."""
    shapes: list[str] = []
    zones: dict[str, None] = {}
    findings: list[Finding] = []
    for machine_type in rung.machine_types:
        finding, listed = _shape_offered(rung, machine_type, answer)
        findings.append(finding)
        if finding.said is not Said.NO:
            shapes.append(machine_type)
            zones.update(dict.fromkeys(listed))
    if not findings:
        return Finding(Said.UNKNOWN, "the catalogue knows no machine type for it"), (), ()
    best, _ = _best(findings)
    return best, tuple(shapes), tuple(zones)


def _shape_offered(rung: Rung, machine_type: str, answer: Answer | CannotSay) -> tuple[Finding, tuple[str, ...]]:
    region, wanted = str(rung.place.region), rung.place.zones
    offer = _offer(rung, machine_type)
    shape = machine_type
    if offer is not None and rung.purchase not in offer.purchases:
        return Finding(Said.NO, f"{machine_type} isn't sold {rung.purchase}"), ()
    if isinstance(answer, Offers):
        listed = answer.zones_by_machine_type.get(machine_type)
        if listed and offer is not None and (accelerator := _attached(offer)):
            # N1 machines are in nearly every zone, and their accelerators are not: a zone has to list both.
            shape = f"{machine_type} with {accelerator}"
            beside = answer.zones_by_machine_type.get(accelerator, ())
            listed = tuple(zone for zone in listed if zone in beside)
        if listed is None or (not listed and _has_zones(rung.surface, machine_type)):
            return Finding(Said.NO, f"{region} lists no {shape} now"), ()
        zones = tuple(zone for zone in listed if not wanted or zone in wanted)
        if listed and not zones:
            here = f"{', '.join(wanted)} {'lists' if len(wanted) == 1 else 'list'} no {shape} now"
            return Finding(Said.NO, f"{here}; {', '.join(listed)} {'does' if len(listed) == 1 else 'do'}"), ()
        said = f"{', '.join(zones) or region} {'lists' if len(zones) < 2 else 'list'} {shape} now"
    else:
        known = offer.zones(region) if offer is not None else ()
        zones = tuple(zone for zone in known if not wanted or zone in wanted) or wanted
        where = ", ".join(zones) or region
        if offer is None or region not in offer.regions or (known and not set(zones) <= set(known)):
            return Finding(Said.UNKNOWN, f"the catalogue doesn't list {machine_type} in {where}; {answer}"), zones
        said = f"{where}, by the catalogue; {answer}"
    if offer is not None and rung.purchase in offer.unverified:
        return Finding(Said.UNKNOWN, f"no good source says that {machine_type} is sold {rung.purchase}; {said}"), zones
    return Finding(Said.YES, said), zones


def _best(findings: list[Finding]) -> tuple[Finding, int]:
    """Of several equally good shapes, the one that most speaks for: any will do. The why says which won't."""
    if len(findings) == 1:
        return findings[0], 0
    order = (Said.YES, Said.UNKNOWN, Said.NO)
    said = min((one.said for one in findings), key=order.index)
    first = next(number for number, one in enumerate(findings) if one.said is said)
    if said is Said.NO:
        return Finding(said, "; ".join(dict.fromkeys(one.why for one in findings))), first
    against = list(dict.fromkeys(one.why for one in findings if one.said is Said.NO))
    why = findings[first].why + (f" (but: {'; '.join(against)})" if against else "")
    return Finding(said, why), first


def _quota(rung: Rung, shapes: tuple[str, ...], answers: _Answers) -> tuple[Finding, str, tuple[QuotaState, ...]]:
    """Whether the quotas of any listed machine type suffice, how to mend it if not, and the states that say so."""
    judged = [_shape_quota(rung, machine_type, answers) for machine_type in shapes or rung.machine_types]
    if not judged:
        return Finding(Said.UNKNOWN, "the catalogue knows no machine type for it"), "", ()
    best, number = _best([finding for finding, _, _ in judged])
    return best, judged[number][1], judged[number][2]


@dataclass(frozen=True)
class _Judged:
    """One quota against its need. ``absent``: there is none at all, or it isn't known."""

    said: Said
    why: str
    mend: str = ""
    state: QuotaState | None = None

    @property
    def absent(self) -> bool:
        return self.state is None or self.state.limit == 0


def _shape_quota(rung: Rung, machine_type: str, answers: _Answers) -> tuple[Finding, str, tuple[QuotaState, ...]]:
    needed = sorted(_quotas(rung, machine_type), key=lambda quota: quota.scope != "global")  # stable
    if not needed:
        return Finding(Said.UNKNOWN, f"the catalogue knows no quota of {machine_type}"), "", ()
    judged = [_judge(quota, rung, answers) for quota in needed]
    if rung.purchase is Purchase.FLEX_START:
        judged = _with_standard(rung, machine_type, needed, judged, answers)
    states = tuple(one.state for one in judged if one.state is not None)
    for said in (Said.NO, Said.UNKNOWN):
        these = [one for one in judged if one.said is said]
        if these:
            why = "; ".join(dict.fromkeys(one.why for one in these))
            return Finding(said, why), these[0].mend, states
    return Finding(Said.YES, "; ".join(one.why for one in judged)), "", states


def _with_standard(
    rung: Rung, machine_type: str, needed: list[Quota], judged: list[_Judged], answers: _Answers
) -> list[_Judged]:
    """Flex-start takes preemptible quota, and standard quota where there is none: short if both are.

    So say Google's guide to the Dynamic Workload Scheduler and catalog/quotas.csv's source for the preemptible names.
    """
    offer = _offer(rung, machine_type)
    assert offer is not None
    names = {(quota.quota_id, quota.dimensions) for quota in needed}
    standard = [q for q in offer.quotas(Purchase.ON_DEMAND) if (q.quota_id, q.dimensions) not in names]
    own = {(quota.quota_id, quota.dimensions) for quota in offer.quotas(Purchase.ON_DEMAND)}
    found: list[_Judged] = []
    for quota, one in zip(needed, judged, strict=True):
        if one.said is Said.YES or quota.scope == "global" or (quota.quota_id, quota.dimensions) in own or not standard:
            found.append(one)
            continue
        other = _judge(standard[0], rung, answers)
        # What nobody was asked about the one, nobody was asked about the other.
        instead = "" if other.why == one.why else f"; the standard quota may serve instead: {other.why}"
        why = one.why + instead
        if one.said is Said.NO and other.said is Said.NO:
            found.append(_Judged(Said.NO, f"{one.why}; {other.why}", one.mend, one.state))
        elif one.said is Said.NO and one.absent and other.said is Said.YES:
            found.append(_Judged(Said.YES, why, state=other.state))
        else:
            found.append(_Judged(Said.UNKNOWN, why, state=one.state))
    return found


def _judge(quota: Quota, rung: Rung, answers: _Answers) -> _Judged:
    everywhere = quota.scope == "global"
    region = None if everywhere else rung.place.region
    name = quota.metric or quota.quota_id
    if quota.metric and not quota.metric.isupper():
        name = f"{quota.quota_id}, {quota.metric},"  # AWS's codes say nothing by themselves
    name += "".join(f" {value}" for _, value in quota.dimensions) + f" in {region or 'all regions'}"
    answer = answers.get(_GLOBAL_QUOTAS if everywhere else Kind.QUOTAS)
    if not isinstance(answer, Quotas):
        return _Judged(Said.UNKNOWN, str(answer) if answer is not None else f"{name}: not asked")
    state = _state(quota, region, answer)
    if state is None:
        return _Judged(Said.UNKNOWN, f"{name}: the cloud doesn't say")
    need, limit, usage = quota.amount, state.limit, state.usage
    if limit < 0:
        return _Judged(Said.YES, f"{name}: unlimited", state=state)
    figures = f"{name}: need {_amount(need, quota.unit)}, limit {_amount(limit, quota.unit)}"
    figures += f", used {_amount(usage, quota.unit)}" if usage is not None else ", use not known"
    # Quotas are whole numbers, but amounts are made by multiplying.
    if (usage or 0) + need <= limit + 1e-6:
        return _Judged(Said.YES, figures, state=state)
    if state.held_by:
        figures += f", held by {', '.join(state.held_by)}"
    return _Judged(Said.NO, figures, _request(quota, rung.place.project, region, state), state)


def _state(quota: Quota, region: str | None, answer: Quotas) -> QuotaState | None:
    """The state of a quota, by service, id and dimensions; of several the tightest."""
    wanted = set(quota.dimensions)
    fitting = [
        state
        for state in answer.states
        if state.service == quota.service
        and state.quota_id == quota.quota_id
        and wanted == {pair for pair in state.dimensions if pair[0] != "region"}
        and dict(state.dimensions).get("region", region) == region
    ]
    return min(fitting, key=lambda state: state.limit if state.limit >= 0 else math.inf, default=None)


def _request(quota: Quota, project: str | None, region: str | None, state: QuotaState) -> str:
    """How to ask for more: the exact quota, the figures, and the command."""
    value = (state.usage or 0) + quota.amount
    how = quota_requests.command(
        quota.service, quota.quota_id, value, region, dimensions=quota.dimensions, project=project
    )
    figures = f"need {_amount(quota.amount, quota.unit)}, limit {_amount(state.limit, quota.unit)}"
    return f"ask for more of {quota.quota_id} in {region or 'all regions'} ({figures}): {how}"


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 2**30:g} GiB"
    return f"{value:g}" if unit == "GPUs" else f"{value:g} {unit}"


def _permitted(rung: Rung, answer: Answer | CannotSay) -> tuple[Finding, str]:
    """Whether nobody lacks a permission; and the mend."""
    if not isinstance(answer, Grants):
        return Finding(Said.UNKNOWN, str(answer)), ""
    grants = [grant for grant in answer.grants if grant.region in (None, rung.place.region)]
    missing = [grant for grant in grants if not grant.granted]
    if missing:
        first, others = missing[0], len(missing) - 1
        more = f", and {others} more {'grant is' if others == 1 else 'grants are'} missing" if others else ""
        return Finding(Said.NO, f"{first.principal} lacks {first.permission}{more}"), first.mend
    return Finding(Said.YES, ", ".join(f"{one.principal} has {one.permission}" for one in grants)), ""


def _price(rung: Rung, shapes: tuple[str, ...], answer: Answer | CannotSay) -> tuple[float | None, str]:
    """USD an hour, the dearest of the shapes that may be obtained, and where it is from."""
    wanted = shapes or rung.machine_types
    if isinstance(answer, Prices) and wanted and all(one in answer.usd_per_hour for one in wanted):
        return max(answer.usd_per_hour[one] for one in wanted), "live"
    return _catalogue_price(rung)


@lru_cache(maxsize=16384)
def _catalogue_price(rung: Rung) -> tuple[float | None, str]:
    price = rung.usd_per_hour
    if price is not None:
        return price.usd_per_hour_max, f"catalogue {price.date}"
    # A budget can't be held against nothing, and prices vary by region: the highest that is known anywhere.
    known = [
        found
        for offer in rung.offers
        for region in offer.regions
        if (found := catalog.price(offer, region, rung.purchase)) is not None
    ]
    if not known:
        return None, ""
    highest = max(known, key=lambda one: one.usd_per_hour_max)
    return highest.usd_per_hour_max, f"highest elsewhere ({highest.region}, {highest.date})"


def _offer(rung: Rung, machine_type: str) -> Offer | None:
    found = catalog.offers(surface=rung.surface, tier=rung.tier, count=rung.count, machine_type=machine_type)
    return found[0] if found else None


def _quotas(rung: Rung, machine_type: str) -> tuple[Quota, ...]:
    return _cached_quotas(rung.surface, rung.tier, rung.count, machine_type, rung.purchase)


@lru_cache(maxsize=4096)
def _cached_quotas(
    surface: Surface, tier: str, count: float, machine_type: str, purchase: Purchase
) -> tuple[Quota, ...]:
    found = catalog.offers(surface=surface, tier=tier, count=count, machine_type=machine_type)
    return found[0].quotas(purchase) if found else ()


def _attached(offer: Offer) -> str | None:
    """The accelerator that is attached to a machine type without one; None: what it has is part of it."""
    return offer.accelerator if offer.machine_type.startswith("n1-") else None


def _has_zones(surface: Surface, machine_type: str) -> bool:
    return surface in (Surface.GCE, Surface.GKE) or (surface == Surface.ECS and not machine_type.startswith("fargate"))
