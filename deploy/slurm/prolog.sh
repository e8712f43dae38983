#!/usr/bin/env bash
# Slurm Prolog (slurm.conf: Prolog=/etc/slurm/flyball/prolog.sh), run as root once a node and job: sees to it that
# the probe lies on the node's own disk, of the flyball that is installed there.
#
# It exits 0 whatever fails: a prolog that fails drains the node. What went wrong is in syslog under "flyball".
#
#   FLYBALL_COMMAND  flyball's command              /opt/flyball/bin/flyball
#   FLYBALL_PROBE    where the probe goes           /opt/flyball/probe
#   FLYBALL_RUNS     the machine's run folder       /var/lib/flyball/runs
set -uo pipefail
trap 'exit 0' EXIT

command=${FLYBALL_COMMAND:-/opt/flyball/bin/flyball}
probe=${FLYBALL_PROBE:-/opt/flyball/probe}
runs=${FLYBALL_RUNS:-/var/lib/flyball/runs}

complain() {
    logger -t flyball -- "prolog of job ${SLURM_JOB_ID:-?}: $1" 2>/dev/null
}

# Written after the probe: a copy that was cut short has none, and an upgraded flyball is newer than it.
stamp=$probe/.installed
if [[ -e $stamp && ! $command -nt $stamp ]]; then
    exit 0
fi
if said=$(umask 0022 && timeout 30 "$command" probe install "$probe" --run-dir "$runs/node" 2>&1 >/dev/null); then
    touch -- "$stamp" || complain "cannot write $stamp"
else
    complain "the probe was not installed in $probe; the job runs unwatched: ${said:-no message}"
fi
