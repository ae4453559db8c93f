"""A results store in a bucket: on emulators of Cloud Storage and S3, through the same clients as in earnest."""

from __future__ import annotations

import concurrent.futures
import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile  # type: ignore[import-untyped]

import object_store
import results_folder
from benchmark_job import bucket as bucket_module
from benchmark_job import results, run_resource, store
from benchmark_job.bucket import LOG, Bucket, BucketError, Fetch, part_name
from placement.ledger import Ledger, LedgerError
from tests.s3_server import Request, s3
from tests.storage_emulator import emulator

RUN, RUNGS = "0123abcd-1", ("local/any",)


class Clone:
    """One clone of the project: its own folder for what comes home."""

    def __init__(self, root: Path, url: str, patch: pytest.MonkeyPatch) -> None:
        self.root, self.url, self._patch = root, url, patch

    def enter(self) -> Path:
        self._patch.setattr(store, "PROJECT_ROOT", self.root)
        return store.folder(self.url)


@pytest.fixture(params=["gs", "s3"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    serve = {"gs": emulator, "s3": s3}[request.param]
    with serve(monkeypatch, "bench"):
        yield f"{request.param}://bench/team"


@pytest.fixture
def clones(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Clone, Clone]:
    return Clone(tmp_path / "one", url, monkeypatch), Clone(tmp_path / "other", url, monkeypatch)


def measured(root: Path, name: str, stack: str = "dev", *, seal: bool = True) -> Path:
    """A results folder as a run on this machine leaves it."""
    folder = store.run_folder(root, RUN) / name
    results = results_folder.ResultsFolder(folder, {"run": RUN, "rung": "local/any", "stack": stack, "attempt": name})
    folder.with_name(f"{name}.log").write_text("what it printed\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "empty").touch()
    (folder / "deep" / "much").write_bytes(bytes(range(256)) * 2048)
    results.append({"benchmark": "kernels", "kernel": "gemm"})
    if seal:
        now, complete = datetime.now(UTC), results_folder.Status.COMPLETE
        results.seal(complete, exit_code=0, started_at=now, finished_at=now, cause=None, made_by="wrapper")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_one_clone_measured_is_there_for_the_other(
    clones: tuple[Clone, Clone], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "_PART_SIZE", 200_000)  # so that a file has several parts
    one, other = clones
    folder = measured(one.enter(), "20261121T100000.000Z-aaaa")
    store.put_up(url, RUN, folder.name)
    root = other.enter()
    assert store.complete_attempt(root, RUN, RUNGS) is None
    store.bring_home(url, RUN)
    found = store.complete_attempt(root, RUN, RUNGS)
    assert found is not None and found.folder != folder and results_folder.verify(found.folder) == []
    assert contents(found.folder) == contents(folder)
    assert found.folder.with_name(f"{folder.name}.log").read_text() == "what it printed\n"
    store.bring_home(url)
    assert [one.name for one in store.attempts_of_stack(root, "dev")] == [folder.name]


def test_what_could_not_be_put_up_is_put_up_later(clones: tuple[Clone, Clone], url: str) -> None:
    one, other = clones
    measured(one.enter(), "20261121T100000.000Z-aaaa")
    store.bring_home(url, RUN)  # as the next update does
    other.enter()
    store.bring_home(url, RUN)
    assert store.complete_attempt(store.folder(url), RUN, RUNGS) is not None


def test_an_attempt_without_a_manifest_is_none(clones: tuple[Clone, Clone], url: str) -> None:
    one, _ = clones
    root = one.enter()
    system, path = object_store.open_url(url)
    system.pipe_file(f"{path}/runs/{RUN}/half/{part_name('measurements.jsonl', 1)}", b"{}\n")
    store.bring_home(url, RUN)
    assert store.complete_attempt(root, RUN, RUNGS) is None and not (root / "runs" / RUN / "half").exists()
    assert Bucket(url).attempts(RUN) == {"half": False}


class Left:
    """What a machine left that went before it could seal: objects, by the names that uploaders have for them."""

    def __init__(self, url: str, name: str) -> None:
        self._system, root = object_store.open_url(url)
        self._path = f"{root}/runs/{RUN}/{name}"

    def put(self, name: str, data: bytes) -> None:
        object_store.create(self._system, f"{self._path}/{name}", data)

    def names(self) -> set[str]:
        return {str(one).rpartition("/")[2] for one in self._system.find(self._path)}


def sealed_as(text: str) -> Callable[[str, Path, store.Span], None]:
    def seal(run: str, folder: Path, span: store.Span) -> None:
        assert run == RUN and span is not None
        cause = results_folder.Cause("interrupted", "given-up", text, "")
        results_folder.ResultsFolder(folder, {"run": RUN, "rung": "local/any", "stack": "dev", "attempt": "half"}).seal(
            results_folder.Status.INTERRUPTED, exit_code=1, started_at=span[0], finished_at=span[1], cause=cause,
            made_by="wrapper",
        )  # fmt: skip

    return seal


def said_of(root: Path, name: str = "half") -> str:
    """Why an attempt ended, by its manifest; its files have to be as that says."""
    folder = store.run_folder(root, RUN) / name
    assert results_folder.verify(folder) == []
    return str((results_folder.read_manifest(folder) or {})["cause"]["message"])


def test_what_nobody_sealed_is_kept_and_every_clone_has_it(
    clones: tuple[Clone, Clone], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "_PART_SIZE", 4)  # uploaders send what they have
    one, other = clones
    root, left, begun = one.enter(), Left(url, "half"), datetime.now(UTC) - timedelta(seconds=2)
    for name, data in {
        part_name("lines", 1): b"one\n",
        part_name("lines", 2): b"two, and more\n",
        part_name("deep/large", 1): b"larger than any part of ours",
        part_name("rewritten", 1): b"at first",
        "rewritten.whole": b"in the end",
        part_name("torn", 1): b"with",
        part_name("torn", 3): b"one",  # the second never came
        part_name("empty", 1): b"",
        part_name(LOG, 1): b"measured\n",
    }.items():
        left.put(name, data)
    spans: list[store.Span] = []
    before = left.names()

    def seal(run: str, folder: Path, span: store.Span) -> None:
        spans.append(span)
        sealed_as("gone")(run, folder, span)

    folder = store.run_folder(root, RUN) / "half"
    assert store.keep(url, "half", seal) == (folder,)
    ((first, last),) = [span for span in spans if span]
    assert begun <= first <= last <= datetime.now(UTC) + timedelta(seconds=2)
    assert left.names() - before == {results_folder.MANIFEST}
    said_of(root)
    files = {name: data for name, data in contents(folder).items() if name != results_folder.MANIFEST}
    assert files == {
        "lines": b"one\ntwo, and more\n",
        "deep/large": b"larger than any part of ours",
        "rewritten": b"in the end",
        "torn": b"with",
        "empty": b"",
    }
    there = left.names()
    assert store.keep(url, "half", seal) == () and len(spans) == 1 and left.names() == there, "once is enough"
    elsewhere = other.enter()
    store.bring_home(url, RUN)
    assert said_of(elsewhere) == "gone"
    assert contents(store.run_folder(elsewhere, RUN) / "half") == contents(folder)
    for clone in (root, elsewhere):
        assert (store.run_folder(clone, RUN) / "half.log").read_text() == "measured\n"


def test_a_manifest_that_came_meanwhile_stays(clones: tuple[Clone, Clone], url: str, tmp_path: Path) -> None:
    root, left = clones[0].enter(), Left(url, "half")
    left.put(part_name("lines", 1), b"one\n")

    def late(run: str, folder: Path, span: store.Span) -> None:
        shutil.copytree(folder, tmp_path / "machine")
        (tmp_path / "machine" / "more").write_text("two\n")
        sealed_as("the machine's own")(run, tmp_path / "machine", span)
        left.put(part_name("more", 1), b"two\n")
        left.put(results_folder.MANIFEST, (tmp_path / "machine" / results_folder.MANIFEST).read_bytes())
        sealed_as("ours")(run, folder, span)

    store.keep(url, "half", late)
    assert said_of(root) == "the machine's own"
    assert contents(store.run_folder(root, RUN) / "half") == contents(tmp_path / "machine")


def test_of_two_seals_the_first_in_the_bucket_is_what_everybody_has(
    clones: tuple[Clone, Clone], url: str, tmp_path: Path
) -> None:
    """A machine on notice seals its run between this clone's last look and its own seal of what it had."""
    root = clones[0].enter()
    here = sealed_twice(root, url, tmp_path / "machine")
    store.put_up(url, RUN, "half")
    assert said_of(root) == "the machine's own"
    assert contents(here) == contents(tmp_path / "machine")
    assert not list(here.parent.glob(".half.*")), "nothing is left of ours"


@pytest.mark.parametrize(
    "late", [(part_name("lines", 2), b"two\n"), ("lines.whole", b"one\ntwo\n")], ids=["part", "whole"]
)
def test_a_machine_that_goes_on_after_the_seal_changes_nothing(
    clones: tuple[Clone, Clone], url: str, late: tuple[str, bytes]
) -> None:
    """It was taken for dead, and wasn't."""
    one, other = clones
    root, left = one.enter(), Left(url, "half")
    left.put(part_name("lines", 1), b"one\n")
    store.keep(url, "half", sealed_as("gone"))
    left.put(*late)
    left.put(part_name("deep/er", 1), b"more\n")
    elsewhere = other.enter()
    store.bring_home(url, RUN)
    assert said_of(elsewhere) == "gone"
    assert contents(store.run_folder(elsewhere, RUN) / "half") == contents(store.run_folder(root, RUN) / "half")


def sealed_twice(root: Path, url: str, machine: Path) -> Path:
    """An attempt that is sealed here, and in the bucket by its machine; where it is here."""
    here = store.run_folder(root, RUN) / "half"
    for folder, text in ((here, "ours"), (machine, "the machine's own")):
        folder.mkdir(parents=True)
        (folder / "lines").write_text("one\n")
        sealed_as(text)(RUN, folder, (datetime.now(UTC), datetime.now(UTC)))
    Left(url, "half").put(part_name("lines", 1), b"one\n")
    Left(url, "half").put(results_folder.MANIFEST, (machine / results_folder.MANIFEST).read_bytes())
    return here


def test_an_attempt_is_there_until_the_one_that_counts_has_come(
    clones: tuple[Clone, Clone], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = clones[0].enter()
    here, seen, advance = sealed_twice(root, url, tmp_path / "machine"), [], Fetch.advance

    def watched(fetch: Fetch) -> bool:
        try:
            return advance(fetch)
        finally:
            seen.append(said_of(root))

    monkeypatch.setattr(Fetch, "advance", watched)
    run = store.run_folder(root, RUN)
    with (run / store.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another attempt is carried out: it finds what it found
        store.bring_home(url, RUN)
        assert said_of(root) == "ours"
    store.bring_home(url, RUN)
    assert said_of(root) == "the machine's own" and seen == ["ours", "ours"]
    store.bring_home(url, RUN)
    assert len(seen) == 2, "once is enough"
    with (run / store.LOCK).open("w") as lock:  # who carries the run out has the lock itself
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(here)
        here.mkdir()
        sealed_as("ours again")(RUN, here, (datetime.now(UTC), datetime.now(UTC)))
        store.put_up(url, RUN, "half", held=True)
    assert said_of(root) == "the machine's own"


def test_an_attempt_that_another_process_replaces_is_left_to_it(
    clones: tuple[Clone, Clone], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, put = measured(clones[0].enter(), "20261121T100000.000Z-aaaa"), Bucket.put

    def late(bucket: Bucket, run: str, attempt: str, here: Path, log: Path) -> bool:
        here.rename(here.with_name(".elsewhere"))
        return put(bucket, run, attempt, here, log)

    monkeypatch.setattr(Bucket, "put", late)
    store.bring_home(url, RUN)
    assert Bucket(url).attempts(RUN) == {} and not folder.exists()


@pytest.mark.parametrize("then", ["an hour later", "deleted"])
def test_a_process_that_is_killed_while_an_attempt_comes_home_leaves_nothing_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    url, hangs = "s3://bench/team", threading.Event()
    script = (
        "import pathlib, sys\nfrom benchmark_job import store\n"
        "store.PROJECT_ROOT = pathlib.Path(sys.argv[1])\nstore.bring_home(sys.argv[2])"
    )
    with s3(monkeypatch, "bench") as door:
        store.put_up(url, RUN, measured(Clone(tmp_path / "one", url, monkeypatch).enter(), "half").name)

        def hiccup(request: Request) -> str:
            if request.method == "GET" and ".part-" in request.key:
                hangs.wait(20)
            return ""

        door.hiccup = hiccup
        root = Clone(tmp_path / "other", url, monkeypatch).enter()
        child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "other"), url])
        run, until = store.run_folder(root, RUN), time.monotonic() + 20
        while not list(run.glob(".half.*")):
            assert time.monotonic() < until and child.poll() is None
            time.sleep(0.01)
        assert results.attempts(root, RUN) == [], "no attempt yet"
        child.kill()
        child.wait()
        hangs.set()
        (left,) = run.glob(".half.*")
        store.bring_home(url)
        assert [one.attempt_id for one in results.attempts(root, RUN)] == ["half"]
        if then == "deleted":
            assert store.delete_results(url, "dev") == 1
            assert not run.exists()
        else:
            assert left.exists(), "somebody may be at it"
            os.utime(left, (0, time.time() - 3700))
            store.bring_home(url)
            assert not left.exists() and results_folder.verify(run / "half") == []


def test_what_is_deleted_is_no_run_that_begins_just_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, found = measured(tmp_path, "20261121T100000.000Z-aaaa"), store.attempts_of_stack
    held: list[int | None] = []

    def begins(root: Path, stack: str) -> list[Path]:
        held.append(store.lock(folder.parent))
        return found(root, stack)

    monkeypatch.setattr(store, "attempts_of_stack", begins)
    assert store.delete_results(str(tmp_path), "dev") == 0
    assert results_folder.verify(folder) == [] and list(store.active_runs(tmp_path)) == [RUN]
    monkeypatch.undo()
    (lock,) = held
    assert lock is not None
    os.close(lock)
    assert store.delete_results(str(tmp_path), "dev") == 1 and not folder.parent.exists()


def test_who_waits_for_a_run_that_is_deleted_gets_the_lock_that_others_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = measured(tmp_path, "20261121T100000.000Z-aaaa").parent
    monkeypatch.setattr(run_resource, "_LOCK_POLL_S", 0.01)
    waits = threading.Event()

    def waiter() -> list[str]:
        with run_resource._locked(run, "dev", lambda _: waits.set()):
            return list(store.active_runs(tmp_path, "dev"))

    lock = store.lock(run)
    assert lock is not None
    with concurrent.futures.ThreadPoolExecutor() as pool:
        active = pool.submit(waiter)
        assert waits.wait(10)
        shutil.rmtree(run)  # as the last attempt at the run is deleted
        os.close(lock)
        assert active.result(10) == [RUN]


def test_a_run_that_has_just_begun_is_found_by_its_stack(tmp_path: Path) -> None:
    run = store.run_folder(tmp_path, RUN)
    run.mkdir(parents=True)
    (run / store.LOCK).write_text("prod")
    lock = store.lock(run)
    assert lock is not None
    later = threading.Timer(0.01, lambda: (run / store.LOCK).write_text("dev"))
    later.start()
    assert store.request_stop(tmp_path, "dev") == [RUN]
    later.join()
    assert store.request_stop(tmp_path, "prod") == []
    os.close(lock)
    assert store.request_stop(tmp_path, "dev") == []


def test_where_nothing_was_left_nothing_is_made(clones: tuple[Clone, Clone], url: str) -> None:
    root = clones[0].enter()
    Left(url, "other").put(part_name("lines", 1), b"one\n")
    assert store.keep(url, "half", sealed_as("gone")) == ()
    assert not root.exists() and Bucket(url).attempts(RUN) == {"other": False}


def test_what_was_sealed_here_and_not_put_up_is_put_up_as_it_is(clones: tuple[Clone, Clone], url: str) -> None:
    one, other = clones
    folder, left = measured(one.enter(), "half"), Left(url, "half")
    left.put(part_name(results_folder.MEASUREMENTS, 1), (folder / results_folder.MEASUREMENTS).read_bytes())
    left.put(part_name(results_folder.MEASUREMENTS, 2), b"came too late\n")
    before = contents(folder)
    assert store.keep(url, "half", sealed_as("gone")) == (folder,)
    assert contents(folder) == before
    elsewhere = other.enter()
    store.bring_home(url, RUN)
    assert contents(store.run_folder(elsewhere, RUN) / "half") == before


@pytest.mark.parametrize("busy", [False, True])
def test_results_come_home_where_a_killed_update_had_begun_to_fetch_them(
    clones: tuple[Clone, Clone], url: str, *, busy: bool
) -> None:
    one, other = clones
    done = measured(one.enter(), "half")
    store.put_up(url, RUN, "half")
    root = other.enter()
    begun = store.run_folder(root, RUN) / "half"
    begun.mkdir(parents=True)
    (begun / results_folder.MEASUREMENTS).write_bytes(b'{"benchm')
    begun.with_name("half.log").write_text("what it")
    with (begun.parent / store.LOCK).open("w") as lock:
        if busy:  # an update carries the run out, and brings it home itself
            fcntl.flock(lock, fcntl.LOCK_EX)
        store.bring_home(url, RUN)
    if busy:
        assert contents(begun) == {results_folder.MEASUREMENTS: b'{"benchm'}
        assert begun.with_name("half.log").read_text() == "what it"
    else:
        assert contents(begun) == contents(done)
        assert begun.with_name("half.log").read_text() == "what it printed\n"


def test_a_log_that_was_emptied_to_make_room_stays_what_it_was(clones: tuple[Clone, Clone], url: str) -> None:
    root, left = clones[0].enter(), Left(url, "half")
    left.put(part_name(LOG, 1), b"No space left on device\n")
    left.put(f"{LOG}.whole", b"")
    store.keep(url, "half", sealed_as("gone"))
    assert contents(store.run_folder(root, RUN) / "half").keys() == {results_folder.MANIFEST}
    assert (store.run_folder(root, RUN) / "half.log").read_text() == "No space left on device\n"


def test_parts_are_joined_in_order_as_they_come(clones: tuple[Clone, Clone], url: str, tmp_path: Path) -> None:
    clones[0].enter()
    system, path = object_store.open_url(url)
    fetch = Fetch(Bucket(url), RUN, "a", tmp_path / "home", tmp_path / "log")
    for number, expected in ((1, "one"), (3, "one"), (2, "onetwothree")):
        text = ("one", "two", "three")[number - 1]
        system.pipe_file(f"{path}/runs/{RUN}/a/{part_name('x/lines', number)}", text.encode())
        system.pipe_file(f"{path}/runs/{RUN}/a/{part_name(LOG, number)}", b".")
        assert not fetch.advance()
        assert (tmp_path / "home" / "x" / "lines").read_text() == expected
    assert (tmp_path / "log").read_text() == "..."


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/../../outside", "manifest.json"])
def test_no_file_leaves_its_folder(tmp_path: Path, name: str) -> None:
    # The emulator has no objects of such names; a bucket may.
    system, path = object_store.open_url("memory://bench/team")
    system.store[f"{path}/runs/{RUN}/a/{part_name(name, 1)}"] = MemoryFile(system, name, b"x")
    system.store[f"{path}/runs/{RUN}/a/{part_name('fine', 1)}"] = MemoryFile(system, name, b"x")
    Fetch(Bucket("memory://bench/team"), RUN, "a", tmp_path / "b" / "home", tmp_path / "log").advance()
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == ["fine"]
    system.store.clear()


def test_deleting_takes_this_stack_s_attempts_from_the_bucket_too(clones: tuple[Clone, Clone], url: str) -> None:
    one, other = clones
    root = one.enter()
    for name, stack in (("a", "dev"), ("b", "prod")):
        measured(root, name, stack)
        store.put_up(url, RUN, name)
    other.enter()
    assert store.delete_results(url, "dev") == 1
    assert Bucket(url).attempts(RUN) == {"b": True}


def test_a_bucket_that_is_not_there_means_due_and_one_that_fails_says_so(
    clones: tuple[Clone, Clone], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clones[0].enter()
    elsewhere = url.replace("bench/team", "nowhere/x")
    store.bring_home(elsewhere, RUN)
    assert Ledger(elsewhere, "dev").attempts() == ()
    assert not Bucket(elsewhere).exists() and Bucket(url).exists()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("bench-robot does not have storage.objects.list access")

    monkeypatch.setattr(object_store.open_url(url)[0], "find", refused)
    login = "gcloud auth" if url.startswith("gs") else "aws sso login"
    with pytest.raises(store.StoreError, match=rf"{url} can't be read: bench-robot does not .*{login}"):
        store.bring_home(url, RUN)


def test_the_two_clouds_stores_of_one_name_have_folders_of_their_own() -> None:
    assert store.folder("gs://bench/team") != store.folder("s3://bench/team")


def said_everywhere(url: str, text: str) -> None:
    with pytest.raises(store.StoreError, match=re.escape(text)):
        store.bring_home(url, RUN)
    with pytest.raises(LedgerError, match=re.escape(text)):
        Ledger(url, "dev").attempts()
    ledger, why = store.ledger_or_none(url, "dev")
    assert ledger.attempts() == () and text in why


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId"])
def test_credentials_that_aws_refuses_are_told_with_their_login(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    with s3(monkeypatch, "bench") as door:
        door.hiccup = lambda _: f"403 {code}"
        said = rf"AWS refuses the credentials: .*\({code}\).*[^.]\. Log in again: `aws sso login`"
        with pytest.raises(store.StoreError, match=said):
            store.bring_home("s3://bench/team", RUN)
        with pytest.raises(LedgerError, match=said):
            Ledger("s3://bench/team", "dev").attempts()
        with pytest.raises(BucketError, match=said):
            Bucket("s3://bench/team").exists()


def test_a_profile_that_is_not_there_is_told_with_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    said_everywhere("s3://bench/team", "(nobody) could not be found. Log in: `aws sso login`, or set AWS_PROFILE")


def test_nobody_logged_in_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    said_everywhere("gs://bench/team", "credentials")
