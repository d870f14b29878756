#!/usr/bin/env bash
# Trains on several nodes under SLURM, one process for each GPU; written for a cluster, not run on
# one. A job that is preempted or reaches its time limit saves, and is queued again.
#
#   sbatch --nodes 4 --gpus-per-node 8 --ntasks-per-node 8 launch/slurm.sh configs/librilight_paper/coarse.py --directory /shared/runs/coarse
#
# The config's mesh must not be `none`. Run directory, tokens and this repository with its .venv lie
# on a file system that all nodes share (docs/guide/multihost.md). Without GPUs: --ntasks-per-node 1.
#SBATCH --job-name audiolm
#SBATCH --requeue
#SBATCH --open-mode append
#SBATCH --signal TERM@300
#SBATCH --output audiolm-%j.log
set -euo pipefail

[ $# -ge 1 ] || { echo "error: expected a config file; see the head of $0" >&2 && exit 2; }
cd "${SLURM_SUBMIT_DIR:?run this with sbatch}"

# SLURM sends SIGTERM to the processes 300 s before the limit, and when it preempts the job; they
# agree on a step, save there and end with 75. This script must live on to queue the job again.
trap ':' TERM
status=0
srun --kill-on-bad-exit=0 .venv/bin/audiolm train "$@" --distributed auto || status=$?
if [ "$status" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
