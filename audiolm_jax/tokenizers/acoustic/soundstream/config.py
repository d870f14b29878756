"""Everything a user decides about SoundStream; imports neither the network nor its trainer."""

import dataclasses
import functools
import math
from typing import Literal

from audiolm_jax.errors import InputError, check_fields

Place = Literal["encoder", "decoder"]
Normalization = Literal["none", "weight", "layer"]
Dtype = Literal["float32", "bfloat16"]

GROUP_CHANNELS = 4  # input channels of each group of a waveform discriminator
FREQUENCY_STRIDE = 64  # of the STFT discriminator, all its layers together
RECONSTRUCTION = ("spectral", "complex")  # losses of the reconstruction against its target
ADVERSARIAL = ("adversarial", "feature")  # by what the discriminators make of it


@dataclasses.dataclass(frozen=True)
class QuantizerConfig:
    """The residual quantizer."""

    levels: int = 12
    """Q, codebooks applied one after another."""
    codebook_size: int = 1024
    """N, codes of each level."""
    decay: float = 0.99
    """Of the moving averages of code usage and code sums, per step."""
    revival_threshold: float = 2.0
    """Codes used less per step than this (moving average) are replaced by random vectors of the
    batch. Must be below the mean, frames per step / N; 0 revives none."""
    kmeans_iterations: int = 10
    """Passes of the k-means over the first batch that starts the codebooks."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--model.quantizer")
        check("levels codebook_size kmeans_iterations", lambda x: x >= 1, "1 or more")
        check("decay", lambda x: 0 < x < 1, "between 0 and 1")
        check("revival_threshold", lambda x: x >= 0, "0 (off) or more")


@dataclasses.dataclass(frozen=True)
class DenoisingConfig:
    """A codec that can be told to keep the background or to remove it."""

    place: Place = "encoder"
    """encoder conditions the latents before they are quantized, so noise costs no bits; decoder
    conditions the quantized ones, so whoever listens decides."""


@dataclasses.dataclass(frozen=True)
class FrameRateConfig:
    """Size of the frame-rate network."""

    width: int = 512
    """Channels of the blocks."""
    encoder_blocks: int = 6
    """Blocks before the quantizer."""
    decoder_blocks: int = 8
    """Blocks after it."""
    expansion: int = 3
    """Hidden width of a block as a multiple of `width`."""
    kernel_size: int = 7
    """Frames that a block reads: its own and those before."""
    cells: int = 4
    """Short-time spectra per codec frame."""
    analysis_overlap: int = 4
    """Windows that cover a sample before the encoder: a window is so many cells."""
    synthesis_overlap: int = 2
    """The same behind the decoder; 2 or more. A window begins with its cell."""
    lookahead: int = 0
    """Cells after a frame that the encoder hears for its codes; encoding waits for them, decoding
    does not. `synthesis_overlap` - 1 with equal overlaps lets the encoder hear the very windows
    that the decoder has to make; 0 is causal, as the paper's network."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--model.frame-rate")
        check("synthesis_overlap", lambda x: x >= 2, "2 or more")
        check("lookahead", lambda x: x >= 0, "0 or more")
        sizes = " ".join(name for name in vars(self) if name != "lookahead")
        check(sizes, lambda x: x >= 1, "1 or more")

    @property
    def lookahead_frames(self) -> int:
        """Whole frames that cover the lookahead."""
        return -(-self.lookahead // self.cells)

    def check_hop(self, hop_samples: int) -> None:
        """Raises InputError if a codec frame of so many samples has no such cells and windows."""
        check = functools.partial(check_fields, self, "--model.frame-rate")
        divisor = f"a divisor of the hop, {hop_samples}, which is the product of --model.strides"
        check("cells", lambda x: hop_samples % x == 0, divisor)
        cell = hop_samples // self.cells
        for name in ("analysis_overlap", "synthesis_overlap"):
            window = cell * getattr(self, name)
            even = f"a window of an even number of samples, not {window}; change it or cells"
            check(name, lambda x: cell * x % 2 == 0, even)


@dataclasses.dataclass(frozen=True)
class SoundStreamConfig:
    """Size of the codec. The defaults are the paper's 8.4M parameters at AudioLM's token rates."""

    sample_rate_hz: int = 16000
    """Rate of the audio; 16000 in AudioLM."""
    channels: int = 32
    """C, width of the layers at the sample rate."""
    width_multipliers: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Widths before the first stage and after each, in multiples of `channels` (paper: doubled)."""
    strides: tuple[int, ...] = (2, 4, 5, 8)
    """Down-sampling of each stage; their product is the hop."""
    dilations: tuple[int, ...] = (1, 3, 9)
    """Dilation of the residual units of a stage."""
    residual_reduction: int = 2
    """Width of a residual unit over its hidden width. The paper's figure draws 1, which gives 9.2M
    parameters before any embedding; 2 with embedding_width 256 gives its 8.4M."""
    embedding_width: int = 256
    """D, width of the vectors that are quantized; the paper does not give it."""
    quantizer: QuantizerConfig = QuantizerConfig()
    """The residual vector quantizer."""
    denoising: DenoisingConfig | None = None
    """A switch that removes the background; None builds none (AudioLM)."""
    frame_rate: FrameRateConfig | None = None
    """A network at the rate of the codes in place of the paper's (None); of the sizes from
    `channels` to `residual_reduction` only the product of the strides then counts."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--model")
        numbers = "sample_rate_hz channels residual_reduction embedding_width"
        check(numbers, lambda x: x >= 1, "1 or more")
        lists = "width_multipliers strides dilations"
        check(lists, lambda x: min(x, default=0) >= 1, "numbers of 1 or more")
        stages, longer = len(self.strides), f"one more than --model.strides = {self.strides}"
        check("width_multipliers", lambda x: len(x) == stages + 1, longer)
        divisor = f"a divisor of the widths {self.widths[:-1]}; change --model.width-multipliers"
        check("residual_reduction", lambda x: not any(w % x for w in self.widths[:-1]), divisor)
        rate, hop = self.sample_rate_hz, self.hop_samples
        product = f"a product that divides --model.sample-rate-hz = {rate}, not {hop}"
        check("strides", lambda _: rate % hop == 0, product)
        if self.frame_rate is not None:
            self.frame_rate.check_hop(hop)

    @property
    def hop_samples(self) -> int:
        """Samples per codec frame."""
        return math.prod(self.strides)

    @property
    def frame_rate_hz(self) -> int:
        """Codec frames per second."""
        return self.sample_rate_hz // self.hop_samples

    @property
    def lookahead_frames(self) -> int:
        """Frames after its own that an encoder frame depends on, the last perhaps in part."""
        return 0 if self.frame_rate is None else self.frame_rate.lookahead_frames

    @property
    def receptive_field_samples(self) -> int:
        """Samples that an encoder frame depends on; the last is the last of its own hop, or of its
        lookahead."""
        if self.frame_rate is not None:
            network, hop = self.frame_rate, self.hop_samples
            frames = network.encoder_blocks * (network.kernel_size - 1) + 1
            return frames * hop + hop // network.cells * (network.analysis_overlap - 1)
        inputs = 3  # of the last convolution; then layer by layer up to the sample rate
        for stride in reversed(self.strides):
            inputs = (inputs + 1) * stride + sum(6 * dilation for dilation in self.dilations)
        return inputs + 6

    @property
    def levels(self) -> int:
        """Q."""
        return self.quantizer.levels

    @property
    def codebook_size(self) -> int:
        """N."""
        return self.quantizer.codebook_size

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first stage and after each."""
        return tuple(self.channels * m for m in self.width_multipliers)


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights and reductions."""

    spectral_weight: float = 1.0
    """Of the multi-scale spectral loss (paper: 1)."""
    adversarial_weight: float = 1.0
    """Of the generator's hinge loss (paper: 1)."""
    feature_weight: float = 100.0
    """Of the distance between discriminator features (paper: 100)."""
    complex_weight: float = 0.0
    """Of the distance of short-time spectra that hears phases too (the paper has none: 0)."""
    commitment_weight: float = 1.0
    """Of the quantizer's commitment loss (the paper describes none)."""
    spectral_windows: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    """Window lengths in samples (paper: 2^6 to 2^11); multiples of 4, the hop is a quarter."""
    mel_bins: int = 64
    """Mel bands of each scale (paper: 64)."""
    spectral_reduction: Literal["frame_mean", "sum"] = "frame_mean"
    """Over valid frames and scales: their mean, or the sum as printed, which wants a weight of
    about a thousandth. Bands are added up (L1) or as the root of their squares (L2)."""
    log_floor: float = 1e-5
    """Magnitude added before the logarithm."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--train.losses")
        weights = " ".join(name for name in vars(self) if name.endswith("_weight"))
        check(weights, lambda x: x >= 0, "0 or more")
        fits = lambda x: x and all(w >= 16 and w % 4 == 0 for w in x)  # noqa: E731
        check("spectral_windows", fits, "multiples of 4 from 16 on")
        check("mel_bins", lambda x: x >= 1, "1 or more")
        check("log_floor", lambda x: x > 0, "more than 0")


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the discriminators; the defaults are the paper's."""

    wave_scales: tuple[int, ...] = (1, 2, 4)
    """One waveform discriminator for each factor of down-sampling."""
    wave_width: int = 16
    """Channels after its first convolution; a power of two, at least 4."""
    wave_max_width: int = 1024
    """Cap of its channels, which grow by 4 with each of four strided layers."""
    wave_normalization: Normalization = "weight"
    """Of the waveform discriminators (weight: as in MelGAN)."""
    grouped_convolution: Literal["grouped", "block_diagonal", "lane_blocks"] = "grouped"
    """How grouped convolutions are computed, with equal results. block_diagonal: dense, zeros
    between the groups; faster on a CPU for narrow widths. lane_blocks: groups joined to 128 input
    channels, zeros between them; several times faster on a TPU (docs/guide/tpu.md)."""
    stft_convolution: Literal["plain", "lane_blocks"] = "plain"
    """How convolutions of the STFT discriminator are computed, with equal results. lane_blocks: as
    many neighbouring bins as make 128 channels side by side, with zeros where the kernel does not
    reach; several times faster on a TPU (docs/guide/tpu.md)."""
    stft_width: int = 32
    """C, channels after the first convolution of the STFT discriminator."""
    stft_window: int = 1024
    """W, samples; a multiple of 128."""
    stft_hop: int = 256
    """H, samples."""
    stft_normalization: Normalization = "layer"
    """Of the STFT discriminator (layer: over time, frequency and channels of an example, which kept
    EnCodec's from diverging; the paper names none)."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--train.discriminators")
        power = f"a power of two of at least {GROUP_CHANNELS}"
        fits = lambda x: x >= GROUP_CHANNELS and _is_power_of_two(x)  # noqa: E731
        check("wave_width wave_max_width", fits, power)
        check("wave_scales", lambda x: all(map(_is_power_of_two, x)), "powers of two")
        check("stft_width", lambda x: x >= 1, "1 or more")
        multiple, window = 2 * FREQUENCY_STRIDE, self.stft_window
        check("stft_window", lambda x: x > 0 and x % multiple == 0, f"a multiple of {multiple}")
        check("stft_hop", lambda x: 1 <= x <= window, f"1 to stft_window = {window}")


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


@dataclasses.dataclass(frozen=True)
class BalancerConfig:
    """Losses balanced by their gradients (Paper: EnCodec section 3.4)."""

    decay: float = 0.999
    """Of the moving averages of gradient norms, per step (EnCodec: 0.999)."""
    total_norm: float = 1.0
    """R, norm over the batch of the balanced gradient if all losses pull one way (EnCodec: 1)."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--train.balancer")
        check("decay", lambda x: 0 <= x < 1, "0 to below 1")
        check("total_norm", lambda x: x > 0, "more than 0")


@dataclasses.dataclass(frozen=True)
class SoundStreamTrainConfig:
    """How the codec is trained, apart from its size, its optimizers and its data."""

    losses: LossConfig = LossConfig()
    """Weights and reductions."""
    discriminators: DiscriminatorConfig = DiscriminatorConfig()
    """Their sizes."""
    discriminator_start_step: int = 0
    """First step with adversarial and feature losses; discriminators cost nothing before it."""
    discriminator_every: int = 1
    """The discriminators are updated at every n-th step from then on."""
    quantizer_dropout: float = 1.0
    """Probability that an example's number of levels is drawn from 1 to Q (paper: 1)."""
    generator_ema_decay: float = 0.0
    """Decay of the generator's moving average, which is then evaluated and exported; 0: none."""
    balancer: BalancerConfig | None = None
    """Makes the weights of `losses`, but for commitment, shares of the gradient (paper: none)."""
    compute_dtype: Dtype = "float32"
    """Arithmetic of encoder, decoder and discriminators while they learn. Parameters, the layers
    that give latents and samples, codes and losses are float32 all the same, and so is the codec
    that comes of it (docs/guide/codec.md has what bfloat16 costs in quality)."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--train")
        check("discriminator_start_step", lambda x: x >= 0, "0 or more")
        check("discriminator_every", lambda x: x >= 1, "1 or more")
        check("quantizer_dropout", lambda x: 0 <= x <= 1, "0 to 1")
        check("generator_ema_decay", lambda x: 0 <= x < 1, "0 (off) to below 1")
        if self.balancer is not None and not self.balanced:
            flags = (f"--train.losses.{name}-weight" for name in RECONSTRUCTION + ADVERSARIAL)
            raise InputError(f"--train.balancer: needs a weight above 0 among {', '.join(flags)}")

    @property
    def balanced(self) -> tuple[str, ...]:
        """The losses that a balancer balances: those of a weight above 0."""
        return tuple(name for name in RECONSTRUCTION + ADVERSARIAL if self.weight(name))

    def weight(self, name: str) -> float:
        """Weight of a loss."""
        return getattr(self.losses, f"{name}_weight")

    def weightings(self, pair: tuple[str, str]) -> tuple[tuple[float, float], ...]:
        """Weights of two losses for each pass back through both: their sum, or with a balancer
        each by itself."""
        first, second = pair
        if self.balancer is None:
            return ((self.weight(first), self.weight(second)),)
        return tuple(
            (float(name == first), float(name == second)) for name in pair if self.weight(name)
        )
