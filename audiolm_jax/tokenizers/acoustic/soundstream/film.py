"""The denoising switch: FiLM at the bottleneck (Paper: SoundStream section III-F)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from audiolm_jax.nn.partition import annotate
from audiolm_jax.tokenizers.acoustic.soundstream.config import DenoisingConfig, Place


class Film(nnx.Module):
    """Scales and shifts each channel of each frame by what a switch says.

    The paper's linear layer on a one-hot vector of two is a choice between two rows, [2, d], the
    first with the switch off; an untrained layer changes nothing.
    """

    def __init__(self, config: DenoisingConfig, width: int):
        rows = annotate(lambda x: jnp.full((2, width), x, jnp.float32), None, "channels_out")
        self.gamma, self.beta = nnx.Param(rows(1.0)), nnx.Param(rows(0.0))
        self.place = config.place

    def __call__(
        self, latents: Float[Array, "b t d"], denoise: Bool[Array, "_ _"]
    ) -> Float[Array, "b t d"]:
        """`denoise` is [b, t] for each frame, [b, 1] for each item or [1, 1] for all."""
        gamma, beta = (
            jnp.where(denoise[..., None], rows[1], rows[0])
            for rows in (self.gamma[...], self.beta[...])
        )
        return latents * gamma + beta


def condition(
    film: Film | None,
    place: Place,
    latents: Float[Array, "b t d"],
    denoise: Bool[Array, "_ _"] | None,
) -> Float[Array, "b t d"]:
    """What the model's FiLM makes of the latents at `place`; itself if it has none there."""
    if film is None or film.place != place or denoise is None:
        return latents
    return film(latents, denoise)
