"""Held-out loss of a stage beside what plain counting reaches on the same tokens.

Yardsticks, in nats per token, know the level of each position: log of the level's vocabulary; the
empirical entropy of its held-out tokens themselves, which no fixed distribution can beat; a bigram
of the training tokens and, for the semantic stage, a 5-gram (`ngram`).
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.histograms import entropy
from audiolm_jax.evaluation.measures.ngram import NgramModel, targets_of
from audiolm_jax.stages import Sequence, StageConfig

_ORDERS = {"semantic": 5}  # of the n-gram; others are bigrams
TOTAL = "all"  # name of the row over all levels, end tokens left out


@dataclasses.dataclass(frozen=True)
class LevelLikelihood:
    """One row of the table: one level of a stage, its end tokens, or all its levels together."""

    level: str  # of `StageConfig.level_names`, or "all": the mean weighted by tokens, without ends
    tokens: int  # held-out tokens in the row
    model_nats: float  # the model's mean loss on them
    unigram_nats: float  # the tokens' entropy; of ends the surprise, as often as they may come
    bigram_nats: float  # mean loss of the bigram model fitted on the training tokens
    fivegram_nats: float | None  # the same of a 5-gram, of semantic tokens only
    log_vocabulary: float  # log of the codes of one level; of all legal ids in the row "end"
    exchanged_nats: float | None = None  # the model's loss, told the condition of another window

    @property
    def percent_below_unigram(self) -> float:
        """How far the model's loss lies below the entropy, %; NaN where the entropy is 0."""
        if self.unigram_nats == 0.0:
            return float("nan")
        return 100.0 * (1.0 - self.model_nats / self.unigram_nats)

    @property
    def percent_below_bigram(self) -> float:
        """How far the model's loss lies below the bigram model's, %."""
        return 100.0 * (1.0 - self.model_nats / self.bigram_nats)


@dataclasses.dataclass(frozen=True)
class StageLikelihood:
    """The table of one stage."""

    stage: str  # semantic, coarse or fine
    # A row for each level with held-out tokens, then "end" if any sequence ends, then "all".
    rows: tuple[LevelLikelihood, ...]

    @property
    def total(self) -> LevelLikelihood:
        """The row over all levels."""
        return self.rows[-1]

    @property
    def most_nats(self) -> float:
        """The highest figure of the table."""
        return max(
            max(row.model_nats, row.unigram_nats, row.bigram_nats, row.log_vocabulary)
            for row in self.rows
        )


def stage_likelihood(
    config: StageConfig,
    train: Iterable[Sequence],
    heldout: Iterable[Sequence],
    model_losses: Mapping[str, float],
    model_counts: Mapping[str, float] | None = None,
    exchanged_losses: Mapping[str, float] | None = None,
) -> StageLikelihood:
    """The table of one stage from its training sequences, each recording once, and the held-out
    ones that the model's mean losses, in nats by name of `config.level_names`, were measured on.
    `model_counts` are the tokens behind each mean; if given, they must be those of `heldout`.
    `exchanged_losses`: those of the model on the same targets, told other conditions."""
    order = _ORDERS.get(config.name, 2)
    targets = targets_of(heldout, config, "held-out", order - 1)
    nats = NgramModel(train, config, order).nats(targets)
    rows: list[LevelLikelihood] = []
    for row, name in enumerate(config.level_names):
        chosen = targets.rows == row
        tokens = int(chosen.sum())
        if not tokens:
            continue
        loss = model_losses.get(name, math.nan)
        where = f"{config.name} stage: model loss of {name} is"
        if not math.isfinite(loss):
            raise ValueError(f"{where} {loss}: expected a finite number")
        if model_counts is not None and round(model_counts[name]) != tokens:
            raise ValueError(
                f"{where} a mean over {model_counts[name]:g} tokens, held out are {tokens}"
            )
        is_end = row == len(config.level_names) - 1
        if is_end:
            unigram = float(np.log(np.sum(targets.positions == 0) / tokens))
        else:
            unigram = entropy(np.bincount(targets.tokens[chosen]))
        bigram = float(nats[1][chosen].mean())
        fivegram = float(nats[4][chosen].mean()) if order == 5 else None
        log_vocabulary = float(np.log(config.target_codebook_size + is_end))
        counted = unigram, bigram, fivegram, log_vocabulary
        exchanged = None if exchanged_losses is None else exchanged_losses[name]
        rows.append(LevelLikelihood(name, tokens, loss, *counted, exchanged))
    return StageLikelihood(config.name, (*rows, _total(rows)))


def _total(rows: list[LevelLikelihood]) -> LevelLikelihood:
    levels = [row for row in rows if row.level != "end"]
    if not levels:
        raise InputError("no held-out tokens besides end tokens; expected at least one level")
    tokens = sum(row.tokens for row in levels)

    def mean(field: str) -> float:
        return sum(row.tokens * getattr(row, field) for row in levels) / tokens

    return LevelLikelihood(
        TOTAL,
        tokens,
        mean("model_nats"),
        mean("unigram_nats"),
        mean("bigram_nats"),
        None if levels[0].fivegram_nats is None else mean("fivegram_nats"),
        mean("log_vocabulary"),
        None if levels[0].exchanged_nats is None else mean("exchanged_nats"),
    )
