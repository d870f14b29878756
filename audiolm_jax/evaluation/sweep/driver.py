"""Measures every layer and number of clusters of a sweep, each once, and writes the table."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.run_folder import model_folder
from audiolm_jax.data.alignments import AlignedPhone, find_recordings, read_alignments
from audiolm_jax.data.index import ClipIndex, scan
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.features import encoder_features
from audiolm_jax.evaluation.abx.items import Item, read_items
from audiolm_jax.evaluation.abx.phone_purity import phone_purity
from audiolm_jax.evaluation.abx.score import abx_score
from audiolm_jax.evaluation.abx.segments import SLICINGS, FrameFeatures
from audiolm_jax.evaluation.measures.semantic import evaluate_semantic
from audiolm_jax.evaluation.page.figure_files import training_figures, write_figures
from audiolm_jax.evaluation.page.run_summary import summarize_run
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment, sweep_table
from audiolm_jax.evaluation.sweep.speaker_probe import probe_speakers, token_shares
from audiolm_jax.experiments.inputs import upstream_of
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.feature_store import (
    ClipChoice,
    choose_clips,
    store_features,
)
from audiolm_jax.tokenizers.semantic.kmeans.fit import fit_kmeans
from audiolm_jax.tokenizers.semantic.kmeans.frames import ArrayFrames, FrameStore
from audiolm_jax.tokenizers.semantic.kmeans.passes import Passes, Scale, measure_scale
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder
from audiolm_jax.training.manifest import build_manifest, claim_run
from audiolm_jax.training.mesh import make_mesh
from audiolm_jax.types import FrameEncoder

CELLS = "cells"


@dataclasses.dataclass(frozen=True)
class _Recordings:
    """What all cells are measured on."""

    items: Sequence[Item]
    phones: Sequence[AlignedPhone]
    paths: Mapping[str, Path]
    speakers: Mapping[str, str]


def evaluate_sweep(experiment: SweepExperiment) -> Path:
    """Measures what is missing of a sweep; writes cells/*.json, sweep.json, table.md, figures/.

    Returns:
      Path of the table.

    Raises:
      InputError: an encoder without such a layer, items, alignments, recordings or runs that are
        missing or do not fit, or a directory of another sweep.
      TrainingStopped: a k-means was asked to stop; start again to go on from there.
    """
    directory = Path(experiment.directory)
    encoder = load_frame_encoder(model_folder(experiment.encoder), experiment.window)
    if unknown := [layer for layer in experiment.layers if layer not in encoder.layers]:
        raise InputError(
            f"layers holds {unknown[0]!r}: this encoder has {', '.join(encoder.layers)}"
        )
    trainers = [summarize_run(Path(run)) for run in experiment.runs]
    recordings = _read_recordings(experiment)
    index = scan(experiment.data)
    config = experiment.kmeans
    choice = choose_clips(index, encoder.hop_samples, config.max_frames, config.seed)
    print(f"k-means: {choice}")
    with claim_run(directory, _manifest(experiment, index)):
        for layer in experiment.layers:
            wanted = [None, *experiment.clusters]
            missing = [k for k in wanted if not _cell(directory, layer, k).is_file()]
            if missing:
                _measure_layer(experiment, encoder, index, choice, recordings, layer, missing)
        cells = [
            json.loads(_cell(directory, layer, clusters).read_text())
            for layer in experiment.layers
            for clusters in (None, *experiment.clusters)
        ]
        record = {"encoder": encoder.fingerprint, "used": choice.facts, "cells": cells}
        write_text(directory / "sweep.json", json.dumps(record, indent=1) + "\n")
        table = directory / "table.md"
        write_text(table, sweep_table(cells))
        write_figures(directory, training_figures(trainers))
    print(f"{table}: written")
    return table


def _measure_layer(
    experiment: SweepExperiment,
    encoder: FrameEncoder,
    index: ClipIndex,
    choice: ClipChoice,
    recordings: _Recordings,
    layer: str,
    missing: Sequence[int | None],
) -> None:
    """Encodes both sets of recordings once, and fits and measures what is missing."""
    directory = Path(experiment.directory)
    folder = directory / "features" / layer
    frames = store_features(
        folder, index, choice, encoder, layer, experiment.window, experiment.batch_size
    )
    made = encoder_features(encoder, layer, recordings.paths, experiment.batch_size)
    scale = measure_scale(frames, experiment.kmeans.block_frames)
    for clusters in missing:
        with _fit_folder(directory, layer, clusters) as fits:
            if clusters is None:
                features = dataclasses.replace(
                    made, by_file={file: scale.apply(x) for file, x in made.by_file.items()}
                )
                cell = _measured(experiment, recordings, features)
            else:
                config = dataclasses.replace(experiment.kmeans, layer=layer, clusters=clusters)
                features, facts = _clustered(experiment, frames, made, config, fits)
                cell = _measured(experiment, recordings, features) | facts
            record = {"layer": layer, "clusters": clusters, **cell}
            write_text(_cell(directory, layer, clusters), json.dumps(record, indent=1) + "\n")
            print(sweep_table([record]).splitlines()[-1])
    shutil.rmtree(folder)


def _clustered(
    experiment: SweepExperiment,
    frames: FrameStore,
    made: FrameFeatures,
    config: KmeansConfig,
    directory: Path,
) -> tuple[FrameFeatures, dict[str, Any]]:
    """The clusters of the measured recordings, and what is known of the fit."""
    mesh = make_mesh(experiment.mesh)
    result = fit_kmeans(frames, config, mesh, directory)
    files = list(made.by_file)
    table = ArrayFrames(np.concatenate([made.by_file[file] for file in files]))
    passes = Passes(table, Scale(result.mean, result.std), config.block_frames, mesh)
    ends = np.cumsum([len(made.by_file[file]) for file in files])[:-1]
    ids = np.split(passes.assign(result.centroids), ends)
    facts = {
        "inertia": [float(x) for x in result.inertia],
        # The variance of a standardised dimension is 1, unless it never varies.
        "unexplained": float(result.inertia[-1] / frames.width),
        "smallest_cluster": int(result.counts.min()),
    }
    by_file = dict(zip(files, ids, strict=True))
    return FrameFeatures(by_file, made.rate_hz, config.clusters, result.centroids), facts


def _measured(
    experiment: SweepExperiment, recordings: _Recordings, features: FrameFeatures
) -> dict[str, Any]:
    scores = [
        dataclasses.asdict(abx_score(recordings.items, features, how, experiment.abx))
        for how in SLICINGS
    ]
    purity = use = speaker = None
    if features.codes is not None:
        sequences = features.by_file.values()
        use = dataclasses.asdict(
            evaluate_semantic(sequences, features.codes, float(features.rate_hz))
        )
        if recordings.phones:
            purity = dataclasses.asdict(
                phone_purity(features.by_file, features.rate_hz, recordings.phones)
            )
    if experiment.speaker_probe:
        vectors = {
            file: x.mean(axis=0) if features.codes is None else token_shares(x, features.codes)
            for file, x in features.by_file.items()
            if len(x)
        }
        found = probe_speakers(vectors, recordings.speakers, experiment.abx.seed)
        speaker = None if found is None else dataclasses.asdict(found)
    return {
        "scores": scores, "purity": purity, "use": use, "speaker": speaker, "unexplained": None,
    }  # fmt: skip


def _read_recordings(experiment: SweepExperiment) -> _Recordings:
    items = read_items(Path(experiment.items))
    phones = read_alignments(Path(experiment.alignments)) if experiment.alignments else []
    speakers = {phone.file: phone.speaker for phone in phones}
    speakers |= {item.file: item.speaker for item in items}
    paths = find_recordings(Path(experiment.audio_dir), sorted(speakers))
    return _Recordings(items, phones, paths, speakers)


def _manifest(experiment: SweepExperiment, index: ClipIndex) -> dict[str, Any]:
    """What every cell of a directory shares: all but which layers, numbers and runs there are."""
    shared = dataclasses.replace(experiment, layers=("each",), clusters=(1,), runs=())
    sha256 = {
        name: file_sha256(Path(getattr(experiment, name)))
        for name in ("items", "alignments")
        if getattr(experiment, name)
    }
    return build_manifest(
        shared,
        seeds={"kmeans": experiment.kmeans.seed, "abx": experiment.abx.seed},
        data={"fingerprint": index.fingerprint, **sha256},
        upstream=upstream_of(experiment),
    )


@contextlib.contextmanager
def _fit_folder(directory: Path, layer: str, clusters: int | None) -> Iterator[Path]:
    """Where an interrupted fit of a cell is found again; it goes once the cell is there."""
    folder = directory / "fits" / _cell(directory, layer, clusters).stem
    yield folder
    if folder.is_dir():
        shutil.rmtree(folder)


def _cell(directory: Path, layer: str, clusters: int | None) -> Path:
    return directory / CELLS / f"{layer}_{'features' if clusters is None else f'k{clusters}'}.json"
