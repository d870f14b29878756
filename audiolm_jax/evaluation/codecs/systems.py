"""What a clip is sent through: a codec at several depths, Opus at several bitrates."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from audiolm_jax.artifacts.run_folder import model_folder
from audiolm_jax.audio.resample import resample
from audiolm_jax.evaluation.codecs.comparison import OPUS, CodebookUse, Condition
from audiolm_jax.evaluation.codecs.opus import Resynthesis, fit_length, opus_roundtrip
from audiolm_jax.evaluation.measures.codec import round_trip
from audiolm_jax.evaluation.measures.histograms import codebook_use
from audiolm_jax.evaluation.measures.quality import RATE_HZ
from audiolm_jax.tokenizers.vocoder.codec import load_codec
from audiolm_jax.types import AcousticTokenizer


class CodecSystem:
    """A codec that decodes several numbers of its levels, and counts the codes it writes; clips are
    converted to its rate and back by soxr_hq."""

    def __init__(self, label: str, codec: AcousticTokenizer, levels: Sequence[int]):
        """Levels beyond the codec's are left out; all of its levels are always decoded too."""
        self.label, self.codec = label, codec
        self.frames_per_second = codec.sample_rate_hz / codec.hop_samples
        self._level_bits = math.log2(codec.codebook_size)
        self._levels = sorted({n for n in levels if n < codec.levels} | {codec.levels})
        level_kbps = self._level_bits * self.frames_per_second / 1000
        self.conditions = tuple(
            Condition(f"{label}, {n} level{'s' if n > 1 else ''}", label, n, n * level_kbps)
            for n in self._levels
        )
        self._codes: list[np.ndarray] = []

    def __call__(self, samples: Float32[np.ndarray, " s"]) -> list[Resynthesis]:
        """A clip at 16 kHz at every number of levels."""
        rate = self.codec.sample_rate_hz
        source = resample(samples, RATE_HZ, rate, "soxr_hq")
        codes, decoded = round_trip(self.codec, source, self._levels)
        self._codes.append(codes)
        answers = []
        for levels in self._levels:
            answer = resample(decoded[levels], rate, RATE_HZ, "soxr_hq")
            bits = round(len(codes) * levels * self._level_bits)
            answers.append(Resynthesis(fit_length(answer, len(samples)), bits, None))
        return answers

    def codebook_use(self) -> CodebookUse:
        """Use of the codebooks over all clips so far."""
        codes, size = np.concatenate(self._codes), self.codec.codebook_size
        levels = codebook_use(codes, size)
        return CodebookUse(self.label, len(codes), size, self.frames_per_second, levels)


class OpusSystem:
    """Opus at several nominal bitrates, 6 to 510 kbit/s."""

    def __init__(self, kbps: Sequence[float]):
        self._kbps = tuple(kbps)
        self.conditions = tuple(Condition(f"{OPUS} {k:g} kbit/s", OPUS, None, k) for k in kbps)

    def __call__(self, samples: Float32[np.ndarray, " s"]) -> list[Resynthesis]:
        """A clip at 16 kHz at every bitrate."""
        return [opus_roundtrip(samples, RATE_HZ, kbps) for kbps in self._kbps]


System = CodecSystem | OpusSystem


def load_codecs(codecs: Sequence[tuple[str, str]], levels: Sequence[int]) -> list[CodecSystem]:
    """Codecs by (label, run directory or model folder)."""
    return [CodecSystem(label, load_codec(model_folder(path)), levels) for label, path in codecs]
