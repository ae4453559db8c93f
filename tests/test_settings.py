"""Broken and good stack files, as real YAML, through read_stack_file and Settings.from_config."""

# ruff: noqa: E501  the tables have one case a line

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import offers
from placement.ladder import Purchase, Surface
from settings import (
    Access,
    Comparability,
    Google,
    Mistake,
    Order,
    Placement,
    QuotaIncrease,
    SecretRef,
    Settings,
    SettingsError,
    looks_like_credential,
    names_a_secret,
    read_stack_file,
)

LOCAL = "gpubench:ladder: [{surface: local}]"
SHA = "a" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# Canaries: made up, in the forms of real ones. Put together here so that no scanner takes this file for a leak.
AWS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB = "ghp_" + "q7Zp1mK9xW3vB5nT8rY2cL6dF4gH0jS1aQwE"
HUGGING_FACE = "hf_" + "QkzPwXvBnMrTyUiOpAsDfGhJkL"
OPENAI = "sk-" + "proj-9f8e7d6c5b4a39281706"
GOOGLE = "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"
PEM = "-----BEGIN " + "RSA PRIVATE KEY-----"
PASSWORD = "correct-horse-battery"
CANARIES = (AWS_KEY, GITHUB, HUGGING_FACE, OPENAI, GOOGLE, PEM, PASSWORD)


class Broken(NamedTuple):
    """A config, and the mistakes that it has: (path without the namespace, a fragment of the message)."""

    name: str
    config: str
    mistakes: tuple[tuple[str, str], ...]


def rung(text: str, *more: str) -> str:
    """A config of one entry on Google Cloud (project given for the whole stack)."""
    lines = "\n".join(f"  - {{{entry}}}" for entry in (text, *more))
    return f"gcp:project: my-project\ngpubench:ladder:\n{lines}"


def bench(text: str) -> str:
    return f"{LOCAL}\ngpubench:benchmark: {{{text}}}"


def google(text: str, ladder: str | None = None) -> str:
    """A config whose ladder has one rung on Google Cloud unless another is given."""
    return f"{ladder or rung(f'{CENTRAL}, tier: l4')}\ngpubench:google: {{{text}}}"


def aws(text: str, ladder: str | None = None) -> str:
    """A config whose ladder has one rung on ECS unless another is given."""
    return f"{ladder or f'gpubench:ladder: [{{{EAST}, tier: t4}}]'}\ngpubench:aws: {{{text}}}"


GOOD_INCREASE = {
    "quota_id": "NVIDIA-L4-GPUS-per-project-region",
    "limit": "4",
    "email": "bench@example.com",
    "justification": "weekly benchmark of four L4",
}


def increase(without: str = "", **keys: str) -> str:
    """A good quota increase, but for the keys given."""
    return "{" + ", ".join(f"{key}: {one}" for key, one in (GOOD_INCREASE | keys).items() if key != without) + "}"


CENTRAL = "surface: gce, region: us-central1"
H200 = sorted({region for offer in offers(surface="gce", tier="h200") for region in offer.regions})
EAST = 'surface: ecs, account: "123456789012", region: us-east-1'

BROKEN = [
    # -- the ladder as a whole
    Broken("no ladder", "gpubench:access: private", (("ladder", "missing"),)),
    Broken("empty ladder", "gpubench:ladder: []", (("ladder", "an empty ladder"),)),
    Broken("ladder is nothing", "gpubench:ladder:", (("ladder", "nothing"),)),
    Broken("ladder is a mapping", "gpubench:ladder: {surface: local}", (("ladder", "put a `- ` before"),)),
    Broken("ladder is a text", "gpubench:ladder: local", (("ladder", "write a list"),)),
    Broken("ladder is a number", "gpubench:ladder: 3", (("ladder", "write a list"),)),
    Broken("entry is a text", "gpubench:ladder: [local]", (("ladder[0]", "a mapping with keys"),)),
    Broken("entry is empty", "gpubench:ladder: [{}]", (("ladder[0].surface", "missing"),)),
    Broken(
        "duplicate rung", "gpubench:ladder: [{surface: local}, {surface: local}]", (("ladder[1]", "made by gpubench:ladder[0]"),)
    ),
    Broken(
        "duplicate rung by default purchase",
        rung(f"{CENTRAL}, tier: l4", f"{CENTRAL}, tiers: [t4, l4], purchases: [spot, on-demand]"),
        (("ladder[1]", "l4/on-demand/g2-standard-4"),),
    ),
    # -- unknown keys
    Broken("misspelt entry key", "gpubench:ladder: [{surfce: local}]", (("ladder[0].surfce", "did you mean surface?"),)),
    Broken(
        "misspelt tier key",
        rung(f"{CENTRAL}, teir: l4"),
        (("ladder[0].teir", "did you mean tier?"),),
    ),
    Broken("unknown setting", f"{LOCAL}\ngpubench:acces: public", (("acces", "did you mean access?"),)),
    Broken("unrelated key", f"{LOCAL}\ngpubench:colour: blue", (("colour", "pulumi config rm gpubench:colour"),)),
    Broken("key without namespace", f"{LOCAL}\nbudgt: 5", (("!budgt", "write gpubench:budget"),)),
    Broken("misspelt namespace", f"{LOCAL}\ngpubnech:budget: {{usd: 5}}", (("!gpubnech:budget", "did you mean gpubench:budget?"),)),
    Broken("unknown benchmark key", bench("batchsizes: [1]"), (("benchmark.batchsizes", "did you mean batch_sizes?"),)),
    Broken("unknown budget key", f"{LOCAL}\ngpubench:budget: {{eur: 5}}", (("budget.eur", "keys usd, hours"),)),
    Broken(
        "unknown code key",
        bench(f"code: {{repository: 'https://example.com/x', comit: {COMMIT}, commit: {COMMIT}}}"),
        (("benchmark.code.comit", "did you mean commit?"),),
    ),
    # -- surfaces
    Broken("unknown surface", "gpubench:ladder: [{surface: gcp}]", (("ladder[0].surface", "local, gce, ecs, gke, cloud-run"),)),
    Broken(
        "underscore in surface", "gpubench:ladder: [{surface: cloud_run}]", (("ladder[0].surface", "did you mean cloud-run?"),)
    ),
    Broken("surface in capitals", "gpubench:ladder: [{surface: GKE}]", (("ladder[0].surface", "did you mean gke?"),)),
    Broken("surface is a boolean", "gpubench:ladder: [{surface: true}]", (("ladder[0].surface", "quote it"),)),
    Broken(
        "place on local",
        "gpubench:ladder: [{surface: local, region: us-east1, project: my-project, purchase: spot}]",
        (
            ("ladder[0].project", "local is this machine"),
            ("ladder[0].region", "local is this machine"),
            ("ladder[0].purchase", "yours already"),
        ),
    ),
    Broken("count without a tier", "gpubench:ladder: [{surface: local, count: 2}]", (("ladder[0].count", "no count with tier any"),)),
    Broken("half a GPU at home", "gpubench:ladder: [{surface: local, tier: l4, count: 0.5}]", (("ladder[0].count", "whole number"),)),
    # -- tiers
    Broken("unknown tier", rung(f"{CENTRAL}, tier: h10"), (("ladder[0].tier", "did you mean h100?"),)),
    Broken("tier too vague", rung(f"{CENTRAL}, tier: a100"), (("ladder[0].tier", "a100-40 or a100-80"),)),
    Broken("unknown tier with a machine type", rung(f"{CENTRAL}, tier: l44, machine_type: g2-standard-4"), (("ladder[0].tier", "did you mean l4?"),)),
    Broken("unknown tier in a list", rung(f"{CENTRAL}, tiers: [l4, l44]"), (("ladder[0].tiers[1]", "did you mean l4?"),)),
    Broken("no tier", rung(CENTRAL), (("ladder[0].tier", "missing"),)),
    Broken("no tiers", rung(f"{CENTRAL}, tiers: []"), (("ladder[0].tiers", "an empty list"), )),
    Broken("tier twice in a list", rung(f"{CENTRAL}, tiers: [l4, l4]"), (("ladder[0].tiers[1]", "again"),)),
    Broken("tier and tiers", rung(f"{CENTRAL}, tier: l4, tiers: [t4]"), (("ladder[0].tiers", "tier and tiers together"),)),
    Broken("tiers as text", rung(f"{CENTRAL}, tiers: l4"), (("ladder[0].tiers", "write tiers: [l4]"),)),
    Broken("tier as list", rung(f"{CENTRAL}, tier: [l4]"), (("ladder[0].tier", "write tiers: for a list"),)),
    Broken("any in the cloud", rung(f"{CENTRAL}, tier: any"), (("ladder[0].tier", "only on surface local"),)),
    Broken("machine type as tier", rung(f"{CENTRAL}, tier: a3-highgpu-1g"), (("ladder[0].tier", "tier: h100, machine_type"),)),
    Broken("A10G on GCE", rung(f"{CENTRAL}, tier: a10g"), (("ladder[0].tier", "a10g is sold on ecs"),)),
    Broken("T4 on Cloud Run", rung("surface: cloud-run, region: us-central1, tier: t4"), (("ladder[0].tier", "not sold on cloud-run"),)),
    Broken("H100 Mega on EC2", rung(f"{EAST}, tier: h100-mega"), (("ladder[0].tier", "sold on gce, gke"),)),
    Broken("norway tier", "gpubench:ladder: [{surface: local, tier: no}]", (("ladder[0].tier", '"no"'),)),
    # -- regions and zones
    Broken("no region", rung("surface: gce, tier: l4"), (("ladder[0].region", "pulumi config set gcp:region"),)),
    Broken("no region on ECS", "gpubench:ladder: [{surface: ecs, tier: l4}]", (("ladder[0].region", "aws:region"),)),
    Broken("misspelt region", rung("surface: gce, region: us-centrall1, tier: l4"), (("ladder[0].region", "did you mean us-central1?"),)),
    Broken("region in a list", rung("surface: gce, regions: [us-east1, us-eats4], tier: l4"), (("ladder[0].regions[1]", "us-east4"),)),
    Broken("AWS region on GCE", rung("surface: gce, region: us-east-1, tier: l4"), (("ladder[0].region", "wrong surface?"),)),
    Broken("GCE region on ECS", rung("surface: ecs, region: us-east1, tier: l4"), (("ladder[0].region", "gce"),)),
    Broken("zone as region", rung("surface: gce, region: us-central1-a, tier: l4"), (("ladder[0].region", "region: us-central1, zones: [us-central1-a]"),)),
    Broken("default region unknown", "gcp:project: my-project\ngcp:region: us-middle1\ngpubench:ladder: [{surface: gce, tier: l4}]", (("!gcp:region", "us-middle1"),)),
    Broken("H200 not in a region", rung("surface: gce, region: us-west4, tier: h200, count: 8"), (("ladder[0].region", "h200 x 8 is not sold on gce in us-west4"),)),
    Broken("L4 not in europe-north1", rung("surface: gce, regions: [us-east1, europe-north1], tiers: [l4]"), (("ladder[0].regions[1]", "l4 is not sold"),)),
    Broken("Cloud Run L4 not in us-west1", rung("surface: cloud-run, region: us-west1, tier: l4"), (("ladder[0].region", "europe-west4"),)),
    Broken("zone of another region", rung("surface: gce, region: us-east1, zones: [us-central1-a], tier: l4"), (("ladder[0].zones[0]", "is in us-central1"),)),
    Broken("unknown zone", rung("surface: gce, region: us-central1, zone: us-central1-z, tier: l4"), (("ladder[0].zone", "did you mean us-central1-"),)),
    Broken("tier not in the zone", rung("surface: gce, region: us-central1, zone: us-central1-b, tier: a100-80"), (("ladder[0].zone", "us-central1-a, us-central1-c"),)),
    Broken("AZ name", rung(f"{EAST}, tier: a10g, zone: us-east-1a"), (("ladder[0].zone", "use1-az1"),)),
    Broken("g6e not in az5", rung(f"{EAST}, tier: l40s, zone: use1-az5"), (("ladder[0].zone", "l40s is not sold in zone use1-az5"),)),
    Broken("zones on Cloud Run", rung("surface: cloud-run, region: us-central1, zones: [us-central1-a], tier: l4"), (("ladder[0].zones[0]", "runs in a region"),)),
    Broken("zones without region", rung("surface: gce, zones: [us-central1-a], tier: l4"), (("ladder[0].region", "write region: us-central1"),)),
    Broken("region without a zone", rung("surface: gce, regions: [us-central1, us-east1], zones: [us-central1-a], tier: l4"), (("ladder[0].regions[1]", "none of the zones"),)),
    # -- shapes and counts
    Broken("count not sold", rung(f"{CENTRAL}, tier: h100, count: 3"), (("ladder[0].count", "1, 2, 4, 8"),)),
    Broken("count of zero", rung(f"{CENTRAL}, tier: l4, count: 0"), (("ladder[0].count", "more than 0"),)),
    Broken("negative count", rung(f"{CENTRAL}, tier: l4, count: -1"), (("ladder[0].count", "more than 0"),)),
    Broken("count as text", rung(f'{CENTRAL}, tier: l4, count: "2"'), (("ladder[0].count", "write count: 2"),)),
    Broken("count as boolean", rung(f"{CENTRAL}, tier: l4, count: true"), (("ladder[0].count", "a number"),)),
    Broken("one H200", rung("surface: gce, region: us-central1, tier: h200"), (("ladder[0].count", "write count: 8"),)),
    Broken("one A100 on EC2", rung(f"{EAST}, tier: a100-40, count: 1"), (("ladder[0].count", "write count: 8"),)),
    Broken("count on cpu", rung(f"{EAST}, tier: cpu, count: 1"), (("ladder[0].count", "no count with tier cpu"),)),
    Broken("unknown machine type", rung(f"{CENTRAL}, tier: l4, machine_type: g2-standard-5"), (("ladder[0].machine_type", "did you mean g2-standard"),)),
    Broken("machine type of another surface", rung(f"{CENTRAL}, tier: l4, machine_type: g6.xlarge"), (("ladder[0].machine_type", "sold on ecs"),)),
    Broken("machine type of another tier", rung(f"{CENTRAL}, tier: l4, machine_type: a2-highgpu-1g"), (("ladder[0].machine_type", "brings tier a100-40"),)),
    Broken("GPU on Fargate", rung(f"{EAST}, tier: t4, machine_type: fargate-4-16gb"), (("ladder[0].machine_type", "Fargate has no GPU"),)),
    Broken("shapes of unequal count", rung(f"{CENTRAL}, tier: h100, machine_types: [a3-highgpu-1g, a3-highgpu-8g]"), (("ladder[0].machine_types", "they have 1, 8"),)),
    Broken("shape of another count", rung(f"{CENTRAL}, tier: h100, count: 8, machine_type: a3-highgpu-1g"), (("ladder[0].count", "8 GPUs are not sold of a3-highgpu-1g"),)),
    Broken("shape not in the region", rung("surface: ecs, region: us-east-1, tier: h200, machine_type: p5e.48xlarge"), (("ladder[0].machine_type", "p5en.48xlarge"),)),
    Broken("count and region of a shape", rung("surface: ecs, region: us-west-1, tier: h100, machine_type: p5.4xlarge"), (("ladder[0].region", "h100 is not sold"),)),
    # -- purchases
    Broken("H100 on demand", rung(f"{CENTRAL}, tier: h100, purchase: on-demand"), (("ladder[0].purchase", "a3-highgpu-1g (h100) is not sold on-demand"),)),
    Broken("a3-highgpu-1g on demand", rung(f"{CENTRAL}, tier: h100, machine_type: a3-highgpu-1g, purchases: [spot, on-demand]"), (("ladder[0].purchases[1]", "spot, flex-start"),)),
    Broken("a3-ultragpu-8g on demand", rung(f"{CENTRAL}, tier: h200, count: 8, purchase: on-demand"), (("ladder[0].purchase", "spot, flex-start, reserved"),)),
    Broken("B200 on demand", rung(f"{CENTRAL}, tier: b200, machine_type: a4-highgpu-8g, purchase: on-demand"), (("ladder[0].purchase", "a4-highgpu-8g"),)),
    Broken("p5e on demand", rung("surface: ecs, region: us-east-2, tier: h200, machine_type: p5e.48xlarge, purchase: on-demand"), (("ladder[0].purchase", "p5e.48xlarge"),)),
    Broken("spot on Cloud Run", rung("surface: cloud-run, region: us-central1, tier: l4, purchase: spot"), (("ladder[0].purchase", "allowed: on-demand"),)),
    Broken("flex-start on EC2", rung(f"{EAST}, tier: l4, purchase: flex-start"), (("ladder[0].purchase", "on-demand, spot, reserved"),)),
    Broken("preemptible", rung(f"{CENTRAL}, tier: l4, purchase: preemptible"), (("ladder[0].purchase", "did you mean spot?"),)),
    Broken("misspelt purchase", rung(f"{CENTRAL}, tier: l4, purchase: on_demand"), (("ladder[0].purchase", "did you mean on-demand?"),)),
    Broken("purchase is a boolean", rung(f"{CENTRAL}, tier: l4, purchase: true"), (("ladder[0].purchase", "quote it"),)),
    Broken("reserved without a reservation", rung(f"{CENTRAL}, tier: l4, purchase: reserved"), (("ladder[0].reservation", "missing"),)),
    Broken("reservation without reserved", rung(f"{CENTRAL}, tier: l4, reservation: mine"), (("ladder[0].reservation", "purchase: reserved"),)),
    Broken("flex-start too short", rung(f"{CENTRAL}, tier: l4, purchase: flex-start, max_hours: 0.1"), (("ladder[0].max_hours", "10 minutes to 7 days"),)),
    Broken("max_hours with a unit", rung(f"{CENTRAL}, tier: l4, max_hours: 90m"), (("ladder[0].max_hours", "write max_hours: 1.5"),)),
    Broken("max_hours too long", rung(f"{CENTRAL}, tier: l4, max_hours: 1000"), (("ladder[0].max_hours", "168"),)),
    # -- projects and accounts
    Broken("no project", f"gpubench:ladder: [{{{CENTRAL}, tier: l4}}]", (("ladder[0].project", "gcp:project"),)),
    Broken("project number", f"gpubench:ladder: [{{{CENTRAL}, tier: l4, project: 123456789}}]", (("ladder[0].project", "quote it"),)),
    Broken("project name", f"gpubench:ladder: [{{{CENTRAL}, tier: l4, project: My Project}}]", (("ladder[0].project", "write the id"),)),
    Broken("account on GCE", rung(f'{CENTRAL}, tier: l4, account: "123456789012"'), (("ladder[0].account", "write project:"),)),
    Broken("project on ECS", rung("surface: ecs, region: us-east-1, tier: l4, project: my-project"), (("ladder[0].project", "write account:"),)),
    Broken("account unquoted", rung("surface: ecs, region: us-east-1, tier: l4, account: 123456789012"), (("ladder[0].account", "quote it"),)),
    Broken("account with a leading zero is octal", rung("surface: ecs, region: us-east-1, tier: l4, account: 012345670123"), (("ladder[0].account", "leading zeros"),)),
    Broken("account with a leading zero is no octal", rung("surface: ecs, region: us-east-1, tier: l4, account: 089345670123"), (("ladder[0].account", "leading zeros"),)),
    Broken("account too short", rung('surface: ecs, region: us-east-1, tier: l4, account: "12345678901"'), (("ladder[0].account", "12 digits"),)),
    # -- benchmark
    Broken("benchmark is a list", f"{LOCAL}\ngpubench:benchmark: [resnet50]", (("benchmark", "a mapping with keys"),)),
    Broken("reservation by its name on ECS", rung(f"{EAST}, tier: l4, purchase: reserved, zone: use1-az4, reservation: my-res"), (("ladder[0].reservation", "describe-capacity-reservations"),)),
    Broken("reservation of nearly an id", rung(f"{EAST}, tier: l4, purchase: reserved, zone: use1-az4, reservation: cr-0123456789"), (("ladder[0].reservation", "cr-..."),)),
    Broken("reserved on ECS without a zone", rung(f"{EAST}, tier: l4, purchase: reserved, reservation: cr-0a1b2c3d4e5f60718"), (("ladder[0].zone", "missing; allowed: with reserved the reservation's one zone, by its id; write zone:"),)),
    Broken("reserved on ECS in two zones", rung(f"{EAST}, tier: l4, purchases: [spot, reserved], zones: [use1-az4, use1-az2], reservation: cr-0a1b2c3d4e5f60718"), (("ladder[0].zones", "2 zones"),)),
    Broken("AZ name as a region", rung('surface: ecs, account: "123456789012", region: us-east-1a, tier: l4'), (("ladder[0].region", "write region: us-east-1. A zone is written by its id: as `aws ec2"),)),
    Broken("AZ id as a region", rung('surface: ecs, account: "123456789012", region: use1-az4, tier: l4'), (("ladder[0].region", "write region: us-east-1, zones: [use1-az4]"),)),
    Broken("all zones", rung(f"{EAST}, tier: l4, zones: all"), (("ladder[0].zones", "leave zones out"),)),
    Broken("all zones in a list", rung(f"{CENTRAL}, tier: l4, zones: [all]"), (("ladder[0].zones", "leave zones out"),)),
    Broken("any zone", rung(f"{EAST}, tier: l4, zone: any"), (("ladder[0].zone", "leave zone out"),)),
    Broken("all regions", rung("surface: gce, regions: all, tiers: [h200]"), (("ladder[0].regions", '"all"; allowed: ' + ", ".join(H200) + "; name each region that you want, as in regions: [" + ", ".join(H200[:2]) + "]"),)),
    Broken("swapped letters of a region", rung('surface: ecs, account: "123456789012", region: us-esat-1, tier: l4'), (("ladder[0].region", "did you mean us-east-1?"),)),
    Broken("a letter of a region left out", rung('surface: ecs, account: "123456789012", region: us-est-1, tier: l4'), (("ladder[0].region", "did you mean us-east-1?"),)),
    Broken("China", rung('surface: ecs, account: "123456789012", region: cn-north-1, tier: l4'), (("ladder[0].region", "AWS's regions in China and GovCloud aren't built"),)),
    Broken("GovCloud", rung('surface: ecs, account: "123456789012", regions: [us-east-1, us-gov-west-1], tier: t4'), (("ladder[0].regions[1]", "AWS's regions in China and GovCloud aren't built"),)),
    Broken("a command line", bench("image: 'x:1', command: python bench.py --n 8 --title 'a b' --say true"), (("benchmark.command", '; write command: [python, bench.py, --n, "8", --title, "a b", --say, "true"]'),)),
    Broken("a command of the shell", bench("image: 'x:1', command: cd /x && python bench.py"), (("benchmark.command", '; write command: [sh, -c, "cd /x && python bench.py"]'),)),
    Broken("a command with half a quotation", bench("image: 'x:1', command: python 'bench.py"), (("benchmark.command", "; write a list"),)),
    Broken("subnets that are no list", aws("subnets: {us-east-1: subnet-0a1b2c3d}, security_groups: {us-east-1: sg-0a1b2c3d}"), (("aws.subnets.us-east-1", "a list"),)),
    Broken("a list of security groups", aws("subnets: {us-east-1: [subnet-0a1b2c3d]}, security_groups: {us-east-1: [sg-0a1b2c3d]}"), (("aws.security_groups.us-east-1", "a text"),)),
    Broken("unknown workload", bench("workload: [resnet]"), (("benchmark.workload[0]", "did you mean resnet50?"),)),
    Broken("workload as text", bench("workload: resnet50"), (("benchmark.workload", "write workload: [resnet50]"),)),
    Broken("no workload", bench("workload: []"), (("benchmark.workload", "an empty list"),)),
    Broken("command without an image", bench("command: [python, run.py]"), (("benchmark.command", "add image"),)),
    Broken("command as text", bench("image: 'example/x:1', command: python run.py"), (("benchmark.command", "a list"),)),
    Broken("command and workload", bench("image: 'example/x:1', workload: [kernels], command: [run]"), (("benchmark.command", "has its own"),)),
    Broken("profile with an image alone", bench("image: 'example/x:1', profile: smoke"), (("benchmark.profile", "add workload"),)),
    Broken("unknown profile", bench("profile: fast"), (("benchmark.profile", "smoke, standard-cpu, standard, full"),)),
    Broken("unknown scenario", bench("scenarios: [offline]"), (("benchmark.scenarios[0]", "did you mean Offline?"),)),
    Broken("scenarios without resnet50", bench("workload: [kernels], scenarios: [Server]"), (("benchmark.scenarios", "add resnet50"),)),
    Broken("unknown precision", bench("precisions: [fp32, half]"), (("benchmark.precisions[1]", "fp32, fp16, bf16"),)),
    Broken("precision twice", bench("precisions: [fp32, fp32]"), (("benchmark.precisions[1]", "again"),)),
    Broken("batch size as text", bench("batch_sizes: [1, '8']"), (("benchmark.batch_sizes[1]", "a whole number"),)),
    Broken("batch size of zero", bench("batch_sizes: [0]"), (("benchmark.batch_sizes[0]", "1 to 65,536"),)),
    Broken("half a sample", bench("batch_sizes: [1.5]"), (("benchmark.batch_sizes[0]", "a whole number"),)),
    Broken("compile as text", bench("compile: 'yes'"), (("benchmark.compile", "true or false"),)),
    Broken("channels_last in words", bench("channels_last: no"), (("benchmark.channels_last", "true or false"),)),
    Broken("too many repeats", bench("repeats: 101"), (("benchmark.repeats", "1 to 100"),)),
    Broken("no repeats", bench("repeats: 0"), (("benchmark.repeats", "1 to 100"),)),
    Broken("time-out with a unit", bench("timeout_minutes: 60m"), (("benchmark.timeout_minutes", "write timeout_minutes: 60"),)),
    Broken("time-out in hours", bench("timeout_minutes: 2 hours"), (("benchmark.timeout_minutes", "write timeout_minutes: 120"),)),
    Broken("time-out without its unit", bench("timeout: 60"), (("benchmark.timeout", "did you mean timeout_minutes?"),)),
    Broken("time-out of nothing", bench("timeout_minutes: 0"), (("benchmark.timeout_minutes", "minutes"),)),
    Broken("time-out without end", bench("timeout_minutes: .inf"), (("benchmark.timeout_minutes", "0.02 to 10,080"),)),
    Broken("negative seed", bench("seed: -1"), (("benchmark.seed", "0 to"),)),
    # -- images
    Broken("image without a tag", bench("image: ghcr.io/acme/bench"), (("benchmark.image", "ghcr.io/acme/bench:<tag>"),)),
    Broken("image at a port without a tag", bench("image: 'localhost:5000/bench'"), (("benchmark.image", "a tag or a digest"),)),
    Broken("latest", bench("image: 'ghcr.io/acme/bench:latest'"), (("benchmark.image", "names another image tomorrow"),)),
    Broken("half a digest", bench("image: 'ghcr.io/acme/bench@sha256:abc'"), (("benchmark.image", "64 hex digits"),)),
    Broken("image in capitals", bench("image: 'ghcr.io/Acme/bench:1'"), (("benchmark.image", "lower-case"),)),
    Broken("image as URL", bench("image: 'https://ghcr.io/acme/bench:1'"), (("benchmark.image", "without a scheme"),)),
    Broken("image with a login", bench(f"image: 'me:{PASSWORD}@example.com/bench:1'"), (("benchmark.image", "a login"),)),
    Broken("empty image", bench("image: ''"), (("benchmark.image", "mend the image's name"),)),
    Broken("image is a number", bench("image: 12.4"), (("benchmark.image", "quote it"),)),
    # -- build
    Broken("build without an image", bench("build: {context: workload}"), (("benchmark.build", "registry/name:tag"),)),
    Broken("build of a digest", bench(f"image: 'x@sha256:{'ab' * 32}', build: {{containerfile: workload/Containerfile}}"), (("benchmark.image", "a tag instead of the digest"),)),
    Broken("build in no folder", bench("image: 'x:1', build: {context: wrokload}"), (("benchmark.build.context", "a folder that is there"),)),
    Broken("build without a Containerfile", bench("image: 'x:1', build: {}"), (("benchmark.build.containerfile", "Containerfile or Dockerfile in the context"),)),
    Broken("Containerfile that isn't there", bench("image: 'x:1', build: {containerfile: workload/Dockerfile}"), (("benchmark.build.containerfile", "a file in the context"),)),
    Broken("Containerfile outside its context", bench("image: 'x:1', build: {context: docs, containerfile: ../workload/Containerfile}"), (("benchmark.build.containerfile", "move it into the context"),)),
    Broken("secret as a build argument", bench(f"image: 'x:1', build: {{containerfile: workload/Containerfile, args: {{HF_TOKEN: {PASSWORD}}}}}"), (("benchmark.build.args.HF_TOKEN", "benchmark.env"),)),
    Broken("build argument's name", bench("image: 'x:1', build: {containerfile: workload/Containerfile, args: {a-b: '1'}}"), (("benchmark.build.args.a-b", "as ARG does"),)),
    Broken("number as a build argument", bench("image: 'x:1', build: {containerfile: workload/Containerfile, args: {A: 1}}"), (("benchmark.build.args.A", "quote it"),)),
    Broken("unknown build key", bench("image: 'x:1', build: {containerfile: workload/Containerfile, arg: {A: '1'}}"), (("benchmark.build.arg", "did you mean args?"),)),
    # -- code
    Broken("branch as commit", bench("code: {repository: 'https://example.com/x', commit: main}"), (("benchmark.code.commit", "a branch or tag moves"),)),
    Broken("short commit", bench("code: {repository: 'https://example.com/x', commit: 0a1b2c3}"), (("benchmark.code.commit", "whole commit"),)),
    Broken("commit as a number", bench("code: {repository: 'https://example.com/x', commit: 1234567}"), (("benchmark.code.commit", "quote it"),)),
    Broken("no commit", bench("code: {repository: 'https://example.com/x'}"), (("benchmark.code.commit", "git rev-parse HEAD"),)),
    Broken("login in the repository", bench(f"code: {{repository: 'https://me:{PASSWORD}@example.com/x', commit: {COMMIT}}}"), (("benchmark.code.repository", "without a login"),)),
    # -- results, budget, labels, access, rung
    Broken("azure results", f"{LOCAL}\ngpubench:results: az://bucket/x", (("results", "use gs:// or s3://"),)),
    Broken("gcs results", f"{LOCAL}\ngpubench:results: gcs://bucket/x", (("results", "did you mean gs?"),)),
    Broken("file results", f"{LOCAL}\ngpubench:results: file:///tmp/x", (("results", "path alone"),)),
    Broken("one slash", f"{LOCAL}\ngpubench:results: 'gs:/bucket/x'", (("results", "write gs://bucket/x"),)),
    Broken("bucket in capitals", f"{LOCAL}\ngpubench:results: gs://My_Bucket/x", (("results", "lower-case"),)),
    Broken("no bucket", f"{LOCAL}\ngpubench:results: s3://", (("results", "a bucket name"),)),
    Broken("dots in the prefix", f"{LOCAL}\ngpubench:results: s3://bucket/../x", (("results", "prefix"),)),
    Broken("results is a list", f"{LOCAL}\ngpubench:results: [x]", (("results", "gs://bucket/prefix"),)),
    Broken("negative budget", f"{LOCAL}\ngpubench:budget: {{usd: -5}}", (("budget.usd", "more than 0"),)),
    Broken("no budget", f"{LOCAL}\ngpubench:budget: {{usd: 0, hours: 0}}", (("budget.usd", "more than 0"), ("budget.hours", "more than 0"))),
    Broken("absurd budget", f"{LOCAL}\ngpubench:budget: {{usd: 1000000, hours: 100000}}", (("budget.usd", "10,000"), ("budget.hours", "720"))),
    Broken("budget is not a number", f"{LOCAL}\ngpubench:budget: {{usd: .nan}}", (("budget.usd", "more than 0"),)),
    Broken("budget with a unit", f"{LOCAL}\ngpubench:budget: {{usd: 5 USD, hours: 90m}}", (("budget.usd", "write usd: 5"), ("budget.hours", "write hours: 1.5"))),
    Broken("budget in dollars", f"{LOCAL}\ngpubench:budget: {{usd: $5}}", (("budget.usd", "write usd: 5"),)),
    Broken("budget is a number", f"{LOCAL}\ngpubench:budget: 5", (("budget", "{usd: 5}"),)),
    Broken("budget is a text", f"{LOCAL}\ngpubench:budget: 5 USD", (("budget", "{usd: 5, hours: 2}"),)),
    Broken("budget is empty", f"{LOCAL}\ngpubench:budget: {{}}", (("budget", "name one of them"),)),
    Broken("label in capitals", f"{LOCAL}\ngpubench:labels: {{Team: vision}}", (("labels.Team", "a bad name"),)),
    Broken("label value in capitals", f"{LOCAL}\ngpubench:labels: {{country: NO}}", (("labels.country", "lower case"),)),
    Broken("label is a boolean", f"{LOCAL}\ngpubench:labels: {{keep: true}}", (("labels.keep", "quote it"),)),
    Broken("label is a number", f"{LOCAL}\ngpubench:labels: {{cost: 12}}", (("labels.cost", "quote it"),)),
    Broken("label is an unquoted date", f"{LOCAL}\ngpubench:labels: {{day: 2026-11-21}}", (("labels.day", "2026-11-21 00:00:00"),)),
    Broken("reserved label", f"{LOCAL}\ngpubench:labels: {{gpubench-run: x}}", (("labels.gpubench-run", "reserved"),)),
    Broken("labels as a list", f"{LOCAL}\ngpubench:labels: [a]", (("labels", "a mapping"),)),
    Broken("access", f"{LOCAL}\ngpubench:access: Publik", (("access", "did you mean public?"),)),
    Broken("access is a boolean", f"{LOCAL}\ngpubench:access: true", (("access", "private, public"),)),
    Broken("pinned rung not on the ladder", f"{LOCAL}\ngpubench:rung: local/l4", (("rung", "local/any"),)),
    Broken("pinned rung misspelt", rung(f"{CENTRAL}, tier: l4") + "\ngpubench:rung: gce/my-project/us-central1/l4/on-demand/g2-standard-8", (("rung", "did you mean gce/my-project/us-central1/l4/on-demand/g2-standard-4?"),)),
    Broken("pinned rung is a list", f"{LOCAL}\ngpubench:rung: [local/any]", (("rung", "a text"),)),
    # -- placement
    Broken("order misspelt", f"{LOCAL}\ngpubench:placement: {{order: chepest}}", (("placement.order", "did you mean cheapest?"),)),
    Broken("order in capitals", f"{LOCAL}\ngpubench:placement: {{order: Soonest}}", (("placement.order", "did you mean soonest?"),)),
    Broken("unknown order", f"{LOCAL}\ngpubench:placement: {{order: random}}", (("placement.order", "ladder, cheapest, soonest; choose one of them"),)),
    Broken("order is a list", f"{LOCAL}\ngpubench:placement: {{order: [cheapest, soonest]}}", (("placement.order", "a text"),)),
    Broken("order is empty", f'{LOCAL}\ngpubench:placement: {{order: ""}}', (("placement.order", "ladder, cheapest, soonest"),)),
    Broken("underscore in comparability", f"{LOCAL}\ngpubench:placement: {{comparability: same_tier_only}}", (("placement.comparability", "did you mean same-tier-only?"),)),
    Broken("unknown comparability", f"{LOCAL}\ngpubench:placement: {{comparability: strict}}", (("placement.comparability", "any, same-tier-only, same-region-first"),)),
    Broken("comparability is a boolean", f"{LOCAL}\ngpubench:placement: {{comparability: true}}", (("placement.comparability", "quote it"),)),
    Broken("attempt without time", f"{LOCAL}\ngpubench:placement: {{attempt_minutes: 0}}", (("placement.attempt_minutes", "more than 0, up to 10,080 minutes"),)),
    Broken("attempt of less than nothing", f"{LOCAL}\ngpubench:placement: {{attempt_minutes: -5}}", (("placement.attempt_minutes", "more than 0"),)),
    Broken("attempt without end", f"{LOCAL}\ngpubench:placement: {{attempt_minutes: .inf}}", (("placement.attempt_minutes", "more than 0, up to 10,080"),)),
    Broken("attempt of eight days", f"{LOCAL}\ngpubench:placement: {{attempt_minutes: 11520}}", (("placement.attempt_minutes", "seven days"),)),
    Broken("attempt with a unit", f"{LOCAL}\ngpubench:placement: {{attempt_minutes: 2h}}", (("placement.attempt_minutes", "write attempt_minutes: 120, a plain number"),)),
    Broken("attempt is a boolean", f"{LOCAL}\ngpubench:placement: {{attempt_minutes: true}}", (("placement.attempt_minutes", "a number of minutes"),)),
    Broken("attempt without its unit", f"{LOCAL}\ngpubench:placement: {{attempt: 30}}", (("placement.attempt", "did you mean attempt_minutes?"),)),
    Broken("unknown placement key", f"{LOCAL}\ngpubench:placement: {{prefer: spot}}", (("placement.prefer", "keys order, comparability, attempt_minutes"),)),
    Broken("placement is a text", f"{LOCAL}\ngpubench:placement: cheapest", (("placement", "{order: cheapest}"),)),
    Broken("placement is a number", f"{LOCAL}\ngpubench:placement: 30", (("placement", "{attempt_minutes: 30}"),)),
    Broken("placement is a list", f"{LOCAL}\ngpubench:placement: [cheapest]", (("placement", "a mapping with keys out of order"),)),
    Broken("placement is a boolean", f"{LOCAL}\ngpubench:placement: true", (("placement", "a mapping with keys out of order"),)),
    Broken("placement is nothing", f"{LOCAL}\ngpubench:placement: ", (("placement", "a mapping with keys out of order"),)),
    Broken("placement is empty", f"{LOCAL}\ngpubench:placement: {{}}", (("placement", "name one of them"),)),
    Broken("placement encrypted", f"{LOCAL}\ngpubench:placement: {{secure: 'v1:abc'}}", (("placement", "settings are no secrets"),)),
    Broken("order encrypted", f"{LOCAL}\ngpubench:placement: {{order: {{secure: 'v1:abc'}}}}", (("placement", "settings are no secrets"),)),
    Broken("misspelt placement", f"{LOCAL}\ngpubench:placment: {{order: cheapest}}", (("placment", "did you mean placement?"),)),
    Broken("three mistakes of a placement", f"{LOCAL}\ngpubench:placement: {{order: dear, comparability: none, attempt_minutes: 1e9}}", (("placement.attempt_minutes", "10,080"), ("placement.order", "ladder, cheapest"), ("placement.comparability", "any, same"))),
    # -- the registry
    *(
        Broken(f"registry: {name}", f"{LOCAL}\ngpubench:registry: {value}", (("registry", fragment),))
        for name, value, fragment in (
            ("nothing", "", "nothing"),
            ("an empty text", '""', "an empty text"),
            ("a list", "[us-docker.pkg.dev/my-project/bench]", "write one text"),
            ("a number", "12", "write one text"),
            ("a scheme", "https://us-docker.pkg.dev/my-project/bench", "without a scheme"),
            ("a login", "https://me:hunter22@us-docker.pkg.dev/my-project/bench", "without a login"),
            ("a token", f"us-docker.pkg.dev/my-project/{GITHUB}", "without a login"),
            ("ECR FIPS", "012345678901.dkr.ecr-fips.us-east-1.amazonaws.com/bench", "FIPS endpoints"),
            ("ECR of China", "012345678901.dkr.ecr.cn-north-1.amazonaws.com.cn/bench", "China's regions"),
            ("ECR's account", "my-account.dkr.ecr.us-east-1.amazonaws.com/bench", "get-caller-identity"),
            ("ECR's region", "012345678901.dkr.ecr.us-eats-1.amazonaws.com/bench", "did you mean us-east-1?"),
            ("ECR with a tag", "012345678901.dkr.ecr.us-east-1.amazonaws.com/bench:1", "without a tag: bench"),
            ("ECR without a repository", "012345678901.dkr.ecr.us-east-1.amazonaws.com", "mend the repository's name"),
            ("ECR Public", "public.ecr.aws/acme/bench", "named in benchmark.image"),
            ("Container Registry", "gcr.io/my-project", "write us-docker.pkg.dev/PROJECT/REPOSITORY"),
            ("Container Registry in Europe", "eu.gcr.io/my-project/bench", "write europe-docker.pkg.dev/PROJECT/REPOSITORY"),
            ("another registry", "ghcr.io/acme/bench", "named in benchmark.image"),
            ("a name alone", "bench", "named in benchmark.image"),
            ("another format of repository", "us-python.pkg.dev/my-project/bench", "named in benchmark.image"),
            ("Europe misnamed", "eu-docker.pkg.dev/my-project/bench", "did you mean europe?"),
            ("region misspelt", "uscentral1-docker.pkg.dev/my-project/bench", "did you mean us-central1?"),
            ("a zone", "us-central1-a-docker.pkg.dev/my-project/bench", "did you mean us-central1?"),
            ("no location", "-docker.pkg.dev/my-project/bench", "LOCATION is a region, us, europe, asia"),
            ("a host alone", "us-docker.pkg.dev", "name the project and the repository"),
            ("a project alone", "us-docker.pkg.dev/my-project", "name the project and the repository"),
            ("no repository", "us-docker.pkg.dev/my-project/", "name the project and the repository"),
            ("no project", "us-docker.pkg.dev//bench", "name the project and the repository"),
            ("a slash at the end", "us-docker.pkg.dev/my-project/bench/", "remove the / at the end"),
            ("an image", "us-docker.pkg.dev/my-project/bench/image", "an image's name: us-docker.pkg.dev/my-project/bench"),
            ("an image in a repository like a project", "us-docker.pkg.dev/my-project/benchmarks/image", "an image's name"),
            ("a project's number", "us-docker.pkg.dev/123456789012/bench", "gcloud projects list"),
            ("a project's name", "us-docker.pkg.dev/My Project/bench", "gcloud projects list"),
            ("a domain's project with a colon", "us-docker.pkg.dev/example.com:my-project/bench", "with a slash, as in images' names: example.com/my-project"),
            ("capitals", "us-docker.pkg.dev/my-project/Bench", "REPOSITORY is a letter a-z"),
            ("an underscore", "us-docker.pkg.dev/my-project/my_bench", "REPOSITORY is a letter a-z"),
            ("a digit first", "us-docker.pkg.dev/my-project/1bench", "REPOSITORY is a letter a-z"),
            ("a dash at the end", "us-docker.pkg.dev/my-project/bench-", "no - at the end"),
            ("64 characters", f"us-docker.pkg.dev/my-project/{'b' * 64}", "at most 63"),
            ("a tag", "us-docker.pkg.dev/my-project/bench:v1", "without a tag: bench"),
            ("encrypted", "{secure: 'v1:abc'}", "settings are no secrets"),
        )
    ),
    Broken("misspelt registry", f"{LOCAL}\ngpubench:regsitry: us-docker.pkg.dev/my-project/bench", (("regsitry", "did you mean registry?"),)),
    # -- google
    Broken("google is a text", f"{LOCAL}\ngpubench:google: my-subnet", (("google", "google takes `subnet`"),)),
    Broken("google is a list", f"{LOCAL}\ngpubench:google: [nat]", (("google", "a mapping with keys out of subnet"),)),
    Broken("google is a boolean", f"{LOCAL}\ngpubench:google: true", (("google", "a mapping with keys out of subnet"),)),
    Broken("google is nothing", f"{LOCAL}\ngpubench:google: ", (("google", "a mapping with keys out of subnet"),)),
    Broken("google encrypted", f"{LOCAL}\ngpubench:google: {{subnet: {{secure: 'v1:abc'}}}}", (("google", "settings are no secrets"),)),
    Broken("misspelt google", f"{LOCAL}\ngpubench:gogle: {{nat: true}}", (("gogle", "did you mean google?"),)),
    Broken("unknown google key", google("network: my-vpc"), (("google.network", "keys subnet, nat, boot_disk_gb, quota_increases"),)),
    Broken("subnet is misspelt", google("subnett: my-subnet"), (("google.subnett", "did you mean subnet?"),)),
    Broken("subnet is a list", google("subnet: [a, b]"), (("google.subnet", "write one text"),)),
    Broken("subnet is empty", google('subnet: ""'), (("google.subnet", "an empty text"),)),
    Broken("subnet in capitals", google("subnet: My-Subnet"), (("google.subnet", "gcloud compute networks subnets list"),)),
    Broken("subnet of 64 characters", google(f"subnet: {'s' * 64}"), (("google.subnet", "a subnetwork's name"),)),
    Broken("subnet as a link", google("subnet: 'https://www.googleapis.com/compute/v1/projects/my-project/regions/us-central1/subnetworks/s'"), (("google.subnet", "write the link from projects/ on"),)),
    Broken("subnet without its project", google("subnet: regions/us-central1/subnetworks/s"), (("google.subnet", "write projects/PROJECT/ before it"),)),
    Broken("a network as subnet", google("subnet: projects/my-project/global/networks/default"), (("google.subnet", "projects/PROJECT/regions/REGION/subnetworks/NAME"),)),
    Broken("subnet of one region for two", google("subnet: projects/host-project/regions/us-central1/subnetworks/s1", rung("surface: gce, regions: [us-central1, us-east4], tier: l4")), (("google.subnet", "several regions (us-central1, us-east4); write subnet: s1"),)),
    Broken("nat as a word", google("nat: yes"), (("google.nat", "true or false without quotes"),)),
    Broken("nat as a number", google("nat: 1"), (("google.nat", "true or false"),)),
    Broken("disk too small", google("boot_disk_gb: 49"), (("google.boot_disk_gb", "50 to 2,000 GB; the machine's image alone needs 50 GB"),)),
    Broken("disk too large", google("boot_disk_gb: 2001"), (("google.boot_disk_gb", "is the number in GB?"),)),
    Broken("disk with a unit", google("boot_disk_gb: 200GB"), (("google.boot_disk_gb", "write boot_disk_gb: 200, a plain number: the unit (GB) is in the key"),)),
    Broken("disk in parts of a GB", google("boot_disk_gb: 100.5"), (("google.boot_disk_gb", "a whole number of GB"),)),
    Broken("disk is a boolean", google("boot_disk_gb: true"), (("google.boot_disk_gb", "a whole number of GB"),)),
    Broken("disk without end", google("boot_disk_gb: .inf"), (("google.boot_disk_gb", "a whole number of GB"),)),
    # -- quota increases
    Broken("increases are a mapping", google(f"quota_increases: {increase()}"), (("google.quota_increases", "a list"),)),
    Broken("increases are empty", google("quota_increases: []"), (("google.quota_increases", "an empty list"),)),
    Broken("increase is a text", google("quota_increases: [NVIDIA-L4-GPUS-per-project-region]"), (("google.quota_increases[0]", "a mapping with keys out of quota_id"),)),
    Broken("increase is empty", google("quota_increases: [{}]"), tuple((f"google.quota_increases[0].{key}", "missing") for key in GOOD_INCREASE)),
    Broken("increase on no Google rung", google(f"quota_increases: [{increase()}]", LOCAL), (("google.quota_increases", "no rung on Google Cloud; allowed: quota increases with a rung on gce, gke, cloud-run"),)),
    Broken("increase on a ladder with a mistake", google(f"quota_increases: [{increase()}]", rung(f"{CENTRAL}, tier: l44")), (("ladder[0].tier", "did you mean l4?"),)),
    Broken("increase on ECS alone", google(f"quota_increases: [{increase()}]", rung(f"{EAST}, tier: t4")), (("google.quota_increases", "no rung on Google Cloud"),)),
    Broken("increase in one of two projects", google(f"quota_increases: [{increase()}]", rung(f"{CENTRAL}, tier: l4", f"{CENTRAL}, tier: t4, project: other-project")), (("google.quota_increases[0].project", "several projects (my-project, other-project)"),)),
    Broken("increase twice", google(f"quota_increases: [{increase(region='us-central1')}, {increase(region='us-central1', limit='8', project='my-project')}]"), (("google.quota_increases[1]", "again"),)),
    *(
        Broken(f"increase without {key}", google(f"quota_increases: [{increase(without=key)}]"), ((f"google.quota_increases[0].{key}", "missing"),))
        for key in GOOD_INCREASE
    ),
    *(
        Broken(f"increase: {name}", google(f"quota_increases: [{increase(region='us-east4')}, {increase(**{key: value})}]"), ((f"google.quota_increases[1].{where or key}", fragment),))
        for name, key, value, where, fragment in (
            ("unknown key", "amount", "4", "", "keys quota_id, limit, email"),
            ("a metric", "quota_id", "NVIDIA_L4_GPUS", "", "did you mean NVIDIA-L4-GPUS-per-project-region?"),
            ("a metric with its service", "quota_id", "compute.googleapis.com/gpus_all_regions", "", "did you mean GPUS-ALL-REGIONS-per-project?"),
            ("another metric", "quota_id", "SSD_TOTAL_GB", "", "gcloud beta quotas info list"),
            ("an empty quota", "quota_id", '""', "", "a quota's id, as"),
            ("limit of nothing", "limit", "0", "", "1 to 1,000,000,000,000,000"),
            ("limit of less", "limit", "-1", "", "1 to 1,000"),
            ("limit without end", "limit", "9999999999999999", "", "1 to 1,000"),
            ("half a GPU", "limit", "0.5", "", "a whole number"),
            ("limit as text", "limit", "'8'", "", "write limit: 8"),
            ("a name as email", "email", "bench", "", "as in you@example.com"),
            ("email with a name", "email", "'Bench <bench@example.com>'", "", "as in you@example.com"),
            ("email of no domain", "email", "bench@localhost", "", "as in you@example.com"),
            ("short justification", "justification", "benchmark", "", "at least 10 characters"),
            ("justification of spaces", "justification", "'gpu         '", "", "at least 10 characters"),
            ("justification with a token", "justification", f"'we need it {GITHUB}'", "", "no credentials in settings"),
            ("region misspelt", "region", "uscentral1", "", "did you mean us-central1?"),
            ("a zone", "region", "us-central1-a", "", "write region: us-central1"),
            ("two regions", "region", "[us-central1, us-east4]", "", "write one text"),
            ("regions", "regions", "[us-central1, us-east4]", "", "did you mean region?"),
            ("a project's number", "project", "'123456789012'", "", "gcloud projects list"),
            ("dimensions are a text", "dimensions", "NVIDIA_H100", "", "a mapping"),
            ("dimension is a number", "dimensions", "{gpu_family: 100}", "dimensions.gpu_family", "quote it"),
            ("dimension is empty", "dimensions", '{gpu_family: ""}', "dimensions.gpu_family", "a name and its value"),
            ("region as dimension", "dimensions", "{region: us-central1}", "dimensions.region", "write region: beside dimensions"),
            ("user as dimension", "dimensions", "{user: me}", "dimensions.user", "remove it"),
        )
    ),
    # -- flex-start with several machine types
    Broken("flex-start of two shapes", rung(f"{CENTRAL}, tier: l4, machine_types: [g2-standard-4, g2-standard-8], purchase: flex-start"), (("ladder[0].machine_types", "g2-standard-4 and g2-standard-8 with flex-start; allowed: one machine type with flex-start on gce"),)),
    Broken("flex-start of two shapes, among others", rung("surface: gce, regions: [us-central1, us-east4], tier: l4, machine_types: [g2-standard-4, g2-standard-8], purchases: [spot, flex-start]"), (("ladder[0].machine_types", "an entry of its own"),)),
    # -- aws
    Broken("aws is a text", f"{LOCAL}\ngpubench:aws: nat", (("aws", "aws takes `subnets`"),)),
    Broken("aws is a list", f"{LOCAL}\ngpubench:aws: [nat]", (("aws", "a mapping with keys out of subnets"),)),
    Broken("aws without a rung", f"{LOCAL}\ngpubench:aws: {{volume_gb: 200}}", (("aws", "add such a rung"),)),
    Broken("unknown aws key", aws("subnet: subnet-0a1b2c3d"), (("aws.subnet", "did you mean subnets?"),)),
    Broken("subnets as a list", aws("subnets: [subnet-0a1b2c3d]"), (("aws.subnets", "a mapping"),)),
    Broken("one subnet as a text", aws("subnets: {us-east-1: subnet-0a1b2c3d}"), (("aws.subnets.us-east-1", "write us-east-1: [subnet-0a1b2c3d]"),)),
    Broken("subnets of a region that isn't in the ladder", aws("security_groups: {us-west-2: sg-0a1b2c3d}, subnets: {us-west-2: [subnet-0a1b2c3d]}"), (("aws.subnets.us-west-2", "regions of the ladder's rungs on ecs (us-east-1)"),)),
    Broken("no subnets", aws("security_groups: {us-east-1: sg-0a1b2c3d}, subnets: {us-east-1: []}"), (("aws.subnets.us-east-1", "at least one subnet"),)),
    Broken("a VPC as subnet", aws("security_groups: {us-east-1: sg-0a1b2c3d}, subnets: {us-east-1: [vpc-0a1b2c3d]}"), (("aws.subnets.us-east-1[0]", "describe-subnets"),)),
    Broken("a subnet twice", aws("security_groups: {us-east-1: sg-0a1b2c3d}, subnets: {us-east-1: [subnet-0a1b2c3d, subnet-0a1b2c3d]}"), (("aws.subnets.us-east-1[1]", "each subnet once"),)),
    Broken("subnets without a security group", aws("subnets: {us-east-1: [subnet-0a1b2c3d]}"), (("aws.security_groups.us-east-1", "beside the region's subnets"),)),
    Broken("a security group without subnets", aws("security_groups: {us-east-1: sg-0a1b2c3d}"), (("aws.security_groups.us-east-1", "name the region's subnets"),)),
    Broken("a security group's name", aws("subnets: {us-east-1: [subnet-0a1b2c3d]}, security_groups: {us-east-1: default}"), (("aws.security_groups.us-east-1", "describe-security-groups"),)),
    Broken("unknown network", aws("network: natt"), (("aws.network", "did you mean nat?"),)),
    Broken("network and subnets", aws("network: nat, security_groups: {us-east-1: sg-0a1b2c3d}, subnets: {us-east-1: [subnet-0a1b2c3d]}"), (("aws.network", "without subnets of yours"),)),
    Broken("volume too small", aws("volume_gb: 8"), (("aws.volume_gb", "the machine's image alone needs 30 GB"),)),
    Broken("volume with its unit", aws("volume_gb: 200 GB"), (("aws.volume_gb", "volume_gb: 200, a plain number"),)),
    Broken("uploader by tag", aws("uploader_image: 'public.ecr.aws/lambda/python:3.12'"), (("aws.uploader_image", "with a digest"),)),
    Broken("managed instances of a reservation", aws("managed_instances: true", f"gpubench:ladder: [{{{EAST}, zone: use1-az1, tier: t4, machine_type: g4dn.xlarge, purchase: reserved, reservation: cr-0a1b2c3d4e5f60718}}]"), (("aws.managed_instances", "take reserved out"),)),
    # -- secrets
    Broken("token in clear", bench(f"env: {{HF_TOKEN: {PASSWORD}}}"), (("benchmark.env.HF_TOKEN", "pulumi config set --secret gpubench:HF_TOKEN"),)),
    Broken("password in clear", bench(f"env: {{DB_PASSWORD: {PASSWORD}}}"), (("benchmark.env.DB_PASSWORD", "{secret: DB_PASSWORD}"),)),
    Broken("AWS key by its form", bench(f"env: {{HARMLESS: {AWS_KEY}}}"), (("benchmark.env.HARMLESS", "in clear"),)),
    Broken("GitHub token by its form", bench(f"env: {{X: {GITHUB}}}"), (("benchmark.env.X", "in clear"),)),
    Broken("OpenAI key by its form", bench(f"env: {{X: {OPENAI}}}"), (("benchmark.env.X", "in clear"),)),
    Broken("Google key by its form", bench(f"env: {{X: {GOOGLE}}}"), (("benchmark.env.X", "in clear"),)),
    Broken("private key by its form", bench(f'env: {{X: "{PEM}"}}'), (("benchmark.env.X", "in clear"),)),
    Broken("token in the command", bench(f"image: 'example/x:1', command: [run, --token, {HUGGING_FACE}]"), (("benchmark.command[2]", "no credentials in settings"),)),
    Broken("token in a label", f"{LOCAL}\ngpubench:labels: {{x: {GITHUB}}}", (("labels.x", "not shown"),)),
    Broken("token in the results", f"{LOCAL}\ngpubench:results: gs://bucket/{HUGGING_FACE}", (("results", "in clear"),)),
    Broken("token as a tier", f"gpubench:ladder: [{{surface: local, tier: {HUGGING_FACE}}}]", (("ladder[0].tier", "not shown"),)),
    Broken("token as a name", bench(f"env: {{{GITHUB}: x}}"), (("benchmark.env.(not shown)", "in clear"),)),
    Broken("secret as a reference", bench(f"env: {{X: {{secret: {GITHUB}}}}}"), (("benchmark.env.X.secret", "the name of a config key"),)),
    Broken("reference to nothing", bench("env: {X: {secret: hf}}"), (("benchmark.env.X.secret", "gpubench:hf is not set"),)),
    Broken("reference to a setting", bench("env: {X: {secret: budget}}"), (("benchmark.env.X.secret", "choose another name"),)),
    Broken("referred key in clear", bench("env: {X: {secret: hf}}") + f"\ngpubench:hf: {PASSWORD}", (("hf", "pulumi config set --secret gpubench:hf"),)),
    Broken("secret key in clear, not referred to", f"{LOCAL}\ngpubench:HF_TOKEN: {PASSWORD}", (("HF_TOKEN", "not shown"),)),
    Broken("secret that nothing refers to", f"{LOCAL}\ngpubench:hf:\n  secure: v1:abc", (("hf", "nothing refers to"),)),
    Broken("encrypted in place", bench("env: {X: {secure: 'v1:abc'}}"), (("benchmark.env.X", "encrypted in place"),)),
    Broken("encrypted setting", f"{LOCAL}\ngpubench:budget: {{secure: 'v1:abc'}}", (("budget", "settings are no secrets"),)),
    Broken("environment is a number", bench("env: {N: 1}"), (("benchmark.env.N", "quote it"),)),
    Broken("environment is a boolean", bench("env: {N: true}"), (("benchmark.env.N", 'quote it: "true"'),)),
    Broken("environment is a list", bench("env: [A]"), (("benchmark.env", "a mapping"),)),
    Broken("reserved variable", bench("env: {GPUBENCH_RESULTS: /x}"), (("benchmark.env.GPUBENCH_RESULTS", "sets these itself"),)),
    Broken("bad variable name", bench("env: {a-b: x}"), (("benchmark.env.a-b", "letters, digits and _"),)),
]  # fmt: skip


def stack_file(folder: Path, config: str, head: str = "config:") -> Path:
    path = folder / "Pulumi.dev.yaml"
    path.write_text(head + "\n" + "\n".join("  " + line for line in config.splitlines()) + "\n", encoding="utf-8")
    return path


def load(path: Path) -> Settings:
    file = read_stack_file(path)
    return Settings.from_config(file.values, file.secret_keys, source=path.name)


def mistakes_of(path: Path) -> tuple[Mistake, ...]:
    with pytest.raises(SettingsError) as caught:
        load(path)
    error = caught.value
    assert error.source.endswith(path.name)
    text = str(error)
    for canary in CANARIES:
        assert canary not in text, f"the message shows {canary}"
    # pydantic's wording and the exception it raised stay behind the edge.
    assert "Input should be" not in text and "validation error" not in text and "pydantic" not in text
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
    for mistake in error.mistakes:
        assert "\n" not in str(mistake) and len(str(mistake)) < 600, str(mistake)
        assert mistake.path and mistake.mend, str(mistake)
    return error.mistakes


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_broken_config(case: Broken, tmp_path: Path) -> None:
    found = mistakes_of(stack_file(tmp_path, case.config))
    wanted = [path[1:] if path.startswith("!") else f"gpubench:{path}" for path, _ in case.mistakes]
    assert sorted(m.path for m in found) == sorted(wanted), [str(m) for m in found]
    for path, (_, fragment) in zip(wanted, case.mistakes, strict=True):
        texts = [str(m) for m in found if m.path == path]
        assert any(fragment in text for text in texts), texts


def test_there_are_enough_of_them() -> None:
    assert len(BROKEN) >= 80
    assert len({case.name for case in BROKEN}) == len(BROKEN)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = rung(
        "surface: gce, region: us-centrall1, tier: h10, count: two", "surface: locl", "surface: local, region: x"
    )
    text += "\ngpubench:budget: {usd: -1}\ngpubench:access: open\ngpubench:benchmark: {timeout: 5, repeats: 0}"
    found = {m.path.removeprefix("gpubench:") for m in mistakes_of(stack_file(tmp_path, text))}
    assert found == {
        "ladder[0].region", "ladder[0].tier", "ladder[0].count", "ladder[1].surface", "ladder[2].region",
        "budget.usd", "access", "benchmark.timeout", "benchmark.repeats",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where", "fragment"),
    [
        ("", "Pulumi.dev.yaml", "is empty"),
        ("# nothing\n", "Pulumi.dev.yaml", "is empty"),
        ("- a\n", "Pulumi.dev.yaml", "is a list"),
        ("just words\n", "Pulumi.dev.yaml", "is a text"),
        ("encryptionsalt: v1:x\n", "Pulumi.dev.yaml", "has no config"),
        ("confg:\n  a:b: 1\n", "Pulumi.dev.yaml", "config instead of confg"),
        ("config:\n", "Pulumi.dev.yaml", "config is empty"),
        ("config: []\n", "Pulumi.dev.yaml", "config is a list"),
        ("config:\n  gpubench:ladder: [{surface: local}\n", "Pulumi.dev.yaml:3:1", "isn't valid YAML"),
        ("config:\n\tgpubench:ladder: []\n", "Pulumi.dev.yaml:2:1", "isn't valid YAML"),
        ("config:\n  a: 'x\n", "Pulumi.dev.yaml:3:1", "isn't valid YAML"),
        ("config:\n  a: 1\n  b: 2\n  a: 3\n", "Pulumi.dev.yaml:4:3", "the key a is there twice"),
        ("config: {}\nconfig: {}\n", "Pulumi.dev.yaml:2:1", "the key config is there twice"),
        ("config:\n  gpubench:labels: {x: a, x: b}\n", "Pulumi.dev.yaml:2:27", "the key x is there twice"),
        ("config:\n  a: *nothing\n", "Pulumi.dev.yaml:2:6", "an alias or a tag"),
        ("config:\n  a: !!python/object/apply:os.system [x]\n", "Pulumi.dev.yaml:2:6", "an alias or a tag"),
        ("config:\n  ? [a, b]\n  : c\n", "Pulumi.dev.yaml:2:5", "a key must be a text"),
        ("config:\n  a: &a [*a]\n", "Pulumi.dev.yaml:2:6", "recursive"),
        ("config:\n  a: " + "[" * 60 + "]" * 60 + "\n", "Pulumi.dev.yaml", "nested too deeply"),
        ("config:\n  a: " + "9" * 5000 + "\n", "Pulumi.dev.yaml", "too long"),
        ("config:\n  a: \x07\n", "Pulumi.dev.yaml:2", "isn't valid YAML"),
        ("config:\n  a: 1\n---\nconfig:\n  a: 2\n", "Pulumi.dev.yaml:3:1", "isn't valid YAML"),
    ],
)
def test_yaml_that_is_not(text: str, where: str, fragment: str, tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(text, encoding="utf-8")
    (mistake,) = mistakes_of(path)
    assert mistake.path == where
    assert fragment in str(mistake)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "pulumi stack init dev" in str(mistakes_of(tmp_path / "Pulumi.dev.yaml")[0])
    folder = tmp_path / "Pulumi.folder.yaml"
    folder.mkdir()
    assert "can't be read" in str(mistakes_of(folder)[0])
    latin = tmp_path / "Pulumi.latin.yaml"
    latin.write_bytes("config:\n  a: é\n".encode("latin-1"))
    assert mistakes_of(latin)[0].path == "Pulumi.latin.yaml:2"
    large = tmp_path / "Pulumi.large.yaml"
    large.write_bytes(b"#" * 1_000_001)
    assert "at most 1000000" in str(mistakes_of(large)[0])


def test_billion_laughs(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (mistake,) = mistakes_of(stack_file(tmp_path, "\n".join(lines)))
    assert "aliases" in str(mistake)


def test_scalars_mean_what_they_mean_to_pulumi(tmp_path: Path) -> None:
    path = stack_file(
        tmp_path,
        "a: no\nb: on\nc: 2026-11-21\nd: 1:30\ne: true\nf: 0o17\ng: 012\nh: '012'\ni: ~\nj: 1.5\n"
        "k: 1e3\nl: 089\nm: 1_000\nn: 0x1f\no: 0b11\np: .5\nq: 1e400\nr: TRUE\ns: 2026-13-45\nt: -.inf\nu: 2026-11-21T10:15:30Z",
    )
    values = read_stack_file(path).values
    assert dict(values) == {
        "a": "no", "b": "on", "c": "2026-11-21 00:00:00 +0000 UTC", "d": "1:30", "e": True, "f": 15, "g": 10, "h": "012", "i": None,
        "j": 1.5, "k": 1000, "l": 89, "m": 1000, "n": 31, "o": 3, "p": 0.5, "q": "1e400", "r": True, "s": "2026-13-45", "t": -math.inf,
        "u": "2026-11-21 10:15:30 +0000 UTC",
    }  # fmt: skip


def test_stack_file_parts(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.prod.yaml"
    path.write_text(
        "secretsprovider: gcpkms://x\nencryptionsalt: v1:abc=\nconfig:\n  gpubench:hf:\n    secure: v1:x\n"
        "  gpubench:deep: {a: [{b: {secure: v1:y}}]}\n  gcp:project: p\n",
        encoding="utf-8",
    )
    file = read_stack_file(path)
    assert (file.encryption_salt, file.secrets_provider) == ("v1:abc=", "gcpkms://x")
    assert file.secret_keys == {"gpubench:hf", "gpubench:deep"}
    assert file.values["gcp:project"] == "p"
    assert set(file.raw) == {"secretsprovider", "encryptionsalt", "config"}


# ------------------------------------------------------------------------------------------------------ good configs


def test_smallest_stack(tmp_path: Path) -> None:
    found = load(stack_file(tmp_path, LOCAL))
    assert [r.id for r in found.ladder] == ["local/any"]
    assert found.benchmark.workload == ("resnet50", "kernels")
    assert (found.benchmark.profile, found.benchmark.repeats, found.benchmark.timeout_minutes) == (
        "standard-cpu",
        1,
        60,
    )
    assert found.benchmark.image is None and found.benchmark.is_built_in
    assert (found.results.kind, found.results.path) == ("folder", "results")
    assert (found.budget.usd, found.budget.hours) == (20, 24)
    assert found.access is Access.PRIVATE and found.rung is None and found.pinned_rung is None
    assert found.placement == Placement(Order.LADDER, Comparability.ANY, 30)
    assert found.registry is None and found.google == Google(None, False, None, ())


EVERYTHING = f"""
gcp:project: my-project
aws:region: eu-west-1
gpubench:ladder:
  - surface: gke
    region: europe-west4
    zones: [europe-west4-a]
    tiers: [l4, t4]
    purchases: [spot, on-demand]
    max_hours: 2
  - surface: ecs
    account: "012345678901"
    tier: a10g
    machine_types: [g5.xlarge, g5.2xlarge]
  - surface: gce
    project: other-project
    region: us-central1
    tier: a100-80
    purchase: reserved
    reservation: my-reservation
gpubench:benchmark:
  workload: [resnet50]
  image: europe-docker.pkg.dev/my-project/bench/workload@sha256:{SHA}
  env:
    TOKENIZERS_PARALLELISM: "false"
    MAX_TOKENS: "4096"
    HF_TOKEN: {{secret: huggingface}}
    GOOGLE_APPLICATION_CREDENTIALS: /var/run/key.json
  profile: full
  scenarios: [Offline, Server]
  batch_sizes: [1, 8, 32]
  precisions: [fp16]
  channels_last: true
  compile: true
  seed: 7
  repeats: 3
  timeout_minutes: 90.5
  code: {{repository: "https://example.com/bench", commit: "{COMMIT}"}}
gpubench:huggingface:
  secure: v1:abc
gpubench:results: gs://my-bucket/bench/runs/
gpubench:budget: {{usd: 12.5, hours: 6}}
gpubench:labels: {{team: vision, cost-center: "12"}}
gpubench:access: public
gpubench:placement: {{order: soonest, comparability: same-region-first, attempt_minutes: 90}}
gpubench:google:
  subnet: projects/host-project/regions/us-central1/subnetworks/benches
  nat: true
  boot_disk_gb: 300
  quota_increases:
    - quota_id: GPUS-PER-GPU-FAMILY-per-project-region
      limit: 8
      email: bench@example.com
      justification: nightly benchmark of one machine
      region: us-central1
      project: other-project
      dimensions: {{gpu_family: NVIDIA_H100}}
gpubench:registry: europe-docker.pkg.dev/images-project/bench
gpubench:rung: gke/my-project/europe-west4/t4/spot/n1-standard-4@europe-west4-a
"""


def test_everything(tmp_path: Path) -> None:
    found = load(stack_file(tmp_path, EVERYTHING))
    assert [r.id for r in found.ladder] == [
        "gke/my-project/europe-west4/l4/spot/g2-standard-4@europe-west4-a",
        "gke/my-project/europe-west4/l4/on-demand/g2-standard-4@europe-west4-a",
        "gke/my-project/europe-west4/t4/spot/n1-standard-4@europe-west4-a",
        "gke/my-project/europe-west4/t4/on-demand/n1-standard-4@europe-west4-a",
        "ecs/012345678901/eu-west-1/a10g/on-demand/g5.xlarge+g5.2xlarge",
        "gce/other-project/us-central1/a100-80/reserved/a2-ultragpu-1g@reservation:my-reservation",
    ]
    assert found.ladder[0].max_hours == 2
    assert found.pinned_rung is found.ladder[2]
    bench_ = found.benchmark
    assert bench_.env["HF_TOKEN"] == SecretRef("huggingface")
    assert bench_.env["MAX_TOKENS"] == "4096"
    assert (bench_.batch_sizes, bench_.scenarios, bench_.seed, bench_.repeats) == (
        (1, 8, 32),
        ("Offline", "Server"),
        7,
        3,
    )
    assert bench_.workload == ("resnet50",) and bench_.image is not None and bench_.image.endswith(SHA)
    assert bench_.code is not None and bench_.code.commit == COMMIT
    assert (found.results.kind, found.results.bucket, found.results.prefix) == ("gs", "my-bucket", "bench/runs")
    assert (found.budget.usd, found.budget.hours) == (12.5, 6)
    assert dict(found.labels) == {"team": "vision", "cost-center": "12"}
    assert found.access is Access.PUBLIC
    assert found.placement == Placement(Order.SOONEST, Comparability.SAME_REGION_FIRST, 90)
    assert found.google == Google(
        subnet="projects/host-project/regions/us-central1/subnetworks/benches",
        nat=True,
        boot_disk_gb=300,
        quota_increases=(
            QuotaIncrease(
                quota_id="GPUS-PER-GPU-FAMILY-per-project-region",
                limit=8,
                email="bench@example.com",
                justification="nightly benchmark of one machine",
                project="other-project",
                region="us-central1",
                dimensions={"gpu_family": "NVIDIA_H100"},
            ),
        ),
    )
    assert found.registry == "europe-docker.pkg.dev/images-project/bench"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{order: ladder}", Placement()),
        ("{order: cheapest}", Placement(order=Order.CHEAPEST)),
        ("{comparability: any}", Placement()),
        ("{comparability: same-tier-only}", Placement(comparability=Comparability.SAME_TIER_ONLY)),
        ("{attempt_minutes: 0.5}", Placement(attempt_minutes=0.5)),
        ("{attempt_minutes: 10080}", Placement(attempt_minutes=10080)),
        ('\'{"order": "soonest"}\'', Placement(order=Order.SOONEST)),  # as Pulumi hands it to a program
    ],
)
def test_placement(written: str, meant: Placement, tmp_path: Path) -> None:
    assert load(stack_file(tmp_path, f"{LOCAL}\ngpubench:placement: {written}")).placement == meant


@pytest.mark.parametrize(
    "registry",
    [
        "us-docker.pkg.dev/my-project/bench",
        "europe-southwest1-docker.pkg.dev/my-project/bench-2",  # no region of GPUs
        "us-central1-docker.pkg.dev/example.com/my-project/b",  # of a domain's project
        f"asia-docker.pkg.dev/my-project/{'b' * 63}",
    ],
)
def test_registry(registry: str, tmp_path: Path) -> None:
    assert load(stack_file(tmp_path, f"{LOCAL}\ngpubench:registry: {registry}")).registry == registry


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", Google()),
        ("nat: false", Google()),
        ("subnet: benches, nat: true", Google(subnet="benches", nat=True)),
        ("boot_disk_gb: 50", Google(boot_disk_gb=50)),
        ("boot_disk_gb: 2000", Google(boot_disk_gb=2000)),
    ],
)
def test_google(written: str, meant: Google, tmp_path: Path) -> None:
    assert load(stack_file(tmp_path, google(written))).google == meant


def test_a_quota_increase_is_of_the_ladder_s_project(tmp_path: Path) -> None:
    ladder = rung(f"{CENTRAL}, tier: l4", "surface: cloud-run, region: europe-west4, tier: l4", f"{EAST}, tier: t4")
    several = [increase(), increase(region="us-central1"), increase(project='"example.com:other-project"')]
    text = f"quota_increases: [{', '.join(several)}]"
    found = load(stack_file(tmp_path, google(text, ladder))).google.quota_increases
    assert [(one.project, one.region) for one in found] == [
        ("my-project", None),
        ("my-project", "us-central1"),
        ("example.com:other-project", None),
    ]
    assert (found[0].quota_id, found[0].limit) == ("NVIDIA-L4-GPUS-per-project-region", 4)
    assert (found[0].email, found[0].justification) == ("bench@example.com", "weekly benchmark of four L4")
    assert found[0].dimensions == {}


def test_a_subnet_of_a_region_goes_with_rungs_of_one_region(tmp_path: Path) -> None:
    """Other surfaces have no part in it, and a name alone goes with any regions."""
    subnet = "projects/host-project/regions/us-central1/subnetworks/s1"
    one = rung(f"{CENTRAL}, tiers: [t4, l4]", "surface: cloud-run, region: europe-west4, tier: l4", "surface: local")
    assert load(stack_file(tmp_path, google(f"subnet: {subnet}", one))).google.subnet == subnet
    several = rung("surface: gce, regions: [us-central1, us-east4], tier: l4")
    assert load(stack_file(tmp_path, google("subnet: s1", several))).google.subnet == "s1"


def test_several_machine_types_with_other_purchases_and_surfaces(tmp_path: Path) -> None:
    shapes = "tier: l4, machine_types: [g2-standard-4, g2-standard-8]"
    gke = f"surface: gke, region: us-central1, {shapes}, purchase: flex-start"
    found = load(stack_file(tmp_path, rung(f"{CENTRAL}, {shapes}, purchases: [spot, on-demand]", gke)))
    assert [(r.purchase, len(r.machine_types)) for r in found.ladder] == [
        ("spot", 2),
        ("on-demand", 2),
        ("flex-start", 2),
    ]
    each = f"{CENTRAL}, tiers: [t4, l4], machine_types: [n1-standard-4, g2-standard-4], purchase: flex-start"
    found = load(stack_file(tmp_path, rung(each)))
    assert [r.machine_types for r in found.ladder] == [("n1-standard-4",), ("g2-standard-4",)]


def test_json_texts_as_a_program_gets_them(tmp_path: Path) -> None:
    """Pulumi hands structured values to a program as JSON, and decrypts secrets."""
    values = dict(read_stack_file(stack_file(tmp_path, EVERYTHING)).values)
    as_texts: dict[str, object] = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    as_texts["gpubench:huggingface"] = HUGGING_FACE
    found = Settings.from_config(as_texts, ["gpubench:huggingface"])
    assert found == Settings.from_config(values, ["gpubench:huggingface"])
    assert HUGGING_FACE not in repr(found)


def test_an_image_alone_runs_its_own_command(tmp_path: Path) -> None:
    found = load(stack_file(tmp_path, bench(f"image: 'localhost:5000/a/b:1.2@sha256:{SHA}', command: [run, --fast]")))
    assert found.benchmark.workload == () and not found.benchmark.is_built_in
    assert found.benchmark.command == ("run", "--fast")


INCIDENTS = {
    # 1: H100 in all zones of a region, then elsewhere, then A100, then the card under the desk.
    "h100-nowhere": (
        """
gcp:project: team-one
gpubench:ladder:
  - {surface: gce, regions: [us-central1, us-east4, europe-west4], tier: h100, purchases: [flex-start, spot]}
  - {surface: gce, region: us-central1, tier: a100-40, purchases: [on-demand, spot]}
  - surface: local
gpubench:benchmark: {image: us-docker.pkg.dev/team-one/bench/bench:2025-10-01}
gpubench:results: gs://team-one-results/h100
""",
        ["gce/team-one/us-central1/h100/flex-start/a3-highgpu-1g", "gce/team-one/us-central1/h100/spot/a3-highgpu-1g"],
        9,
    ),
    # 2: a fresh L4 machine, code and image pinned, results to a bucket.
    "stale-machine": (
        f"""
gcp:project: team-two
gpubench:ladder: [{{surface: gce, region: us-central1, tier: l4, machine_type: g2-standard-8, max_hours: 1}}]
gpubench:benchmark:
  workload: [kernels]
  code: {{repository: git@example.com:team/kernels.git, commit: {COMMIT}}}
  timeout_minutes: 40
gpubench:results: gs://team-two-results
gpubench:budget: {{usd: 2, hours: 1}}
""",
        ["gce/team-two/us-central1/l4/on-demand/g2-standard-8"],
        1,
    ),
    # 3: T4 on GKE, MLPerf style.
    "t4-on-gke": (
        """
gcp:project: team-three
gpubench:ladder: [{surface: gke, region: us-central1, zones: [us-central1-a], tier: t4, machine_type: n1-standard-4}]
gpubench:benchmark:
  workload: [resnet50]
  profile: standard
  scenarios: [Offline, Server, SingleStream]
  batch_sizes: [1, 8, 32]
  repeats: 5
gpubench:results: results/baseline
""",
        ["gke/team-three/us-central1/t4/on-demand/n1-standard-4@us-central1-a"],
        1,
    ),
    # 4: no g4dn, no g5: types x purchases x regions in one ladder, and the same container on Fargate.
    "no-g4dn-no-g5": (
        """
gpubench:ladder:
  - surface: ecs
    account: "012345678901"
    regions: [us-east-1, us-west-2]
    tiers: [a10g, t4]
    machine_types: [g5.xlarge, g5.2xlarge, g4dn.xlarge, g4dn.2xlarge]
    purchases: [on-demand, spot]
  - {surface: ecs, account: "012345678901", region: us-east-1, tier: cpu, machine_type: fargate-16-64gb}
gpubench:benchmark: {image: "012345678901.dkr.ecr.us-east-1.amazonaws.com/sdxl:1.4"}
gpubench:results: s3://team-four/sdxl
""",
        [
            "ecs/012345678901/us-east-1/a10g/on-demand/g5.xlarge+g5.2xlarge",
            "ecs/012345678901/us-east-1/a10g/spot/g5.xlarge+g5.2xlarge",
        ],
        9,
    ),
    # 5: L4 on Cloud Run with a quota, other regions, then no GPU at all.
    "cloud-run-quota": (
        """
gcp:project: team-five
gpubench:ladder:
  - {surface: cloud-run, regions: [us-central1, us-east4, europe-west4], tier: l4}
  - {surface: cloud-run, region: us-central1, tier: cpu, machine_type: cpu-8-32gi}
gpubench:benchmark: {image: us-docker.pkg.dev/team-five/serve/app:v12}
gpubench:budget: {usd: 100, hours: 24}
gpubench:results: gs://team-five-results
""",
        ["cloud-run/team-five/us-central1/l4/on-demand/nvidia-l4"],
        4,
    ),
}


@pytest.mark.parametrize("name", INCIDENTS)
def test_incidents_as_stacks(name: str, tmp_path: Path) -> None:
    text, first, count = INCIDENTS[name]
    found = load(stack_file(tmp_path, text))
    assert [r.id for r in found.ladder][: len(first)] == first
    assert len(found.ladder) == count
    assert all(r.offers or r.is_free for r in found.ladder)


def test_default_profile_follows_the_ladder(tmp_path: Path) -> None:
    assert load(stack_file(tmp_path, rung(f"{CENTRAL}, tier: l4", "surface: local"))).benchmark.profile == "standard"
    assert load(stack_file(tmp_path, rung(f"{EAST}, tier: cpu", "surface: local"))).benchmark.profile == "standard-cpu"


def test_machine_type_brings_its_count(tmp_path: Path) -> None:
    found = load(stack_file(tmp_path, rung(f"{CENTRAL}, tier: h100, machine_type: a3-highgpu-8g")))
    assert [(r.id, r.count) for r in found.ladder] == [("gce/my-project/us-central1/h100x8/on-demand/a3-highgpu-8g", 8)]
    found = load(stack_file(tmp_path, rung(f"{CENTRAL}, tier: rtx-pro-6000, machine_type: g4-standard-6")))
    assert found.ladder[0].id == "gce/my-project/us-central1/rtx-pro-6000x0.125/on-demand/g4-standard-6"


def test_a_zone_that_was_not_read_is_taken_on_trust(tmp_path: Path) -> None:
    """The catalogue knows that G4 is sold in europe-west10, and none of its zones."""
    entry = "surface: gce, region: europe-west10, zone: {}, tier: rtx-pro-6000"
    assert load(stack_file(tmp_path, rung(entry.format("europe-west10-a")))).ladder[0].place.zones == (
        "europe-west10-a",
    )
    assert mistakes_of(stack_file(tmp_path, rung(entry.format("europe-west1-a"))))
    entry = 'surface: ecs, account: "123456789012", region: af-south-1, zone: {}, tier: t4'
    assert load(stack_file(tmp_path, rung(entry.format("afs1-az1")))).ladder[0].place.zones == ("afs1-az1",)
    for wrong in ("af-south-1a", "use1-az1"):
        assert mistakes_of(stack_file(tmp_path, rung(entry.format(wrong))))


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    found = load(stack_file(tmp_path, EVERYTHING))
    asked = found.google.quota_increases[0]
    for thing in (found, found.benchmark, found.budget, found.results, found.google, asked, found.ladder[0]):
        with pytest.raises(AttributeError):
            setattr(thing, "rung", "x")  # noqa: B010  mypy knows that it cannot be set


@pytest.mark.parametrize("name", ["HF_TOKEN", "token", "MY_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "DB_PASSWORD", "PRIVATE_KEY", "GCP_CREDENTIALS", "CLIENT_SECRET"])  # fmt: skip
def test_names_that_say_secret(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "TOKEN_LIMIT", "KEYBOARD", "SECRETARY", "SECRET_NAME", "MONKEY", "CUDA_VISIBLE_DEVICES"])  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    assert not names_a_secret(name)


@pytest.mark.parametrize("text", ["ask-me-anything-you-like-today", "risk-free-benchmark-run-2026", "sha256:" + SHA, COMMIT, "https://example.com/a:b@c", "half_precision_kernels_only", "gs://bucket/prefix"])  # fmt: skip
def test_texts_that_are_no_credentials(text: str) -> None:
    assert not looks_like_credential(text)


def test_settings_can_be_copied_and_written(tmp_path: Path) -> None:
    found = load(stack_file(tmp_path, EVERYTHING))
    assert copy.deepcopy(found) == found
    assert json.loads(json.dumps(asdict(found)))["benchmark"]["env"]["HF_TOKEN"] == {"name": "huggingface"}


def test_a_setting_that_holds_a_secret_is_refused_on_either_engine(tmp_path: Path) -> None:
    """The CLI hands the whole value over decrypted; the file has it encrypted in place. Both are told."""
    text = bench("env: {X: {secure: 'v1:abc'}}")
    assert [m.path for m in mistakes_of(stack_file(tmp_path, text))] == ["gpubench:benchmark.env.X"]
    values = {"gpubench:ladder": '[{"surface": "local"}]', "gpubench:benchmark": json.dumps({"env": {"X": PASSWORD}})}
    with pytest.raises(SettingsError, match="gpubench:benchmark: encrypted") as caught:
        Settings.from_config(values, ["gpubench:benchmark"])
    assert PASSWORD not in str(caught.value)


def test_broken_json_does_not_show_what_it_holds() -> None:
    values = {"gpubench:ladder": '[{"surface": "local"}', "gpubench:benchmark": '{"env": {"X": "' + PASSWORD + '"'}
    with pytest.raises(SettingsError) as caught:
        Settings.from_config(values)
    assert [m.path for m in caught.value.mistakes] == ["gpubench:ladder", "gpubench:benchmark"]
    assert PASSWORD not in str(caught.value)


SECRETS = st.sampled_from([c for c in CANARIES if c != PASSWORD])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | SECRETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | SECRETS, inner, max_size=3),
    max_leaves=8,
)
ENTRY_KEYS = ["surface", "project", "account", "region", "regions", "zone", "zones", "tier", "tiers", "count", "purchase", "purchases", "machine_type", "machine_types", "reservation", "max_hours"]  # fmt: skip
WORDS = st.sampled_from([*Surface, *Purchase, "l4", "h100", "t4", "h200", "cpu", "any", "us-central1", "us-east-1", "us-central1-a", "use1-az1", "a3-highgpu-1g", "g5.xlarge", "n1-standard-8", "123456789012"])  # fmt: skip
ENTRIES = st.lists(
    JSON | st.dictionaries(st.sampled_from(ENTRY_KEYS), WORDS | st.lists(WORDS, max_size=3) | JSON, max_size=7),
    max_size=3,
)
GOOGLE_KEYS = ["subnet", "nat", "boot_disk_gb", "quota_increases"]
INCREASE_KEYS = [*GOOD_INCREASE, "region", "project", "dimensions"]
GOOGLE_CLOUD = st.dictionaries(
    st.sampled_from(GOOGLE_KEYS), JSON | st.lists(st.dictionaries(st.sampled_from(INCREASE_KEYS), JSON), max_size=2)
)
REGISTRIES = st.builds("us-docker.pkg.dev/{}".format, st.text(alphabet="ab1-:/.@\n", max_size=24) | SECRETS)
OTHER_KEYS = ["benchmark", "results", "budget", "labels", "access", "placement", "google", "registry", "rung", "x", "HF_TOKEN"]  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    ENTRIES,
    st.dictionaries(st.sampled_from(OTHER_KEYS), JSON | GOOGLE_CLOUD | REGISTRIES),
)
def test_whatever_is_written_there_is_no_traceback(entries: list[object], others: dict[str, object]) -> None:
    values: dict[str, object] = {"gcp:project": "my-project", "gpubench:ladder": entries}
    values |= {f"gpubench:{key}": value for key, value in others.items()}
    try:
        found = Settings.from_config(values)
    except SettingsError as error:
        assert error.mistakes
        assert not [c for c in CANARIES if c in str(error)]
        return
    # A credential anywhere is a mistake.
    assert not [c for c in CANARIES if c in json.dumps(values)]
    # What passes is all sold, and each rung has a name of its own.
    assert found.ladder and len({r.id for r in found.ladder}) == len(found.ladder)
    for one in found.ladder:
        assert one.is_free or (one.offers and all(one.purchase in o.purchases for o in one.offers))


def test_settings_import_nothing_heavy() -> None:
    code = (
        "import sys, settings; print([m for m in ('pulumi', 'torch', 'yaml', 'pydantic', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"
