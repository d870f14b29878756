"""What a user decides about the training loop."""

import dataclasses
from typing import Literal

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long to train and how often to do what, all counted in steps."""

    steps: int
    """Updates in all; may be raised later, which extends the run."""
    seed: int = 0
    """Decides the initial parameters and every random draw of training."""
    log_every: int = 10
    """Steps between two lines of metrics."""
    evaluate_every: int = 500
    """Steps between two passes over the held-out data; one more ends the run."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; one more ends the run."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints to keep."""
    keep_best: int = 0
    """How many more to keep, those of the best evaluations (a checkpoint is written at each
    evaluation that is among them); 0 keeps none. best.json in the run directory names them."""
    best_metric: str = "loss"
    """The held-out metric that decides, named as in metrics.jsonl without `heldout/`."""
    best_is: Literal["lowest", "highest"] = "lowest"
    """Whether its lowest or its highest value is the best."""
    export: Literal["last", "best"] = "last"
    """Which state the model folder gets: the last one, or the best one that is kept."""
    tensorboard: bool = True
    """Also write TensorBoard event files."""
    wandb_project: str | None = None
    """Also log to this project of Weights & Biases; None does not."""
    profile_steps: str | None = None
    """"A:B" writes a trace of the updates A to B (counted from 1) to the folder `profile`; None
    does not."""
    stall_seconds: float | None = 1800.0
    """A process that makes no progress for so long writes the stacks of all its threads to standard
    error and ends with status 124; None lets it hang. Compiling the step does not count."""
    progress_seconds: float = 10.0
    """Seconds between two progress lines where there is no terminal."""

    def __post_init__(self) -> None:
        least = {"steps": 1, "log_every": 1, "evaluate_every": 1, "checkpoint_every": 1}
        for name, limit in (least | {"keep_checkpoints": 1, "keep_best": 0}).items():
            if getattr(self, name) < limit:
                raise _refused(self, name, f"expected {limit} or more")
        if self.export == "best" and not self.keep_best:
            raise _refused(self, "export", "none is kept; set --loop.keep-best to 1 or more")
        if not 0 <= self.seed < 2**32:
            raise _refused(self, "seed", "expected 0 to 2**32 - 1")
        for name in ("progress_seconds", "stall_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise _refused(self, name, "expected more than 0")
        profiled_steps(self)


# Fields that decide what is kept and shown, never what is computed: a run may go on with other
# values of them.
CHANGEABLE = {
    "checkpoint_every", "keep_checkpoints", "keep_best", "best_metric", "best_is", "export",
    "tensorboard", "wandb_project", "profile_steps", "stall_seconds", "progress_seconds",
}  # fmt: skip


def profiled_steps(config: LoopConfig) -> range:
    """The updates to trace, counted from 1; empty if there are none.

    Raises:
      InputError: `profile_steps` is not two numbers A:B with 1 <= A <= B <= steps.
    """
    if config.profile_steps is None:
        return range(0)
    first, colon, last = config.profile_steps.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal()):
        raise _refused(config, "profile_steps", "expected two counts of updates, such as 10:12")
    if not 1 <= int(first) <= int(last) <= config.steps:
        raise _refused(
            config, "profile_steps", f"expected 1 <= A <= B <= --loop.steps {config.steps}"
        )
    return range(int(first), int(last) + 1)


def _refused(config: LoopConfig, name: str, why: str) -> InputError:
    return InputError(f"--loop.{name.replace('_', '-')} {getattr(config, name)}: {why}")
