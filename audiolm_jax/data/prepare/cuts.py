"""Where a recording is cut, given how likely each frame is speech."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Bool, Float

from audiolm_jax.data.prepare.config import PrepareConfig
from audiolm_jax.data.prepare.detect import FRAMES_HZ

SPEECH = 0.5  # a frame of at least this probability is speech
_SMOOTHED = 5  # frames over which a hard cut looks for the least speech


@dataclasses.dataclass(frozen=True)
class Cut:
    """A clip, in frames of 10 ms from the beginning of the recording."""

    start: int
    end: int
    is_hard: bool  # ends where no pause was within reach


def cut(speech: Float[np.ndarray, " t"], config: PrepareConfig) -> list[Cut]:
    """The clips of a recording, in order and apart, none longer than `max_seconds`; those shorter
    than `min_seconds` among them. As much speech goes into each as fits; each but a hard one ends
    in a pause, in its middle where that is shorter than two margins. A hard one ends in the later
    half of what is allowed, where speech is least likely."""
    longest, margin = _frames(config.max_seconds), _frames(config.margin_seconds)
    runs = _runs(speech >= SPEECH, _frames(config.pause_seconds))
    gaps = [start - end for (_, end), (start, _) in itertools.pairwise(runs)]
    gaps.append(2 * (len(speech) - runs[-1][1]) if runs else 0)
    clips: list[Cut] = []
    free = 0  # the first frame that the next clip may have
    number = 0
    while number < len(runs):
        begin = max(free, runs[number][0] - margin)
        latest = begin + longest
        if runs[number][1] > latest:
            end = _least_speech(speech, begin + longest // 2, latest)
            clips.append(Cut(begin, end, is_hard=True))
            runs[number], free = (end, runs[number][1]), end
            continue
        while (
            number + 1 < len(runs)
            and gaps[number] <= _frames(config.max_pause_seconds)
            and runs[number + 1][1] <= latest
        ):
            number += 1
        spoken, half = runs[number][1], gaps[number] // 2
        clips.append(Cut(begin, min(spoken + min(margin, half), latest), is_hard=False))
        free, number = spoken + half, number + 1
    return clips


def _frames(seconds: float) -> int:
    return round(seconds * FRAMES_HZ)


def _runs(is_speech: Bool[np.ndarray, " t"], pause: int) -> list[tuple[int, int]]:
    """(first, end) of stretches of speech, pauses shorter than `pause` frames within."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_speech, [False]])))
    starts, ends = edges[::2], edges[1::2]
    is_apart = starts[1:] - ends[:-1] >= pause
    first = np.concatenate([starts[:1], starts[1:][is_apart]])
    last = np.concatenate([ends[:-1][is_apart], ends[-1:]])
    return list(zip(first.tolist(), last.tolist(), strict=True))


def _least_speech(speech: np.ndarray, first: int, last: int) -> int:
    """The frame, `first` to `last`, around which speech is least likely; of equals the last."""
    around = speech[first - _SMOOTHED // 2 : last + _SMOOTHED // 2 + 1].astype(np.float64)
    means = np.convolve(around, np.full(_SMOOTHED, 1 / _SMOOTHED), "valid")
    return last - int(np.argmin(means[::-1])) - (last - first + 1 - len(means))
