"""Size of a w2v-BERT 2.0 encoder."""

import dataclasses

from audiolm_jax.tokenizers.semantic.encoder_config import StackedEncoderConfig

KIND = "w2v_bert2"
SAMPLE_RATE_HZ = 16000
MEL_HOP_SAMPLES = 160
MEL_WINDOW_SAMPLES = 400


@dataclasses.dataclass(frozen=True)
class W2vBert2Config(StackedEncoderConfig):
    """Size of the encoder; the defaults are those of the public weights (0.6 B parameters)."""

    mel_bins: int = 80
    """Mel filters."""
    stacked_frames: int = 2
    """Mel frames (10 ms) side by side in one frame of the encoder."""
    width: int = 1024
    """Channels of the residual stream."""
    layers: int = 24
    """Conformer blocks."""
    heads: int = 16
    """Attention heads."""
    ff_width: int = 4096
    """Hidden channels of both feed-forward modules."""
    conv_kernel: int = 31
    """Frames under the depthwise convolution, which looks back only."""
    left_positions: int = 64
    """Largest distance to an earlier frame that attention tells from the next."""
    right_positions: int = 8
    """The same for later frames."""
    norm_epsilon: float = 1e-5
    """Added to the variance in layer normalization."""
    frames_per_token: int = 2
    """Frames that are pooled into one; 2 gives 25 a second."""

    sample_rate_hz = SAMPLE_RATE_HZ  # not a field: the weights were trained on this

    @property
    def frame_hop_samples(self) -> int:
        """As `StackedEncoderConfig`."""
        return MEL_HOP_SAMPLES * self.stacked_frames

    @property
    def reach_samples(self) -> int:
        """Samples that the first frame needs."""
        return MEL_WINDOW_SAMPLES + (self.stacked_frames - 1) * MEL_HOP_SAMPLES
