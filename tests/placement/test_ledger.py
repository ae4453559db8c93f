"""The ledger: what is written is read, by anybody, at any moment, and nothing is lost or doubled."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement import ledger as ledger_module
from placement.causes.model import Cause, Failure, QuotaFacts, Scope
from placement.ladder import LadderEntry, Surface, expand
from placement.ledger import Attempt, Ledger, LedgerError, Outcome, begin_on, from_json, to_json

NOW = datetime(2026, 11, 21, 14, 25, 1, 250000, tzinfo=UTC)
RUNG = "gce/p1/us-central1/l4/spot/g2-standard-4"


def attempt(number: int, *, ended: bool = True, failure: Failure | None = None) -> Attempt:
    begun = NOW + timedelta(minutes=number)
    return Attempt(
        id=f"{begun:%Y%m%dT%H%M%S}.250Z-{number:04x}",
        stack="dev",
        job="j1",
        rung=RUNG,
        tier="l4",
        region="us-central1",
        begun=begun,
        ended=begun + timedelta(seconds=90) if ended else None,
        outcome=(Outcome.FAILED if failure else Outcome.WON) if ended else None,
        failure=failure,
    )


texts = st.text(st.characters(codec="utf-8"), max_size=30)
failures = st.builds(
    Failure,
    cause=st.none() | st.sampled_from(Cause),
    scope=st.sampled_from(Scope),
    code=texts,
    text=texts,
    mend=texts,
    zones=st.lists(texts.filter(bool), max_size=3).map(tuple),
    hint=st.lists(texts.filter(bool), max_size=3).map(tuple),
    quota=st.none() | st.builds(QuotaFacts, metric=texts.filter(bool), limit=st.none() | st.floats(0, 1e12)),
    others=st.lists(
        st.builds(Failure, cause=st.just(Cause.IMAGE), scope=st.just(Scope.PROJECT), code=texts, text=texts)
    ).map(tuple),
)


@given(failures, st.floats(0, 1e6))
def test_json_keeps_all_of_an_attempt(failure: Failure, usd: float) -> None:
    one = attempt(1, failure=failure)
    one = Attempt(**{**vars(one), "usd": usd, "zones": ("a",), "obtained_zone": "b", "hours": 1.5})
    assert from_json(json.loads(json.dumps(to_json(one)))) == one


def test_begun_and_ended_is_one_attempt(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "dev")
    assert ledger.attempts() == () and ledger.open_attempt() is None
    begun = attempt(1, ended=False)
    ledger.begin(begun)
    assert ledger.open_attempt() == begun == Ledger(tmp_path, "dev").open_attempt()
    ended = attempt(1)
    ledger.end(ended)
    assert ledger.attempts() == (ended,) and ledger.open_attempt() is None
    assert Ledger(tmp_path, "other").attempts() == ()
    files = sorted(path.name for path in (tmp_path / "ledger" / "dev").iterdir())
    assert files == [f"{begun.id}.begun.json", f"{begun.id}.json"]
    shown = (tmp_path / "ledger" / "dev" / f"{begun.id}.json").read_text()
    assert shown.startswith('{\n  "id": ') and '"begun": "2026-11-21T14:26:01.250Z"' in shown


def test_ids_sort_by_time_and_differ() -> None:
    rungs = expand([LadderEntry(Surface.GCE, "my-project", ("us-central1", "us-east4"), tiers=("l4",))])
    made = [begin_on(rungs[0], NOW + timedelta(milliseconds=number), "dev", "job").id for number in range(3)]
    assert made == sorted(made) and made[0].startswith("20261121t142501-250-")
    assert re.fullmatch(r"[a-z0-9_-]{1,63}", made[0]), "Google Cloud's rule for labels"
    others = {begin_on(rung, NOW, stack, "job").id for rung in rungs for stack in ("dev", "prod")}
    assert len(others) == 4


def test_an_object_store_works_alike() -> None:
    ledger = Ledger("memory://bucket/prefix", "dev")
    ledger.begin(attempt(1, ended=False))
    ledger.end(attempt(1))
    ledger.begin(attempt(2, ended=False))
    again = Ledger("memory://bucket/prefix", "dev")
    assert [one.id for one in again.attempts()] == [attempt(1).id, attempt(2).id]
    assert again.open_attempt() == attempt(2, ended=False)


def test_what_is_damaged_is_named_and_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "dev")
    ledger.end(attempt(1))
    folder = tmp_path / "ledger" / "dev"
    (folder / "20261121T150000.000Z-dead.json").write_text('{"id": "x"')
    (folder / ".20261121T150001.000Z-dead.json.1234").write_text("half")
    later = json.loads((folder / f"{attempt(1).id}.json").read_text())
    later |= {
        "id": attempt(3).id,
        "weather": "fine",
        "failure": {"cause": "solar-flare", "scope": "planet", "text": "t"},
    }
    (folder / f"{attempt(3).id}.json").write_text(json.dumps(later))
    found = ledger.attempts()
    assert [one.id for one in found] == [attempt(1).id, attempt(3).id]
    assert found[1].cause is Cause.UNKNOWN
    (problem,) = ledger.problems
    assert "20261121T150000.000Z-dead.json" in problem


def test_secrets_are_blotted_out(tmp_path: Path) -> None:
    secret = "hunter2-canary"
    quiet = Failure(
        Cause.IMAGE,
        Scope.PROJECT,
        "code",
        f"first {secret}\nsecond",
        others=(Failure(Cause.UNKNOWN, Scope.ZONE, "", f"other {secret}"),),
    )
    ledger = Ledger(tmp_path, "dev", secrets=(secret,))
    ledger.end(attempt(1, failure=quiet))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*.json"))
    assert b"canary" not in written and b"second" in written
    assert ledger.attempts()[0].cause is Cause.IMAGE
    (shown,) = ledger.exported()
    assert shown["text"] == "first [secret]" and shown["cause"] == "image" and shown["seconds"] == 90.0
    # One that an earlier version wrote, before the value was known to be a secret.
    Ledger(tmp_path, "dev").end(attempt(2, failure=quiet))
    assert secret not in json.dumps(Ledger(tmp_path, "dev", secrets=(secret,)).exported())


def test_the_newest_are_exported(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "dev")
    for number in range(25):
        ledger.end(attempt(number))
    shown = ledger.exported()
    assert [one["attempt"] for one in shown] == [attempt(number).id for number in range(5, 25)]
    assert json.loads(json.dumps(shown)) == shown


@pytest.mark.parametrize("root", ["folder", "memory://compacting"])
def test_compacting_loses_and_doubles_nothing(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "COMPACT_ABOVE", 10)
    root = str(tmp_path) if root == "folder" else root
    ledger = Ledger(root, "dev")
    separators = Failure(Cause.UNKNOWN, Scope.ZONE, "", "a\u2028b\x85c\nd")
    everything = [attempt(number, failure=separators) for number in range(8)]
    for one in everything:
        ledger.begin(Attempt(**{**vars(one), "ended": None, "outcome": None, "failure": None}))
        ledger.end(one)
    under_way = attempt(9, ended=False)
    ledger.begin(under_way)
    assert ledger.compact() and not ledger.compact()
    for reader in (ledger, Ledger(root, "dev")):
        assert reader.attempts() == (*everything, under_way) and reader.open_attempt() == under_way
        assert len(reader._list()) == 2  # the compact one, and the attempt under way
    # And again, with more: the earlier compact object is taken in.
    more = [attempt(number) for number in range(10, 22)]
    for one in more:
        ledger.end(one)
    assert Ledger(root, "dev").compact()
    assert [one.id for one in ledger.attempts()] == [one.id for one in (*everything, under_way, *more)]
    assert len(ledger._list()) == 2


def test_readers_writers_and_compactors_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "COMPACT_ABOVE", 8)
    wrong: list[str] = []
    written: list[str] = []
    done = threading.Event()

    def write() -> None:
        ledger = Ledger(tmp_path, "dev")
        for number in range(150):
            ledger.begin(attempt(number, ended=False))
            ledger.end(attempt(number))
            written.append(attempt(number).id)
        done.set()

    def read_or_compact(compacts: bool) -> None:
        while not done.is_set():
            ledger = Ledger(tmp_path, "dev")
            before = list(written)
            try:
                if compacts:
                    ledger.compact()
                found = [one.id for one in ledger.attempts() if one.ended]
            except LedgerError as error:
                # It may give up and say so, but never give a part for the whole.
                if "changes faster" not in str(error):
                    wrong.append(str(error))
                continue
            if missing := set(before) - set(found):
                wrong.append(f"lost {sorted(missing)[:3]}")
            if len(found) != len(set(found)) or found != sorted(found):
                wrong.append("doubled or out of order")

    threads = [threading.Thread(target=write)]
    threads += [threading.Thread(target=read_or_compact, args=(number < 2,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert [one.id for one in Ledger(tmp_path, "dev").attempts()] == written


def test_a_store_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file where the folder should be")
    with pytest.raises(LedgerError, match=r"ledger below .* can't be written: .*gpubench:results") as caught:
        Ledger(tmp_path, "dev").end(attempt(1))
    assert caught.value.for_people
    with pytest.raises(LedgerError, match="can't be opened"):
        Ledger("no-such-store://x", "dev").attempts()


def test_only_whole_attempts_are_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "dev")
    with pytest.raises(ValueError, match="has ended"):
        ledger.begin(attempt(1))
    with pytest.raises(ValueError, match="has not ended"):
        ledger.end(attempt(1, ended=False))
    with pytest.raises(ValueError, match="can't name"):
        ledger.end(Attempt(**{**vars(attempt(1)), "id": "../x"}))
