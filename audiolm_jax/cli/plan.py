"""`audiolm plan`: the training step of a config, compiled for slices of TPUs that are not there."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.cli.configured import configured
from audiolm_jax.cli.options import parse_known
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.trained import StepExperiment
from audiolm_jax.tpu_plan.plan import Plan, plan_step
from audiolm_jax.tpu_plan.text import describe, table
from audiolm_jax.tpu_plan.topology import count_chips, prepare_compiler, slice_devices


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    """Compile the training step of a config for TPU slices and say what it needs and takes.

    Neither a TPU nor the config's data, tokens and models need be there; libtpu must be installed
    (pip install 'audiolm_jax[tpu]'). Any field of the config follows as a flag, such as
    --mesh.preset fsdp; `audiolm train CONFIG.py --help` lists them. Exit status 1: a step does not
    fit. docs/guide/tpu.md says how to read the figures.
    """

    config: tyro.conf.Positional[Path]
    """File whose function experiment() describes a codec, an encoder or a stage."""
    topology: tuple[str, ...]
    """Slices, such as v4:2x2x4 v5e:4x4 v6e:4x4; with --mesh.slices N each stands for N of them."""
    json: Path | None = None
    """File for everything, rewritten after each topology."""
    batch_per_chip: int | None = None
    """Takes the place of batch_size, which becomes this times the chips."""


def plan(arguments: Sequence[str]) -> int:
    """`audiolm plan`."""
    options, overrides = parse_known(PlanOptions, arguments, "audiolm plan")
    if not options.topology:
        raise InputError("--topology: expected one name or more, such as v5p:2x2x4")
    if options.batch_per_chip is not None and options.batch_per_chip < 1:
        raise InputError(f"--batch-per-chip {options.batch_per_chip}: expected 1 or more")
    experiment = configured("plan", [str(options.config), *overrides])
    assert isinstance(experiment, StepExperiment)  # `configured` refuses what has no step
    prepare_compiler()
    plans: list[Plan] = []
    for topology in options.topology:
        print(f"{topology}: compiling", file=sys.stderr)
        plans.append(_plan(experiment, topology, options.batch_per_chip))
        print(describe(str(options.config), plans[-1]), flush=True)
        if options.json is not None:
            record = {"config": str(options.config), "plans": [plan.to_dict() for plan in plans]}
            write_json(options.json, record)
    if len(plans) > 1:
        print(table(plans))
    return 0 if all(plan.fits for plan in plans) else 1


def _plan(experiment: StepExperiment, topology: str, batch_per_chip: int | None) -> Plan:
    if batch_per_chip is not None:
        chips = count_chips(slice_devices(topology, experiment.mesh.slices))
        experiment = dataclasses.replace(experiment, batch_size=batch_per_chip * chips)
    return plan_step(
        experiment.program(),
        experiment.abstract_batch(),
        experiment.mesh,
        topology,
        experiment.model_flops(),
        experiment.units_per_step(),
    )
