"""Measures every layer and number of clusters of a sweep, each once, and writes the table."""

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.artifacts.storage import at
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import AbxConfig
from audiolm_jax.evaluation.abx.experiment import (
    PURITY_HEADS,
    SCORE_HEADS,
    purity_cells,
    score_cells,
)
from audiolm_jax.evaluation.lifecycle import Evaluation
from audiolm_jax.evaluation.page.tables import Table, percent
from audiolm_jax.evaluation.page.training import run_facts
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.training.config import MeshConfig

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SweepExperiment(Evaluation):
    """Choose the layer and K of a semantic tokenizer: measure every pair of them.

    AudioLM chose masked_7 and K = 1024 so (section IV-B, Fig. 3). Layers, numbers of clusters and
    runs may be added later; nothing is measured twice.
    """

    page: ClassVar[str] = "table.md"
    record: ClassVar[str] = "sweep.json"

    directory: Place
    """Where the cells, table.md and sweep.json go."""
    data: AudioDataConfig
    """Recordings to fit k-means on; their training clips are used."""
    encoder: Place
    """Run directory or model folder of the encoder."""
    layers: tuple[str, ...]
    """Layers to measure."""
    clusters: tuple[int, ...]
    """Numbers of clusters to measure for each."""
    audio_dir: Place
    """Folder of the recordings that the items name."""
    items: Place
    """Item file for ABX."""
    alignments: Place = ""
    """File of aligned phones of the same recordings, for purities; empty for none."""
    kmeans: KmeansConfig = KmeansConfig()
    """How each is fitted; `layer` and `clusters` of it stay at their defaults."""
    window: WindowConfig = WindowConfig()
    """How long recordings are cut."""
    abx: AbxConfig = AbxConfig()
    """Subsampling and its seed."""
    batch_size: int = 8
    """Clips loaded together."""
    mesh: MeshConfig = MeshConfig()
    """Devices that share the frames of k-means."""
    speaker_probe: bool = True
    """Whether to measure how well speakers are told apart by a recording's tokens."""
    runs: tuple[Place, ...] = ()
    """Finished run directories whose training curves go to figures/, the encoder's say."""

    def __post_init__(self) -> None:
        for name, values in (("layers", self.layers), ("clusters", self.clusters)):
            if not values or len(set(values)) < len(values):
                raise InputError(f"--{name} {values}: expected at least one, each once")
        kmeans, unset = self.kmeans, KmeansConfig()
        if (kmeans.layer, kmeans.clusters) != (unset.layer, unset.clusters):
            raise InputError(
                f"--kmeans.layer {kmeans.layer}, --kmeans.clusters {kmeans.clusters}: a sweep "
                "takes them from --layers and --clusters; leave these out"
            )
        for clusters in self.clusters:
            dataclasses.replace(kmeans, clusters=clusters).check_frames()
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: expected 1 or more")

    @property
    def needs(self) -> tuple[str, ...]:
        """Figures, and the classifier that is the speaker probe."""
        return ("matplotlib", "sklearn") if self.speaker_probe else ("matplotlib",)

    @property
    def _most_clusters(self) -> KmeansConfig:
        return dataclasses.replace(self.kmeans, clusters=max(self.clusters))

    def check_data(self, index: "ClipIndex") -> None:
        """There must be a frame for each cluster."""
        self._most_clusters.check_seconds(index.seconds("train"), len(index.of("train")))

    def upstream(self) -> dict[str, str]:
        """Fingerprint of the encoder."""
        return {"encoder": fingerprint_of(self.encoder)}

    def facts(self) -> dict[str, Any]:
        """Fingerprint of the encoder, hashes of items and alignments."""
        files = {"items": self.items, "alignments": self.alignments}
        hashes = {name: file_sha256(at(path)) for name, path in files.items() if path}
        return {"upstream": self.upstream(), "files": hashes, "curves": run_facts(self.runs)}

    def data_facts(self) -> dict[str, Any]:
        """Of what k-means is fitted on and of what is measured."""
        from audiolm_jax.data.index import scan
        from audiolm_jax.evaluation.abx.results import read_recordings

        measured = read_recordings(self.audio_dir, self.items, self.alignments, self.abx.part)
        return {"fingerprint": scan(self.data).fingerprint, **measured.facts}

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Measures what is missing; writes cells/*.json, table.md and figures/."""
        import jax

        from audiolm_jax.data.index import scan
        from audiolm_jax.data.unheard import check_unheard, provenance_at
        from audiolm_jax.evaluation.abx.features import encoder_features
        from audiolm_jax.evaluation.abx.results import read_recordings
        from audiolm_jax.evaluation.page.charts import write_charts
        from audiolm_jax.evaluation.page.training import summarize_run, training_charts
        from audiolm_jax.evaluation.sweep.layer import LayerSweep, cell_path
        from audiolm_jax.tokenizers.semantic.kmeans.blocks import divide
        from audiolm_jax.tokenizers.semantic.kmeans.feature_store import (
            choose_clips,
            store_features,
        )
        from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder
        from audiolm_jax.training.manifest import build_manifest, enter_run
        from audiolm_jax.training.mesh import make_mesh

        directory = Path(self.directory)
        encoder = load_frame_encoder(model_folder(self.encoder), self.window)
        if unknown := [layer for layer in self.layers if layer not in encoder.layers]:
            raise InputError(f"--layers {unknown[0]}: this encoder has {', '.join(encoder.layers)}")
        trainers = [summarize_run(at(run)) for run in self.runs]
        recordings = read_recordings(self.audio_dir, self.items, self.alignments, self.abx.part)
        index = scan(self.data)
        check_unheard(index, {f"--encoder {self.encoder}": provenance_at(self.encoder)})
        self.check_data(index)
        choice = choose_clips(index, encoder.hop_samples, self.kmeans.max_frames, self.kmeans.seed)
        self._most_clusters.check_available(sum(choice.frames))
        logger.info("k-means: %s", choice)
        cells: list[dict[str, Any]] = []
        data = {"fingerprint": index.fingerprint, **recordings.facts}
        # What all cells of a directory share: all but which layers, numbers and runs there are.
        manifest = build_manifest(
            dataclasses.replace(self, layers=("each",), clusters=(1,), runs=()),
            seeds={"kmeans": self.kmeans.seed, "abx": self.abx.seed},
            data=data | facts["files"],
            upstream=facts["upstream"],
        )
        enter_run(directory, manifest, ("cells/*", "features/*"))
        mesh = make_mesh(self.mesh)
        encoders = [encoder] if mesh is None else [encoder.on(x) for x in jax.local_devices()]
        for layer in self.layers:
            wanted = {k: cell_path(directory, layer, k) for k in (None, *self.clusters)}
            if missing := [k for k, path in wanted.items() if not path.is_file()]:
                folder, source = directory / "features" / layer, (encoder, layer)
                blocks = divide(sum(choice.frames), self.kmeans.block_frames, mesh)
                frames = store_features(
                    folder, index, choice, encoders, layer, self.window, self.batch_size, blocks
                )
                features = encoder_features(*source, recordings.paths, self.batch_size)
                kmeans = dataclasses.replace(self.kmeans, layer=layer)
                parts = (recordings, kmeans, self.abx, mesh, self.speaker_probe)
                sweep = LayerSweep(directory, frames, features, *parts)
                for clusters in missing:
                    cell = sweep.measure(clusters)
                    logger.info(sweep_table([cell]).markdown().splitlines()[-1])
                shutil.rmtree(folder)
            cells += [json.loads(path.read_text()) for path in wanted.values()]
        write_text(directory / self.page, sweep_table(cells).markdown())
        write_charts(directory, training_charts(trainers))
        return {"data": data, "encoder": encoder.fingerprint, "used": choice.facts, "cells": cells}


def sweep_table(cells: Sequence[Mapping[str, Any]]) -> Table:
    """The cells of sweep.json, errors and shares in percent."""
    of_clusters = ("unexplained", "used", "perplexity", "tokens/s")
    heads = ("layer", "K", *of_clusters, *SCORE_HEADS, *PURITY_HEADS, "speaker")
    return Table(heads, [_row(cell) for cell in cells])


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    use, speaker = cell["use"], cell["speaker"]
    return (
        cell["layer"],
        "none" if cell["clusters"] is None else str(cell["clusters"]),
        percent(cell["unexplained"]),
        percent(use and use["used_clusters"] / use["clusters"]),
        "" if use is None else f"{use['perplexity']:.1f}",
        "" if use is None else f"{use['deduplicated_tokens'] / use['seconds']:.1f}",
        *score_cells(cell["scores"]),
        *purity_cells(cell["purity"]),
        percent(speaker and speaker["accuracy"]),
    )
