"""A results store in a bucket: on emulators of Cloud Storage and S3, through the same clients as in earnest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile  # type: ignore[import-untyped]

import object_store
import results_folder
from benchmark_job import bucket as bucket_module
from benchmark_job import store
from benchmark_job.bucket import LOG, Bucket, Fetch, part_name
from placement.ledger import Ledger, LedgerError
from tests.s3_server import s3
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
    with pytest.raises(store.StoreError, match=text):
        store.bring_home(url, RUN)
    with pytest.raises(LedgerError, match=text):
        Ledger(url, "dev").attempts()
    ledger, why = store.ledger_or_none(url, "dev")
    assert ledger.attempts() == () and text in why


def test_nobody_logged_in_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    said_everywhere("gs://bench/team", "credentials")
