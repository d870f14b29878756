"""Lists of clips of recordings that are nowhere."""

import dataclasses

import numpy as np
import pyarrow as pa

from audiolm_jax.data.clips import Clips, ClipTable
from audiolm_jax.data.file_index import KNOWN, FileIndex
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.data.sources import AudioDataConfig


@dataclasses.dataclass(frozen=True)
class Recording:
    """A whole file."""

    path: str
    seconds: float
    text: str = ""
    sha256: str = ""
    split: str = "heldout"


def clip_index(recordings, rate_hz=16000):
    """A clip for each recording, in their order."""
    count = len(recordings)
    samples = np.array([round(r.seconds * rate_hz) for r in recordings])
    digests = [bytes.fromhex(r.sha256.ljust(64, "0")) for r in recordings]
    columns = {
        "path": pa.array([r.path for r in recordings]),
        "size": pa.array([0] * count),
        "time": pa.array([0] * count),
        "rate_hz": pa.array([rate_hz] * count, pa.int32()),
        "channels": pa.array([1] * count),
        "sha256": pa.array(digests, pa.binary(32)),
        "text": pa.array([r.text for r in recordings]),
        **{name: pa.array([""] * count).dictionary_encode() for name in ("codec", *KNOWN)},
    }
    table = ClipTable(
        files=FileIndex(columns, (), (), (), ()),
        file=np.arange(count),
        part=np.full(count, -1),
        start=np.zeros(count, np.int64),
        source_samples=samples,
        num_samples=samples,
        is_heldout=np.array([r.split == "heldout" for r in recordings], bool),
    )
    return ClipIndex(AudioDataConfig("folder"), Clips(table), 100.0)
