"""Training the detector of generated speech: the classifier with two classes, then calibrated."""

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.model_folder import MODEL_JSON, read_model_json
from audiolm_jax.artifacts.run_folder import MODEL
from audiolm_jax.artifacts.storage import at
from audiolm_jax.classifiers.config import CALIBRATION, GENERATED, REAL, ClassifierConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.classifier import ClassifierExperiment

if TYPE_CHECKING:
    from audiolm_jax.classifiers.calibration import Calibration
    from audiolm_jax.data.index import ClipIndex
    from audiolm_jax.data.labelled import Labels

logger = logging.getLogger(__name__)

_CLASSES = (REAL, GENERATED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorExperiment(ClassifierExperiment):
    """Train a detector of a model's own speech, on what `DetectorMaterialExperiment` writes.

    The held-out part, whole recordings of it as `audiolm detect` hears them, calibrates the
    detector at the end: a line from scores to log-odds and the threshold. It stands in the
    provenance of the model folder, which a release keeps; the weights do not depend on it.
    """

    model: ClassifierConfig = ClassifierConfig(label="kind", classes=_CLASSES)
    """The network; its classes are real and generated, in this order."""
    false_positive_rate: float = 0.01
    """Share of held-out real recordings that may be called generated; the threshold follows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model.classes != _CLASSES:
            raise InputError(f"--model.classes {self.model.classes}: expected {_CLASSES}")
        if not 0 <= self.false_positive_rate < 1:
            given = f"--false-positive-rate {self.false_positive_rate}"
            raise InputError(f"{given}: expected 0 to below 1")

    def labels(self, index: "ClipIndex") -> "Labels":
        """The class of each clip; both must be held out too."""
        labels = super().labels(index)
        for name, count in zip(labels.classes, labels.counts(index, "heldout"), strict=True):
            if not count:
                raise InputError(
                    f"{index.config.heldout_flag}: no clip of class {name!r} is held out of "
                    f"{index.config.source}, none to calibrate with; hold out more"
                )
        return labels

    def is_finished(self) -> bool:
        """Whether it is trained and calibrated."""
        return super().is_finished() and CALIBRATION in self._record()["provenance"]

    def fit(self) -> None:
        """Trains, then calibrates the model that is exported."""
        from audiolm_jax.training.distributed import from_first_host

        super().fit()
        from_first_host(self._calibrate)

    def _record(self) -> dict[str, Any]:
        return read_model_json(at(self.directory) / MODEL)

    def _calibrate(self) -> None:
        calibration = self.calibration()
        record = self._record()
        record["provenance"][CALIBRATION] = dataclasses.asdict(calibration)
        write_json(at(self.directory) / MODEL / MODEL_JSON, record)
        logger.info(
            "calibrated on %d real and %d generated recordings: at --false-positive-rate %g, %d "
            "of the real ones are called generated and %d of the generated ones are missed",
            calibration.real, calibration.generated, calibration.false_positive_rate,
            calibration.false_positives, calibration.misses,
        )  # fmt: skip

    def calibration(self) -> "Calibration":
        """By all held-out clips."""
        import numpy as np

        from audiolm_jax.classifiers.calibration import calibrate
        from audiolm_jax.classifiers.listen import TrainedClassifier, scores_of
        from audiolm_jax.data.index import scan

        classifier = TrainedClassifier.load(at(self.directory) / MODEL)
        index = scan(self.data)
        codes = self.labels(index).of(index, "heldout")
        files, seconds = ([list[float](), list[float]()] for _ in range(2))
        for code, clip in zip(codes, index.of("heldout"), strict=True):
            of_file, of_seconds = scores_of(classifier.windows(index.load(clip)))
            files[code].append(of_file)
            seconds[code].extend(of_seconds.tolist())
        real, generated = (np.array(x, np.float64) for x in files)
        real_seconds, generated_seconds = (np.array(x, np.float64) for x in seconds)
        return calibrate(real, generated, real_seconds, generated_seconds, self.false_positive_rate)
