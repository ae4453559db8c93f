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
from components.ecs.images import AMI_PARAMETER, UPLOADER_NAME
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


def _all(on: str, why: str, *actions: str) -> tuple[Need, ...]:
    return tuple(Need(action, on, why) for action in actions)


EVERY_RUN = (
    *_all(
        "cluster",
        "make the attempt's cluster, find it again, and take it away",
        "ecs:CreateCluster",
        "ecs:DescribeClusters",
        "ecs:TagResource",
        "ecs:PutClusterCapacityProviders",
        "ecs:ListContainerInstances",
        "ecs:DeleteCluster",
    ),
    *_all(
        "task-definition",
        "describe the task, and run it",
        "ecs:RegisterTaskDefinition",
        "ecs:TagResource",
        "ecs:RunTask",
    ),
    *_all("task", "see how far the run is, and end it", "ecs:DescribeTasks", "ecs:TagResource", "ecs:StopTask"),
    *_all("container-instance", "find the attempt's tasks", "ecs:ListTasks"),
    *_all("capacity-provider", "see what an attempt left", "ecs:DescribeCapacityProviders"),
    *_all("*", "take the task's description away again", "ecs:DescribeTaskDefinition", "ecs:DeregisterTaskDefinition"),
    *_all(
        "*",
        "see what an attempt left",
        "ecs:ListTaskDefinitions",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "ec2:DescribeAddresses",
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeNatGateways",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeTags",
        "ec2:DescribeVpcEndpoints",
    ),
    *_all(
        "log-group",
        "keep the log, for two weeks only",
        "logs:CreateLogGroup",
        "logs:PutRetentionPolicy",
        "logs:TagResource",
        "logs:ListTagsForResource",
        "logs:DeleteLogGroup",
    ),
    *_all("*", "see whether the log's group is there", "logs:DescribeLogGroups"),
    *_all("log-stream", "read the log", "logs:GetLogEvents"),
    *_all("role", "see whether the stack's roles are there", "iam:GetRole"),
)
"""What every run needs. Which resource an action is judged on is AWS's:
https://docs.aws.amazon.com/service-authorization/latest/reference/; of several that one action takes, the one is named
that is made or changed. What the provider reads after it has made a thing, and deletes it by, belongs to making it: an
update or a `destroy` fails without."""

ON_MACHINES = (
    *_all("instance", "make the machine, and end it", "ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances"),
    *_all("machine-image", "make the machine", "ec2:RunInstances"),
    *_all("machine-subnet", "make the machine", "ec2:RunInstances"),
    *_all("machine-security-group", "make the machine", "ec2:RunInstances"),
    *_all("volume", "make the machine's volume", "ec2:RunInstances", "ec2:CreateTags"),
    *_all(
        "network-interface",
        "make the machine's network card, and sweep it",
        "ec2:RunInstances",
        "ec2:CreateTags",
        "ec2:DeleteNetworkInterface",
    ),
    *_all(
        "launch-template",
        "describe the machine to its group",
        "ec2:CreateLaunchTemplate",
        "ec2:CreateTags",
        "ec2:RunInstances",
        "ec2:DeleteLaunchTemplate",
    ),
    *_all("*", "describe the machine to its group", "ec2:DescribeLaunchTemplateVersions"),
    *_all("image-parameter", "find the newest machine image for GPUs", "ssm:GetParameters"),
)
BY_GROUP = (
    *_all(
        "group",
        "search all zones of a region, and stop it",
        "autoscaling:CreateAutoScalingGroup",
        "autoscaling:CreateOrUpdateTags",
        "autoscaling:UpdateAutoScalingGroup",
        "autoscaling:DeleteAutoScalingGroup",
    ),
    *_all(
        "group",
        "end the machine by the clock",
        "autoscaling:PutScheduledUpdateGroupAction",
        "autoscaling:DeleteScheduledAction",
    ),
    *_all("*", "end the machine by the clock", "autoscaling:DescribeScheduledActions"),
)
"""ON_MACHINES and BY_GROUP: of rungs with a machine that the stack's own group starts; ECS Managed Instances' are
started by ECS's role."""

PROVIDER = (
    *_all(
        "capacity-provider",
        "let the cluster use the machine",
        "ecs:CreateCapacityProvider",
        "ecs:TagResource",
        "ecs:DeleteCapacityProvider",
    ),
    *_all("cluster", "take a machine off its cluster", "ecs:DeregisterContainerInstance"),
    *_all("container-instance", "see whether the machine has joined", "ecs:DescribeContainerInstances"),
)
CLOCK = (
    *_all("schedule", "end the task by the clock", "scheduler:CreateSchedule", "scheduler:DeleteSchedule"),
    *_all("*", "see what an attempt left", "scheduler:ListSchedules"),
)
"""Of tasks without a machine of the stack's own, which nothing else would end: Fargate's, and managed instances'."""

ROLES = _all(
    "role",
    "make the stack's roles, and delete them",
    "iam:CreateRole",
    "iam:TagRole",
    "iam:PutRolePolicy",
    "iam:GetRolePolicy",
    "iam:ListRolePolicies",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
    "iam:DeleteRolePolicy",
    "iam:DeleteRole",
)
PROFILE = _all(
    "instance-profile",
    "give the machine its role, and take it away",
    "iam:CreateInstanceProfile",
    "iam:TagInstanceProfile",
    "iam:GetInstanceProfile",
    "iam:AddRoleToInstanceProfile",
    "iam:RemoveRoleFromInstanceProfile",
    "iam:DeleteInstanceProfile",
)
MANAGED_ROLES = _all("role", "give roles AWS's managed policies", "iam:AttachRolePolicy", "iam:DetachRolePolicy")
"""ROLES: as long as one of the stack's roles isn't there; MANAGED_ROLES: the one by which ECS starts machines; PROFILE:
the first one, since every stack has a profile."""

NETWORK = (
    *_all(
        "vpc",
        "make the run's own network",
        "ec2:CreateVpc",
        "ec2:CreateTags",
        "ec2:ModifyVpcAttribute",
        "ec2:DescribeVpcAttribute",
        "ec2:DeleteVpc",
    ),
    *_all("subnet", "put a subnet into each zone", "ec2:CreateSubnet", "ec2:CreateTags", "ec2:DeleteSubnet"),
    *_all(
        "route-table",
        "say the way out",
        "ec2:CreateRouteTable",
        "ec2:CreateTags",
        "ec2:AssociateRouteTable",
        "ec2:DisassociateRouteTable",
        "ec2:DeleteRouteTable",
    ),
    *_all(
        "security-group",
        "let nothing in",
        "ec2:CreateSecurityGroup",
        "ec2:CreateTags",
        "ec2:AuthorizeSecurityGroupEgress",
        "ec2:RevokeSecurityGroupEgress",
        "ec2:DeleteSecurityGroup",
    ),
    *_all("vpc-endpoint", "reach S3", "ec2:CreateVpcEndpoint", "ec2:CreateTags", "ec2:DeleteVpcEndpoints"),
    *_all(
        "*",
        "see whether the network is there",
        "ec2:DescribeVpcs",
        "ec2:DescribeSubnets",
        "ec2:DescribeRouteTables",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribePrefixLists",
    ),
)
NAT = (
    *_all(
        "internet-gateway",
        "have a way out",
        "ec2:CreateInternetGateway",
        "ec2:CreateTags",
        "ec2:AttachInternetGateway",
        "ec2:DetachInternetGateway",
        "ec2:DeleteInternetGateway",
    ),
    *_all(
        "elastic-ip",
        "give the NAT gateway its address",
        "ec2:AllocateAddress",
        "ec2:CreateTags",
        "ec2:ReleaseAddress",
    ),
    *_all(
        "natgateway",
        "have a way out, and take it away again: it costs by the hour",
        "ec2:CreateNatGateway",
        "ec2:CreateTags",
        "ec2:DeleteNatGateway",
    ),
    *_all("route-table", "say the way out", "ec2:CreateRoute"),
    *_all("*", "see whether the way out is there", "ec2:DescribeAddressesAttribute", "ec2:DescribeInternetGateways"),
)
ENDPOINTS = (
    *_all("security-group", "let the machines reach the endpoints", "ec2:AuthorizeSecurityGroupIngress"),
    *_all("hosted-zone", "give the endpoints their private names", "route53:AssociateVPCWithHostedZone"),
)
CACHE_RULE = _all(
    "*",
    "make the cache of public images",
    "ecr:CreatePullThroughCacheRule",
    "ecr:DescribePullThroughCacheRules",
    "ecr:DeletePullThroughCacheRule",
)
CACHE = (
    *_all(
        "cache",
        "let the cache have the uploader's image",
        "ecr:DescribeImages",
        "ecr:CreateRepository",
        "ecr:BatchImportUpstreamImage",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    ),
    *_all("*", "log in to ECR", "ecr:GetAuthorizationToken"),
)
"""CACHE_RULE and CACHE: with ``network: endpoints`` and the uploader's own image, until the cache has that."""

BUCKET = (
    *_all("bucket", "see whose the results' bucket is, and which results are there", "s3:ListBucket"),
    *_all("bucket", "see whose the results' bucket is", "s3:GetBucketTagging"),
    *_all("object", "bring results home, and write the ledger", "s3:GetObject", "s3:PutObject"),
)
NEW_BUCKET = _all("bucket", "make the results' bucket", "s3:CreateBucket")
OWN_BUCKET = _all(
    "bucket",
    "keep the results' bucket closed, encrypted and tidy",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:GetAccelerateConfiguration",
    "s3:GetBucketAcl",
    "s3:GetBucketCORS",
    "s3:GetBucketLogging",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketRequestPayment",
    "s3:GetBucketVersioning",
    "s3:GetBucketWebsite",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetReplicationConfiguration",
)
"""NEW_BUCKET: where there is none; OWN_BUCKET: there, and where this stack made it. The provider reads all of a
bucket, whether it sets it or not."""

REGISTRY = _all(
    "repository",
    "see whose the repository of `gpubench:registry` is",
    "ecr:DescribeRepositories",
    "ecr:ListTagsForResource",
)
NEW_REGISTRY = _all("repository", "make the repository of `gpubench:registry`", "ecr:CreateRepository")
OWN_REGISTRY = _all(
    "repository",
    "keep the repository of `gpubench:registry` tidy",
    "ecr:TagResource",
    "ecr:GetLifecyclePolicy",
    "ecr:PutLifecyclePolicy",
)
"""As of the bucket."""

IMAGE = (
    *_all("image", "know the image's digest", "ecr:BatchGetImage"),
    *_all("*", "log in to ECR", "ecr:GetAuthorizationToken"),
)
"""Of an image in ECR that isn't named by its digest."""

PUSH = _all(
    "image",
    "push the benchmark's image",
    "ecr:BatchCheckLayerAvailability",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
)
"""Of one that ``benchmark.build`` builds, as long as it isn't there."""

SECRETS = _all(
    "secret",
    "hand the benchmark its secrets",
    "secretsmanager:CreateSecret",
    "secretsmanager:TagResource",
    "secretsmanager:PutSecretValue",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "secretsmanager:GetSecretValue",
    "secretsmanager:DeleteSecret",
)

SERVICE_ROLES = {
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "autoscaling.amazonaws.com": "AWSServiceRoleForAutoScaling",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
    "pullthroughcache.ecr.amazonaws.com": "AWSServiceRoleForECRPullThroughCache",
}
"""What an account has once; AWS makes one when it is first needed, if the asker may."""


@dataclass(frozen=True)
class Place:
    """Where it is asked: what the resources of `Need.on` are called there.

    ``repository``: of gpubench:registry; ``image``: of the benchmark's image. ``subnet``, ``security_group``: ids of
    those that are given in the region; empty: nobody knows yet.
    """

    account: str
    region: str
    stack: str
    bucket: str = ""
    prefix: str = ""
    repository: EcrRepository | None = None
    image: EcrRepository | None = None
    subnet: str = ""
    security_group: str = ""

    def arn(self, on: str) -> str:
        """A resource of that kind as gpubench would make it: policies may allow some names only.

        Formats: https://docs.aws.amazon.com/service-authorization/latest/reference/.
        """
        first, region, account = names.partition(self.region), self.region, self.account
        here, name = f"{region}:{account}", names.base_name("attempt")
        group, profile = names.log_group(self.stack), names.role_name(self.stack, "instance")
        subnet, closed = self.subnet or f"subnet-{_NOBODYS}", self.security_group or f"sg-{_NOBODYS}"
        special = {
            "*": "*",
            "cluster": f"arn:{first}:ecs:{here}:cluster/{name}",
            "task": f"arn:{first}:ecs:{here}:task/{name}/{'0' * 32}",
            "container-instance": f"arn:{first}:ecs:{here}:container-instance/{name}/{'0' * 32}",
            "task-definition": f"arn:{first}:ecs:{here}:task-definition/{name}:1",
            "capacity-provider": f"arn:{first}:ecs:{here}:capacity-provider/{name}",
            "log-group": f"arn:{first}:logs:{here}:log-group:{group}",
            "log-stream": f"arn:{first}:logs:{here}:log-group:{group}:log-stream:{name}",
            "group": f"arn:{first}:autoscaling:{here}:autoScalingGroup:{_UUID}:autoScalingGroupName/{name}",
            "machine-image": f"arn:{first}:ec2:{region}::image/ami-{_NOBODYS}",
            "machine-subnet": f"arn:{first}:ec2:{here}:subnet/{subnet}",
            "machine-security-group": f"arn:{first}:ec2:{here}:security-group/{closed}",
            "hosted-zone": f"arn:{first}:route53:::hostedzone/Z{_NOBODYS}",
            "schedule": f"arn:{first}:scheduler:{here}:schedule/default/{name}",
            "image-parameter": f"arn:{first}:ssm:{region}::parameter{AMI_PARAMETER}",
            "role": self.role("task"),
            "instance-profile": f"arn:{first}:iam::{account}:instance-profile/{profile}",
            "bucket": f"arn:{first}:s3:::{self.bucket}",
            "object": f"arn:{first}:s3:::{'/'.join(part for part in (self.bucket, self.prefix, 'object') if part)}",
            "repository": self.repository.arn if self.repository else "*",
            "image": self.image.arn if self.image else "*",
            "cache": EcrRepository(account, region, f"{names.cache_prefix(self.stack)}/{UPLOADER_NAME}").arn,
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
    "volume": "vol",
    "network-interface": "eni",
    "elastic-ip": "eipalloc",
    "internet-gateway": "igw",
    "natgateway": "nat",
}

_INLINE = {"user": 2048, "role": 10240}
"""Characters without white space that all policies in a user or a role may have; one apart has 6144:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""

_ROLE_OF = re.compile(r"arn:[^:]+:sts::\d+:assumed-role/(?P<role>[^/]+)/.*")
_POLICY_OF = re.compile(r"arn:[^:]+:iam::\d+:(?P<kind>user|role)/(?:.*/)?(?P<name>[^/]+)")


def role_of(caller: Caller) -> str | None:
    """The role that an assumed role's caller has; None: it is none."""
    found = _ROLE_OF.fullmatch(caller.arn)
    return found["role"] if found else None


def can_be_simulated(arn: str) -> bool:
    """Whether an ARN names what has policies: the root has none, and a federated user none of its own."""
    return _POLICY_OF.fullmatch(arn) is not None


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
    lacks = dict.fromkeys(need.action for need, _ in missing)
    found = [Grant(who, action, granted=False, mend=mend) for action in lacks]
    granted = {need.action for need, _, allowed in judged if allowed} - lacks.keys()
    if granted:
        found.append(Grant(who, f"{len(granted)} other actions" if found else f"{len(granted)} actions", granted=True))
    return found


def of_pass_role(who: str, arn: str, roles: Sequence[str], said: Simulated) -> list[Grant]:
    """Whether the deployer may hand the stack's roles to the services. A dry run doesn't see that."""
    answers = [(role, said.of(HAND_OVER, role)) for role in roles]
    missing = [role for role, allowed in answers if allowed is False]
    if missing:
        mend = allow(arn, [(HAND_OVER, role) for role in missing], said) + "  # to hand the stack's roles to AWS"
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
    if len("".join(document.split())) > _INLINE[kind]:
        words = ["aws", "iam", "create-policy", "--policy-name", policy, "--policy-document", document]
        own = f"{arn.rpartition(f':{kind}/')[0]}:policy/{policy}"
        to = ["aws", "iam", f"attach-{kind}-policy", f"--{kind}-name", name, "--policy-arn", own]
        return f"{shlex.join(words)} && {shlex.join(to)}"
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
