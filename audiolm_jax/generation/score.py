"""How likely a bundle's stages find tokens that are there."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.stages import build_sequence


def score_tokens(
    decoders: Mapping[str, StageDecoder],
    codes: Int[np.ndarray, "t q"],
    semantic: Int[np.ndarray, " u"],
) -> dict[str, Float[np.ndarray, " _"]]:
    """Log-probability, in nats, of each token that a stage would have written, in their order.

    Tokens are those of whole semantic frames. Each stage reads them in windows of its crop, which
    do not overlap; end tokens do not count. The semantic stage's tokens are de-duplicated within a
    window, codes are flattened.
    """
    scores = {}
    for name, decoder in decoders.items():
        stage = decoder.config.stage
        width, ratio = stage.crop_semantic, stage.frames_per_semantic
        windows = []
        for start in range(0, len(semantic), width):
            units = semantic[start : start + width]
            frames = codes[start * ratio : (start + len(units)) * ratio]
            sequence = build_sequence(units, frames, False, stage)
            windows.append(decoder.score(sequence.tokens, sequence.target_start))
        scores[name] = np.concatenate([np.zeros(0, np.float32), *windows])
    return scores
