"""The sound of a recording on its way into clips: how loud it is, and its stretches."""

import io
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Float

from audiolm_jax.data.packs.sound import quantised
from audiolm_jax.data.prepare.detect import FRAMES_HZ

_HIGHEST = 1 - 2.0**-15  # that 16 bits hold


class Levels:
    """Energy and peak of each 10 ms of a recording, noted while its blocks pass."""

    def __init__(self, rate_hz: int):
        self.samples = 0
        self._rate, self._energy, self._peak = rate_hz, list[np.ndarray](), list[np.ndarray]()

    def passing(self, blocks: Iterable[Float[np.ndarray, " n"]]) -> Iterator[np.ndarray]:
        """The same blocks."""
        held, frame = np.zeros(0, np.float32), 0
        for block in blocks:
            yield block
            self.samples += len(block)
            held = np.concatenate([held, block])
            whole = self.samples * FRAMES_HZ // self._rate
            frame, held = self._note(held, frame, whole)
        if len(held):
            self._note(held, frame, frame + 1)

    def _note(self, held: np.ndarray, frame: int, end: int) -> tuple[int, np.ndarray]:
        """Frames up to `end` of samples that begin where `frame` does; what is left of them."""
        if end <= frame:
            return frame, held
        edges = np.arange(frame, end + 1) * self._rate // FRAMES_HZ
        edges = np.minimum(edges - edges[0], len(held))
        magnitude = np.abs(held[: edges[-1]]).astype(np.float64)
        self._energy.append(np.add.reduceat(magnitude**2, edges[:-1]).astype(np.float32))
        self._peak.append(np.maximum.reduceat(magnitude, edges[:-1]).astype(np.float32))
        return end, held[edges[-1] :]

    def gain(
        self,
        is_spoken: Bool[np.ndarray, " t"],
        is_kept: Bool[np.ndarray, " t"],
        level_db: float | None,
    ) -> tuple[float, bool]:
        """What brings the frames that are spoken to a level, and whether the peak of those kept
        limits it."""
        energy, peak = np.concatenate(self._energy), np.concatenate(self._peak)
        size = min(len(energy), len(is_spoken))
        spoken, kept = energy[:size][is_spoken[:size]], peak[:size][is_kept[:size]]
        if level_db is None or not spoken.sum():
            return 1.0, False
        rms = np.sqrt(spoken.mean(dtype=np.float64) / (self._rate / FRAMES_HZ))
        wanted, most = 10 ** (level_db / 20) / rms, _HIGHEST / max(kept.max(initial=0), 1e-9)
        return float(min(wanted, most)), bool(wanted > most)


def flac(samples: Float[np.ndarray, " s"], rate_hz: int, gain: float) -> bytes:
    """A FLAC file of 16 bits."""
    import soundfile  # librosa brings it

    scaled, _ = quantised((samples * np.float64(gain)).astype(np.float32), 16)
    file = io.BytesIO()
    whole = (scaled * np.float32(32768)).astype(np.int16)
    soundfile.write(file, whole, rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()
