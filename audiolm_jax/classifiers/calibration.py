"""From scores to probabilities and a threshold, by recordings that training has not seen.

A score is the mean over windows of log-odds. A line through it, fitted by likelihood (Platt 1999,
with his targets, so that scores without any overlap have a fit too), gives log-odds that can be
believed where both classes are equally common, whatever their shares in the recordings.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from audiolm_jax.errors import InputError

_ITERATIONS = 100


@dataclasses.dataclass(frozen=True)
class Line:
    """Calibrated log-odds: slope x score + intercept."""

    slope: float
    intercept: float

    def __call__(self, score: Float[np.ndarray, "*n"] | float) -> Float[np.ndarray, "*n"]:
        """Log-odds of the second class."""
        return np.asarray(self.slope * np.asarray(score, np.float64) + self.intercept)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What a detector's scores mean."""

    file: Line  # of the score of a whole recording
    second: Line  # of the score of one second
    threshold: float  # log-odds of a recording from which on it is called generated
    false_positive_rate: float  # the share of real recordings that were to be called so at most
    false_positives: int  # real recordings of those below that are
    misses: int  # generated recordings of those below that are not called so
    real: int  # recordings it was made with
    generated: int


def probability(log_odds: Float[np.ndarray, "*n"] | float) -> Float[np.ndarray, "*n"]:
    """0 to 1."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(log_odds, np.float64))))


def fit_line(real: Float[np.ndarray, " n"], generated: Float[np.ndarray, " m"]) -> Line:
    """Platt's line through scores of both classes, each with half of the weight; InputError if a
    class has none."""
    for name, scores in (("real", real), ("generated", generated)):
        if not len(scores):
            raise InputError(f"calibration: no held-out recording is {name}; hold out some")
    scores = np.concatenate([real, generated]).astype(np.float64)
    counts = np.array([len(real), len(generated)], np.float64)
    targets = np.repeat(
        [1 / (counts[0] + 2), (counts[1] + 1) / (counts[1] + 2)], counts.astype(int)
    )
    weights = np.repeat(0.5 / counts, counts.astype(int))
    center, spread = scores.mean(), scores.std() or 1.0
    table = np.stack([(scores - center) / spread, np.ones_like(scores)])

    def loss(line: np.ndarray) -> float:
        log_odds = line @ table
        return float(weights @ (np.logaddexp(0, log_odds) - targets * log_odds))

    line = np.zeros(2)
    for _ in range(_ITERATIONS):  # Newton's, a step halved until it helps
        p = probability(line @ table)
        gradient = table @ (weights * (p - targets))
        hessian = (table * (weights * p * (1 - p))) @ table.T + 1e-12 * np.eye(2)
        step, size, before = np.linalg.solve(hessian, gradient), 1.0, loss(line)
        while loss(line - size * step) > before and size > 1e-9:
            size /= 2
        line = line - size * step
        if np.abs(size * step).max() < 1e-10:
            break
    slope = float(line[0] / spread)
    return Line(slope, float(line[1] - slope * center))


def threshold_at(real: Float[np.ndarray, " n"], rate: float | int) -> float:
    """The lowest log-odds that at most a share `rate` of real recordings reaches. Fewer than
    1 / rate recordings: that none of them does."""
    if not 0 <= rate < 1:
        raise InputError(f"--false-positive-rate {rate}: expected 0 to below 1")
    allowed = math.floor(rate * len(real) + 1e-9)
    return float(np.nextafter(np.sort(real)[::-1][allowed], np.inf))


def calibrate(
    real: Float[np.ndarray, " n"],
    generated: Float[np.ndarray, " m"],
    real_seconds: Float[np.ndarray, " k"],
    generated_seconds: Float[np.ndarray, " l"],
    false_positive_rate: float,
) -> Calibration:
    """By the scores of recordings and of their seconds."""
    file, second = fit_line(real, generated), fit_line(real_seconds, generated_seconds)
    threshold = threshold_at(file(real), false_positive_rate)
    return Calibration(
        file,
        second,
        threshold,
        false_positive_rate,
        int((file(real) >= threshold).sum()),
        int((file(generated) < threshold).sum()),
        len(real),
        len(generated),
    )
