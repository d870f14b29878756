"""The values that cross package borders, and the interfaces of tokenizers. Read this first.

Glossary of dimensions, used everywhere: b batch, s samples, t codec frames (50 Hz), u semantic
frames (25 Hz), q quantiser levels, l positions of a token sequence, d width, h heads, k head
dimension, v vocabulary.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import numpy as np

Array = jax.Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AudioBatch:
    """Mono audio of unequal lengths.

    Attributes:
      samples: float32 [b, s], nominally in [-1, 1]. What lies at or beyond `lengths` is padding
        and may hold anything, NaN included: no consumer may let it change a result.
      lengths: int32 [b], valid samples of each item, 0 <= length <= s.
    """

    samples: Array
    lengths: Array

    @classmethod
    def from_clips(cls, clips: list[np.ndarray]) -> "AudioBatch":
        """Clips of unequal lengths (float [s] each) as one batch, zeros behind each."""
        lengths = np.array([len(clip) for clip in clips], np.int32)
        samples = np.zeros((len(clips), max(lengths, default=0)), np.float32)
        for row, clip in zip(samples, clips, strict=True):
            row[: len(clip)] = clip
        return cls(samples, lengths)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DenoisingBatch:
    """Audio with the noise to mix into it, for a codec with a denoising switch.

    Attributes:
      clean: the audio alone.
      noise: float32 [b, s], to be added to it, already at its level; zeros where none is. As in
        `clean`, what lies beyond its lengths may hold anything.
      denoise: bool [b], whether the codec shall give back `clean`, or `clean` with `noise`.
    """

    clean: AudioBatch
    noise: Array
    denoise: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AcousticTokens:
    """Codes of a residual quantiser (AudioLM section III-B: Y, 50 Hz, Q levels of N codes).

    Attributes:
      codes: int32 [b, t, q] in [0, codebook_size); level 0 is the coarsest. Padding frames hold 0.
      lengths: int32 [b], valid frames: ceil(samples / hop_samples).
    """

    codes: Array
    lengths: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SemanticTokens:
    """Cluster ids of self-supervised features (AudioLM section III-B: z, 25 Hz, K clusters).

    Attributes:
      ids: int32 [b, u] in [0, clusters), not de-duplicated. Padding holds 0.
      lengths: int32 [b], valid tokens: ceil(samples / hop_samples).
    """

    ids: Array
    lengths: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TokenBatch:
    """A batch of next-token prediction for one stage.

    Attributes:
      inputs: int32 [b, l], the sequence from BOS to its last but one token; ids of `stages`.
      targets: int32 [b, l], the token that follows each input.
      loss_weights: float32 [b, l], 1 where the target belongs to the stage's target stream (its
        end token included), 0 on the condition, the separator and padding.
      levels: int32 [b, l], the row of `StageConfig.level_names` that the target belongs to, for
        the loss per level; 0 where the weight is 0.
    """

    inputs: Array
    targets: Array
    loss_weights: Array
    levels: Array


@runtime_checkable
class AcousticTokenizer(Protocol):
    """A neural codec, frozen: SoundStream trained here, or public weights of the same shape."""

    sample_rate_hz: int
    hop_samples: int
    levels: int
    codebook_size: int
    fingerprint: str

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """Codes of each item, as it would get alone: padding and batch mates change nothing."""

    def decode(self, tokens: AcousticTokens) -> AudioBatch:
        """Audio of length `tokens.lengths * hop_samples`; any prefix of the levels is accepted."""

    def latents(self, codes: np.ndarray) -> np.ndarray:
        """Sum of the code vectors, float32 [t, d], of codes [t, q'] of the first q' levels."""


class SampleStream(Protocol):
    """One recording from start to end, samples in, codes out.

    Attributes:
      latency_frames: a frame's codes come out once so many frames, itself among them, are there.
    """

    latency_frames: int

    def push(self, samples: np.ndarray) -> np.ndarray:
        """The next samples [n], any n -> int32 codes [t, q] of the frames that are ready."""

    def finish(self) -> np.ndarray:
        """Codes [t, q] of what still waits; a partial last frame is filled with zeros."""


class CodeStream(Protocol):
    """One recording from start to end, codes in, samples out.

    Attributes:
      latency_frames: a frame's samples come out once so many frames, itself among them, are there.
    """

    latency_frames: int

    def push(self, codes: np.ndarray) -> np.ndarray:
        """The next codes [t, q], any t -> float32 samples of the frames that are ready."""

    def finish(self) -> np.ndarray:
        """Samples of the frames that still wait."""


@runtime_checkable
class StreamingTokenizer(AcousticTokenizer, Protocol):
    """A codec that also works through a recording piece by piece, equal to the whole.

    Attributes:
      max_block_frames: most frames that a stream computes together; then it is fastest.
    """

    max_block_frames: int

    def open_encoder(self, block_frames: int = 1) -> SampleStream:
        """A stream that computes so many frames together: delay against speed."""

    def open_decoder(self, block_frames: int = 1) -> CodeStream:
        """A stream that computes so many frames together: delay against speed."""


@runtime_checkable
class FrameEncoder(Protocol):
    """A self-supervised encoder, frozen: w2v-BERT trained here, or public weights.

    Attributes:
      sample_rate_hz: of the audio it takes.
      hop_samples: samples of one frame, and so of one semantic token.
      layers: names of the layers whose features it gives, the lowest first.
      fingerprint: of its model folder; equal fingerprints give equal features.
    """

    sample_rate_hz: int
    hop_samples: int
    layers: tuple[str, ...]
    fingerprint: str

    def features(self, audio: AudioBatch, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Features of one layer.

        Args:
          audio: any lengths; an item gets what it gets alone.
          layer: one of `layers`.

        Returns:
          float32 [b, ceil(s / hop), d], zero beyond each item, and the frames of each item, int32
          [b], ceil(length / hop).

        Raises:
          InputError: no such layer.
        """


@runtime_checkable
class SemanticTokenizer(Protocol):
    """A self-supervised encoder and its k-means, frozen."""

    sample_rate_hz: int
    hop_samples: int
    clusters: int
    fingerprint: str

    def encode(self, audio: AudioBatch) -> SemanticTokens:
        """Cluster ids of each item, as it would get alone: padding changes nothing."""
