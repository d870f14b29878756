"""Semantic tokens drawn from a bigram model over the units: what counting alone has to say."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int

from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.evaluation.measures.ngram import NgramModel
from audiolm_jax.generation.bundle import Bundle
from audiolm_jax.stages import FIRST_ID


class UnitBigrams:
    """Draws clusters, as stage 1 counts them, from a bigram model of its training tokens."""

    def __init__(self, model: NgramModel, temperature: float):
        """A temperature of 0 takes the likeliest."""
        self._model, self._temperature = model, temperature
        self._cumulative = functools.cache(self._sum_up)

    def draw(self, last: int, count: int, seed: Sequence[int]) -> Int[np.ndarray, " n"]:
        """`count` clusters after the cluster `last`, the same for the same seed."""
        uniform = np.random.default_rng(list(seed)).random(count)
        drawn = np.empty(count, np.int32)
        for place, value in enumerate(uniform):
            last = drawn[place] = int(np.searchsorted(self._cumulative(last), value, "right"))
        return drawn

    def _sum_up(self, last: int) -> Float64[np.ndarray, " k"]:
        """Cumulative probabilities of the next cluster: no end, and no repetition of what stage 1
        de-duplicates."""
        probabilities = self._model.distribution([last + FIRST_ID])[FIRST_ID:]
        if self._model.config.deduplicate:
            probabilities[last] = 0.0
        if self._temperature == 0:
            probabilities = np.equal(np.arange(len(probabilities)), probabilities.argmax()) * 1.0
        else:
            probabilities = (probabilities / probabilities.max()) ** (1 / self._temperature)
        sums = np.cumsum(probabilities)
        # The last sum stands for every cluster that nothing follows: no draw goes beyond it.
        return np.where(sums == sums[-1], 1.0, sums / sums[-1])


def bigram_model(bundle: Bundle, store: TokenStore) -> NgramModel:
    """Counted on the training tokens of stage 1."""
    stage = bundle.stages["semantic"].config.stage
    return NgramModel(store.sequences("train", stage), stage, 2)
