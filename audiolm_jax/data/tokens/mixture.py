"""One token store, or several read as one: which of them a position is of."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.data.sources import Split
from audiolm_jax.data.tokens.provenance import TokenSizes
from audiolm_jax.data.tokens.store import TokenStore, check_store
from audiolm_jax.errors import InputError
from audiolm_jax.stages import StageConfig

MOST_IN_A_ROUND = 100_000
_OF_RECORDINGS = {"dataset", "data_fingerprint"}  # what may differ between the stores


class TokenMixture:
    """Stores of the same tokenizers with whole weights: of every sum(weights) examples in a row,
    wherever they begin, `weights[i]` come from store i, spread evenly."""

    def __init__(self, stores: Sequence[TokenStore], weights: Sequence[int] = ()):
        """InputError if the stores do not fit together or the weights do not fit them."""
        self.stores, self.weights = tuple(stores), tuple(weights)
        if len(self.stores) > 1 or self.weights:
            _check_weights(len(self.stores), self.weights)
        if len(self.stores) == 1:
            self.weights = (1,)
        for number, store in enumerate(self.stores[1:], 1):
            _check_same_tokenizers(self.stores[0], store)
            if any(store.fingerprint == other.fingerprint for other in self.stores[:number]):
                raise InputError(f"--tokens {store.directory}: named twice; raise its weight")
        # Example k of a store's w in a round lies at (k + 1/2) / w of it.
        which = np.repeat(np.arange(len(self.weights)), self.weights)
        turn = np.concatenate([np.arange(weight) for weight in self.weights])
        order = np.argsort((2 * turn + 1) / np.take(self.weights, which), kind="stable")
        self._which, self._turn = which[order], turn[order]

    @classmethod
    def open(
        cls, tokens: str | Path | Sequence[str], weights: Sequence[int] = (), verify: bool = True
    ) -> "TokenMixture":
        """Of the folder of a store, or of several; see `TokenStore.open`."""
        folders = [tokens] if isinstance(tokens, str | Path) else tokens
        if not folders:
            raise InputError("--tokens: no token store is named")
        return cls([TokenStore.open(folder, verify) for folder in folders], weights)

    @property
    def sizes(self) -> TokenSizes:
        """What the tokenizers of all wrote."""
        return self.stores[0].sizes

    @property
    def dataset(self) -> str:
        """Names of the corpora, joined by "+"."""
        return "+".join(store.provenance.dataset for store in self.stores)

    @property
    def fingerprint(self) -> str:
        """Of what is read: the store's own, or of all of them and their weights."""
        if len(self.stores) == 1:
            return self.stores[0].fingerprint
        return fingerprint([[store.fingerprint for store in self.stores], self.weights])

    def facts(self) -> dict[str, Any]:
        """What a run says of them."""
        facts: dict[str, Any] = {"dataset": self.dataset, "tokens": self.fingerprint}
        if len(self.stores) > 1:
            facts["stores"] = [store.fingerprint for store in self.stores]
        return facts

    def semantic_per_second(self, stage: StageConfig) -> float:
        """Semantic tokens a second, as the stage counts them, of what is trained on."""
        if not stage.deduplicate:
            return float(stage.semantic_rate_hz)
        name = "semantic_deduplicated_per_second"
        rates = [store.manifest["splits"]["train"]["statistics"][name] for store in self.stores]
        return float(np.average(rates, weights=self.weights))

    def of(self, positions: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """(store, position among the store's own), int64 [n] each, of positions of the mixture."""
        rounds, place = np.divmod(positions, len(self._which))
        which = self._which[place]
        return which, rounds * np.take(self.weights, which) + self._turn[place]

    def check_stage(self, stage: StageConfig) -> None:
        """InputError if a stage has other sizes than the tokens it is to learn."""
        check_store(self.stores[0], stage)

    def check_split(self, split: Split) -> None:
        """InputError if a store has nothing of a split."""
        for store in self.stores:
            if not store.num_records(split):
                raise InputError(
                    f"{store.directory}: token store has no {split} clip; tokenize more audio"
                )


def _check_weights(stores: int, weights: tuple[int, ...]) -> None:
    if len(weights) != stores or min(weights) < 1 or sum(weights) > MOST_IN_A_ROUND:
        raise InputError(
            f"--token-weights {' '.join(map(str, weights)) or 'is empty'}: expected {stores} whole "
            f"numbers from 1 on, one a store of --tokens, that sum to at most {MOST_IN_A_ROUND}"
        )


def _check_same_tokenizers(first: TokenStore, other: TokenStore) -> None:
    for field in dataclasses.fields(first.provenance):
        one, two = getattr(first.provenance, field.name), getattr(other.provenance, field.name)
        if field.name not in _OF_RECORDINGS and one != two:
            raise InputError(
                f"--tokens {other.directory}: {field.name} {two}, but {first.directory} has {one}; "
                "only stores of the same tokenizers can be mixed"
            )
