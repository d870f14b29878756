"""`audiolm continue`, `sample` and `revoice`: a bundle and a seed to wav files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro
from jaxtyping import Float

from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.output import save_generated
from audiolm_jax.generation.pipeline import GenerationConfig, Generator


@dataclasses.dataclass(frozen=True)
class ContinueOptions:
    """Go on from a recording in its own voice. Prompt and continuation come out as one wav.

    Attributes:
      prompt: recording to go on from: wav, flac, mp3, ogg, opus, m4a or g722.
      models: bundle folder, as `audiolm bundle` writes it.
      out: wav file to write.
      seconds: duration of the continuation.
      prompt_seconds: use only the beginning of the recording; None uses all of it.
      seed: of the sampling; the same seed gives the same bytes.
      generation: temperatures and windows.
    """

    prompt: tyro.conf.Positional[Path]
    models: Path
    out: Path
    seconds: float = 7.0
    prompt_seconds: float | None = None
    seed: int = 0
    generation: GenerationConfig = GenerationConfig()


@dataclasses.dataclass(frozen=True)
class SampleOptions:
    """Sound from nothing: all three stages sampled without a prompt.

    Attributes:
      models: bundle folder, as `audiolm bundle` writes it.
      out: folder for the wav files, sample_SEED.wav each.
      seconds: duration of each sample.
      count: how many; they take the seeds seed, seed + 1, ...
      seed: of the first sample; the same seed gives the same bytes.
      generation: temperatures and windows.
    """

    models: Path
    out: Path
    seconds: float = 10.0
    count: int = 4
    seed: int = 0
    generation: GenerationConfig = GenerationConfig()

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"count = {self.count}: expected 1 or more")


@dataclasses.dataclass(frozen=True)
class RevoiceOptions:
    """The paper's acoustic generation: the same words in a sampled voice.

    Attributes:
      speech: recording whose semantic tokens are kept.
      models: bundle folder, as `audiolm bundle` writes it.
      out: wav file to write.
      seed: of the sampling; the same seed gives the same bytes.
      generation: temperatures and windows; stop has no effect here.
    """

    speech: tyro.conf.Positional[Path]
    models: Path
    out: Path
    seed: int = 0
    generation: GenerationConfig = GenerationConfig()


def continue_(arguments: Sequence[str]) -> None:
    """`audiolm continue`."""
    options = parse(ContinueOptions, arguments, "audiolm continue")
    _check_wav(options.out)
    generator = Generator(load_bundle(options.models), options.generation)
    prompt = read_prompt(options.prompt, options.prompt_seconds, generator.sample_rate_hz)
    result = generator.continue_audio([prompt], options.seconds, [options.seed])[0]
    save_generated(options.out, result, generator, options.seed, options.seconds)


def sample(arguments: Sequence[str]) -> None:
    """`audiolm sample`."""
    options = parse(SampleOptions, arguments, "audiolm sample")
    generator = Generator(load_bundle(options.models), options.generation)
    options.out.mkdir(parents=True, exist_ok=True)
    seeds = [options.seed + i for i in range(options.count)]
    for seed, result in zip(seeds, generator.sample(options.seconds, seeds), strict=True):
        path = options.out / f"sample_{seed}.wav"
        save_generated(path, result, generator, seed, options.seconds)


def revoice(arguments: Sequence[str]) -> None:
    """`audiolm revoice`."""
    options = parse(RevoiceOptions, arguments, "audiolm revoice")
    _check_wav(options.out)
    generator = Generator(load_bundle(options.models), options.generation)
    speech = read_prompt(options.speech, None, generator.sample_rate_hz)
    result = generator.revoice(speech, options.seed)
    save_generated(options.out, result, generator, options.seed, None)


def read_prompt(path: Path, seconds: float | None, rate_hz: int) -> Float[np.ndarray, " s"]:
    """The beginning of a recording, cut first and converted after: the rest cannot leak into it.

    Raises:
      InputError: an unreadable file, or one shorter than `seconds`.
    """
    if seconds is not None and not seconds > 0:
        raise InputError(f"prompt_seconds = {seconds}: expected more than 0")
    prompt = read_resampled(path, rate_hz, "soxr_hq", seconds=seconds)
    if seconds is not None and len(prompt) < round(seconds * rate_hz):
        raise InputError(
            f"prompt_seconds = {seconds}: {path} has only {len(prompt) / rate_hz:.2f} s; "
            "ask for less or leave the flag out"
        )
    return prompt


def _check_wav(path: Path) -> None:
    if path.suffix.lower() != ".wav":
        raise InputError(f"out = {path}: expected a name ending in .wav")
