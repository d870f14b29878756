"""Size of a Descript Audio Codec, and how far its layers see."""

import dataclasses
import math

from audiolm_jax.errors import InputError

DILATIONS = (1, 3, 9)  # of the three residual units of every stage
RESIDUAL_KERNEL = 7
EDGE_KERNEL = 7  # first and last layer at the sample rate, first of the decoder
LATENT_KERNEL = 3  # last layer of the encoder


@dataclasses.dataclass(frozen=True)
class DacConfig:
    """Size of the codec; the defaults are those of the 16 kHz weights, AudioLM's token shape."""

    sample_rate_hz: int = 16000
    """Rate of the audio."""
    strides: tuple[int, ...] = (2, 4, 5, 8)
    """Down-sampling of each encoder stage, mirrored in the decoder; their product is the hop."""
    encoder_width: int = 64
    """Channels before the first encoder stage; every stage doubles them."""
    decoder_width: int = 1536
    """Channels before the first decoder stage; every stage halves them."""
    latent_width: int = 1024
    """Width of the vectors that are quantized."""
    levels: int = 12
    """Quantizer levels."""
    codebook_size: int = 1024
    """Codes of a level."""
    codebook_width: int = 8
    """Width in which the nearest code is looked up (factorized codes)."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if (min(value, default=0) if name == "strides" else value) < 1:
                raise InputError(f"{name} = {value}: expected 1 or more")
        if self.decoder_width % 2 ** len(self.strides):
            stages = f"cannot be halved by each of {len(self.strides)} stages"
            raise InputError(f"decoder_width = {self.decoder_width}: {stages}")

    @property
    def hop_samples(self) -> int:
        """Samples per frame."""
        return math.prod(self.strides)

    @property
    def encoder_widths(self) -> tuple[int, ...]:
        """Channels before the first encoder stage and after each."""
        return tuple(self.encoder_width * 2**i for i in range(len(self.strides) + 1))

    @property
    def decoder_widths(self) -> tuple[int, ...]:
        """Channels before the first decoder stage and after each."""
        return tuple(self.decoder_width // 2**i for i in range(len(self.strides) + 1))

    @property
    def decoder_shortfall(self) -> int:
        """Samples by which decoded audio falls short of frames * hop: 8 at 16 kHz."""
        missing = 0  # a transposed convolution of odd stride is cut by one more than it adds
        for stride in reversed(self.strides):
            missing = missing * stride + stride % 2
        return missing

    @property
    def encoder_context(self) -> int:
        """Frames on either side beyond which no sample changes a frame's latent."""
        return self._context(LATENT_KERNEL)

    @property
    def decoder_context(self) -> int:
        """Frames on either side beyond which no code changes a frame's samples."""
        return self._context(EDGE_KERNEL)

    def _context(self, frame_kernel: int) -> int:
        """Reach in frames of a stack from `frame_kernel` at the frame rate to the sample rate."""
        reach, samples = EDGE_KERNEL // 2, 1
        for stride in self.strides:
            before = -(-stride // 2)
            beside = sum(DILATIONS) * (RESIDUAL_KERNEL // 2)
            reach += (beside + max(before, 2 * stride - 1 - before)) * samples
            samples *= stride
        reach += (frame_kernel // 2) * samples
        return -(-reach // samples)
