#!/usr/bin/env bash
# Slurm TaskProlog (slurm.conf: TaskProlog=/etc/slurm/flyball/task_prolog.sh), run as the user before each task.
# Slurm takes each printed line "export NAME=value" into the task's environment: this puts the probe in front of
# PYTHONPATH, so that every job is watched, whatever starts its ranks.
#
# It exits 0 and prints nothing whatever fails: a job must not fail for being watched. A user who does not want
# it sets FLYBALL_DISABLE=1.
#
#   FLYBALL_PROBE    where prolog.sh put the probe  /opt/flyball/probe
#   FLYBALL_RUNS     the machine's run folder       /var/lib/flyball/runs
set -uo pipefail
trap 'exit 0' EXIT
exec 2>/dev/null

probe=${FLYBALL_PROBE:-/opt/flyball/probe}
runs=${FLYBALL_RUNS:-/var/lib/flyball/runs}
job=${SLURM_JOB_ID:-}
step=${SLURM_STEP_ID:-}

[[ -z ${FLYBALL_DISABLE:-} && $job =~ ^[0-9]+$ && $step =~ ^[0-9]*$ ]] || exit 0
[[ -r $probe/site/sitecustomize.py && -d $probe/probe ]] || exit 0
# The batch script is a step too; Slurm numbers it 2^32 - 5.
[[ $step == 4294967291 || -z $step ]] && step="batch"

# One folder a step and node, the user's own, named alike on all nodes: that is the run's name.
run=slurm-$job-$step
directory=$runs/$run
# The group comes from the run folder's set-group-id bit; a chmod would take that bit away.
umask 0027
[[ -d $directory ]] || mkdir -- "$directory"
[[ -d $directory && -O $directory && ! -L $directory ]] || exit 0
[[ -d $directory/.probe ]] || mkdir -- "$directory/.probe"

# The probe reads the settings beside it; the code itself is not copied for each job.
# Tasks of a step run this at the same time: each writes a file of its own and renames it.
ln -sfn -- "$probe/site" "$directory/.probe/site"
ln -sfn -- "$probe/probe" "$directory/.probe/probe"
quoted=${directory//\\/\\\\}
quoted=${quoted//\"/\\\"}
settings=$directory/.probe/settings.json
printf '{"run": "%s", "purpose": "run", "directory": "%s"}\n' "$run" "$quoted" >"$settings.$$" || exit 0
mv -f -- "$settings.$$" "$settings" || exit 0

# The user's own path stays, without what this file put there for the step around this one.
own=${PYTHONPATH:-}
[[ $own != *$'\n'* ]] || exit 0
kept=
while [[ -n $own ]]; do
    folder=${own%%:*}
    [[ $folder == "$runs"/slurm-*/.probe/site ]] || kept+=:$folder
    [[ $own == *:* ]] || break
    own=${own#*:}
    [[ -n $own ]] || kept+=:
done
printf 'export PYTHONPATH=%s%s\n' "$directory/.probe/site" "$kept"
