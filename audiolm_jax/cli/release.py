"""`audiolm release`: one trained model as a small archive to publish."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from audiolm_jax.artifacts.archive import pack
from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.eight_bits import to_eight_bits
from audiolm_jax.artifacts.local_copy import scratch_folder
from audiolm_jax.artifacts.model_folder import ModelFolder, load_model, save_model
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON, model_folder
from audiolm_jax.artifacts.storage import download, is_remote
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.card import LICENSE, README, licence_fields, read_card, with_head


@dataclasses.dataclass(frozen=True)
class ReleaseOptions:
    """Write a zip archive of one model folder, weights rounded, with a model card; or of a bundle,
    as it is.

    Unpacked a model is a folder like any other, with a fingerprint of its own, for rounding makes
    it another model; the parts of a bundle know each other by fingerprint, so its weights stay.
    The archive of a bundle is taken wherever the bundle is. The same model gives the same bytes.
    """

    model: tyro.conf.Positional[Path]
    """Run directory, model folder or bundle."""
    out: Path
    """Archive to write, NAME.zip; it holds the folder NAME."""
    licence: str
    """Licence and attribution of the weights, for the model card."""
    bits: Literal[16, 8, 6] = 16
    """Of a weight of a model. 8 halves the archive again, 6 takes a quarter less: blocks of 32
    weights share a unit, and each lies at most half of it from what it was; measure what that
    changes before you share it."""


def release(arguments: Sequence[str]) -> None:
    """`audiolm release`."""
    options = parse(ReleaseOptions, arguments, "audiolm release")
    is_there = is_remote(options.out) or options.out.parent.is_dir()
    if options.out.suffix != ".zip" or not is_there:
        raise InputError(f"{options.out}: expected NAME.zip in a folder that is there")
    with only_writer(options.out, is_replaced=True):
        if (options.model / BUNDLE_JSON).is_file():
            _release_bundle(options)
        else:
            _release(options)


def _release_bundle(options: ReleaseOptions) -> None:
    fingerprint = load_bundle(options.model).fingerprint
    with scratch_folder() as scratch, atomic_path(options.out) as archive:
        folder = scratch / options.out.stem
        download(options.model, folder)
        card, fields = read_card(folder)
        stated = f"Licence of this archive: {options.licence}\n"
        if fields is not None and fields.get("license") == "unknown":
            fields |= licence_fields({}, options.licence)
            card = with_head(card, fields)
            if fields["license"] == "other":
                (folder / LICENSE).write_text(stated)
        (folder / README).write_text(f"{card}\n{stated}")
        pack(folder, archive)
    size = options.out.stat().st_size
    print(f"{options.out}: bundle {fingerprint[:16]}, {size:,} bytes")


def _release(options: ReleaseOptions) -> None:
    source = load_model(model_folder(options.model))
    arrays: dict[str, np.ndarray] = {}
    for name, array in source.arrays.items():
        is_table = array.dtype == np.float32 and array.ndim > 1
        if options.bits <= 8 and is_table:
            arrays |= to_eight_bits(name, array, options.bits)
        else:
            arrays[name] = _halve(name, array)
    provenance = {
        **source.provenance,
        "model": options.out.stem,
        "licence": options.licence,
        "rounded_from": source.fingerprint,
    }
    with scratch_folder() as scratch, atomic_path(options.out) as archive:
        folder = scratch / options.out.stem
        fingerprint = save_model(
            folder, source.kind, source.config, arrays, provenance, source.code
        )
        (folder / README).write_text(_model_card(options, source, fingerprint))
        pack(folder, archive)
    size = options.out.stat().st_size
    print(f"{options.out}: {source.kind} {fingerprint[:16]}, {size:,} bytes")


def _halve(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float16)
    if not np.isfinite(rounded).all():
        largest = f"{np.finfo(np.float16).max:g}"
        raise InputError(f"{name}: holds numbers beyond {largest}: share the model folder as it is")
    return rounded


def _model_card(options: ReleaseOptions, source: ModelFolder, fingerprint: str) -> str:
    facts = source.provenance
    what = f"A model of kind `{source.kind}`, trained with audiolm_jax"
    shown = {key: facts[key] for key in ("steps", "data", "config_hash") if key in facts}
    lines = [
        f"# {options.out.stem}\n",
        f"{what}; weights in {options.bits} bits.\n",
        f"- fingerprint {fingerprint[:16]}, rounded from {source.fingerprint[:16]}",
        *(f"- {key}: {json.dumps(value)}" for key, value in shown.items()),
        f"- licence of the weights: {options.licence}\n",
        "`audiolm info THIS_FOLDER` shows everything it was made from.\n",
    ]
    return "\n".join(lines)
