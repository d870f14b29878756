"""Model FLOPs of a training step: the usual count, from shapes alone."""

from audiolm_jax.lm.config import StageModelConfig


def model_flops(config: StageModelConfig, batch_size: int) -> float:
    """Floating-point operations that one training step of a stage needs.

    Six for each number of a weight matrix and each token (two forward, four backward; no lookup of
    embeddings), and 12 x layers x heads x head width x length squared, halved because of causality,
    for attention. Nothing else counts, nor what is recomputed. Sequences have full length.
    """
    decoder, length = config.decoder, config.stage.max_tokens - 1
    inner = decoder.heads * decoder.head_width
    layer = 4 * decoder.width * inner + 3 * decoder.width * decoder.ff_width
    matrices = decoder.layers * layer + decoder.width * config.stage.vocab_size
    attention = 12 * decoder.layers * inner * length**2 / 2
    return float(batch_size) * (6 * matrices * length + attention)
