"""A module that turns audio into frames, compiled for few shapes: what every encoder shares."""

import copy
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import unflatten_into
from audiolm_jax.tokenizers.semantic.encoder_config import EncoderConfig
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.tokenizers.semantic.windows import in_windows
from audiolm_jax.types import AudioBatch


class EncoderModule(Protocol):
    """An nnx module, pure in forward."""

    def features(
        self, audio: AudioBatch, layer: str
    ) -> tuple[Float[Array, "b u d"], Int[Array, " b"]]:
        """As `types.FrameEncoder.features`, traceable; padding and mates change nothing."""

    def for_inference(self) -> None:
        """Called once with the weights in place: lays them out as this backend likes them."""


class ModuleEncoder:
    """`types.FrameEncoder` of a module and its weights (`params`)."""

    def __init__(
        self,
        build: Callable[[], EncoderModule],
        config: EncoderConfig,
        folder: ModelFolder,
        where: str,
        window: WindowConfig,
    ) -> None:
        """Weights of a folder read from `where` into the structure of what `build` makes."""
        graphdef, state = nnx.split(nnx.eval_shape(build))
        # NumPy arrays until all is in place: taking a stack apart makes views, not copies.
        module = nnx.merge(graphdef, unflatten_into(state, folder.arrays, where, np.asarray))
        module.for_inference()
        self._graphdef, params = nnx.split(module)
        self.params = jax.device_put(params)
        self.config, self.window, self.fingerprint = config, window, folder.fingerprint
        self.sample_rate_hz, self.hop_samples = config.sample_rate_hz, config.hop_samples
        self.layers = config.layer_names
        self._compiled = _program(self._graphdef)

    def on(self, device: jax.Device) -> "ModuleEncoder":
        """The same encoder with its weights on another device, for a thread of its own."""
        other = copy.copy(self)
        other.params = jax.device_put(self.params, device)
        return other

    def check_layer(self, layer: str) -> None:
        """Raises InputError if there is no such layer."""
        if layer not in self.layers:
            raise InputError(f"layer = {layer!r}: this encoder has {', '.join(self.layers)}")

    def module(self, params: nnx.State) -> Any:
        """The module with these weights."""
        return nnx.merge(self._graphdef, params)

    @property
    def structure(self) -> nnx.GraphDef:
        """All that programs depend on besides shapes."""
        return self._graphdef

    def traceable(self, params: nnx.State, audio: AudioBatch, layer: str) -> Float[Array, "b u d"]:
        """Features of a padded batch, for use within other compiled functions."""
        return self.module(params).features(audio, layer)[0]

    def features(self, audio: AudioBatch, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """As `types.FrameEncoder.features`."""
        self.check_layer(layer)
        compiled = functools.partial(self._compiled, self.params, layer=layer)
        empty = np.zeros(self.config.feature_width, np.float32)
        return in_windows(compiled, audio, self.hop_samples, self.window, empty)


@functools.cache
def _program(graphdef: nnx.GraphDef) -> Any:
    """Compiled once for all encoders of this structure."""

    def features(params: nnx.State, audio: AudioBatch, layer: str) -> Array:
        return nnx.merge(graphdef, params).features(audio, layer)[0]

    return jax.jit(features, static_argnames="layer")
