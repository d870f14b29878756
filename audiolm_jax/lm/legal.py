"""The loss of each target under a softmax over the ids that its level admits, and no other.

Outputs are computed where a target is, of its own level alone: of a stream of m levels 1/m of the
arithmetic that all of the stage's ids take.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from audiolm_jax.lm.decoder import Decoder, normed_output, project_out
from audiolm_jax.lm.losses import TokenLosses, token_losses
from audiolm_jax.stages import EOS, StageConfig
from audiolm_jax.types import TokenBatch


class Targets(NamedTuple):
    """The target stream of a batch, moved to the front of rows that hold whole frames."""

    places: Int[Array, "b n"]  # where in the rows of the batch
    ids: Int[Array, "b n"]
    weights: Float[Array, "b n"]  # 0 behind the stream
    levels: Int[Array, "b n"]  # rows of `StageConfig.level_names`


def targets_of(batch: TokenBatch, stage: StageConfig) -> Targets:
    """Every target of the batch, whose rows begin where their weights do."""
    length, width = batch.targets.shape[1], len(stage.target_levels)
    most = min(length, stage.crop_targets + stage.has_end_token)
    first = jnp.argmax(jnp.asarray(batch.loss_weights) > 0, axis=1)
    places = first[:, None] + np.arange(-(-most // width) * width)[None]
    is_there = places < length
    places = jnp.minimum(places, length - 1)
    ids, weights, levels = (
        jnp.take_along_axis(jnp.asarray(x), places, axis=1)
        for x in (batch.targets, batch.loss_weights, batch.levels)
    )
    return Targets(places, ids, jnp.where(is_there, weights, 0.0), levels)


def legal_losses(
    model: Decoder, stream: Float[Array, "b l d"], targets: Targets, stage: StageConfig
) -> TokenLosses:
    """Losses of the targets, float32 [b, n] each, from the last layer's residual stream."""
    width, size = len(stage.target_levels), stage.target_codebook_size
    at_targets = jnp.take_along_axis(stream, targets.places[:, :, None], axis=1)
    x, matrix, scale = normed_output(model, at_targets)
    of_rows = []
    for row in range(width):
        start = stage.first_id(row)
        columns, ids = matrix[:, start : start + size], targets.ids[:, row::width] - start
        if row == 0 and stage.has_end_token:
            columns = jnp.concatenate([columns, matrix[:, EOS : EOS + 1]], axis=1)
            ids = jnp.where(ids == EOS - start, size, ids)
        of_rows.append(token_losses(project_out(x[:, row::width], columns, scale), ids))
    interleave = lambda *rows: jnp.stack(rows, axis=2).reshape(targets.ids.shape)  # noqa: E731
    return jax.tree.map(interleave, *of_rows)
