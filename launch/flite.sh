#!/usr/bin/env bash
# Speech with known phone times for ABX: 170 sentences in four voices of the synthesiser flite (a
# Debian package), with alignments and item file, in data/flite. Takes a minute or two.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"
[ $# -eq 0 ] || die "takes no arguments; audiolm items flite --help shows other ways"

make_venv

fetch_flite
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
"$PYTHON" -m audiolm_jax items flite configs/flite/sentences.txt --out data/flite --flite "$FLITE"
