#!/usr/bin/env bash
# Runs `audiolm train` on all hosts of a TPU slice until it is finished; not run where it was
# written, which has no Google Cloud. Asks for the slice if it is not there, asks again when it was
# taken away, and starts the same command again, which goes on from the last checkpoint.
#
#   NAME=lm ZONE=us-east5-a TYPE=v5p-32 SETUP='...' ./launch/tpu_pod.sh configs/librilight_paper/coarse.py --directory /runs/coarse
#
#   NAME      the slice, and the request for it, in the project that gcloud is set to
#   ZONE      where
#   TYPE      accelerator type, as `gcloud compute tpus accelerator-types list` names it
#   VERSION   runtime version; v2-alpha-tpuv5 if not given
#   SPOT      "yes" (if not given) asks for a slice that may be taken away at any time, "no" does not
#   CODE      folder of this repository on every host; audiolm if not given
#   SETUP     run once on every host of a new slice: clone into CODE, install '.[tpu,data]' into
#             CODE/.venv, mount the shared file system that run directories lie on (docs/guide/multihost.md)
#   RESTARTS  how often a run may fail in a row, not counting slices taken away; 3 if not given
#
# Ends with 0 when training is finished, 2 when the command itself is wrong, 1 otherwise.
set -euo pipefail

die() {
  echo "error: $*" >&2
  exit 1
}

[ $# -ge 1 ] || die "expected a config file; see the head of $0"
for variable in NAME ZONE TYPE SETUP; do
  [ -n "${!variable:-}" ] || die "$variable is not set; see the head of $0"
done
version="${VERSION:-v2-alpha-tpuv5}" code="${CODE:-audiolm}" restarts="${RESTARTS:-3}"
[ "${SPOT:-yes}" = yes ] && spot=(--spot) || spot=()
command -v gcloud >/dev/null || die "gcloud is not here; install the Google Cloud CLI"

vm() { gcloud compute tpus tpu-vm "$1" "$NAME" --zone "$ZONE" "${@:2}"; }
queue() { gcloud compute tpus queued-resources "$@" --zone "$ZONE"; }
state() { vm describe --format 'value(state)' 2>/dev/null || echo ABSENT; }

ask_for_slice() {
  echo "== asking for $NAME ($TYPE in $ZONE)"
  queue delete "$NAME" --force --quiet 2>/dev/null || true
  queue create "$NAME" --node-id "$NAME" --accelerator-type "$TYPE" --runtime-version "$version" \
    "${spot[@]}"
  until [ "$(state)" = READY ]; do
    case "$(queue describe "$NAME" --format 'value(state.state)')" in
      FAILED | SUSPENDED) die "the request for $NAME failed; see: gcloud compute tpus queued-resources describe $NAME --zone $ZONE" ;;
    esac
    sleep 60
  done
  vm ssh --worker=all --command "$SETUP"
}

# The status of every host is printed by the host: gcloud tells only whether all were 0.
printf -v words ' %q' "$@"
remote="cd $code && .venv/bin/audiolm train$words --distributed auto; echo \"audiolm status \$?\""
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
failures=0
while true; do
  [ "$(state)" = READY ] || ask_for_slice
  vm ssh --worker=all --command "$remote" 2>&1 | tee "$log" || true
  statuses="$(grep -ao 'audiolm status [0-9]*' "$log" | awk '{print $3}' | sort -un | tr '\n' ' ')"
  case " $statuses" in
    " 0 ") exit 0 ;;
    *" 2 "*) echo "error: the command was refused, see above" >&2 && exit 2 ;;
    " 75 ") failures=0 ;; # asked to stop, and saved
    *) # lost hosts, or a slice that was taken away without notice
      if [ "$(state)" = READY ]; then
        failures=$((failures + 1))
        [ "$failures" -le "$restarts" ] || die "failed $failures times in a row (statuses: ${statuses:-none})"
        # A process that hangs on one host would keep the chips.
        vm ssh --worker=all --command "pkill -KILL -f '[a]udiolm train' || true" || true
      fi
      ;;
  esac
  echo "== going on (statuses: ${statuses:-none})"
  sleep 10
done
