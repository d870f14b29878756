"""Makes the corpus; launch/piano.sh calls it with the programs at hand."""

import argparse
import fcntl
import hashlib
import itertools
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from audiolm_jax.artifacts.atomic import write_json, write_text
from tools.piano.collections import COLLECTIONS, LEFT_OUT, Collection
from tools.piano.corpus import Prepared, Row, prepare, takes_of, write_take
from tools.piano.extract import music21_corpus
from tools.piano.midi import midi_bytes
from tools.piano.options import parse
from tools.piano.performance import STYLES, perform
from tools.piano.readme import README
from tools.piano.score import Bar, Note, Score
from tools.piano.sound import PIANOS

_BATCH = 4  # scores that are read before it is asked whether more are needed


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
        _claim(directory, options.seed, options.sample_rate_hz)
        _make(directory, options)


def _claim(directory: Path, seed: int, rate_hz: int) -> None:
    """A corpus has one seed, rate and set of rules: a run with others must not mix into it."""
    mine = {"seed": seed, "sample_rate_hz": rate_hz, "rules": rules_digest()}
    path = directory / "corpus.json"
    if path.exists():
        theirs = json.loads(path.read_text())
        if different := [name for name, value in mine.items() if theirs.get(name) != value]:
            sys.exit(f"error: {directory}: was made with another {different[0]}; move it away")
    else:
        write_json(path, mine)
    for scratch in directory.glob("*/*/.????????????.*"):  # of a run that was killed
        scratch.unlink()


def rules_digest() -> str:
    """SHA-256 over how a small score is played in every style."""
    pitches = (60, 64, 67, 72, 71, 67, 65, 62)
    notes = tuple(Note(place / 2, 0.5, pitches[place % 8], 0) for place in range(64))
    bars = tuple(Bar(4.0 * number, 1.0) for number in range(8))
    score = Score("", "", "C major", notes, bars)
    played = (midi_bytes(perform(score, style, (name,))) for name, style in STYLES.items())
    return hashlib.sha256(b"".join(played)).hexdigest()


def _make(directory: Path, options: argparse.Namespace) -> None:
    began = time.monotonic()
    corpus, cache = music21_corpus(), options.tools / "scores"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=spawn) as pool:
        chosen: list[Prepared] = []
        skipped: dict[str, str] = {}
        for collection in COLLECTIONS:
            seconds = options.hours * 3600 * collection.share
            mine, reasons = _choose(pool, collection, seconds, corpus, cache, options.seed)
            chosen += mine
            skipped |= reasons
            hours = sum(take.seconds for take in mine) / 3600
            print(f"== {collection.name}: {len(mine)} performances, {hours:.2f} h", flush=True)
        _play(pool, directory, chosen, options)
    rows = sorted(take.row(directory) for take in chosen)
    write_text(directory / "metadata.tsv", _table(Row._fields, rows))
    left_out = sorted([*skipped.items(), *LEFT_OUT.items()])
    write_text(directory / "skipped.tsv", _table(("score", "reason"), left_out))
    write_text(directory / "README", _readme(rows, options.sample_rate_hz))
    print(_summary(directory, rows, skipped, time.monotonic() - began))


def _choose(
    pool: ProcessPoolExecutor,
    collection: Collection,
    seconds: float,
    corpus: Path,
    cache: Path,
    seed: int,
) -> tuple[list[Prepared], dict[str, str]]:
    """The first takes that last so long, and the scores that are not played, with the reason."""
    chosen: list[Prepared] = []
    skipped: dict[str, str] = {}
    takes, total = takes_of(collection, corpus, seed), 0.0
    while batch := list(itertools.islice(takes, _BATCH)):
        wanted = [take for take in batch if take.score not in skipped]
        futures = [pool.submit(prepare, take, corpus, cache, seed) for take in wanted]
        for take, future in zip(wanted, futures, strict=True):
            found = future.result()
            if isinstance(found, str):
                skipped[take.score] = found
            elif found is not None and total < seconds:
                chosen.append(found)
                total += found.seconds
        if total >= seconds or len(skipped) == len(collection.paths(corpus)):
            break
    return chosen, skipped


def _play(
    pool: ProcessPoolExecutor,
    directory: Path,
    chosen: Sequence[Prepared],
    options: argparse.Namespace,
) -> None:
    """Plays what is missing in several processes; the files do not depend on their number."""
    missing = [take for take in chosen if not (directory / take.path).exists()]
    print(f"== {len(missing)} of {len(chosen)} performances to play", flush=True)
    began = reported = time.monotonic()
    where = (options.tools / "soundfonts", options.fluidsynth, options.sample_rate_hz)
    futures = [pool.submit(write_take, directory, take, *where) for take in missing]
    for done, future in enumerate(as_completed(futures), 1):
        future.result()
        now = time.monotonic()
        if now - reported > 30 or done == len(futures):
            left = (now - began) / done * (len(futures) - done)
            print(f"   {done * 100 // len(futures)} %, {left / 60:.0f} min left", flush=True)
            reported = now


def _readme(rows: Sequence[Row], rate_hz: int) -> str:
    licences = {f"{row.collection}: {row.licence}": None for row in rows}
    return README.format(
        rate_hz=rate_hz,
        licences="\n".join(f"    {line}" for line in licences),
        pianos="\n".join(f"    {p.name} ({p.file}): {p.licence}" for p in PIANOS),
    )


def _summary(directory: Path, rows: Sequence[Row], skipped: dict[str, str], seconds: float) -> str:
    lines = [f"{directory}: synthetic piano; see {directory / 'README'}"]
    for part in sorted({row.split for row in rows}):
        mine = [row for row in rows if row.split == part]
        hours = sum(float(row.seconds) for row in mine) / 3600
        pieces = len({row.piece for row in mine})
        lines.append(f"  {part:10} {hours:7.2f} h, {len(mine)} performances of {pieces} pieces")
    reasons = Counter(reason.split(":")[0] for reason in skipped.values())
    for reason, count in reasons.most_common():
        lines.append(f"  skipped {count}: {reason} (skipped.tsv)")
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    lines.append(f"  made in {seconds:.0f} s; {size / 1e6:.0f} MB on disk")
    return "\n".join(lines)


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [header, *rows]
    return "".join("\t".join(str(cell) for cell in line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
