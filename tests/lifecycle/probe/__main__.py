"""The probe program: declares what `declare.json` lists, with the options that it names."""

import json
from pathlib import Path
from typing import Any

import pulumi
from probe_provider import Probe, called

declared = json.loads(Path("declare.json").read_text())


def resource_hook(name: str) -> pulumi.ResourceHook:
    def hook(args: pulumi.ResourceHookArgs) -> None:
        called(f"hook {name}", args.name)
        if name in declared.get("failing_hooks", []):
            raise RuntimeError(f"hook {name} says no")

    return pulumi.ResourceHook(name, hook)


def error_hook(args: pulumi.ErrorHookArgs) -> bool:
    called(f"error hook {args.failed_operation}", len(args.errors))
    return bool(len(args.errors) <= declared["retries"])


MOMENTS = ("before_create", "after_create", "before_update", "after_update", "before_delete", "after_delete")


def options(
    name: str, given: dict[str, Any], made: dict[str, Probe], parent: pulumi.Resource
) -> pulumi.ResourceOptions:
    hooks = None
    if given.pop("hooks", False):
        hooks = pulumi.ResourceHookBinding()
        for moment in MOMENTS:
            setattr(hooks, moment, [resource_hook(f"{moment} {name}")])
    if given.pop("error_hook", False):
        hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(f"retry {name}", error_hook)])
    depends_on = [made[other] for other in given.pop("depends_on", [])]
    return pulumi.ResourceOptions(parent=parent, hooks=hooks, depends_on=depends_on, **given)


parent = pulumi.ComponentResource("gpubench:index:Parent", "parent")
made: dict[str, Probe] = {}
for name, resource in declared["resources"].items():
    props = dict(resource.get("props", {}))
    if "secret" in props:
        props["secret"] = pulumi.Output.secret(props["secret"])
    if "from" in props:
        props["value"] = made[props.pop("from")].seen
    made[name] = Probe(name, props, options(name, dict(resource.get("options", {})), made, parent))
    pulumi.export(name, made[name].seen)
    if "secret" in props:
        pulumi.export(f"{name}-echo", made[name].echo)
if declared.get("raise"):
    raise RuntimeError("the program itself fails")
