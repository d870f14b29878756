"""What a run is told of itself at its start: where it runs, and which run it is."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.config_json import config_hash, config_to_dict
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment

# Where Linux shows accelerators, by what they are and the extra that uses them.
_ACCELERATORS = (("GPU", "/dev/nvidia0", "cuda"), ("TPU", "/dev/accel0", "tpu"))

logger = logging.getLogger(__name__)


def introduce(experiment: Experiment) -> None:
    """Logs devices, mesh, hosts and precision in one line and the run's identity in another, and
    warns of devices that stand idle. InputError if JAX finds no device."""
    import jax

    if line := missing_device():
        raise InputError(line)
    devices = jax.devices()
    mesh = getattr(experiment, "mesh", None)
    preset = "none" if mesh is None else mesh.preset
    hosts = jax.process_count()
    logger.info(
        "%d x %s on %d host%s, mesh %s, products in %s",
        *(len(devices), devices[0].device_kind, hosts, "" if hosts == 1 else "s", preset),
        " and ".join(sorted(set(_precisions(config_to_dict(experiment))))) or "float32",
    )
    kind, seed = type(experiment).__name__, _seed(experiment)
    logger.info("%s: %s %s%s", experiment.directory, kind, config_hash(experiment)[:16], seed)
    # Of a CPU, however many devices it is divided into, the one uses all cores.
    is_divided = len(devices) > 1 and devices[0].platform != "cpu"
    if mesh is not None and preset == "none" and is_divided:
        idle = f"{len(devices) - 1} of {len(devices)} devices stand idle"
        logger.warning("--mesh.preset none: %s; --mesh.preset dp uses all", idle)
    if devices[0].platform == "cpu" and "cpu" not in os.environ.get("JAX_PLATFORMS", ""):
        for name, place, extra in _ACCELERATORS:
            if Path(place).exists():
                install = f"pip install 'audiolm_jax[{extra}]'"
                logger.warning(
                    "%s: a %s is here, but this JAX is the CPU's: %s", place, name, install
                )


def missing_device() -> str | None:
    """One line on why JAX has no device of the platform that it was asked for; None if it has."""
    import jax

    try:
        jax.devices()
    except Exception as error:  # RuntimeError, or AssertionError where the plugin is missing
        asked = os.environ.get("JAX_PLATFORMS", "")
        what = " ".join(str(error).split())[:200] or "its plugin is not installed"
        remedy = "pip install 'audiolm_jax[cuda]' or 'audiolm_jax[tpu]' for it"
        return f"JAX_PLATFORMS={asked}: no such device can be used ({what}); {remedy}, or unset it"
    return None


def _precisions(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        for name, value in config.items():
            if name == "compute_dtype":
                yield value
            else:
                yield from _precisions(value)


def _seed(experiment: Experiment) -> str:
    for place in (experiment, *(getattr(experiment, x, None) for x in ("loop", "kmeans"))):
        if (seed := getattr(place, "seed", None)) is not None:
            return f", seed {seed}"
    return ""
