"""Spectrograms, sound and curves as they go into the page."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from audiolm_jax.audio.files import read_audio
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.page import plots

RATE_HZ = 16000


def decode(uri, mime_type):
    head, body = uri.split(",", 1)
    assert head == f"data:{mime_type};base64"
    return base64.b64decode(body, validate=True)


@pytest.mark.parametrize("length", [1, 320, 4097, 50001])
def test_flac_holds_the_same_samples(length, tmp_path):
    samples = np.random.default_rng(length).uniform(-1.3, 1.3, length).astype(np.float32)
    file = tmp_path / "clip.flac"
    file.write_bytes(decode(plots.flac_data_uri(samples, RATE_HZ), "audio/flac"))
    heard, rate_hz = read_audio(file)
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(np.round(heard * 32768).astype(np.int64), plots.to_pcm16(samples))
    assert plots.flac_data_uri(samples, RATE_HZ) == plots.flac_data_uri(samples, RATE_HZ)


def test_pcm16_is_the_nearest_step_and_held_at_full_scale():
    samples = np.array([0.0, 0.5, -1.0, 1.0, 7.0, -7.0])
    expected = [0, 16384, -32767, 32767, 32767, -32767]
    np.testing.assert_array_equal(plots.to_pcm16(samples), expected)
    for bad in (np.zeros(0), np.array([0.0, np.inf]), np.array([np.nan])):
        with pytest.raises(InputError, match="finite samples"):
            plots.to_pcm16(bad)


def test_spectrogram_shows_a_sine_where_and_when_it_sounds():
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    samples = np.where(time < 1.0, 0.0, 0.5 * np.sin(2 * np.pi * 3000 * time))
    peak_db = plots.spectrogram_peak_db(samples, RATE_HZ)
    uri = plots.spectrogram_data_uri(samples, RATE_HZ, peak_db)
    image = Image.open(io.BytesIO(decode(uri, "image/png")))
    assert image.size == (201, 80)
    light = np.asarray(image.convert("L")).astype(float)
    assert light[:, :95].max() < 5 < 200 < light[:, 150].max()
    row = int(np.argmax(light[:, 150]))
    assert 1 - (row + 0.5) / 80 == pytest.approx(0.655, abs=0.03)  # 3 kHz on the mel axis to 8 kHz
    quiet = plots.spectrogram_data_uri(samples, RATE_HZ, peak_db + 40)
    image = Image.open(io.BytesIO(decode(quiet, "image/png")))
    assert np.asarray(image.convert("L"))[:, 150].max() < light[:, 150].max() - 40


def test_curve_skips_missing_values_and_averages():
    rows = [{"step": step, "loss": float(step)} for step in range(1, 3001)]
    rows[4]["loss"] = None
    rows.append({"step": 3000, "heldout/loss": 1.0})
    steps, values = plots.curve(rows, "loss")
    assert 250 <= len(steps) <= 300
    np.testing.assert_allclose(steps, values)
    assert len(plots.curve(rows, "nothing")[0]) == 0
    np.testing.assert_array_equal(plots.curve(rows, "heldout/loss"), [[3000.0], [1.0]])


def test_curves_take_colours_and_ids_from_the_page():
    rows = [{"step": s, "a<b": 2.0 + s, "heldout/a<b": 3.0} for s in range(5)]
    svg = plots.loss_curves_svg(rows, ["a<b"], "one")
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>\n")
    assert "var(--curve-0)" in svg
    assert "currentColor" in svg
    assert "#0102" not in svg
    assert "a<b" not in svg
    assert "a&lt;b, held-out" in svg
    assert svg == plots.loss_curves_svg(rows, ["a<b"], "one")
    for bad in (["missing"], [], ["a<b"] * 7):
        with pytest.raises(InputError):
            plots.loss_curves_svg(rows, bad, "one")


@pytest.mark.parametrize("seconds", [0.1, 0.7, 3.0, 7.0, 30.0, 200.0])
def test_ticks_are_few_and_inside(seconds):
    ticks = plots.tick_seconds(seconds)
    assert 1 <= len(ticks) <= 8
    assert ticks[0] == 0
    assert ticks[-1] <= seconds
