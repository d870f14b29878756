"""Opus as a yardstick: a clip through libopus and back, with the bits that it took."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

LOWEST_KBPS, HIGHEST_KBPS = 6.0, 510.0  # RFC 6716, section 2.1.1
SETTINGS = {"application": "voip", "vbr": "on", "frame_duration": "20"}


@dataclasses.dataclass(frozen=True)
class Resynthesis:
    """A clip that went through a codec."""

    samples: Float32[np.ndarray, " s"]  # in step with the original and as long
    packet_bits: int  # what it took
    file_bits: int | None  # with its container, headers included; None without one


def opus_roundtrip(
    samples: Float[np.ndarray, " s"], sample_rate_hz: int, kbps: float
) -> Resynthesis:
    """Encodes mono speech with libopus (voip, variable bitrate, 20 ms frames) and decodes it;
    the rate is 8, 12, 16, 24 or 48 kHz, and the bitrate is kept on average only."""
    import av

    from audiolm_jax.audio.resample import read_resampled

    packet_bits = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.opus"
        with av.open(str(path), "w", format="ogg") as container:
            stream = container.add_stream(
                "libopus", sample_rate_hz, layout="mono", options=SETTINGS
            )
            stream.bit_rate = round(kbps * 1000)
            row = np.ascontiguousarray(samples[None, :], np.float32)
            frame = av.AudioFrame.from_ndarray(row, format="flt", layout="mono")
            frame.sample_rate, frame.pts = sample_rate_hz, 0
            for packet in (*stream.encode(frame), *stream.encode(None)):
                packet_bits += 8 * packet.size
                container.mux(packet)
        file_bits = 8 * path.stat().st_size
        decoded = read_resampled(path, sample_rate_hz, "soxr_hq")
    return Resynthesis(fit_length(decoded, len(samples)), packet_bits, file_bits)


def fit_length(samples: Float[np.ndarray, " n"], length: int) -> Float32[np.ndarray, " s"]:
    """The first `length` samples, zeros behind them if there are fewer."""
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32)
