"""Whether one hears where windows and chunks meet: frames at seams beside all other frames.

python benchmarks/seams.py BUNDLE PROMPTS                 20 prompts of 3 s, continued by 60 s
python benchmarks/seams.py BUNDLE PROMPTS --json out.json

PROMPTS is a folder of recordings, of whose beginnings the first --count in their names' order are
continued. Between every two frames of 20 ms: the jump of the energy in dB, and the spectral flux,
the mean rise of the log magnitude of a bin, in dB. A seam is the border of two windows of the
coarse stage, or of two chunks of the fine stage within one. Frames below -60 dB of the loudest and
those next to them are left out: silence jumps by chance. Printed are quantiles, and the share of
seams that lie above 95 of 100 other frames; 5 % is what no seam at all would give.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.pipeline import Generator

PROMPT_SECONDS = 3.0
QUIET_DB = -60.0
QUANTILES = (0.05, 0.5, 0.95, 1.0)


def frame_changes(samples: np.ndarray, frame: int) -> np.ndarray:
    """[frames, 2]: jump of energy and spectral flux from the frame before, in dB; NaN for frames
    that are quiet or come after a quiet one."""
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    energy = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(frame), axis=1))
    levels = 20 * np.log10(spectra + 1e-4)
    jump = np.abs(np.diff(energy, prepend=energy[:1]))
    flux = np.maximum(np.diff(levels, axis=0, prepend=levels[:1]), 0).mean(1)
    is_quiet = energy < energy.max() + QUIET_DB
    is_quiet |= np.append(True, is_quiet[:-1])
    return np.where(is_quiet[:, None], np.nan, np.stack([jump, flux], axis=1))


def seam_frames(generator: Generator, there: int, total: int) -> tuple[list[int], list[int]]:
    """Codec frames at which windows begin, the first at the prompt's end, and chunks within one."""
    windows, chunks = [], []
    for window in generator.schedule.windows(there, total):
        windows.append(there)
        chunks += [there + start for start in window.starts[1:]]
        there += window.frames
    return windows, chunks


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", help="folder that `audiolm bundle` wrote")
    parser.add_argument("prompts", help="folder of recordings")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8, help="how many are made at once")
    parser.add_argument("--json", help="file to write the figures to")
    args = parser.parse_args()
    generator = Generator(load_bundle(args.bundle))
    hop = generator.bundle.codec.hop_samples
    files = sorted(p for p in Path(args.prompts).rglob("*") if p.suffix in (".flac", ".wav"))
    parts: dict[str, list[np.ndarray]] = {"windows": [], "chunks": [], "others": []}
    chosen = files[: args.count]
    prompts = [
        read_resampled(path, generator.sample_rate_hz, "soxr_hq", seconds=PROMPT_SECONDS)
        for path in chosen
    ]
    # Eight cost a CPU little more than one, and each is what it would be alone.
    results = []
    for first in range(0, len(chosen), args.batch):
        some = range(first, min(first + args.batch, len(chosen)))
        results += generator.continue_audio([prompts[i] for i in some], args.seconds, list(some))
        print(f"{len(results)} of {len(chosen)} made", flush=True)
    for path, result in zip(chosen, results, strict=True):
        changes = frame_changes(result.samples, hop)
        there = result.prompt_samples // hop
        windows, chunks = seam_frames(generator, there, len(result.codes))
        is_other = np.arange(len(changes)) > there
        is_other[windows + chunks] = False
        parts["windows"].append(changes[windows])
        parts["chunks"].append(changes[chunks])
        parts["others"].append(changes[is_other])
        print(f"{path.name}: {len(windows)} windows, {len(chunks)} chunks", flush=True)
    figures = {}
    for column, name in enumerate(("energy jump", "spectral flux")):
        values = {kind: np.concatenate(rows)[:, column] for kind, rows in parts.items()}
        values = {kind: x[~np.isnan(x)] for kind, x in values.items()}
        high = np.quantile(values["others"], 0.95)
        for kind, x in values.items():
            if not len(x):  # a window may be one chunk
                print(f"{name}, {kind}: no frames")
                continue
            quantiles = np.quantile(x, QUANTILES)
            above = float(np.mean(x > high))
            figures[f"{name}, {kind}"] = {
                "frames": len(x), "quantiles": quantiles.tolist(), "above": above
            }  # fmt: skip
            words = ", ".join(f"{q:.0%} {v:.1f}" for q, v in zip(QUANTILES, quantiles, strict=True))
            print(
                f"{name}, {kind} ({len(x)} frames): {words} dB; above the others' 95 %: {above:.1%}"
            )
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
