"""What an index of many recordings costs: seconds to open it, memory, and the way to any crop.

    python benchmarks/index.py [--files 10000 100000 1000000 4000000] [--pack]

Of a folder, or of a pack, a record each. The recordings are made up, 2 to 30 s long, of 1,000
speakers; each number of them is opened in a process of its own, as every command opens it. Nothing
is decoded. Memory is what the process holds beyond its imports, and the most that it held, with and
without them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.file_facts import FACTS, read_table, write_table
from audiolm_jax.data.file_index import FILES, INDEX_FOLDER, KNOWN, with_about
from audiolm_jax.data.index import scan
from audiolm_jax.data.packs import manifest
from audiolm_jax.data.sources import AudioDataConfig


def write_index(folder: Path, count: int) -> None:
    """The index of `count` recordings that are nowhere."""
    rng = np.random.default_rng(0)
    speakers = [f"speaker{n:04d}" for n in range(1000)]
    who = np.sort(rng.integers(1000, size=count))
    empty = pa.array([""] * count).dictionary_encode()
    columns = {
        "path": pa.array([f"{speakers[s]}/recording_{n:08d}.flac" for n, s in enumerate(who)]),
        "size": pa.array(rng.integers(1 << 16, 1 << 20, count)),
        "time": pa.array(rng.integers(1 << 60, size=count)),
        "reason": pa.array([""] * count),
        "samples": pa.array(rng.integers(32_000, 480_000, count)),
        "rate_hz": pa.array(np.full(count, 16_000, np.int32)),
        "channels": pa.array(np.ones(count, np.int16)),
        "codec": pa.array(["flac"] * count).dictionary_encode(),
        "sha256": pa.array([rng.bytes(32) for _ in range(count)], FACTS.field("sha256").type),
        "energy": pa.array(np.full(count, 1e4)),
        "notes": pa.array([[]] * count, FACTS.field("notes").type),
        **dict.fromkeys(KNOWN, empty),
        "speaker": pa.DictionaryArray.from_arrays(who.astype(np.int32), speakers),
        "text": pa.array([""] * count, pa.large_string()),
        "more": pa.array([""] * count),
    }
    (folder / INDEX_FOLDER).mkdir()
    about = {"folders": {}, "lists": [], "left_out": [], "suffixes": [], "odd": []}
    schema = with_about(about | {"undecoded": []})
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    write_table(folder / INDEX_FOLDER / FILES, table)


def as_pack(folder: Path, shards: int = 1024) -> None:
    """Makes a pack of an index: its tables, and shards without anything."""
    table = read_table(folder / INDEX_FOLDER / FILES)
    write_table(folder / manifest.FILES, table)
    count = len(table)
    shard, position = np.divmod(np.arange(count), -(-count // shards))
    columns = {
        "file": np.arange(count),
        "start": np.zeros(count, np.int64),
        "samples": table["samples"].to_numpy(),
        "shard": shard,
        "position": position,
        "bytes": table["size"].to_numpy(),
    }
    schema = manifest.RECORD_COLUMNS
    arrays = {name: pa.array(x, schema.field(name).type) for name, x in columns.items()}
    codes = pa.array(np.zeros(count, np.int8))
    arrays["encoding"] = pa.DictionaryArray.from_arrays(codes, ["flac16"])
    records = pa.table([arrays[name] for name in schema.names], schema=schema)
    write_table(folder / manifest.RECORDS, records)
    known = []
    for number, records_there in enumerate(np.bincount(shard).tolist()):
        (folder / f"{number}").touch()
        known.append({"name": f"{number}", "bytes": 0, "sha256": "", "records": records_there})
    facts = {
        "fingerprint": "none",
        "rules": {},
        "conversion": "",
        "splits": {"train": {"shards": known}},
    }
    manifest.write_manifest(folder, facts)


def measure(folder: str) -> dict[str, float]:
    """Opens it and asks for crops, in this process."""
    process = psutil.Process()
    before = process.memory_info().rss
    start, cpu = time.perf_counter(), time.process_time()
    index = scan(AudioDataConfig(folder, heldout_percent=1))
    opened, cpu = time.perf_counter() - start, time.process_time() - cpu
    crops = AudioCrops(index, "train", 3.0, 256, seed=0)
    found = {"clips": len(index.clips), "open, s": opened, "open, CPU s": cpu}
    for name, step in (("first batch, ms", 0), ("batch of step 1,000,000, ms", 1_000_000)):
        start = time.perf_counter()
        clips = [crops.locate(step * 256 + row) for row in range(256)]
        _ = [index.of("train")[number].path for number, _, _ in clips[:1]]
        found[name] = (time.perf_counter() - start) * 1000
    found["memory, MB"] = (process.memory_info().rss - before) / 1e6
    found["highest, MB"] = _highest() - before / 1e6
    found["of the process, MB"] = _highest()
    start = time.perf_counter()
    _ = index.fingerprint
    found["fingerprint, s"] = time.perf_counter() - start
    again = scan(AudioDataConfig(folder, heldout_percent=1))
    start = time.perf_counter()
    _ = again.fingerprint
    found["and again, s"] = time.perf_counter() - start
    return found


def _highest() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("VmHWM")) * 1024 / 1e6


def main() -> None:
    """Prints a row for each number of recordings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, nargs="+", default=[10**4, 10**5, 10**6, 4 * 10**6])
    parser.add_argument("--pack", action="store_true")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(measure(options.folder)))
        return
    for number, count in enumerate(options.files):
        with tempfile.TemporaryDirectory() as folder:
            write_index(Path(folder), count)
            if options.pack:
                as_pack(Path(folder))
            command = [sys.executable, __file__, "--folder", folder]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        if not number:
            print(" | ".join(found))
        shown = (f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value in found.values())
        print(" | ".join(shown), flush=True)


if __name__ == "__main__":
    main()
