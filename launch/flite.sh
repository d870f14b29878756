#!/usr/bin/env bash
# Speech with known phone times for ABX: 170 sentences in four voices of the synthesiser flite (a
# Debian package), with alignments and item file, in data/flite. Takes a minute or two.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"
[ $# -eq 0 ] || die "takes no arguments; audiolm items flite --help shows other ways"

make_venv

flite="$(command -v flite || true)"
if [ -z "$flite" ]; then
  echo "== fetching the synthesiser flite (Debian packages)"
  rm -rf data/.flite
  fetch_debian "$root/data/.flite" flite libflite1 libasound2
  flite="$root/data/.flite/unpacked/usr/bin/flite"
  libraries="$(dirname "$(find "$root/data/.flite/unpacked" -name 'libflite.so*' | head -n 1)")"
  export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
"$PYTHON" -m audiolm_jax items flite configs/flite/sentences.txt --out data/flite --flite "$flite"
