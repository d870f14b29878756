"""One process of several that share a list of work and need not know of each other."""

import dataclasses
import re
from collections.abc import Sequence
from typing import TypeVar

from audiolm_jax.errors import InputError

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Worker:
    """Number `number` of `count`, from 0."""

    number: int
    count: int

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """What this one is answerable for."""
        return items[self.number :: self.count]

    def in_order(self, items: Sequence[Item]) -> list[Item]:
        """Its share, then those of the others, who may be slower or gone."""
        return [
            item
            for offset in range(self.count)
            for item in items[(self.number + offset) % self.count :: self.count]
        ]


ALONE = Worker(0, 1)


def read_worker(text: str) -> Worker:
    """Of "3/16"; InputError if it is none."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 0 <= int(found[1]) < int(found[2]):
        raise InputError(f"--worker {text}: expected a number below another, such as 0/4")
    return Worker(int(found[1]), int(found[2]))
