"""A config file on the command line, its fields overridden by flags."""

from collections.abc import Sequence
from pathlib import Path

from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.experiment import Experiment, load_experiment


def configured(verb: str, arguments: Sequence[str], kinds: tuple[type, ...]) -> Experiment:
    """The experiment of a config file, its fields overridden by flags.

    Args:
      verb: for messages.
      arguments: the file and the flags.
      kinds: the dataclasses that the verb takes.

    Raises:
      InputError: as `load_experiment` and `parse`, another kind of experiment, or a directory that
        is no path.
    """
    path = Path(arguments[0])
    experiment = load_experiment(path)
    if not isinstance(experiment, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise InputError(
            f"{path}: describes a {type(experiment).__name__}, audiolm {verb} takes {wanted}"
        )
    experiment = parse(type(experiment), arguments[1:], f"audiolm {verb} {path}", experiment)
    if "://" in experiment.directory:
        raise InputError(
            f"directory = {experiment.directory}: object stores are not supported; use a folder, "
            "for several hosts on a file system that all of them share (docs/multihost.md)"
        )
    return experiment
