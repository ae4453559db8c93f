#!/bin/bash
# The shutdown script of a gpubench machine: tells a running boot script of the end, and keeps the network up until it
# has saved what it has (systemd takes the network down only after this script). A preempted machine has 30 s.
set -euo pipefail
state="${GPUBENCH_STATE:-/run/gpubench}"
[[ -r "$state/pid" ]] || exit 0
pid="$(<"$state/pid")"
(set -o noclobber && echo shutdown >"$state/stop") 2>/dev/null || true # who tells of the end first, names its reason
kill -TERM "$pid" 2>/dev/null || exit 0
for ((i = 0; i < 270; i++)); do
  [[ -e "$state/pid" ]] || exit 0 # its last act is to remove this
  kill -0 "$pid" 2>/dev/null || exit 0
  sleep 0.1
done
