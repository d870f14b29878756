"""An accelerator trains as the CPU does. On a machine with one, with the extra for it installed:

    AUDIOLM_TEST_PLATFORM=cuda python -m pytest -m gpu -s
    AUDIOLM_TEST_PLATFORM=tpu python -m pytest -m tpu -s

Neither was at hand: what is marked was not run. The first test is of the comparison itself.
"""

import jax
import numpy as np
import pytest
from support import device_parity as parity

STEPS = 50


@pytest.mark.slow
def test_the_comparison_finds_what_differs_and_nothing_else():
    first, second = jax.devices("cpu")[:2]
    program = parity.stage()
    one, two = (parity.losses(program, parity.tokens, at, 8) for at in (first, second))
    np.testing.assert_array_equal(one, two)
    assert one[-1] < 0.9 * one[0]
    narrow = parity.losses(parity.stage(dtype="bfloat16"), parity.tokens, first, 8)
    assert 1e-5 < parity.largest_difference(narrow, one) < 0.1


def compare(program, batches, steps, loss="loss", exact=None):
    """Largest relative difference of the first device's losses from the CPU's."""
    found = parity.losses(program, batches, jax.devices()[0], steps, loss)
    expected = parity.losses(exact or program, batches, jax.devices("cpu")[0], steps, loss)
    difference = parity.largest_difference(found, expected)
    print(f"{jax.devices()[0].device_kind}: {difference:.2e} after {found[0]:.3f}, {found[-1]:.3f}")
    return difference


@pytest.mark.gpu
@pytest.mark.tpu
def test_a_stage_trains_as_on_the_cpu():
    assert compare(parity.stage(), parity.tokens, STEPS) < 1e-3


@pytest.mark.parametrize(
    "attention",
    [
        pytest.param("cudnn", marks=pytest.mark.gpu),
        pytest.param("flash", marks=pytest.mark.tpu),
    ],
)
def test_kernels_of_attention_train_as_blocks_on_the_cpu(attention):
    """Of bfloat16, against float32."""
    own = parity.stage(attention, "bfloat16")
    assert compare(own, parity.tokens, STEPS, exact=parity.stage()) < 0.05


@pytest.mark.gpu
@pytest.mark.tpu
def test_a_codec_trains_as_on_the_cpu():
    """Its discriminators answer rounding, so the steps are few and the loss is the spectral one."""
    assert compare(parity.codec(), parity.sounds, 10, "spectral_loss") < 0.02
