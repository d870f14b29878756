"""The config of a sweep over layers and numbers of clusters, and the table of its results."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.cells import AbxConfig
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.windows import WindowConfig
from audiolm_jax.training.mesh import MeshConfig


@dataclasses.dataclass(frozen=True)
class SweepExperiment:
    """Choose the layer and K of a semantic tokenizer: measure every pair of them.

    AudioLM chose masked_7 and K = 1024 so (section IV-B, Fig. 3). Layers, numbers of clusters and
    runs may be added to a sweep that is finished; nothing is measured twice.

    Attributes:
      directory: where the cells, table.md and sweep.json go.
      data: recordings to fit k-means on; their training clips are used.
      encoder: run directory or model folder of the encoder.
      layers: layers to measure.
      clusters: numbers of clusters to measure for each.
      audio_dir: folder of the recordings that the items name.
      items: item file for ABX.
      alignments: file of aligned phones of the same recordings, for purities; empty for none.
      kmeans: how each is fitted; `layer` and `clusters` of it stay at their defaults.
      window: how long recordings are cut.
      abx: subsampling and its seed.
      batch_size: clips loaded together.
      mesh: devices that share the frames of k-means.
      speaker_probe: whether to measure how well speakers are told apart by a recording's tokens.
      runs: finished run directories whose training curves go to figures/, the encoder's say.
    """

    directory: str
    data: AudioDataConfig
    encoder: str
    layers: tuple[str, ...]
    clusters: tuple[int, ...]
    audio_dir: str
    items: str
    alignments: str = ""
    kmeans: KmeansConfig = KmeansConfig()
    window: WindowConfig = WindowConfig()
    abx: AbxConfig = AbxConfig()
    batch_size: int = 8
    mesh: MeshConfig = MeshConfig()
    speaker_probe: bool = True
    runs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("layers", "clusters"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name} = {values}: expected at least one, each once")
        unset = KmeansConfig()
        if (self.kmeans.layer, self.kmeans.clusters) != (unset.layer, unset.clusters):
            raise InputError(
                f"kmeans.layer = {self.kmeans.layer!r}, kmeans.clusters = {self.kmeans.clusters}: "
                "a sweep takes them from layers and clusters; leave these at their defaults"
            )
        for clusters in self.clusters:
            dataclasses.replace(self.kmeans, clusters=clusters).check_frames()
        if self.batch_size < 1:
            raise InputError(f"batch_size = {self.batch_size}: expected 1 or more")


def sweep_table(cells: Sequence[dict[str, Any]]) -> str:
    """Cells as Markdown, errors and shares in percent.

    Args:
      cells: as in sweep.json, all measured with and without the same alignments.
    """
    slicings = [score["slicing"] for score in cells[0]["scores"]]
    heads = ["layer", "K", "unexplained", "used", "perplexity", "tokens/s"]
    heads += [f"{mode}, {slicing}" for slicing in slicings for mode in ("within", "across")]
    heads += ["phone purity", "cluster purity", "PNMI", "speaker"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for cell in cells:
        row = [cell["layer"], "none" if cell["clusters"] is None else str(cell["clusters"])]
        use, purity, speaker = cell["use"], cell["purity"], cell["speaker"]
        row.append(_percent(cell["unexplained"]))
        row += ["", "", ""] if use is None else [
            _percent(use["used_clusters"] / use["clusters"]),
            f"{use['perplexity']:.1f}",
            f"{use['deduplicated_tokens'] / use['seconds']:.1f}",
        ]  # fmt: skip
        for score in cell["scores"]:
            row += [_percent(score[mode]["error"]) for mode in ("within", "across")]
        for name in ("phone_purity", "cluster_purity", "normalized_mutual_information"):
            row.append("" if purity is None else _percent(purity[name]))
        row.append("" if speaker is None else _percent(speaker["accuracy"]))
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"
