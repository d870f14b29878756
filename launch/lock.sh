#!/usr/bin/env bash
# Makes requirements.txt anew: the exact versions of setup.cfg's extras data, eval, demo, serve, hub and test, for every
# Python that the project runs on, told apart by environment markers. Versions in the file are kept as
# long as setup.cfg admits them; --upgrade takes the newest of all, --upgrade-package NAME of one.
#
#   ./launch/lock.sh [--upgrade]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"

python="$(choose_python)"
tools="$(mktemp -d)"
trap 'rm -rf "$tools"' EXIT
new_venv "$tools" "$python"
"$tools/bin/python" -m pip install -q --disable-pip-version-check uv

UV_CUSTOM_COMPILE_COMMAND="./launch/lock.sh" "$tools/bin/uv" pip compile -q setup.cfg \
  --extra data --extra eval --extra demo --extra serve --extra hub --extra test \
  --universal --python-version 3.11 \
  --no-emit-index-url --no-annotate \
  --output-file requirements.txt "$@"
