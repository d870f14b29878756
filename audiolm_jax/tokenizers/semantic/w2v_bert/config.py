"""Sizes and training of w2v-BERT; imports nothing heavy."""

import dataclasses
import functools
from typing import Literal

from audiolm_jax.errors import check_fields

KIND = "w2v_bert"
FRAMES_PER_TOKEN = 4  # spectrogram frames, by the two strides of the subsampling


@dataclasses.dataclass(frozen=True)
class ConformerConfig:
    """Sizes of a conformer block; the defaults are w2v-BERT XL's."""

    width: int = 1024
    """Channels of the residual stream."""
    heads: int = 8
    """Attention heads; width / heads must be a whole, even number."""
    ff_width: int = 4096
    """Hidden channels of both feed-forward modules."""
    conv_kernel: int = 5
    """Frames under the depthwise convolution, odd so that it is centered."""
    dropout: float = 0.1
    """Rate of dropout at the end of every module, 0 to below 1."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products; parameters, norms and softmax stay float32."""
    remat: Literal["none", "dots", "full"] = "full"
    """What the backward pass recomputes: nothing, all but matrix products, or whole blocks."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--model.conformer")
        check("width heads ff_width", lambda x: x >= 1, "1 or more")
        check("dropout", lambda x: 0 <= x < 1, "0 to below 1")
        pairs = 2 * self.heads
        check("width", lambda x: x % pairs == 0, f"a multiple of 2 x heads = {pairs}")
        check("conv_kernel", lambda x: x >= 1 and x % 2, "an odd number of frames")


@dataclasses.dataclass(frozen=True)
class W2vBertConfig:
    """Sizes of the encoder; the defaults are w2v-BERT XL's (0.6B parameters)."""

    sample_rate_hz: int = 16000
    """Rate of the audio."""
    mel_hop_samples: int = 160
    """Samples between spectrogram frames; a token spans four (640 at 16 kHz)."""
    mel_window_samples: int = 400
    """Samples in a spectrogram window (25 ms)."""
    mel_fft_size: int = 512
    """Points of the FFT, at least the window."""
    mel_bins: int = 80
    """Mel filters."""
    mel_floor: float = 1e-6
    """Smallest mel power before the logarithm, relative to full-scale samples of 1."""
    subsample_channels: int = 128
    """Channels of the two subsampling convolutions."""
    objective: Literal["w2v_bert", "best_rq", "units"] = "w2v_bert"
    """w2v_bert: contrastive, and masked prediction of learned codes; best_rq: of fixed codes;
    units: of a teacher's semantic tokens (HuBERT's later iterations, arXiv:2106.07447)."""
    contrastive_layers: int = 12
    """Conformer blocks of the contrastive module; 0 with best_rq and units, which have none."""
    masked_layers: int = 12
    """Conformer blocks of the masked-prediction module."""
    codebook_size: int = 1024
    """Codes of the quantizer whose ids masked prediction must guess (BEST-RQ: 8192), or clusters of
    the teacher."""
    code_width: int = 1024
    """Width of a code vector (BEST-RQ: 16)."""
    projection_seed: int = 0
    """Of best_rq's random quantizer."""
    conformer: ConformerConfig = dataclasses.field(default_factory=ConformerConfig)
    """Sizes of every block."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--model")
        free = {"objective", "contrastive_layers", "projection_seed", "conformer"}
        positive = " ".join(name for name in vars(self) if name not in free)
        check(positive, lambda x: x > 0, "a positive number")
        check("projection_seed", lambda x: x >= 0, "0 or more")
        check("codebook_size", lambda x: x >= 2, "at least 2")
        hop, fft, is_plain = self.mel_hop_samples, self.mel_fft_size, self.objective != "w2v_bert"
        between = f"between mel-hop-samples = {hop} and mel-fft-size = {fft}"
        check("mel_window_samples", lambda x: hop <= x <= fft, between)
        layers = "0 with best_rq and units, a positive number with w2v_bert"
        check("contrastive_layers", lambda x: x >= 0 and (x == 0) == is_plain, layers)

    @property
    def hop_samples(self) -> int:
        """Samples of one token."""
        return FRAMES_PER_TOKEN * self.mel_hop_samples

    @property
    def token_rate_hz(self) -> float:
        """Tokens per second."""
        return self.sample_rate_hz / self.hop_samples

    @property
    def feature_width(self) -> int:
        """Dimensions of a feature vector, the same in every layer."""
        return self.conformer.width

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Outputs of all blocks, counted from 1; AudioLM's MLM layer 7 is probably "masked_7"."""
        modules = (("contrastive", self.contrastive_layers), ("masked", self.masked_layers))
        return tuple(f"{name}_{k}" for name, count in modules for k in range(1, count + 1))


@dataclasses.dataclass(frozen=True)
class W2vBertTrainConfig:
    """Masks, temperatures, loss weights: arXiv:2108.06209's, wav2vec 2.0's where it is silent."""

    mask_probability: float = 0.065
    """Chance that a token starts a hidden span."""
    mask_length: int = 10
    """Tokens in a hidden span."""
    mask_noise: float = 0.1
    """Standard deviation of the random vectors that stand for hidden tokens."""
    frequency_warp: float = 0.0
    """Blocks hear each training item's frequencies times 1 / (1 + this) to 1 + this, targets stay:
    speaker traits then help less (arXiv:2007.00991). The paper has none: 0 is off."""
    time_shift: float = 0.0
    """Blocks hear each training item up to so much of a token earlier or later, 0 to 1, targets
    stay: where the grid of tokens begins then tells less. The paper has none: 0 is off."""
    distractors: int = 100
    """Wrong answers per hidden token in the contrastive task."""
    contrastive_temperature: float = 0.1
    """Divides the cosine similarities."""
    gumbel_temperature: float = 2.0
    """Of the quantizer's softmax at step 0."""
    gumbel_temperature_end: float = 0.1
    """Lowest temperature."""
    gumbel_temperature_decay: float = 0.999995
    """Factor per step."""
    target_gradient_scale: float = 0.1
    """Share of the quantizer's gradient that reaches the subsampling, 0 to 1; whole, it teaches
    features that are easy to guess."""
    masked_weight: float = 1.0
    """Weight of masked prediction; the contrastive loss has weight 1."""
    visible_weight: float = 0.0
    """Weight of the same prediction at visible tokens (HuBERT's 1 - alpha); the paper has none."""
    diversity_weight: float = 0.1
    """Weight of the diversity loss."""
    feature_penalty_weight: float = 0.0
    """Weight of the mean square of the subsampled features; 0 is off."""
    least_code_use: float = 0.02
    """Held-out code perplexity below this share of the codebook (collapse) ends the run; 0: off."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--train")
        check("mask_probability gumbel_temperature_decay", lambda x: 0 < x <= 1, "above 0, up to 1")
        check("mask_length distractors", lambda x: x >= 1, "at least 1")
        weights = "masked_weight visible_weight diversity_weight feature_penalty_weight"
        check(f"mask_noise frequency_warp {weights}", lambda x: x >= 0, "0 or more")
        check("target_gradient_scale least_code_use time_shift", lambda x: 0 <= x <= 1, "0 to 1")
        check("contrastive_temperature", lambda x: x > 0, "above 0")
        highest = self.gumbel_temperature
        expected = f"above 0, up to gumbel-temperature = {highest}"
        check("gumbel_temperature_end", lambda x: 0 < x <= highest, expected)
