"""Weights as whole numbers of a unit for each block."""

import numpy as np
import pytest

from audiolm_jax.artifacts.eight_bits import BLOCK, from_eight_bits, to_eight_bits
from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.errors import InputError


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (32, 4), (5, 3, 11), (1, 129)])
@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-2, 1.0, 6e3])
@pytest.mark.parametrize(("bits", "most"), [(8, 127), (6, 31)])
def test_each_value_is_within_half_a_unit(shape, scale, bits, most):
    rng = np.random.default_rng(sum(shape))
    array = (scale * rng.standard_t(2, shape)).astype(np.float32)
    stored = to_eight_bits("a", array, bits)
    assert {name: x.dtype for name, x in stored.items()} == {
        "a": np.int8,
        "a.units": np.float16,
    }
    assert stored["a"].shape == array.shape
    assert np.abs(stored["a"].astype(int)).max() <= most
    units = np.repeat(stored["a.units"].astype(np.float64), BLOCK)[: array.size].reshape(shape)
    back = from_eight_bits(stored)["a"]
    assert back.dtype == np.float32
    assert np.all(np.abs(back.astype(np.float64) - array) <= units * 0.5001)
    assert np.all(units <= np.abs(array).max() / most * 1.002 + 6e-8)


def test_zeros_stay_and_what_has_no_units_is_left_alone():
    stored = to_eight_bits("a", np.zeros((2, 40), np.float32)) | {"n": np.int8([[1, 2]])}
    back = from_eight_bits(stored)
    assert not back["a"].any()
    np.testing.assert_array_equal(back["n"], stored["n"])


def test_damage_and_what_is_too_large_are_named(tmp_path):
    with pytest.raises(InputError, match="a: holds numbers too large for 8 bits"):
        to_eight_bits("a", np.float32([[1.0, 1e7]]))
    stored = to_eight_bits("a", np.ones((2, 40), np.float32))
    bad = (
        {"a.units": stored["a.units"]},
        stored | {"a.units": stored["a.units"][:1]},
        stored | {"a": stored["a"].astype(np.int16)},
    )
    for number, arrays in enumerate(bad):
        save_model(tmp_path / str(number), "toy", {}, arrays, {})
        with pytest.raises(InputError, match=r"a.*units.*release the model again"):
            load_model(tmp_path / str(number))
