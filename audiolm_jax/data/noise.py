"""Noise to mix into the crops of a codec that learns to remove it (Paper: SoundStream IV-A):
crops like those of the speech (`data.crops`), from a folder of its own and under another seed. The
position in the stream decides the level and the switch too."""

import contextlib
import dataclasses
from collections.abc import Generator, Sequence

import numpy as np
from jaxtyping import Float

from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.data.sources import NoiseConfig, Split
from audiolm_jax.data.stream import generator, own_rows
from audiolm_jax.types import AudioBatch, DenoisingBatch


@dataclasses.dataclass(frozen=True)
class Mixture:
    """What is done to one crop."""

    gain_db: float | None  # level of the noise; None adds none
    denoise: bool  # whether the switch is on


def noise_seed(seed: int) -> int:
    """Seed of the stream of noise: no run's own, or equal epochs would always pair equal slots."""
    return seed + (1 << 32)


def draw_mixture(config: NoiseConfig, seed: int, position: int) -> Mixture:
    """The mixture at a position of the stream."""
    rng = generator(noise_seed(seed), position, purpose=2)
    has_noise, switch, level = rng.random(3)
    low, high = config.gain_db
    gain_db = low + (high - low) * level if has_noise < config.probability else None
    return Mixture(gain_db, bool(switch < config.denoise_probability))


class NoisyCrops:
    """Batches of crops of one split with noise of the same split; see `AudioCrops`."""

    def __init__(
        self,
        index: ClipIndex,
        noise_index: ClipIndex,
        split: Split,
        crop_seconds: float,
        batch_size: int,
        seed: int,
        rows: Sequence[int] | None,
        config: NoiseConfig,
    ):
        sizes = (split, crop_seconds, batch_size)
        self._speech = AudioCrops(index, *sizes, seed, rows)
        self._noise = AudioCrops(noise_index, *sizes, noise_seed(seed), rows)
        self._rows, self._batch_size = own_rows(batch_size, rows), batch_size
        self._seed, self._config = seed, config

    def batches(self, start_step: int) -> Generator[DenoisingBatch, None, None]:
        """Endless batches from a step on."""
        yield from self._pair(self._speech.batches(start_step), start_step, self._config)

    def heldout_batches(self, limit: int | None = None) -> Generator[DenoisingBatch, None, None]:
        """`AudioCrops.heldout_batches`, each with noise and the switch on; the same each time."""
        always = dataclasses.replace(self._config, probability=1.0, denoise_probability=1.0)
        yield from self._pair(self._speech.heldout_batches(limit), 0, always)

    def _pair(
        self, speech: Generator[AudioBatch, None, None], start_step: int, config: NoiseConfig
    ) -> Generator[DenoisingBatch, None, None]:
        noises = self._noise.batches(start_step)
        with contextlib.closing(speech), contextlib.closing(noises):
            for step, (clean, noise) in enumerate(zip(speech, noises, strict=False), start_step):
                positions = [step * self._batch_size + row for row in self._rows]
                mixtures = [draw_mixture(config, self._seed, p) for p in positions]
                rows = zip(clean.samples, noise.samples, mixtures, strict=True)
                yield DenoisingBatch(
                    clean,
                    np.stack([scale_noise(*row) for row in rows]),
                    np.array([mixture.denoise for mixture in mixtures]),
                )


def scale_noise(
    clean: Float[np.ndarray, " s"], noise: Float[np.ndarray, " s"], mixture: Mixture
) -> Float[np.ndarray, " s"]:
    """The noise at its level over the speech; zeros if there is none, or silence on either side."""
    peak = np.abs(noise).max()
    if mixture.gain_db is None or not peak:
        return np.zeros_like(noise)
    return noise * np.float32(10 ** (mixture.gain_db / 20) * np.abs(clean).max() / peak)
