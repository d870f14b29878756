"""`audiolm train`, `tokenize` and `evaluate`: a config file, its fields overridden by flags."""

import contextlib
import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from audiolm_jax.artifacts.compilation_cache import use_compilation_cache
from audiolm_jax.artifacts.storage import at, is_remote
from audiolm_jax.cli.console import show_errors_alone
from audiolm_jax.cli.extras import check_installed
from audiolm_jax.cli.options import parse, parse_known, show_part
from audiolm_jax.cli.start import introduce
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment
from audiolm_jax.experiments.load import kinds_of, load_experiment
from audiolm_jax.experiments.trained import StepExperiment

if TYPE_CHECKING:
    from audiolm_jax.training.distributed import DistributedConfig

USAGE = """usage: audiolm {verb} CONFIG.py [--FIELD VALUE ...]

  CONFIG.py  a file whose function experiment() describes the run, such as those in configs/;
             or module:attribute, a function of a package of yours that does
  --FIELD    overrides a field of it, such as --{example}

  audiolm {verb} CONFIG.py --help       its fields, with the values of that config
  audiolm {verb} CONFIG.py --help PART  those of a part, such as loop or model.decoder
  audiolm {verb} --help KIND [PART]     the fields of a kind of config, with their defaults:

{kinds}
"""
_OF_SEVERAL = ("train", "tokenize")
_EXAMPLES = {
    "train": "loop.steps 100",
    "tokenize": "tokenize.shards 4",
    "evaluate": "seed 1",
}
PROCESSES = """Several processes work on one run when each is started with

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
    def config(self) -> "DistributedConfig | None":
        """None for the only process of its run; InputError if the flags do not fit together."""
        from audiolm_jax.training.distributed import DistributedConfig

        if self.distributed is None:
            if self != Processes():
                raise InputError(
                    "--num-processes, --process-id, --distributed-timeout: need --distributed"
                )
            return None
        return DistributedConfig(
            self.distributed, self.num_processes, self.process_id, self.distributed_timeout
        )


def train(arguments: Sequence[str]) -> None:
    """`audiolm train`."""
    _run_on_all("train", arguments)


def tokenize(arguments: Sequence[str]) -> None:
    """`audiolm tokenize`."""
    _run_on_all("tokenize", arguments)


def _run_on_all(verb: str, arguments: Sequence[str]) -> None:
    if _asks_for_help(verb, arguments):
        return
    from audiolm_jax.training.distributed import is_first_host, joined
    from audiolm_jax.training.shared_folder import check_shared

    processes, rest = parse_known(Processes, arguments, f"audiolm {verb}")
    experiment = configured(verb, rest)
    with joined(processes.config):
        if not is_first_host():
            show_errors_alone()
        use_compilation_cache()
        introduce(experiment)
        if processes.config is not None and experiment.shares_directory:
            check_shared(at(experiment.directory))
        experiment.run()


def evaluate(arguments: Sequence[str]) -> None:
    """`audiolm evaluate`."""
    if not _asks_for_help("evaluate", arguments):
        experiment = configured("evaluate", arguments)
        use_compilation_cache()
        introduce(experiment)
        experiment.run()


def _asks_for_help(verb: str, arguments: Sequence[str]) -> bool:
    """Whether help was asked for and printed: of the verb, of a kind, or of a config."""
    if not arguments:
        raise InputError(f"expected a config file; see audiolm {verb} --help")
    asked = next((n for n, word in enumerate(arguments) if word in ("-h", "--help")), None)
    if asked is None:
        return False
    before, behind = arguments[:asked], arguments[asked + 1 :]
    if before:
        if behind and not behind[0].startswith("-"):
            experiment = configured(verb, [*before, *behind[1:]])
            show_part(type(experiment), behind[0], f"audiolm {verb} {before[0]}", experiment)
        else:
            configured(verb, arguments)  # which prints it
        return True
    kinds = {_name(kind): kind for kind in kinds_of(verb)}
    if not behind:
        width = max(map(len, kinds))
        lines = [f"  {name:{width}}  {_meaning(kind)}" for name, kind in kinds.items()]
        print(USAGE.format(verb=verb, example=_EXAMPLES[verb], kinds="\n".join(lines)))
        if verb in _OF_SEVERAL:
            print(PROCESSES)
    elif behind[0] not in kinds:
        raise InputError(f"--help {behind[0]}: expected one of {', '.join(kinds)}")
    elif behind[1:]:
        show_part(kinds[behind[0]], behind[1], f"audiolm {verb} CONFIG.py")
    else:
        with contextlib.suppress(SystemExit):
            parse(kinds[behind[0]], ["--help"], f"audiolm {verb} CONFIG.py")
    return True


def _name(kind: type[Experiment]) -> str:
    """Of a kind, such as codec_evaluate."""
    words = re.findall(r"[A-Z][a-z0-9]*", kind.__name__.removesuffix("Experiment"))
    return "_".join(words).lower()


def _meaning(kind: type[Experiment]) -> str:
    """The first sentence that a kind says of itself."""
    return " ".join((kind.__doc__ or "").split()).partition(". ")[0].rstrip(".")


def configured(verb: str, arguments: Sequence[str]) -> Experiment:
    """The experiment of a config file, its fields overridden by flags, if the verb takes it."""
    path = arguments[0]
    experiment = load_experiment(path)
    plannable = verb == "plan" and isinstance(experiment, StepExperiment)
    if experiment.verb != verb and not plannable:
        raise InputError(
            f"{path}: describes a {type(experiment).__name__}, which audiolm {verb} does not take; "
            f"it is for audiolm {experiment.verb}"
        )
    experiment = parse(type(experiment), arguments[1:], f"audiolm {verb} {path}", experiment)
    if not plannable:
        check_installed(experiment.needs, path)
    if verb == "evaluate" and is_remote(experiment.directory):
        raise InputError(f"--directory {experiment.directory}: expected a folder of this machine")
    return experiment
