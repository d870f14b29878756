#!/usr/bin/env bash
# From a fresh clone to a voice that goes on speaking. Run again to go on after an interruption.
#
#   ./launch/demo.sh                    recorded English speech from Debian (CC BY-SA 3.0)
#   ./launch/demo.sh --audio-dir DIR    any folder of wav, flac, mp3 or ogg files instead
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"

audio_dir=""
if [ "${1:-}" = "--audio-dir" ]; then
  [ -d "${2:-}" ] || die "--audio-dir ${2:-}: no such folder"
  audio_dir="$(cd "$2" && pwd)"
  shift 2
fi
[ $# -eq 0 ] || die "unknown argument $1; usage: ./launch/demo.sh [--audio-dir DIR]"

make_venv

if [ -z "$audio_dir" ]; then
  audio_dir="data/asterisk"
  if [ ! -f "$audio_dir/COPYRIGHT" ]; then
    echo "== fetching 25 minutes of recorded English speech (Debian package, 11 MB)"
    scratch="data/.fetch"
    rm -rf "$scratch" "$audio_dir"
    fetch_debian "$root/$scratch" asterisk-core-sounds-en-g722 asterisk-core-sounds-en
    share="$scratch/unpacked/usr/share"
    gunzip -c "$share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz" \
      >"$share/asterisk/sounds/en_US_f_Allison/transcripts.txt"
    cp "$share/doc/asterisk-core-sounds-en-g722/copyright" "$share/asterisk/sounds/COPYRIGHT"
    mv "$share/asterisk/sounds" "$audio_dir"
    rm -rf "$scratch"
  fi
fi

export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
exec "$PYTHON" -m audiolm_jax demo --audio-dir "$audio_dir"
