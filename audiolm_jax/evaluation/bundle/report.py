"""The report: one HTML file to listen to and read, with everything inside it."""

import dataclasses

from audiolm_jax.evaluation.measures.codec import CodecReport
from audiolm_jax.evaluation.measures.likelihood import StageLikelihood
from audiolm_jax.evaluation.measures.semantic import SemanticReport
from audiolm_jax.evaluation.page.render import Page


@dataclasses.dataclass(frozen=True)
class ReportPage(Page):
    """What is shown of a bundle."""

    train_seconds: float  # audio that the models were trained on
    likelihoods: tuple[StageLikelihood, ...]
    codec: CodecReport | None  # None if it was not measured
    semantic: SemanticReport | None

    def sections(self) -> dict[str, tuple[str, object]]:
        """All of them; see `Page`."""
        return {
            "expect": ("What to expect", True),
            "listen": ("Listen", self.examples),
            "likelihood": ("How well the stages predict", self.likelihoods),
            "codec": ("Codec", self.codec),
            "semantic": ("Semantic tokens", self.semantic),
            "training": ("Training", self.trainers),
            "provenance": ("Provenance", True),
        }
