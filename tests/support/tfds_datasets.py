"""Prepared datasets of TFDS, written without it."""

import itertools
import json
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from audiolm_jax.artifacts.protobuf import message_class

_MESSAGES = {
    "BytesList": {"value": (1, ["bytes"])},
    "FloatList": {"value": (1, ["float"])},
    "Int64List": {"value": (1, ["int64"])},
    "Feature": {
        "bytes_list": (1, "BytesList"),
        "float_list": (2, "FloatList"),
        "int64_list": (3, "Int64List"),
    },
    "Entry": {"key": (1, "string"), "value": (2, "Feature")},
    "Features": {"feature": (1, ["Entry"])},
    "Example": {"features": (1, "Features")},
}
_Example = message_class(_MESSAGES, "Example")
_CORE = "tensorflow_datasets.core.features"


def serialized(values: dict) -> bytes:
    """An example of text, bytes, numbers and arrays of numbers."""
    example = _Example()
    for name, value in values.items():
        feature = example.features.feature.add(key=name).value
        if isinstance(value, str | bytes):
            feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
        elif (array := np.atleast_1d(value)).dtype.kind == "f":
            feature.float_list.value.extend(array.ravel().tolist())
        else:
            feature.int64_list.value.extend(array.ravel().tolist())
    return example.SerializeToString()


def audio(dtype: str = "int16", rate: int = 16000, dimensions: tuple = (-1,), **more) -> dict:
    """What features.json says of an Audio feature."""
    about = {"dtype": dtype, "shape": {"dimensions": [str(n) for n in dimensions]}, **more}
    about |= {"sampleRate": str(rate)} if rate else {}
    return {"pythonClassName": f"{_CORE}.audio_feature.Audio", "audio": about}


def text() -> dict:
    """What it says of one of text."""
    return {"pythonClassName": f"{_CORE}.text_feature.Text", "text": {}}


def number(dtype: str = "int64") -> dict:
    """What it says of a number."""
    tensor = {"shape": {}, "dtype": dtype, "encoding": "none"}
    return {"pythonClassName": f"{_CORE}.tensor_feature.Tensor", "tensor": tensor}


def write_dataset(
    root: Path, features: dict, splits: dict, name: str = "mine", shards: int = 2, **info
) -> Path:
    """Writes the examples of each split, as `serialized` takes them; the folder of the version."""
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    listed = []
    for split, examples in splits.items():
        bounds = [len(examples) * n // shards for n in range(shards + 1)]
        for number, (first, end) in enumerate(itertools.pairwise(bounds)):
            file = f"{name}-{split}.array_record-{number:05}-of-{shards:05}"
            writer = ArrayRecordWriter(str(folder / file), "group_size:1")
            for values in examples[first:end]:
                writer.write(serialized(values))
            writer.close()
        lengths = [str(end - first) for first, end in itertools.pairwise(bounds)]
        listed.append({"name": split, "shardLengths": lengths})
    top = {
        "pythonClassName": f"{_CORE}.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }
    (folder / "features.json").write_text(json.dumps(top))
    about = {"name": name, "version": "1.0.0", "fileFormat": "array_record", "splits": listed}
    (folder / "dataset_info.json").write_text(json.dumps(about | info))
    return folder
