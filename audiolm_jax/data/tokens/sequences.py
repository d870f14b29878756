"""The sequences of a batch: `stages.build_sequence` and `stages.level_rows` of many windows at
once, padded, and shifted into what a decoder learns from."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from audiolm_jax.stages import (
    BOS,
    EOS,
    FIRST_ID,
    PAD,
    SEP,
    StageConfig,
    flatten_levels,
    kept_clusters,
    level_rows,
)
from audiolm_jax.types import TokenBatch

Window = tuple[np.ndarray, np.ndarray, bool]  # clusters, codes, whether the recording ends here


class Sequences(NamedTuple):
    """Sequences of a stage, not yet shifted; padding follows them."""

    tokens: np.ndarray  # int32 [n, max_tokens]
    levels: np.ndarray  # int32 [n, max_tokens], row of `StageConfig.level_names`, -1: no target
    lengths: np.ndarray  # int64 [n]


def build_sequences(windows: list[Window | None], stage: StageConfig) -> Sequences:
    """A row a window, all padding where there is none; ValueError for an id out of range."""
    shape = (len(windows), stage.max_tokens)
    tokens, levels = np.full(shape, PAD, np.int32), np.full(shape, -1, np.int32)
    lengths = np.zeros(len(windows), np.int64)
    rows = [row for row, window in enumerate(windows) if window is not None]
    present = [window for window in windows if window is not None]
    if not present:
        return Sequences(tokens, levels, lengths)
    match stage.name:
        case "semantic":
            conditions, targets = None, _semantic(present, stage)
        case "coarse":
            conditions, targets = _semantic(present, stage), _acoustic(present, stage)
        case "fine":
            of_coarse = range(stage.coarse_levels)
            conditions = _acoustic(present, stage, of_coarse)
            targets = _acoustic(present, stage)
    longest, end = max(map(len, targets)), len(stage.level_names) - 1
    pattern = level_rows(longest, False, stage)
    tokens[rows, 0] = BOS
    for index, (row, target) in enumerate(zip(rows, targets, strict=True)):
        ids, first = tokens[row], 1
        if conditions is not None:
            first += len(conditions[index]) + 1
            ids[1 : first - 1], ids[first - 1] = conditions[index], SEP
        stop = first + len(target)
        ids[first:stop], levels[row, first:stop] = target, pattern[: len(target)]
        if stage.has_end_token and present[index][2]:
            ids[stop], levels[row, stop] = EOS, end
            stop += 1
        lengths[row] = stop
    return Sequences(tokens, levels, lengths)


def shifted(sequences: Sequences) -> TokenBatch:
    """What a decoder learns from: inputs are all tokens but the last, targets all but the first,
    with their levels, and weight 1 where they count: by their place, never by their id."""
    tokens, levels, lengths = sequences
    inputs, short = tokens[:, :-1].copy(), (0 < lengths) & (lengths < tokens.shape[1])
    inputs[short, lengths[short] - 1] = PAD
    counted = levels[:, 1:]
    weights = np.empty(counted.shape, np.float32)
    np.greater_equal(counted, 0, out=weights, casting="unsafe")
    return TokenBatch(inputs, tokens[:, 1:].copy(), weights, np.maximum(counted, 0))


def _semantic(windows: list[Window], stage: StageConfig) -> list[np.ndarray]:
    """`semantic_ids` of each."""
    clusters, most = [window[0] for window in windows], stage.semantic_clusters
    joined = np.concatenate(clusters).astype(np.int64)
    if joined.max() >= most:
        raise ValueError(f"semantic clusters up to {joined.max()}, expected below {most}")
    row = np.repeat(np.arange(len(windows)), [len(part) for part in clusters])
    # Of each window in a range of its own: no run goes on into the next.
    kept_row, kept = np.divmod(kept_clusters(joined + row * most, stage), most)
    ids = (kept + FIRST_ID).astype(np.int32)
    return _cut(ids, np.bincount(kept_row, minlength=len(windows)).tolist())


def _acoustic(
    windows: list[Window], stage: StageConfig, levels: range | None = None
) -> list[np.ndarray]:
    """`flatten_levels` of each, of the target's levels unless others are given."""
    levels = levels or stage.target_levels
    parts = [codes[:, levels.start : levels.stop] for _, codes, _ in windows]
    ids = flatten_levels(np.concatenate(parts), levels.start, stage)
    return _cut(ids, [part.size for part in parts])


def _cut(ids: Int[np.ndarray, " n"], sizes: list[int]) -> list[np.ndarray]:
    stops = np.cumsum(sizes).tolist()
    return [ids[stop - size : stop] for stop, size in zip(stops, sizes, strict=True)]
