"""A recording to codes and codes to a wav file, piece by piece: hours need little memory."""

from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.audio.files import WavWriter
from audiolm_jax.audio.resample import Resampler, iter_resampled
from audiolm_jax.data.code_file import CodeFile
from audiolm_jax.records import (
    AcousticTokenizer,
    AcousticTokens,
    AudioBatch,
    CodeStream,
    SampleStream,
    StreamingTokenizer,
)

RESAMPLER: Resampler = "soxr_hq"
_BLOCK_FRAMES = 128


def encode_recording(source: Path, codec: AcousticTokenizer, levels: int) -> CodeFile:
    """Codes of an audio file of any rate and number of channels.

    Every format of `audio.files` is read block by block. Beside a block in work only the codes are
    held: 4.3 MB for an hour of 12 levels at 50 Hz.

    Args:
      source: made mono (mean of the channels) and converted to the codec's rate.
      codec: one that does not stream encodes the whole recording at once.
      levels: how many of the first levels to keep.

    Raises:
      InputError: see `audio.files.read_audio`.
    """
    stream: SampleStream = (
        codec.open_encoder(_BLOCK_FRAMES)
        if isinstance(codec, StreamingTokenizer)
        else _WholeEncoder(codec)
    )
    samples, codes = 0, []
    for block in iter_resampled(source, codec.sample_rate_hz, RESAMPLER):
        samples += len(block)
        codes.append(stream.push(block)[:, :levels].astype(np.uint16))
    codes.append(stream.finish()[:, :levels].astype(np.uint16))
    return CodeFile(np.concatenate(codes), samples)


def decode_recording(
    file: CodeFile, codec: AcousticTokenizer, out: Path, provenance: dict[str, Any]
) -> int:
    """Writes the sound of `file` as a wav file, whole or not at all.

    Args:
      file: codes of this codec.
      codec: one that does not stream decodes the whole recording at once.
      out: its folder must exist.
      provenance: kept in the wav file.

    Returns:
      How many samples were beyond full scale and were cut.
    """
    stream: CodeStream = (
        codec.open_decoder(_BLOCK_FRAMES)
        if isinstance(codec, StreamingTokenizer)
        else _WholeDecoder(codec)
    )
    with WavWriter(out, codec.sample_rate_hz, provenance) as wav:
        for start in range(0, len(file.codes), _BLOCK_FRAMES):
            codes = file.codes[start : start + _BLOCK_FRAMES].astype(np.int32)
            wav.write(stream.push(codes)[: file.samples - wav.samples])
        wav.write(stream.finish()[: file.samples - wav.samples])
    return wav.cut


class _WholeEncoder:
    """The stream of a codec that needs all samples at once."""

    def __init__(self, codec: AcousticTokenizer):
        self._codec = codec
        self._samples: list[np.ndarray] = []

    def push(self, samples: np.ndarray) -> np.ndarray:
        self._samples.append(samples)
        return np.zeros((0, self._codec.levels), np.int32)

    def finish(self) -> np.ndarray:
        tokens = self._codec.encode(AudioBatch.from_clips([np.concatenate(self._samples)]))
        return np.asarray(tokens.codes)[0, : int(np.asarray(tokens.lengths)[0])]


class _WholeDecoder:
    """The stream of a codec that needs all codes at once."""

    def __init__(self, codec: AcousticTokenizer):
        self._codec = codec
        self._codes: list[np.ndarray] = []

    def push(self, codes: np.ndarray) -> np.ndarray:
        self._codes.append(codes)
        return np.zeros(0, np.float32)

    def finish(self) -> np.ndarray:
        codes = np.concatenate(self._codes)[None]
        audio = self._codec.decode(AcousticTokens(codes, np.array([codes.shape[1]], np.int32)))
        return np.asarray(audio.samples)[0]
