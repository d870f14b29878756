"""What a page says of a finished training run: its speed and its curves."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.model_folder import MODEL_JSON, load_model
from audiolm_jax.artifacts.run_folder import fingerprint_of
from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.page.charts import Chart, Line, curve
from audiolm_jax.training.metrics import HELDOUT, METRICS, TIMING, read_metrics

CURVES = ("loss", "spectral_loss", "contrastive_loss", "masked_loss", "adversarial_loss")


@dataclasses.dataclass(frozen=True)
class TrainerSummary:
    """One training run."""

    name: str  # such as "codec" or "coarse stage"
    steps: int  # completed ones
    batch: str  # what one step reads, in words: "16 x 1 s"
    parameters: int
    seconds_per_step: float | None  # median, compilation left out; None if unknown
    devices: str  # what it ran on: "1 x cpu"
    metrics: tuple[Mapping[str, Any], ...]  # lines of metrics.jsonl
    curves: tuple[str, ...]  # metrics to draw, at most six; "heldout/<name>" comes by itself


def summarize_run(directory: Path) -> TrainerSummary:
    """Loss curve and speed of a finished run, from its own files."""
    if not (directory / "model" / MODEL_JSON).is_file():
        raise InputError(f"{directory}: no finished run here; name run directories in --runs")
    model = load_model(directory / "model")
    config: dict[str, Any] = model.provenance["config"]
    metrics = tuple(read_metrics(directory / METRICS))
    logged = {name for line in metrics for name in line}
    curves = tuple(name for name in CURVES if name in logged)
    if not curves:
        hint = "--runs takes those of codec, encoder or stages"
        raise InputError(f"{directory}: no loss in {METRICS}; {hint}")
    times = [line["seconds_per_step"] for line in read_metrics(directory / TIMING)]
    crop = config.get("crop_seconds") or config["model"]["stage"]["crop_seconds"]
    devices = json.loads((directory / "manifest.json").read_text())["devices"]
    return TrainerSummary(
        name=directory.name.replace("_", " "),
        steps=model.provenance["steps"],
        batch=f"{config['batch_size']} x {crop:g} s",
        parameters=sum(array.size for array in model.arrays.values()),
        seconds_per_step=float(np.median(times)) if times else None,
        devices=f"{devices['count']} x {devices['kind']}",
        metrics=metrics,
        curves=curves,
    )


def run_facts(runs: Sequence[str]) -> list[list[str]]:
    """What tells finished runs apart: their names, models and curves."""
    return [
        [at(run).name, fingerprint_of(run), file_sha256(at(run) / METRICS)]
        for run in runs
        if (at(run) / METRICS).is_file()  # `summarize_run` refuses the others
    ]


def training_charts(trainers: Sequence[TrainerSummary]) -> tuple[Chart, ...]:
    """The curves of each run over its steps: solid in training, dashed on held-out data."""
    charts = []
    for place, trainer in enumerate(trainers, 1):
        lines = []
        for color, name in enumerate(trainer.curves):
            steps, values = curve(trainer.metrics, name)
            if not len(steps):
                raise InputError(f"metric {name} has no finite value: expected one in {METRICS}")
            lines.append(Line(name, steps.tolist(), values.tolist(), color, style="-"))
            steps, values = curve(trainer.metrics, f"{HELDOUT}{name}")
            if len(steps):
                label = f"{name}, held-out"
                lines.append(Line(label, steps.tolist(), values.tolist(), color, style="--o"))
        stem = f"training_{place}_{trainer.name.replace(' ', '_')}"
        charts.append(Chart(stem, trainer.name, "step", tuple(lines)))
    return tuple(charts)
