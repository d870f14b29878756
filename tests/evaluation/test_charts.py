"""Spectrograms, sound and curves as they go into the page."""

import base64
import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from audiolm_jax.audio.files import read_audio
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.page import sound
from audiolm_jax.evaluation.page.charts import Chart, Line, curve, write_charts
from audiolm_jax.evaluation.page.listening import tick_seconds
from audiolm_jax.evaluation.page.palette import CURVES, PALETTES
from audiolm_jax.evaluation.page.training import TrainerSummary, training_charts

RATE_HZ = 16000


def decode(uri, mime_type):
    head, body = uri.split(",", 1)
    assert head == f"data:{mime_type};base64"
    return base64.b64decode(body, validate=True)


@pytest.mark.parametrize("length", [1, 320, 4097, 50001])
def test_flac_holds_the_same_samples(length, tmp_path):
    samples = np.random.default_rng(length).uniform(-1.3, 1.3, length).astype(np.float32)
    file = tmp_path / "clip.flac"
    file.write_bytes(decode(sound.flac_data_uri(samples, RATE_HZ), "audio/flac"))
    heard, rate_hz = read_audio(file)
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(np.round(heard * 32768).astype(np.int64), sound.to_pcm16(samples))
    assert sound.flac_data_uri(samples, RATE_HZ) == sound.flac_data_uri(samples, RATE_HZ)


def test_pcm16_is_the_nearest_step_and_held_at_full_scale():
    samples = np.array([0.0, 0.5, -1.0, 1.0, 7.0, -7.0])
    expected = [0, 16384, -32767, 32767, 32767, -32767]
    np.testing.assert_array_equal(sound.to_pcm16(samples), expected)
    for bad in (np.zeros(0), np.array([0.0, np.inf]), np.array([np.nan])):
        with pytest.raises(InputError, match="finite samples"):
            sound.to_pcm16(bad)


def test_spectrogram_shows_a_sine_where_and_when_it_sounds():
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    samples = np.where(time < 1.0, 0.0, 0.5 * np.sin(2 * np.pi * 3000 * time))
    peak_db = sound.spectrogram_peak_db(samples, RATE_HZ)
    uri = sound.spectrogram_data_uri(samples, RATE_HZ, peak_db)
    image = Image.open(io.BytesIO(decode(uri, "image/png")))
    assert image.size == (201, 80)
    light = np.asarray(image.convert("L")).astype(float)
    assert light[:, :95].max() < 5 < 200 < light[:, 150].max()
    row = int(np.argmax(light[:, 150]))
    assert 1 - (row + 0.5) / 80 == pytest.approx(0.655, abs=0.03)  # 3 kHz on the mel axis to 8 kHz
    quiet = sound.spectrogram_data_uri(samples, RATE_HZ, peak_db + 40)
    image = Image.open(io.BytesIO(decode(quiet, "image/png")))
    assert np.asarray(image.convert("L"))[:, 150].max() < light[:, 150].max() - 40


def test_curve_skips_missing_values_and_averages():
    rows = [{"step": step, "loss": float(step)} for step in range(1, 3001)]
    rows[4]["loss"] = None
    rows.append({"step": 3000, "heldout/loss": 1.0})
    steps, values = curve(rows, "loss")
    assert 250 <= len(steps) <= 300
    np.testing.assert_allclose(steps, values)
    assert len(curve(rows, "nothing")[0]) == 0
    np.testing.assert_array_equal(curve(rows, "heldout/loss"), [[3000.0], [1.0]])


def run_of(rows, names):
    return TrainerSummary("the run", 5, "1 x 1 s", 1, None, "1 x cpu", tuple(rows), tuple(names))


def test_a_training_chart_in_both_schemes(tmp_path):
    rows = [{"step": s, "a<b": 2.0 + s, "heldout/a<b": 3.0} for s in range(5)]
    (chart,) = training_charts([run_of(rows, ["a<b"])])
    assert chart.stem == "training_1_the_run"
    for scheme in ("light", "dark"):
        svg = chart.svg(scheme)
        texts = " ".join(ET.fromstring(svg.encode()).itertext())
        assert "a<b, held-out" in texts
        assert "step" in texts
        for color in (CURVES[scheme][0], PALETTES[scheme]["ink"], PALETTES[scheme]["card"]):
            assert color in svg
        assert CURVES[scheme][1] not in svg
        assert svg == chart.svg(scheme)
        assert decode(chart.data_uri(scheme), "image/svg+xml") == svg.encode()
    write_charts(tmp_path, [chart])
    written = (tmp_path / "figures/training_1_the_run.svg").read_text(encoding="utf-8")
    assert written == chart.svg("light")
    for bad in (["missing"], [], ["a<b"] * 7):
        with pytest.raises(InputError):
            training_charts([run_of(rows, bad)])


def test_a_wide_range_is_drawn_on_a_logarithmic_axis_and_intervals_are_shaded():
    narrow = Chart("c", "t", "x", (Line("a", [1, 2], [1.0, 5.0], 0),))
    wide = Chart("c", "t", "x", (Line("a", [1, 2], [1.0, 50.0], 0),))
    assert "10^" not in narrow.svg("light")
    assert "<!-- $\\mathdefault{10^{1}}$ -->" in wide.svg("light")
    shaded = Chart("c", "t", "x", (Line("a", [1, 2], [1.0, 5.0], 0, [0.0, 4.0], [2.0, 6.0]),))
    assert "FillBetween" in shaded.svg("light")
    assert "FillBetween" not in narrow.svg("light")


@pytest.mark.parametrize("seconds", [0.1, 0.7, 3.0, 7.0, 30.0, 200.0])
def test_ticks_are_few_and_inside(seconds):
    ticks = tick_seconds(seconds)
    assert 1 <= len(ticks) <= 8
    assert ticks[0] == 0
    assert ticks[-1] <= seconds
