"""The rule by which something long is cut."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.data.windows import WindowsOfAll, even_windows


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_windows_are_consecutive_even_and_the_fewest(length, longest):
    windows = even_windows(length, longest)
    edges = [0, *(stop for _, stop in windows)]
    assert [start for start, _ in windows] == edges[:-1]
    assert edges[-1] == length
    sizes = {stop - start for start, stop in windows}
    assert len(windows) == -(-length // longest)
    assert not sizes or max(sizes) <= longest
    assert not sizes or max(sizes) - min(sizes) <= 1


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 300)), min_size=1, max_size=9))
def test_windows_of_all_are_those_of_each(pairs):
    lengths, longest = np.array(pairs).T
    for limit, limits in ((longest, longest), (17, [17] * len(pairs))):
        windows = WindowsOfAll(lengths, limit)
        expected = [
            (item, *window)
            for item, (length, most) in enumerate(zip(lengths, limits, strict=True))
            for window in even_windows(int(length), int(most))
        ]
        assert len(windows) == len(expected)
        assert list(zip(*windows.at(np.arange(len(windows))), strict=True)) == expected
        assert windows[len(windows) - 1] == expected[-1]
