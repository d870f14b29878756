"""Each row of a batch in words, to name a bad one: position in the stream, recording and crop.

Each function returns (completed steps -> a line for each row of the next batch, all hosts').
"""

from collections.abc import Callable

import numpy as np

from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.data.noise import draw_mixture, noise_seed
from audiolm_jax.data.sources import NoiseConfig
from audiolm_jax.data.tokens.batches import StageStream
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.stages import StageConfig

Describe = Callable[[int], list[str]]


def describe_noisy_audio(
    index: ClipIndex,
    noise_index: ClipIndex,
    crop_seconds: float,
    batch_size: int,
    seed: int,
    config: NoiseConfig,
) -> Describe:
    """Batches of `NoisyCrops` of the split "train", with level and crop of the noise."""
    stream = crop_seconds, batch_size
    of_speech = AudioCrops(index, "train", *stream, seed).describe
    of_noise = AudioCrops(noise_index, "train", *stream, noise_seed(seed)).describe

    def describe(step: int) -> list[str]:
        rows = []
        for row, (speech, noise) in enumerate(zip(of_speech(step), of_noise(step), strict=True)):
            mixture = draw_mixture(config, seed, step * batch_size + row)
            level = "" if mixture.gain_db is None else f", {mixture.gain_db:.1f} dB of {noise}"
            rows.append(f"{speech}{level}, switch {'on' if mixture.denoise else 'off'}")
        return rows

    return describe


def describe_tokens(
    tokens: TokenMixture, stage: StageConfig, batch_size: int, seed: int, edge_share: float
) -> Describe:
    """Batches of `token_batches` of the split "train"."""

    def describe(step: int) -> list[str]:
        positions = np.arange(step * batch_size, (step + 1) * batch_size)
        crops = StageStream(tokens, stage, "train", seed, edge_share).crops(positions)
        rows = []
        for position, number, record, start, stop in zip(positions, *crops, strict=True):
            store = tokens.stores[number]
            clip = store.record("train", int(record)).clip_id
            among = f" of {store.directory}" if len(tokens.stores) > 1 else ""
            rows.append(
                f"position {position}: {clip} (record {record}{among}), "
                f"semantic frames {start} to {stop}"
            )
        return rows

    return describe
