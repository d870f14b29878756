"""Sizes and training of w2v-BERT; imports nothing heavy."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from audiolm_jax.errors import InputError

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
    """What the backward pass computes again to save memory: nothing, everything except matrix
    products, or whole blocks. Numbers do not change."""

    def __post_init__(self) -> None:
        flag = "--model.conformer"
        _require(self, flag, ("width", "heads", "ff_width"), lambda x: x >= 1, "1 or more")
        _require(self, flag, ("dropout",), lambda x: 0 <= x < 1, "0 to below 1")
        if self.width % (2 * self.heads):
            raise InputError(
                f"{flag}.width = {self.width}: expected a multiple of 2 x heads = "
                f"{2 * self.heads}, so that positions can rotate pairs of a head's channels"
            )
        if self.conv_kernel < 1 or self.conv_kernel % 2 == 0:
            raise InputError(
                f"{flag}.conv-kernel = {self.conv_kernel}: expected an odd number of frames"
            )


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
    objective: Literal["w2v_bert", "best_rq"] = "w2v_bert"
    """What the encoder learns by. w2v_bert: contrastive and masked prediction, of codes that are
    learnt too. best_rq: masked prediction of random codes that never change."""
    contrastive_layers: int = 12
    """Conformer blocks of the contrastive module; 0 with best_rq, which has none."""
    masked_layers: int = 12
    """Conformer blocks of the masked-prediction module."""
    codebook_size: int = 1024
    """Codes of the quantizer whose ids masked prediction must guess (BEST-RQ: 8192)."""
    code_width: int = 1024
    """Width of a code vector (BEST-RQ: 16)."""
    projection_seed: int = 0
    """Of best_rq's random quantizer."""
    conformer: ConformerConfig = dataclasses.field(default_factory=ConformerConfig)
    """Sizes of every block."""

    def __post_init__(self) -> None:
        names = [field.name for field in dataclasses.fields(self)]
        free = {"objective", "contrastive_layers", "projection_seed", "conformer"}
        positive = [name for name in names if name not in free]
        _require(self, "--model", positive, lambda x: x > 0, "a positive number")
        _require(self, "--model", ("projection_seed",), lambda x: x >= 0, "0 or more")
        _require(self, "--model", ("codebook_size",), lambda x: x >= 2, "at least 2")
        if not self.mel_hop_samples <= self.mel_window_samples <= self.mel_fft_size:
            raise InputError(
                f"--model.mel-window-samples = {self.mel_window_samples}: expected between "
                f"mel-hop-samples = {self.mel_hop_samples} and mel-fft-size = {self.mel_fft_size}"
            )
        if (self.contrastive_layers == 0) != (self.objective == "best_rq") or (
            self.contrastive_layers < 0
        ):
            raise InputError(
                f"--model.contrastive-layers = {self.contrastive_layers}: expected 0 with objective"
                f" = 'best_rq' and a positive number with 'w2v_bert'; here it is {self.objective!r}"
            )

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
        """Outputs of all blocks in their order, counted from 1 in each module.

        AudioLM's "layer 7 of the MLM module" is "masked_7" if it, too, counts from 1.
        """
        modules = (("contrastive", self.contrastive_layers), ("masked", self.masked_layers))
        return tuple(f"{name}_{k}" for name, count in modules for k in range(1, count + 1))


@dataclasses.dataclass(frozen=True)
class W2vBertTrainConfig:
    """Masks, temperatures and weights of the losses.

    The defaults are those of arXiv:2108.06209, and wav2vec 2.0's where it is silent.
    """

    mask_probability: float = 0.065
    """Chance that a token starts a hidden span."""
    mask_length: int = 10
    """Tokens in a hidden span."""
    mask_noise: float = 0.1
    """Standard deviation of the random vectors that stand for hidden tokens."""
    frequency_warp: float = 0.0
    """In training the blocks hear each item with its frequencies multiplied by a factor between
    1 / (1 + this) and 1 + this, the targets come from the item as it is: what tells speakers apart
    then helps less to guess them (the context alone is altered, as by Kharitonov et al. 2020,
    arXiv:2007.00991). The paper has none: 0 is off."""
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
    """Share of the quantizer's gradient that reaches the subsampling, 0 to 1; wav2vec 2.0 has 0.1.
    Whole, it teaches features that are easy to guess."""
    masked_weight: float = 1.0
    """Weight of masked prediction; the contrastive loss has weight 1."""
    visible_weight: float = 0.0
    """Weight of the same prediction at tokens that are not hidden (1 - alpha of HuBERT,
    arXiv:2106.07447, section II-B). The paper's loss has none: then only what many steps teach ties
    a late layer's feature to its own token."""
    diversity_weight: float = 0.1
    """Weight of the diversity loss."""
    feature_penalty_weight: float = 0.0
    """Weight of the mean square of the subsampled features; 0 is off."""
    least_code_use: float = 0.02
    """A held-out code perplexity below this share of the codebook ends the run: the quantizer has
    collapsed, and the features are worthless; 0 never does."""

    def __post_init__(self) -> None:
        for names, fits, expected in (
            (
                ("mask_probability", "gumbel_temperature_decay"),
                lambda x: 0 < x <= 1,
                "above 0, up to 1",
            ),
            (("mask_length", "distractors"), lambda x: x >= 1, "at least 1"),
            (
                ("mask_noise", "frequency_warp", "masked_weight", "visible_weight",
                 "diversity_weight", "feature_penalty_weight"),
                lambda x: x >= 0,
                "0 or more",
            ),
            (("target_gradient_scale", "least_code_use"), lambda x: 0 <= x <= 1, "0 to 1"),
            (("contrastive_temperature",), lambda x: x > 0, "above 0"),
            (
                ("gumbel_temperature_end",),
                lambda x: 0 < x <= self.gumbel_temperature,
                f"above 0, up to gumbel-temperature = {self.gumbel_temperature}",
            ),
        ):  # fmt: skip
            _require(self, "--train", names, fits, expected)


def _require(config: Any, flag: str, names: Sequence[str], fits: Any, expected: str) -> None:
    """Raises InputError for the first of the fields that does not fit."""
    for name in names:
        value = getattr(config, name)
        if not fits(value):
            raise InputError(f"{flag}.{name.replace('_', '-')} = {value}: expected {expected}")
