"""Recordings cut into windows with context, so that memory is bounded and few shapes compile."""

import dataclasses

HALVINGS = 2  # besides the largest windows there are those of a half and a quarter


@dataclasses.dataclass(frozen=True)
class Window:
    """A stretch of a recording, in frames.

    Attributes:
      row: the recording's place in its batch.
      start: first frame of the window.
      size: frames of the window; it may go beyond the end of the recording.
      first: first frame whose result is kept.
      stop: end of those that are kept.
    """

    row: int
    start: int
    size: int
    first: int
    stop: int


def plan_windows(row: int, frames: int, context: int, largest: int) -> list[Window]:
    """Windows whose kept stretches are the whole recording, each once.

    A kept frame has `context` frames around it in its window, or all there are, so its result is
    that of the whole recording. What the windows are depends on the length alone.

    Args:
      row: the recording's place in its batch.
      frames: its length.
      context: frames on either side that can change a frame's result.
      largest: frames of the largest window, more than twice the context; a multiple of 4.
    """
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
