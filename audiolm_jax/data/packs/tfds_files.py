"""What makes the folder of a pack a dataset of TensorFlow Datasets, written without it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.data.sources import Split

VERSION = "1.0.0"
# Fields of `ClipInfo` in a record; then those of text and of numbers that are no fields of it.
TEXTS: tuple[str, ...] = (
    "path",
    "sha256",
    "split",
    "speaker",
    "text",
    "accent",
    "language",
    "gender",
    "group",
)
TEXTS += ("codec",)
_TEXTS = (*TEXTS, "dataset", "encoding", "id")
_NUMBERS = ("channels", "crc32", "rate_hz", "samples", "source_rate_hz", "start")
_FEATURES = "tensorflow_datasets.core.features"
_DESCRIPTION = (
    "Recordings packed by audiolm pack: `audio` is a FLAC or wav file, mono, of `samples` samples "
    "at `rate_hz`, from sample `start` of the recording `path` on."
)


def shard_name(dataset: str, split: Split, index: int, count: int) -> str:
    """File name of shard `index` of `count`, as TFDS has it."""
    return f"{dataset}-{split}.array_record-{index:05d}-of-{count:05d}"


def write_tfds_files(
    directory: Path, dataset: str, splits: Mapping[Split, Mapping[str, Any]]
) -> None:
    """features.json and dataset_info.json."""
    text = {"pythonClassName": f"{_FEATURES}.text_feature.Text", "text": {}}
    features = {
        "audio": _tensor("tensor_feature.Tensor", "string"),
        **dict.fromkeys(_TEXTS, text),
        **dict.fromkeys(_NUMBERS, _tensor("scalar.Scalar", "int64")),
    }
    top = {
        "pythonClassName": f"{_FEATURES}.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }
    write_json(directory / "features.json", top, sort_keys=True)
    info = {
        "name": dataset,
        "version": VERSION,
        "description": _DESCRIPTION,
        "fileFormat": "array_record",
        "splits": [
            {
                "name": split,
                "numBytes": str(sum(shard["bytes"] for shard in part["shards"])),
                "shardLengths": [str(shard["records"]) for shard in part["shards"]],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for split, part in splits.items()
        ],
    }
    write_json(directory / "dataset_info.json", info, sort_keys=True)


def _tensor(name: str, dtype: str) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_FEATURES}.{name}",
        "tensor": {"shape": {}, "dtype": dtype, "encoding": "none"},
    }
