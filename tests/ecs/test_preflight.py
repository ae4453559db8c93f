"""What is known of rungs on ECS before anything is tried, and what mends what is missing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from catalog import Purchase, Surface
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


def settings(*entries: Mapping[str, Any], **more: Any) -> Settings:
    """A stack's, of these entries of the ladder, each completed."""
    given = entries or ({"tier": "a10g"},)
    ladder = [{"surface": "ecs", "account": ACCOUNT, "region": R, **one} for one in given]
    config: dict[str, Any] = {
        "gpubench:ladder": ladder,
        "gpubench:benchmark": {"image": IMAGE},
        "gpubench:results": "s3://bench/team",
    }
    return Settings.from_config({**config, **{f"gpubench:{key}": value for key, value in more.items()}})


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
    assert mend.endswith("  # to start the run")
    assert policy(mend)["Statement"] == [{"Effect": "Allow", "Action": sorted(denied), "Resource": "*"}]


def test_passing_roles_is_asked_of_each_role_with_the_service_that_gets_it(asked: Asking) -> None:
    instance = f"arn:aws:iam::{ACCOUNT}:role/{role_name(STACK, 'instance')}"
    asked.server.answers["iam.SimulatePrincipalPolicy"] = simulator({f"iam:PassRole on {instance}": "implicitDeny"})
    found = missing(grants(asked))
    assert list(found) == [f"iam:PassRole on {instance}"]
    (statement,) = policy(found[f"iam:PassRole on {instance}"])["Statement"]
    assert statement == {"Effect": "Allow", "Action": "iam:PassRole", "Resource": [instance]}
    context = {
        one.params["ResourceArns"][0]: one.params["ContextEntries"][0]["ContextKeyValues"]
        for one in asked.server.calls("iam.SimulatePrincipalPolicy")
        if one.params["ActionNames"] == ["iam:PassRole"]
    }
    assert context[instance] == ["ec2.amazonaws.com"] and len(context) == 3
    assert context[f"arn:aws:iam::{ACCOUNT}:role/{role_name(STACK, 'task')}"] == ["ecs-tasks.amazonaws.com"]


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
