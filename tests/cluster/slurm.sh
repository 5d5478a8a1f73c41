#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: slurm.sh install | start FOLDER | stop FOLDER
#
# It needs Debian or Ubuntu and root, no systemd and no cgroups. Configuration, state, logs and the key of
# munge stand in FOLDER; nothing in /etc is changed, and the daemons listen on 127.0.0.1 only. After start,
# FOLDER/slurm.conf is what SLURM_CONF must name.
set -euo pipefail

die() { echo "error: $1" >&2; exit 2; }

as_root() { [ "$(id -u)" = 0 ] || die "needs root, to install Slurm and to run its daemons"; }

install() {
    local name missing=
    as_root
    for name in slurmctld slurmd munged; do command -v $name >/dev/null || missing="$missing $name"; done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || die "${missing# }: not found here, and no apt-get to install it with"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
}

configure() { # ports of this Slurm's own, so that another on the machine is left alone
    cat >"$folder/slurm.conf" <<END
ClusterName=mergan-test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$1
SlurmdPort=$2
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# high takes the cores of low, whose jobs go back into the queue, but only those that do not end by themselves
# within the grace time
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
InactiveLimit=0
ReturnToService=2
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1000 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=5 MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=2 MaxTime=INFINITE State=UP PreemptMode=OFF
END
}

start() {
    as_root
    mkdir -p "$folder/state" "$folder/spool"
    chmod 711 "$folder"
    (umask 077; head -c 1024 /dev/urandom >"$folder/munge.key")
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
    configure $((20000 + RANDOM % 5000 * 2)) $((30000 + RANDOM % 1000))
    export SLURM_CONF=$folder/slurm.conf
    slurmctld
    slurmd
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --partition=low --format=%t 2>/dev/null)" = idle ] && return
        sleep 0.5
    done
    grep -h error "$folder"/*.log >&2 || true
    die "the node is not ready after 30 s"
}

stop() { # the jobs first, because slurmd does not end before they do; then each daemon by the id that it has written
    export SLURM_CONF=$folder/slurm.conf
    local name pid queue
    for _ in $(seq 60); do
        queue=$(squeue --noheader --format=%i 2>/dev/null) || break
        [ -n "$queue" ] || break
        scancel --quiet $queue 2>/dev/null || true
        sleep 0.5
    done
    for name in slurmd slurmctld munged; do
        pid=$(cat "$folder/$name.pid" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 50); do [ -e "$folder/$name.pid" ] || break; sleep 0.2; done
        [ ! -e "$folder/$name.pid" ] || kill -KILL "$pid" 2>/dev/null || true
    done
}

case "${1:-} $#" in
    "install 1") install ;;
    "start 2" | "stop 2") folder=$(realpath -m "$2"); "$1" ;;
    *) die "usage: slurm.sh install | start FOLDER | stop FOLDER" ;;
esac
