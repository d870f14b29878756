"""Which A, B and X an ABX test compares.

X and A are the same triphone, B differs from them in the middle phone only. Within speakers all
three come from one speaker, across speakers X comes from another than A and B. A cell is all
triplets of one (phone of A, phone of B, context, speaker, speaker of X).
"""

import dataclasses
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.items import Item

Mode = Literal["within", "across"]
MODES: tuple[Mode, ...] = ("within", "across")


@dataclasses.dataclass(frozen=True)
class AbxConfig:
    """What is compared and how much of it."""

    max_size_group: int | None = 10
    """Items of one phone, context and speaker that take part; more are drawn by lot. None takes
    all. Libri-Light: 10."""
    max_x_across: int | None = 5
    """Speakers that X comes from, for each A; more are drawn by lot. None takes all. Libri-Light:
    5."""
    seed: int = 0
    """Of both draws. They depend on nothing but it and the names of the group."""

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--abx.max-size-group", self.max_size_group, 2),
            ("--abx.max-x-across", self.max_x_across, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{flag} {value}: expected {least} or more, or None for all")
        if self.seed < 0:
            raise InputError(f"--abx.seed {self.seed}: expected 0 or more")


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
