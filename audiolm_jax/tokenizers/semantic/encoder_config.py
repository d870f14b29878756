"""What the sizes of an encoder tell; imports nothing heavy."""

import abc
from typing import Protocol, runtime_checkable

from audiolm_jax.errors import InputError


@runtime_checkable
class EncoderConfig(Protocol):
    """What the config of every encoder tells, as fields or properties."""

    sample_rate_hz: int
    hop_samples: int  # samples of a token
    feature_width: int  # dimensions of a feature vector
    layer_names: tuple[str, ...]  # layers whose features can be had, the lowest first


class StackedEncoderConfig(abc.ABC):
    """Base of the imported encoders' dataclasses; `layer_k` is block k's output, 0 the input."""

    width: int
    layers: int
    heads: int
    frames_per_token: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if not numbers or any(not isinstance(x, bool | str) and not x > 0 for x in numbers):
                raise InputError(f"{name} = {value}: expected a positive number")
        if self.width % self.heads:
            raise InputError(f"width = {self.width}: expected a multiple of heads = {self.heads}")

    @property
    @abc.abstractmethod
    def frame_hop_samples(self) -> int:
        """Samples of one frame, before pooling."""

    @property
    def hop_samples(self) -> int:
        """Samples of one token."""
        return self.frame_hop_samples * self.frames_per_token

    @property
    def feature_width(self) -> int:
        """Dimensions of a feature vector."""
        return self.width

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Layers whose features can be had."""
        return tuple(f"layer_{k}" for k in range(self.layers + 1))
