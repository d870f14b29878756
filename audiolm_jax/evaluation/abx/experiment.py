"""Puts features to the ABX test and writes the table."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import (
    LATER_SECONDS,
    MODES,
    SLICINGS,
    AbxConfig,
    FeatureConfig,
)
from audiolm_jax.evaluation.lifecycle import Evaluation
from audiolm_jax.evaluation.page.tables import Table, percent

logger = logging.getLogger(__name__)

_PURITIES = {
    "phone purity": "phone_purity",
    "cluster purity": "cluster_purity",
    "PNMI": "normalized_mutual_information",
}
SCORE_HEADS = tuple(f"{mode}, {slicing}" for slicing in SLICINGS for mode in MODES)
PURITY_HEADS = tuple(_PURITIES)


@dataclasses.dataclass(frozen=True)
class AbxExperiment(Evaluation):
    """Measure how well features tell phones apart, within and across speakers."""

    page: ClassVar[str] = "abx.md"
    record: ClassVar[str] = "abx.json"

    directory: Place
    """Where abx.json and abx.md go."""
    audio_dir: Place
    """Folder of the recordings that the items name."""
    items: Place
    """Item file, Libri-Light's or one of `audiolm items`."""
    features: tuple[FeatureConfig, ...] = ()
    """What to measure, at least one."""
    alignments: Place = ""
    """File of aligned phones of these recordings, for purities of discrete features; or empty."""
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
        """Fingerprint of each model by what it is to the features."""
        parts = ("model", "scaled_by")
        paths = {f"{x.name}, {part}": getattr(x, part) for x in self.features for part in parts}
        return {name: fingerprint_of(path) for name, path in paths.items() if path}

    def facts(self) -> dict[str, Any]:
        """Hashes of items and alignments, fingerprints of the models."""
        return {
            "items_sha256": file_sha256(Path(self.items)),
            "alignments_sha256": file_sha256(Path(self.alignments)) if self.alignments else None,
            "models": self.upstream(),
        }

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings."""
        from audiolm_jax.evaluation.abx.results import read_recordings

        return read_recordings(self.audio_dir, self.items, self.alignments, self.abx.part).facts

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Measures all features and writes abx.md."""
        from audiolm_jax.evaluation.abx.beginnings import changes_of_tokens
        from audiolm_jax.evaluation.abx.features import features_of
        from audiolm_jax.evaluation.abx.results import measure_features, read_recordings

        recordings = read_recordings(self.audio_dir, self.items, self.alignments, self.abx.part)
        counts = len(recordings.items), len(recordings.paths)
        logger.info("%s: %d items in %d recordings", self.items, *counts)
        rows = []
        for config in self.features:
            inputs = (config, recordings.paths, self.batch_size)
            found, changes = features_of(*inputs), None
            if config.source == "semantic":
                changes = changes_of_tokens(*inputs, next(iter(found.values())).by_file)
            for name, features in found.items():
                results = measure_features(recordings, features, self.abx)
                row = {"name": name, "rate_hz": float(features.rate_hz), **results}
                rows.append(row | {"changes": changes})
                for score in results["scores"]:
                    logger.info(
                        "%s, %s: within %s, across %s; %d items, %d without a frame left out, "
                        "%d cut at the end of their recording",
                        *(name, score["slicing"]),
                        *(_text(score[mode]["error"]) for mode in MODES),
                        *(score["items"], score["empty"], score["cut"]),
                    )
        later = (f"changed {1000 * seconds:g} ms later" for seconds in LATER_SECONDS)
        heads = ("features", "Hz", *SCORE_HEADS, *PURITY_HEADS, "used", *later)
        table = Table(heads, [_cells(row) for row in rows])
        write_text(Path(self.directory) / self.page, table.markdown())
        return {"data": recordings.facts, "rows": rows}


def score_cells(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """Errors of the `scores` of `measure_features` in percent, under SCORE_HEADS."""
    return [percent(score[mode]["error"]) for score in scores for mode in MODES]


def purity_cells(purity: Mapping[str, Any] | None) -> list[str]:
    """Its `purity` in percent, under PURITY_HEADS; empty where there is none."""
    return [percent(None if purity is None else purity[name]) for name in _PURITIES.values()]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    purity = row["purity"]
    used = "" if purity is None else str(purity["used"])
    scores = score_cells(row["scores"])
    changes = row["changes"] or {}
    later = [percent(changes.get(f"{seconds:g}")) for seconds in LATER_SECONDS]
    return (row["name"], f"{row['rate_hz']:g}", *scores, *purity_cells(purity), used, *later)


def _text(error: float | None) -> str:
    return "nothing to compare" if error is None else f"{100 * error:.2f} %"
