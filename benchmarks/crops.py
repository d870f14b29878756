"""Random crops of recordings: how many times faster than real time, a CPU second and a second.

    python benchmarks/crops.py SOURCE [SOURCE ...] [--crop-seconds 1 3 16] [--crops 512]

A source is a folder or a pack of it. Each twice, in turns: clips decoded as a whole, as files are
that cannot be sought in, and only what a crop needs. None keeps any clip. The ratio is of CPU
seconds in this one run.
"""

import argparse
import time

from audiolm_jax.data import crops as crops_module
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import scan
from audiolm_jax.data.sources import AudioDataConfig


def measure(crops: AudioCrops, steps: int, first: int) -> tuple[float, float]:
    """(CPU seconds, seconds) of so many batches."""
    stream = crops.batches(first)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(steps):
        next(stream)
    found = time.process_time() - cpu, time.perf_counter() - wall
    stream.close()
    return found


def main() -> None:
    """Prints a row for each source and length of a crop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--crop-seconds", type=float, nargs="+", default=[1.0, 3.0, 16.0])
    parser.add_argument("--crops", type=int, default=512)
    options = parser.parse_args()
    indices = {s: scan(AudioDataConfig(s, heldout_percent=0)) for s in options.sources}
    batch, can_seek = 32, crops_module.can_seek
    for seconds in options.crop_seconds:
        steps = options.crops // batch
        audio, times = steps * batch * seconds, {}
        for first in (0, steps):
            for source, index in indices.items():
                crops = AudioCrops(index, "train", seconds, batch, seed=0, cache_bytes=0)
                for name, seeks in (("whole", lambda *_: False), ("sought", can_seek)):
                    crops_module.can_seek = seeks
                    found = measure(crops, steps, first)
                    times[source, name] = min(found, times.get((source, name), found))
        for source in indices:
            of_source = {name: times[source, name] for name in ("whole", "sought")}
            print(
                f"{source}, crops of {seconds:g} s: "
                + ", ".join(
                    f"{name} {audio / cpu:.0f} x a CPU second, {audio / wall:.0f} x a second"
                    for name, (cpu, wall) in of_source.items()
                )
                + f"; {of_source['whole'][0] / of_source['sought'][0]:.1f} times less CPU"
            )


if __name__ == "__main__":
    main()
