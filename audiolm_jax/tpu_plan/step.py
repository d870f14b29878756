"""The step of a plan: what a config trains, traced for devices that may not be there."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from audiolm_jax.errors import InputError
from audiolm_jax.experiments.trained import StepExperiment
from audiolm_jax.nn.partition import Rules
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.mesh import make_mesh, rules_of, state_shardings, use_mesh
from audiolm_jax.training.state import Batch, TrainProgram
from audiolm_jax.training.step import abstract_arguments, jit_step, make_init


@dataclasses.dataclass(frozen=True)
class Step:
    """What is planned, wherever it is to run."""

    program: TrainProgram
    batch: Batch  # as shapes, over all devices
    mesh: MeshConfig
    model_flops: float  # of a step over all devices
    units: tuple[str, float]  # what a step learns from, "tokens" or "audio_seconds", and how much
    steps: int  # of the whole training
    price: float | None = None  # of a chip or card for an hour

    @classmethod
    def of(cls, experiment: StepExperiment, price: float | None = None) -> "Step":
        """The step of a config."""
        return cls(
            experiment.program(),
            experiment.abstract_batch(),
            experiment.mesh,
            experiment.model_flops(),
            experiment.units_per_step(),
            experiment.loop.steps,
            price,
        )

    @property
    def batch_size(self) -> int:
        """Rows of a batch, over all devices."""
        return int(jax.tree.leaves(self.batch)[0].shape[0])


@dataclasses.dataclass(frozen=True)
class Duration:
    """How long a whole training takes if nothing but the step takes time."""

    steps: int
    hours: float
    chip_hours: float
    cost: float | None  # in the currency of the price; None without one

    @classmethod
    def of(cls, steps: int, seconds: float, chips: int, price: float | None) -> "Duration":
        """Of steps that take so many seconds each on so many chips or cards."""
        hours = steps * seconds / 3600
        return cls(steps, hours, hours * chips, None if price is None else hours * chips * price)

    def __str__(self) -> str:
        text = f"{self.steps:,} steps: {self.hours:,.1f} h, {self.chip_hours:,.0f} chip-hours"
        return text if self.cost is None else f"{text}, cost {self.cost:,.0f}"


@dataclasses.dataclass(frozen=True)
class TracedStep:
    """A step traced for devices; `lower().compile()` compiles it."""

    mesh: Mesh
    rules: Rules | None
    abstract: Any  # the state as shapes
    shardings: Any  # of the state
    traced: Any  # jax.stages.Traced

    @property
    def parameters(self) -> int:
        """Numbers trained by gradient."""
        return sum(x.size for x in jax.tree.leaves(self.abstract.params))

    def lower(self) -> Any:
        """Lowered, ready to be compiled."""
        with use_mesh(self.mesh, self.rules):
            return self.traced.lower()


def trace(step: Step, devices: Sequence[Any]) -> TracedStep:
    """Traces the step that `loop.train` would run on the devices. InputError if their number, the
    batch or a width does not divide."""
    config = step.mesh
    if config.preset == "none":
        if len(devices) > 1:
            raise InputError(
                "mesh.preset = 'none': uses one device; plan with --mesh.preset dp, fsdp or fsdp_tp"
            )
        config = MeshConfig("dp")  # of one device: the same step
    mesh, rules = make_mesh(config, devices), rules_of(config)
    assert mesh is not None  # there is one with every other preset
    key = jax.eval_shape(lambda: jax.random.key(0))
    with use_mesh(mesh, rules):
        abstract = jax.eval_shape(make_init(step.program), key)
        shardings = state_shardings(mesh, rules, abstract)
        arguments = abstract_arguments(abstract, shardings, step.batch, mesh)
        traced = jit_step(step.program, mesh, shardings).trace(*arguments)
    return TracedStep(mesh, rules, abstract, shardings, traced)
