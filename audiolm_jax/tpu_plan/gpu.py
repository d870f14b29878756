"""A training step planned for graphics cards that are not there: bounds, and no measurement.

Memory is XLA's analysis of the step compiled for as many devices of this machine's CPU as there are
cards. What a step holds all the time (the state) and is given (the batch) is the same there. What
it needs besides is that of a CPU's program, which orders and joins operations otherwise than a
card's, and keeps what is bfloat16 on a card in float32 in places; cuDNN's attention is compiled in
blocks.

Time is arithmetic: the model's operations over the cards' peak, of which a training reaches a
share, and the state read and written once over the memory's rate. Exchange between cards, the
host and the feeding of data are left out.
"""

import dataclasses
import os
import time
from typing import Any, ClassVar

import jax

from audiolm_jax.errors import InputError
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.experiments.trained import StepExperiment
from audiolm_jax.tpu_plan.names import Card, Cards
from audiolm_jax.tpu_plan.plan import Memory, memory_of
from audiolm_jax.tpu_plan.step import Duration, Step, trace

# What JAX takes of a card unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise.
MEMORY_SHARE = 0.75
# Shares of the peak that a step is taken to reach, by the kind of model: those that the TPU
# compiler expects of the same steps (docs/guide/tpu.md; of a stage that attends in blocks,
# docs/guide/stories.md). What cards reach was not measured.
_SHARES = {"stage": 0.14, "w2v_bert": 0.3, "soundstream": 0.06}
_OTHER_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class GpuPlan:
    """One step on one machine with cards."""

    kind: ClassVar[str] = "gpu"

    topology: str  # name of the cards, as it was given
    machines: int  # how many of them: `mesh.slices`
    card: Card
    chips: int  # cards, of all machines
    mesh: dict[str, int]  # cards along each axis
    preset: str  # of the mesh
    parameters: int  # numbers trained by gradient
    batch_size: int  # over all cards
    units: tuple[str, float]  # what a step learns from, "tokens" or "audio_seconds", and how much
    model_flops: float  # of a step over all cards
    dtype: str  # of the numbers that are multiplied, "bfloat16" or "float32"
    memory: Memory  # of one card; the limit is JAX's default share
    state_seconds: float  # to read and write the state once
    share: float  # of the peak, assumed
    steps: int  # of the whole training
    price: float | None  # of a card for an hour
    compile_seconds: float  # tracing and compiling, for the CPU

    @property
    def peak_flops(self) -> float:
        """Operations per second of all cards, with numbers of `dtype`."""
        card = self.card
        peak = card.bfloat16_flops if self.dtype == "bfloat16" else card.float32_flops
        return self.chips * peak

    @property
    def least_seconds(self) -> float:
        """A step takes no less."""
        return max(self.model_flops / self.peak_flops, self.state_seconds)

    @property
    def assumed_seconds(self) -> float:
        """A step takes so much at `share` of the peak."""
        return max(self.model_flops / self.peak_flops / self.share, self.state_seconds)

    @property
    def least(self) -> Duration:
        """The whole training: no card is faster than its peak and its memory."""
        return Duration.of(self.steps, self.least_seconds, self.chips, self.price)

    @property
    def assumed(self) -> Duration:
        """The whole training at `share` of the peak."""
        return Duration.of(self.steps, self.assumed_seconds, self.chips, self.price)

    @property
    def fits(self) -> bool:
        """Whether JAX's default share of a card's memory holds the step."""
        return self.memory.needed is not None and self.memory.needed <= self.memory.limit

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        names = ("kind", "fits", "peak_flops", "least_seconds", "assumed_seconds")
        whole = {"least": self.least, "assumed": self.assumed}
        return (
            dataclasses.asdict(self)
            | {name: getattr(self, name) for name in names}
            | {name: dataclasses.asdict(duration) for name, duration in whole.items()}
        )


@dataclasses.dataclass(frozen=True)
class CpuStep:
    """A step compiled for devices of this machine's CPU."""

    step: Step
    count: int  # devices
    mesh: dict[str, int]  # devices along each axis
    parameters: int
    stats: Any  # XLA's analysis of its memory
    seconds: float  # tracing and compiling


def prepare_cpus(count: int) -> None:
    """Has JAX see so many devices of this machine's CPU; call before anything uses a device."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    jax.config.update("jax_platforms", "cpu")
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", count)


def planned(experiment: StepExperiment, *, on_gpus: bool) -> StepExperiment:
    """What is compiled in a config's place: cuDNN's attention, which a CPU has not, in blocks.
    InputError for a kernel of the other kind of machine."""
    if not isinstance(experiment, StageExperiment):
        return experiment
    model, attention = experiment.model, experiment.model.decoder.attention
    if on_gpus and attention == "flash":
        raise InputError(
            "model.decoder.attention = 'flash': a kernel for TPUs; for GPUs add "
            "--model.decoder.attention cudnn or blocks, --model.decoder.remat full"
        )
    if not on_gpus and attention == "cudnn":
        raise InputError(
            "model.decoder.attention = 'cudnn': a kernel for GPUs; for TPUs add "
            "--model.decoder.attention flash --model.decoder.remat kernels"
        )
    if attention != "cudnn":
        return experiment
    decoder = dataclasses.replace(model.decoder, attention="blocks")
    return dataclasses.replace(experiment, model=dataclasses.replace(model, decoder=decoder))


def compile_on_cpus(step: Step, count: int) -> CpuStep:
    """Compiles a step for the CPU in place of so many cards. InputError if the process sees fewer
    devices than `prepare_cpus` was to make."""
    devices = jax.devices("cpu")[:count]
    if len(devices) < count:
        raise InputError(
            f"--topology: {count} cards, but XLA_FLAGS makes {len(devices)} devices of the CPU; "
            "leave xla_force_host_platform_device_count out"
        )
    started = time.monotonic()
    traced = trace(step, devices)
    stats = traced.lower().compile().memory_analysis()
    seconds = time.monotonic() - started
    return CpuStep(step, count, dict(traced.mesh.shape), traced.parameters, stats, seconds)


def plan_on_gpus(
    experiment: StepExperiment, compiled: CpuStep, where: Cards, share: float | None
) -> GpuPlan:
    """The step on cards, as many as the devices that it was compiled for; `share` None takes that
    of the kind of model."""
    step, count = compiled.step, compiled.count
    assert count == where.count * step.mesh.slices
    memory = memory_of(round(MEMORY_SHARE * where.card.memory_bytes), compiled.stats)
    assert memory.arguments is not None  # the analysis of a compiled step has all of them
    return GpuPlan(
        topology=where.name,
        machines=step.mesh.slices,
        card=where.card,
        chips=count,
        mesh=compiled.mesh,
        preset=step.mesh.preset,
        parameters=compiled.parameters,
        batch_size=step.batch_size,
        units=step.units,
        model_flops=step.model_flops,
        dtype=multiplied_dtype(experiment.model),
        memory=memory,
        state_seconds=2 * memory.arguments / where.card.bytes_per_second,
        share=_SHARES.get(experiment.kind, _OTHER_SHARE) if share is None else share,
        steps=step.steps,
        price=step.price,
        compile_seconds=compiled.seconds,
    )


def multiplied_dtype(model: Any) -> str:
    """What a model's config says its products are computed in: a field `compute_dtype` somewhere
    in it, float32 where there is none."""
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if field.name == "compute_dtype":
            return str(value)
        if dataclasses.is_dataclass(value) and (found := multiplied_dtype(value)) != "float32":
            return found
    return "float32"
