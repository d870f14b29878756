"""What is said when a number is no longer finite: which steps, and which recordings they saw."""

from collections.abc import Callable
from pathlib import Path

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import latest_step
from audiolm_jax.training.distributed import is_first_host

NONFINITE = "nonfinite.json"
_STEPS_IN_FILE = 16
_ROWS_IN_MESSAGE = 3

# Completed steps -> one line for each row of the next batch: position, record, crop.
Describe = Callable[[int], list[str]]


class NonFiniteError(InputError):
    """A loss or a parameter is no longer a finite number."""


def diverged(
    directory: Path, what: str, step: int, finite: int, describe: Describe | None
) -> NonFiniteError:
    """The error after update `step` over `what`; after update `finite` all was finite still."""
    since = f"step {step}" if step == finite + 1 else f"one of the steps {finite + 1} to {step}"
    data = ""
    if describe is not None:
        steps = range(max(finite + 1, step - _STEPS_IN_FILE + 1), step + 1)
        rows = {number: describe(number - 1) for number in steps}
        record = {"what": what, "last_finite_step": finite, "seen_at_step": step, "batches": rows}
        path = directory / NONFINITE
        if is_first_host():
            write_json(path, record)
        few = rows[step][:_ROWS_IN_MESSAGE]
        more = len(rows[step]) - len(few)
        data = f"the batch of step {step}: {', '.join(few)}"
        data += f" and {more} more, all in {path}; " if more else f", also in {path}; "
    return NonFiniteError(
        f"{directory}: {what} at step {step}; last finite: step {finite}, so {since} did it; "
        f"{data}last checkpoint: step {latest_step(directory)}; lower the learning rate or "
        "lengthen the warm-up, in another directory, or look at those recordings"
    )
