"""Model FLOPs of a training step: the usual count, from shapes alone."""

from typing import Any

from audiolm_jax.lm.config import StageModelConfig


def model_flops(config: StageModelConfig, batch_size: int) -> float:
    """Floating-point operations that one training step of a stage needs; sequences of full length.

    Six for each number of a weight matrix and each token (two forward, four backward; no lookup of
    embeddings), and 12 x layers x heads x head width x length squared, halved because of causality,
    for attention. Nothing else counts, nor what is recomputed.
    """
    return float(batch_size * sequence_flops(config, config.stage.max_tokens - 1))


def sequence_flops(config: StageModelConfig, length: Any) -> Any:
    """`model_flops` of one sequence; of each for an array of lengths in tokens."""
    decoder = config.decoder
    inner = decoder.heads * decoder.head_width
    layer = 4 * decoder.width * inner + 3 * decoder.width * decoder.ff_width
    matrices = decoder.layers * layer + decoder.width * config.stage.vocab_size
    return 6 * matrices * length + 12 * decoder.layers * inner * length**2 / 2
