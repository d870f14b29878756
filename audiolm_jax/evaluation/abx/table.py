"""The results of ABX as cells of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from audiolm_jax.evaluation.abx.config import MODES, SLICINGS
from audiolm_jax.evaluation.page.tables import percent

_PURITIES = {
    "phone purity": "phone_purity",
    "cluster purity": "cluster_purity",
    "PNMI": "normalized_mutual_information",
}
PURITIES = tuple(_PURITIES)
"""Heads of the columns of `purity_cells`."""
SCORES = tuple(f"{mode}, {slicing}" for slicing in SLICINGS for mode in MODES)
"""Heads of the columns of `score_cells`."""


def score_cells(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """Errors of the `scores` of `measure_features` in percent."""
    return [percent(score[mode]["error"]) for score in scores for mode in MODES]


def purity_cells(purity: Mapping[str, Any] | None) -> list[str]:
    """Its `purity` in percent; empty where there is none."""
    return [percent(None if purity is None else purity[name]) for name in _PURITIES.values()]
