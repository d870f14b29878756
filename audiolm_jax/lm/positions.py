"""By what the queries and keys of a sequence are rotated."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from audiolm_jax.lm.config import DecoderConfig
from audiolm_jax.stages import SEP, StageConfig


def rotary_positions(
    ids: Int[Array | np.ndarray, "b l"], decoder: DecoderConfig, stage: StageConfig
) -> Int[Array, "p l"] | None:
    """The position of each token, for all rows (p = 1) or each (p = b); None if nothing rotates.

    In "rope" it is the place in the sequence. In "time" the unit is a token of the target: the
    target counts on from SEP, which is at 0, and a token of the condition is where the target
    tokens of its own time begin. Ids without a SEP are condition to their end.
    """
    if not decoder.is_rotary:
        return None
    place = jnp.arange(ids.shape[1])[None]
    if decoder.position == "rope" or stage.name == "semantic":
        return place
    is_sep = jnp.asarray(ids) == SEP
    sep = jnp.where(jnp.any(is_sep, axis=1), jnp.argmax(is_sep, axis=1), ids.shape[1])[:, None]
    before = jnp.where(place == 0, 0, condition_positions(place - 1, stage))
    return jnp.where(place < sep, before, place - sep)


def condition_positions(index: Int[Array, "p l"], stage: StageConfig) -> Int[Array, "p l"]:
    """In time, of condition token number `index`, from 0, of stages 2 and 3."""
    width = len(stage.target_levels)
    if stage.name == "coarse":
        return 1 + index * stage.frames_per_semantic * width
    frame, level = jnp.divmod(index, stage.coarse_levels)
    return 1 + frame * width + level
