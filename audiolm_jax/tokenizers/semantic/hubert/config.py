"""Size of a HuBERT encoder."""

import dataclasses
import math
from typing import Literal

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.encoder_config import StackedEncoderConfig

KIND = "hubert"


@dataclasses.dataclass(frozen=True)
class HubertConfig(StackedEncoderConfig):
    """Size of the encoder; the defaults are HuBERT base's (95 M parameters)."""

    sample_rate_hz: int = 16000
    """Rate of the audio."""
    normalize_input: bool = True
    """Whether each recording is brought to zero mean and unit variance."""
    conv_widths: tuple[int, ...] = (512,) * 7
    """Channels of each convolution over samples."""
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    """Inputs under each."""
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    """Of each; their product is the hop of a frame."""
    conv_bias: bool = False
    """Whether they have biases."""
    conv_norm: Literal["group", "layer"] = "group"
    """Norms: "group", the first's channels over the recording; "layer", each frame of every one."""
    project_norm: bool = True
    """Whether a layer norm stands before the projection to `width`."""
    width: int = 768
    """Channels of the residual stream."""
    layers: int = 12
    """Transformer blocks."""
    heads: int = 12
    """Attention heads."""
    ff_width: int = 3072
    """Hidden channels of the feed-forward modules."""
    position_kernel: int = 128
    """Frames under the convolution that tells positions."""
    position_groups: int = 16
    """Of its channels."""
    position_norm: bool = False
    """Whether its input is scaled and moved by a constant of each channel (a frozen batch norm)."""
    norm_first: bool = False
    """Whether blocks normalize what goes into a branch (large) or the sum (base)."""
    norm_epsilon: float = 1e-5
    """Added to the variance in the layer norms of the blocks."""
    frames_per_token: int = 2
    """Frames that are pooled into one; 2 gives 25 a second from 50."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.conv_widths) == len(self.conv_kernels) == len(self.conv_strides):
            sizes = f"{len(self.conv_widths)} and {len(self.conv_strides)}"
            expected = f"expected as many as conv_widths and conv_strides, {sizes}"
            raise InputError(f"conv_kernels = {self.conv_kernels}: {expected}")
        if self.width % self.position_groups:
            expected = f"expected a multiple of position_groups = {self.position_groups}"
            raise InputError(f"width = {self.width}: {expected}")

    @property
    def frame_hop_samples(self) -> int:
        """As `StackedEncoderConfig`."""
        return math.prod(self.conv_strides)

    @property
    def reach_samples(self) -> int:
        """Samples that one frame sees."""
        reach = 1
        for kernel, stride in zip(self.conv_kernels[::-1], self.conv_strides[::-1], strict=True):
            reach = (reach - 1) * stride + kernel
        return reach

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Those of all; "output", the last block's normalized, if it does not do that itself."""
        names = super().layer_names
        return (*names, "output") if self.norm_first else names
