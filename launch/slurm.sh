#!/usr/bin/env bash
# Runs `audiolm train`, or another verb, on several nodes under SLURM, one process for each GPU; written for a
# cluster, not run on one, tested against stand-ins for srun and scontrol. A job that is preempted or reaches its
# time limit saves, ends with 75, and is queued again; one that fails is not.
#
#   sbatch --nodes 2 --gpus-per-node 8 --ntasks-per-node 8 --cpus-per-task 12 --time 24:00:00 launch/slurm.sh \
#     train configs/stories_medium/coarse_lm.py --mesh.preset fsdp --directory /shared/runs/coarse
#   sbatch --gpus-per-node 1 launch/slurm.sh evaluate configs/stories_medium/evaluate.py
#
# The first word is a verb of audiolm. train and tokenize run as one on all tasks, and the config's mesh must not
# be `none` then; other verbs know one process and run as one task. Run directory, tokens and this repository
# with its .venv lie on a file system that all nodes share (docs/guide/multihost.md). The configs of
# librilight_paper ask for a kernel of TPUs: on GPUs add --model.decoder.attention blocks.
#SBATCH --job-name audiolm
#SBATCH --requeue
#SBATCH --open-mode append
#SBATCH --signal TERM@300
#SBATCH --output audiolm-%j.log
#SBATCH --cpus-per-task 4
set -euo pipefail

die() {
  echo "error: $*" >&2
  exit 2
}

case "${1:-}" in
  "" | -*) die "expected a verb of audiolm and what belongs to it, such as train CONFIG.py; see the head of launch/slurm.sh" ;;
  *[!a-z]*) die "$1: expected a verb of audiolm first, such as: train $1" ;;
esac
cd "${SLURM_SUBMIT_DIR:?run this with sbatch}"
[ -x .venv/bin/audiolm ] || die "$SLURM_SUBMIT_DIR/.venv/bin/audiolm: not there; run sbatch in the folder of this repository"

# Since SLURM 22.05 srun does not take this from sbatch: each task would decode and dispatch on one core.
step=(--kill-on-bad-exit=0 --cpus-per-task "${SLURM_CPUS_PER_TASK:-4}")
case "$1" in
  train | tokenize) set -- "$@" --distributed auto ;;
  *) step+=(--nodes 1 --ntasks 1) ;;
esac

# SLURM sends SIGTERM to the processes 300 s before the limit, and when it preempts the job; they agree on a
# step, save there and end with 75. This script must live on to queue the job again. srun ends with the largest
# status of its tasks: 75 only if no task was killed or aborted.
trap ':' TERM
status=0
srun "${step[@]}" .venv/bin/audiolm "$@" || status=$?
if [ "$status" -eq 75 ]; then
  # A job that was preempted may be in the queue again already.
  scontrol requeue "$SLURM_JOB_ID" || echo "error: $SLURM_JOB_ID was saved but could not be queued again; if squeue does not show it: sbatch the same words" >&2
fi
exit "$status"
