"""What a user decides about the training of the codec."""

import dataclasses

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.soundstream.balancer import BalancerConfig
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import DiscriminatorConfig
from audiolm_jax.tokenizers.acoustic.soundstream.losses import LossConfig

RECONSTRUCTION = ("spectral", "complex")  # losses of the reconstruction against its target
ADVERSARIAL = ("adversarial", "feature")  # by what the discriminators make of it


@dataclasses.dataclass(frozen=True)
class SoundStreamTrainConfig:
    """How the codec is trained, apart from its size, its optimizers and its data.

    Attributes:
      losses: weights and reductions.
      discriminators: their sizes.
      discriminator_start_step: first step with adversarial and feature losses; before it the
        discriminators cost nothing and do not change.
      discriminator_every: the discriminators are updated at every n-th step from then on.
      quantizer_dropout: probability that an example's number of levels is drawn from 1 to Q
        (paper: 1).
      generator_ema_decay: decay of the moving average of the generator's weights, which is then
        what is evaluated and exported; 0 keeps none (paper: none).
      balancer: makes the weights of `losses`, but for commitment, shares of the gradient; None
        weights the losses themselves (paper: none).
    """

    losses: LossConfig = dataclasses.field(default_factory=LossConfig)
    discriminators: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    discriminator_start_step: int = 0
    discriminator_every: int = 1
    quantizer_dropout: float = 1.0
    generator_ema_decay: float = 0.0
    balancer: BalancerConfig | None = None

    def __post_init__(self) -> None:
        if self.discriminator_start_step < 0:
            raise InputError(
                f"discriminator_start_step = {self.discriminator_start_step}: expected 0 or more"
            )
        if self.discriminator_every < 1:
            raise InputError(
                f"discriminator_every = {self.discriminator_every}: expected 1 or more"
            )
        if not 0 <= self.quantizer_dropout <= 1:
            raise InputError(f"quantizer_dropout = {self.quantizer_dropout}: expected 0 to 1")
        if not 0 <= self.generator_ema_decay < 1:
            raise InputError(
                f"generator_ema_decay = {self.generator_ema_decay}: expected 0 (off) to below 1"
            )
        if self.balancer is not None and not self.balanced:
            raise InputError(
                "balancer: needs a weight above 0 among "
                + ", ".join(f"losses.{name}_weight" for name in RECONSTRUCTION + ADVERSARIAL)
            )

    @property
    def balanced(self) -> tuple[str, ...]:
        """The losses that a balancer balances: those of a weight above 0."""
        return tuple(name for name in RECONSTRUCTION + ADVERSARIAL if self.weight(name))

    def weight(self, name: str) -> float:
        """Weight of a loss."""
        return getattr(self.losses, f"{name}_weight")

    def weightings(self, pair: tuple[str, str]) -> tuple[tuple[float, float], ...]:
        """Weights of two losses for each pass back through both.

        Without a balancer one pass serves their weighted sum; with one, each loss has its own.
        """
        if self.balancer is None:
            return (tuple(map(self.weight, pair)),)
        return tuple(
            tuple(float(other == name) for other in pair) for name in pair if self.weight(name)
        )
