"""docs/errors.md says what the code does: its texts are classified, its mends and permissions held against the code.

docs/gce.md is held against it where both speak of the same: stack files, roles and APIs.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

from catalog.repositories import repository_of
from components.gce import access, google
from components.gce.names import service_account_id
from placement import quota_requests
from placement.causes import Cause, Where, classify
from placement.causes.model import WALKS_ON
from placement.causes.patterns import TABLE, containers, gpubench
from placement.causes.patterns import google as google_patterns
from placement.causes.patterns.model import Pattern
from settings import Settings, SettingsError, read_stack_file

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
GCE = (ROOT / "docs" / "gce.md").read_text(encoding="utf-8")
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
"""What the page says that its examples are of."""

WALK: dict[Cause | None, str] = {
    Cause.INTERRUPTED: "the walk resumes",
    Cause.TRANSIENT: "the walk tries again",
    None: "the walk waits",
    **dict.fromkeys(WALKS_ON, "the walk goes on"),
}
SECTION = re.compile(r"^### (`[a-z-]+`|none): (the walk [a-z ]+)$", re.MULTILINE)


def section(heading: str, text: str = TEXT) -> str:
    """What is under a heading, as far as the next one of any level."""
    return re.split(r"^#+ ", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> list[list[str]]:
    """The rows of the first table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def plain(cell: str) -> str:
    return "" if cell == "–" else cell.replace("`", "")


ROWS = [(found[1].strip("`"), found[2], *row) for found in SECTION.finditer(TEXT) for row in table(section(found[0]))]
"""Cause and walk, and a row's four cells, of each text of Google's or of docker's."""


def patterns(*modules: object) -> list[Pattern]:
    groups = [value for module in modules for value in vars(module).values() if isinstance(value, tuple)]
    return [one for group in groups for one in group if isinstance(one, Pattern)]


# -- Google's words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cause", "walk", "name", "text", "mend"), [(*r[:4], r[5]) for r in ROWS])
def test_a_text_is_classified_and_mended_as_the_page_says(
    cause: str, walk: str, name: str, text: str, mend: str
) -> None:
    failure = classify(text.removeprefix("`").removesuffix("`"), WHERE)
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


# -- commands --------------------------------------------------------------------------------------------------------


def commands() -> list[str]:
    """What begins with gcloud in the tables."""
    cells = re.findall(r"`([^`]*)`", "\n".join(line for line in TEXT.splitlines() if line.startswith("|")))
    return [cell for cell in cells if cell.startswith("gcloud ")]


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
    found = commands()
    assert len(found) >= 12
    assert [one for one in found if one not in given] == []


def test_the_permissions_are_those_that_the_preflight_asks_about() -> None:
    rights = TEXT.partition("| permission | role | what for |")[2].partition("\n\n")[0]
    wanted = [[f"`{n.permission}`", f"`{n.role}`", n.why] for n in access.NEEDS]
    assert table("| permission | role | what for |" + rights) == wanted


# -- the machine -----------------------------------------------------------------------------------------------------


def agent_causes() -> set[tuple[str, str]]:
    """Code and cause of each `Cause(…)` of the agent's."""
    calls = [
        node
        for node in ast.walk(ast.parse((MACHINE / "agent.py").read_text(encoding="utf-8")))
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
    agent, boot = agent_causes(), boot_causes()
    assert len(agent) >= 12 and len(boot) >= 12
    assert {(code.strip("`"), cause) for code, cause, *_ in rows} == agent | boot
    said = "".join((MACHINE / name).read_text(encoding="utf-8") for name in ("agent.py", "boot.sh"))
    said = re.sub(r"[`\\]", "", said)
    assert [row[3] for row in rows if plain(row[3]) not in said] == []


# -- stack files -----------------------------------------------------------------------------------------------------


def read(body: str, folder: Path) -> Settings:
    if not body.startswith("config:"):
        ladder = f"gpubench:ladder: [{{surface: gce, project: {PROJECT}, region: {REGION}, tier: l4}}]\n"
        body = "config:\n" + textwrap.indent(ladder + body, "  ")
    path = folder / "Pulumi.dev.yaml"
    path.write_text(body, encoding="utf-8")
    file = read_stack_file(path)
    return Settings.from_config(file.values, file.secret_keys, source=path.name)


def test_mistakes(tmp_path: Path) -> None:
    (written,) = re.findall(r"^```yaml mistakes\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text mistakes\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    with pytest.raises(SettingsError) as caught:
        read(written, tmp_path)
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
