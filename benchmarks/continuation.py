"""A bundle as its user meets it: seconds to the first sound, cost by length, memory.

python benchmarks/continuation.py BUNDLE                          first sound, 10 s to 1 min
python benchmarks/continuation.py BUNDLE --seconds 60 600 --json out.json

Starts: a new Python loads the bundle and streams a continuation of 3 s of noise-like voice by 7 s;
once with an empty compilation cache, then twice with what the first left there. The first sound is
the first piece after the prompt. Growth: streams of the lengths given, one after the other in one
process after a first one that compiles; seconds of work for a second of sound, the part of the
longest over the shortest, and the most memory held after each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

PROMPT_SECONDS, SECONDS = 3.0, 7.0


def prompt(rate_hz: int) -> np.ndarray:
    """A tone of a voice's pitch, in syllables, with noise."""
    t = np.arange(round(PROMPT_SECONDS * rate_hz)) / rate_hz
    tone = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 12))
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(t))
    return (0.1 * tone * (1 + np.sin(2 * np.pi * 3 * t)) + noise).astype(np.float32)


def start(bundle: str) -> None:
    """In a process of its own: prints seconds to the first sound and to the end as JSON, and CPU
    seconds of all threads to the first sound."""
    began = time.perf_counter()
    model = load(bundle)
    pieces = model.stream(prompt(model.sample_rate_hz), SECONDS, 0, model.sample_rate_hz)
    next(pieces)
    loaded = time.perf_counter() - began
    next(pieces)
    first, cpu = time.perf_counter() - began, time.process_time()
    for _ in pieces:
        pass
    whole = time.perf_counter() - began
    found = {"prompt": loaded, "first sound": first, "whole": whole}
    print(json.dumps({"clock": found, "cpu": cpu}))


def load(bundle: str) -> Any:
    """The models of a bundle."""
    import audiolm_jax

    return audiolm_jax.load(bundle)


def measure_starts(bundle: str) -> dict[str, dict[str, float]]:
    """Of an empty cache and of a filled one."""
    rows = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        for name in ("empty cache", "second start", "third start"):
            began = time.perf_counter()
            command = [sys.executable, __file__, bundle, "--start"]
            out = subprocess.run(command, env=environment, check=True, capture_output=True)
            found = json.loads(out.stdout.splitlines()[-1])
            # Python and NumPy are imported before the clock of the process begins.
            imports = time.perf_counter() - began - found["clock"]["whole"]
            rows[name] = {key: value + imports for key, value in found["clock"].items()}
            times = ", ".join(f"{key} {value:.1f} s" for key, value in rows[name].items())
            print(f"{name}: {times}; {found['cpu']:.1f} of CPU to the first sound", flush=True)
            rows[name]["cpu to the first sound"] = found["cpu"]
    return rows


def measure_growth(bundle: str, lengths: list[float]) -> dict[str, dict[str, float]]:
    """Of one stream after the other."""
    model = load(bundle)
    rate_hz = model.sample_rate_hz
    sound = prompt(rate_hz)
    for _ in model.stream(sound, lengths[0], 0, rate_hz):
        pass
    rows = {}
    for seconds in lengths:
        began = time.perf_counter(), time.process_time()
        for _ in model.stream(sound, seconds, 1, rate_hz):
            pass
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows[f"{seconds:g} s"] = {
            "wall": wall / seconds, "cpu": cpu / seconds, "MiB": memory
        }  # fmt: skip
        print(
            f"{seconds:g} s of sound: {wall / seconds:.2f} s a second by the clock, "
            f"{cpu / seconds:.2f} of CPU, at most {memory:.0f} MiB",
            flush=True,
        )
    first, last = (rows[f"{seconds:g} s"]["cpu"] for seconds in (lengths[0], lengths[-1]))
    print(f"a second of the longest costs {last / first:.2f} of one of the shortest (CPU)")
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", help="folder that `audiolm bundle` wrote")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60])
    parser.add_argument("--json", help="file to write the figures to")
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.start:
        start(args.bundle)
        return
    rows = measure_starts(args.bundle) | measure_growth(args.bundle, args.seconds)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
