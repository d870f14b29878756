"""Names of machines to plan for, as clouds spell them, and what they stand for; needs no JAX.

v4:2x2x4        chips along each axis of a slice, as libtpu names it
v5litepod-16    a slice by its size, as Google Cloud names it (accelerator type); also v5e-16
v4-32, v5p-32   the same of generations whose size counts TensorCores, two a chip
h100x8          cards of a kind, times how many of them
"""

import dataclasses
import difflib
import math
import re

from audiolm_jax.errors import InputError

# The slice that a number of chips gets: of v5e and v6e there are no others, of v4 and v5p the one
# nearest to a cube (Cloud TPU documentation, pages v5e, v6e, v5p, and of v4 "types-topologies":
# "the default topology is the one most similar to a cube").
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_DEEP = (
    *("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16"),
    *("8x16x16", "16x16x16", "16x16x24"),
)
_SHAPES = {"v4": _DEEP[:10], "v5e": _FLAT, "v5p": _DEEP, "v6e": _FLAT}
# What the number behind a generation's name counts, for each chip.
_CORES = {"v4": 2, "v5e": 1, "v5p": 2, "v6e": 1}
_ALSO = {"v5litepod": "v5e", "v5lite": "v5e"}


@dataclasses.dataclass(frozen=True)
class Card:
    """A graphics card, by its maker's data sheet; without sparsity."""

    name: str
    bfloat16_flops: float  # operations per second of its matrix units, sums in float32
    memory_bytes: float
    bytes_per_second: float  # of its memory

    @property
    def float32_flops(self) -> float:
        """Of products of float32 numbers, which JAX rounds to TF32 unless told otherwise: on all
        of these half of bfloat16."""
        return self.bfloat16_flops / 2


# NVIDIA's data sheets and white papers (Ampere GA102, Ada, A100, L4, L40S, H100, H200). Sheets
# that print "with sparsity" print twice these.
CARDS = {
    card.name: card
    for card in (
        Card("rtx3090", 71e12, 24e9, 936e9),
        Card("rtx4090", 165.2e12, 24e9, 1008e9),
        Card("a10", 125e12, 24e9, 600e9),
        Card("l4", 121e12, 24e9, 300e9),
        Card("l40s", 362e12, 48e9, 864e9),
        Card("a100-40", 312e12, 40e9, 1555e9),
        Card("a100-80", 312e12, 80e9, 2039e9),
        Card("h100", 989.4e12, 80e9, 3350e9),
        Card("h200", 989.4e12, 141e9, 4800e9),
    )
}
FORM = (
    "a slice by chips (v4:2x2x4, v5e:4x4), as Google Cloud names it (v4-32, v5litepod-16, v5p-32, "
    f"v6e-16), or cards such as h100x8, of {', '.join(CARDS)}"
)


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice of a TPU."""

    name: str  # as it was given
    shape: str  # as libtpu names it, such as "v4:2x2x4"


@dataclasses.dataclass(frozen=True)
class Cards:
    """Graphics cards of one kind."""

    name: str  # as it was given
    card: Card
    count: int


def read_machine(text: str) -> Slice | Cards:
    """What a name stands for; InputError with the nearest names if nothing does. Whether libtpu
    knows the shape of a slice given by chips is seen when it is compiled for."""
    name = text.strip().lower()
    generation, colon, shape = name.partition(":")
    generation = _ALSO.get(generation, generation)
    if colon and generation in _SHAPES:
        return Slice(text, f"{generation}:{shape}")
    generation, dash, size = name.rpartition("-")
    generation = _ALSO.get(generation, generation)
    if dash and generation in _SHAPES and size.isdecimal():
        return Slice(text, f"{generation}:{_shape_of(text, generation, int(size))}")
    if re.match(r"ct\d\w*-", name):
        why = "a kind of virtual machine, of which a slice has one or several"
        raise InputError(f"topology {text!r}: {why}; name the slice, such as v5e-16 or v5e:4x4")
    cards, times, count = name.rpartition("x")
    if times and cards in CARDS and re.fullmatch(r"[1-9]\d{0,4}", count):
        return Cards(text, CARDS[cards], int(count))
    if name in CARDS:
        raise InputError(f"topology {text!r}: say how many cards, such as {name}x1 or {name}x8")
    raise InputError(f"topology {text!r}: unknown; {_nearest(name)}expected {FORM}")


def sizes_of(generation: str) -> dict[int, str]:
    """Slices of a generation by the number that Google Cloud puts behind its name."""
    return {_CORES[generation] * _chips(shape): shape for shape in _SHAPES[generation]}


def _shape_of(text: str, generation: str, size: int) -> str:
    sizes = sizes_of(generation)
    if size not in sizes:
        nearest = sorted(sorted(sizes, key=lambda known: abs(known - size))[:2])
        names = " and ".join(f"{generation}-{known} ({sizes[known]})" for known in nearest)
        counted = "TensorCores, two a chip" if _CORES[generation] == 2 else "chips"
        raise InputError(
            f"topology {text!r}: no slice has so many {counted}; the nearest are {names}; others "
            f"are named by their chips, such as {generation}:{sizes[nearest[0]]}"
        )
    return sizes[size]


def _nearest(name: str) -> str:
    card, _, count = name.rpartition("x")
    kinds = [f"{kind}x{count}" for kind in CARDS if card and kind.startswith(f"{card}-")]
    known = [f"{generation}-{size}" for generation in _SHAPES for size in sizes_of(generation)]
    known += [f"v5litepod-{size}" for size in sizes_of("v5e")]
    known += [f"{kind}x{number}" for kind in CARDS for number in (1, 2, 4, 8)]
    found = kinds or difflib.get_close_matches(name, known, n=2)
    return f"nearest: {' and '.join(found)}; " if found else ""


def _chips(shape: str) -> int:
    return math.prod(map(int, shape.split("x")))
