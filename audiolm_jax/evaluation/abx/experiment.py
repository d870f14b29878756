"""Puts features to the ABX test and writes the table."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, ClassVar

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import AbxConfig, FeatureConfig
from audiolm_jax.evaluation.abx.table import PURITIES, SCORES, purity_cells, score_cells
from audiolm_jax.evaluation.lifecycle import Evaluation
from audiolm_jax.evaluation.page.tables import Table

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class AbxExperiment(Evaluation):
    """Measure how well features tell phones apart, within and across speakers."""

    page: ClassVar[str] = "abx.md"
    record: ClassVar[str] = "abx.json"

    directory: str
    """Where abx.json and abx.md go."""
    audio_dir: str
    """Folder of the recordings that the items name."""
    items: str
    """Item file, Libri-Light's or one of `audiolm items`."""
    features: tuple[FeatureConfig, ...] = ()
    """What to measure, at least one."""
    alignments: str = ""
    """File of aligned phones of the same recordings, for the purity of discrete features; empty to
    leave that out."""
    abx: AbxConfig = AbxConfig()
    """Subsampling and its seed."""
    batch_size: int = 8
    """Recordings that go through a model together."""

    def __post_init__(self) -> None:
        names = [features.name for features in self.features]
        if not names or len(set(names)) < len(names):
            raise InputError(f"features = {names}: expected at least one, each name once")
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: expected 1 or more")

    def upstream(self) -> dict[str, str]:
        """Fingerprint of each model by its folder."""
        from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder

        paths = [path for config in self.features for path in (config.model, config.scaled_by)]
        return {str(model_folder(path)): fingerprint_of(path) for path in paths if path}

    def facts(self) -> dict[str, Any]:
        """Hashes of items and alignments, fingerprints of the models."""
        return {
            "items_sha256": file_sha256(Path(self.items)),
            "alignments_sha256": file_sha256(Path(self.alignments)) if self.alignments else None,
            "models": self.upstream(),
        }

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Measures all features and writes abx.md."""
        from audiolm_jax.evaluation.abx.features import features_of
        from audiolm_jax.evaluation.abx.results import measure_features, read_recordings

        recordings = read_recordings(self.audio_dir, self.items, self.alignments)
        logger.info(
            "%s: %d items in %d recordings",
            *(self.items, len(recordings.items), len(recordings.paths)),
        )
        rows = []
        for config in self.features:
            for name, features in features_of(config, recordings.paths, self.batch_size).items():
                results = measure_features(recordings, features, self.abx)
                rows.append({"name": name, "rate_hz": float(features.rate_hz), **results})
                for score in results["scores"]:
                    logger.info(
                        "%s, %s: within %s, across %s; %d items, %d without a frame left out, "
                        "%d cut at the end of their recording",
                        *(name, score["slicing"]),
                        *(_text(score[mode]["error"]) for mode in ("within", "across")),
                        *(score["items"], score["empty"], score["cut"]),
                    )
        write_text(Path(self.directory) / self.page, abx_table(rows).markdown())
        return {"rows": rows}


def abx_table(rows: list[dict[str, Any]]) -> Table:
    """The rows of abx.json, errors and purities in percent."""
    return Table(
        ("features", "Hz", *SCORES, *PURITIES, "used"),
        [
            (
                row["name"],
                f"{row['rate_hz']:g}",
                *score_cells(row["scores"]),
                *purity_cells(row["purity"]),
                "" if row["purity"] is None else str(row["purity"]["used"]),
            )
            for row in rows
        ],
    )


def _text(error: float | None) -> str:
    return "nothing to compare" if error is None else f"{100 * error:.2f} %"
