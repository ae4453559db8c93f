"""Verdicts: what answers, silences and the catalogue make of a rung."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

import catalog
from placement.ladder import LadderEntry, Purchase, Rung, Surface, expand
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
    QuotaState,
    Said,
    Unasked,
    Verdict,
    ask,
    from_catalogue,
    questions,
)

COMPUTE = "compute.googleapis.com"
L4_ON_DEMAND = "NVIDIA-L4-GPUS-per-project-region"
L4_SPOT = "PREEMPTIBLE-NVIDIA-L4-GPUS-per-project-region"
ALL_REGIONS = "GPUS-ALL-REGIONS-per-project"


@dataclass
class Cloud:
    """A preflight that answers from what a test gives it, and counts."""

    offers: Mapping[str, tuple[str, ...]] | None = None
    regional: tuple[QuotaState, ...] | None = None
    everywhere: tuple[QuotaState, ...] | None = None
    grants: tuple[Grant, ...] | None = ()
    odds: Odds | None = None
    prices: Mapping[str, float] | None = None
    asked: Counter[Question] = field(default_factory=Counter)

    def ask(self, question: Question) -> Answer:
        self.asked[question] += 1
        quotas = self.everywhere if question.region is None else self.regional
        answers: dict[Kind, Answer | None] = {
            Kind.OFFERS: Offers(self.offers) if self.offers is not None else None,
            Kind.QUOTAS: Quotas(quotas) if quotas is not None else None,
            Kind.PERMISSIONS: Grants(self.grants) if self.grants is not None else None,
            Kind.ODDS: self.odds,
            Kind.PRICES: Prices(self.prices) if self.prices is not None else None,
        }
        answer = answers[question.kind]
        if answer is None:
            raise CannotSay("the API is off")
        return answer


def rung(surface: Surface = Surface.GCE, tier: str = "l4", region: str = "us-central1", **more: object) -> Rung:
    entry = LadderEntry(surface, "p1", (region,), tiers=(tier,), **more)  # type: ignore[arg-type]
    return expand([entry])[0]


def state(quota_id: str, limit: float, usage: float | None = 0, service: str = COMPUTE, **dims: str) -> QuotaState:
    return QuotaState(service, quota_id, limit, usage, tuple(dims.items()))


def judge(one: Rung, cloud: Cloud | Unasked) -> Verdict:
    return ask([one], {one.surface: cloud}, image=None)[one.id]


L4 = rung()
PLENTY = Cloud(
    offers={"g2-standard-4": ("us-central1-a", "us-central1-b")},
    regional=(state(L4_ON_DEMAND, 8, 1), state(L4_SPOT, 8)),
    everywhere=(state(ALL_REGIONS, 8, 1),),
    grants=(Grant("vm@p1", "artifactregistry.repositories.downloadArtifacts", True),),
)


def with_(base: Cloud, **changes: object) -> Cloud:
    return Cloud(**{**{name: getattr(base, name) for name in Cloud.__annotations__ if name != "asked"}, **changes})


def test_all_is_well() -> None:
    found = judge(L4, PLENTY)
    assert [found.offered.said, found.quota.said, found.permitted.said] == [Said.YES] * 3
    assert found.possible and found.zones == ("us-central1-a", "us-central1-b") and found.offered_live
    assert "NVIDIA_L4_GPUS in us-central1: need 1, limit 8, used 1" in found.quota.why
    # Global before regional, since a global 0 hides a good regional quota.
    assert [one.quota_id for one in found.quotas] == [ALL_REGIONS, L4_ON_DEMAND]
    price = L4.usd_per_hour
    assert price is not None
    assert (found.usd_per_hour, found.price_from) == (price.usd_per_hour_max, f"catalogue {price.date}")


@pytest.mark.parametrize(
    ("regional", "everywhere", "said", "why", "mend"),
    [
        ((state(L4_ON_DEMAND, 1, 0),), (state(ALL_REGIONS, 1, 0),), Said.YES, "need 1, limit 1", ""),
        ((state(L4_ON_DEMAND, 1, 1),), (state(ALL_REGIONS, 9, 0),), Said.NO, "limit 1, used 1", "--preferred-value=2"),
        (
            (state(L4_ON_DEMAND, 0, 0),),
            (state(ALL_REGIONS, 9, 0),),
            Said.NO,
            "NVIDIA_L4_GPUS in us-central1",
            "gcloud quotas preferences create --service=compute.googleapis.com --project=p1 "
            f"--quota-id={L4_ON_DEMAND} --preferred-value=1 --dimensions=region=us-central1",
        ),
        (
            (state(L4_ON_DEMAND, 9, 0),),
            (state(ALL_REGIONS, 0, 0),),
            Said.NO,
            "GPUS_ALL_REGIONS in all regions: need 1, limit 0",
            f"--quota-id={ALL_REGIONS} --preferred-value=1 --email",
        ),
        ((state(L4_ON_DEMAND, 1, None),), (state(ALL_REGIONS, 1, None),), Said.YES, "use not known", ""),
        ((state(L4_ON_DEMAND, -1, 5),), (state(ALL_REGIONS, -1, 5),), Said.YES, "unlimited", ""),
        ((), (state(ALL_REGIONS, 9, 0),), Said.UNKNOWN, "the cloud doesn't say", ""),
        (None, (state(ALL_REGIONS, 9, 0),), Said.UNKNOWN, "the API is off", ""),
        # A no is a no, whatever else isn't known.
        (None, (state(ALL_REGIONS, 0, 0),), Said.NO, "GPUS_ALL_REGIONS", ALL_REGIONS),
        # The same id in another region says nothing about this one.
        ((state(L4_ON_DEMAND, 0, 0, region="us-east4"),), (state(ALL_REGIONS, 9, 0),), Said.UNKNOWN, "doesn't say", ""),
    ],
)
def test_quota(
    regional: tuple[QuotaState, ...] | None, everywhere: tuple[QuotaState, ...], said: Said, why: str, mend: str
) -> None:
    found = judge(L4, with_(PLENTY, regional=regional, everywhere=everywhere))
    assert found.quota.said is said and why in found.quota.why
    assert (mend in found.mend) if mend else found.mend == ""


FLEX = rung(purchases=(Purchase.FLEX_START,))


@pytest.mark.parametrize(
    ("preemptible", "standard", "said"),
    [
        (state(L4_SPOT, 1), state(L4_ON_DEMAND, 0), Said.YES),
        (state(L4_SPOT, 0), state(L4_ON_DEMAND, 1), Said.YES),  # none of the one: the other serves
        (state(L4_SPOT, 0), state(L4_ON_DEMAND, 0), Said.NO),
        (state(L4_SPOT, 2, 2), state(L4_ON_DEMAND, 1), Said.UNKNOWN),  # some of it, all in use: nobody says
        (state(L4_SPOT, 2, 2), state(L4_ON_DEMAND, 1, 1), Said.NO),
        (state(L4_SPOT, 0), None, Said.UNKNOWN),
        (None, state(L4_ON_DEMAND, 0), Said.UNKNOWN),
        (None, state(L4_ON_DEMAND, 1), Said.UNKNOWN),
    ],
)
def test_flex_start_takes_either_quota(preemptible: QuotaState | None, standard: QuotaState | None, said: Said) -> None:
    regional = tuple(one for one in (preemptible, standard) if one is not None)
    found = judge(FLEX, with_(PLENTY, regional=regional))
    assert found.quota.said is said
    assert (L4_SPOT in found.mend) is (said is Said.NO)


def test_spot_takes_only_the_preemptible_quota() -> None:
    spot = rung(purchases=(Purchase.SPOT,))
    found = judge(spot, with_(PLENTY, regional=(state(L4_SPOT, 0), state(L4_ON_DEMAND, 9))))
    assert found.quota.said is Said.NO


def test_families_are_told_apart_by_dimensions() -> None:
    h200 = rung(tier="h200", count=8, purchases=(Purchase.RESERVED,))
    family = "GPUS-PER-GPU-FAMILY-per-project-region"
    other = state(family, 64, 0, gpu_family="NVIDIA_H100")
    own = state(family, 0, 0, gpu_family="NVIDIA_H200", region="us-central1")
    cloud = with_(PLENTY, offers={h200.machine_types[0]: ("us-central1-b",)}, everywhere=(state(ALL_REGIONS, 64),))
    assert judge(h200, with_(cloud, regional=(other,))).quota.said is Said.UNKNOWN
    found = judge(h200, with_(cloud, regional=(other, own)))
    assert found.quota.said is Said.NO
    assert "--dimensions=region=us-central1,gpu_family=NVIDIA_H200" in found.mend and "value=8" in found.mend


def test_cloud_run_counts_in_thousandths_and_bytes() -> None:
    service = "run.googleapis.com"
    pro = rung(Surface.CLOUD_RUN, "rtx-pro-6000", "us-central1")
    gpus, cpu, memory = (quota.quota_id for quota in pro.offers[0].quotas(Purchase.ON_DEMAND))
    fresh = (
        state(gpus, 3000, 0, service),
        state(cpu, 20000, 0, service),
        state(memory, 42949672960, 0, service),
    )
    found = judge(pro, Cloud(offers={pro.machine_types[0]: ()}, regional=fresh))
    # A fresh project's memory quota is 40 GiB, and this shape is 80.
    assert found.quota.said is Said.NO and "need 80 GiB, limit 40 GiB" in found.quota.why
    assert f"--quota-id={memory} --preferred-value=85899345920" in found.mend
    assert found.offered.said is Said.YES and found.zones == ()


def test_aws_quotas_are_of_vcpus() -> None:
    one = rung(Surface.ECS, "a10g", "us-east-1")
    none = (state("L-DB2E81BA", 0, None, "ec2"),)
    found = judge(one, Cloud(offers={one.machine_types[0]: ("use1-az1",)}, regional=none))
    assert found.quota.said is Said.NO and "need 4 vCPU, limit 0 vCPU" in found.quota.why
    assert found.mend.endswith(
        "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-DB2E81BA "
        "--desired-value 4 --region us-east-1"
    )


@pytest.mark.parametrize(
    ("one", "offers", "said", "why"),
    [
        (L4, {"g2-standard-4": ()}, Said.NO, "lists no g2-standard-4"),
        (L4, {"g2-standard-8": ("us-central1-a",)}, Said.NO, "us-central1 lists no g2-standard-4 now"),
        (L4, None, Said.YES, "by the catalogue; the API is off"),
        (
            rung(zones=("us-central1-b",)),
            {"g2-standard-4": ("us-central1-a",)},
            Said.NO,
            "us-central1-b lists no g2-standard-4 now; us-central1-a does",
        ),
        (
            rung(zones=("us-central1-b", "us-central1-c")),
            {"g2-standard-4": ("us-central1-a", "us-central1-f")},
            Said.NO,
            "us-central1-b, us-central1-c list no g2-standard-4 now; us-central1-a, us-central1-f do",
        ),
        (
            rung(zones=("us-central1-b",)),
            {"g2-standard-4": ("us-central1-a", "us-central1-b")},
            Said.YES,
            "us-central1-b lists",
        ),
        (rung(zones=("us-central1-z",)), None, Said.UNKNOWN, "the catalogue doesn't list"),
        (
            rung(tier="t4", purchases=(Purchase.FLEX_START,)),
            {"n1-standard-4": ("us-central1-a",), "nvidia-tesla-t4": ("us-central1-a",)},
            Said.UNKNOWN,
            "good",
        ),
        # N1 machines are everywhere, and their accelerators aren't.
        (rung(tier="t4"), {"n1-standard-4": ("us-central1-a",)}, Said.NO, "no n1-standard-4 with nvidia-tesla-t4 now"),
        (
            rung(tier="t4", zones=("us-central1-b",)),
            {"n1-standard-4": ("us-central1-a", "us-central1-b"), "nvidia-tesla-t4": ("us-central1-a",)},
            Said.NO,
            "us-central1-b lists no n1-standard-4 with nvidia-tesla-t4 now; us-central1-a does",
        ),
        (
            rung(tier="h100", purchases=(Purchase.ON_DEMAND,), machine_types=("a3-highgpu-1g",)),
            {"a3-highgpu-1g": ("us-central1-a",)},
            Said.NO,
            "isn't sold",
        ),
    ],
)
def test_offered(one: Rung, offers: Mapping[str, tuple[str, ...]] | None, said: Said, why: str) -> None:
    found = judge(one, with_(PLENTY, offers=offers))
    assert found.offered.said is said and why in found.offered.why
    assert found.possible is (said is not Said.NO)


def test_one_machine_type_that_can_be_had_is_enough() -> None:
    both = rung(machine_types=("g2-standard-4", "g2-standard-8"))
    found = judge(both, with_(PLENTY, offers={"g2-standard-8": ("us-central1-c",)}, prices={"g2-standard-8": 2.5}))
    assert found.offered.said is Said.YES and found.zones == ("us-central1-c",)
    assert "us-central1 lists no g2-standard-4 now" in found.offered.why
    assert (found.usd_per_hour, found.price_from) == (2.5, "live")  # of the one that can be had
    neither = judge(both, with_(PLENTY, offers={}))
    assert neither.offered.said is Said.NO and "g2-standard-8" in neither.offered.why


def test_offered_in_one_shape_and_quota_for_another_is_no() -> None:
    both = rung(Surface.ECS, "a10g", "us-east-1", machine_types=("g5.xlarge", "g5.16xlarge"))
    four = (state("L-DB2E81BA", 8, 0, "ec2"),)
    found = judge(both, Cloud(offers={"g5.16xlarge": ("use1-az1",)}, regional=four))
    assert found.quota.said is Said.NO and "64 vCPU" in found.quota.why
    found = judge(both, Cloud(offers={"g5.xlarge": ("use1-az1",), "g5.16xlarge": ("use1-az1",)}, regional=four))
    assert found.quota.said is Said.YES and "but: " in found.quota.why


def test_permissions_name_who_lacks_what_and_the_mend() -> None:
    grants = (Grant("user", "compute.instances.create", True), Grant("vm@p1", "pull", False, "gcloud … add-iam"))
    found = judge(L4, with_(PLENTY, grants=grants))
    assert (found.permitted.said, found.permitted.why) == (Said.NO, "vm@p1 lacks pull")
    assert found.mend == "gcloud … add-iam" and not found.possible


@pytest.mark.parametrize(("missing", "more"), [(2, "1 more grant is missing"), (3, "2 more grants are missing")])
def test_more_missing_grants_are_counted(missing: int, more: str) -> None:
    found = judge(L4, with_(PLENTY, grants=[Grant("user", f"p{number}", False) for number in range(missing)]))
    assert found.permitted.why == f"user lacks p0, and {more}"


def test_a_grant_of_another_region_says_nothing() -> None:
    theirs = Grant("user", "compute.subnetworks.use", False, "gcloud …", region="us-east4")
    found = judge(L4, with_(PLENTY, grants=(Grant("user", "compute.instances.create", True), theirs)))
    assert (found.permitted.said, found.mend) == (Said.YES, "") and "subnetworks" not in found.permitted.why
    assert judge(L4, with_(PLENTY, grants=(replace(theirs, region="us-central1"),))).mend == "gcloud …"


def test_prices_and_odds() -> None:
    spot = rung(purchases=(Purchase.SPOT,))
    found = judge(spot, with_(PLENTY, prices={"g2-standard-4": 0.21}, odds=Odds(0.7, ("us-central1-b",))))
    assert (found.usd_per_hour, found.price_from, found.odds) == (0.21, "live", 0.7)
    assert found.odds_zones == ("us-central1-b",)
    listed = spot.usd_per_hour
    assert listed is not None and judge(spot, PLENTY).usd_per_hour == listed.usd_per_hour_max


@pytest.mark.parametrize("cloud", [Unasked("no credentials"), None])
def test_nobody_to_ask(cloud: Unasked | None) -> None:
    found = ask([L4], {Surface.GCE: cloud} if cloud else {}, image="x")[L4.id]
    assert found.possible and found.offered.said is Said.YES and not found.offered_live
    assert found.quota.said is Said.UNKNOWN and found.permitted.said is Said.UNKNOWN
    for finding in (found.offered, found.quota, found.permitted):
        assert "not asked: no credentials" in finding.why
    assert found.usd_per_hour == from_catalogue(L4).usd_per_hour


def test_a_surface_that_is_not_built_is_no() -> None:
    found = judge(L4, Unasked("surface gce isn't built in this version", usable=False))
    assert found.offered.said is Said.NO and found.offered.why == "surface gce isn't built in this version"
    assert not found.possible


@pytest.mark.parametrize(("tier", "said"), [("any", Said.YES), ("cpu", Said.YES), ("l4", Said.YES), ("h100", Said.NO)])
def test_this_machine(tier: str, said: Said) -> None:
    local = expand([LadderEntry(Surface.LOCAL, tiers=(tier,))])[0]
    found = judge(local, Cloud(offers={"any": (), "cpu": (), "l4": ()}))
    assert found.offered.said is said and found.quota.said is Said.YES and found.usd_per_hour == 0


@dataclass
class Failing:
    """A preflight with a way to fail."""

    how: Callable[[Question], Answer]

    def ask(self, question: Question) -> Answer:
        return self.how(question)


def _raise(question: Question) -> Answer:
    raise RuntimeError("socket closed")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (_raise, "asking failed: RuntimeError: socket closed"),
        (lambda question: Odds(0.5) if question.kind is not Kind.ODDS else Odds(7), "can't be right"),
        (lambda question: None, "can't be right"),
    ],
)
def test_a_failure_is_unknown_and_never_no(how: Callable[[Question], Answer], why: str) -> None:
    spot = rung(purchases=(Purchase.SPOT,))
    found = ask([spot], {Surface.GCE: Failing(how)}, image=None)[spot.id]
    assert found.possible and found.odds is None
    assert why in found.quota.why and why in found.permitted.why and found.price_from.startswith("catalogue")


def test_equal_questions_are_asked_once_and_prices_of_a_region_together() -> None:
    tiers = ("l4", "t4", "a100-40")
    ladder = expand([LadderEntry(Surface.GCE, "p1", ("us-central1", "us-east1"), tiers=tiers)])
    cloud = Cloud()
    ask(ladder, {Surface.GCE: cloud}, image="i")
    assert set(cloud.asked.values()) == {1}
    kinds = Counter(question.kind for question in cloud.asked)
    assert kinds == {Kind.OFFERS: 2, Kind.QUOTAS: 3, Kind.PERMISSIONS: 1, Kind.PRICES: 2}
    (permissions,) = (one for one in cloud.asked if one.kind is Kind.PERMISSIONS)
    assert permissions.image == "i"
    for question in questions(ladder[0], "i"):
        assert question in cloud.asked or question.kind is Kind.PRICES


def test_side_by_side_with_a_bound_for_each_cloud() -> None:
    regions = catalog.regions("gce")[:12]
    entries = [LadderEntry(s, "p1", regions, tiers=("cpu",)) for s in (Surface.GCE, Surface.GKE)]
    lock = threading.Lock()
    now, most = 0, 0

    def slow(question: Question) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        raise CannotSay("no")

    both = Failing(slow)
    ask(expand(entries), {Surface.GCE: both, Surface.GKE: both}, image=None, at_once=5)
    assert most == 5  # together, because they are one cloud


def test_what_is_late_is_unknown() -> None:
    release = threading.Event()

    def hang(question: Question) -> Answer:
        if question.kind is Kind.OFFERS:
            return Offers({})
        release.wait(20)
        raise CannotSay("too late")

    begun = time.monotonic()
    found = ask([L4], {Surface.GCE: Failing(hang)}, image=None, seconds=0.3)[L4.id]
    assert time.monotonic() - begun < 5
    release.set()
    assert found.quota.why == "no answer within 0.3 s" and found.offered.said is Said.NO


def test_a_hanging_preflight_does_not_hold_up_the_end_of_the_process() -> None:
    program = (
        "import time\n"
        "from placement.ladder import LadderEntry, Surface, expand\n"
        "from placement.verdicts import ask\n"
        "class Hanging:\n"
        "    def ask(self, question): time.sleep(60)\n"
        "ladder = expand([LadderEntry(Surface.GCE, 'p1', ('us-central1',), tiers=('l4',))])\n"
        "print(len(ask(ladder, {Surface.GCE: Hanging()}, image=None, seconds=0.2)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "1\n"
