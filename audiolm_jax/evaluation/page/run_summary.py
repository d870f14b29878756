"""What a report says of a finished training run."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.artifacts.model_folder import MODEL_JSON, load_model
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.bundle.report import TrainerSummary
from audiolm_jax.training.metrics import METRICS, TIMING, read_metrics

CURVES = (
    "loss",
    "spectral_loss",
    "contrastive_loss",
    "masked_loss",
    "adversarial_loss",
)


def summarize_run(directory: Path) -> TrainerSummary:
    """Loss curve and speed of a finished run, from its own files.

    Raises:
      InputError: not a finished run directory, or one without loss curves, as a k-means has.
    """
    if not (directory / "model" / MODEL_JSON).is_file():
        raise InputError(f"{directory}: no finished run here; name run directories in runs")
    model = load_model(directory / "model")
    provenance = model.provenance
    config: dict[str, Any] = provenance["config"]
    metrics = tuple(read_metrics(directory / METRICS))
    logged = {name for line in metrics for name in line}
    curves = tuple(name for name in CURVES if name in logged)
    if not curves:
        raise InputError(
            f"{directory}: no loss in {METRICS}; runs takes those of codec, encoder or stages"
        )
    times = [line["seconds_per_step"] for line in read_metrics(directory / TIMING)]
    crop = config.get("crop_seconds") or config["model"]["stage"]["crop_seconds"]
    manifest = json.loads((directory / "manifest.json").read_text())
    devices = manifest["devices"]
    return TrainerSummary(
        name=directory.name.replace("_", " "),
        steps=provenance["steps"],
        batch=f"{config['batch_size']} x {crop:g} s",
        parameters=sum(array.size for array in model.arrays.values()),
        seconds_per_step=float(np.median(times)) if times else None,
        devices=f"{devices['count']} x {devices['kind']}",
        metrics=metrics,
        curves=curves,
    )
