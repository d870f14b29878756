"""The rule by which something long is cut."""

from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.data.windows import even_windows


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
