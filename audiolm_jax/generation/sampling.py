"""Choosing the next token: only legal ids, at a temperature, from a key of the row's own.

Paper: AudioLM section IV-B names temperature sampling alone: no top-k, no nucleus.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from audiolm_jax.errors import InputError
from audiolm_jax.stages import EOS, StageConfig, legal_ids


def row_keys(key: Key[Array, ""], rows: int) -> Key[Array, " b"]:
    """One key per row: row r gets the same one however many rows there are."""
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(rows))


def check_temperature(temperature: float) -> None:
    """Raises InputError unless the temperature is a finite number of at least 0."""
    if not (math.isfinite(temperature) and temperature >= 0):
        raise InputError(
            f"temperature = {temperature}: expected a number of at least 0; 0 always takes the "
            "likeliest token, the paper uses 0.6 to 0.8"
        )


def legal_next(
    table: Bool[Array, "m v"],
    position: Int[Array, " b"],
    previous: Int[Array, " b"],
    allow_end: Bool[Array, ""],
    config: StageConfig,
) -> Bool[Array, "b v"]:
    """Which ids may stand at the next target position of each row.

    Args:
      table: `stages.legal_ids(config)`.
      position: index within the target stream of the token to choose.
      previous: last token of each row. Semantic streams are de-duplicated, so it may not repeat
        there, the first token after a prompt included.
      allow_end: whether EOS is legal where the table admits it.
      config: the stage.
    """
    ids = jnp.arange(config.vocab_size)[None, :]
    legal = table[position % table.shape[0]] & (allow_end | (ids != EOS))
    if config.name == "semantic":
        legal &= ids != previous[:, None]
    return legal


def legal_table(config: StageConfig) -> Bool[np.ndarray, "m v"]:
    """`stages.legal_ids`, refused if some position could run out of choices.

    Raises:
      InputError: de-duplicated streams of a single semantic cluster have no second token.
    """
    if config.name == "semantic" and config.semantic_clusters < 2:
        raise InputError(
            f"stage.semantic_clusters = {config.semantic_clusters}: expected at least 2, since "
            "no token may repeat; fit k-means with more clusters"
        )
    return legal_ids(config)


def mask_logits(logits: Float[Array, "b v"], legal: Bool[Array, "b v"]) -> Float[Array, "b v"]:
    """Float32 logits with illegal ids at minus infinity: a softmax gives them exactly 0."""
    return jnp.where(legal, logits.astype(jnp.float32), -jnp.inf)


def sample(
    logits: Float[Array, "b v"],
    legal: Bool[Array, "b v"],
    keys: Key[Array, " b"],
    temperature: Float[Array, ""],
) -> Int[Array, " b"]:
    """Draws one id per row from softmax(logits / temperature) over the legal ids.

    By the Gumbel trick, scaled by the temperature instead of scaling the logits: the largest of
    logits + temperature * noise has that distribution, and temperature 0 is the plain maximum.

    Args:
      logits: one row per sequence.
      legal: at least one per row.
      keys: one per row, used up here.
      temperature: at least 0.
    """
    noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:], jnp.float32))(keys)
    return jnp.argmax(mask_logits(logits, legal) + temperature * noise, axis=-1).astype(jnp.int32)
