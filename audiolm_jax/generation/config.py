"""How the three stages are sampled."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

from audiolm_jax.errors import check_fields
from audiolm_jax.lm.config import Precision
from audiolm_jax.stages import StageConfig

GUIDANCE = 2.0  # of stages that were trained for it: 3.5 says no more (docs/results/stories.md)


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
    guidance: float | None = None
    """How far the condition counts in stages 2 and 3: what it changes in the logits, times this
    (classifier-free guidance, 2207.12598). 1, as in the paper, turns it off; anything else needs a
    stage trained with `condition_dropout`, and twice the rows. None: 2 in such a stage, else 1."""

    def check(self, flag: str) -> None:
        """InputError, naming the option below `flag`, unless all values make sense."""
        check = functools.partial(check_fields, self, flag, between=" ")
        finite = "a finite number of 0 or more; the paper: 0.6 to 0.8"
        check("temperature", lambda x: 0 <= x < float("inf"), finite)
        whole = "a whole number of 0 or more; 0 turns it off"
        check("top_k", lambda x: type(x) is int and 0 <= x < 2**31, whole)
        check("top_p", lambda x: 0 < x <= 1, "more than 0 and at most 1, which turns it off")
        finite = "a finite number of 0 or more, of which 1 turns it off, or None"
        check("guidance", lambda x: x is None or 0 <= x < math.inf, finite)

    @property
    def truncates(self) -> bool:
        """Whether unlikely tokens are cut off."""
        return self.top_k > 0 or self.top_p < 1

    @property
    def is_guided(self) -> bool:
        """Whether what the stage says without its condition matters."""
        return self.guidance not in (None, 1)

    def settled(self, stage: StageConfig) -> "Sampling":
        """The same with a number for the guidance of a stage."""
        if self.guidance is not None:
            return self
        return dataclasses.replace(self, guidance=GUIDANCE if stage.condition_dropout else 1.0)


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
    fine_context_share: float = 0.5
    """Share of the fine stage's crop that holds sound before its chunk, of which it is told all
    levels, and so the voice; 0, as in the paper, tells it none, and is faster."""
    coarse_only: bool = False
    """Leave stage 3 out: the codec decodes the coarse levels alone, of the prompt too. Faster, and
    better where stage 3 has not learnt enough."""
    first_seconds: float = 0.5
    """Sound that is finished first, so that a stream starts early."""
    stop: Literal["duration", "end_token"] = "duration"
    """What ends it: "duration" the seconds asked for, "end_token" earlier where the models end."""
    weights: Precision = "trained"
    """Numbers that the weights are kept in: as trained, or fewer bits for speed and memory."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--generation", between=" ")
        check("context_seconds first_seconds", lambda x: 0 < x < math.inf, "a number above 0")
        share = "0 to below 1; 0 tells it nothing of what was before"
        check("fine_context_share", lambda x: 0 <= x < 1, share)
        for stage in ("semantic", "coarse", "fine"):
            getattr(self, stage).check(f"--generation.{stage}")

    def settled(self, stages: Mapping[str, StageConfig]) -> "GenerationConfig":
        """The same with a number for the guidance of each of some stages."""
        return self.sampled({name: getattr(self, name).settled(stages[name]) for name in stages})

    def sampled(self, sampling: Mapping[str, Sampling]) -> "GenerationConfig":
        """The same with another sampling of the stages named."""
        changes: dict[str, Any] = dict(sampling)
        return dataclasses.replace(self, **changes)


DEFAULT = GenerationConfig()
