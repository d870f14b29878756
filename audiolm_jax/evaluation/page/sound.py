"""Sound as data URIs for a page: FLAC to play, and spectrograms whose axes the page draws."""

import io

import numpy as np
from jaxtyping import Float, Int16

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.spectra import mel_spectrum, shades
from audiolm_jax.evaluation.page.charts import data_uri


def to_pcm16(samples: Float[np.ndarray, " s"]) -> Int16[np.ndarray, " s"]:
    """Samples in [-1, 1] as int16; those beyond are held at full scale, as a sound card does."""
    if not len(samples) or not np.all(np.isfinite(samples)):
        raise InputError(f"audio of {len(samples)} samples: expected finite samples, at least one")
    return np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)


def flac_data_uri(samples: Float[np.ndarray, " s"], sample_rate_hz: int) -> str:
    """Mono audio as 16-bit FLAC, which every current browser plays at half the size of WAV."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=sample_rate_hz, layout="mono")
        stream.format = "s16"
        frame = av.AudioFrame.from_ndarray(to_pcm16(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate = sample_rate_hz
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return data_uri("audio/flac", file.getvalue())


def spectrogram_peak_db(samples: Float[np.ndarray, " s"], sample_rate_hz: int) -> float:
    """Loudest point of the mel spectrogram in dB, to draw several clips on one scale."""
    return float(20.0 * np.log10(mel_spectrum(samples, sample_rate_hz).max()))


def spectrogram_data_uri(
    samples: Float[np.ndarray, " s"], sample_rate_hz: int, peak_db: float
) -> str:
    """A mel spectrogram as PNG without axes: 80 bands up to half the rate, 100 pixels a second;
    `peak_db` has the brightest color, the darkest is 75 dB below."""
    import matplotlib
    from PIL import Image

    shade = shades(samples, sample_rate_hz, peak_db)
    # 64 shades are as many as the eye tells apart here, and halve the file.
    image = Image.fromarray(np.round(shade.T[::-1] * 63).astype(np.uint8))
    palette = matplotlib.colormaps["magma"](np.linspace(0.0, 1.0, 64))[:, :3]
    image.putpalette(np.round(palette * 255).astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return data_uri("image/png", file.getvalue())
