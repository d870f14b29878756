"""A module that turns audio into frames, compiled for few shapes: what every encoder shares.

Bucket rule: audio is compiled for padded shapes only. The number of tokens is rounded up to the
next of 64, 128, 256, ... and the number of items to 1 or a multiple of 8, so that any mix of
lengths compiles few programs. Padding changes no item's features but by the rounding of sums of
another length.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.records import AudioBatch
from audiolm_jax.runtime.weights import unflatten_into

SMALLEST_BUCKET = 64  # tokens
ROWS = 8


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


def bucket_tokens(tokens: int) -> int:
    """Padded number of tokens, by the rule of this module."""
    return max(SMALLEST_BUCKET, 1 << max(tokens - 1, 0).bit_length())


def pad_to_bucket(audio: AudioBatch, hop_samples: int) -> AudioBatch:
    """The same audio as numpy, padded with zeros and with empty items.

    Raises:
      InputError: shapes or lengths that do not fit each other.
    """
    samples, lengths = np.asarray(audio.samples), np.asarray(audio.lengths)
    if samples.ndim != 2 or lengths.shape != samples.shape[:1]:
        raise InputError(
            f"audio batch: samples {samples.shape} and lengths {lengths.shape}, expected [b, s] "
            "and [b]"
        )
    if len(lengths) and not 0 <= lengths.min() <= lengths.max() <= samples.shape[1]:
        raise InputError(
            f"audio batch: lengths span [{lengths.min()}, {lengths.max()}], expected within "
            f"[0, {samples.shape[1]}] samples"
        )
    items = 1 if len(lengths) <= 1 else -(-len(lengths) // ROWS) * ROWS
    size = bucket_tokens(-(-samples.shape[1] // hop_samples)) * hop_samples
    padded = np.zeros((items, size), np.float32)
    padded[: len(lengths), : samples.shape[1]] = samples
    return AudioBatch(padded, np.pad(lengths, (0, items - len(lengths))).astype(np.int32))


class ModuleEncoder:
    """`records.FrameEncoder` of a module and its weights.

    Attributes:
      config: of the module.
      sample_rate_hz: of the audio it takes.
      hop_samples: samples of one frame.
      layers: names of the layers whose features it gives.
      fingerprint: of the model folder.
      params: weights, the first argument of `traceable`.
    """

    def __init__(
        self,
        build: Callable[[], EncoderModule],
        config: EncoderConfig,
        arrays: dict[str, np.ndarray],
        fingerprint: str,
        where: str,
    ) -> None:
        """Args:
          build: makes the module; only its structure is used, nothing is computed.
          config: of the module.
          arrays: its parameters by dotted name.
          fingerprint: of both.
          where: folder they came from, for errors.

        Raises:
          InputError: the arrays do not fit the module.
        """
        self._graphdef, state = nnx.split(nnx.eval_shape(build))
        self.params = unflatten_into(state, arrays, where)
        self.config = config
        self.sample_rate_hz = config.sample_rate_hz
        self.hop_samples = config.hop_samples
        self.layers = config.layer_names
        self.fingerprint = fingerprint
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
        padded = pad_to_bucket(audio, self.hop_samples)
        frames = -(-np.asarray(audio.samples).shape[1] // self.hop_samples)
        lengths = -(-np.asarray(audio.lengths, np.int32) // self.hop_samples)
        x = np.asarray(self._compiled(self.params, padded, layer=layer))
        return x[: len(lengths), :frames], lengths
