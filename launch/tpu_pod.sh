#!/usr/bin/env bash
# Runs `audiolm train` on all hosts of a TPU slice until it is finished; not run where it was
# written, which has no Google Cloud. Asks for the slice if it is not there, asks again when it was
# taken away, and starts the same command again, which goes on from the last checkpoint. However this
# script ends (finished, refused, failed, Ctrl-C), it gives the slice back, even one that it found.
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
#   KEEP      "yes" leaves the slice as it is at the end: it goes on costing
#
# Ends with 0 when training is finished, 2 when the command itself is wrong, 130 after Ctrl-C, which
# lets training save first, 1 otherwise.
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
case "${KEEP:-no}" in
  yes) echo "== KEEP=yes: $NAME goes on costing when this script has ended" ;;
  no) echo "== $NAME is given back when this script ends; KEEP=yes keeps it" ;;
  *) die "KEEP is '$KEEP'; expected yes or no" ;;
esac

vm() { gcloud compute tpus tpu-vm "$1" "$NAME" --zone "$ZONE" "${@:2}"; }
queue() { gcloud compute tpus queued-resources "$@" --zone "$ZONE"; }
state() { vm describe --format 'value(state)' 2>/dev/null || echo ABSENT; }

held=""    # set while there is a slice, or a request for one, to give back
training="" # set while training may run

give_back() {
  local status=$?
  trap '' INT TERM
  rm -f "$log"
  [ -n "$held" ] || exit "$status"
  local by_hand="gcloud compute tpus queued-resources delete $NAME --force --zone $ZONE"
  if [ "${KEEP:-no}" = yes ]; then
    echo "== KEEP=yes: $NAME stays and goes on costing; to give it back: $by_hand"
    exit "$status"
  fi
  if [ "$status" -gt 128 ] && [ -n "$training" ]; then
    echo "== asking training to save"
    vm ssh --worker=all --command "pkill -TERM -f '[a]udiolm train'; for i in {1..60}; do pgrep -f '[a]udiolm train' >/dev/null || break; sleep 2; done" || true
  fi
  echo "== giving $NAME back"
  queue delete "$NAME" --force --quiet || vm delete --quiet ||
    die "$NAME could not be given back and goes on costing; see to it: $by_hand"
  exit "$status"
}

ask_for_slice() {
  echo "== asking for $NAME ($TYPE in $ZONE)"
  queue delete "$NAME" --force --quiet 2>/dev/null || true
  held=""
  queue create "$NAME" --node-id "$NAME" --accelerator-type "$TYPE" --runtime-version "$version" \
    "${spot[@]}" || die "the request for $NAME was refused, see above"
  held=yes
  until [ "$(state)" = READY ]; do
    case "$(queue describe "$NAME" --format 'value(state.state)')" in
      FAILED | SUSPENDED) die "the request for $NAME failed; see: gcloud compute tpus queued-resources describe $NAME --zone $ZONE" ;;
    esac
    sleep 60
  done
  vm ssh --worker=all --command "$SETUP" || die "SETUP failed on $NAME, see above"
}

# Every host prints its status and its name: gcloud tells only whether all statuses were 0.
printf -v words ' %q' "$@"
remote="cd $code && .venv/bin/audiolm train$words --distributed auto; echo \"audiolm status \$? on \$(hostname)\""
log="$(mktemp)"
trap give_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ "$(state)" = ABSENT ] || held=yes
failures=0
while true; do
  [ "$(state)" = READY ] || ask_for_slice
  training=yes
  vm ssh --worker=all --command "$remote" 2>&1 | tee "$log" || true
  training=""
  statuses="$(grep -ao 'audiolm status [0-9]*' "$log" | awk '{print $3}' | sort -un | tr '\n' ' ' || true)"
  case " $statuses" in
    " 0 ") exit 0 ;;
    *" 2 "*)
      hosts="$(grep -ao 'audiolm status 2 on .*' "$log" | awk '{print $5}' | tr '\n' ' ')"
      echo "error: refused by ${hosts}(statuses of all hosts: ${statuses% }):" >&2
      grep -a '^audiolm train: ' "$log" | sort -u >&2 || tail -n 20 "$log" >&2
      exit 2
      ;;
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
