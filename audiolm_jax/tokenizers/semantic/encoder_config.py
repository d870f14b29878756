"""What the sizes of every imported encoder tell."""


class StackedEncoderConfig:
    """Base of their dataclasses, which have the fields below or properties of that name."""

    width: int
    layers: int
    frames_per_token: int
    frame_hop_samples: int

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
        """ "layer_0" is the input of the first block, "layer_k" the output of the k-th."""
        return tuple(f"layer_{k}" for k in range(self.layers + 1))
