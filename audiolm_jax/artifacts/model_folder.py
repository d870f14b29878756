"""Model folders: the weights and config of one trained part, for inference and for sharing.

A folder holds `weights.safetensors` and `model.json` (kind, config, fingerprint, provenance). The
fingerprint is a hash of kind, config and every array, and of code that is not this package's, so
equal fingerprints mean equal results.
Nothing is ever unpickled.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from audiolm_jax.artifacts.atomic import atomic_path, write_json
from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.artifacts.eight_bits import from_eight_bits
from audiolm_jax.artifacts.local_copy import local_copy
from audiolm_jax.artifacts.outside import check_code, check_trusted, code_of, is_outside, made_by
from audiolm_jax.artifacts.safetensors_file import SafetensorsWriter, bytes_of
from audiolm_jax.errors import InputError

FORMAT = 1
MODEL_JSON = "model.json"
WEIGHTS = "weights.safetensors"


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """A verified model folder."""

    kind: str  # what the part is, such as "soundstream"
    config: dict[str, Any]  # as JSON values
    arrays: dict[str, np.ndarray]  # weights by dotted name
    fingerprint: str  # 64 hexadecimal digits
    provenance: dict[str, Any]  # run, steps, data, upstream fingerprints, license
    code: str | None = None  # of a part from outside, see `outside.code_of`


class _Fingerprint:
    """Of a kind, a config, code from outside, and arrays that are told one by one in the order of
    their names."""

    def __init__(self, kind: str, config: dict[str, Any], code: str | None) -> None:
        parts = [FORMAT, kind, config, *([] if code is None else [code])]
        self._digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())

    def update(self, name: str, array: np.ndarray) -> None:
        self._digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        self._digest.update(bytes_of(array))

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def compute_fingerprint(
    kind: str,
    config: dict[str, Any],
    arrays: Mapping[str, np.ndarray],
    code: str | None = None,
) -> str:
    """sha256 over kind, config, code from outside if there is any, and name, dtype, shape and bytes
    of every array in name order."""
    fingerprint = _Fingerprint(kind, config, code)
    for name in sorted(arrays):
        fingerprint.update(name, np.ascontiguousarray(arrays[name]))
    return fingerprint.hexdigest()


def save_model(
    directory: Path,
    kind: str,
    config: Any,
    arrays: Mapping[str, Any],
    provenance: dict[str, Any],
    code: str | None = None,
) -> str:
    """Writes a model folder, of a config or its fields, in one rename; returns its fingerprint.

    A `kind` may be `module:attribute` (docs/guide/extending.md): then `code`, None for that of
    here, is part of the folder. `arrays` have shape and dtype; `numpy.asarray` is asked for the
    value of each once, in the order of their names, and none is kept: memory holds one at a time.
    """
    fields = config if isinstance(config, dict) else config_to_dict(config)
    if code is None and is_outside(kind):
        code = code_of(kind, str(directory))
    fingerprint = _Fingerprint(kind, fields, code)
    with atomic_path(directory) as scratch:
        scratch.mkdir()
        with (scratch / WEIGHTS).open("wb") as file:
            writer = SafetensorsWriter(file, {n: _Described(x) for n, x in arrays.items()})
            for name in sorted(arrays):
                array = np.ascontiguousarray(np.asarray(arrays[name]))
                fingerprint.update(name, array)
                writer.write(name, array)
                del array  # before the next one is made
        record = {
            "format": FORMAT,
            "kind": kind,
            "fingerprint": fingerprint.hexdigest(),
            "config": fields,
            "provenance": provenance,
            **({} if code is None else {"code": code}),
        }
        write_json(scratch / MODEL_JSON, record)
    return fingerprint.hexdigest()


class _Described:
    """Shape and dtype that an array has in the file; there is no array without dimensions."""

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype = tuple(array.shape) or (1,), np.dtype(array.dtype)


def load_model(directory: Path, kind: str | None = None) -> ModelFolder:
    """Reads a model folder of a kind, None for any, and checks it against its fingerprint; weights
    that are stored in 16 or 8 bits (`audiolm release`) are widened to float32."""
    for name in (MODEL_JSON, WEIGHTS):
        if not (directory / name).is_file():
            raise InputError(
                f"{directory / name}: not found; a model folder holds {MODEL_JSON} and {WEIGHTS}"
            )
    try:
        record = json.loads((directory / MODEL_JSON).read_text())
        missing = {"format", "kind", "config", "fingerprint", "provenance"} - set(record)
        if missing or not isinstance(record, dict):
            raise ValueError(f"{MODEL_JSON} holds no {min(missing, default='object')}")
        with local_copy(directory / WEIGHTS) as weights:
            try:
                arrays = load_file(weights)
            except SafetensorError:  # also where the file cannot be opened, which this says
                weights.open("rb").close()
                raise
    except (ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise InputError(f"{directory}: damaged model folder ({error}); copy it again") from error
    if record.get("format") != FORMAT:
        raise InputError(f"{directory}: format {record.get('format')}, this program reads {FORMAT}")
    if kind is not None and record["kind"] != kind:
        raise InputError(f"{directory}: holds a {record['kind']!r} model, expected {kind!r}")
    kind, code = record["kind"], record.get("code")
    if compute_fingerprint(kind, record["config"], arrays, code) != record["fingerprint"]:
        raise InputError(f"{directory}: does not match its fingerprint; copy it again")
    try:
        arrays = from_eight_bits(arrays)
    except ValueError as error:
        raise InputError(f"{directory}: {error}; release the model again") from error
    arrays = {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in arrays.items()
    }
    config, fingerprint = record["config"], record["fingerprint"]
    return ModelFolder(kind, config, arrays, fingerprint, record["provenance"], code)


def part_of(folder: ModelFolder, protocol: type, where: str) -> Any:
    """What code from outside makes of a model folder read from `where`, with every member of a
    protocol; InputError unless it is trusted and that which wrote the folder."""
    check_trusted(folder.kind, where)
    check_code(folder.kind, folder.code, where)
    return made_by(folder.kind, where, protocol, folder)


def read_model_json(directory: Path) -> dict[str, Any]:
    """What a folder says of its model, read without the weights; InputError if it says nothing."""
    path = directory / MODEL_JSON
    try:
        record = json.loads(path.read_text())
        _ = record["kind"], record["fingerprint"]  # what every model has
        return record
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected a model folder") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); copy the folder again") from error
