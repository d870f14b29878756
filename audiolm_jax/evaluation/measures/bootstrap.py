"""Means over clips with intervals that tell how far they hang on which clips were taken."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

RESAMPLES = 2000  # draws of the bootstrap
_MOST_DRAWN = 1 << 20  # clips held at once


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over clips, with its 95 % interval from a bootstrap over clips."""

    mean: float  # or a ratio of sums over all clips, such as errors over words
    low: float
    high: float
    clips: int
    failed: int = 0  # of these, with the score of a clip without any speech (`Metric.failed`)
    left_out: int = 0  # beside these, for which the measure is not defined


def bootstrap(
    numerators: Float64[np.ndarray, " n"], denominators: Float64[np.ndarray, " n"], seed: int
) -> Estimate | None:
    """Ratio of sums over clips with its 95 % interval from 2000 draws of clips with replacement,
    the same for the same seed and number of clips; None without clips, or with nothing to divide
    by. A draw that has nothing to divide by is left out."""
    if not denominators.sum():
        return None
    count, rng = len(numerators), np.random.default_rng(seed)
    at_once = max(1, _MOST_DRAWN // count)
    sums = []
    for done in range(0, RESAMPLES, at_once):
        drawn = rng.integers(0, count, (min(at_once, RESAMPLES - done), count))
        sums.append(np.stack([numerators[drawn].sum(1), denominators[drawn].sum(1)]))
    over, under = np.concatenate(sums, axis=1)
    ratios = over[under != 0] / under[under != 0]
    low, high = np.percentile(ratios, (2.5, 97.5))
    mean = float(numerators.sum() / denominators.sum())
    return Estimate(mean, float(low), float(high), count)


def ratio_of_sums(
    keys: Sequence[str], ratios: Sequence[tuple[int | float, int | float]], seed: int
) -> Estimate | None:
    """`bootstrap` over keys: the (numerators, denominators) of equal keys are one draw."""
    sums: dict[str, np.ndarray] = {}
    for key, ratio in zip(keys, ratios, strict=True):
        sums[key] = sums.get(key, np.zeros(2)) + np.array(ratio, np.float64)
    numerators, denominators = np.array([*sums.values()]).reshape(-1, 2).T
    return bootstrap(numerators, denominators, seed)
