"""The loss of each target under a softmax over the ids that its level admits, and no other.

Outputs are computed where a target is, of its own level alone: of a stream of m levels 1/m of the
arithmetic that all of the stage's ids take.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

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
    of_rows = [token_losses(logits, ids) for logits, ids in _of_rows(model, stream, targets, stage)]
    return jax.tree.map(_interleave, *of_rows)


def draw_legal(
    model: Decoder,
    stream: Float[Array, "b l d"],
    targets: Targets,
    stage: StageConfig,
    key: Key[Array, ""],
) -> Int[Array, "b n"]:
    """For each target an id of its level, drawn by the model's probabilities of them."""
    size, drawn = stage.target_codebook_size, []
    for row, (logits, _) in enumerate(_of_rows(model, stream, targets, stage)):
        draw = jax.random.categorical(jax.random.fold_in(key, row), logits[:, :, :size])
        drawn.append(stage.first_id(row) + draw.astype(jnp.int32))
    return _interleave(*drawn)


def mix_in(
    inputs: Int[Array | np.ndarray, "b l"],
    targets: Targets,
    drawn: Int[Array, "b n"],
    share: float,
    key: Key[Array, ""],
) -> Int[Array, "b l"]:
    """The inputs, of whose target tokens about `share` are the drawn ones; an end stays the end."""
    is_own = jax.random.bernoulli(key, share, drawn.shape)
    is_own &= (targets.weights > 0) & (targets.ids != EOS)
    # A target is the input one place behind; those that stay are written nowhere.
    places = jnp.where(is_own, targets.places + 1, inputs.shape[1])
    rows = jnp.arange(len(inputs))[:, None]
    return jnp.asarray(inputs).at[rows, places].set(drawn, mode="drop")


def _of_rows(
    model: Decoder, stream: Float[Array, "b l d"], targets: Targets, stage: StageConfig
) -> Iterator[tuple[Float[Array, "b f n"], Int[Array, "b f"]]]:
    """Of each level in turn: logits of its ids, behind them of EOS where a frame may begin and the
    stage has it, and the targets as places among them."""
    width, size = len(stage.target_levels), stage.target_codebook_size
    at_targets = jnp.take_along_axis(stream, targets.places[:, :, None], axis=1)
    x, matrix, scale = normed_output(model, at_targets)
    for row in range(width):
        start = stage.first_id(row)
        columns, ids = matrix[:, start : start + size], targets.ids[:, row::width] - start
        if row == 0 and stage.has_end_token:
            columns = jnp.concatenate([columns, matrix[:, EOS : EOS + 1]], axis=1)
            ids = jnp.where(ids == EOS - start, size, ids)
        yield project_out(x[:, row::width], columns, scale), ids


def _interleave(*rows: Shaped[Array, "b f"]) -> Shaped[Array, "b n"]:
    """What each frame has of every level, in the order of the stream."""
    return jnp.stack(rows, axis=2).reshape(len(rows[0]), -1)
