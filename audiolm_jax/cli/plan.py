"""`audiolm plan`: the training step of a config, compiled for machines that are not there."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.cli.configured import configured
from audiolm_jax.cli.console import keep_stdout_free
from audiolm_jax.cli.options import parse_known
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.trained import StepExperiment
from audiolm_jax.tpu_plan.gpu import (
    CpuStep,
    GpuPlan,
    compile_on_cpus,
    plan_on_gpus,
    planned,
    prepare_cpus,
)
from audiolm_jax.tpu_plan.gpu_text import describe_gpus, gpu_table
from audiolm_jax.tpu_plan.names import Cards, Slice, read_machine
from audiolm_jax.tpu_plan.plan import Plan, plan_step
from audiolm_jax.tpu_plan.step import Step
from audiolm_jax.tpu_plan.text import describe, table
from audiolm_jax.tpu_plan.topology import count_chips, prepare_compiler, slice_devices

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    """Compile the training step of a config for TPU slices or GPUs and say what it needs and takes.

    Neither a TPU, a GPU nor the config's data, tokens and models need be there. For TPUs libtpu
    must be installed (pip install 'audiolm_jax[tpu]'); of GPUs there are bounds only, from the step
    compiled for this machine's CPU and from arithmetic. Any field of the config follows as a flag,
    such as --mesh.preset fsdp; `audiolm train CONFIG.py --help` lists them. Exit status 1: a step
    does not fit. docs/guide/tpu.md says how to read the figures.
    """

    config: tyro.conf.Positional[Path]
    """File whose function experiment() describes a codec, an encoder or a stage."""
    topology: tuple[str, ...]
    """Machines: slices such as v4:2x2x4 v4-32 v5litepod-16 v6e-16, cards such as h100x8 l4x1; with
    --mesh.slices N each stands for N of them."""
    json: Path | None = None
    """File for everything, rewritten after each topology."""
    batch_per_chip: int | None = None
    """Takes the place of batch_size, which becomes this times the chips or cards."""
    price: float | None = None
    """Of one chip or card for an hour, in any currency: prints what all steps cost."""
    share: float | None = None
    """Of GPUs: the part of their peak that a step is taken to reach, above 0 up to 1; None takes
    0.14 for a stage, 0.3 for an encoder, 0.06 for a codec."""


def plan(arguments: Sequence[str]) -> int:
    """`audiolm plan`."""
    keep_stdout_free()
    options, overrides = parse_known(PlanOptions, arguments, "audiolm plan")
    if not options.topology:
        raise InputError("--topology: expected one name or more, such as v5p:2x2x4 or h100x8")
    if options.batch_per_chip is not None and options.batch_per_chip < 1:
        raise InputError(f"--batch-per-chip {options.batch_per_chip}: expected 1 or more")
    if options.price is not None and not 0 <= options.price < float("inf"):
        raise InputError(f"--price {options.price}: expected 0 or more")
    if options.share is not None and not 0 < options.share <= 1:
        raise InputError(f"--share {options.share}: expected more than 0, up to 1")
    machines = [read_machine(name) for name in options.topology]
    experiment = configured("plan", [str(options.config), *overrides])
    assert isinstance(experiment, StepExperiment)  # `configured` refuses what has no step
    cards = [machine.count for machine in machines if isinstance(machine, Cards)]
    # Said before the first compiles.
    own = {kind: planned(experiment, on_gpus=kind is Cards) for kind in set(map(type, machines))}
    if len(cards) < len(machines):
        prepare_compiler()
    if cards:
        prepare_cpus(max(cards) * experiment.mesh.slices)
    plans: list[Plan | GpuPlan] = []
    compiled: dict[int, CpuStep] = {}  # by cards: of every kind the program is the same
    for machine in machines:
        logger.info("%s: compiling", machine.name)
        plans.append(_plan(own[type(machine)], machine, options, compiled))
        print(_described(str(options.config), plans[-1]), flush=True)
        if options.json is not None:
            record = {"config": str(options.config), "plans": [plan.to_dict() for plan in plans]}
            write_json(options.json, record)
    slices = [plan for plan in plans if isinstance(plan, Plan)]
    gpus = [plan for plan in plans if isinstance(plan, GpuPlan)]
    if len(slices) > 1:
        print(table(slices))
    if len(gpus) > 1:
        print(gpu_table(gpus))
    return 0 if all(plan.fits for plan in plans) else 1


def _described(config: str, plan: Plan | GpuPlan) -> str:
    return describe(config, plan) if isinstance(plan, Plan) else describe_gpus(config, plan)


def _plan(
    experiment: StepExperiment,
    machine: Slice | Cards,
    options: PlanOptions,
    compiled: dict[int, CpuStep],
) -> Plan | GpuPlan:
    slices = experiment.mesh.slices
    if isinstance(machine, Cards):
        chips = machine.count * slices
    else:
        chips = count_chips(slice_devices(machine.shape, slices))
    if options.batch_per_chip is not None:
        experiment = dataclasses.replace(experiment, batch_size=options.batch_per_chip * chips)
    step = Step.of(experiment, options.price)
    if isinstance(machine, Slice):
        return plan_step(step, machine)
    if chips not in compiled:
        compiled[chips] = compile_on_cpus(step, chips)
    return plan_on_gpus(experiment, compiled[chips], machine, options.share)
