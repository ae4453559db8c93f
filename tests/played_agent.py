"""What a machine's agent, or a task's uploader, does to a results store: played, by the names that bucket.py has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import object_store
import results_folder
from benchmark_job.bucket import LOG, part_name


class Agent:
    """The machine's agent: grows a results folder, and creates the objects that bring it home."""

    def __init__(self, folder: Path, url: str, run: str, attempt: str, stamps: Mapping[str, Any]) -> None:
        self.results = results_folder.ResultsFolder(folder, {**stamps, "attempt": attempt})
        self._url, self._where = url, f"runs/{run}/{attempt}"
        self._sent: dict[str, tuple[int, int]] = {}
        self._log = b""
        self._began = datetime.now(UTC)

    def measures(self, number: int) -> None:
        """Measure something, say so, and send what is new."""
        self.results.append({"benchmark": "kernels", "kernel": f"gemm-{number}", "tflops": number})
        self._log += f"measured {number}\n".encode()
        self._send(results_folder.MEASUREMENTS, (self.results.path / results_folder.MEASUREMENTS).read_bytes())
        self._send(LOG, self._log)

    def rewrites(self, old: bytes, new: bytes) -> None:
        """Change what was measured, and send nothing."""
        path = self.results.path / results_folder.MEASUREMENTS
        path.write_bytes(path.read_bytes().replace(old, new))

    def ends(
        self,
        status: results_folder.Status = results_folder.Status.COMPLETE,
        text: str = "",
        failed: results_folder.Cause | None = None,
    ) -> None:
        """Seal, send the rest, and the manifest last."""
        failed = failed or (results_folder.Cause("workload", "exit-code", text, "read the log") if text else None)
        self.results.write_results({"benchmarks": []})
        self.results.seal(
            status, exit_code=1 if failed else 0, started_at=self._began, cause=failed, made_by="wrapper"
        )  # fmt: skip
        for path in sorted(self.results.path.iterdir()):
            if path.name != results_folder.MANIFEST:
                self._send(path.name, path.read_bytes())
        self.create(results_folder.MANIFEST, (self.results.path / results_folder.MANIFEST).read_bytes())

    def _send(self, name: str, data: bytes) -> None:
        number, sent = self._sent.get(name, (0, 0))
        if len(data) > sent:
            self.create(part_name(name, number + 1), data[sent:])
            self._sent[name] = number + 1, len(data)

    def create(self, name: str, data: bytes) -> None:
        """Put an object there that wasn't."""
        system, root = object_store.open_url(self._url)
        object_store.create(system, f"{root}/{self._where}/{name}", data)
