"""Held out means unheard: the one check that no model was trained on what is held out now."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.model_folder import MODEL_JSON, read_model_json
from audiolm_jax.artifacts.run_folder import MODEL
from audiolm_jax.artifacts.storage import at
from audiolm_jax.data.index import ClipIndex, file_of
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.errors import InputError

Provenance = Mapping[str, Any]


def provenance_at(path: str | Path) -> Provenance:
    """What a run directory or model folder says of its origin; empty if it says nothing."""
    for folder in (at(path), at(path) / MODEL):
        if (folder / MODEL_JSON).is_file():
            return read_model_json(folder).get("provenance") or {}
    manifest = at(path) / "manifest.json"  # of a run that is not finished
    try:
        return json.loads(manifest.read_text()) if manifest.is_file() else {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{manifest}: damaged ({error}); name another run") from error


def check_unheard(index: ClipIndex, models: Mapping[str, Provenance]) -> None:
    """InputError if a model, by its provenance, learnt from files of the same corpus that `index`
    holds out. Nothing is known of a model that says nothing of its data."""
    for name, provenance in models.items():
        if inner := provenance.get("encoder"):  # k-means tells of the encoder below it
            check_unheard(index, {f"{name}, its encoder": inner.get("provenance") or {}})
        data, mine = (provenance.get("config") or {}).get("data") or {}, index.config
        same = (data.get("dataset"), data.get("source", data.get("audio_dir")))
        if mine.dataset != same[0] and mine.source != same[1]:
            continue
        percent, unit = data.get("heldout_percent", 100), data.get("split_by", "file")
        below = (provenance.get("data") or {}).get("heldout_below", percent)
        folders = str({"file": 0, "speaker": 1}.get(unit, unit))  # what decided before metadata did
        is_alike = (provenance.get("data") or {}).get("split_unit", folders) == index.split_unit
        if index.heldout_below > (below if is_alike else 0):
            minutes = data.get("heldout_minutes")
            rule = f"heldout_percent {percent}" if minutes is None else f"heldout_minutes {minutes}"
            raise InputError(
                f"{mine.heldout_flag}, --data.split-by = {mine.split_by}: {name} was trained on "
                f"{same[0]} with {rule}, split_by {unit}, and knows some of what is held out; "
                "take its rule, hold out less, or name another corpus so (--data.dataset)"
            )


def check_strange(config: AudioDataConfig, models: Mapping[str, Provenance]) -> None:
    """InputError if a model, by its provenance, learnt from the corpus of some recordings, be it by
    its folder or its name: not even from another part of it."""
    for part, provenance in models.items():
        inner = (provenance.get("encoder") or {}).get("provenance") or {}
        for origin in (provenance, inner):
            data = (origin.get("config") or {}).get("data") or {}
            names = {data.get("dataset"), (origin.get("data") or {}).get("dataset")}
            source = data.get("source", data.get("audio_dir"))
            is_same = source and at(source).resolve() == at(config.source).resolve()
            if is_same or config.dataset in names:
                raise InputError(
                    f"--data.source {config.source}, --data.dataset {config.dataset}: {part} of "
                    "the bundle was trained on it; name recordings that it has not heard"
                )


def check_untrained(index: ClipIndex, store: TokenStore, stages: Mapping[str, Provenance]) -> None:
    """InputError if stages read other tokens in training than those of a store, or if files that
    `index` holds out are in the part of the store that they were trained on."""
    for name, provenance in stages.items():
        data = provenance.get("data") or {}
        tokens = data.get("tokens", store.fingerprint)
        known, own = data.get("stores", [tokens]), store.fingerprint  # of a mixture, or the one
        if read := provenance.get("tokens_read"):  # of another store they may be the same
            known, own = read["of_stores"], store.provenance.read_by(read["tokenizers"])
        if own not in known:
            raise InputError(
                f"--tokens {store.directory}: fingerprint {store.fingerprint}, {name} was trained "
                f"on {tokens}; name the store it was trained on"
            )
    if store.provenance.data_fingerprint == index.fingerprint:  # by time, files are in both parts
        return
    if store.provenance.dataset == index.config.dataset:
        heldout = {clip.path for clip in index.clips.where(index.clips.is_heldout)}
        trained = {file_of(clip_id)[0] for clip_id in store.clip_ids("train")}
        if known := sorted(heldout & trained):
            raise InputError(
                f"{index.config.heldout_flag}: {len(known)} of {len(heldout)} held-out files, such "
                f"as {known[0]}, are training data in {store.directory}; take the rule it was "
                "tokenized with"
            )
