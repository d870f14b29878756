"""Encoding audio loads nothing of training; configs load nothing of either."""

import subprocess
import sys

import pytest

HEAVY = {"optax", "orbax", "torch", "tensorflow", "sklearn", "librosa", "joblib"}
ENCODE = """
from flax import nnx  # loads optax itself: what counts is what comes on top
import sys
before = set(sys.modules)
from pathlib import Path
import numpy as np
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder, load_semantic_tokenizer
from audiolm_jax.types import AudioBatch
audio = AudioBatch.from_clips([np.sin(np.arange(8000) / 50).astype(np.float32)])
parts = Path(sys.argv[1])
encoder = load_frame_encoder(parts / "encoder")
assert encoder.features(audio, encoder.layers[-1])[0].any()
assert load_semantic_tokenizer(parts / "semantic").encode(audio).lengths[0] == 13
print(*set(sys.modules) - before)
"""
CONFIGS = """
import sys
import audiolm_jax.tokenizers.semantic.hubert.config
import audiolm_jax.tokenizers.semantic.kmeans.config
import audiolm_jax.tokenizers.semantic.w2v_bert.config
import audiolm_jax.tokenizers.semantic.w2v_bert2.config
print(*sys.modules)
"""


def modules_after(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_encoding_loads_nothing_of_training(tiny_bundle):
    loaded = modules_after(ENCODE, tiny_bundle.parent / "parts")
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()
    own = [name for name in loaded if name.startswith("audiolm_jax.")]
    assert "audiolm_jax.tokenizers.semantic.w2v_bert.model" in own
    assert [name for name in own if name.startswith("audiolm_jax.training")] == []
    last = {name.rsplit(".", 1)[1] for name in own}
    assert (
        last & {"losses", "train", "fit", "passes", "seeding", "feature_store", "reader"} == set()
    )


@pytest.mark.parametrize("module", ["jax", "flax", *HEAVY])
def test_configs_load_nothing_heavy(module, config_modules):
    assert module not in config_modules


@pytest.fixture(scope="module")
def config_modules():
    return {name.split(".")[0] for name in modules_after(CONFIGS)}
