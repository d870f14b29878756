"""Codes of one recording as a file: a safetensors file that knows which codec wrote it.

Tensor `codes`: uint16 [t, q]. Metadata, all strings: `format` ("audiolm_codes_1"), `codec` (the
codec's fingerprint), `sample_rate_hz`, `hop_samples`, `samples` (length before padding to whole
frames). docs/guide/codec.md describes it for other programs.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.local_copy import local_copy
from audiolm_jax.artifacts.storage import StorageError
from audiolm_jax.errors import InputError
from audiolm_jax.types import AcousticTokenizer

FORMAT = "audiolm_codes_1"
SUFFIX = ".codes"


class CodeFile(NamedTuple):
    """Codes of a recording."""

    codes: np.ndarray  # uint16 [t, q], q of the first levels of the codec
    samples: int  # length of the recording at the codec's rate


def write_codes(path: Path, file: CodeFile, codec: AcousticTokenizer) -> None:
    """Writes a code file in one rename; InputError if the codec's codes need more than 16 bits."""
    if codec.codebook_size > 1 << 16:
        raise InputError(f"codebook_size = {codec.codebook_size}: a code file holds 65536 at most")
    metadata = {
        "format": FORMAT,
        "codec": codec.fingerprint,
        "sample_rate_hz": str(codec.sample_rate_hz),
        "hop_samples": str(codec.hop_samples),
        "samples": str(file.samples),
    }
    with atomic_path(path) as scratch:
        scratch.write_bytes(save({"codes": file.codes.astype(np.uint16)}, metadata))


def read_codes(path: Path, codec: AcousticTokenizer) -> CodeFile:
    """Reads codes that this very codec wrote."""
    try:
        with local_copy(path) as copy, safe_open(copy, framework="numpy") as file:
            metadata = file.metadata() or {}
            codes = file.get_tensor("codes") if "codes" in file.keys() else None  # noqa: SIM118
    except StorageError:
        raise
    except (SafetensorError, OSError, struct.error) as error:
        raise InputError(f"{path}: not a code file ({error})") from error
    if metadata.get("format") != FORMAT or codes is None or codes.ndim != 2:
        raise InputError(f"{path}: not a code file: expected format {FORMAT} with a tensor 'codes'")
    missing = {"codec", "sample_rate_hz", "hop_samples", "samples"} - metadata.keys()
    if missing or codes.dtype != np.uint16:
        fault = f"no {', no '.join(sorted(missing))}" if missing else f"codes of {codes.dtype}"
        raise InputError(f"{path}: damaged code file: {fault}; encode the recording again")
    remedy = "decode with the codec that wrote them"
    for name in ("sample_rate_hz", "hop_samples"):
        stated, ours = metadata[name], getattr(codec, name)
        if stated != str(ours):
            raise InputError(f"{path}: {name} = {stated}, this codec has {ours}; {remedy}")
    stated, ours = metadata["codec"], codec.fingerprint
    if stated != ours:
        names = f"codes of codec {stated[:16]}, this codec is {ours[:16]}"
        raise InputError(f"{path}: {names}; {remedy}")
    if not 1 <= codes.shape[1] <= codec.levels:
        raise InputError(f"{path}: {codes.shape[1]} levels, this codec has 1 to {codec.levels}")
    if codes.size and codes.max() >= codec.codebook_size:
        limit = codec.codebook_size - 1
        raise InputError(f"{path}: code {codes.max()} is out of range, expected 0 to {limit}")
    samples, most = metadata["samples"], len(codes) * codec.hop_samples
    if not samples.isdecimal() or not 0 <= most - int(samples) < codec.hop_samples:
        frames = f"{len(codes)} frames of {codec.hop_samples}"
        raise InputError(f"{path}: {samples} samples do not fit {frames}")
    return CodeFile(codes, int(samples))
