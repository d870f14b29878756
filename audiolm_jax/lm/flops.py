"""Model FLOPs of a training step: the usual count, from shapes alone."""

from typing import Any

from audiolm_jax.lm.config import Softmax, StageModelConfig


def model_flops(config: StageModelConfig, batch_size: int, softmax: Softmax = "all") -> float:
    """Floating-point operations that one training step of a stage needs; sequences of full length.

    Six for each number of a weight matrix and each token (two forward, four backward; no lookup of
    embeddings), and 12 x layers x heads x head width x length squared, halved because of causality,
    for attention. Of a "legal" softmax only the outputs of a target's own level count. Nothing else
    does, nor what is recomputed.
    """
    return float(batch_size * sequence_flops(config, config.stage.max_tokens - 1, softmax))


def sequence_flops(config: StageModelConfig, length: Any, softmax: Softmax = "all") -> Any:
    """`model_flops` of one sequence; of each for an array of lengths in tokens."""
    decoder, stage = config.decoder, config.stage
    inner = decoder.heads * decoder.head_width
    layer = 4 * decoder.width * inner + 3 * decoder.width * decoder.ff_width
    outputs = float(stage.vocab_size)
    if softmax == "legal":  # and only at targets, whose share is taken as a full sequence's
        outputs = stage.crop_targets / (stage.max_tokens - 1) * stage.target_codebook_size
    matrices = decoder.layers * layer + decoder.width * outputs
    return 6 * matrices * length + 12 * decoder.layers * inner * length**2 / 2
