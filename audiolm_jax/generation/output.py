"""Generated sound as a wav file that says what made it."""

from dataclasses import asdict
from pathlib import Path

from audiolm_jax import __version__
from audiolm_jax.audio.files import write_wav
from audiolm_jax.generation.pipeline import Generated, Generator


def save_generated(
    path: Path, result: Generated, generator: Generator, seed: int, seconds: float | None
) -> None:
    """Writes a result as wav with its provenance inside, and says what was written.

    Args:
      path: the wav file.
      result: what to write.
      generator: what made it.
      seed: of the sampling.
      seconds: duration that was asked for; None where the source decides it.
    """
    rate = generator.sample_rate_hz
    provenance = {
        "software": f"audiolm_jax {__version__}",
        "synthetic": True,
        "seed": seed,
        "seconds": seconds,
        "prompt_seconds": result.prompt_samples / rate,
        "bundle": generator.bundle.fingerprint,
        "generation": asdict(generator.config),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    clipped = write_wav(path, result.samples, rate, provenance)
    print(
        f"{path}: {len(result.samples) / rate:.2f} s, of which "
        f"{result.prompt_samples / rate:.2f} s prompt"
        + (", ended by the model" if result.ended else "")
        + (f"; {clipped} samples beyond full scale were cut" if clipped else "")
    )
