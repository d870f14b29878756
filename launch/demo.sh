#!/usr/bin/env bash
# From a fresh clone to a voice that goes on speaking. Run again to go on after an interruption.
#
#   ./launch/demo.sh                    recorded English speech from Debian (CC BY-SA 3.0)
#   ./launch/demo.sh --audio-dir DIR    any folder of wav, flac, mp3 or ogg files instead
#   ... --directory DIR                 results there, not in runs/demo or runs/demo-NAME
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"

audio_dir=""
results=()
while [ $# -ge 2 ]; do
  case "$1" in
    --audio-dir)
      [ -d "$2" ] || die "--audio-dir $2: no such folder"
      audio_dir="$(cd "$2" && pwd)"
      ;;
    --directory) results=(--directory "$2") ;;
    *) break ;;
  esac
  shift 2
done
[ $# -eq 0 ] || die "unknown argument $1; usage: ./launch/demo.sh [--audio-dir DIR] [--directory DIR]"

make_venv

if [ -z "$audio_dir" ]; then
  audio_dir="data/asterisk"
  echo "== recorded English speech, 25 minutes: $audio_dir (Debian packages, 11 MB)"
  fetch_asterisk "$audio_dir" en
fi

export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
exec "$PYTHON" -m audiolm_jax demo --audio-dir "$audio_dir" ${results[@]+"${results[@]}"}
