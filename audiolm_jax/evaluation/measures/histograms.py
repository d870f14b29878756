"""How evenly codes, clusters or phones are used."""

import dataclasses

import numpy as np
from jaxtyping import Int

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class LevelUse:
    """How one quantizer level uses its codebook."""

    level: int  # 0 is the coarsest
    used: int  # codes that occur at least once
    dead: int  # codes that never occur
    perplexity: float  # exp of the entropy of the codes, 1 to `used`


def codebook_use(codes: Int[np.ndarray, "frames q"], codebook_size: int) -> tuple[LevelUse, ...]:
    """Use of each level's codebook by codes in [0, codebook_size), padding removed."""
    if not len(codes):
        raise InputError("no codec frames to count codes in: expected at least one held-out clip")
    rows = []
    for level in range(codes.shape[1]):
        counts = np.bincount(codes[:, level], minlength=codebook_size)
        if len(counts) > codebook_size:
            raise ValueError(f"level {level} holds code {len(counts) - 1} of {codebook_size}")
        used = int(np.count_nonzero(counts))
        rows.append(LevelUse(level, used, codebook_size - used, perplexity(counts)))
    return tuple(rows)


def perplexity(counts: Int[np.ndarray, " n"]) -> float:
    """Exp of the entropy of a histogram: how many equally likely values it amounts to."""
    return float(np.exp(entropy(counts)))


def entropy(counts: Int[np.ndarray, " n"]) -> float:
    """Entropy in nats of a histogram that is not empty."""
    shares = counts[counts > 0] / counts.sum()
    return float(-np.sum(shares * np.log(shares)))
