"""`audiolm demo`: the whole road as ordinary commands, each printed before it runs."""

import contextlib
import ctypes
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from audiolm_jax.cli.options import parse
from audiolm_jax.data.index import index_folder
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment
from audiolm_jax.experiments.load import load_experiment

CONFIGS = Path("configs/demo")
RUNS = Path("runs/demo")  # what the configs name
DEFAULT_AUDIO = "data/asterisk"
TRAINED = ("codec", "encoder", "kmeans", "semantic_lm", "coarse_lm", "fine_lm")


@dataclasses.dataclass(frozen=True)
class DemoOptions:
    """Recorded speech to continuations one can listen to; run again to go on after a stop."""

    audio_dir: str = DEFAULT_AUDIO
    """Folder of recordings; ./launch/demo.sh fetches some if it is given none."""
    directory: Path | None = None
    """Folder of all results; None takes runs/demo, and for recordings of your own one beside it,
    called after their folder."""

    @property
    def is_default_audio(self) -> bool:
        """Whether these are the recordings of the configs."""
        return Path(self.audio_dir).resolve() == Path(DEFAULT_AUDIO).resolve()

    @property
    def runs(self) -> Path:
        """Folder of all results."""
        if self.directory is not None:
            return self.directory
        name = Path(self.audio_dir).resolve().name
        return RUNS if self.is_default_audio else RUNS.with_name(f"{RUNS.name}-{name}")


def steps(options: DemoOptions) -> list[tuple[str, list[str]]]:
    """What each step is for, and its command line after `audiolm`."""
    runs = options.runs
    # The configs were made for the default: that needs no look at its recordings.
    split = None if options.is_default_audio else split_of(options.audio_dir)
    data = [] if options.is_default_audio else ["--data.source", options.audio_dir]
    data += [] if split is None else ["--data.split-by", split]
    readers = [str(CONFIGS / f"{name}.py") for name in ("codec", "encoder", "kmeans", "evaluate")]
    audit = ["audit", options.audio_dir, *([] if split is None else ["--split-by", split])]

    def configured(verb: str, name: str, *more: str, **places: str) -> list[str]:
        # Flags only where the config says something else.
        moved = [] if runs == RUNS else [x for n, at in places.items() for x in (f"--{n}", at)]
        return [verb, str(CONFIGS / f"{name}.py"), *more, *moved]

    at = {name: str(runs / name) for name in (*TRAINED, "tokens", "bundle")}
    tokenizers = {"codec": at["codec"], "semantic": at["kmeans"]}

    def train(name: str, *more: str, **places: str) -> list[str]:
        return configured("train", name, *more, directory=at[name], **places)

    def stage(name: str) -> list[str]:
        return train(name, tokens=at["tokens"], **tokenizers)

    parts = [at[name] for name in TRAINED if name != "encoder"]
    evaluate = configured(
        "evaluate", "evaluate", *data, directory=str(runs), bundle=at["bundle"], tokens=at["tokens"]
    )
    if runs != RUNS:
        evaluate += ["--runs", *(at[name] for name in TRAINED if name != "kmeans")]
    tokenize = configured("tokenize", "tokens", *data, directory=at["tokens"], **tokenizers)
    return [
        ("look at the recordings", [*audit, "--configs", *readers]),
        ("train the codec: sound to acoustic tokens", train("codec", *data)),
        ("train the semantic encoder: sound to features", train("encoder", *data)),
        (
            "fit k-means: features to semantic tokens",
            train("kmeans", *data, encoder=at["encoder"]),
        ),
        ("tokenize all recordings", tokenize),
        ("stage 1: learn semantic tokens", stage("semantic_lm")),
        ("stage 2: learn coarse acoustic tokens", stage("coarse_lm")),
        ("stage 3: learn fine acoustic tokens", stage("fine_lm")),
        ("put the five parts into one folder", ["bundle", *parts, "--out", at["bundle"]]),
        ("continue held-out prompts, measure, write the page", evaluate),
    ]


def split_of(audio_dir: str) -> str | None:
    """ "time" if there are too few recordings to hold a whole one out, but long ones; or None."""
    experiment = load_experiment(CONFIGS / "evaluate.py")
    assert isinstance(experiment, EvaluateExperiment)
    whole = dataclasses.replace(experiment.data, source=audio_dir)
    for data in (whole, dataclasses.replace(whole, split_by="time")):
        with contextlib.suppress(InputError):  # if both fail, the first step tells why
            experiment.check_data(index_folder(data))
            return None if data is whole else "time"
    return None


def demo(arguments: Sequence[str]) -> int:
    """`audiolm demo`."""
    options = parse(DemoOptions, arguments, "audiolm demo")
    if not CONFIGS.is_dir():
        raise InputError(f"{CONFIGS}: not found; run this in a clone of the repository")
    if not Path(options.audio_dir).is_dir():
        raise InputError(
            f"--audio-dir {options.audio_dir}: no such folder; ./launch/demo.sh fetches recordings"
        )
    began = time.monotonic()
    for number, (purpose, command) in enumerate(plan := steps(options), 1):
        print(f"\n== {number}/{len(plan)} {purpose}", flush=True)
        print(f"$ audiolm {shlex.join(command)}", flush=True)
        start = time.monotonic()
        status = _run([sys.executable, "-m", "audiolm_jax", *command])
        if status:
            stopped = f"stopped at step {number} of {len(plan)}"
            print(f"{stopped}; the same command goes on from here", file=sys.stderr)
            return status if status > 0 else 128 - status  # killed by a signal
        print(f"-- {time.monotonic() - start:.0f} s", flush=True)
    print(f"\nDone in {(time.monotonic() - began) / 60:.1f} minutes.")
    print(f"Open {options.runs / 'report.html'} in a browser. Then try:")
    bundle = options.runs / "bundle"
    print(f"  audiolm continue YOUR.wav --models {bundle} --seconds 4 --out out.wav")
    return 0


def _run(command: list[str]) -> int:
    """Runs a step that cannot outlive this process, and returns its exit status."""
    first = _die_with_parent if sys.platform == "linux" else None
    process = subprocess.Popen(command, preexec_fn=first)
    previous = signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
    try:
        return process.wait()
    except KeyboardInterrupt:  # the step has had the same signal and is saving
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def _die_with_parent() -> None:
    # A killed demo must not leave a trainer behind that holds the run's lock.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)
