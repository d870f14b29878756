"""What a clip is sent through to be judged: a codec at several depths, Opus at several bitrates."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from audiolm_jax.audio.resample import resample
from audiolm_jax.evaluation.codecs.comparison import CodebookUse, Condition
from audiolm_jax.evaluation.codecs.opus import fit_length, opus_roundtrip
from audiolm_jax.evaluation.measures.codec import codebook_use, round_trip
from audiolm_jax.evaluation.measures.quality import RATE_HZ
from audiolm_jax.types import AcousticTokenizer

OPUS = "Opus"


@dataclasses.dataclass(frozen=True)
class Resynthesis:
    """A clip after one condition.

    Attributes:
      samples: float32 [s] at 16 kHz, as long as the original.
      packet_bits: what it took.
      file_bits: with its container, None without one.
    """

    samples: Float[np.ndarray, " s"]
    packet_bits: int
    file_bits: int | None


class System(Protocol):
    """Something that codes a clip in one or more conditions."""

    conditions: tuple[Condition, ...]

    def __call__(self, samples: Float[np.ndarray, " s"]) -> list[Resynthesis]:
        """A clip, float32 [s] at 16 kHz, in each of the conditions."""


class CodecSystem:
    """A codec that decodes several numbers of its levels, and counts the codes it writes.

    A codec of another rate than 16 kHz gets the clip converted to its rate by soxr_hq, and what it
    answers is converted back.

    Attributes:
      label: its name.
      codec: the codec.
      conditions: one for each number of levels.
    """

    def __init__(self, label: str, codec: AcousticTokenizer, levels: Sequence[int]):
        """Args: label; codec; wanted numbers of levels. Those beyond the codec's are left out, and
        all of its levels are always among them."""
        self.label, self.codec = label, codec
        self._levels = sorted({n for n in levels if n < codec.levels} | {codec.levels})
        self.conditions = tuple(
            Condition(f"{label}, {n} level{'s' if n > 1 else ''}", label, n, n * self._level_kbps)
            for n in self._levels
        )
        self._codes: list[np.ndarray] = []

    @property
    def frames_per_second(self) -> float:
        """Codec frames in a second of audio."""
        return self.codec.sample_rate_hz / self.codec.hop_samples

    @property
    def _level_kbps(self) -> float:
        return math.log2(self.codec.codebook_size) * self.frames_per_second / 1000

    def __call__(self, samples: Float[np.ndarray, " s"]) -> list[Resynthesis]:
        """A clip at every number of levels; see `System`."""
        rate = self.codec.sample_rate_hz
        source = resample(samples, RATE_HZ, rate, "soxr_hq")
        codes, decoded = round_trip(self.codec, source, self._levels)
        self._codes.append(codes)
        made = []
        for levels in self._levels:
            answer = resample(decoded[levels], rate, RATE_HZ, "soxr_hq")
            bits = round(len(codes) * levels * math.log2(self.codec.codebook_size))
            made.append(Resynthesis(fit_length(answer, len(samples)), bits, None))
        return made

    def codebook_use(self) -> CodebookUse:
        """Use of the codebooks over all clips so far."""
        codes = np.concatenate(self._codes)
        return CodebookUse(
            system=self.label,
            frames=len(codes),
            codebook_size=self.codec.codebook_size,
            frames_per_second=self.frames_per_second,
            levels=codebook_use(codes, self.codec.codebook_size),
        )


class OpusSystem:
    """Opus at several bitrates.

    Attributes:
      conditions: one for each bitrate.
    """

    def __init__(self, kbps: Sequence[float]):
        """Args: kbps: nominal bitrates, 6 to 510 kbit/s."""
        self.conditions = tuple(Condition(f"{OPUS} {k:g} kbit/s", OPUS, None, k) for k in kbps)

    def __call__(self, samples: Float[np.ndarray, " s"]) -> list[Resynthesis]:
        """A clip at every bitrate; see `System`."""
        made = []
        for condition in self.conditions:
            clip = opus_roundtrip(samples, RATE_HZ, condition.kbps)
            made.append(Resynthesis(clip.samples, clip.packet_bits, clip.file_bits))
        return made
