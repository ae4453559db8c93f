#!/bin/bash
# The user data of a gpubench machine on ECS: what cloud-init runs at its first boot, before ECS's agent begins.
#
# It arms the machine's end, lets the agent join the attempt's cluster, and sees to it that a machine which is taken
# away (spot capacity, the group's end, its own) first lets the uploader bring home what was measured.
# components/ecs/cluster.py fills in the two values in capitals.
set -Eeuo pipefail

readonly root="${GPUBENCH_ROOT:-}" # tests have another one
readonly cluster='@CLUSTER@' max_seconds='@MAX_SECONDS@'

say() { printf 'gpubench: %s\n' "$*"; }

# A machine that can't join has no use; its group says that it is gone, and nobody waits for it.
trap 'say "user data ended at line $LINENO: the machine powers off"; systemctl poweroff || shutdown -h now' ERR

# --- the end, armed before anything else: the last resort, as the group's own schedule and the run's end come first ---

systemd-run --unit=gpubench-end --on-active="${max_seconds}s" systemctl poweroff \
  || shutdown -h "+$(((max_seconds + 59) / 60))"
say "the machine powers off in ${max_seconds} s at the latest"

# --- what ECS's agent reads when it begins ----------------------------------------------------------------------------
# https://github.com/aws/amazon-ecs-agent#environment-variables

mkdir -p "$root/etc/ecs"
cat >>"$root/etc/ecs/ecs.config" <<END
ECS_CLUSTER=$cluster
ECS_ENABLE_GPU_SUPPORT=true
ECS_AWSVPC_BLOCK_IMDS=true
ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
ECS_IMAGE_PULL_BEHAVIOR=once
ECS_IMAGE_PULL_INACTIVITY_TIMEOUT=15m
ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT=true
ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=10m
END
# once: images are named by digest, and the next run's is here already; a pull that fails says why.
# 15m: a layer of many GB is unpacked without a word for longer than the agent's one minute.
# UPFRONT: the benchmark waits for the uploader to be ready; its image need not.

# --- a machine that is taken away -------------------------------------------------------------------------------------
# ECS marks a spot machine as draining two minutes before its end, and stops tasks of services by that, but not ours:
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-instance-draining.html

mkdir -p "$root/usr/local/sbin" "$root/etc/systemd/system"
cat >"$root/usr/local/sbin/gpubench-stop-tasks" <<'END'
#!/bin/bash
# Asks the containers of ECS's tasks to end: the benchmark has the 10 s of the results contract, and the uploader, which
# hears of it at the same time, what it takes to upload the rest.
set -uo pipefail
stop() { # SECONDS NAME
  mapfile -t ids < <(docker ps --quiet --filter "label=com.amazonaws.ecs.container-name=$2")
  ((${#ids[@]} == 0)) || docker stop -t "$1" "${ids[@]}"
}
stop 10 benchmark &
stop 100 uploader &
wait
END
cat >"$root/usr/local/sbin/gpubench-notice" <<'END'
#!/bin/bash
# Waits for the notice that EC2 gives a spot machine two minutes before it takes it back; on demand there never is one.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
set -uo pipefail
readonly metadata="${GPUBENCH_METADATA:-http://169.254.169.254}/latest" pause_s="${GPUBENCH_PAUSE_S:-5}"
token=''
while true; do
  [[ -n "$token" ]] || token="$(curl -fsS --noproxy '*' --max-time 5 -X PUT \
    -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' "$metadata/api/token")" || token=''
  code="$(curl -sS --noproxy '*' --max-time 5 -o /dev/null -w '%{http_code}' \
    -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/spot/instance-action")" || code=000
  case "$code" in
    200) break ;;
    401) token='' ;; # it has expired
    *) ;;
  esac
  sleep "$pause_s"
done
echo 'gpubench: phase interrupted: this spot machine is taken back'
systemctl stop gpubench-tasks.service
END
chmod 755 "$root/usr/local/sbin/gpubench-stop-tasks" "$root/usr/local/sbin/gpubench-notice"

# What begins after docker and the agent ends before them: the uploader has its role's credentials by the agent.
cat >"$root/etc/systemd/system/gpubench-tasks.service" <<'END'
[Unit]
Description=gpubench: lets tasks end in time
After=docker.service ecs.service network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/usr/local/sbin/gpubench-stop-tasks
TimeoutStopSec=115
END
cat >"$root/etc/systemd/system/gpubench-notice.service" <<'END'
[Unit]
Description=gpubench: waits for a spot machine's notice
After=network-online.target
[Service]
ExecStart=/usr/local/sbin/gpubench-notice
Restart=on-failure
END
systemctl daemon-reload
# The agent begins when this script has ended: waiting for what comes after it would be for ever.
systemctl start --no-block gpubench-tasks.service gpubench-notice.service
say "the agent joins the cluster $cluster"
