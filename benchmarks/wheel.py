"""The wheel of this clone in clean environments: does it install, start and speak there?

python benchmarks/wheel.py python3.11 python3.12 python3.13 python3.14
python benchmarks/wheel.py python3.13 --bundle BUNDLE --extras serve,hub --json out.json

Builds the wheel, looks into it, and for each Python installs it with pip and its extras into an
environment of its own. There, away from the clone: seconds that `import audiolm_jax` takes beyond
an empty program (least of five), a prompt through `audiolm codec roundtrip` and `audiolm continue`,
and `audiolm serve` until it answers. Nothing that training alone needs may be there. Exit status 1
if any of it fails; the other Pythons are tried all the same. Standard library alone: any Python
runs it.
"""

import argparse
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("audiolm_jax", "configs", "pyproject.toml", "setup.cfg", "setup.py", "README.md")
# Data files that no import misses.
INSIDE = (
    "audiolm_jax/py.typed",
    "audiolm_jax/serve/static/page.html",
    "audiolm_jax/evaluation/page/templates/",
    "audiolm_jax/configs/stories/codec.py",
)
TRAINING = ("tensorflow", "torch", "seqio", "apache_beam", "tensorflow_datasets")


def build(folder: Path) -> Path:
    """The wheel, built from a copy."""
    source = folder / "source"
    source.mkdir()
    for name in (*SOURCES, "LICENSE"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-w", str(folder / "wheel"), str(source)], check=True)
    (wheel,) = (folder / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    for wanted in INSIDE:
        if not any(name.startswith(wanted) for name in names):
            sys.exit(f"{wheel.name}: holds no {wanted}")
    return wheel


def prompt(path: Path) -> None:
    """Three seconds of a hum, 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        tones = [(130 * k, 0.1 / k) for k in range(1, 9)]
        times = (n / 16_000 for n in range(48_000))
        sums = (sum(a * math.sin(2 * math.pi * f * t) for f, a in tones) for t in times)
        file.writeframes(b"".join(struct.pack("<h", round(20_000 * x)) for x in sums))


def timed(command: list[str], cwd: Path, env: dict[str, str]) -> float:
    """Seconds that a command takes; RuntimeError with its last words if it fails."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join(command[:3])} ...: status {done.returncode}: {words}")
    return time.perf_counter() - began


def import_seconds(python: str, cwd: Path, env: dict[str, str]) -> float:
    """Of `import audiolm_jax`, beyond an empty program."""

    def best(code: str) -> float:
        return min(timed([python, "-c", code], cwd, env) for _ in range(5))

    return best("import audiolm_jax") - best("pass")


def serve_seconds(audiolm: str, bundle: Path, cwd: Path, env: dict[str, str]) -> float:
    """Until the page answers."""
    began = time.perf_counter()
    command = [audiolm, "serve", "--models", str(bundle), "--port", "0"]
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        said = []
        try:
            for line in server.stdout:
                said.append(line.strip())
                if match := re.search(r"open (http://\S+)", line):
                    with urllib.request.urlopen(match[1]) as page:
                        if b"<html" not in page.read():
                            raise RuntimeError(f"audiolm serve: {match[1]} is no page")
                    return time.perf_counter() - began
        finally:
            server.terminate()
    raise RuntimeError(f"audiolm serve: ended ({said[-1:]})")


def environment(folder: Path) -> dict[str, str]:
    """Of a user who has set nothing."""
    kept = ("PATH", "HOME", "LANG", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return env | {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(folder / "jax")}


def install(program: str, wheel: Path, extras: str, folder: Path) -> float:
    """Seconds that pip takes, into FOLDER/venv."""
    env = environment(folder)
    timed([program, "-m", "venv", str(folder / "venv")], folder, env)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "-q"]
    # Who only speaks has no compiler.
    pip += ["--disable-pip-version-check", "--only-binary", ":all:"]
    return timed([*pip, f"{wheel}[{extras}]" if extras else str(wheel)], folder, env)


def measure(venv: Path, extras: str, bundle: Path, folder: Path) -> dict[str, float | str]:
    """What an environment that has the wheel does in an empty folder."""
    env = environment(folder)
    python, audiolm = (str(venv / "bin" / name) for name in ("python", "audiolm"))
    facts: dict[str, float | str] = {}
    versions = "import sys, jax; print(sys.version.split()[0], jax.__version__)"
    told = subprocess.run([python, "-c", versions], env=env, capture_output=True, text=True)
    facts["python"], facts["jax"] = told.stdout.split()
    absent = f"import importlib.util as u; assert not any(map(u.find_spec, {TRAINING!r}))"
    timed([python, "-c", absent], folder, env)
    facts["import"] = import_seconds(python, folder, env)
    prompt(folder / "prompt.wav")
    with zipfile.ZipFile(bundle) as packed:
        packed.extractall(folder / "bundle")
    (codec,) = (folder / "bundle").glob("*/codec")
    words = ["codec", "roundtrip", "prompt.wav", "--model", str(codec), "--out", "codec.wav"]
    facts["codec"] = timed([audiolm, *words], folder, env)
    words = ["continue", "prompt.wav", "--models", str(bundle), "--seconds", "1"]
    facts["continue"] = timed([audiolm, *words, "--out", "out.wav"], folder, env)
    facts["again"] = timed([audiolm, *words, "--out", "again.wav"], folder, env)
    if (folder / "out.wav").read_bytes() != (folder / "again.wav").read_bytes():
        raise RuntimeError("the same seed gave other bytes")
    if "serve" in extras.split(","):
        facts["serve"] = serve_seconds(audiolm, bundle, folder, env)
    return facts


def shown(fact: tuple[str, float | str]) -> str:
    """A name with its words or seconds."""
    name, value = fact
    return f"{name} {value:.2f} s" if isinstance(value, float) else f"{name} {value}"


def main() -> int:
    """Tries every Python; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", nargs="+", help="programs, such as python3.13")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/stories.zip")
    parser.add_argument("--extras", default="serve", help="of the package, with commas between")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, dict[str, float | str]] = {}
    with tempfile.TemporaryDirectory(prefix="audiolm_wheel_") as scratch:
        folder = Path(scratch)
        wheel = build(folder)
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes", flush=True)
        for number, program in enumerate(options.python):
            place = folder / str(number)
            try:
                place.mkdir()
                seconds = install(program, wheel, options.extras, place)
                measured = measure(place / "venv", options.extras, options.bundle.resolve(), place)
                facts = {"install": seconds, **measured}
            except (RuntimeError, OSError, ValueError) as error:
                facts = {"failed": str(error)}
            results[program] = facts
            shown = (
                f"{k} {x:.2f} s" if isinstance(x, float) else f"{k} {x}" for k, x in facts.items()
            )
            print(f"{program}: {', '.join(shown)}", flush=True)
            shutil.rmtree(place, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if any("failed" in facts for facts in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
