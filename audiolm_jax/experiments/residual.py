"""Fitting residual codebooks on the features of an encoder."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.kmeans import KmeansExperiment

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from audiolm_jax.tokenizers.semantic.kmeans.blocks import Frames
    from audiolm_jax.training.preemption import StopRequest


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualExperiment(KmeansExperiment):
    """Fit k-means on features of an encoder level by level, each on what the levels before left
    over: the tokens of AudioLM's Table I between its semantic and its acoustic ones.

    A level is `kmeans.clusters` codes. The features used are held in memory, of one host.
    """

    levels: int = 24
    """Codebooks. 24 of 1,024 codes at 25 Hz are 6 kbit/s, the paper's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 1:
            raise InputError(f"--levels {self.levels}: expected 1 or more")
        if self.phases != 1:
            raise InputError(f"--phases {self.phases}: expected 1; residuals have no stretches")

    def fit_frames(self, frames: "Frames", mesh: "Mesh | None", stop: "StopRequest") -> Any:
        """The levels."""
        import jax

        from audiolm_jax.tokenizers.semantic.kmeans.residual_fit import fit_levels

        if jax.process_count() > 1:
            raise InputError(f"{jax.process_count()} processes: residual levels are fitted by one")
        return fit_levels(frames, self.kmeans, self.levels, mesh, at(self.directory), stop)

    def save(self, folder: Path, encoder: Path, result: Any, provenance: dict[str, Any]) -> None:
        """Writes the tokenizer."""
        from audiolm_jax.tokenizers.semantic.residual import save_residual_tokenizer

        save_residual_tokenizer(folder, encoder, self.kmeans.layer, result, provenance, self.window)
