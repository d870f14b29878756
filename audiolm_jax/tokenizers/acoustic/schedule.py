"""Recordings cut into windows of few sizes, so that memory is bounded and few programs compile.

A schedule is a sequence of runs; a run is a sequence of calls, each of windows of one size that are
computed side by side. The network's state goes from call to call of a run.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

HALVINGS = 2  # besides the largest windows with context there are those of a half and a quarter


class Window(NamedTuple):
    """A stretch of a recording, in frames."""

    row: int  # the recording's place in its batch
    start: int
    size: int  # it may go beyond the end of the recording
    first: int  # first frame whose result is kept
    stop: int  # end of those that are kept


Run = list[list[Window]]


def run_in_step(lengths: Int[np.ndarray, " b"], block_frames: int, rows: int) -> Iterator[Run]:
    """Blocks in order, for a causal network: up to `rows` recordings of like lengths advance
    together. One that has ended keeps its place, with nothing to keep."""
    order = sorted((frames, row) for row, frames in enumerate(lengths.tolist()) if frames)
    for begin in range(0, len(order), rows):
        group = order[begin : begin + rows]
        starts, size = range(0, group[-1][0], block_frames), block_frames
        yield [
            [Window(row, i, size, min(i, frames), min(i + size, frames)) for frames, row in group]
            for i in starts
        ]


def run_with_context(lengths: Int[np.ndarray, " b"], context: int, largest: int) -> Iterator[Run]:
    """Windows that stand for themselves, for a network without state; a run is one call."""
    planned = (plan_windows(row, n, context, largest) for row, n in enumerate(lengths.tolist()))
    windows = list(itertools.chain.from_iterable(planned))
    return ([group] for group in group_windows(windows, largest))


def plan_windows(row: int, frames: int, context: int, largest: int) -> list[Window]:
    """Windows whose kept stretches are the whole recording, each once, with `context` frames, or
    all there are, around each. The largest is over twice the context, and a multiple of 4."""
    sizes = [largest >> halvings for halvings in reversed(range(HALVINGS + 1))]
    windows, first = [], 0
    while first < frames:
        start = max(0, first - context)
        left = frames - start
        size = next((size for size in sizes if size >= left), largest)
        stop = min(frames, start + largest - context) if left > largest else frames
        windows.append(Window(row, start, size, first, stop))
        first = stop
    return windows


def group_windows(windows: list[Window], largest: int) -> list[list[Window]]:
    """Windows of one size that run in one call: together no more frames than a largest window."""
    by_size: dict[int, list[Window]] = {}
    for window in windows:
        by_size.setdefault(window.size, []).append(window)
    return [
        members[start : start + largest // size]
        for size, members in sorted(by_size.items())
        for start in range(0, len(members), largest // size)
    ]
