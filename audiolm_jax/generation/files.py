"""Prompts from recordings, and generated sound as wav files that say what made them."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float

from audiolm_jax import __version__
from audiolm_jax.artifacts.storage import at
from audiolm_jax.audio.files import write_wav
from audiolm_jax.audio.names import shown
from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.errors import InputError
from audiolm_jax.generation.pipeline import Generated, Generator

logger = logging.getLogger(__name__)


def read_prompt(
    path: str | Path, rate_hz: int, seconds: float | None = None
) -> Float[np.ndarray, " s"]:
    """The first `seconds` of a recording, None all of it; InputError if there are not so many.

    Mono, cut first and converted after: the rest cannot leak into it.
    """
    if seconds is not None and not seconds > 0:
        raise InputError(f"--prompt-seconds {seconds}: expected more than 0")
    prompt = read_resampled(at(path), rate_hz, "soxr_hq", seconds=seconds)
    if seconds is not None and len(prompt) < round(seconds * rate_hz):
        there = f"{shown(path)} has only {len(prompt) / rate_hz:.2f} s"
        raise InputError(f"--prompt-seconds {seconds}: {there}; ask for less or leave the flag out")
    return prompt


def save_generated(
    path: str | Path, result: Generated, generator: Generator, seed: int, seconds: float | None
) -> None:
    """Writes a wav with its provenance inside; `seconds` is what was asked for, None if nothing."""
    path, rate = at(path), generator.sample_rate_hz
    provenance = {
        "software": f"audiolm_jax {__version__}",
        "synthetic": True,
        "seed": seed,
        "seconds": seconds,
        "prompt_seconds": result.prompt_samples / rate,
        "bundle": generator.bundle.fingerprint,
        "generation": dataclasses.asdict(generator.config),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    clipped = write_wav(path, result.samples, rate, provenance)
    seconds, prompt_seconds = len(result.samples) / rate, result.prompt_samples / rate
    ended = ", ended by the model" if result.ended else ""
    cut = f"; {clipped} samples beyond full scale were cut" if clipped else ""
    logger.info(f"{path}: {seconds:.2f} s, of which {prompt_seconds:.2f} s prompt{ended}{cut}")
