"""An encoder and a decoder that compute at the rate of the codes: quick to train on a CPU.

SoundStream's layers near the sample rate are most of its cost. Here a short-time Fourier transform
takes their place before the encoder and an inverse one after the decoder, as in Vocos
(arXiv:2306.00814), and causal ConvNeXt blocks (arXiv:2201.03545) between run once a frame.
"""

import abc
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from audiolm_jax.nn.conv import NormalDraws, add_channels, draw_kernel, fill_channels
from audiolm_jax.nn.linear import multiply
from audiolm_jax.tokenizers.acoustic.soundstream.config import FrameRateConfig
from audiolm_jax.tokenizers.acoustic.soundstream.short_time import (
    analysis_matrix,
    overlap_add,
    synthesis_matrix,
    windows_ending_with_cells,
)
from audiolm_jax.tokenizers.acoustic.streams import State

_COMPRESSION = 0.3  # magnitudes are raised to this before the encoder: nearer to loudness
_POWER_FLOOR = 1e-8  # of a band's squared magnitude; below it the spectrum fades to 0, gradient too
_LOG_MAGNITUDE_LIMIT = 2.0  # bands of full scale have magnitudes near 1


def transforms(
    config: FrameRateConfig, hop: int
) -> tuple[Float[np.ndarray, "w f"], Float[np.ndarray, "g v"]]:
    """The matrices of analysis and synthesis. Megabytes: programs that are kept rather take them
    as arguments than hold them."""
    cell = hop // config.cells
    analysis = analysis_matrix(cell * config.analysis_overlap)
    return analysis, synthesis_matrix(cell * config.synthesis_overlap, cell)


class _Norm(nnx.Module):
    def __init__(self, width: int):
        self.gain, self.bias = fill_channels(width, 1.0), fill_channels(width, 0.0)

    def __call__(self, x: Float[Array, "b t c"]) -> Float[Array, "b t c"]:
        normal = jax.nn.standardize(x.astype(jnp.float32), epsilon=1e-6)
        return (normal * self.gain[...][None, None] + self.bias[...][None, None]).astype(x.dtype)


class _Pointwise(nnx.Module):
    """The same affine map for each frame; as a matrix product a CPU does it in fewer copies."""

    def __init__(self, channels_in: int, channels_out: int, *, draws: NormalDraws):
        self.kernel = draw_kernel(draws, (channels_in, channels_out))
        self.bias = fill_channels(channels_out, 0.0)

    def __call__(self, x: Float[Array, "b t i"]) -> Float[Array, "b t o"]:
        kernel = self.kernel[...].astype(x.dtype)
        rows = multiply(x.reshape(-1, x.shape[-1]), kernel, x.dtype.name)
        return add_channels(rows.reshape(*x.shape[:-1], -1), self.bias[...])


class Block(nnx.Module):
    """Depthwise causal convolution, normalization and two pointwise layers around a skip."""

    def __init__(self, config: FrameRateConfig, blocks: int, *, draws: NormalDraws):
        width, hidden = config.width, config.width * config.expansion
        self.taps = draw_kernel(draws, (config.kernel_size, width))
        self.norm = _Norm(width)
        self.expand = _Pointwise(width, hidden, draws=draws)
        self.contract = _Pointwise(hidden, width, draws=draws)
        self.gain = fill_channels(width, 1 / blocks)

    def initial_state(self, batch: int) -> Float[Array, "b p c"]:
        """The frames before the first: zeros."""
        extent, width = self.taps.shape
        return jnp.zeros((batch, extent - 1, width))

    def step(
        self, x: Float[Array, "b t c"], state: Float[Array, "b p c"]
    ) -> tuple[Float[Array, "b t c"], Float[Array, "b p c"]]:
        """One chunk of any t; keeps the shape."""
        joined, count = jnp.concatenate([state.astype(x.dtype), x], axis=1), x.shape[1]
        # Shifted products: a CPU is slow at grouped convolutions.
        taps = enumerate(self.taps[...])
        mixed = functools.reduce(
            jnp.add, (joined[:, i : i + count] * tap[None, None] for i, tap in taps)
        )
        hidden = jax.nn.gelu(self.expand(self.norm(mixed).astype(x.dtype)))
        change = self.contract(hidden) * self.gain[...][None, None]
        return x + change.astype(x.dtype), joined[:, count:]


class _FrameNetwork(nnx.Module):
    """A layer that mixes channels, blocks, normalization and a layer to the wanted width."""

    cell: int  # samples between two short-time spectra
    window: int  # samples of each
    past: int  # samples before a chunk that its windows reach into

    def __init__(
        self, config: FrameRateConfig, inputs: int, blocks: int, outputs: int, *, draws: NormalDraws
    ):
        self.first = _Pointwise(inputs, config.width, draws=draws)
        self.first_norm = _Norm(config.width)
        self.blocks = nnx.List([Block(config, blocks, draws=draws) for _ in range(blocks)])
        self.last_norm = _Norm(config.width)
        self.last = _Pointwise(config.width, outputs, draws=draws)

    def initial_state(self, batch: int) -> State:
        """Of `batch` streams before their first chunk: a pytree of arrays [batch, ...]."""
        past = jnp.zeros((batch, self.past))
        return past, tuple(block.initial_state(batch) for block in self.blocks)

    def __call__(self, x: Float[Array, "b ..."], dtype: Any = jnp.float32) -> Float[Array, "b ..."]:
        """Whole recordings of whole frames; `dtype` is that of the blocks' arithmetic."""
        return self.step(x, None, dtype=dtype)[0]

    @abc.abstractmethod
    def step(
        self, x: Array, state: State, matrix: Array | None = None, dtype: Any = jnp.float32
    ) -> tuple[Array, State]:
        """One chunk of whole frames; state None is a whole recording and keeps none. `matrix`, if
        given, is its own of `transforms`."""

    def _run(
        self, x: Float[Array, "b t i"], states: State, dtype: Any
    ) -> tuple[Float[Array, "b t o"], State]:
        x = self.first_norm(self.first(x.astype(dtype)))
        after = []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block.step(x, state)
            after.append(state)
        return self.last(self.last_norm(x).astype(jnp.float32)), tuple(after)


class FrameRateEncoder(_FrameNetwork):
    """Waveform to latents: frame n depends on no sample at or after (n + 1) * hop. With a lookahead
    it is the latent of `lookahead_frames` before, so that these are the frames it is late."""

    def __init__(self, config: FrameRateConfig, hop: int, width: int, *, draws: NormalDraws):
        self.hop, self.cell = hop, hop // config.cells
        self.window = self.cell * config.analysis_overlap
        # Where the lookahead is no whole number of frames, what was heard beyond it waits.
        waiting = config.lookahead_frames * config.cells - config.lookahead
        self.past = self.window - self.cell + waiting * self.cell
        features = config.cells * 3 * (self.window // 2 + 1)
        super().__init__(config, features, config.encoder_blocks, width, draws=draws)

    def step(
        self,
        x: Float[Array, "b s"],
        state: State,
        matrix: Float[Array, "w f"] | None = None,
        dtype: Any = jnp.float32,
    ) -> tuple[Float[Array, "b t d"], State]:
        """Samples to latents. `matrix`, if given, is the first of `transforms`."""
        past, states = state or self.initial_state(len(x))
        windows_BxCxW, past = windows_ending_with_cells(x, past, self.cell, self.window)
        spectrum_BxCxF = windows_BxCxW @ (
            jnp.asarray(analysis_matrix(self.window)) if matrix is None else matrix
        )
        real, imaginary = jnp.split(spectrum_BxCxF, 2, axis=-1)
        power = real**2 + imaginary**2 + _POWER_FLOOR
        scale = power ** ((_COMPRESSION - 1) / 2)
        magnitude = power ** (_COMPRESSION / 2)
        features = jnp.concatenate([real * scale, imaginary * scale, magnitude], axis=-1)
        frames_BxTxI = features.reshape(len(x), x.shape[1] // self.hop, -1)
        latents, states = self._run(frames_BxTxI, states, dtype)
        return latents, state and (past, states)


class FrameRateDecoder(_FrameNetwork):
    """Latents to waveform: sample n depends on no frame after n // hop."""

    def __init__(self, config: FrameRateConfig, hop: int, width: int, *, draws: NormalDraws):
        self.cells, self.cell = config.cells, hop // config.cells
        self.window = self.cell * config.synthesis_overlap
        self.past = self.window - self.cell
        bands = config.cells * 2 * (self.window // 2 + 1)
        super().__init__(config, width, config.decoder_blocks, bands, draws=draws)

    def step(
        self,
        x: Float[Array, "b t d"],
        state: State,
        matrix: Float[Array, "f w"] | None = None,
        dtype: Any = jnp.float32,
    ) -> tuple[Float[Array, "b s"], State]:
        """Latents to samples, not limited to [-1, 1]. `matrix`, if given, is the second of
        `transforms`."""
        tail, states = state or self.initial_state(len(x))
        x_BxTxO, states = self._run(x, states, dtype)
        bands_BxCxF = x_BxTxO.reshape(len(x), x_BxTxO.shape[1] * self.cells, -1)
        log_magnitude, angle = jnp.split(bands_BxCxF, 2, axis=-1)
        magnitude = jnp.exp(jnp.minimum(log_magnitude - 5.0, _LOG_MAGNITUDE_LIMIT))
        parts = [magnitude * jnp.cos(angle), magnitude * jnp.sin(angle)]
        spectrum = jnp.concatenate(parts, axis=-1)
        if matrix is None:
            matrix = jnp.asarray(synthesis_matrix(self.window, self.cell))
        samples, tail = overlap_add(spectrum @ matrix, tail)
        return samples, state and (tail, states)
