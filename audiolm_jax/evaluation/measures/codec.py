"""What a codec keeps of held-out speech: distances of the round trip, and use of its codebooks."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Float32, Int

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.histograms import LevelUse, codebook_use
from audiolm_jax.evaluation.measures.waveform import mel_distance, si_sdr, stoi
from audiolm_jax.types import AcousticTokenizer, AcousticTokens, AudioBatch


@dataclasses.dataclass(frozen=True)
class ClipScore:
    """The round trip of one clip."""

    clip_id: str
    seconds: float
    si_sdr_db: float | None  # None if the clip is silent
    mel_distance: float  # mean |ln mel - ln mel'|; 1 is 8.7 dB
    stoi: float | None  # about 0 to 1; None for less than 0.4 s of sound


@dataclasses.dataclass(frozen=True)
class PrefixScore:
    """Means over the clips when only the first `levels` levels are decoded."""

    levels: int
    si_sdr_db: float | None
    mel_distance: float
    stoi: float | None


@dataclasses.dataclass(frozen=True)
class CodecReport:
    """A codec on held-out clips."""

    clips: tuple[ClipScore, ...]  # one row each, in the order given
    levels: tuple[LevelUse, ...]  # one row for each quantizer level, over all frames of all clips
    prefixes: tuple[PrefixScore, ...]  # the means for fewer levels, if asked for; empty otherwise
    frames: int  # codec frames counted in `levels`; no level can use more codes than that
    codebook_size: int  # codes of one level

    @property
    def si_sdr_db(self) -> float | None:
        """Mean over the clips that are not silent."""
        return mean_of([clip.si_sdr_db for clip in self.clips])

    @property
    def mel_distance(self) -> float:
        """Mean over all clips."""
        return float(np.mean([clip.mel_distance for clip in self.clips]))

    @property
    def stoi(self) -> float | None:
        """Mean over the clips that are long enough."""
        return mean_of([clip.stoi for clip in self.clips])

    @property
    def clips_without_stoi(self) -> tuple[str, ...]:
        """Clips too short or too silent for STOI; the mean leaves them out."""
        return tuple(clip.clip_id for clip in self.clips if clip.stoi is None)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of the values that exist, None if there are none."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def evaluate_codec(
    codec: AcousticTokenizer,
    clips: Iterable[tuple[str, np.ndarray]],
    prefixes: Sequence[int] = (),
) -> CodecReport:
    """Encodes and decodes clips, (id, float samples [s] at the codec's rate), one by one, and
    compares them with themselves; `prefixes` are numbers of levels to decode besides all."""
    codes: list[np.ndarray] = []
    scores: dict[int, list[ClipScore]] = {levels: [] for levels in (*prefixes, codec.levels)}
    for clip_id, samples in clips:
        samples = np.asarray(samples, np.float32)
        if samples.ndim != 1 or not len(samples) or not np.all(np.isfinite(samples)):
            where = f"clip {clip_id}: shape {samples.shape}"
            raise InputError(f"{where}: expected finite mono samples; run `audiolm audit` on them")
        clip_codes, decoded = round_trip(codec, samples, list(scores))
        codes.append(clip_codes)
        for levels, rows in scores.items():
            rows.append(_score(clip_id, samples, decoded[levels], codec.sample_rate_hz))
    if not codes:
        raise InputError("no held-out clips to evaluate the codec on: expected at least one")
    all_codes = np.concatenate(codes)
    return CodecReport(
        clips=tuple(scores[codec.levels]),
        levels=codebook_use(all_codes, codec.codebook_size),
        prefixes=tuple(
            PrefixScore(
                levels,
                mean_of([row.si_sdr_db for row in scores[levels]]),
                float(np.mean([row.mel_distance for row in scores[levels]])),
                mean_of([row.stoi for row in scores[levels]]),
            )
            for levels in prefixes
        ),
        frames=len(all_codes),
        codebook_size=codec.codebook_size,
    )


def round_trip(
    codec: AcousticTokenizer, samples: Float[np.ndarray, " s"], prefixes: Sequence[int]
) -> tuple[Int[np.ndarray, "t q"], dict[int, Float32[np.ndarray, " s"]]]:
    """(codes of all levels, audio as long as the clip by number of levels decoded) of a clip."""
    tokens = codec.encode(AudioBatch(samples[None, :], np.array([len(samples)], np.int32)))
    decoded = {}
    for levels in prefixes:
        audio = codec.decode(AcousticTokens(tokens.codes[:, :, :levels], tokens.lengths))
        # The codec pads the last frame with zeros: the round trip may be longer, never shorter.
        decoded[levels] = np.asarray(audio.samples, np.float32)[0, : len(samples)]
    frames = int(np.asarray(tokens.lengths)[0])
    return np.asarray(tokens.codes)[0, :frames], decoded


def _score(clip_id: str, samples: np.ndarray, decoded: np.ndarray, rate_hz: int) -> ClipScore:
    distance = mel_distance(samples, decoded, rate_hz)
    clarity = stoi(samples, decoded, rate_hz)
    return ClipScore(clip_id, len(samples) / rate_hz, si_sdr(samples, decoded), distance, clarity)
