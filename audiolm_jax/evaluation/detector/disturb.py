"""What happens to recordings on their way, to ask a detector again behind it."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from audiolm_jax.audio.resample import read_resampled, resample
from audiolm_jax.evaluation.codecs.opus import fit_length, opus_roundtrip

Disturbance = Callable[[Float32[np.ndarray, " s"], int, int], Float[np.ndarray, " n"]]


def _noise(snr_db: float | int) -> Disturbance:
    def disturb(samples: np.ndarray, rate_hz: int, seed: int) -> np.ndarray:
        """White noise so far below the recording's own power."""
        noise = np.random.default_rng(seed).standard_normal(len(samples))
        level = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) * 10 ** (-snr_db / 20)
        return np.clip(samples + level * noise, -1, 1).astype(np.float32)

    return disturb


def _gain(gain_db: float | int) -> Disturbance:
    return lambda samples, rate_hz, seed: np.clip(samples * np.float32(10 ** (gain_db / 20)), -1, 1)


def _through_rate(other_hz: int) -> Disturbance:
    def disturb(samples: np.ndarray, rate_hz: int, seed: int) -> np.ndarray:
        narrow = resample(samples, rate_hz, other_hz, "soxr_hq")
        return fit_length(resample(narrow, other_hz, rate_hz, "soxr_hq"), len(samples))

    return disturb


def _first(seconds: float | int) -> Disturbance:
    return lambda samples, rate_hz, seed: samples[: round(seconds * rate_hz)]


def _opus(kbps: float | int) -> Disturbance:
    return lambda samples, rate_hz, seed: opus_roundtrip(samples, rate_hz, float(kbps)).samples


def _mp3(kbps: float | int) -> Disturbance:
    return lambda samples, rate_hz, seed: mp3_roundtrip(samples, rate_hz, float(kbps))


def mp3_roundtrip(
    samples: Float[np.ndarray, " s"], rate_hz: int, kbps: float
) -> Float32[np.ndarray, " s"]:
    """Encodes mono sound with LAME and decodes it, as long as it was; rates of MPEG audio only."""
    import av

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp3"
        with av.open(str(path), "w", format="mp3") as container:
            stream = container.add_stream("libmp3lame", rate_hz, layout="mono")
            stream.bit_rate = round(kbps * 1000)
            row = np.ascontiguousarray(samples[None, :], np.float32)
            frame = av.AudioFrame.from_ndarray(row, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, 0
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
        return fit_length(read_resampled(path, rate_hz, "soxr_hq"), len(samples))


AS_IT_IS = "as it is"
DISTURBANCES: dict[str, Disturbance] = {
    AS_IT_IS: lambda samples, rate_hz, seed: samples,
    **{f"white noise, {snr} dB below": _noise(snr) for snr in (30, 20, 10)},
    **{f"{gain:+d} dB": _gain(gain) for gain in (-20, 6)},
    "8 kHz and back": _through_rate(8000),
    **{f"first {seconds} s": _first(seconds) for seconds in (1, 3)},
    **{f"mp3, {kbps} kbit/s": _mp3(kbps) for kbps in (64, 32)},
    **{f"Opus, {kbps} kbit/s": _opus(kbps) for kbps in (24, 12)},
}
