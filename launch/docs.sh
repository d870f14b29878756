#!/usr/bin/env bash
# Builds the documentation as a site that needs no network: runs/site/index.html. Any warning, dead link or
# page that is not listed in docs/README.md is an error. Installs the extra `docs` into runs/.docs, once.
#
#   ./launch/docs.sh [OUT]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"
[ $# -le 1 ] || die "usage: ./launch/docs.sh [OUT]"

folder="runs/.docs"
python="$(choose_python)"
same_python "$folder" "$python"
sum="$( ("$python" --version; cat requirements.txt setup.cfg) | sha256 | cut -d' ' -f1)"
if [ "$(cat "$folder/docs.sha256" 2>/dev/null || true)" != "$sum" ]; then
  echo "== installing the extra docs for $("$python" --version) into $folder (a minute or two, once)"
  rm -rf "$folder/venv"
  new_venv "$folder/venv" "$python"
  "$folder/venv/bin/python" -m pip install -q --disable-pip-version-check -c requirements.txt -e ".[docs]" \
    || die "pip could not install the extra docs"
  echo "$sum" >"$folder/docs.sha256"
fi
export JAX_PLATFORMS=cpu
exec "$folder/venv/bin/python" -m tools.site.build "${1:-runs/site}"
