"""How the semantic tokenizer uses its clusters, and what de-duplication saves."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.histograms import perplexity
from audiolm_jax.stages import deduplicate


@dataclasses.dataclass(frozen=True)
class SemanticReport:
    """Semantic tokens of held-out clips."""

    clips: int
    seconds: float  # together
    tokens: int  # tokens before de-duplication
    deduplicated_tokens: int  # tokens when every run counts once
    clusters: int  # K
    used_clusters: int  # clusters that occur
    perplexity: float  # exp of the entropy of the tokens before de-duplication
    deduplicated_perplexity: float  # the same after it

    @property
    def deduplication_rate(self) -> float:
        """Share of the tokens that de-duplication removes, 0 to 1."""
        return 1.0 - self.deduplicated_tokens / self.tokens

    @property
    def tokens_per_second(self) -> float:
        """After de-duplication: what the semantic language model reads."""
        return self.deduplicated_tokens / self.seconds


def evaluate_semantic(
    sequences: Iterable[np.ndarray], clusters: int, rate_hz: float
) -> SemanticReport:
    """Counts ids in [0, clusters), one integer array [u] a clip, `rate_hz` a second as they come
    from the tokenizer, before de-duplication."""
    counts = np.zeros(clusters, np.int64)
    short = np.zeros(clusters, np.int64)
    clips = 0
    for ids in map(np.asarray, sequences):
        if ids.size and not (0 <= ids.min() and ids.max() < clusters):
            raise ValueError(f"ids span [{ids.min()}, {ids.max()}], expected [0, {clusters})")
        clips += 1
        counts += np.bincount(ids.astype(np.int64), minlength=clusters)
        short += np.bincount(deduplicate(ids).astype(np.int64), minlength=clusters)
    tokens = int(counts.sum())
    if not tokens:
        raise InputError("no semantic tokens to count: expected at least one held-out clip")
    return SemanticReport(
        clips=clips,
        seconds=tokens / rate_hz,
        tokens=tokens,
        deduplicated_tokens=int(short.sum()),
        clusters=clusters,
        used_clusters=int(np.count_nonzero(counts)),
        perplexity=perplexity(counts),
        deduplicated_perplexity=perplexity(short),
    )
