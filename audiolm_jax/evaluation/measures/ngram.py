"""Interpolated n-grams over the target tokens of a stage: what counting alone predicts.

    p_k(x | c_k) = w_k  n(c_k, x) / n(c_k)  +  (1 - w_k)  p_{k-1}(x | c_{k-1})

c_k is the k tokens before x and the level of x, p_{-1} even over the ids that the level admits. The
weight w_k is shared by the contexts of a level seen about equally often (powers of two of n(c_k))
and fitted by expectation maximization on the training tokens, each sequence predicted from the
counts of all the others: leaving out single tokens would flatter the estimate, for a recording
repeats itself (Jelinek-Mercer interpolation with deleted estimates; Chen and Goodman 1999,
section 2.3).
"""

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence as Ids

import numpy as np
from jaxtyping import Float64, Int64

from audiolm_jax.errors import InputError
from audiolm_jax.stages import EOS, Sequence, StageConfig, legal_ids, level_rows

EM_ITERATIONS = 60
_UNKNOWN = -1  # a context that training has not seen


@dataclasses.dataclass(frozen=True)
class Targets:
    """Target tokens of many sequences, flat: int64 [n] each."""

    tokens: Int64[np.ndarray, " n"]  # ids
    positions: Int64[np.ndarray, " n"]  # place in the stream modulo the levels; 0 for an end token
    rows: Int64[np.ndarray, " n"]  # in `StageConfig.level_names`
    sequences: Int64[np.ndarray, " n"]  # which sequence the token is of
    history: Int64[np.ndarray, "n k"]  # the ids before, the nearest first; vocab_size before all


def targets_of(
    sequences: Iterable[Sequence], config: StageConfig, name: str, history: int
) -> Targets:
    """The targets of `name` sequences with `history` ids before each. ValueError for an id that its
    level does not admit, InputError if there are none."""
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
        padded = np.concatenate([np.full(history, config.vocab_size), tokens])
        nearest = history + sequence.target_start - 1  # place of the id before the first target
        ids = [padded[nearest - k :][: len(target)] for k in range(history)]
        before = np.array(ids, np.int64).reshape(history, len(target)).T
        rows = level_rows(len(target), bool(target[-1] == EOS), config).astype(np.int64)
        columns.append((target, positions, rows, np.full(len(target), index), before))
    if not columns:
        raise InputError(f"{config.name} stage: no {name} tokens; expected at least one sequence")
    return Targets(*(np.concatenate(column) for column in zip(*columns, strict=True)))


class NgramModel:
    """An interpolated n-gram model of one stage; about 100 bytes an order for a training token."""

    def __init__(self, sequences: Iterable[Sequence], config: StageConfig, order: int):
        """Fits on training sequences, two or more, each recording once: overlapping crops of one
        would vouch for each other. `order` 2 is a bigram."""
        self.order = order
        self.config = config
        self._size = config.vocab_size + 1  # and the id before all
        self._even = 1.0 / legal_ids(config).sum(axis=1)
        train = targets_of(sequences, config, "training", order - 1)
        if train.sequences[0] == train.sequences[-1]:
            raise InputError(
                f"{config.name} stage: one training sequence: n-grams need at least two"
            )
        contexts, known = train.positions, np.arange(len(self._even))
        lower = self._even[train.positions]
        self._orders: list[_Order] = []
        for k in range(order):
            if k:
                keys = contexts * self._size + train.history[:, k - 1]
                known, contexts = np.unique(keys, return_inverse=True)
            fitted = _Order(contexts, known, train, self._size)
            lower = fitted.fit(contexts, train, lower)
            self._orders.append(fitted)

    def nats(self, targets: Targets) -> list[Float64[np.ndarray, " n"]]:
        """Loss of each token, whose history must have order - 1 ids, by each order from 1 on."""
        contexts, p = targets.positions, self._even[targets.positions]
        nats = []
        for k, order in enumerate(self._orders):
            if k:
                keys = contexts * self._size + targets.history[:, k - 1]
                contexts = _find(order.known, np.where(contexts == _UNKNOWN, _UNKNOWN, keys))
            p = order.interpolate(contexts, targets, p)
            nats.append(-np.log(p))
        return nats

    def losses(self, sequences: Iterable[Sequence]) -> list[list[Float64[np.ndarray, " _"]]]:
        """Loss in nats of each target token of each sequence, by each order from 1 on; every
        sequence must have some."""
        targets = targets_of(sequences, self.config, "given", self.order - 1)
        cuts = np.flatnonzero(np.diff(targets.sequences)) + 1
        return [np.split(nats, cuts) for nats in self.nats(targets)]

    def distribution(self, history: Ids[int]) -> Float64[np.ndarray, " v"]:
        """Probability of each id of the vocabulary after the ids `history`, of which the last
        order - 1 count, at the first place of a frame; 0 of illegal ones."""
        tokens = np.flatnonzero(legal_ids(self.config)[0])
        zeros = np.zeros(len(tokens), np.int64)
        start = [self.config.vocab_size] * self.order
        nearest = np.array([*start, *history], np.int64)[::-1][: self.order - 1]
        before = np.tile(nearest, (len(tokens), 1))
        nats = self.nats(Targets(tokens, zeros, zeros, zeros, before))[-1]
        probabilities = np.zeros(self.config.vocab_size)
        probabilities[tokens] = np.exp(-nats)
        return probabilities


class _Order:
    """The estimates from k tokens before, on those from k - 1."""

    def __init__(self, contexts: np.ndarray, known: np.ndarray, train: Targets, size: int):
        self.known = known  # sorted keys of all contexts; a context is its place among them
        self._size = size
        pairs = contexts * size + train.tokens
        self._pairs, self._pair_counts = np.unique(pairs, return_counts=True)
        self._context_counts = np.bincount(contexts, minlength=len(known))
        self._weights = np.zeros((0, 0))

    def fit(self, contexts: np.ndarray, train: Targets, lower: np.ndarray) -> np.ndarray:
        """Fits the weights; returns the deleted estimate of each training token."""
        counts, totals = self._counts(contexts, train.tokens)
        counts = counts - _own(contexts * self._size + train.tokens, train.sequences)
        frequencies, buckets = _frequencies(counts, totals - _own(contexts, train.sequences))
        self._weights = _fit_weights(train.positions, buckets, frequencies, lower)
        return self._mix(train.positions, buckets, frequencies, lower)

    def interpolate(
        self, contexts: np.ndarray, targets: Targets, lower: np.ndarray
    ) -> Float64[np.ndarray, " n"]:
        """Probability of each token after its context."""
        frequencies, buckets = _frequencies(*self._counts(contexts, targets.tokens))
        return self._mix(targets.positions, buckets, frequencies, lower)

    def _counts(self, contexts: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.where(contexts == _UNKNOWN, _UNKNOWN, contexts * self._size + tokens)
        places = _find(self._pairs, pairs)
        return (
            np.where(places == _UNKNOWN, 0, self._pair_counts[places]),
            np.where(contexts == _UNKNOWN, 0, self._context_counts[contexts]),
        )

    def _mix(
        self, positions: np.ndarray, buckets: np.ndarray, frequencies: np.ndarray, lower: np.ndarray
    ) -> np.ndarray:
        weights = self._weights[positions, np.minimum(buckets, self._weights.shape[1] - 1)]
        return weights * frequencies + (1 - weights) * lower


def _find(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The place of each key among sorted ones, or _UNKNOWN."""
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, places, _UNKNOWN)


def _frequencies(counts: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of each token after its context, and the context's bucket: 0 if it was never seen, then
    one for each power of two."""
    buckets = np.ceil(np.log2(totals + 1.0)).astype(np.int64)
    return counts / np.maximum(totals, 1), buckets


def _fit_weights(
    positions: np.ndarray, buckets: np.ndarray, frequencies: np.ndarray, lower: np.ndarray
) -> Float64[np.ndarray, "positions buckets"]:
    shape = positions.max() + 1, buckets.max() + 1
    cells, n = positions * shape[1] + buckets, shape[0] * shape[1]
    tokens = np.bincount(cells, minlength=n)
    weights = np.full(n, 0.5)
    for _ in range(EM_ITERATIONS):
        upper = weights[cells] * frequencies
        shares = upper / (upper + (1 - weights[cells]) * lower)
        # One made-up token a cell keeps every weight below 1, so that no loss is infinite.
        weights = (np.bincount(cells, shares, n) + 0.5) / (tokens + 1)
    table, seen = weights.reshape(shape), tokens.reshape(shape) > 0
    table[:, 0] = 0.0  # there is nothing to weigh
    for bucket in range(1, shape[1]):  # leaving a sequence out can empty the fullest bucket
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
