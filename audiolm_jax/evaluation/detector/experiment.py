"""Measures a detector on recordings of speakers that it does not know."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.detector.material import GENERATED, ORIGINAL, REAL
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
        by_file, error = dict[str, float](), 0.0
        for name in DISTURBANCES:
            odds, labels, paths = self._hear(detector, indexes[""], name)
            is_known = labels < 2
            rows.append(verdicts(name, odds[is_known], labels[is_known], threshold, self.seed))
            if name == AS_IT_IS:
                bins, error = reliability(odds[is_known], labels[is_known])
                by_file = dict(zip(paths, odds.tolist(), strict=True))
                if (raw := odds[labels == 2]).size:
                    label = "originals, through no codec"
                    rows.append(verdicts(label, raw, 0 * labels[labels == 2], threshold, self.seed))
            logger.info("%s: done", name)
        for name, index in indexes.items():
            if name:
                odds, labels, _ = self._hear(detector, index, AS_IT_IS)
                own = labels < 2
                rows.append(verdicts(name, odds[own], labels[own], threshold, self.seed))
        text = _text(rows, bins, error, detector)
        write_text(Path(self.directory) / self.page, text)
        logger.info(text)
        return {
            "data": {label: _facts(index) for label, index in indexes.items()},
            "verdicts": [dataclasses.asdict(row) for row in rows],
            "reliability": [dataclasses.asdict(one) for one in bins],
            "expected_calibration_error": error,
            "log_odds": by_file,
        }

    def _hear(
        self, detector: "Detector", index: "ClipIndex", condition: str
    ) -> tuple[Any, Any, list[str]]:
        import numpy as np

        from audiolm_jax.evaluation.detector.disturb import DISTURBANCES

        rate, disturb = index.config.sample_rate_hz, DISTURBANCES[condition]
        odds, labels, paths = [], _labels(index), []
        for place, clip in enumerate(index.clips):
            samples = disturb(index.load(clip), rate, self.seed + place)
            odds.append(detector.hear(samples).log_odds)
            paths.append(clip.clip_id)
        return np.array(odds), labels, paths


def _labels(index: "ClipIndex") -> Any:
    """0 real, 1 generated, 2 original; InputError unless both of the first are there."""
    from audiolm_jax.data.labelled import read_labels

    labels = read_labels(index, "kind")
    if strange := set(labels.classes) - set(_CLASSES):
        raise InputError(
            f"{index.config.source}: holds kind {min(strange)!r}, expected {', '.join(_CLASSES)}"
        )
    for name in (REAL, GENERATED):
        if name not in labels.classes:
            raise InputError(f"{index.config.source}: nothing in it is of kind {name!r}")
    import numpy as np

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
