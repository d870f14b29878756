"""A trained SoundStream as a frozen tokenizer."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.records import AcousticTokens, AudioBatch
from audiolm_jax.runtime.config_json import config_from_dict
from audiolm_jax.runtime.weights import load_model, unflatten_into
from audiolm_jax.tokenizers.soundstream.model import SoundStream, SoundStreamConfig, count_frames
from audiolm_jax.tokenizers.soundstream.rvq import dequantize, nearest_codes
from audiolm_jax.tokenizers.soundstream.train import CODEBOOKS, build_generator

KIND = "soundstream"
_ROWS = 8  # items of one compiled call that takes more than one
_SMALLEST_BUCKET = 128  # frames


class SoundStreamCodec:
    """Encodes and decodes batches of any lengths (`records.AcousticTokenizer`).

    An item is padded to its own bucket of 128, 256, 512, ... frames, whatever its batch mates, and
    items of one bucket run together, 1 or 8 at a time: few programs are compiled, and an item gets
    the codes it would get alone.

    Attributes:
      config: of the model.
      sample_rate_hz: of the audio on both sides.
      hop_samples: samples per frame.
      levels: Q.
      codebook_size: N.
      fingerprint: of the model folder.
    """

    def __init__(self, config: SoundStreamConfig, arrays: dict[str, np.ndarray], fingerprint: str):
        """Args: config; arrays as the trainer exports them; fingerprint of both.

        Raises:
          InputError: the arrays do not fit the config.
        """
        self.config = config
        self.sample_rate_hz = config.sample_rate_hz
        self.hop_samples = config.hop_samples
        self.levels = config.quantizer.levels
        self.codebook_size = config.quantizer.codebook_size
        self.fingerprint = fingerprint

        where = f"soundstream model {fingerprint[:16]}"
        weights = dict(arrays)
        codebooks = weights.pop(CODEBOOKS, None)
        shape = (self.levels, self.codebook_size, config.embedding_width)
        if codebooks is None or codebooks.shape != shape:
            found = "missing" if codebooks is None else f"of shape {codebooks.shape}"
            raise InputError(f"{where}: array {CODEBOOKS!r} is {found}, the config needs {shape}")
        abstract = nnx.eval_shape(lambda: build_generator(config, jax.random.key(0)))
        graphdef, state = nnx.split(abstract)
        self._params = unflatten_into(state, weights, where)
        self._codebooks = jnp.asarray(codebooks)
        self._graphdef = graphdef
        self._jit_encode = jax.jit(self._encode_bucket)
        self._jit_decode = jax.jit(self._decode_bucket)

    @classmethod
    def load(cls, directory: Path) -> "SoundStreamCodec":
        """Reads a model folder of kind "soundstream".

        Raises:
          InputError: the folder is missing, damaged or of another kind.
        """
        folder = load_model(directory, KIND)
        config = config_from_dict(SoundStreamConfig, folder.config, str(directory))
        return cls(config, folder.arrays, folder.fingerprint)

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """Codes of each item; a partial last frame is filled with zeros.

        Args:
          audio: [b, s] at `sample_rate_hz`; padding may hold anything.

        Returns:
          numpy codes [b, ceil(s / hop), q] and lengths ceil(lengths / hop).

        Raises:
          InputError: a sample within an item's length is not finite.
        """
        samples, sizes = np.asarray(audio.samples, np.float32), np.asarray(audio.lengths)
        inside = np.arange(samples.shape[1])[None] < sizes[:, None]
        if not np.isfinite(samples[inside]).all():
            raise InputError("audio holds NaN or infinite samples; repair or drop the recording")
        samples = np.where(inside, samples, np.float32(0))
        lengths = count_frames(sizes, self.hop_samples).astype(np.int32)
        codes = np.zeros(
            (len(sizes), count_frames(samples.shape[1], self.hop_samples), self.levels), np.int32
        )
        for bucket, rows in _plan_calls(lengths):
            block = np.zeros((_padded_rows(len(rows)), bucket * self.hop_samples), np.float32)
            width = min(samples.shape[1], block.shape[1])
            block[: len(rows), :width] = samples[rows, :width]
            result = np.asarray(self._jit_encode(self._params, self._codebooks, block))
            for row, item in zip(rows, result, strict=False):
                codes[row, : lengths[row]] = item[: lengths[row]]
        return AcousticTokens(codes, lengths)

    def decode(self, tokens: AcousticTokens) -> AudioBatch:
        """Audio of length `tokens.lengths * hop_samples`, limited to [-1, 1].

        Args:
          tokens: codes [b, t, q'] of the first q' levels, 1 <= q' <= q.

        Raises:
          InputError: too many levels, or a code outside [0, N) within an item's length.
        """
        codes, lengths = np.asarray(tokens.codes), np.asarray(tokens.lengths)
        if not 1 <= codes.shape[2] <= self.levels:
            raise InputError(
                f"tokens of {codes.shape[2]} levels: this codec decodes 1 to {self.levels}"
            )
        inside = np.arange(codes.shape[1])[None] < lengths[:, None]
        found = codes[inside]
        if found.size and not (found.min() >= 0 and found.max() < self.codebook_size):
            raise InputError(
                f"codes span [{found.min()}, {found.max()}]: this codec has codes 0 to "
                f"{self.codebook_size - 1}; the tokens come from another codec"
            )
        codes = np.where(inside[..., None], codes, 0).astype(np.int32)
        samples = np.zeros((len(codes), codes.shape[1] * self.hop_samples), np.float32)
        for bucket, rows in _plan_calls(lengths):
            block = np.zeros((_padded_rows(len(rows)), bucket, codes.shape[2]), np.int32)
            width = min(codes.shape[1], bucket)
            block[: len(rows), :width] = codes[rows, :width]
            result = np.asarray(self._jit_decode(self._params, self._codebooks, block))
            for row, item in zip(rows, result, strict=False):
                size = lengths[row] * self.hop_samples
                samples[row, :size] = item[:size]
        return AudioBatch(samples, (lengths * self.hop_samples).astype(np.int32))

    def _merge(self, params: nnx.State) -> SoundStream:
        return nnx.merge(self._graphdef, params)

    def _encode_bucket(
        self, params: nnx.State, codebooks: Array, samples: Float[Array, "b s"]
    ) -> Int[Array, "b t q"]:
        latents = self._merge(params).encoder(samples)
        residual = latents.reshape(-1, latents.shape[-1])
        codes = []
        for vectors in codebooks:
            codes.append(nearest_codes(residual, vectors))
            residual = residual - vectors[codes[-1]]
        return jnp.stack(codes, axis=-1).reshape(*latents.shape[:2], len(codes))

    def _decode_bucket(
        self, params: nnx.State, codebooks: Array, codes: Int[Array, "b t q"]
    ) -> Float[Array, "b s"]:
        return jnp.clip(self._merge(params).decoder(dequantize(codes, codebooks)), -1.0, 1.0)


def bucket_frames(frames: int) -> int:
    """The smallest of 128, 256, 512, ... that holds so many frames."""
    return max(_SMALLEST_BUCKET, 1 << (frames - 1).bit_length())


def _padded_rows(rows: int) -> int:
    return 1 if rows == 1 else _ROWS


def _plan_calls(lengths: Int[np.ndarray, " b"]) -> list[tuple[int, list[int]]]:
    """(bucket, rows) of each call; items without frames need none."""
    buckets: dict[int, list[int]] = {}
    for row, frames in enumerate(lengths.tolist()):
        if frames:
            buckets.setdefault(bucket_frames(frames), []).append(row)
    return [
        (bucket, rows[start : start + _ROWS])
        for bucket, rows in sorted(buckets.items())
        for start in range(0, len(rows), _ROWS)
    ]
