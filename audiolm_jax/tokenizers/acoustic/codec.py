"""The front end of every codec, a subclass of `Codec` that brings its network; see `load`."""

import abc
import copy
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Num

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.artifacts.traced import kept_shapes, program_of
from audiolm_jax.errors import InputError
from audiolm_jax.nn.conv import NormalDraws
from audiolm_jax.nn.partition import without_rules
from audiolm_jax.nn.state_arrays import flatten_shapes, leaves_of
from audiolm_jax.tokenizers.acoustic.schedule import Run
from audiolm_jax.tokenizers.acoustic.streams import Half, State, Stream
from audiolm_jax.types import AcousticTokens, AudioBatch

_PROGRAMS: dict[
    tuple[type, Any], tuple[Any, Any, Any]
] = {}  # to encode and to decode blocks, initial states


class Codec(abc.ABC):
    """A frozen codec: encodes and decodes batches of any lengths (`types.StreamingTokenizer`).

    A recording is filled with zeros to whole frames; then codes and samples are those of the
    network run on it alone, in one piece, whatever its batch mates, padding and cut into blocks.
    Few programs are compiled for any lengths, and memory grows with the samples alone.
    """

    kind: ClassVar[str]  # of its model folders
    config_type: ClassVar[type]
    network_type: ClassVar[type[nnx.Module]]  # built by network_type(config, draws=...)
    halvings: ClassVar[int] = 0  # how often the last block of a stream may be halved

    max_block_frames: int  # most frames that a stream computes together; then it is fastest
    frames_at_once: int  # frames of one call that computes more than one window
    encoder_context = 0  # frames on either side of a frame that can change its codes ...
    decoder_context = 0  # ... and its samples, beyond what the state holds
    encoder_delay = 0  # frames that `_encode_block` must have had before it gives a frame's codes

    def __init__(self, config: Any, arrays: dict[str, np.ndarray], fingerprint: str):
        """`config` is a `config_type`; `arrays`, which must fit it, go by dotted name."""
        self.config: Any = config
        self.sample_rate_hz: int = config.sample_rate_hz
        self.hop_samples: int = config.hop_samples
        self.levels: int = config.levels
        self.codebook_size: int = config.codebook_size
        self.fingerprint = fingerprint
        self._where = f"{self.kind} model {fingerprint[:16]}"
        # First argument of the compiled programs. A plain list: a call with an nnx.State spends
        # longer on the container than on one frame.
        self._params: Any = leaves_of(self._shapes(), arrays, self._where, jax.device_put)
        self._jit_encode, self._jit_decode, self._jit_state = self._programs()

    @classmethod
    def load(cls, directory: Path) -> "Codec":
        """Reads a model folder of this kind."""
        folder = load_model(directory, cls.kind)
        config: Any = config_from_dict(cls.config_type, folder.config, str(directory))
        return cls(config, folder.arrays, folder.fingerprint)

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """numpy codes [b, ceil(s / hop), q]; InputError if a valid sample is not finite."""
        samples, sizes = np.asarray(audio.samples, np.float32), np.asarray(audio.lengths)
        for row, size in zip(samples, sizes, strict=True):
            check_samples(row[:size])
        lengths = (-(-sizes // self.hop_samples)).astype(np.int32)
        frames = -(-samples.shape[1] // self.hop_samples)
        codes = np.zeros((len(sizes), frames, self.levels), np.int32)
        self._run_whole(self._encoder(), samples, sizes, lengths, codes)
        return AcousticTokens(codes, lengths)

    def decode(self, tokens: AcousticTokens) -> AudioBatch:
        """Audio of `tokens.lengths * hop_samples`, within [-1, 1]; any number of first levels."""
        codes, lengths = np.asarray(tokens.codes), np.asarray(tokens.lengths, np.int32)
        for row, frames in zip(codes, lengths, strict=True):
            check_codes(row[:frames], self.levels, self.codebook_size)
        codes = codes.astype(np.int32, copy=False)
        samples = np.zeros((len(codes), codes.shape[1] * self.hop_samples), np.float32)
        self._run_whole(self._decoder(), codes, lengths, lengths, samples)
        return AudioBatch(samples, lengths * np.int32(self.hop_samples))

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """Sum of the code vectors of the levels given, the first of all: what the decoder gets."""
        by_level = (self._vectors[i][codes[:, i]] for i in range(codes.shape[1]))
        return functools.reduce(np.add, by_level)

    def open_encoder(self, block_frames: int = 1) -> Stream:
        """A stream of samples to codes."""
        return Stream(self._encoder(), block_frames, self.max_block_frames, self.halvings)

    def open_decoder(self, block_frames: int = 1) -> Stream:
        """A stream of codes, of any number of first levels, to samples."""
        return Stream(self._decoder(), block_frames, self.max_block_frames, self.halvings)

    # What a network brings; a span is where the recording starts and stops, in the block's frames.

    @abc.abstractmethod
    def _schedule(self, lengths: Int[np.ndarray, " b"], context: int) -> Iterable[Run]:
        """What is computed for recordings of so many frames."""

    @abc.abstractmethod
    def _encode_block(
        self, params: Any, samples: Float[Array, "b s"], span: Int[Array, "2 b"], state: State
    ) -> tuple[Int[Array, "b t q"], State]:
        """Codes of whole frames, and the state of the next block."""

    @abc.abstractmethod
    def _decode_block(
        self, params: Any, codes: Int[Array, "b t q"], span: Int[Array, "2 b"], state: State
    ) -> tuple[Float[Array, "b s"], State]:
        """Samples of frames, in [-1, 1], and the state of the next block."""

    @property
    @abc.abstractmethod
    def _vectors(self) -> Float[np.ndarray, "q n d"]:
        """Every code of every level as what it adds to the latent."""

    def _programs(self) -> tuple[Any, Any, Any]:
        """Compiled once for all codecs of a config; they hold no weights."""
        if (key := (type(self), self.config)) not in _PROGRAMS:
            plain = copy.copy(self)
            plain._params = None
            facts = plain._facts()
            _PROGRAMS[key] = (
                program_of(without_rules(plain._encode_block), "encode_block", facts),
                program_of(without_rules(plain._decode_block), "decode_block", facts),
                program_of(plain._initial_state, "initial_state", facts, ("half", "batch")),
            )
        return _PROGRAMS[key]

    def _facts(self) -> tuple[Any, ...] | None:
        """What the programs know; None of a class from outside, whose code nobody here knows."""
        code = type(self).__module__
        is_ours = code.startswith(f"{__name__.partition('.')[0]}.")
        return (code, type(self).__name__, self.config) if is_ours else None

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        def make() -> dict[str, tuple[int, ...]]:
            return flatten_shapes(self._state)

        return make() if (facts := self._facts()) is None else kept_shapes("codec", facts, make)

    # Only to trace what is not kept.

    @functools.cached_property
    def _abstract(self) -> Any:
        return abstract_network(self.network_type, self.config)

    @functools.cached_property
    def _state(self) -> nnx.State:
        return nnx.state(self._abstract)

    def _initial_state(self, half: Literal["encoder", "decoder"], batch: int) -> State:
        return None

    def _open(self, half: Literal["encoder", "decoder"], batch: int) -> State:
        return self._jit_state(half=half, batch=batch)

    def _network(self, weights: list[Array]) -> Any:
        state = jax.tree.unflatten(jax.tree.structure(self._state), weights)
        return nnx.merge(nnx.graphdef(self._abstract), state)

    def _encoder(self) -> Half:
        run = functools.partial(self._jit_encode, self._params)
        state = functools.partial(self._open, "encoder")
        units, empty = (self.hop_samples, 1), np.zeros((0, self.levels), np.int32)
        extent = self.encoder_context, self.encoder_delay
        return Half(run, state, *extent, units, check_samples, empty)

    def _decoder(self) -> Half:
        run = functools.partial(self._jit_decode, self._params)
        state = functools.partial(self._open, "decoder")
        check = functools.partial(check_codes, levels=self.levels, codebook_size=self.codebook_size)
        units, empty = (1, self.hop_samples), np.zeros(0, np.float32)
        return Half(run, state, self.decoder_context, 0, units, check, empty)

    def _run_whole(
        self,
        half: Half,
        inputs: Num[np.ndarray, "b n *rest"],
        sizes: Int[np.ndarray, " b"],
        lengths: Int[np.ndarray, " b"],
        outputs: Num[np.ndarray, "b m *rest2"],
    ) -> None:
        """Fills `lengths` frames of `outputs`; inputs at or beyond `sizes` count as zeros."""
        per_input, per_output = half.units
        lengths = lengths + np.int32(half.delay)
        for run in self._schedule(lengths, half.context):
            size = run[0][0].size
            rows = 1 if len(run[0]) == 1 else self.frames_at_once // size
            state = half.initial_state(rows)
            for windows in run:
                blocks = np.zeros((rows, size * per_input, *inputs.shape[2:]), inputs.dtype)
                span = np.zeros((2, rows), np.int32)
                for i, window in enumerate(windows):
                    piece = inputs[window.row, window.start * per_input : sizes[window.row]]
                    piece = piece[: size * per_input]
                    blocks[i, : len(piece)] = piece
                    span[:, i] = -window.start, lengths[window.row] - window.start
                results, state = half.run(blocks, span, state)
                for window, result in zip(windows, np.asarray(results), strict=False):
                    # The first frames of a delayed network stand for nothing.
                    first, end = max(window.first, half.delay), window.stop
                    made = slice(*((n - window.start) * per_output for n in (first, end)))
                    place = slice(*((n - half.delay) * per_output for n in (first, end)))
                    outputs[window.row, place] = result[made]


def abstract_network(network_type: Any, config: Any) -> nnx.Module:
    """A network whose parameters are shapes only; nothing is computed."""
    return nnx.eval_shape(lambda: network_type(config, draws=NormalDraws(None)))


def check_samples(samples: Num[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Samples as float32; InputError if any is not finite."""
    if not np.isfinite(samples).all():
        raise InputError("audio holds NaN or infinite samples; repair or drop the recording")
    return np.asarray(samples, np.float32)


def check_codes(codes: Int[np.ndarray, "t q"], levels: int, codebook_size: int) -> np.ndarray:
    """Codes as int32; InputError for too many levels or a code out of range."""
    if not 1 <= codes.shape[1] <= levels:
        raise InputError(f"tokens of {codes.shape[1]} levels: this codec decodes 1 to {levels}")
    if codes.size and not (codes.min() >= 0 and codes.max() < codebook_size):
        span = f"codes span [{codes.min()}, {codes.max()}]"
        raise InputError(f"{span}: expected 0 to {codebook_size - 1}; they are of another codec")
    return np.asarray(codes, np.int32)
