"""What a classifier, and d-vectors, make of one clip and of its successive windows."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from audiolm_jax.classifiers.listen import TrainedClassifier
from audiolm_jax.evaluation.measures.speaker import cosine
from audiolm_jax.evaluation.speakers.clips import Heard

Embed = Callable[[np.ndarray], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Window:
    """A piece of an ending."""

    accuracy: float  # 1 if the classifier hears the speaker in it, else 0
    similarity: float | None  # cosine to the prompt's d-vector; None if silent or not measured


@dataclasses.dataclass(frozen=True)
class Judged:
    """One clip."""

    system: str
    name: str  # of the recording or prompt
    speaker: str
    seed: int
    heard: str | None  # speaker whom the classifier hears; None in no sound at all
    windows: tuple[Window, ...]  # of an ending, one after another, the last whole one last

    @property
    def is_right(self) -> bool:
        """Whether the classifier hears the speaker."""
        return self.heard == self.speaker


class Judge:
    """Hears clips."""

    def __init__(self, classifier: TrainedClassifier, embed: Embed | None, window_seconds: float):
        """`embed` gives d-vectors; None measures none."""
        self._classifier, self._embed = classifier, embed
        self._size = round(window_seconds * classifier.sample_rate_hz)

    def __call__(self, clip: Heard) -> Judged:
        """The whole clip decides who is heard; an ending also by its windows."""
        windows: tuple[Window, ...] = ()
        if len(clip.prompt):
            own = None if self._embed is None else self._embed(clip.prompt)
            starts = range(0, len(clip.samples) - self._size + 1, self._size)
            windows = tuple(
                self._window(clip.samples[start : start + self._size], clip.speaker, own)
                for start in starts
            )
        heard = self._who(clip.samples)
        return Judged(clip.system, clip.name, clip.speaker, clip.seed, heard, windows)

    def _window(
        self, samples: Float[np.ndarray, " s"], speaker: str, own: np.ndarray | None
    ) -> Window:
        vector = None if own is None or self._embed is None else self._embed(samples)
        similarity = None if own is None or vector is None else cosine(own, vector)
        return Window(float(self._who(samples) == speaker), similarity)

    def _who(self, samples: Float[np.ndarray, " s"]) -> str | None:
        """The class of the highest mean log-probability; None in silence."""
        if not np.any(samples):
            return None
        return self._classifier.classes[int(self._classifier.windows(samples).of_file.argmax())]
