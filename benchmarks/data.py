"""Token batches by both readers: examples a CPU-second, their ratio, memory, a jump to a far step.

python benchmarks/data.py                        stages of the paper on random tokens, minutes
python benchmarks/data.py --store runs/x/tokens --json out.json
python benchmarks/data.py --crop-seconds 10 10 10 --batch 256

Each reader has a process of its own; these take turns, so that other work on the machine slows
both. A CPU-second is one of that process, all of its threads, reading ahead between its turns
included; figures are medians over the turns. Memory is the most that the process held. The jump
goes from an open store to the first batch of step 1,000,000, in wall seconds, TensorFlow loaded.

Random tokens do not compress, as those of a codec hardly do: `--clips` clips of 10 to 35 s, as in
LibriSpeech, 12 levels of 1,024 codes, in a temporary folder.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.data.tokens.config import Reader
from audiolm_jax.data.tokens.loader import token_batches
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.data.tokens.provenance import (
    FORMAT_VERSION,
    PADDING_RULE,
    TokenProvenance,
    TokenSizes,
)
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.data.tokens.store import shard_name, write_manifest, write_shard
from audiolm_jax.stages import StageConfig

READERS: tuple[Reader, ...] = ("plain", "seqio")
STAGES = ("semantic", "coarse", "fine")
EDGE_SHARE = 0.2
SHARDS, FAR = 8, 1_000_000
SIZES = TokenSizes(
    semantic_clusters=1024, semantic_rate_hz=25, acoustic_rate_hz=50, levels=12, codebook_size=1024
)


def write_store(folder: Path, clips: int) -> None:
    """Random tokens of `clips` clips of 10 to 35 s."""
    provenance = TokenProvenance(
        "random", "random", 16000, "none", PADDING_RULE, "random", "random", SIZES, FORMAT_VERSION
    )
    rng = np.random.default_rng(0)

    def records(shard: int) -> Iterator[TokenRecord]:
        for number in range(shard, clips, SHARDS):
            units = int(rng.integers(250, 876))
            runs = np.repeat(rng.integers(0, 1024, units), rng.integers(1, 4, units))[:units]
            codes = rng.integers(0, 1024, (2 * units, 12)).astype(np.uint16)
            name = f"speaker{number % 40}/{number:06d}.flac"
            yield TokenRecord(name, codes, runs.astype(np.uint16), "random", "", "", 16000)

    for shard in range(SHARDS):
        write_shard(folder / shard_name("train", shard, SHARDS), records(shard), provenance)
    write_manifest(folder, provenance, {"train": SHARDS}, [])


def read(args: argparse.Namespace) -> None:
    """A reader of its own process: a turn a line of its input, then jump and memory."""
    reader, name, crop = args.read
    tokens = TokenMixture.open(args.store, verify=False)
    sizes = tokens.sizes
    stage = StageConfig(
        name, sizes.semantic_clusters, sizes.codebook_size, sizes.levels, crop_seconds=float(crop)
    )
    make = token_batches(tokens, stage, args.batch, 0, None, EDGE_SHARE, reader)
    stream = make(0)
    for _ in sys.stdin:
        print(time.process_time(), flush=True)  # all before is of the turn before
        for _ in range(args.batches):
            next(stream)
        print("done", flush=True)
    start = time.perf_counter()
    next(make(FAR))
    print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(args: argparse.Namespace, store: Path, name: str, crop: float) -> dict[str, Any]:
    """Of both readers of a stage, in turns."""
    words = [sys.executable, __file__, "--store", str(store), "--batch", str(args.batch)]
    words += ["--batches", str(args.batches), "--read"]
    readers = {
        reader: subprocess.Popen(
            [*words, reader, name, str(crop)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for reader in READERS
    }
    spent: dict[str, list[float]] = {reader: [] for reader in READERS}
    for _ in range(args.rounds + 2):
        for reader, process in readers.items():
            assert process.stdin
            assert process.stdout
            print("go", file=process.stdin, flush=True)
            spent[reader].append(float(process.stdout.readline()))
            process.stdout.readline()
    of_jump, of_memory = {}, {}
    for reader, process in readers.items():
        output, _ = process.communicate()
        of_jump[reader], of_memory[reader] = map(float, output.split())
    # Without the first turn, which loads libraries and fills what is read ahead.
    turns = {reader: np.diff(values)[1:] for reader, values in spent.items()}
    return {
        "crop_seconds": crop,
        "batch": args.batch,
        "per_cpu_second": {
            reader: args.batch * args.batches / statistics.median(values)
            for reader, values in turns.items()
        },
        "seqio_of_plain": statistics.median(turns["plain"] / turns["seqio"]),
        "jump_seconds": of_jump,
        "peak_mb": of_memory,
    }


def main() -> None:
    """Measures what the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="token store; None writes random tokens")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--crop-seconds", type=float, nargs=3, default=[30.0, 10.0, 3.0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=8, help="a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        read(args)
        return
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        store = args.store or Path(folder)
        if args.store is None:
            write_store(store, args.clips)
        for name, crop in zip(STAGES, args.crop_seconds, strict=True):
            figures = report[name] = measure(args, store, name, crop)
            ratio = figures["seqio_of_plain"]
            print(f"{name}, {crop:g} s, batch {args.batch}: seqio {ratio:.2f} of plain")
            for reader in READERS:
                rate, peak, jump = (
                    figures[key][reader] for key in ("per_cpu_second", "peak_mb", "jump_seconds")
                )
                print(
                    f"  {reader:5}  {rate:6.0f} examples a CPU-second, {peak:5.0f} MB, "
                    f"step {FAR} after {jump:.2f} s",
                    flush=True,
                )
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
