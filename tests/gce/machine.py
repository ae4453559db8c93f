"""A machine for the boot script: its real bash and Python, with small programs in place of docker, driver and the rest.

What the boot script runs is what instance metadata delivers. `docker run` starts the test's own script as container.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import results_folder
from benchmark_job.bucket import LOG
from components.gce.metadata import MachineOrder, instance_metadata
from tests.gce.fake_google import BUCKET, INSTANCE, PREFIX, FakeGoogle

ATTEMPT = "20261121t101530z-ab12"
RUNS = ("3f9c2a71b0d4-1", "3f9c2a71b0d4-2")
IMAGE = "us-central1-docker.pkg.dev/team-bench/bench/resnet@sha256:" + "ab" * 32
MEASURE = 'printf \'{"benchmark":"disk","mb_per_s":%s}\\n\' 512 >> "$RESULTS/measurements.jsonl"\n'
UNTIL_TOLD = "trap 'exit 143' TERM\n" + MEASURE + "echo measured\nwhile :; do sleep 0.02; done\n"

_LOGGED = '#!/bin/bash\nprintf "%q " "${0##*/}" "$@" >>"$FAKES/calls"; echo >>"$FAKES/calls"\n'
_DOCKER = r"""
case "$1" in
  login) cat >"$FAKES/login" ;;
  pull)
    n=$(($(cat "$FAKES/pulls" 2>/dev/null || echo 0) + 1)); echo "$n" >"$FAKES/pulls"
    for why in "$FAKES/pull-$n" "$FAKES/pull-fails"; do [[ ! -e "$why" ]] || { cat "$why" >&2; exit 1; }; done
    while [[ -e "$FAKES/pull-hangs" ]]; do sleep 0.02; done ;;
  run)
    shift
    while (($#)); do
      case "$1" in
        --name) name="$2"; shift 2 ;;
        --env) [[ "$2" != *=* ]] || export "$2"; shift 2 ;;
        --volume)
          [[ "$2" != *:/results ]] || export RESULTS="${2%:/results}"
          [[ "$2" != *:/code:ro ]] || export CODE="${2%:/code:ro}"
          shift 2 ;;
        --gpus | --label | --pull | --log-driver | --stop-timeout | --shm-size) shift 2 ;;
        *) break ;;
      esac
    done
    [[ ! -e "$FAKES/run-fails" ]] || { cat "$FAKES/run-fails" >&2; exit 125; }
    (echo "$BASHPID" >"$FAKES/$name.pid"; exec bash "$FAKES/container" "${@:2}") &
    trap '' TERM
    wait $!; rc=$?
    exit $rc ;;
  stop) # --time SECONDS NAME
    # timeout(1) passes a signal on to its child, and then to their group: as late as can be.
    [[ ! -e "$FAKES/told-twice" ]] || { read -ra stat <"/proc/$PPID/stat"; kill -TERM -- "-${stat[4]}"; }
    pid="$(cat "$FAKES/$4.pid")"; kill -TERM "$pid"
    for ((i = 0; i < $3 * 50; i++)); do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.02; done
    kill -KILL "$pid" ;;
  kill) kill -KILL "$(cat "$FAKES/$2.pid")" ;;
  inspect) cat "$FAKES/oom" 2>/dev/null || echo false ;;
esac
"""
_NVIDIA_SMI = """
[[ ! -e "$FAKES/no-driver" ]] || { cat "$FAKES/no-driver"; exit 9; }
[[ "$1" != --query-gpu=* ]] || echo "NVIDIA L4, 580.95.05, 23034"
"""


@dataclass
class Machine:
    """One machine and its boot."""

    home: Path
    google: FakeGoogle
    gpu: bool = True
    container: str = MEASURE
    order: dict[str, object] = field(default_factory=dict)
    console: str = ""

    def __post_init__(self) -> None:
        self.fakes, self.units = self.home / "fakes", self.home / "units"
        self.fakes.mkdir()
        programs = {"docker": _DOCKER, "nvidia-smi": _NVIDIA_SMI, "iptables": "", "shutdown": "", "systemctl": ""}
        for name, text in programs.items():
            self.program(name, text)
        self.env = {
            "PATH": f"{self.fakes}:/usr/bin:/bin",
            "FAKES": str(self.fakes),
            "GPUBENCH_STATE": str(self.home / "state"),
            "GPUBENCH_DATA": str(self.home / "data"),
            "GPUBENCH_UNITS": str(self.units),
            "GPUBENCH_PAUSE_MS": "40",
            "GPUBENCH_METADATA_S": "1",
            "GPUBENCH_DRIVER_S": "1",
            "GPUBENCH_DOCKER_S": "1",
            "GPUBENCH_GRANT_S": "1",
            **dict.fromkeys(
                ("GPUBENCH_METADATA", "GPUBENCH_COMPUTE", "GPUBENCH_STORAGE", "GPUBENCH_SECRETS"), self.google.url
            ),
        }

    def program(self, name: str, text: str) -> None:
        path = self.fakes / name
        path.write_text(_LOGGED + text)
        path.chmod(0o755)

    def start(self) -> None:
        (self.fakes / "container").write_text(self.container)
        known: dict[str, object] = {
            "image": IMAGE,
            "runs": {RUNS[0]: {"run": RUNS[0], "stack": "dev"}},
            "attempt": ATTEMPT,
            "stack": "dev",
            "results": f"gs://{BUCKET}/{PREFIX}",
            "timeout_s": 60.0,
            "gpu": self.gpu,
            "upload_s": 0.1,
        }
        self.google.attributes.update(instance_metadata(MachineOrder(**{**known, **self.order})))  # type: ignore[arg-type]
        self.script = self.home / "startup-script"
        self.script.write_text(self.google.attributes["startup-script"])
        with (self.home / "console").open("ab") as console:
            self.process = subprocess.Popen(
                ["bash", str(self.script)],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, seconds: float = 25.0) -> None:
        """Until the boot script has ended; what it left behind is ended, too, and would be a fault."""
        try:
            self.process.wait(seconds)
        finally:
            self.console = (self.home / "console").read_text()
            deadline = time.monotonic() + 3
            while self.processes() and time.monotonic() < deadline:
                time.sleep(0.02)
            left = self.processes()
            self.cut_power()
        assert not left, f"still there: {left}"

    def boot(self) -> None:
        self.start()
        self.wait()

    def shut_down(self) -> None:
        """What systemd does first when the machine is told to end: it runs the shutdown script."""
        script = self.home / "shutdown-script"
        script.write_text(self.google.attributes["shutdown-script"])
        subprocess.run(["bash", str(script)], env=self.env, check=True, timeout=30)

    @property
    def calls(self) -> list[str]:
        """The commands given to the programs, one a line."""
        path = self.fakes / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def called(self, beginning: str) -> list[str]:
        return [call for call in self.calls if call.startswith(beginning)]

    @property
    def markers(self) -> list[str]:
        return [line for line in self.console.splitlines() if line.startswith("gpubench: ")]

    @property
    def phases(self) -> list[str]:
        return [line.removeprefix("gpubench: phase ") for line in self.markers if line.startswith("gpubench: phase ")]

    def home_again(self, run: str = RUNS[0]) -> Path:
        """An attempt's folder as it comes home; its log beside it. Sealed, it has to fit its manifest."""
        folder = self.home / "fetched" / run / ATTEMPT
        for name, data in self.google.files(run, ATTEMPT).items():
            path = folder.with_suffix(".log") if name == LOG else folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if (folder / results_folder.MANIFEST).exists():
            assert results_folder.verify(folder) == []
        return folder

    def ended_itself(self) -> bool:
        """Whether it asked for its own deletion, once, and for nothing else."""
        return len(self.google.deletions) == 1 and not self.called("shutdown")

    def processes(self) -> dict[int, str]:
        """What runs on this machine: all that has its environment."""
        mark, found = f"FAKES={self.fakes}\0".encode(), {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (path / "environ").read_bytes() and int(path.name) != os.getpid():
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def cut_power(self) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


__all__ = ["ATTEMPT", "IMAGE", "INSTANCE", "MEASURE", "RUNS", "UNTIL_TOLD", "Machine"]
