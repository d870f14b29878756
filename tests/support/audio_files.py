"""Small audio files of any format, by FFmpeg's encoders."""

import io

import av
import numpy as np


def encoded(container: str, codec: str, samples: np.ndarray, rate_hz: int) -> bytes:
    """A file of mono sound, float in [-1, 1], in FFmpeg's container and codec."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        pcm = (samples * 32767).astype(np.int16)[None, :]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(stream.format, "mono", rate_hz, stream.frame_size or None)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(piece))
    return file.getvalue()
