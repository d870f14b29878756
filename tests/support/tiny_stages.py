"""Tiny untrained stages for tests of decoding, and prompts for them."""

import dataclasses

import jax
import numpy as np
from flax import nnx

from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.lm.decoder import make_decoder
from audiolm_jax.nn.state_arrays import flatten_shapes
from audiolm_jax.stages import BOS, FIRST_ID, SEP, StageConfig

STAGE = StageConfig(
    "coarse", semantic_clusters=6, codebook_size=7, levels=3, coarse_levels=2, crop_seconds=1.0
)
DECODER = DecoderConfig(
    layers=2,
    heads=2,
    head_width=4,
    width=12,
    ff_width=16,
    relative_buckets=6,
    relative_max_distance=8,
)


def make_stage(name, **decoder):
    """A config, and weights large enough that tokens are neither foregone nor all alike.

    From numpy: initialising with jax.random compiles for seconds.
    """
    is_timed = decoder.get("position") == "time"
    stage = dataclasses.replace(STAGE, name=name, deduplicate=not is_timed)
    config = StageModelConfig(stage, dataclasses.replace(DECODER, **decoder))
    return config, random_arrays(config, 3.0)


def random_arrays(config, bias=0.4):
    """Weights of deviation 0.4, those of the position table of `bias`."""
    state = nnx.eval_shape(lambda: nnx.state(make_decoder(config, jax.random.key(0))))
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(0.0, bias if name == "position.table" else 0.4, shape).astype(np.float32)
        for name, shape in flatten_shapes(state).items()
    }


def coarse_prompt(seed, known):
    rng = np.random.default_rng(seed)
    clusters = FIRST_ID + rng.integers(0, 6, rng.integers(1, 5))
    codes = STAGE.acoustic_start + 7 * (np.arange(known) % 2) + rng.integers(0, 7, known)
    return np.concatenate([[BOS], clusters, [SEP], codes]).astype(np.int32)
