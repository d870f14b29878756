"""Config files, and the kinds of experiment that `audiolm VERB --help` shows."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment
from audiolm_jax.experiments.field_types import check_types

# By verb: what help can show without a config file, which may hold any other kind as well.
KINDS = {
    "train": (
        "experiments.codec:CodecExperiment",
        "experiments.encoder:EncoderExperiment",
        "experiments.kmeans:KmeansExperiment",
        "experiments.residual:ResidualExperiment",
        "experiments.vocoder:VocoderExperiment",
        "experiments.stage:StageExperiment",
        "experiments.classifier:ClassifierExperiment",
        "experiments.detector:DetectorExperiment",
        "experiments.bundle:BundleExperiment",
    ),
    "tokenize": ("experiments.tokens:TokenizeExperiment",),
    "evaluate": (
        "evaluation.bundle.experiment:EvaluateExperiment",
        "evaluation.codecs.experiment:CodecEvaluateExperiment",
        "evaluation.abx.experiment:AbxExperiment",
        "evaluation.pairs.experiment:PairsExperiment",
        "evaluation.sweep.experiment:SweepExperiment",
        "evaluation.world.experiment:WorldExperiment",
        "evaluation.detector.material:DetectorMaterialExperiment",
        "evaluation.detector.experiment:DetectorEvaluateExperiment",
        "evaluation.speakers.experiment:SpeakersEvaluateExperiment",
        "evaluation.groups.experiment:GroupsExperiment",
        "evaluation.listening.experiment:ListeningExperiment",
        "evaluation.listening.score:ListeningScoreExperiment",
        "evaluation.paper.experiment:PaperExperiment",
    ),
}


def kinds_of(verb: str) -> list[type[Experiment]]:
    """The kinds that come with the package and are run by a verb."""
    places = [place.split(":") for place in KINDS[verb]]
    return [getattr(importlib.import_module(f"audiolm_jax.{path}"), name) for path, name in places]


def _run(path: Path) -> ModuleType:
    """A config file as a module, which stays: help texts are read from the source of a class."""
    name = f"config_{fingerprint(str(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError("expected a Python file, ending in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _importable(path.parent):
        spec.loader.exec_module(module)
    return module


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
            if place and Path(place).parent == folder and not name.startswith("config_"):
                del sys.modules[name]


def load_experiment(path: Path) -> Experiment:
    """Runs a config file, which may import files beside it, and returns its `experiment()`."""
    if not path.is_file():
        raise InputError(f"{path}: no such config file; see the folder configs/")
    try:
        module = _run(path.resolve())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        raise InputError(f"{path}: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "experiment", None)):
        raise InputError(f"{path}: no function experiment(); a config file must define one")
    try:
        experiment = module.experiment()
    except (InputError, TypeError) as error:  # TypeError: an unknown or missing field
        raise InputError(f"{path}: {error}") from error
    if not isinstance(experiment, Experiment):
        raise InputError(
            f"{path}: experiment() returned {type(experiment).__name__}, expected an Experiment"
        )
    try:
        check_types(experiment)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return experiment
