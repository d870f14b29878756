"""How the three stages are sampled."""

import dataclasses
import functools
from typing import Literal

from audiolm_jax.errors import check_fields


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token of a stage is drawn."""

    temperature: float
    """Of the softmax that is drawn from; 0 takes the likeliest token."""
    top_k: int = 0
    """Draw among so many likeliest tokens alone; 0, as in the paper, among all."""
    top_p: float = 1.0
    """Draw among the fewest likeliest tokens, of those that top-k leaves, that together have this
    probability; 1, as in the paper, among all."""

    def check(self, flag: str) -> None:
        """InputError, naming the option below `flag`, unless all values make sense."""
        check = functools.partial(check_fields, self, flag, between=" ")
        finite = "a finite number of 0 or more; the paper: 0.6 to 0.8"
        check("temperature", lambda x: 0 <= x < float("inf"), finite)
        whole = "a whole number of 0 or more; 0 turns it off"
        check("top_k", lambda x: type(x) is int and 0 <= x < 2**31, whole)
        check("top_p", lambda x: 0 < x <= 1, "more than 0 and at most 1, which turns it off")

    @property
    def truncates(self) -> bool:
        """Whether unlikely tokens are cut off."""
        return self.top_k > 0 or self.top_p < 1


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
