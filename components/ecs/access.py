"""Who must be allowed what, so that a run can start on ECS: as far as it can be told beforehand."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from catalog.repositories import EcrRepository
from components.ecs import names
from components.ecs.api import Caller, Decision
from components.ecs.images import AMI_PARAMETER
from placement.verdicts import Grant

HAND_OVER = "iam:PassRole"
MAKE_SERVICE_ROLE = "iam:CreateServiceLinkedRole"

_NOBODYS = "0" * 17  # of an id that EC2 gives out by itself


@dataclass(frozen=True)
class Need:
    """What the deployer has to be allowed on a resource (see `Place.arn`), and what for."""

    action: str
    on: str
    why: str


EVERY_RUN = (
    Need("ecs:CreateCluster", "*", "make the attempt's cluster"),
    Need("ecs:DeleteCluster", "cluster", "take it away again"),
    Need("ecs:RegisterTaskDefinition", "*", "describe the task"),
    Need("ecs:DeregisterTaskDefinition", "*", "sweep what an attempt left"),
    Need("ecs:RunTask", "task-definition", "start the run"),
    Need("ecs:DescribeTasks", "task", "see how far the run is"),
    Need("ecs:StopTask", "task", "end it"),
    Need("ecs:TagResource", "cluster", "find again what an attempt left"),
    Need("logs:CreateLogGroup", "log-group", "keep the log"),
    Need("logs:PutRetentionPolicy", "log-group", "keep it for two weeks only"),
    Need("logs:GetLogEvents", "log-stream", "read it"),
)
"""What every run needs: https://docs.aws.amazon.com/service-authorization/latest/reference/ lists what each action is
allowed on; where it is nothing but ``*``, that is what is asked."""

ON_MACHINES = (
    Need("ec2:RunInstances", "instance", "make the machine"),
    Need("ec2:TerminateInstances", "instance", "end it"),
    Need("ec2:DescribeInstances", "*", "see whether it is there"),
    Need("ec2:CreateLaunchTemplate", "launch-template", "describe the machine to its group"),
    Need("ec2:DeleteLaunchTemplate", "launch-template", "sweep what an attempt left"),
    Need("ec2:CreateTags", "launch-template", "find again what an attempt left"),
    Need("ssm:GetParameters", "image-parameter", "find the newest machine image for GPUs"),
)
BY_GROUP = (
    Need("autoscaling:CreateAutoScalingGroup", "group", "search all zones of a region"),
    Need("autoscaling:UpdateAutoScalingGroup", "group", "stop asking for capacity"),
    Need("autoscaling:PutScheduledUpdateGroupAction", "group", "end the machine by the clock"),
    Need("autoscaling:DeleteAutoScalingGroup", "group", "sweep what an attempt left"),
    Need("autoscaling:DescribeAutoScalingGroups", "*", "see what it has"),
    Need("autoscaling:DescribeScalingActivities", "*", "see why it has none"),
)
PROVIDER = (
    Need("ecs:CreateCapacityProvider", "*", "let the cluster use the machine"),
    Need("ecs:DeleteCapacityProvider", "capacity-provider", "sweep what an attempt left"),
    Need("ecs:PutClusterCapacityProviders", "cluster", "let the cluster use the machine"),
    Need("ecs:ListContainerInstances", "cluster", "see whether the machine has joined"),
)
ROLES = (
    Need("iam:CreateRole", "role", "make the stack's roles"),
    Need("iam:PutRolePolicy", "role", "say what they may do"),
    Need("iam:TagRole", "role", "find them again"),
)
PROFILE = (
    Need("iam:CreateInstanceProfile", "instance-profile", "give the machine its role"),
    Need("iam:AddRoleToInstanceProfile", "instance-profile", "give the machine its role"),
)
"""ROLES and PROFILE: what is needed as long as the stack's roles aren't there."""

NETWORK = (
    Need("ec2:CreateVpc", "vpc", "make the run's own network"),
    Need("ec2:CreateTags", "vpc", "find again what an attempt left"),
    Need("ec2:CreateSecurityGroup", "security-group", "let nothing in"),
    Need("ec2:CreateSubnet", "subnet", "put a subnet into each zone"),
    Need("ec2:CreateRouteTable", "route-table", "say the way out"),
    Need("ec2:CreateRoute", "route-table", "say the way out"),
    Need("ec2:CreateVpcEndpoint", "vpc-endpoint", "reach S3"),
    Need("ec2:DeleteVpc", "vpc", "take it away again"),
)
NAT = (
    Need("ec2:AllocateAddress", "elastic-ip", "give the NAT gateway its address"),
    Need("ec2:CreateInternetGateway", "internet-gateway", "have a way out"),
    Need("ec2:CreateNatGateway", "natgateway", "have a way out"),
    Need("ec2:DeleteNatGateway", "natgateway", "take it away again: it costs by the hour"),
)
BUCKET = (
    Need("s3:CreateBucket", "bucket", "make the results' bucket"),
    Need("s3:ListBucket", "bucket", "see which results are there"),
    Need("s3:GetObject", "object", "bring results home"),
    Need("s3:PutObject", "object", "write the ledger"),
)
REGISTRY = (
    Need("ecr:CreateRepository", "repository", "make the repository of `gpubench:registry`"),
    Need("ecr:PutImage", "repository", "push the benchmark's image"),
)
SECRETS = (Need("secretsmanager:CreateSecret", "secret", "hand the benchmark its secrets"),)

SERVICE_ROLES = {
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
}
"""What an account has once; AWS makes one when it is first needed, if the asker may."""


@dataclass(frozen=True)
class Place:
    """Where it is asked: what the resources of `Need.on` are called there. ``repository``: of gpubench:registry."""

    account: str
    region: str
    stack: str
    bucket: str = ""
    prefix: str = ""
    repository: EcrRepository | None = None

    def arn(self, on: str) -> str:
        """A resource of that kind as gpubench would make it: policies may allow some names only.

        Formats: https://docs.aws.amazon.com/service-authorization/latest/reference/.
        """
        first, region, account = names.partition(self.region), self.region, self.account
        here, name = f"{region}:{account}", names.base_name("attempt")
        group, profile = names.log_group(self.stack), names.role_name(self.stack, "instance")
        special = {
            "*": "*",
            "cluster": f"arn:{first}:ecs:{here}:cluster/{name}",
            "task": f"arn:{first}:ecs:{here}:task/{name}/{'0' * 32}",
            "task-definition": f"arn:{first}:ecs:{here}:task-definition/{name}:1",
            "capacity-provider": f"arn:{first}:ecs:{here}:capacity-provider/{name}",
            "log-group": f"arn:{first}:logs:{here}:log-group:{group}",
            "log-stream": f"arn:{first}:logs:{here}:log-group:{group}:log-stream:{name}",
            "group": f"arn:{first}:autoscaling:{here}:autoScalingGroup:{_UUID}:autoScalingGroupName/{name}",
            "image-parameter": f"arn:{first}:ssm:{region}::parameter{AMI_PARAMETER}",
            "role": self.role("task"),
            "instance-profile": f"arn:{first}:iam::{account}:instance-profile/{profile}",
            "bucket": f"arn:{first}:s3:::{self.bucket}",
            "object": f"arn:{first}:s3:::{'/'.join(part for part in (self.bucket, self.prefix, 'object') if part)}",
            "repository": self.repository.arn if self.repository else "*",
            "secret": f"arn:{first}:secretsmanager:{here}:secret:gpubench/{self.stack}/name-{'0' * 6}",
        }
        return special.get(on) or f"arn:{first}:ec2:{here}:{on}/{_SHORT.get(on, on)}-{_NOBODYS}"

    def role(self, what: str) -> str:
        """The ARN of one of the stack's roles."""
        return f"arn:{names.partition(self.region)}:iam::{self.account}:role/{names.role_name(self.stack, what)}"

    def service_role(self, service: str) -> str:
        """The ARN of a service-linked role."""
        first = names.partition(self.region)
        return f"arn:{first}:iam::{self.account}:role/aws-service-role/{service}/{SERVICE_ROLES[service]}"


_UUID = "00000000-0000-0000-0000-000000000000"
_SHORT = {
    "instance": "i",
    "launch-template": "lt",
    "security-group": "sg",
    "route-table": "rtb",
    "vpc-endpoint": "vpce",
    "elastic-ip": "eipalloc",
    "internet-gateway": "igw",
    "natgateway": "nat",
}

_ROLE_OF = re.compile(r"arn:[^:]+:sts::\d+:assumed-role/(?P<role>[^/]+)/.*")
_POLICY_OF = re.compile(r"arn:[^:]+:iam::\d+:(?P<kind>user|role)/(?:.*/)?(?P<name>[^/]+)")


def role_of(caller: Caller) -> str | None:
    """The role that an assumed role's caller has; None: it is none."""
    found = _ROLE_OF.fullmatch(caller.arn)
    return found["role"] if found else None


def can_be_simulated(caller: Caller) -> bool:
    """Whether the caller's own ARN names what has policies: the root has none, and a federated user none of its own."""
    return _POLICY_OF.fullmatch(caller.arn) is not None


def is_root(caller: Caller) -> bool:
    """Whether it is the account itself, which may do all."""
    return caller.arn.endswith(":root")


@dataclass(frozen=True)
class Simulated:
    """What the simulator said: each need's decision, where it decided."""

    decisions: Mapping[tuple[str, str], Decision] = field(default_factory=dict)

    def of(self, action: str, arn: str) -> bool | None:
        """Whether it is allowed; None: nobody can say."""
        found = self.decisions.get((action, arn))
        if found is None:
            return None
        if not found.denied:
            return True
        # A condition on something that is known only when it is really done: that denial isn't one.
        return None if found.missing and found.denied != "explicitDeny" else False


def of_needs(who: str, arn: str, needs: Iterable[Need], place: Place, said: Simulated) -> list[Grant]:
    """One grant a missing action, with the command that allows all that is missing, and one for all that aren't.

    ``who``: as a person knows the caller; ``arn``: of the user or role that has the policies.
    """
    judged = [(need, place.arn(need.on), said.of(need.action, place.arn(need.on))) for need in needs]
    missing = [(need, on) for need, on, allowed in judged if allowed is False]
    mend = allow(arn, [(need.action, on) for need, on in missing], said)
    if missing:
        mend += f"  # to {missing[0][0].why}"
    found = [Grant(who, need.action, granted=False, mend=mend) for need, _ in missing]
    granted = {need.action for need, _, allowed in judged if allowed}
    if granted:
        found.append(Grant(who, f"{len(granted)} other actions" if found else f"{len(granted)} actions", granted=True))
    return found


def of_pass_role(who: str, arn: str, roles: Sequence[str], said: Simulated) -> list[Grant]:
    """Whether the deployer may hand the stack's roles to ECS and EC2. A dry run doesn't see that."""
    answers = [(role, said.of(HAND_OVER, role)) for role in roles]
    missing = [role for role, allowed in answers if allowed is False]
    if missing:
        mend = (
            allow(arn, [(HAND_OVER, role) for role in missing], said) + "  # to hand the stack's roles to ECS and EC2"
        )
        return [Grant(who, f"{HAND_OVER} on {', '.join(missing)}", granted=False, mend=mend)]
    return [Grant(who, HAND_OVER, granted=True)] if any(allowed for _, allowed in answers) else []


def of_service_role(who: str, service: str, place: Place, said: Simulated) -> list[Grant]:
    """Of a service-linked role that isn't there: who may make it has it made by AWS when it is first needed."""
    allowed = said.of(MAKE_SERVICE_ROLE, place.service_role(service))
    if allowed is None:
        return []
    mend = f"aws iam create-service-linked-role --aws-service-name {service}  # once for the account, by who may"
    what = f"{MAKE_SERVICE_ROLE} (the account has no {SERVICE_ROLES[service]} yet)"
    return [Grant(who, what, granted=allowed, mend="" if allowed else mend)]


def of_dry_run(who: str, arn: str, place: Place, *, allowed: bool) -> Grant:
    """What EC2 itself said when it was asked to make a machine, and not to."""
    need = ON_MACHINES[0]
    mend = "" if allowed else allow(arn, [(need.action, place.arn(need.on))], Simulated()) + f"  # to {need.why}"
    return Grant(who, need.action, granted=allowed, mend=mend)


def of_account(caller: Caller, account: str) -> Grant:
    """Credentials of another account than the ladder's."""
    mend = (
        f"aws sts get-caller-identity --query Account --output text  # must print {account}: set AWS_PROFILE to a "
        f"profile of it (`aws configure list-profiles`), or write account: '{caller.account}' in gpubench:ladder"
    )
    return Grant(
        caller.arn, f"credentials of account {account} (they are of {caller.account})", granted=False, mend=mend
    )


def of_repository(who: str, arn: str, repository: EcrRepository, *, allowed: bool) -> Grant:
    """Whether the deployer may look at the image's repository."""
    action = "ecr:DescribeImages"
    mend = "" if allowed else allow(arn, [(action, repository.arn)], Simulated()) + "  # to know the image's digest"
    return Grant(who, f"{action} on {repository.name}", granted=allowed, mend=mend)


def of_foreign_repository(role: str, account: str, repository: EcrRepository, policy: str) -> list[Grant]:
    """Whether another account's repository lets this one's execution role pull.

    ``policy``: the repository's own, JSON. Without a statement that names the account, its root, the role or everybody,
    ECR refuses whatever the role itself may:
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html.
    """
    what = f"ecr:BatchGetImage on {repository.name} of account {repository.account}"
    named = any(
        statement.get("Effect") == "Allow" and _names(statement.get("Principal"), role, account)
        for statement in _statements(policy)
    )
    if named:
        return [Grant(role, what, granted=True)]
    statement = {
        "Sid": f"Pull{account}",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{names.partition(repository.region)}:iam::{account}:root"},
        "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    }
    document = {"Version": "2012-10-17", "Statement": [*_statements(policy), statement]}
    words = ["aws", "ecr", "set-repository-policy", "--registry-id", repository.account, "--repository-name"]
    words += [repository.name, "--region", repository.region, "--policy-text", json.dumps(document)]
    return [Grant(role, what, granted=False, mend=f"{shlex.join(words)}  # by account {repository.account}")]


def allow(arn: str, missing: Sequence[tuple[str, str]], said: Simulated) -> str:
    """The command that allows these actions, each on its resource; empty for none.

    What a policy denies explicitly, another one can't allow: then the command shows which policy it is.
    """
    if not missing:
        return ""
    for action, on in missing:
        if (decision := said.decisions.get((action, on))) and decision.denied == "explicitDeny":
            words = ["aws", "iam", "simulate-principal-policy", "--policy-source-arn", arn, "--action-names", action]
            words += ["--resource-arns", on, "--query", "EvaluationResults[].MatchedStatements"]
            return f"{shlex.join(words)}  # a policy denies it explicitly"
    anywhere = sorted({action for action, _ in missing if action != HAND_OVER})
    roles = [on for action, on in missing if action == HAND_OVER]
    statements = []
    if anywhere:
        statements.append({"Effect": "Allow", "Action": anywhere, "Resource": "*"})
    if roles:
        statements.append({"Effect": "Allow", "Action": HAND_OVER, "Resource": roles})
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    found = _POLICY_OF.fullmatch(arn)
    kind, name = (found["kind"], found["name"]) if found else ("role", "ROLE")
    if name.startswith("AWSReservedSSO_"):
        # IAM Identity Center owns such a role: its policies are the permission set's.
        words = ["aws", "sso-admin", "put-inline-policy-to-permission-set", "--instance-arn", "INSTANCE_ARN"]
        words += ["--permission-set-arn", "PERMISSION_SET_ARN", "--inline-policy", document]
        return shlex.join(words)
    # A policy of its own each time: one of the same name would be replaced, with all that it allowed before.
    policy = f"gpubench-{hashlib.sha256(document.encode()).hexdigest()[:8]}"
    words = ["aws", "iam", f"put-{kind}-policy", f"--{kind}-name", name, "--policy-name", policy]
    return shlex.join([*words, "--policy-document", document])


def _statements(policy: str) -> list[dict[str, object]]:
    try:
        said = json.loads(policy or "{}").get("Statement", [])
    except (ValueError, AttributeError):
        return []
    listed = said if isinstance(said, list) else [said]
    return [one for one in listed if isinstance(one, dict)]


def _names(principal: object, role: str, account: str) -> bool:
    if isinstance(principal, dict):
        principal = principal.get("AWS")
    listed = principal if isinstance(principal, list) else [principal]
    return any(one in ("*", account, role) or str(one).endswith(f":iam::{account}:root") for one in listed)
