"""From a command to its first sound, of a corpus of many files that was indexed before.

    python benchmarks/start.py [--files 100000] [--few 100] [--keep FOLDER] [--commands ...]

Each command starts on a few files and on many, the same otherwise (tiny models), and is stopped
when it has its first batch of crops (`train`) or the sound of its first recording; `audit` ends by
itself. On the few it starts twice: what the second start saves is compiling, which JAX' cache then
has, and what the second takes is Python and imports; what the many take beyond that is for the
corpus' sake, the fingerprint of a new choice of clips included, which is remembered: the many start
twice too. CPU seconds are of all threads. `strace`, where there is one, counts the sound
files opened until then: those of that batch, and for `pack` ... those that are decoded together.

The files are links to 64 recordings of 0.5 s, a hundred a speaker. `--keep` has corpora and models
stay in a folder, or takes them from there.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOUNDS, SECONDS = 64, 0.5
COMMANDS = ("codec", "encoder", "kmeans", "tokenize", "pack", "prepare", "audit")


def write_corpus(folder: Path, count: int) -> None:
    """So many files, and their index."""
    from support.tiny_models import voice

    from audiolm_jax.audio.files import write_wav

    sounds = folder.with_name(f"{folder.name}_sounds")
    sounds.mkdir(parents=True)
    for number in range(SOUNDS):
        sound = voice(SECONDS, 80 + 5 * number, number)
        write_wav(sounds / f"{number}.wav", sound, 16_000, None)
    for first in range(0, count, 100):
        speaker = folder / f"speaker{first // 100:05d}"
        speaker.mkdir(parents=True)
        for number in range(first, min(first + 100, count)):
            os.link(sounds / f"{number % SOUNDS}.wav", speaker / f"{number:07d}.wav")
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "audiolm_jax", "index", folder], check=True)
    print(f"{count:,} files indexed in {time.perf_counter() - start:.0f} s", flush=True)


def write_models(folder: Path) -> None:
    """Untrained ones."""
    from support.tiny_models import write_codec, write_semantic

    write_codec(folder / "codec")
    write_semantic(folder / "semantic", folder / "encoder")


def words_of(command: str, corpus: Path, models: Path, scratch: Path) -> list[str]:
    """The command line."""
    from support.tiny_runs import write_configs

    configs, out = write_configs(scratch, corpus), str(scratch / "out")
    models_of = {
        "kmeans": ["--encoder", models / "encoder"],
        "tokens": ["--codec", models / "codec", "--semantic", models / "semantic"],
    }
    name = "tokens" if command == "tokenize" else command
    lines: dict[str, list[Any]] = {
        "pack": ["pack", corpus, "--out", out],
        "prepare": ["prepare", corpus, "--out", out, "--min-seconds", 0.3],
        "audit": ["audit", corpus],
    }
    verb = "tokenize" if command == "tokenize" else "train"
    if command not in lines:
        lines[command] = [verb, configs[name], "--directory", out, *models_of.get(name, ())]
    return [str(word) for word in lines[command]]


def child(words: list[str]) -> None:
    """Runs a command in this process up to its first sound."""
    started = float(os.environ["STARTED"])

    def stop() -> None:
        found = {"wall": time.time() - started, "cpu": time.process_time()}
        Path(os.environ["FOUND"]).write_text(json.dumps(found))
        os._exit(0)

    from audiolm_jax.audio import files

    decode = files.iter_audio
    is_crops = words[0] == "train" and "kmeans" not in words[1]

    def first_file(*args: Any, **options: Any) -> Any:
        try:
            yield from decode(*args, **options)
        finally:  # who has enough closes it
            if not is_crops:
                stop()

    files.iter_audio = first_file  # before whoever imports it
    if is_crops:
        from audiolm_jax.data.crops import AudioCrops

        batch: Callable[..., Any] = AudioCrops._batch

        def first_batch(*args: Any) -> Any:
            batch(*args)
            stop()

        AudioCrops._batch = first_batch  # type: ignore[method-assign]
    from audiolm_jax.cli.main import main as audiolm

    if status := audiolm(words):
        sys.exit(status)
    stop()


def measure(command: str, corpus: Path, models: Path) -> tuple[float, float, int]:
    """CPU seconds, seconds and sound files opened."""
    with tempfile.TemporaryDirectory() as name:
        scratch, log = Path(name), Path(name) / "opened"
        words = [sys.executable, __file__, "--child"]
        words += words_of(command, corpus, models, scratch)
        if tracer := shutil.which("strace"):
            only = ["-f", "--seccomp-bpf", "-e", "trace=open,openat", "-o", str(log)]
            words = [tracer, *only, *words]
        environment = os.environ | {"STARTED": str(time.time()), "FOUND": f"{name}/found"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        ended = subprocess.run(words, env=environment, check=False, **quiet)  # type: ignore[call-overload]
        if not (scratch / "found").exists():
            sys.exit(f"{command}: no sound came\n{ended.stderr.decode()[-2000:]}")
        found = json.loads((scratch / "found").read_text())
        opened = -1
        if tracer:
            paths = re.findall(r'"([^"]*\.wav)", O_RDONLY', log.read_text(errors="replace"))
            opened = len({path for path in paths if path.startswith(f"{corpus}/")})
    return found["cpu"], found["wall"], opened


def main() -> None:
    """Prints a row for each command: CPU seconds, and in brackets the seconds of that start."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    options = parser.parse_args()
    paths = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}:{paths}"
    sys.path += [str(ROOT), str(ROOT / "tests")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep.resolve() if options.keep else Path(scratch)
        os.environ |= {
            "JAX_COMPILATION_CACHE_DIR": f"{scratch}/cache",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        corpora = [folder / str(count) for count in (options.few, options.files)]
        for count, corpus in zip((options.few, options.files), corpora, strict=True):
            if not corpus.exists():
                write_corpus(corpus, count)
            (corpus / ".audiolm_index/remembered.json").unlink(missing_ok=True)
        if not (models := folder / "models").exists():
            write_models(models)
        print("CPU s (s) | compiling | imports | corpus, first | corpus, again | files opened")
        for command in options.commands:
            compiled, few = (measure(command, corpora[0], models) for _ in range(2))
            first, again = (measure(command, corpora[1], models) for _ in range(2))
            pairs = (compiled[0] - few[0], few[0], first[0] - few[0], again[0] - few[0])
            opened = f"{max(first[2], again[2]):,}" if again[2] >= 0 else "unknown"
            walls = (compiled, few, first, again)
            row = [f"{cpu:.1f} ({x[1]:.0f})" for cpu, x in zip(pairs, walls, strict=True)]
            print(" | ".join([command, *row, opened]), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        main()
