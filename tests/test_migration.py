"""A stack's file for another region: what is moved, what is left out and said, and what stays as it was written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from settings import Settings, SettingsError, read_stack_file
from settings.migration import Migration, MigrationError, migrate

ROOT = Path(__file__).parents[1]
STACK = """\
# What we measure every week.
secretsprovider: gcpkms://keys
encryptionsalt: v1:abc=
config:
  aws:region: us-east-1
  gpubench:ladder:
    # g5 is cheaper
    - surface: ecs
      account: "012345678901"   # ours
      regions: [us-east-1, us-east-2]
      tiers: [a10g, t4]
      machine_types: [g5.xlarge, g4dn.xlarge]
      purchases: [spot, on-demand]
    - {surface: ecs, account: "012345678901", region: us-east-1, zone: use1-az1, tier: t4, purchase: spot}
    - {surface: ecs, account: "012345678901", region: us-west-2, tier: t4, machine_type: g4dn.2xlarge}
    - {surface: ecs, account: "012345678901", region: us-east-1, tier: l40s}
    - {surface: gce, project: my-project, region: us-central1, tier: l4}
    - surface: local
  gpubench:benchmark:
    image: 012345678901.dkr.ecr.us-east-1.amazonaws.com/sdxl:1.4
    env: {HF_TOKEN: {secret: huggingface}}
  gpubench:results: s3://team/sdxl
  gpubench:aws:
    subnets: {us-east-1: [subnet-0a1b2c3d]}
    security_groups: {us-east-1: sg-0a1b2c3d}
  gpubench:huggingface:
    secure: v1:AAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
"""


def moved(region: str, text: str = STACK) -> Migration:
    return migrate(text, region, "Pulumi.weekly.yaml")


def settings(made: Migration, folder: Path) -> Settings:
    path = folder / "Pulumi.weekly-there.yaml"
    path.write_text(made.text)
    values = {**read_stack_file(path).values, **{key: {"secure": "v1:x"} for key in made.secrets}}
    return Settings.from_config(values, made.secrets, source=path.name)


def test_a_region_of_aws(tmp_path: Path) -> None:
    made = moved("eu-central-1")
    there = settings(made, tmp_path)
    places = {(rung.surface, rung.place.region) for rung in there.ladder}
    assert places == {("ecs", "eu-central-1"), ("gce", "us-central1"), ("local", None)}
    assert [rung.tier for rung in there.ladder if rung.surface == "ecs"].count("t4") == 3
    assert there.results.url == "s3://team/sdxl"
    assert there.aws.subnets == {}
    assert made.secrets == ["gpubench:huggingface"]
    assert made.provider == "gcpkms://keys"
    notes = "\n".join(made.notes)
    assert "gpubench:ladder[1].zone is left out" in notes
    assert "gpubench:ladder[1] is left out: an entry before it has the same rungs now" in notes
    assert "gpubench:aws.subnets: without us-east-1; name those of eu-central-1" in notes
    assert "aws:region: eu-central-1" in made.text
    for kept in ("# What we measure every week.", "# g5 is cheaper", "# ours", '"012345678901"', "{surface: gce,"):
        assert kept in made.text
    for dropped in ("encryptionsalt", "secretsprovider", "secure", "us-east-1}", "subnet"):
        assert dropped not in made.text.replace("sdxl:1.4", "")


def test_a_network_with_endpoints_reaches_its_own_region_alone(tmp_path: Path) -> None:
    subnets = STACK.index("    subnets:")
    text = STACK[:subnets] + "    network: endpoints\n" + STACK[STACK.index("  gpubench:huggingface") :]
    made = moved("us-west-2", text)
    assert settings(made, tmp_path).aws.network == "endpoints"
    (image, bucket) = [note for note in made.notes if "gpubench:aws.network" in note]
    assert "us-west-2 alone: copy gpubench:benchmark.image into its ECR" in image
    assert "the bucket of gpubench:results has to be there, too" in bucket
    there = text.replace(".us-east-1.amazonaws", ".us-west-2.amazonaws")
    assert [note for note in moved("us-west-2", there).notes if "aws.network" in note] == [bucket]
    for reaching in (text.replace("network: endpoints", "network: nat"), STACK):
        assert "network" not in "\n".join(moved("us-west-2", reaching).notes)
    assert "network" not in "\n".join(moved("europe-west4", text).notes), "AWS's rungs stay where they are"


def test_what_is_not_sold_there_is_left_out_and_said(tmp_path: Path) -> None:
    made = moved("us-west-1")  # it has T4, and neither A10G nor L40S
    there = settings(made, tmp_path)
    assert {rung.tier for rung in there.ladder if rung.surface == "ecs"} == {"t4"}
    notes = "\n".join(made.notes)
    assert "gpubench:ladder[0].tiers: without a10g, which us-west-1 doesn't have" in notes
    assert "gpubench:ladder[0].machine_types: without g5.xlarge" in notes
    assert "gpubench:ladder[3] is left out: ecs in us-west-1 has no l40s" in notes


def test_a_region_of_google_leaves_aws_as_it_is(tmp_path: Path) -> None:
    made = moved("europe-west4")
    there = settings(made, tmp_path)
    assert {rung.place.region for rung in there.ladder if rung.surface == "gce"} == {"europe-west4"}
    assert {rung.place.region for rung in there.ladder if rung.surface == "ecs"} == {
        "us-east-1",
        "us-east-2",
        "us-west-2",
    }
    assert there.aws.subnets == {"us-east-1": ("subnet-0a1b2c3d",)}


def test_runs_are_due_again_there_and_have_the_same_names(tmp_path: Path) -> None:
    from benchmark_job.order import run_orders

    before = Settings.from_config(
        {**read_stack_file(_written(tmp_path)).values}, ["gpubench:huggingface"], source="Pulumi.weekly.yaml"
    )
    after = settings(moved("us-west-2"), tmp_path)
    image = f"x@sha256:{'ab' * 32}"
    old, new = (run_orders(one, one.ladder[0], "weekly", image)[0] for one in (before, after))
    assert old.run == new.run, "so they can be compared"
    here = {rung.id for rung in before.ladder if rung.place.region in ("us-east-1", "us-east-2")}
    assert not here & set(new.rungs), "and the old regions' results don't stand for them"


def _written(folder: Path) -> Path:
    path = folder / "Pulumi.weekly.yaml"
    path.write_text(STACK)
    return path


def test_a_pinned_rung_and_a_reservation_stay_behind(tmp_path: Path) -> None:
    reserved = '{surface: ecs, account: "012345678901", region: us-east-1, zone: use1-az1, tier: t4, purchase: reserved'
    text = (
        f"config:\n  gpubench:ladder:\n    - {reserved}, reservation: cr-0a1b2c3d4e5f60718}}\n"
        '    - {surface: ecs, account: "012345678901", region: us-east-1, tier: t4, machine_type: g4dn.xlarge}\n'
        "  gpubench:rung: ecs/012345678901/us-east-1/t4/on-demand/g4dn.xlarge\n"
    )
    made = moved("us-west-2", text)
    assert len(settings(made, tmp_path).ladder) == 1
    assert "reservation cr-0a1b2c3d4e5f60718 is one of another region" in "\n".join(made.notes)
    assert "gpubench:rung is left out" in "\n".join(made.notes)


@pytest.mark.parametrize(
    ("region", "text", "said"),
    [
        ("us-wset-2", STACK, "did you mean us-west-2?"),
        ("us-esat-1", STACK, "did you mean us-east-1?"),
        ("us-gov-west-1", STACK, "regions in China and GovCloud aren't built"),
        (
            "us-west-2",
            "config:\n  gpubench:ladder: [{surface: local}]\n",
            "no entry is on a surface that us-west-2 has",
        ),
        (
            "us-west-1",
            'config:\n  gpubench:ladder: [{surface: ecs, account: "012345678901", region: us-east-1, tier: l40s}]\n',
            "ecs in us-west-1 has no l40s",
        ),
    ],
)
def test_where_it_cannot_go(region: str, text: str, said: str) -> None:
    with pytest.raises(MigrationError, match="--to") as failed:
        moved(region, text)
    assert said in str(failed.value)


def test_a_file_with_mistakes_is_told_as_ever() -> None:
    with pytest.raises(SettingsError, match="did you mean local"):
        moved("us-west-2", "config:\n  gpubench:ladder: [{surface: locall}]\n")


def test_the_command_says_the_steps_and_overwrites_nothing(tmp_path: Path) -> None:
    project = tmp_path / "gpubench"
    project.mkdir()
    for one in ROOT.iterdir():
        if not one.name.startswith(".") and one.name not in ("results", "Pulumi.weekly.yaml"):
            (project / one.name).symlink_to(one)
    (project / "cli.py").unlink()
    (project / "cli.py").write_text((ROOT / "cli.py").read_text())  # what it writes, it writes beside itself
    (project / "Pulumi.weekly.yaml").write_text(STACK)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(project / "cli.py"), "migrate", "--stack", "weekly", "--to", "us-west-2", *more]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=60)

    done = run()
    assert done.returncode == 0, done.stderr
    assert "pulumi stack init weekly-us-west-2 --secrets-provider=gcpkms://keys" in done.stdout
    assert "pulumi config cp --stack weekly --dest weekly-us-west-2 gpubench:huggingface" in done.stdout
    assert "./gpubench destroy --stack weekly" in done.stdout
    assert (project / "Pulumi.weekly-us-west-2.yaml").read_text() == moved("us-west-2").text
    again = run()
    assert again.returncode == 2
    assert "nothing is overwritten" in again.stderr
    assert run("--name", "a/b").returncode == 2
