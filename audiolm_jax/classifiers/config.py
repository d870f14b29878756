"""Sizes and training of the classifier; imports nothing heavy."""

import dataclasses
import functools

from audiolm_jax.errors import InputError, check_fields

KIND = "classifier"
REAL, GENERATED = "real", "generated"  # the classes of a detector
CALIBRATION = "calibration"  # of a detector, in the provenance of its model folder
HOP_SECONDS = 0.25  # between the windows of a recording (Paper: AudioLM IV-D)


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
    """The network that tells classes of sound apart; the defaults are AudioLM's (IV-D)."""

    sample_rate_hz: int = 16000
    """Rate of the audio."""
    crop_seconds: float = 1.0
    """What it hears at once, in training and after it."""
    mel_hop_samples: int = 160
    """Samples between spectrogram frames (10 ms)."""
    mel_window_samples: int = 400
    """Samples in a spectrogram window (25 ms)."""
    mel_fft_size: int = 512
    """Points of the FFT, at least the window."""
    mel_bins: int = 64
    """Mel filters."""
    mel_floor: float = 1e-6
    """Smallest mel power before the logarithm, relative to full-scale samples of 1."""
    channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512)
    """Of each block; where they grow, time and frequency are halved in front of the block."""
    label: str = "speaker"
    """The column of the corpus that the classes come from: "speaker", or any of metadata.tsv."""
    classes: tuple[str, ...] = ()
    """Entries of that column, in the order of the logits; () takes all that occur, sorted."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--model")
        sizes = "sample_rate_hz crop_seconds mel_hop_samples mel_bins mel_floor"
        check(sizes, lambda x: x > 0, "a positive number")
        hop, window = self.mel_hop_samples, self.mel_window_samples
        check("mel_window_samples", lambda x: x >= hop, f"at least the hop, {hop}")
        check("mel_fft_size", lambda x: x >= window, f"at least the window, {window}")
        check("channels", lambda x: x and min(x) >= 1, "a positive number for each block")
        check("label", str.strip, "the name of a column")
        check("classes", lambda x: len(x) == len(set(x)) != 1, "two or more, each once, or ()")

    @property
    def crop_samples(self) -> int:
        """Samples that it hears at once."""
        return round(self.crop_seconds * self.sample_rate_hz)

    @property
    def is_pooled(self) -> tuple[bool, ...]:
        """Of each block whether time and frequency are halved in front of it."""
        before = (self.channels[0], *self.channels[:-1])
        return tuple(b > a for a, b in zip(before, self.channels, strict=True))

    def check_classes(self) -> None:
        """InputError unless the classes are known."""
        if not self.classes:
            raise InputError("--model.classes (): name them where there is no corpus to find them")


@dataclasses.dataclass(frozen=True)
class ClassifierTrainConfig:
    """What training adds to the network."""

    norm_decay: float = 0.9
    """Of the moving averages of batch normalization, which the trained network normalizes by; over
    the first 1 / (1 - decay) steps they are plain means."""
    level_db: float = 0.0
    """Each crop is made louder or softer by up to so many dB, at random; 0 leaves it as it is."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--train")
        check("norm_decay", lambda x: 0 <= x < 1, "0 to below 1")
        check("level_db", lambda x: 0 <= x < 100, "0 or more, below 100")
