"""How the three stages are sampled."""

import dataclasses
import functools
from typing import Literal

from audiolm_jax.errors import check_fields


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
    """Sound that prompts each window of the coarse stage, where prompt and continuation do not fit
    into one."""
    stop: Literal["duration", "end_token"] = "duration"
    """What ends it: "duration" the seconds asked for, "end_token" earlier where the models end."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--generation", between=" ")
        temperatures = "semantic_temperature coarse_temperature fine_temperature"
        check(temperatures, lambda x: x >= 0, "0 or more")
        check("context_seconds", lambda x: x > 0, "more than 0")


DEFAULT = GenerationConfig()
