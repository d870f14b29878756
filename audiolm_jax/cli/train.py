"""`audiolm train`, `tokenize` and `evaluate`: a config file, its fields overridden by flags."""

import dataclasses
from collections.abc import Sequence

from audiolm_jax.cli.configured import configured
from audiolm_jax.cli.options import parse, parse_known
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.experiment import AbxExperiment
from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment
from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.experiments import run
from audiolm_jax.experiments.experiment import (
    TRAINED,
    Experiment,
    TokenizeExperiment,
)
from audiolm_jax.training.distributed import DistributedConfig, joined

USAGE = """usage: audiolm {verb} CONFIG.py [--FIELD VALUE ...]

  CONFIG.py  a file whose function experiment() describes the run, such as those in configs/
  --FIELD    overrides a field of it, such as --loop.steps 100

`audiolm {verb} CONFIG.py --help` shows the fields with the values of that config. All fields of
each kind of config, with the defaults of their dataclasses:
"""
PROCESSES = """Several processes train one model when each is started with

  --distributed auto       on a TPU pod, or under SLURM, Open MPI or Kubernetes
  --distributed HOST:PORT --num-processes N --process-id I
                           elsewhere; HOST is that of process 0, PORT is free there
  --distributed-timeout S  seconds to wait for the others, 300 if left out
"""


@dataclasses.dataclass(frozen=True)
class Processes:
    """The flags that say how the processes of a run find each other; see `PROCESSES`."""

    distributed: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    distributed_timeout: int = 300

    @property
    def config(self) -> DistributedConfig | None:
        """None for the only process of its run.

        Raises:
          InputError: flags that do not fit together.
        """
        if self.distributed is None:
            if self != Processes():
                raise InputError(
                    "--num-processes, --process-id and --distributed-timeout belong to "
                    "--distributed auto or HOST:PORT, which is missing"
                )
            return None
        return DistributedConfig(
            self.distributed, self.num_processes, self.process_id, self.distributed_timeout
        )


def train(arguments: Sequence[str]) -> None:
    """`audiolm train`."""
    config = None
    if not {"-h", "--help"} & set(arguments):
        processes, arguments = parse_known(Processes, arguments, "audiolm train")
        config = processes.config
    elif arguments[0] in ("-h", "--help"):
        print(PROCESSES)
    if (experiment := _configured("train", arguments, TRAINED)) is not None:
        with joined(config):
            run.train(experiment)


def tokenize(arguments: Sequence[str]) -> None:
    """`audiolm tokenize`."""
    if (experiment := _configured("tokenize", arguments, (TokenizeExperiment,))) is not None:
        run.tokenize(experiment)


def evaluate(arguments: Sequence[str]) -> None:
    """`audiolm evaluate`."""
    kinds = (EvaluateExperiment, CodecEvaluateExperiment, AbxExperiment, SweepExperiment)
    experiment = _configured("evaluate", arguments, kinds)
    if isinstance(experiment, kinds):
        experiment.run()


def _configured(verb: str, arguments: Sequence[str], kinds: tuple[type, ...]) -> Experiment | None:
    """The experiment of the config file with overrides; None if only help was asked for."""
    if not arguments or arguments[0] in ("-h", "--help"):
        if not arguments:
            raise InputError(f"expected a config file; see audiolm {verb} --help")
        print(USAGE.format(verb=verb))
        for kind in kinds:
            try:
                parse(kind, ["--help"], f"audiolm {verb} CONFIG.py")
            except SystemExit:
                continue
        return None
    return configured(verb, arguments, kinds)
