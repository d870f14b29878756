"""Names of slices and cards: what they stand for, and what is said of others."""

import math

import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.tpu_plan.names import CARDS, Cards, Slice, read_machine, sizes_of


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("v4:2x2x4", "v4:2x2x4"),
        ("v4-8", "v4:2x2x1"),
        ("v4-32", "v4:2x2x4"),
        ("v4-128", "v4:4x4x4"),
        ("v5p-32", "v5p:2x2x4"),
        ("v5p-64", "v5p:2x4x4"),
        ("v5p-12288", "v5p:16x16x24"),
        ("v5e-8", "v5e:2x4"),
        ("v5e-16", "v5e:4x4"),
        ("v5litepod-64", "v5e:8x8"),
        ("v5litepod:4x8", "v5e:4x8"),
        ("V6E-16", "v6e:4x4"),
        ("v6e-256", "v6e:16x16"),
    ],
)
def test_slices(name, shape):
    assert read_machine(name) == Slice(name, shape)


def test_sizes_count_chips_or_cores():
    for generation, cores in (("v4", 2), ("v5p", 2), ("v5e", 1), ("v6e", 1)):
        for size, shape in sizes_of(generation).items():
            axes = [int(axis) for axis in shape.split("x")]
            assert size == cores * math.prod(axes)
            assert axes == sorted(axes) or size <= 8  # 2x2x1 is one host


@pytest.mark.parametrize(
    ("name", "card", "count"), [("h100x8", "h100", 8), ("A100-40x1", "a100-40", 1)]
)
def test_cards(name, card, count):
    assert read_machine(name) == Cards(name, CARDS[card], count)


def test_float32_products_run_as_tf32():
    assert CARDS["a100-80"].float32_flops == 156e12  # of the data sheet


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("v4-31", "TensorCores, two a chip; the nearest are v4-16 (2x2x2) and v4-32 (2x2x4)"),
        ("v5e-12", "so many chips; the nearest are v5e-8 (2x4) and v5e-16 (4x4)"),
        ("v3-8", "nearest: v4-8"),
        ("h100", "say how many cards, such as h100x1"),
        ("a100x8", "nearest: a100-40x8 and a100-80x8"),
        ("h100-8", "nearest: h100x8"),
        ("h100x0", "unknown"),
        ("ct5lp-hightpu-4t", "name the slice, such as v5e-16"),
        ("nonsense", "expected a slice by chips"),
        ("", "expected a slice by chips"),
    ],
)
def test_others_are_one_line_with_the_nearest(name, fragment):
    with pytest.raises(InputError) as refused:
        read_machine(name)
    assert fragment in str(refused.value)
    assert "\n" not in str(refused.value)
