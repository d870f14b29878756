"""The SoundStream encoder and decoder (Paper: SoundStream section III-A to III-B)."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.nn.conv import CausalConv, CausalDownsample, CausalUpsample, NormalDraws
from audiolm_jax.nn.partition import constrain
from audiolm_jax.tokenizers.acoustic.soundstream.film import DenoisingConfig, Film
from audiolm_jax.tokenizers.acoustic.soundstream.frame_rate import (
    FrameRateConfig,
    FrameRateDecoder,
    FrameRateEncoder,
)
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import QuantizerConfig

# What layers remember between two chunks of a stream: nested tuples of arrays [b, past, channels],
# made by `initial_state`. None in its place is a whole recording, padded with zeros in front.
State = Any


@dataclasses.dataclass(frozen=True)
class SoundStreamConfig:
    """Size of the codec. The defaults are the paper's 8.4M parameters at AudioLM's token rates.

    Attributes:
      sample_rate_hz: rate of the audio; 16000 in AudioLM.
      channels: C, width of the layers at the sample rate.
      width_multipliers: width after each stage as a multiple of `channels`, the first before any
        stage (paper: doubled by every stage). Wider later stages are cheap: they run at low rates.
      strides: down-sampling of each stage; their product is the hop.
      dilations: dilation of the residual units of a stage.
      residual_reduction: a residual unit's hidden width is its width divided by this. The paper's
        figure draws 1, but 1 gives 9.2M parameters before any embedding; 2 with
        embedding_width 256 is what gives its 8.4M.
      embedding_width: D, width of the vectors that are quantised; the paper does not give it.
      quantizer: the residual vector quantiser.
      denoising: a switch that removes the background; None builds none (AudioLM).
      frame_rate: a network at the rate of the codes in place of the paper's, whose sizes
        (`channels` to `residual_reduction`, except for the product of the strides) then mean
        nothing. None is the paper's.
    """

    sample_rate_hz: int = 16000
    channels: int = 32
    width_multipliers: tuple[int, ...] = (1, 2, 4, 8, 16)
    strides: tuple[int, ...] = (2, 4, 5, 8)
    dilations: tuple[int, ...] = (1, 3, 9)
    residual_reduction: int = 2
    embedding_width: int = 256
    quantizer: QuantizerConfig = dataclasses.field(default_factory=QuantizerConfig)
    denoising: DenoisingConfig | None = None
    frame_rate: FrameRateConfig | None = None

    def __post_init__(self) -> None:
        for name in ("sample_rate_hz", "channels", "residual_reduction", "embedding_width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: expected 1 or more")
        for name in ("width_multipliers", "strides", "dilations"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: expected numbers of 1 or more")
        if len(self.width_multipliers) != len(self.strides) + 1:
            raise InputError(
                f"width_multipliers = {self.width_multipliers}: expected one more than strides = "
                f"{self.strides}"
            )
        for width in self.widths[:-1]:
            if width % self.residual_reduction:
                raise InputError(
                    f"residual_reduction = {self.residual_reduction}: does not divide the width "
                    f"{width}; change channels or width_multipliers"
                )
        if self.sample_rate_hz % self.hop_samples:
            raise InputError(
                f"strides = {self.strides}: their product {self.hop_samples} does not divide "
                f"sample_rate_hz = {self.sample_rate_hz}, so the frame rate is not whole"
            )
        if self.frame_rate is not None:
            self.frame_rate.check_hop(self.hop_samples)

    @property
    def hop_samples(self) -> int:
        """Samples per codec frame."""
        return math.prod(self.strides)

    @property
    def frame_rate_hz(self) -> int:
        """Codec frames per second."""
        return self.sample_rate_hz // self.hop_samples

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first stage and after each."""
        return tuple(self.channels * m for m in self.width_multipliers)


class ResidualUnit(nnx.Module):
    """Dilated convolution of kernel 7 and pointwise convolution around a skip; ELU before each."""

    def __init__(self, width: int, dilation: int, reduction: int, *, draws: NormalDraws):
        hidden = width // reduction
        self.dilated = CausalConv(width, hidden, 7, dilation=dilation, draws=draws)
        self.pointwise = CausalConv(hidden, width, 1, draws=draws)

    def initial_state(self, batch: int) -> State:
        """State before the first chunk."""
        return self.dilated.initial_state(batch)

    def step(self, x: Float[Array, "b t c"], state: State) -> tuple[Float[Array, "b t c"], State]:
        """Keeps the shape."""
        hidden, state = self.dilated.step(jax.nn.elu(x), state)
        return x + self.pointwise(jax.nn.elu(hidden)), state


def _residual_units(config: SoundStreamConfig, width: int, draws: NormalDraws) -> nnx.List:
    return nnx.List(
        [ResidualUnit(width, d, config.residual_reduction, draws=draws) for d in config.dilations]
    )


def _initial_states(layers: Iterable[Any], batch: int) -> State:
    return tuple(layer.initial_state(batch) for layer in layers)


def _run_in_order(
    layers: Sequence[Any], x: Float[Array, "b t c"], states: State
) -> tuple[Float[Array, "b n o"], State]:
    """One layer after another, each with its state; None is a whole recording."""
    after = []
    for layer, state in zip(layers, states or [None] * len(layers), strict=True):
        x, state = layer.step(x, state)
        after.append(state)
    return x, None if states is None else tuple(after)


class EncoderStage(nnx.Module):
    """Residual units at the input width, then down-sampling to the next."""

    def __init__(self, config: SoundStreamConfig, index: int, *, draws: NormalDraws):
        width = config.widths[index]
        self.units = _residual_units(config, width, draws)
        self.down = CausalDownsample(
            width, config.widths[index + 1], config.strides[index], draws=draws
        )

    def initial_state(self, batch: int) -> State:
        """State before the first chunk."""
        return _initial_states(self.units, batch), self.down.initial_state(batch)

    def step(self, x: Float[Array, "b t c"], state: State) -> tuple[Float[Array, "b n o"], State]:
        """[b, t, c] -> [b, t / stride, o]."""
        units, down = state or (None, None)
        x, units = _run_in_order(self.units, x, units)
        x, down = self.down.step(jax.nn.elu(x), down)
        return constrain(x, "batch", "time", None), state and (units, down)


class DecoderStage(nnx.Module):
    """Up-sampling, then residual units at the output width."""

    def __init__(self, config: SoundStreamConfig, index: int, *, draws: NormalDraws):
        width = config.widths[index]
        self.up = CausalUpsample(
            config.widths[index + 1], width, config.strides[index], draws=draws
        )
        self.units = _residual_units(config, width, draws)

    def initial_state(self, batch: int) -> State:
        """State before the first chunk."""
        return self.up.initial_state(batch), _initial_states(self.units, batch)

    def step(self, x: Float[Array, "b t c"], state: State) -> tuple[Float[Array, "b n o"], State]:
        """[b, t, c] -> [b, t * stride, o]."""
        up, units = state or (None, None)
        x, up = self.up.step(jax.nn.elu(x), up)
        x, units = _run_in_order(self.units, x, units)
        return constrain(x, "batch", "time", None), state and (up, units)


class _Chain(nnx.Module):
    """A convolution, stages, ELU and a convolution: what encoder and decoder have in common."""

    def __init__(self, first: CausalConv, stages: list[Any], last: CausalConv):
        self.first = first
        self.stages = nnx.List(stages)
        self.last = last

    def initial_state(self, batch: int) -> State:
        """State of `batch` streams before their first chunk: a pytree of arrays [batch, ...]."""
        return (
            self.first.initial_state(batch),
            _initial_states(self.stages, batch),
            self.last.initial_state(batch),
        )

    def _run(self, x: Float[Array, "b t c"], state: State) -> tuple[Float[Array, "b n o"], State]:
        first, stages, last = state or (None, None, None)
        x, first = self.first.step(x, first)
        x = constrain(x, "batch", "time", None)
        x, stages = _run_in_order(self.stages, x, stages)
        x, last = self.last.step(jax.nn.elu(x), last)
        return x, state and (first, stages, last)


class Encoder(_Chain):
    """Waveform to latents: frame n depends on no sample at or after (n + 1) * hop."""

    def __init__(self, config: SoundStreamConfig, *, draws: NormalDraws):
        super().__init__(
            CausalConv(1, config.widths[0], 7, draws=draws),
            [EncoderStage(config, i, draws=draws) for i in range(len(config.strides))],
            CausalConv(config.widths[-1], config.embedding_width, 3, draws=draws),
        )

    def __call__(self, samples: Float[Array, "b s"]) -> Float[Array, "b t d"]:
        """Args: samples [b, s], s a multiple of the hop. Returns: latents [b, s / hop, d]."""
        return self.step(samples, None)[0]

    def step(
        self, samples: Float[Array, "b s"], state: State
    ) -> tuple[Float[Array, "b t d"], State]:
        """The same for one chunk of whole frames; state None is a whole recording, keeps none."""
        return self._run(samples[..., None], state)


class Decoder(_Chain):
    """Latents to waveform: sample n depends on no frame after n // hop."""

    def __init__(self, config: SoundStreamConfig, *, draws: NormalDraws):
        stages = reversed(range(len(config.strides)))
        super().__init__(
            CausalConv(config.embedding_width, config.widths[-1], 7, draws=draws),
            [DecoderStage(config, i, draws=draws) for i in stages],
            CausalConv(config.widths[0], 1, 7, draws=draws),
        )

    def __call__(self, latents: Float[Array, "b t d"]) -> Float[Array, "b s"]:
        """Args: latents [b, t, d]. Returns: samples [b, t * hop], not limited to [-1, 1]."""
        return self.step(latents, None)[0]

    def step(
        self, latents: Float[Array, "b t d"], state: State
    ) -> tuple[Float[Array, "b s"], State]:
        """The same for one chunk of any t; state None is a whole recording and keeps none."""
        x, state = self._run(latents, state)
        return x[..., 0], state


class SoundStream(nnx.Module):
    """Encoder, decoder and switch; the codebooks are no parameters and live beside them."""

    def __init__(self, config: SoundStreamConfig, *, draws: NormalDraws):
        if config.frame_rate is None:
            self.encoder = Encoder(config, draws=draws)
            self.decoder = Decoder(config, draws=draws)
        else:
            sizes = (config.frame_rate, config.hop_samples, config.embedding_width)
            self.encoder = FrameRateEncoder(*sizes, draws=draws)
            self.decoder = FrameRateDecoder(*sizes, draws=draws)
        denoising = config.denoising
        self.film = None if denoising is None else Film(denoising, config.embedding_width)


def receptive_field_samples(config: SoundStreamConfig) -> int:
    """Samples that an encoder frame depends on; the last one is the last of its own hop."""
    if config.frame_rate is not None:
        return config.frame_rate.receptive_field_samples(config.hop_samples)
    inputs = 3  # of the last convolution; then layer by layer up to the sample rate
    for stride in reversed(config.strides):
        inputs = (inputs + 1) * stride + sum(6 * dilation for dilation in config.dilations)
    return inputs + 6


def count_frames(samples: Int[Array, "..."], hop_samples: int) -> Int[Array, "..."]:
    """Frames of so many samples; the last one may be partly filled."""
    return -(-samples // hop_samples)
