"""The capacity of surface `local`: the machine that is there anyway."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, kw_only=True)
class LocalMachineArgs:
    """`rung`: the id of the rung that this machine stands for. `tier`: the tier that the rung asks for."""

    rung: pulumi.Input[str]
    tier: pulumi.Input[str]


class LocalMachine(pulumi.ComponentResource):
    """This machine. It has no resources below it: nothing is made, and nothing is left behind."""

    rung: pulumi.Output[str]
    tier: pulumi.Output[str]

    def __init__(self, name: str, args: LocalMachineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpubench:index:LocalMachine", name, {}, opts)
        self.rung = pulumi.Output.from_input(args.rung)
        self.tier = pulumi.Output.from_input(args.tier)
        self.register_outputs({"rung": self.rung, "tier": self.tier})
