"""Images built from their Containerfile: buildah builds and pushes for real, to a registry on loopback."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import google.auth
import pytest
import yaml
from google.oauth2.credentials import Credentials

from components import image_build, image_digest, registry_login
from components.image_build import PINNED_VARIABLE, ImageNotBuilt
from components.interface import SurfaceError
from components.local import containers
from placement.causes import Cause
from settings import Benchmark, Build
from tests.buildah import IMAGE, Buildah
from tests.registry_server import Registry, serve

CONTAINERFILE = f"""\
FROM {IMAGE}
ARG GREETING=none
COPY measure.sh /measure.sh
RUN echo "$GREETING" > /greeting
CMD ["/bin/sh", "/measure.sh"]
"""


@dataclass
class Project:
    """A benchmark's folder, and what building it said and did."""

    folder: Path
    registry: Registry
    said: list[str] = field(default_factory=list)
    prepared: int = 0

    @property
    def benchmark(self) -> Benchmark:
        return Benchmark(
            workload=(),
            image=f"{self.registry.host}/bench/sdxl:dev",
            build=Build(str(self.folder), "Containerfile", {"GREETING": "hello"}),
        )

    @property
    def tag(self) -> str:
        wanted = image_build.wanted(self.benchmark)
        assert wanted is not None
        return wanted.rpartition(":")[2]

    def prepare(self) -> None:
        self.prepared += 1
        self.registry.repositories.add("bench")

    def ensure(self, *, pushes: bool = True) -> str:
        return image_build.ensure(self.benchmark, pushes=pushes, say=self.said.append, prepare=self.prepare)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "Containerfile").write_text(CONTAINERFILE)
    (tmp_path / "measure.sh").write_text("cp /greeting /results/greeting\n")
    with serve("bench") as registry:
        yield Project(tmp_path, registry)


# -- building and pushing ----------------------------------------------------------------------------------------------


def test_what_nobody_has_built_is_built_pushed_and_named_by_its_digest(project: Project, buildah: Buildah) -> None:
    with pytest.raises(ImageNotBuilt, match="gpubench image"):
        image_build.resolve(project.benchmark, image_digest.resolve)
    image = project.ensure()
    assert image == f"{project.registry.host}/bench/sdxl@{project.registry.digest('bench/sdxl', project.tag)}"
    assert project.tag.startswith("dev-")
    assert image_build.resolve(project.benchmark, image_digest.resolve) == image
    manifest = json.loads(project.registry.manifests[f"bench/sdxl:{project.tag}"][1])
    config = json.loads(project.registry.blobs[manifest["config"]["digest"]])
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["Cmd"] == ["/bin/sh", "/measure.sh"]
    built, pushed = project.said
    assert built.endswith("with buildah")
    assert pushed.startswith("pushing")


def test_it_is_built_once_for_each_content(project: Project, buildah: Buildah) -> None:
    first = project.ensure()
    said = len(project.said)
    os.utime(project.folder / "measure.sh", (0, 0))  # as in another clone
    assert project.ensure() == first
    assert (len(project.said), project.registry.puts) == (said, 1)
    (project.folder / "measure.sh").write_text("cp /greeting /results/other\n")
    assert project.ensure() != first
    assert project.registry.puts == 2


def test_a_repository_that_is_not_there_yet_is_made_first(project: Project, buildah: Buildah) -> None:
    project.registry.repositories.clear()
    image = project.ensure()
    assert (project.prepared, project.registry.puts) == (1, 1)
    assert image_digest.resolve(image) == image


def test_a_refused_push_says_whom_to_ask_and_makes_nothing(project: Project, buildah: Buildah) -> None:
    project.registry.denied = True
    with pytest.raises(SurfaceError) as failed:
        project.ensure()
    assert failed.value.cause is Cause.PERMISSION
    assert "roles/artifactregistry.writer" in str(failed.value)
    assert "denied" in str(failed.value)
    assert (project.prepared, project.registry.puts) == (0, 0)


def test_a_build_that_fails_says_its_last_words(
    project: Project, buildah: Buildah, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project.folder / "Containerfile").open("a") as file:
        file.write("RUN echo no headers here >&2 && exit 7\n")
    with pytest.raises(SurfaceError) as failed:
        project.ensure()
    assert failed.value.cause is Cause.IMAGE
    assert "buildah could not build" in str(failed.value)
    assert "no headers here" in str(failed.value)
    assert "no headers here" in capsys.readouterr().err, "and while it goes on"
    assert not project.registry.blobs


def test_without_a_cloud_it_stays_on_this_machine(project: Project, buildah: Buildah) -> None:
    image = project.ensure(pushes=False)
    assert not project.registry.blobs
    assert image_build.resolve(project.benchmark, containers.find(image).resolve) == image
    assert project.ensure(pushes=False) == image
    assert len(project.said) == 1


# -- what counts as content --------------------------------------------------------------------------------------------


def test_content_is_what_the_build_sees(tmp_path: Path) -> None:
    def content(**args: str) -> str:
        return image_build.content(Build(str(tmp_path), "sub/Containerfile", args))

    for name in ("sub/Containerfile", "a.py", "data/x.bin", "data/keep.bin", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("# a comment\n\ndata/*\n!data/keep.bin\n*.txt\nsub\n")
    seen = [content()]

    def changes() -> bool:
        seen.append(content())
        return seen[-1] != seen[-2]

    assert seen[0] != content(A="1") != content(A="2")
    (tmp_path / "notes.txt").write_text("ignored")
    (tmp_path / "data/x.bin").write_text("ignored")
    assert not changes()
    (tmp_path / "data/keep.bin").write_text("seen")
    assert changes()
    (tmp_path / "sub/Containerfile").write_text("seen, though its folder is ignored")
    assert changes()
    (tmp_path / "a.py").chmod(0o755)
    assert changes()
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert changes()
    (tmp_path / "link").symlink_to("b.py")
    assert changes()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("nowhere")
    assert changes()
    (tmp_path / "empty").mkdir()
    assert not changes()


def test_a_walk_goes_on_with_the_image_that_it_began_with(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = f"{project.registry.host}/bench/sdxl@sha256:{'ab' * 32}"
    monkeypatch.setenv(PINNED_VARIABLE, pinned)
    (project.folder / "measure.sh").write_text("changed while a GPU was waited for\n")
    assert image_build.wanted(project.benchmark) == pinned
    assert image_build.wanted(Benchmark(image="ghcr.io/other/image:1")) == "ghcr.io/other/image:1"


def test_what_is_missing_here_is_told_as_before_where_the_image_is_pinned(
    project: Project, monkeypatch: pytest.MonkeyPatch, buildah: Buildah
) -> None:
    pinned = f"{project.registry.host}/bench/sdxl@sha256:{'ab' * 32}"
    monkeypatch.setenv(PINNED_VARIABLE, pinned)
    with pytest.raises(SurfaceError, match="Bring it here first: buildah pull") as failed:
        image_build.resolve(project.benchmark, containers.find(pinned).resolve)
    assert not isinstance(failed.value, ImageNotBuilt)


# -- who pushes --------------------------------------------------------------------------------------------------------


def test_googles_registries_get_our_token_and_the_users_own_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = "us-docker.pkg.dev"
    credentials = Credentials(token="ya29.ours")  # type: ignore[no-untyped-call]
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "my-project"))
    own = tmp_path / "docker"
    (own / "contexts").mkdir(parents=True)
    written = {
        "currentContext": "colima",
        "credsStore": "desktop",
        "credHelpers": {host: "gcloud", "ghcr.io": "gh"},
        "auths": {host: {"auth": "b2xk"}},
    }
    (own / "config.json").write_text(json.dumps(written))
    monkeypatch.setenv("DOCKER_CONFIG", str(own))
    with registry_login.client_environment(host, f"{host}/p/r/i:1") as environment:
        folder, file = Path(environment["DOCKER_CONFIG"]), Path(environment["REGISTRY_AUTH_FILE"])
        assert file == folder / "config.json"
        assert file.stat().st_mode & 0o077 == 0
        config = json.loads(file.read_text())
        assert base64.b64decode(config["auths"][host]["auth"]) == b"oauth2accesstoken:ya29.ours"
        assert config["currentContext"] == "colima"
        assert config["credHelpers"] == {"ghcr.io": "gh"}
        assert "credsStore" not in config
        assert (folder / "contexts").resolve() == (own / "contexts").resolve()
    assert not folder.exists()
    assert (own / "contexts").is_dir()
    assert json.loads((own / "config.json").read_text()) == written


def test_other_registries_are_left_to_the_users_own_login(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(**_: object) -> None:
        raise AssertionError("credentials were looked for")

    monkeypatch.setattr(google.auth, "default", asked)
    with registry_login.client_environment("ghcr.io", "ghcr.io/team/bench:1") as environment:
        assert not environment


@pytest.mark.parametrize(
    ("program", "options"), [("docker", []), ("podman", ["--tls-verify=false"]), ("buildah", ["--tls-verify=false"])]
)
def test_what_the_tools_are_asked(program: str, options: list[str], tmp_path: Path) -> None:
    """Command lines alone; buildah's are carried out above."""
    (tool,) = [kind() for kind in (containers.Docker, containers.Podman, containers.Buildah) if kind.program == program]
    assert tool.push("r/b:1", loopback=True) == [program, "push", *options, "r/b:1"]
    assert tool.push("r/b:1") == [program, "push", "r/b:1"]
    built = tool.build("r/b:1", tmp_path, tmp_path / "Containerfile", {"A": "b c"}, "linux/amd64")
    assert built[:2] == [program, "build"]
    assert ("--layers" in built) is (program == "buildah")
    assert built[-1] == str(tmp_path)
    joined = " ".join(built)
    assert "--tag r/b:1" in joined
    assert f"--file {tmp_path / 'Containerfile'}" in joined
    assert "--platform linux/amd64" in joined
    assert "A=b c" in built


# -- the whole line ----------------------------------------------------------------------------------------------------


ROOT = Path(__file__).resolve().parents[2]
UPDATE = """
import sys
from pathlib import Path
from engine import choice
from engine.base import EngineError
root = Path.cwd()
try:
    print(choice.open_engine(choice.choose("built", "embedded"), root, "built").up().outputs)
except EngineError as error:
    print(f"refused: {error}")
"""


@dataclass
class Clone:
    """The project's sources, with a stack whose image is built from `code`."""

    folder: Path
    code: Path

    @classmethod
    def of(cls, project: Project) -> Clone:
        clone, code = project.folder / "gpubench", project.folder / "code"
        left_out = (".git", ".venv", ".gpubench", "results", "tests", "docs", "__pycache__", ".*_*")
        shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*left_out))
        code.mkdir()
        for name in ("Containerfile", "measure.sh"):
            (project.folder / name).rename(code / name)
        config = {
            "gpubench:ladder": [{"surface": "local"}],
            "gpubench:benchmark": {
                "image": "localhost/sdxl:dev",
                "build": {"context": str(code), "args": {"GREETING": "hello"}},
            },
        }
        (clone / "Pulumi.built.yaml").write_text(yaml.safe_dump({"config": config}))
        return cls(clone, code)

    def __call__(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(self.folder), **environment}
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def gpubench(self, command: str) -> subprocess.CompletedProcess[str]:
        return self("-m", "cli", command, "--stack", "built", "--engine", "embedded")


def test_up_builds_runs_and_finds_nothing_due_until_a_file_changes(project: Project, buildah: Buildah) -> None:
    clone = Clone.of(project)
    preview = clone.gpubench("preview")
    assert "is not built yet" in preview.stdout + preview.stderr
    assert "building localhost/sdxl:dev-" in clone.gpubench("up").stdout
    (greeting,) = clone.folder.glob("results/runs/*/*/greeting")
    assert greeting.read_text() == "hello\n"
    second = clone.gpubench("up").stdout
    assert "Nothing was due" in second
    assert "building" not in second
    (clone.code / "measure.sh").write_text("cp /greeting /results/again\n")
    assert clone.gpubench("image").stdout.splitlines()[-1].startswith("localhost/sdxl@sha256:")
    third = clone.gpubench("up").stdout
    assert "building" not in third, "it was, a moment ago"
    assert len(list(clone.folder.glob("results/runs/*/*/again"))) == 1


def test_a_plain_update_builds_nothing_and_one_that_prepares_a_push_needs_no_image(
    project: Project, buildah: Buildah
) -> None:
    clone = Clone.of(project)
    (clone.code / "measure.sh").write_text("echo nobody has built this\n")
    plain = clone("-c", UPDATE).stdout
    assert "refused: " in plain
    assert "is not built yet" in plain
    assert "`gpubench image`" in plain
    assert "'due': 0" in clone("-c", UPDATE, GPUBENCH_RELEASE="1").stdout
