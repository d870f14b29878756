"""Frames in blocks of one size, and who has which: the unit of what is stored, computed and added.

Blocks are dealt out in turn to the devices that divide a batch, so a round is as many consecutive
blocks as there are such devices. What a block gives depends on its frames alone, and blocks are
added in their order: neither devices nor hosts change a bit.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
from jax.sharding import Mesh

from audiolm_jax.training.mesh import host_parts, part_count

_ROUND = 256  # few frames make a block of a multiple of this


@runtime_checkable
class Frames(Protocol):
    """float32 [n, d]: a NumPy array, or `StoredFeatures`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> Any:
        """float32 [r, d] of a slice or of int [r]; a host may be asked for its own blocks alone."""


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The blocks of so many frames."""

    frames: int
    size: int  # frames of a block; the last one may have fewer
    parts: int  # blocks of a round
    own: tuple[int, ...]  # the places in a round whose blocks this host's devices take
    # Of these, the places that no host of a lower number takes too.
    first: tuple[int, ...]

    @property
    def count(self) -> int:
        """Blocks in all."""
        return -(-self.frames // self.size)

    @property
    def rounds(self) -> int:
        """Rounds; the last one may have fewer blocks."""
        return -(-self.count // self.parts)

    def rows(self, number: int) -> slice:
        """The frames of a block, none of one behind the last."""
        return slice(*(min(n * self.size, self.frames) for n in (number, number + 1)))

    def is_first(self, number: int) -> bool:
        """Whether it is for this host to say what is in a block."""
        return number % self.parts in self.first


def divide(frames: int, block_frames: int, mesh: Mesh | None) -> Blocks:
    """Blocks of `block_frames`, or one if there are fewer frames."""
    size = min(block_frames, -(-frames // _ROUND) * _ROUND)
    own = host_parts(mesh)
    before = [host_parts(mesh, host) for host in range(jax.process_index())] if mesh else []
    first = tuple(part for part in own if not any(part in parts for parts in before))
    return Blocks(frames, size, part_count(mesh), own, first)
