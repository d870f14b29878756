"""The codec's yardsticks against values known by arithmetic."""

import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.codec import evaluate_codec
from audiolm_jax.evaluation.measures.histograms import codebook_use
from audiolm_jax.evaluation.measures.spectra import band_of_hz, mel_spectrum
from audiolm_jax.evaluation.measures.waveform import mel_distance, si_sdr, stoi
from audiolm_jax.types import AcousticTokens, AudioBatch

RATE_HZ = 16000


def speech_like(seconds, seed):
    """Noise with syllables: amplitude-modulated, low-passed."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    noise = np.convolve(rng.standard_normal(len(time)), np.hanning(9), "same")
    return (0.05 * noise * (1.2 + np.sin(2 * np.pi * 4 * time))).astype(np.float32)


def with_noise(clean, snr_db, seed):
    """Adds noise orthogonal to the signal, so that the ratio is exact."""
    clean = clean - clean.mean()
    noise = np.random.default_rng(seed).standard_normal(len(clean))
    noise -= noise.mean()
    noise -= clean * (noise @ clean) / (clean @ clean)
    noise *= np.sqrt((clean @ clean) / (noise @ noise)) * 10 ** (-snr_db / 20)
    return clean + noise


@pytest.mark.parametrize("snr_db", [-20.0, 0.0, 13.0, 60.0])
def test_si_sdr_is_the_known_ratio_whatever_scale_and_offset(snr_db):
    clean = speech_like(1.0, 0).astype(np.float64)
    noisy = with_noise(clean, snr_db, 1)
    for scale, offset in [(1.0, 0.0), (0.01, 0.0), (-3.0, 0.5)]:
        assert si_sdr(clean, scale * noisy + offset) == pytest.approx(snr_db, abs=1e-6)


def test_si_sdr_at_its_ends():
    clean = speech_like(0.5, 0)
    assert si_sdr(clean, clean * 0.3) > 90
    assert si_sdr(clean, np.zeros_like(clean)) == -100.0
    assert si_sdr(np.zeros_like(clean), clean) is None


def test_mel_distance_of_a_gain_is_its_logarithm():
    loud = np.random.default_rng(0).standard_normal(RATE_HZ)  # far above the floor
    assert mel_distance(loud, loud, RATE_HZ) == 0.0
    measured = mel_distance(loud, loud * 0.5, RATE_HZ)
    assert measured == pytest.approx(np.log(2.0), rel=1e-6)


@pytest.mark.parametrize("frequency_hz", [125.0, 1000.0, 6000.0])
def test_a_sine_stands_in_its_band(frequency_hz):
    time = np.arange(RATE_HZ) / RATE_HZ
    mel = mel_spectrum(np.sin(2 * np.pi * frequency_hz * time), RATE_HZ)
    assert mel.shape == (101, 80)
    middle = mel[50]
    band = (np.argmax(middle) + 1) / 81  # bands are triangles between 82 edges
    assert band == pytest.approx(band_of_hz(frequency_hz, RATE_HZ), abs=1.2 / 81)
    assert 0.5 < middle.max() < 4.0


def test_a_click_stands_in_the_frame_at_its_time():
    for place in (1600, 4000, 8080):
        click = np.zeros(RATE_HZ)
        click[place] = 1.0
        assert mel_spectrum(click, RATE_HZ).sum(axis=1).argmax() == round(place / 160)


def test_stoi_orders_noise_and_refuses_short_or_silent_clips():
    clean = speech_like(2.0, 3)
    good = stoi(clean, with_noise(clean, 20, 4).astype(np.float32), RATE_HZ)
    bad = stoi(clean, with_noise(clean, -10, 4).astype(np.float32), RATE_HZ)
    assert stoi(clean, clean, RATE_HZ) == pytest.approx(1.0, abs=1e-3)
    assert bad < good < 1.0
    assert stoi(clean[:6000], clean[:6000], RATE_HZ) is None
    assert stoi(np.zeros(32000, np.float32), clean, RATE_HZ) is None
    mostly_silent = np.zeros(32000, np.float32)
    mostly_silent[8000:12000] = clean[:4000]
    assert stoi(mostly_silent, mostly_silent, RATE_HZ) is None


def test_codebook_use_of_known_distributions():
    uniform = np.tile(np.arange(8), 5)
    constant = np.full(40, 3)
    halves = np.arange(40) % 2
    rows = codebook_use(np.stack([uniform, constant, halves], 1), 16)
    assert [row.used for row in rows] == [8, 1, 2]
    assert [row.dead for row in rows] == [8, 15, 14]
    np.testing.assert_allclose([row.perplexity for row in rows], [8.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="holds code 8 of 8"):
        codebook_use(np.array([[8]]), 8)


class RoundingCodec:
    """Level q rounds what the levels before left: exact arithmetic stands in for a network."""

    sample_rate_hz = RATE_HZ
    hop_samples = 1
    levels = 3
    codebook_size = 17
    fingerprint = "rounding"
    _steps = (0.1, 0.01, 0.001)

    def encode(self, audio):
        rest = np.asarray(audio.samples, np.float64)
        codes = []
        for step in self._steps:
            code = np.clip(np.round(rest / step), -8, 8)
            rest = rest - code * step
            codes.append(code.astype(np.int32) + 8)
        return AcousticTokens(np.stack(codes, -1), audio.lengths)

    def decode(self, tokens):
        codes = np.asarray(tokens.codes) - 8
        steps = np.array(self._steps[: codes.shape[-1]])
        samples = (codes * steps[None, None, :]).sum(-1)
        padded = np.pad(samples, [(0, 0), (0, 100)])  # a codec may pad its last frame
        return AudioBatch(padded.astype(np.float32), tokens.lengths)

    def latents(self, codes):
        raise AssertionError("sound is compared, not latents")


def test_evaluate_codec_scores_clips_and_prefixes():
    clips = [("long", speech_like(1.5, 0)), ("short", speech_like(0.2, 1))]
    report = evaluate_codec(RoundingCodec(), iter(clips), prefixes=(1, 2, 3))
    assert [clip.clip_id for clip in report.clips] == ["long", "short"]
    assert report.clips_without_stoi == ("short",)
    assert report.stoi == report.clips[0].stoi > 0.9
    assert report.frames == int(1.7 * RATE_HZ)
    ratios = [prefix.si_sdr_db for prefix in report.prefixes]
    assert np.diff(ratios).min() > 15  # each level is ten times as fine
    distances = [prefix.mel_distance for prefix in report.prefixes]
    assert np.diff(distances).max() < 0
    assert report.prefixes[-1].si_sdr_db == pytest.approx(report.si_sdr_db)
    assert len(report.levels) == 3


def test_bad_clips_are_named():
    with pytest.raises(InputError, match="no held-out clips"):
        evaluate_codec(RoundingCodec(), [])
    for bad in (np.zeros(0), np.array([0.0, np.nan]), np.zeros((2, 5))):
        with pytest.raises(InputError, match="clip broken"):
            evaluate_codec(RoundingCodec(), [("broken", bad)])
