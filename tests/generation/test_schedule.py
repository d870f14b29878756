"""Windows, chunks and unspoken tokens, on random lengths."""

import numpy as np
import pytest

from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.schedule import Schedule, Window, schedule_of, spoken_tokens
from audiolm_jax.stages import StageConfig


def test_a_schedule_by_hand():
    schedule = Schedule(window=500, context=150, chunk=150, fine_context=0, first_chunk=50)
    assert list(schedule.windows(150, 500)) == [Window(150, (50, 150, 150))]
    assert list(schedule.windows(150, 1000)) == [
        Window(150, (50, 150, 150)),
        Window(150, (150, 150, 50)),
        Window(350, (150,)),
    ]
    assert list(schedule.windows(0, 520)) == [Window(0, (50, 150, 150, 150)), Window(480, (20,))]


@pytest.mark.parametrize(
    ("share", "first", "chunk", "told", "first_chunk"),
    [
        (0.0, 1.0, 80, 0, 50),
        (0.5, 1.0, 40, 40, 40),
        (0.5, 0.2, 40, 40, 10),
        (0.999, 1.0, 1, 79, 1),  # a frame at least is new
    ],
)
def test_chunks_are_what_their_context_leaves_of_the_crop(share, first, chunk, told, first_chunk):
    crops = {"coarse": 5.0, "fine": 1.6}
    stages = {name: StageConfig(name, crop_seconds=crop) for name, crop in crops.items()}
    config = GenerationConfig(fine_context_share=share, first_seconds=first)
    assert schedule_of(stages, config) == Schedule(250, 150, chunk, told, first_chunk)
    del stages["fine"]
    assert schedule_of(stages, config) == Schedule(250, 150, 150, 0, round(first * 25) * 2)


def test_a_window_cut_short_keeps_its_first_frames():
    window = Window(150, (50, 150, 150))
    assert window.cut(350) == window.cut(900) == window
    assert window.cut(60) == Window(150, (50, 10))
    assert window.cut(50) == Window(150, (50,))
    assert window.cut(0) == Window(150, ())


@pytest.mark.parametrize("seed", range(40))
def test_every_frame_is_made_once_from_context_enough(seed):
    rng = np.random.default_rng(seed)
    window = int(rng.integers(2, 300))
    context = int(rng.integers(1, window))
    chunk, first_chunk = (int(n) for n in rng.integers(1, 200, 2))
    schedule = Schedule(window, context, chunk, 0, first_chunk)
    there = start = int(rng.integers(0, 400))
    total = there + int(rng.integers(1, 2000))
    windows = list(schedule.windows(there, total))
    for made in windows:
        assert made.context + made.frames <= window
        assert min(there, context) <= made.context <= there
        assert all(0 < frames <= max(chunk, first_chunk) for frames in made.chunks)
        assert made.starts == tuple(np.cumsum((0, *made.chunks[:-1])))
        there += made.frames
    assert there == total
    assert windows[0].chunks[0] <= first_chunk
    # Linear: no more windows than there are strides, and one.
    assert len(windows) <= -(-(total - start) // (window - context)) + 1


def test_a_longer_one_begins_like_a_shorter_one():
    schedule = Schedule(window=500, context=150, chunk=150, fine_context=0, first_chunk=50)
    long = list(schedule.windows(150, 150 + 350 * 7))
    assert list(schedule.windows(150, 150 + 350 * 3)) == long[:3]


@pytest.mark.parametrize(
    ("told", "heard", "spoken"),
    [
        ([1, 2, 3, 4, 5], [2, 3], 3),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], 5),
        ([1, 2, 3, 4, 5], [2, 9, 3, 4], 4),  # one heard wrongly
        ([1, 2, 3, 2, 3, 4], [2, 3], 5),  # the last of equally good places
        ([1, 2, 3], [7, 8, 9], 3),  # nothing fits: all counts as spoken
        ([1, 2, 3], [], 3),
        ([], [1, 2], 0),
    ],
)
def test_how_many_tokens_are_spoken(told, heard, spoken):
    assert spoken_tokens(np.array(told, np.int32), np.array(heard, np.int32)) == spoken


@pytest.mark.parametrize("seed", range(10))
def test_a_stretch_with_faults_is_found_where_it_lies(seed):
    rng = np.random.default_rng(seed)
    told = rng.integers(0, 200, 120).astype(np.int32)
    end = int(rng.integers(50, 121))
    heard = told[end - 40 : end].copy()
    heard[rng.integers(0, 37, 6)] = 777  # not the last: these say where it ends
    heard = np.delete(heard, rng.integers(0, 37, 4))
    assert spoken_tokens(told, heard) == end
