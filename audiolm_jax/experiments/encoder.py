"""Training w2v-BERT, the encoder under the semantic tokens."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.audio import AudioExperiment
from audiolm_jax.experiments.trained import TrainingData
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertConfig, W2vBertTrainConfig

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex
    from audiolm_jax.training.state import TrainProgram
    from audiolm_jax.types import AudioBatch, UnitBatch


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderExperiment(AudioExperiment):
    """Train w2v-BERT."""

    kind = "w2v_bert"

    crop_seconds: float = 4.0
    """Length of a training crop."""
    model: W2vBertConfig = W2vBertConfig()
    """The conformers and their input."""
    train: W2vBertTrainConfig = W2vBertTrainConfig()
    """Masks and losses."""
    teacher: Place = ""
    """With the objective units: the semantic tokenizer whose tokens are to be guessed, run
    directory or model folder. Its clusters are `model.codebook_size`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.teacher) != (self.model.objective == "units"):
            raise InputError(
                f"--teacher {self.teacher!r} with --model.objective {self.model.objective}: "
                "the objective units needs a teacher, the others have none"
            )
        if self.model.sample_rate_hz != self.data.sample_rate_hz:
            raise InputError(
                f"--data.sample-rate-hz {self.data.sample_rate_hz}: differs from "
                f"--model.sample-rate-hz {self.model.sample_rate_hz}; make them equal"
            )

    def upstream(self) -> dict[str, str]:
        """The teacher, if there is one."""
        return {"teacher": fingerprint_of(self.teacher)} if self.teacher else {}

    def abstract_batch(self) -> Any:
        """`AudioBatch` of shapes, with a teacher `UnitBatch`."""
        import jax
        import numpy as np

        from audiolm_jax.types import UnitBatch

        audio = super().abstract_batch()
        if not self.teacher:
            return audio
        rows, samples = audio.samples.shape
        tokens = -(-samples // self.model.hop_samples)
        units: Any = jax.ShapeDtypeStruct((rows, tokens), np.int32)
        return UnitBatch(audio, units)

    def filled(self, rows: Any) -> tuple[float, float]:
        """By the lengths of the crops."""
        return super().filled(rows.audio if self.teacher else rows)

    def open_index(self) -> "ClipIndex":
        """The recordings, of which the teacher has heard none held out either."""
        from audiolm_jax.data.unheard import check_unheard, provenance_at

        index = super().open_index()
        if self.teacher:
            check_unheard(index, {f"--teacher {self.teacher}": provenance_at(self.teacher)})
        return index

    def open_data(self) -> TrainingData:
        """Crops of the recordings, with what the teacher makes of them."""
        data = super().open_data()
        if not self.teacher:
            return data
        import numpy as np

        from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer
        from audiolm_jax.types import UnitBatch

        teacher = load_semantic_tokenizer(model_folder(self.teacher))
        for flag, has, needs in (
            ("--model.codebook-size", self.model.codebook_size, teacher.clusters),
            ("--model.sample-rate-hz", self.model.sample_rate_hz, teacher.sample_rate_hz),
            ("--model.mel-hop-samples", self.model.hop_samples, teacher.hop_samples),
        ):
            if has != needs:
                raise InputError(
                    f"{flag}: gives {has}, {self.teacher} has {needs}; make them equal"
                )

        def taught(batches: "Iterable[AudioBatch]") -> "Iterator[UnitBatch]":
            for audio in batches:
                yield UnitBatch(audio, np.asarray(teacher.encode(audio).ids))

        return dataclasses.replace(
            data,
            batches=lambda done: taught(data.batches(done)),
            heldout=lambda: taught(data.heldout()),
        )

    def program(self) -> "TrainProgram":
        """Contrastive loss and masked prediction, or masked prediction alone."""
        from audiolm_jax.tokenizers.semantic.w2v_bert import train
        from audiolm_jax.training.optim import make_optimizer

        return train.program(self.model, self.train, make_optimizer(self.optimizer))

    def model_flops(self) -> float:
        """Without rematerialization."""
        conformer = dataclasses.replace(self.model.conformer, remat="none")
        model = dataclasses.replace(self.model, conformer=conformer)
        return super(EncoderExperiment, dataclasses.replace(self, model=model)).model_flops()
