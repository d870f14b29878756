"""A module that turns audio into frames, compiled for few shapes: what every encoder shares."""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import unflatten_into
from audiolm_jax.tokenizers.semantic.windows import WindowConfig, in_windows
from audiolm_jax.types import AudioBatch


class EncoderConfig(Protocol):
    """What the config of every encoder tells."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the audio."""

    @property
    def hop_samples(self) -> int:
        """Samples of one token."""

    @property
    def feature_width(self) -> int:
        """Dimensions of a feature vector."""

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Layers whose features can be had, the lowest first."""


class EncoderModule(Protocol):
    """An nnx module, pure in forward."""

    def features(
        self, audio: AudioBatch, layer: str
    ) -> tuple[Float[Array, "b u d"], Int[Array, " b"]]:
        """As `records.FrameEncoder.features`, traceable; audio of whole tokens, any lengths."""

    def for_inference(self) -> None:
        """Called once with the weights in place: lays them out as this backend likes them."""


class ModuleEncoder:
    """`records.FrameEncoder` of a module and its weights.

    Attributes:
      config: of the module.
      sample_rate_hz: of the audio it takes.
      hop_samples: samples of one frame.
      layers: names of the layers whose features it gives.
      fingerprint: of the model folder.
      window: how long recordings are cut.
      params: weights, the first argument of `traceable`.
    """

    def __init__(
        self,
        build: Callable[[], EncoderModule],
        config: EncoderConfig,
        arrays: dict[str, np.ndarray],
        fingerprint: str,
        where: str,
        window: WindowConfig,
    ) -> None:
        """Args:
          build: makes the module; only its structure is used, nothing is computed.
          config: of the module.
          arrays: its parameters by dotted name.
          fingerprint: of both.
          where: folder they came from, for errors.
          window: how long recordings are cut.

        Raises:
          InputError: the arrays do not fit the module.
        """
        graphdef, state = nnx.split(nnx.eval_shape(build))
        # NumPy arrays until all is in place: taking a stack apart makes views, not copies.
        module = nnx.merge(graphdef, unflatten_into(state, arrays, where, np.asarray))
        module.for_inference()
        self._graphdef, params = nnx.split(module)
        self.params = jax.tree.map(jnp.asarray, params)
        self.config = config
        self.sample_rate_hz = config.sample_rate_hz
        self.hop_samples = config.hop_samples
        self.layers = config.layer_names
        self.fingerprint = fingerprint
        self.window = window
        self._compiled = jax.jit(self.traceable, static_argnames="layer")

    def check_layer(self, layer: str) -> None:
        """Raises InputError if there is no such layer."""
        if layer not in self.layers:
            raise InputError(f"layer = {layer!r}: this encoder has {', '.join(self.layers)}")

    def module(self, params: nnx.State) -> EncoderModule:
        """The module with these weights."""
        return nnx.merge(self._graphdef, params)

    def traceable(self, params: nnx.State, audio: AudioBatch, layer: str) -> Float[Array, "b u d"]:
        """Features of a padded batch, for use within other compiled functions."""
        return self.module(params).features(audio, layer)[0]

    def features(self, audio: AudioBatch, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """As `records.FrameEncoder.features`."""
        self.check_layer(layer)
        return in_windows(
            lambda heard: self._compiled(self.params, heard, layer=layer),
            audio,
            self.hop_samples,
            self.window,
            np.zeros(self.config.feature_width, np.float32),
        )
