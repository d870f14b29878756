"""Autoregressive decoding of a stage: compiled once per size, a cache per layer, seeded per row.

Slots of the cache. Rows have prompts of different lengths, padded on the right to one length P.
A row's prompt occupies slots 0 ... length - 1, the padding up to P is never visible, and the i-th
generated token of every row stands in slot P + i. So one write at one slot serves all rows, and
the compiler updates the caches in place; each row still counts its own positions.

Sizes. P and the room for generated tokens are rounded up to multiples of `BUCKET`; one program is
compiled for each (rows, P, room). How many steps actually run is decided inside it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from audiolm_jax.generation.sampling import check_temperature, legal_next, legal_table, sample
from audiolm_jax.lm.config import StageModelConfig
from audiolm_jax.lm.decoder import UnstackedDecoder, distance_bias, load_decoder, output_logits
from audiolm_jax.nn.attention import KVCache, cached_attention, causal_attention, empty_cache
from audiolm_jax.stages import EOS, PAD

BUCKET = 256


class Continuation(NamedTuple):
    """What one row generated."""

    ids: np.ndarray  # int32, new ids of the stage's vocabulary without EOS
    log_probs: np.ndarray  # float32, of each under the model
    ended: bool  # whether the row stopped at EOS rather than at the number of steps asked for


def round_up(length: int) -> int:
    """The smallest positive multiple of `BUCKET` that holds `length`."""
    return max(1, -(-length // BUCKET)) * BUCKET


def prefill(
    model: UnstackedDecoder, prompts: Int[Array, "b p"], room: int
) -> tuple[Float[Array, "b p d"], list[KVCache]]:
    """Runs all prompts, padded on the right with any ids, in one pass.

    Returns what `output_logits` takes, and for each layer a cache of p + `room` slots with the
    prompts in slots 0 ... p - 1.
    """
    bias = distance_bias(model)
    x = model.embedding(prompts)
    caches: list[KVCache] = []
    for block in model.blocks:

        def attend(query: Array, key: Array, value: Array) -> tuple[Array, KVCache]:
            batch, length, heads, head_width = key.shape
            cache = empty_cache(batch, heads, length + room, head_width, key.dtype)
            written = cache.write(key, value, jnp.zeros((), jnp.int32))
            return causal_attention(query, key, value, bias), written

        filled: KVCache
        x, filled = block(x, attend)
        caches.append(filled)
    return x, caches


def decode_step(
    model: UnstackedDecoder,
    tokens: Int[Array, " b"],
    index: Int[Array, ""],
    lengths: Int[Array, " b"],
    caches: list[KVCache],
    prompt_slots: int,
) -> tuple[Float[Array, "b v"], list[KVCache]]:
    """Feeds the generated tokens number `index` (from 0), returns the logits of those after them.

    `lengths` are the valid prompt tokens of each row, at least 1; `prompt_slots` is the module's P.
    """
    slot = jnp.arange(caches[0].keys.shape[2])[None, :]
    in_prompt = slot < prompt_slots
    distances = jnp.where(in_prompt, lengths[:, None] + index - slot, index - slot + prompt_slots)
    visible = jnp.where(in_prompt, slot < lengths[:, None], distances >= 0)
    bias = distance_bias(model)
    positions = (lengths + index)[:, None]
    x = model.embedding(tokens[:, None])
    updated = []
    for block, cache in zip(model.blocks, caches, strict=True):

        def attend(
            query: Array, key: Array, value: Array, cache: KVCache = cache
        ) -> tuple[Array, KVCache]:
            written = cache.write(key, value, prompt_slots + index)
            return cached_attention(query, written, distances, visible, bias), written

        filled: KVCache
        x, filled = block(x, attend, positions=positions)
        updated.append(filled)
    return output_logits(model, x)[:, 0], updated


class StageDecoder:
    """A trained stage, ready to write tokens."""

    def __init__(
        self, config: StageModelConfig, arrays: dict[str, np.ndarray], where: str = "stage model"
    ):
        """Takes config and arrays of a "stage" model folder; InputError if they do not fit."""
        self.config = config
        self._table = jnp.asarray(legal_table(config.stage))
        graphdef, params = load_decoder(config, arrays, where)
        # Slicing and casting on the host compiles nothing.
        model = UnstackedDecoder(nnx.merge(graphdef, jax.tree.map(np.asarray, params)))
        # Compiled code receives a plain state, and builds the module from it while tracing.
        self._graphdef, state = nnx.split(model)
        self._state = jax.device_put(_cast_matrices(state, config))
        self._run = jax.jit(self._decode, static_argnames="room")

    def generate(
        self,
        prompts: list[Int[np.ndarray, " _"]],
        target_offset: list[int],
        steps: list[int],
        keys: Key[Array, " b"],
        temperature: float,
        allow_end: bool,
    ) -> list[Continuation]:
        """Continues every prompt; a row's result depends on its own prompt, key and offset alone.

        A prompt, as `stages` builds it, ends in the `target_offset` target tokens known already.
        `steps` are the most tokens wanted, `keys` come from `sampling.row_keys`, temperature 0 is
        greedy, and with `allow_end` a row may stop at EOS where a frame may begin.
        """
        check_temperature(temperature)
        self._check_rows(prompts, target_offset, steps, keys)
        if not prompts or max(steps) == 0:
            return [Continuation(np.zeros(0, np.int32), False) for _ in prompts]
        lengths = np.array([len(prompt) for prompt in prompts], np.int32)
        padded = np.full((len(prompts), round_up(int(lengths.max()))), PAD, np.int32)
        for row, prompt in enumerate(prompts):
            padded[row, : len(prompt)] = prompt
        offsets, most = np.array(target_offset, np.int32), np.array(steps, np.int32)
        how = (keys, np.float32(temperature), np.bool_(allow_end))
        room = round_up(max(steps))
        results = self._run(self._state, padded, lengths, offsets, most, *how, room=room)
        ids, counts, ended = jax.device_get(results)
        rows = zip(ids, counts, ended, strict=True)
        return [Continuation(row[:count].copy(), bool(end)) for row, count, end in rows]

    def _check_rows(self, prompts: list, offsets: list[int], steps: list[int], keys: Array) -> None:
        sizes = [len(prompts), len(offsets), len(steps), len(keys)]
        if len(set(sizes)) > 1:
            raise ValueError(f"{sizes} prompts, offsets, steps and keys: expected one each a row")
        vocab_size = self.config.stage.vocab_size
        for row, (prompt, offset, count) in enumerate(zip(prompts, offsets, steps, strict=True)):
            if not len(prompt) or min(prompt) < 0 or max(prompt) >= vocab_size:
                raise ValueError(f"prompt {row}: expected BOS first and ids in [0, {vocab_size})")
            if not 0 <= offset < len(prompt) or count < 0:
                raise ValueError(f"row {row}: offset {offset}, steps {count}, {len(prompt)} ids")

    def _decode(
        self,
        state: nnx.State,
        prompts: Int[Array, "b p"],
        lengths: Int[Array, " b"],
        offsets: Int[Array, " b"],
        steps: Int[Array, " b"],
        keys: Key[Array, " b"],
        temperature: Float[Array, ""],
        allow_end: Array,
        *,
        room: int,
    ) -> tuple[Array, Array, Array]:
        """Ids [b, room], how many of them count [b], and whether the row ended [b]."""
        model = nnx.merge(self._graphdef, state)
        prompt_slots = prompts.shape[1]

        def choose(logits: Array, index: Array, previous: Array) -> Array:
            legal = legal_next(self._table, offsets + index, previous, allow_end, self.config.stage)
            now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)
            return sample(logits, legal, now, temperature)

        def unfinished(carry: tuple) -> Array:
            index, _, _, _, ended, _ = carry
            return jnp.any(~ended & (index < steps))

        def advance(carry: tuple) -> tuple:
            index, previous, logits, ids, ended, caches = carry
            tokens = choose(logits, index, previous)
            ended |= (tokens == EOS) & (index < steps)
            ids = jax.lax.dynamic_update_slice_in_dim(ids, tokens[:, None], index, 1)
            logits, caches = decode_step(model, tokens, index, lengths, caches, prompt_slots)
            return index + 1, tokens, logits, ids, ended, caches

        x, caches = prefill(model, prompts, room)
        last = jnp.take_along_axis(x, (lengths - 1)[:, None, None], axis=1)
        carry: Any = (
            jnp.zeros((), jnp.int32),
            jnp.take_along_axis(prompts, (lengths - 1)[:, None], axis=1)[:, 0],
            output_logits(model, last)[:, 0],
            jnp.zeros((prompts.shape[0], room), jnp.int32),
            jnp.zeros(prompts.shape[0], bool),
            caches,
        )
        # The last token's step is run for nothing: cheaper than a second copy of the loop's body.
        _, _, _, ids, ended, _ = jax.lax.while_loop(unfinished, advance, carry)
        counts = jnp.where(ended, jnp.argmax(ids == EOS, axis=1), steps)
        return ids, counts, ended


def _cast_matrices(state: nnx.State, config: StageModelConfig) -> nnx.State:
    """Matrices in the dtype that they are multiplied in, once instead of at every step.

    Norm scales and the position table stay float32: they are used in float32.
    """

    def cast(path: tuple, array: Any) -> Any:
        is_matrix = array.ndim > 1 and getattr(path[0], "key", None) != "position"
        return array.astype(config.decoder.compute_dtype) if is_matrix else array

    return jax.tree_util.tree_map_with_path(cast, state)
