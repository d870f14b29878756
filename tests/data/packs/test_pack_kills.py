"""A pack whose writer is killed at any moment ends like one that is not, bit for bit."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm_jax.data.packs.manifest import PACK

ROOT = Path(__file__).parents[3]
SHARDS = 12


def start(source, out, *more, **pipes):
    command = [sys.executable, "-m", "audiolm_jax", "pack", str(source), "--out", str(out)]
    command += ["--shards", str(SHARDS), "--max-seconds", "7", *more]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_five_kills(tmp_path, seed):
    rng, source = np.random.default_rng(seed), tmp_path / "audio"
    source.mkdir()
    for number in range(40):
        sound = rng.uniform(-1, 1, (44100 * int(rng.integers(5, 40)), 2))
        soundfile.write(source / f"{number:02}.flac", sound, 44100)
    assert start(source, tmp_path / "whole").wait() == 0
    chance, kills, seen = random.Random(seed), 0, set()
    rates = ["--sample-rate-hz", "16000"] if seed else []
    if seed:
        assert start(source, tmp_path / "other", *rates).wait() == 0
    expected, killed = contents(tmp_path / ("other" if seed else "whole")), tmp_path / "killed"
    while kills < 5:
        process = start(source, killed, *rates)
        there = len(list(killed.glob("*.json"))) if killed.exists() else 0
        while process.poll() is None and not list(killed.glob(".*.array_record-*")):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.6))
        if kills == 2:  # another writer at the same time
            second = start(source, killed, *rates, stderr=subprocess.PIPE, text=True)
            _, said = second.communicate()
            if process.poll() is None:
                assert second.returncode == 2
                assert "another process" in said
                assert len(said.splitlines()) == 1
        assert process.poll() is None, "ended before it was killed: more audio"
        process.kill()
        process.wait()
        kills += 1
        seen.add(len(list(killed.glob("*.json"))) - there)
        assert not (killed / PACK).exists()
    print(f"shards finished between kills: {sorted(seen)}")
    assert start(source, killed, *rates).wait() == 0
    assert contents(killed) == expected
