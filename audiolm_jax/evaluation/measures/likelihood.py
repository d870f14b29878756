"""Held-out loss of a stage beside what plain counting reaches on the same tokens.

Three yardsticks, in nats per token, know the level of each position: log of the level's
vocabulary; the empirical entropy of its held-out tokens themselves, which no fixed distribution
can beat; and a bigram model, which interpolates three estimates of token x after context c,

    p(x | c) = a n(c, x) / n(c)  +  b n(x) / n  +  g / legal ids of the level,

with n counted at positions of the same level. The weights (a, b, g) are shared by all contexts of
a level seen about equally often (powers of two of n(c)) and fitted by expectation maximization on
the training tokens, each sequence predicted from the counts of all the others: leaving out single
tokens would flatter the estimate, for a recording repeats itself (Jelinek-Mercer interpolation
with deleted estimates; Chen and Goodman 1999, section 2.3).
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float64

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.histograms import entropy
from audiolm_jax.stages import EOS, Sequence, StageConfig, legal_ids, level_rows

EM_ITERATIONS = 60
TOTAL = "all"  # name of the row over all levels, end tokens left out


@dataclasses.dataclass(frozen=True)
class LevelLikelihood:
    """One row of the table: one level of a stage, its end tokens, or all its levels together."""

    level: str  # of `StageConfig.level_names`, or "all": the mean weighted by tokens, without ends
    tokens: int  # held-out tokens in the row
    model_nats: float  # the model's mean loss on them
    unigram_nats: float  # the tokens' entropy; of ends the surprise, as often as they may come
    bigram_nats: float  # mean loss of the bigram model fitted on the training tokens
    log_vocabulary: float  # log of the codes of one level; of all legal ids in the row "end"

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


@dataclasses.dataclass(frozen=True)
class _Targets:
    """Target tokens of many sequences, flat: int64 [n] each."""

    tokens: np.ndarray  # ids
    contexts: np.ndarray  # the id before each
    positions: np.ndarray  # place in the stream modulo the levels; 0 for an end token
    rows: np.ndarray  # in `StageConfig.level_names`
    sequences: np.ndarray  # which sequence the token is of


def _targets(sequences: Iterable[Sequence], config: StageConfig, name: str) -> _Targets:
    columns: list[tuple[np.ndarray, ...]] = []
    legal = legal_ids(config)
    for index, sequence in enumerate(sequences):
        tokens = np.asarray(sequence.tokens, np.int64)
        target = tokens[sequence.target_start :]
        if not len(target):
            continue
        positions = np.arange(len(target)) % len(config.target_levels)
        is_known = target.min() >= 0 and target.max() < config.vocab_size
        if not is_known or not np.all(legal[positions, target]):
            raise ValueError(f"{name} sequence {index}: a target id that its level does not admit")
        contexts = tokens[sequence.target_start - 1 : -1]
        rows = level_rows(len(target), bool(target[-1] == EOS), config).astype(np.int64)
        columns.append((target, contexts, positions, rows, np.full(len(target), index)))
    if not columns:
        raise InputError(f"{config.name} stage: no {name} tokens; expected at least one sequence")
    return _Targets(*(np.concatenate(column) for column in zip(*columns, strict=True)))


class _Counts:
    """How often each key occurs, looked up by binary search: keys are far too many for a table."""

    def __init__(self, keys: np.ndarray):
        self.keys, self.counts = np.unique(keys, return_counts=True)

    def __getitem__(self, keys: np.ndarray) -> np.ndarray:
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, self.counts[places], 0)


def _buckets(context_counts: np.ndarray) -> np.ndarray:
    """0 for a context never seen, then one bucket for each power of two."""
    return np.ceil(np.log2(context_counts + 1.0)).astype(np.int64)


class BigramModel:
    """The interpolated bigram model of one stage; about 200 bytes for each training token."""

    def __init__(self, sequences: Iterable[Sequence], config: StageConfig):
        """Fits on training sequences, two or more, each recording once: overlapping crops of one
        would vouch for each other."""
        self._config = config
        self._legal = legal_ids(config).sum(axis=1)  # ids that may stand at each position
        train = _targets(sequences, config, "training")
        if train.sequences[0] == train.sequences[-1]:
            raise InputError(
                f"{config.name} stage: one training sequence: the bigram model needs at least two"
            )
        self._counts = [_Counts(keys) for keys in self._keys(train)]
        self._weights = self._fit_weights(train)

    def nats(self, targets: _Targets) -> Float64[np.ndarray, " n"]:
        """Loss of each token."""
        estimates, buckets = self._estimates(targets, leaves_own_out=False)
        buckets = np.minimum(buckets, self._weights.shape[1] - 1)
        weights = self._weights[targets.positions, buckets]
        return -np.log(np.sum(weights * estimates, axis=1))

    def distribution(self, context: int) -> Float64[np.ndarray, " v"]:
        """Probability of each id of the vocabulary after the id `context`, at the first place of a
        frame; 0 of illegal ones."""
        tokens = np.flatnonzero(legal_ids(self._config)[0])
        zeros = np.zeros(len(tokens), np.int64)
        targets = _Targets(tokens, np.full(len(tokens), context), zeros, zeros, zeros)
        probabilities = np.zeros(self._config.vocab_size)
        probabilities[tokens] = np.exp(-self.nats(targets))
        # After a context that was never seen the estimate by pairs gives nothing to any.
        return probabilities / probabilities.sum()

    def _keys(self, targets: _Targets) -> tuple[np.ndarray, ...]:
        """What is counted: pairs, contexts and tokens at a position, and positions."""
        size = self._config.vocab_size
        contexts = targets.positions * size + targets.contexts
        tokens = targets.positions * size + targets.tokens
        return contexts * size + targets.tokens, contexts, tokens, targets.positions

    def _estimates(
        self, targets: _Targets, leaves_own_out: bool
    ) -> tuple[Float64[np.ndarray, "n 3"], np.ndarray]:
        """Bigram, unigram and uniform probability of each token, and the bucket of its context."""
        keys = self._keys(targets)
        counts = [table[own] for table, own in zip(self._counts, keys, strict=True)]
        if leaves_own_out:
            counts = [n - _own(own, targets.sequences) for n, own in zip(counts, keys, strict=True)]
        pairs, contexts, tokens, positions = counts
        bigram, unigram = pairs / np.maximum(contexts, 1), tokens / np.maximum(positions, 1)
        uniform = 1.0 / self._legal[targets.positions]
        return np.stack([bigram, unigram, uniform], axis=1), _buckets(contexts)

    def _fit_weights(self, train: _Targets) -> Float64[np.ndarray, "positions buckets 3"]:
        estimates, buckets = self._estimates(train, leaves_own_out=True)
        n_buckets = int(_buckets(self._counts[1].counts).max()) + 1
        cells = train.positions * n_buckets + buckets
        n_cells = len(self._legal) * n_buckets
        weights = np.full((n_cells, 3), 1.0 / 3.0)
        for _ in range(EM_ITERATIONS):
            shares = weights[cells] * estimates
            shares /= shares.sum(axis=1, keepdims=True)
            # One made-up token a cell keeps every weight above zero, so that no loss is infinite.
            sums = np.stack(
                [np.bincount(cells, shares[:, k], n_cells) + 1.0 / 3.0 for k in range(3)], axis=1
            )
            weights = sums / sums.sum(axis=1, keepdims=True)
        table = weights.reshape(len(self._legal), n_buckets, 3)
        seen = np.bincount(cells, minlength=n_cells).reshape(len(self._legal), n_buckets) > 0
        for bucket in range(1, n_buckets):  # leaving a sequence out can empty the fullest bucket
            empty = ~seen[:, bucket]
            table[empty, bucket] = table[empty, bucket - 1]
        return table


def _own(keys: np.ndarray, sequences: np.ndarray) -> np.ndarray:
    """For each token, how often its key occurs in its own sequence."""
    order = np.lexsort((keys, sequences))
    keys, sequences = keys[order], sequences[order]
    starts = np.concatenate([[True], (keys[1:] != keys[:-1]) | (sequences[1:] != sequences[:-1])])
    groups = np.cumsum(starts) - 1
    own = np.empty(len(order), np.int64)
    own[order] = np.bincount(groups)[groups]
    return own


def stage_likelihood(
    config: StageConfig,
    train: Iterable[Sequence],
    heldout: Iterable[Sequence],
    model_losses: Mapping[str, float],
    model_counts: Mapping[str, float] | None = None,
) -> StageLikelihood:
    """The table of one stage from its training sequences, each recording once, and the held-out
    ones that the model's mean losses, in nats by name of `config.level_names`, were measured on.
    `model_counts` are the tokens behind each mean; if given, they must be those of `heldout`."""
    bigram = BigramModel(train, config)
    targets = _targets(heldout, config, "held-out")
    nats = bigram.nats(targets)
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
        bigram_nats = float(nats[chosen].mean())
        log_vocabulary = float(np.log(config.target_codebook_size + is_end))
        rows.append(LevelLikelihood(name, tokens, loss, unigram, bigram_nats, log_vocabulary))
    return StageLikelihood(config.name, (*rows, _total(rows)))


def _total(rows: list[LevelLikelihood]) -> LevelLikelihood:
    levels = [row for row in rows if row.level != "end"]
    if not levels:
        raise InputError("no held-out tokens besides end tokens; expected at least one level")
    tokens = sum(row.tokens for row in levels)
    fields = ("model_nats", "unigram_nats", "bigram_nats", "log_vocabulary")
    sums = [sum(row.tokens * getattr(row, field) for row in levels) for field in fields]
    return LevelLikelihood(TOTAL, tokens, *(total / tokens for total in sums))
