"""Puts features to the ABX test and writes the table."""

import dataclasses
import json
from pathlib import Path

from audiolm_jax.artifacts.config_json import config_hash
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.data.alignments import find_recordings, read_alignments
from audiolm_jax.evaluation.abx.experiment import AbxExperiment, AbxRow, abx_table
from audiolm_jax.evaluation.abx.features import FeatureConfig, features_of
from audiolm_jax.evaluation.abx.items import read_items
from audiolm_jax.evaluation.abx.phone_purity import phone_purity
from audiolm_jax.evaluation.abx.score import abx_score
from audiolm_jax.evaluation.abx.segments import SLICINGS


def evaluate_abx(experiment: AbxExperiment) -> Path:
    """Measures all features of an experiment; writes abx.json and abx.md.

    Returns:
      Path of the table.

    Raises:
      InputError: items, alignments, recordings or models that are missing or do not fit.
    """
    items = read_items(Path(experiment.items))
    phones = read_alignments(Path(experiment.alignments)) if experiment.alignments else []
    files = sorted({item.file for item in items} | {phone.file for phone in phones})
    recordings = find_recordings(Path(experiment.audio_dir), files)
    configs = [_resolved(features) for features in experiment.features]
    print(f"{experiment.items}: {len(items)} items in {len(files)} recordings")
    rows = []
    for config in configs:
        for name, features in features_of(config, recordings, experiment.batch_size).items():
            scores = tuple(abx_score(items, features, how, experiment.abx) for how in SLICINGS)
            purity = None
            if phones and features.codes is not None:
                purity = phone_purity(features.by_file, features.rate_hz, phones)
            rows.append(AbxRow(name, float(features.rate_hz), scores, purity))
            for score in scores:
                print(
                    f"{name}, {score.slicing}: within {_text(score.within.error)}, across "
                    f"{_text(score.across.error)}; {score.items} items, {score.empty} without a "
                    f"frame left out, {score.cut} cut at the end of their recording"
                )
    directory = Path(experiment.directory)
    directory.mkdir(parents=True, exist_ok=True)
    record = {
        "of": {
            "config_hash": config_hash(experiment),
            "items_sha256": file_sha256(Path(experiment.items)),
            "models": {
                config.model: fingerprint_of(config.model) for config in configs if config.model
            },
        },
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    (directory / "abx.json").write_text(json.dumps(record, indent=1) + "\n")
    table = directory / "abx.md"
    table.write_text(abx_table(rows))
    print(f"{table}: written")
    return table


def _resolved(config: FeatureConfig) -> FeatureConfig:
    """The same with run directories replaced by their model folders."""
    folders = {
        field: str(model_folder(getattr(config, field)))
        for field in ("model", "scaled_by")
        if getattr(config, field)
    }
    return dataclasses.replace(config, **folders)


def _text(error: float | None) -> str:
    return "nothing to compare" if error is None else f"{100 * error:.2f} %"
