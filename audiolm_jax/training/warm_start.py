"""Starting from the weights of another run: which array of the new model comes from where."""

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from audiolm_jax.artifacts.model_folder import MODEL_JSON, load_model, read_model_json
from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import (
    Checkpoints,
    latest_step,
    name_arrays,
    read_saved,
    saved_steps,
)
from audiolm_jax.training.config import WarmStartConfig
from audiolm_jax.training.distributed import from_first_host
from audiolm_jax.training.state import TrainState
from audiolm_jax.types import Array

_PARTS = ("params.", "rest.", "ema.")


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """The weights of another run, read and verified."""

    config: WarmStartConfig
    arrays: dict[str, Array]  # by old name
    facts: dict[str, Any]  # what the manifest and the model folder say of the source

    def take(self, state: TrainState) -> TrainState:
        """As `apply`, once: the weights take no memory from then on."""
        state = self.apply(state)
        self.arrays.clear()
        return state

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
        value = self.arrays[old]
        if value.dtype != fresh.dtype:
            source = f"{old!r} of {self.config.source}"
            raise InputError(f"warm start: {name!r} is {fresh.dtype}, {source} is {value.dtype}")
        if isinstance(value, jax.Array):  # copied, for a step overwrites what it gets
            return jax.device_put(value, fresh.sharding).copy()
        return jax.make_array_from_callback(value.shape, fresh.sharding, lambda part: value[part])


def read_warm_start(config: WarmStartConfig, mesh: Mesh | None = None) -> WarmStart:
    """Reads and verifies the source: a run with a whole checkpoint, each host its share of it, or a
    model folder. All hosts must call it."""
    source = at(config.source)
    if from_first_host(lambda: latest_step(source)) is not None:
        with Checkpoints(source, keep=None) as checkpoints:
            arrays, saved = checkpoints.restore_arrays(mesh)
        taken: dict[str, Array] = {n: a for n, a in arrays.items() if n.startswith(_PARTS)}
        return WarmStart(config, taken, _facts_of_run(config, saved))
    if (source / MODEL_JSON).is_file():
        folder = load_model(source)
        facts = _facts_of_model(config, folder.fingerprint)
        return WarmStart(config, {f"params.{n}": a for n, a in folder.arrays.items()}, facts)
    raise _no_source(config)


def read_facts(config: WarmStartConfig) -> dict[str, Any]:
    """`WarmStart.facts` as the files of the source state them, its weights unread; on any host."""
    source = at(config.source)
    for step in reversed(saved_steps(source)):
        with contextlib.suppress(Exception):  # whatever a damaged file makes the reader raise
            return _facts_of_run(config, read_saved(source, step))
    if (source / MODEL_JSON).is_file():
        return _facts_of_model(config, read_model_json(source)["fingerprint"])
    raise _no_source(config)


def _facts_of_run(config: WarmStartConfig, saved: dict[str, Any]) -> dict[str, Any]:
    record = saved["record"]
    return {
        "source": config.source,
        "step": record["step"],
        "checksum": saved["checksum"],
        "config_hash": record["manifest"]["config_hash"],
    }


def _facts_of_model(config: WarmStartConfig, fingerprint: str) -> dict[str, Any]:
    return {"source": config.source, "fingerprint": fingerprint}


def _no_source(config: WarmStartConfig) -> InputError:
    return InputError(
        f"--warm-start.source {config.source}: neither a run directory with a checkpoint nor a "
        f"model folder (no {MODEL_JSON}); name one of the two"
    )
