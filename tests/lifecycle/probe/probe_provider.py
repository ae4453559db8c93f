"""A dynamic resource for engine tests: it writes down what its provider is asked, and fails when told to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

CALLS = Path("calls.jsonl")


def called(method: str, name: object) -> None:
    with CALLS.open("a") as file:
        file.write(json.dumps([method, name]) + "\n")


class ProbeProvider(ResourceProvider):
    """Its inputs: `name`, `value`, `fixed` (a change replaces), `secret`, `fails` (how many times creating fails)."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        bad = [CheckFailure("value", "must not be 'bad'")] if news.get("value") == "bad" else []
        return CheckResult(news, bad)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        if news.get("undecided"):
            return DiffResult()
        keys = ("value", "fixed", "secret", "other")
        changed = [key for key in keys if olds.get(key) != news.get(key)]
        return DiffResult(
            changes=bool(changed),
            replaces=[key for key in changed if key == "fixed"],
            delete_before_replace=news.get("delete_first", False),
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        called("create", props["name"])
        failures = Path(f"failures-{props['name']}")
        so_far = int(failures.read_text()) if failures.exists() else 0
        if so_far < int(props.get("fails", 0)):
            failures.write_text(str(so_far + 1))
            raise RuntimeError(f"creating {props['name']} fails for the {so_far + 1}. time")
        return CreateResult(
            f"id-{props['name']}-{props.get('fixed')}",
            {**props, "echo": props.get("secret"), "seen": props.get("value")},
        )

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        called("update", news["name"])
        return UpdateResult({**news, "echo": news.get("secret"), "seen": news.get("value")})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        called("delete", f"{props['name']}-{props.get('fixed')}")


class Probe(Resource, module="gpubench", name="Probe"):
    """The resource."""

    echo: pulumi.Output[str]
    seen: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(ProbeProvider(), name, {"name": name, "echo": None, "seen": None, **props}, opts)
