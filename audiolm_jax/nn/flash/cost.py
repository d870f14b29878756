"""What the flash-attention kernels do and how long they take, told from shapes alone.

The compiler puts no estimate on a kernel. The cycles here were counted in its final schedule of
these very kernels, waits for the matrix units included (`benchmarks/flash_schedule.py` counts again
after a change; its text says what was assumed). Left out: waits for main memory beyond its
bandwidth, and whatever slows a real chip. Nothing was measured on a TPU.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

COUNTED_BLOCK = 384
COUNTED_HEAD_WIDTH = 64
_BLOCK_VALUES = {"forward": 4, "backward": 8}  # sequences of a head that enter or leave
_PRODUCTS = {"forward": 2, "backward": 5}  # matrix products for each block of scores
_NAME = re.compile(r"flash_attention_(forward|backward)_(\d+)")

Kind = Literal["forward", "backward"]


class Schedule(NamedTuple):
    """Cycles of a core, at block 384, head width 64, bfloat16.

    Attributes:
      program: once for each head of each sequence.
      positions: for each 128 positions.
      row: for each block on the diagonal, with what is done once for a row of blocks.
      beside: for each block next to the diagonal.
      far: for each block beyond.
    """

    program: float
    positions: float
    row: float
    beside: float
    far: float


SCHEDULES: dict[str, Mapping[Kind, Schedule]] = {
    "v4": {
        "forward": Schedule(260, 28.3, 1462, 1268, 1259),
        "backward": Schedule(324, 36.0, 2432, 2109, 2111),
    },
    "v5e": {
        "forward": Schedule(47, 23.6, 1068, 1037, 1020),
        "backward": Schedule(138, 23.5, 2131, 2016, 2011),
    },
    "v5p": {
        "forward": Schedule(112, 23.3, 1073, 1031, 1021),
        "backward": Schedule(264, 23.5, 2141, 1996, 1993),
    },
    "v6e": {
        "forward": Schedule(62, 12.8, 759, 714, 716),
        "backward": Schedule(140, 11.8, 1035, 925, 926),
    },
}


@dataclasses.dataclass(frozen=True)
class FlashCost:
    """One run of a kernel on one device.

    Attributes:
      operations: of its matrix products, masked and padded scores included.
      exponentials: one for each score.
      hbm_bytes: every operand and result once.
    """

    operations: int
    exponentials: int
    hbm_bytes: int


def flash_cost(
    kind: Kind, batch: int, heads: int, length: int, head_width: int, block: int, itemsize: int = 2
) -> FlashCost:
    """Counts what a kernel does.

    Args:
      kind: of the two kernels.
      batch: sequences on the device.
      heads: of each, on the device.
      length: positions.
      head_width: dimensions of a head.
      block: positions of a block.
      itemsize: bytes of a number of queries, keys and values.
    """
    blocks = -(-length // block)
    scores = batch * heads * blocks * (blocks + 1) // 2 * block**2
    moved = _BLOCK_VALUES[kind] * head_width * itemsize + 4  # and the log-sum-exp
    return FlashCost(
        operations=2 * _PRODUCTS[kind] * scores * head_width,
        exponentials=scores,
        hbm_bytes=batch * heads * length * moved,
    )


def flash_cycles(
    kind: Kind,
    batch: int,
    heads: int,
    length: int,
    head_width: int,
    block: int,
    *,
    generation: str,
    cores: int,
    bytes_per_cycle: float,
) -> float | None:
    """Estimated cycles of one run of a kernel on one device, in bfloat16.

    A block or head width other than the counted one is taken in proportion to the scores and to
    whole multiples of the width. Memory moves while the core computes, the longer counts; the
    first operands of a core are waited for.

    Args:
      kind: of the two kernels.
      batch: sequences on the device.
      heads: of each, on the device; they are what the cores of a device share.
      length: positions.
      head_width: dimensions of a head.
      block: positions of a block.
      generation: such as "v5p".
      cores: of a device: 2 on v4 and v5p, whose two cores work as one.
      bytes_per_cycle: of the device's main memory.

    Returns:
      Cycles, None if the kernel was not counted for that generation.
    """
    schedule = SCHEDULES.get(generation, {}).get(kind)
    if schedule is None:
        return None
    rows = -(-length // block)
    scale = (block / COUNTED_BLOCK) ** 2 * math.ceil(head_width / COUNTED_HEAD_WIDTH)
    once = schedule.program + schedule.positions * rows * block / 128
    beside, far = max(rows - 1, 0), max((rows - 1) * (rows - 2) // 2, 0)
    visits = schedule.row * rows + schedule.beside * beside + schedule.far * far
    programs = batch * math.ceil(heads / cores)
    moved = flash_cost(kind, batch, heads, length, head_width, block).hbm_bytes / bytes_per_cycle
    return max(programs * (once + scale * visits), moved) + moved / (programs * 2)


def kernel_cycles(
    name: str,
    query: tuple[str, tuple[int, ...]],
    *,
    generation: str,
    cores: int,
    bytes_per_cycle: float,
) -> float | None:
    """`flash_cycles` of a kernel found in a compiled program; None if it is not one of these.

    Args:
      name: contains that given to the kernel; it holds kind and block.
      query: dtype as in HLO, such as "bf16", and shape of the first operand, [b, h, k, l].
      generation: as in `flash_cycles`.
      cores: as in `flash_cycles`.
      bytes_per_cycle: as in `flash_cycles`.
    """
    found, (dtype, shape) = _NAME.search(name), query
    if found is None or dtype != "bf16":
        return None
    batch, heads, head_width, length = shape
    return flash_cycles(
        found[1],
        batch,
        heads,
        length,
        head_width,
        int(found[2]),
        generation=generation,
        cores=cores,
        bytes_per_cycle=bytes_per_cycle,
    )
