"""Training w2v-BERT, the encoder under the semantic tokens."""

import dataclasses
from typing import TYPE_CHECKING

from audiolm_jax.errors import InputError
from audiolm_jax.experiments.audio import AudioExperiment
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertConfig, W2vBertTrainConfig

if TYPE_CHECKING:
    from audiolm_jax.training.state import TrainProgram


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model.sample_rate_hz != self.data.sample_rate_hz:
            raise InputError(
                f"--data.sample-rate-hz {self.data.sample_rate_hz}: differs from "
                f"--model.sample-rate-hz {self.model.sample_rate_hz}; make them equal"
            )

    def program(self) -> "TrainProgram":
        """Contrastive loss and masked prediction, or BEST-RQ."""
        from audiolm_jax.tokenizers.semantic.w2v_bert import train
        from audiolm_jax.training.optim import make_optimizer

        return train.program(self.model, self.train, make_optimizer(self.optimizer))

    def model_flops(self) -> float:
        """Without rematerialization."""
        conformer = dataclasses.replace(self.model.conformer, remat="none")
        model = dataclasses.replace(self.model, conformer=conformer)
        return super(EncoderExperiment, dataclasses.replace(self, model=model)).model_flops()
