"""`audiolm info`: what a file or folder of this program is, and what it came from."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tyro

from audiolm_jax.artifacts.model_folder import MODEL_JSON, load_model
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON
from audiolm_jax.artifacts.storage import is_remote
from audiolm_jax.audio.files import AudioInfo, probe
from audiolm_jax.audio.names import shown
from audiolm_jax.audio.output import SUFFIXES, read_provenance
from audiolm_jax.cli.options import parse
from audiolm_jax.data.packs.manifest import PACK
from audiolm_jax.data.packs.read import Pack
from audiolm_jax.data.tfds.dataset import read_dataset
from audiolm_jax.data.tfds.names import PREFIX, is_dataset
from audiolm_jax.data.tokens.store import MANIFEST as STORE_MANIFEST
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import is_archive, load_bundle
from audiolm_jax.training.best import read_best
from audiolm_jax.training.checkpoints import latest_step
from audiolm_jax.training.manifest import MANIFEST as RUN_MANIFEST


@dataclasses.dataclass(frozen=True)
class InfoOptions:
    """Say what a path is and where it came from; models, stores and packs are verified on the
    way."""

    path: tyro.conf.Positional[Path]
    """A run directory, model folder, bundle or its archive, token store, pack, wav or flac file, or
    a dataset that TFDS has prepared, tfds:NAME or its folder."""


def info(arguments: Sequence[str]) -> None:
    """`audiolm info`."""
    path = parse(InfoOptions, arguments, "audiolm info").path
    for line in describe(path):
        print(line)


def describe(path: Path) -> Iterator[str]:
    """Lines about a path; InputError if it is damaged or nothing of ours."""
    if str(path).startswith(PREFIX):
        yield from _dataset(str(path))
        return
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if (path / BUNDLE_JSON).is_file() or is_archive(path):
        bundle = load_bundle(path)
        yield f"bundle {bundle.fingerprint}, verified"
        for part, fingerprint in bundle.parts.items():
            yield f"  {part}: {fingerprint}"
        yield f"  semantic tokens per second: {bundle.semantic_tokens_per_second:.2f}"
    elif (path / MODEL_JSON).is_file():
        model = load_model(path)
        size = sum(array.size for array in model.arrays.values())
        yield f"{model.kind} model {model.fingerprint}, verified, {size:,} numbers"
        if model.code is not None:
            yield f"  code: {model.code}"
        yield from _fields("config", model.config)
        yield from _fields("provenance", model.provenance)
    elif (path / RUN_MANIFEST).is_file():
        done = (path / "model" / MODEL_JSON).is_file()
        yield f"run directory, {'finished' if done else 'not finished'}"
        yield f"  newest checkpoint: step {latest_step(path)}"
        if best := read_best(path):
            for checkpoint in best["checkpoints"]:
                yield (
                    f"  {best['best_is']} heldout/{best['metric']}: {checkpoint['value']:.6g} "
                    f"at step {checkpoint['step']}, kept"
                )
        yield from _fields("manifest", json.loads((path / RUN_MANIFEST).read_text()))
    elif (path / STORE_MANIFEST).is_file():
        store = TokenStore.open(path)
        if is_remote(path):
            store.verify(hashes=True)
        yield f"token store {store.fingerprint}, verified"
        yield from _fields("provenance", dataclasses.asdict(store.provenance))
        for split, part in store.manifest["splits"].items():
            yield from _fields(split, part["statistics"])
    elif (path / PACK).is_file():
        manifest = Pack(path, hashes=True).manifest
        yield f"pack {manifest['fingerprint']}, verified"
        yield f"  converted: {manifest['conversion'] or 'no, all samples are those of the files'}"
        yield from _fields("rules", manifest["rules"])
        yield from _fields("records by encoding", manifest["encodings"])
        for split, part in manifest["splits"].items():
            size = sum(shard["bytes"] for shard in part["shards"]) / 1e9
            yield (
                f"  {split}: {part['clips']} clips, {part['seconds'] / 3600:.2f} h, {size:.2f} GB "
                f"in {len(part['shards'])} shards"
            )
    elif path.suffix.lower() in SUFFIXES:
        facts, kind = probe(path), path.suffix.lower()[1:]
        yield f"{kind}, {facts.sample_rate_hz} Hz, {facts.channels} channel, {_length(facts)}"
        if (provenance := read_provenance(path)) is None:
            yield "  no provenance: not written by this program"
        else:
            yield from _fields("provenance", provenance)
    elif path.is_dir() and is_dataset(str(path)):
        yield from _dataset(str(path))
    else:
        kinds = "run directory, model, bundle, token store, pack, dataset of TFDS, wav or flac file"
        raise InputError(f"{path}: not a {kinds}")


def _dataset(source: str) -> Iterator[str]:
    dataset = read_dataset(source)
    sound = dataset.sound
    yield f"dataset of TFDS {dataset.title} in {shown(dataset.folder)}, not verified"
    stored = "files" if sound.stored == "file" else f"{sound.dtype} of {sound.rate_hz} Hz"
    yield f"  sound: {sound.field}, {stored}"
    for split, examples in dataset.splits.items():
        shards = [shard for shard in dataset.shards if shard.split == split]
        size = sum(shard.size for shard in shards) / 1e9
        yield f"  {split}: {len(examples)} examples, {size:.2f} GB in {len(shards)} shards"


def _length(facts: AudioInfo) -> str:
    return "of unknown length" if facts.seconds is None else f"{facts.seconds:.2f} s"


def _fields(title: str, fields: dict[str, Any]) -> Iterator[str]:
    yield f"  {title}:"
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from (f"  {line}" for line in _fields(name, value))
        else:
            yield f"    {name}: {value}"
