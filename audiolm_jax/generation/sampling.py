"""Choosing the next token: only legal ids, at a temperature, from a key of the row's own.

Paper: AudioLM section IV-B names temperature sampling alone: no top-k, no nucleus.
"""

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
    if not 0 <= temperature < float("inf"):
        raise InputError(f"temperature = {temperature}: expected 0 or more; the paper: 0.6 to 0.8")


def legal_next(
    table: Bool[Array, "m v"],
    position: Int[Array, " b"],
    previous: Int[Array, " b"],
    allow_end: Bool[Array, ""],
    config: StageConfig,
) -> Bool[Array, "b v"]:
    """Which ids may stand at `position` of each row's target stream.

    `table` is `stages.legal_ids(config)`; `allow_end` admits EOS where the table does. Semantic
    streams are de-duplicated: there `previous` may not repeat, not even right after a prompt.
    """
    ids = jnp.arange(config.vocab_size)[None, :]
    legal = table[position % table.shape[0]] & (allow_end | (ids != EOS))
    if config.name == "semantic":
        legal &= ids != previous[:, None]
    return legal


def legal_table(config: StageConfig) -> Bool[np.ndarray, "m v"]:
    """`stages.legal_ids`; InputError if a stream of one semantic cluster would have no next id."""
    if config.name == "semantic" and (clusters := config.semantic_clusters) < 2:
        raise InputError(f"stage.semantic_clusters = {clusters}: expected 2 or more")
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
    """Draws one id per row from softmax(logits / temperature) over the legal ids, at least one.

    By the Gumbel trick, scaled by the temperature instead of scaling the logits: the largest of
    logits + temperature * noise has that distribution, and temperature 0 is the plain maximum.
    """
    noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:], jnp.float32))(keys)
    return jnp.argmax(mask_logits(logits, legal) + temperature * noise, axis=-1).astype(jnp.int32)


def seed_key(seed: int) -> Key[Array, ""]:
    """The key of an integer from 0 to 2 ** 64 - 1; no two seeds share one."""
    if not 0 <= seed < 2**64:
        raise InputError(f"--seed {seed}: expected 0 to 2 ** 64 - 1")
    return jax.random.wrap_key_data(np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32))
