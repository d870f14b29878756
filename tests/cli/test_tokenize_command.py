"""`audiolm tokenize` by several processes and by ones that are killed: always the same store."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.hosts import finish, flags, hosts

from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.main import main
from audiolm_jax.data.tokens.store import MANIFEST, TokenStore

TESTS = Path(__file__).parents[1]
CONFIG = """
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment():
    return TokenizeExperiment(
        directory="{folder}/alone", data=AudioDataConfig("{folder}/audio"),
        codec="{parts}/codec", semantic="{parts}/semantic",
        tokenize=TokenizeConfig(shards={shards}, batch_clips=4),
    )
"""


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def write_config(folder, bundle, files, shards):
    """Path of a config that tokenizes so many recordings."""
    (folder / "audio").mkdir()
    rng = np.random.default_rng(0)
    for number in range(files):
        noise = rng.normal(0, 0.1, rng.integers(6_000, 20_000)).astype(np.float32)
        write_wav(folder / "audio" / f"{number}.wav", noise, 16_000, None)
    parts = bundle.parent / "parts"
    path = folder / "tokens.py"
    path.write_text(CONFIG.format(folder=folder, parts=parts, shards=shards))
    return path


def command(config, directory, *more):
    words = ["tokenize", str(config), "--directory", str(directory), *more]
    return [sys.executable, "-m", "audiolm_jax", *words]


def test_workers_write_the_store_of_one(tmp_path, tiny_bundle, capsys):
    config = write_config(tmp_path, tiny_bundle, 6, 3)
    assert main(["tokenize", str(config)]) == 0
    shared = tmp_path / "shared"
    # Nobody else is there: a worker goes on with the shares of the others.
    assert main(["tokenize", str(config), "--directory", str(shared), "--worker", "1/2"]) == 0
    assert contents(shared) == contents(tmp_path / "alone")
    capsys.readouterr()
    assert main(["tokenize", str(config), "--worker", "2/2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_two_hosts_write_the_store_of_one(tmp_path, tiny_bundle):
    config = write_config(tmp_path, tiny_bundle, 12, 5)
    assert main(["tokenize", str(config)]) == 0
    shared = tmp_path / "shared"
    with hosts([command(config, shared, *words) for words in flags(2)], 1) as started:
        finish(started)
    assert contents(shared) == contents(tmp_path / "alone")
    with hosts([command(config, shared, *words) for words in flags(2)], 1) as started:
        finish(started)
    refused = [command(config, tmp_path / "no", *words, "--worker", "0/2") for words in flags(2)]
    with hosts(refused, 1) as started:
        assert "leave it out" in finish(started, 2)[0][1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_five_kills(tmp_path, tiny_bundle, workers):
    """Of one process that does it alone, or of either of two."""
    config, chance = write_config(tmp_path, tiny_bundle, 240, 60), random.Random(workers)
    assert main(["tokenize", str(config)]) == 0
    killed = tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"}

    def start(number, **pipes):
        words = ["--worker", f"{number}/{workers}"] if workers > 1 else []
        return subprocess.Popen(command(config, killed, *words), env=environment, **pipes)

    kills, there = 0, set()
    while kills < 5:
        processes = [start(number) for number in range(workers)]
        before = len(list(killed.glob("*.json"))) if killed.exists() else 0
        while len(list(killed.glob("*.json"))) < before + 2 * workers:
            assert all(process.poll() is None for process in processes)
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        if kills == 2 and workers == 1:
            second = start(0, stderr=subprocess.PIPE, text=True)
            _, said = second.communicate()
            if processes[0].poll() is None:
                assert second.returncode == 2
                assert "another process" in said
                assert len(said.splitlines()) == 1
                processes[0].kill()
        for process in processes:
            assert process.poll() is None, "ended before it was killed: more audio"
            process.kill()
            process.wait()
        kills += 1
        there.add(len(list(killed.glob("*.json"))))
        assert not (killed / MANIFEST).exists()
    assert len(there) > 1
    processes = [start(number) for number in range(workers)]
    assert [process.wait() for process in processes] == [0] * workers
    assert contents(killed) == contents(tmp_path / "alone")
    TokenStore.open(killed).verify(hashes=True)
