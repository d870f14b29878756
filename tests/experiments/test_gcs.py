"""The whole road with everything in a bucket, on two processes, against the same on folders."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_gcs import BUCKET, fake_gcs
from support.tiny_models import voice
from support.tiny_runs import BUNDLED, write_configs

from audiolm_jax.audio.files import write_wav

TESTS = Path(__file__).parents[1]
LIMIT = 600  # seconds after which processes that hang are killed
STAGES = ("semantic_lm", "coarse_lm", "fine_lm")
READ = "import sys; from audiolm_jax.artifacts.storage import at\n"
READ += "sys.stdout.buffer.write(at(sys.argv[1]).read_bytes())"
COPY = "import sys; from audiolm_jax.artifacts.storage import at, upload\n"
COPY += "upload(at(sys.argv[1]), at(sys.argv[2]))"


def finish(commands, environment):
    """Standard output of processes that run side by side."""
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for command in commands
    ]
    try:
        printed = [process.communicate(timeout=LIMIT) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert not any(process.returncode for process in started), printed
    return [out for out, _ in printed]


class Road:
    """The commands, all with one environment."""

    def __init__(self, environment, folder, data, runs):
        folder.mkdir()
        self.environment, self.runs, self.data = environment, runs, data
        self.configs = write_configs(folder, data, runs=runs)

    def python(self, *words):
        return finish([[sys.executable, *map(str, words)]], self.environment)[0]

    def audiolm(self, *words):
        return self.python("-m", "audiolm_jax", *words).decode()

    def pair(self, *names):
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        paths = [f"{self.configs[name.partition(':')[0]]}{''.join(name.partition(':')[1:])}"
                 for name in names]  # fmt: skip
        worker = [sys.executable, str(TESTS / "support/road_worker.py"), f"localhost:{port}", "2"]
        # JAX writes its cache from the first process alone: it would find what the other compiles,
        # and Gloo waits for no more than 30 s.
        environment = {n: v for n, v in self.environment.items() if "COMPILATION_CACHE" not in n}
        return finish([[*worker, str(index), *paths] for index in range(2)], environment)

    def read(self, name):
        return self.python("-c", READ, f"{self.runs}/{name}")

    def go(self, *first):
        self.pair(*first, "encoder")
        self.audiolm("train", self.configs["kmeans"])
        self.audiolm("tokenize", self.configs["tokens"])
        self.pair(*STAGES)
        parts = [f"{self.runs}/{name}" for name in BUNDLED]
        self.audiolm("bundle", *parts, "--out", f"{self.runs}/bundle")
        self.audiolm("continue", f"{self.data}/clip_3.wav", "--models", f"{self.runs}/bundle",
                     "--generation.context-seconds", "0.4", "--seconds", "0.2",
                     "--prompt-seconds", "0.4", "--out", f"{self.runs}/out.wav")  # fmt: skip


@pytest.mark.slow  # two processes train six tiny models, twice
def test_a_bucket_gives_the_bits_of_folders(tmp_path):
    """And a codec that was interrupted there is the one that was not."""
    here = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "JAX_PLATFORMS": "cpu"}
    (tmp_path / "audio").mkdir()
    for i in range(24):
        sound = voice(1.0 + 0.1 * i, 80 + 15 * i, i)
        write_wav(tmp_path / "audio" / f"clip_{i}.wav", sound, 16000, None)
    local = Road(here, tmp_path / "local", str(tmp_path / "audio"), str(tmp_path / "local" / "r"))
    local.go("codec")
    with fake_gcs() as environment:
        (tmp_path / "empty").mkdir()
        address, scratch = f"gs://{BUCKET}/work", tmp_path / "scratch"
        there = here | environment | {"AUDIOLM_SCRATCH": str(scratch)}
        bucket = Road(there, tmp_path / "bucket", f"{address}/audio", f"{address}/runs")
        bucket.python("-c", COPY, tmp_path / "audio", f"{address}/audio")
        bucket.go("codec:1", "codec")
        names = ["tokens/MANIFEST.json", "out.wav", "semantic_lm/metrics.jsonl"]
        names += ["encoder/metrics.jsonl", "kmeans/metrics.jsonl", "fine_lm/metrics.jsonl"]
        names += [f"{part}/model/weights.safetensors" for part in ("codec", "encoder", *STAGES)]
        names += ["bundle/README.md", "bundle/fine_lm/weights.safetensors"]
        for name in names:
            assert bucket.read(name) == local.read(name), name
        assert f"gs://{BUCKET}" in bucket.read("codec/manifest.json").decode()
        assert not list(scratch.glob("*/work_*"))
        assert not (tmp_path / "bucket" / "r").exists()
