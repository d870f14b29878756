"""What `audiolm evaluate` measures of the parts of a bundle."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from support.tiny_models import DECODER, random_arrays

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.evaluation.bundle import heldout
from audiolm_jax.generation.bundle import StageModel
from audiolm_jax.lm.config import KIND, StageModelConfig
from audiolm_jax.lm.decoder import make_decoder
from audiolm_jax.stages import StageConfig, build_sequence
from audiolm_jax.types import TokenBatch

STAGE = StageConfig("semantic", 8, 4, levels=2, coarse_levels=1, crop_seconds=1.0)


def test_a_stage_trained_by_the_tpu_kernel_is_judged_anywhere(monkeypatch):
    rng = np.random.default_rng(0)
    clips = [rng.permutation(8)[None].repeat(3, 0).ravel()[:20] for _ in range(6)]
    sequences = [build_sequence(clip, np.zeros((40, 2), int), True, STAGE) for clip in clips]
    rows = np.stack([sequence.tokens for sequence in sequences])
    ones = np.ones_like(rows[:, 1:])
    ends = (rows[:, 1:] == rows[:, -1:]).astype(np.int32)
    batch = TokenBatch(rows[:, :-1], rows[:, 1:], ones.astype(np.float32), ends)
    store = object.__new__(TokenStore)
    store.directory = Path("store")
    other = object.__new__(TokenStore)
    asked = []

    def batches_of(mixture):
        assert mixture.stores == (other,)
        return lambda: iter([batch])

    def of(self, split, config):
        asked.append((self, split))
        return sequences

    monkeypatch.setattr(TokenStore, "sequences", of)
    monkeypatch.setattr(heldout, "heldout_batches", lambda mixture, *sizes: batches_of(mixture))

    def judge(attention):
        config = StageModelConfig(STAGE, dataclasses.replace(DECODER, attention=attention))
        arrays = random_arrays(lambda: make_decoder(config, jax.random.key(0)), 0)
        folder = ModelFolder(KIND, {}, arrays, "0" * 64, {})
        return heldout.measure_likelihood(StageModel(config, folder), store, other)

    assert judge("flash") == judge("blocks")
    assert set(asked) == {(store, "train"), (other, "heldout")}
