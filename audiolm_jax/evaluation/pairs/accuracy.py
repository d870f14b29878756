"""How often the right member of a pair scores higher, by kind and group, with its interval.

As ZeroSpeech 2021 counts (Nguyen et al. 2020): a pair is worth 1 if the right member's score is
higher, 1/2 if both are equal; voices of a pair are averaged, then pairs.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float64

from audiolm_jax.evaluation.measures.bootstrap import Estimate, bootstrap
from audiolm_jax.evaluation.pairs.pairs import Pair


@dataclasses.dataclass(frozen=True)
class Row:
    """The accuracies of some pairs."""

    kind: str
    group: str  # "", all pairs of the kind; else what they have in common, "type"
    value: str  # "pronoun"
    pairs: int  # several voices of a pair count once
    accuracies: Mapping[str, Estimate]  # by what the members were scored with


def outcomes(
    good: Float[np.ndarray, " n"], bad: Float[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """1 where the right member's score is higher, 1/2 where they are equal, else 0."""
    return (good > bad) + 0.5 * (good == bad)


def tabulate(
    pairs: Sequence[Pair], scored: Mapping[str, Float64[np.ndarray, " n"]], seed: int
) -> list[Row]:
    """For each kind in order a row over all, then one for each value of every group with several.

    `scored` are the `outcomes` of the pairs by name.
    """
    table = np.stack(list(scored.values()), axis=1)
    rows = []
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        members = [place for place, pair in enumerate(pairs) if pair.kind == kind]
        names = dict.fromkeys(name for place in members for name in pairs[place].groups)
        for name in ("", *names):
            values = dict.fromkeys(pairs[place].groups.get(name, "") for place in members)
            if name and len(values) == 1:
                continue
            for value in _ordered([value for value in values if value or not name]):
                own = [p for p in members if pairs[p].groups.get(name, "") == value]
                means = _over_voices([pairs[place].key for place in own], table[own])
                accuracies = {
                    scorer: estimate
                    for scorer, column in zip(scored, means.T, strict=True)
                    if (estimate := bootstrap(column, np.ones(len(column)), seed))
                }
                rows.append(Row(kind, name, value, len(means), accuracies))
    return rows


def _ordered(values: list[str]) -> list[str]:
    """Numbers by size; other values as they come."""
    if all(value.isdigit() for value in values):
        return sorted(values, key=int)
    return values


def _over_voices(
    keys: Sequence[str], table: Float64[np.ndarray, "n c"]
) -> Float64[np.ndarray, "k c"]:
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    index = np.array([places[key] for key in keys])
    sums = np.zeros((len(places), table.shape[1]))
    np.add.at(sums, index, table)
    return sums / np.bincount(index)[:, None]
