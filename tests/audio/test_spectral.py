import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.plain_librosa import librosa

from audiolm_jax.audio.spectral import (
    frame,
    log_mel_spectrogram,
    mel_filterbank,
    spectrum_by_products,
    stft,
    warp_frequencies,
)
from audiolm_jax.errors import InputError

MEL = {
    "sample_rate_hz": 16000,
    "fft_size": 512,
    "window_samples": 400,
    "hop_samples": 160,
    "bins": 80,
    "floor": 1e-8,
}


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("fft_size", [64, 512, 2048])
@pytest.mark.parametrize("bins", [1, 64, 80])
@pytest.mark.parametrize(("fmin", "fmax"), [(0.0, None), (20.0, 3800.0), (0.0, 900.0)])
def test_filterbank_is_librosas_bit_for_bit(rate, fft_size, bins, fmin, fmax):
    ours = mel_filterbank(rate, fft_size, bins, fmin, fmax)
    theirs = librosa.filters.mel(sr=rate, n_fft=fft_size, n_mels=bins, fmin=fmin, fmax=fmax)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs.T)


def test_the_cached_filterbank_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        mel_filterbank(16000, 512, 80)[0, 0] = 1


@pytest.mark.slow
def test_spectra_need_no_librosa():
    code = (
        "import sys; from audiolm_jax.audio.spectral import mel_filterbank, warp_frequencies\n"
        "import numpy as np; mel_filterbank(16000, 512, 80)\n"
        "warp_frequencies(np.ones((1, 2, 80), np.float32), np.ones(1, np.float32), 16000)\n"
        "assert not {'librosa', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_filterbank_refuses_a_band_beyond_nyquist():
    with pytest.raises(InputError, match="half the sample rate"):
        mel_filterbank(16000, 512, 80, 0.0, 9000.0)


@pytest.mark.parametrize("length", [1, 160, 161, 1601])
@pytest.mark.parametrize(("window", "hop"), [(400, 160), (512, 128), (161, 160)])
def test_frames_are_centered_on_their_cells(length, window, hop):
    samples = np.arange(1, length + 1, dtype=np.float32)[None]
    frames = np.asarray(frame(jnp.asarray(samples), window, hop))[0]
    assert len(frames) == -(-length // hop)
    reach = np.concatenate([np.zeros(window), samples[0], np.zeros(2 * window)])
    for i, row in enumerate(frames):
        start = window + i * hop - (window - hop) // 2
        np.testing.assert_array_equal(row, reach[start : start + window])


def spectra(samples, window, hop, fft_size):
    """Spectra [n, f] by the definition: the window in the middle of the FFT, from sample 0."""
    before = (fft_size - window) // 2
    shape = np.pad(np.hanning(window + 1)[:-1], (before, fft_size - window - before))
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), fft_size)[::hop]
    return np.fft.rfft(frames * shape)


def test_stft_is_the_definition():
    samples = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    ours = np.asarray(stft(jnp.asarray(samples), 512, 128))
    for row, found in zip(samples, ours, strict=True):
        expected = spectra(np.pad(row, (192, 512)), 512, 128, 512)
        np.testing.assert_allclose(found, expected[: len(found)], atol=2e-4)


@pytest.mark.parametrize(("window", "fft_size"), [(64, 64), (400, 512), (2048, 2048)])
def test_products_equal_the_fourier_transform(window, fft_size):
    frames = np.random.default_rng(3).normal(size=(2, 3, window)).astype(np.float32)
    expected = np.fft.rfft(frames.astype(np.float64), fft_size)
    found = np.asarray(spectrum_by_products(jnp.asarray(frames), fft_size))
    np.testing.assert_allclose(found, expected, atol=3e-6 * np.abs(expected).max())


def test_the_fourier_transform_is_chosen_by_platform():
    def lowered(platform):
        traced = jax.jit(jax.grad(lambda x: jnp.abs(stft(x, 64, 16)).sum())).trace(
            jnp.ones((1, 256))
        )
        return traced.lower(lowering_platforms=(platform,)).as_text()

    for platform, is_fft in (("cpu", True), ("tpu", False)):
        text = lowered(platform)
        assert ("stablehlo.fft" in text) == is_fft
        assert ("stablehlo.dot_general" in text) != is_fft
        assert ("precision = [HIGHEST, HIGHEST]" in text) != is_fft


def test_log_mel_is_the_definition_with_librosas_filters():
    samples = np.random.default_rng(1).normal(size=(1, 8000)).astype(np.float32)
    ours, frames = log_mel_spectrogram(jnp.asarray(samples), jnp.array([8000]), **MEL)
    power = np.abs(spectra(np.pad(samples[0], (120 + 56, 512)), 400, 160, 512)) ** 2
    theirs = power @ librosa.filters.mel(sr=16000, n_fft=512, n_mels=80).T
    assert int(frames[0]) == ours.shape[1] == 50
    np.testing.assert_allclose(np.asarray(ours)[0], np.log(theirs[:50]), atol=1e-3)


def test_padding_changes_nothing():
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(1, 1234)).astype(np.float32)
    alone, _ = log_mel_spectrogram(jnp.asarray(samples), jnp.array([1234]), **MEL)
    padded = np.full((1, 3000), np.nan, np.float32)
    padded[:, :1234] = samples
    batched, frames = log_mel_spectrogram(jnp.asarray(padded), jnp.array([1234]), **MEL)
    assert int(frames[0]) == alone.shape[1] == 8
    np.testing.assert_allclose(np.asarray(batched)[:, :8], np.asarray(alone), atol=1e-5)
    assert np.isfinite(np.asarray(batched)).all()


def test_gradient_is_finite_in_silence():
    def loss(samples):
        return log_mel_spectrogram(samples, jnp.array([800]), **MEL)[0].sum()

    assert np.isfinite(np.asarray(jax.grad(loss)(jnp.zeros((1, 800))))).all()


def test_warping_moves_a_tone_and_a_factor_of_one_nothing():
    hz = np.array([300.0, 1000.0, 2500.0])
    factors = np.array([0.8, 1.0, 1.25], np.float32)

    def mel_of(tones):
        samples = np.sin(2 * np.pi * tones[:, None] * np.arange(8000) / 16000)
        return log_mel_spectrogram(jnp.asarray(samples, jnp.float32), jnp.full(3, 8000), **MEL)[0]

    warped = warp_frequencies(mel_of(hz), jnp.asarray(factors), 16000)
    np.testing.assert_array_equal(warped[1], mel_of(hz)[1])
    middle = warped.shape[1] // 2
    loudest = np.argmax(warped[:, middle], axis=-1)
    expected = np.argmax(mel_of(hz * factors)[:, middle], axis=-1)
    assert np.abs(loudest - expected).max() <= 1
    assert (loudest != np.argmax(mel_of(hz)[:, middle], axis=-1)).tolist() == [True, False, True]


def test_warping_repeats_the_outermost_bins_beyond_them():
    mel = np.random.default_rng(0).normal(size=(2, 3, 80)).astype(np.float32)
    low, high = np.asarray(warp_frequencies(jnp.asarray(mel), jnp.array([4.0, 0.25]), 16000))
    np.testing.assert_array_equal(low[:, :2], mel[0, :, :1].repeat(2, axis=1))
    np.testing.assert_array_equal(high[:, -20:], mel[1, :, -1:].repeat(20, axis=1))
