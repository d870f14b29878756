"""The report: one HTML file to listen to and read, with everything inside it."""

import dataclasses
from collections.abc import Mapping

from audiolm_jax.evaluation.bundle.expectations import duration_words, expectations
from audiolm_jax.evaluation.measures.codec import CodecReport
from audiolm_jax.evaluation.measures.likelihood import StageLikelihood
from audiolm_jax.evaluation.measures.semantic import SemanticReport
from audiolm_jax.evaluation.page.listening import Example, players
from audiolm_jax.evaluation.page.render import render_page
from audiolm_jax.evaluation.page.training import TrainerSummary, training_charts


@dataclasses.dataclass(frozen=True)
class ReportContent:
    """Everything that the page shows."""

    title: str
    summary: str  # one or two sentences: what was run, on what
    sample_rate_hz: int  # of every clip
    train_seconds: float  # audio that the models were trained on
    examples: tuple[Example, ...]  # prompts with their players
    trainers: tuple[TrainerSummary, ...]  # in the order they ran
    likelihoods: tuple[StageLikelihood, ...]
    codec: CodecReport | None  # None if it was not measured
    semantic: SemanticReport | None
    provenance: Mapping[str, str]  # config hash, fingerprints, seeds, versions
    data_licence: str  # where the recordings come from and on what terms


def render(content: ReportContent) -> str:
    """The page as text; equal content gives equal text.

    Raises:
      InputError: a clip is empty or not finite, or a curve is asked for that was not measured.
    """
    sections = {
        "expect": ("What to expect", True),
        "listen": ("Listen", content.examples),
        "likelihood": ("How well the stages predict", content.likelihoods),
        "codec": ("Codec", content.codec),
        "semantic": ("Semantic tokens", content.semantic),
        "training": ("Training", content.trainers),
        "provenance": ("Provenance", True),
    }
    semantic = content.semantic
    return render_page(
        content.title,
        content.summary,
        {key: heading for key, (heading, is_there) in sections.items() if is_there},
        content=content,
        sentences=expectations(content.train_seconds, content.codec, semantic, content.likelihoods),
        players=players(content.examples, content.sample_rate_hz),
        semantic_duration=semantic and duration_words(semantic.seconds),
        trainers=content.trainers,
        training_charts=training_charts(content.trainers),
    )
