#!/usr/bin/env bash
# Installs the locked packages if need be, checks style and types, runs the default tests. Further
# arguments go to pytest: ./launch/test.sh -m slow. Coverage costs a quarter more time: ./launch/test.sh --cov
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"
make_venv
# Without bytecode each worker and each subprocess would compile every module again.
unset PYTHONDONTWRITEBYTECODE
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
# Files in their order: the slowest ones would otherwise come last, when one core is left idle.
exec "$PYTHON" -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations 10 "$@"
