"""What a user decides about training: the loop, the devices, the optimizer, the first weights; it
needs no JAX, so that a config file is read, and its help shown, in a moment."""

import dataclasses
import re
from typing import Literal

from audiolm_jax.artifacts.identity import Place
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
    evaluate_start: bool = False
    """Also evaluate before the first update: what a warm start began with; it may be the best."""
    heldout_batches: int | None = 100
    """The most batches of a pass: of more data the same windows each time, spread evenly over all;
    None takes all. A batch costs about a third of a step."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; one more ends the run."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints to keep."""
    keep_best: int = 0
    """How many more to keep, written at the best evaluations and named in best.json; 0: none."""
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
    """"A:B" traces the updates A to B (counted from 1) to the folder `profile`; None does not."""
    stall_seconds: float | None = 1800.0
    """A process that makes no progress for so long writes the stacks of all its threads to standard
    error and ends with status 124; None lets it hang. Compiling the step does not count."""
    progress_seconds: float = 10.0
    """Seconds between two progress lines where there is no terminal."""
    reference: Place | None = None
    """metrics.jsonl of a finished run of this config: held-out metrics that lie elsewhere are told,
    with the usual reasons; None compares with none."""

    def __post_init__(self) -> None:
        positive = ("steps", "log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints")
        for name in positive:
            self._require(name, getattr(self, name) >= 1, "expected 1 or more")
        count = self.heldout_batches
        self._require("heldout_batches", count is None or count >= 1, "expected 1 or more, or None")
        self._require("keep_best", self.keep_best >= 0, "expected 0 or more")
        is_kept = self.export == "last" or self.keep_best > 0
        self._require("export", is_kept, "none is kept; set --loop.keep-best to 1 or more")
        self._require("seed", 0 <= self.seed < 2**32, "expected 0 to 2**32 - 1")
        for name in ("progress_seconds", "stall_seconds"):
            value = getattr(self, name)
            self._require(name, value is None or value > 0, "expected more than 0")
        _ = self.profiled_steps  # refuses what is no range

    def _require(self, name: str, is_good: bool, why: str) -> None:
        if not is_good:
            raise InputError(f"--loop.{name.replace('_', '-')} {getattr(self, name)}: {why}")

    @property
    def profiled_steps(self) -> range:
        """The updates to trace, counted from 1; empty if there are none."""
        if self.profile_steps is None:
            return range(0)
        first, _, last = self.profile_steps.partition(":")
        is_range = first.isdecimal() and last.isdecimal()
        expected = f"expected A:B with 1 <= A <= B <= --loop.steps {self.steps}, such as 10:12"
        self._require("profile_steps", is_range, expected)
        self._require("profile_steps", 1 <= int(first) <= int(last) <= self.steps, expected)
        return range(int(first), int(last) + 1)


# Fields of the loop that decide what is kept, shown and measured, never what is learnt.
_CHANGEABLE = {
    "log_every", "evaluate_every", "evaluate_start", "heldout_batches", "checkpoint_every",
    "keep_checkpoints", "keep_best", "best_metric", "best_is", "export", "tensorboard",
    "wandb_project", "profile_steps", "stall_seconds", "progress_seconds", "reference",
}  # fmt: skip


def may_change(name: str) -> bool:
    """Whether a field of an experiment, by dotted name, may change within a run: it decides nothing
    of what is learnt, or, as those of `mesh`, its rounding only."""
    loop = name.rpartition("config.loop.")[2]
    return ".mesh." in name or loop in _CHANGEABLE or name in ("config.samples", "config.reader")


_SIZES = {"none": (), "dp": ("slices",), "fsdp": ("slices", "replicas")}


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How a run is spread over devices; whatever the sizes leave over goes to the main axis."""

    preset: Literal["none", "dp", "fsdp", "fsdp_tp"] = "none"
    """none: one device and no mesh. dp: every device holds all parameters and a part of the batch.
    fsdp: parameters and optimizer state are sharded as well. fsdp_tp: and the width of each layer
    is split over `model` devices."""
    slices: int = 1
    """Slices (pods) joined by a data-center network: between them only gradients travel."""
    replicas: int = 1
    """Copies of the sharded parameters within a slice (fsdp and fsdp_tp)."""
    model: int = 1
    """Devices that split each layer between them (fsdp_tp)."""

    def __post_init__(self) -> None:
        for name in ("slices", "replicas", "model"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"--mesh.{name} {value}: expected 1 or more")
            if value != 1 and name not in _SIZES.get(self.preset, (name,)):
                raise InputError(f"--mesh.{name} {value}: set 1 with --mesh.preset {self.preset}")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer with its schedule."""

    kind: Literal["adamw", "adafactor"] = "adamw"
    """adafactor: factored second moments, steps relative to each matrix's size, as for T5."""
    learning_rate: float = 1e-3
    """The peak rate; for adafactor it is relative to each matrix's root mean square."""
    warmup_steps: int = 100
    """Steps of linear growth from 0 to the peak."""
    schedule: Literal["constant", "cosine", "rsqrt"] = "constant"
    """What follows the warm-up. constant: the peak. cosine: half a cosine down to `final_fraction`
    of the peak at `total_steps`. rsqrt: peak x sqrt(warmup_steps / step)."""
    total_steps: int | None = None
    """The step at which cosine ends; None with the other schedules."""
    final_fraction: float = 0.0
    """The part of the peak that cosine ends at, in [0, 1]."""
    b1: float = 0.9
    """Decay of the first moment; for adafactor 0 keeps no first moment, which saves memory."""
    b2: float = 0.98
    """Decay of adamw's second moment (adafactor has its own rule)."""
    weight_decay: float = 0.0
    """Decoupled weight decay per unit of learning rate, of weights, not of biases and scales."""
    clip_norm: float | None = 1.0
    """Gradients of a larger global norm are scaled down to it; None never does."""

    def __post_init__(self) -> None:
        warmup, total, is_cosine = self.warmup_steps, self.total_steps, self.schedule == "cosine"
        for name, is_good, expected in (
            ("learning_rate", self.learning_rate > 0, "more than 0"),
            ("warmup_steps", warmup >= 0, "0 or more"),
            ("warmup_steps", warmup or self.schedule != "rsqrt", "1 or more with schedule rsqrt"),
            ("total_steps", total is not None or not is_cosine, "the step at which cosine ends"),
            ("total_steps", total is None or is_cosine, f"None with schedule {self.schedule}"),
            ("total_steps", total is None or total > warmup, f"more than the warm-up's {warmup}"),
            ("final_fraction", 0 <= self.final_fraction <= 1, "0 to 1"),
            ("b1", 0 <= self.b1 < 1, "0 to below 1"),
            ("b2", 0 <= self.b2 < 1, "0 to below 1"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("clip_norm", self.clip_norm is None or self.clip_norm > 0, "more than 0, or None"),
        ):
            if not is_good:
                flag = f"--optimizer.{name.replace('_', '-')} {getattr(self, name)}"
                raise InputError(f"{flag}: expected {expected}")


@dataclasses.dataclass(frozen=True)
class WarmStartConfig:
    """Where the first values of a model come from, instead of chance.

    Every array of the new model (`params.`, `rest.` and `ema.` of its state, by the names that its
    checkpoints have) must be found in the source or be left fresh by name, and every array of the
    source must be used or be dropped by name. Patterns are regular expressions that match whole
    names. Optimizer state, step, data position and random draws start anew.
    """

    source: Place
    """A run directory with checkpoints (its newest is taken), or a model folder, whose arrays are
    called as they are there with `params.` before."""
    renames: dict[str, str] = dataclasses.field(default_factory=dict)
    r"""Pattern of new names -> old name, in which \1 stands for the first group of the pattern; the
    first pattern that matches decides, and names without one stay the same."""
    fresh: tuple[str, ...] = ()
    """Patterns of new names that keep their random values."""
    dropped: tuple[str, ...] = ()
    """Patterns of old names that are not wanted."""

    def __post_init__(self) -> None:
        for field in ("renames", "fresh", "dropped"):
            for pattern in getattr(self, field):
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise InputError(
                        f"--warm-start.{field}: {pattern!r} is not a regular expression ({error})"
                    ) from None
