"""A Descript Audio Codec as a frozen tokenizer."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.errors import InputError
from audiolm_jax.nn.conv import NormalDraws
from audiolm_jax.nn.state_arrays import unflatten_into
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig
from audiolm_jax.tokenizers.acoustic.dac.layers import Span
from audiolm_jax.tokenizers.acoustic.dac.model import Dac
from audiolm_jax.tokenizers.acoustic.dac.streaming import WindowStream
from audiolm_jax.tokenizers.acoustic.dac.windows import Window, group_windows, plan_windows
from audiolm_jax.tokenizers.acoustic.streams import check_codes, check_samples
from audiolm_jax.types import AcousticTokens, AudioBatch

KIND = "dac"


def abstract_state(config: DacConfig) -> tuple[nnx.GraphDef, nnx.State]:
    """The codec's structure and the shapes of its parameters; nothing is computed."""
    return nnx.split(nnx.eval_shape(lambda: Dac(config, draws=NormalDraws(None))))


class DacCodec:
    """Encodes and decodes batches of any lengths (`records.StreamingTokenizer`).

    A recording is filled with zeros to whole frames; then codes and samples are those of the codec
    run on it alone, in one piece. What runs are windows of 128, 256 or 512 frames with as much
    context as the codec's layers reach, and no layer sees beyond the ends of the recording
    (`layers.Span`). Neither batch mates nor the padding of a batch change anything, and memory
    does not grow with the length beyond the samples themselves.

    Attributes:
      config: of the model.
      sample_rate_hz: of the audio on both sides.
      hop_samples: samples per frame.
      levels: Q.
      codebook_size: N.
      fingerprint: of the model folder.
      max_block_frames: most frames that a stream computes together, with their context a window.
    """

    def __init__(
        self,
        config: DacConfig,
        arrays: dict[str, np.ndarray],
        fingerprint: str,
        window_frames: int = 512,
    ):
        """Args:
          config: sizes.
          arrays: parameters by dotted name, as the importer writes them.
          fingerprint: of both.
          window_frames: frames of the largest window, a multiple of 4; memory grows with it.

        Raises:
          InputError: the arrays do not fit the config, or the window is too small.
        """
        self.config = config
        self.sample_rate_hz = config.sample_rate_hz
        self.hop_samples = config.hop_samples
        self.levels = config.levels
        self.codebook_size = config.codebook_size
        self.fingerprint = fingerprint
        self._largest = window_frames
        context = max(config.encoder_context, config.decoder_context)
        self.max_block_frames = window_frames - 2 * context
        if self.max_block_frames < 1:
            raise InputError(
                f"window_frames = {window_frames}: expected more than twice the codec's context of "
                f"{context}"
            )
        self._graphdef, state = abstract_state(config)
        self._params = unflatten_into(state, arrays, f"dac model {fingerprint[:16]}")
        self._jit_encode = jax.jit(self._encode_windows)
        self._jit_decode = jax.jit(self._decode_windows)

    @classmethod
    def load(cls, directory: Path) -> "DacCodec":
        """Reads a model folder of kind "dac".

        Raises:
          InputError: the folder is missing, damaged or of another kind.
        """
        folder = load_model(directory, KIND)
        config = config_from_dict(DacConfig, folder.config, str(directory))
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
        for row, size in zip(samples, sizes, strict=True):
            check_samples(row[:size])
        hop = self.hop_samples
        lengths = (-(-sizes // hop)).astype(np.int32)
        codes = np.zeros((len(sizes), -(-samples.shape[1] // hop), self.levels), np.int32)

        def cut(window: Window) -> np.ndarray:
            block = np.zeros(window.size * hop, np.float32)
            size = int(sizes[window.row])
            piece = samples[window.row, window.start * hop : size][: len(block)]
            block[: len(piece)] = piece
            return block

        context = self.config.encoder_context
        for window, result in self._run(self._jit_encode, lengths, context, cut):
            kept = slice(window.first - window.start, window.stop - window.start)
            codes[window.row, window.first : window.stop] = result[kept]
        return AcousticTokens(codes, lengths)

    def decode(self, tokens: AcousticTokens) -> AudioBatch:
        """Audio of length `tokens.lengths * hop_samples`, within [-1, 1].

        With an odd stride the codec itself gives a few samples less
        (`DacConfig.decoder_shortfall`, 8 at 16 kHz); those last ones are zero.

        Args:
          tokens: codes [b, t, q'] of the first q' levels, 1 <= q' <= q.

        Raises:
          InputError: too many levels, or a code outside [0, N) within an item's length.
        """
        codes, lengths = np.asarray(tokens.codes), np.asarray(tokens.lengths)
        for row, frames in zip(codes, lengths, strict=True):
            check_codes(row[:frames], self.levels, self.codebook_size)
        hop = self.hop_samples
        samples = np.zeros((len(codes), codes.shape[1] * hop), np.float32)

        def cut(window: Window) -> np.ndarray:
            block = np.zeros((window.size, codes.shape[2]), np.int32)
            piece = codes[window.row, window.start : int(lengths[window.row])][: window.size]
            block[: len(piece)] = piece
            return block

        context = self.config.decoder_context
        for window, result in self._run(self._jit_decode, lengths, context, cut):
            kept = slice((window.first - window.start) * hop, (window.stop - window.start) * hop)
            samples[window.row, window.first * hop : window.stop * hop] = result[kept]
        return AudioBatch(samples, (lengths * hop).astype(np.int32))

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """Sum of the code vectors of the levels given, the first of all: what the decoder gets."""
        return sum(
            vectors[codes[:, level]] for level, vectors in enumerate(self._wide[: codes.shape[1]])
        )

    @functools.cached_property
    def _wide(self) -> Float[np.ndarray, "q n d"]:
        """Every code of every level as the latent that it adds."""
        quantizer = nnx.merge(self._graphdef, self._params).quantizer
        codebooks, kernel, bias = (
            np.asarray(x[...])
            for x in (quantizer.codebooks, quantizer.out_kernel, quantizer.out_bias)
        )
        return codebooks @ kernel + bias[:, None]

    def open_encoder(self, block_frames: int = 1) -> WindowStream:
        """A stream of samples to codes; see `WindowStream`."""
        return WindowStream(
            functools.partial(self._run_window, self._jit_encode),
            check_samples,
            np.zeros((0, self.levels), np.int32),
            units=(self.hop_samples, 1),
            context=self.config.encoder_context,
            block_frames=block_frames,
            largest=self.max_block_frames,
        )

    def open_decoder(self, block_frames: int = 1) -> WindowStream:
        """A stream of codes, of any number of first levels, to samples; see `WindowStream`."""
        return WindowStream(
            functools.partial(self._run_window, self._jit_decode),
            functools.partial(check_codes, levels=self.levels, codebook_size=self.codebook_size),
            np.zeros(0, np.float32),
            units=(1, self.hop_samples),
            context=self.config.decoder_context,
            block_frames=block_frames,
            largest=self.max_block_frames,
        )

    def _run_window(
        self, function: Callable[..., Array], window: np.ndarray, start: int, stop: int
    ) -> np.ndarray:
        span = (np.array([start], np.int32), np.array([stop], np.int32))
        with jax.default_matmul_precision("highest"):
            return np.asarray(function(self._params, window[None], *span))[0]

    def _run(
        self,
        function: Callable[..., Array],
        lengths: Int[np.ndarray, " b"],
        context: int,
        cut: Callable[[Window], np.ndarray],
    ) -> Iterator[tuple[Window, np.ndarray]]:
        """Every window with its result; the windows of one call are 1 or as many as fit."""
        windows = [
            window
            for row, frames in enumerate(lengths.tolist())
            for window in plan_windows(row, frames, context, self._largest)
        ]
        for group in group_windows(windows, self._largest):
            rows = 1 if len(group) == 1 else self._largest // group[0].size
            blocks = [cut(window) for window in group]
            blocks += [np.zeros_like(blocks[0])] * (rows - len(group))
            start = np.array([-w.start for w in group] + [0] * (rows - len(group)), np.int32)
            stop = np.array(
                [int(lengths[w.row]) - w.start for w in group] + [0] * (rows - len(group)), np.int32
            )
            with jax.default_matmul_precision("highest"):
                results = np.asarray(function(self._params, np.stack(blocks), start, stop))
            yield from zip(group, results, strict=False)

    def _encode_windows(
        self,
        params: nnx.State,
        samples: Float[Array, "b s"],
        start: Int[Array, " b"],
        stop: Int[Array, " b"],
    ) -> Int[Array, "b t q"]:
        dac: Dac = nnx.merge(self._graphdef, params)
        hop = self.hop_samples
        return dac.quantizer.encode(dac.encoder(samples, Span(start * hop, stop * hop)))

    def _decode_windows(
        self,
        params: nnx.State,
        codes: Int[Array, "b t q"],
        start: Int[Array, " b"],
        stop: Int[Array, " b"],
    ) -> Float[Array, "b s"]:
        dac: Dac = nnx.merge(self._graphdef, params)
        return dac.decoder(dac.quantizer.decode(codes), Span(start, stop))
