"""What is known of rungs on ECS before anything is tried, and what mends what is missing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from catalog import Purchase, Surface
from catalog.repositories import ecr_repository_of
from components.ecs import access
from components.ecs.names import role_name
from components.ecs.preflight import EcsPreflight
from placement.verdicts import CannotSay, Grant, Grants, Kind, Odds, Prices, Question, Said, Verdict, ask
from settings import Settings
from tests.ecs.aws_server import Asked, AwsServer, Refusal
from tests.ecs.conftest import Asking

ACCOUNT, OTHERS, R = "123456789012", "210987654321", "us-east-1"
USER = f"arn:aws:iam::{ACCOUNT}:user/team/ann"
IMAGE = f"{ACCOUNT}.dkr.ecr.{R}.amazonaws.com/bench@sha256:{'0' * 64}"
T0 = datetime(2026, 11, 21, 14, 26, tzinfo=UTC)
STACK = "prod"
ALL_ROLES = ("execution", "task", "instance", "infrastructure", "clock")


def settings(*entries: Mapping[str, Any], **more: Any) -> Settings:
    """A stack's, of these entries of the ladder, each completed."""
    given = entries or ({"tier": "a10g"},)
    ladder = [{"surface": "ecs", "account": ACCOUNT, "region": R, **one} for one in given]
    config: dict[str, Any] = {
        "gpubench:ladder": ladder,
        "gpubench:benchmark": {"image": IMAGE},
        "gpubench:results": "s3://bench/team",
    }
    config |= {f"gpubench:{key}": value for key, value in more.items()}
    return Settings.from_config(config, {"gpubench:HF_TOKEN"} & config.keys())


def role(name: str) -> dict[str, Any]:
    """IAM's answer about a role."""
    return {
        "Role": {
            "Path": "/",
            "RoleName": name,
            "RoleId": "AROAEXAMPLEEXAMPLE",
            "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
            "CreateDate": T0,
        }
    }


def roles(*missing: str) -> Any:
    """An account that has all roles but these."""

    def answer(asked: Asked) -> Any:
        name = asked.params["RoleName"]
        return Refusal("NoSuchEntity", f"The role {name} cannot be found.", 404) if name in missing else role(name)

    return answer


def simulator(denied: Mapping[str, str] | None = None, missing: tuple[str, ...] = ()) -> Any:
    """Of somebody who may do all but this: by action, or by ``action on ARN``, how it is denied."""

    def answer(asked: Asked) -> dict[str, Any]:
        (on,) = asked.params["ResourceArns"]
        results = []
        for action in asked.params["ActionNames"]:
            decision = (denied or {}).get(f"{action} on {on}") or (denied or {}).get(action) or "allowed"
            results.append(
                {
                    "EvalActionName": action,
                    "EvalResourceName": on,
                    "EvalDecision": decision,
                    "MissingContextValues": list(missing) if decision != "allowed" else [],
                }
            )
        return {"EvaluationResults": results, "IsTruncated": False}

    return answer


def quota(values: Mapping[str, float]) -> Any:
    """Service Quotas' answer by code."""

    def answer(asked: Asked) -> Any:
        code = asked.params["QuotaCode"]
        if code not in values:
            return Refusal("NoSuchResourceException", f"no quota {code}")
        return {"Quota": {"ServiceCode": asked.params["ServiceCode"], "QuotaCode": code, "Value": values[code]}}

    return answer


def bucket_of(stack: str) -> dict[str, Any]:
    """S3's answers about a bucket that this stack made; of none: a bucket of somebody else's in the account."""
    tags = [{"Key": "gpubench-stack", "Value": stack}] if stack else [{"Key": "team", "Value": "other"}]
    return {"s3.HeadBucket": {"BucketRegion": R}, "s3.GetBucketTagging": {"TagSet": tags}}


def repository_of(stack: str) -> dict[str, Any]:
    """As of a bucket."""
    found = {"repositoryArn": f"arn:aws:ecr:{R}:{ACCOUNT}:repository/bench", "repositoryName": "bench"}
    tags = [{"Key": "gpubench-stack", "Value": stack}] if stack else []
    return {"ecr.DescribeRepositories": {"repositories": [found]}, "ecr.ListTagsForResource": {"tags": tags}}


def running(*machines: tuple[str, str]) -> dict[str, Any]:
    """Machines that are there: type and lifecycle."""
    return {
        "Reservations": [
            {
                "Instances": [
                    {
                        "InstanceId": f"i-{number}",
                        "State": {"Name": "running"},
                        "InstanceType": machine_type,
                        "Placement": {"AvailabilityZone": "us-east-1a", "AvailabilityZoneId": "use1-az4"},
                        "CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 2},
                        **({"InstanceLifecycle": lifecycle} if lifecycle else {}),
                    }
                    for number, (machine_type, lifecycle) in enumerate(machines)
                ]
            }
        ]
    }


def good(server: AwsServer) -> None:
    """An account that has and may all."""
    limits = {"L-DB2E81BA": 8.0, "L-3819A6DF": 8.0, "L-417A185B": 192.0, "L-3032A538": 6.0, "L-36FBB829": 6.0}
    server.answers.update(
        {
            "sts.GetCallerIdentity": {"Account": ACCOUNT, "Arn": USER, "UserId": "AIDAEXAMPLE"},
            "iam.GetRole": roles(),
            "iam.SimulatePrincipalPolicy": simulator(),
            "ec2.RunInstances": Refusal(
                "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412
            ),
            "ecr.DescribeImages": {"imageDetails": [{"imageDigest": f"sha256:{'0' * 64}"}]},
            **bucket_of(""),
            "ec2.DescribeInstanceTypeOfferings": {
                "InstanceTypeOfferings": [
                    {"InstanceType": "g5.xlarge", "LocationType": "availability-zone-id", "Location": zone}
                    for zone in ("use1-az4", "use1-az1")
                ]
            },
            "service-quotas.GetServiceQuota": quota(limits),
            "service-quotas.GetAWSDefaultServiceQuota": quota({}),
            "ec2.DescribeInstances": {"Reservations": []},
            "ec2.DescribeSpotPriceHistory": {"SpotPriceHistory": []},
        }
    )


@pytest.fixture
def asked(asking: Asking) -> Asking:
    """An account that has and may all."""
    good(asking.server)
    return asking


def verdict(asking: Asking, stack: Settings) -> Verdict:
    """Of the first rung."""
    preflight = EcsPreflight(asking.amazon, STACK, stack)
    return next(iter(ask(stack.ladder, {Surface.ECS: preflight}, image=IMAGE).values()))


def grants(asking: Asking, stack: Settings | None = None, image: str | None = IMAGE) -> tuple[Grant, ...]:
    """What is said of permissions."""
    answer = EcsPreflight(asking.amazon, STACK, stack or settings()).ask(
        Question(Kind.PERMISSIONS, Surface.ECS, ACCOUNT, image=image)
    )
    assert isinstance(answer, Grants)
    return answer.grants


def missing(found: tuple[Grant, ...]) -> dict[str, str]:
    """The mends of what is missing, by permission."""
    return {one.permission: one.mend for one in found if not one.granted}


def policy(mend: str) -> Any:
    """The policy that a mend's command would write, which a shell has to take as it stands."""
    words = shlex.split(mend, comments=True)
    return json.loads(words[words.index("--policy-document") + 1])


def test_a_rung_that_is_fine_in_all_has_a_verdict_of_three_yeses(asked: Asking) -> None:
    found = verdict(asked, settings())
    assert (found.offered.said, found.quota.said, found.permitted.said) == (Said.YES, Said.YES, Said.YES)
    assert found.zones == ("use1-az1", "use1-az4") and found.offered_live
    assert "limit 8 vCPU, used 0 vCPU" in found.quota.why


def test_a_type_that_no_zone_lists_is_not_offered(asked: Asking) -> None:
    found = verdict(asked, settings({"tier": "l4"}))
    assert found.offered.said is Said.NO and "lists no g6.xlarge now" in found.offered.why


def test_a_quota_counts_the_machines_of_its_family_and_purchase(asked: Asking) -> None:
    asked.server.answers["ec2.DescribeInstances"] = running(
        ("g4dn.xlarge", ""), ("g3.4xlarge", ""), ("g5.xlarge", "spot"), ("p3.2xlarge", ""), ("m5.large", "")
    )
    found = verdict(asked, settings())
    assert found.quota.said is Said.NO
    assert "need 4 vCPU, limit 8 vCPU, used 8 vCPU, held by i-0 (g4dn.xlarge, use1-az4), i-1" in found.quota.why
    assert "--quota-code L-DB2E81BA --desired-value 12 --region us-east-1" in found.mend
    spot = verdict(asked, settings({"tier": "a10g", "purchase": "spot"}))
    assert spot.quota.said is Said.YES and "L-3819A6DF" in spot.quota.why and "used 4 vCPU" in spot.quota.why


def test_capacity_blocks_take_of_no_quota_and_p5_spot_has_its_own(asked: Asking) -> None:
    asked.server.answers["ec2.DescribeInstances"] = running(("p5.48xlarge", "capacity-block"), ("p5.4xlarge", "spot"))
    asked.server.answers["service-quotas.GetServiceQuota"] = quota({"L-417A185B": 16, "L-C4BD4855": 16})
    preflight = EcsPreflight(asked.amazon, STACK, settings({"tier": "h100", "purchases": ["on-demand", "spot"]}))
    states = preflight.ask(Question(Kind.QUOTAS, Surface.ECS, ACCOUNT, R)).states  # type: ignore[union-attr]
    assert {one.quota_id: one.usage for one in states} == {"L-417A185B": 0, "L-C4BD4855": 4}


def test_only_the_ladders_quotas_are_asked_for(asked: Asking) -> None:
    verdict(asked, settings())
    codes = [one.params["QuotaCode"] for one in asked.server.calls("service-quotas.GetServiceQuota")]
    assert codes == ["L-DB2E81BA"]


def test_fargate_is_offered_where_its_quota_is_known_and_its_use_is_not_known(asked: Asking) -> None:
    found = verdict(asked, settings({"tier": "cpu"}))
    assert (found.offered.said, found.quota.said) == (Said.YES, Said.YES) and "use not known" in found.quota.why
    assert asked.server.calls("ec2.RunInstances") == []  # no machine of EC2's is wanted
    asked.server.answers["service-quotas.GetServiceQuota"] = quota({})
    assert verdict(asked, settings({"tier": "cpu"})).offered.said is Said.NO
    asked.server.answers["service-quotas.GetServiceQuota"] = Refusal("AccessDeniedException", "no")
    assert verdict(asked, settings({"tier": "cpu"})).offered.said is Said.YES  # by the catalogue


def test_spot_has_a_price_and_a_score_with_its_zones(asked: Asking) -> None:
    def price(zone: str, usd: str) -> dict[str, Any]:
        return {
            "InstanceType": "g5.xlarge",
            "AvailabilityZone": zone,
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": usd,
            "Timestamp": T0,
        }

    asked.server.answers.update(
        {
            "ec2.DescribeSpotPriceHistory": {
                "SpotPriceHistory": [price("us-east-1b", "0.45"), price("us-east-1a", "0.43"), price("us-east-1b", "9")]
            },
            "ec2.GetSpotPlacementScores": {
                "SpotPlacementScores": [
                    {"Region": R, "AvailabilityZoneId": "use1-az1", "Score": 3},
                    {"Region": R, "AvailabilityZoneId": "use1-az4", "Score": 8},
                ]
            },
        }
    )
    preflight = EcsPreflight(asked.amazon, STACK, settings({"tier": "a10g", "purchase": "spot"}))
    types = ("g5.xlarge", "g5.2xlarge", "g5.4xlarge")
    question = Question(Kind.PRICES, Surface.ECS, ACCOUNT, R, types, Purchase.SPOT)
    # The dearest zone's; of one zone's several the newest, which AWS gives first.
    assert preflight.ask(question) == Prices({"g5.xlarge": 0.45})
    odds = Question(Kind.ODDS, Surface.ECS, ACCOUNT, R, types, Purchase.SPOT)
    assert preflight.ask(odds) == Odds(0.8, ("use1-az4",))
    with pytest.raises(CannotSay, match="fewer than 3 machine types low"):
        preflight.ask(Question(Kind.ODDS, Surface.ECS, ACCOUNT, R, types[:2], Purchase.SPOT))
    with pytest.raises(CannotSay, match="spot capacity only"):
        preflight.ask(Question(Kind.PRICES, Surface.ECS, ACCOUNT, R, types, Purchase.ON_DEMAND))


def test_credentials_of_another_account_are_a_no_with_its_mend(asked: Asking) -> None:
    other = {"Account": OTHERS, "Arn": f"arn:aws:iam::{OTHERS}:user/ann"}
    asked.server.answers["sts.GetCallerIdentity"] = other
    found = verdict(asked, settings())
    assert found.permitted.said is Said.NO
    assert f"lacks credentials of account {ACCOUNT} (they are of {OTHERS})" in found.permitted.why
    assert "aws sts get-caller-identity" in found.mend and f"account: '{OTHERS}'" in found.mend


def test_what_is_missing_comes_first_with_one_command_for_all_of_it(asked: Asking) -> None:
    denied = {"autoscaling:CreateAutoScalingGroup": "implicitDeny", "ecs:RunTask": "implicitDeny"}
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator(denied)
    found = grants(asked)
    assert set(missing(found)) == set(denied) and not found[0].granted
    mend = found[0].mend
    assert mend.startswith("aws iam put-user-policy --user-name ann --policy-name gpubench-")
    assert mend.endswith("  # to describe the task, and run it")
    assert policy(mend)["Statement"] == [{"Effect": "Allow", "Action": sorted(denied), "Resource": "*"}]


def test_passing_roles_is_asked_of_each_role_with_the_service_that_gets_it(asked: Asking) -> None:
    instance = f"arn:aws:iam::{ACCOUNT}:role/{role_name(STACK, 'instance')}"
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator({f"iam:PassRole on {instance}": "implicitDeny"})
    found = missing(grants(asked))
    assert list(found) == [f"iam:PassRole on {instance}"]
    (statement,) = policy(found[f"iam:PassRole on {instance}"])["Statement"]
    assert statement == {"Effect": "Allow", "Action": "iam:PassRole", "Resource": [instance]}
    assert handed(asked) == {
        "instance": "ec2.amazonaws.com",
        "execution": "ecs-tasks.amazonaws.com",
        "task": "ecs-tasks.amazonaws.com",
    }


def handed(asked: Asking) -> dict[str, str]:
    """The roles that it was asked about whether they may be handed on, by what they are for, and to whom."""
    found = {}
    for one in asked.server.calls("iam.SimulatePrincipalPolicy"):
        if "iam:PassRole" in one.params["ActionNames"]:
            context = {each["ContextKeyName"]: each["ContextKeyValues"] for each in one.params["ContextEntries"]}
            assert context["aws:RequestedRegion"] == ["us-east-1"], "IAM is asked in one region"
            (arn,), (service,) = one.params["ResourceArns"], context["iam:PassedToService"]
            found[arn.rpartition("-")[2]] = service
    return found


@pytest.mark.parametrize(
    ("entry", "more", "roles_there", "wanted"),
    [
        ({"tier": "cpu"}, {}, True, {"execution", "task", "clock"}),
        ({"tier": "cpu"}, {}, False, {"execution", "task", "clock", "instance"}),  # its profile is made in any case
        ({"tier": "a10g"}, {"aws": {"managed_instances": True}}, True, {*ALL_ROLES}),
    ],
)
def test_roles_are_handed_on_by_who_ends_the_task(
    asked: Asking, entry: dict[str, Any], more: dict[str, Any], roles_there: bool, wanted: set[str]
) -> None:
    asked.server.answers["iam.GetRole"] = roles() if roles_there else roles(role_name(STACK, "execution"))
    grants(asked, settings(entry, **more))
    found = handed(asked)
    assert found.keys() == wanted
    assert {found.get("clock"), found.get("infrastructure")} <= {None, "scheduler.amazonaws.com", "ecs.amazonaws.com"}


def test_an_explicit_denial_is_shown_and_not_allowed_over(asked: Asking) -> None:
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator({"ecs:RunTask": "explicitDeny"}, ("aws:MFA",))
    mend = missing(grants(asked))["ecs:RunTask"]
    assert mend.startswith("aws iam simulate-principal-policy --policy-source-arn") and "denies it explicitly" in mend


def test_a_denial_for_want_of_a_conditions_value_is_none(asked: Asking) -> None:
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator({"ecs:RunTask": "implicitDeny"}, ("aws:MFA",))
    found = grants(asked)
    assert missing(found) == {}
    counted = [one.permission for one in found if one.permission.endswith(" actions")]
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator()
    of_all = [one.permission for one in grants(asked) if one.permission.endswith(" actions")]
    assert int(counted[0].split()[0]) == int(of_all[0].split()[0]) - 1  # nothing is said of the one


def test_an_assumed_roles_policies_are_the_roles_path_included(asked: Asking) -> None:
    name = "AWSReservedSSO_Bench_0123456789abcdef"
    path = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/eu-west-1/{name}"

    def which(one: Asked) -> Any:
        found = role(one.params["RoleName"])
        return {"Role": {**found["Role"], "Arn": path}} if one.params["RoleName"] == name else found

    asked.server.answers.update(
        {
            "sts.GetCallerIdentity": {
                "Account": ACCOUNT,
                "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/ann@example.com",
            },
            "iam.GetRole": which,
            "iam.SimulatePrincipalPolicy": simulator({"ecs:RunTask": "implicitDeny"}),
        }
    )
    mend = missing(grants(asked))["ecs:RunTask"]
    sources = {one.params["PolicySourceArn"] for one in asked.server.calls("iam.SimulatePrincipalPolicy")}
    assert sources == {path} and mend.startswith("aws sso-admin put-inline-policy-to-permission-set")


def test_the_root_may_all_and_is_not_simulated(asked: Asking) -> None:
    asked.server.answers["sts.GetCallerIdentity"] = {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}
    found = grants(asked)
    assert missing(found) == {} and "all actions" in {one.permission for one in found}
    assert asked.server.calls("iam.SimulatePrincipalPolicy") == []


def test_ec2s_own_word_counts_more_than_the_simulators(asked: Asking) -> None:
    asked.server.answers["ec2.RunInstances"] = Refusal("UnauthorizedOperation", "You are not authorized", 403)
    found = missing(grants(asked))
    assert list(found) == ["ec2:RunInstances"]
    assert policy(found["ec2:RunInstances"])["Statement"][0]["Action"] == ["ec2:RunInstances"]


def test_who_may_not_ask_the_simulator_is_known_by_the_dry_run_alone(asked: Asking) -> None:
    asked.server.answers["iam.SimulatePrincipalPolicy"] = Refusal("AccessDenied", "no", 403)
    found = grants(asked)
    assert [(one.permission, one.granted) for one in found] == [
        ("ec2:RunInstances", True),
        ("ecr:DescribeImages on bench", True),
    ]
    asked.server.answers["ec2.RunInstances"] = Refusal("InvalidParameterValue", "what?")
    asked.server.answers["ecr.DescribeImages"] = Refusal("ServerException", "what?")
    with pytest.raises(CannotSay, match="neither IAM's simulator nor EC2"):
        grants(asked)


def test_a_service_linked_role_that_is_missing_is_a_no_for_who_may_not_make_it(asked: Asking) -> None:
    asked.server.answers["iam.GetRole"] = roles("AWSServiceRoleForAutoScaling")
    assert missing(grants(asked)) == {}
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator({"iam:CreateServiceLinkedRole": "implicitDeny"})
    ((permission, mend),) = missing(grants(asked)).items()
    assert "AWSServiceRoleForAutoScaling" in permission
    assert mend.startswith("aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com")


@pytest.mark.parametrize(("managed", "told"), [(False, False), (True, True)])
def test_spots_role_is_made_by_auto_scaling_but_not_for_managed_instances(
    asked: Asking, managed: bool, told: bool
) -> None:
    asked.server.answers["iam.GetRole"] = roles("AWSServiceRoleForEC2Spot")
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator({"iam:CreateServiceLinkedRole": "implicitDeny"})
    stack = settings({"tier": "a10g", "purchase": "spot"}, **({"aws": {"managed_instances": True}} if managed else {}))
    assert bool(missing(grants(asked, stack))) is told


def test_roles_that_are_there_are_not_asked_to_be_made(asked: Asking) -> None:
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator({"iam:CreateRole": "implicitDeny"})
    assert missing(grants(asked)) == {}
    asked.server.answers["iam.GetRole"] = roles(role_name(STACK, "execution"))
    assert list(missing(grants(asked))) == ["iam:CreateRole"]


def test_a_given_subnet_needs_no_network_of_its_own_and_endpoints_no_nat(asked: Asking) -> None:
    denied = {"ec2:CreateVpc": "implicitDeny", "ec2:CreateNatGateway": "implicitDeny"}
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator(denied)
    assert set(missing(grants(asked))) == set(denied)
    subnets = {"subnets": {R: ["subnet-0123456789abcdef0"]}, "security_groups": {R: "sg-0123456789abcdef0"}}
    assert missing(grants(asked, settings(aws=subnets))) == {}
    assert set(missing(grants(asked, settings(aws={"network": "endpoints"})))) == {"ec2:CreateVpc"}


def test_an_image_that_may_not_be_looked_at_is_told(asked: Asking) -> None:
    asked.server.answers["ecr.DescribeImages"] = Refusal("AccessDeniedException", "no")
    found = missing(grants(asked))
    assert policy(found["ecr:DescribeImages on bench"])["Statement"][0]["Action"] == ["ecr:DescribeImages"]
    asked.server.answers["ecr.DescribeImages"] = Refusal("ImageNotFoundException", "none")
    assert missing(grants(asked)) == {}  # the image's own matter, which says so by itself


def test_another_accounts_repository_has_to_name_this_one(asked: Asking) -> None:
    image = IMAGE.replace(ACCOUNT, OTHERS)
    asked.server.answers["ecr.GetRepositoryPolicy"] = {"policyText": '{"Statement": []}'}
    ((permission, mend),) = missing(grants(asked, image=image)).items()
    assert permission == f"ecr:BatchGetImage on bench of account {OTHERS}"
    words = shlex.split(mend, comments=True)
    assert words[:5] == ["aws", "ecr", "set-repository-policy", "--registry-id", OTHERS]
    text = words[words.index("--policy-text") + 1]
    asked.server.answers["ecr.GetRepositoryPolicy"] = {"policyText": text}
    assert missing(grants(asked, image=image)) == {}


def test_a_refused_listing_is_no_answer_with_aws_words(asked: Asking) -> None:
    asked.server.answers["ec2.DescribeInstanceTypeOfferings"] = Refusal("UnauthorizedOperation", "You are not", 403)
    found = verdict(asked, settings())
    assert found.offered.said is Said.YES and "by the catalogue" in found.offered.why
    assert "(UnauthorizedOperation) when calling the DescribeInstanceTypeOfferings" in found.offered.why


# -- what is asked about, and when


NEEDS = {
    name: value
    for name, value in vars(access).items()
    if isinstance(value, tuple) and value and all(isinstance(one, access.Need) for one in value)
}
"""The tables of needs."""

REGISTRY = f"{ACCOUNT}.dkr.ecr.{R}.amazonaws.com/bench"
OWN_NETWORK = {"EVERY_RUN", "NETWORK", "NAT", "BUCKET"}
MACHINE = {"ON_MACHINES", "BY_GROUP", "PROVIDER"}
GIVEN = {"subnets": {R: ["subnet-0123456789abcdef0"]}, "security_groups": {R: "sg-0123456789abcdef0"}}
BUILT: dict[str, Any] = {
    "image": f"{REGISTRY}:1",
    "build": {"containerfile": "workload/Containerfile"},
    "workload": ["kernels"],
}
NONE = Refusal("404", "Not Found", 404)
NO_ROLES = {"iam.GetRole": roles(role_name(STACK, "execution"))}
NO_IMAGE = {"ecr.DescribeImages": Refusal("ImageNotFoundException", "none")}
NO_REPOSITORY = {"ecr.DescribeRepositories": Refusal("RepositoryNotFoundException", "none")}
DENIED = Refusal("AccessDenied", "no", 403)

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any], set[str]]
CASES: dict[str, Case] = {
    # What the ladder's entry is, what else is set, what the account answers otherwise, and the tables that are asked.
    "a machine": ({}, {}, {}, OWN_NETWORK | MACHINE),
    "in subnets that are given": ({}, {"aws": GIVEN}, {}, {"EVERY_RUN", "BUCKET"} | MACHINE),
    "on Fargate": ({"tier": "cpu"}, {}, {}, OWN_NETWORK | {"CLOCK"}),
    "managed": ({}, {"aws": {"managed_instances": True}}, {}, OWN_NETWORK | {"PROVIDER", "CLOCK"}),
    "for the first time": ({}, {}, NO_ROLES, OWN_NETWORK | MACHINE | {"ROLES", "PROFILE"}),
    "on Fargate, and on machines alone before": (
        {"tier": "cpu"}, {}, {"iam.GetRole": roles(role_name(STACK, "clock"))}, OWN_NETWORK | {"CLOCK", "ROLES"},
    ),
    "managed, and not before": (
        {}, {"aws": {"managed_instances": True}}, {"iam.GetRole": roles(role_name(STACK, "infrastructure"))},
        OWN_NETWORK | {"PROVIDER", "CLOCK", "ROLES", "MANAGED_ROLES"},
    ),
    "managed for the first time": (
        {}, {"aws": {"managed_instances": True}}, {"iam.GetRole": roles(*(role_name(STACK, one) for one in ALL_ROLES))},
        OWN_NETWORK | {"PROVIDER", "CLOCK", "ROLES", "PROFILE", "MANAGED_ROLES"},
    ),
    "roles that can't be looked at": ({}, {}, {"iam.GetRole": DENIED}, OWN_NETWORK | MACHINE),
    "a bucket that isn't there": (
        {}, {}, {"s3.HeadBucket": NONE}, OWN_NETWORK | MACHINE | {"NEW_BUCKET", "OWN_BUCKET"},
    ),
    "a bucket of its own": ({}, {}, bucket_of(STACK), OWN_NETWORK | MACHINE | {"OWN_BUCKET"}),
    "another stack's bucket": ({}, {}, bucket_of("dev"), OWN_NETWORK | MACHINE),
    "a bucket that can't be looked at": ({}, {}, {"s3.HeadBucket": Refusal("403", "", 403)}, OWN_NETWORK | MACHINE),
    "a registry that isn't there": (
        {}, {"registry": REGISTRY}, NO_REPOSITORY, OWN_NETWORK | MACHINE | {"REGISTRY", "NEW_REGISTRY", "OWN_REGISTRY"},
    ),
    "a registry of its own": (
        {}, {"registry": REGISTRY}, repository_of(STACK), OWN_NETWORK | MACHINE | {"REGISTRY", "OWN_REGISTRY"},
    ),
    "a registry of somebody's": (
        {}, {"registry": REGISTRY}, repository_of(""), OWN_NETWORK | MACHINE | {"REGISTRY"},
    ),
    "an image that was built": ({}, {"benchmark": BUILT}, {}, OWN_NETWORK | MACHINE | {"IMAGE"}),
    "an image that is to be built": ({}, {"benchmark": BUILT}, NO_IMAGE, OWN_NETWORK | MACHINE | {"IMAGE", "PUSH"}),
    "an image that isn't there": (
        {}, {"benchmark": {"image": f"{REGISTRY}:1"}}, NO_IMAGE, OWN_NETWORK | MACHINE | {"IMAGE"},
    ),
    "an image of another registry": ({}, {"benchmark": {"image": "ghcr.io/acme/b:1"}}, {}, OWN_NETWORK | MACHINE),
    "a secret": (
        {}, {"benchmark": {"image": IMAGE, "env": {"HF_TOKEN": {"secret": "HF_TOKEN"}}}, "HF_TOKEN": "x"}, {},
        OWN_NETWORK | MACHINE | {"SECRETS"},
    ),
    "endpoints, for the first time": (
        {}, {"aws": {"network": "endpoints"}}, {**NO_ROLES, **NO_IMAGE},
        OWN_NETWORK - {"NAT"} | MACHINE | {"ROLES", "PROFILE", "ENDPOINTS", "CACHE_RULE", "CACHE"},
    ),
    "endpoints, with the image in the cache": (
        {}, {"aws": {"network": "endpoints"}}, {}, OWN_NETWORK - {"NAT"} | MACHINE | {"ENDPOINTS"},
    ),
    "endpoints, with an uploader's image of one's own": (
        {}, {"aws": {"network": "endpoints", "uploader_image": f"{REGISTRY}@sha256:{'1' * 64}"}}, NO_IMAGE,
        OWN_NETWORK - {"NAT"} | MACHINE | {"ENDPOINTS"},
    ),
}  # fmt: skip


def place(stack: Settings) -> access.Place:
    """Where the resources of these settings are."""
    given = stack.aws.subnets.get(R, ("",))[0]
    repository = ecr_repository_of(REGISTRY)
    group = stack.aws.security_groups.get(R, "")
    return access.Place(ACCOUNT, R, STACK, "bench", "team", repository, repository, given, group)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_these_settings_need_is_asked_about_and_nothing_else(asked: Asking, case: Case) -> None:
    entry, more, answers, tables = case
    asked.server.answers.update(answers)
    stack = settings({"tier": "a10g", **entry}, **more)
    grants(asked, stack, stack.benchmark.image)
    calls = asked.server.calls("iam.SimulatePrincipalPolicy")
    arns = [one.params["ResourceArns"][0] for one in calls]
    assert len(arns) == len(set(arns)), "one call a resource"
    found = {(action, arn) for one, arn in zip(calls, arns, strict=True) for action in one.params["ActionNames"]}
    ours = {(action, arn) for action, arn in found if action not in (access.HAND_OVER, access.MAKE_SERVICE_ROLE)}
    where = place(stack)
    assert ours == {(need.action, where.arn(need.on)) for name in tables for need in NEEDS[name]}


def test_every_table_is_of_some_settings() -> None:
    assert {name for *_, tables in CASES.values() for name in tables} == NEEDS.keys()


UNASKED = {
    # What is looked at beforehand, and done without.
    "ec2:GetSpotPlacementScores": "the plan's odds",
    "servicequotas:GetAWSDefaultServiceQuota": "the plan's quotas",
    "servicequotas:GetServiceQuota": "the plan's quotas",
    "iam:SimulatePrincipalPolicy": "this very question",
    "ecr:GetRepositoryPolicy": "who may pull another account's image",
    "ec2:GetConsoleOutput": "what a person looks at when a machine never joined",
    # What only somebody's wish takes, or a change of what is there: other labels, another version of gpubench.
    "s3:DeleteObject": "gpubench destroy --results",
    "s3:TagResource": "what the provider tags a bucket by where it may; else by PutBucketTagging",
    **dict.fromkeys(
        ("autoscaling:DeleteTags", "ec2:DeleteTags", "ecs:UntagResource", "iam:UntagRole", "logs:UntagResource"),
        "other labels",
    ),
    **dict.fromkeys(
        (
            "ec2:CreateLaunchTemplateVersion", "ec2:DeleteRoute", "ec2:ModifyLaunchTemplate",
            "ec2:ModifySubnetAttribute", "ec2:ModifyVpcEndpoint", "ec2:RevokeSecurityGroupIngress",
            "ecs:UpdateCapacityProvider", "ecs:UpdateCluster", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole",
            "secretsmanager:UpdateSecret",
        ),
        "a change of what is there",
    ),
    "ec2:DisassociateAddress": "an address that a refresh has seen at its gateway",
}  # fmt: skip


def test_the_policy_of_the_guide_has_what_is_asked_about_and_little_else() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "ecs.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"^```json policy\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    where = place(settings())
    asked = {(need.action, where.arn(need.on)) for needs in NEEDS.values() for need in needs}
    asked |= {(access.HAND_OVER, where.role(one)) for one in ALL_ROLES}
    asked |= {(access.MAKE_SERVICE_ROLE, where.service_role(one)) for one in access.SERVICE_ROLES}
    # The guide's own names of a bucket and a repository.
    asked = {(a, on.replace(":::bench", ":::my-gpubench").replace("/bench", "/gpubench")) for a, on in asked}
    in_vain = [
        (statement["Sid"], action)
        for statement in json.loads(written)["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        if action not in UNASKED and not any(_covers(statement, action, *one) for one in asked)
    ]
    assert in_vain == [], "allowed, and neither asked about nor explained"
    allowed = {action for statement in json.loads(written)["Statement"] for action in statement["Action"]}
    assert UNASKED.keys() <= allowed and not UNASKED.keys() & {action for action, _ in asked}


def _covers(statement: Mapping[str, Any], pattern: str, action: str, on: str) -> bool:
    resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
    return fnmatchcase(action, pattern) and any(fnmatchcase(on, one) for one in resources)


def test_who_may_nothing_of_a_thing_that_is_not_needed_is_not_stopped(asked: Asking) -> None:
    denied = dict.fromkeys(
        ("s3:CreateBucket", "s3:PutBucketPolicy", "ecr:CreateRepository", "ecr:PutImage"), "implicitDeny"
    )
    asked.server.answers.update(repository_of(""))
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator(denied)
    assert missing(grants(asked, settings(registry=REGISTRY))) == {}
    asked.server.answers.update({"s3.HeadBucket": NONE, **NO_REPOSITORY, **NO_IMAGE})
    found = missing(grants(asked, settings(registry=REGISTRY, benchmark=BUILT), BUILT["image"]))
    assert found.keys() == denied.keys()


def test_an_action_that_is_missing_on_two_resources_is_told_once(asked: Asking) -> None:
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator({"ec2:CreateTags": "implicitDeny"})
    found = [one for one in grants(asked) if not one.granted]
    assert [one.permission for one in found] == ["ec2:CreateTags"]
    assert policy(found[0].mend)["Statement"][0]["Action"] == ["ec2:CreateTags"]


def test_what_is_too_long_for_a_users_own_policies_becomes_one_apart(asked: Asking) -> None:
    every = {need.action: "implicitDeny" for needs in NEEDS.values() for need in needs}
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator(every)
    mend = grants(asked)[0].mend
    made, _, attached = mend.partition(" && ")
    document = json.dumps(policy(made), separators=(",", ":"))
    assert 2048 < len(document) <= 6144  # IAM's quotas: a user's own policies together, and a policy apart
    name = shlex.split(made)[shlex.split(made).index("--policy-name") + 1]
    assert shlex.split(attached, comments=True) == [
        "aws", "iam", "attach-user-policy", "--user-name", "ann", "--policy-arn",
        f"arn:aws:iam::{ACCOUNT}:policy/{name}",
    ]  # fmt: skip
