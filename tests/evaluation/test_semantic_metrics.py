"""Cluster use and de-duplication against values known by counting."""

import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.semantic import evaluate_semantic


def test_counts_of_a_known_example():
    report = evaluate_semantic([np.array([0, 0, 1, 1]), np.array([1, 2, 2, 2])], 10, rate_hz=25.0)
    assert (report.clips, report.tokens, report.deduplicated_tokens) == (2, 8, 4)
    assert (report.clusters, report.used_clusters) == (10, 3)
    assert report.deduplication_rate == pytest.approx(0.5)
    assert report.seconds == pytest.approx(8 / 25)
    assert report.tokens_per_second == pytest.approx(12.5)
    shares = np.array([2, 3, 3]) / 8
    assert report.perplexity == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    shares = np.array([1, 2, 1]) / 4  # a run does not reach across clips: 1 counts twice
    assert report.deduplicated_perplexity == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_bad_ids_are_refused():
    with pytest.raises(ValueError, match="expected"):
        evaluate_semantic([np.array([0, 10])], 10, rate_hz=25.0)
    with pytest.raises(ValueError, match="expected"):
        evaluate_semantic([np.array([-1, 1])], 10, rate_hz=25.0)
    with pytest.raises(InputError, match="no semantic tokens"):
        evaluate_semantic([], 10, rate_hz=25.0)
