"""`audiolm continue`, `sample` and `revoice`: a bundle and a seed to wav files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.files import read_prompt, save_generated
from audiolm_jax.generation.pipeline import Generator


@dataclasses.dataclass(frozen=True, kw_only=True)
class _BundleOptions:
    models: Path
    """Bundle folder, as `audiolm bundle` writes it."""
    seed: int = 0
    """Of the (first) sampling; the same seed gives the same bytes."""
    generation: GenerationConfig = GenerationConfig()
    """Temperatures and windows; revoice does not use stop."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinueOptions(_BundleOptions):
    """Go on from a recording in its own voice. Prompt and continuation come out as one wav."""

    prompt: tyro.conf.Positional[Path]
    """Recording to go on from: wav, flac, mp3, ogg, opus, m4a or g722."""
    out: Path
    """Wav file to write."""
    seconds: float = 7.0
    """Duration of the continuation."""
    prompt_seconds: float | None = None
    """Use only the beginning of the recording; None uses all of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions(_BundleOptions):
    """Sound from nothing: all three stages sampled without a prompt."""

    out: Path
    """Folder for the wav files, sample_SEED.wav each."""
    seconds: float = 10.0
    """Duration of each sample."""
    count: int = 4
    """How many; they take the seeds seed, seed + 1, ..."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"--count {self.count}: expected 1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RevoiceOptions(_BundleOptions):
    """The paper's acoustic generation: the same words in a sampled voice."""

    speech: tyro.conf.Positional[Path]
    """Recording whose semantic tokens are kept."""
    out: Path
    """Wav file to write."""


def continue_(arguments: Sequence[str]) -> None:
    """`audiolm continue`."""
    options = parse(ContinueOptions, arguments, "audiolm continue")
    _check_wav(options.out)
    with only_writer(options.out, is_replaced=True):
        generator = Generator(load_bundle(options.models), options.generation)
        prompt = read_prompt(options.prompt, generator.sample_rate_hz, options.prompt_seconds)
        result = generator.continue_audio([prompt], options.seconds, [options.seed])[0]
        save_generated(options.out, result, generator, options.seed, options.seconds)


def sample(arguments: Sequence[str]) -> None:
    """`audiolm sample`."""
    options = parse(SampleOptions, arguments, "audiolm sample")
    with only_writer(options.out):
        generator = Generator(load_bundle(options.models), options.generation)
        seeds = [options.seed + i for i in range(options.count)]
        for seed, result in zip(seeds, generator.sample(options.seconds, seeds), strict=True):
            path = options.out / f"sample_{seed}.wav"
            save_generated(path, result, generator, seed, options.seconds)


def revoice(arguments: Sequence[str]) -> None:
    """`audiolm revoice`."""
    options = parse(RevoiceOptions, arguments, "audiolm revoice")
    _check_wav(options.out)
    with only_writer(options.out, is_replaced=True):
        generator = Generator(load_bundle(options.models), options.generation)
        speech = read_prompt(options.speech, generator.sample_rate_hz)
        result = generator.revoice(speech, options.seed)
        save_generated(options.out, result, generator, options.seed, None)


def _check_wav(path: Path) -> None:
    if path.suffix.lower() != ".wav":
        raise InputError(f"--out {path}: expected a name ending in .wav")
