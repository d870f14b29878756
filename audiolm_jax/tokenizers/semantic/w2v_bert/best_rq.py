"""BEST-RQ's targets: a random quantizer of the spectrogram that is never trained.

Chiu et al. 2022 (arXiv:2202.01855): the mel frames of a token side by side, a random projection to
few dimensions, and the random code of the nearest direction. It learns nothing and cannot collapse.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from audiolm_jax.tokenizers.semantic.w2v_bert.config import FRAMES_PER_TOKEN, W2vBertConfig


def random_projection_ids(mel: Float[Array, "b t m"], config: W2vBertConfig) -> Int[Array, "b u"]:
    """The code of each token, int32 [b, ceil(t / 4)]; equal configs make the same quantizer.

    `mel` must be standardized (others would fall on few codes), and 0 beyond each item.
    """
    rng = np.random.default_rng(config.projection_seed)
    stacked = FRAMES_PER_TOKEN * config.mel_bins
    limit = np.sqrt(6 / (stacked + config.code_width))  # Xavier's
    projection_FxD = rng.uniform(-limit, limit, (stacked, config.code_width)).astype(np.float32)
    codes_CxD = rng.standard_normal((config.codebook_size, config.code_width))
    codes_CxD = (codes_CxD / np.linalg.norm(codes_CxD, axis=1, keepdims=True)).astype(np.float32)
    mel = jnp.pad(mel, ((0, 0), (0, -mel.shape[1] % FRAMES_PER_TOKEN), (0, 0)))
    frames_BxUxF = mel.reshape(mel.shape[0], -1, stacked)
    # Ids must not depend on the backend's fast matrix products.
    projected = jnp.einsum("buf,fd->bud", frames_BxUxF, projection_FxD, precision="highest")
    # Among codes of length 1 the nearest has the largest product, whatever the vector's own length.
    likeness = jnp.einsum("bud,cd->buc", projected, codes_CxD, precision="highest")
    return jnp.argmax(likeness, axis=-1).astype(jnp.int32)
