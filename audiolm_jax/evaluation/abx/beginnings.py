"""How much of a recording's tokens depends on where it begins on the grid of tokens.

The same sound, begun a little later, should be the same tokens: what is not the same is noise to a
language model (as Gat et al. 2022, arXiv:2209.15483, count the edits that other alterations make).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int

from audiolm_jax.artifacts.run_folder import model_folder
from audiolm_jax.evaluation.abx.config import LATER_SECONDS, FeatureConfig
from audiolm_jax.evaluation.abx.features import tokens_later
from audiolm_jax.stages import deduplicate
from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer


def changes_of_tokens(
    config: FeatureConfig,
    recordings: Mapping[str, Path],
    batch_size: int,
    ids: Mapping[str, Int[np.ndarray, " u"]],
) -> dict[str, float]:
    """For each of LATER_SECONDS, as text: edits between `ids`, the tokens of all recordings, and
    those of the same begun so much later, repeats removed, per token."""
    tokenizer = load_semantic_tokenizer(model_folder(config.model))
    before = {file: deduplicate(own) for file, own in ids.items()}
    count = sum(map(len, before.values()))
    changes = {}
    for seconds in LATER_SECONDS:
        later, _ = tokens_later(tokenizer, recordings, batch_size, seconds)
        total = sum(edits(own, deduplicate(later[file])) for file, own in before.items())
        changes[f"{seconds:g}"] = total / max(count, 1)
    return changes


def edits(one: Int[np.ndarray, " n"], other: Int[np.ndarray, " m"]) -> int:
    """Fewest insertions, deletions and exchanges that make one sequence the other (Levenshtein)."""
    places = np.arange(len(other) + 1)
    row = places
    for number, token in enumerate(one, 1):
        # Deleted, exchanged or kept; then what is inserted, each for one more.
        best = np.minimum(row[1:] + 1, row[:-1] + (other != token))
        row = np.minimum.accumulate(np.concatenate([[number], best]) - places) + places
    return int(row[-1])
