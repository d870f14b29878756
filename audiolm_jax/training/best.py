"""Which checkpoints are the best, by a held-out metric, and the file that names them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import saved_steps
from audiolm_jax.training.config import LoopConfig

BEST = "best.json"


def best_steps(config: LoopConfig, values: Mapping[int, float | None]) -> list[int]:
    """The steps of the `keep_best` best finite `values`, the best first; the earlier of equals."""
    sign = 1 if config.best_is == "lowest" else -1
    ranked = sorted(
        (sign * x, step) for step, x in values.items() if x is not None and math.isfinite(x)
    )
    return [step for _, step in ranked[: config.keep_best]]


def decisive(config: LoopConfig, means: Mapping[str, float]) -> float:
    """The value of `best_metric` among held-out means; InputError if there is none."""
    if config.best_metric not in means:
        raise InputError(
            f"--loop.best-metric {config.best_metric}: not a held-out metric of this trainer; "
            f"choose one of {', '.join(sorted(means))}"
        )
    return means[config.best_metric]


def write_best(directory: Path, config: LoopConfig, values: Mapping[int, float | None]) -> None:
    """Names the best checkpoints of a run directory in `best.json`."""
    best = [{"step": step, "value": values[step]} for step in best_steps(config, values)]
    record = {"metric": config.best_metric, "best_is": config.best_is, "checkpoints": best}
    write_json(directory / BEST, record)


def read_best(directory: Path) -> dict[str, Any] | None:
    """What `write_best` wrote last, None if nothing."""
    path = directory / BEST
    return json.loads(path.read_text()) if path.is_file() else None


def best_kept(directory: Path) -> dict[str, Any]:
    """`steps`, `best_of` and `value` of the best checkpoint there is, for a model's provenance."""
    record = read_best(directory) or {"checkpoints": []}
    kept = saved_steps(directory)
    for checkpoint in record["checkpoints"]:
        if checkpoint["step"] in kept:
            return {
                "steps": checkpoint["step"],
                "best_of": f"{record['best_is']} {record['metric']}",
                "value": checkpoint["value"],
            }
    raise InputError(
        f"{directory}: --loop.export best, but no checkpoint was kept at an evaluation; "
        "--loop.keep-best must be set while the run trains; --loop.export last takes the last one"
    )
