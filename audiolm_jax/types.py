"""What crosses package borders: batches, tokens, and the interfaces of tokenizers. Read this first.

Dimensions, everywhere: b batch, s samples, t codec frames (50 Hz), u semantic frames (25 Hz),
q quantizer levels, l positions of a token sequence, d width, h heads, k head width, v vocabulary.

Shapes of records stand beside the fields: JAX also fills a record with what a tree map returns.
"""

import dataclasses
from typing import NamedTuple, Protocol, no_type_check, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Int

Array = jax.Array | np.ndarray


class AudioBatch(NamedTuple):
    """Mono audio of unequal lengths; what lies beyond a length, even NaN, changes no result."""

    samples: Array  # float32 [b, s], nominally in [-1, 1]
    lengths: Array  # int32 [b], valid samples, 0 <= length <= s

    @classmethod
    def from_clips(cls, clips: list[np.ndarray]) -> "AudioBatch":
        """Clips of unequal lengths (float [s] each) as one batch, zeros behind each."""
        lengths = np.array([len(clip) for clip in clips], np.int32)
        samples = np.zeros((len(clips), max(lengths, default=0)), np.float32)
        for row, clip in zip(samples, clips, strict=True):
            row[: len(clip)] = clip
        return cls(samples, lengths)


class DenoisingBatch(NamedTuple):
    """Audio with the noise to mix into it, for a codec with a denoising switch."""

    clean: AudioBatch
    noise: Array  # float32 [b, s], to be added at this level; beyond the lengths it is padding too
    denoise: Array  # bool [b], whether the codec shall return `clean`, or `clean` + `noise`


class UnitBatch(NamedTuple):
    """Audio with the semantic tokens that another encoder makes of it."""

    audio: AudioBatch
    units: Array  # int32 [b, u], a token for each started hop; beyond the lengths they mean nothing


class LabelledBatch(NamedTuple):
    """Audio of which each item belongs to a class."""

    audio: AudioBatch
    labels: Array  # int32 [b] in [0, classes); of an item of length 0 it means nothing


class VectorBatch(NamedTuple):
    """Audio with the vectors of frozen tokens that a decoder shall make it of."""

    audio: AudioBatch
    vectors: Array  # float32 [b, t, d], one for each started hop; beyond the lengths anything


class AcousticTokens(NamedTuple):
    """Codes of a residual quantizer (AudioLM section III-B: Y, 50 Hz, Q levels of N codes)."""

    codes: Array  # int32 [b, t, q] in [0, N), level 0 the coarsest; padding holds 0
    lengths: Array  # int32 [b], valid frames: ceil(samples / hop_samples)


class SemanticTokens(NamedTuple):
    """Clusters of self-supervised features (AudioLM section III-B: z, 25 Hz, K clusters)."""

    ids: Array  # int32 [b, u] in [0, K), not de-duplicated; padding holds 0
    lengths: Array  # int32 [b], valid tokens: ceil(samples / hop_samples)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
@no_type_check
class TokenBatch:
    """A batch of next-token prediction for one stage; ids as in `stages`."""

    inputs: Array  # int32 [b, l], the sequence without its last token
    targets: Array  # int32 [b, l], the sequence without its first
    loss_weights: Array  # float32 [b, l], 1 on the target stream and its end token, 0 elsewhere
    levels: Array  # int32 [b, l], row of `StageConfig.level_names`; 0 where the weight is 0


@runtime_checkable
class AcousticTokenizer(Protocol):
    """A frozen neural codec. An item gets what it would get alone, whatever it is batched with."""

    sample_rate_hz: int
    hop_samples: int  # samples of a frame
    levels: int
    codebook_size: int
    fingerprint: str  # of its model folder; equal fingerprints give equal codes

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """Codes of all levels."""

    def decode(self, tokens: AcousticTokens) -> AudioBatch:
        """Audio of `tokens.lengths * hop_samples` samples, from the first levels or all."""

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """Sum of the code vectors of the first q levels, float32."""


@runtime_checkable
class CodecStream(Protocol):
    """One recording from start to end: samples in and codes out, or codes in and samples out."""

    latency_frames: int  # a frame comes out once so many frames, itself included, are in

    def push(self, piece: np.ndarray, /) -> np.ndarray:
        """The next samples or frames, any number -> what comes of the frames that are ready."""

    def finish(self) -> np.ndarray:
        """Those of what still waits; a partial last frame is filled with zeros."""


@runtime_checkable
class StreamingTokenizer(AcousticTokenizer, Protocol):
    """A codec that also works piece by piece, `block_frames` together, with the whole's result."""

    max_block_frames: int  # the most that a stream computes together, where it is fastest

    def open_encoder(self, block_frames: int = 1) -> CodecStream:
        """Starts a recording to encode: samples, float [n], to int32 codes, [t, q]."""

    def open_decoder(self, block_frames: int = 1) -> CodecStream:
        """Starts a recording to decode: codes, int [t, q], to float32 samples, [n]."""


@runtime_checkable
class FrameEncoder(Protocol):
    """A frozen self-supervised encoder: w2v-BERT trained here, or public weights."""

    sample_rate_hz: int
    hop_samples: int  # samples of a frame, and so of a semantic token
    layers: tuple[str, ...]  # layers whose features it gives, the lowest first
    fingerprint: str  # of its model folder; equal fingerprints give equal features

    def features(self, audio: AudioBatch, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Features of one of `layers`, else InputError; an item gets what it would get alone.

        float32 [b, ceil(s / hop), d], zero beyond each item, and int32 [b], frames of each item.
        """


@runtime_checkable
class SemanticTokenizer(Protocol):
    """A self-supervised encoder and its k-means, frozen."""

    sample_rate_hz: int
    hop_samples: int  # samples of a token
    clusters: int
    fingerprint: str  # of encoder and k-means; equal fingerprints give equal tokens

    def encode(self, audio: AudioBatch) -> SemanticTokens:
        """Cluster ids; an item gets what it would get alone."""
