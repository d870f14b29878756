"""What the sizes of an encoder tell; imports nothing heavy."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class EncoderConfig(Protocol):
    """What the config of every encoder tells, as fields or properties."""

    sample_rate_hz: int
    hop_samples: int  # samples of a token
    feature_width: int  # dimensions of a feature vector
    layer_names: tuple[str, ...]  # layers whose features can be had, the lowest first


class StackedEncoderConfig:
    """Base of the imported encoders' dataclasses, which have these fields, or properties so named.

    `layer_0` is the input of the first block, `layer_k` the output of the k-th.
    """

    width: int
    layers: int
    frames_per_token: int

    @property
    def frame_hop_samples(self) -> int:
        """Samples of one frame, before pooling."""
        raise NotImplementedError

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
