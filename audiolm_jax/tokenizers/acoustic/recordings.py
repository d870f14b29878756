"""A recording to codes and codes to a wav file, piece by piece: hours need little memory."""

from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.audio.files import WavWriter
from audiolm_jax.audio.resample import Resampler, iter_resampled
from audiolm_jax.tokenizers.acoustic.code_file import CodeFile
from audiolm_jax.types import StreamingTokenizer

RESAMPLER: Resampler = "soxr_hq"


def encode_recording(source: Path, codec: StreamingTokenizer, levels: int) -> CodeFile:
    """Codes, of the first `levels`, of an audio file of any format, rate and number of channels."""
    stream = codec.open_encoder(codec.max_block_frames)
    samples, codes = 0, []
    for block in iter_resampled(source, codec.sample_rate_hz, RESAMPLER):
        samples += len(block)
        codes.append(stream.push(block)[:, :levels].astype(np.uint16))
    codes.append(stream.finish()[:, :levels].astype(np.uint16))
    return CodeFile(np.concatenate(codes), samples)


def decode_recording(
    file: CodeFile, codec: StreamingTokenizer, out: Path, provenance: dict[str, Any]
) -> int:
    """Writes the sound as a whole wav file or none; returns how many samples were clipped."""
    block = codec.max_block_frames
    stream = codec.open_decoder(block)
    with WavWriter(out, codec.sample_rate_hz, provenance) as wav:
        for start in range(0, len(file.codes), block):
            codes = file.codes[start : start + block].astype(np.int32)
            wav.write(stream.push(codes)[: file.samples - wav.samples])
        wav.write(stream.finish()[: file.samples - wav.samples])
    return wav.clipped
