"""What the flash-attention kernels do and how long they take, told from shapes alone.

The compiler puts no estimate on a kernel. The cycles here were counted in its final schedule of
these very kernels (`benchmarks/flash_schedule.py` counts again and says what is assumed), without
waits for main memory beyond its bandwidth. Nothing was measured on a TPU.
"""

import dataclasses
import math
import re
from typing import Literal, NamedTuple, cast

COUNTED_BLOCK = 384
COUNTED_HEAD_WIDTH = 64
_BLOCK_VALUES = {"forward": 4, "backward": 8}  # sequences of a head that enter or leave
_PRODUCTS = {"forward": 2, "backward": 5}  # matrix products for each block of scores
_NAME = re.compile(r"flash_attention_(forward|backward)_(\d+)")

Kind = Literal["forward", "backward"]


class Schedule(NamedTuple):
    """Cycles of a core at one size of block, head width 64, bfloat16."""

    program: float  # once for each head of each sequence
    positions: float  # for each 128 positions
    row: float  # for each block on the diagonal, with what is done once for a row of blocks
    beside: float  # for each block next to the diagonal
    far: float  # for each block beyond


# At block 384; another block is taken in proportion, unless it is counted below.
SCHEDULES: dict[tuple[str, Kind], Schedule] = {
    ("v4", "forward"): Schedule(260, 28.3, 1462, 1268, 1259),
    ("v4", "backward"): Schedule(324, 36.0, 2432, 2109, 2111),
    ("v5e", "forward"): Schedule(47, 23.6, 1068, 1037, 1020),
    ("v5e", "backward"): Schedule(138, 23.5, 2131, 2016, 2011),
    ("v5p", "forward"): Schedule(112, 23.3, 1073, 1031, 1021),
    ("v5p", "backward"): Schedule(264, 23.5, 2141, 1996, 1993),
    ("v6e", "forward"): Schedule(62, 12.8, 759, 714, 716),
    ("v6e", "backward"): Schedule(140, 11.8, 1035, 925, 926),
}
OTHER_BLOCKS: dict[tuple[str, Kind, int], Schedule] = {
    ("v4", "forward", 768): Schedule(260, 28.3, 4136, 3638, 3642),
    ("v4", "backward", 768): Schedule(324, 36.0, 6739, 5515, 5503),
    ("v5e", "forward", 768): Schedule(47, 23.6, 2848, 2589, 2636),
    ("v5e", "backward", 768): Schedule(138, 23.5, 5695, 5375, 5375),
    ("v5p", "forward", 768): Schedule(112, 23.3, 2824, 2610, 2590),
    ("v5p", "backward", 768): Schedule(264, 23.5, 5693, 5381, 5376),
    ("v6e", "forward", 768): Schedule(62, 12.8, 1832, 1652, 1659),
    ("v6e", "backward", 768): Schedule(140, 11.8, 2814, 2492, 2483),
}


class FlashCost(NamedTuple):
    """One run of a kernel on one device."""

    operations: int  # of its matrix products, masked and padded scores included
    exponentials: int  # one for each score
    hbm_bytes: int  # every operand and result once


@dataclasses.dataclass(frozen=True)
class FlashKernel:
    """One of the two kernels at one size, all as on one device."""

    kind: Kind
    batch: int  # sequences
    heads: int  # of each sequence
    length: int  # positions
    head_width: int
    block: int  # positions of a block of scores

    @property
    def name(self) -> str:
        """Tells the kernel, and what its shapes do not, in a compiled program."""
        return f"flash_attention_{self.kind}_{self.block}"

    @classmethod
    def from_program(
        cls, name: str, dtype: str, query_shape: tuple[int, ...]
    ) -> "FlashKernel | None":
        """The kernel by its name and first operand [b, h, k, l]; None if its cycles are unknown."""
        match = _NAME.search(name)
        if match is None or dtype != "bf16":
            return None
        batch, heads, head_width, length = query_shape
        return cls(cast(Kind, match[1]), batch, heads, length, head_width, int(match[2]))

    def cost(self, itemsize: int = 2) -> FlashCost:
        """Work and traffic; `itemsize` is the bytes of a number of queries, keys and values."""
        sequences, blocks = self.batch * self.heads, -(-self.length // self.block)
        scores = sequences * blocks * (blocks + 1) // 2 * self.block**2
        moved = _BLOCK_VALUES[self.kind] * self.head_width * itemsize + 4  # the log-sum-exp
        return FlashCost(
            operations=2 * _PRODUCTS[self.kind] * scores * self.head_width,
            exponentials=scores,
            hbm_bytes=sequences * self.length * moved,
        )

    def cycles(self, generation: str, cores: int, bytes_per_cycle: float) -> float | None:
        """Estimated cycles of one run in bfloat16; None if not counted for the generation ("v5p").

        Another block or head width than the counted one is taken in proportion to the scores and to
        whole multiples of the width. Memory moves while the core computes, the longer counts; a
        core waits for its first operands. A device's `cores`, 2 on v4 and v5p, share its heads.
        """
        scale = 1.0
        schedule = OTHER_BLOCKS.get((generation, self.kind, self.block))
        if schedule is None:
            schedule = SCHEDULES.get((generation, self.kind))
            scale = (self.block / COUNTED_BLOCK) ** 2
        if schedule is None:
            return None
        rows = -(-self.length // self.block)
        scale *= math.ceil(self.head_width / COUNTED_HEAD_WIDTH)
        once = schedule.program + schedule.positions * rows * self.block / 128
        beside, far = max(rows - 1, 0), max((rows - 1) * (rows - 2) // 2, 0)
        visits = schedule.row * rows + schedule.beside * beside + schedule.far * far
        programs = self.batch * math.ceil(self.heads / cores)
        moving = self.cost().hbm_bytes / bytes_per_cycle
        return max(programs * (once + scale * visits), moving) + moving / (programs * 2)
