"""BEST-RQ's targets: a random quantiser of the spectrogram that is never trained.

Chiu et al. 2022 (arXiv:2202.01855): the mel frames of a token side by side, a random projection to
few dimensions, and the random code of the nearest direction. As nothing in it learns, it cannot
collapse, and needs neither Gumbel noise nor a diversity loss.
"""

from typing import Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from audiolm_jax.tokenizers.semantic.w2v_bert.subsample import FRAMES_PER_TOKEN


class RandomQuantizerConfig(Protocol):
    """The fields of `W2vBertConfig` that the quantiser is made from."""

    mel_bins: int
    codebook_size: int
    code_width: int
    projection_seed: int


def random_projection_ids(
    mel: Float[Array, "b t m"], config: RandomQuantizerConfig
) -> Int[Array, "b u"]:
    """The code of each token, int32 [b, ceil(t / 4)].

    Args:
      mel: [b, t, m], standardised (the projection of other features would favour few codes), 0
        beyond each item.
      config: of the encoder; equal fields make the same quantiser.
    """
    rng = np.random.default_rng(config.projection_seed)
    stacked = FRAMES_PER_TOKEN * config.mel_bins
    limit = np.sqrt(6 / (stacked + config.code_width))  # Xavier's
    projection = rng.uniform(-limit, limit, (stacked, config.code_width)).astype(np.float32)
    codes = rng.standard_normal((config.codebook_size, config.code_width))
    codes = (codes / np.linalg.norm(codes, axis=1, keepdims=True)).astype(np.float32)
    mel = jnp.pad(mel, ((0, 0), (0, -mel.shape[1] % FRAMES_PER_TOKEN), (0, 0)))
    frames = mel.reshape(mel.shape[0], -1, stacked)
    # Ids must not depend on the backend's fast matrix products.
    projected = jnp.einsum("buf,fd->bud", frames, projection, precision="highest")
    # Among codes of length 1 the nearest has the largest product, whatever the vector's own length.
    likeness = jnp.einsum("bud,cd->buc", projected, codes, precision="highest")
    return jnp.argmax(likeness, axis=-1).astype(jnp.int32)
