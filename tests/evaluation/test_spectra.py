"""Spectra are librosa's bit for bit, without librosa."""

import numpy as np
import pytest
from support.plain_librosa import librosa

from audiolm_jax.evaluation.abx import features
from audiolm_jax.evaluation.measures import spectra


@pytest.mark.parametrize(("rate", "size"), [(16000, 1024), (24000, 1024), (44100, 2048)])
def test_htk_filters_are_librosas(rate, size):
    theirs = librosa.filters.mel(
        sr=rate, n_fft=size, n_mels=spectra.BANDS, htk=True, norm=None, dtype=np.float64
    )
    np.testing.assert_array_equal(spectra._htk_filters(rate, size), theirs)
    for hz in (80.0, 3000.0):
        theirs = librosa.hz_to_mel(hz, htk=True) / librosa.hz_to_mel(rate / 2, htk=True)
        assert spectra.band_of_hz(hz, rate) == theirs


@pytest.mark.parametrize("quiet", [1.0, 1e-5])
def test_mfcc_is_librosas(quiet):
    samples = quiet * np.random.default_rng(0).normal(size=5000) * np.linspace(0, 1, 5000)
    ours = features.mfcc(samples)
    window, hop = features._MFCC_WINDOW, features._MFCC_HOP
    frames = -(-len(samples) // hop)
    left = (window - hop) // 2
    padded = np.zeros(window + (frames - 1) * hop)
    padded[left:][: len(samples)] = samples[: len(padded) - left]
    hann = librosa.filters.get_window("hann", window)
    power = np.abs(spectra.short_time_spectrum(padded, hann, hop)) ** 2
    filters = librosa.filters.mel(sr=16000, n_fft=window, n_mels=40)
    cepstra = librosa.feature.mfcc(S=librosa.power_to_db(filters @ power.T), n_mfcc=13)
    parts = [cepstra]
    parts += [librosa.feature.delta(cepstra, width=9, order=n, mode="nearest") for n in (1, 2)]
    np.testing.assert_array_equal(ours, np.concatenate(parts).T.astype(np.float32))
