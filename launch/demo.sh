#!/usr/bin/env bash
# From a fresh clone to a voice that goes on speaking: first the one that comes with it, then one that is
# trained here from nothing. Run again to go on after an interruption.
#
#   ./launch/demo.sh                    prompts and training data are made and fetched here
#   ./launch/demo.sh --prompt FILE      goes on from a recording of your own (wav, flac, mp3, ogg ...)
#   ./launch/demo.sh --audio-dir DIR    trains on any folder of recordings, not on those from Debian
#   ... --directory DIR                 results of the training there, not in runs/demo or runs/demo-NAME
#   ... --no-training                   ends when the page of the models that come with it is there
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"

usage="usage: ./launch/demo.sh [--prompt FILE] [--audio-dir DIR] [--directory DIR] [--no-training]"
audio_dir="" prompt="" training=yes
results=()
value() { [ $# -ge 2 ] || die "$1: expected a value; $usage"; }
while [ $# -gt 0 ]; do
  case "$1" in
    --prompt)
      value "$@"
      [ -f "$2" ] || die "--prompt $2: no such file"
      prompt="$(realpath "$2")"
      shift
      ;;
    --audio-dir)
      value "$@"
      [ -d "$2" ] || die "--audio-dir $2: no such folder"
      audio_dir="$(cd "$2" && pwd)"
      shift
      ;;
    --directory)
      value "$@"
      results=(--directory "$2")
      shift
      ;;
    --no-training) training= ;;
    -h | --help)
      echo "$usage"
      exit
      ;;
    *) die "unknown argument $1; $usage" ;;
  esac
  shift
done
cd "$root"
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"

make_venv small
if [ -n "$prompt" ]; then
  prompts="$prompt" heard="runs/hear/$(basename "${prompt%.*}")" first=()
  licence="The prompt is a recording of your own."
else
  prompts=data/prompts heard=runs/hear/stories first=(--prompt-seconds 3)
  licence="Prompts: synthetic speech by hibari-tts (Apache-2.0), stories and voices that training never heard."
  echo "== six prompts by a synthesizer, voices that the models never heard: $prompts"
  "$PYTHON" -m tools.stories.prompts "$prompts"
fi
echo "== models/stories.zip goes on from there: $heard"
mkdir -p "$heard"
out="$heard"
[ -z "$prompt" ] || out="$heard/seed_0.wav"
# Its stage 3 adds noise rather than detail so far (docs/results/stories.md).
"$PYTHON" -m audiolm_jax continue "$prompts" ${first[@]+"${first[@]}"} --seconds 7 --out "$out" \
  --generation.coarse-only
echo "-- $SECONDS s since the start; play any file of $heard"
ear=()
if fetch_whisper data/whisper; then
  ear=(--recognizer data/whisper)
else
  echo "-- no recognizer could be fetched: the page has no transcripts" >&2
fi
"$PYTHON" -m audiolm_jax listen "$heard" ${ear[@]+"${ear[@]}"} --licence "$licence" --title "The models that come with audiolm_jax"
[ -n "$training" ] || exit 0

make_venv
if [ -z "$audio_dir" ]; then
  audio_dir="data/asterisk"
  echo "== recorded English speech, 25 minutes: $audio_dir (Debian packages, 11 MB)"
  fetch_asterisk "$audio_dir" en
fi
exec "$PYTHON" -m audiolm_jax demo --audio-dir "$audio_dir" ${results[@]+"${results[@]}"}
