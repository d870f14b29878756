"""The compiled programs of decoding: prompts into caches, and the loop that writes tokens.

Each is compiled once for what it depends on: the layer over a prompt for its bucket, whatever the
number of layers; the loop for rows, slots and room. Decoders of equal arithmetic share them.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from audiolm_jax.artifacts.traced import Program
from audiolm_jax.generation.sampling import (
    Draw,
    guided,
    id_of,
    legal_next,
    log_probabilities,
    of_level,
    sample,
    withhold_end,
)
from audiolm_jax.lm import stepwise
from audiolm_jax.lm.positions import rotary_positions
from audiolm_jax.lm.weights import Arithmetic, DecoderWeights, LayerWeights
from audiolm_jax.nn.cached_attention import KVCache, empty_cache
from audiolm_jax.nn.partition import constrain, use_rules
from audiolm_jax.stages import EOS, StageConfig

SCORE_BLOCK = 256  # positions whose logits are held at once


class Request(NamedTuple):
    """What a group of rows was asked for; constant while it decodes."""

    lengths: Any  # int32 [r], tokens of each prompt in the cache
    start: Any  # int32, slot of the first token that is fed
    offsets: Any  # int32 [r], target tokens known before; as many of the last frame in all rows
    keys: Any  # uint32 [r, 2]
    allow_end: Any  # bool [r]
    told: Any  # int32 [r], of guided rows the one with the condition, which both of a pair draw as
    untold: Any  # int32 [r], and the one without it
    draw: Draw


class Carry(NamedTuple):
    """Where a group of rows stands; kept on the device."""

    index: Any  # int32, tokens written
    tokens: Any  # int32 [r], the last of each row, not yet fed
    ids: Any  # int32 [r, room]
    log_probs: Any  # float32 [r, room]
    ended: Any  # bool [r]
    caches: list[KVCache]


for _record in (Carry, KVCache):
    jax.export.register_namedtuple_serialization(_record, serialized_name=_record.__name__)


class _Program:
    """A function whose keywords are static, compiled under the mesh rules of its `how`."""

    def __init__(self, fn: Callable, donate: tuple[str, ...]):
        def under_rules(*args: Any, how: Arithmetic, **options: Any) -> Any:
            with use_rules(None if how.rules is None else dict(how.rules)):
                return fn(*args, how=how, **options)

        parameters = list(inspect.signature(fn).parameters.values())
        static = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        numbers = [n for n, p in enumerate(parameters) if p.name in donate]
        functools.update_wrapper(self, fn)
        self._on_one = Program(under_rules, fn.__name__, donate=numbers)
        self._on_mesh = jax.jit(under_rules, static_argnames=static, donate_argnums=numbers)

    def __call__(self, *args: Any, how: Arithmetic, **options: Any) -> Any:
        program = self._on_one if how.rules is None else self._on_mesh
        return program(*args, how=how, **options)

    @property
    def count(self) -> int:
        """How many programs there are, of those for one device."""
        return self._on_one.count


def _program(*, donate: tuple[str, ...] = ()) -> Callable[[Callable], _Program]:
    return functools.partial(_Program, donate=donate)


@_program()
def embed(
    weights: DecoderWeights, ids: Int[Array, " p"], *, how: Arithmetic, stage: StageConfig
) -> tuple[Array, Array | None]:
    """A prompt as columns, and its positions if they rotate."""
    positions = rotary_positions(ids[None], how.decoder, stage)
    columns = stepwise.embed(weights, ids, how.decoder.compute_dtype)
    return columns, None if positions is None else positions[0]


@_program()
def prompt_layer(
    weights: LayerWeights,
    x: Float[Array, "d p"],
    positions: Int[Array, " p"] | None,
    distance_bias: Float[Array, "h n"] | None,
    *,
    how: Arithmetic,
) -> tuple[Array, tuple[Array, Array]]:
    """One layer over one prompt: the stream, and keys and values [h, p, k]."""
    return stepwise.prompt_layer(weights, x, positions, distance_bias, how)


@_program()
def empty_caches(*, how: Arithmetic, rows: int, slots: int) -> list[KVCache]:
    """A cache for each layer."""
    decoder = how.decoder
    sizes = rows, decoder.heads, slots, decoder.head_width, decoder.compute_dtype
    return [jax.tree.map(_place, empty_cache(*sizes)) for _ in range(decoder.layers)]


@_program(donate=("cache",))
def insert(
    cache: KVCache,
    key: Float[Array, "h p k"],
    value: Float[Array, "h p k"],
    row: Int[Array, ""],
    *,
    how: Arithmetic,
) -> KVCache:
    """A layer's cache with a row's prompt in the first slots."""
    pairs = zip(cache, (key, value), strict=True)
    return KVCache(*(_place(_at_row(cached, new, row)) for cached, new in pairs))


def _at_row(cached: Array, new: Array, row: Array) -> Array:
    return jax.lax.dynamic_update_slice(cached, new[None], (row, 0, 0, 0))


def _place(cached: Array) -> Array:
    return constrain(cached, "batch", "heads", None, "kv")


@_program(donate=("carry",))
def advance(
    weights: DecoderWeights,
    table: Array,
    request: Request,
    carry: Carry,
    until: Int[Array, " r"],
    *,
    how: Arithmetic,
    stage: StageConfig,
    truncates: bool,
    is_guided: bool,
) -> Carry:
    """Writes tokens until every row has ended or has as many as `until` asks of it."""

    def unfinished(carry: Carry) -> Array:
        return jnp.any(~carry.ended & (carry.index < until))

    def write(carry: Carry) -> Carry:
        index, tokens = carry.index, carry.tokens
        positions = None
        if how.decoder.is_rotary:
            # Of the token that is fed: the last known one of the target, or SEP, is its number 0.
            known = request.offsets if how.decoder.position == "time" else request.lengths
            positions = known + index
        x, caches = stepwise.step(
            weights, tokens, index, request.lengths, positions, request.start, carry.caches, how
        )
        position = request.offsets + index
        size = stage.target_codebook_size
        first = stage.first_id(0) + position[0] % len(table) * size
        logits = stepwise.level_logits(weights, x, first, size, how)
        wanted = logits
        if is_guided:
            logits = logits[request.told]
            wanted = guided(logits, wanted[request.untold], request.draw)
        legal = of_level(legal_next(table, position, tokens, stage), first, size)
        drawn = withhold_end(legal, request.allow_end)
        choices = sample(wanted, drawn, request.keys, index, request.draw, truncates)
        found = log_probabilities(logits, legal, choices)
        tokens = id_of(choices, first)
        return Carry(
            index + 1,
            tokens,
            jax.lax.dynamic_update_slice_in_dim(carry.ids, tokens[:, None], index, 1),
            jax.lax.dynamic_update_slice_in_dim(carry.log_probs, found[:, None], index, 1),
            carry.ended | (tokens == EOS),
            caches,
        )

    return jax.lax.while_loop(unfinished, write, carry)


@_program()
def score(
    weights: DecoderWeights,
    table: Array,
    x: Float[Array, "d p"],
    previous: Int[Array, " p"],
    ids: Int[Array, " p"],
    positions: Int[Array, " p"],
    *,
    how: Arithmetic,
    stage: StageConfig,
) -> Float[Array, " p"]:
    """Log-probabilities of ids at positions of the target stream, from the last layer's columns."""
    size, plain = math.gcd(SCORE_BLOCK, len(ids)), dataclasses.replace(how, by_lanes=False)

    def block(inputs: tuple[Array, ...]) -> Array:
        x, previous, ids, positions = inputs
        found = stepwise.logits(weights, x.T, plain)
        return log_probabilities(found, legal_next(table, positions, previous, stage), ids)

    parts = [y.reshape(-1, size, *y.shape[1:]) for y in (x.T, previous, ids, positions)]
    return jax.lax.map(block, tuple(parts)).reshape(-1)
