"""The boot script for real: see machine.py and fake_google.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import results_folder
from tests.gce.fake_google import TOKEN, FakeGoogle
from tests.gce.machine import ATTEMPT, IMAGE, INSTANCE, MEASURE, RUNS, UNTIL_TOLD, Machine

ROOT = Path(__file__).resolve().parent.parent.parent
DENIED = (
    'Error response from daemon: Head "https://us-central1-docker.pkg.dev/v2/team-bench/bench/resnet/manifests/x": '
    'denied: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource '
    '"projects/team-bench/locations/us-central1/repositories/bench" (or it may not exist)'
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with FakeGoogle() as google:
        yield Machine(tmp_path, google)


def manifest(machine: Machine, run: str = RUNS[0]) -> dict[str, Any]:
    found = results_folder.read_manifest(machine.home_again(run))
    assert found is not None, machine.console
    return found


def test_two_runs_are_carried_out_uploaded_and_the_machine_ends_itself(machine: Machine) -> None:
    machine.order = {
        "runs": {run: {"run": run, "stack": "dev"} for run in RUNS},
        "argv": ("--profile", "quick one", ""),
        "env": {"BATCH": "8 9"},
    }
    machine.container = (
        MEASURE + 'echo "arguments: $# [$2] [$BATCH]"; mkdir "$RESULTS/deep"; echo 1 >"$RESULTS/deep/er"\n'
    )
    machine.boot()
    assert machine.phases == ["boot", "driver", "pull", f"run {RUNS[0]}", "upload", f"run {RUNS[1]}", "upload", "end"]
    for run in RUNS:
        found = manifest(machine, run)
        assert (found["status"], found["made_by"], found["cause"]) == ("complete", "wrapper", None)
        assert found["stamps"] == {
            "run": run, "stack": "dev", "attempt": ATTEMPT, "instance": INSTANCE, "zone": "us-central1-b",
            "machine_type": "g2-standard-4", "gpu_name": "NVIDIA L4", "gpu_count": 1, "gpu_memory_gb": 24.2,
            "driver_version": "580.95.05",
        }  # fmt: skip
        folder = machine.home_again(run)
        assert (folder / "deep" / "er").read_text() == "1\n"
        assert folder.with_suffix(".log").read_text().endswith("arguments: 3 [quick one] [8 9]\n")
    assert machine.google.order[-1].endswith(f"{RUNS[1]}/{ATTEMPT}/manifest.json")
    assert machine.ended_itself()
    assert machine.google.refused == []
    assert machine.called(f"docker pull --quiet {IMAGE}")
    assert (machine.fakes / "login").read_text().strip() == TOKEN
    # The rule that lets names be asked for stands before the one that refuses all else: each goes to the top.
    rules = [
        call.split("254/32 ")[1].strip() for call in machine.called("iptables -w 30 -I DOCKER-USER -d 169.254.169")
    ]
    assert rules == ["-j REJECT", "-p tcp --dport 53 -j RETURN", "-p udp --dport 53 -j RETURN"]
    assert all("--gpus all" in call for call in machine.called("docker run"))


@pytest.mark.parametrize("says_it_exists", [412, 403])
def test_a_file_that_grows_comes_in_parts_while_the_run_lasts(machine: Machine, says_it_exists: int) -> None:
    machine.gpu = False
    machine.container = f'while [[ ! -e "$FAKES/go" ]]; do\n{MEASURE}sleep 0.01; done\n{MEASURE}'
    machine.google.says_it_exists = says_it_exists
    seen: list[str] = []

    def hiccup(name: str) -> str:
        seen.append(name)
        if "measurements" not in name or not name.endswith(("part-000001", "part-000002")):
            return ""
        # It is stored, and the machine isn't told so; then nothing goes for longer than one upload's patience.
        return (
            ("after" if name.endswith("1") else "before")
            if seen.count(name) == 1
            else "before" * (seen.count(name) < 6)
        )

    machine.google.hiccup = hiccup
    machine.start()
    machine.google.wait_for(lambda: any("measurements.jsonl.part-000003" in name for name in machine.google.order))
    (machine.fakes / "go").touch()
    machine.wait()
    assert manifest(machine)["status"] == "complete"
    assert machine.google.refused == ([] if says_it_exists == 412 else ["storage.objects.delete"])
    assert "measurements.jsonl.whole" not in "".join(machine.google.order)
    assert machine.phases == ["boot", "pull", f"run {RUNS[0]}", "upload", "end"]
    assert not machine.called("nvidia-smi")
    assert "--gpus" not in machine.called("docker run")[0]
    assert machine.ended_itself()


@pytest.mark.parametrize("change", ["sed -i s/512/513/", "sed -i 2d"], ids=["rewritten", "taken back"])
def test_a_file_that_changes_before_it_is_known_what_is_there(machine: Machine, change: str) -> None:
    """A part is there, and the answer was lost; what is sent again isn't that part."""
    made = f"{MEASURE}{MEASURE}".replace("measurements.jsonl", "new")
    machine.container = (
        f'{made}mv "$RESULTS/new" "$RESULTS/measurements.jsonl"\n'
        'while [[ ! -e "$FAKES/go" ]]; do sleep 0.01; done\n'
        f'{change} "$RESULTS/measurements.jsonl"; touch "$FAKES/changed"; sleep 0.1\n'
    )
    seen: list[str] = []

    def hiccup(name: str) -> str:
        if not name.endswith("measurements.jsonl.part-000001"):
            return ""
        seen.append(name)
        return "after" if len(seen) == 1 else "before" * (not (machine.fakes / "changed").exists())

    machine.google.hiccup = hiccup
    machine.start()
    machine.google.wait_for(lambda: len(seen) > 5)  # more than one upload has the patience for
    (machine.fakes / "go").touch()
    machine.wait()
    assert manifest(machine)["status"] == "complete"
    records = results_folder.read_records(machine.home_again())
    assert [record["mb_per_s"] for record in records] == ([513, 513] if "s/" in change else [512])
    (part,) = [data for name, data in machine.google.objects.items() if "measurements.jsonl.part" in name]
    assert part.count(b"512") == 2, "as it was first sent"


def test_links_and_pipes_are_not_followed(machine: Machine) -> None:
    """A container could show us the machine's own files by them, or hold us up."""
    (machine.home / "of-the-machine").write_text("do not show")
    machine.container = (
        f'ln -s "{machine.home}/of-the-machine" "$RESULTS/measurements.jsonl"; mkfifo "$RESULTS/progress.json"\n'
        f'ln -s "{machine.home}/of-the-machine" "$RESULTS/manifest.json"; mkfifo "$RESULTS/pipe"\n'
        'echo 1 >"$RESULTS/one"; sleep 0.5\n'
    )
    machine.boot()
    assert [entry["path"] for entry in manifest(machine)["files"]] == ["one"]
    assert b"do not show" not in b"".join(machine.google.objects.values())
    assert machine.ended_itself()


def test_a_file_that_is_rewritten_comes_whole(machine: Machine) -> None:
    """It was to be appended to only; what is in the bucket already can't be taken back, and does no harm."""
    machine.container = (
        f'{MEASURE}{MEASURE}while [[ ! -e "$FAKES/go" ]]; do sleep 0.02; done\n'
        'echo \'{"benchmark":"other"}\' >"$RESULTS/measurements.jsonl"; echo mine > "$RESULTS/.log"; '
        'ln -s /etc/hostname "$RESULTS/link"; echo odd >"$RESULTS/od\nd"\n'
    )
    machine.start()
    machine.google.wait_for(lambda: any("measurements.jsonl.part-000001" in name for name in machine.google.order))
    (machine.fakes / "go").touch()
    machine.wait()
    folder = machine.home_again()
    assert manifest(machine)["status"] == "complete"
    assert results_folder.read_records(folder) == [{"benchmark": "other"}]
    # The log's objects are called `.log`, and no object's name may hold a line's end.
    assert sorted(path.name for path in folder.iterdir()) == [
        ".log.results", "manifest.json", "measurements.jsonl", "od_d",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("echo no such batch >&2; exit 3", ("failed", 3, "workload", "exit-code", "exit code 3\n")),
        ("exit 0", ("failed", 0, "workload", "error", "it ended well and left no file")),
        ("kill -KILL $$", ("failed", 137, "workload", "out-of-memory", "gpubench: attempt")),
    ],
    ids=["exit code", "nothing measured", "out of memory"],
)
def test_a_workload_that_fails(machine: Machine, container: str, expected: tuple[Any, ...]) -> None:
    (machine.fakes / "oom").write_text("true\n")
    machine.container = "echo gpubench: phase end\n" + container
    machine.boot()
    found = manifest(machine)
    cause = found["cause"]
    assert (found["status"], found["exit_code"], cause["cause"], cause["code"]) == expected[:4]
    assert expected[4] in cause["message"] or expected[3] == "out-of-memory"
    assert any(line.startswith(f"gpubench: failed workload ({expected[3]}): ") for line in machine.markers)
    assert machine.phases.count("end") == 1  # what a container prints is no marker
    assert machine.ended_itself()


def test_a_container_that_docker_can_not_start(machine: Machine) -> None:
    words = 'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].'
    (machine.fakes / "run-fails").write_text(words + "\n")
    machine.boot()
    cause = manifest(machine)["cause"]
    assert (cause["cause"], cause["code"]) == ("bad-request", "no-driver")
    assert words in cause["message"]
    assert machine.ended_itself()


def test_a_disk_that_is_too_small_for_a_container_to_start_on(machine: Machine) -> None:
    words = "docker: Error response from daemon: mkdir /var/lib/docker/overlay2/5f1: no space left on device."
    (machine.fakes / "run-fails").write_text(words + "\n")
    machine.boot()
    cause = manifest(machine)["cause"]
    assert (cause["cause"], cause["code"]) == ("bad-request", "disk-full")
    assert words in cause["message"]
    assert "gpubench:google: {boot_disk_gb: N}" in cause["mend"]
    assert machine.ended_itself()


def test_a_run_that_takes_too_long_is_stopped(machine: Machine) -> None:
    machine.order = {"timeout_s": 0.4}
    machine.container = UNTIL_TOLD
    machine.boot()
    found = manifest(machine)
    assert (found["status"], found["cause"]["code"]) == ("failed", "time-out")
    assert found["cause"]["message"].startswith("still running after 0.4 s")
    assert len(results_folder.read_records(machine.home_again())) == 1
    assert machine.ended_itself()


@pytest.mark.parametrize("how", ["preempted", "stopped", "shutdown"])
def test_what_was_measured_is_saved_when_the_machine_is_told_to_end(machine: Machine, how: str) -> None:
    machine.order = {"runs": {run: {"run": run} for run in RUNS}, "upload_s": 30.0}
    machine.container = UNTIL_TOLD
    (machine.fakes / "told-twice").touch()
    machine.start()
    measured = machine.home / "data" / "runs" / RUNS[0] / "results" / results_folder.MEASUREMENTS
    machine.google.wait_for(measured.exists)
    if how == "preempted":
        machine.google.preempt()
    elif how == "stopped":
        machine.google.attributes["gpubench-stop"] = "1"
    else:
        machine.shut_down()
        assert machine.ended_itself(), "the shutdown script waits for the boot script's last act"
    machine.wait()
    found = manifest(machine)
    text = {"preempted": "Instance was preempted.", "stopped": "stopped on request"}.get(
        how, "the machine is being shut down"
    )
    cause = found["cause"]
    assert (found["status"], cause["cause"], cause["code"], cause["message"]) == (
        "interrupted", "interrupted", "signal", text,
    )  # fmt: skip
    assert found["exit_code"] == 143
    assert len(results_folder.read_records(machine.home_again())) == 1
    assert machine.google.files(RUNS[1], ATTEMPT) == {}, "the next run does not begin"
    grace = machine.called("docker stop")[0].split()[3]
    assert grace == ("10" if how == "stopped" else "7")
    assert machine.ended_itself()


def test_a_container_that_hears_of_the_machine_s_end_before_the_agent(machine: Machine) -> None:
    """systemd ends docker, and docker its containers, while nobody has told the agent anything yet."""
    machine.order = {"runs": {run: {"run": run} for run in RUNS}}
    machine.env["GPUBENCH_PAUSE_MS"] = "1000"
    machine.container = UNTIL_TOLD
    machine.start()
    measured = machine.home / "data" / "runs" / RUNS[0] / "results" / results_folder.MEASUREMENTS
    machine.google.wait_for(measured.exists)
    os.kill(int((machine.fakes / f"gpubench-{RUNS[0]}.pid").read_text()), signal.SIGTERM)
    time.sleep(0.5)
    machine.shut_down()
    machine.wait()
    found = manifest(machine)
    assert (found["status"], found["cause"]["message"], found["exit_code"]) == (
        "interrupted", "the machine is being shut down", 143,
    )  # fmt: skip
    assert len(machine.called("docker run")) == 1, "the next run does not begin"
    assert not machine.called("docker stop")
    assert machine.ended_itself()


def test_the_shutdown_script_is_ended_before_docker(machine: Machine) -> None:
    machine.boot()
    (drop_in,) = machine.units.glob("google-shutdown-scripts.service.d/*.conf")
    assert drop_in.read_text() == "[Unit]\nAfter=docker.service\n"
    calls = [call.split()[0:2] for call in machine.calls]
    assert calls.index(["systemctl", "daemon-reload"]) < calls.index(["docker", "run"])


def test_a_machine_that_is_told_to_end_while_it_pulls(machine: Machine) -> None:
    (machine.fakes / "pull-hangs").touch()
    machine.start()
    machine.google.wait_for(lambda: (machine.fakes / "pulls").exists())
    machine.google.preempt()
    machine.wait()
    (machine.fakes / "pull-hangs").unlink()
    assert manifest(machine)["status"] == "interrupted"
    assert not machine.called("docker run")
    assert machine.ended_itself()


def test_no_driver(machine: Machine) -> None:
    words = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    (machine.fakes / "no-driver").write_text(words + "\n")
    machine.order = {"runs": {run: {"run": run} for run in RUNS}}
    machine.boot()
    assert f"gpubench: failed bad-request (no-driver): {words}" in machine.markers
    for run in RUNS:
        cause = manifest(machine, run)["cause"]
        assert (cause["code"], cause["message"].splitlines()[0]) == ("no-driver", words)
    assert not machine.called("docker")
    assert machine.ended_itself()


NO_SPACE = "failed to register layer: write /usr/lib/libcudnn.so.9: no space left on device"


@pytest.mark.parametrize(
    ("image", "words", "cause", "mend"),
    [
        (IMAGE, 'Error response from daemon: manifest unknown: Failed to fetch "sha256:ab"', "image", "push the image"),
        (IMAGE, NO_SPACE, "bad-request", "gpubench:google: {boot_disk_gb: N}"),
        (
            "docker.io/acme/bench@sha256:" + "cd" * 32,
            "Error response from daemon: pull access denied for acme/bench, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied",
            "permission",
            "make the image public",
        ),
    ],
    ids=["no such image", "a small disk", "denied elsewhere"],
)
def test_a_pull_that_no_grant_mends_is_final(machine: Machine, image: str, words: str, cause: str, mend: str) -> None:
    (machine.fakes / "pull-1").write_text(words + "\n")
    machine.order = {"image": image}
    machine.boot()
    assert f"gpubench: failed {cause} (image-pull): {words}" in machine.markers
    found = manifest(machine)["cause"]
    assert (found["cause"], found["code"], found["message"]) == (cause, "image-pull", words)
    assert mend in found["mend"]
    assert len(machine.called("docker pull")) == 1
    assert words in machine.home_again().with_suffix(".log").read_text()
    assert machine.ended_itself()


def told_of_a_grant(machine: Machine) -> list[str]:
    return [line for line in machine.markers if "a new grant may not hold yet" in line]


def test_a_refused_pull_is_tried_on_until_a_new_grant_holds(machine: Machine) -> None:
    for number in (1, 2):
        (machine.fakes / f"pull-{number}").write_text(DENIED + "\n")
    machine.env["GPUBENCH_GRANT_S"] = "20"
    machine.boot()
    assert manifest(machine)["status"] == "complete"
    assert (len(machine.called("docker login")), len(machine.called("docker pull"))) == (3, 3)
    (said,) = told_of_a_grant(machine)
    assert said.endswith(f"it is tried for 20 s: {DENIED}")
    assert machine.ended_itself()


def test_a_pull_that_is_refused_for_good_is_a_permission(machine: Machine) -> None:
    (machine.fakes / "pull-fails").write_text(DENIED + "\n")
    machine.boot()
    found = manifest(machine)["cause"]
    assert (found["cause"], found["code"], found["message"]) == ("permission", "image-pull", DENIED)
    assert "roles/artifactregistry.reader" in found["mend"]
    assert len(told_of_a_grant(machine)) == 1
    assert 2 <= len(machine.called("docker pull")) < 60
    assert not machine.called("docker run")
    assert machine.ended_itself()


def test_a_machine_that_is_told_to_end_between_two_tries_of_a_pull(machine: Machine) -> None:
    """The pause is longer than what a preempted machine has."""
    (machine.fakes / "pull-fails").write_text(DENIED + "\n")
    machine.env.update({"GPUBENCH_GRANT_S": "300", "GPUBENCH_PAUSE_MS": "60000"})
    machine.start()
    machine.google.wait_for((machine.fakes / "pulls").exists)
    machine.google.preempt()
    machine.wait()
    assert manifest(machine)["status"] == "interrupted"
    assert machine.ended_itself()


def test_grants_of_the_bucket_and_of_a_secret_are_waited_for(machine: Machine) -> None:
    version = "projects/team-bench/secrets/hf/versions/3"
    machine.order = {"secrets": {"HF_TOKEN": version}}
    machine.env["GPUBENCH_GRANT_S"] = "20"
    refused: list[str] = []

    def not_yet(name: str) -> bool:
        refused.append(name)
        return len(refused) < 3

    machine.google.refuse_create = not_yet
    machine.start()
    machine.google.wait_for(lambda: "the secret is refused" in (machine.home / "console").read_text())
    machine.google.secrets[version] = "a-value"
    machine.wait()
    assert manifest(machine)["status"] == "complete"
    assert [line.partition(" is refused")[0] for line in told_of_a_grant(machine)] == [
        "gpubench: the upload", "gpubench: the secret",
    ]  # fmt: skip
    assert machine.ended_itself()


def test_a_pull_that_breaks_off_is_tried_again_with_a_new_token(machine: Machine) -> None:
    words = 'Error response from daemon: Get "https://us-central1-docker.pkg.dev/v2/": net/http: TLS handshake timeout'
    for number in (1, 2):
        (machine.fakes / f"pull-{number}").write_text(words + "\n")
    machine.boot()
    assert manifest(machine)["status"] == "complete"
    assert (len(machine.called("docker login")), len(machine.called("docker pull"))) == (3, 3)
    assert machine.ended_itself()


def test_a_registry_that_is_not_googles_gets_no_token(machine: Machine) -> None:
    machine.order = {"image": "docker.io/library/busybox@sha256:" + "cd" * 32}
    machine.boot()
    assert manifest(machine)["status"] == "complete"
    assert not machine.called("docker login")


def test_results_that_can_not_be_uploaded_are_not_measured(machine: Machine) -> None:
    machine.google.refuse_create = lambda _name: True
    machine.boot()
    (marker,) = [line for line in machine.markers if "failed" in line]
    assert marker.startswith("gpubench: failed permission (upload): HTTP 403: ")
    assert "storage.objects.create" in marker
    assert not machine.called("docker")
    assert machine.ended_itself()


def test_a_grant_that_goes_away_ends_the_run(machine: Machine) -> None:
    machine.google.refuse_create = lambda name: "measurements" in name
    machine.container = UNTIL_TOLD
    machine.boot()
    assert any(line.startswith("gpubench: failed permission (upload): HTTP 403: ") for line in machine.markers)
    assert "manifest.json" not in machine.google.files(RUNS[0], ATTEMPT)
    assert machine.ended_itself()


def test_a_machine_without_metadata_shuts_down(machine: Machine) -> None:
    machine.google.metadata_up = False
    machine.boot()
    assert machine.markers[-3].startswith("gpubench: failed transient (metadata): ")
    assert (machine.google.deletions, machine.called("shutdown")) == ([], ["shutdown -h now "])


def test_metadata_that_comes_late_and_goes_in_the_middle(machine: Machine) -> None:
    machine.env["GPUBENCH_METADATA_S"] = "20"
    machine.google.metadata_up = False
    machine.container = MEASURE + 'touch "$FAKES/runs"; while [[ ! -e "$FAKES/go" ]]; do sleep 0.02; done\n' + MEASURE
    machine.start()
    machine.google.wait_for((machine.home / "state" / "curl").exists)
    machine.google.metadata_up = True
    machine.google.wait_for((machine.fakes / "runs").exists)
    machine.google.wait_for(lambda: any("measurements" in name for name in machine.google.order))
    machine.google.metadata_up = False
    (machine.fakes / "go").touch()
    machine.wait()
    assert manifest(machine)["status"] == "complete"
    assert len(results_folder.read_records(machine.home_again())) == 2
    assert machine.ended_itself()  # by the token that it had


def test_a_machine_that_may_not_delete_itself_shuts_down(machine: Machine) -> None:
    machine.google.may_delete_itself = False
    machine.boot()
    assert manifest(machine)["status"] == "complete"
    assert "compute.instances.delete" in machine.console
    assert machine.called("shutdown") == ["shutdown -h now "]


def test_secrets_are_nowhere_but_in_the_container(machine: Machine) -> None:
    secret = "hf_9aF2-line-one\nand-the-second-line"
    machine.google.secrets["projects/team-bench/secrets/hf/versions/3"] = secret
    machine.order = {"secrets": {"HF_TOKEN": "projects/team-bench/secrets/hf/versions/3"}}
    machine.container = (
        'echo "token: $HF_TOKEN"; cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n" >"$FAKES/command-lines"\n'
        f'[[ "$HF_TOKEN" == *second-line ]] && {MEASURE}'
        'echo \'{"step":"\'"${HF_TOKEN%%$\'\\n\'*}"\'","done":1,"total":2}\' >"$RESULTS/progress.json"; sleep 0.3\n'
        'echo "$HF_TOKEN" >&2; exit 4\n'
    )
    machine.boot()
    found = manifest(machine)
    assert found["cause"]["code"] == "exit-code"
    assert "token: [secret]" in machine.home_again().with_suffix(".log").read_text()
    assert "gpubench: progress [1/2] [secret]" in machine.markers
    places = {
        "the console": machine.console.encode(),
        "the programs' arguments": "\n".join(machine.calls).encode(),
        "command lines": (machine.fakes / "command-lines").read_bytes(),
        "the metadata": json.dumps(machine.google.attributes).encode(),
        **machine.google.objects,
        **{str(path): path.read_bytes() for path in (machine.home / "data").rglob("*") if path.is_file()},
    }
    for place, data in places.items():
        for hidden in ("hf_9aF2-line-one", "second-line", TOKEN):
            assert hidden.encode() not in data, place
    assert not (machine.home / "state").exists()


def test_a_secret_that_may_not_be_read(machine: Machine) -> None:
    machine.order = {"secrets": {"HF_TOKEN": "projects/team-bench/secrets/hf/versions/3"}}
    machine.boot()
    cause = manifest(machine)["cause"]
    assert (cause["cause"], cause["code"]) == ("permission", "secret")
    assert "secretmanager.versions.access" in cause["message"]
    assert not machine.called("docker run")
    assert machine.ended_itself()


@pytest.mark.parametrize("right", [True, False], ids=["right", "of other stamps"])
def test_a_containers_own_manifest_is_kept_where_it_is_right(machine: Machine, right: bool) -> None:
    machine.container = f"""{MEASURE}
    PYTHONPATH={ROOT} {sys.executable} -c '
import json, os, sys
from datetime import UTC, datetime
from pathlib import Path
from results_folder import Cause, ResultsFolder, Status
stamps = json.loads(os.environ["GPUBENCH_STAMPS"]) if {right} else dict(run="another")
ResultsFolder(Path(os.environ["RESULTS"]), stamps).seal(
    Status.FAILED, exit_code=10, started_at=datetime.now(UTC), made_by="workload",
    cause=Cause("workload", "out-of-memory", "CUDA out of memory", "smaller"))'
    exit 10
    """
    machine.boot()
    found = manifest(machine)
    assert (found["made_by"], found["cause"]["code"]) == (
        ("workload", "out-of-memory") if right else ("wrapper", "exit-code")
    )
    assert found["stamps"]["run"] == RUNS[0]
    assert machine.ended_itself()


def test_code_is_there_at_its_commit(machine: Machine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q", str(source)], check=True)
    for text in ("old", "new"):
        (source / "file").write_text(text)
        subprocess.run([*git, "add", "file"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", text], check=True)
    old = subprocess.run([*git, "rev-parse", "HEAD~1"], check=True, capture_output=True, text=True).stdout.strip()
    machine.order = {"code": (str(source), old)}
    machine.container = 'cp "$CODE/file" "$RESULTS/file"'
    machine.boot()
    assert (machine.home_again() / "file").read_text() == "old", machine.console


def test_code_that_is_not_there(machine: Machine, tmp_path: Path) -> None:
    machine.order = {"code": (str(tmp_path / "none"), "0" * 40)}
    machine.boot()
    cause = manifest(machine)["cause"]
    assert (cause["cause"], cause["code"]) == ("bad-request", "code")
    assert "does not exist" in cause["message"]
    assert not machine.called("docker run")


def test_a_machine_that_restarts_saves_what_it_had_and_ends(machine: Machine) -> None:
    machine.container = UNTIL_TOLD
    machine.start()
    machine.google.wait_for(lambda: any("measurements" in name for name in machine.google.order))
    machine.cut_power()
    machine.wait()
    assert "manifest.json" not in machine.google.files(RUNS[0], ATTEMPT)
    subprocess.run(["rm", "-r", str(machine.home / "state")], check=True)  # it was in memory
    machine.boot()
    found = manifest(machine)
    assert (found["status"], found["cause"]["code"]) == ("interrupted", "reboot")
    assert len(results_folder.read_records(machine.home_again())) == 1
    assert machine.ended_itself()


@pytest.mark.parametrize("says_it_exists", [412, 403])
def test_a_restart_that_takes_the_last_seconds_of_the_disk_takes_nothing_of_the_results(
    machine: Machine, says_it_exists: int
) -> None:
    """The record is from before the upload, and what was written last is zeros: the bucket has other bytes."""
    machine.google.says_it_exists = says_it_exists
    machine.container = UNTIL_TOLD
    machine.start()
    machine.google.wait_for(lambda: any("measurements" in name for name in machine.google.order))
    machine.cut_power()
    machine.wait()
    run = machine.home / "data" / "runs" / RUNS[0]
    record = json.loads((run / "uploads.json").read_text())
    (run / "uploads.json").write_text(json.dumps({".log": record[".log"]}))
    measured = run / "results" / results_folder.MEASUREMENTS
    measured.write_bytes(bytes(measured.stat().st_size))
    subprocess.run(["rm", "-r", str(machine.home / "state")], check=True)
    machine.boot()
    found = manifest(machine)
    assert (found["status"], found["cause"]["code"]) == ("interrupted", "reboot")
    assert (machine.home_again() / measured.name).read_bytes() == measured.read_bytes()
    assert machine.ended_itself()


def test_an_image_without_docker_gets_one(machine: Machine) -> None:
    (machine.fakes / "docker").rename(machine.fakes / "docker.deb")
    machine.program("apt-get", '[[ "$*" != *docker.io ]] || mv "$FAKES/docker.deb" "$FAKES/docker"')
    machine.program("nvidia-ctk", "")
    machine.program("systemctl", "")
    machine.boot()
    assert manifest(machine)["status"] == "complete"
    assert machine.called("nvidia-ctk runtime configure --runtime=docker")
    assert machine.called("systemctl restart docker")


def test_no_docker_and_nowhere_to_get_it(machine: Machine) -> None:
    (machine.fakes / "docker").unlink()
    machine.program("apt-get", "echo 'E: Unable to fetch some archives' >&2; exit 100")
    machine.boot()
    cause = manifest(machine)["cause"]
    assert (cause["cause"], cause["code"]) == ("bad-request", "no-docker")
    assert "NAT" in cause["mend"]
    assert machine.ended_itself()


def test_no_run_without_the_guard_of_the_token(machine: Machine) -> None:
    machine.program("iptables", "echo 'iptables: No chain/target/match by that name.' >&2; exit 1")
    machine.boot()
    assert manifest(machine)["cause"]["code"] == "container-guard"
    assert not machine.called("docker run")
    assert machine.ended_itself()


def test_it_works_on_python_3_10(machine: Machine, tmp_path: Path) -> None:
    """Ubuntu 22.04's. It isn't here, so this Python is made to lack what 3.11 brought and is used."""
    site = tmp_path / "site"
    site.mkdir()
    # The library's own modules are loaded before: 3.11's need what they have.
    lacks = "import datetime, enum, hashlib, http.client, inspect, ssl, urllib.request\n"
    lacks += "del datetime.UTC, enum.StrEnum, hashlib.file_digest\n"
    (site / "sitecustomize.py").write_text(lacks)
    machine.env["PYTHONPATH"] = str(site)
    machine.boot()
    found = manifest(machine)
    assert (found["status"], found["finished_at"][-1]) == ("complete", "Z")


def test_the_scripts_are_clean() -> None:
    command = [str(Path(sys.executable).parent / "shellcheck"), "--enable=all"]
    # Braces around each variable, and functions in conditions: matters of taste, and done on purpose.
    command += ["--exclude=SC2250,SC2310,SC2312", "components/gce/boot.sh", "components/gce/shutdown.sh"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_agent_that_does_not_work(machine: Machine) -> None:
    machine.start()
    machine.google.attributes["gpubench-agent"] = "import something_that_is_not_there\n"
    machine.wait()
    assert any(line.startswith("gpubench: failed unknown (agent): ") for line in machine.markers)
    assert "something_that_is_not_there" in machine.console
    assert machine.ended_itself()
