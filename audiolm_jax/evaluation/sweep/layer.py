"""One layer of a sweep: its features, and clusters fitted on them, put to every measure."""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.evaluation.abx.features import encoder_features
from audiolm_jax.evaluation.abx.results import Recordings, measure_features
from audiolm_jax.evaluation.abx.segments import FrameFeatures
from audiolm_jax.evaluation.measures.semantic import evaluate_semantic
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.evaluation.sweep.speaker_probe import probe_speakers, token_shares
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.feature_store import ClipChoice, store_features
from audiolm_jax.tokenizers.semantic.kmeans.fit import fit_kmeans
from audiolm_jax.tokenizers.semantic.kmeans.passes import Passes, Scale, measure_scale
from audiolm_jax.training.mesh import make_mesh
from audiolm_jax.types import FrameEncoder


def cell_path(directory: Path, layer: str, clusters: int | None) -> Path:
    """File of one cell; clusters None are the features themselves."""
    name = "features" if clusters is None else f"k{clusters}"
    return directory / "cells" / f"{layer}_{name}.json"


@dataclasses.dataclass(frozen=True)
class LayerSweep:
    """What the cells of one layer are measured with."""

    config: SweepExperiment
    layer: str
    encoder: FrameEncoder
    index: ClipIndex
    choice: ClipChoice  # the clips of the index to fit on
    recordings: Recordings  # to measure on

    def measure(self, missing: Sequence[int | None]) -> Iterator[dict[str, Any]]:
        """Fits and measures the cells of these numbers of clusters, writes and yields each."""
        directory, kmeans = Path(self.config.directory), self.config.kmeans
        folder, batch_size = directory / "features" / self.layer, self.config.batch_size
        source, window = (self.encoder, self.layer), self.config.window
        frames = store_features(folder, self.index, self.choice, *source, window, batch_size)
        features = encoder_features(*source, self.recordings.paths, batch_size)
        for clusters in missing:
            path = cell_path(directory, self.layer, clusters)
            fit = directory / "fits" / path.stem  # where an interrupted one is found again
            facts: dict[str, Any] = {}
            if clusters is None:
                scale = measure_scale(frames, kmeans.block_frames)
                scaled = {file: scale.apply(own) for file, own in features.by_file.items()}
                measured = dataclasses.replace(features, by_file=scaled)
            else:
                config = dataclasses.replace(kmeans, layer=self.layer, clusters=clusters)
                measured, facts = self._cluster(frames, features, config, fit)
            cell = {"layer": self.layer, "clusters": clusters, **self._measure(measured), **facts}
            write_json(path, cell)
            shutil.rmtree(fit, ignore_errors=True)
            yield cell
        shutil.rmtree(folder)

    def _cluster(
        self, frames: np.ndarray, features: FrameFeatures, config: KmeansConfig, fit: Path
    ) -> tuple[FrameFeatures, dict[str, Any]]:
        """The clusters of the measured recordings, and what is known of the fit."""
        mesh = make_mesh(self.config.mesh)
        result = fit_kmeans(frames, config, mesh, fit)
        arrays = list(features.by_file.values())
        table = np.concatenate(arrays)
        passes = Passes(table, Scale(result.mean, result.std), config.block_frames, mesh)
        ends = np.cumsum([len(array) for array in arrays])[:-1]
        ids = np.split(passes.assign(result.centroids), ends)
        by_file = dict(zip(features.by_file, ids, strict=True))
        facts = {
            "inertia": [float(x) for x in result.inertia],
            # The variance of a standardized dimension is 1, unless it never varies.
            "unexplained": float(result.inertia[-1] / frames.shape[1]),
            "smallest_cluster": int(result.counts.min()),
        }
        return FrameFeatures(by_file, features.rate_hz, config.clusters, result.centroids), facts

    def _measure(self, features: FrameFeatures) -> dict[str, Any]:
        by_file, codes = features.by_file, features.codes
        use = speaker = None
        if codes is not None:
            report = evaluate_semantic(by_file.values(), codes, float(features.rate_hz))
            use = dataclasses.asdict(report)
        if self.config.speaker_probe:
            vectors = {
                file: frames.mean(axis=0) if codes is None else token_shares(frames, codes)
                for file, frames in by_file.items()
                if len(frames)
            }
            probe = probe_speakers(vectors, self.recordings.speakers, self.config.abx.seed)
            speaker = None if probe is None else dataclasses.asdict(probe)
        results = measure_features(self.recordings, features, self.config.abx)
        return {**results, "use": use, "speaker": speaker, "unexplained": None}
