#!/usr/bin/env bash
# Two hours of recorded speech in five languages, one voice each, with transcripts: the Debian
# packages of Asterisk's sounds (55 MB; licences in data/asterisk_voices/COPYRIGHT). Run again after
# an interruption.
#
#   ./launch/asterisk.sh                data/asterisk_voices/<voice>/
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
[ $# -eq 0 ] || die "unknown argument $1; usage: ./launch/asterisk.sh"

fetch_asterisk data/asterisk_voices en es fr it ru
echo "$root/data/asterisk_voices: $(find "$root/data/asterisk_voices" -name '*.g722' | wc -l) recordings"
