"""Which A, B and X an ABX test compares.

X and A are the same triphone, B differs from them in the middle phone only. Within speakers all
three come from one speaker, across speakers X comes from another than A and B. A cell is all
triplets of one (phone of A, phone of B, context, speaker, speaker of X).
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from audiolm_jax.evaluation.abx.config import AbxConfig, Mode
from audiolm_jax.evaluation.abx.items import Item


class Group(NamedTuple):
    """Items of one phone and speaker in one context; `members` index the items."""

    phone: str
    speaker: str
    members: np.ndarray


class Comparison(NamedTuple):
    """One A and one X beside every B of the same context and speaker: a cell for each B."""

    mode: Mode
    a: Group
    x: Group
    b: tuple[Group, ...]


def group_items(items: Sequence[Item], config: AbxConfig) -> dict[str, list[Group]]:
    """The groups of each context "previous following", sorted by speaker and phone."""
    members_of: dict[tuple[str, str, str], list[int]] = {}
    for index, item in enumerate(items):
        context = f"{item.previous} {item.following}"
        members_of.setdefault((context, item.speaker, item.phone), []).append(index)
    contexts: dict[str, list[Group]] = {}
    for (context, speaker, phone), members in sorted(members_of.items()):
        drawn = _draw(len(members), config.max_size_group, config.seed, context, speaker, phone)
        contexts.setdefault(context, []).append(Group(phone, speaker, np.array(members)[drawn]))
    return contexts


def comparisons(context: str, groups: Sequence[Group], config: AbxConfig) -> Iterator[Comparison]:
    """Everything to compare in one context."""
    by_speaker: dict[str, list[Group]] = {}
    by_phone: dict[str, list[Group]] = {}
    for group in groups:
        by_speaker.setdefault(group.speaker, []).append(group)
        by_phone.setdefault(group.phone, []).append(group)
    for a in groups:
        b = tuple(group for group in by_speaker[a.speaker] if group.phone != a.phone)
        if not b:
            continue
        if len(a.members) > 1:
            yield Comparison("within", a, a, b)
        others = [group for group in by_phone[a.phone] if group.speaker != a.speaker]
        names = (context, a.speaker, a.phone)
        for index in _draw(len(others), config.max_x_across, config.seed, "x", *names):
            yield Comparison("across", a, others[index], b)


def _draw(count: int, most: int | None, seed: int, *names: str) -> Int[np.ndarray, " n"]:
    """Indices of the chosen, in rising order."""
    if most is None or count <= most:
        return np.arange(count)
    generator = np.random.default_rng([seed, zlib.crc32("\n".join(names).encode())])
    return np.sort(generator.choice(count, most, replace=False))
