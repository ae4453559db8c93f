"""RunIdentity: the account that a stack's machines on Google Cloud run as, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components.gce import names


@dataclass(frozen=True, kw_only=True)
class RunIdentityArgs:
    """``secrets``: by environment variable, what only the run may read; give each as a Pulumi secret.

    ``end_role``: an existing role with the permission compute.instances.delete, where the deployer may not make one;
    None: the stack has one of its own. ``hooks``: for each resource that is made.
    """

    project: str
    stack: str
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    end_role: pulumi.Input[str] | None = None
    hooks: pulumi.ResourceHookBinding | None = None


class RunIdentity(pulumi.ComponentResource):
    """A service account of the stack's own, which may write logs and read its secrets, and nothing else by itself.

    What else it needs is granted where it belongs: reading an image on the image's repository (ImageRegistry), creating
    results on their bucket (ResultsStore), deleting an attempt's machine on that machine's name (GpuVm).

    The account is the stack's and not an attempt's: a grant takes minutes until it holds everywhere
    (https://cloud.google.com/iam/docs/access-change-propagation), and an account that is deleted and made again under
    its old name is another one, which the old grants don't mean. So it is declared for as long as a stack's ladder has
    machines of Google's, whether a run is due or not.
    """

    email: pulumi.Output[str]
    member: pulumi.Output[str]
    """The account as grants name it."""
    end_role: pulumi.Input[str]
    """The role that GpuVm gives it for its machine."""
    secrets: pulumi.Output[Mapping[str, str]]
    """By environment variable, the secret's version: ``projects/P/secrets/S/versions/V``."""

    def __init__(self, name: str, args: RunIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpubench:index:RunIdentity", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self, hooks=args.hooks)
        account = gcp.serviceaccount.Account(
            f"{name}-account",
            project=args.project,
            account_id=names.service_account_id(args.stack, args.project),
            display_name=f"gpubench {args.stack}"[:100],
            description="Benchmark runs of this stack: writes logs, creates results, deletes its own machine.",
            opts=child,
        )
        self.email = account.email
        self.member = pulumi.Output.concat("serviceAccount:", account.email)
        gcp.projects.IAMMember(
            f"{name}-logs",
            project=args.project,
            role="roles/logging.logWriter",
            member=self.member,
            opts=child,
        )
        self.end_role = args.end_role if args.end_role is not None else _end_role(name, args, child)
        versions = {variable: self._secret(name, args, variable, value) for variable, value in args.secrets.items()}
        self.secrets = pulumi.Output.all(**versions).apply(dict)
        self.register_outputs({"email": self.email, "secrets": self.secrets})

    def _secret(self, name: str, args: RunIdentityArgs, variable: str, value: pulumi.Input[str]) -> pulumi.Output[str]:
        """One secret with its one version, which the account alone is granted."""
        child = pulumi.ResourceOptions(parent=self, hooks=args.hooks)
        label = f"{name}-secret-{variable.lower().replace('_', '-')}"
        secret = gcp.secretmanager.Secret(
            label,
            project=args.project,
            secret_id=f"{names.service_account_id(args.stack, args.project)}-{variable}",
            replication={"auto": {}},
            labels=names.labels(args.labels),
            opts=child,
        )
        version = gcp.secretmanager.SecretVersion(
            f"{label}-value",
            secret=secret.id,
            secret_data=value,  # the SDK makes a secret of it, if it isn't one
            opts=child,
        )
        reader = gcp.secretmanager.SecretIamMember(
            f"{label}-reader",
            project=args.project,
            secret_id=secret.secret_id,
            role="roles/secretmanager.secretAccessor",
            member=self.member,
            opts=child,
        )
        # Known only when it can be read: a machine that is given the version's name may ask for it at once.
        return pulumi.Output.all(version.name, reader.id).apply(lambda done: str(done[0]))


def _end_role(name: str, args: RunIdentityArgs, child: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A role with the one permission that a machine needs to delete itself.

    The smallest role that comes with Google Cloud and has it (roles/compute.instanceAdmin.v1) may also give the machine
    another account or another script.
    """
    role = gcp.projects.IAMCustomRole(
        f"{name}-end",
        project=args.project,
        role_id=f"gpubench_{names.short_hash(args.stack, args.project)}",
        title="gpubench: delete the own machine",
        description=f"For benchmark machines of the stack {args.stack}, granted for one machine's name at a time.",
        permissions=["compute.instances.delete"],
        stage="GA",
        opts=child,
    )
    return role.role_id.apply(lambda role_id: f"projects/{args.project}/roles/{role_id}")
