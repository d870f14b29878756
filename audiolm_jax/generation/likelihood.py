"""What storing weights in fewer bits costs: the change in the likelihood of given sequences."""

import numpy as np

from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.lm.config import Precision, StageModelConfig
from audiolm_jax.stages import Sequence


def likelihood_change(
    config: StageModelConfig,
    arrays: dict[str, np.ndarray],
    sequences: list[Sequence],
    weights: Precision,
) -> float:
    """Nats per target token by which the sequences grow likelier, below 0 less likely, with
    `weights` instead of "trained" ones. The sequences must be legal, with one target at least."""

    def mean(precision: Precision) -> float:
        decoder = StageDecoder(config, arrays, weights=precision)
        found = [decoder.score(s.tokens.astype(np.int32), s.target_start) for s in sequences]
        return float(np.concatenate(found).astype(np.float64).mean())

    return mean(weights) - mean("trained")
