"""docs/settings.md says what the code does: its examples are read, its tables are held against the code."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import yaml

from settings import (
    AWS_NETWORKS,
    BOOT_DISK_GB,
    DEFAULT_ATTEMPT_MINUTES,
    DEFAULT_BUDGET_HOURS,
    DEFAULT_BUDGET_USD,
    DEFAULT_RESULTS,
    DEFAULT_TIMEOUT_MINUTES,
    KNOWN_KEYS,
    MAX_ATTEMPT_MINUTES,
    MAX_BATCH_SIZE,
    MAX_BUDGET_HOURS,
    MAX_BUDGET_USD,
    MAX_LABELS,
    MAX_QUOTA_LIMIT,
    MAX_REPEATS,
    MAX_TIMEOUT_MINUTES,
    MIN_JUSTIFICATION,
    PRECISIONS,
    PROFILES,
    SCENARIOS,
    VOLUME_GB,
    Comparability,
    Order,
    Settings,
    SettingsError,
    read_stack_file,
)
from settings.shapes import (
    AwsShape,
    BenchmarkShape,
    BudgetShape,
    BuildShape,
    EntryShape,
    GoogleShape,
    PlacementShape,
    QuotaIncreaseShape,
)

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "workload" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (body, BLOCKS[index + 1][1].split() if BLOCKS[index + 1 : index + 2] and BLOCKS[index + 1][0] == "rungs" else None)
    for index, (kind, body) in enumerate(BLOCKS)
    if kind == "yaml"
]


def load(body: str, folder: Path) -> Settings:
    """The settings of an example; a single key is put beside the smallest ladder."""
    if not body.startswith("config:"):
        body = textwrap.indent("gpubench:ladder: [{surface: local}]\n" + body, "  ")
        body = "config:\n" + body
    path = folder / "Pulumi.dev.yaml"
    path.write_text(body, encoding="utf-8")
    file = read_stack_file(path)
    return Settings.from_config(file.values, file.secret_keys, source=path.name)


def rows(heading: str) -> dict[str, list[str]]:
    """The first table under a heading that begins with a column `key`: its rows by their keys."""
    table = TEXT.partition(f"\n{heading}\n")[2].partition("| key |")[2].partition("\n\n")[0]
    found: dict[str, list[str]] = {}
    for line in table.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        for key in re.findall(r"`([a-z_]+)`", cells[0]):
            found[key] = cells[1:]
    return found


@pytest.mark.parametrize(("body", "rungs"), EXAMPLES)
def test_examples(body: str, rungs: list[str] | None, tmp_path: Path) -> None:
    found = load(body, tmp_path)
    assert rungs is None or [rung.id for rung in found.ladder] == rungs


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 9 and sum(rungs is not None for _, rungs in EXAMPLES) >= 5


def test_the_three_examples_are_what_their_headings_say(tmp_path: Path) -> None:
    part = TEXT.partition("## Three examples")[2]
    bodies = re.findall(r"^```yaml\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    here, gce, ecs = (load(body, tmp_path) for body in bodies)
    assert [rung.surface for rung in here.ladder] == ["local"] and here.benchmark.is_built_in
    assert list(dict.fromkeys(rung.tier for rung in gce.ladder)) == ["h100", "a100-40", "l4", "any"]
    assert all(rung.offers for rung in gce.ladder[:-1]) and gce.results.bucket == "my-project-results"
    assert list(dict.fromkeys(rung.tier for rung in ecs.ladder)) == ["a10g", "t4", "cpu"]
    assert all(rung.surface == "ecs" and rung.offers for rung in ecs.ladder)


def test_mistakes(tmp_path: Path) -> None:
    (written,) = [body for kind, body in BLOCKS if kind == "yaml mistakes"]
    (printed,) = [body for kind, body in BLOCKS if kind == "text mistakes"]
    with pytest.raises(SettingsError) as caught:
        load(written, tmp_path)
    assert str(caught.value) == printed.rstrip("\n")


def test_every_key_is_there() -> None:
    assert re.findall(r"^\| \[?`gpubench:(\w+)`", TEXT, re.MULTILINE) == list(KNOWN_KEYS)
    assert set(rows("## The ladder")) == set(EntryShape.model_fields)
    assert set(rows("## The benchmark")) == set(BenchmarkShape.model_fields)
    assert set(rows("### Building the image")) == set(BuildShape.model_fields)
    assert set(rows("### Budget")) == set(BudgetShape.model_fields)
    assert set(rows("### Placement")) == set(PlacementShape.model_fields)
    assert set(rows("### Google")) == set(GoogleShape.model_fields)
    assert set(rows("### AWS")) == set(AwsShape.model_fields)
    assert set(rows("#### Quota increases")) == set(QuotaIncreaseShape.model_fields)


def test_defaults_and_limits_are_the_code_s() -> None:
    benchmark, budget, placement = rows("## The benchmark"), rows("### Budget"), rows("### Placement")
    assert benchmark["timeout_minutes"][1:3] == [
        f"`{DEFAULT_TIMEOUT_MINUTES:g}`",
        f"0.02 to {MAX_TIMEOUT_MINUTES:,} (seven days)",
    ]
    assert benchmark["repeats"][2].startswith(f"1 to {MAX_REPEATS}")
    assert benchmark["batch_sizes"][2].startswith(f"1 to {MAX_BATCH_SIZE:,}")
    for key, words in (("profile", PROFILES), ("scenarios", SCENARIOS), ("precisions", PRECISIONS)):
        assert re.findall(r"`([^`]+)`", benchmark[key][2])[: len(words)] == list(words)
    assert budget["usd"][1:3] == [f"`{DEFAULT_BUDGET_USD:g}`", f"more than 0, up to {MAX_BUDGET_USD:,}"]
    assert budget["hours"][1:3] == [f"`{DEFAULT_BUDGET_HOURS:g}`", f"more than 0, up to {MAX_BUDGET_HOURS:,}"]
    for key, allowed in (("order", Order), ("comparability", Comparability)):
        assert re.findall(r"`([^`]+)`", placement[key][2]) == [str(one) for one in allowed]
    assert placement["attempt_minutes"][1:3] == [
        f"`{DEFAULT_ATTEMPT_MINUTES:g}`",
        f"more than 0, up to {MAX_ATTEMPT_MINUTES:,} (seven days)",
    ]
    google, increase = rows("### Google"), rows("#### Quota increases")
    assert google["boot_disk_gb"][2] == f"{BOOT_DISK_GB[0]} to {BOOT_DISK_GB[1]:,}"
    aws = rows("### AWS")
    assert re.findall(r"`([^`]+)`", aws["network"][2])[: len(AWS_NETWORKS)] == list(AWS_NETWORKS)
    assert aws["network"][1] == f"`{AWS_NETWORKS[0]}`"
    assert aws["volume_gb"][2] == f"{VOLUME_GB[0]} to {VOLUME_GB[1]:,}"
    assert google["nat"][1] == f"`{str(Settings(ladder=()).google.nat).lower()}`"
    assert increase["limit"][2].startswith(f"1 to {MAX_QUOTA_LIMIT:,}:")
    assert increase["justification"][2].startswith(f"at least {MIN_JUSTIFICATION} characters")
    assert f"at most {MAX_LABELS}." in TEXT and f"text, default `{DEFAULT_RESULTS}`" in TEXT


def test_pulumi_yaml_demands_the_ladder_alone() -> None:
    # The Pulumi CLI refuses a stack that lacks a declared key without a default; null is none.
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    assert [*declared, "registry", "rung"] == list(KNOWN_KEYS)
    assert [key for key, one in declared.items() if one.get("default") is None] == ["ladder"]
    defaults = {f"gpubench:{key}": one["default"] for key, one in declared.items() if "default" in one}
    ladder = [{"surface": "local"}]
    bare, filled = (
        Settings.from_config({"gpubench:ladder": ladder, **values}, frozenset(), source="x")
        for values in ({}, defaults)
    )
    assert bare == filled


def anchors(page: Path) -> set[str]:
    """The headings' anchors, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sets = re.findall(r"<(?:img|source)\b[^>]*?\bsrcset=\"([^\"]+)\"", text)
    targets = [
        *re.findall(r"\]\(([^)\s]+)[^)]*\)", text),
        *re.findall(r"<(?:a|img)\b[^>]*?\b(?:href|src)=\"([^\"]+)\"", text),
        *(candidate.split()[0] for one in sets for candidate in one.split(",")),
    ]
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_the_readme_s_links_are_seen() -> None:
    assert ROOT / "README.md" in PAGES and len(PAGES) >= 5
