"""A trained SoundStream as a frozen tokenizer."""

import copy
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Num

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import unflatten_into
from audiolm_jax.tokenizers.acoustic.soundstream.film import condition
from audiolm_jax.tokenizers.acoustic.soundstream.model import (
    SoundStream,
    SoundStreamConfig,
    State,
    count_frames,
)
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import dequantize, nearest_codes
from audiolm_jax.tokenizers.acoustic.soundstream.streaming import (
    BLOCK_FRAMES,
    DecoderStream,
    EncoderStream,
)
from audiolm_jax.tokenizers.acoustic.soundstream.train import CODEBOOKS, build_generator
from audiolm_jax.tokenizers.acoustic.streams import check_codes, check_samples
from audiolm_jax.types import AcousticTokens, AudioBatch

KIND = "soundstream"
_ROWS = 8  # items of one compiled call that takes more than one


class SoundStreamCodec:
    """Encodes and decodes batches of any lengths (`records.StreamingTokenizer`).

    Items run in blocks of 128 frames with the model's state between them, 1 or 8 side by side: two
    programs are compiled for any lengths, an hour needs the memory of a block, and an item gets
    the codes it would get alone. A codec with a denoising switch has it off; `with_denoising`
    gives the same codec with the switch on.

    Attributes:
      config: of the model.
      sample_rate_hz: of the audio on both sides.
      hop_samples: samples per frame.
      levels: Q.
      codebook_size: N.
      fingerprint: of the model folder.
      max_block_frames: most frames that a stream computes together.
    """

    max_block_frames = BLOCK_FRAMES

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
        self._abstract = abstract
        # A plain list: a call with an nnx.State spends longer on the container than on one frame.
        self._params, self._structure = jax.tree.flatten(unflatten_into(state, weights, where))
        self._codebooks = jnp.asarray(codebooks)
        self._graphdef = graphdef
        # No leaf of the compiled programs' arguments where there is no switch.
        self._switch = None if config.denoising is None else np.zeros((1, 1), bool)
        self._jit_encode = jax.jit(self._encode_block)
        self._jit_decode = jax.jit(self._decode_block)

    @classmethod
    def load(cls, directory: Path) -> "SoundStreamCodec":
        """Reads a model folder of kind "soundstream".

        Raises:
          InputError: the folder is missing, damaged or of another kind.
        """
        folder = load_model(directory, KIND)
        config = config_from_dict(SoundStreamConfig, folder.config, str(directory))
        return cls(config, folder.arrays, folder.fingerprint)

    def with_denoising(self) -> "SoundStreamCodec":
        """This codec with its switch on: it shares weights, compiled programs and fingerprint.

        Raises:
          InputError: it was trained without a switch.
        """
        if self._switch is None:
            raise InputError(
                f"soundstream model {self.fingerprint[:16]}: has no denoising switch; train one "
                "with model.denoising and noise"
            )
        other = copy.copy(self)
        other._switch = np.ones((1, 1), bool)
        return other

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
        for row, size in zip(samples, sizes, strict=True):
            check_samples(row[:size])
        lengths = count_frames(sizes, self.hop_samples).astype(np.int32)
        frames = count_frames(samples.shape[1], self.hop_samples)
        codes = np.zeros((len(sizes), frames, self.levels), np.int32)
        units = (self.hop_samples, 1)
        _run_in_blocks(self.encode_block, self.encoder_state, lengths, samples, sizes, codes, units)
        return AcousticTokens(codes, lengths)

    def decode(self, tokens: AcousticTokens) -> AudioBatch:
        """Audio of length `tokens.lengths * hop_samples`, limited to [-1, 1].

        Args:
          tokens: codes [b, t, q'] of the first q' levels, 1 <= q' <= q.

        Raises:
          InputError: too many levels, or a code outside [0, N) within an item's length.
        """
        codes, lengths = np.asarray(tokens.codes), np.asarray(tokens.lengths, np.int32)
        for row, frames in zip(codes, lengths, strict=True):
            check_codes(row[:frames], self.levels, self.codebook_size)
        codes = codes.astype(np.int32, copy=False)
        samples = np.zeros((len(codes), codes.shape[1] * self.hop_samples), np.float32)
        units = (1, self.hop_samples)
        _run_in_blocks(
            self.decode_block, self.decoder_state, lengths, codes, lengths, samples, units
        )
        return AudioBatch(samples, lengths * np.int32(self.hop_samples))

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """Sum of the code vectors of the levels given, the first of all: what the decoder gets."""
        return np.asarray(dequantize(codes, np.asarray(self._codebooks)))

    def open_encoder(self, block_frames: int = 1) -> EncoderStream:
        """A stream of samples to codes; see `EncoderStream`."""
        return EncoderStream(self, block_frames)

    def open_decoder(self, block_frames: int = 1) -> DecoderStream:
        """A stream of codes to samples; see `DecoderStream`."""
        return DecoderStream(self, block_frames)

    def encoder_state(self, batch: int) -> State:
        """State of `batch` recordings before their first block."""
        return self._abstract.encoder.initial_state(batch)

    def decoder_state(self, batch: int) -> State:
        """State of `batch` recordings before their first block."""
        return self._abstract.decoder.initial_state(batch)

    def encode_block(
        self, samples: Float[np.ndarray, "b s"], state: State
    ) -> tuple[Int[np.ndarray, "b t q"], State]:
        """The next samples, whole frames of them: (codes, state of the next block).

        One program is compiled for each shape.
        """
        codes, state = self._jit_encode(self._params, self._codebooks, samples, state, self._switch)
        return np.asarray(codes), state

    def decode_block(
        self, codes: Int[np.ndarray, "b t q"], state: State
    ) -> tuple[Float[np.ndarray, "b s"], State]:
        """The next frames: (samples limited to [-1, 1], state of the next block).

        One program is compiled for each shape.
        """
        samples, state = self._jit_decode(self._params, self._codebooks, codes, state, self._switch)
        return np.asarray(samples), state

    def _merge(self, params: list[Array]) -> SoundStream:
        return nnx.merge(self._graphdef, jax.tree.unflatten(self._structure, params))

    def _encode_block(
        self,
        params: list[Array],
        codebooks: Array,
        samples: Float[Array, "b s"],
        state: State,
        switch: Bool[Array, "1 1"] | None,
    ) -> tuple[Int[Array, "b t q"], State]:
        model = self._merge(params)
        latents, state = model.encoder.step(samples, state)
        latents = condition(model.film, "encoder", latents, switch)
        residual = latents.reshape(-1, latents.shape[-1])
        codes = []
        for vectors in codebooks:
            codes.append(nearest_codes(residual, vectors))
            residual = residual - vectors[codes[-1]]
        return jnp.stack(codes, axis=-1).reshape(*latents.shape[:2], len(codes)), state

    def _decode_block(
        self,
        params: list[Array],
        codebooks: Array,
        codes: Int[Array, "b t q"],
        state: State,
        switch: Bool[Array, "1 1"] | None,
    ) -> tuple[Float[Array, "b s"], State]:
        model = self._merge(params)
        latents = condition(model.film, "decoder", dequantize(codes, codebooks), switch)
        samples, state = model.decoder.step(latents, state)
        return jnp.clip(samples, -1.0, 1.0), state


def _run_in_blocks(
    run_block: Callable[[np.ndarray, State], tuple[np.ndarray, State]],
    initial_state: Callable[[int], State],
    lengths: Int[np.ndarray, " b"],
    inputs: Num[np.ndarray, "b n *per_input"],
    sizes: Int[np.ndarray, " b"],
    outputs: Num[np.ndarray, "b m *per_output"],
    units: tuple[int, int],
) -> None:
    """Fills the valid part of `outputs`; what lies behind it stays as it is.

    Args:
      run_block: (inputs of a block, state) -> (its outputs, next state).
      initial_state: of so many rows.
      lengths: frames of each item.
      inputs: whatever lies at or beyond `sizes` is taken for zeros.
      sizes: valid inputs of each item.
      outputs: written in place.
      units: inputs and outputs per frame.
    """
    for rows in _plan_groups(lengths):
        padded_rows = 1 if len(rows) == 1 else _ROWS
        state = initial_state(padded_rows)
        for start in range(0, max(lengths[rows]), BLOCK_FRAMES):
            ends = np.minimum(lengths[rows], start + BLOCK_FRAMES)
            block = np.zeros(
                (padded_rows, BLOCK_FRAMES * units[0], *inputs.shape[2:]), inputs.dtype
            )
            for into, row, end in zip(block, rows, ends, strict=False):
                piece = inputs[row, start * units[0] : min(end * units[0], sizes[row])]
                into[: len(piece)] = piece
            result, state = run_block(block, state)
            for item, row, end in zip(result, rows, ends, strict=False):
                into = outputs[row, start * units[1] : end * units[1]]
                into[:] = item[: len(into)]


def _plan_groups(lengths: Int[np.ndarray, " b"]) -> list[list[int]]:
    """Rows that run side by side, of like lengths; items without frames need none."""
    rows = [int(row) for row in np.argsort(lengths, kind="stable") if lengths[row]]
    return [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
