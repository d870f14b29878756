"""What a user decides about the training loop."""

import dataclasses
from typing import Literal

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long to train and how often to do what, all counted in steps.

    Attributes:
      steps: updates in all; may be raised later, which extends the run.
      seed: decides the initial parameters and every random draw of training.
      log_every: steps between two lines of metrics.
      evaluate_every: steps between two passes over the held-out data; one more ends the run.
      checkpoint_every: steps between two checkpoints; one more ends the run.
      keep_checkpoints: how many of the newest checkpoints to keep.
      keep_best: how many more to keep, those of the best evaluations (a checkpoint is written at
        each evaluation that is among them); 0 keeps none. best.json in the run directory names
        them.
      best_metric: the held-out metric that decides, named as in metrics.jsonl without `heldout/`.
      best_is: whether its lowest or its highest value is the best.
      export: which state the model folder gets: the last one, or the best one that is kept.
      tensorboard: also write TensorBoard event files.
      wandb_project: also log to this project of Weights & Biases; None does not.
      profile_steps: "A:B" writes a trace of the updates A to B (counted from 1) to the folder
        `profile`; None does not.
      stall_seconds: a process that makes no progress for so long writes the stacks of all its
        threads to standard error and ends with status 124; None lets it hang. The time to compile
        the step does not count.
      progress_seconds: seconds between two progress lines where there is no terminal.
    """

    steps: int
    seed: int = 0
    log_every: int = 10
    evaluate_every: int = 500
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    keep_best: int = 0
    best_metric: str = "loss"
    best_is: Literal["lowest", "highest"] = "lowest"
    export: Literal["last", "best"] = "last"
    tensorboard: bool = True
    wandb_project: str | None = None
    profile_steps: str | None = None
    stall_seconds: float | None = 1800.0
    progress_seconds: float = 10.0

    def __post_init__(self):
        for name in ("steps", "log_every", "evaluate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: expected 1 or more")
        if self.keep_checkpoints < 1:
            raise InputError(f"keep_checkpoints = {self.keep_checkpoints}: expected 1 or more")
        if self.keep_best < 0:
            raise InputError(f"keep_best = {self.keep_best}: expected 0 (none) or more")
        if self.export == "best" and not self.keep_best:
            raise InputError("export = 'best': none is kept; set keep_best to 1 or more")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed = {self.seed}: expected 0 to 2**32 - 1")
        for name in ("progress_seconds", "stall_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} = {value}: expected more than 0")
        profiled_steps(self)


# Fields of the loop that decide what is kept and shown, never what is computed: a run may go on
# with other values of them.
CHANGEABLE = (
    "checkpoint_every",
    "keep_checkpoints",
    "keep_best",
    "best_metric",
    "best_is",
    "export",
    "tensorboard",
    "wandb_project",
    "profile_steps",
    "stall_seconds",
    "progress_seconds",
)


def profiled_steps(config: LoopConfig) -> range:
    """The updates to trace, counted from 1; empty if there are none.

    Raises:
      InputError: `profile_steps` is not two numbers A:B with 1 <= A <= B <= steps.
    """
    if config.profile_steps is None:
        return range(0)
    first, colon, last = config.profile_steps.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal()):
        raise InputError(
            f"profile_steps = {config.profile_steps!r}: expected two counts of updates, such as "
            "10:12"
        )
    if not 1 <= int(first) <= int(last) <= config.steps:
        raise InputError(
            f"profile_steps = {config.profile_steps!r}: expected 1 <= A <= B <= steps = "
            f"{config.steps}"
        )
    return range(int(first), int(last) + 1)
