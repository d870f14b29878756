"""Cuts lie in pauses, whatever the recording; what a network hears does not depend on blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.data.prepare.config import PrepareConfig
from audiolm_jax.data.prepare.cuts import cut
from audiolm_jax.data.prepare.detect import over_time
from audiolm_jax.errors import InputError

SHORT = {"max_seconds": 4.0, "min_seconds": 0.5, "max_pause_seconds": 0.8}


@given(
    st.lists(st.tuples(st.integers(1, 700), st.integers(1, 200)), max_size=12),
    st.integers(0, 99),
    st.integers(0, 2**32),
)
def test_rules_of_cuts(runs, margin, seed):
    rng = np.random.default_rng(seed)
    parts = [np.full(rng.integers(0, 300), 0.1)]
    for speech, pause in runs:
        parts += [rng.uniform(0.5, 1, speech), rng.uniform(0, 0.499, pause)]
    speech = np.concatenate(parts).astype(np.float32)
    config = PrepareConfig(**SHORT, margin_seconds=margin / 100)
    clips = cut(speech, config)
    covered, end = np.zeros(len(speech), bool), 0
    for clip in clips:
        assert end <= clip.start < clip.end <= len(speech)
        assert clip.end - clip.start <= 400
        end = clip.end
        covered[clip.start : clip.end] = True
    assert covered[speech >= 0.5].all()  # no speech is lost
    starts = {clip.start for clip in clips}
    for clip in clips:
        if clip.is_hard:
            assert clip.end in starts
            assert clip.end - clip.start >= 200
        else:
            around = speech[max(0, clip.end - 1) : clip.end + 1]
            assert len(around) == 1 or around.min() < 0.5
    # A long silence is dropped but for the margins.
    silent = speech < 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(int), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first > 80:
            assert covered[first:last].sum() <= 2 * margin


def test_middle_of_a_pause_and_hard_cut():
    speech = np.concatenate([np.ones(300), np.zeros(30), np.ones(300), np.zeros(10), np.ones(500)])
    speech[930:935] = 0.6  # within reach of the third clip, its least likely speech
    config = PrepareConfig(**SHORT, margin_seconds=0.2)
    clips = cut(speech.astype(np.float32), config)
    assert [(c.start, c.end, c.is_hard) for c in clips] == [
        (0, 315, False),
        (315, 637, True),  # the pause of 10 frames is too short for a cut of another kind
        (637, 932, True),
        (932, 1140, False),
    ]


def test_nothing_to_cut():
    assert cut(np.zeros(0, np.float32), PrepareConfig()) == []
    assert cut(np.zeros(500, np.float32), PrepareConfig()) == []


@pytest.mark.parametrize("length", [0, 1, 160, 400, 16000, 6_200 * 160 + 399, 2_000_123])
def test_windows_are_the_whole(length):
    rng = np.random.default_rng(length)
    samples = rng.standard_normal(length).astype(np.float32)

    def network(x):  # like the real one: frames of 400 samples each 160, 1.9 s of context
        frames = 1 + (len(x) - 400) // 160
        sums = np.concatenate([[0], np.cumsum(x.astype(np.float64))])
        first = np.arange(frames) * 160
        energy = np.round(sums[first + 400] - sums[first], 3)
        padded = np.pad(energy, 190)
        return (energy + np.round(padded[:frames] + padded[380:], 3)).astype(np.float32)

    padded = np.pad(samples, (0, 400 + max(0, 16000 - length)))
    whole = network(padded)[: -(-length // 160)]
    for sizes in ((length,), (7, 160_001, 3), (48_000,)):
        blocks, at = [], 0
        while at < length:
            size = sizes[len(blocks) % len(sizes)]
            blocks.append(samples[at : at + size])
            at += size
        (found,) = over_time(iter(blocks), [network])
        np.testing.assert_allclose(found, whole, atol=0.01)
        assert len(found) == -(-length // 160)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"min_seconds": 20.0}, "--min-seconds"),
        ({"margin_seconds": -1.0}, "--margin-seconds"),
        ({"pause_seconds": 2.0}, "--pause-seconds"),
        ({"sample_rate_hz": 100}, "--sample-rate-hz"),
        ({"level_db": 3.0}, "--level-db"),
    ],
)
def test_odd_rules_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        PrepareConfig(**fields)
