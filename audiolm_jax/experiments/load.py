"""Config files, functions that take their place, and the kinds of experiment that
`audiolm VERB --help` shows."""

import contextlib
import dataclasses
import difflib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.artifacts.outside import is_outside, resolve
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment
from audiolm_jax.experiments.field_types import check_types

# By verb: what help can show without a config, which may be of any other kind as well.
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


def _misnamed(name: str, error: TypeError) -> str:
    """Which field a config file calls by another name or leaves out, and in which line."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__)
             if frame.f_code.co_filename == str(Path(name).resolve())]  # fmt: skip
    where = f"{name}:{lines[-1]}" if lines else name
    found = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if found is None:
        return f"{where}: {str(error).replace('.__init__()', '')}"
    kind = next((x for f in reversed(frames) if (x := f.f_globals.get(found[1]))), None)
    names = [x.name for x in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    near = difflib.get_close_matches(found[2], names, 1)
    known = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(names)}"
    return f"{where}: {found[1]} has no field {found[2]}; {known}"


def load_experiment(place: str | Path) -> Experiment:
    """The experiment that a config describes: the `experiment()` of a file, which may import files
    beside it, or what a function or class `module:attribute` gives."""
    name = str(place)
    if is_outside(name):
        make: Any = resolve(name, "config")
    else:
        make = _function_of(Path(place))
    try:
        experiment = make()
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except TypeError as error:
        raise InputError(_misnamed(name, error)) from error
    if not isinstance(experiment, Experiment):
        called = "it" if is_outside(name) else "experiment()"
        raise InputError(
            f"{name}: {called} returned {type(experiment).__name__}, expected an Experiment"
        )
    try:
        check_types(experiment)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return experiment


def _function_of(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such config file; see the folder configs/")
    try:
        module = _run(path.resolve())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        if is_shortage(error):
            raise
        raise InputError(f"{path}: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "experiment", None)):
        raise InputError(f"{path}: no function experiment(); a config file must define one")
    return module.experiment
