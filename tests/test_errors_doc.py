"""docs/errors.md says what the code does: its texts are classified, its mends and permissions held against the code.

docs/gce.md and docs/ecs.md are held against it where they speak of the same: stack files, roles and APIs, actions.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

import catalog
import cli
from catalog import Surface
from catalog.repositories import ecr_repository_of, repository_of
from components import image_digest
from components.ecs import access as ecs_access
from components.ecs import preflight as ecs_preflight
from components.ecs.amazon import Amazon
from components.ecs.api import Caller, Decision, Instance
from components.ecs.names import base_name, log_group, role_name
from components.ecs.watch import JOINS_S, Watch
from components.gce import access, google
from components.gce.names import service_account_id
from components.interface import ATTEMPT_LABEL, STACK_LABEL
from placement import quota_requests
from placement.causes import Cause, Where, classify
from placement.causes.model import WALKS_ON
from placement.causes.patterns import TABLE, amazon, containers, gpubench
from placement.causes.patterns import google as google_patterns
from placement.causes.patterns.model import Pattern
from settings import Settings, SettingsError, read_stack_file

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
ON_GOOGLE, _, ON_AWS = TEXT.partition("\n## AWS: what comes up most\n")
GCE = (ROOT / "docs" / "gce.md").read_text(encoding="utf-8")
ECS = (ROOT / "docs" / "ecs.md").read_text(encoding="utf-8")
MACHINE = ROOT / "components" / "gce"

PROJECT, REGION = "my-project", "us-central1"
ACCOUNT = f"{service_account_id('dev', PROJECT)}@{PROJECT}.iam.gserviceaccount.com"
WHERE = Where(
    surface="gce",
    project=PROJECT,
    region=REGION,
    tier="l4",
    machine_types=("g2-standard-4",),
    purchase="spot",
    principal=ACCOUNT,
)
AWS_ACCOUNT, AWS_REGION = "123456789012", "us-east-1"
ON_ECS = Where(
    surface="ecs",
    project=AWS_ACCOUNT,
    region=AWS_REGION,
    tier="a10g",
    machine_types=("g5.xlarge",),
    purchase="spot",
)
"""What the page says that its examples are of, in its halves."""

WALK: dict[Cause | None, str] = {
    Cause.INTERRUPTED: "the walk resumes",
    Cause.TRANSIENT: "the walk tries again",
    None: "the walk waits",
    **dict.fromkeys(WALKS_ON, "the walk goes on"),
}
SECTION = re.compile(r"^### (`[a-z-]+`|none): (the walk [a-z ]+)$", re.MULTILINE)


def section(heading: str, text: str = ON_GOOGLE) -> str:
    """What is under a heading, as far as the next one of any level."""
    return re.split(r"^#+ ", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> list[list[str]]:
    """The rows of the first table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def plain(cell: str) -> str:
    return "" if cell == "–" else cell.replace("`", "")


def words(half: str) -> list[tuple[str, ...]]:
    """Cause and walk, and a row's four cells, of each text of a cloud's or of docker's."""
    return [
        (found[1].strip("`"), found[2], *row)
        for found in SECTION.finditer(half)
        for row in table(section(found[0], half))
    ]


ROWS, AWS_ROWS = words(ON_GOOGLE), words(ON_AWS)


def patterns(*modules: object) -> list[Pattern]:
    groups = [value for module in modules for value in vars(module).values() if isinstance(value, tuple)]
    return [one for group in groups for one in group if isinstance(one, Pattern)]


# -- the clouds' words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "cause", "walk", "name", "text", "mend"),
    [(where, *row[:4], row[5]) for where, rows in ((WHERE, ROWS), (ON_ECS, AWS_ROWS)) for row in rows],
)
def test_a_text_is_classified_and_mended_as_the_page_says(
    where: Where, cause: str, walk: str, name: str, text: str, mend: str
) -> None:
    failure = classify(text.removeprefix("`").removesuffix("`"), where)
    mine = [
        one for one in TABLE if (one.source, one.cause, one.scope) == (failure.source, failure.cause, failure.scope)
    ]
    assert name.strip("`") in {one.name for one in mine}
    assert str(failure.cause or "none") == cause
    assert walk == WALK.get(failure.cause, "the walk stops")
    assert plain(mend) == plain(failure.mend), "the page's mend is the code's, word for word, but for its backticks"


def test_every_row_of_google_s_is_there() -> None:
    rows = patterns(google_patterns, containers, gpubench)
    assert len(rows) > 60
    named = {name.strip("`") for _, _, name, *_ in ROWS}
    assert {one.name for one in rows if one.mend} - named == {"UNABLE_TO_PULL_IMAGE"}, "with a mend: with an example"
    assert {one.name for one in rows if f"`{one.name}`" not in TEXT} == set()
    assert named <= {one.name for one in rows}
    assert {str(cause) for cause in Cause} - {cause for cause, *_ in ROWS} == {"unknown"}


def test_every_row_of_aws_s_is_there() -> None:
    rows = patterns(amazon)
    assert len(rows) > 30
    named = {name.strip("`") for _, _, name, *_ in AWS_ROWS}
    assert {one.name for one in rows} - named == {"fulfilled", "steady-state"}, "those have no place in a run"
    assert {one.name for one in rows if f"`{one.name}`" not in ON_AWS} == set()
    assert named <= {one.name for one in patterns(amazon, google_patterns, containers, gpubench)}
    assert {str(cause) for cause in Cause} - {cause for cause, *_ in AWS_ROWS} == {"unknown"}


# -- commands --------------------------------------------------------------------------------------------------------


def commands(half: str, tool: str) -> list[str]:
    """What begins with a cloud's tool in the tables."""
    cells = re.findall(r"`([^`]*)`", "\n".join(line for line in half.splitlines() if line.startswith("|")))
    return [cell for cell in cells if cell.startswith(f"{tool} ")]


def test_every_command_is_one_that_the_code_gives() -> None:
    mends = "\n".join(classify(row[3].strip("`"), WHERE).mend for row in ROWS)
    bench = repository_of("us-docker.pkg.dev/images/bench/bench:1.4")
    assert bench is not None
    (missing,) = access.of_deployer("the deployer", PROJECT, access.DEPLOYER[:1], frozenset())
    given = "\n".join(
        (
            mends,
            access.reader_command(ACCOUNT, bench),
            access.enable_command(ACCOUNT, PROJECT),
            missing.mend,
            quota_requests.command(
                "compute.googleapis.com", "PREEMPTIBLE-NVIDIA-L4-GPUS-per-project-region", 1, REGION, project=PROJECT
            ),
            # Of a repository that isn't there nobody knows what it should be: a person's own command.
            "gcloud artifacts repositories create bench --project=images --location=us --repository-format=docker",
        )
    )
    found = commands(ON_GOOGLE, "gcloud")
    assert len(found) >= 12
    assert [one for one in found if one not in given] == []
    assert not commands(ON_AWS, "gcloud") and not commands(ON_GOOGLE, "aws")


PLACE = ecs_access.Place(
    AWS_ACCOUNT,
    AWS_REGION,
    "aws",
    bucket="my-gpubench",
    prefix="aws",
    repository=ecr_repository_of(f"{AWS_ACCOUNT}.dkr.ecr.{AWS_REGION}.amazonaws.com/gpubench"),
    image=ecr_repository_of(f"{AWS_ACCOUNT}.dkr.ecr.{AWS_REGION}.amazonaws.com/gpubench:1"),
)
CI = f"arn:aws:iam::{AWS_ACCOUNT}:user/ci"
AWS_NEEDS = tuple(
    need
    for value in vars(ecs_access).values()
    if isinstance(value, tuple) and value and all(isinstance(one, ecs_access.Need) for one in value)
    for need in value
)
"""All that the preflight may ask about, in the order of its tables."""


def denied(action: str, on: str) -> ecs_access.Simulated:
    return ecs_access.Simulated({(action, on): Decision(action, on, denied="implicitDeny")})


def test_every_command_for_aws_is_one_that_the_code_gives() -> None:
    mends = [classify(row[3].strip("`"), ON_ECS).mend for row in AWS_ROWS]
    on_fargate = Where("ecs", AWS_ACCOUNT, AWS_REGION, machine_types=("fargate-4-16gb",), purchase="on-demand")
    mends.append(classify("You've reached the limit on the number of vCPUs you can run concurrently", on_fargate).mend)
    need = ecs_access.SECRETS[0]
    on = PLACE.arn(need.on)
    explicit = ecs_access.Simulated({(need.action, on): Decision(need.action, on, denied="explicitDeny")})
    for said in (denied(need.action, on), explicit):
        mends += [one.mend for one in ecs_access.of_needs(CI, CI, [need], PLACE, said)]
    for service in ecs_access.SERVICE_ROLES:
        said = denied(ecs_access.MAKE_SERVICE_ROLE, PLACE.service_role(service))
        mends += [one.mend for one in ecs_access.of_service_role(CI, service, PLACE, said)]
    foreign = ecr_repository_of(f"210987654321.dkr.ecr.{AWS_REGION}.amazonaws.com/bench:1.4")
    assert foreign is not None
    role = PLACE.role("execution")
    (pull,) = ecs_access.of_foreign_repository(role, AWS_ACCOUNT, foreign, "")
    wrong = ecs_access.of_account(Caller("210987654321", CI.replace(AWS_ACCOUNT, "210987654321")), AWS_ACCOUNT)
    given = "\n".join(
        (
            *mends,
            pull.mend,
            wrong.mend,
            quota_requests.command("ec2", "L-3819A6DF", 4, AWS_REGION),
            never_joined(),
        )
    )
    found = commands(ON_AWS, "aws")
    assert len(found) >= 20
    assert [one for one in found if one not in given and one not in LOGIN] == []
    assert f"{role} lacks {pull.permission}" in ON_AWS
    assert f"{wrong.principal} lacks {wrong.permission}" in ON_AWS


LOGIN = ("aws sso login", "aws sts get-caller-identity")
"""A person's own commands; the texts that name them are components.ecs.amazon's."""


def never_joined() -> str:
    """What the watch says of a machine that doesn't join its cluster."""
    launched = datetime(2026, 11, 21, tzinfo=UTC)
    watch = Watch(Amazon(), AWS_ACCOUNT, AWS_REGION, "1", now=lambda: launched + timedelta(seconds=JOINS_S))
    one = Instance(AWS_REGION, "i-0123456789abcdef0", "running", "g5.xlarge", "use1-az4", launched=launched)
    return watch._never_joined(one)


def test_the_permissions_are_those_that_the_preflight_asks_about() -> None:
    rights = TEXT.partition("| permission | role | what for |")[2].partition("\n\n")[0]
    wanted = [[f"`{n.permission}`", f"`{n.role}`", n.why] for n in access.NEEDS]
    assert table("| permission | role | what for |" + rights) == wanted


def test_the_actions_are_those_that_the_preflight_asks_about() -> None:
    head = "| actions | on | what for |"
    found = table(head + ON_AWS.partition(head)[2].partition("\n\n")[0])
    assert found[:-2] == rows_of(AWS_NEEDS)
    assert [row[0] for row in found[-2:]] == [f"`{ecs_access.HAND_OVER}`", f"`{ecs_access.MAKE_SERVICE_ROLE}`"]


def rows_of(needs: tuple[ecs_access.Need, ...]) -> list[list[str]]:
    """Of a table of needs: what is asked of one resource for one reason is one row."""
    grouped = groupby(needs, key=lambda need: (need.on, need.why))
    return [[", ".join(f"`{one.action}`" for one in group), f"`{on}`", why] for (on, why), group in grouped]


# -- the machine -----------------------------------------------------------------------------------------------------


def agent_causes(*names: str) -> set[tuple[str, str]]:
    """Code and cause of each `Cause(…)` of these files."""
    calls = [
        node
        for name in names
        for node in ast.walk(ast.parse((MACHINE / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Cause" and node.args
    ]
    words = [[arg.value if isinstance(arg, ast.Constant) else None for arg in call.args[:2]] for call in calls]
    return {(str(pair[1]), str(pair[0])) for pair in words if len(pair) == 2 and all(pair)}


def boot_causes() -> set[tuple[str, str]]:
    """Those of boot.sh; a pull's cause is chosen among several, which stand above it."""
    script = (MACHINE / "boot.sh").read_text(encoding="utf-8")
    found = {(code, cause) for cause, code in re.findall(r"\b(?:stop_here|failure) ([a-z-]+) ([a-z-]+)\b", script)}
    found |= {(code, cause) for cause, code in re.findall(r"\bsay \"failed ([a-z-]+) \(([a-z-]+)\):", script)}
    assert 'stop_here "$cause" image-pull' in script
    return found | {("image-pull", cause) for cause in re.findall(r"\bcause=([a-z-]+)", script)}


def test_every_code_of_the_machine_s_is_there_with_its_cause_and_mend() -> None:
    rows = table(section("## On the machine"))
    agent, boot = agent_causes("agent.py", "../uploads.py"), boot_causes()
    assert len(agent) >= 12 and len(boot) >= 12
    assert {(code.strip("`"), cause) for code, cause, *_ in rows} == agent | boot
    said = "".join((MACHINE / name).read_text(encoding="utf-8") for name in ("agent.py", "../uploads.py", "boot.sh"))
    said = re.sub(r"[`\\]", "", said)
    assert [row[3] for row in rows if plain(row[3]) not in said] == []


def test_every_code_of_the_uploader_s_is_there_with_its_cause_and_mend() -> None:
    rows = table(section("## AWS: in the task", ON_AWS))
    names = ("../ecs/uploader.py", "../uploads.py")
    causes = agent_causes(*names)
    assert len(causes) >= 10
    assert {(code.strip("`"), cause) for code, cause, *_ in rows} == causes
    said = "".join((MACHINE / name).read_text(encoding="utf-8") for name in names).replace("`", "")
    assert [row[3] for row in rows if plain(row[3]) not in said] == []


# -- a pull-through cache --------------------------------------------------------------------------------------------


def first_pull_texts() -> set[tuple[str, str]]:
    """What a registry is told of, with ``…`` for what is filled in, and its cause: each of a pull's failures."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "components" / "image_digest.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "failed":
            what, cause = node.args
            parts = what.values if isinstance(what, ast.JoinedStr) else [what]
            text = "".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in parts)
            # One has its cause by the status.
            causes = [cause.attr] if isinstance(cause, ast.Attribute) else ["TRANSIENT", "IMAGE"]
            found |= {(text.replace("…/…", "…"), str(Cause[one])) for one in causes}
    return found


def test_what_the_first_pull_into_a_cache_says_is_there_with_its_mend() -> None:
    rows = table(section("### What the first pull into the cache says", ON_AWS))
    assert {(plain(row[0]), row[1]) for row in rows} == first_pull_texts() and len(rows) == len(first_pull_texts()) > 8
    for text, cause, _, mend in rows:
        said = str(image_digest._not_pulled("IMAGE", plain(text), Cause(cause)))
        assert said == f"IMAGE can't be pulled from here for the first time: its registry {plain(text)}. {plain(mend)}"


# -- stack files -----------------------------------------------------------------------------------------------------


GCE_LADDER = f"gpubench:ladder: [{{surface: gce, project: {PROJECT}, region: {REGION}, tier: l4}}]\n"
ECS_LADDER = f'gpubench:ladder: [{{surface: ecs, account: "{AWS_ACCOUNT}", region: {AWS_REGION}, tier: a10g}}]\n'


def read(body: str, folder: Path, *, ladder: str = GCE_LADDER, name: str = "Pulumi.dev.yaml") -> Settings:
    if not body.startswith("config:"):
        body = "config:\n" + textwrap.indent(ladder + body, "  ")
    path = folder / name
    path.write_text(body, encoding="utf-8")
    file = read_stack_file(path)
    return Settings.from_config(file.values, file.secret_keys, source=path.name)


def test_mistakes(tmp_path: Path) -> None:
    (written,) = re.findall(r"^```yaml mistakes\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text mistakes\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    with pytest.raises(SettingsError) as caught:
        read(written, tmp_path)
    assert str(caught.value) == printed.rstrip("\n")


def test_mistakes_of_a_file_for_aws(tmp_path: Path) -> None:
    (written,) = re.findall(r"^```yaml mistakes of Pulumi.aws.yaml\n(.*?)^```$", ON_AWS, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text mistakes of Pulumi.aws.yaml\n(.*?)^```$", ON_AWS, re.MULTILINE | re.DOTALL)
    with pytest.raises(SettingsError) as caught:
        read(written, tmp_path, name="Pulumi.aws.yaml")
    assert str(caught.value) == printed.rstrip("\n")


EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", GCE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("body", EXAMPLES)
def test_the_guide_s_stack_files_are_right(body: str, tmp_path: Path) -> None:
    found = read(body, tmp_path)
    assert {rung.surface for rung in found.ladder} == {"gce"}
    if body.startswith("config:"):
        # What the surface itself demands: else the guide would lead into a refusal.
        assert found.results.kind == "gs" and found.benchmark.image


def test_the_guide_s_roles_and_apis_are_those_that_are_needed() -> None:
    assert len(EXAMPLES) == 5
    roles = {one for row in table(section("### Who may do it", GCE)) for one in re.findall(r"`([^`]+)`", row[0])}
    assert {need.role for need in access.NEEDS} <= roles
    apis = {row[0].strip("`") for row in table(section("### APIs", GCE))}
    assert set(re.findall(r"\b[a-z]+\.googleapis\.com\b", section("### APIs", GCE).partition("|")[0])) == apis
    asked = {google.COMPUTE, google.QUOTAS, google.REGISTRY, google.PROJECTS, google.IAM, google.STORAGE}
    agent = (MACHINE / "agent.py").read_text(encoding="utf-8")
    assert asked | set(re.findall(r"https://([a-z]+\.googleapis\.com)", agent)) == apis


AWS_EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", ECS, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("body", AWS_EXAMPLES)
def test_the_aws_guide_s_stack_files_are_right(body: str, tmp_path: Path) -> None:
    found = read(body, tmp_path, ladder=ECS_LADDER, name="Pulumi.aws.yaml")
    assert {rung.surface for rung in found.ladder} == {"ecs"} and all(rung.place.project for rung in found.ladder)
    if body.startswith("config:"):
        assert found.results.kind == "s3" and found.benchmark.image
        assert "\n  aws:region: us-east-1" in body, "plain `pulumi up` starts no provider of AWS's without"
        # On ECR a repository has one name of images: another one than the stack's is made by nobody.
        if found.benchmark.build is not None:
            assert found.registry == found.benchmark.image.partition(":")[0]


def test_the_aws_guide_s_migration_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (body,) = [one for one in AWS_EXAMPLES if "cpu" in one]
    (printed,) = re.findall(r"^```text migrate\n(.*?)^```$", ECS, re.MULTILINE | re.DOTALL)
    (tmp_path / "Pulumi.aws.yaml").write_text(body, encoding="utf-8")
    monkeypatch.setattr(cli, "PROJECT_ROOT", tmp_path)
    assert cli.main(["migrate", "--stack", "aws", "--to", "us-west-2"]) == 0
    assert capsys.readouterr().out == printed
    moved = read((tmp_path / "Pulumi.aws-us-west-2.yaml").read_text(encoding="utf-8"), tmp_path, name="Pulumi.x.yaml")
    assert {rung.place.region for rung in moved.ladder} == {"us-west-2"}


# -- who may do it, on AWS -------------------------------------------------------------------------------------------


@cache
def statements() -> list[dict[str, Any]]:
    """Of the policy that docs/ecs.md has to be copied."""
    (written,) = re.findall(r"^```json policy\n(.*?)^```$", ECS, re.MULTILINE | re.DOTALL)
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: without white space.
    assert len(re.sub(r"\s", "", written)) <= 6144, "a managed policy takes no more characters"
    found = json.loads(written)
    assert found["Version"] == "2012-10-17"
    return list(found["Statement"])


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowing(action: str, on: str) -> Iterator[dict[str, Any]]:
    for one in statements():
        actions, resources = listed(one["Action"]), listed(one["Resource"])
        if any(fnmatchcase(action, each) for each in actions) and any(fnmatchcase(on, each) for each in resources):
            yield one


@pytest.mark.parametrize("need", AWS_NEEDS, ids=lambda need: need.action)
def test_the_policy_allows_what_the_preflight_asks_about(need: ecs_access.Need) -> None:
    assert any("Condition" not in one for one in allowing(need.action, PLACE.arn(need.on)))


def test_the_policy_hands_on_the_stack_s_roles_alone_and_to_whom_they_are() -> None:
    for what in ("instance", "execution", "task", "infrastructure", "clock"):
        role = PLACE.role(what)
        (one,) = allowing(ecs_access.HAND_OVER, role)
        to = one["Condition"]["StringEquals"]["iam:PassedToService"]
        assert ecs_preflight._passed_to(role) in to
    assert not list(allowing(ecs_access.HAND_OVER, f"arn:aws:iam::{AWS_ACCOUNT}:role/admin"))
    for service in ecs_access.SERVICE_ROLES:
        (one,) = allowing(ecs_access.MAKE_SERVICE_ROLE, PLACE.service_role(service))
        assert service in one["Condition"]["StringEquals"]["iam:AWSServiceName"]


_SERVICES = {
    "autoscaling": "autoscaling",
    "ec2": "ec2",
    "ecr": "ecr",
    "ecs": "ecs",
    "iam": "iam",
    "logs": "logs",
    "route53": "route53",
    "scheduler": "scheduler",
    "secretsmanager": "secretsmanager",
    "servicequotas": "service-quotas",
    "ssm": "ssm",
}
"""Services whose actions are called as their operations are, as IAM calls them, and as botocore does."""


@cache
def operations(service: str) -> frozenset[str]:
    import botocore.session

    return frozenset(botocore.session.Session().get_service_model(_SERVICES[service]).operation_names)


def test_the_policy_s_actions_exist() -> None:
    written = {action for one in statements() for action in listed(one["Action"])}
    assert len(written) > 80
    written -= {ecs_access.HAND_OVER, "ecr:BatchImportUpstreamImage"}  # permissions that no operation has the name of
    parts = {(action.partition(":")[0], action.partition(":")[2]) for action in written}
    assert {service for service, _ in parts} == {*_SERVICES, "s3"}
    known = {(service, name) for service, name in parts if service in _SERVICES}
    assert {(s, name) for s, name in known if not any(fnmatchcase(one, name) for one in operations(s))} == set()


def test_the_policy_allows_what_gpubench_itself_asks_of_aws() -> None:
    tree = ast.parse((ROOT / "components" / "ecs" / "amazon.py").read_text(encoding="utf-8"))
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    called |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    camel = {"".join(part.capitalize() for part in name.split("_")).lower() for name in called if "_" in name}
    allowed = {action for one in statements() for action in listed(one["Action"])}
    asked: dict[str, list[str]] = {}  # several services have an operation of one name: any of them will do
    for service in _SERVICES:
        for name in operations(service):
            if name.lower() in camel:
                asked.setdefault(name, []).append(f"{service}:{name}")
    assert {"RunTask", "TerminateInstances", "DescribeScalingActivities", "SimulatePrincipalPolicy"} <= asked.keys()
    assert [
        names for names in asked.values() if not any(fnmatchcase(one, each) for one in names for each in allowed)
    ] == []
    for action in ("s3:ListBucket", "s3:GetBucketTagging"):
        assert list(allowing(action, PLACE.arn("bucket")))


def test_the_aws_guide_names_things_as_they_are_called() -> None:
    left = section("## What is made, and what is left", ECS)
    roles = [role_name("aws", what) for what in ("instance", "execution", "task")]
    for name in (base_name("x")[:-1], log_group("aws"), *roles, STACK_LABEL, ATTEMPT_LABEL):
        assert f"`{name}" in left, name
    codes = {code for row in table(section("## Quotas", ECS)) for code in re.findall(r"`(L-[0-9A-F]+)`", row[1])}
    sold = catalog.offers(surface=Surface.ECS)
    assert codes == {one.quota_id for offer in sold for purchase in offer.purchases for one in offer.quotas(purchase)}
