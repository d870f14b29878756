"""Which held-out recordings are continued."""

import numpy as np

from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.errors import InputError


def choose_prompts(index: ClipIndex, count: int, seconds: float, seed: int) -> list[ClipInfo]:
    """Held-out clips, at least `seconds` long and at least one, drawn by `seed`."""
    shortest = seconds * index.config.sample_rate_hz
    heldout = index.of("heldout")
    if not (long := heldout.where(heldout.num_samples >= shortest)):
        longest = heldout.num_samples.max()
        raise InputError(
            f"{index.config.source}: no held-out clip of {seconds} s, the longest has "
            f"{longest / index.config.sample_rate_hz:.2f} s; lower --prompt-seconds or change "
            f"{index.config.heldout_flag}, --data.split-by = {index.config.split_by}"
        )
    order = np.random.default_rng(seed).permutation(len(long))
    return [long[i] for i in order[:count]]
