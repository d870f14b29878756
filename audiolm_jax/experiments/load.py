"""Config files, and the kinds of experiment that `audiolm VERB --help` shows."""

import contextlib
import importlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment

# A config file may hold any other kind as well; here stands what help can show without one.
KINDS = (
    "audiolm_jax.experiments.codec:CodecExperiment",
    "audiolm_jax.experiments.encoder:EncoderExperiment",
    "audiolm_jax.experiments.kmeans:KmeansExperiment",
    "audiolm_jax.experiments.tokens:TokenizeExperiment",
    "audiolm_jax.experiments.stage:StageExperiment",
    "audiolm_jax.evaluation.bundle.experiment:EvaluateExperiment",
    "audiolm_jax.evaluation.codecs.experiment:CodecEvaluateExperiment",
    "audiolm_jax.evaluation.abx.experiment:AbxExperiment",
    "audiolm_jax.evaluation.sweep.experiment:SweepExperiment",
)


def kinds_of(verb: str) -> list[type[Experiment]]:
    """The kinds that come with the package and are run by a verb."""
    kinds = []
    for place in KINDS:
        module, _, name = place.partition(":")
        kinds.append(getattr(importlib.import_module(module), name))
    return [kind for kind in kinds if kind.verb == verb]


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Lets the files of a folder be imported, and forgets them: other folders have equal names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            place = getattr(sys.modules[name], "__file__", None)
            if place is not None and Path(place).parent == folder:
                del sys.modules[name]


def load_experiment(path: Path) -> Experiment:
    """Runs a config file and returns what its `experiment()` describes.

    As a script may, a config file may import the files that lie beside it.

    Raises:
      InputError: no such file, an error in it, or no experiment in it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such config file; see the folder configs/")
    try:
        with _importable(path.resolve().parent):
            names = runpy.run_path(str(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        raise InputError(f"{path}: {type(error).__name__}: {error}") from error
    if not callable(names.get("experiment")):
        raise InputError(f"{path}: no function experiment(); a config file must define one")
    try:
        experiment = names["experiment"]()
    except (InputError, TypeError) as error:  # TypeError: an unknown or missing field
        raise InputError(f"{path}: {error}") from error
    if not isinstance(experiment, Experiment):
        raise InputError(
            f"{path}: experiment() returned {type(experiment).__name__}, expected an Experiment, "
            "such as the CodecExperiment of audiolm_jax.experiments.codec"
        )
    return experiment
