"""ABX beside fastabx on the same features and items: equal errors, and the time each takes.

    ./launch/flite.sh
    python benchmarks/abx.py --audio-dir data/flite --python VENV/bin/python

VENV has Python 3.12 or newer with `pip install fastabx`. Nothing is subsampled, since the two draw
by different lots. fastabx runs in a process of its own; its seconds are those of `Dataset`, `Task`
and `Score`, imports left out, ours those of `abx_score`, once with and once without compilation.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from audiolm_jax.data.alignments import find_recordings
from audiolm_jax.evaluation.abx.config import SLICINGS, AbxConfig, FeatureConfig
from audiolm_jax.evaluation.abx.features import features_of
from audiolm_jax.evaluation.abx.items import read_items, write_items
from audiolm_jax.evaluation.abx.score import abx_score
from audiolm_jax.evaluation.abx.segments import FrameFeatures, frame_range

CODES = 100
CHILD = """
import json, sys, time
import numpy, torch
from fastabx import Dataset, Score, Task

item, root, rate, mode = sys.argv[1:]
begin, used = time.perf_counter(), time.process_time()
load = lambda path: torch.from_numpy(numpy.load(path))
dataset = Dataset.from_item(item, root, rate, feature_maker=load, extension=".npy")
context = ["prev-phone", "next-phone"]
if mode == "within":
    task = Task(dataset, on="#phone", by=[*context, "speaker"])
else:
    task = Task(dataset, on="#phone", by=context, across=["speaker"])
error = Score(task, "angular").collapse(levels=[("next-phone", "prev-phone"), "speaker"])
print(json.dumps([error, time.perf_counter() - begin, time.process_time() - used, len(task)]))
"""


def feature_sets(audio_dir: Path, items: list) -> dict[str, FrameFeatures]:
    """MFCC, their means over four frames, and codes of these: vectors and discrete, two rates."""
    recordings = find_recordings(audio_dir, sorted({item.file for item in items}))
    mfcc = next(iter(features_of(FeatureConfig("MFCC", "mfcc"), recordings, 8).values()))
    slow = {}
    for file, frames in mfcc.by_file.items():
        padded = np.pad(frames, ((0, -len(frames) % 4), (0, 0)), "edge")
        slow[file] = padded.reshape(-1, 4, frames.shape[1]).mean(axis=1)
    everything = np.concatenate(list(slow.values()))
    chosen = np.random.default_rng(0).choice(len(everything), CODES, replace=False)
    codebook = everything[chosen]
    norms = (codebook**2).sum(axis=1)
    codes = {
        file: np.argmin(norms - 2 * frames @ codebook.T, axis=1) for file, frames in slow.items()
    }
    rate = Fraction(25)
    return {
        "MFCC, 100 Hz": mfcc,
        "means of 4 frames, 25 Hz": FrameFeatures(slow, rate),
        "codes, centroids": FrameFeatures(codes, rate, CODES, codebook),
        "codes, ids": FrameFeatures(codes, rate, CODES),
    }


def as_vectors(features: FrameFeatures) -> dict[str, np.ndarray]:
    """What fastabx compares: the vectors that codes stand for, one-hot if there are none."""
    if features.codes is None:
        return dict(features.by_file)
    book = np.eye(features.codes) if features.codebook is None else features.codebook
    return {file: book[codes].astype(np.float32) for file, codes in features.by_file.items()}


def run_fastabx(python: str, item: Path, root: Path, rate: Fraction, mode: str, slicing: str):
    """(error, seconds, CPU seconds, cells)."""
    environment = dict(os.environ, TQDM_DISABLE="1")
    environment["FASTABX_WITH_LIBRILIGHT_BUG"] = str(int(slicing == "legacy"))
    environment.pop("PYTHONPATH", None)
    command = [python, "-c", CHILD, str(item), str(root), str(rate), mode]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints one line for each kind of features and slicing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio-dir", type=Path, default=Path("data/flite"))
    parser.add_argument("--python", required=True, help="with fastabx installed")
    parser.add_argument("--only", default="", help="features whose name holds this")
    arguments = parser.parse_args()
    items = read_items(arguments.audio_dir / "triphones.item")
    config = AbxConfig(max_size_group=None, max_x_across=None)
    print("features, slicing: within, across in %; seconds (CPU seconds)")
    for name, features in feature_sets(arguments.audio_dir, items).items():
        if arguments.only not in name:
            continue
        # fastabx refuses items without a frame.
        kept = [
            item
            for item in items
            if np.greater(*frame_range(item.onset, item.offset, features.rate_hz, "legacy")[::-1])
        ]
        for slicing in SLICINGS:
            runs = []
            for _ in range(2):
                begin, used = time.perf_counter(), time.process_time()
                score = abx_score(kept, features, slicing, config)
                runs.append((time.perf_counter() - begin, time.process_time() - used))
            ours = [100 * mode.error for mode in (score.within, score.across)]
            times = ", then ".join(f"{seconds:.1f} ({cpu:.1f})" for seconds, cpu in runs)
            print(f"{name}, {slicing}: ours    {ours[0]:.4f} {ours[1]:.4f}; {times}", flush=True)
            with tempfile.TemporaryDirectory() as scratch:
                root = Path(scratch)
                write_items(root / "kept.item", kept)
                for file, vectors in as_vectors(features).items():
                    (root / file).parent.mkdir(parents=True, exist_ok=True)
                    np.save(root / f"{file}.npy", vectors)
                theirs = [
                    run_fastabx(
                        arguments.python, root / "kept.item", root, features.rate_hz, mode, slicing
                    )
                    for mode in ("within", "across")
                ]
            (one, seconds, cpu, cells), (two, more, more_cpu, more_cells) = theirs
            print(
                f"{name}, {slicing}: fastabx {100 * one:.4f} {100 * two:.4f}; "
                f"{seconds + more:.1f} ({cpu + more_cpu:.1f}); cells {cells} {more_cells}, ours "
                f"{score.within.cells} {score.across.cells}",
                flush=True,
            )
            worst = max(abs(ours[0] - 100 * one), abs(ours[1] - 100 * two))
            print(f"{name}, {slicing}: difference at most {worst:.4f} points", flush=True)


if __name__ == "__main__":
    main()
