"""Groups of recordings compared, each with all others, by exchanging recordings at random.

A difference is claimed if chance alone would seldom make one as large: the share of random
divisions into groups of the same sizes whose difference is no smaller (a permutation test), after
Holm's correction for the number of comparisons (Holm 1979, Scandinavian Journal of Statistics 6).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from audiolm_jax.evaluation.measures.bootstrap import RESAMPLES, Estimate, bootstrap

SIGNIFICANCE = 0.05  # chance that any difference at all is claimed where there is none
_DRAWS = 9_999  # random divisions, at least
_DRAWS_A_COMPARISON = 100  # so that the smallest share stays below the corrected limit
_MOST_DRAWN = 1 << 20  # numbers held at once


@dataclasses.dataclass(frozen=True)
class Values:
    """A measure of some units: a ratio of sums over them, such as errors over words."""

    numerators: Float64[np.ndarray, " n"]
    denominators: Float64[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A group with all other units."""

    inside: Estimate | None  # None with nothing to divide by
    outside: Estimate | None
    difference: tuple[float, float, float] | None  # inside minus outside, and its 95 % interval
    chance: float | None  # share of random divisions with as large a difference; None: too few


def compare(
    values: Values, is_inside: Bool[np.ndarray, " n"], least: int, comparisons: int, seed: int
) -> Comparison:
    """A group of units with the others. Nothing is said of a difference with fewer than `least`
    units on either side; `comparisons` is how many the result will be corrected for."""
    inside, outside = (_side(values, chosen, seed) for chosen in (is_inside, ~is_inside))
    count = min(int(chosen[values.denominators > 0].sum()) for chosen in (is_inside, ~is_inside))
    if inside is None or outside is None or count < least:
        return Comparison(inside, outside, None, None)
    found = inside.mean - outside.mean
    low, high = _interval(values, is_inside, seed)
    return Comparison(
        inside, outside, (found, low, high), _chance(values, is_inside, found, comparisons, seed)
    )


def holm(chances: Sequence[float]) -> list[float]:
    """Chances corrected for their number: a claim of every one below `SIGNIFICANCE` has no more
    than this chance to claim anything where nothing is."""
    corrected, largest = [1.0] * len(chances), 0.0
    for rank, place in enumerate(np.argsort(chances, kind="stable").tolist()):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[place]))
        corrected[place] = largest
    return corrected


def _side(values: Values, chosen: Bool[np.ndarray, " n"], seed: int) -> Estimate | None:
    return bootstrap(values.numerators[chosen], values.denominators[chosen], seed)


def _interval(values: Values, is_inside: Bool[np.ndarray, " n"], seed: int) -> tuple[float, float]:
    """By drawing units of both sides with replacement."""
    rng, ratios = np.random.default_rng(seed), []
    for chosen in (is_inside, ~is_inside):
        places = np.flatnonzero(chosen)
        drawn = places[rng.integers(0, len(places), (RESAMPLES, len(places)))]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios.append(values.numerators[drawn].sum(1) / values.denominators[drawn].sum(1))
    low, high = np.nanpercentile(ratios[0] - ratios[1], (2.5, 97.5))
    return float(low), float(high)


def _chance(
    values: Values, is_inside: Bool[np.ndarray, " n"], found: float, comparisons: int, seed: int
) -> float:
    rng, units = np.random.default_rng(seed), len(is_inside)
    size = int(is_inside.sum())
    drawn = min(size, units - size)  # of the smaller side; the sign of a difference is no matter
    table = np.stack([values.numerators, values.denominators], axis=1)
    draws = max(_DRAWS, _DRAWS_A_COMPARISON * comparisons)
    at_once, as_large = max(1, _MOST_DRAWN // units), 0
    for done in range(0, draws, at_once):
        order = rng.random((min(at_once, draws - done), units), np.float32)
        chosen = np.argpartition(order, drawn, axis=1)[:, :drawn]
        own = table[chosen].sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = [side[:, 0] / side[:, 1] for side in (own, table.sum(0) - own)]
        # Sums in another order may differ in the last digits.
        as_large += int((~(np.abs(ratios[0] - ratios[1]) < abs(found) * (1 - 1e-9))).sum())
    return (1 + as_large) / (1 + draws)
