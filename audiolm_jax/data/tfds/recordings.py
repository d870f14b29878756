"""The examples of a prepared dataset of TFDS, by number."""

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from jaxtyping import Float

from audiolm_jax.audio.names import shown
from audiolm_jax.data.example import naming
from audiolm_jax.data.shards import ShardReader
from audiolm_jax.data.tfds.dataset import Dataset
from audiolm_jax.data.tfds.examples import described, fields_of, hear, read_sound

_REMEDY = "prepare the dataset again"


class TfdsRecordings:
    """`examples.Source` of a dataset."""

    def __init__(self, dataset: Dataset):
        """Nothing is read."""
        self.mark, self.splits = dataset.mark, dataset.splits
        self._dataset = dataset
        self._firsts = np.array([shard.first for shard in dataset.shards])
        self.forget()

    def facts(self, number: int, split: str, within: int) -> tuple[dict[str, str], dict[str, Any]]:
        """See `examples.Source`."""
        fields, sound = self._fields(number), self._dataset.sound
        row = described(fields, self._dataset, split, within)
        try:
            heard = hear(fields, sound)
        except (ValueError, DecodeError) as error:
            return row, {"reason": f"damaged sound: {error}"}
        return row, {
            "size": fields[sound.field].ByteSize(),
            "samples": len(heard.samples),
            "rate_hz": heard.rate_hz,
            "channels": heard.channels,
            "codec": heard.codec,
            "sha256": heard.sha256,
            "energy": float(np.dot(heard.samples, heard.samples)),
        }

    def read(self, number: int, start: int, stop: int) -> tuple[Float[np.ndarray, " n"], int]:
        """See `examples.Source`."""
        return read_sound(self._fields(number), self._dataset.sound, start, stop)

    def where(self, number: int) -> str:
        """See `examples.Source`."""
        shard = self._shard(number)
        return f"{shown(shard.path)}, record {number - shard.first}"

    def forget(self) -> None:
        """See `examples.Source`."""
        self._reader = ShardReader(_REMEDY)

    def _shard(self, number: int) -> Any:
        place = int(np.searchsorted(self._firsts, number, side="right")) - 1
        return self._dataset.shards[place]

    def _fields(self, number: int) -> dict[str, Any]:
        """The fields of an example; InputError if it is none."""
        shard = self._shard(number)
        data = self._reader.read(shard.path, number - shard.first, shard.count)
        with naming(self.where(number), "an example of this dataset", _REMEDY):
            return fields_of(data)
