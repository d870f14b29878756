"""The same training on two devices, from the same seeds: what an accelerator is compared by."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.lm.train import program as stage_program
from audiolm_jax.stages import FIRST_ID, StageConfig
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    LossConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.train import program as codec_program
from audiolm_jax.training.state import TrainProgram
from audiolm_jax.types import AudioBatch, TokenBatch
from support.tiny_codecs import PLAIN

STAGE = StageConfig("semantic", semantic_clusters=32, crop_seconds=2.0)
DECODER = DecoderConfig(
    layers=2, heads=2, head_width=16, width=32, ff_width=64, compute_dtype="bfloat16"
)
ROWS, LENGTH = 8, 128


def stage(attention: str = "blocks", dtype: str = "float32") -> TrainProgram:
    """A tiny first stage."""
    decoder = dataclasses.replace(DECODER, attention=attention, compute_dtype=dtype)
    model = StageModelConfig(STAGE, decoder)
    return stage_program(model, StageTrainConfig(), optax.adam(1e-2))


def codec() -> TrainProgram:
    """A tiny codec, judged from its first step on."""
    train = SoundStreamTrainConfig(
        losses=LossConfig(spectral_windows=(64,), mel_bins=4),
        discriminators=DiscriminatorConfig(
            wave_scales=(2,), wave_width=4, wave_max_width=4,
            stft_width=1, stft_window=128, stft_hop=64,
        ),
    )  # fmt: skip
    return codec_program(PLAIN, train, optax.adam(1e-3, eps=1e-4), optax.sgd(1e-3))


def tokens(number: int) -> TokenBatch:
    """Sequences in which three of four units tell the next."""
    rng = np.random.default_rng(number)
    units = (rng.integers(0, 32, (ROWS, 1)) + 5 * np.arange(LENGTH + 1)) % 32
    other = rng.random(units.shape) < 0.25
    ids = (FIRST_ID + np.where(other, rng.integers(0, 32, units.shape), units)).astype(np.int32)
    weights = np.ones((ROWS, LENGTH), np.float32)
    return TokenBatch(ids[:, :-1], ids[:, 1:], weights, np.zeros((ROWS, LENGTH), np.int32))


def sounds(number: int) -> AudioBatch:
    """Tones."""
    rng = np.random.default_rng(number)
    pitch, time = rng.uniform(50, 300, (ROWS, 1)), np.arange(256)[None] / 1600
    samples = (0.3 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)
    return AudioBatch(samples, np.full(ROWS, 256, np.int32))


def losses(
    program: TrainProgram, batches: Any, device: jax.Device, steps: int, loss: str = "loss"
) -> np.ndarray:
    """Of each step, float64 [steps]; products of float32 in full."""
    # A GAN step is a thousand little kernels, over which the CPU's compiler sits for minutes.
    options = {"xla_backend_optimization_level": 0} if device.platform == "cpu" else None
    with jax.default_device(device), jax.default_matmul_precision("highest"):
        state = jax.jit(program.init)(jax.random.key(0))
        step = jax.jit(program.step, donate_argnums=0, compiler_options=options)
        found = []
        for number in range(steps):
            state, metrics = step(state, batches(number), jax.random.key(number))
            found.append(float(metrics[loss]))
    return np.array(found)


def largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Relative, of any step."""
    return float(np.max(np.abs(one - other) / np.abs(other)))
