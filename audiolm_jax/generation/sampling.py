"""Choosing the next token: only legal ids, at a temperature, from a key of the row's own.

Paper: AudioLM section IV-B names temperature sampling alone; top-k and top-p are ours and off by
default.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped, UInt32

from audiolm_jax.errors import InputError
from audiolm_jax.generation.config import Sampling
from audiolm_jax.stages import EOS, FIRST_ID, StageConfig, legal_ids


class Draw(NamedTuple):
    """A `Sampling` as compiled code takes it: scalars."""

    temperature: jax.Array | np.float32
    top_k: jax.Array | np.int32  # 0: off
    top_p: jax.Array | np.float32  # 1: off
    guidance: jax.Array | np.float32  # 1: off


def draw_of(sampling: Sampling) -> Draw:
    """The values of a sampling."""
    return Draw(
        np.float32(sampling.temperature),
        np.int32(sampling.top_k),
        np.float32(sampling.top_p),
        np.float32(1.0 if sampling.guidance is None else sampling.guidance),
    )


def seed_key(seed: int) -> Key[Array, ""]:
    """The key of a seed, a whole number in [0, 2^64) else InputError; no two seeds share one."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise InputError(f"--seed {seed}: expected a whole number from 0 to 2^64 - 1")
    halves = np.array([int(seed) >> 32, int(seed) & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(halves), impl="threefry2x32")


def legal_next(
    table: Bool[Array, "m v"],
    position: Int[Array, " b"],
    previous: Int[Array, " b"],
    config: StageConfig,
) -> Bool[Array, "b v"]:
    """Which ids may stand at `position` of each row's target stream.

    `table` is `stages.legal_ids(config)`. Where semantic streams are de-duplicated `previous` may
    not repeat, not even right after a prompt.
    """
    legal = table[position % table.shape[0]]
    if config.name == "semantic" and config.deduplicate:
        legal &= jnp.arange(config.vocab_size)[None] != previous[:, None]
    return legal


def withhold_end(legal: Bool[Array, "b v"], allow_end: Bool[Array, " b"]) -> Bool[Array, "b v"]:
    """The same without EOS in the rows that may not end."""
    return legal & (allow_end[:, None] | (jnp.arange(legal.shape[1]) != EOS)[None])


def of_level(values: Shaped[Array, "b v"], first: Int[Array, ""], size: int) -> Array:
    """Columns of the special ids and of the `size` ids from `first` on: the choices of a position
    whose level they are."""
    level = jax.lax.dynamic_slice_in_dim(values, first, size, axis=1)
    return jnp.concatenate([values[:, :FIRST_ID], level], axis=1)


def id_of(choice: Int[Array, " b"], first: Int[Array, ""]) -> Int[Array, " b"]:
    """The id that stands in a column of `of_level`."""
    return jnp.where(choice < FIRST_ID, choice, choice - FIRST_ID + first)


def legal_table(config: StageConfig) -> Bool[np.ndarray, "m v"]:
    """`stages.legal_ids`; InputError if a stream of one semantic cluster would have no next id."""
    if config.name == "semantic" and (clusters := config.semantic_clusters) < 2:
        raise InputError(f"stage.semantic_clusters = {clusters}: expected 2 or more")
    return legal_ids(config)


def mask_logits(logits: Float[Array, "b v"], legal: Bool[Array, "b v"]) -> Float[Array, "b v"]:
    """Float32 logits with illegal ids at minus infinity: a softmax gives them exactly 0."""
    return jnp.where(legal, logits.astype(jnp.float32), -jnp.inf)


def guided(
    told: Float[Array, "b v"], untold: Float[Array, "b v"], draw: Draw
) -> Float[Array, "b v"]:
    """Logits in which what the condition changes counts `guidance` times."""
    return untold + draw.guidance * (told - untold)


def log_probabilities(
    logits: Float[Array, "b v"], legal: Bool[Array, "b v"], ids: Int[Array, " b"]
) -> Float[Array, " b"]:
    """Of one id a row, under a softmax over the legal ids; minus infinity for an illegal one."""
    masked = mask_logits(logits, legal)
    chosen = jnp.take_along_axis(masked, ids[:, None], axis=1)[:, 0]
    return chosen - jax.nn.logsumexp(masked, axis=1)


def sample(
    logits: Float[Array, "b v"],
    legal: Bool[Array, "b v"],
    words: UInt32[Array, "b 2"],
    index: Int[Array, ""],
    draw: Draw,
    truncates: bool,
) -> Int[Array, " b"]:
    """Draws one id per row from softmax(logits / temperature) over the legal ids, at least one.

    `words` are the data of each row's key; draws of one key differ in their `index`.

    By the Gumbel trick, scaled by the temperature instead of scaling the logits: the largest of
    logits + temperature * noise has that distribution, and temperature 0 is the plain maximum.
    Top-k and top-p take effect only where `truncates`, for they have to sort.
    """
    masked = mask_logits(logits, legal)
    if truncates:
        masked = _truncate(masked, draw)
    noise = _gumbel(words, index, logits.shape[1])
    return jnp.argmax(masked + draw.temperature * noise, axis=-1).astype(jnp.int32)


def _gumbel(
    words: UInt32[Array, "b 2"], index: Int[Array, ""], size: int
) -> Float[Array, "b {size}"]:
    """Finite noise of each row and id, from the row's words and the number of the draw alone.

    By an integer hash, as in nn/dropout.py, of which a loop can draw where it needs them; JAX's
    generator takes a second to compile, and a tenth of a small model's step.
    """
    first, second, draw = words[:, :1], words[:, 1:], index.astype(jnp.uint32)
    left = _mixed(_mixed(draw ^ first) ^ second)
    right = _mixed(_mixed(draw ^ second ^ jnp.uint32(0x9E3779B9)) ^ first)
    bits = _mixed(_mixed(jnp.arange(size, dtype=jnp.uint32)[None] ^ left) ^ right)
    uniform = ((bits >> 9).astype(jnp.float32) + 0.5) * 2.0**-23  # in (0, 1), both ends left out
    return -jnp.log(-jnp.log(uniform))


def _mixed(bits: Array) -> Array:
    """Hash "lowbias32", by which every bit of a word depends on every other."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


def _truncate(masked: Float[Array, "b v"], draw: Draw) -> Float[Array, "b v"]:
    """Minus infinity for what top-k, and then top-p, cut off; of equal logits the lower id stays.

    Top-p counts tempered probabilities among those that top-k left; the likeliest id always stays.
    """
    order = jnp.argsort(-masked, axis=-1, stable=True)
    sorted_logits = jnp.take_along_axis(masked, order, axis=-1)
    rank = jnp.arange(masked.shape[1])[None, :]
    kept = (rank < draw.top_k) | (draw.top_k == 0)
    tempered = (sorted_logits - sorted_logits[:, :1]) / jnp.maximum(draw.temperature, 1e-30)
    shares = jax.nn.softmax(jnp.where(kept, tempered, -jnp.inf), axis=-1)
    before = jnp.cumsum(shares, axis=-1) - shares
    kept &= (before < draw.top_p) | (draw.top_p >= 1)
    kept = jnp.take_along_axis(kept, jnp.argsort(order, axis=-1), axis=-1)
    return jnp.where(kept, masked, -jnp.inf)
