"""Going on from a checkpoint of another run, under another config, in a directory of its own."""

import dataclasses
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import read_saved, saved_steps
from audiolm_jax.training.distributed import from_first_host


@dataclasses.dataclass(frozen=True)
class Branch:
    """A checkpoint whose weights, optimizer and place in the data a run takes over."""

    directory: Path  # of the run that it is of
    step: int
    facts: dict[str, Any]  # what the manifest and the model folder say of it


def read_branch(text: str) -> Branch:
    """The checkpoint that RUN@STEP names, its arrays unread; InputError if there is none. What of
    it there is the first host decides for all, who must call it."""
    facts = from_first_host(lambda: read_facts(text))
    return Branch(at(text.rpartition("@")[0]), facts["step"], facts)


def read_facts(text: str) -> dict[str, Any]:
    """`Branch.facts` as the files of the run state them; on any host."""
    run, _, number = text.rpartition("@")
    if not run or not number.isdecimal():
        raise InputError(f"--branch-from {text}: expected RUN@STEP, as runs/coarse_lm@5000")
    directory, step = at(run), int(number)
    if step not in (steps := saved_steps(directory)):
        kept = f"it has those of steps {', '.join(map(str, steps))}" if steps else "it has none"
        raise InputError(f"--branch-from {text}: {run} has no checkpoint of step {step}; {kept}")
    saved = read_saved(directory, step)
    return {
        "source": text,
        "step": step,
        "checksum": saved["checksum"],
        "config_hash": saved["record"]["manifest"]["config_hash"],
        "is_branch": True,
    }
