import itertools
import threading
import time

import pytest

from audiolm_jax.data.prefetch import prefetch


def test_order_and_end_are_those_of_the_source():
    assert list(prefetch(lambda: iter(range(7)), 2)) == list(range(7))


def test_an_error_comes_where_its_item_is_asked_for():
    def source():
        yield 1
        raise OSError("damaged")

    items = prefetch(source, 4)
    assert next(items) == 1
    with pytest.raises(OSError, match="damaged"):
        next(items)


def test_only_so_many_are_made_ahead_and_closing_ends_thread_and_source():
    made, ended = [], threading.Event()

    def source():
        try:
            for number in itertools.count():
                made.append(number)
                yield number
        finally:
            ended.set()

    items = prefetch(source, 3)
    assert next(items) == 0
    time.sleep(0.3)
    assert made[-1] <= 5  # one used, three ready, one in hand
    items.close()
    assert ended.wait(5)
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]
