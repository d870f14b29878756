"""The decoder-only transformer of all three stages.

Sizes, dropout and T5 relative positions are the paper's (AudioLM section IV-B). Ours, as in t5x:
pre-norm RMSNorm, gated GELU, no biases, separate input and output embeddings. Dropout falls on the
embedding and on what each branch adds, not on attention weights, which block-wise attention never
holds. Rotary positions, normalized queries and keys and tied embeddings are options of ours.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.artifacts.traced import kept_shapes
from audiolm_jax.errors import InputError
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.lm.positions import rotary_positions
from audiolm_jax.nn.attention import AttentionProjections, causal_attention
from audiolm_jax.nn.dropout import dropout
from audiolm_jax.nn.embedding import look_up
from audiolm_jax.nn.feed_forward import GatedFeedForward, rms_norm
from audiolm_jax.nn.fused_attention import fused_causal_attention
from audiolm_jax.nn.gather import gathered
from audiolm_jax.nn.linear import Linear, multiply
from audiolm_jax.nn.partition import annotate, constrain
from audiolm_jax.nn.position import RelativePositionBias
from audiolm_jax.nn.stack import init_stack, run_stack
from audiolm_jax.nn.state_arrays import flatten_shapes, unflatten_into

# JAX's name of the devices that each kind of attention runs on; None: any.
NEEDED_BACKEND = {"blocks": None, "flash": "tpu", "cudnn": "gpu"}


class Block(nnx.Module):
    """One pre-norm layer: attention, then the feed-forward network, both added to their input."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        dtype = config.compute_dtype
        self.attention_norm = rms_norm(config.width, "embed", dtype, rngs=rngs)
        sizes = (config.width, config.heads, config.head_width)
        self.attention = AttentionProjections(*sizes, dtype, normalize=config.qk_norm, rngs=rngs)
        self.feed_forward_norm = rms_norm(config.width, "embed", dtype, rngs=rngs)
        self.feed_forward = GatedFeedForward(config.width, config.ff_width, dtype, rngs=rngs)
        self.dropout_rate = config.dropout

    def __call__(
        self,
        x: Float[Array, "b l d"],
        attend: Callable[[Array, Array, Array], Array],
        positions: Int[Array, "p l"] | None,
        key: Array | None = None,
    ) -> Float[Array, "b l d"]:
        """The residual stream after the layer; without a key there is no dropout.

        `attend` takes query, key and value, each [b, l, h, k], and gives mixed values; queries and
        keys are rotated by positions that are given.
        """
        keys = (None, None) if key is None else jax.random.split(key)
        mixed = attend(*self.attention.project(self.attention_norm(x), positions))
        x = x + dropout(self.attention.merge(mixed), self.dropout_rate, keys[0])
        x = constrain(x, "batch", "length", None)
        x = x + dropout(self.feed_forward(self.feed_forward_norm(x)), self.dropout_rate, keys[1])
        return constrain(x, "batch", "length", None)


class Decoder(nnx.Module):
    """Token ids to logits of the next token."""

    def __init__(self, model: StageModelConfig, *, rngs: nnx.Rngs):
        self.stage = model.stage
        self.config = config = model.decoder
        vocab_size = model.stage.vocab_size
        width, dtype = config.width, config.compute_dtype
        init = annotate(nnx.initializers.normal(1.0), "vocab", "embed")
        self.embedding = nnx.Embed(
            vocab_size, width, dtype=jnp.dtype(dtype), embedding_init=init, rngs=rngs
        )
        self.position = _bias(config, rngs) if config.position == "t5" else None
        self.layers = init_stack(
            lambda key: Block(config, rngs=nnx.Rngs(params=key)), rngs.params(), config.layers
        )
        self.final_norm = rms_norm(width, "embed", dtype, rngs=rngs)
        self.output = (
            None
            if config.tied_embeddings
            else Linear((width,), (vocab_size,), ("embed", "vocab"), dtype, rngs=rngs)
        )

    def __call__(
        self, inputs: Int[Array | np.ndarray, "b l"], *, dropout_key: Array | None = None
    ) -> Float[Array, "b l v"]:
        """Float32 logits of the token after each input; without a key there is no dropout.

        An id outside [0, vocab_size) gives NaN from its position on.
        """
        x = self.stream(inputs, dropout_key=dropout_key)
        return constrain(output_logits(self, x), "batch", "length", "vocab")

    def stream(
        self, inputs: Int[Array | np.ndarray, "b l"], *, dropout_key: Array | None = None
    ) -> Float[Array, "b l d"]:
        """As `__call__`, the residual stream after the last layer; `output_logits` reads it."""
        table = gathered(self.embedding, self.config.compute_dtype).embedding[...]
        # Pinned twice, so that its gradient is summed whole before it is divided: dividing the
        # scatter itself would move activations between devices.
        table = constrain(table, "vocab", None)
        embedded = look_up(table, jnp.asarray(inputs))
        positions = rotary_positions(inputs, self.config, self.stage)
        return self.run_layers(embedded, positions, dropout_key=dropout_key)

    def run_layers(
        self,
        embedded: Float[Array, "b l d"],
        positions: Int[Array, "p l"] | None,
        *,
        dropout_key: Array | None = None,
    ) -> Float[Array, "b l d"]:
        """As `stream`, from embedded tokens and their `rotary_positions` on."""
        config = self.config
        x = constrain(embedded, "batch", "length", None)
        layer_keys = None
        if dropout_key is not None:
            embedding_key, key = jax.random.split(dropout_key)
            x = dropout(x, config.dropout, embedding_key)
            layer_keys = jax.random.split(key, config.layers)
        attention, bias = _attention(config), distance_bias(self)

        def apply(block: Block, x: Array, key: Array | None) -> Array:
            block = gathered(block, config.compute_dtype)
            return block(x, lambda q, k, v: attention(q, k, v, bias), positions, key)

        return run_stack(apply, self.layers, x, layer_keys, config.remat, config.scan_layers)


def distance_bias(model: Decoder) -> Float[Array, "h n"] | None:
    """The learned bias of each distance, or None if positions rotate."""
    return None if model.position is None else model.position()


def output_logits(model: Decoder, x: Float[Array, "b l d"]) -> Float[Array, "b l v"]:
    """Float32 logits from the last layer's residual stream."""
    x, matrix, scale = normed_output(model, x)
    return project_out(x, matrix, scale)


def normed_output(
    model: Decoder, x: Float[Array, "b l d"]
) -> tuple[Float[Array, "b l d"], Float[Array, "d v"], float]:
    """What gives the logits by `project_out`: the normalized stream, the matrix and its scale."""
    dtype = model.config.compute_dtype
    x = gathered(model.final_norm, dtype)(x)
    if model.output is not None:
        matrix, scale = gathered(model.output, dtype).kernel[...], 1.0
    else:
        matrix, scale = gathered(model.embedding, dtype).embedding[...].T, x.shape[-1] ** -0.5
    return x, matrix.astype(x.dtype), scale


def project_out(
    x: Float[Array, "b l d"], matrix: Float[Array, "d n"], scale: float
) -> Float[Array, "b l n"]:
    """Float32 products with some of the output's columns, or all."""
    flat = multiply(x.reshape(-1, x.shape[-1]), matrix, "float32") * scale
    return flat.reshape(*x.shape[:2], -1)


def make_decoder(config: StageModelConfig, key: Array) -> Decoder:
    """A freshly initialized decoder for the stage's vocabulary."""
    return Decoder(config, rngs=nnx.Rngs(params=key))


def portable(config: StageModelConfig) -> StageModelConfig:
    """The same model, wherever it was trained, for any device: it attends in blocks."""
    decoder = dataclasses.replace(config.decoder, attention="blocks")
    return dataclasses.replace(config, decoder=decoder)


def decoder_shapes(config: StageModelConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of a `portable` decoder's arrays by dotted name."""

    def make() -> dict[str, tuple[int, ...]]:
        return flatten_shapes(nnx.state(_abstract(config)))

    return kept_shapes("decoder", [config], make)


def load_decoder(
    config: StageModelConfig,
    arrays: dict[str, np.ndarray],
    where: str = "stage model",
    place: Callable[[np.ndarray], Any] = jnp.asarray,
) -> tuple[nnx.GraphDef, nnx.State]:
    """The `portable` decoder with given weights: `nnx.merge(*load_decoder(...))(inputs)` gives its
    logits. InputError if the arrays do not fit; each becomes `place(array)`."""
    graphdef, state = nnx.split(_abstract(config))
    return graphdef, unflatten_into(state, arrays, where, place)


def _abstract(config: StageModelConfig) -> Decoder:
    return nnx.eval_shape(lambda: make_decoder(portable(config), jax.random.key(0)))


def check_backend(config: DecoderConfig) -> None:
    """Refuses a config whose training step cannot run on this process's devices."""
    needed, backend = NEEDED_BACKEND[config.attention], jax.default_backend()
    if needed not in (None, backend):
        kernel = f"decoder.attention = {config.attention!r}"
        raise InputError(f"{kernel}: needs a {needed.upper()}, not {backend}; choose blocks")


def _attention(config: DecoderConfig) -> Callable[..., Array]:
    match config.attention:
        case "blocks":
            return causal_attention
        case "cudnn":
            return fused_causal_attention
    from audiolm_jax.nn.flash.attention import flash_causal_attention

    return functools.partial(flash_causal_attention, block=config.flash_block)


def _bias(config: DecoderConfig, rngs: nnx.Rngs) -> RelativePositionBias:
    return RelativePositionBias(
        config.relative_buckets, config.relative_max_distance, config.heads, rngs=rngs
    )
