"""How the three stages are sampled."""

import dataclasses
import functools
import math
from typing import Literal

from audiolm_jax.errors import check_fields

Weights = Literal["trained", "float32", "bfloat16", "int8"]


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the tokens of a stage are drawn."""

    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_k: int = 0
    """Draws from the k likeliest tokens; 0 from all, as in the paper."""
    top_p: float = 1.0
    """Draws from the fewest tokens that have this probability together; 1 from all, as in the
    paper."""


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """How the three stages are sampled."""

    semantic: Sampling = Sampling(0.6)
    """Stage 1 (paper: temperature 0.6)."""
    coarse: Sampling = Sampling(0.8)
    """Stage 2 (paper: temperature 0.8)."""
    fine: Sampling = Sampling(0.6)
    """Stage 3 (paper: temperature 0.6)."""
    context_seconds: float = 3.0
    """Sound that prompts each window of the coarse stage, where prompt and continuation do not fit
    into one; more where the last window leaves room."""
    first_seconds: float = 1.0
    """Sound that is finished first, so that a stream starts early."""
    stop: Literal["duration", "end_token"] = "duration"
    """What ends it: "duration" the seconds asked for, "end_token" earlier where the models end."""
    weights: Weights = "trained"
    """Numbers that the weights are kept in: as trained, or fewer bits for speed and memory."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--generation", between=" ")
        check("context_seconds first_seconds", lambda x: 0 < x < math.inf, "a number above 0")


DEFAULT = GenerationConfig()
