"""Bundles: the five trained parts in one folder, checked against each other.

    DIR/bundle.json   which parts, their fingerprints, tokens per second, provenance
    DIR/README.md     model card; LICENSE and config.json beside it, as hubs want them (card.py)
    DIR/{codec,semantic,semantic_lm,coarse_lm,fine_lm}/   model folders

A codec whose levels are all coarse (as the paper's piano codec) has no `fine_lm`.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.archive import SUFFIX, unpacked
from audiolm_jax.artifacts.atomic import atomic_path, write_json, write_text
from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import ModelFolder, load_model
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON, PARTS
from audiolm_jax.artifacts.storage import at, download
from audiolm_jax.errors import InputError
from audiolm_jax.lm.config import KIND, StageModelConfig
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer
from audiolm_jax.types import SemanticTokenizer, StreamingTokenizer

FORMAT = 1
_NEEDED = tuple(part for part in PARTS if part != "fine_lm")
STAGE_PARTS = {"semantic": "semantic_lm", "coarse": "coarse_lm", "fine": "fine_lm"}


@dataclasses.dataclass(frozen=True)
class StageModel:
    """One loaded language model: its config, its weights by name, its fingerprint."""

    config: StageModelConfig
    folder: ModelFolder


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Everything that generation needs."""

    codec: StreamingTokenizer
    """Sound to codes and back."""
    semantic_tokenizer: SemanticTokenizer
    """Sound to semantic tokens."""
    stages: dict[str, StageModel]
    """Semantic, coarse and, unless all levels are coarse, fine, by these names."""
    semantic_tokens_per_second: float
    """Mean rate, as stage 1 counts them, over the training tokens."""
    fingerprint: str
    """64 hexadecimal digits over the fingerprints of all parts."""
    parts: dict[str, str]
    """Fingerprint of each part folder."""


def stage_model(folder: ModelFolder, where: str, name: str) -> StageModel:
    """A stage's model folder, which must hold the stage `name`."""
    config = config_from_dict(StageModelConfig, folder.config, where)
    if config.stage.name != name:
        raise InputError(f"{where}: holds the {config.stage.name} stage, expected {name}")
    return StageModel(config, folder)


def write_bundle(out: Path, sources: dict[str, Path], pages: Mapping[str, str]) -> str:
    """Copies trained parts, by part name, into a bundle, with texts by file name beside them;
    returns the bundle's fingerprint.

    A bundle of the same parts is left as it is. A missing part, or a stage that was trained on
    tokens of another tokenizer, is an InputError.
    """
    for part in _NEEDED:
        if part not in sources:
            raise InputError(f"bundle: no run given for {part}; name a finished run of it")
    folders = {part: load_model(path) for part, path in sources.items()}
    parts = {part: folder.fingerprint for part, folder in sorted(folders.items())}
    stages = {
        name: stage_model(folders[part], str(sources[part]), name)
        for name, part in STAGE_PARTS.items()
        if part in folders
    }
    for name, stage in stages.items():
        _check_upstream(sources[STAGE_PARTS[name]], stage, parts)
    _check_same_counting(out, stages)
    coarse = stages["coarse"].config.stage
    if coarse.coarse_levels < coarse.levels and "fine" not in stages:
        written = f"the coarse stage writes {coarse.coarse_levels} of {coarse.levels} levels"
        raise InputError(f"bundle: {written}; name a finished run of fine_lm too")
    rate = stages["semantic"].folder.provenance["semantic_tokens_per_second"]
    fingerprint = _fingerprint(parts)
    if (out / BUNDLE_JSON).exists() and read_record(out)["fingerprint"] == fingerprint:
        return fingerprint
    record = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "parts": parts,
        "semantic_tokens_per_second": rate,
        "provenance": {part: folder.provenance for part, folder in folders.items()},
    }
    with atomic_path(out) as scratch:
        for part, path in sources.items():
            download(path, scratch / part)
        for name, text in pages.items():
            write_text(scratch / name, text)
        write_json(scratch / BUNDLE_JSON, record)
    return fingerprint


def load_bundle(place: str | Path) -> Bundle:
    """Loads and verifies a bundle: a folder, an address or a zip archive of one. Every part is read
    and hashed once."""
    place = at(place)
    if not is_archive(place):
        return _load_checked(place)
    with unpacked(place, BUNDLE_JSON) as folder, said_of(place, folder):
        return _load_checked(folder)


def is_archive(place: Path) -> bool:
    """Whether a path names a zip archive rather than a folder."""
    return place.suffix.lower() == SUFFIX and not place.is_dir()


@contextlib.contextmanager
def said_of(place: Path | str, folder: Path) -> Iterator[None]:
    """What is wrong in a folder that was unpacked or fetched is said of where it came from."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(folder), str(place))) from error


def _load_checked(directory: Path) -> Bundle:
    try:
        return _load_folder(directory)
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        # Whatever a changed record leads to: only its parts are held against fingerprints.
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{directory}: damaged bundle ({what}); copy it again") from error


def _load_folder(directory: Path) -> Bundle:
    record = read_record(directory)
    parts: dict[str, str] = record["parts"]
    if missing := [part for part in _NEEDED if part not in parts]:
        raise InputError(f"{directory / BUNDLE_JSON}: names no {missing[0]}; bundle again")
    if record["fingerprint"] != _fingerprint(parts):
        raise InputError(f"{directory / BUNDLE_JSON}: fingerprint of other parts; bundle again")
    codec = load_acoustic_tokenizer(directory / "codec")
    semantic = load_semantic_tokenizer(directory / "semantic")
    stages = {
        name: stage_model(load_model(directory / part, KIND), str(directory / part), name)
        for name, part in STAGE_PARTS.items()
        if part in parts
    }
    fingerprints = {"codec": codec.fingerprint, "semantic": semantic.fingerprint}
    fingerprints |= {STAGE_PARTS[name]: s.folder.fingerprint for name, s in stages.items()}
    for part, expected in parts.items():
        if fingerprints.get(part) != expected:
            have = f"fingerprint {str(fingerprints.get(part))[:16]}, expected {expected[:16]}"
            raise InputError(f"{directory / part}: {have}; the part was exchanged, bundle again")
    for name, stage in stages.items():
        _check_upstream(directory / STAGE_PARTS[name], stage, parts)
        config = stage.config.stage
        sizes = (codec.levels, codec.codebook_size, semantic.clusters)
        wanted = (config.levels, config.codebook_size, config.semantic_clusters)
        if sizes != wanted:
            words = f"tokenizers have (levels, codes, clusters) = {sizes}"
            raise InputError(f"{directory}: {words}, the {name} stage expects {wanted}")
    _check_same_counting(directory, stages)
    rate, most = record["semantic_tokens_per_second"], stages["semantic"].config.stage
    if not 0 < rate <= most.semantic_rate_hz:
        words = f"semantic_tokens_per_second = {rate}: expected up to {most.semantic_rate_hz}"
        raise InputError(f"{directory / BUNDLE_JSON}: {words}; bundle again")
    return Bundle(codec, semantic, stages, rate, record["fingerprint"], parts)


def read_record(directory: Path) -> dict[str, Any]:
    """What bundle.json of a bundle holds."""
    path = directory / BUNDLE_JSON
    if not path.is_file():
        raise InputError(f"{path}: not found; `audiolm bundle` writes a folder that has it")
    try:
        record = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); copy the bundle again") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}: damaged (no object); copy the bundle again")
    if record.get("format") != FORMAT:
        raise InputError(f"{path}: format {record.get('format')}, this program reads {FORMAT}")
    return record


def _fingerprint(parts: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _check_same_counting(where: Path, stages: dict[str, StageModel]) -> None:
    semantic, coarse = (stages[name].config.stage for name in ("semantic", "coarse"))
    if coarse.reads_semantic and semantic.deduplicate != coarse.deduplicate:
        counts = f"deduplicate = {semantic.deduplicate}, the coarse stage {coarse.deduplicate}"
        words = f"the semantic stage has {counts}"
        raise InputError(f"{where}: {words}; train one of them like the other")


def _check_upstream(path: Path, stage: StageModel, parts: dict[str, str]) -> None:
    for part in stage.config.stage.tokenizers:
        have, expected = parts[part], stage.folder.provenance[part]
        if have != expected:
            words = f"trained on tokens of {part} {expected[:16]}, the bundle's is {have[:16]}"
            remedy = f"take the other {part}, or tokenize with this and retrain"
            raise InputError(f"{path}: {words}; {remedy}")
