"""Several tries at a window of the coarse stage, of which the one is kept that says what it was
told.

No text judges them: the sound of each try is heard by the semantic tokenizer, as the prompt was,
and that is kept whose tokens differ least from those that the window was told.

Source: SPEAR-TTS (2302.03540) takes the best of several tries by an estimate of their quality.
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Int, Integer

from audiolm_jax.errors import InputError
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.schedule import alignment_costs
from audiolm_jax.stages import StageConfig, kept_clusters
from audiolm_jax.types import AcousticTokenizer, AcousticTokens, SemanticTokenizer

# Codes of coarse levels of several sounds -> their semantic tokens as the stages count them.
Hear = Callable[[Sequence[Int[np.ndarray, "_ q"]]], list[Int[np.ndarray, " _"]]]


def check_candidates(config: GenerationConfig, coarse: StageConfig) -> None:
    """InputError for several tries of a stage that is told no semantic tokens to judge them by."""
    if config.candidates > 1 and not coarse.reads_semantic:
        flag = f"--generation.candidates {config.candidates}"
        raise InputError(f"{flag}: this coarse stage is told no semantic tokens; expected 1")


def hearing(codec: AcousticTokenizer, semantic: SemanticTokenizer, stage: StageConfig) -> Hear:
    """Hears codes as the codec decodes them, each as if it were alone."""

    def hear(codes: Sequence[Int[np.ndarray, "_ q"]]) -> list[Int[np.ndarray, " _"]]:
        lengths = np.array([len(item) for item in codes], np.int32)
        padded = np.zeros((len(codes), lengths.max(), codes[0].shape[1]), np.int32)
        for row, item in zip(padded, codes, strict=True):
            row[: len(item)] = item
        ids, counts = semantic.encode(codec.decode(AcousticTokens(padded, lengths)))
        heard = [row[:count] for row, count in zip(np.asarray(ids), counts, strict=True)]
        return [kept_clusters(clusters, stage) for clusters in heard]

    return hear


def edits(told: Integer[np.ndarray, " n"], heard: Integer[np.ndarray, " m"]) -> int:
    """The least number of insertions, deletions and exchanges between them."""
    return int(alignment_costs(told, heard, np.arange(len(told) + 1))[-1])


def try_keys(key: jax.Array, count: int) -> list[jax.Array]:
    """A key for each try; the first is that of a window that is tried once."""
    return [key, *(jax.random.fold_in(key, number) for number in range(1, count))]


def best_of(
    tries: Sequence[Int[np.ndarray, "_ q"]],
    context: Int[np.ndarray, "c q"],
    told: Integer[np.ndarray, " n"],
    hear: Hear,
) -> int:
    """Which of the codes that follow the context is heard to say best what was told, tokens of
    context and window; of equally good ones the first."""
    heard = hear([np.concatenate([context, codes]) for codes in tries])
    return int(np.argmin([edits(told, tokens) for tokens in heard]))
