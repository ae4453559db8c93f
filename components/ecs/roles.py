"""RunRoles: who a stack's machines and tasks on AWS are, and what each of them may do.

Roles, each of which AWS demands apart (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/
security-ecs-iam-role-overview.html): the machine's, by which ECS's agent joins the stack's clusters; the execution
role, by which ECS pulls images, writes logs and reads secrets before a container begins; the task role, which is all
that a container itself has; with ECS Managed Instances the one by which ECS starts machines; and, where there is no
machine of one's own that ends by itself, the one by which EventBridge Scheduler ends a task.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from catalog.repositories import EcrRepository
from components.ecr import PULL
from components.ecs import names

Statement = dict[str, Any]

# Actions on a cluster, and on a machine of one. The managed policy AmazonEC2ContainerServiceforEC2Role allows them on
# all clusters, and to make clusters, to describe tags and to write any log besides, which none here needs.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/instance_IAM_role.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
_ON_CLUSTERS = (
    "ecs:DeregisterContainerInstance",
    "ecs:RegisterContainerInstance",
    "ecs:SubmitAttachmentStateChanges",
    "ecs:SubmitContainerStateChange",
    "ecs:SubmitTaskStateChange",
)
_ON_MACHINES = ("ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState")


@dataclass(frozen=True, kw_only=True)
class RunRolesArgs:
    """``regions``: those that the ladder has machines in. ``account``: the 12 digits, where the roles are.

    ``results``: bucket and prefix (without slashes around it). ``repositories``: the images' in ECR, which are pulled.
    ``secrets``: ARNs that the execution role reads. ``cached``: whether images come by way of the stack's pull-through
    cache, which makes their repositories when they are first pulled. ``managed_instances``: whether ECS itself starts
    machines. ``clock``: whether tasks are ended by a schedule: on Fargate, and on machines of ECS's. ``hooks``: for
    each resource that is made.
    """

    stack: str
    account: pulumi.Input[str]
    regions: tuple[str, ...]
    results: tuple[str, str]
    repositories: Sequence[EcrRepository] = ()
    secrets: Sequence[pulumi.Input[str]] = ()
    cached: bool = False
    managed_instances: bool = False
    clock: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    hooks: pulumi.ResourceHookBinding | None = None


class RunRoles(pulumi.ComponentResource):
    """A stack's roles; IAM has them once for all regions.

    They are the stack's and not an attempt's: a new role is not known everywhere at once
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency), and
    a machine that is refused once has lost its minute.
    """

    instance_profile_arn: pulumi.Output[str]
    execution_role_arn: pulumi.Output[str]
    task_role_arn: pulumi.Output[str]
    infrastructure_role_arn: pulumi.Output[str] | None = None
    """By which ECS starts machines; None without ECS Managed Instances."""
    clock_role_arn: pulumi.Output[str] | None = None
    """By which EventBridge Scheduler stops tasks; None where machines end them."""

    def __init__(self, name: str, args: RunRolesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpubench:index:RunRoles", name, {}, opts)
        self._prefix, self._args = name, args
        self._tags = names.tags(args.labels)
        self._partition = names.partition(args.regions[0])
        account = pulumi.Output.from_input(args.account)

        instance = self._role(
            "instance",
            "Machines of this stack's benchmark runs: ECS's agent joins the stack's clusters.",
            pulumi.Output.from_input(_trust("ec2.amazonaws.com")),
            account.apply(self._instance),
        )
        execution = self._role(
            "execution",
            "ECS, before a benchmark's containers begin: pulls images, writes logs, reads this stack's secrets.",
            account.apply(lambda of: _trust("ecs-tasks.amazonaws.com", of)),
            pulumi.Output.all(account, *args.secrets).apply(lambda known: self._execution(known[0], known[1:])),
        )
        task = self._role(
            "task",
            "Containers of this stack's benchmark runs: create results under one prefix, and read what runs print.",
            account.apply(lambda of: _trust("ecs-tasks.amazonaws.com", of)),
            account.apply(self._task),
        )
        profile = aws.iam.InstanceProfile(
            f"{name}-profile",
            name=names.role_name(args.stack, "instance"),
            role=instance.name,
            tags=self._tags,
            opts=self._child(),
        )
        self.instance_profile_arn = profile.arn
        self.execution_role_arn, self.task_role_arn = execution.arn, task.arn
        if args.managed_instances:
            self.infrastructure_role_arn = self._infrastructure(instance)
        if args.clock:
            clock = self._role(
                "clock",
                "EventBridge Scheduler: stops tasks of this stack's benchmark runs when their time is over.",
                account.apply(lambda of: _trust("scheduler.amazonaws.com", of)),
                account.apply(self._clock),
            )
            self.clock_role_arn = clock.arn
        self.register_outputs({"taskRole": self.task_role_arn})

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, hooks=self._args.hooks)

    def _role(self, what: str, why: str, trust: pulumi.Output[str], policy: pulumi.Output[str] | None) -> aws.iam.Role:
        role = aws.iam.Role(
            f"{self._prefix}-{what}",
            name=names.role_name(self._args.stack, what),
            description=why,
            assume_role_policy=trust,
            tags=self._tags,
            opts=self._child(),
        )
        if policy is not None:
            aws.iam.RolePolicy(
                f"{self._prefix}-{what}-policy", name="gpubench", role=role.name, policy=policy, opts=self._child()
            )
        return role

    def _instance(self, account: str) -> str:
        """What ECS's agent does, on the clusters that are named as attempts' are."""
        regions = self._args.regions
        arn = f"arn:{self._partition}:ecs:{{region}}:{account}:{{kind}}/{names.PREFIX}*"
        clusters = [arn.format(region=region, kind="cluster") for region in regions]
        machines = [arn.format(region=region, kind="container-instance") + "/*" for region in regions]
        return _document(
            _allow(_ON_CLUSTERS, clusters),
            _allow(_ON_MACHINES, machines),
            _allow(["ecs:DiscoverPollEndpoint"], ["*"]),  # it has no resource
        )

    def _execution(self, account: str, secrets: Sequence[str]) -> str:
        args, partition = self._args, self._partition
        logs = self._streams(account, "*")
        cache = [
            f"arn:{partition}:ecr:{region}:{account}:repository/{names.cache_prefix(args.stack)}/*"
            for region in args.regions
        ]
        repositories = [one.arn for one in args.repositories] + (cache if args.cached else [])
        statements = [_allow(["logs:CreateLogStream", "logs:PutLogEvents"], logs)]
        if repositories:
            statements.append(_allow(["ecr:GetAuthorizationToken"], ["*"]))  # it has no resource
            statements.append(_allow(PULL, repositories))
        if args.cached:
            # https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache-iam.html
            statements.append(_allow(["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"], cache))
        if secrets:
            statements.append(_allow(["secretsmanager:GetSecretValue"], sorted(secrets)))
        return _document(*statements)

    def _streams(self, account: str, which: str) -> list[str]:
        """The ARNs of log streams of this stack."""
        group = names.log_group(self._args.stack)
        here = f"arn:{self._partition}:logs:{{}}:{account}:log-group:{group}:log-stream:{which}"
        return [here.format(region) for region in self._args.regions]

    def _task(self, account: str) -> str:
        """Create objects under the runs of one prefix; a request that could overwrite one is refused.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html

        And read what benchmarks of this stack print: the uploader takes it home, and no container sees another one's.
        """
        bucket, prefix = self._args.results
        path = "/".join(part for part in (bucket, prefix, "runs/*") if part)
        only_new = {"Null": {"s3:if-none-match": "false"}}
        printed = names.log_stream(f"{names.PREFIX}*", names.BENCHMARK, "*")
        return _document(
            _allow(["s3:PutObject"], [f"arn:{self._partition}:s3:::{path}"], only_new),
            _allow(["logs:GetLogEvents"], self._streams(account, printed)),
        )

    def _clock(self, account: str) -> str:
        arn = f"arn:{self._partition}:ecs:{{}}:{account}:task/{names.PREFIX}*"
        return _document(_allow(["ecs:StopTask"], [arn.format(region) for region in self._args.regions]))

    def _infrastructure(self, instance: aws.iam.Role) -> pulumi.Output[str]:
        """ECS starts and ends machines by a managed policy of AWS's, which is bound to what ECS itself has tagged.

        That policy passes roles of one name only, so the instance role is named beside it
        (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-instances-instance-profile.html).
        """
        passes = {"StringLike": {"iam:PassedToService": "ec2.*"}}
        role = self._role(
            "infrastructure",
            "ECS Managed Instances: starts and ends the machines of this stack's benchmark runs.",
            pulumi.Output.from_input(_trust("ecs.amazonaws.com")),
            instance.arn.apply(lambda arn: _document(_allow(["iam:PassRole"], [arn], passes))),
        )
        for whose, which, policy in (
            (role, "infrastructure", "AmazonECSInfrastructureRolePolicyForManagedInstances"),
            (instance, "instance", "AmazonECSInstanceRolePolicyForManagedInstances"),
        ):
            aws.iam.RolePolicyAttachment(
                f"{self._prefix}-{which}-managed",
                role=whose.name,
                policy_arn=f"arn:{self._partition}:iam::aws:policy/{policy}",
                opts=self._child(),
            )
        return role.arn


def _allow(actions: Iterable[str], resources: Sequence[str], condition: Mapping[str, Any] | None = None) -> Statement:
    made: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**made, "Condition": condition} if condition else made


def _trust(service: str, account: str | None = None) -> str:
    """Who may take a role: a service, for things of that account only where the service says whose they are."""
    statement: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if account is not None:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return _document(statement)


def _document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
