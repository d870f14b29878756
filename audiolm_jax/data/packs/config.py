"""How recordings are packed, as a config; `data.packs.write` does it."""

import dataclasses
from typing import Any, Literal

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class PackConfig:
    """What lies in which file, and what is done to the sound."""

    shards: int = 64
    """Files of the train split; the held-out split gets its share, at least one."""
    sample_rate_hz: int | None = None
    """Rate that recordings are converted to; that of training makes the smallest and fastest packs.
    None keeps their own, to the bit."""
    bits: Literal[16, 24] = 16
    """Of samples in a pack with a sample_rate_hz, all rounded to the nearest; else none is."""

    def __post_init__(self) -> None:
        if self.shards < 1:
            raise InputError(f"--shards = {self.shards}: expected at least 1")

    def conversion(self, data: AudioDataConfig) -> str:
        """What is done to recordings, "" if nothing."""
        if self.sample_rate_hz is None:
            return ""
        return f"{self.sample_rate_hz} Hz, {data.resampler}, {self.bits} bits"


def rules(data: AudioDataConfig) -> dict[str, Any]:
    """What decides which sound is in a pack and how it is split, by flag."""
    names = "dataset heldout_percent heldout_minutes split_by min_seconds max_seconds exclude"
    return {f"--{name.replace('_', '-')}": getattr(data, name) for name in names.split()}
