"""Noise to mix into the crops of a codec that learns to remove it (Paper: SoundStream IV-A).

Noise comes from a folder of its own by the same crops as the speech (`data.crops`), under another
seed. Position p of the stream decides its crop, its level and the switch too.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.share import own_rows
from audiolm_jax.data.shuffle import generator
from audiolm_jax.data.sources import AudioDataConfig, ClipIndex, Split
from audiolm_jax.errors import InputError
from audiolm_jax.types import AudioBatch, DenoisingBatch


@dataclasses.dataclass(frozen=True)
class NoiseConfig:
    """Which noise is mixed in, how often and how loud.

    Attributes:
      data: recordings of noise, at the rate of the speech; their held-out files serve evaluation.
      probability: of noise in a crop; the others stay clean.
      gain_db: lowest and highest level of the noise's peak over that of the speech in the crop,
        drawn uniformly in dB (paper: -30 to 0, after normalising the peaks of both).
      denoise_probability: of the switch being on, with noise and without.
    """

    data: AudioDataConfig
    probability: float = 0.5
    gain_db: tuple[float, float] = (-30.0, 0.0)
    denoise_probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("probability", "denoise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"noise.{name} = {getattr(self, name)}: expected 0 to 1")
        if not self.gain_db[0] <= self.gain_db[1] < float("inf"):
            raise InputError(f"noise.gain_db = {self.gain_db}: expected the lower one first")


@dataclasses.dataclass(frozen=True)
class Mixture:
    """What is done to one crop.

    Attributes:
      gain_db: level of the noise; None adds none.
      denoise: whether the switch is on.
    """

    gain_db: float | None
    denoise: bool


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
        """Args: as of `AudioCrops`; noise_index, clips of the noise; config, how to mix."""
        sizes = (split, crop_seconds, batch_size)
        self._speech = AudioCrops(index, *sizes, seed, rows)
        self._noise = AudioCrops(noise_index, *sizes, noise_seed(seed), rows)
        self._rows, self._batch_size = own_rows(batch_size, rows), batch_size
        self._seed, self._config = seed, config

    def batches(self, start_step: int) -> Iterator[DenoisingBatch]:
        """Endless batches from a step on."""
        yield from self._pair(self._speech.batches(start_step), start_step, False)

    def heldout_batches(self) -> Iterator[DenoisingBatch]:
        """Every clip of the split once, each with noise and the switch on; the same each time."""
        yield from self._pair(self._speech.heldout_batches(), 0, True)

    def _pair(
        self, speech: Iterator[AudioBatch], start_step: int, is_evaluation: bool
    ) -> Iterator[DenoisingBatch]:
        config = self._config
        if is_evaluation:
            config = dataclasses.replace(config, probability=1.0, denoise_probability=1.0)
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
