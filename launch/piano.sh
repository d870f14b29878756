#!/usr/bin/env bash
# Synthetic solo piano: scores in the public domain (the corpus of music21), played by rules through
# two sampled pianos (docs/guide/piano.md). Run again after an interruption: what is there is kept. A
# first run also installs music21, fluidsynth and the pianos into data/.piano (no root).
#
#   ./launch/piano.sh                   8 h
#   ./launch/piano.sh --hours 0.5
#   ./launch/piano.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"

export PYTHONPATH="$root" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
tools="$root/data/.piano" python="$(choose_python)"
"$python" -m tools.piano.options "$@"
for word in "$@"; do
  case "$word" in -h | --help) exit ;; esac
done

# fluidsynth of the system or, without root, of Debian with all that it needs. Sets FLUIDSYNTH.
fetch_fluidsynth() {
  FLUIDSYNTH="$(command -v fluidsynth || true)"
  [ -z "$FLUIDSYNTH" ] || return 0
  local dir="$tools/fluidsynth" packages
  if [ ! -d "$dir" ]; then
    echo "== fetching fluidsynth (Debian packages)"
    rm -rf "$dir.part"
    # What an installation would add to this system.
    local lists="$dir.part/apt" options=()
    if ! apt-get -s install fluidsynth >/dev/null 2>&1; then  # no package lists of the system
      options=(-o "Dir::State=$lists/state" -o "Dir::Cache=$lists/cache" -o "Dir::State::status=/var/lib/dpkg/status" -o "APT::Sandbox::User=")
      mkdir -p "$lists/state/lists/partial" "$lists/cache/archives/partial"
      apt-get -qq "${options[@]}" update || die "apt-get could not fetch its package lists"
    fi
    mapfile -t packages < <(apt-get "${options[@]}" -s install --no-install-recommends fluidsynth | awk "/^Inst /{print \$2}")
    [ "${#packages[@]}" -gt 0 ] || die "apt-get knows no fluidsynth; install it"
    fetch_debian "$dir.part" "${packages[@]}"
    mv "$dir.part" "$dir"
  fi
  FLUIDSYNTH="$dir/unpacked/usr/bin/fluidsynth"
  local libraries
  libraries="$(dirname "$(find "$dir" -name 'libfluidsynth.so*' | head -n 1)")"
  export LD_LIBRARY_PATH="$libraries:$libraries/pulseaudio${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

# The two pianos, checked by hash; appear whole or not at all.
fetch_soundfonts() {
  local dir="$tools/soundfonts" part="$tools/soundfonts.part"
  [ ! -d "$dir" ] || return 0
  echo "== fetching the pianos (Debian packages, 195 MB)"
  rm -rf "$part"
  fetch_debian "$part" musescore-general-soundfont fluid-soundfont-gm
  mkdir "$part/kept"
  mv "$part"/unpacked/usr/share/sounds/sf?/{MuseScore_General_Full.sf3,FluidR3_GM.sf2} "$part/kept/" 2>/dev/null || true
  (cd "$part/kept" && sha256sum --check --quiet "$root/tools/piano/soundfonts.sha256") \
    || die "the soundfonts of this Debian are others than tools/piano/soundfonts.sha256 names"
  mv "$part/kept" "$dir"
  rm -rf "$part"
}

same_python "$tools" "$python"
install_packages "$tools" "$python" packages tools/piano/requirements.txt
fetch_fluidsynth
fetch_soundfonts
exec "$tools/venv/bin/python" -m tools.piano.make --fluidsynth "$FLUIDSYNTH" --tools "$tools" "$@"
