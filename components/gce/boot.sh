#!/bin/bash
# The startup script of a gpubench machine on Compute Engine; docs/gce-machine.md tells the whole.
#
# It carries out all due runs, one after the other, and ends the machine, whatever happens. All that it needs to know
# is in the instance's metadata. What is fiddly is agent.py's; the order of things, and the end, are here.
set -Eeuo pipefail
trap '' PIPE # whoever reads our output may be gone first, at a shutdown: no reason to die before the results are saved

readonly metadata="${GPUBENCH_METADATA:-http://metadata.google.internal}/computeMetadata/v1"
readonly compute="${GPUBENCH_COMPUTE:-https://compute.googleapis.com}/compute/v1"
readonly state="${GPUBENCH_STATE:-/run/gpubench}"    # in memory: tokens, attributes
readonly data="${GPUBENCH_DATA:-/var/lib/gpubench}"  # on disk: results, logs, code
readonly pause_ms="${GPUBENCH_PAUSE_MS:-5000}"       # the first pause between two tries
readonly metadata_s="${GPUBENCH_METADATA_S:-300}"    # how long the metadata server may be silent at boot
readonly driver_s="${GPUBENCH_DRIVER_S:-600}"        # the image installs its driver at the first boot, in minutes
readonly docker_s="${GPUBENCH_DOCKER_S:-120}"
readonly units="${GPUBENCH_UNITS:-/run/systemd/system}"
# A grant of the same update takes 2 minutes as a rule until it holds, and may take 7 or more:
# https://cloud.google.com/iam/docs/access-change-propagation
readonly grant_s="${GPUBENCH_GRANT_S:-300}"
export GPUBENCH_STATE="$state" GPUBENCH_DATA="$data" GPUBENCH_GRANT_S="$grant_s" HOME="${HOME:-/root}"
export DOCKER_CONFIG="$state/docker" GIT_TERMINAL_PROMPT=0 DEBIAN_FRONTEND=noninteractive

readonly again_mend="run \`gpubench up\` again"
name='' zone='' project='' token='' broke=''
child='' watcher='' stopping=0 failed=0 armed=0

say() { printf 'gpubench: %s\n' "$*" || true; }

pause() { # FACTOR: the pause between two tries, so many times
  sleep "$(pause_s "$1")"
}

pause_s() { # FACTOR: that in seconds
  local ms=$((pause_ms * $1))
  printf '%d.%03d' $((ms / 1000)) $((ms % 1000))
}

# --- the end, armed before anything else ------------------------------------------------------------------------------

finish() {
  local rc=$?
  trap - EXIT ERR
  trap '' TERM INT HUP
  set +e
  if ((rc != 0 && !failed && !stopping)); then
    failure unknown boot-script 'report this text' <<<"boot.sh ended with ${rc} at line $broke"
  fi
  say 'phase end'
  if [[ -n "$watcher" ]]; then kill "$watcher" 2>/dev/null; fi
  delete_self || {
    say 'the machine shuts down instead; the cloud deletes it when its time is over'
    shutdown -h now
  }
  rm -rf -- "${state:?}"
  exit 0
}

# Asks the cloud to delete this instance. The same request id makes a repeated request the same request.
delete_self() {
  [[ -n "$name" && -n "$zone" && -n "$project" ]] || return 1
  local url="$compute/projects/$project/zones/$zone/instances/$name" id code factor
  id="$(cat /proc/sys/kernel/random/uuid)" || return 1
  for factor in 1 2 4 8 16; do
    fetch_token || true # the one from before may still do
    code="$(curl -sS --noproxy '*' --max-time 30 -o "$state/deleted" -w '%{http_code}' -X DELETE -H @- \
      "$url?requestId=$id" <<<"Authorization: Bearer $token" 2>>"$state/curl")" || code=000
    case "$code" in
      2??) return 0 ;;
      400 | 403 | 404)
        say "the cloud refuses to delete this machine (HTTP $code):"
        cat "$state/deleted" || true
        return 1
        ;;
      *) pause "$factor" ;;
    esac
  done
  say "the cloud could not be asked to delete this machine (HTTP $code)"
  return 1
}

on_signal() {
  stopping=1
  if [[ -n "$child" ]]; then kill -TERM "$child" 2>/dev/null || true; fi
}

# Runs a program so that a signal to this script reaches it at once; alone, bash would wait for its end first.
attend() {
  local rc=0
  ((!stopping)) || return 143
  "$@" &
  child=$!
  ((!stopping)) || kill -TERM "$child" 2>/dev/null || true # told since we looked, and before the child had a number
  wait "$child" || rc=$?
  while ((stopping)) && kill -0 "$child" 2>/dev/null; do # a signal to us ends the wait, and not its child
    wait "$child" || true
  done
  if ((stopping)); then
    rc=0
    wait "$child" || rc=$? # bash remembers how it ended
  fi
  child=''
  return "$rc"
}

# --- metadata ---------------------------------------------------------------------------------------------------------

# PATH: what the metadata server says of it; 4 where there is no such thing. At boot it may not answer yet.
fetch() {
  local code deadline=$((SECONDS + metadata_s)) factor=1
  while ((!stopping)); do
    code="$(curl -sS --noproxy '*' --max-time 10 -o "$state/answer" -w '%{http_code}' -H 'Metadata-Flavor: Google' \
      "$metadata/$1" 2>>"$state/curl")" || code=000
    case "$code" in
      200)
        cat "$state/answer"
        return 0
        ;;
      404) return 4 ;;
      *) ;;
    esac
    ((SECONDS < deadline)) || return 1
    pause "$factor"
    factor=$((factor < 4 ? factor * 2 : 4))
  done
  return 1
}

# KEY FILE: an attribute of this instance into a file; none where there is no such attribute.
attribute() {
  local rc=0
  fetch "instance/attributes/$1" >"$2" || rc=$?
  ((rc != 4)) || rm -f -- "$2"
  ((rc == 0 || rc == 4)) || no_metadata
}

no_metadata() {
  # Nothing can be uploaded without a token either: the serial console is all there is.
  failed=1
  say "failed transient (metadata): the metadata server has not answered for $metadata_s s"
  exit 1
}

fetch_token() {
  local answer
  answer="$(curl -sS --noproxy '*' --max-time 10 --fail -H 'Metadata-Flavor: Google' \
    "$metadata/instance/service-accounts/default/token" 2>>"$state/curl")" || return 1
  [[ "$answer" =~ \"access_token\"[[:space:]]*:[[:space:]]*\"([^\"]+)\" ]] || return 1
  token="${BASH_REMATCH[1]}"
}

# --- failing ----------------------------------------------------------------------------------------------------------

# CAUSE CODE MEND < TEXT: says what went wrong, and seals every run that is not sealed yet with it.
failure() {
  local rc=1
  failed=1
  cat >"$state/why"
  if ((armed)); then
    rc=0
    timeout 900 python3 "$state/lib/agent.py" fail "$@" <"$state/why" || rc=$?
  fi
  if ((rc != 0 && rc != 4)); then # there is no agent, or not one that works: 4 is its own word
    say "failed $1 ($2): $(head -n 1 "$state/why")"
    sed '1d; s/^/  /' "$state/why" || true
  fi
}

stop_here() { # CAUSE CODE MEND < TEXT
  failure "$@"
  exit 1
}

interrupted() {
  # A pull's or a driver's wait was cut off; a run's agent has already told its own end.
  failure interrupted signal "$again_mend" <<<"$(agent_reason)"
  exit 1
}

agent_reason() { python3 "$state/lib/agent.py" reason || echo 'the machine was told to stop'; }

# --- what a run needs -------------------------------------------------------------------------------------------------

wait_for_driver() {
  local said='nvidia-smi: not installed' deadline=$((SECONDS + driver_s))
  while ((!stopping)); do
    if said="$(timeout 60 nvidia-smi 2>&1)"; then return 0; fi
    ((SECONDS < deadline)) || break
    pause 1
  done
  ((!stopping)) || interrupted
  stop_here bad-request no-driver 'take a boot image with a driver for this GPU' <<<"${said:-nvidia-smi says nothing}
The NVIDIA driver was not ready after $driver_s s."
}

wait_for_docker() {
  local said='' deadline=$((SECONDS + docker_s))
  if ! command -v docker >/dev/null; then
    # Some Deep Learning VM images come without it. The archive is outside Google's private access: it needs a NAT.
    if ! attend timeout 300 apt-get install -qq --yes docker.io >"$state/apt" 2>&1 &&
      ! attend timeout 400 sh -c 'apt-get update -qq && apt-get install -qq --yes docker.io' >"$state/apt" 2>&1; then
      ((!stopping)) || interrupted
      stop_here bad-request no-docker 'take a boot image with docker, or give the subnet a NAT' <"$state/apt"
    fi
    if ((gpu)) && command -v nvidia-ctk >/dev/null; then
      { nvidia-ctk runtime configure --runtime=docker && systemctl restart docker; } >"$state/apt" 2>&1 ||
        stop_here bad-request no-docker 'take a boot image with docker and its NVIDIA runtime' <"$state/apt"
    fi
  fi
  while ((!stopping)); do
    if said="$(timeout 60 docker version 2>&1)"; then return 0; fi
    ((SECONDS < deadline)) || break
    pause 1
  done
  ((!stopping)) || interrupted
  stop_here bad-request no-docker 'take a boot image whose docker starts' <<<"$said"
}

# systemd ends units in the reverse order of their start, and docker's beside Google's, which runs the shutdown script:
# a container would be ended before anybody here knew why, and docker couldn't be asked any more
# (google-shutdown-scripts.service of https://github.com/GoogleCloudPlatform/guest-agent names network and log only).
end_before_docker() {
  local folder="$units/google-shutdown-scripts.service.d"
  mkdir -p -- "$folder" && printf '[Unit]\nAfter=docker.service\n' >"$folder/gpubench.conf" && systemctl daemon-reload
}

# A container must not get this machine's token: of the metadata server it may use nothing but its name service (the
# same address is the machine's resolver). Where the rule can't be made, nothing is run.
guard_metadata() {
  local rule
  for rule in '-j REJECT' '-p tcp --dport 53 -j RETURN' '-p udp --dport 53 -j RETURN'; do # each goes before the last
    # shellcheck disable=SC2086 # a rule is several words
    iptables -w 30 -I DOCKER-USER -d 169.254.169.254/32 $rule 2>"$state/iptables" ||
      stop_here unknown container-guard 'report this text' <"$state/iptables"
  done
}

is_googles() { # whether the image is in a registry of Google's
  case "${image%%/*}" in
    *.pkg.dev | gcr.io | *.gcr.io) return 0 ;;
    *) return 1 ;;
  esac
}

# Only Google's own registries are given the token.
log_in() {
  is_googles || return 0
  fetch_token || {
    echo 'the metadata server gives no token' >&2
    return 1
  }
  timeout 120 docker login -u oauth2accesstoken --password-stdin "https://${image%%/*}" <<<"$token" >/dev/null
}

pull() {
  local cause='' words='' breaks=0 factor=1 grant_by=''
  while :; do
    if log_in 2>"$state/pull" && attend timeout 3600 docker pull --quiet "$image" >/dev/null 2>"$state/pull"; then
      rm -rf -- "$DOCKER_CONFIG"
      return 0
    fi
    ((!stopping)) || interrupted
    words="$(tr '[:upper:]' '[:lower:]' <"$state/pull")"
    case "$words" in
      *'no space left'*) cause=bad-request ;;
      *denied* | *unauthorized* | *forbidden*) cause=permission ;;
      *'manifest unknown'* | *'not found'* | *'no matching manifest'* | *'invalid reference'* | \
        *'unsupported media type'*) cause=image ;;
      *) cause=transient ;;
    esac
    if [[ "$cause" == transient ]] && ((breaks < 4)); then
      say "the pull failed and is tried again: $(head -n 1 "$state/pull")"
      attend sleep "$(pause_s $((1 << breaks)))" || true
      breaks=$((breaks + 1))
    elif [[ "$cause" == permission ]] && is_googles && ((SECONDS < ${grant_by:-SECONDS + 1})); then
      if [[ -z "$grant_by" ]]; then
        grant_by=$((SECONDS + grant_s))
        say "the pull is refused; a new grant may not hold yet, so it is tried for $grant_s s: $(head -n 1 "$state/pull")"
      fi
      attend sleep "$(pause_s "$factor")" || true
      factor=$((factor < 4 ? factor * 2 : 4))
    else
      break
    fi
    ((!stopping)) || interrupted
  done
  [[ -s "$state/pull" ]] || echo 'docker pull failed and said nothing' >"$state/pull"
  local mend='push the image, or correct benchmark.image'
  case "$cause" in
    permission)
      mend='let the service account of the machine read the repository: roles/artifactregistry.reader'
      is_googles || mend='make the image public, or copy it to a registry of this project'
      ;;
    bad-request) mend='the boot disk is too small for the image: take a larger one, gpubench:google: {boot_disk_gb: N}' ;;
    transient) mend="$again_mend" ;;
    *) ;;
  esac
  stop_here "$cause" image-pull "$mend" <"$state/pull"
}

check_out() { # URL COMMIT: the code at that commit, to be mounted at /code
  local factor
  [[ "$2" =~ ^[0-9a-f]{40}$ ]] || stop_here bad-request code 'name a full commit' <<<"benchmark.code: $2 is no commit"
  for factor in 1 2 0; do
    rm -rf -- "$data/code"
    if attend timeout 900 git clone --quiet --no-checkout -- "$1" "$data/code" 2>"$state/git"; then
      attend git -C "$data/code" checkout --quiet --detach "$2" 2>"$state/git" && return 0
      break # it is reachable, and has no such commit
    fi
    ((!stopping)) || interrupted
    ((factor == 0)) || pause "$factor"
  done
  ((!stopping)) || interrupted
  stop_here bad-request code 'check benchmark.code; a source outside Google needs a NAT' <"$state/git"
}

# --- the whole --------------------------------------------------------------------------------------------------------

trap finish EXIT
trap 'broke="${broke:-$LINENO}"' ERR
trap on_signal TERM INT HUP
mkdir -p -- "$state/lib/components" "$data"
chmod 700 "$state" "$data" # this is what keeps the tokens; what is inside may be read by any user of a container
echo $$ >"$state/pid"
say 'phase boot'

name="$(fetch instance/name)" || no_metadata
zone="$(fetch instance/zone)" || no_metadata
zone="${zone##*/}"
project="$(fetch project/project-id)" || no_metadata
fetch_token || true

attribute gpubench-agent "$state/lib/agent.py"
attribute gpubench-results-folder "$state/lib/results_folder.py"
attribute gpubench-redaction "$state/lib/components/redaction.py"
attribute gpubench-run-log "$state/lib/components/run_log.py"
attribute gpubench-uploads "$state/lib/components/uploads.py"
for key in image argv env secrets runs attempt stack results timeout-s gpu code upload-s; do
  attribute "gpubench-$key" "$state/$key"
done
armed=1
image="$(<"$state/image")"
gpu="$(<"$state/gpu")"

if [[ -e "$data/begun" ]]; then
  # A startup script runs at every boot. What a run measured before is sealed as it is.
  stop_here interrupted reboot "$again_mend" <<<'the machine has restarted in the middle of its work'
fi
: >"$data/begun"
python3 "$state/lib/agent.py" watch &
watcher=$!
# Whether the results can be uploaded at all is known before anything is waited for. The agent tells what is wrong.
rc=0
attend timeout $((grant_s + 300)) python3 "$state/lib/agent.py" begin 2>"$state/begin" || rc=$?
if ((rc != 0)); then
  ((!stopping)) || interrupted
  ((rc == 4)) || stop_here unknown agent 'report this text' <"$state/begin"
  failed=1
  exit 1
fi

if ((gpu)); then
  say 'phase driver'
  wait_for_driver
fi
say 'phase pull'
wait_for_docker
end_before_docker 2>"$state/units" || say "docker may end before the shutdown script: $(head -n 1 "$state/units")"
guard_metadata
pull
if [[ -s "$state/code" ]]; then
  read -r code_url code_commit <"$state/code" || true # its last line may have no end
  check_out "$code_url" "$code_commit"
fi

timeout_s="$(<"$state/timeout-s")"
while read -r run _ || [[ -n "$run" ]]; do
  [[ -n "$run" ]] || continue
  ((!stopping)) || interrupted
  say "phase run $run"
  rc=0
  attend timeout --kill-after=900 $((${timeout_s%.*} + 1800)) python3 "$state/lib/agent.py" run "$run" || rc=$?
  case "$rc" in
    0) ;; # sealed and uploaded, however it went: the next run may do better
    3 | 4) # interrupted, or nothing can be uploaded: the agent has said it
      failed=1
      exit 1
      ;;
    *)
      ((!stopping)) || interrupted
      timeout 60 docker kill "gpubench-$run" >/dev/null 2>&1 || true
      stop_here unknown agent 'report this text' <<<"the agent ended with $rc in run $run"
      ;;
  esac
done <"$state/runs"
