"""A trained classifier at work: windows of a recording, their log-probabilities, what they come to.

Nothing of training is imported.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.classifiers.calibration import Calibration, probability
from audiolm_jax.classifiers.config import (
    CALIBRATION,
    GENERATED,
    HOP_SECONDS,
    KIND,
    REAL,
    ClassifierConfig,
)
from audiolm_jax.classifiers.network import Classifier, empty_moments
from audiolm_jax.errors import InputError
from audiolm_jax.nn.conv import NormalDraws
from audiolm_jax.nn.state_arrays import named_leaves, unflatten_into

_ROWS = 8  # windows computed together
_MOMENTS = "moments."


class Windows(NamedTuple):
    """What a classifier says of the windows of a recording, every 250 ms, the last at its end."""

    centers: np.ndarray  # float64 [w], seconds
    log_probs: np.ndarray  # float32 [w, classes]

    @property
    def of_file(self) -> Float[np.ndarray, " classes"]:
        """Means over all windows: the highest names the class of the recording."""
        return self.log_probs.mean(0)

    @property
    def of_seconds(self) -> Float[np.ndarray, "n classes"]:
        """Means over the windows that have their center in a second, of a second without any the
        nearest window; less than half a second at the end belongs to the one before."""
        seconds = np.floor(self.centers + 1e-9).astype(int)
        return np.stack([self._of_second(seconds == n, n) for n in range(seconds[-1] + 1)])

    def _of_second(self, own: np.ndarray, second: int) -> np.ndarray:
        if not own.any():
            return self.log_probs[np.abs(self.centers - (second + 0.5)).argmin()]
        return self.log_probs[own].mean(0)


class TrainedClassifier:
    """A classifier from a model folder."""

    def __init__(
        self,
        config: ClassifierConfig,
        arrays: dict[str, np.ndarray],
        fingerprint: str = "",
        provenance: dict[str, Any] | None = None,
    ):
        """`arrays` as training exports them, else InputError."""
        self.config, self.classes = config, config.classes
        self.sample_rate_hz, self.fingerprint = config.sample_rate_hz, fingerprint
        self.provenance = provenance or {}
        where = f"{KIND} model {fingerprint[:16]}"
        abstract = nnx.eval_shape(lambda: Classifier(config, draws=NormalDraws(None)))
        graphdef, state = nnx.split(abstract, nnx.Param)
        names = {n: x for n, x in arrays.items() if not n.startswith(_MOMENTS)}
        params = unflatten_into(state, names, where)
        moments = empty_moments(config)
        if missing := sorted(named_leaves({"moments": moments}).keys() - arrays.keys()):
            raise InputError(f"{where}: array {missing[0]!r} is missing")
        self._weights = (
            params,
            {
                norm: {name: arrays[f"{_MOMENTS}{norm}.{name}"] for name in of_norm}
                for norm, of_norm in moments.items()
            },
        )

        def run(weights: Any, samples: Any, lengths: Any) -> jax.Array:
            network: Classifier = nnx.merge(graphdef, weights[0])
            return jax.nn.log_softmax(network(samples, lengths, weights[1]).logits)

        self._run = jax.jit(run)

    @classmethod
    def load(cls, directory: Path) -> "TrainedClassifier":
        """Reads and verifies a model folder."""
        folder = load_model(directory, KIND)
        config = config_from_dict(ClassifierConfig, folder.config, str(directory))
        return cls(config, folder.arrays, folder.fingerprint, folder.provenance)

    def windows(self, samples: Float[np.ndarray, " s"]) -> Windows:
        """Of a recording at the model's rate, of any length from one sample on."""
        size, hop = self.config.crop_samples, round(HOP_SECONDS * self.sample_rate_hz)
        last = max(0, len(samples) - size)
        starts = [*range(0, last, hop), last]
        log_probs = []
        for first in range(0, len(starts), _ROWS):
            some = starts[first : first + _ROWS]
            rows, lengths = np.zeros((_ROWS, size), np.float32), np.zeros(_ROWS, np.int32)
            for i, start in enumerate(some):
                window = samples[start : start + size]
                rows[i, : len(window)], lengths[i] = window, len(window)
            log_probs.append(np.asarray(self._run(self._weights, rows, lengths))[: len(some)])
        middle = min(size, len(samples)) / 2
        centers = (np.array(starts, np.float64) + middle) / self.sample_rate_hz
        return Windows(centers, np.concatenate(log_probs))


@dataclasses.dataclass(frozen=True)
class Heard:
    """What a detector says of a recording."""

    log_odds: float  # calibrated, of being generated
    is_generated: bool  # at the detector's threshold
    by_second: tuple[float, ...]  # calibrated probabilities of being generated, 0 to 1

    @property
    def probability(self) -> float:
        """That the recording is generated, 0 to 1, if as many are as are not."""
        return float(probability(self.log_odds))


class Detector:
    """A classifier of real and generated speech with its calibration."""

    def __init__(self, classifier: TrainedClassifier, calibration: Calibration):
        self.classifier, self.calibration = classifier, calibration
        self.sample_rate_hz, self.fingerprint = classifier.sample_rate_hz, classifier.fingerprint

    @classmethod
    def load(cls, directory: Path) -> "Detector":
        """Reads a model folder; InputError if it is of a classifier that is no detector."""
        classifier = TrainedClassifier.load(directory)
        if classifier.classes != (REAL, GENERATED):
            raise InputError(
                f"{directory}: tells {', '.join(classifier.classes)} apart, expected a detector "
                f"of {REAL} and {GENERATED}"
            )
        if CALIBRATION not in classifier.provenance:
            raise InputError(f"{directory}: has no calibration; finish its training")
        where, fields = f"{directory}: {CALIBRATION}", classifier.provenance[CALIBRATION]
        return cls(classifier, config_from_dict(Calibration, fields, where))

    def hear(self, samples: Float[np.ndarray, " s"]) -> Heard:
        """Of a recording at the detector's rate."""
        scores = scores_of(self.classifier.windows(samples))
        log_odds = float(self.calibration.file(scores[0]))
        by_second = probability(self.calibration.second(scores[1]))
        is_generated = log_odds >= self.calibration.threshold
        return Heard(log_odds, is_generated, tuple(map(float, by_second)))


def scores_of(windows: Windows) -> tuple[float, Float[np.ndarray, " n"]]:
    """Log-odds of the second of two classes, not calibrated: of the recording, of each second."""
    file, seconds = windows.of_file, windows.of_seconds
    return float(file[1] - file[0]), (seconds[:, 1] - seconds[:, 0]).astype(np.float64)
