"""The denoising switch: FiLM at the bottleneck (Paper: SoundStream section III-F)."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from audiolm_jax.nn.partition import annotate

Place = Literal["encoder", "decoder"]


@dataclasses.dataclass(frozen=True)
class DenoisingConfig:
    """A codec that can be told to keep the background or to remove it.

    Attributes:
      place: encoder conditions the latents before they are quantised, so noise costs no bits;
        decoder conditions the quantised ones, so whoever listens decides.
    """

    place: Place = "encoder"


class Film(nnx.Module):
    """Scales and shifts each channel of each frame by what a switch says.

    The paper's linear layer on a one-hot vector of two is a choice between two rows. They start
    equal, at 1 and 0, so an untrained layer changes nothing.

    Attributes:
      gamma: [2, d], row 0 with the switch off, row 1 on.
      beta: [2, d].
      place: where it belongs.
    """

    def __init__(self, config: DenoisingConfig, width: int):
        def rows(value: float) -> nnx.Param:
            return nnx.Param(
                annotate(lambda: jnp.full((2, width), value, jnp.float32), None, "channels_out")()
            )

        self.gamma = rows(1.0)
        self.beta = rows(0.0)
        self.place = config.place

    def __call__(
        self, latents: Float[Array, "b t d"], denoise: Bool[Array, "_ _"]
    ) -> Float[Array, "b t d"]:
        """Args: latents; denoise, [b, t] for each frame, [b, 1] for each item, [1, 1] for all."""
        gamma, beta = (
            jnp.where(denoise[..., None], rows[1], rows[0])
            for rows in (self.gamma[...], self.beta[...])
        )
        return latents * gamma + beta


def condition(
    film: Film | None, place: Place, latents: Float[Array, "b t d"], denoise: Array | None
) -> Float[Array, "b t d"]:
    """What the model's FiLM makes of the latents at `place`; itself if it has none there."""
    return latents if film is None or film.place != place else film(latents, denoise)
