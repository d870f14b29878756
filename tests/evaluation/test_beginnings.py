"""Tokens of recordings that begin a little later: what counts as a change."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.audio.files import write_wav
from audiolm_jax.evaluation.abx import beginnings
from audiolm_jax.evaluation.abx.config import FeatureConfig
from audiolm_jax.types import SemanticTokens

SEQUENCES = st.lists(st.integers(0, 3), max_size=7)


def by_definition(one, other):
    @functools.cache
    def least(i, j):
        if not i or not j:
            return i + j
        exchanged = least(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(exchanged, least(i - 1, j) + 1, least(i, j - 1) + 1)

    return least(len(one), len(other))


@given(SEQUENCES, SEQUENCES)
def test_edits_are_the_fewest(one, other):
    arrays = np.array(one, np.int32), np.array(other, np.int32)
    assert beginnings.edits(*arrays) == by_definition(tuple(one), tuple(other))


class Rounding:
    """Tokens that say in which of ten bands of loudness a hop of 640 samples begins."""

    sample_rate_hz, hop_samples, clusters, fingerprint = 16_000, 640, 10, ""

    def encode(self, audio):
        lengths = -(-np.asarray(audio.lengths) // 640)
        return SemanticTokens((audio.samples[:, ::640] * 10).astype(np.int32), lengths)


def test_changes_are_edits_per_token_without_repeats(tmp_path, monkeypatch):
    """Steps of 120 ms, three tokens each, are the same begun later; one of 15 ms is lost."""
    monkeypatch.setattr(beginnings, "model_folder", lambda place: place)
    monkeypatch.setattr(beginnings, "load_semantic_tokenizer", lambda place: Rounding())
    steps = np.repeat(np.array([0.15, 0.35, 0.55, 0.75], np.float32), 1920)
    early = np.concatenate([np.full(240, 0.95, np.float32), steps])  # 15 ms
    paths = {}
    for name, samples in (("steps", steps), ("early", early)):
        write_wav(tmp_path / f"{name}.wav", samples, 16_000, None)
        paths[name] = tmp_path / f"{name}.wav"
    config = FeatureConfig("tokens", "semantic", "somewhere")
    ids = {
        "steps": [1] * 3 + [3] * 3 + [5] * 3 + [7] * 3,
        "early": [9] + [1] * 3 + [3] * 3 + [5] * 3 + [7] * 3,
    }
    ids = {name: np.array(own, np.int32) for name, own in ids.items()}
    changes = beginnings.changes_of_tokens(config, paths, 2, ids)
    assert changes == pytest.approx({"0.005": 0, "0.01": 0, "0.02": 1 / 9})
