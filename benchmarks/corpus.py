"""How well the synthetic stories are said: word errors and DNSMOS of each engine.

python benchmarks/corpus.py data/stories data/whisper              15 stories of each engine
python benchmarks/corpus.py data/stories data/whisper --stories 40 --json out.json

Stories are drawn by a hash of their paths, of all folders. Word errors are Whisper's (a folder in
CTranslate2's format) after both texts were normalized and homophones made equal, as in `audiolm
evaluate configs/stories/world.py`; 95 % intervals are over stories. DNSMOS is that of the package
speechmos (`pip install speechmos`), of the first 9 s of each.
"""

import argparse
import csv
import hashlib
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.evaluation.measures.bootstrap import bootstrap
from audiolm_jax.evaluation.measures.recognition import Recognizer
from audiolm_jax.evaluation.world.judge import errors_of
from audiolm_jax.evaluation.world.language import read_world

RATE_HZ = 16_000
MOS_SECONDS = 9.01  # what the model hears at once
MOS = ("ovrl_mos", "sig_mos", "bak_mos", "p808_mos")


def choose(folder: Path, count: int) -> dict[str, list[tuple[Path, str]]]:
    """By engine so many recordings with their transcripts."""
    with (folder / "metadata.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    rows.sort(key=lambda row: hashlib.sha256(row["path"].encode()).digest())
    chosen: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for row in rows:
        if len(chosen[row["engine"]]) < count:
            path = folder / row["path"]
            lines = (path.parent / "transcripts.txt").read_text(encoding="utf-8").splitlines()
            texts = dict(line.split(": ", 1) for line in lines)
            chosen[row["engine"]].append((path, texts[path.stem]))
    return dict(sorted(chosen.items()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stories", type=Path)
    parser.add_argument("whisper", type=Path)
    parser.add_argument("--stories", dest="count", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from speechmos import dnsmos

    recognizer = Recognizer(options.whisper, "en")
    world = read_world(options.stories / "world", recognizer.normalize)
    rows = []
    for engine, recordings in choose(options.stories, options.count).items():
        errors, heard = [], []
        for path, text in recordings:
            samples = read_resampled(path, RATE_HZ, "soxr_hq")
            errors.append(errors_of(world, text, recognizer(samples)))
            heard.append(dnsmos.run(samples[: round(MOS_SECONDS * RATE_HZ)], RATE_HZ))
        wrong, words = (
            np.array([getattr(x, name) for x in errors], float) for name in ("errors", "words")
        )
        rate = bootstrap(wrong, words, 0)
        means = {name: float(np.mean([x[name] for x in heard])) for name in MOS}
        rows.append({"engine": engine, "stories": len(errors), "words": int(words.sum())})
        rows[-1] |= {"wer": rate.mean, "low": rate.low, "high": rate.high, **means}
        print(
            f"{engine:8} {len(errors)} stories, {words.sum():.0f} words: WER {100 * rate.mean:.1f} "
            f"({100 * rate.low:.1f} to {100 * rate.high:.1f}) %, DNSMOS "
            + ", ".join(f"{name} {value:.2f}" for name, value in means.items())
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
