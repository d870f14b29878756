"""Measures a detector on recordings of speakers that it does not know."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.classifiers.config import GENERATED, REAL
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.detector.material import ORIGINAL
from audiolm_jax.evaluation.lifecycle import Evaluation
from audiolm_jax.evaluation.page.tables import Table, number, percent

if TYPE_CHECKING:
    from audiolm_jax.classifiers.listen import Detector
    from audiolm_jax.data.index import ClipIndex
    from audiolm_jax.evaluation.detector.measures import Bin, Verdicts

logger = logging.getLogger(__name__)

_CLASSES = (REAL, GENERATED, ORIGINAL)


@dataclasses.dataclass(frozen=True)
class DetectorEvaluateExperiment(Evaluation):
    """Measure a detector: accuracy, reliability of its probabilities, and what it withstands."""

    page: ClassVar[str] = "table.md"
    record: ClassVar[str] = "detector.json"

    directory: Place
    """Where table.md and detector.json go."""
    detector: Place
    """Run directory or model folder of the detector."""
    data: AudioDataConfig
    """test/ of what `DetectorMaterialExperiment` wrote, with heldout_percent 0."""
    others: tuple[tuple[str, Place], ...] = ()
    """(label, folder) of test/ parts made otherwise, such as at other temperatures."""
    seed: int = 0
    """Of the noise and the bootstrap."""

    def __post_init__(self) -> None:
        if self.data.heldout_percent != 0 or self.data.heldout_minutes is not None:
            raise InputError(f"{self.data.heldout_flag}: expected 0 percent, all is measured")

    def upstream(self) -> dict[str, str]:
        """Fingerprint of the detector."""
        return {"detector": fingerprint_of(self.detector)}

    def facts(self) -> dict[str, Any]:
        """Fingerprint of the detector."""
        return self.upstream()

    def data_facts(self) -> dict[str, Any]:
        """Of all recordings and their kinds."""
        return {label: _facts(index) for label, index in self._indexes().items()}

    def check_data(self, index: "ClipIndex") -> None:
        """There must be recordings of both kinds."""
        _labels(index)

    def _indexes(self) -> dict[str, "ClipIndex"]:
        from audiolm_jax.data.index import scan

        places = {"": self.data.source, **dict(self.others)}
        return {
            label: scan(dataclasses.replace(self.data, source=source))
            for label, source in places.items()
        }

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Hears everything in every condition; writes the tables."""
        from audiolm_jax.classifiers.listen import Detector
        from audiolm_jax.evaluation.detector.disturb import AS_IT_IS, DISTURBANCES
        from audiolm_jax.evaluation.detector.measures import reliability, verdicts

        detector, indexes = Detector.load(model_folder(self.detector)), self._indexes()
        if (rate_hz := self.data.sample_rate_hz) != detector.sample_rate_hz:
            expected = f"the detector hears {detector.sample_rate_hz}"
            raise InputError(f"--data.sample-rate-hz = {rate_hz}: {expected}")
        threshold = detector.calibration.threshold
        rows: list[Verdicts] = []
        bins: tuple[Bin, ...] = ()
        by_file, kinds, error = dict[str, float](), dict[str, str](), 0.0
        odds, labels, paths = self._hear(detector, indexes[""], tuple(DISTURBANCES))
        own = labels < 2
        for name, heard in odds.items():
            rows.append(verdicts(name, heard[own], labels[own], threshold, self.seed))
            if name == AS_IT_IS:
                bins, error = reliability(heard[own], labels[own])
                by_file = dict(zip(paths, heard.tolist(), strict=True))
                kinds = dict(zip(paths, (_CLASSES[n] for n in labels), strict=True))
                if (raw := heard[labels == 2]).size:
                    label = "originals, through no codec"
                    rows.append(verdicts(label, raw, 0 * labels[labels == 2], threshold, self.seed))
        for name, index in indexes.items():
            if name:
                odds, labels, _ = self._hear(detector, index, (AS_IT_IS,))
                own = labels < 2
                heard = odds[AS_IT_IS][own]
                rows.append(verdicts(name, heard, labels[own], threshold, self.seed))
        text = _text(rows, bins, error, detector)
        write_text(Path(self.directory) / self.page, text)
        logger.info(text)
        return {
            "data": {label: _facts(index) for label, index in indexes.items()},
            "verdicts": [dataclasses.asdict(row) for row in rows],
            "reliability": [dataclasses.asdict(one) for one in bins],
            "expected_calibration_error": error,
            "log_odds": by_file,
            "kinds": kinds,
        }

    def _hear(
        self, detector: "Detector", index: "ClipIndex", conditions: tuple[str, ...]
    ) -> tuple[dict[str, Any], Any, list[str]]:
        """Log-odds of each clip by condition, and its label and name."""
        import numpy as np

        from audiolm_jax.evaluation.detector.disturb import DISTURBANCES

        rate, labels, paths = index.config.sample_rate_hz, _labels(index), []
        odds: dict[str, list[float]] = {name: [] for name in conditions}
        for place, clip in enumerate(index.clips):
            samples = index.load(clip)
            for name, heard in odds.items():
                disturbed = DISTURBANCES[name](samples, rate, self.seed + place)
                heard.append(detector.hear(disturbed).log_odds)
            paths.append(clip.clip_id)
        logger.info("%s: %d recordings heard", index.config.source, len(paths))
        return {name: np.array(heard) for name, heard in odds.items()}, labels, paths


def _labels(index: "ClipIndex") -> Any:
    """0 real, 1 generated, 2 original; InputError unless both of the first are there."""
    import numpy as np

    from audiolm_jax.data.labelled import entries_of, read_labels

    there = {*entries_of(index, "kind")} - {""}
    if strange := there - {*_CLASSES}:
        raise InputError(
            f"{index.config.source}: holds kind {min(strange)!r}, expected {', '.join(_CLASSES)}"
        )
    for name in (REAL, GENERATED):
        if name not in there:
            raise InputError(f"{index.config.source}: nothing in it is of kind {name!r}")
    labels = read_labels(index, "kind")
    return np.array([_CLASSES.index(name) for name in labels.classes])[labels.codes]


def _facts(index: "ClipIndex") -> dict[str, str]:
    from audiolm_jax.data.labelled import read_labels

    kinds = read_labels(index, "kind").fingerprint()
    return {"fingerprint": index.fingerprint, "kinds": kinds}


def _text(
    rows: list["Verdicts"], bins: tuple["Bin", ...], error: float, detector: "Detector"
) -> str:
    heads = ("condition", "accuracy %", "95 % from", "to", "AUC", "false alarms %", "missed %")
    cells = [
        (
            row.condition,
            *((percent(x) for x in (row.accuracy.mean, row.accuracy.low, row.accuracy.high))
              if row.accuracy else ("", "", "")),
            "" if row.auc is None else number(row.auc, 4),
            percent(row.false_positives),
            percent(row.misses),
        )
        for row in rows
    ]  # fmt: skip
    reliable = [
        (f"{one.low:.1f}", str(one.recordings), percent(one.predicted), percent(one.observed))
        for one in bins
    ]
    rate = 100 * detector.calibration.false_positive_rate
    return "\n".join(
        [
            f"Detector {detector.fingerprint[:16]}. Accuracy is at even odds; false alarms and "
            f"misses at the threshold that was set for {rate:g} % of real recordings.\n",
            Table(heads, cells).markdown(),
            f"Reliability, expected calibration error {percent(error)} %.\n",
            Table(("from", "recordings", "predicted %", "generated %"), reliable).markdown(),
        ]
    )
