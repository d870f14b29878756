"""Bundles: the five trained parts in one folder, checked against each other.

    DIR/bundle.json   which parts, their fingerprints, tokens per second, provenance
    DIR/README.md     model card
    DIR/{codec,semantic,semantic_lm,coarse_lm,fine_lm}/   model folders

A codec whose levels are all coarse (as the paper's piano codec) has no `fine_lm`.
"""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.atomic import atomic_path, write_json, write_text
from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import ModelFolder, load_model
from audiolm_jax.errors import InputError
from audiolm_jax.lm.decoder import KIND, StageModelConfig
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer
from audiolm_jax.types import AcousticTokenizer, SemanticTokenizer

FORMAT = 1
BUNDLE_JSON = "bundle.json"
STAGE_PARTS = {"semantic": "semantic_lm", "coarse": "coarse_lm", "fine": "fine_lm"}


@dataclasses.dataclass(frozen=True)
class StageModel:
    """One loaded language model: its config, its weights by name, its fingerprint."""

    config: StageModelConfig
    folder: ModelFolder


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Everything that generation needs."""

    codec: AcousticTokenizer
    """The acoustic tokenizer."""
    semantic_tokenizer: SemanticTokenizer
    """The semantic tokenizer."""
    stages: dict[str, StageModel]
    """By name: semantic, coarse and, unless all levels are coarse, fine."""
    semantic_tokens_per_second: float
    """Mean rate after de-duplication over the training tokens."""
    fingerprint: str
    """64 hexadecimal digits over the fingerprints of all parts."""
    parts: dict[str, str]
    """Fingerprint of each part folder."""


def bundle_fingerprint(parts: dict[str, str]) -> str:
    """sha256 over the names and fingerprints of the parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_stage(directory: Path, name: str) -> StageModel:
    """Loads a stage's model folder and checks that it holds the stage `name`."""
    folder = load_model(directory, KIND)
    config = config_from_dict(StageModelConfig, folder.config, str(directory))
    if config.stage.name != name:
        raise InputError(f"{directory}: holds the {config.stage.name} stage, expected {name}")
    return StageModel(config, folder)


def write_bundle(out: Path, sources: dict[str, Path], model_card: str) -> str:
    """Copies trained parts into a bundle and returns the bundle's fingerprint.

    Args:
      out: the folder to write; a bundle of the same parts is left as it is.
      sources: model folder of each part by part name ("codec", "semantic", "semantic_lm", ...).
      model_card: text of README.md.

    Raises:
      InputError: a part is missing, or a stage was trained on tokens of another tokenizer.
    """
    required = ["codec", "semantic", "semantic_lm", "coarse_lm"]
    for part in required:
        if part not in sources:
            raise InputError(f"bundle: no run given for {part}; name a finished run of it")
    folders = {part: load_model(path) for part, path in sources.items()}
    parts = {part: folder.fingerprint for part, folder in sorted(folders.items())}
    rates = set()
    for name, part in STAGE_PARTS.items():
        if part not in sources:
            continue
        stage = read_stage(sources[part], name)
        _check_upstream(sources[part], stage.folder, parts)
        rates.add(stage.folder.provenance["semantic_tokens_per_second"])
    _check_fine(sources)
    if len(rates) != 1:
        raise InputError("bundle: the stages were trained on different token stores")
    fingerprint = bundle_fingerprint(parts)
    if (out / BUNDLE_JSON).exists() and read_record(out)["fingerprint"] == fingerprint:
        return fingerprint
    record = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "parts": parts,
        "semantic_tokens_per_second": rates.pop(),
        "provenance": {part: folder.provenance for part, folder in folders.items()},
    }
    with atomic_path(out) as scratch:
        for part, path in sources.items():
            shutil.copytree(path, scratch / part)
        write_text(scratch / "README.md", model_card)
        write_json(scratch / BUNDLE_JSON, record)
    return fingerprint


def load_bundle(directory: Path) -> Bundle:
    """Loads and verifies a bundle.

    Raises:
      InputError: not a bundle, a file missing or damaged, or parts that do not belong together.
    """
    record = read_record(directory)
    parts = record["parts"]
    for part, fingerprint in parts.items():
        found = load_model(directory / part).fingerprint
        if found != fingerprint:
            raise InputError(
                f"{directory / part}: fingerprint {found[:16]}, but {BUNDLE_JSON} expects "
                f"{fingerprint[:16]}; the part was exchanged, make the bundle again"
            )
    codec = load_acoustic_tokenizer(directory / "codec")
    semantic = load_semantic_tokenizer(directory / "semantic")
    stages = {
        name: read_stage(directory / part, name)
        for name, part in STAGE_PARTS.items()
        if part in parts
    }
    for name, stage in stages.items():
        _check_upstream(directory / STAGE_PARTS[name], stage.folder, parts)
        config = stage.config.stage
        found = (codec.levels, codec.codebook_size, semantic.clusters)
        expected = (config.levels, config.codebook_size, config.semantic_clusters)
        if found != expected:
            raise InputError(
                f"{directory}: tokenizers have (levels, codes, clusters) = {found}, "
                f"the {name} stage expects {expected}"
            )
    return Bundle(
        codec,
        semantic,
        stages,
        record["semantic_tokens_per_second"],
        record["fingerprint"],
        parts,
    )


def read_record(directory: Path) -> dict[str, Any]:
    """What bundle.json of a bundle holds."""
    path = directory / BUNDLE_JSON
    if not path.is_file():
        raise InputError(f"{path}: not found; `audiolm bundle` writes a folder that has it")
    try:
        record = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: damaged ({error}); copy the bundle again") from error
    if record.get("format") != FORMAT:
        raise InputError(f"{path}: format {record.get('format')}, this program reads {FORMAT}")
    return record


def _check_upstream(path: Path, stage: ModelFolder, parts: dict[str, str]) -> None:
    for part in ("codec", "semantic"):
        found, expected = parts[part], stage.provenance[part]
        if found != expected:
            raise InputError(
                f"{path}: trained on tokens of {part} {expected[:16]}, but the bundle's {part} is "
                f"{found[:16]}; tokenize again with it and retrain, or take the other {part}"
            )


def _check_fine(sources: dict[str, Path]) -> None:
    coarse = read_stage(sources["coarse_lm"], "coarse").config.stage
    if coarse.coarse_levels < coarse.levels and "fine_lm" not in sources:
        raise InputError(
            f"bundle: the coarse stage writes {coarse.coarse_levels} of {coarse.levels} levels; "
            "name a finished run of fine_lm too"
        )
