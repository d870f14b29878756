"""The SoundStream encoder and decoder (Paper: SoundStream section III-A to III-B)."""

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from audiolm_jax.nn.conv import (
    CausalConv,
    CausalDownsample,
    CausalUpsample,
    NormalDraws,
    initialize,
)
from audiolm_jax.nn.partition import constrain
from audiolm_jax.tokenizers.acoustic.soundstream.config import SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.film import Film
from audiolm_jax.tokenizers.acoustic.soundstream.frame_rate import (
    FrameRateDecoder,
    FrameRateEncoder,
)
from audiolm_jax.tokenizers.acoustic.streams import State

CODEBOOKS = "quantizer.codebooks"  # name of the exported array [q, n, d]


class ResidualUnit(nnx.Module):
    """Dilated convolution of kernel 7 and pointwise convolution around a skip; ELU before each."""

    def __init__(self, width: int, dilation: int, reduction: int, *, draws: NormalDraws):
        hidden = width // reduction
        self.dilated = CausalConv(width, hidden, 7, dilation=dilation, draws=draws)
        self.pointwise = CausalConv(hidden, width, 1, draws=draws)

    def initial_state(self, batch: int) -> State:
        """Of `batch` streams before their first chunk."""
        return self.dilated.initial_state(batch)

    def step(self, x: Float[Array, "b t c"], state: State) -> tuple[Float[Array, "b t c"], State]:
        """Keeps the shape."""
        hidden, state = self.dilated.step(jax.nn.elu(x), state)
        return x + self.pointwise(jax.nn.elu(hidden)), state


def _residual_units(config: SoundStreamConfig, width: int, draws: NormalDraws) -> nnx.List:
    return nnx.List(
        [ResidualUnit(width, d, config.residual_reduction, draws=draws) for d in config.dilations]
    )


class _Link(NamedTuple):
    layer: Any
    elu: bool = False  # before the layer
    pin: bool = False  # the sharding of its output
    widen: bool = False  # to float32, before the layer


class _Chain(nnx.Module):
    """Layers one after another, each with its own state."""

    @abc.abstractmethod
    def _links(self) -> list[_Link]: ...

    def initial_state(self, batch: int) -> State:
        """Of `batch` streams before their first chunk: a pytree of arrays [batch, ...]."""
        return tuple(link.layer.initial_state(batch) for link in self._links())

    def step(self, x: Float[Array, "b t c"], state: State) -> tuple[Float[Array, "b n o"], State]:
        """One chunk; state None is a whole recording, padded with zeros, and keeps none."""
        links, after = self._links(), []
        for link, past in zip(links, state or [None] * len(links), strict=True):
            x = x.astype(jnp.float32) if link.widen else x
            x, past = link.layer.step(jax.nn.elu(x) if link.elu else x, past)
            x = constrain(x, "batch", "time", None) if link.pin else x
            after.append(past)
        return x, None if state is None else tuple(after)


class EncoderStage(_Chain):
    """Residual units at the input width, then down-sampling to the next."""

    def __init__(self, config: SoundStreamConfig, index: int, *, draws: NormalDraws):
        narrow, wide = config.widths[index : index + 2]
        self.units = _residual_units(config, narrow, draws)
        self.down = CausalDownsample(narrow, wide, config.strides[index], draws=draws)

    def _links(self) -> list[_Link]:
        return [*map(_Link, self.units), _Link(self.down, elu=True)]


class DecoderStage(_Chain):
    """Up-sampling, then residual units at the output width."""

    def __init__(self, config: SoundStreamConfig, index: int, *, draws: NormalDraws):
        narrow, wide = config.widths[index : index + 2]
        self.up = CausalUpsample(wide, narrow, config.strides[index], draws=draws)
        self.units = _residual_units(config, narrow, draws)

    def _links(self) -> list[_Link]:
        return [_Link(self.up, elu=True), *map(_Link, self.units)]


class _Stages(_Chain):
    """A convolution, stages, ELU and a convolution: what encoder and decoder have in common."""

    def __init__(self, first: CausalConv, stages: list[_Chain], last: CausalConv):
        self.first, self.stages, self.last = first, nnx.List(stages), last

    def __call__(self, x: Float[Array, "b ..."], dtype: Any = jnp.float32) -> Float[Array, "b ..."]:
        """Whole recordings of whole frames, float32; all layers but the last compute in `dtype`."""
        return self.step(x.astype(dtype), None)[0]

    def _links(self) -> list[_Link]:
        inner = [_Link(layer, pin=True) for layer in (self.first, *self.stages)]
        return [*inner, _Link(self.last, elu=True, widen=True)]


class Encoder(_Stages):
    """Waveform to latents: frame n depends on no sample at or after (n + 1) * hop."""

    def __init__(self, config: SoundStreamConfig, *, draws: NormalDraws):
        super().__init__(
            CausalConv(1, config.widths[0], 7, draws=draws),
            [EncoderStage(config, i, draws=draws) for i in range(len(config.strides))],
            CausalConv(config.widths[-1], config.embedding_width, 3, draws=draws),
        )

    def step(
        self, samples: Float[Array, "b s"], state: State
    ) -> tuple[Float[Array, "b t d"], State]:
        """The same for one chunk of whole frames; state None is a whole recording, keeps none."""
        return super().step(samples[..., None], state)


class Decoder(_Stages):
    """Latents to waveform, not limited to [-1, 1]: sample n depends on no frame after n // hop."""

    def __init__(self, config: SoundStreamConfig, *, draws: NormalDraws):
        stages = reversed(range(len(config.strides)))
        super().__init__(
            CausalConv(config.embedding_width, config.widths[-1], 7, draws=draws),
            [DecoderStage(config, i, draws=draws) for i in stages],
            CausalConv(config.widths[0], 1, 7, draws=draws),
        )

    def step(
        self, latents: Float[Array, "b t d"], state: State
    ) -> tuple[Float[Array, "b s"], State]:
        """The same for one chunk of any t; state None is a whole recording and keeps none."""
        x, state = super().step(latents, state)
        return x[..., 0], state


def make_decoder(config: SoundStreamConfig, *, draws: NormalDraws) -> "Decoder | FrameRateDecoder":
    """The decoder of either kind of network."""
    if config.frame_rate is None:
        return Decoder(config, draws=draws)
    sizes = (config.frame_rate, config.hop_samples, config.embedding_width)
    return FrameRateDecoder(*sizes, draws=draws)


class SoundStream(nnx.Module):
    """Encoder, decoder and switch; the codebooks are no parameters and live beside them."""

    def __init__(self, config: SoundStreamConfig, *, draws: NormalDraws):
        self.encoder: Encoder | FrameRateEncoder
        if config.frame_rate is None:
            self.encoder = Encoder(config, draws=draws)
        else:
            sizes = (config.frame_rate, config.hop_samples, config.embedding_width)
            self.encoder = FrameRateEncoder(*sizes, draws=draws)
        self.decoder = make_decoder(config, draws=draws)
        denoising = config.denoising
        self.film = None if denoising is None else Film(denoising, config.embedding_width)


class DecoderAlone(nnx.Module):
    """A decoder of vectors that something else makes."""

    def __init__(self, config: SoundStreamConfig, *, draws: NormalDraws):
        self.decoder = make_decoder(config, draws=draws)


def build_generator(config: SoundStreamConfig, key: PRNGKeyArray) -> SoundStream:
    """A freshly initialized encoder and decoder."""
    return initialize(lambda draws: SoundStream(config, draws=draws), key)
