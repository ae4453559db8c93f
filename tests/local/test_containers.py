"""Containers: with buildah for real, from an image made on the spot; docker's and podman's commands with a stand-in."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import results_folder
from benchmark_job.order import RunOrder
from components import interface
from components.interface import Control, SurfaceError
from components.local import containers, surface
from tests.buildah import IMAGE, Buildah
from tests.local.harness import is_alive, wait_for

CANARY = "c4n4ry 'with' \"quotes\"\nand a second line"
_SECONDS = f"1234.{os.getpid()}"  # how long this test run's containers sleep: they are found by it, and no others


@dataclass
class Execution:
    """One attempt on the surface, on a thread of its own where something has to be seen meanwhile."""

    folder: Path
    said: list[str] = field(default_factory=list)
    name: str = "20261121T101530Z-a1b2"

    @property
    def results(self) -> Path:
        return self.folder / "run" / self.name

    @property
    def log(self) -> str:
        return (self.folder / "run" / f"{self.name}.log").read_text()

    def order(self, script: str | None, **changes: Any) -> RunOrder:
        image = changes.pop("image", None) or surface.resolve_image(IMAGE)
        fields: dict[str, Any] = {
            "run": "0123456789ab-1",
            "store": str(self.folder),
            "rung": "local/any",
            "rungs": ("local/any",),
            "surface": "local",
            "tier": "any",
            "argv": () if script is None else ("/bin/sh", "-c", script),
            "image": image,
            "timeout_s": 30,
            "stamps": {"run": "0123456789ab-1", "rung": "local/any"},
        }
        return RunOrder(**{**fields, **changes})

    def execute(self, script: str | None, secrets: Mapping[str, str] | None = None, **changes: Any) -> dict[str, Any]:
        order = self.order(script, **changes)
        self.results.mkdir(parents=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT)
        log = self.results.with_name(f"{self.name}.log")
        execution = interface.Execution(self.results, log, self.folder / "stop", lock, secrets or {})
        try:
            surface.execute(order, execution, Control(self.said.append, lambda: False))
        finally:
            os.close(lock)
        assert results_folder.verify(self.results) == []
        manifest = results_folder.read_manifest(self.results)
        assert manifest is not None
        tier = manifest["stamps"].pop("obtained_tier", None)
        assert tier == (None if containers.has_nvidia_gpu() else "cpu")  # the stand-in for nvidia-smi says nothing
        assert manifest["stamps"] == {**order.stamps, "attempt": self.name}
        return manifest


@pytest.fixture
def execution(buildah: Buildah, tmp_path: Path) -> Iterator[Execution]:
    yield Execution(tmp_path)
    assert buildah.working_containers() == []


pytestmark = pytest.mark.container


def test_whatever_writes_under_results_works(execution: Execution) -> None:
    manifest = execution.execute("mkdir /results/deep; echo 1 > /results/deep/figures; echo said; env | grep -c HOME=")
    assert (manifest["status"], manifest["made_by"], manifest["cause"]) == ("complete", "wrapper", None)
    assert [file["path"] for file in manifest["files"]] == ["deep/figures"]
    assert "said" in execution.log


def test_the_images_own_command_and_its_entry_point(buildah: Buildah, tmp_path: Path) -> None:
    first = Execution(tmp_path / "own")
    first.execute(None)
    assert (first.results / "by").read_text() == "its own\n"
    name = "localhost/gpubench-entry:1"
    entry = '["/bin/sh", "-c", "echo $* > /results/by", "entry"]'
    buildah.image(name, "--entrypoint", entry, "--cmd", "own command", "--user", "1000:1000", "--workingdir", "/tmp")
    image = surface.resolve_image(name)
    # As with docker: the entry point stays, the config's command takes the place of the image's.
    for folder, argv, text in (("b", (), "own command\n"), ("c", ("from", "config"), "from config\n")):
        execution = Execution(tmp_path / folder)
        execution.execute(None, image=image, argv=argv)
        assert (execution.results / "by").read_text() == text
        assert execution.results.stat().st_mode & 0o777 == 0o755  # open to the image's user only while it ran
    assert buildah.working_containers() == []


def test_an_image_without_a_command_says_so(buildah: Buildah, execution: Execution) -> None:
    buildah.image("localhost/gpubench-bare:1")
    with pytest.raises(SurfaceError, match=r"has no command; name one in benchmark\.command"):
        execution.execute(None, image=surface.resolve_image("localhost/gpubench-bare:1"))


def test_a_container_that_fails(execution: Execution) -> None:
    manifest = execution.execute("echo 1 > /results/kept; echo the reason; exit 3")
    assert (manifest["status"], manifest["exit_code"]) == ("failed", 3)
    assert "the reason" in manifest["cause"]["message"]
    assert [file["path"] for file in manifest["files"]] == ["kept"]


def test_a_command_that_the_image_does_not_have(execution: Execution) -> None:
    manifest = execution.execute(None, argv=("gpubench-no-such-program",))
    assert manifest["status"] == "failed"
    assert "gpubench-no-such-program" in manifest["cause"]["message"]


def test_a_container_that_hangs_ends_at_its_time_out(execution: Execution) -> None:
    # In a session of its own, so that no signal to the group reaches it.
    script = f"echo 1 > /results/kept; setsid sleep {_SECONDS} & sleep {_SECONDS}"
    manifest = execution.execute(script, timeout_s=2)
    assert (manifest["status"], manifest["cause"]["code"]) == ("failed", "time-out")
    assert [file["path"] for file in manifest["files"]] == ["kept"]
    assert not _asleep()


def test_a_stop_file_ends_a_container(execution: Execution) -> None:
    made: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: made.append(execution.execute(f"touch /results/on; sleep {_SECONDS}")))
    thread.start()
    wait_for((execution.results / "on").exists, "the container's start")
    assert _asleep()
    (execution.folder / "stop").touch()
    thread.join(20)
    assert made[0]["status"] == "interrupted"
    assert not _asleep()


def test_a_container_that_fills_the_disk(execution: Execution) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "gpubench-test", str(execution.folder)]
    search = "/usr/sbin:/usr/bin:/sbin:/bin"
    if subprocess.run(
        mount, capture_output=True, env={"PATH": search}, executable=shutil.which("mount", path=search)
    ).returncode:
        pytest.skip("can't mount a small file system here (needs root)")
    try:
        manifest = execution.execute("echo 1 > /results/kept; cat /dev/zero > /results/big")
        assert (manifest["status"], manifest["cause"]["code"]) == ("failed", "disk-full")
        assert [file["path"] for file in manifest["files"]] == ["big", "kept"]
    finally:
        subprocess.run(["umount", str(execution.folder)], check=True, env={"PATH": search})


def test_variables_arrive_and_a_secret_is_on_no_command_line(execution: Execution, buildah: Buildah) -> None:
    script = (
        'printf %s "$TOKEN" > /results/token; printf "%s|%s" "$PLAIN" "$PATH" > /results/plain; cat > /results/stdin\n'
        'printf %s "$GPUBENCH_STAMPS" > /results/stamps; printf %s "$GPUBENCH_RESULTS" > /results/where\n'
        'echo "the token is $TOKEN"; env > /results/env; touch /results/ready; sleep 2'
    )
    # PATH is the container's: taken from the tool's own environment it would hide the tool.
    env = {"PLAIN": "a=b 'c' $HOME", "PATH": "/bin:/own"}
    seen: list[str] = []

    def look() -> None:
        while not (execution.results / "ready").exists():
            seen.extend(_command_lines())
            time.sleep(0.02)
        seen.extend(_command_lines())

    watcher = threading.Thread(target=look)
    execution.results.parent.mkdir(parents=True)
    watcher.start()
    execution.execute(script, secrets={"TOKEN": CANARY}, env=env)
    watcher.join()
    texts = {path.name: path.read_text() for path in execution.results.iterdir()}
    assert texts["token"] == CANARY
    assert texts["plain"] == "a=b 'c' $HOME|/bin:/own"
    assert texts["stdin"] == ""
    assert texts["where"] == "/results"
    assert json.loads(texts["stamps"])["attempt"] == execution.name
    assert "CONTAINERS_STORAGE_CONF" not in texts["env"]  # a container sees nothing of this machine's environment
    assert any("gpubench-0123456789ab-1" in line and "PLAIN=" in line for line in seen)
    assert not [line for line in seen if "c4n4ry" in line]
    assert execution.log.count("[secret]") == 1
    storage = [path for path in buildah.folder.rglob("*.json") if b"c4n4ry" in path.read_bytes()]
    assert "c4n4ry" not in execution.log + texts["manifest.json"]
    assert storage == []


def test_what_a_killed_attempt_left_is_removed_by_the_next(execution: Execution, buildah: Buildah) -> None:
    killed = execution.results.with_name("20261121T101500Z-0000")
    other = "gpubench-0123456789ab-1-another-clones"
    killed.mkdir(parents=True)
    for name in (f"gpubench-0123456789ab-1-{killed.name.lower()}", other):
        buildah("from", "--pull=never", "--name", name, IMAGE)
    execution.execute("touch /results/done")
    assert buildah.working_containers() == [other]
    buildah("rm", other)


def test_an_image_that_is_not_here_says_how_to_get_it(buildah: Buildah) -> None:
    for image in ("localhost/gpubench-absent:1", f"localhost/gpubench-absent@sha256:{'0' * 64}"):
        with pytest.raises(SurfaceError, match=f"isn't on this machine. Bring it here first: buildah pull {image}"):
            surface.resolve_image(image)


def test_a_digest_names_the_content(buildah: Buildah, tmp_path: Path) -> None:
    name = "localhost/gpubench-moving:1"
    buildah.image(name, "--cmd", '["/bin/sh", "-c", "echo one > /results/by"]')
    one = surface.resolve_image(name)
    assert one == surface.resolve_image(name)
    assert one.startswith("localhost/gpubench-moving@sha256:")
    buildah.image(name, "--cmd", '["/bin/sh", "-c", "echo two > /results/by"]')
    two = surface.resolve_image(name)
    assert one != two
    # By digest: each is what it was, the one without its tag too.
    for digest, text in ((one, "one\n"), (two, "two\n")):
        assert surface.resolve_image(digest) == digest
        execution = Execution(tmp_path / text.strip())
        execution.execute(None, image=digest)
        assert (execution.results / "by").read_text() == text


def test_the_run_is_gone_with_a_killed_supervisor(buildah: Buildah, execution: Execution) -> None:
    failures: list[SurfaceError] = []

    def execute() -> None:
        try:
            execution.execute(f"touch /results/on; sleep {_SECONDS}")
        except SurfaceError as error:
            failures.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    wait_for((execution.results / "on").exists, "the container's start")
    (supervisor,) = [pid for pid in _children() if "components.local.supervisor" in _read(pid)]
    os.kill(supervisor, 9)
    thread.join(20)
    assert "its supervisor ended with -9" in str(failures[0])
    wait_for(lambda: not _asleep(), "the container's end", 5)
    assert not is_alive(supervisor)
    # The working container stays for the next attempt's sweep.
    execution.name = "20261121T101531Z-b2c3"
    execution.execute("touch /results/done")


_STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" ---- >> "$RECORD"
case "$1 $2" in
"version --format") echo 28.0 ;;
"image inspect") case "$3" in
  *absent*) echo "No such image: $3" >&2; exit 1 ;;
  *@*) exit 1 ;;
  *) echo '[{"Id": "sha256:1d", "RepoDigests": DIGESTS}]' ;; esac ;;
run*) echo "$TOKEN" > "$RESULTS_SEEN" ;;
esac
"""


@pytest.mark.parametrize("program", ["docker", "podman"])
@pytest.mark.parametrize("gpu", [True, False])
def test_docker_and_podman_command_lines(
    program: str, gpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in that records its arguments: no real docker or podman is run by this test.

    It shows what they are asked for (GPU flags, --rm, label, no secret's value), not that they do it.
    """
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / program).write_text(_STAND_IN.replace("DIGESTS", "null"))
    (tools / program).chmod(0o755)
    if gpu:
        (tools / "nvidia-smi").write_text("#!/bin/sh\n")
        (tools / "nvidia-smi").chmod(0o755)
    elif Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    record, seen = tmp_path / "record", tmp_path / "seen"
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("RECORD", str(record))
    monkeypatch.setenv("RESULTS_SEEN", str(seen))
    image = surface.resolve_image("registry.example:5000/team/bench:1")
    assert image == "registry.example:5000/team/bench@sha256:1d"
    with pytest.raises(SurfaceError, match=f"Bring it here first: {program} pull absent:1"):
        surface.resolve_image("absent:1")
    execution = Execution(tmp_path / "store")
    manifest = execution.execute("measure", secrets={"TOKEN": CANARY}, env={"PLAIN": "1"}, image=image)
    assert "left no file" in manifest["cause"]["message"]  # the stand-in's doing
    assert seen.read_text() == f"{CANARY}\n"
    calls = [call.splitlines() for call in record.read_text().split("----\n")]
    (run,) = [call for call in calls if call[:1] == ["run"]]
    name = f"gpubench-0123456789ab-1-{execution.name.lower()}"
    assert run[run.index("sha256:1d") :] == ["sha256:1d", "/bin/sh", "-c", "measure"]
    options = run[: run.index("sha256:1d")]
    assert "--rm" in options
    pairs = list(itertools.pairwise(options))
    assert {
        ("--name", name),
        ("--label", "gpubench-run=0123456789ab-1"),
        ("--pull", "never"),
        ("--volume", f"{execution.results}:/results"),
        ("--env", "PLAIN=1"),
        ("--env", "GPUBENCH_RESULTS=/results"),
        ("--env", "TOKEN"),
    } <= set(pairs)
    flags = {"docker": ("--gpus", "all"), "podman": ("--device", "nvidia.com/gpu=all")}[program]
    assert (flags in pairs) is gpu
    assert "c4n4ry" not in record.read_text() + execution.log
    assert ["rm", "--force", "--volumes", name] in calls


@pytest.mark.parametrize(
    ("image", "digests", "resolved"),
    [
        ("busybox:1", ["busybox@sha256:aa"], "busybox@sha256:aa"),
        ("docker.io/library/busybox", ["busybox@sha256:aa"], "busybox@sha256:aa"),
        ("r.example:5000/a/b:2", ["c/b@sha256:bb", "r.example:5000/a/b@sha256:aa"], "r.example:5000/a/b@sha256:aa"),
        ("box:1", ["busybox@sha256:aa"], "box@sha256:1d"),
    ],
)  # fmt: skip
def test_docker_digests(
    image: str, digests: list[str], resolved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the same stand-in: which of an image's digests is taken."""
    (tmp_path / "docker").write_text(_STAND_IN.replace("DIGESTS", json.dumps(digests)))
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    assert surface.resolve_image(image) == resolved


def test_without_any_tool_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker client without its engine counts as none."""
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert containers.available() is None
    with pytest.raises(SurfaceError, match=r"leave benchmark\.image out"):
        surface.resolve_image("busybox:1")


def _children() -> list[int]:
    """This process's own children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def _command_lines() -> list[str]:
    return [_read(int(path.name)) for path in Path("/proc").glob("[0-9]*")]


def _asleep() -> list[str]:
    return [line for line in _command_lines() if f"sleep {_SECONDS}" in line]


def _read(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
