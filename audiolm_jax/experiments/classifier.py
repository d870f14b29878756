"""Training the classifier: who speaks, or any other column of a corpus."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiolm_jax.classifiers.config import ClassifierConfig, ClassifierTrainConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.audio import AudioExperiment, audio_facts
from audiolm_jax.experiments.trained import TrainingData

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex
    from audiolm_jax.data.labelled import Labels
    from audiolm_jax.training.state import TrainProgram


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierExperiment(AudioExperiment):
    """Train a classifier of the recordings of a corpus, such as of their speakers."""

    kind = "classifier"

    crop_seconds: float = 1.0
    """Length of a training crop."""
    model: ClassifierConfig = ClassifierConfig()
    """The network, and the classes that it tells apart; without classes they are those of the
    corpus. A batch has as many crops of each class."""
    train: ClassifierTrainConfig = ClassifierTrainConfig()
    """Moving averages, levels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for flag, mine, name in (
            ("--data.sample-rate-hz", self.data.sample_rate_hz, "sample_rate_hz"),
            ("--crop-seconds", self.crop_seconds, "crop_seconds"),
        ):
            if mine != (of_model := getattr(self.model, name)):
                other = f"--model.{name.replace('_', '-')}"
                raise InputError(f"{flag} {mine}: differs from {other} {of_model}; make them equal")

    def run(self) -> Path:
        """Trains with the classes of the corpus where the config names none."""
        return super(ClassifierExperiment, self.with_classes()).run()

    def with_classes(self) -> "ClassifierExperiment":
        """The same with the classes of the corpus where none are named."""
        from audiolm_jax.data.index import scan

        if self.model.classes:
            return self
        model = dataclasses.replace(self.model, classes=self.labels(scan(self.data)).classes)
        return dataclasses.replace(self, model=model)

    def labels(self, index: "ClipIndex") -> "Labels":
        """The class of each clip; InputError if it has none, or a class no clips."""
        from audiolm_jax.data.labelled import read_labels

        return read_labels(index, self.model.label, self.model.classes)

    def program(self) -> "TrainProgram":
        """Cross-entropy."""
        from audiolm_jax.classifiers import train
        from audiolm_jax.training.optim import make_optimizer

        self.model.check_classes()
        return train.program(self.model, self.train, make_optimizer(self.optimizer))

    def abstract_batch(self) -> Any:
        """`LabelledBatch` of shapes."""
        import jax
        import numpy as np

        from audiolm_jax.types import LabelledBatch

        labels: Any = jax.ShapeDtypeStruct((self.batch_size,), np.int32)
        return LabelledBatch(super().abstract_batch(), labels)

    def filled(self, rows: Any) -> tuple[float, float]:
        """By the lengths of the crops."""
        return super().filled(rows.audio)

    def check_data(self, index: "ClipIndex") -> None:
        """There must be clips of each class to learn from, and some held out."""
        super().check_data(index)
        self.labels(index)

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings and their classes."""
        from audiolm_jax.data.index import scan

        index = scan(self.data)
        return audio_facts(index) | {"labels": self.labels(index).fingerprint()}

    def open_data(self) -> TrainingData:
        """Lists the clips with their classes and opens the stream of crops."""
        from audiolm_jax.data.labelled import LabelledCrops
        from audiolm_jax.training.mesh import host_rows, make_mesh

        index = self.open_index()
        labels, rows = self.labels(index), host_rows(make_mesh(self.mesh), self.batch_size)
        stream = (labels, self.crop_seconds, self.batch_size, self.loop.seed, rows)
        train = LabelledCrops(index, "train", *stream)
        heldout = LabelledCrops(index, "heldout", *stream)
        return TrainingData(
            batches=train.labelled,
            heldout=functools.partial(heldout.labelled_heldout, self.loop.heldout_batches),
            facts=audio_facts(index) | {"labels": labels.fingerprint()},
            describe=train.describe,
        )
