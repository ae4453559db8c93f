"""A stand-in for the workload: quick, and told by `control.json` what to do.

Lifecycle tests put it in the workload's place.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from results_folder import Cause, ResultsFolder, Status, utc_text

parser = argparse.ArgumentParser()
parser.add_argument("--results", type=Path)
results_path = parser.parse_known_args()[0].results
control_file = Path("control.json")
control = json.loads(control_file.read_text()) if control_file.exists() else {}
stamps = json.loads(os.environ["GPUBENCH_STAMPS"])
started = __import__("datetime").datetime.now(__import__("datetime").UTC)
folder = ResultsFolder(results_path, stamps)
with Path("executions.log").open("a") as log:
    log.write(f"{stamps['run']} {stamps['attempt']} {os.getpid()}\n")


def seal(status: Status, code: int, cause: Cause | None) -> None:
    folder.seal(status, exit_code=code, started_at=started, cause=cause, made_by="workload")
    sys.exit(code)


def stopped(number: int, _frame: object) -> None:
    seal(Status.INTERRUPTED, 143, Cause("interrupted", "signal", "SIGTERM", "run it again"))


signal.signal(signal.SIGTERM, stopped)
print("environment:", {name: os.environ[name] for name in control.get("print_env", [])})
total = int(control.get("steps", 2))
for step in range(total):
    folder.progress(f"step {step}", step, total, remaining_s=0.1)
    folder.append({"benchmark": "standin", "step": step, "value": 1.5, "at": utc_text()})
    time.sleep(float(control.get("seconds", 0.05)) / total)
if control.get("fail"):
    told = " ".join(["the stand-in was told to fail", *(os.environ[name] for name in control.get("print_env", []))])
    seal(Status.FAILED, 10, Cause("workload", "out-of-memory", told, "take a smaller batch"))
seal(Status.COMPLETE, 0, None)
