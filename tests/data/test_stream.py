import numpy as np
import pytest

from audiolm_jax.data.stream import spread


@pytest.mark.parametrize(("total", "most"), [(10, 3), (7, 6), (562_500, 12_800), (5, 1)])
def test_one_of_each_stretch(total, most):
    chosen = spread(total, most)
    assert len(chosen) == most
    assert list(chosen) == sorted(set(chosen)) == list(spread(total, most))
    for part, number in enumerate(chosen):
        assert part * total // most <= number < (part + 1) * total // most


@pytest.mark.parametrize("most", [None, 4, 5])
def test_all_where_there_are_no_more(most):
    assert list(spread(4, most)) == [0, 1, 2, 3]


def test_no_period_of_the_data_is_hit():
    """Twenty windows a clip, every twentieth wanted: not always the same place of the clip."""
    places = np.bincount(np.array(spread(20_000, 1_000)) % 20, minlength=20)
    assert places.min() > 20
