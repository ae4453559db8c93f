"""What is S3's own about a results store: who is logged in, where the bucket is, and that nothing is overwritten."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pulumi
import pytest

import object_store
from benchmark_job import store
from benchmark_job.bucket import Bucket, BucketError
from engine import hands, program
from engine.base import Engine, Result
from placement.ledger import LedgerError, begin_on
from settings import Settings
from tests.s3_server import DENIED, REGION, Door, Request, s3
from tests.test_store import RUN, measured, said_everywhere

URL = "s3://bench/team"
ACCOUNT = "123456789012"
NOBODY = "no credentials for AWS: Unable to locate credentials. Log in: `aws sso login`"


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Door]:
    monkeypatch.setattr(store, "PROJECT_ROOT", tmp_path)
    with s3(monkeypatch, "bench") as door:
        yield door


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_nobody_logged_in_is_said_at_once(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # The metadata service of a machine that isn't one of EC2's: nothing answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(BucketError, match=re.escape(NOBODY)):
            Bucket(URL).attempts(RUN)
        assert time.monotonic() - began < 8  # one try at a second or two; a request would make several
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    said_everywhere(URL, NOBODY)


def test_a_profile_that_is_not_there_is_said(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    with pytest.raises(BucketError, match=r"profile \(nobodys\) could not be found.*aws sts get-caller-identity"):
        Bucket(URL).attempts(RUN)


def test_an_object_is_made_once_and_the_store_itself_refuses_to_overwrite_it(door: Door) -> None:
    system, root = object_store.open_url(URL)
    object_store.create(system, f"{root}/x", b"first")
    answers: list[str] = []
    client = door.client()
    client.meta.events.register("after-call.s3.PutObject", lambda parsed, **_: answers.append(parsed["Error"]["Code"]))
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="bench", Key="team/x", Body=b"second", IfNoneMatch="*")
    assert answers == ["PreconditionFailed"]
    object_store.create(system, f"{root}/x", b"second")
    assert door.objects("bench") == {"team/x": b"first"}


def test_all_that_is_put_up_is_put_up_on_that_condition(door: Door, tmp_path: Path) -> None:
    folder = measured(store.folder(URL), "20261121T100000.000Z-aaaa")
    store.put_up(URL, RUN, folder.name)
    puts = [one for one in door.requests if one.method == "PUT"]
    assert len(puts) == 5 and puts[-1].key.endswith("manifest.json")
    assert {one.headers.get("if-none-match") for one in puts} == {"*"}
    assert {one.method for one in door.requests} <= {"PUT", "GET", "HEAD"}


def test_another_request_under_way_is_waited_for(door: Door) -> None:
    times = iter(["409 ConditionalRequestConflict", "409 ConditionalRequestConflict"])
    door.hiccup = lambda request: next(times, "") if request.method == "PUT" else ""
    system, root = object_store.open_url(URL)
    object_store.create(system, f"{root}/x", b"first")
    assert door.objects("bench") == {"team/x": b"first"}
    door.hiccup = lambda request: "403 AccessDenied" if request.method == "PUT" else ""
    door.requests.clear()
    with pytest.raises(PermissionError):
        object_store.create(system, f"{root}/y", b"first")
    assert len([one for one in door.requests if one.method == "PUT"]) == 1


def test_the_region_of_the_bucket_is_found(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert Bucket(URL).attempts(RUN) == {}
    listed = [one for one in door.requests if "list-type" in one.query]
    assert listed and all(f"/{REGION}/s3/" in one.headers["authorization"] for one in listed)


def test_a_refusal_is_said_with_awss_own_code(door: Door) -> None:
    door.hiccup = lambda _: "403 AccessDenied"
    with pytest.raises(BucketError) as caught:
        Bucket(URL).attempts(RUN)
    text = str(caught.value)
    assert f"An error occurred (AccessDenied) when calling the ListObjectsV2 operation: {DENIED}" in text
    assert "(`aws sso login`, or set AWS_PROFILE; `aws sts get-caller-identity` says who you are)" in text


@pytest.mark.parametrize("answer", ["403 AccessDenied", "500 InternalError"])
def test_whether_the_bucket_is_there_is_not_guessed(door: Door, answer: str) -> None:
    def hiccup(request: Request) -> str:
        return answer if request.key == "bench" else ""

    assert Bucket(URL).exists() and not Bucket("s3://nowhere/x").exists()
    door.hiccup = hiccup
    with pytest.raises(BucketError, match="s3://bench/team can't be looked for"):
        Bucket(URL).exists()


class Updates:
    """An engine whose update makes the bucket, as the stack's standing does."""

    def __init__(self, door: Door, bucket: str) -> None:
        self.door, self.bucket, self.released = door, bucket, list[bool]()

    def up(self) -> Result:
        self.released.append(os.environ.get(program.RELEASE_VARIABLE) == "1")
        where = {"LocationConstraint": REGION}
        self.door.client().create_bucket(Bucket=self.bucket, CreateBucketConfiguration=where)
        return Result()


def on_ecs(url: str) -> Settings:
    values = {
        "gpubench:results": url,
        "gpubench:ladder": json.dumps([{"surface": "ecs", "account": ACCOUNT, "tier": "t4", "region": REGION}]),
        "gpubench:benchmark": json.dumps({"image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/b@sha256:{'ab' * 32}"}),
    }
    return Settings.from_config(values, set(), source="Pulumi.test.yaml")


def test_the_first_update_makes_the_bucket_before_an_attempt_is_written_down(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = on_ecs("s3://new/team")
    rung, warned = settings.ladder[0], list[str]()
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    ledger = store.ledger(settings.results.url, "test")
    attempt = begin_on(rung, datetime.now(UTC), "test", "job")
    assert ledger.attempts() == (), "nothing was tried yet"
    with pytest.raises(LedgerError):
        ledger.begin(attempt)
    # A plain `pulumi up` asks for no capacity yet, and says so; `gpubench up` makes such an update first.
    assert program.releases(settings, rung)
    assert "s3://new/team" in warned[0] and "Run `pulumi up` again" in warned[0]
    engine, said = Updates(door, "new"), list[str]()
    for _ in range(2):
        hands.store_in_place(settings, cast("Engine", engine), said.append)
    assert engine.released == [True]
    assert said == ["the stack is brought up without capacity first: the bucket of s3://new/team isn't there yet"]
    assert not program.releases(settings, rung)
    ledger.begin(attempt)
    assert [one.id for one in ledger.attempts()] == [attempt.id]


@pytest.mark.usefixtures("nobody")
def test_a_bucket_that_nobody_can_ask_for_counts_as_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview of a pull request has no credentials, and shows the whole."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = on_ecs("s3://new/team")
    assert not program.releases(settings, settings.ladder[0])
