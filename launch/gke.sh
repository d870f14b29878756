#!/usr/bin/env bash
# Runs `audiolm train`, or tokenize, on TPU slices of the GKE cluster that kubectl is set to: fills in
# launch/gke/jobset.yaml, applies it, shows what the first host says and why pods fail, in a line each, and
# deletes the set when it is done, failed, or after Ctrl-C, which lets training save first. The set runs on
# without this script; start it again with the same words, and it follows. Tested against a stand-in for
# kubectl; what has run where: docs/guide/machines.md
#
#   NAME=lm IMAGE=us-docker.pkg.dev/project/audiolm/tpu BUCKET=results TPU=tpu-v6e-slice TOPOLOGY=4x4 \
#     HOSTS=4 ./launch/gke.sh train configs/librilight_paper/coarse.py --directory gs://results/runs/coarse
#
#   NAME      of the set; lower-case letters, digits and hyphens
#   IMAGE     of launch/container/Dockerfile, target tpu
#   BUCKET    mounted at /bucket in every pod
#   TPU       as node pools are labelled: tpu-v4-podslice, tpu-v5-lite-podslice, tpu-v5p-slice, tpu-v6e-slice, tpu7x
#   TOPOLOGY  of a slice, such as 2x2x4
#   HOSTS     of a slice: the chips of TOPOLOGY divided by CHIPS
#   CHIPS     of a host; 4 if not given
#   SLICES    1 if not given; as many as --mesh.slices
#   SERVICE_ACCOUNT  that may use the bucket; "default" if not given
#   RESTARTS  of the whole set, pods that were taken away counted; 100 if not given
#   PATIENCE  looks until pods that cannot be scheduled, or whose image cannot be pulled, are given up; 240
#   PAUSE     seconds between looks; 30 if not given
#   KEEP      "yes" leaves the set at the end, and its pods' logs
#
# Ends with 0 when finished, 2 when the command itself is wrong, 130 after Ctrl-C, 1 otherwise. For bash 3.2
# and the tools of macOS as well as for Linux.
set -euo pipefail

die() {
  echo "error: $*" >&2
  exit 1
}

case "${1:-}" in
  train | tokenize) ;;
  *) die "${1:-no word}: expected train or tokenize first, the verbs that work on several hosts; see the head of $0" ;;
esac
for variable in NAME IMAGE BUCKET TPU TOPOLOGY HOSTS; do
  [ -n "${!variable:-}" ] || die "$variable is not set; see the head of $0"
done
# shellcheck disable=SC2153 # it is one of the variables above
case "$NAME" in
  *[!a-z0-9-]* | -* | *-) die "NAME $NAME: expected lower-case letters, digits and hyphens between them" ;;
esac
[ "${#NAME}" -le 40 ] || die "NAME $NAME: expected 40 letters at most, as pods are named after it"
command -v kubectl >/dev/null || die "kubectl is not here; install it and run gcloud container clusters get-credentials"
unit="${PAUSE:-30}" patience="${PATIENCE:-240}"

# The words as a list of JSON, which is one of YAML, too.
words="" list=""
for word in "$@" --distributed auto; do
  list="$list${list:+, }\"$(printf '%s' "$word" | sed 's/[\\"]/\\&/g')\""
  words="$words $word"
done
sum="$(printf '%s' "$IMAGE$words" | cksum | cut -d ' ' -f 1)"
script=""
fill() { # NAME VALUE: for sed
  script="$script
s|\${$1}|$(printf '%s' "$2" | sed 's/[\\&|]/\\&/g')|g"
}
fill NAME "$NAME"
fill IMAGE "$IMAGE"
fill BUCKET "$BUCKET"
fill TPU "$TPU"
fill TOPOLOGY "$TOPOLOGY"
fill HOSTS "$HOSTS"
fill CHIPS "${CHIPS:-4}"
fill SLICES "${SLICES:-1}"
fill SERVICE_ACCOUNT "${SERVICE_ACCOUNT:-default}"
fill RESTARTS "${RESTARTS:-100}"
fill SUM "$sum"
fill WORDS "[$list]"
manifest="$(sed "$script" "$(dirname "$0")/gke/jobset.yaml")"

said="" held="" follower="" followed=""
tell() { # what is the same as before is said once
  [ "$1" = "$said" ] || echo "== $1"
  said="$1"
}
clean_up() {
  local status=$?
  trap '' INT TERM HUP
  [ -z "$follower" ] || kill "$follower" 2>/dev/null || true
  if [ -n "$held" ] && [ "${KEEP:-no}" != yes ]; then
    echo "== deleting $NAME; pods that still train have 300 s to save"
    kubectl delete jobset "$NAME" --ignore-not-found ||
      { echo "error: $NAME could not be deleted and keeps its nodes; see to it: kubectl delete jobset $NAME" >&2 && status=1; }
  fi
  exit "$status"
}
leave() {
  trap - EXIT
  [ -z "$follower" ] || kill "$follower" 2>/dev/null || true
  exit 129
}

# Pod, index of its host, why it is not scheduled, why it waits, how and with what status it ended; words last.
pod_fields='{range .items[*]}{.metadata.name}|{.metadata.labels.batch\.kubernetes\.io/job-completion-index}|{.status.phase}|{.status.conditions[?(@.type=="PodScheduled")].reason}|{.status.containerStatuses[?(@.name=="train")].state.waiting.reason}|{.status.containerStatuses[?(@.name=="train")].state.terminated.reason}|{.status.containerStatuses[?(@.name=="train")].state.terminated.exitCode}|{.status.conditions[?(@.type=="PodScheduled")].message}{.status.containerStatuses[?(@.name=="train")].state.waiting.message}{"\n"}{end}'

# Says why pods are not well, once for each; sets stuck if one of them cannot begin, bad if one ended with 2.
look_at_pods() {
  local pods name index phase scheduled waiting ended status message problem=""
  stuck="" first=""
  pods="$(kubectl get pods -l "jobset.sigs.k8s.io/jobset-name=$NAME" -o "jsonpath=$pod_fields")" || return 0
  while IFS='|' read -r name index phase scheduled waiting ended status message; do
    [ -n "$name" ] || continue
    [ "$index/$phase" != 0/Running ] || first="${first:-$name}"
    if [ -n "$status" ] && [ "$status" != 0 ]; then
      [ "$status" != 2 ] || bad=yes
      problem="pod $name ended with $status ($ended)"
      [ "$status" != 75 ] || problem="pod $name was asked to stop, and saved"
      [ "$ended" != OOMKilled ] || problem="pod $name ran out of its host's memory (OOMKilled)"
    elif [ "$scheduled" = Unschedulable ]; then
      stuck="pod $name cannot be scheduled: $message"
    else
      case "$waiting" in
        ErrImagePull | ImagePullBackOff | InvalidImageName | CreateContainerConfigError | CreateContainerError)
          stuck="pod $name cannot begin ($waiting): $message"
          ;;
      esac
    fi
  done <<END
$pods
END
  [ -z "$problem" ] || tell "$problem"
  [ -z "$stuck" ] || tell "$stuck"
}

follow_log() { # of the first host, from its beginning, and on after a connection was lost
  [ -n "$first" ] || return 0
  [ -z "$follower" ] || ! kill -0 "$follower" 2>/dev/null || return 0
  if [ "$first" = "$followed" ]; then
    kubectl logs -f "$first" -c train --since "${unit}s" &
  else
    kubectl logs -f "$first" -c train &
  fi
  follower=$! followed="$first"
}

trap 'exit 130' INT
trap 'exit 143' TERM
trap leave HUP
there="$(kubectl get jobset "$NAME" --ignore-not-found -o 'jsonpath={.metadata.name} {.metadata.annotations.audiolm/command}')" ||
  die "kubectl cannot ask the cluster, see above; is the JobSet operator installed?"
case "$there" in
  "$NAME $sum") tell "$NAME is there with this command: following" ;;
  "" | " ") printf '%s\n' "$manifest" | kubectl apply -f - || die "$NAME was not accepted, see above" ;;
  *) die "$NAME is there with another command; follow it with its own words, or: kubectl delete jobset $NAME" ;;
esac
held=yes bad="" waited=0
trap clean_up EXIT
while true; do
  # terminalState alone is not told by older operators.
  if state="$(kubectl get jobset "$NAME" -o 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}')"; then
    look_at_pods
    follow_log
    case " $state " in
      *" Completed "*)
        [ -z "$follower" ] || wait "$follower" || true
        exit 0
        ;;
      *" Failed "*)
        [ -z "$follower" ] || wait "$follower" || true
        [ -z "$bad" ] || { echo "error: $NAME was refused: $said" >&2 && exit 2; }
        die "$NAME failed and is not started again: ${said:-see kubectl describe jobset $NAME}"
        ;;
    esac
    waited=$((waited + 1))
    [ -n "$stuck" ] || waited=0
    [ "$waited" -lt "$patience" ] || die "given up after $waited looks: $stuck"
  else
    tell "the cluster does not answer, the set goes on; looking again"
  fi
  sleep "$unit"
done
