# shellcheck shell=bash
# The half of launch/tpu_pod.sh that works on the hosts of a slice: it sends this text with a call at its end.
# Everything may be called twice: gcloud runs a command again, up to ten times, when ssh drops. What is known
# of a run lies in ~/.audiolm_pod of each host: log, status, pid and sum of its command.
here="$HOME/.audiolm_pod"
boot="$(cat /proc/sys/kernel/random/boot_id)" # another one after a restart or on another machine
mkdir -p "$here"

say() { echo "audiolm-host $(hostname) $*"; }
known() { cat "$here/$1" 2>/dev/null; }

# SETUP, once for each host and each text of it; a try that failed or was cut off is repeated.
setup() { # SUM SETUP
  exec 9>"$here/lock"
  flock 9 # the try whose ssh dropped may still be at work
  local status=0
  if [ "$(known setup)" != "$1 $boot" ]; then
    (cd && exec bash -e -c "$2") >"$here/setup.log" 2>&1 </dev/null 9>&- || status=$?
    [ "$status" -ne 0 ] || echo "$1 $boot" >"$here/setup"
  fi
  say setup "$status"
  [ "$status" -eq 0 ] || tail -n 10 "$here/setup.log" | sed "s/^/$(hostname): /"
}

# Starts the command detached from ssh, once for each ID.
start() { # ID SUM FOLDER COMMAND...
  exec 9>"$here/lock"
  flock 9
  [ "$(known id)" != "$1" ] || return 0
  rm -f "$here/pid" "$here/status"
  [ ! -e "$here/log" ] || mv "$here/log" "$here/log.before"
  # The trap lets this shell live on to write the status. The command gets the signal itself, from stop.
  # shellcheck disable=SC2016
  setsid bash -c 'trap : TERM HUP
    here="$1" && echo $$ >"$here/pid.part" && mv "$here/pid.part" "$here/pid"
    cd "$2" && "${@:3}"
    echo $? >"$here/status.part" && mv "$here/status.part" "$here/status"' \
    run "$here" "${@:3}" >"$here/log" 2>&1 </dev/null 9>&- &
  until [ -e "$here/pid" ]; do sleep 0.1; done
  echo "$2" >"$here/sum"
  echo "$boot" >"$here/boot"
  echo "$1" >"$here/id"
}

alive() { kill -0 -- "-$(known pid)" 2>/dev/null; }

# running, ended STATUS, or none, and the sum of the command.
look() {
  local going=no
  ! alive || going=yes # asked first: whoever is gone has written its status
  if [ "$(known boot)" != "$boot" ] || [ ! -e "$here/id" ]; then
    say none
  elif [ -e "$here/status" ]; then
    say ended "$(known status)" "$(known sum)"
  elif [ "$going" = yes ]; then
    say running - "$(known sum)"
  else
    say ended 137 "$(known sum)"
  fi
}

# The lines of the log after the first SEEN, or the last twenty, and how many there are.
lines() { # SEEN|last
  local all from="$1"
  all="$(wc -l <"$here/log")"
  [ "$from" != last ] || from=$((all > 20 ? all - 20 : 0))
  tail -n "+$((from + 1))" "$here/log" | head -n "$((all - from))"
  say log "$all"
}

# The error that a command said which ended with STATUS, or its last lines.
reason() { # STATUS
  [ "$(known status)" = "$1" ] || return 0
  grep -aE '^audiolm [a-z]+: ' "$here/log" || tail -n 20 "$here/log"
}

# Asks the command to stop; after SECONDS nobody is asked any more.
stop() { # SECONDS
  [ "$(known boot)" = "$boot" ] && alive || return 0
  pkill -TERM -P "$(known pid)"
  for ((i = 0; i < $1; i++)); do
    alive || return 0
    sleep 1
  done
  kill -KILL -- "-$(known pid)"
  while alive; do sleep 0.1; done
}

# The outcome was told: the same command is a new one from now on.
forget() { rm -f "$here/id"; }
