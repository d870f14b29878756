"""What a detector's log-odds over recordings of both classes are worth."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.classifiers.calibration import probability
from audiolm_jax.evaluation.measures.bootstrap import Estimate, bootstrap

BINS = 10


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """A detector against the truth, under one condition."""

    condition: str
    accuracy: Estimate | None  # at even odds, each class with half of the weight; None for one
    auc: float | None  # share of pairs in which the generated recording has the higher odds
    false_positives: float | None  # share of real recordings at the threshold or above
    misses: float | None  # share of generated recordings below it


def verdicts(
    condition: str,
    log_odds: Float[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    threshold: float,
    seed: int,
) -> Verdicts:
    """Labels are 1 for generated; NaN without recordings is None."""
    real, generated = log_odds[labels == 0], log_odds[labels == 1]
    accuracy = area = None
    if len(real) and len(generated):
        weights = np.where(labels == 0, 0.5 / len(real), 0.5 / len(generated))
        is_right = ((log_odds > 0) == (labels == 1)).astype(np.float64)
        accuracy = bootstrap(weights * is_right, weights, seed)
        pairs = np.sign(generated[:, None] - real[None])
        area = float((1 + pairs).mean() / 2)
    return Verdicts(
        condition,
        accuracy,
        area,
        float((real >= threshold).mean()) if len(real) else None,
        float((generated < threshold).mean()) if len(generated) else None,
    )


@dataclasses.dataclass(frozen=True)
class Bin:
    """Recordings of about the same probability."""

    low: float  # probability of being generated, from here to 1 / BINS more
    recordings: int
    predicted: float | None  # mean probability; None without recordings
    observed: float | None  # share that are generated


def reliability(
    log_odds: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> tuple[tuple[Bin, ...], float]:
    """Equal bins of probability, and the expected calibration error: the mean distance of predicted
    and observed over recordings."""
    p = probability(log_odds)
    places = np.minimum((p * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for n in range(BINS):
        own = places == n
        count = int(own.sum())
        predicted, observed = (
            (float(p[own].mean()), float(labels[own].mean())) if count else (None, None)
        )
        if predicted is not None and observed is not None:
            error += count / len(p) * abs(predicted - observed)
        bins.append(Bin(n / BINS, count, predicted, observed))
    return tuple(bins), error
