"""Starting from the weights of another run: which array of the new model comes from where."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from audiolm_jax.artifacts.model_folder import MODEL_JSON, load_model
from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import Checkpoints, latest_step, name_arrays
from audiolm_jax.training.config import WarmStartConfig
from audiolm_jax.training.state import TrainState

_PARTS = ("params.", "rest.", "ema.")


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """The weights of another run, read and verified."""

    config: WarmStartConfig
    arrays: Mapping[str, np.ndarray]  # by old name
    facts: dict[str, Any]  # what the manifest and the model folder say of the source

    def apply(self, state: TrainState) -> TrainState:
        """A freshly initialized state with the source's values, on the same devices."""
        arrays = name_arrays(state)
        origin = self._match({n: a.shape for n, a in arrays.items() if n.startswith(_PARTS)})
        leaves = [
            self._put(name, array, origin[name]) if name in origin else array
            for name, array in arrays.items()
        ]
        return jax.tree.unflatten(jax.tree.structure(state), leaves)

    def _match(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        """New name -> old name of every array that is taken over."""
        config, source = self.config, self.config.source
        origin = {}
        for name, shape in shapes.items():
            if any(re.fullmatch(pattern, name) for pattern in config.fresh):
                continue
            old = self._old_name(name)
            if old not in self.arrays:
                raise InputError(
                    f"warm start: {name!r} would come from {old!r}, which {source} does not hold; "
                    "name another array in --warm-start.renames, or this one in --warm-start.fresh"
                )
            if self.arrays[old].shape != shape:
                raise InputError(
                    f"warm start: {name!r} has shape {shape}, but {old!r} of {source} has "
                    f"{self.arrays[old].shape}; change the model, or name it in --warm-start.fresh"
                )
            origin[name] = old
        for old in sorted(set(self.arrays) - set(origin.values())):
            if not any(re.fullmatch(pattern, old) for pattern in config.dropped):
                raise InputError(
                    f"warm start: {old!r} of {source} would be used nowhere; name it in "
                    "--warm-start.renames or in --warm-start.dropped"
                )
        return origin

    def _old_name(self, name: str) -> str:
        for pattern, old in self.config.renames.items():
            if match := re.fullmatch(pattern, name):
                try:
                    return match.expand(old)
                except (re.error, IndexError) as error:
                    raise InputError(
                        f"--warm-start.renames: {old!r} does not fit its pattern {pattern!r} "
                        f"({error})"
                    ) from None
        return name

    def _put(self, name: str, fresh: jax.Array, old: str) -> jax.Array:
        value = np.asarray(self.arrays[old])
        if value.dtype != fresh.dtype:
            source = f"{old!r} of {self.config.source}"
            raise InputError(f"warm start: {name!r} is {fresh.dtype}, {source} is {value.dtype}")
        return jax.make_array_from_callback(value.shape, fresh.sharding, lambda part: value[part])


def read_warm_start(config: WarmStartConfig) -> WarmStart:
    """Reads and verifies the source: a run with a whole checkpoint, or a model folder."""
    source = at(config.source)
    facts: dict[str, Any] = {"source": config.source}
    if latest_step(source) is not None:
        with Checkpoints(source, keep=None) as checkpoints:
            arrays, saved = checkpoints.restore_arrays()
        record = saved["record"]
        facts |= {"step": record["step"], "checksum": saved["checksum"]}
        facts["config_hash"] = record["manifest"]["config_hash"]
        return WarmStart(config, {n: a for n, a in arrays.items() if n.startswith(_PARTS)}, facts)
    if (source / MODEL_JSON).is_file():
        folder = load_model(source)
        facts["fingerprint"] = folder.fingerprint
        return WarmStart(config, {f"params.{n}": a for n, a in folder.arrays.items()}, facts)
    raise InputError(
        f"--warm-start.source {config.source}: neither a run directory with a checkpoint nor a "
        f"model folder (no {MODEL_JSON}); name one of the two"
    )
