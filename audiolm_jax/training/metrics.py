"""Metrics as JSON lines, TensorBoard events and, if asked for, Weights & Biases.

`metrics.jsonl` holds only what the seed and the data decide, so it is the same, byte for byte,
whether a run was interrupted or not; everything that a clock has measured goes to `timing.jsonl`.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.append import Appender
from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.mirror import Mirror
from audiolm_jax.artifacts.storage import is_remote
from audiolm_jax.errors import InputError

METRICS = "metrics.jsonl"
SAMPLES = "samples"
TIMING = "timing.jsonl"
HELDOUT = "heldout/"


class MetricsWriter(contextlib.AbstractContextManager["MetricsWriter"]):
    """Writes the metrics of one run directory, on the first host, going on from `restored_step`:
    later lines of an earlier start are dropped."""

    def __init__(
        self,
        directory: Path,
        restored_step: int,
        tensorboard: bool,
        wandb_project: str | None = None,
        run_config: Any = None,
    ):
        self._directory = directory
        self._events: Any = None
        self._wandb: Any = None
        self._writes = jax.process_index() == 0
        if self._writes:
            truncate_after(directory / METRICS, restored_step)
        # Held-out means by step, without `heldout/`, as they were at the start.
        self.heldout: dict[int, dict[str, float | None]] = {}
        for line in read_metrics(directory / METRICS):
            means = {n.removeprefix(HELDOUT): x for n, x in line.items() if n.startswith(HELDOUT)}
            if means and line["step"] <= restored_step:
                self.heldout[line["step"]] = means
        if wandb_project is not None and self._writes:
            self._wandb = _start_wandb(wandb_project, directory, run_config)
        self._metrics = Appender(directory / METRICS if self._writes else None)
        self._timing = Appender(directory / TIMING if self._writes else None)
        self._mirror = Mirror(directory / "tensorboard")
        if tensorboard and self._writes:
            from tensorboardX import SummaryWriter

            folder = str(self._mirror.folder)
            self._events = SummaryWriter(folder, purge_step=restored_step + 1)

    def __exit__(self, *error: object) -> None:
        self._metrics.close()
        self._timing.close()
        if self._events is not None:
            self._events.close()
        self._mirror.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if error[0] is None else 1)

    def write_heldout(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line of held-out means, each name preceded by `heldout/`."""
        self.write(step, {HELDOUT + name: x for name, x in values.items()})

    def write_timing(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line of measured times."""
        self.write(step, values, self._timing)

    def write(self, step: int, values: Mapping[str, Any], file: Appender | None = None) -> None:
        """Appends one line; values become Python floats exactly, those not finite null."""
        file = file or self._metrics
        floats = {name: float(values[name]) for name in sorted(values)}
        line = {n: value if math.isfinite(value) else None for n, value in floats.items()}
        file.write(json.dumps({"step": step, **line}, allow_nan=False) + "\n")
        if self._events is not None:
            for name, value in floats.items():
                self._events.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(floats, step=step)

    def write_audio(
        self, step: int, name: str, samples: Float[np.ndarray, " s"], sample_rate_hz: int
    ) -> None:
        """Writes mono audio in [-1, 1] to `samples/<name>_step_<step>.wav` and to TensorBoard."""
        if not self._writes:
            return
        from audiolm_jax.audio.files import write_wav

        path = self._directory / SAMPLES / f"{name}_step_{step}.wav"
        path.parent.mkdir(exist_ok=True)
        write_wav(path, samples, sample_rate_hz, None)
        if self._events is not None:
            self._events.add_audio(f"{SAMPLES}/{name}", samples, step, sample_rate_hz)

    def sync(self) -> None:
        """Returns when the lines are on disk: no checkpoint may be ahead of its metrics."""
        if self._writes:
            self._metrics.sync()
            if self._events is not None and self._mirror.is_remote:
                self._events.flush()
                self._mirror.send()


def _start_wandb(project: str, directory: Path, config: Any) -> Any:
    try:
        import wandb
    except ImportError:
        raise InputError(
            f"--loop.wandb-project {project}: the package wandb is not installed; pip install it"
        ) from None
    # The same run there, however often it is started again, and wherever it has moved to.
    kept = directory / "wandb_id"
    if not kept.exists():
        write_text(kept, hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:16])
    name = kept.read_text()
    folder = None if is_remote(directory) else str(directory)
    return wandb.init(
        project=project, dir=folder, name=directory.name, id=name, resume="allow", config=config
    )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics or timing file; a last line cut short by a kill is left out."""
    return [json.loads(line) for line in _complete_lines(path)]


def truncate_after(path: Path, step: int) -> None:
    """Drops the lines of later steps, and a last line that was cut short."""
    if not path.exists():
        return
    kept = [line for line in _complete_lines(path) if json.loads(line)["step"] <= step]
    write_text(path, "".join(kept))


def _complete_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
