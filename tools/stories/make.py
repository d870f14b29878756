"""Makes the corpus; launch/stories.sh calls it with the engines at hand."""

import argparse
import fcntl
import hashlib
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from audiolm_jax.artifacts.atomic import write_json
from tools.stories.corpus import CORPUS, Spoken, plan_fast, plan_slow, write_tellings
from tools.stories.engines import Voices, unpack_kokoro
from tools.stories.grammar import story
from tools.stories.options import parse
from tools.stories.spoken_pairs import plan_pairs
from tools.stories.world import Row, write_tables, write_world

_CHUNK = 8  # stories that a process speaks before it asks for more


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parse(arguments)
    directory: Path = options.directory
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"error: {directory}: another run is making this corpus")
        _claim(directory, options.seed)
        _make(directory, options)


def _claim(directory: Path, seed: int) -> None:
    """A corpus has one seed and one grammar: a run with others must not mix into it."""
    mine = {"seed": seed, "grammar": grammar_digest(100)}
    path = directory / "corpus.json"
    if path.exists() and (theirs := json.loads(path.read_text())) != mine:
        what = "seed" if theirs.get("seed") != seed else "grammar"
        sys.exit(f"error: {directory}: was made with another {what}; move it away")
    if not path.exists():
        write_json(path, mine)
    for scratch in directory.glob("*/*/.*.flac"):  # of a run that was killed
        scratch.unlink()


def grammar_digest(count: int) -> str:
    """SHA-256 over the first stories."""
    return hashlib.sha256("\n".join(story(seed).text for seed in range(count)).encode()).hexdigest()


def _make(directory: Path, options: argparse.Namespace) -> None:
    if not options.no_slow:
        unpack_kokoro(options.kokoro)
    voices = Voices(options.flite, options.kokoro)
    _speak(directory, plan_fast(options.hours, options.seed), voices, options.workers)
    # The corpus is complete, tables and all, before the slow part begins.
    pairs = plan_pairs(*write_world(directory, options.seed * CORPUS))
    rows = write_tables(directory)
    if not options.no_pairs:
        _speak(directory, pairs.texts, voices, options.workers)
        _speak(directory, pairs.phones, voices, options.workers, are_phones=True)
        pairs.write_table(directory)
    if not options.no_slow:
        slow = plan_slow(options.slow_minutes, options.seed, options.slow_voices)
        _speak(directory, slow, voices, options.workers)
        rows = write_tables(directory)
    print(_summary(directory, rows))


def _speak(
    directory: Path,
    tellings: Sequence[Spoken],
    voices: Voices,
    workers: int,
    are_phones: bool = False,
) -> None:
    """Speaks what is missing in several processes; the files do not depend on their number."""
    missing = [telling for telling in tellings if not (directory / telling.path).exists()]
    engines = "/".join(sorted({telling.speaker.engine for telling in tellings}))
    print(f"== {engines}: {len(missing)} of {len(tellings)} files to speak", flush=True)
    chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    began = reported = time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        futures = [
            pool.submit(_speak_chunk, directory, chunk, voices, are_phones) for chunk in chunks
        ]
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            now = time.monotonic()
            if now - reported > 30 or done == len(chunks):
                left = (now - began) / done * (len(chunks) - done)
                print(f"   {done * 100 // len(chunks)} %, {left / 60:.0f} min left", flush=True)
                reported = now


_voices_of_process: Voices | None = None


def _speak_chunk(
    directory: Path, tellings: Sequence[Spoken], voices: Voices, are_phones: bool
) -> None:
    global _voices_of_process
    if _voices_of_process is None:  # the engines stay loaded from chunk to chunk
        _voices_of_process = voices
    spoken = _voices_of_process
    write_tellings(directory, tellings, spoken.say_phones if are_phones else spoken.say)


def _summary(directory: Path, rows: list[Row]) -> str:
    lines = [f"{directory}: synthetic speech; see {directory / 'README'}"]
    for part in sorted({row.split for row in rows}):
        mine = [row for row in rows if row.split == part]
        hours = sum(float(row.seconds) for row in mine) / 3600
        speakers = len({row.speaker for row in mine})
        lines.append(f"  {part:22} {hours:7.2f} h, {len(mine)} stories, {speakers} speakers")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
