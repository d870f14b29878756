"""One layer of a sweep: its features, and clusters fitted on them, put to every measure."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.evaluation.abx.config import AbxConfig
from audiolm_jax.evaluation.abx.results import Recordings, measure_features
from audiolm_jax.evaluation.abx.segments import FrameFeatures
from audiolm_jax.evaluation.measures.semantic import evaluate_semantic
from audiolm_jax.evaluation.sweep.speaker_probe import probe_speakers, token_shares
from audiolm_jax.tokenizers.semantic.kmeans.blocks import Frames
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.fit import fit_kmeans
from audiolm_jax.tokenizers.semantic.kmeans.passes import Passes, Scale, measure_scale


def cell_path(directory: Path, layer: str, clusters: int | None) -> Path:
    """File of one cell; clusters None are the features themselves."""
    name = "features" if clusters is None else f"k{clusters}"
    return directory / "cells" / f"{layer}_{name}.json"


@dataclasses.dataclass(frozen=True)
class LayerSweep:
    """What the cells of one layer are measured with."""

    directory: Path  # of the sweep
    frames: Frames  # float [n, d] of the layer, to fit on
    features: FrameFeatures  # of the layer, to measure
    recordings: Recordings  # whose features these are
    kmeans: KmeansConfig  # with the layer; each cell has its own number of clusters
    abx: AbxConfig
    mesh: Mesh | None
    probes_speakers: bool

    def measure(self, clusters: int | None) -> dict[str, Any]:
        """Fits and measures one cell, writes and returns it."""
        path = cell_path(self.directory, self.kmeans.layer, clusters)
        fit = self.directory / "fits" / path.stem  # where an interrupted one is found again
        facts: dict[str, Any] = {}
        if clusters is None:
            scale = measure_scale(self.frames, self.kmeans.block_frames)
            scaled = {file: scale.apply(own) for file, own in self.features.by_file.items()}
            measured = dataclasses.replace(self.features, by_file=scaled)
        else:
            config = dataclasses.replace(self.kmeans, clusters=clusters)
            measured, facts = self._cluster(config, fit)
        of = {"layer": self.kmeans.layer, "clusters": clusters}
        cell = {**of, **self._measure(measured), **facts}
        write_json(path, cell)
        shutil.rmtree(fit, ignore_errors=True)
        return cell

    def _cluster(self, config: KmeansConfig, fit: Path) -> tuple[FrameFeatures, dict[str, Any]]:
        """The clusters of the measured recordings, and what is known of the fit."""
        result = fit_kmeans(self.frames, config, self.mesh, fit)
        by_file, rate_hz = self.features.by_file, self.features.rate_hz
        arrays = list(by_file.values())
        table = np.concatenate(arrays)
        passes = Passes(table, Scale(result.mean, result.std), config.block_frames, self.mesh)
        ends = np.cumsum([len(array) for array in arrays])[:-1]
        ids = np.split(passes.assign(result.centroids), ends)
        by_file = dict(zip(by_file, ids, strict=True))
        facts = {
            "inertia": [float(x) for x in result.inertia],
            # The variance of a standardized dimension is 1, unless it never varies.
            "unexplained": float(result.inertia[-1] / self.frames.shape[1]),
            "smallest_cluster": int(result.counts.min()),
        }
        return FrameFeatures(by_file, rate_hz, config.clusters, result.centroids), facts

    def _measure(self, features: FrameFeatures) -> dict[str, Any]:
        by_file, codes = features.by_file, features.codes
        use = speaker = None
        if codes is not None:
            report = evaluate_semantic(by_file.values(), codes, float(features.rate_hz))
            use = dataclasses.asdict(report)
        if self.probes_speakers:
            vectors = {
                file: frames.mean(axis=0) if codes is None else token_shares(frames, codes)
                for file, frames in by_file.items()
                if len(frames)
            }
            probe = probe_speakers(vectors, self.recordings.speakers, self.abx.seed)
            speaker = None if probe is None else dataclasses.asdict(probe)
        results = measure_features(self.recordings, features, self.abx)
        return {**results, "use": use, "speaker": speaker, "unexplained": None}
