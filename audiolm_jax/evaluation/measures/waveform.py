"""Distances of a resynthesis from its original, sample by sample or band by band."""

import warnings

import numpy as np
from jaxtyping import Float

from audiolm_jax.evaluation.measures.spectra import mel_spectrum

SI_SDR_LIMIT_DB = 100.0  # beyond it float32 audio holds rounding only
STOI_SHORTEST_SECONDS = 0.4  # STOI compares stretches of 30 frames, 384 ms


def si_sdr(reference: Float[np.ndarray, " s"], estimate: Float[np.ndarray, " s"]) -> float | None:
    """Scale-invariant signal-to-distortion ratio of signals made zero-mean (Le Roux et al., 2019,
    Eq. 4), dB within +-100; None if the reference is constant."""
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
    """Mean absolute difference of ln of `mel_spectrum`, over frames and bands; 1 is 8.7 dB."""
    left = np.log(mel_spectrum(reference, sample_rate_hz))
    right = np.log(mel_spectrum(estimate, sample_rate_hz))
    return float(np.mean(np.abs(left - right)))


def stoi(
    reference: Float[np.ndarray, " s"], estimate: Float[np.ndarray, " s"], sample_rate_hz: int
) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), about 0 to 1; None for less than
    0.4 s of sound once silence is removed."""
    if len(reference) < STOI_SHORTEST_SECONDS * sample_rate_hz or not np.any(reference):
        return None
    import pystoi

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pair = reference.astype(np.float64), estimate.astype(np.float64)
        score = pystoi.stoi(*pair, sample_rate_hz)
    # pystoi answers 1e-5 with a warning when too few frames are left, which is no measurement.
    if any("Not enough STFT frames" in str(warning.message) for warning in caught):
        return None
    return float(score)
