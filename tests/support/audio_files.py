"""Small audio files of any format, by the encoders of FFmpeg and libsndfile."""

import io

import av
import numpy as np
import soundfile


def encoded(container: str, codec: str, samples: np.ndarray, rate_hz: int) -> bytes:
    """A file of mono sound, float in [-1, 1], in FFmpeg's container and codec."""
    file = io.BytesIO()
    # Without the version of FFmpeg, whose length moves what follows it.
    options = {"fflags": "+bitexact"}
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        pcm = (samples * 32767).astype(np.int16)[None, :]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(stream.format, "mono", rate_hz, stream.frame_size or None)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(piece))
    return file.getvalue()


def container(
    kind: str, subtype: str = "PCM_16", samples=(0.1, -0.1) * 4000, rate_hz=16000
) -> bytes:
    """A file of sound [s] or [s, channels] in libsndfile's format and subtype."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def frames_of(mp3):
    """First byte of each frame, as this test counts them: 24 kbit/s and such at 16 kHz."""
    start = 10 + int.from_bytes(mp3[6:10], "big")  # short tags
    starts = []
    while start < len(mp3):
        starts.append(start)
        bitrate = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[
            (mp3[start + 2] >> 4) - 1
        ]
        start += 72 * bitrate * 1000 // 16000 + (mp3[start + 2] >> 1 & 1)
    assert start == len(mp3)
    return starts
