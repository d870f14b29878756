"""How the three stages are sampled."""

import dataclasses
from typing import Literal

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """How the three stages are sampled."""

    semantic_temperature: float = 0.6
    """Of stage 1 (paper: 0.6). 0 takes the likeliest token."""
    coarse_temperature: float = 0.8
    """Of stage 2 (paper: 0.8)."""
    fine_temperature: float = 0.6
    """Of stage 3 (paper: 0.6)."""
    context_seconds: float = 3.0
    """Sound that prompts each window of the coarse stage."""
    stop: Literal["duration", "end_token"] = "duration"
    """What ends it: "duration" the seconds asked for, "end_token" earlier where the models end."""

    def __post_init__(self) -> None:
        for field in ("semantic_temperature", "coarse_temperature", "fine_temperature"):
            if not getattr(self, field) >= 0:
                flag = f"--generation.{field.replace('_', '-')}"
                raise InputError(f"{flag} {getattr(self, field)}: expected 0 or more")
        if not self.context_seconds > 0:
            raise InputError(
                f"--generation.context-seconds {self.context_seconds}: expected more than 0"
            )


DEFAULT = GenerationConfig()
