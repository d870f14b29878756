"""Conversion keeps durations and tones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm_jax.audio.files import write_wav
from audiolm_jax.audio.resample import (
    iter_resampled,
    read_resampled,
    resample,
    resample_blocks,
    resampled_length,
)
from audiolm_jax.errors import InputError


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5000), st.sampled_from([8000, 11025, 22050, 44100, 48000]))
def test_length_is_the_rounded_duration(count, rate):
    out = resample(np.zeros(count, np.float32), rate, 16000, "soxr_hq")
    assert len(out) == resampled_length(count, rate, 16000)
    assert abs(len(out) - count * 16000 / rate) <= 0.5 or (len(out) == 1 and count == 1)
    assert out.dtype == np.float32


def test_tone_is_kept_and_what_lies_above_nyquist_is_removed():
    time = np.arange(48000) / 48000
    low, high = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 12000 * time)
    out = resample((low + high).astype(np.float32), 48000, 16000, "soxr_hq")
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    np.testing.assert_allclose(out[500:-500], expected[500:-500], atol=2e-3)


def test_equal_rates_change_nothing(tmp_path):
    samples = np.arange(-100, 100, dtype=np.float32) / 128
    assert resample(samples, 16000, 16000, "soxr_hq") is samples
    write_wav(tmp_path / "a.wav", samples, 16000, None)
    part = read_resampled(tmp_path / "a.wav", 16000, "soxr_hq", 50 / 16000, 20 / 16000)
    np.testing.assert_array_equal(part, samples[50:70])
    assert len(read_resampled(tmp_path / "a.wav", 8000, "soxr_hq")) == 100


def test_unknown_resampler_is_an_error():
    with pytest.raises((KeyError, TypeError)):  # the latter where types are checked
        resample(np.zeros(9, np.float32), 8000, 16000, "linear")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30000),
    st.sampled_from([7999, 8000, 11025, 16000, 44100, 48000, 192000]),
    st.integers(0, 2**32 - 1),
)
def test_a_recording_in_pieces_is_converted_to_the_same_bits(count, rate, seed):
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=count).astype(np.float32)
    cuts = np.sort(rng.integers(0, count + 1, rng.integers(0, 9)))
    blocks = ((block, rate) for block in np.split(samples, cuts))
    pieces = list(resample_blocks(blocks, 16000, "soxr_hq"))
    np.testing.assert_array_equal(np.concatenate(pieces), resample(samples, rate, 16000, "soxr_hq"))


def test_a_file_in_pieces_is_the_file(tmp_path):
    write_wav(tmp_path / "a.wav", np.sin(np.arange(70000) / 9).astype(np.float32), 44100, None)
    blocks = list(iter_resampled(tmp_path / "a.wav", 16000, "soxr_hq"))
    assert len(blocks) > 3
    np.testing.assert_array_equal(
        np.concatenate(blocks), read_resampled(tmp_path / "a.wav", 16000, "soxr_hq")
    )
    write_wav(tmp_path / "zero.wav", np.zeros(0, np.float32), 44100, None)
    with pytest.raises(InputError, match="no samples"):
        list(iter_resampled(tmp_path / "zero.wav", 16000, "soxr_hq"))
