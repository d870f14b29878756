"""Probabilities mean what they say; the threshold keeps its promise; by hand and on random."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm_jax.classifiers.calibration import calibrate, fit_line, probability, threshold_at
from audiolm_jax.classifiers.listen import Windows
from audiolm_jax.errors import InputError


def test_the_line_of_two_gaussians_is_the_true_one():
    """Scores N(-1, 2) and N(3, 2): log-odds (m1 - m0) / v x (s - middle) = 1 x (s - 1)."""
    rng = np.random.default_rng(0)
    real, generated = rng.normal(-1, 2, 40_000), rng.normal(3, 2, 10_000)  # not balanced
    line = fit_line(real, generated)
    assert line.slope == pytest.approx(1, abs=0.03)
    assert line.intercept == pytest.approx(-1, abs=0.05)
    # Among equally many of both, of what is given 70 % about 70 % are generated.
    p = probability(line(np.concatenate([real[:10_000], generated])))
    near = (p > 0.65) & (p < 0.75)
    assert (np.arange(20_000) >= 10_000)[near].mean() == pytest.approx(0.7, abs=0.03)


def test_scores_without_overlap_have_a_finite_line():
    """Platt's targets 1 / (n + 2) and (m + 1) / (m + 2): two points each are met exactly."""
    line = fit_line(np.array([-5.0, -5.0]), np.array([7.0, 7.0, 7.0]))
    assert probability(line(-5.0)) == pytest.approx(1 / 4, rel=1e-6)
    assert probability(line(7.0)) == pytest.approx(4 / 5, rel=1e-6)


def test_scores_that_say_nothing_give_even_odds():
    line = fit_line(np.zeros(50), np.zeros(50))
    assert abs(float(line(0.0))) < 1e-6
    line = fit_line(np.zeros(5), np.zeros(500))
    assert probability(line(0.0)) == pytest.approx((1 / 7 + 501 / 502) / 2, rel=1e-6)


@settings(max_examples=80)
@given(
    st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=60),
    st.floats(0, 0.99),
)
def test_no_more_real_recordings_reach_the_threshold_than_allowed(scores, rate):
    real = np.array(scores)
    threshold = threshold_at(real, rate)
    assert (real >= threshold).mean() <= rate + 1e-9
    # Nor is it higher than it must be: what lies just below would let more through.
    highest = real[real < threshold].max()
    assert (real >= highest).mean() > rate


def test_a_threshold_by_hand():
    real = np.arange(100.0)
    assert threshold_at(real, 0.05) == np.nextafter(94.0, 100)  # 95 to 99 are five
    assert threshold_at(real, 0.001) == np.nextafter(99.0, 100)  # none
    found = calibrate(real, np.array([50.0, 98.0, 200.0]), real, real + 1, 0.05)
    assert (found.real, found.generated, found.false_positives, found.misses) == (100, 3, 5, 1)


def test_a_class_without_recordings_is_named():
    with pytest.raises(InputError, match="no held-out recording is generated"):
        fit_line(np.zeros(3), np.zeros(0))
    with pytest.raises(InputError, match="no held-out recording is real"):
        fit_line(np.zeros(0), np.zeros(3))
    with pytest.raises(InputError, match="--false-positive-rate 1: expected 0 to below 1"):
        threshold_at(np.zeros(3), 1)


@pytest.mark.parametrize("crop_seconds", [1.0, 2.0, 3.0])
def test_each_second_has_windows_also_where_they_are_long(crop_seconds):
    centers = np.arange(0, 5 - crop_seconds + 1e-9, 0.25) + crop_seconds / 2
    log_probs = np.stack([centers, -centers], axis=1).astype(np.float32)
    found = Windows(centers, log_probs).of_seconds
    assert np.isfinite(found).all()
    assert len(found) == int(centers[-1]) + 1
    for second, value in enumerate(found[:, 0]):
        own = [c for c in centers if second <= c < second + 1]
        nearest = min(centers, key=lambda c: abs(c - second - 0.5))
        assert value == pytest.approx(np.mean(own) if own else nearest)
