"""What a codec keeps of held-out speech: distances of the round trip, and use of its codebooks."""

import dataclasses
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Float32, Int

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.spectra import mel_spectrum
from audiolm_jax.types import AcousticTokenizer, AcousticTokens, AudioBatch

SI_SDR_LIMIT_DB = 100.0  # beyond it float32 audio holds rounding only
STOI_SHORTEST_SECONDS = 0.4  # STOI compares stretches of 30 frames, 384 ms


@dataclasses.dataclass(frozen=True)
class ClipScore:
    """The round trip of one clip."""

    clip_id: str
    seconds: float
    # Scale-invariant signal-to-distortion ratio, dB; None if the clip is silent.
    si_sdr_db: float | None
    mel_distance: float  # mean |ln mel - ln mel'|; 1 is 8.7 dB. See `mel_distance`.
    # Short-time objective intelligibility, about 0 to 1; None for less than 0.4 s of sound.
    stoi: float | None


@dataclasses.dataclass(frozen=True)
class LevelUse:
    """How one quantizer level uses its codebook."""

    level: int  # 0 is the coarsest
    used: int  # codes that occur at least once
    dead: int  # codes that never occur
    perplexity: float  # exp of the entropy of the codes, 1 to `used`


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


def si_sdr(reference: Float[np.ndarray, " s"], estimate: Float[np.ndarray, " s"]) -> float | None:
    """Scale-invariant signal-to-distortion ratio of signals made zero-mean, dB.

    Held within +-100 so that a mean stays finite; None if the reference is constant, for which the
    ratio has no meaning.

    Reference: Le Roux et al., "SDR - half-baked or well done?", 2019, Eq. 4.
    """
    reference = reference.astype(np.float64) - reference.mean(dtype=np.float64)
    estimate = estimate.astype(np.float64) - estimate.mean(dtype=np.float64)
    energy = float(reference @ reference)
    if energy == 0.0:
        return None
    target = reference * (float(estimate @ reference) / energy)
    noise = estimate - target
    signal_energy, noise_energy = float(target @ target), float(noise @ noise)
    if signal_energy == 0.0:
        return -SI_SDR_LIMIT_DB
    if noise_energy == 0.0:
        return SI_SDR_LIMIT_DB
    ratio_db = 10.0 * (np.log10(signal_energy) - np.log10(noise_energy))
    return float(np.clip(ratio_db, -SI_SDR_LIMIT_DB, SI_SDR_LIMIT_DB))


def mel_distance(
    reference: Float[np.ndarray, " s"], estimate: Float[np.ndarray, " s"], sample_rate_hz: int
) -> float:
    """Mean absolute difference of natural-log mel magnitudes, over frames and 80 bands.

    0 is equal; 1 is 8.7 dB on average. The spectrum is that of `spectra.mel_spectrum`, whose floor
    of -100 dB keeps digital silence finite.
    """
    left = np.log(mel_spectrum(reference, sample_rate_hz))
    right = np.log(mel_spectrum(estimate, sample_rate_hz))
    return float(np.mean(np.abs(left - right)))


def stoi(
    reference: Float[np.ndarray, " s"], estimate: Float[np.ndarray, " s"], sample_rate_hz: int
) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), about 0 to 1.

    None where it is not defined: less than 0.4 s of sound once silence is removed.
    """
    if len(reference) < STOI_SHORTEST_SECONDS * sample_rate_hz or not np.any(reference):
        return None
    import pystoi

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        score = pystoi.stoi(
            reference.astype(np.float64), estimate.astype(np.float64), sample_rate_hz
        )
    # pystoi answers 1e-5 with a warning when too few frames are left, which is no measurement.
    if any("Not enough STFT frames" in str(warning.message) for warning in caught):
        return None
    return float(score)


def codebook_use(codes: Int[np.ndarray, "frames q"], codebook_size: int) -> tuple[LevelUse, ...]:
    """Use of each level's codebook by codes in [0, codebook_size), padding removed."""
    if not len(codes):
        raise InputError("no codec frames to count codes in: expected at least one held-out clip")
    rows = []
    for level in range(codes.shape[1]):
        counts = np.bincount(codes[:, level], minlength=codebook_size)
        if len(counts) > codebook_size:
            raise ValueError(f"level {level} holds code {len(counts) - 1} of {codebook_size}")
        used = int(np.count_nonzero(counts))
        rows.append(LevelUse(level, used, codebook_size - used, perplexity(counts)))
    return tuple(rows)


def perplexity(counts: Int[np.ndarray, " n"]) -> float:
    """Exp of the entropy of a histogram: how many equally likely values it amounts to."""
    return float(np.exp(entropy(counts)))


def entropy(counts: Int[np.ndarray, " n"]) -> float:
    """Entropy in nats of a histogram that is not empty."""
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


def evaluate_codec(
    codec: AcousticTokenizer,
    clips: Iterable[tuple[str, np.ndarray]],
    prefixes: Sequence[int] = (),
) -> CodecReport:
    """Encodes and decodes held-out clips, one by one, and compares them with themselves.

    Args:
      codec: the codec.
      clips: (id, float samples [s] at the codec's rate), each at least one sample long.
      prefixes: numbers of levels to decode besides all of them; each costs one more decoding.

    Raises:
      InputError: no clips, an empty clip, or one that is not finite.
    """
    codes: list[np.ndarray] = []
    scores: dict[int, list[ClipScore]] = {levels: [] for levels in (*prefixes, codec.levels)}
    for clip_id, samples in clips:
        samples = np.asarray(samples, np.float32)
        if samples.ndim != 1 or not len(samples) or not np.all(np.isfinite(samples)):
            raise InputError(
                f"clip {clip_id}: shape {samples.shape}: expected finite mono samples; run "
                "`audiolm audit` on the folder"
            )
        clip_codes, decoded = round_trip(codec, samples, list(scores))
        codes.append(clip_codes)
        for levels, rows in scores.items():
            rows.append(_score(codec, clip_id, samples, decoded[levels]))
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
    """Encodes a clip at the codec's rate once and decodes the first levels of its codes.

    Returns:
      (codes of all levels, audio as long as the clip by number of levels of `prefixes`).
    """
    tokens = codec.encode(AudioBatch(samples[None, :], np.array([len(samples)], np.int32)))
    decoded = {}
    for levels in prefixes:
        audio = codec.decode(AcousticTokens(tokens.codes[:, :, :levels], tokens.lengths))
        # The codec pads the last frame with zeros: the round trip may be longer, never shorter.
        decoded[levels] = np.asarray(audio.samples, np.float32)[0, : len(samples)]
    frames = int(np.asarray(tokens.lengths)[0])
    return np.asarray(tokens.codes)[0, :frames], decoded


def _score(
    codec: AcousticTokenizer, clip_id: str, samples: np.ndarray, decoded: np.ndarray
) -> ClipScore:
    return ClipScore(
        clip_id=clip_id,
        seconds=len(samples) / codec.sample_rate_hz,
        si_sdr_db=si_sdr(samples, decoded),
        mel_distance=mel_distance(samples, decoded, codec.sample_rate_hz),
        stoi=stoi(samples, decoded, codec.sample_rate_hz),
    )
