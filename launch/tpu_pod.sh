#!/usr/bin/env bash
# Runs `audiolm train`, or another verb, on all hosts of a TPU slice until it is finished. Asks for the slice
# if it is not there, asks again when it was taken away, and starts the same command again, which goes on from
# its last checkpoint. The command runs on the hosts by itself: close the laptop, lose the network, or kill this
# script with -9, and it goes on; start this script again with the same words, and it follows. In any other end
# (finished, refused, given up, Ctrl-C) the slice is given back, even one that was found.
# Tested against a stand-in for gcloud; what has run where: docs/guide/machines.md. A SETUP: docs/guide/clusters.md.
#
#   NAME=lm ZONE=us-east5-a TYPE=v5p-32 SETUP="$(cat setup.sh)" \
#     ./launch/tpu_pod.sh train configs/librilight_paper/coarse.py --directory gs://results/runs/coarse
#
#   NAME      the slice, and the request for it, in the project that gcloud is set to
#   ZONE      where
#   TYPE      accelerator type, as `gcloud compute tpus accelerator-types list` names it: v4-32,
#             v5litepod-16, v5p-32, v6e-16. TPU7x is given out by GKE only: launch/gke.sh
#   VERSION   runtime version; chosen by TYPE if not given
#   SPOT      "yes" (if not given) asks for a slice that may be taken away at any time, "no" does not
#   RESERVED  "yes" takes it from a reservation of the project instead
#   FLEX      how long a flex-start slice may run, such as 24h (7d at most): asks for one of these instead
#   CREATE    further words for `gcloud compute tpus queued-resources create`: --network, --service-account
#   SETUP     shell commands that make a host ready: Python, this repository with its .venv in CODE, mounts.
#             Run on each host that is new, was replaced or restarted, and again if they fail
#   CODE      folder of this repository on every host; audiolm if not given
#   RESTARTS  how often the command may fail in a row, within an hour of its start; 3 if not given
#   TRIES     how often in a row a slice may be refused for want of capacity or quota; 30 if not given
#   PAUSE     seconds between looks; 30 if not given. Waiting for capacity grows to 20 times that
#   KEEP      "yes" leaves the slice as it is at the end: it goes on costing
#
# train and tokenize run on all hosts as one; other verbs (evaluate, continue ...) know one process and run on
# the first host with one chip. Ends with 0 when finished, 2 when the command itself is wrong, 130 after Ctrl-C,
# which lets training save first, 1 otherwise. For bash 3.2 and the tools of macOS as well as for Linux.
set -euo pipefail

die() {
  echo "error: $*" >&2
  exit 1
}

case "${1:-}" in
  "" | -*) die "expected a verb of audiolm and what belongs to it, such as train CONFIG.py; see the head of $0" ;;
  *[!a-z]*) die "$1: expected a verb of audiolm first, such as: $0 train $1" ;;
esac
for variable in NAME ZONE TYPE SETUP; do
  [ -n "${!variable:-}" ] || die "$variable is not set; see the head of $0"
done
code="${CODE:-audiolm}" restarts="${RESTARTS:-3}" tries="${TRIES:-30}" unit="${PAUSE:-30}"
TYPE="${TYPE/#v5e-/v5litepod-}"
case "$TYPE" in
  v[234]-*) version=tpu-ubuntu2204-base ;;
  v5litepod-*) version=v2-alpha-tpuv5-lite ;;
  v5p-*) version=v2-alpha-tpuv5 ;;
  v6e-*) version=v2-alpha-tpuv6e ;;
  tpu7* | v7*) die "TYPE $TYPE: TPU7x and later are not given out by queued resources but by GKE; see launch/gke.sh" ;;
  *) version="${VERSION:-}" ;;
esac
version="${VERSION:-$version}"
[ -n "$version" ] || die "TYPE $TYPE: expected v4-N, v5litepod-N, v5p-N or v6e-N; for another one name its runtime with VERSION"
track=() how=()
case "${SPOT:-}/${RESERVED:-no}/${FLEX:-}" in
  /no/ | yes/no/) how=(--spot) ;;
  no/no/) ;;
  /yes/ | no/yes/) how=(--reserved) ;;
  # In the alpha commands only, as of gcloud 528.
  /no/?* | no/no/?*) track=(alpha) how=(--provisioning-model flex-start --max-run-duration "$FLEX") ;;
  *) die "SPOT ${SPOT:-}, RESERVED ${RESERVED:-no}, FLEX ${FLEX:-}: expected yes or no, and one of the three at most" ;;
esac
command -v gcloud >/dev/null || die "gcloud is not here; install the Google Cloud CLI"
case "${KEEP:-no}" in
  yes) echo "== KEEP=yes: $NAME goes on costing when this script has ended" ;;
  no) echo "== $NAME is given back when this script ends; KEEP=yes keeps it" ;;
  *) die "KEEP is '$KEEP'; expected yes or no" ;;
esac

host="$(cat "$(dirname "$0")/tpu_host.sh")"
by_hand="gcloud compute tpus queued-resources delete $NAME --force --zone $ZONE"
case "$1" in
  train | tokenize)
    where=all
    command=(.venv/bin/audiolm "$@" --distributed auto)
    ;;
  *) # one process: without these it would wait for the other hosts
    where=0
    one=1,1,1
    command=(env "TPU_PROCESS_BOUNDS=$one" "TPU_CHIPS_PER_PROCESS_BOUNDS=$one" TPU_VISIBLE_CHIPS=0 .venv/bin/audiolm "$@")
    ;;
esac
sum_of() { printf '%s' "$*" | cksum | cut -d ' ' -f 1; }
sum="$(sum_of "$code" "${command[@]}")"

errors="$(mktemp)" # what gcloud last said on standard error
tab="$(printf '\t')"
held=""     # set while there is a slice, or a request for one, to give back
training="" # set while the command may run
said=""
tell() { # what is the same as before is said once
  [ "$1" = "$said" ] || echo "== $1"
  said="$1"
}
vm() { gcloud compute tpus tpu-vm "$1" "$NAME" --zone "$ZONE" "${@:2}"; }
queue() { gcloud compute tpus queued-resources "$1" "$NAME" --zone "$ZONE" "${@:2}"; }
on() { # WORKERS FUNCTION [ARGUMENT ...] of tpu_host.sh; sets reply
  local words
  printf -v words ' %q' "${@:2}"
  reply="$(vm ssh --worker="$1" --command "$host
$words" 2>"$errors")" || {
    reply="$(reason_of "$(cat "$errors")")"
    return 1
  }
}

is_missing() { case "$1" in *NOT_FOUND* | *"not found"*) ;; *) return 1 ;; esac }
is_passing() { # whether what gcloud said may be otherwise a while later
  case "$1" in
    *PERMISSION_DENIED* | *UNAUTHENTICATED* | *INVALID_ARGUMENT* | *"not been used in project"*) return 1 ;;
    *[Ll]imit:\ 0[.\ ]* | *[Ll]imit\ 0[.\ ]* | *[Ll]imit:\ 0) return 1 ;; # no quota at all
    *RESOURCE_EXHAUSTED* | *[Cc]apacity* | *[Qq]uota* | *ALREADY_EXISTS* | *UNAVAILABLE* | *ABORTED* | *DEADLINE_EXCEEDED* | *INTERNAL*) ;;
    *"imed out"* | *onnection* | *"name resolution"* | *"Unable to find the server"*) ;;
    *) return 1 ;;
  esac
}
reason_of() { # the line of gcloud's text that says what is wrong
  local line
  line="$(printf '%s\n' "$1" | grep 'ERROR' | tail -n 1 || true)"
  printf '%s' "${line:-$(printf '%s\n' "$1" | tail -n 1)}"
}

# Of the slice, or of the request for it: sets state, to ABSENT or UNKNOWN if there is none, and why.
state_of() { # vm|queue FIELDS
  if why="$("$1" describe --format "value($2)" 2>"$errors")"; then
    state="${why%%"$tab"*}" why="${why#*"$tab"}"
    return
  fi
  why="$(cat "$errors")" state=UNKNOWN
  ! is_missing "$why" || state=ABSENT
  why="$(reason_of "$why")"
}

remove() { # the request and the slice; 1 if it cannot be done
  local text try
  for try in 1 2 3 4 5; do
    # "return" alone would give the status that the trap began with.
    text="$(queue delete --force --quiet 2>&1)" && return 0
    if is_missing "$text"; then
      text="$(vm delete --quiet 2>&1)" && return 0
      ! is_missing "$text" || return 0
    fi
    [ "$try" -eq 5 ] || sleep "$unit"
  done
  echo "$text" >&2
  return 1
}

finish() { # STATUS
  trap - EXIT
  rm -f "$errors"
  exit "$1"
}

leave() {
  echo "== this script ends, what it started on $NAME goes on, and costs; start it again to follow, or: $by_hand" || true
  finish 129
}

give_back() {
  local status=$?
  trap '' INT TERM HUP
  [ -n "$held" ] || finish "$status"
  if [ "${KEEP:-no}" = yes ]; then
    [ -z "$told" ] || on "$where" forget || true
    echo "== KEEP=yes: $NAME stays and goes on costing; to give it back: $by_hand"
    finish "$status"
  fi
  if [ "$status" -gt 128 ] && [ -n "$training" ]; then
    echo "== asking training to save"
    on "$where" stop 120 || true
  fi
  echo "== giving $NAME back"
  if ! remove; then
    echo "error: $NAME could not be given back and goes on costing; see to it: $by_hand" >&2
    finish 1
  fi
  finish "$status"
}

# Returns when the slice is ready. Waits for one that is being made, asks for one that is not.
have_slice() {
  local pause="$unit" asked=0 text slice again=""
  while true; do
    state_of vm state
    case "$state" in
      READY)
        held=yes
        return
        ;;
      UNKNOWN)
        [ -n "$held$asking" ] || die "gcloud does not say whether $NAME is there: $why"
        tell "no word from Google Cloud, looking again: $why"
        sleep "$unit"
        continue
        ;;
      CREATING | STARTING | RESTARTING | REPAIRING)
        held=yes
        tell "$NAME: $state"
        sleep "$unit"
        continue
        ;;
    esac
    slice="$state"
    state_of queue state.state,state.failedData.error.message
    case "$state" in
      CREATING | ACCEPTED | PROVISIONING | WAITING_FOR_RESOURCES | UNKNOWN)
        [ "$state" = UNKNOWN ] || held=yes
        tell "the request for $NAME: $state"
        sleep "$unit"
        continue
        ;;
      FAILED)
        held=yes
        is_passing "$why" || die "the request for $NAME failed: $why"
        tell "the request for $NAME failed: $why"
        ;;
      ACTIVE)
        if [ "$slice$again" = ABSENT ]; then # it may have come between the two questions
          held=yes again=yes
          continue
        fi
        tell "$NAME was taken away ($slice, its request $state)"
        ;;
      *) [ "$slice$state" = ABSENTABSENT ] || tell "$NAME was taken away ($slice, its request $state)" ;;
    esac
    if [ "$asked" -gt 0 ]; then
      [ "$asked" -lt "$tries" ] || die "no slice after asking $asked times in a row"
      sleep "$pause"
      pause=$((pause * 2 < unit * 20 ? pause * 2 : unit * 20))
    fi
    # Requests that failed or were suspended count against the quota until they are deleted.
    [ "$slice$state" = ABSENTABSENT ] || remove || die "the request for $NAME stands in the way and cannot be deleted"
    asked=$((asked + 1)) asking=yes held="" training="" again=""
    tell "asking for $NAME ($TYPE in $ZONE, $version ${how[*]-})"
    # shellcheck disable=SC2086 # CREATE holds several words
    if text="$(gcloud ${track[@]+"${track[@]}"} compute tpus queued-resources create "$NAME" --zone "$ZONE" --quiet \
      --node-id "$NAME" --accelerator-type "$TYPE" --runtime-version "$version" \
      ${how[@]+"${how[@]}"} ${CREATE:-} 2>&1)"; then
      held=yes
    elif is_passing "$text"; then
      tell "not now: $(reason_of "$text")"
    else
      echo "$text" >&2
      die "the request for $NAME was refused, see above"
    fi
  done
}

# Sets running, none and statuses to what the hosts are at; 1 if they could not be asked.
look() {
  on "$where" look || return 1
  local of_hosts
  of_hosts="$(printf '%s\n' "$reply" | grep '^audiolm-host ' || true)"
  [ -n "$of_hosts" ] || return 1
  running="$(printf '%s\n' "$of_hosts" | awk '$3 == "running" {printf "%s ", $2}')"
  none="$(printf '%s\n' "$of_hosts" | awk '$3 == "none" {printf "%s ", $2}')"
  statuses="$(printf '%s\n' "$of_hosts" | awk '$3 == "ended" {print $4}' | sort -un | tr '\n' ' ')"
  sums="$(printf '%s\n' "$of_hosts" | awk '$3 == "running" {print $5}' | sort -u)"
  ended_sums="$(printf '%s\n' "$of_hosts" | awk '$3 == "ended" {print $5}' | sort -u)"
  ended_with_2="$(printf '%s\n' "$of_hosts" | awk '$3 == "ended" && $4 == 2 {printf "%s ", $2}')"
}

show_log() { # what is new of it; 1 if the host could not be asked
  on 0 lines "$seen" || return 1
  local count
  count="$(printf '%s\n' "$reply" | awk '/^audiolm-host .* log [0-9]+$/ {n = $4} END {print n}')"
  [ -n "$count" ] || return 1
  printf '%s\n' "$reply" | grep -av '^audiolm-host .* log [0-9]*$' || true
  seen="$count"
}

# Makes the hosts ready; 1 if ssh failed or the slice is gone, an end if SETUP keeps failing.
set_up() {
  local failed try
  for try in 1 2 3; do
    on "$where" setup "$(sum_of "$SETUP")" "$SETUP" || return 1
    failed="$(printf '%s\n' "$reply" | awk '$1 == "audiolm-host" && $3 == "setup" && $4 != 0 {printf "%s ", $2}')"
    [ -n "$failed" ] || return 0
    tell "SETUP failed on ${failed% }"
    [ "$try" -eq 3 ] || sleep "$unit"
  done
  printf '%s\n' "$reply" | grep -v '^audiolm-host ' >&2 || true
  die "SETUP failed three times on ${failed% }, see above"
}

# Until the command has ended on all hosts, or there is no hope of that: sets outcome.
follow() {
  local alone=0
  while true; do
    if ! look; then
      state_of vm state
      case "$state" in
        READY | UNKNOWN | REPAIRING) tell "hosts do not answer, the command goes on there; looking again: $reply" ;;
        *) outcome="gone" && return ;;
      esac
    else
      # The last lines have no next time.
      show_log || [ -n "$running" ] || { sleep "$unit" && show_log; } || { sleep "$unit" && show_log; } || true
      [ -z "$running" ] || [ -z "$statuses" ] || alone=$((alone + 1))
      if [ -n "$ended_with_2" ]; then
        outcome="2" && return
      elif [ -n "$none" ]; then
        outcome="${none% } began anew" && return
      elif [ -z "$running" ]; then
        outcome="${statuses% }" && return
      elif [ "$alone" -ge 20 ]; then
        outcome="${running% } hung, others ended with ${statuses% }" && return
      fi
    fi
    sleep "$unit"
  done
}

asking="" told="" seen=last failures=0 silent=0 begun=0 anew="" outcome=""
trap give_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap leave HUP
have_slice
while true; do
  if ! look; then # a fresh host may refuse ssh for a while
    silent=$((silent + 1))
    [ "$silent" -le "$tries" ] || die "the hosts of $NAME do not answer: $reply"
    tell "hosts do not answer: $reply"
    sleep "$unit"
    have_slice
    continue
  fi
  silent=0
  if [ -n "$sums" ] && [ "$sums" != "$sum" ]; then
    held=""
    die "$NAME is at work on another command, and was left so; follow it with its own words, or: $by_hand"
  elif [ -z "$anew$none" ] && [ -n "$sums" ]; then
    tell "$NAME is at work on this command: following"
  elif [ -z "$anew$none" ] && [ "$statuses/$ended_sums" = "0 /$sum" ]; then
    tell "$NAME has finished this command"
  else
    anew=yes seen=0
    if ! { on "$where" stop 0 && set_up && on "$where" start "$$-$RANDOM" "$sum" "$code" "${command[@]}"; }; then
      tell "hosts do not answer: $reply"
      sleep "$unit"
      have_slice
      continue
    fi
    anew=""
  fi
  training=yes begun=$SECONDS
  follow
  training="" anew=yes
  case "$outcome" in
    0)
      told=yes
      exit 0
      ;;
    2)
      told=yes
      on "$where" reason 2 || true
      echo "error: refused by $ended_with_2(statuses of all hosts: ${statuses% }):" >&2
      printf '%s\n' "$reply" | sort -u >&2
      exit 2
      ;;
    75) failures=0 ;; # asked to stop, and saved
    gone) ;;
    *)
      [ $((SECONDS - begun)) -lt "${LASTING:-3600}" ] || failures=0
      failures=$((failures + 1))
      [ "$failures" -le "$restarts" ] || die "failed $failures times in a row (statuses: $outcome)"
      ;;
  esac
  tell "going on (statuses: $outcome)"
  sleep "$unit"
  have_slice
done
